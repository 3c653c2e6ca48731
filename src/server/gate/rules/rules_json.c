/* Rules as they are stored and told. */
#include <stdio.h>
#include <string.h>

#include "src/json_text.h"
#include "src/server/gate/rules/rules.h"
#include "src/server/observe/when.h"

static json_t *conditions_json(const struct rule *r)
{
    json_t *all = json_object();
    for (enum rule_field f = 0; all && f < RULE_FIELD_COUNT; f++) {
        const char *value = rule_value(r, f);
        if (value && json_object_set_new(all, rule_field_name(f), json_string(value)) != 0) {
            json_decref(all);
            return NULL;
        }
    }
    return all;
}

json_t *rule_json(const struct rule *r)
{
    return json_pack("{s:I,s:s,s:o,s:o,s:o,s:I}", "id", (json_int_t)r->id, "action",
                     access_text((enum pv_access)r->access), "conditions", conditions_json(r),
                     "note", json_of_peer(r->note), "by", json_of_peer(r->by), "at",
                     (json_int_t)r->at);
}

json_t *rule_told(const struct rule *r)
{
    char at[WHEN_TEXT];
    json_t *json = rule_json(r);
    when_text(r->at, at);
    if (json_object_set_new(json, "at", json_string(at)) == 0) return json;
    json_decref(json);
    return NULL;
}

bool rule_of_json(const json_t *json, struct rule *out)
{
    json_int_t id, at;
    const char *action, *note, *by, *name;
    json_t *conditions, *value;
    enum pv_access access;
    char message[256];
    *out = (struct rule){0};
    if (json_unpack((json_t *)json, "{s:I,s:s,s:o,s:s,s:s,s:I}", "id", &id, "action", &action,
                    "conditions", &conditions, "note", &note, "by", &by, "at", &at) != 0 ||
        id < 1 || id > UINT32_MAX || !access_parse(action, &access))
        return false;
    json_object_foreach(conditions, name, value)
    {
        if (!json_is_string(value) ||
            !rule_condition(out, name, json_string_value(value), message, sizeof message))
            return false;
    }
    out->id = (uint32_t)id;
    out->access = (uint8_t)access;
    out->at = at;
    snprintf(out->note, sizeof out->note, "%s", note);
    snprintf(out->by, sizeof out->by, "%s", by);
    return out->conditions != 0;
}

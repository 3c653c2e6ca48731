/* Settings of a policy as the interface has them: numbers, lists and dates by their names. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/server/admin/internal.h"

/* ---- out ---- */
static json_t *list_json(const struct pv_list *list)
{
    json_t *array = json_array();
    for (size_t i = 0; i < list->count; i++)
        if (json_array_append_new(array, json_string(list->items[i])) != 0) {
            json_decref(array);
            return NULL;
        }
    return array;
}

/* A time is a text in JSON. */
static json_t *date_json(const struct pv_policy *policy, enum pv_setting s)
{
    char text[32];
    return pv_policy_text(policy, s, text, sizeof text) == PV_OK ? json_string(text) : NULL;
}

json_t *admin_setting_json(const struct pv_policy *policy, enum pv_setting s)
{
    if (!(policy->set >> s & 1)) return json_null();
    if (s == PV_SET_UnapprovedInROMApplicationList) return list_json(&policy->unapproved);
    if (s == PV_SET_ApprovedApplicationList) return list_json(&policy->approved);
    if (pv_setting_info(s)->kind == PV_SETTING_DATE) return date_json(policy, s);
    return json_integer(policy->value[s]);
}

json_t *admin_settings_json(const struct pv_policy *policy)
{
    json_t *all = json_object();
    for (int s = 0; s < PV_SETTING_COUNT; s++)
        if ((policy->set >> s & 1) &&
            json_object_set_new(all, pv_setting_info((enum pv_setting)s)->name,
                                admin_setting_json(policy, (enum pv_setting)s)) != 0) {
            json_decref(all);
            return NULL;
        }
    return all;
}

/* ---- in ---- */
/* A list as pv_policy_set takes it. NULL: no memory, or an entry that is no text or has a comma. */
static char *joined(const json_t *array)
{
    size_t cap = 1, len = 0, i;
    const json_t *item;
    json_array_foreach(array, i, item)
    {
        if (!json_is_string(item) || strchr(json_string_value(item), ',')) return NULL;
        cap += json_string_length(item) + 1;
    }
    char *text = calloc(1, cap);
    if (text == NULL) return NULL;
    json_array_foreach(array, i, item)
    {
        if (i > 0) text[len++] = ',';
        memcpy(text + len, json_string_value(item), json_string_length(item));
        len += json_string_length(item);
    }
    return text;
}

/* Text for pv_policy_set, owned. NULL: no memory, or no value for a setting. */
static char *value_text(const json_t *v)
{
    char number[24];
    switch (json_typeof(v)) {
    case JSON_NULL: return strdup("");
    case JSON_TRUE: return strdup("1");
    case JSON_FALSE: return strdup("0");
    case JSON_STRING: return strdup(json_string_value(v));
    case JSON_ARRAY: return joined(v);
    case JSON_INTEGER:
        snprintf(number, sizeof number, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
        return strdup(number);
    default: return NULL;
    }
}

bool admin_take_settings(struct admin_call *c, const json_t *settings)
{
    const char *name;
    json_t *value;
    c->settings = calloc(json_object_size(settings) + 1, sizeof *c->settings);
    c->policy.settings = c->settings;
    if (c->settings == NULL) {
        admin_no_memory(c);
        return false;
    }
    json_object_foreach((json_t *)settings, name, value)
    {
        struct gate_setting *s = &c->settings[c->policy.count];
        *s = (struct gate_setting){.name = name, .value = value_text(value)};
        if (s->value == NULL) {
            admin_error(c, 400, "bad_value",
                        "A value is a text, a number, true, false, null or a "
                        "list of texts without commas.");
            return false;
        }
        c->policy.count++;
    }
    return true;
}

void admin_free_settings(struct admin_call *c)
{
    for (size_t i = 0; c->settings && i < c->policy.count; i++) free((char *)c->settings[i].value);
    free(c->settings);
    c->settings = NULL;
    c->policy.settings = NULL;
    c->policy.count = 0;
}

bool admin_overlay_settings(const json_t *settings, struct pv_arena *arena,
                            struct pv_policy *policy)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)settings, name, value)
    {
        char *text = value_text(value);
        enum pv_err err = text ? pv_policy_set(policy, arena, name, text, NULL, 0) : PV_E_NOMEM;
        free(text);
        if (err == PV_E_NOMEM) return false;
    }
    return true;
}

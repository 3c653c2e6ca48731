/* What is written down of a change of policies: items of the store, lines of the audit log. */
#include <stdlib.h>

#include "src/json_text.h"
#include "src/server/gate/inner.h"

#define TEXT_BYTES (PV_LIST_MAX * (PV_LIST_ITEM_MAX + 1) + 1)

/* ---- what was there before, what is there after ---- */
static json_t *value_json(const struct saved *s, enum pv_setting setting, char *buf)
{
    if (!s || !(s->policy.set >> setting & 1)) return json_null();
    return pv_policy_text(&s->policy, setting, buf, TEXT_BYTES) == PV_OK ? json_string(buf) : NULL;
}

/* false: no memory. */
static bool note_settings(const struct saved *old, const struct saved *new_, json_t *before,
                          json_t *after)
{
    char *buf = malloc(TEXT_BYTES);
    bool ok = buf != NULL;
    for (int i = 0; i < PV_SETTING_COUNT && ok; i++) {
        enum pv_setting s = (enum pv_setting)i;
        const char *name = pv_setting_info(s)->name;
        json_t *was = value_json(old, s, buf), *is = value_json(new_, s, buf);
        ok = was && is;
        if (ok && !json_equal(was, is))
            ok = json_object_set(before, name, was) == 0 && json_object_set(after, name, is) == 0;
        json_decref(was);
        json_decref(is);
    }
    free(buf);
    return ok;
}

static json_t *side(const struct saved *s)
{
    if (!s) return json_pack("{s:{}}", "settings");
    return json_pack("{s:I,s:o,s:{}}", "revision", (json_int_t)s->id, "parent",
                     *s->parent ? json_string(s->parent) : json_null(), "settings");
}

bool note_difference(const struct saved *old, const struct saved *new_, json_t **before_out,
                     json_t **after_out)
{
    json_t *before = side(old), *after = side(new_);
    if (before && after &&
        note_settings(old, new_, json_object_get(before, "settings"),
                      json_object_get(after, "settings"))) {
        *before_out = before;
        *after_out = after;
        return true;
    }
    json_decref(before);
    json_decref(after);
    return false;
}

/* ---- items ---- */
static char *text_and_free(json_t *json)
{
    char *text = text_of_json(json, JSON_COMPACT);
    json_decref(json);
    return text;
}

static json_t *groups_json(const struct roll *r)
{
    json_t *all = json_array();
    for (size_t i = 0; r && i < r->count; i++)
        if (json_array_append_new(all, json_string(r->groups[i])) != 0) {
            json_decref(all);
            return NULL;
        }
    return all;
}

char *line_item(const struct line *l)
{
    return text_and_free(
        json_pack("{s:I,s:I,s:i,s:o}", "current", (json_int_t)l->current->id, "candidate",
                  l->candidate ? (json_int_t)l->candidate->id : (json_int_t)0, "percent",
                  l->roll ? (int)l->roll->percent : 0, "groups", groups_json(l->roll)));
}

char *removed_item(uint64_t revision)
{
    return text_and_free(json_pack("{s:I}", "removed", (json_int_t)revision));
}

json_t *note_assignee(const struct gate_assignee *to)
{
    json_t *o = json_pack("{s:s}", "scope", gate_scope_text(to->scope));
    bool ok = o != NULL;
    if (to->scope == GATE_SCOPE_GROUP)
        ok = json_object_set_new(o, "group", json_of_peer(to->group)) == 0;
    if (to->scope == GATE_SCOPE_USER || to->scope == GATE_SCOPE_DEVICE)
        ok = json_object_set_new(o, "user", json_of_peer(to->user)) == 0;
    if (to->scope == GATE_SCOPE_DEVICE)
        ok = ok && json_object_set_new(o, "device_id", json_of_peer(to->device_id)) == 0;
    if (ok) return o;
    json_decref(o);
    return NULL;
}

char *assignment_item(const struct assignment *a)
{
    json_t *o = note_assignee(&a->to);
    if (json_object_set_new(o, "policy", json_string(a->policy)) == 0) return text_and_free(o);
    json_decref(o);
    return NULL;
}

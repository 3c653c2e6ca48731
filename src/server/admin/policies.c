/* Policies: listing, showing, changing settings. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/server/admin/internal.h"
#include "src/server/observe/log.h"

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

static json_t *settings_json(const struct pv_policy *policy)
{
    json_t *all = json_object();
    for (int s = 0; s < PV_SETTING_COUNT; s++) {
        if (!(policy->set >> s & 1)) continue;
        const struct pv_setting_info *info = pv_setting_info((enum pv_setting)s);
        json_t *value = s == PV_SET_UnapprovedInROMApplicationList ? list_json(&policy->unapproved)
                        : s == PV_SET_ApprovedApplicationList      ? list_json(&policy->approved)
                        : info->kind == PV_SETTING_DATE ? date_json(policy, (enum pv_setting)s)
                                                        : json_integer(policy->value[s]);
        if (json_object_set_new(all, info->name, value) != 0) {
            json_decref(all);
            return NULL;
        }
    }
    return all;
}

static json_t *view_json(const struct policy_view *v)
{
    return json_pack("{s:o,s:I,s:o}", "name", admin_text(v->name), "revision",
                     (json_int_t)v->revision, "changed_at", admin_time(v->at));
}

static void list_one(void *ctx, const struct policy_view *v)
{
    struct admin_call *c = ctx;
    if (json_array_append_new(c->list, view_json(v)) != 0) c->out_of_memory = true;
}

void admin_policies(struct admin_call *c)
{
    c->list = json_array();
    gate_each_policy(c->admin->gate, list_one, c);
    if (c->out_of_memory)
        admin_no_memory(c);
    else
        admin_reply(c, 200, json_incref(c->list));
}

static void show_one(void *ctx, const struct policy_view *v)
{
    struct admin_call *c = ctx;
    c->list = view_json(v);
    if (json_object_set_new(c->list, "settings", settings_json(v->policy)) != 0)
        c->out_of_memory = true;
}

static void unknown_policy(struct admin_call *c)
{
    admin_error(c, 404, "unknown_policy", "There is no policy of that name.");
}

void admin_policy(struct admin_call *c)
{
    if (!gate_show_policy(c->admin->gate, admin_arg(c, "name"), show_one, c))
        unknown_policy(c);
    else if (c->out_of_memory)
        admin_no_memory(c);
    else
        admin_reply(c, 200, json_incref(c->list));
}

/* ---- change ---- */

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

static void take_hint(void *hint_out, const struct policy_view *v)
{
    *(const char **)hint_out = pv_policy_hint(v->policy);
}

static void set_done(struct policy_change *s)
{
    const char *hint = NULL;
    struct admin_call *c = CONTAINER_OF(s, struct admin_call, policy);
    switch (s->result) {
    case GATE_OK:
    case GATE_UNCHANGED:
        LOG(LOG_INFO, http_session(c->http), "policy-set", KV_TEXT("policy", s->name),
            KV_UINT("revision", s->revision), KV_UINT("affected", s->affected));
        (void)gate_show_policy(c->admin->gate, s->name, take_hint, &hint);
        admin_reply(c, 200,
                    json_pack("{s:o,s:I,s:b,s:i,s:s?}", "name", admin_text(s->name), "revision",
                              (json_int_t)s->revision, "changed", (int)(s->result == GATE_OK),
                              "devices_to_ask", (int)s->affected, "hint", hint));
        return;
    case GATE_UNKNOWN: unknown_policy(c); return;
    case GATE_INVALID: admin_error(c, 422, "bad_setting", s->message); return;
    default: break;
    }
    admin_error(c, 503, "store", "The store is out of reach; nothing was changed.");
}

void admin_policy_set(struct admin_call *c)
{
    json_t *settings = admin_body(c, "settings"), *value;
    const char *name;
    if (json_object_size(settings) == 0) {
        admin_error(c, 400, "bad_value", "settings must have at least one setting in it.");
        return;
    }
    c->settings = calloc(json_object_size(settings), sizeof *c->settings);
    if (c->settings == NULL) {
        admin_no_memory(c);
        return;
    }
    json_object_foreach(settings, name, value)
    {
        struct gate_setting *s = &c->settings[c->policy.count];
        *s = (struct gate_setting){.name = name, .value = value_text(value)};
        if (s->value == NULL) {
            admin_error(c, 400, "bad_value",
                        "A value is a text, a number, true, false, null or a "
                        "list of texts without commas.");
            return;
        }
        c->policy.count++;
    }
    c->policy.act = POLICY_SET;
    c->policy.actor = admin_actor(c);
    c->policy.name = admin_arg(c, "name");
    c->policy.settings = c->settings;
    c->policy.done = set_done;
    http_wait(c->http, NULL);
    gate_change_policies(c->admin->gate, &c->policy);
}

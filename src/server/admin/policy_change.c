/* Policies: changing them, and what that does to whom. */
#include <stdlib.h>
#include <string.h>

#include "src/server/admin/internal.h"
#include "src/server/observe/log.h"

/* ---- answers ---- */
bool admin_policy_failed(struct admin_call *c)
{
    const struct policy_change *p = &c->policy;
    switch (p->result) {
    case GATE_OK:
    case GATE_UNCHANGED: return false;
    case GATE_UNKNOWN: admin_unknown_policy(c); return true;
    case GATE_EXISTS:
        admin_error(c, 409, "policy_exists", "There is a policy of that name already.");
        return true;
    case GATE_INVALID: admin_error(c, 422, "bad_setting", p->message); return true;
    case GATE_CONFLICT: admin_error(c, 409, "conflict", p->message); return true;
    case GATE_STORE: break;
    }
    admin_not_stored(c, &p->write);
    return true;
}

static json_t *device_json(const struct asked_device *d)
{
    return json_pack("{s:o,s:o,s:s,s:s,s:i,s:I}", "user", admin_text(d->user), "device_id",
                     admin_text(d->device_id), "protocol_version", pv_version_text(d->version),
                     "state", pv_state_text(d->state), "said", (int)d->said, "said_revision",
                     (json_int_t)d->said_revision);
}

/* What could not be counted is null. */
static json_t *count_json(const struct policy_change *p, unsigned count)
{
    return p->result == GATE_OK && !p->counted ? json_null() : json_integer(count);
}

bool admin_put_affected(json_t *o, const struct policy_change *p)
{
    json_t *devices = p->dry_run ? json_array() : NULL;
    bool ok = json_object_set_new(o, "devices_to_ask", count_json(p, p->affected)) == 0 &&
              json_object_set_new(o, "cannot_keep", count_json(p, p->cannot_keep)) == 0;
    for (size_t i = 0; ok && i < p->device_count; i++)
        ok = json_array_append_new(devices, device_json(&p->devices[i])) == 0;
    if (!p->dry_run) return ok;
    if (ok) return json_object_set_new(o, "devices", devices) == 0;
    json_decref(devices);
    return false;
}

static void take_hint(void *hint_out, const struct policy_view *v)
{
    *(const char **)hint_out = pv_policy_hint(v->policy);
}

static json_t *answer_json(struct admin_call *c)
{
    const struct policy_change *p = &c->policy;
    const char *hint = NULL;
    if (p->name && !p->dry_run) (void)gate_show_policy(c->admin->gate, p->name, take_hint, &hint);
    json_t *o =
        json_pack("{s:o,s:I,s:b,s:b,s:s?}", "name", p->name ? admin_text(p->name) : json_null(),
                  "revision", (json_int_t)p->revision, "changed", (int)(p->result == GATE_OK),
                  "dry_run", (int)p->dry_run, "hint", hint);
    if (o && admin_put_affected(o, p)) return o;
    json_decref(o);
    return NULL;
}

static void changed(struct policy_change *p)
{
    struct admin_call *c = admin_call_of_policy(p);
    if (admin_policy_failed(c)) return;
    if (!p->dry_run)
        LOG(LOG_INFO, http_session(c->http), "policy-change", KV_TEXT("act", policy_act_text(p)),
            KV_TEXT("policy", p->name ? p->name : ""), KV_UINT("revision", p->revision),
            KV_UINT("changed", p->result == GATE_OK), KV_UINT("affected", p->affected));
    bool made = p->act == POLICY_NEW && !p->dry_run;
    admin_reply(c, made ? 201 : 200, answer_json(c));
}

void admin_policy_start(struct admin_call *c, enum policy_act act,
                        void (*done)(struct policy_change *))
{
    c->policy.act = act;
    c->policy.actor = admin_actor(c);
    c->policy.done = done;
    http_wait(c->http, NULL);
    gate_change_policies(c->admin->gate, &c->policy);
}

void admin_policy_change(struct admin_call *c, enum policy_act act)
{
    c->policy.dry_run = admin_body_flag(c, "dry_run");
    admin_policy_start(c, act, changed);
}

/* ---- settings ---- */
static void take_if_revision(struct admin_call *c)
{
    c->policy.set_if_revision = admin_body_number(c, "if_revision", &c->policy.if_revision);
}

static void take_parent(struct admin_call *c)
{
    const json_t *parent = admin_body(c, "parent");
    if (parent) c->policy.parent = json_is_null(parent) ? "" : json_string_value(parent);
}

void admin_policy_new(struct admin_call *c)
{
    c->policy.name = admin_body_text(c, "name");
    take_parent(c);
    if (admin_take_settings(c, admin_body(c, "settings"))) admin_policy_change(c, POLICY_NEW);
}

void admin_policy_set(struct admin_call *c)
{
    const json_t *settings = admin_body(c, "settings");
    c->policy.name = admin_arg(c, "name");
    c->policy.staged = admin_body_flag(c, "staged");
    take_if_revision(c);
    take_parent(c);
    if (json_object_size(settings) == 0 && c->policy.parent == NULL)
        admin_error(c, 400, "bad_value", "settings must have at least one setting in it.");
    else if (admin_take_settings(c, settings))
        admin_policy_change(c, POLICY_SET);
}

void admin_policy_replace(struct admin_call *c)
{
    c->policy.name = admin_arg(c, "name");
    take_if_revision(c);
    take_parent(c);
    if (admin_take_settings(c, admin_body(c, "settings"))) admin_policy_change(c, POLICY_REPLACE);
}

void admin_policy_remove(struct admin_call *c)
{
    c->policy.name = admin_arg(c, "name");
    admin_policy_change(c, POLICY_REMOVE);
}

static void to_restore_read(struct job *j)
{
    struct admin_call *c = admin_call_of_job(j);
    const json_t *row = c->revisions.row[0];
    const char *parent = json_string_value(json_object_get(row, "parent"));
    if (admin_revisions_failed(c)) return;
    if (row == NULL) {
        admin_unknown_revision(c);
        return;
    }
    c->policy.name = admin_arg(c, "name");
    c->policy.restored = c->revisions.want[0];
    c->policy.parent = parent ? parent : "";
    if (admin_take_settings(c, json_object_get(row, "settings")))
        admin_policy_change(c, POLICY_RESTORE);
}

void admin_policy_restore(struct admin_call *c)
{
    (void)admin_body_number(c, "revision", &c->revisions.want[0]);
    admin_read_revisions(c, to_restore_read);
}

/* ---- roll-outs ---- */
/* false: answered. */
static bool take_groups(struct admin_call *c, const json_t *groups)
{
    size_t i;
    const json_t *group;
    c->groups = calloc(json_array_size(groups) + 1, sizeof *c->groups);
    if (c->groups == NULL) {
        admin_no_memory(c);
        return false;
    }
    json_array_foreach(groups, i, group) c->groups[i] = json_string_value(group);
    c->policy.groups = c->groups;
    c->policy.group_count = json_array_size(groups);
    c->policy.set_groups = groups != NULL;
    return true;
}

void admin_policy_roll(struct admin_call *c)
{
    uint64_t percent = 0;
    c->policy.name = admin_arg(c, "name");
    c->policy.set_percent = admin_body_number(c, "percent", &percent);
    c->policy.percent = percent > 100 ? 101 : (unsigned)percent; /* the gate refuses it */
    if (!c->policy.set_percent && !admin_body(c, "groups"))
        admin_error(c, 400, "bad_value", "percent or groups is wanted.");
    else if (take_groups(c, admin_body(c, "groups")))
        admin_policy_change(c, POLICY_ROLL);
}

void admin_policy_roll_back(struct admin_call *c)
{
    c->policy.name = admin_arg(c, "name");
    admin_policy_change(c, POLICY_ROLL_BACK);
}

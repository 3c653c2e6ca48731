/* Policies: looking at them and at what they were. */
#include <stdlib.h>
#include <string.h>

#include "src/json_text.h"
#include "src/server/admin/internal.h"
#include "src/setting_json.h"

void admin_unknown_policy(struct admin_call *c)
{
    admin_error(c, 404, "unknown_policy", "There is no policy of that name.");
}

void admin_unknown_revision(struct admin_call *c)
{
    admin_error(c, 404, "unknown_revision", "The policy never had that revision.");
}

static json_t *parent_json(const char *parent)
{
    return parent && *parent ? admin_text(parent) : json_null();
}

/* ---- in force ---- */
static json_t *roll_json(const struct roll_view *r)
{
    json_t *groups = json_array();
    bool only_groups = r->percent == 0 && r->group_count > 0;
    for (size_t i = 0; i < r->group_count; i++)
        if (json_array_append_new(groups, admin_text(r->groups[i])) != 0) {
            json_decref(groups);
            return NULL;
        }
    return json_pack("{s:I,s:o,s:o,s:i,s:i,s:i}", "revision", (json_int_t)r->revision, "percent",
                     only_groups ? json_null() : json_integer(r->percent), "groups", groups,
                     "confirmed", (int)r->confirmed, "to_ask", (int)r->to_ask, "refused",
                     (int)r->refused);
}

static json_t *view_json(const struct policy_view *v)
{
    return json_pack("{s:o,s:I,s:o,s:o,s:o,s:o}", "name", admin_text(v->name), "revision",
                     (json_int_t)v->revision, "changed_at", admin_time(v->at), "changed_by",
                     admin_text(v->by), "parent", parent_json(v->parent), "roll",
                     v->roll ? roll_json(v->roll) : json_null());
}

static void list_one(void *ctx, const struct policy_view *v)
{
    struct admin_call *c = ctx;
    if (json_array_append_new(c->list, view_json(v)) != 0) c->out_of_memory = true;
}

/* c->list, or that there was no memory for it. */
static void reply_list(struct admin_call *c)
{
    if (c->out_of_memory)
        admin_no_memory(c);
    else
        admin_reply(c, 200, json_incref(c->list));
}

static void find_roll(void *ctx, const struct policy_view *v)
{
    if (v->roll) *(bool *)ctx = true;
}

static void list_run(struct job *j)
{
    struct admin_call *c = admin_call_of_job(j);
    c->unreachable = !gate_count_rolls(c->admin->gate, NULL, list_one, c);
}

static void list_done(struct job *j)
{
    struct admin_call *c = admin_call_of_job(j);
    if (c->unreachable)
        admin_unreachable(c);
    else
        reply_list(c);
}

/* Who waits for devices to be counted does so only where there is something to count. */
void admin_policies(struct admin_call *c)
{
    bool rolls = false;
    c->list = json_array();
    gate_each_policy(c->admin->gate, find_roll, &rolls);
    if (rolls) {
        admin_on_walks(c, list_run, list_done);
        return;
    }
    gate_each_policy(c->admin->gate, list_one, c);
    reply_list(c);
}

bool admin_find_policy(struct admin_call *c, const char *name,
                       void (*show)(void *ctx, const struct policy_view *v), void *ctx)
{
    if (gate_show_policy(c->admin->gate, name, show, ctx)) return true;
    admin_unknown_policy(c);
    return false;
}

static void show_one(void *ctx, const struct policy_view *v)
{
    struct admin_call *c = ctx;
    c->list = view_json(v);
    if (json_object_set_new(c->list, "settings", settings_json(v->own)) != 0 ||
        json_object_set_new(c->list, "effective", settings_json(v->policy)) != 0)
        c->out_of_memory = true;
}

static void show_run(struct job *j)
{
    struct admin_call *c = admin_call_of_job(j);
    c->unreachable = !gate_count_rolls(c->admin->gate, admin_arg(c, "name"), show_one, c);
}

static void show_done(struct job *j)
{
    struct admin_call *c = admin_call_of_job(j);
    if (c->unreachable)
        admin_unreachable(c);
    else if (!c->list)
        admin_unknown_policy(c);
    else
        reply_list(c);
}

/* ---- as it was saved ---- */
/* Settings of a newer version are shown as they are kept. */
static json_t *kept_settings(const char *text)
{
    struct pv_arena arena = {0};
    struct pv_policy policy = {0};
    json_t *kept, *all = NULL;
    if (!json_of_text(text, strlen(text), JSON_REJECT_DUPLICATES, &kept)) return NULL;
    if (pv_arena_create(&arena, ADMIN_POLICY_ARENA) == PV_OK &&
        admin_overlay_settings(kept, &arena, &policy))
        all = settings_json(&policy);
    if (all && json_object_update_missing(all, kept) != 0) {
        json_decref(all);
        all = NULL;
    }
    pv_arena_destroy(&arena);
    json_decref(kept);
    return all;
}

static json_t *row_json(const struct policy_record *r)
{
    return json_pack("{s:I,s:o,s:o,s:o,s:o}", "revision", (json_int_t)r->revision, "at",
                     admin_time(r->at), "by", admin_text(r->by), "parent", parent_json(r->parent),
                     "settings", kept_settings(r->settings_json));
}

static void take_row(void *ctx, const struct policy_record *r)
{
    struct admin_call *c = ctx;
    if (c->list) {
        if (json_array_append_new(c->list, row_json(r)) != 0) c->out_of_memory = true;
        return;
    }
    for (size_t i = 0; i < 2; i++)
        if (c->revisions.want[i] == r->revision && !(c->revisions.row[i] = row_json(r)))
            c->out_of_memory = true;
}

static void read_run(struct job *j)
{
    struct admin_call *c = admin_call_of_job(j);
    c->revisions.failed =
        !store_read_revisions(gate_store(c->admin->gate), admin_arg(c, "name"), take_row, c);
}

void admin_read_revisions(struct admin_call *c, void (*done)(struct job *))
{
    admin_on_pool(c, read_run, done);
}

/* true: the rows could not be read, which is answered. */
bool admin_revisions_failed(struct admin_call *c)
{
    if (c->revisions.failed)
        admin_error(c, 503, "store", "The store is out of reach.");
    else if (c->out_of_memory)
        admin_no_memory(c);
    return c->revisions.failed || c->out_of_memory;
}

static void revisions_read(struct job *j)
{
    struct admin_call *c = admin_call_of_job(j);
    if (admin_revisions_failed(c)) return;
    if (json_array_size(c->list) == 0)
        admin_unknown_policy(c);
    else
        reply_list(c);
}

void admin_policy_revisions(struct admin_call *c)
{
    c->list = json_array();
    if (c->list)
        admin_read_revisions(c, revisions_read);
    else
        admin_no_memory(c);
}

static void revision_read(struct job *j)
{
    struct admin_call *c = admin_call_of_job(j);
    const json_t *row = c->revisions.row[0];
    if (admin_revisions_failed(c)) return;
    if (row == NULL) {
        admin_unknown_revision(c);
        return;
    }
    admin_reply(c, 200,
                json_pack("{s:o,s:O,s:O,s:O,s:O,s:O,s:n}", "name", admin_text(admin_arg(c, "name")),
                          "revision", json_object_get(row, "revision"), "changed_at",
                          json_object_get(row, "at"), "changed_by", json_object_get(row, "by"),
                          "parent", json_object_get(row, "parent"), "settings",
                          json_object_get(row, "settings"), "roll"));
}

void admin_policy(struct admin_call *c)
{
    if (admin_query_number(c, "revision", &c->revisions.want[0])) {
        admin_read_revisions(c, revision_read);
        return;
    }
    bool rolls = false;
    if (!admin_find_policy(c, admin_arg(c, "name"), find_roll, &rolls)) return;
    if (rolls)
        admin_on_walks(c, show_run, show_done);
    else if (admin_find_policy(c, admin_arg(c, "name"), show_one, c))
        reply_list(c);
}

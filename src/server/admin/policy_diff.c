/* What differs between two revisions, or between two policies, and whom it would concern. */
#include <string.h>

#include "src/server/admin/internal.h"
#include "src/setting_json.h"

/* The version that carries most: what is stricter there is stricter. */
#define JUDGED_AT PV_V16_1

static const char *change_text(enum pv_change change)
{
    static const char *const texts[] = {[PV_SAME] = "same", /* the value says what unset means */
                                        [PV_STRICTER] = "stricter",
                                        [PV_LOOSER] = "looser",
                                        [PV_DIFFERENT] = "different"};
    return texts[change];
}

static enum pv_change change_of_treatment(const struct pv_policy *old, const struct pv_policy *new_,
                                          enum pv_setting s)
{
    return pv_policy_value(old, s) == pv_policy_value(new_, s) ? PV_SAME : PV_DIFFERENT;
}

static json_t *differences(const struct pv_policy *old, const struct pv_policy *new_)
{
    enum pv_change changes[PV_SETTING_COUNT];
    json_t *all = json_array();
    bool ok = all != NULL;
    (void)pv_policy_compare(old, new_, JUDGED_AT, changes);
    for (int i = 0; i < PV_SETTING_COUNT && ok; i++) {
        enum pv_setting s = (enum pv_setting)i;
        json_t *was = setting_json(old, s), *is = setting_json(new_, s);
        enum pv_change change =
            pv_setting_info(s)->treatment ? change_of_treatment(old, new_, s) : changes[i];
        ok = was && is;
        if (ok && !json_equal(was, is))
            ok = json_array_append_new(all, json_pack("{s:s,s:O,s:O,s:s}", "name",
                                                      pv_setting_info(s)->name, "old", was, "new",
                                                      is, "change", change_text(change))) == 0;
        json_decref(was);
        json_decref(is);
    }
    if (ok) return all;
    json_decref(all);
    return NULL;
}

/* ---- whom it would concern ---- */
/* A revision that could not be in force now (a roll-out is under way, its parent is gone) can be
 * compared all the same. */
static void tried(struct policy_change *p)
{
    struct admin_call *c = admin_call_of_policy(p);
    bool told = p->result == GATE_OK || p->result == GATE_UNCHANGED;
    if (p->result == GATE_STORE)
        (void)admin_policy_failed(c);
    else if (told && !admin_put_affected(c->list, p))
        admin_no_memory(c);
    else
        admin_reply(c, 200, json_incref(c->list));
}

static void try_it(struct admin_call *c, enum policy_act act)
{
    c->policy.name = admin_arg(c, "name");
    c->policy.dry_run = true;
    admin_policy_start(c, act, tried);
}

/* ---- with another policy ---- */
struct pair {
    struct admin_call *c;
    const struct policy_view *old;
    bool found;
};

static void compare_with(void *ctx, const struct policy_view *v)
{
    struct pair *pair = ctx;
    struct admin_call *c = pair->c;
    json_t *settings = settings_json(v->policy);
    pair->found = true;
    c->list = json_pack("{s:o,s:o}", "name", admin_text(pair->old->name), "settings",
                        differences(pair->old->policy, v->policy));
    c->revisions.row[1] = json_pack("{s:o,s:n}", "settings", settings, "parent");
}

static void show_first(void *ctx, const struct policy_view *v)
{
    struct pair *pair = ctx;
    pair->old = v;
    (void)gate_show_policy(pair->c->admin->gate, admin_query(pair->c, "with"), compare_with, pair);
}

static void diff_policies(struct admin_call *c)
{
    struct pair pair = {.c = c};
    if (!admin_find_policy(c, admin_arg(c, "name"), show_first, &pair)) return;
    if (!pair.found)
        admin_unknown_policy(c);
    else if (c->list == NULL || c->revisions.row[1] == NULL)
        admin_no_memory(c);
    else if (admin_take_settings(c, json_object_get(c->revisions.row[1], "settings")))
        try_it(c, POLICY_REPLACE);
}

/* ---- between revisions ---- */
struct overlay {
    const json_t *row;
    struct pv_arena arena;
    struct pv_policy policy;
    bool failed;
};

static void copy_parent(void *ctx, const struct policy_view *v)
{
    struct overlay *o = ctx;
    o->failed = pv_policy_copy(v->policy, &o->arena, &o->policy) != PV_OK;
}

/* What the revision would amount to now, with what is in force of its parent. */
static bool work_out(struct admin_call *c, const json_t *row, struct overlay *o)
{
    const char *parent = json_string_value(json_object_get(row, "parent"));
    if (pv_arena_create(&o->arena, ADMIN_POLICY_ARENA) != PV_OK) return false;
    if (parent) (void)gate_show_policy(c->admin->gate, parent, copy_parent, o);
    return !o->failed &&
           admin_overlay_settings(json_object_get(row, "settings"), &o->arena, &o->policy);
}

static json_t *compare_rows(struct admin_call *c)
{
    struct overlay old = {0}, new_ = {0};
    json_t *doc = NULL;
    if (work_out(c, c->revisions.row[0], &old) && work_out(c, c->revisions.row[1], &new_))
        doc = json_pack("{s:o,s:I,s:I,s:o}", "name", admin_text(admin_arg(c, "name")), "from",
                        (json_int_t)c->revisions.want[0], "to", (json_int_t)c->revisions.want[1],
                        "settings", differences(&old.policy, &new_.policy));
    pv_arena_destroy(&old.arena);
    pv_arena_destroy(&new_.arena);
    return doc;
}

static void rows_read(struct job *j)
{
    struct admin_call *c = admin_call_of_job(j);
    const json_t *to = c->revisions.row[1];
    const char *parent = json_string_value(json_object_get(to, "parent"));
    if (admin_revisions_failed(c)) return;
    if (!c->revisions.row[0] || !to) {
        admin_unknown_revision(c);
        return;
    }
    c->list = compare_rows(c);
    if (c->list == NULL) {
        admin_no_memory(c);
    } else if (c->policy.set_percent) { /* it is the candidate */
        try_it(c, POLICY_ROLL);
    } else if (admin_take_settings(c, json_object_get(to, "settings"))) {
        c->policy.parent = parent ? parent : "";
        try_it(c, POLICY_REPLACE);
    }
}

static void take_defaults(void *ctx, const struct policy_view *v)
{
    struct admin_call *c = ctx;
    uint64_t *want = c->revisions.want;
    want[0] = v->own_revision;
    want[1] = v->roll ? v->roll->revision : v->own_revision;
    (void)admin_query_number(c, "from", &want[0]);
    (void)admin_query_number(c, "to", &want[1]);
    c->policy.set_percent = v->roll && v->roll->revision == want[1];
    c->policy.percent = 100;
}

void admin_policy_diff(struct admin_call *c)
{
    bool between = admin_query(c, "from") || admin_query(c, "to");
    if (admin_query(c, "with") && between)
        admin_error(c, 400, "bad_query", "Either with another policy, or from and to.");
    else if (admin_query(c, "with"))
        diff_policies(c);
    else if (admin_find_policy(c, admin_arg(c, "name"), take_defaults, c))
        admin_read_revisions(c, rows_read);
}

#include "tests/unit/policies_fake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- what the store was told, so that a gate can start from it ---- */
#define ROWS_MAX 1024
static struct row {
    bool item;
    char kind[16], name[128], json[512], parent[POLICY_NAME_MAX];
    uint64_t revision;
} rows[ROWS_MAX];
size_t row_count;

static struct row *row_of(const char *kind, const char *name)
{
    for (size_t i = 0; i < row_count; i++)
        if (rows[i].item && !strcmp(rows[i].kind, kind) && !strcmp(rows[i].name, name))
            return &rows[i];
    return NULL;
}

static void see(const struct store_change *c)
{
    struct row *r = c->kind == STORE_PUT_ITEM || c->kind == STORE_REMOVE_ITEM
                        ? row_of(c->u.item.kind, c->u.item.name) : NULL;
    if (c->kind == STORE_REMOVE_ITEM && r)
        *r = rows[--row_count];
    if (c->kind != STORE_PUT_ITEM && c->kind != STORE_PUT_POLICY)
        return;
    if (!r)
        r = &rows[row_count++];
    assert_true(row_count < ROWS_MAX);
    *r = (struct row){.item = c->kind == STORE_PUT_ITEM};
    if (r->item) {
        snprintf(r->kind, sizeof r->kind, "%s", c->u.item.kind);
        snprintf(r->name, sizeof r->name, "%s", c->u.item.name);
        assert_in_range(snprintf(r->json, sizeof r->json, "%s", c->u.item.json), 1, 511);
    } else {
        snprintf(r->name, sizeof r->name, "%s", c->u.policy.name);
        snprintf(r->parent, sizeof r->parent, "%s", c->u.policy.parent);
        assert_in_range(snprintf(r->json, sizeof r->json, "%s", c->u.policy.settings_json), 1, 511);
        r->revision = c->u.policy.revision;
    }
}

static int by_order(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    if (x->item != y->item)
        return x->item ? -1 : 1;
    return x->item ? strcmp(x->name, y->name) : x->revision < y->revision ? -1 : 1;
}

/* As store_load gives them: items, then revisions in order. */
void load_stored(void)
{
    qsort(rows, row_count, sizeof *rows, by_order);
    world.loaded_count = 0;
    for (size_t i = 0; i < row_count; i++) {
        struct store_change *c = &world.loaded[world.loaded_count++];
        assert_true(world.loaded_count <= COUNT(world.loaded));
        if (rows[i].item)
            *c = (struct store_change){.kind = STORE_PUT_ITEM,
                                       .u.item = {rows[i].kind, rows[i].name, rows[i].json}};
        else
            *c = (struct store_change){.kind = STORE_PUT_POLICY,
                                       .u.policy = {.name = rows[i].name,
                                                    .revision = rows[i].revision, .at = 1,
                                                    .settings_json = rows[i].json,
                                                    .parent = rows[i].parent, .by = ""}};
    }
}

/* ---- the gate with three groups ---- */
static const char *sales[] = {"ann", "bob", "u1", "u4", "u9"}, *board[] = {"ann", "carl", "u4"};
static struct config_group groups[] = {
    {"sales", sales, COUNT(sales)}, {"board", board, COUNT(board)}, {"nobody", NULL, 0}};

int policies_begin(void **unused)
{
    (void)unused;
    world = (struct world){.now = 1700000000, .see = see};
    row_count = 0;
    memset(&config, 0, sizeof config);
    config.groups = (struct config_groups){groups, COUNT(groups)};
    load_default(5, "{}");
    see(&world.loaded[0]);
    start_gate();
    return 0;
}

struct policy_change last;
static bool told;

static void done(struct policy_change *c)
{
    (void)c;
    told = true;
}

enum gate_result run(struct policy_change c)
{
    policy_change_finish(&last);
    last = c;
    last.actor = "uid 0";
    last.done = done;
    told = false;
    gate_change_policies(gate, &last);
    assert_false(told); /* always later */
    run_tasks();
    assert_true(told);
    return last.result;
}

int policies_end(void **unused)
{
    policy_change_finish(&last);
    return tear_down(unused);
}

static struct gate_setting one;

const struct gate_setting *setting(const char *name, const char *value)
{
    one = (struct gate_setting){name, value};
    return &one;
}

void make_policy(const char *name, const char *parent, const char *length)
{
    assert_int_equal(RUN(.act = POLICY_NEW, .name = name, .parent = parent, .count = 1,
                         .settings = setting("MinDevicePasswordLength", length)), GATE_OK);
}

enum gate_result set(const char *name, const char *what, const char *value)
{
    return RUN(.act = POLICY_SET, .name = name, .settings = setting(what, value), .count = 1);
}

enum gate_result stage(const char *name, const char *what, const char *value)
{
    return RUN(.act = POLICY_SET, .name = name, .settings = setting(what, value), .count = 1,
               .staged = true);
}

enum gate_result roll_to(const char *name, unsigned percent)
{
    return RUN(.act = POLICY_ROLL, .name = name, .set_percent = true, .percent = percent);
}

enum gate_result assign(enum gate_scope scope, const char *group, const char *user,
                               const char *device, const char *policy)
{
    return RUN(.act = policy ? POLICY_ASSIGN : POLICY_UNASSIGN, .name = policy,
               .to = {scope, group, user, device});
}

/* ---- what applies ---- */
static void take(void *ctx, const struct effective_view *v)
{
    struct applies *a = ctx;
    const char *from = v->from[PV_SET_MinDevicePasswordLength];
    snprintf(a->policy, sizeof a->policy, "%s", v->policy);
    snprintf(a->from, sizeof a->from, "%s", from ? from : "");
    a->by = v->by.scope;
    a->length = v->settings->value[PV_SET_MinDevicePasswordLength];
    a->revision = v->revision;
    a->in_roll = v->in_roll;
    a->candidates = v->candidate_count;
}

struct applies applies_to(const char *user, const char *device)
{
    struct applies a = {0};
    assert_true(gate_show_effective(gate, user, device, take, &a));
    return a;
}


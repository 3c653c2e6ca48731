/* Policies in layers: who gets which, roll-outs, and that a dry run tells what the change then does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/gate_fake.h"

#define COUNT(list) (sizeof(list) / sizeof *(list))

/* ---- what the store was told, so that a gate can start from it ---- */
#define ROWS_MAX 1024
static struct row {
    bool item;
    char kind[16], name[128], json[512], parent[POLICY_NAME_MAX];
    uint64_t revision;
} rows[ROWS_MAX];
static size_t row_count;

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
static void load_rows(void)
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

static int begin(void **unused)
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

static struct policy_change last;
static bool told;

static void done(struct policy_change *c)
{
    (void)c;
    told = true;
}

static enum gate_result run(struct policy_change c)
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
#define RUN(...) run((struct policy_change){__VA_ARGS__})

static int end(void **unused)
{
    policy_change_finish(&last);
    return tear_down(unused);
}

static struct gate_setting one;

static const struct gate_setting *setting(const char *name, const char *value)
{
    one = (struct gate_setting){name, value};
    return &one;
}

static void make(const char *name, const char *parent, const char *length)
{
    assert_int_equal(RUN(.act = POLICY_NEW, .name = name, .parent = parent, .count = 1,
                         .settings = setting("MinDevicePasswordLength", length)), GATE_OK);
}

static enum gate_result set(const char *name, const char *what, const char *value)
{
    return RUN(.act = POLICY_SET, .name = name, .settings = setting(what, value), .count = 1);
}

static enum gate_result stage(const char *name, const char *what, const char *value)
{
    return RUN(.act = POLICY_SET, .name = name, .settings = setting(what, value), .count = 1,
               .staged = true);
}

static enum gate_result roll(const char *name, unsigned percent)
{
    return RUN(.act = POLICY_ROLL, .name = name, .set_percent = true, .percent = percent);
}

static enum gate_result assign(enum gate_scope scope, const char *group, const char *user,
                               const char *device, const char *policy)
{
    return RUN(.act = policy ? POLICY_ASSIGN : POLICY_UNASSIGN, .name = policy,
               .to = {scope, group, user, device});
}

/* ---- what applies ---- */
struct applies {
    char policy[POLICY_NAME_MAX], from[POLICY_NAME_MAX];
    enum gate_scope by;
    int64_t length;
    uint64_t revision;
    bool in_roll;
    size_t candidates;
};

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

static struct applies applies_to(const char *user, const char *device)
{
    struct applies a = {0};
    assert_true(gate_show_effective(gate, user, device, take, &a));
    return a;
}

static void the_nearest_wins(void **unused)
{
    (void)unused;
    static const struct {
        enum gate_scope scope;
        const char *group, *user, *device, *policy;
        const char *ann_dev1, *ann, *bob, *carl, *eve; /* what applies afterwards */
    } steps[] = {
        {GATE_SCOPE_DEFAULT, NULL, NULL, NULL, "a", "a", "a", "a", "a", "a"},
        {GATE_SCOPE_GROUP, "board", NULL, NULL, "b", "b", "b", "a", "b", "a"},
        {GATE_SCOPE_GROUP, "sales", NULL, NULL, "c", "c", "c", "c", "b", "a"}, /* stands first */
        {GATE_SCOPE_USER, NULL, "ann", NULL, "d", "d", "d", "c", "b", "a"},
        {GATE_SCOPE_DEVICE, NULL, "ann", "DEV1", "b", "b", "d", "c", "b", "a"},
        {GATE_SCOPE_DEVICE, NULL, "ann", "DEV2", "a", "b", "d", "c", "b", "a"},
        {GATE_SCOPE_USER, NULL, "ann", NULL, NULL, "b", "c", "c", "b", "a"},
        {GATE_SCOPE_GROUP, "sales", NULL, NULL, NULL, "b", "b", "a", "b", "a"},
        {GATE_SCOPE_DEVICE, NULL, "ann", "DEV1", NULL, "b", "b", "a", "b", "a"},
        {GATE_SCOPE_DEFAULT, NULL, NULL, NULL, NULL, "b", "b", "default", "b", "default"},
    };
    make("a", "", "4");
    make("b", "", "5");
    make("c", "", "6");
    make("d", "", "7");
    for (size_t i = 0; i < COUNT(steps); i++) {
        print_message("# step %zu\n", i);
        assert_int_equal(assign(steps[i].scope, steps[i].group, steps[i].user, steps[i].device,
                                steps[i].policy), GATE_OK);
        assert_string_equal(applies_to("ann", "DEV1").policy, steps[i].ann_dev1);
        assert_string_equal(applies_to("ann", "DEV9").policy, steps[i].ann);
        assert_string_equal(applies_to("ann", NULL).policy, steps[i].ann);
        assert_string_equal(applies_to("bob", "DEV1").policy, steps[i].bob);
        assert_string_equal(applies_to("carl", "DEV1").policy, steps[i].carl);
        assert_string_equal(applies_to("eve", "DEV1").policy, steps[i].eve);
    }
    assert_int_equal(applies_to("ann", "DEV1").by, GATE_SCOPE_GROUP);
    assert_int_equal(applies_to("ann", "DEV2").candidates, 3);
    assert_int_equal(assign(GATE_SCOPE_USER, NULL, "ann", NULL, NULL), GATE_UNCHANGED);
    assert_int_equal(assign(GATE_SCOPE_GROUP, "board", NULL, NULL, "b"), GATE_UNCHANGED);
    assert_int_equal(RUN(.act = POLICY_UNASSIGN, .name = "a",
                         .to = {.scope = GATE_SCOPE_GROUP, .group = "board"}), GATE_CONFLICT);
}

static void what_a_child_does_not_set_is_its_parents(void **unused)
{
    (void)unused;
    make("up", "default", "4");
    assert_int_equal(RUN(.act = POLICY_NEW, .name = "down", .parent = "up"), GATE_OK);
    uint64_t made = last.revision;
    assert_int_equal(assign(GATE_SCOPE_USER, NULL, "ann", NULL, "down"), GATE_OK);
    struct applies a = applies_to("ann", "DEV1");
    assert_string_equal(a.from, "up");
    assert_int_equal(a.length, 4);
    assert_int_equal(a.revision, made);

    /* A change above is a new revision below. */
    char key[65];
    handshake("ann", "14.1", key);
    assert_int_equal(set("up", "MinDevicePasswordLength", "5"), GATE_OK);
    assert_int_equal(last.affected, 1);
    assert_int_equal(applies_to("ann", "DEV1").length, 5);
    assert_int_equal(applies_to("ann", "DEV1").revision, last.revision);
    assert_int_equal(folder_sync("ann", "14.1", key), 143);

    handshake("ann", "14.1", key);
    assert_int_equal(set("down", "MinDevicePasswordLength", "5"), GATE_OK); /* as inherited */
    assert_int_equal(last.affected, 0);
    assert_int_equal(set("up", "MinDevicePasswordLength", "6"), GATE_OK); /* covered by it */
    assert_int_equal(last.affected, 0);
    assert_int_equal(folder_sync("ann", "14.1", key), 1);
    assert_string_equal(applies_to("ann", "DEV1").from, "down");

    assert_int_equal(RUN(.act = POLICY_SET, .name = "down", .parent = ""), GATE_OK);
    assert_int_equal(set("down", "MinDevicePasswordLength", ""), GATE_OK);
    assert_string_equal(applies_to("ann", "DEV1").from, "");
}

static void what_cannot_be_is_refused(void **unused)
{
    (void)unused;
    static const struct {
        enum policy_act act;
        const char *name, *parent;
        enum gate_result want;
        const char *says;
    } cases[] = {
        {POLICY_NEW, "p1", NULL, GATE_EXISTS, ""},
        {POLICY_NEW, "", NULL, GATE_INVALID, "1 to 63 bytes"},
        {POLICY_NEW, "a/b", NULL, GATE_INVALID, "slashes"},
        {POLICY_NEW, ".a", NULL, GATE_INVALID, "dot"},
        {POLICY_NEW, "a\n", NULL, GATE_INVALID, "control"},
        {POLICY_NEW, "new", "none", GATE_INVALID, "no policy \"none\""},
        {POLICY_NEW, "p9", "p8", GATE_INVALID, "\"p9\" would be the last of more than 8"},
        {POLICY_SET, "none", "p1", GATE_UNKNOWN, ""},
        {POLICY_SET, "p1", "p1", GATE_INVALID, "\"p1\" cannot inherit from itself"},
        {POLICY_SET, "p1", "p3", GATE_INVALID, "would inherit from each other"},
        {POLICY_SET, "p1", "p0", GATE_INVALID, "more than 8"},
        {POLICY_REMOVE, "none", NULL, GATE_UNKNOWN, ""},
        {POLICY_REMOVE, "default", NULL, GATE_CONFLICT, "stays"},
        {POLICY_REMOVE, "p7", NULL, GATE_CONFLICT, "\"p8\" inherits from it"},
        {POLICY_REMOVE, "p0", NULL, GATE_CONFLICT, "assigned: [\"user\",\"bob\"]"},
        {POLICY_ROLL, "p1", NULL, GATE_CONFLICT, "waits"},
        {POLICY_ROLL_BACK, "p1", NULL, GATE_UNCHANGED, ""},
        {POLICY_ROLL, "none", NULL, GATE_UNKNOWN, ""},
    };
    char name[16], above[16] = "";
    for (int i = 1; i <= 8; i++) {
        snprintf(name, sizeof name, "p%d", i);
        make(name, above, "4");
        memcpy(above, name, sizeof above);
    }
    make("p0", "", "4");
    assert_int_equal(assign(GATE_SCOPE_USER, NULL, "bob", NULL, "p0"), GATE_OK);
    unsigned audited = world.audited;
    for (size_t i = 0; i < COUNT(cases); i++) {
        print_message("# %s\n", cases[i].says);
        assert_int_equal(RUN(.act = cases[i].act, .name = cases[i].name, .parent = cases[i].parent,
                             .set_percent = true), cases[i].want);
        assert_non_null(strstr(last.message, cases[i].says));
    }
    assert_int_equal(assign(GATE_SCOPE_GROUP, "strangers", NULL, NULL, "p1"), GATE_INVALID);
    assert_int_equal(assign(GATE_SCOPE_USER, NULL, "", NULL, "p1"), GATE_INVALID);
    assert_int_equal(assign(GATE_SCOPE_DEVICE, NULL, "ann", "", "p1"), GATE_INVALID);
    assert_int_equal(assign(GATE_SCOPE_USER, NULL, "ann", NULL, "none"), GATE_UNKNOWN);
    assert_int_equal(world.audited, audited);

    /* Who removes it later on finds its name free. */
    assert_int_equal(RUN(.act = POLICY_REMOVE, .name = "p8"), GATE_OK);
    make("p8", "p1", "9");
}

/* Each alone fits, both together do not. */
static void a_parent_does_not_break_its_child(void **unused)
{
    (void)unused;
    static char list[20001];
    for (size_t i = 0; i < sizeof list - 1; i++)
        list[i] = i % 200 == 199 ? ',' : (char)('a' + i / 200 % 26);
    for (size_t i = 0; i < sizeof list - 1; i += 200) {
        list[i] = (char)('a' + i / 200 % 26);
        list[i + 1] = (char)('a' + i / 5200);
    }
    list[sizeof list - 2] = '\0';
    world.see = NULL; /* longer than it keeps */
    make("up", "", "4");
    make("down", "up", "5");
    assert_int_equal(set("down", "ApprovedApplicationList", list), GATE_OK);
    assert_int_equal(set("up", "UnapprovedInROMApplicationList", list), GATE_INVALID);
    assert_non_null(strstr(last.message, "\"down\", which inherits from this one"));
    assert_non_null(strstr(last.message, "32768"));
    assert_int_equal(stage("up", "UnapprovedInROMApplicationList", list), GATE_INVALID);
    assert_int_equal(set("up", "MinDevicePasswordLength", "6"), GATE_OK);
}

static void two_administrators_do_not_overwrite_each_other(void **unused)
{
    (void)unused;
    make("a", "default", "4");
    uint64_t seen = last.revision;
    assert_int_equal(set("default", "AllowCamera", "0"), GATE_OK); /* counts as well */
    assert_int_equal(RUN(.act = POLICY_SET, .name = "a", .settings = setting("AllowWiFi", "0"),
                         .count = 1, .if_revision = seen), GATE_CONFLICT);
    assert_non_null(strstr(last.message, "by now"));
    assert_int_equal(RUN(.act = POLICY_SET, .name = "a", .settings = setting("AllowWiFi", "0"),
                         .count = 1, .if_revision = seen + 1), GATE_OK);
}

static void a_replaced_policy_has_just_that(void **unused)
{
    (void)unused;
    make("a", "default", "4");
    assert_int_equal(RUN(.act = POLICY_REPLACE, .name = "a", .count = 1,
                         .settings = setting("AllowCamera", "0")), GATE_OK);
    assert_int_equal(assign(GATE_SCOPE_USER, NULL, "ann", NULL, "a"), GATE_OK);
    assert_string_equal(applies_to("ann", "D").from, "");
    assert_int_equal(RUN(.act = POLICY_REPLACE, .name = "a", .count = 1,
                         .settings = setting("AllowCamera", "0")), GATE_UNCHANGED);
    assert_int_equal(RUN(.act = POLICY_REPLACE, .name = "b"), GATE_OK); /* made */
    assert_int_equal(RUN(.act = POLICY_RESTORE, .name = "c"), GATE_UNKNOWN); /* not made */
}

/* ---- roll-outs ---- */
#define MANY 400

static unsigned in_roll(bool had[MANY])
{
    unsigned count = 0;
    char user[32];
    for (int i = 0; i < MANY; i++) {
        snprintf(user, sizeof user, "u%d", i);
        bool has = applies_to(user, "DEV1").in_roll;
        assert_true(has || !had[i]); /* widening takes it from nobody */
        had[i] = has;
        count += has;
    }
    return count;
}

static void a_roll_only_widens(void **unused)
{
    (void)unused;
    static const unsigned percents[] = {1, 5, 20, 50, 99};
    bool had[MANY] = {false};
    assert_int_equal(stage("default", "MinDevicePasswordLength", "8"), GATE_OK);
    uint64_t candidate = last.revision;
    assert_int_equal(in_roll(had), 0);
    for (size_t i = 0; i < COUNT(percents); i++) {
        assert_int_equal(roll("default", percents[i]), GATE_OK);
        assert_int_equal(last.revision, candidate);
        unsigned n = in_roll(had), want = MANY * percents[i] / 100;
        print_message("# %u %%: %u of %d\n", percents[i], n, MANY);
        assert_in_range(n, want < 30 ? 0 : want - 30, want + 30);
    }
    assert_int_equal(roll("default", 99), GATE_UNCHANGED);
    assert_int_equal(roll("default", 101), GATE_INVALID);
    assert_int_equal(set("default", "AllowCamera", "0"), GATE_CONFLICT);
    assert_non_null(strstr(last.message, "being rolled out"));
    assert_int_equal(roll("default", 100), GATE_OK);
    assert_int_equal(applies_to("u0", "DEV1").length, 8);
    assert_false(applies_to("u0", "DEV1").in_roll);
    assert_int_equal(applies_to("u0", "DEV1").revision, candidate);
    assert_int_equal(set("default", "AllowCamera", "0"), GATE_OK);
}

static void groups_go_first(void **unused)
{
    (void)unused;
    static const char *const first[] = {"board", "nobody"}, *const unknown[] = {"strangers"};
    assert_int_equal(stage("default", "MinDevicePasswordLength", "8"), GATE_OK);
    assert_int_equal(RUN(.act = POLICY_ROLL, .name = "default", .set_groups = true,
                         .groups = unknown, .group_count = 1), GATE_INVALID);
    assert_int_equal(RUN(.act = POLICY_ROLL, .name = "default", .set_groups = true,
                         .groups = first, .group_count = 2), GATE_OK);
    assert_true(applies_to("ann", "D").in_roll);
    assert_true(applies_to("carl", NULL).in_roll);
    assert_false(applies_to("bob", "D").in_roll);
    assert_int_equal(roll("default", 30), GATE_OK); /* beside the groups */
    assert_true(applies_to("carl", "D").in_roll);
    assert_int_equal(RUN(.act = POLICY_ROLL_BACK, .name = "default"), GATE_OK);
    assert_int_equal(applies_to("ann", "D").length, 0);
    assert_int_equal(set("default", "AllowCamera", "0"), GATE_OK);
    assert_int_equal(applies_to("ann", "D").length, 0);
}

static void children_follow_the_roll_of_their_parent(void **unused)
{
    (void)unused;
    char user[32];
    unsigned count = 0;
    make("up", "", "4");
    assert_int_equal(RUN(.act = POLICY_NEW, .name = "down", .parent = "up"), GATE_OK);
    make("other", "", "4");
    assert_int_equal(stage("up", "MinDevicePasswordLength", "8"), GATE_OK);
    assert_int_equal(roll("up", 50), GATE_OK);
    for (int i = 0; i < 60; i++) {
        snprintf(user, sizeof user, "u%d", i);
        assign(GATE_SCOPE_USER, NULL, user, NULL, "up");
        bool has = applies_to(user, "DEV1").in_roll;
        assign(GATE_SCOPE_USER, NULL, user, NULL, "down");
        assert_int_equal(applies_to(user, "DEV1").in_roll, has);
        assert_int_equal(applies_to(user, "DEV1").length, has ? 8 : 4);
        count += has;
    }
    assert_in_range(count, 15, 45);
    /* One at a time in a line, however it comes about. */
    assert_int_equal(stage("down", "AllowCamera", "0"), GATE_CONFLICT);
    assert_int_equal(set("down", "AllowCamera", "0"), GATE_OK);
    assert_int_equal(stage("other", "AllowCamera", "0"), GATE_OK);
    assert_int_equal(RUN(.act = POLICY_SET, .name = "down", .parent = "other"), GATE_OK);
    assert_int_equal(RUN(.act = POLICY_NEW, .name = "third", .parent = "down"), GATE_OK);
    assert_int_equal(stage("third", "AllowCamera", "0"), GATE_CONFLICT);
    assert_non_null(strstr(last.message, "\"other\" and \"third\""));
    assert_int_equal(RUN(.act = POLICY_ROLL_BACK, .name = "other"), GATE_OK);
    assert_int_equal(stage("third", "AllowCamera", "0"), GATE_OK);
}

static struct roll_view watched;

static void watch(void *unused, const struct policy_view *v)
{
    (void)unused;
    watched = v->roll ? *v->roll : (struct roll_view){0};
}

static void a_roll_is_watched(void **unused)
{
    (void)unused;
    char key[65];
    handshake("ann", "14.1", key);
    handshake("carl", "16.1", key);
    handshake("u4", "12.0", key);
    handshake("bob", "14.1", key);
    static const char *const first[] = {"board"};
    assert_int_equal(stage("default", "AllowCamera", "0"), GATE_OK);
    assert_int_equal(last.affected, 0);
    assert_int_equal(RUN(.act = POLICY_ROLL, .name = "default", .set_groups = true,
                         .groups = first, .group_count = 1), GATE_OK);
    assert_int_equal(last.affected, 2); /* 12.0 does not carry it, bob is not in it */
    gate_show_policy(gate, "default", watch, NULL);
    assert_int_equal(watched.to_ask, 2);
    assert_int_equal(watched.confirmed, 1);
    handshake("ann", "14.1", key);
    struct http_exchange ask = {.user = "carl", .version = "16.1"};
    struct http_exchange ack = {.user = "carl", .version = "16.1"};
    struct told offer = told_by(provision(&ask, NULL, 0, NULL));
    provision(&ack, offer.key, 3, NULL);
    run_tasks();
    gate_show_policy(gate, "default", watch, NULL);
    assert_int_equal(watched.confirmed, 2);
    assert_int_equal(watched.refused, 1);
    assert_int_equal(watched.to_ask, 0);
    assert_int_equal(RUN(.act = POLICY_ROLL_BACK, .name = "default"), GATE_OK);
    assert_int_equal(last.affected, 1); /* ann has confirmed it */
}

static void whoever_sees_no_difference_is_not_asked(void **unused)
{
    (void)unused;
    char key[65];
    make("a", "", "6");
    make("b", "", "6");
    assert_int_equal(assign(GATE_SCOPE_USER, NULL, "ann", NULL, "a"), GATE_OK);
    handshake("ann", "14.1", key);
    assert_int_equal(assign(GATE_SCOPE_USER, NULL, "ann", NULL, "b"), GATE_OK);
    assert_int_equal(last.affected, 0);
    assert_int_equal(folder_sync("ann", "14.1", key), 1);
    assert_int_equal(assign(GATE_SCOPE_USER, NULL, "ann", NULL, "default"), GATE_OK);
    assert_int_equal(last.affected, 1);
    assert_int_equal(folder_sync("ann", "14.1", key), 143);

    /* Nor is one that will be asked anyway asked because of it. */
    assert_int_equal(RUN(.act = POLICY_NEW, .name = "c"), GATE_OK);
    assert_int_equal(assign(GATE_SCOPE_USER, NULL, "ann", NULL, "c"), GATE_OK);
    assert_int_equal(last.affected, 0);
}

static void acts_are_written_down(void **unused)
{
    (void)unused;
    make("a", "default", "6");
    assert_non_null(strstr(world.last_audit, "\"actor\":\"uid 0\",\"act\":\"policy.new\""));
    assert_non_null(strstr(world.last_audit, "\"policy\":\"a\""));
    set("a", "MinDevicePasswordLength", "7");
    assert_non_null(strstr(world.last_audit, "\"before\":{\"revision\":6,\"parent\":\"default\","
                                             "\"settings\":{\"MinDevicePasswordLength\":\"6\"}}"));
    assert_non_null(strstr(world.last_audit, "\"after\":{\"revision\":7,\"parent\":\"default\","
                                             "\"settings\":{\"MinDevicePasswordLength\":\"7\"}}"));
    assign(GATE_SCOPE_DEVICE, NULL, "ann", "D1", "a");
    assert_non_null(strstr(world.last_audit, "\"act\":\"policy.assign\",\"scope\":\"device\","
                                             "\"user\":\"ann\",\"device_id\":\"D1\","
                                             "\"before\":null,\"after\":{\"policy\":\"a\"}"));
    assign(GATE_SCOPE_DEVICE, NULL, "ann", "D1", NULL);
    assert_non_null(strstr(world.last_audit, "\"before\":{\"policy\":\"a\"},\"after\":null"));
    stage("a", "MinDevicePasswordLength", "9");
    assert_non_null(strstr(world.last_audit, "\"act\":\"policy.stage\""));
    roll("a", 5);
    assert_non_null(strstr(world.last_audit, "\"before\":{\"revision\":8,\"percent\":0,"
                                             "\"groups\":[]},\"after\":{\"revision\":8,"
                                             "\"percent\":5,\"groups\":[]}"));
    RUN(.act = POLICY_ROLL_BACK, .name = "a");
    assert_non_null(strstr(world.last_audit, "\"act\":\"policy.roll-back\""));
    RUN(.act = POLICY_REMOVE, .name = "a");
    assert_non_null(strstr(world.last_audit, "\"act\":\"policy.remove\""));
    assert_int_equal(world.audited, 8);
}

/* ---- a fleet under random changes ---- */
#define FLEET 21
static const char *const versions[] = {"2.5", "12.0", "12.1", "14.0", "14.1", "16.0", "16.1"};
static char keys[FLEET][65];
static const char *const names[] = {"default", "a", "b", "c"};

static uint32_t pick(uint32_t below)
{
    static uint64_t state = 0x9E3779B97F4A7C15;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 16) % below;
}

static const char *user_of(int i)
{
    static char user[4][16];
    static unsigned turn;
    char *u = user[turn++ % 4];
    snprintf(u, sizeof user[0], "u%d", i);
    return u;
}

/* Every third says that it keeps the policy only in part. */
static void confirm(int i)
{
    struct http_exchange ask = {.user = user_of(i), .version = versions[i % 7]}, ack = ask;
    struct told offer = told_by(provision(&ask, NULL, 0, NULL));
    provision(&ack, offer.key, i % 3 ? 1 : 2, NULL);
    run_tasks();
    memcpy(keys[i], told_by(&ack).key, sizeof keys[i]);
}

static struct policy_change random_change(void)
{
    static const struct gate_setting pool[] = {
        {"AllowCamera", "0"}, {"AllowCamera", "1"}, {"AllowCamera", ""},
        {"DevicePasswordEnabled", "1"}, {"DevicePasswordEnabled", ""},
        {"MinDevicePasswordLength", "6"}, {"MinDevicePasswordLength", "8"},
        {"AttachmentsEnabled", "0"}, {"AttachmentsEnabled", ""}, {"RefreshInterval", "30d"},
        {"MaxInactivityTimeDeviceLock", "600"}, {"MaxInactivityTimeDeviceLock", "601"}};
    static const char *const parents[] = {"", "default", "a", "b"};
    static const char *const first[] = {"board", "sales"};
    static char user[16];
    struct policy_change c = {.name = names[pick(4)]};
    snprintf(user, sizeof user, "u%u", pick(FLEET));
    switch (pick(8)) {
    case 0:
    case 1:
    case 2:
        c.act = POLICY_SET;
        c.settings = &pool[pick(COUNT(pool))];
        c.count = 1;
        c.staged = pick(3) == 0;
        break;
    case 3:
        c.act = POLICY_SET;
        c.parent = parents[pick(4)];
        break;
    case 4:
    case 5:
        c.act = pick(3) ? POLICY_ASSIGN : POLICY_UNASSIGN;
        c.to.scope = (enum gate_scope)pick(GATE_SCOPE_COUNT);
        c.to.group = first[pick(2)];
        c.to.user = user;
        c.to.device_id = "DEV1";
        if (c.act == POLICY_UNASSIGN) c.name = NULL;
        break;
    default:
        c.act = pick(4) ? POLICY_ROLL : POLICY_ROLL_BACK;
        c.set_percent = pick(2);
        c.percent = pick(5) * 25;
        c.set_groups = !c.set_percent;
        c.groups = first;
        c.group_count = pick(3);
    }
    return c;
}

/* Exactly those that were named are asked, and only they. */
static void check_asked(const struct asked_device *asked, size_t count)
{
    size_t at = 0;
    for (size_t i = 0; i + 1 < count; i++)
        assert_true(strcmp(asked[i].user, asked[i + 1].user) < 0);
    for (int i = 0; i < FLEET; i++) {
        bool named = false;
        for (size_t n = 0; n < count; n++)
            if (!strcmp(asked[n].user, user_of(i))) {
                named = true;
                assert_int_equal(asked[n].said, i % 3 ? 1 : 2);
                assert_int_equal(asked[n].state, PV_STATE_PROVISIONED);
            }
        assert_int_equal(folder_sync(user_of(i), versions[i % 7], keys[i]) != 1, named);
        if (named) confirm(i);
        at += named;
    }
    assert_int_equal(at, count);
}

static void a_dry_run_tells_what_the_change_does(void **unused)
{
    (void)unused;
    unsigned changes = 0, asked_in_all = 0;
    assert_int_equal(set("default", "AllowPartial", "1"), GATE_OK);
    for (size_t i = 1; i < COUNT(names); i++) {
        make(names[i], i == 2 ? "a" : "", "4");
        assert_int_equal(set(names[i], "AllowPartial", "1"), GATE_OK);
    }
    for (int i = 0; i < FLEET; i++) confirm(i);
    for (int round = 0; round < 600; round++) {
        struct policy_change c = random_change();
        unsigned puts = world.put_policies, audited = world.audited;
        size_t kept = row_count;
        c.dry_run = true;
        enum gate_result would = run(c);
        assert_int_equal(world.put_policies + world.audited, puts + audited);
        assert_int_equal(row_count, kept);
        struct asked_device asked[FLEET];
        size_t count = last.device_count;
        unsigned affected = last.affected, cannot_keep = last.cannot_keep;
        uint64_t revision = last.revision;
        assert_int_equal(count, affected);
        if (count) memcpy(asked, last.devices, count * sizeof *asked);
        unsigned cannot = 0;
        for (size_t i = 0; i < count; i++) cannot += asked[i].said == 2;
        assert_int_equal(cannot, cannot_keep);

        c.dry_run = false;
        assert_int_equal(run(c), would);
        assert_int_equal(last.affected, affected);
        assert_int_equal(last.cannot_keep, cannot_keep);
        assert_int_equal(last.revision, revision);
        assert_int_equal(world.audited, audited + (would == GATE_OK));
        check_asked(asked, count);
        changes += would == GATE_OK;
        asked_in_all += affected;
    }
    print_message("# %u changes, %u devices asked\n", changes, asked_in_all);
    assert_true(changes > 150 && asked_in_all > 300);

    /* What was stored says the same to the next gate. */
    struct applies before[FLEET];
    for (int i = 0; i < FLEET; i++) before[i] = applies_to(user_of(i), "DEV1");
    run_tasks();
    gate_destroy(gate);
    load_rows();
    start_gate();
    for (int i = 0; i < FLEET; i++) {
        struct applies after = applies_to(user_of(i), "DEV1");
        assert_memory_equal(&after, &before[i], sizeof after);
    }
    assert_int_equal(set("default", "AllowPartial", "0") == GATE_CONFLICT ||
                     last.revision > before[0].revision, true);
}

static void the_first_thousand_are_listed(void **unused)
{
    (void)unused;
    char user[16], key[65];
    for (int i = 0; i < ASKED_DEVICES_MAX + 200; i++) {
        snprintf(user, sizeof user, "u%04d", i * 7 % (ASKED_DEVICES_MAX + 200)); /* any order */
        handshake(user, "14.1", key);
    }
    assert_int_equal(RUN(.act = POLICY_SET, .name = "default", .dry_run = true, .count = 1,
                         .settings = setting("AllowCamera", "0")), GATE_OK);
    assert_int_equal(last.affected, ASKED_DEVICES_MAX + 200);
    assert_int_equal(last.device_count, ASKED_DEVICES_MAX);
    for (int i = 0; i < ASKED_DEVICES_MAX; i++) {
        snprintf(user, sizeof user, "u%04d", i);
        assert_string_equal(last.devices[i].user, user);
    }
}

/* ---- from the store ---- */
static void what_the_store_says_of_lines_counts(void **unused)
{
    (void)unused;
    static const struct {
        const char *kind, *name, *json, *says; /* says "": it starts */
    } cases[] = {
        {"line", "default", "{\"current\":5,\"candidate\":7,\"percent\":5,\"groups\":[]}", ""},
        {"line", "default", "{\"current\":5,\"candidate\":0}", ""},
        {"line", "gone", "{\"removed\":9}", ""},
        {"other", "x", "no JSON", ""},
        {"line", "default", "{\"current\":4}", "a revision of policy \"default\" is missing"},
        {"line", "default", "{\"current\":5,\"candidate\":8,\"percent\":5,\"groups\":[]}",
         "missing"},
        {"line", "default", "{", "line of policies \"default\" cannot be read"},
        {"line", "default", "{\"current\":5,\"candidate\":7,\"percent\":500,\"groups\":[]}",
         "cannot be read"},
        {"assignment", "x", "{\"scope\":\"user\",\"policy\":\"default\"}", "cannot be read"},
        {"assignment", "x", "{\"scope\":\"user\",\"user\":\"ann\",\"policy\":\"none\"}",
         "no policy \"none\", which is assigned"},
        {"assignment", "x", "{\"scope\":\"user\",\"user\":\"ann\",\"policy\":\"default\"}", ""},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        print_message("# %s\n", cases[i].json);
        gate_destroy(gate);
        world.loaded_count = 1;
        world.loaded[0] = (struct store_change){
            .kind = STORE_PUT_ITEM, .u.item = {cases[i].kind, cases[i].name, cases[i].json}};
        load_default(5, "{}");
        load_default(7, "{\"MinDevicePasswordLength\":\"7\"}");
        assert_int_equal(try_gate(), !*cases[i].says);
        assert_non_null(strstr(error, cases[i].says));
    }
    assert_int_equal(applies_to("ann", "D").length, 7);
    assert_int_equal(applies_to("ann", "D").by, GATE_SCOPE_USER);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_nearest_wins),
        TEST(what_a_child_does_not_set_is_its_parents),
        TEST(what_cannot_be_is_refused),
        TEST(a_parent_does_not_break_its_child),
        TEST(two_administrators_do_not_overwrite_each_other),
        TEST(a_replaced_policy_has_just_that),
        TEST(a_roll_only_widens),
        TEST(groups_go_first),
        TEST(children_follow_the_roll_of_their_parent),
        TEST(a_roll_is_watched),
        TEST(whoever_sees_no_difference_is_not_asked),
        TEST(acts_are_written_down),
        TEST(a_dry_run_tells_what_the_change_does),
        TEST(the_first_thousand_are_listed),
        TEST(what_the_store_says_of_lines_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Policies and rules of two servers over one store: each hears of what the other changes, and of two
 * changes at a time one is told that it came too late. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/server/gate/lists.h"
#include "src/server/gate/rules/rules_admin.h"
#include "tests/unit/fake_store.h"
#include "tests/unit/gate_fake.h"

static struct fake_db *db;
static struct fake_node *node[2];
static struct gate *gates[2];

static void start(unsigned i)
{
    node[i] = fake_node_open(db);
    node[i]->at_once = true; /* the first start waits for the disk */
    world.shared = &node[i]->base;
    start_gate();
    gates[i] = gate;
    node[i]->at_once = false;
}

static int begin(void **unused)
{
    (void)unused;
    world = (struct world){.now = 1700000000};
    memset(&config, 0, sizeof config);
    db = fake_db_create();
    start(0);
    start(1);
    run_tasks();
    return 0;
}

static int end(void **unused)
{
    (void)unused;
    for (unsigned i = 0; i < 2; i++) {
        while (fake_release(node[i])) {}
        run_tasks();
        gate_destroy(gates[i]);
        run_tasks();
        fake_node_close(node[i]);
    }
    fake_db_destroy(db);
    return 0;
}

/* ---- short ways ---- */
static unsigned ended;

static void changed(struct policy_change *c)
{
    (void)c;
    ended++;
}

static const struct gate_setting length_of[] = {
    {"MinDevicePasswordLength", "4"}, {"MinDevicePasswordLength", "5"},
    {"MinDevicePasswordLength", "6"}, {"MinDevicePasswordLength", "7"}};

static struct policy_change set_length(const char *name, enum policy_act act, unsigned length)
{
    return (struct policy_change){.act = act,
                                  .actor = "uid 0",
                                  .name = name,
                                  .settings = &length_of[length - 4],
                                  .count = 1,
                                  .done = changed};
}

static enum gate_result change(unsigned at, struct policy_change *c)
{
    ended = 0;
    gate_change_policies(gates[at], c);
    run_tasks();
    assert_int_equal(ended, 1);
    policy_change_finish(c);
    return c->result;
}

static enum gate_result set(unsigned at, const char *name, enum policy_act act, unsigned length)
{
    struct policy_change c = set_length(name, act, length);
    return change(at, &c);
}

static void take_length(void *ctx, const struct policy_view *v)
{
    *(int64_t *)ctx = v->own->value[PV_SET_MinDevicePasswordLength];
}

/* As a server has it in memory; -1: it has no such policy. */
static int64_t length_at(unsigned at, const char *name)
{
    int64_t length = -1;
    (void)gate_show_policy(gates[at], name, take_length, &length);
    return length;
}

static void ruled(struct rules_set *s)
{
    (void)s;
    ended++;
}

static struct rules_set block(const char *type)
{
    char why[64];
    struct rules_set s = {.change = RULES_ADD, .actor = "uid 0", .done = ruled};
    s.rule.access = PV_ACCESS_BLOCKED;
    assert_true(rule_condition(&s.rule, "DeviceType", type, why, sizeof why));
    return s;
}

static size_t rules_at(unsigned at)
{
    struct rules *r = gate_rules(gates[at]);
    size_t n = r->count;
    rules_release(r);
    return n;
}

static const char *generation(void)
{
    return fake_db_item(db, LISTS_KIND, LISTS_NAME);
}

/* ---- hearing ---- */
static void one_first_start_of_two(void **unused)
{
    (void)unused;
    assert_int_equal(fake_db_count(db, STORE_PUT_POLICY), 1);
    assert_int_equal(length_at(0, "default"), 0);
    assert_int_equal(length_at(1, "default"), 0);
    assert_non_null(generation());
}

static void both_hear(void **unused)
{
    struct rules_set rule = block("Phone");
    (void)unused;
    for (unsigned at = 0; at < 2; at++) {
        assert_int_equal(set(at, "default", POLICY_SET, 5 + at), GATE_OK);
        assert_int_equal(length_at(0, "default"), 5 + at);
        assert_int_equal(length_at(1, "default"), 5 + at);
    }
    gate_set_rules(gates[1], &rule);
    run_tasks();
    assert_int_equal(rule.result, RULES_DONE);
    assert_int_equal(rules_at(0), 1);
    rule.change = RULES_REMOVE;
    gate_set_rules(gates[0], &rule);
    run_tasks();
    assert_int_equal(rule.result, RULES_DONE);
    assert_int_equal(rules_at(1), 0);
    assert_int_equal(node[0]->conflicts + node[1]->conflicts, 0);
}

static void who_has_not_heard_asks_first(void **unused)
{
    struct policy_change seen = set_length("default", POLICY_SET, 7);
    (void)unused;
    node[1]->deaf = true;
    assert_int_equal(set(0, "default", POLICY_SET, 5), GATE_OK);
    assert_int_equal(set(0, "a", POLICY_NEW, 6), GATE_OK);
    assert_int_equal(length_at(1, "default"), 0);
    /* Of what the administrator saw before: he is told. */
    seen.set_if_revision = true;
    seen.if_revision = 1;
    assert_int_equal(change(1, &seen), GATE_CONFLICT);
    assert_non_null(strstr(seen.message, "revision 2 by now"));
    assert_int_equal(length_at(1, "default"), 5);
    assert_int_equal(length_at(1, "a"), 6);
    seen.if_revision = 2;
    assert_int_equal(change(1, &seen), GATE_OK);
    assert_int_equal(length_at(0, "default"), 7);
    assert_int_equal(node[1]->conflicts, 0);
}

/* What is told before it is heard is not believed. */
static void known(void **unused)
{
    (void)unused;
    assert_true(lists_are_known(gates[1]));
    node[1]->unreachable = true;
    assert_int_equal(set(0, "default", POLICY_SET, 5), GATE_OK);
    assert_false(lists_are_known(gates[1]));
    lists_look_after(gates[1]);
    run_tasks();
    assert_false(lists_are_known(gates[1]));
    assert_int_equal(set(1, "default", POLICY_SET, 6), GATE_STORE);
    node[1]->unreachable = false;
    assert_int_equal(length_at(1, "default"), 0);
    lists_look_after(gates[1]);
    run_tasks();
    assert_true(lists_are_known(gates[1]));
    assert_int_equal(length_at(1, "default"), 5);
    unsigned reads = node[1]->reads;
    lists_look_after(gates[1]);
    run_tasks();
    assert_int_equal(node[1]->reads, reads);
}

static unsigned told_ok, told_not;

static void told(struct lists_waiter *w, bool ok)
{
    (void)w;
    ok ? told_ok++ : told_not++;
}

static void waiting_for_lists(void **unused)
{
    struct lists_waiter w[3] = {{.ready = told}, {.ready = told}, {.ready = told}};
    (void)unused;
    told_ok = told_not = 0;
    assert_true(lists_want(gates[1], &w[0], LISTS_KNOWN));
    node[1]->deaf = true;
    assert_int_equal(set(0, "default", POLICY_SET, 5), GATE_OK);
    fake_hear(node[1]);
    assert_false(lists_want(gates[1], &w[0], LISTS_KNOWN));
    assert_false(lists_want(gates[1], &w[1], LISTS_FRESH));
    assert_false(lists_want(gates[1], &w[2], LISTS_FRESH));
    assert_int_equal(told_ok, 0);
    run_tasks();
    assert_int_equal(told_ok, 3);
    assert_int_equal(length_at(1, "default"), 5);
    node[1]->unreachable = true;
    assert_false(lists_want(gates[1], &w[0], LISTS_FRESH));
    run_tasks();
    assert_int_equal(told_not, 1);
}

/* ---- two at a time ---- */
static void the_second_of_two_is_told(void **unused)
{
    struct policy_change c[2] = {set_length("default", POLICY_SET, 5),
                                 set_length("default", POLICY_SET, 6)};
    (void)unused;
    ended = 0;
    for (unsigned i = 0; i < 2; i++) {
        node[i]->holds = true;
        gate_change_policies(gates[i], &c[i]);
        run_tasks();
    }
    assert_int_equal(ended, 0);
    assert_true(fake_release(node[0]));
    run_tasks();
    assert_true(fake_release(node[1]));
    run_tasks();
    assert_int_equal(ended, 2);
    assert_int_equal(c[0].result, GATE_OK);
    assert_int_equal(c[1].result, GATE_CONFLICT);
    assert_string_equal(c[1].message, LISTS_CONFLICT);
    assert_int_equal(fake_db_count(db, STORE_PUT_POLICY), 2);
    for (unsigned i = 0; i < 2; i++) {
        node[i]->holds = false;
        assert_int_equal(length_at(i, "default"), 5);
        assert_true(lists_are_known(gates[i]));
    }
    /* The line of the log went with it. */
    assert_int_equal(fake_db_count(db, STORE_ADD_AUDIT), 1);
    assert_int_equal(set(1, "default", POLICY_SET, 6), GATE_OK);
    assert_int_equal(length_at(0, "default"), 6);
}

static void a_rule_and_a_policy_at_a_time(void **unused)
{
    struct rules_set rule = block("Phone");
    (void)unused;
    node[1]->holds = true;
    gate_set_rules(gates[1], &rule);
    run_tasks();
    assert_int_equal(set(0, "default", POLICY_SET, 5), GATE_OK);
    assert_true(fake_release(node[1]));
    run_tasks();
    assert_int_equal(rule.result, RULES_CONFLICT);
    assert_int_equal(rules_at(0) + rules_at(1), 0);
    node[1]->holds = false;
    rule = block("Phone");
    gate_set_rules(gates[1], &rule);
    run_tasks();
    assert_int_equal(rule.result, RULES_DONE);
    assert_int_equal(rules_at(0), 1);
}

/* Read again while a change of its own was on its way: both are there. */
static void own_change_while_reading(void **unused)
{
    struct policy_change c = set_length("a", POLICY_NEW, 6);
    (void)unused;
    node[0]->holds = true;
    gate_change_policies(gates[0], &c);
    run_tasks();
    node[0]->deaf = true; /* what the other one does behind it comes to be read before it has ended */
    assert_true(fake_release(node[0]));
    lists_stale(gates[0]); /* in the queue behind the write */
    run_tasks();
    node[0]->holds = false;
    fake_hear(node[0]);
    run_tasks();
    assert_int_equal(c.result, GATE_OK);
    assert_int_equal(set(1, "b", POLICY_NEW, 5), GATE_OK);
    assert_int_equal(length_at(0, "a"), 6);
    assert_int_equal(length_at(0, "b"), 5);
    assert_int_equal(length_at(1, "a"), 6);
}

static void what_nobody_knows_is_read(void **unused)
{
    (void)unused;
    node[1]->loses = true;
    assert_int_equal(set(1, "default", POLICY_SET, 5), GATE_STORE);
    node[1]->loses = false;
    assert_int_equal(length_at(0, "default"), 5);
    assert_int_equal(length_at(1, "default"), 5);
    assert_int_equal(set(1, "default", POLICY_SET, 6), GATE_OK);
    assert_int_equal(length_at(0, "default"), 6);
    assert_int_equal(node[1]->conflicts, 0);
}

/* Revisions that came to nothing do not stand in the way of the next. */
static void revisions_after_conflicts(void **unused)
{
    (void)unused;
    for (unsigned n = 0; n < 6; n++) {
        struct policy_change c = set_length("default", POLICY_SET, 4 + n % 2);
        node[1]->holds = true;
        gate_change_policies(gates[1], &c);
        run_tasks();
        assert_int_equal(set(0, "default", POLICY_SET, 6 + n % 2), GATE_OK);
        assert_true(fake_release(node[1]));
        run_tasks();
        node[1]->holds = false;
        assert_int_equal(c.result, GATE_CONFLICT);
        assert_int_equal(set(1, "default", POLICY_SET, 4 + n % 2), GATE_OK);
        assert_int_equal(length_at(0, "default"), 4 + n % 2);
    }
}

/* ---- from outside of the gate ---- */
static unsigned kept;
static enum gate_result submit_result;

static void keep_it(struct lists_submit *s)
{
    (void)s;
    kept++;
}

static void submitted(struct lists_submit *s, enum gate_result result)
{
    (void)s;
    submit_result = result;
    ended++;
}

static void items_of_others(void **unused)
{
    const struct store_change token = {.kind = STORE_PUT_ITEM,
                                       .u.item = {.kind = "token", .name = "ci", .json = "{}"}};
    struct lists_submit s[2] = {
        {.changes = &token, .count = 1, .keep = keep_it, .done = submitted},
        {.changes = &token, .count = 1, .keep = keep_it, .done = submitted}};
    (void)unused;
    kept = ended = 0;
    gate_submit_lists(gates[0], &s[0]);
    assert_int_equal(ended, 0);
    run_tasks();
    assert_int_equal(submit_result, GATE_OK);
    assert_int_equal(kept, 1);
    assert_string_equal(fake_db_item(db, "token", "ci"), "{}");

    node[0]->holds = true;
    gate_submit_lists(gates[0], &s[0]);
    gate_submit_lists(gates[0], &s[1]); /* one after the other: no conflict between them */
    run_tasks();
    assert_int_equal(set(1, "default", POLICY_SET, 5), GATE_OK);
    assert_true(fake_release(node[0]));
    run_tasks();
    assert_int_equal(submit_result, GATE_CONFLICT);
    assert_int_equal(ended, 2);
    assert_int_equal(kept, 1);
    node[0]->holds = false;
    while (fake_release(node[0])) run_tasks();
    run_tasks();
    assert_int_equal(ended, 3);
    node[0]->unreachable = true;
    gate_submit_lists(gates[0], &s[0]);
    run_tasks();
    assert_int_equal(submit_result, GATE_STORE);
    node[0]->unreachable = false;
}

/* What somebody else keeps: names of tokens, one after the other. */
static char names[2][64];
static unsigned given_up;

static void *part_begin(void *ctx)
{
    (void)ctx;
    return calloc(1, sizeof names[0]);
}

static void part_item(void *reading, const struct item_record *r)
{
    if (strcmp(r->kind, "token") == 0) strcat(reading, r->name);
}

static void part_end(void *ctx, void *reading, bool take)
{
    if (take) memcpy(ctx, reading, sizeof names[0]);
    given_up += !take;
    free(reading);
}

static void parts_are_read_again(void **unused)
{
    static struct lists_part parts[2] = {{part_begin, part_item, part_end, names[0]},
                                         {part_begin, part_item, part_end, names[1]}};
    const struct store_change token[] = {
        {.kind = STORE_PUT_ITEM, .u.item = {.kind = "token", .name = "a", .json = "{}"}},
        {.kind = STORE_PUT_ITEM, .u.item = {.kind = "token", .name = "b", .json = "{}"}}};
    struct lists_submit s = {.changes = token, .count = 2, .keep = keep_it, .done = submitted};
    (void)unused;
    memset(names, 0, sizeof names);
    given_up = 0;
    for (size_t i = 0; i < 2; i++)
        assert_true(gate_add_lists(gates[i], &parts[i], error, sizeof error));
    gate_submit_lists(gates[0], &s);
    run_tasks();
    assert_string_equal(names[1], "ab");
    assert_string_equal(names[0], ""); /* its own: keep has done it */
    node[0]->unreachable = true;
    lists_stale(gates[0]);
    run_tasks();
    assert_string_equal(names[0], "");
    node[0]->unreachable = false;
    assert_int_equal(given_up, 0);
}

/* What nothing depends on is read although the generation is the same, but not each time. */
static void what_may_wait(void **unused)
{
    static struct lists_part part;
    const struct store_change place = {.kind = STORE_PUT_ITEM,
                                       .u.item = {.kind = "token", .name = "a", .json = "{}"}};
    (void)unused;
    memset(names, 0, sizeof names);
    part = (struct lists_part){part_begin, part_item, part_end, names[1], .behind = true};
    assert_true(gate_add_lists(gates[1], &part, error, sizeof error));
    assert_true(store_submit(&node[0]->base, &place, 1, NULL));
    run_tasks();
    assert_string_equal(names[1], "a");
    struct store_change other = place;
    other.u.item.name = "b";
    assert_true(store_submit(&node[0]->base, &other, 1, NULL));
    run_tasks();
    lists_look_after(gates[1]);
    run_tasks();
    assert_string_equal(names[1], "a"); /* ten seconds are not over */
    assert_true(lists_are_known(gates[1]));
    gate_drop_lists(gates[1], &part);
    assert_int_equal(set(0, "default", POLICY_SET, 5), GATE_OK);
    assert_string_equal(names[1], "a");
}

static unsigned begun;

/* A change of this server's own comes to its end while lists are being read. */
static void *spoil(void *ctx)
{
    struct lists_guard guard;
    if (++begun == 2) {
        lists_made_of(ctx, &guard, NULL, NULL);
        assert_true(lists_enter(ctx, &guard));
        lists_leave(ctx);
    }
    return calloc(1, sizeof names[0]);
}

static void spoilt_end(void *ctx, void *reading, bool take)
{
    (void)ctx;
    given_up += !take;
    free(reading);
}

static void what_is_overtaken_is_read_again(void **unused)
{
    static struct lists_part part;
    part = (struct lists_part){spoil, part_item, spoilt_end, gates[1]};
    (void)unused;
    begun = given_up = 0;
    assert_true(gate_add_lists(gates[1], &part, error, sizeof error));
    assert_int_equal(set(0, "default", POLICY_SET, 5), GATE_OK);
    assert_int_equal(begun, 3);
    assert_int_equal(given_up, 1);
    assert_int_equal(length_at(1, "default"), 5);
    assert_true(lists_are_known(gates[1]));
}

/* ---- who waits ---- */
static unsigned woken;

static void wake(struct gate_waiter *w)
{
    (void)w;
    woken++;
}

static void a_waiting_ping_hears(void **unused)
{
    struct rules_set rule = block("Phone");
    struct http_exchange x = {0};
    struct gate_waiter w = {.wake = wake};
    char key[65];
    (void)unused;
    gate = gates[1];
    handshake("ann", "14.1", key);
    x.key = key;
    send_body(&x, "Ping", ping, sizeof ping);
    gate_wait_add(ping_call, &w);
    woken = 0;
    assert_false(gate_ping_due(ping_call));
    assert_int_equal(set(0, "default", POLICY_SET, 5), GATE_OK);
    assert_int_equal(woken, 1);
    assert_true(gate_ping_due(ping_call));
    assert_int_equal(set(0, "default", POLICY_SET, 4), GATE_OK);
    woken = 0;
    rule.confirm = true;
    gate_set_rules(gates[0], &rule);
    run_tasks();
    assert_int_equal(rule.result, RULES_DONE);
    assert_int_equal(woken, 1);
    assert_true(gate_ping_due(ping_call));
    gate_wait_remove(gates[1], &w);
    call_status(ping_call, 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
        TEST(one_first_start_of_two),     TEST(both_hear),
        TEST(who_has_not_heard_asks_first), TEST(known),
        TEST(waiting_for_lists),          TEST(the_second_of_two_is_told),
        TEST(a_rule_and_a_policy_at_a_time), TEST(own_change_while_reading),
        TEST(what_nobody_knows_is_read),  TEST(revisions_after_conflicts),
        TEST(items_of_others),            TEST(parts_are_read_again),
        TEST(what_may_wait),
        TEST(what_is_overtaken_is_read_again), TEST(a_waiting_ping_hears),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

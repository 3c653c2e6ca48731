/* Trails and damping at the gate: what is slowed, what never is, what is written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "src/server/gate/trail/keeper.h"
#include "src/server/gate/order.h"
#include "tests/unit/gate_fake.h"

#define SLOW 503

static int set_up_damped(void **state)
{
    set_up(state);
    config.damping = true;
    gate->notify = true;
    return 0;
}

static unsigned refused_until_slow(void)
{
    unsigned n = 0;
    while (n < 1000 && folder_sync("ann", "14.1", "0") != SLOW) n++;
    return n;
}

/* Without regard to Retry-After. */
static void loop_until_blocked(void)
{
    unsigned n = 0;
    for (; n < 2000 && folder_sync("ann", "14.1", "0") != 129; n++) world.now += n % 27 == 0;
    assert_in_range(n, DAMPING_PRESSED_MOST, 27 * 60);
}

static struct trail_copy trail(void)
{
    struct trail_copy t;
    assert_int_equal(gate_device_trail(gate, "ann", "DEV1", &t), 1);
    return t;
}

/* ---- loops ---- */
static void a_block_is_told_and_ends_by_itself(void **unused)
{
    (void)unused;
    loop_until_blocked();
    assert_non_null(strstr(world.last_audit, "\"act\":\"device.loop-blocked\""));
    assert_non_null(strstr(world.last_audit, "refusal after refusal"));
    assert_non_null(strstr(world.last_event, "\"event\":\"loop-blocked\""));
    unsigned audited = world.audited;
    world.now += DAMPING_BLOCK_S - 30;
    assert_int_equal(folder_sync("ann", "14.1", "0"), 129);
    assert_int_equal(world.audited, audited);
    world.now += 31;
    assert_int_equal(folder_sync("ann", "14.1", "0"), 142);
    assert_int_equal(world.audited, audited + 1); /* its end is noted */
    struct trail_copy t = trail();
    assert_int_equal(t.entries[t.count - 1].step, TRAIL_REFUSED);
    assert_int_equal(t.entries[t.count - 1].reason, PV_WHY_KEY_ZERO);
    bool loop = false;
    for (unsigned i = 0; i < t.count; i++) loop |= t.entries[i].reason == PV_WHY_LOOP;
    assert_true(loop);
}

/* Also after a restart: it is the disk that remembers. */
static void a_clock_that_was_set_back_ends_a_block(void **unused)
{
    (void)unused;
    loop_until_blocked();
    assert_int_equal(folder_sync("ann", "14.1", "0"), 129);
    world.now -= 86400;
    assert_int_equal(folder_sync("ann", "14.1", "0"), 142);
    world.now += 86400; /* what was forgotten does not come back */
    assert_int_equal(folder_sync("ann", "14.1", "0"), 142);
}

static void order_done(struct device_order *o)
{
    o->gate = NULL;
}

static enum order_result order(enum pv_order_kind kind)
{
    struct device_order o = {.user = "ann",
                             .device_id = "DEV1",
                             .kind = kind,
                             .actor = "uid 0 (root)",
                             .done = order_done};
    gate_order(gate, &o);
    run_tasks();
    assert_null(o.gate);
    return o.result;
}

static void being_allowed_ends_it(void **unused)
{
    char key[65];
    (void)unused;
    handshake("ann", "14.1", key);
    for (unsigned n = 0; n < 2; n++) { /* the second time the word is the same as before */
        loop_until_blocked();
        assert_int_equal(folder_sync("ann", "14.1", key), 129);
        assert_int_equal(order(PV_ORDER_ALLOW), ORDER_DONE);
        assert_int_equal(world.last_loop_until, 0);
        assert_int_equal(folder_sync("ann", "14.1", key), 1);
        assert_int_equal(folder_sync("ann", "14.1", "0"), 142);
    }
    refused_until_slow();
    assert_int_equal(order(PV_ORDER_ALLOW), ORDER_UNCHANGED);
}

static void a_wipe_gets_through(void **unused)
{
    char key[65];
    (void)unused;
    handshake("ann", "14.1", key);
    refused_until_slow();
    assert_int_equal(order(PV_ORDER_WIPE_DEVICE), ORDER_DONE);
    for (unsigned n = 0; n < 500; n++) {
        struct http_exchange x = {0};
        assert_int_equal(folder_sync("ann", "14.1", "0"), 140);
        provision(&x, NULL, 0, NULL);
        run_tasks();
        assert_int_equal(x.reply.status, 200);
    }
}

static void a_first_handshake_is_not_in_the_way(void **unused)
{
    char key[65];
    (void)unused;
    assert_in_range(refused_until_slow(), 20, 40);
    handshake("ann", "14.1", key);
    assert_int_equal(folder_sync("ann", "14.1", key), 1);
}

static void off_is_off(void **unused)
{
    (void)unused;
    config.damping = false;
    assert_int_equal(refused_until_slow(), 1000);
    struct trail_copy t = trail();
    assert_int_equal(t.count, 1);
    assert_int_equal(t.entries[0].times, 1000);
}

/* ---- new ids ---- */
static unsigned sync_as(unsigned n)
{
    char target[200];
    struct http_exchange x = {.key = "0", .target = target};
    snprintf(target, sizeof target, QUERY "FolderSync&User=u&DeviceId=ID%u&DeviceType=Phone", n);
    return outcome(send_body(&x, "FolderSync", foldersync, sizeof foldersync));
}

static void new_ids_have_an_end(void **unused)
{
    struct gate_counts counts;
    unsigned n = 0;
    (void)unused;
    while (sync_as(n) != SLOW) assert_true(++n < 100);
    assert_int_equal(n, DAMPING_NEW_IDS_SLOW);
    gate_count(gate, &counts);
    assert_int_equal(counts.devices, n);
    assert_int_equal(sync_as(0), 142); /* those that are known go on */
}

/* ---- the audit log ---- */
static void rule_for_agents(void)
{
    char message[200];
    struct rule r = {.id = 1, .access = PV_ACCESS_QUARANTINED};
    assert_true(rule_condition(&r, "UserAgent", "Evil*", message, sizeof message));
    for (size_t i = 0; i < TABLE_SHARDS; i++) {
        struct shard *s = &gate->table->shards[i];
        struct rules *more = rules_with(s->rules, &r);
        assert_non_null(more);
        rules_release(s->rules);
        s->rules = more;
    }
}

static void sync_with(const char *key, const char *agent)
{
    struct http_exchange x = {.key = key, .agent = agent};
    assert_int_not_equal(outcome(send_body(&x, "FolderSync", foldersync, sizeof foldersync)), SLOW);
}

/* Into quarantine and out of it with every request: each is news, and none is refused. */
static void one_user_does_not_fill_the_audit_log(void **unused)
{
    const unsigned most = DAMPING_NOTES_MOST + DAMPING_NOTES_A_DEVICE;
    char key[65];
    (void)unused;
    handshake("ann", "14.1", key);
    rule_for_agents();
    unsigned before = world.audited;
    for (unsigned n = 0; n < 4 * most; n++) sync_with(key, n % 2 ? "Good" : "Evil");
    assert_in_range(world.audited - before, most / 2, most);

    /* Others are told of, and so is what an administrator does. */
    before = world.audited;
    folder_sync("bob", "14.1", "0");
    handshake("bob", "14.1", key);
    assert_true(world.audited > before);
    before = world.audited;
    assert_int_equal(order(PV_ORDER_BLOCK), ORDER_DONE);
    assert_int_equal(world.audited, before + 1);
    assert_non_null(strstr(world.last_audit, "\"after\":{\"state\":\"blocked\""));
}

/* A state that had to wait for its line gets it when there is room again. */
static void what_waits_is_noted_later(void **unused)
{
    char key[65];
    (void)unused;
    handshake("ann", "14.1", key);
    rule_for_agents();
    for (unsigned n = 0; n < 2000; n++) sync_with(key, n % 2 ? "Good" : "Evil");
    sync_with(key, "Evil");
    unsigned before = world.audited;
    world.now += DAMPING_NOTES_HALF_LIFE;
    sync_with(key, "Evil");
    assert_int_equal(world.audited, before + 1);
    assert_non_null(strstr(world.last_audit, "\"after\":{\"state\":\"quarantined\""));
    assert_non_null(strstr(world.last_event, "\"event\":\"quarantined\""));
    sync_with(key, "Evil");
    assert_int_equal(world.audited, before + 1);
}

/* ---- the log ---- */
static void bad_body(const char *user, const char *cmd, const char *key)
{
    static const uint8_t body[] = {3, 1, 0x6a, 0, 0xff};
    struct http_exchange x = {.user = user, .key = key};
    assert_int_equal(outcome(send_body(&x, cmd, body, sizeof body)), 102);
}

static unsigned dropped(void)
{
    const struct shard *s = table_lock(gate->table, "ann");
    const struct trail *t = s->trails.newest;
    unsigned n = t ? t->log_dropped : 0;
    table_unlock((struct shard *)s);
    return n;
}

/* What is let in, and what has no word of the machine, is bounded like refusals. */
static void lines_of_one_device_are_bounded(void **unused)
{
    static const char *const commands[] = {"FolderSync", "Provision"};
    char key[65];
    (void)unused;
    for (size_t i = 0; i < 2; i++) {
        handshake("ann", "14.1", key);
        world.now += DAMPING_LINES_MOST;
        unsigned had = dropped();
        world.logged = 0;
        for (unsigned n = 0; n < 500; n++) bad_body("ann", commands[i], key);
        assert_int_equal(world.logged, DAMPING_LINES_MOST);
        assert_int_equal(dropped() - had, 500 - DAMPING_LINES_MOST);
    }
    keeper_round(gate->keeper);
    assert_int_equal(world.logged, DAMPING_LINES_MOST + 1); /* tells how many were left out */
    assert_int_equal(dropped(), 0);
}

static void lines_about_no_device_come_once_a_second(void **unused)
{
    (void)unused;
    for (unsigned n = 0; n < 500; n++) {
        world.now += n % 100 == 0;
        bad_body("nobody", "Provision", "0");
    }
    assert_int_equal(world.logged, 5);
}

/* ---- written behind ---- */
static void a_refusal_is_written_later(void **unused)
{
    (void)unused;
    folder_sync("ann", "14.1", "0");
    assert_int_equal(world.put_trails, 0);
    assert_false(keeper_round(gate->keeper));
    assert_int_equal(world.put_trails, 1);
    assert_non_null(strstr(world.last_trail, "\"reason\":\"KEY_ZERO\""));
    assert_false(keeper_round(gate->keeper));
    assert_int_equal(world.put_trails, 1);
}

static void older_steps_are_kept(void **unused)
{
    (void)unused;
    folder_sync("ann", "14.1", "0");
    keeper_round(gate->keeper);
    gate_destroy(gate);
    start_gate();
    folder_sync("ann", "14.1", NULL);
    struct trail_copy t = trail();
    assert_int_equal(t.count, 2);
    assert_int_equal(t.entries[0].reason, PV_WHY_KEY_ZERO);
    assert_int_equal(t.entries[1].reason, PV_WHY_NO_KEY);
    keeper_round(gate->keeper);
    assert_non_null(strstr(world.last_trail, "KEY_ZERO"));
    assert_non_null(strstr(world.last_trail, "NO_KEY"));
    world.store = STORE_FAILS; /* what is whole is not read again */
    t = trail();
    assert_int_equal(t.count, 2);
}

static void damaged_trails_are_no_trouble(void **unused)
{
    static const char *const cases[] = {"{", "[]", "{\"steps\":[7,{}],\"clone\":[]}",
                                        "{\"steps\":{}}"};
    (void)unused;
    folder_sync("ann", "14.1", "0");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(world.last_trail, sizeof world.last_trail, "%s", cases[i]);
        struct trail_copy t = trail();
        assert_int_equal(t.count, 1);
    }
}

static void a_store_that_fails_is_tried_again(void **unused)
{
    struct trail_copy t;
    (void)unused;
    folder_sync("ann", "14.1", "0");
    world.store = STORE_FAILS;
    assert_true(keeper_round(gate->keeper));
    assert_int_equal(gate_device_trail(gate, "ann", "DEV1", &t), -1);
    world.store = STORE_REFUSES;
    assert_true(keeper_round(gate->keeper));
    world.store = STORE_WRITES;
    assert_int_equal(world.put_trails, 0);
    assert_false(keeper_round(gate->keeper));
    assert_int_equal(world.put_trails, 1);
}

static void trails_that_must_go_are_written(void **unused)
{
    (void)unused;
    config.damping = false;
    for (unsigned n = 0; n < TRAILS_PER_SHARD + 10; n++) assert_int_equal(sync_as(n), 142);
    while (keeper_round(gate->keeper)) continue;
    assert_int_equal(world.put_trails, TRAILS_PER_SHARD + 10);
}

static void what_is_removed_leaves_no_trail(void **unused)
{
    struct trail_copy t;
    (void)unused;
    folder_sync("ann", "14.1", "0");
    set_user("ann", true, true);
    keeper_round(gate->keeper);
    assert_int_equal(world.put_trails, 0);
    assert_int_equal(gate_device_trail(gate, "ann", "DEV1", &t), 0);
}

static void the_end_writes_everything(void **unused)
{
    (void)unused;
    folder_sync("ann", "14.1", "0");
    gate_destroy(gate);
    assert_int_equal(world.put_trails, 1);
    start_gate();
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up_damped, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_block_is_told_and_ends_by_itself),
        TEST(a_clock_that_was_set_back_ends_a_block),
        TEST(being_allowed_ends_it),
        TEST(a_wipe_gets_through),
        TEST(a_first_handshake_is_not_in_the_way),
        TEST(off_is_off),
        TEST(new_ids_have_an_end),
        TEST(one_user_does_not_fill_the_audit_log),
        TEST(what_waits_is_noted_later),
        TEST(lines_of_one_device_are_bounded),
        TEST(lines_about_no_device_come_once_a_second),
        TEST(a_refusal_is_written_later),
        TEST(older_steps_are_kept),
        TEST(damaged_trails_are_no_trouble),
        TEST(a_store_that_fails_is_tried_again),
        TEST(trails_that_must_go_are_written),
        TEST(what_is_removed_leaves_no_trail),
        TEST(the_end_writes_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

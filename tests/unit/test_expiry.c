/* What is due by time alone: wipes whose end has come, and partnerships of devices that were not seen for
 * long. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/gate_fake.h"

#define DAY 86400
#define PRUNED_AFTER 90

static char names[900][32];

static void load(const char *user, const char *device_id, int64_t last_seen,
                 const struct pv_partnership *p)
{
    world.loaded[world.loaded_count++] = (struct store_change){
        .kind = STORE_PUT_DEVICE,
        .u.device = {.user = user, .device_id = device_id, .device_type = "Phone",
                     .user_agent = "", .version = PV_V14_1, .model = "", .os = "", .wipe_by = "",
                     .wipe_reason = "", .first_seen = 1, .last_seen = last_seen,
                     .partnership = *p}};
}

static int begin(void **unused)
{
    int failed = set_up(unused);
    config.prune_after = PRUNED_AFTER;
    return failed;
}

static bool is_there(const char *user, const char *device_id)
{
    struct shard *s = table_lock(gate->table, user);
    bool there = owner_device(shard_owner(s, user), device_id);
    table_unlock(s);
    return there;
}

static void sweep(void)
{
    gate_sweep(gate);
    run_tasks();
}

/* ---- pruning ---- */
static void who_was_not_seen_for_long_goes(void **unused)
{
    static const struct {
        const char *name;
        int64_t days;
        struct pv_partnership p;
        bool goes;
    } rows[] = {
        {"long ago", PRUNED_AFTER + 1, {.key = 7, .provisioned_once = true}, true},
        {"new", PRUNED_AFTER + 1, {0}, true},
        {"in time", PRUNED_AFTER - 1, {.key = 7}, false},
        {"allowed", PRUNED_AFTER + 1, {.personal = PV_PERSONAL_ALLOW}, false},
        {"blocked", PRUNED_AFTER + 1, {.personal = PV_PERSONAL_BLOCK}, false},
        {"quarantined", PRUNED_AFTER + 1, {.personal = PV_PERSONAL_QUARANTINE}, false},
        {"a wipe waits", PRUNED_AFTER + 1,
         {.wipe = PV_WIPE_DEVICE, .wipe_state = PV_WIPE_STATE_REQUESTED, .wipe_id = 1}, false},
        {"a wipe was sent", PRUNED_AFTER + 1,
         {.wipe = PV_WIPE_ACCOUNT, .wipe_state = PV_WIPE_STATE_SENT, .wipe_id = 1}, false},
        {"a wipe failed", PRUNED_AFTER + 1,
         {.wipe = PV_WIPE_DEVICE, .wipe_state = PV_WIPE_STATE_FAILED, .wipe_id = 1}, false},
        {"wiped", PRUNED_AFTER + 1,
         {.wipe = PV_WIPE_DEVICE, .wipe_state = PV_WIPE_STATE_ACKNOWLEDGED, .wipe_id = 1,
          .shut = PV_SHUT_WIPED}, false},
        {"its wipe is over", PRUNED_AFTER + 1,
         {.wipe = PV_WIPE_DEVICE, .wipe_state = PV_WIPE_STATE_EXPIRED, .wipe_id = 1,
          .shut = PV_SHUT_EXPIRED}, false},
        {"its wipe was cancelled", PRUNED_AFTER + 1,
         {.wipe = PV_WIPE_DEVICE, .wipe_state = PV_WIPE_STATE_CANCELLED, .wipe_id = 1}, true},
    };
    (void)unused;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        load("ann", rows[i].name, world.now - rows[i].days * DAY, &rows[i].p);
    load("ann", "never seen", 0, &(struct pv_partnership){0});
    config.prune_after = 0;
    sweep();
    assert_int_equal(world.removed_devices, 0);
    config.prune_after = PRUNED_AFTER;
    sweep();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        be_there("ann");
        print_message("# %s\n", rows[i].name);
        assert_int_equal(is_there("ann", rows[i].name), !rows[i].goes);
    }
    assert_true(is_there("ann", "never seen"));
    assert_non_null(strstr(world.last_audit, "\"actor\":\"server\""));
    assert_non_null(strstr(world.last_audit, "\"act\":\"device.remove\""));
    assert_non_null(strstr(world.last_audit, "\"reason\":\"not seen for 90 days\""));
    assert_int_equal(world.audited, 3);
}

/* Memory knows that it was here; the store does not yet. */
static void who_has_come_meanwhile_stays(void **unused)
{
    (void)unused;
    load("ann", "DEV1", world.now - 100 * DAY, &(struct pv_partnership){0});
    load("bob", "DEV1", world.now - 100 * DAY, &(struct pv_partnership){0});
    be_there("ann");
    be_there("bob");
    struct shard *s = table_lock(gate->table, "ann");
    owner_device(shard_owner(s, "ann"), "DEV1")->last_seen = (uint32_t)world.now - DAY;
    table_unlock(s);
    sweep();
    assert_true(is_there("ann", "DEV1"));
    assert_false(is_there("bob", "DEV1"));
    assert_int_equal(world.audited, 1);
}

/* A minute takes so many; those that stay do not hide the others. */
static void it_comes_round(void **unused)
{
    const struct pv_partnership blocked = {.personal = PV_PERSONAL_BLOCK};
    (void)unused;
    for (unsigned i = 0; i < 900; i++) {
        snprintf(names[i], sizeof names[i], "user%03u", i);
        load(names[i], "D", world.now - 100 * DAY,
             i < 450 ? &blocked : &(struct pv_partnership){0});
    }
    unsigned gone[6];
    for (unsigned n = 0; n < 6; n++) {
        sweep();
        gone[n] = world.audited;
    }
    assert_int_equal(gone[1], 0);
    assert_int_equal(gone[2], 150);
    assert_int_equal(gone[4], 450);
    assert_int_equal(gone[5], 450);
}

static void a_server_that_does_not_lead_leaves_it(void **unused)
{
    (void)unused;
    load("ann", "DEV1", world.now - 100 * DAY, &(struct pv_partnership){0});
    load("ann", "DEV2", world.now,
         &(struct pv_partnership){.wipe = PV_WIPE_DEVICE, .wipe_state = PV_WIPE_STATE_SENT,
                                  .wipe_id = 1, .wipe_expires_at = world.now - 1});
    world.follows = true;
    sweep();
    assert_int_equal(world.audited, 0);
    world.follows = false;
    sweep();
    assert_int_equal(world.audited, 2);
}

/* ---- wipes ---- */
/* All that have expired at once, although a page has fewer. */
static void many_wipes_expire_at_once(void **unused)
{
    (void)unused;
    for (unsigned i = 0; i < 450; i++) {
        snprintf(names[i], sizeof names[i], "user%03u", i);
        load(names[i], "D", world.now,
             &(struct pv_partnership){.wipe = PV_WIPE_DEVICE, .wipe_state = PV_WIPE_STATE_SENT,
                                      .wipe_id = 1 + i, .wipe_expires_at = world.now + i % 2});
    }
    sweep();
    assert_int_equal(world.audited, 225);
    assert_int_equal(world.last_put.wipe_state, PV_WIPE_STATE_EXPIRED);
    world.now++;
    sweep();
    assert_int_equal(world.audited, 450);
    sweep();
    assert_int_equal(world.audited, 450);
}

/* ---- what goes wrong ---- */
static void the_next_minute_is_early_enough(void **unused)
{
    (void)unused;
    load("ann", "DEV1", world.now - 100 * DAY, &(struct pv_partnership){0});
    gate_begin(gate, worker_self());
    world.unreadable = true;
    run_tasks();
    world.unreadable = false;
    world.pool_full = true;
    world.timer->fn(world.timer);
    run_tasks();
    world.pool_full = false;
    world.store = STORE_FAILS;
    world.timer->fn(world.timer);
    run_tasks();
    be_there("ann");
    assert_true(is_there("ann", "DEV1"));
    world.store = STORE_WRITES;
    world.timer->fn(world.timer);
    run_tasks();
    assert_false(is_there("ann", "DEV1"));
}

static void nothing_begins_when_the_server_ends(void **unused)
{
    (void)unused;
    load("ann", "DEV1", world.now - 100 * DAY, &(struct pv_partnership){0});
    gate_rest(gate);
    sweep();
    assert_int_equal(world.audited, 0);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, begin, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(who_was_not_seen_for_long_goes),
        TEST(who_has_come_meanwhile_stays),
        TEST(it_comes_round),
        TEST(a_server_that_does_not_lead_leaves_it),
        TEST(many_wipes_expire_at_once),
        TEST(the_next_minute_is_early_enough),
        TEST(nothing_begins_when_the_server_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

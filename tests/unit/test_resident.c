/* Who comes into memory: read when they come, and read again when something else is known to be in the
 * store. */
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/server/gate/order.h"
#include "tests/unit/resident_fake.h"

/* ---- short ways ---- */
static void order_done(struct device_order *o)
{
    (void)o;
}

/* The store stays as it is. */
static void start_gate_again(void)
{
    run_tasks();
    gate_destroy(gate);
    run_tasks();
    gate = gate_create(&config, NULL, NULL, error, sizeof error);
    assert_non_null(gate);
    register_commands();
    world.users_read = 0;
}

/* What another server does. */
static void store_as_another(void)
{
    stored.was = stored.tag;
    stored.tag = store_tag();
    const struct store_change c = {.kind = STORE_PUT_DEVICE, .u.device = stored};
    assert_true(store_submit(NULL, &c, 1, NULL));
}

static void block_elsewhere(const char *user)
{
    read_stored(user, "DEV1");
    assert_string_equal(stored.user, user);
    stored.partnership.personal = PV_PERSONAL_BLOCK;
    store_as_another();
}

static void remove_elsewhere(const char *user)
{
    const struct store_change c = {.kind = STORE_REMOVE_DEVICE,
                                   .u.device = {.user = user, .device_id = "DEV1"}};
    assert_true(store_submit(NULL, &c, 1, NULL));
}

/* ---- coming ---- */
static void users_come_when_they_ask(void **unused)
{
    (void)unused;
    handshake("ann", "14.1", key);
    start_gate_again();
    world.absent = true;
    assert_int_equal(owners(), 0);
    struct http_exchange a, b, c;
    sync_with(&a, "ann", key);
    sync_with(&b, "ann", "1");
    sync_with(&c, "bob", key);
    assert_false(a.done || b.done || c.done);
    assert_int_equal(answer_of(&a), 1);
    assert_int_equal(outcome(&b), 144);
    assert_int_equal(outcome(&c), 144);
    assert_int_equal(world.users_read, 2); /* one for ann */
    assert_true(sync_with(&a, "ann", key)->done);
    assert_int_equal(world.users_read, 2);
    assert_int_equal(owners(), 2);
}

static void who_cannot_be_read_comes_again(void **unused)
{
    (void)unused;
    handshake("ann", "14.1", key);
    start_gate_again();
    world.absent = world.unreadable = true;
    struct http_exchange a, b;
    sync_with(&a, "ann", key);
    sync_with(&b, "ann", key);
    assert_int_equal(answer_of(&a), 503);
    assert_int_equal(a.reply.retry_after, RETRY_AFTER_S);
    assert_int_equal(outcome(&b), 503);
    assert_int_equal(owners(), 0); /* nothing is kept of them */
    world.pool_full = true;
    world.unreadable = false;
    assert_int_equal(sync_now("ann", key), 503);
    assert_int_equal(owners(), 0);
    world.pool_full = false;
    assert_int_equal(sync_now("ann", key), 1);
}

static void orders_and_flags_bring_users(void **unused)
{
    (void)unused;
    handshake("ann", "14.1", key);
    assert_int_equal(set_user("bob", false, false), GATE_OK);
    start_gate_again();
    world.absent = true;
    assert_int_equal(sync_now("bob", key), 126);
    assert_int_equal(set_user("bob", true, false), GATE_OK);
    assert_int_equal(sync_now("bob", key), 144);
    struct device_order o = {.user = "ann", .device_id = "DEV1", .kind = PV_ORDER_BLOCK,
                             .actor = "uid 0", .done = order_done};
    gate_order(gate, &o);
    run_tasks();
    assert_int_equal(o.result, ORDER_DONE);
    assert_int_equal(sync_now("ann", key), 129);
    world.unreadable = true;
    o = (struct device_order){.user = "cid", .device_id = "DEV1", .kind = PV_ORDER_BLOCK,
                              .actor = "uid 0", .done = order_done};
    gate_order(gate, &o);
    run_tasks();
    assert_int_equal(o.result, ORDER_STORE); /* and not that there is none */
    assert_int_equal(set_user("cid", false, false), GATE_STORE);
}

/* ---- what another has changed ---- */
static void what_another_did_counts_when_it_is_heard(void **unused)
{
    (void)unused;
    handshake("ann", "14.1", key);
    world.absent = true;
    block_elsewhere("ann");
    assert_int_equal(sync_now("ann", key), 1);
    resident_stale(gate, "nobody");
    resident_stale(gate, "ann");
    assert_int_equal(sync_now("ann", key), 129);
    remove_elsewhere("ann");
    resident_stale(gate, NULL);
    assert_int_equal(sync_now("ann", key), 144);
}

static void who_waits_is_woken(void **unused)
{
    (void)unused;
    handshake("ann", "14.1", key);
    handshake("bob", "14.1", key);
    wait_with_ping("ann");
    unsigned read = world.users_read;
    resident_stale(gate, NULL);
    run_tasks();
    assert_int_equal(world.users_read, read + 1); /* nobody waits for bob */
    assert_int_equal(woken, 0);                   /* nothing was different */
    assert_false(gate_ping_due(ping_call));
    block_elsewhere("ann");
    resident_stale(gate, "ann");
    run_tasks();
    assert_int_equal(woken, 1);
    assert_true(gate_ping_due(ping_call));
    remove_elsewhere("ann");
    resident_stale(gate, "ann");
    run_tasks();
    assert_int_equal(woken, 2);
    assert_true(gate_ping_due(ping_call));
    end_ping();
}

/* What is heard while nobody waits yet, and what cannot be read at first. */
static void who_begins_to_wait_is_woken(void **unused)
{
    (void)unused;
    handshake("ann", "14.1", key);
    wait_with_ping("ann");
    end_ping();
    struct http_exchange x = {.user = "ann"};
    send_body(&x, "Ping", ping, sizeof ping);
    run_tasks();
    block_elsewhere("ann");
    resident_stale(gate, "ann");
    unsigned read = world.users_read;
    wait_on(ping_call);
    world.unreadable = true;
    run_tasks();
    assert_int_equal(world.users_read, read + 1);
    assert_int_equal(woken, 0);
    world.unreadable = false;
    resident_look_again(gate, NULL); /* as the keeper's thread does after a moment */
    run_tasks();
    assert_int_equal(woken, 1);
    assert_true(gate_ping_due(ping_call));
    read = world.users_read;
    resident_look_again(gate, NULL);
    run_tasks();
    assert_int_equal(world.users_read, read);
    end_ping();
}

static void flags_come_with_a_user(void **unused)
{
    (void)unused;
    handshake("ann", "14.1", key);
    wait_with_ping("ann");
    const struct store_change c = {.kind = STORE_PUT_USER, .u.user = {"ann", false, true}};
    assert_true(store_submit(NULL, &c, 1, NULL));
    resident_stale(gate, "ann");
    run_tasks();
    assert_int_equal(woken, 1);
    assert_true(gate_ping_due(ping_call));
    assert_false(user_enabled("ann"));
    assert_false(user_device_wipe("ann"));
    end_ping();
}

/* A device that was never stored is not one that somebody has removed. */
static void new_devices_stay(void **unused)
{
    (void)unused;
    world.store = STORE_REFUSES;
    assert_int_equal(folder_sync("ann", "14.1", NULL), 141);
    resident_stale(gate, "ann");
    be_there("ann");
    struct shard *s = table_lock(gate->table, "ann");
    assert_non_null(owner_device(shard_owner(s, "ann"), "DEV1"));
    table_unlock(s);
    world.store = STORE_WRITES;
}

/* ---- what comes in between ---- */
static unsigned times;

static void doubt_once(const char *user)
{
    if (times++ == 0) {
        block_elsewhere(user);
        resident_stale(gate, user);
    }
}

static void doubt_ever(const char *user)
{
    times++;
    resident_stale(gate, user);
}

static void a_reading_that_is_overtaken_begins_anew(void **unused)
{
    (void)unused;
    handshake("ann", "14.1", key);
    world.absent = true;
    times = 0;
    world.while_read = doubt_once;
    resident_stale(gate, "ann");
    assert_int_equal(sync_now("ann", key), 129);
    assert_int_equal(times, 2);
    times = 0;
    world.while_read = doubt_ever;
    resident_stale(gate, "ann");
    assert_int_equal(sync_now("ann", key), 503); /* it has an end */
    assert_in_range(times, 2, 20);
    world.while_read = NULL;
    assert_int_equal(sync_now("ann", key), 129);
}

static void save(const char *user)
{
    struct shard *s = table_lock(gate->table, user);
    struct device *d = owner_device(shard_owner(s, user), "DEV1");
    d->personal = PV_PERSONAL_QUARANTINE;
    const struct store_change c = {.kind = STORE_PUT_DEVICE,
                                   .u.device = device_record_of(d, NULL)};
    assert_true(device_submit(gate, d, &c, 1, NULL)); /* as a step does */
    table_unlock(s);
}

static void save_once(const char *user)
{
    if (times++ == 0) save(user);
}

/* Queued while the reading was under way: what was read is older. */
static void what_is_queued_meanwhile_is_not_undone(void **unused)
{
    (void)unused;
    handshake("ann", "14.1", key);
    world.absent = true;
    times = 0;
    world.while_read = save_once;
    resident_stale(gate, "ann");
    run_tasks();
    struct resident r = {0};
    assert_true(resident_read(gate, &r, "ann", RESIDENT_KNOWN));
    assert_int_equal(times, 1);
    assert_int_equal(r.owner->devices->personal, PV_PERSONAL_QUARANTINE);
    resident_drop(&r);
    read_stored("ann", "DEV1");
    assert_int_equal(stored.partnership.personal, PV_PERSONAL_QUARANTINE);
}

static void block_and_save_once(const char *user)
{
    if (times++ > 0) return;
    save(user); /* comes to nothing: the other was first */
}

/* Something was queued meanwhile that was not made of what was read: it cannot stay. */
static void what_was_made_of_something_else_does_not_stay(void **unused)
{
    (void)unused;
    handshake("ann", "14.1", key);
    world.absent = true;
    times = 0;
    block_elsewhere("ann");
    world.while_read = block_and_save_once;
    resident_stale(gate, "ann");
    assert_int_equal(sync_now("ann", key), 129);
    assert_int_equal(times, 2);
}

/* A write that fails says that memory may be wrong. */
static void a_write_that_fails_makes_a_doubt(void **unused)
{
    (void)unused;
    struct http_exchange ask = {0}, ack = {0};
    handshake("ann", "14.1", key);
    struct told offer = told_by(provision(&ask, NULL, 0, NULL));
    block_elsewhere("ann");
    provision(&ack, offer.key, 1, NULL);
    run_tasks();
    assert_int_equal(folder_sync("ann", "14.1", key), 129);
    assert_int_not_equal(outcome(&ack), 200);
}

/* The device is read again, as another server has made it, while the write of a step is known to be
 * durable but not yet told: the step must not undo that. */
static void a_step_does_not_undo_what_was_read(void **unused)
{
    (void)unused;
    struct http_exchange ask = {0}, ack = {0};
    handshake("ann", "14.1", key);
    struct told offer = told_by(provision(&ask, NULL, 0, NULL));
    provision(&ack, offer.key, 1, NULL); /* stored; told when the tasks run */
    block_elsewhere("ann");
    resident_stale(gate, "ann");
    be_there("ann");
    run_tasks();
    assert_int_equal(folder_sync("ann", "14.1", told_by(&ack).key), 129);
}

/* ---- fresh ---- */
static void ready(struct resident *r, bool ok)
{
    (void)r;
    assert_true(ok);
    times++;
}

static void a_known_user_is_there_at_once(void **unused)
{
    (void)unused;
    struct resident r = {.ready = ready}, other = {.ready = ready};
    times = 0;
    handshake("ann", "14.1", key);
    assert_true(resident_want(gate, &r, "ann", RESIDENT_KNOWN));
    assert_true(resident_want(gate, &r, "ann", RESIDENT_FRESH)); /* of a store that is ours alone */
    const struct owner *ann = r.owner;
    assert_int_equal(ann->pins, 1);
    assert_false(resident_want(gate, &r, "zoe", RESIDENT_KNOWN));
    assert_ptr_equal(r.owner, ann); /* until it is replaced */
    assert_true(resident_want(gate, &other, "ann", RESIDENT_KNOWN));
    run_tasks();
    assert_int_equal(times, 1);
    assert_string_equal(r.owner->name, "zoe");
    assert_int_equal(ann->pins, 1);
    resident_drop(&r);
    resident_drop(&r);
    resident_drop(&other);
    assert_int_equal(ann->pins, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, resident_begin, resident_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(users_come_when_they_ask),
        TEST(who_cannot_be_read_comes_again),
        TEST(orders_and_flags_bring_users),
        TEST(what_another_did_counts_when_it_is_heard),
        TEST(who_waits_is_woken),
        TEST(who_begins_to_wait_is_woken),
        TEST(flags_come_with_a_user),
        TEST(new_devices_stay),
        TEST(a_reading_that_is_overtaken_begins_anew),
        TEST(what_is_queued_meanwhile_is_not_undone),
        TEST(what_was_made_of_something_else_does_not_stay),
        TEST(a_write_that_fails_makes_a_doubt),
        TEST(a_step_does_not_undo_what_was_read),
        TEST(a_known_user_is_there_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

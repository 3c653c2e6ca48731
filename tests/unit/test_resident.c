/* Who is in memory: read when they come, kept while they are needed, gone when there are too many, read
 * again when something else is known to be in the store. */
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
#include "src/server/gate/trail/keeper.h"
#include "tests/unit/gate_fake.h"

/* ---- short ways ---- */
static char key[65];

static struct http_exchange *sync_with(struct http_exchange *x, const char *user, const char *with)
{
    *x = (struct http_exchange){.user = user, .key = with};
    return send_body(x, "FolderSync", foldersync, sizeof foldersync);
}

static unsigned answer_of(const struct http_exchange *x)
{
    run_tasks();
    return outcome(x);
}

/* Of a user that need not be in memory. */
static unsigned sync_now(const char *user, const char *with)
{
    struct http_exchange x;
    return answer_of(sync_with(&x, user, with));
}

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

static size_t owners(void)
{
    size_t n = 0;
    for (size_t i = 0; i < TABLE_SHARDS; i++) n += gate->table->shards[i].owners;
    return n;
}

static size_t weight(void)
{
    size_t n = 0;
    for (size_t i = 0; i < TABLE_SHARDS; i++) n += gate->table->shards[i].weight;
    return n;
}

static bool is_in_memory(const char *user)
{
    struct shard *s = table_lock(gate->table, user);
    bool there = shard_owner(s, user) != NULL;
    table_unlock(s);
    return there;
}

/* What another server does: it replaces the device's record as it is stored by what change makes of
 * it. */
static struct device_record stored;
static char stored_texts[8][300];

static void keep_text(const char **text, unsigned i)
{
    snprintf(stored_texts[i], sizeof stored_texts[i], "%s", *text);
    *text = stored_texts[i];
}

static void keep_record(void *ctx, const struct device_record *r)
{
    if (strcmp(r->device_id, ctx) != 0) return;
    stored = *r;
    const char **texts[] = {&stored.user, &stored.device_id, &stored.device_type,
                            &stored.user_agent, &stored.model, &stored.os, &stored.wipe_by,
                            &stored.wipe_reason};
    for (unsigned i = 0; i < 8; i++) keep_text(texts[i], i);
}

static void read_stored(const char *user, const char *device_id)
{
    static const struct store_visitor v = {.device = keep_record};
    void (*hook)(const char *) = world.while_read;
    world.while_read = NULL;
    stored = (struct device_record){0};
    assert_true(store_read_user(NULL, user, &v, (void *)(uintptr_t)device_id));
    world.while_read = hook;
}

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

static unsigned woken;

static void wake(struct gate_waiter *w)
{
    (void)w;
    woken++;
}

static struct gate_waiter waiter;
static struct http_exchange ping_exchange;

static void wait_with_ping(const char *user)
{
    woken = 0;
    waiter = (struct gate_waiter){.wake = wake};
    ping_exchange = (struct http_exchange){.user = user};
    send_body(&ping_exchange, "Ping", ping, sizeof ping);
    run_tasks();
    assert_false(ping_exchange.done);
    gate_wait_add(ping_call, &waiter);
}

static void end_ping(void)
{
    gate_wait_remove(gate, &waiter);
    call_status(ping_call, 1);
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

/* ---- leaving ---- */
static const char *name_of(unsigned i)
{
    static char name[32];
    snprintf(name, sizeof name, "user%u", i);
    return name;
}

/* What the keeper's thread does every few seconds. */
static void keep_trails(void)
{
    while (keeper_round(gate->keeper)) continue;
}

/* More than there is room for, so that whoever can leaves. */
static void fill(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        be_there(name_of(i));
        if (i % 100 == 0 && world.store == STORE_WRITES) keep_trails();
    }
}

enum { ROOM = 1000, USERS = 50000, KEYS = 2000 };

static void memory_is_bounded(void **unused)
{
    (void)unused;
    for (unsigned i = 0; i < USERS; i++) {
        if (i % 8)
            be_there(name_of(i));
        else
            assert_int_equal(folder_sync(name_of(i), "14.1", NULL), 141);
        if (i % 500 == 0) keep_trails();
        if (i % 1000 == 999) assert_in_range(weight(), ROOM / 2, ROOM + ROOM / 4);
    }
    assert_in_range(owners(), ROOM / 2, ROOM + ROOM / 4);
    for (unsigned i = 0; i < USERS; i += 8) { /* all were seen, and that is kept */
        if (is_in_memory(name_of(i))) continue;
        read_stored(name_of(i), "DEV1");
        assert_int_equal(stored.last_seen, world.now);
    }
}

static void keys_open_afterwards(void **unused)
{
    (void)unused;
    static char keys[KEYS][65];
    for (unsigned i = 0; i < KEYS; i++) {
        handshake(name_of(i), "14.1", keys[i]);
        if (i % 64 == 0) keep_trails();
    }
    keep_trails();
    for (unsigned round = 0; round < 2; round++)
        for (unsigned i = 0; i < KEYS; i++) {
            world.absent = round;
            assert_int_equal(sync_now(name_of(i), keys[i]), 1);
            assert_int_equal(sync_now(name_of(i), keys[(i + 1) % KEYS]), 144);
            if (i % 64 == 0) keep_trails();
        }
    assert_true(weight() <= ROOM + ROOM / 4);
}

static void who_is_needed_stays(void **unused)
{
    (void)unused;
    struct http_exchange ask = {.user = "bob"}, ack = {.user = "bob"};
    struct resident r = {0};
    handshake("ann", "14.1", key);
    handshake("bob", "14.1", key);
    handshake("cid", "14.1", key);
    wait_with_ping("ann");
    struct told offer = told_by(provision(&ask, NULL, 0, NULL));
    world.store = STORE_HOLDS;
    provision(&ack, offer.key, 1, NULL);
    world.store = STORE_WRITES;
    assert_true(resident_read(gate, &r, "cid", RESIDENT_KNOWN));
    fill(4 * ROOM);
    assert_true(is_in_memory("ann") && is_in_memory("bob") && is_in_memory("cid"));
    release(true);
    run_tasks();
    assert_int_equal(told_by(&ack).policy_status, 1);
    resident_drop(&r);
    end_ping();
    fill(4 * ROOM);
    assert_false(is_in_memory("ann") || is_in_memory("bob") || is_in_memory("cid"));
    assert_in_range(weight(), 1, ROOM + ROOM / 8);
    assert_int_equal(folder_sync("bob", "14.1", told_by(&ack).key), 1);
}

static void nothing_is_lost_for_want_of_room(void **unused)
{
    (void)unused;
    handshake("ann", "14.1", key);
    world.store = STORE_REFUSES;
    world.now++;
    assert_int_equal(folder_sync("ann", "14.1", key), 1);
    fill(2 * ROOM);
    assert_true(is_in_memory("ann"));
    world.store = STORE_WRITES;
    fill(4 * ROOM);
    assert_false(is_in_memory("ann"));
    read_stored("ann", "DEV1");
    assert_int_equal(stored.last_seen, world.now);
}

static void who_comes_often_stays(void **unused)
{
    (void)unused;
    handshake("ann", "14.1", key);
    unsigned read = world.users_read;
    for (unsigned i = 0; i < 20 * ROOM; i++) {
        be_there(name_of(i));
        if (i % 50 == 0) assert_int_equal(folder_sync("ann", "14.1", key), 1);
    }
    assert_int_equal(world.users_read - read, 20 * ROOM); /* ann never */
}

static void trails_are_written_before(void **unused)
{
    (void)unused;
    struct trail_copy copy;
    assert_int_equal(folder_sync("ann", "14.1", "12345"), 144);
    for (unsigned i = 0; i < 4 * ROOM; i++) be_there(name_of(i));
    assert_true(is_in_memory("ann"));
    world.last_trail[0] = '\0';
    fill(4 * ROOM);
    assert_false(is_in_memory("ann"));
    assert_int_equal(gate_device_trail(gate, "ann", "DEV1", &copy), 1);
    assert_int_equal(gate_device_trail(gate, "ann", "DEV2", &copy), 0);
    world.unreadable = true;
    assert_int_equal(gate_device_trail(gate, "dan", "DEV1", &copy), -1);
}

/* A loop is slowed however many others come in between. */
static void a_loop_is_not_forgotten(void **unused)
{
    (void)unused;
    config.damping = true;
    unsigned n = 0;
    while (n < 200 && folder_sync("ann", "14.1", "12345") != 503) {
        n++;
        keep_trails();
        if (n % 10 == 0) fill(3 * ROOM);
    }
    assert_in_range(n, 10, 60);
    keep_trails();
    fill(3 * ROOM);
    assert_int_equal(folder_sync("ann", "14.1", "12345"), 503);
    world.now += 24 * 3600; /* it has cooled */
    fill(3 * ROOM);
    assert_false(is_in_memory("ann"));
}

static unsigned new_device(const char *user, unsigned i)
{
    char target[200];
    snprintf(target, sizeof target, QUERY "FolderSync&User=u&DeviceId=NEW%u&DeviceType=Phone", i);
    struct http_exchange x = {.user = user, .target = target};
    return answer_of(send_body(&x, "FolderSync", foldersync, sizeof foldersync));
}

static void new_ids_are_not_forgotten(void **unused)
{
    (void)unused;
    config.damping = true;
    unsigned i = 0;
    while (i < 100 && new_device("ann", i) != 503) i++;
    assert_in_range(i, 5, 99);
    unsigned bound = i;
    keep_trails();
    fill(4 * ROOM);
    assert_false(is_in_memory("ann"));
    assert_int_equal(new_device("ann", bound), 503);
    assert_int_equal(new_device("eve", bound), 141);
}

/* What the store has is counted anew only after a while. */
static void devices_are_counted(void **unused)
{
    (void)unused;
    uint64_t stored_devices = 7;
    world.unreadable = true;
    assert_false(gate_count_stored(gate, &stored_devices));
    world.unreadable = false;
    for (unsigned i = 0; i < 3; i++) new_device("ann", i);
    assert_true(gate_count_stored(gate, &stored_devices));
    assert_int_equal(stored_devices, 3);
    unsigned counted = world.counted;
    assert_true(gate_count_stored(gate, &stored_devices));
    assert_int_equal(world.counted, counted);
    struct gate_counts n;
    fill(3 * ROOM);
    keep_trails();
    fill(4 * ROOM);
    gate_count(gate, &n);
    assert_int_equal(n.devices, 0);
}

/* What is in doubt cannot be written, and need not: it is read again when it is needed. */
static void who_is_in_doubt_leaves(void **unused)
{
    (void)unused;
    handshake("ann", "14.1", key);
    keep_trails();
    world.now++;
    assert_int_equal(folder_sync("ann", "14.1", key), 1);
    resident_stale(gate, NULL);
    fill(4 * ROOM);
    assert_false(is_in_memory("ann"));
    assert_int_equal(folder_sync("ann", "14.1", key), 1);
}

/* A user of many devices goes as one, and counts as so many. */
static void devices_count(void **unused)
{
    (void)unused;
    for (unsigned i = 0; i < 300; i++) assert_int_equal(new_device("ann", i), 141);
    assert_int_equal(weight(), 300);
    assert_int_equal(set_user("bob", false, false), GATE_OK);
    assert_int_equal(weight(), 301);
    keep_trails();
    fill(4 * ROOM);
    keep_trails();
    fill(4 * ROOM);
    assert_false(is_in_memory("ann") || is_in_memory("bob"));
    assert_in_range(weight(), 1, ROOM + ROOM / 8);
    struct resident r = {0};
    assert_true(resident_read(gate, &r, "ann", RESIDENT_KNOWN));
    assert_int_equal(r.owner->count, 300);
    resident_drop(&r);
    assert_int_equal(sync_now("bob", "0"), 126);
}

static int begin(void **unused)
{
    int result = set_up(unused);
    config.partnerships_in_memory = ROOM;
    return result;
}

static int finish(void **unused)
{
    config.damping = false;
    return tear_down(unused);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, finish)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(users_come_when_they_ask),
        TEST(who_cannot_be_read_comes_again),
        TEST(orders_and_flags_bring_users),
        TEST(what_another_did_counts_when_it_is_heard),
        TEST(who_waits_is_woken),
        TEST(flags_come_with_a_user),
        TEST(new_devices_stay),
        TEST(a_reading_that_is_overtaken_begins_anew),
        TEST(what_is_queued_meanwhile_is_not_undone),
        TEST(what_was_made_of_something_else_does_not_stay),
        TEST(a_write_that_fails_makes_a_doubt),
        TEST(a_step_does_not_undo_what_was_read),
        TEST(a_known_user_is_there_at_once),
        TEST(memory_is_bounded),
        TEST(keys_open_afterwards),
        TEST(who_is_needed_stays),
        TEST(nothing_is_lost_for_want_of_room),
        TEST(who_comes_often_stays),
        TEST(trails_are_written_before),
        TEST(a_loop_is_not_forgotten),
        TEST(new_ids_are_not_forgotten),
        TEST(devices_are_counted),
        TEST(who_is_in_doubt_leaves),
        TEST(devices_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

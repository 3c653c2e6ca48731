/* Who leaves the memory when there are too many: nothing is lost by it, and nobody is who is needed. */
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/server/gate/trail/keeper.h"
#include "tests/unit/resident_fake.h"

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

enum { USERS = 50000, KEYS = 2000 };

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

#define TEST(f) cmocka_unit_test_setup_teardown(f, resident_begin, resident_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
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

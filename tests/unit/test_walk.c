/* Walks over the fleet: every device once, in order, as memory has it where it is there. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/server/gate/table/resident.h"
#include "tests/unit/gate_fake.h"

#define FLEET_MAX 6000
#define PAGE 500 /* devices that a walk reads at a time */

/* ---- a fleet ---- */
static struct {
    char user[16], device_id[16];
} fleet[FLEET_MAX];
static size_t fleet_count;

static int by_key(const void *a, const void *b)
{
    return strcmp(a, b) ? strcmp(a, b) : strcmp((const char *)a + 16, (const char *)b + 16);
}

/* Into the store, and nowhere else. */
static void put(const char *user, const char *device_id, int64_t last_seen, uint64_t tag, bool first)
{
    const struct store_change c = {
        .kind = STORE_PUT_DEVICE,
        .u.device = {.user = user, .device_id = device_id, .device_type = "Phone",
                     .user_agent = "", .version = PV_V14_1, .model = "", .os = "", .wipe_by = "",
                     .wipe_reason = "", .first_seen = 1, .last_seen = last_seen, .tag = tag,
                     .was = first ? 0 : tag - 1,
                     .partnership = {.key = 1, .provisioned_once = true}}};
    assert_true(store_submit(NULL, &c, 1, NULL));
}

/* count users: user n has devices(n) of them. */
static void make_fleet(unsigned count, unsigned (*devices)(unsigned n))
{
    fleet_count = 0;
    for (unsigned n = 0; n < count; n++)
        for (unsigned i = 0; i < devices(n); i++) {
            assert_true(fleet_count < FLEET_MAX);
            snprintf(fleet[fleet_count].user, 16, "u%u", n * 7919 % count);
            snprintf(fleet[fleet_count].device_id, 16, "D%u", i);
            put(fleet[fleet_count].user, fleet[fleet_count].device_id, 5, 1000, true);
            fleet_count++;
        }
    qsort(fleet, fleet_count, sizeof *fleet, by_key);
}

static unsigned one(unsigned n)
{
    (void)n;
    return 1;
}

static unsigned some(unsigned n)
{
    return n % 5;
}

/* Around a page, and more than several. */
static unsigned heaps(unsigned n)
{
    static const unsigned counts[] = {1, PAGE - 2, 1, PAGE, PAGE + 1, 0, 3 * PAGE + 7, 2};
    return counts[n];
}

/* ---- a walk ---- */
struct seen {
    size_t at; /* of the fleet */
    size_t count, most, users, locked;
    void (*meanwhile)(size_t count); /* behind each user */
    bool anything;                   /* not only what is at that place */
    const struct device *last;
    int64_t last_seen;
};

static bool see(void *ctx, struct shard *s, struct device *d)
{
    struct seen *seen = ctx;
    assert_int_equal(pthread_mutex_trylock(&s->mutex), EBUSY);
    assert_ptr_equal(owner_device(shard_owner(s, d->owner->name), d->id), d);
    if (!seen->anything) {
        assert_string_equal(d->owner->name, fleet[seen->at].user);
        assert_string_equal(d->id, fleet[seen->at].device_id);
    }
    assert_int_equal(policy_of(s, d) != NULL, 1);
    seen->at++;
    seen->count++;
    seen->last_seen = d->last_seen;
    return !seen->most || seen->count < seen->most;
}

static void between(void *ctx)
{
    struct seen *seen = ctx;
    for (size_t i = 0; i < TABLE_SHARDS; i++) {
        assert_int_equal(pthread_mutex_trylock(&gate->table->shards[i].mutex), 0);
        pthread_mutex_unlock(&gate->table->shards[i].mutex);
    }
    seen->users++;
    if (seen->meanwhile) seen->meanwhile(seen->count);
}

static struct seen walk_with(struct store_query q, struct seen seen)
{
    const struct walk w = {.query = q, .each = see, .between = between, .ctx = &seen};
    assert_true(gate_walk(gate, &w));
    return seen;
}

static size_t resident_devices(void)
{
    size_t count = 0;
    for (size_t i = 0; i < TABLE_SHARDS; i++) count += gate->table->shards[i].devices;
    return count;
}

/* ---- everything once ---- */
static void every_device_once_and_none_stays(void **unused)
{
    static const struct {
        unsigned users;
        unsigned (*devices)(unsigned n);
    } rows[] = {{0, one}, {1, one}, {PAGE - 1, one}, {PAGE, one}, {PAGE + 1, one},
                {2 * PAGE, one}, {2000, some}, {8, heaps}};
    (void)unused;
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        store_clear();
        world.pages_read = 0;
        make_fleet(rows[r].users, rows[r].devices);
        struct seen seen = walk_with((struct store_query){0}, (struct seen){0});
        assert_int_equal(seen.count, fleet_count);
        assert_in_range(world.pages_read, fleet_count / PAGE + 1, fleet_count / PAGE + 2);
        assert_int_equal(world.users_read, 0);
        assert_int_equal(resident_devices(), 0);
    }
}

static void it_goes_on_behind_any_device(void **unused)
{
    (void)unused;
    make_fleet(300, some);
    for (size_t i = 0; i < fleet_count; i += 7) {
        const struct store_query q = {.after_user = fleet[i].user,
                                      .after_device_id = fleet[i].device_id};
        assert_int_equal(walk_with(q, (struct seen){.at = i + 1}).count, fleet_count - i - 1);
        struct store_query of_one = q;
        of_one.user = fleet[i].user;
        size_t rest = i + 1;
        while (rest < fleet_count && !strcmp(fleet[rest].user, fleet[i].user)) rest++;
        assert_int_equal(walk_with(of_one, (struct seen){.at = i + 1}).count, rest - i - 1);
    }
    const struct store_query nowhere = {.after_user = "u10", .after_device_id = "x"};
    size_t i = 0;
    while (strcmp(fleet[i].user, "u10") <= 0) i++;
    assert_int_equal(walk_with(nowhere, (struct seen){.at = i}).count, fleet_count - i);
}

static void enough_is_enough(void **unused)
{
    (void)unused;
    make_fleet(2000, one);
    for (size_t most = 1; most < 1200; most += 99)
        assert_int_equal(walk_with((struct store_query){0}, (struct seen){.most = most}).count, most);
    world.pages_read = 0;
    walk_with((struct store_query){0}, (struct seen){.most = 3});
    assert_int_equal(world.pages_read, 1);
}

/* ---- a listing ---- */
static bool fits_seventh(void *ctx, const struct device_view *d)
{
    (void)ctx;
    return strtoul(d->user + 1, NULL, 10) % 7 == 0;
}

static void show(void *ctx, const struct device_view *d)
{
    size_t *shown = ctx;
    assert_int_equal(strtoul(d->user + 1, NULL, 10) % 7, 0);
    assert_string_equal(d->device_type, "Phone");
    (*shown)++;
}

/* Whatever a call may show, and look at: together they show each once. */
static void calls_are_bounded_and_go_on(void **unused)
{
    (void)unused;
    make_fleet(1300, one);
    for (unsigned i = 0; i < 20; i++) {
        static const uint64_t most[] = {0, 7, 50, 186}, looks[] = {0, 41, 77, 500, 1300};
        size_t shown = 0, calls = 0;
        char user[AUTH_USER_MAX], device_id[PV_DEVICE_ID_MAX + 1];
        struct device_listing l = {.most = most[i % 4], .looks = looks[i / 4], .fits = fits_seventh, .each = show, .ctx = &shown};
        do {
            size_t before = shown;
            assert_true(gate_list_devices(gate, &l));
            assert_true(!l.most || shown - before <= l.most);
            memcpy(user, l.last_user, sizeof user);
            memcpy(device_id, l.last_device_id, sizeof device_id);
            l.after_user = user;
            l.after_device_id = device_id;
            calls++;
        } while (l.more);
        assert_int_equal(shown, 186);
        size_t by_looks = l.looks ? (1300 + l.looks - 1) / l.looks : 1;
        size_t by_most = l.most ? (186 + l.most - 1) / l.most : 1;
        assert_in_range(calls, by_looks > by_most ? by_looks : by_most, by_looks + by_most);
    }
}

/* ---- as memory has it ---- */
static void memory_is_newer(void **unused)
{
    (void)unused;
    make_fleet(40, one);
    be_there("u20");
    struct shard *s = table_lock(gate->table, "u20");
    shard_owner(s, "u20")->devices->last_seen = 77;
    table_unlock(s);
    const struct store_query q = {.user = "u20"};
    assert_int_equal(walk_with(q, (struct seen){.anything = true}).last_seen, 77);
    assert_int_equal(walk_with((struct store_query){.user = "u21"},
                               (struct seen){.anything = true}).last_seen, 5);
    assert_int_equal(resident_devices(), 1); /* who was there stays, nobody came */
}

/* What another server has written of a user who is in memory is read first. */
static void who_is_stale_is_read_again(void **unused)
{
    (void)unused;
    make_fleet(40, one);
    be_there("u20");
    put("u20", "D0", 99, 1001, false);
    resident_stale(gate, "u20");
    assert_int_equal(walk_with((struct store_query){.user = "u20"},
                               (struct seen){.anything = true}).last_seen, 99);
    put("u20", "D0", 100, 1002, false);
    resident_stale(gate, "u20");
    world.unreadable = true;
    const struct walk w = {.each = see, .ctx = &(struct seen){0}};
    assert_false(gate_walk(gate, &w));
    world.unreadable = false;
}

/* A device that was never written is in no page: it is written first. */
static void who_is_new_is_written_first(void **unused)
{
    (void)unused;
    char key[65];
    world.store = STORE_REFUSES; /* what is written behind is lost */
    (void)folder_sync("ann", "14.1", "0");
    world.store = STORE_WRITES;
    unsigned put_before = world.put_devices;
    assert_int_equal(walk_with((struct store_query){0}, (struct seen){.anything = true}).count, 1);
    assert_int_equal(world.put_devices, put_before + 1);
    (void)folder_sync("bob", "14.1", "0");
    handshake("bob", "14.1", key);
    put_before = world.put_devices;
    assert_int_equal(walk_with((struct store_query){0}, (struct seen){.anything = true}).count, 2);
    assert_int_equal(world.put_devices, put_before);
}

/* ---- while it walks ---- */
static void come_and_go(size_t count)
{
    char user[16];
    if (count % 10) return;
    snprintf(user, sizeof user, "u%zu", (count + 700) % 1500); /* somewhere before or behind it */
    be_there(user);
    if (count % 20) return;
    const struct store_change c = {.kind = STORE_REMOVE_DEVICE,
                                   .u.device = {.user = "u1499", .device_id = "D0"}};
    assert_true(store_submit(NULL, &c, 1, NULL));
    put("u1499", "D0", 5, 1000, true);
    put("zz", "D0", 5, 1000 + count, false);
}

static void it_bears_changes(void **unused)
{
    (void)unused;
    make_fleet(1500, one);
    put("zz", "D0", 5, 1020, true);
    struct seen seen =
        walk_with((struct store_query){0}, (struct seen){.anything = true, .meanwhile = come_and_go});
    assert_in_range(seen.count, 1500, 1501);
    assert_int_equal(resident_devices(), 150);
}

/* ---- what goes wrong ---- */
static void it_says_when_it_did_not_see_all(void **unused)
{
    (void)unused;
    make_fleet(30, one);
    const struct walk w = {.each = see, .ctx = &(struct seen){0}};
    world.unreadable = true;
    assert_false(gate_walk(gate, &w));
    world.unreadable = false;
    gate_stop(gate);
    assert_false(gate_walk(gate, &w));
}

static int begin(void **unused)
{
    store_clear();
    return set_up(unused);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, begin, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(every_device_once_and_none_stays),
        TEST(it_goes_on_behind_any_device),
        TEST(enough_is_enough),
        TEST(calls_are_bounded_and_go_on),
        TEST(memory_is_newer),
        TEST(who_is_stale_is_read_again),
        TEST(who_is_new_is_written_first),
        TEST(it_bears_changes),
        TEST(it_says_when_it_did_not_see_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

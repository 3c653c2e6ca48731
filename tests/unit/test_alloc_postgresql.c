/* The store over PostgreSQL without memory: every allocation fails once. Under over_postgresql.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/failing_malloc.h"
#include "tests/unit/postgresql_help.h"

static struct store *store;
static struct store_change device;
static unsigned rows_read;
static void *block;
static struct info_record info;

static bool run_open(void)
{
    const struct store_options o = options_of("one");
    error[0] = '\0';
    store = store_open(&o, error, sizeof error);
    return store;
}

static void not_open(void)
{
    assert_non_null(strstr(error, "memory"));
}

static void begin(void)
{
    assert_true(run_open());
    device = device_change("ann", "DEV1");
    const struct store_change fresh[] = {{.kind = STORE_REMOVE_USER, .u.user = {.user = "ann"}}, device};
    assert_true(put(store, fresh, 2));
}

static void is_open(void)
{
    assert_true(put_one(store, user_change("bob", true)));
}

static void end(void)
{
    store_close(store);
    store = NULL;
}

/* Of all kinds that take memory on their way. Not stored means: nothing of it. */
static bool run_write(void)
{
    struct store_change next = device;
    next_tag(&next);
    next.u.device.was = device.u.device.tag;
    const struct store_change changes[] = {
        next,
        user_change("ann", false),
        {.kind = STORE_PUT_INFO, .u.info = {"ann", "DEV1", 1, "{\"Model\":\"M\"}", NULL}},
        {.kind = STORE_PUT_TRAIL, .u.trail = {"ann", "DEV1", "[4]"}},
        {.kind = STORE_ADD_AUDIT, .u.log = {0, "line", 0}},
        item("rule", "1", "{}"),
        {.kind = STORE_REMOVE_DEVICE, .u.device = {.user = "ann", .device_id = "DEV2"}},
    };
    struct wait x = {.write.done = wait_done};
    if (!store_submit(store, changes, sizeof changes / sizeof *changes, &x.write))
        return false;
    bool durable = wait_for(&x);
    assert_false(x.write.conflict);
    assert_false(x.write.lost);
    if (durable)
        device = next;
    return durable;
}

static void was_written(void)
{
    struct seen *seen = read_user(store, "ann");
    assert_int_equal(seen->device_count, 1);
    assert_same_device(&seen->devices[0], &device.u.device);
    assert_int_equal(seen->user_count, 1);
    forget(seen);
    assert_int_equal(store_read_info(store, "ann", "DEV1", &info, &block), 1);
    assert_string_equal(info.info_json, "{\"Model\":\"M\"}");
    free(block);
}

static void see_device(void *ctx, const struct device_record *r)
{
    (void)ctx, (void)r;
    rows_read++;
}

static void begin_read(void)
{
    begin();
    assert_true(run_write());
}

static bool run_read(void)
{
    rows_read = 0;
    int found = store_read_info(store, "ann", "DEV1", &info, &block);
    assert_true(found == 1 || found == -1); /* never "not there" */
    bool all = found == 1 && store_read_user(store, "ann", &(struct store_visitor){.device = see_device}, NULL);
    if (found == 1 && !all)
        free(block);
    return all;
}

static void was_read(void)
{
    assert_int_equal(rows_read, 1);
    assert_string_equal(info.info_json, "{\"Model\":\"M\"}");
    free(block);
}

static struct told told;

static bool run_follow(void)
{
    told = (struct told){.mutex = PTHREAD_MUTEX_INITIALIZER};
    const struct store_follower f = told_follower(&told);
    if (!store_follow(store, &f))
        return false;
    for (int i = 0; i < 100 && !store_is_heard(store); i++)
        sleep_ms(10);
    return store_is_heard(store) || !store_follow(store, NULL);
}

static void follows(void)
{
    struct store *other = open_node("two", 10);
    assert_true(put_one(other, user_change("zoe", true)));
    EVENTUALLY(times_told(&told, "zoe") == 1);
    store_close(other);
}

static void nothing_is_lost_without_memory(void **unused)
{
    (void)unused;
    store_close(open_store()); /* the schema is there */
    failing_malloc_sweep(&(struct sweep){"store_open", NULL, run_open, not_open, is_open, end});
    failing_malloc_sweep(&(struct sweep){"store_submit", begin, run_write, NULL, was_written, end});
    failing_malloc_sweep(&(struct sweep){"store_read", begin_read, run_read, NULL, was_read, end});
    failing_malloc_sweep(&(struct sweep){"store_follow", begin, run_follow, NULL, follows, end});
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(nothing_is_lost_without_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The last steps of a device: bounded, repeats counted, keys masked, the same after the disk. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/server/gate/trail/trail.h"

#define START 1700000000

static struct device *device(size_t n)
{
    return (struct device *)(uintptr_t)(4096 + 160 * n); /* only its address is looked at */
}

static struct trail_entry refused(uint16_t sent)
{
    return (struct trail_entry){.step = TRAIL_REFUSED,
                                .cmd = PV_CMD_FolderSync,
                                .event = PV_EV_COMMAND,
                                .reason = PV_WHY_WRONG_KEY,
                                .version = PV_V14_1,
                                .status = 144,
                                .http = 200,
                                .revision = 3,
                                .sent = sent,
                                .expected = 1042};
}

/* ---- keys ---- */
static void keys_are_masked(void **unused)
{
    static const struct {
        struct pv_sent_key key;
        const char *text;
    } cases[] = {
        {{PV_KEY_ABSENT, 0}, "none"},
        {{PV_KEY_ZERO, 0}, "0"},
        {{PV_KEY_BAD, 0}, "bad"},
        {{PV_KEY_NUMBER, 7}, "7"},
        {{PV_KEY_NUMBER, 42}, "42"},
        {{PV_KEY_NUMBER, 123}, "12x"},
        {{PV_KEY_NUMBER, 1000000000}, "10xxxxxxxx"},
        {{PV_KEY_NUMBER, UINT32_MAX}, "42xxxxxxxx"},
    };
    (void)unused;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[12], as_logged[12];
        trail_key_text(trail_key(cases[i].key), text);
        pv_key_mask(cases[i].key, as_logged);
        assert_string_equal(text, cases[i].text);
        assert_string_equal(text, as_logged);
    }
}

/* ---- steps ---- */
static void repeats_are_counted(void **unused)
{
    struct trail t = {0};
    struct trail_entry a = refused(1013), b = refused(1014);
    (void)unused;
    trail_add(&t, &a, START);
    trail_add(&t, &b, START + 1);
    trail_add(&t, &a, START + 2);
    trail_add(&t, &a, START + 3);
    assert_int_equal(t.count, 2);
    assert_int_equal(t.entries[0].sent, 1014);
    assert_int_equal(t.entries[0].times, 1);
    assert_int_equal(t.entries[1].times, 3);
    assert_int_equal(t.entries[1].first, START);
    assert_int_equal(t.entries[1].last, START + 3);
    assert_true(t.dirty);
}

static void every_difference_is_a_step(void **unused)
{
    const struct trail_entry a = refused(1013);
    struct trail t = {0};
    unsigned n = 1;
    (void)unused;
    trail_add(&t, &a, START);
#define DIFFERENT(member)               \
    {                                   \
        struct trail_entry b = a;       \
        b.member++;                     \
        trail_add(&t, &b, START);       \
        assert_int_equal(t.count, ++n); \
    }
    DIFFERENT(step)
    DIFFERENT(cmd)
    DIFFERENT(event)
    DIFFERENT(reason)
    DIFFERENT(version)
    DIFFERENT(said)
    DIFFERENT(status)
    DIFFERENT(http)
    DIFFERENT(revision)
    DIFFERENT(sent)
    DIFFERENT(expected)
#undef DIFFERENT
}

static void a_new_temporary_key_is_no_other_step(void **unused)
{
    struct trail t = {0};
    struct trail_entry offer = {.step = TRAIL_OFFERED, .given = 1011};
    (void)unused;
    trail_add(&t, &offer, START);
    offer.given = 1022;
    trail_add(&t, &offer, START + 1);
    assert_int_equal(t.count, 1);
    assert_int_equal(t.entries[0].given, 1022);
}

static void the_oldest_goes(void **unused)
{
    struct trail t = {0};
    (void)unused;
    for (uint16_t n = 0; n < 3 * TRAIL_ENTRIES; n++) {
        struct trail_entry e = refused((uint16_t)(1010 + n));
        trail_add(&t, &e, START + n);
    }
    assert_int_equal(t.count, TRAIL_ENTRIES);
    for (unsigned i = 0; i < TRAIL_ENTRIES; i++)
        assert_int_equal(t.entries[i].sent, 1010 + 2 * TRAIL_ENTRIES + i);
}

static void older_steps_are_put_before(void **unused)
{
    static const struct {
        uint8_t has;
        size_t older;
        unsigned want, first;
    } cases[] = {{0, 0, 0, 0}, {0, 3, 3, 0},   {3, 0, 3, 100},
                 {3, 4, 7, 0}, {14, 5, 16, 3}, {16, 16, 16, 100}};
    (void)unused;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct trail_entry entries[TRAIL_ENTRIES] = {{0}}, older[TRAIL_ENTRIES] = {{0}};
        uint8_t count = cases[i].has;
        for (uint16_t n = 0; n < TRAIL_ENTRIES; n++) {
            entries[n].sent = (uint16_t)(100 + n);
            older[n].sent = n;
        }
        trail_put_before(entries, &count, older, cases[i].older);
        assert_int_equal(count, cases[i].want);
        if (count) assert_int_equal(entries[0].sent, cases[i].first);
        if (cases[i].has) assert_int_equal(entries[count - 1].sent, 100 + cases[i].has - 1);
    }
}

/* ---- the list ---- */
static void the_least_recently_used_goes(void **unused)
{
    struct trails all = {0};
    struct kinds kinds = {0};
    struct trail *evicted;
    (void)unused;
    for (size_t n = 0; n < TRAILS_PER_SHARD; n++) {
        assert_non_null(trail_take(&all, device(n), &evicted));
        assert_null(evicted);
    }
    assert_ptr_equal(trail_take(&all, device(0), &evicted), trail_find(&all, device(0)));
    assert_null(evicted);
    assert_non_null(trail_take(&all, device(TRAILS_PER_SHARD), &evicted));
    assert_ptr_equal(evicted->device, device(1));
    trail_free(&kinds, evicted);
    assert_null(trail_find(&all, device(1)));
    assert_int_equal(all.count, TRAILS_PER_SHARD);
    for (size_t n = 0; n <= TRAILS_PER_SHARD; n++) {
        struct trail *t = trail_pull(&all, device(n));
        assert_int_equal(t == NULL, n == 1);
        trail_free(&kinds, t);
    }
    assert_int_equal(all.count, 0);
    assert_null(all.newest);
    assert_null(all.oldest);
}

/* ---- faces ---- */
static void only_what_comes_back_is_a_clone(void **unused)
{
    static const struct {
        const char *name, *agents; /* one letter for each User-Agent in turn */
        unsigned returns;
    } cases[] = {
        {"an upgrade", "ab", 0},
        {"upgrades", "abcdef", 0},
        {"another program, tried once", "aba", 1},
        {"two phones", "ababab", 4},
        {"three phones", "abcabc", 0},
    };
    (void)unused;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct kinds kinds = {0};
        struct trail *t = calloc(1, sizeof *t);
        struct kind *now = NULL;
        print_message("# %s\n", cases[i].name);
        for (const char *c = cases[i].agents; *c; c++) {
            const char agent[] = {*c, '\0'};
            struct kind *was = now;
            now = kinds_take(&kinds, (const char *const[KIND_TEXTS]){"Phone", agent, "", ""});
            if (was) trail_changed_face(t, &kinds, was, now);
            kinds_drop(&kinds, was);
        }
        assert_int_equal(t->clone.returns, cases[i].returns);
        trail_free(&kinds, t);
        kinds_drop(&kinds, now);
        assert_int_equal(kinds.count, 0);
        kinds_finish(&kinds);
    }
}

/* ---- JSON ---- */
static void json_and_back(void **unused)
{
    struct trail_entry e = refused(1013), back;
    (void)unused;
    e.first = START;
    e.last = START + 61;
    e.times = 4000000000u;
    e.given = 0;
    e.said = 4;
    for (unsigned step = 0; step < TRAIL_STEP_COUNT; step++)
        for (unsigned reason = 0; reason < PV_REASON_COUNT; reason++) {
            e.step = (uint8_t)step;
            e.reason = (uint8_t)reason;
            json_t *json = trail_entry_json(&e);
            assert_non_null(json);
            assert_true(trail_entry_read(json, &back));
            assert_memory_equal(&e, &back, sizeof e);
            json_decref(json);
        }
    for (uint16_t key = 0; key < 3; key++) {
        e.sent = key;
        json_t *json = trail_entry_json(&e);
        assert_true(trail_entry_read(json, &back));
        assert_int_equal(back.sent, key);
        json_decref(json);
    }
}

static void damaged_json_is_no_step(void **unused)
{
    static const char *const cases[][2] = {
        {"step", "\"walked\""},
        {"command", "7"},
        {"reason", "\"OKAY\""},
        {"sent", "\"1\\u00e4\""},
        {"sent", "\"123\""},
        {"sent", "\"\""},
        {"sent", "\"99xxxxxxxxxxx\""},
        {"first", "17"},
        {"last", "\"yesterday\""},
        {"times", "-1"},
        {"status", "70000"},
        {"http", "null"},
        {"said", "256"},
        {"protocol_version", "\"15.0\""},
    };
    const struct trail_entry e = refused(1013);
    (void)unused;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct trail_entry back;
        json_t *json = trail_entry_json(&e);
        print_message("# %s: %s\n", cases[i][0], cases[i][1]);
        json_object_set_new(json, cases[i][0], json_loads(cases[i][1], JSON_DECODE_ANY, NULL));
        assert_false(trail_entry_read(json, &back));
        json_object_del(json, cases[i][0]);
        assert_false(trail_entry_read(json, &back));
        json_decref(json);
    }
    struct trail_entry back;
    assert_false(trail_entry_read(NULL, &back));
}

static void a_trail_is_small(void **unused)
{
    (void)unused;
    assert_true(sizeof(struct trail_entry) <= 36);
    assert_true(sizeof(struct trail) <= 768);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_masked),
        cmocka_unit_test(repeats_are_counted),
        cmocka_unit_test(every_difference_is_a_step),
        cmocka_unit_test(a_new_temporary_key_is_no_other_step),
        cmocka_unit_test(the_oldest_goes),
        cmocka_unit_test(older_steps_are_put_before),
        cmocka_unit_test(the_least_recently_used_goes),
        cmocka_unit_test(only_what_comes_back_is_a_clone),
        cmocka_unit_test(json_and_back),
        cmocka_unit_test(damaged_json_is_no_step),
        cmocka_unit_test(a_trail_is_small),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

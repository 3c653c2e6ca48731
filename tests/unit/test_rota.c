/* Whose turn it is: laws of fairness over random histories, and every rule of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "failing_malloc.h"
#include "src/server/http/worker.h" /* CONTAINER_OF */
#include "src/server/upstream/rota.h"

#define INTERVAL 5000u
#define MOST 400u
#define SLOTS_MOST 8u

/* ---- a world of devices ---- */

struct device {
    struct rota_member member;
    char user[12];
    bool waits;
    unsigned looks;
    uint64_t since;   /* grants at the last look at it, or when it came */
};

static struct device devices[MOST];
static struct rota rota;
static uint64_t now, grants;

/* Looks under way, with what has become of who was looked at. */
static struct { struct device *of; bool left; uint64_t began, ends; } slots[SLOTS_MOST];

static uint32_t seed;
static uint32_t chance(uint32_t below)
{
    seed = seed * 1664525u + 1013904223u;
    return (uint32_t)((uint64_t)(seed >> 8) * below >> 24);
}

static void begin(unsigned slot_count)
{
    memset(devices, 0, sizeof devices);
    memset(slots, 0, sizeof slots);
    rota_init(&rota, slot_count, INTERVAL);
    now = 1000000;
    grants = 0;
    seed = 1;
    for (unsigned i = 0; i < MOST; i++)
        snprintf(devices[i].user, sizeof devices[i].user, "user%u", i);
}

static void leave(struct device *d)
{
    for (unsigned i = 0; i < rota.slots; i++)
        if (slots[i].of == d) slots[i].left = true;
    rota_leave(&rota, &d->member, now);
    d->waits = false;
}

static void join(struct device *d)
{
    assert_true(rota_join(&rota, &d->member, d->user, now));
    d->waits = true;
    d->since = grants;
}

static void end(void)
{
    for (unsigned i = 0; i < MOST; i++)
        if (devices[i].waits) leave(&devices[i]);
    rota_finish(&rota);
}

static unsigned busy(void)
{
    unsigned n = 0;
    for (unsigned i = 0; i < rota.slots; i++) n += slots[i].of != NULL;
    return n;
}

static void fill(uint64_t look_ms)
{
    struct rota_member *e;
    while ((e = rota_pick(&rota, now))) {
        struct device *d = CONTAINER_OF(e, struct device, member);
        unsigned i = 0;
        while (slots[i].of) i++;
        assert_in_range(i, 0, rota.slots - 1);
        assert_int_equal(e->place, ROTA_BUSY);
        assert_true(d->waits);
        slots[i].of = d;
        slots[i].left = false;
        slots[i].began = now;
        slots[i].ends = now + look_ms;
        grants++;
        d->looks++;
        d->since = grants;
    }
    assert_int_equal(busy(), rota.busy);
}

/* The device whose look ended waits on, unless news says otherwise. */
static void end_look(unsigned i, bool looked, bool news)
{
    struct device *d = slots[i].of;
    bool left = slots[i].left;
    slots[i].of = NULL;
    enum rota_end end = looked ? ROTA_LOOKED : ROTA_FAILED;
    rota_free(&rota, slots[i].began, now, end, 0);
    if (left) return;
    if (news)
        leave(d);
    else
        rota_back(&rota, &d->member, now, end);
}

static void empty(bool news)
{
    for (unsigned i = 0; i < rota.slots; i++)
        if (slots[i].of && slots[i].ends <= now) end_look(i, true, news);
}

/* Time passes in small steps, looks take look_ms and bring no news. */
static void run(uint64_t ms, uint64_t look_ms)
{
    for (uint64_t until = now + ms; now < until; now += 10) {
        empty(false);
        fill(look_ms);
    }
}

/* ---- laws ---- */

/* Whatever comes and goes: never more looks than slots, and who waits is looked at before every other
 * device was looked at twice. */
static void who_waits_is_looked_at(void **unused)
{
    (void)unused;
    for (unsigned slot_count = 1; slot_count <= 4; slot_count++) {
        begin(slot_count);
        for (unsigned i = 0; i < 100; i++) join(&devices[i]);
        for (unsigned step = 0; step < 60000; step++) {
            unsigned i = chance(MOST);
            if (i < 50) continue; /* these stay */
            if (devices[i].waits && chance(3) == 0) leave(&devices[i]);
            else if (!devices[i].waits) join(&devices[i]);
            now += chance(100);
            empty(chance(4) == 0);
            for (unsigned k = 0; k < 50; k++)
                if (!devices[k].waits) join(&devices[k]);
            fill(500 + chance(1000));
            for (unsigned k = 0; k < MOST; k++)
                if (devices[k].waits)
                    assert_in_range(grants - devices[k].since, 0, 2 * MOST + slot_count);
        }
        assert_true(grants > 5 * MOST);
        end();
    }
}

/* All stay: each has its look in every round, and a round takes N / slots looks. */
static void all_have_the_same(void **unused)
{
    (void)unused;
    for (unsigned slot_count = 1; slot_count <= 4; slot_count++) {
        begin(slot_count);
        for (unsigned i = 0; i < 100; i++) join(&devices[i]);
        run(1000 * 1000, 1000);
        unsigned least = UINT32_MAX, most = 0;
        for (unsigned i = 0; i < 100; i++) {
            if (devices[i].looks < least) least = devices[i].looks;
            if (devices[i].looks > most) most = devices[i].looks;
        }
        assert_in_range(least, 10 * slot_count - 1, 10 * slot_count);
        assert_in_range(most, least, least + 1);
        assert_in_range(rota.gap_ms, 99000 / slot_count, 103000 / slot_count);
        assert_in_range(rota_estimate_ms(&rota), 100000 / slot_count, 103000 / slot_count);
        end();
    }
}

/* Whoever comes again and again has no more of it than who stays. */
static void coming_back_brings_nothing(void **unused)
{
    (void)unused;
    begin(2);
    for (unsigned i = 0; i < 60; i++) join(&devices[i]);
    for (uint64_t until = now + 600 * 1000; now < until; now += 10) {
        empty(false);
        leave(&devices[0]); /* in the midst of its look too */
        join(&devices[0]);
        fill(1000);
    }
    for (unsigned i = 1; i < 60; i++) assert_in_range(devices[i].looks, 18, 21);
    assert_in_range(devices[0].looks, 18, 21);
    end();
}

/* News each time, and back at once: the same. */
static void news_for_ever(void **unused)
{
    (void)unused;
    begin(2);
    for (unsigned i = 0; i < 60; i++) join(&devices[i]);
    for (uint64_t until = now + 600 * 1000; now < until; now += 10) {
        for (unsigned i = 0; i < 2; i++)
            if (slots[i].of && slots[i].ends <= now) end_look(i, true, slots[i].of == devices);
        if (!devices[0].waits) join(&devices[0]);
        fill(1000);
    }
    for (unsigned i = 0; i < 60; i++) assert_in_range(devices[i].looks, 18, 21);
    end();
}

/* A user with fifty devices has ROTA_SHARE looks where others have one, and his devices share
 * them. */
static void a_user_has_a_share(void **unused)
{
    (void)unused;
    begin(1);
    for (unsigned i = 0; i < 90; i++) {
        if (i < 50) strcpy(devices[i].user, "greedy");
        join(&devices[i]);
    }
    run(440 * 10 * 1000, 1000); /* a round is 40 + 4 looks */
    unsigned greedy = 0;
    for (unsigned i = 0; i < 90; i++) {
        if (i < 50) {
            greedy += devices[i].looks;
            assert_in_range(devices[i].looks, 7, 9);
        } else {
            assert_in_range(devices[i].looks, 98, 101);
        }
    }
    assert_in_range(greedy, 396, 404);
    for (unsigned i = 50; i < 90; i++) leave(&devices[i]);
    unsigned before = (unsigned)grants;
    run(60 * 1000, 1000);
    assert_in_range(grants - before, 58, 61); /* alone he has it all */
    end();
}

/* ---- rules ---- */

static void who_comes_is_looked_at_soon(void **unused)
{
    (void)unused;
    begin(1);
    for (unsigned i = 0; i < 100; i++) join(&devices[i]);
    run(150 * 1000, 1000);
    join(&devices[200]);
    run(2100, 1000);
    assert_int_equal(devices[200].looks, 1);
    /* A crowd that comes leaves half of the slots to the others. */
    for (unsigned i = 210; i < 310; i++) join(&devices[i]);
    uint64_t before = grants;
    unsigned fresh = 0;
    run(40 * 1000, 1000);
    for (unsigned i = 210; i < 310; i++) fresh += devices[i].looks;
    assert_in_range(fresh, (grants - before) / 2, (grants - before) / 2 + 1);
    end();
}

static void nobody_is_looked_at_too_often(void **unused)
{
    (void)unused;
    begin(2);
    join(&devices[0]);
    run(60 * 1000, 100);
    assert_in_range(devices[0].looks, 12, 13);
    assert_in_range(rota.gap_ms, INTERVAL, INTERVAL + 20);
    /* Away for longer than that, while nothing happened: at once. */
    leave(&devices[0]);
    now += INTERVAL;
    unsigned before = devices[0].looks;
    join(&devices[0]);
    fill(100);
    assert_int_equal(devices[0].looks, before + 1);
    end();
}

/* With a long interval, one that was looked at just now does not hold up one that was not. */
static void one_does_not_wait_for_another(void **unused)
{
    (void)unused;
    begin(1);
    rota.interval_ms = 120000;
    join(&devices[0]);
    join(&devices[1]);
    run(1000, 10);
    leave(&devices[1]);
    run(100000, 10);
    rota_hint(&rota, devices[0].user, now);
    run(30000, 10);
    assert_int_equal(devices[0].looks, 2);
    join(&devices[1]);
    fill(10);
    assert_int_equal(devices[1].looks, 2);
    end();
}

static void a_look_keeps_its_slot(void **unused)
{
    (void)unused;
    begin(1);
    join(&devices[0]);
    join(&devices[1]);
    fill(1000);
    assert_ptr_equal(slots[0].of, &devices[0]);
    leave(&devices[0]); /* the upstream still works for it */
    assert_int_equal(rota.waiting, 1);
    assert_int_equal(rota.busy, 1);
    assert_null(rota_pick(&rota, now));
    assert_int_equal(rota_sleep_ms(&rota, now), UINT64_MAX);
    now += 1000;
    empty(false);
    assert_int_equal(rota_sleep_ms(&rota, now), 0);
    fill(1000);
    assert_ptr_equal(slots[0].of, &devices[1]);
    rota_leave(&rota, &devices[0].member, now); /* twice is nothing */
    end();
}

static void a_hint_is_followed(void **unused)
{
    (void)unused;
    begin(1);
    for (unsigned i = 0; i < 100; i++) {
        if (i >= 98) strcpy(devices[i].user, "ann");
        join(&devices[i]);
    }
    run(130 * 1000, 1000);
    assert_int_equal(devices[98].looks + devices[99].looks, 2);
    rota_hint(&rota, "ann", now);
    rota_hint(&rota, "nobody", now);
    run(5000, 1000);
    assert_int_equal(devices[98].looks + devices[99].looks, 4);
    /* Again at once: not before some time has passed since the look, and others go on. */
    uint64_t before = grants;
    for (unsigned i = 0; i < 500; i++) {
        rota_hint(&rota, "ann", now);
        run(100, 1000);
    }
    unsigned hot = devices[98].looks + devices[99].looks - 4;
    assert_in_range(hot, 20, (grants - before) / 2 + 2);
    end();
}

static void a_hint_waits_for_who_is_away(void **unused)
{
    (void)unused;
    begin(1);
    rota.interval_ms = 300000;
    join(&devices[0]);
    fill(100);
    now += 100;
    end_look(0, true, true); /* it goes to fetch its news */
    now += 2000;
    rota_hint(&rota, devices[0].user, now); /* more of it */
    now += 1000;
    join(&devices[0]);
    fill(100);
    assert_int_equal(devices[0].looks, 2);
    now += 100;
    end_look(0, true, true);
    now += 3000;
    join(&devices[0]); /* nothing has happened: there is time */
    fill(100);
    assert_int_equal(devices[0].looks, 2);
    assert_in_range(rota_sleep_ms(&rota, now), 290000, 300000);
    end();
}

static void a_hint_during_a_look_means_another(void **unused)
{
    (void)unused;
    begin(2);
    join(&devices[0]);
    fill(1000);
    rota_hint(&rota, devices[0].user, now + 500);
    now += 1000;
    empty(false);
    assert_int_equal(rota_sleep_ms(&rota, now), ROTA_HINT_MS);
    now += ROTA_HINT_MS;
    fill(1000);
    assert_int_equal(devices[0].looks, 2);
    end();
}

/* The look did not come about: it is made up for. */
static void a_slot_that_was_not_used(void **unused)
{
    (void)unused;
    begin(1);
    rota.interval_ms = 300000;
    join(&devices[0]);
    assert_ptr_equal(rota_pick(&rota, now), &devices[0].member);
    rota_free(&rota, now, now, ROTA_UNUSED, 0);
    rota_back(&rota, &devices[0].member, now, ROTA_UNUSED);
    assert_int_equal(rota.failures, 0);
    assert_int_equal(rota_sleep_ms(&rota, now), ROTA_HINT_MS);
    now += ROTA_HINT_MS;
    assert_ptr_equal(rota_pick(&rota, now), &devices[0].member);
    rota_free(&rota, now, now, ROTA_UNUSED, 0);
    end();
}

/* Ever longer pauses, one look at a time, and when it is well again no more than the slots. */
static void failures_make_pauses(void **unused)
{
    static const uint64_t want[] = {1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000};
    (void)unused;
    begin(4);
    for (unsigned i = 0; i < 100; i++) join(&devices[i]);
    fill(1000);
    assert_int_equal(rota.busy, 4);
    now += 1000;
    for (unsigned i = 1; i < 4; i++) end_look(i, true, false);
    for (unsigned i = 0; i < sizeof want / sizeof *want; i++) {
        end_look(0, false, false);
        assert_null(rota_pick(&rota, now));
        assert_int_equal(rota_sleep_ms(&rota, now), want[i]);
        now += want[i] - 1;
        assert_null(rota_pick(&rota, now));
        now++;
        fill(1000);
        assert_int_equal(rota.busy, 1);
        assert_non_null(slots[0].of);
    }
    end_look(0, true, false);
    fill(1000);
    assert_int_equal(rota.busy, 4);
    rota_free(&rota, now, now, ROTA_FAILED, 7000);
    assert_int_equal(rota.paused_until_ms, now + 7000);
    rota_free(&rota, now, now, ROTA_FAILED, 3600 * 1000);
    assert_int_equal(rota.paused_until_ms, now + ROTA_PAUSE_MAX_MS);
    end();
}

static void when_news_may_have_come(void **unused)
{
    (void)unused;
    begin(1);
    uint64_t came = now;
    join(&devices[0]);
    assert_int_equal(devices[0].member.seen_ms, came);
    fill(1000);
    assert_int_equal(devices[0].member.seen_ms, came);
    now += 700;
    end_look(0, true, false);
    assert_int_equal(devices[0].member.seen_ms, came);
    now += INTERVAL;
    fill(1000);
    now += 100;
    end_look(0, false, false); /* nothing was learnt */
    assert_int_equal(devices[0].member.seen_ms, came);
    leave(&devices[0]);
    now += 5;
    join(&devices[0]);
    assert_int_equal(devices[0].member.seen_ms, now);
    end();
}

static void how_long_they_wait(void **unused)
{
    (void)unused;
    begin(1);
    assert_int_equal(rota_wait_ms(&rota, now), 0);
    for (unsigned i = 0; i < 30; i++) join(&devices[i]);
    run(10 * 1000, 1000);
    assert_in_range(rota_wait_ms(&rota, now), 9900, 10000); /* some have not been looked at yet */
    run(60 * 1000, 1000);
    assert_in_range(rota_wait_ms(&rota, now), 29000, 31000);
    assert_in_range(rota_estimate_ms(&rota), 30000, 31000);
    run(60 * 1000, 100);
    assert_in_range(rota_wait_ms(&rota, now), INTERVAL, INTERVAL + 200);
    assert_int_equal(rota_estimate_ms(&rota), INTERVAL);
    end();
}

static void users_are_forgotten(void **unused)
{
    (void)unused;
    begin(1);
    for (unsigned i = 0; i < MOST; i++) {
        join(&devices[i]);
        fill(10);
        now += 10;
        end_look(0, true, true);
        now += 100;
    }
    assert_in_range(rota.users.count, 1, INTERVAL / 110 + 2);
    end();
}

/* ---- no memory ---- */

static bool run_join(void)
{
    return rota_join(&rota, &devices[0].member, "ann", now);
}

static void world(void)
{
    begin(1);
}

static void not_joined(void)
{
    assert_int_equal(rota.waiting, 0);
    assert_int_equal(rota.users.count, 0);
    rota_leave(&rota, &devices[0].member, now);
}

static void joined(void)
{
    assert_ptr_equal(rota_pick(&rota, now), &devices[0].member);
    rota_leave(&rota, &devices[0].member, now);
}

static void finish(void)
{
    rota_finish(&rota);
}

static void joining_without_memory(void **unused)
{
    (void)unused;
    failing_malloc_sweep(
        &(struct sweep){"rota_join", world, run_join, not_joined, joined, finish});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_waits_is_looked_at),
        cmocka_unit_test(all_have_the_same),
        cmocka_unit_test(coming_back_brings_nothing),
        cmocka_unit_test(news_for_ever),
        cmocka_unit_test(a_user_has_a_share),
        cmocka_unit_test(who_comes_is_looked_at_soon),
        cmocka_unit_test(nobody_is_looked_at_too_often),
        cmocka_unit_test(one_does_not_wait_for_another),
        cmocka_unit_test(a_look_keeps_its_slot),
        cmocka_unit_test(a_hint_is_followed),
        cmocka_unit_test(a_hint_waits_for_who_is_away),
        cmocka_unit_test(a_hint_during_a_look_means_another),
        cmocka_unit_test(a_slot_that_was_not_used),
        cmocka_unit_test(failures_make_pauses),
        cmocka_unit_test(when_news_may_have_come),
        cmocka_unit_test(how_long_they_wait),
        cmocka_unit_test(users_are_forgotten),
        cmocka_unit_test(joining_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

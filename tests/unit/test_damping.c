/* Loops are slowed and real clients are not: the figures of damping.h on both sides. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "src/server/gate/trail/damping.h"

#define START 1700000000

/* ---- heat ---- */
static void heat_cools(void **unused)
{
    static const struct {
        const char *name;
        int64_t passed;
        int permille;
    } cases[] = {
        {"at once", 0, 1000},
        {"a clock that went back", -50, 1000},
        {"half of a half-life", 30, 707},
        {"one half-life", 60, 500},
        {"two", 120, 250},
        {"ten", 600, 1},
        {"for ever", 1LL << 40, 0},
    };
    (void)unused;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct heat h = {0};
        print_message("# %s\n", cases[i].name);
        heat_add(&h, 60, START, 1);
        assert_int_equal((int)(heat_now(&h, 60, START + cases[i].passed) * 1000 + 0.5f),
                         cases[i].permille);
    }
}

static void a_clock_that_was_set_back_stops_nothing(void **unused)
{
    struct heat h = {0}, ids = {0}, notes = {0};
    struct damping d = {0};
    enum damping_kind kind;
    const int64_t back = START - 1000000;
    (void)unused;
    heat_add(&h, 60, START, 1);
    assert_true(heat_now(&h, 60, back) == 1);
    assert_int_equal((int)(heat_now(&h, 60, back + 60) * 1000 + 0.5f), 500);

    heat_add(&ids, DAMPING_NEW_IDS_HALF_LIFE, START, DAMPING_NEW_IDS_SLOW);
    assert_int_not_equal(damping_new_id_wait(&ids, back), 0);
    assert_int_equal(damping_new_id_wait(&ids, back + DAMPING_NEW_IDS_HALF_LIFE), 0);

    while (damping_may_note(&notes, 0, START)) continue;
    assert_false(damping_may_note(&notes, 0, back));
    assert_true(damping_may_note(&notes, 0, back + DAMPING_NOTES_HALF_LIFE));

    for (unsigned n = 0; n < 40; n++) damping_count(&d, DAMPING_REFUSALS, START);
    assert_int_equal(damping_slowed(&d, back, &kind), 0);
    damping_count(&d, DAMPING_REFUSALS, back); /* and a loop is slowed again */
    assert_int_equal(damping_slowed(&d, back, &kind), DAMPING_COMMANDS);
}

/* ---- lines of the log ---- */
static unsigned lines_at(uint32_t *lines, int64_t now)
{
    unsigned written = 0;
    for (unsigned n = 0; n < 1000; n++) written += damping_may_log(lines, now);
    return written;
}

static void lines_of_the_log_are_bounded(void **unused)
{
    static const struct {
        const char *name;
        int64_t passed;
        unsigned lines;
    } cases[] = {
        {"at once", 0, DAMPING_LINES_MOST},
        {"no time", 0, 0},
        {"a second", 1, 1},
        {"ten more", 11, 10},
        {"a minute", 71, DAMPING_LINES_MOST},
        {"much later", 1000000, DAMPING_LINES_MOST},
        {"a clock that was set back", 0, DAMPING_LINES_MOST},
        {"by the new time", 2, 2},
    };
    uint32_t lines = 0;
    (void)unused;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        print_message("# %s\n", cases[i].name);
        assert_int_equal(lines_at(&lines, START + cases[i].passed), cases[i].lines);
    }
}

static void heat_is_never_below_nothing(void **unused)
{
    struct heat h = {0};
    (void)unused;
    heat_add(&h, 60, START, -1);
    assert_true(h.heat == 0);
}

/* ---- what a device does, as a script: one letter for each request ----
 * r a command that is refused, o an offer, c a confirmation, C one for the same policy as before, d a Provision
 * that is not accepted, i a command that passes, a number: so many seconds go by. */
struct device_run {
    struct damping damping;
    int64_t now;
    unsigned requests, slowed, longest;
    int64_t first_slow, blocked; /* seconds from the start; -1: never */
};

static enum damping_what what_of(char c)
{
    return c == 'r' || c == 'i' ? DAMPING_COMMANDS : DAMPING_PROVISIONS;
}

static void one(struct device_run *r, char c)
{
    /* An acknowledgement of an open offer is never slowed. */
    unsigned wait = c == 'c' || c == 'C' ? 0 : damping_wait(&r->damping, what_of(c), r->now);
    r->requests++;
    if (wait) {
        r->slowed++;
        if (wait > r->longest) r->longest = wait;
        if (r->first_slow < 0) r->first_slow = r->now - START;
        if (r->blocked < 0 && damping_is_loop(&r->damping, r->now)) r->blocked = r->now - START;
        return;
    }
    switch (c) {
    case 'r': damping_count(&r->damping, DAMPING_REFUSALS, r->now); break;
    case 'o': damping_count(&r->damping, DAMPING_OFFERS, r->now); break;
    case 'd': damping_count(&r->damping, DAMPING_DECLINES, r->now); break;
    case 'c':
    case 'C': damping_confirmed(&r->damping, c == 'C', r->now); break;
    default: break;
    }
}

static struct device_run begin(void)
{
    return (struct device_run){.now = START, .first_slow = -1, .blocked = -1};
}

static void play(struct device_run *r, const char *script)
{
    for (const char *c = script; *c; c++) {
        if (*c >= '0' && *c <= '9') {
            int64_t n = 0;
            for (; *c >= '0' && *c <= '9'; c++) n = n * 10 + (*c - '0');
            r->now += n;
            c--;
        } else if (*c != ' ') {
            one(r, *c);
        }
    }
}

/* What ten real clients do, each as often as a person can make it do so. */
static void real_clients_are_never_slowed(void **unused)
{
    static const struct {
        const char *name, *script;
        unsigned times;
        int64_t pause;
    } cases[] = {
        {"reacts to the refusal: FolderSync, Provision, acknowledgement, FolderSync", "rociii", 1,
         0},
        {"provisions first", "ociii", 1, 0},
        {"AOSP: account check, then the first synchronisation", "ro r oci iii", 1, 0},
        {"AOSP: account check with Status 2 allowed to be refused, then again", "rod rod oci", 1,
         0},
        {"Settings before and after, both refused (TbSync 14.0)", "rroc iii", 1, 0},
        {"all folders at once, each refused, then one handshake", "rrrrrrrrrrrr oc iiiiiiiiiiii", 1,
         0},
        {"a client that stops after one more handshake (evolution, hstern)", "roc roC r", 3, 60},
        {"cannot provision and polls every five seconds", "r", 720, 5},
        {"a person thinks of a PIN and tries once more", "ro 600 o 600 oc", 1, 0},
        {"the account is removed and added again, ten times in an hour", "ro r oC iii", 10, 360},
        {"an empty Provision as a log-in check, every minute", "o", 600, 60},
        {"answers got lost: each request three times", "rrr ooo CCC", 1, 0},
    };
    (void)unused;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct device_run r = begin();
        print_message("# %s\n", cases[i].name);
        for (unsigned n = 0; n < cases[i].times; n++) {
            play(&r, cases[i].script);
            r.now += cases[i].pause;
        }
        assert_int_equal(r.slowed, 0);
    }
}

/* 27 POSTs a second without regard to the answer, for a minute. */
static void loops_are_slowed_and_blocked(void **unused)
{
    static const struct {
        const char *name, *script;
    } cases[] = {
        {"handshake after handshake (AOSP)", "roC"},
        {"refusal after refusal", "r"},
        {"Provision after Provision", "o"},
        {"Provision after Provision, refused (AOSP and Policy Status 2)", "d"},
        {"acknowledged in part, which the policy does not allow", "rod"},
    };
    (void)unused;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct device_run r = begin();
        print_message("# %s\n", cases[i].name);
        for (unsigned n = 0; n < 60 * 27 && r.blocked < 0; n++) {
            r.now = START + n / 27;
            one(&r, cases[i].script[n % strlen(cases[i].script)]);
        }
        assert_in_range(r.first_slow, 0, 2);
        assert_in_range(r.blocked, 1, 59);
    }
}

static void who_heeds_retry_after_is_never_blocked(void **unused)
{
    struct device_run r = begin();
    unsigned served = 0;
    (void)unused;
    for (int64_t end = START + 86400; r.now < end; served++) {
        unsigned wait = damping_wait(&r.damping, DAMPING_COMMANDS, r.now);
        if (wait) {
            r.longest = wait > r.longest ? wait : r.longest;
            r.now += wait;
        }
        play(&r, "roC");
    }
    assert_int_equal(r.blocked, -1);
    assert_int_equal(r.slowed, 0);
    assert_in_range(r.longest, DAMPING_RETRY_LEAST + 1, DAMPING_RETRY_MOST);
    assert_in_range(served, 86400 / DAMPING_RETRY_MOST, 86400 / DAMPING_RETRY_LEAST);
}

static void retry_after_grows_and_is_bounded(void **unused)
{
    static const unsigned want[] = {5, 10, 20, 40, 80, 160, 300, 300};
    struct damping d = {0};
    (void)unused;
    for (unsigned n = 1; n < 8; n++) damping_count(&d, DAMPING_HANDSHAKES, START);
    assert_int_equal(damping_wait(&d, DAMPING_COMMANDS, START), 0);
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        damping_count(&d, DAMPING_HANDSHAKES, START);
        assert_int_equal(damping_wait(&d, DAMPING_COMMANDS, START), want[i]);
    }
    assert_int_equal(damping_wait(&d, DAMPING_COMMANDS, START + 299), 1);
    assert_int_equal(damping_wait(&d, DAMPING_COMMANDS, START + 300), 0);
    assert_int_equal(damping_wait(&d, DAMPING_COMMANDS, START - 86400), 0);
}

static void each_kind_slows_what_it_should(void **unused)
{
    static const struct {
        enum damping_kind kind;
        unsigned slowed;
    } cases[] = {
        {DAMPING_HANDSHAKES, DAMPING_COMMANDS | DAMPING_PROVISIONS},
        {DAMPING_REFUSALS, DAMPING_COMMANDS}, /* a first handshake is never in its way */
        {DAMPING_OFFERS, DAMPING_PROVISIONS},
        {DAMPING_DECLINES, DAMPING_COMMANDS | DAMPING_PROVISIONS},
    };
    (void)unused;
    assert_int_equal(sizeof cases / sizeof *cases, DAMPING_KIND_COUNT);
    for (size_t i = 0; i < DAMPING_KIND_COUNT; i++) {
        struct damping d = {0};
        enum damping_kind kind;
        print_message("# %s\n", damping_text(cases[i].kind));
        for (unsigned n = 0; n < 40; n++) damping_count(&d, cases[i].kind, START);
        assert_int_equal(damping_slowed(&d, START, &kind), cases[i].slowed);
        assert_int_equal(kind, cases[i].kind);
    }
}

static void what_led_to_a_handshake_ends_with_it(void **unused)
{
    struct damping d = {0};
    enum damping_kind kind;
    (void)unused;
    for (unsigned n = 0; n < 40; n++) {
        damping_count(&d, DAMPING_REFUSALS, START);
        damping_count(&d, DAMPING_OFFERS, START);
    }
    assert_int_not_equal(damping_slowed(&d, START, &kind), 0);
    damping_confirmed(&d, false, START);
    assert_int_equal(damping_slowed(&d, START, &kind), 0);
}

static void another_policy_is_another_matter(void **unused)
{
    struct damping d = {0};
    enum damping_kind kind;
    (void)unused;
    damping_policy(&d, 7);
    for (unsigned n = 0; n < 40; n++) damping_count(&d, DAMPING_DECLINES, START);
    damping_policy(&d, 7);
    assert_int_not_equal(damping_slowed(&d, START, &kind), 0);
    damping_policy(&d, 8);
    assert_int_equal(damping_slowed(&d, START, &kind), 0);
}

static void new_ids_are_slowed_unless_their_handshakes_end(void **unused)
{
    struct heat desk = {0}, loop = {0};
    (void)unused;
    for (unsigned n = 0; n < 500; n++) { /* a desk that sets up phones */
        int64_t now = START + n;
        assert_int_equal(damping_new_id_wait(&desk, now), 0);
        heat_add(&desk, DAMPING_NEW_IDS_HALF_LIFE, now, 1);
        heat_add(&desk, DAMPING_NEW_IDS_HALF_LIFE, now, -1);
    }
    for (unsigned n = 0; n < 10; n++) /* ten given up within an hour are fine */
        heat_add(&loop, DAMPING_NEW_IDS_HALF_LIFE, START + n, 1);
    assert_int_equal(damping_new_id_wait(&loop, START + 10), 0);
    for (unsigned n = 0; n < 11; n++) heat_add(&loop, DAMPING_NEW_IDS_HALF_LIFE, START + n, 1);
    assert_int_equal(damping_new_id_wait(&loop, START + 11), DAMPING_RETRY_MOST);
    assert_int_equal(damping_new_id_wait(&loop, START + 3600), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heat_cools),
        cmocka_unit_test(a_clock_that_was_set_back_stops_nothing),
        cmocka_unit_test(lines_of_the_log_are_bounded),
        cmocka_unit_test(heat_is_never_below_nothing),
        cmocka_unit_test(real_clients_are_never_slowed),
        cmocka_unit_test(loops_are_slowed_and_blocked),
        cmocka_unit_test(who_heeds_retry_after_is_never_blocked),
        cmocka_unit_test(retry_after_grows_and_is_bounded),
        cmocka_unit_test(each_kind_slows_what_it_should),
        cmocka_unit_test(what_led_to_a_handshake_ends_with_it),
        cmocka_unit_test(another_policy_is_another_matter),
        cmocka_unit_test(new_ids_are_slowed_unless_their_handshakes_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

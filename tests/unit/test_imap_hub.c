/* The hub over a clock, links and a server of the test's own: who gets a connection, when, and what is
 * said over it; a server that is down; memory that runs out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/failing_malloc.h"
#include "tests/unit/imap_bench.h"

#define ALL "LIST-EXTENDED LIST-STATUS IDLE NOTIFY"
#define MINUTE 60000

static struct bench_ask asks[200];
static struct bench_watch watches[200];

static void check_answer(struct bench_ask *a, enum imap_answer want)
{
    assert_true(a->done);
    assert_int_equal(a->errand.answer, want);
    assert_int_equal(a->errand.listing != NULL, want == IMAP_ANSWER_OK && !a->errand.looks);
    bench_asked(a);
}

/* ---- questions ---- */

static void one_list_serves_all_who_wait(void **state)
{
    (void)state;
    bench_open(10, MINUTE, ALL);
    for (int i = 0; i < 20; i++) bench_ask(&asks[i], 0, "pw", i % 4 == 3);
    bench_run();
    for (int i = 0; i < 20; i++) check_answer(&asks[i], IMAP_ANSWER_OK);
    assert_true(asks[3].look.good);
    assert_int_equal(bench.tries, 1);
    assert_int_equal(bench.lists, 1);
    assert_int_equal(bench.looks, 5);
    bench_ask(&asks[0], 0, "pw", false); /* a moment later: the connection is still there */
    bench_run();
    check_answer(&asks[0], IMAP_ANSWER_OK);
    assert_int_equal(bench.tries, 1);
    bench_advance(31000);
    assert_int_equal(bench.open, 0); /* nobody has needed it */
    bench_close();
}

static void a_question_is_asked_again_over_a_new_connection(void **state)
{
    (void)state;
    bench_open(10, MINUTE, ALL);
    bench_ask(&asks[0], 0, "pw", false);
    bench_run();
    check_answer(&asks[0], IMAP_ANSWER_OK);
    bench.mute = true;
    bench_ask(&asks[0], 0, "pw", false);
    bench_run();
    assert_false(asks[0].done);
    bench.mute = false;
    bench_drop(0);
    bench_run();
    check_answer(&asks[0], IMAP_ANSWER_OK);
    assert_int_equal(bench.logins, 2);
    /* But once only. */
    bench.mute = true;
    bench_ask(&asks[0], 0, "pw", true);
    for (int i = 0; i < 2; i++) {
        bench_run();
        assert_false(asks[0].done);
        bench_drop(0);
    }
    bench_run();
    check_answer(&asks[0], IMAP_ANSWER_LATER);
    /* A server that says nothing is not asked again. */
    bench_ask(&asks[0], 0, "pw", true);
    bench_advance(19999);
    assert_false(asks[0].done);
    bench_advance(1);
    check_answer(&asks[0], IMAP_ANSWER_LATER);
    bench_close();
}

static void a_login_that_is_refused(void **state)
{
    (void)state;
    bench_open(10, MINUTE, ALL);
    for (int i = 0; i < 5; i++) {
        bench_ask(&asks[i], 0, "wrong pw", false);
        bench_run();
        check_answer(&asks[i], IMAP_ANSWER_REFUSED);
        bench_advance(1000);
    }
    assert_int_equal(bench.refusals, 1); /* not tried at each question */
    bench_ask(&asks[0], 0, "pw", false); /* another one is another matter */
    bench_run();
    check_answer(&asks[0], IMAP_ANSWER_OK);
    bench_advance(10000);
    bench_ask(&asks[0], 0, "wrong pw", false);
    bench_run();
    check_answer(&asks[0], IMAP_ANSWER_REFUSED);
    assert_int_equal(bench.refusals, 2);
    bench.busy = true;
    bench_ask(&asks[0], 1, "pw", false);
    bench_run();
    check_answer(&asks[0], IMAP_ANSWER_LATER);
    assert_int_equal(bench.errors, 0); /* the server is not down */
    bench_close();
}

/* ---- a server that is down ---- */

static void a_server_that_is_down_is_tried_ever_more_rarely(void **state)
{
    static const uint64_t waits[] = {1000, 2000, 4000, 8000, 16000, 30000, 30000};
    (void)state;
    bench_open(10, MINUTE, ALL);
    bench.down = true;
    bench_watch(&watches[0], 0, "pw", "INBOX");
    bench_watch(&watches[1], 1, "pw", "INBOX");
    bench_run();
    uint64_t due = bench_now();
    for (size_t i = 0; i < sizeof waits / sizeof *waits; i++) {
        unsigned tries = bench.tries;
        due += waits[i];
        bench_advance(due - 10 - bench_now());
        assert_int_equal(bench.tries, tries);
        bench_ask(&asks[0], 2, "pw", false);
        bench_run();
        check_answer(&asks[0], IMAP_ANSWER_LATER); /* at once, and nothing is tried for it */
        assert_true(asks[0].errand.retry_after >= 10);
        assert_int_equal(bench.tries, tries);
        bench_advance(20);
        assert_int_equal(bench.tries, tries + 1); /* one connection, however many wait */
    }
    assert_int_equal(bench.errors, 1);
    assert_int_equal(bench.warnings, 0);
    assert_int_equal(watches[0].seen + watches[1].seen, 0);
    bench.down = false;
    bench_advance(31000);
    assert_int_equal(watches[0].seen, 1);
    assert_int_equal(watches[1].seen, 1);
    assert_int_equal(bench.infos, 1);
    bench_deliver(0);
    bench_advance(200);
    assert_int_equal(watches[0].seen, 2);
    bench_unwatch(&watches[0]);
    bench_unwatch(&watches[1]);
    bench_close();
}

static void what_came_without_a_connection_is_found(void **state)
{
    (void)state;
    bench_open(10, MINUTE, ALL);
    bench_watch(&watches[0], 0, "pw", "INBOX");
    bench_watch(&watches[1], 0, "pw", NULL);
    bench_run();
    bench_advance(1000);
    assert_int_equal(watches[0].seen, 1);
    assert_int_equal(watches[1].seen, 1);
    for (int i = 0; i < 3; i++) {
        bench_drop(0);
        bench_run();
        bench_deliver(0);
        bench.has_more = !bench.has_more;
        bench_advance(10000);
        assert_int_equal(watches[0].seen, 2 + i);
        assert_int_equal(watches[1].seen, 2 + i);
    }
    bench_drop(0); /* and what did not come is not told */
    bench_advance(20000);
    assert_int_equal(watches[0].seen, 4);
    assert_int_equal(watches[1].seen, 4);
    bench_unwatch(&watches[0]);
    bench_unwatch(&watches[1]);
    bench_close();
}

/* ---- connections ---- */

static void more_users_than_connections(void **state)
{
    const unsigned users = 150;
    (void)state;
    bench_open(8, MINUTE, ALL);
    for (unsigned i = 0; i < users; i++) bench_watch(&watches[i], i, "pw", "INBOX");
    bench_advance(1000);
    for (unsigned i = 0; i < users; i++) assert_int_equal(watches[i].seen, 1);
    assert_int_equal(bench.most_open, 7); /* six are held, one goes round */
    for (unsigned round = 1; round < 4; round++) {
        unsigned logins = bench.logins;
        for (unsigned i = 0; i < users; i++) bench_deliver(i);
        bench_advance(MINUTE);
        for (unsigned i = 0; i < users; i++) assert_int_equal(watches[i].seen, round + 1);
        assert_int_equal(bench.logins - logins, users - 6); /* in turn, each once */
    }
    struct imap_figures f;
    imap_hub_figures(bench.hub, &f);
    assert_int_equal(f.held, 6);
    assert_int_equal(f.in_turn, users - 6);
    assert_in_range(f.turn_ms, MINUTE, MINUTE + 1000);
    /* There is always room for a question. */
    bench_ask(&asks[0], 200, "pw", false);
    bench_run();
    check_answer(&asks[0], IMAP_ANSWER_OK);
    /* Who goes leaves a connection to who has none. */
    for (unsigned i = 0; i < users; i++)
        if (i >= 6) bench_unwatch(&watches[i]);
    bench_advance(MINUTE);
    unsigned logins = bench.logins;
    bench_advance(10 * MINUTE);
    assert_int_equal(bench.logins, logins); /* the last six are held */
    for (unsigned i = 0; i < 6; i++) bench_unwatch(&watches[i]);
    assert_in_range(bench.most_open, 7, 8);
    bench_close();
}

static void one_connection_is_enough(void **state)
{
    (void)state;
    bench_open(1, 10000, ALL);
    for (unsigned i = 0; i < 20; i++) bench_watch(&watches[i], i, "pw", "INBOX");
    bench_advance(1000);
    for (unsigned i = 0; i < 20; i++) bench_deliver(i);
    for (unsigned i = 0; i < 20; i++) bench_ask(&asks[i], i, "pw", false);
    bench_advance(10000);
    for (unsigned i = 0; i < 20; i++) {
        check_answer(&asks[i], IMAP_ANSWER_OK);
        assert_int_equal(watches[i].seen, 2);
        bench_unwatch(&watches[i]);
    }
    assert_int_equal(bench.most_open, 1);
    bench_close();
}

static void a_question_does_not_wait_for_ever(void **state)
{
    (void)state;
    bench_open(1, MINUTE, ALL);
    bench.mute = true;
    bench_ask(&asks[0], 0, "pw", false); /* has the connection, and is stuck */
    bench_ask(&asks[1], 1, "pw", false);
    bench_advance(19000);
    assert_false(asks[1].done);
    bench_advance(2000);
    check_answer(&asks[1], IMAP_ANSWER_LATER);
    imap_hub_stop(bench.hub); /* the server ends */
    bench_run();
    check_answer(&asks[0], IMAP_ANSWER_LATER);
    bench_ask(&asks[1], 1, "pw", false);
    bench_run();
    check_answer(&asks[1], IMAP_ANSWER_LATER);
    bench_close();
}

static void what_is_told_is_kept_alive(void **state)
{
    static const char *const ways[] = {ALL, "IDLE", "NOTIFY"};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        bench_open(10, 3600000, ways[i]);
        bench_watch(&watches[0], 0, "pw", "INBOX");
        bench_advance(1000);
        unsigned before = bench.idles + bench.noops;
        for (int renewal = 1; renewal < 4; renewal++) {
            bench_advance(UINT64_C(28) * MINUTE + 30000); /* RFC 2177: 29 minutes */
            assert_in_range(bench.idles + bench.noops - before, renewal, renewal + 1);
        }
        assert_int_equal(bench.logins, 1);
        bench_unwatch(&watches[0]);
        bench_close();
    }
}

static void news_that_come_together_are_looked_at_once(void **state)
{
    (void)state;
    bench_open(10, MINUTE, ALL);
    for (int i = 0; i < 5; i++) bench_watch(&watches[i], 0, "pw", "INBOX");
    bench_advance(1000);
    unsigned looks = bench.looks;
    for (int i = 0; i < 10; i++) bench_deliver(0);
    bench_advance(1000);
    assert_int_equal(bench.looks, looks + 1);
    for (int i = 0; i < 5; i++) assert_int_equal(watches[i].seen, 2);
    bench_watch(&watches[5], 0, "pw", "INBOX"); /* one more need not ask */
    bench_advance(1000);
    assert_int_equal(watches[5].seen, 1);
    assert_int_equal(watches[5].watch.sum, watches[0].watch.sum);
    assert_int_equal(bench.looks, looks + 1);
    assert_int_equal(bench.logins, 1);
    for (int i = 0; i < 6; i++) bench_unwatch(&watches[i]);
    bench_close();
}

static void a_new_password_puts_the_old_one_to_the_test(void **state)
{
    (void)state;
    bench_open(10, MINUTE, ALL);
    bench_watch(&watches[0], 0, "pw", "INBOX");
    bench_advance(2 * MINUTE);
    bench.password = "pw new";
    bench_watch(&watches[1], 0, "pw new", "INBOX");
    bench_advance(1000);
    assert_true(watches[0].watch.refused);
    assert_false(watches[1].watch.refused);
    assert_int_equal(watches[1].seen, 1);
    bench_unwatch(&watches[0]);
    bench_unwatch(&watches[1]);
    bench_close();
}

/* ---- memory ---- */

static bool run_ask(void)
{
    bench_advance(MINUTE); /* what has failed before is over */
    bench_ask(&asks[0], 0, "pw", false);
    bench_run();
    assert_true(asks[0].done);
    bool good = asks[0].errand.answer == IMAP_ANSWER_OK;
    if (!good) assert_int_not_equal(asks[0].errand.answer, IMAP_ANSWER_REFUSED);
    if (!good) bench_asked(&asks[0]);
    return good;
}

static void asked_well(void)
{
    assert_int_equal(asks[0].errand.listing->count, 1);
    bench_asked(&asks[0]);
}

static bool run_watch(void)
{
    bench_advance(MINUTE);
    bench_watch(&watches[0], 0, "pw", "INBOX");
    bench_advance(MINUTE);
    bool good = watches[0].seen > 0 && !watches[0].watch.refused;
    if (!good) bench_unwatch(&watches[0]);
    return good;
}

static void watched_well(void)
{
    bench_deliver(0);
    bench_advance(10 * MINUTE);
    assert_int_equal(watches[0].seen, 2);
    bench_unwatch(&watches[0]);
}

static void begin(void)
{
    bench_open(4, MINUTE, ALL);
}

static void memory_runs_out(void **state)
{
    (void)state;
    failing_malloc_sweep(
        &(struct sweep){"imap_ask", begin, run_ask, NULL, asked_well, bench_close});
    failing_malloc_sweep(
        &(struct sweep){"imap_watch", begin, run_watch, NULL, watched_well, bench_close});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_list_serves_all_who_wait),
        cmocka_unit_test(a_question_is_asked_again_over_a_new_connection),
        cmocka_unit_test(a_login_that_is_refused),
        cmocka_unit_test(a_server_that_is_down_is_tried_ever_more_rarely),
        cmocka_unit_test(what_came_without_a_connection_is_found),
        cmocka_unit_test(more_users_than_connections),
        cmocka_unit_test(one_connection_is_enough),
        cmocka_unit_test(a_question_does_not_wait_for_ever),
        cmocka_unit_test(what_is_told_is_kept_alive),
        cmocka_unit_test(news_that_come_together_are_looked_at_once),
        cmocka_unit_test(a_new_password_puts_the_old_one_to_the_test),
        cmocka_unit_test(memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

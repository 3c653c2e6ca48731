/* The store over PostgreSQL: what other servers have changed, how long it is believed, and who leads.
 * Under over_postgresql.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "src/server/store/pg.h"
#include "tests/unit/postgresql_help.h"

/* ---- what others have changed ---- */
static void changes_are_told_to_others_once(void **unused)
{
    (void)unused;
    struct store *a = open_node("a", 10), *b = open_node("b", 10);
    struct told ta, tb;
    follow(a, &ta);
    follow(b, &tb);
    const struct {
        struct store_change c;
        const char *user; /* "": lists; NULL: nobody has to know */
    } cases[] = {
        {device_change("dora", "D"), "dora"},
        {user_change("emil", false), "emil"},
        {item("bond", "fritz/D", "{}"), "fritz"},
        {item("bond", "g/h/D", "{}"), "g/h"},
        {{.kind = STORE_REMOVE_DEVICE, .u.device = {.user = "hans", .device_id = "D"}}, "hans"},
        {{.kind = STORE_REMOVE_USER, .u.user = {.user = "ida"}}, "ida"},
        {item("rule", "1", "{}"), ""},
        {policy_change(1, "default"), ""},
        {{.kind = STORE_REMOVE_ITEM, .u.item = {.kind = "rule", .name = "1"}}, ""},
        {{.kind = STORE_PUT_TRAIL, .u.trail = {"jo", "D", "[]"}}, NULL},
        {{.kind = STORE_PUT_INFO, .u.info = {"jo", "D", 1, "{\"Model\":\"M\"}", NULL}}, NULL},
        {{.kind = STORE_PUT_FOLDER_IDS, .u.folder_ids = {"jo", "{}", NULL}}, NULL},
    };
    time_t began = time(NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        unsigned lists = count(&tb, &tb.lists);
        assert_true(put_one(a, cases[i].c));
        if (cases[i].user && *cases[i].user)
            EVENTUALLY(times_told(&tb, cases[i].user) == 1);
        else if (cases[i].user)
            EVENTUALLY(count(&tb, &tb.lists) == lists + 1);
    }
    assert_in_range(time(NULL) - began, 0, 10); /* at once, not at the next look 2.5 s later */
    const struct store_change line = {.kind = STORE_ADD_AUDIT, .u.log = {0, "a", 0}};
    unsigned own = count(&ta, &ta.logs);
    assert_true(put_one(a, line));
    EVENTUALLY(count(&tb, &tb.logs) == 1);
    EVENTUALLY(count(&ta, &ta.logs) == own + 1);
    assert_int_equal(times_told(&tb, "jo"), 0);
    assert_string_equal(ta.users, "");
    assert_int_equal(ta.lists + ta.all + tb.all, 0);
    store_close(a);
    store_close(b);
}

/* Only those of others are a reason to look: a server that writes much does not read as much. */
static void own_changes_are_not_looked_for(void **unused)
{
    (void)unused;
    struct store *a = open_node("a", 300), *b = open_node("b", 300);
    struct told told;
    follow(a, &told);
    EVENTUALLY(store_is_leader(a));
    sleep_ms(200);
    uint64_t heard = ((struct pg_store *)a)->feed.heard_ms;
    for (int i = 0; i < 5; i++)
        assert_true(put_one(a, user_change("own", i % 2)));
    sleep_ms(500);
    assert_true(((struct pg_store *)a)->feed.heard_ms == heard);
    assert_true(put_one(b, user_change("other", true)));
    EVENTUALLY(times_told(&told, "other") == 1);
    EVENTUALLY(((struct pg_store *)a)->feed.heard_ms > heard);
    store_close(a);
    store_close(b);
}

/* What was opened before it is followed misses nothing meanwhile. */
static void changes_between_open_and_follow_are_told(void **unused)
{
    (void)unused;
    struct store *a = open_node("a", 10), *b = open_node("b", 10);
    struct told told;
    assert_true(put_one(a, device_change("early", "D")));
    assert_false(store_is_heard(b));
    follow(b, &told);
    assert_int_equal(times_told(&told, "early"), 1);
    store_close(a);
    store_close(b);
}

/* A transaction that began earlier and ends later than others; without a notification, too. */
static void a_late_commit_is_not_missed(void **unused)
{
    (void)unused;
    struct store *a = open_node("a", 2), *b = open_node("b", 2);
    struct told told;
    follow(b, &told);
    PGconn *late = by_hand();
    sql(late, "BEGIN; INSERT INTO change (node, kind, name) VALUES (1, 1, 'late')");
    TIMES(5) {
        char name[24];
        snprintf(name, sizeof name, "early%d", turn);
        assert_true(put_one(a, device_change(name, "D")));
        EVENTUALLY(times_told(&told, name) == 1);
    }
    sleep_ms(1200); /* two looks without a notification */
    assert_int_equal(times_told(&told, "late"), 0);
    sql(late, "COMMIT");
    EVENTUALLY(times_told(&told, "late") == 1);
    sleep_ms(1200);
    assert_int_equal(times_told(&told, "late"), 1);
    assert_int_equal(times_told(&told, "early0"), 1); /* and nothing is told again meanwhile */
    assert_int_equal(told.all, 0);
    PQfinish(late);
    store_close(a);
    store_close(b);
}

static void changes_during_a_break_are_told(void **unused)
{
    (void)unused;
    struct store *a = open_node("a", 2), *b = open_node("b", 2);
    struct told told;
    follow(b, &told);
    PGconn *c = by_hand();
    char text[80];
    TIMES(5) {
        char name[24];
        snprintf(name, sizeof name, "user%d", turn);
        snprintf(text, sizeof text, "SELECT pg_terminate_backend(%d)", feed_pid(b));
        sql(c, text);
        assert_true(put_one(a, device_change(name, "D")));
        EVENTUALLY(times_told(&told, name) == 1);
        EVENTUALLY(store_is_heard(b));
    }
    assert_int_equal(told.all, 0);
    PQfinish(c);
    store_close(a);
    store_close(b);
}

static void what_was_pruned_is_told_as_all(void **unused)
{
    (void)unused;
    struct store *a = open_node("a", 2), *b = open_node("b", 2);
    struct told told, leader;
    assert_true(put_one(a, device_change("gone", "D")));
    do_sql("UPDATE change SET at = now() - interval '2 hours'");
    follow(a, &leader);
    PGconn *c = by_hand();
    EVENTUALLY(number(c, "SELECT count(*) FROM change") == 0);
    assert_true(put_one(a, device_change("fresh", "D")));
    follow(b, &told);
    assert_int_equal(count(&told, &told.all), 1);
    assert_int_equal(number(c, "SELECT count(*) FROM change"), 1); /* and young rows stay */
    PQfinish(c);
    store_close(a);
    store_close(b);
}

/* A dump of a server that had run longer has numbers of transactions that are yet to come. */
static void rows_of_a_dump_are_no_news(void **unused)
{
    (void)unused;
    struct store *a = open_node("a", 2), *b = open_node("b", 2);
    struct told told;
    do_sql("INSERT INTO change (xid, node, kind, name) VALUES ('999999999999', 1, 1, 'future');"
           "INSERT INTO change (xid, node, kind, name, at) VALUES ('999999999999', 1, 1, 'old', '2000-01-01');"
           "UPDATE feed SET pruned = '999999999998'");
    follow(b, &told);
    EVENTUALLY(store_is_leader(b));
    TIMES(3) {
        char name[24];
        snprintf(name, sizeof name, "user%d", turn);
        assert_true(put_one(a, device_change(name, "D")));
        EVENTUALLY(times_told(&told, name) == 1);
    }
    sleep_ms(1200);
    assert_int_equal(times_told(&told, "future") + times_told(&told, "old"), 0);
    assert_int_equal(told.all, 0);
    store_close(a);
    store_close(b);
}

/* As if nothing had been heard for hours: what was pruned since nobody knows. */
static void who_was_away_for_long_is_told_all(void **unused)
{
    (void)unused;
    struct timespec up;
    clock_gettime(CLOCK_BOOTTIME, &up);
    if (up.tv_sec < 3600)
        skip(); /* the clock cannot be so far behind */
    struct store *b = open_node("b", 2);
    struct told told;
    follow(b, &told);
    sleep_ms(1200);
    assert_int_equal(count(&told, &told.all), 0);
    _Atomic uint64_t *heard = &((struct pg_store *)b)->feed.heard_ms;
    for (int i = 0; i < 300 && !count(&told, &told.all); i++, sleep_ms(50))
        *heard = 1;
    assert_true(count(&told, &told.all) > 0);
    store_close(b);
}

static void another_history_is_told_as_all(void **unused)
{
    (void)unused;
    struct store *b = open_node("b", 2);
    struct told told;
    /* As if the server had been promoted since then. */
    ((struct pg_store *)b)->feed.history[0] ^= 1;
    follow(b, &told);
    EVENTUALLY(count(&told, &told.all) == 1);
    store_close(b);
}

/* ---- the lease, and who leads ---- */
static void the_lease_ends_when_nothing_is_heard(void **unused)
{
    (void)unused;
    struct store *s = open_node("a", 2);
    struct told told;
    follow(s, &told);
    EVENTUALLY(store_is_leader(s));
    int pid = feed_pid(s);
    TIMES(30) { /* while all is well it does not end */
        sleep_ms(100);
        assert_true(store_is_heard(s));
    }
    assert_int_equal(kill(pid, SIGSTOP), 0);
    sleep_ms(2100);
    assert_false(store_is_heard(s));
    assert_false(store_is_leader(s));
    assert_true(put_one(s, user_change("alice", true))); /* the writer is well */
    assert_int_equal(kill(pid, SIGCONT), 0);
    EVENTUALLY(store_is_heard(s));
    store_close(s);
}

static void one_leads(void **unused)
{
    (void)unused;
    enum { NODES = 3 };
    struct store *s[NODES];
    struct told told[NODES];
    for (int i = 0; i < NODES; i++) {
        s[i] = open_node("n", 2);
        follow(s[i], &told[i]);
    }
    PGconn *c = by_hand();
    TIMES(10) {
        int leader = -1;
        EVENTUALLY((leader = store_is_leader(s[0]) ? 0 : store_is_leader(s[1]) ? 1
                             : store_is_leader(s[2]) ? 2 : -1) >= 0);
        char text[80];
        snprintf(text, sizeof text, "SELECT pg_terminate_backend(%d)", feed_pid(s[leader]));
        sql(c, text);
        for (int i = 0; i < 50; i++, sleep_ms(10))
            assert_in_range(store_is_leader(s[0]) + store_is_leader(s[1]) + store_is_leader(s[2]), 0, 1);
    }
    PQfinish(c);
    /* Who goes leaves it to another. */
    for (int i = 0; i < NODES; i++) {
        store_close(s[i]);
        if (i < NODES - 1)
            EVENTUALLY(store_is_leader(s[NODES - 1]) || (i == 0 && store_is_leader(s[1])));
    }
}

static void who_no_longer_follows_is_not_told(void **unused)
{
    (void)unused;
    struct store *a = open_node("a", 2), *b = open_node("b", 2);
    struct told told;
    follow(b, &told);
    EVENTUALLY(store_is_leader(b));
    assert_true(store_follow(b, NULL));
    assert_false(store_is_leader(b));
    assert_true(put_one(a, device_change("u", "D")));
    sleep_ms(1000);
    assert_int_equal(times_told(&told, "u"), 0);
    store_close(a);
    store_close(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(changes_are_told_to_others_once),
        TEST(own_changes_are_not_looked_for),
        TEST(changes_between_open_and_follow_are_told),
        TEST(a_late_commit_is_not_missed),
        TEST(changes_during_a_break_are_told),
        TEST(what_was_pruned_is_told_as_all),
        TEST(rows_of_a_dump_are_no_news),
        TEST(who_was_away_for_long_is_told_all),
        TEST(another_history_is_told_as_all),
        TEST(the_lease_ends_when_nothing_is_heard),
        TEST(one_leads),
        TEST(who_no_longer_follows_is_not_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

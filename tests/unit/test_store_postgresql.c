/* The store over PostgreSQL: what it has that SQLite's has not. Under over_postgresql.py. */
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

/* ---- the schema ---- */
static void *open_once(void *unused)
{
    (void)unused;
    const struct store_options o = options_of("one of many");
    char why[256];
    return store_open(&o, why, sizeof why);
}

static void migrations_run_once(void **unused)
{
    (void)unused;
    enum { OPENERS = 6 };
    pthread_t threads[OPENERS];
    void *stores[OPENERS];
    for (int i = 0; i < OPENERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, open_once, NULL), 0);
    for (int i = 0; i < OPENERS; i++)
        pthread_join(threads[i], &stores[i]);
    for (int i = 0; i < OPENERS; i++) {
        assert_non_null(stores[i]);
        assert_true(put_one(stores[i], user_change("alice", true)));
    }
    PGconn *c = by_hand();
    assert_int_equal(number(c, "SELECT count(*) FROM schema_version"), 1);
    assert_int_equal(number(c, "SELECT count(*) FROM feed"), 1);
    PQfinish(c);
    for (int i = 0; i < OPENERS; i++)
        store_close(stores[i]);
}

static void a_newer_schema_is_refused(void **unused)
{
    (void)unused;
    struct store *s = open_store();
    do_sql("UPDATE schema_version SET version = 1000");
    const struct store_options o = options_of("old");
    assert_null(store_open(&o, error, sizeof error));
    assert_non_null(strstr(error, "schema 1000"));
    assert_non_null(strstr(error, "newer"));

    /* Who is open finds out with the next connection, and writes no longer. */
    control("stop");
    control("start");
    EVENTUALLY(!try_put(s, user_change("alice", true)));
    EVENTUALLY(strstr(logged_line, "schema 1000"));
    do_sql("UPDATE schema_version SET version = 1");
    EVENTUALLY(try_put(s, user_change("alice", true)));
    store_close(s);
}

/* A role that may use what is there, but make nothing. */
static void few_rights_suffice_once_the_schema_is_there(void **unused)
{
    (void)unused;
    store_close(open_store());
    PGconn *c = by_hand();
    sql(c, "DO $$ BEGIN CREATE ROLE small LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;"
           "DO $$ BEGIN EXECUTE format('GRANT USAGE ON SCHEMA %I TO small', current_schema());"
           "EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA %I TO small',"
           " current_schema()); END $$");
    PQfinish(c);
    struct store_options o = options_of("one");
    char url[300];
    struct told told;
    const char *at = strstr(o.url, "//") + 2;
    snprintf(url, sizeof url, "%.*ssmall%s", (int)(at - o.url), o.url, strchr(at, '@'));
    o.url = url;
    struct store *s = store_open(&o, error, sizeof error);
    if (!s)
        fail_msg("%s", error);
    follow(s, &told);
    assert_true(put_one(s, device_change("u", "D")));
    const struct store_change line = {.kind = STORE_ADD_AUDIT, .u.log = {0, "a", 0}};
    assert_true(put_one(s, line));
    EVENTUALLY(store_is_leader(s));
    store_close(s);
}

static void passwords_are_not_told(void **unused)
{
    (void)unused;
    static const char *const urls[] = {
        "postgresql://u:geheim@127.0.0.1:1/x?connect_timeout=2", "postgresql://u:geheim%zz@h/x",
        "postgresql://u:%00geheim@h/x", "postgresql://u:geheim@[::1/x", "postgresql://u:geheim@h/x?geheim=1",
        "postgresqX://u:geheim@h/x", "mysql://u:geheim@h/x",
    };
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        struct store_options o = options_of("one");
        o.url = urls[i];
        if (i == 0)
            continue; /* waited for: below */
        assert_null(store_open(&o, error, sizeof error));
        print_message("# %s\n", error);
        assert_true(strlen(error) > 20);
        if (strstr(error, "geheim") && !strstr(urls[i], "?geheim"))
            fail_msg("told: %s", error);
    }
    struct store_options o = options_of("one");
    o.url = urls[0];
    time_t began = time(NULL);
    assert_null(store_open(&o, error, sizeof error));
    assert_in_range(time(NULL) - began, PG_OPEN_S - 1, PG_OPEN_S + 10);
    assert_non_null(strstr(error, "127.0.0.1"));
    assert_null(strstr(error, "geheim"));
}

/* ---- the server goes, and comes back ---- */
static void it_comes_back(const char *how)
{
    struct store *s = open_quick();
    struct told told;
    follow(s, &told);
    assert_true(put_one(s, user_change("alice", true)));
    unsigned failures = logged_failures, back = logged_back;
    control(how);

    struct timespec from, to;
    uint64_t n;
    TIMES(3) {
        clock_gettime(CLOCK_MONOTONIC, &from);
        assert_false(try_put(s, user_change("bob", true)));
        assert_false(store_count_devices(s, &n));
        clock_gettime(CLOCK_MONOTONIC, &to);
        assert_in_range(to.tv_sec - from.tv_sec, 0, 6);
    }
    assert_in_range(logged_failures, failures + 1, failures + 3);
    /* Written behind: it waits. */
    const struct store_change behind = user_change("behind", false);
    assert_true(store_submit(s, &behind, 1, NULL));
    sleep_ms(300);
    control("start");
    EVENTUALLY(try_put(s, user_change("carol", true)));
    EVENTUALLY(store_count_devices(s, &n));
    EVENTUALLY(logged_back == back + 1);
    assert_in_range(logged_failures, failures + 1, failures + 5); /* a new reason is told, if it lasts */
    struct seen *seen = read_all(s);
    assert_int_equal(seen->user_count, 3);
    assert_string_equal(seen->users[1].user, "behind");
    forget(seen);
    EVENTUALLY(store_is_heard(s));
    store_close(s);
}

static void a_stopped_server_comes_back(void **unused)
{
    (void)unused;
    it_comes_back("stop");
}

static void a_killed_server_comes_back(void **unused)
{
    (void)unused;
    it_comes_back("kill");
}

/* Idle connections that the server has closed cost nobody an answer. */
static void a_restart_that_nobody_sees_fails_nothing(void **unused)
{
    (void)unused;
    struct store *s = open_store();
    uint64_t n;
    TIMES(3) {
        assert_true(put_one(s, user_change("alice", turn)));
        assert_true(store_count_devices(s, &n));
        control("stop");
        control("start");
    }
    assert_true(put_one(s, user_change("alice", true)));
    store_close(s);
}

/* Who waits for what is written behind is not kept waiting either. */
static void nobody_waits_for_a_server_that_is_away(void **unused)
{
    (void)unused;
    struct store *s = open_store();
    control("stop");
    const struct store_change c = user_change("alice", true);
    assert_true(store_submit(s, &c, 1, NULL));
    time_t began = time(NULL);
    assert_false(store_settle(s, store_submitted(s)));
    assert_false(store_settle(s, store_submitted(s)));
    assert_in_range(time(NULL) - began, 0, 8);
    control("start");
    EVENTUALLY(store_settle(s, store_submitted(s)));
    store_close(s);
}

/* A row that somebody holds for long fails whoever wants it, and nobody else; a table, everybody soon. */
static void a_lock_is_not_waited_for_long(void **unused)
{
    (void)unused;
    static const char *const locks[] = {"UPDATE account SET enabled = 1 WHERE owner = 'a'",
                                        "LOCK TABLE account"};
    for (int table = 0; table < 2; table++) {
        struct store *s = open_store();
        assert_true(put_one(s, user_change("a", true)));
        PGconn *c = by_hand();
        sql(c, "BEGIN");
        sql(c, locks[table]);
        struct wait w[MANY] = {0};
        time_t began = time(NULL);
        for (size_t i = 0; i < MANY; i++) {
            char name[24];
            snprintf(name, sizeof name, "user%zu", i);
            const struct store_change change = user_change(i == 77 ? "a" : name, false);
            w[i].write.done = wait_done;
            assert_true(store_submit(s, &change, 1, &w[i].write));
        }
        unsigned failed = 0;
        for (size_t i = 0; i < MANY; i++)
            failed += !wait_for(&w[i]);
        assert_in_range(time(NULL) - began, 2, 15); /* not three seconds for each */
        assert_int_equal(failed, table ? MANY : 1);
        assert_int_equal(w[77].write.durable, false);
        assert_false(w[77].write.conflict);
        sql(c, "COMMIT");
        PQfinish(c);
        assert_true(put_one(s, user_change("a", false)));
        store_close(s);
    }
}

static void closing_without_a_server_ends(void **unused)
{
    (void)unused;
    struct store *s = open_store();
    control("stop");
    const struct store_change c = user_change("alice", true);
    struct wait x = {.write.done = wait_done};
    assert_true(store_submit(s, &c, 1, &x.write));
    assert_true(store_submit(s, &c, 1, NULL));
    time_t began = time(NULL);
    store_close(s);
    assert_in_range(time(NULL) - began, 0, 8);
    assert_false(wait_for(&x));
    control("start");
}

/* A commit that breaks the connection may have come to pass or not. */
static void a_lost_commit_is_told(void **unused)
{
    (void)unused;
    struct store *s = open_store();
    do_sql("CREATE FUNCTION leave() RETURNS trigger LANGUAGE plpgsql AS"
           " 'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(1); RETURN NULL; END';"
           "CREATE CONSTRAINT TRIGGER leave AFTER INSERT ON item DEFERRABLE INITIALLY DEFERRED"
           " FOR EACH ROW EXECUTE FUNCTION leave()");
    uint64_t node = ((struct pg_store *)s)->node;
    struct wait x = {.write.done = wait_done};
    const struct store_change c = item("rule", "1", "{}");
    assert_true(store_submit(s, &c, 1, &x.write));
    assert_false(wait_for(&x));
    assert_true(x.write.lost);
    assert_false(x.write.conflict);
    /* If it comes to pass later, it is not taken for our own. */
    assert_int_not_equal(((struct pg_store *)s)->node, node);
    do_sql("DROP TRIGGER leave ON item");
    assert_true(put_one(s, c));
    store_close(s);
}

/* What breaks the server's process again and again is given up. */
static void what_kills_the_server_does_not_block_others(void **unused)
{
    (void)unused;
    struct store *s = open_store();
    do_sql("CREATE FUNCTION leave() RETURNS trigger LANGUAGE plpgsql AS"
           " 'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(1); RETURN NULL; END';"
           "CREATE TRIGGER leave BEFORE INSERT ON item FOR EACH ROW EXECUTE FUNCTION leave()");
    const struct store_change c = item("rule", "1", "{}");
    assert_true(store_submit(s, &c, 1, NULL));
    EVENTUALLY(try_put(s, user_change("alice", true)));
    assert_true(store_settle(s, store_submitted(s)));
    store_close(s);
}

/* ---- a server that does not want to ---- */
static void a_refusal_is_told_and_survived(void **unused)
{
    (void)unused;
    static const struct { const char *spoil, *mend, *code; } cases[] = {
        {"ALTER TABLE account RENAME TO gone", "ALTER TABLE gone RENAME TO account", "42P01"},
        {"DROP TABLE account", "CREATE TABLE account (owner bytea PRIMARY KEY, enabled bigint NOT NULL,"
                               " no_device_wipe bigint NOT NULL)", "42P01"},
        {"ALTER SYSTEM SET default_transaction_read_only = on; SELECT pg_reload_conf()",
         "SET default_transaction_read_only = off; ALTER SYSTEM RESET default_transaction_read_only;"
         "SELECT pg_reload_conf()", "25006"},
        {"CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS"
         " 'BEGIN RAISE EXCEPTION ''no space'' USING ERRCODE = ''53100''; END';"
         "CREATE TRIGGER f BEFORE INSERT ON account FOR EACH ROW EXECUTE FUNCTION full_disk()",
         "DROP TRIGGER f ON account", "53100"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        print_message("# %s\n", cases[i].spoil);
        struct store *s = open_quick();
        assert_true(put_one(s, user_change("alice", true)));
        PGconn *c = by_hand();
        unsigned failures = logged_failures, back = logged_back;
        for (const char *at = cases[i].spoil; at; at = strchr(at, ';') ? strchr(at, ';') + 1 : NULL) {
            char one[300];
            if (i == 3) { /* the function's text has semicolons of its own */
                sql(c, cases[i].spoil);
                break;
            }
            snprintf(one, sizeof one, "%.*s", (int)strcspn(at, ";"), at);
            sql(c, one);
        }
        EVENTUALLY(!try_put(s, user_change("alice", false)));
        TIMES(10) assert_false(try_put(s, user_change("alice", false)));
        assert_in_range(logged_failures, failures + 1, failures + 3);
        if (!strstr(logged_line, cases[i].code) && i != 2)
            fail_msg("logged: %s", logged_line);
        assert_int_equal(logged_back, back);
        for (const char *at = cases[i].mend; at; at = strchr(at, ';') ? strchr(at, ';') + 1 : NULL) {
            char one[300];
            snprintf(one, sizeof one, "%.*s", (int)strcspn(at, ";"), at);
            sql(c, one);
        }
        PQfinish(c);
        EVENTUALLY(try_put(s, user_change("alice", true)));
        EVENTUALLY(logged_back == back + 1);
        store_close(s);
    }
}

/* ---- two who write ---- */
struct writer {
    struct store *s;
    bool backwards;
    unsigned durable, conflicts, failed;
};

static void *write_many(void *arg)
{
    enum { ROUNDS = 60, AT_ONCE = 20 };
    struct writer *w = arg;
    for (int round = 0; round < ROUNDS; round++) {
        struct wait x[AT_ONCE] = {0};
        for (int i = 0; i < AT_ONCE; i++) {
            char first[16], second[16];
            int n = w->backwards ? AT_ONCE - 1 - i : i;
            snprintf(first, sizeof first, "user%02d", n);
            snprintf(second, sizeof second, "user%02d", (n + 7) % AT_ONCE);
            const struct store_change c[] = {
                user_change(w->backwards ? second : first, true),
                {.kind = STORE_PUT_TRAIL, .u.trail = {first, "D", "[]"}},
                {.kind = STORE_PUT_INFO, .u.info = {second, "D", round, round % 2 ? "{\"OS\":\"1\"}" : "{\"OS\":\"2\"}", NULL}},
                user_change(w->backwards ? first : second, false),
                item("rule", w->backwards ? "2" : "1", "{}"),
                item("rule", w->backwards ? "1" : "2", "{}"),
                {.kind = STORE_PUT_FOLDER_IDS, .u.folder_ids = {first, "{}", NULL}},
            };
            x[i].write.done = wait_done;
            while (!store_submit(w->s, c, sizeof c / sizeof *c, &x[i].write))
                sleep_ms(10);
        }
        for (int i = 0; i < AT_ONCE; i++) {
            bool durable = wait_for(&x[i]);
            *(durable ? &w->durable : x[i].write.conflict ? &w->conflicts : &w->failed) += 1;
        }
    }
    return NULL;
}

static void rows_are_locked_in_one_order(void **unused)
{
    (void)unused;
    struct writer w[] = {{.s = open_node("a", 10)}, {.s = open_node("b", 10), .backwards = true}};
    pthread_t threads[2];
    PGconn *c = by_hand();
    long before = number(c, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()");
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_many, &w[i]), 0);
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(w[i].failed + w[i].conflicts, 0);
        store_close(w[i].s);
    }
    sleep_ms(1200); /* the server's counts are late */
    sql(c, "SELECT pg_stat_clear_snapshot()");
    assert_int_equal(number(c, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"),
                     before);
    PQfinish(c);
}

/* Somebody else who takes rows in another order. */
static void a_deadlock_is_tried_again(void **unused)
{
    (void)unused;
    struct store *s = open_store();
    assert_true(put_one(s, user_change("a", true)));
    assert_true(put_one(s, user_change("b", true)));
    PGconn *c = by_hand();
    sql(c, "SET deadlock_timeout = '10s'; BEGIN; UPDATE account SET enabled = 1 WHERE owner = 'b'");
    const struct store_change both[] = {user_change("a", false), user_change("b", false)};
    struct wait x = {.write.done = wait_done};
    assert_true(store_submit(s, both, 2, &x.write));
    sleep_ms(200);
    /* The writer holds a and waits for b: it is the one that is broken off. */
    sql(c, "UPDATE account SET enabled = 1 WHERE owner = 'a'");
    sql(c, "COMMIT");
    assert_true(wait_for(&x));
    struct seen *seen = read_all(s);
    assert_false(seen->users[0].enabled);
    assert_false(seen->users[1].enabled);
    forget(seen);
    PQfinish(c);
    store_close(s);
}

/* Two nodes add to the information of one device at once: nothing of it is lost. */
static void information_of_two_is_merged(void **unused)
{
    (void)unused;
    struct store *s[] = {open_node("a", 10), open_node("b", 10)};
    TIMES(20) {
        struct wait x[2] = {0};
        char patch[2][32], device[24];
        snprintf(device, sizeof device, "D%d", turn);
        for (int i = 0; i < 2; i++) {
            snprintf(patch[i], sizeof patch[i], "{\"%s\":\"%d\"}", i ? "Model" : "OS", turn);
            const struct store_change c = {.kind = STORE_PUT_INFO, .u.info = {"u", device, 1, patch[i], NULL}};
            x[i].write.done = wait_done;
            assert_true(store_submit(s[i], &c, 1, &x[i].write));
        }
        for (int i = 0; i < 2; i++)
            assert_true(wait_for(&x[i]));
        struct info_record r;
        void *block;
        assert_int_equal(store_read_info(s[0], "u", device, &r, &block), 1);
        assert_non_null(strstr(r.info_json, "Model"));
        assert_non_null(strstr(r.info_json, "OS"));
        free(block);
    }
    store_close(s[0]);
    store_close(s[1]);
}

/* ---- texts ---- */
static void see_name(void *ctx, const struct device_record *r)
{
    struct seen *seen = ctx;
    seen->texts[seen->text_count++] = strdup(r->user);
    if (strcmp(r->user, r->user_agent) != 0 || strcmp(r->wipe_reason, r->user) != 0)
        fail_msg("another text came back");
}

static int by_strcmp(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void any_bytes_are_kept_in_order(void **unused)
{
    (void)unused;
    const char *names[] = {
        "a'; DROP TABLE device; --", "a\\", "a\"b", "\xff\xfe", "\xc3\x28", "\xed\xa0\x80", "\xf4\x90\x80\x80",
        "\xc3\xa9", "E\x01\x02\x1f\x7f", "$1", "%s%n", "{1,2}", "\xe2\x80\xae" "abc", "Z", "z", "_", "a b", "\\x41", "",
    };
    enum { COUNT = sizeof names / sizeof *names };
    struct store *s = open_store();
    for (size_t i = 0; i < COUNT; i++) {
        struct store_change c[] = {device_change(names[i], "D"), item("claim", names[i], names[i]),
                                   user_change(names[i], true)};
        c[0].u.device.user_agent = c[0].u.device.wipe_reason = names[i];
        assert_true(put(s, c, 3));
        struct seen *seen = read_user(s, names[i]);
        assert_int_equal(seen->device_count, 1);
        assert_same_device(&seen->devices[0], &c[0].u.device);
        forget(seen);
        struct item_record r;
        void *block;
        assert_int_equal(store_read_item(s, "claim", names[i], &r, &block), 1);
        assert_string_equal(r.json, names[i]);
        free(block);
    }
    qsort(names, COUNT, sizeof *names, by_strcmp);
    struct seen *seen = calloc(1, sizeof *seen);
    const char *after = NULL;
    for (size_t before = 1; seen->text_count != before;) {
        before = seen->text_count;
        const struct store_query q = {.after_user = after, .after_device_id = after ? "D" : NULL, .most = 3};
        assert_true(store_read_devices(s, &q, see_name, seen));
        after = seen->text_count ? seen->texts[seen->text_count - 1] : NULL;
        if (!after)
            break;
    }
    /* Behind nobody there is one who is called "" no longer: no user is. */
    assert_in_range(seen->text_count, COUNT - 1, COUNT);
    for (size_t i = 0; i < seen->text_count; i++)
        assert_string_equal(seen->texts[i], names[i + COUNT - seen->text_count]);
    forget(seen);
    store_close(s);
}

/* A value that the server cannot hold (no index takes a name so long) fails alone. */
static void what_cannot_be_held_fails_alone(void **unused)
{
    (void)unused;
    struct store *s = open_store();
    char *name = malloc(20001);
    for (int i = 0; i < 20000; i++)
        name[i] = (char)(33 + rand() % 90);
    name[20000] = '\0';
    struct wait w[MANY] = {0};
    PGconn *c = by_hand();
    sql(c, "BEGIN; LOCK TABLE account");
    for (size_t i = 0; i < MANY; i++) {
        const struct store_change change = user_change(i == 77 || i == 150 ? name : "alice", i % 2);
        w[i].write.done = wait_done;
        assert_true(store_submit(s, &change, 1, &w[i].write));
    }
    sql(c, "COMMIT");
    for (size_t i = 0; i < MANY; i++)
        assert_int_equal(wait_for(&w[i]), i != 77 && i != 150);
    PQfinish(c);
    free(name);
    store_close(s);
}

static void what_cannot_be_understood_is_told(void **unused)
{
    (void)unused;
    static const char *const spoilt[][2] = {
        {"UPDATE device SET version = '14.7'", "version \"14.7\""},
        {"UPDATE device SET key_hash = 'abc'", "key_hash \"abc\""},
        {"UPDATE device SET outcome = 'fine'", "outcome \"fine\""},
        {"UPDATE device SET key = 4294967296", "key \"4294967296\""},
        {"UPDATE device SET asked = 2", "asked \"2\""},
        {"UPDATE device SET wipe_id = -1", "wipe_id \"-1\""},
        {"UPDATE device SET offers = '4:1:1:1:00112233445566778899aabbccddeeff'", "offers \"4:"},
        {"UPDATE device SET offers = '1:1:1:1:0011'", "offers \"1:"},
        {"UPDATE device SET offers = '1:1:1:1:00112233445566778899aabbccddeeffx'", "offers \"1:"},
        {"UPDATE device SET offers = '1'", "offers \"1"},
        {"UPDATE device SET offers = ' '", "offers \" "},
    };
    for (size_t i = 0; i < sizeof spoilt / sizeof *spoilt; i++) {
        print_message("# %s\n", spoilt[i][0]);
        struct store *s = open_store();
        const struct store_change c[] = {{.kind = STORE_REMOVE_USER, .u.user = {.user = "u"}},
                                         device_change("u", "D")};
        assert_true(put(s, c, 2));
        do_sql(spoilt[i][0]);
        struct seen *seen = calloc(1, sizeof *seen);
        assert_false(store_read_user(s, "u", &see_all, seen));
        forget(seen);
        if (!strstr(logged_line, spoilt[i][1]))
            fail_msg("logged: %s", logged_line);
        store_close(s);
    }
}

/* A default of the database must not take the durability away. */
static void a_commit_is_on_the_disk_whatever_the_default(void **unused)
{
    (void)unused;
    static const char *const defaults[][2] = {{"off", "on"}, {"on", "on"}, {"local", "local"}};
    store_close(open_store());
    do_sql("CREATE TABLE seen (setting text); CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS"
           " 'BEGIN INSERT INTO seen VALUES (current_setting(''synchronous_commit'')); RETURN NEW; END';"
           "CREATE TRIGGER see BEFORE INSERT ON account FOR EACH ROW EXECUTE FUNCTION see()");
    for (size_t i = 0; i < sizeof defaults / sizeof *defaults; i++) {
        char text[100];
        snprintf(text, sizeof text, "TRUNCATE seen; ALTER ROLE provost SET synchronous_commit = %s", defaults[i][0]);
        do_sql(text);
        struct store *s = open_store();
        bool stored = put_one(s, user_change("alice", true));
        store_close(s);
        do_sql("ALTER ROLE provost RESET synchronous_commit");
        assert_true(stored);
        PGconn *c = by_hand();
        snprintf(text, sizeof text, "SELECT count(*) FROM seen WHERE setting = '%s'", defaults[i][1]);
        assert_int_equal(number(c, text), 1);
        PQfinish(c);
    }
}

/* ---- many ---- */
/* More than any buffer between us and the server holds, in both directions. */
static void a_batch_may_be_large(void **unused)
{
    (void)unused;
    enum { ALL = 300, SIZE = 100000 };
    static struct wait w[ALL];
    struct store *s = open_store();
    char *text = malloc(SIZE + 1);
    memset(text, 'x', SIZE);
    text[SIZE] = '\0';
    for (size_t i = 0; i < ALL; i++) {
        char name[24];
        snprintf(name, sizeof name, "user%zu", i);
        const struct store_change c[] = {
            {.kind = STORE_PUT_TRAIL, .u.trail = {name, "D", text}},
            {.kind = STORE_PUT_INFO, .u.info = {name, "D", 1, "{\"Model\":\"M\"}", NULL}}};
        w[i] = (struct wait){.write.done = wait_done};
        assert_true(store_submit(s, c, 2, &w[i].write));
    }
    for (size_t i = 0; i < ALL; i++)
        assert_true(wait_for(&w[i]));
    struct trail_record r;
    void *block;
    assert_int_equal(store_read_trail(s, "user299", "D", &r, &block), 1);
    assert_int_equal(strlen(r.trail_json), SIZE);
    free(block);
    free(text);
    store_close(s);
}

static void batches_are_one_transaction(void **unused)
{
    (void)unused;
    enum { ALL = 2000 };
    static struct wait w[ALL];
    struct store *s = open_store();
    PGconn *c = by_hand();
    long before = number(c, "SELECT pg_current_xact_id()::text::bigint");
    for (size_t i = 0; i < ALL; i++) {
        char name[24];
        snprintf(name, sizeof name, "user%04zu", i);
        const struct store_change change = device_change(name, "D");
        w[i] = (struct wait){.write.done = wait_done};
        assert_true(store_submit(s, &change, 1, &w[i].write));
    }
    for (size_t i = 0; i < ALL; i++)
        assert_true(wait_for(&w[i]));
    /* Two for each batch: the other one rings the bell. */
    assert_in_range(number(c, "SELECT pg_current_xact_id()::text::bigint") - before, 2, ALL / 20);
    assert_int_equal(number(c, "SELECT count(*) FROM device"), ALL);
    PQfinish(c);
    store_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(migrations_run_once),
        TEST(a_newer_schema_is_refused),
        TEST(few_rights_suffice_once_the_schema_is_there),
        TEST(passwords_are_not_told),
        TEST(a_stopped_server_comes_back),
        TEST(a_killed_server_comes_back),
        TEST(a_restart_that_nobody_sees_fails_nothing),
        TEST(nobody_waits_for_a_server_that_is_away),
        TEST(a_lock_is_not_waited_for_long),
        TEST(closing_without_a_server_ends),
        TEST(a_lost_commit_is_told),
        TEST(what_kills_the_server_does_not_block_others),
        TEST(a_refusal_is_told_and_survived),
        TEST(rows_are_locked_in_one_order),
        TEST(a_deadlock_is_tried_again),
        TEST(information_of_two_is_merged),
        TEST(any_bytes_are_kept_in_order),
        TEST(what_cannot_be_held_fails_alone),
        TEST(what_cannot_be_understood_is_told),
        TEST(a_commit_is_on_the_disk_whatever_the_default),
        TEST(a_batch_may_be_large),
        TEST(batches_are_one_transaction),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

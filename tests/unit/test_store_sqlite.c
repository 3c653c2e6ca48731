/* What only the store over SQLite has: its file, its schema, the queue before its writer. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "src/server/store/sqlite.h"
#include "tests/unit/store_help.h"

static void commits_are_shared(void **unused)
{
    (void)unused;
    struct sqlite_store *s = (struct sqlite_store *)open_store();
    struct wait w[MANY] = {0};
    uint64_t before = s->commits;
    sqlite3 *held = hold_file();
    for (size_t i = 0; i < MANY; i++) {
        const struct store_change c = user_change("alice", i % 2);
        w[i].write.done = wait_done;
        assert_true(store_submit(&s->base, &c, 1, &w[i].write));
    }
    release_file(held);
    for (size_t i = 0; i < MANY; i++)
        assert_true(wait_for(&w[i]));
    assert_in_range(s->commits - before, 1, 3);
    store_close(&s->base);
}

/* Whatever becomes of the others, each has its own answer, and it takes one commit. */
static void a_storm_of_conflicts_costs_one_commit(void **unused)
{
    (void)unused;
    struct sqlite_store *s = (struct sqlite_store *)open_store();
    struct store_change d = device_change("alice", "D"), stale = d;
    assert_true(put(&s->base, &d, 1));
    struct wait w[MANY] = {0};
    uint64_t before = s->commits;
    done_count = 0;
    sqlite3 *held = hold_file();
    for (size_t i = 0; i < MANY; i++) {
        struct store_change c[] = {{.kind = STORE_ADD_AUDIT, .u.log = {0, "x"}},
                                   i % 10 ? stale : d};
        next_tag(&c[1]);
        if (i % 10 == 0)
            d = c[1];
        w[i].write.done = wait_done;
        assert_true(store_submit(&s->base, c, 2, &w[i].write));
    }
    release_file(held);
    for (size_t i = 0; i < MANY; i++) {
        assert_int_equal(wait_for(&w[i]), i % 10 == 0);
        assert_int_equal(w[i].write.conflict, i % 10 != 0);
        assert_int_equal(w[i].order, i);
    }
    assert_in_range(s->commits - before, 1, 3);
    struct seen *seen = read_user(&s->base, "alice");
    assert_same_device(&seen->devices[0], &d.u.device);
    forget(seen);
    store_close(&s->base);
}

static void note_id(void *ctx, const struct log_record *r)
{
    assert_int_equal(r->id, ++*(uint64_t *)ctx);
}

/* The audit log is moved by its ids: what fails takes none. */
static void ids_of_lines_have_no_gap(void **unused)
{
    (void)unused;
    struct store *s = open_store();
    const struct store_change lines[] = {{.kind = STORE_ADD_AUDIT, .u.log = {0, "a"}},
                                         policy_change(1, "x")};
    uint64_t last = 0;
    assert_true(put(s, lines, 2));
    assert_true(conflicts(s, lines, 2));
    assert_true(put(s, lines, 1));
    const struct store_change drop = {.kind = STORE_REMOVE_AUDIT, .u.log = {2, NULL}};
    assert_true(put(s, &drop, 1));
    store_close(s);
    s = open_store();
    assert_true(put(s, lines, 1));
    last = 2;
    assert_true(store_read_log(s, STORE_LOG_AUDIT, 0, 10, note_id, &last));
    assert_int_equal(last, 3);
    store_close(s);
}

/* No read, nor any write, walks over a table that grows with the fleet. */
static void statements_use_indices(void **unused)
{
    (void)unused;
#define SQL_TEXT(id, text) text,
    static const char *const texts[] = {SQLITE_READS(SQL_TEXT) SQLITE_WRITES(SQL_TEXT)};
    static const char *const whole[] = {"SELECT count(*) FROM device", "SELECT * FROM policy",
                                        "SELECT * FROM item ORDER", "SELECT * FROM user ORDER",
                                        "SELECT * FROM device ORDER"};
    struct sqlite_store *s = (struct sqlite_store *)open_store();
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        char explain[2000];
        sqlite3_stmt *q;
        bool walks = false;
        for (size_t k = 0; k < sizeof whole / sizeof *whole; k++)
            walks = walks || strncmp(texts[i], whole[k], strlen(whole[k])) == 0;
        snprintf(explain, sizeof explain, "EXPLAIN QUERY PLAN %s", texts[i]);
        assert_int_equal(sqlite3_prepare_v2(s->free_readers->db, explain, -1, &q, NULL), SQLITE_OK);
        while (sqlite3_step(q) == SQLITE_ROW) {
            const char *plan = (const char *)sqlite3_column_text(q, 3);
            if (!walks && strncmp(plan, "SCAN", 4) == 0 && strncmp(plan, "SCAN (", 6) != 0)
                fail_msg("%s: %s", texts[i], plan);
        }
        sqlite3_finalize(q);
    }
    store_close(&s->base);
}

static void the_queue_is_bounded(void **unused)
{
    (void)unused;
    struct store *s = open_store();
    const struct store_change c = user_change("alice", true);
    sqlite3 *held = hold_file();
    size_t taken = 0;
    while (taken < STORE_QUEUE_MAX + 2 * STORE_BATCH_MAX &&
           store_submit(s, &c, 1, NULL))
        taken++;
    assert_in_range(taken, STORE_QUEUE_MAX, STORE_QUEUE_MAX + STORE_BATCH_MAX);
    release_file(held);
    store_close(s);
}

struct walk {
    char user[16];
    unsigned count;
};

static void walk_on(void *ctx, const struct device_record *r)
{
    struct walk *w = ctx;
    assert_true(strcmp(r->user, w->user) > 0);
    assert_true(r->last_seen < 1000);
    snprintf(w->user, sizeof w->user, "%s", r->user);
    w->count++;
}

/* Few are found by their index, many are met on the way: nobody is left out by either. */
static void whoever_was_not_seen_is_found(void **unused)
{
    (void)unused;
    enum { OLD = 10020, AT_ONCE = 60 };
    struct store *s = open_store();
    struct store_change c[AT_ONCE];
    char names[AT_ONCE][16];
    for (unsigned i = 0; i < 2 * OLD;) {
        for (unsigned k = 0; k < AT_ONCE; k++, i++) {
            snprintf(names[k], sizeof names[k], "u%05u", i);
            c[k] = device_change(names[k], "D");
            c[k].u.device.last_seen = i % 2 ? 500 + i / 2 % 500 : 1000;
        }
        assert_true(store_submit(s, c, AT_ONCE, NULL));
    }
    assert_true(store_settle(s, store_submitted(s)));
    static const struct { int64_t before; unsigned count; } cases[] = {{1000, OLD}, {510, 210}};
    for (size_t i = 0; i < 2; i++) {
        struct walk w = {0};
        struct store_query q = {.filter = STORE_SEEN_BEFORE, .before = cases[i].before, .most = 700};
        for (unsigned before = 1; w.count != before;) {
            before = w.count;
            q.after_user = w.user;
            q.after_device_id = "D";
            assert_true(store_read_devices(s, &q, walk_on, &w));
        }
        assert_int_equal(w.count, cases[i].count);
    }
    store_close(s);
}

/* Also by what it holds, since one submission may be large. */
static void the_queue_has_so_many_bytes(void **unused)
{
    (void)unused;
    enum { MEGABYTE = 1 << 20 };
    struct store *s = open_store();
    char *text = malloc(2 * MEGABYTE), *huge = malloc(STORE_QUEUE_BYTES + 1u);
    memset(text, 'x', 2 * MEGABYTE);
    memset(huge, 'x', STORE_QUEUE_BYTES);
    text[2 * MEGABYTE - 1] = huge[STORE_QUEUE_BYTES] = '\0';
    const struct store_change c = {.kind = STORE_PUT_ITEM, .u.item = {"rule", "r", text}},
                              h = {.kind = STORE_PUT_ITEM, .u.item = {"rule", "r", huge}};
    assert_false(store_submit(s, &h, 1, NULL));
    sqlite3 *held = hold_file();
    size_t taken = 0;
    while (taken < 100 && store_submit(s, &c, 1, NULL))
        taken++;
    assert_in_range(taken, 31, 63); /* the writer may have taken some, up to as much again */
    release_file(held);
    assert_true(store_settle(s, store_submitted(s)));
    assert_true(store_submit(s, &c, 1, NULL));
    store_close(s);
    free(huge);
    free(text);
}

/* It would see the store of that instant for ever. */
static void no_reader_stays_in_a_transaction(void **unused)
{
    (void)unused;
    struct sqlite_store *s = (struct sqlite_store *)open_store();
    struct item_record r;
    void *block;
    const struct store_change c = {.kind = STORE_PUT_ITEM, .u.item = {"rule", "r", "{}"}};
    assert_int_equal(sqlite3_exec(s->free_readers->db, "BEGIN", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(store_read_item(&s->base, "rule", "r", &r, &block), 0);
    assert_true(put(&s->base, &c, 1));
    assert_int_equal(store_read_item(&s->base, "rule", "r", &r, &block), 1);
    free(block);
    store_close(&s->base);
}

static void files_are_private(void **unused)
{
    (void)unused;
    char path[128];
    struct stat st;
    mode_t old = umask(0);
    snprintf(path, sizeof path, "%s/sub", state);
    struct store *s = open_elsewhere("sqlite", path);
    umask(old);
    assert_non_null(s);
    static const char *const names[] = {"", "/provost.db", "/provost.db-wal",
                                        "/provost.db-shm"};
    const struct store_change c = user_change("alice", true);
    assert_true(put(s, &c, 1));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/sub%s", state, names[i]);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 0777, i ? 0600 : 0700);
    }
    store_close(s);
    for (size_t i = sizeof names / sizeof *names; i-- > 0;) {
        snprintf(path, sizeof path, "%s/sub%s", state, names[i]);
        i ? unlink(path) : rmdir(path);
    }
}

static void sql(const char *text)
{
    char path[128];
    sqlite3 *db;
    snprintf(path, sizeof path, "%s/provost.db", state);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static void a_newer_schema_is_refused(void **unused)
{
    (void)unused;
    store_close(open_store());
    sql("PRAGMA user_version = 99");
    assert_null(open_elsewhere("sqlite", state));
    assert_non_null(strstr(error, "schema 99"));
    assert_non_null(strstr(error, "provost.db"));
}

/* A file of the first schema, with a device in each state that it knew. */
static void a_file_of_the_first_schema_is_brought_up(void **unused)
{
    (void)unused;
    sql("CREATE TABLE device (user TEXT, device_id TEXT, device_type TEXT, user_agent TEXT,"
        " version TEXT, first_seen INTEGER, last_seen INTEGER, info TEXT, key INTEGER,"
        " key_at INTEGER, key_revision INTEGER, key_hash TEXT, acked_offer INTEGER,"
        " acked_status INTEGER, outcome TEXT, refused INTEGER, provisioned_once INTEGER,"
        " asked INTEGER, access TEXT, wipe TEXT, wipe_sent INTEGER, wipe_failed INTEGER,"
        " wiped INTEGER, PRIMARY KEY (user, device_id)) STRICT, WITHOUT ROWID;"
        "CREATE TABLE offer (user TEXT, device_id TEXT, position INTEGER, key INTEGER, at INTEGER,"
        " revision INTEGER, hash TEXT, PRIMARY KEY (user, device_id, position)) STRICT,"
        " WITHOUT ROWID;"
        "CREATE TABLE policy (revision INTEGER PRIMARY KEY, name TEXT, at INTEGER, settings TEXT)"
        " STRICT;"
        "CREATE TABLE user (name TEXT PRIMARY KEY, enabled INTEGER) STRICT, WITHOUT ROWID;"
        "CREATE TABLE folder_state (user TEXT, device_id TEXT, key INTEGER, previous_key INTEGER,"
        " tree TEXT, previous_tree TEXT, ping TEXT, PRIMARY KEY (user, device_id)) STRICT,"
        " WITHOUT ROWID;"
        "CREATE TABLE folder_ids (user TEXT PRIMARY KEY, ids TEXT) STRICT, WITHOUT ROWID;"
        "INSERT INTO policy VALUES (3, 'default', 9, '{}');"
        "INSERT INTO user VALUES ('dan', 0);"
        "INSERT INTO device VALUES"
        " ('a', 'IN', 'T', 'U', '14.1', 1, 2, '{\"Model\":\"M\",\"OS\":\"O\"}', 7, 8, 3,"
        "  '00112233445566778899aabbccddeeff', 0, 0, 'compliant', 0, 1, 1, 'ok', 'none', 0, 0, 0),"
        " ('a', 'NO', 'T', 'U', '12.1', 1, 2, '', 0, 0, 0,"
        "  '00000000000000000000000000000000', 0, 0, 'partial', 1, 0, 1, 'ok', 'none', 0, 0, 0),"
        " ('a', 'OUT', 'T', 'U', '16.1', 1, 2, '', 0, 0, 0,"
        "  '00000000000000000000000000000000', 0, 0, 'none', 0, 0, 0, 'blocked', 'none', 0, 0, 0),"
        " ('a', 'WIPE', 'T', 'U', '16.1', 1, 2, '', 5, 6, 3,"
        "  '00112233445566778899aabbccddeeff', 0, 0, 'compliant', 0, 1, 1, 'ok', 'account', 1, 0,"
        "  0),"
        " ('a', 'XED', 'T', 'U', '16.1', 1, 2, '', 0, 0, 0,"
        "  '00000000000000000000000000000000', 0, 0, 'none', 0, 1, 1, 'ok', 'none', 0, 0, 1);"
        "INSERT INTO offer VALUES"
        " ('a', 'NO', 0, 77, 5, 3, '00112233445566778899aabbccddeeff');"
        "PRAGMA user_version = 1");
    struct store *s = open_store();
    struct seen *seen = read_all(s);
    assert_int_equal(seen->device_count, 5);
    const struct device_record *in = &seen->devices[0], *no = in + 1, *out = in + 2,
                               *wipe = in + 3, *wiped = in + 4;
    assert_string_equal(in->model, "M");
    assert_string_equal(in->os, "O");
    assert_int_equal(in->state, PV_STATE_PROVISIONED);
    assert_int_equal(in->partnership.key, 7);
    assert_int_equal(in->partnership.said, 1);
    assert_int_equal(in->partnership.wipe_id, 0);
    assert_int_equal(in->tag, 1);
    assert_int_equal(no->partnership.outcome, PV_OUTCOME_REFUSED);
    assert_int_equal(no->partnership.said, 2);
    assert_int_equal(no->partnership.offers[0].key, 77);
    assert_int_equal(out->partnership.personal, PV_PERSONAL_BLOCK);
    assert_int_equal(out->state, PV_STATE_BLOCKED);
    assert_int_equal(wipe->partnership.wipe_state, PV_WIPE_STATE_SENT);
    assert_int_equal(wipe->partnership.key, 5);
    assert_true(wipe->partnership.wipe_id != 0);
    assert_int_equal(wiped->partnership.shut, PV_SHUT_WIPED);
    assert_int_equal(wiped->partnership.wipe_state, PV_WIPE_STATE_ACKNOWLEDGED);
    assert_string_equal(seen->policies[0].parent, "");
    assert_false(seen->users[0].enabled);
    struct info_record r;
    void *block;
    assert_int_equal(store_read_info(s, "a", "IN", &r, &block), 1);
    assert_string_equal(r.info_json, "{\"Model\":\"M\",\"OS\":\"O\"}");
    free(block);
    struct store_change next = {.kind = STORE_PUT_DEVICE, .u.device = *in};
    next_tag(&next);
    assert_true(put(s, &next, 1));
    assert_true(conflicts(s, &next, 1));
    forget(seen);
    store_close(s);
}

/* Of whom, in the log. */
static void what_cannot_be_understood_is_told(void **unused)
{
    (void)unused;
    static const char *const spoilt[][2] = {
        {"UPDATE device SET version = '14.7'", "version \"14.7\""},
        {"UPDATE device SET key_hash = 'abc'", "key_hash \"abc\""},
        {"UPDATE device SET key_hash = 'zz112233445566778899aabbccddeeff'", "key_hash \"zz"},
        {"UPDATE device SET outcome = 'fine'", "outcome \"fine\""},
        {"UPDATE device SET wipe = 'both'", "wipe \"both\""},
        {"UPDATE device SET key = 4294967296", "key \"4294967296\""},
        {"UPDATE device SET asked = 2", "asked \"2\""},
        {"UPDATE device SET said = 5", "said \"5\""},
        {"UPDATE device SET state = 'odd'", "state \"odd\""},
        {"UPDATE device SET personal = 'odd'", "personal \"odd\""},
        {"UPDATE device SET wipe_state = 'odd'", "wipe_state \"odd\""},
        {"UPDATE device SET shut = 'odd'", "shut \"odd\""},
        {"UPDATE device SET wipe_id = -1", "wipe_id \"-1\""},
        {"UPDATE device SET tag = -1", "tag \"-1\""},
        {"UPDATE offer SET position = 4 WHERE position = 0", "position \"4\""},
        {"UPDATE user SET enabled = -1", "enabled \"-1\""},
    };
    for (size_t i = 0; i < sizeof spoilt / sizeof *spoilt; i++) {
        print_message("# %s\n", spoilt[i][0]);
        const struct store_change changes[] = {
            {.kind = STORE_REMOVE_USER, .u.user = {.user = "uwe"}},
            device_change("uwe", "D"), user_change("uwe", true), device_change("al", "D")};
        bool of_user = strstr(spoilt[i][0], "user SET");
        struct store *s = open_store();
        assert_true(put(s, changes, i ? 3 : 4));
        sql(spoilt[i][0]);
        sql("UPDATE device SET (version, key_hash, outcome, wipe, key, asked, said, state, personal,"
            " wipe_state, shut, wipe_id, tag) = (SELECT '14.1', '00112233445566778899aabbccddeeff',"
            " 'none', 'none', 0, 0, 0, 'new', 'none', 'none', 'not', 0, 1) WHERE user = 'al';"
            "UPDATE offer SET position = 0 WHERE user = 'al' AND position = 4;");
        struct seen *seen = calloc(1, sizeof *seen);
        assert_false(store_read_user(s, "uwe", &see_all, seen));
        if (!strstr(logged_line, spoilt[i][1]) || !strstr(logged_line, "user=uwe"))
            fail_msg("line is: %s", logged_line);
        assert_false(store_read_user(s, "uwe", &see_all, seen)); /* is not told again so soon */
        logged_line[0] = ((struct sqlite_store *)s)->reading.damaged[0] = '\0';
        forget(seen);
        seen = read_user(s, "al");
        assert_int_equal(seen->device_count, 1);
        const struct store_query q = {.most = 9};
        size_t texts = seen->device_count;
        assert_true(store_read_devices(s, &q, see_all.device, seen)); /* the others are there */
        assert_int_equal(seen->device_count - texts, of_user ? 2 : 1);
        assert_int_equal(store_read_users(s, NULL, 9, see_all.user, seen), !of_user);
        if (!strstr(logged_line, spoilt[i][1]) || !strstr(logged_line, "user=uwe"))
            fail_msg("line is: %s", logged_line);
        forget(seen);
        store_close(s);
        sql("UPDATE user SET enabled = 1");
    }

    const struct store_change policy = policy_change(1, "default");
    struct seen *seen = calloc(1, sizeof *seen);
    struct store *s = open_store();
    assert_true(put(s, &policy, 1));
    sql("UPDATE policy SET revision = -1");
    assert_false(store_load(s, &see_all, seen, error, sizeof error));
    assert_non_null(strstr(error, "revision \"-1\""));
    forget(seen);
    store_close(s);
}

static void a_second_server_is_refused(void **unused)
{
    (void)unused;
    struct store *s = open_store();
    assert_null(open_elsewhere("sqlite", state));
    assert_non_null(strstr(error, "another provostd"));
    store_close(s);
    store_close(open_store());
}

static void a_file_that_is_none_is_refused(void **unused)
{
    (void)unused;
    char path[128];
    snprintf(path, sizeof path, "%s/provost.db", state);
    FILE *f = fopen(path, "w");
    for (int i = 0; i < 1000; i++)
        fputs("no database\n", f);
    fclose(f);
    assert_null(open_elsewhere("sqlite", state));
    assert_non_null(strstr(error, "provost.db"));
    unlink(path);

    assert_int_equal(mkdir(path, 0700), 0); /* no permission stops root, a directory does */
    assert_null(open_elsewhere("sqlite", state));
    assert_non_null(strstr(error, "provost.db"));
    assert_int_equal(rmdir(path), 0);

    assert_null(open_elsewhere("sqlite", "/dev/null/state"));
    assert_non_null(strstr(error, "/dev/null/state"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(commits_are_shared),
        TEST(a_storm_of_conflicts_costs_one_commit),
        TEST(ids_of_lines_have_no_gap),
        TEST(statements_use_indices),
        TEST(the_queue_is_bounded),
        TEST(whoever_was_not_seen_is_found),
        TEST(the_queue_has_so_many_bytes),
        TEST(no_reader_stays_in_a_transaction),
        TEST(files_are_private),
        TEST(a_newer_schema_is_refused),
        TEST(a_file_of_the_first_schema_is_brought_up),
        TEST(what_cannot_be_understood_is_told),
        TEST(a_second_server_is_refused),
        TEST(a_file_that_is_none_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

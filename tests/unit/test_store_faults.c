/* The store over SQLite when the file cannot be used: nothing is told to be stored that is not, one line
 * tells that it has begun and one that it is over, and it is over without a restart. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "src/server/store/sqlite.h"
#include "tests/unit/store_help.h"

/* A trouble is over at the first success. */
static struct store *open_quick(void)
{
    struct sqlite_store *s = (struct sqlite_store *)open_store();
    s->writing.quiet_ms = s->reading.quiet_ms = 0;
    return &s->base;
}

static const char *path_of(const char *suffix)
{
    static char paths[4][128];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, 128, "%s/provost.db%s", state, suffix);
    return path;
}

static bool put_user(struct store *s, const char *user)
{
    const struct store_change c = user_change(user, true);
    return put(s, &c, 1);
}

/* It is opened again at intervals. */
static void comes_back(struct store *s, const char *user)
{
    unsigned tries = 0;
    while (!put_user(s, user)) {
        assert_true(++tries < 400);
        usleep(10000);
    }
}

static bool has_user(struct store *s, const char *user)
{
    struct seen *seen = read_user(s, user);
    bool has = seen->user_count;
    forget(seen);
    return has;
}

/* After a restart; what was told to be stored is. */
static void assert_kept(const char *const *users)
{
    struct store *s = open_store();
    for (; *users; users++)
        if (!has_user(s, *users))
            fail_msg("%s is lost", *users);
    store_close(s);
}

/* The disk is full (a limit on the size of files stands in for it), then it is not. */
static void a_full_disk_is_told_and_survived(void **unused)
{
    (void)unused;
    struct store *s = open_quick();
    const struct store_change c = user_change("alice", true);
    assert_true(put(s, &c, 1));

    struct rlimit old, small;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = old;
    small.rlim_cur = 40000;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    unsigned stored = 0, refused = 0, told = logged_failures;
    char name[16];
    for (int i = 0; i < 20; i++) {
        snprintf(name, sizeof name, "user%02d", i);
        const struct store_change more = device_change(name, "D");
        *(put(s, &more, 1) ? &stored : &refused) += 1;
    }
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_true(refused > 0);
    assert_true(logged_failures > told);

    unsigned back = logged_back;
    const struct store_change after = device_change("zoe", "D");
    assert_true(put(s, &after, 1));
    store_close(s); /* joins the writer: its log line is written */
    assert_int_equal(logged_back, back + 1);
    s = open_store();
    struct seen *seen = read_all(s);
    assert_int_equal(seen->device_count, stored + 1);
    assert_same_device(&seen->devices[stored], &after.u.device);
    forget(seen);
    store_close(s);
}


static void a_file_that_is_moved_away_fails_until_it_is_back(void **unused)
{
    (void)unused;
    static const char *const kept[] = {"before", "after", NULL};
    struct store *s = open_quick();
    unsigned told = logged_failures, back = logged_back;
    assert_true(put_user(s, "before"));
    assert_int_equal(rename(path_of(""), path_of("-away")), 0);
    struct wait w = {.write.done = wait_done};
    const struct store_change c = user_change("meanwhile", true);
    assert_true(store_submit(s, &c, 1, &w.write));
    assert_false(wait_for(&w));
    assert_true(w.write.lost); /* it is in the file that may come back */
    for (int i = 0; i < 50; i++)
        assert_false(put_user(s, "meanwhile"));
    assert_int_equal(logged_failures, told + 1);
    assert_non_null(strstr(logged_line, "provost.db has been moved"));
    assert_int_equal(access(path_of(""), F_OK), -1); /* none is made in its place */
    assert_int_equal(rename(path_of("-away"), path_of("")), 0);
    comes_back(s, "after");
    assert_true(has_user(s, "before"));
    store_close(s);
    assert_int_equal(logged_back, back + 1);
    assert_kept(kept);
}

/* Nobody would learn that it is lost: it waits until it can be written, however many there are; whoever
 * waits is told soon. */
static void what_is_written_behind_waits(void **unused)
{
    (void)unused;
    enum { BEHIND = 3 * STORE_BATCH_MAX };
    char name[16];
    struct store *s = open_quick();
    assert_true(put_user(s, "before"));
    assert_int_equal(rename(path_of(""), path_of("-away")), 0);
    assert_false(put_user(s, "meanwhile"));
    struct store_change d = device_change("user0", "D");
    for (int i = 0; i < BEHIND; i++) { /* each of what the one before makes */
        assert_true(store_submit(s, &d, 1, NULL));
        if (i + 1 < BEHIND)
            next_tag(&d);
    }
    uint64_t position = store_submitted(s);
    for (int i = 0; i < 5; i++) {
        snprintf(name, sizeof name, "user%d", i);
        assert_false(put_user(s, name));
    }
    assert_false(store_settled(s, position));
    assert_false(store_settle(s, position)); /* not for seconds */
    assert_int_equal(rename(path_of("-away"), path_of("")), 0);
    comes_back(s, "after");
    assert_true(store_settle(s, position));
    struct seen *seen = read_user(s, "user0");
    assert_int_equal(seen->device_count, 1);
    assert_same_device(&seen->devices[0], &d.u.device);
    forget(seen);

    /* A store that closes does not wait for ever. */
    assert_int_equal(rename(path_of(""), path_of("-away")), 0);
    const struct store_change last = user_change("last", true);
    assert_false(put_user(s, "meanwhile"));
    assert_true(store_submit(s, &last, 1, NULL));
    store_close(s);
    assert_int_equal(rename(path_of("-away"), path_of("")), 0);
}

/* Of another one, whatever it holds, memory would be wrong. */
static void another_file_in_its_place_is_not_used(void **unused)
{
    (void)unused;
    static const char *const kept[] = {"before", "after", NULL};
    char copy[400];
    struct store *s = open_quick();
    assert_true(put_user(s, "before"));
    snprintf(copy, sizeof copy, "cd %s && mv provost.db away && cp away provost.db", state);
    assert_int_equal(system(copy), 0);
    for (int i = 0; i < 30; i++) {
        assert_false(put_user(s, "meanwhile"));
        usleep(10000);
    }
    assert_int_equal(rename(path_of(""), path_of("-other")), 0);
    snprintf(copy, sizeof copy, "cd %s && mv away provost.db", state);
    assert_int_equal(system(copy), 0);
    comes_back(s, "after");
    store_close(s);
    assert_kept(kept);
}

/* What stands in the log only is brought into the file before the log goes with its last connection. */
static void a_log_that_is_removed_takes_nothing_with_it(void **unused)
{
    (void)unused;
    static const char *const suffixes[] = {"-wal", "-shm"};
    static const char *const kept[] = {"one", "two", "three", "four", NULL};
    for (size_t i = 0; i < 2; i++) {
        struct store *s = open_quick();
        assert_true(put_user(s, "one"));
        assert_true(put_user(s, "two"));
        assert_int_equal(unlink(path_of(suffixes[i])), 0);
        assert_false(put_user(s, "meanwhile"));
        comes_back(s, "three");
        assert_true(put_user(s, "four"));
        store_close(s);
        assert_kept(kept);
    }
}

/* From offset on, or put back. */
static void spoil(off_t from, char **keep)
{
    struct stat st;
    int fd = open(path_of(""), O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0 && fstat(fd, &st) == 0 && st.st_size > from);
    size_t size = (size_t)(st.st_size - from);
    if (*keep) {
        assert_int_equal(pwrite(fd, *keep, size, from), size);
        free(*keep);
        *keep = NULL;
    } else {
        char *noise = malloc(size);
        *keep = malloc(size);
        assert_true(noise && *keep && pread(fd, *keep, size, from) == (ssize_t)size);
        memset(noise, 0xa5, size);
        assert_int_equal(pwrite(fd, noise, size, from), size);
        free(noise);
    }
    close(fd);
}

static void empty_log(void)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path_of(""), &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "PRAGMA wal_checkpoint(TRUNCATE)", NULL, NULL, NULL),
                     SQLITE_OK);
    sqlite3_close(db);
}

/* All pages but the first, then the whole file: its pages are not read from memory for ever. */
static void damaged_pages_fail_until_they_are_mended(void **unused)
{
    (void)unused;
    static const char *const kept[] = {"before", "after", NULL};
    static const off_t froms[] = {4096, 0};
    for (size_t i = 0; i < 2; i++) {
        struct store *s = open_quick();
        assert_true(put_user(s, "before"));
        empty_log();
        store_close(s);
        s = open_quick();
        char *keep = NULL;
        spoil(froms[i], &keep);
        unsigned told = logged_failures;
        struct seen *seen = calloc(1, sizeof *seen);
        for (int k = 0; k < 20; k++) {
            assert_false(put_user(s, "meanwhile"));
            assert_false(store_read_user(s, "before", &see_all, seen));
        }
        forget(seen);
        assert_in_range(logged_failures, told + 1, told + 2); /* of writing, of reading */
        spoil(froms[i], &keep);
        comes_back(s, "after");
        assert_true(has_user(s, "before"));
        store_close(s);
        assert_kept(kept);
    }
}

/* A new schema is made at the start only. */
static void an_emptied_file_is_not_begun_anew(void **unused)
{
    (void)unused;
    static const char *const kept[] = {"before", "after", NULL};
    struct stat st;
    struct store *s = open_quick();
    assert_true(put_user(s, "before"));
    empty_log();
    store_close(s);
    s = open_quick();
    assert_int_equal(stat(path_of(""), &st), 0);
    char *keep = NULL;
    spoil(0, &keep);
    assert_false(put_user(s, "meanwhile"));
    assert_int_equal(truncate(path_of(""), 0), 0);
    for (int i = 0; i < 40; i++) {
        assert_false(put_user(s, "meanwhile"));
        usleep(10000);
    }
    assert_non_null(strstr(logged_line, "provost.db"));
    assert_int_equal(truncate(path_of(""), st.st_size), 0);
    spoil(0, &keep);
    comes_back(s, "after");
    assert_true(has_user(s, "before"));
    store_close(s);
    assert_kept(kept);
}

/* ---- who reads and writes meanwhile ---- */
struct crowd {
    struct store *s;
    atomic_bool enough;
    _Atomic unsigned read, unread, written, failed;
};

static void *read_on(void *arg)
{
    struct crowd *c = arg;
    struct item_record r;
    void *block;
    while (!c->enough) {
        int found = store_read_item(c->s, "rule", "r", &r, &block);
        uint64_t count;
        assert_int_not_equal(found, 0); /* never "not there" */
        if (found == 1) {
            assert_string_equal(r.json, "{}");
            free(block);
        }
        bool counted = store_count_devices(c->s, &count);
        *(found == 1 && counted ? &c->read : &c->unread) += 1;
    }
    return NULL;
}

/* One state after the other of a device of its own: each is made of what the store has told. */
static void *write_on(void *arg)
{
    static _Atomic unsigned names;
    struct crowd *c = arg;
    char name[16];
    snprintf(name, sizeof name, "user%u", names++);
    struct store_change d = device_change(name, "D");
    while (!c->enough) {
        struct wait w = {.write.done = wait_done};
        assert_true(store_submit(c->s, &d, 1, &w.write));
        if (wait_for(&w)) {
            c->written++;
            next_tag(&d);
            continue;
        }
        c->failed++;
        struct seen *seen = calloc(1, sizeof *seen);
        if (store_read_user(c->s, name, &see_all, seen))
            d.u.device.was = seen->device_count ? seen->devices[0].tag : 0;
        d.u.device.tag = store_tag();
        forget(seen);
    }
    return NULL;
}

static void connections_are_changed_under_readers_and_writers(void **unused)
{
    (void)unused;
    enum { READERS = 6, WRITERS = 3 };
    static const char *const suffixes[] = {"-wal", "-shm", ""};
    struct crowd c = {.s = open_quick()};
    pthread_t threads[READERS + WRITERS];
    const struct store_change item = {.kind = STORE_PUT_ITEM, .u.item = {"rule", "r", "{}"}};
    assert_true(put(c.s, &item, 1));
    for (size_t i = 0; i < READERS + WRITERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, i < READERS ? read_on : write_on, &c), 0);
    for (int round = 0; round < 15; round++) {
        const char *suffix = suffixes[round % 3];
        unsigned failed = c.failed, read = c.read;
        assert_int_equal(rename(path_of(suffix), path_of("-away")), 0);
        while (c.failed == failed)
            usleep(1000);
        assert_int_equal(*suffix ? unlink(path_of("-away")) : rename(path_of("-away"), path_of("")), 0);
        for (unsigned written = c.written; c.written < written + 20 || c.read < read + 20;)
            usleep(1000);
    }
    c.enough = true;
    for (size_t i = 0; i < READERS + WRITERS; i++)
        pthread_join(threads[i], NULL);
    store_close(c.s);
    sqlite3 *db;
    sqlite3_stmt *q;
    assert_int_equal(sqlite3_open(path_of(""), &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &q, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(q), SQLITE_ROW);
    assert_string_equal((const char *)sqlite3_column_text(q, 0), "ok");
    sqlite3_finalize(q);
    sqlite3_close(db);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_full_disk_is_told_and_survived),
        TEST(a_file_that_is_moved_away_fails_until_it_is_back),
        TEST(what_is_written_behind_waits),
        TEST(another_file_in_its_place_is_not_used),
        TEST(a_log_that_is_removed_takes_nothing_with_it),
        TEST(damaged_pages_fail_until_they_are_mended),
        TEST(an_emptied_file_is_not_begun_anew),
        TEST(connections_are_changed_under_readers_and_writers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

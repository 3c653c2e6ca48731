/* Audit lines on their way from the store into the files, over the real store. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "src/server/observe/audit_mover.h"
#include "src/server/observe/log.h"

/* ---- what it needs of the server ---- */
static _Atomic unsigned failed, back, cut, other;

struct worker *worker_self(void)
{
    return NULL;
}

void worker_post(struct worker *w, struct task *t)
{
    (void)w, (void)t;
}

bool log_on(enum log_level level)
{
    return level <= LOG_WARN;
}

void log_write(enum log_level level, uint64_t session, const char *verb, const struct kv *fields)
{
    (void)level, (void)session, (void)fields;
    failed += strcmp(verb, "audit-failed") == 0;
    back += strcmp(verb, "audit-back") == 0;
    cut += strcmp(verb, "audit-cut") == 0;
    other += strcmp(verb, "audit-other") == 0;
}

/* ---- the disk under the files; SQLite calls the C library's own ---- */
static _Atomic bool disk_is_full;
int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);

int __wrap_fdatasync(int fd)
{
    if (!disk_is_full)
        return __real_fdatasync(fd);
    errno = ENOSPC;
    return -1;
}

/* ---- a state directory ---- */
static char state[64], dir[80], error[512];
static struct store *store;
static struct audit_mover *mover;

/* A command with $STATE in it. */
static void shell(const char *command)
{
    assert_int_equal(setenv("STATE", state, 1), 0);
    assert_int_equal(system(command), 0);
}

/* The same store, as if others had it, too. */
static bool shared;
static unsigned keep;
static _Atomic bool leads;

static bool is_leader(const struct store *s)
{
    (void)s;
    return leads;
}

static void share(struct store *s)
{
    static struct store_ops ops;
    ops = *s->ops;
    ops.shared = true;
    ops.is_leader = is_leader;
    s->ops = &ops;
}

static void start(void)
{
    store = store_open(&(struct store_options){.url = "sqlite", .state = state}, error, sizeof error);
    if (!store)
        fail_msg("%s", error);
    if (shared)
        share(store);
    mover = audit_mover_start(store, dir, 1500, keep, error, sizeof error);
    if (!mover)
        fail_msg("%s", error);
}

static void stop(void)
{
    audit_mover_stop(mover);
    store_close(store);
    audit_mover_destroy(mover);
    store = NULL;
}

static int set_up(void **unused)
{
    (void)unused;
    failed = back = cut = other = 0;
    leads = true;
    keep = 0;
    snprintf(state, sizeof state, "/tmp/provost-mover-XXXXXX");
    if (!mkdtemp(state))
        return -1;
    snprintf(dir, sizeof dir, "%s/audit", state);
    start();
    return 0;
}

static int set_up_shared(void **unused)
{
    shared = true;
    return set_up(unused);
}

static int tear_down(void **unused)
{
    (void)unused;
    if (store)
        stop();
    shell("rm -rf $STATE $STATE.old");
    shared = false;
    return 0;
}

struct wait {
    struct store_write write;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    bool done;
};

static void wait_done(struct store_write *w)
{
    struct wait *x = (struct wait *)w;
    pthread_mutex_lock(&x->mutex);
    x->done = true;
    pthread_cond_signal(&x->wake);
    pthread_mutex_unlock(&x->mutex);
}

static void add(int from, int to)
{
    for (int i = from; i <= to; i++) {
        char json[64];
        snprintf(json, sizeof json, "{\"act\":\"test\",\"n\":%d}", i);
        const struct store_change c = {.kind = STORE_ADD_AUDIT, .u.log.json = json};
        struct wait x = {.write.done = wait_done, .mutex = PTHREAD_MUTEX_INITIALIZER,
                         .wake = PTHREAD_COND_INITIALIZER};
        assert_true(store_submit(store, &c, 1, &x.write));
        pthread_mutex_lock(&x.mutex);
        while (!x.done)
            pthread_cond_wait(&x.wake, &x.mutex);
        pthread_mutex_unlock(&x.mutex);
        assert_true(x.write.durable);
    }
}

/* ---- what the files say ---- */
static void see(void *ctx, uint64_t seq, const char *line, size_t len)
{
    char *out = ctx, text[4096];
    snprintf(text, sizeof text, "%.*s", (int)len, line);
    const char *n = strstr(text, "\"n\":");
    snprintf(out + strlen(out), 4096 - strlen(out), "%d:%d ", (int)seq, n ? atoi(n + 4) : -1);
}

static const char *seen(void)
{
    static char out[4096];
    out[0] = '\0';
    assert_true(audit_mover_read(mover, 0, 1000, see, out, error, sizeof error));
    return out;
}

static struct audit_report report;

static enum audit_fault verified(void)
{
    if (!audit_mover_verify(mover, &report, error, sizeof error))
        fail_msg("%s", error);
    return report.fault;
}

static void count_line(void *ctx, const struct log_record *r)
{
    (void)r;
    *(unsigned *)ctx += 1;
}

static unsigned left_in_store(void)
{
    unsigned n = 0;
    assert_true(store_read_log(store, STORE_LOG_AUDIT, 0, 1000, count_line, &n));
    return n;
}

/* ---- the tests ---- */
static void lines_go_into_the_files_and_leave_the_store(void **unused)
{
    (void)unused;
    add(1, 3);
    assert_true(audit_mover_flush(mover));
    assert_string_equal(seen(), "1:1 2:2 3:3 ");
    for (int i = 0; i < 300 && left_in_store(); i++)
        usleep(10000); /* it is told to the store behind */
    assert_int_equal(left_in_store(), 0);
    stop();
    start();
    add(4, 40); /* over several files */
    assert_true(audit_mover_flush(mover));
    assert_non_null(strstr(seen(), "39:39 40:40 "));
    assert_int_equal(verified(), AUDIT_FAULT_NONE);
    stop();
    start();
    assert_int_equal(verified(), AUDIT_FAULT_NONE);
    assert_int_equal(cut + other + failed, 0);
}

/* Killed after lines were moved, before the store knew: more of them than one turn takes. */
static void lines_that_were_moved_are_not_moved_again(void **unused)
{
    (void)unused;
    add(1, 2);
    assert_true(audit_mover_flush(mover));
    stop();
    start();
    shell("mkdir $STATE.old && cp $STATE/provost.db* $STATE.old/"); /* the store, as it was before the end */
    add(3, 600);
    /* The store as the killed process leaves it: with the lines, without the word that they are
     * moved. */
    assert_true(audit_mover_flush(mover));
    stop();
    shell("rm $STATE/provost.db*; cp $STATE.old/provost.db* $STATE/");
    store = store_open(&(struct store_options){.url = "sqlite", .state = state}, error, sizeof error);
    add(3, 600);
    add(601, 601);
    store_close(store);
    start();
    assert_true(audit_mover_flush(mover));
    assert_int_equal(verified(), AUDIT_FAULT_NONE);
    assert_int_equal(cut + other, 0);
    struct audit_head known;
    audit_mover_known(mover, &known);
    assert_int_equal(known.seq, 601);
}

/* The store came out of a backup: its lines are new ones, and go behind what the files have. */
static void an_older_store_goes_on_behind_the_files(void **unused)
{
    (void)unused;
    add(1, 2);
    stop();
    shell("mkdir $STATE.old && cp $STATE/provost.db* $STATE.old/");
    start();
    add(3, 9);
    stop();
    shell("rm $STATE/provost.db*; cp $STATE.old/provost.db* $STATE/");
    start();
    add(103, 104);
    assert_true(audit_mover_flush(mover));
    assert_int_equal(other, 1);
    assert_string_equal(seen(), "1:1 2:2 3:3 4:4 5:5 6:6 7:7 8:8 9:9 10:103 11:104 ");
    assert_int_equal(verified(), AUDIT_FAULT_NONE);
}

static void lines_that_were_cut_off_are_missed(void **unused)
{
    (void)unused;
    add(1, 5);
    stop();
    shell("sed -i 4,5d $STATE/audit/audit.jsonl");
    start();
    assert_int_equal(verified(), AUDIT_FAULT_CUT);
    add(6, 6);
    assert_true(audit_mover_flush(mover));
    assert_int_equal(cut, 1);
    assert_string_equal(seen(), "1:1 2:2 3:3 6:6 ");
    assert_int_equal(verified(), AUDIT_FAULT_MISSING);
}

/* No room for the files, while the store has some: nothing is lost, and it goes on by itself. */
static void a_full_disk_holds_lines_back(void **unused)
{
    (void)unused;
    add(1, 1);
    assert_true(audit_mover_flush(mover));
    disk_is_full = true;
    add(2, 3);
    assert_false(audit_mover_flush(mover));
    assert_int_equal(failed, 1); /* told once */
    assert_true(left_in_store() >= 2);
    stop();
    start();
    disk_is_full = false;
    add(4, 4);
    assert_true(audit_mover_flush(mover));
    assert_string_equal(seen(), "1:1 2:2 3:3 4:4 ");
    assert_int_equal(verified(), AUDIT_FAULT_NONE);

    disk_is_full = true;
    add(5, 5);
    assert_false(audit_mover_flush(mover));
    disk_is_full = false;
    for (int i = 0; i < 1000 && !back; i++)
        usleep(10000); /* tried again without being asked */
    assert_int_equal(back, 1);
    assert_string_equal(seen(), "1:1 2:2 3:3 4:4 5:5 ");
}

static void a_line_that_cannot_be_sealed_leaves_no_gap(void **unused)
{
    (void)unused;
    const struct store_change c = {.kind = STORE_ADD_AUDIT, .u.log.json = "no JSON"};
    add(1, 1);
    assert_true(store_submit(store, &c, 1, NULL));
    add(3, 3);
    assert_true(audit_mover_flush(mover));
    assert_string_equal(seen(), "1:1 2:-1 3:3 ");
    assert_int_equal(verified(), AUDIT_FAULT_NONE);
}

/* What was written behind comes to the store's file while it closes. It is moved the next time. */
static void lines_may_come_until_the_store_closes(void **unused)
{
    (void)unused;
    const struct store_change c = {.kind = STORE_ADD_AUDIT, .u.log.json = "{\"n\":1}"};
    assert_true(store_submit(store, &c, 1, NULL));
    stop();
    start();
    assert_true(audit_mover_flush(mover));
    assert_string_equal(seen(), "1:1 ");
}

/* ---- a store that several servers share ---- */
static void await_empty_store(void)
{
    for (int i = 0; i < 1000 && left_in_store(); i++)
        usleep(10000);
    assert_int_equal(left_in_store(), 0);
}

static void the_chain_is_in_the_shared_store(void **unused)
{
    (void)unused;
    add(1, 3);
    assert_true(audit_mover_flush(mover));
    assert_string_equal(seen(), "1:1 2:2 3:3 ");
    assert_int_equal(left_in_store(), 0);
    assert_int_not_equal(access(dir, F_OK), 0);
    stop();
    start();
    add(4, 300); /* more than go at once */
    await_empty_store();
    assert_int_equal(verified(), AUDIT_FAULT_NONE);
    assert_int_equal(report.lines, 300);
    struct audit_head known;
    assert_true(audit_mover_flush(mover)); /* the turn that has moved them is over */
    audit_mover_known(mover, &known);
    assert_int_equal(known.seq, 300);
}

/* Who is not the leader leaves the lines to it, unless somebody wants to see them. */
static void the_leader_seals(void **unused)
{
    (void)unused;
    stop();
    leads = false;
    start();
    add(1, 3);
    usleep(300000);
    assert_int_equal(left_in_store(), 3);
    assert_true(audit_mover_flush(mover));
    assert_int_equal(left_in_store(), 0);
    add(4, 4);
    leads = true; /* it has become one: nobody tells it */
    await_empty_store();
    assert_string_equal(seen(), "1:1 2:2 3:3 4:4 ");
}

static void *flush_often(void *arg)
{
    for (int i = 0; i < 40; i++)
        assert_true(audit_mover_flush(arg));
    return NULL;
}

static void two_servers_make_one_chain(void **unused)
{
    (void)unused;
    pthread_t threads[2];
    struct audit_mover *second = audit_mover_start(store, dir, 1500, 0, error, sizeof error);
    assert_non_null(second);
    assert_int_equal(pthread_create(&threads[0], NULL, flush_often, mover), 0);
    assert_int_equal(pthread_create(&threads[1], NULL, flush_often, second), 0);
    add(1, 150);
    for (size_t i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    assert_true(audit_mover_flush(second));
    assert_int_equal(verified(), AUDIT_FAULT_NONE);
    assert_int_equal(report.lines, 150);
    assert_non_null(strstr(seen(), "149:149 150:150 "));
    assert_int_equal(failed, 0);
    audit_mover_stop(second);
    audit_mover_destroy(second);
}

static void old_parts_of_the_chain_are_dropped(void **unused)
{
    (void)unused;
    stop();
    keep = 2;
    start();
    add(1, 100);
    assert_true(audit_mover_flush(mover));
    assert_int_equal(verified(), AUDIT_FAULT_NONE);
    assert_int_equal(report.last_seq, 100);
    assert_in_range(report.lines, 15, 40); /* 1500 bytes have about eight lines */
    assert_int_equal(report.first_seq, 101 - report.lines);
}

static void damage_in_the_store_is_found(void **unused)
{
    static const struct {
        const char *sql;
        enum audit_fault fault;
        uint64_t seq;
    } cases[] = {
        { "UPDATE chain SET json = replace(json, '\"n\":7', '\"n\":8') WHERE seq = 7", AUDIT_FAULT_CHANGED, 7 },
        { "DELETE FROM chain WHERE seq = 5", AUDIT_FAULT_MISSING, 6 },
        { "DELETE FROM chain WHERE seq = 1", AUDIT_FAULT_MISSING, 2 },
        { "DELETE FROM chain WHERE seq > 17", AUDIT_FAULT_CUT, 18 },
        { "DELETE FROM chain", AUDIT_FAULT_CUT, 1 },
        { "UPDATE chain SET json = 'x' WHERE seq = 3", AUDIT_FAULT_NOT_SEALED, 3 },
        { "UPDATE chain SET json = (SELECT json FROM chain WHERE seq = 4) WHERE seq = 3",
          AUDIT_FAULT_NOT_SEALED, 3 },
        { "UPDATE item SET json = replace(json, '\"hash\":\"', '\"hash\":\"0') WHERE name = 'head'",
          AUDIT_FAULT_COUNT, 0 },
    };
    (void)unused;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tear_down(NULL);
        set_up_shared(NULL);
        add(1, 20);
        assert_true(audit_mover_flush(mover));
        assert_int_equal(verified(), AUDIT_FAULT_NONE);
        sqlite3 *db;
        char path[96];
        snprintf(path, sizeof path, "%s/provost.db", state);
        assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
        assert_int_equal(sqlite3_exec(db, cases[i].sql, NULL, NULL, NULL), SQLITE_OK);
        sqlite3_close(db);
        if (cases[i].fault == AUDIT_FAULT_COUNT) { /* nothing to be judged by */
            assert_false(audit_mover_verify(mover, &report, error, sizeof error));
            continue;
        }
        assert_int_equal(verified(), cases[i].fault);
        assert_int_equal(report.seq, cases[i].seq);
        assert_string_equal(report.file, "the database");
    }
}

#define SHARED(f) cmocka_unit_test_setup_teardown(f, set_up_shared, tear_down)
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(lines_go_into_the_files_and_leave_the_store),
        TEST(lines_that_were_moved_are_not_moved_again),
        TEST(an_older_store_goes_on_behind_the_files),
        TEST(lines_that_were_cut_off_are_missed),
        TEST(a_full_disk_holds_lines_back),
        TEST(a_line_that_cannot_be_sealed_leaves_no_gap),
        TEST(lines_may_come_until_the_store_closes),
        SHARED(the_chain_is_in_the_shared_store),
        SHARED(the_leader_seals),
        SHARED(two_servers_make_one_chain),
        SHARED(old_parts_of_the_chain_are_dropped),
        SHARED(damage_in_the_store_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

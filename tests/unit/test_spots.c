/* Waiting for news, with a clock, a pool and an inotify of the test's own: sharing, settling,
 * polling, leaving. And who may wait. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cmocka.h>

#include "src/server/mailbox/maildir.h"
#include "src/server/mailbox/map.h"
#include "src/server/mailbox/memos.h"
#include "src/server/mailbox/spots.h"
#include "src/server/observe/log.h"

/* ---- a worker ---- */

#define TIMERS_MOST 16
struct worker { int unused; };
static struct worker only_worker, *const the_worker = &only_worker;
static struct timer *timers[TIMERS_MOST];
static uint64_t now_ms;
static struct watch *watching;
static struct task *tasks;

struct worker *worker_self(void)
{
    return the_worker;
}

void worker_post(struct worker *w, struct task *t)
{
    assert_ptr_equal(w, the_worker);
    t->next = tasks;
    tasks = t;
}

void timer_set(struct worker *w, struct timer *t, uint64_t in_ms, void (*fn)(struct timer *))
{
    size_t i = 0;
    timer_stop(w, t);
    while (i < TIMERS_MOST && timers[i]) i++;
    assert_true(i < TIMERS_MOST);
    timers[i] = t;
    t->at_ms = now_ms + in_ms;
    t->fn = fn;
    t->set = true;
}

void timer_stop(struct worker *w, struct timer *t)
{
    (void)w;
    for (size_t i = 0; i < TIMERS_MOST; i++) {
        if (timers[i] == t) timers[i] = NULL;
    }
    t->set = false;
}

bool watch_start(struct worker *w, struct watch *h, uint32_t events)
{
    (void)w, (void)events;
    watching = h;
    return true;
}

static void advance(uint64_t ms)
{
    for (uint64_t end = now_ms + ms;;) {
        struct timer *first = NULL;
        for (size_t i = 0; i < TIMERS_MOST; i++) {
            struct timer *t = timers[i];
            if (t && t->at_ms <= end && (!first || t->at_ms < first->at_ms)) first = t;
        }
        now_ms = first ? first->at_ms : end;
        if (!first) return;
        timer_stop(the_worker, first);
        first->fn(first);
    }
}

/* ---- a pool ---- */

static struct job *jobs;
static bool pool_full;

bool pool_submit(struct pool *p, struct job *j)
{
    (void)p;
    if (pool_full) return false;
    j->next = jobs;
    jobs = j;
    return true;
}

/* Run what waits; the number of looks. */
static unsigned run_jobs(void)
{
    unsigned count = 0;
    for (; jobs; count++) {
        struct job *j = jobs;
        jobs = j->next;
        j->run(j);
        j->done(j);
    }
    return count;
}

/* ---- inotify ---- */

static int pipe_fds[2], watch_error, watches, adds, last_wd;
static int64_t file_system;

int inotify_init1(int flags)
{
    (void)flags;
    return pipe(pipe_fds) == 0 ? pipe_fds[0] : -1;
}

int inotify_add_watch(int fd, const char *path, uint32_t mask)
{
    (void)fd;
    assert_non_null(path);
    assert_true(mask & IN_MASK_CREATE);
    adds++;
    errno = watch_error;
    if (watch_error) return -1;
    watches++;
    return ++last_wd;
}

int inotify_rm_watch(int fd, int wd)
{
    (void)fd, (void)wd;
    watches--;
    return 0;
}

int statfs(const char *path, struct statfs *out)
{
    (void)path;
    out->f_type = file_system;
    return 0;
}

static void event_at(int wd, uint32_t mask, const char *name)
{
    char buf[sizeof(struct inotify_event) + 64] = {0};
    struct inotify_event *e = (struct inotify_event *)buf;
    e->wd = wd;
    e->mask = mask;
    e->len = name ? 32 : 0;
    if (name) memcpy(buf + sizeof *e, name, strlen(name) + 1);
    size_t size = sizeof *e + e->len;
    assert_int_equal(write(pipe_fds[1], buf, size), size);
    watching->fn(watching, 1);
}

/* ---- a mailbox ---- */

static const struct config no_config;
static uint64_t content;
static bool unreadable;

bool maildir_look(const char *path, struct look *at)
{
    (void)path;
    if (unreadable) return false;
    *at = (struct look){.sum = content};
    return true;
}

enum mailbox_result maildir_list(const struct config *c, const char *user, struct folder_list *out)
{
    (void)c;
    assert_string_equal(user, "ann");
    *out = (struct folder_list){0};
    return unreadable ? MAILBOX_UNREACHABLE : MAILBOX_OK;
}

const char *const maildir_parts[] = {"new", "cur", NULL};
static unsigned warnings;

_Bool log_on(enum log_level level)
{
    return level == LOG_WARN;
}

void log_write(enum log_level level, uint64_t session, const char *verb, const struct kv *fields)
{
    (void)level, (void)session, (void)verb, (void)fields;
    warnings++;
}

/* ---- users of spots ---- */

struct waiter {
    struct spot_user user;
    unsigned calls;
    bool leave;  /* at the next call */
};

static void looked(struct spot_user *u)
{
    struct waiter *w = CONTAINER_OF(u, struct waiter, user);
    w->calls++;
    if (w->leave) assert_true(spot_leave(u));
}

static struct spots *spots;
static const struct look none;

static void join(struct waiter *w, enum spot_kind kind, const char *path)
{
    *w = (struct waiter){.user.looked = looked};
    assert_true(spot_join(spots, &w->user, kind, path, "ann", &none));
}

static int setup(void **state)
{
    (void)state;
    watch_error = watches = adds = 0;
    warnings = 0;
    file_system = 0xef53;
    pool_full = unreadable = false;
    content = 1;
    spots = spots_create(the_worker, &no_config, NULL);
    return spots ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    assert_int_equal(watches, 0); /* nothing is left behind */
    for (size_t i = 0; i < TIMERS_MOST; i++) timers[i] = NULL; /* the poll's */
    spots_destroy(spots);
    close(pipe_fds[1]);
    return 0;
}

static void test_shared(void **state)
{
    struct waiter a, b, other;
    (void)state;
    join(&a, SPOT_FOLDER, "/m/ann");
    assert_null(spot_seen(&a.user));
    assert_int_equal(watches, 2);
    advance(0);
    assert_int_equal(run_jobs(), 1);
    assert_int_equal(a.calls, 1);
    assert_int_equal(spot_seen(&a.user)->sum, 1);
    join(&b, SPOT_FOLDER, "/m/ann");
    assert_int_equal(watches, 2);
    assert_int_equal(spot_seen(&b.user)->sum, 1); /* seen at once */
    join(&other, SPOT_FOLDER, "/m/bob");
    assert_int_equal(watches, 4);
    advance(0);
    assert_int_equal(run_jobs(), 1);

    int wd = last_wd - 2; /* cur/ of ann */
    content = 2;
    for (int i = 0; i < 10; i++) event_at(wd, IN_MOVED_TO, "1");
    advance(99);
    assert_int_equal(run_jobs(), 0); /* first it settles */
    advance(1);
    assert_int_equal(run_jobs(), 1);
    assert_int_equal(a.calls, 2);
    assert_int_equal(b.calls, 1);
    assert_int_equal(other.calls, 1);
    assert_int_equal(spot_seen(&b.user)->sum, 2);

    a.leave = true;
    event_at(wd, IN_CREATE, "2");
    advance(100);
    assert_int_equal(run_jobs(), 1);
    assert_null(a.user.spot);
    assert_int_equal(b.calls, 2);
    assert_true(spot_leave(&a.user)); /* twice does no harm */
    assert_int_equal(watches, 4);
    assert_true(spot_leave(&b.user));
    assert_int_equal(watches, 2);
    event_at(wd, IN_CREATE, "3"); /* was on its way */
    assert_true(spot_leave(&other.user));
}

static void test_event_during_a_look(void **state)
{
    struct waiter a;
    (void)state;
    join(&a, SPOT_FOLDER, "/m/ann");
    int wd = last_wd;
    advance(0);
    assert_non_null(jobs); /* under way */
    event_at(wd, IN_CREATE, "1");
    assert_int_equal(run_jobs(), 1);
    advance(100);
    assert_int_equal(run_jobs(), 1);
    assert_int_equal(a.calls, 2);
    advance(10000);
    assert_int_equal(run_jobs(), 0);
    assert_true(spot_leave(&a.user));
}

static void test_leave_during_a_look(void **state)
{
    struct waiter a, b;
    (void)state;
    join(&a, SPOT_FOLDER, "/m/ann");
    advance(0);
    assert_false(spot_leave(&a.user)); /* the look is for it alone */
    join(&b, SPOT_FOLDER, "/m/ann");
    assert_true(spot_leave(&a.user));
    assert_false(spot_leave(&b.user));
    b.leave = true;
    assert_int_equal(run_jobs(), 1);
    assert_int_equal(a.calls, 0);
    assert_int_equal(b.calls, 1);
    /* Before a look has begun, leaving ends it. */
    join(&a, SPOT_FOLDER, "/m/ann");
    assert_true(spot_leave(&a.user));
    advance(10000);
    assert_int_equal(run_jobs(), 0);
}

static void test_tree(void **state)
{
    struct waiter a;
    (void)state;
    join(&a, SPOT_TREE, "/m/ann");
    assert_int_equal(watches, 1);
    int wd = last_wd;
    advance(0);
    assert_int_equal(run_jobs(), 1);
    event_at(wd, IN_CREATE, "dovecot-uidlist.lock");
    advance(10000);
    assert_int_equal(run_jobs(), 0);
    event_at(wd, IN_CREATE | IN_ISDIR, ".New");
    advance(100);
    assert_int_equal(run_jobs(), 1);
    advance(1999);
    assert_int_equal(run_jobs(), 0);
    advance(1);
    assert_int_equal(run_jobs(), 1); /* once more: cur/ may have come later */
    advance(10000);
    assert_int_equal(run_jobs(), 0);
    assert_true(spot_leave(&a.user));
}

static void test_polling(void **state)
{
    struct waiter a, b;
    (void)state;
    watch_error = ENOSPC;
    join(&a, SPOT_FOLDER, "/m/ann");
    join(&b, SPOT_FOLDER, "/m/bob");
    assert_int_equal(watches, 0);
    assert_int_equal(warnings, 1);
    advance(0);
    assert_int_equal(run_jobs(), 2);
    for (int i = 0; i < 3; i++) {
        advance(5000);
        assert_int_equal(run_jobs(), 2);
    }
    assert_int_equal(warnings, 1);
    assert_true(spot_leave(&b.user));
    watch_error = 0; /* there is room again */
    advance(5000);
    assert_int_equal(watches, 2);
    assert_int_equal(run_jobs(), 1);
    advance(20000);
    assert_int_equal(run_jobs(), 0);

    event_at(last_wd, IN_IGNORED, NULL); /* the directory was removed */
    watches--;
    advance(100);
    assert_int_equal(run_jobs(), 1);
    watch_error = ENOENT;
    advance(5000);
    assert_int_equal(run_jobs(), 1);
    watch_error = 0;
    advance(5000);
    assert_int_equal(run_jobs(), 1);
    assert_int_equal(watches, 2);
    assert_int_equal(warnings, 1);
    assert_true(spot_leave(&a.user));
}

static void test_remote(void **state)
{
    struct waiter a;
    (void)state;
    file_system = 0x6969; /* NFS */
    join(&a, SPOT_FOLDER, "/m/ann");
    assert_int_equal(adds, 0);
    advance(0);
    assert_int_equal(run_jobs(), 1);
    advance(5000);
    assert_int_equal(run_jobs(), 1);
    assert_int_equal(warnings, 0);
    assert_true(spot_leave(&a.user));
}

static void test_overflow(void **state)
{
    struct waiter a, b;
    (void)state;
    join(&a, SPOT_FOLDER, "/m/ann");
    join(&b, SPOT_TREE, "/m/ann");
    advance(0);
    assert_int_equal(run_jobs(), 2);
    event_at(-1, IN_Q_OVERFLOW, NULL);
    advance(100);
    assert_int_equal(run_jobs(), 2);
    assert_true(spot_leave(&a.user));
    assert_true(spot_leave(&b.user));
}

static void test_busy_and_unreadable(void **state)
{
    struct waiter a;
    (void)state;
    pool_full = true;
    join(&a, SPOT_FOLDER, "/m/ann");
    advance(5000);
    assert_int_equal(run_jobs(), 0);
    pool_full = false;
    advance(1000);
    assert_int_equal(run_jobs(), 1);
    assert_int_equal(spot_seen(&a.user)->sum, 1);
    unreadable = true;
    content = 2;
    event_at(last_wd, IN_CREATE, "1");
    advance(100);
    assert_int_equal(run_jobs(), 1);
    assert_int_equal(a.calls, 2);
    assert_int_equal(spot_seen(&a.user)->sum, 1);
    assert_true(spot_leave(&a.user));
}

/* ---- who waits ---- */

static unsigned ousted_count;

static void ousted(struct seat *s)
{
    (void)s;
    ousted_count++;
}

static void run_tasks(void)
{
    while (tasks) {
        struct task *t = tasks;
        tasks = t->next;
        t->fn(t);
    }
}

static void test_seats(void **state)
{
    struct seats *p = seats_create();
    struct seat a = {.ousted = ousted}, b = a, c = a, other = a;
    (void)state;
    assert_true(seats_rise(p, &a)); /* never sat */
    assert_true(seats_sit(p, &a, "ann", "1"));
    assert_true(seats_sit(p, &other, "ann", "2"));
    assert_true(seats_sit(p, &other, "bob", "1"));
    assert_null(tasks);
    assert_true(seats_sit(p, &b, "ann", "1"));
    assert_true(seats_sit(p, &c, "ann", "1"));
    assert_false(seats_rise(p, &a)); /* its task is under way */
    run_tasks();
    assert_int_equal(ousted_count, 2);
    assert_true(seats_rise(p, &a));
    assert_true(seats_rise(p, &b));
    assert_true(seats_rise(p, &c));
    assert_true(seats_sit(p, &a, "ann", "1"));
    assert_null(tasks); /* the place was free */
    assert_true(seats_rise(p, &a));
    assert_true(seats_rise(p, &other));
    seats_destroy(p);
}

static void test_memory(void **state)
{
    struct seats *p = seats_create();
    struct seat s = {.ousted = ousted};
    struct look got;
    const struct memo first[] = {{1, {10, 11}}, {2, {20, 21}}};
    const struct memo second[] = {{3, {30, 31}}, {2, {22, 23}}};
    (void)state;
    assert_false(memos_recall(p, "ann", "1", 1, &got));
    assert_true(seats_sit(p, &s, "ann", "1"));
    assert_false(memos_recall(p, "ann", "1", 1, &got));
    memos_remember(p, &s, first, 2, 4);
    assert_true(seats_rise(p, &s));
    assert_true(memos_recall(p, "ann", "1", 2, &got));
    assert_int_equal(got.sum, 21);
    assert_false(memos_recall(p, "ann", "2", 2, &got));
    assert_false(memos_recall(p, "bob", "1", 2, &got));
    assert_true(seats_sit(p, &s, "ann", "1"));
    memos_remember(p, &s, second, 2, 4);
    static const struct { uint32_t folder; uint64_t sum; } want[] = {{1, 11}, {2, 23}, {3, 31}};
    for (size_t i = 0; i < 3; i++) {
        assert_true(memos_recall(p, "ann", "1", want[i].folder, &got));
        assert_int_equal(got.sum, want[i].sum);
    }
    memos_remember(p, &s, first, 1, 2); /* no room for all of the others */
    assert_true(memos_recall(p, "ann", "1", 1, &got));
    assert_true(memos_recall(p, "ann", "1", 3, &got));
    assert_false(memos_recall(p, "ann", "1", 2, &got));
    assert_true(seats_rise(p, &s));
    seats_destroy(p);
}

static void test_many(void **state)
{
    struct seats *p = seats_create();
    struct seat *s = calloc(5000, sizeof *s);
    struct look got;
    char id[16];
    (void)state;
    for (unsigned i = 0; i < 5000; i++) {
        const struct memo m = {1, {0, i}};
        snprintf(id, sizeof id, "%u", i);
        assert_true(seats_sit(p, &s[i], "ann", id));
        memos_remember(p, &s[i], &m, 1, 1);
    }
    for (unsigned i = 0; i < 5000; i++) {
        snprintf(id, sizeof id, "%u", i);
        assert_true(memos_recall(p, "ann", id, 1, &got));
        assert_int_equal(got.sum, i);
        assert_true(seats_rise(p, &s[i]));
    }
    free(s);
    seats_destroy(p);
}

int main(void)
{
#define WITH_SPOTS(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH_SPOTS(test_shared),
        WITH_SPOTS(test_event_during_a_look),
        WITH_SPOTS(test_leave_during_a_look),
        WITH_SPOTS(test_tree),
        WITH_SPOTS(test_polling),
        WITH_SPOTS(test_remote),
        WITH_SPOTS(test_overflow),
        WITH_SPOTS(test_busy_and_unreadable),
        cmocka_unit_test(test_seats),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

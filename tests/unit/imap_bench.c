#include "tests/unit/imap_bench.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/server/observe/log.h"

struct bench bench;

/* ---- a worker ---- */

#define TIMERS_MAX 2048
struct worker { int unused; };
static struct worker the_worker;
static struct timer *timers[TIMERS_MAX];
static size_t timer_count;
static struct task *tasks, **tasks_end = &tasks;
static uint64_t now_ms = 1000000;
static bool quit;

struct worker *worker_create(unsigned index)
{
    (void)index;
    quit = false;
    return &the_worker;
}

bool worker_start(struct worker *w)
{
    (void)w;
    return true;
}

void worker_quit(struct worker *w)
{
    (void)w;
    quit = true;
}

static void run_tasks(void)
{
    while (tasks) {
        struct task *t = tasks;
        tasks = t->next;
        if (!tasks) tasks_end = &tasks;
        t->fn(t);
    }
}

void worker_join(struct worker *w)
{
    (void)w;
    run_tasks();
    assert_true(quit);
}

void worker_destroy(struct worker *w)
{
    (void)w;
}

uint64_t worker_now_ms(const struct worker *w)
{
    (void)w;
    return now_ms;
}

void worker_post(struct worker *w, struct task *t)
{
    (void)w;
    t->next = NULL;
    *tasks_end = t;
    tasks_end = &t->next;
}

void timer_stop(struct worker *w, struct timer *t)
{
    (void)w;
    if (!t->set) return;
    t->set = false;
    for (size_t i = 0; i < timer_count; i++)
        if (timers[i] == t) timers[i] = timers[--timer_count];
}

void timer_set(struct worker *w, struct timer *t, uint64_t in_ms, void (*fn)(struct timer *))
{
    timer_stop(w, t);
    assert_true(timer_count < TIMERS_MAX);
    timers[timer_count++] = t;
    t->at_ms = now_ms + (in_ms ? in_ms : 1);
    t->fn = fn;
    t->set = true;
}

/* ---- a log ---- */

_Bool log_on(enum log_level level)
{
    return level <= LOG_INFO;
}

void log_write(enum log_level level, uint64_t session, const char *verb, const struct kv *fields)
{
    (void)session, (void)verb;
    for (; fields->kind != KV_END; fields++) /* no secret in any line */
        if (fields->kind == KV_TEXT) assert_null(strstr(fields->v.text, "pw"));
    bench.errors += level == LOG_ERROR;
    bench.warnings += level == LOG_WARN;
    bench.infos += level == LOG_INFO;
}

/* ---- a server ---- */

static struct end {
    struct imap_link *link;      /* NULL: free */
    bool greeted, closed, idles, notifies, examined;
    char idle_tag[16];
    char line[16384], in[65536];
    size_t line_len, in_len;
    int user;                    /* -1: not logged in */
} ends[BENCH_LINKS_MAX];

static struct end *end_of(const struct imap_link *l)
{
    for (size_t i = 0; i < BENCH_LINKS_MAX; i++)
        if (ends[i].link == l) return &ends[i];
    return NULL;
}

static __attribute__((format(printf, 2, 3))) void say(struct end *e, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    int n = vsnprintf(e->in + e->in_len, sizeof e->in - e->in_len, format, ap);
    va_end(ap);
    assert_true(n >= 0 && e->in_len + (size_t)n + 2 < sizeof e->in);
    e->in_len += (size_t)n;
    memcpy(e->in + e->in_len, "\r\n", 2);
    e->in_len += 2;
}

static void say_counts(struct end *e)
{
    unsigned n = bench.messages[e->user];
    say(e, "* STATUS INBOX (MESSAGES %u UIDNEXT %u UIDVALIDITY 7 UNSEEN %u)", n, n + 1, n);
}

static void log_in(struct end *e, const char *tag, const char *args)
{
    unsigned user;
    char secret[32];
    assert_int_equal(sscanf(args, "\"user%u\" \"%31[^\"]\"", &user, secret), 2);
    if (bench.busy) {
        say(e, "%s NO [UNAVAILABLE] later", tag);
    } else if (strcmp(secret, bench.password) != 0) {
        bench.refusals++;
        say(e, "%s NO [AUTHENTICATIONFAILED] no", tag);
    } else {
        bench.logins++;
        e->user = (int)user;
        say(e, "%s OK [CAPABILITY IMAP4rev1 %s] in", tag, bench.caps);
    }
}

static void list(struct end *e, const char *args)
{
    bench.lists++;
    snprintf(bench.last_list, sizeof bench.last_list, "%s", args);
    say(e, "* LIST () \"/\" INBOX");
    if (strstr(args, "STATUS")) say(e, "* STATUS INBOX (UIDVALIDITY 7)");
    if (bench.has_more) say(e, "* LIST () \"/\" More");
}

static void answer(struct end *e, char *line)
{
    char *tag = line, *verb = strchr(line, ' '), *args;
    if (strcmp(line, "DONE") == 0) {
        assert_true(e->idles);
        e->idles = false;
        say(e, "%s OK done", e->idle_tag);
        return;
    }
    assert_non_null(verb);
    assert_false(e->idles); /* nothing else may be said meanwhile */
    *verb++ = '\0';
    args = strchr(verb, ' ');
    if (args) *args++ = '\0';
    if (strcmp(verb, "LOGIN") == 0) {
        log_in(e, tag, args);
        return;
    }
    if (bench.mute) return;
    if (strcmp(verb, "LOGOUT") == 0) return;
    if (strcmp(verb, "LIST") == 0) list(e, args);
    if (strcmp(verb, "STATUS") == 0) bench.looks++, say_counts(e);
    if (strcmp(verb, "EXAMINE") == 0) e->examined = true;
    if (strcmp(verb, "NOTIFY") == 0) bench.notifies++, e->notifies = true;
    if (strcmp(verb, "NOOP") == 0) bench.noops++;
    if (strcmp(verb, "IDLE") == 0) {
        bench.idles++;
        e->idles = true;
        snprintf(e->idle_tag, sizeof e->idle_tag, "%.15s", tag);
        say(e, "+ idling");
        return;
    }
    say(e, "%s OK done", tag);
}

/* ---- links ---- */

struct imap_net *imap_net_create(struct worker *w, const struct imap_peer *p)
{
    (void)w, (void)p;
    return (struct imap_net *)&the_worker;
}

void imap_net_destroy(struct imap_net *n)
{
    (void)n;
}

struct worker *imap_net_worker(const struct imap_net *n)
{
    (void)n;
    return &the_worker;
}

bool imap_link_open(struct imap_net *n, struct imap_link *l)
{
    struct end *e = end_of(NULL);
    assert_non_null(e);
    *e = (struct end){.link = l, .user = -1};
    l->net = n;
    bench.tries++;
    bench.open++;
    if (bench.open > bench.most_open) bench.most_open = bench.open;
    return true;
}

void imap_link_close(struct imap_link *l)
{
    struct end *e = end_of(l);
    if (!e) return;
    e->link = NULL;
    bench.open--;
}

enum imap_io imap_link_read(struct imap_link *l, char *buf, size_t cap, size_t *len_out)
{
    struct end *e = end_of(l);
    if (!e || (e->in_len == 0 && e->closed)) return IMAP_IO_END;
    if (e->in_len == 0) return IMAP_IO_NONE;
    *len_out = e->in_len < cap ? e->in_len : cap;
    memcpy(buf, e->in, *len_out);
    e->in_len -= *len_out;
    memmove(e->in, e->in + *len_out, e->in_len);
    return IMAP_IO_SOME;
}

bool imap_link_write(struct imap_link *l, const char *text, size_t len)
{
    struct end *e = end_of(l);
    if (!e || e->closed) return false;
    assert_true(e->line_len + len < sizeof e->line);
    memcpy(e->line + e->line_len, text, len);
    e->line_len += len;
    for (char *stop; (stop = memmem(e->line, e->line_len, "\r\n", 2));) {
        char line[sizeof e->line];
        size_t n = (size_t)(stop - e->line);
        memcpy(line, e->line, n);
        line[n] = '\0';
        e->line_len -= n + 2;
        memmove(e->line, stop + 2, e->line_len);
        answer(e, line);
    }
    return true;
}

/* ---- what the test does ---- */

static void greet(struct end *e)
{
    char line[256];
    struct imap_link *l = e->link;
    if (bench.down) {
        imap_link_close(l);
        l->opened(l, "connection refused");
        return;
    }
    e->greeted = true;
    snprintf(line, sizeof line, "* CAPABILITY IMAP4rev1 %s", bench.caps);
    l->heard(l, line, strlen(line));
    l->opened(l, NULL);
}

void bench_run(void)
{
    for (bool again = true; again;) {
        again = tasks != NULL;
        run_tasks();
        for (size_t i = 0; i < BENCH_LINKS_MAX; i++) {
            struct end *e = &ends[i];
            if (!e->link) continue;
            if (!e->greeted)
                greet(e);
            else if (e->in_len > 0 || e->closed)
                e->link->readable(e->link);
            else
                continue;
            again = true;
        }
    }
}

void bench_advance(uint64_t ms)
{
    for (uint64_t until = now_ms + ms;;) {
        struct timer *first = NULL;
        bench_run();
        for (size_t i = 0; i < timer_count; i++)
            if (timers[i]->at_ms <= until && (!first || timers[i]->at_ms < first->at_ms))
                first = timers[i];
        if (!first) {
            now_ms = until;
            return;
        }
        now_ms = first->at_ms > now_ms ? first->at_ms : now_ms;
        timer_stop(&the_worker, first);
        first->fn(first);
    }
}

uint64_t bench_now(void)
{
    return now_ms;
}

void bench_deliver(unsigned user)
{
    bench.messages[user]++;
    for (size_t i = 0; i < BENCH_LINKS_MAX; i++) {
        struct end *e = &ends[i];
        if (!e->link || e->user != (int)user) continue;
        if (e->idles) say(e, "* %u EXISTS", bench.messages[user]);
        if (e->notifies) say(e, "* STATUS INBOX (MESSAGES %u)", bench.messages[user]);
    }
}

void bench_drop(unsigned user)
{
    for (size_t i = 0; i < BENCH_LINKS_MAX; i++)
        if (ends[i].link && ends[i].user == (int)user) ends[i].closed = true;
}

void bench_open(unsigned connections, unsigned poll_ms, const char *caps)
{
    char error[256];
    const struct imap_settings s = {.peer = {.url = "imap://test", .connect_ms = 20000},
                                    .connections = connections,
                                    .quiet_ms = 20000,
                                    .poll_ms = poll_ms};
    bench = (struct bench){.caps = caps, .password = "pw"};
    bench.hub = imap_hub_open(&s, error, sizeof error);
    assert_non_null(bench.hub);
}

void bench_close(void)
{
    imap_hub_close(bench.hub);
    assert_int_equal(bench.open, 0);
    assert_int_equal(timer_count, 0);
    assert_null(tasks);
}

static void asked(struct imap_errand *e)
{
    struct bench_ask *a = CONTAINER_OF(e, struct bench_ask, errand);
    assert_false(a->done);
    a->done = true;
}

void bench_ask(struct bench_ask *a, unsigned user, const char *secret, bool look)
{
    *a = (struct bench_ask){.errand.done = asked, .look.name = "INBOX"};
    snprintf(a->user, sizeof a->user, "user%u", user);
    snprintf(a->secret, sizeof a->secret, "%s", secret);
    a->errand.login = (struct imap_login){false, a->user, a->secret};
    if (look) a->errand.looks = &a->look;
    a->errand.look_count = look;
    imap_ask(bench.hub, &a->errand);
}

void bench_asked(struct bench_ask *a)
{
    assert_true(a->done);
    imap_listing_release(a->errand.listing);
    a->errand.listing = NULL;
}

static void seen(struct imap_watch *w)
{
    CONTAINER_OF(w, struct bench_watch, watch)->seen++;
}

static void stopped(struct imap_watch *w)
{
    CONTAINER_OF(w, struct bench_watch, watch)->stopped = true;
}

void bench_watch(struct bench_watch *w, unsigned user, const char *secret, const char *name)
{
    *w = (struct bench_watch){.watch = {.name = name, .seen = seen, .stopped = stopped}};
    snprintf(w->user, sizeof w->user, "user%u", user);
    snprintf(w->secret, sizeof w->secret, "%s", secret);
    w->watch.login = (struct imap_login){false, w->user, w->secret};
    imap_watch_start(bench.hub, &w->watch);
}

void bench_unwatch(struct bench_watch *w)
{
    imap_watch_stop(&w->watch);
    bench_run();
    assert_true(w->stopped);
}

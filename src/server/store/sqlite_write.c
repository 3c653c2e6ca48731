/* The writer: gathers what is queued into one transaction, so that one fsync serves many. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "src/server/observe/log.h"
#include "src/server/store/sqlite.h"

static const char *const write_sql[] = {
#define SQLITE_WRITE_SQL(id, sql) [SQL_##id] = sql,
    SQLITE_WRITES(SQLITE_WRITE_SQL)
#undef SQLITE_WRITE_SQL
};

/* ---- telling the submitters ---- */
static void deliver(struct task *t)
{
    struct store_write *w = (struct store_write *)t; /* task is its first member */
    w->done(w);
}

static void finish(struct submission *sub, bool durable)
{
    struct store_write *w = sub->write;
    free(sub);
    if (!w) return;
    w->durable = durable;
    w->task.fn = deliver;
    if (w->home)
        worker_post(w->home, &w->task);
    else
        w->done(w);
}

static bool adds_to_log(const struct submission *sub)
{
    for (size_t i = 0; i < sub->count; i++)
        if (sub->changes[i].kind == STORE_ADD_AUDIT || sub->changes[i].kind == STORE_ADD_EVENT)
            return true;
    return false;
}

static void tell_listeners(struct sqlite_store *s)
{
    for (size_t i = 0; i < STORE_LISTENERS_MAX; i++) {
        const struct store_listener *l = &s->base.listeners[i];
        if (l->fn) l->fn(l->ctx);
    }
}

/* ---- one transaction ---- */
struct attempt {
    int rc;
    char why[160];
};

/* Everything from first up to (not including) end, or nothing of it. */
static bool attempt(struct sqlite_store *s, struct submission *first, struct submission *end,
                    struct attempt *a)
{
    int rc = sqlite3_exec(s->writer, "BEGIN IMMEDIATE", NULL, NULL, NULL);
    for (struct submission *sub = first; sub != end && !rc; sub = sub->next)
        for (size_t i = 0; i < sub->count && !rc; i++) rc = sqlite_apply(s, &sub->changes[i]);
    if (!rc) rc = sqlite3_exec(s->writer, "COMMIT", NULL, NULL, NULL);
    if (rc) {
        a->rc = rc;
        snprintf(a->why, sizeof a->why, "%s", sqlite3_errmsg(s->writer));
        if (!sqlite3_get_autocommit(s->writer))
            sqlite3_exec(s->writer, "ROLLBACK", NULL, NULL, NULL);
        return false;
    }
    pthread_mutex_lock(&s->mutex);
    s->commits++;
    pthread_mutex_unlock(&s->mutex);
    return true;
}

/* One submission that cannot be stored must not fail its neighbours: each then gets a transaction
 * of its own. */
static void write_batch(struct sqlite_store *s, struct submission *first)
{
    struct attempt a = {0};
    unsigned failed = 0, count = 0;
    bool logged = false;
    bool all = attempt(s, first, NULL, &a);
    bool alone = !first->next;
    for (struct submission *sub = first, *next; sub; sub = next) {
        next = sub->next;
        heart_beat(&s->base.heart);
        bool durable = all || (!alone && attempt(s, sub, next, &a));
        failed += !durable;
        logged = logged || (durable && adds_to_log(sub));
        count++;
        finish(sub, durable);
    }
    if (logged) tell_listeners(s);
    if (failed)
        LOG(LOG_ERROR, 0, "store-failed", KV_UINT("changes", failed), KV_UINT("of", count),
            KV_INT("code", a.rc), KV_TEXT("error", a.why));
    if (s->failing && !failed) LOG(LOG_WARN, 0, "store-back", KV_UINT("changes", count));
    s->failing = failed > 0;
}

/* ---- the queue ---- */
static void deadline_in(struct timespec *at, unsigned ms)
{
    clock_gettime(CLOCK_MONOTONIC, at);
    at->tv_sec += ms / 1000;
    at->tv_nsec += (long)(ms % 1000) * 1000000;
    if (at->tv_nsec >= 1000000000) {
        at->tv_nsec -= 1000000000;
        at->tv_sec++;
    }
}

/* The next batch, in the order of submission; NULL when all is written and the store closes. */
static struct submission *take_batch(struct sqlite_store *s)
{
    pthread_mutex_lock(&s->mutex);
    while (!s->head && !s->closing) pthread_cond_wait(&s->wake, &s->mutex);
    struct timespec at;
    deadline_in(&at, SQLITE_STORE_BEHIND_MS);
    while (s->head && !s->urgent && !s->closing && s->queued < SQLITE_STORE_BATCH_MAX)
        if (pthread_cond_timedwait(&s->wake, &s->mutex, &at) == ETIMEDOUT) break;

    struct submission *first = s->head, *last = NULL;
    for (size_t n = 0; s->head && n < SQLITE_STORE_BATCH_MAX; n++) {
        last = s->head;
        s->head = last->next;
        s->queued--;
        s->bytes -= last->bytes;
        s->urgent -= last->write != NULL;
    }
    if (last) last->next = NULL;
    if (!s->head) s->tail = &s->head;
    pthread_mutex_unlock(&s->mutex);
    return first;
}

static void *writer_main(void *arg)
{
    struct sqlite_store *s = arg;
    struct submission *batch;
    pthread_setname_np(pthread_self(), "store");
    while ((batch = take_batch(s)) != NULL) {
        heart_beat(&s->base.heart);
        write_batch(s, batch);
        heart_rest(&s->base.heart);
    }
    return NULL;
}

bool sqlite_writer_submit(struct store *base, const struct store_change *changes, size_t count,
                          struct store_write *w)
{
    struct sqlite_store *s = (struct sqlite_store *)base;
    struct submission *sub = submission_create(changes, count, w);
    if (!sub) return false;
    if (w) w->home = worker_self();

    pthread_mutex_lock(&s->mutex);
    bool room = !s->closing && s->queued < SQLITE_STORE_QUEUE_MAX &&
                sub->bytes <= SQLITE_STORE_QUEUE_BYTES - s->bytes;
    if (room) {
        *s->tail = sub;
        s->tail = &sub->next;
        s->queued++;
        s->bytes += sub->bytes;
        s->urgent += w != NULL;
        pthread_cond_signal(&s->wake);
    }
    pthread_mutex_unlock(&s->mutex);
    if (!room) free(sub);
    return room;
}

static bool writer_prepare(struct sqlite_store *s, char *error, size_t error_cap)
{
    for (size_t i = 0; i < SQL_COUNT; i++) {
        if (sqlite3_prepare_v3(s->writer, write_sql[i], -1, SQLITE_PREPARE_PERSISTENT,
                               &s->writes[i], NULL) != SQLITE_OK) {
            snprintf(error, error_cap, "%s: %s", sqlite3_db_filename(s->writer, "main"),
                     sqlite3_errmsg(s->writer));
            return false;
        }
    }
    return true;
}

bool sqlite_writer_start(struct sqlite_store *s, char *error, size_t error_cap)
{
    if (!writer_prepare(s, error, error_cap)) return false;
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&s->mutex, NULL);
    pthread_cond_init(&s->wake, &attr);
    pthread_condattr_destroy(&attr);
    s->tail = &s->head;
    int rc = pthread_create(&s->thread, NULL, writer_main, s);
    s->running = rc == 0;
    if (s->running) return true;
    pthread_cond_destroy(&s->wake);
    pthread_mutex_destroy(&s->mutex);
    snprintf(error, error_cap, "the store's writer cannot be started: %s", strerror(rc));
    return false;
}

void sqlite_writer_stop(struct sqlite_store *s)
{
    if (s->running) {
        pthread_mutex_lock(&s->mutex);
        s->closing = true;
        pthread_cond_signal(&s->wake);
        pthread_mutex_unlock(&s->mutex);
        pthread_join(s->thread, NULL);
        pthread_cond_destroy(&s->wake);
        pthread_mutex_destroy(&s->mutex);
        s->running = false;
    }
    for (size_t i = 0; i < SQL_COUNT; i++) sqlite3_finalize(s->writes[i]);
}

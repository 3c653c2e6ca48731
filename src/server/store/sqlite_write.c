/* The writer: gathers what is queued into one transaction, so that one fsync serves many. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "src/server/store/sqlite.h"

/* ---- telling the submitters ---- */
static void deliver(struct task *t)
{
    struct store_write *w = (struct store_write *)t; /* task is its first member */
    w->done(w);
}

static void finish(struct submission *sub, int rc, bool lost)
{
    struct store_write *w = sub->write;
    free(sub);
    if (!w) return;
    w->durable = rc == SQLITE_OK;
    w->conflict = rc == SQLITE_STORE_CONFLICT;
    w->lost = lost;
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
struct batch {
    struct submission *first;
    unsigned count;
    bool lost; /* it may be on the disk all the same */
    int rc;    /* of what failed last, and why */
    char why[256];
};

static int failed(struct sqlite_store *s, struct batch *b, int rc)
{
    b->rc = rc;
    sqlite_say(s, s->writer, rc, b->why, sizeof b->why);
    return rc;
}

static int useless(const struct sqlite_store *s, struct batch *b)
{
    b->rc = s->broken_rc;
    snprintf(b->why, sizeof b->why, "%s", s->broken_why);
    return b->rc;
}

/* One submission, or nothing of it; its neighbours stay. What is not its own fault ends the transaction
 * here. */
static int apply_one(struct sqlite_store *s, struct batch *b, struct submission *sub)
{
    int rc = sqlite_run(s, SQL_EACH);
    for (size_t i = 0; i < sub->count && !rc; i++) rc = sqlite_apply(s, &sub->changes[i]);
    if (!rc) return sqlite_run(s, SQL_EACH_KEEP);
    sub->rc = rc;
    if (rc != SQLITE_STORE_CONFLICT) failed(s, b, rc);
    if (sqlite3_get_autocommit(s->writer)) return rc; /* SQLite has taken all back */
    rc = sqlite_run(s, SQL_EACH_BACK);
    return rc ? rc : sqlite_run(s, SQL_EACH_KEEP);
}

/* A commit that failed has perhaps written all that makes it one, as who opens the file again finds. */
static int commit(struct sqlite_store *s, struct batch *b)
{
    int rc = sqlite_run(s, SQL_COMMIT);
    b->lost = (rc && (rc & 0xff) != SQLITE_BUSY) || (!rc && !sqlite_files_stand(s));
    if (rc) return failed(s, b, rc);
    if (b->lost) return useless(s, b);
    pthread_mutex_lock(&s->mutex);
    s->commits++;
    pthread_mutex_unlock(&s->mutex);
    return SQLITE_OK;
}

/* SQLITE_OK: all are on the disk, but those whose rc says why not. */
static int attempt(struct sqlite_store *s, struct batch *b)
{
    int rc = sqlite_run(s, SQL_BEGIN);
    for (struct submission *sub = b->first; sub && !rc; sub = sub->next) rc = apply_one(s, b, sub);
    rc = rc ? failed(s, b, rc) : commit(s, b);
    if (!sqlite3_get_autocommit(s->writer)) sqlite_run(s, SQL_ROLLBACK);
    return rc;
}

/* The same, if the file can be used at all. */
static int attempt_if_ready(struct sqlite_store *s, struct batch *b)
{
    if (!sqlite_writer_ready(s)) return useless(s, b);
    int rc = attempt(s, b);
    if (sqlite_sticks(rc))
        sqlite_writer_broken(s, rc, b->why);
    else if (sqlite_sticks(b->rc))
        sqlite_writer_hurt(s, b->rc, b->why);
    return rc;
}

static void settle_batch(struct sqlite_store *s, unsigned count)
{
    pthread_mutex_lock(&s->mutex);
    atomic_fetch_add(&s->settled, count);
    pthread_cond_broadcast(&s->settle_wake);
    pthread_mutex_unlock(&s->mutex);
}

static void write_batch(struct sqlite_store *s, struct batch *b)
{
    bool logged = false;
    int rc = attempt_if_ready(s, b);
    if (b->rc)
        sqlite_trouble_failed(&s->writing, b->rc, b->why);
    else
        sqlite_trouble_over(&s->writing);
    settle_batch(s, b->count);
    for (struct submission *sub = b->first, *next; sub; sub = next) {
        int own = rc ? rc : sub->rc;
        next = sub->next;
        logged = logged || (!own && adds_to_log(sub));
        finish(sub, own, rc && b->lost);
    }
    if (logged) tell_listeners(s);
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

/* The next batch, in the order of submission; empty when all is written and the store closes. */
static struct batch take_batch(struct sqlite_store *s)
{
    pthread_mutex_lock(&s->mutex);
    while (!s->head && !s->closing) pthread_cond_wait(&s->wake, &s->mutex);
    struct timespec at;
    deadline_in(&at, SQLITE_STORE_BEHIND_MS);
    while (s->head && !s->urgent && !s->settling && !s->closing &&
           s->queued < SQLITE_STORE_BATCH_MAX)
        if (pthread_cond_timedwait(&s->wake, &s->mutex, &at) == ETIMEDOUT) break;

    struct batch b = {.first = s->head};
    struct submission *last = NULL;
    for (; s->head && b.count < SQLITE_STORE_BATCH_MAX; b.count++) {
        last = s->head;
        s->head = last->next;
        s->queued--;
        s->bytes -= last->bytes;
        s->urgent -= last->write != NULL;
    }
    if (last) last->next = NULL;
    if (!s->head) s->tail = &s->head;
    pthread_mutex_unlock(&s->mutex);
    return b;
}

static void *writer_main(void *arg)
{
    struct sqlite_store *s = arg;
    pthread_setname_np(pthread_self(), "store");
    for (struct batch b = take_batch(s); b.first; b = take_batch(s)) {
        pthread_mutex_lock(&s->hold);
        heart_beat(&s->base.heart);
        write_batch(s, &b);
        heart_rest(&s->base.heart);
        pthread_mutex_unlock(&s->hold);
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
        atomic_fetch_add(&s->submitted, 1);
        pthread_cond_signal(&s->wake);
    }
    pthread_mutex_unlock(&s->mutex);
    if (!room) free(sub);
    return room;
}

uint64_t sqlite_writer_submitted(struct store *base)
{
    return atomic_load(&((struct sqlite_store *)base)->submitted);
}

bool sqlite_writer_settled(struct store *base, uint64_t position)
{
    return atomic_load(&((struct sqlite_store *)base)->settled) >= position;
}

bool sqlite_writer_settle(struct store *base, uint64_t position)
{
    struct sqlite_store *s = (struct sqlite_store *)base;
    struct timespec until;
    deadline_in(&until, SQLITE_STORE_SETTLE_S * 1000);
    pthread_mutex_lock(&s->mutex);
    s->settling++;
    pthread_cond_signal(&s->wake);
    bool late = false;
    while (!late && s->settled < position)
        late = pthread_cond_timedwait(&s->settle_wake, &s->mutex, &until) == ETIMEDOUT;
    bool settled = s->settled >= position;
    s->settling--;
    pthread_mutex_unlock(&s->mutex);
    return settled;
}

bool sqlite_writer_start(struct sqlite_store *s, char *error, size_t error_cap)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&s->mutex, NULL);
    pthread_cond_init(&s->wake, &attr);
    pthread_cond_init(&s->settle_wake, &attr);
    pthread_condattr_destroy(&attr);
    s->tail = &s->head;
    int rc = pthread_create(&s->thread, NULL, writer_main, s);
    s->running = rc == 0;
    if (s->running) return true;
    pthread_cond_destroy(&s->settle_wake);
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
        pthread_cond_destroy(&s->settle_wake);
        pthread_cond_destroy(&s->wake);
        pthread_mutex_destroy(&s->mutex);
        s->running = false;
    }
}

#include "src/server/store/queue.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

/* ---- telling the submitters ---- */
static void deliver(struct task *t)
{
    struct store_write *w = (struct store_write *)t; /* task is its first member */
    w->done(w);
}

void submission_finish(struct submission *sub, enum outcome outcome)
{
    struct store_write *w = sub->write;
    free(sub);
    if (!w) return;
    w->durable = outcome == OUTCOME_DURABLE;
    w->conflict = outcome == OUTCOME_CONFLICT;
    w->lost = outcome == OUTCOME_LOST;
    w->task.fn = deliver;
    if (w->home)
        worker_post(w->home, &w->task);
    else
        w->done(w);
}

bool submission_adds_to_log(const struct submission *sub)
{
    for (size_t i = 0; i < sub->count; i++)
        if (sub->changes[i].kind == STORE_ADD_AUDIT || sub->changes[i].kind == STORE_ADD_EVENT)
            return true;
    return false;
}

void store_tell_listeners(const struct store *s)
{
    for (size_t i = 0; i < STORE_LISTENERS_MAX; i++) {
        const struct store_listener *l = &s->listeners[i];
        if (l->fn) l->fn(l->ctx);
    }
}

/* ---- the queue ---- */
uint64_t queue_now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static struct timespec deadline_in(unsigned ms)
{
    uint64_t at = queue_now_ms() + ms;
    return (struct timespec){.tv_sec = (time_t)(at / 1000), .tv_nsec = (long)(at % 1000) * 1000000};
}

void queue_init(struct queue *q)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&q->mutex, NULL);
    pthread_cond_init(&q->wake, &attr);
    pthread_cond_init(&q->settle_wake, &attr);
    pthread_condattr_destroy(&attr);
    q->tail = &q->head;
}

void queue_finish(struct queue *q)
{
    pthread_cond_destroy(&q->settle_wake);
    pthread_cond_destroy(&q->wake);
    pthread_mutex_destroy(&q->mutex);
}

bool queue_submit(struct queue *q, const struct store_change *changes, size_t count,
                  struct store_write *w)
{
    struct submission *sub = submission_create(changes, count, w);
    if (!sub) return false;
    if (w) w->home = worker_self();
    sub->at_ms = queue_now_ms();

    pthread_mutex_lock(&q->mutex);
    bool room = !q->closing && q->queued < STORE_QUEUE_MAX && q->bytes <= STORE_QUEUE_BYTES &&
                sub->bytes <= STORE_QUEUE_BYTES - q->bytes;
    if (room) {
        sub->position = atomic_fetch_add(&q->submitted, 1) + 1;
        *q->tail = sub;
        q->tail = &sub->next;
        q->queued++;
        q->bytes += sub->bytes;
        q->urgent += w != NULL;
        pthread_cond_signal(&q->wake);
    }
    pthread_mutex_unlock(&q->mutex);
    if (!room) free(sub);
    return room;
}

void queue_close(struct queue *q)
{
    pthread_mutex_lock(&q->mutex);
    q->closing = true;
    pthread_cond_broadcast(&q->wake);
    pthread_mutex_unlock(&q->mutex);
}

/* ---- the writer ---- */
static void count_out(struct queue *q, const struct submission *sub)
{
    q->queued--;
    q->bytes -= sub->bytes;
    q->urgent -= sub->write != NULL;
}

struct submission *queue_take(struct queue *q)
{
    pthread_mutex_lock(&q->mutex);
    while (!q->head && !q->closing) pthread_cond_wait(&q->wake, &q->mutex);
    struct timespec at = deadline_in(STORE_BEHIND_MS);
    while (q->head && !q->urgent && !q->settling && !q->closing && q->queued < STORE_BATCH_MAX)
        if (pthread_cond_timedwait(&q->wake, &q->mutex, &at) == ETIMEDOUT) break;

    struct submission *first = q->head, *last = NULL;
    for (size_t n = 0; q->head && n < STORE_BATCH_MAX; n++) {
        last = q->head;
        q->head = last->next;
        count_out(q, last);
    }
    if (last) last->next = NULL;
    if (!q->head) q->tail = &q->head;
    pthread_mutex_unlock(&q->mutex);
    return first;
}

void queue_give_back(struct queue *q, struct submission *first)
{
    struct submission **end = &first;
    if (!first) return;
    pthread_mutex_lock(&q->mutex);
    for (; *end; end = &(*end)->next) {
        q->queued++;
        q->bytes += (*end)->bytes;
        q->urgent += (*end)->write != NULL;
    }
    if (!q->head) q->tail = end;
    *end = q->head;
    q->head = first;
    pthread_mutex_unlock(&q->mutex);
}

struct submission *queue_take_late(struct queue *q, unsigned ms)
{
    struct submission *late = NULL, **late_end = &late;
    uint64_t now = queue_now_ms();
    pthread_mutex_lock(&q->mutex);
    for (struct submission **at = &q->head; *at;) {
        struct submission *sub = *at;
        if (!sub->write || now - sub->at_ms < ms) {
            at = &sub->next;
            continue;
        }
        *at = sub->next;
        if (!*at) q->tail = at;
        count_out(q, sub);
        sub->next = NULL;
        *late_end = sub;
        late_end = &sub->next;
    }
    pthread_mutex_unlock(&q->mutex);
    return late;
}

bool queue_pause(struct queue *q, unsigned ms)
{
    struct timespec at = deadline_in(ms);
    pthread_mutex_lock(&q->mutex);
    while (!q->closing)
        if (pthread_cond_timedwait(&q->wake, &q->mutex, &at) == ETIMEDOUT) break;
    bool go_on = !q->closing;
    pthread_mutex_unlock(&q->mutex);
    return go_on;
}

void queue_give_up(struct queue *q, bool given_up)
{
    pthread_mutex_lock(&q->mutex);
    q->given_up = given_up;
    if (given_up) pthread_cond_broadcast(&q->settle_wake);
    pthread_mutex_unlock(&q->mutex);
}

void queue_batch_done(struct queue *q)
{
    pthread_mutex_lock(&q->mutex);
    atomic_store(&q->settled, q->head ? q->head->position - 1 : atomic_load(&q->submitted));
    pthread_cond_broadcast(&q->settle_wake);
    pthread_mutex_unlock(&q->mutex);
}

/* ---- when is it on the disk ---- */
uint64_t queue_submitted(struct queue *q)
{
    return atomic_load(&q->submitted);
}

bool queue_settled(struct queue *q, uint64_t position)
{
    return atomic_load(&q->settled) >= position;
}

bool queue_settle(struct queue *q, uint64_t position)
{
    struct timespec at = deadline_in(STORE_SETTLE_S * 1000);
    pthread_mutex_lock(&q->mutex);
    q->settling++;
    pthread_cond_signal(&q->wake); /* writes behind need no company now */
    while (!queue_settled(q, position) && !q->given_up)
        if (pthread_cond_timedwait(&q->settle_wake, &q->mutex, &at) == ETIMEDOUT) break;
    q->settling--;
    pthread_mutex_unlock(&q->mutex);
    return queue_settled(q, position);
}

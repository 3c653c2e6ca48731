/* The writer's thread: batches of what is queued, again and again until all of a batch is settled. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "src/server/store/pg_batch.h"

#define ROUNDS 4      /* with all that is left of a batch, then one submission at a time */
#define LOCKED_MOST 5 /* then it is a table, not a row */
#define BROKEN_MOST 8
#define TRIES 6 /* against others who want the same rows */

struct pg_batch {
    struct pg_entry entries[STORE_BATCH_MAX];
    size_t count;
    unsigned rounds, tries;
    unsigned failed; /* by no conflict */
    unsigned locked; /* that waited for a lock in vain, alone */
    bool logged, refused, hurry;
};

static void settle(struct pg_batch *b, size_t from, size_t to, enum outcome outcome)
{
    for (size_t i = from; i < to; i++) {
        if (b->entries[i].settled) continue;
        b->entries[i].settled = true;
        b->entries[i].outcome = outcome;
    }
}

static void pause_a_moment(struct pg_batch *b)
{
    uint32_t random = 0;
    if (getrandom(&random, sizeof random, GRND_NONBLOCK) < 0) random = 0;
    const struct timespec pause = {.tv_nsec = (long)(random % (10u << b->tries)) * 1000000};
    nanosleep(&pause, NULL);
}

/* From the first that is not settled: all, or that one. false: the connection went, or is given up. */
static bool try_once(struct pg_store *s, struct pg_batch *b, size_t from)
{
    bool alone = b->rounds >= ROUNDS;
    size_t to = alone ? from + 1 : b->count;
    enum pg_end end = pg_transaction(s, b->entries + from, to - from, b->hurry);
    switch (end) {
    case PG_END_DURABLE:
        settle(b, from, to, OUTCOME_DURABLE);
        b->tries = 0;
        return true;
    case PG_END_DROPPED: b->rounds++; return true;
    case PG_END_LOCKED:
        if (b->hurry) settle(b, from, ++b->locked < LOCKED_MOST ? to : b->count, OUTCOME_FAILED);
        b->hurry = true;
        b->rounds = ROUNDS;
        return true;
    case PG_END_AGAIN:
        if (++b->tries < TRIES) {
            pause_a_moment(b);
            return true;
        }
        if (alone) settle(b, from, to, OUTCOME_FAILED);
        b->tries = 0;
        b->rounds = ROUNDS;
        return true;
    case PG_END_REFUSED:
        settle(b, from, b->count, OUTCOME_FAILED);
        b->refused = true;
        return false;
    case PG_END_LOST: settle(b, from, to, OUTCOME_LOST); return false;
    case PG_END_BROKEN: return false;
    }
    return false;
}

/* What is settled is told, in the order of submission; the rest is queued again. */
static void hand_out(struct pg_store *s, struct pg_batch *b)
{
    struct submission *rest = NULL, **end = &rest;
    for (size_t i = 0; i < b->count; i++) {
        struct submission *sub = b->entries[i].sub;
        sub->next = NULL;
        if (b->entries[i].settled) continue;
        *end = sub;
        end = &sub->next;
    }
    queue_give_back(&s->queue, rest);
    queue_batch_done(&s->queue);
    for (size_t i = 0; i < b->count; i++) {
        const struct pg_entry *e = &b->entries[i];
        if (!e->settled) continue;
        b->failed += e->outcome == OUTCOME_FAILED || e->outcome == OUTCOME_LOST;
        b->logged = b->logged || (e->outcome == OUTCOME_DURABLE && submission_adds_to_log(e->sub));
        submission_finish(e->sub, e->outcome);
    }
    if (b->logged) store_tell_listeners(&s->base);
}

/* What was lost may yet come to pass: other servers' changes are told to the follower, and so must these
 * be. They bear the old number. */
static void choose_node(struct pg_store *s)
{
    uint64_t node = 0;
    while (!node) node = store_tag();
    atomic_store(&s->node, node);
}

/* false: it needs another connection. */
static bool write_batch(struct pg_store *s, struct pg_batch *b)
{
    bool on = true;
    for (size_t from = 0; on && from < b->count;) {
        if (b->entries[from].settled)
            from++;
        else
            on = try_once(s, b, from);
        heart_beat(&s->base.heart);
    }
    /* A connection that breaks with the same submissions again and again breaks because of them. */
    if (!on && !b->refused && ++s->broken >= BROKEN_MOST) settle(b, 0, b->count, OUTCOME_FAILED);
    if (on) s->broken = 0;
    bool lost = false;
    for (size_t i = 0; i < b->count; i++)
        lost = lost || (b->entries[i].settled && b->entries[i].outcome == OUTCOME_LOST);
    if (lost) choose_node(s);
    hand_out(s, b);
    if (b->refused || b->failed) pg_failed(s, TROUBLE_WRITE, &s->writer);
    s->refused = b->refused;
    if (on && !b->failed) trouble_over(&s->trouble, TROUBLE_WRITE);
    return on;
}

static void fail_all(struct submission *first)
{
    for (struct submission *next; first; first = next) {
        next = first->next;
        submission_finish(first, OUTCOME_FAILED);
    }
}

/* Without a connection: devices are told soon to come again, writes behind wait. */
static void be_away(struct pg_store *s)
{
    uint64_t now = queue_now_ms(), none = 0;
    if (pg_connect(&s->writer)) {
        atomic_store(&s->away_ms, 0);
        queue_give_up(&s->queue, false);
        if (!s->refused) trouble_over(&s->trouble, TROUBLE_WRITE);
        return;
    }
    atomic_compare_exchange_strong(&s->away_ms, &none, now);
    pg_failed(s, TROUBLE_WRITE, &s->writer);
    struct submission *late = queue_take_late(&s->queue, PG_FAIL_SOON_MS);
    queue_batch_done(&s->queue);
    fail_all(late);
    if (now - atomic_load(&s->away_ms) > PG_FAIL_SOON_MS) queue_give_up(&s->queue, true);
    if (!queue_pause(&s->queue, PG_PAUSE_MS)) {
        fail_all(queue_take(&s->queue)); /* it closes: no more attempts */
        atomic_store(&s->away_ms, 0);
    }
}

static void *writer_main(void *arg)
{
    struct pg_store *s = arg;
    struct pg_batch *b = s->batch;
    pthread_setname_np(pthread_self(), "store");
    for (;;) {
        if (atomic_load(&s->away_ms)) {
            be_away(s);
            continue;
        }
        struct submission *first = queue_take(&s->queue);
        if (!first) break;
        if (!pg_connect(&s->writer)) {
            queue_give_back(&s->queue, first);
            be_away(s);
            continue;
        }
        heart_beat(&s->base.heart);
        *b = (struct pg_batch){0};
        for (struct submission *sub = first; sub; sub = sub->next) b->entries[b->count++].sub = sub;
        if (!write_batch(s, b)) {
            pg_disconnect(&s->writer);
            if (s->refused) s->writer.not_before_ms = queue_now_ms() + PG_PAUSE_MS;
        }
        heart_rest(&s->base.heart);
    }
    (void)pg_transaction_end(s);
    return NULL;
}

/* A store that has been away for a while is not waited for. */
bool pg_submit(struct store *base, const struct store_change *changes, size_t count,
               struct store_write *w)
{
    struct pg_store *s = (struct pg_store *)base;
    uint64_t away = atomic_load(&s->away_ms);
    if (w && away && queue_now_ms() - away > PG_FAIL_SOON_MS) return false;
    return queue_submit(&s->queue, changes, count, w);
}

bool pg_writer_start(struct pg_store *s, char *error, size_t error_cap)
{
    choose_node(s);
    s->batch = malloc(sizeof *s->batch);
    int rc = s->batch ? pthread_create(&s->thread, NULL, writer_main, s) : ENOMEM;
    s->running = rc == 0;
    if (!s->running)
        snprintf(error, error_cap, "the store's writer cannot be started: %s", strerror(rc));
    return s->running;
}

void pg_writer_stop(struct pg_store *s)
{
    queue_close(&s->queue);
    if (s->running) pthread_join(s->thread, NULL);
    s->running = false;
    free(s->batch);
    pg_disconnect(&s->writer);
}

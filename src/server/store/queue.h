/* What is submitted and not yet written: from any thread to the one writer of a store. Bounded. */
#ifndef PROVOSTD_STORE_QUEUE_H
#define PROVOSTD_STORE_QUEUE_H

#include <pthread.h>
#include <stdatomic.h>

#include "src/server/store/change.h"

#define STORE_QUEUE_MAX 8192          /* submissions that wait */
#define STORE_QUEUE_BYTES (64u << 20)
#define STORE_BATCH_MAX 512           /* submissions of one transaction */
#define STORE_BEHIND_MS 300           /* how long a write behind may wait for company */
#define STORE_SETTLE_S 10             /* how long somebody waits for what is queued */

struct queue {
    pthread_mutex_t mutex;            /* guards what follows */
    pthread_cond_t wake, settle_wake;
    struct submission *head, **tail;
    size_t queued, bytes;
    size_t urgent;                    /* queued submissions that somebody waits for */
    unsigned settling;                /* threads that wait for what is queued */
    bool closing, given_up;
    _Atomic uint64_t submitted;       /* position of the last one that was taken */
    _Atomic uint64_t settled;         /* all up to that position are written, or have failed */
};

uint64_t queue_now_ms(void); /* the clock of at_ms in a submission */
void queue_init(struct queue *q);
void queue_finish(struct queue *q);

/* Any thread. false: no room, no memory, or it closes; done is not called. */
bool queue_submit(struct queue *q, const struct store_change *changes, size_t count,
                  struct store_write *w);
/* No more is taken; the writer gets what is there. */
void queue_close(struct queue *q);

/* ---- the writer ---- */
/* The next batch, in the order of submission; waits for it. NULL: it closes, and all is written. */
struct submission *queue_take(struct queue *q);
/* Before all others again, in their order. */
void queue_give_back(struct queue *q, struct submission *first);
/* Those that somebody has waited for longer than that, in order; NULL if there are none. */
struct submission *queue_take_late(struct queue *q, unsigned ms);
/* Sleeps that long, less if it closes. false: it closes. */
bool queue_pause(struct queue *q, unsigned ms);
/* Nobody is to wait for what is queued, for now. */
void queue_give_up(struct queue *q, bool given_up);
/* What became of everything that was taken is known. */
void queue_batch_done(struct queue *q);

/* ---- when is it on the disk; as store.h says ---- */
uint64_t queue_submitted(struct queue *q);
bool queue_settled(struct queue *q, uint64_t position);
bool queue_settle(struct queue *q, uint64_t position);

/* ---- telling the submitters ---- */
enum outcome { OUTCOME_FAILED, OUTCOME_DURABLE, OUTCOME_CONFLICT, OUTCOME_LOST };
/* Frees it. */
void submission_finish(struct submission *sub, enum outcome outcome);
bool submission_adds_to_log(const struct submission *sub);
void store_tell_listeners(const struct store *s);

#endif

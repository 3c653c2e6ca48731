/* Threads for what blocks: password hashing, reading a mailbox, a password file. */
#ifndef PROVOSTD_POOL_H
#define PROVOSTD_POOL_H

#include <stdbool.h>

#include "src/server/http/worker.h"

struct pool;

struct job {
    struct task task;              /* private */
    struct job *next;              /* private */
    struct worker *home;           /* where done runs: set by pool_submit to worker_self() */
    void (*run)(struct job *);     /* on a thread of the pool */
    void (*done)(struct job *);    /* on home, without one on the pool's thread; may be NULL */
};

/* name shows in ps; queue_max bounds what waits. NULL: no memory or threads. */
struct pool *pool_create(const char *name, unsigned threads, unsigned queue_max);
/* false: the queue is full; nothing will run. */
bool pool_submit(struct pool *p, struct job *j);
/* Runs what is queued, then ends the threads. */
void pool_destroy(struct pool *p);

#endif

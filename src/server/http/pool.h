/* Threads for what blocks: password hashing, reading a mailbox, a password file. */
#ifndef PROVOSTD_POOL_H
#define PROVOSTD_POOL_H

#include <stdbool.h>

#include "src/server/http/worker.h"

struct pool;

struct job {
    struct task task;              /* private */
    struct job *next;              /* private */
    struct worker *home;           /* private: where done runs */
    void (*run)(struct job *);     /* on a thread of the pool */
    void (*done)(struct job *);    /* on the worker that submitted it; if none did, on the pool's thread.
                                      May be NULL */
};

/* name shows in ps; queue_max bounds what waits. NULL: no memory or threads. */
struct pool *pool_create(const char *name, unsigned threads, unsigned queue_max);
/* false: the queue is full; nothing will run. */
bool pool_submit(struct pool *p, struct job *j);
/* On behalf of another worker. */
bool pool_submit_for(struct pool *p, struct job *j, struct worker *home);
/* Runs what is queued, then ends the threads. */
void pool_destroy(struct pool *p);

#endif

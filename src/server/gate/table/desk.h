/* Waiting in line: who changes a thing while its write is under way makes the next one wait. */
#ifndef PROVOSTD_GATE_DESK_H
#define PROVOSTD_GATE_DESK_H

#include <stdbool.h>

#include "src/server/http/worker.h"

/* Embed in what wants to be served; it must live until its turn is over. */
struct ticket {
    struct task task;             /* private; first, so that the task is the ticket */
    struct ticket *next;          /* private */
    struct worker *home;          /* private */
    void (*run)(struct ticket *); /* on the worker that asked, when its turn has come */
};

/* One for each thing; guarded by the mutex of that thing. Zeroed: nobody is at it. */
struct desk {
    struct ticket *head; /* private: who waits, oldest first, and at last desk_end */
};
/* Ends the list of a desk that is taken: a million devices have one, so it is but a pointer. */
extern struct ticket desk_end;
static inline bool desk_taken(const struct desk *d)
{
    return d->head != NULL;
}

enum desk_result { DESK_NOW, DESK_LATER, DESK_FULL };
/* On a worker. DESK_NOW: it is your turn. DESK_LATER: run will be called. DESK_FULL: `most` wait
 * already. */
enum desk_result desk_take(struct desk *d, struct ticket *t, unsigned most);
/* The turn is over: the next one, if any, is called on its worker. */
void desk_leave(struct desk *d);

#endif

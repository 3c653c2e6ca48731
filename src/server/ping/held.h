/* A Ping that waits, whatever it waits for (MS-ASCMD 2.2.1.13): a suspended connection, one for each
 * device, until there is news, its heartbeat is over, the device's standing at the gate changes, a
 * newer Ping of the device comes, the peer goes away or the server ends. Everything on the call's
 * worker. */
#ifndef PROVOSTD_PING_HELD_H
#define PROVOSTD_PING_HELD_H

#include "src/server/gate/gate.h"
#include "src/server/ping/body.h"
#include "src/server/ping/seats.h"

/* Stands first in what it is embedded in, and that is the data of the call. */
struct held {
    struct call *call;
    struct seats *seats;
    /* The end: leave everything that could still call. Runs again, after held_leave too, as long as it
     * says false: something is under way. */
    bool (*leave)(struct held *h);
    /* Nothing is under way: answer by h->status. h is gone afterwards. */
    void (*answer)(struct held *h);
    struct seat seat;             /* taken from held_sit until leave has run */
    unsigned status;              /* of the answer; 0: it waits */
    bool waits;                   /* between held_begin and the end */
    bool gone;                    /* an answer reaches nobody */
    bool due;                     /* it ends because of what the gate thinks of the device */
    bool stopping;                /* the server ends: too early for an answer, the connection is closed */
    /* private: */
    unsigned retry_after;         /* not 0: 503 instead of an answer */
    uint64_t from_ms, until_ms;   /* when it came; when its heartbeat is over */
    struct gate_waiter waiter;
    struct timer timer;
};

/* The Ping has arrived; h is zeroed but for leave and answer, and is the call's data. */
void held_init(struct held *h, struct call *c, struct seats *seats);
/* For call_wait. Before held_begin only h->gone is set. */
void held_gone(struct call *c);
/* The device's place is this Ping's from now on. false: no memory. */
bool held_sit(struct held *h);
/* It waits from now on, for at most heartbeat seconds; the request's body goes. May end it at once: then
 * h is gone and false is returned. */
bool held_begin(struct held *h, uint32_t heartbeat);
/* It ends with that Status, unless it has ended before. h may be gone afterwards. */
void held_end(struct held *h, unsigned status);
/* What leave has waited for is over. h may be gone afterwards. */
void held_leave(struct held *h);

/* PING_BAD_HEARTBEAT or PING_TOO_MANY_FOLDERS with what is allowed. */
void ping_answer_limit(struct call *c, unsigned status, uint32_t limit);

#endif

/* What administrators order of one device: each order takes its turn with the steps that the device
 * takes itself, and is durable before it is told. */
#ifndef PROVOSTD_GATE_ORDER_H
#define PROVOSTD_GATE_ORDER_H

#include <inttypes.h>
#include <stdio.h>

#include "src/server/gate/table/desk.h"
#include "src/server/gate/gate.h"
#include "src/server/gate/table/resident.h"

#define ORDER_REASON_MAX 512  /* bytes of a reason, terminator included */
#define ORDER_UNSEEN_MAX 1000 /* entries of one user that no device has filled yet */
#define ORDER_WIPE_ID_TEXT 17

enum order_result {
    ORDER_DONE,
    ORDER_UNCHANGED,  /* it was so already */
    ORDER_IMPOSSIBLE, /* not as the device stands; `why` says why */
    ORDER_UNKNOWN,    /* there is no such device, or it was removed in the meantime */
    ORDER_FORBIDDEN,  /* whole devices of this user are never wiped */
    ORDER_FULL,       /* the user has too many devices */
    ORDER_BUSY,       /* too many orders and requests wait for their turn, or other servers change the
                         device all the time */
    ORDER_STORE       /* not durable, or no memory: nothing has changed */
};

/* Must live until done, with the strings. */
struct device_order {
    const char *user, *device_id;
    enum pv_order_kind kind;
    bool remove; /* instead of kind: forget the device, a block or wipe too */
    /* Of the server, for what is due by time alone: end a wipe whose time is over, instead of kind; remove
     * only what was not seen since then, and of which an administrator wants nothing; 0: any. */
    bool expire;
    int64_t unseen_since;
    /* A device that was never seen gets its entry. Only for what says a word about it: ALLOW, BLOCK,
     * QUARANTINE. */
    bool add;
    const char *actor, *reason; /* UTF-8 without control characters; reason NULL: none */
    int64_t wipe_expires_at;    /* WIPE_*: 0 never */
    enum order_result result;
    enum pv_reason why;
    enum pv_state before;                /* state when its turn had come */
    bool wipe_pending;                   /* at that time */
    void (*done)(struct device_order *); /* on the worker that asked, never at once */
    /* private */
    struct gate *gate;
    struct device *device;
    unsigned tries;
    bool made; /* the entry is new */
    struct pv_partnership was, next;
    enum pv_state noted;
    uint64_t tag; /* of the state that is written */
    struct resident resident;
    char *wipe_by, *wipe_reason;
    struct ticket ticket;
    struct store_write write;
};
/* On a worker. */
void gate_order(struct gate *g, struct device_order *o);

/* Of a wipe request, as it is shown everywhere. */
static inline void wipe_id_text(uint64_t id, char out[ORDER_WIPE_ID_TEXT])
{
    snprintf(out, ORDER_WIPE_ID_TEXT, "%016" PRIx64, id);
}

#endif

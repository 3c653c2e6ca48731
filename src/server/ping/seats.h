/* Which Ping of a device is the one that waits, and what is kept of a device between its Pings. Safe
 * from any worker. */
#ifndef PROVOSTD_PING_SEATS_H
#define PROVOSTD_PING_SEATS_H

#include <stdbool.h>

#include "src/server/http/worker.h"

struct seats;
struct seat_device;

/* The place of a waiting Ping; a device has one. Embed, zeroed. */
struct seat {
    struct seat_device *device; /* private; NULL: not taken */
    struct worker *home;        /* private */
    struct task task;           /* private */
    bool posted;                /* private */
    void (*ousted)(struct seat *); /* on its worker: a newer Ping of the device has come. Leave. */
};

/* NULL: no memory. */
struct seats *seats_create(void);
/* When nobody sits any more. NULL is accepted. */
void seats_destroy(struct seats *s);

/* Take the device's place; who has it is ousted. false: no memory. */
bool seats_sit(struct seats *s, struct seat *seat, const char *user, const char *device_id);
/* false: ousted is about to be called; rise again in it. Before that the seat must not be freed. A
 * seat not taken is risen. */
bool seats_rise(struct seats *s, struct seat *seat);

/* What is kept of a device: one block from malloc, NULL as long as visit leaves it so. It goes with
 * what is known of the device, after a day without Ping. visit must be quick; nothing else of seats
 * is to be called in it. */
/* false: nothing is known of the device, visit was not called. */
bool seats_visit(struct seats *s, const char *user, const char *device_id,
                 void (*visit)(void *ctx, void **memory), void *ctx);
/* Of the device of a seat that is taken. */
void seats_visit_own(struct seats *s, const struct seat *seat,
                     void (*visit)(void *ctx, void **memory), void *ctx);

#endif

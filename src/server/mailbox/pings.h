/* Which Ping of a device is the one that waits, and what each device was told last about its
 * folders. Safe from any worker. */
#ifndef PROVOSTD_MAILBOX_PINGS_H
#define PROVOSTD_MAILBOX_PINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/server/http/worker.h"
#include "src/server/mailbox/mailbox.h"

struct pings;
struct ping_device;

/* The place of a waiting Ping; a device has one. Embed, zeroed. */
struct seat {
    struct ping_device *device; /* private; NULL: not taken */
    struct worker *home;        /* private */
    struct task task;           /* private */
    bool posted;                /* private */
    void (*ousted)(struct seat *); /* on its worker: a newer Ping of the device has come. Leave. */
};

/* How a folder looked when the device was last told (or first asked). */
struct memo {
    uint32_t folder;
    struct look look;
};

struct pings *pings_create(void);
/* When nobody sits any more. */
void pings_destroy(struct pings *p);

/* Take the device's place; who has it is ousted. false: no memory. */
bool pings_sit(struct pings *p, struct seat *s, const char *user, const char *device_id);
/* false: ousted is about to be called; rise again in it. Before that the seat must not be freed. A
 * seat not taken is risen. */
bool pings_rise(struct pings *p, struct seat *s);
/* What was remembered of a folder; false: nothing. From any thread. */
bool pings_recall(struct pings *p, const char *user, const char *device_id, uint32_t folder,
                  struct look *out);
/* Remember; what is known of other folders stays up to `most` in all. */
void pings_remember(struct pings *p, struct seat *s, const struct memo *memos, size_t count,
                    size_t most);

#endif

/* The trail of a device: its last steps, for `device why`, and the counters that slow down loops. A
 * device that gives no trouble has none, or loses it to another. Guarded by the mutex of the shard
 * that the device is in. */
#ifndef PROVOSTD_GATE_TRAIL_H
#define PROVOSTD_GATE_TRAIL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <provost/provision.h>

#include "src/server/gate/trail/damping.h"
#include "src/server/gate/table/kinds.h"

#define TRAIL_ENTRIES 16
#define TRAILS_PER_SHARD 256 /* of TABLE_SHARDS: 16,384; the least recently used goes first */
#define TRAIL_BUCKETS 256
/* Repeats are looked for so far back: a phone asks for several things in turn. */
#define TRAIL_LOOK_BACK 4

#define TRAIL_STEPS(X)                                                                        \
    X(REFUSED, "refused", "the command was refused")                                          \
    X(OFFERED, "offered", "the policy was handed out with a temporary key")                   \
    X(CONFIRMED, "confirmed", "the acknowledgement was accepted, the device has its key")     \
    X(NOT_ACCEPTED, "not-accepted", "the Provision request was answered with a Status alone") \
    X(DIRECTIVE, "wipe-directive", "the device was told to wipe")                             \
    X(WIPED, "wipe-acknowledged", "the device said that it has wiped")                        \
    X(ANSWERED, "answered", "nothing was to be said")                                         \
    X(SLOWED, "slowed", "told to come back later, because it loops")                          \
    X(LET_IN, "let-in", "a command passed, the first after what stands above")
#define TRAIL_STEP_ENUM(id, name, says) TRAIL_##id,
enum trail_step { TRAIL_STEPS(TRAIL_STEP_ENUM) TRAIL_STEP_COUNT };
#undef TRAIL_STEP_ENUM

/* A key as pv_key_mask tells it: 0 none, 1 "0", 2 bad, else 100 times the number of digits, and the
 * first two of them. No key is kept here. */
uint16_t trail_key(struct pv_sent_key key);
void trail_key_text(uint16_t key, char out[12]);

/* One step and how often it was repeated. */
struct trail_entry {
    uint32_t first, last, times;    /* seconds since 1970 */
    uint32_t revision;              /* of the policy in force; 0: it did not matter */
    uint16_t sent, expected, given; /* trail_key: of the request, the device's own, of the answer */
    uint16_t status;                /* that the server answered; 0: none */
    uint16_t http;                  /* likewise */
    uint8_t step, cmd, event, reason, version; /* enums of the names */
    uint8_t said; /* Status that the device acknowledged with; 0: none */
};

/* The same device with another face, back and forth. */
struct trail_clone {
    struct kind *other; /* what it was before it became what it is now; counted */
    uint16_t returns;   /* how often it became again what it had been */
};
#define TRAIL_CLONE_RETURNS 2 /* an upgrade never returns, a trial of another program once */

struct device;
struct trail {
    struct device *device; /* the key */
    struct trail *next;    /* in its bucket */
    struct trail *newer, *older;
    bool dirty; /* not written yet */
    bool fresh; /* the store may hold older steps */
    uint8_t count;
    struct damping damping;
    uint32_t log_dropped; /* lines that were one too many, not told yet */
    struct trail_clone clone;
    struct trail_entry entries[TRAIL_ENTRIES]; /* oldest first */
};

/* Of one shard. Zeroed: none. */
struct trails {
    struct trail *buckets[TRAIL_BUCKETS];
    struct trail *newest, *oldest;
    unsigned count;
};

/* NULL: none. */
struct trail *trail_find(const struct trails *all, const struct device *d);
/* Found or made, and the most recently used. *evicted_out: what had to go for it, out of the list
 * and now the caller's; else NULL. NULL: no memory. */
struct trail *trail_take(struct trails *all, struct device *d, struct trail **evicted_out);
/* Out of the list; the caller's then. NULL: there is none. */
struct trail *trail_pull(struct trails *all, const struct device *d);
void trail_free(struct kinds *kinds, struct trail *t); /* NULL is accepted */

/* Add a step, or count one more of the same. times, first and last are set here. */
void trail_add(struct trail *t, const struct trail_entry *e, int64_t now);
/* Older steps before those that it has, as many as there is room for. */
void trail_put_before(struct trail_entry *entries, uint8_t *count, const struct trail_entry *older,
                      size_t older_count);
/* The device shows another type or User-Agent than `before`; its kind is `after` now. */
void trail_changed_face(struct trail *t, struct kinds *kinds, struct kind *before,
                        const struct kind *after);

/* ---- as JSON (trail_json.c): for the store and for administrators ---- */
/* NULL: no memory. */
json_t *trail_entry_json(const struct trail_entry *e);
/* false: it is no entry that this version knows. */
bool trail_entry_read(const json_t *json, struct trail_entry *out);

#endif

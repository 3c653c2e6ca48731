/* Who is in memory: users with all their devices, read from the store when they come first, dropped when
 * there are too many and nobody needs them, read again when another node has changed them. */
#ifndef PROVOSTD_GATE_RESIDENT_H
#define PROVOSTD_GATE_RESIDENT_H

#include <stdbool.h>

#include "src/server/gate/gate.h"

struct owner;
struct shard;

enum resident_need {
    RESIDENT_KNOWN, /* in memory, unless another node is known to have changed it */
    RESIDENT_FRESH  /* of a shared store: read after it was asked for, now */
};

/* A user that is needed in memory, and stays until resident_drop. Zeroed: none. */
struct resident {
    struct task task;      /* private; first, so that the task is the resident */
    struct resident *next; /* private */
    struct worker *home;   /* private; NULL: a thread waits */
    struct gate *gate;     /* private */
    struct owner *owner;   /* pinned; NULL: none */
    struct owner *coming;  /* private: to take its place */
    enum resident_need need; /* private */
    uint32_t asked_at;     /* private: readings that had begun then */
    bool ok, served;       /* private */
    void (*ready)(struct resident *r, bool ok); /* on the worker that asked; false: the store is out of
                                                   reach, or there is no memory */
};

/* On a worker. true: it is there now, and ready is not called. Else ready comes later; r must live until
 * then. What r held before stays pinned until it is replaced. */
bool resident_want(struct gate *g, struct resident *r, const char *user, enum resident_need need);
/* The same from a thread that may block. false: out of reach, no memory. */
bool resident_read(struct gate *g, struct resident *r, const char *user, enum resident_need need);
/* Any thread, no shard locked; harmless if there is nothing to drop. */
void resident_drop(struct resident *r);

/* ---- for the gate's own files ---- */
struct residents; /* the threads that read */
struct residents *residents_create(struct gate *g); /* NULL: no memory, or no threads */
/* Ends the readings under way; no worker asks any more. NULL is accepted. */
void residents_destroy(struct residents *all);
/* Shard locked: o stays in the table, until owner_unpin. */
void owner_pin(struct owner *o);
void owner_unpin(struct gate *g, struct shard *s, struct owner *o);
/* What is in memory may be wrong, since a write of it has failed: it is read before it is used next.
 * Shard locked. */
void owner_doubt(struct owner *o);
/* A write of d's record by that tag has failed. If it is known that nothing of it was stored, and nothing
 * has been made of it, d is of the state before again; else the owner is in doubt. Shard locked. */
void device_not_stored(struct gate *g, struct device *d, uint64_t tag, const struct store_write *w);

/* Does somebody wait on one of its devices? Shard locked. */
bool owner_is_waited_on(const struct owner *o);
/* Who is in doubt is read again where somebody waits on a device of his: he began to wait since, or the
 * last reading has failed. user NULL: all. Any thread, no shard locked. */
void resident_look_again(struct gate *g, const char *user);

/* store_submit of what belongs to a user, or to one of its devices: an eviction waits until it is
 * settled, and a reading does not undo it. The record of a device (device_record_of), if there is one
 * among the changes, gives it its tag. Shard locked. */
bool owner_submit(struct gate *g, struct owner *o, const struct store_change *changes, size_t count,
                  struct store_write *w);
bool device_submit(struct gate *g, struct device *d, const struct store_change *changes, size_t count,
                   struct store_write *w);
/* What device_submit does once the store has taken it; r NULL: nothing of its record. Shard locked. */
void device_submitted(struct gate *g, struct device *d, const struct device_record *r);

/* Another node has changed this user, or perhaps any: what is in memory is read again before it is used
 * next, at once where a Ping waits on it. Any thread. */
void resident_stale(struct gate *g, const char *user); /* NULL: all */

/* ---- walking over the fleet, in memory or not ---- */
struct walk {
    struct store_query query; /* most is chosen by the walk */
    /* By user and device id; with the shard of the device locked. d may be of the moment: who needs it
     * longer copies. false: enough. */
    bool (*each)(void *ctx, struct shard *s, struct device *d);
    void (*between)(void *ctx); /* behind the devices of each user, nothing locked; may be NULL */
    void *ctx;
};
/* Every device that the query finds, as memory has it where it is there. From a thread that may block.
 * false: the store is out of reach, there is no memory, or the gate ends. */
bool gate_walk(struct gate *g, const struct walk *w);

#endif

/* Reading a user from the store, for resident.c. */
#ifndef PROVOSTD_GATE_OWNER_LOAD_H
#define PROVOSTD_GATE_OWNER_LOAD_H

#include "src/server/gate/inner.h"
#include "src/server/gate/table/resident.h"
#include "src/server/http/pool.h"

/* One that is under way. Belongs to whoever carries it out: exactly one of reading_queue, reading_run. */
struct owner_reading {
    struct job job;
    struct owner_reading *next; /* of whoever has begun several */
    struct gate *gate;
    struct owner *owner;
    struct submission *rows; /* as the store has them, last first: devices, flags */
    struct bond_row *bonds;  /* of its devices */
    bool failed;             /* no memory */
};
/* From now on the owner is being read, and stays in the table meanwhile. NULL: no memory. Shard locked. */
struct owner_reading *reading_begin(struct gate *g, struct owner *o);
/* In this thread, which may block, until nobody waits any more. No shard locked. */
void reading_run(struct owner_reading *r);
/* It cannot be carried out: whoever waits is told. No shard locked. */
void reading_fail(struct owner_reading *r);

/* A device of nobody who is in memory, or being read, as the store has it: for as long as the shard stays
 * locked. Its owner is made with it; shard_owner_remove takes both out again. NULL: no memory. */
struct device *owner_load_device(struct shard *s, const struct device_record *r);

/* ---- resident.c ---- */
/* On a thread of its own; fails if there is no room. No shard locked. */
void reading_queue(struct residents *all, struct owner_reading *r);
/* The one who waited is told; it was pinned before if ok. No shard locked. */
void resident_tell(struct resident *r, bool ok);

#endif

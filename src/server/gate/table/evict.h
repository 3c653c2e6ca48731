/* Who leaves the memory again. */
#ifndef PROVOSTD_GATE_EVICT_H
#define PROVOSTD_GATE_EVICT_H

#include "src/server/gate/inner.h"

/* Buckets that are looked at in one go: few where somebody is let go, since each call ends so. */
#define EVICT_LOOKS_LETTING_GO 4
#define EVICT_LOOKS_COMING 64
#define EVICT_ROUNDS 4

/* Somebody has let go of the owner: it leaves if it was not read, and others if there are too many. It
 * may be freed. Shard locked. */
void shard_let_go(struct gate *g, struct shard *s, struct owner *o);
/* While there are more than may be, those leave that were not used lately and that nobody needs. Shard
 * locked. false: there are still more. */
bool shard_make_room(struct gate *g, struct shard *s, size_t looks);
/* The same everywhere, without waiting for the store to write in its own time. Blocks. */
void table_make_room(struct gate *g);

#endif

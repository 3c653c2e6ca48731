/* Who leaves the memory again. */
#ifndef PROVOSTD_GATE_EVICT_H
#define PROVOSTD_GATE_EVICT_H

#include "src/server/gate/inner.h"

/* Somebody has let go of the owner: it leaves if it was not read, and others if there are too many. It
 * may be freed. Shard locked. */
void shard_evict(struct gate *g, struct shard *s, struct owner *o);

#endif

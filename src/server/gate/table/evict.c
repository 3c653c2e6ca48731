#include "src/server/gate/table/evict.h"

static bool is_in_use(const struct owner *o)
{
    return o->pins || o->reading || o->waiting;
}

void shard_evict(struct gate *g, struct shard *s, struct owner *o)
{
    (void)g;
    if (!o->loaded && !is_in_use(o)) shard_owner_remove(s, o);
}

#include "src/server/store/upkeep.h"

#include <stdio.h>

static enum store_outcome not_here(const struct store *s, const struct store_work *w)
{
    snprintf(w->error, w->error_cap, "%s", s->ops->upkeep->instead);
    return STORE_NOT_HERE;
}

enum store_outcome store_backup(struct store *s, struct store_backup *b, const struct store_work *w)
{
    const struct store_upkeep *u = s->ops->upkeep;
    return u->backup ? u->backup(s, b, w) : not_here(s, w);
}

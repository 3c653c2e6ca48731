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

enum store_outcome store_check(struct store *s, struct store_check *c, const struct store_work *w)
{
    const struct store_upkeep *u = s->ops->upkeep;
    return u->check ? u->check(s, c, w) : not_here(s, w);
}

void check_found(struct store_check *c, bool bad, const char *where, const char *why)
{
    if (c->findings++ < STORE_FINDINGS_MAX) c->found(c->ctx, bad, where, why);
}

enum store_outcome store_restore(struct store *s, struct store_restore *r,
                                 const struct store_work *w)
{
    const struct store_upkeep *u = s->ops->upkeep;
    return u->restore ? u->restore(s, r, w) : not_here(s, w);
}

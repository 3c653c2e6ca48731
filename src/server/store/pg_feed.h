/* What other servers have changed, heard in time; and who of them leads. */
#ifndef PROVOSTD_STORE_PG_FEED_H
#define PROVOSTD_STORE_PG_FEED_H

#include "src/server/store/pg.h"

/* From now on changes are remembered; over a connection that is not in a pipeline. */
bool pg_feed_prepare(struct pg_store *s, struct pg_link *l);
void pg_feed_finish(struct pg_store *s);
bool pg_follow(struct store *s, const struct store_follower *f);
bool pg_is_heard(const struct store *s);
int64_t pg_heard_ms(const struct store *s);
bool pg_is_leader(const struct store *s);

#endif

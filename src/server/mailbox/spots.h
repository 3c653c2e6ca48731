/* Spots: places in a Maildir that waiting Pings have an eye on. One spot serves every Ping of the
 * same worker that waits for the same place. inotify (or, where it does not help, a clock) only
 * says when to look again; what has changed is told by comparing looks. */
#ifndef PROVOSTD_MAILBOX_SPOTS_H
#define PROVOSTD_MAILBOX_SPOTS_H

#include <stdbool.h>

#include "src/server/http/pool.h"
#include "src/server/http/worker.h"
#include "src/server/mailbox/mailbox.h"

struct spots;

/* Of one worker; every function below on its thread. NULL: no memory. */
struct spots *spots_create(struct worker *w, const struct config *c, struct pool *lookers);
/* When the worker's thread has ended. */
void spots_destroy(struct spots *s);

/* path: of a folder, or the directory in which folders come and go. seed: an earlier look at the same
 * place, zeroed for none. user: whose mailbox it is. false: no memory. */
bool spot_join(struct spots *s, struct spot_user *u, enum spot_kind kind, const char *path,
               const char *user, const struct look *seed);
/* The last look since the spot is watched; NULL: none yet. */
const struct look *spot_seen(const struct spot_user *u);
/* false: a look is under way for u alone. It stays joined, looked will be called; leave there. So
 * no look outlives all who wait. */
bool spot_leave(struct spot_user *u);

#endif

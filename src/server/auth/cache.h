/* Credentials that were verified, under a keyed hash: passwords and tokens are not kept. */
#ifndef PROVOSTD_AUTH_CACHE_H
#define PROVOSTD_AUTH_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "src/server/auth/auth.h"

struct cache;
struct digest { uint8_t bytes[32]; };

enum cache_answer {
    CACHE_UNKNOWN,
    CACHE_KNOWN, /* verified once, too long ago: verify again, but never slow it down */
    CACHE_FRESH
};

struct cached {
    char user[AUTH_USER_MAX];
    int64_t until; /* seconds since 1970: only known afterwards; 0: no such end */
    bool renewed;  /* each use begins its time anew; otherwise it ends however often it is used */
};

/* fresh_ms: how long a verification counts. */
struct cache *cache_create(uint64_t fresh_ms);
void cache_destroy(struct cache *c);
/* Any thread: also for those that are there. */
void cache_set_fresh(struct cache *c, uint64_t fresh_ms);
/* Any thread. now_ms: monotonic, never 0; now: since 1970. user_out is set unless UNKNOWN. */
enum cache_answer cache_look(struct cache *c, const struct digest *d, uint64_t now_ms, int64_t now,
                             char user_out[AUTH_USER_MAX]);
void cache_put(struct cache *c, const struct digest *d, uint64_t now_ms, const struct cached *what);
void cache_drop(struct cache *c, const struct digest *d);

#endif

/* Credentials that were verified, under a keyed hash: neither names nor passwords are kept. */
#ifndef PROVOSTD_AUTH_CACHE_H
#define PROVOSTD_AUTH_CACHE_H

#include <stdint.h>

struct cache;
struct digest { uint8_t bytes[32]; };

enum cache_answer {
    CACHE_UNKNOWN,
    CACHE_KNOWN, /* verified once, too long ago: verify again, but never slow it down */
    CACHE_FRESH
};

/* fresh_ms: how long a verification counts; each use begins it anew. */
struct cache *cache_create(uint64_t fresh_ms);
void cache_destroy(struct cache *c);
/* Any thread. */
enum cache_answer cache_look(struct cache *c, const struct digest *d, uint64_t now_ms);
void cache_put(struct cache *c, const struct digest *d, uint64_t now_ms);
void cache_drop(struct cache *c, const struct digest *d);

#endif

#include "src/server/auth/cache.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <gnutls/gnutls.h>

#define SHARDS 16
#define BUCKETS 2048 /* per shard */
#define WAYS 4       /* 131,072 credentials in all, 25 MiB of them touched only as they come */

struct slot {
    struct digest digest;
    uint64_t used_ms; /* 0: free */
    uint64_t since_ms;
    struct cached what;
};

struct shard {
    pthread_mutex_t lock;
    struct slot slots[BUCKETS][WAYS];
};

struct cache {
    _Atomic uint64_t fresh_ms;
    struct shard shards[SHARDS];
};

struct cache *cache_create(uint64_t fresh_ms)
{
    struct cache *c = calloc(1, sizeof *c);
    if (!c) return NULL;
    c->fresh_ms = fresh_ms;
    for (int i = 0; i < SHARDS; i++) pthread_mutex_init(&c->shards[i].lock, NULL);
    return c;
}

void cache_destroy(struct cache *c)
{
    if (!c) return;
    for (int i = 0; i < SHARDS; i++) pthread_mutex_destroy(&c->shards[i].lock);
    free(c);
}

void cache_set_fresh(struct cache *c, uint64_t fresh_ms)
{
    atomic_store_explicit(&c->fresh_ms, fresh_ms, memory_order_relaxed);
}

/* The digest is a keyed hash, so any of its bits spread well and none tells anything. */
static struct shard *shard_of(struct cache *c, const struct digest *d)
{
    return &c->shards[d->bytes[0] % SHARDS];
}

static struct slot *bucket_of(struct shard *s, const struct digest *d)
{
    return s->slots[(d->bytes[1] | d->bytes[2] << 8) % BUCKETS];
}

static struct slot *find(struct shard *s, const struct digest *d)
{
    struct slot *bucket = bucket_of(s, d);
    for (int i = 0; i < WAYS; i++)
        if (bucket[i].used_ms && !gnutls_memcmp(&bucket[i].digest, d, sizeof *d)) return &bucket[i];
    return NULL;
}

enum cache_answer cache_look(struct cache *c, const struct digest *d, uint64_t now_ms, int64_t now,
                             char user_out[AUTH_USER_MAX])
{
    enum cache_answer answer = CACHE_UNKNOWN;
    struct shard *s = shard_of(c, d);
    pthread_mutex_lock(&s->lock);
    struct slot *slot = find(s, d);
    if (slot) {
        const struct cached *what = &slot->what;
        bool fresh =
            now_ms - slot->since_ms < atomic_load_explicit(&c->fresh_ms, memory_order_relaxed) &&
            (!what->until || now < what->until);
        answer = fresh ? CACHE_FRESH : CACHE_KNOWN;
        memcpy(user_out, what->user, AUTH_USER_MAX);
        slot->used_ms = now_ms;
        if (fresh && what->renewed) slot->since_ms = now_ms;
    }
    pthread_mutex_unlock(&s->lock);
    return answer;
}

void cache_put(struct cache *c, const struct digest *d, uint64_t now_ms, const struct cached *what)
{
    struct shard *s = shard_of(c, d);
    pthread_mutex_lock(&s->lock);
    struct slot *slot = find(s, d);
    if (!slot) {
        slot = bucket_of(s, d);
        for (int i = 1; i < WAYS; i++)
            if (bucket_of(s, d)[i].used_ms < slot->used_ms) slot = &bucket_of(s, d)[i];
    }
    *slot = (struct slot){*d, now_ms, now_ms, *what};
    pthread_mutex_unlock(&s->lock);
}

void cache_drop(struct cache *c, const struct digest *d)
{
    struct shard *s = shard_of(c, d);
    pthread_mutex_lock(&s->lock);
    struct slot *slot = find(s, d);
    if (slot) *slot = (struct slot){0};
    pthread_mutex_unlock(&s->lock);
}

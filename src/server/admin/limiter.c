#include "src/server/admin/limiter.h"

#include <pthread.h>
#include <stdlib.h>

#define BUCKETS 256
#define WAYS 4

/* A bucket is kept as the time at which it will be full: nothing needs to run to fill it. */
struct slot {
    uint64_t key, full_at_ms;
};

struct limiter {
    uint64_t most_ms, every_ms; /* an empty bucket is full after most_ms */
    pthread_mutex_t lock;
    struct slot slots[BUCKETS][WAYS];
};

struct limiter *limiter_create(unsigned burst, unsigned every_ms)
{
    struct limiter *l = calloc(1, sizeof *l);
    if (!l) return NULL;
    l->every_ms = every_ms;
    l->most_ms = (uint64_t)burst * every_ms;
    pthread_mutex_init(&l->lock, NULL);
    return l;
}

void limiter_destroy(struct limiter *l)
{
    if (!l) return;
    pthread_mutex_destroy(&l->lock);
    free(l);
}

static struct slot *find(struct limiter *l, uint64_t key)
{
    struct slot *bucket = l->slots[key % BUCKETS], *fullest = bucket;
    for (int i = 0; i < WAYS; i++) {
        if (bucket[i].key == key) return &bucket[i];
        if (bucket[i].full_at_ms < fullest->full_at_ms) fullest = &bucket[i];
    }
    *fullest = (struct slot){.key = key};
    return fullest;
}

bool limiter_take(struct limiter *l, uint64_t key, uint64_t now_ms, unsigned *retry_after_out)
{
    pthread_mutex_lock(&l->lock);
    struct slot *s = find(l, key);
    if (s->full_at_ms < now_ms) s->full_at_ms = now_ms;
    uint64_t after = s->full_at_ms + l->every_ms - now_ms;
    bool ok = after <= l->most_ms;
    if (ok)
        s->full_at_ms += l->every_ms;
    else
        *retry_after_out = (unsigned)((after - l->most_ms + 999) / 1000);
    pthread_mutex_unlock(&l->lock);
    return ok;
}

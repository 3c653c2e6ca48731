#include "src/server/auth/throttle.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS 1024
#define WAYS 4

struct slot {
    uint64_t key, last_ms;
    uint64_t at_ms[THROTTLE_KEPT]; /* a ring: the last failures, 0 = none */
    unsigned next;
};

struct throttle {
    pthread_mutex_t lock;
    struct slot slots[BUCKETS][WAYS];
};

struct throttle *throttle_create(void)
{
    struct throttle *t = calloc(1, sizeof *t);
    if (t) pthread_mutex_init(&t->lock, NULL);
    return t;
}

void throttle_destroy(struct throttle *t)
{
    if (!t) return;
    pthread_mutex_destroy(&t->lock);
    free(t);
}

static struct slot *find(struct throttle *t, uint64_t key, bool make)
{
    struct slot *bucket = t->slots[key % BUCKETS], *oldest = bucket;
    for (int i = 0; i < WAYS; i++) {
        if (bucket[i].key == key) return &bucket[i];
        if (bucket[i].last_ms < oldest->last_ms) oldest = &bucket[i];
    }
    if (!make) return NULL;
    *oldest = (struct slot){.key = key};
    return oldest;
}

static unsigned recent(const struct slot *s, uint64_t now_ms)
{
    unsigned n = 0;
    for (unsigned i = 0; i < THROTTLE_KEPT; i++)
        n += s->at_ms[i] && now_ms - s->at_ms[i] < THROTTLE_WINDOW_MS;
    return n;
}

unsigned throttle_count(struct throttle *t, uint64_t key, uint64_t now_ms)
{
    pthread_mutex_lock(&t->lock);
    const struct slot *s = find(t, key, false);
    unsigned n = s ? recent(s, now_ms) : 0;
    pthread_mutex_unlock(&t->lock);
    return n;
}

unsigned throttle_fail(struct throttle *t, uint64_t key, uint64_t now_ms)
{
    pthread_mutex_lock(&t->lock);
    struct slot *s = find(t, key, true);
    s->at_ms[s->next] = s->last_ms = now_ms;
    s->next = (s->next + 1) % THROTTLE_KEPT;
    unsigned n = recent(s, now_ms);
    pthread_mutex_unlock(&t->lock);
    return n;
}

#include "src/server/mailbox/map.h"

#include <stdlib.h>

static struct map_node **slot_of(const struct map *m, uint64_t hash)
{
    return &m->slots[hash & (m->slot_count - 1)];
}

static bool grow(struct map *m)
{
    size_t old_count = m->slot_count;
    struct map_node **old = m->slots;
    size_t slot_count = old_count ? old_count * 2 : 64;
    struct map_node **slots = calloc(slot_count, sizeof *slots);
    if (!slots) return false;
    m->slots = slots;
    m->slot_count = slot_count;
    for (size_t i = 0; i < old_count; i++) {
        for (struct map_node *n = old[i], *next; n; n = next) {
            struct map_node **slot = slot_of(m, n->hash);
            next = n->next;
            n->next = *slot;
            *slot = n;
        }
    }
    free(old);
    return true;
}

bool map_put(struct map *m, struct map_node *n, uint64_t hash)
{
    /* A full table that cannot grow still works, only slower. */
    if (m->count >= m->slot_count && !grow(m) && m->slot_count == 0) return false;
    struct map_node **slot = slot_of(m, hash);
    n->hash = hash;
    n->next = *slot;
    *slot = n;
    m->count++;
    return true;
}

struct map_node *map_first(const struct map *m, uint64_t hash)
{
    struct map_node *n = m->slot_count ? *slot_of(m, hash) : NULL;
    while (n && n->hash != hash) n = n->next;
    return n;
}

struct map_node *map_next(const struct map_node *n)
{
    uint64_t hash = n->hash;
    do n = n->next;
    while (n && n->hash != hash);
    return (struct map_node *)n;
}

void map_remove(struct map *m, struct map_node *n)
{
    struct map_node **link = slot_of(m, n->hash);
    while (*link != n) link = &(*link)->next;
    *link = n->next;
    m->count--;
}

void map_each(struct map *m, void (*each)(void *ctx, struct map_node *n), void *ctx)
{
    for (size_t i = 0; i < m->slot_count; i++) {
        for (struct map_node *n = m->slots[i], *next; n; n = next) {
            next = n->next;
            each(ctx, n);
        }
    }
}

void map_finish(struct map *m)
{
    free(m->slots);
    *m = (struct map){0};
}

uint64_t map_hash(const void *data, size_t len, uint64_t seed)
{
    const unsigned char *p = data;
    uint64_t h = UINT64_C(0xcbf29ce484222325) ^ seed;
    for (size_t i = 0; i < len; i++) h = (h ^ p[i]) * UINT64_C(0x100000001b3);
    h ^= h >> 32;
    h *= UINT64_C(0xd6e8feb86659fd93);
    return h ^ h >> 32;
}

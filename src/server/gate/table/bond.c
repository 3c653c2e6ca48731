#include "src/server/gate/table/bond.h"

#include <stdlib.h>

#define BUCKETS_FIRST 16

static struct bond **place_of(const struct bonds *all, const struct device *d)
{
    uint64_t h = (uint64_t)(uintptr_t)d * 0x9E3779B97F4A7C15;
    struct bond **at = &all->buckets[h >> 32 & all->mask];
    while (*at && (*at)->device != d) at = &(*at)->next;
    return at;
}

struct bond *bond_find(const struct bonds *all, const struct device *d)
{
    return all->buckets ? *place_of(all, d) : NULL;
}

bool bonds_reserve(struct bonds *all)
{
    size_t old = all->buckets ? all->mask + 1 : 0;
    if (all->count < old) return true;
    struct bond **from = all->buckets, **to = calloc(old ? old * 2 : BUCKETS_FIRST, sizeof *to);
    if (!to) return old > 0; /* it only becomes slower */
    all->buckets = to;
    all->mask = (old ? old * 2 : BUCKETS_FIRST) - 1;
    for (size_t b = 0; b < old; b++)
        for (struct bond *one = from[b], *next; one; one = next) {
            next = one->next;
            one->next = NULL;
            *place_of(all, one->device) = one;
        }
    free(from);
    return true;
}

struct bond *bond_put(struct bonds *all, struct bond *b, const struct device *d)
{
    struct bond *before = bond_pull(all, d);
    b->device = d;
    b->next = NULL;
    *place_of(all, d) = b;
    all->count++;
    return before;
}

struct bond *bond_pull(struct bonds *all, const struct device *d)
{
    struct bond **at = all->buckets ? place_of(all, d) : NULL;
    struct bond *b = at ? *at : NULL;
    if (!b) return NULL;
    *at = b->next;
    all->count--;
    return b;
}

void bond_free(struct bond *b)
{
    if (!b) return;
    claim_release(b->claim);
    free(b);
}

void bonds_finish(struct bonds *all)
{
    free(all->buckets);
    *all = (struct bonds){0};
}

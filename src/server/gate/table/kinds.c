#include "src/server/gate/table/kinds.h"

#include <stdlib.h>
#include <string.h>

#include "src/lib/base/text.h"

#define BUCKETS_FIRST 16

/* FNV-1a, the terminator included, so that texts do not run into each other. */
static uint32_t hash_of(const char *texts, size_t size)
{
    uint64_t h = 14695981039346656037u;
    for (size_t i = 0; i < size; i++) h = (h ^ (uint8_t)texts[i]) * 1099511628211u;
    return (uint32_t)(h ^ h >> 32);
}

/* Without memory it only becomes slower; without any bucket there is no memory. */
static void grow(struct kinds *all)
{
    size_t size = all->buckets ? (all->mask + 1) * 2 : BUCKETS_FIRST;
    struct kind **to = calloc(size, sizeof(struct kind *));
    if (!to) return;
    for (size_t b = 0; all->buckets && b <= all->mask; b++)
        for (struct kind *k = all->buckets[b], *next; k; k = next) {
            next = k->next;
            struct kind **at = &to[k->hash & (size - 1)];
            k->next = *at;
            *at = k;
        }
    free(all->buckets);
    all->buckets = to;
    all->mask = size - 1;
}

struct kind *kinds_take(struct kinds *all, const char *const texts[KIND_TEXTS])
{
    char block[KIND_TEXTS * KIND_TEXT_MAX];
    uint16_t at[KIND_TEXTS];
    size_t size = 0;
    for (size_t i = 0; i < KIND_TEXTS; i++) {
        at[i] = (uint16_t)size;
        pv__escape(texts[i], strnlen(texts[i], KIND_TEXT_MAX), block + size, KIND_TEXT_MAX);
        size += strlen(block + size) + 1;
    }
    if (!all->buckets || all->count > all->mask) grow(all);
    if (!all->buckets) return NULL;

    uint32_t hash = hash_of(block, size);
    struct kind **bucket = &all->buckets[hash & all->mask], *k = *bucket;
    while (k && (k->hash != hash || k->size != size || memcmp(k->at, at, sizeof at) != 0 ||
                 memcmp(k->text, block, size) != 0))
        k = k->next;
    if (!k) {
        k = malloc(sizeof *k + size);
        if (!k) return NULL;
        *k = (struct kind){.next = *bucket, .hash = hash, .size = (uint16_t)size};
        memcpy(k->at, at, sizeof at);
        memcpy(k->text, block, size);
        *bucket = k;
        all->count++;
    }
    k->devices++;
    return k;
}

bool kind_same_face(const struct kind *a, const struct kind *b)
{
    return strcmp(kind_text(a, KIND_TYPE), kind_text(b, KIND_TYPE)) == 0 &&
           strcmp(kind_text(a, KIND_AGENT), kind_text(b, KIND_AGENT)) == 0;
}

bool kind_same(const struct kind *a, const struct kind *b)
{
    return a->hash == b->hash && a->size == b->size && memcmp(a->at, b->at, sizeof a->at) == 0 &&
           memcmp(a->text, b->text, a->size) == 0;
}

struct kind *kind_copy(const struct kind *k)
{
    struct kind *copy = malloc(sizeof *copy + k->size);
    return copy ? memcpy(copy, k, sizeof *copy + k->size) : NULL;
}

void kinds_drop(struct kinds *all, struct kind *k)
{
    if (!k || --k->devices) return;
    struct kind **at = &all->buckets[k->hash & all->mask];
    while (*at != k) at = &(*at)->next;
    *at = k->next;
    all->count--;
    free(k);
}

void kinds_finish(struct kinds *all)
{
    free(all->buckets);
    *all = (struct kinds){0};
}

#include "src/server/imap/listing.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "src/server/http/worker.h"

#define INBOX "INBOX"

struct imap_listing *imap_listing_create(void)
{
    struct imap_listing *l = calloc(1, sizeof *l);
    if (!l) return NULL;
    atomic_init(&l->holders, 1);
    l->end = &l->first;
    return l;
}

struct imap_listing *imap_listing_hold(struct imap_listing *l)
{
    atomic_fetch_add(&l->holders, 1);
    return l;
}

void imap_listing_release(struct imap_listing *l)
{
    if (!l || atomic_fetch_sub(&l->holders, 1) > 1) return;
    while (l->first) {
        struct imap_folder *f = l->first;
        l->first = f->next;
        free(f);
    }
    map_finish(&l->by_name);
    free(l);
}

bool imap_is_inbox(const char *name)
{
    return strcasecmp(name, INBOX) == 0;
}

static uint64_t hash_of(const char *name)
{
    return map_hash(name, strlen(name), 0);
}

static struct imap_folder *find(const struct imap_listing *l, const char *name)
{
    if (imap_is_inbox(name)) name = INBOX;
    struct map_node *n = map_first(&l->by_name, hash_of(name));
    for (; n; n = map_next(n)) {
        struct imap_folder *f = CONTAINER_OF(n, struct imap_folder, by_name);
        if (strcmp(f->name, name) == 0) return f;
    }
    return NULL;
}

static struct imap_folder *append(struct imap_listing *l, const char *name)
{
    if (imap_is_inbox(name)) name = INBOX;
    size_t len = strlen(name);
    struct imap_folder *f = NULL;
    bool fits = l->count < IMAP_FOLDERS_MAX && l->bytes + len <= IMAP_NAMES_MAX;
    if (fits && !l->failed) f = calloc(1, sizeof *f + len + 1);
    if (f && !map_put(&l->by_name, &f->by_name, hash_of(name))) {
        free(f);
        f = NULL;
    }
    if (!f) {
        l->failed = true;
        return NULL;
    }
    memcpy(f->name, name, len + 1);
    f->name_len = len;
    *l->end = f;
    l->end = &f->next;
    l->count++;
    l->bytes += len;
    return f;
}

void imap_listing_add(struct imap_listing *l, const struct imap_listed *listed,
                      const struct imap_namespaces *spaces)
{
    const struct imap_namespace *space = imap_namespace_of(spaces, listed->name);
    if (!listed->selectable || listed->name_len == 0) return;
    if (space && !space->own && !imap_is_inbox(listed->name)) return;
    /* Who wants several attributes may get a name several times. */
    struct imap_folder *f = find(l, listed->name);
    if (!f) f = append(l, listed->name);
    if (!f) return;
    f->delimiter = listed->delimiter;
    if (listed->use) f->use = listed->use;
}

void imap_listing_subscribe(struct imap_listing *l, const char *name)
{
    struct imap_folder *f = find(l, name);
    if (f) f->subscribed = true;
}

static void remove_at(struct imap_listing *l, struct imap_folder **at)
{
    struct imap_folder *f = *at;
    *at = f->next;
    if (l->end == &f->next) l->end = at;
    map_remove(&l->by_name, &f->by_name);
    l->count--;
    free(f);
}

void imap_listing_remove(struct imap_listing *l, const char *name)
{
    struct imap_folder *f = find(l, name), **at = &l->first;
    if (!f) return;
    while (*at != f) at = &(*at)->next;
    remove_at(l, at);
}

void imap_listing_keep_subscribed(struct imap_listing *l)
{
    struct imap_folder **at = &l->first;
    while (*at) {
        if ((*at)->subscribed || imap_is_inbox((*at)->name))
            at = &(*at)->next;
        else
            remove_at(l, at);
    }
}

void imap_listing_identify(struct imap_listing *l, const struct imap_counts *c)
{
    struct imap_folder *f = find(l, c->name);
    if (!f) return;
    f->identity[0] = c->validity;
    f->identity[1] = c->id[0] ? map_hash(c->id, strlen(c->id), 0) | 1 : 0;
}

void imap_listing_end(struct imap_listing *l, const struct imap_namespaces *spaces)
{
    const struct imap_namespace *space = NULL;
    if (!find(l, INBOX)) append(l, INBOX);
    for (size_t i = 0; i < spaces->count && !space; i++)
        if (spaces->at[i].own) space = &spaces->at[i];
    if (space) memcpy(l->prefix, space->prefix, sizeof l->prefix);
}

uint64_t imap_listing_sum(const struct imap_listing *l)
{
    uint64_t sum = l->count;
    for (const struct imap_folder *f = l->first; f; f = f->next) {
        uint64_t facts[2] = {(unsigned char)f->delimiter, (uint64_t)f->use};
        sum += map_hash(facts, sizeof facts, map_hash(f->name, f->name_len, 0));
    }
    return sum;
}

/* A hash table whose nodes stand inside the things that it holds. */
#ifndef PROVOSTD_MAILBOX_MAP_H
#define PROVOSTD_MAILBOX_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct map_node {
    struct map_node *next;
    uint64_t hash;
};
/* Zeroed: empty. Not safe from several threads. */
struct map {
    struct map_node **slots;
    size_t slot_count, count;
};

/* false: no memory. */
bool map_put(struct map *m, struct map_node *n, uint64_t hash);
/* First node of that hash, and the next one of the same hash; NULL if none. Different keys may
 * share a hash: compare. */
struct map_node *map_first(const struct map *m, uint64_t hash);
struct map_node *map_next(const struct map_node *n);
void map_remove(struct map *m, struct map_node *n);
/* Every node; each may remove the node that it is given, and no other. */
void map_each(struct map *m, void (*each)(void *ctx, struct map_node *n), void *ctx);
/* Frees the table, not the nodes. */
void map_finish(struct map *m);

/* FNV-1a with a last mixing step. seed chains several pieces. */
uint64_t map_hash(const void *data, size_t len, uint64_t seed);

#endif

/* Lists on their way from the store into memory; for gate/lists*.c and load.c. */
#ifndef PROVOSTD_GATE_LISTS_READ_H
#define PROVOSTD_GATE_LISTS_READ_H

#include "src/server/gate/inner.h"
#include "src/server/gate/lists.h"

struct lists_reading {
    struct gate *g;
    struct policy_loading *policies;
    struct rules *rules;
    struct book *book; /* once it has ended well */
    uint64_t last_revision;
    char generation[LISTS_TEXT];
    bool bad_rule, bad_generation, out_of_memory;
    bool overtaken; /* ended badly, since another server has made the first policy: read again */
    const struct lists_part *const *parts;
    void *part_readings[LISTS_PARTS_MAX];
    size_t part_count;
};
/* NULL: no memory. */
struct lists_reading *lists_reading_create(struct gate *g);
void lists_reading_free(struct lists_reading *r); /* NULL is accepted */
void lists_reading_item(struct lists_reading *r, const struct item_record *item);
void lists_reading_policy(struct lists_reading *r, const struct policy_record *p);
/* Everything was read; the first start makes the policy `default`. false: error is set. */
bool lists_reading_end(struct lists_reading *r, char *error, size_t error_cap);
/* In force from now on, and who waits is woken. No shard locked. */
void lists_reading_take(struct lists_reading *r);
/* All of it in the caller's thread. NULL: error is set. */
struct lists_reading *lists_read(struct gate *g, char *error, size_t error_cap);

/* ---- lists.c ---- */
/* The same as lists_reading_take, with the generation; at the start, or with the mutex. */
void lists_take(struct gate *g, struct lists_reading *r);
size_t lists_parts(const struct gate *g, const struct lists_part *const **out);
/* A new one. */
void lists_name(char out[LISTS_TEXT]);

#endif

/* Copies of submitted changes: one block holds a submission and its strings. */
#ifndef PROVOSTD_STORE_CHANGE_H
#define PROVOSTD_STORE_CHANGE_H

#include "src/server/store/store.h"

struct submission {
    struct submission *next;
    struct store_write *write;   /* NULL: written behind */
    uint64_t position;           /* of the queue's: ascending */
    uint64_t at_ms;              /* when it was submitted */
    size_t bytes;                /* of this block */
    int rc;                      /* of the store's writer: why it is not stored */
    size_t count;
    struct store_change changes[];
};

/* A copy with all strings (NULL becomes ""), freed with free. NULL: out of memory. */
struct submission *submission_create(const struct store_change *changes, size_t count,
                                     struct store_write *w);

#endif

/* Looking after a store while it is in use. Everything here blocks, for minutes if there is much: it
 * belongs on a thread of its own. */
#ifndef PROVOSTD_STORE_UPKEEP_H
#define PROVOSTD_STORE_UPKEEP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/server/store/store.h"

enum store_outcome {
    STORE_DONE,
    STORE_NOT_HERE,   /* this kind of store has no such thing */
    STORE_IN_THE_WAY, /* a file is there already, or must not be written over */
    STORE_UNFIT,      /* the file that was given cannot be used */
    STORE_STOPPED,    /* as stop said */
    STORE_FAILED
};

/* A piece of work under way. */
struct store_work {
    /* How far it has come: "copying", done of so many; of 0: nobody knows. From the thread that works. */
    void (*step)(void *ctx, const char *what, uint64_t done, uint64_t of);
    void *ctx;
    const _Atomic bool *stop; /* set by whoever wants it to end; NULL: nobody does */
    char *error;              /* one sentence, unless it is done */
    size_t error_cap;
};

struct store_backup {
    const char *path; /* absolute; only its last part need not be there */
    bool replace;     /* what is there, if it is a file */
    /* Results. */
    uint64_t bytes, devices;
};
/* The whole store, as it is at one instant, into a file that opens as a store. It is there whole and
 * on the disk, or what was there before is. Nobody who writes is held up. */
enum store_outcome store_backup(struct store *s, struct store_backup *b,
                                const struct store_work *w);

#define STORE_FINDINGS_MAX 1000 /* that are told; all are counted */
struct store_check {
    /* What is wrong: "device ann/PHONE", and a sentence. */
    void (*found)(void *ctx, const char *where, const char *why);
    void *ctx;
    /* Results. */
    uint64_t rows, findings;
};
/* Every row of every table is read and understood, of one instant, and what they say of each other
 * holds. DONE whatever was found. */
enum store_outcome store_check(struct store *s, struct store_check *c, const struct store_work *w);
/* Counts it, and tells it if it is not one too many. */
void check_found(struct store_check *c, const char *where, const char *why);

/* What a kind of store can do of it; what it cannot is NULL. */
struct store_upkeep {
    enum store_outcome (*backup)(struct store *s, struct store_backup *b,
                                 const struct store_work *w);
    enum store_outcome (*check)(struct store *s, struct store_check *c, const struct store_work *w);
    const char *instead; /* a sentence, for what is NULL */
};

#endif

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
    /* What is wrong: "device ann/PHONE", and a sentence. bad: somebody is kept out by it, or the server from
     * starting; else it is only not as it should be. */
    void (*found)(void *ctx, bool bad, const char *where, const char *why);
    void *ctx;
    /* Results. */
    uint64_t rows, findings;
};
/* Every row of every table is read and understood, of one instant, and what they say of each other
 * holds. DONE whatever was found. */
enum store_outcome store_check(struct store *s, struct store_check *c, const struct store_work *w);
/* Counts it, and tells it if it is not one too many. */
void check_found(struct store_check *c, bool bad, const char *where, const char *why);

#define STORE_KEPT_MAX 1000 /* devices that are named */
struct store_restore {
    const char *path; /* absolute */
    bool dry_run;     /* everything but the change */
    /* Can what the file holds be used? It is brought to the present schema. false: error, one sentence. */
    bool (*fits)(void *ctx, struct store *file, char *error, size_t error_cap);
    /* The line for the audit log, to be freed, when the results are there. NULL: no memory. */
    char *(*line)(void *ctx, const struct store_restore *r);
    /* A device that does not become what the file says: its wipe or block is newer (why: wipe-pending,
     * wiped, wipe-over, blocked, quarantined), or it is blocked, for nobody knows any more of the wipe
     * that the file has pending (wipe-forgotten). */
    void (*tell)(void *ctx, const char *user, const char *device_id, const char *why);
    void *ctx;
    /* Results. */
    uint64_t devices, policies, rules; /* of the file */
    int64_t last_seen;                 /* of all its devices; 0: it has none */
    uint64_t kept, blocked;            /* devices, as above */
    uint64_t held_users;               /* that stay disabled, or not to be wiped */
    uint64_t gone, other_keys;         /* devices that are not in the file, or with another key */
};
/* What the file of a backup says takes the place of what is there, at one instant and while everything goes
 * on. The audit log, events and tokens stay, and what is stricter than the file. What is in memory is
 * told to be out of date (store_follower). UNFIT: the file is refused, nothing has changed. */
enum store_outcome store_restore(struct store *s, struct store_restore *r,
                                 const struct store_work *w);

/* What a kind of store can do of it; what it cannot is NULL. */
struct store_upkeep {
    enum store_outcome (*backup)(struct store *s, struct store_backup *b,
                                 const struct store_work *w);
    enum store_outcome (*restore)(struct store *s, struct store_restore *r,
                                  const struct store_work *w);
    enum store_outcome (*check)(struct store *s, struct store_check *c, const struct store_work *w);
    const char *instead; /* a sentence, for what is NULL */
};

#endif

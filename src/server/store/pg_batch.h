/* Submissions as one transaction: changes into statements, in an order that is the same everywhere. */
#ifndef PROVOSTD_STORE_PG_BATCH_H
#define PROVOSTD_STORE_PG_BATCH_H

#include "src/server/store/pg.h"

/* ---- pg_batch.c ---- */
struct pg_entry {
    struct submission *sub;
    bool settled;                     /* outcome says how */
    enum outcome outcome;
};
enum pg_end {
    PG_END_DURABLE,                   /* all of them are */
    PG_END_DROPPED,                   /* nothing is; some are settled now, try the others again */
    PG_END_AGAIN,                     /* nothing is, by no fault of theirs: try again */
    PG_END_LOCKED,                    /* nothing is: somebody else holds a lock for long */
    PG_END_REFUSED,                   /* nothing is, and trying again is useless for now */
    PG_END_BROKEN,                    /* nothing is: the connection went */
    PG_END_LOST                       /* the connection went while it was committed */
};
/* Those that are not settled, of a connected writer; what becomes of them is in the entries, but for
 * those that are to be tried again. hurry: who holds a lock is not waited for. */
enum pg_end pg_transaction(struct pg_store *s, struct pg_entry *entries, size_t count, bool hurry);
/* Reads what is left of it: the answers that nobody waits for. false: the connection went. */
bool pg_transaction_end(struct pg_store *s);

/* ---- pg_order.c: which rows a change is about ---- */
enum pg_kind { PG_OF_LISTS, PG_OF_USER, PG_OF_LOGS }; /* as they are locked; as in the table change */
struct pg_step {
    enum pg_kind kind;
    bool told;                        /* other servers must know */
    const char *a, *b;                /* user and device, or kind and name; borrowed */
    size_t a_len;
    size_t order;                     /* of submission */
    struct pg_entry *entry;
    const struct store_change *change;
};
struct pg_step pg_step_of(const struct store_change *c);
/* Lists first, then users by name, then logs; of one row, as they were submitted. Servers that change
 * the same rows so lock them in one order. */
void pg_sort(struct pg_step *steps, size_t count);

/* ---- pg_info.c: DeviceInformation, read before it is merged ---- */
struct pg_info {
    const char *user, *device_id;     /* borrowed */
    char *info, *history;             /* as they are in the transaction by now */
};
struct pg_infos {
    struct pg_info *rows;             /* by user and device_id */
    size_t count;
};
/* What the steps merge into. false: no memory. */
bool pg_infos_collect(struct pg_infos *all, const struct pg_step *steps, size_t count);
void pg_infos_finish(struct pg_infos *all);
/* The texts are taken; NULL: no memory. */
bool pg_infos_set(struct pg_info *row, const char *info, const char *history);
/* A change of one row; info is NULL if nothing is different. */
struct pg_info_change {
    const char *info, *history;       /* borrowed */
    char *was_info, *was_history;
};
bool pg_infos_merge(struct pg_infos *all, const struct info_record *r, struct pg_info_change *out);
void pg_info_change_finish(struct pg_info_change *change);
/* The device (NULL: every one) of the user is removed. */
bool pg_infos_forget(struct pg_infos *all, const char *user, const char *device_id);

/* ---- pg_apply.c ---- */
enum pg_expect {
    PG_ANY,
    PG_ONE,                           /* row, else it is a conflict */
    PG_NONE,                          /* no row, else it is a conflict */
    PG_ONE_OR_AGAIN                   /* row, else the transaction is to be tried again */
};
struct pg_apply {
    struct pg_link *link;
    struct pg_infos *infos;
    /* Called for each statement that was sent, in order. false: no memory. */
    bool (*sent)(void *ctx, enum pg_expect expect);
    void *ctx;
};
/* false: no memory, or no connection. */
bool pg_apply_change(struct pg_apply *a, const struct store_change *c);

#endif

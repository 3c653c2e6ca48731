/* What an upstream claims of devices: its policy, beside which ours goes on. Each is kept once however
 * many devices it is claimed of, and so is what it makes of a policy of ours. */
#ifndef PROVOSTD_GATE_CLAIM_H
#define PROVOSTD_GATE_CLAIM_H

#include "src/server/gate/policies/policies.h"

#define CLAIMS_MAX 1024 /* different ones: an upstream could make one for each device */
#define CLAIMS_BYTES_MAX ((size_t)16 << 20)
#define CLAIM_NAME 33
#define CLAIM_UPSTREAM_MAX 512 /* bytes of its name that are shown, terminator included */
#define CLAIM_KIND "claim" /* of the store's items */

struct claims;
struct merged; /* a policy of ours, with what this makes of it */

/* Guarded by the mutex of all; what is not private never changes. */
struct claim {
    struct claim *next;    /* private: in its bucket */
    struct claims *all;    /* private */
    unsigned holders;      /* private */
    bool written;          /* private: the store has it for sure */
    struct saved *saved;   /* the policy as it came, and as text; NULL: the upstream has none */
    struct merged *merged; /* private */
    size_t merged_count;   /* private */
    char name[CLAIM_NAME]; /* in the store: a hash of the rest */
    char upstream[];       /* who claims it */
};

/* NULL: no memory. */
struct claims *claims_create(void);
void claims_destroy(struct claims *all); /* nobody holds one any more; NULL is accepted */

/* The claim of an upstream, held. policy NULL: it has none. GATE_OK; GATE_INVALID (longer lists than
 * a policy may have, entries that our own could not have, too many different claims), GATE_STORE (no
 * memory). */
enum gate_result claims_take(struct claims *all, const char *upstream,
                             const struct pv_policy *policy, struct claim **out);
/* The same from the store, which has it. */
enum gate_result claims_load(struct claims *all, const char *json, struct claim **out);
/* By its name in the store, held; NULL: there is none. */
struct claim *claims_find(struct claims *all, const char *name);
struct claim *claim_hold(struct claim *c);
/* The last one frees it. The store keeps it: who is not in memory may be bound by it. */
void claim_release(struct claim *c); /* NULL is accepted */
/* As the store keeps it, if it must be told; *json_out is freed by the caller, NULL: it knows. false:
 * no memory. The caller queues it in one transaction with what refers to it, and says when that is
 * durable. */
bool claim_to_write(struct claim *c, char **json_out);
void claim_written(struct claim *c);

/* What a policy of ours is for a device of which that is claimed; plain itself if nothing is. Lives as
 * long as plain is held. NULL: no memory. */
struct revision *claim_over(struct claim *c, struct revision *plain);
/* What was made of policies that are no longer in force goes. */
void claims_prune(struct claims *all);

#endif

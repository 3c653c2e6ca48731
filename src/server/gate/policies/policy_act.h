/* One change of policies on its way. */
#ifndef PROVOSTD_GATE_POLICY_ACT_H
#define PROVOSTD_GATE_POLICY_ACT_H

#include "src/server/gate/inner.h"
#include "src/server/gate/lists.h"

#define ACT_CHANGES 4 /* revision, item, audit line, generation */

struct act {
    struct ticket ticket; /* first: the ticket is the act */
    struct gate *g;
    struct policy_change *c;
    struct lists_waiter waiter;
    struct lists_guard guard; /* of old */
    struct book *old, *book; /* in force, to be in force */
    const char *user;        /* only this one's devices can be concerned; NULL: all */
    struct effect effect;
    struct job job; /* that counts */
    bool counted;
    int64_t now;
    struct saved *saved; /* new revision; NULL: none */
    struct store_change changes[ACT_CHANGES];
    size_t count;
    char *texts[ACT_CHANGES]; /* of the changes, owned */
    size_t text_count;
};

/* ---- policy_plan.c ---- */
/* The draft a->book changed as a->c wants it, and what is to be stored. GATE_OK: there is something
 * to do, if the book can be finished. */
enum gate_result act_plan(struct act *a);

#endif

/* Policies in force: revisions with what the gate must know of them, worked out once. */
#ifndef PROVOSTD_GATE_POLICIES_H
#define PROVOSTD_GATE_POLICIES_H

#include <stdatomic.h>

#include "src/server/gate/gate.h"

#define POLICY_DEFAULT "default"
#define POLICY_NAME_MAX 64         /* bytes, terminator included */

/* One saved state of a policy. Never changed after it was made; held by all that use it. */
struct revision {
    atomic_uint holders;
    uint64_t id;                   /* unique over all policies, ascending */
    int64_t at;
    char name[POLICY_NAME_MAX];
    struct pv_arena arena;         /* of the policy's lists */
    struct pv_policy policy;
    char *settings_json;           /* as it is stored */
    struct pv_policy_facts facts[PV_VERSION_COUNT];
    size_t answer_size[PV_VERSION_COUNT]; /* bytes of a Provision answer that carries it */
};

/* What is to become a revision. */
struct revision_draft {
    const char *name;
    uint64_t id;
    int64_t at;
    const struct pv_policy *base;  /* NULL: nothing set */
    const struct gate_setting *settings;
    size_t count;
};

/* Set, check, encode for every version. GATE_OK, GATE_INVALID (message: one sentence that names
 * setting, value and range), GATE_STORE (out of memory). */
enum gate_result revision_create(const struct revision_draft *draft, struct revision **out,
                                 char *message, size_t message_cap);
/* From the store. */
enum gate_result revision_load(const struct policy_record *record, struct revision **out,
                               char *message, size_t message_cap);
struct revision *revision_hold(struct revision *r);
void revision_release(struct revision *r); /* NULL is accepted */
/* Would a device of that version, or how it is treated, notice the difference? */
bool revision_differs(const struct revision *a, const struct revision *b, enum pv_version version);

/* The current revision of every policy. Immutable: a change makes a new book, which takes the
 * place of the old. */
struct book {
    atomic_uint holders;
    size_t count;
    struct revision *current[];    /* by name */
};
/* A book like old (may be NULL), with r as the current revision of its policy. Holds what is in
 * it. NULL: memory. */
struct book *book_with(const struct book *old, struct revision *r);
struct revision *book_find(const struct book *b, const char *name);
struct book *book_hold(struct book *b);
void book_release(struct book *b); /* NULL is accepted */
/* The policy that applies to a device: in this version everybody's. Never NULL once `default` is
 * in the book. */
struct revision *policy_for(const struct book *b, const char *user, const char *device_id);

#endif

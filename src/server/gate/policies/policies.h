/* Policies: what was saved of them, and what the gate must know of one in force, worked out once. */
#ifndef PROVOSTD_GATE_POLICIES_H
#define PROVOSTD_GATE_POLICIES_H

#include <stdatomic.h>

#include "src/server/gate/gate.h"

#define POLICY_DEFAULT "default"
#define POLICY_NAME_MAX 64 /* bytes, terminator included */
#define POLICY_BY_MAX 160  /* the same */

/* One saved revision of a policy: its own settings. Never changed after it was made; held by all
 * that use it. */
struct saved {
    atomic_uint holders;
    uint64_t id; /* unique over all policies, ascending */
    int64_t at;
    char name[POLICY_NAME_MAX];
    char parent[POLICY_NAME_MAX]; /* policy that it inherits from; "": none */
    char by[POLICY_BY_MAX];
    struct pv_arena arena; /* of the policy's lists */
    struct pv_policy policy;
    char *settings_json; /* as it is stored */
};

/* What is to become one. */
struct saved_draft {
    const char *name, *parent, *by;
    uint64_t id;
    int64_t at;
    const struct pv_policy *base; /* NULL: nothing set */
    const struct gate_setting *settings;
    size_t count;
};

/* GATE_OK, GATE_INVALID (message: one sentence that names setting, value and range), GATE_STORE
 * (out of memory). */
enum gate_result saved_create(const struct saved_draft *draft, struct saved **out, char *message,
                              size_t message_cap);
/* From the store. */
enum gate_result saved_load(const struct policy_record *record, struct saved **out, char *message,
                            size_t message_cap);
struct saved *saved_hold(struct saved *s);
void saved_release(struct saved *s); /* NULL is accepted */

/* What a policy amounts to with all that it inherits. Never changed after it was made; held by all
 * that use it. */
struct revision {
    atomic_uint holders;
    uint64_t id;                /* of the newest saved revision in its line */
    const struct saved *newest; /* that one */
    const char *name;
    struct saved *own;     /* held */
    struct revision *base; /* what it inherits, held; NULL: nothing */
    struct pv_arena arena; /* of the policy's lists */
    struct pv_policy policy;
    struct pv_policy_facts facts[PV_VERSION_COUNT];
    size_t answer_size[PV_VERSION_COUNT]; /* bytes of a Provision answer that carries it */
    bool closed; /* of revision_merge: it cannot be said, so no version may be let in with it */
};

/* Own settings over what base (may be NULL) amounts to; checked and encoded for every version.
 * Results as of saved_create. */
enum gate_result revision_create(struct saved *own, struct revision *base, struct revision **out,
                                 char *message, size_t message_cap);
/* The stricter of each setting of plain and of what somebody else demands, under the name, the id and
 * the treatments of plain; but a device without a key is never let in, since the other would not do it.
 * Two that cannot be met together are closed. GATE_OK or GATE_STORE (no memory). */
enum gate_result revision_merge(struct revision *plain, const struct pv_policy *demanded,
                                struct revision **out);
struct revision *revision_hold(struct revision *r);
void revision_release(struct revision *r); /* NULL is accepted */
/* Would a device of that version, or how it is treated, notice the difference? */
bool revision_differs(const struct revision *a, const struct revision *b, enum pv_version version);
/* Name of the policy in r's line that sets a setting; NULL: none does. */
const char *revision_source(const struct revision *r, enum pv_setting setting);

#endif

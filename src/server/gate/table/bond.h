/* What binds a device to its upstream: what that claims of it, and the key that it has given for it.
 * Devices before an upstream that demands nothing have none. Guarded by the mutex of the shard. */
#ifndef PROVOSTD_GATE_BOND_H
#define PROVOSTD_GATE_BOND_H

#include "src/server/gate/policies/claim.h"

struct device;

struct bond {
    struct bond *next;           /* private: in its bucket */
    const struct device *device; /* private */
    struct claim *claim;         /* held */
    uint32_t key;                /* policy key of the upstream; 0: none */
    uint64_t told;               /* id of the wipe whose end the upstream was told last; 0: none */
};

/* Zeroed: none. */
struct bonds {
    struct bond **buckets;
    size_t mask, count;
};

struct bond *bond_find(const struct bonds *all, const struct device *d); /* NULL: none */
/* Room for one more, so that bond_put cannot fail. false: no memory. */
bool bonds_reserve(struct bonds *all);
/* b becomes the bond of the device; what it was before is given back, or NULL. */
struct bond *bond_put(struct bonds *all, struct bond *b, const struct device *d);
struct bond *bond_pull(struct bonds *all, const struct device *d); /* out of it; NULL: none */
void bond_free(struct bond *b);                                    /* NULL is accepted */
void bonds_finish(struct bonds *all);                              /* the last bond is out */

#endif

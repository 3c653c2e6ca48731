/* Roll-outs: who has a candidate revision. */
#include <stdlib.h>
#include <string.h>

#include "src/server/gate/policies/book.h"

struct roll *roll_create(unsigned percent, const char *const *groups, size_t count)
{
    size_t size = sizeof(struct roll) + count * sizeof(char *);
    for (size_t i = 0; i < count; i++) size += strlen(groups[i]) + 1;
    struct roll *r = malloc(size);
    if (!r) return NULL;
    atomic_init(&r->holders, 1);
    r->percent = percent;
    r->count = count;
    char *at = (char *)(r->groups + count);
    for (size_t i = 0; i < count; i++) {
        size_t len = strlen(groups[i]) + 1;
        r->groups[i] = memcpy(at, groups[i], len);
        at += len;
    }
    return r;
}

struct roll *roll_hold(struct roll *r)
{
    atomic_fetch_add_explicit(&r->holders, 1, memory_order_relaxed);
    return r;
}

void roll_release(struct roll *r)
{
    if (r && atomic_fetch_sub_explicit(&r->holders, 1, memory_order_acq_rel) == 1) free(r);
}

/* FNV-1a with the end of the text, so that ("ab", "c") is not ("a", "bc"). */
static uint64_t mix(uint64_t h, const char *text)
{
    do h = (h ^ (unsigned char)*text) * 0x100000001b3;
    while (*text++);
    return h;
}

/* Kept from version to version: a restart or an upgrade takes the revision from nobody. The policy
 * has a part in it, so that it is not always the same people who go first. */
bool roll_share_has(const char *policy, unsigned percent, const char *user, const char *device_id)
{
    uint64_t h = mix(mix(mix(0xcbf29ce484222325, policy), user), device_id);
    h ^= h >> 33; /* MurmurHash3's end: FNV spreads the last bytes over few bits */
    h *= 0xff51afd7ed558ccd;
    h ^= h >> 33;
    h *= 0xc4ceb9fe1a85ec53;
    h ^= h >> 33;
    return h % 100 < percent;
}

/* What a device sees of a policy, and what a change of it means. */
#include <string.h>

#include "src/lib/base/bytes.h"
#include "src/lib/base/sha256.h"
#include "src/lib/policy/settings.h"

bool pv_policy_carries(const struct pv_policy *policy, enum pv_setting s, enum pv_version v)
{
    const struct pv_setting_info *info = &pv__settings[s];

    if (info->treatment) return false;
    if (v >= PV_V12_0) return v >= info->first;
    /* The WAP document ends where no password is asked for: clients read no further. */
    return info->wap && (s == PV_SET_DevicePasswordEnabled ||
                         pv_policy_value(policy, PV_SET_DevicePasswordEnabled));
}

int64_t pv__policy_seen(const struct pv_policy *policy, enum pv_setting s, enum pv_version v)
{
    int64_t value = pv_policy_value(policy, s);

    if (!pv_policy_carries(policy, s, v)) return pv__settings[s].unset;
    if (v == PV_V2_5 && s == PV_SET_MaxInactivityTimeDeviceLock && value != PV_NO_LIMIT)
        return pv__wap_seconds(pv__wap_minutes(value));
    return value;
}

bool pv__policy_demands(const struct pv_policy *policy, enum pv_setting s)
{
    const struct pv_setting_info *info = &pv__settings[s];

    //= MS-ASPROV 3.1.5.1: without DevicePasswordEnabled the client ignores the password settings
    if (info->treatment ||
        (info->password && !pv_policy_value(policy, PV_SET_DevicePasswordEnabled)))
        return false;
    return pv_policy_value(policy, s) != info->unset;
}

size_t pv_policy_uncarried(const struct pv_policy *policy, enum pv_version version,
                           enum pv_setting *out, size_t cap)
{
    size_t count = 0;

    for (unsigned i = 0; i < PV_WIRE_SETTING_COUNT; i++) {
        enum pv_setting s = (enum pv_setting)i;
        if (!pv__policy_demands(policy, s) || pv_policy_carries(policy, s, version)) continue;
        if (count < cap) out[count] = s;
        count++;
    }
    return count;
}

/* Both sorted: is every entry of a in b? */
static bool within(const struct pv_list *a, const struct pv_list *b)
{
    size_t at = 0;

    for (size_t i = 0; i < a->count; i++) {
        while (at < b->count && strcmp(b->items[at], a->items[i]) < 0) at++;
        if (at == b->count || strcmp(b->items[at], a->items[i])) return false;
    }
    return true;
}

static enum pv_change compare_lists(const struct pv_policy *old, const struct pv_policy *new_,
                                    enum pv_setting s)
{
    static const struct pv_list none;
    const struct pv_list *a = pv__is_set(old, s) ? pv__list(old, s) : &none;
    const struct pv_list *b = pv__is_set(new_, s) ? pv__list(new_, s) : &none;
    bool grown = within(a, b), shrunk = within(b, a);

    if (grown && shrunk) return PV_SAME;
    if (pv__settings[s].stricter == PV_STRICTER_LISTED)
        return grown ? PV_STRICTER : shrunk ? PV_LOOSER : PV_DIFFERENT;
    /* Without a list of approved programs every program may run. */
    if (a->count == 0) return PV_STRICTER;
    if (b->count == 0) return PV_LOOSER;
    return shrunk ? PV_STRICTER : grown ? PV_LOOSER : PV_DIFFERENT;
}

static enum pv_change compare_one(const struct pv_policy *old, const struct pv_policy *new_,
                                  enum pv_setting s, enum pv_version version)
{
    const struct pv_setting_info *info = &pv__settings[s];
    int64_t a, b;

    if (info->kind == PV_SETTING_LIST)
        return version >= info->first ? compare_lists(old, new_, s) : PV_SAME;
    a = pv__policy_seen(old, s, version);
    b = pv__policy_seen(new_, s, version);
    if (a == b) return PV_SAME;
    switch (info->stricter) {
    case PV_STRICTER_HIGHER: return b > a ? PV_STRICTER : PV_LOOSER;
    case PV_STRICTER_LOWER: return b < a ? PV_STRICTER : PV_LOOSER;
    default: return PV_DIFFERENT;
    }
}

enum pv_change pv_policy_compare(const struct pv_policy *old, const struct pv_policy *new_,
                                 enum pv_version version,
                                 enum pv_change change_out[PV_SETTING_COUNT])
{
    enum pv_change whole = PV_SAME;

    for (unsigned i = 0; i < PV_SETTING_COUNT; i++) {
        enum pv_change one = pv__settings[i].treatment
                                 ? PV_SAME
                                 : compare_one(old, new_, (enum pv_setting)i, version);
        if (change_out) change_out[i] = one;
        if (whole == PV_SAME)
            whole = one;
        else if (one != PV_SAME && one != whole)
            whole = PV_DIFFERENT;
    }
    return whole;
}

/* Enough for every element with the longest number, or for the WAP document, and the lists. */
static size_t encoded_most(const struct pv_policy *policy)
{
    const struct pv_list *lists[] = {&policy->unapproved, &policy->approved};
    size_t most = 4096;

    for (size_t l = 0; l < 2; l++)
        for (size_t i = 0; i < lists[l]->count; i++) most += strlen(lists[l]->items[i]) + 4;
    return most;
}

enum pv_err pv_policy_hash(const struct pv_policy *policy, enum pv_version version,
                           struct pv_arena *scratch, uint8_t hash_out[PV_HASH_LEN])
{
    struct pv_wbxml_writer w;
    uint8_t digest[32];
    size_t cap = encoded_most(policy), len, mark = scratch->used;
    uint8_t *buf = PV_NEW(scratch, uint8_t, cap);
    enum pv_err err;

    if (!buf) return PV_E_NOMEM;
    pv_wbxml_begin(&w, buf, cap);
    pv_wbxml_start(&w, PV_Provision_Data);
    pv_policy_write(policy, version, &w);
    pv_wbxml_end(&w);
    err = pv_wbxml_finish(&w, &len);
    if (!err) {
        pv__sha256(buf, len, digest);
        memcpy(hash_out, digest, PV_HASH_LEN);
    }
    scratch->used = mark;
    return err;
}

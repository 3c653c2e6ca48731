/* The stricter of two policies, setting by setting. */
#include <string.h>

#include "src/lib/base/bytes.h"
#include "src/lib/policy/settings.h"

/* A policy as it is merged: what it sets without effect is left out. */
struct side {
    const struct pv_policy *policy;
    bool passwords; /* its password settings count */
};

static bool counts(const struct side *side, enum pv_setting s)
{
    return pv__is_set(side->policy, s) && (side->passwords || !pv__settings[s].password);
}

static int64_t value_of(const struct side *side, enum pv_setting s)
{
    return counts(side, s) ? pv_policy_value(side->policy, s) : pv__settings[s].unset;
}

/* Many devices read a lock time of 0 as none at all: it gives way to any time that is one. */
static int64_t shorter_lock(int64_t a, int64_t b)
{
    if (a == 0 || b == 0) {
        int64_t other = a == 0 ? b : a;
        return other == PV_NO_LIMIT ? 0 : other;
    }
    return a < b ? a : b;
}

static int64_t stricter_number(enum pv_setting s, int64_t a, int64_t b)
{
    const struct pv_setting_info *info = &pv__settings[s];

    if (s == PV_SET_MaxInactivityTimeDeviceLock) return shorter_lock(a, b);
    switch (info->stricter) {
    case PV_STRICTER_HIGHER: return a > b ? a : b;
    case PV_STRICTER_LOWER: return a < b ? a : b;
    default: return a == b ? a : info->unset;
    }
}

/* Entries of both, or those that are in both; sorted, as they are. */
static enum pv_err merge_lists(const struct pv_list *a, const struct pv_list *b, bool all,
                               struct pv_arena *arena, struct pv_list *out)
{
    size_t i = 0, j = 0, count = 0;
    const char **items;

    *out = (struct pv_list){0};
    if (a->count + b->count == 0) return PV_OK;
    items = PV_NEW(arena, const char *, a->count + b->count);
    if (!items) return PV_E_NOMEM;
    while (i < a->count || j < b->count) {
        int order = i == a->count ? 1 : j == b->count ? -1 : strcmp(a->items[i], b->items[j]);
        const char *item = order <= 0 ? a->items[i] : b->items[j];
        i += order <= 0;
        j += order >= 0;
        if (order != 0 && !all) continue;
        if (count == PV_LIST_MAX) return PV_E_TOOBIG;
        items[count] = pv_strndup(arena, item, strlen(item));
        if (!items[count++]) return PV_E_NOMEM;
    }
    *out = (struct pv_list){.items = items, .count = count};
    return PV_OK;
}

static enum pv_err merge_list(const struct side *x, const struct side *y, enum pv_setting s,
                              struct pv_arena *arena, struct pv_policy *out)
{
    static const struct pv_list none;
    const struct pv_list *a = counts(x, s) ? pv__list(x->policy, s) : &none;
    const struct pv_list *b = counts(y, s) ? pv__list(y->policy, s) : &none;
    bool listed = pv__settings[s].stricter == PV_STRICTER_LISTED;
    struct pv_list merged;

    /* Without a list every program may run, so the other one decides. */
    PV_TRY(merge_lists(a, b, listed || !a->count || !b->count, arena, &merged));
    if (merged.count == 0 && a->count && b->count) return PV_E_RANGE;
    if (merged.count == 0) return PV_OK;
    pv__list_put(out, s, merged);
    out->set |= UINT64_C(1) << s;
    return PV_OK;
}

enum pv_err pv_policy_stricter(const struct pv_policy *a, const struct pv_policy *b,
                               struct pv_arena *arena, struct pv_policy *out)
{
    //= MS-ASPROV 3.1.5.1: without DevicePasswordEnabled the client ignores the password settings
    bool of_a = pv_policy_value(a, PV_SET_DevicePasswordEnabled) != 0;
    bool of_b = pv_policy_value(b, PV_SET_DevicePasswordEnabled) != 0;
    const struct side x = {a, of_a || !of_b}, y = {b, of_b || !of_a};
    struct pv_policy merged = {0};

    for (unsigned i = 0; i < PV_WIRE_SETTING_COUNT; i++) {
        enum pv_setting s = (enum pv_setting)i;
        int64_t value;

        if (pv__settings[i].kind == PV_SETTING_LIST) {
            PV_TRY(merge_list(&x, &y, s, arena, &merged));
            continue;
        }
        if (!counts(&x, s) && !counts(&y, s)) continue;
        value = stricter_number(s, value_of(&x, s), value_of(&y, s));
        merged.value[s] = value == PV_NO_LIMIT ? pv__settings[s].no_limit : value;
        merged.set |= UINT64_C(1) << s;
    }
    if (pv_policy_check(&merged, NULL, 0)) return PV_E_TOOBIG;
    *out = merged;
    return PV_OK;
}

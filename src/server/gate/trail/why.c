#include "src/server/gate/trail/why.h"

#include <stdio.h>
#include <string.h>

#include "src/server/gate/order.h"
#include "src/server/observe/when.h"

static const struct {
    const char *name, *sentence, *advice;
} causes[WHY_CAUSE_COUNT] = {
#define WHY_ROW(id, name, sentence, advice) {name, sentence, advice},
    WHY_CAUSES(WHY_ROW)
#undef WHY_ROW
};

const char *why_cause_name(enum why_cause cause)
{
    return causes[cause].name;
}

/* ---- the cause ---- */
/* What the last trouble of a trail amounts to; COUNT: it says nothing by itself. */
static const uint8_t by_reason[PV_REASON_COUNT] = {
    [PV_WHY_OK] = WHY_CAUSE_COUNT,
    [PV_WHY_NO_KEY] = WHY_NO_KEY,
    [PV_WHY_KEY_ZERO] = WHY_KEY_ZERO,
    [PV_WHY_OFFER_KEY] = WHY_OFFER_KEY,
    [PV_WHY_WRONG_KEY] = WHY_WRONG_KEY,
    [PV_WHY_POLICY_CHANGED] = WHY_POLICY_CHANGED,
    [PV_WHY_REFRESH_INTERVAL] = WHY_REFRESH_DUE,
    [PV_WHY_NOT_PROVISIONED] = WHY_NOT_PROVISIONED,
    [PV_WHY_NON_PROVISIONABLE] = WHY_IN_WITHOUT_KEY,
    [PV_WHY_UNCARRIED] = WHY_UNCARRIED,
    [PV_WHY_PARTIAL_REFUSED] = WHY_PARTIAL_REFUSED,
    [PV_WHY_NOT_APPLIED_REFUSED] = WHY_NOT_APPLIED_REFUSED,
    [PV_WHY_EXTERNAL_REFUSED] = WHY_EXTERNAL_REFUSED,
    [PV_WHY_UNKNOWN_OFFER] = WHY_UNKNOWN_OFFER,
    [PV_WHY_OFFER_EXPIRED] = WHY_OFFER_EXPIRED,
    [PV_WHY_REPEATED_ACK] = WHY_CAUSE_COUNT,
    [PV_WHY_UNKNOWN_TYPE] = WHY_UNKNOWN_TYPE,
    [PV_WHY_NO_DEVICE_INFO] = WHY_NO_DEVICE_INFO,
    [PV_WHY_BAD_REQUEST] = WHY_BAD_REQUEST,
    /* What keeps a device out now is told by its state; these are of the past. */
    [PV_WHY_BLOCKED] = WHY_CAUSE_COUNT,
    [PV_WHY_LOOP] = WHY_CAUSE_COUNT,
    [PV_WHY_QUARANTINED] = WHY_CAUSE_COUNT,
    [PV_WHY_WIPE] = WHY_CAUSE_COUNT,
    [PV_WHY_WIPED] = WHY_CAUSE_COUNT,
    [PV_WHY_WIPE_EXPIRED] = WHY_CAUSE_COUNT,
    [PV_WHY_NO_WIPE] = WHY_CAUSE_COUNT,
};

static enum why_cause cause_of_wipe(const struct device_view *d)
{
    if (d->wipe_state == PV_WIPE_STATE_FAILED) return WHY_WIPE_FAILED;
    bool unknown = d->wipe == PV_WIPE_ACCOUNT && d->version < PV_V16_1;
    return unknown ? WHY_WIPE_WAITS : WHY_WIPE_PENDING;
}

static enum why_cause cause_of_block(const struct device_view *d)
{
    static const struct {
        const char *by;
        enum why_cause cause;
    } rows[] = {
        {"loop", WHY_BLOCKED_LOOP},
        {"personal", WHY_BLOCKED_PERSONAL},
        {"limit devices_per_user", WHY_BLOCKED_DEVICES},
        {"limit version", WHY_BLOCKED_VERSION},
    };
    if (d->shut) return WHY_WIPE_EXPIRED;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (strcmp(d->access_by, rows[i].by) == 0) return rows[i].cause;
    return WHY_BLOCKED_RULE;
}

/* The newest step that was in vain since a command last passed or a policy was confirmed; NULL:
 * none. */
static const struct trail_entry *last_trouble(const struct trail_copy *t)
{
    for (uint8_t n = t->count; n > 0; n--) {
        const struct trail_entry *e = &t->entries[n - 1];
        if (e->step == TRAIL_LET_IN || e->step == TRAIL_CONFIRMED) return NULL;
        if (e->step != TRAIL_OFFERED && by_reason[e->reason] != WHY_CAUSE_COUNT) return e;
    }
    return NULL;
}

/* By what was in vain; otherwise: there was nothing. */
static enum why_cause cause_of_trouble(const struct device_view *d, const struct trail_copy *t,
                                       enum why_cause otherwise)
{
    const struct trail_entry *e = last_trouble(t);
    /* Who was seen since without trouble came in: after a restart no step tells it. */
    bool over = e && d->state == PV_STATE_PROVISIONED && d->last_seen > e->last;
    if (!e || over) return otherwise;
    enum why_cause cause = (enum why_cause)by_reason[e->reason];
    bool keys = cause == WHY_WRONG_KEY || cause == WHY_UNKNOWN_OFFER || cause == WHY_OFFER_KEY;
    return keys && d->clone_returns >= TRAIL_CLONE_RETURNS ? WHY_SHARED_ID : cause;
}

static enum why_cause cause_of_refusal(const struct device_view *d, const struct trail_copy *t)
{
    static const enum why_cause said[] = {
        [2] = WHY_PARTIAL_REFUSED, [3] = WHY_NOT_APPLIED_REFUSED, [4] = WHY_EXTERNAL_REFUSED};
    if (d->outcome == PV_OUTCOME_REFUSED && d->said >= 2 && d->said <= 4) return said[d->said];
    return cause_of_trouble(d, t, WHY_UNCARRIED);
}

/* It has an offer: what it sends in commands follows from that it has not acknowledged. */
static enum why_cause cause_of_offer(const struct device_view *d, const struct trail_copy *t)
{
    enum why_cause cause = cause_of_trouble(d, t, WHY_OFFERED);
    bool follows = cause == WHY_NO_KEY || cause == WHY_KEY_ZERO || cause == WHY_NOT_PROVISIONED;
    return follows ? WHY_OFFERED : cause;
}

static enum why_cause cause_of(const struct device_view *d, const struct trail_copy *t)
{
    if (d->user_disabled) return WHY_USER_DISABLED;
    switch (d->state) {
    case PV_STATE_WIPE_PENDING: return cause_of_wipe(d);
    case PV_STATE_WIPED: return WHY_WIPED;
    case PV_STATE_BLOCKED: return cause_of_block(d);
    default: break;
    }
    if (d->slowed_by) return WHY_SLOWED;
    switch (d->state) {
    case PV_STATE_QUARANTINED: return WHY_QUARANTINED;
    case PV_STATE_PROVISIONED: return cause_of_trouble(d, t, WHY_IN_ORDER);
    case PV_STATE_REFRESH_DUE: return cause_of_trouble(d, t, WHY_POLICY_CHANGED);
    case PV_STATE_REFUSED: return cause_of_refusal(d, t);
    case PV_STATE_OFFERED: return cause_of_offer(d, t);
    default: break;
    }
    if (!d->last_seen) return WHY_NEVER_SEEN;
    return cause_of_trouble(d, t,
                            d->outcome == PV_OUTCOME_NON_PROVISIONABLE ? WHY_IN_WITHOUT_KEY
                                                                       : WHY_NOT_PROVISIONED);
}

/* ---- the texts ---- */
struct known {
    const struct device_view *d;
    char wipe_id[ORDER_WIPE_ID_TEXT], loop_until[WHEN_TEXT], uncarried[256];
};

static void list_uncarried(const struct device_view *d, char *buf, size_t cap)
{
    enum pv_setting names[8];
    size_t all = d->settings ? pv_policy_uncarried(d->settings, d->version, names, 8) : 0, at = 0;
    buf[0] = '\0';
    for (size_t i = 0; i < all && i < 8 && at < cap; i++)
        at += (size_t)snprintf(buf + at, cap - at, "%s%s", i ? ", " : "",
                               pv_setting_info(names[i])->name);
    if (all > 8 && at < cap) snprintf(buf + at, cap - at, " and %zu more", all - 8);
}

/* NULL: no such placeholder. */
static const char *value_of(const struct known *k, const char *name, size_t len)
{
    const struct device_view *d = k->d;
    const struct {
        const char *name, *value;
    } rows[] = {
        {"user", d->user},
        {"device", d->device_id},
        {"policy", d->policy},
        {"version", pv_version_text(d->version)},
        {"access_by", d->access_by},
        {"wipe_id", k->wipe_id},
        {"wipe_by", d->wipe_by},
        {"wipe_kind", d->wipe == PV_WIPE_DEVICE ? "whole device" : "account"},
        {"loop_until", k->loop_until},
        {"slowed_by", d->slowed_by ? d->slowed_by : ""},
        {"uncarried", k->uncarried},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (strlen(rows[i].name) == len && strncmp(rows[i].name, name, len) == 0)
            return rows[i].value;
    return NULL;
}

static void expand(const struct known *k, const char *text, char out[WHY_TEXT_MAX])
{
    size_t at = 0;
    while (*text && at < WHY_TEXT_MAX - 1) {
        const char *end = *text == '{' ? strchr(text, '}') : NULL;
        const char *value = end ? value_of(k, text + 1, (size_t)(end - text - 1)) : NULL;
        int n = value ? snprintf(out + at, WHY_TEXT_MAX - at, "%s", value) : 1;
        if (!value) out[at] = *text;
        at += (size_t)n;
        text = value ? end + 1 : text + 1;
    }
    out[at < WHY_TEXT_MAX ? at : WHY_TEXT_MAX - 1] = '\0';
}

void why_explain(const struct device_view *d, const struct trail_copy *t, struct why *out)
{
    struct known k = {.d = d};
    out->cause = cause_of(d, t);
    wipe_id_text(d->wipe_id, k.wipe_id);
    when_text(d->loop_until, k.loop_until);
    list_uncarried(d, k.uncarried, sizeof k.uncarried);
    expand(&k, causes[out->cause].sentence, out->sentence);
    expand(&k, causes[out->cause].advice, out->advice);
}

/* What administrators order, and how a wipe ends. */
#include "src/lib/provision/server.h"

#include <string.h>

void pv__wipe_end(struct pv_partnership *p, enum pv_wipe_state how, int64_t now)
{
    p->wipe_state = (uint8_t)how;
    p->wipe_ended_at = now;
    /* Once wiped, always wiped: a later wipe that expires does not take that back. */
    if (p->shut != PV_SHUT_WIPED)
        p->shut = how == PV_WIPE_STATE_ACKNOWLEDGED ? PV_SHUT_WIPED : PV_SHUT_EXPIRED;
    p->key = p->acked_offer = 0;
    p->acked_status = 0;
    memset(p->offers, 0, sizeof p->offers);
}

bool pv_wipe_expire(struct pv_partnership *p, int64_t now)
{
    if (!pv__wipe_pending(p) || !pv__wipe_over(p, now)) return false;
    pv__wipe_end(p, PV_WIPE_STATE_EXPIRED, p->wipe_expires_at);
    return true;
}

/* ---- orders: each says whether it changed anything --------------------------------------- */

static bool order_wipe(struct pv_partnership *p, const struct pv_order *order)
{
    enum pv_wipe_kind kind =
        order->kind == PV_ORDER_WIPE_ACCOUNT ? PV_WIPE_ACCOUNT : PV_WIPE_DEVICE;

    if (pv__wipe_pending(p) && p->wipe == kind) return false;
    /* Keys and offers stay, so that cancelling restores what was before. */
    p->wipe = (uint8_t)kind;
    p->wipe_state = PV_WIPE_STATE_REQUESTED;
    p->wipe_id = order->wipe_id;
    p->wipe_at = order->now;
    p->wipe_sent_at = p->wipe_ended_at = 0;
    p->wipe_expires_at = order->wipe_expires_at;
    return true;
}

static bool cancel_wipe(struct pv_partnership *p, const struct pv_order *order)
{
    p->wipe_state = PV_WIPE_STATE_CANCELLED;
    p->wipe_ended_at = order->now;
    return true;
}

/* What the device said before it was wiped says nothing of what is on it now. */
static void open_again(struct pv_partnership *p)
{
    p->shut = PV_SHUT_NOT;
    p->outcome = PV_OUTCOME_NONE;
    p->said = 0;
    p->outcome_revision = 0;
}

static bool say(struct pv_partnership *p, enum pv_personal word, enum pv_access access)
{
    bool open = word == PV_PERSONAL_ALLOW && p->shut;

    if (open) open_again(p);
    if (p->personal == word) return open;
    p->personal = (uint8_t)word;
    p->access = (uint8_t)access;
    return true;
}

static bool carry_out(struct pv_partnership *p, const struct pv_order *order)
{
    switch (order->kind) {
    case PV_ORDER_WIPE_ACCOUNT:
    case PV_ORDER_WIPE_DEVICE: return order_wipe(p, order);
    case PV_ORDER_CANCEL_WIPE: return cancel_wipe(p, order);
    case PV_ORDER_ALLOW: return say(p, PV_PERSONAL_ALLOW, PV_ACCESS_OK);
    case PV_ORDER_BLOCK: return say(p, PV_PERSONAL_BLOCK, PV_ACCESS_BLOCKED);
    case PV_ORDER_QUARANTINE: return say(p, PV_PERSONAL_QUARANTINE, PV_ACCESS_QUARANTINED);
    case PV_ORDER_CLEAR: return say(p, PV_PERSONAL_NONE, order->access);
    case PV_ORDER_COUNT: break;
    }
    return false;
}

static bool usable(const struct pv_order *order)
{
    bool wipe = order->kind == PV_ORDER_WIPE_ACCOUNT || order->kind == PV_ORDER_WIPE_DEVICE;

    if ((unsigned)order->kind >= PV_ORDER_COUNT || (unsigned)order->access > PV_ACCESS_BLOCKED)
        return false;
    if (!wipe) return true;
    return order->wipe_id && (!order->wipe_expires_at || order->wipe_expires_at > order->now);
}

static enum pv_reason why_impossible(const struct pv_partnership *p, const struct pv_order *order,
                                     enum pv_state state)
{
    if (order->kind == PV_ORDER_CANCEL_WIPE) return PV_WHY_NO_WIPE;
    if (state == PV_STATE_BLOCKED && p->shut) return PV_WHY_WIPE_EXPIRED;
    return (enum pv_reason)pv__stands[state].why;
}

enum pv_err pv_server_order(struct pv_partnership *p, const struct pv_order *order,
                            struct pv_server_out *out)
{
    struct pv_partnership work = *p;
    const struct pv__order_rule *rule;
    bool changed;

    *out = (struct pv_server_out){0};
    if (!usable(order)) return PV_E_USAGE;
    out->before = pv_server_state(p, &order->policy, order->now);
    changed = pv_wipe_expire(&work, order->now);
    rule = &pv__order_rules[out->before][order->kind];
    if (!rule->given || (rule->needs_open && work.shut)) {
        out->action = PV_ACT_IMPOSSIBLE;
        out->reason = why_impossible(&work, order, out->before);
    } else if (carry_out(&work, order)) {
        out->action = PV_ACT_DONE;
        changed = true;
    } else {
        out->action = PV_ACT_UNCHANGED;
    }
    out->store = changed ? PV_STORE_FIRST : PV_STORE_NOTHING;
    out->after = pv_server_state(&work, &order->policy, order->now);
    out->wipe_changed = work.wipe_state != p->wipe_state || work.wipe_id != p->wipe_id;
    *p = work;
    return PV_OK;
}

/* The server's machine: its table, and what the table refers to. */
#ifndef PV_PROVISION_SERVER_H
#define PV_PROVISION_SERVER_H

#include <provost/provision.h>

/* What must hold for a rule to act, in the order in which it is looked at. */
#define PV__NEEDS(X) \
    X(DIRECTIVE, "directive known", "the device speaks 16.1, or the wipe is of the whole device", \
      "129; a poll and a wipe acknowledgement get Status 1") \
    X(CARRIED, "carried", "the version carries what the policy demands, or the policy bears it, " \
      "or the device holds a key for the same document", "139") \
    X(KEY, "key", "the active key; or none at all, never asked for one, and the policy lets in " \
      "devices that cannot be provisioned", "141, 142, 144") \
    X(PARTNER, "confirmed", "the device holds an active key, or is let in without one as above", \
      "as a command without a key: 142, 139, 140 or 129") \
    X(FRESH, "fresh", "the document is the confirmed one and its refresh interval is not over", \
      "143; a Ping gets Status 7") \
    X(TYPE, "type", "the policy type is that of the version", "Policy Status 3") \
    X(INFO, "device information", "it came, or is not demanded of this version", "165") \
    X(OFFER, "offer", "the key of an open offer; or of the last acknowledged one, with the same " \
      "Status and its final key unused: that key again", "Policy Status 5") \
    X(ACCEPTED, "accepted", "a Status that the policy accepts", "139, 145") \
    X(WIPED, "wipe done", "Status 1 for the wipe that is pending, whose directive was given", \
      "the directive again, with Status 2 after Status 2")
#define PV__NEED_ENUM(id, name, text, unmet) PV__NEED_##id,
enum pv__need { PV__NEEDS(PV__NEED_ENUM) PV__NEED_COUNT };
#undef PV__NEED_ENUM

struct pv__rule {
    bool given;     /* false: an empty cell, which refuses */
    uint8_t next;   /* enum pv_state */
    uint8_t act;    /* enum pv_action */
    uint16_t needs; /* bit per enum pv__need */
};
extern const struct pv__rule pv__rules[PV_STATE_COUNT][PV_EVENT_COUNT];

/* How a command is refused in a state when nothing more special is known. */
struct pv__stand {
    uint16_t status;
    uint8_t why; /* enum pv_reason */
};
extern const struct pv__stand pv__stands[PV_STATE_COUNT];

/* What an order leads to. An empty cell is impossible, for the reason that the state gives. */
struct pv__order_rule {
    bool given;
    uint8_t next;     /* enum pv_state; PV_STATE_COUNT: as the facts say then */
    bool needs_open;  /* impossible while a wipe that has ended keeps the device out */
};
extern const struct pv__order_rule pv__order_rules[PV_STATE_COUNT][PV_ORDER_COUNT];

/* ---- the life of a wipe (server_order.c) ---- */
static inline bool pv__wipe_pending(const struct pv_partnership *p)
{
    return p->wipe_state == PV_WIPE_STATE_REQUESTED || p->wipe_state == PV_WIPE_STATE_SENT ||
           p->wipe_state == PV_WIPE_STATE_FAILED;
}

/* It was given a time, and that is over. */
static inline bool pv__wipe_over(const struct pv_partnership *p, int64_t now)
{
    return p->wipe_expires_at && now >= p->wipe_expires_at;
}

/* ACKNOWLEDGED or EXPIRED: keys and offers end, the device is shut out. */
void pv__wipe_end(struct pv_partnership *p, enum pv_wipe_state how, int64_t now);

#endif

/* The rules of the server, said a second time. */
#include "server_oracle.h"

#include <string.h>

#define VERDICT(act, number) ((struct verdict){.action = PV_ACT_##act, .status = (number)})

/* ---- what follows from what is known ---- */
bool oracle_pending(const struct oracle *o)
{
    return o->hard.wipe_state == PV_WIPE_STATE_REQUESTED || o->hard.wipe_state == PV_WIPE_STATE_SENT
           || o->hard.wipe_state == PV_WIPE_STATE_FAILED;
}

static bool expired(const struct oracle *o, const struct world *w)
{
    return oracle_pending(o) && o->hard.wipe_until && w->day + 1 >= o->hard.wipe_until;
}

static bool any_device(const struct world *w)
{
    return w->lenient && w->day < ORACLE_DATE;
}

static bool holds_document(const struct oracle *o, const struct world *w)
{
    return o->hard.key && o->hard.key_document == w->document;
}

static bool fresh(const struct oracle *o, const struct world *w)
{
    return holds_document(o, w) && w->day < o->hard.key_day + ORACLE_REFRESH;
}

static bool barred(const struct oracle *o, const struct world *w)
{
    return w->document == 1 && !w->new && !any_device(w) && !holds_document(o, w);
}

static bool without_key(const struct oracle *o, const struct world *w)
{
    return any_device(w) && !o->hard.held && !o->soft.asked;
}

static bool alive(const struct oracle *o, size_t i, const struct world *w)
{
    return o->soft.offers[i].key && w->day < o->soft.offers[i].day + 1;
}

enum pv_state oracle_state(const struct oracle *o, const struct world *w)
{
    if (oracle_pending(o) && !expired(o, w)) return PV_STATE_WIPE_PENDING;
    if (o->hard.shut == PV_SHUT_WIPED) return PV_STATE_WIPED;
    if (expired(o, w) || o->hard.shut || o->hard.word == PV_PERSONAL_BLOCK) return PV_STATE_BLOCKED;
    if (o->hard.word == PV_PERSONAL_QUARANTINE) return PV_STATE_QUARANTINED;
    if (fresh(o, w)) return PV_STATE_PROVISIONED;
    if (o->soft.refused || barred(o, w)) return PV_STATE_REFUSED;
    if (o->hard.key) return PV_STATE_REFRESH_DUE;
    for (size_t i = 0; i < PV_OFFER_MAX; i++)
        if (alive(o, i, w)) return PV_STATE_OFFERED;
    return PV_STATE_NEW;
}

bool oracle_taken(const struct oracle *o, uint32_t key)
{
    bool taken = key == 0 || key == o->hard.key || key == o->soft.acked;

    for (size_t i = 0; i < PV_OFFER_MAX; i++) taken = taken || key == o->soft.offers[i].key;
    return taken;
}

/* ---- what happens to it ---- */
static void end_wipe(struct oracle *o, enum pv_wipe_state how)
{
    o->hard.wipe_state = (uint8_t)how;
    if (how == PV_WIPE_STATE_ACKNOWLEDGED) o->hard.shut = PV_SHUT_WIPED;
    else if (!o->hard.shut) o->hard.shut = PV_SHUT_EXPIRED;
    o->hard.key = o->hard.key_document = o->hard.key_day = 0;
    o->soft.acked = o->soft.acked_status = 0;
    memset(o->soft.offers, 0, sizeof o->soft.offers);
}

static void offer(struct oracle *o, const struct world *w, uint32_t key)
{
    size_t kept = 0;

    for (size_t i = 0; i < PV_OFFER_MAX; i++)
        if (alive(o, i, w)) o->soft.offers[kept++] = o->soft.offers[i];
    if (kept == PV_OFFER_MAX)
        memmove(o->soft.offers, o->soft.offers + 1, --kept * sizeof *o->soft.offers);
    memset(o->soft.offers + kept, 0, (PV_OFFER_MAX - kept) * sizeof *o->soft.offers);
    o->soft.offers[kept].key = (uint8_t)key;
    o->soft.offers[kept].document = w->document;
    o->soft.offers[kept].day = w->day;
}

static void confirm(struct oracle *o, const struct world *w, size_t i, unsigned status,
                    uint32_t key)
{
    o->hard.key = (uint8_t)key;
    o->hard.key_document = o->soft.offers[i].document;
    o->hard.key_day = w->day;
    o->hard.held = 1;
    o->soft.acked = o->soft.offers[i].key;
    o->soft.acked_status = (uint8_t)status;
    memset(o->soft.offers, 0, sizeof o->soft.offers);
}

/* ---- requests ---- */
static bool is_command(const struct request *r)
{
    return r->event == PV_EV_COMMAND || r->event == PV_EV_PING;
}

static struct verdict directive(struct oracle *o, unsigned status)
{
    if (o->hard.wipe_state == PV_WIPE_STATE_REQUESTED) o->hard.wipe_state = PV_WIPE_STATE_SENT;
    return VERDICT(DIRECTIVE, status);
}

static struct verdict while_pending(struct oracle *o, const struct world *w,
                                    const struct request *r)
{
    bool waits = o->hard.wipe == PV_WIPE_ACCOUNT && !w->new;
    bool counts = r->event == PV_EV_WIPE_ACK && o->hard.wipe_state != PV_WIPE_STATE_REQUESTED
                  && r->wipe == o->hard.wipe;

    if (r->event == PV_EV_PING && o->hard.key) return VERDICT(PING_7, 7);
    if (is_command(r)) return VERDICT(REFUSE, waits ? 129 : 140);
    if (waits && (r->event == PV_EV_POLL || r->event == PV_EV_WIPE_ACK)) return VERDICT(PLAIN, 1);
    if (waits) return VERDICT(PROVISION_STATUS, 129);
    if (counts && r->status == 1) {
        end_wipe(o, PV_WIPE_STATE_ACKNOWLEDGED);
        return VERDICT(PLAIN, 1);
    }
    if (counts) o->hard.wipe_state = PV_WIPE_STATE_FAILED;
    return directive(o, counts ? 2 : 1);
}

static struct verdict while_shut_out(const struct oracle *o, const struct request *r)
{
    if (r->event == PV_EV_PING && o->hard.key) return VERDICT(PING_7, 7);
    if (is_command(r)) return VERDICT(REFUSE, 129);
    if (r->event == PV_EV_WIPE_ACK && o->hard.shut == PV_SHUT_WIPED) return VERDICT(PLAIN, 1);
    return VERDICT(PROVISION_STATUS, 129);
}

static struct verdict let_in(const struct oracle *o)
{
    return o->hard.word == PV_PERSONAL_QUARANTINE ? VERDICT(INBOX_ONLY, 0) : VERDICT(ALLOW, 0);
}

static struct verdict command(struct oracle *o, const struct world *w, const struct request *r)
{
    if (barred(o, w)) return VERDICT(REFUSE, 139);
    switch (r->key_kind) {
    case PV_KEY_ABSENT:
        if (!without_key(o, w)) return VERDICT(REFUSE, 141);
        o->soft.refused = 0;
        return let_in(o);
    case PV_KEY_ZERO: return VERDICT(REFUSE, 142);
    case PV_KEY_NUMBER: break;
    default: return VERDICT(REFUSE, 144);
    }
    if (!o->hard.key || r->key != o->hard.key) return VERDICT(REFUSE, 144);
    o->soft.acked = o->soft.acked_status = 0; /* the key has been used */
    return fresh(o, w) ? let_in(o) : VERDICT(REFUSE, 143);
}

static struct verdict ping(struct oracle *o, const struct world *w)
{
    if (o->hard.key) return fresh(o, w) ? let_in(o) : VERDICT(PING_7, 7);
    if (without_key(o, w)) {
        o->soft.refused = 0;
        return let_in(o);
    }
    return VERDICT(REFUSE, barred(o, w) ? 139 : 142);
}

static struct verdict acknowledge(struct oracle *o, const struct world *w, const struct request *r,
                                  uint32_t told)
{
    bool accepted = r->status == 1 || (r->status == 3 && any_device(w))
                    || (r->status == 4 && w->lenient);
    struct verdict v = VERDICT(CONFIRM, 1);

    if (r->key_kind != PV_KEY_NUMBER) return VERDICT(POLICY_STATUS, 5);
    for (size_t i = 0; i < PV_OFFER_MAX; i++) {
        if (o->soft.offers[i].key != r->key) continue;
        if (!alive(o, i, w)) return VERDICT(POLICY_STATUS, 5);
        o->soft.refused = !accepted;
        if (!accepted) return VERDICT(PROVISION_STATUS, r->status == 4 ? 145 : 139);
        confirm(o, w, i, r->status, told);
        v.new_key = true;
        return v;
    }
    if (!o->soft.acked || r->key != o->soft.acked || r->status != o->soft.acked_status)
        return VERDICT(POLICY_STATUS, 5);
    v.key = o->hard.key;
    return v;
}

struct verdict oracle_request(struct oracle *o, const struct world *w, const struct request *r,
                              uint32_t told)
{
    struct verdict v;

    if (expired(o, w)) end_wipe(o, PV_WIPE_STATE_EXPIRED);
    if (!is_command(r)) o->soft.asked = 1;
    if (oracle_pending(o)) return while_pending(o, w, r);
    if (o->hard.shut || o->hard.word == PV_PERSONAL_BLOCK) return while_shut_out(o, r);
    switch (r->event) {
    case PV_EV_COMMAND: return command(o, w, r);
    case PV_EV_PING: return ping(o, w);
    case PV_EV_ACK: return acknowledge(o, w, r, told);
    case PV_EV_BAD: return VERDICT(PROVISION_STATUS, 2);
    case PV_EV_ASK:
        if (barred(o, w)) return VERDICT(PROVISION_STATUS, 139);
        offer(o, w, told);
        v = VERDICT(OFFER, 1);
        v.new_key = true;
        return v;
    default: return VERDICT(PLAIN, 1); /* a poll, an acknowledgement of no wipe */
    }
}

/* ---- orders ---- */
static enum pv_action say(struct oracle *o, enum pv_personal word)
{
    if (o->hard.word == word) return PV_ACT_UNCHANGED;
    o->hard.word = (uint8_t)word;
    return PV_ACT_DONE;
}

static enum pv_action wipe(struct oracle *o, const struct world *w, enum pv_wipe_kind kind,
                           bool expires)
{
    if (oracle_pending(o) && o->hard.wipe == kind) return PV_ACT_UNCHANGED;
    o->hard.wipe = (uint8_t)kind;
    o->hard.wipe_state = PV_WIPE_STATE_REQUESTED;
    o->hard.wipe_until = expires ? (uint8_t)(w->day + ORACLE_WIPE_LIFE + 1) : 0;
    return PV_ACT_DONE;
}

enum pv_action oracle_order(struct oracle *o, const struct world *w, enum pv_order_kind kind,
                            bool expires)
{
    if (expired(o, w)) end_wipe(o, PV_WIPE_STATE_EXPIRED);
    switch (kind) {
    case PV_ORDER_WIPE_ACCOUNT: return wipe(o, w, PV_WIPE_ACCOUNT, expires);
    case PV_ORDER_WIPE_DEVICE: return wipe(o, w, PV_WIPE_DEVICE, expires);
    case PV_ORDER_CANCEL_WIPE:
        if (!oracle_pending(o)) return PV_ACT_IMPOSSIBLE;
        o->hard.wipe_state = PV_WIPE_STATE_CANCELLED;
        return PV_ACT_DONE;
    case PV_ORDER_ALLOW:
        if (oracle_pending(o)) return PV_ACT_IMPOSSIBLE;
        if (!o->hard.shut) return say(o, PV_PERSONAL_ALLOW);
        o->hard.shut = PV_SHUT_NOT;
        o->soft.refused = 0;
        (void)say(o, PV_PERSONAL_ALLOW);
        return PV_ACT_DONE;
    case PV_ORDER_BLOCK: return say(o, PV_PERSONAL_BLOCK);
    case PV_ORDER_QUARANTINE:
        if (o->hard.shut && !oracle_pending(o)) return PV_ACT_IMPOSSIBLE;
        return say(o, PV_PERSONAL_QUARANTINE);
    default: return say(o, PV_PERSONAL_NONE);
    }
}

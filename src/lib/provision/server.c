/* The server's machine: facts in, decision out. The table (server_table.c) says what may happen,
 * this file looks at the facts that a rule needs and carries the action out. */
#include "src/lib/provision/server.h"

#include <string.h>

struct step {
    struct pv_partnership *p;
    const struct pv_server_in *in;
    struct pv_server_out *out;
    size_t offer;     /* ACK: slot of the acknowledged offer */
    bool without_key; /* let in as a device that cannot be provisioned */
    bool collided;    /* no random word would do */
};

/* ---- facts ------------------------------------------------------------------------------- */

/* A clock that went back has let no time pass. */
static bool alive(const struct pv_offer *offer, int64_t now)
{
    return offer->key && (now < offer->at || (uint64_t)now - (uint64_t)offer->at < PV_OFFER_LIFE);
}

static bool same_document(const struct pv_partnership *p, const struct pv_policy_facts *policy)
{
    return p->key && memcmp(p->key_hash, policy->hash, PV_HASH_LEN) == 0;
}

int64_t pv_refresh_at(const struct pv_partnership *p, const struct pv_policy_facts *policy)
{
    uint64_t tenth = policy->refresh_interval > 0 ? (uint64_t)policy->refresh_interval / 10 : 0;
    /* tenth * key / 2^32, which may not fit before the division */
    uint64_t early = (tenth >> 32) * p->key + ((tenth & UINT32_MAX) * p->key >> 32);
    int64_t wait = policy->refresh_interval - (int64_t)early;

    if (!p->key || policy->refresh_interval <= 0) return 0;
    return p->key_at > INT64_MAX - wait ? INT64_MAX : p->key_at + wait;
}

/* Why the device, which holds a key, must provision again; PV_WHY_OK if it need not. */
static enum pv_reason refresh_reason(const struct pv_partnership *p,
                                     const struct pv_policy_facts *policy, int64_t now)
{
    int64_t at = pv_refresh_at(p, policy);

    if (!same_document(p, policy)) return PV_WHY_POLICY_CHANGED;
    return at && now >= at ? PV_WHY_REFRESH_INTERVAL : PV_WHY_OK;
}

/* AllowNonProvisionable, until its date. */
static bool allows_any(const struct pv_policy_facts *policy, int64_t now)
{
    return policy->allow_non_provisionable &&
           (!policy->non_provisionable_until || now < policy->non_provisionable_until);
}

/* The version cannot carry what the policy demands, the policy does not bear that, and it would be
 * news to the device. */
static bool barred(const struct pv_partnership *p, const struct pv_policy_facts *policy,
                   int64_t now)
{
    return policy->uncarried && !policy->allow_partial && !allows_any(policy, now) &&
           !same_document(p, policy);
}

static bool non_provisionable(const struct pv_partnership *p, const struct pv_policy_facts *policy,
                              int64_t now)
{
    return allows_any(policy, now) && !p->provisioned_once && !p->asked;
}

enum pv_state pv_server_state(const struct pv_partnership *p, const struct pv_policy_facts *policy,
                              int64_t now)
{
    if (pv__wipe_pending(p) && !pv__wipe_over(p, now)) return PV_STATE_WIPE_PENDING;
    if (p->shut == PV_SHUT_WIPED) return PV_STATE_WIPED;
    if (pv__wipe_pending(p) || p->shut) return PV_STATE_BLOCKED;
    if (p->access == PV_ACCESS_BLOCKED) return PV_STATE_BLOCKED;
    if (p->access == PV_ACCESS_QUARANTINED) return PV_STATE_QUARANTINED;
    if (p->key && refresh_reason(p, policy, now) == PV_WHY_OK) return PV_STATE_PROVISIONED;
    if (p->outcome == PV_OUTCOME_REFUSED || barred(p, policy, now)) return PV_STATE_REFUSED;
    if (p->key) return PV_STATE_REFRESH_DUE;
    for (size_t i = 0; i < PV_OFFER_MAX; i++)
        if (alive(&p->offers[i], now)) return PV_STATE_OFFERED;
    return PV_STATE_NEW;
}

/* ---- what a step writes ------------------------------------------------------------------ */

static void store(struct step *s, enum pv_store how)
{
    if (how > s->out->store) s->out->store = how;
}

static void set_flag(struct step *s, bool *flag, bool value, enum pv_store how)
{
    if (*flag == value) return;
    *flag = value;
    store(s, how);
}

static void set_outcome(struct step *s, enum pv_outcome outcome, unsigned said, uint64_t revision)
{
    struct pv_partnership *p = s->p;

    if (p->outcome == outcome && p->said == said && p->outcome_revision == revision) return;
    p->outcome = (uint8_t)outcome;
    p->said = (uint8_t)said;
    p->outcome_revision = revision;
    store(s, PV_STORE_BEHIND);
}

/* An answer that ends the step; for the needs below it means "unmet". */
static bool answer(struct step *s, enum pv_action action, unsigned status, enum pv_reason why)
{
    s->out->action = action;
    s->out->status = status;
    s->out->reason = why;
    return false;
}

/* A command is refused in its own root, Provision in Provision's Status. */
static bool refuse(struct step *s, unsigned status, enum pv_reason why)
{
    bool command = s->in->event == PV_EV_COMMAND || s->in->event == PV_EV_PING;

    return answer(s, command ? PV_ACT_REFUSE : PV_ACT_PROVISION_STATUS, status, why);
}

static bool refuse_by_state(struct step *s)
{
    const struct pv__stand *stand = &pv__stands[s->out->before];
    enum pv_reason why = (enum pv_reason)stand->why;

    if (s->out->before == PV_STATE_REFRESH_DUE)
        why = refresh_reason(s->p, &s->in->policy, s->in->now);
    if (s->out->before == PV_STATE_BLOCKED && s->p->shut) why = PV_WHY_WIPE_EXPIRED;
    return refuse(s, stand->status, why);
}

static bool give_directive(struct step *s, unsigned status)
{
    s->out->wipe = (enum pv_wipe_kind)s->p->wipe;
    if (s->p->wipe_state == PV_WIPE_STATE_REQUESTED) {
        s->p->wipe_state = PV_WIPE_STATE_SENT;
        s->p->wipe_sent_at = s->in->now;
        store(s, PV_STORE_FIRST);
    }
    return answer(s, PV_ACT_DIRECTIVE, status, PV_WHY_WIPE);
}

/* ---- needs: true if met, else the answer is written -------------------------------------- */

//= MS-ASPROV 2.2.2.1: AccountOnlyRemoteWipe exists from 16.1 on. The request waits for a device
//= that does not know it.
static bool need_directive(struct step *s)
{
    if (s->p->wipe != PV_WIPE_ACCOUNT || s->in->version >= PV_V16_1) return true;
    if (s->in->event == PV_EV_POLL || s->in->event == PV_EV_WIPE_ACK)
        return answer(s, PV_ACT_PLAIN, 1, PV_WHY_WIPE);
    return refuse(s, 129, PV_WHY_WIPE);
}

static bool need_carried(struct step *s)
{
    return !barred(s->p, &s->in->policy, s->in->now) || refuse(s, 139, PV_WHY_UNCARRIED);
}

/* Every offer is looked at, so that the time tells nothing of them. */
static bool find_offer(const struct step *s, size_t *slot_out)
{
    bool found = false;

    for (size_t i = 0; i < PV_OFFER_MAX; i++) {
        if (!pv_key_is(s->in->key, s->p->offers[i].key)) continue;
        *slot_out = i;
        found = true;
    }
    return found;
}

static bool need_key(struct step *s)
{
    struct pv_partnership *p = s->p;
    size_t slot;

    if (pv_key_is(s->in->key, p->key)) {
        /* The final key has arrived: its acknowledgement need not be answered again. */
        if (p->acked_offer) store(s, PV_STORE_BEHIND);
        p->acked_offer = 0;
        p->acked_status = 0;
        return true;
    }
    switch (s->in->key.kind) {
    case PV_KEY_ABSENT:
        s->without_key = non_provisionable(p, &s->in->policy, s->in->now);
        return s->without_key || refuse(s, 141, PV_WHY_NO_KEY);
    case PV_KEY_ZERO: return refuse(s, 142, PV_WHY_KEY_ZERO);
    default: break;
    }
    if (find_offer(s, &slot) || pv_key_is(s->in->key, p->acked_offer))
        return refuse(s, 144, PV_WHY_OFFER_KEY);
    return refuse(s, 144, PV_WHY_WRONG_KEY);
}

//= MS-ASPROV 3.1.5.1: Ping carries no key, so the partnership speaks for the device.
static bool need_partner(struct step *s)
{
    if (s->p->key) return true;
    switch (s->out->before) {
    case PV_STATE_WIPE_PENDING: return need_directive(s) && refuse_by_state(s);
    case PV_STATE_BLOCKED: return refuse_by_state(s);
    default: break;
    }
    s->without_key = non_provisionable(s->p, &s->in->policy, s->in->now);
    return s->without_key || (need_carried(s) && refuse_by_state(s));
}

static bool need_fresh(struct step *s)
{
    enum pv_reason why = PV_WHY_OK;

    if (s->p->key) why = refresh_reason(s->p, &s->in->policy, s->in->now);
    if (why == PV_WHY_OK) return true;
    if (s->in->event == PV_EV_PING) return answer(s, PV_ACT_PING_7, 7, why);
    return refuse(s, 143, why);
}

static bool need_type(struct step *s)
{
    return s->in->type_fits || answer(s, PV_ACT_POLICY_STATUS, 3, PV_WHY_UNKNOWN_TYPE);
}

//= MS-ASCMD 2.2.2: 165 from 14.1 on.
static bool need_info(struct step *s)
{
    if (!s->in->require_device_info || s->in->version < PV_V14_1 || s->in->has_device_info)
        return true;
    return refuse(s, 165, PV_WHY_NO_DEVICE_INFO);
}

//= MS-ASPROV 3.2.5.2: a wrong key gets Policy Status 5. It is looked at before the client's
//= Status, and it voids nothing.
static bool need_offer(struct step *s)
{
    const struct pv_partnership *p = s->p;

    if (find_offer(s, &s->offer)) {
        if (alive(&p->offers[s->offer], s->in->now)) return true;
        return answer(s, PV_ACT_POLICY_STATUS, 5, PV_WHY_OFFER_EXPIRED);
    }
    if (p->key && pv_key_is(s->in->key, p->acked_offer) && s->in->status == p->acked_status) {
        s->out->key = p->key;
        return answer(s, PV_ACT_CONFIRM, 1, PV_WHY_REPEATED_ACK);
    }
    return answer(s, PV_ACT_POLICY_STATUS, 5, PV_WHY_UNKNOWN_OFFER);
}

//= MS-ASPROV 3.1.5.2: what the client's Status leads to.
static bool need_accepted(struct step *s)
{
    static const struct {
        enum pv_outcome outcome;
        unsigned refusal;
        enum pv_reason why;
    } acks[] = {
        [1] = {PV_OUTCOME_COMPLIANT, 0, PV_WHY_OK},
        [2] = {PV_OUTCOME_PARTIAL, 139, PV_WHY_PARTIAL_REFUSED},
        [3] = {PV_OUTCOME_NOT_APPLIED, 139, PV_WHY_NOT_APPLIED_REFUSED},
        [4] = {PV_OUTCOME_EXTERNAL, 145, PV_WHY_EXTERNAL_REFUSED},
    };
    const struct pv_policy_facts *policy = &s->in->policy;
    unsigned status = s->in->status;
    const bool accepted[] = {[1] = true,
                             [2] = policy->allow_partial,
                             [3] = allows_any(policy, s->in->now),
                             [4] = policy->allow_external};

    if (status < 1 || status > 4) return refuse(s, 2, PV_WHY_BAD_REQUEST);
    set_outcome(s, accepted[status] ? acks[status].outcome : PV_OUTCOME_REFUSED, status,
                s->p->offers[s->offer].revision);
    return accepted[status] || refuse(s, acks[status].refusal, acks[status].why);
}

/* Only Status 1 for the very wipe that was ordered counts, and only once the device was told. */
static bool need_wiped(struct step *s)
{
    struct pv_partnership *p = s->p;
    bool this_wipe =
        p->wipe_state != PV_WIPE_STATE_REQUESTED && s->in->wipe == (enum pv_wipe_kind)p->wipe;

    if (this_wipe && s->in->status == 1) return true;
    if (!this_wipe || s->in->status != 2) return give_directive(s, 1);
    if (p->wipe_state != PV_WIPE_STATE_FAILED) store(s, PV_STORE_FIRST);
    p->wipe_state = PV_WIPE_STATE_FAILED;
    return give_directive(s, 2);
}

static bool (*const need_met[PV__NEED_COUNT])(struct step *) = {
    [PV__NEED_DIRECTIVE] = need_directive,
    [PV__NEED_CARRIED] = need_carried,
    [PV__NEED_KEY] = need_key,
    [PV__NEED_PARTNER] = need_partner,
    [PV__NEED_FRESH] = need_fresh,
    [PV__NEED_TYPE] = need_type,
    [PV__NEED_INFO] = need_info,
    [PV__NEED_OFFER] = need_offer,
    [PV__NEED_ACCEPTED] = need_accepted,
    [PV__NEED_WIPED] = need_wiped,
};

/* ---- actions ----------------------------------------------------------------------------- */

/* The only place where a key comes from. 0 means that all words collide. */
static uint32_t new_key(const struct step *s)
{
    for (size_t i = 0; i < PV_RANDOM_WORDS; i++) {
        uint32_t word = s->in->random[i];
        bool taken = word == 0 || word == s->p->key || word == s->p->acked_offer;

        for (size_t k = 0; k < PV_OFFER_MAX; k++) taken = taken || word == s->p->offers[k].key;
        if (!taken) return word;
    }
    return 0;
}

/* Room at the end: expired offers go first, then the oldest. */
static struct pv_offer *free_slot(struct pv_partnership *p, int64_t now)
{
    size_t kept = 0;

    for (size_t i = 0; i < PV_OFFER_MAX; i++)
        if (alive(&p->offers[i], now)) p->offers[kept++] = p->offers[i];
    if (kept == PV_OFFER_MAX) {
        kept--;
        memmove(p->offers, p->offers + 1, kept * sizeof *p->offers);
    }
    memset(p->offers + kept, 0, (PV_OFFER_MAX - kept) * sizeof *p->offers);
    return &p->offers[kept];
}

static void act_offer(struct step *s)
{
    uint32_t key = new_key(s);
    struct pv_offer *offer;

    if (!key) {
        s->collided = true;
        return;
    }
    offer = free_slot(s->p, s->in->now);
    *offer = (struct pv_offer){.key = key, .at = s->in->now, .revision = s->in->policy.revision};
    memcpy(offer->hash, s->in->policy.hash, PV_HASH_LEN);
    s->out->key = key;
    store(s, PV_STORE_BEHIND);
    answer(s, PV_ACT_OFFER, 1, PV_WHY_OK);
}

/* The final key stands for what was offered, not for what is in force now. */
static void act_confirm(struct step *s)
{
    struct pv_partnership *p = s->p;
    const struct pv_offer offer = p->offers[s->offer];
    uint32_t key = new_key(s);

    if (!key) {
        s->collided = true;
        return;
    }
    p->key = key;
    p->key_at = s->in->now;
    p->key_revision = offer.revision;
    memcpy(p->key_hash, offer.hash, PV_HASH_LEN);
    p->acked_offer = offer.key;
    p->acked_status = (uint8_t)s->in->status;
    p->provisioned_once = true;
    memset(p->offers, 0, sizeof p->offers);
    s->out->key = key;
    store(s, PV_STORE_FIRST);
    answer(s, PV_ACT_CONFIRM, 1, PV_WHY_OK);
}

static void act_let_in(struct step *s, enum pv_action action)
{
    enum pv_reason why = action == PV_ACT_INBOX_ONLY ? PV_WHY_QUARANTINED : PV_WHY_OK;

    if (s->without_key) {
        set_outcome(s, PV_OUTCOME_NON_PROVISIONABLE, 0, 0);
        why = PV_WHY_NON_PROVISIONABLE;
    }
    answer(s, action, 0, why);
}

/* A plain Status 1: nothing to say, or the end of a wipe. Keys end with it. */
static void act_plain(struct step *s)
{
    struct pv_partnership *p = s->p;

    answer(s, PV_ACT_PLAIN, 1, PV_WHY_OK);
    if (s->out->before != PV_STATE_WIPE_PENDING) return;
    pv__wipe_end(p, PV_WIPE_STATE_ACKNOWLEDGED, s->in->now);
    store(s, PV_STORE_FIRST);
}

static void act_ping_7(struct step *s)
{
    refuse_by_state(s); /* for the reason */
    answer(s, PV_ACT_PING_7, 7, s->out->reason);
}

static void act(struct step *s, enum pv_action action)
{
    switch (action) {
    case PV_ACT_ALLOW:
    case PV_ACT_INBOX_ONLY: act_let_in(s, action); break;
    case PV_ACT_OFFER: act_offer(s); break;
    case PV_ACT_CONFIRM: act_confirm(s); break;
    case PV_ACT_PLAIN: act_plain(s); break;
    case PV_ACT_PING_7: act_ping_7(s); break;
    case PV_ACT_DIRECTIVE: give_directive(s, 1); break;
    case PV_ACT_PROVISION_STATUS: refuse(s, 2, PV_WHY_BAD_REQUEST); break;
    case PV_ACT_POLICY_STATUS:
    case PV_ACT_REFUSE:
    case PV_ACT_DONE:
    case PV_ACT_UNCHANGED:
    case PV_ACT_IMPOSSIBLE:
    case PV_ACTION_COUNT: refuse_by_state(s); break;
    }
}

static void follow(struct step *s, const struct pv__rule *rule)
{
    for (unsigned n = 0; n < PV__NEED_COUNT; n++)
        if (rule->needs & 1u << n && !need_met[n](s)) return;
    act(s, rule->given ? (enum pv_action)rule->act : PV_ACT_REFUSE);
}

enum pv_err pv_server_step(struct pv_partnership *p, const struct pv_server_in *in,
                           struct pv_server_out *out)
{
    struct pv_partnership work = *p;
    struct step s = {.p = &work, .in = in, .out = out};

    *out = (struct pv_server_out){0};
    if ((unsigned)in->event >= PV_EVENT_COUNT || (unsigned)in->version >= PV_VERSION_COUNT)
        return PV_E_USAGE;
    out->before = pv_server_state(p, &in->policy, in->now);
    if (in->event != PV_EV_COMMAND && in->event != PV_EV_PING)
        set_flag(&s, &work.asked, true, PV_STORE_BEHIND);
    if (pv_wipe_expire(&work, in->now)) store(&s, PV_STORE_FIRST);
    follow(&s, &pv__rules[out->before][in->event]);
    if (s.collided) return PV_E_USAGE;
    out->after = pv_server_state(&work, &in->policy, in->now);
    out->wipe_changed = work.wipe_state != p->wipe_state;
    *p = work;
    return PV_OK;
}

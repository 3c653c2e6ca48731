/* The server's machine against its laws: random histories of one partnership. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/lib/provision/server.h"

#define HISTORIES 100000
#define EVENTS_MAX 30

/* What an observer knows who has read only the answers. */
struct world {
    struct pv_partnership p;
    struct pv_policy_facts policy;
    enum pv_version version;
    int64_t now;
    uint32_t told[4 * EVENTS_MAX]; /* every key, in order */
    size_t count;
    uint32_t active;               /* of the last confirmation, 0 none */
    bool used;                     /* a command has used it */
    bool asked, held;
};

static uint64_t random_state;

/* xorshift64: the same histories on every machine */
static uint32_t pick(uint32_t below)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 16) % below;
}

static struct pv_sent_key some_key(const struct world *w)
{
    switch (pick(8)) {
    case 0: return (struct pv_sent_key){PV_KEY_ABSENT, 0};
    case 1: return (struct pv_sent_key){PV_KEY_ZERO, 0};
    case 2: return (struct pv_sent_key){PV_KEY_BAD, w->active};
    case 3: return (struct pv_sent_key){PV_KEY_NUMBER, 1 + pick(20)};
    case 4: return w->active ? (struct pv_sent_key){PV_KEY_NUMBER, w->active}
                             : (struct pv_sent_key){PV_KEY_ZERO, 0};
    default: break;
    }
    if (w->count == 0) return (struct pv_sent_key){PV_KEY_NUMBER, 7};
    /* mostly one of the last */
    size_t back = pick(pick(2) ? 3 : (uint32_t)w->count);
    return (struct pv_sent_key){PV_KEY_NUMBER,
                                w->told[back < w->count ? w->count - 1 - back : 0]};
}

static unsigned actions[PV_ACTION_COUNT], reasons[PV_REASON_COUNT], states[PV_STATE_COUNT];

/* An administrator orders something, mostly to let the device in. */
static void administer(struct world *w)
{
    const struct pv_order order = {
        .kind = pick(3) ? (enum pv_order_kind)pick(PV_ORDER_COUNT) : PV_ORDER_ALLOW,
        .now = w->now, .wipe_id = 1 + pick(1000), .access = (enum pv_access)pick(3),
        .wipe_expires_at = pick(2) ? 0 : w->now + 1 + pick(2 * PV_OFFER_LIFE),
        .policy = w->policy};
    struct pv_partnership before = w->p;
    struct pv_server_out out;

    enum pv_err err = pv_server_order(&w->p, &order, &out);
    assert_int_equal(err, PV_OK);
    actions[out.action]++;
    reasons[out.reason]++;
    if (out.store == PV_STORE_NOTHING) assert_memory_equal(&before, &w->p, sizeof before);
    else assert_int_equal(out.store, PV_STORE_FIRST);
    assert_int_equal(out.before, pv_server_state(&before, &w->policy, w->now));
    assert_int_equal(out.after, pv_server_state(&w->p, &w->policy, w->now));
    if (out.action == PV_ACT_DONE) {
        uint8_t next = pv__order_rules[out.before][order.kind].next;
        if (next != PV_STATE_COUNT) assert_int_equal(out.after, next);
    }
    if (before.shut && !w->p.shut) assert_int_equal(order.kind, PV_ORDER_ALLOW);
    /* Keys end with a wipe that has ended, and with nothing else. */
    if (w->p.shut) w->active = 0;
    assert_int_equal(w->p.key, w->active);
}

/* The world turns: time, policy, administrator, version. */
static void turn(struct world *w)
{
    switch (pick(24)) {
    case 0: w->now += pick(2 * PV_OFFER_LIFE); break;
    case 1: w->now -= pick(2 * PV_OFFER_LIFE); break;
    case 2: w->policy.revision++, w->policy.hash[pick(PV_HASH_LEN)] ^= 1; break;
    case 3: w->policy.allow_partial = pick(2); break;
    case 4: w->policy.allow_non_provisionable = pick(2); break;
    case 5: w->policy.allow_external = pick(2); break;
    case 6: w->policy.uncarried = pick(4) == 0; break;
    case 7: w->policy.refresh_interval = pick(2) ? 3600 : 0; break;
    case 8:
    case 9: administer(w); break;
    case 10: w->version = (enum pv_version)pick(PV_VERSION_COUNT); break;
    case 11:
        w->policy.non_provisionable_until = pick(2) ? 0 : w->now + pick(PV_OFFER_LIFE);
        break;
    default: w->now += pick(60); break;
    }
}

static struct pv_server_in some_request(const struct world *w)
{
    struct pv_server_in in = {
        .event = (enum pv_event)pick(PV_EVENT_COUNT), .version = w->version, .now = w->now,
        .key = some_key(w), .status = pick(12) ? 1 + pick(4) : pick(6),
        .wipe = (enum pv_wipe_kind)(1 + pick(2)), .type_fits = pick(8) != 0,
        .has_device_info = pick(4) != 0, .require_device_info = pick(4) == 0,
        .policy = w->policy};

    if (pick(2)) in.event = pick(2) ? PV_EV_ASK : PV_EV_ACK; /* else handshakes are rare */
    if (in.event == PV_EV_ACK && pick(2)) in.status = 1;
    /* Few values, so that they collide with keys that are taken. */
    for (size_t i = 0; i < PV_RANDOM_WORDS; i++) in.random[i] = pick(20);
    in.random[PV_RANDOM_WORDS - 1] = 1000 + (uint32_t)w->count;
    return in;
}

static bool is_provision(enum pv_event event)
{
    return event != PV_EV_COMMAND && event != PV_EV_PING;
}

static bool has_offer(const struct pv_partnership *p, uint32_t key)
{
    for (size_t i = 0; i < PV_OFFER_MAX; i++)
        if (p->offers[i].key == key) return true;
    return false;
}

/* Who is let in, and by what. */
static void law_of_the_door(const struct world *w, const struct pv_server_in *in,
                            const struct pv_server_out *out)
{
    bool open = out->action == PV_ACT_ALLOW || out->action == PV_ACT_INBOX_ONLY;

    if (!open) return;
    assert_false(is_provision(in->event));
    assert_true(!pv__wipe_pending(&w->p) && !w->p.shut);
    assert_true(w->p.access != PV_ACCESS_BLOCKED);
    assert_int_equal(out->action == PV_ACT_INBOX_ONLY, w->p.access == PV_ACCESS_QUARANTINED);
    if (out->reason == PV_WHY_NON_PROVISIONABLE) {
        assert_true(in->policy.allow_non_provisionable && !w->asked && !w->held);
        assert_true(!in->policy.non_provisionable_until
                    || in->now < in->policy.non_provisionable_until);
        if (in->event == PV_EV_COMMAND) assert_int_equal(in->key.kind, PV_KEY_ABSENT);
        return;
    }
    assert_true(w->active != 0);
    assert_memory_equal(w->p.key_hash, in->policy.hash, PV_HASH_LEN);
    if (in->event == PV_EV_PING) return;
    assert_int_equal(in->key.kind, PV_KEY_NUMBER);
    assert_int_equal(in->key.value, w->active);
}

/* Where keys come from: only OFFER and CONFIRM tell one, and it is new. */
static void law_of_keys(const struct world *w, const struct pv_partnership *before,
                        const struct pv_server_in *in, const struct pv_server_out *out)
{
    bool repeated = out->reason == PV_WHY_REPEATED_ACK;

    assert_int_equal(out->key != 0,
                     out->action == PV_ACT_OFFER || out->action == PV_ACT_CONFIRM);
    if (out->key && !repeated) {
        assert_true(out->key != before->key && out->key != before->acked_offer);
        assert_false(has_offer(before, out->key));
    }
    if (out->action == PV_ACT_OFFER) {
        assert_int_equal(in->event, PV_EV_ASK);
        assert_true(has_offer(&w->p, out->key));
        assert_int_equal(w->p.key, before->key);
    }
    if (out->action == PV_ACT_CONFIRM) {
        assert_int_equal(in->event, PV_EV_ACK);
        assert_int_equal(w->p.key, out->key);
        if (repeated) assert_true(out->key == w->active && !w->used);
        else assert_true(has_offer(before, in->key.value) && out->store == PV_STORE_FIRST);
    }
    if (out->action != PV_ACT_CONFIRM && !w->p.shut)
        assert_int_equal(w->p.key, before->key);
    /* Unlike a used key, an offer ends by age, by being the oldest of four, or by confirmation. */
    for (size_t i = 0; i < PV_OFFER_MAX; i++) {
        bool kept = !before->offers[i].key || has_offer(&w->p, before->offers[i].key);
        assert_true(kept || out->action == PV_ACT_OFFER || out->action == PV_ACT_CONFIRM
                    || w->p.shut);
    }
}

static void law_of_wipes(const struct world *w, const struct pv_partnership *before,
                         const struct pv_server_in *in, const struct pv_server_out *out)
{
    bool pending = pv__wipe_pending(before), expired = w->p.wipe_state == PV_WIPE_STATE_EXPIRED;

    if (!pending) assert_true(out->action != PV_ACT_DIRECTIVE);
    if (out->action == PV_ACT_DIRECTIVE) {
        assert_int_equal(out->wipe, before->wipe);
        assert_true(out->wipe != PV_WIPE_ACCOUNT || in->version == PV_V16_1);
        assert_true(w->p.wipe_state != PV_WIPE_STATE_REQUESTED);
    }
    if (pending && !pv__wipe_pending(&w->p)) {
        assert_true(out->store == PV_STORE_FIRST && w->p.shut && w->p.key == 0);
        if (expired) assert_true(before->wipe_expires_at <= in->now);
        else assert_true(in->event == PV_EV_WIPE_ACK && in->status == 1
                         && (uint8_t)in->wipe == before->wipe
                         && before->wipe_state != PV_WIPE_STATE_REQUESTED);
    }
    if (pending && is_provision(in->event)) assert_int_equal(out->key, 0);
    if (before->shut) assert_true(w->p.shut);
}

/* What the rule of the table says, or less. */
static void law_of_the_table(const struct pv_partnership *before, const struct world *w,
                             const struct pv_server_in *in, const struct pv_server_out *out)
{
    const struct pv__rule *rule = &pv__rules[out->before][in->event];
    bool acted = rule->given && out->action == (enum pv_action)rule->act;

    assert_int_equal(out->before, pv_server_state(before, &in->policy, in->now));
    assert_int_equal(out->after, pv_server_state(&w->p, &in->policy, in->now));
    if (acted && out->action == PV_ACT_OFFER) assert_int_equal(out->after, rule->next);
    if (acted && out->action == PV_ACT_CONFIRM && out->reason != PV_WHY_REPEATED_ACK
        && memcmp(w->p.key_hash, in->policy.hash, PV_HASH_LEN) == 0)
        assert_int_equal(out->after, rule->next);
    if (out->action == PV_ACT_REFUSE) assert_true(out->status >= 129 && out->status <= 144);
    if (is_provision(in->event)) assert_true(out->action != PV_ACT_REFUSE);
    if (out->store == PV_STORE_NOTHING) assert_memory_equal(before, &w->p, sizeof *before);
    else assert_memory_not_equal(before, &w->p, sizeof *before);
}

static void learn(struct world *w, const struct pv_server_in *in, const struct pv_server_out *out)
{
    if (out->key && out->reason != PV_WHY_REPEATED_ACK) w->told[w->count++] = out->key;
    if (is_provision(in->event)) w->asked = true;
    if (out->action == PV_ACT_CONFIRM && out->reason != PV_WHY_REPEATED_ACK) {
        w->active = out->key;
        w->used = false;
        w->held = true;
    }
    if (w->p.shut) w->active = 0;
    /* Seen by the gate only where a key is looked at. */
    if (in->event == PV_EV_COMMAND && pv_key_is(in->key, w->active)
        && (out->action == PV_ACT_ALLOW || out->action == PV_ACT_INBOX_ONLY || out->status == 143))
        w->used = true;
}

static void live(struct world *w)
{
    for (unsigned n = 1 + pick(EVENTS_MAX); n; n--) {
        struct pv_server_out out;

        turn(w);
        struct pv_server_in in = some_request(w);
        struct pv_partnership before = w->p;
        enum pv_err err = pv_server_step(&w->p, &in, &out);
        assert_int_equal(err, PV_OK);
        law_of_the_door(w, &in, &out);
        law_of_keys(w, &before, &in, &out);
        law_of_wipes(w, &before, &in, &out);
        law_of_the_table(&before, w, &in, &out);
        learn(w, &in, &out);
        actions[out.action]++;
        reasons[out.reason]++;
        states[out.before]++;
    }
}

static void random_histories(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < HISTORIES; i++) {
        struct world w;

        random_state = (i + 1) * 0x9E3779B97F4A7C15;
        /* Padding too: partnerships are compared as bytes. */
        memset(&w, 0, sizeof w);
        w.now = 1700000000;
        w.version = (enum pv_version)pick(PV_VERSION_COUNT);
        w.policy.revision = 1;
        w.policy.allow_non_provisionable = pick(4) == 0;
        live(&w);
    }
    /* The histories went everywhere. */
    for (size_t i = 0; i < PV_ACTION_COUNT; i++) assert_true(actions[i] > 100);
    for (size_t i = 0; i < PV_REASON_COUNT; i++)
        if (i != PV_WHY_QUARANTINED && i != PV_WHY_LOOP) /* the latter is a word of the server */
            assert_true(reasons[i] > 20);
    for (size_t i = 0; i < PV_STATE_COUNT; i++) assert_true(states[i] > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_histories),
    };

    return cmocka_run_group_tests_name("server_model", tests, NULL, NULL);
}

/* What the tests of the server's machine share: scripts of requests with the decision that each
 * must get. */
#ifndef TESTS_SERVER_SCRIPT_H
#define TESTS_SERVER_SCRIPT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <provost/provision.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))
#define NOON 1700000000

/* A device, its policy, and every key that it was ever told. */
struct world {
    struct pv_partnership p;
    struct pv_policy_facts policy;
    enum pv_version version;
    int64_t now;
    bool require_info, has_info, type_fits;
    uint32_t next_random;
    uint64_t wipes;
    uint32_t temp[32], final[32];
    size_t temps, finals;
};

/* Which key a request carries. T0 is the newest temporary key, T1 the one before; F0, F1 final. */
enum pick { NONE, ZERO, BAD_KEY, STRANGER, T0, T1, T2, T3, T4, F0, F1 };

struct line {
    enum pv_event event;
    enum pick key;
    unsigned status; /* of an acknowledgement */
    enum pv_action action;
    unsigned want; /* status of the answer */
    enum pv_reason why;
    void (*before)(struct world *w);
    enum pv_wipe_kind wipe; /* acknowledged */
};

static inline struct pv_sent_key key_of(const struct world *w, enum pick pick)
{
    size_t back = pick >= F0 ? pick - F0 : pick - T0;

    switch (pick) {
    case NONE: return (struct pv_sent_key){PV_KEY_ABSENT, 0};
    case ZERO: return (struct pv_sent_key){PV_KEY_ZERO, 0};
    case BAD_KEY: return (struct pv_sent_key){PV_KEY_BAD, 0};
    case STRANGER: return (struct pv_sent_key){PV_KEY_NUMBER, 1234567890};
    default:
        assert_true(back < (pick >= F0 ? w->finals : w->temps));
        return (struct pv_sent_key){PV_KEY_NUMBER, pick >= F0 ? w->final[w->finals - 1 - back]
                                                              : w->temp[w->temps - 1 - back]};
    }
}

static inline struct pv_server_out request(struct world *w, const struct line *l)
{
    struct pv_server_in in = {
        .event = l->event, .version = w->version, .now = w->now, .key = key_of(w, l->key),
        .status = l->status, .wipe = l->wipe, .type_fits = w->type_fits,
        .has_device_info = w->has_info, .require_device_info = w->require_info,
        .policy = w->policy};
    struct pv_server_out out;

    for (size_t i = 0; i < PV_RANDOM_WORDS; i++) in.random[i] = ++w->next_random;
    assert_int_equal(pv_server_step(&w->p, &in, &out), PV_OK);
    if (out.action == PV_ACT_OFFER) w->temp[w->temps++] = out.key;
    if (out.action == PV_ACT_CONFIRM && out.reason != PV_WHY_REPEATED_ACK)
        w->final[w->finals++] = out.key;
    return out;
}

static inline struct world new_world(void)
{
    return (struct world){.version = PV_V14_1, .now = NOON, .has_info = true, .type_fits = true,
                          .next_random = 1000, .policy = {.revision = 1, .hash = {1}}};
}

static inline void run(const char *name, struct world *w, const struct line *lines, size_t count)
{
    print_message("# %s\n", name);
    for (size_t i = 0; i < count; i++) {
        if (lines[i].before) lines[i].before(w);
        struct pv_server_out out = request(w, &lines[i]);
        if (out.action != lines[i].action || out.status != lines[i].want
            || out.reason != lines[i].why)
            fail_msg("%s, line %zu: action %d status %u %s", name, i, (int)out.action, out.status,
                     pv_reason_name(out.reason));
    }
}
#define RUN(name, world, ...)                                        \
    do {                                                             \
        const struct line lines_[] = {__VA_ARGS__};                  \
        run(name, world, lines_, COUNT(lines_));                     \
    } while (0)

#define COMMAND(key, ...) {PV_EV_COMMAND, key, 0, __VA_ARGS__}
#define PING(...) {PV_EV_PING, NONE, 0, __VA_ARGS__}
#define POLL(...) {PV_EV_POLL, NONE, 0, __VA_ARGS__}
#define ASK(...) {PV_EV_ASK, NONE, 0, __VA_ARGS__}
#define ACK(key, status, ...) {PV_EV_ACK, key, status, __VA_ARGS__}
#define BAD(...) {PV_EV_BAD, NONE, 0, __VA_ARGS__}
#define WIPED(kind, status, ...) \
    {PV_EV_WIPE_ACK, NONE, status, __VA_ARGS__, .wipe = PV_WIPE_##kind}

#define LET_IN PV_ACT_ALLOW, 0, PV_WHY_OK
#define INBOX PV_ACT_INBOX_ONLY, 0, PV_WHY_QUARANTINED
#define OFFERED PV_ACT_OFFER, 1, PV_WHY_OK
#define CONFIRMED PV_ACT_CONFIRM, 1, PV_WHY_OK
#define REPEATED PV_ACT_CONFIRM, 1, PV_WHY_REPEATED_ACK
#define WRONG_OFFER PV_ACT_POLICY_STATUS, 5, PV_WHY_UNKNOWN_OFFER
#define REFUSED(status, why) PV_ACT_REFUSE, status, PV_WHY_##why
#define PROVISION(status, why) PV_ACT_PROVISION_STATUS, status, PV_WHY_##why
#define SEVEN(why) PV_ACT_PING_7, 7, PV_WHY_##why
#define NOTHING PV_ACT_PLAIN, 1, PV_WHY_OK
#define DIRECTIVE(status) PV_ACT_DIRECTIVE, status, PV_WHY_WIPE
#define WAITS PV_ACT_PLAIN, 1, PV_WHY_WIPE
#define WITHOUT PV_ACT_ALLOW, 0, PV_WHY_NON_PROVISIONABLE
#define HANDSHAKE ASK(OFFERED), ACK(T0, 1, CONFIRMED)

static inline void a_day_later(struct world *w) { w->now += PV_OFFER_LIFE; }
static inline void almost_a_day_later(struct world *w) { w->now += PV_OFFER_LIFE - 1; }
static inline void an_hour_later(struct world *w) { w->now += 3600; }
static inline void clock_goes_back(struct world *w) { w->now -= 100 * 365 * 86400LL; }
static inline void policy_changes(struct world *w) { w->policy.revision++, w->policy.hash[0]++; }
static inline void saved_without_change(struct world *w) { w->policy.revision++; }
static inline void hourly(struct world *w) { w->policy.refresh_interval = 3600; }
static inline void allow_partial(struct world *w) { w->policy.allow_partial = true; }
static inline void allow_any(struct world *w) { w->policy.allow_non_provisionable = true; }
static inline void allow_external(struct world *w) { w->policy.allow_external = true; }
static inline void allow_none(struct world *w)
{
    w->policy.allow_partial = w->policy.allow_non_provisionable = w->policy.allow_external = false;
}
static inline void uncarried(struct world *w) { w->policy.uncarried = true; }
static inline void quarantine(struct world *w) { w->p.access = PV_ACCESS_QUARANTINED; }
static inline void block(struct world *w) { w->p.access = PV_ACCESS_BLOCKED; }
static inline void allow(struct world *w) { w->p.access = PV_ACCESS_OK; }
/* As administrators do; `expires` in seconds from now, 0 never. */
static inline struct pv_server_out order(struct world *w, enum pv_order_kind kind, int64_t expires)
{
    const struct pv_order o = {
        .kind = kind, .now = w->now, .wipe_id = ++w->wipes,
        .wipe_expires_at = expires ? w->now + expires : 0, .policy = w->policy};
    struct pv_server_out out;

    assert_int_equal(pv_server_order(&w->p, &o, &out), PV_OK);
    return out;
}
static inline void order_wipe(struct world *w) { order(w, PV_ORDER_WIPE_DEVICE, 0); }
static inline void order_account_wipe(struct world *w) { order(w, PV_ORDER_WIPE_ACCOUNT, 0); }
static inline void order_wipe_within_the_hour(struct world *w)
{
    order(w, PV_ORDER_WIPE_DEVICE, 3600);
}
static inline void cancel(struct world *w) { order(w, PV_ORDER_CANCEL_WIPE, 0); }
static inline void let_in(struct world *w) { order(w, PV_ORDER_ALLOW, 0); }
static inline void almost_an_hour_later(struct world *w) { w->now += 3599; }
static inline void at_16_1(struct world *w) { w->version = PV_V16_1; }
static inline void at_14_0(struct world *w) { w->version = PV_V14_0; }
static inline void at_12_1(struct world *w) { w->version = PV_V12_1; }
static inline void wrong_type(struct world *w) { w->type_fits = false; }
static inline void right_type(struct world *w) { w->type_fits = true; }
static inline void demand_info(struct world *w) { w->require_info = true, w->has_info = false; }
static inline void send_info(struct world *w) { w->has_info = true; }

#endif

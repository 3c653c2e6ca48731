/* The server's machine: scripts of requests with the decision that each must get. */
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

static struct pv_sent_key key_of(const struct world *w, enum pick pick)
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

static struct pv_server_out request(struct world *w, const struct line *l)
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

static struct world new_world(void)
{
    return (struct world){.version = PV_V14_1, .now = NOON, .has_info = true, .type_fits = true,
                          .next_random = 1000, .policy = {.revision = 1, .hash = {1}}};
}

static void run(const char *name, struct world *w, const struct line *lines, size_t count)
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
    {PV_EV_WIPE_ACK, NONE, status, __VA_ARGS__, NULL, PV_WIPE_##kind}

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
#define HANDSHAKE ASK(OFFERED), ACK(T0, 1, CONFIRMED)

static void a_day_later(struct world *w) { w->now += PV_OFFER_LIFE; }
static void almost_a_day_later(struct world *w) { w->now += PV_OFFER_LIFE - 1; }
static void an_hour_later(struct world *w) { w->now += 3600; }
static void clock_goes_back(struct world *w) { w->now -= 100 * 365 * 86400LL; }
static void policy_changes(struct world *w) { w->policy.revision++, w->policy.hash[0]++; }
static void saved_without_change(struct world *w) { w->policy.revision++; }
static void hourly(struct world *w) { w->policy.refresh_interval = 3600; }
static void allow_partial(struct world *w) { w->policy.allow_partial = true; }
static void allow_any(struct world *w) { w->policy.allow_non_provisionable = true; }
static void allow_external(struct world *w) { w->policy.allow_external = true; }
static void allow_none(struct world *w)
{
    w->policy.allow_partial = w->policy.allow_non_provisionable = w->policy.allow_external = false;
}
static void uncarried(struct world *w) { w->policy.uncarried = true; }
static void quarantine(struct world *w) { w->p.access = PV_ACCESS_QUARANTINED; }
static void block(struct world *w) { w->p.access = PV_ACCESS_BLOCKED; }
static void allow(struct world *w) { w->p.access = PV_ACCESS_OK; }
static void order_wipe(struct world *w)
{
    w->p.wipe = PV_WIPE_DEVICE;
    w->p.wipe_state = PV_WIPE_STATE_REQUESTED;
}
static void order_account_wipe(struct world *w)
{
    w->p.wipe = PV_WIPE_ACCOUNT;
    w->p.wipe_state = PV_WIPE_STATE_REQUESTED;
}
static void at_16_1(struct world *w) { w->version = PV_V16_1; }
static void at_14_0(struct world *w) { w->version = PV_V14_0; }
static void at_12_1(struct world *w) { w->version = PV_V12_1; }
static void wrong_type(struct world *w) { w->type_fits = false; }
static void right_type(struct world *w) { w->type_fits = true; }
static void demand_info(struct world *w) { w->require_info = true, w->has_info = false; }
static void send_info(struct world *w) { w->has_info = true; }

/* ---- the four phases --------------------------------------------------------------------- */

static void the_four_phases(void **state)
{
    struct world w = new_world();

    (void)state;
    assert_int_equal(pv_server_state(&w.p, &w.policy, w.now), PV_STATE_NEW);
    RUN("refused, offered, confirmed, let in", &w,
        COMMAND(NONE, REFUSED(141, NO_KEY)), COMMAND(ZERO, REFUSED(142, KEY_ZERO)),
        COMMAND(STRANGER, REFUSED(144, WRONG_KEY)), COMMAND(BAD_KEY, REFUSED(144, WRONG_KEY)),
        PING(REFUSED(142, NOT_PROVISIONED)), POLL(NOTHING), ASK(OFFERED),
        COMMAND(T0, REFUSED(144, OFFER_KEY)), COMMAND(ZERO, REFUSED(142, KEY_ZERO)),
        COMMAND(NONE, REFUSED(141, NO_KEY)), PING(REFUSED(142, NOT_PROVISIONED)),
        ACK(T0, 1, CONFIRMED), COMMAND(T0, REFUSED(144, OFFER_KEY)), COMMAND(F0, LET_IN),
        COMMAND(F0, LET_IN), PING(LET_IN), COMMAND(T0, REFUSED(144, WRONG_KEY)),
        COMMAND(NONE, REFUSED(141, NO_KEY)), COMMAND(ZERO, REFUSED(142, KEY_ZERO)),
        COMMAND(STRANGER, REFUSED(144, WRONG_KEY)), BAD(PROVISION(2, BAD_REQUEST)),
        COMMAND(F0, LET_IN));
    assert_int_equal(pv_server_state(&w.p, &w.policy, w.now), PV_STATE_PROVISIONED);
    assert_int_equal(w.p.outcome, PV_OUTCOME_COMPLIANT);
    assert_true(w.temp[0] != w.final[0]);
}

static void offers(void **state)
{
    struct world w = new_world();

    (void)state;
    RUN("several are open, each is good, an unknown key voids none", &w,
        ASK(OFFERED), ASK(OFFERED), ASK(OFFERED), ACK(STRANGER, 1, WRONG_OFFER),
        ACK(NONE, 1, WRONG_OFFER), ACK(ZERO, 1, WRONG_OFFER), ACK(BAD_KEY, 1, WRONG_OFFER),
        ACK(T2, 1, CONFIRMED), ACK(T1, 1, WRONG_OFFER), COMMAND(F0, LET_IN));

    w = new_world();
    RUN("the fifth drops the oldest", &w, ASK(OFFERED), ASK(OFFERED), ASK(OFFERED), ASK(OFFERED),
        ASK(OFFERED), ACK(T4, 1, WRONG_OFFER), ACK(T3, 1, CONFIRMED));

    w = new_world();
    RUN("each lives a day", &w, ASK(OFFERED), ACK(T0, 1, CONFIRMED, almost_a_day_later));
    w = new_world();
    RUN("no longer", &w, ASK(OFFERED),
        ACK(T0, 1, PV_ACT_POLICY_STATUS, 5, PV_WHY_OFFER_EXPIRED, a_day_later), ASK(OFFERED),
        ACK(T0, 1, CONFIRMED));
    w = new_world();
    RUN("a clock that goes back ends none", &w, ASK(OFFERED),
        ACK(T0, 1, CONFIRMED, clock_goes_back));

    w = new_world();
    RUN("a new one leaves the active key alone", &w, HANDSHAKE, ASK(OFFERED), ASK(OFFERED),
        COMMAND(F0, LET_IN), ACK(T1, 1, CONFIRMED), COMMAND(F1, REFUSED(144, WRONG_KEY)),
        COMMAND(F0, LET_IN));

    w = new_world();
    RUN("the final key acknowledges nothing", &w, HANDSHAKE, ASK(OFFERED), ACK(F0, 1, WRONG_OFFER));
    w = new_world();
    RUN("the key is looked at before the Status", &w, ACK(STRANGER, 2, WRONG_OFFER),
        ACK(STRANGER, 4, WRONG_OFFER));
}

static void repeated_acknowledgements(void **state)
{
    struct world w = new_world();
    struct pv_server_out out;

    (void)state;
    RUN("same key until it was used", &w, HANDSHAKE, ACK(T0, 1, REPEATED), ACK(T0, 1, REPEATED),
        ACK(T0, 2, WRONG_OFFER), PING(LET_IN), ACK(T0, 1, REPEATED), ASK(OFFERED),
        ACK(T1, 1, REPEATED));
    out = request(&w, &(struct line)ACK(T1, 1, REPEATED));
    assert_int_equal(out.key, w.final[0]);
    assert_int_equal(out.store, PV_STORE_NOTHING);
    out = request(&w, &(struct line)COMMAND(F0, LET_IN));
    assert_int_equal(out.store, PV_STORE_BEHIND);
    RUN("then it is over", &w, ACK(T1, 1, WRONG_OFFER), COMMAND(F0, LET_IN));

    w = new_world();
    RUN("with the Status that was accepted", &w, ASK(OFFERED),
        ACK(T0, 2, CONFIRMED, allow_partial), ACK(T0, 2, REPEATED), ACK(T0, 1, WRONG_OFFER));
    w = new_world();
    RUN("a wrong key uses nothing", &w, HANDSHAKE, COMMAND(ZERO, REFUSED(142, KEY_ZERO)),
        ACK(T0, 1, REPEATED));
}

/* ---- what the device says of the policy -------------------------------------------------- */

static void honest_acknowledgements(void **state)
{
    static const struct {
        unsigned status, refusal;
        enum pv_reason why;
        void (*allowed)(struct world *);
        enum pv_outcome outcome;
    } cases[] = {
        {2, 139, PV_WHY_PARTIAL_REFUSED, allow_partial, PV_OUTCOME_PARTIAL},
        {3, 139, PV_WHY_NOT_APPLIED_REFUSED, allow_any, PV_OUTCOME_NOT_APPLIED},
        {4, 145, PV_WHY_EXTERNAL_REFUSED, allow_external, PV_OUTCOME_EXTERNAL},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct world w = new_world();
        unsigned status = cases[i].status;
        struct pv_server_out out;

        RUN("refused, the offer stays open, 1 is accepted later", &w, ASK(OFFERED),
            ACK(T0, status, PV_ACT_PROVISION_STATUS, cases[i].refusal, cases[i].why),
            COMMAND(ZERO, REFUSED(142, KEY_ZERO)), COMMAND(T0, REFUSED(144, OFFER_KEY)));
        assert_int_equal(pv_server_state(&w.p, &w.policy, w.now), PV_STATE_REFUSED);
        assert_int_equal(w.p.outcome, PV_OUTCOME_REFUSED);
        assert_int_equal(w.p.said, status);
        assert_int_equal(w.p.outcome_revision, 1);
        assert_int_equal(w.p.key, 0);
        RUN("...", &w, ACK(T0, status, PV_ACT_PROVISION_STATUS, cases[i].refusal, cases[i].why),
            ACK(T0, 1, CONFIRMED), COMMAND(F0, LET_IN));
        assert_int_equal(w.p.outcome, PV_OUTCOME_COMPLIANT);
        assert_int_equal(pv_server_state(&w.p, &w.policy, w.now), PV_STATE_PROVISIONED);

        RUN("the active key stays", &w, ASK(OFFERED),
            ACK(T0, status, PV_ACT_PROVISION_STATUS, cases[i].refusal, cases[i].why),
            COMMAND(F0, LET_IN));
        assert_int_equal(pv_server_state(&w.p, &w.policy, w.now), PV_STATE_PROVISIONED);
        assert_int_equal(w.p.outcome, PV_OUTCOME_REFUSED);

        RUN("allowed", &w, ACK(T0, status, CONFIRMED, cases[i].allowed), COMMAND(F0, LET_IN));
        assert_int_equal(w.p.outcome, cases[i].outcome);
        assert_int_equal(w.p.said, status);

        w = new_world();
        cases[(i + 1) % COUNT(cases)].allowed(&w);
        RUN("allowed by its own treatment only", &w, ASK(OFFERED));
        out = request(&w, &(struct line)ACK(T0, status, LET_IN));
        assert_int_equal(out.status, cases[i].refusal);
    }
}

static void an_impossible_status(void **state)
{
    struct world w = new_world();

    (void)state;
    RUN("0, 5", &w, ASK(OFFERED), ACK(T0, 0, PROVISION(2, BAD_REQUEST)),
        ACK(T0, 5, PROVISION(2, BAD_REQUEST)), ACK(T0, 1, CONFIRMED));
}

static void demands_on_the_request(void **state)
{
    struct world w = new_world();

    (void)state;
    RUN("type", &w, ASK(PV_ACT_POLICY_STATUS, 3, PV_WHY_UNKNOWN_TYPE, wrong_type),
        ACK(STRANGER, 1, PV_ACT_POLICY_STATUS, 3, PV_WHY_UNKNOWN_TYPE), ASK(OFFERED, right_type),
        ACK(T0, 1, PV_ACT_POLICY_STATUS, 3, PV_WHY_UNKNOWN_TYPE, wrong_type),
        ACK(T0, 1, CONFIRMED, right_type));
    w = new_world();
    RUN("device information", &w, ASK(PROVISION(165, NO_DEVICE_INFO), demand_info),
        ASK(OFFERED, at_14_0), ASK(PROVISION(165, NO_DEVICE_INFO), at_16_1),
        ASK(OFFERED, send_info), ACK(T0, 1, CONFIRMED, demand_info));
}

/* ---- refresh ----------------------------------------------------------------------------- */

static void refresh(void **state)
{
    struct world w = new_world();

    (void)state;
    RUN("a changed policy", &w, HANDSHAKE, COMMAND(F0, LET_IN),
        COMMAND(F0, REFUSED(143, POLICY_CHANGED), policy_changes), PING(SEVEN(POLICY_CHANGED)),
        COMMAND(NONE, REFUSED(141, NO_KEY)), COMMAND(ZERO, REFUSED(142, KEY_ZERO)),
        COMMAND(STRANGER, REFUSED(144, WRONG_KEY)), ASK(OFFERED),
        COMMAND(F0, REFUSED(143, POLICY_CHANGED)), COMMAND(T0, REFUSED(144, OFFER_KEY)),
        ACK(T0, 1, CONFIRMED), COMMAND(F1, REFUSED(144, WRONG_KEY)), COMMAND(F0, LET_IN),
        PING(LET_IN));
    RUN("saved without a change", &w, COMMAND(F0, LET_IN, saved_without_change));

    w = new_world();
    RUN("changed between offer and acknowledgement", &w, ASK(OFFERED),
        ACK(T0, 1, CONFIRMED, policy_changes), COMMAND(F0, REFUSED(143, POLICY_CHANGED)));
    assert_int_equal(w.p.key_revision, 1);
    RUN("asked again", &w, ACK(T0, 1, WRONG_OFFER), HANDSHAKE, COMMAND(F0, LET_IN));
    assert_int_equal(w.p.key_revision, 2);

    w = new_world();
    RUN("the interval", &w, HANDSHAKE, COMMAND(F0, LET_IN, an_hour_later), HANDSHAKE,
        COMMAND(F0, LET_IN, hourly),
        COMMAND(F0, REFUSED(143, REFRESH_INTERVAL), an_hour_later), PING(SEVEN(REFRESH_INTERVAL)));
    assert_int_equal(pv_server_state(&w.p, &w.policy, w.now), PV_STATE_REFRESH_DUE);
    RUN("is over", &w, HANDSHAKE, COMMAND(F0, LET_IN),
        COMMAND(F0, REFUSED(143, REFRESH_INTERVAL), an_hour_later),
        COMMAND(F0, LET_IN, clock_goes_back));

    w = new_world();
    RUN("refused at the refresh", &w, HANDSHAKE, ASK(OFFERED, policy_changes),
        ACK(T0, 2, PROVISION(139, PARTIAL_REFUSED)), COMMAND(F0, REFUSED(143, POLICY_CHANGED)),
        PING(SEVEN(POLICY_CHANGED)));
    assert_int_equal(pv_server_state(&w.p, &w.policy, w.now), PV_STATE_REFUSED);
    RUN("accepted then", &w, ACK(T0, 1, CONFIRMED), COMMAND(F0, LET_IN));
}

/* ---- devices that cannot ----------------------------------------------------------------- */

static void non_provisionable(void **state)
{
#define WITHOUT PV_ACT_ALLOW, 0, PV_WHY_NON_PROVISIONABLE
    struct world w = new_world();

    (void)state;
    RUN("let in without any key", &w, COMMAND(NONE, WITHOUT, allow_any), PING(WITHOUT),
        COMMAND(ZERO, REFUSED(142, KEY_ZERO)), COMMAND(STRANGER, REFUSED(144, WRONG_KEY)),
        COMMAND(BAD_KEY, REFUSED(144, WRONG_KEY)), COMMAND(NONE, WITHOUT),
        COMMAND(NONE, REFUSED(141, NO_KEY), allow_none), COMMAND(NONE, WITHOUT, allow_any));
    assert_int_equal(w.p.outcome, PV_OUTCOME_NON_PROVISIONABLE);

    const struct line asks[] = {ASK(OFFERED), POLL(NOTHING), ACK(STRANGER, 1, WRONG_OFFER),
                                BAD(PROVISION(2, BAD_REQUEST)), WIPED(DEVICE, 1, NOTHING)};
    for (size_t i = 0; i < COUNT(asks); i++) {
        struct world one = w;
        RUN("until it asks", &one, COMMAND(NONE, WITHOUT), asks[i],
            COMMAND(NONE, REFUSED(141, NO_KEY)), PING(REFUSED(142, NOT_PROVISIONED)));
    }
    RUN("nor once it held a key", &w, HANDSHAKE, COMMAND(F0, LET_IN),
        COMMAND(NONE, REFUSED(141, NO_KEY)));
    assert_true(w.p.provisioned_once);
    w.p.asked = false;
    RUN("whatever else is forgotten", &w, COMMAND(NONE, REFUSED(141, NO_KEY)));
    w = new_world();
    RUN("in quarantine", &w, COMMAND(NONE, WITHOUT, allow_any),
        COMMAND(NONE, PV_ACT_INBOX_ONLY, 0, PV_WHY_NON_PROVISIONABLE, quarantine));
}

static void version_that_cannot_carry(void **state)
{
    struct world w = new_world();

    (void)state;
    RUN("a new device", &w, COMMAND(ZERO, REFUSED(139, UNCARRIED), uncarried),
        COMMAND(NONE, REFUSED(139, UNCARRIED)), PING(REFUSED(139, UNCARRIED)),
        ASK(PROVISION(139, UNCARRIED)), POLL(NOTHING));
    assert_int_equal(pv_server_state(&w.p, &w.policy, w.now), PV_STATE_REFUSED);
    RUN("borne", &w, ASK(OFFERED, allow_partial), ACK(T0, 1, CONFIRMED), COMMAND(F0, LET_IN));
    RUN("no longer borne, but nothing new to it", &w, COMMAND(F0, LET_IN, allow_none),
        PING(LET_IN), COMMAND(ZERO, REFUSED(142, KEY_ZERO)), HANDSHAKE, COMMAND(F0, LET_IN));
    RUN("the interval is over, but nothing is new", &w, COMMAND(F0, LET_IN, hourly),
        COMMAND(F0, REFUSED(143, REFRESH_INTERVAL), an_hour_later), HANDSHAKE,
        COMMAND(F0, LET_IN));
    RUN("news", &w, COMMAND(F0, REFUSED(139, UNCARRIED), policy_changes),
        PING(SEVEN(POLICY_CHANGED)), ASK(PROVISION(139, UNCARRIED)));
    w = new_world();
    RUN("borne as not provisionable", &w, COMMAND(ZERO, REFUSED(139, UNCARRIED), uncarried),
        ASK(OFFERED, allow_any), ACK(T0, 1, CONFIRMED), COMMAND(F0, LET_IN));
    w = new_world();
    RUN("in quarantine", &w, ASK(PROVISION(139, UNCARRIED), uncarried),
        COMMAND(ZERO, REFUSED(139, UNCARRIED), quarantine), ASK(PROVISION(139, UNCARRIED)));
    w = new_world();
    RUN("offered before", &w, ASK(OFFERED), ACK(T0, 1, CONFIRMED, uncarried), COMMAND(F0, LET_IN));
}

/* ---- administration ---------------------------------------------------------------------- */

static void quarantined(void **state)
{
    struct world w = new_world();

    (void)state;
    RUN("provisions, then sees the Inbox only", &w,
        COMMAND(ZERO, REFUSED(142, KEY_ZERO), quarantine), PING(REFUSED(142, NOT_PROVISIONED)),
        POLL(NOTHING), HANDSHAKE, ACK(T0, 1, REPEATED), COMMAND(F0, INBOX), PING(INBOX),
        COMMAND(STRANGER, REFUSED(144, WRONG_KEY)),
        COMMAND(F0, REFUSED(143, POLICY_CHANGED), policy_changes), PING(SEVEN(POLICY_CHANGED)),
        BAD(PROVISION(2, BAD_REQUEST)), HANDSHAKE, COMMAND(F0, INBOX), COMMAND(F0, LET_IN, allow));
}

static void blocked(void **state)
{
    struct world w = new_world();

    (void)state;
    RUN("with a key", &w, HANDSHAKE, ASK(OFFERED), COMMAND(F0, LET_IN),
        COMMAND(F0, REFUSED(129, BLOCKED), block), COMMAND(NONE, REFUSED(129, BLOCKED)),
        COMMAND(T0, REFUSED(129, BLOCKED)), PING(SEVEN(BLOCKED)), POLL(PROVISION(129, BLOCKED)),
        ASK(PROVISION(129, BLOCKED)), ACK(T0, 1, PROVISION(129, BLOCKED)),
        BAD(PROVISION(129, BLOCKED)), WIPED(DEVICE, 1, PROVISION(129, BLOCKED)),
        COMMAND(F0, LET_IN, allow), ACK(T0, 1, CONFIRMED));
    w = new_world();
    RUN("without", &w, PING(REFUSED(129, BLOCKED), block), COMMAND(ZERO, REFUSED(129, BLOCKED)),
        COMMAND(NONE, REFUSED(129, BLOCKED), allow_any), PING(REFUSED(129, BLOCKED)));
}

static void wipe_of_the_device(void **state)
{
#define DIRECTIVE(status) PV_ACT_DIRECTIVE, status, PV_WHY_WIPE
    struct world w = new_world();
    struct pv_server_out out;

    (void)state;
    RUN("commands are refused, Provision gets the directive and never a policy", &w, HANDSHAKE,
        ASK(OFFERED), COMMAND(F0, LET_IN), COMMAND(F0, REFUSED(140, WIPE), order_wipe),
        COMMAND(NONE, REFUSED(140, WIPE)), COMMAND(STRANGER, REFUSED(140, WIPE), block),
        PING(SEVEN(WIPE), allow), ASK(DIRECTIVE(1)), ACK(T0, 1, DIRECTIVE(1)), BAD(DIRECTIVE(1)),
        POLL(DIRECTIVE(1), at_12_1), COMMAND(F0, REFUSED(140, WIPE)));
    assert_int_equal(w.p.wipe_state, PV_WIPE_STATE_SENT);
    assert_int_equal(w.p.key, w.final[0]);
    out = request(&w, &(struct line)WIPED(DEVICE, 2, DIRECTIVE(2)));
    assert_int_equal(out.action, PV_ACT_DIRECTIVE);
    assert_int_equal(out.status, 2);
    assert_int_equal(out.store, PV_STORE_FIRST);
    assert_int_equal(w.p.wipe_state, PV_WIPE_STATE_FAILED);
    RUN("failed, and again", &w, POLL(DIRECTIVE(1)), WIPED(DEVICE, 3, DIRECTIVE(1)),
        WIPED(ACCOUNT, 1, DIRECTIVE(1)), WIPED(ACCOUNT, 2, DIRECTIVE(1)));
    assert_int_equal(pv_server_state(&w.p, &w.policy, w.now), PV_STATE_WIPE_PENDING);
    out = request(&w, &(struct line)WIPED(DEVICE, 1, NOTHING));
    assert_int_equal(out.store, PV_STORE_FIRST);
    assert_int_equal(out.after, PV_STATE_WIPED);
    RUN("done: blocked from then on", &w, WIPED(DEVICE, 1, NOTHING),
        COMMAND(F0, REFUSED(129, WIPED)), COMMAND(NONE, REFUSED(129, WIPED), allow_any),
        PING(REFUSED(129, WIPED)), POLL(PROVISION(129, WIPED)), ASK(PROVISION(129, WIPED)),
        ACK(T0, 1, PROVISION(129, WIPED)), BAD(PROVISION(129, WIPED)));
    assert_int_equal(w.p.key, 0);

    w = new_world();
    RUN("of a device without a key", &w, PING(REFUSED(140, WIPE), order_wipe),
        COMMAND(ZERO, REFUSED(140, WIPE)), POLL(DIRECTIVE(1)));
    w = new_world();
    RUN("not ordered", &w, WIPED(DEVICE, 1, NOTHING), HANDSHAKE, WIPED(ACCOUNT, 1, NOTHING),
        COMMAND(F0, LET_IN));
}

static void wipe_of_the_account(void **state)
{
#define WAITS PV_ACT_PLAIN, 1, PV_WHY_WIPE
    struct world w = new_world();

    (void)state;
    RUN("waits below 16.1", &w, HANDSHAKE, COMMAND(F0, REFUSED(129, WIPE), order_account_wipe),
        PING(SEVEN(WIPE)), POLL(WAITS), ASK(PROVISION(129, WIPE)), ACK(T0, 1, PROVISION(129, WIPE)),
        BAD(PROVISION(129, WIPE)), WIPED(ACCOUNT, 1, WAITS), WIPED(DEVICE, 1, WAITS),
        COMMAND(F0, REFUSED(129, WIPE)));
    assert_int_equal(w.p.wipe_state, PV_WIPE_STATE_REQUESTED);
    RUN("is told at 16.1", &w, COMMAND(F0, REFUSED(140, WIPE), at_16_1), POLL(DIRECTIVE(1)),
        ASK(DIRECTIVE(1)), WIPED(DEVICE, 1, DIRECTIVE(1)), WIPED(ACCOUNT, 1, NOTHING),
        COMMAND(F0, REFUSED(129, WIPED)));
    w = new_world();
    RUN("without a key", &w, PING(REFUSED(129, WIPE), order_account_wipe));
}

/* ---- what is stored, and what a caller can do wrong -------------------------------------- */

static void durability(void **state)
{
    struct world w = new_world();

    (void)state;
    const struct { struct line line; enum pv_store store; } cases[] = {
        {COMMAND(ZERO, LET_IN), PV_STORE_NOTHING}, {PING(LET_IN), PV_STORE_NOTHING},
        {POLL(NOTHING), PV_STORE_BEHIND},          {POLL(NOTHING), PV_STORE_NOTHING},
        {ASK(OFFERED), PV_STORE_BEHIND},           {COMMAND(T0, LET_IN), PV_STORE_NOTHING},
        {ACK(STRANGER, 1, WRONG_OFFER), PV_STORE_NOTHING},
        {ACK(T0, 2, CONFIRMED), PV_STORE_BEHIND},  {ACK(T0, 2, CONFIRMED), PV_STORE_NOTHING},
        {ACK(T0, 1, CONFIRMED), PV_STORE_FIRST},   {COMMAND(F0, LET_IN), PV_STORE_BEHIND},
        {COMMAND(F0, LET_IN), PV_STORE_NOTHING},   {PING(LET_IN), PV_STORE_NOTHING},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct pv_partnership before = w.p;
        struct pv_server_out out = request(&w, &cases[i].line);
        assert_int_equal(out.store, cases[i].store);
        if (out.store == PV_STORE_NOTHING) assert_memory_equal(&before, &w.p, sizeof before);
    }
}

static void new_keys(void **state)
{
    struct world w = new_world();
    struct pv_server_in in = {.event = PV_EV_ASK, .version = PV_V14_1, .now = NOON,
                              .type_fits = true, .policy = w.policy};
    struct pv_server_out out;

    (void)state;
    RUN("taken: active, acknowledged, open", &w, HANDSHAKE, ASK(OFFERED), ASK(OFFERED));
    const uint32_t taken[PV_RANDOM_WORDS] = {0, w.final[0], w.temp[0], w.temp[1], w.temp[2],
                                             0, 0, 77};
    memcpy(in.random, taken, sizeof taken);
    assert_int_equal(pv_server_step(&w.p, &in, &out), PV_OK);
    assert_int_equal(out.key, 77);
    in.event = PV_EV_ACK;
    in.status = 1;
    in.key = (struct pv_sent_key){PV_KEY_NUMBER, 77};
    struct pv_partnership before = w.p;
    assert_int_equal(pv_server_step(&w.p, &in, &out), PV_E_USAGE);
    assert_memory_equal(&before, &w.p, sizeof before);
    in.random[5] = 78;
    assert_int_equal(pv_server_step(&w.p, &in, &out), PV_OK);
    assert_int_equal(out.key, 78);
    in.event = PV_EV_ASK;
    memset(in.random, 0, sizeof in.random);
    assert_int_equal(pv_server_step(&w.p, &in, &out), PV_E_USAGE);
    in.event = PV_EVENT_COUNT;
    assert_int_equal(pv_server_step(&w.p, &in, &out), PV_E_USAGE);
    in.event = PV_EV_PING;
    in.version = PV_VERSION_COUNT;
    assert_int_equal(pv_server_step(&w.p, &in, &out), PV_E_USAGE);
}

static void words(void **state)
{
    char big[16384], small[16384];
    size_t len;

    (void)state;
    assert_string_equal(pv_state_text(PV_STATE_REFRESH_DUE), "refresh-due");
    assert_string_equal(pv_state_text(PV_STATE_COUNT), "?");
    assert_string_equal(pv_outcome_text(PV_OUTCOME_NON_PROVISIONABLE), "non-provisionable");
    assert_string_equal(pv_outcome_text((enum pv_outcome)-1), "?");
    assert_string_equal(pv_reason_name(PV_WHY_POLICY_CHANGED), "POLICY_CHANGED");
    assert_string_equal(pv_reason_text(PV_REASON_COUNT), "?");
    assert_int_equal(pv_server_table(big, sizeof big, &len), PV_OK);
    assert_int_equal(strlen(big), len);
    for (size_t cap = 0; cap <= len; cap++)
        assert_int_equal(pv_server_table(small, cap, &len), PV_E_NOMEM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_four_phases),
        cmocka_unit_test(offers),
        cmocka_unit_test(repeated_acknowledgements),
        cmocka_unit_test(honest_acknowledgements),
        cmocka_unit_test(an_impossible_status),
        cmocka_unit_test(demands_on_the_request),
        cmocka_unit_test(refresh),
        cmocka_unit_test(non_provisionable),
        cmocka_unit_test(version_that_cannot_carry),
        cmocka_unit_test(quarantined),
        cmocka_unit_test(blocked),
        cmocka_unit_test(wipe_of_the_device),
        cmocka_unit_test(wipe_of_the_account),
        cmocka_unit_test(durability),
        cmocka_unit_test(new_keys),
        cmocka_unit_test(words),
    };

    return cmocka_run_group_tests_name("server_machine", tests, NULL, NULL);
}

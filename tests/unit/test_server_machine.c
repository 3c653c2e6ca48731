/* The server's machine: what each request gets. */
#include "server_script.h"

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

static void a_fleet_does_not_come_back_at_once(void **state)
{
    static const struct { uint32_t key; int64_t interval, at; } cases[] = {
        {0, 3600, 0}, {7, 0, 0}, {7, -1, 0}, {1, 3600, 3600}, {UINT32_MAX, 3600, 3600 - 359},
        {UINT32_MAX / 2 + 1, 36000, 36000 - 1800}, {UINT32_MAX, 9, 9}, {UINT32_MAX, 20, 20 - 1},
        {UINT32_MAX, 315360000, 315360000 - 31535999}, {1, INT64_MAX, INT64_MAX - NOON},
    };
    unsigned tenth[10] = {0};

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct pv_partnership p = {.key = cases[i].key, .key_at = NOON};
        const struct pv_policy_facts policy = {.refresh_interval = cases[i].interval};
        int64_t at = pv_refresh_at(&p, &policy);
        assert_int_equal(at, cases[i].at ? NOON + cases[i].at : 0);
    }
    /* Random keys spread evenly over the last tenth. */
    for (uint32_t i = 1; i <= 10000; i++) {
        const struct pv_partnership p = {.key = i * 2654435761u, .key_at = NOON};
        const struct pv_policy_facts policy = {.refresh_interval = 30 * 86400};
        int64_t early = NOON + 30 * 86400 - pv_refresh_at(&p, &policy);
        assert_in_range(early, 0, 3 * 86400 - 1);
        tenth[early * 10 / (3 * 86400)]++;
    }
    for (size_t i = 0; i < COUNT(tenth); i++) assert_in_range(tenth[i], 900, 1100);

    struct world w = new_world();
    w.next_random = UINT32_MAX - PV_RANDOM_WORDS - 1;
    RUN("early", &w, ASK(OFFERED, hourly));
    w.next_random = UINT32_MAX - PV_RANDOM_WORDS - 1; /* the other end of the words is taken */
    RUN("by a tenth", &w, ACK(T0, 1, CONFIRMED));
    int64_t at = pv_refresh_at(&w.p, &w.policy);
    assert_int_equal(at, NOON + 3600 - 359);
    w.now = at - 1;
    RUN("not yet", &w, COMMAND(F0, LET_IN), PING(LET_IN));
    w.now = at;
    RUN("now", &w, COMMAND(F0, REFUSED(143, REFRESH_INTERVAL)), PING(SEVEN(REFRESH_INTERVAL)));
}

/* ---- devices that cannot ----------------------------------------------------------------- */

static void non_provisionable(void **state)
{
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

static void uncarried_but_allowed(struct world *w)
{
    w->policy.uncarried = w->policy.allow_non_provisionable = true;
}
static void end_in_an_hour(struct world *w) { w->policy.non_provisionable_until = NOON + 3600; }

static void non_provisionable_until_a_date(void **state)
{
    struct world w = new_world();

    (void)state;
    RUN("let in without a key", &w, COMMAND(NONE, WITHOUT, allow_any), PING(WITHOUT),
        COMMAND(NONE, WITHOUT, end_in_an_hour), COMMAND(NONE, WITHOUT, almost_an_hour_later),
        PING(WITHOUT));
    w.now = NOON + 3600;
    RUN("no longer", &w, COMMAND(NONE, REFUSED(141, NO_KEY)), PING(REFUSED(142, NOT_PROVISIONED)),
        HANDSHAKE, COMMAND(F0, LET_IN));
    w = new_world();
    RUN("Status 3", &w, ASK(OFFERED, allow_any), ACK(T0, 3, CONFIRMED, end_in_an_hour),
        ASK(OFFERED, an_hour_later), ACK(T0, 3, PROVISION(139, NOT_APPLIED_REFUSED)),
        COMMAND(F0, LET_IN));
    w = new_world();
    RUN("what its version cannot carry", &w, ASK(OFFERED, uncarried_but_allowed),
        ASK(OFFERED, end_in_an_hour), ASK(PROVISION(139, UNCARRIED), an_hour_later));
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
    assert_string_equal(pv_order_text(PV_ORDER_CANCEL_WIPE), "cancel-wipe");
    assert_string_equal(pv_order_text(PV_ORDER_COUNT), "?");
    assert_string_equal(pv_personal_text(PV_PERSONAL_QUARANTINE), "quarantine");
    assert_string_equal(pv_personal_text(PV_PERSONAL_COUNT), "?");
    assert_string_equal(pv_wipe_state_text(PV_WIPE_STATE_ACKNOWLEDGED), "acknowledged");
    assert_string_equal(pv_wipe_state_text(PV_WIPE_STATE_COUNT), "?");
    assert_string_equal(pv_reason_name(PV_WHY_POLICY_CHANGED), "POLICY_CHANGED");
    assert_string_equal(pv_reason_text(PV_REASON_COUNT), "?");
    assert_int_equal(pv_server_table(big, sizeof big, &len), PV_OK);
    assert_int_equal(strlen(big), len);
    for (size_t cap = 0; cap <= len; cap++)
        assert_int_equal(pv_server_table(small, cap, &len), PV_E_NOMEM);
    assert_int_equal(pv_order_table(big, sizeof big, &len), PV_OK);
    for (size_t cap = 0; cap <= len; cap++)
        assert_int_equal(pv_order_table(small, cap, &len), PV_E_NOMEM);
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
        cmocka_unit_test(a_fleet_does_not_come_back_at_once),
        cmocka_unit_test(non_provisionable_until_a_date),
        cmocka_unit_test(durability),
        cmocka_unit_test(new_keys),
        cmocka_unit_test(words),
    };

    return cmocka_run_group_tests_name("server_machine", tests, NULL, NULL);
}

/* The server's machine: the life of a wipe, and what administrators order. */
#include "server_script.h"

static void wipe_of_the_device(void **state)
{
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

/* The life of a wipe: what each event makes of each of its states. */
static void life_of_a_wipe(void **state)
{
    struct world w = new_world();
    struct pv_server_out out;

    (void)state;
    RUN("an acknowledgement before the directive is none", &w, HANDSHAKE, COMMAND(F0, LET_IN),
        WIPED(DEVICE, 1, DIRECTIVE(1), order_wipe), POLL(DIRECTIVE(1)));
    assert_int_equal(w.p.wipe_state, PV_WIPE_STATE_SENT);
    assert_int_equal(w.p.wipe_id, 1);
    w = new_world();
    RUN("a failure before it neither", &w, WIPED(DEVICE, 2, DIRECTIVE(1), order_wipe));
    assert_int_equal(w.p.wipe_state, PV_WIPE_STATE_SENT);

    w = new_world();
    order_wipe(&w);
    w.now += 5;
    out = request(&w, &(struct line)POLL(DIRECTIVE(1)));
    assert_int_equal(out.store, PV_STORE_FIRST);
    assert_true(out.wipe_changed);
    assert_int_equal(w.p.wipe_at, NOON);
    assert_int_equal(w.p.wipe_sent_at, NOON + 5);
    w.now += 5;
    out = request(&w, &(struct line)POLL(DIRECTIVE(1)));
    assert_int_equal(out.store, PV_STORE_NOTHING);
    assert_false(out.wipe_changed);
    assert_int_equal(w.p.wipe_sent_at, NOON + 5);
    out = request(&w, &(struct line)WIPED(DEVICE, 2, DIRECTIVE(2)));
    assert_true(out.store == PV_STORE_FIRST && out.wipe_changed);
    out = request(&w, &(struct line)WIPED(DEVICE, 2, DIRECTIVE(2)));
    assert_true(out.store == PV_STORE_NOTHING && !out.wipe_changed);
    out = request(&w, &(struct line)WIPED(DEVICE, 1, NOTHING));
    assert_true(out.store == PV_STORE_FIRST && out.wipe_changed);
    assert_int_equal(w.p.wipe_state, PV_WIPE_STATE_ACKNOWLEDGED);
    assert_int_equal(w.p.wipe_ended_at, NOON + 10);
    assert_int_equal(w.p.wipe, PV_WIPE_DEVICE);
    out = request(&w, &(struct line)WIPED(DEVICE, 1, NOTHING));
    assert_true(out.store == PV_STORE_NOTHING && !out.wipe_changed);
}

static void a_wipe_expires(void **state)
{
    struct world w = new_world();

    (void)state;
    RUN("pending to the last second", &w, HANDSHAKE, ASK(OFFERED),
        POLL(DIRECTIVE(1), order_wipe_within_the_hour),
        COMMAND(F0, REFUSED(140, WIPE), almost_an_hour_later));
    struct world before = w;
    w.now++;
    assert_int_equal(pv_server_state(&w.p, &w.policy, w.now), PV_STATE_BLOCKED);
    struct pv_server_out out = request(&w, &(struct line)WIPED(DEVICE, 1, NOTHING));
    assert_int_equal(out.action, PV_ACT_PROVISION_STATUS);
    assert_true(out.store == PV_STORE_FIRST && out.wipe_changed);
    assert_int_equal(w.p.wipe_state, PV_WIPE_STATE_EXPIRED);
    assert_int_equal(w.p.wipe_ended_at, NOON + 3600);
    RUN("then shut out", &w, COMMAND(F0, REFUSED(129, WIPE_EXPIRED)),
        COMMAND(NONE, REFUSED(129, WIPE_EXPIRED), allow_any), PING(REFUSED(129, WIPE_EXPIRED)),
        POLL(PROVISION(129, WIPE_EXPIRED)), ASK(PROVISION(129, WIPE_EXPIRED)),
        ACK(T0, 1, PROVISION(129, WIPE_EXPIRED)), WIPED(DEVICE, 1, PROVISION(129, WIPE_EXPIRED)),
        COMMAND(F0, REFUSED(129, WIPE_EXPIRED), clock_goes_back));
    assert_int_equal(w.p.key, 0);
    RUN("until allowed", &w, COMMAND(F0, REFUSED(144, WRONG_KEY), let_in), HANDSHAKE,
        COMMAND(F0, LET_IN));

    w = before;
    assert_false(pv_wipe_expire(&w.p, w.now));
    assert_true(pv_wipe_expire(&w.p, w.now + 1)); /* unasked */
    assert_int_equal(w.p.wipe_state, PV_WIPE_STATE_EXPIRED);
    assert_false(pv_wipe_expire(&w.p, w.now + 1));
    w = before;
    w.now++;
    assert_int_equal(order(&w, PV_ORDER_CANCEL_WIPE, 0).reason, PV_WHY_NO_WIPE);
    assert_int_equal(w.p.wipe_state, PV_WIPE_STATE_EXPIRED);
    RUN("too late to cancel", &w, COMMAND(F0, REFUSED(129, WIPE_EXPIRED)));
    w = before;
    RUN("cancelled in time", &w, COMMAND(F0, LET_IN, cancel), COMMAND(F0, LET_IN, an_hour_later),
        ACK(T0, 1, CONFIRMED));
    RUN("what it was told before may still come", &w, WIPED(DEVICE, 1, NOTHING),
        COMMAND(F0, LET_IN));
}

/* ---- orders ------------------------------------------------------------------------------ */

#define ORDERED_IMPOSSIBLE(why) PV_ACT_IMPOSSIBLE, PV_WHY_##why
#define ORDERED_DONE PV_ACT_DONE, PV_WHY_OK
#define ORDERED_NOTHING PV_ACT_UNCHANGED, PV_WHY_OK

static void to_offered(struct world *w)
{
    RUN("offered", w, ASK(OFFERED));
}
static void to_provisioned(struct world *w)
{
    RUN("provisioned", w, HANDSHAKE);
}
static void to_refresh_due(struct world *w)
{
    RUN("refresh due", w, HANDSHAKE);
    policy_changes(w);
}
static void to_refused(struct world *w)
{
    RUN("refused", w, ASK(OFFERED), ACK(T0, 2, PROVISION(139, PARTIAL_REFUSED)));
}
static void to_quarantined(struct world *w) { order(w, PV_ORDER_QUARANTINE, 0); }
static void to_blocked(struct world *w) { order(w, PV_ORDER_BLOCK, 0); }
static void to_wiped(struct world *w)
{
    RUN("wiped", w, POLL(DIRECTIVE(1), order_wipe), WIPED(DEVICE, 1, NOTHING));
}
static void to_expired(struct world *w)
{
    order_wipe_within_the_hour(w);
    an_hour_later(w);
}
static void to_nothing(struct world *w) { (void)w; }

/* Every order in every state: where it leads, and that an impossible one leaves all as it was. */
static void every_order_in_every_state(void **state)
{
    static const struct {
        void (*reach)(struct world *);
        enum pv_state is;
        struct {
            enum pv_action action;
            enum pv_reason why;
            enum pv_state after;
        } wants[PV_ORDER_COUNT];
    } rows[] = {
#define TO(state) {ORDERED_DONE, PV_STATE_##state}
#define WIPES {ORDERED_DONE, PV_STATE_WIPE_PENDING}, {ORDERED_DONE, PV_STATE_WIPE_PENDING}
#define NO(why, state) {ORDERED_IMPOSSIBLE(why), PV_STATE_##state}
#define SAME(state) {ORDERED_NOTHING, PV_STATE_##state}
        {to_nothing, PV_STATE_NEW, {WIPES, NO(NO_WIPE, NEW), TO(NEW), TO(BLOCKED),
                                    TO(QUARANTINED), SAME(NEW)}},
        {to_offered, PV_STATE_OFFERED, {WIPES, NO(NO_WIPE, OFFERED), TO(OFFERED), TO(BLOCKED),
                                        TO(QUARANTINED), SAME(OFFERED)}},
        {to_provisioned, PV_STATE_PROVISIONED,
         {WIPES, NO(NO_WIPE, PROVISIONED), TO(PROVISIONED), TO(BLOCKED), TO(QUARANTINED),
          SAME(PROVISIONED)}},
        {to_refresh_due, PV_STATE_REFRESH_DUE,
         {WIPES, NO(NO_WIPE, REFRESH_DUE), TO(REFRESH_DUE), TO(BLOCKED), TO(QUARANTINED),
          SAME(REFRESH_DUE)}},
        {to_refused, PV_STATE_REFUSED, {WIPES, NO(NO_WIPE, REFUSED), TO(REFUSED), TO(BLOCKED),
                                        TO(QUARANTINED), SAME(REFUSED)}},
        {to_quarantined, PV_STATE_QUARANTINED,
         {WIPES, NO(NO_WIPE, QUARANTINED), TO(NEW), TO(BLOCKED), SAME(QUARANTINED), TO(NEW)}},
        {to_blocked, PV_STATE_BLOCKED, {WIPES, NO(NO_WIPE, BLOCKED), TO(NEW), SAME(BLOCKED),
                                        TO(QUARANTINED), TO(NEW)}},
        {to_expired, PV_STATE_BLOCKED, {WIPES, NO(NO_WIPE, BLOCKED), TO(NEW), TO(BLOCKED),
                                        NO(WIPE_EXPIRED, BLOCKED), SAME(BLOCKED)}},
        {order_wipe, PV_STATE_WIPE_PENDING,
         {TO(WIPE_PENDING), SAME(WIPE_PENDING), TO(NEW), NO(WIPE, WIPE_PENDING), TO(WIPE_PENDING),
          TO(WIPE_PENDING), SAME(WIPE_PENDING)}},
        {order_account_wipe, PV_STATE_WIPE_PENDING,
         {SAME(WIPE_PENDING), TO(WIPE_PENDING), TO(NEW), NO(WIPE, WIPE_PENDING), TO(WIPE_PENDING),
          TO(WIPE_PENDING), SAME(WIPE_PENDING)}},
        {to_wiped, PV_STATE_WIPED, {WIPES, NO(NO_WIPE, WIPED), TO(NEW), TO(WIPED),
                                    NO(WIPED, WIPED), SAME(WIPED)}},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++)
        for (unsigned k = 0; k < PV_ORDER_COUNT; k++) {
            struct world w = new_world();
            rows[i].reach(&w);
            struct pv_partnership before = w.p;
            struct pv_server_out out = order(&w, (enum pv_order_kind)k, 0);
            print_message("# row %zu: %s\n", i, pv_order_text((enum pv_order_kind)k));
            assert_int_equal(out.before, rows[i].is);
            assert_int_equal(out.action, rows[i].wants[k].action);
            assert_int_equal(out.reason, rows[i].wants[k].why);
            assert_int_equal(out.after, rows[i].wants[k].after);
            assert_int_equal(out.after, pv_server_state(&w.p, &w.policy, w.now));
            bool changed = memcmp(&before, &w.p, sizeof before) != 0;
            assert_int_equal(out.store, changed ? PV_STORE_FIRST : PV_STORE_NOTHING);
            if (out.action == PV_ACT_DONE) assert_true(changed);
            else if (rows[i].reach != to_expired) assert_false(changed);
            assert_int_equal(out.wipe_changed, before.wipe_state != w.p.wipe_state
                                                   || before.wipe_id != w.p.wipe_id);
        }
}

static void cancelling_restores(void **state)
{
    void (*const reached[])(struct world *) = {to_nothing,     to_offered, to_provisioned,
                                               to_refresh_due, to_refused, to_quarantined,
                                               to_blocked,     to_wiped,   to_expired};

    (void)state;
    for (size_t i = 0; i < COUNT(reached); i++) {
        struct world w = new_world();
        reached[i](&w);
        enum pv_state before = pv_server_state(&w.p, &w.policy, w.now);
        struct pv_partnership p = w.p;
        RUN("told, and failed", &w, POLL(DIRECTIVE(1), order_wipe), WIPED(DEVICE, 2, DIRECTIVE(2)),
            ASK(DIRECTIVE(1)));
        assert_int_equal(order(&w, PV_ORDER_CANCEL_WIPE, 0).action, PV_ACT_DONE);
        assert_int_equal(pv_server_state(&w.p, &w.policy, w.now), before);
        assert_int_equal(w.p.key, p.key);
        assert_memory_equal(w.p.offers, p.offers, sizeof p.offers);
        assert_int_equal(w.p.wipe_state, PV_WIPE_STATE_CANCELLED);
    }
}

static void another_wipe_replaces(void **state)
{
    struct world w = new_world();

    (void)state;
    at_16_1(&w);
    RUN("told of the account", &w, HANDSHAKE, POLL(DIRECTIVE(1), order_account_wipe));
    assert_int_equal(w.p.wipe_id, 1);
    order(&w, PV_ORDER_WIPE_ACCOUNT, 0);
    assert_int_equal(w.p.wipe_id, 1);
    order(&w, PV_ORDER_WIPE_DEVICE, 60);
    assert_int_equal(w.p.wipe_id, 3);
    assert_int_equal(w.p.wipe_state, PV_WIPE_STATE_REQUESTED);
    assert_int_equal(w.p.wipe_expires_at, NOON + 60);
    RUN("what it did before is not what is asked now", &w, WIPED(ACCOUNT, 1, DIRECTIVE(1)),
        WIPED(ACCOUNT, 1, DIRECTIVE(1)), WIPED(DEVICE, 1, NOTHING));
}

static void allowed_again(void **state)
{
    struct world w = new_world();

    (void)state;
    allow_any(&w);
    RUN("wiped", &w, HANDSHAKE, POLL(DIRECTIVE(1), order_wipe), WIPED(DEVICE, 1, NOTHING));
    assert_int_equal(w.p.outcome, PV_OUTCOME_COMPLIANT);
    let_in(&w);
    assert_int_equal(pv_server_state(&w.p, &w.policy, w.now), PV_STATE_NEW);
    assert_int_equal(w.p.outcome, PV_OUTCOME_NONE);
    assert_int_equal(w.p.said, 0);
    assert_int_equal(w.p.personal, PV_PERSONAL_ALLOW);
    assert_int_equal(w.p.wipe_state, PV_WIPE_STATE_ACKNOWLEDGED); /* for people to see */
    RUN("as new, but one that held a key", &w, COMMAND(F0, REFUSED(144, WRONG_KEY)),
        COMMAND(NONE, REFUSED(141, NO_KEY)), WIPED(DEVICE, 1, NOTHING), HANDSHAKE,
        COMMAND(F0, LET_IN));
    RUN("wiped again", &w, POLL(DIRECTIVE(1), order_wipe), WIPED(DEVICE, 1, NOTHING),
        COMMAND(F0, REFUSED(129, WIPED)));
    to_expired(&w);
    RUN("and again, in vain: wiped it stays", &w, COMMAND(F0, REFUSED(129, WIPED)));
}

static void orders_that_are_none(void **state)
{
    struct pv_partnership p = {0}, before = p;
    struct pv_order o = {.kind = PV_ORDER_COUNT, .now = NOON, .wipe_id = 1};
    struct pv_server_out out;

    (void)state;
    assert_int_equal(pv_server_order(&p, &o, &out), PV_E_USAGE);
    o = (struct pv_order){.kind = PV_ORDER_CLEAR, .access = (enum pv_access)3};
    assert_int_equal(pv_server_order(&p, &o, &out), PV_E_USAGE);
    o = (struct pv_order){.kind = PV_ORDER_WIPE_DEVICE, .now = NOON};
    assert_int_equal(pv_server_order(&p, &o, &out), PV_E_USAGE);
    o.wipe_id = 1;
    o.wipe_expires_at = NOON;
    assert_int_equal(pv_server_order(&p, &o, &out), PV_E_USAGE);
    assert_memory_equal(&p, &before, sizeof p);
    o.wipe_expires_at = NOON + 1;
    assert_int_equal(pv_server_order(&p, &o, &out), PV_OK);
    o = (struct pv_order){.kind = PV_ORDER_CLEAR, .now = NOON, .access = PV_ACCESS_BLOCKED};
    p = (struct pv_partnership){.personal = PV_PERSONAL_ALLOW};
    assert_int_equal(pv_server_order(&p, &o, &out), PV_OK);
    assert_int_equal(out.after, PV_STATE_BLOCKED); /* the rules decide again */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wipe_of_the_device),
        cmocka_unit_test(wipe_of_the_account),
        cmocka_unit_test(life_of_a_wipe),
        cmocka_unit_test(a_wipe_expires),
        cmocka_unit_test(every_order_in_every_state),
        cmocka_unit_test(cancelling_restores),
        cmocka_unit_test(another_wipe_replaces),
        cmocka_unit_test(allowed_again),
        cmocka_unit_test(orders_that_are_none),
    };

    return cmocka_run_group_tests_name("server_wipes", tests, NULL, NULL);
}

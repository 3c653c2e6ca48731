/* The cause of each standing of a device, in words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "src/server/gate/trail/why.h"

static struct device_view view(enum pv_state state)
{
    return (struct device_view){.user = "ann",
                                .device_id = "DEV1",
                                .policy = "strict",
                                .version = PV_V14_1,
                                .state = state,
                                .access_by = "default",
                                .wipe_by = "token desk",
                                .wipe_id = 0xabc,
                                .last_seen = 17,
                                .loop_until = 1700000000};
}

static struct trail_copy steps(size_t count, const struct trail_entry *entries)
{
    struct trail_copy t = {.count = (uint8_t)count};
    memcpy(t.entries, entries, count * sizeof *entries);
    return t;
}

static enum why_cause cause(const struct device_view *d, enum trail_step step,
                            enum pv_reason reason)
{
    const struct trail_entry e = {.step = (uint8_t)step, .reason = (uint8_t)reason, .last = 17};
    const struct trail_copy t = steps(1, &e);
    struct why w;
    why_explain(d, &t, &w);
    return w.cause;
}

static enum why_cause state_alone(const struct device_view *d)
{
    const struct trail_copy none = {0};
    struct why w;
    why_explain(d, &none, &w);
    return w.cause;
}

/* Whatever the device did last, what keeps it out now is the cause. */
static void what_keeps_it_out_comes_first(void **unused)
{
    (void)unused;
#define EXPECT(want, ...)                                                   \
    {                                                                       \
        struct device_view d = view(PV_STATE_BLOCKED);                      \
        __VA_ARGS__;                                                        \
        assert_int_equal(cause(&d, TRAIL_REFUSED, PV_WHY_WRONG_KEY), want); \
        assert_int_equal(state_alone(&d), want);                            \
    }
    EXPECT(WHY_USER_DISABLED, d.user_disabled = true)
    EXPECT(WHY_BLOCKED_RULE, d.access_by = "rule 7")
    EXPECT(WHY_BLOCKED_RULE, d.access_by = "default")
    EXPECT(WHY_BLOCKED_PERSONAL, d.access_by = "personal")
    EXPECT(WHY_BLOCKED_LOOP, d.access_by = "loop")
    EXPECT(WHY_BLOCKED_DEVICES, d.access_by = "limit devices_per_user")
    EXPECT(WHY_BLOCKED_VERSION, d.access_by = "limit version")
    EXPECT(WHY_WIPE_EXPIRED, d.shut = true)
    EXPECT(WHY_WIPED, d.state = PV_STATE_WIPED)
    EXPECT(WHY_WIPE_PENDING, (d.state = PV_STATE_WIPE_PENDING, d.wipe = PV_WIPE_DEVICE))
    EXPECT(WHY_WIPE_WAITS, (d.state = PV_STATE_WIPE_PENDING, d.wipe = PV_WIPE_ACCOUNT))
    EXPECT(WHY_WIPE_PENDING,
           (d.state = PV_STATE_WIPE_PENDING, d.wipe = PV_WIPE_ACCOUNT, d.version = PV_V16_1))
    EXPECT(WHY_WIPE_FAILED, (d.state = PV_STATE_WIPE_PENDING, d.wipe = PV_WIPE_DEVICE,
                             d.wipe_state = PV_WIPE_STATE_FAILED))
    EXPECT(WHY_SLOWED, (d.state = PV_STATE_NEW, d.slowed_by = "x"))
    EXPECT(WHY_QUARANTINED, d.state = PV_STATE_QUARANTINED)
#undef EXPECT
}

/* Every reason that a step in vain can have. */
static void steps_in_vain(void **unused)
{
    static const struct {
        enum pv_reason reason;
        enum why_cause want;
    } cases[] = {
        {PV_WHY_OK, WHY_NOT_PROVISIONED},
        {PV_WHY_NO_KEY, WHY_NO_KEY},
        {PV_WHY_KEY_ZERO, WHY_KEY_ZERO},
        {PV_WHY_OFFER_KEY, WHY_OFFER_KEY},
        {PV_WHY_WRONG_KEY, WHY_WRONG_KEY},
        {PV_WHY_POLICY_CHANGED, WHY_POLICY_CHANGED},
        {PV_WHY_REFRESH_INTERVAL, WHY_REFRESH_DUE},
        {PV_WHY_NOT_PROVISIONED, WHY_NOT_PROVISIONED},
        {PV_WHY_NON_PROVISIONABLE, WHY_IN_WITHOUT_KEY},
        {PV_WHY_UNCARRIED, WHY_UNCARRIED},
        {PV_WHY_PARTIAL_REFUSED, WHY_PARTIAL_REFUSED},
        {PV_WHY_NOT_APPLIED_REFUSED, WHY_NOT_APPLIED_REFUSED},
        {PV_WHY_EXTERNAL_REFUSED, WHY_EXTERNAL_REFUSED},
        {PV_WHY_UNKNOWN_OFFER, WHY_UNKNOWN_OFFER},
        {PV_WHY_OFFER_EXPIRED, WHY_OFFER_EXPIRED},
        {PV_WHY_REPEATED_ACK, WHY_NOT_PROVISIONED},
        {PV_WHY_UNKNOWN_TYPE, WHY_UNKNOWN_TYPE},
        {PV_WHY_NO_DEVICE_INFO, WHY_NO_DEVICE_INFO},
        {PV_WHY_BAD_REQUEST, WHY_BAD_REQUEST},
        {PV_WHY_BLOCKED, WHY_NOT_PROVISIONED}, /* no longer */
        {PV_WHY_LOOP, WHY_NOT_PROVISIONED},
        {PV_WHY_QUARANTINED, WHY_NOT_PROVISIONED},
        {PV_WHY_WIPE, WHY_NOT_PROVISIONED},
        {PV_WHY_WIPED, WHY_NOT_PROVISIONED},
        {PV_WHY_WIPE_EXPIRED, WHY_NOT_PROVISIONED},
        {PV_WHY_NO_WIPE, WHY_NOT_PROVISIONED},
    };
    (void)unused;
    assert_int_equal(sizeof cases / sizeof *cases, PV_REASON_COUNT);
    for (size_t i = 0; i < PV_REASON_COUNT; i++) {
        const struct device_view d = view(PV_STATE_NEW);
        print_message("# %s\n", pv_reason_name(cases[i].reason));
        assert_int_equal(cases[i].reason, i);
        assert_int_equal(cause(&d, TRAIL_REFUSED, cases[i].reason), cases[i].want);
    }
}

static void what_is_over_is_no_cause(void **unused)
{
    static const struct trail_entry over[][2] = {
        {{.step = TRAIL_REFUSED, .reason = PV_WHY_WRONG_KEY}, {.step = TRAIL_LET_IN}},
        {{.step = TRAIL_REFUSED, .reason = PV_WHY_KEY_ZERO}, {.step = TRAIL_CONFIRMED}},
    };
    struct device_view d = view(PV_STATE_PROVISIONED);
    struct why w;
    (void)unused;
    for (size_t i = 0; i < sizeof over / sizeof *over; i++) {
        const struct trail_copy t = steps(2, over[i]);
        why_explain(&d, &t, &w);
        assert_int_equal(w.cause, WHY_IN_ORDER);
    }
    assert_int_equal(cause(&d, TRAIL_REFUSED, PV_WHY_WRONG_KEY), WHY_WRONG_KEY);
    d.last_seen++; /* and came in */
    assert_int_equal(cause(&d, TRAIL_REFUSED, PV_WHY_WRONG_KEY), WHY_IN_ORDER);
}

static void states_without_a_step(void **unused)
{
    struct device_view d = view(PV_STATE_PROVISIONED);
    (void)unused;
    assert_int_equal(state_alone(&d), WHY_IN_ORDER);
    d.state = PV_STATE_REFRESH_DUE;
    assert_int_equal(state_alone(&d), WHY_POLICY_CHANGED);
    d.state = PV_STATE_OFFERED;
    assert_int_equal(state_alone(&d), WHY_OFFERED);
    assert_int_equal(cause(&d, TRAIL_REFUSED, PV_WHY_KEY_ZERO), WHY_OFFERED);
    assert_int_equal(cause(&d, TRAIL_NOT_ACCEPTED, PV_WHY_UNKNOWN_OFFER), WHY_UNKNOWN_OFFER);
    d.state = PV_STATE_REFUSED;
    assert_int_equal(state_alone(&d), WHY_UNCARRIED);
    d.outcome = PV_OUTCOME_REFUSED;
    d.said = 4;
    assert_int_equal(state_alone(&d), WHY_EXTERNAL_REFUSED);
    d = view(PV_STATE_NEW);
    assert_int_equal(state_alone(&d), WHY_NOT_PROVISIONED);
    d.outcome = PV_OUTCOME_NON_PROVISIONABLE;
    assert_int_equal(state_alone(&d), WHY_IN_WITHOUT_KEY);
    d.last_seen = 0;
    assert_int_equal(state_alone(&d), WHY_NEVER_SEEN);
}

static void two_faces_explain_wrong_keys(void **unused)
{
    struct device_view d = view(PV_STATE_PROVISIONED);
    (void)unused;
    d.clone_returns = TRAIL_CLONE_RETURNS;
    assert_int_equal(cause(&d, TRAIL_REFUSED, PV_WHY_WRONG_KEY), WHY_SHARED_ID);
    assert_int_equal(cause(&d, TRAIL_REFUSED, PV_WHY_POLICY_CHANGED), WHY_POLICY_CHANGED);
    assert_int_equal(state_alone(&d), WHY_IN_ORDER);
}

/* ---- texts ---- */
static void texts_are_filled_in(void **unused)
{
    struct device_view d = view(PV_STATE_WIPE_PENDING);
    const struct trail_copy none = {0};
    struct why w;
    (void)unused;
    d.wipe = PV_WIPE_DEVICE;
    why_explain(&d, &none, &w);
    assert_string_equal(w.sentence,
                        "A remote wipe of the whole device was ordered by token desk (request "
                        "0000000000000abc), and the device has not confirmed it yet.");
    assert_string_equal(w.advice, "Wait until it connects, or take the order back: provost device "
                                  "cancel-wipe ann DEV1");
    d = view(PV_STATE_BLOCKED);
    d.access_by = "loop";
    why_explain(&d, &none, &w);
    assert_non_null(strstr(w.sentence, "until 2023-11-14T22:13:20Z."));
}

static void settings_that_are_not_carried_are_named(void **unused)
{
    struct pv_policy policy = {0};
    struct device_view d = view(PV_STATE_REFUSED);
    const struct trail_copy none = {0};
    struct why w;
    (void)unused;
    assert_int_equal(pv_policy_set(&policy, NULL, "AllowCamera", "0", NULL, 0), PV_OK);
    d.settings = &policy;
    d.version = PV_V12_0;
    why_explain(&d, &none, &w);
    assert_non_null(strstr(w.sentence, "version 12.0 cannot carry: AllowCamera."));
}

/* Names of any length, also with braces in them, neither overrun nor are they filled in again. */
static void names_are_no_templates(void **unused)
{
    char longest[2 * WHY_TEXT_MAX];
    struct device_view d = view(PV_STATE_NEW);
    const struct trail_copy none = {0};
    struct why w;
    (void)unused;
    d.user_disabled = true;
    d.user = "{device}";
    why_explain(&d, &none, &w);
    assert_non_null(strstr(w.sentence, "The user {device} is disabled"));
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    d.user = longest;
    why_explain(&d, &none, &w);
    assert_int_equal(strlen(w.sentence), WHY_TEXT_MAX - 1);
    assert_int_equal(strlen(w.advice), WHY_TEXT_MAX - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_keeps_it_out_comes_first),
        cmocka_unit_test(steps_in_vain),
        cmocka_unit_test(what_is_over_is_no_cause),
        cmocka_unit_test(states_without_a_step),
        cmocka_unit_test(two_faces_explain_wrong_keys),
        cmocka_unit_test(texts_are_filled_in),
        cmocka_unit_test(settings_that_are_not_carried_are_named),
        cmocka_unit_test(names_are_no_templates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

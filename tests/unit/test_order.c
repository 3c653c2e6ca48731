/* Orders of administrators on devices: durable before they are told, in turn with what the devices do
 * themselves. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "src/server/gate/order.h"
#include "tests/unit/gate_fake.h"

/* ---- orders ---- */
static void order_done(struct device_order *o)
{
    o->gate = NULL;
}

static bool is_done(const struct device_order *o)
{
    return o->gate == NULL;
}

static struct device_order order_of(enum pv_order_kind kind)
{
    return (struct device_order){.user = "ann", .device_id = "DEV1", .kind = kind,
                                 .actor = "uid 0 (root)", .reason = "lost", .done = order_done};
}

static enum order_result give(struct device_order *o)
{
    gate_order(gate, o);
    assert_false(is_done(o)); /* always later */
    run_tasks();
    assert_true(is_done(o));
    return o->result;
}

static enum order_result order(enum pv_order_kind kind)
{
    struct device_order o = order_of(kind);
    return give(&o);
}

static enum order_result remove_device(void)
{
    struct device_order o = order_of(0);
    o.remove = true;
    return give(&o);
}

/* ---- the device as it is shown; the texts live until the next look ---- */
static struct device_view seen;
static char seen_by[64], seen_reason[64];

static void see(void *ctx, const struct device_view *v)
{
    (void)ctx;
    seen = *v;
    snprintf(seen_by, sizeof seen_by, "%s", v->wipe_by);
    snprintf(seen_reason, sizeof seen_reason, "%s", v->wipe_reason);
}

static const struct device_view *look(void)
{
    memset(&seen, 0, sizeof seen);
    return gate_show_device(gate, "ann", "DEV1", see, NULL) ? &seen : NULL;
}

static void in_audit(const char *what)
{
    if (!strstr(world.last_audit, what)) fail_msg("no %s in %s", what, world.last_audit);
}

static void each_order_comes_into_force(void **unused)
{
    (void)unused;
    static const struct {
        enum pv_order_kind kind;
        enum order_result want, again;
        unsigned sync; /* what a FolderSync with the key gets then */
        enum pv_state state;
        const char *act;
    } cases[] = {
        {PV_ORDER_BLOCK, ORDER_DONE, ORDER_UNCHANGED, 129, PV_STATE_BLOCKED, "device.block"},
        {PV_ORDER_CANCEL_WIPE, ORDER_IMPOSSIBLE, ORDER_IMPOSSIBLE, 129, PV_STATE_BLOCKED, NULL},
        {PV_ORDER_QUARANTINE, ORDER_DONE, ORDER_UNCHANGED, 1, PV_STATE_QUARANTINED,
         "device.quarantine"},
        {PV_ORDER_ALLOW, ORDER_DONE, ORDER_UNCHANGED, 1, PV_STATE_PROVISIONED, "device.allow"},
        {PV_ORDER_CLEAR, ORDER_DONE, ORDER_UNCHANGED, 1, PV_STATE_PROVISIONED, "device.clear"},
        {PV_ORDER_WIPE_ACCOUNT, ORDER_DONE, ORDER_UNCHANGED, 140, PV_STATE_WIPE_PENDING,
         "device.wipe-account"},
        {PV_ORDER_ALLOW, ORDER_IMPOSSIBLE, ORDER_IMPOSSIBLE, 140, PV_STATE_WIPE_PENDING, NULL},
        {PV_ORDER_WIPE_DEVICE, ORDER_DONE, ORDER_UNCHANGED, 140, PV_STATE_WIPE_PENDING,
         "device.wipe-device"},
        {PV_ORDER_CANCEL_WIPE, ORDER_DONE, ORDER_IMPOSSIBLE, 1, PV_STATE_PROVISIONED,
         "device.cancel-wipe"},
    };
    char key[65];
    handshake("ann", "16.1", key);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        print_message("# %zu %s\n", i, pv_order_text(cases[i].kind));
        unsigned audited = world.audited;
        assert_int_equal(order(cases[i].kind), cases[i].want);
        assert_int_equal(world.audited, audited + (cases[i].act != NULL));
        if (cases[i].act) in_audit(cases[i].act);
        assert_int_equal(look()->state, cases[i].state);
        assert_int_equal(folder_sync("ann", "16.1", key), cases[i].sync);
        audited = world.audited;
        assert_int_equal(order(cases[i].kind), cases[i].again);
        assert_int_equal(world.audited, audited);
    }
}

static void a_wipe_is_written_down_with_who_and_why(void **unused)
{
    (void)unused;
    char key[65], id[40];
    handshake("ann", "16.1", key);
    assert_int_equal(order(PV_ORDER_WIPE_ACCOUNT), ORDER_DONE);
    uint64_t first = look()->wipe_id;
    assert_in_range(first, 1, INT64_MAX);
    assert_int_equal(seen.wipe, PV_WIPE_ACCOUNT);
    assert_int_equal(seen.wipe_state, PV_WIPE_STATE_REQUESTED);
    assert_int_equal(seen.wipe_at, world.now);
    assert_string_equal(seen_by, "uid 0 (root)");
    assert_string_equal(seen_reason, "lost");
    assert_int_equal(world.last_put.wipe_id, first);
    snprintf(id, sizeof id, "\"wipe_id\":\"%016" PRIx64 "\"", first);
    in_audit(id);
    in_audit("\"actor\":\"uid 0 (root)\"");
    in_audit("\"reason\":\"lost\"");
    in_audit("\"before\":{\"state\":\"provisioned\",");
    in_audit("\"after\":{\"state\":\"wipe-pending\",");

    /* One of the other kind takes its place, under its own id, without the reason of the first. */
    struct device_order o = order_of(PV_ORDER_WIPE_DEVICE);
    o.actor = "token helpdesk";
    o.reason = NULL;
    assert_int_equal(give(&o), ORDER_DONE);
    assert_int_not_equal(look()->wipe_id, first);
    assert_string_equal(seen_by, "token helpdesk");
    assert_string_equal(seen_reason, "");
}

static void an_order_is_durable_before_it_is_told(void **unused)
{
    (void)unused;
    static const enum pv_order_kind kinds[] = {PV_ORDER_BLOCK, PV_ORDER_WIPE_DEVICE};
    char key[65];
    handshake("ann", "14.1", key);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        struct device_order o = order_of(kinds[i]);
        world.store = STORE_HOLDS;
        gate_order(gate, &o);
        run_tasks();
        assert_false(is_done(&o));
        assert_int_equal(folder_sync("ann", "14.1", key), 1);
        release(false); /* the disk is full: nothing has changed */
        run_tasks();
        assert_int_equal(o.result, ORDER_STORE);
        assert_int_equal(look()->state, PV_STATE_PROVISIONED);
        assert_int_equal(seen.wipe_state, PV_WIPE_STATE_NONE);
        assert_string_equal(seen_by, "");

        world.store = STORE_REFUSES;
        assert_int_equal(order(kinds[i]), ORDER_STORE);
        world.store = STORE_WRITES;
        assert_int_equal(folder_sync("ann", "14.1", key), 1);
    }
    assert_int_equal(order(PV_ORDER_BLOCK), ORDER_DONE);
    assert_int_equal(folder_sync("ann", "14.1", key), 129);
}

static void user_done(struct user_set *u)
{
    u->priv = NULL;
}

static struct user_set set_user_act(enum user_act act)
{
    struct user_set u = {.user = "ann", .act = act, .actor = "uid 0", .done = user_done};
    gate_set_user(gate, &u);
    run_tasks();
    assert_null(u.priv);
    assert_int_equal(u.result, GATE_OK);
    return u;
}

static void whole_devices_of_a_user_can_be_spared(void **unused)
{
    (void)unused;
    folder_sync("ann", "16.1", "0");
    assert_int_equal(order(PV_ORDER_WIPE_DEVICE), ORDER_DONE);
    assert_int_equal(set_user_act(USER_FORBID_WIPE).wipes_pending, 1); /* it goes on, and is told */
    in_audit("\"act\":\"user.forbid-wipe\"");
    assert_false(user_device_wipe("ann"));
    assert_true(user_device_wipe("bob"));
    assert_int_equal(order(PV_ORDER_CANCEL_WIPE), ORDER_DONE);
    assert_int_equal(order(PV_ORDER_WIPE_DEVICE), ORDER_FORBIDDEN);
    assert_int_equal(order(PV_ORDER_WIPE_ACCOUNT), ORDER_DONE);
    assert_int_equal(set_user_act(USER_FORBID_WIPE).wipes_pending, 0);
    /* Neither flag changes the other. */
    set_user_act(USER_DISABLE);
    assert_false(user_device_wipe("ann"));
    set_user_act(USER_PERMIT_WIPE);
    assert_false(user_enabled("ann"));
    assert_int_equal(order(PV_ORDER_WIPE_DEVICE), ORDER_DONE);
    set_user_act(USER_FORBID_WIPE);
    set_user_act(USER_REMOVE);
    assert_true(user_device_wipe("ann"));
    assert_true(user_enabled("ann"));
}

/* ---- in turn with the device ---- */
static void an_order_waits_for_the_step_under_way(void **unused)
{
    (void)unused;
    struct http_exchange ask = {0}, ack = {0};
    struct told offer = told_by(provision(&ask, NULL, 0, NULL));
    world.store = STORE_HOLDS;
    provision(&ack, offer.key, 1, NULL);
    struct device_order o = order_of(PV_ORDER_WIPE_DEVICE);
    gate_order(gate, &o);
    run_tasks();
    assert_int_equal(world.held, 1); /* of the key alone */
    release(true);
    run_tasks();
    struct told final = told_by(&ack);
    assert_int_equal(final.policy_status, 1);
    assert_false(is_done(&o));
    release(true);
    run_tasks();
    assert_int_equal(o.result, ORDER_DONE);
    world.store = STORE_WRITES;
    assert_int_equal(folder_sync("ann", "14.1", final.key), 140);
    assert_int_equal(order(PV_ORDER_CANCEL_WIPE), ORDER_DONE);
    assert_int_equal(folder_sync("ann", "14.1", final.key), 1); /* the key of the step was kept */
}

static void a_step_waits_for_the_order_under_way(void **unused)
{
    (void)unused;
    char key[65];
    handshake("ann", "14.1", key);
    struct http_exchange ask = {0}, ack = {0};
    struct told offer = told_by(provision(&ask, NULL, 0, NULL));
    struct device_order o = order_of(PV_ORDER_WIPE_DEVICE);
    world.store = STORE_HOLDS;
    gate_order(gate, &o);
    provision(&ack, offer.key, 1, NULL);
    assert_false(ack.done);
    release(true); /* the order */
    run_tasks();
    assert_int_equal(o.result, ORDER_DONE);
    assert_false(ack.done); /* the directive is durable before it is told, too */
    release(true);
    struct told t = told_by(&ack);
    assert_string_equal(t.key, "");
    assert_int_equal(t.policy_status, 0);
    assert_int_equal(look()->wipe_state, PV_WIPE_STATE_SENT);
}

static void only_so_many_wait(void **unused)
{
    (void)unused;
    struct device_order o[STEPS_WAITING_MAX + 1], many = order_of(PV_ORDER_CLEAR);
    struct http_exchange ask = {0};
    provision(&ask, NULL, 0, NULL);
    world.store = STORE_HOLDS;
    for (size_t i = 0; i <= STEPS_WAITING_MAX; i++) {
        o[i] = order_of(i % 2 ? PV_ORDER_ALLOW : PV_ORDER_BLOCK);
        gate_order(gate, &o[i]);
    }
    assert_int_equal(give(&many), ORDER_BUSY);
    world.store = STORE_WRITES;
    release(true);
    run_tasks();
    for (size_t i = 0; i <= STEPS_WAITING_MAX; i++) assert_int_equal(o[i].result, ORDER_DONE);
    assert_int_equal(look()->state, PV_STATE_BLOCKED); /* the last of them */
}

static unsigned woken;

static void wake(struct gate_waiter *w)
{
    (void)w;
    woken++;
}

static void a_waiting_ping_is_told(void **unused)
{
    (void)unused;
    static const enum pv_order_kind kinds[] = {PV_ORDER_BLOCK, PV_ORDER_WIPE_DEVICE,
                                               PV_ORDER_COUNT /* remove */};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        char key[65];
        struct http_exchange x = {0};
        struct gate_waiter w = {.wake = wake};
        bool removes = kinds[i] == PV_ORDER_COUNT;
        handshake("ann", "14.1", key);
        ping_call = NULL;
        send_body(&x, "Ping", ping, sizeof ping);
        struct call *c = ping_call;
        gate_wait_add(c, &w);
        woken = 0;
        assert_int_equal(removes ? remove_device() : order(kinds[i]), ORDER_DONE);
        assert_int_equal(woken, 1);
        assert_true(gate_ping_due(c));
        gate_wait_remove(gate, &w);
        call_status(c, 7);
        if (!removes) assert_int_equal(remove_device(), ORDER_DONE);
    }
}

/* ---- remove ---- */
static void a_removed_device_is_a_stranger(void **unused)
{
    (void)unused;
    char key[65];
    handshake("ann", "14.1", key);
    order(PV_ORDER_BLOCK);
    order(PV_ORDER_WIPE_DEVICE);
    struct device_order o = order_of(0);
    o.remove = true;
    assert_int_equal(give(&o), ORDER_DONE);
    assert_int_equal(o.before, PV_STATE_WIPE_PENDING);
    assert_true(o.wipe_pending);
    in_audit("\"act\":\"device.remove\"");
    in_audit("\"after\":null");
    assert_int_equal(world.removed_devices, 2); /* and once more when nobody writes for it */
    assert_null(look());
    assert_int_equal(remove_device(), ORDER_UNKNOWN);
    assert_int_equal(order(PV_ORDER_BLOCK), ORDER_UNKNOWN);
    assert_int_equal(folder_sync("ann", "14.1", key), 144);
    assert_int_equal(look()->state, PV_STATE_NEW);
    assert_int_equal(seen.personal, PV_PERSONAL_NONE);
}

static void requests_under_way_end_with_the_device(void **unused)
{
    (void)unused;
    char key[65];
    handshake("ann", "14.1", key);
    struct http_exchange ask = {0}, ack = {0};
    struct told offer = told_by(provision(&ask, NULL, 0, NULL));
    struct device_order o = order_of(0), late = order_of(PV_ORDER_BLOCK);
    o.remove = true;
    world.store = STORE_HOLDS;
    gate_order(gate, &o);
    provision(&ack, offer.key, 1, NULL);
    gate_order(gate, &late);
    unsigned puts = world.put_devices;
    assert_int_equal(folder_sync("ann", "14.1", key), 1); /* it is not removed yet */
    release(true);
    run_tasks();
    assert_int_equal(o.result, ORDER_DONE);
    assert_int_equal(late.result, ORDER_UNKNOWN);
    assert_int_equal(outcome(&ack), 503);
    assert_int_equal(world.held, 0);
    assert_int_equal(world.put_devices, puts); /* nothing brings it back */

    world.store = STORE_WRITES;
    assert_int_equal(folder_sync("ann", "14.1", "0"), 142);
    world.store = STORE_FAILS;
    assert_int_equal(remove_device(), ORDER_STORE);
    assert_non_null(look());
}

/* An order is on its way to the disk when its user is forgotten. */
static void an_order_on_a_device_that_goes_meanwhile(void **unused)
{
    (void)unused;
    char key[65];
    handshake("ann", "14.1", key);
    struct device_order o = order_of(PV_ORDER_WIPE_DEVICE);
    world.store = STORE_HOLDS;
    gate_order(gate, &o);
    world.store = STORE_WRITES;
    assert_int_equal(set_user("ann", true, true), GATE_OK);
    release(true);
    run_tasks();
    assert_int_equal(o.result, ORDER_UNKNOWN);
    assert_null(look());
}

/* ---- devices that nobody has seen ---- */
static void a_word_about_a_device_that_was_never_seen(void **unused)
{
    (void)unused;
    struct device_order o = order_of(PV_ORDER_BLOCK);
    assert_int_equal(give(&o), ORDER_UNKNOWN);
    o = order_of(PV_ORDER_BLOCK);
    o.add = true;
    world.store = STORE_FAILS;
    assert_int_equal(give(&o), ORDER_STORE);
    assert_null(look()); /* no entry without its word */
    world.store = STORE_WRITES;
    o = order_of(PV_ORDER_BLOCK);
    o.add = true;
    assert_int_equal(give(&o), ORDER_DONE);
    assert_int_equal(look()->last_seen, 0);
    assert_int_equal(folder_sync("ann", "14.1", "0"), 129);
    assert_int_equal(look()->first_seen, world.now);
}

static void entries_before_devices_are_bounded(void **unused)
{
    (void)unused;
    char id[16];
    struct device_order o = order_of(PV_ORDER_ALLOW);
    o.device_id = id;
    o.add = true;
    for (unsigned i = 0; i < ORDER_UNSEEN_MAX; i++) {
        snprintf(id, sizeof id, "SOON%u", i);
        assert_int_equal(give(&o), ORDER_DONE);
    }
    snprintf(id, sizeof id, "MORE");
    assert_int_equal(give(&o), ORDER_FULL);
    snprintf(id, sizeof id, "SOON7");
    assert_int_equal(give(&o), ORDER_UNCHANGED);
    o.remove = true;
    assert_int_equal(give(&o), ORDER_DONE);
    o.remove = false;
    snprintf(id, sizeof id, "MORE");
    assert_int_equal(give(&o), ORDER_DONE);
}

/* ---- time ---- */
static void a_minute_is_over(void)
{
    world.timer->fn(world.timer);
    run_tasks();
}

static void a_wipe_expires_without_contact(void **unused)
{
    (void)unused;
    char key[65];
    handshake("ann", "14.1", key);
    struct device_order o = order_of(PV_ORDER_WIPE_DEVICE), b = order_of(PV_ORDER_BLOCK);
    o.wipe_expires_at = world.now;
    assert_int_equal(give(&o), ORDER_IMPOSSIBLE); /* over before it begins */
    o.wipe_expires_at = world.now + 100;
    assert_int_equal(give(&o), ORDER_DONE);
    gate_begin(gate, worker_self());
    run_tasks();
    assert_non_null(world.timer);
    world.now += 99;
    unsigned audited = world.audited;
    a_minute_is_over();
    assert_int_equal(world.audited, audited);
    world.now++;
    assert_int_equal(look()->wipe_state, PV_WIPE_STATE_EXPIRED); /* the listing need not wait */
    assert_int_equal(world.last_put.wipe_state, PV_WIPE_STATE_REQUESTED);

    world.store = STORE_REFUSES; /* the next minute is early enough */
    a_minute_is_over();
    world.store = STORE_HOLDS;
    gate_order(gate, &b);
    a_minute_is_over();
    world.store = STORE_WRITES;
    release(false);
    run_tasks();
    assert_int_equal(b.result, ORDER_STORE);
    be_there("ann"); /* who is read again since that failed */
    a_minute_is_over();
    assert_int_equal(world.last_put.wipe_state, PV_WIPE_STATE_EXPIRED);
    in_audit("\"actor\":\"server\"");
    in_audit("WIPE_EXPIRED");
    audited = world.audited;
    a_minute_is_over();
    assert_int_equal(world.audited, audited); /* once */
    assert_int_equal(folder_sync("ann", "14.1", key), 129);
    assert_int_equal(order(PV_ORDER_ALLOW), ORDER_DONE);
    assert_int_equal(folder_sync("ann", "14.1", key), 144); /* its keys are gone */
}

static void a_wipe_that_was_loaded_expires(void **unused)
{
    (void)unused;
    gate_destroy(gate);
    world.loaded[world.loaded_count++] = (struct store_change){
        .kind = STORE_PUT_DEVICE,
        .u.device = {.user = "ann", .device_id = "DEV1", .device_type = "Phone", .user_agent = "",
                     .version = PV_V14_1, .model = "", .os = "", .wipe_by = "uid 0",
                     .wipe_reason = "", .state = PV_STATE_WIPE_PENDING,
                     .partnership = {.wipe = PV_WIPE_DEVICE, .wipe_state = PV_WIPE_STATE_SENT,
                                     .wipe_id = 7, .wipe_at = 1, .wipe_sent_at = 2,
                                     .wipe_expires_at = 1700000100}}};
    start_gate();
    be_there("ann");
    gate_sweep(gate);
    run_tasks();
    assert_int_equal(world.audited, 0);
    world.now = 1700000100;
    gate_sweep(gate);
    run_tasks();
    assert_int_equal(world.audited, 1);
    in_audit("\"wipe_id\":\"0000000000000007\"");
    assert_int_equal(world.last_put.wipe_ended_at, 1700000100);
}

/* An order finds the wipe over: it is ended first, by the time and not by who ordered. */
static void an_order_that_finds_the_wipe_over(void **unused)
{
    (void)unused;
    char key[65];
    handshake("ann", "14.1", key);
    struct device_order o = order_of(PV_ORDER_WIPE_DEVICE);
    o.wipe_expires_at = world.now + 100;
    assert_int_equal(give(&o), ORDER_DONE);
    world.now += 100;
    assert_int_equal(order(PV_ORDER_CANCEL_WIPE), ORDER_IMPOSSIBLE);
    assert_int_equal(world.last_put.wipe_state, PV_WIPE_STATE_EXPIRED);
    in_audit("\"actor\":\"server\"");
    in_audit("\"act\":\"device.state\"");
}

/* ---- whom else a wipe of the whole device would hit ---- */
static void collect(void *ctx, const char *user)
{
    strcat(ctx, user);
    strcat(ctx, " ");
}

static void other_users_of_a_device_are_known(void **unused)
{
    (void)unused;
    char users[64] = "";
    folder_sync("ann", "14.1", "0");
    assert_true(gate_each_user_of(gate, "DEV1", "ann", 10, collect, users));
    assert_string_equal(users, "");
    folder_sync("bob", "14.1", "0");
    assert_true(gate_each_user_of(gate, "DEV1", "ann", 10, collect, users));
    assert_string_equal(users, "bob ");
    users[0] = '\0';
    assert_true(gate_each_user_of(gate, "dev1", "ann", 10, collect, users));
    assert_string_equal(users, "");
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(each_order_comes_into_force),
        TEST(a_wipe_is_written_down_with_who_and_why),
        TEST(an_order_is_durable_before_it_is_told),
        TEST(whole_devices_of_a_user_can_be_spared),
        TEST(an_order_waits_for_the_step_under_way),
        TEST(a_step_waits_for_the_order_under_way),
        TEST(only_so_many_wait),
        TEST(a_waiting_ping_is_told),
        TEST(a_removed_device_is_a_stranger),
        TEST(requests_under_way_end_with_the_device),
        TEST(an_order_on_a_device_that_goes_meanwhile),
        TEST(a_word_about_a_device_that_was_never_seen),
        TEST(entries_before_devices_are_bounded),
        TEST(a_wipe_expires_without_contact),
        TEST(a_wipe_that_was_loaded_expires),
        TEST(an_order_that_finds_the_wipe_over),
        TEST(other_users_of_a_device_are_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

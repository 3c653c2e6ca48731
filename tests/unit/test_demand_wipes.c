/* Wipes that an upstream orders: carried out like any, told there, not ordered twice. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/demands_fake.h"

/* ---- an upstream that wipes ---- */
static enum pv_wipe_kind wipe_kind;
static enum gate_wipe_result wipe_result;
static unsigned wipe_times;

static void wipe_ordered(void *ctx, enum gate_wipe_result result)
{
    struct call *c = ctx;
    wipe_result = result;
    wipe_times++;
    if (result == GATE_WIPE_ORDERED)
        call_judge_again(c);
    else
        call_status(c, 1);
}

static void serve_move(struct call *c)
{
    gate_upstream_wipe(c, UP, wipe_kind, wipe_ordered, c);
}

/* What the gate has told of wipes. */
static struct {
    unsigned times, status;
    enum pv_wipe_kind kind;
    char upstream[64];
} wiped;

static void see_wiped(void *ctx, struct call *c, const char *upstream, enum pv_wipe_kind kind,
                      unsigned status)
{
    assert_ptr_equal(ctx, &wiped);
    assert_string_equal(c->user, "ann");
    wiped.times++;
    wiped.status = status;
    wiped.kind = kind;
    snprintf(wiped.upstream, sizeof wiped.upstream, "%s", upstream);
}

static void add_move(void)
{
    static const struct command move = {PV_CMD_MoveItems, serve_move, NULL, .raw = true};
    gate_register(gate, &move, 1);
    gate_on_wiped(gate, see_wiped, &wiped);
}

static int begin(void **unused)
{
    demands_begin(unused);
    add_move();
    memset(&wiped, 0, sizeof wiped);
    return 0;
}

static void forgotten(struct device_order *o)
{
    o->gate = NULL;
}

static void forbidden(struct user_set *u)
{
    assert_int_equal(u->result, GATE_OK);
}

static enum order_result order(enum pv_order_kind kind)
{
    struct device_order o = {.user = "ann", .device_id = "DEV1", .kind = kind, .actor = "uid 0",
                             .done = forgotten};
    gate_order(gate, &o);
    run_tasks();
    assert_null(o.gate);
    return o.result;
}

/* A command that the upstream answers with a directive: what the device is told. */
static unsigned command_wiped(enum pv_wipe_kind kind, const char *version)
{
    unsigned before = wipe_times;
    wipe_kind = kind;
    exchange = (struct http_exchange){.key = the_key, .version = version};
    send_body(&exchange, "MoveItems", foldersync, sizeof foldersync);
    run_tasks();
    assert_int_equal(wipe_times, before + 1);
    return outcome(&exchange);
}

/* An empty Provision, or what came of the wipe. */
static struct told poll(enum pv_wipe_kind kind, unsigned status, const char *version)
{
    struct pv_client_out out = {.action = status ? PV_DO_WIPE_ACK : PV_DO_POLL, .wipe = kind,
                                .ack_status = status};
    struct http_exchange x = {.version = version};
    uint8_t body[64];
    size_t len;
    assert_int_equal(pv_client_body(&out, PV_V16_1, NULL, body, sizeof body, &len), PV_OK);
    send_body(&x, "Provision", body, len);
    run_tasks();
    return told_by(&x);
}

static void a_wipe_of_the_upstream_is_carried_out_and_told(void **unused)
{
    (void)unused;
    handshake("ann", "16.1", key_text);
    the_key = key_text;
    assert_int_equal(command_wiped(PV_WIPE_ACCOUNT, "16.1"), 140);
    assert_int_equal(wipe_result, GATE_WIPE_ORDERED);
    assert_non_null(strstr(world.last_audit, "\"actor\":\"upstream\""));
    assert_int_equal(poll(PV_WIPE_ACCOUNT, 0, "16.1").status, 1);
    assert_int_equal(wiped.times, 0);
    poll(PV_WIPE_ACCOUNT, 2, "16.1");
    assert_int_equal(wiped.times, 1);
    assert_int_equal(wiped.status, 2);
    assert_int_equal(wiped.kind, PV_WIPE_ACCOUNT);
    assert_string_equal(wiped.upstream, UP);
    poll(PV_WIPE_ACCOUNT, 1, "16.1");
    assert_int_equal(wiped.times, 2);
    assert_int_equal(wiped.status, 1);
    poll(PV_WIPE_ACCOUNT, 1, "16.1"); /* nothing to say any more */
    assert_int_equal(wiped.times, 2);
}

static void wipe_and_allow(void)
{
    assert_int_equal(command_wiped(PV_WIPE_DEVICE, NULL), 140);
    poll(PV_WIPE_NONE, 0, NULL);
    poll(PV_WIPE_DEVICE, 1, NULL);
    assert_int_equal(order(PV_ORDER_ALLOW), ORDER_DONE);
    confirm();
}

static void the_same_wipe_is_not_ordered_twice(void **unused)
{
    (void)unused;
    confirm();
    wipe_and_allow();
    assert_int_equal(command_wiped(PV_WIPE_DEVICE, NULL), 1);
    assert_int_equal(wipe_result, GATE_WIPE_ENDED);
    gate_upstream_wipe_told(gate, "ann", "DEV1", "https://other");
    assert_int_equal(command_wiped(PV_WIPE_DEVICE, NULL), 1);
    gate_upstream_wipe_told(gate, "ann", "DEV1", UP);
    gate_upstream_wipe_told(gate, "ann", "NONE", UP);
    /* It knows, so this is another one. */
    wipe_and_allow();
    assert_int_equal(wipe_result, GATE_WIPE_ORDERED);
    gate_upstream_wipe_told(gate, "ann", "DEV1", UP);
    restart();
    world.loaded[world.loaded_count - 1].u.device.wipe_by = "upstream";
    world.loaded[world.loaded_count - 1].u.device.wipe_reason = UP;
    start_gate();
    add_move();
    assert_int_equal(command_wiped(PV_WIPE_DEVICE, NULL), 140);
}

static void wipes_of_others_are_not_told(void **unused)
{
    (void)unused;
    confirm();
    assert_int_equal(order(PV_ORDER_WIPE_DEVICE), ORDER_DONE);
    poll(PV_WIPE_NONE, 0, NULL);
    poll(PV_WIPE_DEVICE, 1, NULL);
    assert_int_equal(wiped.times, 0);
    assert_int_equal(order(PV_ORDER_ALLOW), ORDER_DONE);
    confirm();
    assert_int_equal(command_wiped(PV_WIPE_DEVICE, NULL), 140); /* that one was ours */
}

static void who_forbids_wipes_forbids_the_upstreams(void **unused)
{
    (void)unused;
    struct user_set u = {.act = USER_FORBID_WIPE, .actor = "uid 0", .done = forbidden};
    snprintf(u.user, sizeof u.user, "ann");
    handshake("ann", "16.1", key_text);
    the_key = key_text;
    gate_set_user(gate, &u);
    run_tasks();
    assert_int_equal(command_wiped(PV_WIPE_DEVICE, "16.1"), 1);
    assert_int_equal(wipe_result, GATE_WIPE_FORBIDDEN);
    assert_int_equal(folder_sync("ann", "16.1", the_key), 1);
    assert_int_equal(command_wiped(PV_WIPE_ACCOUNT, "16.1"), 140);
}

static void a_wipe_that_is_not_stored_is_none(void **unused)
{
    (void)unused;
    confirm();
    world.store = STORE_FAILS;
    assert_int_equal(command_wiped(PV_WIPE_DEVICE, NULL), 1);
    assert_int_equal(wipe_result, GATE_WIPE_FAILED);
    assert_int_equal(folder_sync("ann", "14.1", the_key), 1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, policies_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_wipe_of_the_upstream_is_carried_out_and_told),
        TEST(the_same_wipe_is_not_ordered_twice),
        TEST(wipes_of_others_are_not_told),
        TEST(who_forbids_wipes_forbids_the_upstreams),
        TEST(a_wipe_that_is_not_stored_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

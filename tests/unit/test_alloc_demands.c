/* Every allocation failing once: what an upstream demands of a device, at the gate. jansson fails, too. */
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/failing_malloc.h"
#include "tests/unit/gate_fake.h"

static char key[65];

/* ---- start ---- */
/* A device of which an upstream demands something. */
#define CLAIM "a50b8300035b635ff02903f5c37d35a8"
static void world_bound(void)
{
    world = (struct world){.now = 1700000000};
    memset(&config, 0, sizeof config);
    config.upstream.url = "u";
    load_default(5, "{}");
    world.loaded[world.loaded_count++] = (struct store_change){
        .kind = STORE_PUT_DEVICE,
        .u.device = {.user = "ann", .device_id = "DEV1", .device_type = "", .user_agent = "",
                     .version = PV_V14_1, .model = "", .os = "", .wipe_by = "", .wipe_reason = ""}};
    world.loaded[world.loaded_count++] = (struct store_change){
        .kind = STORE_PUT_ITEM,
        .u.item = {"bond", "ann/DEV1", "{\"claim\":\"" CLAIM "\",\"key\":7,\"told\":\"0\"}"}};
    world.loaded[world.loaded_count++] = (struct store_change){
        .kind = STORE_PUT_ITEM,
        .u.item = {"claim", CLAIM,
                   "{\"upstream\":\"u\",\"settings\":\"{\\\"AllowCamera\\\":\\\"0\\\"}\"}"}};
}

static void start_failed(void)
{
    assert_string_not_equal(error, "");
}

static void see_demand(void *ctx, const struct device_view *v)
{
    *(int64_t *)ctx = pv_policy_value(v->settings, PV_SET_AllowCamera);
}

static void demand_was_loaded(void)
{
    int64_t camera = -1;
    assert_int_equal(folder_sync("ann", "14.1", "0"), 142);
    assert_int_equal(gate_show_device(gate, "ann", "DEV1", see_demand, &camera), 1);
    assert_int_equal(camera, 0);
}

static void end(void)
{
    run_tasks();
    gate_destroy(gate);
}

static void the_gate_starts(void **unused)
{
    (void)unused;
    failing_malloc_sweep(&(struct sweep){"gate_create, with a demand", world_bound, try_gate,
                                         start_failed, demand_was_loaded, end});
}

/* ---- coming into memory ---- */
static void stored_begin(void)
{
    world_bound();
    start_gate();
}

static bool read_run(void)
{
    struct resident r = {0};
    bool there = resident_read(gate, &r, "ann", RESIDENT_KNOWN);
    resident_drop(&r);
    return there;
}

static void again_begin(void)
{
    stored_begin();
    be_there("ann");
    struct shard *s = table_lock(gate->table, "ann");
    struct device *d = owner_device(shard_owner(s, "ann"), "DEV1");
    d->tag = 77; /* the store has another state, and another bond */
    bond_find(&s->bonds, d)->key = 8;
    table_unlock(s);
    resident_stale(gate, "ann");
}

static void users_come_whole_or_not_at_all(void **unused)
{
    (void)unused;
    failing_malloc_sweep(
        &(struct sweep){"reading a user", stored_begin, read_run, NULL, demand_was_loaded, end});
    failing_malloc_sweep(&(struct sweep){"reading a user again", again_begin, read_run, NULL,
                                         demand_was_loaded, end});
}

/* ---- requests: what cannot be done is answered with 503 ---- */
/* true: answered with something else. */
static bool answered(struct http_exchange *x)
{
    run_tasks();
    assert_true(x->done);
    return x->reply.status != 503;
}

static void command_begin(void)
{
    world = (struct world){.now = 1700000000};
    memset(&config, 0, sizeof config);
    config.upstream.url = "u";
    load_default(5, "{}");
    start_gate();
    handshake("ann", "14.1", key);
}

static void key_holds(void)
{
    assert_int_equal(folder_sync("ann", "14.1", key), 1);
}

static struct pv_policy wanted = {.set = UINT64_C(1) << PV_SET_AllowCamera};
static enum gate_demand_result demand_result;

static void demanded(void *ctx, enum gate_demand_result result, unsigned said)
{
    struct call *c = ctx;
    (void)said;
    demand_result = result;
    call_status(c, 1);
}

static void serve_sync(struct call *c)
{
    gate_demand(c, &(struct gate_demand){"u", &wanted}, demanded, c);
}

static void demand_begin(void)
{
    static const struct command sync = {PV_CMD_Sync, serve_sync, NULL, .raw = true};
    command_begin();
    gate_register(gate, &sync, 1);
}

static bool demand_run(void)
{
    struct http_exchange x = {.key = key};
    demand_result = GATE_DEMAND_FAILED;
    send_body(&x, "Sync", foldersync, sizeof foldersync);
    if (!answered(&x)) return false;
    assert_true(demand_result == GATE_DEMAND_ASK || demand_result == GATE_DEMAND_FAILED);
    return demand_result == GATE_DEMAND_ASK;
}

/* Also what it makes of another policy, while that comes into force. */
static void demand_check(void)
{
    int64_t camera = -1;
    assert_int_equal(gate_show_device(gate, "ann", "DEV1", see_demand, &camera), 1);
    assert_int_equal(camera, 0);
    assert_int_equal(folder_sync("ann", "14.1", key), 143);
}

/* And orders a wipe. */
static enum gate_wipe_result wipe_result;

static void wipe_ordered(void *ctx, enum gate_wipe_result result)
{
    wipe_result = result;
    call_status(ctx, 1);
}

static void serve_search(struct call *c)
{
    gate_upstream_wipe(c, "u", PV_WIPE_DEVICE, wipe_ordered, c);
}

static void upstream_wipe_begin(void)
{
    static const struct command search = {PV_CMD_Search, serve_search, NULL, .raw = true};
    command_begin();
    gate_register(gate, &search, 1);
}

static bool upstream_wipe_run(void)
{
    struct http_exchange x = {.key = key};
    wipe_result = GATE_WIPE_FAILED;
    send_body(&x, "Search", foldersync, sizeof foldersync);
    if (!answered(&x)) return false;
    assert_true(wipe_result == GATE_WIPE_ORDERED || wipe_result == GATE_WIPE_FAILED);
    return wipe_result == GATE_WIPE_ORDERED;
}

static void upstream_wipe_check(void)
{
    assert_int_equal(folder_sync("ann", "14.1", key), 140);
}

static void bound_begin(void)
{
    demand_begin();
    assert_true(demand_run());
    handshake("ann", "14.1", key);
}

/* ---- another policy of ours ---- */
static void policy_done(struct policy_change *c)
{
    c->name = NULL;
}

static bool policy_run(void)
{
    static const struct gate_setting longer = {"MinDevicePasswordLength", "8"};
    struct policy_change c = {.act = POLICY_SET, .name = "default", .actor = "uid 0",
                              .settings = &longer, .count = 1, .done = policy_done};
    gate_change_policies(gate, &c);
    run_tasks();
    policy_change_finish(&c);
    assert_null(c.name);
    return c.result == GATE_OK;
}

static void what_is_demanded_is_whole_or_not_at_all(void **unused)
{
    (void)unused;
    failing_malloc_sweep(
        &(struct sweep){"gate_demand", demand_begin, demand_run, NULL, demand_check, end});
    failing_malloc_sweep(&(struct sweep){"gate_upstream_wipe", upstream_wipe_begin,
                                         upstream_wipe_run, key_holds, upstream_wipe_check, end});
    failing_malloc_sweep(&(struct sweep){"gate_change_policies, with a demand", bound_begin,
                                         policy_run, NULL, demand_check, end});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_gate_starts),
        cmocka_unit_test(users_come_whole_or_not_at_all),
        cmocka_unit_test(what_is_demanded_is_whole_or_not_at_all),
    };
    json_set_alloc_funcs(malloc, free);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

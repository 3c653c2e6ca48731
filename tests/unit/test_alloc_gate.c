/* Every allocation failing once: the gate from its start over a handshake to what administrators
 * see and change. jansson fails, too. */
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/server/gate/order.h"
#include "src/server/gate/rules/rules_admin.h"
#include "src/server/gate/trail/keeper.h"
#include "tests/unit/failing_malloc.h"
#include "tests/unit/gate_fake.h"

#define INFO "{\"Model\":\"M 1\",\"OS\":\"X\"}"
#define LINE "{\"current\":5,\"candidate\":0}"
#define ASSIGNED "{\"scope\":\"user\",\"user\":\"fay\",\"policy\":\"default\"}"
#define SETTINGS "{\"DevicePasswordEnabled\":\"1\",\"MinDevicePasswordLength\":\"6\"}"

/* ---- start ---- */
static void world_begin(void)
{
    world = (struct world){.now = 1700000000};
    memset(&config, 0, sizeof config);
    snprintf(world.last_info, sizeof world.last_info, "%s", INFO);
    world.loaded[world.loaded_count++] =
        (struct store_change){.kind = STORE_PUT_ITEM, .u.item = {"line", "default", LINE}};
    world.loaded[world.loaded_count++] =
        (struct store_change){.kind = STORE_PUT_ITEM, .u.item = {"assignment", "x", ASSIGNED}};
    load_default(5, SETTINGS);
    world.loaded[world.loaded_count++] = (struct store_change){.kind = STORE_PUT_DEVICE,
                                                               .u.device = {.user = "ann",
                                                                            .device_id = "DEV1",
                                                                            .device_type = "Phone",
                                                                            .user_agent = "Mail/1",
                                                                            .version = PV_V14_1,
                                                                            .model = "M 1",
                                                                            .os = "X",
                                                                            .wipe_by = "uid 0",
                                                                            .wipe_reason = "lost"}};
    world.loaded[world.loaded_count++] =
        (struct store_change){.kind = STORE_PUT_USER, .u.user = {"dan", false}};
}

static void world_empty(void)
{
    world_begin();
    world.loaded_count = 0;
    world.store = STORE_AT_ONCE; /* nobody else would write the first policy */
}

static void start_failed(void)
{
    assert_string_not_equal(error, "");
}

static void view_device(void *ctx, const struct device_view *v)
{
    *(unsigned *)ctx += 1;
    assert_string_equal(v->user, "ann");
    assert_string_equal(v->device_type, "Phone");
    assert_string_equal(v->user_agent, "Mail/1");
    assert_string_equal(v->model, "M 1");
    assert_string_equal(v->os, "X");
}

static void see_length(void *ctx, const struct policy_view *v)
{
    *(int64_t *)ctx = v->policy->value[PV_SET_MinDevicePasswordLength];
}

static int64_t length_in_force(void)
{
    int64_t length = -1;
    assert_true(gate_show_policy(gate, "default", see_length, &length));
    return length;
}

static void everything_was_loaded(void)
{
    unsigned count = 0;
    be_there("ann");
    assert_true(gate_each_device(gate, view_device, &count));
    assert_int_equal(count, 1);
    assert_int_equal(length_in_force(), 6);
    assert_false(user_enabled("dan"));
    assert_int_equal(folder_sync("ann", "14.1", "0"), 142);
}

static void default_was_made(void)
{
    assert_true(world.put_policies > 0);
    assert_int_equal(length_in_force(), 0);
}

static void end(void)
{
    run_tasks();
    gate_destroy(gate);
}

static void begin(void)
{
    world_begin();
    start_gate();
    be_there("ann");
}

static void the_gate_starts(void **unused)
{
    (void)unused;
    failing_malloc_sweep(&(struct sweep){"gate_create", world_begin, try_gate, start_failed,
                                         everything_was_loaded, end});
    failing_malloc_sweep(&(struct sweep){"gate_create, first start", world_empty, try_gate,
                                         start_failed, default_was_made, end});
}

/* ---- requests: what cannot be done is answered with 503 ---- */
static char offer[65], key[65];

/* true: answered with something else. */
static bool answered(struct http_exchange *x)
{
    run_tasks();
    assert_true(x->done);
    if (x->reply.status != 503) return true;
    assert_int_equal(x->reply.retry_after > 0, 1);
    return false;
}

static bool sync_run(void)
{
    struct http_exchange x = {.user = "new", .key = "0", .agent = "Agent"};
    send_body(&x, "FolderSync", foldersync, sizeof foldersync);
    return answered(&x);
}

static void sync_check(void)
{
    assert_int_equal(folder_sync("new", "14.1", "0"), 142);
}

static bool ask_run(void)
{
    struct http_exchange x = {0};
    provision(&x, NULL, 0, "M 2");
    if (!answered(&x)) return false;
    struct told t = told_by(&x);
    assert_int_equal(t.policy_status, 1);
    assert_true(t.has_data);
    assert_int_equal(t.info_status, 1);
    memcpy(offer, t.key, sizeof offer);
    return true;
}

static bool ack_run(void)
{
    struct http_exchange x = {0};
    provision(&x, offer, 1, NULL);
    if (!answered(&x)) return false;
    struct told t = told_by(&x);
    assert_int_equal(t.policy_status, 1);
    memcpy(key, t.key, sizeof key);
    return true;
}

static void ask_check(void)
{
    assert_non_null(strstr(world.last_info, "\"Model\":\"M 2\",\"OS\":\"X\""));
    assert_true(ack_run());
}

static void ack_begin(void)
{
    begin();
    handshake("ann", "14.1", key);
    assert_true(ask_run());
}

/* The last key that was told holds. */
static void key_holds(void)
{
    assert_int_equal(folder_sync("ann", "14.1", key), 1);
}

static const struct pv_device_info info = {
    .model = "M 3", .imei = "1", .os = "Y", .phone_number = "2"};

static void command_begin(void)
{
    settings_info = &info;
    begin();
    handshake("ann", "14.1", key);
}

static bool settings_run(void)
{
    struct http_exchange x = {.key = key};
    send_body(&x, "Settings", settings, sizeof settings);
    return answered(&x);
}

static void info_as_before(void)
{
    assert_string_equal(world.last_info, INFO);
    key_holds();
}

static void info_check(void)
{
    assert_string_equal(world.last_info, "{\"Model\":\"M 3\",\"OS\":\"Y\",\"IMEI\":\"1\","
                                         "\"PhoneNumber\":\"2\"}");
}

/* A request line that the small arena does not hold. */
static bool long_run(void)
{
    static char target[4096];
    snprintf(target, sizeof target, "%s%0*d", QUERY "FolderSync" DEVICE "&User=", 3000, 1);
    struct http_exchange x = {.key = key, .target = target};
    send_body(&x, "FolderSync", foldersync, sizeof foldersync);
    return answered(&x);
}

static void requests_are_answered(void **unused)
{
    (void)unused;
    failing_malloc_sweep(
        &(struct sweep){"FolderSync of a new device", begin, sync_run, NULL, sync_check, end});
    failing_malloc_sweep(
        &(struct sweep){"FolderSync, long", command_begin, long_run, NULL, key_holds, end});
    failing_malloc_sweep(
        &(struct sweep){"Provision, asking", begin, ask_run, NULL, ask_check, end});
    /* When the answer fails the new key is stored, the old one void: it is told once more. */
    failing_malloc_sweep(
        &(struct sweep){"Provision, acknowledging", ack_begin, ack_run, NULL, key_holds, end});
    failing_malloc_sweep(
        &(struct sweep){"Settings", command_begin, settings_run, info_as_before, info_check, end});
}

/* ---- administration ---- */
static void policy_done(struct policy_change *s)
{
    s->name = NULL;
}

/* What came of it is compared by the sweep's own check. */
static bool change(struct policy_change c)
{
    c.actor = "uid 0";
    c.done = policy_done;
    gate_change_policies(gate, &c);
    run_tasks();
    policy_change_finish(&c);
    assert_null(c.name);
    assert_true(c.result == GATE_OK || c.result == GATE_STORE);
    return c.result == GATE_OK;
}

static const struct gate_setting changes[] = {{"MinDevicePasswordLength", "8"},
                                              {"UnapprovedInROMApplicationList", "a.exe b.exe"}};

static bool policy_run(void)
{
    return change((struct policy_change){
        .act = POLICY_SET, .name = "default", .settings = changes, .count = 2});
}

static void policy_as_before(void)
{
    assert_int_equal(length_in_force(), 6);
    assert_int_equal(world.put_policies, 0);
    key_holds();
}

static void policy_check(void)
{
    assert_int_equal(length_in_force(), 8);
    assert_int_equal(world.put_policies, 1);
    assert_int_equal(folder_sync("ann", "14.1", key), 143);
}

/* ---- layers ---- */
static const char *const group_names[] = {"sales"};
static const char *users[] = {"ann", "bob"};
static struct config_group sales = {"sales", users, 2};

static void layers_begin(void)
{
    world_begin();
    config.groups = (struct config_groups){&sales, 1};
    start_gate();
    handshake("ann", "14.1", key);
}

static bool new_run(void)
{
    return change((struct policy_change){
        .act = POLICY_NEW, .name = "new", .parent = "default", .settings = changes, .count = 2});
}

static bool dry_run(void)
{
    return change((struct policy_change){
        .act = POLICY_SET, .name = "default", .dry_run = true, .settings = changes, .count = 2});
}

static void assign_begin(void)
{
    layers_begin();
    assert_true(new_run());
}

static bool assign_run(void)
{
    return change((struct policy_change){
        .act = POLICY_ASSIGN, .name = "new", .to = {GATE_SCOPE_GROUP, "sales", NULL, NULL}});
}

static void roll_begin(void)
{
    layers_begin();
    assert_true(change((struct policy_change){
        .act = POLICY_SET, .name = "default", .staged = true, .settings = changes, .count = 2}));
}

static bool roll_run(void)
{
    return change((struct policy_change){.act = POLICY_ROLL,
                                         .name = "default",
                                         .set_groups = true,
                                         .groups = group_names,
                                         .group_count = 1});
}

static bool end_roll_run(void)
{
    return change((struct policy_change){
        .act = POLICY_ROLL, .name = "default", .set_percent = true, .percent = 100});
}

static void in_force(void)
{
    assert_int_equal(folder_sync("ann", "14.1", key), 143);
}

static void view_effective(void *ctx, const struct effective_view *v)
{
    *(size_t *)ctx = v->candidate_count;
}

static bool effective_run(void)
{
    size_t count = 0;
    bool shown = gate_show_effective(gate, "ann", "DEV1", view_effective, &count);
    assert_int_equal(count, shown);
    return shown;
}

/* A user whose device was wiped, with an open offer, beside a new one. */
static void reading_begin(void)
{
    begin();
    struct http_exchange ask = {0};
    handshake("ann", "14.1", key);
    provision(&ask, NULL, 0, NULL);
    run_tasks();
    gate_destroy(gate);
    gate = gate_create(&config, NULL, NULL, error, sizeof error);
    assert_non_null(gate);
    register_commands();
}

static bool reading_run(void)
{
    struct resident r = {0};
    bool there = resident_read(gate, &r, "ann", RESIDENT_KNOWN);
    resident_drop(&r);
    return there;
}

static bool waiting_run(void)
{
    struct http_exchange x = {.key = key};
    world.absent = true;
    send_body(&x, "FolderSync", foldersync, sizeof foldersync);
    return answered(&x);
}

static void users_come_into_memory(void **unused)
{
    (void)unused;
    failing_malloc_sweep(
        &(struct sweep){"resident_read", reading_begin, reading_run, NULL, key_holds, end});
    failing_malloc_sweep(
        &(struct sweep){"resident_want", reading_begin, waiting_run, NULL, key_holds, end});
}

static void layers_are_changed(void **unused)
{
    (void)unused;
    static const struct sweep sweeps[] = {
        {"policy new", layers_begin, new_run, key_holds, key_holds, end},
        {"policy set, dry run", layers_begin, dry_run, key_holds, key_holds, end},
        {"policy assign", assign_begin, assign_run, key_holds, in_force, end},
        {"policy roll", roll_begin, roll_run, key_holds, in_force, end},
        {"policy roll, to all", roll_begin, end_roll_run, key_holds, in_force, end},
        {"gate_show_effective", layers_begin, effective_run, NULL, key_holds, end},
    };
    for (size_t i = 0; i < sizeof sweeps / sizeof *sweeps; i++) failing_malloc_sweep(&sweeps[i]);
}

static bool user_run(void)
{
    enum gate_result r = set_user("eve", false, false);
    assert_true(r == GATE_OK || r == GATE_STORE);
    return r == GATE_OK;
}

static void eve_is_in(void)
{
    assert_true(user_enabled("eve"));
}

static void eve_is_out(void)
{
    assert_false(user_enabled("eve"));
}

static bool list_run(void)
{
    unsigned count = 0;
    return gate_each_device(gate, view_device, &count);
}

static void absent_begin(void)
{
    world_begin();
    start_gate();
}

static void count_hit(void *ctx, const struct rule_hit *h)
{
    assert_string_equal(h->user, "ann");
    assert_int_equal(h->then, PV_ACCESS_BLOCKED);
    *(unsigned *)ctx += 1;
}

static bool test_run(void)
{
    char message[200];
    unsigned count = 0;
    struct rule r = {.access = PV_ACCESS_BLOCKED};
    assert_true(rule_condition(&r, "DeviceType", "Phone", message, sizeof message));
    bool ok = gate_test_rule(gate, &r, count_hit, &count);
    assert_true(!ok || count == 1);
    return ok;
}

static void rules_done(struct rules_set *s)
{
    s->of = s;
}

/* Who is in stays in, by a word of his own. */
static bool keep_run(void)
{
    struct rules_set s = {.change = RULES_DEFAULT, .otherwise = PV_ACCESS_BLOCKED,
                          .keep_known = true, .actor = "uid 0", .done = rules_done};
    gate_set_rules(gate, &s);
    run_tasks();
    assert_non_null(s.of);
    assert_true(s.result == RULES_DONE || s.result == RULES_STORE);
    return s.result == RULES_DONE;
}

static void everybody_is_in(void)
{
    key_holds();
}

static void who_was_in_is_in(void)
{
    key_holds();
    assert_int_equal(folder_sync("bob", "14.1", "0"), 129);
}

static void administrators_are_told(void **unused)
{
    (void)unused;
    failing_malloc_sweep(&(struct sweep){"gate_change_policies", command_begin, policy_run,
                                         policy_as_before, policy_check, end});
    failing_malloc_sweep(
        &(struct sweep){"gate_set_user", begin, user_run, eve_is_in, eve_is_out, end});
    failing_malloc_sweep(
        &(struct sweep){"gate_each_device", begin, list_run, NULL, everything_was_loaded, end});
    failing_malloc_sweep(&(struct sweep){"gate_each_device, of whom is not in memory", absent_begin,
                                         list_run, NULL, everything_was_loaded, end});
    failing_malloc_sweep(&(struct sweep){"gate_test_rule", absent_begin, test_run, NULL,
                                         everything_was_loaded, end});
    failing_malloc_sweep(&(struct sweep){"gate_set_rules, keep known", command_begin, keep_run,
                                         everybody_is_in, who_was_in_is_in, end});
}

/* ---- orders ---- */
static struct device_order an_order;

static void order_done(struct device_order *o)
{
    o->gate = NULL;
}

static bool order_run(void)
{
    gate_order(gate, &an_order);
    run_tasks();
    assert_null(an_order.gate);
    assert_true(an_order.result == ORDER_DONE || an_order.result == ORDER_STORE);
    return an_order.result == ORDER_DONE;
}

static void order_begin(enum pv_order_kind kind, const char *device_id)
{
    command_begin();
    an_order = (struct device_order){.user = "ann",
                                     .device_id = device_id,
                                     .kind = kind,
                                     .actor = "uid 0",
                                     .reason = "lost",
                                     .done = order_done};
}

static void wipe_begin(void)
{
    order_begin(PV_ORDER_WIPE_DEVICE, "DEV1");
}

static void view_wipe(void *ctx, const struct device_view *v)
{
    (void)ctx;
    assert_string_equal(v->wipe_by, "uid 0");
    assert_string_equal(v->wipe_reason, "lost");
}

static void wipe_check(void)
{
    assert_int_equal(gate_show_device(gate, "ann", "DEV1", view_wipe, NULL), 1);
    assert_int_equal(folder_sync("ann", "14.1", key), 140);
}

static void removal_begin(void)
{
    order_begin(PV_ORDER_COUNT, "DEV1");
    an_order.remove = true;
}

static void removal_check(void)
{
    struct gate_counts n;
    gate_count(gate, &n);
    assert_int_equal(n.devices, 0);
}

static void entry_begin(void)
{
    order_begin(PV_ORDER_BLOCK, "NEW1");
    an_order.add = true;
}

static void no_entry(void)
{
    struct gate_counts n;
    gate_count(gate, &n);
    assert_int_equal(n.devices, 1);
    key_holds();
}

static void entry_check(void)
{
    struct gate_counts n;
    gate_count(gate, &n);
    assert_int_equal(n.devices, 2);
}

static void sweep_begin(void)
{
    wipe_begin();
    an_order.wipe_expires_at = world.now + 1;
    assert_true(order_run());
    world.now++;
}

static bool sweep_run(void)
{
    gate_sweep(gate);
    run_tasks();
    return world.last_put.wipe_state == PV_WIPE_STATE_EXPIRED;
}

static void sweep_check(void)
{
    assert_non_null(strstr(world.last_audit, "WIPE_EXPIRED"));
    assert_int_equal(folder_sync("ann", "14.1", key), 129);
}

static bool show_run(void)
{
    unsigned count = 0;
    return gate_show_device(gate, "ann", "DEV1", view_device, &count) == 1;
}

static void orders_are_whole_or_not_at_all(void **unused)
{
    (void)unused;
    failing_malloc_sweep(
        &(struct sweep){"gate_order, wipe", wipe_begin, order_run, key_holds, wipe_check, end});
    failing_malloc_sweep(&(struct sweep){"gate_order, remove", removal_begin, order_run, key_holds,
                                         removal_check, end});
    failing_malloc_sweep(&(struct sweep){"gate_order, new entry", entry_begin, order_run, no_entry,
                                         entry_check, end});
    failing_malloc_sweep(
        &(struct sweep){"gate_sweep", sweep_begin, sweep_run, NULL, sweep_check, end});
    failing_malloc_sweep(
        &(struct sweep){"gate_show_device", begin, show_run, NULL, everything_was_loaded, end});
}

/* ---- trails ---- */
static void trail_begin(void)
{
    begin();
    snprintf(world.last_trail, sizeof world.last_trail, "%s", "{\"steps\":[],\"clone\":null}");
    assert_int_equal(folder_sync("ann", "14.1", "0"), 142);
}

static bool round_run(void)
{
    return !keeper_round(gate->keeper);
}

static void round_failed(void)
{
    assert_int_equal(world.put_trails, 0);
}

static void round_check(void)
{
    assert_int_equal(world.put_trails, 1);
    assert_non_null(strstr(world.last_trail, "KEY_ZERO"));
}

static bool trail_run(void)
{
    struct trail_copy t;
    json_t *json = gate_device_trail(gate, "ann", "DEV1", &t) == 1 ? trail_copy_json(&t) : NULL;
    size_t count = json_array_size(json_object_get(json, "steps"));
    json_decref(json);
    if (!json) return false;
    assert_int_equal(count, 1);
    return true;
}

static void trail_check(void)
{
    assert_true(trail_run());
}

static void trails_are_written_and_read(void **unused)
{
    (void)unused;
    failing_malloc_sweep(
        &(struct sweep){"keeper_round", trail_begin, round_run, round_failed, round_check, end});
    failing_malloc_sweep(
        &(struct sweep){"gate_device_trail", trail_begin, trail_run, NULL, trail_check, end});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_gate_starts),         cmocka_unit_test(requests_are_answered),
        cmocka_unit_test(administrators_are_told), cmocka_unit_test(trails_are_written_and_read),
        cmocka_unit_test(users_come_into_memory),      cmocka_unit_test(orders_are_whole_or_not_at_all),
        cmocka_unit_test(layers_are_changed),      cmocka_unit_test(orders_are_whole_or_not_at_all),
    };
    json_set_alloc_funcs(malloc, free);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

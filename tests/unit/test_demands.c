/* What an upstream demands of a device: merged with our policy, durable first, kept over a restart. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/server/gate/order.h"
#include "tests/unit/policies_fake.h"

#define UP "https://up.example"

/* ---- an upstream that demands ---- */
static struct gate_demand demand; /* of the next Sync */
static enum gate_demand_result told;
static unsigned told_said, told_times;

static void demanded(void *ctx, enum gate_demand_result result, unsigned said)
{
    struct call *c = ctx;
    told = result;
    told_said = said;
    told_times++;
    if (result == GATE_DEMAND_ASK)
        call_judge_again(c);
    else
        call_status(c, 1);
}

static void serve_sync(struct call *c)
{
    gate_demand(c, &demand, demanded, c);
}

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

static struct call *key_call;

static void serve_search(struct call *c)
{
    key_call = c;
    call_wait(c, NULL);
}

static void add_commands(void)
{
    static const struct command commands[] = {{PV_CMD_Sync, serve_sync, NULL, .raw = true},
                                              {PV_CMD_Search, serve_search, NULL, .raw = true},
                                              {PV_CMD_MoveItems, serve_move, NULL, .raw = true}};
    gate_register(gate, commands, COUNT(commands));
    gate_on_wiped(gate, see_wiped, &wiped);
}

static int begin(void **unused)
{
    policies_begin(unused);
    config.upstream.url = UP;
    add_commands();
    told_times = 0;
    memset(&wiped, 0, sizeof wiped);
    return 0;
}

static unsigned char block[65536] __attribute__((aligned(16)));
static struct pv_arena arena;

/* "A=1 B=2" */
static struct pv_policy policy_with(const char *wanted)
{
    struct pv_policy p = {0};
    char copy[512], why[200], *save, *pair;
    snprintf(copy, sizeof copy, "%s", wanted);
    for (pair = strtok_r(copy, " ", &save); pair; pair = strtok_r(NULL, " ", &save)) {
        char *equals = strchr(pair, '=');
        *equals = '\0';
        assert_int_equal(pv_policy_set(&p, &arena, pair, equals + 1, why, sizeof why), PV_OK);
    }
    return p;
}

static const char *the_key;
static const char *the_user = "ann";

/* A command that the upstream refuses: what the gate makes of it, and HTTP code or Status. wanted
 * NULL: the upstream has no policy. */
static struct http_exchange exchange;
static unsigned command_refused(const char *wanted)
{
    static struct pv_policy p;
    pv_arena_init(&arena, block, sizeof block);
    p = policy_with(wanted ? wanted : "");
    demand.upstream = UP;
    demand.policy = wanted ? &p : NULL;
    exchange = (struct http_exchange){.key = the_key, .user = the_user};
    send_body(&exchange, "Sync", foldersync, sizeof foldersync);
    run_tasks();
    return exchange.done ? outcome(&exchange) : 0;
}

static enum gate_demand_result demand_of(const char *wanted)
{
    unsigned before = told_times;
    command_refused(wanted);
    assert_int_equal(told_times, before + 1);
    return told;
}

/* The policy in a Provision answer; its strings go with the next. */
static struct pv_policy offered(const char *user)
{
    static unsigned char room[65536] __attribute__((aligned(16)));
    struct http_exchange x = {.user = user};
    struct pv_provision_answer a;
    const struct pv_node *root;
    struct pv_policy p = {0};
    struct pv_arena all;
    provision(&x, NULL, 0, NULL);
    pv_arena_init(&all, room, sizeof room);
    assert_int_equal(pv_wbxml_decode(&all, x.answer, x.reply.len, NULL, &root, NULL), PV_OK);
    assert_int_equal(pv_provision_answer_read(root, &all, &a), PV_OK);
    assert_non_null(a.data);
    assert_int_equal(pv_policy_read(a.data, &all, &p, NULL, 0, NULL), PV_OK);
    return p;
}

static void forgotten(struct device_order *o)
{
    o->gate = NULL;
}

static void forbidden(struct user_set *u)
{
    assert_int_equal(u->result, GATE_OK);
}

static char key_text[65];

static void confirm(void)
{
    handshake(the_user, "14.1", key_text);
    the_key = key_text;
}

static uint32_t upstream_key(const char *upstream, uint32_t keep)
{
    struct http_exchange x = {.key = the_key, .user = the_user};
    key_call = NULL;
    send_body(&x, "Search", foldersync, sizeof foldersync);
    assert_non_null(key_call);
    if (keep) gate_demand_keep_key(key_call, upstream, keep);
    uint32_t key = gate_demand_key(key_call, upstream);
    call_status(key_call, 1);
    return key;
}

/* ---- the policy of both ---- */
static void the_stricter_of_both_is_asked_for(void **unused)
{
    (void)unused;
    assert_int_equal(set("default", "DevicePasswordEnabled", "1"), GATE_OK);
    assert_int_equal(set("default", "MinDevicePasswordLength", "6"), GATE_OK);
    uint64_t revision = last.revision;
    confirm();
    assert_int_equal(
        command_refused("DevicePasswordEnabled=1 MinDevicePasswordLength=4 AllowCamera=0"), 143);
    assert_int_equal(told, GATE_DEMAND_ASK);
    assert_int_equal(folder_sync("ann", "14.1", the_key), 143);
    struct pv_policy p = offered("ann");
    assert_int_equal(pv_policy_value(&p, PV_SET_MinDevicePasswordLength), 6);
    assert_int_equal(pv_policy_value(&p, PV_SET_AllowCamera), 0);
    confirm();
    assert_int_equal(folder_sync("ann", "14.1", the_key), 1);
    assert_int_equal(world.last_put.key_revision, revision); /* of our own policy */
    assert_int_equal(
        demand_of("DevicePasswordEnabled=1 MinDevicePasswordLength=4 AllowCamera=0"),
        GATE_DEMAND_MET);
    assert_int_equal(told_said, 1);
    /* Another device of the same policy has nothing to do with it. */
    p = offered("bob");
    assert_int_equal(pv_policy_value(&p, PV_SET_AllowCamera), 1);
}

static void a_demand_that_adds_nothing_asks_nobody(void **unused)
{
    (void)unused;
    assert_int_equal(set("default", "AllowCamera", "0"), GATE_OK);
    confirm();
    assert_int_equal(demand_of("AllowCamera=0"), GATE_DEMAND_MET);
    assert_int_equal(demand_of("AllowCamera=1"), GATE_DEMAND_MET);
    assert_int_equal(folder_sync("ann", "14.1", the_key), 1);
}

static void it_is_durable_before_it_counts(void **unused)
{
    (void)unused;
    confirm();
    world.store = STORE_HOLDS;
    assert_int_equal(command_refused("AllowCamera=0"), 0);
    assert_int_equal(folder_sync("ann", "14.1", the_key), 1);
    release(false);
    assert_int_equal(told, GATE_DEMAND_FAILED);
    assert_int_equal(folder_sync("ann", "14.1", the_key), 1);
    assert_int_equal(command_refused("AllowCamera=0"), 0);
    release(true);
    assert_int_equal(outcome(&exchange), 143);
    assert_int_equal(folder_sync("ann", "14.1", the_key), 143);
    the_user = "bob";
    world.store = STORE_WRITES;
    confirm();
    world.store = STORE_REFUSES;
    assert_int_equal(demand_of("AllowCamera=0"), GATE_DEMAND_FAILED);
    assert_int_equal(folder_sync("bob", "14.1", the_key), 1);
    the_user = "ann";
}

static void a_demand_that_ends_leaves_our_own(void **unused)
{
    (void)unused;
    confirm();
    size_t rows = row_count;
    assert_int_equal(demand_of(NULL), GATE_DEMAND_MET); /* there was none, there is none */
    assert_int_equal(row_count, rows);
    assert_int_equal(demand_of("AllowCamera=0"), GATE_DEMAND_ASK);
    assert_int_equal(row_count, rows + 2);
    confirm();
    assert_int_equal(command_refused(NULL), 143);
    struct pv_policy p = offered("ann");
    assert_int_equal(pv_policy_value(&p, PV_SET_AllowCamera), 1);
    confirm();
    assert_int_equal(demand_of(NULL), GATE_DEMAND_MET);
}

static void the_acknowledgement_of_the_device_is_told(void **unused)
{
    (void)unused;
    assert_int_equal(set("default", "AllowPartial", "1"), GATE_OK);
    confirm();
    assert_int_equal(demand_of("AllowCamera=0"), GATE_DEMAND_ASK);
    struct http_exchange ask = {0}, ack = {0};
    struct told offer = told_by(provision(&ask, NULL, 0, NULL));
    provision(&ack, offer.key, 2, NULL);
    run_tasks();
    struct told final = told_by(&ack);
    assert_int_equal(final.policy_status, 1);
    the_key = final.key;
    assert_int_equal(demand_of("AllowCamera=0"), GATE_DEMAND_MET);
    assert_int_equal(told_said, 2);
}

/* An upstream that refuses a device without a key would not have let it in. */
static void nobody_is_let_in_without_a_key(void **unused)
{
    (void)unused;
    assert_int_equal(set("default", "AllowNonProvisionable", "1"), GATE_OK);
    the_key = NULL;
    assert_int_equal(folder_sync("ann", "14.1", NULL), 1);
    assert_int_equal(demand_of(NULL), GATE_DEMAND_MET);
    assert_int_equal(command_refused(""), 141);
    assert_int_equal(folder_sync("ann", "14.1", NULL), 141);
    confirm();
    assert_int_equal(demand_of(""), GATE_DEMAND_MET);
    struct http_exchange ask = {0}, ack = {0};
    struct told offer = told_by(provision(&ask, NULL, 0, NULL));
    assert_int_equal(outcome(provision(&ack, offer.key, 3, NULL)), 139);
}

static void a_waiting_ping_is_woken(void **unused)
{
    (void)unused;
    struct http_exchange x = {.user = "ann"};
    confirm();
    send_body(&x, "Ping", ping, sizeof ping);
    struct call *c = ping_call;
    assert_false(gate_ping_due(c));
    assert_int_equal(gate_ping_due_in(c), UINT32_MAX);
    assert_int_equal(demand_of("AllowCamera=0"), GATE_DEMAND_ASK);
    assert_true(gate_ping_due(c));
    call_status(c, 1);
}

/* ---- changes of our own policies ---- */
static void what_the_demand_hides_asks_nobody(void **unused)
{
    (void)unused;
    confirm();
    assert_int_equal(demand_of("AllowCamera=0 AllowBrowser=0"), GATE_DEMAND_ASK);
    confirm();
    assert_int_equal(RUN(.act = POLICY_SET, .name = "default", .count = 1, .dry_run = true,
                         .settings = setting("AllowCamera", "0")), GATE_OK);
    assert_int_equal(last.affected, 0);
    assert_int_equal(set("default", "AllowCamera", "0"), GATE_OK);
    assert_int_equal(last.affected, 0);
    assert_int_equal(folder_sync("ann", "14.1", the_key), 1);
    assert_int_equal(RUN(.act = POLICY_SET, .name = "default", .count = 1, .dry_run = true,
                         .settings = setting("AllowWiFi", "0")), GATE_OK);
    assert_int_equal(last.affected, 1);
    assert_int_equal(set("default", "AllowWiFi", "0"), GATE_OK);
    assert_int_equal(last.affected, 1);
    assert_int_equal(folder_sync("ann", "14.1", the_key), 143);
    struct pv_policy p = offered("ann");
    assert_int_equal(pv_policy_value(&p, PV_SET_AllowBrowser), 0);
    assert_int_equal(pv_policy_value(&p, PV_SET_AllowWiFi), 0);
}

static void what_was_made_of_old_policies_goes(void **unused)
{
    (void)unused;
    char text[16];
    confirm();
    assert_int_equal(demand_of("AllowCamera=0"), GATE_DEMAND_ASK);
    for (int i = 1; i < 16; i++) {
        snprintf(text, sizeof text, "%d", i);
        assert_int_equal(set("default", "MinDevicePasswordLength", text), GATE_OK);
    }
    struct shard *s = table_lock(gate->table, "ann");
    const struct device *d = owner_device(shard_owner(s, "ann"), "DEV1");
    assert_in_range(bond_find(&s->bonds, d)->claim->merged_count, 1, 2);
    table_unlock(s);
}

/* ---- two that cannot be one ---- */
static void see_conflict(void *ctx, const struct device_view *v)
{
    *(bool *)ctx = v->upstream_conflict;
    assert_string_equal(v->upstream, UP);
    assert_true(v->upstream_policy);
}

static void what_cannot_be_met_keeps_the_device_out(void **unused)
{
    (void)unused;
    bool conflict = true;
    assert_int_equal(set("default", "ApprovedApplicationList", "a,b"), GATE_OK);
    confirm();
    size_t rows = row_count;
    assert_int_equal(demand_of("ApprovedApplicationList=c,d"), GATE_DEMAND_IMPOSSIBLE);
    assert_int_equal(row_count, rows);
    assert_int_equal(folder_sync("ann", "14.1", the_key), 1);
    assert_int_equal(demand_of("ApprovedApplicationList=b,c"), GATE_DEMAND_ASK);
    confirm();
    assert_int_equal(gate_show_device(gate, "ann", "DEV1", see_conflict, &conflict), 1);
    assert_false(conflict);
    /* Ours becomes so that nothing is left. */
    assert_int_equal(set("default", "ApprovedApplicationList", "a"), GATE_OK);
    assert_int_equal(last.affected, 1);
    assert_int_equal(folder_sync("ann", "14.1", the_key), 139);
    struct http_exchange ask = {0};
    assert_int_equal(outcome(provision(&ask, NULL, 0, NULL)), 139);
    assert_int_equal(gate_show_device(gate, "ann", "DEV1", see_conflict, &conflict), 1);
    assert_true(conflict);
    assert_int_equal(set("default", "ApprovedApplicationList", "b"), GATE_OK);
    assert_int_equal(folder_sync("ann", "14.1", the_key), 1); /* the same document as before */
}

static void different_claims_are_bounded(void **unused)
{
    (void)unused;
    static struct claim *all[CLAIMS_MAX + 1];
    static const struct pv_policy nothing;
    char name[32];
    for (int i = 0; i < CLAIMS_MAX; i++) {
        snprintf(name, sizeof name, "https://up%d", i);
        assert_int_equal(claims_take(gate->claims, name, &nothing, &all[i]), GATE_OK);
    }
    assert_int_equal(claims_take(gate->claims, UP, &nothing, &all[CLAIMS_MAX]), GATE_INVALID);
    assert_int_equal(claims_take(gate->claims, "https://up7", &nothing, &all[CLAIMS_MAX]), GATE_OK);
    assert_ptr_equal(all[CLAIMS_MAX], all[7]);
    claim_release(all[CLAIMS_MAX]);
    claim_release(all[3]);
    assert_int_equal(claims_take(gate->claims, UP, NULL, &all[3]), GATE_OK);
    for (int i = 0; i < CLAIMS_MAX; i++) claim_release(all[i]);
}

static void entries_with_commas_are_not_taken(void **unused)
{
    (void)unused;
    static const char *const items[] = {"a,b.exe"};
    const struct pv_policy odd = {
        .set = UINT64_C(1) << PV_SET_UnapprovedInROMApplicationList, .unapproved = {items, 1}};
    struct claim *c;
    assert_int_equal(claims_take(gate->claims, UP, &odd, &c), GATE_INVALID);
}

/* ---- keys ---- */
static void keys_are_of_one_upstream(void **unused)
{
    (void)unused;
    confirm();
    assert_int_equal(upstream_key(UP, 7), 0); /* it has demanded nothing */
    assert_int_equal(demand_of(""), GATE_DEMAND_MET);
    assert_int_equal(upstream_key(UP, 0), 0);
    assert_int_equal(upstream_key(UP, UINT32_MAX), UINT32_MAX);
    assert_int_equal(upstream_key("https://other", 0), 0);
    assert_int_equal(upstream_key("https://other", 9), 0);
    assert_int_equal(demand_of("AllowBluetooth=2"), GATE_DEMAND_MET); /* the same one */
    assert_int_equal(upstream_key(UP, 0), UINT32_MAX);
}

/* ---- restarts ---- */
static struct device_record stored_device;

/* The next gate starts from what the store was told, and this device. */
static void restart(void)
{
    run_tasks();
    static const char empty[] = "";
    stored_device = (struct device_record){.user = "ann", .device_id = "DEV1",
                                           .device_type = empty, .user_agent = empty,
                                           .model = empty, .os = empty, .version = PV_V14_1,
                                           .state = PV_STATE_PROVISIONED, .wipe_by = empty,
                                           .wipe_reason = empty, .partnership = world.last_put};
    gate_destroy(gate);
    load_stored();
    world.loaded[world.loaded_count++] =
        (struct store_change){.kind = STORE_PUT_DEVICE, .u.device = stored_device};
}

static void a_restart_asks_nobody_again(void **unused)
{
    (void)unused;
    size_t rows = row_count;
    confirm();
    assert_int_equal(demand_of("AllowWiFi=0"), GATE_DEMAND_ASK);
    confirm();
    assert_int_equal(demand_of("AllowCamera=0"), GATE_DEMAND_ASK);
    assert_int_equal(row_count, rows + 2); /* nobody needs the first claim any more */
    confirm();
    assert_int_equal(upstream_key(UP, 42), 42);
    restart();
    start_gate();
    add_commands();
    assert_int_equal(folder_sync("ann", "14.1", the_key), 1);
    assert_int_equal(upstream_key(UP, 0), 42);
    assert_int_equal(row_count, rows + 2);
    assert_int_equal(demand_of("AllowCamera=0"), GATE_DEMAND_MET);
    assert_int_equal(command_refused(""), 143); /* our own is looser */
}

static void what_nobody_needs_goes_at_the_start(void **unused)
{
    (void)unused;
    size_t rows = row_count;
    confirm();
    assert_int_equal(demand_of("AllowCamera=0"), GATE_DEMAND_ASK);
    restart();
    world.loaded_count--; /* the device has gone */
    start_gate();
    assert_int_equal(row_count, rows + 1); /* the bond of nobody is harmless */
}

static void damage_is_told(void **unused)
{
    (void)unused;
    static const struct { const char *kind, *name, *json, *why; } rows[] = {
        {"bond", "ann/DEV1", "{\"claim\":\"00\",\"key\":1,\"told\":\"0\"}", "is missing"},
        {"bond", "ann/DEV1", "{\"claim\":\"00\",\"key\":4294967296,\"told\":\"0\"}", "read"},
        {"bond", "ann/DEV1", "{\"claim\":\"00\",\"key\":-1,\"told\":\"0\"}", "cannot be read"},
        {"bond", "ann", "{\"claim\":\"00\",\"key\":1,\"told\":\"0\"}", "cannot be read"},
        {"bond", "ann/DEV1", "[]", "cannot be read"},
        {"claim", "00", "{\"upstream\":\"x\",\"settings\":null}", "cannot be read"},
        {"claim", "00", "{\"upstream\":\"x\",\"settings\":\"{\\\"No\\\":\\\"1\\\"}\"}", "cannot"},
        {"claim", "00", "no JSON", "cannot be read"},
    };
    confirm();
    restart();
    for (size_t i = 0; i < COUNT(rows); i++) {
        print_message("# %s\n", rows[i].json);
        world.loaded[world.loaded_count] = (struct store_change){
            .kind = STORE_PUT_ITEM, .u.item = {rows[i].kind, rows[i].name, rows[i].json}};
        world.loaded_count++;
        assert_false(try_gate());
        assert_non_null(strstr(error, rows[i].why));
        world.loaded_count--;
    }
    start_gate();
}

/* ---- wipes ---- */
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
    add_commands();
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

/* ---- users that move ---- */
static char here[] = UP, elsewhere[] = "https://new.example";

static bool stays(void *ctx, const char *user, const char *upstream)
{
    assert_string_equal(user, "ann");
    return strcmp(upstream, ctx) == 0;
}

static int64_t camera_of(const char *user)
{
    struct pv_policy p = offered(user);
    return pv_policy_value(&p, PV_SET_AllowCamera);
}

static void what_another_upstream_demanded_is_forgotten(void **unused)
{
    (void)unused;
    confirm();
    size_t rows = row_count;
    assert_int_equal(demand_of("AllowCamera=0"), GATE_DEMAND_ASK);
    gate_demand_sift(gate, stays, here);
    assert_int_equal(camera_of("ann"), 0);
    gate_demand_sift(gate, stays, elsewhere);
    assert_int_equal(camera_of("ann"), 1);
    assert_int_equal(row_count, rows);
    assert_int_equal(folder_sync("ann", "14.1", the_key), 1);
}

static void without_an_upstream_nothing_is_demanded(void **unused)
{
    (void)unused;
    confirm();
    size_t rows = row_count;
    assert_int_equal(demand_of("AllowCamera=0"), GATE_DEMAND_ASK);
    restart();
    config.upstream.url = NULL;
    start_gate();
    assert_int_equal(folder_sync("ann", "14.1", the_key), 1);
    assert_int_equal(row_count, rows + 2); /* it may come back */
}

/* ---- the end of a device ---- */

static void it_goes_with_the_device(void **unused)
{
    (void)unused;
    confirm();
    assert_int_equal(demand_of("AllowCamera=0"), GATE_DEMAND_ASK);
    struct device_order o = {.user = "ann", .device_id = "DEV1", .remove = true,
                             .actor = "uid 0", .done = forgotten};
    gate_order(gate, &o);
    run_tasks();
    assert_int_equal(o.result, ORDER_DONE);
    struct pv_policy p = offered("ann");
    assert_int_equal(pv_policy_value(&p, PV_SET_AllowCamera), 1);
    confirm();
    assert_int_equal(demand_of("AllowCamera=0"), GATE_DEMAND_ASK);
    assert_int_equal(set_user("ann", true, true), GATE_OK);
    p = offered("ann");
    assert_int_equal(pv_policy_value(&p, PV_SET_AllowCamera), 1);
}

/* ---- what administrators see ---- */
static void see_effective(void *ctx, const struct effective_view *v)
{
    (void)ctx;
    assert_string_equal(v->upstream, UP);
    assert_true(v->demanded[PV_SET_AllowCamera]);
    assert_null(v->from[PV_SET_AllowCamera]);
    assert_int_equal(pv_policy_value(v->settings, PV_SET_AllowCamera), 0);
    assert_false(v->demanded[PV_SET_AllowWiFi]);
    assert_string_equal(v->from[PV_SET_AllowWiFi], "default");
    assert_true(v->demanded[PV_SET_AllowNonProvisionable]); /* taken away */
    assert_false(v->demanded[PV_SET_AllowBrowser]);
    assert_null(v->from[PV_SET_AllowBrowser]);
}

static void see_plain(void *ctx, const struct effective_view *v)
{
    (void)ctx;
    assert_null(v->upstream);
    assert_false(v->demanded[PV_SET_AllowWiFi]);
    assert_string_equal(v->from[PV_SET_AllowNonProvisionable], "default");
}

static void administrators_see_where_a_setting_comes_from(void **unused)
{
    (void)unused;
    assert_int_equal(set("default", "AllowWiFi", "0"), GATE_OK);
    assert_int_equal(set("default", "AllowNonProvisionable", "1"), GATE_OK);
    confirm();
    assert_int_equal(demand_of("AllowCamera=0 AllowWiFi=1"), GATE_DEMAND_ASK);
    assert_true(gate_show_effective(gate, "ann", "DEV1", see_effective, NULL));
    assert_true(gate_show_effective(gate, "ann", "OTHER", see_plain, NULL));
    assert_true(gate_show_effective(gate, "ann", NULL, see_plain, NULL));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, policies_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_stricter_of_both_is_asked_for),
        TEST(a_demand_that_adds_nothing_asks_nobody),
        TEST(it_is_durable_before_it_counts),
        TEST(a_demand_that_ends_leaves_our_own),
        TEST(the_acknowledgement_of_the_device_is_told),
        TEST(nobody_is_let_in_without_a_key),
        TEST(a_waiting_ping_is_woken),
        TEST(what_the_demand_hides_asks_nobody),
        TEST(what_was_made_of_old_policies_goes),
        TEST(what_cannot_be_met_keeps_the_device_out),
        TEST(different_claims_are_bounded),
        TEST(entries_with_commas_are_not_taken),
        TEST(keys_are_of_one_upstream),
        TEST(a_restart_asks_nobody_again),
        TEST(what_nobody_needs_goes_at_the_start),
        TEST(damage_is_told),
        TEST(a_wipe_of_the_upstream_is_carried_out_and_told),
        TEST(the_same_wipe_is_not_ordered_twice),
        TEST(wipes_of_others_are_not_told),
        TEST(who_forbids_wipes_forbids_the_upstreams),
        TEST(a_wipe_that_is_not_stored_is_none),
        TEST(what_another_upstream_demanded_is_forgotten),
        TEST(without_an_upstream_nothing_is_demanded),
        TEST(it_goes_with_the_device),
        TEST(administrators_see_where_a_setting_comes_from),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

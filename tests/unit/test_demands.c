/* What an upstream demands of a device: merged with our policy, durable first, kept over a restart. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/demands_fake.h"

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

/* ---- of whom is not in memory ---- */
static void see_upstream(void *ctx, const struct device_view *v)
{
    snprintf(ctx, 128, "%s %d %d", v->upstream ? v->upstream : "none", (int)v->upstream_policy,
             (int)pv_policy_value(v->settings, PV_SET_AllowCamera));
}

static void a_listing_shows_it_of_whom_is_not_in_memory(void **unused)
{
    (void)unused;
    char seen[128] = "";
    confirm();
    assert_int_equal(demand_of("AllowCamera=0"), GATE_DEMAND_ASK);
    confirm();
    restart();
    start_gate();
    unsigned read = world.users_read;
    assert_true(gate_each_device(gate, see_upstream, seen));
    assert_string_equal(seen, UP " 1 0");
    /* What ours would change is different for a device that has both. */
    assert_int_equal(RUN(.act = POLICY_SET, .name = "default", .count = 1, .dry_run = true,
                         .settings = setting("AllowCamera", "0")), GATE_OK);
    assert_int_equal(last.affected, 0);
    assert_int_equal(world.users_read, read);
    /* A damaged one hides nothing else. */
    for (size_t i = 0; i < world.loaded_count; i++)
        if (world.loaded[i].kind == STORE_PUT_ITEM && !strcmp(world.loaded[i].u.item.kind, "bond"))
            world.loaded[i].u.item.json = "{}";
    assert_true(gate_each_device(gate, see_upstream, seen));
    assert_string_equal(seen, "none 0 1");
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
static void a_restart_asks_nobody_again(void **unused)
{
    (void)unused;
    size_t rows = row_count;
    confirm();
    assert_int_equal(demand_of("AllowWiFi=0"), GATE_DEMAND_ASK);
    confirm();
    assert_int_equal(demand_of("AllowCamera=0"), GATE_DEMAND_ASK);
    assert_int_equal(row_count, rows + 3);
    confirm();
    assert_int_equal(upstream_key(UP, 42), 42);
    restart();
    start_gate();
    demands_add_commands();
    assert_int_equal(folder_sync("ann", "14.1", the_key), 1);
    assert_int_equal(upstream_key(UP, 0), 42);
    assert_int_equal(row_count, rows + 3);
    assert_int_equal(demand_of("AllowCamera=0"), GATE_DEMAND_MET);
    assert_int_equal(command_refused(""), 143); /* our own is looser */
}

static void damage_is_told(void **unused)
{
    (void)unused;
    static const char bond[] = "{\"claim\":\"00\",\"key\":1,\"told\":\"0\"}";
    static const struct { const char *bond, *claim; } rows[] = {
        {"{\"claim\":\"00\",\"key\":4294967296,\"told\":\"0\"}"},
        {"{\"claim\":\"00\",\"key\":-1,\"told\":\"0\"}"},
        {"[]"},
        {bond},
        {bond, "{\"upstream\":\"x\",\"settings\":null}"},
        {bond, "{\"upstream\":\"x\",\"settings\":\"{\\\"No\\\":\\\"1\\\"}\"}"},
        {bond, "no JSON"},
    };
    confirm();
    restart();
    size_t count = world.loaded_count;
    for (size_t i = 0; i < COUNT(rows); i++) {
        print_message("# %s, %s\n", rows[i].bond, rows[i].claim ? rows[i].claim : "no claim");
        world.loaded[world.loaded_count++] = (struct store_change){
            .kind = STORE_PUT_ITEM, .u.item = {"bond", "ann/DEV1", rows[i].bond}};
        if (rows[i].claim)
            world.loaded[world.loaded_count++] = (struct store_change){
                .kind = STORE_PUT_ITEM, .u.item = {"claim", "00", rows[i].claim}};
        start_gate();
        struct http_exchange x = {.user = "ann", .key = the_key};
        unsigned logged = world.logged;
        send_body(&x, "FolderSync", foldersync, sizeof foldersync);
        run_tasks();
        assert_int_equal(outcome(&x), 503); /* and not let in by our own policy alone */
        assert_true(world.logged > logged);
        assert_int_equal(folder_sync("bob", "14.1", "0"), 142);
        gate_destroy(gate);
        world.loaded_count = count;
    }
    start_gate();
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
    resident_stale(gate, "ann"); /* and so comes into memory anew */
    assert_int_equal(camera_of("ann"), 0);
    gate_demand_sift(gate, stays, elsewhere);
    assert_int_equal(camera_of("ann"), 0);
    resident_stale(gate, "ann");
    assert_int_equal(camera_of("ann"), 1);
    assert_int_equal(row_count, rows + 1); /* the claim */
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
static void forgotten(struct device_order *o)
{
    o->gate = NULL;
}


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

#define TEST(f) cmocka_unit_test_setup_teardown(f, demands_begin, policies_end)

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
        TEST(a_listing_shows_it_of_whom_is_not_in_memory),
        TEST(different_claims_are_bounded),
        TEST(entries_with_commas_are_not_taken),
        TEST(keys_are_of_one_upstream),
        TEST(a_restart_asks_nobody_again),
        TEST(damage_is_told),
        TEST(what_another_upstream_demanded_is_forgotten),
        TEST(without_an_upstream_nothing_is_demanded),
        TEST(it_goes_with_the_device),
        TEST(administrators_see_where_a_setting_comes_from),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

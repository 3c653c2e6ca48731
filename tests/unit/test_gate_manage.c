/* What administrators see and change: policies, users, devices, and whom that wakes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "tests/unit/gate_fake.h"

/* ---- policies ---- */
static unsigned policies_set;

static void policy_done(struct policy_change *s)
{
    (void)s;
    policies_set++;
}

static struct policy_change set_policy(const char *name, const char *setting, const char *value)
{
    static struct gate_setting one;
    one = (struct gate_setting){setting, value};
    struct policy_change s = {.act = POLICY_SET, .actor = "uid 0", .name = name, .settings = &one, .count = 1, .done = policy_done};
    policies_set = 0;
    gate_change_policies(gate, &s);
    assert_int_equal(policies_set, 0); /* always later */
    run_tasks();
    assert_int_equal(policies_set, 1);
    return s;
}

static void policies_are_validated(void **unused)
{
    (void)unused;
    static const struct {
        const char *policy, *setting, *value;
        enum gate_result want;
        const char *message;
    } cases[] = {
        {"other", "MinDevicePasswordLength", "6", GATE_UNKNOWN, ""},
        {"default", "MinDevicePasswordLength", "6", GATE_OK, ""},
        {"default", "MinDevicePasswordLength", "6", GATE_UNCHANGED, ""},
        {"default", "MinDevicePasswordLength", "99", GATE_INVALID, "MinDevicePasswordLength"},
        {"default", "MinDevicePasswordLength", "99", GATE_INVALID, "99"},
        {"default", "NoSuchSetting", "1", GATE_INVALID, "NoSuchSetting"},
        {"default", "RefreshInterval", "12h", GATE_OK, ""},
        {"default", "RefreshInterval", "43200", GATE_UNCHANGED, ""},
        {"default", "MinDevicePasswordLength", "", GATE_OK, ""},
    };
    unsigned stored = 0;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        print_message("# %s=%s\n", cases[i].setting, cases[i].value);
        struct policy_change s = set_policy(cases[i].policy, cases[i].setting, cases[i].value);
        assert_int_equal(s.result, cases[i].want);
        assert_non_null(strstr(s.message, cases[i].message));
        stored += s.result == GATE_OK;
        if (s.result == GATE_OK || s.result == GATE_UNCHANGED)
            assert_int_equal(s.revision, 5 + stored);
    }
    assert_int_equal(world.put_policies, stored);
}

struct shown {
    unsigned count;
    uint64_t revision;
    int64_t length;
};

static void show(void *ctx, const struct policy_view *v)
{
    struct shown *s = ctx;
    s->count++;
    s->revision = v->revision;
    s->length = v->policy->value[PV_SET_MinDevicePasswordLength];
}

static void a_real_change_asks_exactly_those_who_see_it(void **unused)
{
    (void)unused;
    char new_key[65], old_key[65], wap_key[65];
    handshake("new", "14.1", new_key);
    handshake("old", "12.0", old_key);
    handshake("wap", "2.5", wap_key);
    struct http_exchange stranger = {.user = "stranger"};
    provision(&stranger, NULL, 0, NULL);

    /* Carried from 12.1 on: who cannot see it is left alone. */
    struct policy_change s = set_policy("default", "AllowConsumerEmail", "0");
    assert_int_equal(s.result, GATE_OK);
    assert_int_equal(s.affected, 1);
    assert_int_equal(folder_sync("new", "14.1", new_key), 143);
    assert_int_equal(folder_sync("old", "12.0", old_key), 1);
    assert_int_equal(folder_sync("wap", "2.5", wap_key), 1);

    /* Back to what they confirmed: nobody is asked. */
    s = set_policy("default", "AllowConsumerEmail", "");
    assert_int_equal(s.affected, 0);
    assert_int_equal(folder_sync("new", "14.1", new_key), 1);

    s = set_policy("default", "DevicePasswordEnabled", "1");
    assert_int_equal(s.affected, 3);
    assert_int_equal(folder_sync("old", "12.0", old_key), 449);

    struct shown shown = {0};
    assert_true(gate_show_policy(gate, "default", show, &shown));
    assert_false(gate_show_policy(gate, "other", show, &shown));
    gate_each_policy(gate, show, &shown);
    assert_int_equal(shown.count, 2);
    assert_int_equal(shown.revision, s.revision);
}

static void a_policy_that_is_not_stored_is_not_in_force(void **unused)
{
    (void)unused;
    char key[65];
    handshake("ann", "14.1", key);
    world.store = STORE_FAILS;
    assert_int_equal(set_policy("default", "MinDevicePasswordLength", "8").result, GATE_STORE);
    world.store = STORE_REFUSES;
    assert_int_equal(set_policy("default", "MinDevicePasswordLength", "8").result, GATE_STORE);
    assert_int_equal(folder_sync("ann", "14.1", key), 1);
    world.store = STORE_WRITES;
    assert_int_equal(set_policy("default", "MinDevicePasswordLength", "8").result, GATE_OK);
    assert_int_equal(folder_sync("ann", "14.1", key), 143);
}

/* The second builds on what the first has stored. */
static void changes_of_administrators_take_turns(void **unused)
{
    (void)unused;
    static const struct gate_setting length = {"MinDevicePasswordLength", "8"};
    static const struct gate_setting camera = {"AllowCamera", "0"};
    struct policy_change a = {.act = POLICY_SET, .actor = "uid 0", .name = "default", .settings = &length, .count = 1, .done = policy_done};
    struct policy_change b = {.act = POLICY_SET, .actor = "uid 0", .name = "default", .settings = &camera, .count = 1, .done = policy_done};
    world.store = STORE_HOLDS;
    gate_change_policies(gate, &a);
    gate_change_policies(gate, &b);
    run_tasks();
    assert_int_equal(world.held, 1);
    release(true);
    run_tasks();
    release(true);
    run_tasks();
    assert_true(b.revision > a.revision);
    struct shown shown = {0};
    gate_show_policy(gate, "default", show, &shown);
    assert_int_equal(shown.revision, b.revision);
    assert_int_equal(shown.length, 8);
}

static void policies_come_back_from_the_store(void **unused)
{
    (void)unused;
    gate_destroy(gate);
    load_default(6, "{\"MinDevicePasswordLength\":\"7\",\"UnapprovedInROMApplicationList\":"
                    "\"a.exe,b.exe\"}");
    start_gate();
    struct shown shown = {0};
    gate_show_policy(gate, "default", show, &shown);
    assert_int_equal(shown.revision, 6);
    assert_int_equal(shown.length, 7);
    gate_destroy(gate);

    /* Of a newer provostd: better no gate than a weak one. */
    load_default(7, "{\"Surprise\":\"7\"}");
    gate = gate_create(&config, NULL, NULL, error, sizeof error);
    assert_null(gate);
    assert_non_null(strstr(error, "Surprise"));
    assert_non_null(strstr(error, "revision 7"));
    world.loaded_count--;
    start_gate();
}

/* ---- users ---- */
static void users_are_switched_off_and_on(void **unused)
{
    (void)unused;
    char key[65];
    handshake("ann", "14.1", key);
    assert_true(user_enabled("ann"));
    assert_int_equal(set_user("ann", false, false), GATE_OK);
    assert_false(user_enabled("ann"));
    assert_true(user_enabled("bob"));
    assert_int_equal(folder_sync("ann", "14.1", key), 126);
    world.store = STORE_FAILS;
    assert_int_equal(set_user("ann", true, false), GATE_STORE);
    assert_int_equal(folder_sync("ann", "14.1", key), 126);
    world.store = STORE_WRITES;
    assert_int_equal(set_user("ann", true, false), GATE_OK);
    assert_int_equal(folder_sync("ann", "14.1", key), 1);

    assert_int_equal(set_user("ann", false, true), GATE_OK);
    struct gate_counts n;
    gate_count(gate, &n);
    assert_int_equal(n.devices, 0);
    assert_int_equal(folder_sync("ann", "14.1", key), 144); /* known no more, but not locked out */
}

static void removed(struct user_set *u)
{
    u->priv = NULL;
}

static void a_removed_device_gets_no_key(void **unused)
{
    (void)unused;
    struct http_exchange ask = {0}, ack = {0}, behind = {0};
    struct told offer = told_by(provision(&ask, NULL, 0, NULL));
    world.store = STORE_HOLDS;
    provision(&ack, offer.key, 1, NULL);
    provision(&behind, NULL, 0, NULL);
    struct user_set u = {.user = "ann", .act = USER_REMOVE, .actor = "uid 0", .done = removed};
    gate_set_user(gate, &u);
    unsigned puts = world.put_devices;
    release(true);
    run_tasks();
    assert_int_equal(outcome(&ack), 503);
    assert_int_equal(outcome(&behind), 503);
    release(true);
    assert_int_equal(u.result, GATE_OK);
    assert_int_equal(world.put_devices, puts); /* nothing brings the device back */
}

/* ---- waiting Pings ---- */
static unsigned woken;

static void wake(struct gate_waiter *w)
{
    (void)w;
    woken++;
}

static struct call *start_ping(struct http_exchange *x)
{
    ping_call = NULL;
    send_body(x, "Ping", ping, sizeof ping);
    return ping_call;
}

static void a_waiting_ping_is_woken_by_what_concerns_it(void **unused)
{
    (void)unused;
    char key[65], other[65];
    handshake("ann", "14.1", key);
    handshake("old", "12.0", other);
    struct http_exchange x = {0}, y = {.user = "old", .version = "12.0"};
    struct gate_waiter w = {.wake = wake}, v = {.wake = wake};
    struct call *c = start_ping(&x), *d = start_ping(&y);
    assert_non_null(c->body);
    gate_wait_add(c, &w);
    gate_wait_add(d, &v);
    assert_null(c->body);
    assert_string_equal(c->req.device_id, "DEV1");
    assert_false(gate_ping_due(c));
    struct gate_counts n;
    gate_count(gate, &n);
    assert_int_equal(n.waiting_pings, 2);

    woken = 0;
    set_policy("default", "AllowConsumerEmail", "0");
    assert_int_equal(woken, 2); /* at 12.0 the policy is no longer carried, yet looks the same */
    assert_true(gate_ping_due(c));
    assert_false(gate_ping_due(d));
    set_policy("default", "AllowConsumerEmail", "0"); /* unchanged */
    set_policy("default", "AllowCamera", "0"); /* at 12.0 all is as before */
    assert_int_equal(woken, 3);
    woken = 1;
    gate_wait_remove(gate, &w);
    call_status(c, 7);
    assert_int_equal(outcome(&x), 7);

    struct http_exchange due = {0};
    assert_null(start_ping(&due)); /* one that arrives is told at once */
    assert_int_equal(outcome(&due), 7);

    set_user("old", false, false);
    assert_int_equal(woken, 2);
    assert_true(gate_ping_due(d));
    set_user("old", true, true);
    assert_int_equal(woken, 3);
    assert_true(gate_ping_due(d));
    gate_wait_remove(gate, &v);
    call_status(d, 7);
    gate_count(gate, &n);
    assert_int_equal(n.waiting_pings, 0);
}

static void a_ping_needs_a_partnership(void **unused)
{
    (void)unused;
    struct http_exchange fresh = {0}, old = {.version = "12.1"};
    assert_null(start_ping(&fresh));
    assert_int_equal(outcome(&fresh), 142);
    assert_null(start_ping(&old));
    assert_int_equal(outcome(&old), 449);
}

/* Time alone ends a Ping: at the refresh of a device with a key, at the date of one without. */
static void a_waiting_ping_knows_when_it_is_due(void **unused)
{
    (void)unused;
    char key[65];
    struct http_exchange x = {0}, y = {.user = "old"};
    handshake("ann", "14.1", key);
    struct call *c = start_ping(&x);
    assert_int_equal(gate_ping_due_in(c), UINT32_MAX);
    set_policy("default", "RefreshInterval", "1000");
    assert_in_range(gate_ping_due_in(c), 898, 1000); /* up to a tenth early, by its key */
    set_policy("default", "AllowNonProvisionable", "1");
    set_policy("default", "AllowNonProvisionableUntil", "9999-12-31");
    assert_in_range(gate_ping_due_in(c), 898, 1000);
    call_status(c, 1);

    struct call *d = start_ping(&y); /* never asked */
    assert_non_null(d);
    assert_int_equal(gate_ping_due_in(d), UINT32_MAX); /* thousands of years */
    struct tm tm;
    char date[32];
    time_t soon = time(NULL) + 600;
    strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&soon, &tm));
    set_policy("default", "AllowNonProvisionableUntil", date);
    assert_in_range(gate_ping_due_in(d), 598, 600);
    assert_false(gate_ping_due(d));
    set_policy("default", "AllowNonProvisionableUntil", "2001-01-01");
    assert_int_equal(gate_ping_due_in(d), 0);
    assert_true(gate_ping_due(d));
    set_policy("default", "AllowNonProvisionableUntil", "");
    assert_int_equal(gate_ping_due_in(d), UINT32_MAX);
    call_status(d, 1);
}

#define PINGS 200
static struct gate_waiter *to_remove;

static void wake_and_leave(struct gate_waiter *w)
{
    woken++;
    gate_wait_remove(gate, w);
    if (to_remove) { /* one that was to be woken after this one */
        gate_wait_remove(gate, to_remove);
        to_remove = NULL;
    }
}

static void many_are_woken_and_those_who_left_are_not(void **unused)
{
    (void)unused;
    static struct http_exchange x[PINGS];
    static struct gate_waiter w[PINGS];
    static struct call *c[PINGS];
    char key[65];
    memset(x, 0, sizeof x);
    memset(w, 0, sizeof w);
    handshake("ann", "14.1", key);
    for (size_t i = 0; i < PINGS; i++) {
        c[i] = start_ping(&x[i]);
        w[i].wake = wake_and_leave;
        gate_wait_add(c[i], &w[i]);
    }
    woken = 0;
    to_remove = &w[0]; /* the last in line: added first */
    set_policy("default", "MinDevicePasswordLength", "8");
    assert_int_equal(woken, PINGS - 1);
    for (size_t i = 0; i < PINGS; i++)
        call_status(c[i], 7);
}

/* ---- listing ---- */
static char listing[1024];

static void list_device(void *ctx, const struct device_view *d)
{
    size_t at = strlen(listing);
    (void)ctx;
    snprintf(listing + at, sizeof listing - at, "%s/%s %s %s %s %s r%llu\n", d->user, d->device_id,
             d->device_type, d->user_agent, pv_state_text(d->state), d->policy,
             (unsigned long long)d->revision);
}

static void devices_are_listed_in_order(void **unused)
{
    (void)unused;
    static const char *const ids[] = {"B2", "A1", "C3"};
    char key[65], target[200];
    for (size_t i = 0; i < 3; i++) {
        struct http_exchange x = {.target = target, .agent = "Mail \"\xff\n\""};
        snprintf(target, sizeof target, QUERY "FolderSync&User=u&DeviceId=%s&DeviceType=T", ids[i]);
        send_body(&x, "", foldersync, sizeof foldersync);
    }
    handshake("adam", "16.1", key);
    listing[0] = '\0';
    gate_each_device(gate, list_device, NULL);
    assert_string_equal(listing, "adam/DEV1 Phone  provisioned default r5\n"
                                 "ann/A1 T Mail \"\\xff\\x0a\" new default r0\n"
                                 "ann/B2 T Mail \"\\xff\\x0a\" new default r0\n"
                                 "ann/C3 T Mail \"\\xff\\x0a\" new default r0\n");
}

static void devices_come_back_from_the_store(void **unused)
{
    (void)unused;
    char key[65];
    handshake("ann", "14.1", key);
    const struct store_change d = {
        .kind = STORE_PUT_DEVICE,
        .u.device = {.user = "ann", .device_id = "DEV1", .device_type = "T", .user_agent = "",
                     .model = "", .os = "", .version = PV_V14_1, .first_seen = 1, .last_seen = 2,
                     .partnership = world.last_put, .wipe_by = "", .wipe_reason = ""}};
    gate_destroy(gate);
    world.loaded[world.loaded_count++] = d;
    world.loaded[world.loaded_count++] =
        (struct store_change){.kind = STORE_PUT_USER, .u.user = {"dan", false}};
    start_gate();
    assert_int_equal(folder_sync("ann", "14.1", key), 1);
    assert_false(user_enabled("dan"));
}

static void a_user_has_no_end_of_devices(void **unused)
{
    (void)unused;
    struct gate_counts n;
    char target[200];
    for (int i = 0; i <= TABLE_DEVICES_PER_USER; i++) {
        struct http_exchange x = {.target = target, .key = "0"};
        snprintf(target, sizeof target, QUERY "FolderSync&User=u&DeviceId=D%d&DeviceType=T", i);
        send_body(&x, "", foldersync, sizeof foldersync);
        assert_int_equal(outcome(&x), i < TABLE_DEVICES_PER_USER ? 142 : 177);
    }
    gate_count(gate, &n);
    assert_int_equal(n.devices, TABLE_DEVICES_PER_USER);
    assert_int_equal(folder_sync("bob", "14.1", "0"), 142);
}

static void the_table_holds_many_users_and_little_of_each(void **unused)
{
    (void)unused;
    struct table *t = table_create();
    char user[32];
    bool full;
    for (int i = 0; i < 20000; i++) {
        snprintf(user, sizeof user, "user%d", i);
        struct shard *s = table_lock(t, user);
        assert_null(shard_owner(s, user));
        assert_non_null(device_add(s, user, "D", &full));
        table_unlock(s);
    }
    for (int i = 0; i < 20000; i++) {
        snprintf(user, sizeof user, "user%d", i);
        struct shard *s = table_lock(t, user);
        assert_non_null(owner_device(shard_owner(s, user), "D"));
        assert_null(owner_device(shard_owner(s, user), "E"));
        table_unlock(s);
    }
    table_destroy(t);
    assert_in_range(sizeof(struct device) + PV_DEVICE_ID_MAX, 1, 420); /* + texts: below 700 */
}

static void a_held_device_outlives_its_place(void **unused)
{
    (void)unused;
    struct table *t = table_create();
    bool full;
    struct shard *s = table_lock(t, "ann");
    struct device *d = device_hold(device_add(s, "ann", "D", &full));
    device_remove(s, d);
    assert_null(owner_device(shard_owner(s, "ann"), "D"));
    assert_true(d->gone);
    table_unlock(s);
    table_destroy(t);
    assert_string_equal(d->id, "D");
    device_release(d);
    device_release(NULL);
}

static void the_first_start_makes_a_policy(void **unused)
{
    (void)unused;
    gate_destroy(gate);
    world.loaded_count = 0;
    world.store = STORE_REFUSES;
    gate = gate_create(&config, NULL, NULL, error, sizeof error);
    assert_null(gate);
    assert_non_null(strstr(error, "cannot be stored"));
    world.store = STORE_AT_ONCE; /* as from the thread of the store */
    start_gate();
    assert_int_equal(world.put_policies, 1);
    struct shown shown = {0};
    assert_true(gate_show_policy(gate, "default", show, &shown));
    assert_int_equal(shown.revision, 1);
    world.store = STORE_WRITES;
    char key[65];
    handshake("ann", "14.1", key);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(policies_are_validated),
        TEST(a_real_change_asks_exactly_those_who_see_it),
        TEST(a_policy_that_is_not_stored_is_not_in_force),
        TEST(changes_of_administrators_take_turns),
        TEST(policies_come_back_from_the_store),
        TEST(users_are_switched_off_and_on),
        TEST(a_removed_device_gets_no_key),
        TEST(a_waiting_ping_is_woken_by_what_concerns_it),
        TEST(a_ping_needs_a_partnership),
        TEST(a_waiting_ping_knows_when_it_is_due),
        TEST(many_are_woken_and_those_who_left_are_not),
        TEST(devices_are_listed_in_order),
        TEST(devices_come_back_from_the_store),
        TEST(a_user_has_no_end_of_devices),
        TEST(the_table_holds_many_users_and_little_of_each),
        TEST(a_held_device_outlives_its_place),
        TEST(the_first_start_makes_a_policy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

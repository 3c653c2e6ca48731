/* What a request meets on its way: checks in order, provisioning, bodies, writes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/gate_fake.h"

static void handshake_at_every_version(void **unused)
{
    (void)unused;
    for (int v = 0; v < PV_VERSION_COUNT; v++) {
        const char *version = pv_version_text((enum pv_version)v);
        bool by_status = v >= PV_V14_0;
        char user[16], key[65];
        snprintf(user, sizeof user, "user%d", v);
        assert_int_equal(folder_sync(user, version, NULL), by_status ? 141 : 449);
        assert_int_equal(folder_sync(user, version, "0"), by_status ? 142 : 449);
        handshake(user, version, key);
        assert_int_equal(folder_sync(user, version, key), 1);
        assert_int_equal(folder_sync(user, version, "12345"), by_status ? 144 : 449);
        assert_int_equal(folder_sync(user, version, "0"), by_status ? 142 : 449);
    }
    assert_int_equal(served, PV_VERSION_COUNT);
    struct gate_counts n;
    gate_count(gate, &n);
    assert_int_equal(n.devices, PV_VERSION_COUNT);
    assert_int_equal(n.handshakes, PV_VERSION_COUNT);
    assert_int_equal(n.refusals, 4 * PV_VERSION_COUNT);
    assert_int_equal(n.requests, 7 * PV_VERSION_COUNT);
}

static void a_final_key_is_durable_before_it_is_told(void **unused)
{
    (void)unused;
    char old[65];
    handshake("ann", "14.1", old);
    struct http_exchange ask = {0}, ack = {0}, again = {0};
    struct told offer = told_by(provision(&ask, NULL, 0, NULL));
    world.store = STORE_HOLDS;
    provision(&ack, offer.key, 1, NULL);
    assert_int_equal(run_tasks(), 0);
    assert_false(ack.done);
    /* Until it is stored, the old one holds. */
    assert_int_equal(folder_sync("ann", "14.1", old), 1);

    release(false);
    assert_int_equal(outcome(&ack), 503);
    assert_int_equal(ack.reply.retry_after, RETRY_AFTER_S);
    assert_int_equal(folder_sync("ann", "14.1", old), 1);

    provision(&again, offer.key, 1, NULL);
    assert_false(again.done);
    release(true);
    struct told final = told_by(&again);
    assert_int_equal(final.policy_status, 1);
    char stored[16];
    snprintf(stored, sizeof stored, "%u", world.last_put.key);
    assert_string_equal(stored, final.key);
    assert_int_equal(folder_sync("ann", "14.1", old), 144);
    assert_int_equal(folder_sync("ann", "14.1", final.key), 1);
}

static void a_store_that_takes_nothing_closes_the_gate_to_acknowledgements(void **unused)
{
    (void)unused;
    struct http_exchange ask = {0}, ack = {0};
    struct told offer = told_by(provision(&ask, NULL, 0, NULL));
    world.store = STORE_REFUSES;
    assert_int_equal(outcome(provision(&ack, offer.key, 1, NULL)), 503);
    assert_int_equal(folder_sync("ann", "14.1", "0"), 142);
    world.store = STORE_WRITES;
    struct http_exchange again = {0};
    provision(&again, offer.key, 1, NULL);
    run_tasks();
    assert_int_equal(told_by(&again).policy_status, 1);
}

/* Both know the same offer: the second is judged by what the first left behind. */
static void provisions_of_one_device_take_turns(void **unused)
{
    (void)unused;
    struct http_exchange ask = {0}, ack = {0}, poll[STEPS_WAITING_MAX] = {0}, many = {0};
    struct http_exchange other = {.user = "bob"};
    struct told offer = told_by(provision(&ask, NULL, 0, NULL));
    world.store = STORE_HOLDS;
    provision(&ack, offer.key, 1, NULL);
    for (size_t i = 0; i < STEPS_WAITING_MAX; i++) {
        provision(&poll[i], offer.key, 1, NULL);
        assert_false(poll[i].done);
    }
    assert_int_equal(outcome(provision(&many, offer.key, 1, NULL)), 503);
    assert_int_equal(told_by(provision(&other, NULL, 0, NULL)).policy_status, 1);

    release(true);
    world.store = STORE_WRITES;
    run_tasks();
    struct told first = told_by(&ack);
    for (size_t i = 0; i < STEPS_WAITING_MAX; i++)
        assert_string_equal(told_by(&poll[i]).key, first.key); /* repeated, not made anew */
}

static void a_write_under_way_is_not_overtaken(void **unused)
{
    (void)unused;
    char old[65];
    handshake("ann", "14.1", old);
    struct http_exchange ask = {0}, ack = {0};
    struct told offer = told_by(provision(&ask, NULL, 0, NULL));
    world.store = STORE_HOLDS;
    provision(&ack, offer.key, 1, NULL);
    struct pv_partnership written = world.last_put;
    unsigned puts = world.put_devices;
    world.now += 2 * DEVICE_SAVE_S;
    assert_int_equal(folder_sync("ann", "14.1", old), 1); /* would write last_seen */
    assert_int_equal(world.put_devices, puts);
    release(true);
    assert_int_equal(world.put_devices, puts + 1);
    assert_memory_equal(&world.last_put, &written, sizeof written);
    assert_true(told_by(&ack).policy_status == 1);
}

static void rarely_written(void **unused)
{
    (void)unused;
    folder_sync("ann", "14.1", "0");
    assert_int_equal(world.put_devices, 1); /* a new device is written at once */
    for (int i = 0; i < 10; i++) {
        world.now += DEVICE_SAVE_S / 11;
        folder_sync("ann", "14.1", "0");
    }
    assert_int_equal(world.put_devices, 1);
    world.now += DEVICE_SAVE_S / 5;
    folder_sync("ann", "14.1", "0");
    assert_int_equal(world.put_devices, 2);
}

/* Rules look at what a device says it is: that is on the disk soon, but not with every request. */
static void what_rules_look_at_is_written_soon(void **unused)
{
    (void)unused;
    folder_sync("ann", "14.1", "0");
    world.now += 2 * DEVICE_FACE_SAVE_S;
    struct http_exchange other = {.key = "0", .agent = "Other/1"};
    send_body(&other, "FolderSync", foldersync, sizeof foldersync);
    assert_int_equal(world.put_devices, 2);
    for (int i = 0; i < 20; i++) { /* two faces, four times a second */
        struct http_exchange x = {.key = "0", .agent = i % 2 ? "Other/1" : "Mail/1"};
        world.now += i % 4 == 3;
        send_body(&x, "FolderSync", foldersync, sizeof foldersync);
    }
    assert_int_equal(world.put_devices, 3);
}

/* ---- the order of the checks ---- */
static void checks_come_in_order(void **unused)
{
    (void)unused;
    static const struct {
        const char *name, *method, *target, *user, *version, *key;
        unsigned want, retry_after;
    } cases[] = {
        {"wrong path", "POST", "/other?Cmd=Ping" DEVICE, "bad", "14.1", "0", 404, 0},
        {"wrong path, wrong method", "GET", "/", NULL, "14.1", "0", 404, 0},
        {"wrong method", "GET", QUERY "Ping" DEVICE, NULL, "14.1", "0", 405, 0},
        {"unknown command before login", "POST", QUERY "Foo" DEVICE, NULL, "14.1", "0", 501, 0},
        {"bad version before login", "POST", QUERY "Sync" DEVICE, NULL, "13.0", "0", 400, 0},
        {"empty query", "POST", "/Microsoft-Server-ActiveSync", NULL, "14.1", "0", 400, 0},
        {"no login", "POST", QUERY "FolderSync" DEVICE, "bad", "14.1", "0", 401, 0},
        {"login later", "POST", QUERY "FolderSync" DEVICE, "later", "14.1", "0", 503, 77},
        {"login broken", "POST", QUERY "FolderSync" DEVICE, "broken", "14.1", "0", 503, 10},
        {"user disabled", "POST", QUERY "FolderSync" DEVICE, "dan", "14.1", "0", 126, 0},
        {"user disabled", "POST", QUERY "FolderSync" DEVICE, "dan", "12.1", "0", 403, 0},
        {"user disabled", "POST", QUERY "Provision" DEVICE, "dan", "14.1", "0", 126, 0},
        {"user disabled", "OPTIONS", QUERY "Foo" DEVICE, "dan", NULL, NULL, 403, 0},
        {"gate before dispatch", "POST", QUERY "Search" DEVICE, "ann", "14.1", "0", 142, 0},
        {"gate before the body", "POST", QUERY "FolderSync" DEVICE, "ann", "14.1", NULL, 141, 0},
        {"not there", "POST", QUERY "Search" DEVICE, "eve", "14.1", "KEY", 501, 0},
        {"not at that version", "POST", QUERY "Settings" DEVICE, "wap", "2.5", "KEY", 501, 0},
        {"without credentials", "OPTIONS", QUERY "Ping" DEVICE, NULL, NULL, NULL, 401, 0},
    };
    char key[65], wap_key[65];
    handshake("eve", "14.1", key);
    handshake("wap", "2.5", wap_key);
    assert_int_equal(set_user("dan", false, false), GATE_OK);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        print_message("# %s\n", cases[i].name);
        bool own = cases[i].key && !strcmp(cases[i].key, "KEY");
        struct http_exchange x = {.method = cases[i].method, .target = cases[i].target,
                                  .user = cases[i].user ? cases[i].user : "bad",
                                  .version = cases[i].version, .key = cases[i].key};
        if (own)
            x.key = strcmp(cases[i].user, "wap") ? key : wap_key;
        static const uint8_t rubbish[] = {0xff, 0xff};
        send_body(&x, "", rubbish, sizeof rubbish);
        assert_int_equal(outcome(&x), cases[i].want);
        assert_int_equal(x.reply.retry_after, cases[i].retry_after);
        if (cases[i].want == 401)
            assert_string_equal(x.fields[0],
                                "WWW-Authenticate: Basic realm=\"Provost\", charset=\"UTF-8\"");
        if (cases[i].want == 405)
            assert_string_equal(x.fields[0], "Allow: OPTIONS,POST");
    }
    assert_int_equal(served, 0);
}

static void options_tells_what_is_there(void **unused)
{
    (void)unused;
    struct http_exchange x = {.method = "OPTIONS", .target = "/Microsoft-Server-ActiveSync"};
    send_body(&x, "", "", 0);
    assert_int_equal(x.reply.status, 200);
    assert_int_equal(x.reply.len, 0);
    assert_string_equal(x.fields[0],
                        "MS-ASProtocolVersions: 2.5,12.0,12.1,14.0,14.1,16.0,16.1");
    assert_string_equal(x.fields[1], "MS-ASProtocolCommands: FolderSync,Settings,Ping,Provision");
    assert_string_equal(gate_commands(gate), "FolderSync,Settings,Ping,Provision");
    struct gate_counts n;
    gate_count(gate, &n);
    assert_int_equal(n.devices, 0);
}

static void a_login_may_take_its_time(void **unused)
{
    (void)unused;
    struct http_exchange x = {.user = "slow", .key = "0"};
    send_body(&x, "FolderSync", foldersync, sizeof foldersync);
    assert_false(x.done);
    world.auth_waiting->done(world.auth_waiting);
    assert_int_equal(outcome(&x), 142);
}

/* ---- bodies ---- */
static void bodies_are_decoded_after_the_gate(void **unused)
{
    (void)unused;
    static const uint8_t trailing[] = {3, 1, 0x6a, 0, 0, 7, 0x56, 0x52, 3, '0', 0, 1, 1, 0};
    static const uint8_t unknown[] = {3, 1, 0x6a, 0, 0, 7, 0x56, 0x3e, 1};
    static const uint8_t half[] = {3, 1, 0x6a, 0, 0, 7, 0x56};
    static const struct {
        const char *name, *type;
        const uint8_t *body;
        size_t len;
        unsigned in_band, http;
    } cases[] = {
        {"good", NULL, foldersync, sizeof foldersync, 1, 1},
        {"typed", "application/vnd.ms-sync.wbxml", foldersync, sizeof foldersync, 1, 1},
        {"typed", "application/vnd.ms-sync", foldersync, sizeof foldersync, 1, 1},
        {"typed", "Application/vnd.ms-sync.WBXML ; charset=x", foldersync, sizeof foldersync, 1, 1},
        {"other type", "text/xml", foldersync, sizeof foldersync, 101, 400},
        {"longer type", "application/vnd.ms-sync.wbxml2", foldersync, sizeof foldersync, 101, 400},
        {"bytes behind", NULL, trailing, sizeof trailing, 102, 400},
        {"unknown element", NULL, unknown, sizeof unknown, 102, 400},
        {"other command's", NULL, ping, sizeof ping, 102, 400},
        {"half", NULL, half, sizeof half, 102, 400},
        {"no body", NULL, foldersync, 0, 400, 400},
    };
    static const char *const versions[] = {"14.1", "12.1"};
    for (size_t v = 0; v < 2; v++) {
        char key[65];
        handshake("ann", versions[v], key);
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            print_message("# %s %s\n", cases[i].name, versions[v]);
            struct http_exchange x = {.version = versions[v], .key = key, .type = cases[i].type};
            struct http_exchange refused = {.version = versions[v], .type = cases[i].type};
            send_body(&x, "FolderSync", cases[i].body, cases[i].len);
            assert_int_equal(outcome(&x), v ? cases[i].http : cases[i].in_band);
            send_body(&refused, "FolderSync", cases[i].body, cases[i].len);
            assert_int_equal(outcome(&refused), v ? 449 : 141);
        }
    }
}

static void a_lost_body_leaves_no_trace(void **unused)
{
    (void)unused;
    struct http_exchange sync = {.key = "0"}, provision_x = {0}, broken = {0};
    struct gate_counts n;
    assert_int_equal(outcome(send_body(&sync, "FolderSync", "", 0)), 142);
    assert_int_equal(outcome(send_body(&provision_x, "Provision", "", 0)), 400);
    assert_int_equal(outcome(send_body(&broken, "Provision", "??", 2)), 102);
    gate_count(gate, &n);
    assert_int_equal(n.devices, 0);
    assert_int_equal(world.put_devices, 0);
}

/* ---- Provision beyond the good case ---- */
static void acknowledgements_are_judged(void **unused)
{
    (void)unused;
    static const struct {
        const char *version;
        unsigned ack, status;
    } cases[] = {
        {"14.1", 2, 139}, {"14.1", 3, 139}, {"14.1", 4, 145}, {"12.1", 2, 139}, {"12.1", 4, 145},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct http_exchange ask = {.version = cases[i].version};
        struct http_exchange ack = {.version = cases[i].version};
        struct http_exchange wrong = {.version = cases[i].version};
        struct told offer = told_by(provision(&ask, NULL, 0, NULL));
        assert_int_equal(told_by(provision(&wrong, "4711", 1, NULL)).policy_status, 5);
        provision(&ack, offer.key, cases[i].ack, NULL);
        run_tasks();
        struct told t = told_by(&ack);
        assert_int_equal(t.status, cases[i].status);
        assert_string_equal(t.key, "");
    }
}

static void device_information_is_kept(void **unused)
{
    (void)unused;
    struct http_exchange ask = {0}, second = {0};
    struct told t = told_by(provision(&ask, NULL, 0, "Phone 1"));
    assert_int_equal(t.info_status, 1);
    assert_string_equal(world.last_info, "{\"Model\":\"Phone 1\"}");
    assert_int_equal(told_by(provision(&second, NULL, 0, NULL)).info_status, 0);
    assert_string_equal(world.last_info, "{\"Model\":\"Phone 1\"}");

    char key[65];
    handshake("ann", "14.1", key);
    static const struct pv_device_info more = {.os = "Os \xff", .friendly_name = "\xc3\xa4"};
    static const struct pv_device_info less = {.model = "", .os = ""};
    static const struct pv_device_info none = {0};
    static const struct { const struct pv_device_info *info; const char *json; } cases[] = {
        {&more, "{\"Model\":\"Phone 1\",\"FriendlyName\":\"\xc3\xa4\",\"OS\":\"Os \\\\xff\"}"},
        {&less, "{\"FriendlyName\":\"\xc3\xa4\"}"},
        {&none, "{}"},
    };
    for (size_t i = 0; i < 3; i++) {
        struct http_exchange x = {.key = key};
        settings_info = cases[i].info;
        send_body(&x, "Settings", settings, sizeof settings);
        assert_false(x.done); /* not before it is stored */
        run_tasks();
        assert_int_equal(outcome(&x), 1);
        assert_string_equal(world.last_info, cases[i].json);
    }
    struct http_exchange same = {.key = key}, failed = {.key = key};
    send_body(&same, "Settings", settings, sizeof settings);
    assert_int_equal(outcome(&same), 1); /* nothing new: nothing to wait for */
    world.store = STORE_FAILS;
    settings_info = &more;
    send_body(&failed, "Settings", settings, sizeof settings);
    run_tasks();
    assert_int_equal(outcome(&failed), 503);
}

/* Every change of state is a line of the audit log, in the transaction that stores it. */
static void changes_of_state_are_noted(void **unused)
{
    (void)unused;
    char key[65];
    assert_int_equal(folder_sync("ann", "14.1", "0"), 142);
    run_tasks();
    assert_int_equal(world.audited, 0); /* new it was, new it is */
    handshake("ann", "14.1", key);
    run_tasks();
    assert_int_equal(world.audited, 2);
    assert_non_null(strstr(world.last_audit, "\"act\":\"device.state\",\"user\":\"ann\""));
    assert_non_null(strstr(world.last_audit, "\"before\":{\"state\":\"offered\""));
    assert_non_null(strstr(world.last_audit, "\"after\":{\"state\":\"provisioned\""));
    assert_null(strstr(world.last_audit, key));
    assert_int_equal(folder_sync("ann", "14.1", key), 1);
    assert_int_equal(world.audited, 2);
}

static void device_information_may_be_demanded(void **unused)
{
    (void)unused;
    config.require_device_information = true;
    struct http_exchange without = {0}, with = {0}, before = {.version = "12.1"};
    assert_int_equal(told_by(provision(&without, NULL, 0, NULL)).status, 165);
    assert_int_equal(told_by(provision(&with, NULL, 0, "x")).policy_status, 1);
    assert_int_equal(told_by(provision(&before, NULL, 0, NULL)).policy_status, 1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(handshake_at_every_version),
        TEST(a_final_key_is_durable_before_it_is_told),
        TEST(a_store_that_takes_nothing_closes_the_gate_to_acknowledgements),
        TEST(provisions_of_one_device_take_turns),
        TEST(a_write_under_way_is_not_overtaken),
        TEST(rarely_written),
        TEST(what_rules_look_at_is_written_soon),
        TEST(checks_come_in_order),
        TEST(options_tells_what_is_there),
        TEST(a_login_may_take_its_time),
        TEST(bodies_are_decoded_after_the_gate),
        TEST(a_lost_body_leaves_no_trace),
        TEST(acknowledgements_are_judged),
        TEST(device_information_is_kept),
        TEST(device_information_may_be_demanded),
        TEST(changes_of_state_are_noted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Roll-outs, and that a dry run tells what a change then does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/policies_fake.h"

/* ---- roll-outs ---- */
#define MANY 400

static unsigned in_roll(bool had[MANY])
{
    unsigned count = 0;
    char user[32];
    for (int i = 0; i < MANY; i++) {
        snprintf(user, sizeof user, "u%d", i);
        bool has = applies_to(user, "DEV1").in_roll;
        assert_true(has || !had[i]); /* widening takes it from nobody */
        had[i] = has;
        count += has;
    }
    return count;
}

static void a_roll_only_widens(void **unused)
{
    (void)unused;
    static const unsigned percents[] = {1, 5, 20, 50, 99};
    bool had[MANY] = {false};
    assert_int_equal(stage("default", "MinDevicePasswordLength", "8"), GATE_OK);
    uint64_t candidate = last.revision;
    assert_int_equal(in_roll(had), 0);
    for (size_t i = 0; i < COUNT(percents); i++) {
        assert_int_equal(roll_to("default", percents[i]), GATE_OK);
        assert_int_equal(last.revision, candidate);
        unsigned n = in_roll(had), want = MANY * percents[i] / 100;
        print_message("# %u %%: %u of %d\n", percents[i], n, MANY);
        assert_in_range(n, want < 30 ? 0 : want - 30, want + 30);
    }
    assert_int_equal(roll_to("default", 99), GATE_UNCHANGED);
    assert_int_equal(roll_to("default", 101), GATE_INVALID);
    assert_int_equal(set("default", "AllowCamera", "0"), GATE_CONFLICT);
    assert_non_null(strstr(last.message, "being rolled out"));
    assert_int_equal(roll_to("default", 100), GATE_OK);
    assert_int_equal(applies_to("u0", "DEV1").length, 8);
    assert_false(applies_to("u0", "DEV1").in_roll);
    assert_int_equal(applies_to("u0", "DEV1").revision, candidate);
    assert_int_equal(set("default", "AllowCamera", "0"), GATE_OK);
}

static void groups_go_first(void **unused)
{
    (void)unused;
    static const char *const first[] = {"board", "nobody"}, *const unknown[] = {"strangers"};
    assert_int_equal(stage("default", "MinDevicePasswordLength", "8"), GATE_OK);
    assert_int_equal(RUN(.act = POLICY_ROLL, .name = "default", .set_groups = true,
                         .groups = unknown, .group_count = 1), GATE_INVALID);
    assert_int_equal(RUN(.act = POLICY_ROLL, .name = "default", .set_groups = true,
                         .groups = first, .group_count = 2), GATE_OK);
    assert_true(applies_to("ann", "D").in_roll);
    assert_true(applies_to("carl", NULL).in_roll);
    assert_false(applies_to("bob", "D").in_roll);
    assert_int_equal(roll_to("default", 30), GATE_OK); /* beside the groups */
    assert_true(applies_to("carl", "D").in_roll);
    assert_int_equal(RUN(.act = POLICY_ROLL_BACK, .name = "default"), GATE_OK);
    assert_int_equal(applies_to("ann", "D").length, 0);
    assert_int_equal(set("default", "AllowCamera", "0"), GATE_OK);
    assert_int_equal(applies_to("ann", "D").length, 0);
}

static void children_follow_the_roll_of_their_parent(void **unused)
{
    (void)unused;
    char user[32];
    unsigned count = 0;
    make_policy("up", "", "4");
    assert_int_equal(RUN(.act = POLICY_NEW, .name = "down", .parent = "up"), GATE_OK);
    make_policy("other", "", "4");
    assert_int_equal(stage("up", "MinDevicePasswordLength", "8"), GATE_OK);
    assert_int_equal(roll_to("up", 50), GATE_OK);
    for (int i = 0; i < 60; i++) {
        snprintf(user, sizeof user, "u%d", i);
        assign(GATE_SCOPE_USER, NULL, user, NULL, "up");
        bool has = applies_to(user, "DEV1").in_roll;
        assign(GATE_SCOPE_USER, NULL, user, NULL, "down");
        assert_int_equal(applies_to(user, "DEV1").in_roll, has);
        assert_int_equal(applies_to(user, "DEV1").length, has ? 8 : 4);
        count += has;
    }
    assert_in_range(count, 15, 45);
    /* One at a time in a line, however it comes about. */
    assert_int_equal(stage("down", "AllowCamera", "0"), GATE_CONFLICT);
    assert_int_equal(set("down", "AllowCamera", "0"), GATE_OK);
    assert_int_equal(stage("other", "AllowCamera", "0"), GATE_OK);
    assert_int_equal(RUN(.act = POLICY_SET, .name = "down", .parent = "other"), GATE_OK);
    assert_int_equal(RUN(.act = POLICY_NEW, .name = "third", .parent = "down"), GATE_OK);
    assert_int_equal(stage("third", "AllowCamera", "0"), GATE_CONFLICT);
    assert_non_null(strstr(last.message, "\"other\" and \"third\""));
    assert_int_equal(RUN(.act = POLICY_ROLL_BACK, .name = "other"), GATE_OK);
    assert_int_equal(stage("third", "AllowCamera", "0"), GATE_OK);
}

static struct roll_view watched;

static void watch(void *unused, const struct policy_view *v)
{
    (void)unused;
    watched = v->roll ? *v->roll : (struct roll_view){0};
}

static void a_roll_is_watched(void **unused)
{
    (void)unused;
    char key[65];
    handshake("ann", "14.1", key);
    handshake("carl", "16.1", key);
    handshake("u4", "12.0", key);
    handshake("bob", "14.1", key);
    static const char *const first[] = {"board"};
    assert_int_equal(stage("default", "AllowCamera", "0"), GATE_OK);
    assert_int_equal(last.affected, 0);
    assert_int_equal(RUN(.act = POLICY_ROLL, .name = "default", .set_groups = true,
                         .groups = first, .group_count = 1), GATE_OK);
    assert_int_equal(last.affected, 2); /* 12.0 does not carry it, bob is not in it */
    assert_true(gate_count_rolls(gate, "default", watch, NULL));
    assert_int_equal(watched.to_ask, 2);
    assert_int_equal(watched.confirmed, 1);
    handshake("ann", "14.1", key);
    struct http_exchange ask = {.user = "carl", .version = "16.1"};
    struct http_exchange ack = {.user = "carl", .version = "16.1"};
    struct told offer = told_by(provision(&ask, NULL, 0, NULL));
    provision(&ack, offer.key, 3, NULL);
    run_tasks();
    assert_true(gate_count_rolls(gate, "default", watch, NULL));
    assert_int_equal(watched.confirmed, 2);
    assert_int_equal(watched.refused, 1);
    assert_int_equal(watched.to_ask, 0);
    assert_int_equal(RUN(.act = POLICY_ROLL_BACK, .name = "default"), GATE_OK);
    assert_int_equal(last.affected, 1); /* ann has confirmed it */
}

/* ---- a fleet under random changes ---- */
#define FLEET 21
static const char *const versions[] = {"2.5", "12.0", "12.1", "14.0", "14.1", "16.0", "16.1"};
static char keys[FLEET][65];
static const char *const names[] = {"default", "a", "b", "c"};

static uint32_t pick(uint32_t below)
{
    static uint64_t state = 0x9E3779B97F4A7C15;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 16) % below;
}

static const char *user_of(int i)
{
    static char user[4][16];
    static unsigned turn;
    char *u = user[turn++ % 4];
    snprintf(u, sizeof user[0], "u%d", i);
    return u;
}

/* Every third says that it keeps the policy only in part. */
static void confirm(int i)
{
    struct http_exchange ask = {.user = user_of(i), .version = versions[i % 7]}, ack = ask;
    struct told offer = told_by(provision(&ask, NULL, 0, NULL));
    provision(&ack, offer.key, i % 3 ? 1 : 2, NULL);
    run_tasks();
    memcpy(keys[i], told_by(&ack).key, sizeof keys[i]);
}

static struct policy_change random_change(void)
{
    static const struct gate_setting pool[] = {
        {"AllowCamera", "0"}, {"AllowCamera", "1"}, {"AllowCamera", ""},
        {"DevicePasswordEnabled", "1"}, {"DevicePasswordEnabled", ""},
        {"MinDevicePasswordLength", "6"}, {"MinDevicePasswordLength", "8"},
        {"AttachmentsEnabled", "0"}, {"AttachmentsEnabled", ""}, {"RefreshInterval", "30d"},
        {"MaxInactivityTimeDeviceLock", "600"}, {"MaxInactivityTimeDeviceLock", "601"}};
    static const char *const parents[] = {"", "default", "a", "b"};
    static const char *const first[] = {"board", "sales"};
    static char user[16];
    struct policy_change c = {.name = names[pick(4)]};
    snprintf(user, sizeof user, "u%u", pick(FLEET));
    switch (pick(8)) {
    case 0:
    case 1:
    case 2:
        c.act = POLICY_SET;
        c.settings = &pool[pick(COUNT(pool))];
        c.count = 1;
        c.staged = pick(3) == 0;
        break;
    case 3:
        c.act = POLICY_SET;
        c.parent = parents[pick(4)];
        break;
    case 4:
    case 5:
        c.act = pick(3) ? POLICY_ASSIGN : POLICY_UNASSIGN;
        c.to.scope = (enum gate_scope)pick(GATE_SCOPE_COUNT);
        c.to.group = first[pick(2)];
        c.to.user = user;
        c.to.device_id = "DEV1";
        if (c.act == POLICY_UNASSIGN) c.name = NULL;
        break;
    default:
        c.act = pick(4) ? POLICY_ROLL : POLICY_ROLL_BACK;
        c.set_percent = pick(2);
        c.percent = pick(5) * 25;
        c.set_groups = !c.set_percent;
        c.groups = first;
        c.group_count = pick(3);
    }
    return c;
}

/* Exactly those that were named are asked, and only they. */
static void check_asked(const struct asked_device *asked, size_t count)
{
    size_t at = 0;
    for (size_t i = 0; i + 1 < count; i++)
        assert_true(strcmp(asked[i].user, asked[i + 1].user) < 0);
    for (int i = 0; i < FLEET; i++) {
        bool named = false;
        for (size_t n = 0; n < count; n++)
            if (!strcmp(asked[n].user, user_of(i))) {
                named = true;
                assert_int_equal(asked[n].said, i % 3 ? 1 : 2);
                assert_int_equal(asked[n].state, PV_STATE_PROVISIONED);
            }
        assert_int_equal(folder_sync(user_of(i), versions[i % 7], keys[i]) != 1, named);
        if (named) confirm(i);
        at += named;
    }
    assert_int_equal(at, count);
}

static void a_dry_run_tells_what_the_change_does(void **unused)
{
    (void)unused;
    unsigned changes = 0, asked_in_all = 0;
    assert_int_equal(set("default", "AllowPartial", "1"), GATE_OK);
    for (size_t i = 1; i < COUNT(names); i++) {
        make_policy(names[i], i == 2 ? "a" : "", "4");
        assert_int_equal(set(names[i], "AllowPartial", "1"), GATE_OK);
    }
    for (int i = 0; i < FLEET; i++) confirm(i);
    for (int round = 0; round < 600; round++) {
        struct policy_change c = random_change();
        unsigned puts = world.put_policies, audited = world.audited;
        size_t kept = row_count;
        c.dry_run = true;
        enum gate_result would = run(c);
        assert_int_equal(world.put_policies + world.audited, puts + audited);
        assert_int_equal(row_count, kept);
        struct asked_device asked[FLEET];
        size_t count = last.device_count;
        unsigned affected = last.affected, cannot_keep = last.cannot_keep;
        uint64_t revision = last.revision;
        assert_int_equal(count, affected);
        if (count) memcpy(asked, last.devices, count * sizeof *asked);
        unsigned cannot = 0;
        for (size_t i = 0; i < count; i++) cannot += asked[i].said == 2;
        assert_int_equal(cannot, cannot_keep);

        c.dry_run = false;
        assert_int_equal(run(c), would);
        assert_int_equal(last.affected, affected);
        assert_int_equal(last.cannot_keep, cannot_keep);
        assert_int_equal(last.revision, revision);
        assert_int_equal(world.audited, audited + (would == GATE_OK));
        check_asked(asked, count);
        changes += would == GATE_OK;
        asked_in_all += affected;
    }
    print_message("# %u changes, %u devices asked\n", changes, asked_in_all);
    assert_true(changes > 150 && asked_in_all > 300);

    /* What was stored says the same to the next gate. */
    struct applies before[FLEET];
    for (int i = 0; i < FLEET; i++) before[i] = applies_to(user_of(i), "DEV1");
    run_tasks();
    gate_destroy(gate);
    load_stored();
    start_gate();
    for (int i = 0; i < FLEET; i++) {
        struct applies after = applies_to(user_of(i), "DEV1");
        assert_memory_equal(&after, &before[i], sizeof after);
    }
    assert_int_equal(set("default", "AllowPartial", "0") == GATE_CONFLICT ||
                     last.revision > before[0].revision, true);
}

static void the_first_thousand_are_listed(void **unused)
{
    (void)unused;
    char user[16], key[65];
    for (int i = 0; i < ASKED_DEVICES_MAX + 200; i++) {
        snprintf(user, sizeof user, "u%04d", i * 7 % (ASKED_DEVICES_MAX + 200)); /* any order */
        handshake(user, "14.1", key);
    }
    assert_int_equal(RUN(.act = POLICY_SET, .name = "default", .dry_run = true, .count = 1,
                         .settings = setting("AllowCamera", "0")), GATE_OK);
    assert_int_equal(last.affected, ASKED_DEVICES_MAX + 200);
    assert_int_equal(last.device_count, ASKED_DEVICES_MAX);
    for (int i = 0; i < ASKED_DEVICES_MAX; i++) {
        snprintf(user, sizeof user, "u%04d", i);
        assert_string_equal(last.devices[i].user, user);
    }
}

/* ---- from the store ---- */
static void what_the_store_says_of_lines_counts(void **unused)
{
    (void)unused;
    static const struct {
        const char *kind, *name, *json, *says; /* says "": it starts */
    } cases[] = {
        {"line", "default", "{\"current\":5,\"candidate\":7,\"percent\":5,\"groups\":[]}", ""},
        {"line", "default", "{\"current\":5,\"candidate\":0}", ""},
        {"line", "gone", "{\"removed\":9}", ""},
        {"other", "x", "no JSON", ""},
        {"line", "default", "{\"current\":4}", "a revision of policy \"default\" is missing"},
        {"line", "default", "{\"current\":5,\"candidate\":8,\"percent\":5,\"groups\":[]}",
         "missing"},
        {"line", "default", "{", "line of policies \"default\" cannot be read"},
        {"line", "default", "{\"current\":5,\"candidate\":7,\"percent\":500,\"groups\":[]}",
         "cannot be read"},
        {"assignment", "x", "{\"scope\":\"user\",\"policy\":\"default\"}", "cannot be read"},
        {"assignment", "x", "{\"scope\":\"user\",\"user\":\"ann\",\"policy\":\"none\"}",
         "no policy \"none\", which is assigned"},
        {"assignment", "x", "{\"scope\":\"user\",\"user\":\"ann\",\"policy\":\"default\"}", ""},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        print_message("# %s\n", cases[i].json);
        gate_destroy(gate);
        world.loaded_count = 1;
        world.loaded[0] = (struct store_change){
            .kind = STORE_PUT_ITEM, .u.item = {cases[i].kind, cases[i].name, cases[i].json}};
        load_default(5, "{}");
        load_default(7, "{\"MinDevicePasswordLength\":\"7\"}");
        assert_int_equal(try_gate(), !*cases[i].says);
        assert_non_null(strstr(error, cases[i].says));
    }
    assert_int_equal(applies_to("ann", "D").length, 7);
    assert_int_equal(applies_to("ann", "D").by, GATE_SCOPE_USER);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, policies_begin, policies_end)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_roll_only_widens),
        TEST(groups_go_first),
        TEST(children_follow_the_roll_of_their_parent),
        TEST(a_roll_is_watched),
        TEST(a_dry_run_tells_what_the_change_does),
        TEST(the_first_thousand_are_listed),
        TEST(what_the_store_says_of_lines_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

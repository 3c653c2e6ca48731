/* Policies in layers: who gets which, what cannot be, what is written down of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/policies_fake.h"

static void the_nearest_wins(void **unused)
{
    (void)unused;
    static const struct {
        enum gate_scope scope;
        const char *group, *user, *device, *policy;
        const char *ann_dev1, *ann, *bob, *carl, *eve; /* what applies afterwards */
    } steps[] = {
        {GATE_SCOPE_DEFAULT, NULL, NULL, NULL, "a", "a", "a", "a", "a", "a"},
        {GATE_SCOPE_GROUP, "board", NULL, NULL, "b", "b", "b", "a", "b", "a"},
        {GATE_SCOPE_GROUP, "sales", NULL, NULL, "c", "c", "c", "c", "b", "a"}, /* stands first */
        {GATE_SCOPE_USER, NULL, "ann", NULL, "d", "d", "d", "c", "b", "a"},
        {GATE_SCOPE_DEVICE, NULL, "ann", "DEV1", "b", "b", "d", "c", "b", "a"},
        {GATE_SCOPE_DEVICE, NULL, "ann", "DEV2", "a", "b", "d", "c", "b", "a"},
        {GATE_SCOPE_USER, NULL, "ann", NULL, NULL, "b", "c", "c", "b", "a"},
        {GATE_SCOPE_GROUP, "sales", NULL, NULL, NULL, "b", "b", "a", "b", "a"},
        {GATE_SCOPE_DEVICE, NULL, "ann", "DEV1", NULL, "b", "b", "a", "b", "a"},
        {GATE_SCOPE_DEFAULT, NULL, NULL, NULL, NULL, "b", "b", "default", "b", "default"},
    };
    make_policy("a", "", "4");
    make_policy("b", "", "5");
    make_policy("c", "", "6");
    make_policy("d", "", "7");
    for (size_t i = 0; i < COUNT(steps); i++) {
        print_message("# step %zu\n", i);
        assert_int_equal(assign(steps[i].scope, steps[i].group, steps[i].user, steps[i].device,
                                steps[i].policy), GATE_OK);
        assert_string_equal(applies_to("ann", "DEV1").policy, steps[i].ann_dev1);
        assert_string_equal(applies_to("ann", "DEV9").policy, steps[i].ann);
        assert_string_equal(applies_to("ann", NULL).policy, steps[i].ann);
        assert_string_equal(applies_to("bob", "DEV1").policy, steps[i].bob);
        assert_string_equal(applies_to("carl", "DEV1").policy, steps[i].carl);
        assert_string_equal(applies_to("eve", "DEV1").policy, steps[i].eve);
    }
    assert_int_equal(applies_to("ann", "DEV1").by, GATE_SCOPE_GROUP);
    assert_int_equal(applies_to("ann", "DEV2").candidates, 3);
    assert_int_equal(assign(GATE_SCOPE_USER, NULL, "ann", NULL, NULL), GATE_UNCHANGED);
    assert_int_equal(assign(GATE_SCOPE_GROUP, "board", NULL, NULL, "b"), GATE_UNCHANGED);
    assert_int_equal(RUN(.act = POLICY_UNASSIGN, .name = "a",
                         .to = {.scope = GATE_SCOPE_GROUP, .group = "board"}), GATE_CONFLICT);
}

static void what_a_child_does_not_set_is_its_parents(void **unused)
{
    (void)unused;
    make_policy("up", "default", "4");
    assert_int_equal(RUN(.act = POLICY_NEW, .name = "down", .parent = "up"), GATE_OK);
    uint64_t made = last.revision;
    assert_int_equal(assign(GATE_SCOPE_USER, NULL, "ann", NULL, "down"), GATE_OK);
    struct applies a = applies_to("ann", "DEV1");
    assert_string_equal(a.from, "up");
    assert_int_equal(a.length, 4);
    assert_int_equal(a.revision, made);

    /* A change above is a new revision below. */
    char key[65];
    handshake("ann", "14.1", key);
    assert_int_equal(set("up", "MinDevicePasswordLength", "5"), GATE_OK);
    assert_int_equal(last.affected, 1);
    assert_int_equal(applies_to("ann", "DEV1").length, 5);
    assert_int_equal(applies_to("ann", "DEV1").revision, last.revision);
    assert_int_equal(folder_sync("ann", "14.1", key), 143);

    handshake("ann", "14.1", key);
    assert_int_equal(set("down", "MinDevicePasswordLength", "5"), GATE_OK); /* as inherited */
    assert_int_equal(last.affected, 0);
    assert_int_equal(set("up", "MinDevicePasswordLength", "6"), GATE_OK); /* covered by it */
    assert_int_equal(last.affected, 0);
    assert_int_equal(folder_sync("ann", "14.1", key), 1);
    assert_string_equal(applies_to("ann", "DEV1").from, "down");

    assert_int_equal(RUN(.act = POLICY_SET, .name = "down", .parent = ""), GATE_OK);
    assert_int_equal(set("down", "MinDevicePasswordLength", ""), GATE_OK);
    assert_string_equal(applies_to("ann", "DEV1").from, "");
}

static void what_cannot_be_is_refused(void **unused)
{
    (void)unused;
    static const struct {
        enum policy_act act;
        const char *name, *parent;
        enum gate_result want;
        const char *says;
    } cases[] = {
        {POLICY_NEW, "p1", NULL, GATE_EXISTS, ""},
        {POLICY_NEW, "", NULL, GATE_INVALID, "1 to 63 bytes"},
        {POLICY_NEW, "a/b", NULL, GATE_INVALID, "slashes"},
        {POLICY_NEW, ".a", NULL, GATE_INVALID, "dot"},
        {POLICY_NEW, "a\n", NULL, GATE_INVALID, "control"},
        {POLICY_NEW, "new", "none", GATE_INVALID, "no policy \"none\""},
        {POLICY_NEW, "p9", "p8", GATE_INVALID, "\"p9\" would be the last of more than 8"},
        {POLICY_SET, "none", "p1", GATE_UNKNOWN, ""},
        {POLICY_SET, "p1", "p1", GATE_INVALID, "\"p1\" cannot inherit from itself"},
        {POLICY_SET, "p1", "p3", GATE_INVALID, "would inherit from each other"},
        {POLICY_SET, "p1", "p0", GATE_INVALID, "more than 8"},
        {POLICY_REMOVE, "none", NULL, GATE_UNKNOWN, ""},
        {POLICY_REMOVE, "default", NULL, GATE_CONFLICT, "stays"},
        {POLICY_REMOVE, "p7", NULL, GATE_CONFLICT, "\"p8\" inherits from it"},
        {POLICY_REMOVE, "p0", NULL, GATE_CONFLICT, "It is assigned to user bob."},
        {POLICY_ROLL, "p1", NULL, GATE_CONFLICT, "waits"},
        {POLICY_ROLL_BACK, "p1", NULL, GATE_UNCHANGED, ""},
        {POLICY_ROLL, "none", NULL, GATE_UNKNOWN, ""},
    };
    char name[16], above[16] = "";
    for (int i = 1; i <= 8; i++) {
        snprintf(name, sizeof name, "p%d", i);
        make_policy(name, above, "4");
        memcpy(above, name, sizeof above);
    }
    make_policy("p0", "", "4");
    assert_int_equal(assign(GATE_SCOPE_USER, NULL, "bob", NULL, "p0"), GATE_OK);
    unsigned audited = world.audited;
    for (size_t i = 0; i < COUNT(cases); i++) {
        print_message("# %s\n", cases[i].says);
        assert_int_equal(RUN(.act = cases[i].act, .name = cases[i].name, .parent = cases[i].parent,
                             .set_percent = true), cases[i].want);
        assert_non_null(strstr(last.message, cases[i].says));
    }
    assert_int_equal(assign(GATE_SCOPE_GROUP, "strangers", NULL, NULL, "p1"), GATE_INVALID);
    assert_int_equal(assign(GATE_SCOPE_USER, NULL, "", NULL, "p1"), GATE_INVALID);
    assert_int_equal(assign(GATE_SCOPE_DEVICE, NULL, "ann", "", "p1"), GATE_INVALID);
    assert_int_equal(assign(GATE_SCOPE_USER, NULL, "ann", NULL, "none"), GATE_UNKNOWN);
    assert_int_equal(world.audited, audited);

    /* Who removes it later on finds its name free. */
    assert_int_equal(RUN(.act = POLICY_REMOVE, .name = "p8"), GATE_OK);
    make_policy("p8", "p1", "9");
}

/* Each alone fits, both together do not. */
static void a_parent_does_not_break_its_child(void **unused)
{
    (void)unused;
    static char list[20001];
    for (size_t i = 0; i < sizeof list - 1; i++)
        list[i] = i % 200 == 199 ? ',' : (char)('a' + i / 200 % 26);
    for (size_t i = 0; i < sizeof list - 1; i += 200) {
        list[i] = (char)('a' + i / 200 % 26);
        list[i + 1] = (char)('a' + i / 5200);
    }
    list[sizeof list - 2] = '\0';
    world.see = NULL; /* longer than it keeps */
    make_policy("up", "", "4");
    make_policy("down", "up", "5");
    assert_int_equal(set("down", "ApprovedApplicationList", list), GATE_OK);
    assert_int_equal(set("up", "UnapprovedInROMApplicationList", list), GATE_INVALID);
    assert_non_null(strstr(last.message, "\"down\", which inherits from this one"));
    assert_non_null(strstr(last.message, "32768"));
    assert_int_equal(stage("up", "UnapprovedInROMApplicationList", list), GATE_INVALID);
    assert_int_equal(set("up", "MinDevicePasswordLength", "6"), GATE_OK);
}

/* The sentence names the first, in words, and counts the others. */
static void whom_a_policy_is_assigned_to_is_said(void **unused)
{
    (void)unused;
    static const struct {
        enum gate_scope scope;
        const char *group, *user, *device_id, *says;
    } cases[] = {
        {GATE_SCOPE_DEFAULT, NULL, NULL, NULL, "It is assigned to everybody."},
        {GATE_SCOPE_GROUP, "sales", NULL, NULL, "It is assigned to group sales."},
        {GATE_SCOPE_USER, NULL, "ann", NULL, "It is assigned to user ann."},
        {GATE_SCOPE_DEVICE, NULL, "ann", "PH1", "It is assigned to device PH1 of ann."},
    };
    make_policy("a", "", "4");
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct gate_assignee to = {cases[i].scope, cases[i].group, cases[i].user,
                                         cases[i].device_id};
        assert_int_equal(RUN(.act = POLICY_ASSIGN, .name = "a", .to = to), GATE_OK);
        assert_int_equal(RUN(.act = POLICY_REMOVE, .name = "a"), GATE_CONFLICT);
        assert_string_equal(last.message, cases[i].says);
        assert_int_equal(RUN(.act = POLICY_UNASSIGN, .to = to), GATE_OK);
    }
    assert_int_equal(assign(GATE_SCOPE_USER, NULL, "ann", NULL, "a"), GATE_OK);
    assert_int_equal(assign(GATE_SCOPE_USER, NULL, "bob", NULL, "a"), GATE_OK);
    assert_int_equal(assign(GATE_SCOPE_USER, NULL, "carl", NULL, "a"), GATE_OK);
    assert_int_equal(RUN(.act = POLICY_REMOVE, .name = "a"), GATE_CONFLICT);
    assert_string_equal(last.message, "It is assigned to user ann and to 2 more.");
}

static void two_administrators_do_not_overwrite_each_other(void **unused)
{
    (void)unused;
    make_policy("a", "default", "4");
    uint64_t seen = last.revision;
    assert_int_equal(set("default", "AllowCamera", "0"), GATE_OK); /* counts as well */
    assert_int_equal(RUN(.act = POLICY_SET, .name = "a", .settings = setting("AllowWiFi", "0"),
                         .count = 1, .set_if_revision = true, .if_revision = seen), GATE_CONFLICT);
    assert_non_null(strstr(last.message, "by now"));
    assert_int_equal(RUN(.act = POLICY_SET, .name = "a", .settings = setting("AllowWiFi", "0"),
                         .count = 1, .set_if_revision = true, .if_revision = seen + 1), GATE_OK);
}

/* What a policy may be seen at: 0 is none of that name, never any. */
static void a_change_is_of_what_its_author_saw(void **unused)
{
    (void)unused;
    make_policy("a", "", "4");
    const uint64_t now = last.revision;
    const struct {
        enum policy_act act;
        const char *name;
        uint64_t seen;
        enum gate_result want;
        const char *says;
    } cases[] = {
        {POLICY_SET, "a", 0, GATE_CONFLICT, "There is a policy of that name by now"},
        {POLICY_SET, "none", 0, GATE_UNKNOWN, ""},
        {POLICY_REPLACE, "a", 0, GATE_CONFLICT, "There is a policy of that name by now"},
        {POLICY_REPLACE, "a", now + 1, GATE_CONFLICT, "by now, not at"},
        {POLICY_REPLACE, "none", now, GATE_CONFLICT, "There is no policy of that name by now"},
        {POLICY_REPLACE, "none", 0, GATE_OK, ""},
        {POLICY_REPLACE, "a", now, GATE_OK, ""},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        print_message("# %zu\n", i);
        assert_int_equal(RUN(.act = cases[i].act, .name = cases[i].name, .count = 1,
                             .settings = setting("AllowWiFi", "0"), .set_if_revision = true,
                             .if_revision = cases[i].seen), cases[i].want);
        assert_non_null(strstr(last.message, cases[i].says));
    }
}

static void a_replaced_policy_has_just_that(void **unused)
{
    (void)unused;
    make_policy("a", "default", "4");
    assert_int_equal(RUN(.act = POLICY_REPLACE, .name = "a", .count = 1,
                         .settings = setting("AllowCamera", "0")), GATE_OK);
    assert_int_equal(assign(GATE_SCOPE_USER, NULL, "ann", NULL, "a"), GATE_OK);
    assert_string_equal(applies_to("ann", "D").from, "");
    assert_int_equal(RUN(.act = POLICY_REPLACE, .name = "a", .count = 1,
                         .settings = setting("AllowCamera", "0")), GATE_UNCHANGED);
    assert_int_equal(RUN(.act = POLICY_REPLACE, .name = "b"), GATE_OK); /* made */
    assert_int_equal(RUN(.act = POLICY_RESTORE, .name = "c"), GATE_UNKNOWN); /* not made */
}

static void whoever_sees_no_difference_is_not_asked(void **unused)
{
    (void)unused;
    char key[65];
    make_policy("a", "", "6");
    make_policy("b", "", "6");
    assert_int_equal(assign(GATE_SCOPE_USER, NULL, "ann", NULL, "a"), GATE_OK);
    handshake("ann", "14.1", key);
    assert_int_equal(assign(GATE_SCOPE_USER, NULL, "ann", NULL, "b"), GATE_OK);
    assert_int_equal(last.affected, 0);
    assert_int_equal(folder_sync("ann", "14.1", key), 1);
    assert_int_equal(assign(GATE_SCOPE_USER, NULL, "ann", NULL, "default"), GATE_OK);
    assert_int_equal(last.affected, 1);
    assert_int_equal(folder_sync("ann", "14.1", key), 143);

    /* Nor is one that will be asked anyway asked because of it. */
    assert_int_equal(RUN(.act = POLICY_NEW, .name = "c"), GATE_OK);
    assert_int_equal(assign(GATE_SCOPE_USER, NULL, "ann", NULL, "c"), GATE_OK);
    assert_int_equal(last.affected, 0);
}

static void what_is_not_stored_is_not_in_force(void **unused)
{
    (void)unused;
    static const enum store_mode modes[] = {STORE_FAILS, STORE_REFUSES};
    char key[65];
    make_policy("a", "", "6");
    handshake("ann", "14.1", key);
    for (size_t i = 0; i < COUNT(modes); i++) {
        world.store = modes[i];
        assert_int_equal(assign(GATE_SCOPE_USER, NULL, "ann", NULL, "a"), GATE_STORE);
        assert_int_equal(RUN(.act = POLICY_NEW, .name = "b"), GATE_STORE);
        assert_int_equal(RUN(.act = POLICY_REMOVE, .name = "a"), GATE_STORE);
        assert_int_equal(stage("default", "AllowCamera", "0"), GATE_STORE);
        /* A question needs no store. */
        assert_int_equal(RUN(.act = POLICY_ASSIGN, .name = "a", .dry_run = true,
                             .to = {.scope = GATE_SCOPE_USER, .user = "ann"}), GATE_OK);
        assert_int_equal(last.affected, 1);
        assert_int_equal(roll_to("default", 5), GATE_CONFLICT); /* nothing was staged */
        assert_string_equal(applies_to("ann", "DEV1").policy, "default");
        assert_int_equal(folder_sync("ann", "14.1", key), 1);
    }
    world.store = STORE_WRITES;
    assert_int_equal(assign(GATE_SCOPE_USER, NULL, "ann", NULL, "a"), GATE_OK);
    assert_int_equal(folder_sync("ann", "14.1", key), 143);
}

static unsigned woken;

static void wake(struct gate_waiter *w)
{
    (void)w;
    woken++;
}

static void only_pings_that_are_concerned_are_woken(void **unused)
{
    (void)unused;
    static struct http_exchange x[2];
    static struct gate_waiter w[2];
    struct call *c[2];
    char key[65];
    make_policy("a", "", "6");
    memset(x, 0, sizeof x);
    memset(w, 0, sizeof w);
    for (int i = 0; i < 2; i++) {
        x[i].user = i ? "ann" : "eve";
        handshake(x[i].user, "14.1", key);
        send_body(&x[i], "Ping", ping, sizeof ping);
        c[i] = ping_call;
        w[i].wake = wake;
        gate_wait_add(c[i], &w[i]);
    }
    woken = 0;
    assert_int_equal(RUN(.act = POLICY_ASSIGN, .name = "a", .dry_run = true,
                         .to = {.scope = GATE_SCOPE_GROUP, .group = "sales"}), GATE_OK);
    assert_int_equal(woken, 0);
    assert_int_equal(assign(GATE_SCOPE_GROUP, "sales", NULL, NULL, "a"), GATE_OK);
    assert_int_equal(woken, 1);
    assert_true(gate_ping_due(c[1]));
    assert_false(gate_ping_due(c[0]));
    for (int i = 0; i < 2; i++) {
        gate_wait_remove(gate, &w[i]);
        call_status(c[i], 7);
    }
}

static void acts_are_written_down(void **unused)
{
    (void)unused;
    make_policy("a", "default", "6");
    assert_non_null(strstr(world.last_audit, "\"actor\":\"uid 0\",\"act\":\"policy.new\""));
    assert_non_null(strstr(world.last_audit, "\"policy\":\"a\""));
    set("a", "MinDevicePasswordLength", "7");
    assert_non_null(strstr(world.last_audit, "\"before\":{\"revision\":6,\"parent\":\"default\","
                                             "\"settings\":{\"MinDevicePasswordLength\":\"6\"}}"));
    assert_non_null(strstr(world.last_audit, "\"after\":{\"revision\":7,\"parent\":\"default\","
                                             "\"settings\":{\"MinDevicePasswordLength\":\"7\"}}"));
    assign(GATE_SCOPE_DEVICE, NULL, "ann", "D1", "a");
    assert_non_null(strstr(world.last_audit, "\"act\":\"policy.assign\",\"scope\":\"device\","
                                             "\"user\":\"ann\",\"device_id\":\"D1\","
                                             "\"before\":null,\"after\":{\"policy\":\"a\"}"));
    assign(GATE_SCOPE_DEVICE, NULL, "ann", "D1", NULL);
    assert_non_null(strstr(world.last_audit, "\"before\":{\"policy\":\"a\"},\"after\":null"));
    stage("a", "MinDevicePasswordLength", "9");
    assert_non_null(strstr(world.last_audit, "\"act\":\"policy.stage\""));
    roll_to("a", 5);
    assert_non_null(strstr(world.last_audit, "\"before\":{\"revision\":8,\"percent\":0,"
                                             "\"groups\":[]},\"after\":{\"revision\":8,"
                                             "\"percent\":5,\"groups\":[]}"));
    RUN(.act = POLICY_ROLL_BACK, .name = "a");
    assert_non_null(strstr(world.last_audit, "\"act\":\"policy.roll-back\""));
    RUN(.act = POLICY_REMOVE, .name = "a");
    assert_non_null(strstr(world.last_audit, "\"act\":\"policy.remove\""));
    assert_int_equal(world.audited, 8);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, policies_begin, policies_end)
/* ---- what cannot be counted ---- */
static void a_change_that_cannot_be_counted_is_in_force(void **unused)
{
    (void)unused;
    char key[65];
    handshake("ann", "14.1", key);
    for (int full = 0; full < 2; full++) {
        world.unreadable = !full;
        world.pool_full = full;
        assert_int_equal(set("default", "AllowCamera", full ? "1" : "0"), GATE_OK);
        assert_false(last.counted);
        assert_int_equal(RUN(.act = POLICY_SET, .name = "default", .count = 1, .dry_run = true,
                             .settings = setting("AllowWiFi", "0")), GATE_STORE);
        world.unreadable = world.pool_full = false;
        assert_int_equal(folder_sync("ann", "14.1", key), full ? 1 : 143);
    }
    assert_int_equal(set("default", "AllowCamera", "0"), GATE_OK);
    assert_true(last.counted);
    assert_int_equal(last.affected, 1);
}

/* What nobody has yet concerns nobody: no device is looked at. */
static void what_concerns_nobody_is_not_counted_long(void **unused)
{
    (void)unused;
    char key[65];
    handshake("ann", "14.1", key);
    unsigned pages = world.pages_read;
    make_policy("new", NULL, "9");
    assert_int_equal(set("new", "AllowCamera", "0"), GATE_OK);
    assert_true(last.counted);
    assert_int_equal(last.affected, 0);
    make_policy("newer", "new", "10");
    assert_int_equal(world.pages_read, pages);
    assert_int_equal(set("default", "AllowCamera", "0"), GATE_OK);
    assert_int_equal(last.affected, 1);
    assert_true(world.pages_read > pages);
    assert_int_equal(RUN(.act = POLICY_ASSIGN, .name = "new",
                         .to = {.scope = GATE_SCOPE_USER, .user = "ann"}), GATE_OK);
    pages = world.pages_read;
    assert_int_equal(set("new", "AllowCamera", "1"), GATE_OK);
    assert_int_equal(last.affected, 1);
    assert_true(world.pages_read > pages);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_nearest_wins),
        TEST(what_a_child_does_not_set_is_its_parents),
        TEST(what_cannot_be_is_refused),
        TEST(a_parent_does_not_break_its_child),
        TEST(two_administrators_do_not_overwrite_each_other),
        TEST(a_change_is_of_what_its_author_saw),
        TEST(whom_a_policy_is_assigned_to_is_said),
        TEST(a_replaced_policy_has_just_that),
        TEST(whoever_sees_no_difference_is_not_asked),
        TEST(what_is_not_stored_is_not_in_force),
        TEST(only_pings_that_are_concerned_are_woken),
        TEST(acts_are_written_down),
        TEST(a_change_that_cannot_be_counted_is_in_force),
        TEST(what_concerns_nobody_is_not_counted_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The store: one suite over the interface, which knows the url only. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/server/store/info.h"
#include "tests/unit/store_help.h"

static void everything_is_read_back(void **unused)
{
    (void)unused;
    struct store *s = open_store();
    const struct store_change changes[] = {
        device_change("bob", "PHONE2"), device_change("alice", "PHONE1"),
        policy_change(2, "strict"), policy_change(1, "default"),
        user_change("carol", false), user_change("alice", true),
        {.kind = STORE_PUT_FOLDER_STATE,
         .u.folder_state = {"alice", "PHONE1", 7, 6, "[\"now\"]", "[\"then\"]", "{\"hb\": 300}"}},
        {.kind = STORE_PUT_FOLDER_IDS, .u.folder_ids = {"alice", "{\"INBOX\": 5}"}},
        {.kind = STORE_PUT_ITEM, .u.item = {"rule", "2", "{\"a\": 1}"}},
        {.kind = STORE_PUT_ITEM, .u.item = {"line", "default", "[]"}},
        {.kind = STORE_PUT_ITEM, .u.item = {"rule", "2", "{\"b\": 1}"}},
    };
    assert_true(put(s, changes, sizeof changes / sizeof *changes));
    store_close(s);

    s = open_store();
    struct seen *seen = read_all(s);
    assert_int_equal(seen->device_count, 2);
    assert_same_device(&seen->devices[0], &changes[1].u.device);
    assert_same_device(&seen->devices[1], &changes[0].u.device);
    assert_int_equal(seen->policy_count, 2);
    assert_int_equal(seen->policies[0].revision, 1);
    assert_string_equal(seen->policies[0].name, "default");
    assert_string_equal(seen->policies[1].name, "strict");
    assert_int_equal(seen->policies[1].at, 1700000000);
    assert_string_equal(seen->policies[1].settings_json, "{\"MinDevicePasswordLength\": \"6\"}");
    assert_int_equal(seen->user_count, 2);
    assert_string_equal(seen->users[0].user, "alice");
    assert_true(seen->users[0].enabled);
    assert_false(seen->users[1].enabled);
    assert_true(seen->users[1].no_device_wipe);
    assert_string_equal(seen->policies[1].parent, "base");
    assert_string_equal(seen->policies[1].by, "uid 0");
    assert_int_equal(seen->item_count, 2);
    assert_string_equal(seen->items[0].kind, "line");
    assert_string_equal(seen->items[1].name, "2");
    assert_string_equal(seen->items[1].json, "{\"b\": 1}");
    forget(seen);

    struct folder_state_record state_record;
    struct folder_ids_record ids;
    void *block;
    assert_int_equal(store_read_folder_state(s, "alice", "PHONE1", &state_record, &block), 1);
    assert_int_equal(state_record.key, 7);
    assert_int_equal(state_record.previous_key, 6);
    assert_string_equal(state_record.tree_json, "[\"now\"]");
    assert_string_equal(state_record.previous_tree_json, "[\"then\"]");
    assert_string_equal(state_record.ping_json, "{\"hb\": 300}");
    free(block);
    assert_int_equal(store_read_folder_state(s, "alice", "PHONE2", &state_record, &block), 0);
    assert_int_equal(store_read_folder_ids(s, "alice", &ids, &block), 1);
    assert_string_equal(ids.ids_json, "{\"INBOX\": 5}");
    free(block);
    assert_int_equal(store_read_folder_ids(s, "bob", &ids, &block), 0);
    store_close(s);
}

/* Every value that a partnership can have in a small field survives. */
static void every_small_value_is_read_back(void **unused)
{
    (void)unused;
    struct store *s = open_store();
    uint64_t was = 0;
    for (unsigned v = 0; v < PV_VERSION_COUNT; v++) {
        struct store_change c = device_change("u", "D");
        c.u.device.was = was;
        was = c.u.device.tag;
        c.u.device.version = (enum pv_version)v;
        c.u.device.partnership.outcome = (uint8_t)(v % PV_OUTCOME_COUNT);
        c.u.device.state = (enum pv_state)(v % PV_STATE_COUNT);
        c.u.device.partnership.personal = (uint8_t)(v % PV_PERSONAL_COUNT);
        c.u.device.partnership.wipe_state = (uint8_t)(v % PV_WIPE_STATE_COUNT);
        c.u.device.partnership.shut = (uint8_t)(v % 3);
        c.u.device.partnership.wipe = (uint8_t)(1 + v % 2);
        c.u.device.partnership.wipe_state = (uint8_t)(PV_WIPE_STATE_REQUESTED + v % 4);
        c.u.device.partnership.shut =
            v % 4 == 2 ? PV_SHUT_WIPED : PV_SHUT_NOT; /* ACKNOWLEDGED */
        memset(c.u.device.partnership.offers, 0, sizeof c.u.device.partnership.offers);
        assert_true(put(s, &c, 1));
        struct seen *seen = read_all(s);
        assert_int_equal(seen->device_count, 1);
        assert_same_device(&seen->devices[0], &c.u.device);
        forget(seen);
    }
    store_close(s);
}

/* ---- DeviceInformation ---- */
static bool put_info(struct store *s, int64_t at, const char *json)
{
    const struct store_change c = {.kind = STORE_PUT_INFO,
                                   .u.info = {"u", "D", at, json, NULL}};
    return put(s, &c, 1);
}

static void information_is_merged_with_its_history(void **unused)
{
    (void)unused;
    static const struct { const char *patch, *info, *history; } steps[] = {
        {"{\"Model\":\"A\",\"OS\":\"1\"}", "{\"Model\":\"A\",\"OS\":\"1\"}", "[]"},
        {"{\"Model\":\"A\"}", "{\"Model\":\"A\",\"OS\":\"1\"}", "[]"},
        {"{\"OS\":\"2\",\"IMEI\":\"9\"}", "{\"Model\":\"A\",\"OS\":\"2\",\"IMEI\":\"9\"}",
         "[{\"OS\":[\"1\",\"2\"],\"IMEI\":[null,\"9\"],\"at\":3}]"},
        {"{\"IMEI\":null}", "{\"Model\":\"A\",\"OS\":\"2\"}",
         "[{\"OS\":[\"1\",\"2\"],\"at\":3},{\"IMEI\":[null,null],\"at\":4}]"},
    };
    struct store *s = open_store();
    struct info_record r;
    void *block;
    assert_int_equal(store_read_info(s, "u", "D", &r, &block), 0);
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        assert_true(put_info(s, (int64_t)i + 1, steps[i].patch));
        assert_int_equal(store_read_info(s, "u", "D", &r, &block), 1);
        assert_string_equal(r.info_json, steps[i].info);
        assert_string_equal(r.history_json, steps[i].history);
        free(block);
    }
    store_close(s);
}

/* What was spoilt from outside is as if nothing had been there. */
static void information_survives_garbage_and_is_bounded(void **unused)
{
    (void)unused;
    static const char *const garbage[] = {"", "{", "[]", "7", "{\"Model\":\"M\""};
    char *info, *history, patch[64];
    for (size_t i = 0; i < sizeof garbage / sizeof *garbage; i++) {
        assert_true(info_apply(garbage[i], garbage[i], "{\"Model\":\"M\"}", 1, &info, &history));
        assert_string_equal(info, "{\"Model\":\"M\"}");
        assert_string_equal(history, "[]");
        free(info);
        free(history);
    }
    assert_false(info_apply("{}", "[]", "no object", 1, &info, &history) && info);

    struct store *s = open_store();
    struct info_record r;
    void *block;
    for (int i = 0; i < INFO_HISTORY_MAX + 5; i++) {
        snprintf(patch, sizeof patch, "{\"OS\":\"%d\"}", i);
        assert_true(put_info(s, i, patch));
    }
    assert_int_equal(store_read_info(s, "u", "D", &r, &block), 1);
    unsigned entries = 0;
    for (const char *at = r.history_json; (at = strstr(at, "\"at\":")) != NULL; at++)
        entries++;
    assert_int_equal(entries, INFO_HISTORY_MAX);
    assert_non_null(strstr(r.history_json, "[\"23\",\"24\"]"));
    assert_null(strstr(r.history_json, "[\"3\",\"4\"]"));
    free(block);
    store_close(s);
}

/* ---- logs ---- */
static void count_call(void *ctx)
{
    *(_Atomic unsigned *)ctx += 1;
}

static void logs_are_kept_in_order(void **unused)
{
    (void)unused;
    _Atomic unsigned calls = 0;
    struct store *s = open_store();
    assert_true(store_listen(s, count_call, &calls));
    const struct store_change nothing = user_change("alice", true);
    assert_true(put(s, &nothing, 1));
    assert_int_equal(calls, 0);
    const struct store_change first[] = {
        {.kind = STORE_ADD_AUDIT, .u.log = {0, "a"}},
        {.kind = STORE_ADD_EVENT, .u.log = {0, "e"}},
        {.kind = STORE_ADD_AUDIT, .u.log = {0, "b"}},
    };
    assert_true(put(s, first, 3));
    const struct store_change taken[] = {policy_change(1, "x"), policy_change(1, "x"),
                                         {.kind = STORE_ADD_AUDIT, .u.log = {0, "lost"}}};
    assert_true(conflicts(s, taken, 3));
    const struct store_change more = {.kind = STORE_ADD_AUDIT, .u.log = {0, "c"}};
    assert_true(put(s, &more, 1));
    assert_string_equal(lines_of(s, STORE_LOG_AUDIT, 0, 10), "a b c ");
    const struct store_change drop = {.kind = STORE_REMOVE_AUDIT, .u.log = {line_ids[1], NULL}};
    assert_true(put(s, &drop, 1));
    store_close(s);
    assert_int_equal(calls, 2);

    s = open_store();
    assert_true(put(s, &more, 1));
    assert_string_equal(lines_of(s, STORE_LOG_AUDIT, 0, 10), "c c ");
    assert_string_equal(lines_of(s, STORE_LOG_AUDIT, line_ids[0], 1), "c ");
    assert_string_equal(lines_of(s, STORE_LOG_AUDIT, line_ids[0], 1), "");
    assert_string_equal(lines_of(s, STORE_LOG_EVENT, 0, 10), "e ");
    const struct store_change gone = {.kind = STORE_REMOVE_EVENT, .u.log = {line_ids[0], NULL}};
    assert_true(put(s, &gone, 1));
    assert_string_equal(lines_of(s, STORE_LOG_EVENT, 0, 10), "");
    store_close(s);
}

static void see_revision(void *ctx, const struct policy_record *r)
{
    snprintf((char *)ctx + strlen(ctx), 200 - strlen(ctx), "%llu %s %s; ",
             (unsigned long long)r->revision, r->name, r->parent);
}

static void revisions_and_items_are_read_one_by_one(void **unused)
{
    (void)unused;
    struct store *s = open_store();
    const struct store_change changes[] = {
        policy_change(2, "strict"), policy_change(1, "default"), policy_change(4, "strict"),
        {.kind = STORE_PUT_ITEM, .u.item = {"token", "t", "{}"}},
        {.kind = STORE_PUT_TRAIL, .u.trail = {"u", "D", "[1]"}},
    };
    char seen[200] = "";
    struct item_record item;
    struct trail_record trail;
    void *block;
    assert_true(put(s, changes, sizeof changes / sizeof *changes));
    assert_true(store_read_revisions(s, "strict", see_revision, seen));
    assert_string_equal(seen, "2 strict base; 4 strict base; ");
    assert_int_equal(store_read_item(s, "token", "t", &item, &block), 1);
    assert_string_equal(item.json, "{}");
    free(block);
    assert_int_equal(store_read_trail(s, "u", "D", &trail, &block), 1);
    assert_string_equal(trail.trail_json, "[1]");
    free(block);
    const struct store_change drops[] = {
        {.kind = STORE_REMOVE_ITEM, .u.item = {"token", "t", NULL}},
        {.kind = STORE_REMOVE_DEVICE, .u.device = {.user = "u", .device_id = "D"}},
    };
    assert_true(put(s, drops, 2)); /* there is none, but what remains of it */
    assert_int_equal(store_read_item(s, "token", "t", &item, &block), 0);
    assert_int_equal(store_read_trail(s, "u", "D", &trail, &block), 0);
    store_close(s);
}

static void removal_leaves_nothing(void **unused)
{
    (void)unused;
    struct store *s = open_store();
    const struct store_change changes[] = {
        device_change("alice", "A"), device_change("alice", "B"), device_change("bob", "A"),
        user_change("alice", false),
        {.kind = STORE_PUT_FOLDER_STATE, .u.folder_state = {"alice", "A", 1, 0, "", "", ""}},
        {.kind = STORE_PUT_FOLDER_STATE, .u.folder_state = {"alice", "B", 1, 0, "", "", ""}},
        {.kind = STORE_PUT_FOLDER_IDS, .u.folder_ids = {"alice", "{}"}},
    };
    const struct store_change device = {.kind = STORE_REMOVE_DEVICE,
                                        .u.device = {.user = "alice",
                                                     .device_id = "A",
                                                     .was = changes[0].u.device.tag}};
    const struct store_change user = {.kind = STORE_REMOVE_USER, .u.user = {.user = "alice"}};
    struct folder_state_record r;
    struct folder_ids_record ids;
    void *block;

    assert_true(put(s, changes, sizeof changes / sizeof *changes));
    assert_true(put(s, &device, 1));
    struct seen *seen = read_all(s);
    assert_int_equal(seen->device_count, 2);
    assert_string_equal(seen->devices[0].device_id, "B");
    assert_same_device(&seen->devices[0], &changes[1].u.device);
    forget(seen);
    assert_int_equal(store_read_folder_state(s, "alice", "A", &r, &block), 0);

    assert_true(put(s, &user, 1));
    seen = read_all(s);
    assert_int_equal(seen->device_count, 1);
    assert_string_equal(seen->devices[0].user, "bob");
    assert_int_equal(seen->user_count, 0);
    forget(seen);
    assert_int_equal(store_read_folder_state(s, "alice", "B", &r, &block), 0);
    assert_int_equal(store_read_folder_ids(s, "alice", &ids, &block), 0);

    /* A device that comes again brings none of its old offers back. */
    struct store_change again = device_change("alice", "B");
    memset(again.u.device.partnership.offers, 0, sizeof again.u.device.partnership.offers);
    assert_true(put(s, &again, 1));
    seen = read_all(s);
    assert_same_device(&seen->devices[0], &again.u.device);
    forget(seen);
    store_close(s);
}

/* Names of users may be the beginning of others, and hold slashes. */
static void bonds_go_with_device_and_user(void **unused)
{
    (void)unused;
    static const char *const names[] = {"al/A", "al/B", "al/x/A", "al0/A", "al%/A", "alice/A",
                                        "a/A"};
    enum { COUNT = sizeof names / sizeof *names };
    struct store *s = open_store();
    struct store_change changes[COUNT + 1];
    for (size_t i = 0; i < COUNT; i++)
        changes[i] = (struct store_change){.kind = STORE_PUT_ITEM,
                                           .u.item = {"bond", names[i], "{}"}};
    changes[COUNT] = (struct store_change){.kind = STORE_PUT_ITEM,
                                           .u.item = {"rule", "al/B", "{}"}};
    const struct store_change device = {.kind = STORE_REMOVE_DEVICE,
                                        .u.device = {.user = "al", .device_id = "A"}};
    const struct store_change user = {.kind = STORE_REMOVE_USER, .u.user = {.user = "al"}};
    struct item_record r;
    void *block;
    assert_true(put(s, changes, COUNT + 1));
    struct seen *seen = read_user(s, "al");
    assert_int_equal(seen->item_count, 2);
    assert_string_equal(seen->items[0].name, "al/A");
    assert_string_equal(seen->items[1].name, "al/B");
    forget(seen);
    seen = read_user(s, "al/x");
    assert_int_equal(seen->item_count, 1);
    assert_string_equal(seen->items[0].name, "al/x/A");
    forget(seen);
    seen = read_all(s); /* among so many, those of the start stay few */
    assert_int_equal(seen->item_count, 1);
    assert_string_equal(seen->items[0].kind, "rule");
    forget(seen);

    assert_true(put(s, &device, 1));
    assert_true(put(s, &user, 1));
    for (size_t i = 0; i < COUNT; i++) {
        int found = store_read_item(s, "bond", names[i], &r, &block);
        assert_int_equal(found, strcmp(names[i], "al/A") != 0 && strcmp(names[i], "al/B") != 0);
        if (found)
            free(block);
    }
    assert_int_equal(store_read_item(s, "rule", "al/B", &r, &block), 1);
    free(block);
    store_close(s);
}

/* ---- users and pages ---- */
static void a_user_is_read_whole(void **unused)
{
    (void)unused;
    struct store *s = open_store();
    const struct store_change changes[] = {
        device_change("al", "B"), device_change("al", "A"), device_change("alice", "A"),
        user_change("al", false), user_change("alice", true), policy_change(1, "default"),
        {.kind = STORE_PUT_ITEM, .u.item = {"bond", "al/A", "{\"x\": 1}"}},
        {.kind = STORE_PUT_ITEM, .u.item = {"claim", "al", "{}"}},
    };
    assert_true(put(s, changes, sizeof changes / sizeof *changes));
    struct seen *seen = read_user(s, "al");
    assert_int_equal(seen->policy_count, 0);
    assert_int_equal(seen->user_count, 1);
    assert_false(seen->users[0].enabled);
    assert_true(seen->users[0].no_device_wipe);
    assert_int_equal(seen->device_count, 2);
    assert_same_device(&seen->devices[0], &changes[1].u.device);
    assert_same_device(&seen->devices[1], &changes[0].u.device);
    assert_int_equal(seen->item_count, 1);
    assert_string_equal(seen->items[0].kind, "bond");
    assert_string_equal(seen->items[0].name, "al/A");
    assert_string_equal(seen->items[0].json, "{\"x\": 1}");
    forget(seen);
    seen = read_user(s, "a");
    assert_int_equal(seen->text_count, 0);
    forget(seen);
    store_close(s);
}

static void see_name(void *ctx, const char *user)
{
    strcat(strcat(ctx, user), " ");
}

static void who_has_a_device_is_found(void **unused)
{
    (void)unused;
    struct store *s = open_store();
    const struct store_change changes[] = {
        device_change("carl", "ABC"), device_change("al", "ABC"), device_change("bob", "ABC"),
        device_change("bob", "abc"),  device_change("dan", "AB"), device_change("dan", "ABCD"),
    };
    uint64_t count;
    char seen[200] = "";
    assert_true(store_count_devices(s, &count));
    assert_int_equal(count, 0);
    assert_true(put(s, changes, 6));
    assert_true(store_count_devices(s, &count));
    assert_int_equal(count, 6);
    assert_true(store_read_users_of(s, "ABC", 9, see_name, seen));
    assert_string_equal(seen, "al bob carl ");
    seen[0] = '\0';
    assert_true(store_read_users_of(s, "ABC", 2, see_name, seen));
    assert_string_equal(seen, "al bob ");
    seen[0] = '\0';
    assert_true(store_read_users_of(s, "A%", 9, see_name, seen));
    assert_string_equal(seen, "");
    store_close(s);
}

/* Twelve devices of three users, each with its own times. */
#define FLEET 12

static void fleet(struct store_change out[FLEET])
{
    static const char *const users[] = {"B", "a", "a/"}; /* by their bytes */
    static const char *const names[] = {"1", "A", "Z", "a"};
    for (unsigned i = 0; i < FLEET; i++) {
        out[i] = device_change(users[i / 4], names[i % 4]);
        struct device_record *d = &out[i].u.device;
        d->last_seen = 1000 + i * 7 % FLEET;
        d->partnership.wipe_state = (uint8_t)(i % PV_WIPE_STATE_COUNT);
        d->partnership.wipe_expires_at = i % 3 ? 2000 + i : 0;
    }
}

static bool in_query(const struct store_query *q, const struct device_record *d)
{
    const struct pv_partnership *p = &d->partnership;
    bool pending = p->wipe_state == PV_WIPE_STATE_REQUESTED || p->wipe_state == PV_WIPE_STATE_SENT ||
                   p->wipe_state == PV_WIPE_STATE_FAILED;
    int order = q->after_user ? strcmp(d->user, q->after_user) : 1;
    if (q->user && strcmp(q->user, d->user) != 0)
        return false;
    if (order < 0 || (order == 0 && strcmp(d->device_id, q->after_device_id) <= 0))
        return false;
    return q->filter == STORE_ALL ||
           (q->filter == STORE_SEEN_BEFORE && d->last_seen < q->before) ||
           (q->filter == STORE_WIPES_EXPIRED && pending && p->wipe_expires_at &&
            p->wipe_expires_at < q->before);
}

struct expected {
    const struct store_change *fleet;
    const struct store_query *query;
    unsigned at, count;
};

static void expect_device(void *ctx, const struct device_record *r)
{
    struct expected *x = ctx;
    while (x->at < FLEET && !in_query(x->query, &x->fleet[x->at].u.device))
        x->at++;
    assert_in_range(x->at, 0, FLEET - 1);
    assert_same_device(r, &x->fleet[x->at++].u.device);
    x->count++;
}

/* Every query against what a walk over all finds. */
static void pages_hold_what_was_asked_for(void **unused)
{
    (void)unused;
    static const char *const users[] = {NULL, "B", "a", "a/", "0"};
    static const char *const after[][2] = {{NULL, NULL}, {"B", "A"}, {"a", "a"}, {"a", "0"},
                                           {"a!", "x"}, {"a/", "Z"}, {"a/", "a"}, {"", ""}};
    static const enum store_filter filters[] = {STORE_ALL, STORE_SEEN_BEFORE, STORE_WIPES_EXPIRED};
    struct store_change all[FLEET];
    struct store *s = open_store();
    unsigned found = 0;
    fleet(all);
    for (unsigned i = 0; i < FLEET; i++)
        assert_true(put(s, &all[(i * 5 + 3) % FLEET], 1));
    for (unsigned i = 0; i < 5 * 8 * 3 * 3; i++) {
        enum store_filter filter = filters[i / 40 % 3];
        const struct store_query q = {
            .filter = filter, .user = users[i % 5], .after_user = after[i / 5 % 8][0],
            .after_device_id = after[i / 5 % 8][1], .most = i / 120 ? i / 120 * 2 : 100,
            .before = filter == STORE_SEEN_BEFORE ? 1006 : 2008};
        struct expected x = {all, &q, 0, 0};
        unsigned want = 0;
        for (unsigned k = 0; k < FLEET; k++)
            want += in_query(&q, &all[k].u.device);
        assert_true(store_read_devices(s, &q, expect_device, &x));
        assert_int_equal(x.count, want < q.most ? want : q.most);
        found += x.count;
    }
    assert_true(found > 300);
    store_close(s);
}

static void what_is_queued_is_written_on_close(void **unused)
{
    (void)unused;
    struct store *s = open_store();
    char name[16];
    for (int i = 0; i < 50; i++) {
        snprintf(name, sizeof name, "user%02d", i); /* copied: the next turn overwrites it */
        const struct store_change c = user_change(name, true);
        assert_true(store_submit(s, &c, 1, NULL));
    }
    store_close(s);
    s = open_store();
    struct seen *seen = read_all(s);
    assert_int_equal(seen->user_count, 50);
    assert_string_equal(seen->users[49].user, "user49");
    forget(seen);
    store_close(s);
}

static void done_runs_on_the_submitting_worker(void **unused)
{
    (void)unused;
    struct store *s = open_store();
    struct wait w = {.write.done = wait_done};
    const struct store_change c = user_change("alice", true);
    self = &the_worker;
    bool queued = store_submit(s, &c, 1, &w.write);
    self = NULL;
    assert_true(queued);
    worker_run_one(&the_worker); /* hangs if nothing is posted */
    assert_true(w.done);
    assert_true(w.write.durable);
    store_close(s);
}

static void unknown_stores_are_refused(void **unused)
{
    (void)unused;
    assert_null(open_elsewhere("floppy", state));
    assert_non_null(strstr(error, "floppy"));
    store_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(everything_is_read_back),
        TEST(every_small_value_is_read_back),
        TEST(information_is_merged_with_its_history),
        TEST(information_survives_garbage_and_is_bounded),
        TEST(logs_are_kept_in_order),
        TEST(revisions_and_items_are_read_one_by_one),
        TEST(removal_leaves_nothing),
        TEST(bonds_go_with_device_and_user),
        TEST(a_user_is_read_whole),
        TEST(who_has_a_device_is_found),
        TEST(pages_hold_what_was_asked_for),
        TEST(what_is_queued_is_written_on_close),
        TEST(done_runs_on_the_submitting_worker),
        TEST(unknown_stores_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

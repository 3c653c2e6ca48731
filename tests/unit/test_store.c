/* The store: one suite over the interface (it knows the url only), then what only SQLite has. */
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "src/server/observe/log.h"
#include "src/server/store/info.h"
#include "src/server/store/sqlite.h"
#include "src/server/store/store.h"

/* ---- what the store needs of the server ---- */
struct worker {
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    struct task *head, **tail;
};
static struct worker the_worker = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, NULL,
                                   &the_worker.head};
static _Thread_local struct worker *self;
static _Atomic unsigned logged_failures, logged_back;

struct worker *worker_self(void)
{
    return self;
}

void worker_post(struct worker *w, struct task *t)
{
    pthread_mutex_lock(&w->mutex);
    t->next = NULL;
    *w->tail = t;
    w->tail = &t->next;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->mutex);
}

static void worker_run_one(struct worker *w)
{
    pthread_mutex_lock(&w->mutex);
    while (!w->head)
        pthread_cond_wait(&w->wake, &w->mutex);
    struct task *t = w->head;
    w->head = t->next;
    if (!w->head)
        w->tail = &w->head;
    pthread_mutex_unlock(&w->mutex);
    t->fn(t);
}

bool log_on(enum log_level level)
{
    return level <= LOG_WARN;
}

void log_write(enum log_level level, uint64_t session, const char *verb, const struct kv *fields)
{
    (void)level, (void)session, (void)fields;
    *(strcmp(verb, "store-back") == 0 ? &logged_back : &logged_failures) += 1;
}

/* ---- a state directory for each test ---- */
static char state[64], error[256];
static const char *const url = "sqlite";

static int set_up(void **unused)
{
    (void)unused;
    snprintf(state, sizeof state, "/tmp/provost-store-XXXXXX");
    return mkdtemp(state) ? 0 : -1;
}

static int tear_down(void **unused)
{
    (void)unused;
    DIR *d = opendir(state);
    char path[400];
    for (struct dirent *e; d && (e = readdir(d)) != NULL;) {
        snprintf(path, sizeof path, "%s/%s", state, e->d_name);
        unlink(path);
    }
    if (d)
        closedir(d);
    return rmdir(state);
}

static struct store *open_store(void)
{
    error[0] = '\0';
    struct store *s = store_open(url, state, error, sizeof error);
    if (!s)
        fail_msg("%s", error);
    return s;
}

/* ---- writes that are waited for ---- */
struct wait {
    struct store_write write;
    unsigned order;
    bool done;
};
static pthread_mutex_t done_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t done_wake = PTHREAD_COND_INITIALIZER;
static unsigned done_count;

static void wait_done(struct store_write *w)
{
    struct wait *x = (struct wait *)w;
    pthread_mutex_lock(&done_mutex);
    x->order = done_count++;
    x->done = true;
    pthread_cond_broadcast(&done_wake);
    pthread_mutex_unlock(&done_mutex);
}

static bool wait_for(struct wait *x)
{
    pthread_mutex_lock(&done_mutex);
    while (!x->done)
        pthread_cond_wait(&done_wake, &done_mutex);
    pthread_mutex_unlock(&done_mutex);
    return x->write.durable;
}

static bool put(struct store *s, const struct store_change *changes, size_t count)
{
    struct wait x = {.write.done = wait_done};
    assert_true(store_submit(s, changes, count, &x.write));
    return wait_for(&x);
}

static struct store_change user_change(const char *user, bool enabled)
{
    return (struct store_change){.kind = STORE_PUT_USER, .u.user = {user, enabled, !enabled}};
}

static struct store_change policy_change(uint64_t revision, const char *name)
{
    return (struct store_change){
        .kind = STORE_PUT_POLICY,
        .u.policy = {.name = name, .revision = revision, .at = 1700000000,
                     .settings_json = "{\"MinDevicePasswordLength\": \"6\"}", .parent = "base",
                     .by = "uid 0"}};
}

/* A device in which no two fields are alike. */
static struct store_change device_change(const char *user, const char *id)
{
    struct store_change c = {
        .kind = STORE_PUT_DEVICE,
        .u.device = {
            .user = user, .device_id = id, .device_type = "Telefon", .user_agent = "Mail/1.0 \"x\"",
            .version = PV_V14_1, .first_seen = 1600000000, .last_seen = 1700000001,
            .model = "Modell", .os = "System", .state = PV_STATE_QUARANTINED,
            .loop_until = 1800000000, .wipe_by = "uid 0", .wipe_reason = "lost",
            .partnership = {
                .key = UINT32_MAX, .key_at = 1650000000, .key_revision = 7, .acked_offer = 11,
                .acked_status = 2, .outcome = PV_OUTCOME_PARTIAL,
                .outcome_revision = 8, .said = 2, .provisioned_once = true, .asked = true,
                .personal = PV_PERSONAL_QUARANTINE, .wipe = PV_WIPE_ACCOUNT,
                .wipe_state = PV_WIPE_STATE_FAILED, .shut = PV_SHUT_EXPIRED,
                .wipe_id = INT64_MAX, .wipe_at = 1660000000, .wipe_sent_at = 1660000001,
                .wipe_ended_at = 1660000002, .wipe_expires_at = 1660000003}}};
    struct pv_partnership *p = &c.u.device.partnership;
    for (size_t i = 0; i < PV_HASH_LEN; i++)
        p->key_hash[i] = (uint8_t)(i * 17);
    for (uint32_t i = 0; i < PV_OFFER_MAX - 1; i++) {
        p->offers[i] = (struct pv_offer){.key = 4000000000u + i, .at = 1690000000 + i,
                                         .revision = 100 + i};
        memset(p->offers[i].hash, (int)(0xa0 + i), PV_HASH_LEN);
    }
    return c;
}

/* ---- what a store holds, read back ---- */
#define SEEN_MAX 64
struct seen {
    struct device_record devices[SEEN_MAX];
    struct policy_record policies[SEEN_MAX];
    struct user_record users[SEEN_MAX];
    struct item_record items[SEEN_MAX];
    size_t item_count, device_count, policy_count, user_count, text_count;
    char *texts[SEEN_MAX * 12];
};

static const char *keep(struct seen *seen, const char *text)
{
    return seen->texts[seen->text_count++] = strdup(text);
}

static void see_device(void *ctx, const struct device_record *r)
{
    struct seen *seen = ctx;
    struct device_record *d = &seen->devices[seen->device_count++];
    *d = *r;
    d->user = keep(seen, r->user);
    d->device_id = keep(seen, r->device_id);
    d->device_type = keep(seen, r->device_type);
    d->user_agent = keep(seen, r->user_agent);
    d->model = keep(seen, r->model);
    d->os = keep(seen, r->os);
    d->wipe_by = keep(seen, r->wipe_by);
    d->wipe_reason = keep(seen, r->wipe_reason);
}

static void see_policy(void *ctx, const struct policy_record *r)
{
    struct seen *seen = ctx;
    struct policy_record *p = &seen->policies[seen->policy_count++];
    *p = *r;
    p->name = keep(seen, r->name);
    p->settings_json = keep(seen, r->settings_json);
    p->parent = keep(seen, r->parent);
    p->by = keep(seen, r->by);
}

static void see_user(void *ctx, const struct user_record *r)
{
    struct seen *seen = ctx;
    seen->users[seen->user_count++] = (struct user_record){keep(seen, r->user), r->enabled,
                                                           r->no_device_wipe};
}

static void see_item(void *ctx, const struct item_record *r)
{
    struct seen *seen = ctx;
    seen->items[seen->item_count++] =
        (struct item_record){keep(seen, r->kind), keep(seen, r->name), keep(seen, r->json)};
}

static struct seen *read_all(struct store *s)
{
    static const struct store_visitor v = {see_item, see_policy, see_user, see_device};
    struct seen *seen = calloc(1, sizeof *seen);
    assert_non_null(seen);
    if (!store_load(s, &v, seen, error, sizeof error))
        fail_msg("%s", error);
    return seen;
}

static void forget(struct seen *seen)
{
    for (size_t i = 0; i < seen->text_count; i++)
        free(seen->texts[i]);
    free(seen);
}

static void assert_same_device(const struct device_record *a, const struct device_record *b)
{
    assert_string_equal(a->user, b->user);
    assert_string_equal(a->device_id, b->device_id);
    assert_string_equal(a->device_type, b->device_type);
    assert_string_equal(a->user_agent, b->user_agent);
    assert_string_equal(a->model, b->model);
    assert_string_equal(a->os, b->os);
    assert_string_equal(a->wipe_by, b->wipe_by);
    assert_string_equal(a->wipe_reason, b->wipe_reason);
    assert_int_equal(a->state, b->state);
    assert_int_equal(a->loop_until, b->loop_until);
    assert_int_equal(a->version, b->version);
    assert_int_equal(a->first_seen, b->first_seen);
    assert_int_equal(a->last_seen, b->last_seen);
    const struct pv_partnership *p = &a->partnership, *q = &b->partnership;
    assert_int_equal(p->key, q->key);
    assert_int_equal(p->key_at, q->key_at);
    assert_int_equal(p->key_revision, q->key_revision);
    assert_memory_equal(p->key_hash, q->key_hash, PV_HASH_LEN);
    for (size_t i = 0; i < PV_OFFER_MAX; i++) {
        assert_int_equal(p->offers[i].key, q->offers[i].key);
        assert_int_equal(p->offers[i].at, q->offers[i].at);
        assert_int_equal(p->offers[i].revision, q->offers[i].revision);
        assert_memory_equal(p->offers[i].hash, q->offers[i].hash, PV_HASH_LEN);
    }
    assert_int_equal(p->acked_offer, q->acked_offer);
    assert_int_equal(p->acked_status, q->acked_status);
    assert_int_equal(p->outcome, q->outcome);
    assert_int_equal(p->provisioned_once, q->provisioned_once);
    assert_int_equal(p->asked, q->asked);
    assert_int_equal(p->outcome_revision, q->outcome_revision);
    assert_int_equal(p->said, q->said);
    assert_int_equal(p->personal, q->personal);
    assert_int_equal(p->wipe, q->wipe);
    assert_int_equal(p->wipe_state, q->wipe_state);
    assert_int_equal(p->shut, q->shut);
    assert_int_equal(p->wipe_id, q->wipe_id);
    assert_int_equal(p->wipe_at, q->wipe_at);
    assert_int_equal(p->wipe_sent_at, q->wipe_sent_at);
    assert_int_equal(p->wipe_ended_at, q->wipe_ended_at);
    assert_int_equal(p->wipe_expires_at, q->wipe_expires_at);
}

/* ---- the suite ---- */
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
    for (unsigned v = 0; v < PV_VERSION_COUNT; v++) {
        struct store_change c = device_change("u", "D");
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
static void see_line(void *ctx, const struct log_record *r)
{
    snprintf((char *)ctx + strlen(ctx), 200 - strlen(ctx), "%llu%s ", (unsigned long long)r->id,
             r->json);
}

static void count_call(void *ctx)
{
    *(_Atomic unsigned *)ctx += 1;
}

static void logs_are_kept_in_order_without_a_gap(void **unused)
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
    /* One that fails takes no number. */
    const struct store_change taken[] = {policy_change(1, "x"), policy_change(1, "x"),
                                         {.kind = STORE_ADD_AUDIT, .u.log = {0, "lost"}}};
    assert_false(put(s, taken, 3));
    const struct store_change more = {.kind = STORE_ADD_AUDIT, .u.log = {0, "c"}};
    assert_true(put(s, &more, 1));
    char seen[200] = "";
    assert_true(store_read_log(s, STORE_LOG_AUDIT, 0, 10, see_line, seen));
    assert_string_equal(seen, "1a 2b 3c ");
    const struct store_change drop = {.kind = STORE_REMOVE_AUDIT, .u.log = {2, NULL}};
    assert_true(put(s, &drop, 1));
    store_close(s);
    assert_int_equal(calls, 2);

    s = open_store();
    assert_true(put(s, &more, 1));
    seen[0] = '\0';
    assert_true(store_read_log(s, STORE_LOG_AUDIT, 0, 10, see_line, seen));
    assert_string_equal(seen, "3c 4c ");
    seen[0] = '\0';
    assert_true(store_read_log(s, STORE_LOG_AUDIT, 3, 1, see_line, seen));
    assert_true(store_read_log(s, STORE_LOG_EVENT, 0, 10, see_line, seen));
    assert_string_equal(seen, "4c 1e ");
    const struct store_change gone = {.kind = STORE_REMOVE_EVENT, .u.log = {1, NULL}};
    assert_true(put(s, &gone, 1));
    seen[0] = '\0';
    assert_true(store_read_log(s, STORE_LOG_EVENT, 0, 10, see_line, seen));
    assert_string_equal(seen, "");
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
    assert_true(put(s, drops, 2));
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
                                        .u.device = {.user = "alice", .device_id = "A"}};
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

/* A revision is never changed: the second one of that number fails, and all that came with it. */
static void a_submission_is_atomic(void **unused)
{
    (void)unused;
    struct store *s = open_store();
    const struct store_change first = policy_change(1, "default");
    const struct store_change broken[] = {user_change("alice", false), policy_change(1, "other"),
                                          user_change("bob", false)};
    assert_true(put(s, &first, 1));
    assert_false(put(s, broken, 3));
    struct seen *seen = read_all(s);
    assert_int_equal(seen->user_count, 0);
    assert_int_equal(seen->policy_count, 1);
    assert_string_equal(seen->policies[0].name, "default");
    forget(seen);
    store_close(s);
}

/* Hold the file from outside, so that what is submitted meanwhile gathers. */
static sqlite3 *hold_file(void)
{
    char path[128];
    sqlite3 *db;
    snprintf(path, sizeof path, "%s/provost.db", state);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    return db;
}

static void release_file(sqlite3 *db)
{
    assert_int_equal(sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

#define MANY 200
static void one_bad_submission_fails_alone_and_order_is_kept(void **unused)
{
    (void)unused;
    struct store *s = open_store();
    const struct store_change first = policy_change(1, "default");
    assert_true(put(s, &first, 1));

    struct wait w[MANY] = {0};
    done_count = 0;
    sqlite3 *held = hold_file();
    for (size_t i = 0; i < MANY; i++) {
        const struct store_change c =
            i == 77 ? policy_change(1, "again") : user_change("alice", i % 2);
        w[i].write.done = wait_done;
        assert_true(store_submit(s, &c, 1, &w[i].write));
    }
    release_file(held);
    for (size_t i = 0; i < MANY; i++) {
        assert_int_equal(wait_for(&w[i]), i != 77);
        assert_int_equal(w[i].order, i);
    }
    struct seen *seen = read_all(s);
    assert_int_equal(seen->user_count, 1);
    assert_int_equal(seen->users[0].enabled, (MANY - 1) % 2);
    forget(seen);
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

static void a_second_server_is_refused(void **unused)
{
    (void)unused;
    struct store *s = open_store();
    assert_null(store_open(url, state, error, sizeof error));
    assert_non_null(strstr(error, "another provostd"));
    store_close(s);
    store_close(open_store());
}

static void unknown_stores_are_refused(void **unused)
{
    (void)unused;
    assert_null(store_open("floppy", state, error, sizeof error));
    assert_non_null(strstr(error, "floppy"));
    store_close(NULL);
}

/* ---- SQLite only ---- */
static void commits_are_shared(void **unused)
{
    (void)unused;
    struct sqlite_store *s = (struct sqlite_store *)open_store();
    struct wait w[MANY] = {0};
    uint64_t before = s->commits;
    sqlite3 *held = hold_file();
    for (size_t i = 0; i < MANY; i++) {
        const struct store_change c = user_change("alice", i % 2);
        w[i].write.done = wait_done;
        assert_true(store_submit(&s->base, &c, 1, &w[i].write));
    }
    release_file(held);
    for (size_t i = 0; i < MANY; i++)
        assert_true(wait_for(&w[i]));
    assert_in_range(s->commits - before, 1, 3);
    store_close(&s->base);
}

static void the_queue_is_bounded(void **unused)
{
    (void)unused;
    struct store *s = open_store();
    const struct store_change c = user_change("alice", true);
    sqlite3 *held = hold_file();
    size_t taken = 0;
    while (taken < SQLITE_STORE_QUEUE_MAX + 2 * SQLITE_STORE_BATCH_MAX &&
           store_submit(s, &c, 1, NULL))
        taken++;
    assert_in_range(taken, SQLITE_STORE_QUEUE_MAX, SQLITE_STORE_QUEUE_MAX + SQLITE_STORE_BATCH_MAX);
    release_file(held);
    store_close(s);
}

static void files_are_private(void **unused)
{
    (void)unused;
    char path[128];
    struct stat st;
    mode_t old = umask(0);
    snprintf(path, sizeof path, "%s/sub", state);
    struct store *s = store_open(url, path, error, sizeof error);
    umask(old);
    assert_non_null(s);
    static const char *const names[] = {"", "/lock", "/provost.db", "/provost.db-wal",
                                        "/provost.db-shm"};
    const struct store_change c = user_change("alice", true);
    assert_true(put(s, &c, 1));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/sub%s", state, names[i]);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 0777, i ? 0600 : 0700);
    }
    store_close(s);
    for (size_t i = sizeof names / sizeof *names; i-- > 0;) {
        snprintf(path, sizeof path, "%s/sub%s", state, names[i]);
        i ? unlink(path) : rmdir(path);
    }
}

static void sql(const char *text)
{
    char path[128];
    sqlite3 *db;
    snprintf(path, sizeof path, "%s/provost.db", state);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static void a_newer_schema_is_refused(void **unused)
{
    (void)unused;
    store_close(open_store());
    sql("PRAGMA user_version = 99");
    assert_null(store_open(url, state, error, sizeof error));
    assert_non_null(strstr(error, "schema 99"));
    assert_non_null(strstr(error, "provost.db"));
}

/* A file of the first schema, with a device in each state that it knew. */
static void a_file_of_the_first_schema_is_brought_up(void **unused)
{
    (void)unused;
    sql("CREATE TABLE device (user TEXT, device_id TEXT, device_type TEXT, user_agent TEXT,"
        " version TEXT, first_seen INTEGER, last_seen INTEGER, info TEXT, key INTEGER,"
        " key_at INTEGER, key_revision INTEGER, key_hash TEXT, acked_offer INTEGER,"
        " acked_status INTEGER, outcome TEXT, refused INTEGER, provisioned_once INTEGER,"
        " asked INTEGER, access TEXT, wipe TEXT, wipe_sent INTEGER, wipe_failed INTEGER,"
        " wiped INTEGER, PRIMARY KEY (user, device_id)) STRICT, WITHOUT ROWID;"
        "CREATE TABLE offer (user TEXT, device_id TEXT, position INTEGER, key INTEGER, at INTEGER,"
        " revision INTEGER, hash TEXT, PRIMARY KEY (user, device_id, position)) STRICT,"
        " WITHOUT ROWID;"
        "CREATE TABLE policy (revision INTEGER PRIMARY KEY, name TEXT, at INTEGER, settings TEXT)"
        " STRICT;"
        "CREATE TABLE user (name TEXT PRIMARY KEY, enabled INTEGER) STRICT, WITHOUT ROWID;"
        "CREATE TABLE folder_state (user TEXT, device_id TEXT, key INTEGER, previous_key INTEGER,"
        " tree TEXT, previous_tree TEXT, ping TEXT, PRIMARY KEY (user, device_id)) STRICT,"
        " WITHOUT ROWID;"
        "CREATE TABLE folder_ids (user TEXT PRIMARY KEY, ids TEXT) STRICT, WITHOUT ROWID;"
        "INSERT INTO policy VALUES (3, 'default', 9, '{}');"
        "INSERT INTO user VALUES ('dan', 0);"
        "INSERT INTO device VALUES"
        " ('a', 'IN', 'T', 'U', '14.1', 1, 2, '{\"Model\":\"M\",\"OS\":\"O\"}', 7, 8, 3,"
        "  '00112233445566778899aabbccddeeff', 0, 0, 'compliant', 0, 1, 1, 'ok', 'none', 0, 0, 0),"
        " ('a', 'NO', 'T', 'U', '12.1', 1, 2, '', 0, 0, 0,"
        "  '00000000000000000000000000000000', 0, 0, 'partial', 1, 0, 1, 'ok', 'none', 0, 0, 0),"
        " ('a', 'OUT', 'T', 'U', '16.1', 1, 2, '', 0, 0, 0,"
        "  '00000000000000000000000000000000', 0, 0, 'none', 0, 0, 0, 'blocked', 'none', 0, 0, 0),"
        " ('a', 'WIPE', 'T', 'U', '16.1', 1, 2, '', 5, 6, 3,"
        "  '00112233445566778899aabbccddeeff', 0, 0, 'compliant', 0, 1, 1, 'ok', 'account', 1, 0,"
        "  0),"
        " ('a', 'XED', 'T', 'U', '16.1', 1, 2, '', 0, 0, 0,"
        "  '00000000000000000000000000000000', 0, 0, 'none', 0, 1, 1, 'ok', 'none', 0, 0, 1);"
        "INSERT INTO offer VALUES"
        " ('a', 'NO', 0, 77, 5, 3, '00112233445566778899aabbccddeeff');"
        "PRAGMA user_version = 1");
    struct store *s = open_store();
    struct seen *seen = read_all(s);
    assert_int_equal(seen->device_count, 5);
    const struct device_record *in = &seen->devices[0], *no = in + 1, *out = in + 2,
                               *wipe = in + 3, *wiped = in + 4;
    assert_string_equal(in->model, "M");
    assert_string_equal(in->os, "O");
    assert_int_equal(in->state, PV_STATE_PROVISIONED);
    assert_int_equal(in->partnership.key, 7);
    assert_int_equal(in->partnership.said, 1);
    assert_int_equal(in->partnership.wipe_id, 0);
    assert_int_equal(no->partnership.outcome, PV_OUTCOME_REFUSED);
    assert_int_equal(no->partnership.said, 2);
    assert_int_equal(no->partnership.offers[0].key, 77);
    assert_int_equal(out->partnership.personal, PV_PERSONAL_BLOCK);
    assert_int_equal(out->state, PV_STATE_BLOCKED);
    assert_int_equal(wipe->partnership.wipe_state, PV_WIPE_STATE_SENT);
    assert_int_equal(wipe->partnership.key, 5);
    assert_true(wipe->partnership.wipe_id != 0);
    assert_int_equal(wiped->partnership.shut, PV_SHUT_WIPED);
    assert_int_equal(wiped->partnership.wipe_state, PV_WIPE_STATE_ACKNOWLEDGED);
    assert_string_equal(seen->policies[0].parent, "");
    assert_false(seen->users[0].enabled);
    struct info_record r;
    void *block;
    assert_int_equal(store_read_info(s, "a", "IN", &r, &block), 1);
    assert_string_equal(r.info_json, "{\"Model\":\"M\",\"OS\":\"O\"}");
    free(block);
    forget(seen);
    store_close(s);
}

static void what_cannot_be_understood_is_told(void **unused)
{
    (void)unused;
    static const char *const spoilt[][2] = {
        {"UPDATE device SET version = '14.7'", "version \"14.7\""},
        {"UPDATE device SET key_hash = 'abc'", "key_hash \"abc\""},
        {"UPDATE device SET key_hash = 'zz112233445566778899aabbccddeeff'", "key_hash \"zz"},
        {"UPDATE device SET outcome = 'fine'", "outcome \"fine\""},
        {"UPDATE device SET wipe = 'both'", "wipe \"both\""},
        {"UPDATE device SET key = 4294967296", "key \"4294967296\""},
        {"UPDATE device SET asked = 2", "asked \"2\""},
        {"UPDATE device SET said = 5", "said \"5\""},
        {"UPDATE device SET state = 'odd'", "state \"odd\""},
        {"UPDATE device SET personal = 'odd'", "personal \"odd\""},
        {"UPDATE device SET wipe_state = 'odd'", "wipe_state \"odd\""},
        {"UPDATE device SET shut = 'odd'", "shut \"odd\""},
        {"UPDATE device SET wipe_id = -1", "wipe_id \"-1\""},
        {"UPDATE offer SET position = 4 WHERE position = 0", "position \"4\""},
        {"UPDATE user SET enabled = -1", "enabled \"-1\""},
        {"UPDATE policy SET revision = -1", "revision \"-1\""},
    };
    static const struct store_visitor nobody = {0};
    for (size_t i = 0; i < sizeof spoilt / sizeof *spoilt; i++) {
        print_message("# %s\n", spoilt[i][0]);
        const struct store_change changes[] = {device_change("u", "D"), user_change("u", true),
                                               policy_change(i + 1, "default")};
        struct store *s = open_store();
        assert_true(put(s, changes, 3));
        sql(spoilt[i][0]);
        assert_false(store_load(s, &nobody, NULL, error, sizeof error));
        if (!strstr(error, spoilt[i][1]))
            fail_msg("message is: %s", error);
        store_close(s);
        sql("UPDATE user SET enabled = 1; DELETE FROM policy");
    }
}

static void a_file_that_is_none_is_refused(void **unused)
{
    (void)unused;
    char path[128];
    snprintf(path, sizeof path, "%s/provost.db", state);
    FILE *f = fopen(path, "w");
    for (int i = 0; i < 1000; i++)
        fputs("no database\n", f);
    fclose(f);
    assert_null(store_open(url, state, error, sizeof error));
    assert_non_null(strstr(error, "provost.db"));
    unlink(path);

    assert_int_equal(mkdir(path, 0700), 0); /* no permission stops root, a directory does */
    assert_null(store_open(url, state, error, sizeof error));
    assert_non_null(strstr(error, "provost.db"));
    assert_int_equal(rmdir(path), 0);

    assert_null(store_open(url, "/dev/null/state", error, sizeof error));
    assert_non_null(strstr(error, "/dev/null/state"));
}

/* The disk is full (a limit on the size of files stands in for it), then it is not. */
static void a_full_disk_is_told_and_survived(void **unused)
{
    (void)unused;
    struct store *s = open_store();
    const struct store_change c = user_change("alice", true);
    assert_true(put(s, &c, 1));

    struct rlimit old, small;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = old;
    small.rlim_cur = 40000;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    unsigned stored = 0, refused = 0, told = logged_failures;
    char name[16];
    for (int i = 0; i < 20; i++) {
        snprintf(name, sizeof name, "user%02d", i);
        const struct store_change more = device_change(name, "D");
        *(put(s, &more, 1) ? &stored : &refused) += 1;
    }
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_true(refused > 0);
    assert_true(logged_failures > told);

    unsigned back = logged_back;
    const struct store_change after = device_change("zoe", "D");
    assert_true(put(s, &after, 1));
    store_close(s); /* joins the writer: its log line is written */
    assert_int_equal(logged_back, back + 1);
    s = open_store();
    struct seen *seen = read_all(s);
    assert_int_equal(seen->device_count, stored + 1);
    assert_same_device(&seen->devices[stored], &after.u.device);
    forget(seen);
    store_close(s);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(everything_is_read_back),
        TEST(every_small_value_is_read_back),
        TEST(information_is_merged_with_its_history),
        TEST(information_survives_garbage_and_is_bounded),
        TEST(logs_are_kept_in_order_without_a_gap),
        TEST(revisions_and_items_are_read_one_by_one),
        TEST(removal_leaves_nothing),
        TEST(a_submission_is_atomic),
        TEST(one_bad_submission_fails_alone_and_order_is_kept),
        TEST(what_is_queued_is_written_on_close),
        TEST(done_runs_on_the_submitting_worker),
        TEST(a_second_server_is_refused),
        TEST(unknown_stores_are_refused),
        TEST(commits_are_shared),
        TEST(the_queue_is_bounded),
        TEST(files_are_private),
        TEST(a_newer_schema_is_refused),
        TEST(a_file_of_the_first_schema_is_brought_up),
        TEST(what_cannot_be_understood_is_told),
        TEST(a_file_that_is_none_is_refused),
        TEST(a_full_disk_is_told_and_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

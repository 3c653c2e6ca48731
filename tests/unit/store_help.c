#include "tests/unit/store_help.h"

#include <dirent.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <libpq-fe.h>

#include "src/server/observe/log.h"

/* ---- what the store needs of the server ---- */
struct worker the_worker = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, NULL,
                                   &the_worker.head};
_Thread_local struct worker *self;
_Atomic unsigned logged_failures, logged_back;
char logged_line[600];

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

void worker_run_one(struct worker *w)
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
    (void)level, (void)session;
    static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER;
    size_t len = 0;
    pthread_mutex_lock(&one);
    for (; fields->kind != KV_END; fields++)
        if (fields->kind == KV_TEXT && len < sizeof logged_line)
            len += (size_t)snprintf(logged_line + len, sizeof logged_line - len, "%s=%s ", fields->key,
                                    fields->v.text);
    pthread_mutex_unlock(&one);
    *(strcmp(verb, "store-back") == 0 ? &logged_back : &logged_failures) += 1;
}

/* ---- a state directory for each test, and a schema of a database that there may be ---- */
char state[64], error[256];
static char schema[32], schema_url[200];

void run_sql(const char *sql)
{
    PGconn *c = PQconnectdb(getenv("PROVOST_STORE_URL"));
    PQclear(PQexec(c, "SET client_min_messages = warning; SET lock_timeout = '10s'"));
    PGresult *r = PQexec(c, sql);
    if (PQresultStatus(r) != PGRES_COMMAND_OK && PQresultStatus(r) != PGRES_TUPLES_OK)
        fail_msg("%s: %s", sql, PQerrorMessage(c));
    PQclear(r);
    PQfinish(c);
}

static void make_schema(const char *url)
{
    static unsigned made;
    char sql[64];
    snprintf(schema, sizeof schema, "test_%d_%u", (int)getpid(), made++);
    snprintf(schema_url, sizeof schema_url, "%s?options=-csearch_path%%3D%s", url, schema);
    snprintf(sql, sizeof sql, "CREATE SCHEMA %s", schema);
    run_sql(sql);
}

int set_up(void **unused)
{
    (void)unused;
    if (getenv("PROVOST_STORE_URL"))
        make_schema(getenv("PROVOST_STORE_URL"));
    snprintf(state, sizeof state, "/tmp/provost-store-XXXXXX");
    return mkdtemp(state) ? 0 : -1;
}

int tear_down(void **unused)
{
    (void)unused;
    char sql[64];
    snprintf(sql, sizeof sql, "DROP SCHEMA %s CASCADE", schema);
    if (schema[0])
        run_sql(sql);
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

struct store_options options_of(const char *node)
{
    return (struct store_options){.url = schema[0] ? schema_url : "sqlite", .state = state, .node = node,
                                  .lease_s = 10, .connections = 4};
}

struct store *open_elsewhere(const char *url, const char *directory)
{
    struct store_options o = options_of("one");
    o.url = url;
    o.state = directory;
    error[0] = '\0';
    return store_open(&o, error, sizeof error);
}

struct store *open_store(void)
{
    const struct store_options o = options_of("one");
    error[0] = '\0';
    struct store *s = store_open(&o, error, sizeof error);
    if (!s)
        fail_msg("%s", error);
    return s;
}

/* ---- writes that are waited for ---- */
static pthread_mutex_t done_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t done_wake = PTHREAD_COND_INITIALIZER;
unsigned done_count;

void wait_done(struct store_write *w)
{
    struct wait *x = (struct wait *)w;
    pthread_mutex_lock(&done_mutex);
    x->order = done_count++;
    x->done = true;
    pthread_cond_broadcast(&done_wake);
    pthread_mutex_unlock(&done_mutex);
}

bool wait_for(struct wait *x)
{
    pthread_mutex_lock(&done_mutex);
    while (!x->done)
        pthread_cond_wait(&done_wake, &done_mutex);
    pthread_mutex_unlock(&done_mutex);
    return x->write.durable;
}

bool put(struct store *s, const struct store_change *changes, size_t count)
{
    struct wait x = {.write.done = wait_done};
    assert_true(store_submit(s, changes, count, &x.write));
    return wait_for(&x);
}

bool conflicts(struct store *s, const struct store_change *changes, size_t count)
{
    struct wait x = {.write.done = wait_done};
    assert_true(store_submit(s, changes, count, &x.write));
    bool durable = wait_for(&x);
    assert_true(durable != x.write.conflict);
    assert_false(x.write.lost);
    return x.write.conflict;
}

struct store_change user_change(const char *user, bool enabled)
{
    return (struct store_change){.kind = STORE_PUT_USER, .u.user = {user, enabled, !enabled}};
}

struct store_change policy_change(uint64_t revision, const char *name)
{
    return (struct store_change){
        .kind = STORE_PUT_POLICY,
        .u.policy = {.name = name, .revision = revision, .at = 1700000000,
                     .settings_json = "{\"MinDevicePasswordLength\": \"6\"}", .parent = "base",
                     .by = "uid 0"}};
}

/* A device in which no two fields are alike. */
struct store_change device_change(const char *user, const char *id)
{
    struct store_change c = {
        .kind = STORE_PUT_DEVICE,
        .u.device = {
            .tag = store_tag(), .user = user, .device_id = id, .device_type = "Telefon", .user_agent = "Mail/1.0 \"x\"",
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

void next_tag(struct store_change *c)
{
    c->u.device.was = c->u.device.tag;
    c->u.device.tag = store_tag();
}

/* ---- what a store holds, read back ---- */
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

const struct store_visitor see_all = {see_item, see_policy, see_user, see_device};

#define PAGE 3 /* few, so that there are several */

/* Pages until one is not full. */
static void read_pages(struct store *s, struct seen *seen)
{
    struct store_query q = {.most = PAGE};
    size_t before;
    do {
        before = seen->device_count;
        assert_true(store_read_devices(s, &q, see_device, seen));
        if (seen->device_count == before)
            break;
        q.after_user = seen->devices[seen->device_count - 1].user;
        q.after_device_id = seen->devices[seen->device_count - 1].device_id;
    } while (seen->device_count == before + PAGE);
    const char *after = NULL;
    do {
        before = seen->user_count;
        assert_true(store_read_users(s, after, PAGE, see_user, seen));
        after = seen->user_count ? seen->users[seen->user_count - 1].user : NULL;
    } while (seen->user_count == before + PAGE);
}

struct seen *read_all(struct store *s)
{
    static const struct store_visitor lists = {.item = see_item, .policy = see_policy};
    struct seen *seen = calloc(1, sizeof *seen);
    assert_non_null(seen);
    if (!store_load(s, &lists, seen, error, sizeof error))
        fail_msg("%s", error);
    read_pages(s, seen);
    return seen;
}

struct seen *read_user(struct store *s, const char *user)
{
    struct seen *seen = calloc(1, sizeof *seen);
    assert_non_null(seen);
    assert_true(store_read_user(s, user, &see_all, seen));
    return seen;
}

void forget(struct seen *seen)
{
    for (size_t i = 0; i < seen->text_count; i++)
        free(seen->texts[i]);
    free(seen);
}

void assert_same_device(const struct device_record *a, const struct device_record *b)
{
    assert_int_equal(a->tag, b->tag);
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

/* ---- logs ---- */
uint64_t line_ids[8];
static unsigned line_count;

static void note_line(void *ctx, const struct log_record *r)
{
    if (line_count)
        assert_true(r->id > line_ids[line_count - 1]);
    line_ids[line_count++] = r->id;
    strcat(strcat(ctx, r->json), " ");
}

const char *lines_of(struct store *s, enum store_log which, uint64_t after, unsigned most)
{
    static char seen[200];
    seen[0] = '\0';
    line_count = 0;
    assert_true(store_read_log(s, which, after, most, note_line, seen));
    return seen;
}

/* Hold the file from outside, so that what is submitted meanwhile gathers. */
sqlite3 *hold_file(void)
{
    char path[128];
    sqlite3 *db;
    snprintf(path, sizeof path, "%s/provost.db", state);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    return db;
}

void release_file(sqlite3 *db)
{
    assert_int_equal(sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

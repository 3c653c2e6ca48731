#include "tests/unit/gate_fake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include <cmocka.h>

#include "src/server/http/pool.h"
#include "src/server/observe/log.h"

/* ---- clock, log ---- */
struct world world;

time_t time(time_t *out)
{
    if (out)
        *out = world.now;
    return world.now;
}

bool log_on(enum log_level level)
{
    return level <= LOG_INFO;
}

void log_write(enum log_level level, uint64_t session, const char *verb, const struct kv *fields)
{
    (void)level, (void)session, (void)verb, (void)fields;
    world.logged++;
}

/* ---- one worker ---- */
struct worker {
    struct task *head, **tail;
};
static struct worker the_worker = {NULL, &the_worker.head};

struct worker *worker_self(void)
{
    return &the_worker;
}

unsigned worker_index(const struct worker *w)
{
    (void)w;
    return 3;
}

void worker_post(struct worker *w, struct task *t)
{
    t->next = NULL;
    *w->tail = t;
    w->tail = &t->next;
}

void timer_set(struct worker *w, struct timer *t, uint64_t in_ms, void (*fn)(struct timer *))
{
    assert_ptr_equal(w, &the_worker);
    assert_true(in_ms > 0);
    t->fn = fn;
    world.timer = t;
}

unsigned run_tasks(void)
{
    unsigned n = 0;
    for (struct task *t; (t = the_worker.head) != NULL; n++) {
        the_worker.head = t->next;
        if (!the_worker.head)
            the_worker.tail = &the_worker.head;
        t->fn(t);
    }
    return n;
}

/* ---- threads: what they do is done at once, or if it is for no worker when the tasks run ---- */
static char the_pool;

struct pool *pool_create(const char *name, unsigned threads, unsigned queue_max)
{
    (void)name, (void)threads, (void)queue_max;
    return (struct pool *)(void *)&the_pool;
}

static void finish_job(struct task *t)
{
    struct job *j = CONTAINER_OF(t, struct job, task);
    j->done(j);
}

bool pool_submit(struct pool *p, struct job *j)
{
    (void)p;
    if (world.pool_full)
        return false;
    j->run(j);
    j->task.fn = finish_job;
    if (j->done)
        worker_post(&the_worker, &j->task);
    return true;
}

static void run_job(struct task *t)
{
    struct job *j = CONTAINER_OF(t, struct job, task);
    j->run(j);
    if (j->done)
        j->done(j);
}

bool pool_submit_for(struct pool *p, struct job *j, struct worker *home)
{
    (void)p;
    assert_null(home);
    if (world.pool_full)
        return false;
    j->task.fn = run_job;
    worker_post(&the_worker, &j->task);
    return true;
}

void pool_destroy(struct pool *p)
{
    (void)p;
}

/* ---- login: the value of Authorization is the user ---- */
static void auth_judge(struct auth_check *q)
{
    const char *who = q->authorization;
    q->verdict = !who || !strcmp(who, "bad") ? AUTH_BAD
                 : !strcmp(who, "later") ? AUTH_LATER
                 : !strcmp(who, "broken") ? AUTH_FAILED : AUTH_OK;
    q->retry_after = 77;
    snprintf(q->user, sizeof q->user, "%s", who ? who : "");
}

void auth_forget(struct auth *a, const char *authorization)
{
    (void)a, (void)authorization;
}

bool auth_is_of(struct auth *a, const char *authorization, const char *user)
{
    (void)a, (void)authorization, (void)user;
    return false; /* nobody shows a certificate */
}

bool auth_start(struct auth *a, struct auth_check *q)
{
    (void)a;
    auth_judge(q);
    if (strcmp(q->user, "slow") != 0)
        return true;
    world.auth_waiting = q;
    return false;
}

unsigned auth_kinds(struct auth *a)
{
    (void)a;
    return 1u << AUTH_PASSWORD;
}

/* ---- exchanges ---- */
uint64_t http_session(const struct http_exchange *x)
{
    (void)x;
    return 1;
}

const char *http_method(const struct http_exchange *x)
{
    return x->method ? x->method : "POST";
}

const char *http_target(const struct http_exchange *x)
{
    return x->target;
}

const char *http_peer(const struct http_exchange *x)
{
    return x->peer ? x->peer : "192.0.2.1";
}

bool http_proxied(const struct http_exchange *x)
{
    return x->peer && !strcmp(x->peer, "proxy");
}

const void *http_certificate(const struct http_exchange *x, size_t *len_out)
{
    (void)x;
    *len_out = 0;
    return NULL;
}

const char *http_client(const struct http_exchange *x)
{
    return http_peer(x);
}

const char *http_field(const struct http_exchange *x, const char *name)
{
    return !strcasecmp(name, "Authorization") ? x->user
           : !strcasecmp(name, "MS-ASProtocolVersion") ? x->version
           : !strcasecmp(name, "X-MS-PolicyKey") ? x->key
           : !strcasecmp(name, "Content-Type") ? x->type
           : !strcasecmp(name, "X-Original-Method") ? x->original_method
           : !strcasecmp(name, "X-Original-URI") ? x->original_target
           : !strcasecmp(name, "User-Agent") ? x->agent : NULL;
}

bool http_body_is_stream(const struct http_exchange *x, uint64_t *length_out)
{
    (void)x, (void)length_out;
    return false;
}

void http_reply_begin(struct http_exchange *x, const struct http_reply *head, uint64_t length)
{
    (void)x, (void)head, (void)length;
}

const uint8_t *http_body(const struct http_exchange *x, size_t *len_out)
{
    *len_out = x->body_len;
    return x->body;
}

void http_drop_body(struct http_exchange *x)
{
    memset(x->body, 0xdd, sizeof x->body);
    x->body_len = 0;
}

void http_set_data(struct http_exchange *x, void *data, void (*free_fn)(void *))
{
    x->data = data;
    x->free_data = free_fn;
}

void *http_data(const struct http_exchange *x)
{
    return x->data;
}

void http_hang_up(struct http_exchange *x)
{
    assert_false(x->done);
    x->done = true;
}

bool http_is_gone(const struct http_exchange *x)
{
    return x->is_gone;
}

void http_wait(struct http_exchange *x, void (*gone)(struct http_exchange *))
{
    assert_false(x->done);
    (void)gone;
    x->waits = true;
}

void http_reply(struct http_exchange *x, const struct http_reply *r)
{
    assert_false(x->done);
    assert_true(r->len <= sizeof x->answer);
    x->done = true;
    x->reply = *r;
    if (r->len)
        memcpy(x->answer, r->body, r->len);
    for (size_t i = 0; r->fields && r->fields[i].name; i++)
        snprintf(x->fields[i], sizeof x->fields[i], "%s: %s", r->fields[i].name,
                 r->fields[i].value);
    if (x->free_data)
        x->free_data(x->data);
}

/* ---- the gate of a test ---- */
struct gate *gate;
struct config config;
char error[512];
struct call *ping_call;
unsigned served;
const struct pv_device_info *settings_info;

static void serve_foldersync(struct call *c)
{
    served++;
    assert_int_equal(c->body->tag, PV_FolderHierarchy_FolderSync);
    call_status(c, 1);
}

static void serve_ping(struct call *c)
{
    served++;
    ping_call = c;
    call_wait(c, NULL);
}

static void settings_kept(struct call *c, bool durable)
{
    durable ? call_status(c, 1) : call_http(c, 503, 5);
}

static void serve_settings(struct call *c)
{
    served++;
    gate_keep_device_info(c, settings_info, settings_kept);
}

static const struct command commands[] = {
    {PV_CMD_FolderSync, serve_foldersync, serve_foldersync},
    {PV_CMD_Ping, serve_ping, serve_ping},
    {PV_CMD_Settings, serve_settings, serve_settings},
    {PV_CMD_Sync, NULL, serve_foldersync}};

void register_commands(void)
{
    gate_register(gate, commands, sizeof commands / sizeof *commands);
}

bool try_gate(void)
{
    error[0] = '\0';
    store_clear();
    if (!config.partnerships_in_memory)
        config.partnerships_in_memory = 250000;
    gate = gate_create(&config, NULL, world.shared, error, sizeof error);
    if (gate)
        register_commands();
    return gate != NULL;
}

void start_gate(void)
{
    if (!try_gate())
        fail_msg("%s", error);
}

void load_default(uint64_t revision, const char *json)
{
    world.loaded[world.loaded_count++] = (struct store_change){
        .kind = STORE_PUT_POLICY, .u.policy = {.name = "default", .revision = revision, .at = 1, .settings_json = json,
                     .parent = "", .by = ""}};
}

int set_up(void **unused)
{
    (void)unused;
    world = (struct world){.now = 1700000000};
    served = 0;
    memset(&config, 0, sizeof config);
    load_default(5, "{}");
    start_gate();
    return 0;
}

int tear_down(void **unused)
{
    (void)unused;
    run_tasks();
    gate_destroy(gate);
    return 0;
}

/* ---- users ---- */
void be_there(const char *user)
{
    struct resident r = {0};
    if (!world.absent && resident_read(gate, &r, user, RESIDENT_KNOWN))
        resident_drop(&r);
}

bool user_enabled(const char *user)
{
    struct user_flags flags;
    assert_true(gate_user_flags(gate, user, &flags));
    return flags.enabled;
}

bool user_device_wipe(const char *user)
{
    struct user_flags flags;
    assert_true(gate_user_flags(gate, user, &flags));
    return flags.device_wipe;
}

/* ---- requests ---- */
static void target_of(char *buf, size_t cap, const char *cmd)
{
    snprintf(buf, cap, "/Microsoft-Server-ActiveSync?Cmd=%s&User=u&DeviceId=DEV1&DeviceType=Phone",
             cmd);
}

struct http_exchange *send_body(struct http_exchange *x, const char *cmd, const void *body,
                                size_t len)
{
    static char target[16][200];
    static unsigned turn;
    char *t = target[turn++ % 16];
    if (!x->target) {
        target_of(t, 200, cmd);
        x->target = t;
    }
    if (!x->user)
        x->user = "ann";
    if (!x->version)
        x->version = "14.1";
    memcpy(x->body, body, len);
    x->body_len = len;
    be_there(x->user);
    struct http_handler h = gate_handler(gate);
    h.serve(x, h.ctx);
    assert_true(x->done || x->waits);
    return x;
}

const uint8_t foldersync[13] = {3, 1, 0x6a, 0, 0, 7, 0x56, 0x52, 3, '0', 0, 1, 1};
const uint8_t ping[14] = {3, 1, 0x6a, 0, 0, 13, 0x45, 0x48, 3, '9', '0', 0, 1, 1};
const uint8_t settings[7] = {3, 1, 0x6a, 0, 0, 18, 0x05};

static unsigned status_in(const struct http_exchange *x)
{
    static unsigned char block[8192] __attribute__((aligned(16)));
    struct pv_arena arena;
    const struct pv_node *root;
    uint32_t status = 0;
    pv_arena_init(&arena, block, sizeof block);
    assert_int_equal(pv_wbxml_decode(&arena, x->answer, x->reply.len, NULL, &root, NULL), PV_OK);
    for (const struct pv_node *n = root->child; n; n = n->next)
        if (n->kind == PV_NODE_ELEMENT && !strcmp(pv_tag_name(n->tag), "Status"))
            assert_true(pv_node_u32(n, &status));
    return status;
}

/* HTTP code, or the Status when that is 200. */
unsigned outcome(const struct http_exchange *x)
{
    assert_true(x->done);
    return x->reply.status == 200 && x->reply.len ? status_in(x) : x->reply.status;
}

unsigned folder_sync(const char *user, const char *version, const char *key)
{
    struct http_exchange x = {.user = user, .version = version, .key = key};
    send_body(&x, "FolderSync", foldersync, sizeof foldersync);
    if (!x.done) run_tasks(); /* it was asked of a store that is shared */
    return outcome(&x);
}

/* A Provision: asks, or acknowledges key with status. */
static size_t provision_body(enum pv_version version, const char *key, unsigned status,
                             const char *model, uint8_t *buf, size_t cap)
{
    struct pv_wbxml_writer w;
    size_t len;
    pv_wbxml_begin(&w, buf, cap);
    pv_wbxml_start(&w, PV_Provision_Provision);
    if (model)
        pv_device_info_write(&(struct pv_device_info){.model = model}, version, &w);
    pv_wbxml_start(&w, PV_Provision_Policies);
    pv_wbxml_start(&w, PV_Provision_Policy);
    pv_wbxml_leaf(&w, PV_Provision_PolicyType, pv_policy_type(version));
    if (key) {
        pv_wbxml_leaf(&w, PV_Provision_PolicyKey, key);
        pv_wbxml_leaf_u32(&w, PV_Provision_Status, status);
    }
    pv_wbxml_end(&w);
    pv_wbxml_end(&w);
    pv_wbxml_end(&w);
    assert_int_equal(pv_wbxml_finish(&w, &len), PV_OK);
    return len;
}

struct http_exchange *provision(struct http_exchange *x, const char *key, unsigned status,
                                const char *model)
{
    uint8_t body[512];
    enum pv_version v;
    const char *text = x->version ? x->version : "14.1";
    assert_true(pv_version_parse(text, strlen(text), &v));
    size_t len = provision_body(v, key, status, model, body, sizeof body);
    return send_body(x, "Provision", body, len);
}

struct told told_by(const struct http_exchange *x)
{
    static unsigned char block[65536] __attribute__((aligned(16)));
    struct pv_arena arena;
    const struct pv_node *root;
    struct pv_provision_answer a;
    pv_arena_init(&arena, block, sizeof block);
    assert_int_equal(x->reply.status, 200);
    assert_int_equal(pv_wbxml_decode(&arena, x->answer, x->reply.len, NULL, &root, NULL), PV_OK);
    assert_int_equal(pv_provision_answer_read(root, &arena, &a), PV_OK);
    struct told t = {a.status, a.policy_status, a.device_info_status, a.data != NULL, ""};
    snprintf(t.key, sizeof t.key, "%s", a.key);
    return t;
}

/* The whole handshake; the final key as text. */
void handshake(const char *user, const char *version, char key[65])
{
    struct http_exchange ask = {.user = user, .version = version};
    struct http_exchange ack = {.user = user, .version = version};
    provision(&ask, NULL, 0, NULL);
    if (!ask.done) run_tasks();
    struct told t = told_by(&ask);
    assert_int_equal(t.policy_status, 1);
    assert_true(t.has_data);
    provision(&ack, t.key, 1, NULL);
    run_tasks();
    struct told done = told_by(&ack);
    assert_int_equal(done.policy_status, 1);
    assert_false(done.has_data);
    assert_string_not_equal(done.key, t.key);
    memcpy(key, done.key, sizeof done.key);
}

static void user_done(struct user_set *u)
{
    u->priv = u;
}

enum gate_result set_user(const char *user, bool enabled, bool remove)
{
    struct user_set u = {.act = remove ? USER_REMOVE : enabled ? USER_ENABLE : USER_DISABLE,
                         .actor = "uid 0", .done = user_done};
    snprintf(u.user, sizeof u.user, "%s", user);
    gate_set_user(gate, &u);
    run_tasks();
    assert_ptr_equal(u.priv, &u);
    return u.result;
}

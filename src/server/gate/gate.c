/* The gate's way: parse, authenticate, user enabled, then the machine (judge.c, provision.c),
 * then dispatch. */
#include "src/server/gate/gate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "src/server/gate/inner.h"
#include "src/server/gate/rules/rules_admin.h"
#include "src/server/gate/trail/keeper.h"
#include "src/server/gate/trail/track.h"
#include "src/server/observe/log.h"

static void call_free(void *data)
{
    struct gate_call *gc = data;
    if (gc->call.free_data) gc->call.free_data(gc->call.data);
    step_free(gc->step);
    device_release(gc->call.device);
    resident_drop(&gc->resident);
    if (gc->big_body) {
        pv_arena_destroy(&gc->call.arena);
        gc->call.arena = gc->head;
    }
    if (gc->big_head) pv_arena_destroy(&gc->call.arena);
    free(gc);
}

/* ---- dispatch ---- */
static void dispatch(struct gate_call *gc)
{
    struct call *c = &gc->call;
    const struct command *command = &c->gate->commands_served[c->req.cmd];
    void (*serve)(struct call *) = c->inbox_only ? command->quarantined : command->serve;
    if (http_is_gone(c->http)) {
        call_http(c, 503, 0); /* reaches nobody; ends the exchange */
        return;
    }
    if (!serve || c->req.version < pv_cmd_info(c->req.cmd)->first) {
        call_http(c, 501, 0);
        return;
    }
    if (command->raw && !c->inbox_only ? call_has_body(c) : call_decode(c)) serve(c);
}

static void command(struct call *c)
{
    if (c->req.cmd == PV_CMD_Provision)
        provision_serve(c);
    else
        judge_command(gate_call_of(c), dispatch);
}

/* ---- who ---- */
static void user_refused(struct gate_call *gc)
{
    struct call *c = &gc->call;
    if (track_may_tell(c->gate, c->user, time(NULL)))
        LOG(LOG_INFO, call_session(c), "user-disabled", KV_TEXT("user", c->user));
    if (gc->verified == command)
        call_refuse(c, 126);
    else
        call_http(c, 403, 0);
}

static void user_is_there(struct gate_call *gc)
{
    struct call *c = &gc->call;
    struct shard *s = table_lock(c->gate->table, c->user);
    bool enabled = !gc->resident.owner->disabled;
    table_unlock(s);
    if (enabled)
        gc->verified(c);
    else if (!gc->checked && store_is_shared(c->gate->store))
        call_check(gc, user_is_there); /* another server may have let the user in again */
    else
        user_refused(gc);
}

static void authenticated(struct gate_call *gc)
{
    memcpy(gc->call.user, gc->check.user, sizeof gc->call.user);
    call_believe(gc, user_is_there);
}

static void log_login(const struct gate_call *gc)
{
    static const char *const verbs[] = {
        [AUTH_BAD] = "login-refused",
        [AUTH_LATER] = "login-put-off",
        [AUTH_FAILED] = "login-not-verified",
    };
    const struct auth_check *q = &gc->check;
    const struct kv why = KV_TEXT("why", q->why);
    LOG(LOG_INFO, call_session(&gc->call), verbs[q->verdict], KV_TEXT("user", q->user),
        KV_TEXT("peer", q->peer), *q->why ? why : (struct kv){0});
}

static void auth_done(struct auth_check *check)
{
    struct gate_call *gc = check->priv;
    if (check->verdict != AUTH_OK && (*check->user || *check->why)) log_login(gc);
    switch (check->verdict) {
    case AUTH_OK: authenticated(gc); return;
    case AUTH_BAD: call_unauthorized(&gc->call); return;
    case AUTH_LATER: call_http(&gc->call, 503, check->retry_after); return;
    case AUTH_FAILED: call_http(&gc->call, 503, RETRY_AFTER_S); return;
    }
}

void call_authenticate(struct gate_call *gc)
{
    struct call *c = &gc->call;
    gc->check.authorization = http_field(c->http, "Authorization");
    gc->check.peer = http_client(c->http);
    /* Looked at only where it counts: it costs the verification of a signature. */
    if (auth_kinds(c->gate->auth) & 1u << AUTH_CERTIFICATE)
        gc->check.certificate = http_certificate(c->http, &gc->check.certificate_len);
    gc->check.done = auth_done;
    gc->check.priv = gc;
    if (auth_start(c->gate->auth, &gc->check))
        auth_done(&gc->check);
    else
        call_wait(c, NULL);
}

const char *call_authorization(const struct call *c)
{
    const struct gate_call *gc = gate_call_of((struct call *)c);
    const char *said = http_field(c->http, "Authorization");
    bool theirs = said && gc->check.by_certificate && !auth_is_of(c->gate->auth, said, c->user);
    return theirs ? NULL : said;
}

/* ---- what ---- */
static enum pv_err parse_into(struct gate_call *gc, const char *target,
                              struct pv_request_fault *fault)
{
    struct http_exchange *x = gc->call.http;
    const struct pv_request_head head = {
        .target = target,
        .protocol_version = http_field(x, "MS-ASProtocolVersion"),
        .policy_key = http_field(x, "X-MS-PolicyKey"),
        .accept_multipart = http_field(x, "MS-ASAcceptMultiPart"),
    };
    *fault = (struct pv_request_fault){0};
    return pv_request_parse(&gc->call.arena, &head, &gc->call.req, fault);
}

enum pv_err call_parse(struct gate_call *gc, const char *target, struct pv_request_fault *fault)
{
    enum pv_err err = parse_into(gc, target, fault);
    if (err != PV_E_NOMEM) return err;
    err = pv_arena_create(&gc->call.arena, HEAD_ARENA_MOST);
    gc->big_head = err == PV_OK;
    return err ? err : parse_into(gc, target, fault);
}

void call_parse_refused(struct gate_call *gc, enum pv_err err, const struct pv_request_fault *fault)
{
    struct call *c = &gc->call;
    LOG(LOG_INFO, call_session(c), "request-refused", KV_TEXT("peer", http_client(c->http)),
        KV_UINT("http", fault->http), KV_UINT("status", fault->status),
        KV_TEXT("why", fault->text ? fault->text : pv_err_text(err)));
    if (err == PV_E_NOMEM)
        call_http(c, gc->big_head ? 414 : 503, gc->big_head ? 0 : RETRY_AFTER_S);
    else if (fault->http == 200)
        call_refuse(c, fault->status);
    else
        call_http(c, fault->http, 0);
}

struct gate_call *call_begin(struct gate *g, struct http_exchange *x,
                             void (*verified)(struct call *c))
{
    atomic_fetch_add_explicit(&g->requests, 1, memory_order_relaxed);
    struct gate_call *gc = malloc(sizeof *gc);
    if (!gc) {
        http_reply(x, &(struct http_reply){.status = 503, .retry_after = RETRY_AFTER_S});
        return NULL;
    }
    memset(gc, 0, offsetof(struct gate_call, block));
    pv_arena_init(&gc->call.arena, gc->block, sizeof gc->block);
    gc->call.http = x;
    gc->call.gate = g;
    gc->verified = verified;
    http_set_data(x, gc, call_free);
    return gc;
}

/* A request line that is no ActiveSync is told before the login: it says nothing about users or
 * devices. */
static void serve(struct http_exchange *x, void *ctx)
{
    static const struct http_field allow[] = {{"Allow", "OPTIONS,POST"}, {0}};
    struct gate *g = ctx;
    bool options = strcmp(http_method(x), "OPTIONS") == 0;
    struct gate_call *gc = call_begin(g, x, options ? g->options : command);
    if (!gc) return;
    struct pv_request_fault fault;
    enum pv_err err = call_parse(gc, http_target(x), &fault);
    if (err && fault.http == 404)
        call_parse_refused(gc, err, &fault);
    else if (options)
        call_authenticate(gc);
    else if (strcmp(http_method(x), "POST") != 0)
        call_http_with(&gc->call, 405, allow);
    else if (err)
        call_parse_refused(gc, err, &fault);
    else
        call_authenticate(gc);
}

void gate_verify_user(struct gate *g, struct http_exchange *x, void (*verified)(struct call *c))
{
    struct gate_call *gc = call_begin(g, x, verified);
    if (gc) call_authenticate(gc);
}

size_t gate_body_max(const struct config *c)
{
    return config_is_gateway(c) ? c->upstream.body_max : c->body_max;
}

struct http_handler gate_handler(struct gate *g)
{
    return (struct http_handler){.serve = serve,
                                 .ctx = g,
                                 .body_max = gate_body_max(g->config),
                                 .body_whole =
                                     config_is_gateway(g->config) ? GATEWAY_BODY_WHOLE : 0};
}

/* ---- the gate itself ---- */
const struct config *gate_config(const struct gate *g)
{
    return config_now(g->config);
}

const struct heart *gate_heart(const struct gate *g)
{
    return keeper_heart(g->keeper);
}

struct store *gate_store(const struct gate *g)
{
    return g->store;
}

struct auth *gate_auth(const struct gate *g)
{
    return g->auth;
}

const char *gate_versions(const struct gate *g)
{
    const struct spoken *s = g->spoken;
    return s->text;
}

const char *gate_commands(const struct gate *g)
{
    return g->commands;
}

int64_t call_first_seen(const struct call *c)
{
    struct shard *s = table_lock(c->gate->table, c->user);
    int64_t at = c->device->first_seen;
    table_unlock(s);
    return at;
}

/* The configuration's choices are versions. */
static enum pv_version version_of(const char *text, enum pv_version otherwise)
{
    enum pv_version v;
    return text && pv_version_parse(text, strlen(text), &v) ? v : otherwise;
}

/* Ascending, no blanks: two clients fall back to 2.5 otherwise. false: no memory. */
static bool speak(struct gate *g, const struct config *c)
{
    struct spoken *s = calloc(1, sizeof *s);
    if (!s) return false;
    s->least = version_of(c->protocol_version_min, PV_V2_5);
    s->most = version_of(c->protocol_version_max, PV_VERSION_COUNT - 1);
    size_t at = 0;
    for (int v = (int)s->least; v <= (int)s->most; v++)
        at += (size_t)snprintf(s->text + at, sizeof s->text - at, "%s%s", at ? "," : "",
                               pv_version_text((enum pv_version)v));
    s->before = g->spoken;
    g->spoken = s;
    return true;
}

static void speak_no_more(struct gate *g)
{
    for (struct spoken *s = g->spoken, *before; s; s = before) {
        before = s->before;
        free(s);
    }
}

bool gate_reconfigure(struct gate *g, const struct config *before)
{
    const struct config *c = config_now(g->config);
    bool ok = true;
    if (strcmp(c->protocol_version_min, before->protocol_version_min) != 0 ||
        strcmp(c->protocol_version_max, before->protocol_version_max) != 0)
        ok = speak(g, c);
    g->notify = c->notify.program || c->notify.url;
    rules_judge_again(g);
    return ok;
}

static void list_commands(struct gate *g)
{
    size_t at = 0;
    g->commands[0] = '\0';
    for (int i = 0; i < PV_CMD_COUNT; i++)
        if (g->commands_served[i].serve || i == PV_CMD_Provision)
            at += (size_t)snprintf(g->commands + at, sizeof g->commands - at, "%s%s", at ? "," : "",
                                   pv_cmd_info((enum pv_cmd)i)->name);
}

void gate_register(struct gate *g, const struct command *commands, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct command *to = &g->commands_served[commands[i].cmd];
        to->cmd = commands[i].cmd;
        if (commands[i].serve) {
            to->serve = commands[i].serve;
            to->raw = commands[i].raw;
        }
        if (commands[i].quarantined) to->quarantined = commands[i].quarantined;
    }
    list_commands(g);
}

void gate_on_options(struct gate *g, void (*options)(struct call *c))
{
    g->options = options;
}

void gate_rest(struct gate *g)
{
    if (g) expiry_wait(g->expiry);
}

void gate_stop(struct gate *g)
{
    if (g) atomic_store_explicit(&g->ending, true, memory_order_relaxed);
}

void gate_destroy(struct gate *g)
{
    if (!g) return;
    gate_stop(g);
    pool_destroy(g->walks);
    lists_destroy(g); /* from here on nobody is heard */
    keeper_stop(g->keeper);
    residents_destroy(g->residents);
    expiry_destroy(g->expiry);
    gate_save_all(g);
    keeper_destroy(g->keeper);
    table_destroy(g->table);
    claims_destroy(g->claims);
    bells_destroy(g);
    speak_no_more(g);
    pthread_mutex_destroy(&g->admin_mutex);
    pthread_mutex_destroy(&g->count_mutex);
    free(g);
}

bool gate_start(struct gate *g, char *error, size_t error_cap)
{
    if (keeper_start(g->keeper)) return true;
    snprintf(error, error_cap, "no thread to keep the trails of devices");
    return false;
}

void gate_revision_given(struct gate *g, uint64_t revision)
{
    uint64_t last = g->last_revision;
    while (last < revision && !atomic_compare_exchange_weak(&g->last_revision, &last, revision)) {
    }
}

struct gate *gate_create(const struct config *c, struct auth *a, struct store *s, char *error,
                         size_t error_cap)
{
    struct gate *g = calloc(1, sizeof *g);
    if (!g) {
        snprintf(error, error_cap, "out of memory");
        return NULL;
    }
    g->config = c;
    g->auth = a;
    g->store = s;
    g->options = call_options;
    g->notify = c->notify.program || c->notify.url;
    pthread_mutex_init(&g->admin_mutex, NULL);
    pthread_mutex_init(&g->count_mutex, NULL);
    bells_init(g);
    list_commands(g);
    g->table = table_create();
    g->keeper = keeper_create(g);
    g->claims = claims_create();
    g->residents = residents_create(g);
    g->walks = pool_create("walks", WALKS_AT_ONCE, WALKS_WAITING_MAX);
    g->expiry = expiry_create(g);
    bool made =
        speak(g, c) && g->table && g->keeper && g->claims && g->residents && g->walks && g->expiry;
    if (made && lists_create(g, error, error_cap) && gate_load(g, error, error_cap)) return g;
    if (!made) snprintf(error, error_cap, "out of memory");
    gate_destroy(g);
    return NULL;
}

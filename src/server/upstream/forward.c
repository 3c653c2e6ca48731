/* Commands that the gate has let in are passed on to the user's upstream, and its answer comes back. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/server/observe/log.h"
#include "src/server/upstream/forward_inner.h"
#include "src/server/upstream/nature.h"

#define RETRY_AFTER_S 10
#define WAIT_GRACE_S 60 /* that an upstream may be late beyond the wait that was asked for */
#define HELD_MAX ((size_t)16 * 1024) /* of an answer, before it becomes a stream */
#define HELD_FIRST 2048
#define HELD_MS 20                          /* for an answer that does not say how long it is */
#define PASSED_OVER_MAX ((size_t)64 * 1024) /* of an answer that is not passed on */

static const uint8_t no_body[1];

/* One call on its way. Freed with the call. */
struct forward {
    struct fetch fetch;
    struct gateway *gateway;
    struct call *call;
    struct upstream *upstream;
    struct gate_waiter waiter;
    struct timer refresh; /* the policy's refresh interval ends a wait, the gate a long body */
    struct timer flush;
    uint8_t *held; /* of the answer, until it is sent or becomes a stream */
    size_t held_len, held_cap;
    uint32_t key;   /* of the upstream, as it was sent */
    bool again;     /* the command was sent before, and the upstream was satisfied since */
    bool asked;     /* the upstream is */
    bool waits;     /* the waiter is there */
    bool elsewhere; /* it went where the upstream has sent the user */
    unsigned hops;
    bool began; /* the answer is a stream */
    size_t body_len;
    uint8_t body[]; /* of a request that waits; else it is that of the exchange */
};

static void forward_free(void *data)
{
    struct forward *w = data;
    free(w->held);
    free(w);
}

static struct forward *forward_of(struct fetch *f)
{
    return CONTAINER_OF(f, struct forward, fetch);
}

static struct forward *forward_of_exchange(struct http_exchange *x)
{
    return ((struct call *)http_data(x))->data;
}

/* ---- the end ---- */

/* Nothing calls any more. */
static void let_go(struct forward *w)
{
    timer_stop(worker_self(), &w->flush);
    timer_stop(worker_self(), &w->refresh);
    if (w->waits) gate_wait_remove(w->call->gate, &w->waiter);
    if (w->waits) http_on_stop(w->call->http, NULL);
    w->waits = false;
    if (w->asked) {
        fetch_cancel(&w->fetch);
        upstream_left(w->upstream);
    }
    w->asked = false;
}

/* The phone has gone, or the server stops: the upstream's work ends at once. */
static void gone(struct call *c)
{
    struct forward *w = c->data;
    let_go(w);
    if (w->began)
        http_reply_end(c->http, false);
    else
        call_http(c, 503, RETRY_AFTER_S);
}

/* A wait of the phone is over; what is under way otherwise has until the stop's limit. */
static void server_ends(struct http_exchange *x)
{
    struct forward *w = forward_of_exchange(x);
    if (w->began) return;
    let_go(w);
    call_hang_up(w->call);
}

static void log_failure(const struct forward *w, unsigned http, const char *why)
{
    const struct call *c = w->call;
    if (c->device && !call_may_log(c)) return;
    LOG(LOG_WARN, call_session(c), "upstream-failed", KV_TEXT("user", c->user),
        KV_TEXT("url", w->upstream->url), KV_UINT("http", http), KV_TEXT("why", why));
}

static void failed(struct forward *w, enum fetch_result result)
{
    static const unsigned answers[] = {
        [FETCH_OK] = 200,      [FETCH_UNREACHABLE] = 503, [FETCH_BUSY] = 503,
        [FETCH_TIMEOUT] = 504, [FETCH_CUT] = 502,         [FETCH_NO_MEMORY] = 503};
    unsigned http = answers[result];
    log_failure(w, http, w->fetch.error);
    call_http(w->call, http, http == 503 ? RETRY_AFTER_S : 0);
}

/* It does not take the login (any more). */
static void login_refused(struct call *c)
{
    const char *authorization = http_field(c->http, "Authorization");
    if (authorization) auth_forget(gate_auth(c->gate), authorization);
    LOG(LOG_INFO, call_session(c), "upstream-refuses-login", KV_TEXT("user", c->user));
    call_unauthorized(c);
}

static void answer(struct forward *w)
{
    struct told_fields t;
    told_fields_make(&t, w->gateway, w->call, w->upstream, &w->fetch);
    call_reply(w->call, &(struct http_reply){.status = w->fetch.status,
                                             .body = w->held,
                                             .len = w->held_len,
                                             .fields = t.at,
                                             .as_is = true});
}

/* ---- an upstream that demands provisioning ---- */

static bool ask_command_again(struct forward *w);
static bool ask_options(struct forward *w);

static void leave_demand(struct call *c)
{
    const struct forward *w = c->data;
    if (demand_leave(w->gateway->demands, c)) call_http(c, 503, RETRY_AFTER_S);
}

static void satisfied(struct forward *w)
{
    w->again = true;
    if (!ask_command_again(w)) call_http(w->call, 503, 1);
}

static void come_to_terms(struct call *c, enum demand_result result, unsigned status)
{
    struct forward *w = c->data;
    if (http_is_gone(c->http))
        call_http(c, 503, RETRY_AFTER_S);
    else if (result == DEMAND_ASK)
        call_judge_again(c);
    else if (result == DEMAND_REFUSED && status == 401)
        login_refused(c);
    else if (result == DEMAND_REFUSED && status == 403)
        call_http(c, 403, 0);
    else if (result == DEMAND_REFUSED)
        call_refuse(c, status);
    else if (result == DEMAND_FAILED)
        call_http(c, 503, status);
    else
        satisfied(w);
}

static bool is_held_refusal(const struct forward *w, unsigned *status_out)
{
    return w->call->device &&
           demand_refuses(w->call->req.cmd, w->fetch.status, w->held, w->held_len, status_out);
}

/* Satisfied, it refuses the same command again: the device can do nothing about that. */
static void refused_by_upstream(struct forward *w, unsigned status)
{
    if (w->again) {
        log_failure(w, 503, "it asks for provisioning again and again");
        call_http(w->call, 503, RETRY_AFTER_S);
        return;
    }
    demand_settle(w->gateway->demands, w->call, w->key, w->fetch.status, status, leave_demand,
                  come_to_terms);
}

/* Followed in the phone's place, which would go past the gate. A body that was passed on as it came cannot
 * be said again: the phone does that. */
static void sent_on(struct forward *w)
{
    struct call *c = w->call;
    uint64_t length;
    bool followed =
        w->hops < LOCATION_HOPS_MAX && upstream_sends_on(w->upstream, c->user, &w->fetch);
    if (!followed) {
        log_failure(w, 502, "it sends the user on, and there is nowhere to go");
        call_http(c, 502, 0);
        return;
    }
    w->hops++;
    if (http_body_is_stream(c->http, &length))
        call_http(c, 503, 1);
    else if (!(c->device ? ask_command_again(w) : ask_options(w)))
        call_http(c, 503, RETRY_AFTER_S);
}

static void done(struct fetch *f, enum fetch_result result)
{
    struct forward *w = forward_of(f);
    unsigned status;
    w->asked = false;
    upstream_ended(w->upstream, result, f, w->elsewhere);
    if (w->elsewhere && result == FETCH_UNREACHABLE)
        location_forget(w->upstream->set->locations, w->call->user);
    let_go(w);
    if (w->began && result != FETCH_OK) log_failure(w, f->status, f->error);
    if (w->began)
        http_reply_end(w->call->http, result == FETCH_OK);
    else if (upstream_refuses_login(w->upstream, f->status))
        login_refused(w->call);
    else if (result != FETCH_OK)
        failed(w, result);
    else if (f->status == 451)
        sent_on(w);
    else if (is_held_refusal(w, &status))
        refused_by_upstream(w, status);
    else
        answer(w);
}

/* ---- the answer as a stream ---- */

static void room_again(struct http_exchange *x)
{
    fetch_go_on(&forward_of_exchange(x)->fetch);
}

static bool pass(struct forward *w, const void *bytes, size_t len)
{
    struct http_exchange *x = w->call->http;
    if (http_reply_room(x) < len) {
        http_reply_wait(x, room_again);
        return false;
    }
    http_reply_write(x, bytes, len);
    return true;
}

static void begin_stream(struct forward *w)
{
    struct told_fields t;
    told_fields_make(&t, w->gateway, w->call, w->upstream, &w->fetch);
    w->began = true;
    timer_stop(worker_self(), &w->flush);
    call_reply_begin(w->call, &(struct http_reply){.status = w->fetch.status, .fields = t.at},
                     w->fetch.length);
    http_reply_write(w->call->http, w->held, w->held_len);
    free(w->held);
    w->held = NULL;
    w->held_cap = w->held_len = 0;
}

static void shut_out(struct timer *t);

/* What has waited for news may have been blocked since, as far as anybody can tell. */
static bool is_believed(const struct forward *w)
{
    return !w->waits || gate_is_heard(w->call->gate);
}

static void flush(struct timer *t)
{
    struct forward *w = CONTAINER_OF(t, struct forward, flush);
    unsigned status;
    if (!is_believed(w))
        timer_set(worker_self(), &w->refresh, 1, shut_out);
    else if (!is_held_refusal(w, &status))
        begin_stream(w);
}

static bool hold(struct forward *w, const void *bytes, size_t len)
{
    if (w->held_cap - w->held_len < len) {
        size_t cap = w->held_cap ? w->held_cap : HELD_FIRST;
        if (w->fetch.length != UINT64_MAX) cap = (size_t)w->fetch.length;
        while (cap - w->held_len < len) cap *= 2;
        uint8_t *grown = realloc(w->held, cap);
        if (!grown) return false;
        w->held = grown;
        w->held_cap = cap;
    }
    memcpy(w->held + w->held_len, bytes, len);
    w->held_len += len;
    return true;
}

/* What is not passed on must not go on for ever. */
static void head(struct fetch *f)
{
    const struct upstream *u = forward_of(f)->upstream;
    if (upstream_refuses_login(u, f->status) || f->status == 449 || f->status == 451)
        f->answer_max = PASSED_OVER_MAX;
}

/* A short answer is sent as a whole, which costs less, and can be looked into before. */
static bool data(struct fetch *f, const void *bytes, size_t len)
{
    struct forward *w = forward_of(f);
    bool known = f->length != UINT64_MAX;
    if (upstream_refuses_login(w->upstream, f->status) || f->status == 451) return true;
    if (!w->began && (known ? f->length <= HELD_MAX : w->held_len + len <= HELD_MAX) &&
        hold(w, bytes, len)) {
        if (!known && !w->flush.set) timer_set(worker_self(), &w->flush, HELD_MS, flush);
        return true;
    }
    if (f->status == 449) return true;
    if (!w->began && !is_believed(w)) { /* not from here, where the fetch would end under itself */
        timer_set(worker_self(), &w->refresh, 1, shut_out);
        return false;
    }
    if (!w->began) begin_stream(w);
    return pass(w, bytes, len);
}

/* ---- a wait ---- */

/* A Ping is told to read the folders, and the FolderSync gets the refusal. */
static void judge_again(struct forward *w)
{
    let_go(w);
    if (w->call->req.cmd == PV_CMD_Ping)
        call_status(w->call, 7);
    else
        call_judge_again(w->call);
}

static void sleep_on(struct forward *w);

static void refresh_due(struct timer *t)
{
    struct forward *w = CONTAINER_OF(t, struct forward, refresh);
    if (gate_ping_due(w->call))
        judge_again(w);
    else
        sleep_on(w);
}

static void sleep_on(struct forward *w)
{
    uint32_t in = gate_ping_due_in(w->call);
    if (in != UINT32_MAX) timer_set(worker_self(), &w->refresh, in * UINT64_C(1000), refresh_due);
}

/* A policy, a wipe or a block that comes about meanwhile ends the wait, unless the answer has begun. */
static void woken(struct gate_waiter *g)
{
    struct forward *w = CONTAINER_OF(g, struct forward, waiter);
    if (w->began) return;
    if (gate_ping_due(w->call))
        judge_again(w);
    else
        sleep_on(w); /* the refresh interval may be another one */
}

/* ---- the request's body as a stream ---- */

static void more_body(struct http_exchange *x)
{
    fetch_body_more(&forward_of_exchange(x)->fetch);
}

static void shut_out(struct timer *t)
{
    judge_again(CONTAINER_OF(t, struct forward, refresh));
}

/* A body may take its time, and the device be blocked meanwhile: the upstream gets no whole request
 * then. */
static size_t read_body(struct fetch *f, void *buf, size_t cap, bool *end_out)
{
    struct forward *w = forward_of(f);
    struct http_exchange *x = w->call->http;
    if (!w->began && (w->refresh.set || gate_ping_due(w->call))) {
        if (!w->refresh.set) timer_set(worker_self(), &w->refresh, 0, shut_out);
        return 0;
    }
    size_t n = http_body_take(x, buf, cap);
    *end_out = http_body_ended(x);
    if (n == 0 && !*end_out) http_body_wait(x, more_body);
    return n;
}

/* ---- the start ---- */

/* wait: the body must outlive the exchange's. NULL: no memory. */
static struct forward *make(struct gateway *g, struct call *c, bool wait)
{
    size_t len;
    const uint8_t *body = http_body(c->http, &len);
    size_t keep = wait ? len : 0;
    struct forward *w = malloc(sizeof *w + keep);
    if (!w) return NULL;
    *w = (struct forward){.gateway = g, .call = c, .body_len = keep};
    if (keep) memcpy(w->body, body, keep);
    c->data = w;
    c->free_data = forward_free;
    return w;
}

static bool start(struct forward *w, struct fetch_ask *a)
{
    const struct config *config = config_now(w->gateway->config);
    a->peer = w->upstream->peer;
    a->stall_ms = config->upstream.stall_timeout * 1000;
    w->fetch = (struct fetch){.read = read_body, .head = head, .data = data, .done = done};
    w->asked = fetch_start(w->gateway->upstreams->fetcher, &w->fetch, a);
    if (w->asked) upstream_begun(w->upstream);
    return w->asked;
}

static bool ask(struct forward *w, const struct nature *n)
{
    struct call *c = w->call;
    const struct config *config = config_now(w->gateway->config);
    struct sent_fields fields;
    char url[UPSTREAM_TARGET_MAX], place[PUBLIC_URL_ROOM];
    unsigned head_s = n->wait_s ? n->wait_s + WAIT_GRACE_S : config->upstream.timeout;
    struct fetch_ask a = {.method = "POST",
                          .url = url,
                          .fields = fields.at,
                          .body = w->body,
                          .len = w->body_len,
                          .head_ms = head_s * 1000,
                          .once = n->once,
                          .lean = n->wait_s > 0};
    w->elsewhere = upstream_place(w->upstream, c->user, place);
    if (!upstream_target(place, &c->req, url)) return false;
    w->key = demand_key(w->gateway->demands, c);
    sent_fields_make(&fields, w->gateway, c, &c->req, w->key);
    a.streamed = http_body_is_stream(c->http, &a.length);
    if (!a.streamed && !n->wait_s) a.body = http_body(c->http, &a.len);
    return start(w, &a);
}

static bool ask_options(struct forward *w)
{
    struct sent_fields fields;
    char place[PUBLIC_URL_ROOM];
    w->elsewhere = upstream_place(w->upstream, w->call->user, place);
    sent_fields_make(&fields, w->gateway, w->call, NULL, 0);
    return start(
        w, &(struct fetch_ask){.method = "OPTIONS",
                               .url = place,
                               .fields = fields.at,
                               .head_ms = config_now(w->gateway->config)->upstream.timeout * 1000});
}

/* Of the user; NULL: there is none, or it is down, and the call is answered. */
static struct upstream *upstream_for(struct gateway *g, struct call *c)
{
    struct upstream *u = upstream_of(g->upstreams, c->user);
    unsigned down = u ? upstream_down(u) : RETRY_AFTER_S;
    if (!u && (!c->device || call_may_log(c)))
        LOG(LOG_WARN, call_session(c), "no-upstream", KV_TEXT("user", c->user),
            KV_TEXT("why", "no server is configured for the user's domain"));
    if (down) call_http(c, 503, down);
    return down ? NULL : u;
}

/* What changes from here on wakes it. */
static void watch(struct forward *w)
{
    w->waiter.wake = woken;
    gate_wait_add(w->call, &w->waiter);
    w->waits = true;
    http_on_stop(w->call->http, server_ends);
    sleep_on(w);
    if (gate_ping_due(w->call)) judge_again(w); /* it became due on the way here */
}

/* Not a body that was passed on as it came. */
static bool ask_command_again(struct forward *w)
{
    struct call *c = w->call;
    size_t len;
    uint64_t length;
    const uint8_t *body = http_body(c->http, &len);
    if (http_body_is_stream(c->http, &length)) return false;
    if (gate_ping_due(c)) { /* the gate let it in some time ago */
        judge_again(w);
        return true;
    }
    if (w->body_len) {
        body = w->body;
        len = w->body_len;
    }
    const struct nature n = command_nature(c->req.cmd, len ? body : no_body, len);
    w->held_len = 0;
    if (!ask(w, &n)) return false;
    call_wait(c, gone);
    if (n.wait_s) watch(w);
    return true;
}

/* What the upstream could not be satisfied with a moment ago. true: the call is answered. */
static bool stands(struct gateway *g, struct call *c)
{
    enum demand_result result;
    unsigned status;
    if (!demand_stands(g->demands, c, &result, &status)) return false;
    come_to_terms(c, result, status);
    return true;
}

void forward_command(struct gateway *g, struct call *c)
{
    size_t len;
    uint64_t length;
    const uint8_t *body = http_body(c->http, &len);
    bool stream = http_body_is_stream(c->http, &length);
    const struct nature n = command_nature(c->req.cmd, stream ? NULL : len ? body : no_body, len);
    if (stream && n.wait_s) { /* what waits keeps its body */
        call_http(c, 413, 0);
        return;
    }
    struct upstream *u = upstream_for(g, c);
    if (!u || stands(g, c)) return;
    struct forward *w = make(g, c, n.wait_s > 0);
    if (w) w->upstream = u;
    if (!w || !ask(w, &n)) {
        call_http(c, 503, RETRY_AFTER_S);
        return;
    }
    call_wait(c, gone);
    if (n.wait_s) watch(w);
}

void forward_options(struct gateway *g, struct call *c)
{
    struct upstream *u = upstream_for(g, c);
    if (!u) return;
    struct forward *w = make(g, c, false);
    if (w) w->upstream = u;
    if (w && ask_options(w))
        call_wait(c, gone);
    else
        call_http(c, 503, RETRY_AFTER_S);
}

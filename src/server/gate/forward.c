/* Forward-auth: a proxy that carries requests itself asks first, with a request of its own whose
 * header fields describe that of the device. The steps are the gate's; what differs is that there
 * is no body, that nothing is dispatched, and how a refusal is told. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "src/lib/base/text.h"
#include "src/lib/eas/request.h"
#include "src/server/gate/inner.h"
#include "src/server/observe/log.h"

#define NAMES_MAX 32 /* of parameters */

/* ---- answers ---- */

struct http_reply forward_reply(const struct gate_call *gc, const struct http_reply *r)
{
    struct http_reply told = {
        .status = r->status, .fields = r->fields, .retry_after = r->retry_after};
    if (gc->passed || r->status == 401) return told;
    /* Whatever it is, the device must hear it from the gate itself. */
    if (gc->forward == FORWARD_AGAIN) return (struct http_reply){.status = 403};
    /* A Ping that is told by Status 7 to come with another command, which will be refused. */
    if (r->status < 400) told = (struct http_reply){.status = 449};
    return told;
}

/* Visible ASCII but for "%" stays. */
static void put_encoded(const char *text, char *out, size_t cap)
{
    struct pv__out o;
    pv__out_init(&o, out, cap);
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        char escape[4];
        snprintf(escape, sizeof escape, "%%%02X", *p);
        if (*p > ' ' && *p < 0x7f && *p != '%')
            pv__out_bytes(&o, p, 1);
        else
            pv__out_text(&o, escape);
    }
    (void)!pv__out_end(&o, NULL);
}

static void pass(struct gate_call *gc)
{
    struct call *c = &gc->call;
    char user[3 * AUTH_USER_MAX];
    if (c->inbox_only) { /* the one message that it may see is here */
        call_http(c, 403, 0);
        return;
    }
    put_encoded(c->user, user, sizeof user);
    gc->passed = true;
    const struct http_field fields[] = {
        {"X-Provost-User", user}, {"X-Provost-Device", c->req.device_id}, {0}};
    call_http_with(c, 204, fields);
}

/* ---- judging ---- */

enum passing { PASSES, REFUSED, DOUBTED };

/* Nothing is written down, and no device is made. */
static enum passing would_pass(struct gate_call *gc)
{
    struct call *c = &gc->call;
    struct shard *s = table_lock(c->gate->table, c->user);
    struct device *d = owner_device(shard_owner(s, c->user), c->req.device_id);
    const struct revision *policy = call_policy(c, s, d);
    if (!policy) {
        table_unlock(s);
        return REFUSED;
    }
    const struct pv_server_in in = judge_facts(gc, policy, PV_EV_COMMAND, time(NULL));
    struct pv_partnership p = {0};
    struct pv_server_out out;
    if (d) {
        device_judge_access(c->gate, s, d);
        device_partnership(d, &p);
    }
    enum pv_err err = pv_server_step(&p, &in, &out);
    enum passing result = !err && out.action == PV_ACT_ALLOW ? PASSES : REFUSED;
    if (result == REFUSED && call_may_doubt(gc, d))
        result = DOUBTED;
    else if (result == REFUSED && d)
        call_denied(gc, d);
    table_unlock(s);
    return result;
}

static void judge_relayed(struct gate_call *gc)
{
    switch (gc->forward == FORWARD_AGAIN ? would_pass(gc) : PASSES) {
    case PASSES: judge_command(gc, pass); return;
    case REFUSED: call_http(&gc->call, 403, 0); return;
    case DOUBTED: call_check(gc, judge_relayed); return;
    }
}

static void judge(struct call *c)
{
    judge_relayed(gate_call_of(c));
}

/* What the gate answers itself. A Ping, too, where it can: it is woken by what concerns its device, and
 * costs the server behind nothing. */
static bool is_ours(const struct gate_call *gc)
{
    enum pv_cmd cmd = gc->call.req.cmd;
    return cmd == PV_CMD_Provision || (cmd == PV_CMD_Ping && gc->forward == FORWARD_AGAIN);
}

/* ---- the question ---- */

/* What the device has sent. One proxy sets the first pair, another the second; both together are a
 * device that sets the one that its proxy does not. */
struct described {
    const char *method, *target;
};

static bool describe(const struct http_exchange *x, struct described *out)
{
    const struct described original = {http_field(x, "X-Original-Method"),
                                       http_field(x, "X-Original-URI")};
    const struct described forwarded = {http_field(x, "X-Forwarded-Method"),
                                        http_field(x, "X-Forwarded-Uri")};
    bool first = original.method || original.target;
    bool second = forwarded.method || forwarded.target;
    *out = first ? original : forwarded;
    return first != second && out->method && out->target;
}

/* A server behind reads the query anew: of two of a name it may take the other one, it may decode names,
 * or have further marks that part or end a query. */
static bool is_read_alike(const char *target)
{
    struct {
        const char *at;
        size_t len;
    } names[NAMES_MAX];
    struct pv__target t;
    size_t count = 0;
    pv__target_split(target, &t);
    if (!t.query) return true;
    if (strpbrk(t.query, ";#")) return false;
    for (const char *p = t.query; *p; p += strcspn(p, "&"), p += *p == '&') {
        size_t len = strcspn(p, "=&");
        if (len == 0) continue;
        if (count == NAMES_MAX) return false;
        for (size_t i = 0; i < len; i++)
            if (!pv__is_alnum((unsigned char)p[i]) && !strchr("-_", p[i])) return false;
        for (size_t i = 0; i < count; i++)
            if (pv__equal_nocase(names[i].at, names[i].len, p, len)) return false;
        names[count].at = p;
        names[count++].len = len;
    }
    return true;
}

static void ask(struct gate_call *gc)
{
    struct call *c = &gc->call;
    struct described d;
    struct pv_request_fault fault;
    if (!describe(c->http, &d)) {
        LOG(LOG_WARN, call_session(c), "forward-auth-unclear", KV_TEXT("peer", http_peer(c->http)),
            KV_TEXT("why", "not exactly one of X-Original-Method and -URI, or X-Forwarded-Method "
                           "and -Uri"));
        call_http(c, 400, 0);
        return;
    }
    if (strcmp(d.method, "POST") != 0) { /* OPTIONS, which the gate answers itself */
        call_http(c, 403, 0);
        return;
    }
    enum pv_err err = call_parse(gc, d.target, &fault);
    if (err)
        call_parse_refused(gc, err, &fault);
    else if (c->req.form == PV_QUERY_PLAIN && !is_read_alike(d.target))
        call_parse_refused(
            gc, PV_E_MALFORMED,
            &(struct pv_request_fault){.http = 400, .text = "the query can be read in two ways"});
    else if (is_ours(gc))
        call_http(c, 403, 0);
    else
        call_authenticate(gc);
}

/* Of those that are configured, on this machine, or through a socket. */
static bool is_proxy(const struct http_exchange *x)
{
    const char *peer = http_peer(x);
    return http_proxied(x) || strcmp(peer, "unix") == 0 || strcmp(peer, "::1") == 0 ||
           strncmp(peer, "127.", 4) == 0;
}

static void serve(struct http_exchange *x, void *ctx)
{
    static const struct http_field allow[] = {{"Allow", "GET,HEAD"}, {0}};
    struct gate *g = ctx;
    struct pv__target t;
    pv__target_split(http_target(x), &t);
    /* Some proxies hand on the device's own query; it is none of these words alone. */
    bool relayed = t.query && strcmp(t.query, "answer=http") == 0;
    if (!is_proxy(x)) {
        gate_handler(g).serve(x, g);
    } else if (strcmp(http_method(x), "GET") != 0 && strcmp(http_method(x), "HEAD") != 0) {
        http_reply(x, &(struct http_reply){.status = 405, .fields = allow});
    } else {
        struct gate_call *gc = call_begin(g, x, judge);
        if (!gc) return;
        gc->forward = relayed ? FORWARD_HTTP : FORWARD_AGAIN;
        ask(gc);
    }
}

struct http_handler gate_forward_handler(struct gate *g)
{
    return (struct http_handler){.serve = serve, .ctx = g};
}

/* A request and its answer, between libmicrohttpd's callbacks and the handlers. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/server/http/engine.h"
#include "src/server/http/head.h"
#include "src/server/observe/log.h"

#define PACK_MS 1000 /* who waits that long waits longer */

static atomic_uint_fast64_t sessions;

/* ---- what handlers ask ---- */

uint64_t http_session(const struct http_exchange *x)
{
    return x->session;
}

const char *http_method(const struct http_exchange *x)
{
    conn_unpack(x->conn);
    return x->method;
}

const char *http_target(const struct http_exchange *x)
{
    return x->target;
}

const char *http_field(const struct http_exchange *x, const char *name)
{
    if (!x->mhd) return NULL;
    conn_unpack(x->conn);
    return MHD_lookup_connection_value(x->mhd, MHD_HEADER_KIND, name);
}

struct visit {
    void (*each)(void *ctx, const char *name, const char *value);
    void *ctx;
};

static enum MHD_Result visit_field(void *cls, enum MHD_ValueKind kind, const char *name,
                                   const char *value)
{
    const struct visit *v = cls;
    (void)kind;
    v->each(v->ctx, name, value ? value : "");
    return MHD_YES;
}

void http_each_field(const struct http_exchange *x,
                     void (*each)(void *ctx, const char *name, const char *value), void *ctx)
{
    struct visit v = {each, ctx};
    conn_unpack(x->conn);
    if (x->mhd) MHD_get_connection_values(x->mhd, MHD_HEADER_KIND, visit_field, &v);
}

void http_set_data(struct http_exchange *x, void *data, void (*free_fn)(void *data))
{
    x->data = data;
    x->free_data = free_fn;
}

void *http_data(const struct http_exchange *x)
{
    return x->data;
}

bool http_is_gone(const struct http_exchange *x)
{
    return x->is_gone;
}

const struct http_listen *exchange_config(const struct http_exchange *x)
{
    return &x->conn->terms->cfg;
}

/* ---- the daemon looks at the connection, or not ---- */

void exchange_suspend(struct http_exchange *x)
{
    if (x->suspended) return;
    x->suspended = true;
    MHD_suspend_connection(x->mhd);
    conn_set_deadline(x->conn, PACK_MS);
}

void exchange_resume(struct http_exchange *x)
{
    if (!x->suspended) return;
    x->suspended = false;
    conn_unpack(x->conn);
    x->conn->lane->due = true;
    MHD_resume_connection(x->mhd);
}

/* ---- what the handler is told, and when ---- */

bool exchange_is_held(const struct http_exchange *x)
{
    return (x->waiting || x->begun) && !x->ended;
}

void exchange_due(struct http_exchange *x)
{
    struct station *s = x->conn->lane->station;
    if (x->due_at) return;
    x->due_next = s->due;
    if (s->due) s->due->due_at = &x->due_next;
    x->due_at = &s->due;
    s->due = x;
}

static void not_due(struct http_exchange *x)
{
    if (!x->due_at) return;
    *x->due_at = x->due_next;
    if (x->due_next) x->due_next->due_at = x->due_at;
    x->due_next = NULL;
    x->due_at = NULL;
}

void http_wait(struct http_exchange *x, void (*gone)(struct http_exchange *x))
{
    struct http_conn *c = x->conn;
    x->gone = gone;
    x->waiting = true;
    if (x->stops && c->lane->station->draining) exchange_due(x);
    if (!gone) return;
    if (x->is_gone || c->peer_closed) {
        /* Not from here: the caller is not done with what gone will end. */
        x->gone_due = true;
        exchange_due(x);
    }
}

void http_on_stop(struct http_exchange *x, void (*stops)(struct http_exchange *x))
{
    x->stops = stops;
    if (stops && x->conn->lane->station->draining) exchange_due(x);
}

void exchange_tell_gone(struct http_exchange *x)
{
    if (x->is_gone) return;
    x->is_gone = x->gone_due = true;
    exchange_due(x);
}

static void exchange_free(struct http_exchange *x)
{
    not_due(x);
    if (x->free_data) x->free_data(x->data);
    if (x->held) MHD_destroy_response(x->held);
    body_free(x);
    window_free(&x->out);
    free(x);
}

static void call_once(struct http_exchange *x, void (**fn)(struct http_exchange *))
{
    void (*call)(struct http_exchange *) = *fn;
    *fn = NULL;
    call(x);
}

static void tell(struct http_exchange *x)
{
    if (x->gone_due) {
        x->gone_due = false;
        x->is_gone = true;
        if (x->gone) x->gone(x);
    }
    /* Without a gone of its own the handler learns it from these. */
    if (x->is_gone && x->gone) return;
    if (x->stops && !x->is_gone && x->conn->lane->station->draining) {
        call_once(x, &x->stops);
        return; /* it may have ended the exchange */
    }
    if (x->more && (x->body.len || x->stage == AT_END || x->is_gone)) call_once(x, &x->more);
    if (x->room && exchange_is_held(x) && http_reply_room(x) >= HTTP_WINDOW / 2)
        call_once(x, &x->room);
}

bool exchange_run_due(struct station *s)
{
    struct http_exchange *now = s->due, *x;
    s->due = NULL;
    if (now) now->due_at = &now; /* what becomes due again waits for the next turn */
    while ((x = now) != NULL) {
        struct http_conn *c = x->conn;
        not_due(x);
        if (exchange_is_held(x)) {
            tell(x);
        } else if (!x->mhd) {
            exchange_free(x);
            conn_let_go(c);
        }
    }
    return s->due != NULL;
}

/* ---- the request comes in ---- */

void *exchange_on_target(void *cls, const char *target, struct MHD_Connection *mhd)
{
    (void)cls;
    struct http_conn *c =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
    size_t len = target ? strlen(target) : 0;
    struct http_exchange *x = calloc(1, sizeof *x + len + 1);
    if (!x) return NULL; /* the connection is closed when its head is there */
    if (len) {
        memcpy(x->target, target, len);
        /* The daemon would split the query into arguments that nobody asks it for, 64 bytes of a
         * connection's memory each. It is in its own buffer, which it overwrites anyway. */
        char *query = strchr(target, '?');
        if (query) query[strlen("?")] = '\0';
    }
    x->conn = c;
    x->mhd = mhd;
    x->target_at = target;
    x->session = atomic_fetch_add_explicit(&sessions, 1, memory_order_relaxed) + 1;
    conn_renew_terms(c);
    /* The first head's deadline began with the connection. */
    if (c->seen_request) conn_set_deadline(c, c->terms->cfg.head_ms);
    c->exchange = x;
    return x;
}

/* The head as it came over the wire, in out. 0 if the daemon's memory is not as head_restore
 * expects it. */
static size_t whole_head(const struct http_exchange *x, const char *version, char *out, size_t cap)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(x->mhd, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    if (!info || !x->target_at || x->target_at <= x->method || version <= x->target_at) return 0;
    struct head_remains r = {
        .bytes = x->method,
        .len = info->header_size,
        .target = x->target,
        .target_at = (size_t)(x->target_at - x->method),
        .version_at = (size_t)(version - x->method),
        .fields = (size_t)MHD_get_connection_values(x->mhd, MHD_HEADER_KIND, NULL, NULL)};
    return head_restore(&r, out, cap);
}

/* From the head on: the answer, a wait for the handler, or the body. */
static enum MHD_Result leave_head(struct http_exchange *x)
{
    bool stay = x->answered ? x->early : x->served && !x->reading;
    if (x->broken) return MHD_NO;
    if (x->queued) return MHD_YES;
    if (stay) {
        exchange_suspend(x);
        return MHD_YES;
    }
    x->stage = IN_BODY;
    if (!x->answered) conn_set_deadline(x->conn, exchange_config(x)->body_ms);
    return MHD_YES;
}

static void serve(struct http_exchange *x)
{
    const struct http_handler *h = &exchange_config(x)->handler;
    x->served = true;
    h->serve(x, h->ctx);
    if (!x->ended && !exchange_is_held(x))
        answer_plain(x, MHD_HTTP_INTERNAL_SERVER_ERROR, "the request was not answered", true);
}

static enum MHD_Result on_head(struct http_exchange *x, const char *version)
{
    struct http_conn *c = x->conn;
    struct station *s = c->lane->station;
    const struct http_handler *h = &exchange_config(x)->handler;
    struct head_facts facts = {0};
    size_t len = whole_head(x, version, s->scratch, sizeof s->scratch);
    enum head_fault fault = head_check(s->scratch, len, &facts);
    /* The daemon's memory for a connection begins with the first head, unless an empty line stood
     * before it. */
    if (!c->seen_request && c->first_is_text) c->pool = (char *)x->method;
    c->seen_request = true;
    x->body_length = facts.chunked ? UINT64_MAX : facts.length;
    x->http_1_0 = facts.http_1_0;
    bool too_large = facts.length > h->body_max;
    if (!fault) peer_read_proxy(x);
    x->early = fault || too_large || facts.expects_continue || facts.chunked;
    if (fault) c->linger = true;
    if (fault)
        answer_plain(x, head_fault_status(fault), head_fault_text(fault), true);
    else if (too_large)
        answer_plain(x, MHD_HTTP_CONTENT_TOO_LARGE, BODY_TOO_LARGE, true);
    else if (h->head)
        h->head(x, h->ctx);
    if (!x->answered && h->body_whole && facts.length > h->body_whole) {
        x->stream = true;
        serve(x);
    }
    return leave_head(x);
}

static enum MHD_Result on_whole(struct http_exchange *x)
{
    x->stage = AT_END;
    if (x->held && (!x->bodiless || x->ended)) {
        conn_set_deadline(x->conn, ANSWER_MS);
        answer_held(x);
    } else if (!x->served && !x->answered) {
        serve(x);
    } else if (x->more) {
        exchange_due(x);
    }
    if (x->broken) return MHD_NO;
    if (!x->queued) exchange_suspend(x);
    return MHD_YES;
}

enum MHD_Result exchange_on_request(void *cls, struct MHD_Connection *mhd, const char *url,
                                    const char *method, const char *version, const char *upload,
                                    size_t *upload_len, void **slot)
{
    struct http_exchange *x = *slot;
    (void)cls;
    (void)mhd;
    (void)url;
    if (!x) return MHD_NO;
    if (!x->head_done) {
        x->head_done = true;
        x->method = method;
        return on_head(x, version);
    }
    if (x->broken) return MHD_NO;
    if (x->stage == AT_HEAD) return leave_head(x);
    size_t len = *upload_len;
    *upload_len = 0;
    return len ? body_take_in(x, upload, len, serve) : on_whole(x);
}

void exchange_on_end(void *cls, struct MHD_Connection *mhd, void **slot,
                     enum MHD_RequestTerminationCode how)
{
    struct http_exchange *x = *slot;
    (void)cls;
    (void)mhd;
    if (!x) return;
    struct http_conn *c = x->conn;
    *slot = NULL;
    /* The daemon's own refusals (a broken chunk, a head that is too large) may meet a peer that
     * still sends. */
    if (how == MHD_REQUEST_TERMINATED_WITH_ERROR) c->linger = true;
    if (exchange_is_held(x)) {
        /* Closed by the daemon in the middle. The handler has to end it in its own time. */
        x->mhd = NULL;
        x->method = "";
        exchange_tell_gone(x);
    } else {
        c->exchange = NULL;
        exchange_free(x);
    }
    conn_await_next(c);
}

/* A request and its answer, between libmicrohttpd's callbacks and the handlers. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/server/http/encoding.h"
#include "src/server/http/engine.h"
#include "src/server/http/head.h"
#include "src/server/observe/log.h"

#define BODY_FIRST 1024                        /* of an announced length, so much is believed */
#define BODY_FREE ((size_t)16 * 1024)          /* of each body; what it takes beyond comes out of */
#define BODIES_MAX ((size_t)256 * 1024 * 1024) /* for all of them: nobody has logged in yet */
#define GZIP_MIN 256
#define PACK_MS 1000    /* who waits that long waits longer */
#define ANSWER_MS 30000 /* to take an answer, and at this pace: */
#define ANSWER_BYTES_A_MS 1
#define TOO_LARGE "the body is larger than this server takes"

#define TOO_MANY "there are too many large bodies under way"

static atomic_uint_fast64_t sessions;
static atomic_size_t bodies; /* bytes */

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
    conn_unpack(x->conn);
    return MHD_lookup_connection_value(x->mhd, MHD_HEADER_KIND, name);
}

const char *http_peer(const struct http_exchange *x)
{
    return x->conn->peer;
}

bool http_peer_uid(const struct http_exchange *x, uint32_t *uid_out)
{
    struct ucred peer;
    socklen_t len = sizeof peer;
    if (!x->conn->lane->endpoint->is_unix ||
        getsockopt(conn_fd(x->conn), SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0)
        return false;
    *uid_out = peer.uid;
    return true;
}

bool http_tls(const struct http_exchange *x)
{
    return x->conn->cert != NULL;
}

const uint8_t *http_body(const struct http_exchange *x, size_t *len_out)
{
    *len_out = x->body_len;
    return x->body;
}

static size_t beyond_free(size_t cap)
{
    return cap > BODY_FREE ? cap - BODY_FREE : 0;
}

void http_drop_body(struct http_exchange *x)
{
    atomic_fetch_sub(&bodies, beyond_free(x->body_cap));
    free(x->body);
    x->body = NULL;
    x->body_len = x->body_cap = 0;
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

static const struct http_listen *config_of(const struct http_exchange *x)
{
    return &x->conn->lane->endpoint->cfg;
}

/* ---- answers ---- */

static struct MHD_Response *make_response(struct http_exchange *x, const struct http_reply *r,
                                          bool *ok_out)
{
    struct MHD_Response *m = NULL;
    size_t packed_len;
    void *packed = NULL;
    bool vary = r->len >= GZIP_MIN, ok = true;
    if (vary && encoding_allows_gzip(http_field(x, MHD_HTTP_HEADER_ACCEPT_ENCODING)))
        packed = encoding_gzip(r->body, r->len, &packed_len);
    if (packed) {
        m = MHD_create_response_from_buffer(packed_len, packed, MHD_RESPMEM_MUST_FREE);
        if (!m) free(packed);
    } else {
        m = MHD_create_response_from_buffer(r->len, (void *)r->body, MHD_RESPMEM_MUST_COPY);
    }
    *ok_out = false;
    if (!m) return NULL;
    if (packed)
        ok &= MHD_add_response_header(m, MHD_HTTP_HEADER_CONTENT_ENCODING, "gzip") == MHD_YES;
    if (vary) ok &= MHD_add_response_header(m, MHD_HTTP_HEADER_VARY, "Accept-Encoding") == MHD_YES;
    if (r->type) ok &= MHD_add_response_header(m, MHD_HTTP_HEADER_CONTENT_TYPE, r->type) == MHD_YES;
    for (const struct http_field *f = r->fields; f && f->name; f++)
        ok &= MHD_add_response_header(m, f->name, f->value) == MHD_YES;
    if (r->retry_after) {
        char seconds[12];
        snprintf(seconds, sizeof seconds, "%u", r->retry_after);
        ok &= MHD_add_response_header(m, MHD_HTTP_HEADER_RETRY_AFTER, seconds) == MHD_YES;
    }
    if (r->close || x->conn->lane->station->draining)
        ok &= MHD_add_response_header(m, MHD_HTTP_HEADER_CONNECTION, "close") == MHD_YES;
    *ok_out = ok;
    return m;
}

/* Give an answer to the daemon; false: the connection must be closed instead. */
static bool queue(struct http_exchange *x, unsigned status, struct MHD_Response *m, size_t len)
{
    conn_set_deadline(x->conn, ANSWER_MS + len / ANSWER_BYTES_A_MS);
    x->conn->lane->due = true;
    return MHD_queue_response(x->mhd, status, m) == MHD_YES;
}

void http_reply(struct http_exchange *x, const struct http_reply *r)
{
    bool ok = false;
    conn_unpack(x->conn);
    struct MHD_Response *m = x->is_gone ? NULL : make_response(x, r, &ok);
    x->answered = true;
    if (ok && x->in_head) {
        x->held = m;
        x->held_status = r->status;
        return;
    }
    x->broken = !ok || !queue(x, r->status, m, r->len);
    if (m) MHD_destroy_response(m);
    if (x->waiting) {
        x->waiting = false;
        x->conn->lane->due = true;
        MHD_resume_connection(x->mhd);
    }
}

static void answer_plain(struct http_exchange *x, unsigned status, const char *why, bool close)
{
    char text[REFUSAL_MAX];
    const char *type;
    int n = conn_refusal(x->conn, status, why, text, &type);
    LOG(LOG_INFO, x->session, "refused", KV_TEXT("peer", x->conn->peer), KV_UINT("status", status),
        KV_TEXT("why", why));
    http_reply(x,
               &(struct http_reply){
                   .status = status, .type = type, .body = text, .len = (size_t)n, .close = close});
}

/* ---- waiting ---- */

void http_wait(struct http_exchange *x, void (*gone)(struct http_exchange *x))
{
    struct http_conn *c = x->conn;
    x->gone = gone;
    if (!x->waiting) {
        x->waiting = true;
        MHD_suspend_connection(x->mhd);
        conn_set_deadline(c, PACK_MS);
    }
    if (!gone) return;
    if (c->peer_closed || c->lane->station->draining) {
        /* Not from here: the caller is not done with what gone will end. */
        x->gone_due = true;
        conn_set_deadline(c, 1);
    }
}

void exchange_tell_gone(struct http_exchange *x)
{
    if (x->is_gone && !x->gone_due) return;
    x->is_gone = true;
    x->gone_due = false;
    if (x->gone) x->gone(x);
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
    /* The first head's deadline began with the connection. */
    if (c->seen_request) conn_set_deadline(c, c->lane->endpoint->cfg.head_ms);
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

static enum MHD_Result on_head(struct http_exchange *x, const char *version)
{
    struct http_conn *c = x->conn;
    struct station *s = c->lane->station;
    const struct http_handler *h = &config_of(x)->handler;
    struct head_facts facts = {0};
    size_t len = whole_head(x, version, s->scratch, sizeof s->scratch);
    enum head_fault fault = head_check(s->scratch, len, &facts);
    /* The daemon's memory for a connection begins with the first head, unless an empty line stood
     * before it. */
    if (!c->seen_request && c->first_is_text) c->pool = (char *)x->method;
    c->seen_request = true;
    x->in_head = true;
    bool at_once = fault || (facts.has_length && facts.length > h->body_max);
    if (fault)
        answer_plain(x, head_fault_status(fault), head_fault_text(fault), true);
    else if (at_once)
        answer_plain(x, MHD_HTTP_CONTENT_TOO_LARGE, TOO_LARGE, true);
    else if (h->head)
        h->head(x, h->ctx);
    x->in_head = false;
    if (x->broken) return MHD_NO;
    if (x->held && (at_once || facts.expects_continue || facts.chunked)) {
        /* Answered before the body is read, the daemon closes the connection. */
        struct MHD_Response *m = x->held;
        x->held = NULL;
        c->linger = facts.chunked || facts.length > 0 || fault;
        bool queued = queue(x, x->held_status, m, 0);
        MHD_destroy_response(m);
        return queued ? MHD_YES : MHD_NO;
    }
    x->body_first = facts.length && facts.length < BODY_FIRST ? (size_t)facts.length : BODY_FIRST;
    conn_set_deadline(c, config_of(x)->body_ms);
    return MHD_YES;
}

/* Room for that much. false: there is no memory, or others have taken it all. */
static bool body_grow(struct http_exchange *x, size_t cap)
{
    size_t more = beyond_free(cap) - beyond_free(x->body_cap);
    bool room = atomic_fetch_add(&bodies, more) + more <= BODIES_MAX;
    uint8_t *grown = room ? realloc(x->body, cap) : NULL;
    if (!grown) {
        atomic_fetch_sub(&bodies, more);
        return false;
    }
    x->body = grown;
    x->body_cap = cap;
    return true;
}

static bool body_add(struct http_exchange *x, const char *bytes, size_t len)
{
    if (x->body_cap - x->body_len < len) {
        size_t cap = x->body_cap ? x->body_cap : x->body_first;
        while (cap - x->body_len < len) cap *= 2;
        if (!body_grow(x, cap)) return false;
    }
    memcpy(x->body + x->body_len, bytes, len);
    x->body_len += len;
    return true;
}

/* The daemon takes no answer in the middle of a body. */
static enum MHD_Result body_refused(struct http_exchange *x, unsigned status, const char *why)
{
    conn_answer_raw(x->conn, status, why);
    x->answered = true;
    return MHD_NO;
}

static enum MHD_Result on_body(struct http_exchange *x, const char *bytes, size_t len)
{
    if (x->answered)
        return MHD_YES; /* read past, so that the connection goes on; on_head has bounded it */
    if (len > config_of(x)->handler.body_max - x->body_len)
        return body_refused(x, MHD_HTTP_CONTENT_TOO_LARGE, TOO_LARGE);
    if (!body_add(x, bytes, len)) return body_refused(x, MHD_HTTP_SERVICE_UNAVAILABLE, TOO_MANY);
    return MHD_YES;
}

static enum MHD_Result on_end(struct http_exchange *x)
{
    const struct http_handler *h = &config_of(x)->handler;
    if (x->held) {
        struct MHD_Response *m = x->held;
        x->held = NULL;
        x->broken = !queue(x, x->held_status, m, 0);
        MHD_destroy_response(m);
    } else if (!x->answered) {
        h->serve(x, h->ctx);
        if (!x->answered && !x->waiting)
            answer_plain(x, MHD_HTTP_INTERNAL_SERVER_ERROR, "the request was not answered", true);
    }
    return x->broken ? MHD_NO : MHD_YES;
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
    if (*upload_len) {
        size_t len = *upload_len;
        *upload_len = 0;
        return on_body(x, upload, len);
    }
    return on_end(x);
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
    c->exchange = NULL;
    /* The daemon's own refusals (a broken chunk, a head that is too large) may meet a peer that
     * still sends. */
    if (how == MHD_REQUEST_TERMINATED_WITH_ERROR) c->linger = true;
    if (x->free_data) x->free_data(x->data);
    if (x->held) MHD_destroy_response(x->held);
    http_drop_body(x);
    free(x);
    if (c->lane->station->draining)
        shutdown(conn_fd(c), SHUT_RDWR);
    else
        conn_set_deadline(c, c->peer_closed ? HALF_CLOSED_MS : c->lane->endpoint->cfg.idle_ms);
}

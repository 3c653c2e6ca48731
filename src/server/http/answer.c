/* Answers: whole ones, and those that come piece by piece. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/server/http/encoding.h"
#include "src/server/http/engine.h"
#include "src/server/observe/log.h"

#define GZIP_MIN 256
#define BLOCK ((size_t)32 * 1024) /* the daemon sends a streamed answer in such pieces */
#define OUT_FIRST ((size_t)2048)  /* of the window, to begin with */

/* ---- the head ---- */

static bool add(struct MHD_Response *m, const char *name, const char *value)
{
    return MHD_add_response_header(m, name, value) == MHD_YES;
}

static bool add_fields(const struct http_exchange *x, const struct http_reply *r,
                       struct MHD_Response *m)
{
    bool ok = true;
    if (r->type) ok &= add(m, MHD_HTTP_HEADER_CONTENT_TYPE, r->type);
    for (const struct http_field *f = r->fields; f && f->name; f++) ok &= add(m, f->name, f->value);
    if (r->retry_after) {
        char seconds[12];
        snprintf(seconds, sizeof seconds, "%u", r->retry_after);
        ok &= add(m, MHD_HTTP_HEADER_RETRY_AFTER, seconds);
    }
    if (r->close || (x->conn->lane->station->draining && !exchange_config(x)->farewell_ms))
        ok &= add(m, MHD_HTTP_HEADER_CONNECTION, "close");
    return ok;
}

/* NULL: no memory, or a field that cannot be sent. */
static struct MHD_Response *make_whole(const struct http_exchange *x, const struct http_reply *r)
{
    struct MHD_Response *m = NULL;
    size_t packed_len;
    void *packed = NULL;
    bool vary = r->len >= GZIP_MIN && !r->as_is, ok = true;
    if (vary && encoding_allows_gzip(http_field(x, MHD_HTTP_HEADER_ACCEPT_ENCODING)))
        packed = encoding_gzip(r->body, r->len, &packed_len);
    if (packed) {
        m = MHD_create_response_from_buffer(packed_len, packed, MHD_RESPMEM_MUST_FREE);
        if (!m) free(packed);
    } else {
        m = MHD_create_response_from_buffer(r->len, (void *)r->body, MHD_RESPMEM_MUST_COPY);
    }
    if (!m) return NULL;
    if (packed) ok &= add(m, MHD_HTTP_HEADER_CONTENT_ENCODING, "gzip");
    if (vary) ok &= add(m, MHD_HTTP_HEADER_VARY, "Accept-Encoding");
    if (ok && add_fields(x, r, m)) return m;
    MHD_destroy_response(m);
    return NULL;
}

/* ---- to the daemon ---- */

static uint64_t pace_ms(uint64_t len)
{
    return ANSWER_MS + len / ANSWER_BYTES_A_MS;
}

void answer_held(struct http_exchange *x)
{
    struct http_conn *c = x->conn;
    struct MHD_Response *m = x->held;
    x->held = NULL;
    x->queued = MHD_queue_response(x->mhd, x->held_status, m) == MHD_YES;
    x->broken = !x->queued;
    /* Before the body was read, the daemon closes the connection after the answer. */
    if (x->stage == AT_HEAD && x->body_length) c->linger = true;
    c->lane->due = true;
    MHD_destroy_response(m);
}

/* To the daemon, if it takes an answer now; else the body is read to its end. */
static void place(struct http_exchange *x, uint64_t in_ms)
{
    if (x->stage == IN_BODY || (x->stage == AT_HEAD && !x->early)) {
        body_pass_begin(x);
        exchange_resume(x);
    } else if (!x->bodiless || x->ended) {
        conn_set_deadline(x->conn, in_ms);
        answer_held(x);
        exchange_resume(x);
    }
}

/* m: NULL closes the connection instead. */
static void give(struct http_exchange *x, unsigned status, struct MHD_Response *m, uint64_t in_ms)
{
    x->answered = true;
    body_pass_over(x);
    x->held = m;
    x->held_status = status;
    if (m) {
        place(x, in_ms);
        return;
    }
    /* The daemon asks us once more when it is resumed; in a body, when it has read. */
    x->broken = true;
    if (x->stage == IN_BODY) shutdown(conn_fd(x->conn), SHUT_RDWR);
    exchange_resume(x);
}

/* The handler is done with it. */
static void end(struct http_exchange *x)
{
    x->ended = true;
    if (!x->mhd) exchange_due(x); /* to be freed, not under the handler's feet */
}

void http_reply(struct http_exchange *x, const struct http_reply *r)
{
    conn_unpack(x->conn);
    if (x->mhd) give(x, r->status, x->is_gone ? NULL : make_whole(x, r), pace_ms(r->len));
    end(x);
}

void http_hang_up(struct http_exchange *x)
{
    if (x->mhd) give(x, 0, NULL, 0);
    end(x);
}

void answer_plain(struct http_exchange *x, unsigned status, const char *why, bool close)
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

/* ---- piece by piece ---- */

static bool known(const struct http_exchange *x)
{
    return x->out_length != UINT64_MAX;
}

/* What is written reaches nobody. */
static bool is_void(const struct http_exchange *x)
{
    return !x->mhd || x->is_gone || x->broken || x->bodiless;
}

/* Where neither a length nor chunks say how long the answer is, its end is that of the connection.
 * A peer can tell a cut one by a reset only. */
static void reset(const struct http_exchange *x)
{
    struct sockaddr none = {.sa_family = AF_UNSPEC};
    if (x->http_1_0 && !known(x)) (void)connect(conn_fd(x->conn), &none, sizeof none);
}

/* Handed to the daemon now. Of an answer whose length is known it would end the exchange with the last
 * byte; that is kept back until the handler has said that it is whole. */
static size_t ready(const struct http_exchange *x)
{
    bool last = known(x) && x->out_written == x->out_length && !(x->ended && x->whole);
    return last && x->out.len ? x->out.len - 1 : x->out.len;
}

static void tell_room(struct http_exchange *x)
{
    if (x->room && http_reply_room(x) >= HTTP_WINDOW / 2) exchange_due(x);
}

/* A connection that the daemon closes while it asks for more of an answer is left in its lists, closed
 * half. Resumed, it is looked at once more, and cleared away. */
static ssize_t closing(const struct http_exchange *x, ssize_t how)
{
    MHD_suspend_connection(x->mhd);
    MHD_resume_connection(x->mhd);
    x->conn->lane->due = true;
    return how;
}

static ssize_t on_pull(void *cls, uint64_t at, char *buf, size_t cap)
{
    struct http_exchange *x = cls;
    size_t n = ready(x);
    (void)at;
    if (x->is_gone || x->broken || (n == 0 && x->ended && !x->whole)) {
        reset(x);
        return closing(x, MHD_CONTENT_READER_END_WITH_ERROR);
    }
    if (n > 0) {
        n = window_take(&x->out, buf, cap < n ? cap : n);
        conn_set_deadline(x->conn, pace_ms(n));
        tell_room(x);
        return (ssize_t)n;
    }
    if (!x->ended) {
        exchange_suspend(x);
        return 0;
    }
    conn_set_deadline(x->conn, pace_ms(0));
    return x->http_1_0 ? closing(x, MHD_CONTENT_READER_END_OF_STREAM)
                       : MHD_CONTENT_READER_END_OF_STREAM;
}

static bool has_no_body(const struct http_exchange *x, unsigned status)
{
    return x->out_length == 0 || status < MHD_HTTP_OK || status == MHD_HTTP_NO_CONTENT ||
           status == MHD_HTTP_NOT_MODIFIED || strcmp(http_method(x), MHD_HTTP_METHOD_HEAD) == 0;
}

void http_reply_begin(struct http_exchange *x, const struct http_reply *head, uint64_t length)
{
    struct MHD_Response *m = NULL;
    x->begun = true;
    x->out_length = length;
    if (!x->mhd) return;
    conn_unpack(x->conn);
    /* Without a body the daemon would end the exchange with the head; that has to wait for the handler. */
    x->bodiless = has_no_body(x, head->status);
    if (!x->is_gone)
        m = MHD_create_response_from_callback(known(x) ? length : MHD_SIZE_UNKNOWN, BLOCK, on_pull,
                                              x, NULL);
    if (m && !add_fields(x, head, m)) {
        MHD_destroy_response(m);
        m = NULL;
    }
    /* To HEAD, and with 304, it would send the end of chunks. Not so if it uses none; then the connection
     * ends with the answer. */
    if (m && x->bodiless && !known(x) && head->status != MHD_HTTP_NO_CONTENT)
        (void)MHD_set_response_options(m, MHD_RF_HTTP_1_0_COMPATIBLE_STRICT, MHD_RO_END);
    give(x, head->status, m, pace_ms(0));
}

size_t http_reply_room(const struct http_exchange *x)
{
    return is_void(x) ? HTTP_WINDOW : HTTP_WINDOW - x->out.len;
}

void http_reply_wait(struct http_exchange *x, void (*room)(struct http_exchange *x))
{
    x->room = room;
    tell_room(x);
}

void http_reply_write(struct http_exchange *x, const void *bytes, size_t len)
{
    if (is_void(x)) return;
    if (known(x) && len > x->out_length - x->out_written)
        len = (size_t)(x->out_length - x->out_written);
    if (len <= http_reply_room(x) &&
        window_grow(&x->out, window_cap_for(&x->out, len, OUT_FIRST, HTTP_WINDOW))) {
        window_put(&x->out, bytes, len);
        x->out_written += len;
    } else {
        x->broken = true;
    }
    if (x->queued) exchange_resume(x);
}

void http_reply_end(struct http_exchange *x, bool whole)
{
    x->whole = whole && (!known(x) || x->out_written == x->out_length);
    end(x);
    if (!x->mhd) return;
    if (x->bodiless && x->held)
        place(x, pace_ms(0));
    else if (x->queued)
        exchange_resume(x);
}

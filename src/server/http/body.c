/* The body of a request: kept whole up to a limit, beyond it a stream through a window. */
#include "src/server/http/engine.h"

#define BODY_FIRST 1024                        /* of an announced length, so much is believed */
#define BODY_FREE ((size_t)16 * 1024)          /* of each body; what it takes beyond comes out of */
#define BODIES_MAX ((size_t)256 * 1024 * 1024) /* for all of them: nobody has logged in yet */
#define TOO_MANY "there are too many large bodies under way"

static atomic_size_t bodies; /* bytes */

static size_t beyond_free(size_t cap)
{
    return cap > BODY_FREE ? cap - BODY_FREE : 0;
}

void body_free(struct http_exchange *x)
{
    atomic_fetch_sub(&bodies, beyond_free(x->body.cap));
    window_free(&x->body);
}

/* So much of the body is kept: of a stream, until the peer is held back. */
static size_t limit(const struct http_exchange *x)
{
    const struct http_handler *h = &exchange_config(x)->handler;
    if (x->stream) return h->body_whole > HTTP_WINDOW ? h->body_whole : HTTP_WINDOW;
    return h->body_whole ? h->body_whole : h->body_max;
}

/* What the daemon has read when the peer is held back is taken as well. Left in its memory, it would
 * grow its buffer there with each time, until no answer fits. */
static size_t most(const struct http_exchange *x)
{
    return limit(x) + (x->stream ? POOL_SIZE : 0);
}

/* false: there is no memory, or others have taken it all. */
static bool grow(struct http_exchange *x, size_t cap)
{
    size_t more = beyond_free(cap) - beyond_free(x->body.cap);
    bool room = atomic_fetch_add(&bodies, more) + more <= BODIES_MAX;
    if (room && window_grow(&x->body, cap)) return true;
    atomic_fetch_sub(&bodies, more);
    return false;
}

/* ---- what nobody wants ---- */

void body_pass_over(struct http_exchange *x)
{
    x->skip = true;
    x->more = NULL;
    if (x->stream) body_free(x);
}

static void pass_on(struct http_exchange *x)
{
    uint64_t now = worker_now_ms(x->conn->lane->worker), rest = exchange_config(x)->body_ms;
    uint64_t left = x->pass_until > now ? x->pass_until - now : 0;
    conn_set_deadline(x->conn, left < rest ? left : rest);
}

void body_pass_begin(struct http_exchange *x)
{
    uint64_t left = x->body_length == UINT64_MAX ? 0 : x->body_length - x->body_seen;
    x->pass_until = worker_now_ms(x->conn->lane->worker) + exchange_config(x)->body_ms +
                    left / ANSWER_BYTES_A_MS;
    pass_on(x);
}

/* ---- what comes ---- */

static bool keep(struct http_exchange *x, const char *bytes, size_t len)
{
    size_t first = x->body_length < BODY_FIRST ? (size_t)x->body_length : BODY_FIRST;
    if (!grow(x, window_cap_for(&x->body, len, first, most(x)))) return false;
    window_put(&x->body, bytes, len);
    return true;
}

/* The daemon takes no answer in the middle of a body. */
static enum MHD_Result refused(struct http_exchange *x, unsigned status, const char *why)
{
    conn_answer_raw(x->conn, status, why);
    x->answered = true;
    return MHD_NO;
}

static bool becomes_stream(const struct http_exchange *x, size_t more)
{
    size_t whole = exchange_config(x)->handler.body_whole;
    return !x->stream && !x->skip && whole && more > whole - x->body.len;
}

enum MHD_Result body_take_in(struct http_exchange *x, const char *bytes, size_t len,
                             void (*serve)(struct http_exchange *x))
{
    const struct http_listen *l = exchange_config(x);
    bool starts = becomes_stream(x, len);
    if (len > l->handler.body_max - x->body_seen)
        return refused(x, MHD_HTTP_CONTENT_TOO_LARGE, BODY_TOO_LARGE);
    x->body_seen += len;
    x->stream |= starts;
    if (!x->skip && !keep(x, bytes, len)) return refused(x, MHD_HTTP_SERVICE_UNAVAILABLE, TOO_MANY);
    if (starts) serve(x);
    if (x->broken) return MHD_NO;
    if (x->answered) pass_on(x);
    if (!x->stream || x->skip) return MHD_YES;
    if (x->more) exchange_due(x);
    if (x->reading && x->body.len < limit(x))
        conn_set_deadline(x->conn, l->body_ms);
    else
        exchange_suspend(x);
    return MHD_YES;
}

/* ---- what handlers ask ---- */

const uint8_t *http_body(const struct http_exchange *x, size_t *len_out)
{
    *len_out = x->body.len;
    return x->body.len ? x->body.bytes + x->body.at : NULL;
}

void http_drop_body(struct http_exchange *x)
{
    body_free(x);
    x->skip = x->stream;
}

bool http_body_is_stream(const struct http_exchange *x, uint64_t *length_out)
{
    *length_out = x->body_length;
    return x->stream;
}

/* The peer is read on when half of the window is free again, not for every byte. */
static void pull(struct http_exchange *x)
{
    x->reading = true;
    if (!x->suspended || !x->stream || x->skip || x->stage == AT_END) return;
    if (x->body.len > limit(x) / 2) return;
    conn_set_deadline(x->conn, exchange_config(x)->body_ms);
    exchange_resume(x);
}

size_t http_body_take(struct http_exchange *x, void *buf, size_t cap)
{
    size_t n = window_take(&x->body, buf, cap);
    pull(x);
    return n;
}

bool http_body_ended(const struct http_exchange *x)
{
    return x->stage == AT_END && x->body.len == 0;
}

void http_body_wait(struct http_exchange *x, void (*more)(struct http_exchange *x))
{
    x->more = more;
    pull(x);
    if (x->body.len || x->stage == AT_END) exchange_due(x);
}

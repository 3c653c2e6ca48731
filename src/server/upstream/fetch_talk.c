/* A request over a connection, and its answer. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>

#include "src/server/upstream/fetch_inner.h"
#include "src/server/upstream/fields.h"

#define ANSWER_FIRST 1024
#define LINE_FIRST 256
#define CHUNK_HEAD 10 /* "7fff\r\n" and room */
#define CHUNK_TAIL 7  /* "\r\n0\r\n\r\n" */

/* What has become of the run when a function returns. */
enum talk { GOES_ON, HELD /* by who asks */, ENDED /* run and conn are others' */ };

/* ---- ends ---- */

static enum talk fail(struct fetch_run *run, enum fetch_result result, const char *why)
{
    run->conn->failed = true;
    run_end(run, result, why);
    return ENDED;
}

/* The connection has ended. Nothing of an answer came, over one that was used before: it may just have
 * been closed by the peer, and a new one helps. */
static enum talk broken(struct fetch_run *run, const char *why)
{
    run->conn->failed = true;
    if (run->conn->used && !run->once && run->head.bytes == 0 && run->line_len == 0) {
        run_go_again(run);
        return ENDED;
    }
    return fail(run, FETCH_CUT, why);
}

static enum talk broken_errno(struct fetch_run *run)
{
    return broken(run, errno == EIO ? "its TLS connection broke" : strerror(errno));
}

static enum talk receive(struct fetch_run *run);

static uint64_t heard(const struct fetch_run *run)
{
    return run->answered + run->head.bytes + run->line_len;
}

/* It reads no more. Perhaps it has said why. */
static enum talk send_failed(struct fetch_run *run)
{
    int why = errno;
    uint64_t before = heard(run);
    enum talk t = receive(run);
    run->mute = true;
    if (t == ENDED || heard(run) != before) return t;
    errno = why;
    return broken_errno(run);
}

static bool all_sent(const struct fetch_run *run)
{
    if (run->mute) return false;
    if (run->sent < run->head_len + run->body_len) return false;
    return !run->streamed || (run->body_ended && run->piece_sent == run->piece_len);
}

/* May another request go over the connection? */
static bool keeps(const struct fetch_run *run)
{
    const char *connection = answer_head_field(&run->head, "Connection");
    return run->head.http_1_1 && run->kind != BODY_TO_END && all_sent(run) &&
           !(connection && field_list_has(connection, "close"));
}

/* rest: bytes behind the answer. */
static enum talk whole(struct fetch_run *run, size_t rest)
{
    if (rest > 0 || !keeps(run)) run->conn->failed = true;
    run_end(run, FETCH_OK, NULL);
    return ENDED;
}

/* ---- the answer's body ---- */

static bool collect(struct fetch_run *run, const uint8_t *bytes, size_t len)
{
    if (run->answer_cap - run->answer_len < len) {
        size_t cap = run->answer_cap ? run->answer_cap : ANSWER_FIRST;
        while (cap - run->answer_len < len) cap *= 2;
        uint8_t *grown = realloc(run->answer, cap);
        if (!grown) return false;
        run->answer = grown;
        run->answer_cap = cap;
    }
    memcpy(run->answer + run->answer_len, bytes, len);
    run->answer_len += len;
    return true;
}

/* taken_out: less than len when it is held back. */
static enum talk deliver(struct fetch_run *run, const uint8_t *bytes, size_t len, size_t *taken_out)
{
    struct fetch *f = run->fetch;
    *taken_out = 0;
    while (*taken_out < len) {
        size_t n = len - *taken_out < FETCH_PIECE ? len - *taken_out : FETCH_PIECE;
        if (f->answer_max && n > f->answer_max - run->answered)
            return fail(run, FETCH_CUT, "it is larger than what is taken");
        if (!f->data && !collect(run, bytes + *taken_out, n))
            return fail(run, FETCH_NO_MEMORY, "out of memory");
        if (f->data && !f->data(f, bytes + *taken_out, n)) {
            run->paused = true;
            return HELD;
        }
        run->answered += n;
        *taken_out += n;
    }
    return GOES_ON;
}

static enum talk by_length(struct fetch_run *run, const uint8_t *in, size_t len, size_t *used_out)
{
    size_t n = run->left < len ? (size_t)run->left : len;
    enum talk t = deliver(run, in, n, used_out);
    if (t == ENDED) return t;
    run->left -= *used_out;
    return run->left == 0 ? whole(run, len - *used_out) : t;
}

static enum talk by_chunks(struct fetch_run *run, const uint8_t *in, size_t len, size_t *used_out)
{
    size_t framing, data, taken;
    *used_out = 0;
    for (;;) {
        enum chunk_step step =
            chunks_step(&run->chunks, in + *used_out, len - *used_out, &framing, &data);
        *used_out += framing;
        if (step == CHUNK_BAD) return fail(run, FETCH_CUT, "a chunk of it is broken");
        if (step == CHUNK_END) return whole(run, len - *used_out);
        if (step == CHUNK_MORE) return GOES_ON;
        enum talk t = deliver(run, in + *used_out, data, &taken);
        if (t == ENDED) return t;
        chunks_taken(&run->chunks, taken);
        *used_out += taken;
        if (t == HELD) return t;
    }
}

/* ---- the answer's head ---- */

static enum talk head_done(struct fetch_run *run)
{
    struct fetch *f = run->fetch;
    unsigned status = run->head.status;
    f->status = status;
    f->length = run->head.length;
    if (status == 204 || status == 304)
        run->kind = BODY_NONE;
    else if (run->head.chunked)
        run->kind = BODY_CHUNKS;
    else
        run->kind = f->length == UINT64_MAX ? BODY_TO_END : BODY_LENGTH;
    run->left = f->length;
    run->limit_ms = run->stall_ms;
    if (run->limit_ms) run_watch_clock(run);
    if (f->head) f->head(f);
    return GOES_ON;
}

/* A part of a line that has not come to its end. */
static bool keep_line(struct fetch_run *run, const char *bytes, size_t len)
{
    if (run->line_cap - run->line_len < len) {
        size_t cap = run->line_cap ? run->line_cap : LINE_FIRST;
        while (cap - run->line_len < len) cap *= 2;
        char *grown = realloc(run->line, cap);
        if (!grown) return false;
        run->line = grown;
        run->line_cap = cap;
    }
    memcpy(run->line + run->line_len, bytes, len);
    run->line_len += len;
    return true;
}

static enum talk head_line(struct fetch_run *run, const char *line, size_t len)
{
    const char *why;
    switch (answer_head_line(&run->head, line, len, &why)) {
    case ANSWER_MORE: return GOES_ON;
    case ANSWER_DONE: return head_done(run);
    case ANSWER_BAD: return fail(run, FETCH_CUT, why);
    default: return fail(run, FETCH_NO_MEMORY, "out of memory");
    }
}

static enum talk head_lines(struct fetch_run *run, const uint8_t *in, size_t len, size_t *used_out)
{
    enum talk t = GOES_ON;
    *used_out = 0;
    while (t == GOES_ON && !run->head.done && *used_out < len) {
        const char *line = (const char *)in + *used_out;
        const char *end = memchr(line, '\n', len - *used_out);
        size_t n = end ? (size_t)(end + 1 - line) : len - *used_out;
        *used_out += n;
        if (run->line_len + n > ANSWER_HEAD_MAX)
            return fail(run, FETCH_CUT, "its head is too long");
        if ((!end || run->line_len) && !keep_line(run, line, n))
            return fail(run, FETCH_NO_MEMORY, "out of memory");
        if (!end) break;
        size_t whole_len = run->line_len ? run->line_len : n;
        const char *whole_line = run->line_len ? run->line : line;
        run->line_len = 0;
        t = head_line(run, whole_line, whole_len);
    }
    return t;
}

/* ---- bytes come ---- */

static enum talk hear(struct fetch_run *run, const uint8_t *in, size_t len, size_t *used_out)
{
    size_t n = 0;
    *used_out = 0;
    if (!run->head.done) {
        enum talk t = head_lines(run, in, len, used_out);
        if (t != GOES_ON || !run->head.done) return t;
    }
    in += *used_out;
    len -= *used_out;
    enum talk t;
    switch (run->kind) {
    case BODY_NONE: return whole(run, len);
    case BODY_LENGTH: t = by_length(run, in, len, &n); break;
    case BODY_CHUNKS: t = by_chunks(run, in, len, &n); break;
    default: t = deliver(run, in, len, &n); break;
    }
    if (t != ENDED) *used_out += n;
    return t;
}

static enum talk hear_end(struct fetch_run *run)
{
    if (run->head.done && run->kind == BODY_TO_END) return whole(run, 0);
    return broken(run, run->head.done         ? "its answer ended early"
                       : run->head.bytes == 0 ? "it closed the connection without an answer"
                                              : "it ended within its head");
}

/* Kept until who asks goes on. */
static bool keep_unread(struct conn *c, const uint8_t *bytes, size_t len)
{
    c->unread = malloc(len);
    if (!c->unread) return false;
    memcpy(c->unread, bytes, len);
    c->unread_at = 0;
    c->unread_len = len;
    return true;
}

static enum talk hear_unread(struct fetch_run *run)
{
    struct conn *c = run->conn;
    size_t used;
    uint8_t *bytes = c->unread;
    if (!bytes) return GOES_ON;
    /* Not the conn's while it is heard: an answer that is whole leaves nothing behind it. */
    size_t at = c->unread_at, len = c->unread_len;
    c->unread = NULL;
    enum talk t = hear(run, bytes + at, len - at, &used);
    if (t == HELD) {
        c->unread = bytes;
        c->unread_at = at + used;
        c->unread_len = len;
        return t;
    }
    free(bytes);
    return t;
}

/* ---- the request ---- */

static size_t fill(struct fetch_run *run, uint8_t *to, size_t cap)
{
    bool end = false;
    size_t n = run->fetch->read(run->fetch, to, cap, &end);
    run->body_ended = end;
    run->asked += n;
    run->starved = n == 0 && !end;
    run_progress(run);
    return n;
}

/* The next piece of a streamed body. false: it is not as long as was announced. */
static bool next_piece(struct fetch_run *run)
{
    bool chunked = run->length == UINT64_MAX;
    char head[CHUNK_HEAD + 1];
    run->piece_sent = run->piece_len = 0;
    if (!chunked) {
        run->piece_len = fill(run, run->piece, PIECE_MAX);
        return run->asked <= run->length && (!run->body_ended || run->asked == run->length);
    }
    size_t n = fill(run, run->piece + CHUNK_HEAD, PIECE_MAX - CHUNK_HEAD - CHUNK_TAIL);
    uint8_t *end = run->piece + CHUNK_HEAD + n;
    if (n > 0) {
        size_t digits = (size_t)snprintf(head, sizeof head, "%zx\r\n", n);
        run->piece_sent = CHUNK_HEAD - digits;
        memcpy(run->piece + run->piece_sent, head, digits);
        memcpy(end, "\r\n", 2);
        end += 2;
    } else {
        run->piece_sent = CHUNK_HEAD;
    }
    if (run->body_ended) {
        memcpy(end, "0\r\n\r\n", 5);
        end += 5;
    }
    run->piece_len = (size_t)(end - run->piece);
    return true;
}

static enum talk send_stream(struct fetch_run *run)
{
    for (;;) {
        while (run->piece_sent < run->piece_len) {
            ssize_t n = conn_send(run->conn, run->piece + run->piece_sent,
                                  run->piece_len - run->piece_sent, NULL, 0);
            if (n < 0 && errno == EAGAIN) return HELD;
            if (n < 0) return send_failed(run);
            run->piece_sent += (size_t)n;
            run_progress(run);
        }
        if (run->body_ended) return GOES_ON;
        if (!next_piece(run))
            return fail(run, FETCH_CUT, "the request's body is not as long as was announced");
        if (run->starved) return GOES_ON;
    }
}

/* HELD: by the peer, which does not read. */
static enum talk say(struct fetch_run *run)
{
    size_t all = run->head_len + run->body_len;
    while (run->sent < all) {
        size_t of_body = run->sent > run->head_len ? run->sent - run->head_len : 0;
        ssize_t n = conn_send(run->conn, run->text + run->sent,
                              run->sent < run->head_len ? run->head_len - run->sent : 0,
                              run->body + of_body, run->body_len - of_body);
        if (n < 0 && errno == EAGAIN) return HELD;
        if (n < 0) return send_failed(run);
        run->sent += (size_t)n;
        run_progress(run);
    }
    return run->streamed ? send_stream(run) : GOES_ON;
}

/* ---- both ---- */

/* A request is no longer sent once its answer comes: the
 * peer has seen enough of it. */
static void watch(struct fetch_run *run, bool send_held)
{
    bool sends = send_held && !run->head.done && !run->mute;
    uint32_t events = (run->paused ? 0 : EPOLLIN) | (sends ? EPOLLOUT : 0);
    if (!sock_watch(run->conn->sock, events)) fail(run, FETCH_NO_MEMORY, "out of memory");
}

static enum talk receive(struct fetch_run *run)
{
    struct station *s = run->station;
    struct conn *c = run->conn;
    size_t used;
    ssize_t n = conn_read(c, s->in, sizeof s->in);
    if (n < 0 && errno == EAGAIN) return GOES_ON;
    if (n < 0) return broken_errno(run);
    if (n == 0) return hear_end(run);
    run_progress(run);
    enum talk t = hear(run, s->in, (size_t)n, &used);
    if (t == HELD && used < (size_t)n && !keep_unread(c, s->in + used, (size_t)n - used))
        return fail(run, FETCH_NO_MEMORY, "out of memory");
    return t;
}

/* Of TLS, more may have been read from the socket than was asked for; the loop would not tell. */
static enum talk receive_all(struct fetch_run *run)
{
    enum talk t;
    bool tls = run->conn->tls;
    uint64_t before;
    do {
        before = heard(run);
        t = receive(run);
    } while (tls && t == GOES_ON && heard(run) != before);
    return t;
}

void talk_begin(struct fetch_run *run)
{
    enum talk t = say(run);
    if (t != ENDED) watch(run, t == HELD);
}

void talk_on_events(struct fetch_run *run, uint32_t events)
{
    enum talk t = GOES_ON;
    bool sends = !run->mute && !run->starved && !all_sent(run);
    if (run->paused) {
        sock_watch(run->conn->sock, 0); /* an error would be told again and again */
        return;
    }
    if (events & (EPOLLIN | EPOLLERR | EPOLLHUP)) t = receive_all(run);
    if (t == ENDED) return;
    if (sends && !run->head.done) t = say(run);
    if (t != ENDED) watch(run, t == HELD && !run->paused);
}

void talk_go_on(struct fetch_run *run)
{
    enum talk t = run->paused ? HELD : hear_unread(run);
    if (t == ENDED || run->paused) return;
    t = run->head.done || run->starved || run->mute ? GOES_ON : say(run);
    if (t != ENDED) watch(run, t == HELD);
}

/* Requests to other servers: answers of every kind, connections that are kept and that die, streams
 * both ways, limits, and the end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/fetch_server.h"

#define OK(text) "HTTP/1.1 200 OK\r\n" text

static char *at(const char *target)
{
    static char whole[256];
    snprintf(whole, sizeof whole, "%s%s", url, target);
    return whole;
}

/* ---- what is sent ---- */

static void test_request(void **state)
{
    (void)state;
    const struct http_field fields[] = {{"X-One", "1"},
                                        {"Content-Type", "a/b"},
                                        {"X-Empty", ""},
                                        {"Host", "elsewhere"},
                                        {"Content-Length", "7"},
                                        {"Transfer-Encoding", "chunked"},
                                        {"Expect", "100-continue"},
                                        {"Connection", "X-One"},
                                        {"X-Split", "a\r\nX-Evil: 1"},
                                        {"X Name", "b"},
                                        {0}};
    struct got *g = fetch_all(&(struct fetch_ask){.method = "POST",
                                                  .url = at("/a/../b?c=%2F&d#e"),
                                                  .fields = fields,
                                                  .body = "hello",
                                                  .len = 5});
    char want[512];
    assert_int_equal(g->result, FETCH_OK);
    assert_int_equal(g->status, 200);
    snprintf(want, sizeof want,
             "POST /a/../b?c=%%2F&d HTTP/1.1\r\nHost: %s\r\nX-One: 1\r\nContent-Type: a/b\r\n"
             "X-Empty:\r\nContent-Length: 5\r\n\r\nhello",
             url + strlen("http://"));
    assert_string_equal(g->body, want);
    g = fetch_all(&(struct fetch_ask){.method = "OPTIONS", .url = url});
    snprintf(want, sizeof want, "OPTIONS / HTTP/1.1\r\nHost: %s\r\n\r\n", url + strlen("http://"));
    assert_string_equal(g->body, want);
    g = fetch_all(&(struct fetch_ask){.method = "POST", .url = at("?q")});
    snprintf(want, sizeof want, "POST /?q HTTP/1.1\r\nHost: %s\r\nContent-Length: 0\r\n\r\n",
             url + strlen("http://"));
    assert_string_equal(g->body, want);
    assert_int_equal(connections, 1);
}

/* ---- what comes back ---- */

static void test_answers(void **state)
{
    (void)state;
    static const struct {
        const char *name, *answer;
        enum after after;
        enum fetch_result want;
        unsigned status;
        const char *body;
    } cases[] = {
        {"with length", OK("Content-Length: 3\r\n\r\nabc"), KEEP, FETCH_OK, 200, "abc"},
        {"empty", "HTTP/1.1 449 Retry\r\nContent-Length: 0\r\n\r\n", KEEP, FETCH_OK, 449, ""},
        {"no phrase", "HTTP/1.1 200\r\nContent-Length: 1\r\n\r\na", KEEP, FETCH_OK, 200, "a"},
        {"no content", "HTTP/1.1 204 None\r\n\r\n", KEEP, FETCH_OK, 204, ""},
        {"chunks",
         OK("Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1;x=y\r\nc\r\n0\r\nT: r\r\n\r\n"), KEEP,
         FETCH_OK, 200, "abc"},
        {"until the end", OK("\r\nabc"), CLOSE, FETCH_OK, 200, "abc"},
        {"HTTP/1.0", "HTTP/1.0 200 OK\r\n\r\nabc", CLOSE, FETCH_OK, 200, "abc"},
        {"interim answers",
         "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nContent-Length: 9\r\n\r\n" OK(
             "Content-Length: 1\r\n\r\na"),
         KEEP, FETCH_OK, 200, "a"},
        {"a coding stays", OK("Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc"), KEEP,
         FETCH_OK, 200, "abc"},
        {"short", OK("Content-Length: 4\r\n\r\nabc"), CLOSE, FETCH_CUT, 200, NULL},
        {"short chunks", OK("Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n"), CLOSE, FETCH_CUT, 200,
         NULL},
        {"broken chunk", OK("Transfer-Encoding: chunked\r\n\r\nzz\r\nab\r\n"), KEEP, FETCH_CUT, 200,
         NULL},
        {"nothing", "", CLOSE, FETCH_CUT, 0, NULL},
        {"half a head", "HTTP/1.1 200 OK\r\nContent-", CLOSE, FETCH_CUT, 0, NULL},
        {"two lengths", OK("Content-Length: 1\r\nContent-Length: 2\r\n\r\na"), KEEP, FETCH_CUT, 0,
         NULL},
        {"the same length twice", OK("Content-Length: 1\r\nContent-Length: 1\r\n\r\na"), KEEP,
         FETCH_CUT, 0, NULL},
        {"a list of lengths", OK("Content-Length: 1, 1\r\n\r\na"), KEEP, FETCH_CUT, 0, NULL},
        {"negative length", OK("Content-Length: -1\r\n\r\na"), KEEP, FETCH_CUT, 0, NULL},
        {"signed length", OK("Content-Length: +1\r\n\r\na"), KEEP, FETCH_CUT, 0, NULL},
        {"endless length", OK("Content-Length: 99999999999999999999\r\n\r\na"), KEEP, FETCH_CUT, 0,
         NULL},
        {"length and chunks", OK("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"), KEEP,
         FETCH_CUT, 0, NULL},
        {"chunks and length", OK("Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n"), KEEP,
         FETCH_CUT, 0, NULL},
        {"unknown coding", OK("Transfer-Encoding: gzip, chunked\r\n\r\n"), KEEP, FETCH_CUT, 0,
         NULL},
        {"chunks of HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
         KEEP, FETCH_CUT, 0, NULL},
        {"carriage return", OK("X-A: b\rc\r\nContent-Length: 0\r\n\r\n"), KEEP, FETCH_CUT, 0, NULL},
        {"folded field", OK("X-A: b\r\n c\r\nContent-Length: 0\r\n\r\n"), KEEP, FETCH_CUT, 0, NULL},
        {"blank before the colon", OK("Content-Length : 0\r\n\r\n"), KEEP, FETCH_CUT, 0, NULL},
        {"no colon", OK("nonsense\r\nContent-Length: 0\r\n\r\n"), KEEP, FETCH_CUT, 0, NULL},
        {"other protocol", "ICY 200 OK\r\n\r\n", CLOSE, FETCH_CUT, 0, NULL},
        {"HTTP/2", "HTTP/2 200 OK\r\nContent-Length: 0\r\n\r\n", CLOSE, FETCH_CUT, 0, NULL},
        {"no HTTP", "hello\r\n", CLOSE, FETCH_CUT, 0, NULL},
        {"upgrade", "HTTP/1.1 101 Other\r\nUpgrade: x\r\n\r\n", KEEP, FETCH_CUT, 0, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int drip = 0; drip < 2; drip++) {
            print_message("# %s%s\n", cases[i].name, drip ? ", a byte at a time" : "");
            script_set(
                (struct script){.answer = cases[i].answer, .after = cases[i].after, .drip = drip});
            struct got *g = fetch_get("/");
            assert_int_equal(g->result, cases[i].want);
            assert_int_equal(g->status, cases[i].status);
            if (cases[i].body) assert_string_equal(g->body, cases[i].body);
            if (g->result != FETCH_OK) assert_true(*g->fetch.error);
            assert_int_equal(g->calls, 1);
        }
    static const char nul[] = OK("X-A: b\0c\r\nContent-Length: 0\r\n\r\n");
    script_set((struct script){.answer = nul, .len = sizeof nul - 1});
    assert_int_equal(fetch_get("/")->result, FETCH_CUT);
}

static void test_fields(void **state)
{
    (void)state;
    script_set((struct script){.answer = OK("content-TYPE:  a/b \t\r\nContent-Length: 0\r\n\r\n")});
    struct got *g = fetch_get("/");
    assert_string_equal(g->type, "a/b");
}

static void test_endless_heads(void **state)
{
    (void)state;
    static char text[1 << 20]; /* the server may still be sending it when the test has ended */
    size_t cap = sizeof text, len;
    static const struct {
        const char *name, *first, *again;
    } cases[] = {
        {"fields", "HTTP/1.1 200 OK\r\n", "X-A: b\r\n"},
        {"a line", "HTTP/1.1 200 OK\r\nX-A: ", "aaaaaaaaaaaaaaaa"},
        {"a name", "HTTP/1.1 200 OK\r\n", "aaaaaaaaaaaaaaaa"},
        {"interim answers", "", "HTTP/1.1 100 C\r\nX: y\r\n\r\n"},
        {"empty interim answers", "", "HTTP/1.1 100 C\r\n\r\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        print_message("# %s\n", cases[i].name);
        len = strlen(cases[i].first);
        memcpy(text, cases[i].first, len);
        for (size_t n = strlen(cases[i].again); len + n < cap; len += n)
            memcpy(text + len, cases[i].again, n);
        script_set((struct script){.answer = text, .len = len, .after = STALL});
        struct got *g = fetch_get("/");
        assert_int_equal(g->result, FETCH_CUT);
    }
}

static void test_too_large(void **state)
{
    (void)state;
    struct fetch_ask ask = {.method = "GET", .url = url, .answer_max = 5};
    script_set((struct script){.answer = OK("Content-Length: 5\r\n\r\nabcde")});
    assert_int_equal(fetch_all(&ask)->result, FETCH_OK);
    script_set((struct script){.answer = OK("Content-Length: 6\r\n\r\nabcdef")});
    assert_int_equal(fetch_all(&ask)->result, FETCH_CUT);
    script_set((struct script){.answer = OK("\r\n"), .repeat = UINT64_MAX});
    assert_int_equal(fetch_all(&ask)->result, FETCH_CUT);
}

/* ---- limits of time ---- */

static void test_timeouts(void **state)
{
    (void)state;
    uint64_t from = now_ms();
    script_set((struct script){.answer = "", .after = STALL});
    struct fetch_ask ask = {.method = "GET", .url = url, .head_ms = 150, .stall_ms = 150};
    assert_int_equal(fetch_all(&ask)->result, FETCH_TIMEOUT);
    script_set((struct script){.answer = OK("Content-"), .after = STALL});
    assert_int_equal(fetch_all(&ask)->result, FETCH_TIMEOUT);
    script_set((struct script){.answer = OK("Content-Length: 2\r\n\r\na"), .after = STALL});
    struct got *g = fetch_all(&ask);
    assert_int_equal(g->result, FETCH_TIMEOUT);
    assert_int_equal(g->status, 200);
    assert_true(now_ms() - from < 3000);
    assert_int_equal(connections, 3);
}

static void test_unreachable(void **state)
{
    (void)state;
    static const struct fetch_peer hasty = {.connect_ms = 100, .connections_max = 1};
    struct fetch_ask ask = {.method = "GET", .url = dead_url};
    struct got *g = fetch_all(&ask);
    assert_int_equal(g->result, FETCH_UNREACHABLE);
    assert_true(*g->fetch.error);
    ask.url = "http://nowhere.invalid/";
    assert_int_equal(fetch_all(&ask)->result, FETCH_UNREACHABLE);
    ask.url = "https://127.0.0.1:1/";
    assert_int_equal(fetch_all(&ask)->result, FETCH_UNREACHABLE);
    ask.url = "file:///etc/passwd";
    assert_int_equal(fetch_all(&ask)->result, FETCH_UNREACHABLE);
    /* It speaks no TLS: the handshake has no end. */
    char tls[80];
    snprintf(tls, sizeof tls, "https%s", url + strlen("http"));
    script_set((struct script){.answer = "", .after = STALL});
    ask.url = tls;
    ask.peer = &hasty;
    assert_int_equal(fetch_all(&ask)->result, FETCH_UNREACHABLE);
}

/* ---- connections ---- */

static void test_kept(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) assert_int_equal(fetch_get("/")->result, FETCH_OK);
    assert_int_equal(connections, 1);
    assert_int_equal(requests, 20);
}

static void test_closes_without_saying(void **state)
{
    (void)state;
    script_set((struct script){.answer = OK("Content-Length: 1\r\n\r\na"), .after = CLOSE});
    for (int i = 0; i < 1000; i++) {
        struct got *g = fetch_all(&(struct fetch_ask){
            .method = "POST", .url = url, .body = "x", .len = 1, .once = i % 2});
        assert_int_equal(g->result, FETCH_OK);
    }
    /* None twice: a request that met a connection at its end was not counted there. */
    assert_int_equal(requests, 1000);
}

/* A connection that ends as the next request is sent over it. */
static void test_repeated_once(void **state)
{
    (void)state;
    struct fetch_ask ask = {.method = "POST", .url = url, .body = "x", .len = 1};
    assert_int_equal(fetch_all(&ask)->result, FETCH_OK);
    script_set((struct script){.drop = 1});
    assert_int_equal(fetch_all(&ask)->result, FETCH_OK);
    assert_int_equal(requests, 3);
    /* What must not be done twice is not. */
    script_set((struct script){.drop = 1});
    ask.once = true;
    assert_int_equal(fetch_all(&ask)->result, FETCH_CUT);
    assert_int_equal(requests, 4);
    /* Nor is anything for ever. */
    script_set((struct script){.drop = 100});
    ask.once = false;
    assert_int_equal(fetch_all(&ask)->result, FETCH_CUT);
    assert_true(requests < 15);
}

/* An answer longer than it said is not the beginning of the next one. */
static void test_leftovers(void **state)
{
    (void)state;
    static const char evil[] = OK("Content-Length: 1\r\n\r\na") OK("Content-Length: 4\r\n\r\nevil");
    for (int drip = 0; drip < 2; drip++) {
        script_set((struct script){.answer = evil, .drip = drip});
        struct got *g = fetch_get("/");
        assert_string_equal(g->body, "a");
        script_set((struct script){.answer = OK("Content-Length: 4\r\n\r\ngood")});
        g = fetch_get("/");
        assert_int_equal(g->result, FETCH_OK);
        assert_string_equal(g->body, "good");
    }
}

struct both {
    struct got got[4];
    struct fetch_ask ask;
};

static void start_both(void *ctx)
{
    struct both *b = ctx;
    for (size_t i = 0; i < 4; i++) assert_true(got_start(&b->got[i], &b->ask));
}

static void test_turns(void **state)
{
    (void)state;
    static const struct fetch_peer narrow = {.connect_ms = 200, .connections_max = 2};
    static struct both b;
    b = (struct both){.ask = {.peer = &narrow, .method = "GET", .url = url}};
    on_worker(start_both, &b);
    for (size_t i = 0; i < 4; i++) {
        got_wait(&b.got[i]);
        assert_int_equal(b.got[i].result, FETCH_OK);
    }
    assert_int_equal(requests, 4);
    assert_true(connections <= 2);
    /* Those who get no turn are told so. */
    b = (struct both){.ask = {.peer = &narrow, .method = "GET", .url = url, .head_ms = 600}};
    script_set((struct script){.answer = "", .after = STALL});
    on_worker(start_both, &b);
    for (size_t i = 0; i < 4; i++) {
        got_wait(&b.got[i]);
        assert_int_equal(b.got[i].result, i < 2 ? FETCH_TIMEOUT : FETCH_BUSY);
    }
    assert_int_equal(requests, 6);
}

/* ---- the end ---- */

static void cancel(void *ctx)
{
    struct both *b = ctx;
    for (size_t i = 0; i < 4; i++) fetch_cancel(&b->got[i].fetch);
    for (size_t i = 0; i < 4; i++) fetch_cancel(&b->got[i].fetch);
}

static void start_and_cancel(void *ctx)
{
    start_both(ctx);
    cancel(ctx);
}

static void test_cancel(void **state)
{
    (void)state;
    static const struct fetch_peer narrow = {.connect_ms = 5000, .connections_max = 2};
    static struct both b;
    b = (struct both){.ask = {.peer = &narrow, .method = "GET", .url = url}};
    on_worker(start_and_cancel, &b);
    script_set((struct script){.answer = OK("Content-Length: 9\r\n\r\na"), .after = STALL});
    on_worker(start_both, &b);
    while (requests < 2) usleep(1000);
    on_worker(cancel, &b);
    while (open_connections > 0) usleep(1000); /* they end at once */
    script_set((struct script){0});
    assert_int_equal(fetch_get("/")->result, FETCH_OK);
    for (size_t i = 0; i < 4; i++) assert_int_equal(b.got[i].calls, 0);
}

static void test_end_under_way(void **state)
{
    (void)state;
    static const struct fetch_peer narrow = {.connect_ms = 5000, .connections_max = 2};
    static struct both b;
    b = (struct both){.ask = {.peer = &narrow, .method = "GET", .url = url}};
    script_set((struct script){.answer = "", .after = STALL});
    on_worker(start_both, &b);
    while (requests < 2) usleep(1000);
    /* servers_stop destroys the fetcher with two under way and two queued. */
}

/* Begun again from its own end. */
struct relay {
    struct fetch fetch;
    struct fetch_ask ask;
    unsigned left;
    sem_t done;
};

static void relay_done(struct fetch *f, enum fetch_result result)
{
    struct relay *r = CONTAINER_OF(f, struct relay, fetch);
    assert_int_equal(result, FETCH_OK);
    if (--r->left == 0)
        sem_post(&r->done);
    else
        assert_true(fetch_start(fetcher, f, &r->ask));
    if (r->left) fetch_cancel(f), assert_true(fetch_start(fetcher, f, &r->ask));
}

static void relay_start(void *ctx)
{
    struct relay *r = ctx;
    assert_true(fetch_start(fetcher, &r->fetch, &r->ask));
}

static void test_again_from_done(void **state)
{
    (void)state;
    static struct relay r;
    r = (struct relay){
        .fetch.done = relay_done, .ask = {.peer = &peer, .method = "GET", .url = url}, .left = 10};
    sem_init(&r.done, 0, 0);
    on_worker(relay_start, &r);
    while (sem_wait(&r.done) != 0) continue;
    assert_int_equal(requests, 10);
}

/* ---- streams ---- */

#define LONG ((uint64_t)32 * 1024 * 1024)

struct stream {
    struct got got; /* first */
    struct fetch_ask ask;
    uint64_t left, refused;
    unsigned reads;
    struct timer timer;
    bool hold;
};

static void body_again(struct timer *t)
{
    fetch_body_more(&CONTAINER_OF(t, struct stream, timer)->got.fetch);
}

/* Every third time there is nothing yet. */
static size_t give(struct fetch *f, void *buf, size_t cap, bool *end_out)
{
    struct stream *s = CONTAINER_OF(f, struct stream, got.fetch);
    if (s->reads++ % 3 == 2 && s->reads < 300) {
        timer_set(worker_self(), &s->timer, 1, body_again);
        return 0;
    }
    size_t n = s->left < cap ? (size_t)s->left : cap;
    memset(buf, 'y', n);
    s->left -= n;
    *end_out = s->left == 0;
    return n;
}

static void go_on(struct timer *t)
{
    struct stream *s = CONTAINER_OF(t, struct stream, timer);
    s->hold = false;
    fetch_go_on(&s->got.fetch);
}

static bool take(struct fetch *f, const void *bytes, size_t len)
{
    struct stream *s = CONTAINER_OF(f, struct stream, got.fetch);
    assert_true(len <= FETCH_PIECE);
    assert_int_equal(*(const char *)bytes == 'x' || *(const char *)bytes == '\0', 1);
    if (s->hold || (s->reads++ % 50 == 49 && s->reads < 5000)) {
        s->hold = true;
        s->refused++;
        timer_set(worker_self(), &s->timer, 1, go_on);
        return false;
    }
    s->got.bytes += len;
    return true;
}

static void stream_start(void *ctx)
{
    struct stream *s = ctx;
    assert_true(got_start(&s->got, &s->ask));
}

static void test_streamed_body(void **state)
{
    (void)state;
    static struct stream s;
    for (int chunked = 0; chunked < 2; chunked++) {
        body_bytes = 0;
        script_set((struct script){.answer = OK("Content-Length: 0\r\n\r\n")});
        s = (struct stream){.got.fetch.read = give,
                            .left = LONG,
                            .ask = {.peer = &peer,
                                    .method = "POST",
                                    .url = url,
                                    .streamed = true,
                                    .length = chunked ? UINT64_MAX : LONG,
                                    .head_ms = 3000}};
        on_worker(stream_start, &s);
        got_wait(&s.got);
        assert_int_equal(s.got.result, FETCH_OK);
        assert_true(chunked ? body_bytes > LONG : body_bytes == LONG);
    }
    /* A body that is shorter than it was said to be is no request. */
    s = (struct stream){
        .got.fetch.read = give,
        .left = 1000,
        .ask = {.peer = &peer, .method = "POST", .url = url, .streamed = true, .length = 1001}};
    unsigned before = requests;
    on_worker(stream_start, &s);
    got_wait(&s.got);
    assert_int_equal(s.got.result, FETCH_CUT);
    assert_int_equal(requests, before);
}

static void test_streamed_answer(void **state)
{
    (void)state;
    static struct stream s;
    script_set((struct script){.answer = OK("\r\n"), .repeat = LONG, .after = CLOSE});
    s = (struct stream){.got.fetch.data = take,
                        .ask = {.peer = &peer, .method = "GET", .url = url, .stall_ms = 3000}};
    on_worker(stream_start, &s);
    got_wait(&s.got);
    assert_int_equal(s.got.result, FETCH_OK);
    assert_int_equal(s.got.bytes, LONG);
    assert_true(s.refused > 0);
}

/* Held back from the first byte on, over a connection that rested. */
static bool take_later(struct fetch *f, const void *bytes, size_t len)
{
    struct stream *s = CONTAINER_OF(f, struct stream, got.fetch);
    if (s->refused++ < 3) {
        timer_set(worker_self(), &s->timer, 2, go_on);
        return false;
    }
    (void)bytes;
    s->got.bytes += len;
    return true;
}

static void test_held_back_at_once(void **state)
{
    (void)state;
    static struct stream s;
    script_set((struct script){.answer = OK("Content-Length: 1000000\r\n\r\n"), .repeat = 1000000});
    for (int i = 0; i < 20; i++) {
        s = (struct stream){.got.fetch.data = take_later,
                            .ask = {.peer = &peer, .method = "GET", .url = url}};
        on_worker(stream_start, &s);
        got_wait(&s.got);
        assert_int_equal(s.got.result, FETCH_OK);
        assert_int_equal(s.got.bytes, 1000000);
    }
    assert_int_equal(connections, 1);
}

/* Who does not take the answer holds back the peer, whom no clock ends. */
static bool refuse(struct fetch *f, const void *bytes, size_t len)
{
    (void)bytes, (void)len;
    CONTAINER_OF(f, struct stream, got.fetch)->refused++;
    return false;
}

static void test_held_back(void **state)
{
    (void)state;
    static struct stream s;
    script_set((struct script){.answer = OK("\r\n"), .repeat = LONG, .after = CLOSE});
    s = (struct stream){.got.fetch.data = refuse,
                        .ask = {.peer = &peer, .method = "GET", .url = url, .stall_ms = 50}};
    on_worker(stream_start, &s);
    usleep(400000);
    assert_int_equal(s.got.calls, 0);
    assert_int_equal(s.refused, 1);
    on_worker((void (*)(void *))fetch_cancel, &s.got.fetch);
    while (open_connections > 0) usleep(1000);
}

/* An upstream that does not read holds back the body, and its time is up. */
static void test_body_not_read(void **state)
{
    (void)state;
    static struct stream s;
    script_set((struct script){.answer = "", .early = true, .after = STALL});
    s = (struct stream){.got.fetch.read = give,
                        .left = LONG,
                        .ask = {.peer = &peer,
                                .method = "POST",
                                .url = url,
                                .streamed = true,
                                .length = LONG,
                                .head_ms = 200}};
    on_worker(stream_start, &s);
    got_wait(&s.got);
    assert_int_equal(s.got.result, FETCH_TIMEOUT);
    /* A refusal before the body has come is an answer. */
    script_set((struct script){
        .answer = "HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno", .early = true, .after = STALL});
    s = (struct stream){.got.fetch.read = give, .left = LONG, .ask = s.ask};
    on_worker(stream_start, &s);
    got_wait(&s.got);
    assert_int_equal(s.got.result, FETCH_OK);
    assert_int_equal(s.got.status, 413);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_request, servers_start, servers_stop),
        cmocka_unit_test_setup_teardown(test_answers, servers_start, servers_stop),
        cmocka_unit_test_setup_teardown(test_fields, servers_start, servers_stop),
        cmocka_unit_test_setup_teardown(test_endless_heads, servers_start, servers_stop),
        cmocka_unit_test_setup_teardown(test_too_large, servers_start, servers_stop),
        cmocka_unit_test_setup_teardown(test_timeouts, servers_start, servers_stop),
        cmocka_unit_test_setup_teardown(test_unreachable, servers_start, servers_stop),
        cmocka_unit_test_setup_teardown(test_kept, servers_start, servers_stop),
        cmocka_unit_test_setup_teardown(test_closes_without_saying, servers_start, servers_stop),
        cmocka_unit_test_setup_teardown(test_repeated_once, servers_start, servers_stop),
        cmocka_unit_test_setup_teardown(test_leftovers, servers_start, servers_stop),
        cmocka_unit_test_setup_teardown(test_turns, servers_start, servers_stop),
        cmocka_unit_test_setup_teardown(test_cancel, servers_start, servers_stop),
        cmocka_unit_test_setup_teardown(test_end_under_way, servers_start, servers_stop),
        cmocka_unit_test_setup_teardown(test_again_from_done, servers_start, servers_stop),
        cmocka_unit_test_setup_teardown(test_streamed_body, servers_start, servers_stop),
        cmocka_unit_test_setup_teardown(test_streamed_answer, servers_start, servers_stop),
        cmocka_unit_test_setup_teardown(test_held_back_at_once, servers_start, servers_stop),
        cmocka_unit_test_setup_teardown(test_held_back, servers_start, servers_stop),
        cmocka_unit_test_setup_teardown(test_body_not_read, servers_start, servers_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

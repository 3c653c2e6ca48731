#include "tests/unit/http_streams.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "src/server/http/engine.h"

struct seen seen;

struct flow {
    struct http_exchange *x;
    struct timer timer;
    uint64_t taken, written, length, cut, after, rest_at;
    unsigned rest_ms, status;
    bool stream, spoiled, resting;
};

char pattern(uint64_t at)
{
    return (char)(at ^ at >> 8 ^ at >> 16);
}

void fill(char *buf, size_t len, uint64_t at)
{
    for (size_t i = 0; i < len; i++) buf[i] = pattern(at + i);
}

size_t resident(void)
{
    size_t kib = 0;
    char line[128];
    FILE *f = fopen("/proc/self/status", "re");
    while (f && fgets(line, sizeof line, f)) (void)sscanf(line, "VmRSS: %zu", &kib);
    if (f)
        fclose(f);
    return kib * 1024;
}

static void note_most(const struct http_exchange *x)
{
    size_t now = x->body.cap + x->out.cap;
    if (now > atomic_load(&seen.most))
        atomic_store(&seen.most, now);
}

/* "name=N" in the query. */
static uint64_t number(const struct http_exchange *x, const char *name, uint64_t otherwise)
{
    const char *p = strstr(http_target(x), name);
    return p ? strtoull(p + strlen(name), NULL, 10) : otherwise;
}

static void free_flow(void *data)
{
    struct flow *f = data;
    timer_stop(worker_self(), &f->timer);
    atomic_fetch_add(&seen.freed, 1);
    atomic_fetch_sub(&seen.under_way, 1);
    free(f);
}

static void on_gone(struct http_exchange *x)
{
    struct flow *f = http_data(x);
    assert_true(http_is_gone(x));
    atomic_fetch_add(&seen.gone, 1);
    timer_stop(worker_self(), &f->timer);
    if (x->begun)
        http_reply_end(x, false);
    else
        http_reply(x, &(struct http_reply){ .status = 200 });
}

/* ---- up ---- */

static void say_what_came(struct flow *f, unsigned status)
{
    uint64_t length;
    char text[128];
    bool stream = http_body_is_stream(f->x, &length);
    int n = snprintf(text, sizeof text, "%" PRIu64 " %s %s %s", f->taken, stream ? "stream" : "whole",
                     length == UINT64_MAX ? "chunks" : "length", f->spoiled ? "spoiled" : "good");
    assert_true(stream == f->stream);
    http_reply(f->x, &(struct http_reply){ .status = status, .body = text, .len = (size_t)n });
}

static void take_more(struct http_exchange *x);

static void take_on(struct timer *t)
{
    struct flow *f = CONTAINER_OF(t, struct flow, timer);
    f->resting = false;
    take_more(f->x);
}

static void take_more(struct http_exchange *x)
{
    struct flow *f = http_data(x);
    char buf[20000];
    size_t n;
    note_most(x);
    while ((n = http_body_take(x, buf, sizeof buf)) > 0) {
        for (size_t i = 0; i < n; i++)
            f->spoiled |= buf[i] != pattern(f->taken + i);
        f->taken += n;
        atomic_store(&seen.taken, f->taken);
        if (f->taken >= f->after) {
            say_what_came(f, 500);
            return;
        }
        if (f->rest_ms && f->taken >= f->rest_at) {
            f->rest_at += 8 << 20;
            timer_set(worker_self(), &f->timer, f->rest_ms, take_on);
            return;
        }
    }
    if (http_body_ended(x))
        say_what_came(f, 200);
    else
        http_body_wait(x, take_more);
}

static void up(struct flow *f)
{
    uint64_t hold = number(f->x, "hold=", 0);
    size_t len;
    const uint8_t *first = http_body(f->x, &len);
    for (size_t i = 0; i < len; i++)
        f->spoiled |= (char)first[i] != pattern(i);
    f->after = number(f->x, "after=", UINT64_MAX);
    if (strstr(http_target(f->x), "early")) {
        say_what_came(f, 403);
    } else if (hold) {
        http_wait(f->x, NULL);
        timer_set(worker_self(), &f->timer, hold, take_on);
        http_wait(f->x, on_gone);
    } else {
        http_wait(f->x, on_gone);
        take_more(f->x);
    }
}

/* ---- down ---- */

static void write_more(struct http_exchange *x);

static void write_on(struct timer *t)
{
    write_more(CONTAINER_OF(t, struct flow, timer)->x);
}

static void write_more(struct http_exchange *x)
{
    struct flow *f = http_data(x);
    char buf[10000];
    uint64_t until = f->cut < f->length ? f->cut : f->length;
    while (f->written < until) {
        size_t room = http_reply_room(x), n = sizeof buf;
        if (n > until - f->written)
            n = (size_t)(until - f->written);
        if (room < n)
            n = room;
        if (n == 0) {
            http_reply_wait(x, write_more);
            return;
        }
        fill(buf, n, f->written);
        http_reply_write(x, buf, n);
        note_most(x);
        f->written += n;
        atomic_store(&seen.written, f->written);
        if (f->rest_ms && f->written >= f->rest_at) {
            f->rest_at = UINT64_MAX;
            timer_set(worker_self(), &f->timer, f->rest_ms, write_on);
            return;
        }
    }
    http_reply_end(x, f->cut == UINT64_MAX);
}

static void begin_down(struct timer *t)
{
    struct flow *f = CONTAINER_OF(t, struct flow, timer);
    bool known = strncmp(http_target(f->x), "/down", 5) == 0;
    http_reply_begin(f->x, &(struct http_reply){ .status = f->status, .type = "x/y",
                     .fields = (struct http_field[]){ { "X-A", "b" }, { NULL, NULL } } },
                     known ? f->length : UINT64_MAX);
    write_more(f->x);
}

static void down(struct flow *f)
{
    f->length = number(f->x, "?", 0);
    f->cut = number(f->x, "cut=", UINT64_MAX);
    f->status = (unsigned)number(f->x, "status=", 200);
    f->rest_at = number(f->x, "at=", 0);
    if (strstr(http_target(f->x), "direct")) {
        begin_down(&f->timer);
        return;
    }
    http_wait(f->x, on_gone);
    timer_set(worker_self(), &f->timer, number(f->x, "first=", 1), begin_down);
}

static void serve_flow(struct http_exchange *x, void *ctx)
{
    struct flow *f = calloc(1, sizeof *f);
    uint64_t length;
    (void)ctx;
    assert_non_null(f);
    f->x = x;
    f->stream = http_body_is_stream(x, &length);
    f->rest_ms = (unsigned)number(x, "rest=", 0);
    f->rest_at = 8 << 20;
    http_set_data(x, f, free_flow);
    atomic_fetch_add(&seen.under_way, 1);
    atomic_fetch_add(&seen.served, 1);
    if (strncmp(http_target(x), "/up", 3) == 0)
        up(f);
    else
        down(f);
}

int start_streams(void **state)
{
    char error[256];
    struct http_handler h = {
        .serve = serve_flow, .body_max = STREAM_MAX, .body_whole = WHOLE
    };
    struct http_listen l[LISTENERS] = {
        { .address = "127.0.0.1:0", .handler = h },
        { .address = socket_path, .socket_mode = 0600, .handler = h },
        { .address = "127.0.0.1:0", .tls_certificate = cert_path, .tls_key = key_path,
          .handler = h },
    };
    (void)state;
    for (size_t i = 0; i < LISTENERS; i++) {
        l[i].connections_max = 100;
        l[i].head_ms = l[i].idle_ms = 5000;
        l[i].body_ms = BODY_MS;
    }
    memset(&seen, 0, sizeof seen);
    server = http_start(l, LISTENERS, 2, error, sizeof error);
    if (!server)
        fprintf(stderr, "%s\n", error);
    return server ? 0 : -1;
}

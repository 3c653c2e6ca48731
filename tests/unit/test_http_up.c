/* The engine: bodies that are read piece by piece. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/http_streams.h"

#define MIB ((size_t)1 << 20)

static void say_head(struct talk *t, const char *target, const char *fields)
{
    char head[512];
    snprintf(head, sizeof head, "POST %s HTTP/1.1\r\nHost: a\r\n%s\r\n", target, fields);
    say(t, head);
}

static void say_length_head(struct talk *t, const char *target, size_t len, const char *more)
{
    char fields[256];
    snprintf(fields, sizeof fields, "Content-Length: %zu\r\n%s", len, more);
    say_head(t, target, fields);
}

/* Bytes of the pattern, from..end. */
static void say_pattern(struct talk *t, size_t from, size_t end)
{
    static char buf[100000];
    for (size_t n; from < end; from += n) {
        n = end - from < sizeof buf ? end - from : sizeof buf;
        fill(buf, n, from);
        say_bytes(t, buf, n);
    }
}

/* In chunks of all sizes, every third with an extension. */
static void say_chunks(struct talk *t, size_t len)
{
    char line[64];
    size_t chunk = 1, at = 0;
    for (unsigned i = 0; at < len; i++, chunk = chunk * 3 % 50021 + 1) {
        size_t n = len - at < chunk ? len - at : chunk;
        snprintf(line, sizeof line, "%zx%s\r\n", n, i % 3 == 0 ? ";name=\"v a\"" : "");
        say(t, line);
        say_pattern(t, at, at + n);
        say(t, "\r\n");
        at += n;
    }
    say(t, "0\r\nX-Trailer: t\r\n\r\n");
}

static void expect(struct talk *t, unsigned status, size_t taken, const char *what)
{
    char want[128];
    const char *text;
    unsigned got = answer(t, &text);
    snprintf(want, sizeof want, "%zu %s", taken, what);
    if (got != status || strcmp(body_of(text), want) != 0)
        fail_msg("%u %s, not %u %s", got, got ? body_of(text) : "", status, want);
}

/* Around the limit, one request behind the other on one connection. */
static void test_whole_and_stream(void **state)
{
    (void)state;
    static const size_t lengths[] = { 1, WHOLE - 1, WHOLE, WHOLE + 1, 3 * WHOLE + 7, MIB };
    struct talk t = begin();
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        const char *kind = lengths[i] > WHOLE ? "stream" : "whole";
        char want[64];
        say_length_head(&t, "/up", lengths[i], "");
        say_pattern(&t, 0, lengths[i]);
        snprintf(want, sizeof want, "%s length good", kind);
        expect(&t, 200, lengths[i], want);
        say_head(&t, "/up", "Transfer-Encoding: chunked\r\n");
        say_chunks(&t, lengths[i]);
        snprintf(want, sizeof want, "%s chunks good", kind);
        expect(&t, 200, lengths[i], want);
    }
    assert_true(atomic_load(&seen.most) <= WHOLE + HTTP_WINDOW);
    end(&t);
}

static size_t put_post(char *out, const char *target, size_t len)
{
    int n = snprintf(out, 256, "POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n", target, len);
    fill(out + n, len, 0);
    return (size_t)n + len;
}

/* All in one piece, so that the engine has read of the next request when it answers. */
static void test_a_request_behind_a_stream(void **state)
{
    (void)state;
    static char all[16 * WHOLE];
    static const char *const targets[] = { "/up", "/up?early", "/up?hold=100", "/up?after=100000" };
    struct talk t = begin();
    for (unsigned i = 0; i < 4; i++) {
        size_t n = put_post(all, targets[i], 3 * WHOLE);
        n += put_post(all + n, "/up", 1);
        n += put_post(all + n, targets[i], 5 * WHOLE);
        n += put_post(all + n, "/up", WHOLE);
        memcpy(all + n, GET("/up"), sizeof GET("/up"));
        say_bytes(&t, all, n + strlen(all + n));
        for (size_t k = 0; k < 2; k++) {
            size_t len = (3 + 2 * k) * WHOLE;
            const char *text;
            if (i == 3)
                assert_int_equal(answer(&t, &text), 500);
            else
                expect(&t, i == 1 ? 403 : 200, i == 1 ? 0 : len, "stream length good");
            expect(&t, 200, k ? WHOLE : 1, "whole length good");
        }
        expect(&t, 200, 0, "whole length good");
    }
    end(&t);
}

/* 50 MB to a handler that rests: it is the peer that waits, and little is kept. */
static void test_a_slow_handler_holds_back_the_peer(void **state)
{
    (void)state;
    const size_t len = 50 * 1000 * 1000;
    static char buf[65536];
    for (unsigned chunked = 0; chunked < 2; chunked++) {
        struct talk t = begin();
        size_t at = 0, before = resident(), most = 0, ahead = 0;
        char line[32];
        fill(buf, sizeof buf, 0);
        if (chunked)
            say_head(&t, "/up?rest=100", "Transfer-Encoding: chunked\r\n");
        else
            say_length_head(&t, "/up?rest=100", len, "");
        while (at < len) {
            size_t n = len - at < sizeof buf ? len - at : sizeof buf;
            snprintf(line, sizeof line, "%zx\r\n", n);
            if (chunked)
                say(&t, line);
            fill(buf, n, at);
            say_bytes(&t, buf, n);
            if (chunked)
                say(&t, "\r\n");
            at += n;
            size_t now = resident(), gap = at - atomic_load(&seen.taken);
            most = now > most ? now : most;
            ahead = gap > ahead ? gap : ahead;
        }
        if (chunked)
            say(&t, "0\r\n\r\n");
        expect(&t, 200, len, chunked ? "stream chunks good" : "stream length good");
        end(&t);
        assert_true(ahead < 30 * MIB); /* what the system's buffers hold */
        assert_true(atomic_load(&seen.most) <= WHOLE + HTTP_WINDOW);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
        assert_true(most < before + 2 * MIB);
#endif
        (void)before;
        atomic_store(&seen.taken, 0);
    }
}

/* The peer's deadline does not run while it is us who do not read. */
static void test_the_handler_may_take_its_time(void **state)
{
    (void)state;
    for (unsigned chunked = 0; chunked < 2; chunked++) {
        struct talk t = begin();
        if (chunked) {
            say_head(&t, "/up?hold=1800", "Transfer-Encoding: chunked\r\n");
            say_chunks(&t, 4 * MIB);
            expect(&t, 200, 4 * MIB, "stream chunks good");
        } else {
            say_length_head(&t, "/up?hold=1800", 4 * MIB, "");
            say_pattern(&t, 0, 4 * MIB);
            expect(&t, 200, 4 * MIB, "stream length good");
        }
        end(&t);
    }
}

/* The whole may take longer than the deadline, a rest may not. */
static void test_a_peer_that_rests(void **state)
{
    (void)state;
    struct talk t = begin();
    size_t len = 8 * WHOLE;
    say_length_head(&t, "/up", len, "");
    for (size_t i = 0; i < 8; i++) {
        say_pattern(&t, i * WHOLE, (i + 1) * WHOLE);
        usleep(200000);
    }
    expect(&t, 200, len, "stream length good");
    say_length_head(&t, "/up", len, "");
    say_pattern(&t, 0, 3 * WHOLE);
    uint64_t from = now_ms();
    assert_int_equal(answer(&t, NULL), 408);
    assert_true(closes_within(&t, 3000));
    assert_true(now_ms() - from >= BODY_MS - 100);
    until(&seen.gone, 1);
    until(&seen.freed, 2);
    end(&t);
}

/* Sends a head and a part of a body of 2 MiB. */
static struct talk begin_upload(const char *target, bool chunked)
{
    struct talk t = begin();
    if (chunked) {
        say_head(&t, target, "Transfer-Encoding: chunked\r\n");
        say(&t, "200000\r\n");
    } else {
        say_length_head(&t, target, 2 * MIB, "");
    }
    say_pattern(&t, 0, WHOLE + 1000); /* what nobody reads must fit into the system's buffer */
    return t;
}

static void test_a_peer_that_goes_away(void **state)
{
    (void)state;
    struct linger reset = { .l_onoff = 1 };
    /* While it is read, or held back; by closing, by a reset, or by its own side only. */
    for (unsigned i = 0; i < 12; i++) {
        struct talk t = begin_upload(i % 4 / 2 ? "/up?hold=60000" : "/up", i % 2);
        until(&seen.served, i + 1);
        if (i / 4 == 1)
            setsockopt(t.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        if (i / 4 == 2)
            shutdown(t.fd, SHUT_WR);
        else
            close(t.fd);
        until(&seen.gone, i + 1);
        until(&seen.freed, i + 1);
        if (i / 4 == 2)
            close(t.fd);
        free(t.buf);
    }
}

/* An answer before the body was read: it is read past, and the connection goes on. */
static void test_an_answer_before_the_end(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        struct talk t = begin();
        size_t n = i / 2 ? 100000 : 0;
        const char *target = n ? "/up?after=100000" : "/up?early";
        unsigned status = n ? 500 : 403;
        if (i % 2) {
            say_head(&t, target, "Transfer-Encoding: chunked\r\n");
            say_chunks(&t, 2 * MIB);
        } else {
            say_length_head(&t, target, 2 * MIB, "");
            say_pattern(&t, 0, 2 * MIB);
        }
        const char *text;
        assert_int_equal(answer(&t, &text), status);
        assert_true(strtoul(body_of(text), NULL, 10) >= n);
        assert_null(strstr(text, "Connection: close"));
        say(&t, GET("/up"));
        expect(&t, 200, 0, "whole length good");
        /* One that rests then is not waited for for ever. */
        say_length_head(&t, target, 2 * MIB, "");
        say_pattern(&t, 0, 3 * WHOLE);
        assert_true(closes_within(&t, 4000));
        end(&t);
    }
}

static void test_expect(void **state)
{
    (void)state;
    struct talk t = begin();
    /* 100 comes when the handler takes the body, not before. */
    say_length_head(&t, "/up?hold=400", 2 * WHOLE, "Expect: 100-continue\r\n");
    uint64_t from = now_ms();
    assert_int_equal(answer(&t, NULL), 100);
    assert_true(now_ms() - from >= 300);
    say_pattern(&t, 0, 2 * WHOLE);
    expect(&t, 200, 2 * WHOLE, "stream length good");
    say_head(&t, "/up", "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n");
    assert_int_equal(answer(&t, NULL), 100);
    say_chunks(&t, 2 * WHOLE);
    expect(&t, 200, 2 * WHOLE, "stream chunks good");
    /* Refused: nothing of the body is asked for. */
    say_length_head(&t, "/up?early", 2 * WHOLE, "Expect: 100-continue\r\n");
    expect(&t, 403, 0, "stream length good");
    assert_true(closes_within(&t, 3000));
    end(&t);
}

static void test_the_longest_body(void **state)
{
    (void)state;
    struct talk t = begin();
    say_length_head(&t, "/up", STREAM_MAX + 1, "");
    assert_int_equal(answer(&t, NULL), 413);
    assert_true(closes_within(&t, 3000));
    assert_int_equal(atomic_load(&seen.served), 0);
    end(&t);
    t = begin();
    say_head(&t, "/up", "Transfer-Encoding: chunked\r\n");
    char line[32];
    snprintf(line, sizeof line, "%zx\r\n", STREAM_MAX + 1);
    say(&t, line);
    say_pattern(&t, 0, STREAM_MAX + 1);
    assert_int_equal(answer(&t, NULL), 413);
    assert_true(closes_within(&t, 3000));
    until(&seen.gone, 1);
    until(&seen.freed, 1);
    end(&t);
}

static void test_broken_chunks(void **state)
{
    (void)state;
    static const char *const bad[] = { "xyz\r\n", "5\r\nabcdefgh\r\n" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct talk t = begin();
        char line[32];
        say_head(&t, "/up", "Transfer-Encoding: chunked\r\n");
        snprintf(line, sizeof line, "%zx\r\n", 2 * WHOLE);
        say(&t, line);
        say_pattern(&t, 0, 2 * WHOLE);
        say(&t, "\r\n");
        say(&t, bad[i]);
        assert_int_equal(answer(&t, NULL), 400);
        assert_true(closes_within(&t, 3000));
        until(&seen.gone, (unsigned)i + 1);
        until(&seen.freed, (unsigned)i + 1);
        end(&t);
    }
}

static void test_http_1_0(void **state)
{
    (void)state;
    struct talk t = begin();
    char head[128];
    snprintf(head, sizeof head, "POST /up HTTP/1.0\r\nContent-Length: %zu\r\n\r\n", 5 * WHOLE);
    say(&t, head);
    say_pattern(&t, 0, 5 * WHOLE);
    expect(&t, 200, 5 * WHOLE, "stream length good");
    assert_true(closes_within(&t, 3000));
    end(&t);
}

/* What is under way ends, what has stopped is ended. */
static void test_stop(void **state)
{
    (void)state;
    struct talk going = begin(), stuck = begin_upload("/up", false);
    struct talk held = begin_upload("/up?hold=60000", true);
    say_length_head(&going, "/up", 8 * WHOLE, "");
    say_pattern(&going, 0, 4 * WHOLE);
    until(&seen.served, 3);
    usleep(100000);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) { /* the rest comes while the server stops */
        usleep(200000);
        say_pattern(&going, 4 * WHOLE, 8 * WHOLE);
        _exit(0);
    }
    uint64_t from = now_ms();
    http_stop(server, 2000);
    server = NULL;
    assert_true(now_ms() - from < 8000);
    assert_int_equal(waitpid(child, NULL, 0), child);
    expect(&going, 200, 8 * WHOLE, "stream length good");
    assert_int_equal(atomic_load(&seen.gone), 2);
    assert_int_equal(atomic_load(&seen.freed), 3);
    end(&going);
    end(&stuck);
    end(&held);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, start_streams, stop)
    const struct CMUnitTest tests[] = {
        TEST(test_whole_and_stream),
        TEST(test_a_request_behind_a_stream),
        TEST(test_a_slow_handler_holds_back_the_peer),
        TEST(test_the_handler_may_take_its_time),
        TEST(test_a_peer_that_rests),
        TEST(test_a_peer_that_goes_away),
        TEST(test_an_answer_before_the_end),
        TEST(test_expect),
        TEST(test_the_longest_body),
        TEST(test_broken_chunks),
        TEST(test_http_1_0),
        TEST(test_stop),
    };
    return cmocka_run_group_tests(tests, make_files, remove_files);
}

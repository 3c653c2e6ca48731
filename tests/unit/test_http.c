/* The engine over real sockets: answers, bodies, malformed requests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/http_bench.h"

/* ---- answers ---- */

static void test_answers(void **state)
{
    (void)state;
    struct talk t = begin();
    const char *text;
    say(&t, GET("/a%20b?x+y=%41"));
    assert_int_equal(answer(&t, &text), 200);
    assert_string_equal(body_of(text), "/a%20b?x+y=%41"); /* raw */
    assert_non_null(strstr(text, "Content-Type: text/plain\r\n"));
    assert_non_null(strstr(text, "\r\nDate: "));
    say(&t, "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
    assert_int_equal(answer(&t, &text), 200);
    assert_string_equal(body_of(text), "hello");
    say(&t, GET("/empty"));
    assert_int_equal(answer(&t, &text), 449);
    assert_non_null(strstr(text, "Content-Length: 0\r\n"));
    assert_non_null(strstr(text, "Retry-After: 7\r\n"));
    assert_null(strstr(text, "Content-Type"));
    say(&t, "PUT /fields HTTP/1.1\r\nHost: a\r\nX-ECHO: me\r\n\r\n");
    assert_int_equal(answer(&t, &text), 200);
    assert_non_null(strstr(text, "X-Peer: 127.0.0.1\r\n"));
    assert_non_null(strstr(text, "X-Method: PUT\r\n"));
    assert_non_null(strstr(text, "X-Echo: me\r\n"));
    assert_non_null(strstr(text, "X-Tls: no\r\n"));
    say(&t, GET("/forget"));
    assert_int_equal(answer(&t, &text), 500);
    assert_true(closes_within(&t, 1000));
    end(&t);
}

static void test_head_has_no_body(void **state)
{
    (void)state;
    struct talk t = begin();
    say(&t, "HEAD /big HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_true(closes_within(&t, 3000));
    assert_non_null(strstr(t.buf, "Content-Length: 20000\r\n"));
    assert_string_equal(body_of(t.buf), "");
    end(&t);
}

static void test_pipelined(void **state)
{
    (void)state;
    struct talk t = begin();
    const char *text;
    say(&t, GET("/1") "POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx" GET("/wait50")
                GET("/4"));
    assert_int_equal(answer(&t, &text), 200);
    assert_string_equal(body_of(text), "/1");
    assert_int_equal(answer(&t, &text), 200);
    assert_string_equal(body_of(text), "x");
    assert_int_equal(answer(&t, &text), 200);
    assert_string_equal(body_of(text), "later");
    assert_int_equal(answer(&t, &text), 200);
    assert_string_equal(body_of(text), "/4");
    end(&t);
}

static void test_gzip(void **state)
{
    (void)state;
    struct talk t = begin();
    const char *text;
    say(&t, "GET /big HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n");
    assert_int_equal(answer(&t, &text), 200);
    assert_non_null(strstr(text, "Content-Encoding: gzip\r\n"));
    assert_non_null(strstr(text, "Vary: Accept-Encoding\r\n"));
    assert_memory_equal(body_of(text), "\x1f\x8b", 2);
    say(&t, "GET /big HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip;q=0\r\n\r\n");
    assert_int_equal(answer(&t, &text), 200);
    assert_null(strstr(text, "Content-Encoding"));
    assert_non_null(strstr(text, "Vary: Accept-Encoding\r\n"));
    assert_int_equal(strlen(body_of(text)), 20000);
    say(&t, "GET /small HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n");
    assert_int_equal(answer(&t, &text), 200);
    assert_null(strstr(text, "Content-Encoding"));
    assert_string_equal(body_of(text), "/small");
    end(&t);
}

/* ---- bodies ---- */

static void test_chunks(void **state)
{
    (void)state;
    struct talk t = begin();
    const char *text;
    say(&t, "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
            "3\r\nabc\r\n0A;x=y\r\n0123456789\r\n0\r\nX-Trailer: t\r\n\r\n");
    assert_int_equal(answer(&t, &text), 200);
    assert_string_equal(body_of(text), "abc0123456789");
    say(&t, "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n");
    assert_int_equal(answer(&t, &text), 400);
    assert_true(closes_within(&t, 3000));
    end(&t);
}

static void test_body_limit(void **state)
{
    (void)state;
    static char body[BODY_MAX + 1];
    char h[128];
    const char *text;
    unsigned before = atomic_load(&served_count);
    memset(body, 'b', sizeof body);
    for (int over = 0; over < 2; over++) {
        struct talk t = begin();
        snprintf(h, sizeof h, "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n",
                 BODY_MAX + over);
        say(&t, h);
        say_bytes(&t, body, (size_t)BODY_MAX + (size_t)over);
        assert_int_equal(answer(&t, &text), over ? 413 : 200);
        if (over)
            assert_true(closes_within(&t, 3000));
        end(&t);
        t = begin();
        say(&t, "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
        snprintf(h, sizeof h, "%x\r\n", BODY_MAX + over);
        say(&t, h);
        say_bytes(&t, body, (size_t)BODY_MAX + (size_t)over);
        say(&t, "\r\n0\r\n\r\n");
        assert_int_equal(answer(&t, &text), over ? 413 : 200);
        if (over)
            assert_true(closes_within(&t, 3000));
        end(&t);
    }
    assert_int_equal(atomic_load(&served_count) - before, 2);
}

/* Megabytes beyond the limit, and the answer still arrives. */
static void test_413_reaches_a_peer_that_sends_on(void **state)
{
    (void)state;
    static char body[2 << 20];
    struct talk t = begin();
    say(&t, "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 2097152\r\n\r\n");
    say_bytes(&t, body, sizeof body);
    assert_int_equal(answer(&t, NULL), 413);
    assert_true(closes_within(&t, 3000));
    end(&t);
}

static void test_expect(void **state)
{
    (void)state;
    struct talk t = begin();
    const char *text;
    say(&t, "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    assert_int_equal(answer(&t, &text), 100);
    say(&t, "ok");
    assert_int_equal(answer(&t, &text), 200);
    assert_string_equal(body_of(text), "ok");
    /* An answer at the head, or a body that is too large: no 100, and the connection ends. */
    say(&t, "POST /no HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    assert_int_equal(answer(&t, &text), 401);
    assert_true(closes_within(&t, 3000));
    end(&t);
    t = begin();
    say(&t, "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\nExpect: "
            "100-continue\r\n\r\n");
    assert_int_equal(answer(&t, &text), 413);
    end(&t);
}

/* Without Expect the body is read past, so that the connection can go on. */
static void test_answer_at_the_head(void **state)
{
    (void)state;
    struct talk t = begin();
    const char *text;
    unsigned before = atomic_load(&served_count);
    for (int i = 0; i < 3; i++) {
        say(&t, "POST /no HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello" GET("/no"));
        assert_int_equal(answer(&t, &text), 401);
        assert_int_equal(answer(&t, &text), 401);
    }
    assert_int_equal(atomic_load(&served_count), before);
    say(&t, GET("/yes"));
    assert_int_equal(answer(&t, &text), 200);
    end(&t);
}

static void test_a_head_of_16_kib(void **state)
{
    (void)state;
    static char h[65536];
    struct talk t = begin();
    const char *text;
    for (int i = 0; i < 3; i++) { /* the first one, and on a connection that goes on */
        size_t n = (size_t)snprintf(h, sizeof h, "POST /fields HTTP/1.1\r\nHost: a\r\nX-Token: ");
        memset(h + n, 't', 16384 - n);
        snprintf(h + 16384, sizeof h - 16384, "\r\nContent-Length: 3\r\n\r\nabc");
        say(&t, h);
        assert_int_equal(answer(&t, &text), 200);
    }
    memset(h, 'x', sizeof h);
    say(&t, "GET /x HTTP/1.1\r\nHost: a\r\nX: ");
    say_bytes(&t, h, sizeof h);
    assert_int_equal(answer(&t, &text), 431);
    assert_true(closes_within(&t, 3000));
    end(&t);
}

/* ---- malformed ---- */

static void test_malformed_heads(void **state)
{
    (void)state;
    static const struct {
        const char *head;
        unsigned status;
    } cases[] = {
        { "GET /x HTTP/1.1\r\n\r\n", 400 },
        { "GET /x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400 },
        { "GET /x HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n", 400 },
        { "GET /x HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n", 400 },
        { "GET /x HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", 400 },
        { "GET  /x HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
        { "GET /x y HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
        { "GET /x HTTP/3.0\r\nHost: a\r\n\r\n", 505 },
        { "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx", 400 },
        { "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
          400 },
        { "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 400 },
        { "POST /x HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400 },
    };
    unsigned before = atomic_load(&served_count);
    /* In one piece: judged before the daemon sees it. In two, or later on the connection: after the
     * daemon. */
    for (unsigned how = 0; how < 3; how++)
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            struct talk t = begin();
            if (how == 1) {
                say_bytes(&t, cases[i].head, 3);
                usleep(20000);
            } else if (how == 2) {
                say(&t, GET("/no"));
                assert_int_equal(answer(&t, NULL), 401);
            }
            say(&t, cases[i].head + (how == 1 ? 3 : 0));
            unsigned status = answer(&t, NULL);
            if (status != cases[i].status)
                fail_msg("%u, not %u, way %u: %s", status, cases[i].status, how, cases[i].head);
            assert_true(closes_within(&t, 3000));
            assert_int_equal(t.len, 0);
            end(&t);
        }
    assert_int_equal(atomic_load(&served_count), before);
}

/* ---- behind proxies ---- */

static void test_forwarded(void **state)
{
    (void)state;
    static const struct {
        const char *fields, *client, *secure;
    } cases[] = {
        { "", "127.0.0.1", "no" },
        { "X-Forwarded-For: 203.0.113.5\r\nX-Forwarded-Proto: https\r\n", "203.0.113.5", "yes" },
        { "X-Forwarded-For: 198.51.100.7\r\nX-FORWARDED-FOR: 203.0.113.6, 10.0.0.1\r\n", "203.0.113.6",
          "no" },
        { "X-Forwarded-For: 203.0.113.5, nobody\r\nX-Forwarded-Proto: https, http\r\n", "127.0.0.1",
          "no" },
        { "", "127.0.0.1", "no" }, /* nothing stays from the request before */
    };
    struct talk t = begin();
    const char *text;
    char head[512], want[64];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(head, sizeof head, "GET /fields HTTP/1.1\r\nHost: a\r\n%s\r\n", cases[i].fields);
        say(&t, head);
        assert_int_equal(answer(&t, &text), 200);
        snprintf(want, sizeof want, "\r\nX-Client: %s\r\n", cases[i].client);
        assert_non_null(strstr(text, want));
        snprintf(want, sizeof want, "\r\nX-Secure: %s\r\n", cases[i].secure);
        assert_non_null(strstr(text, want));
        assert_non_null(strstr(text, "X-Peer: 127.0.0.1\r\n"));
    }
    end(&t);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)
    const struct CMUnitTest tests[] = {
        TEST(test_answers),
        TEST(test_head_has_no_body),
        TEST(test_pipelined),
        TEST(test_gzip),
        TEST(test_chunks),
        TEST(test_body_limit),
        TEST(test_413_reaches_a_peer_that_sends_on),
        TEST(test_expect),
        TEST(test_answer_at_the_head),
        TEST(test_a_head_of_16_kib),
        TEST(test_malformed_heads),
        TEST(test_forwarded),
    };
    return cmocka_run_group_tests(tests, make_files, remove_files);
}

/* The engine and its peers: answers that come later, peers that go away, slow ones, limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/http_bench.h"

/* ---- waiting ---- */

static void test_wait(void **state)
{
    (void)state;
    struct talk t = begin();
    const char *text;
    unsigned freed = atomic_load(&freed_count);
    for (unsigned i = 0; i < 3; i++) {
        say(&t, GET("/wait100"));
        assert_int_equal(answer(&t, &text), 200);
        assert_string_equal(body_of(text), "later");
        say(&t, GET("/pool"));
        assert_int_equal(answer(&t, &text), 200);
        assert_string_equal(body_of(text), "pool");
    }
    until(&freed_count, freed + 6);
    end(&t);
}

/* Longer than the engine keeps a connection's pages: fields, and the request behind, are still
 * there. */
static void test_long_wait(void **state)
{
    (void)state;
    static char token[12001];
    char head[13000];
    const char *text;
    memset(token, 'e', sizeof token - 1);
    struct talk t = begin();
    for (unsigned i = 0; i < 3; i++) {
        snprintf(head, sizeof head,
                 "GET /wait1300 HTTP/1.1\r\nHost: a\r\nX-Echo: %s\r\n\r\n" GET("/after"),
                 i == 1 ? token : "small");
        say(&t, head);
        assert_int_equal(answer(&t, &text), 200);
        assert_string_equal(body_of(text), i == 1 ? token : "small");
        assert_int_equal(answer(&t, &text), 200);
        assert_string_equal(body_of(text), "/after");
    }
    end(&t);
    /* An empty line before the first head: where the memory begins is not known. */
    t = begin();
    say(&t, "\r\n\r\nGET /wait1300 HTTP/1.1\r\nHost: a\r\nX-Echo: me\r\n\r\n");
    assert_int_equal(answer(&t, &text), 200);
    assert_string_equal(body_of(text), "me");
    end(&t);
    /* The peer goes away from there. */
    unsigned gone = atomic_load(&gone_count);
    t = begin();
    say(&t, GET("/wait60000"));
    until(&waiting_count, 1);
    usleep(1300000);
    end(&t);
    until(&gone_count, gone + 1);
}

static void test_peer_goes_away(void **state)
{
    (void)state;
    unsigned gone = atomic_load(&gone_count), freed = atomic_load(&freed_count);
    struct linger reset = { .l_onoff = 1 };
    for (unsigned i = 0; i < 3; i++) {
        struct talk t = begin();
        say(&t, GET("/wait60000"));
        until(&waiting_count, 1);
        if (i == 1)
            setsockopt(t.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        if (i == 2)
            shutdown(t.fd, SHUT_WR);
        else
            close(t.fd);
        until(&gone_count, gone + i + 1);
        until(&freed_count, freed + i + 1);
        if (i == 2)
            assert_true(closes_within(&t, 3000));
        if (i == 2)
            close(t.fd);
        free(t.buf);
    }
    until(&waiting_count, 0);
    /* gone is told once; the answer comes later and reaches nobody. */
    struct talk t = begin();
    say(&t, GET("/slow300"));
    until(&waiting_count, 1);
    end(&t);
    until(&gone_count, gone + 4);
    until(&waiting_count, 0);
    until(&freed_count, freed + 4);
    /* Nobody asked to be told. */
    t = begin();
    say(&t, GET("/short200"));
    until(&waiting_count, 1);
    end(&t);
    until(&freed_count, freed + 5);
    assert_int_equal(atomic_load(&gone_count), gone + 4);
}

static void test_peer_that_closed_before(void **state)
{
    (void)state;
    unsigned gone = atomic_load(&gone_count);
    struct talk t = begin();
    const char *text;
    say(&t, GET("/1"));
    shutdown(t.fd, SHUT_WR);
    assert_int_equal(answer(&t, &text), 200); /* one that only reads is answered */
    assert_true(closes_within(&t, 3000));
    end(&t);
    t = begin();
    say(&t, GET("/wait60000"));
    shutdown(t.fd, SHUT_WR);
    until(&gone_count, gone + 1);
    end(&t);
}

/* ---- time ---- */

static void test_slow_head(void **state)
{
    (void)state;
    struct talk t = begin();
    uint64_t ms = drip(&t, "GET "
                           "/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                           "a");
    assert_true(ms > 1200 && ms < 4000);
    end(&t);
    t = begin();
    ms = drip(&t, "GET / HTTP/1.1\r\nHost: a\r\nX: "
                  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    assert_true(ms > 1200 && ms < 4000);
    end(&t);
    t = begin(); /* says nothing at all */
    assert_true(closes_within(&t, 3000));
    assert_int_equal(t.len, 0);
    end(&t);
}

static void test_slow_head_on_a_connection_that_goes_on(void **state)
{
    (void)state;
    struct talk t = begin();
    say(&t, GET("/1"));
    assert_int_equal(answer(&t, NULL), 200);
    say(&t, "GET / HTTP/1.1\r\n");
    uint64_t ms = drip(&t, "X: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    assert_true(ms > 1200 && ms < 4000);
    assert_int_equal(answer(&t, NULL), 408);
    end(&t);
}

static void test_slow_body(void **state)
{
    (void)state;
    struct talk t = begin();
    say(&t, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n");
    uint64_t ms = drip(&t, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    assert_true(ms > 1200 && ms < 4000);
    assert_int_equal(answer(&t, NULL), 408);
    end(&t);
}

static void test_idle(void **state)
{
    (void)state;
    struct talk t = begin();
    say(&t, GET("/1"));
    assert_int_equal(answer(&t, NULL), 200);
    uint64_t from = now_ms();
    assert_true(closes_within(&t, 6000));
    assert_true(now_ms() - from > 2500);
    assert_int_equal(t.len, 0);
    end(&t);
}

static void test_a_wait_is_not_idle(void **state)
{
    (void)state;
    struct talk t = begin();
    say(&t, GET("/wait4500"));
    assert_int_equal(answer(&t, NULL), 200);
    end(&t);
}

/* ---- limits ---- */

static void test_connections_limit(void **state)
{
    (void)state;
    struct talk t[4];
    for (unsigned i = 0; i < 4; i++) {
        const char *text;
        struct sockaddr_un a = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (i == 3) {
            end(&t[0]); /* makes room */
            usleep(200000);
        }
        memcpy(a.sun_path, socket_path, strlen(socket_path));
        assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
        t[i] = begin_on(fd);
        say(&t[i], GET("/fields"));
        assert_int_equal(answer(&t[i], &text), i == 2 ? 503 : 200);
        assert_non_null(strstr(text, i == 2 ? "Retry-After: " : "X-Peer: unix\r\n"));
    }
    for (unsigned i = 1; i < 4; i++)
        end(&t[i]);
}

static void test_unix_socket(void **state)
{
    (void)state;
    struct stat st;
    char error[256];
    struct http_listen l = { .address = socket_path,
                             .head_ms = 1000,
                             .body_ms = 1000,
                             .idle_ms = 1000,
                             .connections_max = 10,
                             .socket_mode = 0600,
                             .handler = { .serve = serve } };
    assert_int_equal(stat(socket_path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0620);
    assert_null(http_start(&l, 1, 1, error, sizeof error));
    assert_non_null(strstr(error, "already in use"));
    assert_int_equal(stat(socket_path, &st), 0); /* the live one keeps its path */
    http_stop(server, 1000);
    server = NULL;
    assert_int_equal(stat(socket_path, &st), -1);
    /* A stale one is replaced; what is no socket is left alone. */
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    memcpy(a.sun_path, socket_path, strlen(socket_path));
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    close(fd);
    assert_non_null(server = http_start(&l, 1, 1, error, sizeof error));
    http_stop(server, 1000);
    server = NULL;
    l.address = cert_path;
    assert_null(http_start(&l, 1, 1, error, sizeof error));
    assert_non_null(strstr(error, "is not a socket"));
    assert_int_equal(stat(cert_path, &st), 0);
}

static void test_start_fails(void **state)
{
    (void)state;
    char error[256], taken[64];
    struct http_listen l = { .address = taken,
                             .connections_max = 1,
                             .handler = { .serve = serve } };
    static const char *const bad[] = { "nowhere", "127.0.0.1", "::1:80",
                                       "[::1]80", "[::1",      "1.2.3.4:x" };
    snprintf(taken, sizeof taken, "%s", http_address(server, PLAIN));
    assert_null(http_start(&l, 1, 1, error, sizeof error));
    assert_non_null(strstr(error, taken));
    assert_non_null(strstr(error, "in use"));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        l.address = bad[i];
        assert_null(http_start(&l, 1, 1, error, sizeof error));
        assert_non_null(strstr(error, bad[i]));
    }
    l = (struct http_listen){ .address = "127.0.0.1:0", .tls_certificate = "/nowhere/c.pem",
                              .tls_key = key_path, .handler = { .serve = serve } };
    assert_null(http_start(&l, 1, 1, error, sizeof error));
    assert_string_equal(error, "/nowhere/c.pem: cannot be read");
    static const char *const proxies[] = { "10.0.0.0/8", "everywhere", NULL };
    l = (struct http_listen){ .address = "127.0.0.1:0", .proxies = proxies,
                              .handler = { .serve = serve } };
    assert_null(http_start(&l, 1, 1, error, sizeof error));
    assert_non_null(strstr(error, "127.0.0.1:0: proxies: \"everywhere\""));
}

static void test_a_reader_that_does_not_read(void **state)
{
    (void)state;
    struct talk t = begin();
    say(&t, GET("/huge"));
    assert_int_equal(hear(&t, 5000), 1);
    usleep(300000);
    /* Others are served meanwhile. */
    struct talk other = begin();
    say(&other, GET("/1"));
    assert_int_equal(answer(&other, NULL), 200);
    end(&other);
    end(&t);
}

/* ---- other terms ---- */

/* For the next request of a connection that is open, and for new ones. */
static void test_other_terms(void **state)
{
    (void)state;
    struct http_listen l[LISTENERS];
    char error[256];
    static const char *const nobody[] = { NULL };
    struct talk open = begin(), waiting = begin();
    const char *text;
    say(&open, GET("/1"));
    assert_int_equal(answer(&open, NULL), 200);
    say(&waiting, GET("/short500"));
    until(&waiting_count, 1);
    make_listens(l);
    l[PLAIN].handler.body_max = 10;
    l[PLAIN].idle_ms = 300;
    l[PLAIN].proxies = nobody;
    l[PLAIN].connections_max = 3;
    assert_true(change(l, error, sizeof error));
    /* A request under way ends by the old ones. */
    assert_int_equal(answer(&waiting, &text), 200);
    assert_null(strstr(text, "Connection: close"));
    struct talk third = begin(), one_too_many = begin();
    say(&third, "GET /fields HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.7\r\n\r\n");
    assert_int_equal(answer(&third, &text), 200);
    assert_non_null(strstr(text, "X-Client: 127.0.0.1"));
    assert_int_equal(answer(&one_too_many, NULL), 503);
    say(&open, "POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n");
    assert_int_equal(answer(&open, NULL), 413);
    assert_true(closes_within(&third, 1500));
    end(&open);
    end(&waiting);
    end(&third);
    end(&one_too_many);
}

static void test_terms_that_cannot_be(void **state)
{
    (void)state;
    struct http_listen l[LISTENERS];
    char error[256];
    static const char *const bad[] = { "10.0.0.0/40", NULL };
    make_listens(l);
    l[UNIX_SOCKET].proxies = bad;
    l[PLAIN].handler.body_max = 1;
    assert_false(change(l, error, sizeof error));
    assert_non_null(strstr(error, "proxies: "));
    make_listens(l);
    l[PLAIN].tls_certificate = cert_path;
    l[PLAIN].tls_key = key_path;
    assert_false(change(l, error, sizeof error));
    assert_non_null(strstr(error, "whether it speaks TLS cannot change"));
    /* Nothing of it is in force. */
    struct talk t = begin();
    say(&t, "POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nabcd");
    assert_int_equal(answer(&t, NULL), 200);
    end(&t);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)
    const struct CMUnitTest tests[] = {
        TEST(test_other_terms),
        TEST(test_terms_that_cannot_be),
        TEST(test_wait),
        TEST(test_long_wait),
        TEST(test_peer_goes_away),
        TEST(test_peer_that_closed_before),
        TEST(test_slow_head),
        TEST(test_slow_head_on_a_connection_that_goes_on),
        TEST(test_slow_body),
        TEST(test_idle),
        TEST(test_a_wait_is_not_idle),
        TEST(test_connections_limit),
        TEST(test_unix_socket),
        TEST(test_start_fails),
        TEST(test_a_reader_that_does_not_read),
    };
    return cmocka_run_group_tests(tests, make_files, remove_files);
}

/* The engine: answers that are written piece by piece. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <gnutls/gnutls.h>

#include "src/server/http/engine.h"
#include "tests/unit/http_streams.h"

#define MIB ((size_t)1 << 20)

/* ---- a client that reads as it is told ---- */

enum ending { WHOLE_ANSWER, CUT, RESET };

struct download {
    struct talk t;
    gnutls_session_t tls;               /* NULL: plain */
    gnutls_certificate_credentials_t credentials;
    char head[2048];
    bool chunked;
    size_t length;                      /* Content-Length; SIZE_MAX: none */
    size_t got;                         /* of the body, after its chunks are undone */
    size_t rest, rest_every;            /* microseconds; bytes */
    size_t most_resident;
    char buf[16384];
    size_t at, len;                     /* of buf */
};

static void say_get(struct download *d, const char *target)
{
    char head[256];
    size_t n = (size_t)snprintf(head, sizeof head, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", target);
    if (d->tls)
        assert_int_equal(gnutls_record_send(d->tls, head, n), n);
    else
        say_bytes(&d->t, head, n);
}

/* The next byte; -1: closed, -2: by a reset. */
static int next_byte(struct download *d)
{
    if (d->at == d->len) {
        ssize_t n;
        if (d->tls)
            do
                n = gnutls_record_recv(d->tls, d->buf, sizeof d->buf);
            while (n == GNUTLS_E_AGAIN || n == GNUTLS_E_INTERRUPTED);
        else
            n = recv(d->t.fd, d->buf, sizeof d->buf, 0);
        if (n <= 0)
            return n == 0 ? -1 : -2;
        d->len = (size_t)n;
        d->at = 0;
        if (d->most_resident) {
            size_t now = resident();
            d->most_resident = now > d->most_resident ? now : d->most_resident;
        }
    }
    return (unsigned char)d->buf[d->at++];
}

static unsigned read_head(struct download *d)
{
    size_t len = 0;
    int c;
    while (!(len > 4 && memcmp(d->head + len - 4, "\r\n\r\n", 4) == 0) && (c = next_byte(d)) >= 0) {
        assert_true(len + 1 < sizeof d->head);
        d->head[len++] = (char)c;
    }
    d->head[len] = '\0';
    const char *length = strstr(d->head, "\r\nContent-Length: ");
    d->chunked = strstr(d->head, "\r\nTransfer-Encoding: chunked\r\n") != NULL;
    d->length = length ? strtoul(length + 18, NULL, 10) : SIZE_MAX;
    d->got = 0;
    return len ? (unsigned)atoi(d->head + 9) : 0;
}

/* Bytes of the pattern. 0: all came. */
static int read_bytes(struct download *d, size_t len)
{
    for (size_t i = 0; i < len; i++, d->got++) {
        int c = next_byte(d);
        if (c < 0)
            return c;
        if ((char)c != pattern(d->got))
            fail_msg("byte %zu is %d", d->got, c);
        if (d->rest && d->got % d->rest_every == 0)
            usleep((unsigned)d->rest);
    }
    return 0;
}

static int read_line(struct download *d, char line[64])
{
    size_t n = 0;
    for (int c; n == 0 || line[n - 1] != '\n'; line[n++] = (char)c) {
        if ((c = next_byte(d)) < 0)
            return c;
        assert_true(n < 62);
    }
    line[n] = '\0';
    return 0;
}

static enum ending read_body(struct download *d)
{
    char line[64];
    int rc = 0;
    if (!d->chunked) {
        rc = read_bytes(d, d->length);
        return rc == 0 || (rc == -1 && d->length == SIZE_MAX) ? WHOLE_ANSWER : rc == -1 ? CUT : RESET;
    }
    for (size_t n = 1; n > 0 && rc == 0;) {
        if ((rc = read_line(d, line)) != 0)
            break;
        n = strtoul(line, NULL, 16);
        rc = n ? read_bytes(d, n) : 0;
        if (rc == 0 && (rc = read_line(d, line)) == 0)
            assert_string_equal(line, "\r\n");
    }
    return rc == 0 ? WHOLE_ANSWER : rc == -1 ? CUT : RESET;
}

static struct download begin_download(const char *target)
{
    struct download d = { .t = begin() };
    say_get(&d, target);
    return d;
}

/* ---- */

/* Behind each other on one connection; with and without http_wait before. */
static void test_lengths(void **state)
{
    (void)state;
    static const size_t lengths[] = { 0, 1, 2, 4095, HTTP_WINDOW, HTTP_WINDOW + 1, MIB + 3 };
    struct download d = { .t = begin() };
    for (unsigned how = 0; how < 4; how++)
        for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
            char target[64];
            snprintf(target, sizeof target, "/%s?%zu%s", how & 1 ? "chunks" : "down", lengths[i],
                     how & 2 ? "&direct" : "");
            say_get(&d, target);
            say_get(&d, "/up"); /* pipelined */
            assert_int_equal(read_head(&d), 200);
            assert_non_null(strstr(d.head, "\r\nX-A: b\r\n"));
            assert_non_null(strstr(d.head, "\r\nContent-Type: x/y\r\n"));
            assert_true(d.chunked == (how & 1));
            assert_true(d.length == (how & 1 ? SIZE_MAX : lengths[i]));
            assert_int_equal(read_body(&d), WHOLE_ANSWER);
            assert_int_equal(d.got, lengths[i]);
            assert_int_equal(read_head(&d), 200);
            while (d.length-- > 0) next_byte(&d);
        }
    assert_true(atomic_load(&seen.most) <= HTTP_WINDOW);
    until(&seen.freed, atomic_load(&seen.served));
    assert_int_equal(atomic_load(&seen.gone), 0);
    end(&d.t);
}

static void test_without_a_body(void **state)
{
    (void)state;
    struct download d = { .t = begin() };
    for (unsigned i = 0; i < 3; i++) {
        say(&d.t, "HEAD /down?500000 HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_int_equal(read_head(&d), 200);
        assert_int_equal(d.length, 500000);
        say(&d.t, "HEAD /down?500000&rest=50&at=70000 HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_int_equal(read_head(&d), 200);
        say_get(&d, "/chunks?0&status=204");
        assert_int_equal(read_head(&d), 204);
        say_get(&d, "/down?100000&status=304"); /* nothing of it is sent */
        assert_int_equal(read_head(&d), 304);
    }
    end(&d.t);
    static const char *const heads[] = { "HEAD /chunks?500000&rest=50&at=70000", "GET /chunks?9&status=304" };
    for (size_t i = 0; i < 2; i++) {
        char head[128];
        d = (struct download){ .t = begin() };
        snprintf(head, sizeof head, "%s HTTP/1.1\r\nHost: a\r\n\r\n", heads[i]);
        say(&d.t, head);
        assert_int_equal(read_head(&d), i ? 304 : 200);
        assert_int_equal(next_byte(&d), -1);
        end(&d.t);
    }
    until(&seen.freed, 14);
}

static void test_http_1_0(void **state)
{
    (void)state;
    struct download d = { .t = begin() };
    say(&d.t, "GET /down?200000 HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n");
    assert_int_equal(read_head(&d), 200);
    assert_int_equal(read_body(&d), WHOLE_ANSWER);
    say(&d.t, "GET /chunks?200000 HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n");
    assert_int_equal(read_head(&d), 200);
    assert_false(d.chunked);
    assert_true(d.length == SIZE_MAX);
    assert_int_equal(read_body(&d), WHOLE_ANSWER);
    assert_int_equal(d.got, 200000);
    end(&d.t);
}

/* A peer must not take a part for the whole. */
static void test_cut_answers(void **state)
{
    (void)state;
    static const struct {
        const char *target, *version;
        size_t got;
        enum ending ending;
    } cases[] = {
        { "/down?200000&cut=100000", "1.1", 100000, CUT },
        { "/down?200000&cut=0", "1.1", 0, CUT },
        /* All of it was written, and yet the handler says it is broken. */
        { "/down?200000&cut=200000", "1.1", 200000, CUT },
        { "/chunks?200000&cut=100000", "1.1", 100000, CUT },
        { "/chunks?200000&cut=0", "1.1", 0, CUT },
        { "/chunks?200000&cut=100000", "1.0", 0, RESET },
    };
    struct download older[4]; /* the engine looks at its oldest connection in any case */
    for (size_t i = 0; i < 4; i++) {
        older[i] = begin_download("/down?1");
        assert_int_equal(read_head(&older[i]), 200);
    }
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct download d = { .t = begin() };
        char head[128];
        snprintf(head, sizeof head, "GET %s HTTP/%s\r\nHost: a\r\n\r\n", cases[i].target,
                 cases[i].version);
        say(&d.t, head);
        if (cases[i].ending == RESET) { /* it may overtake what was sent before */
            int c;
            while ((c = next_byte(&d)) >= 0) continue;
            assert_int_equal(c, -2);
        } else {
            assert_int_equal(read_head(&d), 200);
            assert_int_equal(read_body(&d), cases[i].ending);
            assert_true(d.got == cases[i].got || d.got + 1 == cases[i].got);
        }
        until(&seen.freed, (unsigned)i + 5);
        end(&d.t);
        until(&server->endpoints[PLAIN].connections, 4); /* nothing is left of it */
    }
    for (size_t i = 0; i < 4; i++) end(&older[i].t);
}

/* 50 MB to a peer that rests: it is the handler that waits, and little is kept. */
static void test_a_slow_peer_holds_back_the_handler(void **state)
{
    (void)state;
    const size_t len = 50 * 1000 * 1000;
    static const char *const targets[] = { "/down?50000000", "/chunks?50000000" };
    for (size_t i = 0; i < 2; i++) {
        size_t before = resident();
        struct download d = begin_download(targets[i]);
        d.most_resident = before;
        assert_int_equal(read_head(&d), 200);
        size_t ahead = 0;
        for (unsigned k = 0; k < 100 && ahead != atomic_load(&seen.written); k++) {
            ahead = atomic_load(&seen.written);
            usleep(200000);
        }
        assert_true(ahead > HTTP_WINDOW && ahead < 30 * MIB); /* what the system's buffers hold */
        d.rest = 20000;
        d.rest_every = 4 * MIB;
        assert_int_equal(read_body(&d), WHOLE_ANSWER);
        assert_int_equal(d.got, len);
        assert_true(atomic_load(&seen.most) <= HTTP_WINDOW);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
        assert_true(d.most_resident < before + 2 * MIB);
#endif
        end(&d.t);
    }
}

/* Longer than the engine keeps a connection's pages, before the first byte and between. */
static void test_a_silent_handler(void **state)
{
    (void)state;
    static const char *const targets[] = { "/down?300000&first=1200", "/down?300000&at=150000&rest=1200",
                                           "/chunks?300000&first=1200",
                                           "/chunks?300000&at=150000&rest=1200",
                                           "/down?300000&at=300000&rest=1200" };
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
        struct download d = begin_download(targets[i]);
        say_get(&d, "/down?1");
        assert_int_equal(read_head(&d), 200);
        assert_int_equal(read_body(&d), WHOLE_ANSWER);
        assert_int_equal(d.got, 300000);
        assert_int_equal(read_head(&d), 200);
        assert_int_equal(read_body(&d), WHOLE_ANSWER);
        end(&d.t);
    }
    assert_int_equal(atomic_load(&seen.gone), 0);
}

static void test_a_peer_that_goes_away(void **state)
{
    (void)state;
    struct linger reset = { .l_onoff = 1 };
    /* While the handler writes, while it rests, after a reset; its own side closed only. */
    for (unsigned i = 0; i < 8; i++) {
        struct download d = begin_download(i % 2 ? "/chunks?50000000&at=500000&rest=60000"
                                                 : "/down?50000000");
        assert_int_equal(read_head(&d), 200);
        if (i / 2 == 1)
            setsockopt(d.t.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        if (i / 2 == 2)
            usleep(1200000); /* its pages are given back meanwhile, or it waits for the peer */
        if (i / 2 == 3)
            shutdown(d.t.fd, SHUT_WR);
        else
            close(d.t.fd);
        until(&seen.gone, i + 1);
        until(&seen.freed, i + 1);
        if (i / 2 == 3)
            close(d.t.fd);
        free(d.t.buf);
    }
}

static void test_a_peer_that_does_not_read(void **state)
{
    (void)state;
    struct download d = begin_download("/down?50000000"), slow = begin_download("/chunks?3000000");
    assert_int_equal(read_head(&slow), 200);
    assert_int_equal(read_head(&d), 200);
    /* One that reads slowly, but reads, gets all of it. */
    slow.rest = 10000;
    slow.rest_every = 10000;
    assert_int_equal(read_body(&slow), WHOLE_ANSWER);
    until(&seen.gone, 1);
    until(&seen.freed, 2);
    assert_int_equal(read_body(&d), CUT);
    end(&d.t);
    end(&slow.t);
}

static void test_tls(void **state)
{
    (void)state;
    static char body[5 * WHOLE];
    struct download d = { .t = begin_on(connect_to(TLS)) };
    char head[128];
    gnutls_certificate_allocate_credentials(&d.credentials);
    gnutls_init(&d.tls, GNUTLS_CLIENT);
    gnutls_set_default_priority(d.tls);
    gnutls_credentials_set(d.tls, GNUTLS_CRD_CERTIFICATE, d.credentials);
    gnutls_transport_set_int(d.tls, d.t.fd);
    assert_int_equal(gnutls_handshake(d.tls), 0);
    static const char *const targets[] = { "/down?3000000", "/chunks?3000000",
                                           "/chunks?3000000&at=100000&rest=1200" };
    for (size_t i = 0; i < 3; i++) {
        say_get(&d, targets[i]);
        assert_int_equal(read_head(&d), 200);
        assert_int_equal(read_body(&d), WHOLE_ANSWER);
        assert_int_equal(d.got, 3000000);
    }
    for (unsigned i = 0; i < 2; i++) {
        int n = snprintf(head, sizeof head,
                         "POST /up%s HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n",
                         i ? "?hold=1200" : "", sizeof body);
        fill(body, sizeof body, 0);
        assert_int_equal(gnutls_record_send(d.tls, head, (size_t)n), n);
        for (size_t at = 0; at < sizeof body;) {
            ssize_t sent = gnutls_record_send(d.tls, body + at, sizeof body - at);
            assert_true(sent > 0);
            at += (size_t)sent;
        }
        assert_int_equal(read_head(&d), 200);
        char text[64] = "";
        for (size_t k = 0; k < d.length; k++) text[k] = (char)next_byte(&d);
        assert_string_equal(text, "327680 stream length good");
    }
    say_get(&d, "/down?3000000&cut=1000000");
    assert_int_equal(read_head(&d), 200);
    assert_int_not_equal(read_body(&d), WHOLE_ANSWER);
    assert_true(d.got <= 1000000);
    gnutls_deinit(d.tls);
    gnutls_certificate_free_credentials(d.credentials);
    end(&d.t);
}

/* What is under way ends, what has stopped is ended. */
static void test_stop(void **state)
{
    (void)state;
    struct download going = begin_download("/chunks?900000&at=500000&rest=500");
    struct download stuck = begin_download("/down?50000000&at=1&rest=60000");
    struct download waiting = begin_download("/down?1&first=60000");
    assert_int_equal(read_head(&going), 200);
    assert_int_equal(read_head(&stuck), 200);
    until(&seen.served, 3);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) /* reads while the server stops */
        _exit(read_body(&going) == WHOLE_ANSWER && going.got == 900000 ? 0 : 1);
    uint64_t from = now_ms();
    http_stop(server, 2000);
    server = NULL;
    assert_true(now_ms() - from < 8000);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(read_body(&stuck), CUT);
    assert_int_equal(read_head(&waiting), 0);
    assert_int_equal(atomic_load(&seen.gone), 2);
    assert_int_equal(atomic_load(&seen.freed), 3);
    end(&going.t);
    end(&stuck.t);
    end(&waiting.t);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, start_streams, stop)
    const struct CMUnitTest tests[] = {
        TEST(test_lengths),
        TEST(test_without_a_body),
        TEST(test_http_1_0),
        TEST(test_cut_answers),
        TEST(test_a_slow_peer_holds_back_the_handler),
        TEST(test_a_silent_handler),
        TEST(test_a_peer_that_goes_away),
        TEST(test_a_peer_that_does_not_read),
        TEST(test_tls),
        TEST(test_stop),
    };
    return cmocka_run_group_tests(tests, make_files, remove_files);
}

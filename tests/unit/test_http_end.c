/* The engine: TLS, and how it stops. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include "tests/unit/http_bench.h"

/* ---- TLS ---- */

struct tls_talk {
    gnutls_session_t session;
    gnutls_certificate_credentials_t credentials;
    int fd;
    char name[64];
};

static int tls_begin(struct tls_talk *t, const char *priority)
{
    gnutls_x509_crt_t crt;
    size_t size = sizeof t->name;
    unsigned count;
    t->fd = connect_to(TLS);
    gnutls_certificate_allocate_credentials(&t->credentials);
    gnutls_init(&t->session, GNUTLS_CLIENT);
    gnutls_priority_set_direct(t->session, priority, NULL);
    gnutls_credentials_set(t->session, GNUTLS_CRD_CERTIFICATE, t->credentials);
    gnutls_transport_set_int(t->session, t->fd);
    int rc;
    do
        rc = gnutls_handshake(t->session);
    while (rc < 0 && !gnutls_error_is_fatal(rc));
    if (rc < 0)
        return rc;
    const gnutls_datum_t *list = gnutls_certificate_get_peers(t->session, &count);
    gnutls_x509_crt_init(&crt);
    gnutls_x509_crt_import(crt, list, GNUTLS_X509_FMT_DER);
    gnutls_x509_crt_get_dn(crt, t->name, &size);
    gnutls_x509_crt_deinit(crt);
    return 0;
}

static void tls_end(struct tls_talk *t)
{
    gnutls_deinit(t->session);
    gnutls_certificate_free_credentials(t->credentials);
    close(t->fd);
}

static void tls_ask(struct tls_talk *t, const char *request, const char *want)
{
    char buf[4096] = "";
    size_t len = 0;
    assert_int_equal(gnutls_record_send(t->session, request, strlen(request)), strlen(request));
    while (!strstr(buf, want)) {
        ssize_t n = gnutls_record_recv(t->session, buf + len, sizeof buf - 1 - len);
        if (n == GNUTLS_E_AGAIN || n == GNUTLS_E_INTERRUPTED)
            continue;
        if (n <= 0)
            fail_msg("%zd instead of %s after: %s", n, want, buf);
        len += (size_t)n;
        buf[len] = '\0';
    }
}

static void test_tls(void **state)
{
    (void)state;
    struct tls_talk t, old;
    static const char *const good[] = { "NORMAL", "NORMAL:-VERS-ALL:+VERS-TLS1.2" };
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(tls_begin(&t, good[i]), 0);
        assert_string_equal(t.name, "CN=first.example");
        tls_ask(&t, GET("/fields"), "X-Tls: yes");
        tls_ask(&t, GET("/wait100"), "later");
        tls_ask(&t, "GET /x HTTP/1.1\r\n\r\n", "HTTP/1.1 400 ");
        tls_end(&t);
    }
    assert_true(tls_begin(&old, "NORMAL:-VERS-ALL:+VERS-TLS1.1:+VERS-TLS1.0") < 0);
    tls_end(&old);
}

static void test_tls_reload(void **state)
{
    (void)state;
    struct tls_talk before, after;
    char error[256];
    assert_int_equal(tls_begin(&before, "NORMAL"), 0);
    make_certificate("second.example");
    assert_true(change(NULL, error, sizeof error));
    assert_int_equal(tls_begin(&after, "NORMAL"), 0);
    assert_string_equal(after.name, "CN=second.example");
    tls_ask(&before, GET("/old"), "/old");
    tls_ask(&after, GET("/new"), "/new");
    tls_end(&before);
    tls_end(&after);
    /* What cannot be read leaves the old one in place. */
    FILE *f = fopen(cert_path, "w");
    fputs("nonsense\n", f);
    fclose(f);
    assert_false(change(NULL, error, sizeof error));
    assert_non_null(strstr(error, cert_path));
    assert_int_equal(tls_begin(&after, "NORMAL"), 0);
    assert_string_equal(after.name, "CN=second.example");
    tls_end(&after);
    make_certificate("first.example");
}

static void test_tls_peer_that_says_nothing(void **state)
{
    (void)state;
    struct talk t = begin_on(connect_to(TLS));
    assert_true(closes_within(&t, 4000));
    end(&t);
    t = begin_on(connect_to(TLS));
    say(&t, GET("/x"));
    assert_true(closes_within(&t, 4000));
    assert_null(strstr(t.buf, " 200 "));
    end(&t);
}

/* ---- the end ---- */

static void test_stop(void **state)
{
    (void)state;
    unsigned gone = atomic_load(&gone_count), freed = atomic_load(&freed_count);
    const char *text;
    struct talk idle = begin(), waiting = begin(), soon = begin(), fresh = begin();
    struct talk answered = begin();
    say(&idle, GET("/1"));
    assert_int_equal(answer(&idle, NULL), 200);
    say(&waiting, GET("/wait60000"));
    say(&soon, GET("/short400"));
    say(&answered, GET("/until60000"));
    until(&waiting_count, 3);
    uint64_t from = now_ms();
    http_stop(server, 5000);
    server = NULL;
    uint64_t took = now_ms() - from;
    assert_true(took >= 200 && took < 4000); /* as long as the one that ends by itself */
    assert_int_equal(atomic_load(&gone_count), gone);
    assert_int_equal(atomic_load(&stop_count), 2);
    assert_int_equal(atomic_load(&freed_count), freed + 3);
    assert_int_equal(answer(&soon, &text), 200);
    assert_non_null(strstr(text, "Connection: close"));
    assert_int_equal(answer(&answered, &text), 200);
    assert_string_equal(strstr(text, "\r\n\r\n") + 4, "stops");
    assert_true(closes_within(&idle, 1000));
    assert_true(closes_within(&waiting, 1000));
    assert_null(strstr(waiting.buf, "HTTP/"));
    assert_true(closes_within(&fresh, 1000));
    end(&idle);
    end(&waiting);
    end(&soon);
    end(&fresh);
    end(&answered);
}

/* Who has connected just before is served. */
static void test_stop_is_no_surprise(void **state)
{
    (void)state;
    struct talk fresh[] = { begin(), begin() };
    usleep(100000); /* accepted */
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        bool good = true;
        usleep(300000); /* the server is stopping */
        for (int i = 0; i < 2; i++) {
            say(&fresh[i], GET("/1"));
            good = answer(&fresh[i], NULL) == 200 && good;
        }
        _exit(good ? 0 : 1);
    }
    http_stop(server, 5000);
    server = NULL;
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    for (int i = 0; i < 2; i++) end(&fresh[i]);
}

/* What still waits when the limit is over is told so, and cut. */
static void test_gone_at_the_limit(void **state)
{
    (void)state;
    unsigned gone = atomic_load(&gone_count);
    struct talk slow = begin();
    say(&slow, GET("/slow1200"));
    until(&waiting_count, 1);
    uint64_t from = now_ms();
    http_drain(server, 500);
    assert_false(http_drained(server));
    usleep(300000);
    assert_int_equal(atomic_load(&gone_count), gone);
    http_stop(server, 0);
    server = NULL;
    assert_true(now_ms() - from >= 500);
    assert_int_equal(atomic_load(&gone_count), gone + 1);
    assert_true(closes_within(&slow, 1000));
    assert_null(strstr(slow.buf, "HTTP/"));
    end(&slow);
}

static void test_stop_has_a_limit(void **state)
{
    (void)state;
    struct talk sending = begin(), reading = begin();
    say(&sending, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc");
    say(&reading, GET("/huge"));
    assert_int_equal(hear(&reading, 5000), 1);
    uint64_t from = now_ms();
    http_stop(server, 300);
    server = NULL;
    assert_true(now_ms() - from < 3000);
    end(&sending);
    end(&reading);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)
    const struct CMUnitTest tests[] = {
        TEST(test_tls),
        TEST(test_tls_reload),
        TEST(test_tls_peer_that_says_nothing),
        TEST(test_stop),
        TEST(test_stop_is_no_surprise),
        TEST(test_gone_at_the_limit),
        TEST(test_stop_has_a_limit),
    };
    return cmocka_run_group_tests(tests, make_files, remove_files);
}

/* The engine: certificates that clients show. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include "tests/unit/http_bench.h"

#define CLIENT "cn=ann\\nexpiration_days=2\\nsigning_key\\n"

/* What the server sees of a client with that certificate, and what it should have seen. */
struct seen_as {
    char answer[4096], whole[32];
};

static gnutls_session_t session_to(gnutls_certificate_credentials_t credentials, int fd,
                                   const char *priority)
{
    gnutls_session_t session;
    int rc;
    gnutls_init(&session, GNUTLS_CLIENT);
    gnutls_priority_set_direct(session, priority, NULL);
    gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, credentials);
    gnutls_transport_set_int(session, fd);
    do
        rc = gnutls_handshake(session);
    while (rc < 0 && !gnutls_error_is_fatal(rc));
    assert_int_equal(rc, 0);
    return session;
}

static void ask(gnutls_session_t session, struct seen_as *out)
{
    size_t len = 0;
    out->answer[0] = '\0';
    assert_true(gnutls_record_send(session, GET("/fields"), strlen(GET("/fields"))) > 0);
    while (!strstr(out->answer, "\r\n\r\n")) {
        ssize_t n = gnutls_record_recv(session, out->answer + len, sizeof out->answer - 1 - len);
        if (n == GNUTLS_E_AGAIN || n == GNUTLS_E_INTERRUPTED)
            continue;
        assert_true(n > 0);
        len += (size_t)n;
        out->answer[len] = '\0';
    }
}

/* name: of the pair in the files' folder; NULL: none is shown. */
static struct seen_as seen_with(const char *name, const char *priority)
{
    struct seen_as seen = { .whole = "X-Certificate: 0 00\r\n" };
    gnutls_certificate_credentials_t credentials;
    char cert[128], key[128], file[64];
    gnutls_certificate_allocate_credentials(&credentials);
    if (name) {
        snprintf(file, sizeof file, "%s.pem", name);
        snprintf(cert, sizeof cert, "%s", file_of(file));
        snprintf(file, sizeof file, "%s-key.pem", name);
        snprintf(key, sizeof key, "%s", file_of(file));
        assert_int_equal(gnutls_certificate_set_x509_key_file2(credentials, cert, key,
                                                               GNUTLS_X509_FMT_PEM, NULL,
                                                               GNUTLS_PKCS_PLAIN), 0);
        /* Shown whatever the server would have: a hostile client does the same. */
        gnutls_certificate_set_flags(credentials, GNUTLS_CERTIFICATE_SKIP_KEY_CERT_MATCH);
    }
    int fd = connect_to(TLS);
    gnutls_session_t session = session_to(credentials, fd, priority);
    for (unsigned i = 0; i < 2; i++) ask(session, &seen); /* the second is not verified again */
    const gnutls_datum_t *own = gnutls_certificate_get_ours(session);
    if (own)
        snprintf(seen.whole, sizeof seen.whole, "X-Certificate: %u 30\r\n", own->size);
    gnutls_deinit(session);
    gnutls_certificate_free_credentials(credentials);
    close(fd);
    return seen;
}

static void test_vouched_for(void **state)
{
    (void)state;
    static const char *const versions[] = { "NORMAL", "NORMAL:-VERS-ALL:+VERS-TLS1.2" };
    make_pair("ann", "ca", CLIENT "tls_www_client\\n");
    make_pair("any", "ca", CLIENT); /* for no purpose in particular */
    for (size_t i = 0; i < 2; i++) {
        struct seen_as seen = seen_with("ann", versions[i]);
        assert_non_null(strstr(seen.whole, " 30\r\n"));
        assert_non_null(strstr(seen.answer, seen.whole));
        seen = seen_with("any", versions[i]);
        assert_non_null(strstr(seen.answer, seen.whole));
        seen = seen_with(NULL, versions[i]);
        assert_non_null(strstr(seen.answer, "X-Certificate: 0 00\r\n"));
    }
}

static void test_through_another_authority(void **state)
{
    (void)state;
    make_pair("middle", "ca", "cn=Middle\\nca\\ncert_signing_key\\nexpiration_days=2\\n");
    make_pair("deep", "middle", CLIENT "tls_www_client\\n");
    FILE *chain = fopen(file_of("deep.pem"), "a"), *middle = fopen(file_of("middle.pem"), "r");
    for (int c; (c = fgetc(middle)) != EOF;) fputc(c, chain);
    fclose(chain);
    fclose(middle);
    struct seen_as seen = seen_with("deep", "NORMAL");
    assert_non_null(strstr(seen.answer, seen.whole));
}

static void test_what_does_not_count(void **state)
{
    (void)state;
    make_pair("expired", "ca",
              "cn=ann\\nsigning_key\\ntls_www_client\\n"
              "activation_date=\"2020-01-01 00:00:00\"\\nexpiration_date=\"2020-02-01 00:00:00\"\\n");
    make_pair("early", "ca",
              "cn=ann\\nsigning_key\\ntls_www_client\\n"
              "activation_date=\"2090-01-01 00:00:00\"\\nexpiration_date=\"2090-02-01 00:00:00\"\\n");
    make_pair("server", "ca", CLIENT "tls_www_server\\n");
    make_pair("self", NULL, CLIENT "tls_www_client\\n");
    /* Another authority of the same name. */
    make_pair("ca2", NULL, "cn=CA\\nca\\ncert_signing_key\\nexpiration_days=9\\n");
    make_pair("stranger", "ca2", CLIENT "tls_www_client\\n");
    /* A client's certificate that signs another. */
    make_pair("ann", "ca", CLIENT "tls_www_client\\n");
    make_pair("friend", "ann", CLIENT "tls_www_client\\n");
    static const char *const names[] = { "expired", "early", "server", "self", "stranger", "friend" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct seen_as seen = seen_with(names[i], "NORMAL");
        if (!strstr(seen.answer, "X-Certificate: 0 00\r\n"))
            fail_msg("%s: %s", names[i], seen.answer);
    }
}

static void test_reload(void **state)
{
    (void)state;
    char error[256];
    make_pair("ca2", NULL, "cn=CA 2\\nca\\ncert_signing_key\\nexpiration_days=9\\n");
    make_pair("bob", "ca2", CLIENT "tls_www_client\\n");
    struct seen_as seen = seen_with("bob", "NORMAL");
    assert_non_null(strstr(seen.answer, "X-Certificate: 0 00\r\n"));
    char both[128];
    snprintf(both, sizeof both, "%s", file_of("ca2.pem"));
    FILE *from = fopen(both, "r"), *to = fopen(ca_path, "a");
    for (int c; (c = fgetc(from)) != EOF;) fputc(c, to);
    fclose(from);
    fclose(to);
    assert_true(change(NULL, error, sizeof error));
    seen = seen_with("bob", "NORMAL");
    assert_non_null(strstr(seen.answer, seen.whole));
    /* What cannot be read leaves the old one in place. */
    static const char *const bad[] = { "nonsense\n", "" };
    for (size_t i = 0; i < 2; i++) {
        to = fopen(ca_path, "w");
        fputs(bad[i], to);
        fclose(to);
        assert_false(change(NULL, error, sizeof error));
        assert_non_null(strstr(error, ca_path));
        seen = seen_with("bob", "NORMAL");
        assert_non_null(strstr(seen.answer, seen.whole));
    }
    make_pair("ca", NULL, "cn=CA\\nca\\ncert_signing_key\\nexpiration_days=9\\n");
}

static void test_without_tls(void **state)
{
    (void)state;
    struct talk t = begin();
    const char *text;
    say(&t, GET("/fields"));
    assert_int_equal(answer(&t, &text), 200);
    assert_non_null(strstr(text, "X-Certificate: 0 00\r\n"));
    end(&t);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)
    const struct CMUnitTest tests[] = {
        TEST(test_vouched_for),
        TEST(test_through_another_authority),
        TEST(test_what_does_not_count),
        TEST(test_reload),
        TEST(test_without_tls),
    };
    return cmocka_run_group_tests(tests, make_files, remove_files);
}

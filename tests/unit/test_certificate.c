/* Whom a certificate names. They are made with GnuTLS here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <gnutls/x509.h>

#include "src/server/auth/certificate.h"

#define NOW 1700000000
#define UPN "1.3.6.1.4.1.311.20.2.3"

static gnutls_x509_privkey_t key;

/* A SAN or a common name; value of UPN: DER of a UTF8String is made of it. */
struct name { const char *kind, *value; size_t len; };
#define NAME(kind, value) {kind, value, sizeof(value) - 1}

static void add(gnutls_x509_crt_t crt, const struct name *n)
{
    uint8_t der[512] = {0x0c, (uint8_t)n->len};
    int rc = -1;
    if (strcmp(n->kind, "cn") == 0) {
        rc = gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, n->value,
                                           (unsigned)n->len);
    } else if (strcmp(n->kind, "upn") == 0) {
        assert_true(n->len < 128);
        memcpy(der + 2, n->value, n->len);
        rc = gnutls_x509_crt_set_subject_alt_othername(crt, UPN, der, (unsigned)n->len + 2,
                                                       GNUTLS_FSAN_APPEND);
    } else if (strcmp(n->kind, "san") == 0) { /* as GnuTLS would not write it */
        rc = gnutls_x509_crt_set_extension_by_oid(crt, GNUTLS_X509EXT_OID_SAN, n->value, n->len, 0);
    } else if (strcmp(n->kind, "other") == 0) {
        memcpy(der + 2, n->value, n->len);
        rc = gnutls_x509_crt_set_subject_alt_othername(crt, "1.2.3.4", der, (unsigned)n->len + 2,
                                                       GNUTLS_FSAN_APPEND);
    } else {
        rc = gnutls_x509_crt_set_subject_alt_name(
            crt, strcmp(n->kind, "dns") == 0 ? GNUTLS_SAN_DNSNAME : GNUTLS_SAN_RFC822NAME, n->value,
            (unsigned)n->len, GNUTLS_FSAN_APPEND);
    }
    assert_int_equal(rc, 0);
}

/* DER, to be freed with gnutls_free. */
static gnutls_datum_t make(const struct name *names, size_t count, time_t from, time_t until)
{
    gnutls_x509_crt_t crt;
    gnutls_datum_t der;
    assert_int_equal(gnutls_x509_crt_init(&crt), 0);
    gnutls_x509_crt_set_version(crt, 3);
    gnutls_x509_crt_set_serial(crt, "\1", 1);
    gnutls_x509_crt_set_activation_time(crt, from);
    gnutls_x509_crt_set_expiration_time(crt, until);
    assert_int_equal(gnutls_x509_crt_set_key(crt, key), 0);
    for (size_t i = 0; i < count; i++) add(crt, &names[i]);
    assert_int_equal(gnutls_x509_crt_sign2(crt, crt, key, GNUTLS_DIG_SHA256, 0), 0);
    assert_int_equal(gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_DER, &der), 0);
    gnutls_x509_crt_deinit(crt);
    return der;
}

static char user[AUTH_USER_MAX], why[AUTH_WHY_MAX];
static int64_t until;

static enum auth_verdict read_named(enum certificate_name kind, const struct name *names,
                                    size_t count)
{
    gnutls_datum_t der = make(names, count, NOW - 10, NOW + 10);
    why[0] = '\0';
    enum auth_verdict v = certificate_read(der.data, der.size, kind, NOW, user, &until, why);
    gnutls_free(der.data);
    return v;
}

static void every_name(void **state)
{
    static const struct {
        enum certificate_name kind;
        struct name names[3];
        const char *want; /* NULL: nobody */
    } rows[] = {
        {CERTIFICATE_EMAIL, {NAME("email", "ann@example.org")}, "ann@example.org"},
        {CERTIFICATE_EMAIL, {NAME("dns", "x"), NAME("email", "ann@x"), NAME("upn", "b@x")}, "ann@x"},
        {CERTIFICATE_EMAIL, {NAME("email", "ann@x"), NAME("email", "ann@x")}, "ann@x"},
        {CERTIFICATE_EMAIL, {NAME("email", "ann@x"), NAME("email", "bob@x")}, NULL},
        {CERTIFICATE_EMAIL, {NAME("cn", "ann@x"), NAME("upn", "ann@x")}, NULL},
        {CERTIFICATE_EMAIL, {NAME("san", "\x30\x0d\x81\x0b" "ann@x\0.evil")}, NULL},
        {CERTIFICATE_EMAIL, {NAME("san", "\x30\x07\x81\x05" "ann@x")}, "ann@x"},
        {CERTIFICATE_EMAIL, {NAME("email", "CORP\\ann")}, NULL},
        {CERTIFICATE_UPN, {NAME("upn", "ann@example.org")}, "ann@example.org"},
        {CERTIFICATE_UPN, {NAME("email", "b@x"), NAME("other", "b@x"), NAME("upn", "ann")}, "ann"},
        {CERTIFICATE_UPN, {NAME("upn", "ann"), NAME("upn", "Ann")}, NULL},
        {CERTIFICATE_UPN, {NAME("other", "ann")}, NULL},
        {CERTIFICATE_UPN, {NAME("email", "ann@x")}, NULL},
        {CERTIFICATE_UPN, {NAME("upn", "a\0b")}, NULL},
        {CERTIFICATE_CN, {NAME("cn", "ann"), NAME("email", "b@x")}, "ann"},
        {CERTIFICATE_CN, {NAME("cn", "D\xc3\xb6rte M\xc3\xbcller")}, "D\xc3\xb6rte M\xc3\xbcller"},
        {CERTIFICATE_CN, {NAME("cn", "ann"), NAME("cn", "bob")}, NULL},
        {CERTIFICATE_CN, {NAME("cn", "ann,bob")}, NULL},
        {CERTIFICATE_CN, {NAME("cn", "CORP\\ann")}, NULL},
        {CERTIFICATE_CN, {NAME("email", "ann@x")}, NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t count = 0;
        while (count < 3 && rows[i].names[count].kind) count++;
        print_message("# row %zu: %s\n", i, rows[i].names[0].value);
        enum auth_verdict v = read_named(rows[i].kind, rows[i].names, count);
        assert_int_equal(v, rows[i].want ? AUTH_OK : AUTH_BAD);
        if (rows[i].want) assert_string_equal(user, rows[i].want);
        if (rows[i].want) assert_int_equal(until, NOW + 10);
        if (!rows[i].want) assert_string_not_equal(why, "");
    }
}

static void names_are_bounded(void **state)
{
    static const char *const kinds[] = {"email", "cn"};
    char text[2048];
    (void)state;
    memset(text, 'a', sizeof text);
    for (size_t k = 0; k < 2; k++) {
        enum certificate_name kind = k ? CERTIFICATE_CN : CERTIFICATE_EMAIL;
        for (size_t len = 60; len < 600; len += len < 120 ? 30 : len < 130 ? 1 : 150) {
            if (k && len > 64) break; /* GnuTLS makes none */
            struct name n = {kinds[k], text, len};
            assert_int_equal(read_named(kind, &n, 1), len < AUTH_USER_MAX ? AUTH_OK : AUTH_BAD);
        }
    }
    struct name n = {"email", text, sizeof text};
    assert_int_equal(read_named(CERTIFICATE_EMAIL, &n, 1), AUTH_BAD);
    struct name many[70];
    for (size_t i = 0; i < 70; i++) many[i] = (struct name){"dns", text, 1};
    many[69] = (struct name)NAME("email", "ann@x");
    assert_int_equal(read_named(CERTIFICATE_EMAIL, many, 70), AUTH_BAD);
    assert_int_equal(read_named(CERTIFICATE_EMAIL, many + 10, 60), AUTH_OK);
}

static void it_must_be_valid_now(void **state)
{
    static const struct name name = NAME("email", "ann@x");
    static const struct {
        int from, until;
        enum auth_verdict want;
    } rows[] = {{-10, 10, AUTH_OK}, {0, 1, AUTH_OK}, {-10, 0, AUTH_BAD}, {1, 10, AUTH_BAD}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        gnutls_datum_t der = make(&name, 1, NOW + rows[i].from, NOW + rows[i].until);
        assert_int_equal(certificate_read(der.data, der.size, CERTIFICATE_EMAIL, NOW, user, &until,
                                          why),
                         rows[i].want);
        gnutls_free(der.data);
    }
}

static void broken_ones_name_nobody(void **state)
{
    static const struct name name = NAME("email", "ann@x");
    gnutls_datum_t der = make(&name, 1, NOW - 10, NOW + 10);
    (void)state;
    for (unsigned cut = 0; cut < der.size; cut++)
        assert_int_equal(certificate_read(der.data, cut, CERTIFICATE_EMAIL, NOW, user, &until, why),
                         AUTH_BAD);
    gnutls_free(der.data);
}

static int make_key(void **state)
{
    (void)state;
    return gnutls_x509_privkey_init(&key) |
           gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA,
                                        GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0);
}

static int free_key(void **state)
{
    (void)state;
    gnutls_x509_privkey_deinit(key);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_name),
        cmocka_unit_test(names_are_bounded),
        cmocka_unit_test(it_must_be_valid_now),
        cmocka_unit_test(broken_ones_name_nobody),
    };
    return cmocka_run_group_tests(tests, make_key, free_key);
}

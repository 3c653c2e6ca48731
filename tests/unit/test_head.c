/* Request heads: what is refused, what is taken, and that nothing is lost by what libmicrohttpd
 * writes into them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/server/http/encoding.h"
#include "src/server/http/head.h"
#include "tests/unit/overwrite.h"

#define LINE "POST /x HTTP/1.1\r\n"
#define HOST "Host: a\r\n"
#define END "\r\n"
#define ROW(fault, text) { fault, text, sizeof(text) - 1 }

static const struct row {
    enum head_fault want;
    const char *head;
    size_t len;
} rows[] = {
    ROW(HEAD_NONE, LINE HOST END),
    ROW(HEAD_NONE, LINE "hOsT:a\r\n" END),
    ROW(HEAD_NONE, LINE "Host: [::1]:8080\r\n" END),
    ROW(HEAD_NONE, LINE "Host:\r\n" END),
    ROW(HEAD_NONE, LINE HOST "X: \t a b \t \r\n" END),
    ROW(HEAD_NONE, LINE HOST "X:\r\n" "Y: \xc3\xa4\r\n" END),
    ROW(HEAD_NONE, LINE HOST "Content-Length: 18446744073709551615\r\n" END),
    ROW(HEAD_NONE, LINE HOST "Transfer-Encoding: CHUNKED\r\n" END),
    ROW(HEAD_NONE, "GET http://a/%41?b=%20+c&d HTTP/1.1\r\n" HOST END),
    ROW(HEAD_NONE, "OPTIONS * HTTP/1.0\r\n" END),
    ROW(HEAD_NONE, "POST /x?User=\xc3\xa4 HTTP/1.1\r\n" HOST END),
    /* the request line */
    ROW(HEAD_REQUEST_LINE, "POST  /x HTTP/1.1\r\n" HOST END),
    ROW(HEAD_REQUEST_LINE, "POST /x  HTTP/1.1\r\n" HOST END),
    ROW(HEAD_REQUEST_LINE, "POST /x y HTTP/1.1\r\n" HOST END),
    ROW(HEAD_REQUEST_LINE, " POST /x HTTP/1.1\r\n" HOST END),
    ROW(HEAD_REQUEST_LINE, "POST\t/x\tHTTP/1.1\r\n" HOST END),
    ROW(HEAD_REQUEST_LINE, "POST /x\x01 HTTP/1.1\r\n" HOST END),
    ROW(HEAD_REQUEST_LINE, "POST /x\x7f HTTP/1.1\r\n" HOST END),
    ROW(HEAD_REQUEST_LINE, "POST /x\0y HTTP/1.1\r\n" HOST END),
    ROW(HEAD_REQUEST_LINE, "PO(ST /x HTTP/1.1\r\n" HOST END),
    ROW(HEAD_REQUEST_LINE, "POST /x\r\n" HOST END),
    ROW(HEAD_REQUEST_LINE, "POST /x \r\n" HOST END),
    ROW(HEAD_REQUEST_LINE, "POST\r\n" HOST END),
    ROW(HEAD_REQUEST_LINE, "\r\n" LINE HOST END),
    ROW(HEAD_REQUEST_LINE, "POST /x http/1.1\r\n" HOST END),
    ROW(HEAD_VERSION, "POST /x HTTP/1.2\r\n" HOST END),
    ROW(HEAD_VERSION, "POST /x HTTP/2.0\r\n" HOST END),
    ROW(HEAD_VERSION, "POST /x HTTP/1.10\r\n" HOST END),
    ROW(HEAD_VERSION, "POST /x HTTP/1.1 \r\n" HOST END),
    ROW(HEAD_VERSION, "POST /x HTTP/\r\n" HOST END),
    /* line ends */
    ROW(HEAD_LINE_END, "POST /x HTTP/1.1\n" HOST END),
    ROW(HEAD_LINE_END, LINE "Host: a\n" END),
    ROW(HEAD_LINE_END, LINE HOST "X: a\rY: b\r\n" END),
    ROW(HEAD_LINE_END, LINE HOST "\n"),
    ROW(HEAD_LINE_END, LINE HOST "\r"),
    ROW(HEAD_UNFINISHED, LINE HOST),
    ROW(HEAD_UNFINISHED, ""),
    ROW(HEAD_TRAILING, LINE HOST END "x"),
    /* fields */
    ROW(HEAD_FIELD_NAME, LINE HOST "X : a\r\n" END),
    ROW(HEAD_FIELD_NAME, LINE HOST "X\t: a\r\n" END),
    ROW(HEAD_FIELD_NAME, LINE HOST "X\r\n" END),
    ROW(HEAD_FIELD_NAME, LINE HOST ": a\r\n" END),
    ROW(HEAD_FIELD_NAME, LINE HOST "X[Y]: a\r\n" END),
    ROW(HEAD_FIELD_NAME, LINE HOST "X\xe4: a\r\n" END),
    ROW(HEAD_FIELD_NAME, LINE HOST "X\0Y: a\r\n" END),
    ROW(HEAD_FOLDED, LINE HOST "X: a\r\n b\r\n" END),
    ROW(HEAD_FOLDED, LINE HOST "X: a\r\n\tb: c\r\n" END),
    ROW(HEAD_FOLDED, LINE " Host: a\r\n" END),
    ROW(HEAD_CONTROL, LINE HOST "X: a\0b\r\n" END),
    ROW(HEAD_CONTROL, LINE HOST "X: a\0\r\n" END),
    ROW(HEAD_CONTROL, LINE HOST "X: a\0\0Y\0 b\r\n" END),
    ROW(HEAD_CONTROL, LINE HOST "X: \x0b" "a\r\n" END),
    ROW(HEAD_CONTROL, LINE HOST "X: a\x7f\r\n" END),
    ROW(HEAD_CONTROL, LINE HOST "X: \x1b[0m\r\n" END),
    /* Host */
    ROW(HEAD_NO_HOST, LINE END),
    ROW(HEAD_TWO_HOSTS, LINE HOST HOST END),
    ROW(HEAD_TWO_HOSTS, "POST /x HTTP/1.0\r\n" HOST HOST END),
    ROW(HEAD_BAD_HOST, LINE "Host: a b\r\n" END),
    ROW(HEAD_BAD_HOST, LINE "Host: a/b\r\n" END),
    ROW(HEAD_BAD_HOST, LINE "Host: u@b\r\n" END),
    /* what must not be there twice */
    ROW(HEAD_REPEATED, LINE HOST "Authorization: Basic eA==\r\nauthorization: Basic eQ==\r\n" END),
    ROW(HEAD_REPEATED, LINE "X-Original-URI: /a\r\n" HOST "X-Original-URI: /a\r\n" END),
    ROW(HEAD_REPEATED, LINE HOST "X-Forwarded-Uri: /a\r\nX-Forwarded-URI: /b\r\n" END),
    ROW(HEAD_NONE, LINE HOST "X-Original-Method: A\r\nX-Original-URI: /\r\nX-Forwarded-Method: A\r\n"
                             "X-Forwarded-Uri: /\r\nAuthorization: x\r\n" END),
    /* framing */
    ROW(HEAD_TWO_LENGTHS, LINE HOST "Content-Length: 5\r\nContent-Length: 6\r\n" END),
    ROW(HEAD_TWO_LENGTHS, LINE HOST "Content-Length: 5\r\ncontent-length: 5\r\n" END),
    ROW(HEAD_BAD_LENGTH, LINE HOST "Content-Length: 5, 5\r\n" END),
    ROW(HEAD_BAD_LENGTH, LINE HOST "Content-Length: +5\r\n" END),
    ROW(HEAD_BAD_LENGTH, LINE HOST "Content-Length: -5\r\n" END),
    ROW(HEAD_BAD_LENGTH, LINE HOST "Content-Length: 0x5\r\n" END),
    ROW(HEAD_BAD_LENGTH, LINE HOST "Content-Length: 5 5\r\n" END),
    ROW(HEAD_BAD_LENGTH, LINE HOST "Content-Length:\r\n" END),
    ROW(HEAD_HUGE_LENGTH, LINE HOST "Content-Length: 18446744073709551616\r\n" END),
    ROW(HEAD_HUGE_LENGTH, LINE HOST "Content-Length: 99999999999999999999999\r\n" END),
    ROW(HEAD_BAD_CODING, LINE HOST "Transfer-Encoding: gzip\r\n" END),
    ROW(HEAD_BAD_CODING, LINE HOST "Transfer-Encoding: gzip, chunked\r\n" END),
    ROW(HEAD_BAD_CODING, LINE HOST "Transfer-Encoding: chunked, chunked\r\n" END),
    ROW(HEAD_BAD_CODING, LINE HOST "Transfer-Encoding: identity\r\n" END),
    ROW(HEAD_BAD_CODING, LINE HOST "Transfer-Encoding:\r\n" END),
    ROW(HEAD_BAD_CODING,
        LINE HOST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n" END),
    ROW(HEAD_LENGTH_AND_CODING,
        LINE HOST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n" END),
    ROW(HEAD_LENGTH_AND_CODING,
        LINE HOST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n" END),
    ROW(HEAD_OLD_AND_CODING, "POST /x HTTP/1.0\r\nTransfer-Encoding: chunked\r\n" END),
};

static void test_every_row(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct head_facts facts;
        enum head_fault got = head_check(rows[i].head, rows[i].len, &facts);
        if (got != rows[i].want)
            fail_msg("row %zu: %s, not %s: %s", i, head_fault_text(got),
                     head_fault_text(rows[i].want), rows[i].head);
    }
}

static void test_every_prefix_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; rows[i].want == HEAD_NONE; i++)
        for (size_t cut = 0; cut < rows[i].len; cut++) {
            struct head_facts facts;
            char *exact = malloc(cut + 1); /* so that the sanitizer sees a read past the end */
            memcpy(exact + 1, rows[i].head, cut);
            assert_int_not_equal(head_check(exact + 1, cut, &facts), HEAD_NONE);
            free(exact);
        }
}

static void test_facts(void **state)
{
    (void)state;
    static const char sized[] = LINE HOST "Content-Length: 0012\r\nExpect: 100-Continue\r\n" END;
    static const char old[] = "POST /x HTTP/1.0\r\n" END;
    static const char chunks[] = LINE HOST "Transfer-Encoding: chunked\r\n" END;
    struct head_facts f;
    assert_int_equal(head_check(sized, sizeof sized - 1, &f), HEAD_NONE);
    assert_true(f.has_length && f.length == 12 && f.expects_continue && !f.chunked && !f.http_1_0);
    assert_int_equal(head_check(old, sizeof old - 1, &f), HEAD_NONE);
    assert_true(f.http_1_0 && !f.has_length && f.length == 0 && !f.expects_continue);
    assert_int_equal(head_check(chunks, sizeof chunks - 1, &f), HEAD_NONE);
    assert_true(f.chunked && !f.has_length);
}

static void test_number_of_fields(void **state)
{
    (void)state;
    for (size_t count = HEAD_FIELDS_MAX - 1; count <= HEAD_FIELDS_MAX; count++) {
        char head[2048] = LINE HOST;
        struct head_facts f;
        for (size_t i = 0; i < count; i++)
            memcpy(head + strlen(head), "X: a\r\n", 7);
        memcpy(head + strlen(head), END, 3);
        assert_int_equal(head_check(head, strlen(head), &f),
                         count < HEAD_FIELDS_MAX ? HEAD_NONE : HEAD_TOO_MANY);
    }
}

static void test_every_fault_has_its_status(void **state)
{
    (void)state;
    for (unsigned f = HEAD_NONE + 1; f < HEAD_FAULT_COUNT; f++) {
        unsigned status = head_fault_status(f);
        assert_true(status == 400 || status == 413 || status == 431 || status == 505);
        assert_true(strlen(head_fault_text(f)) > 10);
    }
    assert_int_equal(head_fault_status(HEAD_FAULT_COUNT), 400);
    assert_string_equal(head_fault_text(HEAD_FAULT_COUNT), "?");
}

/* What was well formed comes back byte for byte, and what was malformed is still refused. */
static void test_restored_after_overwriting(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct overwritten o;
        struct head_facts facts;
        char out[1024];
        if (rows[i].want == HEAD_TRAILING)
            continue; /* for libmicrohttpd, what follows is the body */
        if (!overwrite(&o, rows[i].head, rows[i].len))
            continue; /* refused before anybody could see it */
        size_t len = head_restore(&o.remains, out, sizeof out);
        if (rows[i].want == HEAD_NONE) {
            assert_int_equal(len, rows[i].len);
            assert_memory_equal(out, rows[i].head, len);
        } else {
            if (head_check(out, len, &facts) == HEAD_NONE)
                fail_msg("row %zu is taken after restoring: %s", i, rows[i].head);
        }
        assert_int_equal(head_restore(&o.remains, out, o.remains.len - 1), 0);
        overwritten_free(&o);
    }
}

static void test_accept_encoding(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        bool want;
    } cases[] = {
        { NULL, false }, { "", false }, { "gzip", true }, { "GZIP", true }, { "x-gzip", true },
        { "deflate", false }, { "deflate, gzip", true }, { "gzip;q=0", false },
        { "gzip; q=0.000", false }, { "gzip;q=0.001", true }, { "gzip;q=1", true }, { "*", true },
        { "*;q=0", false }, { "gzip;q=0, *", false }, { "*;q=0, gzip", true }, { "gzipx", false },
        { "identity;q=1, *;q=0", false }, { ",, gzip ,", true }, { "br;q=1.0, gzip;q=0.8", true },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (encoding_allows_gzip(cases[i].value) != cases[i].want)
            fail_msg("Accept-Encoding: %s", cases[i].value);
}

static void test_gzip_only_if_smaller(void **state)
{
    (void)state;
    char same[4096], noise[64];
    size_t len = 0;
    memset(same, 'a', sizeof same);
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (char)(i * 37 + 11);
    unsigned char *packed = encoding_gzip(same, sizeof same, &len);
    assert_non_null(packed);
    assert_true(len < 100 && packed[0] == 0x1f && packed[1] == 0x8b);
    free(packed);
    assert_null(encoding_gzip(noise, sizeof noise, &len));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_row),
        cmocka_unit_test(test_every_prefix_is_refused),
        cmocka_unit_test(test_facts),
        cmocka_unit_test(test_number_of_fields),
        cmocka_unit_test(test_every_fault_has_its_status),
        cmocka_unit_test(test_restored_after_overwriting),
        cmocka_unit_test(test_accept_encoding),
        cmocka_unit_test(test_gzip_only_if_smaller),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

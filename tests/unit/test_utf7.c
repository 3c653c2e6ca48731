/* Modified UTF-7: pairs both ways, forms that are refused, every smaller buffer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "src/server/mailbox/utf7.h"

static const struct { const char *utf7, *utf8; } pairs[] = {
    {"", ""},
    {"Drafts", "Drafts"},
    {"R&AOk-sum&AOk-s", "Résumés"},                      /* Latin */
    {"Entw&APw-rfe", "Entwürfe"},
    {"&BB8EQAQ4BDIENQRC-", "Привет"},                    /* Cyrillic */
    {"&U,BTFw-", "台北"},                                 /* Chinese */
    {"&ZeVnLIqe-/x", "日本語/x"},                         /* Japanese; a slash is a letter here */
    {"&BdAF0QXS-", "אבג"},                                /* Hebrew */
    {"&2D3eAA-", "😀"},                                   /* a pair of surrogates */
    {"a&2D3eAA-b&2D3eAQ-", "a😀b😁"},
    {"A&-B", "A&B"},
    {"&-&-", "&&"},
    {"&AAo-", "\n"},
    {"&AH8-", "\x7f"},
    {"~peter/mail/&U,BTFw-/&ZeVnLIqe-", "~peter/mail/台北/日本語"}, /* the example of RFC 3501 */
};

static void test_pairs(void **state)
{
    char buf[256];
    size_t len;
    (void)state;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        size_t n7 = strlen(pairs[i].utf7), n8 = strlen(pairs[i].utf8);
        print_message("# %s\n", pairs[i].utf7);
        assert_true(utf7_decode(pairs[i].utf7, n7, buf, sizeof buf, &len));
        assert_int_equal(len, n8);
        assert_string_equal(buf, pairs[i].utf8);
        assert_true(utf7_encode(pairs[i].utf8, n8, buf, sizeof buf, &len));
        assert_int_equal(len, n7);
        assert_string_equal(buf, pairs[i].utf7);
        for (size_t cap = 0; cap <= n8; cap++)
            assert_false(utf7_decode(pairs[i].utf7, n7, buf, cap, &len));
        for (size_t cap = 0; cap <= n7; cap++)
            assert_false(utf7_encode(pairs[i].utf8, n8, buf, cap, &len));
    }
}

static void test_refused(void **state)
{
    static const char *const bad[] = {
        "&",            /* open shift */
        "&AOk",         /* never closed */
        "&AGE-",        /* 'a' needs no shift */
        "&AOk-&AOk-",   /* two shifts side by side */
        "&AOl-",        /* bits left over that are not 0 */
        "&AOkA-",       /* a superfluous sextet */
        "&2D0-",        /* half a pair */
        "&3gA-",        /* the other half */
        "&2D3YPQ-",     /* two first halves */
        "&AAA-",        /* NUL */
        "&AO/-",        /* '/' is ',' here */
        "&A=-",
        "caf\xc3\xa9",  /* UTF-8 as it is */
        "a\tb",
        "\x7f",
    };
    char buf[64];
    size_t len;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        print_message("# %s\n", bad[i]);
        assert_false(utf7_decode(bad[i], strlen(bad[i]), buf, sizeof buf, &len));
    }
    assert_false(utf7_encode("\xff", 1, buf, sizeof buf, &len));
    assert_false(utf7_encode("\xed\xa0\x80", 3, buf, sizeof buf, &len)); /* a surrogate in UTF-8 */
    assert_false(utf7_encode("a\0b", 3, buf, sizeof buf, &len));
    assert_false(utf7_decode("a\0b", 3, buf, sizeof buf, &len));
}

static void test_length(void **state)
{
    static char in[UTF7_MAX + 1], out[UTF7_MAX + 2];
    size_t len;
    (void)state;
    memset(in, 'x', sizeof in);
    assert_true(utf7_decode(in, UTF7_MAX, out, sizeof out, &len));
    assert_int_equal(len, UTF7_MAX);
    assert_false(utf7_decode(in, UTF7_MAX + 1, out, sizeof out, &len));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pairs),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

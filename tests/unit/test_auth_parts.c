/* What login methods are made of: names put into texts, URLs, what an IMAP server says, messages to a
 * helper. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "src/server/auth/expand.h"
#include "src/server/auth/helper/message.h"
#include "src/server/auth/imap_login.h"
#include "src/server/auth/url.h"

static void names_are_put_into_texts(void **state)
{
    (void)state;
    static const struct { const char *text, *user; enum expand_as as; const char *want; } cases[] = {
        {"%u", "ann", EXPAND_PLAIN, "ann"},
        {"%n@%d", "ann", EXPAND_PLAIN, "ann@example.org"},
        {"%n@%d", "ann@other.org", EXPAND_PLAIN, "ann@other.org"},
        {"%n", "a@b@other.org", EXPAND_PLAIN, "a@b"},
        {"100%%u", "ann", EXPAND_PLAIN, "100%u"},
        {"%x", "ann", EXPAND_PLAIN, NULL},
        {"%", "ann", EXPAND_PLAIN, NULL},
        {"uid=%n,ou=p", "ann", EXPAND_DN, "uid=ann,ou=p"},
        {"uid=%n,ou=p", "ann,ou=admins", EXPAND_DN, "uid=ann\\2cou\\3dadmins,ou=p"},
        {"uid=%n", "a+b\"c<d>e;f\\g", EXPAND_DN, "uid=a\\2bb\\22c\\3cd\\3ee\\3bf\\5cg"},
        {"uid=%n", "#ann", EXPAND_DN, "uid=\\23ann"},
        {"uid=%n", " a n ", EXPAND_DN, "uid=\\20a n\\20"},
        {"uid=%n", "\xc3\xa4nne", EXPAND_DN, "uid=\xc3\xa4nne"},
        {"(|(uid=%n)(mail=%u))", "ann@o.org", EXPAND_FILTER, "(|(uid=ann)(mail=ann@o.org))"},
        {"(uid=%n)", "*", EXPAND_FILTER, "(uid=\\2a)"},
        {"(uid=%n)", "ann)(uid=*", EXPAND_FILTER, "(uid=ann\\29\\28uid=\\2a)"},
        {"(uid=%n)", "a\\b", EXPAND_FILTER, "(uid=a\\5cb)"},
        {"(uid=%n)", "%u", EXPAND_FILTER, "(uid=%u)"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char out[128];
        print_message("# %s %s\n", cases[i].text, cases[i].user);
        bool ok = expand_user(cases[i].text, cases[i].user, "example.org", cases[i].as, out,
                              sizeof out);
        assert_int_equal(ok, cases[i].want != NULL);
        if (!ok) continue;
        assert_string_equal(out, cases[i].want);
        size_t len = strlen(out);
        assert_true(expand_user(cases[i].text, cases[i].user, "example.org", cases[i].as, out, len + 1));
        for (size_t cap = 0; cap <= len; cap++)
            assert_false(expand_user(cases[i].text, cases[i].user, "example.org", cases[i].as, out, cap));
    }
}

static void where_a_url_leads(void **state)
{
    (void)state;
    static const struct { const char *urls; bool here; } cases[] = {
        {"ldap://127.0.0.1", true},
        {"ldap://127.1.2.3:389/x", true},
        {"ldap://LocalHost:1", true},
        {"ldap://[::1]:389", true},
        {" ldap://[::1] ldap://127.0.0.1 ", true},
        {"ldap://127.0.0.1 ldap://192.0.2.1", false},
        {"ldap://192.0.2.1", false},
        {"ldap://[::2]", false},
        {"ldap://localhost.example.org", false},
        {"ldap://127.0.0.1.example.org", false},
        {"ldap://127.0.0.1@example.org", false},
        {"ldap://127.0.0.1:x@example.org/", false},
        {"ldap://", false},
        {"127.0.0.1", false},
        {"x ldap://127.0.0.1", false},
        {"", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        print_message("# %s\n", cases[i].urls);
        assert_int_equal(urls_are_loopback(cases[i].urls), cases[i].here);
    }
    assert_true(urls_have_scheme("LDAP://a ldap://b", "ldap://"));
    assert_false(urls_have_scheme("ldap://a ldaps://b", "ldap://"));
    assert_false(urls_have_scheme("ldap://", "ldap://"));
    assert_false(urls_have_scheme("", "ldap://"));
    assert_int_equal(urls_count(" a  b "), 2);
    assert_int_equal(urls_count(""), 0);
}

static void what_an_imap_server_says(void **state)
{
    (void)state;
    static const struct { const char *lines[4]; enum imap_login want; } cases[] = {
        {{"* OK ready\r\n", "A001 OK\r\n", "A002 OK in\r\n"}, IMAP_SILENT},
        {{"* OK ready\r\n", "A001 OK\r\n", "A002 NO wrong\r\n"}, IMAP_DENIED},
        {{"A002 NO [AUTHENTICATIONFAILED] x\r\n"}, IMAP_DENIED},
        {{"A002 no\r\n"}, IMAP_DENIED},
        {{"A002 NO"}, IMAP_DENIED},
        {{"A002 NO [UNAVAILABLE] down\r\n"}, IMAP_UNABLE},
        {{"A002 NO [unavailable] down\r\n"}, IMAP_UNABLE},
        {{"A002 NO [LIMIT] x\r\n"}, IMAP_UNABLE},
        {{"A002 NO [CONTACTADMIN x] x\r\n"}, IMAP_UNABLE},
        {{"A002 NO [LIMITED] x\r\n"}, IMAP_DENIED},
        {{"A002 BAD x\r\n"}, IMAP_UNABLE},
        {{"A002 NOPE\r\n"}, IMAP_UNABLE},
        {{"A002 NO wrong\r\n", "* BYE too often\r\n"}, IMAP_DENIED},
        {{"* PREAUTH come in\r\n", "A001 OK\r\n"}, IMAP_UNABLE},
        {{"* PREAUTH come in\r\n", "A002 NO wrong\r\n"}, IMAP_UNABLE},
        {{"+ \r\n", "\r\n", " NO x", ""}, IMAP_SILENT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        enum imap_login said = IMAP_SILENT;
        print_message("# %s\n", cases[i].lines[0]);
        for (size_t k = 0; k < 4 && cases[i].lines[k]; k++)
            said = imap_login_read(said, cases[i].lines[k], strlen(cases[i].lines[k]));
        assert_int_equal(said, cases[i].want);
    }
}

static void messages_are_read_and_written(void **state)
{
    (void)state;
    static const char packet[] = "Aann\0secret\0";
    struct message m;
    assert_true(message_read(packet, sizeof packet - 1, &m));
    assert_int_equal(m.kind, MESSAGE_ASK);
    assert_int_equal(m.count, 2);
    assert_string_equal(m.text[0], "ann");
    assert_string_equal(m.text[1], "secret");
    char again[64];
    assert_int_equal(message_write(&m, again, sizeof again), sizeof packet - 1);
    assert_memory_equal(again, packet, sizeof packet - 1);
    for (size_t cap = 0; cap < sizeof packet - 1; cap++)
        assert_int_equal(message_write(&m, again, cap), 0);

    static const struct { const char *bytes; size_t len; bool ok; } cases[] = {
        {"", 0, false}, {"A", 1, true},      {"A\0", 2, true},  {"Ax", 2, false},
        {"X", 1, false}, {"\0x\0", 3, false}, {"R\0\0\0", 4, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(message_read(cases[i].bytes, cases[i].len, &m), cases[i].ok);
    static char longest[MESSAGE_MAX + 1] = "A";
    memset(longest + 1, 'x', MESSAGE_MAX - 2);
    assert_true(message_read(longest, MESSAGE_MAX, &m));
    memset(longest + 1, 'x', MESSAGE_MAX - 1);
    assert_false(message_read(longest, MESSAGE_MAX + 1, &m));
    memset(longest + 1, 0, MESSAGE_TEXTS_MAX + 1);
    assert_true(message_read(longest, 1 + MESSAGE_TEXTS_MAX, &m));
    assert_int_equal(m.count, MESSAGE_TEXTS_MAX);
    assert_false(message_read(longest, 2 + MESSAGE_TEXTS_MAX, &m));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_put_into_texts),
        cmocka_unit_test(where_a_url_leads),
        cmocka_unit_test(what_an_imap_server_says),
        cmocka_unit_test(messages_are_read_and_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

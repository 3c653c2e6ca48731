/* Autodiscover: what is understood of foreign bytes, and which address is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/server/autodiscover/question.h"
#include "src/server/public_url.h"
#include "tests/unit/failing_malloc.h"

#define ASK "http://schemas.microsoft.com/exchange/autodiscover/mobilesync/requestschema/2006"
#define ANSWER "http://schemas.microsoft.com/exchange/autodiscover/mobilesync/responseschema/2006"
#define SCHEMA "<AcceptableResponseSchema>" ANSWER "</AcceptableResponseSchema>"
#define EMAIL "<EMailAddress>ann@example.org</EMailAddress>"
#define DOC(inner) "<Autodiscover xmlns='" ASK "'>" inner "</Autodiscover>"
#define REQUEST(inner) DOC("<Request>" inner "</Request>")

static void every_document(void **state)
{
    static const struct {
        const char *name, *body;
        enum question_fault want;
        const char *email;
    } rows[] = {
        {"usual", "<?xml version='1.0' encoding='utf-8'?>" REQUEST(EMAIL SCHEMA), QUESTION_OK,
         "ann@example.org"},
        {"other order, blanks, a comment",
         REQUEST("\n  <!-- x -->" SCHEMA "\n<EMailAddress>\n ann@example.org\t</EMailAddress> "),
         QUESTION_OK, "ann@example.org"},
        {"prefix",
         "<a:Autodiscover xmlns:a='" ASK "'><a:Request><a:EMailAddress>ann@example.org"
         "</a:EMailAddress><a:AcceptableResponseSchema>" ANSWER
         "</a:AcceptableResponseSchema></a:Request></a:Autodiscover>",
         QUESTION_OK, "ann@example.org"},
        {"no namespace",
         "<Autodiscover><Request>" EMAIL SCHEMA "</Request></Autodiscover>", QUESTION_OK,
         "ann@example.org"},
        {"more than is known", REQUEST("<LegacyDN>x</LegacyDN>" EMAIL "<More><EMailAddress>b"
                                       "</EMailAddress></More>" SCHEMA),
         QUESTION_OK, "ann@example.org"},
        {"special characters, in pieces",
         REQUEST("<EMailAddress>a&amp;<![CDATA[<b>]]>&#xe4;@x</EMailAddress>" SCHEMA), QUESTION_OK,
         "a&<b>\xc3\xa4@x"},
        {"latin 1",
         "<?xml version='1.0' encoding='iso-8859-1'?>" REQUEST(
             "<EMailAddress>\xe4@x</EMailAddress>" SCHEMA),
         QUESTION_OK, "\xc3\xa4@x"},
        {"another schema", REQUEST(EMAIL "<AcceptableResponseSchema>" ANSWER
                                         "XX</AcceptableResponseSchema>"),
         QUESTION_NO_PROVIDER, NULL},
        {"Outlook, by a name of its own",
         REQUEST("<LegacyDN>/o=x</LegacyDN><AcceptableResponseSchema>http://schemas.microsoft.com/"
                 "exchange/autodiscover/outlook/responseschema/2006a</AcceptableResponseSchema>"),
         QUESTION_NO_PROVIDER, NULL},
        {"two requests", DOC("<Request>" EMAIL SCHEMA "</Request><Request>" EMAIL SCHEMA
                             "</Request>"),
         QUESTION_INVALID, NULL},
        {"no request", DOC(""), QUESTION_INVALID, NULL},
        {"two addresses", REQUEST(EMAIL EMAIL SCHEMA), QUESTION_INVALID, NULL},
        {"two schemas", REQUEST(EMAIL SCHEMA SCHEMA), QUESTION_INVALID, NULL},
        {"no schema", REQUEST(EMAIL), QUESTION_INVALID, NULL},
        {"no address", REQUEST(SCHEMA), QUESTION_INVALID, NULL},
        {"empty address", REQUEST("<EMailAddress> </EMailAddress>" SCHEMA), QUESTION_INVALID, NULL},
        {"another root", "<Auto><Request>" EMAIL SCHEMA "</Request></Auto>", QUESTION_INVALID, NULL},
        {"nothing", "", QUESTION_INVALID, NULL},
        {"no XML", "{\"a\": 1}", QUESTION_INVALID, NULL},
        {"cut", "<Autodiscover><Request>" EMAIL SCHEMA "</Request>", QUESTION_INVALID, NULL},
        {"something behind", REQUEST(EMAIL SCHEMA) "x", QUESTION_INVALID, NULL},
        {"broken UTF-8", REQUEST("<EMailAddress>\xff\xfe@x</EMailAddress>" SCHEMA), QUESTION_INVALID,
         NULL},
        {"unknown encoding", "<?xml version='1.0' encoding='koi8-r'?>" REQUEST(EMAIL SCHEMA),
         QUESTION_INVALID, NULL},
        {"a document type", "<!DOCTYPE Autodiscover>" REQUEST(EMAIL SCHEMA), QUESTION_INVALID, NULL},
        {"an entity of its own",
         "<!DOCTYPE a [<!ENTITY e 'ann@example.org'>]>" REQUEST(
             "<EMailAddress>&e;</EMailAddress>" SCHEMA),
         QUESTION_INVALID, NULL},
        {"a file", "<!DOCTYPE a [<!ENTITY e SYSTEM 'file:///etc/passwd'>]>" REQUEST(
                       "<EMailAddress>&e;</EMailAddress>" SCHEMA),
         QUESTION_INVALID, NULL},
        {"an entity that nobody has", REQUEST("<EMailAddress>&e;</EMailAddress>" SCHEMA),
         QUESTION_INVALID, NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char email[QUESTION_EMAIL_MAX];
        size_t len = strlen(rows[i].body);
        print_message("# %s\n", rows[i].name);
        assert_int_equal(question_read(rows[i].body, len, email), rows[i].want);
        if (rows[i].want != QUESTION_OK) continue;
        assert_string_equal(email, rows[i].email);
        for (size_t cut = 0; cut < len; cut++)
            assert_int_equal(question_read(rows[i].body, cut, email), QUESTION_INVALID);
    }
}

static void everything_is_bounded(void **state)
{
    static char body[QUESTION_BODY_MAX + 1];
    char email[QUESTION_EMAIL_MAX], address[QUESTION_EMAIL_MAX + 1];
    (void)state;
    for (size_t len = QUESTION_EMAIL_MAX - 2; len <= QUESTION_EMAIL_MAX; len++) {
        memset(address, 'a', len);
        address[len] = '\0';
        int n = snprintf(body, sizeof body, REQUEST("<EMailAddress>%s</EMailAddress>" SCHEMA),
                         address);
        assert_int_equal(question_read(body, (size_t)n, email),
                         len < QUESTION_EMAIL_MAX ? QUESTION_OK : QUESTION_INVALID);
    }
    for (size_t depth = 10; depth <= 30; depth++) {
        size_t n = (size_t)snprintf(body, sizeof body, "<Autodiscover><Request>" EMAIL SCHEMA);
        for (size_t i = 2; i < depth; i++) n += (size_t)sprintf(body + n, "<d>");
        for (size_t i = 2; i < depth; i++) n += (size_t)sprintf(body + n, "</d>");
        n += (size_t)sprintf(body + n, "</Request></Autodiscover>");
        assert_int_equal(question_read(body, n, email),
                         depth < 16 ? QUESTION_OK : QUESTION_INVALID);
    }
    size_t n = (size_t)snprintf(body, sizeof body, REQUEST(EMAIL SCHEMA));
    memset(body + n, '\n', sizeof body - n);
    assert_int_equal(question_read(body, QUESTION_BODY_MAX, email), QUESTION_OK);
    assert_int_equal(question_read(body, QUESTION_BODY_MAX + 1, email), QUESTION_INVALID);
}

static void every_query(void **state)
{
    static const struct {
        const char *query;
        bool has_email;
        enum question_v2 want;
    } rows[] = {
        {"Email=ann@example.org&Protocol=ActiveSync", false, QUESTION_V2_ACTIVESYNC},
        {"protocol=activesync&RedirectCount=1&email=x", false, QUESTION_V2_ACTIVESYNC},
        {"Email=ann%40example.org&Protocol=AutodiscoverV1", false, QUESTION_V2_AUTODISCOVER},
        {"Protocol=ActiveSync", true, QUESTION_V2_ACTIVESYNC},
        {"Protocol=ActiveSync&Protocol=Ews&Email=x", false, QUESTION_V2_ACTIVESYNC},
        {"Email=x&Protocol=Ews", false, QUESTION_V2_OTHER_PROTOCOL},
        {"Email=x&Protocol=ActiveSyn", false, QUESTION_V2_OTHER_PROTOCOL},
        {"Email=x&Protocol=ActiveSync2", false, QUESTION_V2_OTHER_PROTOCOL},
        {"Email=x&Protocol=%41ctiveSync", false, QUESTION_V2_OTHER_PROTOCOL},
        {"Email=x&Protocol=", false, QUESTION_V2_NO_PROTOCOL},
        {"Email=x&Protocol", false, QUESTION_V2_NO_PROTOCOL},
        {"Email=x", false, QUESTION_V2_NO_PROTOCOL},
        {"Email=&Protocol=ActiveSync", false, QUESTION_V2_NO_EMAIL},
        {"Protocol=ActiveSync", false, QUESTION_V2_NO_EMAIL},
        {"MyEmail=x&Protocol=ActiveSync", false, QUESTION_V2_NO_EMAIL},
        {"&&==&", false, QUESTION_V2_NO_EMAIL},
        {"", true, QUESTION_V2_NO_PROTOCOL},
        {NULL, true, QUESTION_V2_NO_PROTOCOL},
        {NULL, false, QUESTION_V2_NO_EMAIL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        print_message("# %s\n", rows[i].query ? rows[i].query : "none");
        assert_int_equal(question_query(rows[i].query, rows[i].has_email), rows[i].want);
    }
}

static void hosts(void **state)
{
    static const char *const good[] = {"mail.example.org", "a", "mail.example.org:8443",
                                       "192.0.2.1", "192.0.2.1:1", "[::1]", "[2001:db8::1]:443",
                                       "x-y_z.example", "mail.example.org.", "_x.example:65535"};
    static const char *const bad[] = {
        "", ":80", ".", "a..b", "-a", "a-", "a:", "a:0", "a:65536", "a:080", "a:+1", "a:1 ",
        "a b", "a/b", "a?b", "a#b", "a\"b", "a<b", "a'b", "a&b", "user@a", "a%41", "[::1", "[]",
        "[1]", "[::1]x", "[fe80::1%25eth0]", "a\nb", "\xc3\xa4.example"};
    char longest[300];
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        if (!public_host_ok(good[i])) fail_msg("%s", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (public_host_ok(bad[i])) fail_msg("%s", bad[i]);
    memset(longest, 'a', sizeof longest);
    longest[255] = '\0';
    assert_true(public_host_ok(longest));
    longest[255] = 'a';
    longest[256] = '\0';
    assert_false(public_host_ok(longest));
}

static void addresses(void **state)
{
    static const struct {
        const char *url, *host;
        bool secure;
        const char *eas, *v1;
    } rows[] = {
        {NULL, "mail.example.org:8443", true,
         "https://mail.example.org:8443/Microsoft-Server-ActiveSync",
         "https://mail.example.org:8443/x"},
        {NULL, "[::1]:80", false, "http://[::1]:80/Microsoft-Server-ActiveSync",
         "http://[::1]:80/x"},
        {NULL, "evil/", false, NULL, NULL},
        {NULL, NULL, false, NULL, NULL},
        {"https://mail.example.org", "evil", false,
         "https://mail.example.org/Microsoft-Server-ActiveSync", "https://mail.example.org/x"},
        {"https://mail.example.org/", NULL, false,
         "https://mail.example.org/Microsoft-Server-ActiveSync", "https://mail.example.org/x"},
        {"http://m:8080/eas", "evil/", true, "http://m:8080/eas/Microsoft-Server-ActiveSync",
         "http://m:8080/x"},
        {"https://m/Microsoft-Server-ActiveSync", NULL, true,
         "https://m/Microsoft-Server-ActiveSync", "https://m/x"},
        {"https://m/SOGo/microsoft-server-activesync/", NULL, true,
         "https://m/SOGo/microsoft-server-activesync", "https://m/x"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct public_url u = {rows[i].url, rows[i].secure, rows[i].host};
        char out[PUBLIC_URL_ROOM];
        print_message("# row %zu\n", i);
        if (u.url) assert_true(public_url_ok(u.url));
        assert_int_equal(public_url_eas(&u, out), rows[i].eas != NULL);
        if (rows[i].eas) assert_string_equal(out, rows[i].eas);
        assert_int_equal(public_url_at(&u, "/x", out), rows[i].v1 != NULL);
        if (rows[i].v1) assert_string_equal(out, rows[i].v1);
    }
}

static void configured_addresses(void **state)
{
    static const char *const bad[] = {"", "mail.example.org", "ftp://a", "https://", "https:///a",
                                      "https://a?b", "https://a/?b", "https://a#b", "https://a/b c",
                                      "https://u@a", "https://a/%41", "HTTPS://a"};
    static char longest[PUBLIC_URL_MAX + 1];
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (public_url_ok(bad[i])) fail_msg("%s", bad[i]);
    memset(longest, 'a', PUBLIC_URL_MAX);
    memcpy(longest, "https://a/", 10);
    assert_false(public_url_ok(longest));
    longest[PUBLIC_URL_MAX - 1] = '\0';
    assert_true(public_url_ok(longest));
    char out[PUBLIC_URL_ROOM];
    assert_true(public_url_eas(&(struct public_url){.url = longest}, out));
    assert_string_equal(out + PUBLIC_URL_MAX - 1, "/Microsoft-Server-ActiveSync");
}

/* ---- without memory ---- */
static enum question_fault fault;
static char read_email[QUESTION_EMAIL_MAX];

static bool read_one(void)
{
    static const char body[] = REQUEST(EMAIL SCHEMA);
    fault = question_read(body, sizeof body - 1, read_email);
    return fault != QUESTION_NO_MEMORY;
}

static void it_was_read(void)
{
    assert_int_equal(fault, QUESTION_OK);
    assert_string_equal(read_email, "ann@example.org");
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    failing_malloc_sweep(
        &(struct sweep){.name = "question_read", .run = read_one, .check = it_was_read});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_document),       cmocka_unit_test(everything_is_bounded),
        cmocka_unit_test(every_query),          cmocka_unit_test(hosts),
        cmocka_unit_test(addresses),            cmocka_unit_test(configured_addresses),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

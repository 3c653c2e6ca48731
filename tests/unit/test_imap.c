/* What an IMAP server says, taken apart: responses, facts, logins, lists, and which folder is which. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/server/imap/reader.h"
#include "src/server/imap/sasl.h"
#include "src/server/mailbox/imap_box.h"
#include "src/server/mailbox/tree.h"

/* ---- the reader ---- */

#define SPLIT "\x1f" /* between responses, in what is expected */

static void read_all(const char *text, size_t piece, char *out, size_t cap, bool *broken)
{
    struct imap_reader r = {0};
    size_t left = strlen(text), room, len;
    const char *at;
    enum imap_cut cut = IMAP_CUT_MORE;
    out[0] = '\0';
    while (left > 0 && cut != IMAP_CUT_BROKEN) {
        char *to = imap_reader_room(&r, &room);
        size_t n = left < piece ? left : piece;
        n = n < room ? n : room;
        memcpy(to, text, n);
        imap_reader_filled(&r, n);
        text += n;
        left -= n;
        while ((cut = imap_reader_next(&r, &at, &len)) == IMAP_CUT_RESPONSE) {
            size_t used = strlen(out);
            snprintf(out + used, cap - used, "%.*s" SPLIT, (int)len, at);
        }
    }
    *broken = cut == IMAP_CUT_BROKEN;
    imap_reader_finish(&r);
}

static void responses_are_cut(void **state)
{
    static const struct { const char *text, *want; } cases[] = {
        {"* OK hi\r\n* 3 EXISTS\r\n", "* OK hi" SPLIT "* 3 EXISTS" SPLIT},
        {"* OK hi\n+\r\n", "* OK hi" SPLIT "+" SPLIT},
        {"* LIST () \"/\" {3}\r\na\r\n\r\nP1 OK\r\n",
         "* LIST () \"/\" {3}\r\na\r\n" SPLIT "P1 OK" SPLIT},
        {"* LIST () \"/\" {2+}\r\nab (X {1}\r\n))\r\n",
         "* LIST () \"/\" {2+}\r\nab (X {1}\r\n))" SPLIT},
        {"* X ~{1}\r\n\n\r\n", "* X ~{1}\r\n\n" SPLIT},
        {"* OK no literal {3}\r\nP1 NO {4}\r\n+ {5}\r\n* BYE {6}\r\n",
         "* OK no literal {3}" SPLIT "P1 NO {4}" SPLIT "+ {5}" SPLIT "* BYE {6}" SPLIT},
        {"* LIST () \"/\" \"a {3}\r\nP1 OK\r\n", "* LIST () \"/\" \"a {3}" SPLIT "P1 OK" SPLIT},
        {"* X {}\r\n* X {a}\r\n* X }\r\n", "* X {}" SPLIT "* X {a}" SPLIT "* X }" SPLIT},
        {"* X {0}\r\n\r\n", "* X {0}\r\n" SPLIT},
        {"\r\n\n", SPLIT SPLIT},
        {"* half", ""},
    };
    char out[512];
    bool broken;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t piece = 1; piece < 40; piece++) {
            read_all(cases[i].text, piece, out, sizeof out, &broken);
            assert_string_equal(out, cases[i].want);
            assert_false(broken);
        }
}

static void responses_have_a_limit(void **state)
{
    static char text[IMAP_RESPONSE_MAX + 64];
    struct imap_reader r = {0};
    const char *at;
    size_t len, room;
    (void)state;
    for (int over = 0; over < 2; over++) { /* a line, and a line that is one too long */
        size_t left = IMAP_RESPONSE_MAX + (size_t)over;
        memset(text, 'x', left);
        memcpy(text + left, "\r\n", 2);
        enum imap_cut cut = IMAP_CUT_MORE;
        for (size_t done = 0; done < left + 2 && cut == IMAP_CUT_MORE;) {
            char *to = imap_reader_room(&r, &room);
            size_t n = left + 2 - done < room ? left + 2 - done : room;
            memcpy(to, text + done, n);
            imap_reader_filled(&r, n);
            done += n;
            cut = imap_reader_next(&r, &at, &len);
        }
        assert_int_equal(cut, over ? IMAP_CUT_BROKEN : IMAP_CUT_RESPONSE);
        imap_reader_finish(&r);
    }
    static const char *const literals[] = {"* X {65536}\r\n", "* X {99999999999999999999}\r\n"};
    for (size_t i = 0; i < 2; i++) {
        bool broken;
        char out[64];
        read_all(literals[i], 7, out, sizeof out, &broken);
        assert_true(broken);
    }
}

/* ---- responses ---- */

static void responses_are_parsed(void **state)
{
    static const struct {
        const char *text;
        enum imap_kind kind;
        enum imap_status status;
        const char *tag, *code, *name;
        uint32_t number;
    } cases[] = {
        {"+ idling", IMAP_CONTINUE, 0, "", "", "", 0},
        {"+", IMAP_CONTINUE, 0, "", "", "", 0},
        {"P1 OK [CAPABILITY A B] done", IMAP_TAGGED, IMAP_OK, "P1", "CAPABILITY A B", "", 0},
        {"P1 no", IMAP_TAGGED, IMAP_NO, "P1", "", "", 0},
        {"P12 BAD [broken", IMAP_TAGGED, IMAP_REJECTED, "P12", "", "", 0},
        {"P1 BYE", IMAP_NOISE, 0, "", "", "", 0},
        {"P1 EXISTS", IMAP_NOISE, 0, "", "", "", 0},
        {"* BYE [UNAVAILABLE] x", IMAP_CONDITION, IMAP_BYE, "", "UNAVAILABLE", "", 0},
        {"* PREAUTH", IMAP_CONDITION, IMAP_PREAUTH, "", "", "", 0},
        {"* 23 EXISTS", IMAP_DATA, 0, "", "", "EXISTS", 23},
        {"* 99999999999 EXISTS", IMAP_DATA, 0, "", "", "99999999999", 0},
        {"* LIST () NIL a", IMAP_DATA, 0, "", "", "LIST", 0},
        {"* ", IMAP_NOISE, 0, "", "", "", 0},
        {"*", IMAP_NOISE, 0, "", "", "", 0},
        {"", IMAP_NOISE, 0, "", "", "", 0},
        {"HTTP/1.1 400 Bad", IMAP_NOISE, 0, "", "", "", 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct imap_response r;
        print_message("# %s\n", cases[i].text);
        imap_parse(cases[i].text, strlen(cases[i].text), &r);
        assert_int_equal(r.kind, cases[i].kind);
        assert_true(imap_span_is(r.tag, cases[i].tag));
        assert_true(imap_span_is(r.code, cases[i].code));
        assert_true(imap_span_is(r.name, cases[i].name));
        assert_int_equal(r.number, cases[i].number);
        if (r.kind == IMAP_TAGGED || r.kind == IMAP_CONDITION)
            assert_int_equal(r.status, cases[i].status);
    }
}

static void items_are_bounded(void **state)
{
    char text[3 * IMAP_ITEMS_MAX];
    struct imap_cursor c;
    struct imap_item item;
    (void)state;
    for (unsigned depth = 1; depth < 12; depth++) {
        memset(text, '(', depth);
        memset(text + depth, ')', depth);
        c = imap_cursor(text, 2 * depth);
        assert_int_equal(imap_skip(&c), depth <= IMAP_DEPTH_MAX);
    }
    for (size_t i = 0; i < sizeof text; i += 2) memcpy(text + i, "a ", 2);
    c = imap_cursor(text, sizeof text);
    unsigned count = 0;
    while ((item = imap_next(&c)).kind == IMAP_ATOM) count++;
    assert_int_equal(item.kind, IMAP_BAD);
    assert_int_equal(count, IMAP_ITEMS_MAX);
    static const char *const bad[] = {"(a", ")", "\"a", "{5}\r\nab", "{5", "a{3}", "\x01"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        print_message("# %s\n", bad[i]);
        c = imap_cursor(bad[i], strlen(bad[i]));
        while ((item = imap_next(&c)).kind != IMAP_END && item.kind != IMAP_BAD) {
        }
        assert_int_equal(item.kind, IMAP_BAD);
        assert_int_equal(imap_next(&c).kind, IMAP_BAD);
    }
}

/* ---- facts ---- */

static struct imap_cursor rest_of(const char *text)
{
    return imap_cursor(text, strlen(text));
}

static void capabilities_are_known(void **state)
{
    (void)state;
    uint32_t caps = imap_caps_read(rest_of("IMAP4rev1 idle NOTIFY X-NEW auth=plain QRESYNC"));
    assert_int_equal(caps, IMAP_CAP(IDLE) | IMAP_CAP(NOTIFY) | IMAP_CAP(AUTH_PLAIN) |
                               IMAP_CAP(QRESYNC) | IMAP_CAP(CONDSTORE));
    caps = imap_caps_read(rest_of("IMAP4rev2"));
    assert_true(caps & IMAP_CAP(LIST_STATUS) && caps & IMAP_CAP(NAMESPACE));
    assert_false(caps & IMAP_CAP(NOTIFY));
    assert_int_equal(imap_caps_read(rest_of("")), 0);
}

static void lists_are_read(void **state)
{
    static const struct {
        const char *text, *name;
        char delimiter;
        bool good, selectable;
        enum imap_use use;
    } cases[] = {
        {"() \"/\" INBOX", "INBOX", '/', true, true, 0},
        {"(\\HasNoChildren \\Sent) \".\" \"Sent Items\"", "Sent Items", '.', true, true,
         IMAP_USE_SENT},
        {"(\\drafts) NIL {3}\r\na/b", "a/b", 0, true, true, IMAP_USE_DRAFTS},
        {"(\\Trash \\All) \"\\\\\" \"a\\\"b\\\\c\"", "a\"b\\c", '\\', true, true, IMAP_USE_TRASH},
        {"(\\Noselect) \"/\" x", "x", '/', true, false, 0},
        {"(\\NONEXISTENT) \"/\" x", "x", '/', true, false, 0},
        {"() \"/\" \"NIL\"", "NIL", '/', true, true, 0},
        {"() \"/\" x (\"CHILDINFO\" (\"SUBSCRIBED\"))", "x", '/', true, true, 0},
        {"() \"/\" {4}\r\na\r\nb", "", '/', true, false, 0}, /* it could not be said again */
        {"() \"/\" \"\"", "", '/', true, false, 0},
        {"() \"//\" x", "", 0, false, true, 0},
        {"() \"/\"", "", 0, false, true, 0},
        {"(\\Sent \"/\" x", "", 0, false, true, 0},
        {"NIL \"/\" x", "", 0, false, true, 0},
        {"((x)) \"/\" x", "", 0, false, true, 0},
        {"() \"/\" (x)", "", 0, false, true, 0},
    };
    struct imap_listed f;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        print_message("# %s\n", cases[i].text);
        assert_int_equal(imap_listed_read(rest_of(cases[i].text), &f), cases[i].good);
        if (!cases[i].good) continue;
        assert_string_equal(f.name, cases[i].name);
        assert_int_equal(f.delimiter, cases[i].delimiter);
        assert_int_equal(f.selectable, cases[i].selectable);
        assert_int_equal(f.use, cases[i].use);
    }
}

static void counts_are_read(void **state)
{
    struct imap_counts c;
    (void)state;
    assert_true(imap_counts_read(
        rest_of("\"a b\" (messages 3 UIDNEXT 44 UIDVALIDITY 4294967295 UNSEEN 1 SIZE 99 "
                "HIGHESTMODSEQ 9223372036854775807 MAILBOXID (F22) X (1 (2)))"),
        &c));
    assert_string_equal(c.name, "a b");
    assert_int_equal(c.messages, 3);
    assert_int_equal(c.next, 44);
    assert_int_equal(c.validity, UINT32_MAX);
    assert_int_equal(c.unseen, 1);
    assert_int_equal(c.modseq, INT64_MAX);
    assert_string_equal(c.id, "F22");
    assert_int_equal(c.told, 31);
    assert_true(imap_counts_read(rest_of("x ()"), &c));
    assert_int_equal(c.told, 0);
    assert_int_equal(c.messages, 0);
    static const char *const bad[] = {"x", "x (MESSAGES)", "x (MESSAGES a)", "x (MESSAGES -1)",
                                      "x (MESSAGES 4294967296)", "x (MESSAGES \"1\")", "x (",
                                      "x (MAILBOXID F22)", "(x) ()", "x MESSAGES 1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        print_message("# %s\n", bad[i]);
        assert_false(imap_counts_read(rest_of(bad[i]), &c));
    }
}

static void namespaces_are_read(void **state)
{
    struct imap_namespaces n;
    (void)state;
    assert_true(imap_namespaces_read(rest_of("((\"\" \"/\")(\"A/\" \"/\" \"X\" (\"1\"))) "
                                             "((\"user.\" \".\")) NIL"),
                                     &n));
    assert_int_equal(n.count, 3);
    assert_true(imap_namespace_of(&n, "Work")->own);
    assert_int_equal(imap_namespace_of(&n, "A/x")->len, 2);
    assert_false(imap_namespace_of(&n, "user.bob")->own);
    assert_true(imap_namespaces_read(rest_of("NIL NIL NIL"), &n));
    assert_null(imap_namespace_of(&n, "Work"));
    char many[IMAP_NAMESPACES_MAX * 16 + 64] = "(";
    for (int i = 0; i < IMAP_NAMESPACES_MAX + 4; i++) strcat(many, "(\"\" NIL)");
    strcat(many, ") NIL NIL");
    assert_true(imap_namespaces_read(rest_of(many), &n));
    assert_int_equal(n.count, IMAP_NAMESPACES_MAX);
    assert_false(imap_namespaces_read(rest_of("((\"\" \"/\") NIL NIL"), &n));
    assert_false(imap_namespaces_read(rest_of("NIL NIL"), &n));
}

/* ---- logins ---- */

static void logins_are_said(void **state)
{
    static const struct {
        bool bearer;
        const char *user, *secret, *caps, *command, *answer;
        enum imap_sasl way;
    } cases[] = {
        {false, "ann", "se cret", "IMAP4rev1", "LOGIN \"ann\" \"se cret\"", NULL, IMAP_SASL_MADE},
        {false, "a\"b", "c\\d", "", "LOGIN \"a\\\"b\" \"c\\\\d\"", NULL, IMAP_SASL_MADE},
        {false, "ann", "a\r\nP2 X", "", NULL, NULL, IMAP_SASL_IMPOSSIBLE},
        {false, "ann", "x", "LOGINDISABLED AUTH=GSSAPI", NULL, NULL, IMAP_SASL_NONE},
        {false, "ann", "secret", "AUTH=PLAIN LOGINDISABLED", "AUTHENTICATE PLAIN",
         "AGFubgBzZWNyZXQ=", IMAP_SASL_MADE},
        {false, "ann", "secret", "AUTH=PLAIN SASL-IR", "AUTHENTICATE PLAIN AGFubgBzZWNyZXQ=",
         IMAP_SASL_DUMMY, IMAP_SASL_MADE},
        {true, "ann", "tok", "AUTH=XOAUTH2 SASL-IR",
         "AUTHENTICATE XOAUTH2 dXNlcj1hbm4BYXV0aD1CZWFyZXIgdG9rAQE=", IMAP_SASL_DUMMY,
         IMAP_SASL_MADE},
        {true, "ann", "tok", "AUTH=XOAUTH2 AUTH=OAUTHBEARER", "AUTHENTICATE OAUTHBEARER",
         "bixhPWFubiwBYXV0aD1CZWFyZXIgdG9rAQE=", IMAP_SASL_MADE},
        {true, "ann", "tok", "AUTH=PLAIN", NULL, NULL, IMAP_SASL_NONE},
        {true, "ann,a=bob", "tok", "AUTH=OAUTHBEARER", NULL, NULL, IMAP_SASL_IMPOSSIBLE},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct imap_login login = {cases[i].bearer, cases[i].user, cases[i].secret};
        struct imap_saying say;
        print_message("# %zu: %s\n", i, cases[i].caps);
        uint32_t caps = imap_caps_read(rest_of(cases[i].caps));
        assert_int_equal(imap_sasl_make(&login, caps, &say), cases[i].way);
        if (cases[i].command)
            assert_string_equal(say.command, cases[i].command);
        else
            assert_null(say.command);
        if (cases[i].answer)
            assert_string_equal(say.answer, cases[i].answer);
        else
            assert_null(say.answer);
        imap_saying_free(&say);
        free(say.answer);
    }
}

/* ---- lists of folders ---- */

static const struct config config = {
    .mailbox = {.sent = {{"Sent"}, 1}, .trash = {{"Trash", "Papierkorb"}, 2},
                .drafts = {{"Drafts"}, 1}}};

static void list_line(struct imap_listing *l, const char *text)
{
    static struct imap_listed f;
    const struct imap_namespaces none = {.count = 0};
    assert_true(imap_listed_read(rest_of(text), &f));
    imap_listing_add(l, &f, &none);
}

static void folders_are_made_of_a_list(void **state)
{
    static const char *const lines[] = {
        "(\\Trash) \"/\" Deleted", "() \"/\" Trash", "() \"/\" Sent", "() \"/\" inbox/Below",
        "() \"/\" Work/2024", "(\\Noselect) \"/\" Work", "() \"/\" Deleted", "() NIL a/b",
        "(\\Drafts) \"/\" Deep/Drafts", "(\\Drafts) \"/\" Second"};
    static const struct { const char *name; enum folder_type type; } want[] = {
        {"INBOX", FOLDER_INBOX}, {"INBOX/Below", FOLDER_MAIL}, {"Deep", FOLDER_GENERIC},
        {"Deep/Drafts", FOLDER_DRAFTS}, {"Deleted", FOLDER_TRASH}, {"Second", FOLDER_MAIL},
        {"Sent", FOLDER_SENT}, {"Trash", FOLDER_MAIL}, {"Work", FOLDER_GENERIC},
        {"Work/2024", FOLDER_MAIL}, {"a∕b", FOLDER_MAIL}};
    const struct imap_namespaces none = {.count = 0};
    struct folder_list out;
    struct imap_listing *l = imap_listing_create();
    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) list_line(l, lines[i]);
    uint64_t sum = imap_listing_sum(l);
    imap_listing_end(l, &none);
    assert_int_not_equal(imap_listing_sum(l), sum); /* the Inbox has come */
    assert_true(imap_folders(l, &config, &out));
    assert_true(out.by_validity);
    assert_int_equal(out.count, sizeof want / sizeof *want);
    for (size_t i = 0; i < out.count; i++) {
        assert_string_equal(out.at[i].name, want[i].name);
        assert_int_equal(out.at[i].type, want[i].type);
    }
    assert_string_equal(out.at[1].path, "inbox/Below");
    folder_list_free(&out);
    imap_listing_release(l);
}

static void lists_have_a_limit(void **state)
{
    char line[64];
    struct imap_listing *l = imap_listing_create();
    (void)state;
    for (unsigned i = 0; i < IMAP_FOLDERS_MAX; i++) {
        snprintf(line, sizeof line, "() \"/\" f%u", i);
        list_line(l, line);
    }
    assert_false(l->failed);
    list_line(l, "() \"/\" f1"); /* again */
    assert_false(l->failed);
    list_line(l, "() \"/\" more");
    assert_true(l->failed);
    assert_int_equal(l->count, IMAP_FOLDERS_MAX);
    imap_listing_release(l);
    l = imap_listing_create();
    char *name = malloc(IMAP_NAME_MAX + 16);
    for (unsigned i = 0; !l->failed && i < IMAP_FOLDERS_MAX; i++) {
        memset(name, 'x', IMAP_NAME_MAX + 16);
        snprintf(name, 16, "() \"/\" %07u", i);
        name[14] = 'x';
        name[IMAP_NAME_MAX] = '\0';
        list_line(l, name);
    }
    assert_true(l->failed && l->bytes <= IMAP_NAMES_MAX);
    free(name);
    imap_listing_release(l);
}

/* ---- which folder is which ---- */

struct row { const char *name; uint64_t validity, id; };

static void check_ids(const char *known, const struct row *rows, size_t count, const char *want)
{
    struct folder folders[8];
    struct folder_list l = {folders, count, true};
    struct folder_ids ids;
    uint32_t numbers[8];
    char got[64] = "";
    bool changed;
    for (size_t i = 0; i < count; i++)
        folders[i] = (struct folder){.name = (char *)rows[i].name,
                                     .identity = {rows[i].validity, rows[i].id}};
    assert_true(folder_ids_read(known, &ids));
    assert_true(folder_ids_assign(&ids, &l, numbers, &changed));
    for (size_t i = 0; i < count; i++)
        sprintf(got + strlen(got), "%s%u", i ? " " : "", numbers[i]);
    assert_string_equal(got, want);
    folder_ids_free(&ids);
}

static void uidvalidity_tells_folders_apart(void **state)
{
    static const char known[] = "{\"next\":9,\"folders\":[[1,7,0,\"INBOX\"],[2,8,0,\"A\"],"
                                "[3,9,0,\"B\"],[4,9,0,\"C\"],[5,0,0,\"D\"],[6,20,33,\"E\"]]}";
#define CHECK(want, ...)                                                                           \
    do {                                                                                           \
        const struct row rows[] = {__VA_ARGS__};                                                   \
        check_ids(known, rows, sizeof rows / sizeof *rows, want);                                  \
    } while (0)
    (void)state;
    CHECK("1 2 3 4", {"INBOX", 7, 0}, {"A", 8, 0}, {"B", 9, 0}, {"C", 9, 0});
    CHECK("1 9", {"INBOX", 7, 0}, {"A", 80, 0});              /* made anew */
    CHECK("9 2", {"INBOX", 70, 0}, {"A", 8, 0});              /* the Inbox as well */
    CHECK("1 2", {"INBOX", 7, 0}, {"New", 8, 0});             /* renamed */
    CHECK("1 9 10", {"INBOX", 7, 0}, {"New", 8, 0}, {"Newer", 8, 0}); /* which of them? */
    CHECK("1 9 4", {"INBOX", 7, 0}, {"New", 9, 0}, {"C", 9, 0});      /* B, or one that is new */
    CHECK("2 9", {"B", 8, 0}, {"A", 81, 0});                  /* renamed to one that is gone */
    CHECK("2 5", {"A", 0, 0}, {"D", 30, 0});                  /* nothing is known of one side */
    CHECK("6", {"F", 20, 33});                                /* renamed, by its own number */
    CHECK("9", {"E", 20, 34});                                /* another one of the same second */
    CHECK("9", {"E", 21, 33});                                /* its messages are others */
    CHECK("6 9", {"E", 20, 0}, {"F", 20, 0});
    CHECK("2", {"A", 8, 44});                                 /* numbers have come with an update */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(responses_are_cut),
        cmocka_unit_test(responses_have_a_limit),
        cmocka_unit_test(responses_are_parsed),
        cmocka_unit_test(items_are_bounded),
        cmocka_unit_test(capabilities_are_known),
        cmocka_unit_test(lists_are_read),
        cmocka_unit_test(counts_are_read),
        cmocka_unit_test(namespaces_are_read),
        cmocka_unit_test(logins_are_said),
        cmocka_unit_test(folders_are_made_of_a_list),
        cmocka_unit_test(lists_have_a_limit),
        cmocka_unit_test(uidvalidity_tells_folders_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Lines of the audit log: their form, and that nothing can be changed unseen. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/audit_bench.h"

#define ZEROS "0000000000000000000000000000000000000000000000000000000000000000"
/* Of the lines in test_seal_known, as sha256sum says. */
#define KNOWN_1 "bf80bf00e2cb3a339ce96cefa49907d38ed1bcb2b6f83b3d22d7826a7632b184"
#define KNOWN_2 "fe6ba4d241b8c65d33816d0d6e81eb93af33a9c426c41c3cc23933ee33e4dea4"

/* ---- sealing ---- */

static const struct {
    const char *name, *json;
    enum audit_sealing want;
    const char *members; /* of the line */
} seals[] = {
    {"members stay in order", "{\"b\":1,\"a\":{\"y\":[],\"x\":null}}", AUDIT_SEALED,
     ",\"b\":1,\"a\":{\"y\":[],\"x\":null}"},
    {"nothing in it", " { } ", AUDIT_SEALED, ""},
    {"blanks and line ends go", "{\r\n\t\"a\" : [ 1 ,\n2 ] }\n", AUDIT_SEALED, ",\"a\":[1,2]"},
    {"escapes", "{\"a\":\"\\n\\u0007\\\"\\\\/\"}", AUDIT_SEALED, ",\"a\":\"\\n\\u0007\\\"\\\\/\""},
    {"other than ASCII", "{\"J\xc3\xb6rg\":\"\xf0\x9f\x93\xb1\xc2\x9b\"}", AUDIT_SEALED,
     ",\"J\\u00F6rg\":\"\\uD83D\\uDCF1\\u009B\""},
    {"not an object", "[1]", AUDIT_UNFIT, NULL},
    {"text", "hello", AUDIT_UNFIT, NULL},
    {"empty", "", AUDIT_UNFIT, NULL},
    {"two of a name", "{\"a\":1,\"a\":2}", AUDIT_UNFIT, NULL},
    {"a line end in a string", "{\"a\":\"x\ny\"}", AUDIT_UNFIT, NULL},
    {"no UTF-8", "{\"a\":\"\xff\"}", AUDIT_UNFIT, NULL},
    {"something behind it", "{} {}", AUDIT_UNFIT, NULL},
    {"a member of the seal: seq", "{\"seq\":1}", AUDIT_UNFIT, NULL},
    {"a member of the seal: prev", "{\"prev\":1}", AUDIT_UNFIT, NULL},
    {"a member of the seal: hash", "{\"a\":1,\"hash\":\"x\"}", AUDIT_UNFIT, NULL},
    {"those of inner objects are free", "{\"a\":{\"hash\":\"x\"}}", AUDIT_SEALED,
     ",\"a\":{\"hash\":\"x\"}"},
};

static void test_seal(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof seals / sizeof *seals; i++) {
        struct audit_head head = {0};
        char *line = NULL, want[512];
        print_message("# %s\n", seals[i].name);
        assert_int_equal(audit_seal(&head, 1, seals[i].json, &line, &head), seals[i].want);
        if (seals[i].want != AUDIT_SEALED) {
            assert_null(line);
            assert_int_equal(head.seq, 0);
            continue;
        }
        snprintf(want, sizeof want, "{\"seq\":1,\"prev\":\"" ZEROS "\"%s,\"hash\":\"%s\"}",
                 seals[i].members, head.hash);
        assert_string_equal(line, want);
        assert_int_equal(strlen(head.hash), 64);
        free(line);
    }
}

/* Worked out with sha256sum, not by us. */
static void test_seal_known(void **state)
{
    (void)state;
    struct audit_head head = {0};
    char *line;
    assert_int_equal(audit_seal(&head, 1, "{\"act\":\"a\"}", &line, &head), AUDIT_SEALED);
    assert_string_equal(head.hash, KNOWN_1);
    free(line);
    assert_int_equal(audit_seal(&head, 2, "{\"act\":\"b\"}", &line, &head), AUDIT_SEALED);
    assert_string_equal(line, "{\"seq\":2,\"prev\":\"" KNOWN_1 "\",\"act\":\"b\",\"hash\":\"" KNOWN_2
                              "\"}");
    free(line);
}

static void test_seal_length(void **state)
{
    (void)state;
    struct audit_head head = {0}, next;
    char *json = malloc(AUDIT_LINE_MAX + 1), *line;
    for (size_t n = AUDIT_LINE_MAX - 300; n < AUDIT_LINE_MAX; n++) {
        memset(json, 'x', n);
        memcpy(json, "{\"a\":\"", 6);
        strcpy(json + n, "\"}");
        if (audit_seal(&head, 1, json, &line, &next) == AUDIT_TOO_LONG) {
            assert_true(n > AUDIT_LINE_MAX - 250);
            free(json);
            return;
        }
        assert_true(strlen(line) <= AUDIT_LINE_MAX);
        free(line);
        n += 20; /* it takes a while */
    }
    fail_msg("no line is too long");
}

/* ---- what is changed is found ---- */

static unsigned line_of(const struct text *t, size_t at)
{
    unsigned line = 1;
    for (size_t i = 0; i < at; i++) line += t->bytes[i] == '\n';
    return line;
}

#define LINES 5

static void test_every_byte(void **state)
{
    (void)state;
    struct audit_head known = make_log(LINES, BIG);
    struct text t = read_file("audit.jsonl");
    static const unsigned char flips[] = {0x01, 0x80, 0x0a ^ '0'};
    for (size_t i = 0; i < t.len; i++) {
        for (size_t k = 0; k < sizeof flips; k++) {
            t.bytes[i] = (char)(t.bytes[i] ^ flips[k]);
            write_file("audit.jsonl", t.bytes, t.len);
            t.bytes[i] = (char)(t.bytes[i] ^ flips[k]);
            struct audit_report r = verify(&known);
            if (r.fault == AUDIT_FAULT_NONE || (k == 0 && verify(NULL).fault == AUDIT_FAULT_NONE))
                fail_msg("byte %zu, flip %x: not found", i, flips[k]);
            assert_int_equal(r.line, line_of(&t, i));
            assert_int_equal(r.seq, r.line);
            assert_int_equal(r.lines, r.line - 1);
            assert_string_equal(r.file, "audit.jsonl");
        }
    }
    write_file("audit.jsonl", t.bytes, t.len);
    struct audit_report r = verify(&known);
    assert_good(&r, 1, LINES);
    assert_int_equal(r.files, 1);
    assert_string_equal(r.head.hash, known.hash);
    free(t.bytes);
}

static void test_every_cut(void **state)
{
    (void)state;
    struct audit_head known = make_log(LINES, BIG);
    struct text t = read_file("audit.jsonl");
    for (size_t len = 0; len < t.len; len++) {
        write_file("audit.jsonl", t.bytes, len);
        unsigned whole = line_of(&t, len) - 1;
        struct audit_report r = verify(&known);
        assert_int_equal(r.fault, AUDIT_FAULT_CUT);
        assert_int_equal(r.seq, whole + 1);
        assert_int_equal(r.lines, whole);
        /* Whoever knows no head sees only a line that is cut itself. */
        r = verify(NULL);
        bool part = len > 0 && t.bytes[len - 1] != '\n';
        assert_int_equal(r.fault, part ? AUDIT_FAULT_PART : AUDIT_FAULT_NONE);
        /* Opening keeps what is whole, and writing goes on: there, where lines begin and end, and
         * here and there in them. */
        bool edge = part != (t.bytes[len] != '\n');
        if (!edge && len % 32 != 0) continue;
        struct audit_files *f = open_files(BIG, 0);
        assert_int_equal(audit_files_head(f)->seq, whole);
        known = add_lines(f, LINES - whole);
        audit_files_close(f);
        r = verify(&known);
        assert_good(&r, 1, LINES);
    }
    free(t.bytes);
}

/* order: lines of a log of five as digits; what is found, in which line, of which seq. */
static const struct {
    const char *order;
    enum audit_fault want;
    uint64_t line, seq;
} orders[] = {
    {"12345", AUDIT_FAULT_NONE, 0, 0},
    {"2345", AUDIT_FAULT_MISSING, 1, 2},
    {"1345", AUDIT_FAULT_MISSING, 2, 3},
    {"1245", AUDIT_FAULT_MISSING, 3, 4},
    {"1235", AUDIT_FAULT_MISSING, 4, 5},
    {"1234", AUDIT_FAULT_CUT, 5, 5},
    {"", AUDIT_FAULT_CUT, 1, 1},
    {"21345", AUDIT_FAULT_MISSING, 1, 2},
    {"13245", AUDIT_FAULT_MISSING, 2, 3},
    {"12435", AUDIT_FAULT_MISSING, 3, 4},
    {"12354", AUDIT_FAULT_MISSING, 4, 5},
    {"112345", AUDIT_FAULT_TWICE, 2, 1},
    {"122345", AUDIT_FAULT_TWICE, 3, 2},
    {"123455", AUDIT_FAULT_TWICE, 6, 5},
    {"123451", AUDIT_FAULT_ORDER, 6, 1},
    {"12123", AUDIT_FAULT_ORDER, 3, 1},
    /* x: a line of another log that is good by itself */
    {"1x345", AUDIT_FAULT_UNCHAINED, 3, 3},
    {"x2345", AUDIT_FAULT_UNCHAINED, 2, 2},
    {"1234x", AUDIT_FAULT_OTHER_HEAD, 5, 5},
    /* j: JSON without a seal; t: text; e: an empty line */
    {"12j45", AUDIT_FAULT_NOT_SEALED, 3, 3},
    {"12t45", AUDIT_FAULT_NOT_JSON, 3, 3},
    {"12e345", AUDIT_FAULT_NOT_JSON, 3, 3},
};

static size_t put_line(char *to, char which, unsigned at, char *const *lines,
                       const struct audit_head *heads)
{
    char *line = NULL;
    struct audit_head head;
    if (which == 'x')
        assert_int_equal(audit_seal(&heads[at], at + 1, "{\"act\":\"forged\"}", &line, &head),
                         AUDIT_SEALED);
    const char *text = which == 'x'   ? line
                       : which == 'j' ? "{\"a\":1}"
                       : which == 't' ? "hello"
                       : which == 'e' ? ""
                                      : lines[which - '1'];
    int n = sprintf(to, "%s\n", text);
    free(line);
    return (size_t)n;
}

static void test_order(void **state)
{
    (void)state;
    struct audit_head heads[LINES + 1] = {0};
    char *lines[LINES], text[8192];
    for (unsigned i = 0; i < LINES; i++)
        assert_int_equal(audit_seal(&heads[i], i + 1, "{\"act\":\"x\"}", &lines[i], &heads[i + 1]),
                         AUDIT_SEALED);
    for (size_t i = 0; i < sizeof orders / sizeof *orders; i++) {
        size_t len = 0;
        print_message("# \"%s\"\n", orders[i].order);
        for (const char *p = orders[i].order; *p; p++)
            len += put_line(text + len, *p, (unsigned)(p - orders[i].order), lines, heads);
        write_file("audit.jsonl", text, len);
        struct audit_report r = verify(&heads[LINES]);
        assert_int_equal(r.fault, orders[i].want);
        assert_int_equal(r.line, orders[i].line);
        assert_int_equal(r.seq, orders[i].seq);
        assert_true((r.fault == AUDIT_FAULT_NONE) == (r.why[0] == '\0'));
    }
    for (unsigned i = 0; i < LINES; i++) free(lines[i]);
}

static void test_a_line_without_end(void **state)
{
    (void)state;
    char *text = malloc(AUDIT_LINE_MAX + 100);
    memset(text, 'x', AUDIT_LINE_MAX + 100);
    write_file("audit.jsonl", text, AUDIT_LINE_MAX + 100);
    struct audit_report r = verify(NULL);
    assert_int_equal(r.fault, AUDIT_FAULT_LONG);
    assert_null(audit_files_open(dir, BIG, 0, error, sizeof error));
    assert_non_null(strstr(error, "audit.jsonl: it ends with a line that"));
    free(text);
}

/* A line that is changed does not stop the server, which goes on after the last good one. */
static void test_open_after_a_change(void **state)
{
    (void)state;
    make_log(LINES, BIG);
    struct text t = read_file("audit.jsonl");
    t.bytes[t.len - 10] ^= 1;
    write_file("audit.jsonl", t.bytes, t.len);
    struct audit_files *f = open_files(BIG, 0);
    assert_int_equal(audit_files_head(f)->seq, LINES - 1);
    assert_true(add(f));
    audit_files_close(f);
    struct audit_report r = verify(NULL);
    assert_int_equal(r.fault, AUDIT_FAULT_CHANGED);
    assert_int_equal(r.line, LINES);
    free(t.bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_seal),
        cmocka_unit_test(test_seal_known),
        cmocka_unit_test(test_seal_length),
        cmocka_unit_test_setup_teardown(test_every_byte, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_every_cut, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_order, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_a_line_without_end, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_open_after_a_change, make_dir, remove_dir),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

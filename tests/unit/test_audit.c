/* The audit log: the form of lines, the files, and that nothing can be changed unseen. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "src/server/observe/audit.h"

#define ZEROS "0000000000000000000000000000000000000000000000000000000000000000"
#define BIG ((size_t)1 << 30)
/* Of the lines in test_seal_known, as sha256sum says. */
#define KNOWN_1 "bf80bf00e2cb3a339ce96cefa49907d38ed1bcb2b6f83b3d22d7826a7632b184"
#define KNOWN_2 "fe6ba4d241b8c65d33816d0d6e81eb93af33a9c426c41c3cc23933ee33e4dea4"

static char dir[64], error[512];

/* ---- a disk that fails when told (linked with --wrap) ---- */
static int fail_syncs;
int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);
int __wrap_fdatasync(int fd)
{
    if (fail_syncs == 0) return __real_fdatasync(fd);
    fail_syncs--;
    errno = EIO;
    return -1;
}

/* ---- files ---- */
static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st, (void)kind, (void)ftw;
    return remove(path);
}

static int make_dir(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/test_audit.XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    (void)state;
    return nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static const char *path_of(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

struct text { char *bytes; size_t len; };

static struct text read_file(const char *name)
{
    struct text t = {malloc(1 << 16), 0};
    FILE *f = fopen(path_of(name), "rb");
    assert_non_null(f);
    t.len = fread(t.bytes, 1, 1 << 16, f);
    assert_true(t.len < 1 << 16);
    fclose(f);
    return t;
}

static void write_file(const char *name, const char *bytes, size_t len)
{
    FILE *f = fopen(path_of(name), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
}

static bool exists(const char *name)
{
    return access(path_of(name), F_OK) == 0;
}

static struct audit_files *open_files(size_t rotate_size, unsigned keep)
{
    struct audit_files *f = audit_files_open(dir, rotate_size, keep, error, sizeof error);
    if (!f) fail_msg("%s", error);
    return f;
}

/* One more line; false: it could not be added. */
static bool add(struct audit_files *f)
{
    char json[96], *line;
    struct audit_head head = *audit_files_head(f);
    snprintf(json, sizeof json, "{\"at\": \"2026-11-25T00:00:00Z\", \"act\": \"test\", \"n\": %" PRIu64 "}",
             head.seq + 1);
    assert_int_equal(audit_seal(&head, head.seq + 1, json, &line, &head), AUDIT_SEALED);
    bool added = audit_files_append(f, &head, line, error, sizeof error);
    free(line);
    return added;
}

static struct audit_head add_lines(struct audit_files *f, unsigned count)
{
    while (count-- > 0)
        if (!add(f)) fail_msg("%s", error);
    if (!audit_files_sync(f, error, sizeof error)) fail_msg("%s", error);
    return *audit_files_head(f);
}

/* A log of count lines, closed. */
static struct audit_head make_log(unsigned count, size_t rotate_size)
{
    struct audit_files *f = open_files(rotate_size, 0);
    struct audit_head head = add_lines(f, count);
    audit_files_close(f);
    return head;
}

static struct audit_report verify(const struct audit_head *known)
{
    struct audit_report r;
    if (!audit_verify(dir, known, &r, error, sizeof error)) fail_msg("%s", error);
    return r;
}

static void assert_good(const struct audit_report *r, uint64_t first, uint64_t last)
{
    if (r->fault != AUDIT_FAULT_NONE)
        fail_msg("%s:%" PRIu64 " (seq %" PRIu64 "): %s", r->file, r->line, r->seq, r->why);
    assert_int_equal(r->first_seq, first);
    assert_int_equal(r->last_seq, last);
    assert_int_equal(r->lines, last ? last - first + 1 : 0);
    assert_int_equal(r->head.seq, last);
}

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
    static const unsigned char flips[] = {0x01, 0x20, 0x80, 0x0a ^ '0'};
    for (size_t i = 0; i < t.len; i++) {
        for (size_t k = 0; k < sizeof flips; k++) {
            t.bytes[i] = (char)(t.bytes[i] ^ flips[k]);
            write_file("audit.jsonl", t.bytes, t.len);
            t.bytes[i] = (char)(t.bytes[i] ^ flips[k]);
            struct audit_report r = verify(&known), unknown = verify(NULL);
            if (r.fault == AUDIT_FAULT_NONE || unknown.fault == AUDIT_FAULT_NONE)
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
        /* Opening keeps what is whole, and writing goes on. */
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

/* ---- rotation ---- */

#define TWO_LINES 500 /* bytes of a file into which two lines fit, and not a third */
static const char *const full[] = {
    "audit-000000000001-000000000002.jsonl", "audit-000000000003-000000000004.jsonl",
    "audit-000000000005-000000000006.jsonl", "audit-000000000007-000000000008.jsonl"};

static void test_rotation(void **state)
{
    (void)state;
    struct audit_head known = make_log(9, TWO_LINES);
    struct audit_report r = verify(&known);
    assert_good(&r, 1, 9);
    assert_int_equal(r.files, 5);
    for (size_t i = 0; i < 4; i++) {
        struct stat st;
        print_message("# %s\n", full[i]);
        assert_int_equal(stat(path_of(full[i]), &st), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
    }
    /* Opened when the current file is gone: it was rotated a moment before the end. */
    assert_int_equal(rename(path_of("audit.jsonl"), "/tmp/test_audit.moved"), 0);
    struct audit_files *f = open_files(TWO_LINES, 0);
    assert_int_equal(audit_files_head(f)->seq, 8);
    known = add_lines(f, 3);
    audit_files_close(f);
    unlink("/tmp/test_audit.moved");
    r = verify(&known);
    assert_good(&r, 1, 11);
}

static void test_rotation_keeps(void **state)
{
    (void)state;
    struct audit_files *f = open_files(TWO_LINES, 2);
    struct audit_head known = add_lines(f, 9);
    audit_files_close(f);
    assert_false(exists(full[0]) || exists(full[1]));
    assert_true(exists(full[2]) && exists(full[3]));
    struct audit_report r = verify(&known);
    assert_good(&r, 5, 9);
}

static void test_a_full_file_changes(void **state)
{
    (void)state;
    static const char other[] = "notes.txt";
    struct audit_head known = make_log(9, TWO_LINES);
    struct text t = read_file(full[1]);
    const char *second = memchr(t.bytes, '\n', t.len);
    size_t first_len = (size_t)(second - t.bytes) + 1;
    const struct {
        const char *name, *bytes;
        size_t len;
        enum audit_fault want;
        const char *file;
        uint64_t line, seq;
        const char *why;
    } cases[] = {
        {"gone", NULL, 0, AUDIT_FAULT_FILE_MISSING, full[2], 1, 5,
         "a file is missing before this one: 3 to 4"},
        {"empty", t.bytes, 0, AUDIT_FAULT_FILE_CUT, full[1], 1, 3,
         "lines are missing at the end of the file: 3 to 4"},
        {"its end is gone", t.bytes, first_len, AUDIT_FAULT_FILE_CUT, full[1], 2, 4,
         "lines are missing at the end of the file: 4"},
        {"its beginning is gone", t.bytes + first_len, t.len - first_len, AUDIT_FAULT_MISSING,
         full[1], 1, 4, "lines are missing before this one: 3"},
        {"its last line has no end", t.bytes, t.len - 1, AUDIT_FAULT_PART, full[1], 2, 4,
         "the last line of the file has no end"},
    };
    write_file(other, "hello", 5);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        print_message("# %s\n", cases[i].name);
        if (cases[i].bytes)
            write_file(full[1], cases[i].bytes, cases[i].len);
        else
            unlink(path_of(full[1]));
        struct audit_report r = verify(&known);
        assert_int_equal(r.fault, cases[i].want);
        assert_string_equal(r.file, cases[i].file);
        assert_int_equal(r.line, cases[i].line);
        assert_int_equal(r.seq, cases[i].seq);
        assert_string_equal(r.why, cases[i].why);
    }
    write_file(full[1], t.bytes, t.len);
    struct audit_report r = verify(&known);
    assert_good(&r, 1, 9);
    free(t.bytes);
}

static void test_first_and_last_files_go(void **state)
{
    (void)state;
    struct audit_head known = make_log(9, TWO_LINES), early = {.seq = 1};
    unlink(path_of(full[0])); /* as rotation does */
    struct audit_report r = verify(&known);
    assert_good(&r, 3, 9);
    strcpy(early.hash, known.hash);
    r = verify(&early); /* somebody knows a head that was dropped: nothing to compare with */
    assert_good(&r, 3, 9);
    unlink(path_of("audit.jsonl"));
    r = verify(&known);
    assert_int_equal(r.fault, AUDIT_FAULT_CUT);
    assert_int_equal(r.seq, 9);
    assert_string_equal(r.file, full[3]);
    r = verify(NULL);
    assert_good(&r, 3, 8);
}

/* ---- disks that fail ---- */

static void test_full_disk(void **state)
{
    (void)state;
    struct rlimit none, most;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &none), 0);
    signal(SIGXFSZ, SIG_IGN);
    for (rlim_t room = 1; room < 600; room += 37) {
        struct audit_files *f = open_files(BIG, 0);
        uint64_t begun = audit_files_head(f)->seq;
        struct stat st;
        assert_int_equal(stat(path_of("audit.jsonl"), &st), 0);
        most = (struct rlimit){(rlim_t)st.st_size + room, none.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &most), 0);
        while (add(f))
            ;
        assert_non_null(strstr(error, "audit.jsonl: File too large"));
        assert_false(add(f)); /* and again */
        uint64_t there = audit_files_head(f)->seq;
        assert_true(there >= begun && there < begun + 3);
        struct audit_report r = verify(audit_files_head(f));
        assert_good(&r, there ? 1 : 0, there);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
        struct audit_head known = add_lines(f, 1);
        audit_files_close(f);
        r = verify(&known);
        assert_good(&r, 1, there + 1);
    }
}

static void test_a_sync_that_fails_takes_back(void **state)
{
    (void)state;
    struct audit_files *f = open_files(BIG, 0);
    add_lines(f, 3);
    assert_true(add(f) && add(f));
    fail_syncs = 1;
    assert_false(audit_files_sync(f, error, sizeof error));
    assert_non_null(strstr(error, "audit.jsonl: Input/output error"));
    assert_int_equal(audit_files_head(f)->seq, 3);
    struct audit_head known = add_lines(f, 2);
    audit_files_close(f);
    struct audit_report r = verify(&known);
    assert_good(&r, 1, 5);
}

static void test_a_rotation_that_fails(void **state)
{
    (void)state;
    struct audit_files *f = open_files(TWO_LINES, 0);
    add_lines(f, 1);
    assert_true(add(f));
    fail_syncs = 1;
    assert_false(add(f));
    assert_int_equal(audit_files_head(f)->seq, 1);
    add_lines(f, 1);
    assert_int_equal(mkdir(path_of(full[0]), 0700), 0); /* something is in the way */
    assert_false(add(f));
    assert_non_null(strstr(error, full[0]));
    assert_int_equal(audit_files_head(f)->seq, 2);
    assert_int_equal(rmdir(path_of(full[0])), 0);
    struct audit_head known = add_lines(f, 1);
    audit_files_close(f);
    struct audit_report r = verify(&known);
    assert_good(&r, 1, 3);
    assert_int_equal(r.files, 2);
}

static void test_places_that_cannot_be(void **state)
{
    (void)state;
    char inside[128];
    assert_null(audit_files_open("/proc/no/such/place", BIG, 0, error, sizeof error));
    assert_non_null(strstr(error, "/proc/no/such/place"));
    snprintf(inside, sizeof inside, "%s/audit.jsonl", dir);
    assert_int_equal(symlink("/tmp/test_audit.elsewhere", inside), 0);
    assert_null(audit_files_open(dir, BIG, 0, error, sizeof error));
    assert_int_equal(access("/tmp/test_audit.elsewhere", F_OK), -1);
    unlink(inside);
    snprintf(inside, sizeof inside, "%s/new", dir);
    struct audit_report r; /* nobody has written yet */
    assert_true(audit_verify(inside, NULL, &r, error, sizeof error));
    assert_good(&r, 0, 0);
    struct audit_files *f = audit_files_open(inside, BIG, 0, error, sizeof error);
    assert_non_null(f);
    struct audit_head head = {.seq = 1};
    assert_false(audit_files_append(f, &head, "{\n}", error, sizeof error));
    head.seq = 0;
    assert_false(audit_files_append(f, &head, "{}", error, sizeof error));
    audit_files_close(f);
    struct stat st;
    assert_int_equal(stat(inside, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
}

/* ---- reading ---- */

static void collect(void *ctx, uint64_t seq, const char *line, size_t len)
{
    char *out = ctx;
    assert_int_equal(audit_line_seq(line, len), seq);
    sprintf(out + strlen(out), "%" PRIu64 " ", seq);
}

static void test_read(void **state)
{
    (void)state;
    static const struct { uint64_t after; size_t most; const char *want; } cases[] = {
        {0, 100, "1 2 3 4 5 6 7 8 9 "}, {0, 3, "1 2 3 "},  {0, 0, ""},  {1, 2, "2 3 "},
        {4, 100, "5 6 7 8 9 "},         {8, 100, "9 "},    {9, 9, ""},  {UINT64_MAX, 9, ""},
    };
    make_log(9, TWO_LINES);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char out[64] = "";
        assert_true(audit_read(dir, cases[i].after, cases[i].most, collect, out, error, sizeof error));
        assert_string_equal(out, cases[i].want);
    }
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
        cmocka_unit_test_setup_teardown(test_rotation, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_rotation_keeps, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_a_full_file_changes, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_first_and_last_files_go, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_full_disk, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_a_sync_that_fails_takes_back, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_a_rotation_that_fails, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_places_that_cannot_be, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_read, make_dir, remove_dir),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

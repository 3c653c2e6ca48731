/* Files of the audit log: rotation, disks and memory that fail, reading. */
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/audit_bench.h"
#include "tests/unit/failing_malloc.h"

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

static bool exists(const char *name)
{
    return access(path_of(name), F_OK) == 0;
}

/* ---- rotation ---- */

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

/* ---- all at once ---- */

static atomic_bool stop_looking;

/* What was wrong, to be freed; NULL: nothing. */
static void *look(void *count)
{
    char why[256], out[64], *wrong = NULL;
    struct audit_report r;
    for (unsigned *looks = count; !stop_looking && !wrong; ++*looks) {
        /* A line may be half written. Everything else is always of one piece. */
        if (!audit_verify(dir, NULL, &r, why, sizeof why))
            wrong = strdup(why);
        else if (r.fault != AUDIT_FAULT_NONE && r.fault != AUDIT_FAULT_PART)
            assert(asprintf(&wrong, "%s:%" PRIu64 ": %s", r.file, r.line, r.why) > 0);
        out[0] = '\0';
        if (!wrong && !audit_read(dir, r.last_seq, 5, collect, out, why, sizeof why))
            wrong = strdup(why);
    }
    return wrong;
}

static void test_looking_beside_the_writer(void **state)
{
    (void)state;
    for (unsigned keep = 1; keep < 5; keep++) {
        pthread_t looker;
        unsigned looks = 0;
        void *wrong;
        struct audit_files *f = open_files(TWO_LINES, keep);
        add_lines(f, 1);
        stop_looking = false;
        assert_int_equal(pthread_create(&looker, NULL, look, &looks), 0);
        for (unsigned i = 0; i < 400; i++) assert_true(add(f));
        stop_looking = true;
        pthread_join(looker, &wrong);
        audit_files_close(f);
        print_message("# keep %u: %u looks\n", keep, looks);
        if (wrong) fail_msg("%s", (char *)wrong);
        assert_true(looks > 0);
    }
}

/* ---- memory ---- */

/* A log that is rotated and cut off: opened, written to, verified and read. */
static bool sweep_run(void)
{
    struct audit_head head, known;
    struct audit_report r;
    char *line = NULL, out[64] = "";
    struct audit_files *f = audit_files_open(dir, TWO_LINES, 1, error, sizeof error);
    if (!f) return false;
    head = *audit_files_head(f);
    bool good = audit_seal(&head, head.seq + 1, "{\"act\":\"x\"}", &line, &head) == AUDIT_SEALED &&
                audit_files_append(f, &head, line, error, sizeof error) &&
                audit_files_sync(f, error, sizeof error);
    free(line);
    known = *audit_files_head(f);
    audit_files_close(f);
    if (!good || !audit_verify(dir, &known, &r, error, sizeof error)) return false;
    assert_good(&r, r.first_seq, known.seq);
    return audit_read(dir, known.seq - 1, 10, collect, out, error, sizeof error);
}

static void sweep_begin(void)
{
    make_log(6, TWO_LINES);
    struct text t = read_file("audit.jsonl");
    t.bytes[t.len] = '{';
    write_file("audit.jsonl", t.bytes, t.len + 1);
    free(t.bytes);
}

static void sweep_check(void)
{
    struct audit_report r = verify(NULL);
    assert_true(r.last_seq >= 7);
    assert_good(&r, r.first_seq, r.last_seq);
}

static void sweep_end(void)
{
    remove_dir(NULL);
    assert_int_equal(mkdir(dir, 0700), 0);
}

static void test_no_memory(void **state)
{
    (void)state;
    failing_malloc_sweep(&(struct sweep){.name = "audit log", .begin = sweep_begin, .run = sweep_run,
                                         .check = sweep_check, .end = sweep_end});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_rotation, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_rotation_keeps, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_a_full_file_changes, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_first_and_last_files_go, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_full_disk, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_a_sync_that_fails_takes_back, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_a_rotation_that_fails, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_places_that_cannot_be, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_read, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_looking_beside_the_writer, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_no_memory, make_dir, remove_dir),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

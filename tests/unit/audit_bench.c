#include "tests/unit/audit_bench.h"

#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

char dir[64], error[512];

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st, (void)kind, (void)ftw;
    return remove(path);
}

int make_dir(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/test_audit.XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

int remove_dir(void **state)
{
    (void)state;
    return nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

const char *path_of(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

struct text read_file(const char *name)
{
    struct text t = {malloc(1 << 16), 0};
    FILE *f = fopen(path_of(name), "rb");
    assert_non_null(f);
    t.len = fread(t.bytes, 1, 1 << 16, f);
    assert_true(t.len < 1 << 16);
    fclose(f);
    return t;
}

void write_file(const char *name, const char *bytes, size_t len)
{
    FILE *f = fopen(path_of(name), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
}

struct audit_files *open_files(size_t rotate_size, unsigned keep)
{
    struct audit_files *f = audit_files_open(dir, rotate_size, keep, error, sizeof error);
    if (!f) fail_msg("%s", error);
    return f;
}

/* One more line; false: it could not be added. */
bool add(struct audit_files *f)
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

struct audit_head add_lines(struct audit_files *f, unsigned count)
{
    while (count-- > 0)
        if (!add(f)) fail_msg("%s", error);
    if (!audit_files_sync(f, error, sizeof error)) fail_msg("%s", error);
    return *audit_files_head(f);
}

/* A log of count lines, closed. */
struct audit_head make_log(unsigned count, size_t rotate_size)
{
    struct audit_files *f = open_files(rotate_size, 0);
    struct audit_head head = add_lines(f, count);
    audit_files_close(f);
    return head;
}

struct audit_report verify(const struct audit_head *known)
{
    struct audit_report r;
    if (!audit_verify(dir, known, &r, error, sizeof error)) fail_msg("%s", error);
    return r;
}

void assert_good(const struct audit_report *r, uint64_t first, uint64_t last)
{
    if (r->fault != AUDIT_FAULT_NONE)
        fail_msg("%s:%" PRIu64 " (seq %" PRIu64 "): %s", r->file, r->line, r->seq, r->why);
    assert_int_equal(r->first_seq, first);
    assert_int_equal(r->last_seq, last);
    assert_int_equal(r->lines, last ? last - first + 1 : 0);
    assert_int_equal(r->head.seq, last);
}

/* Log lines: their form, what is escaped, and what happens when nobody reads. */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "src/server/observe/log.h"

#define STAMP_LEN 25 /* "2026-01-01T00:00:00.000Z " */

static int saved, reading, writing;

/* Standard error becomes a pipe. */
static int redirect(void **state)
{
    int fds[2];
    (void)state;
    if (pipe2(fds, O_CLOEXEC) != 0)
        return -1;
    reading = fds[0];
    writing = fds[1];
    saved = dup(STDERR_FILENO);
    return dup2(writing, STDERR_FILENO) < 0;
}

static int restore(void **state)
{
    (void)state;
    log_close();
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(reading);
    close(writing);
    return 0;
}

static size_t take(char *buf, size_t cap)
{
    ssize_t n = read(reading, buf, cap - 1);
    assert_true(n >= 0);
    buf[n] = '\0';
    return (size_t)n;
}

static void expect_line(const char *want)
{
    char line[4096];
    log_flush();
    size_t len = take(line, sizeof line);
    assert_true(len > STAMP_LEN);
    assert_int_equal(line[10], 'T');
    assert_int_equal(line[19], '.');
    assert_int_equal(line[23], 'Z');
    assert_string_equal(line + STAMP_LEN, want);
}

static void test_form(void **state)
{
    (void)state;
    log_open(LOG_DEBUG);
    LOG(LOG_INFO, 0, "ready");
    expect_line("info ready\n");
    LOG(LOG_WARN, 0x1f, "refuse", KV_TEXT("user", "ann"), KV_UINT("status", 142), KV_INT("n", -5));
    expect_line("warn s=1f refuse user=ann status=142 n=-5\n");
    LOG(LOG_DEBUG, UINT64_MAX, "x", KV_UINT("u", UINT64_MAX), KV_INT("i", INT64_MIN));
    expect_line("debug s=ffffffffffffffff x u=18446744073709551615 i=-9223372036854775808\n");
    LOG(LOG_ERROR, 1, "y", KV_TEXT("none", NULL), KV_TEXT("empty", ""));
    expect_line("error s=1 y none=- empty=\"\"\n");
}

static void test_escapes(void **state)
{
    (void)state;
    static const struct {
        const char *value, *want;
    } cases[] = {
        { "127.0.0.1:8080", "127.0.0.1:8080" },   { "a b", "\"a b\"" },
        { "a\"b", "\"a\\\"b\"" },                   { "a\\b", "\"a\\\\b\"" },
        { "user=root", "\"user=root\"" },          { "a\nb", "\"a\\x0ab\"" },
        { "\x1b[31m", "\"\\x1b[31m\"" },            { "\xc3\xa4", "\"\\xc3\\xa4\"" },
        { "\x7f", "\"\\x7f\"" },                    { "\t", "\"\\x09\"" },
    };
    log_open(LOG_INFO);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char want[128];
        snprintf(want, sizeof want, "info v a=%s\n", cases[i].want);
        LOG(LOG_INFO, 0, "v", KV_TEXT("a", cases[i].value));
        expect_line(want);
    }
}

static void test_long_values_are_cut(void **state)
{
    (void)state;
    char value[300], want[512];
    log_open(LOG_INFO);
    memset(value, 'a', sizeof value);
    value[200] = '\0';
    snprintf(want, sizeof want, "info v a=%s\n", value);
    LOG(LOG_INFO, 0, "v", KV_TEXT("a", value));
    expect_line(want);
    value[200] = 'a';
    value[299] = '\0';
    snprintf(want, sizeof want, "info v a=\"%.200s...\"\n", value);
    LOG(LOG_INFO, 0, "v", KV_TEXT("a", value));
    expect_line(want);
}

static void test_a_line_has_an_end(void **state)
{
    (void)state;
    char value[200], line[4096];
    struct kv fields[32] = { 0 };
    log_open(LOG_INFO);
    memset(value, '\x01', sizeof value);
    value[199] = '\0';
    for (size_t i = 0; i < 31; i++)
        fields[i] = (struct kv)KV_TEXT("key", value);
    log_write(LOG_INFO, 0, "long", fields);
    log_flush();
    size_t len = take(line, sizeof line);
    assert_true(len <= 2048);
    assert_int_equal(line[len - 1], '\n');
    assert_ptr_equal(strchr(line, '\n'), line + len - 1);
}

static void test_levels(void **state)
{
    (void)state;
    assert_false(log_on(LOG_ERROR)); /* not open */
    log_open(LOG_WARN);
    assert_true(log_on(LOG_ERROR));
    assert_true(log_on(LOG_WARN));
    assert_false(log_on(LOG_INFO));
    LOG(LOG_INFO, 0, "unseen");
    LOG(LOG_WARN, 0, "seen");
    expect_line("warn seen\n");
    log_close();
    assert_false(log_on(LOG_ERROR));
    log_open(LOG_INFO); /* again */
    LOG(LOG_INFO, 0, "again");
    expect_line("info again\n");
}

/* What is told may lie across two reads: it is looked at when all is there. */
static void *read_all(void *count)
{
    static char all[1 << 20]; /* the ring and the pipe hold less */
    static const char told[] = "log-lost n=";
    unsigned long *lost = count;
    for (size_t at = 0, len; at + 1 < sizeof all; at += len) {
        len = take(all + at, sizeof all - at);
        if (len == 0 || strstr(all + (at > 16 ? at - 16 : 0), "the-last"))
            break;
    }
    for (const char *p = all; (p = strstr(p, told)); p++)
        *lost += strtoul(p + strlen(told), NULL, 10);
    return NULL;
}

/* 20,000 lines of 100 bytes are more than the ring and the pipe take together. */
static void test_nobody_reads(void **state)
{
    (void)state;
    pthread_t reader;
    unsigned long lost = 0;
    struct timespec a, b;
    log_open(LOG_INFO);
    clock_gettime(CLOCK_MONOTONIC, &a);
    for (unsigned i = 0; i < 20000; i++)
        LOG(LOG_INFO, i + 1, "flood", KV_TEXT("a", "0123456789012345678901234567890123456789"),
            KV_UINT("i", i));
    clock_gettime(CLOCK_MONOTONIC, &b);
    assert_true(b.tv_sec - a.tv_sec < 5); /* the writer is stuck; nobody waits for it */
    LOG(LOG_ERROR, 0, "an-error"); /* waits a moment only */
    assert_int_equal(pthread_create(&reader, NULL, read_all, &lost), 0);
    log_flush();
    LOG(LOG_INFO, 0, "the-last");
    log_flush();
    pthread_join(reader, NULL);
    assert_true(lost > 1000 && lost < 20000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_form, redirect, restore),
        cmocka_unit_test_setup_teardown(test_escapes, redirect, restore),
        cmocka_unit_test_setup_teardown(test_long_values_are_cut, redirect, restore),
        cmocka_unit_test_setup_teardown(test_a_line_has_an_end, redirect, restore),
        cmocka_unit_test_setup_teardown(test_levels, redirect, restore),
        cmocka_unit_test_setup_teardown(test_nobody_reads, redirect, restore),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The notifier: real programs, a real if tiny web server, and a source of events that fails. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "src/server/observe/notify.h"
#include "src/server/observe/when.h"
#include "tests/unit/failing_malloc.h"

#define EVENTS_MAX 256
#define DEADLINE_MS 20000 /* for what takes milliseconds */
#define ALL_EVENTS "quarantined", "wipe-acknowledged", "wipe-failed", "loop-blocked"

static char dir[64], program[80], error[256];
static const char *const all_events[] = {ALL_EVENTS};

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void wait_until(bool (*holds)(void *), void *ctx, const char *what)
{
    for (int64_t end = now_ms() + DEADLINE_MS; !holds(ctx);) {
        if (now_ms() > end) fail_msg("waited in vain for: %s", what);
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    }
}

/* ---- the source ---- */
static struct {
    pthread_mutex_t mutex;
    char json[EVENTS_MAX][256]; /* of the event with that id, from 1 */
    bool gone[EVENTS_MAX];
    unsigned last, left, repeats, reads_fail, dones_fail;
} source = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static bool source_read(void *ctx, uint64_t after, unsigned most,
                        void (*each)(void *each_ctx, uint64_t id, const char *json), void *each_ctx)
{
    (void)ctx;
    pthread_mutex_lock(&source.mutex);
    bool good = source.reads_fail == 0;
    if (!good) source.reads_fail--;
    for (uint64_t id = after + 1; good && id <= source.last && most > 0; id++) {
        if (source.gone[id]) continue;
        each(each_ctx, id, source.json[id]);
        most--;
    }
    pthread_mutex_unlock(&source.mutex);
    return good;
}

static bool source_done(void *ctx, uint64_t id)
{
    (void)ctx;
    pthread_mutex_lock(&source.mutex);
    bool good = source.dones_fail == 0;
    if (good) {
        source.repeats += source.gone[id];
        source.left -= !source.gone[id];
        source.gone[id] = true;
    } else {
        source.dones_fail--;
    }
    pthread_mutex_unlock(&source.mutex);
    return good;
}

static const struct notify_source from_source = {NULL, source_read, source_done};

static unsigned put_json(const char *json)
{
    pthread_mutex_lock(&source.mutex);
    unsigned id = ++source.last;
    assert_true(id < EVENTS_MAX);
    snprintf(source.json[id], sizeof source.json[id], "%s", json);
    source.left++;
    pthread_mutex_unlock(&source.mutex);
    return id;
}

static unsigned put_event(const char *name, int64_t age_s)
{
    char json[200], at[WHEN_TEXT];
    when_text(time(NULL) - age_s, at);
    snprintf(json, sizeof json, "{\"event\":\"%s\",\"at\":\"%s\",\"user\":\"ann\"}", name, at);
    return put_json(json);
}

static bool nothing_left(void *ctx)
{
    (void)ctx;
    pthread_mutex_lock(&source.mutex);
    bool none = source.left == 0;
    pthread_mutex_unlock(&source.mutex);
    return none;
}

/* ---- programs ---- */
static const char *path_of(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static const char *script(const char *body)
{
    FILE *f = fopen(program, "w");
    assert_non_null(f);
    fprintf(f, "#!/bin/sh\ncd '%s'\n%s\n", dir, body);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(program, 0755), 0);
    return program;
}

/* The whole file, "" if there is none. */
static const char *content(const char *name)
{
    static char text[1 << 16];
    FILE *f = fopen(path_of(name), "r");
    size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;
    if (f) fclose(f);
    text[n] = '\0';
    return text;
}

static unsigned lines_of(const char *name)
{
    unsigned n = 0;
    for (const char *p = content(name); (p = strchr(p, '\n')); p++) n++;
    return n;
}

struct wanted { const char *name; unsigned lines; };

static bool has_lines(void *ctx)
{
    const struct wanted *w = ctx;
    return lines_of(w->name) >= w->lines;
}

static void wait_for_lines(const char *name, unsigned lines)
{
    wait_until(has_lines, &(struct wanted){name, lines}, name);
}

/* ---- a web server of one connection at a time ---- */
enum { HANG = 0, CLOSE = 1 }; /* instead of a status */
static struct {
    pthread_t thread;
    pthread_mutex_t mutex;
    int listener;
    bool stopping;
    int answers[8]; /* one after the other; the last for ever */
    unsigned asked;
    char heads[8][1024], bodies[EVENTS_MAX][256];
    char url[64];
} web = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static void serve_one(int fd)
{
    char request[2048];
    size_t len = 0, want = 0;
    char *body = NULL;
    while (!body || len < (size_t)(body - request) + want) {
        ssize_t n = read(fd, request + len, sizeof request - 1 - len);
        if (n <= 0) return;
        len += (size_t)n;
        request[len] = '\0';
        char *end = strstr(request, "\r\n\r\n");
        if (!end) continue;
        body = end + 4;
        const char *length = strcasestr(request, "content-length:");
        want = length ? strtoul(length + 15, NULL, 10) : 0;
    }
    pthread_mutex_lock(&web.mutex);
    unsigned n = web.asked++;
    int answer = 0;
    for (unsigned i = 0; i <= n && i < 8 && web.answers[i] >= 0; i++) answer = web.answers[i];
    if (n < EVENTS_MAX) snprintf(web.bodies[n], sizeof web.bodies[n], "%s", body);
    if (n < 8) snprintf(web.heads[n], sizeof web.heads[n], "%.*s", (int)(body - request), request);
    pthread_mutex_unlock(&web.mutex);
    if (answer == HANG) {
        struct pollfd gone = {.fd = fd, .events = POLLIN};
        poll(&gone, 1, DEADLINE_MS); /* until the other side gives up */
    } else if (answer != CLOSE) {
        dprintf(fd, "HTTP/1.1 %d X\r\nContent-Length: 2\r\nConnection: close\r\n%s\r\nok", answer,
                answer / 100 == 3 ? "Location: /other\r\n" : "");
    }
}

static void *serve(void *arg)
{
    (void)arg;
    for (;;) {
        int fd = accept4(web.listener, NULL, NULL, SOCK_CLOEXEC);
        pthread_mutex_lock(&web.mutex);
        bool stopping = web.stopping;
        pthread_mutex_unlock(&web.mutex);
        if (stopping || fd < 0) {
            if (fd >= 0) close(fd);
            return NULL;
        }
        serve_one(fd);
        close(fd);
    }
}

static void web_start(const int answers[8])
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    web.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(web.listener, (struct sockaddr *)&a, len), 0);
    assert_int_equal(listen(web.listener, 8), 0);
    assert_int_equal(getsockname(web.listener, (struct sockaddr *)&a, &len), 0);
    snprintf(web.url, sizeof web.url, "http://127.0.0.1:%d/hook?token=s3cret", ntohs(a.sin_port));
    memcpy(web.answers, answers, sizeof web.answers);
    web.asked = 0;
    web.stopping = false;
    assert_int_equal(pthread_create(&web.thread, NULL, serve, NULL), 0);
}

static void web_stop(void)
{
    pthread_mutex_lock(&web.mutex);
    web.stopping = true;
    pthread_mutex_unlock(&web.mutex);
    shutdown(web.listener, SHUT_RDWR);
    pthread_join(web.thread, NULL);
    close(web.listener);
}

static bool was_asked(void *ctx)
{
    pthread_mutex_lock(&web.mutex);
    bool enough = web.asked >= *(unsigned *)ctx;
    pthread_mutex_unlock(&web.mutex);
    return enough;
}

static void wait_for_posts(unsigned count)
{
    wait_until(was_asked, &count, "posts");
}

/* ---- before and after each ---- */
static int set_up(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/test_notify.XXXXXX");
    source.last = source.left = source.repeats = source.reads_fail = source.dones_fail = 0;
    memset(source.gone, 0, sizeof source.gone);
    if (!mkdtemp(dir)) return -1;
    snprintf(program, sizeof program, "%s/program", dir);
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st, (void)kind, (void)ftw;
    return remove(path);
}

static int tear_down(void **state)
{
    (void)state;
    return nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static struct notify *start_for(const char *path, const char *url, unsigned timeout_ms)
{
    const struct notify_options o = {path, url, all_events, 4, timeout_ms, 10};
    struct notify *n = notify_start(&o, &from_source, error, sizeof error);
    if (!n) fail_msg("%s", error);
    return n;
}

static void stop(struct notify *n)
{
    int64_t begun = now_ms();
    notify_stop(n);
    assert_true(now_ms() - begun < 1000);
    notify_wake(n); /* the store may do so still */
    notify_destroy(n);
}

/* ---- the program ---- */

static void test_program_is_told(void **state)
{
    (void)state;
    char want[256];
    unsigned id = put_event("quarantined", 0);
    struct notify *n = start_for(script("cat >>told; echo >>told"), NULL, DEADLINE_MS);
    wait_until(nothing_left, NULL, "the first event");
    snprintf(want, sizeof want, "{\"id\":%u,%s\n", id, source.json[id] + 1);
    assert_string_equal(content("told"), want);
    put_event("wipe-failed", 0);
    notify_wake(n);
    wait_until(nothing_left, NULL, "the second event");
    assert_int_equal(lines_of("told"), 2);
    stop(n);
    assert_int_equal(source.repeats, 0);
}

/* What is blocked and ignored here, and what is open, is not so in the program. */
static void test_program_inherits_nothing(void **state)
{
    (void)state;
    sigset_t some, before;
    sigemptyset(&some);
    sigaddset(&some, SIGTERM);
    sigaddset(&some, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &some, &before);
    signal(SIGPIPE, SIG_IGN);
    int open_here = open(path_of("left-open"), O_CREAT | O_RDWR, 0600);
    put_event("quarantined", 0);
    struct notify *n = start_for(script("grep -E 'Sig(Blk|Ign)' /proc/self/status >signals\n"
                                        "ls -l /proc/self/fd >descriptors"),
                                 NULL, DEADLINE_MS);
    wait_until(nothing_left, NULL, "the event");
    stop(n);
    const char *signals = content("signals");
    assert_int_equal(strncmp(signals, "SigBlk:\t0000000000000000\nSigIgn:\t", 33), 0);
    uint64_t ours = strtoull(signals + 33, NULL, 16) & INT32_MAX; /* above are those of libc itself */
    assert_int_equal(ours, 0);
    assert_non_null(strstr(content("descriptors"), "0 -> /memfd:event"));
    assert_null(strstr(content("descriptors"), "left-open"));
    assert_null(strstr(content("descriptors"), "socket"));
    close(open_here);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void test_program_is_told_again(void **state)
{
    (void)state;
    static const struct { const char *name, *how; } cases[] = {
        {"exit code", "exit 1"},
        {"signal", "kill -SEGV $$"},
        {"too late", "sleep 100"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char body[256];
        print_message("# %s\n", cases[i].name);
        unlink(path_of("told"));
        snprintf(body, sizeof body,
                 "cat >>told; echo >>told; [ $(grep -c . told) -gt 3 ] || %s", cases[i].how);
        unsigned id = put_event("quarantined", 0);
        put_event("wipe-failed", 0);
        struct notify *n = start_for(script(body), NULL, 300);
        wait_until(nothing_left, NULL, "both events");
        stop(n);
        assert_int_equal(lines_of("told"), 5); /* in their order: the second comes last */
        char want[32], *last = strrchr(content("told"), '{');
        snprintf(want, sizeof want, "{\"id\":%u,", id + 1);
        assert_int_equal(strncmp(last, want, strlen(want)), 0);
    }
}

static void test_program_appears_later(void **state)
{
    (void)state;
    put_event("quarantined", 0);
    struct notify *n = start_for(program, NULL, DEADLINE_MS);
    nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    assert_false(nothing_left(NULL));
    script("exit 0");
    wait_until(nothing_left, NULL, "the event");
    stop(n);
}

static bool is_gone(void *ctx)
{
    return kill(*(pid_t *)ctx, 0) != 0 && errno == ESRCH;
}

/* And what it has started itself. */
static void test_hanging_program_ends_with_us(void **state)
{
    (void)state;
    put_event("quarantined", 0);
    struct notify *n = start_for(script("trap '' TERM; sleep 100 & echo $! >pid; echo $$ >>pid; wait"),
                                 NULL, DEADLINE_MS);
    wait_for_lines("pid", 2);
    char *rest;
    pid_t child = (pid_t)strtol(content("pid"), &rest, 10), self = (pid_t)strtol(rest, NULL, 10);
    stop(n);
    wait_until(is_gone, &self, "the end of the program");
    wait_until(is_gone, &child, "the end of its child");
    assert_false(nothing_left(NULL));
}

/* ---- the web server ---- */

static void test_webhook_is_told(void **state)
{
    (void)state;
    static const int answers[8] = {200, 204, -1};
    char want[256];
    web_start(answers);
    unsigned id = put_event("quarantined", 0);
    put_event("loop-blocked", 0);
    struct notify *n = start_for(NULL, web.url, DEADLINE_MS);
    wait_until(nothing_left, NULL, "both events");
    stop(n);
    web_stop();
    assert_int_equal(web.asked, 2);
    snprintf(want, sizeof want, "{\"id\":%u,%s", id, source.json[id] + 1);
    assert_string_equal(web.bodies[0], want);
    assert_int_equal(strncmp(web.heads[0], "POST /hook?token=s3cret HTTP/1.1\r\n", 34), 0);
    assert_non_null(strstr(web.heads[0], "\r\nContent-Type: application/json\r\n"));
}

static void test_webhook_is_told_again(void **state)
{
    (void)state;
    static const struct { const char *name; int answer; } cases[] = {
        {"not 2xx", 500}, {"a redirect is not followed", 302}, {"refused", 404},
        {"closed", CLOSE}, {"hangs", HANG},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const int answers[8] = {cases[i].answer, cases[i].answer, 200, -1};
        print_message("# %s\n", cases[i].name);
        web_start(answers);
        put_event("quarantined", 0);
        struct notify *n = start_for(NULL, web.url, 300);
        wait_until(nothing_left, NULL, "the event");
        stop(n);
        web_stop();
        assert_int_equal(web.asked, 3);
        assert_string_equal(web.bodies[0], web.bodies[2]);
    }
}

static void test_hanging_webhook_ends_with_us(void **state)
{
    (void)state;
    static const int answers[8] = {HANG, -1};
    web_start(answers);
    put_event("quarantined", 0);
    struct notify *n = start_for(NULL, web.url, DEADLINE_MS);
    wait_for_posts(1);
    stop(n);
    web_stop();
    assert_false(nothing_left(NULL));
}

/* A hundred events go to the program while the web server takes none; none is done with. Then it
 * takes them. */
static void test_one_does_not_hold_back_the_other(void **state)
{
    (void)state;
    static const int answers[8] = {HANG, 503, 503, 200, -1};
    web_start(answers);
    for (unsigned i = 0; i < 100; i++) put_event("quarantined", 0);
    struct notify *n = start_for(script("cat >>told; echo >>told"), web.url, 3000);
    wait_for_posts(1);
    wait_for_lines("told", 100);
    assert_true(web.asked == 1); /* it hangs still */
    assert_int_equal(source.left, 100);
    wait_until(nothing_left, NULL, "all events");
    stop(n);
    web_stop();
    assert_int_equal(lines_of("told"), 100);
    assert_int_equal(web.asked, 103);
    assert_int_equal(source.repeats, 0);
}

/* ---- which events ---- */

static void test_some_events_are_for_nobody(void **state)
{
    (void)state;
    put_event("unheard-of", 0);
    put_event("wipe-acknowledged", 8 * 24 * 3600);
    put_json("[1]");
    put_json("hello");
    put_json("{\"user\":\"ann\"}");
    put_json("{\"id\":5,\"event\":\"quarantined\"}");
    put_event("quarantined", 6 * 24 * 3600);
    put_json("{\"event\":\"wipe-failed\"}"); /* does not say when: told all the same */
    for (unsigned i = 0; i < 80; i++) put_event("unheard-of", 0);
    put_event("loop-blocked", 0);
    struct notify *n = start_for(script("cat >>told; echo >>told"), NULL, DEADLINE_MS);
    wait_until(nothing_left, NULL, "all events");
    stop(n);
    assert_int_equal(lines_of("told"), 3);
    const char *told = content("told");
    assert_non_null(told = strstr(told, "\"quarantined\""));
    assert_non_null(told = strstr(told, "\"wipe-failed\""));
    assert_non_null(told = strstr(told, "\"loop-blocked\""));
}

static void test_nobody_is_told(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 200; i++) put_event("quarantined", 0);
    struct notify *n = start_for(NULL, NULL, DEADLINE_MS);
    wait_until(nothing_left, NULL, "all events");
    put_event("quarantined", 0);
    notify_wake(n);
    wait_until(nothing_left, NULL, "one more");
    stop(n);
}

static void test_the_source_is_away(void **state)
{
    (void)state;
    source.reads_fail = 1;
    source.dones_fail = 1;
    put_event("quarantined", 0);
    struct notify *n = start_for(script("cat >>told; echo >>told"), NULL, DEADLINE_MS);
    wait_until(nothing_left, NULL, "the event");
    stop(n);
    assert_int_equal(lines_of("told"), 1);
}

/* ---- memory ---- */
static struct notify *swept;

static bool run_swept(void)
{
    const struct notify_options o = {program, NULL, all_events, 4, DEADLINE_MS, 10};
    swept = notify_start(&o, &from_source, error, sizeof error);
    if (!swept) return false;
    for (int64_t end = now_ms() + 2500; !nothing_left(NULL) && now_ms() < end;)
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    stop(swept);
    return nothing_left(NULL);
}

static void begin_swept(void)
{
    put_event("quarantined", 0);
}

static void check_swept(void)
{
    assert_true(nothing_left(NULL));
    assert_true(lines_of("told") >= 1);
    unlink(path_of("told"));
}

static void test_no_memory(void **state)
{
    (void)state;
    script("cat >>told; echo >>told");
    failing_malloc_sweep(&(struct sweep){.name = "notifier", .begin = begin_swept,
                                         .run = run_swept, .check = check_swept});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_program_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_program_inherits_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_program_is_told_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_program_appears_later, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_hanging_program_ends_with_us, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_webhook_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_webhook_is_told_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_hanging_webhook_ends_with_us, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_one_does_not_hold_back_the_other, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_some_events_are_for_nobody, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_nobody_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_source_is_away, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_memory, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

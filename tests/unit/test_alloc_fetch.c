/* Every allocation of ours failing once while something is fetched. (Not libcurl's: 7.88 divides by zero
 * after some of them, in trhash.) The worker is the test's own, in one thread; the server is another
 * process. */
#include <arpa/inet.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "src/server/upstream/fetch.h"
#include "tests/unit/failing_malloc.h"

/* ---- a worker ---- */

#define TIMERS_MAX 32
struct worker {
    int unused;
};
static struct worker the_worker;
static int epoll_fd;
static struct timer *timers[TIMERS_MAX];
static struct turn *turns[4];

struct worker *worker_self(void)
{
    return &the_worker;
}

unsigned worker_index(const struct worker *w)
{
    (void)w;
    return 0;
}

uint64_t worker_now_ms(const struct worker *w)
{
    struct timespec t;
    (void)w;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

void timer_set(struct worker *w, struct timer *t, uint64_t in_ms, void (*fn)(struct timer *))
{
    size_t i = 0;
    timer_stop(w, t);
    while (timers[i]) assert_true(++i < TIMERS_MAX);
    timers[i] = t;
    t->at_ms = worker_now_ms(w) + in_ms;
    t->fn = fn;
    t->set = true;
}

void timer_stop(struct worker *w, struct timer *t)
{
    (void)w;
    for (size_t i = 0; i < TIMERS_MAX; i++)
        if (timers[i] == t) timers[i] = NULL;
    t->set = false;
}

bool watch_start(struct worker *w, struct watch *h, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.ptr = h};
    (void)w;
    return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, h->fd, &e) == 0;
}

bool watch_change(struct worker *w, struct watch *h, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.ptr = h};
    (void)w;
    return epoll_ctl(epoll_fd, EPOLL_CTL_MOD, h->fd, &e) == 0;
}

void watch_stop(struct worker *w, struct watch *h)
{
    (void)w;
    epoll_ctl(epoll_fd, EPOLL_CTL_DEL, h->fd, NULL);
}

void worker_add_turn(struct worker *w, struct turn *t)
{
    size_t i = 0;
    (void)w;
    while (turns[i]) i++;
    turns[i] = t;
}

static void run_timers(void)
{
    for (size_t i = 0; i < TIMERS_MAX; i++) {
        struct timer *t = timers[i];
        if (!t || t->at_ms > worker_now_ms(&the_worker)) continue;
        timer_stop(&the_worker, t);
        t->fn(t);
    }
}

static void turn_once(void)
{
    struct epoll_event e;
    bool again = false;
    for (size_t i = 0; turns[i]; i++) again |= turns[i]->fn(turns[i]);
    if (epoll_wait(epoll_fd, &e, 1, again ? 0 : 10) == 1) {
        struct watch *h = e.data.ptr;
        h->fn(h, e.events);
    }
    run_timers();
}

/* ---- a server ---- */

static char url[64];
static pid_t server;

static void serve(int listener)
{
    static const char answer[] = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nX-A: b\r\n"
                                 "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n"
                                 "0\r\n\r\n";
    char buf[4096];
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        /* In two parts: a line that comes in pieces is kept, too. */
        if (recv(fd, buf, sizeof buf, 0) > 0 && send(fd, answer, 40, MSG_NOSIGNAL) == 40) {
            usleep(2000);
            (void)!send(fd, answer + 40, sizeof answer - 1 - 40, MSG_NOSIGNAL);
        }
        close(fd);
    }
}

static int start_server(void **state)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    (void)state;
    assert_true(bind(fd, (void *)&a, sizeof a) == 0 && listen(fd, 64) == 0);
    getsockname(fd, (void *)&a, &len);
    snprintf(url, sizeof url, "http://127.0.0.1:%u/x", ntohs(a.sin_port));
    server = fork();
    if (server == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        serve(fd);
    }
    close(fd);
    return 0;
}

static int stop_server(void **state)
{
    (void)state;
    kill(server, SIGKILL);
    waitpid(server, NULL, 0);
    return 0;
}

/* ---- fetching ---- */

static const struct fetch_peer peer = {.connect_ms = 2000, .connections_max = 2};
static struct fetcher *fetcher;
static struct fetch fetch;
static bool ended;
static char body[64];
static enum fetch_result result;

static void done(struct fetch *f, enum fetch_result r)
{
    ended = true;
    result = r;
    snprintf(body, sizeof body, "%.*s", (int)f->len, f->body ? (const char *)f->body : "");
    if (r == FETCH_OK) assert_string_equal(fetch_field(f, "x-a"), "b");
    if (r != FETCH_OK) assert_true(*f->error);
}

static void begin(void)
{
    memset(turns, 0, sizeof turns);
    memset(timers, 0, sizeof timers);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    fetcher = fetcher_create();
    assert_non_null(fetcher);
}

static bool run(void)
{
    const struct http_field fields[] = {{"X-One", "1"}, {0}};
    fetch = (struct fetch){.done = done};
    ended = false;
    *body = '\0';
    if (!fetch_start(fetcher, &fetch,
                     &(struct fetch_ask){.peer = &peer,
                                         .method = "POST",
                                         .url = url,
                                         .fields = fields,
                                         .body = "x",
                                         .len = 1,
                                         .head_ms = 5000}))
        return false;
    while (!ended) turn_once();
    return result == FETCH_OK;
}

static void check(void)
{
    assert_string_equal(body, "hello world");
}

static void end(void)
{
    fetcher_destroy(fetcher);
    close(epoll_fd);
}

static void test_every_allocation(void **state)
{
    (void)state;
    failing_malloc_sweep(
        &(struct sweep){.name = "fetch", .begin = begin, .run = run, .check = check, .end = end});
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_allocation)};
    return cmocka_run_group_tests(tests, start_server, stop_server);
}

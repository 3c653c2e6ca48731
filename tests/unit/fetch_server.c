#include "tests/unit/fetch_server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <poll.h>
#include <pthread.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define CONNECTIONS_MAX 4096

atomic_uint connections, requests, open_connections;
atomic_uint_fast64_t body_bytes;
char heard[HEARD_MAX], url[64], dead_url[64];
struct fetcher *fetcher;
struct fetch_peer peer = {.connect_ms = 2000, .connections_max = 64};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct script script; /* under lock */
static int listener;
static atomic_bool stopping;
static pthread_t accepting;
static struct worker *worker;

uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

void script_set(struct script s)
{
    pthread_mutex_lock(&lock);
    script = s;
    pthread_mutex_unlock(&lock);
}

/* ---- the server ---- */

struct peer_talk {
    int fd;
    char buf[HEARD_MAX];
    size_t len;
};

static bool fill(struct peer_talk *t)
{
    if (t->len == sizeof t->buf - 1)
        t->len = sizeof t->buf / 2; /* a long body: only its size counts */
    ssize_t n = recv(t->fd, t->buf + t->len, sizeof t->buf - 1 - t->len, 0);
    if (n <= 0) return false;
    t->len += (size_t)n;
    t->buf[t->len] = '\0';
    return true;
}

static bool read_head(struct peer_talk *t, size_t *head_out)
{
    for (;;) {
        char *end = strstr(t->buf, "\r\n\r\n");
        if (end) {
            *head_out = (size_t)(end + 4 - t->buf);
            return true;
        }
        if (!fill(t)) return false;
    }
}

static bool ends_chunks(const char *body, size_t len)
{
    return len >= 5 && memcmp(body + len - 5, "0\r\n\r\n", 5) == 0;
}

/* One request; it stays in buf. */
static bool read_request(struct peer_talk *t, bool head_only)
{
    size_t head;
    t->len = 0;
    t->buf[0] = '\0';
    if (!read_head(t, &head)) return false;
    if (head_only) return true;
    if (strstr(t->buf, "Transfer-Encoding: chunked")) {
        size_t all = t->len - head;
        while (!ends_chunks(t->buf + head, t->len - head)) {
            size_t before = t->len;
            if (!fill(t)) return false;
            all += t->len - (t->len > before ? before : sizeof t->buf / 2);
        }
        atomic_fetch_add(&body_bytes, all);
        return true;
    }
    const char *field = strstr(t->buf, "Content-Length: ");
    uint64_t want = field ? strtoull(field + 16, NULL, 10) : 0, have = t->len - head;
    while (have < want) {
        size_t before = t->len == sizeof t->buf - 1 ? sizeof t->buf / 2 : t->len;
        if (!fill(t)) return false;
        have += t->len - before;
    }
    atomic_fetch_add(&body_bytes, have);
    return true;
}

static bool send_all(int fd, const char *bytes, size_t len)
{
    for (ssize_t n; len > 0; bytes += n, len -= (size_t)n)
        if ((n = send(fd, bytes, len, MSG_NOSIGNAL)) <= 0) return false;
    return true;
}

static bool send_answer(struct peer_talk *t, const struct script *s)
{
    static const char filler[65536] = {'x'};
    char head[128];
    const char *answer = s->answer;
    size_t len = s->len ? s->len : answer ? strlen(answer) : t->len;
    if (!answer) {
        int n =
            snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", t->len);
        if (!send_all(t->fd, head, (size_t)n)) return false;
        answer = t->buf;
    }
    for (size_t i = 0; s->drip && i < len; i++) {
        if (!send_all(t->fd, answer + i, 1)) return false;
        usleep(200);
    }
    if (!s->drip && !send_all(t->fd, answer, len)) return false;
    for (uint64_t left = s->repeat; left > 0;) {
        size_t n = left < sizeof filler ? (size_t)left : sizeof filler;
        if (!send_all(t->fd, filler, n)) return false;
        left -= n;
    }
    return true;
}

static void *serve(void *arg)
{
    struct peer_talk *t = calloc(1, sizeof *t);
    t->fd = (int)(intptr_t)arg;
    atomic_fetch_add(&open_connections, 1);
    for (struct script s;;) {
        pthread_mutex_lock(&lock);
        bool early = script.early;
        pthread_mutex_unlock(&lock);
        if (!read_request(t, early)) break;
        atomic_fetch_add(&requests, 1);
        pthread_mutex_lock(&lock);
        memcpy(heard, t->buf, t->len + 1);
        s = script;
        bool drop = script.drop > 0;
        script.drop -= drop;
        pthread_mutex_unlock(&lock);
        if (drop || !send_answer(t, &s)) break;
        if (s.after == RESET)
            setsockopt(t->fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger));
        if (s.after == CLOSE || s.after == RESET) break;
        if (s.after == STALL) {
            while (!stopping && poll(&(struct pollfd){t->fd, POLLRDHUP, 0}, 1, 20) == 0) continue;
            break;
        }
    }
    close(t->fd);
    atomic_fetch_sub(&open_connections, 1);
    free(t);
    return NULL;
}

static void *accept_all(void *unused)
{
    (void)unused;
    for (int fd; (fd = accept(listener, NULL, NULL)) >= 0;) {
        pthread_t t;
        atomic_fetch_add(&connections, 1);
        if (pthread_create(&t, NULL, serve, (void *)(intptr_t)fd) == 0) pthread_detach(t);
    }
    return NULL;
}

static int listen_anywhere(char url_out[64])
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0 && bind(fd, (void *)&a, sizeof a) == 0 && listen(fd, 512) == 0);
    getsockname(fd, (void *)&a, &len);
    snprintf(url_out, 64, "http://127.0.0.1:%u", ntohs(a.sin_port));
    return fd;
}

/* ---- the worker ---- */

struct errand {
    struct task task;
    void (*fn)(void *ctx);
    void *ctx;
    sem_t done;
};

static void run_errand(struct task *t)
{
    struct errand *e = CONTAINER_OF(t, struct errand, task);
    e->fn(e->ctx);
    sem_post(&e->done);
}

void on_worker(void (*fn)(void *ctx), void *ctx)
{
    struct errand e = {.task.fn = run_errand, .fn = fn, .ctx = ctx};
    sem_init(&e.done, 0, 0);
    worker_post(worker, &e.task);
    while (sem_wait(&e.done) != 0) continue;
}

static void got_done(struct fetch *f, enum fetch_result result)
{
    struct got *g = CONTAINER_OF(f, struct got, fetch);
    const char *type = fetch_field(f, "content-type");
    g->result = result;
    g->status = f->status;
    g->calls++;
    if (!f->data) g->bytes = f->len;
    size_t n = f->len < sizeof g->body - 1 ? f->len : sizeof g->body - 1;
    if (f->body) memcpy(g->body, f->body, n);
    g->body[f->body ? n : 0] = '\0';
    snprintf(g->type, sizeof g->type, "%s", type ? type : "");
    sem_post(&g->done);
}

bool got_start(struct got *g, const struct fetch_ask *ask)
{
    sem_init(&g->done, 0, 0);
    g->fetch.done = got_done;
    return fetch_start(fetcher, &g->fetch, ask);
}

void got_wait(struct got *g)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 20;
    assert_int_equal(sem_timedwait(&g->done, &until), 0);
}

struct start {
    struct got *g;
    const struct fetch_ask *ask;
    bool ok;
};

static void start_it(void *ctx)
{
    struct start *s = ctx;
    s->ok = got_start(s->g, s->ask);
    assert_int_equal(s->g->calls, 0); /* never before it has returned */
}

struct got *fetch_all(const struct fetch_ask *ask)
{
    static struct got g;
    struct fetch_ask a = *ask;
    g = (struct got){0};
    if (!a.peer) a.peer = &peer;
    struct start s = {.g = &g, .ask = &a};
    on_worker(start_it, &s);
    assert_true(s.ok);
    got_wait(&g);
    return &g;
}

struct got *fetch_get(const char *target)
{
    char whole[256];
    snprintf(whole, sizeof whole, "%s%s", url, target);
    return fetch_all(&(struct fetch_ask){
        .method = "GET", .url = whole, .head_ms = 5000, .stall_ms = 5000, .answer_max = 100000});
}

/* ---- both ---- */

int servers_start(void **state)
{
    (void)state;
    listener = listen_anywhere(url);
    close(listen_anywhere(dead_url));
    connections = requests = 0;
    stopping = false;
    body_bytes = 0;
    script_set((struct script){0});
    assert_int_equal(pthread_create(&accepting, NULL, accept_all, NULL), 0);
    fetcher = fetcher_create();
    worker = worker_create(0);
    assert_true(fetcher && worker && worker_start(worker));
    return 0;
}

static void quit(void *unused)
{
    (void)unused;
    worker_quit(worker_self());
}

int servers_stop(void **state)
{
    (void)state;
    on_worker(quit, NULL);
    stopping = true;
    worker_join(worker);
    worker_destroy(worker);
    fetcher_destroy(fetcher);
    shutdown(listener, SHUT_RDWR);
    pthread_join(accepting, NULL);
    close(listener);
    while (open_connections > 0) usleep(1000);
    return 0;
}

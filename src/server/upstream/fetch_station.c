/* A worker's share of the fetches: libcurl's loop inside the worker's, and its sockets. */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "src/server/upstream/fetch_inner.h"

#define WORKERS_MAX 256
#define SOCKS_FIRST 64

struct fetcher {
    struct station *stations[WORKERS_MAX]; /* each made and used by its worker */
};

/* ---- sockets ---- */

static struct sock *sock_of(struct station *s, curl_socket_t fd)
{
    return (size_t)fd < s->sock_cap ? s->socks[fd] : NULL;
}

static struct sock *sock_add(struct station *s, curl_socket_t fd)
{
    if ((size_t)fd >= s->sock_cap) {
        size_t cap = s->sock_cap ? s->sock_cap : SOCKS_FIRST;
        while (cap <= (size_t)fd) cap *= 2;
        struct sock **grown = realloc(s->socks, cap * sizeof(struct sock *));
        if (!grown) return NULL;
        memset(grown + s->sock_cap, 0, (cap - s->sock_cap) * sizeof(struct sock *));
        s->socks = grown;
        s->sock_cap = cap;
    }
    struct sock *k = s->socks[fd] = calloc(1, sizeof *k);
    if (k) *k = (struct sock){.watch.fd = fd, .station = s};
    return k;
}

static void leave_run(struct sock *k)
{
    if (!k->run) return;
    struct sock **at = &k->run->socks;
    while (*at != k) at = &(*at)->next;
    *at = k->next;
    k->run = NULL;
}

void station_take(struct fetch_run *run, struct sock *k)
{
    if (k->run == run) return;
    leave_run(k);
    k->run = run;
    k->next = run->socks;
    run->socks = k;
}

static void unwatch(struct sock *k)
{
    if (k->watched && !k->station->ended) watch_stop(k->station->worker, &k->watch);
    k->watched = 0;
}

static void forget_name(struct sock *k)
{
    struct sock **at = &k->station->named[k->name % NAMED_MAX];
    if (!k->name) return;
    while (*at != k) at = &(*at)->next_named;
    *at = k->next_named;
}

static void sock_free(struct sock *k)
{
    leave_run(k);
    forget_name(k);
    unwatch(k);
    k->station->socks[k->watch.fd] = NULL;
    free(k);
}

void station_let_rest(struct fetch_run *run)
{
    while (run->socks) leave_run(run->socks);
}

/* FNV-1a. */
static uint64_t name_of(const struct run_ends *e)
{
    char text[128];
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    snprintf(text, sizeof text, "%s %d %s %d", e->peer, e->peer_port, e->own, e->own_port);
    for (const char *p = text; *p; p++) hash = (hash ^ (unsigned char)*p) * UINT64_C(0x100000001b3);
    return hash ? hash : 1;
}

static bool has_port(int fd, int port)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } own;
    socklen_t len = sizeof own;
    if (getsockname(fd, &own.any, &len) != 0) return false;
    return ntohs(own.any.sa_family == AF_INET6 ? own.v6.sin6_port : own.v4.sin_port) == port;
}

void station_name(struct fetch_run *run, const struct run_ends *ends)
{
    for (struct sock *k = run->socks; k; k = k->next) {
        if (!k->ours || k->name || !has_port(k->watch.fd, ends->own_port)) continue;
        k->name = name_of(ends);
        struct sock **bucket = &run->station->named[k->name % NAMED_MAX];
        k->next_named = *bucket;
        *bucket = k;
    }
}

struct sock *station_find(struct station *s, const struct run_ends *ends)
{
    uint64_t name = name_of(ends);
    struct sock *k = s->named[name % NAMED_MAX];
    while (k && k->name != name) k = k->next_named;
    return k;
}

/* A connection that rests is to be silent. What comes is its end, or what nobody has asked for:
 * libcurl finds it closed when it looks at it. */
static void end_resting(struct sock *k)
{
    char waste[4096];
    unwatch(k);
    while (recv(k->watch.fd, waste, sizeof waste, MSG_DONTWAIT) > 0) continue;
    shutdown(k->watch.fd, SHUT_RDWR);
}

static void act(struct station *s, curl_socket_t fd, int what)
{
    int running;
    curl_multi_socket_action(s->multi, fd, what, &running);
    runs_end(s);
}

static void on_events(struct watch *h, uint32_t events)
{
    struct sock *k = CONTAINER_OF(h, struct sock, watch);
    if (events & (EPOLLERR | EPOLLHUP)) events |= k->want; /* libcurl finds out which */
    int what = (events & k->want & EPOLLIN ? CURL_CSELECT_IN : 0) |
               (events & k->want & EPOLLOUT ? CURL_CSELECT_OUT : 0);
    if (what)
        act(k->station, h->fd, what);
    else if (k->run || !k->ours)
        unwatch(k); /* it is held back; libcurl asks for it again */
    else
        end_resting(k);
}

static bool watch_for(struct sock *k, uint32_t events)
{
    struct worker *w = k->station->worker;
    k->watch.fn = on_events;
    if (k->watched == events) return true;
    bool ok = k->watched ? watch_change(w, &k->watch, events) : watch_start(w, &k->watch, events);
    if (ok) k->watched = events;
    return ok;
}

/* libcurl says for what it waits. 0 means no more than that it does not: a connection that is kept
 * stays watched for its end. */
static int on_want(CURL *easy, curl_socket_t fd, int what, void *ctx, void *unused)
{
    static const uint32_t events[] = {[CURL_POLL_NONE] = 0,
                                      [CURL_POLL_IN] = EPOLLIN,
                                      [CURL_POLL_OUT] = EPOLLOUT,
                                      [CURL_POLL_INOUT] = EPOLLIN | EPOLLOUT,
                                      [CURL_POLL_REMOVE] = 0};
    struct station *s = ctx;
    struct fetch_run *run = NULL;
    struct sock *k = sock_of(s, fd);
    (void)unused;
    if (s->ended) return 0;
    if (what == CURL_POLL_REMOVE && k && !k->ours) {
        sock_free(k);
        return 0;
    }
    if (!k && what == CURL_POLL_REMOVE) return 0;
    if (!k) k = sock_add(s, fd);
    if (!k) return -1;
    k->want = events[what];
    if (k->want == 0 && k->watched & EPOLLOUT && !watch_for(k, EPOLLIN)) return -1;
    if (k->want == 0) return 0;
    (void)curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&run);
    if (run) station_take(run, k);
    return watch_for(k, k->want) ? 0 : -1;
}

curl_socket_t station_open_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *to)
{
    struct station *s = ctx;
    (void)purpose;
    int fd = socket(to->family, to->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, to->protocol);
    struct sock *k = fd >= 0 ? sock_add(s, fd) : NULL;
    if (k) {
        k->ours = true;
        return fd;
    }
    if (fd >= 0) close(fd);
    return CURL_SOCKET_BAD;
}

int station_close_socket(void *ctx, curl_socket_t fd)
{
    struct sock *k = sock_of(ctx, fd);
    if (k) sock_free(k);
    return close(fd);
}

/* ---- the loop ---- */

static void time_is_up(struct timer *t)
{
    CONTAINER_OF(t, struct station, timer)->due = true;
}

static int on_timer(CURLM *multi, long ms, void *ctx)
{
    struct station *s = ctx;
    (void)multi;
    if (s->ended) return 0;
    s->due = ms == 0;
    if (ms > 0)
        timer_set(s->worker, &s->timer, (uint64_t)ms, time_is_up);
    else
        timer_stop(s->worker, &s->timer);
    return 0;
}

/* Comes after the HTTP engine's: what is asked there is sent in the same turn. Whoever is called from
 * here may have given the engine work. */
static bool turn(struct turn *t)
{
    struct station *s = CONTAINER_OF(t, struct station, turn);
    s->told = false;
    runs_begin(s);
    runs_wake(s);
    if (s->due) {
        s->due = false;
        act(s, CURL_SOCKET_TIMEOUT, 0);
    }
    return s->told || s->due || s->fresh.first || s->waking;
}

/* ---- stations ---- */

void station_keep(struct station *s, unsigned connections)
{
    if (s->cached_max >= connections) return;
    if (curl_multi_setopt(s->multi, CURLMOPT_MAXCONNECTS, (long)connections) == CURLM_OK)
        s->cached_max = connections;
}

static bool open_multi(struct station *s)
{
    s->multi = curl_multi_init();
    return s->multi &&
           curl_multi_setopt(s->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING) == CURLM_OK &&
           curl_multi_setopt(s->multi, CURLMOPT_SOCKETFUNCTION, on_want) == CURLM_OK &&
           curl_multi_setopt(s->multi, CURLMOPT_SOCKETDATA, s) == CURLM_OK &&
           curl_multi_setopt(s->multi, CURLMOPT_TIMERFUNCTION, on_timer) == CURLM_OK &&
           curl_multi_setopt(s->multi, CURLMOPT_TIMERDATA, s) == CURLM_OK;
}

struct station *station_here(struct fetcher *f)
{
    struct worker *w = worker_self();
    unsigned index = worker_index(w);
    if (index >= WORKERS_MAX) return NULL;
    if (f->stations[index]) return f->stations[index];
    struct station *s = calloc(1, sizeof *s);
    if (!s) return NULL;
    s->worker = w;
    if (!open_multi(s)) {
        if (s->multi) curl_multi_cleanup(s->multi);
        free(s);
        return NULL;
    }
    s->turn.fn = turn;
    worker_add_turn(w, &s->turn);
    return f->stations[index] = s;
}

static void free_runs(struct station *s, struct run_list *list)
{
    while (list->first) {
        struct fetch_run *run = list->first;
        list->first = run->next;
        if (run->state == RUN_ACTIVE) curl_multi_remove_handle(s->multi, run->easy);
        station_let_rest(run);
        run_free(run);
    }
}

static void station_destroy(struct station *s)
{
    if (!s) return;
    s->ended = true;
    free_runs(s, &s->active);
    free_runs(s, &s->fresh);
    free_runs(s, &s->pool);
    while (s->uses) {
        struct peer_use *use = s->uses;
        s->uses = use->next;
        free_runs(s, &use->queued);
        free(use);
    }
    curl_multi_cleanup(s->multi);
    for (size_t i = 0; i < s->sock_cap; i++) free(s->socks[i]);
    free(s->socks);
    free(s);
}

struct fetcher *fetcher_create(void)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) return NULL;
    struct fetcher *f = calloc(1, sizeof *f);
    if (!f) curl_global_cleanup();
    return f;
}

void fetcher_destroy(struct fetcher *f)
{
    if (!f) return;
    for (size_t i = 0; i < WORKERS_MAX; i++) station_destroy(f->stations[i]);
    free(f);
    curl_global_cleanup();
}

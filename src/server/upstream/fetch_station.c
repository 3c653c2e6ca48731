/* A worker's share of the fetches: libcurl's loop inside the worker's, and all sockets. */
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

static struct sock *sock_of(const struct station *s, curl_socket_t fd)
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

static void sock_free(struct sock *k)
{
    sock_watch(k, 0);
    k->station->socks[k->watch.fd] = NULL;
    free(k);
}

static void act(struct station *s, curl_socket_t fd, int what)
{
    int running, left;
    struct conn *c;
    curl_multi_socket_action(s->multi, fd, what, &running);
    for (const CURLMsg *m; (m = curl_multi_info_read(s->multi, &left)) != NULL;)
        if (m->msg == CURLMSG_DONE &&
            curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&c) == CURLE_OK)
            conn_made(c, m->data.result);
}

static void on_events(struct watch *h, uint32_t events)
{
    struct sock *k = CONTAINER_OF(h, struct sock, watch);
    if (k->conn) {
        conn_on_events(k->conn, events);
        return;
    }
    if (events & (EPOLLERR | EPOLLHUP)) events |= k->watched; /* libcurl finds out which */
    act(k->station, h->fd,
        (events & k->watched & EPOLLIN ? CURL_CSELECT_IN : 0) |
            (events & k->watched & EPOLLOUT ? CURL_CSELECT_OUT : 0));
}

bool sock_watch(struct sock *k, uint32_t events)
{
    struct worker *w = k->station->worker;
    bool ok = true;
    if (k->watched == events || k->station->ended) return true;
    k->watch.fn = on_events;
    if (events == 0)
        watch_stop(w, &k->watch);
    else
        ok = k->watched ? watch_change(w, &k->watch, events) : watch_start(w, &k->watch, events);
    if (ok) k->watched = events;
    return ok;
}

/* libcurl says for what it waits while it makes a connection. One that is made, or given up, is ours to
 * look after; sockets of its own, of a resolver, come and go. */
static int on_want(CURL *easy, curl_socket_t fd, int what, void *ctx, void *unused)
{
    static const uint32_t events[] = {[CURL_POLL_NONE] = 0,
                                      [CURL_POLL_IN] = EPOLLIN,
                                      [CURL_POLL_OUT] = EPOLLOUT,
                                      [CURL_POLL_INOUT] = EPOLLIN | EPOLLOUT,
                                      [CURL_POLL_REMOVE] = 0};
    struct station *s = ctx;
    struct sock *k = sock_of(s, fd);
    (void)easy, (void)unused;
    if (s->ended) return 0;
    if (k && (k->conn || (k->ours && what == CURL_POLL_REMOVE))) return 0;
    if (what == CURL_POLL_REMOVE) {
        if (k) sock_free(k);
        return 0;
    }
    if (!k) k = sock_add(s, fd);
    return k && sock_watch(k, events[what]) ? 0 : -1;
}

struct sock *station_give(struct station *s, curl_socket_t fd, struct conn *c)
{
    struct sock *k = sock_of(s, fd);
    if (k) k->conn = c;
    return k;
}

curl_socket_t station_open_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *to)
{
    (void)purpose;
    int fd = socket(to->family, to->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, to->protocol);
    struct sock *k = fd >= 0 ? sock_add(ctx, fd) : NULL;
    if (k) k->ours = true;
    if (!k && fd >= 0) close(fd);
    return k ? fd : CURL_SOCKET_BAD;
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

static bool open_multi(struct station *s)
{
    s->multi = curl_multi_init();
    return s->multi &&
           /* It counts connections of ours as its own, and must not end any. */
           curl_multi_setopt(s->multi, CURLMOPT_MAXCONNECTS, LONG_MAX) == CURLM_OK &&
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

static void free_runs(struct run_list *list)
{
    while (list->first) {
        struct fetch_run *run = list->first;
        list->first = run->next;
        if (run->conn) conn_close(run->conn);
        run_free(run);
    }
}

static void station_destroy(struct station *s)
{
    if (!s) return;
    s->ended = true;
    free_runs(&s->active);
    free_runs(&s->fresh);
    free_runs(&s->pool);
    while (s->uses) {
        struct peer_use *use = s->uses;
        s->uses = use->next;
        free_runs(&use->queued);
        while (use->resting.first) conn_close(use->resting.first);
        free(use);
    }
    while (s->spare.first) {
        struct conn *c = s->spare.first;
        s->spare.first = c->next;
        conn_free(c);
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

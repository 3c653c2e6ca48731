/* Starting and stopping: workers, listeners, and a daemon of libmicrohttpd for each pair. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "src/server/http/engine.h"

#define WORKERS_MAX 256

/* ---- the loop ---- */

static void lane_run(struct lane *l)
{
    MHD_UNSIGNED_LONG_LONG ms;
    if (!l->due) return;
    l->due = false; /* an answer given meanwhile may make it due again */
    MHD_run(l->daemon);
    l->due |= MHD_get_timeout(l->daemon, &ms) == MHD_YES && ms == 0;
}

static void lane_on_events(struct watch *h, uint32_t events)
{
    (void)events;
    CONTAINER_OF(h, struct lane, events)->due = true;
}

static bool station_turn(struct turn *t)
{
    struct station *s = CONTAINER_OF(t, struct station, turn);
    unsigned index = worker_index(s->worker), load = 0;
    for (size_t i = 0; i < s->server->endpoint_count; i++)
        lane_run(&s->server->endpoints[i].lanes[index]);
    bool again = exchange_run_due(s);
    for (size_t i = 0; i < s->server->endpoint_count; i++) {
        struct lane *l = &s->server->endpoints[i].lanes[index];
        again |= l->due;
        load += atomic_load(&l->load);
    }
    if (s->draining && load == 0) {
        worker_quit(s->worker);
        atomic_fetch_add(&s->server->ended, 1);
    }
    return again;
}

/* ---- start ---- */

static bool lane_open(struct lane *l, struct endpoint *e, struct station *s)
{
    unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_NO_LISTEN_SOCKET;
    static const struct MHD_OptionItem none[] = {{MHD_OPTION_END, 0, NULL}};
    const struct tls_cert *cert = e->terms->cert;
    l->endpoint = e;
    l->station = s;
    l->worker = s->worker;
    l->daemon = MHD_start_daemon(
        cert ? flags | MHD_USE_TLS : flags, 0, NULL, NULL, exchange_on_request, l,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, cert ? POOL_SIZE_TLS : POOL_SIZE,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)INT_MAX, /* the endpoint has its own */
        MHD_OPTION_URI_LOG_CALLBACK, exchange_on_target, l, MHD_OPTION_NOTIFY_CONNECTION,
        conn_on_notify, l, MHD_OPTION_NOTIFY_COMPLETED, exchange_on_end, l, MHD_OPTION_ARRAY,
        cert ? tls_cert_options(cert) : none, MHD_OPTION_END);
    if (!l->daemon) return false;
    l->events.fd = MHD_get_daemon_info(l->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
    l->events.fn = lane_on_events;
    l->accept = (struct watch){.fd = e->fd, .fn = lane_on_accept};
    return watch_start(s->worker, &l->events, EPOLLIN);
}

static void begin_accepting(struct task *t)
{
    struct station *s = CONTAINER_OF(t, struct station, begin);
    for (size_t i = 0; i < s->server->endpoint_count; i++)
        lane_start_accepting(&s->server->endpoints[i].lanes[worker_index(s->worker)]);
}

static bool stations_open(struct http_server *s)
{
    for (unsigned i = 0; i < s->worker_count; i++) {
        struct station *t = s->stations[i] = calloc(1, sizeof *t);
        if (!t || !(t->worker = worker_create(i))) return false;
        t->server = s;
        t->turn.fn = station_turn;
        t->begin.fn = begin_accepting;
        worker_add_turn(t->worker, &t->turn);
    }
    return true;
}

static bool lanes_open(struct http_server *s, struct endpoint *e)
{
    e->server = s;
    e->lanes = calloc(s->worker_count, sizeof *e->lanes);
    if (!e->lanes) return false;
    for (unsigned i = 0; i < s->worker_count; i++)
        if (!lane_open(&e->lanes[i], e, s->stations[i])) return false;
    return true;
}

/* Everything that http_start made, as far as it came. No thread runs any more. */
static void server_free(struct http_server *s)
{
    for (size_t i = 0; i < s->endpoint_count; i++) {
        struct endpoint *e = &s->endpoints[i];
        for (unsigned k = 0; e->lanes && k < s->worker_count; k++)
            if (e->lanes[k].daemon) MHD_stop_daemon(e->lanes[k].daemon);
        free(e->lanes);
        endpoint_close(e);
    }
    for (unsigned i = 0; s->stations && i < s->worker_count; i++) {
        if (s->stations[i]) worker_destroy(s->stations[i]->worker);
        free(s->stations[i]);
    }
    sem_destroy(&s->stopped_accepting);
    free(s->stations);
    free(s->endpoints);
    free(s);
}

struct http_server *http_start(const struct http_listen *listens, size_t count, unsigned workers,
                               char *error, size_t error_cap)
{
    struct http_server *s = calloc(1, sizeof *s);
    snprintf(error, error_cap, "the HTTP engine cannot start: out of memory or descriptors");
    if (!s) return NULL;
    s->worker_count = workers == 0 ? 1 : workers > WORKERS_MAX ? WORKERS_MAX : workers;
    sem_init(&s->stopped_accepting, 0, 0);
    s->endpoints = calloc(count ? count : 1, sizeof *s->endpoints);
    s->stations = calloc(s->worker_count, sizeof(struct station *));
    bool ok = s->endpoints && s->stations && stations_open(s);
    for (size_t i = 0; ok && i < count; i++) {
        s->endpoint_count = i + 1;
        ok = endpoint_open(&s->endpoints[i], &listens[i], error, error_cap) &&
             lanes_open(s, &s->endpoints[i]);
    }
    for (; ok && s->started < s->worker_count; s->started += ok)
        ok = worker_start(s->stations[s->started]->worker);
    if (!ok) {
        http_stop(s, 0);
        return NULL;
    }
    /* Not before: a worker gives connections to all of them. */
    for (unsigned i = 0; i < s->worker_count; i++)
        worker_post(s->stations[i]->worker, &s->stations[i]->begin);
    return s;
}

unsigned http_worker_count(const struct http_server *s)
{
    return s->worker_count;
}

struct worker *http_worker(const struct http_server *s, unsigned index)
{
    return s->stations[index]->worker;
}

const char *http_address(const struct http_server *s, size_t index)
{
    return s->endpoints[index].name;
}

/* ---- stop ---- */

static struct station *station_of(struct task *t)
{
    return CONTAINER_OF(t, struct station, task);
}

static void drain(struct station *s, bool now)
{
    unsigned index = worker_index(s->worker);
    for (size_t i = 0; i < s->server->endpoint_count; i++)
        for (struct http_conn *c = s->server->endpoints[i].lanes[index].conns, *next; c; c = next) {
            next = c->next;
            conn_drain(c, now);
        }
}

static void end_now(struct timer *t)
{
    drain(CONTAINER_OF(t, struct station, limit), true);
}

static void begin_drain(struct task *t)
{
    struct station *s = station_of(t);
    s->draining = true;
    timer_set(s->worker, &s->limit, s->server->limit_ms, end_now);
    drain(s, false);
}

static void stop_accepting(struct task *t)
{
    struct station *s = station_of(t);
    for (size_t i = 0; i < s->server->endpoint_count; i++)
        lane_stop_accepting(&s->server->endpoints[i].lanes[worker_index(s->worker)]);
    sem_post(&s->server->stopped_accepting);
}

static void post_to_all(struct http_server *s, void (*fn)(struct task *))
{
    for (unsigned i = 0; i < s->started; i++) {
        s->stations[i]->task.fn = fn;
        worker_post(s->stations[i]->worker, &s->stations[i]->task);
    }
}

void http_drain(struct http_server *s, unsigned limit_ms)
{
    s->draining = true;
    s->limit_ms = limit_ms;
    /* First nobody accepts; otherwise a worker could give a connection to one that has ended. */
    post_to_all(s, stop_accepting);
    for (unsigned i = 0; i < s->started; i++)
        while (sem_wait(&s->stopped_accepting) != 0) continue;
    for (size_t i = 0; s->started == s->worker_count && i < s->endpoint_count; i++)
        endpoint_stop_listening(&s->endpoints[i]);
    post_to_all(s, begin_drain);
}

bool http_drained(const struct http_server *s)
{
    return atomic_load(&s->ended) == s->started;
}

void http_stop(struct http_server *s, unsigned limit_ms)
{
    if (!s) return;
    if (!s->draining) http_drain(s, limit_ms);
    for (unsigned i = 0; i < s->started; i++) worker_join(s->stations[i]->worker);
    server_free(s);
}

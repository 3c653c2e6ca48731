/* A connection's life around the daemon of libmicrohttpd: before its first byte, its deadlines, the
 * peer that goes away, and the end. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

#include "src/server/http/engine.h"
#include "src/server/http/head.h"
#include "src/server/observe/log.h"

#define LINGER_MS 2000
#define FRESH_MS 1000 /* for who has connected just before the server stops */
#define LINGER_BYTES_MAX ((unsigned)4 * 1024 * 1024)

static struct worker *worker_of(const struct http_conn *c)
{
    return c->lane->worker;
}

int conn_fd(const struct http_conn *c)
{
    return c->watch.fd;
}

static void unwatch(struct http_conn *c)
{
    if (c->watching) watch_stop(worker_of(c), &c->watch);
    c->watching = false;
}

static void conn_free(struct http_conn *c)
{
    struct lane *l = c->lane;
    timer_stop(l->worker, &c->timer);
    unwatch(c);
    if (c->exchange) {
        c->stage = CONN_OVER;
        c->watch.fd = -1;
        return;
    }
    if (c->prev)
        c->prev->next = c->next;
    else
        l->conns = c->next;
    if (c->next) c->next->prev = c->prev;
    free(c->packed);
    free(c->certificate);
    tls_cert_drop(c->cert);
    terms_drop(c->terms);
    atomic_fetch_sub(&l->endpoint->connections, 1);
    atomic_fetch_sub(&l->load, 1);
    free(c);
}

void conn_let_go(struct http_conn *c)
{
    c->exchange = NULL;
    if (c->stage == CONN_OVER) conn_free(c);
}

/* Only while the socket is ours. */
static void conn_close(struct http_conn *c)
{
    int fd = c->watch.fd;
    conn_free(c);
    close(fd);
}

/* ---- the end of those who still send ---- */

static void on_late_bytes(struct watch *h, uint32_t events)
{
    struct http_conn *c = CONTAINER_OF(h, struct http_conn, watch);
    char waste[16384];
    (void)events;
    ssize_t n = recv(h->fd, waste, sizeof waste, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n > 0) c->lingered += (unsigned)n;
    if (n <= 0 || c->lingered > LINGER_BYTES_MAX) conn_close(c);
}

/* Take in what comes for a while. If a socket is closed while its peer still sends a body, the
 * kernel answers with a reset, and the peer may never read our answer. */
static void linger_on(struct http_conn *c, int fd)
{
    c->stage = CONN_LINGERING;
    c->watch = (struct watch){.fd = fd, .fn = on_late_bytes};
    c->watching = watch_start(worker_of(c), &c->watch, EPOLLIN | EPOLLRDHUP);
    if (c->watching)
        conn_set_deadline(c, LINGER_MS);
    else
        conn_close(c);
}

static const char *refusal_code(unsigned status)
{
    switch (status) {
    case MHD_HTTP_REQUEST_TIMEOUT: return "timeout";
    case MHD_HTTP_CONTENT_TOO_LARGE: return "too_large";
    case MHD_HTTP_SERVICE_UNAVAILABLE: return "busy";
    default: return "bad_request";
    }
}

int conn_refusal(const struct http_conn *c, unsigned status, const char *why, char out[REFUSAL_MAX],
                 const char **type_out)
{
    bool json = c->terms->cfg.handler.json;
    *type_out = json ? "application/json" : "text/plain";
    if (!json) return snprintf(out, REFUSAL_MAX, "%s.\n", why);
    return snprintf(out, REFUSAL_MAX, "{\"error\":\"%c%s.\",\"code\":\"%s\"}",
                    toupper((unsigned char)why[0]), why + 1, refusal_code(status));
}

/* An answer past the daemon, where that can give none. The caller ends the connection. */
void conn_answer_raw(struct http_conn *c, unsigned status, const char *why)
{
    char body[REFUSAL_MAX], answer[2 * REFUSAL_MAX];
    const char *type;
    int len = conn_refusal(c, status, why, body, &type);
    int n = snprintf(answer, sizeof answer,
                     "HTTP/1.1 %u %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n"
                     "Connection: close\r\n\r\n%s",
                     status, MHD_get_reason_phrase_for(status), type, len, body);
    LOG(LOG_INFO, c->exchange ? c->exchange->session : 0, "refused", KV_TEXT("peer", c->peer),
        KV_UINT("status", status), KV_TEXT("why", why));
    if (!c->cert)
        (void)send(c->watch.fd, answer, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT);
    else if (c->exchange)
        tls_send(c->exchange->mhd, answer, (size_t)n);
}

/* ---- memory of those who wait ----
 * The daemon keeps a connection's memory in pages of its own: the head at the start, its table of
 * fields at the end, mostly zeros between, and after each answer it writes zeros over all of it, so
 * that every page is resident. Who waits for long has what is not zero kept elsewhere, and the
 * pages go back to the system; read again, they are zeros. The daemon does not touch the memory of
 * a suspended connection. */

#define PAGE ((size_t)4096)
#define PAGES (POOL_SIZE / PAGE)

struct packed {
    struct {
        uint16_t at, len; /* what is not zero of a page */
    } run[PAGES];
    char bytes[]; /* of all runs */
};

static void find_run(const char *page, uint16_t *at, uint16_t *len)
{
    size_t first = 0, end = PAGE;
    while (first < PAGE && page[first] == 0) first++;
    while (end > first && page[end - 1] == 0) end--;
    *at = (uint16_t)first;
    *len = (uint16_t)(end - first);
}

static void pack(struct http_conn *c)
{
    struct packed runs, *p;
    size_t len = 0, at = 0;
    if (c->packed || !c->pool || (uintptr_t)c->pool % PAGE != 0) return;
    for (size_t i = 0; i < PAGES; i++) {
        find_run(c->pool + i * PAGE, &runs.run[i].at, &runs.run[i].len);
        len += runs.run[i].len;
    }
    p = malloc(sizeof *p + len);
    if (!p) return;
    *p = runs;
    for (size_t i = 0; i < PAGES; i++) {
        memcpy(p->bytes + at, c->pool + i * PAGE + p->run[i].at, p->run[i].len);
        at += p->run[i].len;
    }
    if (madvise(c->pool, POOL_SIZE, MADV_DONTNEED) == 0)
        c->packed = p;
    else
        free(p);
}

void conn_unpack(struct http_conn *c)
{
    struct packed *p = c->packed;
    size_t at = 0;
    if (!p) return;
    for (size_t i = 0; i < PAGES; i++) {
        memcpy(c->pool + i * PAGE + p->run[i].at, p->bytes + at, p->run[i].len);
        at += p->run[i].len;
    }
    free(p);
    c->packed = NULL;
}

/* ---- deadlines ---- */

static void cut(struct http_conn *c)
{
    if (c->exchange && !c->exchange->answered && !c->peer_closed)
        conn_answer_raw(c, MHD_HTTP_REQUEST_TIMEOUT, "the request took too long");
    if (c->stage == CONN_SERVED)
        shutdown(c->watch.fd, SHUT_RDWR); /* the daemon sees the end of the connection */
    else
        conn_close(c);
}

/* Deadlines move with every request; the timer stays, and looks again when it goes off. */
static void on_timer(struct timer *t)
{
    struct http_conn *c = CONTAINER_OF(t, struct http_conn, timer);
    uint64_t now = worker_now_ms(worker_of(c));
    if (c->deadline == UINT64_MAX) return;
    if (now < c->deadline) {
        timer_set(worker_of(c), t, c->deadline - now, on_timer);
        return;
    }
    c->deadline = UINT64_MAX;
    if (c->exchange && c->exchange->suspended)
        pack(c);
    else
        cut(c);
}

void conn_set_deadline(struct http_conn *c, uint64_t in_ms)
{
    c->deadline = worker_now_ms(worker_of(c)) + in_ms;
    if (!c->timer.set || c->timer.at_ms > c->deadline)
        timer_set(worker_of(c), &c->timer, in_ms, on_timer);
}

/* ---- the peer goes away ---- */

/* The daemon does not look at a connection that waits for its answer, and misses the end of a
 * stream that came together with its last bytes. */
static void on_peer_closed(struct watch *h, uint32_t events)
{
    struct http_conn *c = CONTAINER_OF(h, struct http_conn, watch);
    struct http_exchange *x = c->exchange;
    (void)events;
    unwatch(c);
    c->peer_closed = true;
    if (x && exchange_is_held(x)) {
        if (x->gone) exchange_tell_gone(x);
    } else if (!x || !x->answered) {
        conn_set_deadline(c, HALF_CLOSED_MS); /* what came before the end is still to be read */
    }
}

/* ---- start ---- */

static void hand_over(struct http_conn *c)
{
    struct lane *l = c->lane;
    /* The daemon keeps a copy of the address; nobody asks it for that. */
    struct sockaddr none = {.sa_family = AF_UNIX};
    c->stage = CONN_SERVED;
    c->watch.fn = on_peer_closed;
    c->watching = watch_start(l->worker, &c->watch, EPOLLRDHUP);
    l->adding = c;
    l->due = true;
    if (MHD_add_connection(l->daemon, c->watch.fd, &none, sizeof none.sa_family) == MHD_YES) return;
    /* It has closed the socket. Was it already ours through the notification, it is freed. */
    if (l->adding) {
        l->adding = NULL;
        c->watching = false;
        conn_free(c);
    }
}

/* The whole first head is often there at once. Then it is judged before the daemon sees it, since
 * that answers some malformed ones badly or not at all (docs/http.md). */
static enum head_fault judge_first(const char *bytes, size_t len)
{
    struct head_facts facts;
    while (len > 0 && (*bytes == '\r' || *bytes == '\n')) {
        bytes++;
        len--;
    }
    const char *end = memmem(bytes, len, "\r\n\r\n", 4);
    return end ? head_check(bytes, (size_t)(end - bytes) + 4, &facts) : HEAD_NONE;
}

static void on_first_bytes(struct watch *h, uint32_t events)
{
    struct http_conn *c = CONTAINER_OF(h, struct http_conn, watch);
    char *bytes = c->lane->station->scratch;
    (void)events;
    ssize_t n = recv(h->fd, bytes, sizeof c->lane->station->scratch, MSG_PEEK);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) {
        conn_close(c);
        return;
    }
    /* The daemon skips an empty line before a request; its memory begins before the method then. */
    c->first_is_text = bytes[0] != '\r' && bytes[0] != '\n';
    enum head_fault fault = judge_first(bytes, (size_t)n);
    unwatch(c);
    if (fault) {
        conn_answer_raw(c, head_fault_status(fault), head_fault_text(fault));
        shutdown(c->watch.fd, SHUT_WR);
        linger_on(c, c->watch.fd);
    } else {
        hand_over(c);
    }
}

void conn_start(struct http_conn *c)
{
    struct lane *l = c->lane;
    c->next = l->conns;
    if (l->conns) l->conns->prev = c;
    l->conns = c;
    c->deadline = UINT64_MAX;
    conn_set_deadline(c, c->terms->cfg.head_ms);
    if (l->endpoint->tls) {
        c->cert = tls_cert_hold(c->terms->cert);
        hand_over(c);
        return;
    }
    c->watch.fn = on_first_bytes;
    c->watching = watch_start(l->worker, &c->watch, EPOLLIN | EPOLLRDHUP);
    if (!c->watching) conn_close(c);
}

/* ---- end ---- */

void conn_on_notify(void *cls, struct MHD_Connection *mhd, void **slot,
                    enum MHD_ConnectionNotificationCode what)
{
    struct lane *l = cls;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        struct http_conn *c = l->adding;
        l->adding = NULL;
        *slot = c;
        if (c->cert) tls_cert_use(c->cert, mhd);
        return;
    }
    struct http_conn *c = *slot;
    int fd = c->linger ? fcntl(c->watch.fd, F_DUPFD_CLOEXEC, 0) : -1;
    unwatch(c);
    if (fd >= 0)
        linger_on(c, fd); /* the daemon closes its descriptor at once */
    else
        conn_free(c);
}

/* ---- the server stops ---- */

static void hasten(struct http_conn *c, unsigned in_ms)
{
    if (c->deadline > worker_now_ms(worker_of(c)) + in_ms) conn_set_deadline(c, in_ms);
}

static bool has_bytes(const struct http_conn *c)
{
    char one;
    return recv(c->watch.fd, &one, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

/* No request of it is known yet. Who has just connected has a moment to say something, and so has one
 * whose next request is on its way. */
static void drain_idle(struct http_conn *c)
{
    unsigned farewell = c->terms->cfg.farewell_ms;
    if (!c->seen_request || has_bytes(c))
        hasten(c, FRESH_MS);
    else if (farewell)
        hasten(c, farewell);
    else
        shutdown(c->watch.fd, SHUT_RDWR);
}

static void end_now(struct http_conn *c)
{
    struct http_exchange *x = c->exchange;
    bool held = x && exchange_is_held(x);
    if (c->stage == CONN_FRESH || c->stage == CONN_LINGERING) {
        conn_close(c);
    } else if (c->stage == CONN_SERVED) {
        if (held) exchange_tell_gone(x);
        if (!held || !x->suspended) shutdown(c->watch.fd, SHUT_RDWR);
    }
}

void conn_drain(struct http_conn *c, bool now)
{
    struct http_exchange *x = c->exchange;
    if (now)
        end_now(c);
    else if (c->stage == CONN_FRESH)
        hasten(c, FRESH_MS);
    else if (c->stage == CONN_SERVED && !x)
        drain_idle(c);
    else if (x && x->stops)
        exchange_due(x);
}

void conn_await_next(struct http_conn *c)
{
    const struct http_listen *l = &c->terms->cfg;
    bool draining = c->lane->station->draining;
    if (draining && !l->farewell_ms)
        shutdown(c->watch.fd, SHUT_RDWR);
    else if (c->peer_closed)
        conn_set_deadline(c, HALF_CLOSED_MS);
    else
        conn_set_deadline(c, draining ? l->farewell_ms : l->idle_ms);
}

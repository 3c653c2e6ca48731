/* Listening sockets, and who takes a new connection. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "src/server/http/engine.h"
#include "src/server/observe/log.h"

#define BACKLOG 1024
#define ACCEPT_PAUSE_MS 100 /* when descriptors or memory have run out */
#define HOST_MAX 256

/* ---- opening ---- */

static bool set_error(char *error, size_t cap, const char *address, const char *what)
{
    snprintf(error, cap, "%s: %s", address, what);
    return false;
}

/* "127.0.0.1:8080", "[::1]:8443", ":8080" */
static bool split_address(const char *address, char host[HOST_MAX], const char **port_out)
{
    const char *colon = strrchr(address, ':'), *start = address, *end = colon;
    if (!colon || colon[1] == '\0') return false;
    if (*start == '[') {
        start++;
        end--;
        if (end <= start || *end != ']') return false;
    } else if (memchr(start, ':', (size_t)(end - start))) {
        return false;
    }
    if ((size_t)(end - start) >= HOST_MAX) return false;
    memcpy(host, start, (size_t)(end - start));
    host[end - start] = '\0';
    *port_out = colon + 1;
    return true;
}

bool http_name_bound(int fd, char name[HTTP_NAME_MAX])
{
    union {
        struct sockaddr any;
        struct sockaddr_un local;
        struct sockaddr_storage room;
    } a = {0};
    socklen_t len = sizeof a;
    char host[INET6_ADDRSTRLEN], port[8];
    *name = '\0';
    if (getsockname(fd, &a.any, &len) != 0) return false;
    if (a.any.sa_family == AF_UNIX) {
        snprintf(name, HTTP_NAME_MAX, "%.*s", (int)sizeof a.local.sun_path, a.local.sun_path);
        return *name == '/';
    }
    if (getnameinfo(&a.any, len, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return false;
    snprintf(name, HTTP_NAME_MAX, strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
    return true;
}

/* NULL: why tells what is wrong. */
static struct addrinfo *resolve(const char *address, const char **why_out)
{
    char host[HOST_MAX];
    const char *port;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *a = NULL;
    *why_out = "not an address and port, such as 127.0.0.1:8080";
    if (!split_address(address, host, &port)) return NULL;
    int rc = getaddrinfo(*host ? host : NULL, port, &hints, &a);
    if (rc != 0) *why_out = gai_strerror(rc);
    return rc == 0 ? a : NULL;
}

/* ---- sockets that were handed over ---- */

/* 0.0.0.0 and [::] are one: whoever writes only a port means all addresses. */
static bool is_any(const struct sockaddr *a)
{
    const struct sockaddr_in *four = (const struct sockaddr_in *)a;
    const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)a;
    return a->sa_family == AF_INET ? four->sin_addr.s_addr == htonl(INADDR_ANY)
                                   : IN6_IS_ADDR_UNSPECIFIED(&six->sin6_addr);
}

static bool same_place(const struct sockaddr *a, const struct sockaddr *b)
{
    const struct sockaddr_in *a4 = (const struct sockaddr_in *)a;
    const struct sockaddr_in *b4 = (const struct sockaddr_in *)b;
    const struct sockaddr_in6 *a6 = (const struct sockaddr_in6 *)a;
    const struct sockaddr_in6 *b6 = (const struct sockaddr_in6 *)b;
    /* The port stands at the same place in both kinds. */
    if (a4->sin_port != b4->sin_port) return false;
    if (is_any(a) && is_any(b)) return true;
    if (a->sa_family != b->sa_family) return false;
    return a->sa_family == AF_INET ? a4->sin_addr.s_addr == b4->sin_addr.s_addr
                                   : IN6_ARE_ADDR_EQUAL(&a6->sin6_addr, &b6->sin6_addr);
}

bool http_is_bound(int fd, const char *address)
{
    char name[HTTP_NAME_MAX];
    const char *why;
    struct sockaddr_storage bound;
    socklen_t len = sizeof bound;
    if (*address == '/') return http_name_bound(fd, name) && strcmp(name, address) == 0;
    if (getsockname(fd, (struct sockaddr *)&bound, &len) != 0) return false;
    if (bound.ss_family != AF_INET && bound.ss_family != AF_INET6) return false;
    struct addrinfo *list = resolve(address, &why);
    bool same = false;
    for (const struct addrinfo *a = list; a && !same; a = a->ai_next)
        same = same_place(a->ai_addr, (const struct sockaddr *)&bound);
    if (list) freeaddrinfo(list);
    return same;
}

/* Who may open it was decided elsewhere, and may be everybody. */
static bool is_wider(const struct endpoint *e, int fd)
{
    struct stat st;
    char name[HTTP_NAME_MAX];
    return http_name_bound(fd, name) && *name == '/' && lstat(name, &st) == 0 &&
           (st.st_mode & 0777 & ~(mode_t)e->socket_mode);
}

static bool take_over(struct endpoint *e, int fd, char *error, size_t cap)
{
    if (is_wider(e, fd)) {
        snprintf(error, cap, "%s: more users may open the socket that was handed over than %04o",
                 e->address, e->socket_mode);
        return false;
    }
    e->fd = fd;
    e->inherited = true;
    if (!http_name_bound(e->fd, e->name)) snprintf(e->name, sizeof e->name, "%s", e->address);
    return true;
}

/* ---- sockets of our own ---- */

static bool open_inet(struct endpoint *e, char *error, size_t cap)
{
    const char *why_not;
    struct addrinfo *a = resolve(e->address, &why_not);
    if (!a) return set_error(error, cap, e->address, why_not);
    int one = 1;
    e->fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    bool ok = e->fd >= 0 && setsockopt(e->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0 &&
              bind(e->fd, a->ai_addr, a->ai_addrlen) == 0 && listen(e->fd, BACKLOG) == 0;
    int why = errno;
    freeaddrinfo(a);
    if (!ok) return set_error(error, cap, e->address, strerror(why));
    if (!http_name_bound(e->fd, e->name)) snprintf(e->name, sizeof e->name, "%s", e->address);
    return true;
}

/* Somebody answers there. */
static bool is_live(const struct sockaddr_un *a)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    bool live =
        fd >= 0 && (connect(fd, (const struct sockaddr *)a, sizeof *a) == 0 || errno == EAGAIN);
    if (fd >= 0) close(fd);
    return live;
}

static bool open_unix(struct endpoint *e, char *error, size_t cap)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    struct stat st;
    size_t len = strlen(e->address);
    if (len >= sizeof a.sun_path)
        return set_error(error, cap, e->address, "the path of the socket is too long");
    memcpy(a.sun_path, e->address, len);
    if (lstat(e->address, &st) == 0) {
        if (!S_ISSOCK(st.st_mode))
            return set_error(error, cap, e->address, "exists and is not a socket");
        if (is_live(&a)) return set_error(error, cap, e->address, "already in use");
        if (unlink(e->address) != 0) return set_error(error, cap, e->address, strerror(errno));
    }
    e->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    /* Before listen nobody can connect, so the mode is never too wide. */
    bool bound = e->fd >= 0 && bind(e->fd, (struct sockaddr *)&a, sizeof a) == 0;
    e->is_unix = bound; /* from here on the path is ours to remove */
    if (!bound || chmod(e->address, e->socket_mode) != 0 || listen(e->fd, BACKLOG) != 0)
        return set_error(error, cap, e->address, strerror(errno));
    snprintf(e->name, sizeof e->name, "%s", e->address);
    return true;
}

bool endpoint_open(struct endpoint *e, const struct http_listen *l, char *error, size_t error_cap)
{
    e->fd = -1;
    e->address = strdup(l->address);
    e->socket_mode = l->socket_mode;
    e->tls = l->tls_certificate != NULL;
    pthread_mutex_init(&e->terms_lock, NULL);
    if (!e->address) return set_error(error, error_cap, l->address, strerror(ENOMEM));
    e->terms = terms_make(l, error, error_cap);
    if (!e->terms) return false;
    if (l->inherited > 0) return take_over(e, l->inherited, error, error_cap);
    return *e->address == '/' ? open_unix(e, error, error_cap) : open_inet(e, error, error_cap);
}

static void close_listening(struct endpoint *e)
{
    if (e->fd >= 0) close(e->fd);
    if (e->is_unix) unlink(e->address);
    e->fd = -1;
    e->is_unix = false;
}

void endpoint_close(struct endpoint *e)
{
    close_listening(e);
    terms_drop(e->terms);
    pthread_mutex_destroy(&e->terms_lock);
    free(e->address);
}

/* ---- accepting ---- */

static void name_peer(struct http_conn *c, const struct sockaddr_storage *a)
{
    const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)a;
    const struct sockaddr_in *four = (const struct sockaddr_in *)a;
    if (a->ss_family == AF_INET)
        inet_ntop(AF_INET, &four->sin_addr, c->peer, sizeof c->peer);
    else if (a->ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&six->sin6_addr))
        inet_ntop(AF_INET, &six->sin6_addr.s6_addr[12], c->peer, sizeof c->peer);
    else if (a->ss_family == AF_INET6)
        inet_ntop(AF_INET6, &six->sin6_addr, c->peer, sizeof c->peer);
    else
        memcpy(c->peer, "unix", sizeof "unix");
}

static struct lane *least_loaded(struct endpoint *e, struct lane *here)
{
    struct lane *best = here;
    unsigned least = atomic_load_explicit(&here->load, memory_order_relaxed);
    for (unsigned i = 0; i < e->server->worker_count; i++) {
        unsigned load = atomic_load_explicit(&e->lanes[i].load, memory_order_relaxed);
        if (load < least) {
            least = load;
            best = &e->lanes[i];
        }
    }
    return best;
}

static void start_elsewhere(struct task *t)
{
    conn_start(CONTAINER_OF(t, struct http_conn, task));
}

/* Too many already. Over TLS there is no cheap way to say so. */
static void turn_away(const struct endpoint *e, unsigned limit, int fd)
{
    static const char answer[] = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 10\r\n"
                                 "Content-Length: 0\r\nConnection: close\r\n\r\n";
    LOG(LOG_WARN, 0, "connections-full", KV_TEXT("listen", e->name), KV_UINT("limit", limit));
    if (!e->tls) (void)send(fd, answer, sizeof answer - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    close(fd);
}

static void take(struct lane *here, int fd, const struct sockaddr_storage *address)
{
    struct endpoint *e = here->endpoint;
    struct terms *t = terms_hold(e);
    struct http_conn *c = NULL;
    bool room = atomic_fetch_add(&e->connections, 1) < t->cfg.connections_max;
    if (room) c = calloc(1, sizeof *c);
    if (!c) {
        atomic_fetch_sub(&e->connections, 1);
        if (room)
            close(fd);
        else
            turn_away(e, t->cfg.connections_max, fd);
        terms_drop(t);
        return;
    }
    c->watch.fd = fd;
    c->terms = t;
    name_peer(c, address);
    c->proxied = proxies_trust(t->proxies, c->peer);
    c->lane = least_loaded(e, here);
    atomic_fetch_add(&c->lane->load, 1);
    if (c->lane == here && worker_self() == here->worker) {
        conn_start(c);
    } else {
        c->task.fn = start_elsewhere;
        worker_post(c->lane->worker, &c->task);
    }
}

void endpoint_stop_listening(struct endpoint *e)
{
    struct sockaddr_storage address;
    for (int fd = 0; fd >= 0 && !e->inherited && e->fd >= 0;) {
        socklen_t len = sizeof address;
        fd = accept4(e->fd, (struct sockaddr *)&address, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) take(&e->lanes[0], fd, &address);
    }
    close_listening(e);
}

static void accept_again(struct timer *t)
{
    struct lane *l = CONTAINER_OF(t, struct lane, accept_again);
    l->accepting = watch_start(l->worker, &l->accept, EPOLLIN | EPOLLEXCLUSIVE);
    if (!l->accepting) timer_set(l->worker, t, ACCEPT_PAUSE_MS, accept_again);
}

void lane_start_accepting(struct lane *l)
{
    accept_again(&l->accept_again);
}

void lane_stop_accepting(struct lane *l)
{
    timer_stop(l->worker, &l->accept_again);
    if (l->accepting) watch_stop(l->worker, &l->accept);
    l->accepting = false;
}

/* One connection a turn, so that the workers share a burst. */
void lane_on_accept(struct watch *h, uint32_t events)
{
    struct lane *l = CONTAINER_OF(h, struct lane, accept);
    struct sockaddr_storage address;
    socklen_t len = sizeof address;
    (void)events;
    int fd = accept4(h->fd, (struct sockaddr *)&address, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        take(l, fd, &address);
        return;
    }
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        LOG(LOG_ERROR, 0, "accept-failed", KV_TEXT("listen", l->endpoint->name),
            KV_TEXT("why", strerror(errno)));
        lane_stop_accepting(l);
        timer_set(l->worker, &l->accept_again, ACCEPT_PAUSE_MS, accept_again);
    }
}

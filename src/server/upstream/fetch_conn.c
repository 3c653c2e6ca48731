/* Connections: made by libcurl, then ours until they end. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "src/server/upstream/fetch_inner.h"

#define SPARES_MAX 64
#define KEEPALIVE_S 60L
#define FOR_EVER (365L * 24 * 60 * 60)

/* ---- lists ---- */

static void list_add(struct conn_list *l, struct conn *c)
{
    c->next = NULL;
    c->prev = l->last;
    if (l->last)
        l->last->next = c;
    else
        l->first = c;
    l->last = c;
}

static void list_drop(struct conn_list *l, struct conn *c)
{
    if (c->prev)
        c->prev->next = c->next;
    else
        l->first = c->next;
    if (c->next)
        c->next->prev = c->prev;
    else
        l->last = c->prev;
    c->prev = c->next = NULL;
}

/* ---- libcurl's handle ---- */

/* What is the same for all. */
static bool tell_common(struct conn *c)
{
    CURL *e = c->easy;
    struct station *s = c->station;
    return curl_easy_setopt(e, CURLOPT_PRIVATE, c) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_ERRORBUFFER, c->error) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_CONNECT_ONLY, 1L) == CURLE_OK &&
           /* It must not end connections of which it knows no more. */
           curl_easy_setopt(e, CURLOPT_MAXAGE_CONN, FOR_EVER) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_PROXY, "") == CURLE_OK && /* nor one of the environment */
           curl_easy_setopt(e, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, 1L) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, 2L) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_TCP_NODELAY, 1L) == CURLE_OK &&
           /* Who waits for an hour learns that the peer's machine has gone. */
           curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_TCP_KEEPIDLE, KEEPALIVE_S) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_TCP_KEEPINTVL, KEEPALIVE_S) == CURLE_OK &&
           /* An end does not wait for a name server. */
           curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, station_open_socket) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_OPENSOCKETDATA, s) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_CLOSESOCKETFUNCTION, station_close_socket) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_CLOSESOCKETDATA, s) == CURLE_OK;
}

static bool tell_peer(struct conn *c, const struct fetch_peer *p)
{
    CURL *e = c->easy;
    if (c->told == p) return true;
    if (c->told) curl_easy_reset(e); /* the system's authorities come back only so */
    if (!tell_common(c) ||
        curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)p->connect_ms) != CURLE_OK ||
        (p->ca_file && curl_easy_setopt(e, CURLOPT_CAINFO, p->ca_file) != CURLE_OK) ||
        (p->certificate && curl_easy_setopt(e, CURLOPT_SSLCERT, p->certificate) != CURLE_OK) ||
        (p->key && curl_easy_setopt(e, CURLOPT_SSLKEY, p->key) != CURLE_OK)) {
        c->told = NULL;
        return false;
    }
    c->told = p;
    return true;
}

static struct conn *conn_new(struct station *s)
{
    struct conn *c = s->spare.last;
    if (c) {
        list_drop(&s->spare, c);
        s->spares--;
        return c;
    }
    c = calloc(1, sizeof *c);
    if (!c) return NULL;
    c->station = s;
    c->easy = curl_easy_init();
    if (c->easy) return c;
    free(c);
    return NULL;
}

void conn_free(struct conn *c)
{
    curl_easy_cleanup(c->easy);
    free(c->unread);
    free(c);
}

/* Nobody's, and not in libcurl's loop. */
static void conn_spare(struct conn *c)
{
    struct station *s = c->station;
    free(c->unread);
    c->unread = NULL;
    c->unread_at = c->unread_len = 0;
    c->used = c->failed = false;
    if (s->spares >= SPARES_MAX) {
        conn_free(c);
        return;
    }
    list_add(&s->spare, c);
    s->spares++;
}

/* ---- making ---- */

static bool conn_make(struct fetch_run *run)
{
    struct station *s = run->station;
    struct conn *c = strlen(run->base) < BASE_MAX ? conn_new(s) : NULL;
    if (!c) return false;
    memcpy(c->base, run->base, strlen(run->base) + 1);
    c->tls = strncasecmp(c->base, "https:", 6) == 0;
    c->error[0] = '\0';
    if (!tell_peer(c, run->peer) || curl_easy_setopt(c->easy, CURLOPT_URL, c->base) != CURLE_OK ||
        curl_multi_add_handle(s->multi, c->easy) != CURLM_OK) {
        conn_spare(c);
        return false;
    }
    c->use = run->use;
    c->use->conns++;
    c->run = run;
    run->conn = c;
    return true;
}

static struct conn *resting(const struct fetch_run *run)
{
    struct conn *c = run->use->resting.last;
    while (c && strcmp(c->base, run->base) != 0) c = c->prev;
    return c;
}

bool conn_is_free(const struct fetch_run *run)
{
    return run->use->conns < run->peer->connections_max || run->use->resting.first;
}

bool conn_take(struct fetch_run *run)
{
    struct peer_use *use = run->use;
    struct conn *c = run->once ? NULL : resting(run);
    if (!c) {
        if (use->conns >= run->peer->connections_max) conn_close(use->resting.first);
        return conn_make(run);
    }
    list_drop(&use->resting, c);
    c->run = run;
    run->conn = c;
    return true;
}

/* The handle stays in libcurl's loop as long as its connection; by a first read it is told that the
 * connection is in use, and looks at it no more. */
static bool adopt(struct conn *c)
{
    curl_socket_t fd = CURL_SOCKET_BAD;
    char byte;
    size_t n = 0;
    if (curl_easy_getinfo(c->easy, CURLINFO_ACTIVESOCKET, &fd) != CURLE_OK || fd == CURL_SOCKET_BAD)
        return false;
    c->sock = station_give(c->station, fd, c);
    return c->sock && curl_easy_recv(c->easy, &byte, 1, &n) == CURLE_AGAIN;
}

void conn_made(struct conn *c, CURLcode code)
{
    struct fetch_run *run = c->run;
    const char *why = *c->error ? c->error : curl_easy_strerror(code);
    if (code == CURLE_OK && adopt(c)) {
        talk_begin(run);
        return;
    }
    c->failed = true;
    if (code == CURLE_OK)
        run_end(run, FETCH_CUT, "it speaks before it is asked, or ends the connection");
    else
        run_end(run, code == CURLE_OUT_OF_MEMORY ? FETCH_NO_MEMORY : FETCH_UNREACHABLE, why);
}

/* ---- the end ---- */

void conn_close(struct conn *c)
{
    struct peer_use *use = c->use;
    if (!c->run) list_drop(&use->resting, c);
    curl_multi_remove_handle(c->station->multi, c->easy); /* closes the socket */
    c->sock = NULL;
    c->run = NULL;
    c->use = NULL;
    use->conns--;
    conn_spare(c);
}

void conn_rest(struct conn *c)
{
    c->run = NULL;
    list_add(&c->use->resting, c);
    c->used = true;
    if (c->failed || c->unread || !c->sock || !sock_watch(c->sock, EPOLLIN)) conn_close(c);
}

/* A connection that rests is to be silent. What comes is its end, or what nobody has asked for: then
 * nobody would know which answer is whose. */
static void on_rest(struct conn *c)
{
    char byte;
    if (conn_read(c, &byte, 1) >= 0 || errno != EAGAIN) conn_close(c);
}

void conn_on_events(struct conn *c, uint32_t events)
{
    if (c->run)
        talk_on_events(c->run, events);
    else
        on_rest(c);
}

/* ---- bytes ---- */

static ssize_t by_code(CURLcode code, size_t n)
{
    if (code == CURLE_OK) return (ssize_t)n;
    errno = code == CURLE_AGAIN ? EAGAIN : EIO;
    return -1;
}

ssize_t conn_read(struct conn *c, void *buf, size_t cap)
{
    size_t n = 0;
    if (!c->tls) return recv(c->sock->watch.fd, buf, cap, MSG_DONTWAIT);
    CURLcode code = curl_easy_recv(c->easy, buf, cap, &n);
    return by_code(code, n);
}

ssize_t conn_send(struct conn *c, const void *first, size_t first_len, const void *second,
                  size_t second_len)
{
    size_t n = 0;
    if (!c->tls) {
        struct iovec parts[] = {{(void *)first, first_len}, {(void *)second, second_len}};
        const struct msghdr m = {.msg_iov = parts, .msg_iovlen = second_len ? 2 : 1};
        return sendmsg(c->sock->watch.fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
    CURLcode code = first_len ? curl_easy_send(c->easy, first, first_len, &n)
                              : curl_easy_send(c->easy, second, second_len, &n);
    return by_code(code, n);
}

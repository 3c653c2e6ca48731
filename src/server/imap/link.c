#include "src/server/imap/link.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#define OUT_MAX ((size_t)1024 * 1024) /* what a server that reads nothing may leave with us */
#define LINE_MAX_OF_CURL 8192L        /* of the greeting; libcurl gives up beyond */
#define KEEPALIVE_SECONDS 120L        /* a server that has vanished is found out */

struct imap_net {
    struct worker *worker;
    const struct imap_peer *peer;
    CURLM *multi;
    struct timer timer;
};

/* A socket that libcurl wants to be told about. */
struct sock {
    struct watch watch;
    struct imap_net *net;
};

/* ---- the glue between libcurl and the loop ---- */

/* Links that are open now, or have failed. */
static void tell_opened(struct imap_net *n)
{
    CURLMsg *m;
    int left;
    while ((m = curl_multi_info_read(n->multi, &left))) {
        struct imap_link *l;
        if (m->msg != CURLMSG_DONE) continue;
        CURLcode code = m->data.result;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&l);
        if (code == CURLE_OK) {
            l->opened(l, NULL);
            continue;
        }
        char error[IMAP_LINK_ERROR_MAX];
        snprintf(error, sizeof error, "%s", *l->error ? l->error : curl_easy_strerror(code));
        imap_link_close(l);
        l->opened(l, error);
    }
}

static void act(struct imap_net *n, curl_socket_t fd, int what)
{
    int running;
    curl_multi_socket_action(n->multi, fd, what, &running);
    tell_opened(n);
}

static void sock_ready(struct watch *h, uint32_t events)
{
    struct sock *s = CONTAINER_OF(h, struct sock, watch);
    int what = 0;
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) what |= CURL_CSELECT_IN;
    if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) what |= CURL_CSELECT_OUT;
    act(s->net, h->fd, what);
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *ctx, void *kept)
{
    struct imap_net *n = ctx;
    struct sock *s = kept;
    (void)easy;
    if (s) watch_stop(n->worker, &s->watch);
    if (what == CURL_POLL_REMOVE) {
        free(s);
        curl_multi_assign(n->multi, fd, NULL);
        return 0;
    }
    if (!s) s = calloc(1, sizeof *s);
    if (!s) return 0; /* nobody watches it: the time to connect runs out */
    s->net = n;
    s->watch.fd = fd;
    s->watch.fn = sock_ready;
    (void)watch_start(n->worker, &s->watch,
                      (what & CURL_POLL_IN ? EPOLLIN : 0u) |
                          (what & CURL_POLL_OUT ? EPOLLOUT : 0u));
    curl_multi_assign(n->multi, fd, s);
    return 0;
}

static void time_is_up(struct timer *t)
{
    act(CONTAINER_OF(t, struct imap_net, timer), CURL_SOCKET_TIMEOUT, 0);
}

static int on_timer(CURLM *multi, long ms, void *ctx)
{
    struct imap_net *n = ctx;
    (void)multi;
    if (ms < 0)
        timer_stop(n->worker, &n->timer);
    else
        timer_set(n->worker, &n->timer, (uint64_t)ms, time_is_up);
    return 0;
}

struct imap_net *imap_net_create(struct worker *w, const struct imap_peer *p)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) return NULL;
    struct imap_net *n = calloc(1, sizeof *n);
    if (n) n->multi = curl_multi_init();
    if (!n || !n->multi) {
        free(n);
        curl_global_cleanup();
        return NULL;
    }
    n->worker = w;
    n->peer = p;
    curl_multi_setopt(n->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(n->multi, CURLMOPT_SOCKETDATA, n);
    curl_multi_setopt(n->multi, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(n->multi, CURLMOPT_TIMERDATA, n);
    return n;
}

void imap_net_destroy(struct imap_net *n)
{
    if (!n) return;
    curl_multi_cleanup(n->multi);
    free(n);
    curl_global_cleanup();
}

struct worker *imap_net_worker(const struct imap_net *n)
{
    return n->worker;
}

/* ---- links ---- */

static size_t on_line(char *line, size_t size, size_t count, void *ctx)
{
    struct imap_link *l = ctx;
    size_t len = size * count;
    while (len > 0 && (line[len - 1] == '\n' || line[len - 1] == '\r')) len--;
    l->heard(l, line, len);
    return size * count;
}

static bool set_up(struct imap_link *l)
{
    const struct imap_peer *p = l->net->peer;
    CURL *e = l->easy;
    bool good = curl_easy_setopt(e, CURLOPT_URL, p->url) == CURLE_OK &&
                curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "imap,imaps") == CURLE_OK &&
                curl_easy_setopt(e, CURLOPT_PROXY, "") == CURLE_OK;
    if (p->ca_file) good = good && curl_easy_setopt(e, CURLOPT_CAINFO, p->ca_file) == CURLE_OK;
    /* Without a name and a password it stops where the login would come. */
    curl_easy_setopt(e, CURLOPT_CONNECT_ONLY, 1L);
    curl_easy_setopt(e, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    curl_easy_setopt(e, CURLOPT_USE_SSL, (long)(p->starttls ? CURLUSESSL_ALL : CURLUSESSL_NONE));
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)p->connect_ms);
    curl_easy_setopt(e, CURLOPT_BUFFERSIZE, LINE_MAX_OF_CURL);
    curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(e, CURLOPT_TCP_KEEPIDLE, KEEPALIVE_SECONDS);
    curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_line);
    curl_easy_setopt(e, CURLOPT_HEADERDATA, l);
    curl_easy_setopt(e, CURLOPT_ERRORBUFFER, l->error);
    curl_easy_setopt(e, CURLOPT_PRIVATE, (void *)l);
    return good && curl_multi_add_handle(l->net->multi, e) == CURLM_OK;
}

bool imap_link_open(struct imap_net *n, struct imap_link *l)
{
    l->net = n;
    l->watched = l->waits_for_room = false;
    l->error[0] = '\0';
    l->easy = curl_easy_init();
    if (!l->easy) return false;
    if (set_up(l)) return true;
    curl_easy_cleanup(l->easy);
    l->easy = NULL;
    return false;
}

static bool watch(struct imap_link *l, uint32_t events, void (*fn)(struct watch *, uint32_t))
{
    curl_socket_t fd;
    if (l->watched) watch_stop(l->net->worker, &l->watch);
    l->watched = false;
    if (curl_easy_getinfo(l->easy, CURLINFO_ACTIVESOCKET, &fd) != CURLE_OK || fd == CURL_SOCKET_BAD)
        return false;
    l->watch.fd = fd;
    l->watch.fn = fn;
    l->watched = watch_start(l->net->worker, &l->watch, events);
    return l->watched;
}

static bool flush(struct imap_link *l);

static void ready(struct watch *h, uint32_t events)
{
    struct imap_link *l = CONTAINER_OF(h, struct imap_link, watch);
    /* A failure shows when it is read. */
    if (events & EPOLLOUT) (void)flush(l);
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) l->readable(l);
}

enum imap_io imap_link_read(struct imap_link *l, char *buf, size_t cap, size_t *len_out)
{
    if (!l->easy) return IMAP_IO_END;
    switch (curl_easy_recv(l->easy, buf, cap, len_out)) {
    case CURLE_OK: return *len_out > 0 ? IMAP_IO_SOME : IMAP_IO_END;
    case CURLE_AGAIN:
        if (!l->watched && !watch(l, EPOLLIN, ready)) return IMAP_IO_END;
        return IMAP_IO_NONE;
    default: return IMAP_IO_END;
    }
}

static bool flush(struct imap_link *l)
{
    size_t at = 0, n;
    CURLcode code = CURLE_OK;
    while (at < l->out_len && code == CURLE_OK) {
        code = curl_easy_send(l->easy, l->out + at, l->out_len - at, &n);
        if (code == CURLE_OK) at += n;
    }
    if (at > 0) memmove(l->out, l->out + at, l->out_len - at);
    explicit_bzero(l->out + l->out_len - at, at);
    l->out_len -= at;
    if (code != CURLE_OK && code != CURLE_AGAIN) return false;
    bool waits = l->out_len > 0;
    if (l->watched && waits == l->waits_for_room) return true;
    l->waits_for_room = waits;
    return watch(l, EPOLLIN | (waits ? EPOLLOUT : 0u), ready);
}

bool imap_link_write(struct imap_link *l, const char *text, size_t len)
{
    if (!l->easy || len > OUT_MAX - l->out_len) return false;
    if (len > l->out_cap - l->out_len) {
        size_t cap = l->out_len + len + 256;
        char *out = malloc(cap); /* not realloc: it would leave a copy behind */
        if (!out) return false;
        if (l->out_len) memcpy(out, l->out, l->out_len);
        if (l->out) explicit_bzero(l->out, l->out_cap);
        free(l->out);
        l->out = out;
        l->out_cap = cap;
    }
    memcpy(l->out + l->out_len, text, len);
    l->out_len += len;
    return flush(l);
}

void imap_link_close(struct imap_link *l)
{
    if (!l->easy) return;
    if (l->watched) watch_stop(l->net->worker, &l->watch);
    l->watched = false;
    curl_multi_remove_handle(l->net->multi, l->easy);
    curl_easy_cleanup(l->easy);
    l->easy = NULL;
    if (l->out) explicit_bzero(l->out, l->out_cap);
    free(l->out);
    l->out = NULL;
    l->out_len = l->out_cap = 0;
}

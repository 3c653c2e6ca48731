/* An EAS server for `make bench` that costs next to nothing: it answers every command at once with 100
 * bytes, ItemOperations with a megabyte, and Ping never. Whatever stands before it is what is
 * measured. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#define THREADS 2
#define HEAD_MAX ((size_t)8192)
#define SMALL ((size_t)100)
#define LARGE ((size_t)1 << 20)
#define EVENTS 64

struct answer {
    char *bytes;
    size_t len;
};

struct peer {
    int fd;
    size_t have;                 /* of the head, or of what came after the last body */
    uint64_t body_left;          /* of the request, to be thrown away */
    const struct answer *answer; /* NULL: none yet */
    size_t sent;
    bool waits_to_send;
    char head[HEAD_MAX + 1];
};

static struct answer options, small, large;
static bool close_each; /* tells so, as a server without keepalive does */

_Noreturn static void fail(const char *what)
{
    perror(what);
    exit(1);
}

/* A Sync or ItemOperations answer that a codec accepts: Status and one long text. */
static struct answer make_answer(size_t len)
{
    static const char start[] = "\x03\x01\x6a\x00"
                                "E"
                                "N\x03"
                                "1\0\x01"
                                "K\x03";
    static const char end[] = "\0\x01\x01";
    size_t cap = len + 256;
    char *bytes = malloc(cap);
    if (!bytes) fail("malloc");
    int n = snprintf(bytes, cap,
                     "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.ms-sync.wbxml\r\n"
                     "%sContent-Length: %zu\r\n\r\n",
                     close_each ? "Connection: close\r\n" : "", len);
    char *body = bytes + n;
    memset(body, 'x', len);
    memcpy(body, start, sizeof start - 1);
    memcpy(body + len - (sizeof end - 1), end, sizeof end - 1);
    return (struct answer){bytes, (size_t)n + len};
}

static struct answer make_options(void)
{
    static char text[] = "HTTP/1.1 200 OK\r\nMS-ASProtocolVersions: 2.5,12.0,12.1,14.0,14.1\r\n"
                         "MS-ASProtocolCommands: Sync,SendMail,FolderSync,Settings,Ping,"
                         "ItemOperations\r\nContent-Length: 0\r\n\r\n";
    return (struct answer){text, sizeof text - 1};
}

static void drop(struct peer *p)
{
    close(p->fd);
    free(p);
}

/* @return false: the peer is gone */
static bool send_some(int loop, struct peer *p)
{
    while (p->sent < p->answer->len) {
        ssize_t n = send(p->fd, p->answer->bytes + p->sent, p->answer->len - p->sent, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN) return false;
        if (n < 0) break;
        p->sent += (size_t)n;
    }
    bool waits = p->sent < p->answer->len;
    if (waits != p->waits_to_send) {
        struct epoll_event e = {.events = waits ? EPOLLOUT : EPOLLIN, .data.ptr = p};
        epoll_ctl(loop, EPOLL_CTL_MOD, p->fd, &e);
        p->waits_to_send = waits;
    }
    if (waits) return true;
    p->answer = NULL;
    p->sent = 0;
    return !close_each;
}

static const struct answer *choose(const char *head)
{
    if (strncmp(head, "OPTIONS", 7) == 0) return &options;
    if (strstr(head, "Cmd=Ping")) return NULL;
    return strstr(head, "Cmd=ItemOperations") ? &large : &small;
}

/* What has come so far. @return false: enough of this peer */
static bool digest(int loop, struct peer *p)
{
    while (p->have && !p->answer) {
        p->head[p->have] = '\0';
        char *end = strstr(p->head, "\r\n\r\n");
        if (!end) return p->have < HEAD_MAX;
        *end = '\0';
        const char *length = strcasestr(p->head, "\r\nContent-Length:");
        uint64_t body = length ? strtoull(length + 17, NULL, 10) : 0;
        size_t rest = p->have - (size_t)(end + 4 - p->head);
        size_t here = rest < body ? rest : (size_t)body;
        const struct answer *answer = choose(p->head);
        memmove(p->head, end + 4 + here, rest - here);
        p->have = rest - here;
        p->body_left = body - here;
        if (!answer) return true;
        p->answer = answer;
        if (p->body_left == 0 && !send_some(loop, p)) return false;
    }
    return true;
}

static bool receive(int loop, struct peer *p)
{
    static _Thread_local char waste[256 * 1024];
    if (p->body_left) {
        size_t want = p->body_left < sizeof waste ? (size_t)p->body_left : sizeof waste;
        ssize_t n = recv(p->fd, waste, want, 0);
        if (n <= 0) return n < 0 && errno == EAGAIN;
        p->body_left -= (size_t)n;
        return p->body_left || !p->answer || send_some(loop, p);
    }
    ssize_t n = recv(p->fd, p->head + p->have, HEAD_MAX - p->have, 0);
    if (n <= 0) return n < 0 && errno == EAGAIN;
    p->have += (size_t)n;
    return digest(loop, p);
}

static void take(int loop, int listener)
{
    int one = 1, fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct peer *p = calloc(1, sizeof *p);
    if (!p) fail("calloc");
    p->fd = fd;
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = p};
    epoll_ctl(loop, EPOLL_CTL_ADD, fd, &e);
}

static void *serve(void *listener_of)
{
    int listener = *(int *)listener_of, loop = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event events[EVENTS], e = {.events = EPOLLIN, .data.ptr = NULL};
    if (loop < 0 || epoll_ctl(loop, EPOLL_CTL_ADD, listener, &e) != 0) fail("epoll");
    for (;;) {
        int n = epoll_wait(loop, events, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            struct peer *p = events[i].data.ptr;
            if (!p)
                take(loop, listener);
            else if (!(p->waits_to_send ? send_some(loop, p) && digest(loop, p) : receive(loop, p)))
                drop(p);
        }
    }
    return NULL;
}

static int listen_on(int port)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1, s = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (s < 0 || setsockopt(s, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one) != 0 ||
        bind(s, (struct sockaddr *)&at, sizeof at) != 0 || listen(s, 1024) != 0)
        fail("listen");
    return s;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fputs("usage: bench_upstream PORT [close]\n", stderr);
        return 2;
    }
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    close_each = argc > 2 && strcmp(argv[2], "close") == 0;
    options = make_options();
    small = make_answer(SMALL);
    large = make_answer(LARGE);
    pthread_t threads[THREADS];
    int listeners[THREADS];
    for (int i = 0; i < THREADS; i++) {
        listeners[i] = listen_on((int)strtol(argv[1], NULL, 10));
        if (pthread_create(&threads[i], NULL, serve, &listeners[i]) != 0) fail("pthread_create");
    }
    puts("ready");
    fflush(stdout);
    pthread_join(threads[0], NULL);
    return 0;
}

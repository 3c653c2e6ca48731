#include "tests/unit/http_bench.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "src/server/http/pool.h"

struct http_server *server;
char socket_path[64], cert_path[64], key_path[64], ca_path[64];
atomic_uint gone_count, stop_count, freed_count, served_count, waiting_count;

static char dir[] = "/tmp/provost-http-XXXXXX";
static struct pool *pool;

/* ---- the handler ---- */

struct waiting {
    struct http_exchange *x;
    struct timer timer;
    struct job job;
};

static void reply_text(struct http_exchange *x, unsigned status, const char *text)
{
    http_reply(x, &(struct http_reply){ .status = status, .type = "text/plain", .body = text,
                                        .len = strlen(text) });
}

static void free_waiting(void *data)
{
    atomic_fetch_add(&freed_count, 1);
    free(data);
}

static void on_later(struct timer *t)
{
    struct waiting *w = (struct waiting *)((char *)t - offsetof(struct waiting, timer));
    const char *echo = http_field(w->x, "X-Echo");
    atomic_fetch_sub(&waiting_count, 1);
    reply_text(w->x, 200, http_is_gone(w->x) ? "gone" : echo ? echo : "later");
}

/* Ends the exchange at once. */
static void on_gone(struct http_exchange *x)
{
    struct waiting *w = http_data(x);
    atomic_fetch_add(&gone_count, 1);
    atomic_fetch_sub(&waiting_count, 1);
    timer_stop(worker_self(), &w->timer);
    reply_text(x, 200, "for nobody");
}

/* Waits no longer: hangs up, or answers. */
static void on_stop(struct http_exchange *x)
{
    struct waiting *w = http_data(x);
    atomic_fetch_add(&stop_count, 1);
    atomic_fetch_sub(&waiting_count, 1);
    timer_stop(worker_self(), &w->timer);
    assert_false(http_is_gone(x));
    if (strncmp(http_target(x), "/wait", 5) == 0)
        http_hang_up(x);
    else
        reply_text(x, 200, "stops");
}

/* Lets the timer end it. */
static void on_gone_later(struct http_exchange *x)
{
    atomic_fetch_add(&gone_count, 1);
    assert_true(http_is_gone(x));
}

static void job_run(struct job *j)
{
    (void)j;
    assert_null(worker_self());
}

static void job_done(struct job *j)
{
    struct waiting *w = (struct waiting *)((char *)j - offsetof(struct waiting, job));
    assert_ptr_equal(worker_self(), j->home);
    reply_text(w->x, 200, "pool");
}

static void wait_for(struct http_exchange *x, const char *how)
{
    struct waiting *w = calloc(1, sizeof *w);
    assert_non_null(w);
    w->x = x;
    http_set_data(x, w, free_waiting);
    http_drop_body(x);
    if (strncmp(how, "/pool", 5) == 0) {
        w->job = (struct job){ .run = job_run, .done = job_done };
        assert_true(pool_submit(pool, &w->job));
        http_wait(x, NULL);
        return;
    }
    atomic_fetch_add(&waiting_count, 1);
    timer_set(worker_self(), &w->timer, strtoul(strpbrk(how, "0123456789"), NULL, 10), on_later);
    http_wait(x, NULL); /* as a handler that first looks up a user */
    if (strncmp(how, "/wait", 5) == 0 || strncmp(how, "/until", 6) == 0)
        http_on_stop(x, on_stop);
    if (strncmp(how, "/wait", 5) == 0)
        http_wait(x, on_gone);
    else if (strncmp(how, "/slow", 5) == 0)
        http_wait(x, on_gone_later);
}

void serve(struct http_exchange *x, void *ctx)
{
    size_t len;
    const uint8_t *body = http_body(x, &len);
    const char *t = http_target(x), *echo = http_field(x, "x-echo");
    char big[20000], certificate[32];
    (void)ctx;
    atomic_fetch_add(&served_count, 1);
    assert_non_null(worker_self());
    if (strncmp(t, "/wait", 5) == 0 || strncmp(t, "/slow", 5) == 0 ||
        strncmp(t, "/until", 6) == 0 ||
        strncmp(t, "/short", 6) == 0 || strncmp(t, "/pool", 5) == 0) {
        wait_for(x, t);
    } else if (strcmp(t, "/empty") == 0) {
        http_reply(x, &(struct http_reply){ .status = 449, .retry_after = 7 });
    } else if (strcmp(t, "/big") == 0) {
        memset(big, 'a', sizeof big);
        http_reply(x, &(struct http_reply){ .status = 200, .body = big, .len = sizeof big });
    } else if (strcmp(t, "/huge") == 0) {
        char *huge = calloc(1, 16 << 20);
        http_reply(x, &(struct http_reply){ .status = 200, .body = huge, .len = 16 << 20 });
        free(huge);
    } else if (strcmp(t, "/forget") == 0) {
        return;
    } else if (strcmp(t, "/fields") == 0) {
        size_t der_len = 0;
        const unsigned char *der = http_certificate(x, &der_len);
        snprintf(certificate, sizeof certificate, "%zu %02x", der ? der_len : 0, der ? der[0] : 0);
        http_reply(x, &(struct http_reply){
                          .status = 200,
                          .fields = (struct http_field[]){ { "X-Peer", http_peer(x) },
                                                           { "X-Client", http_client(x) },
                                                           { "X-Secure", http_secure(x) ? "yes" : "no" },
                                                           { "X-Method", http_method(x) },
                                                           { "X-Tls", http_tls(x) ? "yes" : "no" },
                                                           { "X-Certificate", certificate },
                                                           { "X-Echo", echo ? echo : "-" },
                                                           { NULL, NULL } } });
    } else if (len) {
        http_reply(x, &(struct http_reply){ .status = 200, .body = body, .len = len });
    } else {
        reply_text(x, 200, t);
    }
}

static void head(struct http_exchange *x, void *ctx)
{
    (void)ctx;
    if (strcmp(http_target(x), "/no") == 0)
        reply_text(x, 401, "no");
}

/* ---- a client ---- */

static unsigned short port_of(unsigned listener)
{
    return (unsigned short)atoi(strrchr(http_address(server, listener), ':') + 1);
}

int connect_to(unsigned listener)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port_of(listener)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

struct talk begin_on(int fd)
{
    struct talk t = { .fd = fd, .buf = malloc(ANSWER_CAP) };
    assert_true(fd >= 0);
    t.buf[0] = '\0';
    return t;
}

struct talk begin(void)
{
    return begin_on(connect_to(PLAIN));
}

void end(struct talk *t)
{
    close(t->fd);
    free(t->buf);
}

void say_bytes(struct talk *t, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = send(t->fd, bytes, len, MSG_NOSIGNAL);
        if (n < 0)
            return; /* the answer tells */
        bytes += n;
        len -= (size_t)n;
    }
}

void say(struct talk *t, const char *text)
{
    say_bytes(t, text, strlen(text));
}

/* 1: something came; 0: closed; -1: nothing within ms. */
int hear(struct talk *t, int ms)
{
    struct pollfd p = { .fd = t->fd, .events = POLLIN };
    if (poll(&p, 1, ms) <= 0)
        return -1;
    ssize_t n = recv(t->fd, t->buf + t->len, ANSWER_CAP - 1 - t->len, 0);
    if (n <= 0)
        return 0;
    t->len += (size_t)n;
    t->buf[t->len] = '\0';
    return 1;
}

/* A whole answer at the start of the buffer: its length, or 0. */
static size_t answer_len(const struct talk *t)
{
    const char *body = strstr(t->buf, "\r\n\r\n"), *length;
    if (!body)
        return 0;
    length = strcasestr(t->buf, "\r\nContent-Length: ");
    if (!length || length > body) /* 100 Continue; every other answer has a length */
        return strncmp(t->buf, "HTTP/1.1 100", 12) == 0 ? (size_t)(body + 4 - t->buf) : 0;
    size_t all = (size_t)(body + 4 - t->buf) + strtoul(length + 18, NULL, 10);
    return t->len >= all ? all : 0;
}

/* Takes one answer; its text stays in `out` until the next. Returns the status, 0 if the connection
 * was closed before. */
unsigned answer(struct talk *t, const char **out)
{
    static char text[ANSWER_CAP];
    size_t len;
    int rc = 1;
    while ((len = answer_len(t)) == 0 && rc == 1)
        rc = hear(t, 10000);
    if (len == 0)
        return 0;
    memcpy(text, t->buf, len);
    text[len] = '\0';
    memmove(t->buf, t->buf + len, t->len - len + 1);
    t->len -= len;
    if (out)
        *out = text;
    return (unsigned)atoi(text + 9);
}

bool closes_within(struct talk *t, int ms)
{
    int rc;
    while ((rc = hear(t, ms)) == 1)
        continue;
    return rc == 0;
}

const char *body_of(const char *text)
{
    return strstr(text, "\r\n\r\n") + 4;
}

uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

void until(atomic_uint *count, unsigned want)
{
    for (unsigned i = 0; i < 1000 && atomic_load(count) != want; i++)
        usleep(10000);
    assert_int_equal(atomic_load(count), want);
}

/* A byte every 100 ms; returns the milliseconds until the server had enough. */
uint64_t drip(struct talk *t, const char *bytes)
{
    uint64_t from = now_ms();
    for (; *bytes; bytes++) {
        say_bytes(t, bytes, 1);
        int rc = hear(t, 100);
        if (rc == 0)
            break;
    }
    return now_ms() - from;
}

/* ---- start and end ---- */

void make_certificate(const char *name)
{
    char command[512];
    snprintf(command, sizeof command,
             "cd %s && certtool --generate-privkey --key-type=ecdsa --outfile key.pem 2>/dev/null "
             "&& "
             "printf 'cn=%s\\nexpiration_days=2\\n' >t && certtool --generate-self-signed "
             "--load-privkey "
             "key.pem --template t --outfile cert.pem 2>/dev/null && rm t",
             dir, name);
    assert_int_equal(system(command), 0);
}

const char *file_of(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

void make_pair(const char *name, const char *by, const char *templ)
{
    char command[1024], signer[256] = "--generate-self-signed";
    if (by)
        snprintf(signer, sizeof signer,
                 "--generate-certificate --load-ca-certificate %s.pem --load-ca-privkey %s-key.pem", by,
                 by);
    snprintf(command, sizeof command,
             "cd %s && certtool --generate-privkey --key-type=ecdsa --outfile %s-key.pem 2>/dev/null && "
             "printf '%s' >t && certtool %s --load-privkey %s-key.pem --template t --outfile %s.pem "
             "2>/dev/null && rm t",
             dir, name, templ, signer, name, name);
    assert_int_equal(system(command), 0);
}

void make_listens(struct http_listen listens[LISTENERS])
{
    static const char *const proxies[] = { "127.0.0.1", "unix", "10.0.0.0/8", NULL };
    struct http_handler h = { .head = head, .serve = serve, .body_max = BODY_MAX };
    const struct http_listen l[LISTENERS] = {
        { .address = "127.0.0.1:0", .head_ms = 1500, .body_ms = 1500, .idle_ms = 3000,
          .connections_max = 200, .handler = h, .proxies = proxies },
        { .address = socket_path, .proxies = proxies, .head_ms = 1500, .body_ms = 1500, .idle_ms = 3000,
          .connections_max = 2, .socket_mode = 0620, .handler = h },
        { .address = "127.0.0.1:0", .tls_certificate = cert_path, .tls_key = key_path,
          .client_ca = ca_path, .head_ms = 1500, .body_ms = 1500, .idle_ms = 3000,
          .connections_max = 200, .handler = h },
    };
    memcpy(listens, l, sizeof l);
}

bool change(const struct http_listen *listens, char *error, size_t error_cap)
{
    struct http_listen usual[LISTENERS];
    make_listens(usual);
    struct http_terms *t = http_terms_make(server, listens ? listens : usual, error, error_cap);
    if (t) http_terms_use(server, t);
    return t != NULL;
}

int start(void **state)
{
    char error[256];
    struct http_listen l[LISTENERS];
    (void)state;
    make_listens(l);
    pool = pool_create("test", 2, 100);
    server = http_start(l, LISTENERS, 2, error, sizeof error);
    if (!server)
        fprintf(stderr, "%s\n", error);
    return server ? 0 : -1;
}

int stop(void **state)
{
    (void)state;
    if (server)
        http_stop(server, 1000);
    server = NULL;
    pool_destroy(pool);
    return 0;
}

int make_files(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    snprintf(socket_path, sizeof socket_path, "%s/sock", dir);
    snprintf(cert_path, sizeof cert_path, "%s/cert.pem", dir);
    snprintf(key_path, sizeof key_path, "%s/key.pem", dir);
    snprintf(ca_path, sizeof ca_path, "%s/ca.pem", dir);
    make_certificate("first.example");
    make_pair("ca", NULL, "cn=CA\\nca\\ncert_signing_key\\nexpiration_days=9\\n");
    return 0;
}

int remove_files(void **state)
{
    char command[64];
    (void)state;
    snprintf(command, sizeof command, "rm -r %s", dir);
    return system(command);
}

/* The engine under many peers that do what they like: whatever they do, each exchange ends, and what they
 * are told is right. A seed tells all that a peer does. */
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "src/server/http/engine.h"
#include "tests/unit/http_streams.h"

#define PEERS 8
#define SECONDS 3

static uint64_t until_ms;
static atomic_uint answers, wrong;

static unsigned next(unsigned *seed, unsigned below)
{
    *seed = *seed * 1664525u + 1013904223u;
    return (*seed >> 8) % below;
}

static const size_t lengths[] = { 0, 1, 100, 4000, WHOLE - 1, WHOLE, WHOLE + 1, 2 * WHOLE, 300000 };

/* A request into out: its length, and how the answer to it begins. */
static size_t put_request(unsigned *seed, char *out, char want[128])
{
    size_t len = lengths[next(seed, 9)], n;
    char target[128];
    unsigned kind = next(seed, 4);
    if (kind == 0) {
        static const char *const more[] = { "", "&direct", "&at=30000&rest=20", "&cut=5000" };
        snprintf(target, sizeof target, "/%s?%zu%s", next(seed, 2) ? "down" : "chunks", len,
                 more[next(seed, 4)]);
        snprintf(want, 128, "HTTP/1.1 200");
        return (size_t)sprintf(out, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", target);
    }
    static const char *const hows[] = { "", "?hold=30", "?early", "?after=80000", "?rest=30" };
    const char *how = hows[next(seed, 5)];
    bool early = strcmp(how, "?early") == 0, after = strcmp(how, "?after=80000") == 0;
    snprintf(want, 128, "HTTP/1.1 %u", early ? 403 : after && len >= 80000 ? 500 : 200);
    if (kind == 1) {
        n = (size_t)sprintf(out, "POST /up%s HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
                            how);
        for (size_t at = 0; at < len;) {
            size_t chunk = 1 + next(seed, 70000);
            if (chunk > len - at)
                chunk = len - at;
            n += (size_t)sprintf(out + n, "%zx\r\n", chunk);
            fill(out + n, chunk, at);
            n += chunk;
            at += chunk;
            n += (size_t)sprintf(out + n, "\r\n");
        }
        return n + (size_t)sprintf(out + n, "0\r\n\r\n");
    }
    n = (size_t)sprintf(out, "POST /up%s HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n", how, len);
    fill(out + n, len, 0);
    return n + len;
}

/* Sends and reads at random, perhaps not to the end. The bytes that came. */
static size_t converse(unsigned *seed, int fd, const char *out, size_t len, char *in, size_t cap)
{
    size_t sent = 0, got = 0;
    size_t give_up = next(seed, 3) == 0 ? next(seed, (unsigned)len + 1) : SIZE_MAX;
    bool slow = next(seed, 4) == 0;
    for (unsigned rests = 0; got < cap - 1 && rests < 4;) {
        struct pollfd p = { .fd = fd, .events = (short)(POLLIN | (sent < len ? POLLOUT : 0)) };
        if (sent >= give_up)
            break;
        if (poll(&p, 1, 25) == 0) {
            rests++;
            continue;
        }
        if (p.revents & POLLOUT) {
            size_t piece = 1 + next(seed, 60000);
            ssize_t n = send(fd, out + sent, piece < len - sent ? piece : len - sent,
                             MSG_NOSIGNAL | MSG_DONTWAIT);
            sent += n > 0 ? (size_t)n : 0;
            if (n < 0)
                break;
        }
        if (p.revents & (POLLIN | POLLHUP)) {
            ssize_t n = recv(fd, in + got, cap - 1 - got, MSG_DONTWAIT);
            if (n <= 0)
                break;
            got += (size_t)n;
        }
        if (slow)
            usleep(next(seed, 3000));
    }
    in[got] = '\0';
    return got;
}

static void *peer(void *arg)
{
    unsigned seed = *(unsigned *)arg;
    size_t cap = 2 << 20;
    char *out = malloc(cap), *in = malloc(cap), want[128], other[128];
    while (now_ms() < until_ms) {
        int fd = connect_to(PLAIN);
        size_t len = put_request(&seed, out, want);
        for (unsigned more = next(&seed, 3); more > 0; more--)
            len += put_request(&seed, out + len, other);
        size_t got = converse(&seed, fd, out, len, in, cap);
        if (got >= strlen(want)) {
            atomic_fetch_add(&answers, 1);
            if (strncmp(in, want, strlen(want)) != 0) {
                print_message("%.20s, not %s, to %.70s\n", in, want, out);
                atomic_fetch_add(&wrong, 1);
            }
        }
        struct linger reset = { .l_onoff = 1 };
        if (next(&seed, 2))
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        close(fd);
    }
    free(out);
    free(in);
    return NULL;
}

static void test_storm(void **state)
{
    (void)state;
    pthread_t threads[PEERS];
    unsigned seeds[PEERS];
    const char *seed = getenv("SEED"), *seconds = getenv("SECONDS");
    until_ms = now_ms() + (seconds ? strtoul(seconds, NULL, 10) : SECONDS) * 1000;
    for (unsigned i = 0; i < PEERS; i++) {
        seeds[i] = (seed ? (unsigned)strtoul(seed, NULL, 10) : 1) + i * 7919;
        assert_int_equal(pthread_create(&threads[i], NULL, peer, &seeds[i]), 0);
    }
    for (unsigned i = 0; i < PEERS; i++) pthread_join(threads[i], NULL);
    until(&seen.under_way, 0);
    assert_int_equal(atomic_load(&seen.freed), atomic_load(&seen.served));
    assert_true(atomic_load(&answers) > 10);
    assert_int_equal(atomic_load(&wrong), 0);
    assert_true(atomic_load(&seen.most) <= WHOLE + HTTP_WINDOW);
    until(&server->endpoints[PLAIN].connections, 0);
    print_message("%u served, %u gone, %u right\n", atomic_load(&seen.served), atomic_load(&seen.gone),
                  atomic_load(&answers));
    struct talk t = begin();
    say(&t, GET("/up"));
    assert_int_equal(answer(&t, NULL), 200);
    end(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_storm, start_streams, stop),
    };
    return cmocka_run_group_tests(tests, make_files, remove_files);
}

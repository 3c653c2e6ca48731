/* Lines go into a ring in memory under a lock that is held for a copy only; one thread writes them
 * out. So a slow reader of standard error costs lines (counted, and told by a log-lost line), never
 * time of a worker. */
#include "src/server/observe/log.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define RING_SIZE ((size_t)256 * 1024)
#define LINE_MAX_BYTES 2048 /* a longer line is cut */
#define VALUE_MAX_BYTES 200 /* of a peer's text */
#define ERROR_WAIT_MS 200   /* an error is seen before the server goes on, if its reader is quick */

static atomic_int level_most = -1; /* nothing is logged before log_open */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t filled, drained;
    pthread_t writer;
    bool open, closing;
    size_t head, used; /* head: next byte to write out */
    uint64_t lost;
    char bytes[RING_SIZE];
} ring = {.lock = PTHREAD_MUTEX_INITIALIZER,
          .filled = PTHREAD_COND_INITIALIZER,
          .drained = PTHREAD_COND_INITIALIZER};

struct line {
    size_t len;
    char text[LINE_MAX_BYTES];
};

static void put(struct line *l, const char *text, size_t len)
{
    size_t room = sizeof l->text - 1 - l->len; /* one byte stays for the line's end */
    if (len > room) len = room;
    memcpy(l->text + l->len, text, len);
    l->len += len;
}

static void put_text(struct line *l, const char *text)
{
    put(l, text, strlen(text));
}

/* printf's slowness shows at tens of thousands of lines a second. */
static void put_number(struct line *l, uint64_t n, unsigned base)
{
    char digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = "0123456789abcdef"[n % base];
        n /= base;
    } while (n);
    put(l, digits + at, sizeof digits - at);
}

static void put_padded(struct line *l, unsigned n, unsigned width)
{
    char digits[4];
    for (unsigned i = width; i-- > 0; n /= 10) digits[i] = (char)('0' + n % 10);
    put(l, digits, width);
}

static void put_time(struct line *l)
{
    struct timespec now;
    struct tm t;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &t);
    put_padded(l, (unsigned)t.tm_year + 1900, 4);
    put(l, "-", 1);
    put_padded(l, (unsigned)t.tm_mon + 1, 2);
    put(l, "-", 1);
    put_padded(l, (unsigned)t.tm_mday, 2);
    put(l, "T", 1);
    put_padded(l, (unsigned)t.tm_hour, 2);
    put(l, ":", 1);
    put_padded(l, (unsigned)t.tm_min, 2);
    put(l, ":", 1);
    put_padded(l, (unsigned)t.tm_sec, 2);
    put(l, ".", 1);
    put_padded(l, (unsigned)(now.tv_nsec / 1000000), 3);
    put(l, "Z", 1);
}

static bool plain(unsigned char c)
{
    return c > 0x20 && c < 0x7f && c != '"' && c != '\\' && c != '=';
}

static void put_value(struct line *l, const char *text)
{
    size_t len = strnlen(text, VALUE_MAX_BYTES + 1), n = len;
    bool cut = len > VALUE_MAX_BYTES, quote = len == 0 || cut;
    if (cut) n = VALUE_MAX_BYTES;
    for (size_t i = 0; i < n && !quote; i++) quote = !plain((unsigned char)text[i]);
    if (!quote) {
        put(l, text, n);
        return;
    }
    put(l, "\"", 1);
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '"' || c == '\\') {
            put(l, (char[]){'\\', (char)c}, 2);
        } else if (c >= 0x20 && c < 0x7f) {
            put(l, text + i, 1);
        } else {
            put(l, "\\x", 2);
            put(l, &"0123456789abcdef"[c >> 4], 1);
            put(l, &"0123456789abcdef"[c & 15], 1);
        }
    }
    if (cut) put(l, "...", 3);
    put(l, "\"", 1);
}

static void put_field(struct line *l, const struct kv *f)
{
    put(l, " ", 1);
    put_text(l, f->key);
    put(l, "=", 1);
    if (f->kind == KV_TEXT) {
        if (f->v.text)
            put_value(l, f->v.text);
        else
            put(l, "-", 1);
    } else if (f->kind == KV_INT && f->v.i < 0) {
        put(l, "-", 1);
        put_number(l, -(uint64_t)f->v.i, 10);
    } else {
        put_number(l, f->v.u, 10);
    }
}

static void compose(struct line *l, enum log_level level, uint64_t session, const char *verb,
                    const struct kv *fields)
{
    static const char *const names[] = {" error ", " warn ", " info ", " debug "};
    l->len = 0;
    put_time(l);
    put_text(l, names[level]);
    if (session) {
        put(l, "s=", 2);
        put_number(l, session, 16);
        put(l, " ", 1);
    }
    put_text(l, verb);
    for (; fields && fields->kind != KV_END; fields++) put_field(l, fields);
    l->text[l->len++] = '\n';
}

/* With the lock held. */
static bool ring_put(const struct line *l)
{
    if (l->len > RING_SIZE - ring.used) return false;
    size_t tail = (ring.head + ring.used) % RING_SIZE;
    size_t first = RING_SIZE - tail < l->len ? RING_SIZE - tail : l->len;
    memcpy(ring.bytes + tail, l->text, first);
    memcpy(ring.bytes, l->text + first, l->len - first);
    if (ring.used == 0) pthread_cond_signal(&ring.filled);
    ring.used += l->len;
    return true;
}

/* With the lock held. */
static void ring_tell_lost(void)
{
    struct line l;
    if (!ring.lost) return;
    compose(&l, LOG_WARN, 0, "log-lost",
            (const struct kv[]){KV_UINT("n", ring.lost), {.kind = KV_END}});
    if (ring_put(&l)) ring.lost = 0;
}

static void write_out(const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = write(STDERR_FILENO, bytes, len);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return; /* nobody to tell */
        bytes += n;
        len -= (size_t)n;
    }
}

static void *writer(void *arg)
{
    (void)arg;
    pthread_setname_np(pthread_self(), "log");
    pthread_mutex_lock(&ring.lock);
    for (;;) {
        while (ring.used == 0 && !ring.closing) pthread_cond_wait(&ring.filled, &ring.lock);
        if (ring.used == 0) break;
        size_t head = ring.head, n = RING_SIZE - head < ring.used ? RING_SIZE - head : ring.used;
        /* The bytes stay taken until they are written, so nobody touches them meanwhile. */
        pthread_mutex_unlock(&ring.lock);
        write_out(ring.bytes + head, n);
        pthread_mutex_lock(&ring.lock);
        ring.head = (head + n) % RING_SIZE;
        ring.used -= n;
        ring_tell_lost();
        if (ring.used == 0) pthread_cond_broadcast(&ring.drained);
    }
    pthread_mutex_unlock(&ring.lock);
    return NULL;
}

void log_set_level(enum log_level most)
{
    atomic_store(&level_most, (int)most);
}

void log_open(enum log_level most)
{
    pthread_mutex_lock(&ring.lock);
    if (!ring.open) {
        ring.closing = false;
        ring.open = pthread_create(&ring.writer, NULL, writer, NULL) == 0;
    }
    pthread_mutex_unlock(&ring.lock);
    atomic_store(&level_most, (int)most);
}

_Bool log_on(enum log_level level)
{
    return (int)level <= atomic_load_explicit(&level_most, memory_order_relaxed);
}

static void wait_drained(const struct timespec *until)
{
    int rc = 0;
    while (ring.used > 0 && rc == 0)
        rc = until ? pthread_cond_timedwait(&ring.drained, &ring.lock, until)
                   : pthread_cond_wait(&ring.drained, &ring.lock);
}

void log_write(enum log_level level, uint64_t session, const char *verb, const struct kv *fields)
{
    struct line l;
    compose(&l, level, session, verb, fields);
    pthread_mutex_lock(&ring.lock);
    if (!ring.open) { /* no thread to write it: start failed, or too early or late */
        write_out(l.text, l.len);
    } else {
        ring_tell_lost();
        if (ring.lost || !ring_put(&l)) ring.lost++;
    }
    if (level == LOG_ERROR && ring.open) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += ERROR_WAIT_MS * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000L;
        until.tv_nsec %= 1000000000L;
        wait_drained(&until);
    }
    pthread_mutex_unlock(&ring.lock);
}

void log_flush(void)
{
    pthread_mutex_lock(&ring.lock);
    if (ring.open) wait_drained(NULL);
    pthread_mutex_unlock(&ring.lock);
}

void log_close(void)
{
    pthread_mutex_lock(&ring.lock);
    bool open = ring.open;
    ring.closing = true;
    pthread_cond_signal(&ring.filled);
    pthread_mutex_unlock(&ring.lock);
    if (open) pthread_join(ring.writer, NULL);
    pthread_mutex_lock(&ring.lock);
    ring.open = false;
    pthread_mutex_unlock(&ring.lock);
    atomic_store(&level_most, -1);
}

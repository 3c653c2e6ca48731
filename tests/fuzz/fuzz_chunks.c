/* Chunks. Laws: however the bytes come, the same data and the same end are read; and a body that was read
 * can be sent again in chunks of any size. */
#include <string.h>

#include "src/server/upstream/chunks.h"
#include "tests/fuzz/fuzz.h"

#define MOST 65536

struct result {
    uint8_t data[MOST];
    size_t len, used;
    enum chunk_step end;
};

/* In parts of at most so many bytes, of which at most so many are taken at a time. */
static void decode(const uint8_t *in, size_t len, size_t part, size_t most, struct result *r)
{
    struct chunks c = {0};
    size_t used, data;
    *r = (struct result){.end = CHUNK_MORE};
    while (r->used < len || c.state) {
        size_t n = len - r->used < part ? len - r->used : part;
        r->end = chunks_step(&c, in + r->used, n, &used, &data);
        LAW(used <= n && data <= n - used);
        r->used += used;
        if (r->end == CHUNK_END || r->end == CHUNK_BAD) return;
        if (r->end == CHUNK_MORE && r->used == len) return;
        if (data > most) data = most;
        if (data > 0) {
            memcpy(r->data + r->len, in + r->used, data);
            r->len += data;
            r->used += data;
            chunks_taken(&c, data);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size)
{
    static struct result whole, parts, again;
    static uint8_t said[8 * MOST];
    size_t len = 0;
    if (size > MOST) return 0;
    decode(in, size, size, size, &whole);
    decode(in, size, 1, 1, &parts);
    LAW(parts.end == whole.end && parts.len == whole.len);
    LAW(memcmp(parts.data, whole.data, whole.len) == 0);
    LAW(whole.end == CHUNK_BAD || parts.used == whole.used);
    decode(in, size, 7, 3, &parts);
    LAW(parts.end == whole.end && parts.len == whole.len);
    if (whole.end != CHUNK_END) return 0;
    for (size_t at = 0; at < whole.len;) {
        size_t n = whole.len - at < 5 ? whole.len - at : 5;
        len += (size_t)snprintf((char *)said + len, 8, "%zx\r\n", n);
        memcpy(said + len, whole.data + at, n);
        memcpy(said + len + n, "\r\n", 2);
        len += n + 2;
        at += n;
    }
    memcpy(said + len, "0\r\n\r\n", 5);
    decode(said, len + 5, len + 5, len + 5, &again);
    LAW(again.end == CHUNK_END && again.used == len + 5 && again.len == whole.len);
    LAW(memcmp(again.data, whole.data, whole.len) == 0);
    return 0;
}

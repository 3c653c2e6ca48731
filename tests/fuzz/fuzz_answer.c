/* Heads of answers. Laws: however the lines come about, the same is read; one that is taken says once
 * how long the body is; and what was read of it, said again, is read the same. */
#include <string.h>

#include "src/server/upstream/answer_head.h"
#include "tests/fuzz/fuzz.h"

static enum answer_line feed(struct answer_head *h, const char *text, size_t len, size_t *used_out)
{
    enum answer_line what = ANSWER_MORE;
    const char *why;
    *used_out = 0;
    while (what == ANSWER_MORE && *used_out < len) {
        const char *line = text + *used_out, *end = memchr(line, '\n', len - *used_out);
        if (!end) break;
        what = answer_head_line(h, line, (size_t)(end + 1 - line), &why);
        *used_out += (size_t)(end + 1 - line);
    }
    return what;
}

struct said {
    char text[4 * ANSWER_HEAD_MAX];
    size_t len;
};

static void say(void *ctx, const char *name, const char *value)
{
    struct said *s = ctx;
    s->len +=
        (size_t)snprintf(s->text + s->len, sizeof s->text - s->len, "%s: %s\r\n", name, value);
    LAW(s->len < sizeof s->text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct said first, second;
    struct answer_head h = {0}, again = {0};
    size_t used, used_again;
    answer_head_reset(&h);
    enum answer_line what = feed(&h, (const char *)data, size, &used);
    LAW(h.bytes <= size && h.fields <= ANSWER_FIELDS_MAX + 1);
    LAW((what == ANSWER_DONE) == h.done);
    if (what == ANSWER_DONE) {
        LAW(h.status >= 200 && h.status <= 999);
        LAW(!(h.chunked && h.length != UINT64_MAX));
        LAW(!h.chunked || h.http_1_1);
        first.len = second.len = 0;
        first.len = (size_t)snprintf(first.text, sizeof first.text, "HTTP/1.1 %u x\r\n", h.status);
        answer_head_each(&h, say, &first);
        first.len +=
            (size_t)snprintf(first.text + first.len, sizeof first.text - first.len, "\r\n");
        answer_head_reset(&again);
        LAW(feed(&again, first.text, first.len, &used_again) == ANSWER_DONE);
        LAW(used_again == first.len && again.status == h.status);
        second.len =
            (size_t)snprintf(second.text, sizeof second.text, "HTTP/1.1 %u x\r\n", h.status);
        answer_head_each(&again, say, &second);
        LAW(second.len + 2 == first.len && memcmp(first.text, second.text, second.len) == 0);
    }
    answer_head_free(&h);
    answer_head_free(&again);
    return 0;
}

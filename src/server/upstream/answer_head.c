#include "src/server/upstream/answer_head.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "src/lib/base/text.h"
#include "src/server/upstream/fields.h"

#define TEXT_FIRST 1024

static const char too_long[] = "its head is too long";

/* Room for so much more text. */
static bool reserve(struct answer_head *h, size_t more)
{
    size_t cap = h->cap ? h->cap : TEXT_FIRST;
    if (h->cap - h->len >= more) return true;
    while (cap - h->len < more) cap *= 2;
    char *grown = realloc(h->text, cap);
    if (!grown) return false;
    h->text = grown;
    h->cap = cap;
    return true;
}

static void add(struct answer_head *h, const char *bytes, size_t len)
{
    memcpy(h->text + h->len, bytes, len);
    h->text[h->len + len] = '\0';
    h->len += len + 1;
}

/* RFC 9112 4: HTTP/1.x, a blank, three digits, a blank and a phrase, or nothing. */
static enum answer_line status_line(struct answer_head *h, const char *line, size_t len,
                                    const char **why_out)
{
    uint64_t status;
    *why_out = "its first line is not that of HTTP/1";
    if (len < 12 || memcmp(line, "HTTP/1.", 7) != 0 || (line[7] != '0' && line[7] != '1') ||
        line[8] != ' ' || (len > 12 && line[12] != ' ') ||
        !pv__parse_u64(line + 9, 3, 999, false, &status) || status < 100)
        return ANSWER_BAD;
    *why_out = "it changes the protocol";
    if (status == 101) return ANSWER_BAD;
    h->status = (unsigned)status;
    h->http_1_1 = line[7] == '1';
    h->length = UINT64_MAX;
    h->chunked = false;
    h->len = 0;
    return ANSWER_MORE;
}

/* What says where the body ends may be said once, in one way. */
static const char *framing(struct answer_head *h, const char *name, size_t name_len,
                           const char *value, size_t len)
{
    if (pv__equal_nocase(name, name_len, "Content-Length", 14)) {
        if (h->length != UINT64_MAX) return "it has two lengths";
        if (!pv__parse_u64(value, len, INT64_MAX, true, &h->length))
            return "its length is no number";
    } else if (pv__equal_nocase(name, name_len, "Transfer-Encoding", 17)) {
        if (h->chunked || !h->http_1_1 || !pv__equal_nocase(value, len, "chunked", 7))
            return "its transfer coding is not known";
        h->chunked = true;
    }
    return h->chunked && h->length != UINT64_MAX ? "it has a length and chunks" : NULL;
}

static enum answer_line field_line(struct answer_head *h, const char *line, size_t len,
                                   const char **why_out)
{
    const char *colon = memchr(line, ':', len);
    size_t name_len = colon ? (size_t)(colon - line) : 0;
    *why_out = "a line of its head is no field";
    if (!field_name_fits(line, name_len)) return ANSWER_BAD;
    const char *value = colon + 1;
    size_t value_len = len - name_len - 1;
    while (value_len && (*value == ' ' || *value == '\t')) value++, value_len--;
    while (value_len && (value[value_len - 1] == ' ' || value[value_len - 1] == '\t')) value_len--;
    *why_out = "a field of its head has a control character";
    if (!field_value_fits(value, value_len)) return ANSWER_BAD;
    *why_out = framing(h, line, name_len, value, value_len);
    if (*why_out) return ANSWER_BAD;
    if (!reserve(h, name_len + value_len + 2)) return ANSWER_NO_MEMORY;
    add(h, line, name_len);
    add(h, value, value_len);
    return ANSWER_MORE;
}

enum answer_line answer_head_line(struct answer_head *h, const char *line, size_t len,
                                  const char **why_out)
{
    *why_out = too_long;
    h->bytes += len;
    if (h->bytes > ANSWER_HEAD_MAX) return ANSWER_BAD;
    if (len && line[len - 1] == '\n') len--;
    if (len && line[len - 1] == '\r') len--;
    if (!h->status) return status_line(h, line, len, why_out);
    if (len > 0)
        return ++h->fields > ANSWER_FIELDS_MAX ? ANSWER_BAD : field_line(h, line, len, why_out);
    if (h->status >= 200) {
        h->done = true;
        return ANSWER_DONE;
    }
    h->status = 0; /* an interim answer has ended */
    return ANSWER_MORE;
}

/* ---- what is asked ---- */

/* The field after one, or the first after NULL; NULL at the end. */
static const char *next_name(const struct answer_head *h, const char *name)
{
    if (name) name += strlen(name) + 1;
    const char *next = name ? name + strlen(name) + 1 : h->text;
    return next && next < h->text + h->len ? next : NULL;
}

static const char *value_of(const char *name)
{
    return name + strlen(name) + 1;
}

const char *answer_head_field(const struct answer_head *h, const char *name)
{
    for (const char *n = next_name(h, NULL); n; n = next_name(h, n))
        if (strcasecmp(n, name) == 0) return value_of(n);
    return NULL;
}

/* Does a field Connection name it? */
static bool is_named(const struct answer_head *h, const char *name)
{
    for (const char *n = next_name(h, NULL); n; n = next_name(h, n))
        if (strcasecmp(n, "Connection") == 0 && field_list_has(value_of(n), name)) return true;
    return false;
}

void answer_head_each(const struct answer_head *h,
                      void (*each)(void *ctx, const char *name, const char *value), void *ctx)
{
    bool named = answer_head_field(h, "Connection") != NULL;
    for (const char *n = next_name(h, NULL); n; n = next_name(h, n))
        if (!field_is_hop(n) && !(named && is_named(h, n))) each(ctx, n, value_of(n));
}

void answer_head_reset(struct answer_head *h)
{
    char *text = h->text;
    size_t cap = h->cap;
    *h = (struct answer_head){.text = text, .cap = cap, .length = UINT64_MAX};
}

void answer_head_free(struct answer_head *h)
{
    free(h->text);
    *h = (struct answer_head){0};
}

#include "src/server/imap/reader.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "src/lib/base/text.h"

#define ROOM_LEAST 1024 /* asked for at a time */
#define REST_MOST 4096  /* a larger buffer is not kept for an empty reader: thousands may wait */

char *imap_reader_room(struct imap_reader *r, size_t *room_out)
{
    if (r->len == 0 && r->cap > REST_MOST) imap_reader_finish(r);
    if (r->from > 0 && r->len > 0) memmove(r->buf, r->buf + r->from, r->len);
    r->from = 0;
    if (r->cap - r->len < ROOM_LEAST) {
        size_t cap = r->cap ? 2 * r->cap : 2 * ROOM_LEAST;
        char *buf = realloc(r->buf, cap);
        if (!buf) return NULL;
        r->buf = buf;
        r->cap = cap;
    }
    *room_out = r->cap - r->len;
    return r->buf + r->len;
}

void imap_reader_filled(struct imap_reader *r, size_t len)
{
    r->len += len;
}

void imap_reader_finish(struct imap_reader *r)
{
    free(r->buf);
    *r = (struct imap_reader){0};
}

/* In the text of a condition nothing is announced, whatever it looks like. */
static bool is_condition(const char *text, size_t len)
{
    static const char *const words[] = {"OK", "NO", "BAD", "BYE", "PREAUTH"};
    const char *blank = memchr(text, ' ', len);
    if (len > 0 && text[0] == '+') return true;
    if (!blank) return false;
    const char *word = blank + 1;
    size_t left = len - (size_t)(word - text), word_len = 0;
    while (word_len < left && pv__is_alnum((unsigned char)word[word_len])) word_len++;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (pv__equal_nocase(word, word_len, words[i], strlen(words[i]))) return true;
    }
    return false;
}

/* Quoted strings do not reach over the end of a line. */
static bool ends_in_quotes(const char *line, size_t len)
{
    bool quoted = false;
    for (size_t i = 0; i < len; i++) {
        if (quoted && line[i] == '\\')
            i++;
        else if (line[i] == '"')
            quoted = !quoted;
    }
    return quoted;
}

bool imap_announces_literal(const char *line, size_t len, size_t *size_out)
{
    uint64_t size;
    if (len < 3 || line[len - 1] != '}') return false;
    size_t end = len - 1, begin;
    if (line[end - 1] == '+') end--;
    for (begin = end; begin > 0 && pv__is_digit((unsigned char)line[begin - 1]); begin--) {
    }
    if (begin == 0 || line[begin - 1] != '{') return false;
    /* One that is too long for any number is as good as the longest. */
    if (!pv__parse_u64(line + begin, end - begin, IMAP_RESPONSE_MAX, true, &size)) {
        if (begin == end) return false;
        size = IMAP_RESPONSE_MAX + 1;
    }
    if (ends_in_quotes(line, begin - 1)) return false;
    *size_out = (size_t)size;
    return true;
}

enum imap_cut imap_reader_next(struct imap_reader *r, const char **at_out, size_t *len_out)
{
    for (;;) {
        const char *text = r->buf ? r->buf + r->from : "";
        if (r->seen > IMAP_RESPONSE_MAX) return IMAP_CUT_BROKEN;
        if (r->seen > r->len) return IMAP_CUT_MORE; /* inside a literal */
        const char *end = r->len > r->seen ? memchr(text + r->seen, '\n', r->len - r->seen) : NULL;
        if (!end) {
            r->seen = r->len;
            return r->len > IMAP_RESPONSE_MAX ? IMAP_CUT_BROKEN : IMAP_CUT_MORE;
        }
        size_t stop = (size_t)(end - text), size;
        size_t len = stop > r->line && text[stop - 1] == '\r' ? stop - 1 : stop;
        if (len > IMAP_RESPONSE_MAX) return IMAP_CUT_BROKEN;
        bool plain = r->line == 0 && is_condition(text, len);
        if (!plain && imap_announces_literal(text + r->line, len - r->line, &size)) {
            r->line = r->seen = stop + 1 + size;
            continue;
        }
        *at_out = text;
        *len_out = len;
        r->from += stop + 1;
        r->len -= stop + 1;
        r->seen = r->line = 0;
        return IMAP_CUT_RESPONSE;
    }
}

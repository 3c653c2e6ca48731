#include "src/cli/text.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "src/lib/base/text.h"

static const char unprintable[] = "\xef\xbf\xbd";

/* Control characters, and those that hide or turn what stands around them. */
static int is_unsafe(uint32_t code)
{
    return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0x061c ||
           (code >= 0x200b && code <= 0x200f) || (code >= 0x2028 && code <= 0x202e) ||
           (code >= 0x2060 && code <= 0x206f) || code == 0xfeff;
}

/* The first character of a text that is not empty, as it may be shown: *out_len bytes at *out.
 * @return its bytes in text */
static size_t next_clean(const char *text, size_t len, const char **out, size_t *out_len)
{
    uint32_t code = 0;
    size_t step = pv__utf8_next((const uint8_t *)text, len, &code);
    bool good = step != 0 && !is_unsafe(code);
    *out = good ? text : unprintable;
    *out_len = good ? step : sizeof unprintable - 1;
    return step ? step : 1;
}

char *text_clean(const char *text, size_t len)
{
    char *copy = malloc(3 * len + 1); /* a byte becomes three at most */
    const char *piece;
    size_t n = 0, piece_len;
    if (copy == NULL) return NULL;
    for (size_t i = 0; i < len; n += piece_len) {
        i += next_clean(text + i, len - i, &piece, &piece_len);
        memcpy(copy + n, piece, piece_len);
    }
    copy[n] = '\0';
    return copy;
}

json_t *text_json(const char *text)
{
    if (text == NULL) return json_null();
    char *clean = text_clean(text, strlen(text));
    json_t *json = clean ? json_string(clean) : NULL;
    free(clean);
    return json;
}

void text_print_len(FILE *to, const char *text, size_t len)
{
    const char *piece;
    size_t piece_len;
    for (size_t i = 0; i < len;) {
        i += next_clean(text + i, len - i, &piece, &piece_len);
        fwrite(piece, 1, piece_len, to);
    }
}

void text_print(FILE *to, const char *text)
{
    text_print_len(to, text, strlen(text));
}

void table_begin(struct table *t, unsigned columns, const char *const *titles)
{
    *t = (struct table){.columns = columns};
    for (unsigned i = 0; i < columns; i++) table_cell(t, titles[i]);
}

void table_cell(struct table *t, const char *text)
{
    if (text == NULL) text = "-";
    if (t->count == t->room) {
        size_t room = t->room ? 2 * t->room : 64;
        char **cells = reallocarray(t->cells, room, sizeof *cells);
        if (cells == NULL) {
            t->failed = 1;
            return;
        }
        t->cells = cells;
        t->room = room;
    }
    char *clean = text_clean(text, strlen(text));
    if (clean == NULL)
        t->failed = 1;
    else
        t->cells[t->count++] = clean;
}

void table_cell_int(struct table *t, long long n)
{
    char text[24];
    snprintf(text, sizeof text, "%lld", n);
    table_cell(t, text);
}

static size_t width_of(const char *text)
{
    size_t n = 0;
    for (; *text; text++) n += (*text & 0xc0) != 0x80;
    return n;
}

void table_flush(struct table *t, FILE *to, unsigned indent)
{
    for (size_t i = 0; i < t->count; i++) {
        size_t w = width_of(t->cells[i]);
        if (w > t->width[i % t->columns]) t->width[i % t->columns] = w;
    }
    for (size_t i = 0; i < t->count; i++) {
        unsigned column = (unsigned)(i % t->columns);
        bool last = column + 1 == t->columns;
        size_t pad = last ? 0 : t->width[column] + 2 - width_of(t->cells[i]);
        if (!t->failed)
            fprintf(to, "%*s%s%*s%s", column ? 0 : (int)indent, "", t->cells[i], (int)pad, "",
                    last ? "\n" : "");
        free(t->cells[i]);
    }
    t->count = 0;
}

int table_end(struct table *t, FILE *to, unsigned indent)
{
    table_flush(t, to, indent);
    free(t->cells);
    return t->failed ? -1 : 0;
}

void table_drop(struct table *t)
{
    for (size_t i = 0; i < t->count; i++) free(t->cells[i]);
    free(t->cells);
}

int json_print(const json_t *json)
{
    if (json_dumpf(json, stdout, JSON_INDENT(2)) != 0) return -1;
    putchar('\n');
    return 0;
}

#include "src/server/imap/response.h"

#include <string.h>

#include "src/lib/base/text.h"
#include "src/server/imap/reader.h"

bool imap_span_is(struct imap_span s, const char *word)
{
    return pv__equal_nocase(s.at, s.len, word, strlen(word));
}

/* ---- items ---- */

struct imap_cursor imap_cursor(const char *text, size_t len)
{
    return (struct imap_cursor){.at = text, .end = text + len};
}

static size_t left(const struct imap_cursor *c)
{
    return (size_t)(c->end - c->at);
}

/* Wider than the grammar: flags with their backslash, names that a server should have quoted. */
static bool is_atom_char(unsigned char c)
{
    return c > ' ' && c != 0x7f && c != '(' && c != ')' && c != '"' && c != '{';
}

static struct imap_item bad(struct imap_cursor *c)
{
    c->items = IMAP_ITEMS_MAX;
    return (struct imap_item){.kind = IMAP_BAD};
}

static struct imap_item take_quoted(struct imap_cursor *c)
{
    size_t len = 1;
    while (len < left(c) && c->at[len] != '"') {
        if (c->at[len] == '\r' || c->at[len] == '\n') return bad(c);
        len += c->at[len] == '\\' ? 2 : 1;
    }
    if (len >= left(c)) return bad(c);
    struct imap_item item = {IMAP_QUOTED, {c->at + 1, len - 1}};
    c->at += len + 1;
    return item;
}

static struct imap_item take_literal(struct imap_cursor *c)
{
    const char *end = memchr(c->at, '\n', left(c));
    size_t size;
    if (!end) return bad(c);
    size_t len = (size_t)(end - c->at);
    if (len > 0 && end[-1] == '\r') len--;
    if (!imap_announces_literal(c->at, len, &size)) return bad(c);
    if (size > (size_t)(c->end - end) - 1) return bad(c);
    c->at = end + 1 + size;
    return (struct imap_item){IMAP_LITERAL, {end + 1, size}};
}

struct imap_item imap_next(struct imap_cursor *c)
{
    if (c->items >= IMAP_ITEMS_MAX) return (struct imap_item){.kind = IMAP_BAD};
    c->items++;
    while (left(c) > 0 && *c->at == ' ') c->at++;
    if (left(c) == 0) {
        if (c->depth > 0) return bad(c);
        c->items--;
        return (struct imap_item){.kind = IMAP_END};
    }
    switch (*c->at) {
    case '(':
        if (c->depth == IMAP_DEPTH_MAX) return bad(c);
        c->depth++;
        c->at++;
        return (struct imap_item){.kind = IMAP_OPEN};
    case ')':
        if (c->depth == 0) return bad(c);
        c->depth--;
        c->at++;
        return (struct imap_item){.kind = IMAP_CLOSE};
    case '"': return take_quoted(c);
    case '{': return take_literal(c);
    case '~':
        if (left(c) > 1 && c->at[1] == '{') {
            c->at++;
            return take_literal(c);
        }
        break;
    }
    size_t len = 0;
    while (len < left(c) && is_atom_char((unsigned char)c->at[len])) len++;
    if (len == 0) return bad(c);
    struct imap_item item = {IMAP_ATOM, {c->at, len}};
    c->at += len;
    return item;
}

/* Until so many lists are open again. */
static bool climb(struct imap_cursor *c, unsigned depth)
{
    while (c->depth > depth) {
        enum imap_item_kind kind = imap_next(c).kind;
        if (kind == IMAP_BAD || kind == IMAP_END) return false;
    }
    return true;
}

bool imap_leave(struct imap_cursor *c)
{
    return c->depth > 0 && climb(c, c->depth - 1);
}

bool imap_skip(struct imap_cursor *c)
{
    switch (imap_next(c).kind) {
    case IMAP_ATOM:
    case IMAP_QUOTED:
    case IMAP_LITERAL: return true;
    case IMAP_OPEN: return imap_leave(c);
    default: return false;
    }
}

bool imap_text(const struct imap_item *i, char *buf, size_t cap, size_t *len_out)
{
    bool is_text = i->kind == IMAP_ATOM || i->kind == IMAP_QUOTED || i->kind == IMAP_LITERAL;
    size_t len = 0;
    if (!is_text || cap == 0) return false;
    for (size_t at = 0; at < i->text.len; at++) {
        if (i->kind == IMAP_QUOTED && i->text.at[at] == '\\') at++;
        if (len + 1 >= cap || i->text.at[at] == '\0') return false;
        buf[len++] = i->text.at[at];
    }
    buf[len] = '\0';
    *len_out = len;
    return true;
}

bool imap_is_nil(const struct imap_item *i)
{
    return i->kind == IMAP_ATOM && imap_span_is(i->text, "NIL");
}

/* ---- responses ---- */

static struct imap_span take_word(const char **at, size_t *len)
{
    struct imap_span word = {*at, 0};
    while (word.len < *len && word.at[word.len] != ' ') word.len++;
    *at += word.len;
    *len -= word.len;
    while (*len > 0 && **at == ' ') {
        (*at)++;
        (*len)--;
    }
    return word;
}

static bool status_of(struct imap_span word, enum imap_status *out)
{
    static const char *const words[] = {
        [IMAP_OK] = "OK",   [IMAP_NO] = "NO",           [IMAP_REJECTED] = "BAD",
        [IMAP_BYE] = "BYE", [IMAP_PREAUTH] = "PREAUTH",
    };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (!imap_span_is(word, words[i])) continue;
        *out = (enum imap_status)i;
        return true;
    }
    return false;
}

static struct imap_span code_of(const char *at, size_t len)
{
    const char *end = len > 0 && at[0] == '[' ? memchr(at, ']', len) : NULL;
    return end ? (struct imap_span){at + 1, (size_t)(end - at) - 1} : (struct imap_span){at, 0};
}

static void parse_untagged(const char *at, size_t len, struct imap_response *out)
{
    uint64_t number;
    struct imap_span word = take_word(&at, &len);
    if (status_of(word, &out->status)) {
        out->kind = IMAP_CONDITION;
        out->code = code_of(at, len);
        return;
    }
    if (pv__parse_u64(word.at, word.len, UINT32_MAX, true, &number)) {
        out->number = (uint32_t)number;
        word = take_word(&at, &len);
    }
    if (word.len == 0) return;
    out->kind = IMAP_DATA;
    out->name = word;
    out->rest = imap_cursor(at, len);
}

void imap_parse(const char *text, size_t len, struct imap_response *out)
{
    *out = (struct imap_response){.kind = IMAP_NOISE};
    if (len > 0 && text[0] == '+') {
        out->kind = IMAP_CONTINUE;
        return;
    }
    struct imap_span tag = take_word(&text, &len);
    if (tag.len == 1 && tag.at[0] == '*') {
        parse_untagged(text, len, out);
        return;
    }
    struct imap_span word = take_word(&text, &len);
    if (tag.len == 0 || !status_of(word, &out->status) || out->status > IMAP_REJECTED) return;
    out->kind = IMAP_TAGGED;
    out->tag = tag;
    out->code = code_of(text, len);
}

bool imap_code_is(const struct imap_response *r, const char *word)
{
    size_t len = strlen(word);
    if (r->code.len < len || !pv__equal_nocase(r->code.at, len, word, len)) return false;
    return r->code.len == len || r->code.at[len] == ' ';
}

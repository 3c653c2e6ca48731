/* Responses of an IMAP server: how the stream is cut does not matter, and what is understood of a
 * response can be said and is understood the same again. */
#include <string.h>

#include "src/server/imap/facts.h"
#include "src/server/imap/reader.h"
#include "tests/fuzz/fuzz.h"

#define TEXT_MAX (8 * IMAP_NAME_MAX)

/* What a stream of bytes comes to. */
struct seen {
    size_t count;
    uint64_t hash;
    bool broken;
};

static uint64_t mix(uint64_t hash, const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) hash = (hash ^ (uint8_t)text[i]) * UINT64_C(0x100000001b3);
    return (hash ^ len) * UINT64_C(0x100000001b3);
}

static void each(const char *text, size_t len);

static struct seen feed(const uint8_t *data, size_t size, size_t piece, bool look)
{
    struct imap_reader r = {0};
    struct seen seen = {.hash = 1};
    for (size_t at = 0; at < size && !seen.broken;) {
        size_t room, n = size - at < piece ? size - at : piece, len;
        const char *text;
        enum imap_cut cut;
        char *to = imap_reader_room(&r, &room);
        LAW(to && room > 0);
        if (n > room) n = room;
        memcpy(to, data + at, n);
        imap_reader_filled(&r, n);
        at += n;
        while ((cut = imap_reader_next(&r, &text, &len)) == IMAP_CUT_RESPONSE) {
            LAW(len <= IMAP_RESPONSE_MAX);
            seen.count++;
            seen.hash = mix(seen.hash, text, len);
            if (look) each(text, len);
        }
        seen.broken = cut == IMAP_CUT_BROKEN;
        LAW(r.cap <= 4 * IMAP_RESPONSE_MAX);
    }
    imap_reader_finish(&r);
    return seen;
}

static size_t say_list(const struct imap_listed *f, char *buf)
{
    static const char *const uses[] = {"", " \\Drafts", " \\Sent", " \\Trash"};
    char delimiter[] = {f->delimiter, '\0'}, quoted[8] = "NIL";
    size_t len;
    if (f->delimiter) LAW(imap_quote(delimiter, quoted, sizeof quoted, &len));
    int n = snprintf(buf, TEXT_MAX, "(%s%s) %s ", f->selectable ? "\\Marked" : "\\Noselect",
                     uses[f->use], quoted);
    LAW(imap_quote(f->name, buf + n, TEXT_MAX - (size_t)n, &len));
    return (size_t)n + len;
}

static void check_list(struct imap_cursor rest)
{
    static struct imap_listed one, two;
    char buf[TEXT_MAX];
    if (!imap_listed_read(rest, &one)) return;
    LAW(one.name_len == strlen(one.name) && one.name_len <= IMAP_NAME_MAX);
    if (one.delimiter == '\r' || one.delimiter == '\n') return; /* cannot stand in quotes */
    size_t len = say_list(&one, buf);
    LAW(imap_listed_read(imap_cursor(buf, len), &two));
    LAW(strcmp(one.name, two.name) == 0 && one.delimiter == two.delimiter);
    LAW(one.selectable == two.selectable && one.use == two.use);
}

static void check_status(struct imap_cursor rest)
{
    static struct imap_counts one, two;
    char buf[TEXT_MAX], id[TEXT_MAX / 4];
    size_t len, id_len;
    if (!imap_counts_read(rest, &one)) return;
    LAW(imap_quote(one.name, buf, sizeof buf, &len));
    if (!imap_quote(one.id, id, sizeof id, &id_len)) return;
    len += (size_t)snprintf(buf + len, sizeof buf - len,
                            " (X-NEW (1 (2)) UIDVALIDITY %u UIDNEXT %u MESSAGES %u UNSEEN %u "
                            "HIGHESTMODSEQ %llu MAILBOXID (%s))",
                            one.validity, one.next, one.messages, one.unseen,
                            (unsigned long long)one.modseq, id);
    LAW(imap_counts_read(imap_cursor(buf, len), &two));
    LAW(strcmp(one.name, two.name) == 0 && strcmp(one.id, two.id) == 0);
    LAW(one.validity == two.validity && one.next == two.next && one.modseq == two.modseq);
    LAW(one.messages == two.messages && one.unseen == two.unseen);
    LAW((one.told & ~two.told) == 0);
}

static void check_namespaces(struct imap_cursor rest)
{
    static struct imap_namespaces one, two;
    char buf[TEXT_MAX];
    size_t len = 0, n;
    if (!imap_namespaces_read(rest, &one)) return;
    LAW(one.count <= IMAP_NAMESPACES_MAX);
    for (int own = 1; own >= 0; own--) {
        bool any = false;
        for (size_t i = 0; i < one.count; i++) any |= one.at[i].own == own;
        len += (size_t)snprintf(buf + len, sizeof buf - len, any ? "(" : "NIL");
        for (size_t i = 0; i < one.count; i++) {
            if (one.at[i].own != own) continue;
            buf[len++] = '(';
            LAW(imap_quote(one.at[i].prefix, buf + len, sizeof buf - len, &n));
            len += n;
            len += (size_t)snprintf(buf + len, sizeof buf - len, " \"/\")");
        }
        len += (size_t)snprintf(buf + len, sizeof buf - len, any ? ") " : " ");
    }
    len += (size_t)snprintf(buf + len, sizeof buf - len, "NIL");
    LAW(imap_namespaces_read(imap_cursor(buf, len), &two));
    LAW(one.count == two.count);
}

static void each(const char *text, size_t len)
{
    struct imap_response r;
    imap_parse(text, len, &r);
    LAW(r.kind != IMAP_TAGGED || (r.tag.len > 0 && r.status <= IMAP_REJECTED));
    if (r.kind == IMAP_CONDITION || r.kind == IMAP_TAGGED)
        LAW(r.code.at >= text && r.code.at + r.code.len <= text + len);
    if (r.kind != IMAP_DATA) return;
    LAW(r.name.len > 0 && r.rest.end == text + len);
    struct imap_cursor c = r.rest;
    size_t items = 0;
    enum imap_item_kind kind;
    while ((kind = imap_next(&c).kind) != IMAP_END && kind != IMAP_BAD) {
        LAW(c.at >= text && c.at <= text + len);
        LAW(++items <= IMAP_ITEMS_MAX);
    }
    LAW(imap_next(&c).kind == kind); /* it stays there */
    check_list(r.rest);
    check_status(r.rest);
    check_namespaces(r.rest);
    (void)imap_caps_read(r.rest);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t piece = size ? 1 + data[0] % 64 : 1;
    struct seen whole = feed(data, size, size + 1, true);
    struct seen pieces = feed(data, size, piece, false);
    struct seen bytes = size <= 4096 ? feed(data, size, 1, false) : whole;
    LAW(whole.broken == pieces.broken && whole.broken == bytes.broken);
    LAW(whole.count == pieces.count && whole.hash == pieces.hash);
    LAW(whole.count == bytes.count && whole.hash == bytes.hash);
    return 0;
}

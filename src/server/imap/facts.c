#include "src/server/imap/facts.h"

#include <string.h>

#include "src/lib/base/text.h"

/* ---- capabilities ---- */

uint32_t imap_caps_read(struct imap_cursor words)
{
#define IMAP_CAP_TEXT(id, text) text,
    static const char *const names[] = {IMAP_CAPS(IMAP_CAP_TEXT)};
#undef IMAP_CAP_TEXT
    uint32_t caps = 0;
    struct imap_item word;
    while ((word = imap_next(&words)).kind == IMAP_ATOM) {
        for (unsigned i = 0; i < IMAP_CAP_COUNT; i++)
            if (imap_span_is(word.text, names[i])) caps |= UINT32_C(1) << i;
    }
    /* RFC 9051 appendix E */
    if (caps & IMAP_CAP(REV2))
        caps |= IMAP_CAP(IDLE) | IMAP_CAP(LIST_EXTENDED) | IMAP_CAP(LIST_STATUS) |
                IMAP_CAP(SPECIAL_USE) | IMAP_CAP(NAMESPACE) | IMAP_CAP(ENABLE) | IMAP_CAP(SASL_IR);
    if (caps & IMAP_CAP(QRESYNC)) caps |= IMAP_CAP(CONDSTORE);
    return caps;
}

/* ---- LIST, LSUB ---- */

/* What cannot be said again is no name. */
static bool read_name(struct imap_cursor *c, char *buf, size_t *len_out)
{
    struct imap_item item = imap_next(c);
    if (item.kind != IMAP_ATOM && item.kind != IMAP_QUOTED && item.kind != IMAP_LITERAL)
        return false;
    bool good = imap_text(&item, buf, IMAP_NAME_MAX + 1, len_out) && !strpbrk(buf, "\r\n");
    if (good) return true;
    buf[0] = '\0';
    *len_out = 0;
    return true;
}

static void take_flag(struct imap_span flag, struct imap_listed *out)
{
    static const struct {
        const char *flag;
        enum imap_use use;
    } uses[] = {
        {"\\Drafts", IMAP_USE_DRAFTS}, {"\\Sent", IMAP_USE_SENT}, {"\\Trash", IMAP_USE_TRASH}};
    if (imap_span_is(flag, "\\Noselect") || imap_span_is(flag, "\\NonExistent"))
        out->selectable = false;
    for (size_t i = 0; i < sizeof uses / sizeof *uses; i++)
        if (imap_span_is(flag, uses[i].flag)) out->use = uses[i].use;
}

bool imap_listed_read(struct imap_cursor rest, struct imap_listed *out)
{
    struct imap_item item;
    char delimiter[2];
    size_t len = 0;
    out->selectable = true;
    out->use = IMAP_USE_NONE;
    if (imap_next(&rest).kind != IMAP_OPEN) return false;
    while ((item = imap_next(&rest)).kind == IMAP_ATOM) take_flag(item.text, out);
    if (item.kind != IMAP_CLOSE) return false;
    item = imap_next(&rest);
    if (!imap_is_nil(&item) && (!imap_text(&item, delimiter, sizeof delimiter, &len) || len != 1))
        return false;
    out->delimiter = len ? delimiter[0] : '\0';
    if (!read_name(&rest, out->name, &out->name_len)) return false;
    if (out->name_len == 0) out->selectable = false;
    return true;
}

/* ---- STATUS ---- */

static bool take_number(struct imap_cursor *c, uint64_t most, uint64_t *out)
{
    struct imap_item item = imap_next(c);
    return item.kind == IMAP_ATOM && pv__parse_u64(item.text.at, item.text.len, most, true, out);
}

static bool take_id(struct imap_cursor *c, struct imap_counts *out)
{
    size_t len;
    if (imap_next(c).kind != IMAP_OPEN) return false;
    struct imap_item item = imap_next(c);
    return imap_text(&item, out->id, sizeof out->id, &len) && imap_leave(c);
}

static bool take_count(struct imap_cursor *c, struct imap_span what, struct imap_counts *out)
{
    static const struct {
        const char *name;
        unsigned told;
        size_t offset;
    } counts[] = {
        {"UIDVALIDITY", IMAP_TOLD_VALIDITY, offsetof(struct imap_counts, validity)},
        {"UIDNEXT", IMAP_TOLD_NEXT, offsetof(struct imap_counts, next)},
        {"MESSAGES", IMAP_TOLD_MESSAGES, offsetof(struct imap_counts, messages)},
        {"UNSEEN", IMAP_TOLD_UNSEEN, offsetof(struct imap_counts, unseen)},
    };
    uint64_t number;
    if (imap_span_is(what, "MAILBOXID")) return take_id(c, out);
    if (imap_span_is(what, "HIGHESTMODSEQ")) {
        out->told |= IMAP_TOLD_MODSEQ;
        return take_number(c, INT64_MAX, &out->modseq); /* RFC 7162: 63 bits */
    }
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        if (!imap_span_is(what, counts[i].name)) continue;
        if (!take_number(c, UINT32_MAX, &number)) return false;
        uint32_t value = (uint32_t)number;
        memcpy((char *)out + counts[i].offset, &value, sizeof value);
        out->told |= counts[i].told;
        return true;
    }
    return imap_skip(c);
}

bool imap_counts_read(struct imap_cursor rest, struct imap_counts *out)
{
    struct imap_item item;
    out->told = 0;
    out->validity = out->next = out->messages = out->unseen = 0;
    out->modseq = 0;
    out->id[0] = '\0';
    if (!read_name(&rest, out->name, &out->name_len)) return false;
    if (imap_next(&rest).kind != IMAP_OPEN) return false;
    while ((item = imap_next(&rest)).kind == IMAP_ATOM)
        if (!take_count(&rest, item.text, out)) return false;
    return item.kind == IMAP_CLOSE;
}

/* ---- NAMESPACE ---- */

/* One of "(prefix delimiter extensions...)"; the cursor is behind its "(". */
static bool take_namespace(struct imap_cursor *c, bool own, struct imap_namespaces *out)
{
    struct imap_namespace one = {.own = own};
    struct imap_item item = imap_next(c);
    if (!imap_text(&item, one.prefix, sizeof one.prefix, &one.len)) return false;
    if (memchr(one.prefix, '\r', one.len) || memchr(one.prefix, '\n', one.len)) return false;
    if (out->count < IMAP_NAMESPACES_MAX) out->at[out->count++] = one;
    return imap_leave(c);
}

static bool take_kind(struct imap_cursor *c, bool own, struct imap_namespaces *out)
{
    struct imap_item item = imap_next(c);
    if (imap_is_nil(&item)) return true;
    if (item.kind != IMAP_OPEN) return false;
    while ((item = imap_next(c)).kind == IMAP_OPEN)
        if (!take_namespace(c, own, out)) return false;
    return item.kind == IMAP_CLOSE;
}

bool imap_namespaces_read(struct imap_cursor rest, struct imap_namespaces *out)
{
    out->count = 0;
    return take_kind(&rest, true, out) && take_kind(&rest, false, out) &&
           take_kind(&rest, false, out);
}

const struct imap_namespace *imap_namespace_of(const struct imap_namespaces *n, const char *name)
{
    const struct imap_namespace *best = NULL;
    for (size_t i = 0; i < n->count; i++) {
        const struct imap_namespace *one = &n->at[i];
        if (strncmp(name, one->prefix, one->len) != 0) continue;
        if (!best || one->len > best->len) best = one;
    }
    return best;
}

/* ---- what is said to a server ---- */

bool imap_quote(const char *name, char *buf, size_t cap, size_t *len_out)
{
    struct pv__out out;
    pv__out_init(&out, buf, cap);
    pv__out_text(&out, "\"");
    for (const char *p = name; *p; p++) {
        if (*p == '\r' || *p == '\n') return false;
        if (*p == '"' || *p == '\\') pv__out_text(&out, "\\");
        pv__out_bytes(&out, p, 1);
    }
    pv__out_text(&out, "\"");
    return pv__out_end(&out, len_out) == PV_OK;
}

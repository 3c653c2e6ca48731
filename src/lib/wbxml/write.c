#include <string.h>

#include <provost/wbxml.h>

#include "src/lib/base/text.h"
#include "src/lib/wbxml/pages.h"
#include "src/lib/wbxml/token.h"
#include "src/lib/wbxml/tree.h"

static const uint8_t head[] = {PV__WBXML_1_3, PV__PUBLIC_UNKNOWN, PV__CHARSET_UTF8, 0};

static void fail(struct pv_wbxml_writer *w, enum pv_err err)
{
    if (!w->err) w->err = err;
}

static void put(struct pv_wbxml_writer *w, const void *data, size_t len)
{
    if (w->err) return;
    if (len > w->cap - w->len) {
        fail(w, PV_E_NOMEM);
        return;
    }
    if (len) memcpy(w->buf + w->len, data, len);
    w->len += len;
}

static void put_u8(struct pv_wbxml_writer *w, unsigned byte)
{
    put(w, &(uint8_t){(uint8_t)byte}, 1);
}

static void put_mb_u32(struct pv_wbxml_writer *w, uint32_t value)
{
    uint8_t bytes[5];
    size_t at = sizeof bytes - 1;

    bytes[at] = value & 0x7F;
    while (value >>= 7) bytes[--at] = (uint8_t)(0x80 | (value & 0x7F));
    put(w, bytes + at, sizeof bytes - at);
}

/* Something goes into the innermost open element: only now does it need an END. */
static void put_content(struct pv_wbxml_writer *w, unsigned token)
{
    if (w->depth == 0) fail(w, PV_E_USAGE);
    if (w->err) return;
    w->buf[w->open[w->depth - 1]] |= PV__CONTENT;
    put_u8(w, token);
}

void pv_wbxml_begin(struct pv_wbxml_writer *w, uint8_t *buf, size_t cap)
{
    *w = (struct pv_wbxml_writer){.buf = buf, .cap = cap};
    put(w, head, sizeof head);
}

void pv_wbxml_start(struct pv_wbxml_writer *w, uint16_t tag)
{
    uint8_t page = (uint8_t)(tag >> 8), token = (uint8_t)tag;

    if (token < PV__TAG_FIRST || token > PV__TAG_LAST) fail(w, PV_E_USAGE);
    if (w->depth == 0 && w->len > sizeof head) fail(w, PV_E_USAGE); /* a second root */
    if (w->depth == PV_WBXML_DEPTH_MAX) fail(w, PV_E_TOOBIG);
    if (w->err) return;
    if (w->depth) w->buf[w->open[w->depth - 1]] |= PV__CONTENT;
    if (page != w->page) {
        put_u8(w, PV__SWITCH_PAGE);
        put_u8(w, page);
        w->page = page;
    }
    w->open[w->depth++] = w->len;
    put_u8(w, token);
}

void pv_wbxml_end(struct pv_wbxml_writer *w)
{
    if (w->depth == 0) fail(w, PV_E_USAGE);
    if (w->err) return;
    w->depth--;
    if (w->buf[w->open[w->depth]] & PV__CONTENT) put_u8(w, PV__END);
}

void pv_wbxml_text(struct pv_wbxml_writer *w, const char *text, size_t len)
{
    if (len == 0) return;
    if (memchr(text, 0, len)) fail(w, PV_E_USAGE);
    put_content(w, PV__STR_I);
    put(w, text, len);
    put_u8(w, 0);
}

void pv_wbxml_opaque(struct pv_wbxml_writer *w, const void *data, size_t len)
{
    if (len > UINT32_MAX) fail(w, PV_E_TOOBIG);
    put_content(w, PV__OPAQUE);
    put_mb_u32(w, (uint32_t)len);
    put(w, data, len);
}

void pv_wbxml_leaf(struct pv_wbxml_writer *w, uint16_t tag, const char *text)
{
    pv_wbxml_start(w, tag);
    if (text) pv_wbxml_text(w, text, strlen(text));
    pv_wbxml_end(w);
}

void pv_wbxml_leaf_u32(struct pv_wbxml_writer *w, uint16_t tag, uint32_t value)
{
    pv_wbxml_leaf_int(w, tag, value);
}

void pv_wbxml_leaf_int(struct pv_wbxml_writer *w, uint16_t tag, int64_t value)
{
    char text[PV__I64_TEXT];
    struct pv__out o;

    pv__out_init(&o, text, sizeof text);
    pv__out_i64(&o, value);
    fail(w, pv__out_end(&o, NULL));
    pv_wbxml_leaf(w, tag, text);
}

void pv_wbxml_node(struct pv_wbxml_writer *w, const struct pv_node *node)
{
    struct pv__walk walk = {.root = node};

    if (!node) fail(w, PV_E_USAGE);
    while (!w->err && pv__walk_next(&walk)) {
        const struct pv_node *at = walk.at;
        if (walk.leave)
            pv_wbxml_end(w);
        else if (at->kind == PV_NODE_ELEMENT)
            pv_wbxml_start(w, at->tag);
        else if (at->kind == PV_NODE_TEXT)
            pv_wbxml_text(w, (const char *)at->data, at->len);
        else
            pv_wbxml_opaque(w, at->data, at->len);
    }
}

enum pv_err pv_wbxml_finish(struct pv_wbxml_writer *w, size_t *len_out)
{
    if (w->depth || w->len == sizeof head) fail(w, PV_E_USAGE);
    if (w->err) return w->err;
    *len_out = w->len;
    return PV_OK;
}

#include <provost/wbxml.h>

#include "src/lib/base/bytes.h"
#include "src/lib/wbxml/pages.h"
#include "src/lib/wbxml/token.h"
#include "src/lib/wbxml/tree.h"

const struct pv_wbxml_limits pv_wbxml_limits_default = {
    .document = 1 << 20,
    .depth = 32,
    .elements = 1 << 16,
    .text = 1 << 16,
    .opaque = 1 << 20,
    .string_table = 4 << 10,
};

const struct pv_wbxml_limits pv_wbxml_limits_small = {
    .document = 64 << 10,
    .depth = 32,
    .elements = 4 << 10,
    .text = 4 << 10,
    .opaque = 4 << 10,
    .string_table = 4 << 10,
};

struct decoder {
    struct pv__reader in;
    struct pv__reader strings; /* the string table */
    struct pv__tree tree;
    size_t at; /* offset of the item being read */
    uint8_t page;
};

/* A reference into the string table. The table is complete, so what is missing in it is broken,
 * not short. */
static enum pv_err table_text(const struct decoder *d, uint32_t offset, const uint8_t **out,
                              size_t *len_out)
{
    struct pv__reader strings = d->strings;
    const uint8_t *skipped;

    if (pv__rd_take(&strings, offset, &skipped)) return PV_E_MALFORMED;
    enum pv_err err = pv__rd_text(&strings, d->tree.lim->text, out, len_out);
    return err == PV_E_SHORT ? PV_E_MALFORMED : err;
}

/* MS-ASWBXML 2.1 writes 03 01 6A 00; other writers give an older version, the public identifier
 * as a string and a table. */
static enum pv_err header(struct decoder *d)
{
    uint32_t public_id, public_name = 0, charset, size;
    size_t public_at, len;
    const uint8_t *text;
    uint8_t version;

    PV_TRY(pv__rd_u8(&d->in, &version));
    if (version < PV__WBXML_1_1 || version > PV__WBXML_1_3) return PV_E_UNSUPPORTED;
    public_at = d->at = pv__rd_at(&d->in);
    PV_TRY(pv__rd_mb_u32(&d->in, &public_id));
    if (public_id == 0) PV_TRY(pv__rd_mb_u32(&d->in, &public_name));
    d->at = pv__rd_at(&d->in);
    PV_TRY(pv__rd_mb_u32(&d->in, &charset));
    if (charset != PV__CHARSET_UTF8 && charset != PV__CHARSET_ASCII && charset != 0)
        return PV_E_UNSUPPORTED;
    d->at = pv__rd_at(&d->in);
    PV_TRY(pv__rd_mb_u32(&d->in, &size));
    if (size > d->tree.lim->string_table) return PV_E_TOOBIG;
    PV_TRY(pv__rd_take(&d->in, size, &text));
    d->strings = pv__rd_init(text, size);
    if (public_id == 0) {
        d->at = public_at;
        PV_TRY(table_text(d, public_name, &text, &len));
    }
    return PV_OK;
}

static enum pv_err opaque(struct decoder *d)
{
    const uint8_t *data;
    uint32_t len;

    PV_TRY(pv__rd_mb_u32(&d->in, &len));
    if (len > d->tree.lim->opaque) return PV_E_TOOBIG;
    PV_TRY(pv__rd_take(&d->in, len, &data));
    return pv__tree_opaque(&d->tree, data, len);
}

/* One token with what belongs to it. */
static enum pv_err item(struct decoder *d)
{
    const uint8_t *text;
    uint32_t offset;
    uint8_t token;
    size_t len;

    PV_TRY(pv__rd_u8(&d->in, &token));
    switch (token) {
    case PV__SWITCH_PAGE: return pv__rd_u8(&d->in, &d->page);
    case PV__END: return pv__tree_close(&d->tree);
    case PV__STR_I:
        PV_TRY(pv__rd_text(&d->in, d->tree.lim->text, &text, &len));
        return pv__tree_text(&d->tree, text, len);
    case PV__STR_T:
        PV_TRY(pv__rd_mb_u32(&d->in, &offset));
        PV_TRY(table_text(d, offset, &text, &len));
        return pv__tree_text(&d->tree, text, len);
    case PV__OPAQUE: return opaque(d);
    }
    /* What is left of the low numbers are entities, literals, extensions and processing
     * instructions: MS-ASWBXML 2.1 has none of them, nor attributes. */
    if ((token & PV__TAG_LAST) < PV__TAG_FIRST || token & PV__ATTRIBUTES) return PV_E_UNSUPPORTED;
    PV_TRY(pv__tree_open(&d->tree, (uint16_t)(d->page << 8 | (token & PV__TAG_LAST))));
    return token & PV__CONTENT ? PV_OK : pv__tree_close(&d->tree);
}

static enum pv_err document(struct decoder *d)
{
    PV_TRY(header(d));
    while (!pv__tree_done(&d->tree)) {
        d->at = pv__rd_at(&d->in);
        PV_TRY(item(d));
    }
    d->at = pv__rd_at(&d->in);
    return PV_OK;
}

enum pv_err pv_wbxml_decode(struct pv_arena *arena, const uint8_t *in, size_t len,
                            const struct pv_wbxml_limits *lim, const struct pv_node **root_out,
                            size_t *at_out)
{
    struct decoder d = {0};
    enum pv_err err;

    if (!lim) lim = &pv_wbxml_limits_default;
    if (!arena || (!in && len) || !root_out || lim->depth > PV_WBXML_DEPTH_MAX) {
        err = PV_E_USAGE;
    } else if (len > lim->document) {
        d.at = lim->document;
        err = PV_E_TOOBIG;
    } else {
        d.in = pv__rd_init(in, len);
        d.tree = (struct pv__tree){.arena = arena, .lim = lim};
        err = document(&d);
    }
    if (at_out) *at_out = d.at;
    if (!err) *root_out = d.tree.root;
    return err;
}

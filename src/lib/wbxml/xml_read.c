#include <string.h>

#include <provost/wbxml.h>

#include "src/lib/base/base64.h"
#include "src/lib/base/bytes.h"
#include "src/lib/base/text.h"
#include "src/lib/wbxml/pages.h"
#include "src/lib/wbxml/tree.h"
#include "src/lib/wbxml/xml.h"

enum { REFERENCE_MAX = 10 }; /* "&#x10FFFF;" */

struct piece {
    const uint8_t *p;
    size_t len;
};

static bool piece_is(struct piece piece, const char *text)
{
    return strlen(text) == piece.len && memcmp(piece.p, text, piece.len) == 0;
}

/* PV_OK and taken if the input goes on with text, E_SHORT if it may yet, else E_MALFORMED. */
static enum pv_err expect(struct pv__reader *r, const char *text)
{
    size_t len = strlen(text), have = pv__rd_left(r) < len ? pv__rd_left(r) : len;

    if (have && memcmp(r->p, text, have)) return PV_E_MALFORMED;
    if (have < len) return PV_E_SHORT;
    r->p += len;
    return PV_OK;
}

/* Up to the next of the bytes in stop, which is not taken; E_SHORT if there is none. */
static enum pv_err take_until(struct pv__reader *r, const char *stop, struct piece *out)
{
    size_t n = 0, left = pv__rd_left(r);

    while (n < left && (r->p[n] == 0 || !strchr(stop, r->p[n]))) n++;
    if (n == left) return PV_E_SHORT;
    *out = (struct piece){r->p, n};
    r->p += n;
    return PV_OK;
}

static void skip_blanks(struct pv__reader *r)
{
    size_t n = pv__xml_blanks(r->p, pv__rd_left(r));

    if (n) r->p += n;
}

static enum pv_err skip_past(struct pv__reader *r, const char *end)
{
    struct piece skipped;
    enum pv_err err;

    do {
        PV_TRY(take_until(r, (const char[]){end[0], '\0'}, &skipped));
        err = expect(r, end);
        if (err == PV_E_MALFORMED) r->p++;
    } while (err == PV_E_MALFORMED);
    return err;
}

/* Behind "<!DOCTYPE"; an internal subset could define entities, so there must be none. */
static enum pv_err skip_doctype(struct pv__reader *r)
{
    struct piece skipped;

    for (;;) {
        PV_TRY(take_until(r, "\"'[>", &skipped));
        uint8_t c = *r->p++;
        if (c == '>') return PV_OK;
        if (c == '[') return PV_E_UNSUPPORTED;
        PV_TRY(take_until(r, c == '"' ? "\"" : "'", &skipped));
        r->p++;
    }
}

static enum pv_err reference_value(struct piece name, uint32_t *code_out)
{
    static const struct {
        const char *name;
        uint32_t code;
    } named[] = {
        {"amp", '&'}, {"lt", '<'}, {"gt", '>'}, {"quot", '"'}, {"apos", '\''},
    };
    const char *digits = (const char *)name.p;
    uint64_t code = 0;

    for (size_t i = 0; i < sizeof named / sizeof *named; i++) {
        if (!piece_is(name, named[i].name)) continue;
        *code_out = named[i].code;
        return PV_OK;
    }
    if (name.len > 2 && digits[0] == '#' && digits[1] == 'x') {
        for (size_t i = 2; i < name.len; i++) {
            int c = pv__lower(name.p[i]);
            if (!pv__is_digit((unsigned char)c) && (c < 'a' || c > 'f')) return PV_E_MALFORMED;
            code = code << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
        }
    } else if (name.len < 2 || digits[0] != '#' ||
               !pv__parse_u64(digits + 1, name.len - 1, 9999999, true, &code)) {
        return PV_E_MALFORMED;
    }
    if (code > UINT32_MAX || !pv__xml_char((uint32_t)code)) return PV_E_MALFORMED;
    *code_out = (uint32_t)code;
    return PV_OK;
}

static size_t utf8_put(uint32_t code, uint8_t out[4])
{
    size_t n = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    static const uint8_t lead[] = {0, 0, 0xC0, 0xE0, 0xF0};

    for (size_t i = n - 1; i; i--, code >>= 6) out[i] = (uint8_t)(0x80 | (code & 0x3F));
    out[0] = (uint8_t)(lead[n] | code);
    return n;
}

static enum pv_err read_reference(struct pv__reader *r, struct pv__tree *tree)
{
    size_t left = pv__rd_left(r), scan = left < REFERENCE_MAX ? left : REFERENCE_MAX;
    const uint8_t *end = memchr(r->p, ';', scan);
    uint32_t code;
    uint8_t text[4];

    if (!end) return scan < REFERENCE_MAX ? PV_E_SHORT : PV_E_MALFORMED;
    PV_TRY(reference_value((struct piece){r->p + 1, (size_t)(end - r->p) - 1}, &code));
    r->p = end + 1;
    return pv__tree_text(tree, text, utf8_put(code, text));
}

static enum pv_err check_chars(struct piece text)
{
    uint32_t code;

    for (size_t at = 0, n; at < text.len; at += n) {
        n = pv__utf8_next(text.p + at, text.len - at, &code);
        if (n == 0 || !pv__xml_char(code)) return PV_E_MALFORMED;
    }
    return PV_OK;
}

/* One run of characters without references. White space between tags is layout, unless it is all
 * that an element holds. */
static enum pv_err read_chars(struct pv__reader *r, struct pv__tree *tree)
{
    bool after_text = tree->last && tree->last->kind == PV_NODE_TEXT;
    struct piece text, next;

    PV_TRY(take_until(r, "<&", &text));
    if (!after_text && *r->p == '<' && pv__xml_blanks(text.p, text.len) == text.len) {
        struct pv__reader ahead = *r;
        PV_TRY(pv__rd_take(&ahead, 2, &next.p));
        if (next.p[1] != '/' || tree->last || !tree->open) return PV_OK;
    }
    PV_TRY(check_chars(text));
    return pv__tree_text(tree, text.p, text.len);
}

struct tag {
    struct piece name, page, opaque;
    bool empty; /* <Name/> */
};

static enum pv_err read_attribute(struct pv__reader *r, struct tag *tag)
{
    struct piece name, *value;
    uint8_t quote;

    PV_TRY(take_until(r, "= \t\r\n/><", &name));
    value = piece_is(name, "xmlns") ? &tag->page : piece_is(name, "opaque") ? &tag->opaque : NULL;
    if (!value || value->p) return PV_E_MALFORMED;
    PV_TRY(expect(r, "="));
    PV_TRY(pv__rd_u8(r, &quote));
    if (quote != '"' && quote != '\'') return PV_E_MALFORMED;
    PV_TRY(take_until(r, quote == '"' ? "\"<" : "'<", value));
    if (*r->p != quote) return PV_E_MALFORMED;
    r->p++;
    return PV_OK;
}

/* Behind "<". */
static enum pv_err read_tag(struct pv__reader *r, struct tag *tag)
{
    struct pv__reader before;
    uint8_t c;

    *tag = (struct tag){0};
    PV_TRY(take_until(r, " \t\r\n/><", &tag->name));
    if (tag->name.len == 0) return PV_E_MALFORMED;
    for (;;) {
        before = *r;
        skip_blanks(r);
        PV_TRY(pv__rd_u8(r, &c));
        if (c == '>') return PV_OK;
        if (c == '/') break;
        r->p--;
        if (r->p == before.p) return PV_E_MALFORMED; /* no blank before an attribute */
        PV_TRY(read_attribute(r, tag));
    }
    tag->empty = true;
    return expect(r, ">");
}

static enum pv_err read_opaque(struct pv__tree *tree, const struct tag *tag)
{
    size_t cap = tag->opaque.len / 4 * 3 + 2, len;
    uint8_t *data;

    if (!tag->empty) return PV_E_MALFORMED;
    if (tag->opaque.len / 4 > tree->lim->opaque / 3 + 1) return PV_E_TOOBIG;
    data = pv_alloc(tree->arena, cap, 1);
    if (!data) return PV_E_NOMEM;
    PV_TRY(pv__base64_decode((const char *)tag->opaque.p, tag->opaque.len, data, cap, &len));
    return pv__tree_opaque(tree, data, len);
}

static enum pv_err read_start(struct pv__reader *r, struct pv__tree *tree)
{
    int page = tree->open ? tree->open->tag >> 8 : -1;
    struct tag tag;

    PV_TRY(read_tag(r, &tag));
    if (piece_is(tag.name, PV__XML_OPAQUE)) {
        if (!tag.opaque.p || tag.page.p) return PV_E_MALFORMED;
        return read_opaque(tree, &tag);
    }
    if (tag.page.p) {
        if (tag.page.len == 0 || tag.page.p[tag.page.len - 1] != ':') return PV_E_UNKNOWN;
        page = pv__page_by_label((const char *)tag.page.p, tag.page.len - 1);
    }
    if (page < 0) return PV_E_UNKNOWN;
    uint16_t number = pv__tag_by_label((uint8_t)page, (const char *)tag.name.p, tag.name.len);
    if (number == 0) return PV_E_UNKNOWN;
    PV_TRY(pv__tree_open(tree, number));
    if (tag.opaque.p) PV_TRY(read_opaque(tree, &tag));
    return tag.empty ? pv__tree_close(tree) : PV_OK;
}

static enum pv_err read_end(struct pv__reader *r, struct pv__tree *tree)
{
    char spare[PV__NAME_SPARE];
    struct piece name;

    PV_TRY(take_until(r, " \t\r\n>", &name));
    if (!tree->open || !piece_is(name, pv__tag_label(tree->open->tag, spare)))
        return PV_E_MALFORMED;
    skip_blanks(r);
    PV_TRY(expect(r, ">"));
    return pv__tree_close(tree);
}

/* What begins with '<'. */
static enum pv_err read_markup(struct pv__reader *r, struct pv__tree *tree)
{
    static const char *const unsupported[] = {"![CDATA[", "?"};
    enum pv_err err;

    PV_TRY(expect(r, "<"));
    if ((err = expect(r, "!--")) != PV_E_MALFORMED) return err ? err : skip_past(r, "-->");
    if (!tree->root) {
        if ((err = expect(r, "?xml")) != PV_E_MALFORMED) return err ? err : skip_past(r, "?>");
        err = expect(r, "!DOCTYPE");
        if (err != PV_E_MALFORMED) return err ? err : skip_doctype(r);
    }
    for (size_t i = 0; i < sizeof unsupported / sizeof *unsupported; i++)
        if (expect(r, unsupported[i]) == PV_OK) return PV_E_UNSUPPORTED;
    if ((err = expect(r, "/")) != PV_E_MALFORMED) return err ? err : read_end(r, tree);
    return read_start(r, tree);
}

static enum pv_err read_document(struct pv__reader *r, struct pv__tree *tree, size_t *at)
{
    while (!pv__tree_done(tree)) {
        *at = pv__rd_at(r);
        if (r->p == r->end) return PV_E_SHORT;
        if (*r->p == '<')
            PV_TRY(read_markup(r, tree));
        else if (*r->p == '&')
            PV_TRY(read_reference(r, tree));
        else
            PV_TRY(read_chars(r, tree));
    }
    skip_blanks(r);
    *at = pv__rd_at(r);
    return PV_OK;
}

enum pv_err pv_xml_read(struct pv_arena *arena, const char *xml, size_t len,
                        const struct pv_wbxml_limits *lim, const struct pv_node **root_out,
                        size_t *at_out)
{
    struct pv__reader r;
    struct pv__tree tree = {
        .arena = arena, .lim = lim ? lim : &pv_wbxml_limits_default, .copy = true};
    enum pv_err err;
    size_t at = 0;

    if (!arena || (!xml && len) || !root_out || tree.lim->depth > PV_WBXML_DEPTH_MAX) {
        err = PV_E_USAGE;
    } else if (len > tree.lim->document) {
        at = tree.lim->document;
        err = PV_E_TOOBIG;
    } else {
        r = pv__rd_init(xml, len);
        err = read_document(&r, &tree, &at);
    }
    if (at_out) *at_out = at;
    if (!err) *root_out = tree.root;
    return err;
}

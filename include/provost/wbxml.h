/** @file wbxml.h  WBXML as ActiveSync uses it (MS-ASWBXML): decoder, encoder, XML rendering.
 *
 * Tags are numbers: page << 8 | token, with the token as in the tables (0x05..0x3F, without the
 * content bit). provost/tags.h names all that may be sent (PV_Provision_PolicyKey); legacy ones are
 * only decoded. No function here keeps hidden state: each is safe from any thread that shares
 * neither the arena nor the writer. */
#ifndef PROVOST_WBXML_H
#define PROVOST_WBXML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <provost/arena.h>
#include <provost/error.h>
#include <provost/tags.h>

#ifdef __cplusplus
extern "C" {
#endif

enum pv_node_kind { PV_NODE_ELEMENT, PV_NODE_TEXT, PV_NODE_OPAQUE };

/** One node of a decoded document. Adjacent text is one node. data of TEXT is not NUL-terminated
 *  and not checked to be UTF-8. */
struct pv_node {
    enum pv_node_kind kind;
    uint16_t tag;        /**< ELEMENT: page << 8 | token; unknown ones are kept */
    const uint8_t *data; /**< TEXT, OPAQUE */
    size_t len;
    struct pv_node *parent, *child, *next;
};

struct pv_wbxml_limits {
    size_t document;     /**< bytes */
    size_t depth;        /**< nested elements, at most PV_WBXML_DEPTH_MAX */
    size_t elements;     /**< elements in the document */
    size_t text;         /**< bytes of one text */
    size_t opaque;       /**< bytes of one opaque item */
    size_t string_table; /**< bytes */
};

#define PV_WBXML_DEPTH_MAX 64
/** document 1 MiB, depth 32, elements 65536, text 64 KiB, opaque 1 MiB, string table 4 KiB */
PV_API extern const struct pv_wbxml_limits pv_wbxml_limits_default;
/** For Provision and Settings: document 64 KiB, depth 32, elements 4096; text, opaque and string
 *  table 4 KiB */
PV_API extern const struct pv_wbxml_limits pv_wbxml_limits_small;

/** Decode one WBXML document.
 *
 * @param arena    Holds every node made here. Owned by the caller.
 * @param in       len bytes, borrowed; must outlive *root_out (texts point into it; one that came
 *                 in pieces is in the arena).
 * @param len      Bytes of the document and of what may follow it.
 * @param lim      Limits; NULL means pv_wbxml_limits_default.
 * @param root_out Set only on PV_OK. Dies with the arena, never freed alone.
 * @param at_out   Where decoding stopped, as a byte offset: on PV_OK just behind the root's END, so
 *                 at < len means trailing bytes, which the caller judges; on an error the start of
 *                 the item that has it. May be NULL.
 * @return PV_OK, E_SHORT (feed more), E_MALFORMED, E_UNSUPPORTED (attributes, entities, extensions,
 *         literals, a version or charset that is not spoken here), E_TOOBIG, E_NOMEM, E_USAGE. */
PV_API PV_MUST_CHECK enum pv_err
pv_wbxml_decode(struct pv_arena *arena, const uint8_t *in, size_t len,
                const struct pv_wbxml_limits *lim, const struct pv_node **root_out,
                size_t *at_out);

/** First child element with that tag; NULL if there is none or node is NULL. */
PV_API const struct pv_node *pv_node_child(const struct pv_node *node, uint16_t tag);
/** Next sibling element with that tag; NULL if none. */
PV_API const struct pv_node *pv_node_next(const struct pv_node *node, uint16_t tag);
/** Number of child elements with that tag (any element if tag is 0). */
PV_API size_t pv_node_count(const struct pv_node *node, uint16_t tag);
/** Text of a leaf (TEXT or OPAQUE child; empty for an empty element). @return false if node is
 *  NULL, has child elements or both kinds of text. *data_out points into the document, is not
 *  terminated; "" when empty. */
PV_API bool pv_node_text(const struct pv_node *node, const char **data_out, size_t *len_out);
/** Text of a leaf as decimal number 0..UINT32_MAX without sign, blanks or more than 10 digits. */
PV_API bool pv_node_u32(const struct pv_node *node, uint32_t *value_out);
/** Is that the text of this leaf? Exact bytes; false where pv_node_text is. */
PV_API bool pv_node_text_is(const struct pv_node *node, const char *text);
/** Local name such as "PolicyKey"; NULL for an unknown tag. Static storage. */
PV_API const char *pv_tag_name(uint16_t tag);
/** Namespace of a code page such as "Provision"; NULL for an unknown page. */
PV_API const char *pv_page_name(unsigned page);
/** Tag by namespace and local name (exact case); 0 if unknown. */
PV_API uint16_t pv_tag_find(const char *page, const char *name);

/** Writes a document front to back: inline strings only, no string table, an empty element without
 *  content bit. Sticky: after the first error every call does nothing, pv_wbxml_finish tells it.
 *  Owned by the caller; the fields are private. */
struct pv_wbxml_writer {
    uint8_t *buf;
    size_t cap, len;
    enum pv_err err;
    uint8_t page;
    unsigned depth;
    size_t open[PV_WBXML_DEPTH_MAX]; /* offset of each open element's token */
};

/** Begin with the header 03 01 6A 00. buf (cap bytes) is borrowed until finish. */
PV_API void pv_wbxml_begin(struct pv_wbxml_writer *w, uint8_t *buf, size_t cap);
/** Open an element; the page switch that it needs is written. */
PV_API void pv_wbxml_start(struct pv_wbxml_writer *w, uint16_t tag);
/** Close the element opened last. */
PV_API void pv_wbxml_end(struct pv_wbxml_writer *w);
/** Text of len bytes; NUL bytes inside are E_USAGE; nothing is written for len 0. */
PV_API void pv_wbxml_text(struct pv_wbxml_writer *w, const char *text, size_t len);
/** Opaque data of len bytes. */
PV_API void pv_wbxml_opaque(struct pv_wbxml_writer *w, const void *data, size_t len);
/** <tag>text</tag>, or an empty tag when text is NULL or "". */
PV_API void pv_wbxml_leaf(struct pv_wbxml_writer *w, uint16_t tag, const char *text);
/** <tag>number</tag>, decimal. */
PV_API void pv_wbxml_leaf_u32(struct pv_wbxml_writer *w, uint16_t tag, uint32_t value);
/** <tag>number</tag>, decimal, with sign. */
PV_API void pv_wbxml_leaf_int(struct pv_wbxml_writer *w, uint16_t tag, int64_t value);
/** Write a decoded tree (element with all below it) at the current place. */
PV_API void pv_wbxml_node(struct pv_wbxml_writer *w, const struct pv_node *node);
/** @param len_out set on PV_OK: bytes of the document. @return PV_OK, E_NOMEM (buffer full),
 *  E_USAGE (open elements, a second root, a bad tag, NUL in text), E_TOOBIG (depth). */
PV_API PV_MUST_CHECK enum pv_err pv_wbxml_finish(struct pv_wbxml_writer *w, size_t *len_out);

/** Render as one line of XML without prolog: `xmlns="Page:"` where the page changes, empty elements
 *  as <Name/>, text escaped, bytes that are no UTF-8 or no XML character as U+FFFD, an element's
 *  only OPAQUE as <Name opaque="base64"/>, any other as <_ opaque="base64"/>, unknown tags as
 *  <_PPTT> in hex with xmlns="_PP:" for an unknown page. indent > 0 puts each element on a line of
 *  its own. NUL-terminated.
 *  @return PV_OK, E_NOMEM, E_USAGE. */
PV_API PV_MUST_CHECK enum pv_err
pv_xml_write(const struct pv_node *root, unsigned indent, char *buf, size_t cap, size_t *len_out);

/** Read what pv_xml_write writes, with prolog, DOCTYPE without internal subset, comments, and the
 *  five named and numeric references. For tests and tools; hostile input is bounded all the same.
 *  @param arena  Holds nodes and texts; xml is not needed afterwards.
 *  @param at_out As of pv_wbxml_decode, on PV_OK behind white space that follows the root.
 *  @return PV_OK, E_SHORT, E_MALFORMED, E_UNKNOWN (a name), E_UNSUPPORTED (CDATA, processing
 *          instructions, an internal subset), E_TOOBIG, E_NOMEM, E_USAGE. */
PV_API PV_MUST_CHECK enum pv_err
pv_xml_read(struct pv_arena *arena, const char *xml, size_t len, const struct pv_wbxml_limits *lim,
            const struct pv_node **root_out, size_t *at_out);

#ifdef __cplusplus
}
#endif
#endif

#include <provost/wbxml.h>

#include "src/lib/base/base64.h"
#include "src/lib/base/text.h"
#include "src/lib/wbxml/pages.h"
#include "src/lib/wbxml/tree.h"
#include "src/lib/wbxml/xml.h"

struct xml {
    struct pv__out out;
    unsigned indent; /* blanks a level; 0: all on one line */
    unsigned level;
    bool tight; /* nothing may be put between what was written last and what follows */
};

static void new_line(struct xml *x)
{
    if (x->indent == 0 || x->tight) return;
    pv__out_text(&x->out, "\n");
    for (size_t n = (size_t)x->indent * x->level; n && !x->out.full; n--)
        pv__out_text(&x->out, " ");
}

static void put_reference(struct pv__out *o, uint32_t code)
{
    pv__out_text(o, "&#");
    pv__out_i64(o, code);
    pv__out_text(o, ";");
}

/* The first character of white space beside other nodes is a reference, and so is every carriage
 * return: XML readers would drop the one and change the other. */
static void put_text(struct xml *x, const struct pv_node *node)
{
    bool alone = node->parent->child == node && !node->next;
    bool refer = !alone && pv__xml_blanks(node->data, node->len) == node->len;
    uint32_t code;

    for (size_t at = 0, n; at < node->len && !x->out.full; at += n, refer = false) {
        n = pv__utf8_next(node->data + at, node->len - at, &code);
        if (n == 0 || !pv__xml_char(code))
            pv__out_text(&x->out, "\xEF\xBF\xBD");
        else if (code == '\r' || refer)
            put_reference(&x->out, code);
        else if (code == '&')
            pv__out_text(&x->out, "&amp;");
        else if (code == '<')
            pv__out_text(&x->out, "&lt;");
        else if (code == '>')
            pv__out_text(&x->out, "&gt;");
        else
            pv__out_bytes(&x->out, node->data + at, n);
        if (n == 0) n = 1;
    }
    x->tight = true;
}

static void put_opaque(struct pv__out *o, const struct pv_node *node)
{
    char text[65]; /* 48 bytes in base64, terminated */

    pv__out_text(o, " opaque=\"");
    for (size_t at = 0, n; at < node->len && !o->full; at += n) {
        n = node->len - at < 48 ? node->len - at : 48;
        o->full |= pv__base64_encode(node->data + at, n, text, sizeof text) != PV_OK;
        if (!o->full) pv__out_text(o, text);
    }
    pv__out_text(o, "\"");
}

static const struct pv_node *lone_opaque(const struct pv_node *node)
{
    const struct pv_node *child = node->child;

    return child && child->kind == PV_NODE_OPAQUE && !child->next ? child : NULL;
}

static void enter(struct xml *x, const struct pv_node *node, bool is_root)
{
    const struct pv_node *opaque = lone_opaque(node);
    unsigned page = node->tag >> 8;
    char spare[PV__NAME_SPARE];

    if (!is_root) new_line(x);
    pv__out_text(&x->out, "<");
    pv__out_text(&x->out, pv__tag_label(node->tag, spare));
    if (is_root || page != (unsigned)node->parent->tag >> 8) {
        pv__out_text(&x->out, " xmlns=\"");
        pv__out_text(&x->out, pv__page_label((uint8_t)page, spare));
        pv__out_text(&x->out, ":\"");
    }
    if (opaque) put_opaque(&x->out, opaque);
    pv__out_text(&x->out, node->child && !opaque ? ">" : "/>");
    x->tight = false;
    x->level++;
}

static void leave(struct xml *x, const struct pv_node *node)
{
    char spare[PV__NAME_SPARE];

    x->level--;
    if (!node->child || lone_opaque(node)) return; /* <Name/> says it all */
    new_line(x);
    pv__out_text(&x->out, "</");
    pv__out_text(&x->out, pv__tag_label(node->tag, spare));
    pv__out_text(&x->out, ">");
    x->tight = false;
}

static void put_mixed_opaque(struct xml *x, const struct pv_node *node)
{
    if (lone_opaque(node->parent)) return; /* stands in the element's tag */
    new_line(x);
    pv__out_text(&x->out, "<" PV__XML_OPAQUE);
    put_opaque(&x->out, node);
    pv__out_text(&x->out, "/>");
    x->tight = false;
}

enum pv_err pv_xml_write(const struct pv_node *root, unsigned indent, char *buf, size_t cap,
                         size_t *len_out)
{
    struct pv__walk walk = {.root = root};
    struct xml x = {.indent = indent};

    if (!root || root->kind != PV_NODE_ELEMENT || (!buf && cap)) return PV_E_USAGE;
    pv__out_init(&x.out, buf, cap);
    while (!x.out.full && pv__walk_next(&walk)) {
        if (walk.leave)
            leave(&x, walk.at);
        else if (walk.at->kind == PV_NODE_ELEMENT)
            enter(&x, walk.at, walk.at == root);
        else if (walk.at->kind == PV_NODE_TEXT)
            put_text(&x, walk.at);
        else
            put_mixed_opaque(&x, walk.at);
    }
    return pv__out_end(&x.out, len_out);
}

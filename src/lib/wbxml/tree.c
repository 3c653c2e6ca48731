#include "src/lib/wbxml/tree.h"

#include "src/lib/base/arena.h"
#include "src/lib/base/bytes.h"

static enum pv_err append(struct pv__tree *t, enum pv_node_kind kind, struct pv_node **out)
{
    struct pv_node *node = PV_NEW(t->arena, struct pv_node, 1);

    if (!node) return PV_E_NOMEM;
    node->kind = kind;
    node->parent = t->open;
    if (t->last)
        t->last->next = node;
    else if (t->open)
        t->open->child = node;
    else
        t->root = node;
    t->last = node;
    *out = node;
    return PV_OK;
}

enum pv_err pv__tree_open(struct pv__tree *t, uint16_t tag)
{
    struct pv_node *node;

    if (pv__tree_done(t)) return PV_E_MALFORMED;
    if (t->depth == t->lim->depth || t->elements == t->lim->elements) return PV_E_TOOBIG;
    PV_TRY(append(t, PV_NODE_ELEMENT, &node));
    node->tag = tag;
    t->open = node;
    t->last = NULL;
    t->depth++;
    t->elements++;
    return PV_OK;
}

enum pv_err pv__tree_close(struct pv__tree *t)
{
    if (!t->open) return PV_E_MALFORMED;
    t->last = t->open;
    t->open = t->open->parent;
    t->depth--;
    return PV_OK;
}

enum pv_err pv__tree_text(struct pv__tree *t, const void *data, size_t len)
{
    struct pv_node *node = t->last;
    const void *text = data;

    if (!t->open) return PV_E_MALFORMED;
    if (len == 0) return PV_OK;
    if (!node || node->kind != PV_NODE_TEXT) {
        if (len > t->lim->text) return PV_E_TOOBIG;
        PV_TRY(append(t, PV_NODE_TEXT, &node));
        if (t->copy) text = pv__arena_join(t->arena, "", 0, data, len);
    } else {
        if (len > t->lim->text - node->len) return PV_E_TOOBIG;
        text = pv__arena_join(t->arena, node->data, node->len, data, len);
    }
    if (!text) return PV_E_NOMEM;
    node->data = text;
    node->len += len;
    return PV_OK;
}

enum pv_err pv__tree_opaque(struct pv__tree *t, const void *data, size_t len)
{
    struct pv_node *node;

    if (!t->open) return PV_E_MALFORMED;
    if (len > t->lim->opaque) return PV_E_TOOBIG;
    PV_TRY(append(t, PV_NODE_OPAQUE, &node));
    node->data = data;
    node->len = len;
    return PV_OK;
}

bool pv__tree_done(const struct pv__tree *t)
{
    return t->root && !t->open;
}

bool pv__walk_next(struct pv__walk *w)
{
    if (!w->at) {
        w->at = w->root;
    } else if (!w->leave && w->at->kind == PV_NODE_ELEMENT) {
        if (w->at->child)
            w->at = w->at->child;
        else
            w->leave = true;
    } else if (w->at == w->root) {
        w->at = NULL;
    } else if (w->at->next) {
        w->at = w->at->next;
        w->leave = false;
    } else {
        w->at = w->at->parent;
        w->leave = true;
    }
    return w->at != NULL;
}

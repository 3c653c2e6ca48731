/* Trees in tests: are two of them the same? */
#ifndef TESTS_TREE_H
#define TESTS_TREE_H

#include <string.h>

#include "src/lib/wbxml/tree.h"

static inline bool same_node(const struct pv_node *a, const struct pv_node *b)
{
    if (a->kind != b->kind) return false;
    if (a->kind == PV_NODE_ELEMENT) return a->tag == b->tag;
    return a->len == b->len && (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}

static inline bool same_tree(const struct pv_node *a, const struct pv_node *b)
{
    struct pv__walk x = {.root = a}, y = {.root = b};

    while (pv__walk_next(&x)) {
        if (!pv__walk_next(&y) || x.leave != y.leave || !same_node(x.at, y.at)) return false;
    }
    return !pv__walk_next(&y);
}

#endif

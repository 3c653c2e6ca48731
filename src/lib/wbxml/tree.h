/* Trees of nodes, built and walked without recursion: their depth is a peer's choice. */
#ifndef PV_WBXML_TREE_H
#define PV_WBXML_TREE_H

#include <provost/wbxml.h>

/* A tree in the making, under limits. Zero it, then set arena and lim. */
struct pv__tree {
    struct pv_arena *arena;
    const struct pv_wbxml_limits *lim;
    struct pv_node *root;
    struct pv_node *open; /* the element being filled; NULL before and behind the root */
    struct pv_node *last; /* its newest child */
    size_t depth, elements;
    bool copy; /* texts are copied into the arena, not borrowed from the input */
};

/* E_TOOBIG for depth and count of elements, E_MALFORMED for a second root. */
PV_MUST_CHECK enum pv_err pv__tree_open(struct pv__tree *t, uint16_t tag);
PV_MUST_CHECK enum pv_err pv__tree_close(struct pv__tree *t);
/* Joined with a text just before it; nothing for len 0. */
PV_MUST_CHECK enum pv_err pv__tree_text(struct pv__tree *t, const void *data, size_t len);
PV_MUST_CHECK enum pv_err pv__tree_opaque(struct pv__tree *t, const void *data, size_t len);
/* True when the root is there and closed. */
bool pv__tree_done(const struct pv__tree *t);

/* A step through all nodes of a tree: an element is met on the way in and on the way out (leave),
 * also an empty one; other nodes once. Begin with {root}. */
struct pv__walk {
    const struct pv_node *root, *at;
    bool leave;
};
bool pv__walk_next(struct pv__walk *w);

#endif

/* The folder tree as devices know it: ServerIds, what changed between two trees, and both as JSON.
 * Pure functions. */
#ifndef PROVOSTD_MAILBOX_TREE_H
#define PROVOSTD_MAILBOX_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/server/mailbox/mailbox.h"

/* ---- ServerIds of a user ---- */

/* A folder that once got its ServerId. */
struct known_folder {
    uint32_t id;
    uint64_t identity[2];
    char *name;
};
struct folder_ids {
    uint32_t next;          /* the next ServerId; never goes back, so that none is used twice */
    struct known_folder *at;
    size_t count;
};
/* Text of folder_ids_record; NULL is a user without any. false: damaged, or no memory. */
bool folder_ids_read(const char *json, struct folder_ids *out);
/* malloc'ed; NULL: no memory. */
char *folder_ids_write(const struct folder_ids *ids);
void folder_ids_free(struct folder_ids *ids);
/* Find the ServerId of each folder in the list (ids_out has as many places): first by identity, so
 * that a renamed folder keeps its own, then by name, so that a restored mailbox does. With by_validity
 * a name counts only together with the identity, and an identity alone only if no other folder has the
 * same. New folders
 * get new ids; those that are gone are forgotten. *changed_out: ids is not what it was. false: no
 * memory, or no number is left. */
bool folder_ids_assign(struct folder_ids *ids, const struct folder_list *l, uint32_t *ids_out,
                       bool *changed_out);

/* ---- the tree ---- */

struct tree_node {
    uint32_t id, parent;    /* parent 0: at the top */
    unsigned type;
    char *name;
};
struct tree {
    struct tree_node *at;   /* parents before children */
    size_t count;
};
/* inbox_only: what a device in quarantine sees. false: no memory. */
bool tree_make(const struct folder_list *l, const uint32_t *ids, bool inbox_only, struct tree *out);
bool tree_read(const char *json, struct tree *out);
char *tree_write(const struct tree *t);
void tree_free(struct tree *t);
bool tree_equal(const struct tree *a, const struct tree *b);

enum tree_change_kind { TREE_UPDATE, TREE_DELETE, TREE_ADD };
struct tree_change {
    enum tree_change_kind kind;
    const struct tree_node *node; /* of the new tree; TREE_DELETE: of the old one */
};
/* What leads from one tree to the other, in the order of the answer: updates, deletes (children
 * first), adds (parents first). *out is malloc'ed. false: no memory. */
bool tree_diff(const struct tree *from, const struct tree *to, struct tree_change **out,
               size_t *count_out);

/* A number for everything that a device may see of a mailbox: another one when a folder comes,
 * goes, is renamed or replaced. */
uint64_t folder_list_hash(const struct folder_list *l);

#endif

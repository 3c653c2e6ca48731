#include "src/server/mailbox/sync_state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

unsigned foldersync_read(const struct pv_node *root, uint32_t *key_out)
{
    const struct pv_node *key = NULL;
    const char *text;
    size_t len, keys = 0;
    if (!root) return FOLDERSYNC_BAD_REQUEST;
    if (root->tag != PV_FolderHierarchy_FolderSync) return COMMON_INVALID_WBXML;
    for (const struct pv_node *n = root->child; n; n = n->next) {
        if (n->kind != PV_NODE_ELEMENT) return FOLDERSYNC_BAD_REQUEST;
        if (n->tag != PV_FolderHierarchy_SyncKey) return COMMON_INVALID_WBXML;
        key = n;
        keys++;
    }
    if (keys != 1 || !pv_node_text(key, &text, &len)) return FOLDERSYNC_BAD_REQUEST;
    return pv_node_u32(key, key_out) ? FOLDERSYNC_OK : FOLDERSYNC_BAD_KEY;
}

/* ---- state ---- */

/* *key_out is 0 for a tree that is damaged. jansson does not say why it fails, malloc does. */
static bool read_one(uint32_t key, const char *json, struct tree *out, uint32_t *key_out)
{
    errno = 0;
    bool good = key && tree_read(json, out);
    *key_out = good ? key : 0;
    return good || errno != ENOMEM;
}

bool sync_state_read(const struct folder_state_record *r, struct sync_state *out)
{
    *out = (struct sync_state){0};
    if (!read_one(r->key, r->tree_json, &out->tree, &out->key)) return false;
    if (!out->key) return true;
    if (read_one(r->previous_key, r->previous_tree_json, &out->previous, &out->previous_key)) {
        return true;
    }
    sync_state_free(out);
    return false;
}

void sync_state_free(struct sync_state *s)
{
    tree_free(&s->tree);
    tree_free(&s->previous);
}

struct sync_step sync_decide(const struct sync_state *s, uint32_t sent, const struct tree *now)
{
    struct sync_step step = {.known = true, .key = s->key, .previous_key = s->key};
    bool current = s->key && tree_equal(&s->tree, now);
    if (sent == 0) {
        step.previous_key = 0;
    } else if (sent == s->key) {
        step.from = &s->tree;
    } else if (sent == s->previous_key) {
        step.from = &s->previous;
        step.previous_key = sent;
        if (tree_equal(&s->previous, now)) {
            step.key = sent;
            return step;
        }
    } else {
        return (struct sync_step){.known = false};
    }
    if (!current) {
        step.key = s->key == UINT32_MAX ? 1 : s->key + 1;
        step.store = true;
    }
    return step;
}

/* ---- answer ---- */

static void write_folder(struct pv_wbxml_writer *w, uint16_t tag, const struct tree_node *n)
{
    pv_wbxml_start(w, tag);
    pv_wbxml_leaf_u32(w, PV_FolderHierarchy_ServerId, n->id);
    pv_wbxml_leaf_u32(w, PV_FolderHierarchy_ParentId, n->parent);
    pv_wbxml_leaf(w, PV_FolderHierarchy_DisplayName, n->name);
    pv_wbxml_leaf_u32(w, PV_FolderHierarchy_Type, n->type);
    pv_wbxml_end(w);
}

static void write_change(struct pv_wbxml_writer *w, const struct tree_change *c)
{
    switch (c->kind) {
    case TREE_UPDATE: write_folder(w, PV_FolderHierarchy_Update, c->node); break;
    case TREE_ADD: write_folder(w, PV_FolderHierarchy_Add, c->node); break;
    case TREE_DELETE:
        pv_wbxml_start(w, PV_FolderHierarchy_Delete);
        pv_wbxml_leaf_u32(w, PV_FolderHierarchy_ServerId, c->node->id);
        pv_wbxml_end(w);
        break;
    }
}

/* Status, SyncKey and Changes with Count first, and nothing else: some clients read no other
 * order. */
static enum pv_err write_answer(uint32_t key, const struct tree_change *changes, size_t count,
                                uint8_t *buf, size_t cap, size_t *len_out)
{
    struct pv_wbxml_writer w;
    pv_wbxml_begin(&w, buf, cap);
    pv_wbxml_start(&w, PV_FolderHierarchy_FolderSync);
    pv_wbxml_leaf_u32(&w, PV_FolderHierarchy_Status, FOLDERSYNC_OK);
    pv_wbxml_leaf_u32(&w, PV_FolderHierarchy_SyncKey, key);
    pv_wbxml_start(&w, PV_FolderHierarchy_Changes);
    pv_wbxml_leaf_u32(&w, PV_FolderHierarchy_Count, (uint32_t)count);
    for (size_t i = 0; i < count; i++) write_change(&w, &changes[i]);
    pv_wbxml_end(&w);
    pv_wbxml_end(&w);
    return pv_wbxml_finish(&w, len_out);
}

uint8_t *foldersync_write(uint32_t key, const struct tree *from, const struct tree *now,
                          size_t *len_out, size_t *changes_out)
{
    static const struct tree nothing = {0};
    struct tree_change *changes;
    size_t count, cap = 128;
    if (!tree_diff(from ? from : &nothing, now, &changes, &count)) return NULL;
    /* Four leaves of 4 bytes around their text, two ids of 10 digits, a type of 2. */
    for (size_t i = 0; i < count; i++) cap += 64 + strlen(changes[i].node->name);
    uint8_t *buf = malloc(cap);
    if (buf && write_answer(key, changes, count, buf, cap, len_out) != PV_OK) {
        free(buf);
        buf = NULL;
    }
    free(changes);
    *changes_out = count;
    return buf;
}

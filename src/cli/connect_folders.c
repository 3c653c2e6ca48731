#include "src/cli/connect_folders.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "src/cli/text.h"

/* MS-ASCMD 2.2.3.186.3: number, name, class for Ping. */
static const struct {
    const char *name, *class;
} types[] = {
    [0] = {"unknown", NULL},
    [1] = {"folder", "Email"},
    [2] = {"inbox", "Email"},
    [3] = {"drafts", "Email"},
    [4] = {"deleted items", "Email"},
    [5] = {"sent items", "Email"},
    [6] = {"outbox", "Email"},
    [7] = {"tasks", "Tasks"},
    [8] = {"calendar", "Calendar"},
    [9] = {"contacts", "Contacts"},
    [10] = {"notes", "Notes"},
    [11] = {"journal", NULL},
    [12] = {"mail", "Email"},
    [13] = {"calendar, own", "Calendar"},
    [14] = {"contacts, own", "Contacts"},
    [15] = {"tasks, own", "Tasks"},
    [16] = {"journal, own", NULL},
    [17] = {"notes, own", "Notes"},
    [18] = {"unknown", NULL},
    [19] = {"recipient cache", NULL},
};
enum { TYPES = sizeof types / sizeof *types };

const char *folder_type_name(unsigned type)
{
    return types[type < TYPES ? type : 0].name;
}
const char *folder_class(unsigned type)
{
    return types[type < TYPES ? type : 0].class;
}

static void folder_free(struct folder *f)
{
    free(f->id);
    free(f->parent);
    free(f->name);
}

void folders_reset(struct folders *f)
{
    for (size_t i = 0; i < f->count; i++) folder_free(&f->at[i]);
    free(f->at);
    *f = (struct folders){.sync_key = "0"};
}

static size_t index_of(const struct folders *f, const char *id)
{
    for (size_t i = 0; i < f->count; i++)
        if (strcmp(f->at[i].id, id) == 0) return i;
    return SIZE_MAX;
}

const struct folder *folders_find(const struct folders *f, const char *id)
{
    size_t i = index_of(f, id);
    return i == SIZE_MAX ? NULL : &f->at[i];
}

/* Text of a child as a copy. NUL bytes inside are no text. */
static enum folders_result child_text(const struct pv_node *node, uint16_t tag, char **out)
{
    const char *data;
    size_t len;
    if (!pv_node_text(pv_node_child(node, tag), &data, &len) || len > FOLDER_TEXT_MAX ||
        memchr(data, '\0', len))
        return FOLDERS_MALFORMED;
    *out = strndup(data, len);
    return *out ? FOLDERS_OK : FOLDERS_NO_MEMORY;
}

static enum folders_result read_folder(const struct pv_node *node, struct folder *out)
{
    uint32_t type;
    *out = (struct folder){0};
    enum folders_result r = child_text(node, PV_FolderHierarchy_ServerId, &out->id);
    if (r == FOLDERS_OK) r = child_text(node, PV_FolderHierarchy_ParentId, &out->parent);
    if (r == FOLDERS_OK) r = child_text(node, PV_FolderHierarchy_DisplayName, &out->name);
    if (r == FOLDERS_OK && !pv_node_u32(pv_node_child(node, PV_FolderHierarchy_Type), &type))
        r = FOLDERS_MALFORMED;
    if (r == FOLDERS_OK && out->id[0] == '\0') r = FOLDERS_MALFORMED;
    if (r == FOLDERS_OK)
        out->type = type;
    else
        folder_free(out);
    return r;
}

static enum folders_result put(struct folders *f, const struct folder *new_, bool *known_out)
{
    size_t i = index_of(f, new_->id);
    *known_out = i != SIZE_MAX;
    if (*known_out) {
        folder_free(&f->at[i]);
    } else {
        if (f->count == FOLDERS_MAX) return FOLDERS_TOO_MANY;
        if (f->count == f->room) {
            size_t room = f->room ? 2 * f->room : 32;
            struct folder *at = reallocarray(f->at, room, sizeof *at);
            if (at == NULL) return FOLDERS_NO_MEMORY;
            f->at = at;
            f->room = room;
        }
        i = f->count++;
    }
    f->at[i] = *new_;
    return FOLDERS_OK;
}

struct apply {
    struct folders *f;
    struct folder_changes *changes;
    void (*told)(void *ctx, char sign, const struct folder *folder);
    void *ctx;
};

static enum folders_result apply_put(struct apply *a, const struct pv_node *node)
{
    struct folder new_;
    bool known;
    enum folders_result r = read_folder(node, &new_);
    if (r != FOLDERS_OK) return r;
    r = put(a->f, &new_, &known);
    if (r != FOLDERS_OK) {
        folder_free(&new_);
        return r;
    }
    *(known ? &a->changes->updated : &a->changes->added) += 1;
    if (a->told) a->told(a->ctx, known ? '~' : '+', folders_find(a->f, new_.id));
    return FOLDERS_OK;
}

static enum folders_result apply_delete(struct apply *a, const struct pv_node *node)
{
    char *id;
    enum folders_result r = child_text(node, PV_FolderHierarchy_ServerId, &id);
    if (r != FOLDERS_OK) return r;
    size_t i = index_of(a->f, id);
    free(id);
    if (i == SIZE_MAX) return FOLDERS_OK;
    if (a->told) a->told(a->ctx, '-', &a->f->at[i]);
    folder_free(&a->f->at[i]);
    memmove(&a->f->at[i], &a->f->at[i + 1], (--a->f->count - i) * sizeof *a->f->at);
    a->changes->deleted++;
    return FOLDERS_OK;
}

enum folders_result folders_apply(struct folders *f, const struct pv_node *root,
                                  struct folder_changes *changes_out,
                                  void (*told)(void *ctx, char sign, const struct folder *folder),
                                  void *ctx)
{
    struct apply a = {f, changes_out, told, ctx};
    const char *key;
    size_t len;
    *changes_out = (struct folder_changes){0};
    if (!pv_node_text(pv_node_child(root, PV_FolderHierarchy_SyncKey), &key, &len) || len == 0 ||
        len >= sizeof f->sync_key || memchr(key, '\0', len))
        return FOLDERS_MALFORMED;
    const struct pv_node *changes = pv_node_child(root, PV_FolderHierarchy_Changes);
    for (const struct pv_node *n = changes ? changes->child : NULL; n; n = n->next) {
        enum folders_result r = FOLDERS_OK;
        if (n->kind != PV_NODE_ELEMENT) continue;
        if (n->tag == PV_FolderHierarchy_Add || n->tag == PV_FolderHierarchy_Update)
            r = apply_put(&a, n);
        else if (n->tag == PV_FolderHierarchy_Delete)
            r = apply_delete(&a, n);
        if (r != FOLDERS_OK) return r;
    }
    memcpy(f->sync_key, key, len);
    f->sync_key[len] = '\0';
    return FOLDERS_OK;
}

/* Depth first without recursion: the peer chooses the depth. first and next are indices + 1. */
struct walk {
    size_t *parent, *first, *last, *next;
};

/* A chain upwards that comes back to where it began is cut there. */
static bool is_own_ancestor(const struct walk *w, size_t i, size_t count)
{
    size_t up = w->parent[i], steps = 0;
    while (up != SIZE_MAX && up != i && steps++ < count) up = w->parent[up];
    return up == i;
}

static void link_children(const struct folders *f, struct walk *w)
{
    for (size_t i = 0; i < f->count; i++) w->parent[i] = index_of(f, f->at[i].parent);
    for (size_t i = 0; i < f->count; i++)
        if (is_own_ancestor(w, i, f->count)) w->parent[i] = SIZE_MAX;
    for (size_t i = 0; i < f->count; i++) {
        size_t list = w->parent[i] == SIZE_MAX ? f->count : w->parent[i];
        *(w->last[list] ? &w->next[w->last[list] - 1] : &w->first[list]) = i + 1;
        w->last[list] = i + 1;
    }
}

bool folders_walk(const struct folders *f,
                  void (*each)(void *ctx, const struct folder *folder, unsigned depth), void *ctx)
{
    size_t n = f->count + 1;
    size_t *block = calloc(4 * n, sizeof *block);
    if (block == NULL) return false;
    struct walk w = {block, block + n, block + 2 * n, block + 3 * n};
    link_children(f, &w);
    unsigned depth = 0;
    for (size_t at = w.first[f->count]; at != 0;) {
        size_t i = at - 1;
        each(ctx, &f->at[i], depth);
        if (w.first[i]) {
            at = w.first[i];
            depth++;
            continue;
        }
        while (w.next[i] == 0 && w.parent[i] != SIZE_MAX) {
            i = w.parent[i];
            depth--;
        }
        at = w.next[i];
    }
    free(block);
    return true;
}

json_t *folders_json(const struct folders *f)
{
    json_t *all = json_array();
    for (size_t i = 0; i < f->count; i++) {
        const struct folder *one = &f->at[i];
        json_t *row = json_pack("{s:o,s:o,s:o,s:I,s:s}", "id", text_json(one->id), "parent_id",
                                text_json(one->parent), "name", text_json(one->name), "type",
                                (json_int_t)one->type, "type_name", folder_type_name(one->type));
        if (json_array_append_new(all, row) != 0) {
            json_decref(all);
            return NULL;
        }
    }
    return all;
}

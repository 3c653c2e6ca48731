#include "src/server/mailbox/tree.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "src/json_text.h"
#include "src/server/mailbox/map.h"

bool tree_make(const struct folder_list *l, const uint32_t *ids, bool inbox_only, struct tree *out)
{
    *out = (struct tree){.at = calloc(l->count + 1, sizeof *out->at)};
    if (!out->at) return false;
    for (size_t i = 0; i < l->count; i++) {
        const struct folder *f = &l->at[i];
        if (inbox_only && f->type != FOLDER_INBOX) continue;
        out->at[out->count] = (struct tree_node){
            .id = ids[i],
            .parent = f->parent == SIZE_MAX ? 0 : ids[f->parent],
            .type = f->type,
            .name = strdup(f->display),
        };
        if (out->at[out->count++].name) continue;
        tree_free(out);
        return false;
    }
    return true;
}

void tree_free(struct tree *t)
{
    for (size_t i = 0; i < t->count; i++) free(t->at[i].name);
    free(t->at);
    *t = (struct tree){0};
}

/* ---- JSON: [[id, parent, type, "name"], ...] ---- */

static bool node_read(json_t *row, struct tree_node *out)
{
    json_int_t id, parent, type;
    const char *name;
    if (json_unpack(row, "[I, I, I, s!]", &id, &parent, &type, &name) != 0) return false;
    if (id <= 0 || id > UINT32_MAX || parent < 0 || parent > UINT32_MAX) return false;
    if (type < 0 || type > FOLDER_MAIL) return false;
    *out = (struct tree_node){
        .id = (uint32_t)id,
        .parent = (uint32_t)parent,
        .type = (unsigned)type,
        .name = strdup(name),
    };
    return out->name != NULL;
}

bool tree_read(const char *json, struct tree *out)
{
    json_t *rows = json ? json_loads(json, 0, NULL) : NULL;
    size_t count = json_array_size(rows);
    *out = (struct tree){0};
    bool good = json_is_array(rows) && count <= FOLDER_COUNT_MAX;
    if (good) out->at = calloc(count + 1, sizeof *out->at);
    good = good && out->at;
    for (size_t i = 0; good && i < count; i++) {
        good = node_read(json_array_get(rows, i), &out->at[i]);
        out->count += good;
    }
    json_decref(rows);
    if (!good) tree_free(out);
    return good;
}

char *tree_write(const struct tree *t)
{
    json_t *rows = json_array();
    int failed = !rows;
    for (size_t i = 0; i < t->count && !failed; i++) {
        const struct tree_node *n = &t->at[i];
        failed = json_array_append_new(rows, json_pack("[I, I, I, s]", (json_int_t)n->id,
                                                       (json_int_t)n->parent, (json_int_t)n->type,
                                                       n->name));
    }
    char *text = failed ? NULL : text_of_json(rows, JSON_COMPACT);
    json_decref(rows);
    return text;
}

/* ---- differences ---- */

static bool node_equal(const struct tree_node *a, const struct tree_node *b)
{
    return a->id == b->id && a->parent == b->parent && a->type == b->type &&
           strcmp(a->name, b->name) == 0;
}

static int by_id(const void *one, const void *two)
{
    const struct tree_node *a = *(const struct tree_node *const *)one;
    const struct tree_node *b = *(const struct tree_node *const *)two;
    return a->id < b->id ? -1 : a->id > b->id;
}

/* The nodes in order of their ids; NULL: no memory. */
static const struct tree_node **sorted(const struct tree *t)
{
    const struct tree_node **index = calloc(t->count + 1, sizeof *index);
    if (!index) return NULL;
    for (size_t i = 0; i < t->count; i++) index[i] = &t->at[i];
    qsort(index, t->count, sizeof *index, by_id);
    return index;
}

static const struct tree_node *find(const struct tree_node **index, size_t count,
                                    const struct tree_node *like)
{
    const struct tree_node **at = bsearch(&like, index, count, sizeof *index, by_id);
    return at ? *at : NULL;
}

static void collect(const struct tree *from, const struct tree_node **from_index,
                    const struct tree *to, const struct tree_node **to_index,
                    struct tree_change *out, size_t *count)
{
    size_t n = 0;
    for (size_t i = 0; i < to->count; i++) {
        const struct tree_node *now = &to->at[i], *was = find(from_index, from->count, now);
        if (was && !node_equal(was, now)) out[n++] = (struct tree_change){TREE_UPDATE, now};
    }
    for (size_t i = from->count; i-- > 0;) {
        const struct tree_node *was = &from->at[i];
        if (!find(to_index, to->count, was)) out[n++] = (struct tree_change){TREE_DELETE, was};
    }
    for (size_t i = 0; i < to->count; i++) {
        const struct tree_node *now = &to->at[i];
        if (!find(from_index, from->count, now)) out[n++] = (struct tree_change){TREE_ADD, now};
    }
    *count = n;
}

bool tree_diff(const struct tree *from, const struct tree *to, struct tree_change **out,
               size_t *count_out)
{
    const struct tree_node **from_index = sorted(from), **to_index = sorted(to);
    *out = calloc(from->count + to->count + 1, sizeof **out);
    bool good = from_index && to_index && *out;
    if (good) {
        collect(from, from_index, to, to_index, *out, count_out);
    } else {
        free(*out);
        *out = NULL;
    }
    free(from_index);
    free(to_index);
    return good;
}

bool tree_equal(const struct tree *a, const struct tree *b)
{
    if (a->count != b->count) return false;
    for (size_t i = 0; i < a->count; i++) {
        if (!node_equal(&a->at[i], &b->at[i])) return false;
    }
    return true;
}

uint64_t folder_list_hash(const struct folder_list *l)
{
    uint64_t hash = l->count;
    for (size_t i = 0; i < l->count; i++) {
        const struct folder *f = &l->at[i];
        uint64_t facts[3] = {f->identity[0], f->identity[1], (uint64_t)f->type};
        hash = map_hash(f->name, strlen(f->name), hash);
        hash = map_hash(facts, sizeof facts, hash);
    }
    return hash;
}

/* ServerIds: which folder is which, over renames, restores and new starts of the server. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "src/json_text.h"
#include "src/server/mailbox/map.h"
#include "src/server/mailbox/tree.h"

void folder_ids_free(struct folder_ids *ids)
{
    for (size_t i = 0; i < ids->count; i++) free(ids->at[i].name);
    free(ids->at);
    *ids = (struct folder_ids){0};
}

/* ---- JSON: {"next": n, "folders": [[id, inode, birth, "name"], ...]} ---- */

static bool known_read(json_t *row, uint32_t next, struct known_folder *out)
{
    json_int_t id, inode, birth;
    const char *name;
    if (json_unpack(row, "[I, I, I, s!]", &id, &inode, &birth, &name) != 0) return false;
    if (id <= 0 || id >= next) return false;
    *out = (struct known_folder){
        .id = (uint32_t)id,
        .identity = {(uint64_t)inode, (uint64_t)birth},
        .name = strdup(name),
    };
    return out->name != NULL;
}

bool folder_ids_read(const char *json, struct folder_ids *out)
{
    json_int_t next;
    json_t *rows = NULL;
    *out = (struct folder_ids){.next = 1};
    if (!json) return true;
    json_t *record = json_loads(json, 0, NULL);
    bool good = json_unpack(record, "{s:I, s:o}", "next", &next, "folders", &rows) == 0 &&
                next > 0 && next <= UINT32_MAX && json_is_array(rows) &&
                json_array_size(rows) <= FOLDER_COUNT_MAX;
    size_t count = good ? json_array_size(rows) : 0;
    if (good) {
        out->next = (uint32_t)next;
        out->at = calloc(count + 1, sizeof *out->at);
        good = out->at != NULL;
    }
    for (size_t i = 0; good && i < count; i++) {
        good = known_read(json_array_get(rows, i), out->next, &out->at[i]);
        out->count += good;
    }
    json_decref(record);
    if (!good) folder_ids_free(out);
    return good;
}

char *folder_ids_write(const struct folder_ids *ids)
{
    json_t *rows = json_array();
    int failed = !rows;
    for (size_t i = 0; i < ids->count && !failed; i++) {
        const struct known_folder *f = &ids->at[i];
        failed = json_array_append_new(rows, json_pack("[I, I, I, s]", (json_int_t)f->id,
                                                       (json_int_t)f->identity[0],
                                                       (json_int_t)f->identity[1], f->name));
    }
    if (failed) {
        json_decref(rows);
        return NULL;
    }
    json_t *record = json_pack("{s:I, s:o}", "next", (json_int_t)ids->next, "folders", rows);
    char *text = text_of_json(record, JSON_COMPACT);
    json_decref(record);
    return text;
}

/* ---- matching ---- */

/* One side of the match: a known folder that waits to be found again. */
struct candidate {
    struct map_node by_identity, by_name;
    const struct known_folder *folder;
    bool taken;
};

static bool has_identity(const uint64_t identity[2])
{
    return identity[0] != 0 || identity[1] != 0;
}

static uint64_t identity_hash(const uint64_t identity[2])
{
    return map_hash(identity, 2 * sizeof *identity, 0);
}

static uint64_t name_hash(const char *name)
{
    return map_hash(name, strlen(name), 0);
}

static uint32_t take(struct candidate *c)
{
    c->taken = true;
    return c->folder->id;
}

static uint32_t find_by_identity(const struct map *m, const uint64_t identity[2])
{
    struct map_node *n = map_first(m, identity_hash(identity));
    for (; n; n = map_next(n)) {
        struct candidate *c = CONTAINER_OF(n, struct candidate, by_identity);
        bool same = memcmp(c->folder->identity, identity, 2 * sizeof *identity) == 0;
        if (same && !c->taken) return take(c);
    }
    return 0;
}

static uint32_t find_by_name(const struct map *m, const char *name)
{
    struct map_node *n = map_first(m, name_hash(name));
    for (; n; n = map_next(n)) {
        struct candidate *c = CONTAINER_OF(n, struct candidate, by_name);
        if (!c->taken && strcmp(c->folder->name, name) == 0) return take(c);
    }
    return 0;
}

/* ---- by UIDVALIDITY ---- */

/* Servers make it of the time: folders of one moment share it. The other half is a name of its own. */
static bool is_another(const uint64_t a[2], const uint64_t b[2])
{
    return (a[0] && b[0] && a[0] != b[0]) || (a[1] && b[1] && a[1] != b[1]);
}

static uint32_t find_same(const struct map *m, const struct folder *f, bool sure)
{
    struct map_node *n = map_first(m, name_hash(f->name));
    for (; n; n = map_next(n)) {
        struct candidate *c = CONTAINER_OF(n, struct candidate, by_name);
        const uint64_t *identity = c->folder->identity;
        bool known = identity[0] && f->identity[0];
        if (c->taken || strcmp(c->folder->name, f->name) != 0) continue;
        if (is_another(identity, f->identity) || (sure && !known)) continue;
        return take(c);
    }
    return 0;
}

static size_t count_known(const struct map *m, const uint64_t identity[2])
{
    size_t count = 0;
    struct map_node *n = map_first(m, identity_hash(identity));
    for (; n; n = map_next(n)) {
        const struct candidate *c = CONTAINER_OF(n, struct candidate, by_identity);
        count += memcmp(c->folder->identity, identity, 2 * sizeof *identity) == 0;
    }
    return count;
}

struct listed {
    struct map_node by_identity;
    const uint64_t *identity;
};

static bool is_listed_once(const struct map *m, const uint64_t identity[2])
{
    size_t count = 0;
    struct map_node *n = map_first(m, identity_hash(identity));
    for (; n; n = map_next(n)) {
        const struct listed *l = CONTAINER_OF(n, struct listed, by_identity);
        count += memcmp(l->identity, identity, 2 * sizeof *identity) == 0;
    }
    return count == 1;
}

/* Renamed is what is gone under one name and there under another, if nothing else looks like it. */
static bool match_renamed(const struct folder_list *l, const struct map *identities,
                          uint32_t *ids_out)
{
    struct map all = {0};
    struct listed *listed = calloc(l->count + 1, sizeof *listed);
    bool good = listed != NULL;
    for (size_t i = 0; good && i < l->count; i++) {
        listed[i].identity = l->at[i].identity;
        if (has_identity(l->at[i].identity))
            good = map_put(&all, &listed[i].by_identity, identity_hash(l->at[i].identity));
    }
    for (size_t i = 0; good && i < l->count; i++) {
        const uint64_t *identity = l->at[i].identity;
        if (ids_out[i] || !has_identity(identity) || !is_listed_once(&all, identity)) continue;
        if (count_known(identities, identity) == 1)
            ids_out[i] = find_by_identity(identities, identity);
    }
    map_finish(&all);
    free(listed);
    return good;
}

static bool match_by_validity(const struct folder_list *l, const struct map *identities,
                              const struct map *names, uint32_t *ids_out)
{
    for (size_t i = 0; i < l->count; i++) ids_out[i] = find_same(names, &l->at[i], true);
    if (!match_renamed(l, identities, ids_out)) return false;
    for (size_t i = 0; i < l->count; i++)
        if (!ids_out[i]) ids_out[i] = find_same(names, &l->at[i], false);
    return true;
}

/* ---- by what a disk says ---- */

static void match_on_disk(const struct folder_list *l, const struct map *identities,
                          const struct map *names, uint32_t *ids_out)
{
    for (size_t i = 0; i < l->count; i++) {
        const uint64_t *identity = l->at[i].identity;
        ids_out[i] = has_identity(identity) ? find_by_identity(identities, identity) : 0;
    }
    for (size_t i = 0; i < l->count; i++) {
        if (!ids_out[i]) ids_out[i] = find_by_name(names, l->at[i].name);
    }
}

static bool match(const struct folder_ids *ids, const struct folder_list *l,
                  struct candidate *candidates, struct map *identities, struct map *names,
                  uint32_t *ids_out)
{
    for (size_t i = 0; i < ids->count; i++) {
        struct candidate *c = &candidates[i];
        c->folder = &ids->at[i];
        if (has_identity(c->folder->identity) &&
            !map_put(identities, &c->by_identity, identity_hash(c->folder->identity)))
            return false;
        if (!map_put(names, &c->by_name, name_hash(c->folder->name))) return false;
    }
    if (l->by_validity) return match_by_validity(l, identities, names, ids_out);
    match_on_disk(l, identities, names, ids_out);
    return true;
}

static bool same_known(const struct known_folder *a, const struct known_folder *b)
{
    return a->id == b->id && strcmp(a->name, b->name) == 0 &&
           memcmp(a->identity, b->identity, sizeof a->identity) == 0;
}

/* The record that fits the list as it is now. */
static bool renew(const struct folder_ids *ids, const struct folder_list *l, uint32_t *ids_out,
                  struct folder_ids *out)
{
    *out = (struct folder_ids){.next = ids->next, .at = calloc(l->count + 1, sizeof *out->at)};
    bool good = out->at != NULL;
    for (size_t i = 0; good && i < l->count; i++) {
        if (!ids_out[i] && out->next < UINT32_MAX) ids_out[i] = out->next++;
        struct known_folder *f = &out->at[i];
        *f = (struct known_folder){.id = ids_out[i], .name = strdup(l->at[i].name)};
        memcpy(f->identity, l->at[i].identity, sizeof f->identity);
        good = f->id && f->name;
        out->count++;
    }
    if (!good) folder_ids_free(out);
    return good;
}

bool folder_ids_assign(struct folder_ids *ids, const struct folder_list *l, uint32_t *ids_out,
                       bool *changed_out)
{
    struct map identities = {0}, names = {0};
    struct folder_ids now;
    struct candidate *candidates = calloc(ids->count + 1, sizeof *candidates);
    bool good = candidates && match(ids, l, candidates, &identities, &names, ids_out);
    map_finish(&identities);
    map_finish(&names);
    free(candidates);
    if (!good || !renew(ids, l, ids_out, &now)) return false;
    bool changed = now.count != ids->count || now.next != ids->next;
    for (size_t i = 0; i < now.count && !changed; i++) {
        changed = !same_known(&now.at[i], &ids->at[i]);
    }
    folder_ids_free(ids);
    *ids = now;
    *changed_out = changed;
    return true;
}

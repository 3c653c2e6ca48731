/* Policies from the store: of each the revision in force, and the candidate of a roll-out. Only those
 * must be understood. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/json_text.h"
#include "src/server/gate/inner.h"

#define GROUPS_MAX 256

struct row {
    uint64_t revision; /* 0: none */
    int64_t at;
    char *settings_json, *parent, *by;
};

struct kept {
    struct kept *next;
    char *name;
    uint64_t removed;            /* up to this one, all is history */
    uint64_t current, candidate; /* as its item says; 0: the newest, none */
    struct roll *roll;
    struct row rows[2]; /* current, candidate */
};

struct policy_loading {
    struct kept *policies;
    struct assignment **assignments;
    size_t count, cap;
    uint64_t last;
    char damaged[POLICY_NAME_MAX + 64]; /* kind and name of an item that cannot be read; "" none */
};

struct policy_loading *policy_loading_create(void)
{
    return calloc(1, sizeof(struct policy_loading));
}

static void row_clear(struct row *r)
{
    free(r->settings_json);
    free(r->parent);
    free(r->by);
    *r = (struct row){0};
}

void policy_loading_free(struct policy_loading *l)
{
    if (!l) return;
    for (struct kept *k = l->policies, *next; k; k = next) {
        next = k->next;
        row_clear(&k->rows[0]);
        row_clear(&k->rows[1]);
        roll_release(k->roll);
        free(k->name);
        free(k);
    }
    for (size_t i = 0; i < l->count; i++) assignment_release(l->assignments[i]);
    free(l->assignments);
    free(l);
}

/* Found or made; NULL: no memory. */
static struct kept *kept_of(struct policy_loading *l, const char *name)
{
    struct kept *k = l->policies;
    while (k && strcmp(k->name, name) != 0) k = k->next;
    if (k) return k;
    k = calloc(1, sizeof *k);
    if (!k || !(k->name = strdup(name))) {
        free(k);
        return NULL;
    }
    k->next = l->policies;
    return l->policies = k;
}

/* ---- items ---- */
enum reading { READ, DAMAGED, NO_MEMORY };

static enum reading read_roll(const json_t *item, struct kept *k)
{
    const json_t *groups = json_object_get(item, "groups"), *value;
    json_int_t percent = json_integer_value(json_object_get(item, "percent"));
    const char *names[GROUPS_MAX];
    size_t i;
    if (!json_is_array(groups) || json_array_size(groups) > GROUPS_MAX || percent < 0 ||
        percent > 100)
        return DAMAGED;
    json_array_foreach(groups, i, value)
    {
        if (!json_is_string(value)) return DAMAGED;
        names[i] = json_string_value(value);
    }
    k->roll = roll_create((unsigned)percent, names, json_array_size(groups));
    return k->roll ? READ : NO_MEMORY;
}

static enum reading read_line(struct policy_loading *l, const char *name, const json_t *item)
{
    struct kept *k = kept_of(l, name);
    if (!k) return NO_MEMORY;
    k->removed = (uint64_t)json_integer_value(json_object_get(item, "removed"));
    k->current = (uint64_t)json_integer_value(json_object_get(item, "current"));
    k->candidate = (uint64_t)json_integer_value(json_object_get(item, "candidate"));
    if (!k->removed == !k->current) return DAMAGED;
    return k->candidate ? read_roll(item, k) : READ;
}

static enum reading read_assignment(struct policy_loading *l, const json_t *item)
{
    const char *scope = json_string_value(json_object_get(item, "scope"));
    const char *policy = json_string_value(json_object_get(item, "policy"));
    struct gate_assignee to = {
        .group = json_string_value(json_object_get(item, "group")),
        .user = json_string_value(json_object_get(item, "user")),
        .device_id = json_string_value(json_object_get(item, "device_id")),
    };
    if (!scope || !policy || !gate_scope_parse(scope, &to.scope) ||
        (to.scope == GATE_SCOPE_GROUP) != (to.group != NULL) ||
        (to.scope == GATE_SCOPE_DEVICE) != (to.device_id != NULL) ||
        (to.scope == GATE_SCOPE_USER || to.scope == GATE_SCOPE_DEVICE) != (to.user != NULL))
        return DAMAGED;
    if (l->count == l->cap) {
        size_t cap = l->cap ? l->cap * 2 : 64;
        struct assignment **at = realloc(l->assignments, cap * sizeof(struct assignment *));
        if (!at) return NO_MEMORY;
        l->assignments = at;
        l->cap = cap;
    }
    struct assignment *a = assignment_create(&to, policy);
    if (!a) return NO_MEMORY;
    l->assignments[l->count++] = a;
    return READ;
}

bool policy_load_item(struct policy_loading *l, const struct item_record *r)
{
    bool line = strcmp(r->kind, "line") == 0;
    json_t *item;
    if (!line && strcmp(r->kind, "assignment") != 0) return true;
    if (!json_of_text(r->json, strlen(r->json), JSON_REJECT_DUPLICATES, &item)) return false;
    enum reading result = line ? read_line(l, r->name, item) : read_assignment(l, item);
    json_decref(item);
    if (result == DAMAGED)
        snprintf(l->damaged, sizeof l->damaged, "the %s of policies \"%s\"", r->kind, r->name);
    return result != NO_MEMORY;
}

/* ---- revisions ---- */
static bool keep_row(struct row *to, const struct policy_record *r)
{
    row_clear(to);
    *to = (struct row){r->revision, r->at, strdup(r->settings_json), strdup(r->parent),
                       strdup(r->by)};
    return to->settings_json && to->parent && to->by;
}

bool policy_load_revision(struct policy_loading *l, const struct policy_record *r)
{
    struct kept *k = kept_of(l, r->name);
    if (!k) return false;
    if (r->revision > l->last) l->last = r->revision;
    if (k->candidate && r->revision == k->candidate) return keep_row(&k->rows[1], r);
    if (k->current ? r->revision == k->current : r->revision > k->removed)
        return keep_row(&k->rows[0], r);
    return true;
}

/* ---- the book ---- */
struct fault {
    char *error;
    size_t cap;
};

/* NULL: error is set. */
static struct saved *load_row(const struct kept *k, const struct row *row, const struct fault *f)
{
    char why[256] = "out of memory";
    struct saved *s;
    const struct policy_record record = {
        .name = k->name,
        .revision = row->revision,
        .at = row->at,
        .settings_json = row->settings_json,
        .parent = row->parent,
        .by = row->by,
    };
    if (saved_load(&record, &s, why, sizeof why) == GATE_OK) return s;
    snprintf(f->error, f->cap, "policy \"%s\", revision %llu, cannot be used: %s", k->name,
             (unsigned long long)row->revision, why);
    return NULL;
}

static bool add_policy(struct book *b, const struct kept *k, const struct fault *f)
{
    if (!k->rows[0].revision && !k->current && !k->candidate) return true; /* removed */
    if (!k->rows[0].revision || (k->candidate && !k->rows[1].revision)) {
        snprintf(f->error, f->cap, "a revision of policy \"%s\" is missing", k->name);
        return false;
    }
    struct saved *current = load_row(k, &k->rows[0], f);
    struct saved *candidate = current && k->candidate ? load_row(k, &k->rows[1], f) : NULL;
    bool ok = current && (candidate || !k->candidate);
    struct line *l = ok ? book_put(b, current) : NULL;
    if (ok && !l) snprintf(f->error, f->cap, "out of memory");
    if (l && candidate) line_set_roll(l, candidate, k->roll);
    saved_release(current);
    saved_release(candidate);
    return l != NULL;
}

struct book *policy_load_end(struct policy_loading *l, const struct config_groups *groups,
                             uint64_t *last_out, char *error, size_t error_cap)
{
    const struct fault f = {error, error_cap};
    struct book *b = book_draft(NULL, groups);
    bool ok = b && !*l->damaged;
    if (*l->damaged)
        snprintf(error, error_cap, "%s cannot be read", l->damaged);
    else if (!b)
        snprintf(error, error_cap, "out of memory");
    for (const struct kept *k = l->policies; k && ok; k = k->next) ok = add_policy(b, k, &f);
    for (size_t i = 0; i < l->count && ok; i++)
        if (!(ok = book_assign(b, l->assignments[i]))) snprintf(error, error_cap, "out of memory");
    *last_out = l->last;
    if (ok) return b;
    book_release(b);
    return NULL;
}

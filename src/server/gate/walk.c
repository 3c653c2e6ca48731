/* Walks over the fleet: page by page from the store, whole users at a time, each as memory has him where
 * he is there. Who is not comes into memory for the moment only: a walk drives nobody out. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "src/server/gate/inner.h"
#include "src/server/gate/table/owner_load.h"
#include "src/server/gate/table/resident.h"
#include "src/server/store/change.h"

#define WALK_PAGE 500

struct walking {
    struct gate *g;
    const struct walk *w;
    struct submission **rows; /* of one device each: read, and not yet visited */
    size_t row_count, row_cap;
    struct device **found; /* of one user, by id */
    size_t found_count, found_cap;
    bool out_of_memory, unreachable, enough;
};

static const struct device_record *record_of(const struct submission *row)
{
    return &row->changes[0].u.device;
}

static bool goes_on(const struct walking *k)
{
    return !k->out_of_memory && !k->unreachable && !k->enough && !gate_is_ending(k->g);
}

/* ---- one user ---- */
static int by_id(const void *a, const void *b)
{
    return strcmp((*(struct device *const *)a)->id, (*(struct device *const *)b)->id);
}

/* Behind where the walk begins? */
static bool is_behind(const struct store_query *q, const struct device *d)
{
    int order = q->after_user ? strcmp(d->owner->name, q->after_user) : 1;
    return order > 0 || (order == 0 && strcmp(d->id, q->after_device_id) > 0);
}

/* The devices of an owner into found. Shard locked. false: no memory. */
static bool find_devices(struct walking *k, const struct owner *o)
{
    k->found_count = 0;
    if (o->count > k->found_cap) {
        size_t cap = (size_t)o->count * 2;
        struct device **found = realloc(k->found, cap * sizeof(struct device *));
        if (!found) return false;
        k->found = found;
        k->found_cap = cap;
    }
    for (struct device *d = o->devices; d; d = d->next)
        if (is_behind(&k->w->query, d)) k->found[k->found_count++] = d;
    if (k->found_count > 1) qsort(k->found, k->found_count, sizeof(struct device *), by_id);
    return true;
}

/* Shard locked. */
static void visit(struct walking *k, struct shard *s, const struct owner *o)
{
    k->out_of_memory = !find_devices(k, o);
    for (size_t i = 0; i < k->found_count && goes_on(k); i++)
        k->enough = !k->w->each(k->w->ctx, s, k->found[i]);
}

static void see_nothing(void *ctx, const struct device_record *r)
{
    (void)ctx, (void)r;
}

/* Who is being read, or is to be read again: as he is then. One whom nobody can read, since something of
 * him is damaged, must not hide all others. No shard locked. */
static void visit_later(struct walking *k, const char *user)
{
    struct resident r = {0};
    const struct store_query q = {.user = user, .most = 1};
    if (!resident_read(k->g, &r, user, RESIDENT_KNOWN)) {
        k->unreachable = !store_read_devices(k->g->store, &q, see_nothing, NULL);
        return;
    }
    struct shard *s = table_lock(k->g->table, user);
    visit(k, s, r.owner);
    table_unlock(s);
    resident_drop(&r);
}

/* As the rows have him. false: no memory. Shard locked. */
static bool make_devices(struct walking *k, struct shard *s, size_t from, size_t to,
                         struct bond_row *bonds)
{
    for (size_t i = from; i < to; i++)
        if (!owner_load_device(s, record_of(k->rows[i]))) return false;
    for (struct bond_row *b = bonds; b; b = b->next) {
        struct device *d =
            owner_device(shard_owner(s, record_of(k->rows[from])->user), b->device_id);
        if (d && !bond_merge(k->g, s, d, b)) return false;
    }
    return true;
}

/* What an upstream demands of him is part of his policies. One that is damaged, which was told, is left
 * out: it must not hide all others. */
static struct bond_row *read_bonds(struct walking *k, size_t from, size_t to)
{
    char name[AUTH_USER_MAX + PV_DEVICE_ID_MAX + 2];
    struct bond_row *bonds = NULL;
    for (size_t i = from; i < to && config_is_gateway(k->g->config); i++) {
        const struct device_record *r = record_of(k->rows[i]);
        if (!r->bond_json || !*r->bond_json) continue;
        snprintf(name, sizeof name, "%s/%s", r->user, r->device_id);
        (void)bond_read(k->g, &(struct item_record){BOND_KIND, name, r->bond_json}, &bonds);
    }
    return bonds;
}

static void visit_user(struct walking *k, size_t from, size_t to)
{
    const char *user = record_of(k->rows[from])->user;
    struct bond_row *bonds = read_bonds(k, from, to);
    struct shard *s = table_lock(k->g->table, user);
    struct owner *o = shard_owner(s, user);
    bool later = o && (!o->loaded || o->stale);
    if (o && !later) {
        visit(k, s, o);
    } else if (!o) {
        k->out_of_memory = !make_devices(k, s, from, to, bonds);
        o = shard_owner(s, user);
        if (o && !k->out_of_memory) visit(k, s, o);
        if (o) shard_owner_remove(s, o);
    }
    table_unlock(s);
    bond_rows_free(bonds);
    if (later) visit_later(k, user);
    if (k->w->between) k->w->between(k->w->ctx);
}

/* ---- pages ---- */
static void take_row(void *ctx, const struct device_record *r)
{
    struct walking *k = ctx;
    if (k->row_count == k->row_cap) {
        size_t cap = k->row_cap ? k->row_cap * 2 : WALK_PAGE;
        struct submission **rows = realloc(k->rows, cap * sizeof(struct submission *));
        k->out_of_memory |= !rows;
        if (!rows) return;
        k->rows = rows;
        k->row_cap = cap;
    }
    const struct store_change c = {.kind = STORE_PUT_DEVICE, .u.device = *r};
    struct submission *row = k->out_of_memory ? NULL : submission_create(&c, 1, NULL);
    k->out_of_memory |= !row;
    if (row) k->rows[k->row_count++] = row;
}

static bool is_of(const struct walking *k, size_t row, const char *user)
{
    return strcmp(record_of(k->rows[row])->user, user) == 0;
}

/* The users whose rows are all there; those of the last one need not be, unless that was all. */
static void visit_page(struct walking *k, bool all)
{
    size_t from = 0;
    for (size_t to; from < k->row_count && goes_on(k); from = to) {
        const char *user = record_of(k->rows[from])->user;
        for (to = from + 1; to < k->row_count && is_of(k, to, user);) to++;
        if (to == k->row_count && !all) break;
        visit_user(k, from, to);
    }
    for (size_t i = 0; i < from; i++) free(k->rows[i]);
    memmove(k->rows, k->rows + from, (k->row_count - from) * sizeof *k->rows);
    k->row_count -= from;
}

static void read_pages(struct walking *k)
{
    struct store_query q = k->w->query;
    char user[AUTH_USER_MAX], device_id[PV_DEVICE_ID_MAX + 1] = "";
    q.most = WALK_PAGE;
    /* From the first device of the user on: how many he has counts for each. */
    if (q.after_user) q.after_device_id = "";
    for (bool all = false; !all && goes_on(k);) {
        size_t before = k->row_count;
        k->unreachable = !store_read_devices(k->g->store, &q, take_row, k);
        all = k->row_count == before; /* one that is not full need not be the last */
        if (!goes_on(k)) return;
        if (k->row_count > 0) {
            const struct device_record *last = record_of(k->rows[k->row_count - 1]);
            snprintf(user, sizeof user, "%s", last->user);
            snprintf(device_id, sizeof device_id, "%s", last->device_id);
            q.after_user = user;
            q.after_device_id = device_id;
            visit_page(k, all);
        }
    }
}

/* ---- who is in memory only ---- */
static void save_new(struct gate *g, struct shard *s, struct owner *o)
{
    static const struct cause cause = {0};
    for (struct device *d = o->devices; d; d = d->next)
        if (!d->tag && !desk_taken(&d->desk)) device_save_behind(g, s, d, NULL, time(NULL), &cause);
}

/* A device that was never stored is in no page. What is still on its way is waited for, a few seconds at
 * most: a store that does not write shows what it has. Once for a listing: who comes while it is read page
 * after page is in it or not. */
static void store_new(struct gate *g, const struct store_query *q)
{
    if (q->user) {
        struct shard *s = table_lock(g->table, q->user);
        struct owner *o = shard_owner(s, q->user);
        if (o) save_new(g, s, o);
        table_unlock(s);
    } else if (q->after_user) {
        return;
    }
    for (size_t i = 0; !q->user && i < TABLE_SHARDS; i++) {
        struct shard *s = &g->table->shards[i];
        pthread_mutex_lock(&s->mutex);
        for (size_t b = 0; b <= s->mask; b++)
            for (struct owner *o = s->buckets[b]; o; o = o->next) save_new(g, s, o);
        pthread_mutex_unlock(&s->mutex);
    }
    (void)store_settle(g->store, store_submitted(g->store));
}

bool gate_walk(struct gate *g, const struct walk *w)
{
    struct walking k = {.g = g, .w = w};
    store_new(g, &w->query);
    read_pages(&k);
    for (size_t i = 0; i < k.row_count; i++) free(k.rows[i]);
    free(k.rows);
    free(k.found);
    return !k.out_of_memory && !k.unreachable && !gate_is_ending(g);
}

/* ---- the threads that walk ---- */
bool gate_on_walks(struct gate *g, struct job *j)
{
    return pool_submit(g->walks, j);
}

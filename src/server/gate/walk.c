/* Walks over the fleet: user by user, in order, as memory has them. */
#include <stdlib.h>
#include <string.h>

#include "src/server/gate/inner.h"
#include "src/server/gate/table/resident.h"

struct walking {
    struct gate *g;
    const struct walk *w;
    char **users; /* by name */
    size_t user_count, user_cap;
    struct device **found; /* of one user, by id */
    size_t found_count, found_cap;
    bool out_of_memory, enough;
};

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

static bool make_room(struct walking *k, size_t count)
{
    if (count <= k->found_cap) return true;
    struct device **found = realloc(k->found, count * 2 * sizeof(struct device *));
    if (!found) return false;
    k->found = found;
    k->found_cap = count * 2;
    return true;
}

/* The devices of an owner into found. Shard locked. false: no memory. */
static bool find_devices(struct walking *k, const struct owner *o)
{
    k->found_count = 0;
    if (!make_room(k, o->count)) return false;
    for (struct device *d = o->devices; d; d = d->next)
        if (is_behind(&k->w->query, d)) k->found[k->found_count++] = d;
    if (k->found_count > 1) qsort(k->found, k->found_count, sizeof(struct device *), by_id);
    return true;
}

static void visit_user(struct walking *k, const char *user)
{
    struct shard *s = table_lock(k->g->table, user);
    const struct owner *o = shard_owner(s, user);
    if (o && !find_devices(k, o)) k->out_of_memory = true;
    for (size_t i = 0; o && i < k->found_count && !k->out_of_memory && !k->enough; i++)
        k->enough = !k->w->each(k->w->ctx, s, k->found[i]);
    table_unlock(s);
    if (k->w->between) k->w->between(k->w->ctx);
}

/* ---- all of them ---- */
static bool add_user(struct walking *k, const char *user)
{
    if (k->user_count == k->user_cap) {
        size_t cap = k->user_cap ? k->user_cap * 2 : 256;
        char **users = realloc(k->users, cap * sizeof *users);
        if (!users) return false;
        k->users = users;
        k->user_cap = cap;
    }
    char *copy = strdup(user);
    if (copy) k->users[k->user_count++] = copy;
    return copy != NULL;
}

static void add_users(struct walking *k, struct shard *s)
{
    const struct store_query *q = &k->w->query;
    pthread_mutex_lock(&s->mutex);
    for (size_t b = 0; b <= s->mask; b++)
        for (struct owner *o = s->buckets[b]; o && !k->out_of_memory; o = o->next)
            if (o->devices && (!q->user || strcmp(o->name, q->user) == 0) &&
                (!q->after_user || strcmp(o->name, q->after_user) >= 0))
                k->out_of_memory = !add_user(k, o->name);
    pthread_mutex_unlock(&s->mutex);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

bool gate_walk(struct gate *g, const struct walk *w)
{
    struct walking k = {.g = g, .w = w};
    for (size_t i = 0; i < TABLE_SHARDS; i++) add_users(&k, &g->table->shards[i]);
    if (k.user_count) qsort(k.users, k.user_count, sizeof *k.users, by_name);
    for (size_t i = 0; i < k.user_count && !k.out_of_memory && !k.enough; i++)
        if (!atomic_load_explicit(&g->ending, memory_order_relaxed)) visit_user(&k, k.users[i]);
    for (size_t i = 0; i < k.user_count; i++) free(k.users[i]);
    free(k.users);
    free(k.found);
    return !k.out_of_memory && !atomic_load_explicit(&g->ending, memory_order_relaxed);
}

/* ---- the threads that walk ---- */
bool gate_on_walks(struct gate *g, struct job *j)
{
    return pool_submit(g->walks, j);
}

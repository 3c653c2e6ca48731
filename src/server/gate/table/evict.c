/* A clock for each shard: its hand goes over the users, and who was used since it last came by gets
 * another round. What a user still owes the store is queued on one round, and he leaves on a later one. */
#include "src/server/gate/table/evict.h"

#include <time.h>

#include "src/server/gate/trail/keeper.h"

#define SAVES_A_LOOK 64 /* devices of one user that are queued: the shard is locked meanwhile */

static bool is_in_use(const struct owner *o)
{
    return o->pins || o->reading || o->waiting;
}

/* How the trails of a user's devices stand. A shard has few, a user may have many devices. */
struct trails_standing {
    bool dirty, warm;
};

static void add_trail(struct trails_standing *all, struct trail *t, int64_t now)
{
    all->dirty = all->dirty || t->dirty;
    all->warm = all->warm || damping_is_warm(&t->damping, now);
}

static struct trails_standing trails_of(struct shard *s, const struct owner *o, int64_t now)
{
    struct trails_standing all = {0};
    struct trail *t;
    if (o->count > s->trails.count) {
        for (t = s->trails.newest; t; t = t->older)
            if (t->device->owner == o) add_trail(&all, t, now);
        return all;
    }
    for (const struct device *d = o->devices; d; d = d->next)
        if ((t = trail_find(&s->trails, d))) add_trail(&all, t, now);
    return all;
}

/* What only memory knows of a loop, and the lines that the user's devices have caused, must not be
 * forgotten while they matter. The trails of a shard are bounded, and so are those who stay by them. */
static bool is_warm(const struct gate *g, struct owner *o, const struct trails_standing *trails,
                    int64_t now)
{
    if (!config_now(g->config)->damping) return false;
    return trails->warm ||
           heat_now(&o->notes, DAMPING_NOTES_HALF_LIFE, now) > DAMPING_NOTES_MOST / 2;
}

static bool somebody_needs(const struct owner *o)
{
    for (const struct device *d = o->devices; d; d = d->next)
        if (d->waiters || desk_taken(&d->desk)) return true;
    return false;
}

/* false: something of it is on its way to the store, or was still here. */
static bool is_written(struct gate *g, struct shard *s, struct owner *o, int64_t now)
{
    static const struct cause cause = {0};
    unsigned unsaved = 0;
    for (struct device *d = o->devices; d && unsaved < SAVES_A_LOOK; d = d->next) {
        /* What is in doubt is not written: the store may hold what nobody here knows. */
        if (!d->unsaved || o->stale) continue;
        unsaved++;
        device_save_behind(g, s, d, NULL, now, &cause);
    }
    return !unsaved && store_settled(g->store, o->position);
}

static void look_at(struct gate *g, struct shard *s, struct owner *o, int64_t now)
{
    if (is_in_use(o)) return;
    if (o->used) {
        o->used = false;
        return;
    }
    if (somebody_needs(o)) return;
    const struct trails_standing trails = trails_of(s, o, now);
    if (trails.dirty) keeper_want(g);
    bool written = is_written(g, s, o, now);
    if (written && !trails.dirty && !is_warm(g, o, &trails, now)) shard_owner_remove(s, o);
}

bool shard_make_room(struct gate *g, struct shard *s, size_t looks)
{
    size_t most = config_now(g->config)->partnerships_in_memory / TABLE_SHARDS;
    int64_t now = 0;
    for (size_t n = 0; s->weight > most && n < looks; n++) {
        if (!now) now = time(NULL);
        s->hand = (s->hand + 1) & s->mask;
        for (struct owner *o = s->buckets[s->hand], *next; o && s->weight > most; o = next) {
            next = o->next;
            look_at(g, s, o, now);
        }
    }
    return s->weight <= most;
}

void shard_let_go(struct gate *g, struct shard *s, struct owner *o)
{
    if (!o->loaded && !is_in_use(o)) shard_owner_remove(s, o);
    if (!shard_make_room(g, s, EVICT_LOOKS_LETTING_GO)) keeper_want(g);
}

/* ---- all of them ---- */
/* Once round every shard that has too many. true: one still has. */
static bool go_round(struct gate *g)
{
    bool over = false;
    for (size_t i = 0; i < TABLE_SHARDS; i++) {
        struct shard *s = &g->table->shards[i];
        pthread_mutex_lock(&s->mutex);
        over = !shard_make_room(g, s, s->mask + 1) || over;
        pthread_mutex_unlock(&s->mutex);
    }
    return over;
}

/* On the first round those become unused who were used, on the next what they owe is queued, and then
 * they leave. */
void table_make_room(struct gate *g)
{
    for (unsigned round = 0; round < EVICT_ROUNDS && go_round(g); round++)
        if (!store_settle(g->store, store_submitted(g->store))) return;
}

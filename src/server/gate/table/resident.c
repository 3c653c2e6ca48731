#include "src/server/gate/table/resident.h"

#include <stdlib.h>

#include "src/server/gate/inner.h"
#include "src/server/gate/table/evict.h"
#include "src/server/gate/table/owner_load.h"
#include "src/server/http/pool.h"
#include "src/server/observe/log.h"

#define THREADS_LEAST 2      /* one that waits for a write must not hold up the others */
#define READINGS_MAX 1000000 /* that wait: one for each user in the table at most */

struct residents {
    struct pool *pool;
    pthread_mutex_t mutex; /* guards `served` of those whose thread waits */
    pthread_cond_t serving;
};

struct residents *residents_create(struct gate *g)
{
    unsigned threads = store_is_shared(g->store) ? g->config->store_connections : 0;
    struct residents *all = calloc(1, sizeof *all);
    if (!all) return NULL;
    all->pool =
        pool_create("resident", threads < THREADS_LEAST ? THREADS_LEAST : threads, READINGS_MAX);
    if (!all->pool) {
        free(all);
        return NULL;
    }
    pthread_mutex_init(&all->mutex, NULL);
    pthread_cond_init(&all->serving, NULL);
    return all;
}

void residents_destroy(struct residents *all)
{
    if (!all) return;
    pool_destroy(all->pool);
    pthread_cond_destroy(&all->serving);
    pthread_mutex_destroy(&all->mutex);
    free(all);
}

void reading_queue(struct residents *all, struct owner_reading *r)
{
    if (!pool_submit_for(all->pool, &r->job, NULL)) reading_fail(r);
}

/* ---- pins ---- */
void owner_pin(struct owner *o)
{
    o->pins++;
}

void owner_unpin(struct gate *g, struct shard *s, struct owner *o)
{
    o->pins--;
    shard_let_go(g, s, o);
}

/* Takes over the pin of o. */
static void replace(struct resident *r, struct owner *o)
{
    struct owner *old = r->owner;
    r->owner = o;
    if (!old) return;
    struct shard *s = table_lock(r->gate->table, old->name);
    owner_unpin(r->gate, s, old);
    table_unlock(s);
}

void resident_drop(struct resident *r)
{
    replace(r, NULL);
}

/* ---- waiting ---- */
static void told(struct task *t)
{
    struct resident *r = (struct resident *)t;
    if (r->ok) replace(r, r->coming);
    r->ready(r, r->ok);
}

void resident_tell(struct resident *r, bool ok)
{
    struct residents *all = r->gate->residents;
    r->ok = ok;
    if (r->home) {
        r->task.fn = told;
        worker_post(r->home, &r->task);
        return;
    }
    pthread_mutex_lock(&all->mutex);
    r->served = true;
    pthread_cond_broadcast(&all->serving);
    pthread_mutex_unlock(&all->mutex);
}

enum want { THERE, WAITS, NO_MEMORY };

static bool is_there(const struct gate *g, const struct owner *o, enum resident_need need)
{
    return o->loaded && !o->stale && (need == RESIDENT_KNOWN || !store_is_shared(g->store));
}

/* r waits, for a reading that is under way or for that which is then in *begun_out. Shard locked. */
static bool wait_in_line(struct gate *g, struct owner *o, struct resident *r,
                         struct owner_reading **begun_out)
{
    if (!o->reading) *begun_out = reading_begin(g, o);
    if (!o->reading) return false;
    r->asked_at = o->readings;
    r->coming = o;
    r->next = o->waiting;
    o->waiting = r;
    return true;
}

/* Of a user who is there, it is pinned and stands in r->coming. */
static enum want want(struct gate *g, struct resident *r, const char *user, enum resident_need need,
                      struct owner_reading **begun_out)
{
    enum want result = NO_MEMORY;
    struct shard *s = table_lock(g->table, user);
    struct owner *o = shard_owner_add(s, user);
    *begun_out = NULL;
    r->gate = g;
    r->need = need;
    r->served = false;
    if (o) {
        o->used = true;
        owner_pin(o);
        if (is_there(g, o, need)) {
            r->coming = o;
            result = THERE;
        } else {
            if (wait_in_line(g, o, r, begun_out)) result = WAITS;
            owner_unpin(g, s, o);
        }
    }
    table_unlock(s);
    return result;
}

bool resident_want(struct gate *g, struct resident *r, const char *user, enum resident_need need)
{
    struct owner_reading *begun;
    r->home = worker_self();
    switch (want(g, r, user, need, &begun)) {
    case THERE: replace(r, r->coming); return true;
    case WAITS:
        if (begun) reading_queue(g->residents, begun);
        return false;
    case NO_MEMORY: break;
    }
    resident_tell(r, false);
    return false;
}

bool resident_read(struct gate *g, struct resident *r, const char *user, enum resident_need need)
{
    struct residents *all = g->residents;
    struct owner_reading *begun;
    r->home = NULL;
    r->ok = false;
    switch (want(g, r, user, need, &begun)) {
    case THERE: r->ok = true; break;
    case WAITS:
        if (begun) reading_run(begun);
        pthread_mutex_lock(&all->mutex);
        while (!r->served) pthread_cond_wait(&all->serving, &all->mutex);
        pthread_mutex_unlock(&all->mutex);
        break;
    case NO_MEMORY: break;
    }
    if (r->ok) replace(r, r->coming);
    return r->ok;
}

/* ---- doubts ---- */
void owner_doubt(struct owner *o)
{
    o->stale = true;
    o->doubts++;
}

void device_not_stored(struct gate *g, struct device *d, uint64_t tag, const struct store_write *w)
{
    if (w->conflict || w->lost || store_is_shared(g->store) || d->tag != tag) {
        /* It may be stored by that tag nevertheless, and is not what is in memory: a name of nothing. */
        if (d->tag == tag) d->tag = store_tag();
        owner_doubt(d->owner);
        return;
    }
    d->tag = d->was;
    d->was = 0;
}

bool owner_is_waited_on(const struct owner *o)
{
    for (const struct device *d = o->devices; d; d = d->next)
        if (d->waiters) return true;
    return false;
}

/* Who waits on a device cannot ask by himself. Without memory he is woken for nothing. Shard locked.
 * NULL: nothing is to be read. */
static struct owner_reading *look_again(struct gate *g, struct owner *o)
{
    if (!o->stale || o->reading || !owner_is_waited_on(o)) return NULL;
    struct owner_reading *r = reading_begin(g, o);
    for (struct device *d = r ? NULL : o->devices; d; d = d->next) device_wake(g, d);
    return r;
}

static void look_again_in(struct gate *g, struct shard *s, bool doubt)
{
    struct owner_reading *begun = NULL, *r;
    pthread_mutex_lock(&s->mutex);
    for (size_t b = 0; b <= s->mask; b++)
        for (struct owner *o = s->buckets[b]; o; o = o->next) {
            if (doubt) owner_doubt(o);
            if (!(r = look_again(g, o))) continue;
            r->next = begun;
            begun = r;
        }
    pthread_mutex_unlock(&s->mutex);
    while ((r = begun)) {
        begun = r->next;
        reading_queue(g->residents, r);
    }
}

void resident_stale(struct gate *g, const char *user)
{
    for (size_t i = 0; !user && i < TABLE_SHARDS; i++) look_again_in(g, &g->table->shards[i], true);
    if (!user) return;
    struct shard *s = table_lock(g->table, user);
    struct owner *o = shard_owner(s, user);
    if (o) owner_doubt(o);
    table_unlock(s);
    resident_look_again(g, user);
}

void resident_look_again(struct gate *g, const char *user)
{
    for (size_t i = 0; !user && i < TABLE_SHARDS; i++)
        look_again_in(g, &g->table->shards[i], false);
    if (!user) return;
    struct shard *s = table_lock(g->table, user);
    struct owner *o = shard_owner(s, user);
    struct owner_reading *r = o ? look_again(g, o) : NULL;
    table_unlock(s);
    if (r) reading_queue(g->residents, r);
}

/* ---- writing ---- */
bool owner_submit(struct gate *g, struct owner *o, const struct store_change *changes, size_t count,
                  struct store_write *w)
{
    if (!store_submit(g->store, changes, count, w)) return false;
    o->position = store_submitted(g->store);
    o->changes++;
    return true;
}

void device_submitted(struct gate *g, struct device *d, const struct device_record *r)
{
    d->owner->position = store_submitted(g->store);
    d->changed = ++d->owner->changes;
    if (!r) return;
    d->was = r->was;
    d->tag = r->tag;
}

bool device_submit(struct gate *g, struct device *d, const struct store_change *changes,
                   size_t count, struct store_write *w)
{
    const struct device_record *r = NULL;
    for (size_t i = 0; i < count; i++)
        if (changes[i].kind == STORE_PUT_DEVICE) r = &changes[i].u.device;
    if (!store_submit(g->store, changes, count, w)) return false;
    device_submitted(g, d, r);
    return true;
}

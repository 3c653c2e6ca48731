/* Listings for administrators: copies, so that nobody waits while they are written out. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "src/server/gate/inner.h"
#include "src/server/observe/log.h"

struct list {
    struct device **at;
    size_t count, cap;
};

static bool push(struct list *l, struct device *d)
{
    if (l->count == l->cap) {
        size_t cap = l->cap ? l->cap * 2 : 256;
        struct device **at = realloc(l->at, cap * sizeof(struct device *));
        if (!at) return false;
        l->at = at;
        l->cap = cap;
    }
    l->at[l->count++] = device_hold(d);
    return true;
}

static bool collect(struct list *l, struct shard *s)
{
    bool ok = true;
    pthread_mutex_lock(&s->mutex);
    for (size_t b = 0; b <= s->mask; b++)
        for (struct owner *o = s->buckets[b]; o; o = o->next)
            for (struct device *d = o->devices; d && ok; d = d->next) ok = push(l, d);
    pthread_mutex_unlock(&s->mutex);
    return ok;
}

static int by_name(const void *a, const void *b)
{
    const struct device *x = *(struct device *const *)a, *y = *(struct device *const *)b;
    int order = strcmp(x->owner->name, y->owner->name);
    return order ? order : strcmp(x->id, y->id);
}

/* The texts that may change, copied; NULL: out of memory. */
static char *copy_texts(const struct device *d, struct device_view *v)
{
    const char **const to[KIND_TEXTS] = {
        [KIND_TYPE] = &v->device_type,
        [KIND_AGENT] = &v->user_agent,
        [KIND_MODEL] = &v->model,
        [KIND_OS] = &v->os,
    };
    size_t size = 0;
    for (enum kind_text i = 0; i < KIND_TEXTS; i++) size += strlen(device_text(d, i)) + 1;
    char *block = malloc(size), *at = block;
    for (enum kind_text i = 0; block && i < KIND_TEXTS; i++) {
        size_t len = strlen(device_text(d, i)) + 1;
        *to[i] = memcpy(at, device_text(d, i), len);
        at += len;
    }
    return block;
}

/* false: out of memory. */
static bool show_device(struct gate *g, struct device *d,
                        void (*each)(void *ctx, const struct device_view *d), void *ctx)
{
    struct shard *s = table_lock(g->table, d->owner->name);
    struct pv_partnership partnership;
    const struct pv_partnership *p = &partnership;
    char by[ACCESS_BY_TEXT];
    const struct verdict verdict = access_now(g, s, d);
    d->access = (uint8_t)verdict.access;
    access_by_text(&verdict, by);
    device_partnership(d, &partnership);
    struct revision *r = policy_for(s->book, d->owner->name, d->id);
    struct device_view v = {
        .user = d->owner->name,
        .device_id = d->id,
        .policy = r->name,
        .access = verdict.access,
        .access_by = by,
        .version = (enum pv_version)d->version,
        .state = pv_server_state(p, &r->facts[d->version], time(NULL)),
        .outcome = (enum pv_outcome)p->outcome,
        .revision = p->key ? p->key_revision : 0,
        .first_seen = d->first_seen,
        .last_seen = d->last_seen,
        .key_at = p->key ? p->key_at : 0,
        .said = p->said,
        .outcome_revision = p->outcome_revision,
        .wipe_state = (enum pv_wipe_state)p->wipe_state,
        .wipe_id = p->wipe_id,
    };
    char *texts = copy_texts(d, &v);
    bool gone = d->gone;
    revision_hold(r);
    table_unlock(s);
    if (texts && !gone) each(ctx, &v);
    revision_release(r);
    free(texts);
    return texts != NULL;
}

bool gate_each_device(struct gate *g, void (*each)(void *ctx, const struct device_view *d),
                      void *ctx)
{
    struct list l = {0};
    bool ok = true;
    for (size_t i = 0; i < TABLE_SHARDS; i++) ok = collect(&l, &g->table->shards[i]) && ok;
    if (l.count) qsort(l.at, l.count, sizeof *l.at, by_name);
    for (size_t i = 0; i < l.count; i++) {
        ok = show_device(g, l.at[i], each, ctx) && ok;
        device_release(l.at[i]);
    }
    free(l.at);
    return ok;
}

void gate_count(struct gate *g, struct gate_counts *out)
{
    *out = (struct gate_counts){
        .requests = atomic_load_explicit(&g->requests, memory_order_relaxed),
        .refusals = atomic_load_explicit(&g->refusals, memory_order_relaxed),
        .handshakes = atomic_load_explicit(&g->handshakes, memory_order_relaxed),
    };
    for (size_t i = 0; i < TABLE_SHARDS; i++) {
        struct shard *s = &g->table->shards[i];
        pthread_mutex_lock(&s->mutex);
        out->devices += (unsigned)s->devices;
        out->waiting_pings += (unsigned)s->waiters;
        pthread_mutex_unlock(&s->mutex);
    }
}

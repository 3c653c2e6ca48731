/* Whom a change of the book concerns: counted beforehand and put in force by the same walk. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "src/server/gate/inner.h"

static int by_name(const struct device *x, const struct device *y)
{
    int order = strcmp(x->owner->name, y->owner->name);
    return order ? order : strcmp(x->id, y->id);
}

/* ---- the first devices of all: a heap with the last of them on top ---- */
static void swap(struct device **a, struct device **b)
{
    struct device *kept = *a;
    *a = *b;
    *b = kept;
}

static void sink(struct effect *e, size_t at)
{
    for (;;) {
        size_t most = at;
        for (size_t child = 2 * at + 1; child <= 2 * at + 2 && child < e->count; child++)
            if (by_name(e->least[child], e->least[most]) > 0) most = child;
        if (most == at) return;
        swap(&e->least[at], &e->least[most]);
        at = most;
    }
}

static void remember(struct effect *e, struct device *d)
{
    if (!e->least && !(e->least = malloc(ASKED_DEVICES_MAX * sizeof(struct device *)))) {
        e->out_of_memory = true;
        return;
    }
    if (e->count < ASKED_DEVICES_MAX) {
        size_t at = e->count++;
        e->least[at] = device_hold(d);
        for (; at && by_name(e->least[at], e->least[(at - 1) / 2]) > 0; at = (at - 1) / 2)
            swap(&e->least[at], &e->least[(at - 1) / 2]);
    } else if (by_name(d, e->least[0]) < 0) {
        device_release(e->least[0]);
        e->least[0] = device_hold(d);
        sink(e, 0);
    }
}

/* ---- the walk ---- */
static void look_at(struct effect *e, const struct shard *s, struct device *d, bool apply)
{
    enum pv_version version = (enum pv_version)d->version;
    const struct revision *was = policy_of(s, d), *is = policy_in(e->book, s, d);
    if (was == is && is) return;
    if (!was || !is) { /* it finds out itself, with its next request */
        e->out_of_memory = true;
        if (apply) device_wake(e->g, d);
        return;
    }
    if (!revision_differs(was, is, version)) return;
    if (d->key && memcmp(d->key_hash, is->facts[version].hash, PV_HASH_LEN) != 0) {
        e->to_ask++;
        e->cannot_keep += d->said == 2 || d->said == 3;
        if (e->list) remember(e, d);
    }
    if (apply) device_wake(e->g, d);
}

static void walk_shard(struct effect *e, struct shard *s, bool apply)
{
    pthread_mutex_lock(&s->mutex);
    struct book *old = s->book;
    for (size_t b = 0; b <= s->mask && !e->user; b++)
        for (struct owner *o = s->buckets[b]; o; o = o->next)
            for (struct device *d = o->devices; d; d = d->next) look_at(e, s, d, apply);
    struct owner *only = e->user ? shard_owner(s, e->user) : NULL;
    for (struct device *d = only ? only->devices : NULL; d; d = d->next) look_at(e, s, d, apply);
    if (apply) s->book = book_hold(e->book);
    pthread_mutex_unlock(&s->mutex);
    if (apply) book_release(old);
}

void effect_try(struct effect *e)
{
    for (size_t i = 0; i < TABLE_SHARDS; i++) walk_shard(e, &e->g->table->shards[i], false);
}

void effect_apply(struct effect *e)
{
    for (size_t i = 0; i < TABLE_SHARDS; i++) walk_shard(e, &e->g->table->shards[i], true);
}

static int by_pointed(const void *a, const void *b)
{
    return by_name(*(struct device *const *)a, *(struct device *const *)b);
}

static void copy_device(struct effect *e, struct device *d, int64_t now, struct asked_device *out)
{
    struct pv_partnership p;
    struct shard *s = table_lock(e->g->table, d->owner->name);
    const struct revision *r = policy_of(s, d);
    device_judge_access(e->g, s, d);
    device_partnership(d, &p);
    if (!r) e->out_of_memory = true;
    memcpy(out->user, d->owner->name, strnlen(d->owner->name, sizeof out->user - 1));
    memcpy(out->device_id, d->id, strnlen(d->id, sizeof out->device_id - 1));
    out->version = (enum pv_version)d->version;
    out->state = r ? pv_server_state(&p, &r->facts[d->version], now) : (enum pv_state)d->state;
    out->said = p.said;
    out->said_revision = p.outcome_revision;
    table_unlock(s);
}

struct asked_device *effect_devices(struct effect *e, size_t *count_out)
{
    struct asked_device *all = e->count ? calloc(e->count, sizeof *all) : NULL;
    if (e->count && !all) e->out_of_memory = true;
    *count_out = all ? e->count : 0;
    if (!all) return NULL;
    qsort(e->least, e->count, sizeof *e->least, by_pointed);
    for (size_t i = 0; i < e->count; i++) copy_device(e, e->least[i], time(NULL), &all[i]);
    return all;
}

void effect_finish(struct effect *e)
{
    for (size_t i = 0; i < e->count; i++) device_release(e->least[i]);
    free(e->least);
    e->least = NULL;
    e->count = 0;
}

/* Listings for administrators: copies, so that nobody waits while they are written out. */
#include <stdio.h>
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
    const struct extra *e = d->extra;
    const struct {
        const char **to, *from;
    } texts[] = {
        {&v->device_type, device_text(d, KIND_TYPE)},
        {&v->user_agent, device_text(d, KIND_AGENT)},
        {&v->model, device_text(d, KIND_MODEL)},
        {&v->os, device_text(d, KIND_OS)},
        {&v->wipe_by, e && e->wipe_by ? e->wipe_by : ""},
        {&v->wipe_reason, e && e->wipe_reason ? e->wipe_reason : ""},
    };
    const size_t count = sizeof texts / sizeof *texts;
    size_t size = 0;
    for (size_t i = 0; i < count; i++) size += strlen(texts[i].from) + 1;
    char *block = malloc(size), *at = block;
    for (size_t i = 0; block && i < count; i++) {
        size_t len = strlen(texts[i].from) + 1;
        *texts[i].to = memcpy(at, texts[i].from, len);
        at += len;
    }
    return block;
}

/* Into a view that has the rest already. A wipe that is over counts as expired at once. */
static void view_wipe(struct device_view *v, struct pv_partnership p, int64_t now)
{
    (void)pv_wipe_expire(&p, now);
    v->wipe = (enum pv_wipe_kind)p.wipe;
    v->wipe_state = (enum pv_wipe_state)p.wipe_state;
    v->wipe_id = p.wipe_id;
    v->wipe_at = p.wipe_at;
    v->wipe_sent_at = p.wipe_sent_at;
    v->wipe_ended_at = p.wipe_ended_at;
    v->wipe_expires_at = p.wipe_expires_at;
    v->shut = p.shut != PV_SHUT_NOT;
}

struct faces {
    char type[KIND_TEXT_MAX], agent[KIND_TEXT_MAX];
};

/* Shard locked. */
static void view_trail(struct device_view *v, const struct shard *s, const struct device *d,
                       int64_t now, struct faces *faces)
{
    enum damping_kind kind;
    struct trail *t = trail_find(&s->trails, d);
    v->loop_until = access_loop_until(d, now);
    faces->type[0] = faces->agent[0] = '\0';
    v->clone_type = faces->type;
    v->clone_agent = faces->agent;
    if (!t) return;
    if (damping_slowed(&t->damping, now, &kind)) v->slowed_by = damping_text(kind);
    v->clone_returns = t->clone.returns;
    if (!t->clone.other) return;
    snprintf(faces->type, sizeof faces->type, "%s", kind_text(t->clone.other, KIND_TYPE));
    snprintf(faces->agent, sizeof faces->agent, "%s", kind_text(t->clone.other, KIND_AGENT));
}

/* Shard locked. */
static void view_bond(struct device_view *v, const struct shard *s, const struct device *d,
                      char upstream[CLAIM_UPSTREAM_MAX])
{
    const struct bond *b = d->bound ? bond_find(&s->bonds, d) : NULL;
    if (!b) return;
    snprintf(upstream, CLAIM_UPSTREAM_MAX, "%s", b->claim->upstream);
    v->upstream = upstream;
    v->upstream_policy = b->claim->saved != NULL;
    v->upstream_key = b->key != 0;
}

/* Who else has a device of an id; names live as long as the table. */
struct others {
    const char *names[GATE_OTHERS_MAX];
    size_t count;
};

static int by_id(const void *a, const void *b)
{
    const struct device *x = *(struct device *const *)a, *y = *(struct device *const *)b;
    int order = strcmp(x->id, y->id);
    return order ? order : strcmp(x->owner->name, y->owner->name);
}

/* ids: all devices, by id. */
static void find_others(const struct list *ids, const struct device *d, struct others *out)
{
    size_t low = 0, high = ids->count;
    out->count = 0;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(ids->at[middle]->id, d->id) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < ids->count && strcmp(ids->at[low]->id, d->id) == 0; low++)
        if (ids->at[low] != d && out->count < GATE_OTHERS_MAX)
            out->names[out->count++] = ids->at[low]->owner->name;
}

/* false: out of memory. */
static bool show_device(struct gate *g, struct device *d, const struct others *others,
                        void (*each)(void *ctx, const struct device_view *d), void *ctx)
{
    struct shard *s = table_lock(g->table, d->owner->name);
    struct pv_partnership partnership;
    const struct pv_partnership *p = &partnership;
    char by[ACCESS_BY_TEXT], upstream[CLAIM_UPSTREAM_MAX];
    struct faces faces;
    struct revision *r = policy_of(s, d);
    if (!r) {
        table_unlock(s);
        return false;
    }
    const struct verdict verdict = access_now(g, s, d);
    d->access = (uint8_t)verdict.access;
    access_by_text(&verdict, by);
    device_partnership(d, &partnership);
    struct device_view v = {
        .user = d->owner->name,
        .device_id = d->id,
        .policy = r->name,
        .settings = &r->policy,
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
        .personal = (enum pv_personal)p->personal,
        .user_disabled = d->owner->disabled,
        .other_users = others->names,
        .other_user_count = others->count,
    };
    view_bond(&v, s, d, upstream);
    v.upstream_conflict = r->closed;
    view_trail(&v, s, d, time(NULL), &faces);
    view_wipe(&v, partnership, time(NULL));
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
    struct list ids = {.at = l.count ? malloc(l.count * sizeof *l.at) : NULL};
    if (ids.at) {
        ids.count = l.count;
        memcpy(ids.at, l.at, l.count * sizeof *l.at);
        qsort(ids.at, ids.count, sizeof *ids.at, by_id);
        qsort(l.at, l.count, sizeof *l.at, by_name);
    }
    ok = ok && (ids.at || !l.count);
    for (size_t i = 0; i < l.count; i++) {
        struct others others;
        find_others(&ids, l.at[i], &others);
        if (ok) ok = show_device(g, l.at[i], &others, each, ctx);
    }
    for (size_t i = 0; i < l.count; i++) device_release(l.at[i]);
    free(ids.at);
    free(l.at);
    return ok;
}

int gate_show_device(struct gate *g, const char *user, const char *device_id,
                     void (*show)(void *ctx, const struct device_view *d), void *ctx)
{
    struct shard *s = table_lock(g->table, user);
    struct device *d = owner_device(shard_owner(s, user), device_id);
    if (d) device_hold(d);
    table_unlock(s);
    if (!d) return 0;
    static const struct others unknown;
    bool ok = show_device(g, d, &unknown, show, ctx);
    device_release(d);
    return ok ? 1 : -1;
}

void gate_each_user_of(struct gate *g, const char *device_id, const char *but,
                       void (*each)(void *ctx, const char *user), void *ctx)
{
    for (size_t i = 0; i < TABLE_SHARDS; i++) {
        struct shard *s = &g->table->shards[i];
        pthread_mutex_lock(&s->mutex);
        for (size_t b = 0; b <= s->mask; b++)
            for (struct owner *o = s->buckets[b]; o; o = o->next)
                if (owner_device(o, device_id) && strcmp(o->name, but) != 0) each(ctx, o->name);
        pthread_mutex_unlock(&s->mutex);
    }
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

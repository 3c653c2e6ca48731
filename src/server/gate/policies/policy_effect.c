/* Whom a change of the book concerns: in force first, counted afterwards or not at all. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "src/server/gate/inner.h"
#include "src/server/gate/table/resident.h"

/* ---- in force ---- */
static void wake_if_other(struct effect *e, const struct shard *s, struct device *d)
{
    const struct revision *was = policy_in(e->was, s, d), *is = policy_in(e->is, s, d);
    /* Without memory it finds out itself, with its next request. */
    if (!was || !is || (was != is && revision_differs(was, is, (enum pv_version)d->version)))
        device_wake(e->g, d);
}

static void wake_shard(struct effect *e, struct shard *s)
{
    pthread_mutex_lock(&s->mutex);
    for (size_t b = 0; b <= s->mask && s->waiters; b++)
        for (struct owner *o = s->buckets[b]; o; o = o->next)
            for (struct device *d = o->devices; d; d = d->next)
                if (d->waiters) wake_if_other(e, s, d);
    pthread_mutex_unlock(&s->mutex);
}

void effect_apply(struct effect *e)
{
    for (size_t i = 0; i < TABLE_SHARDS; i++) {
        struct shard *s = &e->g->table->shards[i];
        pthread_mutex_lock(&s->mutex);
        struct book *old = s->book;
        s->book = book_hold(e->is);
        pthread_mutex_unlock(&s->mutex);
        book_release(old);
    }
    for (size_t i = 0; i < TABLE_SHARDS; i++) wake_shard(e, &e->g->table->shards[i]);
    e->since = time(NULL);
}

/* ---- counting ---- */
static bool list_device(struct effect *e, const struct shard *s, struct device *d,
                        const struct revision *was)
{
    struct pv_partnership p;
    if (!e->first && !(e->first = calloc(ASKED_DEVICES_MAX, sizeof *e->first))) return false;
    struct asked_device *out = &e->first[e->first_count++];
    device_judge_access(e->g, s, d);
    device_partnership(d, &p);
    memcpy(out->user, d->owner->name, strnlen(d->owner->name, sizeof out->user - 1));
    memcpy(out->device_id, d->id, strnlen(d->id, sizeof out->device_id - 1));
    out->version = (enum pv_version)d->version;
    out->state = pv_server_state(&p, &was->facts[d->version], time(NULL));
    out->said = p.said;
    out->said_revision = p.outcome_revision;
    return true;
}

/* Who has its key since the change was asked already. */
static bool is_asked(const struct effect *e, const struct device *d, const struct revision *is)
{
    return memcmp(d->key_hash, is->facts[d->version].hash, PV_HASH_LEN) != 0 ||
           (e->since && d->key_at > e->since);
}

static bool look_at(void *ctx, struct shard *s, struct device *d)
{
    struct effect *e = ctx;
    enum pv_version version = (enum pv_version)d->version;
    const struct revision *was = policy_in(e->was, s, d), *is = policy_in(e->is, s, d);
    e->failed = !was || !is;
    if (e->failed) return false;
    if (was == is || !d->key || !revision_differs(was, is, version) || !is_asked(e, d, is))
        return true;
    e->to_ask++;
    e->cannot_keep += d->said == 2 || d->said == 3;
    if (e->list && e->first_count < ASKED_DEVICES_MAX) e->failed = !list_device(e, s, d, was);
    return !e->failed;
}

static bool is_same_line(const struct line *a, const struct line *b)
{
    return b && a->effective == b->effective && a->next == b->next &&
           (!a->roller ||
            (a->roller->roll == b->roller->roll && strcmp(a->roller->name, b->roller->name) == 0));
}

static bool is_used(const struct book *b, const struct line *l)
{
    bool used = l == b->by_default;
    for (size_t i = 0; i < b->assignment_count && !used; i++) used = b->assigned[i] == l;
    return used;
}

/* Nothing is another that anybody has: what is new is assigned to nobody yet. */
static bool concerns_nobody(const struct effect *e)
{
    if (e->was->assignment_count != e->is->assignment_count) return false;
    for (size_t i = 0; i < e->was->assignment_count; i++)
        if (e->was->assignments[i] != e->is->assignments[i]) return false;
    for (size_t i = 0; i < e->was->line_count; i++) {
        const struct line *l = e->was->lines[i];
        if (!is_same_line(l, book_line(e->is, l->name)) && is_used(e->was, l)) return false;
    }
    return true;
}

bool effect_count(struct effect *e)
{
    const struct walk w = {.query.user = e->user, .each = look_at, .ctx = e};
    if (concerns_nobody(e)) return true;
    return gate_walk(e->g, &w) && !e->failed;
}

void effect_finish(struct effect *e)
{
    free(e->first);
    e->first = NULL;
    e->first_count = 0;
}

#include "src/server/gate/trail/trail.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- keys ---- */
#define KEY_WORDS 3 /* enum pv_key_kind without numbers: none, zero, bad */

uint16_t trail_key(struct pv_sent_key key)
{
    unsigned digits = 1;
    uint32_t lead = key.value;
    switch (key.kind) {
    case PV_KEY_ABSENT: return 0;
    case PV_KEY_ZERO: return 1;
    case PV_KEY_BAD: return 2;
    case PV_KEY_NUMBER: break;
    }
    for (uint32_t v = key.value; v >= 10; v /= 10) digits++;
    while (lead >= 100) lead /= 10;
    return (uint16_t)(100 * digits + lead);
}

void trail_key_text(uint16_t key, char out[12])
{
    static const char *const words[KEY_WORDS] = {"none", "0", "bad"};
    if (key < KEY_WORDS) {
        snprintf(out, 12, "%s", words[key]);
        return;
    }
    unsigned digits = key / 100 < 10 ? key / 100u : 10u;
    int lead = snprintf(out, 12, "%u", key % 100u);
    memset(out + lead, 'x', digits > 2 ? digits - 2 : 0);
    out[lead + (digits > 2 ? (int)digits - 2 : 0)] = '\0';
}

/* ---- the list ---- */
static struct trail **bucket_of(struct trails *all, const struct device *d)
{
    uintptr_t p = (uintptr_t)d / 16;
    return &all->buckets[(p ^ p / TRAIL_BUCKETS) % TRAIL_BUCKETS];
}

struct trail *trail_find(const struct trails *all, const struct device *d)
{
    struct trail *t = *bucket_of((struct trails *)all, d);
    while (t && t->device != d) t = t->next;
    return t;
}

static void unlink_used(struct trails *all, struct trail *t)
{
    *(t->newer ? &t->newer->older : &all->newest) = t->older;
    *(t->older ? &t->older->newer : &all->oldest) = t->newer;
}

static void link_newest(struct trails *all, struct trail *t)
{
    t->newer = NULL;
    t->older = all->newest;
    *(t->older ? &t->older->newer : &all->oldest) = t;
    all->newest = t;
}

struct trail *trail_pull(struct trails *all, const struct device *d)
{
    struct trail **at = bucket_of(all, d), *t;
    while (*at && (*at)->device != d) at = &(*at)->next;
    t = *at;
    if (!t) return NULL;
    *at = t->next;
    unlink_used(all, t);
    all->count--;
    return t;
}

struct trail *trail_take(struct trails *all, struct device *d, struct trail **evicted_out)
{
    struct trail *t = trail_find(all, d);
    *evicted_out = NULL;
    if (t) {
        unlink_used(all, t);
        link_newest(all, t);
        return t;
    }
    t = calloc(1, sizeof *t);
    if (!t) return NULL;
    if (all->count == TRAILS_PER_SHARD) *evicted_out = trail_pull(all, all->oldest->device);
    t->device = d;
    t->fresh = true;
    struct trail **bucket = bucket_of(all, d);
    t->next = *bucket;
    *bucket = t;
    link_newest(all, t);
    all->count++;
    return t;
}

void trail_free(struct kinds *kinds, struct trail *t)
{
    if (!t) return;
    kinds_drop(kinds, t->clone.other);
    free(t);
}

/* ---- one trail ---- */
/* A temporary key is another one each time: the last one that was given is kept. */
static bool is_same(const struct trail_entry *a, const struct trail_entry *b)
{
    return a->step == b->step && a->cmd == b->cmd && a->event == b->event &&
           a->reason == b->reason && a->version == b->version && a->said == b->said &&
           a->status == b->status && a->http == b->http && a->revision == b->revision &&
           a->sent == b->sent && a->expected == b->expected;
}

/* Where a repeat of e stands; count: nowhere. */
static uint8_t find_same(const struct trail *t, const struct trail_entry *e)
{
    for (uint8_t n = 1; n <= t->count && n <= TRAIL_LOOK_BACK; n++)
        if (is_same(&t->entries[t->count - n], e)) return (uint8_t)(t->count - n);
    return t->count;
}

void trail_add(struct trail *t, const struct trail_entry *e, int64_t now)
{
    uint8_t at = find_same(t, e);
    struct trail_entry new_ = *e;
    new_.first = at < t->count ? t->entries[at].first : (uint32_t)now;
    new_.times = at < t->count ? t->entries[at].times : 0;
    new_.times += new_.times < UINT32_MAX;
    new_.last = (uint32_t)now;
    t->dirty = true;
    if (at == t->count && t->count < TRAIL_ENTRIES) {
        t->entries[t->count++] = new_;
        return;
    }
    /* What is repeated goes to the end, what is new takes the place of the oldest. */
    if (at == t->count) at = 0;
    memmove(&t->entries[at], &t->entries[at + 1], (t->count - at - 1u) * sizeof *t->entries);
    t->entries[t->count - 1] = new_;
}

void trail_put_before(struct trail_entry *entries, uint8_t *count, const struct trail_entry *older,
                      size_t older_count)
{
    size_t room = TRAIL_ENTRIES - (size_t)*count, n = older_count < room ? older_count : room;
    memmove(entries + n, entries, *count * sizeof *entries);
    memcpy(entries, older + (older_count - n), n * sizeof *entries);
    *count = (uint8_t)(*count + n);
}

void trail_changed_face(struct trail *t, struct kinds *kinds, struct kind *before,
                        const struct kind *after)
{
    struct trail_clone *c = &t->clone;
    if (c->other && kind_same_face(c->other, after)) c->returns += c->returns < UINT16_MAX;
    before->devices++;
    kinds_drop(kinds, c->other);
    c->other = before;
    t->dirty = true;
}

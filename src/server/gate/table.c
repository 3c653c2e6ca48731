#include "src/server/gate/table.h"

#include <stdlib.h>
#include <string.h>

#include "src/lib/base/text.h"

#define BUCKETS_FIRST 16
#define IDS_FROM 16 /* devices of a user before they get buckets */

/* FNV-1a; names are those of users that have logged in, so nobody can choose collisions from
 * outside. */
static uint64_t hash_of(const char *text)
{
    uint64_t h = 14695981039346656037u;
    for (; *text; text++) h = (h ^ (uint8_t)*text) * 1099511628211u;
    return h ^ h >> 32;
}

/* The low bits choose the shard, the others the bucket. */
static struct shard *shard_of(struct table *t, const char *user)
{
    return &t->shards[hash_of(user) % TABLE_SHARDS];
}

static struct owner **bucket_of(struct shard *s, const char *user)
{
    return &s->buckets[hash_of(user) / TABLE_SHARDS & s->mask];
}

struct table *table_create(void)
{
    struct table *t = calloc(1, sizeof *t);
    if (!t) return NULL;
    for (size_t i = 0; i < TABLE_SHARDS; i++) {
        struct shard *s = &t->shards[i];
        pthread_mutex_init(&s->mutex, NULL);
        s->buckets = calloc(BUCKETS_FIRST, sizeof *s->buckets);
        s->mask = BUCKETS_FIRST - 1;
        if (!s->buckets) {
            table_destroy(t);
            return NULL;
        }
    }
    return t;
}

static void owner_free(struct shard *s, struct owner *o)
{
    while (o->devices) device_remove(s, o->devices);
    free(o->ids);
    free(o);
}

void table_destroy(struct table *t)
{
    if (!t) return;
    for (size_t i = 0; i < TABLE_SHARDS; i++) {
        struct shard *s = &t->shards[i];
        if (!s->buckets) break; /* table_create came no further */
        for (size_t b = 0; b <= s->mask; b++)
            for (struct owner *o = s->buckets[b], *next; o; o = next) {
                next = o->next;
                owner_free(s, o);
            }
        free(s->buckets);
        book_release(s->book);
        pthread_mutex_destroy(&s->mutex);
    }
    free(t);
}

struct shard *table_lock(struct table *t, const char *user)
{
    struct shard *s = shard_of(t, user);
    pthread_mutex_lock(&s->mutex);
    return s;
}

void table_unlock(struct shard *s)
{
    pthread_mutex_unlock(&s->mutex);
}

struct owner *shard_owner(struct shard *s, const char *user)
{
    struct owner *o = *bucket_of(s, user);
    while (o && strcmp(o->name, user) != 0) o = o->next;
    return o;
}

/* Without memory the table only becomes slower. */
static void grow(struct shard *s)
{
    size_t old = s->mask + 1;
    struct owner **from = s->buckets, **to = calloc(old * 2, sizeof *to);
    if (!to) return;
    s->buckets = to;
    s->mask = old * 2 - 1;
    for (size_t b = 0; b < old; b++)
        for (struct owner *o = from[b], *next; o; o = next) {
            next = o->next;
            struct owner **at = bucket_of(s, o->name);
            o->next = *at;
            *at = o;
        }
    free(from);
}

struct owner *shard_owner_add(struct shard *s, const char *user)
{
    struct owner *o = shard_owner(s, user);
    if (o) return o;
    size_t size = strlen(user) + 1;
    o = calloc(1, sizeof *o + size);
    if (!o) return NULL;
    memcpy(o->name, user, size);
    if (s->owners > s->mask) grow(s);
    struct owner **at = bucket_of(s, user);
    o->next = *at;
    *at = o;
    s->owners++;
    return o;
}

/* Who chooses ids that collide is slow for himself. */
static struct device **slot_of(struct owner *o, const char *id)
{
    return &o->ids[hash_of(id) & o->ids_mask];
}

struct device *owner_device(struct owner *o, const char *id)
{
    if (!o) return NULL;
    bool hashed = o->ids != NULL;
    struct device *d = hashed ? *slot_of(o, id) : o->devices;
    while (d && strcmp(d->id, id) != 0) d = hashed ? d->same : d->next;
    return d;
}

static void ids_add(struct owner *o, struct device *d)
{
    struct device **slot = slot_of(o, d->id);
    d->same = *slot;
    *slot = d;
}

static void ids_remove(struct owner *o, struct device *d)
{
    struct device **at = slot_of(o, d->id);
    while (*at != d) at = &(*at)->same;
    *at = d->same;
}

/* As with users: without memory it only becomes slower. */
static void ids_grow(struct owner *o)
{
    size_t size = o->ids ? ((size_t)o->ids_mask + 1) * 4 : IDS_FROM * 4;
    struct device **ids = calloc(size, sizeof *ids);
    if (!ids) return;
    free(o->ids);
    o->ids = ids;
    o->ids_mask = (uint32_t)(size - 1);
    for (struct device *d = o->devices; d; d = d->next) ids_add(o, d);
}

static char nothing[] = "";

struct device *device_add(struct shard *s, const char *user, const char *id, bool *full_out)
{
    struct owner *o = shard_owner_add(s, user);
    *full_out = o && o->count >= TABLE_DEVICES_PER_USER;
    if (!o || *full_out) return NULL;
    size_t size = strlen(id) + 1;
    struct device *d = calloc(1, sizeof *d + size);
    if (!d) return NULL;
    memcpy(d->id, id, size);
    atomic_init(&d->holders, 1); /* the table */
    d->owner = o;
    d->type = d->agent = d->info = nothing;
    d->next = o->devices;
    d->at = &o->devices;
    if (d->next) d->next->at = &d->next;
    o->devices = d;
    o->count++;
    s->devices++;
    if (o->ids) ids_add(o, d);
    if (o->count > (o->ids ? o->ids_mask : IDS_FROM)) ids_grow(o);
    return d;
}

void device_remove(struct shard *s, struct device *d)
{
    if (d->owner->ids) ids_remove(d->owner, d);
    *d->at = d->next;
    if (d->next) d->next->at = d->at;
    d->owner->count--;
    s->devices--;
    d->gone = true;
    device_release(d);
}

static void text_free(char *text)
{
    if (text != nothing) free(text);
}

/* Most texts are plain and the same as before: then nothing is copied. */
static bool set_text(char **slot, const char *text)
{
    char clean[DEVICE_TEXT_MAX];
    if (strcmp(*slot, text) == 0) return true;
    pv__escape(text, strnlen(text, DEVICE_TEXT_MAX), clean, sizeof clean);
    if (strcmp(*slot, clean) == 0) return true;
    char *copy = *clean ? strdup(clean) : nothing;
    if (!copy) return false;
    text_free(*slot);
    *slot = copy;
    return true;
}

bool device_set_type(struct device *d, const char *text)
{
    return set_text(&d->type, text);
}

bool device_set_agent(struct device *d, const char *text)
{
    return set_text(&d->agent, text);
}

void device_set_info(struct device *d, char *json)
{
    text_free(d->info);
    d->info = json ? json : nothing;
}

struct device *device_hold(struct device *d)
{
    atomic_fetch_add_explicit(&d->holders, 1, memory_order_relaxed);
    return d;
}

void device_release(struct device *d)
{
    if (!d || atomic_fetch_sub_explicit(&d->holders, 1, memory_order_acq_rel) != 1) return;
    text_free(d->type);
    text_free(d->agent);
    text_free(d->info);
    free(d);
}

struct device_record device_record_of(const struct device *d, const struct pv_partnership *p,
                                      const char *info)
{
    return (struct device_record){
        .user = d->owner->name,
        .device_id = d->id,
        .device_type = d->type,
        .user_agent = d->agent,
        .version = (enum pv_version)d->version,
        .first_seen = d->first_seen,
        .last_seen = d->last_seen,
        .partnership = p ? *p : d->partnership,
        .info_json = info ? info : d->info,
    };
}

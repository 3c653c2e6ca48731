#include "src/server/gate/table/table.h"

#include <stdlib.h>
#include <string.h>

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

void owner_release(struct owner *o)
{
    if (atomic_fetch_sub_explicit(&o->holders, 1, memory_order_acq_rel) == 1) free(o);
}

static void owner_leave(struct shard *s, struct owner *o)
{
    while (o->devices) device_remove(s, o->devices);
    free(o->ids);
    o->ids = NULL;
    owner_release(o);
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
                owner_leave(s, o);
            }
        free(s->buckets);
        kinds_finish(&s->kinds);
        bonds_finish(&s->bonds);
        book_release(s->book);
        rules_release(s->rules);
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
    atomic_init(&o->holders, 1); /* the table */
    if (s->owners > s->mask) grow(s);
    struct owner **at = bucket_of(s, user);
    o->next = *at;
    *at = o;
    s->owners++;
    s->weight++;
    return o;
}

void shard_owner_remove(struct shard *s, struct owner *o)
{
    struct owner **at = bucket_of(s, o->name);
    while (*at != o) at = &(*at)->next;
    *at = o->next;
    s->owners--;
    while (o->devices) device_remove(s, o->devices);
    s->weight--;
    owner_leave(s, o);
}

/* Where the id stands, or the empty place where it would. Who chooses ids that collide is slow for
 * himself. */
static uint32_t place_of(const struct owner *o, const char *id)
{
    uint32_t at = (uint32_t)hash_of(id) & o->ids_mask;
    while (o->ids[at] && strcmp(o->ids[at]->id, id) != 0) at = (at + 1) & o->ids_mask;
    return at;
}

struct device *owner_device(struct owner *o, const char *id)
{
    if (!o) return NULL;
    if (o->ids) return o->ids[place_of(o, id)];
    struct device *d = o->devices;
    while (d && strcmp(d->id, id) != 0) d = d->next;
    return d;
}

/* What stands behind moves up, as far as the search for it passes here. */
static void ids_remove(struct owner *o, const struct device *d)
{
    uint32_t hole = place_of(o, d->id);
    for (uint32_t at = (hole + 1) & o->ids_mask; o->ids[at]; at = (at + 1) & o->ids_mask) {
        uint32_t wants = (uint32_t)hash_of(o->ids[at]->id) & o->ids_mask;
        if (((at - wants) & o->ids_mask) < ((at - hole) & o->ids_mask)) continue;
        o->ids[hole] = o->ids[at];
        hole = at;
    }
    o->ids[hole] = NULL;
}

/* At most half full. false: no memory, and the index is as it was. */
static bool ids_grow(struct owner *o)
{
    size_t size = o->ids ? ((size_t)o->ids_mask + 1) * 4 : IDS_FROM * 4;
    struct device **ids = calloc(size, sizeof(struct device *));
    if (!ids) return false;
    free(o->ids);
    o->ids = ids;
    o->ids_mask = (uint32_t)(size - 1);
    for (struct device *d = o->devices; d; d = d->next) o->ids[place_of(o, d->id)] = d;
    return true;
}

/* Before the device is in the list. Without memory an index that is full goes: the list is slow,
 * but right. */
static void ids_make_room(struct owner *o)
{
    bool full = o->ids ? o->count >= (o->ids_mask + 1) / 2 : o->count >= IDS_FROM;
    if (!full || ids_grow(o) || !o->ids || o->count < o->ids_mask) return;
    free(o->ids);
    o->ids = NULL;
}

static struct kind no_kind = {.text = ""};

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
    atomic_fetch_add_explicit(&o->holders, 1, memory_order_relaxed);
    d->kind = &no_kind;
    ids_make_room(o);
    d->next = o->devices;
    o->devices = d;
    s->weight += o->count++ > 0;
    s->devices++;
    if (o->ids) o->ids[place_of(o, id)] = d;
    return d;
}

static void drop_kind(struct shard *s, struct device *d)
{
    if (d->kind != &no_kind) kinds_drop(&s->kinds, d->kind);
    d->kind = &no_kind;
}

void device_remove(struct shard *s, struct device *d)
{
    struct device **at = &d->owner->devices;
    if (d->owner->ids) ids_remove(d->owner, d);
    while (*at != d) at = &(*at)->next;
    *at = d->next;
    s->weight -= --d->owner->count > 0;
    d->owner->in -= d->in;
    s->devices--;
    trail_free(&s->kinds, trail_pull(&s->trails, d));
    drop_kind(s, d);
    if (d->bound) bond_free(bond_pull(&s->bonds, d));
    d->bound = false;
    d->gone = true;
    device_release(d);
}

/* Most requests say what was said before: then nothing is copied. */
bool device_set_kind(struct shard *s, struct device *d, const char *const texts[KIND_TEXTS])
{
    const char *all[KIND_TEXTS];
    bool same = d->kind != &no_kind;
    for (enum kind_text i = 0; i < KIND_TEXTS; i++) {
        all[i] = texts[i] ? texts[i] : device_text(d, i);
        same = same && (!texts[i] || strcmp(texts[i], device_text(d, i)) == 0);
    }
    if (same) return true;
    struct kind *k = kinds_take(&s->kinds, all);
    if (!k) return false;
    drop_kind(s, d);
    d->kind = k;
    d->ruled = 0;
    return true;
}

struct device *device_hold(struct device *d)
{
    atomic_fetch_add_explicit(&d->holders, 1, memory_order_relaxed);
    return d;
}

static void extra_free(struct device *d)
{
    if (!d->extra) return;
    free(d->extra->wipe_by);
    free(d->extra->wipe_reason);
    free(d->extra);
    d->extra = NULL;
}

void device_release(struct device *d)
{
    if (!d || atomic_fetch_sub_explicit(&d->holders, 1, memory_order_acq_rel) != 1) return;
    extra_free(d);
    owner_release(d->owner);
    free(d);
}

/* ---- the partnership ---- */
struct extra *device_extra(struct device *d)
{
    if (!d->extra) d->extra = calloc(1, sizeof *d->extra);
    return d->extra;
}

/* Offers stand in front without a gap. */
static bool needs_extra(const struct pv_partnership *p)
{
    return p->offers[0].key || p->wipe_state != PV_WIPE_STATE_NONE;
}

void device_partnership(const struct device *d, struct pv_partnership *out)
{
    *out = (struct pv_partnership){
        .key = d->key,
        .key_at = d->key_at,
        .key_revision = d->key_revision,
        .acked_offer = d->acked_offer,
        .acked_status = d->acked_status,
        .outcome = d->outcome,
        .outcome_revision = d->outcome_revision,
        .said = d->said,
        .provisioned_once = d->provisioned_once,
        .asked = d->asked,
        .personal = d->personal,
        .access = d->access,
        .wipe = d->wipe,
        .wipe_state = d->wipe_state,
        .shut = d->shut,
    };
    memcpy(out->key_hash, d->key_hash, PV_HASH_LEN);
    if (!d->extra) return;
    memcpy(out->offers, d->extra->offers, sizeof out->offers);
    out->wipe_id = d->extra->wipe_id;
    out->wipe_at = d->extra->wipe_at;
    out->wipe_sent_at = d->extra->wipe_sent_at;
    out->wipe_ended_at = d->extra->wipe_ended_at;
    out->wipe_expires_at = d->extra->wipe_expires_at;
}

bool device_reserve(struct device *d, const struct pv_partnership *p)
{
    return !needs_extra(p) || device_extra(d);
}

void device_count(struct device *d, const struct pv_partnership *p)
{
    bool in = !p->shut && (p->provisioned_once || p->outcome == PV_OUTCOME_NON_PROVISIONABLE);
    if (d->gone) return;
    d->owner->in += in;
    d->owner->in -= d->in;
    d->in = in;
}

void device_keep(struct device *d, const struct pv_partnership *p)
{
    device_count(d, p);
    d->key = p->key;
    d->key_at = (uint32_t)p->key_at;
    d->key_revision = (uint32_t)p->key_revision;
    memcpy(d->key_hash, p->key_hash, PV_HASH_LEN);
    d->acked_offer = p->acked_offer;
    d->acked_status = p->acked_status;
    d->outcome = p->outcome;
    d->outcome_revision = (uint32_t)p->outcome_revision;
    d->said = p->said;
    d->provisioned_once = p->provisioned_once;
    d->asked = p->asked;
    d->personal = p->personal;
    d->wipe = p->wipe;
    d->wipe_state = p->wipe_state;
    d->shut = p->shut;
    if (!d->extra) return;
    memcpy(d->extra->offers, p->offers, sizeof p->offers);
    d->extra->wipe_id = p->wipe_id;
    d->extra->wipe_at = p->wipe_at;
    d->extra->wipe_sent_at = p->wipe_sent_at;
    d->extra->wipe_ended_at = p->wipe_ended_at;
    d->extra->wipe_expires_at = p->wipe_expires_at;
    /* Somebody at the desk may have made room for what comes next. */
    if (!needs_extra(p) && !desk_taken(&d->desk) && !d->extra->loop_until) extra_free(d);
}

struct device_record device_record_of(const struct device *d, const struct pv_partnership *p)
{
    const struct extra *e = d->extra;
    struct device_record r = {
        .user = d->owner->name,
        .device_id = d->id,
        .device_type = device_text(d, KIND_TYPE),
        .user_agent = device_text(d, KIND_AGENT),
        .model = device_text(d, KIND_MODEL),
        .os = device_text(d, KIND_OS),
        .version = (enum pv_version)d->version,
        .state = (enum pv_state)d->state,
        .first_seen = d->first_seen,
        .last_seen = d->last_seen,
        .loop_until = e ? e->loop_until : 0,
        .wipe_by = e && e->wipe_by ? e->wipe_by : "",
        .wipe_reason = e && e->wipe_reason ? e->wipe_reason : "",
        .was = d->tag,
        .tag = store_tag(),
    };
    if (p)
        r.partnership = *p;
    else
        device_partnership(d, &r.partnership);
    return r;
}

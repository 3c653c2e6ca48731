#include "src/server/gate/table/owner_load.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "src/server/gate/table/evict.h"
#include "src/server/gate/trail/keeper.h"
#include "src/server/observe/log.h"
#include "src/server/store/change.h"

#define READINGS_AGAIN 8 /* while others change the user, then whoever waits is turned away */

/* ---- from the store ---- */
static void add_row(struct owner_reading *r, const struct store_change *c)
{
    struct submission *row = submission_create(c, 1, NULL);
    if (row) {
        row->next = r->rows;
        r->rows = row;
    }
    r->failed |= !row;
}

static void read_flags(void *ctx, const struct user_record *u)
{
    add_row(ctx, &(struct store_change){.kind = STORE_PUT_USER, .u.user = *u});
}

static void read_device(void *ctx, const struct device_record *d)
{
    add_row(ctx, &(struct store_change){.kind = STORE_PUT_DEVICE, .u.device = *d});
}

static void read_item(void *ctx, const struct item_record *i)
{
    add_row(ctx, &(struct store_change){.kind = STORE_PUT_ITEM, .u.item = *i});
}

/* Claims of bonds are read, too: after the user, for a store reads one thing at a time. */
static bool read_bonds(struct owner_reading *r)
{
    /* Without an upstream nothing is demanded; what one has demanded stays in the store. */
    if (!config_is_gateway(r->gate->config)) return true;
    for (struct submission *row = r->rows; row; row = row->next)
        if (row->changes[0].kind == STORE_PUT_ITEM &&
            !bond_read(r->gate, &row->changes[0].u.item, &r->bonds))
            return false;
    return true;
}

static bool read_all(struct owner_reading *r, uint64_t position)
{
    static const struct store_visitor visitor = {
        .user = read_flags, .device = read_device, .item = read_item};
    struct store *store = r->gate->store;
    r->failed = false;
    /* What was queued and is not yet there would be undone by what is. */
    return (store_settled(store, position) || store_settle(store, position)) &&
           store_read_user(store, r->owner->name, &visitor, r) && !r->failed && read_bonds(r);
}

static void drop_rows(struct owner_reading *r)
{
    for (struct submission *row = r->rows, *next; row; row = next) {
        next = row->next;
        free(row);
    }
    r->rows = NULL;
    bond_rows_free(r->bonds);
    r->bonds = NULL;
}

/* ---- into memory; shard locked ---- */
static bool take_texts(struct shard *s, struct device *d, const struct device_record *r)
{
    const char *const texts[KIND_TEXTS] = {
        [KIND_TYPE] = r->device_type,
        [KIND_AGENT] = r->user_agent,
        [KIND_MODEL] = r->model,
        [KIND_OS] = r->os,
    };
    bool extra = r->loop_until || *r->wipe_by || *r->wipe_reason;
    char *by = *r->wipe_by ? strdup(r->wipe_by) : NULL;
    char *reason = *r->wipe_reason ? strdup(r->wipe_reason) : NULL;
    bool ok = (by || !*r->wipe_by) && (reason || !*r->wipe_reason) &&
              device_reserve(d, &r->partnership) && (!extra || device_extra(d)) &&
              device_set_kind(s, d, texts);
    if (ok && d->extra) {
        free(d->extra->wipe_by);
        free(d->extra->wipe_reason);
        d->extra->wipe_by = by;
        d->extra->wipe_reason = reason;
        d->extra->loop_until = r->loop_until;
        return true;
    }
    free(by);
    free(reason);
    return ok;
}

/* What only memory knows stays: who waits, the trail, the desk. Who is at that will find that his write
 * is in conflict. false: no memory, and the device is as it was. */
static bool take_record(struct shard *s, struct device *d, const struct device_record *r)
{
    if (!take_texts(s, d, r)) return false;
    d->version = (uint8_t)r->version;
    d->state = (uint8_t)r->state;
    d->first_seen = (uint32_t)r->first_seen;
    if (!d->tag) d->saved_at = (uint32_t)r->last_seen;
    if (d->last_seen < (uint32_t)r->last_seen) d->last_seen = (uint32_t)r->last_seen;
    d->ruled = 0;
    d->info_mark = 0;
    d->denied_key = d->denied_at = 0;
    d->tag = r->tag;
    d->was = 0;
    device_keep(d, &r->partnership);
    return true;
}

struct device *owner_load_device(struct shard *s, const struct device_record *r)
{
    bool full;
    struct device *d = device_add(s, r->user, r->device_id, &full);
    if (!d || take_record(s, d, r)) return d;
    device_remove(s, d);
    return NULL;
}

/* Was something queued of it since the reading began? Counters go round. */
static bool is_later(uint32_t changed, uint32_t seen)
{
    return (int32_t)(changed - seen) > 0;
}

enum merge { MERGED, AGAIN, NO_MEMORY };

static enum merge merge_device(struct owner_reading *r, struct shard *s,
                               const struct device_record *rec, uint32_t seen)
{
    bool full;
    struct device *d = owner_device(r->owner, rec->device_id);
    bool there = d != NULL;
    if (!d) d = device_add(s, r->owner->name, rec->device_id, &full);
    if (!d) return NO_MEMORY;
    d->read = true;
    if (there && rec->tag == d->tag) return MERGED;
    /* Made of what the store had, and queued since: it is newer. */
    if (is_later(d->changed, seen)) return rec->tag == d->was ? MERGED : AGAIN;
    if (!take_record(s, d, rec)) {
        if (!there) device_remove(s, d);
        return NO_MEMORY;
    }
    d->changed = seen;
    if (there) device_wake(r->gate, d);
    return MERGED;
}

static void merge_flags(struct owner_reading *r, const struct user_record *u, uint32_t seen)
{
    struct owner *o = r->owner;
    bool disabled = u && !u->enabled, no_device_wipe = u && u->no_device_wipe;
    if (is_later(o->changed, seen)) return;
    bool same = o->disabled == disabled && o->no_device_wipe == no_device_wipe;
    o->disabled = disabled;
    o->no_device_wipe = no_device_wipe;
    for (struct device *d = same ? NULL : o->devices; d; d = d->next) device_wake(r->gate, d);
}

/* Somebody else has removed it. */
static bool is_gone(const struct device *d, uint32_t seen)
{
    return !d->read && d->tag && !is_later(d->changed, seen);
}

static void remove_others(struct owner_reading *r, struct shard *s, uint32_t seen)
{
    for (struct device *d = r->owner->devices, *next; d; d = next) {
        next = d->next;
        if (!is_gone(d, seen)) continue;
        device_wake(r->gate, d);
        device_remove(s, d);
    }
}

/* false: no memory. */
static bool merge_bonds(struct owner_reading *r, struct shard *s, uint32_t seen)
{
    for (struct device *d = r->owner->devices; d; d = d->next) d->read = is_later(d->changed, seen);
    for (struct bond_row *row = r->bonds; row; row = row->next) {
        struct device *d = owner_device(r->owner, row->device_id);
        if (!d || d->read) continue;
        d->read = true;
        if (!bond_merge(r->gate, s, d, row)) return false;
    }
    for (struct device *d = r->owner->devices; d; d = d->next)
        if (!d->read && d->bound) bond_merge(r->gate, s, d, NULL);
    return true;
}

static enum merge merge(struct owner_reading *r, struct shard *s, uint32_t seen)
{
    const struct user_record *flags = NULL;
    enum merge result = MERGED;
    for (struct device *d = r->owner->devices; d; d = d->next) d->read = false;
    for (const struct submission *row = r->rows; row && result != NO_MEMORY; row = row->next) {
        const struct store_change *c = &row->changes[0];
        if (c->kind == STORE_PUT_USER) flags = &c->u.user;
        if (c->kind != STORE_PUT_DEVICE) continue;
        enum merge one = merge_device(r, s, &c->u.device, seen);
        if (one != MERGED) result = one;
    }
    if (result == NO_MEMORY) return result;
    merge_flags(r, flags, seen);
    remove_others(r, s, seen);
    return merge_bonds(r, s, seen) ? result : NO_MEMORY;
}

/* Ids whose handshake is not finished count as they did before the user left the memory. */
static void heat_new_ids(const struct owner_reading *r)
{
    int64_t now = time(NULL);
    if (!config_now(r->gate->config)->damping) return;
    for (const struct device *d = r->owner->devices; d; d = d->next) {
        struct heat one = {.heat = 1, .at = d->first_seen};
        if (d->provisioned_once || d->outcome == PV_OUTCOME_NON_PROVISIONABLE || !d->last_seen)
            continue;
        heat_add(&r->owner->new_ids, DAMPING_NEW_IDS_HALF_LIFE, now,
                 heat_now(&one, DAMPING_NEW_IDS_HALF_LIFE, now));
    }
}

/* ---- one reading after the other ---- */
/* Those whom it serves, out of the line; with it they are pinned. Shard locked. */
static struct resident *take_served(struct owner *o, bool ok, uint32_t begun)
{
    struct resident *served = NULL, **at = &o->waiting, *w;
    while ((w = *at)) {
        /* Whoever asked for a fresh one while it was under way waits for the next. */
        if (ok && w->need == RESIDENT_FRESH && !is_later(begun, w->asked_at)) {
            at = &w->next;
            continue;
        }
        *at = w->next;
        w->next = served;
        served = w;
        if (ok) owner_pin(o);
    }
    return served;
}

static void tell_all(struct resident *served, bool ok)
{
    for (struct resident *next; served; served = next) {
        next = served->next;
        resident_tell(served, ok);
    }
}

/* true: somebody still waits. Without it the owner may be gone. */
static bool end(struct owner_reading *r, struct shard *s, bool ok, uint32_t begun)
{
    struct owner *o = r->owner;
    struct resident *served = take_served(o, ok, begun);
    bool more = o->waiting != NULL;
    if (!more) o->reading = NULL;
    /* A moment later once more: nobody else would. */
    if (!ok && o->stale && owner_is_waited_on(o)) keeper_look_again(r->gate);
    if (!more) shard_let_go(r->gate, s, o);
    (void)shard_make_room(r->gate, s, EVICT_LOOKS_COMING);
    table_unlock(s);
    tell_all(served, ok);
    return more;
}

/* true: once more. */
static bool read_once(struct owner_reading *r)
{
    struct owner *o = r->owner;
    bool ok = false;
    uint32_t begun = 0;
    for (unsigned n = 0; n < READINGS_AGAIN; n++) {
        struct shard *s = table_lock(r->gate->table, o->name);
        uint32_t changes = o->changes, doubts = o->doubts;
        uint64_t position = o->position;
        begun = ++o->readings;
        table_unlock(s);

        ok = read_all(r, position);
        s = table_lock(r->gate->table, o->name);
        enum merge merged = !ok ? NO_MEMORY : o->doubts != doubts ? AGAIN : merge(r, s, changes);
        drop_rows(r);
        ok = merged == MERGED;
        if (ok && !o->loaded) heat_new_ids(r);
        if (ok) o->loaded = true;
        if (ok) o->stale = false;
        if (merged != AGAIN || n + 1 == READINGS_AGAIN) {
            if (!ok) LOG(LOG_DEBUG, 0, "user-not-read", KV_TEXT("user", o->name));
            return end(r, s, ok, begun);
        }
        table_unlock(s);
    }
    return false;
}

void reading_run(struct owner_reading *r)
{
    while (read_once(r)) continue;
    free(r);
}

void reading_fail(struct owner_reading *r)
{
    struct shard *s = table_lock(r->gate->table, r->owner->name);
    (void)end(r, s, false, 0);
    free(r);
}

static void run(struct job *j)
{
    struct owner_reading *r = CONTAINER_OF(j, struct owner_reading, job);
    while (read_once(r)) continue;
}

static void done(struct job *j)
{
    free(CONTAINER_OF(j, struct owner_reading, job));
}

struct owner_reading *reading_begin(struct gate *g, struct owner *o)
{
    struct owner_reading *r = calloc(1, sizeof *r);
    if (!r) return NULL;
    r->job.run = run;
    r->job.done = done;
    r->gate = g;
    r->owner = o;
    o->reading = r;
    return r;
}

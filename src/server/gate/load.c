/* From the store into memory at the start, and what memory still owes it at the end. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "src/server/gate/inner.h"
#include "src/server/gate/lists_read.h"
#include "src/server/gate/rules/rules_admin.h"
#include "src/server/observe/log.h"

#define SAVE_AT_ONCE 64
#define STARTS_MAX 4 /* of which another server's first start spoils one */

/* ---- loading ---- */
struct loading {
    struct gate *g;
    struct lists_reading *lists;
    struct demand_loading *demands;
    bool out_of_memory;
};

static void load_item(void *ctx, const struct item_record *r)
{
    struct loading *l = ctx;
    /* Without an upstream nothing is demanded; what one has demanded stays in the store. */
    if (config_is_gateway(l->g->config))
        l->out_of_memory |= !demand_load_item(l->demands, l->g->claims, r);
    lists_reading_item(l->lists, r);
}

static void load_policy(void *ctx, const struct policy_record *r)
{
    struct loading *l = ctx;
    lists_reading_policy(l->lists, r);
}

static void load_user(void *ctx, const struct user_record *r)
{
    struct loading *l = ctx;
    if (r->enabled && !r->no_device_wipe) return;
    struct shard *s = table_lock(l->g->table, r->user);
    struct owner *o = shard_owner_add(s, r->user);
    if (o) {
        o->disabled = !r->enabled;
        o->no_device_wipe = r->no_device_wipe;
    }
    table_unlock(s);
    l->out_of_memory |= !o;
}

/* false: no memory. */
static bool load_extra(struct device *d, const struct device_record *r)
{
    if (!device_reserve(d, &r->partnership)) return false;
    if (!r->loop_until && !*r->wipe_by && !*r->wipe_reason) return true;
    struct extra *e = device_extra(d);
    if (!e) return false;
    e->loop_until = r->loop_until;
    e->wipe_by = *r->wipe_by ? strdup(r->wipe_by) : NULL;
    e->wipe_reason = *r->wipe_reason ? strdup(r->wipe_reason) : NULL;
    return (e->wipe_by || !*r->wipe_by) && (e->wipe_reason || !*r->wipe_reason);
}

static void load_device(void *ctx, const struct device_record *r)
{
    const char *const texts[KIND_TEXTS] = {
        [KIND_TYPE] = r->device_type,
        [KIND_AGENT] = r->user_agent,
        [KIND_MODEL] = r->model,
        [KIND_OS] = r->os,
    };
    struct loading *l = ctx;
    bool full;
    struct shard *s = table_lock(l->g->table, r->user);
    struct device *d = device_add(s, r->user, r->device_id, &full);
    if (d && load_extra(d, r) && device_set_kind(s, d, texts)) {
        d->version = (uint8_t)r->version;
        d->state = (uint8_t)r->state;
        d->first_seen = (uint32_t)r->first_seen;
        d->last_seen = d->saved_at = (uint32_t)r->last_seen;
        device_keep(d, &r->partnership);
        shard_wipe_ends(s, r->partnership.wipe_expires_at);
    } else {
        l->out_of_memory = true;
    }
    table_unlock(s);
}

/* false: error is set, or *again_out, since another server has come before. */
static bool load(struct gate *g, bool *again_out, char *error, size_t error_cap)
{
    static const struct store_visitor visitor = {
        .item = load_item, .policy = load_policy, .user = load_user, .device = load_device};
    struct loading l = {
        .g = g, .lists = lists_reading_create(g), .demands = demand_loading_create()};
    bool ok = l.lists && l.demands;
    if (!ok) snprintf(error, error_cap, "out of memory");
    ok = ok && store_load(g->store, &visitor, &l, error, error_cap);
    if (ok && l.out_of_memory) {
        snprintf(error, error_cap, "out of memory, or a user has more than %d devices",
                 TABLE_DEVICES_PER_USER);
        ok = false;
    }
    ok = ok && demand_load_end(l.demands, g, error, error_cap) &&
         lists_reading_end(l.lists, error, error_cap);
    if (ok)
        lists_take(g, l.lists);
    else
        claims_close(g->claims); /* what was not bound may yet be needed */
    *again_out = l.lists && l.lists->overtaken;
    demand_loading_free(l.demands);
    lists_reading_free(l.lists);
    return ok;
}

bool gate_load(struct gate *g, char *error, size_t error_cap)
{
    bool ok = false, again = true;
    for (unsigned n = 0; again && n < STARTS_MAX; n++) ok = load(g, &again, error, error_cap);
    return ok;
}

struct book *gate_book(struct gate *g)
{
    struct shard *s = &g->table->shards[0];
    pthread_mutex_lock(&s->mutex);
    struct book *b = book_hold(s->book);
    pthread_mutex_unlock(&s->mutex);
    return b;
}

struct rules *gate_rules(struct gate *g)
{
    struct shard *s = &g->table->shards[0];
    pthread_mutex_lock(&s->mutex);
    struct rules *r = rules_hold(s->rules);
    pthread_mutex_unlock(&s->mutex);
    return r;
}

/* ---- saving ---- */
struct saving {
    struct gate *g;
    struct store_change changes[SAVE_AT_ONCE];
    size_t count;
};

static void save_now(struct saving *s)
{
    if (s->count && !store_submit(s->g->store, s->changes, s->count, NULL))
        LOG(LOG_WARN, 0, "last-seen-lost", KV_UINT("devices", s->count));
    s->count = 0;
}

static void save_shard(struct saving *s, struct shard *shard)
{
    for (size_t b = 0; b <= shard->mask; b++)
        for (struct owner *o = shard->buckets[b]; o; o = o->next)
            for (struct device *d = o->devices; d; d = d->next) {
                if (!d->unsaved) continue;
                s->changes[s->count++] = (struct store_change){
                    .kind = STORE_PUT_DEVICE, .u.device = device_record_of(d, NULL)};
                if (s->count == SAVE_AT_ONCE) save_now(s);
            }
}

void gate_save_all(struct gate *g)
{
    struct saving s = {.g = g};
    for (size_t i = 0; g->table && i < TABLE_SHARDS; i++) {
        pthread_mutex_lock(&g->table->shards[i].mutex);
        save_shard(&s, &g->table->shards[i]);
        save_now(&s); /* the records point into the shard */
        pthread_mutex_unlock(&g->table->shards[i].mutex);
    }
}

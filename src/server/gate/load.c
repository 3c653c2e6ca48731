/* Policies and rules from the store at the start, and what memory still owes it at the end. */
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
static void load_item(void *ctx, const struct item_record *r)
{
    lists_reading_item(ctx, r);
}

static void load_policy(void *ctx, const struct policy_record *r)
{
    lists_reading_policy(ctx, r);
}

/* false: error is set, or *again_out, since another server has come before. */
static bool load(struct gate *g, bool *again_out, char *error, size_t error_cap)
{
    static const struct store_visitor visitor = {.item = load_item, .policy = load_policy};
    struct lists_reading *lists = lists_reading_create(g);
    if (!lists) snprintf(error, error_cap, "out of memory");
    bool ok = lists && store_load(g->store, &visitor, lists, error, error_cap) &&
              lists_reading_end(lists, error, error_cap);
    if (ok) lists_take(g, lists);
    *again_out = lists && lists->overtaken;
    lists_reading_free(lists);
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
    struct device *devices[SAVE_AT_ONCE];
    size_t count;
};

/* With the shard locked that all of them are in. */
static void save_now(struct saving *s)
{
    bool ok = !s->count || store_submit(s->g->store, s->changes, s->count, NULL);
    if (!ok) LOG(LOG_WARN, 0, "last-seen-lost", KV_UINT("devices", s->count));
    for (size_t i = 0; ok && i < s->count; i++) {
        device_submitted(s->g, s->devices[i], &s->changes[i].u.device);
        s->devices[i]->unsaved = false;
    }
    s->count = 0;
}

static void save_shard(struct saving *s, struct shard *shard)
{
    for (size_t b = 0; b <= shard->mask; b++)
        for (struct owner *o = shard->buckets[b]; o; o = o->next)
            for (struct device *d = o->devices; d; d = d->next) {
                if (!d->unsaved || o->stale) continue;
                s->devices[s->count] = d;
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

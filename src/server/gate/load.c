/* From the store into memory at the start, and what memory still owes it at the end. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "src/json_text.h"
#include "src/server/gate/inner.h"
#include "src/server/gate/rules/rules_admin.h"
#include "src/server/observe/log.h"

#define SAVE_AT_ONCE 64

/* ---- loading ---- */
struct loading {
    struct gate *g;
    struct policy_loading *policies;
    struct demand_loading *demands;
    struct rules *rules;
    bool bad_rule;
    bool out_of_memory;
};

/* Takes the place of l->rules; NULL: no memory. */
static void take_rules(struct loading *l, struct rules *r)
{
    if (r) {
        rules_release(l->rules);
        l->rules = r;
    }
    l->out_of_memory |= !r;
}

static void load_rule(struct loading *l, const json_t *json)
{
    struct rule r;
    if (rule_of_json(json, &r) && l->rules->count < RULES_MAX)
        take_rules(l, rules_with(l->rules, &r));
    else
        l->bad_rule = true;
}

static void load_access(struct loading *l, const json_t *json)
{
    const char *otherwise;
    json_int_t last_id;
    enum pv_access access;
    if (json_unpack((json_t *)json, "{s:s,s:I}", "default", &otherwise, "last_id", &last_id) == 0 &&
        access_parse(otherwise, &access) && last_id >= 0 && last_id <= UINT32_MAX)
        take_rules(l, rules_otherwise(l->rules, access, (uint32_t)last_id));
    else
        l->bad_rule = true;
}

static void load_item(void *ctx, const struct item_record *r)
{
    static const struct {
        const char *kind;
        void (*load)(struct loading *l, const json_t *json);
    } kinds[] = {{"rule", load_rule}, {"access", load_access}};
    struct loading *l = ctx;
    l->out_of_memory |= !policy_load_item(l->policies, r);
    /* Without an upstream nothing is demanded; what one has demanded stays in the store. */
    if (config_is_gateway(l->g->config))
        l->out_of_memory |= !demand_load_item(l->demands, l->g->claims, r);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        json_t *json;
        if (strcmp(r->kind, kinds[i].kind) != 0 || l->out_of_memory) continue;
        if (json_of_text(r->json, strlen(r->json), JSON_REJECT_DUPLICATES, &json))
            kinds[i].load(l, json);
        else
            l->out_of_memory = true;
        json_decref(json);
    }
}

static void load_policy(void *ctx, const struct policy_record *r)
{
    struct loading *l = ctx;
    l->out_of_memory |= !policy_load_revision(l->policies, r);
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

/* ---- the first start ---- */
struct first_write {
    struct store_write write;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    bool done;
};

static void first_written(struct store_write *w)
{
    struct first_write *f = (struct first_write *)w;
    pthread_mutex_lock(&f->mutex);
    f->done = true;
    pthread_cond_signal(&f->wake);
    pthread_mutex_unlock(&f->mutex);
}

static bool store_and_wait(struct gate *g, const struct saved *r)
{
    const struct store_change c = {.kind = STORE_PUT_POLICY,
                                   .u.policy = {.name = r->name,
                                                .revision = r->id,
                                                .at = r->at,
                                                .settings_json = r->settings_json,
                                                .parent = r->parent,
                                                .by = r->by}};
    struct first_write f = {.write.done = first_written,
                            .mutex = PTHREAD_MUTEX_INITIALIZER,
                            .wake = PTHREAD_COND_INITIALIZER};
    if (!store_submit(g->store, &c, 1, &f.write)) return false;
    pthread_mutex_lock(&f.mutex);
    while (!f.done) pthread_cond_wait(&f.wake, &f.mutex);
    pthread_mutex_unlock(&f.mutex);
    return f.write.durable;
}

/* It restricts nothing, but it is a policy: every client seen fails when it is told that there
 * is none. */
static bool add_default(struct gate *g, struct book *book, char *error, size_t error_cap)
{
    const struct saved_draft draft = {
        .name = POLICY_DEFAULT, .by = "server", .id = g->last_revision + 1, .at = time(NULL)};
    struct saved *s;
    char why[256] = "out of memory";
    if (book_line(book, POLICY_DEFAULT)) return true;
    if (saved_create(&draft, &s, why, sizeof why) != GATE_OK) {
        snprintf(error, error_cap, "the policy \"default\" cannot be made: %s", why);
        return false;
    }
    g->last_revision = s->id;
    bool stored = store_and_wait(g, s), ok = stored && book_put(book, s);
    saved_release(s);
    if (!ok)
        snprintf(error, error_cap, "%s",
                 stored ? "out of memory" : "the policy \"default\" cannot be stored");
    return ok;
}

/* The policies of the store, `default` added if need be. NULL: error is set. */
static struct book *make_book(struct loading *l, char *error, size_t error_cap)
{
    struct gate *g = l->g;
    char why[GATE_MESSAGE_MAX] = "out of memory";
    struct book *book =
        policy_load_end(l->policies, &g->config->groups, &g->last_revision, error, error_cap);
    bool ok = book && add_default(g, book, error, error_cap);
    if (ok && book_finish(book, NULL, NULL, why, sizeof why) != GATE_OK) {
        snprintf(error, error_cap, "the policies cannot be used: %s", why);
        ok = false;
    }
    if (ok) return book;
    book_release(book);
    return NULL;
}

bool gate_load(struct gate *g, char *error, size_t error_cap)
{
    static const struct store_visitor visitor = {
        .item = load_item, .policy = load_policy, .user = load_user, .device = load_device};
    struct loading l = {
        .g = g, .policies = policy_loading_create(), .demands = demand_loading_create()};
    struct book *book = NULL;
    take_rules(&l, rules_otherwise(NULL, PV_ACCESS_OK, 0));
    bool ok = l.policies && l.demands;
    if (!ok) snprintf(error, error_cap, "out of memory");
    ok = ok && store_load(g->store, &visitor, &l, error, error_cap);
    if (ok && l.out_of_memory)
        snprintf(error, error_cap, "out of memory, or a user has more than %d devices",
                 TABLE_DEVICES_PER_USER);
    else if (ok && l.bad_rule)
        snprintf(error, error_cap,
                 "an access rule, or the default access, is damaged in the store");
    else if (ok && demand_load_end(l.demands, g, error, error_cap))
        book = make_book(&l, error, error_cap);
    if (!book) claims_close(g->claims); /* what was not bound may yet be needed */
    demand_loading_free(l.demands);
    policy_loading_free(l.policies);
    for (size_t i = 0; i < TABLE_SHARDS && book; i++) {
        g->table->shards[i].book = book_hold(book);
        g->table->shards[i].rules = rules_hold(l.rules);
    }
    book_release(book);
    rules_release(l.rules);
    return book != NULL;
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

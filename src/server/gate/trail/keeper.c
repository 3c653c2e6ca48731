#include "src/server/gate/trail/keeper.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "src/json_text.h"
#include "src/server/gate/table/evict.h"
#include "src/server/observe/heart.h"
#include "src/server/observe/log.h"

/* A trail that is being written. */
struct job_of_trail {
    struct device *device; /* held */
    uint32_t dropped;      /* lines of the log */
    struct trail_copy copy;
};

struct keeper {
    struct gate *gate;
    struct job_of_trail *jobs; /* of the round under way: KEEPER_AT_ONCE */
    atomic_bool wanted, look_again;
    pthread_t thread;
    bool running;
    struct heart heart; /* of the thread */

    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t wake;
    bool ending;
    struct trail *evicted; /* by `next`; each holds its device */
    unsigned evicted_count;
};

/* ---- copies ---- */
void trail_copy(const struct trail *t, struct trail_copy *out)
{
    *out = (struct trail_copy){.fresh = !t || t->fresh};
    if (!t) return;
    out->count = t->count;
    memcpy(out->entries, t->entries, t->count * sizeof *t->entries);
    if (!t->clone.other) return;
    out->returns = t->clone.returns;
    snprintf(out->other_type, KIND_TEXT_MAX, "%s", kind_text(t->clone.other, KIND_TYPE));
    snprintf(out->other_agent, KIND_TEXT_MAX, "%s", kind_text(t->clone.other, KIND_AGENT));
}

json_t *trail_copy_json(const struct trail_copy *c)
{
    json_t *entries = json_array();
    bool ok = entries != NULL;
    for (uint8_t i = 0; i < c->count; i++)
        ok = ok && json_array_append_new(entries, trail_entry_json(&c->entries[i])) == 0;
    bool other = *c->other_type || *c->other_agent;
    json_t *clone =
        other ? json_pack("{s:o,s:o,s:i}", "device_type", json_of_peer(c->other_type), "user_agent",
                          json_of_peer(c->other_agent), "returns", (int)c->returns)
              : json_null();
    if (ok) return json_pack("{s:o,s:o}", "steps", entries, "clone", clone);
    json_decref(entries);
    json_decref(clone);
    return NULL;
}

/* What the store has, oldest first; entries of another version are left out. */
static uint8_t read_entries(const json_t *json, struct trail_entry out[TRAIL_ENTRIES])
{
    const json_t *steps = json_object_get(json, "steps");
    uint8_t count = 0;
    for (size_t i = 0; i < json_array_size(steps) && count < TRAIL_ENTRIES; i++)
        if (trail_entry_read(json_array_get(steps, i), &out[count])) count++;
    return count;
}

static void read_clone(const json_t *json, struct trail_copy *c)
{
    const char *type, *agent;
    int returns;
    if (*c->other_type || *c->other_agent ||
        json_unpack(json_object_get(json, "clone"), "{s:s,s:s,s:i}", "device_type", &type,
                    "user_agent", &agent, "returns", &returns) != 0)
        return;
    c->returns = (unsigned)returns;
    snprintf(c->other_type, KIND_TEXT_MAX, "%s", type);
    snprintf(c->other_agent, KIND_TEXT_MAX, "%s", agent);
}

bool trail_complete(struct store *store, const char *user, const char *device_id,
                    struct trail_copy *c)
{
    struct trail_entry older[TRAIL_ENTRIES];
    struct trail_record r;
    void *block;
    json_t *json;
    int found = store_read_trail(store, user, device_id, &r, &block);
    if (found <= 0) return found == 0;
    bool ok = json_of_text(r.trail_json, strlen(r.trail_json), 0, &json);
    free(block);
    trail_put_before(c->entries, &c->count, older, read_entries(json, older));
    read_clone(json, c);
    json_decref(json);
    if (ok) c->fresh = false;
    return ok;
}

int gate_device_trail(struct gate *g, const char *user, const char *device_id,
                      struct trail_copy *out)
{
    struct resident r = {0};
    if (!resident_read(g, &r, user, RESIDENT_KNOWN)) return -1;
    struct shard *s = table_lock(g->table, user);
    struct device *d = owner_device(r.owner, device_id);
    if (d) trail_copy(trail_find(&s->trails, d), out);
    table_unlock(s);
    resident_drop(&r);
    if (!d) return 0;
    return !out->fresh || trail_complete(g->store, user, device_id, out) ? 1 : -1;
}

/* ---- one round ---- */
static void tell_dropped(const struct job_of_trail *j)
{
    if (j->dropped)
        LOG(LOG_INFO, 0, "log-suppressed", KV_TEXT("user", j->device->owner->name),
            KV_TEXT("device", j->device->id), KV_UINT("suppressed", j->dropped));
}

/* Its user stays in memory until it is written. Shard locked. */
static void begin(struct job_of_trail *j, struct trail *t)
{
    j->device = device_hold(t->device);
    owner_pin(t->device->owner);
    j->dropped = t->log_dropped;
    trail_copy(t, &j->copy);
    t->log_dropped = 0;
    t->dirty = false;
}

/* The other face that the store had, unless the device has shown another one since; without memory it
 * is lost. */
static void put_clone_back(struct shard *s, struct trail *t, const struct trail_copy *c)
{
    const char *const face[KIND_TEXTS] = {[KIND_TYPE] = c->other_type,
                                          [KIND_AGENT] = c->other_agent,
                                          [KIND_MODEL] = "",
                                          [KIND_OS] = ""};
    if (t->clone.other || (!*c->other_type && !*c->other_agent)) return;
    t->clone.other = kinds_take(&s->kinds, face);
    t->clone.returns = t->clone.other ? (uint16_t)c->returns : 0;
}

/* A device that was removed meanwhile stays removed: its trail is queued under the lock under which
 * the removal was. */
static bool write_one(struct keeper *k, struct job_of_trail *j)
{
    const char *user = j->device->owner->name;
    uint8_t had = j->copy.count;
    tell_dropped(j);
    bool ok = !j->copy.fresh || trail_complete(k->gate->store, user, j->device->id, &j->copy);
    json_t *json = trail_copy_json(&j->copy);
    char *text = text_of_json(json, JSON_COMPACT);
    json_decref(json);
    const struct store_change c = {.kind = STORE_PUT_TRAIL, .u.trail = {user, j->device->id, text}};
    struct shard *s = table_lock(k->gate->table, user);
    struct trail *t = trail_find(&s->trails, j->device);
    if (!j->device->gone) ok = ok && text && owner_submit(k->gate, j->device->owner, &c, 1, NULL);
    if (t && ok && t->fresh) {
        trail_put_before(t->entries, &t->count, j->copy.entries, (size_t)(j->copy.count - had));
        put_clone_back(s, t, &j->copy);
        t->fresh = false;
    }
    if (t && !ok) t->dirty = true;
    owner_unpin(k->gate, s, j->device->owner);
    table_unlock(s);
    free(text);
    device_release(j->device);
    return ok;
}

static bool round_of_shard(struct keeper *k, struct shard *s)
{
    size_t n = 0;
    bool more = false;
    heart_beat(&k->heart);
    pthread_mutex_lock(&s->mutex);
    for (struct trail *t = s->trails.newest; t; t = t->older) {
        if (!t->dirty) continue;
        more = n == KEEPER_AT_ONCE;
        if (more) break;
        begin(&k->jobs[n++], t);
    }
    pthread_mutex_unlock(&s->mutex);
    for (size_t i = 0; i < n; i++) more = !write_one(k, &k->jobs[i]) || more;
    return more;
}

static void write_evicted(struct keeper *k)
{
    pthread_mutex_lock(&k->mutex);
    struct trail *t = k->evicted, *next;
    k->evicted = NULL;
    k->evicted_count = 0;
    pthread_mutex_unlock(&k->mutex);
    for (; t; t = next) {
        struct device *d = t->device;
        struct shard *s = table_lock(k->gate->table, d->owner->name);
        next = t->next;
        begin(&k->jobs[0], t);
        trail_free(&s->kinds, t);
        owner_unpin(k->gate, s, d->owner);
        table_unlock(s);
        write_one(k, &k->jobs[0]);
        device_release(d);
    }
}

bool keeper_round(struct keeper *k)
{
    bool more = false;
    write_evicted(k);
    for (size_t i = 0; i < TABLE_SHARDS; i++)
        more = round_of_shard(k, &k->gate->table->shards[i]) || more;
    return more;
}

/* ---- from the gate ---- */
void keeper_want(struct gate *g)
{
    struct keeper *k = g->keeper;
    if (atomic_load_explicit(&k->wanted, memory_order_relaxed) ||
        atomic_exchange_explicit(&k->wanted, true, memory_order_acq_rel))
        return;
    pthread_mutex_lock(&k->mutex);
    pthread_cond_signal(&k->wake);
    pthread_mutex_unlock(&k->mutex);
}

void keeper_look_again(struct gate *g)
{
    atomic_store(&g->keeper->look_again, true);
    keeper_want(g);
}

void keeper_evicted(struct gate *g, struct shard *s, struct trail *t)
{
    struct keeper *k = g->keeper;
    pthread_mutex_lock(&k->mutex);
    bool keep = t->dirty && k->evicted_count < KEEPER_EVICTED_MAX;
    if (keep) {
        device_hold(t->device);
        owner_pin(t->device->owner);
        t->next = k->evicted;
        k->evicted = t;
        k->evicted_count++;
    }
    pthread_mutex_unlock(&k->mutex);
    if (!keep) trail_free(&s->kinds, t);
}

/* ---- the thread ---- */
/* Sleeps until something is wanted, and then for a moment, so that a burst is one write. false: the
 * end. */
static bool sleep_until_wanted(struct keeper *k)
{
    struct timespec until;
    pthread_mutex_lock(&k->mutex);
    while (!k->ending && !atomic_load_explicit(&k->wanted, memory_order_acquire))
        pthread_cond_wait(&k->wake, &k->mutex);
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += KEEPER_EVERY_S;
    while (!k->ending && pthread_cond_timedwait(&k->wake, &k->mutex, &until) == 0) continue;
    bool go_on = !k->ending;
    pthread_mutex_unlock(&k->mutex);
    return go_on;
}

static void *run(void *arg)
{
    struct keeper *k = arg;
    pthread_setname_np(pthread_self(), "gate");
    while (sleep_until_wanted(k)) {
        atomic_store_explicit(&k->wanted, false, memory_order_release);
        heart_beat(&k->heart);
        if (keeper_round(k)) keeper_want(k->gate);
        table_make_room(k->gate);
        if (atomic_exchange(&k->look_again, false)) resident_look_again(k->gate, NULL);
        heart_rest(&k->heart);
    }
    return NULL;
}

struct keeper *keeper_create(struct gate *g)
{
    pthread_condattr_t monotonic;
    struct keeper *k = calloc(1, sizeof *k);
    if (!k) return NULL;
    k->gate = g;
    k->jobs = calloc(KEEPER_AT_ONCE, sizeof *k->jobs);
    if (!k->jobs) {
        free(k);
        return NULL;
    }
    pthread_mutex_init(&k->mutex, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&k->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    return k;
}

const struct heart *keeper_heart(const struct keeper *k)
{
    return &k->heart;
}

bool keeper_start(struct keeper *k)
{
    k->running = pthread_create(&k->thread, NULL, run, k) == 0;
    return k->running;
}

void keeper_stop(struct keeper *k)
{
    if (!k || !k->running) return;
    pthread_mutex_lock(&k->mutex);
    k->ending = true;
    pthread_cond_signal(&k->wake);
    pthread_mutex_unlock(&k->mutex);
    pthread_join(k->thread, NULL);
    k->running = false;
}

void keeper_destroy(struct keeper *k)
{
    if (!k) return;
    /* A store that fails does not keep the server from stopping: each trail is tried once. */
    for (unsigned n = 0; k->gate->table && n < TRAILS_PER_SHARD / KEEPER_AT_ONCE; n++)
        if (!keeper_round(k)) break;
    pthread_cond_destroy(&k->wake);
    pthread_mutex_destroy(&k->mutex);
    free(k->jobs);
    free(k);
}

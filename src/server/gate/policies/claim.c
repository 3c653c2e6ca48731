#include "src/server/gate/policies/claim.h"

#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/json_text.h"
#include "src/lib/base/sha256.h"

#define BUCKETS 256

struct merged {
    struct revision *plain, *both; /* held */
};

struct claims {
    pthread_mutex_t mutex;
    struct claim *buckets[BUCKETS];
    size_t count, bytes;
};

struct claims *claims_create(void)
{
    struct claims *all = calloc(1, sizeof *all);
    if (!all) return NULL;
    pthread_mutex_init(&all->mutex, NULL);
    return all;
}

void claims_destroy(struct claims *all)
{
    if (!all) return;
    pthread_mutex_destroy(&all->mutex);
    free(all);
}

/* ---- one claim ---- */
static size_t bytes_of(const struct claim *c)
{
    size_t bytes = sizeof *c + strlen(c->upstream);
    if (c->saved) bytes += sizeof *c->saved + c->saved->arena.cap + strlen(c->saved->settings_json);
    return bytes;
}

static void claim_free(struct claim *c)
{
    for (size_t i = 0; i < c->merged_count; i++) {
        revision_release(c->merged[i].plain);
        revision_release(c->merged[i].both);
    }
    saved_release(c->saved);
    free(c->merged);
    free(c);
}

/* NULL: no memory. Takes saved over. */
static struct claim *make(struct claims *all, const char *upstream, struct saved *saved)
{
    const char *settings = saved ? saved->settings_json : "none";
    size_t at = strlen(upstream) + 1, len = at + strlen(settings);
    struct claim *c = calloc(1, sizeof *c + at);
    uint8_t *text = malloc(len + 1), digest[32];
    if (!c || !text) {
        saved_release(saved);
        free(c);
        free(text);
        return NULL;
    }
    memcpy(c->upstream, upstream, at);
    memcpy(text, upstream, at);
    memcpy(text + at, settings, len - at);
    pv__sha256(text, len, digest);
    for (size_t i = 0; i < CLAIM_NAME / 2; i++) snprintf(c->name + 2 * i, 3, "%02x", digest[i]);
    free(text);
    c->all = all;
    c->holders = 1;
    c->saved = saved;
    return c;
}

/* The store keeps lists as text with commas, as it does for our own policies. */
static bool has_comma(const struct pv_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        if (strchr(list->items[i], ',')) return true;
    return false;
}

static enum gate_result save(const struct pv_policy *policy, struct saved **out)
{
    const struct saved_draft draft = {.name = "", .base = policy};
    char why[256];
    *out = NULL;
    if (!policy) return GATE_OK;
    if (has_comma(&policy->unapproved) || has_comma(&policy->approved) ||
        pv_policy_check(policy, NULL, 0) != PV_OK)
        return GATE_INVALID;
    return saved_create(&draft, out, why, sizeof why);
}

/* ---- all of them ---- */
static struct claim **place_of(struct claims *all, const char *name)
{
    unsigned bucket = 0;
    for (const char *p = name; *p; p++) bucket = bucket * 31 + (unsigned char)*p;
    struct claim **at = &all->buckets[bucket % BUCKETS];
    while (*at && strcmp((*at)->name, name) != 0) at = &(*at)->next;
    return at;
}

struct claim *claims_find(struct claims *all, const char *name)
{
    pthread_mutex_lock(&all->mutex);
    struct claim *c = *place_of(all, name);
    if (c) c->holders++;
    pthread_mutex_unlock(&all->mutex);
    return c;
}

/* One that is there already takes the place of c, which is freed. */
static enum gate_result add(struct claims *all, struct claim *c, bool written, struct claim **out)
{
    size_t bytes = bytes_of(c);
    pthread_mutex_lock(&all->mutex);
    struct claim **at = place_of(all, c->name);
    bool there = *at != NULL;
    bool room = there || (all->count < CLAIMS_MAX && bytes <= CLAIMS_BYTES_MAX - all->bytes);
    if (there) {
        (*at)->holders++;
        *out = *at;
    } else if (room) {
        c->written = written;
        *out = *at = c;
        all->count++;
        all->bytes += bytes;
    }
    pthread_mutex_unlock(&all->mutex);
    if (there || !room) claim_free(c);
    return room ? GATE_OK : GATE_INVALID;
}

enum gate_result claims_take(struct claims *all, const char *upstream,
                             const struct pv_policy *policy, struct claim **out)
{
    struct saved *saved;
    enum gate_result result = save(policy, &saved);
    if (result != GATE_OK) return result;
    struct claim *c = make(all, upstream, saved);
    return c ? add(all, c, false, out) : GATE_STORE;
}

struct claim *claim_hold(struct claim *c)
{
    pthread_mutex_lock(&c->all->mutex);
    c->holders++;
    pthread_mutex_unlock(&c->all->mutex);
    return c;
}

static void forget(struct claim *c)
{
    *place_of(c->all, c->name) = c->next;
    c->all->count--;
    c->all->bytes -= bytes_of(c);
}

void claim_release(struct claim *c)
{
    if (!c) return;
    struct claims *all = c->all;
    pthread_mutex_lock(&all->mutex);
    bool last = --c->holders == 0;
    if (last) forget(c);
    pthread_mutex_unlock(&all->mutex);
    if (last) claim_free(c);
}

/* ---- the store ---- */
bool claim_to_write(struct claim *c, char **json_out)
{
    *json_out = NULL;
    pthread_mutex_lock(&c->all->mutex);
    bool written = c->written;
    pthread_mutex_unlock(&c->all->mutex);
    if (written) return true;
    json_t *json = json_pack("{s:o,s:s?}", "upstream", json_of_peer(c->upstream), "settings",
                             c->saved ? c->saved->settings_json : NULL);
    *json_out = text_of_json(json, JSON_COMPACT);
    json_decref(json);
    return *json_out != NULL;
}

void claim_written(struct claim *c)
{
    pthread_mutex_lock(&c->all->mutex);
    c->written = true;
    pthread_mutex_unlock(&c->all->mutex);
}

enum gate_result claims_load(struct claims *all, const char *json, struct claim **out)
{
    char why[256];
    struct saved *saved = NULL;
    enum gate_result result = GATE_INVALID;
    json_t *root;
    if (!json_of_text(json, strlen(json), JSON_REJECT_DUPLICATES, &root)) return GATE_STORE;
    const char *upstream = json_string_value(json_object_get(root, "upstream"));
    const json_t *settings = json_object_get(root, "settings");
    if (upstream && json_is_string(settings)) {
        const struct policy_record record = {
            .name = "", .parent = "", .by = "", .settings_json = json_string_value(settings)};
        result = saved_load(&record, &saved, why, sizeof why);
    } else if (upstream && json_is_null(settings)) {
        result = GATE_OK;
    }
    struct claim *c = result == GATE_OK ? make(all, upstream, saved) : NULL;
    if (result == GATE_OK) result = c ? add(all, c, true, out) : GATE_STORE;
    json_decref(root);
    return result;
}

/* ---- with policies of ours ---- */
/* NULL: no memory. */
static struct revision *merge(struct claim *c, struct revision *plain)
{
    struct merged *more = realloc(c->merged, (c->merged_count + 1) * sizeof *more);
    struct revision *both;
    if (!more) return NULL;
    c->merged = more;
    if (revision_merge(plain, &c->saved->policy, &both) != GATE_OK) return NULL;
    c->merged[c->merged_count++] = (struct merged){revision_hold(plain), both};
    return both;
}

struct revision *claim_over(struct claim *c, struct revision *plain)
{
    struct revision *both = NULL;
    if (!c->saved) return plain;
    pthread_mutex_lock(&c->all->mutex);
    for (size_t i = 0; i < c->merged_count && !both; i++)
        if (c->merged[i].plain == plain) both = c->merged[i].both;
    if (!both) both = merge(c, plain);
    pthread_mutex_unlock(&c->all->mutex);
    return both;
}

/* Nobody but us holds it, so nobody can come by it any more. */
static bool is_left(const struct revision *plain)
{
    return atomic_load_explicit(&plain->holders, memory_order_acquire) == 1;
}

static void prune(struct claim *c)
{
    size_t kept = 0;
    for (size_t i = 0; i < c->merged_count; i++) {
        if (is_left(c->merged[i].plain)) {
            revision_release(c->merged[i].plain);
            revision_release(c->merged[i].both);
        } else {
            c->merged[kept++] = c->merged[i];
        }
    }
    c->merged_count = kept;
}

void claims_prune(struct claims *all)
{
    pthread_mutex_lock(&all->mutex);
    for (size_t b = 0; b < BUCKETS; b++)
        for (struct claim *c = all->buckets[b]; c; c = c->next) prune(c);
    pthread_mutex_unlock(&all->mutex);
}

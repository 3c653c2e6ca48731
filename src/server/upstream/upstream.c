/* The set of upstreams. */
#include "src/server/upstream/upstream.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "src/json_text.h"
#include "src/server/observe/log.h"
#include "src/server/observe/when.h"
#include "src/server/upstream/upstream_inner.h"

/* ---- which one ---- */

/* What stands behind the @; a name without one belongs to the configured domain. */
static const char *domain_of(const struct upstreams *u, const char *user)
{
    const char *at = strrchr(user, '@');
    return at ? at + 1 : config_now(u->config)->domain;
}

struct upstream *upstream_of(struct upstreams *u, const char *user)
{
    const struct config_domains *d = &config_now(u->config)->upstream.domains;
    const char *domain = domain_of(u, user);
    for (size_t i = 0; i < d->count; i++)
        if (strcasecmp(d->at[i].domain, domain) == 0) return u->of_domain[i];
    return u->otherwise;
}

size_t upstreams_count(const struct upstreams *u)
{
    return u->count;
}

size_t upstream_index(const struct upstream *u)
{
    return u->index;
}

const char *upstream_url(const struct upstream *u)
{
    return u->url;
}

/* ---- figures ---- */

void upstream_begun(struct upstream *u)
{
    atomic_fetch_add_explicit(&u->requests, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&u->active, 1, memory_order_relaxed);
}

void upstream_left(struct upstream *u)
{
    atomic_fetch_sub_explicit(&u->active, 1, memory_order_relaxed);
}

bool upstream_refuses_login(const struct upstream *u, unsigned http)
{
    return http == 401 || (http == 403 && atomic_load(&u->refuses_with) == 403);
}

void upstream_ended(struct upstream *u, enum fetch_result result, const struct fetch *f,
                    bool elsewhere)
{
    static const int kinds[] = {[FETCH_UNREACHABLE] = UPSTREAM_UNREACHABLE,
                                [FETCH_BUSY] = UPSTREAM_BUSY,
                                [FETCH_TIMEOUT] = UPSTREAM_TIMEOUT,
                                [FETCH_CUT] = UPSTREAM_BROKEN};
    upstream_left(u);
    if (result == FETCH_NO_MEMORY) return; /* says nothing of it */
    if (result != FETCH_OK)
        atomic_fetch_add_explicit(&u->failures[kinds[result]], 1, memory_order_relaxed);
    if (!elsewhere) health_note(u, result, f->error);
}

bool upstream_place(const struct upstream *u, const char *user, char out[PUBLIC_URL_ROOM])
{
    return location_of(u->set->locations, u->url, user, out);
}

bool upstream_sends_on(struct upstream *u, const char *user, const struct fetch *f)
{
    const char *to = f->status == 451 ? fetch_field(f, "X-MS-Location") : NULL;
    if (!to) return false;
    if (location_keep(u->set->locations, u->url, user, to)) return true;
    LOG(LOG_WARN, 0, "upstream-location-bad", KV_TEXT("user", user), KV_TEXT("url", u->url),
        KV_TEXT("why", "it sends the user to an address that no password may go to"));
    return false;
}

/* ---- status ---- */

static json_t *time_json(int64_t at)
{
    char text[WHEN_TEXT];
    return at && when_text(at, text) ? json_string(text) : json_null();
}

static json_t *domains_json(const struct upstream *u)
{
    json_t *list = json_array();
    const struct upstreams *set = u->set;
    for (size_t i = 0; list && i < config_now(set->config)->upstream.domains.count; i++)
        if (set->of_domain[i] == u &&
            json_array_append_new(
                list, json_of_peer(config_now(set->config)->upstream.domains.at[i].domain))) {
            json_decref(list);
            return NULL;
        }
    return list;
}

static json_t *failures_json(struct upstream *u)
{
#define NAME(id, text) text,
    static const char *const names[] = {UPSTREAM_FAILURES(NAME)};
#undef NAME
    json_t *o = json_object();
    for (size_t i = 0; o && i < UPSTREAM_FAILURE_COUNT; i++)
        if (json_object_set_new(o, names[i],
                                json_integer((json_int_t)atomic_load(&u->failures[i])))) {
            json_decref(o);
            return NULL;
        }
    return o;
}

static json_t *status_of(struct upstream *u)
{
    static const char *const states[] = {"unknown", "up", "down"};
    char error[sizeof u->error];
    pthread_mutex_lock(&u->lock);
    int64_t since = u->since, error_at = u->error_at;
    memcpy(error, u->error, sizeof error);
    pthread_mutex_unlock(&u->lock);
    return json_pack(
        "{s:s,s:o,s:b,s:s,s:o,s:I,s:i,s:o,s:o,s:o}", "url", u->url, "domains", domains_json(u),
        "default", u->set->otherwise == u, "state", states[atomic_load(&u->state)], "since",
        time_json(since), "requests", (json_int_t)atomic_load(&u->requests), "active",
        (int)atomic_load(&u->active), "failures", failures_json(u), "last_error",
        error_at ? json_of_peer(error) : json_null(), "last_error_at", time_json(error_at));
}

json_t *upstreams_status(struct upstreams *u)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < u->count; i++)
        if (json_array_append_new(list, status_of(&u->at[i]))) {
            json_decref(list);
            return NULL;
        }
    return list;
}

/* ---- the set ---- */

/* false: no memory. */
static bool speak_to(struct upstream *u, const struct config *c)
{
    struct peer_kept *k = malloc(sizeof *k);
    if (!k) return false;
    k->peer = (struct fetch_peer){.ca_file = c->upstream.ca_file,
                                  .certificate = c->upstream.certificate,
                                  .key = c->upstream.key,
                                  .connect_ms = c->upstream.connect_timeout * 1000,
                                  .connections_max = c->upstream.connections};
    k->before = u->peers;
    u->peers = k;
    atomic_store(&u->peer, &k->peer);
    return true;
}

static bool set_up(struct upstreams *set, struct upstream *u, const char *url)
{
    u->set = set;
    u->index = (size_t)(u - set->at);
    (void)public_url_eas(&(struct public_url){.url = url}, u->url);
    pthread_mutex_init(&u->lock, NULL);
    return speak_to(u, set->config);
}

/* The upstream of that URL, made if there is none yet; several domains may have the same. NULL: no
 * memory. */
static struct upstream *add(struct upstreams *set, const char *url)
{
    char whole[PUBLIC_URL_ROOM];
    (void)public_url_eas(&(struct public_url){.url = url}, whole);
    for (size_t i = 0; i < set->count; i++)
        if (strcmp(set->at[i].url, whole) == 0) return &set->at[i];
    struct upstream *u = &set->at[set->count++];
    return set_up(set, u, url) ? u : NULL;
}

/* libcurl would say it at each request, and the server would serve nobody. */
static bool files_are_there(const struct config *c, char *error, size_t error_cap)
{
    const char *const files[] = {c->upstream.ca_file, c->upstream.certificate, c->upstream.key};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (files[i] && access(files[i], R_OK) != 0) {
            snprintf(error, error_cap, "%s: %s", files[i], strerror(errno));
            return false;
        }
    return true;
}

struct upstreams *upstreams_create(const struct config *c, char *error, size_t error_cap)
{
    size_t domains = c->upstream.domains.count;
    if (!files_are_there(c, error, error_cap)) return NULL;
    struct upstreams *u = calloc(1, sizeof *u);
    snprintf(error, error_cap, "no memory for the upstream servers");
    if (!u) return NULL;
    u->config = c;
    u->at = calloc(domains + 1, sizeof *u->at);
    u->of_domain = calloc(domains + 1, sizeof(struct upstream *));
    u->fetcher = fetcher_create();
    u->locations = locations_create();
    if (!u->at || !u->of_domain || !u->fetcher || !u->locations) {
        upstreams_destroy(u);
        return NULL;
    }
    bool all = !c->upstream.url || (u->otherwise = add(u, c->upstream.url));
    for (size_t i = 0; all && i < domains; i++)
        all = (u->of_domain[i] = add(u, c->upstream.domains.at[i].url)) != NULL;
    if (all) return u;
    upstreams_destroy(u);
    return NULL;
}

bool upstreams_check(const struct config *c, char *error, size_t error_cap)
{
    return files_are_there(c, error, error_cap);
}

bool upstreams_reconfigure(struct upstreams *u)
{
    bool all = true;
    for (size_t i = 0; i < u->count; i++) all = speak_to(&u->at[i], config_now(u->config)) && all;
    return all;
}

bool upstreams_load(struct upstreams *u, struct store *s, char *error, size_t error_cap)
{
    return locations_load(u->locations, s, error, error_cap);
}

bool upstreams_follow(struct upstreams *u, struct gate *g, char *error, size_t error_cap)
{
    return locations_follow(u->locations, g, error, error_cap);
}

void upstreams_begin(struct upstreams *u, struct worker *w)
{
    atomic_store(&u->worker, w);
    for (size_t i = 0; i < u->count; i++) health_begin(&u->at[i], w);
}

void upstreams_destroy(struct upstreams *u)
{
    if (!u) return;
    fetcher_destroy(u->fetcher);
    locations_destroy(u->locations);
    for (size_t i = 0; i < u->count; i++) {
        for (struct peer_kept *k = u->at[i].peers, *before; k; k = before) {
            before = k->before;
            free(k);
        }
        pthread_mutex_destroy(&u->at[i].lock);
    }
    free(u->of_domain);
    free(u->at);
    free(u);
}

#include "src/server/upstream/location.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <jansson.h>

#include "src/server/auth/auth.h"
#include "src/server/gate/lists.h"
#include "src/server/mailbox/map.h"
#include "src/server/observe/log.h"

#define LOCATION_KIND "location" /* of the store's items, named by user */
#define LOCATIONS_MAX 1000000    /* users; beyond that they are sent on anew each time */

struct location {
    struct map_node node;
    char home[PUBLIC_URL_ROOM]; /* whoever is given another upstream is not there any more */
    char url[PUBLIC_URL_ROOM];
    char user[];
};

struct locations {
    pthread_mutex_t lock;
    struct map map;
    struct store *store; /* NULL: not loaded yet */
    struct lists_part part;
};

static void free_location(void *ctx, struct map_node *n)
{
    map_remove(ctx, n);
    free((struct location *)n);
}

struct locations *locations_create(void)
{
    struct locations *l = calloc(1, sizeof *l);
    if (l) pthread_mutex_init(&l->lock, NULL);
    return l;
}

void locations_destroy(struct locations *l)
{
    if (!l) return;
    map_each(&l->map, free_location, &l->map);
    map_finish(&l->map);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

/* Locked. */
static struct location *find(struct locations *l, const char *user)
{
    struct map_node *n = map_first(&l->map, map_hash(user, strlen(user), 0));
    while (n && strcmp(((struct location *)n)->user, user) != 0) n = map_next(n);
    return (struct location *)n;
}

static bool fits(const char *text)
{
    return strlen(text) < PUBLIC_URL_ROOM;
}

/* Locked. NULL: no memory, or too many. */
static struct location *put(struct locations *l, const char *home, const char *user,
                            const char *url)
{
    size_t len = strlen(user) + 1;
    struct location *at = find(l, user);
    if (!at) {
        at = l->map.count < LOCATIONS_MAX ? malloc(sizeof *at + len) : NULL;
        if (!at) return NULL;
        memcpy(at->user, user, len);
        if (!map_put(&l->map, &at->node, map_hash(user, len - 1, 0))) {
            free(at);
            return NULL;
        }
    }
    memcpy(at->home, home, strlen(home) + 1);
    memcpy(at->url, url, strlen(url) + 1);
    return at;
}

/* ---- the store ---- */

static void load_item(void *ctx, const struct item_record *r)
{
    struct locations *l = ctx;
    const char *home, *url;
    if (strcmp(r->kind, LOCATION_KIND) != 0 || strlen(r->name) >= AUTH_USER_MAX) return;
    json_t *json = json_loads(r->json, 0, NULL);
    if (json && json_unpack(json, "{s:s,s:s}", "home", &home, "url", &url) == 0 && fits(home) &&
        fits(url) && public_url_ok(url))
        (void)put(l, home, r->name, url);
    json_decref(json);
}

bool locations_load(struct locations *l, struct store *s, char *error, size_t error_cap)
{
    static const struct store_visitor items = {.item = load_item};
    l->store = s;
    return store_load(s, &items, l, error, error_cap);
}

static void *begin(void *ctx)
{
    (void)ctx;
    return locations_create();
}

/* What was learnt here while it was read is learnt again, or comes with the next reading. */
static void end(void *ctx, void *reading, bool take)
{
    struct locations *l = ctx, *r = reading;
    pthread_mutex_lock(&l->lock);
    const struct map known = l->map;
    if (take) {
        l->map = r->map;
        r->map = known;
    }
    pthread_mutex_unlock(&l->lock);
    locations_destroy(r);
}

bool locations_follow(struct locations *l, struct gate *g, char *error, size_t error_cap)
{
    l->part = (struct lists_part){begin, load_item, end, l, .behind = true};
    return !store_is_shared(gate_store(g)) || gate_add_lists(g, &l->part, error, error_cap);
}

/* Written behind: what is lost is learnt again. */
static void store_put(struct locations *l, const char *home, const char *user, const char *url)
{
    json_t *json = json_pack("{s:s,s:s}", "home", home, "url", url);
    char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;
    json_decref(json);
    if (text)
        (void)store_submit(
            l->store,
            &(struct store_change){.kind = STORE_PUT_ITEM, .u.item = {LOCATION_KIND, user, text}},
            1, NULL);
    free(text);
}

/* ---- asked and told ---- */

bool location_of(struct locations *l, const char *home, const char *user, char out[PUBLIC_URL_ROOM])
{
    pthread_mutex_lock(&l->lock);
    const struct location *at = l->map.count ? find(l, user) : NULL;
    bool elsewhere = at && strcmp(at->home, home) == 0;
    const char *url = elsewhere ? at->url : home;
    memcpy(out, url, strlen(url) + 1);
    pthread_mutex_unlock(&l->lock);
    return elsewhere;
}

/* Neither a name that goes before the host nor plain text where there was none: the password goes there. */
static bool may_follow(const char *home, const char *value)
{
    bool secure = strncasecmp(value, "https://", strlen("https://")) == 0;
    bool plain = strncmp(home, "http://", strlen("http://")) == 0;
    return public_url_ok(value) && (secure || plain);
}

bool location_keep(struct locations *l, const char *home, const char *user, const char *value)
{
    char url[PUBLIC_URL_ROOM];
    if (!may_follow(home, value) || !public_url_eas(&(struct public_url){.url = value}, url))
        return false;
    if (strcmp(url, home) == 0) {
        location_forget(l, user);
        return true;
    }
    pthread_mutex_lock(&l->lock);
    bool kept = put(l, home, user, url) != NULL;
    pthread_mutex_unlock(&l->lock);
    if (kept && l->store) store_put(l, home, user, url);
    if (kept)
        LOG(LOG_INFO, 0, "upstream-sends-on", KV_TEXT("user", user), KV_TEXT("url", home),
            KV_TEXT("to", url));
    return kept;
}

void location_forget(struct locations *l, const char *user)
{
    pthread_mutex_lock(&l->lock);
    struct location *at = find(l, user);
    if (at) free_location(&l->map, &at->node);
    pthread_mutex_unlock(&l->lock);
    if (at && l->store)
        (void)store_submit(l->store,
                           &(struct store_change){.kind = STORE_REMOVE_ITEM,
                                                  .u.item = {LOCATION_KIND, user, NULL}},
                           1, NULL);
}

#include "src/server/auth/auth.h"

#include <arpa/inet.h>
#include <crypt.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>

#include "src/server/auth/cache.h"
#include "src/server/auth/login.h"
#include "src/server/auth/throttle.h"
#include "src/server/auth/users.h"
#include "src/server/http/pool.h"
#include "src/server/observe/log.h"

#define QUEUE_MAX 1024
#define SLOW_FROM 6 /* the sixth failure in a minute is slowed down */
#define SLOW_MOST_MS 8000
#define REFUSE_USER_FROM 20    /* failures in a minute before a password is not even looked at */
#define REFUSE_ADDRESS_FROM 60 /* many phones may stand behind one address */
#define LOOK_EVERY_MS 2000     /* at the users file's time stamp */

struct auth {
    struct users *users;
    struct cache *cache;
    struct throttle *throttle;
    struct pool *pool;
    char domain[256];
    uint8_t secret[32];
    _Atomic uint64_t look_at_ms;
    struct job look;
    bool file_bad; /* told once; only touched by the look job, of which there is one at a time */
    atomic_bool looking;
    pthread_mutex_t lock; /* pending */
    struct pending *pending;
};

/* A verification under way, or a refusal that is held back. */
struct pending {
    struct job job;
    struct timer timer;
    struct auth *auth;
    struct auth_check *check;
    struct pending *next, *prev;
    struct login login;
    char hash[USERS_HASH_MAX];
    bool user_known, was_known, local, good, unverified, given_up;
    struct digest digest;
    uint64_t user_key, address_key;
};

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000 + 1; /* never 0 */
}

/* false: it cannot be computed, and mac says nothing. */
static bool keyed_hash(struct auth *a, const void *data, size_t len, uint8_t mac[32])
{
    return gnutls_hmac_fast(GNUTLS_MAC_SHA256, a->secret, sizeof a->secret, data, len, mac) == 0;
}

/* The hash of the file is part of it, so a changed password leaves the cache by itself. */
static bool digest_of(struct auth *a, const char *user, const char *password, const char *hash,
                      struct digest *out)
{
    char text[AUTH_USER_MAX + LOGIN_PASSWORD_MAX + USERS_HASH_MAX];
    size_t user_len = strlen(user) + 1, password_len = strlen(password) + 1;
    size_t hash_len = strlen(hash) + 1;
    memcpy(text, user, user_len);
    memcpy(text + user_len, password, password_len);
    memcpy(text + user_len + password_len, hash, hash_len);
    bool ok = keyed_hash(a, text, user_len + password_len + hash_len, out->bytes);
    explicit_bzero(text, sizeof text);
    return ok;
}

static bool key_of(struct auth *a, char kind, const void *data, size_t len, uint64_t *key_out)
{
    uint8_t text[1 + AUTH_USER_MAX], mac[32];
    len = len < AUTH_USER_MAX ? len : AUTH_USER_MAX;
    text[0] = (uint8_t)kind;
    memcpy(text + 1, data, len);
    if (!keyed_hash(a, text, 1 + len, mac)) return false;
    memcpy(key_out, mac, sizeof *key_out);
    return true;
}

/* A home or office has a /64 of IPv6: one attacker could use 2^64 addresses of it. */
static bool address_key(struct auth *a, const char *peer, uint64_t *key_out)
{
    struct in6_addr six;
    if (inet_pton(AF_INET6, peer, &six) == 1) return key_of(a, '6', &six, 8, key_out);
    return key_of(a, 'a', peer, strlen(peer), key_out);
}

/* From this machine comes a proxy, and everybody stands behind it. Failures are slowed down as
 * ever, but no stranger's failures may keep the others from logging in. */
static bool is_local(const char *peer)
{
    return strcmp(peer, "unix") == 0 || strcmp(peer, "::1") == 0 || strncmp(peer, "127.", 4) == 0;
}

static void look_run(struct job *j)
{
    struct auth *a = CONTAINER_OF(j, struct auth, look);
    char error[256];
    if (users_stale(a->users)) {
        bool ok = auth_reload(a, error, sizeof error);
        if (ok)
            LOG(LOG_INFO, 0, "users-file-read", KV_TEXT("why", "it changed"));
        else if (!a->file_bad)
            LOG(LOG_ERROR, 0, "users-file-not-read", KV_TEXT("error", error),
                KV_TEXT("then", "the users read before stay"));
        a->file_bad = !ok;
    }
    atomic_store(&a->looking, false);
}

/* Users edited by hand count within seconds; reading the file is not the business of a worker. */
static void look_at_file(struct auth *a, uint64_t now)
{
    uint64_t due = atomic_load_explicit(&a->look_at_ms, memory_order_relaxed);
    if (now < due || !atomic_compare_exchange_strong(&a->look_at_ms, &due, now + LOOK_EVERY_MS) ||
        atomic_exchange(&a->looking, true))
        return;
    a->look.run = look_run;
    if (!pool_submit(a->pool, &a->look)) atomic_store(&a->looking, false);
}

struct auth *auth_create(const struct config *c, char *error, size_t error_cap)
{
    struct auth *a = calloc(1, sizeof *a);
    if (!a) {
        snprintf(error, error_cap, "out of memory");
        return NULL;
    }
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned threads = c->auth.threads ? c->auth.threads : cores > 0 ? (unsigned)cores : 1;
    pthread_mutex_init(&a->lock, NULL);
    snprintf(a->domain, sizeof a->domain, "%s", c->domain ? c->domain : "");
    if (getrandom(a->secret, sizeof a->secret, 0) != (ssize_t)sizeof a->secret)
        snprintf(error, error_cap, "getrandom: %s", strerror(errno));
    else if (!(a->users = users_open(c->auth.file, error, error_cap)))
        ; /* error is set */
    else if ((a->cache = cache_create((uint64_t)c->auth.cache_seconds * 1000)) &&
             (a->throttle = throttle_create()) &&
             (a->pool = pool_create("auth", threads, QUEUE_MAX)))
        return a;
    else
        snprintf(error, error_cap, "no memory or threads for verifying passwords");
    auth_destroy(a);
    return NULL;
}

static void pending_free(struct pending *p)
{
    struct auth *a = p->auth;
    pthread_mutex_lock(&a->lock);
    if (p->prev)
        p->prev->next = p->next;
    else
        a->pending = p->next;
    if (p->next) p->next->prev = p->prev;
    pthread_mutex_unlock(&a->lock);
    explicit_bzero(p, sizeof *p);
    free(p);
}

void auth_destroy(struct auth *a)
{
    if (!a) return;
    pool_destroy(a->pool);
    while (a->pending) /* held back when the workers ended */
        pending_free(a->pending);
    throttle_destroy(a->throttle);
    cache_destroy(a->cache);
    users_close(a->users);
    pthread_mutex_destroy(&a->lock);
    explicit_bzero(a->secret, sizeof a->secret);
    free(a);
}

static void finish(struct pending *p, enum auth_verdict verdict)
{
    struct auth_check *q = p->check;
    pending_free(p);
    q->verdict = verdict;
    q->done(q);
}

static void held_back(struct timer *t)
{
    finish(CONTAINER_OF(t, struct pending, timer), AUTH_BAD);
}

static bool too_many(struct auth *a, const struct pending *p, uint64_t now)
{
    return throttle_count(a->throttle, p->user_key, now) >= REFUSE_USER_FROM ||
           (!p->local && throttle_count(a->throttle, p->address_key, now) >= REFUSE_ADDRESS_FROM);
}

/* crypt does not tell a hash that it does not know from memory that it did not get (yescrypt wants
 * megabytes). Neither a locked field nor an empty one is a hash. */
static bool is_hash(const char *hash)
{
    int salt = crypt_checksalt(hash);
    return salt != CRYPT_SALT_INVALID && salt != CRYPT_SALT_METHOD_DISABLED;
}

static void verify_run(struct job *j)
{
    struct pending *p = CONTAINER_OF(j, struct pending, job);
    /* Failures of a whole burst may have come in while this one was queued. */
    p->given_up = !p->was_known && too_many(p->auth, p, now_ms());
    if (p->given_up) return;
    struct crypt_data *data = calloc(1, sizeof *data);
    p->unverified = !data;
    if (!data) return;
    const char *made = crypt_r(p->login.password, p->hash, data);
    size_t len = made ? strlen(made) : 0;
    /* A failure of crypt begins with '*', which no usable hash does. */
    bool failed = len == 0 || *made == '*';
    p->unverified = failed && is_hash(p->hash);
    p->good = p->user_known && !failed && len > 2 && len == strlen(p->hash) &&
              !gnutls_memcmp(made, p->hash, len);
    explicit_bzero(data, sizeof *data);
    free(data);
}

static void verify_done(struct job *j)
{
    struct pending *p = CONTAINER_OF(j, struct pending, job);
    struct auth *a = p->auth;
    uint64_t now = now_ms();
    explicit_bzero(&p->login, sizeof p->login);
    if (p->unverified) {
        LOG(LOG_ERROR, 0, "login-not-verified", KV_TEXT("user", p->check->user),
            KV_TEXT("why", "out of memory, or a damaged hash in the users file"));
        finish(p, AUTH_FAILED);
    } else if (p->given_up) {
        p->check->retry_after = THROTTLE_WINDOW_MS / 1000;
        finish(p, AUTH_LATER);
    } else if (p->good) {
        cache_put(a->cache, &p->digest, now);
        finish(p, AUTH_OK);
    } else {
        unsigned user = throttle_fail(a->throttle, p->user_key, now);
        unsigned address = throttle_fail(a->throttle, p->address_key, now);
        unsigned n = user > address ? user : address;
        if (p->was_known) cache_drop(a->cache, &p->digest);
        if (n < SLOW_FROM) {
            finish(p, AUTH_BAD);
            return;
        }
        uint64_t delay = n - SLOW_FROM < 4 ? 1000u << (n - SLOW_FROM) : SLOW_MOST_MS;
        timer_set(p->job.home, &p->timer, delay < SLOW_MOST_MS ? delay : SLOW_MOST_MS, held_back);
    }
}

/* Queue a verification. true: answered at once. */
static bool verify(struct auth *a, struct auth_check *q, const struct pending *facts, uint64_t now)
{
    if (!facts->was_known && too_many(a, facts, now)) {
        q->retry_after = THROTTLE_WINDOW_MS / 1000;
        q->verdict = AUTH_LATER;
        return true;
    }
    struct pending *p = malloc(sizeof *p);
    if (!p) {
        q->verdict = AUTH_FAILED;
        return true;
    }
    *p = *facts;
    p->job = (struct job){.run = verify_run, .done = verify_done};
    pthread_mutex_lock(&a->lock);
    p->next = a->pending;
    if (p->next) p->next->prev = p;
    a->pending = p;
    pthread_mutex_unlock(&a->lock);
    if (pool_submit(a->pool, &p->job)) return false;
    pending_free(p);
    q->retry_after = 1;
    q->verdict = AUTH_LATER;
    return true;
}

bool auth_start(struct auth *a, struct auth_check *q)
{
    struct pending facts = {.auth = a, .check = q, .local = is_local(q->peer)};
    char names[LOGIN_NAMES_MAX][AUTH_USER_MAX];
    uint64_t now = now_ms();
    q->verdict = AUTH_BAD;
    q->user[0] = '\0';
    look_at_file(a, now);
    if (!login_parse(q->authorization, &facts.login)) return true;
    snprintf(q->user, sizeof q->user, "%s", facts.login.name);
    size_t count = login_names(facts.login.name, a->domain, names);
    for (size_t i = 0; i < count && !facts.user_known; i++) {
        facts.user_known = users_find(a->users, names[i], facts.hash);
        if (facts.user_known) snprintf(q->user, sizeof q->user, "%s", names[i]);
    }
    bool answered = true, hashed = true;
    if (facts.user_known) {
        hashed = digest_of(a, q->user, facts.login.password, facts.hash, &facts.digest);
        enum cache_answer known = hashed ? cache_look(a->cache, &facts.digest, now) : CACHE_UNKNOWN;
        facts.was_known = known == CACHE_KNOWN;
        if (known == CACHE_FRESH) q->verdict = AUTH_OK;
    } else if (!users_any_hash(a->users, facts.hash)) {
        /* Nobody stands in the file: there is no time to hide. The failure counts all the same. */
        snprintf(facts.hash, sizeof facts.hash, "*");
    }
    if (q->verdict != AUTH_OK) {
        hashed = hashed && key_of(a, 'u', q->user, strlen(q->user), &facts.user_key) &&
                 address_key(a, q->peer, &facts.address_key);
        if (hashed)
            answered = verify(a, q, &facts, now);
        else
            q->verdict = AUTH_FAILED;
    }
    explicit_bzero(&facts, sizeof facts);
    return answered;
}

bool auth_reload(struct auth *a, char *error, size_t error_cap)
{
    return users_reload(a->users, error, error_cap);
}

/* ---- administration ---- */

static enum auth_edit edit_password(struct auth *a, const char *user, const char *password,
                                    bool must_exist)
{
    size_t len = strlen(password);
    if (!users_name_ok(user)) return AUTH_EDIT_BAD_NAME;
    if (len == 0 || len >= LOGIN_PASSWORD_MAX) return AUTH_EDIT_BAD_PASSWORD;
    enum auth_edit result = AUTH_EDIT_FAILED;
    struct crypt_data *data = calloc(1, sizeof *data);
    char *salt =
        crypt_gensalt_ra(NULL, 0, NULL, 0); /* the method that the system prefers: yescrypt */
    const char *hash = data && salt ? crypt_r(password, salt, data) : NULL;
    if (hash && *hash != '*') result = users_edit(a->users, user, hash, must_exist);
    if (data) explicit_bzero(data, sizeof *data);
    free(data);
    free(salt);
    return result;
}

enum auth_edit auth_user_add(struct auth *a, const char *user, const char *password)
{
    return edit_password(a, user, password, false);
}

enum auth_edit auth_user_passwd(struct auth *a, const char *user, const char *password)
{
    return edit_password(a, user, password, true);
}

enum auth_edit auth_user_remove(struct auth *a, const char *user)
{
    return users_edit(a->users, user, NULL, true);
}

void auth_user_each(struct auth *a, void (*each)(void *ctx, const char *user), void *ctx)
{
    users_each(a->users, each, ctx);
}

bool auth_user_exists(struct auth *a, const char *user)
{
    return users_find(a->users, user, NULL);
}

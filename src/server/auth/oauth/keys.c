#include "src/server/auth/oauth/keys.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "src/server/auth/method.h"
#include "src/server/auth/oauth/fetch.h"
#include "src/server/observe/log.h"

#define REFRESH_MS (3600ull * 1000)       /* by age */
#define BELIEVED_MS (24ull * 3600 * 1000) /* while they cannot be read again */
#define AGAIN_MS 60000ull                 /* after a failure, when nobody asks */
#define LEAST_MS 5000ull                  /* between two times, whatever tokens name */

struct oauth_keys {
    const struct config *config;
    pthread_t thread;
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t wake;
    struct keyset *set; /* NULL: none */
    uint64_t read_ms;   /* when it was */
    uint64_t tried_ms;  /* when reading began the last time; 0: never */
    bool wanted;        /* somebody asks; not before LEAST_MS */
    bool under_way;
    bool failed, told; /* the last time; it was logged */
    char why[KEYSET_ERROR_MAX];
    struct job *waiting; /* through next */
    atomic_bool ends;
};

/* ---- the thread ---- */

static void come_back(struct task *t)
{
    struct job *j = CONTAINER_OF(t, struct job, task);
    j->done(j);
}

static void wake_all(struct job *waiting)
{
    for (struct job *next; waiting; waiting = next) {
        next = waiting->next;
        waiting->task.fn = come_back;
        worker_post(waiting->home, &waiting->task);
    }
}

/* Without the lock: it takes its time. */
static struct keyset *read_set(struct oauth_keys *k, char why[KEYSET_ERROR_MAX])
{
    struct oauth_text text;
    if (!oauth_fetch(k->config, &k->ends, &text, why)) return NULL;
    struct keyset *s = keyset_read(text.bytes ? text.bytes : "", text.len, why);
    free(text.bytes);
    return s;
}

static void tell(struct oauth_keys *k)
{
    if (k->failed && !k->told)
        LOG(LOG_ERROR, 0, "oauth-keys-not-read", KV_TEXT("why", k->why),
            KV_TEXT("then", k->set ? "those read before stay for a day" : "no token is taken"));
    else if (!k->failed)
        LOG(LOG_INFO, 0, "oauth-keys", KV_UINT("count", keyset_count(k->set)));
    k->told = k->failed;
}

/* Locked, and locked again when it returns. */
static void read_now(struct oauth_keys *k)
{
    char why[KEYSET_ERROR_MAX] = "";
    k->wanted = false;
    k->under_way = true;
    k->tried_ms = auth_now_ms();
    pthread_mutex_unlock(&k->lock);
    struct keyset *s = read_set(k, why);
    pthread_mutex_lock(&k->lock);
    struct keyset *old = s ? k->set : NULL;
    struct job *waiting = k->waiting;
    k->waiting = NULL;
    k->under_way = false;
    k->failed = !s;
    if (s) {
        k->set = s;
        k->read_ms = auth_now_ms();
    } else {
        memcpy(k->why, why, sizeof k->why);
    }
    if (!atomic_load(&k->ends)) tell(k);
    keyset_release(old);
    wake_all(waiting);
}

/* When the keys are to be read again. Locked. */
static uint64_t due_at(const struct oauth_keys *k)
{
    if (!k->tried_ms) return 0;
    if (k->wanted) return k->tried_ms + LEAST_MS;
    return k->failed ? k->tried_ms + AGAIN_MS : k->read_ms + REFRESH_MS;
}

static void wait_for(struct oauth_keys *k, uint64_t ms)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += (time_t)(ms / 1000);
    t.tv_nsec += (long)(ms % 1000) * 1000000;
    if (t.tv_nsec >= 1000000000) {
        t.tv_sec++;
        t.tv_nsec -= 1000000000;
    }
    pthread_cond_timedwait(&k->wake, &k->lock, &t);
}

static void *run(void *ctx)
{
    struct oauth_keys *k = ctx;
    pthread_mutex_lock(&k->lock);
    while (!atomic_load(&k->ends)) {
        uint64_t now = auth_now_ms(), due = due_at(k);
        if (now >= due)
            read_now(k);
        else
            wait_for(k, due - now);
    }
    pthread_mutex_unlock(&k->lock);
    return NULL;
}

/* ---- on workers ---- */

/* Locked. */
static bool may_wait(const struct oauth_keys *k)
{
    return k->under_way || !k->tried_ms || auth_now_ms() - k->tried_ms >= LEAST_MS;
}

enum oauth_found oauth_keys_find(struct oauth_keys *k, const struct jwt_head *h, struct job *wait,
                                 struct keyset **set_out, char why_out[KEYSET_ERROR_MAX])
{
    enum oauth_found found = OAUTH_NONE;
    pthread_mutex_lock(&k->lock);
    bool believed = k->set && auth_now_ms() - k->read_ms < BELIEVED_MS;
    if (believed && keyset_has(k->set, h)) {
        *set_out = keyset_hold(k->set);
        found = OAUTH_HERE;
    } else if (wait && may_wait(k)) {
        wait->home = worker_self();
        wait->next = k->waiting;
        k->waiting = wait;
        k->wanted = !k->under_way;
        pthread_cond_signal(&k->wake);
        found = OAUTH_LATER;
    } else if (!believed || k->failed) {
        snprintf(why_out, KEYSET_ERROR_MAX, "%s", k->why);
        found = OAUTH_FAILED;
    }
    pthread_mutex_unlock(&k->lock);
    return found;
}

void oauth_keys_refresh(struct oauth_keys *k)
{
    pthread_mutex_lock(&k->lock);
    k->wanted = true;
    k->tried_ms = 0; /* an administrator may ask at any time */
    pthread_cond_signal(&k->wake);
    pthread_mutex_unlock(&k->lock);
}

/* ---- life ---- */

static void free_keys(struct oauth_keys *k)
{
    keyset_release(k->set);
    pthread_cond_destroy(&k->wake);
    pthread_mutex_destroy(&k->lock);
    free(k);
}

struct oauth_keys *oauth_keys_start(const struct config *c, char *error, size_t error_cap)
{
    char why[KEYSET_ERROR_MAX] = "no memory or thread for the keys of tokens";
    struct oauth_keys *k = calloc(1, sizeof *k);
    pthread_condattr_t attr;
    if (!k) {
        snprintf(error, error_cap, "%s", why);
        return NULL;
    }
    k->config = c;
    pthread_mutex_init(&k->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&k->wake, &attr);
    pthread_condattr_destroy(&attr);
    bool file = oauth_from_file(c);
    if (file && (k->set = read_set(k, why))) k->read_ms = k->tried_ms = auth_now_ms();
    if ((k->set || !file) && pthread_create(&k->thread, NULL, run, k) == 0) return k;
    if (file && !k->set)
        snprintf(error, error_cap, "auth.oauth.keys: %s: %s", c->auth.oauth.keys, why);
    else
        snprintf(error, error_cap, "%s", why);
    free_keys(k);
    return NULL;
}

void oauth_keys_stop(struct oauth_keys *k)
{
    if (!k) return;
    pthread_mutex_lock(&k->lock);
    atomic_store(&k->ends, true);
    pthread_cond_signal(&k->wake);
    pthread_mutex_unlock(&k->lock);
    pthread_join(k->thread, NULL);
    free_keys(k);
}

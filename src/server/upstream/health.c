/* Does an upstream answer? What requests find out counts; one that does not answer is looked at now and
 * then, and nobody waits for it meanwhile. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "src/server/observe/log.h"
#include "src/server/upstream/upstream_inner.h"

#define MISSES_DOWN 2 /* in a row */
#define PROBE_FIRST_S 1

/* Not of the clock on the wall: nobody waits longer because that is set back. */
static int64_t counted(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    return t.tv_sec;
}

/* ---- what is known ---- */

static void change(struct upstream *u, enum upstream_state to, const char *why)
{
    pthread_mutex_lock(&u->lock);
    int from = atomic_exchange(&u->state, (int)to);
    bool news = from != (int)to;
    if (news) u->since = (int64_t)time(NULL);
    if (news) atomic_store(&u->proof, UPSTREAM_PROOF_NONE); /* it may be another one now */
    pthread_mutex_unlock(&u->lock);
    if (!news) return;
    if (to == UPSTREAM_DOWN)
        LOG(LOG_ERROR, 0, "upstream-down", KV_TEXT("url", u->url), KV_TEXT("why", why));
    else if (from == UPSTREAM_DOWN)
        LOG(LOG_WARN, 0, "upstream-up", KV_TEXT("url", u->url));
}

static void keep_error(struct upstream *u, const char *why)
{
    pthread_mutex_lock(&u->lock);
    u->error_at = (int64_t)time(NULL);
    snprintf(u->error, sizeof u->error, "%s", why);
    pthread_mutex_unlock(&u->lock);
}

/* Look at it without waiting for the time to come. Any thread. */
static void call_probe(struct upstream *u)
{
    struct worker *w = atomic_load(&u->set->worker);
    if (w && !atomic_exchange(&u->called, true)) worker_post(w, &u->probe_now);
}

/* An answer of any kind, even a broken one, says that it is there; one that is late says nothing, since
 * many work slowly. */
static void note(struct upstream *u, enum fetch_result result, const char *why)
{
    if (result != FETCH_OK) keep_error(u, why);
    if (result == FETCH_OK || result == FETCH_CUT) {
        atomic_store_explicit(&u->answered_at, (int64_t)time(NULL), memory_order_relaxed);
        if (atomic_load_explicit(&u->misses, memory_order_relaxed)) atomic_store(&u->misses, 0);
        if (atomic_load_explicit(&u->state, memory_order_relaxed) != UPSTREAM_UP)
            change(u, UPSTREAM_UP, NULL);
    } else if (result == FETCH_UNREACHABLE) {
        if (atomic_fetch_add(&u->misses, 1) + 1 >= MISSES_DOWN) change(u, UPSTREAM_DOWN, why);
    }
}

void health_note(struct upstream *u, enum fetch_result result, const char *why)
{
    note(u, result, why);
    if (result == FETCH_UNREACHABLE) call_probe(u);
}

unsigned upstream_down(const struct upstream *u)
{
    if (atomic_load_explicit(&u->state, memory_order_relaxed) != UPSTREAM_DOWN) return 0;
    int64_t left = atomic_load(&u->next_probe) - counted();
    return left > 1 ? (unsigned)left : 1;
}

/* ---- looking at it ---- */

static void probe_due(struct timer *t);

static void probe_in(struct upstream *u, unsigned seconds)
{
    atomic_store(&u->next_probe, counted() + seconds);
    timer_set(worker_self(), &u->probe_timer, seconds * UINT64_C(1000), probe_due);
}

/* Soon at first: most upstreams are down for a restart. */
static unsigned next_in(const struct upstream *u)
{
    unsigned most = config_now(u->set->config)->upstream.health_interval;
    unsigned misses = atomic_load(&u->misses), in = PROBE_FIRST_S;
    if (misses == 0) return most;
    while (misses-- > MISSES_DOWN && in < most) in *= 2;
    return in < most ? in : most;
}

static void probed(struct fetch *f, enum fetch_result result)
{
    struct upstream *u = CONTAINER_OF(f, struct upstream, probe);
    u->probing = false;
    if (result == FETCH_TIMEOUT) result = FETCH_UNREACHABLE; /* it takes connections, and no more */
    if (result != FETCH_NO_MEMORY && result != FETCH_BUSY) note(u, result, f->error);
    if (result == FETCH_OK && (f->status == 401 || f->status == 403))
        atomic_store(&u->refuses_with, (int)f->status);
    probe_in(u, next_in(u));
}

/* Without credentials: whatever it answers, it answers. */
static void probe(struct upstream *u)
{
    const struct config *c = config_now(u->set->config);
    if (u->probing) return;
    timer_stop(worker_self(), &u->probe_timer);
    u->probe = (struct fetch){.done = probed};
    u->probing = fetch_start(u->set->fetcher, &u->probe,
                             &(struct fetch_ask){.peer = u->peer,
                                                 .method = "OPTIONS",
                                                 .url = u->url,
                                                 .head_ms = c->upstream.timeout * 1000,
                                                 .stall_ms = c->upstream.stall_timeout * 1000,
                                                 .answer_max = UPSTREAM_ANSWER_MAX});
    if (!u->probing) probe_in(u, next_in(u));
}

/* Requests that are answered say as much. */
static void probe_due(struct timer *t)
{
    struct upstream *u = CONTAINER_OF(t, struct upstream, probe_timer);
    unsigned interval = config_now(u->set->config)->upstream.health_interval;
    int64_t ago = (int64_t)time(NULL) - atomic_load(&u->answered_at);
    if (atomic_load(&u->state) == UPSTREAM_UP && ago >= 0 && ago < interval)
        probe_in(u, interval);
    else
        probe(u);
}

/* Of one that is down the timer looks after. */
static void probe_called(struct task *t)
{
    struct upstream *u = CONTAINER_OF(t, struct upstream, probe_now);
    atomic_store(&u->called, false);
    if (atomic_load(&u->state) != UPSTREAM_DOWN) probe(u);
}

void health_begin(struct upstream *u, struct worker *w)
{
    u->probe_now.fn = probe_called;
    atomic_store(&u->called, true);
    worker_post(w, &u->probe_now);
}

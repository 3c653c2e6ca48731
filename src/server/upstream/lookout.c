/* Who of an upstream's waiting Pings is looked at, and when. The rota decides; a look runs on the
 * worker of the Ping that it is for, so that nothing but a place in a list crosses between them. */
#include <stdlib.h>
#include <string.h>

#include "src/server/observe/log.h"
#include "src/server/upstream/ping_inner.h"

/* Learnt from an upstream; one that is never content is given up. */
#define HEARTBEAT_MOST 3540u
#define LESSONS_MOST 16u

/* ---- time ---- */

/* Lookout locked. Never goes back. */
static uint64_t now_here(struct lookout *o)
{
    uint64_t now = worker_now_ms(worker_self());
    if (o->now_ms < now) o->now_ms = now;
    return o->now_ms;
}

/* ---- bells; lookout locked ---- */

static void bell_put(struct ping_bell *b, struct ping *p)
{
    p->bell_next = NULL;
    p->bell_at = b->tail;
    *b->tail = p;
    b->tail = &p->bell_next;
    if (b->rung) return;
    b->rung = true;
    worker_post(p->home, &b->task);
}

static void bell_take(struct ping_bell *b, struct ping *p)
{
    *p->bell_at = p->bell_next;
    if (p->bell_next)
        p->bell_next->bell_at = p->bell_at;
    else
        b->tail = p->bell_at;
    p->bell_at = NULL;
}

static struct ping_bell *bell_of(struct lookout *o, const struct worker *w)
{
    return &o->bells[worker_index(w) % PING_WORKERS_MAX];
}

/* ---- looks ---- */

/* Lookout locked. */
static void look_link(struct lookout *o, struct look *l)
{
    l->next = o->looks;
    l->prev = NULL;
    if (o->looks) o->looks->prev = l;
    o->looks = l;
}

static void look_unlink(struct lookout *o, struct look *l)
{
    *(l->prev ? &l->prev->next : &o->looks) = l->next;
    if (l->next) l->next->prev = l->prev;
}

/* The shortest that the upstream takes; without a word from it, twice as long. Lookout locked. */
static void learn(struct lookout *o, struct look_report *r)
{
    unsigned before = o->heartbeat, wanted = r->heartbeat;
    unsigned next = wanted && wanted != before ? wanted : 2 * before;
    if (next > HEARTBEAT_MOST) next = HEARTBEAT_MOST;
    if (next == before || o->lessons >= LESSONS_MOST) {
        r->result = LOOK_FAILED;
        r->why = "it takes no heartbeat";
        return;
    }
    o->lessons++;
    o->heartbeat = next;
    LOG(LOG_WARN, 0, "ping-heartbeat", KV_UINT("seconds", next),
        KV_TEXT("why", "the upstream does not take a shorter one"));
}

/* Lookout locked. Told when it begins and when it ends. */
static void log_failure(const struct lookout *o, const struct look_report *r)
{
    unsigned failures = o->rota.failures;
    if (r->result == LOOK_FAILED && failures == 0)
        LOG(LOG_WARN, 0, "pings-unanswered", KV_TEXT("why", r->why), KV_UINT("waiting", o->held));
    else if (r->result != LOOK_FAILED && failures > 0)
        LOG(LOG_INFO, 0, "pings-answered-again", KV_UINT("failures", failures),
            KV_UINT("waiting", o->held));
}

static void slot_free(struct lookout *o, const struct look *l, const struct look_report *r)
{
    uint64_t now = now_here(o);
    struct ping *p = l->ping;
    enum rota_end end = r->result == LOOK_FAILED  ? ROTA_FAILED
                        : r->result == LOOK_AGAIN ? ROTA_UNUSED
                                                  : ROTA_LOOKED;
    rota_free(&o->rota, l->began_ms, now, end, r->retry_ms);
    if (p && r->result != LOOK_TELL) rota_back(&o->rota, &p->member, now, end);
    bool news = r->said == PING_CHANGES;
    if (p && news) o->news_ms = now - p->member.seen_ms;
    o->news_count += news;
    /* Its Ping has ended while it ran; the device's next one is to hear of it. */
    if (!p && news) rota_hint(&o->rota, l->user, now);
}

static void looked(struct look *l, struct look_report *r)
{
    struct lookout *o = l->lookout;
    struct ping *p = l->ping;
    pthread_mutex_lock(&o->lock);
    look_unlink(o, l);
    if (r->result == LOOK_AGAIN) learn(o, r);
    log_failure(o, r);
    slot_free(o, l, r);
    pthread_mutex_unlock(&o->lock);
    free(l);
    if (p) p->look = NULL;
    if (p && r->result == LOOK_TELL)
        ping_tell(p, r);
    else
        free(r->reply);
    lookout_run(o);
}

/* It has a slot. */
static void look_at(struct ping *p)
{
    struct lookout *o = p->lookout;
    pthread_mutex_lock(&o->lock);
    unsigned heartbeat = o->heartbeat;
    pthread_mutex_unlock(&o->lock);
    ping_looked_at(p);
    struct look *l = p->look = look_begin(p, heartbeat, looked);
    pthread_mutex_lock(&o->lock);
    if (l) {
        look_link(o, l);
    } else {
        uint64_t now = now_here(o);
        rota_free(&o->rota, now, now, ROTA_FAILED, 0);
        rota_back(&o->rota, &p->member, now, ROTA_FAILED);
    }
    pthread_mutex_unlock(&o->lock);
    if (!l) lookout_run(o);
}

static void bell_rings(struct task *t)
{
    struct ping_bell *b = CONTAINER_OF(t, struct ping_bell, task);
    struct lookout *o = b->lookout;
    for (;;) {
        pthread_mutex_lock(&o->lock);
        struct ping *p = b->head;
        if (p)
            bell_take(b, p);
        else
            b->rung = false;
        pthread_mutex_unlock(&o->lock);
        if (!p) return;
        look_at(p);
    }
}

/* ---- whose turn ---- */

static void time_has_come(struct timer *t)
{
    lookout_run(CONTAINER_OF(t, struct ping_bell, timer)->lookout);
}

void lookout_run(struct lookout *o)
{
    struct rota_member *m;
    pthread_mutex_lock(&o->lock);
    uint64_t now = now_here(o);
    while ((m = rota_pick(&o->rota, now))) {
        struct ping *p = CONTAINER_OF(m, struct ping, member);
        bell_put(bell_of(o, p->home), p);
    }
    uint64_t sleep = rota_sleep_ms(&o->rota, now);
    pthread_mutex_unlock(&o->lock);
    struct worker *w = worker_self();
    if (sleep != UINT64_MAX) timer_set(w, &bell_of(o, w)->timer, sleep, time_has_come);
}

bool lookout_join(struct ping *p)
{
    struct lookout *o = p->lookout;
    if (worker_index(worker_self()) >= PING_WORKERS_MAX) return false;
    p->home = worker_self();
    pthread_mutex_lock(&o->lock);
    o->held++;
    p->joined = rota_join(&o->rota, &p->member, p->held.call->user, now_here(o));
    if (!p->joined) o->held--;
    pthread_mutex_unlock(&o->lock);
    if (p->joined) lookout_run(o);
    return p->joined;
}

void lookout_leave(struct ping *p)
{
    struct lookout *o = p->lookout;
    if (!p->joined) return;
    p->joined = false;
    pthread_mutex_lock(&o->lock);
    uint64_t now = now_here(o);
    o->held--;
    rota_leave(&o->rota, &p->member, now);
    if (p->bell_at) {
        bell_take(bell_of(o, p->home), p);
        rota_free(&o->rota, now, now, ROTA_UNUSED, 0);
    }
    pthread_mutex_unlock(&o->lock);
    if (p->look) p->look->ping = NULL;
    p->look = NULL;
    lookout_run(o);
}

void lookout_hint(struct lookout *o, const char *user)
{
    pthread_mutex_lock(&o->lock);
    rota_hint(&o->rota, user, now_here(o));
    pthread_mutex_unlock(&o->lock);
    lookout_run(o);
}

/* ---- for `provost status` ---- */

static double seconds(uint64_t ms)
{
    return (double)ms / 1000;
}

json_t *lookout_status(struct lookout *o)
{
    pthread_mutex_lock(&o->lock);
    const struct rota r = o->rota;
    int held = (int)o->held, heartbeat = (int)o->heartbeat;
    json_int_t news = (json_int_t)o->news_count;
    uint64_t news_ms = o->news_ms;
    uint64_t wait_ms = rota_wait_ms(&o->rota, now_here(o));
    pthread_mutex_unlock(&o->lock);
    return json_pack("{s:s, s:i, s:I, s:i, s:i, s:i, s:I, s:f, s:f, s:f, s:i}", "mode", "hold",
                     "waiting", held, "news", news, "slots", (int)r.slots, "looking", (int)r.busy,
                     "heartbeat", heartbeat, "looks", (json_int_t)r.looks, "round_seconds",
                     seconds(wait_ms), "expected_seconds", seconds(rota_estimate_ms(&r)),
                     "news_delay_seconds", seconds(news_ms), "failures", (int)r.failures);
}

/* ---- create, destroy ---- */

void lookout_init(struct lookout *o, const struct config *c)
{
    pthread_mutex_init(&o->lock, NULL);
    o->heartbeat = c->upstream.ping.heartbeat;
    rota_init(&o->rota, c->upstream.ping.slots, c->upstream.ping.interval * UINT64_C(1000));
    for (size_t i = 0; i < PING_WORKERS_MAX; i++) {
        struct ping_bell *b = &o->bells[i];
        b->task.fn = bell_rings;
        b->lookout = o;
        b->tail = &b->head;
    }
}

void lookout_reconfigure(struct lookout *o, const struct config *before, const struct config *c)
{
    pthread_mutex_lock(&o->lock);
    o->rota.slots = c->upstream.ping.slots;
    o->rota.interval_ms = c->upstream.ping.interval * UINT64_C(1000);
    if (before->upstream.ping.heartbeat != c->upstream.ping.heartbeat)
        o->heartbeat = c->upstream.ping.heartbeat;
    pthread_mutex_unlock(&o->lock);
}

void lookout_finish(struct lookout *o)
{
    while (o->looks) { /* the loops that they were in have ended */
        struct look *l = o->looks;
        o->looks = l->next;
        free(l);
    }
    rota_finish(&o->rota);
    pthread_mutex_destroy(&o->lock);
}

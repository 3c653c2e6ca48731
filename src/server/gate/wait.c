/* Waiting Pings: a list at each device, a bell at each worker. */
#include <string.h>
#include <time.h>

#include "src/server/gate/inner.h"

#define RING_AT_ONCE 64 /* then others have their turn on the worker */

/* ---- bells ---- */
static void bell_rings(struct task *task)
{
    struct bell *b = (struct bell *)task;
    for (unsigned n = 0; n < RING_AT_ONCE; n++) {
        pthread_mutex_lock(&b->mutex);
        struct gate_waiter *w = b->head;
        if (w) {
            b->head = w->bell_next;
            if (b->head)
                b->head->bell_at = &b->head;
            else
                b->tail = &b->head;
            w->bell_at = NULL;
        } else {
            b->rung = false;
        }
        pthread_mutex_unlock(&b->mutex);
        if (!w) return;
        w->wake(w);
    }
    worker_post(worker_self(), &b->task);
}

static struct bell *bell_of(struct gate *g, const struct gate_waiter *w)
{
    return &g->bells[worker_index(w->home) % WORKERS_MAX];
}

static void ring(struct gate *g, struct gate_waiter *w)
{
    struct bell *b = bell_of(g, w);
    pthread_mutex_lock(&b->mutex);
    if (!w->bell_at) {
        w->bell_next = NULL;
        w->bell_at = b->tail;
        *b->tail = w;
        b->tail = &w->bell_next;
        if (!b->rung) {
            b->rung = true;
            worker_post(w->home, &b->task);
        }
    }
    pthread_mutex_unlock(&b->mutex);
}

static void unring(struct gate *g, struct gate_waiter *w)
{
    struct bell *b = bell_of(g, w);
    pthread_mutex_lock(&b->mutex);
    if (w->bell_at) {
        *w->bell_at = w->bell_next;
        if (w->bell_next)
            w->bell_next->bell_at = w->bell_at;
        else
            b->tail = w->bell_at;
        w->bell_at = NULL;
    }
    pthread_mutex_unlock(&b->mutex);
}

void bells_init(struct gate *g)
{
    for (size_t i = 0; i < WORKERS_MAX; i++) {
        struct bell *b = &g->bells[i];
        pthread_mutex_init(&b->mutex, NULL);
        b->task.fn = bell_rings;
        b->tail = &b->head;
    }
}

void bells_destroy(struct gate *g)
{
    for (size_t i = 0; i < WORKERS_MAX; i++) pthread_mutex_destroy(&g->bells[i].mutex);
}

void device_wake(struct gate *g, struct device *d)
{
    for (struct gate_waiter *w = d->waiters; w; w = w->next) ring(g, w);
}

/* ---- waiters ---- */
/* Shard locked. */
static bool is_due(const struct call *c, const struct shard *s)
{
    const struct owner *o = c->device->owner;
    if (o->disabled || c->device->gone) return true;
    const struct revision *policy = policy_of(s, c->device);
    if (!policy) return true;
    const struct pv_server_in in =
        judge_facts(gate_call_of((struct call *)c), policy, PV_EV_PING, time(NULL));
    struct pv_partnership p;
    struct pv_server_out out;
    device_judge_access(c->gate, s, c->device);
    device_partnership(c->device, &p);
    if (pv_server_step(&p, &in, &out) != PV_OK) return true;
    /* Into quarantine or out of it: the device must learn the folders that it may see. */
    return out.action != (c->inbox_only ? PV_ACT_INBOX_ONLY : PV_ACT_ALLOW);
}

bool gate_ping_due(struct call *c)
{
    struct shard *s = table_lock(c->gate->table, c->user);
    bool due = is_due(c, s);
    table_unlock(s);
    return due;
}

uint32_t gate_ping_due_in(struct call *c)
{
    struct shard *s = table_lock(c->gate->table, c->user);
    const struct revision *policy = policy_of(s, c->device);
    const struct pv_policy_facts *facts = policy ? &policy->facts[c->req.version] : NULL;
    struct pv_partnership p;
    device_partnership(c->device, &p);
    /* Without a key it was let in because the policy does so, up to a date perhaps. Without memory it
     * is looked at again soon. */
    int64_t at = !facts  ? time(NULL) + RETRY_AFTER_S
                 : p.key ? pv_refresh_at(&p, facts)
                         : facts->non_provisionable_until;
    int64_t left = at ? at - time(NULL) : UINT32_MAX;
    table_unlock(s);
    return left < 0 ? 0 : left > UINT32_MAX ? UINT32_MAX : (uint32_t)left;
}

void gate_wait_add(struct call *c, struct gate_waiter *w)
{
    struct shard *s = table_lock(c->gate->table, c->user);
    w->home = worker_self();
    w->device = device_hold(c->device);
    w->bell_at = NULL;
    w->next = w->device->waiters;
    w->at = &w->device->waiters;
    if (w->next) w->next->at = &w->next;
    w->device->waiters = w;
    s->waiters++;
    bool stale = c->device->owner->stale;
    table_unlock(s);
    if (stale) resident_look_again(c->gate, c->user); /* heard of when nobody waited yet */
    gate_call_of(c)->waited = true;
    call_drop_body(c);
}

void gate_wait_remove(struct gate *g, struct gate_waiter *w)
{
    struct shard *s = table_lock(g->table, w->device->owner->name);
    *w->at = w->next;
    if (w->next) w->next->at = w->at;
    s->waiters--;
    table_unlock(s);
    unring(g, w);
    device_release(w->device);
}

/* What is due by time alone, looked for once a minute on the server that leads: wipes whose end has come
 * although the device has never come back, and partnerships of devices that were not seen for long. Each
 * is ended by an order of the server, as by one of an administrator. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "src/server/gate/inner.h"
#include "src/server/gate/order.h"
#include "src/server/observe/log.h"

#define SWEEP_MS 60000
#define FOLLOW_MS 5000 /* whether it leads now is looked up, if it did not */
#define SWEEP_MOST 200 /* of each kind at a time */
#define DAY_S 86400

/* An order that is due. */
struct due {
    struct due *next;
    struct expiry *expiry;
    struct device_order order;
    char device_id[PV_DEVICE_ID_MAX + 1];
    char user[];
};

/* How far one kind was looked for; user "": from the start. */
struct place {
    char user[AUTH_USER_MAX], device_id[PV_DEVICE_ID_MAX + 1];
    unsigned found;
};

struct expiry {
    struct gate *gate;
    struct job job;
    struct timer timer;
    struct task task;
    bool every_minute, leads;
    struct place wipes, unseen;
    struct due *found;
    unsigned under_way, expired, pruned;
    char reason[64]; /* of pruning */

    pthread_mutex_t mutex;
    pthread_cond_t idle;
    bool busy, resting; /* under mutex */
};

struct expiry *expiry_create(struct gate *g)
{
    struct expiry *x = calloc(1, sizeof *x);
    if (!x) return NULL;
    x->gate = g;
    pthread_mutex_init(&x->mutex, NULL);
    pthread_cond_init(&x->idle, NULL);
    return x;
}

void expiry_destroy(struct expiry *x)
{
    if (!x) return;
    pthread_cond_destroy(&x->idle);
    pthread_mutex_destroy(&x->mutex);
    free(x);
}

void expiry_wait(struct expiry *x)
{
    pthread_mutex_lock(&x->mutex);
    x->resting = true;
    while (x->busy) pthread_cond_wait(&x->idle, &x->mutex);
    pthread_mutex_unlock(&x->mutex);
}

/* false: one is under way, or nothing is to begin any more. */
static bool take(struct expiry *x)
{
    pthread_mutex_lock(&x->mutex);
    bool taken = !x->busy && !x->resting;
    x->busy |= taken;
    pthread_mutex_unlock(&x->mutex);
    return taken;
}

static void give_back(struct expiry *x)
{
    pthread_mutex_lock(&x->mutex);
    x->busy = false;
    pthread_cond_broadcast(&x->idle);
    pthread_mutex_unlock(&x->mutex);
}

/* ---- the orders; on the worker ---- */
static void begin(struct expiry *x);

static void minute_is_over(struct timer *t)
{
    struct gate *g = CONTAINER_OF(t, struct expiry, timer)->gate;
    lists_look_after(g);
    gate_sweep(g);
}

static void end(struct expiry *x)
{
    bool more = x->wipes.found == SWEEP_MOST;
    if (x->pruned) LOG(LOG_INFO, 0, "pruned", KV_UINT("devices", x->pruned));
    if (x->expired) LOG(LOG_INFO, 0, "wipes-expired", KV_UINT("devices", x->expired));
    x->pruned = x->expired = 0;
    give_back(x);
    if (more && take(x))
        begin(x);
    else if (x->every_minute)
        timer_set(worker_self(), &x->timer, x->leads ? SWEEP_MS : FOLLOW_MS, minute_is_over);
}

static void ordered(struct device_order *o)
{
    struct due *d = CONTAINER_OF(o, struct due, order);
    struct expiry *x = d->expiry;
    x->pruned += o->result == ORDER_DONE && o->remove;
    x->expired += o->result == ORDER_DONE && o->expire;
    free(d);
    if (--x->under_way == 0) end(x);
}

static void give_orders(struct job *j)
{
    struct expiry *x = CONTAINER_OF(j, struct expiry, job);
    struct due *all = x->found;
    x->found = NULL;
    x->under_way = 1;
    for (struct due *next; all; all = next) {
        next = all->next;
        x->under_way++;
        gate_order(x->gate, &all->order);
    }
    if (--x->under_way == 0) end(x);
}

/* ---- what is due; on a thread that may block ---- */
struct search {
    struct expiry *expiry;
    struct place *place;
    struct device_order order; /* what is to be done with what is found */
};

/* Whoever finds no memory is found again. */
static void find(void *ctx, const struct device_record *r)
{
    struct search *search = ctx;
    struct expiry *x = search->expiry;
    size_t size = strlen(r->user) + 1;
    struct due *d = malloc(sizeof *d + size);
    search->place->found++;
    snprintf(search->place->user, sizeof search->place->user, "%s", r->user);
    snprintf(search->place->device_id, sizeof search->place->device_id, "%s", r->device_id);
    if (!d) return;
    *d = (struct due){.next = x->found, .expiry = x, .order = search->order};
    memcpy(d->user, r->user, size);
    snprintf(d->device_id, sizeof d->device_id, "%s", r->device_id);
    d->order.user = d->user;
    d->order.device_id = d->device_id;
    d->order.actor = "server";
    d->order.done = ordered;
    x->found = d;
}

/* The next of a kind. Those that stay as they are must not hide the others: it goes on behind them. */
static void look(struct search *search, enum store_filter filter, int64_t before)
{
    struct place *p = search->place;
    const struct store_query q = {.filter = filter,
                                  .before = before,
                                  .after_user = *p->user ? p->user : NULL,
                                  .after_device_id = p->device_id,
                                  .most = SWEEP_MOST};
    p->found = 0;
    bool ok = store_read_devices(search->expiry->gate->store, &q, find, search);
    if (!ok || p->found < SWEEP_MOST) *p = (struct place){0};
}

static void look_for_all(struct job *j)
{
    struct expiry *x = CONTAINER_OF(j, struct expiry, job);
    int64_t now = time(NULL), days = config_now(x->gate->config)->prune_after;
    x->leads = store_is_leader(x->gate->store);
    if (gate_is_ending(x->gate) || !x->leads) return;
    struct search wipes = {.expiry = x,
                           .place = &x->wipes,
                           .order = {.kind = PV_ORDER_CANCEL_WIPE,
                                     .expire = true,
                                     .reason = pv_reason_name(PV_WHY_WIPE_EXPIRED)}};
    look(&wipes, STORE_WIPES_EXPIRED, now + 1);
    snprintf(x->reason, sizeof x->reason, "not seen for %u days", (unsigned)days);
    struct search unseen = {.expiry = x,
                            .place = &x->unseen,
                            .order = {.kind = PV_ORDER_COUNT,
                                      .remove = true,
                                      .unseen_since = now - days * DAY_S,
                                      .reason = x->reason}};
    if (days) look(&unseen, STORE_SEEN_BEFORE, unseen.order.unseen_since);
}

/* ---- once a minute ---- */
static void begin(struct expiry *x)
{
    x->job.run = look_for_all;
    x->job.done = give_orders;
    if (gate_on_walks(x->gate, &x->job)) return;
    x->wipes.found = 0;
    end(x);
}

void gate_sweep(struct gate *g)
{
    if (take(g->expiry)) begin(g->expiry);
}

static void begin_first(struct task *task)
{
    struct expiry *x = CONTAINER_OF(task, struct expiry, task);
    x->every_minute = true;
    gate_sweep(x->gate);
}

void gate_begin(struct gate *g, struct worker *w)
{
    g->expiry->task.fn = begin_first;
    worker_post(w, &g->expiry->task);
}

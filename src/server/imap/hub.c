/* Whose turn it is: accounts in queues, a bounded number of connections, a server that is down. */
#include "src/server/imap/hub.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/server/imap/inner.h"
#include "src/server/observe/log.h"

#define CONNECTING_MAX 16   /* connections that come about at the same time */
#define ASKED_MOST_MS 20000 /* a question waits no longer for a connection */
#define RETRY_LEAST_MS 1000 /* after a failure, doubled each time */
#define RETRY_MOST_MS 30000
#define BROKEN_MOST_MS 300000 /* a user whose connections break */
#define GOOD_MS 60000         /* a connection that has lived so long was none that breaks */
#define COMPLAIN_MS 60000     /* one line for all that goes wrong meanwhile */

uint64_t hub_now(const struct imap_hub *h)
{
    return worker_now_ms(h->worker);
}

static unsigned held_most(const struct imap_hub *h)
{
    unsigned all = h->settings.connections, reserve = all / 4 ? all / 4 : 1;
    return all - reserve;
}

/* A part of what is not held is for questions only, unless there is just one. */
static unsigned polling_most(const struct imap_hub *h)
{
    unsigned rest = h->settings.connections - held_most(h);
    return rest > 1 ? rest / 2 : 1;
}

void imap_hub_figures(struct imap_hub *h, struct imap_figures *out)
{
    pthread_mutex_lock(&h->lock);
    *out = h->figures;
    pthread_mutex_unlock(&h->lock);
}

static void publish(struct imap_hub *h)
{
    pthread_mutex_lock(&h->lock);
    h->figures = (struct imap_figures){h->open, h->held, h->waiting + h->polling,
                                       h->waiting ? h->turn_ms : 0, h->down.is};
    pthread_mutex_unlock(&h->lock);
}

void hub_complain(struct imap_hub *h, const char *user, const char *why)
{
    uint64_t now = hub_now(h);
    h->complaints++;
    if (h->complained_ms && now - h->complained_ms < COMPLAIN_MS) return;
    LOG(LOG_WARN, 0, "imap-trouble", KV_TEXT("user", user), KV_TEXT("why", why),
        KV_UINT("times", h->complaints));
    h->complained_ms = now;
    h->complaints = 0;
}

/* ---- queues ---- */

void hub_unqueue(struct account *a)
{
    struct imap_hub *h = a->hub;
    if (a->queue == QUEUE_NONE) return;
    struct queue_ends *q = &h->queues[a->queue];
    h->waiting -= a->queue == QUEUE_WAITING;
    if (a->prev)
        a->prev->after = a->after;
    else
        q->first = a->after;
    if (a->after)
        a->after->prev = a->prev;
    else
        q->last = a->prev;
    a->prev = a->after = NULL;
    a->queue = QUEUE_NONE;
}

/* Behind at; NULL: first of all. */
static void enqueue(struct account *a, enum queue queue, struct account *at)
{
    struct queue_ends *q = &a->hub->queues[queue];
    a->queue = queue;
    a->prev = at;
    a->after = at ? at->after : q->first;
    if (a->after)
        a->after->prev = a;
    else
        q->last = a;
    if (at)
        at->after = a;
    else
        q->first = a;
}

/* By due_ms. Nearly always it is the last, or should have been served already. */
static void enqueue_waiting(struct account *a)
{
    struct imap_hub *h = a->hub;
    struct queue_ends *q = &h->queues[QUEUE_WAITING];
    struct account *at = q->last, *next = q->first;
    if (a->due_ms <= hub_now(h)) {
        at = NULL;
        for (; next && next->due_ms <= a->due_ms; next = next->after) at = next;
    } else {
        while (at && at->due_ms > a->due_ms) at = at->prev;
    }
    h->waiting++;
    enqueue(a, QUEUE_WAITING, at);
}

void hub_want(struct account *a)
{
    struct imap_hub *h = a->hub;
    uint64_t now = hub_now(h);
    if (a->talk || h->closing || a->refused_until_ms > now) return;
    hub_unqueue(a);
    if (a->errands.first) {
        a->asked_ms = now;
        enqueue(a, QUEUE_ASKED, h->queues[QUEUE_ASKED].last);
    } else if (a->watch_count) {
        enqueue_waiting(a);
    }
    hub_dispatch(h);
}

/* ---- connections that nobody needs ---- */

void hub_unrest(struct talk *t)
{
    struct imap_hub *h = t->account->hub;
    if (!t->rests) return;
    t->rests = false;
    if (t->prev_resting)
        t->prev_resting->next_resting = t->next_resting;
    else
        h->resting.first = t->next_resting;
    if (t->next_resting)
        t->next_resting->prev_resting = t->prev_resting;
    else
        h->resting.last = t->prev_resting;
    t->prev_resting = t->next_resting = NULL;
}

void hub_rest(struct talk *t)
{
    struct imap_hub *h = t->account->hub;
    t->rests = true;
    t->prev_resting = h->resting.last;
    if (h->resting.last)
        h->resting.last->next_resting = t;
    else
        h->resting.first = t;
    h->resting.last = t;
    hub_dispatch(h); /* others may wait for it */
}

bool hub_hold(struct talk *t)
{
    struct imap_hub *h = t->account->hub;
    if (t->held) return true;
    if (h->held >= held_most(h)) return false;
    t->held = true;
    h->held++;
    if (t->polls) h->polling--;
    t->polls = false;
    return true;
}

void hub_unhold(struct talk *t)
{
    if (!t->held) return;
    t->held = false;
    t->account->hub->held--;
    hub_dispatch(t->account->hub);
}

void hub_closed(struct talk *t)
{
    struct imap_hub *h = t->account->hub;
    hub_unrest(t);
    hub_unhold(t);
    if (t->polls) h->polling--;
    if (!t->ready) h->connecting--;
    if (h->down.probe == t) h->down.probe = NULL;
    h->open--;
    hub_dispatch(h);
}

/* ---- a server that is down ---- */

static unsigned seconds(uint64_t ms)
{
    return (unsigned)((ms + 999) / 1000);
}

static void is_up(struct imap_hub *h)
{
    if (!h->down.is) return;
    LOG(LOG_INFO, 0, "imap-reachable", KV_TEXT("url", h->settings.peer.url),
        KV_UINT("after_seconds", seconds(hub_now(h) - h->down.since_ms)));
    h->down.is = false;
    hub_dispatch(h);
}

static uint64_t backoff(unsigned tries, uint64_t most)
{
    uint64_t ms = RETRY_LEAST_MS;
    while (tries-- > 0 && ms < most) ms *= 2;
    return ms < most ? ms : most;
}

static void is_down(struct imap_hub *h, const struct talk *t, const char *why)
{
    uint64_t now = hub_now(h);
    if (h->down.is && h->down.probe != t) return; /* begun before that was known */
    if (!h->down.is) {
        LOG(LOG_ERROR, 0, "imap-unreachable", KV_TEXT("url", h->settings.peer.url),
            KV_TEXT("why", why));
        h->down.is = true;
        h->down.since_ms = now;
        h->down.tries = 0;
    }
    h->down.retry_ms = now + backoff(h->down.tries++, RETRY_MOST_MS);
}

static unsigned retry_after(const struct imap_hub *h)
{
    uint64_t now = hub_now(h);
    unsigned left = h->down.is && h->down.retry_ms > now ? seconds(h->down.retry_ms - now) : 0;
    return left > HUB_RETRY_AFTER ? left : HUB_RETRY_AFTER;
}

void hub_ready(struct talk *t)
{
    struct imap_hub *h = t->account->hub;
    h->connecting--;
    is_up(h);
    hub_dispatch(h);
}

void hub_lost(struct talk *t, enum imap_end how, const char *why)
{
    struct account *a = t->account;
    struct imap_hub *h = a->hub;
    uint64_t now = hub_now(h);
    enum imap_answer answer = IMAP_ANSWER_LATER;
    if (how == IMAP_END_UNREACHABLE)
        is_down(h, t, why);
    else if (how == IMAP_END_REFUSED || how == IMAP_END_LATER)
        is_up(h);
    if (how == IMAP_END_CLOSED) talk_ask_again(t);
    switch (how) {
    case IMAP_END_REFUSED:
        LOG(LOG_INFO, 0, "imap-refused", KV_TEXT("user", a->login.user), KV_TEXT("why", why));
        account_refuse(a);
        answer = IMAP_ANSWER_REFUSED;
        break;
    case IMAP_END_LATER:
    case IMAP_END_UNREACHABLE:
        if (how == IMAP_END_LATER) hub_complain(h, a->login.user, why);
        account_end_errands(a, IMAP_ANSWER_LATER, retry_after(h));
        a->due_ms = now + backoff(a->broken++, BROKEN_MOST_MS);
        break;
    case IMAP_END_CLOSED:
    case IMAP_END_BROKEN:
        if (now - t->begun_ms > GOOD_MS) a->broken = 0;
        /* Once in a while every server does that. */
        if (how == IMAP_END_BROKEN || a->broken > 1) hub_complain(h, a->login.user, why);
        if (!t->ready) account_end_errands(a, IMAP_ANSWER_LATER, retry_after(h));
        a->due_ms = now + backoff(a->broken++, BROKEN_MOST_MS);
        break;
    }
    talk_close(t, false, answer, retry_after(h));
}

/* ---- whose turn it is ---- */

/* Room for one more connection, if need be by closing one that rests. */
static bool make_room(struct imap_hub *h)
{
    if (h->connecting >= CONNECTING_MAX || (h->down.is && h->down.probe)) return false;
    if (h->open < h->settings.connections) return true;
    if (!h->resting.first) return false;
    talk_close(h->resting.first, true, IMAP_ANSWER_LATER, 0);
    return true;
}

/* For the first of a queue. */
static struct talk *begin(struct account *a)
{
    struct imap_hub *h = a->hub;
    hub_unqueue(a);
    struct talk *t = talk_open(a);
    if (!t) {
        account_end_errands(a, IMAP_ANSWER_LATER, HUB_RETRY_AFTER);
        a->due_ms = hub_now(h) + RETRY_MOST_MS;
        hub_want(a);
        account_settle(a);
        return NULL;
    }
    h->open++;
    h->connecting++;
    if (h->down.is) h->down.probe = t;
    return t;
}

static void wake_at(struct imap_hub *h, uint64_t at);

/* Questions, which phones wait for with an open connection. */
static void serve_asked(struct imap_hub *h)
{
    uint64_t now = hub_now(h);
    struct account *a;
    while ((a = h->queues[QUEUE_ASKED].first)) {
        bool wait_in_vain = h->down.is && h->down.retry_ms > now;
        if (wait_in_vain || now - a->asked_ms > ASKED_MOST_MS) {
            hub_unqueue(a);
            account_end_errands(a, IMAP_ANSWER_LATER, retry_after(h));
            hub_want(a);
            account_settle(a);
            continue;
        }
        if (!make_room(h)) {
            wake_at(h, a->asked_ms + ASKED_MOST_MS + 1);
            return;
        }
        begin(a);
    }
}

/* Who waits for news: over a connection of his own as long as there are any, else in turn. */
static void serve_waiting(struct imap_hub *h)
{
    uint64_t now = hub_now(h);
    struct account *a;
    while ((a = h->queues[QUEUE_WAITING].first)) {
        bool hold = h->held + h->connecting < held_most(h);
        uint64_t due = a->due_ms;
        if (h->down.is && h->down.retry_ms > due) due = h->down.retry_ms;
        if (due > now && !(hold && a->polled && !h->down.is)) {
            wake_at(h, due);
            return;
        }
        if (!hold && h->polling >= polling_most(h)) return;
        if (!make_room(h)) return;
        struct talk *t = begin(a);
        if (!t) continue;
        t->polls = true;
        h->polling++;
    }
}

static void woken(struct timer *t)
{
    hub_dispatch(CONTAINER_OF(t, struct imap_hub, wake));
}

static void wake_at(struct imap_hub *h, uint64_t at)
{
    uint64_t now = hub_now(h);
    if (h->wake.set && h->wake.at_ms <= at) return;
    timer_set(h->worker, &h->wake, at > now ? at - now : 0, woken);
}

static void dispatch_run(struct task *task)
{
    struct imap_hub *h = CONTAINER_OF(task, struct imap_hub, dispatch);
    h->posted = false;
    if (h->closing) return;
    timer_stop(h->worker, &h->wake);
    serve_asked(h);
    serve_waiting(h);
    publish(h);
}

/* Soon, and not in the middle of something else. */
void hub_dispatch(struct imap_hub *h)
{
    if (h->posted || h->closing) return;
    h->posted = true;
    worker_post(h->worker, &h->dispatch);
}

/* ---- open, close ---- */

static void begin_run(struct task *task)
{
    (void)task;
    pthread_setname_np(pthread_self(), "imap");
}

static void hub_free(struct imap_hub *h)
{
    imap_net_destroy(h->net);
    pthread_mutex_destroy(&h->lock);
    worker_destroy(h->worker);
    map_finish(&h->accounts);
    free(h);
}

struct imap_hub *imap_hub_open(const struct imap_settings *s, char *error, size_t error_cap)
{
    struct imap_hub *h = calloc(1, sizeof *h);
    if (h) {
        h->settings = *s;
        pthread_mutex_init(&h->lock, NULL);
        h->dispatch.fn = dispatch_run;
        h->begin.fn = begin_run;
        h->worker = worker_create(0);
        if (h->worker) h->net = imap_net_create(h->worker, &h->settings.peer);
    }
    if (h && h->net && worker_start(h->worker)) {
        worker_post(h->worker, &h->begin);
        return h;
    }
    snprintf(error, error_cap, "no memory or threads for IMAP");
    if (h) hub_free(h);
    return NULL;
}

struct change {
    struct task task;
    struct imap_hub *hub;
    struct imap_settings settings;
};

/* How many connections there may be decides whose turn it is. */
static void change_run(struct task *task)
{
    struct change *c = CONTAINER_OF(task, struct change, task);
    c->hub->settings = c->settings;
    hub_dispatch(c->hub);
    free(c);
}

bool imap_hub_change(struct imap_hub *h, const struct imap_settings *s)
{
    struct change *c = malloc(sizeof *c);
    if (!c) return false;
    *c = (struct change){.task.fn = change_run, .hub = h, .settings = *s};
    worker_post(h->worker, &c->task);
    return true;
}

static void stop_account(void *ctx, struct map_node *n)
{
    struct account *a = CONTAINER_OF(n, struct account, by_user);
    (void)ctx;
    account_end_errands(a, IMAP_ANSWER_LATER, HUB_RETRY_AFTER);
    if (a->talk) {
        if (talk_is_asked(a->talk)) talk_close(a->talk, false, IMAP_ANSWER_LATER, HUB_RETRY_AFTER);
        return;
    }
    hub_unqueue(a);
    hub_want(a);
    account_settle(a);
}

static void stop_run(struct task *task)
{
    struct imap_hub *h = CONTAINER_OF(task, struct imap_hub, stop);
    h->stopping = true;
    map_each(&h->accounts, stop_account, NULL);
}

void imap_hub_stop(struct imap_hub *h)
{
    h->stop.fn = stop_run;
    worker_post(h->worker, &h->stop);
}

static void close_account(void *ctx, struct map_node *n)
{
    struct account *a = CONTAINER_OF(n, struct account, by_user);
    (void)ctx;
    a->refused_until_ms = 0;
    if (a->talk)
        talk_close(a->talk, true, IMAP_ANSWER_LATER, 0); /* frees a as well */
    else
        account_free(a);
}

static void close_run(struct task *task)
{
    struct imap_hub *h = CONTAINER_OF(task, struct imap_hub, quit);
    h->closing = true;
    map_each(&h->accounts, close_account, NULL);
    timer_stop(h->worker, &h->wake);
    worker_quit(h->worker);
}

void imap_hub_close(struct imap_hub *h)
{
    if (!h) return;
    h->quit.fn = close_run;
    worker_post(h->worker, &h->quit);
    worker_join(h->worker);
    hub_free(h);
}

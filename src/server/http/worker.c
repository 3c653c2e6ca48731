#include "src/server/http/worker.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "src/server/observe/heart.h"

#define EVENTS_A_TURN 64

struct worker {
    unsigned index;
    int epoll_fd;
    uint64_t now_ms;
    struct heart heart;
    bool quit;
    pthread_t thread;

    struct timer *timers; /* the earliest on top */
    struct turn *turns;

    struct watch wake; /* an eventfd that says: tasks is not empty */
    pthread_mutex_t lock;
    struct task *tasks, **tasks_end; /* under lock */

    struct epoll_event events[EVENTS_A_TURN];
    int event_count; /* of this turn; 0 outside of the loop over them */
};

static _Thread_local struct worker *self;

struct worker *worker_self(void)
{
    return self;
}

unsigned worker_index(const struct worker *w)
{
    return w->index;
}

const struct heart *worker_heart(const struct worker *w)
{
    return &w->heart;
}

uint64_t worker_now_ms(const struct worker *w)
{
    return w->now_ms;
}

static uint64_t clock_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* ---- timers ---- */

static struct timer *heap_join(struct timer *a, struct timer *b)
{
    if (!a) return b;
    if (!b) return a;
    if (b->at_ms < a->at_ms) {
        struct timer *t = a;
        a = b;
        b = t;
    }
    b->prev = a;
    b->next = a->child;
    if (a->child) a->child->prev = b;
    a->child = b;
    a->next = a->prev = NULL;
    return a;
}

/* Siblings are joined in pairs, then the pairs from the last to the first: that makes a removal
 * O(log n), amortized. */
static struct timer *heap_join_list(struct timer *list)
{
    struct timer *pairs = NULL, *root = NULL;
    while (list) {
        struct timer *a = list, *b = a->next;
        list = b ? b->next : NULL;
        a->next = a->prev = NULL;
        if (b) b->next = b->prev = NULL;
        a = heap_join(a, b);
        a->next = pairs;
        pairs = a;
    }
    while (pairs) {
        struct timer *rest = pairs->next;
        pairs->next = NULL;
        root = heap_join(root, pairs);
        pairs = rest;
    }
    return root;
}

void timer_stop(struct worker *w, struct timer *t)
{
    if (!t->set) return;
    struct timer *below = heap_join_list(t->child);
    if (t == w->timers) {
        w->timers = below;
    } else {
        if (t->prev->child == t)
            t->prev->child = t->next;
        else
            t->prev->next = t->next;
        if (t->next) t->next->prev = t->prev;
        w->timers = heap_join(w->timers, below);
    }
    t->child = t->next = t->prev = NULL;
    t->set = false;
}

void timer_set(struct worker *w, struct timer *t, uint64_t in_ms, void (*fn)(struct timer *))
{
    timer_stop(w, t);
    t->at_ms = w->now_ms + (in_ms ? in_ms : 1); /* 0 would run again in the same turn, for ever */
    t->fn = fn;
    t->set = true;
    w->timers = heap_join(w->timers, t);
}

static void run_timers(struct worker *w)
{
    while (w->timers && w->timers->at_ms <= w->now_ms) {
        struct timer *t = w->timers;
        timer_stop(w, t);
        t->fn(t);
    }
}

/* ---- watches ---- */

bool watch_start(struct worker *w, struct watch *h, uint32_t epoll_events)
{
    struct epoll_event e = {.events = epoll_events, .data.ptr = h};
    return epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, h->fd, &e) == 0;
}

bool watch_change(struct worker *w, struct watch *h, uint32_t epoll_events)
{
    struct epoll_event e = {.events = epoll_events, .data.ptr = h};
    return epoll_ctl(w->epoll_fd, EPOLL_CTL_MOD, h->fd, &e) == 0;
}

void watch_stop(struct worker *w, struct watch *h)
{
    (void)epoll_ctl(w->epoll_fd, EPOLL_CTL_DEL, h->fd, NULL);
    /* It may be freed now: an event of this turn that is not handled yet must not find it. */
    for (int i = 0; i < w->event_count; i++)
        if (w->events[i].data.ptr == h) w->events[i].data.ptr = NULL;
}

static void run_events(struct worker *w, int count)
{
    w->event_count = count;
    for (int i = 0; i < count; i++) {
        struct watch *h = w->events[i].data.ptr;
        if (h) h->fn(h, w->events[i].events);
    }
    w->event_count = 0;
}

/* ---- tasks ---- */

void worker_post(struct worker *w, struct task *t)
{
    t->next = NULL;
    pthread_mutex_lock(&w->lock);
    bool first = !w->tasks;
    *w->tasks_end = t;
    w->tasks_end = &t->next;
    /* Under the lock: once it is free, a worker that has run the task may be destroyed. */
    if (first) (void)eventfd_write(w->wake.fd, 1);
    pthread_mutex_unlock(&w->lock);
}

static void run_tasks(struct watch *h, uint32_t events)
{
    struct worker *w = self;
    eventfd_t count;
    (void)events;
    (void)eventfd_read(h->fd, &count);
    pthread_mutex_lock(&w->lock);
    struct task *t = w->tasks;
    w->tasks = NULL;
    w->tasks_end = &w->tasks;
    pthread_mutex_unlock(&w->lock);
    while (t) {
        struct task *next = t->next; /* fn may free t or post it again */
        t->fn(t);
        t = next;
    }
}

/* ---- the loop ---- */

static int sleep_ms(const struct worker *w, bool again)
{
    if (again) return 0;
    if (!w->timers) return -1;
    uint64_t now = clock_ms();
    if (w->timers->at_ms <= now) return 0;
    uint64_t ms = w->timers->at_ms - now;
    return ms > 60000 ? 60000 : (int)ms;
}

static void *loop(void *arg)
{
    struct worker *w = arg;
    bool again = false;
    char name[16];
    snprintf(name, sizeof name, "worker-%u", w->index);
    pthread_setname_np(pthread_self(), name);
    self = w;
    while (!w->quit) {
        heart_rest(&w->heart);
        int n = epoll_wait(w->epoll_fd, w->events, EVENTS_A_TURN, sleep_ms(w, again));
        heart_beat(&w->heart);
        w->now_ms = clock_ms();
        if (n > 0) run_events(w, n);
        run_timers(w);
        again = false;
        for (struct turn *t = w->turns; t; t = t->next) again |= t->fn(t);
    }
    heart_rest(&w->heart);
    return NULL;
}

struct worker *worker_create(unsigned index)
{
    struct worker *w = calloc(1, sizeof *w);
    if (!w) return NULL;
    w->index = index;
    w->tasks_end = &w->tasks;
    w->now_ms = clock_ms();
    pthread_mutex_init(&w->lock, NULL);
    w->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    w->wake = (struct watch){.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), .fn = run_tasks};
    if (w->epoll_fd < 0 || w->wake.fd < 0 || !watch_start(w, &w->wake, EPOLLIN)) {
        worker_destroy(w);
        return NULL;
    }
    return w;
}

void worker_add_turn(struct worker *w, struct turn *t)
{
    struct turn **at = &w->turns;
    while (*at) at = &(*at)->next;
    t->next = NULL;
    *at = t;
}

bool worker_start(struct worker *w)
{
    return pthread_create(&w->thread, NULL, loop, w) == 0;
}

void worker_quit(struct worker *w)
{
    w->quit = true;
}

void worker_join(struct worker *w)
{
    pthread_join(w->thread, NULL);
}

void worker_destroy(struct worker *w)
{
    if (!w) return;
    /* Whoever posted last may still hold the lock. */
    pthread_mutex_lock(&w->lock);
    pthread_mutex_unlock(&w->lock);
    pthread_mutex_destroy(&w->lock);
    if (w->wake.fd >= 0) close(w->wake.fd);
    if (w->epoll_fd >= 0) close(w->epoll_fd);
    free(w);
}

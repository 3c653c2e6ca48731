/* A worker = one thread, one epoll: HTTP engine, watched descriptors, tasks posted by other threads, timers. */
#ifndef PROVOSTD_WORKER_H
#define PROVOSTD_WORKER_H

#include <stdbool.h>
#include <stdint.h>

struct worker;

/* The worker whose thread this is; NULL on other threads. */
struct worker *worker_self(void);
unsigned worker_index(const struct worker *w);
/* Monotonic milliseconds, read once per turn of the loop. */
uint64_t worker_now_ms(const struct worker *w);

/* A task to run on a worker's thread. Embed it; it must live until fn runs. */
struct task {
    struct task *next;
    void (*fn)(struct task *);
};
/* From any thread. Never fails; order is kept per poster. */
void worker_post(struct worker *w, struct task *t);

/* Embed; zeroed is "not set". Only on the worker's own thread. fn runs once unless set again. */
struct timer {
    uint64_t at_ms;
    unsigned slot; /* private: place in the heap + 1, 0: not set */
    void (*fn)(struct timer *);
};
void timer_set(struct worker *w, struct timer *t, uint64_t in_ms, void (*fn)(struct timer *));
void timer_stop(struct worker *w, struct timer *t);

/* A descriptor watched by the worker's epoll (level-triggered). Embed. Only on the worker's own thread. */
struct watch {
    int fd;
    void (*fn)(struct watch *, uint32_t epoll_events);
};
bool watch_start(struct worker *w, struct watch *h, uint32_t epoll_events); /* false: out of descriptors or memory */
void watch_stop(struct worker *w, struct watch *h);

#endif

/* A worker = one thread, one epoll: HTTP engine, watched descriptors, tasks posted by other
 * threads, timers. */
#ifndef PROVOSTD_WORKER_H
#define PROVOSTD_WORKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* From what is embedded (a task, a timer, a job) to what it stands in. */
#define CONTAINER_OF(pointer, type, member) \
    ((type *)((char *)(pointer) - offsetof(type, member)))

struct heart;
struct worker;

/* The worker whose thread this is; NULL on other threads. */
struct worker *worker_self(void);
unsigned worker_index(const struct worker *w);
/* Whether its loop goes on (observe/heart.h); on any thread. */
const struct heart *worker_heart(const struct worker *w);
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
    bool set;                           /* private */
    /* private: a pairing heap, so that setting one needs no memory */
    struct timer *child, *next, *prev;
    void (*fn)(struct timer *);
};
void timer_set(struct worker *w, struct timer *t, uint64_t in_ms, void (*fn)(struct timer *));
void timer_stop(struct worker *w, struct timer *t);

/* A descriptor watched by the worker's epoll (level-triggered). Embed. Only on the worker's own
 * thread. */
struct watch {
    int fd;
    void (*fn)(struct watch *, uint32_t epoll_events);
};
/* false: out of descriptors or memory */
bool watch_start(struct worker *w, struct watch *h, uint32_t epoll_events);
/* Of one that was started: for what it is watched. */
bool watch_change(struct worker *w, struct watch *h, uint32_t epoll_events);
void watch_stop(struct worker *w, struct watch *h);

/* Runs at the end of every turn of the loop. True: the next turn must not sleep. */
struct turn {
    struct turn *next;
    bool (*fn)(struct turn *);
};

/* ---- for the engine that owns the workers (http/) ---- */
struct worker *worker_create(unsigned index); /* NULL: out of descriptors or memory */
/* After those that are there; it stays as long as the worker. Before worker_start, or on the worker's
 * own thread. */
void worker_add_turn(struct worker *w, struct turn *t);
bool worker_start(struct worker *w);
/* On the worker's own thread: the loop ends after this turn. */
void worker_quit(struct worker *w);
/* Waits until the loop has ended. */
void worker_join(struct worker *w);
/* After worker_join, or if it was never started. NULL is accepted. */
void worker_destroy(struct worker *w);

#endif

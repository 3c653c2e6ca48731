/* The pulse of a thread that serves everybody: whether it gets on with what it has begun. Who watches
 * (main.c) tells systemd's watchdog only while all do. */
#ifndef PROVOSTD_HEART_H
#define PROVOSTD_HEART_H

#include <stdatomic.h>
#include <stdint.h>
#include <time.h>

/* Embed, zeroed: at rest. beat and rest on the thread itself, stuck on any. */
struct heart { _Atomic uint64_t busy_since_ms; /* 0: it waits for work, which may last */ };

static inline uint64_t heart_now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000 + 1; /* never 0 */
}

/* A piece of work begins, or the next of a long one. */
static inline void heart_beat(struct heart *h)
{
    atomic_store_explicit(&h->busy_since_ms, heart_now_ms(), memory_order_relaxed);
}

static inline void heart_rest(struct heart *h)
{
    atomic_store_explicit(&h->busy_since_ms, 0, memory_order_relaxed);
}

/* For how long it has been at the same piece; 0: it rests. */
static inline uint64_t heart_busy_ms(const struct heart *h)
{
    uint64_t since = atomic_load_explicit(&h->busy_since_ms, memory_order_relaxed);
    uint64_t now = heart_now_ms();
    return since && now > since ? now - since : 0;
}

#endif

/* Tells a program and a web address of events, each until it has taken the event. An event stays
 * where it comes from until everybody has taken it, so a restart loses none; whoever is told may be
 * told twice. docs/notifications.md. */
#ifndef PROVOSTD_NOTIFY_H
#define PROVOSTD_NOTIFY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NOTIFY_AGE_MAX_S (7 * 24 * 3600) /* an event that nobody took for so long is dropped */
#define NOTIFY_WAIT_MS 1000              /* before the second attempt; doubled with each */
#define NOTIFY_WAIT_MAX_MS (300 * 1000)

/* Where events come from. Called on the notifier's thread, may block. */
struct notify_source {
    void *ctx;
    /* Events with an id above after, in order, at most most; json is borrowed for the call. false:
     * out of reach. */
    bool (*read)(void *ctx, uint64_t after, unsigned most,
                 void (*each)(void *each_ctx, uint64_t id, const char *json), void *each_ctx);
    /* Everybody has taken it: it need not come again. false: it could not be said. */
    bool (*done)(void *ctx, uint64_t id);
};

/* Borrowed until notify_stop. */
struct notify_options {
    const char *program;       /* NULL: none */
    const char *url;           /* NULL: none; never logged, for it may hold a secret */
    const char *const *events; /* that are told; others are done with at once */
    size_t event_count;
    unsigned timeout_ms; /* of one attempt */
    unsigned wait_ms;    /* NOTIFY_WAIT_MS, but for tests */
};

struct notify;

/* Starts a thread. With neither program nor url it is done with all events at once.
 * NULL: error tells why. */
struct notify *notify_start(const struct notify_options *o, const struct notify_source *source,
                            char *error, size_t error_cap);
/* Whoever is told, and of what, is another from now on; an attempt under way is given up and made again.
 * Any thread. false: no memory, nothing has changed. */
bool notify_change(struct notify *n, const struct notify_options *o);
/* There may be new events. From any thread; does not block. */
void notify_wake(struct notify *n);
/* Ends the thread, and what is under way within a second: a program is killed with all that it has
 * started in its process group. It may still be woken, without effect. NULL is accepted. */
void notify_stop(struct notify *n);
/* Once it is stopped and nobody wakes it any more. NULL is accepted. */
void notify_destroy(struct notify *n);

#endif

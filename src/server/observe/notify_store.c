#include "src/server/observe/notify_store.h"

#include <stdio.h>

struct reading {
    void (*each)(void *each_ctx, uint64_t id, const char *json);
    void *each_ctx;
};

static void pass_on(void *ctx, const struct log_record *r)
{
    const struct reading *reading = ctx;
    reading->each(reading->each_ctx, r->id, r->json);
}

static bool read_events(void *ctx, uint64_t after, unsigned most,
                        void (*each)(void *each_ctx, uint64_t id, const char *json), void *each_ctx)
{
    struct reading r = {each, each_ctx};
    if (!store_is_leader(ctx))
        return false; /* another server tells; perhaps we are asked to soon */
    return store_read_log(ctx, STORE_LOG_EVENT, after, most, pass_on, &r);
}

/* Written behind: if it is lost, the event is told again. */
static bool remove_event(void *ctx, uint64_t id)
{
    const struct store_change c = {.kind = STORE_REMOVE_EVENT, .u.log = {.id = id, .json = ""}};
    return store_submit(ctx, &c, 1, NULL);
}

static void events_came(void *ctx)
{
    notify_wake(ctx);
}

static struct notify_options options_of(const struct config *c)
{
    return (struct notify_options){.program = c->notify.program,
                                   .url = c->notify.url,
                                   .events = c->notify.events.name,
                                   .event_count = c->notify.events.count,
                                   .timeout_ms = c->notify.timeout * 1000,
                                   .wait_ms = NOTIFY_WAIT_MS};
}

bool notify_reconfigure(struct notify *n, const struct config *c)
{
    const struct notify_options o = options_of(c);
    return notify_change(n, &o);
}

struct notify *notify_from_store(const struct config *c, struct store *s, char *error,
                                 size_t error_cap)
{
    const struct notify_options o = options_of(c);
    const struct notify_source source = {s, read_events, remove_event};
    struct notify *n = notify_start(&o, &source, error, error_cap);
    if (!n || store_listen(s, events_came, n)) return n;
    snprintf(error, error_cap, "notifications: too many listen to the store");
    notify_stop(n);
    notify_destroy(n);
    return NULL;
}

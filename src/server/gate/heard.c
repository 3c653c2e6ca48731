/* What memory says is believed while the store is heard of; what it refuses is asked of the store
 * first. */
#include <time.h>

#include "src/server/gate/inner.h"
#include "src/server/observe/log.h"

#define DENIED_MS 1000

/* ---- the lease ---- */
/* One line when it begins and one when it is over, however many ask meanwhile. */
static void note(struct gate *g, bool heard)
{
    if (atomic_exchange_explicit(&g->unheard, !heard, memory_order_relaxed) == !heard) return;
    if (heard)
        LOG(LOG_INFO, 0, "store-heard");
    else
        LOG(LOG_ERROR, 0, "store-unheard",
            KV_TEXT("why",
                    "nothing was heard of the store for the time of store_lease; who would be "
                    "let in is told to come again"));
}

bool gate_is_heard(struct gate *g)
{
    bool heard = store_is_heard(g->store);
    if (heard == atomic_load_explicit(&g->unheard, memory_order_relaxed)) note(g, heard);
    return heard;
}

/* ---- before memory is believed ---- */
/* Everything is there as it must be. What was waited for may have come late: the lease may be over, and
 * what was read may be older than that. */
static void go_on(struct gate_call *gc)
{
    if (gate_is_heard(gc->call.gate))
        gc->believed(gc);
    else
        call_http(&gc->call, 503, RETRY_AFTER_S);
}

static void user_was_read(struct resident *r, bool ok)
{
    struct gate_call *gc = CONTAINER_OF(r, struct gate_call, resident);
    if (ok)
        go_on(gc);
    else
        call_http(&gc->call, 503, RETRY_AFTER_S);
}

static void want_user(struct gate_call *gc, enum resident_need need)
{
    struct call *c = &gc->call;
    gc->resident.ready = user_was_read;
    if (resident_want(c->gate, &gc->resident, c->user, need))
        go_on(gc);
    else
        call_wait(c, NULL);
}

static void lists_were_read(struct lists_waiter *w, bool ok)
{
    struct gate_call *gc = CONTAINER_OF(w, struct gate_call, lists);
    if (ok)
        want_user(gc, gc->checked ? RESIDENT_FRESH : RESIDENT_KNOWN);
    else
        call_http(&gc->call, 503, RETRY_AFTER_S);
}

static void want_lists(struct gate_call *gc, enum lists_need need)
{
    gc->lists.ready = lists_were_read;
    if (lists_want(gc->call.gate, &gc->lists, need))
        lists_were_read(&gc->lists, true);
    else
        call_wait(&gc->call, NULL);
}

void call_believe(struct gate_call *gc, void (*go)(struct gate_call *gc))
{
    gc->believed = go;
    if (gate_is_heard(gc->call.gate))
        want_lists(gc, LISTS_KNOWN);
    else
        call_http(&gc->call, 503, RETRY_AFTER_S);
}

/* ---- before it is refused ---- */
/* Never 0. The clock on the wall may be set. */
static uint32_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint32_t)((uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000) | 1;
}

static uint32_t key_of(const struct gate_call *gc)
{
    const struct pv_sent_key *key = &gc->call.req.key;
    return key->kind == PV_KEY_NUMBER ? key->value : 0;
}

bool call_may_doubt(const struct gate_call *gc, const struct device *d)
{
    const struct call *c = &gc->call;
    bool ping = pv_cmd_info(c->req.cmd)->key_rule == PV_KEY_PARTNERSHIP;
    uint32_t key = key_of(gc);
    if (gc->checked || (!key && !ping) || !store_is_shared(c->gate->store)) return false;
    return !d || !d->denied_at || d->denied_key != key || now_ms() - d->denied_at >= DENIED_MS;
}

void call_check(struct gate_call *gc, void (*again)(struct gate_call *gc))
{
    gc->checked = true;
    gc->believed = again;
    want_lists(gc, LISTS_FRESH);
}

void call_denied(const struct gate_call *gc, struct device *d)
{
    if (!gc->checked) return;
    d->denied_key = key_of(gc);
    d->denied_at = now_ms();
}

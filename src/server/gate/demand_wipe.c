/* Wipes that an upstream orders: carried out here like any, and told there once the device has said
 * what came of it. */
#include <stdlib.h>
#include <string.h>

#include "src/server/gate/inner.h"
#include "src/server/gate/order.h"
#include "src/server/observe/log.h"

#define ACTOR "upstream" /* no administrator is called so: they are "uid N" and "token NAME" */

/* ---- whose wipe it is; shard locked ---- */
/* The upstream that has ordered the last wipe; NULL: somebody else has, or nobody. */
static const char *ordered_by(const struct device *d)
{
    const struct extra *e = d->extra;
    bool ours = e && e->wipe_by && strcmp(e->wipe_by, ACTOR) == 0;
    return ours && e->wipe_reason ? e->wipe_reason : NULL;
}

static bool is_under_way(const struct device *d)
{
    return d->shut || d->wipe_state == PV_WIPE_STATE_REQUESTED ||
           d->wipe_state == PV_WIPE_STATE_SENT || d->wipe_state == PV_WIPE_STATE_FAILED;
}

/* It was carried out, and the upstream does not know: it orders the same again, not another one. */
static bool is_untold(const struct shard *s, const struct device *d, const char *upstream)
{
    const char *by = ordered_by(d);
    const struct bond *b = d->bound ? bond_find(&s->bonds, d) : NULL;
    return by && strcmp(by, upstream) == 0 && d->wipe_state == PV_WIPE_STATE_ACKNOWLEDGED &&
           (!b || b->told != d->extra->wipe_id);
}

/* ---- an order ---- */
struct wipe_order {
    struct device_order order;
    struct call *call;
    void *ctx;
    void (*done)(void *ctx, enum gate_wipe_result result);
    char upstream[ORDER_REASON_MAX];
};

static void ordered(struct device_order *o)
{
    struct wipe_order *w = CONTAINER_OF(o, struct wipe_order, order);
    const struct call *c = w->call;
    void *ctx = w->ctx;
    void (*done)(void *ctx, enum gate_wipe_result result) = w->done;
    enum gate_wipe_result result = GATE_WIPE_FAILED;
    switch (o->result) {
    case ORDER_DONE:
    case ORDER_UNCHANGED:
    case ORDER_IMPOSSIBLE: result = GATE_WIPE_ORDERED; break; /* the gate says what is due */
    case ORDER_FORBIDDEN:
        result = GATE_WIPE_FORBIDDEN;
        LOG(LOG_WARN, call_session(c), "upstream-wipe-forbidden", KV_TEXT("user", c->user),
            KV_TEXT("device", c->req.device_id), KV_TEXT("upstream", w->upstream));
        break;
    default: break;
    }
    free(w);
    done(ctx, result);
}

static void start_order(struct call *c, const char *upstream, enum pv_wipe_kind kind,
                        void (*done)(void *ctx, enum gate_wipe_result result), void *ctx)
{
    struct wipe_order *w = calloc(1, sizeof *w);
    if (!w) {
        done(ctx, GATE_WIPE_FAILED);
        return;
    }
    w->call = c;
    w->ctx = ctx;
    w->done = done;
    memcpy(w->upstream, upstream, strnlen(upstream, sizeof w->upstream - 1));
    w->order = (struct device_order){
        .user = c->user,
        .device_id = c->req.device_id,
        .kind = kind == PV_WIPE_ACCOUNT ? PV_ORDER_WIPE_ACCOUNT : PV_ORDER_WIPE_DEVICE,
        .actor = ACTOR,
        .reason = w->upstream,
        .done = ordered,
    };
    call_wait(c, NULL);
    gate_order(c->gate, &w->order);
}

void gate_upstream_wipe(struct call *c, const char *upstream, enum pv_wipe_kind kind,
                        void (*done)(void *ctx, enum gate_wipe_result result), void *ctx)
{
    struct shard *s = table_lock(c->gate->table, c->user);
    bool under_way = is_under_way(c->device), untold = is_untold(s, c->device, upstream);
    table_unlock(s);
    if (under_way)
        done(ctx, GATE_WIPE_ORDERED);
    else if (untold)
        done(ctx, GATE_WIPE_ENDED);
    else
        start_order(c, upstream, kind, done, ctx);
}

/* ---- what came of it ---- */
void gate_on_wiped(struct gate *g,
                   void (*wiped)(void *ctx, struct call *c, const char *upstream,
                                 enum pv_wipe_kind kind, unsigned status),
                   void *ctx)
{
    g->wiped = wiped;
    g->wiped_ctx = ctx;
}

void demand_wiped(struct step *s)
{
    struct call *c = &s->call->call;
    struct gate *g = c->gate;
    bool ended = s->next.wipe_state == PV_WIPE_STATE_ACKNOWLEDGED ||
                 s->next.wipe_state == PV_WIPE_STATE_FAILED;
    char upstream[ORDER_REASON_MAX] = "";
    if (!g->wiped || s->in.event != PV_EV_WIPE_ACK || !s->out.wipe_changed || !ended) return;
    struct shard *shard = table_lock(g->table, c->user);
    const char *by = ordered_by(c->device);
    if (by) memcpy(upstream, by, strnlen(by, sizeof upstream - 1));
    table_unlock(shard);
    if (by) g->wiped(g->wiped_ctx, c, upstream, (enum pv_wipe_kind)s->next.wipe, s->in.status);
}

/* The bond of the device, made if need be: with nothing claimed. NULL: no memory. Shard locked. */
static struct bond *bond_to(struct gate *g, struct shard *s, struct device *d, const char *upstream)
{
    struct bond *b = d->bound ? bond_find(&s->bonds, d) : NULL;
    if (b) return strcmp(b->claim->upstream, upstream) == 0 ? b : NULL;
    b = bonds_reserve(&s->bonds) ? calloc(1, sizeof *b) : NULL;
    if (!b) return NULL;
    if (claims_take(g->claims, upstream, NULL, &b->claim) != GATE_OK) {
        free(b);
        return NULL;
    }
    bond_free(bond_put(&s->bonds, b, d));
    d->bound = true;
    return b;
}

/* Shard locked. */
static void told(struct gate *g, struct shard *s, struct device *d, const char *upstream)
{
    const char *by = ordered_by(d);
    struct bond *b = by && strcmp(by, upstream) == 0 ? bond_to(g, s, d, upstream) : NULL;
    if (b) {
        b->told = d->extra->wipe_id;
        demand_write(g, d, b);
    }
}

void gate_upstream_wipe_told(struct gate *g, const char *user, const char *device_id,
                             const char *upstream)
{
    struct resident r = {0};
    struct shard *s = table_lock(g->table, user);
    struct owner *o = shard_owner(s, user);
    bool there = o && o->loaded;
    if (!there) {
        table_unlock(s);
        if (!resident_read(g, &r, user, RESIDENT_KNOWN)) return; /* the upstream orders it again */
        s = table_lock(g->table, user);
        o = r.owner;
    }
    struct device *d = owner_device(o, device_id);
    if (d) told(g, s, d, upstream);
    table_unlock(s);
    resident_drop(&r);
}

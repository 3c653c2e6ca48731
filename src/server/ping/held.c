#include "src/server/ping/held.h"

/* A Ping ousted sooner than this belongs to a second client under the same DeviceId; with Status 1
 * the two would chase each other. */
#define OUSTED_EARLY_MS 10000

void ping_answer_limit(struct call *c, unsigned status, uint32_t limit)
{
    uint8_t buf[PING_ANSWER_SIZE(0)];
    size_t len;
    struct ping_answer a = {.status = status, .limit = limit};
    if (ping_write(&a, buf, sizeof buf, &len) == PV_OK)
        call_answer(c, buf, len);
    else
        call_status(c, PING_SERVER_ERROR);
}

/* ---- the end ---- */

void held_leave(struct held *h)
{
    bool free_to_go = h->leave(h);
    if (!seats_rise(h->seats, &h->seat) || !free_to_go) return;
    if (h->stopping)
        call_hang_up(h->call);
    else if (h->retry_after)
        call_http(h->call, 503, h->retry_after);
    else
        h->answer(h);
}

void held_end(struct held *h, unsigned status)
{
    if (h->status) return;
    h->status = status;
    timer_stop(worker_self(), &h->timer);
    gate_wait_remove(h->call->gate, &h->waiter);
    held_leave(h);
}

static void end_due(struct held *h)
{
    h->due = true;
    held_end(h, PING_FOLDERSYNC);
}

static void ousted(struct seat *s)
{
    struct held *h = CONTAINER_OF(s, struct held, seat);
    if (h->status) {
        held_leave(h);
        return;
    }
    uint64_t waited = worker_now_ms(worker_self()) - h->from_ms;
    if (waited < OUSTED_EARLY_MS) h->retry_after = OUSTED_EARLY_MS / 1000;
    held_end(h, PING_NO_CHANGES);
}

void held_gone(struct call *c)
{
    struct held *h = c->data;
    h->gone = true;
    if (h->waits) held_end(h, PING_NO_CHANGES);
}

/* Status 1 tells the device to come again, which it may after the shortest heartbeat. Sooner a broken
 * connection says the same, and no device takes it for an answer. */
static void server_ends(struct http_exchange *x)
{
    struct call *c = http_data(x);
    struct held *h = c->data;
    uint64_t waited = worker_now_ms(worker_self()) - h->from_ms;
    if (h->status) return;
    h->stopping = waited < gate_config(c->gate)->ping.heartbeat_min * UINT64_C(1000);
    if (h->waits) held_end(h, PING_NO_CHANGES);
}

/* ---- the wait ---- */

static void time_is_up(struct timer *t);

/* Up to the end of the heartbeat, or of the policy's refresh interval. */
static void sleep_on(struct held *h)
{
    uint64_t now = worker_now_ms(worker_self());
    uint64_t left = h->until_ms > now ? h->until_ms - now : 0;
    uint64_t refresh = gate_ping_due_in(h->call) * UINT64_C(1000);
    timer_set(worker_self(), &h->timer, left < refresh ? left : refresh, time_is_up);
}

static void time_is_up(struct timer *t)
{
    struct held *h = CONTAINER_OF(t, struct held, timer);
    if (gate_ping_due(h->call))
        end_due(h);
    else if (worker_now_ms(worker_self()) >= h->until_ms)
        held_end(h, PING_NO_CHANGES);
    else
        sleep_on(h);
}

/* The device's standing may have changed: policy, wipe, block. */
static void woken(struct gate_waiter *w)
{
    struct held *h = CONTAINER_OF(w, struct held, waiter);
    if (!h->waits || h->status) return;
    if (gate_ping_due(h->call))
        end_due(h);
    else
        sleep_on(h); /* the refresh interval may be another one */
}

void held_init(struct held *h, struct call *c, struct seats *seats)
{
    h->call = c;
    h->seats = seats;
    h->from_ms = worker_now_ms(worker_self());
    h->seat.ousted = ousted;
    http_on_stop(c->http, server_ends);
}

bool held_sit(struct held *h)
{
    return seats_sit(h->seats, &h->seat, h->call->user, h->call->req.device_id);
}

bool held_begin(struct held *h, uint32_t heartbeat)
{
    h->until_ms = worker_now_ms(worker_self()) + heartbeat * UINT64_C(1000);
    h->waiter.wake = woken;
    gate_wait_add(h->call, &h->waiter);
    h->waits = true;
    sleep_on(h);
    if (gate_ping_due(h->call))
        end_due(h); /* it became due on the way here */
    else if (h->stopping)
        held_end(h, PING_NO_CHANGES);
    else
        return true;
    return false;
}

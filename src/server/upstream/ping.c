/* Ping through the gateway (MS-ASCMD 2.2.1.13): from its arrival to its answer. */
#include "src/server/upstream/ping.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/server/upstream/ping_inner.h"

/* The gate calls a command with the call alone, and a process has one gateway. Set before the first call
 * is served. */
static struct pings *the_pings;

/* ---- replies ---- */

static struct ping_reply *reply_make(unsigned http, const void *body, size_t len)
{
    struct ping_reply *r = malloc(sizeof *r + len);
    if (!r) return NULL;
    *r = (struct ping_reply){.http = http, .len = len};
    if (len) memcpy(r->body, body, len);
    return r;
}

struct ping_reply *ping_reply_http(unsigned http)
{
    return reply_make(http, NULL, 0);
}

struct ping_reply *ping_reply_body(const void *body, size_t len)
{
    return reply_make(200, body, len);
}

/* ---- what is remembered of a device ---- */

struct recall {
    struct ping *p;
    int64_t first_seen;
    struct ping_wish *last; /* NULL: nothing is known */
};

static void recall(void *ctx, void **memory)
{
    struct recall *r = ctx;
    const struct ping_memory *m = *memory;
    if (!m || m->first_seen != r->first_seen) return;
    r->p->member.memory.round = m->round;
    r->p->member.memory.looked_ms = m->looked_ms;
    r->last = ping_wish_copy(&m->wish);
}

/* A Ping that takes this one's place begins where it did. Without memory the phone is asked to say
 * all of it the next time. */
static void remember(void *ctx, void **memory)
{
    const struct recall *r = ctx;
    const struct ping *p = r->p;
    struct ping_memory *m = malloc(sizeof *m + p->wish->size);
    free(*memory);
    *memory = m;
    if (!m) return;
    m->first_seen = r->first_seen;
    m->round = p->member.memory.round;
    m->looked_ms = p->member.memory.looked_ms;
    memcpy(&m->wish, p->wish, sizeof *p->wish + p->wish->size);
}

static void remember_look(void *ctx, void **memory)
{
    const struct ping *p = ctx;
    struct ping_memory *m = *memory;
    if (!m) return;
    m->round = p->member.memory.round;
    m->looked_ms = p->member.memory.looked_ms;
}

static void forget(void *ctx, void **memory)
{
    (void)ctx;
    free(*memory);
    *memory = NULL;
}

void ping_looked_at(struct ping *p)
{
    if (p->held.seat.device) seats_visit_own(p->pings->seats, &p->held.seat, remember_look, p);
}

/* ---- the end ---- */

static void free_ping(void *data)
{
    struct ping *p = data;
    if (p->kept) explicit_bzero(p->kept, p->kept_size);
    free(p->kept);
    free(p->wish);
    free(p->reply);
    free(p);
}

/* What the phone has asked for is of no use once its partnership has come to an end, or the upstream
 * wants to hear another thing. */
static bool leave(struct held *h)
{
    struct ping *p = CONTAINER_OF(h, struct ping, held);
    if (!inbox_leave(p->inbox)) return false;
    p->inbox = NULL;
    lookout_leave(p);
    if (h->seat.device && (h->due || p->forget))
        seats_visit_own(p->pings->seats, &h->seat, forget, NULL);
    ping_looked_at(p);
    return true;
}

/* The login that the gate believes does not hold any more. */
static void refuse_login(const struct ping *p)
{
    struct call *c = p->held.call;
    if (p->authorization) auth_forget(gate_auth(c->gate), p->authorization);
    call_unauthorized(c);
}

static void answer(struct held *h)
{
    const struct ping *p = CONTAINER_OF(h, struct ping, held);
    const struct ping_reply *r = p->reply;
    if (!r)
        call_status(h->call, h->status);
    else if (r->http == 200)
        call_answer(h->call, r->body, r->len);
    else if (r->http == 401)
        refuse_login(p);
    else
        call_http(h->call, r->http, r->http == 503 ? PING_RETRY_AFTER : 0);
}

void ping_tell(struct ping *p, const struct look_report *r)
{
    p->reply = r->reply;
    p->forget =
        r->said == PING_MISSING || r->said == PING_SYNTAX || r->said == PING_TOO_MANY_FOLDERS;
    held_end(&p->held, r->status);
}

/* ---- the beginning ---- */

static void inbox_news(void *ctx)
{
    struct ping *p = ctx;
    if (p->held.waits)
        pings_news(p->pings, p->held.call->user);
    else
        held_leave(&p->held);
}

static bool keep_fields(struct ping *p)
{
    const char *authorization = call_authorization(p->held.call);
    const char *agent = http_field(p->held.call->http, "User-Agent");
    size_t first = authorization ? strlen(authorization) + 1 : 0;
    size_t second = agent ? strlen(agent) + 1 : 0;
    p->kept_size = first + second;
    p->kept = malloc(p->kept_size + 1);
    if (!p->kept) return false;
    if (authorization) p->authorization = memcpy(p->kept, authorization, first);
    if (agent) p->agent = memcpy(p->kept + first, agent, second);
    return true;
}

/* All that it needs is there. */
static void hold(struct ping *p, struct recall *r)
{
    struct call *c = p->held.call;
    if (!keep_fields(p) || !held_sit(&p->held)) {
        call_http(c, 503, PING_RETRY_AFTER);
        return;
    }
    seats_visit_own(p->pings->seats, &p->held.seat, remember, r);
    call_wait(c, held_gone);
    if (!held_begin(&p->held, p->wish->heartbeat)) return;
    if (p->pings->inboxes)
        p->inbox = inbox_watch(p->pings->inboxes, c->user, p->authorization, inbox_news, p);
    if (!lookout_join(p)) held_end(&p->held, PING_SERVER_ERROR);
}

static struct ping *make(struct call *c, struct pings *all)
{
    struct upstream *u = upstream_of(all->upstreams, c->user);
    struct ping *p = u ? calloc(1, sizeof *p) : NULL;
    if (!p) return NULL;
    p->pings = all;
    p->lookout = &all->lookouts[upstream_index(u)];
    p->held.leave = leave;
    p->held.answer = answer;
    held_init(&p->held, c, all->seats);
    c->data = p;
    c->free_data = free_ping;
    return p;
}

static void serve(struct call *c)
{
    struct pings *all = the_pings;
    struct recall r = {.p = make(c, all), .first_seen = call_first_seen(c)};
    const struct config *config = gate_config(c->gate);
    const struct ping_limits limits = {config->ping.heartbeat_min, config->ping.heartbeat_max,
                                       config->ping.folders_max};
    uint32_t limit;
    if (!r.p) {
        call_http(c, 503, PING_RETRY_AFTER);
        return;
    }
    seats_visit(all->seats, c->user, c->req.device_id, recall, &r);
    unsigned status = ping_wish_read(c->body, &limits, r.last, &r.p->wish, &limit);
    free(r.last);
    if (status == PING_BAD_HEARTBEAT || status == PING_TOO_MANY_FOLDERS)
        ping_answer_limit(c, status, limit);
    else if (status)
        call_status(c, status);
    else
        hold(r.p, &r);
}

/* ---- all of them ---- */

void pings_news(struct pings *p, const char *user)
{
    struct upstream *u = upstream_of(p->upstreams, user);
    if (u) lookout_hint(&p->lookouts[upstream_index(u)], user);
}

bool pings_status(struct pings *p, json_t *upstreams)
{
    json_t *upstream;
    size_t i;
    json_array_foreach(upstreams, i, upstream)
    {
        json_t *status = p ? lookout_status(&p->lookouts[i]) : json_pack("{s:s}", "mode", "pass");
        if (json_object_set_new(upstream, "ping", status) != 0) return false;
    }
    return true;
}

struct pings *pings_create(struct gate *g, struct upstreams *u, struct demands *d,
                           const struct config *c, char *error, size_t error_cap)
{
    static const struct command command = {.cmd = PV_CMD_Ping, .serve = serve};
    struct pings *p = calloc(1, sizeof *p);
    if (p) {
        p->upstreams = u;
        p->demands = d;
        p->seats = seats_create();
        p->lookouts = calloc(upstreams_count(u), sizeof *p->lookouts);
        p->inboxes = inboxes_open(c, error, error_cap);
    }
    if (!p || !p->seats || !p->lookouts || (!p->inboxes && *error)) {
        if (!p || !*error) snprintf(error, error_cap, "out of memory");
        pings_destroy(p);
        return NULL;
    }
    for (; p->lookout_count < upstreams_count(u); p->lookout_count++)
        lookout_init(&p->lookouts[p->lookout_count], c);
    the_pings = p;
    gate_register(g, &command, 1);
    return p;
}

void pings_reconfigure(struct pings *p, const struct config *before, const struct config *c)
{
    for (size_t i = 0; p && i < p->lookout_count; i++)
        lookout_reconfigure(&p->lookouts[i], before, c);
}

void pings_destroy(struct pings *p)
{
    if (!p) return;
    for (size_t i = 0; i < p->lookout_count; i++) lookout_finish(&p->lookouts[i]);
    inboxes_close(p->inboxes);
    seats_destroy(p->seats);
    free(p->lookouts);
    free(p);
}

/* One request to the upstream on behalf of a waiting Ping, and what its answer means. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/server/upstream/ping_inner.h"

/* Beyond the heartbeat. SOGo looks again only every SOGoInternalSyncInterval, 30 seconds as it comes,
 * and a look that is given up still has its worker: so it is better to wait. */
#define LOOK_SLACK_MS 120000u
#define RETRY_AFTER_MAX 3600u

/* ---- what an answer means ---- */

static void tell_status(struct look_report *r, unsigned status)
{
    r->result = LOOK_TELL;
    r->status = status;
}

/* NULL: no memory for it. */
static void tell_reply(struct look_report *r, struct ping_reply *reply)
{
    tell_status(r, PING_SERVER_ERROR);
    r->reply = reply;
}

static void failed(struct look_report *r, const char *why)
{
    r->result = LOOK_FAILED;
    r->why = why;
}

static void judge_body(struct look_report *r, const uint8_t *body, size_t len)
{
    struct ping_said said;
    if (!ping_said_read(body, len, &said)) {
        failed(r, "its answer is none to a Ping");
    } else if (said.status == PING_BAD_HEARTBEAT) {
        r->result = LOOK_AGAIN; /* it is our heartbeat that it does not like, not the phone's */
        r->heartbeat = said.heartbeat;
    } else if (said.status != PING_NO_CHANGES) {
        tell_reply(r, ping_reply_body(body, len));
        r->said = said.status;
    }
}

static uint64_t retry_after_ms(const struct fetch *f)
{
    const char *text = fetch_field(f, "Retry-After");
    unsigned seconds = 0;
    if (!text || sscanf(text, "%4u", &seconds) != 1 || seconds > RETRY_AFTER_MAX) return 0;
    return seconds * UINT64_C(1000);
}

static void judge_answer(struct look_report *r, const struct fetch *f)
{
    unsigned status;
    /* The phone reads its folders then, and that command brings both sides to terms. */
    if (demand_refuses(PV_CMD_Ping, f->status, f->body, f->len, &status)) {
        tell_status(r, PING_FOLDERSYNC);
        return;
    }
    switch (f->status) {
    case 200: judge_body(r, f->body, f->len); break;
    case 429:
    case 503:
        failed(r, "it has no time");
        r->retry_ms = retry_after_ms(f);
        break;
    default:
        if (f->status >= 400 && f->status < 500)
            tell_reply(r, ping_reply_http(f->status));
        else
            failed(r, "it answers with an error");
    }
}

static void asked_done(struct upstream_asked *a, enum fetch_result result)
{
    struct look *l = CONTAINER_OF(a, struct look, asked);
    struct look_report r = {0};
    if (result == FETCH_OK)
        judge_answer(&r, &a->fetch);
    else
        failed(&r, *a->fetch.error ? a->fetch.error : "it does not answer");
    l->done(l, &r);
}

/* ---- asking ---- */

static bool ask(struct look *l, size_t len, uint32_t heartbeat)
{
    const struct ping *p = l->ping;
    const struct call *c = p->held.call;
    const struct upstream_ask ask = {
        .cmd = PV_CMD_Ping,
        .version = c->req.version,
        .user = c->user,
        .said_user = c->req.user,
        .device_id = c->req.device_id,
        .device_type = c->req.device_type,
        .agent = p->agent,
        .authorization = p->authorization,
        .key = demand_key(p->pings->demands, c),
        .body = l->body,
        .len = len,
        .head_ms = heartbeat * 1000u + LOOK_SLACK_MS,
    };
    l->asked.done = asked_done;
    return upstream_ask(p->pings->upstreams, &l->asked, &ask);
}

struct look *look_begin(struct ping *p, uint32_t heartbeat,
                        void (*done)(struct look *l, struct look_report *r))
{
    size_t room = ping_wish_room(p->wish), len;
    struct look *l = calloc(1, sizeof *l + room);
    if (!l) return NULL;
    l->lookout = p->lookout;
    l->ping = p;
    l->done = done;
    l->began_ms = worker_now_ms(worker_self());
    memcpy(l->user, p->held.call->user, sizeof l->user);
    if (ping_wish_write(p->wish, heartbeat, l->body, room, &len) == PV_OK && ask(l, len, heartbeat))
        return l;
    free(l);
    return NULL;
}

/* One handshake with an upstream on behalf of a device, as the client's machine of the library says. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "src/json_text.h"
#include "src/server/observe/log.h"
#include "src/server/upstream/demand_inner.h"

#define RETRY_AFTER_S 10
#define BODY_ROOM 1024           /* of a Provision request beside the texts of DeviceInformation */
#define ANSWER_ROOM (64u * 1024) /* for what is copied out of an answer */

static void act(struct settle *s);

static void fail(struct settle *s)
{
    settle_end(s, DEMAND_FAILED, RETRY_AFTER_S);
}

/* ---- DeviceInformation: what the device has said to us ---- */
static void take_info(struct settle *s)
{
    const json_t *json = s->info_json;
#define TAKE(Name, name) s->info.name = json_string_value(json_object_get(json, #Name));
    PV_DEVICE_FIELDS(TAKE)
#undef TAKE
    //= MS-ASPROV 2.2.2.53: Model is the one that must be there
    if (!s->info.model) s->info.model = s->call->req.device_type;
}

static void info_run(struct job *j)
{
    struct settle *s = CONTAINER_OF(j, struct settle, job);
    const struct call *c = s->call;
    struct info_record r;
    json_t *json = NULL;
    void *block = NULL;
    if (store_read_info(gate_store(c->gate), c->user, c->req.device_id, &r, &block) == 1 &&
        json_of_text(r.info_json, strlen(r.info_json), 0, &json))
        s->info_json = json;
    free(block);
}

static void info_done(struct job *j)
{
    struct settle *s = CONTAINER_OF(j, struct settle, job);
    s->knows_info = true;
    take_info(s);
    if (s->left)
        fail(s);
    else
        act(s);
}

static void read_info(struct settle *s)
{
    s->job.run = info_run;
    s->job.done = info_done;
    if (!pool_submit(s->demands->pool, &s->job)) fail(s);
}

/* ---- asking ---- */
static void asked(struct upstream_asked *a, enum fetch_result result);

static size_t room_for(const struct settle *s)
{
    size_t room = BODY_ROOM;
#define ADD(Name, name) room += s->info.name ? strlen(s->info.name) : 0;
    PV_DEVICE_FIELDS(ADD)
#undef ADD
    return room;
}

/* The temporary key stands in the body; in the header, too, as far as it is a number. */
static uint32_t header_key(const struct settle *s)
{
    if (s->out.action == PV_DO_ACK)
        return pv_key_parse(s->out.temp_key, strlen(s->out.temp_key)).value;
    return s->out.key;
}

static void send(struct settle *s)
{
    const struct pv_request *req = &s->call->req;
    size_t cap = room_for(s), len;
    free(s->body);
    s->body = malloc(cap);
    if (!s->body || pv_client_body(&s->out, req->version, &s->info, s->body, cap, &len) != PV_OK) {
        fail(s);
        return;
    }
    s->asked = (struct upstream_asked){.done = asked};
    s->asking = upstream_ask(s->demands->upstreams, &s->asked,
                             &(struct upstream_ask){
                                 .cmd = PV_CMD_Provision,
                                 .version = req->version,
                                 .user = s->call->user,
                                 .said_user = req->user,
                                 .device_id = req->device_id,
                                 .device_type = req->device_type,
                                 .agent = s->agent,
                                 .authorization = s->authorization,
                                 .key = header_key(s),
                                 .body = s->body,
                                 .len = len,
                             });
    if (s->asking)
        call_wait(s->call, s->gone); /* which a step of the gate has taken away */
    else
        fail(s);
}

/* ---- answers ---- */
bool demand_read_answer(const struct upstream_asked *a, struct pv_arena *arena,
                        struct pv_client_in *in, struct pv_provision_answer *answer)
{
    const struct fetch *f = &a->fetch;
    size_t most = 2 * pv_wbxml_limits_small.elements + 1;
    size_t nodes = f->len < most ? f->len : most;
    const struct pv_node *root;
    *in = (struct pv_client_in){.http = f->status};
    pv_arena_destroy(arena);
    if (f->len == 0) return true;
    if (pv_arena_create(arena, nodes * ((sizeof *root + 15) & ~(size_t)15) + 2 * f->len +
                                   ANSWER_ROOM) != PV_OK)
        return false;
    if (pv_wbxml_decode(arena, f->body, f->len, &pv_wbxml_limits_small, &root, NULL) == PV_OK &&
        pv_provision_answer_read(root, arena, answer) == PV_OK) {
        in->provision = answer;
        in->status = answer->status;
    }
    return true;
}

static void next(struct settle *s, unsigned judgement)
{
    s->in.judgement = judgement;
    s->no_policy = s->in.provision && s->answer.policy_status == 2;
    pv_client_answer(&s->client, &s->in, &s->out);
    act(s);
}

/* The gate has come back: nothing of it can be cut short. */
static bool is_left(struct settle *s)
{
    if (s->left) fail(s);
    return s->left;
}

static void policy_taken(void *ctx, enum gate_demand_result result, unsigned said)
{
    struct settle *s = ctx;
    if (is_left(s)) return;
    switch (result) {
    case GATE_DEMAND_MET: next(s, said); break;
    case GATE_DEMAND_ASK: settle_end(s, DEMAND_ASK, 0); break;
    case GATE_DEMAND_IMPOSSIBLE:
        LOG(LOG_WARN, call_session(s->call), "upstream-policy-conflict",
            KV_TEXT("user", s->call->user), KV_TEXT("device", s->call->req.device_id),
            KV_TEXT("upstream", s->upstream));
        settle_end(s, DEMAND_REFUSED, 139);
        break;
    case GATE_DEMAND_FAILED: fail(s); break;
    }
}

/* A policy that the machine is going to take for one: first our device is held against it. */
static bool is_offer(const struct settle *s)
{
    const struct pv_provision_answer *a = s->in.provision;
    const char *fits = pv_policy_type(s->client.version);
    return a && s->client.state == PV_CLIENT_ASKED && s->in.http == 200 && a->status <= 1 &&
           a->wipe == PV_WIPE_NONE && a->has_policy && a->policy_status <= 1 && a->data &&
           a->key[0] && (!a->policy_type[0] || strcmp(a->policy_type, fits) == 0);
}

static void take_policy(struct settle *s)
{
    struct pv_policy policy;
    enum pv_err err = pv_policy_read(s->answer.data, &s->arena, &policy, NULL, 0, NULL);
    if (err == PV_E_NOMEM)
        fail(s);
    else if (err)
        next(s, 0); /* the machine says what that is */
    else
        gate_demand(s->call, &(struct gate_demand){s->upstream, &policy}, policy_taken, s);
}

/* What it was that the upstream has been told is known to it now. */
static void wipe_told(struct settle *s)
{
    const struct call *c = s->call;
    bool taken = s->in.http == 200 && (!s->in.provision || s->answer.status <= 1);
    if (taken) gate_upstream_wipe_told(c->gate, c->user, c->req.device_id, s->upstream);
    if (taken)
        settle_end(s, DEMAND_AGAIN, 0);
    else
        fail(s);
}

static void asked(struct upstream_asked *a, enum fetch_result result)
{
    struct settle *s = CONTAINER_OF(a, struct settle, asked);
    s->asking = false;
    if (result != FETCH_OK || !demand_read_answer(a, &s->arena, &s->in, &s->answer))
        fail(s);
    else if (s->client.state == PV_CLIENT_WIPE_ACKED)
        wipe_told(s);
    else if (is_offer(s))
        take_policy(s);
    else
        next(s, 0);
}

/* ---- what the machine says ---- */
static void no_policy_taken(void *ctx, enum gate_demand_result result, unsigned said)
{
    struct settle *s = ctx;
    (void)said;
    if (is_left(s)) return;
    if (result == GATE_DEMAND_MET)
        settle_end(s, DEMAND_AGAIN, 0);
    else if (result == GATE_DEMAND_ASK)
        settle_end(s, DEMAND_ASK, 0);
    else
        fail(s);
}

static void satisfied(struct settle *s)
{
    if (s->no_policy) {
        gate_demand(s->call, &(struct gate_demand){s->upstream, NULL}, no_policy_taken, s);
        return;
    }
    gate_demand_keep_key(s->call, s->upstream, s->client.key);
    settle_end(s, DEMAND_AGAIN, 0);
}

static void wipe_ordered(void *ctx, enum gate_wipe_result result)
{
    struct settle *s = ctx;
    if (is_left(s)) return;
    switch (result) {
    case GATE_WIPE_ORDERED: settle_end(s, DEMAND_ASK, 0); break;
    case GATE_WIPE_ENDED:
        pv_client_wiped(&s->client, 1, &s->out);
        act(s);
        break;
    case GATE_WIPE_FORBIDDEN: settle_end(s, DEMAND_REFUSED, 129); break;
    case GATE_WIPE_FAILED: fail(s); break;
    }
}

static void give_up(struct settle *s)
{
    switch (s->out.failure) {
    case PV_FAIL_CREDENTIALS: settle_end(s, DEMAND_REFUSED, 401); break;
    case PV_FAIL_REFUSED:
    case PV_FAIL_BLOCKED:
    case PV_FAIL_CANNOT_KEEP:
        settle_end(s, DEMAND_REFUSED, s->out.status > 100 ? s->out.status : 139);
        break;
    default: fail(s);
    }
}

static void act(struct settle *s)
{
    /* Settings of the device's own passes through, which says the same. */
    while (s->out.action == PV_DO_INFORM)
        pv_client_answer(&s->client, &(struct pv_client_in){.http = 200}, &s->out);
    switch (s->out.action) {
    case PV_DO_ASK:
        if (s->out.device_info && !s->knows_info)
            read_info(s);
        else
            send(s);
        break;
    case PV_DO_ACK:
    case PV_DO_POLL:
    case PV_DO_WIPE_ACK: send(s); break;
    case PV_DO_WIPE: gate_upstream_wipe(s->call, s->upstream, s->out.wipe, wipe_ordered, s); break;
    case PV_DO_COMMAND: satisfied(s); break;
    default: give_up(s);
    }
}

void settle_run(struct settle *s)
{
    s->client = (struct pv_client){.version = s->call->req.version, .key = s->key};
    pv_client_command(&s->client, &s->out);
    s->in = (struct pv_client_in){.http = s->http, .status = s->status};
    pv_client_answer(&s->client, &s->in, &s->out);
    if (!is_left(s)) act(s);
}

bool settle_cancel(struct settle *s)
{
    if (!s->asking) return false;
    upstream_cancel(&s->asked);
    s->asking = false;
    return true;
}

void settle_free(struct settle *s)
{
    if (!s) return;
    if (s->authorization) explicit_bzero(s->authorization, strlen(s->authorization));
    free(s->authorization);
    free(s->agent);
    free(s->body);
    pv_arena_destroy(&s->arena);
    json_decref(s->info_json);
    free(s);
}

/* The Provision command: reads what is asked, lets the machine decide, answers in the order of
 * the schema. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/server/gate/inner.h"
#include "src/server/observe/log.h"

#define SMALL_ANSWER 512 /* one without a policy */

static const char *const action_names[] = {
#define ACTION_NAME(id, text) [PV_ACT_##id] = text,
    PV_ACTIONS(ACTION_NAME)
#undef ACTION_NAME
};

static void log_step(struct step *s)
{
    const struct call *c = &s->call->call;
    char sent[12], told[12];
    if (s->call->quiet || !log_on(LOG_INFO)) return;
    if (s->bad && call_may_log(c))
        LOG(LOG_INFO, call_session(c), "provision-bad", KV_TEXT("user", c->user),
            KV_TEXT("device", c->req.device_id), KV_TEXT("why", s->bad));
    pv_key_mask(s->in.key, sent);
    pv_key_mask((struct pv_sent_key){s->out.key ? PV_KEY_NUMBER : PV_KEY_ABSENT, s->out.key}, told);
    LOG(LOG_INFO, call_session(c), "provision", KV_TEXT("user", c->user),
        KV_TEXT("device", c->req.device_id), KV_TEXT("version", pv_version_text(c->req.version)),
        KV_TEXT("action", action_names[s->out.action]), KV_UINT("status", s->out.status),
        KV_TEXT("reason", pv_reason_name(s->out.reason)), KV_UINT("revision", s->policy->id),
        KV_TEXT("sent", sent), KV_TEXT("key", told), KV_TEXT("was", pv_state_text(s->out.before)),
        KV_TEXT("is", pv_state_text(s->out.after)));
}

static void policy_part(const struct step *s, unsigned status, struct pv_provision_answer *a)
{
    a->has_policy = true;
    a->policy_type = pv_policy_type(s->call->call.req.version);
    a->policy_status = status;
    if (s->out.key) snprintf(a->key, sizeof a->key, "%u", s->out.key);
}

static struct pv_provision_answer answer_of(const struct step *s)
{
    struct pv_provision_answer a = {.status = 1, .device_info_status = s->info ? 1 : 0};
    switch (s->out.action) {
    case PV_ACT_OFFER:
        policy_part(s, 1, &a);
        a.policy = &s->policy->policy;
        break;
    case PV_ACT_CONFIRM: policy_part(s, 1, &a); break;
    case PV_ACT_POLICY_STATUS: policy_part(s, s->out.status, &a); break;
    case PV_ACT_PROVISION_STATUS: a.status = s->out.status; break;
    case PV_ACT_DIRECTIVE:
        a.status = s->out.status ? s->out.status : 1;
        a.wipe = s->out.wipe;
        break;
    default: /* PLAIN */ break;
    }
    return a;
}

/* Below 14.0 an HTTP code stands for every Status from 101 on (MS-ASCMD 2.2.2), but the verdict
 * over an acknowledgement has none: it is in the body at every version. */
bool provision_by_http(const struct pv_server_in *in, const struct pv_server_out *out)
{
    return out->action == PV_ACT_PROVISION_STATUS && out->status > 100 && in->version < PV_V14_0 &&
           out->reason != PV_WHY_PARTIAL_REFUSED && out->reason != PV_WHY_NOT_APPLIED_REFUSED &&
           out->reason != PV_WHY_EXTERNAL_REFUSED;
}

static void send(struct step *s)
{
    struct call *c = &s->call->call;
    const struct pv_provision_answer answer = answer_of(s);
    size_t cap = answer.policy ? s->policy->answer_size[c->req.version] : SMALL_ANSWER, len;
    uint8_t *body = malloc(cap);
    enum pv_err err =
        body ? pv_provision_answer_write(&answer, c->req.version, body, cap, &len) : PV_E_NOMEM;
    if (err == PV_OK) {
        call_answer(c, body, len);
    } else {
        LOG(LOG_ERROR, call_session(c), "answer-failed", KV_TEXT("error", pv_err_name(err)));
        call_http(c, 503, RETRY_AFTER_S);
    }
    free(body);
}

static void stepped(struct step *s, enum step_result result)
{
    struct call *c = &s->call->call;
    if (result != STEP_DONE) {
        call_http(c, 503, RETRY_AFTER_S);
        return;
    }
    log_step(s);
    if (s->out.action == PV_ACT_CONFIRM)
        atomic_fetch_add_explicit(&c->gate->handshakes, 1, memory_order_relaxed);
    demand_wiped(s);
    if (provision_by_http(&s->in, &s->out))
        call_refuse(c, s->out.status);
    else
        send(s);
}

void provision_serve(struct call *c)
{
    static const enum pv_event events[] = {
        [PV_ASK_POLL] = PV_EV_POLL,         [PV_ASK_POLICY] = PV_EV_ASK, [PV_ASK_ACK] = PV_EV_ACK,
        [PV_ASK_WIPE_ACK] = PV_EV_WIPE_ACK, [PV_ASK_BAD] = PV_EV_BAD,
    };
    struct pv_ask *ask;
    struct step *s;
    if (!call_decode(c)) return;
    ask = PV_NEW(&c->arena, struct pv_ask, 1);
    if (!ask || pv_ask_read(c->body, c->req.version, &c->arena, ask) != PV_OK) {
        call_http(c, 503, RETRY_AFTER_S);
        return;
    }
    s = step_create(gate_call_of(c));
    if (!s) return;
    s->machine = s->fresh = true;
    s->bad = ask->kind == PV_ASK_BAD ? ask->why : NULL;
    s->in = (struct pv_server_in){
        .event = events[ask->kind],
        .key = ask->key,
        .status = ask->status,
        .wipe = ask->wipe,
        .type_fits = ask->type_fits,
        .has_device_info = ask->has_device_info,
    };
    s->info = ask->has_device_info && ask->kind != PV_ASK_BAD ? &ask->device_info : NULL;
    s->done = stepped;
    step_start(s);
}

/* Who asks, how does the policy see it: the part of the gate that every command passes. */
#include <string.h>
#include <time.h>

#include "src/server/gate/inner.h"
#include "src/server/gate/trail/track.h"
#include "src/server/observe/log.h"

void device_save_behind(struct gate *g, struct shard *s, struct device *d,
                        const struct pv_partnership *before, int64_t now, const struct cause *cause)
{
    struct pv_partnership p;
    struct note n = {0};
    d->unsaved = true;
    if (desk_taken(&d->desk))
        return; /* what is under way must not be overtaken; it writes again when it ends */
    if (d->owner->stale)
        return; /* the store may hold what nobody here knows, under the very tag that is expected */
    const struct revision *policy = policy_of(s, d);
    device_partnership(d, &p);
    d->unsaved = !policy ||
                 !note_device(&n, g, d, before, &p, &policy->facts[d->version], now, cause) ||
                 !device_submit(g, d, n.changes, n.count, NULL);
    if (!d->unsaved) d->state = (uint8_t)n.state;
    d->saved_at = d->unsaved ? 0 : (uint32_t)now;
    note_end(&n);
}

/* What rules look at is written soon, or a kill -9 would have them decide on what the device was;
 * who changes it with every request does not write with every request. */
static void save_soon(struct device *d, int64_t now)
{
    int64_t age = now - d->saved_at;
    if (age >= DEVICE_SAVE_S - DEVICE_FACE_SAVE_S) return; /* it is due soon */
    int64_t wait = age < DEVICE_FACE_SAVE_S ? DEVICE_FACE_SAVE_S : 0;
    d->saved_at = (uint32_t)(now - DEVICE_SAVE_S + wait);
}

/* What the device says of itself is kept at once, but written only now and then. */
static void device_seen(struct gate_call *gc, struct shard *s, struct device *d, int64_t now)
{
    const struct pv_request *req = &gc->call.req;
    const char *agent = http_field(gc->call.http, "User-Agent");
    const char *const texts[KIND_TEXTS] = {
        [KIND_TYPE] = req->device_type,
        [KIND_AGENT] = agent ? agent : "",
    };
    bool other = d->version != (uint8_t)req->version || !d->first_seen;
    if (d->version != (uint8_t)req->version) d->ruled = 0;
    d->version = (uint8_t)req->version;
    if (!d->first_seen) d->first_seen = (uint32_t)now;
    d->last_seen = (uint32_t)now;
    struct kind *before = track_face(d);
    (void)device_set_kind(s, d, texts); /* without memory: the next time */
    track_seen(d, gc->call.gate, s, before, now);
    d->unsaved = true;
    if (other || d->kind != before) save_soon(d, now);
}

bool judge_device(struct gate_call *gc, struct shard *s, int64_t now, bool *full_out)
{
    struct call *c = &gc->call;
    struct device *d = owner_device(shard_owner(s, c->user), c->req.device_id);
    if (!d) {
        d = device_add(s, c->user, c->req.device_id, full_out);
        if (!d) return false;
        track_new(c->gate, d, now);
    }
    device_seen(gc, s, d, now);
    c->device = device_hold(d);
    return true;
}

void judge_no_device(struct gate_call *gc, bool full)
{
    struct call *c = &gc->call;
    if (track_may_tell(c->gate, c->user, time(NULL)))
        LOG(LOG_WARN, call_session(c), "device-not-kept", KV_TEXT("user", c->user),
            KV_TEXT("device", c->req.device_id),
            KV_TEXT("why", full ? "the user has too many devices" : "out of memory"));
    if (full)
        call_refuse(c, 177);
    else
        call_http(c, 503, RETRY_AFTER_S);
}

struct pv_server_in judge_facts(const struct gate_call *gc, const struct revision *policy,
                                enum pv_event event, int64_t now)
{
    const struct pv_request *req = &gc->call.req;
    return (struct pv_server_in){
        .event = event,
        .version = req->version,
        .now = now,
        .key = req->key,
        .require_device_info = config_now(gc->call.gate->config)->require_device_information,
        .policy = policy->facts[req->version],
    };
}

/* ---- commands ---- */
static void act(struct gate_call *gc, const struct pv_server_out *out, uint32_t expected,
                void (*go)(struct gate_call *gc))
{
    switch (out->action) {
    case PV_ACT_INBOX_ONLY:
    case PV_ACT_ALLOW:
        gc->call.inbox_only = out->action == PV_ACT_INBOX_ONLY;
        go(gc);
        return;
    case PV_ACT_PING_7: call_status(&gc->call, 7); return;
    default: call_refused(gc, out, expected);
    }
}

static void step_failed(struct gate_call *gc, enum pv_err err)
{
    LOG(LOG_ERROR, call_session(&gc->call), "machine-failed", KV_TEXT("error", pv_err_name(err)));
    call_http(&gc->call, 503, RETRY_AFTER_S);
}

/* A command that changes the partnership in a way that must be on the disk first. Meanwhile the lease may
 * have run out, which the user's flags and the lists are under, too. */
static void stepped(struct step *s, enum step_result result)
{
    struct gate_call *gc = s->call;
    if (result == STEP_DONE && gate_is_heard(gc->call.gate))
        act(gc, &s->out, s->expected, s->go);
    else
        call_http(&gc->call, 503, RETRY_AFTER_S);
}

static void judge_durably(struct gate_call *gc, enum pv_event event,
                          void (*go)(struct gate_call *gc))
{
    struct step *s = step_create(gc);
    if (!s) return;
    s->machine = true;
    s->in.event = event;
    s->in.key = gc->call.req.key;
    s->done = stepped;
    s->go = go;
    step_start(s);
}

/* In memory at once, on the disk soon: what the step has changed, a state that is news, and when
 * the device was seen, now and then. false: no memory. */
static bool judge_keep(struct gate_call *gc, struct shard *s, const struct pv_partnership *before,
                       const struct pv_partnership *after, const struct pv_server_out *out,
                       int64_t now)
{
    const struct cause cause = {.reason = pv_reason_name(out->reason)};
    struct device *d = gc->call.device;
    bool changed = out->store == PV_STORE_BEHIND;
    if (changed && !device_reserve(d, after)) return false;
    if (changed) device_keep(d, after);
    /* A time to come is from before the clock was set back. */
    bool due = now - d->saved_at >= DEVICE_SAVE_S || now < d->saved_at;
    if (changed || out->after != (enum pv_state)d->state || due)
        device_save_behind(gc->call.gate, s, d, before, now, &cause);
    return true;
}

/* A device that memory does not know has no key, unless it has got it from another server just now. */
static bool is_unknown(const struct gate_call *gc, const struct shard *s)
{
    const struct call *c = &gc->call;
    const struct device *d =
        owner_device(shard_owner((struct shard *)s, c->user), c->req.device_id);
    return !d && call_may_doubt(gc, NULL);
}

/* Judged before, and removed since. */
static void forget_gone(struct call *c)
{
    if (!c->device || !c->device->gone) return;
    device_release(c->device);
    c->device = NULL;
}

static bool is_refused(const struct pv_server_out *out)
{
    return out->action != PV_ACT_ALLOW;
}

static void judge_again(struct gate_call *gc)
{
    judge_command(gc, gc->judged);
}

/* Is there a body? One that was lost on the way leaves no trace. One that a proxy has is there. */
static bool is_whole(const struct gate_call *gc)
{
    size_t len;
    uint64_t announced;
    http_body(gc->call.http, &len);
    return len > 0 || pv_cmd_info(gc->call.req.cmd)->empty_body || gc->forward ||
           http_body_is_stream(gc->call.http, &announced);
}

/* What memory makes of the command. A refusal that the store may know better about leaves no trace. */
struct judgement {
    bool keep, full;
    int64_t now;
    struct pv_partnership before, after;
    struct pv_server_in in;
    struct pv_server_out out;
    enum { JUDGED, TOLD, DOUBTED, NO_DEVICE, FAILED } end;
    enum pv_err err;
};

/* Shard locked; TOLD: no longer. */
static void judge_locked(struct gate_call *gc, struct shard *s, struct judgement *j,
                         enum pv_event event)
{
    struct call *c = &gc->call;
    j->end = TOLD;
    forget_gone(c);
    if (j->keep && !c->device && call_slowed(gc, s, track_wait_new(gc, s, j->now))) return;
    j->end = DOUBTED;
    if (!c->device && is_unknown(gc, s)) return;
    j->end = NO_DEVICE;
    if (j->keep && !c->device && !judge_device(gc, s, j->now, &j->full)) return;
    struct device *d =
        j->keep ? c->device : owner_device(shard_owner(s, c->user), c->req.device_id);
    if (d) {
        device_judge_access(c->gate, s, d); /* rules may have changed since its last request */
        device_partnership(d, &j->after);
    }
    j->before = j->after;
    struct revision *policy = call_policy(c, s, d);
    j->end = FAILED;
    j->err = PV_E_NOMEM;
    if (!policy) return;
    j->in = judge_facts(gc, policy, event, j->now);
    j->end = TOLD;
    if (j->keep && call_slowed(gc, s, track_wait(gc, s, &j->in, policy->id, j->now))) return;
    j->err = pv_server_step(&j->after, &j->in, &j->out);
    j->end = j->err ? FAILED : JUDGED;
    if (j->err || !d) return;
    access_refine(c->gate, s, d, &j->out);
    if (!is_refused(&j->out)) return;
    if (call_may_doubt(gc, d))
        j->end = DOUBTED;
    else
        call_denied(gc, d);
}

void judge_command(struct gate_call *gc, void (*go)(struct gate_call *gc))
{
    struct call *c = &gc->call;
    const struct pv_cmd_info *info = pv_cmd_info(c->req.cmd);
    enum pv_event event = info->key_rule == PV_KEY_PARTNERSHIP ? PV_EV_PING : PV_EV_COMMAND;
    struct judgement j = {.keep = is_whole(gc), .now = time(NULL)};

    struct shard *s = table_lock(c->gate->table, c->user);
    judge_locked(gc, s, &j, event);
    if (j.end == TOLD) return;
    bool judged = j.end == JUDGED && j.keep, durably = judged && j.out.store == PV_STORE_FIRST;
    if (judged && !durably && !judge_keep(gc, s, &j.before, &j.after, &j.out, j.now)) {
        j.end = FAILED;
        j.err = PV_E_NOMEM;
    } else if (judged && !durably) {
        track_step(gc, s, &j.in, &j.out, &j.before, &j.after, j.now);
    }
    table_unlock(s);

    gc->judged = go;
    if (j.end == FAILED)
        step_failed(gc, j.err);
    else if (j.end == NO_DEVICE)
        judge_no_device(gc, j.full);
    else if (j.end == DOUBTED)
        call_check(gc, judge_again);
    else if (durably)
        judge_durably(gc, event, go);
    else
        act(gc, &j.out, j.before.key, go);
}

static void still_in(struct gate_call *gc)
{
    call_http(&gc->call, 503, RETRY_AFTER_S);
}

static void judge_still(struct gate_call *gc)
{
    judge_command(gc, still_in);
}

void call_judge_again(struct call *c)
{
    struct gate_call *gc = gate_call_of(c);
    device_release(c->device);
    c->device = NULL;
    gc->checked = false;
    call_believe(gc, judge_still);
}

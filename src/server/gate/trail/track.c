#include "src/server/gate/trail/track.h"

#include <string.h>
#include <time.h>

#include "src/server/gate/trail/keeper.h"
#include "src/server/observe/log.h"

/* NULL: no memory. The trail is the most recently used one then. */
static struct trail *trail_of(struct gate *g, struct shard *s, struct device *d)
{
    struct trail *evicted, *t = trail_take(&s->trails, d, &evicted);
    if (evicted) keeper_evicted(g, s, evicted);
    return t;
}

/* ---- faces ---- */
struct kind *track_face(struct device *d)
{
    if (!*device_text(d, KIND_TYPE) && !*device_text(d, KIND_AGENT)) return NULL;
    d->kind->devices++;
    return d->kind;
}

void track_seen(struct device *d, struct gate *g, struct shard *s, struct kind *before, int64_t now)
{
    if (d->extra && !access_loop_until(d, now)) d->extra->loop_until = 0;
    if (!before) return;
    if (before != d->kind && !kind_same_face(before, d->kind)) {
        struct trail *t = trail_of(g, s, d);
        if (t) {
            trail_changed_face(t, &s->kinds, before, d->kind);
            keeper_want(g);
        }
    }
    kinds_drop(&s->kinds, before);
}

/* ---- new ids ---- */
void track_new(const struct gate *g, struct device *d, int64_t now)
{
    if (config_now(g->config)->damping)
        heat_add(&d->owner->new_ids, DAMPING_NEW_IDS_HALF_LIFE, now, 1);
}

/* Its handshake is finished: it was no id of a loop. */
static void take_back_new(struct device *d, int64_t now)
{
    heat_add(&d->owner->new_ids, DAMPING_NEW_IDS_HALF_LIFE, now, -1);
}

unsigned track_wait_new(const struct gate_call *gc, struct shard *s, int64_t now)
{
    const struct call *c = &gc->call;
    struct owner *o = shard_owner(s, c->user);
    if (!config_now(c->gate->config)->damping || !o || owner_device(o, c->req.device_id)) return 0;
    return damping_new_id_wait(&o->new_ids, now);
}

/* ---- lines of the log ---- */
/* o NULL: a user who has nothing here. */
static bool may_tell(struct shard *s, struct owner *o, int64_t now)
{
    uint32_t *told_at = o ? &o->told_at : &s->told_at;
    bool may = *told_at != (uint32_t)now;
    *told_at = (uint32_t)now;
    return may;
}

bool track_may_tell(const struct gate *g, const char *user, int64_t now)
{
    struct shard *s = table_lock(g->table, user);
    bool may = may_tell(s, shard_owner(s, user), now);
    table_unlock(s);
    return may;
}

/* Whoever writes its trail tells how many lines there were too many. */
static bool may_log(struct gate *g, struct shard *s, struct device *d, int64_t now)
{
    if (damping_may_log(&d->log_lines, now)) return true;
    struct trail *t = trail_of(g, s, d);
    if (!t) return false;
    t->log_dropped++;
    t->dirty = true;
    keeper_want(g);
    return false;
}

bool call_may_log(const struct call *c)
{
    if (!log_on(LOG_INFO)) return false;
    int64_t now = time(NULL);
    struct shard *s = table_lock(c->gate->table, c->user);
    struct owner *o = shard_owner(s, c->user);
    struct device *d = owner_device(o, c->req.device_id);
    bool may = d ? may_log(c->gate, s, d, now) : may_tell(s, o, now);
    table_unlock(s);
    return may;
}

/* ---- loops ---- */
/* A device that is kept out anyway costs as little as a 503, and one that is to be wiped must be
 * told. */
static bool is_out_of_scope(const struct device *d)
{
    switch ((enum pv_wipe_state)d->wipe_state) {
    case PV_WIPE_STATE_REQUESTED:
    case PV_WIPE_STATE_SENT:
    case PV_WIPE_STATE_FAILED: return true;
    default: return d->shut || d->access == PV_ACCESS_BLOCKED;
    }
}

/* An acknowledgement of an open offer ends a loop, unless it says again what was not accepted. */
static bool ends_a_loop(const struct device *d, const struct pv_server_in *said)
{
    bool open = false;
    if (said->event != PV_EV_ACK || !d->extra) return false;
    if (d->outcome == PV_OUTCOME_REFUSED && d->said == said->status) return false;
    for (size_t i = 0; i < PV_OFFER_MAX; i++) open |= pv_key_is(said->key, d->extra->offers[i].key);
    return open;
}

static bool is_command(enum pv_event event)
{
    return event == PV_EV_COMMAND || event == PV_EV_PING;
}

/* Written behind: after a kill -9 within a moment the device loops once more. While a step of the
 * device is under way its write would lose what is to be told; the next request will do. */
static void block(struct gate *g, struct shard *s, struct device *d, struct trail *t, int64_t now)
{
    enum damping_kind kind = DAMPING_HANDSHAKES;
    struct pv_partnership before;
    struct extra *e = desk_taken(&d->desk) ? NULL : device_extra(d);
    if (!e) return;
    damping_slowed(&t->damping, now, &kind);
    device_partnership(d, &before);
    e->loop_until = now + DAMPING_BLOCK_S;
    t->damping = (struct damping){0};
    d->damped = false;
    device_judge_access(g, s, d);
    const struct cause cause = {
        .act = "device.loop-blocked", .reason = damping_text(kind), .event = "loop-blocked"};
    device_save_behind(g, s, d, &before, now, &cause);
    device_wake(g, d);
}

static struct trail_entry entry_of(const struct gate_call *gc, enum trail_step step,
                                   enum pv_event event, struct pv_sent_key sent)
{
    return (struct trail_entry){
        .step = (uint8_t)step,
        .cmd = (uint8_t)gc->call.req.cmd,
        .event = (uint8_t)event,
        .version = (uint8_t)gc->call.req.version,
        .sent = trail_key(sent),
    };
}

unsigned track_wait(struct gate_call *gc, struct shard *s, const struct pv_server_in *said,
                    uint64_t revision, int64_t now)
{
    struct device *d = gc->call.device;
    enum damping_kind kind;
    if (!d->damped || is_out_of_scope(d) || ends_a_loop(d, said)) return 0;
    struct trail *t = trail_find(&s->trails, d);
    if (t) damping_policy(&t->damping, revision);
    if (!t || !damping_slowed(&t->damping, now, &kind)) {
        d->damped = false;
        return 0;
    }
    unsigned wait = damping_wait(
        &t->damping, is_command(said->event) ? DAMPING_COMMANDS : DAMPING_PROVISIONS, now);
    if (!wait) return 0;
    struct trail_entry e = entry_of(gc, TRAIL_SLOWED, said->event, said->key);
    e.http = 503;
    e.reason = PV_WHY_LOOP;
    e.revision = (uint32_t)revision;
    trail_add(t, &e, now);
    d->troubled = true;
    gc->quiet = !may_log(gc->call.gate, s, d, now);
    if (damping_is_loop(&t->damping, now)) block(gc->call.gate, s, d, t, now);
    keeper_want(gc->call.gate);
    return wait;
}

void track_forgive(struct shard *s, struct device *d)
{
    struct trail *t = trail_find(&s->trails, d);
    if (t) t->damping = (struct damping){0};
    if (d->extra) d->extra->loop_until = 0;
    d->damped = false;
}

bool call_slowed(struct gate_call *gc, struct shard *s, unsigned wait)
{
    struct call *c = &gc->call;
    if (!wait) return false;
    table_unlock(s);
    if (c->device ? !gc->quiet : track_may_tell(c->gate, c->user, time(NULL)))
        LOG(LOG_INFO, call_session(c), "slow", KV_TEXT("user", c->user),
            KV_TEXT("device", c->req.device_id), KV_TEXT("command", pv_cmd_info(c->req.cmd)->name),
            KV_UINT("retry_after", wait));
    call_http(c, 503, wait);
    return true;
}

/* ---- steps ---- */
static enum trail_step step_of(const struct pv_server_in *in, const struct pv_server_out *out)
{
    switch (out->action) {
    case PV_ACT_REFUSE: return TRAIL_REFUSED;
    case PV_ACT_OFFER: return TRAIL_OFFERED;
    case PV_ACT_CONFIRM: return TRAIL_CONFIRMED;
    case PV_ACT_DIRECTIVE: return TRAIL_DIRECTIVE;
    case PV_ACT_PLAIN:
        return in->event == PV_EV_WIPE_ACK && out->wipe_changed ? TRAIL_WIPED : TRAIL_ANSWERED;
    case PV_ACT_POLICY_STATUS:
    case PV_ACT_PROVISION_STATUS: return TRAIL_NOT_ACCEPTED;
    default: return TRAIL_LET_IN;
    }
}

static void count(struct trail *t, const struct pv_server_in *in, const struct pv_server_out *out,
                  const struct pv_partnership *before, const struct pv_partnership *after,
                  int64_t now)
{
    struct damping *damping = &t->damping;
    damping_policy(damping, in->policy.revision);
    switch (out->action) {
    case PV_ACT_REFUSE: damping_count(damping, DAMPING_REFUSALS, now); break;
    case PV_ACT_OFFER:
    case PV_ACT_PLAIN: damping_count(damping, DAMPING_OFFERS, now); break;
    case PV_ACT_POLICY_STATUS:
    case PV_ACT_PROVISION_STATUS: damping_count(damping, DAMPING_DECLINES, now); break;
    case PV_ACT_CONFIRM:
        damping_confirmed(damping,
                          before->key && out->before != PV_STATE_REFRESH_DUE &&
                              memcmp(before->key_hash, after->key_hash, PV_HASH_LEN) == 0,
                          now);
        break;
    default: break;
    }
}

/* The key that the device should have sent; of an acknowledgement that of the newest offer. */
static uint32_t expected_key(const struct pv_server_in *in, const struct pv_partnership *before)
{
    uint32_t key = 0;
    if (in->event != PV_EV_ACK) return before->key;
    for (size_t i = 0; i < PV_OFFER_MAX; i++)
        if (before->offers[i].key) key = before->offers[i].key;
    return key;
}

static struct pv_sent_key key_of(uint32_t key)
{
    return (struct pv_sent_key){key ? PV_KEY_NUMBER : PV_KEY_ABSENT, key};
}

static unsigned http_of(const struct gate_call *gc, const struct pv_server_in *in,
                        const struct pv_server_out *out)
{
    struct pv_refusal r;
    if (out->action != PV_ACT_REFUSE && !provision_by_http(in, out)) return 200;
    pv_refuse(in->version, gc->call.req.cmd, out->status, gc->call.req.key.kind != PV_KEY_ABSENT,
              &r);
    return r.http;
}

/* The first command that passes after some trouble is worth a line of the trail. */
static void let_in(struct gate_call *gc, struct shard *s, const struct pv_server_in *in,
                   const struct pv_server_out *out, const struct pv_partnership *before,
                   int64_t now)
{
    struct device *d = gc->call.device;
    if (out->reason == PV_WHY_NON_PROVISIONABLE && before->outcome != PV_OUTCOME_NON_PROVISIONABLE)
        take_back_new(d, now);
    if (!d->troubled) return;
    struct trail *t = trail_of(gc->call.gate, s, d);
    if (!t) return;
    struct trail_entry e = entry_of(gc, TRAIL_LET_IN, in->event, in->key);
    e.expected = trail_key(key_of(before->key));
    e.reason = (uint8_t)out->reason;
    e.revision = (uint32_t)in->policy.revision;
    trail_add(t, &e, now);
    d->troubled = false;
    keeper_want(gc->call.gate);
}

void track_step(struct gate_call *gc, struct shard *s, const struct pv_server_in *in,
                const struct pv_server_out *out, const struct pv_partnership *before,
                const struct pv_partnership *after, int64_t now)
{
    struct gate *g = gc->call.gate;
    struct device *d = gc->call.device;
    enum trail_step step = step_of(in, out);
    if (step == TRAIL_LET_IN) {
        if (out->action != PV_ACT_PING_7) let_in(gc, s, in, out, before, now);
        return;
    }
    if (out->action == PV_ACT_CONFIRM && !before->provisioned_once) take_back_new(d, now);
    struct trail *t = trail_of(g, s, d);
    if (!t) return;
    struct trail_entry e = entry_of(gc, step, in->event, in->key);
    e.expected = trail_key(key_of(expected_key(in, before)));
    e.given = trail_key(key_of(out->key));
    e.reason = (uint8_t)out->reason;
    e.status = (uint16_t)out->status;
    e.http = (uint16_t)http_of(gc, in, out);
    e.revision = (uint32_t)in->policy.revision;
    e.said = (uint8_t)(in->event == PV_EV_ACK || in->event == PV_EV_WIPE_ACK ? in->status : 0);
    trail_add(t, &e, now);
    d->troubled = true;
    gc->quiet = !may_log(g, s, d, now);
    if (config_now(g->config)->damping && !is_out_of_scope(d)) {
        enum damping_kind kind;
        count(t, in, out, before, after, now);
        d->damped = damping_slowed(&t->damping, now, &kind) != 0;
    }
    keeper_want(g);
}

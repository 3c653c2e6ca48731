/* What an upstream demands of a device: durable before it counts, and part of the policy that applies
 * to the device from then on. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "src/json_text.h"
#include "src/server/gate/inner.h"
#include "src/server/gate/order.h"
#include "src/server/observe/log.h"

/* ---- the policy that applies ---- */
struct revision *policy_in(const struct book *b, const struct shard *s, const struct device *d)
{
    struct revision *plain = policy_for(b, d->owner->name, d->id);
    const struct bond *bond = d->bound ? bond_find(&s->bonds, d) : NULL;
    return bond ? claim_over(bond->claim, plain) : plain;
}

struct revision *policy_of(const struct shard *s, const struct device *d)
{
    return policy_in(s->book, s, d);
}

struct revision *call_policy(const struct call *c, const struct shard *s, const struct device *d)
{
    return d ? policy_of(s, d) : policy_for(s->book, c->user, c->req.device_id);
}

/* ---- as the store has it ---- */
/* A DeviceId has letters and digits only: the last slash stands before it. */
static char *name_of(const struct device *d)
{
    char *name;
    return asprintf(&name, "%s/%s", d->owner->name, d->id) < 0 ? NULL : name;
}

static char *json_of(const struct bond *b)
{
    char told[ORDER_WIPE_ID_TEXT];
    wipe_id_text(b->told, told);
    json_t *json = json_pack("{s:s,s:I,s:s}", "claim", b->claim->name, "key", (json_int_t)b->key,
                             "told", told);
    char *text = text_of_json(json, JSON_COMPACT);
    json_decref(json);
    return text;
}

void demand_write(struct gate *g, struct device *d, const struct bond *b)
{
    char *name = name_of(d), *json = json_of(b), *claim;
    bool ok = claim_to_write(b->claim, &claim) && name && json;
    const struct store_change changes[] = {
        {.kind = STORE_PUT_ITEM, .u.item = {.kind = BOND_KIND, .name = name, .json = json}},
        {.kind = STORE_PUT_ITEM,
         .u.item = {.kind = CLAIM_KIND, .name = b->claim->name, .json = claim}},
    };
    /* What is lost so is asked for again, of the upstream and not of the device. */
    if (!ok || !device_submit(g, d, changes, claim ? 2 : 1, NULL))
        LOG(LOG_WARN, 0, "upstream-key-not-kept", KV_TEXT("user", d->owner->name),
            KV_TEXT("device", d->id));
    free(name);
    free(json);
    free(claim);
}

/* ---- part of a step ---- */
/* The bond that the device has once the step is stored. false: no memory. */
static bool make_bond(struct step *s, struct shard *shard, const struct bond *before)
{
    const struct device *d = s->call->call.device;
    struct bond *b = calloc(1, sizeof *b);
    if (!b) return false;
    b->claim = claim_hold(s->claim);
    if (before && strcmp(before->claim->upstream, s->claim->upstream) == 0) {
        if (s->claim->saved) b->key = before->key; /* who has no policy gives no key */
        b->told = before->told;
    }
    s->bond = b;
    s->bond_name = name_of(d);
    s->bond_json = json_of(b);
    return s->bond_name && s->bond_json && claim_to_write(s->claim, &s->claim_json) &&
           bonds_reserve(&shard->bonds);
}

bool demand_take(struct step *s, struct shard *shard)
{
    const struct call *c = &s->call->call;
    const struct bond *before = c->device->bound ? bond_find(&shard->bonds, c->device) : NULL;
    const struct revision *both =
        claim_over(s->claim, policy_for(shard->book, c->user, c->req.device_id));
    if (!both) return false;
    s->impossible = both->closed;
    if (both->closed || (before ? before->claim == s->claim : !s->claim->saved)) return true;
    return make_bond(s, shard, before);
}

void demand_note(struct step *s, struct note *n)
{
    const struct store_change claim = {
        .kind = STORE_PUT_ITEM,
        .u.item = {.kind = CLAIM_KIND, .name = s->claim->name, .json = s->claim_json}};
    const struct store_change bond = {
        .kind = STORE_PUT_ITEM,
        .u.item = {.kind = BOND_KIND, .name = s->bond_name, .json = s->bond_json}};
    if (s->claim_json) note_add(n, &claim);
    note_add(n, &bond);
}

void demand_keep(struct step *s, struct shard *shard)
{
    struct device *d = s->call->call.device;
    claim_written(s->claim);
    bond_free(bond_put(&shard->bonds, s->bond, d));
    s->bond = NULL;
    d->bound = true;
    device_wake(s->call->call.gate, d);
}

void demand_undo(struct step *s)
{
    bond_free(s->bond);
    free(s->claim_json);
    free(s->bond_json);
    free(s->bond_name);
    s->bond = NULL;
    s->claim_json = s->bond_json = s->bond_name = NULL;
}

/* ---- what upstream/ asks for ---- */
/* The Status with which a device confirmed the policy of its key. A later acknowledgement that was not
 * accepted says nothing about that one: then the worse of what may have been accepted. */
static unsigned said_of(const struct device *d, const struct pv_policy_facts *policy)
{
    if (d->said && d->outcome != PV_OUTCOME_REFUSED) return d->said;
    return policy->allow_partial || policy->allow_external ? 2 : 1;
}

/* Without a policy of the upstream the gate has judged the device already, key or not. */
static enum gate_demand_result standing(struct step *s, unsigned *said_out)
{
    const struct call *c = &s->call->call;
    struct shard *shard = table_lock(c->gate->table, c->user);
    const struct device *d = c->device;
    const struct revision *both = policy_of(shard, d);
    enum gate_demand_result result = GATE_DEMAND_ASK;
    if (!both)
        result = GATE_DEMAND_FAILED;
    else if (d->key ? memcmp(d->key_hash, both->facts[c->req.version].hash, PV_HASH_LEN) == 0
                    : !s->claim->saved)
        result = GATE_DEMAND_MET;
    if (both) *said_out = said_of(d, &both->facts[c->req.version]);
    table_unlock(shard);
    return result;
}

static void stepped(struct step *s, enum step_result result)
{
    enum gate_demand_result to_tell = GATE_DEMAND_FAILED;
    unsigned said = 0;
    if (result == STEP_DONE) to_tell = s->impossible ? GATE_DEMAND_IMPOSSIBLE : standing(s, &said);
    s->demand_done(s->demand_ctx, to_tell, said);
}

void gate_demand(struct call *c, const struct gate_demand *demand,
                 void (*done)(void *ctx, enum gate_demand_result result, unsigned said), void *ctx)
{
    struct claim *claim;
    enum gate_result taken = claims_take(c->gate->claims, demand->upstream, demand->policy, &claim);
    struct step *s = taken == GATE_OK ? step_make(gate_call_of(c)) : NULL;
    if (s) {
        s->claim = claim;
        s->demand_done = done;
        s->demand_ctx = ctx;
        s->done = stepped;
        step_start(s);
        return;
    }
    if (taken == GATE_OK) claim_release(claim);
    done(ctx, taken == GATE_INVALID ? GATE_DEMAND_IMPOSSIBLE : GATE_DEMAND_FAILED, 0);
}

/* NULL: none of that upstream. Shard locked. */
static struct bond *bond_of(const struct call *c, const struct shard *s, const char *upstream)
{
    struct bond *b = c->device && c->device->bound ? bond_find(&s->bonds, c->device) : NULL;
    return b && strcmp(b->claim->upstream, upstream) == 0 ? b : NULL;
}

uint32_t gate_demand_key(const struct call *c, const char *upstream)
{
    struct shard *s = table_lock(c->gate->table, c->user);
    const struct bond *b = bond_of(c, s, upstream);
    uint32_t key = b ? b->key : 0;
    table_unlock(s);
    return key;
}

void gate_demand_keep_key(struct call *c, const char *upstream, uint32_t key)
{
    struct shard *s = table_lock(c->gate->table, c->user);
    struct bond *b = bond_of(c, s, upstream);
    if (b && b->key != key) {
        b->key = key;
        demand_write(c->gate, c->device, b);
    }
    table_unlock(s);
}

/* ---- upstreams that are no longer theirs ---- */
void gate_demand_sift(struct gate *g,
                      bool (*stays)(void *ctx, const char *user, const char *upstream), void *ctx)
{
    g->bond_stays = stays;
    g->bond_stays_ctx = ctx;
}

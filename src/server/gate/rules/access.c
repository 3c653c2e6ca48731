/* Who may come in at all: the administrator's word for a device, limits, loops, rules and the
 * default come together here. The order of decision is Exchange's (personal block, personal allow,
 * rule block, rule quarantine, rule allow, default), with what Exchange does not have where
 * docs/rules.md says. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "src/server/gate/inner.h"

/* device->ruled */
enum { RULED_UNKNOWN, RULED_BY_DEFAULT, RULED_BY_FIRST };

struct rule_facts access_facts(const struct device *d)
{
    return (struct rule_facts){
        .text =
            {
                [RULE_TYPE] = device_text(d, KIND_TYPE),
                [RULE_MODEL] = device_text(d, KIND_MODEL),
                [RULE_OS] = device_text(d, KIND_OS),
                [RULE_AGENT] = device_text(d, KIND_AGENT),
                [RULE_DEVICE_ID] = d->id,
            },
        .version = (enum pv_version)d->version,
    };
}

static struct verdict verdict_of(const struct rules *r, size_t index)
{
    if (index == r->count)
        return (struct verdict){(enum pv_access)r->otherwise, ACCESS_BY_DEFAULT, 0};
    return (struct verdict){(enum pv_access)r->at[index].access, ACCESS_BY_RULE, r->at[index].id};
}

int64_t access_loop_until(const struct device *d, int64_t now)
{
    int64_t until = d->extra ? d->extra->loop_until : 0;
    return now < until && until - now <= DAMPING_BLOCK_S ? until : 0;
}

/* What stands above every rule. false: nothing does. */
static bool above_rules(const struct gate *g, const struct device *d, struct verdict *v)
{
    *v = (struct verdict){PV_ACCESS_BLOCKED, ACCESS_BY_PERSONAL, 0};
    if (d->personal == PV_PERSONAL_BLOCK) return true;
    v->by = ACCESS_BY_LIMIT_VERSION;
    const struct spoken *spoken = g->spoken;
    if (d->version < spoken->least || d->version > spoken->most) return true;
    v->by = ACCESS_BY_LOOP;
    if (access_loop_until(d, time(NULL))) return true;
    v->by = ACCESS_BY_PERSONAL;
    v->access = d->personal == PV_PERSONAL_QUARANTINE ? PV_ACCESS_QUARANTINED : PV_ACCESS_OK;
    return d->personal != PV_PERSONAL_NONE;
}

/* Whom the rules let in needs a place. Devices that have one keep it. */
static struct verdict with_places(const struct gate *g, const struct device *d, struct verdict v)
{
    unsigned most = config_now(g->config)->devices_per_user;
    if (most && !d->in && d->owner->in >= most && v.access != PV_ACCESS_BLOCKED)
        v = (struct verdict){PV_ACCESS_BLOCKED, ACCESS_BY_LIMIT_DEVICES, 0};
    return v;
}

static void remember(struct device *d, const struct rules *r, size_t index)
{
    d->ruled = index == r->count ? RULED_BY_DEFAULT : (uint16_t)(RULED_BY_FIRST + index);
}

static size_t index_of(const struct device *d, const struct rules *r)
{
    return d->ruled == RULED_BY_DEFAULT ? r->count : (size_t)d->ruled - RULED_BY_FIRST;
}

struct verdict access_now(const struct gate *g, const struct shard *s, struct device *d)
{
    struct verdict v;
    if (above_rules(g, d, &v)) return v;
    if (d->ruled == RULED_UNKNOWN) {
        const struct rule_facts facts = access_facts(d);
        remember(d, s->rules, rules_decide(s->rules, &facts));
    }
    return with_places(g, d, verdict_of(s->rules, index_of(d, s->rules)));
}

static void forget(struct access_scan *scan)
{
    for (size_t i = 0; i < ACCESS_SCAN_PLACES; i++) {
        free(scan->memo[i].kind);
        scan->memo[i].kind = NULL;
    }
    rules_release(scan->now);
    scan->now = NULL;
}

void access_scan_finish(struct access_scan *scan)
{
    forget(scan);
}

/* What both rules say of the device. */
static struct access_memo decide(const struct shard *s, const struct device *d,
                                 struct access_scan *scan)
{
    bool by_id = s->rules->by_id || scan->then->by_id;
    struct access_memo *m =
        &scan->memo[((size_t)d->kind->hash * PV_VERSION_COUNT + d->version) % ACCESS_SCAN_PLACES];
    if (scan->now != s->rules) {
        forget(scan);
        scan->now = rules_hold(s->rules);
    }
    if (!by_id && m->kind && m->version == d->version && kind_same(m->kind, d->kind)) return *m;
    const struct rule_facts facts = access_facts(d);
    free(m->kind);
    *m = (struct access_memo){
        .kind = kind_copy(d->kind), /* without memory it is decided again */
        .version = d->version,
        .now = (uint16_t)(d->ruled ? index_of(d, s->rules) : rules_decide(s->rules, &facts)),
        .then = (uint16_t)rules_decide(scan->then, &facts),
    };
    return *m;
}

void access_compare(const struct gate *g, const struct shard *s, struct device *d,
                    struct access_scan *scan, struct verdict *now_out, struct verdict *then_out)
{
    if (above_rules(g, d, now_out)) {
        *then_out = *now_out;
        return;
    }
    const struct access_memo m = decide(s, d, scan);
    remember(d, s->rules, m.now);
    *now_out = with_places(g, d, verdict_of(s->rules, m.now));
    *then_out = with_places(g, d, verdict_of(scan->then, m.then));
}

void access_by_text(const struct verdict *v, char out[ACCESS_BY_TEXT])
{
    static const char *const texts[] = {
        [ACCESS_BY_DEFAULT] = "default",
        [ACCESS_BY_RULE] = "rule",
        [ACCESS_BY_PERSONAL] = "personal",
        [ACCESS_BY_LIMIT_DEVICES] = "limit devices_per_user",
        [ACCESS_BY_LIMIT_VERSION] = "limit version",
        [ACCESS_BY_LOOP] = "loop",
    };
    if (v->by == ACCESS_BY_RULE)
        snprintf(out, ACCESS_BY_TEXT, "rule %u", (unsigned)v->rule);
    else
        snprintf(out, ACCESS_BY_TEXT, "%s", texts[v->by]);
}

void device_judge_access(const struct gate *g, const struct shard *s, struct device *d)
{
    d->access = (uint8_t)access_now(g, s, d).access;
}

void access_refine(const struct gate *g, const struct shard *s, struct device *d,
                   struct pv_server_out *out)
{
    if (out->reason != PV_WHY_BLOCKED) return;
    const enum access_by by = access_now(g, s, d).by;
    if (by == ACCESS_BY_LOOP) out->reason = PV_WHY_LOOP;
    if (out->status == 129 && by == ACCESS_BY_LIMIT_DEVICES)
        out->status = 177; /* MaximumDevicesReached */
}

/* What is told of a device when it is written: the record, and in the same transaction what the
 * audit log and the notifier must know. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "src/json_text.h"
#include "src/server/gate/inner.h"
#include "src/server/gate/order.h"
#include "src/server/observe/log.h"
#include "src/server/observe/when.h"

/* What of a device the audit log follows. before and after are of the same device. */
struct standing {
    enum pv_state state;
    const struct pv_partnership *p; /* NULL: only the state is known */
};

static json_t *standing_json(const struct standing *s)
{
    const struct pv_partnership *p = s->p;
    const char *state = pv_state_text(s->state);
    if (!p) return json_pack("{s:s}", "state", state);
    return json_pack("{s:s,s:s,s:s,s:s,s:I}", "state", state, "personal",
                     pv_personal_text((enum pv_personal)p->personal), "outcome",
                     pv_outcome_text((enum pv_outcome)p->outcome), "wipe",
                     pv_wipe_state_text((enum pv_wipe_state)p->wipe_state), "revision",
                     (json_int_t)p->key_revision);
}

static json_t *when_json(int64_t at)
{
    char text[WHEN_TEXT];
    when_text(at, text);
    return json_string(text);
}

static json_t *wipe_id_json(const struct pv_partnership *p)
{
    char text[ORDER_WIPE_ID_TEXT];
    if (!p->wipe_id) return json_null();
    wipe_id_text(p->wipe_id, text);
    return json_string(text);
}

/* An object and the text of it, which the caller frees; NULL: no memory. */
static char *text_and_free(json_t *json)
{
    char *text = text_of_json(json, JSON_COMPACT);
    json_decref(json);
    return text;
}

/* after NULL: the device is forgotten. */
static char *audit_text(const struct device *d, const struct standing *before,
                        const struct standing *after, int64_t now, const struct cause *cause)
{
    const struct pv_partnership *p = after ? after->p : before->p;
    int64_t expires = p->wipe_expires_at;
    return text_and_free(
        json_pack("{s:o,s:o,s:s,s:o,s:o,s:s,s:s?,s:o,s:o*,s:o,s:o}", "at", when_json(now), "actor",
                  json_of_peer(cause->actor ? cause->actor : "device"), "act",
                  cause->act ? cause->act : "device.state", "user", json_of_peer(d->owner->name),
                  "device_id", json_of_peer(d->id), "protocol_version",
                  pv_version_text((enum pv_version)d->version), "reason", cause->reason, "wipe_id",
                  wipe_id_json(p), "wipe_expires_at", expires ? when_json(expires) : NULL, "before",
                  standing_json(before), "after", after ? standing_json(after) : json_null()));
}

/* Name of the event, or NULL. */
static const char *event_of(const struct standing *before, const struct standing *after,
                            const struct cause *cause)
{
    if (cause->event) return cause->event;
    if (before->p && before->p->wipe_state != after->p->wipe_state) {
        if (after->p->wipe_state == PV_WIPE_STATE_ACKNOWLEDGED) return "wipe-acknowledged";
        if (after->p->wipe_state == PV_WIPE_STATE_FAILED) return "wipe-failed";
    }
    bool quarantined = after->state == PV_STATE_QUARANTINED && before->state != after->state;
    return quarantined ? "quarantined" : NULL;
}

static char *event_text(const struct device *d, const char *event, const struct standing *after,
                        int64_t now)
{
    return text_and_free(json_pack(
        "{s:s,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:s}", "event", event, "at", when_json(now), "user",
        json_of_peer(d->owner->name), "device_id", json_of_peer(d->id), "device_type",
        json_of_peer(device_text(d, KIND_TYPE)), "model", json_of_peer(device_text(d, KIND_MODEL)),
        "user_agent", json_of_peer(device_text(d, KIND_AGENT)), "wipe_id", wipe_id_json(after->p),
        "state", pv_state_text(after->state)));
}

char *note_act(const char *actor, const char *act, int64_t now, json_t *object, json_t *before,
               json_t *after)
{
    json_t *line =
        json_pack("{s:o,s:o,s:s}", "at", when_json(now), "actor", json_of_peer(actor), "act", act);
    bool ok = line && object && json_object_update(line, object) == 0;
    ok = json_object_set_new(line, "before", before ? before : json_null()) == 0 && ok;
    ok = json_object_set_new(line, "after", after ? after : json_null()) == 0 && ok;
    char *text = ok ? text_of_json(line, JSON_COMPACT) : NULL;
    json_decref(line);
    json_decref(object);
    return text;
}

bool gate_audit(struct gate *g, const char *actor, const char *act, json_t *object, json_t *after,
                struct store_write *w)
{
    char *text = note_act(actor, act, time(NULL), object, NULL, after);
    const struct store_change c = {.kind = STORE_ADD_AUDIT, .u.log.json = text};
    bool ok = text && store_submit(g->store, &c, 1, w);
    free(text);
    return ok;
}

void note_add(struct note *n, const struct store_change *c)
{
    n->changes[n->count++] = *c;
}

static bool add_text(struct note *n, enum store_kind kind, char *text)
{
    if (!text) return false;
    n->texts[n->text_count++] = text;
    note_add(n, &(struct store_change){.kind = kind, .u.log.json = text});
    return true;
}

static bool add_logs(struct note *n, const struct gate *g, const struct device *d,
                     const struct standing *before, const struct standing *after, int64_t now,
                     const struct cause *cause)
{
    const char *event = g->notify ? event_of(before, after, cause) : NULL;
    return add_text(n, STORE_ADD_AUDIT, audit_text(d, before, after, now, cause)) &&
           (!event || add_text(n, STORE_ADD_EVENT, event_text(d, event, after, now)));
}

/* What a device can bring about as often as it likes (another DeviceType, which a rule knows, and back)
 * waits for its line, so that neither the log nor the queue of events is filled by one user. Orders
 * and wipes never wait. Shard locked. */
static bool must_wait(const struct gate *g, const struct device *d,
                      const struct pv_partnership *before, const struct pv_partnership *after,
                      int64_t now, const struct cause *cause)
{
    struct owner *o = d->owner;
    if (!config_now(g->config)->damping || cause->actor || cause->act) return false;
    if (before && before->wipe_state != after->wipe_state) return false;
    if (damping_may_note(&o->notes, o->count, now)) return false;
    if (o->told_at != (uint32_t)now)
        LOG(LOG_WARN, 0, "audit-put-off", KV_TEXT("user", o->name), KV_TEXT("device", d->id));
    o->told_at = (uint32_t)now;
    return true;
}

bool note_device(struct note *n, const struct gate *g, const struct device *d,
                 const struct pv_partnership *before, const struct pv_partnership *after,
                 const struct pv_policy_facts *policy, int64_t now, const struct cause *cause)
{
    const struct standing old = {(enum pv_state)d->state, before};
    const struct standing new_ = {pv_server_state(after, policy, now), after};
    struct store_change c = {.kind = STORE_PUT_DEVICE, .u.device = device_record_of(d, after)};
    bool news =
        cause->act || old.state != new_.state ||
        (before && (before->outcome != after->outcome || before->wipe_state != after->wipe_state));
    if (news && must_wait(g, d, before, after, now, cause)) news = false;
    /* What waits for its line is told from the state that was noted, as soon as that may be. */
    n->state = news || old.state == new_.state ? new_.state : old.state;
    c.u.device.state = n->state;
    note_add(n, &c);
    return !news || add_logs(n, g, d, &old, &new_, now, cause);
}

bool note_removal(struct note *n, const struct device *d, const struct pv_partnership *p,
                  const struct pv_policy_facts *policy, int64_t now, const struct cause *cause)
{
    const struct standing old = {pv_server_state(p, policy, now), p};
    const struct store_change c = {
        .kind = STORE_REMOVE_DEVICE,
        .u.device = {.user = d->owner->name, .device_id = d->id, .was = d->tag}};
    note_add(n, &c);
    return add_text(n, STORE_ADD_AUDIT, audit_text(d, &old, NULL, now, cause));
}

void note_end(struct note *n)
{
    for (size_t i = 0; i < n->text_count; i++) free(n->texts[i]);
    *n = (struct note){0};
}

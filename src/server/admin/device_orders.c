/* Orders on a device: they go to the gate, and what is told is what the gate has made of them. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "src/lib/base/text.h"
#include "src/server/admin/internal.h"

static struct admin_call *call_of_order(struct device_order *o)
{
    return CONTAINER_OF(o, struct admin_call, order);
}

/* ---- the answer ---- */
static void refuse(struct admin_call *c)
{
    char sentence[ADMIN_SENTENCE_MAX];
    switch (c->order.result) {
    case ORDER_UNKNOWN:
        admin_error(c, 404, "unknown_device", "This user has no device of that id.");
        return;
    case ORDER_IMPOSSIBLE:
        snprintf(sentence, sizeof sentence, "That cannot be done now: %s.",
                 pv_reason_text(c->order.why));
        admin_error(c, 409, "impossible", sentence);
        return;
    case ORDER_FORBIDDEN:
        admin_error(c, 403, "wipe_forbidden", "Device wipe is forbidden for this user.");
        return;
    case ORDER_FULL:
        admin_error(c, 409, "too_many_devices", "This user has too many devices.");
        return;
    case ORDER_BUSY:
        admin_error(c, 503, "busy", "Too many requests wait for this device; try again.");
        return;
    default: admin_not_stored(c, &c->order.write); return;
    }
}

static void warn(struct admin_call *c, json_t *warnings, const char *sentence)
{
    if (json_array_append_new(warnings, json_string(sentence)) != 0) c->out_of_memory = true;
}

/* What an administrator who has ordered a wipe must know, since the device will not get it. */
static void add_warnings(void *ctx, const struct device_view *d)
{
    struct admin_call *c = ctx;
    json_t *warnings = json_array();
    bool pending = d->wipe_state == PV_WIPE_STATE_REQUESTED ||
                   d->wipe_state == PV_WIPE_STATE_SENT || d->wipe_state == PV_WIPE_STATE_FAILED;
    admin_device_show(c, d);
    (void)json_object_del(c->list, "other_users"); /* nobody has looked for them */
    if (pending && d->user_disabled)
        warn(c, warnings,
             "The user is disabled: the device is turned away before it can be told of "
             "the wipe.");
    if (pending && d->wipe == PV_WIPE_ACCOUNT && d->version < PV_V16_1)
        warn(c, warnings,
             "The device last spoke a version below 16.1, which knows no wipe of the "
             "account alone: it is kept out, and the wipe waits.");
    if (json_object_set_new(c->list, "warnings", warnings) != 0) c->out_of_memory = true;
}

static void reply_removed(struct admin_call *c)
{
    const struct device_order *o = &c->order;
    admin_reply(c, 200,
                json_pack("{s:o,s:o,s:b,s:s,s:b}", "user", admin_text(o->user), "device_id",
                          admin_text(o->device_id), "removed", 1, "was", pv_state_text(o->before),
                          "wipe_was_pending", (int)o->wipe_pending));
}

static void changed_run(struct job *j)
{
    struct admin_call *c = admin_call_of_job(j);
    const struct device_order *o = &c->order;
    int shown = gate_show_device(c->admin->gate, o->user, o->device_id, add_warnings, c);
    c->unreachable = shown < 0;
    if (shown == 1 && c->list &&
        json_object_set_new(c->list, "changed", json_boolean(o->result == ORDER_DONE)) != 0)
        c->out_of_memory = true;
}

static void changed_done(struct job *j)
{
    struct admin_call *c = admin_call_of_job(j);
    if (c->unreachable || c->out_of_memory) /* It is done, and durable. */
        admin_error(c, 503, "no_memory",
                    "It was done, but the store or memory is out of reach to show it.");
    else if (!c->list)
        admin_error(c, 404, "unknown_device", "The device was removed in the meantime.");
    else
        admin_reply(c, 200, json_incref(c->list));
}

/* ---- devices that were never seen ---- */
static void exists_run(struct job *j)
{
    struct admin_call *c = admin_call_of_job(j);
    c->order.add = auth_user_name(gate_auth(c->admin->gate), c->order.user, c->name);
    c->order.user = c->name;
}

static void exists_done(struct job *j)
{
    struct admin_call *c = admin_call_of_job(j);
    if (c->order.add)
        gate_order(c->admin->gate, &c->order);
    else
        admin_error(c, 404, "unknown_user", "There is no user of that name.");
}

static bool says_a_word(const struct device_order *o)
{
    return !o->remove && (o->kind == PV_ORDER_ALLOW || o->kind == PV_ORDER_BLOCK ||
                          o->kind == PV_ORDER_QUARANTINE);
}

static void ordered(struct device_order *o)
{
    struct admin_call *c = call_of_order(o);
    bool done = o->result == ORDER_DONE || o->result == ORDER_UNCHANGED;
    if (o->result == ORDER_UNKNOWN && !o->add && says_a_word(o)) {
        if (admin_is_device_id(o->device_id))
            admin_on_pool(c, exists_run, exists_done);
        else
            admin_error(c, 400, "bad_value", "A device id is 1 to 32 letters and digits.");
    } else if (!done) {
        refuse(c);
    } else if (o->remove) {
        reply_removed(c);
    } else {
        admin_on_pool(c, changed_run, changed_done);
    }
}

/* ---- the orders ---- */
/* Shown on terminals and in logs. */
static bool is_reason(const char *text)
{
    const uint8_t *at = (const uint8_t *)text;
    size_t len = strlen(text);
    uint32_t code;
    if (len == 0 || len >= ORDER_REASON_MAX) return false;
    for (size_t n; len > 0; at += n, len -= n) {
        n = pv__utf8_next(at, len, &code);
        if (n == 0 || code < 0x20 || (code >= 0x7f && code < 0xa0)) return false;
    }
    return true;
}

/* false: answered. */
static bool begin(struct admin_call *c, enum pv_order_kind kind)
{
    char sentence[ADMIN_SENTENCE_MAX];
    const char *reason = admin_body_text(c, "reason");
    if (reason && !is_reason(reason)) {
        snprintf(sentence, sizeof sentence,
                 "reason must be a text of 1 to %d bytes without control characters.",
                 ORDER_REASON_MAX - 1);
        admin_error(c, 400, "bad_value", sentence);
        return false;
    }
    c->order = (struct device_order){
        .user = admin_arg(c, "user"),
        .device_id = admin_arg(c, "device"),
        .kind = kind,
        .actor = admin_actor(c),
        .reason = reason,
        .done = ordered,
    };
    return true;
}

static void give(struct admin_call *c)
{
    http_wait(c->http, NULL);
    gate_order(c->admin->gate, &c->order);
}

static void plain(struct admin_call *c, enum pv_order_kind kind)
{
    if (begin(c, kind)) give(c);
}

void admin_device_allow(struct admin_call *c)
{
    plain(c, PV_ORDER_ALLOW);
}

void admin_device_block(struct admin_call *c)
{
    plain(c, PV_ORDER_BLOCK);
}

void admin_device_quarantine(struct admin_call *c)
{
    plain(c, PV_ORDER_QUARANTINE);
}

void admin_device_clear(struct admin_call *c)
{
    plain(c, PV_ORDER_CLEAR);
}

void admin_device_cancel_wipe(struct admin_call *c)
{
    plain(c, PV_ORDER_CANCEL_WIPE);
}

void admin_device_remove(struct admin_call *c)
{
    if (!begin(c, PV_ORDER_COUNT)) return;
    c->order.remove = true;
    give(c);
}

/* ---- wipe ---- */
static void ask_run(struct job *j)
{
    struct admin_call *c = admin_call_of_job(j);
    c->unreachable = gate_show_device(c->admin->gate, c->order.user, c->order.device_id,
                                      admin_device_show, c) < 0;
    admin_device_others(c);
}

static void ask_done(struct job *j)
{
    struct admin_call *c = admin_call_of_job(j);
    c->order.result = c->list ? ORDER_FORBIDDEN : ORDER_UNKNOWN;
    if (c->unreachable) c->order.result = ORDER_STORE;
    if (c->out_of_memory)
        admin_no_memory(c);
    else if (!c->list || !json_is_true(json_object_get(c->list, "device_wipe")))
        refuse(c);
    else
        admin_reply(c, 409,
                    json_pack("{s:s,s:s,s:O}", "error",
                              "This wipes the whole device, for everybody who uses it: say so with "
                              "\"confirm\": true.",
                              "code", "confirm", "other_users", c->others));
}

void admin_device_wipe(struct admin_call *c)
{
    bool whole = strcmp(admin_body_text(c, "scope"), "device") == 0;
    const char *expires = admin_body_text(c, "expires");
    if (!begin(c, whole ? PV_ORDER_WIPE_DEVICE : PV_ORDER_WIPE_ACCOUNT)) return;
    if (expires && !admin_until(expires, time(NULL), &c->order.wipe_expires_at))
        admin_error(c, 400, "bad_value",
                    "expires must be a time from now, such as 30d or 12h, or a date to come.");
    else if (whole && !admin_body_flag(c, "confirm"))
        admin_on_pool(c, ask_run, ask_done);
    else
        give(c);
}

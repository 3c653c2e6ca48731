/* A device with all that is known of it. */
#include <stdlib.h>
#include <string.h>

#include "src/json_text.h"
#include "src/server/admin/internal.h"
#include "src/server/gate/order.h"

static json_t *wipe_json(const struct device_view *d)
{
    static const char *const kinds[] = {
        [PV_WIPE_NONE] = "none", [PV_WIPE_ACCOUNT] = "account", [PV_WIPE_DEVICE] = "device"};
    char id[ORDER_WIPE_ID_TEXT];
    if (d->wipe_state == PV_WIPE_STATE_NONE) return json_null();
    wipe_id_text(d->wipe_id, id);
    return json_pack("{s:s,s:s,s:s,s:o,s:o,s:o,s:o,s:o,s:o}", "id", id, "kind", kinds[d->wipe],
                     "state", pv_wipe_state_text(d->wipe_state), "requested_at",
                     admin_time(d->wipe_at), "sent_at", admin_time(d->wipe_sent_at), "ended_at",
                     admin_time(d->wipe_ended_at), "expires_at", admin_time(d->wipe_expires_at),
                     "by", admin_text(d->wipe_by), "reason", admin_text(d->wipe_reason));
}

/* That has demanded provisioning of the device. */
static json_t *upstream_json(const struct device_view *d)
{
    if (!d->upstream) return json_null();
    return json_pack("{s:o,s:b,s:b,s:b}", "url", admin_text(d->upstream), "policy",
                     (int)d->upstream_policy, "key", (int)d->upstream_key, "conflict",
                     (int)d->upstream_conflict);
}

void admin_device_show(void *ctx, const struct device_view *d)
{
    struct admin_call *c = ctx;
    json_decref(c->list);
    c->list = admin_device_json(d);
    json_t *more =
        json_pack("{s:s,s:b,s:o,s:o}", "personal", pv_personal_text(d->personal), "device_wipe",
                  (int)d->user_device_wipe, "wipe", wipe_json(d), "upstream", upstream_json(d));
    if (!more || json_object_update(c->list, more) != 0) c->out_of_memory = true;
    json_decref(more);
}

/* ---- whom else it belongs to ---- */
static void add_user(void *ctx, const char *user)
{
    struct admin_call *c = ctx;
    if (json_array_append_new(c->others, admin_text(user)) != 0) c->out_of_memory = true;
}

void admin_device_others(struct admin_call *c)
{
    json_decref(c->others);
    c->others = json_array();
    if (!c->others) c->out_of_memory = true;
    if (!gate_each_user_of(c->admin->gate, admin_arg(c, "device"), admin_arg(c, "user"),
                           ADMIN_OTHERS_MAX, add_user, c))
        c->unreachable = true;
}

/* ---- everything ---- */
/* A text that we have stored; JSON null: there is none. */
static json_t *stored_json(struct admin_call *c, const char *text)
{
    json_t *json = NULL;
    if (text && *text && !json_of_text(text, strlen(text), 0, &json)) c->out_of_memory = true;
    return json ? json : json_null();
}

/* false: the store is out of reach. */
static bool add_information(struct admin_call *c)
{
    struct info_record info;
    void *block = NULL;
    int found = store_read_info(gate_store(c->admin->gate), admin_arg(c, "user"),
                                admin_arg(c, "device"), &info, &block);
    if (found < 0) return false;
    json_t *now = found ? stored_json(c, info.info_json) : json_null();
    json_t *history = found ? stored_json(c, info.history_json) : json_array();
    free(block);
    if (json_object_set_new(c->list, "information", now) != 0 ||
        json_object_set_new(c->list, "information_history", history) != 0)
        c->out_of_memory = true;
    return true;
}

static void show_run(struct job *j)
{
    struct admin_call *c = admin_call_of_job(j);
    c->unreachable = gate_show_device(c->admin->gate, admin_arg(c, "user"), admin_arg(c, "device"),
                                      admin_device_show, c) < 0;
    if (!c->list) return;
    c->unreachable = c->unreachable || !add_information(c);
    admin_device_others(c);
    if (json_object_set(c->list, "other_users", c->others) != 0) c->out_of_memory = true;
}

static void show_done(struct job *j)
{
    struct admin_call *c = admin_call_of_job(j);
    if (c->out_of_memory)
        admin_no_memory(c);
    else if (c->unreachable)
        admin_error(c, 503, "store", "The store is out of reach.");
    else if (!c->list)
        admin_error(c, 404, "unknown_device", "This user has no device of that id.");
    else
        admin_reply(c, 200, json_incref(c->list));
}

void admin_device(struct admin_call *c)
{
    admin_on_pool(c, show_run, show_done);
}

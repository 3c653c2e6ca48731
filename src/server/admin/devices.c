/* What the server is doing: devices and numbers. */
#include "src/server/admin/internal.h"
#include "src/server/admin/version.h"
#include "src/server/gate/rules.h"

static void list_one(void *ctx, const struct device_view *d)
{
    struct admin_call *c = ctx;
    json_t *one = json_pack(
        "{s:o,s:o,s:o,s:s,s:s,s:s,s:s,s:o,s:I,s:s,s:o,s:o,s:o,s:o,s:o,s:o}", "user",
        admin_text(d->user), "device_id", admin_text(d->device_id), "device_type",
        admin_text(d->device_type), "protocol_version", pv_version_text(d->version), "state",
        pv_state_text(d->state), "access", access_text(d->access), "access_by", d->access_by,
        "policy", admin_text(d->policy), "revision", (json_int_t)d->revision, "outcome",
        pv_outcome_text(d->outcome), "user_agent", admin_text(d->user_agent), "model",
        admin_text(d->model), "os", admin_text(d->os), "first_seen", admin_time(d->first_seen),
        "last_seen", admin_time(d->last_seen), "key_at", admin_time(d->key_at));
    if (json_array_append_new(c->list, one) != 0) c->out_of_memory = true;
}

void admin_devices(struct admin_call *c)
{
    c->list = json_array();
    if (!gate_each_device(c->admin->gate, list_one, c) || c->out_of_memory)
        admin_no_memory(c);
    else
        admin_reply(c, 200, json_incref(c->list));
}

void admin_status(struct admin_call *c)
{
    struct gate_counts n = {0};
    gate_count(c->admin->gate, &n);
    admin_reply(c, 200,
                json_pack("{s:s,s:o,s:i,s:i,s:I,s:I,s:I}", "version", PROVOST_VERSION, "started_at",
                          admin_time(c->admin->started), "devices", (int)n.devices, "waiting_pings",
                          (int)n.waiting_pings, "requests", (json_int_t)n.requests, "refusals",
                          (json_int_t)n.refusals, "handshakes", (json_int_t)n.handshakes));
}

/* Why a device does not get in. */
#include "src/server/admin/internal.h"
#include "src/server/gate/trail/why.h"

struct asking {
    struct admin_call *c;
    const struct trail_copy *trail;
};

static void explain(void *ctx, const struct device_view *d)
{
    struct asking *a = ctx;
    struct why why;
    why_explain(d, a->trail, &why);
    a->c->list = json_pack("{s:o,s:s,s:o,s:o}", "device", admin_device_json(d), "cause",
                           why_cause_name(why.cause), "sentence", admin_text(why.sentence),
                           "advice", admin_text(why.advice));
    json_t *trail = trail_copy_json(a->trail);
    if (!trail || json_object_update(a->c->list, trail) != 0) a->c->out_of_memory = true;
    json_decref(trail);
}

static void why_run(struct job *j)
{
    struct admin_call *c = admin_call_of_job(j);
    const char *user = admin_arg(c, "user"), *device = admin_arg(c, "device");
    struct trail_copy trail;
    struct asking asking = {c, &trail};
    int found = gate_device_trail(c->admin->gate, user, device, &trail);
    c->unreachable = found < 0;
    if (found > 0 && gate_show_device(c->admin->gate, user, device, explain, &asking) < 0)
        c->out_of_memory = true;
}

static void why_done(struct job *j)
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

void admin_device_why(struct admin_call *c)
{
    admin_on_pool(c, why_run, why_done);
}

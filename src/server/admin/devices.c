/* Lists of devices, and what the server is doing in numbers. */
#include <string.h>
#include <time.h>

#include "src/server/admin/internal.h"
#include "src/server/admin/version.h"
#include "src/server/gate/rules/rules.h"
#include "src/server/gate/trail/trail.h"

/* ---- one device ---- */
/* An upgrade never becomes again what it was. */
static json_t *clone_json(const struct device_view *d)
{
    if (d->clone_returns < TRAIL_CLONE_RETURNS) return json_null();
    return json_pack("{s:o,s:o,s:i}", "device_type", admin_text(d->clone_type), "user_agent",
                     admin_text(d->clone_agent), "returns", (int)d->clone_returns);
}

static json_t *others_json(const struct device_view *d)
{
    json_t *all = json_array();
    for (size_t i = 0; all && i < d->other_user_count; i++)
        if (json_array_append_new(all, admin_text(d->other_users[i])) != 0) {
            json_decref(all);
            return NULL;
        }
    return all;
}

/* How it stands. */
static json_t *standing_json(const struct device_view *d)
{
    return json_pack("{s:s,s:s,s:s,s:o,s:I,s:s,s:i,s:I,s:s,s:s?,s:o}", "state",
                     pv_state_text(d->state), "access", access_text(d->access), "access_by",
                     d->access_by, "policy", admin_text(d->policy), "revision",
                     (json_int_t)d->revision, "outcome", pv_outcome_text(d->outcome), "said",
                     (int)d->said, "outcome_revision", (json_int_t)d->outcome_revision,
                     "wipe_state", pv_wipe_state_text(d->wipe_state), "slowed_by", d->slowed_by,
                     "loop_until", admin_time(d->loop_until));
}

json_t *admin_device_json(const struct device_view *d)
{
    /* An entry that an administrator has made says nothing before the device was there. */
    const char *version = d->last_seen ? pv_version_text(d->version) : NULL;
    json_t *all =
        json_pack("{s:o,s:o,s:o,s:s?,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "user", admin_text(d->user),
                  "device_id", admin_text(d->device_id), "device_type", admin_text(d->device_type),
                  "protocol_version", version, "user_agent", admin_text(d->user_agent), "model",
                  admin_text(d->model), "os", admin_text(d->os), "first_seen",
                  admin_time(d->first_seen), "last_seen", admin_time(d->last_seen), "key_at",
                  admin_time(d->key_at), "clone", clone_json(d), "other_users", others_json(d));
    json_t *standing = standing_json(d);
    if (!standing || json_object_update(all, standing) != 0) {
        json_decref(all);
        all = NULL;
    }
    json_decref(standing);
    return all;
}

/* ---- lists ---- */
/* What is looked for; NULL, 0: anything. */
struct filter {
    const char *state, *policy, *user, *outcome, *after;
    bool by_revision, by_loop, loop;
    uint64_t revision, limit;
    int64_t not_seen_since;
};

/* false: sentence says why. Borrows from the call. */
static bool read_filter(const struct admin_call *c, struct filter *f, const char **sentence)
{
    const char *since = admin_query(c, "not_seen_since");
    *f = (struct filter){.state = admin_query(c, "state"),
                         .policy = admin_query(c, "policy"),
                         .user = admin_query(c, "user"),
                         .outcome = admin_query(c, "outcome"),
                         .after = admin_query(c, "after"),
                         .limit = ADMIN_DEVICES_MOST};
    f->by_revision = admin_query_number(c, "revision", &f->revision);
    f->by_loop = admin_query_flag(c, "loop", &f->loop);
    *sentence = "limit must be 1 to 1000000.";
    if (admin_query_number(c, "limit", &f->limit) &&
        (f->limit == 0 || f->limit > ADMIN_DEVICES_MOST))
        return false;
    *sentence = "after must be USER/DEVICE.";
    if (f->after && !strrchr(f->after, '/')) return false;
    *sentence = "not_seen_since must be a time such as 30d or 12h, or a date such as 2027-01-31 or "
                "2027-01-31T12:00:00Z.";
    return !since || admin_since(since, time(NULL), &f->not_seen_since);
}

/* A DeviceId has letters and digits only: the last slash stands before it. */
static bool is_behind(const struct device_view *d, const char *after)
{
    const char *slash = strrchr(after, '/');
    size_t len = (size_t)(slash - after), own = strlen(d->user);
    int order = strncmp(d->user, after, own < len ? own : len);
    if (order == 0) order = (own > len) - (own < len);
    if (order == 0) order = strcmp(d->device_id, slash + 1);
    return order > 0;
}

static bool fits(const struct device_view *d, const struct filter *f)
{
    bool loops = d->slowed_by || d->loop_until;
    return (!f->state || strcmp(pv_state_text(d->state), f->state) == 0) &&
           (!f->policy || strcmp(d->policy, f->policy) == 0) &&
           (!f->user || strcmp(d->user, f->user) == 0) &&
           (!f->outcome || strcmp(pv_outcome_text(d->outcome), f->outcome) == 0) &&
           (!f->by_revision || d->revision == f->revision) && (!f->by_loop || loops == f->loop) &&
           (!f->not_seen_since || d->last_seen < f->not_seen_since) &&
           (!f->after || is_behind(d, f->after));
}

struct listing {
    struct admin_call *c;
    struct filter filter;
};

static void list_one(void *ctx, const struct device_view *d)
{
    struct listing *l = ctx;
    if (l->filter.limit == 0 || !fits(d, &l->filter)) return;
    l->filter.limit--;
    if (json_array_append_new(l->c->list, admin_device_json(d)) != 0) l->c->out_of_memory = true;
}

static void list_run(struct job *j)
{
    struct admin_call *c = admin_call_of_job(j);
    struct listing l = {.c = c};
    const char *sentence;
    (void)read_filter(c, &l.filter, &sentence); /* it was looked at before */
    c->list = json_array();
    if (!gate_each_device(c->admin->gate, list_one, &l)) c->out_of_memory = true;
}

static void list_done(struct job *j)
{
    struct admin_call *c = admin_call_of_job(j);
    if (c->out_of_memory)
        admin_no_memory(c);
    else
        admin_reply(c, 200, json_incref(c->list));
}

void admin_devices(struct admin_call *c)
{
    struct filter f;
    const char *sentence;
    if (read_filter(c, &f, &sentence))
        admin_on_pool(c, list_run, list_done);
    else
        admin_error(c, 400, "bad_query", sentence);
}

void admin_status(struct admin_call *c)
{
    const struct admin *a = c->admin;
    struct gate_counts n = {0};
    gate_count(a->gate, &n);
    json_t *status =
        json_pack("{s:s,s:o,s:i,s:i,s:I,s:I,s:I}", "version", PROVOST_VERSION, "started_at",
                  admin_time(a->started), "devices", (int)n.devices, "waiting_pings",
                  (int)n.waiting_pings, "requests", (json_int_t)n.requests, "refusals",
                  (json_int_t)n.refusals, "handshakes", (json_int_t)n.handshakes);
    if (status && a->add_status && !a->add_status(a->add_status_ctx, status)) {
        json_decref(status);
        status = NULL;
    }
    admin_reply(c, 200, status);
}

/* Lists of devices, and what the server is doing in numbers. */
#include <stdio.h>
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
    const char *state, *policy, *user, *outcome;
    char after_user[AUTH_USER_MAX];
    const char *after_device_id; /* NULL: from the start */
    bool by_revision, by_loop, loop;
    uint64_t revision, limit;
    int64_t not_seen_since;
};

/* USER/DEVICE: a DeviceId has letters and digits only, so that the last slash stands before it. Any
 * will do, whether there is such a device or not. */
static bool read_after(const char *after, struct filter *f)
{
    const char *slash = strrchr(after, '/');
    size_t len = slash ? (size_t)(slash - after) : 0;
    if (len == 0 || len >= sizeof f->after_user || !admin_is_device_id(slash + 1)) return false;
    memcpy(f->after_user, after, len);
    f->after_user[len] = '\0';
    f->after_device_id = slash + 1;
    return true;
}

/* false: sentence says why. Borrows from the call. */
static bool read_filter(const struct admin_call *c, struct filter *f, const char **sentence)
{
    const char *since = admin_query(c, "not_seen_since"), *after = admin_query(c, "after");
    *f = (struct filter){.state = admin_query(c, "state"),
                         .policy = admin_query(c, "policy"),
                         .user = admin_query(c, "user"),
                         .outcome = admin_query(c, "outcome"),
                         .limit = ADMIN_PAGE_USUAL};
    f->by_revision = admin_query_number(c, "revision", &f->revision);
    f->by_loop = admin_query_flag(c, "loop", &f->loop);
    *sentence = "limit must be 1 to 10000.";
    if (admin_query_number(c, "limit", &f->limit) && (f->limit == 0 || f->limit > ADMIN_PAGE_MOST))
        return false;
    *sentence = "after must be USER/DEVICE.";
    if (after && !read_after(after, f)) return false;
    *sentence = "not_seen_since must be a time such as 30d or 12h, or a date such as 2027-01-31 or "
                "2027-01-31T12:00:00Z.";
    return !since || admin_since(since, time(NULL), &f->not_seen_since);
}

struct list {
    struct admin_call *c;
    struct filter filter;
};

static bool fits(void *ctx, const struct device_view *d)
{
    const struct filter *f = &((struct list *)ctx)->filter;
    bool loops = d->slowed_by || d->loop_until;
    return (!f->state || strcmp(pv_state_text(d->state), f->state) == 0) &&
           (!f->policy || strcmp(d->policy, f->policy) == 0) &&
           (!f->outcome || strcmp(pv_outcome_text(d->outcome), f->outcome) == 0) &&
           (!f->by_revision || d->revision == f->revision) && (!f->by_loop || loops == f->loop);
}

static void list_one(void *ctx, const struct device_view *d)
{
    struct admin_call *c = ((struct list *)ctx)->c;
    if (json_array_append_new(c->list, admin_device_json(d)) != 0) c->out_of_memory = true;
}

static void list_run(struct job *j)
{
    struct admin_call *c = admin_call_of_job(j);
    struct list list = {.c = c};
    struct filter *f = &list.filter;
    const char *sentence;
    (void)read_filter(c, f, &sentence); /* it was looked at before */
    struct device_listing l = {
        .user = f->user,
        .after_user = f->after_device_id ? f->after_user : NULL,
        .after_device_id = f->after_device_id,
        .not_seen_since = f->not_seen_since,
        .most = f->limit,
        .looks = ADMIN_DEVICES_LOOKS,
        .others = true,
        .fits = fits,
        .each = list_one,
        .ctx = &list,
    };
    c->list = json_array();
    c->unreachable = !gate_list_devices(c->admin->gate, &l);
    char last[AUTH_USER_MAX + PV_DEVICE_ID_MAX + 2];
    snprintf(last, sizeof last, "%s/%s", l.last_user, l.last_device_id);
    if (l.more && !admin_next(c, last)) c->out_of_memory = true;
}

static void list_done(struct job *j)
{
    struct admin_call *c = admin_call_of_job(j);
    if (c->out_of_memory)
        admin_no_memory(c);
    else if (c->unreachable)
        admin_unreachable(c);
    else
        admin_reply_page(c, json_incref(c->list));
}

void admin_devices(struct admin_call *c)
{
    struct filter f;
    const char *sentence;
    if (read_filter(c, &f, &sentence))
        admin_on_walks(c, list_run, list_done);
    else
        admin_error(c, 400, "bad_query", sentence);
}

/* ---- numbers ---- */
/* c->list: how many devices there are, null if nobody knows. */
static void status_run(struct job *j)
{
    struct admin_call *c = admin_call_of_job(j);
    uint64_t devices;
    bool known = gate_count_stored(c->admin->gate, &devices);
    c->list = known ? json_integer((json_int_t)devices) : json_null();
}

static void status_done(struct job *j)
{
    struct admin_call *c = admin_call_of_job(j);
    const struct admin *a = c->admin;
    struct gate_counts n = {0};
    gate_count(a->gate, &n);
    json_t *status =
        json_pack("{s:s,s:o,s:o,s:O,s:i,s:i,s:I,s:I,s:I}", "version", PROVOST_VERSION, "started_at",
                  admin_time(a->started), "store", admin_store_json(a->gate), "devices", c->list,
                  "devices_in_memory", (int)n.devices, "waiting_pings", (int)n.waiting_pings,
                  "requests", (json_int_t)n.requests, "refusals", (json_int_t)n.refusals,
                  "handshakes", (json_int_t)n.handshakes);
    if (status && a->add_status && !a->add_status(a->add_status_ctx, status)) {
        json_decref(status);
        status = NULL;
    }
    admin_reply(c, 200, status);
}

void admin_status(struct admin_call *c)
{
    admin_on_pool(c, status_run, status_done);
}

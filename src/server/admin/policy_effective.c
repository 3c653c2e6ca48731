/* What applies to a user or a device, and where it comes from. */
#include <string.h>

#include "src/server/admin/internal.h"
#include "src/setting_json.h"
#include "src/server/gate/note.h"

/* A treatment never leaves the server: null. */
static json_t *carried_json(const struct effective_view *v, enum pv_setting s,
                            enum pv_version version)
{
    if (pv_setting_info(s)->treatment) return json_null();
    return json_boolean(pv_policy_carries(v->settings, s, version));
}

static json_t *text_or_null(const char *text)
{
    return text ? admin_text(text) : json_null();
}

static json_t *version_json(const struct effective_view *v, enum pv_version version)
{
    json_t *settings = json_array();
    bool ok = settings != NULL;
    for (int i = 0; i < PV_SETTING_COUNT && ok; i++) {
        enum pv_setting s = (enum pv_setting)i;
        if (v->from[i] == NULL && !v->demanded[i]) continue;
        ok = json_array_append_new(
                 settings, json_pack("{s:s,s:o,s:o,s:b,s:o}", "name", pv_setting_info(s)->name,
                                     "value", setting_json(v->settings, s), "from",
                                     text_or_null(v->from[i]), "upstream", (int)v->demanded[i],
                                     "carried", carried_json(v, s, version))) == 0;
    }
    if (ok)
        return json_pack("{s:s,s:b,s:o}", "version", pv_version_text(version), "barred",
                         (int)v->barred[version], "settings", settings);
    json_decref(settings);
    return NULL;
}

static json_t *versions_json(const struct effective_view *v)
{
    json_t *all = json_array();
    for (int i = 0; i < PV_VERSION_COUNT; i++)
        if (json_array_append_new(all, version_json(v, (enum pv_version)i)) != 0) {
            json_decref(all);
            return NULL;
        }
    return all;
}

static json_t *candidates_json(const struct effective_view *v)
{
    json_t *all = json_array();
    for (size_t i = 0; i < v->candidate_count; i++) {
        json_t *one = note_assignee(&v->candidates[i].by);
        if (json_object_set_new(one, "policy", admin_text(v->candidates[i].policy)) != 0) {
            json_decref(one);
            one = NULL;
        }
        if (json_array_append_new(all, one) != 0) {
            json_decref(all);
            return NULL;
        }
    }
    return all;
}

static json_t *roll_json(const struct effective_view *v)
{
    if (v->roll == NULL) return json_null();
    return json_pack("{s:o,s:I,s:i,s:b}", "policy", admin_text(v->roller), "revision",
                     (json_int_t)v->roll->revision, "percent", (int)v->roll->percent, "in_it",
                     (int)v->in_roll);
}

static void show(void *ctx, const struct effective_view *v)
{
    struct admin_call *c = ctx;
    const char *device = admin_query(c, "device");
    c->list = json_pack("{s:o,s:o,s:o,s:o,s:I,s:o,s:o,s:o,s:o}", "user",
                        admin_text(admin_query(c, "user")), "device_id", text_or_null(device),
                        "policy", admin_text(v->policy), "assigned_by", note_assignee(&v->by),
                        "revision", (json_int_t)v->revision, "roll", roll_json(v), "upstream",
                        text_or_null(v->upstream), "candidates", candidates_json(v), "versions",
                        versions_json(v));
}

static void effective_run(struct job *j)
{
    struct admin_call *c = admin_call_of_job(j);
    c->unreachable = !gate_show_effective(c->admin->gate, admin_query(c, "user"),
                                          admin_query(c, "device"), show, c);
}

static void effective_done(struct job *j)
{
    struct admin_call *c = admin_call_of_job(j);
    if (c->unreachable)
        admin_error(c, 503, "store", "The store or memory is out of reach.");
    else if (!c->list)
        admin_no_memory(c);
    else
        admin_reply(c, 200, json_incref(c->list));
}

void admin_effective(struct admin_call *c)
{
    admin_on_pool(c, effective_run, effective_done);
}

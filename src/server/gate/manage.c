/* Changes by administrators: they take turns, each durable before anybody is told. Users. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "src/json_text.h"
#include "src/server/gate/inner.h"

bool admin_turn_take(struct gate *g, struct ticket *t, void (*run)(struct ticket *), bool *now_out)
{
    t->run = run;
    pthread_mutex_lock(&g->admin_mutex);
    enum desk_result turn = desk_take(&g->admin_desk, t, CHANGES_WAITING_MAX);
    pthread_mutex_unlock(&g->admin_mutex);
    *now_out = turn == DESK_NOW;
    return turn != DESK_FULL;
}

void admin_turn_end(struct gate *g)
{
    pthread_mutex_lock(&g->admin_mutex);
    desk_leave(&g->admin_desk);
    pthread_mutex_unlock(&g->admin_mutex);
}

/* ---- users ---- */
enum { USER_DEVICES_TOLD = 1000 }; /* in the audit line of a removal: it has a longest length */

/* One change on its way. Belongs to the caller's user_set until that is done. */
struct change {
    struct ticket ticket; /* first: see run_user */
    struct gate *g;
    struct user_set *user;
    struct resident resident;
    unsigned tries;
};

static void change_end(struct change *ch)
{
    resident_drop(&ch->resident);
    admin_turn_end(ch->g);
    free(ch);
}

static void tell_user(struct task *task)
{
    struct user_set *u = CONTAINER_OF(task, struct user_set, write.task);
    u->done(u);
}

static void user_result(struct user_set *u, enum gate_result result)
{
    u->result = result;
    u->write.task.fn = tell_user;
    worker_post(worker_self(), &u->write.task);
}

static struct user_flags flags_of(const struct owner *o)
{
    return (struct user_flags){!o->disabled, !o->no_device_wipe};
}

/* What a user may, after the act. */
static struct user_flags flags_after(const struct owner *o, enum user_act act)
{
    struct user_flags f = flags_of(o);
    switch (act) {
    case USER_DISABLE: f.enabled = false; break;
    case USER_ENABLE: f.enabled = true; break;
    case USER_FORBID_WIPE: f.device_wipe = false; break;
    case USER_PERMIT_WIPE: f.device_wipe = true; break;
    case USER_REMOVE: f = (struct user_flags){true, true}; break;
    }
    return f;
}

static bool wipe_pends(const struct device *d)
{
    return d->wipe_state == PV_WIPE_STATE_REQUESTED || d->wipe_state == PV_WIPE_STATE_SENT ||
           d->wipe_state == PV_WIPE_STATE_FAILED;
}

static void read_user(struct change *ch);

static void user_stored(struct store_write *w)
{
    struct user_set *u = CONTAINER_OF(w, struct user_set, write);
    struct change *ch = u->priv;
    if (w->conflict && ++ch->tries < TRIES_MAX) {
        read_user(ch);
        return;
    }
    u->result = w->durable ? GATE_OK : GATE_STORE;
    struct shard *s = table_lock(ch->g->table, u->user);
    struct owner *o = ch->resident.owner;
    /* Of a shared store: another node may have changed it since, and have been heard before this. */
    if (w->conflict || w->lost || store_is_shared(ch->g->store)) owner_doubt(o);
    if (w->durable) {
        const struct user_flags f = flags_after(o, u->act);
        o->disabled = !f.enabled;
        o->no_device_wipe = !f.device_wipe;
        u->flags = f;
        for (struct device *d = o->devices; d; d = d->next) {
            device_wake(ch->g, d);
            u->wipes_pending +=
                u->act == USER_FORBID_WIPE && d->wipe == PV_WIPE_DEVICE && wipe_pends(d);
        }
    }
    table_unlock(s);
    change_end(ch);
    u->done(u);
}

static json_t *flags_json(struct user_flags f)
{
    return json_pack("{s:b,s:b}", "enabled", (int)f.enabled, "device_wipe", (int)f.device_wipe);
}

/* The devices that go with a user: by their blocks and wipes it shows what is forgotten. */
static json_t *devices_json(const struct owner *o)
{
    json_t *all = json_array();
    size_t n = 0;
    for (const struct device *d = o->devices; all && d && n < USER_DEVICES_TOLD; d = d->next, n++) {
        json_t *one = json_pack("{s:o,s:s,s:s}", "device_id", json_of_peer(d->id), "state",
                                pv_state_text((enum pv_state)d->state), "wipe",
                                pv_wipe_state_text((enum pv_wipe_state)d->wipe_state));
        if (json_array_append_new(all, one) == 0) continue;
        json_decref(all);
        return NULL;
    }
    return all;
}

/* What a user was, devices included if they are forgotten. */
static json_t *before_json(const struct owner *o, enum user_act act)
{
    json_t *before = flags_json(flags_of(o));
    if (act != USER_REMOVE || !before) return before;
    if (json_object_set_new(before, "devices", devices_json(o)) == 0) return before;
    json_decref(before);
    return NULL;
}

/* For the audit log. Shard locked. */
static char *user_line(const struct owner *o, const struct user_set *u)
{
    static const char *const acts[] = {
        [USER_DISABLE] = "user.disable",         [USER_ENABLE] = "user.enable",
        [USER_FORBID_WIPE] = "user.forbid-wipe", [USER_PERMIT_WIPE] = "user.permit-wipe",
        [USER_REMOVE] = "user.remove",
    };
    json_t *object =
        json_pack("{s:o,s:I}", "user", json_of_peer(u->user), "devices", (json_int_t)o->count);
    return note_act(u->actor, acts[u->act], time(NULL), object, before_json(o, u->act),
                    u->act == USER_REMOVE ? NULL : flags_json(flags_after(o, u->act)));
}

/* The devices leave the table in the moment in which the removal is queued: a write of theirs
 * that came later would bring them back at the next start. */
static bool user_submit(struct change *ch)
{
    struct user_set *u = ch->user;
    struct shard *s = table_lock(ch->g->table, u->user);
    struct owner *o = ch->resident.owner;
    const struct user_flags f = flags_after(o, u->act);
    char *line = user_line(o, u);
    const struct store_change changes[] = {
        {.kind = u->act == USER_REMOVE ? STORE_REMOVE_USER : STORE_PUT_USER,
         .u.user = {u->user, f.enabled, !f.device_wipe, true, !o->disabled, o->no_device_wipe}},
        {.kind = STORE_ADD_AUDIT, .u.log.json = line},
    };
    u->write.done = user_stored;
    bool ok = line && owner_submit(ch->g, o, changes, 2, &u->write);
    if (ok) o->changed = o->changes;
    free(line);
    while (ok && u->act == USER_REMOVE && o->devices) {
        u->wipes_pending += wipe_pends(o->devices);
        device_wake(ch->g, o->devices);
        device_remove(s, o->devices);
    }
    table_unlock(s);
    return ok;
}

static void user_was_read(struct resident *r, bool ok)
{
    struct change *ch = CONTAINER_OF(r, struct change, resident);
    struct user_set *u = ch->user;
    if (ok && user_submit(ch)) return;
    change_end(ch);
    user_result(u, GATE_STORE);
}

static void read_user(struct change *ch)
{
    ch->resident.ready = user_was_read;
    if (resident_want(ch->g, &ch->resident, ch->user->user, RESIDENT_FRESH))
        user_was_read(&ch->resident, true);
}

static void run_user(struct ticket *t)
{
    struct change *ch = (struct change *)t;
    ch->user->priv = ch;
    read_user(ch);
}

void gate_set_user(struct gate *g, struct user_set *u)
{
    bool now = false;
    u->wipes_pending = 0;
    struct change *ch = malloc(sizeof *ch);
    if (ch) *ch = (struct change){.g = g, .user = u};
    if (!ch || !admin_turn_take(g, &ch->ticket, run_user, &now)) {
        free(ch);
        user_result(u, GATE_STORE);
    } else if (now) {
        run_user(&ch->ticket);
    }
}

bool gate_user_flags(struct gate *g, const char *user, struct user_flags *out)
{
    struct resident r = {0};
    if (!resident_read(g, &r, user, RESIDENT_KNOWN)) return false;
    struct shard *s = table_lock(g->table, user);
    *out = flags_of(r.owner);
    table_unlock(s);
    resident_drop(&r);
    return true;
}

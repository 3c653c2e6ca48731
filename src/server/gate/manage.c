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
/* One change on its way. Belongs to the caller's user_set until that is done. */
struct change {
    struct ticket ticket; /* first: see run_user */
    struct gate *g;
    struct user_set *user;
};

static void change_end(struct change *ch)
{
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

static void user_stored(struct store_write *w)
{
    struct user_set *u = CONTAINER_OF(w, struct user_set, write);
    struct change *ch = u->priv;
    u->result = w->durable ? GATE_OK : GATE_STORE;
    struct shard *s = table_lock(ch->g->table, u->user);
    struct owner *o = shard_owner(s, u->user); /* made before the write */
    if (w->durable) {
        o->disabled = !u->remove && !u->enabled;
        for (struct device *d = o->devices; d; d = d->next) device_wake(ch->g, d);
    }
    table_unlock(s);
    change_end(ch);
    u->done(u);
}

static json_t *flags_json(bool enabled)
{
    return json_pack("{s:b}", "enabled", (int)enabled);
}

/* For the audit log. Shard locked. */
static char *user_line(const struct owner *o, const struct user_set *u)
{
    json_t *object =
        json_pack("{s:o,s:I}", "user", json_of_peer(u->user), "devices", (json_int_t)o->count);
    const char *act = u->remove ? "user.remove" : u->enabled ? "user.enable" : "user.disable";
    return note_act(u->actor, act, time(NULL), object, flags_json(!o->disabled),
                    u->remove ? NULL : flags_json(u->enabled));
}

/* The devices leave the table in the moment in which the removal is queued: a write of theirs
 * that came later would bring them back at the next start. */
static bool user_submit(struct change *ch)
{
    struct user_set *u = ch->user;
    struct shard *s = table_lock(ch->g->table, u->user);
    struct owner *o = shard_owner_add(s, u->user);
    u->priv = ch;
    u->write.done = user_stored;
    char *line = o ? user_line(o, u) : NULL;
    const struct store_change changes[] = {
        {.kind = u->remove ? STORE_REMOVE_USER : STORE_PUT_USER,
         .u.user = {u->user, u->enabled, o && o->no_device_wipe}},
        {.kind = STORE_ADD_AUDIT, .u.log.json = line},
    };
    bool ok = line && store_submit(ch->g->store, changes, 2, &u->write);
    free(line);
    while (ok && u->remove && o->devices) {
        device_wake(ch->g, o->devices);
        device_remove(s, o->devices);
    }
    table_unlock(s);
    return ok;
}

static void run_user(struct ticket *t)
{
    struct change *ch = (struct change *)t;
    struct user_set *u = ch->user;
    if (user_submit(ch)) return;
    change_end(ch);
    user_result(u, GATE_STORE);
}

void gate_set_user(struct gate *g, struct user_set *u)
{
    bool now = false;
    struct change *ch = malloc(sizeof *ch);
    if (ch) *ch = (struct change){.g = g, .user = u};
    if (!ch || !admin_turn_take(g, &ch->ticket, run_user, &now)) {
        free(ch);
        user_result(u, GATE_STORE);
    } else if (now) {
        run_user(&ch->ticket);
    }
}

bool gate_user_enabled(struct gate *g, const char *user)
{
    struct shard *s = table_lock(g->table, user);
    const struct owner *o = shard_owner(s, user);
    bool enabled = !o || !o->disabled;
    table_unlock(s);
    return enabled;
}

/* Changes by administrators: policies and users. One at a time, durable before anybody is told. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "src/json_text.h"
#include "src/server/gate/inner.h"

/* One change on its way. Belongs to the caller's policy_set or user_set until that is done. */
struct change {
    struct ticket ticket; /* first: see run_policy, run_user */
    struct gate *g;
    struct policy_set *policy;
    struct user_set *user;
    struct revision *revision;
    struct book *book; /* with the revision in it */
};

static void change_end(struct change *ch)
{
    pthread_mutex_lock(&ch->g->admin_mutex);
    desk_leave(&ch->g->admin_desk);
    pthread_mutex_unlock(&ch->g->admin_mutex);
    revision_release(ch->revision);
    book_release(ch->book);
    free(ch);
}

/* NULL: out of memory or too many wait. *now_out: it is its turn. */
static struct change *change_start(struct gate *g, const struct change *what,
                                   void (*run)(struct ticket *), bool *now_out)
{
    struct change *ch = malloc(sizeof *ch);
    if (!ch) return NULL;
    *ch = *what;
    ch->g = g;
    ch->ticket.run = run;
    pthread_mutex_lock(&g->admin_mutex);
    enum desk_result turn = desk_take(&g->admin_desk, &ch->ticket, CHANGES_WAITING_MAX);
    pthread_mutex_unlock(&g->admin_mutex);
    *now_out = turn == DESK_NOW;
    if (turn != DESK_FULL) return ch;
    free(ch);
    return NULL;
}

/* ---- policies ---- */
static void tell_policy(struct task *task)
{
    struct policy_set *s = CONTAINER_OF(task, struct policy_set, write.task);
    s->done(s);
}

/* Results that are there at once come by the same way as the others: later, on the worker. */
static void policy_result(struct policy_set *s, enum gate_result result)
{
    s->result = result;
    s->write.task.fn = tell_policy;
    worker_post(worker_self(), &s->write.task);
}

/* From here on the new revision is what devices are judged by. */
static unsigned put_in_force(struct gate *g, struct shard *s, struct book *book,
                             const struct revision *r)
{
    unsigned affected = 0;
    pthread_mutex_lock(&s->mutex);
    struct book *old = s->book;
    s->book = book_hold(book);
    for (size_t b = 0; b <= s->mask; b++)
        for (struct owner *o = s->buckets[b]; o; o = o->next)
            for (struct device *d = o->devices; d; d = d->next) {
                enum pv_version version = (enum pv_version)d->version;
                if (policy_for(book, o->name, d->id) != r ||
                    !revision_differs(policy_for(old, o->name, d->id), r, version))
                    continue;
                affected += d->key && memcmp(d->key_hash, r->facts[version].hash, PV_HASH_LEN) != 0;
                device_wake(g, d);
            }
    pthread_mutex_unlock(&s->mutex);
    book_release(old);
    return affected;
}

static void policy_stored(struct store_write *w)
{
    struct policy_set *s = CONTAINER_OF(w, struct policy_set, write);
    struct change *ch = s->priv;
    s->result = w->durable ? GATE_OK : GATE_STORE;
    if (w->durable) {
        s->revision = ch->revision->id;
        for (size_t i = 0; i < TABLE_SHARDS; i++)
            s->affected += put_in_force(ch->g, &ch->g->table->shards[i], ch->book, ch->revision);
    }
    change_end(ch);
    s->done(s);
}

/* GATE_OK: it is on its way to the disk. */
static enum gate_result policy_change(struct change *ch, const struct book *current)
{
    struct policy_set *s = ch->policy;
    const struct revision *base = book_find(current, s->name);
    if (!base) return GATE_UNKNOWN;
    s->revision = base->id;
    const struct revision_draft draft = {
        .name = s->name,
        .id = ch->g->last_revision + 1,
        .at = time(NULL),
        .base = &base->policy,
        .settings = s->settings,
        .count = s->count,
    };
    enum gate_result result = revision_create(&draft, &ch->revision, s->message, sizeof s->message);
    if (result != GATE_OK) return result;
    if (strcmp(ch->revision->settings_json, base->settings_json) == 0) return GATE_UNCHANGED;
    ch->book = book_with(current, ch->revision);
    const struct store_change c = {.kind = STORE_PUT_POLICY,
                                   .u.policy = {.name = draft.name,
                                                .revision = draft.id,
                                                .at = draft.at,
                                                .settings_json = ch->revision->settings_json}};
    s->write.done = policy_stored;
    if (!ch->book || !store_submit(ch->g->store, &c, 1, &s->write)) return GATE_STORE;
    ch->g->last_revision = draft.id;
    return GATE_OK;
}

static void run_policy(struct ticket *t)
{
    struct change *ch = (struct change *)t;
    struct policy_set *s = ch->policy;
    struct book *current = gate_book(ch->g);
    s->priv = ch;
    enum gate_result result = policy_change(ch, current);
    book_release(current);
    if (result == GATE_OK) return;
    change_end(ch);
    policy_result(s, result);
}

void gate_set_policy(struct gate *g, struct policy_set *s)
{
    bool now;
    s->affected = 0;
    s->revision = 0;
    s->message[0] = '\0';
    struct change *ch = change_start(g, &(struct change){.policy = s}, run_policy, &now);
    if (!ch)
        policy_result(s, GATE_STORE);
    else if (now)
        run_policy(&ch->ticket);
}

/* ---- users ---- */
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
    bool now;
    struct change *ch = change_start(g, &(struct change){.user = u}, run_user, &now);
    if (!ch)
        user_result(u, GATE_STORE);
    else if (now)
        run_user(&ch->ticket);
}

bool gate_user_enabled(struct gate *g, const char *user)
{
    struct shard *s = table_lock(g->table, user);
    const struct owner *o = shard_owner(s, user);
    bool enabled = !o || !o->disabled;
    table_unlock(s);
    return enabled;
}

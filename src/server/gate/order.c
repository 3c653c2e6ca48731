/* Orders of administrators: like a step (step.c), on a copy, in the table only once it is durable. */
#include "src/server/gate/order.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "src/server/gate/inner.h"
#include "src/server/gate/trail/track.h"
#include "src/server/observe/log.h"

enum progress { UNDER_WAY, ENDED };

static struct shard *lock_of(struct device_order *o)
{
    return table_lock(o->gate->table, o->user);
}

static bool is_wipe(const struct device_order *o)
{
    return !o->remove && (o->kind == PV_ORDER_WIPE_ACCOUNT || o->kind == PV_ORDER_WIPE_DEVICE);
}

static bool says_a_word(const struct device_order *o)
{
    return !o->remove && (o->kind == PV_ORDER_ALLOW || o->kind == PV_ORDER_BLOCK ||
                          o->kind == PV_ORDER_QUARANTINE || o->kind == PV_ORDER_CLEAR);
}

/* ---- the end ---- */
static void tell(struct task *task)
{
    struct device_order *o = CONTAINER_OF(task, struct device_order, write.task);
    o->done(o);
}

static void drop_texts(struct device_order *o)
{
    free(o->wipe_by);
    free(o->wipe_reason);
    o->wipe_by = o->wipe_reason = NULL;
}

/* Results that are there at once come by the same way as the others: later, on the worker. */
static void finish(struct device_order *o, enum order_result result)
{
    o->result = result;
    device_release(o->device);
    o->device = NULL;
    resident_drop(&o->resident);
    drop_texts(o);
    o->write.task.fn = tell;
    worker_post(worker_self(), &o->write.task);
}

static void log_order(const struct device_order *o)
{
    LOG(LOG_INFO, 0, "order", KV_TEXT("actor", o->actor), KV_TEXT("user", o->user),
        KV_TEXT("device", o->device_id),
        KV_TEXT("order", o->remove ? "remove" : pv_order_text(o->kind)),
        KV_TEXT("was", pv_state_text(o->before)),
        KV_TEXT("is", o->remove ? "gone" : pv_state_text(o->noted)));
}

/* The turn is over. What changed in the meantime is written now, unless the next one does it. Shard
 * locked. */
static void leave(struct device_order *o, struct shard *s, int64_t now)
{
    static const struct cause cause = {0};
    struct device *d = o->device;
    desk_leave(&d->desk);
    if (d->gone) return;
    if (o->made && !d->last_seen && d->personal == PV_PERSONAL_NONE)
        device_remove(s, d); /* the entry was for an order that came to nothing */
    else if (d->unsaved)
        device_save_behind(o->gate, s, d, NULL, now, &cause);
}

/* Being allowed ends being shut out for a loop, too. */
static bool ends_loop(const struct device_order *o)
{
    const struct extra *e = o->device->extra;
    return !o->remove && o->kind == PV_ORDER_ALLOW && e && e->loop_until;
}

/* ---- what is durable comes into force ---- */
static void put_in_force(struct device_order *o, struct shard *s, int64_t now)
{
    struct device *d = o->device;
    if (!says_a_word(o)) o->next.personal = d->personal; /* which may have changed meanwhile */
    if (!o->remove && o->kind == PV_ORDER_ALLOW) track_forgive(s, d);
    device_keep(d, &o->next);
    if (is_wipe(o) && o->wipe_by) {
        struct extra *e = d->extra; /* reserved, and kept by the desk */
        free(e->wipe_by);
        free(e->wipe_reason);
        e->wipe_by = o->wipe_by;
        e->wipe_reason = o->wipe_reason;
        o->wipe_by = o->wipe_reason = NULL;
    }
    d->state = (uint8_t)o->noted;
    d->saved_at = (uint32_t)now;
    device_judge_access(o->gate, s, d);
    device_wake(o->gate, d);
}

/* What was still written of the device while its removal was on the way (its trail, folders) goes
 * as well: nobody writes for a device that has left the table, and a new one of that id comes behind
 * this in the queue. If another server has one by now, it stays: that is a conflict. */
static void take_out(struct device_order *o, struct shard *s)
{
    const struct store_change c = {.kind = STORE_REMOVE_DEVICE,
                                   .u.device = {.user = o->user, .device_id = o->device_id}};
    device_wake(o->gate, o->device);
    if (!o->device->gone) device_remove(s, o->device);
    if (!owner_submit(o->gate, o->device->owner, &c, 1, NULL))
        LOG(LOG_WARN, 0, "remainders-kept", KV_TEXT("user", o->user),
            KV_TEXT("device", o->device_id));
}

static void run_fresh(struct device_order *o);

/* Another server was faster: once more, of what the store has by now. */
static void try_again(struct device_order *o)
{
    struct shard *s = lock_of(o);
    o->device->unsaved = true;
    device_not_stored(o->gate, o->device, o->tag, &o->write);
    table_unlock(s);
    drop_texts(o);
    run_fresh(o);
}

static void stored(struct store_write *w)
{
    struct device_order *o = CONTAINER_OF(w, struct device_order, write);
    if (w->conflict && ++o->tries < TRIES_MAX) {
        try_again(o);
        return;
    }
    struct device *d = o->device;
    int64_t now = time(NULL);
    struct shard *s = lock_of(o);
    enum order_result result = d->gone ? ORDER_UNKNOWN : w->conflict ? ORDER_BUSY : ORDER_STORE;
    if (w->durable && o->remove) {
        result = o->result;
        take_out(o, s);
    } else if (w->durable) {
        result = d->gone ? ORDER_UNKNOWN : o->result;
        /* Else the device was read again since, with what another node has made of it. */
        if (!d->gone && d->tag == o->tag) put_in_force(o, s, now);
    } else {
        d->unsaved = true;
        if (o->remove)
            owner_doubt(d->owner);
        else
            device_not_stored(o->gate, d, o->tag, w);
    }
    leave(o, s, now);
    table_unlock(s);
    if (result == ORDER_DONE && !o->expire && !o->unseen_since) log_order(o);
    finish(o, result);
}

/* ---- what is written ---- */
static bool copy_texts(struct device_order *o)
{
    o->wipe_by = strdup(o->actor);
    o->wipe_reason = o->reason ? strdup(o->reason) : NULL;
    return o->wipe_by && (o->wipe_reason || !o->reason);
}

/* changed: by the order, not only by the time that has ended a wipe. Shard locked. */
static bool submit(struct device_order *o, const struct pv_policy_facts *policy, bool changed,
                   int64_t now)
{
    char act[32];
    struct device *d = o->device;
    struct cause cause = {.actor = changed ? o->actor : "server", .reason = o->reason};
    struct note n = {0};
    snprintf(act, sizeof act, "device.%s", pv_order_text(o->kind));
    if (changed) cause.act = act;
    o->write.done = stored;
    bool ok = device_reserve(d, &o->next) && (!changed || !is_wipe(o) || copy_texts(o)) &&
              note_device(&n, o->gate, d, &o->was, &o->next, policy, now, &cause);
    if (ok && o->wipe_by) { /* the record comes first in a note */
        n.changes[0].u.device.wipe_by = o->wipe_by;
        n.changes[0].u.device.wipe_reason = o->wipe_reason;
    }
    if (ok && ends_loop(o)) n.changes[0].u.device.loop_until = 0;
    o->noted = n.state;
    o->tag = n.changes[0].u.device.tag;
    ok = ok && device_submit(o->gate, d, n.changes, n.count, &o->write);
    note_end(&n);
    if (ok) d->unsaved = false;
    return ok;
}

static bool submit_removal(struct device_order *o, const struct pv_policy_facts *policy,
                           int64_t now)
{
    const struct cause cause = {.actor = o->actor, .act = "device.remove", .reason = o->reason};
    struct note n = {0};
    o->write.done = stored;
    bool ok = note_removal(&n, o->device, &o->was, policy, now, &cause) &&
              device_submit(o->gate, o->device, n.changes, n.count, &o->write);
    note_end(&n);
    return ok;
}

/* 63 bits, since the store keeps signed numbers; never 0. */
static bool new_wipe_id(uint64_t *out)
{
    do {
        if (getrandom(out, sizeof *out, 0) != (ssize_t)sizeof *out) return false;
        *out &= INT64_MAX;
    } while (*out == 0);
    return true;
}

/* What the rules say of the device when nobody has said a word about it. */
static enum pv_access ruled_access(const struct gate *g, const struct shard *s, struct device *d)
{
    uint8_t personal = d->personal;
    d->personal = PV_PERSONAL_NONE;
    enum pv_access access = access_now(g, s, d).access;
    d->personal = personal;
    return access;
}

/* ---- its turn; shard locked ---- */
/* It was not seen for so long, in memory too, and nobody has an interest in it. */
static bool is_forgotten(const struct device_order *o, const struct device *d)
{
    return d->last_seen && d->last_seen < o->unseen_since && !d->waiters &&
           o->was.personal == PV_PERSONAL_NONE && o->was.shut == PV_SHUT_NOT && !o->wipe_pending;
}

static enum progress end_wipe(struct device_order *o, const struct pv_policy_facts *policy,
                              int64_t now)
{
    o->result = ORDER_UNCHANGED;
    if (!pv_wipe_expire(&o->next, now)) return ENDED;
    o->result = ORDER_STORE;
    if (!submit(o, policy, false, now)) return ENDED;
    o->result = ORDER_DONE;
    return UNDER_WAY;
}

static enum progress order_locked(struct device_order *o, struct shard *s, int64_t now)
{
    struct device *d = o->device;
    const struct revision *policy = policy_of(s, d);
    struct pv_server_out out;

    o->result = ORDER_STORE;
    if (!policy) return ENDED;
    const struct pv_policy_facts *facts = &policy->facts[d->version];
    device_judge_access(o->gate, s, d);
    device_partnership(d, &o->was);
    o->next = o->was;
    o->before = pv_server_state(&o->was, facts, now);
    o->wipe_pending = o->before == PV_STATE_WIPE_PENDING;
    if (o->expire) return end_wipe(o, facts, now);
    if (o->unseen_since && !is_forgotten(o, d)) {
        o->result = ORDER_UNCHANGED;
        return ENDED;
    }
    if (o->remove) {
        if (!submit_removal(o, facts, now)) return ENDED;
        o->result = ORDER_DONE;
        return UNDER_WAY;
    }
    if (o->kind == PV_ORDER_WIPE_DEVICE && d->owner->no_device_wipe) {
        o->result = ORDER_FORBIDDEN;
        return ENDED;
    }
    struct pv_order order = {.kind = o->kind,
                             .now = now,
                             .wipe_expires_at = o->wipe_expires_at,
                             .access = ruled_access(o->gate, s, d),
                             .policy = *facts};
    if (is_wipe(o) && !new_wipe_id(&order.wipe_id)) return ENDED;
    if (pv_server_order(&o->next, &order, &out) != PV_OK) { /* over before its turn has come */
        o->result = ORDER_IMPOSSIBLE;
        o->why = PV_WHY_WIPE_EXPIRED;
        return ENDED;
    }
    o->why = out.reason;
    enum order_result result = out.action == PV_ACT_DONE        ? ORDER_DONE
                               : out.action == PV_ACT_UNCHANGED ? ORDER_UNCHANGED
                                                                : ORDER_IMPOSSIBLE;
    if (ends_loop(o)) {
        result = ORDER_DONE;
    } else if (out.store == PV_STORE_NOTHING) {
        o->result = result;
        return ENDED;
    }
    if (!submit(o, facts, result == ORDER_DONE, now)) return ENDED;
    o->result = result;
    return UNDER_WAY;
}

static void run(struct device_order *o)
{
    int64_t now = time(NULL);
    struct shard *s = lock_of(o);
    enum progress p = ENDED;
    if (o->device->gone)
        o->result = ORDER_UNKNOWN;
    else
        p = order_locked(o, s, now);
    if (p == ENDED) leave(o, s, now);
    table_unlock(s);
    if (p == ENDED) finish(o, o->result);
}

/* The user is there as the store has it. ok false: nobody knows. */
static void turn_was_read(struct resident *r, bool ok)
{
    struct device_order *o = CONTAINER_OF(r, struct device_order, resident);
    if (ok) {
        run(o);
        return;
    }
    struct shard *s = lock_of(o);
    desk_leave(&o->device->desk);
    table_unlock(s);
    finish(o, ORDER_STORE);
}

/* It is its turn; what others at the desk have waited for may be old. */
static void run_fresh(struct device_order *o)
{
    o->resident.ready = turn_was_read;
    if (resident_want(o->gate, &o->resident, o->user, RESIDENT_FRESH)) run(o);
}

static void turn_has_come(struct ticket *t)
{
    run_fresh(CONTAINER_OF(t, struct device_order, ticket));
}

/* ---- entries before the device was ever seen ---- */
static unsigned unseen(const struct owner *o)
{
    unsigned n = 0;
    for (const struct device *d = o ? o->devices : NULL; d; d = d->next) n += !d->last_seen;
    return n;
}

/* NULL: *result_out says why. Shard locked. */
static struct device *make_entry(struct device_order *o, struct shard *s,
                                 enum order_result *result_out)
{
    bool full = unseen(shard_owner(s, o->user)) >= ORDER_UNSEEN_MAX;
    struct device *d = full ? NULL : device_add(s, o->user, o->device_id, &full);
    *result_out = full ? ORDER_FULL : ORDER_STORE;
    if (!d) return NULL;
    o->made = true;
    d->version = (uint8_t)((const struct spoken *)o->gate->spoken)->most; /* until it says which */
    return d;
}

static void user_is_there(struct device_order *o)
{
    enum order_result result = ORDER_UNKNOWN;
    enum desk_result turn = DESK_FULL;
    struct shard *s = lock_of(o);
    struct device *d = owner_device(shard_owner(s, o->user), o->device_id);
    if (!d && o->add) d = make_entry(o, s, &result);
    if (d) {
        o->device = device_hold(d);
        turn = desk_take(&d->desk, &o->ticket, STEPS_WAITING_MAX);
        result = ORDER_BUSY;
    }
    table_unlock(s);
    if (turn == DESK_NOW)
        run(o);
    else if (turn == DESK_FULL)
        finish(o, result);
}

static void user_was_read(struct resident *r, bool ok)
{
    struct device_order *o = CONTAINER_OF(r, struct device_order, resident);
    if (ok)
        user_is_there(o);
    else
        finish(o, ORDER_STORE);
}

void gate_order(struct gate *g, struct device_order *o)
{
    o->gate = g;
    o->made = false;
    o->tries = 0;
    o->ticket.run = turn_has_come;
    o->resident.ready = user_was_read;
    if (resident_want(g, &o->resident, o->user, RESIDENT_FRESH)) user_is_there(o);
}

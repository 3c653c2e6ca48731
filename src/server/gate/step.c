/* A change of a partnership: one at a time for each device, on a copy, in the table only once it
 * is durable. */
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "src/server/gate/inner.h"
#include "src/server/gate/trail/track.h"
#include "src/server/observe/log.h"

struct step *step_make(struct gate_call *gc)
{
    struct step *s = calloc(1, sizeof *s);
    step_free(gc->step);
    gc->step = s;
    if (s) s->call = gc;
    return s;
}

struct step *step_create(struct gate_call *gc)
{
    struct step *s = step_make(gc);
    if (!s) call_http(&gc->call, 503, RETRY_AFTER_S);
    return s;
}

/* What it has made so far. */
static void undo(struct step *s)
{
    revision_release(s->policy);
    s->policy = NULL;
    demand_undo(s);
    free(s->info_patch);
    s->info_patch = NULL;
}

void step_free(struct step *s)
{
    if (!s) return;
    undo(s);
    claim_release(s->claim);
    free(s);
}

static struct device *device_of(struct step *s)
{
    return s->call->call.device;
}

static struct shard *lock_of(struct step *s)
{
    return table_lock(s->call->call.gate->table, s->call->call.user);
}

/* The result of the step goes into the table. */
static void keep(struct step *s, struct shard *shard)
{
    struct device *d = device_of(s);
    s->next.personal = d->personal; /* an administrator may have spoken meanwhile */
    device_keep(d, &s->next);
    if (s->info_patch) d->info_mark = s->info_mark;
    if (s->bond) demand_keep(s, shard);
}

static struct cause cause_of(const struct step *s)
{
    return (struct cause){.reason = s->machine ? pv_reason_name(s->out.reason)
                                    : s->bond  ? "the upstream demands another policy"
                                               : NULL};
}

/* What changed while the step was under way is written now, unless the next one does it. */
static void leave(struct step *s, struct shard *shard, int64_t now)
{
    const struct cause cause = cause_of(s);
    struct device *d = device_of(s);
    desk_leave(&d->desk);
    if (d->unsaved && !d->gone)
        device_save_behind(s->call->call.gate, shard, d, &s->before, now, &cause);
}

static void run(struct step *s);

/* Nothing of it was told: once more, of what the store has by now. */
static void try_again(struct step *s)
{
    struct shard *shard = lock_of(s);
    struct device *d = device_of(s);
    d->unsaved = true;
    device_count(d, &s->before);
    device_not_stored(s->call->call.gate, d, s->tag, &s->write);
    table_unlock(shard);
    undo(s);
    s->fresh = true;
    run(s);
}

static void stored(struct store_write *w)
{
    struct step *s = CONTAINER_OF(w, struct step, write);
    if (w->conflict && ++s->tries < TRIES_MAX) {
        try_again(s);
        return;
    }
    struct device *d = device_of(s);
    int64_t now = time(NULL);
    struct shard *shard = lock_of(s);
    enum step_result result = w->durable && !d->gone      ? STEP_DONE
                              : w->durable || w->conflict ? STEP_BUSY
                                                          : STEP_STORE;
    if (result == STEP_DONE) {
        /* Else the device was read again since, with what another node has made of it. */
        if (d->tag == s->tag) {
            keep(s, shard);
            d->state = (uint8_t)s->noted;
        }
        d->saved_at = (uint32_t)now;
        if (s->machine) track_step(s->call, shard, &s->in, &s->out, &s->before, &s->next, now);
        s->before = s->next; /* as it is written */
    } else {
        device_count(d, &s->before);
        d->unsaved = true;
        device_not_stored(s->call->call.gate, d, s->tag, w);
    }
    leave(s, shard, now);
    table_unlock(shard);
    s->done(s, result);
}

static struct store_change info_change(const struct step *s, int64_t now)
{
    const struct device *d = s->call->call.device;
    return (struct store_change){
        .kind = STORE_PUT_INFO,
        .u.info = {
            .user = d->owner->name, .device_id = d->id, .at = now, .info_json = s->info_patch}};
}

static bool submit(struct step *s, struct shard *shard, int64_t now)
{
    struct call *c = &s->call->call;
    struct device *d = device_of(s);
    const struct cause cause = cause_of(s);
    const struct revision *policy =
        s->bond ? claim_over(s->claim, policy_for(shard->book, c->user, c->req.device_id))
                : policy_of(shard, d);
    struct note n = {0};
    s->write.done = stored;
    bool ok = policy && device_reserve(d, &s->next) &&
              note_device(&n, c->gate, d, &s->before, &s->next, &policy->facts[c->req.version], now,
                          &cause);
    const struct store_change info = info_change(s, now);
    if (ok && s->info_patch) note_add(&n, &info);
    if (ok && s->bond) demand_note(s, &n);
    s->noted = n.state;
    s->tag = n.changes[0].u.device.tag; /* the record comes first in a note */
    ok = ok && device_submit(c->gate, d, n.changes, n.count, &s->write);
    note_end(&n);
    if (!ok) return false;
    d->unsaved = false;
    device_count(d, &s->next); /* a place is taken before another device asks for the last one */
    return true;
}

/* Facts, then the machine, on the copy. */
static bool run_machine(struct step *s, struct shard *shard, int64_t now)
{
    struct call *c = &s->call->call;
    struct pv_server_in said = s->in;
    struct revision *policy = policy_of(shard, device_of(s));
    if (!policy) return false;
    s->policy = revision_hold(policy);
    s->in = judge_facts(s->call, s->policy, said.event, now);
    s->in.key = said.key;
    s->in.status = said.status;
    s->in.wipe = said.wipe;
    s->in.type_fits = said.type_fits;
    s->in.has_device_info = said.has_device_info;
    if (getrandom(s->in.random, sizeof s->in.random, 0) != (ssize_t)sizeof s->in.random)
        return false;
    enum pv_err err = pv_server_step(&s->next, &s->in, &s->out);
    explicit_bzero(s->in.random, sizeof s->in.random);
    if (err)
        LOG(LOG_ERROR, call_session(c), "machine-failed", KV_TEXT("error", pv_err_name(err)));
    else
        access_refine(c->gate, shard, device_of(s), &s->out);
    return err == PV_OK;
}

enum progress { STEPPED, UNDER_WAY, FAILED };

/* What the device says of itself, unless it has said just that before. What rules look at of it
 * counts at once. false: no memory. */
static bool take_info(struct step *s, struct shard *shard)
{
    const char *const texts[KIND_TEXTS] = {[KIND_MODEL] = s->info->model, [KIND_OS] = s->info->os};
    s->info_patch = info_patch(s->info, &s->info_mark);
    if (!s->info_patch || !device_set_kind(shard, device_of(s), texts)) return false;
    if (s->info_mark != device_of(s)->info_mark) return true;
    free(s->info_patch);
    s->info_patch = NULL;
    return true;
}

/* What a device is told here it may show to another server at once: an offer, too. */
static bool must_be_stored(const struct step *s)
{
    return s->out.store == PV_STORE_FIRST ||
           (s->out.store == PV_STORE_BEHIND && store_is_shared(s->call->call.gate->store));
}

/* Shard locked; it is this step's turn. */
static enum progress step_locked(struct step *s, struct shard *shard, int64_t now)
{
    struct device *d = device_of(s);
    if (s->info && !take_info(s, shard)) return FAILED;
    if (s->claim && !demand_take(s, shard)) return FAILED;
    device_judge_access(s->call->call.gate, shard, d);
    device_partnership(d, &s->before);
    s->next = s->before;
    s->expected = s->next.key;
    if (s->machine && !run_machine(s, shard, now)) return FAILED;
    if (s->machine ? must_be_stored(s) : s->info_patch || s->bond)
        return submit(s, shard, now) ? UNDER_WAY : FAILED;
    const struct store_change info = info_change(s, now);
    if (!device_reserve(d, &s->next) ||
        (s->info_patch && !owner_submit(s->call->call.gate, d->owner, &info, 1, NULL)))
        return FAILED;
    if (s->machine && s->out.store == PV_STORE_BEHIND) d->unsaved = true;
    keep(s, shard);
    if (s->machine) track_step(s->call, shard, &s->in, &s->out, &s->before, &s->next, now);
    return STEPPED;
}

/* It is its turn, and the user is there as it must be. */
static void run_there(struct step *s)
{
    struct device *d = device_of(s);
    int64_t now = time(NULL);
    struct shard *shard = lock_of(s);
    enum progress p = d->gone ? FAILED : step_locked(s, shard, now);
    if (p != UNDER_WAY) leave(s, shard, now);
    table_unlock(shard);
    if (p == UNDER_WAY)
        call_wait(&s->call->call, NULL);
    else
        s->done(s, p == STEPPED ? STEP_DONE : STEP_STORE);
}

static void user_was_read(struct resident *r, bool ok)
{
    struct step *s = CONTAINER_OF(r, struct gate_call, resident)->step;
    if (ok) {
        run_there(s);
        return;
    }
    struct shard *shard = lock_of(s);
    desk_leave(&device_of(s)->desk);
    table_unlock(shard);
    s->done(s, STEP_STORE);
}

/* It is its turn. */
static void run(struct step *s)
{
    struct call *c = &s->call->call;
    s->call->resident.ready = user_was_read;
    if (resident_want(c->gate, &s->call->resident, c->user,
                      s->fresh ? RESIDENT_FRESH : RESIDENT_KNOWN))
        run_there(s);
    else
        call_wait(c, NULL);
}

static void turn_has_come(struct ticket *t)
{
    run(CONTAINER_OF(t, struct step, ticket));
}

/* A Provision of a device that loops; commands have been looked at before. */
static unsigned must_wait(struct step *s, struct shard *shard, int64_t now)
{
    const struct call *c = &s->call->call;
    const struct revision *policy = policy_for(shard->book, c->user, c->req.device_id);
    return track_wait(s->call, shard, &s->in, policy->id, now); /* the id is that of both */
}

void step_start(struct step *s)
{
    struct gate_call *gc = s->call;
    bool full = false;
    struct shard *shard = lock_of(s);
    int64_t now = time(NULL);
    if (!gc->call.device && call_slowed(gc, shard, track_wait_new(gc, shard, now))) return;
    if (!gc->call.device && !judge_device(gc, shard, now, &full)) {
        table_unlock(shard);
        judge_no_device(gc, full);
        return;
    }
    if (s->machine && !s->go && call_slowed(gc, shard, must_wait(s, shard, now))) return;
    s->ticket.run = turn_has_come;
    enum desk_result turn = desk_take(&gc->call.device->desk, &s->ticket, STEPS_WAITING_MAX);
    table_unlock(shard);
    switch (turn) {
    case DESK_NOW: run(s); return;
    case DESK_LATER: call_wait(&gc->call, NULL); return;
    case DESK_FULL: s->done(s, STEP_BUSY); return;
    }
}

/* ---- DeviceInformation alone ---- */
static void info_kept(struct step *s, enum step_result result)
{
    s->call->info_done(&s->call->call, result == STEP_DONE);
}

void gate_keep_device_info(struct call *c, const struct pv_device_info *info,
                           void (*done)(struct call *c, bool durable))
{
    struct gate_call *gc = gate_call_of(c);
    struct step *s = step_create(gc);
    if (!s) return;
    gc->info_done = done;
    s->info = info;
    s->done = info_kept;
    step_start(s);
}

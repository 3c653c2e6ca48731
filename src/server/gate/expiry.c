/* Wipes whose time is over although the device has never come back: noticed once a minute. */
#include <time.h>

#include "src/server/gate/inner.h"
#include "src/server/observe/log.h"

#define SWEEP_MS 60000

void shard_wipe_ends(struct shard *s, int64_t at)
{
    if (at && (!s->wipe_ends_at || at < s->wipe_ends_at)) s->wipe_ends_at = at;
}

/* Into the table once it is on its way to the disk: were it lost there, the next start would find the
 * wipe over again. false: later. */
static bool expire(struct gate *g, const struct shard *s, struct device *d,
                   const struct pv_partnership *after, int64_t now)
{
    const struct cause cause = {.actor = "server", .reason = pv_reason_name(PV_WHY_WIPE_EXPIRED)};
    const struct revision *policy = policy_of(s, d);
    struct pv_partnership before;
    struct note n = {0};
    if (desk_taken(&d->desk)) return false; /* its turn may end the wipe */
    device_partnership(d, &before);
    bool ok = policy &&
              note_device(&n, g, d, &before, after, &policy->facts[d->version], now, &cause) &&
              device_submit(g, d, n.changes, n.count, NULL);
    if (ok) {
        device_keep(d, after);
        d->state = (uint8_t)n.state;
        d->saved_at = (uint32_t)now;
        d->unsaved = false;
        device_wake(g, d);
    }
    note_end(&n);
    return ok;
}

static bool is_pending(const struct pv_partnership *p)
{
    return p->wipe_state == PV_WIPE_STATE_REQUESTED || p->wipe_state == PV_WIPE_STATE_SENT ||
           p->wipe_state == PV_WIPE_STATE_FAILED;
}

static void look_at(struct gate *g, struct shard *s, struct device *d, int64_t now)
{
    struct pv_partnership p;
    device_partnership(d, &p);
    if (pv_wipe_expire(&p, now)) {
        if (!expire(g, s, d, &p, now)) shard_wipe_ends(s, now);
    } else if (is_pending(&p)) {
        shard_wipe_ends(s, p.wipe_expires_at);
    }
}

static void sweep_shard(struct gate *g, struct shard *s, int64_t now)
{
    if (!s->wipe_ends_at || now < s->wipe_ends_at) return;
    s->wipe_ends_at = 0;
    for (size_t b = 0; b <= s->mask; b++)
        for (struct owner *o = s->buckets[b]; o; o = o->next)
            for (struct device *d = o->devices; d; d = d->next)
                if (d->wipe_state != PV_WIPE_STATE_NONE) {
                    device_judge_access(g, s, d);
                    look_at(g, s, d, now);
                }
}

void gate_sweep(struct gate *g)
{
    for (size_t i = 0; i < TABLE_SHARDS; i++) {
        struct shard *s = &g->table->shards[i];
        pthread_mutex_lock(&s->mutex);
        sweep_shard(g, s, time(NULL));
        pthread_mutex_unlock(&s->mutex);
    }
}

static void minute_is_over(struct timer *t)
{
    struct gate *g = CONTAINER_OF(t, struct gate, sweep_timer);
    gate_sweep(g);
    timer_set(worker_self(), t, SWEEP_MS, minute_is_over);
}

static void begin(struct task *task)
{
    minute_is_over(&CONTAINER_OF(task, struct gate, sweep_task)->sweep_timer);
}

void gate_begin(struct gate *g, struct worker *w)
{
    g->sweep_task.fn = begin;
    worker_post(w, &g->sweep_task);
}

/* Listings for administrators: copies, so that nobody waits while they are written out. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "src/server/gate/inner.h"
#include "src/server/gate/table/resident.h"
#include "src/server/observe/log.h"

#define COUNT_EVERY_S 3

/* Into a view that has the rest already. A wipe that is over counts as expired at once. */
static void view_wipe(struct device_view *v, struct pv_partnership p, int64_t now)
{
    (void)pv_wipe_expire(&p, now);
    v->wipe = (enum pv_wipe_kind)p.wipe;
    v->wipe_state = (enum pv_wipe_state)p.wipe_state;
    v->wipe_id = p.wipe_id;
    v->wipe_at = p.wipe_at;
    v->wipe_sent_at = p.wipe_sent_at;
    v->wipe_ended_at = p.wipe_ended_at;
    v->wipe_expires_at = p.wipe_expires_at;
    v->shut = p.shut != PV_SHUT_NOT;
}

struct faces {
    char type[KIND_TEXT_MAX], agent[KIND_TEXT_MAX];
};

/* Shard locked. */
static void view_trail(struct device_view *v, const struct shard *s, const struct device *d,
                       int64_t now, struct faces *faces)
{
    enum damping_kind kind;
    struct trail *t = trail_find(&s->trails, d);
    v->loop_until = access_loop_until(d, now);
    faces->type[0] = faces->agent[0] = '\0';
    v->clone_type = faces->type;
    v->clone_agent = faces->agent;
    if (!t) return;
    if (damping_slowed(&t->damping, now, &kind)) v->slowed_by = damping_text(kind);
    v->clone_returns = t->clone.returns;
    if (!t->clone.other) return;
    snprintf(faces->type, sizeof faces->type, "%s", kind_text(t->clone.other, KIND_TYPE));
    snprintf(faces->agent, sizeof faces->agent, "%s", kind_text(t->clone.other, KIND_AGENT));
}

/* Shard locked. */
static void view_bond(struct device_view *v, const struct shard *s, const struct device *d,
                      char upstream[CLAIM_UPSTREAM_MAX])
{
    const struct bond *b = d->bound ? bond_find(&s->bonds, d) : NULL;
    if (!b) return;
    snprintf(upstream, CLAIM_UPSTREAM_MAX, "%s", b->claim->upstream);
    v->upstream = upstream;
    v->upstream_policy = b->claim->saved != NULL;
    v->upstream_key = b->key != 0;
}

/* ---- one device ---- */
/* What is worked out for a view, while its shard is locked. */
struct sight {
    struct device_view view; /* borrows from the device, and from what follows */
    struct revision *policy;
    char access_by[ACCESS_BY_TEXT], upstream[CLAIM_UPSTREAM_MAX];
    struct faces faces;
};

static void see_texts(struct device_view *v, const struct device *d)
{
    const struct extra *e = d->extra;
    v->device_type = device_text(d, KIND_TYPE);
    v->user_agent = device_text(d, KIND_AGENT);
    v->model = device_text(d, KIND_MODEL);
    v->os = device_text(d, KIND_OS);
    v->wipe_by = e && e->wipe_by ? e->wipe_by : "";
    v->wipe_reason = e && e->wipe_reason ? e->wipe_reason : "";
}

/* Shard locked. false: no memory. */
static bool see(struct sight *sight, struct gate *g, struct shard *s, struct device *d, int64_t now)
{
    struct pv_partnership p;
    struct revision *r = policy_of(s, d);
    if (!r) return false;
    const struct verdict verdict = access_now(g, s, d);
    d->access = (uint8_t)verdict.access;
    access_by_text(&verdict, sight->access_by);
    device_partnership(d, &p);
    sight->policy = r;
    sight->view = (struct device_view){
        .user = d->owner->name,
        .device_id = d->id,
        .policy = r->name,
        .settings = &r->policy,
        .access = verdict.access,
        .access_by = sight->access_by,
        .version = (enum pv_version)d->version,
        .state = pv_server_state(&p, &r->facts[d->version], now),
        .outcome = (enum pv_outcome)p.outcome,
        .revision = p.key ? p.key_revision : 0,
        .first_seen = d->first_seen,
        .last_seen = d->last_seen,
        .key_at = p.key ? p.key_at : 0,
        .said = p.said,
        .outcome_revision = p.outcome_revision,
        .personal = (enum pv_personal)p.personal,
        .user_disabled = d->owner->disabled,
        .upstream_conflict = r->closed,
        .user_device_wipe = !d->owner->no_device_wipe,
    };
    see_texts(&sight->view, d);
    view_bond(&sight->view, s, d, sight->upstream);
    view_trail(&sight->view, s, d, now, &sight->faces);
    view_wipe(&sight->view, p, now);
    return true;
}

/* A view that needs no lock. */
struct shown {
    struct device_view view;
    struct revision *policy; /* held */
    char texts[];
};

static const size_t view_texts[] = {
    offsetof(struct device_view, user),        offsetof(struct device_view, device_id),
    offsetof(struct device_view, device_type), offsetof(struct device_view, user_agent),
    offsetof(struct device_view, model),       offsetof(struct device_view, os),
    offsetof(struct device_view, access_by),   offsetof(struct device_view, wipe_by),
    offsetof(struct device_view, wipe_reason), offsetof(struct device_view, upstream),
    offsetof(struct device_view, clone_type),  offsetof(struct device_view, clone_agent),
};
#define VIEW_TEXTS (sizeof view_texts / sizeof *view_texts)

static const char **text_at(struct device_view *v, size_t i)
{
    return (const char **)(void *)((char *)v + view_texts[i]);
}

/* NULL: no memory. */
static struct shown *copy_sight(struct sight *sight)
{
    size_t size = 0;
    for (size_t i = 0; i < VIEW_TEXTS; i++) {
        const char *text = *text_at(&sight->view, i);
        size += text ? strlen(text) + 1 : 0;
    }
    struct shown *shown = malloc(sizeof *shown + size);
    if (!shown) return NULL;
    char *at = shown->texts;
    shown->view = sight->view;
    for (size_t i = 0; i < VIEW_TEXTS; i++) {
        const char **text = text_at(&shown->view, i);
        size_t len = *text ? strlen(*text) + 1 : 0;
        if (*text) *text = memcpy(at, *text, len);
        at += len;
    }
    shown->policy = revision_hold(sight->policy);
    return shown;
}

static void shown_free(struct shown *shown)
{
    if (shown) revision_release(shown->policy);
    free(shown);
}

/* ---- who else has a device of that id ---- */
struct but_one {
    const char *but;
    void (*each)(void *ctx, const char *user);
    void *ctx;
};

static void leave_one_out(void *ctx, const char *user)
{
    const struct but_one *b = ctx;
    if (strcmp(user, b->but) != 0) b->each(b->ctx, user);
}

static bool each_user_of(struct gate *g, const char *device_id, const char *but, unsigned most,
                         void (*each)(void *ctx, const char *user), void *ctx)
{
    struct but_one b = {but, each, ctx};
    return store_read_users_of(g->store, device_id, most + 1, leave_one_out, &b);
}

bool gate_each_user_of(struct gate *g, const char *device_id, const char *but, unsigned most,
                       void (*each)(void *ctx, const char *user), void *ctx)
{
    (void)store_settle(g->store, store_submitted(g->store)); /* new devices are written behind */
    return each_user_of(g, device_id, but, most, each, ctx);
}

struct others {
    const char *names[GATE_OTHERS_MAX];
    char text[GATE_OTHERS_MAX][AUTH_USER_MAX];
    size_t count;
};

static void add_other(void *ctx, const char *user)
{
    struct others *o = ctx;
    if (o->count == GATE_OTHERS_MAX) return;
    snprintf(o->text[o->count], sizeof o->text[0], "%s", user);
    o->names[o->count] = o->text[o->count];
    o->count++;
}

/* ---- a listing ---- */
struct listing {
    struct gate *g;
    struct device_listing *l;
    struct shown **shown; /* of the user that is walked over */
    size_t count, cap;
    uint64_t found, looked; /* so far */
    int64_t now;
    bool failed;
};

static bool push(struct listing *k, struct sight *sight)
{
    if (k->count == k->cap) {
        size_t cap = k->cap ? k->cap * 2 : 16;
        struct shown **shown = realloc(k->shown, cap * sizeof(struct shown *));
        if (!shown) return false;
        k->shown = shown;
        k->cap = cap;
    }
    return (k->shown[k->count] = copy_sight(sight)) && ++k->count;
}

static bool look_at(void *ctx, struct shard *s, struct device *d)
{
    struct listing *k = ctx;
    struct device_listing *l = k->l;
    struct sight sight;
    /* One more than is wanted shows that there is more. */
    l->more = (l->most && k->found == l->most) || (l->looks && k->looked == l->looks);
    if (l->more) return false;
    k->looked++;
    snprintf(l->last_user, sizeof l->last_user, "%s", d->owner->name);
    snprintf(l->last_device_id, sizeof l->last_device_id, "%s", d->id);
    if (l->not_seen_since && d->last_seen >= l->not_seen_since) return true;
    k->failed = !see(&sight, k->g, s, d, k->now);
    if (k->failed || (l->fits && !l->fits(l->ctx, &sight.view))) return !k->failed;
    k->failed = !push(k, &sight);
    k->found++;
    return !k->failed;
}

static void show_user(void *ctx)
{
    struct listing *k = ctx;
    struct device_listing *l = k->l;
    for (size_t i = 0; i < k->count; i++) {
        struct device_view *v = &k->shown[i]->view;
        struct others others = {.count = 0};
        if (l->others &&
            !each_user_of(k->g, v->device_id, v->user, GATE_OTHERS_MAX, add_other, &others))
            k->failed = true;
        v->other_users = others.names;
        v->other_user_count = others.count;
        l->each(l->ctx, v);
        shown_free(k->shown[i]);
    }
    k->count = 0;
}

bool gate_list_devices(struct gate *g, struct device_listing *l)
{
    struct listing k = {.g = g, .l = l, .now = time(NULL)};
    const struct walk w = {
        .query = {.filter = l->not_seen_since ? STORE_SEEN_BEFORE : STORE_ALL,
                  .before = l->not_seen_since,
                  .user = l->user,
                  .after_user = l->after_user,
                  .after_device_id = l->after_device_id},
        .each = look_at,
        .between = show_user,
        .ctx = &k,
    };
    l->more = false;
    bool ok = gate_walk(g, &w);
    free(k.shown);
    return ok && !k.failed;
}

bool gate_each_device(struct gate *g, void (*each)(void *ctx, const struct device_view *d),
                      void *ctx)
{
    return gate_list_devices(g, &(struct device_listing){.others = true, .each = each, .ctx = ctx});
}

/* ---- how all stand ---- */
struct standings {
    void (*each)(void *ctx, const struct device_standing *d);
    void *ctx;
    int64_t now;
    bool failed;
};

static bool stand(void *ctx, struct shard *s, struct device *d)
{
    struct standings *k = ctx;
    struct pv_partnership p;
    const struct revision *r = policy_of(s, d);
    k->failed = !r;
    if (!r) return false;
    device_partnership(d, &p);
    const struct device_standing standing = {
        .policy = r->name,
        .outcome_revision = p.outcome_revision,
        .outcome = (enum pv_outcome)p.outcome,
        .refresh_due = pv_server_state(&p, &r->facts[d->version], k->now) == PV_STATE_REFRESH_DUE,
    };
    k->each(k->ctx, &standing);
    return true;
}

bool gate_each_standing(struct gate *g, void (*each)(void *ctx, const struct device_standing *d),
                        void *ctx)
{
    struct standings k = {.each = each, .ctx = ctx, .now = time(NULL)};
    return gate_walk(g, &(struct walk){.each = stand, .ctx = &k}) && !k.failed;
}

/* ---- one of them ---- */
int gate_show_device(struct gate *g, const char *user, const char *device_id,
                     void (*show)(void *ctx, const struct device_view *d), void *ctx)
{
    struct sight sight;
    struct shown *shown = NULL;
    struct resident r = {0};
    if (!resident_read(g, &r, user, RESIDENT_KNOWN)) return -1;
    struct shard *s = table_lock(g->table, user);
    struct device *d = owner_device(r.owner, device_id);
    if (d && see(&sight, g, s, d, time(NULL))) shown = copy_sight(&sight);
    table_unlock(s);
    resident_drop(&r);
    if (shown) show(ctx, &shown->view);
    shown_free(shown);
    return !d ? 0 : shown ? 1 : -1;
}

void gate_count(struct gate *g, struct gate_counts *out)
{
    *out = (struct gate_counts){
        .requests = atomic_load_explicit(&g->requests, memory_order_relaxed),
        .refusals = atomic_load_explicit(&g->refusals, memory_order_relaxed),
        .handshakes = atomic_load_explicit(&g->handshakes, memory_order_relaxed),
    };
    for (size_t i = 0; i < TABLE_SHARDS; i++) {
        struct shard *s = &g->table->shards[i];
        pthread_mutex_lock(&s->mutex);
        out->devices += (unsigned)s->devices;
        out->waiting_pings += (unsigned)s->waiters;
        pthread_mutex_unlock(&s->mutex);
    }
}

/* Counting many takes the store a while, and who looks at the server does so often. */
bool gate_count_stored(struct gate *g, uint64_t *out)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    pthread_mutex_lock(&g->count_mutex);
    bool known = g->counted_at && now.tv_sec - g->counted_at < COUNT_EVERY_S;
    /* A shared one that is not heard is not asked: it may take long to say nothing. */
    if (!known) {
        known = store_is_heard(g->store) && store_count_devices(g->store, &g->stored_count);
        g->counted_at = known ? now.tv_sec + !now.tv_sec : 0;
    }
    *out = g->stored_count;
    pthread_mutex_unlock(&g->count_mutex);
    return known;
}

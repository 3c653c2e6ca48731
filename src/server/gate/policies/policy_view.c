/* Policies as administrators see them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "src/server/gate/inner.h"
#include "src/server/gate/table/resident.h"

/* ---- how far roll-outs have come ---- */
static struct roll_view roll_view_of(const struct line *roller)
{
    return (struct roll_view){.revision = roller->candidate->id,
                              .percent = roller->roll->percent,
                              .group_count = roller->roll->count,
                              .groups = roller->roll->groups};
}

/* A refused acknowledgement leaves the key that was there before. */
static void count_device(const struct device *d, const struct revision *r, struct roll_view *v)
{
    if (!d->key || !r) return;
    if (memcmp(d->key_hash, r->facts[d->version].hash, PV_HASH_LEN) == 0)
        v->confirmed++;
    else if (d->outcome == PV_OUTCOME_REFUSED && d->outcome_revision == r->id)
        v->refused++;
    else
        v->to_ask++;
}

/* Those that are being rolled out, and how far they have come. */
struct rolls {
    struct book *book;
    const struct line **lines;
    struct roll_view *views; /* of each of lines */
    size_t count;
    bool failed;
};

static bool count_one(void *ctx, struct shard *s, struct device *d)
{
    struct rolls *r = ctx;
    const struct pick p = book_pick(r->book, d->owner->name, d->id);
    for (size_t i = 0; p.in_roll && i < r->count; i++) {
        if (r->lines[i] != p.line->roller) continue;
        const struct revision *is = policy_in(r->book, s, d);
        r->failed = !is;
        count_device(d, is, &r->views[i]);
    }
    return !r->failed;
}

/* Of one policy, or (NULL) all. false: no memory. */
static bool find_rolls(struct rolls *r, const char *name)
{
    const struct book *b = r->book;
    r->lines = calloc(b->line_count, sizeof *r->lines);
    r->views = calloc(b->line_count, sizeof *r->views);
    if (!r->lines || !r->views) return false;
    for (size_t i = 0; i < b->line_count; i++) {
        const struct line *l = b->lines[i];
        if (!l->candidate || (name && strcmp(l->name, name) != 0)) continue;
        r->views[r->count] = roll_view_of(l);
        r->lines[r->count++] = l;
    }
    return true;
}

static const struct roll_view *roll_of(const struct rolls *r, const struct line *l)
{
    for (size_t i = 0; i < r->count; i++)
        if (r->lines[i] == l) return &r->views[i];
    return NULL;
}

/* ---- policies ---- */
static void show_line(const struct line *l, const struct roll_view *roll,
                      void (*show)(void *ctx, const struct policy_view *v), void *ctx)
{
    const struct policy_view v = {
        .name = l->name,
        .parent = l->current->parent,
        .by = l->effective->newest->by,
        .revision = l->effective->id,
        .at = l->effective->newest->at,
        .own_revision = l->current->id,
        .policy = &l->effective->policy,
        .own = &l->current->policy,
        .roll = roll,
    };
    show(ctx, &v);
}

static void show_uncounted(const struct line *l,
                           void (*show)(void *ctx, const struct policy_view *v), void *ctx)
{
    struct roll_view roll;
    if (l->candidate) roll = roll_view_of(l);
    show_line(l, l->candidate ? &roll : NULL, show, ctx);
}

bool gate_show_policy(struct gate *g, const char *name,
                      void (*show)(void *ctx, const struct policy_view *v), void *ctx)
{
    struct book *b = gate_book(g);
    const struct line *l = book_line(b, name);
    if (l) show_uncounted(l, show, ctx);
    book_release(b);
    return l != NULL;
}

void gate_each_policy(struct gate *g, void (*each)(void *ctx, const struct policy_view *v),
                      void *ctx)
{
    struct book *b = gate_book(g);
    for (size_t i = 0; i < b->line_count; i++) show_uncounted(b->lines[i], each, ctx);
    book_release(b);
}

bool gate_count_rolls(struct gate *g, const char *name,
                      void (*each)(void *ctx, const struct policy_view *v), void *ctx)
{
    struct rolls r = {.book = gate_book(g)};
    const struct walk w = {.each = count_one, .ctx = &r};
    bool ok = find_rolls(&r, name) && (r.count == 0 || gate_walk(g, &w)) && !r.failed;
    for (size_t i = 0; ok && i < r.book->line_count; i++) {
        const struct line *l = r.book->lines[i];
        if (!name || strcmp(l->name, name) == 0) show_line(l, roll_of(&r, l), each, ctx);
    }
    book_release(r.book);
    free(r.lines);
    free(r.views);
    return ok;
}

void gate_each_assignment(struct gate *g,
                          void (*each)(void *ctx, const struct gate_assignee *to,
                                       const char *policy),
                          void *ctx)
{
    struct book *b = gate_book(g);
    for (enum gate_scope scope = GATE_SCOPE_DEFAULT; scope < GATE_SCOPE_COUNT; scope++)
        for (size_t i = 0; i < b->assignment_count; i++)
            if (b->assignments[i]->to.scope == scope)
                each(ctx, &b->assignments[i]->to, b->assignments[i]->policy);
    book_release(b);
}

/* ---- what applies to whom ---- */
static bool fits(const struct gate_assignee *to, enum gate_scope scope, const char *user,
                 const char *device_id)
{
    if (to->scope != scope) return false;
    if (scope == GATE_SCOPE_USER) return strcmp(to->user, user) == 0;
    return scope == GATE_SCOPE_DEVICE && strcmp(to->user, user) == 0 &&
           (!device_id || strcmp(to->device_id, device_id) == 0);
}

/* Nearest first; groups in the order of the configuration. */
static size_t find_candidates(const struct book *b, const char *user, const char *device_id,
                              struct effective_candidate *out)
{
    static const enum gate_scope nearest[] = {GATE_SCOPE_DEVICE, GATE_SCOPE_USER};
    size_t count = 0;
    for (size_t n = 0; n < sizeof nearest / sizeof *nearest; n++)
        for (size_t i = 0; i < b->assignment_count; i++)
            if (fits(&b->assignments[i]->to, nearest[n], user, device_id))
                out[count++] =
                    (struct effective_candidate){b->assignments[i]->to, b->assignments[i]->policy};
    for (size_t g = 0; g < b->groups->count; g++)
        for (size_t i = 0; i < b->assignment_count; i++) {
            const struct gate_assignee *to = &b->assignments[i]->to;
            if (to->scope == GATE_SCOPE_GROUP && strcmp(to->group, b->groups->group[g].name) == 0 &&
                group_has(b->groups, to->group, user))
                out[count++] = (struct effective_candidate){*to, b->assignments[i]->policy};
        }
    out[count++] = (struct effective_candidate){{.scope = GATE_SCOPE_DEFAULT}, b->by_default->name};
    return count;
}

/* plain: ours alone. */
static void fill_settings(struct effective_view *v, const struct revision *plain,
                          const struct revision *r)
{
    static const struct pv_partnership fresh; /* only its version can keep it out */
    enum pv_change changes[PV_SETTING_COUNT];
    v->settings = &r->policy;
    v->revision = r->id;
    pv_policy_compare(&plain->policy, &r->policy, PV_VERSION_COUNT - 1, changes);
    for (int s = 0; s < PV_SETTING_COUNT; s++) {
        bool set = r->policy.set >> s & 1, ours = plain->policy.set >> s & 1;
        bool other = changes[s] != PV_SAME || plain->policy.value[s] != r->policy.value[s];
        v->demanded[s] = r != plain && set && (!ours || other);
        v->from[s] = set && !v->demanded[s] ? revision_source(plain, (enum pv_setting)s) : NULL;
    }
    for (int i = 0; i < PV_VERSION_COUNT; i++)
        v->barred[i] = pv_server_state(&fresh, &r->facts[i], time(NULL)) == PV_STATE_REFUSED;
}

/* Ours, with what the upstream of the device demands, held; NULL: no memory. */
static struct revision *with_demand(struct gate *g, const char *user, const char *device_id,
                                    struct revision *plain, char upstream[CLAIM_UPSTREAM_MAX])
{
    struct revision *r = plain;
    struct shard *s = table_lock(g->table, user);
    struct device *d = device_id ? owner_device(shard_owner(s, user), device_id) : NULL;
    const struct bond *bond = d && d->bound ? bond_find(&s->bonds, d) : NULL;
    upstream[0] = '\0';
    if (bond && bond->claim->saved) {
        snprintf(upstream, CLAIM_UPSTREAM_MAX, "%s", bond->claim->upstream);
        r = claim_over(bond->claim, plain);
    }
    if (r) revision_hold(r);
    table_unlock(s);
    return r;
}

bool gate_show_effective(struct gate *g, const char *user, const char *device_id,
                         void (*show)(void *ctx, const struct effective_view *v), void *ctx)
{
    struct resident resident = {0};
    if (!resident_read(g, &resident, user, RESIDENT_KNOWN)) return false;
    struct book *b = gate_book(g);
    const struct pick p = book_pick(b, user, device_id);
    char upstream[CLAIM_UPSTREAM_MAX];
    struct revision *r = with_demand(g, user, device_id, pick_revision(p), upstream);
    struct effective_candidate *candidates = calloc(b->assignment_count + 1, sizeof *candidates);
    bool ok = candidates && r;
    if (ok) {
        struct roll_view roll;
        struct effective_view v = {
            .policy = p.line->name,
            .by = p.by ? p.by->to : (struct gate_assignee){.scope = GATE_SCOPE_DEFAULT},
            .in_roll = p.in_roll,
            .candidates = candidates,
            .candidate_count = find_candidates(b, user, device_id, candidates),
        };
        if (p.line->roller) {
            roll = roll_view_of(p.line->roller);
            v.roll = &roll;
            v.roller = p.line->roller->name;
        }
        if (*upstream) v.upstream = upstream;
        fill_settings(&v, pick_revision(p), r);
        show(ctx, &v);
    }
    revision_release(r);
    free(candidates);
    book_release(b);
    resident_drop(&resident);
    return ok;
}

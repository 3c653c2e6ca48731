/* Administrators change the access rules: one at a time, durable before anybody is told. */
#include "src/server/gate/rules/rules_admin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "src/json_text.h"
#include "src/server/gate/inner.h"
#include "src/server/gate/lists.h"

#define ACCESS_ITEM "default" /* the only item of kind "access" */
#define KEEP_AT_ONCE 2048     /* devices that get a word before the store must have followed */

/* One change on its way. Belongs to the caller's rules_set until that is done. */
struct change {
    struct ticket ticket; /* first: see run */
    struct gate *g;
    struct rules_set *set;
    struct lists_waiter waiter;
    struct lists_guard guard;     /* of current */
    struct rules *current, *next; /* held while it is its turn */
    unsigned kept;                /* of this round */
    bool keep_failed;
    struct access_scan scan; /* with next */
};

static void change_end(struct change *ch)
{
    admin_turn_end(ch->g);
    rules_release(ch->current);
    rules_release(ch->next);
    free(ch);
}

/* ---- whom it concerns ---- */
/* Is it in, and would the other rules keep it out? Shard locked. */
static bool is_shut_out(struct change *ch, struct shard *s, struct device *d)
{
    struct verdict now, then;
    if (!d->in) return false;
    access_compare(ch->g, s, d, &ch->scan, &now, &then);
    return now.access == PV_ACCESS_OK && then.access != PV_ACCESS_OK;
}

static void count_one(void *ctx, struct shard *s, struct device *d)
{
    struct change *ch = ctx;
    ch->set->devices += is_shut_out(ch, s, d);
}

/* The word counts at once: it says what is so already. Of a device whose write is under way only the
 * line of the log is written here; the device follows when that write ends. */
static void keep_one(void *ctx, struct shard *s, struct device *d)
{
    struct change *ch = ctx;
    int64_t now = time(NULL);
    const struct cause cause = {ch->set->actor, "device.allow", "known before the default changed"};
    struct pv_partnership before;
    if (ch->kept == KEEP_AT_ONCE || ch->keep_failed || !is_shut_out(ch, s, d)) return;
    ch->kept++;
    device_partnership(d, &before);
    d->personal = PV_PERSONAL_ALLOW;
    bool busy = desk_taken(&d->desk);
    device_save_behind(ch->g, s, d, &before, now, &cause);
    if (!busy) {
        ch->keep_failed = d->unsaved;
        return;
    }
    char *line = note_act(cause.actor, cause.act, now,
                          json_pack("{s:o,s:o,s:s}", "user", json_of_peer(d->owner->name),
                                    "device_id", json_of_peer(d->id), "reason", cause.reason),
                          NULL, NULL);
    const struct store_change c = {.kind = STORE_ADD_AUDIT, .u.log.json = line};
    ch->keep_failed = !line || !store_submit(ch->g->store, &c, 1, NULL);
    free(line);
}

/* ---- the change ---- */
static void tell(struct task *task)
{
    struct rules_set *s = CONTAINER_OF(task, struct rules_set, write.task);
    s->done(s);
}

/* Results that are there at once come by the same way as the others: later, on the worker. */
static void result_later(struct rules_set *s, enum rules_result result)
{
    s->result = result;
    s->write.task.fn = tell;
    worker_post(worker_self(), &s->write.task);
}

static void put_in_shard(struct gate *g, struct shard *s, struct rules *next)
{
    pthread_mutex_lock(&s->mutex);
    struct rules *old = s->rules;
    s->rules = rules_hold(next);
    for (size_t b = 0; b <= s->mask; b++)
        for (struct owner *o = s->buckets[b]; o; o = o->next)
            for (struct device *d = o->devices; d; d = d->next) {
                d->ruled = 0;
                if (d->waiters && access_now(g, s, d).access != (enum pv_access)d->access)
                    device_wake(g, d);
            }
    pthread_mutex_unlock(&s->mutex);
    rules_release(old);
}

void rules_put_in_force(struct gate *g, struct rules *next)
{
    for (size_t i = 0; i < TABLE_SHARDS; i++) put_in_shard(g, &g->table->shards[i], next);
}

static enum rules_result why_not(struct change *ch, const struct store_write *w)
{
    return lists_failed(ch->g, w) ? RULES_CONFLICT : RULES_STORE;
}

static void stored(struct store_write *w)
{
    struct rules_set *s = CONTAINER_OF(w, struct rules_set, write);
    struct change *ch = s->priv;
    if (w->durable) {
        s->result = RULES_DONE;
        if (lists_enter(ch->g, &ch->guard)) rules_put_in_force(ch->g, ch->next);
        lists_leave(ch->g);
    } else {
        s->result = why_not(ch, w);
    }
    change_end(ch);
    s->done(s);
}

/* What the change makes of the rules, in ch->next. */
static enum rules_result work_out(struct change *ch, int64_t now)
{
    struct rules_set *s = ch->set;
    const struct rules *current = ch->current;
    switch (s->change) {
    case RULES_ADD:
        if (current->count >= RULES_MAX || current->last_id == UINT32_MAX) return RULES_FULL;
        s->rule.id = current->last_id + 1;
        s->rule.at = now;
        ch->next = rules_with(current, &s->rule);
        break;
    case RULES_REMOVE: {
        const struct rule *r = rules_find(current, s->rule.id);
        if (!r) return RULES_UNKNOWN;
        s->rule = *r;
        ch->next = rules_without(current, s->rule.id);
        break;
    }
    case RULES_DEFAULT:
        if (s->otherwise == (enum pv_access)current->otherwise) return RULES_UNCHANGED;
        ch->next = rules_otherwise(current, s->otherwise, 0);
        break;
    }
    return ch->next ? RULES_DONE : RULES_STORE;
}

static char *text_and_free(json_t *json)
{
    char *text = text_of_json(json, JSON_COMPACT);
    json_decref(json);
    return text;
}

static json_t *default_json(const struct rules *r)
{
    return json_pack("{s:s}", "default", access_text((enum pv_access)r->otherwise));
}

static char *act_of(const struct change *ch, int64_t now)
{
    const struct rules_set *s = ch->set;
    switch (s->change) {
    case RULES_ADD:
        return note_act(s->actor, "rule.add", now,
                        json_pack("{s:I,s:I}", "rule", (json_int_t)s->rule.id, "devices_shut_out",
                                  (json_int_t)s->devices),
                        NULL, rule_told(&s->rule));
    case RULES_REMOVE:
        return note_act(s->actor, "rule.remove", now,
                        json_pack("{s:I,s:I}", "rule", (json_int_t)s->rule.id, "devices_shut_out",
                                  (json_int_t)s->devices),
                        rule_told(&s->rule), NULL);
    case RULES_DEFAULT: break;
    }
    return note_act(s->actor, "access.default", now,
                    json_pack("{s:b,s:I}", "keep_known", (int)s->keep_known,
                              s->keep_known ? "devices_kept" : "devices_shut_out",
                              (json_int_t)s->devices),
                    default_json(ch->current), default_json(ch->next));
}

/* The default with the number that was given last. Freed by the caller; NULL: no memory. */
static char *access_item(const struct rules *r)
{
    return text_and_free(json_pack("{s:s,s:I}", "default",
                                   access_text((enum pv_access)r->otherwise), "last_id",
                                   (json_int_t)r->last_id));
}

/* One transaction: the rule, the default with the number given last, and the line of the log. */
static bool submit(struct change *ch, int64_t now)
{
    struct rules_set *s = ch->set;
    struct store_change changes[4];
    size_t count = 0;
    char name[16];
    char *access = access_item(ch->next);
    char *rule = s->change == RULES_ADD ? text_and_free(rule_json(&s->rule)) : NULL;
    char *line = act_of(ch, now);
    bool ok = access && line && (rule || s->change != RULES_ADD);
    snprintf(name, sizeof name, "%u", (unsigned)s->rule.id);
    changes[count++] =
        (struct store_change){.kind = STORE_PUT_ITEM, .u.item = {"access", ACCESS_ITEM, access}};
    changes[count++] = (struct store_change){.kind = STORE_ADD_AUDIT, .u.log.json = line};
    changes[count++] = lists_change(&ch->guard);
    if (s->change != RULES_DEFAULT)
        changes[count++] = (struct store_change){.kind = rule ? STORE_PUT_ITEM : STORE_REMOVE_ITEM,
                                                 .u.item = {"rule", name, rule}};
    s->write.done = stored;
    ok = ok && store_submit(ch->g->store, changes, count, &s->write);
    free(access);
    free(rule);
    free(line);
    return ok;
}

static enum rules_result keep_round(struct change *ch);

static void round_stored(struct store_write *w)
{
    struct rules_set *s = CONTAINER_OF(w, struct rules_set, write);
    struct change *ch = s->priv;
    enum rules_result result = w->durable ? keep_round(ch) : why_not(ch, w);
    if (result == RULES_DONE) return;
    change_end(ch);
    s->result = result;
    s->done(s);
}

/* A fleet is more than the store takes at once: between two rounds it is asked whether all is as it was.
 * When a round fails, the words that were given stay; they say what is so. */
static enum rules_result keep_round(struct change *ch)
{
    struct rules_set *s = ch->set;
    ch->kept = 0;
    ch->scan.shard = NULL;
    table_each(ch->g->table, keep_one, ch);
    if (ch->keep_failed) return RULES_STORE;
    if (ch->kept < KEEP_AT_ONCE) return submit(ch, time(NULL)) ? RULES_DONE : RULES_STORE;
    const struct store_change c = lists_check(&ch->guard);
    s->write.done = round_stored;
    return store_submit(ch->g->store, &c, 1, &s->write) ? RULES_DONE : RULES_STORE;
}

/* RULES_DONE, and not only a dry run: it is on its way to the disk. */
static enum rules_result start(struct change *ch)
{
    struct rules_set *s = ch->set;
    int64_t now = time(NULL);
    enum rules_result result = work_out(ch, now);
    if (result != RULES_DONE) return result;
    ch->scan.then = ch->next;
    table_each(ch->g->table, count_one, ch);
    if (s->dry_run) return RULES_DONE;
    bool keep = s->change == RULES_DEFAULT && s->keep_known;
    if (s->devices && !s->confirm && !keep) return RULES_ASK;
    if (keep) return keep_round(ch);
    return submit(ch, now) ? RULES_DONE : RULES_STORE;
}

static void run(struct ticket *t)
{
    struct change *ch = (struct change *)t;
    struct rules_set *s = ch->set;
    lists_made_of(ch->g, &ch->guard, NULL, &ch->current);
    enum rules_result result = start(ch);
    if (result == RULES_DONE && !s->dry_run) return;
    change_end(ch);
    result_later(s, result);
}

/* Lists are as the store has them; ok false: nobody knows. */
static void begin(struct lists_waiter *w, bool ok)
{
    struct change *ch = CONTAINER_OF(w, struct change, waiter);
    struct rules_set *s = ch->set;
    bool now;
    if (!ok || !admin_turn_take(ch->g, &ch->ticket, run, &now)) {
        free(ch);
        result_later(s, RULES_STORE);
    } else if (now) {
        run(&ch->ticket);
    }
}

void gate_set_rules(struct gate *g, struct rules_set *s)
{
    struct change *ch = calloc(1, sizeof *ch);
    s->devices = 0;
    s->priv = ch;
    if (!ch) {
        result_later(s, RULES_STORE);
        return;
    }
    ch->g = g;
    ch->set = s;
    ch->waiter.ready = begin;
    if (lists_want(g, &ch->waiter, LISTS_FRESH)) begin(&ch->waiter, true);
}

/* ---- what a rule would do ---- */
struct trial {
    struct gate *g;
    const struct rule *rule;
    struct access_scan scan;
    void (*each)(void *ctx, const struct rule_hit *h);
    void *ctx;
};

static void try_one(void *ctx, struct shard *s, struct device *d)
{
    struct trial *t = ctx;
    struct verdict now, then;
    const struct rule_facts facts = access_facts(d);
    char now_by[ACCESS_BY_TEXT], then_by[ACCESS_BY_TEXT];
    if (!rule_fits(t->rule, &facts)) return;
    access_compare(t->g, s, d, &t->scan, &now, &then);
    access_by_text(&now, now_by);
    access_by_text(&then, then_by);
    const struct rule_hit hit = {
        .user = d->owner->name,
        .device_id = d->id,
        .device_type = device_text(d, KIND_TYPE),
        .version = (enum pv_version)d->version,
        .in = d->in,
        .now = now.access,
        .then = then.access,
        .now_by = now_by,
        .then_by = then_by,
    };
    t->each(t->ctx, &hit);
}

bool gate_test_rule(struct gate *g, const struct rule *r,
                    void (*each)(void *ctx, const struct rule_hit *h), void *ctx)
{
    struct rules *current = gate_rules(g);
    struct rule candidate = *r;
    candidate.id = current->last_id + 1;
    struct rules *then = rules_with(current, &candidate);
    struct trial t = {.g = g, .rule = &candidate, .scan.then = then, .each = each, .ctx = ctx};
    rules_release(current);
    if (!then) return false;
    table_each(g->table, try_one, &t);
    rules_release(then);
    return true;
}

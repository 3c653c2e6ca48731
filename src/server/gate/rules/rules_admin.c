/* Administrators change the access rules: one at a time, durable before anybody is told. */
#include "src/server/gate/rules/rules_admin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "src/json_text.h"
#include "src/server/gate/inner.h"
#include "src/server/gate/lists.h"
#include "src/server/gate/table/resident.h"

#define ACCESS_ITEM "default" /* the only item of kind "access" */
#define KEEP_AT_ONCE 1024     /* devices that get a word before the store must have followed */
#define KEEP_PASSES 4         /* of a shared store, until no other server was in the way */

/* One change on its way. Belongs to the caller's rules_set until that is done. */
struct change {
    struct ticket ticket; /* first: see run */
    struct gate *g;
    struct rules_set *set;
    struct lists_waiter waiter;
    struct lists_guard guard;     /* of current */
    struct rules *current, *next; /* held while it is its turn */
    struct job job;
    bool ok;                 /* of the job */
    struct access_scan scan; /* with next */
    /* Of keep_known: */
    struct known *known; /* devices of the user that is walked over */
    unsigned kept;       /* in this round */
    unsigned words;      /* in this pass */
    unsigned passes;
    bool all; /* the round came to the end */
    char last_user[AUTH_USER_MAX],
        last_device_id[PV_DEVICE_ID_MAX + 1]; /* that was looked at; "": none */
};

struct known {
    struct known *next;
    char device_id[PV_DEVICE_ID_MAX + 1];
};

static void change_end(struct change *ch)
{
    admin_turn_end(ch->g);
    rules_release(ch->current);
    rules_release(ch->next);
    access_scan_finish(&ch->scan);
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

static bool count_one(void *ctx, struct shard *s, struct device *d)
{
    struct change *ch = ctx;
    ch->set->devices += is_shut_out(ch, s, d);
    return true;
}

/* ---- who is in stays in: on a thread that walks ---- */
/* The word counts at once: it says what is so already. Of a device whose write is under way only the
 * line of the log is written here; the device follows when that write ends. Shard locked. false: not
 * taken. */
static bool keep_one(struct change *ch, struct shard *s, struct device *d)
{
    int64_t now = time(NULL);
    const struct cause cause = {ch->set->actor, "device.allow", "known before the default changed"};
    struct pv_partnership before;
    if (!is_shut_out(ch, s, d)) return true;
    device_partnership(d, &before);
    d->personal = PV_PERSONAL_ALLOW;
    bool busy = desk_taken(&d->desk);
    device_save_behind(ch->g, s, d, &before, now, &cause);
    if (!busy) return !d->unsaved;
    char *line = note_act(cause.actor, cause.act, now,
                          json_pack("{s:o,s:o,s:s}", "user", json_of_peer(d->owner->name),
                                    "device_id", json_of_peer(d->id), "reason", cause.reason),
                          NULL, NULL);
    const struct store_change c = {.kind = STORE_ADD_AUDIT, .u.log.json = line};
    bool ok = line && store_submit(ch->g->store, &c, 1, NULL);
    free(line);
    return ok;
}

/* What is walked over may be of the moment: a word is given to what is in memory. */
static bool find_known(void *ctx, struct shard *s, struct device *d)
{
    struct change *ch = ctx;
    ch->all = ch->kept < KEEP_AT_ONCE;
    if (!ch->all) return false;
    snprintf(ch->last_user, sizeof ch->last_user, "%s", d->owner->name);
    snprintf(ch->last_device_id, sizeof ch->last_device_id, "%s", d->id);
    if (!is_shut_out(ch, s, d)) return true;
    struct known *k = malloc(sizeof *k);
    ch->ok = k != NULL;
    if (!k) return false;
    k->next = ch->known;
    memcpy(k->device_id, ch->last_device_id, sizeof k->device_id);
    ch->known = k;
    ch->kept++;
    return true;
}

static bool keep_known(struct change *ch)
{
    struct resident r = {0};
    if (!resident_read(ch->g, &r, ch->last_user, RESIDENT_FRESH)) return false;
    struct shard *s = table_lock(ch->g->table, ch->last_user);
    bool ok = true;
    for (struct known *k = ch->known; k && ok; k = k->next) {
        struct device *d = owner_device(r.owner, k->device_id);
        ok = !d || keep_one(ch, s, d);
    }
    table_unlock(s);
    resident_drop(&r);
    return ok;
}

static void keep_user(void *ctx)
{
    struct change *ch = ctx;
    if (ch->known && ch->ok) ch->ok = keep_known(ch);
    for (struct known *next; ch->known; ch->known = next) {
        next = ch->known->next;
        free(ch->known);
    }
}

/* One round, from where the one before has ended. When it fails, the words that were given stay; they say
 * what is so. */
static void keep_run(struct job *j)
{
    struct change *ch = CONTAINER_OF(j, struct change, job);
    char user[AUTH_USER_MAX], device_id[PV_DEVICE_ID_MAX + 1];
    memcpy(user, ch->last_user, sizeof user);
    memcpy(device_id, ch->last_device_id, sizeof device_id);
    const struct walk w = {
        .query = {.after_user = *user ? user : NULL, .after_device_id = device_id},
        .each = find_known,
        .between = keep_user,
        .ctx = ch};
    ch->ok = ch->all = true;
    ch->kept = 0;
    ch->ok = gate_walk(ch->g, &w) && ch->ok;
    ch->words += ch->kept;
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

/* next: NULL: the rules stay, what else decides is another. */
static void put_in_shard(struct gate *g, struct shard *s, struct rules *next)
{
    pthread_mutex_lock(&s->mutex);
    struct rules *old = next ? s->rules : NULL;
    if (next) s->rules = rules_hold(next);
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

void rules_judge_again(struct gate *g)
{
    for (size_t i = 0; i < TABLE_SHARDS; i++) put_in_shard(g, &g->table->shards[i], NULL);
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

/* It is over before it was on its way. */
static void give_up(struct change *ch, enum rules_result result)
{
    struct rules_set *s = ch->set;
    change_end(ch);
    result_later(s, result);
}

static void begin_job(struct change *ch, void (*run)(struct job *), void (*done)(struct job *))
{
    ch->job.run = run;
    ch->job.done = done;
    if (!gate_on_walks(ch->g, &ch->job)) give_up(ch, RULES_STORE);
}

static void kept(struct job *j);

static void round_stored(struct store_write *w)
{
    struct rules_set *s = CONTAINER_OF(w, struct rules_set, write);
    struct change *ch = s->priv;
    if (w->durable)
        begin_job(ch, keep_run, kept);
    else
        give_up(ch, why_not(ch, w));
}

/* A fleet is more than the store takes at once: between two rounds it is asked whether all is as it was,
 * and it has what came before. */
static void kept(struct job *j)
{
    struct change *ch = CONTAINER_OF(j, struct change, job);
    struct rules_set *s = ch->set;
    bool again = ch->words && store_is_shared(ch->g->store) && ch->passes < KEEP_PASSES;
    if (!ch->ok) {
        give_up(ch, RULES_STORE);
    } else if (ch->all && !again) {
        if (!submit(ch, time(NULL))) give_up(ch, RULES_STORE);
    } else {
        const struct store_change c = lists_check(&ch->guard);
        if (ch->all) {
            ch->passes++;
            ch->words = 0;
            ch->last_user[0] = '\0';
        }
        s->write.done = round_stored;
        if (!store_submit(ch->g->store, &c, 1, &s->write)) give_up(ch, RULES_STORE);
    }
}

static void count_run(struct job *j)
{
    struct change *ch = CONTAINER_OF(j, struct change, job);
    const struct walk w = {.each = count_one, .ctx = ch};
    ch->ok = gate_walk(ch->g, &w);
}

static void counted(struct job *j)
{
    struct change *ch = CONTAINER_OF(j, struct change, job);
    const struct rules_set *s = ch->set;
    bool keep = s->change == RULES_DEFAULT && s->keep_known;
    if (!ch->ok)
        give_up(ch, RULES_STORE);
    else if (s->dry_run)
        give_up(ch, RULES_DONE);
    else if (s->devices && !s->confirm && !keep)
        give_up(ch, RULES_ASK);
    else if (keep && s->devices)
        begin_job(ch, keep_run, kept);
    else if (!submit(ch, time(NULL)))
        give_up(ch, RULES_STORE);
}

static void run(struct ticket *t)
{
    struct change *ch = (struct change *)t;
    lists_made_of(ch->g, &ch->guard, NULL, &ch->current);
    enum rules_result result = work_out(ch, time(NULL));
    ch->scan.then = ch->next;
    if (result == RULES_DONE)
        begin_job(ch, count_run, counted);
    else
        give_up(ch, result);
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

static bool try_one(void *ctx, struct shard *s, struct device *d)
{
    struct trial *t = ctx;
    struct verdict now, then;
    const struct rule_facts facts = access_facts(d);
    char now_by[ACCESS_BY_TEXT], then_by[ACCESS_BY_TEXT];
    if (!rule_fits(t->rule, &facts)) return true;
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
    return true;
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
    bool ok = gate_walk(g, &(struct walk){.each = try_one, .ctx = &t});
    access_scan_finish(&t.scan);
    rules_release(then);
    return ok;
}

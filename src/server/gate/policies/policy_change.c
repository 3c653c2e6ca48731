/* Changes of policies: in turn, tried on a draft of the book, durable, then in force. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "src/server/gate/policies/policy_act.h"

static void act_free(struct act *a)
{
    for (size_t i = 0; i < a->text_count; i++) free(a->texts[i]);
    saved_release(a->saved);
    book_release(a->book);
    book_release(a->old);
    effect_finish(&a->effect);
    claims_prune(a->g->claims);
    free(a);
}

static void tell(struct task *task)
{
    struct policy_change *c = CONTAINER_OF(task, struct policy_change, write.task);
    c->done(c);
}

/* Results that are there at once come by the same way as the others: later, on the worker. */
static void tell_later(struct policy_change *c, enum gate_result result)
{
    c->result = result;
    c->write.task.fn = tell;
    worker_post(worker_self(), &c->write.task);
}

/* The revision that the administrator is told of. */
static uint64_t revision_of(const struct book *b, const struct policy_change *c)
{
    const struct line *l = c->name ? book_line(b, c->name) : NULL;
    bool candidate = l && l->candidate && (c->staged || c->act == POLICY_ROLL);
    return !l ? 0 : candidate ? l->candidate->id : l->effective->id;
}

/* ---- whom it concerns: counted when it is no other's turn that waits for it ---- */
static void count_run(struct job *j)
{
    struct act *a = CONTAINER_OF(j, struct act, job);
    a->counted = effect_count(&a->effect);
}

static void count_done(struct job *j)
{
    struct act *a = CONTAINER_OF(j, struct act, job);
    struct policy_change *c = a->c;
    c->counted = a->counted;
    c->affected = a->effect.to_ask;
    c->cannot_keep = a->effect.cannot_keep;
    c->devices = a->effect.first;
    c->device_count = a->effect.first_count;
    a->effect.first = NULL; /* the caller's from now on */
    if (c->dry_run && !a->counted) c->result = GATE_STORE;
    act_free(a);
    c->done(c);
}

/* Ends the turn; done comes when it is counted. */
static void count(struct act *a)
{
    struct policy_change *c = a->c;
    a->job.run = count_run;
    a->job.done = count_done;
    admin_turn_end(a->g);
    if (gate_on_walks(a->g, &a->job)) return;
    if (c->dry_run) c->result = GATE_STORE;
    act_free(a);
    tell_later(c, c->result);
}

static enum gate_result overtaken(struct policy_change *c)
{
    snprintf(c->message, sizeof c->message, "%s", LISTS_CONFLICT);
    return GATE_CONFLICT;
}

static void stored(struct store_write *w)
{
    struct policy_change *c = CONTAINER_OF(w, struct policy_change, write);
    struct act *a = c->priv;
    if (w->durable) {
        c->result = GATE_OK;
        if (lists_enter(a->g, &a->guard)) effect_apply(&a->effect);
        lists_leave(a->g);
        c->revision = revision_of(a->book, c);
        count(a);
        return;
    }
    c->result = lists_failed(a->g, w) ? overtaken(c) : GATE_STORE;
    admin_turn_end(a->g);
    act_free(a);
    c->done(c);
}

/* true: it is on its way, to the disk or to be counted. */
static bool run_act(struct act *a, enum gate_result *result_out)
{
    struct policy_change *c = a->c;
    lists_made_of(a->g, &a->guard, &a->old, NULL);
    a->book = book_draft(a->old, a->old->groups);
    a->now = time(NULL);
    enum gate_result result = a->book ? act_plan(a) : GATE_STORE;
    if (result == GATE_UNCHANGED) c->revision = revision_of(a->old, c);
    if (result == GATE_OK)
        result = book_finish(a->book, a->old, c->name, c->message, sizeof c->message);
    a->effect = (struct effect){
        .g = a->g, .was = a->old, .is = a->book, .user = a->user, .list = c->dry_run};
    c->result = result;
    if (result == GATE_OK && c->dry_run) {
        c->revision = revision_of(a->book, c);
        count(a);
        return true;
    } else if (result == GATE_OK) {
        c->priv = a;
        c->write.done = stored;
        if (a->saved) gate_revision_given(a->g, a->saved->id);
        a->changes[a->count++] = lists_change(&a->guard);
        if (store_submit(a->g->store, a->changes, a->count, &c->write)) return true;
        result = GATE_STORE;
    }
    *result_out = result;
    return false;
}

static void run(struct ticket *t)
{
    struct act *a = (struct act *)t;
    struct policy_change *c = a->c;
    struct gate *g = a->g;
    enum gate_result result;
    if (run_act(a, &result)) return;
    act_free(a);
    admin_turn_end(g);
    tell_later(c, result);
}

/* Lists are as the store has them; ok false: nobody knows. */
static void start(struct lists_waiter *w, bool ok)
{
    struct act *a = CONTAINER_OF(w, struct act, waiter);
    struct policy_change *c = a->c;
    bool now = false;
    if (!ok || !admin_turn_take(a->g, &a->ticket, run, &now)) {
        free(a);
        tell_later(c, GATE_STORE);
    } else if (now) {
        run(&a->ticket);
    }
}

void gate_change_policies(struct gate *g, struct policy_change *c)
{
    struct act *a = calloc(1, sizeof *a);
    c->message[0] = '\0';
    c->revision = 0;
    c->affected = c->cannot_keep = 0;
    c->counted = false;
    c->devices = NULL;
    c->device_count = 0;
    if (!a) {
        tell_later(c, GATE_STORE);
        return;
    }
    a->g = g;
    a->c = c;
    a->waiter.ready = start;
    if (lists_want(g, &a->waiter, LISTS_FRESH)) start(&a->waiter, true);
}

void policy_change_finish(struct policy_change *c)
{
    free(c->devices);
    c->devices = NULL;
    c->device_count = 0;
}

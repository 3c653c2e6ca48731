/* Changes of policies: in turn, tried on a draft of the book, durable, then in force. */
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

static void take_counts(struct policy_change *c, const struct effect *e)
{
    c->affected = e->to_ask;
    c->cannot_keep = e->cannot_keep;
}

static void stored(struct store_write *w)
{
    struct policy_change *c = CONTAINER_OF(w, struct policy_change, write);
    struct act *a = c->priv;
    c->result = w->durable ? GATE_OK : GATE_STORE;
    if (w->durable) {
        struct effect e = {.g = a->g, .book = a->book, .user = a->user};
        effect_apply(&e);
        take_counts(c, &e);
        c->revision = revision_of(a->book, c);
    }
    admin_turn_end(a->g);
    act_free(a);
    c->done(c);
}

static enum gate_result try_it(struct act *a)
{
    struct policy_change *c = a->c;
    struct effect e = {.g = a->g, .book = a->book, .user = a->user, .list = true};
    effect_try(&e);
    c->devices = effect_devices(&e, &c->device_count);
    effect_finish(&e);
    take_counts(c, &e);
    c->revision = revision_of(a->book, c);
    return e.out_of_memory ? GATE_STORE : GATE_OK;
}

/* true: it is on its way to the disk. */
static bool run_act(struct act *a, enum gate_result *result_out)
{
    struct policy_change *c = a->c;
    a->old = gate_book(a->g);
    a->book = book_draft(a->old, a->old->groups);
    a->now = time(NULL);
    enum gate_result result = a->book ? act_plan(a) : GATE_STORE;
    if (result == GATE_UNCHANGED) c->revision = revision_of(a->old, c);
    if (result == GATE_OK)
        result = book_finish(a->book, a->old, c->name, c->message, sizeof c->message);
    if (result == GATE_OK && c->dry_run) {
        result = try_it(a);
    } else if (result == GATE_OK) {
        c->priv = a;
        c->write.done = stored;
        if (a->saved) a->g->last_revision = a->saved->id;
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

void gate_change_policies(struct gate *g, struct policy_change *c)
{
    bool now = false;
    struct act *a = calloc(1, sizeof *a);
    c->message[0] = '\0';
    c->revision = 0;
    c->affected = c->cannot_keep = 0;
    c->devices = NULL;
    c->device_count = 0;
    if (a) {
        a->g = g;
        a->c = c;
    }
    if (!a || !admin_turn_take(g, &a->ticket, run, &now)) {
        free(a);
        tell_later(c, GATE_STORE);
    } else if (now) {
        run(&a->ticket);
    }
}

void policy_change_finish(struct policy_change *c)
{
    free(c->devices);
    c->devices = NULL;
    c->device_count = 0;
}

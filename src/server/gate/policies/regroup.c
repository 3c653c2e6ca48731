/* Other groups of users in the configuration: the same policies and assignments, in a book that goes by
 * them. */
#include <stdlib.h>
#include <string.h>

#include "src/server/gate/inner.h"
#include "src/server/gate/lists.h"
#include "src/server/observe/log.h"

#define ROUNDS_MAX 16 /* lists that another server changes meanwhile */

struct regroup {
    struct ticket ticket; /* first: see run */
    struct task task;
    struct gate *g;
};

bool gate_has_groups(struct gate *g)
{
    const struct config_groups now = config_groups_now(g->config);
    struct book *b = gate_book(g);
    bool same = b->groups->block == now.block;
    book_release(b);
    config_groups_release(&now);
    return same;
}

/* NULL: no memory, or a policy that cannot be. */
static struct book *draft(struct gate *g, const struct book *was)
{
    char why[GATE_MESSAGE_MAX] = "no memory";
    const struct config_groups groups = config_groups_now(g->config);
    struct book *is = book_draft(was, &groups);
    config_groups_release(&groups);
    if (is && book_finish(is, NULL, NULL, why, sizeof why) == GATE_OK) return is;
    LOG(LOG_ERROR, 0, "groups-wait", KV_TEXT("why", why));
    book_release(is);
    return NULL;
}

/* Nothing is stored: other servers have groups of their own. false: the lists are others by now. */
static bool try(struct gate *g)
{
    struct lists_guard guard;
    struct book *was;
    lists_made_of(g, &guard, &was, NULL);
    memcpy(guard.next, guard.was, sizeof guard.next);
    struct book *is = draft(g, was);
    bool as_made = true;
    if (is) {
        as_made = lists_enter(g, &guard);
        if (as_made) effect_apply(&(struct effect){.g = g, .was = was, .is = is});
        lists_leave(g);
        if (as_made) LOG(LOG_INFO, 0, "groups-in-force", KV_UINT("groups", is->groups->count));
    }
    book_release(is);
    book_release(was);
    return as_made;
}

static void run(struct ticket *t)
{
    struct regroup *r = (struct regroup *)t;
    struct gate *g = r->g;
    for (unsigned n = 0; n < ROUNDS_MAX && !try(g); n++) continue;
    admin_turn_end(g);
    free(r);
    atomic_store(&g->regrouping, false);
}

static void begin(struct task *task)
{
    struct regroup *r = CONTAINER_OF(task, struct regroup, task);
    struct gate *g = r->g;
    bool now = false;
    if (!admin_turn_take(g, &r->ticket, run, &now)) {
        free(r);
        atomic_store(&g->regrouping, false);
    } else if (now) {
        run(&r->ticket);
    }
}

void gate_regroup(struct gate *g, struct worker *w)
{
    struct regroup *r;
    if (atomic_exchange(&g->regrouping, true)) return;
    r = malloc(sizeof *r);
    if (!r) {
        atomic_store(&g->regrouping, false);
        return;
    }
    *r = (struct regroup){.task.fn = begin, .g = g};
    worker_post(w, &r->task);
}

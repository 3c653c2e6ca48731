#include "src/server/gate/table/desk.h"

#include <stddef.h>

static void turn_comes(struct task *task)
{
    struct ticket *t = (struct ticket *)task;
    t->run(t);
}

struct ticket desk_end;

enum desk_result desk_take(struct desk *d, struct ticket *t, unsigned most)
{
    if (!d->head) {
        d->head = &desk_end;
        return DESK_NOW;
    }
    struct ticket **at = &d->head;
    for (unsigned n = 0; *at != &desk_end; at = &(*at)->next)
        if (++n >= most) return DESK_FULL;
    t->next = &desk_end;
    t->home = worker_self();
    t->task.fn = turn_comes;
    *at = t;
    return DESK_LATER;
}

void desk_leave(struct desk *d)
{
    struct ticket *t = d->head;
    if (t == &desk_end) {
        d->head = NULL;
        return;
    }
    d->head = t->next;
    worker_post(t->home, &t->task);
}

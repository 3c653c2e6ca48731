#include "src/server/mailbox/maildir_box.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "src/server/mailbox/maildir.h"
#include "src/server/mailbox/spots.h"
#include "src/server/mailbox/tree.h"

#define LOOKER_COUNT 4
#define LOOKER_QUEUE_MAX 100000
#define WORKER_MAX 256 /* beyond any machine; Pings of further workers are refused */

struct maildir_box {
    struct mailbox base;
    const struct config *config;
    struct pool *lookers;            /* threads that look into folders for waiting Pings */
    struct spots *spots[WORKER_MAX]; /* each touched by its own worker only */
};

static struct maildir_box *box_of(struct mailbox *m)
{
    return CONTAINER_OF(m, struct maildir_box, base);
}

/* ---- on the lane ---- */

static void list_run(struct job *j)
{
    struct visit *v = CONTAINER_OF(j, struct visit, job);
    v->result = maildir_list(config_now(box_of(v->mailbox)->config), v->user, &v->list);
    if (v->result != MAILBOX_UNREACHABLE) v->tree = folder_list_hash(&v->list);
    v->run(v);
}

static void look_run(struct job *j)
{
    struct visit *v = CONTAINER_OF(j, struct visit, job);
    for (size_t i = 0; i < v->look_count; i++)
        (void)maildir_look(v->looks[i].path, &v->looks[i].look);
    v->result = MAILBOX_OK;
    if (v->run) v->run(v);
}

static void visit_done(struct job *j)
{
    struct visit *v = CONTAINER_OF(j, struct visit, job);
    v->done(v);
}

static bool submit(struct mailbox *m, struct visit *v, void (*run)(struct job *))
{
    v->mailbox = m;
    v->job.run = run;
    v->job.done = visit_done;
    return pool_submit(v->lane, &v->job);
}

static bool list(struct mailbox *m, struct visit *v)
{
    return submit(m, v, list_run);
}

static bool look(struct mailbox *m, struct visit *v)
{
    return submit(m, v, look_run);
}

/* ---- news ---- */

static struct spots *spots_here(struct maildir_box *b)
{
    struct worker *w = worker_self();
    unsigned index = worker_index(w);
    if (index >= WORKER_MAX) return NULL;
    if (!b->spots[index]) b->spots[index] = spots_create(w, b->config, b->lookers);
    return b->spots[index];
}

static bool join(struct mailbox *m, struct spot_user *u, const struct spot_place *p)
{
    struct maildir_box *b = box_of(m);
    char home[PATH_MAX];
    struct spots *s = spots_here(b);
    const char *path = p->path;
    if (p->kind == SPOT_TREE) {
        if (!maildir_home(config_now(b->config), p->user, home, sizeof home)) return false;
        path = home;
    }
    return s && spot_join(s, u, p->kind, path, p->user, &p->seed);
}

/* ---- open, close ---- */

static void close_box(struct mailbox *m)
{
    struct maildir_box *b = box_of(m);
    pool_destroy(b->lookers);
    for (size_t i = 0; i < WORKER_MAX; i++) spots_destroy(b->spots[i]);
    free(b);
}

static const struct mailbox_ops ops = {
    .name = "maildir",
    .list = list,
    .look = look,
    .join = join,
    .seen = spot_seen,
    .leave = spot_leave,
    .close = close_box,
};

struct mailbox *maildir_box_open(const struct config *c, char *error, size_t error_cap)
{
    char bad;
    if (!maildir_pattern_valid(c->mailbox.path, &bad)) {
        snprintf(error, error_cap, "mailbox.path: %%%c is none of %%u, %%n, %%d, %%%%",
                 bad ? bad : ' ');
        return NULL;
    }
    struct maildir_box *b = calloc(1, sizeof *b);
    if (b) b->lookers = pool_create("look", LOOKER_COUNT, LOOKER_QUEUE_MAX);
    if (!b || !b->lookers) {
        snprintf(error, error_cap, "no memory or threads for the mailbox");
        free(b);
        return NULL;
    }
    b->base.ops = &ops;
    b->config = c;
    return &b->base;
}

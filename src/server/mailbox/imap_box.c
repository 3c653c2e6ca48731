#include "src/server/mailbox/imap_box.h"

#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/server/auth/url.h"
#include "src/server/imap/hub.h"
#include "src/server/imap/secret.h"

struct imap_box {
    struct mailbox base;
    const struct config *config;
    struct imap_hub *hub;
    pthread_mutex_t lock; /* of what spots tell */
};

static struct imap_box *box_of(struct mailbox *m)
{
    return CONTAINER_OF(m, struct imap_box, base);
}

static bool secret_of(struct mailbox *m, struct imap_secret *s, const char *user,
                      const char *authorization)
{
    const struct config *c = config_now(box_of(m)->config);
    return imap_secret_make(s, c->mailbox.user, user, c->domain, authorization);
}

/* ---- visits ---- */

/* Between the worker that asks and the hub. */
struct errand {
    struct imap_errand imap;
    struct visit *visit;
    struct imap_box *box;
    struct worker *home;
    struct task back;
    struct imap_secret secret;
    struct imap_look looks[];
};

static void errand_free(struct errand *e)
{
    imap_listing_release(e->imap.listing);
    imap_secret_free(&e->secret);
    free(e);
}

static void come_back(struct errand *e)
{
    struct visit *v = e->visit;
    errand_free(e);
    v->done(v);
}

static void back_run(struct task *t)
{
    come_back(CONTAINER_OF(t, struct errand, back));
}

static struct errand *errand_of(struct job *j)
{
    struct visit *v = CONTAINER_OF(j, struct visit, job);
    return v->state;
}

static void lane_run(struct job *j)
{
    struct errand *e = errand_of(j);
    struct visit *v = e->visit;
    if (e->imap.listing) {
        bool listed = imap_folders(e->imap.listing, config_now(e->box->config), &v->list);
        v->result = listed ? MAILBOX_OK : MAILBOX_UNREACHABLE;
        v->tree = imap_listing_sum(e->imap.listing);
    }
    v->run(v);
}

static void lane_done(struct job *j)
{
    come_back(errand_of(j));
}

static enum mailbox_result result_of(enum imap_answer answer)
{
    switch (answer) {
    case IMAP_ANSWER_OK: return MAILBOX_OK;
    case IMAP_ANSWER_NO: return MAILBOX_UNREACHABLE;
    case IMAP_ANSWER_REFUSED: return MAILBOX_REFUSED;
    default: return MAILBOX_LATER;
    }
}

/* On the hub's thread, which is why lists come to the lane in order. */
static void answered(struct imap_errand *i)
{
    struct errand *e = CONTAINER_OF(i, struct errand, imap);
    struct visit *v = e->visit;
    v->result = result_of(i->answer);
    v->retry_after = i->retry_after;
    for (size_t n = 0; n < v->look_count; n++)
        if (e->looks[n].good) v->looks[n].look.sum = e->looks[n].sum;
    bool to_lane = v->run && (v->result == MAILBOX_OK || v->result == MAILBOX_UNREACHABLE);
    v->job.run = lane_run;
    v->job.done = lane_done;
    if (to_lane && pool_submit_for(v->lane, &v->job, e->home)) return;
    if (to_lane) {
        v->result = MAILBOX_LATER;
        v->retry_after = 1;
    }
    e->back.fn = back_run;
    worker_post(e->home, &e->back);
}

static bool ask(struct mailbox *m, struct visit *v, bool look)
{
    size_t count = look ? v->look_count : 0;
    struct errand *e = calloc(1, sizeof *e + count * sizeof *e->looks);
    if (!e || !secret_of(m, &e->secret, v->user, v->authorization)) {
        free(e);
        return false;
    }
    e->visit = v;
    e->box = box_of(m);
    e->home = worker_self();
    e->imap.login = e->secret.login;
    e->imap.done = answered;
    if (look) e->imap.looks = e->looks;
    e->imap.look_count = count;
    for (size_t i = 0; i < count; i++) e->looks[i].name = v->looks[i].path;
    v->state = e;
    if (*e->secret.text) {
        imap_ask(e->box->hub, &e->imap);
        return true;
    }
    v->result = MAILBOX_REFUSED;
    e->back.fn = back_run;
    worker_post(e->home, &e->back);
    return true;
}

static bool list(struct mailbox *m, struct visit *v)
{
    v->look_count = 0;
    return ask(m, v, false);
}

static bool look(struct mailbox *m, struct visit *v)
{
    return ask(m, v, true);
}

/* ---- news ---- */

/* Between the worker on which somebody waits and the hub. */
struct spot {
    struct imap_watch imap;
    struct spot_user *user; /* the worker's */
    struct imap_box *box;
    struct worker *home;
    struct task told;
    struct look seen; /* the worker's */
    bool is_seen;
    bool on_its_way, left; /* under the box's lock, as all below */
    bool refused;
    uint64_t sum;
    struct imap_secret secret;
    char name[];
};

static void told_run(struct task *t)
{
    struct spot *s = CONTAINER_OF(t, struct spot, told);
    struct spot_user *u = s->user;
    pthread_mutex_lock(&s->box->lock);
    s->on_its_way = false;
    s->seen = (struct look){.sum = s->sum};
    u->refused = s->refused;
    pthread_mutex_unlock(&s->box->lock);
    s->is_seen = !u->refused;
    u->looked(u); /* s may be on its way out */
}

/* On the hub's thread. */
static void spot_told(struct imap_watch *w)
{
    struct spot *s = CONTAINER_OF(w, struct spot, imap);
    pthread_mutex_lock(&s->box->lock);
    s->sum = w->sum;
    s->refused = w->refused;
    bool post = !s->on_its_way && !s->left;
    s->on_its_way = s->on_its_way || post;
    pthread_mutex_unlock(&s->box->lock);
    if (post) worker_post(s->home, &s->told);
}

static void spot_stopped(struct imap_watch *w)
{
    struct spot *s = CONTAINER_OF(w, struct spot, imap);
    imap_secret_free(&s->secret);
    free(s);
}

static bool join(struct mailbox *m, struct spot_user *u, const struct spot_place *p)
{
    const char *name = p->kind == SPOT_TREE ? "" : p->path;
    struct spot *s = calloc(1, sizeof *s + strlen(name) + 1);
    if (!s || !secret_of(m, &s->secret, p->user, p->authorization)) {
        free(s);
        return false;
    }
    memcpy(s->name, name, strlen(name) + 1);
    s->user = u;
    s->box = box_of(m);
    s->home = worker_self();
    s->told.fn = told_run;
    s->imap.login = s->secret.login;
    s->imap.name = p->kind == SPOT_TREE ? NULL : s->name;
    s->imap.base = p->seed.sum;
    s->imap.seen = spot_told;
    s->imap.stopped = spot_stopped;
    u->spot = s;
    imap_watch_start(s->box->hub, &s->imap);
    return true;
}

static const struct look *seen(const struct spot_user *u)
{
    const struct spot *s = u->spot;
    return s && s->is_seen ? &s->seen : NULL;
}

static bool leave(struct spot_user *u)
{
    struct spot *s = u->spot;
    if (!s) return true;
    pthread_mutex_lock(&s->box->lock);
    s->left = !s->on_its_way;
    bool left = s->left;
    pthread_mutex_unlock(&s->box->lock);
    if (!left) return false;
    u->spot = NULL;
    imap_watch_stop(&s->imap);
    return true;
}

/* ---- open, close ---- */

static bool status(struct mailbox *m, json_t *all)
{
    const struct config *c = config_now(box_of(m)->config);
    struct imap_figures f;
    imap_hub_figures(box_of(m)->hub, &f);
    return json_object_set_new(
               all, "imap",
               json_pack("{s:s, s:b, s:i, s:i, s:i, s:i, s:f}", "url", c->mailbox.url, "reachable",
                         !f.down, "connections", (int)f.connections, "connections_max",
                         (int)c->mailbox.connections, "users_watched", (int)f.held, "users_in_turn",
                         (int)f.in_turn, "turn_seconds", f.turn_ms / 1000.0)) == 0;
}

static void stop(struct mailbox *m)
{
    imap_hub_stop(box_of(m)->hub);
}

static void close_box(struct mailbox *m)
{
    struct imap_box *b = box_of(m);
    imap_hub_close(b->hub);
    pthread_mutex_destroy(&b->lock);
    free(b);
}

static struct imap_settings settings_of(const struct config *c)
{
    return (struct imap_settings){
        .peer = {.url = c->mailbox.url,
                 .ca_file = c->mailbox.ca_file,
                 .starttls = !urls_are_loopback(c->mailbox.url),
                 .connect_ms = c->mailbox.timeout * 1000},
        .connections = c->mailbox.connections,
        .quiet_ms = c->mailbox.timeout * 1000,
        .poll_ms = c->mailbox.poll_interval * 1000,
        .subscribed = c->mailbox.subscribed,
    };
}

static bool reconfigure(struct mailbox *m)
{
    const struct imap_settings settings = settings_of(config_now(box_of(m)->config));
    return imap_hub_change(box_of(m)->hub, &settings);
}

static const struct mailbox_ops ops = {
    .name = "imap",
    .list = list,
    .look = look,
    .join = join,
    .seen = seen,
    .leave = leave,
    .status = status,
    .reconfigure = reconfigure,
    .stop = stop,
    .close = close_box,
};

struct mailbox *imap_box_open(const struct config *c, char *error, size_t error_cap)
{
    const struct imap_settings settings = settings_of(c);
    struct imap_box *b = calloc(1, sizeof *b);
    if (!b) {
        snprintf(error, error_cap, "no memory for the mailbox");
        return NULL;
    }
    pthread_mutex_init(&b->lock, NULL);
    b->base.ops = &ops;
    b->config = c;
    b->hub = imap_hub_open(&settings, error, error_cap);
    if (b->hub) return &b->base;
    pthread_mutex_destroy(&b->lock);
    free(b);
    return NULL;
}

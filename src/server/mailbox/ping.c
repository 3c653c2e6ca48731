/* Ping (MS-ASCMD 2.2.1.13): the second half, a connection that waits for news of folders. */
#include "src/server/mailbox/ping.h"

#include <stdlib.h>
#include <string.h>

#include "src/server/mailbox/memos.h"
#include "src/server/mailbox/spots.h"
#include "src/server/ping/held.h"

struct ping;

/* One place that a Ping waits for. */
struct watched {
    struct spot_user user;
    struct ping *ping;
    uint32_t folder; /* ServerId; 0: the folder tree */
    bool looked, news;
    struct look base; /* as the device knows it */
};

struct ping {
    struct held held;
    struct commands *commands;
    struct ping_start *start; /* until it waits */
    size_t unlooked, watched_count;
    struct watched *watched;
};

static void free_ping(void *data)
{
    struct ping *p = data;
    ping_start_free(p->start);
    free(p->watched);
    free(p);
}

/* ---- the answer ---- */

static void answer_changes(struct ping *p)
{
    size_t cap = PING_ANSWER_SIZE(p->watched_count), len;
    uint32_t *folders = calloc(p->watched_count + 1, sizeof *folders);
    uint8_t *buf = malloc(cap);
    struct ping_answer a = {.status = PING_CHANGES, .folders = folders};
    for (size_t i = 0; folders && i < p->watched_count; i++) {
        if (p->watched[i].news) folders[a.folder_count++] = p->watched[i].folder;
    }
    struct call *c = p->held.call; /* p ends with the answer */
    if (folders && buf && ping_write(&a, buf, cap, &len) == PV_OK)
        call_answer(c, buf, len);
    else
        call_status(c, PING_SERVER_ERROR);
    free(folders);
    free(buf);
}

static void answer(struct held *h)
{
    if (h->status == PING_CHANGES)
        answer_changes(CONTAINER_OF(h, struct ping, held));
    else
        call_status(h->call, h->status);
}

/* ---- the end ---- */

/* What the device will have been told; after an answer that reaches nobody it knows no more than
 * before. */
static void remember(struct ping *p)
{
    size_t most = p->commands->config->ping.folders_max;
    struct memo *memos = calloc(p->watched_count + 1, sizeof *memos);
    size_t count = 0;
    bool told = p->held.status == PING_CHANGES && !p->held.gone;
    if (!memos) return;
    for (size_t i = 0; i < p->watched_count; i++) {
        const struct watched *w = &p->watched[i];
        const struct look *seen = spot_seen(&w->user);
        if (!w->folder) continue;
        memos[count].folder = w->folder;
        memos[count++].look = told && w->news && seen ? *seen : w->base;
    }
    memos_remember(p->commands->seats, &p->held.seat, memos, count, most);
    free(memos);
}

static bool leave(struct held *h)
{
    struct ping *p = CONTAINER_OF(h, struct ping, held);
    bool free_to_go = true;
    if (h->seat.device) remember(p);
    for (size_t i = 0; i < p->watched_count; i++) {
        if (!spot_leave(&p->watched[i].user)) free_to_go = false;
    }
    return free_to_go;
}

/* ---- news ---- */

static void compare(struct watched *w, const struct look *seen)
{
    if (!w->looked) w->ping->unlooked--;
    w->looked = true;
    w->news = w->base.sum != seen->sum;
    if (!w->news) w->base = *seen; /* perhaps with a stamp that can be trusted */
}

/* Answer once every place was looked at, so that news of several folders come together. */
static void weigh(struct ping *p)
{
    unsigned status = 0;
    if (p->unlooked) return;
    for (size_t i = 0; i < p->watched_count; i++) {
        const struct watched *w = &p->watched[i];
        if (w->news && !w->folder)
            status = PING_FOLDERSYNC;
        else if (w->news && !status)
            status = PING_CHANGES;
    }
    if (status) held_end(&p->held, status);
}

static void looked(struct spot_user *u)
{
    struct watched *w = CONTAINER_OF(u, struct watched, user);
    struct ping *p = w->ping;
    if (p->held.status) {
        held_leave(&p->held);
        return;
    }
    compare(w, spot_seen(u));
    weigh(p);
}

/* ---- the wait ---- */

static struct spots *spots_here(struct commands *c)
{
    struct worker *w = worker_self();
    unsigned index = worker_index(w);
    if (index >= WORKER_MAX) return NULL;
    if (!c->spots[index]) c->spots[index] = spots_create(w, c->mailbox, c->lookers);
    return c->spots[index];
}

static bool watch(struct ping *p, struct spots *s, struct watched *w, const char *path)
{
    p->watched_count++;
    w->ping = p;
    w->user.looked = looked;
    if (!path) { /* a folder that only holds others */
        w->looked = true;
        return true;
    }
    p->unlooked++;
    enum spot_kind kind = w->folder ? SPOT_FOLDER : SPOT_TREE;
    return spot_join(s, &w->user, kind, path, p->held.call->user, &w->base);
}

/* A device in quarantine sees the Inbox, whatever happens to other folders. */
static bool watch_tree(struct ping *p, struct spots *s)
{
    char root[4096];
    struct mailbox *m = p->commands->mailbox;
    struct watched *w = &p->watched[p->watched_count];
    if (p->held.call->inbox_only) return true;
    if (!m->ops->root(m, p->held.call->user, root, sizeof root)) return false;
    w->base.sum = p->start->tree;
    return watch(p, s, w, root);
}

static bool watch_all(struct ping *p)
{
    struct spots *s = spots_here(p->commands);
    const struct ping_start *start = p->start;
    p->watched = calloc(start->folder_count + 1, sizeof *p->watched);
    if (!s || !p->watched) return false;
    if (!held_sit(&p->held)) return false;
    for (size_t i = 0; i < start->folder_count; i++) {
        struct watched *w = &p->watched[p->watched_count];
        w->folder = start->folders[i].id;
        w->base = start->folders[i].known;
        if (!watch(p, s, w, start->folders[i].path)) return false;
    }
    remember(p); /* a Ping that takes its place begins where this one did */
    return watch_tree(p, s);
}

static void wait_for_news(struct ping *p)
{
    bool watching = watch_all(p);
    uint32_t heartbeat = p->start->params.heartbeat;
    ping_start_free(p->start);
    p->start = NULL;
    if (!held_begin(&p->held, heartbeat)) return;
    if (!watching) {
        held_end(&p->held, PING_SERVER_ERROR);
        return;
    }
    for (size_t i = 0; i < p->watched_count; i++) {
        const struct look *seen = spot_seen(&p->watched[i].user);
        if (seen) compare(&p->watched[i], seen);
    }
    weigh(p);
}

static void started(struct job *j)
{
    struct ping_start *s = CONTAINER_OF(j, struct ping_start, job);
    struct ping *p = s->call->data;
    if (s->store_failed)
        call_http(s->call, 503, STORE_RETRY_AFTER);
    else if (s->status)
        call_status(s->call, s->status);
    else if (p->held.gone)
        call_status(s->call, PING_NO_CHANGES);
    else
        wait_for_news(p);
}

static struct ping *make(struct call *c, struct ping_params *params)
{
    struct ping *p = calloc(1, sizeof *p);
    if (p) p->start = calloc(1, sizeof *p->start);
    if (!p || !p->start) {
        free(p);
        return NULL;
    }
    p->commands = commands_of(c);
    p->held.leave = leave;
    p->held.answer = answer;
    held_init(&p->held, c, p->commands->seats);
    p->start->call = c;
    p->start->commands = p->commands;
    p->start->params = *params;
    *params = (struct ping_params){0};
    c->data = p;
    c->free_data = free_ping;
    return p;
}

void ping_serve(struct call *c)
{
    const struct config *config = gate_config(c->gate);
    uint32_t least = config->ping.heartbeat_min, most = config->ping.heartbeat_max;
    struct ping_params params;
    unsigned status = ping_read(c->body, config->ping.folders_max, &params);
    uint32_t nearest = ping_nearest(params.heartbeat, least, most);
    if (status == PING_TOO_MANY_FOLDERS) {
        ping_answer_limit(c, status, config->ping.folders_max);
    } else if (status) {
        call_status(c, status);
    } else if (params.has_heartbeat && params.heartbeat != nearest) {
        ping_answer_limit(c, PING_BAD_HEARTBEAT, nearest);
    } else if (!make(c, &params)) {
        call_http(c, 503, STORE_RETRY_AFTER);
    } else {
        struct ping *p = c->data;
        call_drop_body(c);
        if (ping_start(p->start, started))
            call_wait(c, held_gone);
        else
            call_http(c, 503, STORE_RETRY_AFTER);
    }
    ping_params_free(&params);
}

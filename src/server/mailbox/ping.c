/* Ping (MS-ASCMD 2.2.1.13): the second half, a connection that waits for news of folders. */
#include "src/server/mailbox/ping.h"

#include <stdlib.h>
#include <string.h>

#include "src/server/mailbox/memos.h"
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

/* What only holds other folders is joined nowhere, and a gateway has no mailbox. */
static const struct look *seen_at(const struct watched *w)
{
    const struct mailbox *m = w->ping->commands->mailbox;
    return w->user.spot ? m->ops->seen(&w->user) : NULL;
}

static bool leave_place(struct watched *w)
{
    const struct mailbox *m = w->ping->commands->mailbox;
    return !w->user.spot || m->ops->leave(&w->user);
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
    size_t most = config_now(p->commands->config)->ping.folders_max;
    struct memo *memos = calloc(p->watched_count + 1, sizeof *memos);
    size_t count = 0;
    bool told = p->held.status == PING_CHANGES && !p->held.gone;
    if (!memos) return;
    for (size_t i = 0; i < p->watched_count; i++) {
        const struct watched *w = &p->watched[i];
        const struct look *seen = seen_at(w);
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
        if (!leave_place(&p->watched[i])) free_to_go = false;
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
    if (u->refused) { /* the device asks again, and is asked for its password then */
        commands_forget_login(p->held.call);
        held_end(&p->held, PING_NO_CHANGES);
        return;
    }
    compare(w, seen_at(w));
    weigh(p);
}

/* ---- the wait ---- */

static bool watch(struct ping *p, const char *path, uint32_t folder, const struct look *base)
{
    struct mailbox *m = p->commands->mailbox;
    struct watched *w = &p->watched[p->watched_count++];
    const struct spot_place place = {.kind = folder ? SPOT_FOLDER : SPOT_TREE,
                                     .user = p->held.call->user,
                                     .authorization =
                                         http_field(p->held.call->http, "Authorization"),
                                     .path = path,
                                     .seed = *base};
    w->ping = p;
    w->folder = folder;
    w->base = *base;
    w->user.looked = looked;
    if (folder && !path) { /* it only holds others */
        w->looked = true;
        return true;
    }
    p->unlooked++;
    return m->ops->join(m, &w->user, &place);
}

static bool watch_all(struct ping *p)
{
    const struct ping_start *start = p->start;
    const struct look tree = {.sum = start->tree};
    p->watched = calloc(start->folder_count + 1, sizeof *p->watched);
    if (!p->watched || !held_sit(&p->held)) return false;
    for (size_t i = 0; i < start->folder_count; i++) {
        const struct ping_folder *f = &start->folders[i];
        if (!watch(p, f->path, f->id, &f->known)) return false;
    }
    remember(p); /* a Ping that takes its place begins where this one did */
    /* A device in quarantine sees the Inbox, whatever happens to other folders. */
    return p->held.call->inbox_only || watch(p, NULL, 0, &tree);
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
        const struct look *seen = seen_at(&p->watched[i]);
        if (seen) compare(&p->watched[i], seen);
    }
    weigh(p);
}

static void started(struct ping_start *s)
{
    struct ping *p = s->call->data;
    if (s->turned_away)
        commands_turned_away(s->call, &s->visit);
    else if (s->store_failed)
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

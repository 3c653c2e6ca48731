/* The commands of the own mailbox: what they share, and their place at the gate. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/server/mailbox/internal.h"
#include "src/server/ping/seats.h"

static const struct command table[] = {
    {PV_CMD_FolderSync, foldersync_serve, foldersync_serve},
    {PV_CMD_Settings, settings_serve, settings_serve},
    {PV_CMD_Ping, ping_serve, ping_serve},
    {PV_CMD_Sync, NULL, quarantine_sync_serve},
    {PV_CMD_GetItemEstimate, NULL, quarantine_estimate_serve},
    {PV_CMD_ItemOperations, NULL, quarantine_items_serve},
};

/* The gate calls a command with the call alone, and a process has one mailbox. Set before the first
 * call is served. */
static struct commands *the_commands;

struct commands *commands_of(const struct call *c)
{
    (void)c;
    return the_commands;
}

/* ---- lanes ---- */

static struct pool *lane_of(struct commands *c, const char *user)
{
    return c->lanes[map_hash(user, strlen(user), 0) % LANE_COUNT];
}

bool commands_submit(struct commands *c, const char *user, struct job *j)
{
    return pool_submit(lane_of(c, user), j);
}

static void unlisted_run(struct job *j)
{
    struct visit *v = CONTAINER_OF(j, struct visit, job);
    v->run(v);
}

static void unlisted_done(struct job *j)
{
    struct visit *v = CONTAINER_OF(j, struct visit, job);
    v->done(v);
}

static void begin_visit(struct commands *c, const struct call *call, struct visit *v)
{
    v->user = call->user;
    v->authorization = http_field(call->http, "Authorization");
    v->lane = lane_of(c, call->user);
}

bool commands_list(struct commands *c, const struct call *call, struct visit *v)
{
    begin_visit(c, call, v);
    if (!call->inbox_only) return c->mailbox->ops->list(c->mailbox, v);
    v->job.run = unlisted_run;
    v->job.done = unlisted_done;
    return pool_submit(v->lane, &v->job);
}

bool commands_look(struct commands *c, const struct call *call, struct visit *v)
{
    begin_visit(c, call, v);
    return c->mailbox->ops->look(c->mailbox, v);
}

void commands_forget_login(struct call *call)
{
    auth_forget(gate_auth(call->gate), http_field(call->http, "Authorization"));
}

bool commands_turned_away(struct call *call, const struct visit *v)
{
    switch (v->result) {
    case MAILBOX_LATER: call_http(call, 503, v->retry_after); return true;
    case MAILBOX_REFUSED:
        commands_forget_login(call);
        call_unauthorized(call);
        return true;
    default: return false;
    }
}

enum commands_stored commands_store(struct commands *c, const struct store_change *changes,
                                    size_t count)
{
    struct store_write w;
    if (store_submit_wait(gate_store(c->gate), changes, count, &w)) return COMMANDS_STORED;
    return w.conflict ? COMMANDS_CONFLICT : COMMANDS_NOT_STORED;
}

/* ---- create, destroy ---- */

static bool create_pools(struct commands *c)
{
    for (size_t i = 0; i < LANE_COUNT; i++) {
        c->lanes[i] = pool_create("mailbox", 1, LANE_QUEUE_MAX);
        if (!c->lanes[i]) return false;
    }
    return true;
}

/* Of a gateway: for devices in quarantine alone. */
static void register_all(struct gate *g, bool has_mailbox)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct command row = table[i];
        if (!has_mailbox) row.serve = NULL;
        gate_register(g, &row, 1);
    }
}

struct commands *commands_create(struct gate *g, struct mailbox *m, const struct config *config,
                                 char *error, size_t error_cap)
{
    struct commands *c = calloc(1, sizeof *c);
    if (c) {
        c->gate = g;
        c->mailbox = m;
        c->config = config;
        c->seats = seats_create();
    }
    if (!c || !c->seats || !create_pools(c)) {
        snprintf(error, error_cap, "no memory or threads for the mailbox");
        commands_destroy(c);
        return NULL;
    }
    the_commands = c;
    register_all(g, m != NULL);
    return c;
}

void commands_destroy(struct commands *c)
{
    if (!c) return;
    for (size_t i = 0; i < LANE_COUNT; i++) {
        if (c->lanes[i]) pool_destroy(c->lanes[i]);
    }
    seats_destroy(c->seats);
    free(c);
}

/* The first half of a Ping: parameters, and whether the device knows the folders as they are. */
#include <stdlib.h>
#include <string.h>

#include "src/server/mailbox/ping.h"
#include "src/server/mailbox/memos.h"
#include "src/server/mailbox/sync_state.h"

void ping_start_free(struct ping_start *s)
{
    if (!s) return;
    ping_params_free(&s->params);
    folder_list_free(&s->visit.list);
    free(s->visit.looks);
    for (size_t i = 0; i < s->folder_count; i++) free(s->folders[i].path);
    free(s->folders);
    free(s);
}

/* What the request left out is as the last time; limits may have changed since. @return 0 or a
 * Status. */
static unsigned complete(struct ping_start *s, struct ping_params *last)
{
    const struct config *c = config_now(s->commands->config);
    if (!s->params.has_heartbeat && last->has_heartbeat) {
        s->params.has_heartbeat = true;
        s->params.heartbeat =
            ping_nearest(last->heartbeat, c->ping.heartbeat_min, c->ping.heartbeat_max);
    }
    if (s->params.folder_count == 0 && last->folder_count <= c->ping.folders_max) {
        free(s->params.folders);
        s->params.folders = last->folders;
        s->params.folder_count = last->folder_count;
        *last = (struct ping_params){.has_heartbeat = last->has_heartbeat};
    }
    return s->params.has_heartbeat && s->params.folder_count ? 0 : PING_MISSING;
}

static bool find_folder(struct ping_start *s, const struct hierarchy *h, uint32_t id,
                        struct ping_folder *out)
{
    size_t i = 0;
    while (i < h->list.count && h->ids[i] != id) i++;
    const char *path = i < h->list.count ? h->list.at[i].path : NULL;
    *out = (struct ping_folder){.id = id, .path = path ? strdup(path) : NULL};
    if (path && !out->path) return false;
    out->told =
        memos_recall(s->commands->seats, s->call->user, s->call->req.device_id, id, &out->known);
    return true;
}

static bool is_visible(const struct tree *t, uint32_t id)
{
    for (size_t i = 0; i < t->count; i++) {
        if (t->at[i].id == id) return true;
    }
    return false;
}

static unsigned find_folders(struct ping_start *s, const struct hierarchy *h)
{
    s->folders = calloc(s->params.folder_count, sizeof *s->folders);
    if (!s->folders) return PING_SERVER_ERROR;
    for (size_t i = 0; i < s->params.folder_count; i++) {
        uint32_t id = s->params.folders[i];
        if (!is_visible(&h->tree, id)) return PING_FOLDERSYNC;
        if (!find_folder(s, h, id, &s->folders[s->folder_count++])) return PING_SERVER_ERROR;
    }
    return 0;
}

static unsigned compare(struct ping_start *s, const struct folder_state_record *record)
{
    struct hierarchy h;
    struct sync_state state;
    struct visit *listed = s->call->inbox_only ? NULL : &s->visit;
    enum hierarchy_result result = hierarchy_load(s->commands, s->call->user, listed, &h);
    unsigned status = PING_SERVER_ERROR;
    s->store_failed = result == HIERARCHY_STORE;
    if (result == HIERARCHY_OK && sync_state_read(record, &state)) {
        bool knows = state.key && tree_equal(&state.tree, &h.tree);
        status = knows ? find_folders(s, &h) : PING_FOLDERSYNC;
        s->tree = s->visit.tree;
        sync_state_free(&state);
    }
    hierarchy_free(&h);
    return status;
}

/* Kept for Pings that leave them out. */
static bool keep(struct ping_start *s, const struct folder_state_record *old)
{
    struct store_change change = {.kind = STORE_PUT_FOLDER_STATE, .u.folder_state = *old};
    char *json = ping_params_write(&s->params);
    if (!json) return false;
    change.u.folder_state.user = s->call->user;
    change.u.folder_state.device_id = s->call->req.device_id;
    change.u.folder_state.ping_json = json;
    change.u.folder_state.checked = true; /* a FolderSync on another server stands above this */
    change.u.folder_state.was_key = old->key;
    bool good = commands_store(s->commands, &change, 1) == COMMANDS_STORED;
    free(json);
    return good;
}

static void judge(struct ping_start *s, const struct folder_state_record *record)
{
    struct ping_params last;
    ping_params_read(record->ping_json, &last);
    s->status = complete(s, &last);
    if (!s->status) s->status = compare(s, record);
    if (!s->status && !s->store_failed) {
        ping_params_free(&last);
        ping_params_read(record->ping_json, &last);
        bool same = ping_params_equal(&last, &s->params);
        s->store_failed = !same && !keep(s, record);
    }
    ping_params_free(&last);
}

/* On the lane. */
static void run(struct visit *v)
{
    struct ping_start *s = CONTAINER_OF(v, struct ping_start, visit);
    struct folder_state_record record = {0};
    void *block = NULL;
    int found = store_read_folder_state(gate_store(s->commands->gate), s->call->user,
                                        s->call->req.device_id, &record, &block);
    s->store_failed = found < 0;
    if (found > 0) judge(s, &record);
    /* Without a state there were no earlier parameters, and no FolderSync. */
    else
        s->status =
            s->params.has_heartbeat && s->params.folder_count ? PING_FOLDERSYNC : PING_MISSING;
    free(block);
}

/* ---- the first look ---- */

/* In the order of the folders. What cannot be read now is news once it can. */
static void looked(struct visit *v)
{
    struct ping_start *s = CONTAINER_OF(v, struct ping_start, visit);
    const struct look_at *look = v->looks;
    s->turned_away = v->result == MAILBOX_LATER || v->result == MAILBOX_REFUSED;
    for (size_t i = 0; i < s->folder_count; i++) {
        struct ping_folder *f = &s->folders[i];
        if (f->path && !f->told) f->known = look++->look;
    }
    s->done(s);
}

/* Before anybody may believe that it waits. */
static void listed(struct visit *v)
{
    struct ping_start *s = CONTAINER_OF(v, struct ping_start, visit);
    size_t count = 0;
    s->turned_away = v->result == MAILBOX_LATER || v->result == MAILBOX_REFUSED;
    if (s->turned_away) {
        s->done(s);
        return;
    }
    if (!s->store_failed && !s->status) v->looks = calloc(s->folder_count + 1, sizeof *v->looks);
    for (size_t i = 0; v->looks && i < s->folder_count; i++) {
        const struct ping_folder *f = &s->folders[i];
        if (f->path && !f->told) v->looks[count++].path = f->path;
    }
    v->run = NULL;
    v->done = looked;
    v->look_count = count;
    if (!s->store_failed && !s->status && !v->looks) s->status = PING_SERVER_ERROR;
    if (count == 0) {
        s->done(s);
    } else if (!commands_look(s->commands, s->call, v)) {
        s->status = PING_SERVER_ERROR;
        s->done(s);
    }
}

bool ping_start(struct ping_start *s, void (*done)(struct ping_start *s))
{
    s->done = done;
    s->visit.run = run;
    s->visit.done = listed;
    return commands_list(s->commands, s->call, &s->visit);
}

/* FolderSync (MS-ASCMD 2.2.1.5): the folder tree with change tracking. State is read, compared and
 * stored on the user's lane. */
#include <stdlib.h>

#include "src/server/mailbox/internal.h"
#include "src/server/mailbox/sync_state.h"
#include "src/server/observe/log.h"

#define STORE_RETRY_AFTER 10 /* seconds */

/* One FolderSync on its way through the lane. */
struct folder_sync {
    struct visit visit;
    struct call *call;
    struct commands *commands;
    uint32_t sent;
    bool store_failed;
    unsigned status;
    uint8_t *answer;
    size_t len;
};

static void free_sync(void *data)
{
    struct folder_sync *f = data;
    folder_list_free(&f->visit.list);
    free(f->answer);
    free(f);
}

/* One transaction: the ServerIds, and what the device knows once it is told. Both only over what they
 * were made of: on another server somebody may find the same new folder, or the same device, which has
 * not waited for this answer, may be told another tree. */
static enum commands_stored keep(struct folder_sync *f, const struct hierarchy *h,
                                 const struct sync_step *step,
                                 const struct folder_state_record *old)
{
    struct store_change changes[2];
    size_t count = 0;
    char *ids = h->ids_changed ? folder_ids_write(&h->known) : NULL;
    char *tree = step->store ? tree_write(&h->tree) : NULL;
    bool good = (ids || !h->ids_changed) && (tree || !step->store);
    if (ids) {
        changes[count++] = (struct store_change){
            .kind = STORE_PUT_FOLDER_IDS,
            .u.folder_ids = {.user = f->call->user, .ids_json = ids, .was_json = h->ids_were},
        };
    }
    if (tree) {
        bool was_current = step->previous_key == old->key;
        changes[count++] = (struct store_change){
            .kind = STORE_PUT_FOLDER_STATE,
            .u.folder_state =
                {
                    .user = f->call->user,
                    .device_id = f->call->req.device_id,
                    .key = step->key,
                    .previous_key = step->previous_key,
                    .tree_json = tree,
                    .previous_tree_json = !step->previous_key ? ""
                                          : was_current       ? old->tree_json
                                                              : old->previous_tree_json,
                    .ping_json = old->ping_json,
                    .checked = true,
                    .was_key = old->key,
                },
        };
    }
    enum commands_stored stored = good ? COMMANDS_STORED : COMMANDS_NOT_STORED;
    if (good && count) stored = commands_store(f->commands, changes, count);
    free(ids);
    free(tree);
    return stored;
}

/* false: what this was made of is different by now. */
static bool compare(struct folder_sync *f, const struct hierarchy *h,
                    const struct folder_state_record *record)
{
    struct sync_state state;
    size_t changes;
    enum commands_stored stored = COMMANDS_STORED;
    if (!sync_state_read(record, &state)) return true; /* FOLDERSYNC_SERVER_ERROR */
    struct sync_step step = sync_decide(&state, f->sent, &h->tree);
    if (!step.known) {
        f->status = FOLDERSYNC_BAD_KEY;
    } else {
        f->answer = foldersync_write(step.key, step.from, &h->tree, &f->len, &changes);
        if (f->answer) stored = keep(f, h, &step, record);
        f->store_failed = stored != COMMANDS_STORED;
        if (f->answer && stored != COMMANDS_CONFLICT && call_may_log(f->call)) {
            LOG(LOG_INFO, call_session(f->call), "foldersync", KV_TEXT("user", f->call->user),
                KV_TEXT("device", f->call->req.device_id), KV_UINT("sent", f->sent),
                KV_UINT("key", step.key), KV_UINT("changes", changes));
        }
    }
    sync_state_free(&state);
    return stored != COMMANDS_CONFLICT;
}

/* false: once more, since another server was faster. */
static bool try(struct folder_sync *f)
{
    struct hierarchy h;
    struct folder_state_record record = {0};
    void *block = NULL;
    const char *device_id = f->call->req.device_id;
    struct visit *listed = f->call->inbox_only ? NULL : &f->visit;
    enum hierarchy_result result = hierarchy_load(f->commands, f->call->user, listed, &h);
    bool ended = true;
    f->status = FOLDERSYNC_SERVER_ERROR;
    f->store_failed = result == HIERARCHY_STORE;
    if (result == HIERARCHY_OK) {
        int found = store_read_folder_state(gate_store(f->commands->gate), f->call->user, device_id,
                                            &record, &block);
        f->store_failed = found < 0;
        if (found == 0) record = (struct folder_state_record){.ping_json = ""};
        if (found >= 0) ended = compare(f, &h, &record);
        free(block);
    }
    hierarchy_give_back(&h, ended ? NULL : listed);
    return ended;
}

/* On the lane. */
static void run(struct visit *v)
{
    struct folder_sync *f = CONTAINER_OF(v, struct folder_sync, visit);
    for (unsigned n = 1; !try(f) && n < COMMANDS_TRIES_MAX; n++) {
        free(f->answer);
        f->answer = NULL;
    }
}

static void done(struct visit *v)
{
    struct folder_sync *f = CONTAINER_OF(v, struct folder_sync, visit);
    /* MS-ASHTTP: the answer to the first FolderSync names versions and commands. */
    const struct http_field fields[] = {
        {"MS-ASProtocolVersions", gate_versions(f->commands->gate)},
        {"MS-ASProtocolCommands", gate_commands(f->commands->gate)},
        {NULL, NULL},
    };
    if (commands_turned_away(f->call, v)) return;
    if (f->store_failed)
        call_http(f->call, 503, STORE_RETRY_AFTER);
    else if (!f->answer)
        call_status(f->call, f->status);
    else if (f->sent == 0)
        call_answer_with(f->call, f->answer, f->len, fields);
    else
        call_answer(f->call, f->answer, f->len);
}

void foldersync_serve(struct call *c)
{
    uint32_t sent;
    unsigned status = foldersync_read(c->body, &sent);
    if (status != FOLDERSYNC_OK) {
        if (status >= 100)
            call_refuse(c, status);
        else
            call_status(c, status);
        return;
    }
    struct folder_sync *f = calloc(1, sizeof *f);
    if (!f) {
        call_http(c, 503, STORE_RETRY_AFTER);
        return;
    }
    f->call = c;
    f->commands = commands_of(c);
    f->sent = sent;
    f->visit.run = run;
    f->visit.done = done;
    c->data = f;
    c->free_data = free_sync;
    if (commands_list(f->commands, c, &f->visit))
        call_wait(c, NULL);
    else
        call_http(c, 503, STORE_RETRY_AFTER);
}

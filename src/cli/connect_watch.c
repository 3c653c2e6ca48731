/* Folders, once and for as long as somebody watches. */
#include <string.h>
#include <time.h>

#include "src/cli/connect.h"
#include "src/cli/text.h"

enum {
    HEARTBEAT_FIRST = 60,
    HEARTBEAT_MOST = 1680,  /* 28 minutes: routers forget silent connections after 30 */
    OUTAGES_MAX = 5,        /* in a row, while watching */
    ODD_ANSWERS_MAX = 5,    /* in a row: adjustments that lead nowhere */
    QUICK_ANSWERS_FREE = 3, /* in a row, before answers that come at once are slowed down */
    QUICK_SECONDS = 2,
    PAUSE_MOST = 64
};

static enum cli_exit odd_status(struct session *s, enum pv_cmd cmd, unsigned status)
{
    const char *name = pv_cmd_info(cmd)->name, *says = status_text(cmd, status);
    if (status == 0) return session_fail(s, CLI_PROTOCOL, "%s is answered without a Status", name);
    return session_fail(s, CLI_PROTOCOL, "%s is answered with Status %u%s%s", name, status,
                        says[0] ? " " : "", says);
}

/* ---- hierarchy ---- */

static void tell_change(void *ctx, char sign, const struct folder *f)
{
    struct session *s = ctx;
    report_folder_change(&s->report, sign, f);
}

static enum cli_exit apply(struct session *s, const struct pv_node *root, bool tell,
                           struct folder_changes *changes)
{
    switch (folders_apply(&s->folders, root, changes, tell ? tell_change : NULL, s)) {
    case FOLDERS_OK: return CLI_DONE;
    case FOLDERS_NO_MEMORY: return session_fail(s, CLI_FAILED, "no memory");
    case FOLDERS_TOO_MANY:
        return session_fail(s, CLI_PROTOCOL, "the server has more than %d folders", FOLDERS_MAX);
    case FOLDERS_MALFORMED: break;
    }
    return session_fail(s, CLI_PROTOCOL, "the folder list makes no sense");
}

enum cli_exit session_folders(struct session *s, bool tell, struct folder_changes *changes)
{
    uint8_t body[256];
    size_t len;
    struct command_answer a;
    for (int again = 0; again < 2; again++) {
        if (body_folder_sync(s->folders.sync_key, body, sizeof body, &len) != PV_OK)
            return session_fail(s, CLI_PROTOCOL, "the server's SyncKey cannot be sent back");
        enum cli_exit code = session_command(s, PV_CMD_FolderSync, body, len, 0, &a);
        if (code != CLI_DONE) return code;
        if (a.status == 1) return apply(s, a.root, tell, changes);
        if (a.status != 9 || strcmp(s->folders.sync_key, "0") == 0) break;
        //= MS-ASCMD 2.2.3.177.4: Status 9 begins the hierarchy anew
        folders_reset(&s->folders);
        tell = false;
    }
    return odd_status(s, PV_CMD_FolderSync, a.status);
}

/* ---- Ping ---- */

struct watch {
    unsigned heartbeat;
    unsigned least, most; /* the server's limits as far as they are known */
    unsigned good;        /* the longest heartbeat that went well */
    unsigned folders_most;
    unsigned outages, odd, quick;
};

static unsigned child_number(const struct pv_node *root, uint16_t tag)
{
    uint32_t n;
    return pv_node_u32(pv_node_child(root, tag), &n) ? n : 0;
}

static void tell_changed(struct session *s, const struct pv_node *root)
{
    const struct pv_node *list = pv_node_child(root, PV_Ping_Folders);
    for (const struct pv_node *n = pv_node_child(list, PV_Ping_Folder); n;
         n = pv_node_next(n, PV_Ping_Folder)) {
        const char *id;
        size_t len;
        char text[FOLDER_TEXT_MAX + 1], sentence[2 * FOLDER_TEXT_MAX];
        if (!pv_node_text(n, &id, &len) && !pv_node_text(pv_node_child(n, PV_Ping_Id), &id, &len))
            continue;
        snprintf(text, sizeof text, "%.*s", len < sizeof text ? (int)len : FOLDER_TEXT_MAX, id);
        const struct folder *f = folders_find(&s->folders, text);
        snprintf(sentence, sizeof sentence, "Something new in %s.", f ? f->name : text);
        report_event(&s->report, "changes", sentence, json_pack("{s:o*}", "id", text_json(text)));
    }
}

/* The hierarchy has changed, or the server wants to say something that Ping cannot carry. */
static enum cli_exit refresh(struct session *s)
{
    struct folder_changes c = {0};
    char sentence[128];
    enum cli_exit code = session_folders(s, true, &c);
    if (code != CLI_DONE) return code;
    snprintf(sentence, sizeof sentence, "Folders: %u added, %u updated, %u deleted.", c.added,
             c.updated, c.deleted);
    report_event(&s->report, "hierarchy", sentence, NULL);
    return CLI_DONE;
}

static void heartbeat_went_well(struct watch *w)
{
    w->good = w->heartbeat;
    w->heartbeat = w->heartbeat < w->most / 2 ? 2 * w->heartbeat : w->most;
    w->odd = 0;
}

/* Status 5 names the limit that was passed, 6 the number of folders. */
static void adjust(struct watch *w, const struct command_answer *a)
{
    unsigned limit = child_number(a->root, PV_Ping_HeartbeatInterval);
    unsigned folders = child_number(a->root, PV_Ping_MaxFolders);
    w->odd++;
    if (a->status == 5 && limit > 0 && limit <= 86400) {
        if (limit < w->heartbeat)
            w->most = limit;
        else
            w->least = limit;
        w->heartbeat = limit;
        if (w->most < w->least) w->most = w->least;
    }
    if (a->status == 6 && folders > 0 && folders < w->folders_most) w->folders_most = folders;
}

static enum cli_exit handle(struct session *s, struct watch *w, const struct command_answer *a)
{
    switch (a->status) {
    case 1: heartbeat_went_well(w); return CLI_DONE;
    case 2:
        w->odd = 0;
        tell_changed(s, a->root);
        return CLI_DONE;
    case 7: w->odd = 0; return refresh(s);
    case 3:
    case 5:
    case 6:
    case 8: adjust(w, a); break;
    default: w->odd = ODD_ANSWERS_MAX;
    }
    if (w->odd < ODD_ANSWERS_MAX) return CLI_DONE;
    return odd_status(s, PV_CMD_Ping, a->status);
}

static int64_t seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec;
}

static enum cli_exit ping(struct session *s, struct watch *w)
{
    static uint8_t body[FOLDERS_MAX * 64];
    size_t len;
    unsigned folders;
    struct command_answer a;
    enum pv_err e =
        body_ping(&s->folders, w->heartbeat, w->folders_most, body, sizeof body, &len, &folders);
    if (e == PV_E_NOMEM && w->folders_most > 1) { /* ids of unusual length: fewer fit */
        w->folders_most = (w->folders_most < folders ? w->folders_most : folders) / 2;
        return CLI_DONE;
    }
    if (e != PV_OK) return session_fail(s, CLI_FAILED, "the Ping cannot be made");
    if (folders == 0) return session_fail(s, CLI_PROTOCOL, "the server has no folder to watch");
    int64_t began = seconds_now();
    enum cli_exit code = session_command(s, PV_CMD_Ping, body, len, w->heartbeat, &a);
    if (code != CLI_DONE) return code;
    w->outages = 0;
    w->quick = seconds_now() - began < QUICK_SECONDS ? w->quick + 1 : 0;
    return handle(s, w, &a);
}

/* A server that has gone away for a while is waited for; a shorter heartbeat may pass a router that
 * forgets. */
static bool sit_out(struct session *s, struct watch *w)
{
    if (w->outages == OUTAGES_MAX) return false;
    report_event(&s->report, "outage", s->why, NULL);
    w->heartbeat = w->good ? w->good : HEARTBEAT_FIRST;
    if (w->heartbeat < w->least) w->heartbeat = w->least;
    if (w->heartbeat > w->most) w->heartbeat = w->most;
    return eas_wait(&s->eas, 1u << w->outages++);
}

/* Whoever reports changes that nobody fetches may answer at once for ever. */
static void slow_down(struct session *s, const struct watch *w)
{
    if (w->quick <= QUICK_ANSWERS_FREE) return;
    unsigned exponent = w->quick - QUICK_ANSWERS_FREE;
    eas_wait(&s->eas, exponent < 6 ? 1u << exponent : PAUSE_MOST);
}

enum cli_exit session_watch(struct session *s)
{
    struct watch w = {.heartbeat = HEARTBEAT_FIRST,
                      .most = HEARTBEAT_MOST,
                      .least = 1,
                      .folders_most = FOLDERS_MAX};
    while (!*s->eas.stop) {
        uint32_t key = s->client.key;
        enum cli_exit code = ping(s, &w);
        if (s->client.key != key)
            report_event(&s->report, "provisioned", "The policy was confirmed anew.", NULL);
        if (code == CLI_WIPE) return code; /* even if a signal came meanwhile */
        if (s->stopped) break;
        if (code == CLI_UNREACHABLE && sit_out(s, &w)) continue;
        if (*s->eas.stop) break;
        if (code != CLI_DONE) return code;
        slow_down(s, &w);
    }
    return CLI_DONE;
}

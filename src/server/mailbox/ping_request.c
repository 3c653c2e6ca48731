#include "src/server/mailbox/ping_request.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "src/json_text.h"

void ping_params_free(struct ping_params *p)
{
    free(p->folders);
    *p = (struct ping_params){0};
}

static void add_folder(struct ping_params *p, uint32_t id)
{
    for (size_t i = 0; i < p->folder_count; i++) {
        if (p->folders[i] == id) return;
    }
    p->folders[p->folder_count++] = id;
}

/* Folder{Id, Class}: the class says nothing that the folder does not say itself. */
static unsigned read_folder(const struct pv_node *folder, struct ping_params *out)
{
    const struct pv_node *id = pv_node_child(folder, PV_Ping_Id);
    const char *text;
    size_t len;
    uint32_t number;
    if (folder->tag != PV_Ping_Folder || pv_node_count(folder, PV_Ping_Id) != 1) return PING_SYNTAX;
    if (!pv_node_text(id, &text, &len) || len == 0) return PING_SYNTAX;
    if (!pv_node_u32(id, &number)) return PING_FOLDERSYNC;
    add_folder(out, number);
    return 0;
}

static unsigned read_folders(const struct pv_node *folders, size_t folders_max,
                             struct ping_params *out)
{
    size_t count = pv_node_count(folders, 0);
    if (out->folders) return PING_SYNTAX;
    if (count > folders_max) return PING_TOO_MANY_FOLDERS;
    out->folders = calloc(count + 1, sizeof *out->folders);
    if (!out->folders) return PING_SERVER_ERROR;
    for (const struct pv_node *n = folders->child; n; n = n->next) {
        unsigned status = n->kind == PV_NODE_ELEMENT ? read_folder(n, out) : PING_SYNTAX;
        if (status) return status;
    }
    return 0;
}

unsigned ping_read(const struct pv_node *root, size_t folders_max, struct ping_params *out)
{
    *out = (struct ping_params){0};
    if (!root) return 0;
    if (root->tag != PV_Ping_Ping) return PING_SYNTAX;
    for (const struct pv_node *n = root->child; n; n = n->next) {
        unsigned status = 0;
        if (n->kind != PV_NODE_ELEMENT) return PING_SYNTAX;
        switch (n->tag) {
        case PV_Ping_HeartbeatInterval:
            if (out->has_heartbeat || !pv_node_u32(n, &out->heartbeat)) return PING_SYNTAX;
            out->has_heartbeat = true;
            break;
        case PV_Ping_Folders: status = read_folders(n, folders_max, out); break;
        default: return PING_SYNTAX;
        }
        if (status) return status;
    }
    return 0;
}

uint32_t ping_nearest(uint32_t heartbeat, uint32_t least, uint32_t most)
{
    return heartbeat < least ? least : heartbeat > most ? most : heartbeat;
}

/* ---- as kept ---- */

bool ping_params_read(const char *json, struct ping_params *out)
{
    json_int_t heartbeat;
    json_t *ids = NULL, *record = json && *json ? json_loads(json, 0, NULL) : NULL;
    *out = (struct ping_params){0};
    bool good = json_unpack(record, "{s:I, s:o}", "heartbeat", &heartbeat, "folders", &ids) == 0 &&
                heartbeat > 0 && heartbeat <= UINT32_MAX && json_array_size(ids) > 0;
    if (good) out->folders = calloc(json_array_size(ids), sizeof *out->folders);
    good = good && out->folders;
    for (size_t i = 0; good && i < json_array_size(ids); i++) {
        json_int_t id = json_integer_value(json_array_get(ids, i));
        good = id > 0 && id <= UINT32_MAX;
        if (good) add_folder(out, (uint32_t)id);
    }
    json_decref(record);
    if (!good) {
        ping_params_free(out);
        return false;
    }
    out->has_heartbeat = true;
    out->heartbeat = (uint32_t)heartbeat;
    return true;
}

char *ping_params_write(const struct ping_params *p)
{
    json_t *ids = json_array();
    int failed = !ids;
    for (size_t i = 0; i < p->folder_count && !failed; i++) {
        failed = json_array_append_new(ids, json_integer(p->folders[i]));
    }
    if (failed) {
        json_decref(ids);
        return NULL;
    }
    json_t *record = json_pack("{s:I, s:o}", "heartbeat", (json_int_t)p->heartbeat, "folders", ids);
    char *text = text_of_json(record, JSON_COMPACT);
    json_decref(record);
    return text;
}

bool ping_params_equal(const struct ping_params *a, const struct ping_params *b)
{
    return a->has_heartbeat == b->has_heartbeat && a->heartbeat == b->heartbeat &&
           a->folder_count == b->folder_count &&
           (a->folder_count == 0 ||
            memcmp(a->folders, b->folders, a->folder_count * sizeof *a->folders) == 0);
}

/* ---- answer ---- */

enum pv_err ping_write(const struct ping_answer *a, uint8_t *buf, size_t cap, size_t *len_out)
{
    struct pv_wbxml_writer w;
    pv_wbxml_begin(&w, buf, cap);
    pv_wbxml_start(&w, PV_Ping_Ping);
    pv_wbxml_leaf_u32(&w, PV_Ping_Status, a->status);
    if (a->status == PING_CHANGES) {
        pv_wbxml_start(&w, PV_Ping_Folders);
        for (size_t i = 0; i < a->folder_count; i++) {
            pv_wbxml_leaf_u32(&w, PV_Ping_Folder, a->folders[i]);
        }
        pv_wbxml_end(&w);
    }
    if (a->status == PING_TOO_MANY_FOLDERS) pv_wbxml_leaf_u32(&w, PV_Ping_MaxFolders, a->limit);
    if (a->status == PING_BAD_HEARTBEAT) pv_wbxml_leaf_u32(&w, PV_Ping_HeartbeatInterval, a->limit);
    pv_wbxml_end(&w);
    return pv_wbxml_finish(&w, len_out);
}

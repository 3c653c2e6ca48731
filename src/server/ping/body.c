#include "src/server/ping/body.h"

/* Folder{Id, Class}: the class says nothing that the folder does not say itself. */
static bool folder_is_whole(const struct pv_node *folder)
{
    const char *text;
    size_t len;
    return folder->kind == PV_NODE_ELEMENT && folder->tag == PV_Ping_Folder &&
           pv_node_count(folder, PV_Ping_Id) == 1 &&
           pv_node_text(pv_node_child(folder, PV_Ping_Id), &text, &len) && len > 0;
}

static unsigned read_folders(const struct pv_node *folders, size_t folders_max,
                             struct ping_body *out)
{
    size_t count = pv_node_count(folders, 0);
    if (count > folders_max) return PING_TOO_MANY_FOLDERS;
    for (const struct pv_node *n = folders->child; n; n = n->next)
        if (!folder_is_whole(n)) return PING_SYNTAX;
    out->folder = folders->child;
    out->folder_count = count;
    return 0;
}

unsigned ping_body_read(const struct pv_node *root, size_t folders_max, struct ping_body *out)
{
    bool has_folders = false;
    *out = (struct ping_body){0};
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
        case PV_Ping_Folders:
            status = has_folders ? PING_SYNTAX : read_folders(n, folders_max, out);
            has_folders = true;
            break;
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

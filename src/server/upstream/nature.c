#include "src/server/upstream/nature.h"

#include <provost/wbxml.h>

#define WAIT_MAX_S 3540u    /* MS-ASCMD 2.2.3.84.2: as long as any heartbeat */
#define BODY_MAX (8 * 1024) /* one that waits names folders, and brings no mail */
#define NODE_ROOM 96u

/* It says how long: MS-ASCMD 2.2.3.84.2, 2.2.3.198.4. */
static void look_at_sync(const struct pv_node *root, struct nature *n)
{
    uint32_t wait;
    if (pv_node_u32(pv_node_child(root, PV_AirSync_HeartbeatInterval), &wait))
        n->wait_s = wait < WAIT_MAX_S ? wait : WAIT_MAX_S;
    else if (pv_node_u32(pv_node_child(root, PV_AirSync_Wait), &wait))
        n->wait_s = wait < WAIT_MAX_S / 60 ? wait * 60 : WAIT_MAX_S;
}

/* Most only fetch something. */
static void look_at_operations(const struct pv_node *root, struct nature *n)
{
    n->once = pv_node_count(root, 0) != pv_node_count(root, PV_ItemOperations_Fetch);
}

static void look(enum pv_cmd cmd, const uint8_t *body, size_t len, struct nature *n)
{
    struct pv_arena arena;
    const struct pv_node *root;
    if (pv_arena_create(&arena, NODE_ROOM * len + 1024) != PV_OK) return;
    if (pv_wbxml_decode(&arena, body, len, &pv_wbxml_limits_small, &root, NULL) == PV_OK &&
        root->tag == pv_cmd_info(cmd)->root) {
        if (cmd == PV_CMD_Sync)
            look_at_sync(root, n);
        else
            look_at_operations(root, n);
    }
    pv_arena_destroy(&arena);
}

struct nature command_nature(enum pv_cmd cmd, const uint8_t *body, size_t len)
{
    struct nature n = {0};
    switch (cmd) {
    case PV_CMD_Ping: n.wait_s = WAIT_MAX_S; return n;
    case PV_CMD_Sync: break;
    case PV_CMD_SendMail:
    case PV_CMD_SmartForward:
    case PV_CMD_SmartReply:
    case PV_CMD_MoveItems:
    case PV_CMD_MeetingResponse:
    case PV_CMD_FolderCreate:
    case PV_CMD_FolderDelete:
    case PV_CMD_FolderUpdate:
    case PV_CMD_CreateCollection:
    case PV_CMD_DeleteCollection:
    case PV_CMD_MoveCollection: n.once = true; return n;
    case PV_CMD_ItemOperations: n.once = true; break;
    default: return n;
    }
    if (cmd == PV_CMD_Sync && body && len == 0)
        n.wait_s = WAIT_MAX_S; /* as the last time, which is not known here */
    else if (body && len <= BODY_MAX)
        look(cmd, body, len, &n);
    return n;
}

#include "src/server/upstream/ping_wish.h"

#include <stdlib.h>
#include <string.h>

/* ---- reading a request ---- */

/* Text of an Id or a Class. false: there is a NUL in it, or more than text. */
static bool text_of(const struct pv_node *node, const char **text, size_t *len)
{
    *text = "";
    *len = 0;
    return !node || (pv_node_text(node, text, len) && !memchr(*text, '\0', *len));
}

static bool add_text(struct ping_wish *w, const char *text, size_t len)
{
    if (len + 1 > PING_FOLDERS_SIZE_MAX - w->size) return false;
    memcpy(w->folders + w->size, text, len);
    w->folders[w->size + len] = '\0';
    w->size += (uint32_t)len + 1;
    return true;
}

static const char *after(const char *text)
{
    return text + strlen(text) + 1;
}

static bool has_folder(const struct ping_wish *w, const char *id, size_t len)
{
    const char *at = w->folders;
    for (uint32_t i = 0; i < w->folder_count; i++) {
        if (strncmp(at, id, len) == 0 && !at[len]) return true;
        at = after(after(at));
    }
    return false;
}

static unsigned add_folder(struct ping_wish *w, const struct pv_node *folder)
{
    const char *id, *class;
    size_t id_len, class_len;
    if (!text_of(pv_node_child(folder, PV_Ping_Id), &id, &id_len) ||
        !text_of(pv_node_child(folder, PV_Ping_Class), &class, &class_len))
        return PING_SYNTAX;
    if (has_folder(w, id, id_len)) return 0;
    if (!add_text(w, id, id_len) || !add_text(w, class, class_len)) return PING_TOO_MANY_FOLDERS;
    w->folder_count++;
    return 0;
}

static struct ping_wish *shrink(struct ping_wish *w)
{
    struct ping_wish *exact = realloc(w, sizeof *w + w->size);
    return exact ? exact : w;
}

static unsigned read_folders(const struct ping_body *body, struct ping_wish **out,
                             uint32_t *limit_out)
{
    unsigned status = 0;
    struct ping_wish *w = malloc(sizeof *w + PING_FOLDERS_SIZE_MAX);
    if (!w) return PING_SERVER_ERROR;
    *w = (struct ping_wish){0};
    for (const struct pv_node *n = body->folder; n && !status; n = n->next)
        status = add_folder(w, n);
    *limit_out = w->folder_count; /* so many had room */
    if (status)
        free(w);
    else
        *out = shrink(w);
    return status;
}

struct ping_wish *ping_wish_copy(const struct ping_wish *w)
{
    struct ping_wish *copy = malloc(sizeof *w + w->size);
    if (copy) memcpy(copy, w, sizeof *w + w->size);
    return copy;
}

unsigned ping_wish_read(const struct pv_node *root, const struct ping_limits *limits,
                        const struct ping_wish *last, struct ping_wish **out, uint32_t *limit_out)
{
    uint32_t least = limits->heartbeat_min, most = limits->heartbeat_max;
    struct ping_body body;
    unsigned status = ping_body_read(root, limits->folders_max, &body);
    *limit_out = limits->folders_max;
    if (status) return status;
    if (body.has_heartbeat && body.heartbeat != ping_nearest(body.heartbeat, least, most)) {
        *limit_out = ping_nearest(body.heartbeat, least, most);
        return PING_BAD_HEARTBEAT;
    }
    if ((!body.has_heartbeat || !body.folder) && !last) return PING_MISSING;
    if (last && !body.folder && last->folder_count > limits->folders_max) return PING_MISSING;
    if (body.folder)
        status = read_folders(&body, out, limit_out);
    else if (!(*out = ping_wish_copy(last)))
        status = PING_SERVER_ERROR;
    if (status) return status;
    (*out)->heartbeat =
        body.has_heartbeat ? body.heartbeat : ping_nearest(last->heartbeat, least, most);
    return 0;
}

/* ---- the request to the upstream ---- */

size_t ping_wish_room(const struct ping_wish *w)
{
    return 64 + w->size + (size_t)8 * w->folder_count;
}

enum pv_err ping_wish_write(const struct ping_wish *w, uint32_t heartbeat, uint8_t *buf, size_t cap,
                            size_t *len_out)
{
    struct pv_wbxml_writer out;
    const char *at = w->folders;
    pv_wbxml_begin(&out, buf, cap);
    pv_wbxml_start(&out, PV_Ping_Ping);
    pv_wbxml_leaf_u32(&out, PV_Ping_HeartbeatInterval, heartbeat);
    pv_wbxml_start(&out, PV_Ping_Folders);
    for (uint32_t i = 0; i < w->folder_count; i++) {
        pv_wbxml_start(&out, PV_Ping_Folder);
        pv_wbxml_leaf(&out, PV_Ping_Id, at);
        at = after(at);
        if (*at) pv_wbxml_leaf(&out, PV_Ping_Class, at);
        at = after(at);
        pv_wbxml_end(&out);
    }
    pv_wbxml_end(&out);
    pv_wbxml_end(&out);
    return pv_wbxml_finish(&out, len_out);
}

/* ---- the upstream's answer ---- */

/* Room for the nodes: a byte can be an element, with text between two. */
static size_t arena_size(size_t len)
{
    size_t most = 2 * pv_wbxml_limits_small.elements + 1;
    size_t nodes = len < most ? len : most;
    return nodes * ((sizeof(struct pv_node) + 15) & ~(size_t)15) + 1024;
}

bool ping_said_read(const void *body, size_t len, struct ping_said *out)
{
    struct pv_arena arena;
    const struct pv_node *root;
    uint32_t status = 0;
    *out = (struct ping_said){0};
    if (len == 0 || len > PING_SAID_MAX || pv_arena_create(&arena, arena_size(len)) != PV_OK)
        return false;
    bool good = pv_wbxml_decode(&arena, body, len, &pv_wbxml_limits_small, &root, NULL) == PV_OK &&
                root->tag == PV_Ping_Ping &&
                pv_node_u32(pv_node_child(root, PV_Ping_Status), &status);
    out->status = status;
    if (good) (void)pv_node_u32(pv_node_child(root, PV_Ping_HeartbeatInterval), &out->heartbeat);
    pv_arena_destroy(&arena);
    return good && status > 0;
}

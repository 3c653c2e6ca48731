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

unsigned ping_read(const struct pv_node *root, size_t folders_max, struct ping_params *out)
{
    struct ping_body body;
    unsigned status = ping_body_read(root, folders_max, &body);
    *out = (struct ping_params){.has_heartbeat = body.has_heartbeat, .heartbeat = body.heartbeat};
    if (status || !body.folder) return status;
    out->folders = calloc(body.folder_count, sizeof *out->folders);
    if (!out->folders) return PING_SERVER_ERROR;
    for (const struct pv_node *n = body.folder; n; n = n->next) {
        uint32_t id;
        if (!pv_node_u32(pv_node_child(n, PV_Ping_Id), &id)) return PING_FOLDERSYNC;
        add_folder(out, id);
    }
    return 0;
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

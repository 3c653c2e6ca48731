/* Mailbox and ServerIds together: what there is to tell a device. */
#include <stdlib.h>

#include "src/server/mailbox/internal.h"
#include "src/server/mailbox/quarantine.h"

static bool read_ids(struct commands *c, const char *user, struct hierarchy *h, bool *store_failed)
{
    struct folder_ids_record record;
    int found = store_read_folder_ids(gate_store(c->gate), user, &record, &h->ids_block);
    *store_failed = found < 0;
    h->ids_were = found > 0 ? record.ids_json : "";
    return found >= 0 && folder_ids_read(found ? record.ids_json : NULL, &h->known);
}

static enum mailbox_result list_quarantine(struct folder_list *out)
{
    return quarantine_list(out) ? MAILBOX_OK : MAILBOX_UNREACHABLE;
}

static enum mailbox_result take_list(struct visit *v, struct folder_list *out)
{
    *out = v->list;
    v->list = (struct folder_list){0};
    return v->result;
}

enum hierarchy_result hierarchy_load(struct commands *c, const char *user, struct visit *v,
                                     struct hierarchy *out)
{
    bool store_failed, inbox_only = v == NULL;
    *out = (struct hierarchy){0};
    enum mailbox_result result =
        inbox_only ? list_quarantine(&out->list) : take_list(v, &out->list);
    if (result == MAILBOX_UNREACHABLE) return HIERARCHY_UNREACHABLE;
    if (!read_ids(c, user, out, &store_failed)) {
        return store_failed ? HIERARCHY_STORE : HIERARCHY_UNREACHABLE;
    }
    /* A mailbox that was there and is gone is a disk that is not mounted: no reason to empty the
     * phones. */
    if (result == MAILBOX_NONE && out->known.count > 1) return HIERARCHY_UNREACHABLE;
    out->ids = calloc(out->list.count + 1, sizeof *out->ids);
    if (!out->ids) return HIERARCHY_UNREACHABLE;
    bool assigned = inbox_only
                        ? quarantine_inbox_id(&out->known, out->ids, &out->ids_changed)
                        : folder_ids_assign(&out->known, &out->list, out->ids, &out->ids_changed);
    if (!assigned || !tree_make(&out->list, out->ids, inbox_only, &out->tree))
        return HIERARCHY_UNREACHABLE;
    return HIERARCHY_OK;
}

void hierarchy_free(struct hierarchy *h)
{
    tree_free(&h->tree);
    free(h->ids);
    folder_ids_free(&h->known);
    folder_list_free(&h->list);
    free(h->ids_block);
}

void hierarchy_give_back(struct hierarchy *h, struct visit *v)
{
    if (v) {
        v->list = h->list;
        h->list = (struct folder_list){0};
    }
    hierarchy_free(h);
}

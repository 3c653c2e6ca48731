/* GetItemEstimate and ItemOperations of the quarantine Inbox (MS-ASCMD 2.2.1.9, 2.2.1.10), apart from
 * I/O. */
#include <stdlib.h>
#include <string.h>

#include "src/server/mailbox/quarantine.h"

/* MS-ASCMD 2.2.3.177.6 */
#define ESTIMATE_OK 1
#define ESTIMATE_BAD_COLLECTION 2
#define ESTIMATE_NOT_PRIMED 3
#define ESTIMATE_BAD_KEY 4
/* MS-ASCMD 2.2.3.177.8 */
#define ITEMS_OK 1
#define ITEMS_PROTOCOL 2
#define ITEMS_NOT_FOUND 6

#define ID_MAX 64
#define FETCHES_MAX 100

static bool read_id(const struct pv_node *n, const char **text, size_t *len)
{
    return pv_node_text(n, text, len) && *len > 0 && *len <= ID_MAX;
}

static void write_id(struct pv_wbxml_writer *w, uint16_t tag, const char *text, size_t len)
{
    pv_wbxml_start(w, tag);
    pv_wbxml_text(w, text, len);
    pv_wbxml_end(w);
}

static bool is_inbox(const struct quarantine_mail *m, const struct pv_node *id)
{
    uint32_t number;
    return m->inbox && pv_node_u32(id, &number) && number == m->inbox;
}

/* The buffer becomes the answer, or is freed. */
static void finish(struct quarantine_answer *out, struct pv_wbxml_writer *w, bool good,
                   unsigned status)
{
    if (good && pv_wbxml_finish(w, &out->len) == PV_OK) {
        out->body = w->buf;
        return;
    }
    free(w->buf);
    out->status = status;
}

/* ---- GetItemEstimate ---- */
static unsigned estimate(const struct quarantine_mail *m, const struct pv_node *id,
                         const struct pv_node *key, uint32_t *count_out)
{
    uint32_t number;
    *count_out = 0;
    if (!is_inbox(m, id)) return ESTIMATE_BAD_COLLECTION;
    if (!pv_node_u32(key, &number)) return ESTIMATE_BAD_KEY;
    if (number == 0) return ESTIMATE_NOT_PRIMED;
    if (number != m->primed && number != m->told) return ESTIMATE_BAD_KEY;
    *count_out = number == m->primed;
    return ESTIMATE_OK;
}

static bool write_estimate(struct pv_wbxml_writer *w, const struct pv_node *n,
                           enum pv_version version, const struct quarantine_mail *m)
{
    const struct pv_node *id = pv_node_child(n, PV_GetItemEstimate_CollectionId);
    const char *text;
    size_t len;
    uint32_t count;
    if (n->kind != PV_NODE_ELEMENT || n->tag != PV_GetItemEstimate_Collection ||
        !read_id(id, &text, &len))
        return false;
    unsigned status = estimate(m, id, pv_node_child(n, PV_AirSync_SyncKey), &count);
    pv_wbxml_start(w, PV_GetItemEstimate_Response);
    pv_wbxml_leaf_u32(w, PV_GetItemEstimate_Status, status);
    pv_wbxml_start(w, PV_GetItemEstimate_Collection);
    if (version < PV_V12_1) pv_wbxml_leaf(w, PV_GetItemEstimate_Class, "Email");
    write_id(w, PV_GetItemEstimate_CollectionId, text, len);
    if (status == ESTIMATE_OK) pv_wbxml_leaf_u32(w, PV_GetItemEstimate_Estimate, count);
    pv_wbxml_end(w);
    pv_wbxml_end(w);
    return true;
}

void quarantine_estimate_answer(const struct pv_node *root, enum pv_version version,
                                const struct quarantine_mail *m, struct quarantine_answer *out)
{
    const struct pv_node *all = pv_node_child(root, PV_GetItemEstimate_Collections);
    size_t cap = 128 + pv_node_count(all, 0) * QUARANTINE_ELEMENT_MAX;
    struct pv_wbxml_writer w;
    *out = (struct quarantine_answer){0};
    uint8_t *buf = malloc(cap);
    if (!buf) return;
    bool good = all && all->child && !pv_node_next(all, PV_GetItemEstimate_Collections);
    pv_wbxml_begin(&w, buf, cap);
    pv_wbxml_start(&w, PV_GetItemEstimate_GetItemEstimate);
    for (const struct pv_node *n = good ? all->child : NULL; n && good; n = n->next)
        good = write_estimate(&w, n, version, m);
    pv_wbxml_end(&w);
    finish(out, &w, good, ESTIMATE_BAD_COLLECTION);
}

/* ---- ItemOperations ---- */
static bool write_fetch(struct pv_wbxml_writer *w, const struct pv_node *n, enum pv_version version,
                        const struct quarantine_mail *m)
{
    const struct pv_node *collection = pv_node_child(n, PV_AirSync_CollectionId);
    const struct pv_node *item = pv_node_child(n, PV_AirSync_ServerId);
    const struct pv_node *options = pv_node_child(n, PV_ItemOperations_Options);
    const char *id, *item_id;
    size_t len, item_len;
    bool has_id = read_id(collection, &id, &len), has_item = read_id(item, &item_id, &item_len);
    if (n->kind != PV_NODE_ELEMENT || n->tag != PV_ItemOperations_Fetch) return false;
    bool found = has_id && is_inbox(m, collection) && quarantine_mail_is(m, item);
    pv_wbxml_start(w, PV_ItemOperations_Fetch);
    pv_wbxml_leaf_u32(w, PV_ItemOperations_Status, found ? ITEMS_OK : ITEMS_NOT_FOUND);
    if (has_id) write_id(w, PV_AirSync_CollectionId, id, len);
    if (has_item) write_id(w, PV_AirSync_ServerId, item_id, item_len);
    if (found) {
        pv_wbxml_leaf(w, PV_AirSync_Class, "Email");
        pv_wbxml_start(w, PV_ItemOperations_Properties);
        quarantine_mail_write(m, version, quarantine_mail_most(options), w);
        pv_wbxml_end(w);
    }
    pv_wbxml_end(w);
    return true;
}

void quarantine_items_answer(const struct pv_node *root, enum pv_version version,
                             const struct quarantine_mail *m, struct quarantine_answer *out)
{
    size_t count = pv_node_count(root, 0);
    size_t cap = 128 + count * (QUARANTINE_ELEMENT_MAX + QUARANTINE_MAIL_SIZE);
    struct pv_wbxml_writer w;
    *out = (struct quarantine_answer){.status = ITEMS_PROTOCOL};
    if (count == 0 || count > FETCHES_MAX) return;
    uint8_t *buf = malloc(cap);
    *out = (struct quarantine_answer){0};
    if (!buf) return;
    bool good = true;
    pv_wbxml_begin(&w, buf, cap);
    pv_wbxml_start(&w, PV_ItemOperations_ItemOperations);
    pv_wbxml_leaf_u32(&w, PV_ItemOperations_Status, ITEMS_OK);
    pv_wbxml_start(&w, PV_ItemOperations_Response);
    for (const struct pv_node *n = root->child; n && good; n = n->next)
        good = write_fetch(&w, n, version, m);
    pv_wbxml_end(&w);
    pv_wbxml_end(&w);
    finish(out, &w, good, ITEMS_PROTOCOL);
}

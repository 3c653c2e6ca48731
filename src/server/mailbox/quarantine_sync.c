/* Sync of the quarantine Inbox (MS-ASCMD 2.2.1.21), apart from I/O. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/server/mailbox/quarantine.h"

/* MS-ASCMD 2.2.3.177.17 */
#define SYNC_OK 1
#define SYNC_BAD_KEY 3
#define SYNC_SYNTAX 4
#define SYNC_CONVERSION 6
#define SYNC_NOT_FOUND 8
#define SYNC_FOLDERSYNC 12
#define SYNC_INCOMPLETE 13
#define SYNC_BAD_WAIT 14

#define KEY_MAX 64       /* bytes of a SyncKey or CollectionId that is told again */
#define CLIENT_ID_MAX 64 /* MS-ASCMD 2.2.3.29: 40 characters */

struct sync {
    const struct quarantine_mail *mail;
    enum pv_version version;
    struct pv_wbxml_writer w;
    bool news;  /* more is told than that nothing has changed */
    bool inbox; /* it was among the collections */
    bool malformed;
};

struct collection {
    const struct pv_node *node, *id, *key, *commands, *options;
    const char *id_text, *key_text;
    size_t id_len, key_len;
};

/* ---- the request ---- */
static bool read_text(const struct pv_node *n, const char **text, size_t *len)
{
    return pv_node_text(n, text, len) && *len > 0 && *len <= KEY_MAX;
}

static bool read_collection(const struct pv_node *n, struct collection *c)
{
    *c = (struct collection){
        .node = n,
        .id = pv_node_child(n, PV_AirSync_CollectionId),
        .key = pv_node_child(n, PV_AirSync_SyncKey),
        .commands = pv_node_child(n, PV_AirSync_Commands),
        .options = pv_node_child(n, PV_AirSync_Options),
    };
    return read_text(c->id, &c->id_text, &c->id_len) &&
           read_text(c->key, &c->key_text, &c->key_len);
}

/* Is the message wanted? Absent or empty means yes (MS-ASCMD 2.2.3.83). */
static bool wants_changes(const struct collection *c)
{
    return !pv_node_text_is(pv_node_child(c->node, PV_AirSync_GetChanges), "0");
}

/* ---- what the device sends ---- */
static void respond(struct sync *s, uint16_t tag, uint16_t id_tag, const struct pv_node *id,
                    unsigned status)
{
    const char *text;
    size_t len;
    if (!pv_node_text(id, &text, &len) || len == 0 || len > CLIENT_ID_MAX) {
        s->malformed = true;
        return;
    }
    pv_wbxml_start(&s->w, tag);
    pv_wbxml_start(&s->w, id_tag);
    pv_wbxml_text(&s->w, text, len);
    pv_wbxml_end(&s->w);
    pv_wbxml_leaf_u32(&s->w, PV_AirSync_Status, status);
}

/* The message is told at most once, since it is long. */
static void fetch(struct sync *s, const struct collection *c, const struct pv_node *id, bool *told)
{
    bool found = !*told && quarantine_mail_is(s->mail, id);
    respond(s, PV_AirSync_Fetch, PV_AirSync_ServerId, id, found ? SYNC_OK : SYNC_NOT_FOUND);
    if (found) {
        pv_wbxml_start(&s->w, PV_AirSync_ApplicationData);
        quarantine_mail_write(s->mail, s->version, quarantine_mail_most(c->options), &s->w);
        pv_wbxml_end(&s->w);
        *told = true;
    }
    pv_wbxml_end(&s->w);
}

/* Changes and deletes of the message are taken without a word (MS-ASCMD 2.2.3.153), and forgotten.
 * Nothing can be added. @return whether it is responded to */
static bool respond_to(struct sync *s, const struct collection *c, const struct pv_node *n,
                       bool write, bool *told)
{
    const struct pv_node *id = pv_node_child(n, PV_AirSync_ServerId);
    switch (n->kind == PV_NODE_ELEMENT ? n->tag : 0) {
    case PV_AirSync_Add:
        if (!write) return true;
        respond(s, PV_AirSync_Add, PV_AirSync_ClientId, pv_node_child(n, PV_AirSync_ClientId),
                SYNC_CONVERSION);
        pv_wbxml_end(&s->w);
        return true;
    case PV_AirSync_Fetch:
        if (write) fetch(s, c, id, told);
        return true;
    case PV_AirSync_Change:
    case PV_AirSync_Delete:
        if (quarantine_mail_is(s->mail, id)) return false;
        if (!write) return true;
        respond(s, n->tag, PV_AirSync_ServerId, id, SYNC_NOT_FOUND);
        pv_wbxml_end(&s->w);
        return true;
    default: s->malformed = true; return false;
    }
}

static void write_responses(struct sync *s, const struct collection *c)
{
    bool any = false, told = false;
    const struct pv_node *first = c->commands ? c->commands->child : NULL;
    for (const struct pv_node *n = first; n; n = n->next) any |= respond_to(s, c, n, false, &told);
    if (!any || s->malformed) return;
    pv_wbxml_start(&s->w, PV_AirSync_Responses);
    for (const struct pv_node *n = first; n; n = n->next) (void)respond_to(s, c, n, true, &told);
    pv_wbxml_end(&s->w);
    s->news = true;
}

/* ---- the answer ---- */
static void write_head(struct sync *s, const struct collection *c, const char *key, size_t key_len,
                       unsigned status)
{
    pv_wbxml_start(&s->w, PV_AirSync_Collection);
    if (s->version < PV_V12_1) pv_wbxml_leaf(&s->w, PV_AirSync_Class, "Email");
    pv_wbxml_start(&s->w, PV_AirSync_SyncKey);
    pv_wbxml_text(&s->w, key, key_len);
    pv_wbxml_end(&s->w);
    pv_wbxml_start(&s->w, PV_AirSync_CollectionId);
    pv_wbxml_text(&s->w, c->id_text, c->id_len);
    pv_wbxml_end(&s->w);
    pv_wbxml_leaf_u32(&s->w, PV_AirSync_Status, status);
    s->news |= status != SYNC_OK;
}

static void write_key(struct sync *s, const struct collection *c, uint32_t key)
{
    char text[12];
    snprintf(text, sizeof text, "%u", (unsigned)key);
    write_head(s, c, text, strlen(text), SYNC_OK);
}

static void write_message(struct sync *s, const struct collection *c)
{
    pv_wbxml_start(&s->w, PV_AirSync_Commands);
    pv_wbxml_start(&s->w, PV_AirSync_Add);
    pv_wbxml_leaf(&s->w, PV_AirSync_ServerId, s->mail->server_id);
    pv_wbxml_start(&s->w, PV_AirSync_ApplicationData);
    quarantine_mail_write(s->mail, s->version, quarantine_mail_most(c->options), &s->w);
    pv_wbxml_end(&s->w);
    pv_wbxml_end(&s->w);
    pv_wbxml_end(&s->w);
    s->news = true;
}

static void write_inbox(struct sync *s, const struct collection *c)
{
    uint32_t key;
    if (s->inbox) s->malformed = true; /* twice */
    s->inbox = true;
    if (pv_node_text_is(c->key, "0")) {
        write_key(s, c, s->mail->primed);
        s->news = true;
    } else if (!pv_node_u32(c->key, &key) || (key != s->mail->primed && key != s->mail->told)) {
        write_head(s, c, "0", 1, SYNC_BAD_KEY);
    } else {
        bool tell = key == s->mail->primed && wants_changes(c);
        write_key(s, c, tell ? s->mail->told : key);
        write_responses(s, c);
        if (tell) write_message(s, c);
    }
    pv_wbxml_end(&s->w);
}

static void write_collection(struct sync *s, const struct pv_node *n)
{
    struct collection c;
    uint32_t id;
    if (n->kind != PV_NODE_ELEMENT || n->tag != PV_AirSync_Collection || !read_collection(n, &c)) {
        s->malformed = true;
    } else if (s->mail->inbox && pv_node_u32(c.id, &id) && id == s->mail->inbox) {
        write_inbox(s, &c);
    } else {
        write_head(s, &c, c.key_text, c.key_len, SYNC_FOLDERSYNC);
        pv_wbxml_end(&s->w);
    }
}

static size_t count_elements(const struct pv_node *collections)
{
    size_t count = 0;
    for (const struct pv_node *n = collections->child; n; n = n->next)
        count += 1 + pv_node_count(pv_node_child(n, PV_AirSync_Commands), 0);
    return count;
}

/* How long the device is ready to wait, in seconds. @return 0 or a Status */
static unsigned read_wait(const struct pv_node *root, const struct quarantine_limits *l,
                          struct quarantine_answer *out)
{
    const struct pv_node *minutes = pv_node_child(root, PV_AirSync_Wait);
    const struct pv_node *seconds = pv_node_child(root, PV_AirSync_HeartbeatInterval);
    uint32_t n;
    if (!minutes && !seconds) return 0;
    if ((minutes && seconds) || !pv_node_u32(minutes ? minutes : seconds, &n)) return SYNC_SYNTAX;
    unsigned least = minutes ? 1 : l->heartbeat_min;
    unsigned most = minutes ? l->heartbeat_max / 60 : l->heartbeat_max;
    if (most < least) most = least;
    out->limit = n < least ? least : n > most ? most : n;
    if (out->limit != n) return SYNC_BAD_WAIT;
    out->wait = minutes ? n * 60 : n;
    return 0;
}

static unsigned check(const struct pv_node *root, enum pv_version version,
                      const struct quarantine_limits *l, struct quarantine_answer *out)
{
    unsigned incomplete = version < PV_V12_1 ? SYNC_SYNTAX : SYNC_INCOMPLETE;
    if (!root || pv_node_child(root, PV_AirSync_Partial)) return incomplete; /* nothing is kept */
    if (pv_node_count(root, PV_AirSync_Collections) > 1) return SYNC_SYNTAX;
    unsigned status = read_wait(root, l, out);
    if (status) return status;
    return pv_node_child(root, PV_AirSync_Collections) ? 0 : incomplete;
}

void quarantine_sync_answer(const struct pv_node *root, enum pv_version version,
                            const struct quarantine_mail *m, const struct quarantine_limits *l,
                            struct quarantine_answer *out)
{
    struct sync s = {.mail = m, .version = version};
    *out = (struct quarantine_answer){0};
    out->status = check(root, version, l, out);
    if (out->status) return;
    const struct pv_node *collections = pv_node_child(root, PV_AirSync_Collections);
    /* The message once as an Add and once as it is fetched. */
    size_t cap = 128 + 2 * QUARANTINE_MAIL_SIZE;
    cap += count_elements(collections) * QUARANTINE_ELEMENT_MAX;
    uint8_t *buf = malloc(cap);
    if (!buf) return;
    pv_wbxml_begin(&s.w, buf, cap);
    pv_wbxml_start(&s.w, PV_AirSync_Sync);
    pv_wbxml_start(&s.w, PV_AirSync_Collections);
    for (const struct pv_node *n = collections->child; n; n = n->next) write_collection(&s, n);
    pv_wbxml_end(&s.w);
    pv_wbxml_end(&s.w);
    if (!collections->child || s.malformed || pv_wbxml_finish(&s.w, &out->len) != PV_OK) {
        free(buf);
        out->status = SYNC_SYNTAX;
        return;
    }
    out->body = buf;
    if (s.news) out->wait = 0;
}

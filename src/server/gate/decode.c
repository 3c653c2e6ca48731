/* The body of a command, decoded after the gate has let it through. */
#include <string.h>
#include <strings.h>

#include "src/server/gate/inner.h"
#include "src/server/observe/log.h"

/* MS-ASHTTP 2.2.1.1.2.2: application/vnd.ms-sync.wbxml, or without the last part; parameters may
 * follow. */
static bool type_fits(const char *type)
{
    static const char *const types[] = {PV_EAS_CONTENT_TYPE, "application/vnd.ms-sync"};
    if (!type) return true;
    size_t len = strcspn(type, "; \t");
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (len == strlen(types[i]) && strncasecmp(type, types[i], len) == 0) return true;
    return len == 0;
}

/* Every element must have a name: an element that the protocol does not have makes the body
 * undecodable. */
static bool all_known(const struct pv_node *root)
{
    for (const struct pv_node *n = root; n;) {
        if (n->kind == PV_NODE_ELEMENT && !pv_tag_name(n->tag)) return false;
        if (n->child) {
            n = n->child;
            continue;
        }
        while (n && n != root && !n->next) n = n->parent;
        n = n && n != root ? n->next : NULL;
    }
    return true;
}

/* Room for the nodes of len bytes (a byte can be an element, with text between two) and for
 * texts that a command copies. */
static size_t arena_size(size_t len)
{
    size_t most = 2 * pv_wbxml_limits_small.elements + 1;
    size_t nodes = len < most ? len : most;
    return nodes * ((sizeof(struct pv_node) + 15) & ~(size_t)15) + 2 * len + 2048;
}

static bool refuse(struct call *c, unsigned status, const char *why)
{
    if (call_may_log(c))
        LOG(LOG_INFO, call_session(c), "body-refused", KV_TEXT("user", c->user),
            KV_TEXT("device", c->req.device_id), KV_UINT("status", status), KV_TEXT("why", why));
    call_refuse(c, status);
    return false;
}

bool call_has_body(struct call *c)
{
    size_t len;
    uint64_t announced;
    http_body(c->http, &len);
    if (len > 0 || pv_cmd_info(c->req.cmd)->empty_body || http_body_is_stream(c->http, &announced))
        return true;
    call_http(c, 400, 0); /* libsoup loses bodies: no word of blame, no state */
    return false;
}

bool call_decode(struct call *c)
{
    struct gate_call *gc = gate_call_of(c);
    const struct pv_cmd_info *info = pv_cmd_info(c->req.cmd);
    size_t len, at;
    uint64_t announced;
    const uint8_t *body = http_body(c->http, &len);
    if (http_body_is_stream(c->http, &announced)) { /* longer than anything that is read here */
        call_http(c, 413, 0);
        return false;
    }
    if (len == 0) return call_has_body(c);
    if (!type_fits(http_field(c->http, "Content-Type")))
        return refuse(c, 101, "the type of the body is not that of ActiveSync");

    struct pv_arena arena;
    if (pv_arena_create(&arena, arena_size(len)) != PV_OK) {
        call_http(c, 503, RETRY_AFTER_S);
        return false;
    }
    gc->head = c->arena;
    c->arena = arena;
    gc->big_body = true;
    const struct pv_node *root;
    enum pv_err err = pv_wbxml_decode(&c->arena, body, len, &pv_wbxml_limits_small, &root, &at);
    if (err) return refuse(c, 102, pv_err_text(err));
    if (at != len) return refuse(c, 102, "bytes follow the document");
    if (root->tag != info->root) return refuse(c, 102, "the document is not that of the command");
    if (!all_known(root)) return refuse(c, 102, "an element is not known");
    c->body = root;
    return true;
}

void call_drop_body(struct call *c)
{
    struct gate_call *gc = gate_call_of(c);
    c->body = NULL;
    http_drop_body(c->http);
    if (!gc->big_body) return;
    pv_arena_destroy(&c->arena);
    c->arena = gc->head;
    gc->big_body = false;
}

/* The head of a request on its way to the upstream: made anew. A device's own fields travel, but for
 * those that say what we say, or that could make another request of it. */
#include <string.h>

#include "src/server/upstream/fields.h"
#include "src/server/upstream/forward_inner.h"

/* RFC 9110 7.6.1 names the others (field_is_hop). */
static const char *const kept_back[] = {
    /* told by us */
    "Authorization", "Host", "MS-ASProtocolVersion", "MS-ASAcceptMultiPart", "X-MS-PolicyKey",
    "X-Real-IP", "Forwarded", "X-Client-IP", "X-Cluster-Client-IP", "True-Client-IP", "Via",
    /* of the body, which has come */
    "Expect",
    /* another request than the gate has seen */
    "X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "X-Original-URL",
    "X-Rewrite-URL", "X-Original-Method", "X-Original-URI",
    /* what a server may take for its environment */
    "Proxy"};

static bool travels(const struct sent_fields *s, const char *name)
{
    const char *user_field = config_now(s->gateway->config)->upstream.user_field;
    if (field_is_hop(name) || field_has_prefix(name, "X-Forwarded-")) return false;
    if (user_field && field_same_name(name, user_field)) return false;
    for (size_t i = 0; i < sizeof kept_back / sizeof *kept_back; i++)
        if (field_same_name(name, kept_back[i])) return false;
    return !s->connection || !field_list_has(s->connection, name);
}

static void put(struct sent_fields *s, const char *name, const char *value)
{
    if (value && s->count < SENT_FIELDS_MAX) s->at[s->count++] = (struct http_field){name, value};
}

static void each(void *ctx, const char *name, const char *value)
{
    struct sent_fields *s = ctx;
    if (travels(s, name)) put(s, name, value);
}

void sent_fields_make(struct sent_fields *s, const struct gateway *w, const struct call *c,
                      const struct pv_request *req, uint32_t key)
{
    struct http_exchange *x = c->http;
    const struct config *config = config_now(w->config);
    s->count = 0;
    s->gateway = w;
    s->call = c;
    s->connection = http_field(x, "Connection");
    http_each_field(x, each, s);
    put(s, "Authorization", call_authorization(c));
    put(s, "X-Forwarded-For", http_client(x));
    put(s, "X-Forwarded-Proto", http_secure(x) ? "https" : "http");
    put(s, "X-Forwarded-Host", http_field(x, "Host"));
    if (config->upstream.user_field) put(s, config->upstream.user_field, c->user);
    if (req && pv_cmd_info(req->cmd)->key_rule != PV_KEY_PARTNERSHIP) {
        upstream_key_text(key, s->key);
        put(s, "X-MS-PolicyKey", s->key);
    }
    if (req) put(s, "MS-ASProtocolVersion", pv_version_text(req->version));
    if (req && req->accept_multipart) put(s, "MS-ASAcceptMultiPart", "T");
    s->at[s->count] = (struct http_field){0};
}

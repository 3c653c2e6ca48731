/* Who is at the other end: the peer itself, and whom a proxy speaks for. */
#include <strings.h>

#include "src/server/http/engine.h"
#include "src/server/http/head.h"
#include "src/server/observe/log.h"

const char *http_peer(const struct http_exchange *x)
{
    return x->conn->peer;
}

bool http_peer_uid(const struct http_exchange *x, uint32_t *uid_out)
{
    struct ucred peer;
    socklen_t len = sizeof peer;
    if (!x->conn->lane->endpoint->is_unix ||
        getsockopt(conn_fd(x->conn), SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0)
        return false;
    *uid_out = peer.uid;
    return true;
}

bool http_tls(const struct http_exchange *x)
{
    return x->conn->cert != NULL;
}

const void *http_certificate(const struct http_exchange *x, size_t *len_out)
{
    struct http_conn *c = x->conn;
    char why[256];
    if (!c->cert) return NULL;
    /* Once for a connection: it costs a signature's verification. */
    if (!c->certificate_read && x->mhd) {
        c->certificate_read = true;
        c->certificate =
            tls_client_certificate(c->cert, x->mhd, &c->certificate_len, why, sizeof why);
        if (*why)
            LOG(LOG_INFO, x->session, "certificate-refused", KV_TEXT("peer", http_client(x)),
                KV_TEXT("why", why));
    }
    *len_out = c->certificate_len;
    return c->certificate;
}

/* ---- behind a proxy ---- */

struct values {
    const char *name;
    const char *value[HEAD_FIELDS_MAX];
    size_t count;
};

static void collect(void *ctx, const char *name, const char *value)
{
    struct values *v = ctx;
    if (v->count < HEAD_FIELDS_MAX && strcasecmp(name, v->name) == 0) v->value[v->count++] = value;
}

/* All fields of that name, in their order. */
static struct values values_of(const struct http_exchange *x, const char *name)
{
    struct values v = {.name = name};
    http_each_field(x, collect, &v);
    return v;
}

void peer_read_proxy(struct http_exchange *x)
{
    struct http_conn *c = x->conn;
    c->client[0] = '\0';
    c->client_secure = false;
    if (!c->proxied) return;
    struct values v = values_of(x, "X-Forwarded-For");
    if (!proxies_client(c->terms->proxies, v.value, v.count, c->client)) c->client[0] = '\0';
    v = values_of(x, "X-Forwarded-Proto");
    c->client_secure = proxies_say_https(v.value, v.count);
}

bool http_proxied(const struct http_exchange *x)
{
    return x->conn->proxied;
}

const char *http_client(const struct http_exchange *x)
{
    return x->conn->client[0] ? x->conn->client : x->conn->peer;
}

bool http_secure(const struct http_exchange *x)
{
    return http_tls(x) || x->conn->client_secure;
}

#include "src/server/router.h"

#include <assert.h>
#include <string.h>

#include "src/lib/base/text.h"
#include "src/lib/eas/request.h"

void router_add(struct router *r, const char *path, bool below, struct http_handler handler)
{
    assert(r->count < ROUTES_MAX);
    r->routes[r->count++] = (struct route){path, below, handler};
}

static bool fits(const struct route *route, const struct pv__target *t)
{
    size_t len = strlen(route->path);
    if (!route->below) return pv__equal_nocase(t->path, t->path_len, route->path, len);
    return t->path_len > len && t->path[len] == '/' &&
           pv__equal_nocase(t->path, len, route->path, len);
}

static const struct http_handler *find(const struct router *r, const struct http_exchange *x)
{
    struct pv__target t;
    pv__target_split(http_target(x), &t);
    for (size_t i = 0; i < r->count; i++)
        if (fits(&r->routes[i], &t)) return &r->routes[i].handler;
    return &r->otherwise;
}

static void head(struct http_exchange *x, void *ctx)
{
    const struct http_handler *h = find(ctx, x);
    if (h->head) h->head(x, h->ctx);
}

static void serve(struct http_exchange *x, void *ctx)
{
    const struct http_handler *h = find(ctx, x);
    uint64_t length;
    if (h->body_whole == 0 && http_body_is_stream(x, &length))
        http_reply(x, &(struct http_reply){.status = 413}); /* it takes no body piece by piece */
    else
        h->serve(x, h->ctx);
}

struct http_handler router_handler(struct router *r)
{
    struct http_handler h = r->otherwise;
    h.head = head;
    h.serve = serve;
    h.ctx = r;
    return h;
}

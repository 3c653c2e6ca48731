/* One listener, several handlers: which of them serves a request is told by its path. */
#ifndef PROVOSTD_ROUTER_H
#define PROVOSTD_ROUTER_H

#include "src/server/http/http.h"

#define ROUTES_MAX 8

struct route {
    const char *path; /* without regard to case; one slash at its end does not matter */
    bool below;       /* whatever stands below it */
    struct http_handler handler;
};

/* Filled once, before the server starts; lives as long as it. */
struct router {
    struct route routes[ROUTES_MAX];
    size_t count;
    struct http_handler otherwise; /* everything else; its limits of a body are those of all */
};

void router_add(struct router *r, const char *path, bool below, struct http_handler handler);
struct http_handler router_handler(struct router *r);

#endif

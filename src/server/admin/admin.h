/* Administration over the socket and HTTPS: HTTP and JSON, from one table of routes. */
#ifndef PROVOSTD_ADMIN_H
#define PROVOSTD_ADMIN_H

#include <jansson.h>

#include "src/server/gate/gate.h"
#include "src/server/http/http.h"
#include "src/server/observe/audit_mover.h"

struct admin;
struct admin *admin_create(struct gate *g, struct audit_mover *audit, char *error, size_t error_cap);
void admin_destroy(struct admin *a);
/* A part of the server adds to what `provost status` shows; add is called on workers, false: no memory.
 * Before the handlers are. */
void admin_on_status(struct admin *a, bool (*add)(void *ctx, json_t *status), void *ctx);
/* wants_token: for a listener that others can reach. Without, whoever gets there may do all. */
struct http_handler admin_handler(struct admin *a, bool wants_token);

#endif

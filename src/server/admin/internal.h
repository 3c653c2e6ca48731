/* Inside of src/server/admin: one call, the table of routes, the answers. */
#ifndef PROVOSTD_ADMIN_INTERNAL_H
#define PROVOSTD_ADMIN_INTERNAL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/server/admin/admin.h"
#include "src/server/http/pool.h"

#define ADMIN_BODY_MAX (64 * 1024)
#define ADMIN_NAME_MAX AUTH_USER_MAX /* user or policy in a path, terminator included */
#define ADMIN_PASSWORD_MAX 256       /* bytes, terminator included; crypt(3) takes 511 */

struct admin {
    struct gate *gate;
    struct pool *pool;
    int64_t started;
};

struct admin_route;

/* One request on its way; hangs on the exchange and is freed with it. */
struct admin_call {
    struct admin *admin;
    struct http_exchange *http;
    const struct admin_route *route;
    char arg[ADMIN_NAME_MAX]; /* what stands for {user} or {name} in the path */
    json_t *body;             /* object; NULL for a route without one */

    struct job job;
    enum auth_edit edit;
    char password[ADMIN_PASSWORD_MAX];
    json_t *list; /* being made */
    bool out_of_memory;
    struct user_set user;
    struct policy_set policy;
    struct gate_setting *settings; /* names borrowed from body, values owned */
};

/* Documentation of the interface is made from these rows. */
struct admin_route {
    const char *method;
    const char *path; /* at most one {placeholder}, a whole segment */
    const char *says; /* one sentence */
    bool body;        /* takes a JSON object */
    void (*serve)(struct admin_call *c);
};
extern const struct admin_route admin_routes[];
extern const size_t admin_route_count;

/* Take the request apart: *c gets arg. NULL when nothing fits; *allow_out then lists the methods of
 * that path, "" when there is no such path. */
const struct admin_route *admin_route_find(const char *method, const char *target, char *arg,
                                           size_t arg_cap, char *allow_out, size_t allow_cap);

/* Answers. json is taken over; NULL (no memory to make it) is answered with 503. */
void admin_reply(struct admin_call *c, unsigned http, json_t *json);
/* {"error": sentence, "code": code} */
void admin_error(struct admin_call *c, unsigned http, const char *code, const char *sentence);
void admin_no_memory(struct admin_call *c);

/* Text that came from a peer at some time: bytes that are no UTF-8 are escaped, so that one odd
 * device does not spoil a whole listing. NULL counts as "". */
json_t *admin_text(const char *text);
/* Time as RFC 3339 in UTC; JSON null for 0. */
json_t *admin_time(int64_t at);

/* Handlers, by file. */
void admin_status(struct admin_call *c);
void admin_devices(struct admin_call *c);
void admin_users(struct admin_call *c);
void admin_user_add(struct admin_call *c);
void admin_user_password(struct admin_call *c);
void admin_user_enable(struct admin_call *c);
void admin_user_disable(struct admin_call *c);
void admin_user_remove(struct admin_call *c);
void admin_policies(struct admin_call *c);
void admin_policy(struct admin_call *c);
void admin_policy_set(struct admin_call *c);

#endif

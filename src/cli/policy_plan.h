/* From what is wanted and what the server has: the steps between. */
#ifndef PROVOST_CLI_POLICY_PLAN_H
#define PROVOST_CLI_POLICY_PLAN_H

#include <jansson.h>
#include <stdbool.h>

#include "src/cli/policy.h"

#define PLAN_MESSAGE_MAX 400

/* The server as it is: "policies" as of GET /v1/policies/{name}, "assignments". Borrowed. */
struct plan {
    const json_t *policies, *assignments;
    /* Steps, owned: [{"policy", "change": "new"|"changed"|"removed", "settings": [{"name", "old",
     * "new"}], "parent" (if another one), "body" of the PUT}], parents before children, what is
     * removed last and children first */
    json_t *steps;
    /* [{"assignment", "change": "new"|"changed"|"removed", "was"?}] */
    json_t *moves;
    bool no_memory;
    char error[PLAN_MESSAGE_MAX]; /* why the wish cannot be; "" */
};

/* No I/O. @return false: error, or no_memory; in any case plan_finish */
bool plan_make(struct plan *p, const struct policy_wish *wish, const json_t *policies,
               const json_t *assignments);
void plan_finish(struct plan *p);
/* The same place: everybody, a group, a user, a device. */
bool plan_same_scope(const json_t *a, const json_t *b);

#endif

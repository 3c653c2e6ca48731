/* An upstream that demands provisioning of its own. The gateway is its client for each device, with
 * the library's client machine; what it demands is added to what the device must keep. */
#ifndef PROVOSTD_DEMAND_H
#define PROVOSTD_DEMAND_H

#include "src/server/upstream/upstream.h"

struct demands;
/* NULL: no memory. */
struct demands *demands_create(struct gate *g, struct upstreams *u);
void demands_destroy(struct demands *d);

/* Does an answer refuse the command for want of a policy key, or for a wipe: HTTP 449, or 200 with the
 * command's root and a Status of 140 to 144? body: the answer, or its beginning. */
bool demand_refuses(enum pv_cmd cmd, unsigned http, const void *body, size_t len,
                    unsigned *status_out);
/* Policy key that the upstream has given for the device of the call; 0: none. Any time. */
uint32_t demand_key(struct demands *d, const struct call *c);

enum demand_result {
    DEMAND_AGAIN,  /* the upstream is satisfied: repeat the command with demand_key */
    DEMAND_ASK,    /* the device must be asked: call_judge_again */
    DEMAND_REFUSED,/* the upstream will not have the device: 403, 129, 139 or what status says */
    DEMAND_FAILED  /* it could not be talked to: 503 */
};
/* Come to terms with the upstream for the device of the call, which waits. At most one is under way for
 * a device; others wait for its end. done runs on the call's worker, later. */
void demand_settle(struct demands *d, struct call *c, unsigned status,
                   void (*done)(struct call *c, enum demand_result result, unsigned status));

#endif

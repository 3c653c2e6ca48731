/* An upstream that demands provisioning. The gateway is its client for each device, with the
 * library's client machine; what it demands is added to what the device must keep. */
#ifndef PROVOSTD_DEMAND_H
#define PROVOSTD_DEMAND_H

#include "src/server/upstream/upstream.h"

struct demands;
/* What other upstreams have demanded of devices whose user has moved is forgotten. Before serving.
 * NULL: no memory. */
struct demands *demands_create(struct gate *g, struct upstreams *u);
void demands_destroy(struct demands *d); /* after the workers have ended; NULL is accepted */

/* Does an answer refuse the command for want of a policy key, or for a wipe: HTTP 449, or 200 with the
 * command's root and a Status of 140 to 144? body: the answer, or its beginning. status_out: 0 with 449
 * alone. */
bool demand_refuses(enum pv_cmd cmd, unsigned http, const void *body, size_t len,
                    unsigned *status_out);
/* Policy key that the upstream has given for the device of the call; 0: none. Any time. */
uint32_t demand_key(struct demands *d, const struct call *c);

enum demand_result {
    DEMAND_AGAIN,  /* the upstream is satisfied: repeat the command with demand_key, once */
    DEMAND_ASK,    /* the device must be asked: call_judge_again */
    DEMAND_REFUSED,/* the upstream will not have the device: status is 401, 403 or a common Status */
    DEMAND_FAILED  /* they did not come to terms: 503 with status as Retry-After */
};
/* What has come to nothing again and again stands for a time, in which nothing is to be asked. */
bool demand_stands(struct demands *d, const struct call *c, enum demand_result *result_out,
                   unsigned *status_out);
/* Come to terms with the upstream for the device of the call, which waits. key, http, status: of the
 * command that was refused. At most one is under way for a device; others wait for its end. gone: as of
 * call_wait, where demand_leave is called. done runs on the call's worker, later. */
void demand_settle(struct demands *d, struct call *c, uint32_t key, unsigned http, unsigned status,
                   void (*gone)(struct call *c),
                   void (*done)(struct call *c, enum demand_result result, unsigned status));
/* The call's peer has gone. true: it is over, answer; false: done comes soon. */
bool demand_leave(struct demands *d, struct call *c);

#endif

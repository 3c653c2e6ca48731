/* What a Ping of the own mailbox asks for, and how that is kept. */
#ifndef PROVOSTD_MAILBOX_PING_REQUEST_H
#define PROVOSTD_MAILBOX_PING_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/server/ping/body.h"

/* What to wait for. A request may give only a part; the rest is as the last time. */
struct ping_params {
    bool has_heartbeat;
    uint32_t heartbeat;      /* seconds */
    uint32_t *folders;       /* ServerIds without twins, malloc'ed */
    size_t folder_count;     /* 0: not given */
};
void ping_params_free(struct ping_params *p);
/* @return 0, or the Status to answer: PING_SYNTAX, PING_TOO_MANY_FOLDERS, PING_FOLDERSYNC (an id
 * that is none of ours), PING_SERVER_ERROR (no memory). root NULL: nothing given. out is to be
 * freed in any case. */
unsigned ping_read(const struct pv_node *root, size_t folders_max, struct ping_params *out);
/* {"heartbeat": seconds, "folders": [ids]}. false: not there or damaged; out is then empty. */
bool ping_params_read(const char *json, struct ping_params *out);
char *ping_params_write(const struct ping_params *p);
bool ping_params_equal(const struct ping_params *a, const struct ping_params *b);

#endif

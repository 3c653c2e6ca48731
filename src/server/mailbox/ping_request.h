/* Ping apart from I/O: reading the request, its parameters as they are kept, writing the answer. */
#ifndef PROVOSTD_MAILBOX_PING_REQUEST_H
#define PROVOSTD_MAILBOX_PING_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <provost/wbxml.h>

/* MS-ASCMD 2.2.3.177.11 */
#define PING_NO_CHANGES 1
#define PING_CHANGES 2
#define PING_MISSING 3
#define PING_SYNTAX 4
#define PING_BAD_HEARTBEAT 5
#define PING_TOO_MANY_FOLDERS 6
#define PING_FOLDERSYNC 7
#define PING_SERVER_ERROR 8

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
/* The nearest heartbeat that is allowed. */
uint32_t ping_nearest(uint32_t heartbeat, uint32_t least, uint32_t most);

/* {"heartbeat": seconds, "folders": [ids]}. false: not there or damaged; out is then empty. */
bool ping_params_read(const char *json, struct ping_params *out);
char *ping_params_write(const struct ping_params *p);
bool ping_params_equal(const struct ping_params *a, const struct ping_params *b);

struct ping_answer {
    unsigned status;
    const uint32_t *folders; /* with PING_CHANGES */
    size_t folder_count;
    uint32_t limit;          /* with PING_TOO_MANY_FOLDERS and PING_BAD_HEARTBEAT */
};
#define PING_ANSWER_SIZE(folder_count) (64 + 16 * (folder_count))
PV_MUST_CHECK enum pv_err ping_write(const struct ping_answer *a, uint8_t *buf, size_t cap,
                                     size_t *len_out);

#endif

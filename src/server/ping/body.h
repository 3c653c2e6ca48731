/* Ping apart from I/O and from what holds the mail: its Statuses, reading a request, writing an
 * answer. */
#ifndef PROVOSTD_PING_BODY_H
#define PROVOSTD_PING_BODY_H

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

/* What a request says; it may say only a part. */
struct ping_body {
    bool has_heartbeat;
    uint32_t heartbeat;            /* seconds */
    const struct pv_node *folder;  /* first of the list, each a Folder with one Id that is not empty;
                                      NULL: none is given */
    size_t folder_count;
};
/* @return 0, or the Status to answer: PING_SYNTAX, PING_TOO_MANY_FOLDERS. root NULL: nothing given. */
unsigned ping_body_read(const struct pv_node *root, size_t folders_max, struct ping_body *out);
/* The nearest heartbeat that is allowed. */
uint32_t ping_nearest(uint32_t heartbeat, uint32_t least, uint32_t most);

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

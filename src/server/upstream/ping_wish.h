/* What a phone's Ping asks for, as the gateway keeps it and says it again to the upstream, whose answer
 * is read here too. Apart from I/O. */
#ifndef PROVOSTD_PING_WISH_H
#define PROVOSTD_PING_WISH_H

#include "src/server/ping/body.h"

/* Bytes of all folders: ids are the upstream's, of any length. */
#define PING_FOLDERS_SIZE_MAX ((size_t)32 * 1024)

/* One block from malloc. */
struct ping_wish {
    uint32_t heartbeat;        /* seconds */
    uint32_t folder_count, size;
    char folders[];            /* Id and Class of each, "" for none, terminated; size bytes in all */
};

struct ping_limits { uint32_t heartbeat_min, heartbeat_max, folders_max; };

/* From a request, completed by what the device asked for the last time (NULL: not known; its heartbeat
 * is brought within the limits).
 * @return 0 and *out, or the Status to answer, and *limit_out with PING_BAD_HEARTBEAT and
 *         PING_TOO_MANY_FOLDERS. PING_MISSING: the device is to say all of it. PING_SERVER_ERROR: no
 *         memory. */
unsigned ping_wish_read(const struct pv_node *root, const struct ping_limits *limits,
                        const struct ping_wish *last, struct ping_wish **out, uint32_t *limit_out);
struct ping_wish *ping_wish_copy(const struct ping_wish *w); /* NULL: no memory */

/* Room for the request with another heartbeat. */
size_t ping_wish_room(const struct ping_wish *w);
PV_MUST_CHECK enum pv_err ping_wish_write(const struct ping_wish *w, uint32_t heartbeat,
                                          uint8_t *buf, size_t cap, size_t *len_out);

/* An upstream's answer. */
#define PING_SAID_MAX ((size_t)64 * 1024)
struct ping_said {
    unsigned status;
    uint32_t heartbeat;        /* with PING_BAD_HEARTBEAT: that it wants; 0: it does not say */
};
/* false: it is no answer to a Ping, or longer than PING_SAID_MAX. */
bool ping_said_read(const void *body, size_t len, struct ping_said *out);

#endif

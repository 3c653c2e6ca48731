/* What each device was told last about its folders: the memory of its seat. Safe from any worker. */
#ifndef PROVOSTD_MAILBOX_MEMOS_H
#define PROVOSTD_MAILBOX_MEMOS_H

#include "src/server/mailbox/mailbox.h"
#include "src/server/ping/seats.h"

/* How a folder looked when the device was last told (or first asked). */
struct memo {
    uint32_t folder;
    struct look look;
};

/* What was remembered of a folder; false: nothing. From any thread. */
bool memos_recall(struct seats *s, const char *user, const char *device_id, uint32_t folder,
                  struct look *out);
/* Remember for the device that has the seat; what is known of other folders stays up to `most` in
 * all. */
void memos_remember(struct seats *s, const struct seat *seat, const struct memo *memos,
                    size_t count, size_t most);

#endif

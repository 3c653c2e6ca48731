/* FolderSync apart from I/O: reading the request, judging the SyncKey, writing the answer. */
#ifndef PROVOSTD_MAILBOX_SYNC_STATE_H
#define PROVOSTD_MAILBOX_SYNC_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <provost/wbxml.h>

#include "src/server/mailbox/tree.h"

#define FOLDERSYNC_OK 1
#define FOLDERSYNC_SERVER_ERROR 6
#define FOLDERSYNC_BAD_KEY 9
#define FOLDERSYNC_BAD_REQUEST 10
#define COMMON_INVALID_WBXML 102

/* @return FOLDERSYNC_OK with *key_out (0: from the start), FOLDERSYNC_BAD_KEY,
 * FOLDERSYNC_BAD_REQUEST, COMMON_INVALID_WBXML. */
unsigned foldersync_read(const struct pv_node *root, uint32_t *key_out);

/* What a device knows: the tree of the key that it was told last, and the one before, since that
 * answer may have got lost. */
struct sync_state {
    uint32_t key, previous_key; /* 0: none */
    struct tree tree, previous;
};
/* From the stored texts. A damaged one is as good as none: the device starts from 0. false: no
 * memory; there is nothing to free then. */
bool sync_state_read(const struct folder_state_record *r, struct sync_state *out);
void sync_state_free(struct sync_state *s);

/* What to answer to a key, given how the folders are now. */
struct sync_step {
    bool known;               /* false: FOLDERSYNC_BAD_KEY */
    const struct tree *from;  /* what the device knows; NULL: nothing */
    uint32_t key;             /* to be told */
    bool store;               /* key belongs to the tree of now; before it is told, store it ... */
    uint32_t previous_key;    /* ... with this as the one before: an older key of the state, or 0 */
};
struct sync_step sync_decide(const struct sync_state *s, uint32_t sent, const struct tree *now);

/* The answer with all changes, malloc'ed; NULL: no memory. */
uint8_t *foldersync_write(uint32_t key, const struct tree *from, const struct tree *now,
                          size_t *len_out, size_t *changes_out);

#endif

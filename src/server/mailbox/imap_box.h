/* An IMAP server as the mailbox: asked and watched over src/server/imap/. */
#ifndef PROVOSTD_MAILBOX_IMAP_BOX_H
#define PROVOSTD_MAILBOX_IMAP_BOX_H

#include "src/server/imap/listing.h"
#include "src/server/mailbox/mailbox.h"

/* NULL: error is set. */
struct mailbox *imap_box_open(const struct config *c, char *error, size_t error_cap);

/* What a server has listed, as folders: parents before children, siblings by name. false: no memory, or
 * too many with the containers; out is empty then. */
bool imap_folders(const struct imap_listing *l, const struct config *c, struct folder_list *out);

#endif

/* Maildir++ as the server's mailbox: read on the user's lane, watched by inotify. */
#ifndef PROVOSTD_MAILBOX_MAILDIR_BOX_H
#define PROVOSTD_MAILBOX_MAILDIR_BOX_H

#include "src/server/mailbox/mailbox.h"

/* NULL: error is set. */
struct mailbox *maildir_box_open(const struct config *c, char *error, size_t error_cap);

#endif

/* Maildir++: a directory with cur/, new/ and tmp/ is the Inbox, ".A.B" beside them is folder B
 * below A. */
#ifndef PROVOSTD_MAILBOX_MAILDIR_H
#define PROVOSTD_MAILBOX_MAILDIR_H

#include "src/server/mailbox/mailbox.h"

/* NULL: error is set. */
struct mailbox *maildir_open(const struct config *c, char *error, size_t error_cap);

/* The pattern with %u (user), %n (before the @), %d (behind it, else domain) and %% filled in.
 * false: a part is empty, could lead elsewhere ('/', a leading dot, control characters), or there
 * is no room. */
bool maildir_root(const char *pattern, const char *user, const char *domain, char *buf, size_t cap);

/* True if maildir_root could fill in the pattern for some user; else *at_out is the letter behind
 * the bad '%'. */
bool maildir_pattern_valid(const char *pattern, char *at_out);

#endif

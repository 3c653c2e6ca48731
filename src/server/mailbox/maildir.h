/* Maildir++ on the disk: a directory with cur/, new/ and tmp/ is the Inbox, ".A.B" beside them is
 * folder B below A. Everything here blocks. */
#ifndef PROVOSTD_MAILBOX_MAILDIR_H
#define PROVOSTD_MAILBOX_MAILDIR_H

#include "src/server/mailbox/mailbox.h"

/* The pattern with %u (user), %n (before the @), %d (behind it, else domain) and %% filled in.
 * false: a part is empty, could lead elsewhere ('/', a leading dot, control characters), or there
 * is no room. */
bool maildir_root(const char *pattern, const char *user, const char *domain, char *buf, size_t cap);

/* True if maildir_root could fill in the pattern for some user; else *at_out is the letter behind
 * the bad '%'. */
bool maildir_pattern_valid(const char *pattern, char *at_out);

/* The directory in which a user's folders come and go. false: his name makes no path. */
bool maildir_home(const struct config *c, const char *user, char *buf, size_t cap);
/* Parents before children, siblings by name. */
enum mailbox_result maildir_list(const struct config *c, const char *user, struct folder_list *out);
/* Look at one folder (its path): *look holds the last look (zeroed: none) and is set anew. false: it
 * cannot be read, *look stays. */
bool maildir_look(const char *path, struct look *look);
/* The directories below a folder's path in which messages come and go; ends with NULL. */
extern const char *const maildir_parts[];

#endif

/* Names into a tree of folders: order, missing parents, special folders. Pure functions over a
 * folder_list. */
#ifndef PROVOSTD_MAILBOX_FOLDERS_H
#define PROVOSTD_MAILBOX_FOLDERS_H

#include <stdbool.h>
#include <stddef.h>

#include "src/server/mailbox/mailbox.h"

/* Full name for one as the mailbox has it ("Work.2024" with '.' gives "Work/2024"; delimiter 0: it has
 * no levels). In modified UTF-7, unless utf8; what is no valid one is shown as it is, other bytes than UTF-8
 * as \xNN. *name_out is malloc'ed; NULL where it names no folder (a level is empty, too deep, too long,
 * INBOX itself). false: no memory. */
bool folder_name_of(const char *raw, char delimiter, bool utf8, char **name_out);
/* Of a Maildir++ folder's file (".Work.2024"). *name_out is NULL also without the dot. */
bool folder_name(const char *file_name, char **name_out);

/* Put a list whose entries have name, path and identity into order: sorted, the Inbox first, names
 * made unique, a container for each missing parent, display, parent and type set. FOLDER_MAIL for
 * all but the Inbox and containers. false: no memory, or more than FOLDER_COUNT_MAX; the list can
 * only be freed then. */
bool folders_arrange(struct folder_list *l);

/* Give the special folders their types: to the first that the mailbox itself says it of, without one to
 * the first of the configured names that is there at the top level. */
void folders_mark_special(struct folder_list *l, const struct config *c);

#endif

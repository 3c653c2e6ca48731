/* Names into a tree of folders: order, missing parents, special folders. Pure functions over a
 * folder_list. */
#ifndef PROVOSTD_MAILBOX_FOLDERS_H
#define PROVOSTD_MAILBOX_FOLDERS_H

#include <stdbool.h>
#include <stddef.h>

#include "src/server/mailbox/mailbox.h"

/* Full name for the file name of a Maildir++ folder (".Work.2024" gives "Work/2024"). Names in no
 * valid modified UTF-7 are shown as they are, other bytes than UTF-8 as \xNN. *name_out is
 * malloc'ed; NULL where the entry is no folder (a level is empty, too deep, INBOX itself). false:
 * no memory. */
bool folder_name(const char *file_name, char **name_out);

/* Put a list whose entries have name, path and identity into order: sorted, the Inbox first, names
 * made unique, a container for each missing parent, display, parent and type set. FOLDER_MAIL for
 * all but the Inbox and containers. false: no memory, or more than FOLDER_COUNT_MAX; the list can
 * only be freed then. */
bool folders_arrange(struct folder_list *l);

/* Give the special folders at the top level their types: for each type the first of its names that
 * is there. */
void folders_mark_special(struct folder_list *l, const struct config *c);

#endif

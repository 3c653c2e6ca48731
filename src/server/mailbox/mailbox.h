/* The server's own mailbox: where folders are and when something happens in them. An interface;
 * Maildir++ behind it. */
#ifndef PROVOSTD_MAILBOX_H
#define PROVOSTD_MAILBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/server/config.h"
#include "src/server/gate/gate.h"

/* Type in the answer of FolderSync (MS-ASCMD). */
enum folder_type {
    FOLDER_GENERIC = 1,
    FOLDER_INBOX = 2,
    FOLDER_DRAFTS = 3,
    FOLDER_TRASH = 4,
    FOLDER_SENT = 5,
    FOLDER_OUTBOX = 6,
    FOLDER_TASKS = 7,
    FOLDER_CALENDAR = 8,
    FOLDER_CONTACTS = 9,
    FOLDER_NOTES = 10,
    FOLDER_JOURNAL = 11,
    FOLDER_MAIL = 12
};

#define FOLDER_COUNT_MAX 10000 /* folders of one mailbox, containers included */
#define FOLDER_DEPTH_MAX 32    /* levels of names */

struct folder {
    char *name;             /* UTF-8, '/' between levels (inside a level: U+2215); "INBOX" */
    char *display;          /* last level */
    char *path;             /* directory; NULL for one that only holds others */
    uint64_t identity[2];   /* survives a rename; 0, 0: unknown */
    enum folder_type type;
    size_t parent;          /* index in the list, SIZE_MAX at the top */
};
struct folder_list { struct folder *at; size_t count; };

enum mailbox_result {
    MAILBOX_OK,
    MAILBOX_NONE,           /* no mailbox for that user (yet): the list holds the Inbox alone */
    MAILBOX_UNREACHABLE     /* no list */
};

/* What a folder looked like. Equal sums: the same messages with the same flags. Equal stamps other
 * than 0: equal sums. */
struct look { uint64_t stamp, sum; };

struct mailbox;
struct mailbox_ops {
    const char *name;
    /* Parents before children, siblings by name. Blocks: call from the pool. */
    enum mailbox_result (*list)(struct mailbox *m, const char *user, struct folder_list *out);
    /* The directory in which folders come and go. false: the user's name makes no path. */
    bool (*root)(struct mailbox *m, const char *user, char *buf, size_t cap);
    /* Look at one folder (its path): *look holds the last look (zeroed: none) and is set anew.
     * false: it cannot be read, *look stays. Blocks: call from the pool. */
    bool (*look)(struct mailbox *m, const char *path, struct look *look);
    /* The directories below a folder's path in which messages come and go; ends with NULL. */
    const char *const *parts;
    void (*close)(struct mailbox *m);
};
struct mailbox { const struct mailbox_ops *ops; };

struct mailbox *mailbox_open(const struct config *c, char *error, size_t error_cap);
enum mailbox_result mailbox_list(struct mailbox *m, const char *user, struct folder_list *out);
void folder_list_free(struct folder_list *l);
void mailbox_close(struct mailbox *m);

/* FolderSync, Settings, Ping over a mailbox. */
struct commands;
struct commands *commands_create(struct gate *g, struct mailbox *m, const struct config *c,
                                 char *error, size_t error_cap);
void commands_destroy(struct commands *c);

#endif

/* The server's own mailbox: which folders there are and when something happens in them. An interface;
 * what stands behind it is chosen by mailbox.type. */
#ifndef PROVOSTD_MAILBOX_H
#define PROVOSTD_MAILBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/server/config.h"
#include "src/server/gate/gate.h"
#include "src/server/http/pool.h"

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
    char *path;             /* where the mailbox finds it; NULL for one that only holds others */
    uint64_t identity[2];   /* survives a rename; 0, 0: unknown */
    enum folder_type said;  /* what the mailbox itself says that it is for; 0: nothing */
    enum folder_type type;
    size_t parent;          /* index in the list, SIZE_MAX at the top */
};
struct folder_list {
    struct folder *at;
    size_t count;
    /* The identity is the UIDVALIDITY of IMAP, and in its second half, if that is not 0, the number of the
     * mailbox: a folder with another one is another folder, even under the same name. */
    bool by_validity;
};

enum mailbox_result {
    MAILBOX_OK,
    MAILBOX_NONE,           /* no mailbox for that user (yet): the list holds the Inbox alone */
    MAILBOX_UNREACHABLE,    /* no list */
    MAILBOX_LATER,          /* what stands behind it cannot be asked now: 503 */
    MAILBOX_REFUSED         /* it does not take the user's login: 401 */
};

/* What a folder looked like. Equal sums: the same messages with the same flags. Equal stamps other
 * than 0: equal sums. */
struct look { uint64_t stamp, sum; };

/* A question to the mailbox of a user. Embed, zeroed but for what is asked; it lives until done. */
struct look_at { const char *path; struct look look; };
struct visit {
    const char *user;
    const char *authorization;      /* as the device sends it, for a mailbox that logs in with it; copied.
                                       NULL: none */
    struct pool *lane;              /* what is done for the user in order is done there */
    struct look_at *looks;          /* of a look; zeroed, and left so where nothing can be read */
    size_t look_count;
    /* On the lane, with the answer, unless that is LATER or REFUSED; NULL: nothing to do there. */
    void (*run)(struct visit *v);
    void (*done)(struct visit *v);  /* on the worker that asked */
    enum mailbox_result result;
    unsigned retry_after;           /* seconds, with LATER */
    struct folder_list list;        /* of a list, with OK and NONE; whoever asked frees it */
    uint64_t tree;                  /* of a list: what a look at SPOT_TREE has for its sum */
    struct mailbox *mailbox;        /* private, as all below */
    void *state;
    struct job job;
};

/* Somebody who waits for news of one place. Embed, zeroed but for looked. */
struct spot_user {
    struct spot_user *next, **link;      /* private */
    void *spot;                          /* private; NULL: not joined */
    void (*looked)(struct spot_user *u); /* a look has ended, or see refused; may leave any place */
    bool refused;                        /* the user's login is not taken any more: nothing comes */
};
enum spot_kind {
    SPOT_FOLDER,                    /* messages of a folder */
    SPOT_TREE                       /* the folders of the mailbox */
};
struct spot_place {
    enum spot_kind kind;
    const char *user;
    const char *authorization;      /* as of a visit */
    const char *path;               /* of the folder */
    struct look seed;               /* an earlier look at the same place, zeroed for none */
};

struct mailbox;
struct mailbox_ops {
    const char *name;
    /* The folders: parents before children, siblings by name. Lists of one user come to his lane in the
     * order in which they were read. On a worker, never blocks. false: too much is waiting, nothing
     * is called. */
    bool (*list)(struct mailbox *m, struct visit *v);
    /* Look at folders before anybody waits for news of them. On a worker; false as above. */
    bool (*look)(struct mailbox *m, struct visit *v);
    /* Wait for news from now on, on this worker. false: no memory. */
    bool (*join)(struct mailbox *m, struct spot_user *u, const struct spot_place *p);
    /* The last look since somebody waits there; NULL: none yet. */
    const struct look *(*seen)(const struct spot_user *u);
    /* false: a look is under way that must come back first. u stays joined, looked will be called;
     * leave there. */
    bool (*leave)(struct spot_user *u);
    /* Adds to what `provost status` shows; NULL: there is nothing. Any thread. false: no memory. */
    bool (*status)(struct mailbox *m, json_t *status);
    /* Another configuration is in force. On the thread that has opened it. NULL: it goes by the newest
     * anyway. false: no memory. */
    bool (*reconfigure)(struct mailbox *m);
    /* The server ends: what is asked from now on, and what has been, is answered soon, whatever that
     * means. NULL: it always is. */
    void (*stop)(struct mailbox *m);
    void (*close)(struct mailbox *m);   /* when the workers and the lanes have ended */
};
struct mailbox { const struct mailbox_ops *ops; };

struct mailbox *mailbox_open(const struct config *c, char *error, size_t error_cap);
bool mailbox_status(struct mailbox *m, json_t *status);
bool mailbox_reconfigure(struct mailbox *m);
void mailbox_stop(struct mailbox *m);
void mailbox_close(struct mailbox *m); /* all of these take NULL */
void folder_list_free(struct folder_list *l);

/* FolderSync, Settings, Ping over a mailbox. */
struct commands;
struct commands *commands_create(struct gate *g, struct mailbox *m, const struct config *c,
                                 char *error, size_t error_cap);
void commands_destroy(struct commands *c);

#endif

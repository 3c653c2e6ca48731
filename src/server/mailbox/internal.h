/* What the commands of the own mailbox share. */
#ifndef PROVOSTD_MAILBOX_INTERNAL_H
#define PROVOSTD_MAILBOX_INTERNAL_H

#include "src/server/gate/gate.h"
#include "src/server/mailbox/mailbox.h"
#include "src/server/mailbox/map.h"
#include "src/server/mailbox/tree.h"

/* A lane is a thread on which the store, and what lies on a disk, is read for the users that hash to
 * it. So everything of one user happens in order, and reading, changing and storing what is kept of
 * him needs no lock among the calls of one server. */
#define LANE_COUNT 8
#define LANE_QUEUE_MAX 20000

struct seats;
struct commands {
    struct gate *gate;
    struct mailbox *mailbox;
    const struct config *config;
    struct pool *lanes[LANE_COUNT];
    struct seats *seats;               /* of waiting Pings */
};

/* Run j->run on the user's lane, then j->done on this worker. false: too much is waiting; answer
 * 503. */
bool commands_submit(struct commands *c, const char *user, struct job *j);
/* Read the folders that the device of the call may see (a device in quarantine: none, and the mailbox is
 * not asked), then v->run on the user's lane, then v->done on this worker. false as above. */
bool commands_list(struct commands *c, const struct call *call, struct visit *v);
/* Look at v->looks, then v->done on this worker. false as above. */
bool commands_look(struct commands *c, const struct call *call, struct visit *v);
/* A visit has not come to its lane: the mailbox does not take the login, or cannot be asked now. true:
 * the call is answered so. */
bool commands_turned_away(struct call *call, const struct visit *v);
/* The login that the call has come with is verified anew when it comes again. */
void commands_forget_login(struct call *call);
/* On a lane: store the changes as one transaction and wait for the disk. Another server has its own
 * lanes: what was read for the changes may be different by now, which is a conflict. */
enum commands_stored { COMMANDS_STORED, COMMANDS_CONFLICT, COMMANDS_NOT_STORED };
enum commands_stored commands_store(struct commands *c, const struct store_change *changes,
                                    size_t count);
#define COMMANDS_TRIES_MAX 4 /* after conflicts */

/* The folders of one user at one moment, as a device sees them. */
struct hierarchy {
    struct folder_list list;
    struct folder_ids known;
    uint32_t *ids;                     /* ServerId of each folder in list */
    bool ids_changed;                  /* known must be stored before an id is told */
    const char *ids_were;              /* as the store has them, in front of that; "" none */
    void *ids_block;                   /* private */
    struct tree tree;
};
enum hierarchy_result { HIERARCHY_OK, HIERARCHY_UNREACHABLE, HIERARCHY_STORE };
/* On a lane. v: what was listed, its list is taken over; NULL: for a device in quarantine, the Inbox
 * alone. To be freed also after a failure. */
enum hierarchy_result hierarchy_load(struct commands *c, const char *user, struct visit *v,
                                     struct hierarchy *out);
void hierarchy_free(struct hierarchy *h);
/* The same; but what was listed goes back into v, to be loaded once more. */
void hierarchy_give_back(struct hierarchy *h, struct visit *v);

/* The commands; they know their struct commands by commands_of. */
struct commands *commands_of(const struct call *c);
void foldersync_serve(struct call *c);
void settings_serve(struct call *c);
void ping_serve(struct call *c);
/* For a device in quarantine; others get 501. */
void quarantine_sync_serve(struct call *c);
void quarantine_estimate_serve(struct call *c);
void quarantine_items_serve(struct call *c);

#endif

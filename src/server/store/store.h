/* What must survive: partnerships, policies with every revision, users' flags, folder states, what
 * administrators have made, and the logs of what happened. An interface; SQLite and PostgreSQL behind
 * it. Writes are gathered into group commits by one writer thread and are on the disk before done is
 * called.
 *
 * SQLite has one process, whose memory is the truth. PostgreSQL is shared by several nodes: what one of
 * them holds in memory is a copy, which is dropped when another is heard to have changed it (struct
 * store_follower), believed only while the store is heard of (store_is_heard), and never written over
 * what it was not made of (tag, was). */
#ifndef PROVOSTD_STORE_H
#define PROVOSTD_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <provost/provision.h>

#include "src/server/http/worker.h"
#include "src/server/observe/heart.h"

struct store;
struct store_visitor;
struct store_upkeep;

/* A device as it is kept. Strings are borrowed for the call. Key: (user, device_id). */
struct device_record {
    const char *user, *device_id, *device_type, *user_agent;
    const char *model, *os;                   /* of its DeviceInformation: rules look at them */
    enum pv_version version;
    enum pv_state state;                      /* the last one that was noted in the audit log */
    int64_t first_seen, last_seen;            /* seconds since 1970 */
    int64_t loop_until;                       /* shut out for looping until then; 0: not */
    struct pv_partnership partnership;        /* without access, which follows from the rules */
    const char *wipe_by, *wipe_reason;        /* of the last wipe that was ordered */
    const char *bond_json;                    /* read only, of store_read_devices: the item that is its
                                                 bond; NULL or "": none */
    /* Optimistic concurrency: tag names this saved state, unique and never 0, chosen by who writes it
     * (store_tag); was is the tag that the row must have to be replaced or removed, 0: there must be
     * none (what remains of one that is gone is removed then). Else the submission is a conflict. Read
     * back, was is 0. */
    uint64_t tag, was;
};
/* DeviceInformation. STORE_PUT_INFO merges: a member that is null goes, what differs from before is
 * noted in the history. Read back it is whole. */
struct info_record {
    const char *user, *device_id;
    int64_t at;
    const char *info_json;                    /* {"Model": "x"} */
    const char *history_json;                 /* read only: [{"at": 17, "OS": ["old", "new"]}],
                                                 oldest first; null for a value that was not there; what the
                                                 device deletes leaves the history, too */
};
struct policy_record {
    const char *name;
    uint64_t revision;                        /* unique over all policies, ascending */
    int64_t at;
    const char *settings_json;                /* {"MinDevicePasswordLength": "6"}: its own */
    const char *parent;                       /* policy that it inherits from, "" for none */
    const char *by;                           /* who has saved it */
};
struct user_record {
    const char *user;
    bool enabled;
    bool no_device_wipe;                      /* whole devices of this user are never wiped */
    /* What must be there to be replaced, if checked (no row: enabled, and not no_device_wipe); else the
     * submission is a conflict. */
    bool checked, was_enabled, was_no_device_wipe;
};
/* What a device knows of the folder tree, and its Ping parameters. */
struct folder_state_record {
    const char *user, *device_id;
    uint32_t key, previous_key;               /* SyncKeys; 0: none */
    const char *tree_json, *previous_tree_json; /* opaque to the store */
    const char *ping_json;
    /* The key that must be there to be replaced, if checked (0: no row); else the submission is a
     * conflict. */
    bool checked;
    uint32_t was_key;
};
/* ServerIds of a user's folders: opaque to the store. was_json: what must be there to be replaced, ""
 * nothing, NULL whatever there is; else the submission is a conflict. */
struct folder_ids_record { const char *user, *ids_json, *was_json; };
/* Small things, each kind with its owner: "line" and "assignment" of policies, "rule", "access", "token",
 * "audit"; "claim", "bond" and "location" of upstreams. Opaque to the store; but a "bond" is named USER/DEVICE and goes
 * with that device, or with the user. Key: (kind, name). was_json: as of folder_ids_record; for
 * STORE_REMOVE_ITEM too. */
struct item_record { const char *kind, *name, *json, *was_json; };
/* The last steps of a device, for `device why`: opaque to the store. */
struct trail_record { const char *user, *device_id, *trail_json; };
/* A line of a log; the store gives ids, ascending: without a gap in SQLite, while in PostgreSQL an
 * audit line may come to light after one with a higher id (an event never does). Of STORE_LOG_CHAIN the id is seq. Opaque to the
 * store. */
struct log_record { uint64_t id; const char *json; uint64_t seq; };

enum store_kind {
    STORE_PUT_DEVICE, STORE_PUT_INFO, STORE_PUT_POLICY, STORE_PUT_USER, STORE_PUT_FOLDER_STATE,
    STORE_PUT_FOLDER_IDS, STORE_PUT_ITEM, STORE_PUT_TRAIL,
    STORE_ADD_AUDIT, STORE_ADD_EVENT,         /* the id is not given */
    STORE_REMOVE_DEVICE, STORE_REMOVE_USER, STORE_REMOVE_ITEM,
    STORE_REMOVE_AUDIT,                       /* all up to that id: SQLite, whose ids have no gap */
    STORE_REMOVE_EVENT,                       /* that one */
    STORE_SEAL_AUDIT,                         /* the audit line of that id becomes the line of the chain
                                                 with that seq and text; a conflict if either the line is
                                                 not there or the seq is taken */
    STORE_REMOVE_CHAIN                        /* lines of the chain up to that seq */
};

/* One change; several given together are one transaction. store_submit copies the strings. */
struct store_change {
    enum store_kind kind;
    union {
        struct device_record device;
        struct info_record info;
        struct policy_record policy;
        struct user_record user;
        struct folder_state_record folder_state;
        struct folder_ids_record folder_ids;
        struct item_record item;
        struct trail_record trail;
        struct log_record log;
    } u;
};

struct store_write {
    struct task task;                         /* private */
    struct worker *home;                      /* private; NULL: submitted from no worker */
    bool durable;                             /* result: false means nothing of it was stored, but see
                                                 lost */
    bool conflict;                            /* not stored, since the store holds something else than
                                                 the submission was made of: read, and try again */
    bool lost;                                /* the connection went while it was committed: nobody
                                                 knows. Read what there is */
    void (*done)(struct store_write *);       /* on home; without one on the writer's thread */
};

enum store_log { STORE_LOG_AUDIT, STORE_LOG_EVENT, STORE_LOG_CHAIN };

/* A page of devices, by (user, device_id). */
enum store_filter {
    STORE_ALL,
    STORE_WIPES_EXPIRED,                      /* pending ones with an end before `before` */
    STORE_SEEN_BEFORE                         /* last_seen before `before` */
};
struct store_query {
    enum store_filter filter;
    int64_t before;
    const char *user;                         /* only this one's; NULL: everybody's */
    const char *after_user, *after_device_id; /* behind this one; NULL: from the start */
    unsigned most;
};

/* What another node has changed. Called from the store's thread; must be quick and must not call the
 * store. */
struct store_follower {
    void (*user)(void *ctx, const char *user); /* flags, a device, a bond of that user */
    /* Items that are read at the start, or a policy. */
    void (*lists)(void *ctx);
    void (*all)(void *ctx);                   /* changes were missed: anything may be different */
    void *ctx;
};

struct store_options {
    const char *url;                          /* "sqlite" or postgresql://... */
    const char *state;                        /* directory (made if missing, 0700) */
    const char *node;                         /* name of this server, among those that share a store */
    unsigned lease_s;                         /* how long a shared store is believed without being heard */
    unsigned connections;                     /* for reading a shared store, at a time */
};

/* Rows that are read one at a time; numbers come before texts. */
#define STORE_ROW_NUMBERS 2
#define STORE_ROW_TEXTS 3
enum store_row_of {
    STORE_ROW_FOLDER_STATE,                   /* key, previous_key; tree, previous_tree, ping */
    STORE_ROW_FOLDER_IDS,                     /* ids */
    STORE_ROW_INFO,                           /* info, history */
    STORE_ROW_TRAIL, STORE_ROW_ITEM
};
struct store_row {
    uint32_t numbers[STORE_ROW_NUMBERS];
    const char *texts[STORE_ROW_TEXTS];       /* live until free(*block_out) */
};
/* How many of the columns are numbers. */
static inline int store_row_numbers(enum store_row_of of)
{
    return of == STORE_ROW_FOLDER_STATE ? 2 : 0;
}

struct store_ops {
    const char *name;
    bool shared;
    /* Read what is needed at start, of one instant, in the caller's thread: items but for bonds,
     * policies. May be called again. false: stop (error is set). */
    bool (*load)(struct store *s, const struct store_visitor *v, void *ctx, char *error,
                 size_t error_cap);
    bool (*submit)(struct store *s, const struct store_change *changes, size_t count,
                   struct store_write *w);
    /* A single row, for one or two names (b may be NULL); as store_read_folder_state and its like. */
    int (*read_row)(struct store *s, enum store_row_of of, const char *a, const char *b,
                    struct store_row *out, void **block_out);
    bool (*read_user)(struct store *s, const char *user, const struct store_visitor *v, void *ctx);
    bool (*read_devices)(struct store *s, const struct store_query *q,
                         void (*each)(void *ctx, const struct device_record *r), void *ctx);
    bool (*read_users_of)(struct store *s, const char *device_id, unsigned most,
                          void (*each)(void *ctx, const char *user), void *ctx);
    bool (*read_users)(struct store *s, const char *after, unsigned most,
                       void (*each)(void *ctx, const struct user_record *r), void *ctx);
    bool (*count_devices)(struct store *s, uint64_t *out);
    uint64_t (*submitted)(struct store *s);
    bool (*settle)(struct store *s, uint64_t position);
    bool (*settled)(struct store *s, uint64_t position);
    bool (*follow)(struct store *s, const struct store_follower *f);
    /* Shared stores only. */
    bool (*is_heard)(const struct store *s);
    int64_t (*heard_ms)(const struct store *s);
    bool (*is_leader)(const struct store *s);
    /* Row by row; strings live for the callback. false: out of reach. */
    bool (*read_revisions)(struct store *s, const char *policy,
                           void (*each)(void *ctx, const struct policy_record *r), void *ctx);
    bool (*read_log)(struct store *s, enum store_log which, uint64_t after, unsigned most,
                     void (*each)(void *ctx, const struct log_record *r), void *ctx);
    void (*close)(struct store *s);           /* writes what is queued */
    const struct store_upkeep *upkeep;        /* upkeep.h */
};
/* What is NULL is not read. */
struct store_visitor {
    void (*item)(void *ctx, const struct item_record *r);
    void (*policy)(void *ctx, const struct policy_record *r); /* ascending revision */
    void (*user)(void *ctx, const struct user_record *r);
    void (*device)(void *ctx, const struct device_record *r);
};
#define STORE_LISTENERS_MAX 2
struct store {
    const struct store_ops *ops;
    struct store_listener { void (*fn)(void *ctx); void *ctx; } listeners[STORE_LISTENERS_MAX];
    struct heart heart;                  /* of the thread that writes */
};

/* Runs migrations. NULL on failure with error. */
struct store *store_open(const struct store_options *o, char *error, size_t error_cap);
/* A name for a state that is to be saved: unique, never 0. Any thread. */
uint64_t store_tag(void);
/* Queue changes as one transaction. w may be NULL: written behind. false: the store is out of reach
 * or its queue is full, or a device has no tag; done is not called. */
bool store_submit(struct store *s, const struct store_change *changes, size_t count,
                  struct store_write *w);
/* The same from a thread that may block and is no worker: *out says what became of it, and its `done` is
 * not for the caller. Nothing of it is set if it was not queued. @return out->durable */
bool store_submit_wait(struct store *s, const struct store_change *changes, size_t count,
                       struct store_write *out);
/* fn is called after transactions that added to a log; from the writer's thread, so it must not
 * block. Before the first submission; false: there are STORE_LISTENERS_MAX already. */
bool store_listen(struct store *s, void (*fn)(void *ctx), void *ctx);
/* Items but for bonds, then policies, of one instant, in the caller's thread. May be called again at
 * any time. false: error is set. */
bool store_load(struct store *s, const struct store_visitor *v, void *ctx, char *error,
                size_t error_cap);
/* What is kept of a user, of one instant: its flags (if any), its devices by id, the items that are
 * their bonds. Blocks. false: out of reach, or a value that cannot be understood (logged). */
bool store_read_user(struct store *s, const char *user, const struct store_visitor *v, void *ctx);
/* A page; blocks. A row that cannot be understood is logged and left out: there may be fewer than `most`
 * although there are more. false: out of reach. */
bool store_read_devices(struct store *s, const struct store_query *q,
                        void (*each)(void *ctx, const struct device_record *r), void *ctx);
/* Whoever has a device of exactly that id, by name, at most `most`; blocks. */
bool store_read_users_of(struct store *s, const char *device_id, unsigned most,
                         void (*each)(void *ctx, const char *user), void *ctx);
/* Users with flags, by name, behind `after` (NULL: from the start), at most `most`; blocks. */
bool store_read_users(struct store *s, const char *after, unsigned most,
                      void (*each)(void *ctx, const struct user_record *r), void *ctx);
bool store_count_devices(struct store *s, uint64_t *out); /* blocks */

/* ---- when is what was submitted on the disk ---- */
/* Everything that was submitted until now stands before this position. */
uint64_t store_submitted(struct store *s);
/* All before that position is durable, or has failed; settle waits for it (a thread that may block),
 * false: it was given up after a few seconds. */
bool store_settled(struct store *s, uint64_t position);
bool store_settle(struct store *s, uint64_t position);

/* ---- a store that several nodes share ---- */
bool store_is_shared(const struct store *s);
/* f is called from now on, for the first time perhaps before this returns: if the store is well it has
 * been heard of then; once, before the first submission. Of a store that is not shared only `all`
 * is: when a backup was restored. false: it cannot be followed. Later with f NULL: no longer, and it is
 * not being called either. */
bool store_follow(struct store *s, const struct store_follower *f);
/* May what is in memory be believed: every change that was durable lease_s seconds ago is known, or has
 * been told to the follower. Always, if the store is not shared. Cheap, any thread. */
bool store_is_heard(const struct store *s);
/* Milliseconds since the last reading of changes that came to a good end began, which is what the lease
 * counts from; -1: there was none, or the store is not shared. */
int64_t store_heard_ms(const struct store *s);
/* Is this the node that looks after what is due by time alone, events and the audit log? At most one at
 * a time is, as far as the store's own clock and locks can tell. Always, if the store is not shared. */
bool store_is_leader(const struct store *s);
/* Single rows; block. The strings live until free(*block_out), but for the names that were given.
 * @return 1 found, 0 not there, -1 out of reach. */
int store_read_folder_state(struct store *s, const char *user, const char *device_id,
                            struct folder_state_record *out, void **block_out);
int store_read_folder_ids(struct store *s, const char *user, struct folder_ids_record *out,
                          void **block_out);
int store_read_info(struct store *s, const char *user, const char *device_id,
                    struct info_record *out, void **block_out);
int store_read_trail(struct store *s, const char *user, const char *device_id,
                     struct trail_record *out, void **block_out);
int store_read_item(struct store *s, const char *kind, const char *name, struct item_record *out,
                    void **block_out);
/* Every saved revision of a policy, oldest first. */
bool store_read_revisions(struct store *s, const char *policy,
                          void (*each)(void *ctx, const struct policy_record *r), void *ctx);
/* Lines with ids above `after`, at most `most`, in order. */
bool store_read_log(struct store *s, enum store_log which, uint64_t after, unsigned most,
                    void (*each)(void *ctx, const struct log_record *r), void *ctx);
void store_close(struct store *s);

#endif

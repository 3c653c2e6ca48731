/* What must survive: partnerships, policies with every revision, users' flags, folder states, what
 * administrators have made, and the logs of what happened. An interface; SQLite behind it. Writes
 * are gathered into group commits by one writer thread and are on the disk before done is called. */
#ifndef PROVOSTD_STORE_H
#define PROVOSTD_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <provost/provision.h>

#include "src/server/http/worker.h"

struct store;
struct store_visitor;

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
};
/* What a device knows of the folder tree, and its Ping parameters. */
struct folder_state_record {
    const char *user, *device_id;
    uint32_t key, previous_key;               /* SyncKeys; 0: none */
    const char *tree_json, *previous_tree_json; /* opaque to the store */
    const char *ping_json;
};
/* ServerIds of a user's folders: opaque to the store. */
struct folder_ids_record { const char *user, *ids_json; };
/* Small things, each kind with its owner: "line" and "assignment" of policies, "rule", "access", "token",
 * "audit"; "claim", "bond" and "location" of upstreams. Opaque to the store; but a "bond" is named USER/DEVICE and goes
 * with that device, or with the user. Key: (kind, name). */
struct item_record { const char *kind, *name, *json; };
/* The last steps of a device, for `device why`: opaque to the store. */
struct trail_record { const char *user, *device_id, *trail_json; };
/* A line of a log; the store gives ids, ascending without a gap. Opaque to the store. */
struct log_record { uint64_t id; const char *json; };

enum store_kind {
    STORE_PUT_DEVICE, STORE_PUT_INFO, STORE_PUT_POLICY, STORE_PUT_USER, STORE_PUT_FOLDER_STATE,
    STORE_PUT_FOLDER_IDS, STORE_PUT_ITEM, STORE_PUT_TRAIL,
    STORE_ADD_AUDIT, STORE_ADD_EVENT,         /* the id is not given */
    STORE_REMOVE_DEVICE, STORE_REMOVE_USER, STORE_REMOVE_ITEM,
    STORE_REMOVE_AUDIT,                       /* all up to that id */
    STORE_REMOVE_EVENT                        /* that one */
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
    bool durable;                             /* result: false means nothing of it was stored */
    void (*done)(struct store_write *);       /* on home; without one on the writer's thread */
};

enum store_log { STORE_LOG_AUDIT, STORE_LOG_EVENT };

struct store_ops {
    const char *name;
    /* Read what is needed at start, in the caller's thread: items, policies, users, devices. false:
     * stop (error is set). */
    bool (*load)(struct store *s, const struct store_visitor *v, void *ctx, char *error,
                 size_t error_cap);
    bool (*submit)(struct store *s, const struct store_change *changes, size_t count,
                   struct store_write *w);
    /* Blocking reads, from a pool's thread. The strings live until free(*block_out).
     * @return 1 found, 0 not there, -1 out of reach. */
    int (*read_folder_state)(struct store *s, const char *user, const char *device_id,
                             struct folder_state_record *out, void **block_out);
    int (*read_folder_ids)(struct store *s, const char *user, struct folder_ids_record *out,
                           void **block_out);
    int (*read_info)(struct store *s, const char *user, const char *device_id,
                     struct info_record *out, void **block_out);
    int (*read_trail)(struct store *s, const char *user, const char *device_id,
                      struct trail_record *out, void **block_out);
    int (*read_item)(struct store *s, const char *kind, const char *name, struct item_record *out,
                     void **block_out);
    /* Row by row; strings live for the callback. false: out of reach. */
    bool (*read_revisions)(struct store *s, const char *policy,
                           void (*each)(void *ctx, const struct policy_record *r), void *ctx);
    bool (*read_log)(struct store *s, enum store_log which, uint64_t after, unsigned most,
                     void (*each)(void *ctx, const struct log_record *r), void *ctx);
    void (*close)(struct store *s);           /* writes what is queued */
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
};

/* url: "sqlite". state: the directory (made if missing, 0700). Runs migrations. NULL on failure
 * with error. */
struct store *store_open(const char *url, const char *state, char *error, size_t error_cap);
/* Queue changes as one transaction. w may be NULL: written behind. false: the store is out of reach
 * or its queue is full; done is not called. */
bool store_submit(struct store *s, const struct store_change *changes, size_t count,
                  struct store_write *w);
/* fn is called after transactions that added to a log; from the writer's thread, so it must not
 * block. Before the first submission; false: there are STORE_LISTENERS_MAX already. */
bool store_listen(struct store *s, void (*fn)(void *ctx), void *ctx);
bool store_load(struct store *s, const struct store_visitor *v, void *ctx, char *error,
                size_t error_cap);
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

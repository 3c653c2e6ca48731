/* What must survive: partnerships, policies with every revision, users' flags, folder states. An
 * interface; SQLite behind it. Writes are gathered into group commits by one writer thread and are
 * on the disk before done is called. */
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
    enum pv_version version;
    int64_t first_seen, last_seen;            /* seconds since 1970 */
    struct pv_partnership partnership;
    const char *info_json;                    /* DeviceInformation as a JSON object, "" if none */
};
struct policy_record {
    const char *name;
    uint64_t revision;                        /* unique over all policies, ascending */
    int64_t at;
    const char *settings_json;                /* {"MinDevicePasswordLength": "6"}: what is set */
};
struct user_record { const char *user; bool enabled; };
/* What a device knows of the folder tree, and its Ping parameters. */
struct folder_state_record {
    const char *user, *device_id;
    uint32_t key, previous_key;               /* SyncKeys; 0: none */
    const char *tree_json, *previous_tree_json; /* opaque to the store */
    const char *ping_json;
};
/* ServerIds of a user's folders: opaque to the store. */
struct folder_ids_record { const char *user, *ids_json; };

enum store_kind {
    STORE_PUT_DEVICE, STORE_PUT_POLICY, STORE_PUT_USER, STORE_PUT_FOLDER_STATE,
    STORE_PUT_FOLDER_IDS, STORE_REMOVE_DEVICE, STORE_REMOVE_USER
};

/* One change; several given together are one transaction. store_submit copies the strings. */
struct store_change {
    enum store_kind kind;
    union {
        struct device_record device;
        struct policy_record policy;
        struct user_record user;
        struct folder_state_record folder_state;
        struct folder_ids_record folder_ids;
    } u;
};

struct store_write {
    struct task task;                         /* private */
    struct worker *home;                      /* private; NULL: submitted from no worker */
    bool durable;                             /* result: false means nothing of it was stored */
    void (*done)(struct store_write *);       /* on home; without one on the writer's thread */
};

struct store_ops {
    const char *name;
    /* Read everything at start, in the caller's thread: policies, users, devices. false: stop
     * (error is set). */
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
    void (*close)(struct store *s);           /* writes what is queued */
};
struct store_visitor {
    void (*device)(void *ctx, const struct device_record *r);
    void (*policy)(void *ctx, const struct policy_record *r); /* ascending revision */
    void (*user)(void *ctx, const struct user_record *r);
};
struct store { const struct store_ops *ops; };

/* url: "sqlite". state: the directory (made if missing, 0700). Runs migrations. NULL on failure
 * with error. */
struct store *store_open(const char *url, const char *state, char *error, size_t error_cap);
/* Queue changes as one transaction. w may be NULL: written behind. false: the store is out of reach
 * or its queue is full; done is not called. */
bool store_submit(struct store *s, const struct store_change *changes, size_t count,
                  struct store_write *w);
bool store_load(struct store *s, const struct store_visitor *v, void *ctx, char *error,
                size_t error_cap);
int store_read_folder_state(struct store *s, const char *user, const char *device_id,
                            struct folder_state_record *out, void **block_out);
int store_read_folder_ids(struct store *s, const char *user, struct folder_ids_record *out,
                          void **block_out);
void store_close(struct store *s);

#endif

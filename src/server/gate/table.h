/* The table of partnerships in memory: the truth of the gate. Sharded by user, a mutex for each
 * shard. */
#ifndef PROVOSTD_GATE_TABLE_H
#define PROVOSTD_GATE_TABLE_H

#include <pthread.h>
#include <stdatomic.h>

#include "src/server/gate/policies.h"
#include "src/server/gate/desk.h"

#define TABLE_SHARDS 64
#define TABLE_DEVICES_PER_USER 100000 /* a peer makes a device by naming one: that has to end */
#define DEVICE_TEXT_MAX 256         /* bytes of a User-Agent or DeviceType that are kept */
#define DEVICE_SAVE_S 3600          /* last_seen and the like reach the disk this often */

/* Everything but the names is guarded by the mutex of the shard. */
struct device {
    struct device *next, **at;      /* of the owner */
    struct device *same;            /* in the owner's bucket */
    struct owner *owner;
    atomic_uint holders;
    uint8_t version;                /* enum pv_version of its last request */
    bool gone;                      /* removed from the table while somebody held it */
    bool unsaved;                   /* something changed since the last write */
    struct desk desk;               /* who changes the partnership */
    struct gate_waiter *waiters;
    struct pv_partnership partnership;
    int64_t first_seen, last_seen, saved_at;
    char *type, *agent, *info;      /* never NULL; "" is not allocated */
    char id[];
};

/* A user that has devices or was disabled. Lives as long as the table. */
struct owner {
    struct owner *next;
    struct device *devices;
    struct device **ids;            /* buckets by id; NULL while the list is short */
    uint32_t ids_mask, count;
    bool disabled;
    char name[];
};

struct shard {
    pthread_mutex_t mutex;
    struct owner **buckets;
    size_t mask, owners, devices, waiters;
    struct book *book;              /* policies in force */
};

struct table {
    struct shard shards[TABLE_SHARDS];
};

struct table *table_create(void);
void table_destroy(struct table *t);
/* The shard of a user, locked. */
struct shard *table_lock(struct table *t, const char *user);
void table_unlock(struct shard *s);

/* With the shard locked. */
struct owner *shard_owner(struct shard *s, const char *user);     /* NULL: none */
struct owner *shard_owner_add(struct shard *s, const char *user); /* finds or makes; NULL: memory */
struct device *owner_device(struct owner *o, const char *id);     /* o may be NULL; NULL: none */
/* A new device, not held for the caller. NULL: memory, or the user has too many (then
 * *full_out). */
struct device *device_add(struct shard *s, const char *user, const char *id, bool *full_out);
/* Out of the table; freed when the last holder lets go. */
void device_remove(struct shard *s, struct device *d);
/* A text of a peer: kept escaped and cut. false: no memory, the old one stays. */
bool device_set_type(struct device *d, const char *text);
bool device_set_agent(struct device *d, const char *text);
/* Takes over json (allocated, or NULL for none). */
void device_set_info(struct device *d, char *json);

/* Any time. */
struct device *device_hold(struct device *d);
void device_release(struct device *d); /* NULL is accepted */
/* Record of a device with another partnership and info (NULL: its own); strings are borrowed.
 * Shard locked. */
struct device_record device_record_of(const struct device *d, const struct pv_partnership *p,
                                      const char *info);

#endif

/* The table of partnerships in memory, by user: who is in it is the business of resident.h. Sharded, a
 * mutex for each shard. */
#ifndef PROVOSTD_GATE_TABLE_H
#define PROVOSTD_GATE_TABLE_H

#include <pthread.h>
#include <stdatomic.h>

#include "src/server/gate/policies/book.h"
#include "src/server/gate/table/bond.h"
#include "src/server/gate/table/desk.h"
#include "src/server/gate/table/kinds.h"
#include "src/server/gate/rules/rules.h"
#include "src/server/gate/trail/trail.h"

#define TABLE_SHARDS 64
#define TABLE_DEVICES_PER_USER 100000 /* a peer makes a device by naming one: that has to end */
#define DEVICE_SAVE_S 3600            /* last_seen and the like reach the disk this often */
#define DEVICE_FACE_SAVE_S 5          /* type, User-Agent and version, if they change */

/* What few devices have, so that the others need no room for it. */
struct extra {
    struct pv_offer offers[PV_OFFER_MAX];
    uint64_t wipe_id; /* the last wipe that was ordered */
    int64_t wipe_at, wipe_sent_at, wipe_ended_at, wipe_expires_at;
    char *wipe_by, *wipe_reason; /* NULL: "" */
    int64_t loop_until;          /* shut out for looping until then; 0: not */
};

/* A million of them must fit: 32 bits for times (until 2106) and revisions. The partnership is taken
 * out and put back by device_partnership and device_keep. Everything but the names is guarded by the
 * mutex of the shard. */
struct device {
    struct device *next; /* of the owner */
    struct owner *owner; /* held */
    uint64_t tag, was;   /* state that was queued or read last, 0: never stored; the one before */
    struct kind *kind;
    struct extra *extra; /* NULL: nothing of it */
    struct desk desk;    /* who changes the partnership */
    struct gate_waiter *waiters;
    atomic_uint holders;
    uint32_t first_seen, last_seen, saved_at;
    uint32_t key, key_at, key_revision, acked_offer, outcome_revision;
    uint32_t denied_key, denied_at; /* refused so at that time, after the store was asked */
    uint32_t changed;   /* of the owner, when something of the device was queued last */
    uint32_t log_lines; /* of damping_may_log */
    uint32_t info_mark; /* of the DeviceInformation that was kept last; 0: unknown */
    uint8_t key_hash[PV_HASH_LEN];
    uint16_t ruled;  /* which rule decides: see access.c; 0: not yet worked out */
    uint8_t version; /* enum pv_version of its last request */
    uint8_t state;   /* enum pv_state: the last that was noted */
    uint8_t acked_status, outcome, said, personal, access, wipe, wipe_state, shut;
    bool provisioned_once : 1, asked : 1;
    bool gone : 1;     /* left the table while somebody held it */
    bool unsaved : 1;  /* something changed since the last write */
    bool troubled : 1; /* its trail ends with something else than a let-in */
    bool damped : 1;   /* its trail says until when it is slowed */
    bool in : 1;       /* it fills one of its user's places: see device_count */
    bool bound : 1;    /* it has a bond */
    bool read : 1;     /* of owner_load.c: the reading under way has it */
    char id[];
};

struct owner_reading;  /* owner_load.c */
struct resident; /* resident.h */

/* A user: one that is in use, or was so lately. Lives as long as it is in the table or a device of it
 * is held. */
struct owner {
    struct owner *next;
    struct owner_reading *reading;   /* under way; NULL: none */
    struct resident *waiting;  /* for a reading; those pin it as well */
    uint64_t position;         /* in the store's queue, behind all that was queued of it */
    uint32_t readings;         /* that have begun */
    uint32_t changes, changed; /* times that something of it was queued; that its flags were */
    uint32_t doubts;           /* times that another node has changed it, or a write has failed */
    uint32_t pins;             /* it stays in the table */
    atomic_uint holders;
    bool loaded;               /* it was read */
    bool stale;                /* must be read again before it is believed */
    bool used;                 /* lately: see evict.c */
    struct device *devices;
    struct device **ids;          /* by id, open addressing; NULL while the list is short */
    uint32_t ids_mask, count, in; /* in: devices that fill a place */
    struct heat new_ids;          /* of devices whose first handshake is not finished */
    struct heat notes;            /* lines of the audit log that its devices have caused */
    uint32_t told_at;             /* last line of the log about no device of his in particular */
    bool disabled, no_device_wipe;
    char name[];
};

struct shard {
    pthread_mutex_t mutex;
    struct owner **buckets;
    size_t mask, owners, devices, waiters;
    size_t weight; /* devices, and users that have none */
    size_t hand;   /* of evict.c: the next bucket */
    uint32_t told_at;     /* last line of the log about a user that it does not know */
    struct kinds kinds;
    struct bonds bonds;
    struct book *book;   /* policies in force */
    struct rules *rules; /* access rules in force */
    struct trails trails;
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
/* Out of the table, with its devices. */
void shard_owner_remove(struct shard *s, struct owner *o);
void owner_release(struct owner *o); /* any time; a device has held it */
struct device *owner_device(struct owner *o, const char *id);     /* o may be NULL; NULL: none */
/* A new device, not held for the caller. NULL: memory, or the user has too many (then
 * *full_out). */
struct device *device_add(struct shard *s, const char *user, const char *id, bool *full_out);
/* Out of the table; freed when the last holder lets go. */
void device_remove(struct shard *s, struct device *d);
/* Texts of a peer; NULL leaves one as it is. false: no memory, the old ones stay. */
bool device_set_kind(struct shard *s, struct device *d, const char *const texts[KIND_TEXTS]);
static inline const char *device_text(const struct device *d, enum kind_text which)
{
    return kind_text(d->kind, which);
}

/* ---- the partnership of a device; shard locked ---- */
void device_partnership(const struct device *d, struct pv_partnership *out);
/* Room for what a device gets, so that device_keep cannot fail. false: no memory. */
bool device_reserve(struct device *d, const struct pv_partnership *p);
/* p: what device_partnership gave, stepped on; with room for it. */
void device_keep(struct device *d, const struct pv_partnership *p);
/* Count the device among those that fill a place of its user, or no longer: one that has ever
 * confirmed a policy or was let in without a key, and that no wipe has shut out. device_keep does it
 * as well. */
void device_count(struct device *d, const struct pv_partnership *p);
/* extra, made if need be. NULL: no memory. */
struct extra *device_extra(struct device *d);

/* Any time. */
struct device *device_hold(struct device *d);
void device_release(struct device *d); /* NULL is accepted */
/* Record of a device with another partnership (NULL: its own), made of the state that it has, as a new
 * state; strings are borrowed. Whoever queues it does so by device_submit. Shard locked. */
struct device_record device_record_of(const struct device *d, const struct pv_partnership *p);

#endif

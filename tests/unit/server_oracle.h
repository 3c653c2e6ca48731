/* What the server must do by the rules of docs/provisioning-server.md, said a second time: from
 * what an observer knows who has read only requests, orders and answers, never a partnership. */
#ifndef TESTS_SERVER_ORACLE_H
#define TESTS_SERVER_ORACLE_H

#include <stdbool.h>
#include <stdint.h>

#include <provost/provision.h>

#define ORACLE_NOON 1700000000
#define ORACLE_DAY 86400    /* the life of an offer, and the step of time */
#define ORACLE_DAYS 4
#define ORACLE_REFRESH 2    /* days of the refresh interval */
#define ORACLE_DATE 2       /* day from which devices without a key are no longer let in */
#define ORACLE_WIPE_LIFE 1  /* days that a wipe is given, if any */
#define ORACLE_KEYS 7       /* 1..7: six may be taken at a time */

/* What a request meets. All bytes, as everything here: states are hashed as they are. */
struct world {
    uint8_t day;
    uint8_t document; /* 0, 1: that one cannot be carried below 16.1 */
    uint8_t lenient;  /* devices that cannot be provisioned are let in, until the date */
    uint8_t new;      /* the device speaks 16.1, else 14.1 */
};

/* What must survive a crash once it was told. */
struct hard {
    uint8_t key, key_document, key_day, held;
    uint8_t wipe, wipe_state, wipe_until /* day + 1, 0: for ever */, shut, word;
};
/* What a crash may take back to what it was when it was last written. */
struct soft {
    struct { uint8_t key, document, day; } offers[PV_OFFER_MAX]; /* oldest first */
    uint8_t acked, acked_status, asked, refused;
};
struct oracle {
    struct hard hard;
    struct soft soft;
};

struct request {
    uint8_t event; /* enum pv_event */
    uint8_t key_kind, key, status, wipe;
};
struct verdict {
    enum pv_action action;
    unsigned status;
    uint32_t key;  /* the very key that must be told; 0: none, or a new one */
    bool new_key;
};

/* The answer to a request; *o is what is known then. `told` is the new key of the true answer. */
struct verdict oracle_request(struct oracle *o, const struct world *w, const struct request *r,
                              uint32_t told);
/* An administrator's order. */
enum pv_action oracle_order(struct oracle *o, const struct world *w, enum pv_order_kind kind,
                            bool expires);
/* As `device list` shows it. */
enum pv_state oracle_state(const struct oracle *o, const struct world *w);
/* A new key must differ from each of these: active, open, and acknowledged last. */
bool oracle_taken(const struct oracle *o, uint32_t key);
bool oracle_pending(const struct oracle *o);

#endif

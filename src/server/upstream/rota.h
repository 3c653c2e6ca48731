/* Whose turn it is: devices that wait for news of one upstream, and a few slots in which one after the
 * other is looked at. Pure: no clock, no thread. The caller says what time it is (milliseconds, any
 * origin but 0) and locks.
 *
 * Time goes in rounds. In a round every device that waits is looked at once, in the order in which it
 * was looked at before; but for a user with more than ROTA_SHARE devices, whose others come first in the
 * next round. Who comes and was not looked at in this round is fresh: fresh ones and the others take
 * rota, so that a device is looked at soon after it has come, and those who wait keep half of the
 * slots however many come. Who comes back sooner waits as if it had not been away. */
#ifndef PROVOSTD_ROTA_H
#define PROVOSTD_ROTA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/server/mailbox/map.h"

#define ROTA_SHARE 4u              /* looks at devices of one user in a round */
#define ROTA_HINT_MS 2000u         /* from one look at a device to the next that a hint causes */
#define ROTA_PAUSE_MAX_MS 30000u   /* after failures */

/* Lists of rota. NONE: it does not wait. BUSY: in a slot, in no list. */
#define ROTA_PLACES(X) X(NONE) X(BUSY) X(FRESH) X(NOW) X(NEXT) X(DEFERRED) X(LATER)
#define ROTA_PLACE_ENUM(id) ROTA_##id,
enum rota_place { ROTA_PLACES(ROTA_PLACE_ENUM) ROTA_PLACE_COUNT };
#undef ROTA_PLACE_ENUM

struct rota_user;

/* A device. Embed, zeroed; the memory may be kept from one wait to the next. */
struct rota_member {
    struct { uint64_t round, looked_ms; } memory; /* of the last look at it; 0: none */
    uint64_t seen_ms;                   /* when the last look began that ended without news; since it
                                           waits there was none: when it came */
    struct rota_member *prev, *next;           /* private: of the list */
    struct rota_member *user_prev, *user_next; /* private */
    struct rota_user *user;             /* private */
    uint64_t eligible_ms;               /* private: FRESH since, LATER until */
    enum rota_place place;
    bool stayed, hinted, again;         /* private */
};

struct rota_list { struct rota_member *head, *tail; };

struct rota {
    unsigned slots;                     /* looks at a time */
    uint64_t interval_ms;               /* from one look at a device to the next, at least */
    /* To be read: */
    unsigned waiting, busy;             /* busy: looks under way, those at devices that left too */
    uint64_t looks;
    uint64_t look_ms;                   /* how long a look takes, of late */
    uint64_t gap_ms;                    /* between the last two looks at a device that waited on */
    unsigned failures;                  /* since something went well */
    /* private: */
    uint64_t round, paused_until_ms;
    bool fresh_was_last;
    struct rota_list list[ROTA_PLACE_COUNT];
    struct map users;
    struct rota_user *idle_first, *idle_last;
};

void rota_init(struct rota *t, unsigned slots, uint64_t interval_ms);
/* When nobody waits any more. */
void rota_finish(struct rota *t);

/* The device waits from now on. user: copied. false: no memory. */
bool rota_join(struct rota *t, struct rota_member *e, const char *user, uint64_t now_ms);
/* It waits no more; a look that is under way goes on and keeps its slot. Without effect on who does not
 * wait. */
void rota_leave(struct rota *t, struct rota_member *e, uint64_t now_ms);

/* Who is to be looked at now, BUSY then; NULL: nobody now. Again until it says so. */
struct rota_member *rota_pick(struct rota *t, uint64_t now_ms);
enum rota_end {
    ROTA_LOOKED, /* something was learnt, be it that there is no news */
    ROTA_FAILED, /* the upstream did not answer as it should */
    ROTA_UNUSED  /* it was not looked at all */
};
/* A look that was begun at began_ms has ended, and its slot is free. After a failure nobody is looked
 * at for retry_ms (0: not said), or longer and longer, and then one device at a time until it is well
 * again. */
void rota_free(struct rota *t, uint64_t began_ms, uint64_t now_ms, enum rota_end end,
               uint64_t retry_ms);
/* The BUSY device waits on, after rota_free. UNUSED: it is to be looked at soon. */
void rota_back(struct rota *t, struct rota_member *e, uint64_t now_ms, enum rota_end end);

/* The user may have news: his devices are looked at before others, those that come later too. */
void rota_hint(struct rota *t, const char *user, uint64_t now_ms);

/* Milliseconds until rota_pick may have something to say without anything else happening;
 * UINT64_MAX: never. */
uint64_t rota_sleep_ms(const struct rota *t, uint64_t now_ms);
/* How long a device waits for a look: as it was the last time, or as one waits already if that is longer.
 * 0: not known. */
uint64_t rota_wait_ms(const struct rota *t, uint64_t now_ms);
/* How long it takes to look at everybody who waits, by how long looks take. */
uint64_t rota_estimate_ms(const struct rota *t);

#endif

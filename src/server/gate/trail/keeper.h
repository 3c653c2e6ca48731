/* Trails on their way to the store: a thread writes behind what has changed, every few seconds, and then
 * makes room in memory, where there are too many. Who answers a request never waits for it. */
#ifndef PROVOSTD_GATE_KEEPER_H
#define PROVOSTD_GATE_KEEPER_H

#include "src/server/gate/inner.h"

#define KEEPER_EVERY_S 3
#define KEEPER_AT_ONCE 64 /* trails of one shard in one round; the others have their turn later */
#define KEEPER_EVICTED_MAX \
    256 /* trails that had to go and wait to be written; further ones are lost */

struct keeper;
/* NULL: no memory. Nothing runs yet. */
struct keeper *keeper_create(struct gate *g);
/* From here on the thread runs. false: no thread. */
bool keeper_start(struct keeper *k);
/* Of the thread. */
const struct heart *keeper_heart(const struct keeper *k);
/* Ends the thread. NULL is accepted. */
void keeper_stop(struct keeper *k);
/* Writes what has changed, frees; after keeper_stop. NULL is accepted. */
void keeper_destroy(struct keeper *k);

/* Something has changed in a trail, or there are too many in memory. */
void keeper_want(struct gate *g);
/* Readings have failed of users on whose devices somebody waits: soon once more. */
void keeper_look_again(struct gate *g);
/* A trail that had to go for another, taken over; its user stays in memory until it is written. Shard
 * locked. */
void keeper_evicted(struct gate *g, struct shard *s, struct trail *t);
/* One round: writes what has changed. true: there is more. */
bool keeper_round(struct keeper *k);

/* ---- reading ---- */
/* A trail apart from the table: texts copied. */
struct trail_copy {
    struct trail_entry entries[TRAIL_ENTRIES];
    uint8_t count;
    bool fresh;       /* older steps may be in the store */
    unsigned returns; /* see struct trail_clone */
    char other_type[KIND_TEXT_MAX], other_agent[KIND_TEXT_MAX];
};
/* Shard locked; t NULL: nothing but fresh. */
void trail_copy(const struct trail *t, struct trail_copy *out);
/* Older steps from the store, and what it knows of another face. Blocks. false: the store is out of
 * reach, or no memory; there may be more than is told. */
bool trail_complete(struct store *store, const char *user, const char *device_id,
                    struct trail_copy *c);
/* The last steps of a device, older ones from the store included. Blocks. @return 1, 0 there is no such
 * device, -1 the store is out of reach or no memory. */
int gate_device_trail(struct gate *g, const char *user, const char *device_id,
                      struct trail_copy *out);
/* {"steps": [...], "clone": {"device_type", "user_agent", "returns"} or null}; NULL: no memory. */
json_t *trail_copy_json(const struct trail_copy *c);

#endif

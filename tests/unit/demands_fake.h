/* The gate of policies_fake.h before an upstream that demands what the test says. */
#ifndef TEST_DEMANDS_FAKE_H
#define TEST_DEMANDS_FAKE_H

#include "src/server/gate/order.h"
#include "tests/unit/policies_fake.h"

#define UP "https://up.example"

int demands_begin(void **unused); /* policies_end ends it */
/* Sync is refused by the upstream, Search waits; for a gate that was started anew. */
void demands_add_commands(void);

/* Who asks: DEV1 of this user, with this key. */
extern const char *the_key, *the_user;
extern char key_text[65];
/* A whole handshake; its key becomes the_key. */
void confirm(void);

/* What gate_demand has told last. */
extern enum gate_demand_result told;
extern unsigned told_said, told_times;
/* A command that the upstream refuses: what the gate makes of it, as HTTP code or Status; 0: it waits.
 * wanted: "A=1 B=2"; NULL: the upstream has no policy. */
unsigned command_refused(const char *wanted);
extern struct http_exchange exchange; /* of it */
enum gate_demand_result demand_of(const char *wanted);
/* The policy in a Provision answer; its strings go with the next. */
struct pv_policy offered(const char *user);
/* Key that is kept for the device; keep 0: none is put there before. */
uint32_t upstream_key(const char *upstream, uint32_t keep);
/* The next gate starts from what the store was told, and this device. */
void restart(void);

#endif

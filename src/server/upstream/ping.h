/* Pings through the gateway that cost the upstream nothing while they wait. The gateway holds them
 * itself, and asks the upstream now and then, on behalf of one device after the other and in a few
 * slots, with Pings that are as short as it takes. Whoever has news is told what the upstream said. */
#ifndef PROVOSTD_UPSTREAM_PING_H
#define PROVOSTD_UPSTREAM_PING_H

#include "src/server/upstream/upstream.h"

struct demands;
struct pings;

/* Takes the command Ping over from the gateway. NULL with error: one sentence. */
struct pings *pings_create(struct gate *g, struct upstreams *u, struct demands *d,
                           const struct config *c, char *error, size_t error_cap);
/* Another configuration has taken the place of before: slots and intervals. NULL is accepted. Any
 * thread. */
void pings_reconfigure(struct pings *p, const struct config *before, const struct config *c);
/* After the workers and upstreams have ended; NULL is accepted. */
void pings_destroy(struct pings *p);

/* The user may have news: those of his devices that wait are looked at upstream at once. On a
 * worker. */
void pings_news(struct pings *p, const char *user);

/* Adds a member "ping" to each object of what upstreams_status has made. p NULL: they are passed on.
 * On a worker. false: no memory. */
bool pings_status(struct pings *p, json_t *upstreams);

#endif

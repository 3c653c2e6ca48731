/* Where an upstream has sent users: HTTP 451 with X-MS-Location says that somebody's mailbox is at another
 * server (MS-ASHTTP 3.1.5.2.2). It is followed in the phone's place, and kept for the user, in the store
 * too. Any thread. */
#ifndef PROVOSTD_LOCATION_H
#define PROVOSTD_LOCATION_H

#include "src/server/gate/gate.h"
#include "src/server/public_url.h"
#include "src/server/store/store.h"

#define LOCATION_HOPS_MAX 3 /* of one request */

struct locations;
/* NULL: no memory. */
struct locations *locations_create(void);
void locations_destroy(struct locations *l); /* NULL is accepted */
/* What the store holds; what is learnt from now on goes there. Before serving. */
bool locations_load(struct locations *l, struct store *s, char *error, size_t error_cap);

/* What other servers have learnt is read now and then. After locations_load, before serving; l lives as
 * long as the gate. false: error is set. */
bool locations_follow(struct locations *l, struct gate *g, char *error, size_t error_cap);

/* Where ActiveSync is for the user. home: the address of his upstream, which it is if nothing else is
 * known. true: it is elsewhere. */
bool location_of(struct locations *l, const char *home, const char *user,
                 char out[PUBLIC_URL_ROOM]);
/* Take the value of X-MS-Location. false: it is no address that a password may be sent to (https, or http
 * where home is that), or there is no memory. */
bool location_keep(struct locations *l, const char *home, const char *user, const char *value);
/* It did not hold: the user is looked for at home again. */
void location_forget(struct locations *l, const char *user);

#endif

/* Autodiscover: a phone that knows an e-mail address and a password is told where ActiveSync is,
 * which is here. Version 1 is asked after a login; version 2 without one, so it says the same of
 * every address. */
#ifndef PROVOSTD_AUTODISCOVER_H
#define PROVOSTD_AUTODISCOVER_H

#include "src/server/gate/gate.h"
#include "src/server/router.h"

/* Adds both to what stands before the gate. */
void autodiscover_routes(struct gate *g, struct router *r);

#endif

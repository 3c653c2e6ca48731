/* The text of a key set from where it is. Blocks: for a thread of its own. */
#ifndef PROVOSTD_OAUTH_FETCH_H
#define PROVOSTD_OAUTH_FETCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "src/server/auth/oauth/keyset.h"

struct oauth_text { char *bytes; size_t len; };

/* From auth.oauth.keys, a path or an address, or from the address that the issuer tells. Freed by the
 * caller (bytes). stop: set while it runs, it ends soon. false with why: one sentence. */
bool oauth_fetch(const struct config *c, const atomic_bool *stop, struct oauth_text *out,
                 char why[KEYSET_ERROR_MAX]);
/* A set is read from a file, whose mistakes are told at the start. */
bool oauth_from_file(const struct config *c);

#endif

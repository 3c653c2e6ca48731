/* Where an issuer's keys come from: a file, an address, or what the issuer says of itself. They are read
 * on a thread of their own, kept, and read again by age and when a token names one that is not
 * there. */
#ifndef PROVOSTD_OAUTH_KEYS_H
#define PROVOSTD_OAUTH_KEYS_H

#include "src/server/auth/oauth/keyset.h"
#include "src/server/http/pool.h"

struct oauth_keys;

/* NULL with error: a file that cannot be read now, or there is no memory or thread. An address is only
 * tried. c: outlives it. */
struct oauth_keys *oauth_keys_start(const struct config *c, char *error, size_t error_cap);
/* Nobody waits any more. NULL is accepted. */
void oauth_keys_stop(struct oauth_keys *k);

enum oauth_found {
    OAUTH_HERE,  /* *set_out has the key; to be released */
    OAUTH_LATER, /* they are being read: wait's done will run on this worker */
    OAUTH_NONE,  /* the issuer has no such key */
    OAUTH_FAILED /* nobody knows: why_out says what went wrong */
};
/* On a worker. wait NULL: nothing is waited for (it has waited once). */
enum oauth_found oauth_keys_find(struct oauth_keys *k, const struct jwt_head *h, struct job *wait,
                                 struct keyset **set_out, char why_out[KEYSET_ERROR_MAX]);
/* Read them again, soon. */
void oauth_keys_refresh(struct oauth_keys *k);

#endif

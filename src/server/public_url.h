/* Under which address clients reach this server. Pure functions. */
#ifndef PROVOSTD_PUBLIC_URL_H
#define PROVOSTD_PUBLIC_URL_H

#include <stdbool.h>
#include <stddef.h>

#define PUBLIC_URL_MAX 512  /* of the key `url`, terminator included */
#define PUBLIC_URL_ROOM 640 /* for an address that is made of it */

/* A host as a Host field has it: a name, an IPv4 address or an IPv6 one in brackets, perhaps with a
 * port. Nothing that would need to be escaped anywhere. */
bool public_host_ok(const char *host);
/* http:// or https://, a host, and perhaps a path of plain segments; no query. */
bool public_url_ok(const char *url);

struct public_url {
    const char *url; /* as configured; NULL: as the client has asked */
    bool secure;     /* how the client has asked */
    const char *host; /* its Host field; may be NULL */
};
/* The address of ActiveSync. The path is appended to a configured address unless it ends so. false:
 * none is configured, and the client has named no host. */
bool public_url_eas(const struct public_url *u, char out[PUBLIC_URL_ROOM]);
/* Of a path at the root of the same host. */
bool public_url_at(const struct public_url *u, const char *path, char out[PUBLIC_URL_ROOM]);

#endif

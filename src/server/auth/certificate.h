/* The method certificate: who shows a certificate over TLS that tls.client_ca vouches for is whom it
 * names. */
#ifndef PROVOSTD_CERTIFICATE_H
#define PROVOSTD_CERTIFICATE_H

#include "src/server/auth/method.h"

/* config, rest of the sentence "it has ..." */
#define CERTIFICATE_NAMES(X)                                             \
    X(EMAIL, "email", "e-mail address (rfc822Name)")                     \
    X(UPN, "upn", "user principal name (otherName)")                     \
    X(CN, "cn", "common name")
#define CERTIFICATE_NAME_ENUM(id, text, what) CERTIFICATE_##id,
enum certificate_name { CERTIFICATE_NAMES(CERTIFICATE_NAME_ENUM) CERTIFICATE_NAME_COUNT };
#undef CERTIFICATE_NAME_ENUM
/* false: there is no such kind. */
bool certificate_name_parse(const char *text, enum certificate_name *out);

/* Whom a certificate in DER names, and until when. Whoever calls has had it vouched for. now: seconds
 * since 1970. AUTH_OK, or AUTH_BAD or AUTH_FAILED (no memory) with why. A certificate with two different
 * names of that kind names nobody. */
enum auth_verdict certificate_read(const void *der, size_t len, enum certificate_name kind,
                                   int64_t now, char user_out[AUTH_USER_MAX], int64_t *until_out,
                                   char why[AUTH_WHY_MAX]);

struct auth_method *certificate_method(const struct config *c, char *error, size_t error_cap);

#endif

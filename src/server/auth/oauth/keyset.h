/* The public keys of an issuer (RFC 7517), and signatures made with them. libcjose is behind it. */
#ifndef PROVOSTD_OAUTH_KEYSET_H
#define PROVOSTD_OAUTH_KEYSET_H

#include "src/server/auth/oauth/jwt.h"

#define KEYSET_KEYS_MAX 64
#define KEYSET_TEXT_MAX ((size_t)256 * 1024)
#define KEYSET_ERROR_MAX 112 /* fits into AUTH_WHY_MAX with a word before it */

struct keyset;

/* From a JWK set. Keys that are of no use here (symmetric, for encryption, of other curves, RSA below
 * 2048 bits) are passed over. NULL with error, one sentence: no set, or no key is left. Held once. */
struct keyset *keyset_read(const char *json, size_t len, char error[KEYSET_ERROR_MAX]);
struct keyset *keyset_hold(struct keyset *s);
/* NULL is accepted. Any thread. */
void keyset_release(struct keyset *s);
size_t keyset_count(const struct keyset *s);

/* Is there a key for such a token? One that names no key fits if there is one key only. */
bool keyset_has(const struct keyset *s, const struct jwt_head *h);
/* Any thread. With JWT_FAULT_OK the claims, to be freed; else KEY, SIGNATURE, NO_MEMORY. */
enum jwt_fault keyset_verify(const struct keyset *s, const char *token, size_t len,
                             const struct jwt_head *h, char **claims_out, size_t *claims_len_out);

#endif

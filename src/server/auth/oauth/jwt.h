/* A JSON Web Token (RFC 7519) as an access token: what it says, and whether that suffices. Pure
 * functions over foreign bytes; signatures are keyset.h's business. */
#ifndef PROVOSTD_OAUTH_JWT_H
#define PROVOSTD_OAUTH_JWT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/server/auth/auth.h"

#define JWT_MAX 16384 /* bytes of a token: as much as a request's head may have */
#define JWT_KID_MAX 256

/* name, type of key, bytes of the signature (0: of the modulus) */
#define JWT_ALGS(X)                                                                         \
    X(RS256, RSA, 0) X(RS384, RSA, 0) X(RS512, RSA, 0) X(PS256, RSA, 0) X(PS384, RSA, 0)    \
    X(PS512, RSA, 0) X(ES256, P256, 64) X(ES384, P384, 96) X(ES512, P521, 132)
#define JWT_ALG_ENUM(name, key, len) JWT_##name,
enum jwt_alg { JWT_ALGS(JWT_ALG_ENUM) JWT_ALG_COUNT };
#undef JWT_ALG_ENUM
enum jwt_key { JWT_KEY_RSA, JWT_KEY_P256, JWT_KEY_P384, JWT_KEY_P521 };
struct jwt_alg_info { const char *name; enum jwt_key key; size_t signature_len; };
const struct jwt_alg_info *jwt_alg_info(enum jwt_alg alg);
/* false: it is none of these. "none" and the symmetric ones are not. */
bool jwt_alg_parse(const char *name, enum jwt_alg *out);

/* What is wrong with a token, for the log. */
#define JWT_FAULTS(X)                                                    \
    X(OK, "it is good")                                                  \
    X(NO_MEMORY, "out of memory")                                        \
    X(TOO_LONG, "it is too long")                                        \
    X(FORM, "it is not three parts with a dot between them")             \
    X(HEADER, "its header cannot be read")                               \
    X(TYPE, "its type is not that of an access token")                   \
    X(CRITICAL, "it demands extensions that are not known here")         \
    X(ALGORITHM, "its algorithm is not allowed")                         \
    X(KEY, "the issuer has no such key")                                 \
    X(SIGNATURE, "its signature is wrong")                               \
    X(CLAIMS, "its claims cannot be read")                               \
    X(ISSUER, "it is of another issuer")                                 \
    X(AUDIENCE, "it is for somebody else")                               \
    X(NO_EXPIRY, "it has no end")                                        \
    X(EXPIRED, "it has expired")                                         \
    X(EARLY, "its time has not come")                                    \
    X(SCOPE, "it lacks the scope")                                       \
    X(NAME, "it names no user")                                          \
    X(UNVERIFIED, "the issuer has not verified the e-mail address")
#define JWT_FAULT_ENUM(name, text) JWT_FAULT_##name,
enum jwt_fault { JWT_FAULTS(JWT_FAULT_ENUM) JWT_FAULT_COUNT };
#undef JWT_FAULT_ENUM
const char *jwt_fault_text(enum jwt_fault f);

/* What is demanded. The strings outlive their use. */
struct jwt_rules {
    const char *issuer;
    const struct config_names *audience; /* one of them */
    const char *claim;                   /* that names the user */
    const char *scope;                   /* NULL: none is demanded */
    unsigned leeway;                     /* seconds by which clocks may differ */
    unsigned algorithms;                 /* 1u << enum jwt_alg, or'ed */
};

/* Is it base64url without padding, of at least a byte? libcjose ends the process on what it cannot have
 * come from, so nothing reaches it that was not asked here. */
bool jwt_base64_ok(const char *text, size_t len);

struct jwt_head {
    enum jwt_alg alg;
    char kid[JWT_KID_MAX]; /* "": it names no key */
    size_t signed_len;     /* bytes up to the second dot */
};
/* The header alone, which nobody has signed yet. JWT_FAULT_OK, or why the token is worth nothing. */
enum jwt_fault jwt_head_read(const char *token, size_t len, const struct jwt_rules *r,
                             struct jwt_head *out);
/* The claims of a token whose signature is good. now: seconds since 1970. With JWT_FAULT_OK the name as
 * the claim has it, and when the token ends (leeway included). */
enum jwt_fault jwt_claims_check(const void *json, size_t len, const struct jwt_rules *r, int64_t now,
                                char user_out[AUTH_USER_MAX], int64_t *until_out);

#endif

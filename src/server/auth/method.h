/* A way to find out who somebody is. auth.c knows what all have in common: the schemes, the cache under
 * a keyed hash, slowing down who fails. A method only says yes, no or "cannot say". */
#ifndef PROVOSTD_AUTH_METHOD_H
#define PROVOSTD_AUTH_METHOD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/server/auth/auth.h"
#include "src/server/auth/login.h"

enum auth_kind { AUTH_PASSWORD, AUTH_BEARER, AUTH_CERTIFICATE };

/* One credential that the cache does not know. Made by auth.c; lives until done. */
struct auth_try {
    enum auth_kind kind;
    struct login login;                /* PASSWORD */
    const char *token;                 /* BEARER */
    const void *certificate;           /* CERTIFICATE: DER, vouched for by the listener's CA */
    size_t certificate_len;
    /* In: the name as tried. Out with AUTH_OK: the canonical name, one for a person however it was
     * typed, so that a blocked device does not come back under another spelling. */
    char user[AUTH_USER_MAX];
    int64_t until;                     /* out: not to be believed longer (a token's exp); 0: as configured */
    enum auth_verdict verdict;         /* out: OK, BAD or FAILED */
    char why[128];                     /* out, for the log: without anything of the secret */
    void (*done)(struct auth_try *t);  /* on the worker that called verify */
    void *state;                       /* the method's own, until done */
};

struct auth_method;
struct auth_method_ops {
    const char *name;                  /* as in auth.method */
    unsigned kinds;                    /* 1u << enum auth_kind, or'ed */
    /* On a worker; done later or at once. Never blocks. */
    void (*verify)(struct auth_method *m, struct auth_try *t);
    void (*close)(struct auth_method *m);
};
struct auth_method { const struct auth_method_ops *ops; };

/* A later answer says that it does not hold any more (an upstream's 401): the credential is forgotten,
 * and verified anew when it comes again. */
struct auth;
void auth_forget(struct auth *a, const char *authorization);

#endif

/* A way to find out who somebody is. auth.c knows what all have in common: the schemes, the cache under
 * a keyed hash, slowing down who fails, one spelling of a name. A method only says yes, no or "cannot
 * say". */
#ifndef PROVOSTD_AUTH_METHOD_H
#define PROVOSTD_AUTH_METHOD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/server/auth/auth.h"
#include "src/server/auth/login.h"
#include "src/server/http/pool.h"

#define AUTH_BOUND_MAX 384

/* One credential that the cache does not know. Made by auth.c; lives until done. */
struct auth_try {
    enum auth_kind kind;
    struct login login;                /* PASSWORD: as typed */
    const char *token;                 /* BEARER */
    const void *certificate;           /* CERTIFICATE: DER, vouched for by the listener's CA */
    size_t certificate_len;
    const char *peer;                  /* address of who asks */
    uint64_t since_ms;                 /* when verify was called, by auth_now_ms */
    /* In: with PASSWORD the name as identify or login_canonical has it, else "". Out with AUTH_OK: who it
     * is; one name for a person however it was typed, so that a blocked device does not come back under
     * another spelling. Unless the method has identify, auth.c brings it to the canonical form. With
     * AUTH_BAD it may be set for the log. */
    char user[AUTH_USER_MAX];
    /* What the verdict hangs on besides the credential, of identify: what was cached with another one
     * does not count. */
    char bound[AUTH_BOUND_MAX];
    int64_t until;                     /* out, seconds since 1970: not to be believed longer (a token's
                                          exp); 0: as configured */
    enum auth_verdict verdict;         /* out: OK, BAD, LATER (too busy) or FAILED (cannot say) */
    unsigned retry_after;              /* out, seconds, with LATER */
    char why[AUTH_WHY_MAX];            /* out, for the log: without anything of the secret */
    void (*done)(struct auth_try *t);  /* on the worker that called verify */
    /* The method's own, until done. */
    struct job job;
    void *state;
};

struct auth_method;
struct auth_method_ops {
    const char *name;                  /* as in auth.method */
    unsigned kinds;                    /* 1u << enum auth_kind, or'ed */
    /* verify tells the name from its own books, one for each person. Otherwise the name that was typed is
     * the name, and then only ASCII is taken unless auth.case_sensitive is set: nobody knows which
     * letters the other side takes for the same. */
    bool tells_name;
    /* Only for a method with names of its own rules (the users file): from t->login to t->user and
     * t->bound. Cheap, never blocks. NULL: login_canonical. */
    void (*identify)(struct auth_method *m, struct auth_try *t);
    /* What was cached with the same bound is as good as new each time that it is used. */
    bool renews;
    /* On a worker; never blocks. true: the verdict is there. false: t->done will be called, later,
     * exactly once. */
    bool (*verify)(struct auth_method *m, struct auth_try *t);
    /* SIGHUP: read files again. Not on a worker. false with error: what was read before stays. NULL:
     * there is nothing. */
    bool (*reload)(struct auth_method *m, char *error, size_t error_cap);
    /* After the workers have ended. NULL: its maker ends it. */
    void (*close)(struct auth_method *m);
};
struct auth_method { const struct auth_method_ops *ops; };

/* Monotonic; on any thread. */
uint64_t auth_now_ms(void);
/* So many failures have come in meanwhile that nobody is to hear the verdict: to be asked just before
 * the costly part, on any thread. Sets verdict and retry_after. */
bool auth_try_hopeless(struct auth_try *t);

/* Makes the method of that name by the configuration. NULL with error: one sentence; with error "": it
 * is not made here (auth_create was given it). */
struct auth_method *auth_method_make(const char *name, const struct config *c, char *error,
                                     size_t error_cap);

#endif

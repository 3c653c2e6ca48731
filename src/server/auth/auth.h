/* Who is it? A credential goes to the first of the configured methods that takes its kind; what was
 * verified is remembered under a keyed hash. */
#ifndef PROVOSTD_AUTH_H
#define PROVOSTD_AUTH_H

#include <stdbool.h>
#include <stddef.h>

#include "src/server/config.h"
#include "src/server/http/worker.h"

struct auth;
struct auth_method;

enum auth_kind { AUTH_PASSWORD, AUTH_BEARER, AUTH_CERTIFICATE };

enum auth_verdict {
    AUTH_OK,
    AUTH_BAD,   /* 401 */
    AUTH_LATER, /* 503 with Retry-After: too many failures, or the queue is full */
    AUTH_FAILED /* 503: it cannot be verified now */
};

#define AUTH_USER_MAX 128 /* bytes of a user's name, terminator included */
#define AUTH_WHY_MAX 128

/* One question. Embed it in the state of the request; it must live until done. */
struct auth_check {
    const char *authorization; /* field value; NULL: none */
    const void *certificate;   /* as http_certificate gives it; lives until done. NULL: none */
    size_t certificate_len;
    const char *peer;          /* address, for slowing down; lives until done */
    /* On the asking worker; not called when auth_start answers at once. */
    void (*done)(struct auth_check *);
    enum auth_verdict verdict;
    unsigned retry_after; /* seconds, with AUTH_LATER */
    /* With AUTH_OK the canonical name, else as tried, for the log; "" if nobody was named. */
    char user[AUTH_USER_MAX];
    char why[AUTH_WHY_MAX]; /* for the log, unless AUTH_OK: what was wrong, if more is known than that */
    bool by_certificate; /* with AUTH_OK: and not by what authorization says */
    void *priv;
};

/* made: methods that were made elsewhere, ends with NULL; those that auth.method names are used, and
 * must live until auth_destroy. May be NULL. error: one sentence. */
struct auth *auth_create(const struct config *c, struct auth_method *const *made, char *error,
                         size_t error_cap);
void auth_destroy(struct auth *a);
/* Another configuration. In two steps, so that nothing changes where something is wrong; on the thread
 * that has made auth, at a time with everything else. Methods of which nothing differs stay, with
 * what is remembered of them; the others are made anew, and what they have verified is not believed any
 * more. Checks under way end by the method that they began with. */
struct auth_change;
/* differs: config_differs. NULL with error, one sentence. */
struct auth_change *auth_change_make(struct auth *a, const struct config *c,
                                     bool (*differs)(const struct config *a,
                                                     const struct config *b, const char *prefix),
                                     char *error, size_t error_cap);
/* Taken over. */
void auth_change_use(struct auth *a, struct auth_change *change);
/* Of one that was not used. NULL is accepted. */
void auth_change_drop(struct auth_change *change);
/* Methods that nobody uses any more are closed, which may block. On the same thread, now and then. */
void auth_reap(struct auth *a);
/* true: the verdict is there (cache, or nothing to check). false: done will be called, also for a
 * delayed 401. The password is copied and wiped; authorization may go when it returns. */
bool auth_start(struct auth *a, struct auth_check *q);
/* A later answer says that it does not hold any more (an upstream's 401): the credential is forgotten,
 * and verified anew when it comes again. Any thread. */
void auth_forget(struct auth *a, const char *authorization);
/* Does it name that user, as far as can be seen without verifying it? */
bool auth_is_of(struct auth *a, const char *authorization, const char *user);
/* Kinds of credentials that are taken, 1u << enum auth_kind or'ed: what a 401 may ask for. */
unsigned auth_kinds(struct auth *a);
/* Read files again (SIGHUP); what was cached of users whose hash changed is worth nothing
 * afterwards. */
bool auth_reload(struct auth *a, char *error, size_t error_cap);

/* Administration of the users file: written anew atomically (fsync, rename), comments and further
 * fields kept. They block: call from a pool. */
enum auth_edit {
    AUTH_EDIT_OK,
    AUTH_EDIT_EXISTS,
    AUTH_EDIT_UNKNOWN,
    AUTH_EDIT_BAD_NAME,
    AUTH_EDIT_BAD_PASSWORD,
    AUTH_EDIT_NO_FILE, /* users are kept elsewhere: auth.method is without file */
    AUTH_EDIT_FAILED
};
enum auth_edit auth_user_add(struct auth *a, const char *user, const char *password);
enum auth_edit auth_user_passwd(struct auth *a, const char *user, const char *password);
enum auth_edit auth_user_remove(struct auth *a, const char *user);
/* Calls each with names, sorted, behind `after` (NULL: from the start) and at most so many. */
enum auth_edit auth_user_each(struct auth *a, const char *after, size_t most,
                              void (*each)(void *ctx, const char *user), void *ctx);
/* The name that somebody has after a login, from what an administrator typed. false: nobody can have
 * it. Where a method beside the users file is configured any name that can be one is taken: who its
 * users are is not known here. */
bool auth_user_name(struct auth *a, const char *typed, char user_out[AUTH_USER_MAX]);

#endif

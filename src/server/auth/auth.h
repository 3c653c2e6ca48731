/* Who is it? Users file with crypt(3) hashes, verified on threads of its own, results cached under
 * a keyed hash. */
#ifndef PROVOSTD_AUTH_H
#define PROVOSTD_AUTH_H

#include <stdbool.h>
#include <stddef.h>

#include "src/server/config.h"
#include "src/server/http/worker.h"

struct auth;

enum auth_verdict {
    AUTH_OK,
    AUTH_BAD,   /* 401 */
    AUTH_LATER, /* 503 with Retry-After: too many failures, or the queue is full */
    AUTH_FAILED /* 503: it cannot be verified now */
};

#define AUTH_USER_MAX 128 /* bytes of a user's name, terminator included */

/* One question. Embed it in the state of the request; it must live until done. */
struct auth_check {
    const char *authorization; /* field value; NULL: AUTH_BAD */
    const char *peer;          /* address, for slowing down */
    /* On the asking worker; not called when auth_start answers at once. */
    void (*done)(struct auth_check *);
    enum auth_verdict verdict;
    unsigned retry_after; /* seconds, with AUTH_LATER */
    /* With AUTH_OK the canonical name (as in the users file), else as tried, for the log. */
    char user[AUTH_USER_MAX];
    void *priv;
};

struct auth *auth_create(const struct config *c, char *error, size_t error_cap);
void auth_destroy(struct auth *a);
/* true: the verdict is there (cache, or nothing to check). false: done will be called, also for a
 * delayed 401. The password is copied and wiped; authorization may go when it returns. */
bool auth_start(struct auth *a, struct auth_check *q);
/* Read the users file again (SIGHUP, or when its time stamp changed); what was cached of users
 * whose hash changed is worth nothing afterwards. */
bool auth_reload(struct auth *a, char *error, size_t error_cap);

/* Administration of the users file: written anew atomically (fsync, rename), comments and further
 * fields kept. They block: call from a pool. */
enum auth_edit {
    AUTH_EDIT_OK,
    AUTH_EDIT_EXISTS,
    AUTH_EDIT_UNKNOWN,
    AUTH_EDIT_BAD_NAME,
    AUTH_EDIT_BAD_PASSWORD,
    AUTH_EDIT_FAILED
};
enum auth_edit auth_user_add(struct auth *a, const char *user, const char *password);
enum auth_edit auth_user_passwd(struct auth *a, const char *user, const char *password);
enum auth_edit auth_user_remove(struct auth *a, const char *user);
/* Calls each with every name, sorted. */
void auth_user_each(struct auth *a, void (*each)(void *ctx, const char *user), void *ctx);
bool auth_user_exists(struct auth *a, const char *user);

#endif

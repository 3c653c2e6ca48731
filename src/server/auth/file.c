#include "src/server/auth/file.h"

#include <crypt.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <gnutls/gnutls.h>

#include "src/server/auth/blocking.h"
#include "src/server/observe/log.h"

#define LOOK_EVERY_S 2 /* at the users file's time stamp */

_Static_assert(USERS_HASH_MAX <= AUTH_BOUND_MAX, "a hash is what a verdict hangs on");

struct file {
    struct blocking blocking;
    struct users *users;
    char domain[256];
    _Atomic int64_t look_at;
    struct job look;
    bool bad; /* told once; only touched by the look job, of which there is one at a time */
    atomic_bool looking;
};

static struct file *file_of(struct auth_method *m)
{
    return CONTAINER_OF(m, struct file, blocking.method);
}

/* ---- changes of the file ---- */

static void look_run(struct job *j)
{
    struct file *f = CONTAINER_OF(j, struct file, look);
    char error[256];
    if (users_stale(f->users)) {
        bool ok = users_reload(f->users, error, sizeof error);
        if (ok)
            LOG(LOG_INFO, 0, "users-file-read", KV_TEXT("why", "it changed"));
        else if (!f->bad)
            LOG(LOG_ERROR, 0, "users-file-not-read", KV_TEXT("error", error),
                KV_TEXT("then", "the users read before stay"));
        f->bad = !ok;
    }
    atomic_store(&f->looking, false);
}

/* Users edited by hand count within seconds; reading the file is not the business of a worker. */
static void look_at_file(struct file *f)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    int64_t due = atomic_load_explicit(&f->look_at, memory_order_relaxed);
    if (t.tv_sec < due ||
        !atomic_compare_exchange_strong(&f->look_at, &due, t.tv_sec + LOOK_EVERY_S) ||
        atomic_exchange(&f->looking, true))
        return;
    f->look.run = look_run;
    if (!pool_submit(f->blocking.pool, &f->look)) atomic_store(&f->looking, false);
}

static bool reload(struct auth_method *m, char *error, size_t error_cap)
{
    return users_reload(file_of(m)->users, error, error_cap);
}

/* ---- logins ---- */

/* The first of the names that stands in the file, and its hash. */
static void identify(struct auth_method *m, struct auth_try *t)
{
    struct file *f = file_of(m);
    char names[LOGIN_NAMES_MAX][AUTH_USER_MAX];
    look_at_file(f);
    size_t count = login_names(t->login.name, f->domain, names);
    for (size_t i = 0; i < count; i++) {
        if (!users_find(f->users, names[i], t->bound)) continue;
        memcpy(t->user, names[i], sizeof t->user);
        return;
    }
    snprintf(t->user, sizeof t->user, "%s", t->login.name);
}

/* crypt does not tell a hash that it does not know from memory that it did not get (yescrypt wants
 * megabytes). Neither a locked field nor an empty one is a hash. */
static bool is_hash(const char *hash)
{
    int salt = crypt_checksalt(hash);
    return salt != CRYPT_SALT_INVALID && salt != CRYPT_SALT_METHOD_DISABLED;
}

static enum auth_verdict verify_hash(const char *password, const char *hash, bool user_known)
{
    struct crypt_data *data = calloc(1, sizeof *data);
    if (!data) return AUTH_FAILED;
    const char *made = crypt_r(password, hash, data);
    size_t len = made ? strlen(made) : 0;
    /* A failure of crypt begins with '*', which no usable hash does. */
    bool failed = len == 0 || *made == '*';
    bool good =
        user_known && !failed && len > 2 && len == strlen(hash) && !gnutls_memcmp(made, hash, len);
    explicit_bzero(data, sizeof *data);
    free(data);
    if (failed && is_hash(hash)) return AUTH_FAILED;
    return good ? AUTH_OK : AUTH_BAD;
}

static void ask(struct blocking *b, struct auth_try *t)
{
    struct file *f = CONTAINER_OF(b, struct file, blocking);
    char hash[USERS_HASH_MAX];
    bool known = *t->bound;
    if (known)
        snprintf(hash, sizeof hash, "%s", t->bound);
    else if (!users_any_hash(f->users, hash))
        /* Nobody stands in the file: there is no time to hide. */
        snprintf(hash, sizeof hash, "*");
    t->verdict = verify_hash(t->login.password, hash, known);
    if (t->verdict == AUTH_FAILED)
        snprintf(t->why, sizeof t->why, "out of memory, or a damaged hash in the users file");
}

/* ---- the method ---- */

static void file_close(struct auth_method *m)
{
    struct file *f = file_of(m);
    blocking_stop(&f->blocking);
    users_close(f->users);
    free(f);
}

struct auth_method *file_method(const struct config *c, char *error, size_t error_cap)
{
    static const struct auth_method_ops ops = {.name = "file",
                                               .kinds = 1u << AUTH_PASSWORD,
                                               .identify = identify,
                                               .renews = true,
                                               .verify = blocking_verify,
                                               .reload = reload,
                                               .close = file_close};
    struct file *f = calloc(1, sizeof *f);
    if (!f) {
        snprintf(error, error_cap, "out of memory");
        return NULL;
    }
    f->blocking = (struct blocking){.method.ops = &ops, .ask = ask};
    snprintf(f->domain, sizeof f->domain, "%s", c->domain ? c->domain : "");
    f->users = users_open(c->auth.file, error, error_cap);
    if (f->users && blocking_start(&f->blocking, c->auth.threads)) return &f->blocking.method;
    if (f->users) snprintf(error, error_cap, "no memory or threads for verifying passwords");
    file_close(&f->blocking.method);
    return NULL;
}

struct users *file_users(struct auth_method *m)
{
    return file_of(m)->users;
}

enum auth_edit file_set_password(struct auth_method *m, const char *user, const char *password,
                                 bool must_exist)
{
    size_t len = strlen(password);
    if (!users_name_ok(user)) return AUTH_EDIT_BAD_NAME;
    if (len == 0 || len >= LOGIN_PASSWORD_MAX) return AUTH_EDIT_BAD_PASSWORD;
    enum auth_edit result = AUTH_EDIT_FAILED;
    struct crypt_data *data = calloc(1, sizeof *data);
    char *salt =
        crypt_gensalt_ra(NULL, 0, NULL, 0); /* the method that the system prefers: yescrypt */
    const char *hash = data && salt ? crypt_r(password, salt, data) : NULL;
    if (hash && *hash != '*') result = users_edit(file_users(m), user, hash, must_exist);
    if (data) explicit_bzero(data, sizeof *data);
    free(data);
    free(salt);
    return result;
}

/* The methods of one configuration: made, shared by those that follow each other, swapped while checks are
 * under way, closed when nobody uses them any more. And what administration asks of them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/server/auth/auth_inner.h"
#include "src/server/auth/file.h"
#include "src/server/auth/login.h"

/* ---- sets ---- */

struct set *auth_set_hold(struct auth *a)
{
    pthread_mutex_lock(&a->lock);
    struct set *s = a->set;
    atomic_fetch_add(&s->holders, 1);
    pthread_mutex_unlock(&a->lock);
    return s;
}

void auth_set_drop(struct auth *a, struct set *s)
{
    if (atomic_fetch_sub(&s->holders, 1) > 1) return;
    pthread_mutex_lock(&a->lock);
    s->next = a->over;
    a->over = s;
    pthread_mutex_unlock(&a->lock);
}

void auth_method_close(struct used *u)
{
    if (u->m && u->m->ops->close) u->m->ops->close(u->m);
    u->m = NULL;
}

static void free_set(struct set *s)
{
    for (size_t i = 0; i < s->count; i++) {
        struct used *u = s->methods[i];
        if (--u->sets > 0) continue;
        auth_method_close(u);
        free(u);
    }
    free(s);
}

/* ---- the methods ---- */

/* What a method of that name goes by, beside keys that begin with its name. */
static const char *const common_keys[] = {"domain",       "auth.case_sensitive", "auth.threads",
                                          "auth.timeout", "auth.helper",         "auth.file"};

/* The one that is there, if nothing that concerns it has changed. */
static struct used *find_again(const struct making *k, const char *name)
{
    char prefix[64];
    struct used *u = NULL;
    for (size_t i = 0; k->before && i < k->before->count && !u; i++)
        if (strcmp(k->before->methods[i]->m->ops->name, name) == 0) u = k->before->methods[i];
    if (!u) return NULL;
    snprintf(prefix, sizeof prefix, "auth.%s.", name);
    bool same = !k->differs(k->before->config, k->c, prefix);
    for (size_t i = 0; i < sizeof common_keys / sizeof *common_keys && same; i++)
        same = !k->differs(k->before->config, k->c, common_keys[i]);
    return same ? u : NULL;
}

static struct used *make_method(const struct making *k, const char *name)
{
    struct auth_method *m = NULL;
    for (size_t i = 0; k->auth->made[i] && !m; i++)
        if (strcmp(k->auth->made[i]->ops->name, name) == 0) m = k->auth->made[i];
    struct used *u = calloc(1, sizeof *u);
    if (!u) {
        snprintf(k->error, k->error_cap, "out of memory");
        return NULL;
    }
    if (!m && !(m = auth_method_make(name, k->c, k->error, k->error_cap))) {
        if (k->error_cap && !*k->error)
            snprintf(k->error, k->error_cap, "auth.method \"%s\" has nothing to verify with", name);
        free(u);
        return NULL;
    }
    *u = (struct used){.m = m, .generation = ++k->auth->generations};
    return u;
}

static bool add_method(const struct making *k, struct set *s, const char *name)
{
    struct used *u = find_again(k, name);
    if (!u) u = make_method(k, name);
    if (!u) return false;
    u->sets++;
    s->methods[s->count++] = u;
    if (strcmp(name, "file") == 0) s->file = u->m;
    return true;
}

static bool add_methods(const struct making *k, struct set *s)
{
    unsigned kinds = 0;
    const struct config_names *names = &k->c->auth.method;
    for (size_t i = 0; i < names->count; i++) {
        if (s->count == METHODS_MAX) {
            snprintf(k->error, k->error_cap, "auth.method has more than %d methods", METHODS_MAX);
            return false;
        }
        if (!add_method(k, s, names->name[i])) return false;
        unsigned more = s->methods[i]->m->ops->kinds;
        if (!(more & ~kinds)) {
            snprintf(k->error, k->error_cap,
                     "auth.method \"%s\" would never be asked: one before it takes the same logins",
                     names->name[i]);
            return false;
        }
        kinds |= more;
    }
    return true;
}

struct set *auth_set_make(const struct making *k)
{
    struct set *s = calloc(1, sizeof *s);
    if (!s) {
        snprintf(k->error, k->error_cap, "out of memory");
        return NULL;
    }
    s->holders = 1;
    s->config = k->c;
    snprintf(s->domain, sizeof s->domain, "%s", k->c->domain ? k->c->domain : "");
    s->case_sensitive = k->c->auth.case_sensitive;
    if (add_methods(k, s)) return s;
    free_set(s);
    return NULL;
}

/* ---- another configuration ---- */

struct auth_change {
    struct set *set;
};

struct auth_change *auth_change_make(struct auth *a, const struct config *c,
                                     bool (*differs)(const struct config *a, const struct config *b,
                                                     const char *prefix),
                                     char *error, size_t error_cap)
{
    const struct making k = {.auth = a,
                             .before = a->set,
                             .c = c,
                             .differs = differs,
                             .error = error,
                             .error_cap = error_cap};
    struct auth_change *change = malloc(sizeof *change);
    if (change && (change->set = auth_set_make(&k))) return change;
    if (!change) snprintf(error, error_cap, "out of memory");
    free(change);
    return NULL;
}

void auth_change_use(struct auth *a, struct auth_change *change)
{
    pthread_mutex_lock(&a->lock);
    struct set *before = a->set;
    a->set = change->set;
    pthread_mutex_unlock(&a->lock);
    cache_set_fresh(a->cache, change->set->config->auth.cache_seconds * UINT64_C(1000));
    auth_set_drop(a, before);
    free(change);
}

void auth_change_drop(struct auth_change *change)
{
    if (!change) return;
    free_set(change->set);
    free(change);
}

void auth_reap(struct auth *a)
{
    pthread_mutex_lock(&a->lock);
    struct set *s = a->over, *next;
    a->over = NULL;
    pthread_mutex_unlock(&a->lock);
    for (; s; s = next) {
        next = s->next;
        free_set(s);
    }
}

unsigned auth_kinds(struct auth *a)
{
    unsigned kinds = 0;
    struct set *s = auth_set_hold(a);
    for (size_t i = 0; i < s->count; i++) kinds |= s->methods[i]->m->ops->kinds;
    auth_set_drop(a, s);
    return kinds;
}

bool auth_reload(struct auth *a, char *error, size_t error_cap)
{
    bool ok = true;
    for (size_t i = 0; i < a->set->count && ok; i++) {
        struct auth_method *m = a->set->methods[i]->m;
        if (m->ops->reload) ok = m->ops->reload(m, error, error_cap);
    }
    return ok;
}

/* ---- administration ---- */

enum auth_edit auth_user_add(struct auth *a, const char *user, const char *password)
{
    struct set *s = auth_set_hold(a);
    enum auth_edit result =
        s->file ? file_set_password(s->file, user, password, false) : AUTH_EDIT_NO_FILE;
    auth_set_drop(a, s);
    return result;
}

enum auth_edit auth_user_passwd(struct auth *a, const char *user, const char *password)
{
    struct set *s = auth_set_hold(a);
    enum auth_edit result =
        s->file ? file_set_password(s->file, user, password, true) : AUTH_EDIT_NO_FILE;
    auth_set_drop(a, s);
    return result;
}

enum auth_edit auth_user_remove(struct auth *a, const char *user)
{
    struct set *s = auth_set_hold(a);
    enum auth_edit result =
        s->file ? users_edit(file_users(s->file), user, NULL, true) : AUTH_EDIT_NO_FILE;
    auth_set_drop(a, s);
    return result;
}

enum auth_edit auth_user_each(struct auth *a, const char *after, size_t most,
                              void (*each)(void *ctx, const char *user), void *ctx)
{
    struct set *s = auth_set_hold(a);
    if (s->file) users_each(file_users(s->file), after, most, each, ctx);
    enum auth_edit result = s->file ? AUTH_EDIT_OK : AUTH_EDIT_NO_FILE;
    auth_set_drop(a, s);
    return result;
}

static bool user_name(const struct set *s, const char *typed, char user_out[AUTH_USER_MAX])
{
    if (s->file && users_find(file_users(s->file), typed, NULL)) {
        snprintf(user_out, AUTH_USER_MAX, "%s", typed);
        return true;
    }
    if (s->file && s->count == 1) return false;
    return login_canonical(typed, s->domain, s->case_sensitive, user_out);
}

bool auth_user_name(struct auth *a, const char *typed, char user_out[AUTH_USER_MAX])
{
    struct set *s = auth_set_hold(a);
    bool known = user_name(s, typed, user_out);
    auth_set_drop(a, s);
    return known;
}

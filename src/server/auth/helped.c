#include "src/server/auth/helped.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/server/auth/blocking.h"
#include "src/server/auth/helpers.h"
#include "src/server/auth/libexec.h"

#define PROGRAM "provost-auth"

struct helped {
    struct blocking blocking;
    struct helpers *helpers;
};

static struct helped *helped_of(struct auth_method *m)
{
    return CONTAINER_OF(m, struct helped, blocking.method);
}

static void ask(struct blocking *b, struct auth_try *t)
{
    helpers_ask(CONTAINER_OF(b, struct helped, blocking)->helpers, t);
}

static bool reload(struct auth_method *m, char *error, size_t error_cap)
{
    (void)error, (void)error_cap;
    helpers_renew(helped_of(m)->helpers);
    return true;
}

static void helped_close(struct auth_method *m)
{
    struct helped *h = helped_of(m);
    blocking_stop(&h->blocking);
    helpers_destroy(h->helpers);
    free(h);
}

/* Beside this program in the folder where both were built; else where it is installed. */
static const char *find_program(const struct config *c, char path[PATH_MAX])
{
    if (c->auth.helper) return c->auth.helper;
    ssize_t len = readlink("/proc/self/exe", path, PATH_MAX - sizeof PROGRAM);
    while (len > 0 && path[len - 1] != '/') len--;
    if (len > 0) {
        memcpy(path + len, PROGRAM, sizeof PROGRAM);
        if (access(path, X_OK) == 0) return path;
    }
    return PROVOST_LIBEXEC "/" PROGRAM;
}

static struct auth_method *make(const struct auth_method_ops *ops, const struct config *c,
                                struct message settings, char *error, size_t error_cap)
{
    char path[PATH_MAX];
    struct helpers_setup setup = {.program = find_program(c, path),
                                  .method = ops->name,
                                  .count = c->auth.threads,
                                  .timeout_ms = c->auth.timeout * 1000,
                                  .settings = settings};
    struct helped *h = calloc(1, sizeof *h);
    if (!h) {
        snprintf(error, error_cap, "out of memory");
        return NULL;
    }
    h->blocking = (struct blocking){.method.ops = ops, .patience_ms = setup.timeout_ms, .ask = ask};
    h->helpers = helpers_create(&setup, error, error_cap);
    if (h->helpers && blocking_start(&h->blocking, setup.count)) return &h->blocking.method;
    if (h->helpers) snprintf(error, error_cap, "no memory or threads for verifying passwords");
    helped_close(&h->blocking.method);
    return NULL;
}

static void set(struct message *m, const char *name, const char *value)
{
    if (!value || !*value) return;
    m->text[m->count++] = name;
    m->text[m->count++] = value;
}

/* It says itself that a server is slow, a little before it would be killed for it. */
static void set_common(struct message *m, const char *way, const struct config *c, char timeout[16])
{
    *m = (struct message){.kind = MESSAGE_SETTINGS};
    snprintf(timeout, 16, "%u", c->auth.timeout * 900);
    set(m, "way", way);
    set(m, "timeout_ms", timeout);
    set(m, "domain", c->domain);
}

struct auth_method *ldap_method(const struct config *c, char *error, size_t error_cap)
{
    static const struct auth_method_ops ops = {.name = "ldap",
                                               .kinds = 1u << AUTH_PASSWORD,
                                               .tells_name = true,
                                               .verify = blocking_verify,
                                               .reload = reload,
                                               .close = helped_close};
    struct message m;
    char timeout[16];
    set_common(&m, ops.name, c, timeout);
    set(&m, "url", c->auth.ldap.url);
    set(&m, "ca_file", c->auth.ldap.ca_file);
    set(&m, "user_dn", c->auth.ldap.user_dn);
    set(&m, "bind_dn", c->auth.ldap.bind_dn);
    set(&m, "bind_password_file", c->auth.ldap.bind_password_file);
    set(&m, "base", c->auth.ldap.base);
    set(&m, "filter", c->auth.ldap.filter);
    set(&m, "name", c->auth.ldap.name);
    return make(&ops, c, m, error, error_cap);
}

struct auth_method *pam_method(const struct config *c, char *error, size_t error_cap)
{
    static const struct auth_method_ops ops = {.name = "pam",
                                               .kinds = 1u << AUTH_PASSWORD,
                                               .verify = blocking_verify,
                                               .reload = reload,
                                               .close = helped_close};
    struct message m;
    char timeout[16];
    set_common(&m, ops.name, c, timeout);
    set(&m, "service", c->auth.pam.service);
    return make(&ops, c, m, error, error_cap);
}

/* Configuration: libconfig files, checked against the table of keys (data/config.tsv), every error
 * with file and line.
 *
 * A configuration never changes. When it is read again, another one takes its place: whoever has been
 * given one asks config_now for the newest, each time, and so sees all of a change or nothing of it.
 * Those that were in force stay until the end, since connections, logins and threads may still go
 * by them; so many changes as CONFIG_CHANGES_MAX are kept, some 15 KiB each. Groups may be large,
 * and go with the last book of policies that has them. */
#ifndef PROVOSTD_CONFIG_H
#define PROVOSTD_CONFIG_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

#define CONFIG_LIST_MAX 64
#define CONFIG_CHANGES_MAX 1000

struct config_names { const char *name[CONFIG_LIST_MAX]; size_t count; };
/* Groups of users, in the order of the file. */
struct config_group { const char *name; const char **user; size_t count; };
struct config_block { atomic_uint holders; };
struct config_groups { struct config_group *group; size_t count;
                       struct config_block *block; }; /* that all of it is in; NULL: it stays */

/* Servers by the domain of users, in the order of the file. */
struct config_domain { const char *domain, *url; };
struct config_domains { struct config_domain *at; size_t count; };

struct config;
struct config_private;
/* Private: all configurations of one server. */
struct config_line { _Atomic(const struct config *) now;
                     pthread_mutex_t lock; /* newest, and its groups */
                     struct config *newest; size_t changes; };

/* All strings live as long as the config. */
struct config {
    struct config_line *line;                  /* NULL: it stands alone */
    struct config_private *priv;
    const char *file;
    struct config_names listen, proxies;
    const char *url;                           /* public, as public_url.h has it; NULL: none */
    const char *tls_certificate, *tls_key;     /* NULL: plain */
    const char *tls_client_ca;                 /* NULL: clients are asked for no certificate */
    const char *tls_client_crl;                /* NULL: none is revoked */
    const char *state;                         /* directory */
    const char *store;                         /* "sqlite", or a URI of PostgreSQL */
    unsigned store_lease, store_connections;   /* seconds; connections for reading */
    const char *node;                          /* NULL: the name of the host */
    unsigned partnerships_in_memory;
    unsigned prune_after;                      /* days; 0: never */
    const char *domain;                        /* "" if none */
    unsigned workers;                          /* 0: one per core */
    const char *log_level;
    size_t body_max;                           /* bytes */
    unsigned head_timeout, body_timeout, idle_timeout; /* seconds */
    unsigned drain_timeout;                    /* seconds */
    unsigned connections_max;
    struct { struct config_names method;       /* never empty */
             const char *file; unsigned cache_seconds, threads, timeout; bool case_sensitive;
             const char *helper;               /* NULL: the one that is installed */
             struct { const char *url, *ca_file, *user; } imap;
             struct { const char *url, *ca_file, *user_dn, *bind_dn, *bind_password_file, *base,
                                 *filter, *name; } ldap; /* NULL where nothing is set */
             struct { const char *service; } pam;
             struct { const char *name; } certificate;
             struct { const char *issuer, *keys, *ca_file, *claim, *scope, *authorization_url;
                      struct config_names audience, algorithms; unsigned leeway; } oauth; } auth;
    struct { const char *type, *path;          /* %u user, %n name without domain, %d domain */
             const char *url, *ca_file, *user; /* of imap; user as path */
             bool subscribed;
             unsigned connections, poll_interval, timeout; /* seconds */
             struct config_names drafts, trash, sent, outbox, calendar, contacts, tasks, notes,
                                 journal; } mailbox;
    struct { unsigned heartbeat_min, heartbeat_max, folders_max; } ping; /* seconds */
    struct {
        const char *socket;
        struct config_names listen;            /* over TLS only */
        const char *certificate, *key;         /* NULL only where listen is empty */
    } admin;
    struct { size_t rotate_size; unsigned keep; } audit;
    struct { const char *program, *url;        /* NULL: nobody is told */
             struct config_names events; unsigned timeout; } notify; /* seconds */
    struct { const char *path; } forward_auth; /* NULL: there is none */
    struct {
        const char *url;                       /* NULL: only the domains have one */
        struct config_domains domains;
        const char *ca_file, *certificate, *key, *user_field; /* NULL: none */
        unsigned connections;
        unsigned connect_timeout, timeout, stall_timeout, health_interval; /* seconds */
        size_t body_max;
        struct {
            const char *mode;
            unsigned slots, heartbeat, interval; /* seconds */
            struct { const char *url, *ca_file, *user; unsigned connections; } imap; /* url NULL: none */
        } ping;
    } upstream;
    bool require_device_information;
    bool damping;
    unsigned devices_per_user;                 /* 0: no limit */
    const char *protocol_version_min, *protocol_version_max;
    struct { const char *subject, *text; } quarantine; /* %u user, %d device id, %t device type */
    struct config_groups groups;
};

/* The one that is in force now, in place of c or c itself. Any thread. It is as good as forever, but
 * what is to follow a change asks each time. */
static inline const struct config *config_now(const struct config *c)
{
    return c->line ? atomic_load_explicit(&c->line->now, memory_order_acquire) : c;
}

static inline void config_groups_hold(const struct config_groups *g)
{
    if (g->block) atomic_fetch_add(&g->block->holders, 1);
}
static inline void config_groups_release(const struct config_groups *g)
{
    if (g->block && atomic_fetch_sub(&g->block->holders, 1) == 1) free(g->block);
}
/* The groups that are in force now, held. Nothing else of a configuration that config_now may have
 * given must be asked for its groups. */
static inline struct config_groups config_groups_now(const struct config *c)
{
    if (c->line) pthread_mutex_lock(&c->line->lock);
    const struct config_groups g = c->line ? c->line->newest->groups : c->groups;
    config_groups_hold(&g);
    if (c->line) pthread_mutex_unlock(&c->line->lock);
    return g;
}

/* Does it stand before other servers, instead of having a mailbox? */
static inline bool config_is_gateway(const struct config *c)
{
    return c->upstream.url || c->upstream.domains.count > 0;
}

/* Read and check. NULL on failure: error has a line "FILE:LINE: what is wrong; what is allowed" for
 * each mistake, as many as there is room for. */
struct config *config_load(const char *path, char *error, size_t error_cap);
/* With all that took its place. */
void config_free(struct config *c);

/* ---- reading it again ---- */
#define CONFIG_TEXT_MAX 512
/* Names of keys: "listen, node"; "": none, "..." at the end: there is no room for more. */
struct config_text { char text[CONFIG_TEXT_MAX]; size_t len; };

/* The file that c was made of, as it is now. Keys that take a restart have the values of c, and waiting
 * names those for which the file has another. NULL: as config_load; c stays. Not in force yet: put it
 * in force or drop it. */
struct config *config_reload(const struct config *c, struct config_text *waiting, char *error,
                             size_t error_cap);
void config_drop(struct config *fresh);
/* From now on config_now gives it. Owned by those before it. */
void config_put_in_force(struct config *fresh);
/* The file says just the same: only that it was read is remembered. fresh is gone. */
void config_confirm(const struct config *c, struct config *fresh);
/* Does one of the keys that begin so differ? "auth.": any of them; "": any at all. */
bool config_differs(const struct config *a, const struct config *b, const char *prefix);
void config_changes(const struct config *a, const struct config *b, struct config_text *out);
/* Has one of the files been changed since c was read, or confirmed last? Blocks. On the thread that
 * reloads, or while it does not. */
bool config_is_outdated(const struct config *c);

#endif

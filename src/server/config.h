/* Configuration: libconfig files, checked against the table of keys (data/config.tsv), every error
 * with file and line. */
#ifndef PROVOSTD_CONFIG_H
#define PROVOSTD_CONFIG_H

#include <stdbool.h>
#include <stddef.h>

#define CONFIG_LIST_MAX 64

struct config_names { const char *name[CONFIG_LIST_MAX]; size_t count; };
/* Groups of users, in the order of the file. */
struct config_group { const char *name; const char **user; size_t count; };
struct config_groups { struct config_group *group; size_t count; };

/* Servers by the domain of users, in the order of the file. */
struct config_domain { const char *domain, *url; };
struct config_domains { struct config_domain *at; size_t count; };

/* All strings live as long as the config. */
struct config {
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
    void *priv;
};

/* Does it stand before other servers, instead of having a mailbox? */
static inline bool config_is_gateway(const struct config *c)
{
    return c->upstream.url || c->upstream.domains.count > 0;
}

/* Read and check. NULL on failure: error has a line "FILE:LINE: what is wrong; what is allowed" for
 * each mistake, as many as there is room for. */
struct config *config_load(const char *path, char *error, size_t error_cap);
void config_free(struct config *c);

#endif

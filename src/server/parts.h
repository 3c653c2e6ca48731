/* The parts of a running server, in the order in which they are started. */
#ifndef PROVOSTD_PARTS_H
#define PROVOSTD_PARTS_H

#include <jansson.h>
#include <pthread.h>
#include <stdint.h>

#include "src/server/config.h"
#include "src/server/http/http.h"
#include "src/server/observe/log.h"
#include "src/server/router.h"
#include "src/server/service.h"

#define LISTENS_MAX (2 * CONFIG_LIST_MAX + 1)
#define ERROR_MAX 8192

/* What was read, for `provost status`. */
struct reading_state {
    pthread_mutex_t lock; /* the rest, and the marks of the configuration's files */
    int64_t at;           /* seconds since 1970 */
    struct config_text waiting; /* keys that take a restart and have another value in the file */
    bool refused;         /* what the file says now was not taken */
};

struct server {
    struct config *config; /* the newest */
    struct store *store;
    struct audit_mover *audit;
    struct notify *notify;
    struct auth *auth;
    struct gate *gate;
    struct upstreams *upstreams; /* of a gateway; else NULL, as the next */
    struct gateway *gateway;
    struct pings *pings;     /* NULL: they are passed on as everything else */
    struct mailbox *mailbox; /* NULL in a gateway */
    struct commands *commands;
    struct admin *admin;
    struct router router; /* of the devices' listeners */
    struct http_server *http;
    struct service_sockets sockets; /* that were handed over */
    const char *stuck;              /* the thread that was told of; NULL: all go on */
    struct reading_state reading;
};

/* main.c: devices' listeners, then those of the administration: the socket, and HTTPS. proxies: room for
 * what they borrow. */
size_t make_listens(struct server *s, const struct config *c,
                    const char *proxies[CONFIG_LIST_MAX + 1],
                    struct http_listen listens[LISTENS_MAX]);
enum log_level level_of(const char *name);

/* reload.c */
void reload_init(struct server *s);
/* SIGHUP: all of it, or nothing; the log tells. */
void reload(struct server *s);
/* Now and then: what could not be done at once. */
void reload_look_after(struct server *s);
/* Adds "configuration" to a status. Any thread. false: no memory. */
bool reload_status(struct server *s, json_t *status);
void reload_finish(struct server *s);

#endif

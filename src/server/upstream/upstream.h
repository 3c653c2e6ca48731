/* The servers that a gateway stands before: which one a user belongs to, how it is, and what is said
 * to it on behalf of a device. */
#ifndef PROVOSTD_UPSTREAM_H
#define PROVOSTD_UPSTREAM_H

#include <jansson.h>

#include "src/server/auth/method.h"
#include "src/server/config.h"
#include "src/server/gate/gate.h"
#include "src/server/upstream/fetch.h"

struct upstreams;
struct upstream;

/* NULL with error: one sentence. */
struct upstreams *upstreams_create(const struct config *c, char *error, size_t error_cap);
/* What the store holds of where users are; before serving. false: it cannot be read. */
bool upstreams_load(struct upstreams *u, struct store *s, char *error, size_t error_cap);
/* Can they be spoken to by another configuration? false: error, one sentence. */
bool upstreams_check(const struct config *c, char *error, size_t error_cap);
/* Other connections and certificates from now on, for requests that begin. On the thread that made them.
 * false: no memory. */
bool upstreams_reconfigure(struct upstreams *u);
/* What other servers learn of it. After that, before serving; u lives as long as the gate. false: error is
 * set. */
bool upstreams_follow(struct upstreams *u, struct gate *g, char *error, size_t error_cap);
void upstreams_destroy(struct upstreams *u); /* after the workers have ended; NULL is accepted */
/* Health is asked for on this worker from now on. */
void upstreams_begin(struct upstreams *u, struct worker *w);
/* By the domain of the user's name, or the configured one if it has none; NULL: there is none for
 * him. */
struct upstream *upstream_of(struct upstreams *u, const char *user);
/* They are numbered, as in upstreams_status. */
size_t upstreams_count(const struct upstreams *u);
size_t upstream_index(const struct upstream *u);
/* Where ActiveSync is there. Lives as long as the upstreams. */
const char *upstream_url(const struct upstream *u);
/* It does not answer: seconds until it is looked at again, at least 1; 0: as far as is known, it
 * does. Any thread. */
unsigned upstream_down(const struct upstream *u);
/* For `provost status`: an array with an object for each upstream. NULL: no memory. Any thread. */
json_t *upstreams_status(struct upstreams *u);

/* Logins verified by a request to the user's upstream (auth.method "upstream"). Lives as long as the
 * upstreams. */
struct auth_method *upstreams_auth(struct upstreams *u);

/* ---- the gateway: commands and OPTIONS of the gate, by the upstream ---- */
struct demands;
struct gateway;
struct gateway *gateway_create(struct gate *g, struct upstreams *u, const struct config *c,
                               char *error, size_t error_cap);
/* Of the upstreams; lives as long as the gateway. */
struct demands *gateway_demands(struct gateway *w);
void gateway_destroy(struct gateway *w); /* after the workers have ended; NULL is accepted */

/* ---- one request on behalf of a device, whose answer is short ---- */
#define UPSTREAM_ANSWER_MAX ((size_t)256 * 1024)
struct upstream_ask {
    enum pv_cmd cmd;
    enum pv_version version;
    const char *user;                  /* canonical: chooses the upstream */
    const char *said_user;             /* User= as the device sends it */
    const char *device_id, *device_type, *agent; /* agent may be NULL */
    const char *authorization;         /* NULL: none */
    uint32_t key;                      /* policy key of the upstream, 0: none */
    const void *body;                  /* WBXML; borrowed until done */
    size_t len;
    unsigned head_ms;                  /* 0: the configured upstream.timeout */
};
struct upstream_asked {                /* embed; fetch.status, .body, .len and fetch_field in done */
    struct fetch fetch;
    void (*done)(struct upstream_asked *a, enum fetch_result result);
    struct upstream *upstream;         /* private, as the next two */
    bool elsewhere;
    char user[AUTH_USER_MAX];
};
/* As fetch_start, all but upstream_ask's strings borrowed for the call; the upstream's health and
 * figures take note. false: no memory, or no upstream. */
bool upstream_ask(struct upstreams *u, struct upstream_asked *a, const struct upstream_ask *ask);
void upstream_cancel(struct upstream_asked *a);

#endif

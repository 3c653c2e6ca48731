/* What the files of the gateway share. */
#ifndef PROVOSTD_UPSTREAM_INNER_H
#define PROVOSTD_UPSTREAM_INNER_H

#include <pthread.h>
#include <stdatomic.h>

#include "src/server/public_url.h"
#include "src/server/upstream/location.h"
#include "src/server/upstream/upstream.h"

/* What went wrong with a request, as `provost status` counts it. */
#define UPSTREAM_FAILURES(X) \
    X(UNREACHABLE, "unreachable") X(BUSY, "busy") X(TIMEOUT, "timeout") X(BROKEN, "broken")
#define UPSTREAM_FAILURE_ENUM(id, text) UPSTREAM_##id,
enum upstream_failure { UPSTREAM_FAILURES(UPSTREAM_FAILURE_ENUM) UPSTREAM_FAILURE_COUNT };
#undef UPSTREAM_FAILURE_ENUM

enum upstream_state {
    UPSTREAM_UNKNOWN, /* not looked at yet: taken for good */
    UPSTREAM_UP,
    UPSTREAM_DOWN
};

/* What tells a right login from a wrong one there. */
enum upstream_proof {
    UPSTREAM_PROOF_NONE,    /* it is not known yet */
    UPSTREAM_PROOF_OPTIONS,
    UPSTREAM_PROOF_COMMAND  /* OPTIONS is answered to everybody */
};

struct upstream {
    struct upstreams *set;
    size_t index;
    char url[PUBLIC_URL_ROOM];         /* of ActiveSync */
    const struct fetch_peer *_Atomic peer; /* how it is spoken to now; */
    struct peer_kept *peers;           /* that and those before, which fetches may still hold */
    struct fetch probe;
    struct timer probe_timer;
    struct task probe_now;
    bool probing;                      /* on the worker that looks after health */
    atomic_int state, proof;
    atomic_int refuses_with;           /* HTTP status for a wrong login, or none; 0: not known */
    atomic_uint misses;                /* in a row, of requests and probes */
    atomic_bool called;                /* probe_now is on its way */
    _Atomic int64_t next_probe;        /* seconds that have been counted */
    _Atomic int64_t answered_at, proved_at; /* seconds since 1970 */
    _Atomic uint64_t requests, failures[UPSTREAM_FAILURE_COUNT];
    atomic_uint active;
    pthread_mutex_t lock;              /* the rest */
    int64_t since, error_at;           /* seconds since 1970; 0: never */
    char error[128];
};

struct upstreams {
    const struct config *config;
    struct fetcher *fetcher;
    struct locations *locations;
    struct upstream *at;
    size_t count;
    struct upstream **of_domain;       /* as config->upstream.domains */
    struct upstream *otherwise;        /* NULL: none */
    struct auth_method login;
    struct worker *_Atomic worker;     /* that looks after health; NULL: not begun */
};

struct peer_kept { struct fetch_peer peer; struct peer_kept *before; };

/* ---- upstream.c ---- */
/* A request to it begins, and has ended so. elsewhere: it went where the upstream has sent the user, and
 * says nothing of its own health. */
void upstream_begun(struct upstream *u);
void upstream_ended(struct upstream *u, enum fetch_result result, const struct fetch *f,
                    bool elsewhere);
/* HTTP 451 with an address to follow: the user is there from now on. */
bool upstream_sends_on(struct upstream *u, const char *user, const struct fetch *f);
/* Does it say with that status that a login is wrong? Some say 403 where 401 is meant. */
bool upstream_refuses_login(const struct upstream *u, unsigned http);
/* Begun, but nobody waits for it any more. */
void upstream_left(struct upstream *u);

/* ---- health.c ---- */
/* What a request or a probe has found. */
void health_note(struct upstream *u, enum fetch_result result, const char *why);
void health_begin(struct upstream *u, struct worker *w);

/* ---- ask.c ---- */
#define UPSTREAM_TARGET_MAX (PUBLIC_URL_ROOM + 3 * 8192) /* every byte of a request line escaped */
/* Where ActiveSync is for a user of the upstream. true: elsewhere, by a 451. */
bool upstream_place(const struct upstream *u, const char *user, char out[PUBLIC_URL_ROOM]);
/* The address of a command there, as a plain query. false: it does not fit. */
bool upstream_target(const char *place, const struct pv_request *req,
                     char out[UPSTREAM_TARGET_MAX]);
/* "13" as the value of X-MS-PolicyKey. */
#define UPSTREAM_KEY_TEXT 12
void upstream_key_text(uint32_t key, char out[UPSTREAM_KEY_TEXT]);

#endif

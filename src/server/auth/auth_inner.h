/* Inside of auth.c and auth_set.c: the methods that a configuration says, and who uses them. */
#ifndef PROVOSTD_AUTH_INNER_H
#define PROVOSTD_AUTH_INNER_H

#include <pthread.h>
#include <stdatomic.h>

#include "src/server/auth/cache.h"
#include "src/server/auth/method.h"
#include "src/server/auth/throttle.h"

#define METHODS_MAX 8

/* A method, in one set or in several that follow each other. */
struct used {
    struct auth_method *m;
    unsigned sets;       /* of the thread that reloads */
    uint64_t generation; /* what another one has verified does not count */
};

/* What one configuration says; never changed. */
struct set {
    atomic_uint holders;
    const struct config *config;
    struct used *methods[METHODS_MAX];
    size_t count;
    struct auth_method *file; /* the one of them that has the users file; NULL: none */
    char domain[256];
    bool case_sensitive;
    struct set *next; /* of those that nobody holds any more */
};

struct auth {
    struct auth_method *made[METHODS_MAX]; /* elsewhere; ends with NULL */
    uint64_t generations;
    struct cache *cache;
    struct throttle *throttle;
    uint8_t secret[32];
    _Atomic uint64_t tell_at_ms;
    pthread_mutex_t lock; /* the rest */
    struct set *set;      /* in force; held */
    struct set *over;     /* to be freed */
    struct pending *pending;
};

/* ---- auth_set.c ---- */
/* The one in force. */
struct set *auth_set_hold(struct auth *a);
void auth_set_drop(struct auth *a, struct set *s);
/* What it has begun has ended then. */
void auth_method_close(struct used *u);

/* For making a set: whose methods may be used again. */
struct making {
    struct auth *auth;
    const struct set *before; /* NULL: there is none */
    const struct config *c;
    bool (*differs)(const struct config *a, const struct config *b, const char *prefix);
    char *error;
    size_t error_cap;
};
/* NULL: error is set. */
struct set *auth_set_make(const struct making *k);

#endif

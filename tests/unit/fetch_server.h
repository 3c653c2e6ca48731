/* A server that answers what a test tells it, and a worker that asks it. */
#ifndef TESTS_FETCH_SERVER_H
#define TESTS_FETCH_SERVER_H

#include <semaphore.h>
#include <stdatomic.h>

#include "src/server/upstream/fetch.h"

#define HEARD_MAX 65536

enum after { KEEP, CLOSE, RESET, STALL /* neither reads nor says anything more */ };

/* How every request is answered from now on. */
struct script {
    const char *answer; /* NULL: the request itself, as text */
    size_t len;         /* 0: of a text */
    enum after after;
    unsigned drop;      /* so many requests are met by a closed connection, without an answer */
    bool early;         /* answers before the body has come, which it does not read */
    bool drip;          /* a byte at a time */
    uint64_t repeat;    /* sends so many 'x' behind the answer */
};
void script_set(struct script s);
extern atomic_uint connections, requests, open_connections;
extern atomic_uint_fast64_t body_bytes; /* that came, chunks undone */
extern char heard[HEARD_MAX];           /* the last request, its body too as far as it fits */
extern char url[64];                    /* http://127.0.0.1:PORT */
extern char dead_url[64];               /* nobody listens there */

/* What a fetch came to. */
struct got {
    struct fetch fetch;
    sem_t done;
    enum fetch_result result;
    unsigned status, calls;
    char body[4096], type[64];
    uint64_t bytes; /* of the body */
};
extern struct fetcher *fetcher;
extern struct fetch_peer peer;

void on_worker(void (*fn)(void *ctx), void *ctx); /* and wait */
bool got_start(struct got *g, const struct fetch_ask *ask); /* on the worker */
void got_wait(struct got *g);
/* All of it, with the usual peer where ask has none. */
struct got *fetch_all(const struct fetch_ask *ask);
struct got *fetch_get(const char *target);
uint64_t now_ms(void);

int servers_start(void **state);
int servers_stop(void **state);

#endif

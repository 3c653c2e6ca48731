/* Inside of fetch: how libcurl's handles, its sockets and the worker's loop hang together. */
#ifndef PROVOSTD_FETCH_INNER_H
#define PROVOSTD_FETCH_INNER_H

#include <curl/curl.h>

#include "src/server/upstream/answer_head.h"
#include "src/server/upstream/fetch.h"

struct run_list { struct fetch_run *first, *last; };

enum run_state {
    RUN_IDLE,    /* in the pool */
    RUN_NEW,     /* to be begun in the worker's next turn */
    RUN_QUEUED,  /* until another of the same peer ends */
    RUN_ACTIVE   /* libcurl has it */
};

/* What a handle of libcurl was told last, so that it is told only what differs. */
enum run_body { RUN_BODY_UNSET, RUN_BODY_NONE, RUN_BODY_BYTES, RUN_BODY_STREAM };
struct run_told {
    const struct fetch_peer *peer;
    char method[12];
    char base[256];
    enum run_body body;
    bool once, buffers, lean;
};

/* A fetch as it runs: pooled, with its handle. */
struct fetch_run {
    struct fetch_run *prev, *next;      /* of the list that it is on, by its state */
    struct fetch_run *next_waking;
    struct fetch *fetch;
    struct station *station;
    struct peer_use *use;
    const struct fetch_peer *peer;
    CURL *easy;
    struct run_told told;
    struct sock *socks;                 /* that libcurl watches for it */
    struct timer timer;
    uint64_t since_ms;                  /* of the last progress */
    unsigned head_ms, stall_ms, limit_ms; /* limit_ms: the one that counts now; 0: none */
    char *text;                         /* what is asked: lines, method, base of the URL, target */
    size_t text_cap;
    struct curl_slist *lines;           /* in text, as the next three */
    const char *method, *base, *target;
    const void *body;
    size_t body_len;
    uint64_t length;
    uint64_t asked, answered;           /* bytes of both bodies so far */
    uint8_t *answer;
    size_t answer_len, answer_cap;
    struct answer_head head;
    enum run_state state;
    enum fetch_result result;           /* of what we have found ourselves */
    const char *why;                    /* the same; NULL: nothing */
    bool streamed, once, lean;
    bool starved, body_ended;           /* read had nothing; it has given the last */
    bool paused;                        /* data did not take a piece */
    bool waking;                        /* on the list of those to be woken */
    bool reused;                        /* its connection was used before, */
    bool stale;                         /* and had bytes of an earlier answer */
    char error[CURL_ERROR_SIZE];
};

/* How many fetches to a peer there are on a worker. */
struct peer_use {
    struct peer_use *next;
    const struct fetch_peer *peer;
    unsigned runs, active;
    struct run_list queued;
};

/* A socket that we have opened for libcurl. It stays in the worker's epoll while its connection is
 * kept, so that a request over it needs no call for that, and its end is seen. */
struct sock {
    struct watch watch;
    struct station *station;
    struct fetch_run *run;              /* NULL: it rests */
    struct sock *next;                  /* of the run */
    uint32_t want, watched;             /* by libcurl; in the epoll */
    bool ours;                          /* opened by us; else it is libcurl's own, of a resolver */
    uint64_t name;                      /* of both ends, once it is connected; 0 before */
    struct sock *next_named;
};

#define NAMED_MAX 256

/* A worker's share. */
struct station {
    struct worker *worker;
    struct turn turn;
    struct timer timer;
    CURLM *multi;
    bool due;                           /* libcurl wants to run in this turn */
    bool told;                          /* somebody was called: others may have work in this turn */
    bool ended;                         /* the worker is gone */
    unsigned cached_max;
    struct run_list fresh, active, pool;
    unsigned pooled;
    struct fetch_run *waking;
    struct peer_use *uses;
    struct sock **socks;                /* by descriptor */
    size_t sock_cap;
    struct sock *named[NAMED_MAX];
};

struct run_ends { const char *peer, *own; int peer_port, own_port; };

/* ---- fetch_station.c ---- */
/* The station of this worker, made if need be. NULL: no memory. */
struct station *station_here(struct fetcher *f);
/* The run has ended: its sockets rest. */
void station_let_rest(struct fetch_run *run);
/* So many connections may have to be kept. */
void station_keep(struct station *s, unsigned connections);
/* A connection has come about for the run; a run uses one that there was. By its ends, as libcurl
 * tells them: it does not say which socket it is going to use. */
void station_name(struct fetch_run *run, const struct run_ends *ends);
struct sock *station_find(struct station *s, const struct run_ends *ends);
/* The run uses it from now on: libcurl says nothing of a socket that it need not wait for. */
void station_take(struct fetch_run *run, struct sock *k);
curl_socket_t station_open_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *to);
int station_close_socket(void *ctx, curl_socket_t fd);

/* ---- fetch_ask.c ---- */
/* false: no memory; run_free is to be called then. */
bool run_make_easy(struct fetch_run *run);
/* Copy what is asked. false: no memory. */
bool run_keep_ask(struct fetch_run *run, const struct fetch_ask *ask);
/* Tell libcurl. false: no memory. */
bool run_tell(struct fetch_run *run);

/* ---- fetch_hear.c: what libcurl calls back ---- */
size_t run_on_line(char *bytes, size_t size, size_t count, void *ctx);
size_t run_on_body(char *bytes, size_t size, size_t count, void *ctx);
size_t run_on_read(char *bytes, size_t size, size_t count, void *ctx);
int run_on_connection(void *ctx, char *peer, char *own, int peer_port, int own_port);

/* ---- fetch.c ---- */
/* In the worker's turn: begin what is new, wake who is to go on. */
void runs_begin(struct station *s);
void runs_wake(struct station *s);
/* What libcurl has ended. */
void runs_end(struct station *s);
/* limit_ms begins now. */
void run_watch_clock(struct fetch_run *run);
/* For fetcher_destroy; its handle leaves libcurl's loop before. */
void run_free(struct fetch_run *run);

#endif

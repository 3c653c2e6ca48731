/* Inside of fetch. libcurl finds names, makes connections and speaks TLS; HTTP over them is ours: a
 * request costs a third of what it does through libcurl's HTTP, an answer is read as strictly as is
 * needed where two servers must not see two different ones, and what rests is known to be silent.
 *
 * A run is a fetch on its way, a conn is a connection. A run gets a conn, perhaps after it has waited for
 * its turn; the conn rests afterwards, or ends. */
#ifndef PROVOSTD_FETCH_INNER_H
#define PROVOSTD_FETCH_INNER_H

#include <curl/curl.h>

#include "src/server/upstream/answer_head.h"
#include "src/server/upstream/chunks.h"
#include "src/server/upstream/fetch.h"

#define IN_MAX ((size_t)64 * 1024)    /* read at a time */
#define PIECE_MAX ((size_t)32 * 1024) /* sent at a time of a streamed body */
#define BASE_MAX 300                  /* of "https://host:port/" */

struct run_list { struct fetch_run *first, *last; };
struct conn_list { struct conn *first, *last; };

enum run_state {
    RUN_IDLE,   /* in the pool */
    RUN_NEW,    /* to be begun in the worker's next turn */
    RUN_QUEUED, /* until another of the same peer ends */
    RUN_ACTIVE  /* it has a conn */
};
enum run_body { BODY_NONE, BODY_LENGTH, BODY_CHUNKS, BODY_TO_END }; /* of the answer */

struct fetch_run {
    struct fetch_run *prev, *next; /* of the list that it is on, by its state */
    struct fetch_run *next_waking;
    struct fetch *fetch;
    struct station *station;
    struct peer_use *use;
    struct conn *conn;
    const struct fetch_peer *peer;
    struct timer timer;
    uint64_t since_ms;                    /* of the last progress */
    unsigned head_ms, stall_ms, limit_ms; /* limit_ms: the one that counts now; 0: none */
    enum run_state state;
    /* what is asked */
    char *text;                           /* the head, and behind it the base of the URL */
    size_t text_cap, head_len;
    const char *base;
    const uint8_t *body;
    size_t body_len;
    uint64_t length;                      /* of a streamed body */
    uint8_t *piece;                       /* of a streamed body, as it is sent */
    size_t piece_len, piece_sent;
    uint64_t asked;                       /* bytes of a streamed body so far */
    size_t sent;                          /* of head and body together, or of the head */
    bool streamed, once, mute;            /* mute: the peer does not read any more */
    bool starved, body_ended;             /* read had nothing; it has given the last */
    /* what comes back */
    struct answer_head head;
    char *line;                           /* the beginning of one */
    size_t line_len, line_cap;
    enum run_body kind;
    uint64_t left;                        /* of BODY_LENGTH */
    struct chunks chunks;
    uint64_t answered;                    /* bytes of the body so far */
    uint8_t *answer;
    size_t answer_len, answer_cap;
    bool paused;                          /* data did not take a piece */
    bool waking;                          /* on the list of those to be woken */
};

/* How many fetches to a peer there are on a worker. */
struct peer_use {
    struct peer_use *next;
    const struct fetch_peer *peer;
    unsigned runs, conns;
    struct run_list queued;
    struct conn_list resting;             /* the latest last */
};

struct conn {
    struct conn *prev, *next;             /* resting of its use, or spare of the station */
    struct station *station;
    struct peer_use *use;
    struct fetch_run *run;                /* NULL: it rests */
    CURL *easy;
    const struct fetch_peer *told;        /* whose ways the handle knows */
    struct sock *sock;                    /* once it is open */
    char base[BASE_MAX];
    bool tls;
    bool used;                            /* it has carried a request before */
    bool failed;                          /* of no use any more */
    uint8_t *unread;                      /* came, but was not taken */
    size_t unread_at, unread_len;
    char error[CURL_ERROR_SIZE];
};

/* A socket, by its descriptor. */
struct sock {
    struct watch watch;
    struct station *station;
    struct conn *conn;                    /* NULL: libcurl is making a connection of it, or it is its own */
    uint32_t watched;                     /* events */
    bool ours;                            /* opened by us for libcurl */
};

/* A worker's share. */
struct station {
    struct worker *worker;
    struct turn turn;
    struct timer timer;
    CURLM *multi;
    bool due;                             /* libcurl wants to run in this turn */
    bool told;                            /* somebody was called: others may have work in this turn */
    bool ended;                           /* the worker is gone */
    struct run_list fresh, active, pool;
    struct conn_list spare;
    unsigned pooled, spares;
    struct fetch_run *waking;
    struct peer_use *uses;
    struct sock **socks;                  /* by descriptor */
    size_t sock_cap;
    uint8_t in[IN_MAX];
};

/* ---- fetch_station.c ---- */
/* The station of this worker, made if need be. NULL: no memory. */
struct station *station_here(struct fetcher *f);
curl_socket_t station_open_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *to);
int station_close_socket(void *ctx, curl_socket_t fd);
/* The socket is the conn's from now on. NULL: there is none. */
struct sock *station_give(struct station *s, curl_socket_t fd, struct conn *c);
/* 0: for nothing. false: no memory. */
bool sock_watch(struct sock *k, uint32_t events);

/* ---- fetch_conn.c ---- */
/* One that rests, or one that is being made: run_connected comes then, or run_failed. false: no memory. */
bool conn_take(struct fetch_run *run);
/* There is one that it may have, or room for another. */
bool conn_is_free(const struct fetch_run *run);
/* libcurl is done with making it. */
void conn_made(struct conn *c, CURLcode code);
void conn_on_events(struct conn *c, uint32_t events);
/* The run has ended: it rests if it can be used again. */
void conn_rest(struct conn *c);
void conn_close(struct conn *c);
void conn_free(struct conn *c); /* a spare one */
/* As read(2) and sendmsg(2) with two parts: 0 is the end; -1 with errno, EAGAIN among them. */
ssize_t conn_read(struct conn *c, void *buf, size_t cap);
ssize_t conn_send(struct conn *c, const void *first, size_t first_len, const void *second,
                  size_t second_len);

/* ---- fetch_ask.c ---- */
/* Copy what is asked. false: no memory. */
bool run_keep_ask(struct fetch_run *run, const struct fetch_ask *ask);

/* ---- fetch_talk.c ---- */
/* The conn is there; then what happens to it. Each may end the run. */
void talk_begin(struct fetch_run *run);
void talk_on_events(struct fetch_run *run, uint32_t events);
/* Who was held back may go on. */
void talk_go_on(struct fetch_run *run);

/* ---- fetch.c ---- */
/* In the worker's turn: begin what is new, wake who is to go on. */
void runs_begin(struct station *s);
void runs_wake(struct station *s);
/* Tell it, then the run and its conn rest. why: a sentence, unless FETCH_OK. */
void run_end(struct fetch_run *run, enum fetch_result result, const char *why);
/* It goes over another, new connection: nothing of an answer has come. */
void run_go_again(struct fetch_run *run);
/* limit_ms begins now. */
void run_watch_clock(struct fetch_run *run);
void run_progress(struct fetch_run *run);
/* For fetcher_destroy. */
void run_free(struct fetch_run *run);

#endif

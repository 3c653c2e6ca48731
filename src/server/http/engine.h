/* Inside of the HTTP engine: how connections, requests and libmicrohttpd's daemons hang together.
 * Seen in src/server/http/ only.
 *
 * A server has listeners (endpoints) and workers. For each pair of them there is a lane: one daemon
 * of libmicrohttpd, run by the worker's loop. A connection is accepted by us, given to the worker
 * that has the fewest, and handed to the lane's daemon when its first byte is there. */
#ifndef PROVOSTD_ENGINE_H
#define PROVOSTD_ENGINE_H

#include <microhttpd.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include "src/server/http/http.h"

/* Of libmicrohttpd's memory for a connection. A head of 16 KiB fits, with the table of fields and
 * the answer's head beside it. From above 32 KiB on, the library takes whole pages for it, which
 * can be given back while a connection waits. */
#define POOL_SIZE ((size_t)36 * 1024)
#define POOL_SIZE_TLS ((size_t)24 * 1024) /* where it begins is not known there (conn.c) */

#define PEER_MAX 46 /* INET6_ADDRSTRLEN */
#define HALF_CLOSED_MS 1000 /* for what a peer sent before it closed its side */

struct tls_cert;

struct endpoint {
    struct http_listen cfg;             /* its strings are ours */
    struct http_server *server;
    int fd;
    bool is_unix;
    char name[128];                     /* as bound: the chosen port is in it */
    pthread_mutex_t cert_lock;
    struct tls_cert *cert;              /* under cert_lock; NULL: plain */
    atomic_uint connections;
    struct lane *lanes;                 /* one for each worker */
};

struct lane {
    struct endpoint *endpoint;
    struct worker *worker;
    struct station *station;
    struct MHD_Daemon *daemon;
    struct watch accept, events;        /* the listening socket; the daemon's epoll */
    struct timer accept_again;
    bool accepting;
    bool due;                           /* the daemon must run in this turn */
    atomic_uint load;                   /* connections here or on their way here */
    struct http_conn *conns;
    struct http_conn *adding;           /* while MHD_add_connection runs */
};

/* What a worker does for the server. */
struct station {
    struct turn turn;
    struct task begin, task;            /* of http_start, of http_stop */
    struct timer limit;
    struct http_server *server;
    struct worker *worker;
    bool draining;
    char scratch[POOL_SIZE];            /* a head, put together again */
};

struct http_server {
    struct endpoint *endpoints;
    size_t endpoint_count;
    struct station **stations;
    unsigned worker_count, started;
    unsigned limit_ms;                  /* of http_stop */
    sem_t stopped_accepting;
};

enum conn_stage {
    CONN_FRESH,    /* plain: no byte has come yet; the socket is ours */
    CONN_SERVED,   /* the socket is the daemon's */
    CONN_LINGERING /* answered and closed; a second descriptor takes in what the peer still sends */
};

struct http_conn {
    struct task task;                   /* on its way to another worker */
    struct http_conn *prev, *next;      /* of the lane */
    struct lane *lane;
    struct http_exchange *exchange;     /* the request under way */
    struct tls_cert *cert;
    struct timer timer;
    uint64_t deadline;  /* worker's clock; UINT64_MAX: none. The timer may go off before it. */
    struct watch watch; /* FRESH: first bytes; SERVED: the peer goes away; LINGERING: what comes */
    char *pool;         /* where the daemon keeps this connection's memory; NULL: not known */
    struct packed *packed; /* what was there, while the pages are given back */
    unsigned lingered;                  /* bytes taken in */
    enum conn_stage stage;
    bool first_is_text;                 /* the first byte of all was no line end */
    bool seen_request;
    bool linger;                        /* when the daemon closes */
    bool watching;
    bool peer_closed;                   /* at least its sending side */
    char peer[PEER_MAX];
};

struct http_exchange {
    struct http_conn *conn;
    struct MHD_Connection *mhd;
    uint64_t session;
    const char *method;                 /* the daemon's memory */
    const char *target_at;              /* where the daemon has read the target */
    void *data;
    void (*free_data)(void *);
    void (*gone)(struct http_exchange *);
    uint8_t *body;
    size_t body_len, body_cap, body_first;
    struct MHD_Response *held;          /* an answer that waits until the body is read */
    unsigned held_status;
    bool head_done, in_head, answered, waiting, is_gone, gone_due, broken;
    char target[];
};

/* listen.c */
bool endpoint_open(struct endpoint *e, const struct http_listen *l, char *error, size_t error_cap);
void endpoint_close(struct endpoint *e);
void lane_on_accept(struct watch *h, uint32_t events);
void lane_start_accepting(struct lane *l);
void lane_stop_accepting(struct lane *l);

/* conn.c */
void conn_start(struct http_conn *c);
void conn_on_notify(void *cls, struct MHD_Connection *mhd, void **slot,
                    enum MHD_ConnectionNotificationCode what);
void conn_set_deadline(struct http_conn *c, uint64_t in_ms);
/* The server stops: end what is idle, tell who waits; with `now` end everything. */
void conn_drain(struct http_conn *c, bool now);
int conn_fd(const struct http_conn *c);
/* Before the daemon, or anybody, looks at the memory of a connection that has waited. */
void conn_unpack(struct http_conn *c);
void conn_answer_raw(struct http_conn *c, unsigned status, const char *why);
/* The body of a refusal by the engine itself, as the listener's handler wants it, and its type. */
#define REFUSAL_MAX 256
int conn_refusal(const struct http_conn *c, unsigned status, const char *why, char out[REFUSAL_MAX],
                 const char **type_out);

/* exchange.c */
void *exchange_on_target(void *cls, const char *target, struct MHD_Connection *mhd);
enum MHD_Result exchange_on_request(void *cls, struct MHD_Connection *mhd, const char *url,
                                    const char *method, const char *version, const char *upload,
                                    size_t *upload_len, void **slot);
void exchange_on_end(void *cls, struct MHD_Connection *mhd, void **slot,
                     enum MHD_RequestTerminationCode how);
void exchange_tell_gone(struct http_exchange *x);

/* tls.c */
struct tls_cert *tls_cert_load(const char *certificate, const char *key, char *error,
                               size_t error_cap);
struct tls_cert *tls_cert_hold(struct tls_cert *c);
void tls_cert_drop(struct tls_cert *c);
void tls_send(struct MHD_Connection *mhd, const char *bytes, size_t len);
void tls_cert_use(struct tls_cert *c, struct MHD_Connection *mhd);
/* Options for MHD_start_daemon; ends with MHD_OPTION_END. Valid while c lives. */
const struct MHD_OptionItem *tls_cert_options(const struct tls_cert *c);

#endif

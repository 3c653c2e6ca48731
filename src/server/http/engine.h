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
#include "src/server/http/proxies.h"
#include "src/server/http/window.h"

/* Of libmicrohttpd's memory for a connection. A head of 16 KiB fits, with the table of fields and
 * the answer's head beside it. From above 32 KiB on, the library takes whole pages for it, which
 * can be given back while a connection waits. */
#define POOL_SIZE ((size_t)36 * 1024)
#define POOL_SIZE_TLS ((size_t)24 * 1024) /* where it begins is not known there (conn.c) */

#define HALF_CLOSED_MS 1000 /* for what a peer sent before it closed its side */
#ifndef ANSWER_MS       /* tests do not wait so long */
#define ANSWER_MS 30000 /* to take an answer, and at this pace: */
#define ANSWER_BYTES_A_MS 1
#endif

struct tls_cert;

/* How connections and requests are treated; never changed, held by who goes by them. */
struct terms {
    atomic_uint holders;
    struct http_listen cfg;             /* without the strings: they are as the endpoint's */
    struct proxies *proxies;
    struct tls_cert *cert;              /* for those who connect; NULL: plain */
};

struct endpoint {
    char *address;
    unsigned socket_mode;
    bool inherited, tls;
    struct http_server *server;
    int fd;
    bool is_unix;
    char name[HTTP_NAME_MAX];           /* as bound: the chosen port is in it */
    pthread_mutex_t terms_lock;
    _Atomic(struct terms *) terms;      /* changed, and held for the first time, under terms_lock */
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
    struct http_exchange *due;          /* exchange_due */
    bool draining;
    char scratch[POOL_SIZE];            /* a head, put together again */
};

struct http_server {
    struct endpoint *endpoints;
    size_t endpoint_count;
    struct station **stations;
    unsigned worker_count, started;
    bool draining;                      /* http_drain was called */
    unsigned limit_ms;                  /* of http_drain */
    atomic_uint ended;                  /* workers that have nothing left to do */
    sem_t stopped_accepting;
};

enum conn_stage {
    CONN_FRESH,    /* plain: no byte has come yet; the socket is ours */
    CONN_SERVED,   /* the socket is the daemon's */
    CONN_LINGERING, /* answered and closed; a second descriptor takes in what the peer still sends */
    CONN_OVER      /* no socket any more; a handler is not done with its exchange yet */
};

struct http_conn {
    struct task task;                   /* on its way to another worker */
    struct http_conn *prev, *next;      /* of the lane */
    struct lane *lane;
    struct http_exchange *exchange;     /* the request under way */
    struct terms *terms;                /* held; of the request under way, or the last */
    struct tls_cert *cert;              /* held: with which the connection began */
    struct timer timer;
    uint64_t deadline;  /* worker's clock; UINT64_MAX: none. The timer may go off before it. */
    struct watch watch; /* FRESH: first bytes; SERVED: the peer goes away; LINGERING: what comes */
    void *certificate;  /* the client's, in DER; NULL: none that counts */
    size_t certificate_len;
    char *pool;         /* where the daemon keeps this connection's memory; NULL: not known */
    struct packed *packed; /* what was there, while the pages are given back */
    unsigned lingered;                  /* bytes taken in */
    enum conn_stage stage;
    bool certificate_read;
    bool first_is_text;                 /* the first byte of all was no line end */
    bool seen_request;
    bool linger;                        /* when the daemon closes */
    bool watching;
    bool peer_closed;                   /* at least its sending side */
    bool proxied;                       /* its peer is a proxy that is believed */
    bool client_secure;                 /* as it says of the request under way */
    char peer[CLIENT_MAX];
    char client[CLIENT_MAX];            /* the same; "": nothing */
};

/* How far the daemon has come with a request. It takes an answer while it calls us for the head, then
 * no more until it calls us for the end. */
enum exchange_stage { AT_HEAD, IN_BODY, AT_END };

struct http_exchange {
    struct http_conn *conn;
    struct MHD_Connection *mhd;         /* NULL: the daemon has closed it, a handler still holds it */
    uint64_t session;
    const char *method;                 /* the daemon's memory */
    const char *target_at;              /* where the daemon has read the target */
    void *data;
    void (*free_data)(void *);
    void (*gone)(struct http_exchange *);
    void (*stops)(struct http_exchange *); /* the server begins to stop */
    void (*more)(struct http_exchange *);
    void (*room)(struct http_exchange *);
    struct http_exchange *due_next, **due_at; /* of the station */
    struct window body;                 /* all of it; of a stream what has not been taken */
    uint64_t body_length;               /* announced; UINT64_MAX: chunks */
    uint64_t body_seen;                 /* taken from the daemon */
    struct window out;                  /* of a streamed answer: what the daemon has not taken */
    uint64_t pass_until;                /* worker's clock: for what is passed over */
    uint64_t out_length, out_written;   /* announced, UINT64_MAX: not; written by the handler */
    struct MHD_Response *held;          /* an answer that waits until the body is read */
    unsigned held_status;
    uint8_t stage;                      /* enum exchange_stage */
    bool head_done, http_1_0;
    bool early;                         /* an answer at the head is given there, not after the body */
    bool served;                        /* the handler knows of it */
    bool stream;                        /* the body is one */
    bool reading;                       /* somebody takes it */
    bool skip;                          /* nobody wants what is still to come of it */
    bool waiting, begun, ended;         /* http_wait, http_reply_begin; the handler is done */
    bool whole;                         /* as http_reply_end has said */
    bool bodiless;                      /* begun, and the answer has no body: given when it ends */
    bool answered;                      /* some answer is on its way */
    bool queued;                        /* the daemon has it */
    bool suspended;                     /* the daemon does not look at the connection */
    bool is_gone, gone_due, broken;
    char target[];
};

/* terms.c */
/* NULL with error: one sentence. */
struct terms *terms_make(const struct http_listen *l, char *error, size_t error_cap);
/* Those in force, held. */
struct terms *terms_hold(struct endpoint *e);
/* NULL is accepted. */
void terms_drop(struct terms *t);
/* A request begins: by what is in force now. */
void conn_renew_terms(struct http_conn *c);

/* listen.c */
bool endpoint_open(struct endpoint *e, const struct http_listen *l, char *error, size_t error_cap);
void endpoint_close(struct endpoint *e);
void lane_on_accept(struct watch *h, uint32_t events);
void lane_start_accepting(struct lane *l);
void lane_stop_accepting(struct lane *l);
/* Nobody accepts any more: who has connected is taken in, then the socket is closed. One that was handed
 * over is closed at once: it lives elsewhere, and who waits there is served by another. */
void endpoint_stop_listening(struct endpoint *e);

/* conn.c */
void conn_start(struct http_conn *c);
void conn_on_notify(void *cls, struct MHD_Connection *mhd, void **slot,
                    enum MHD_ConnectionNotificationCode what);
void conn_set_deadline(struct http_conn *c, uint64_t in_ms);
/* The server stops: end what is idle, tell who waits and wants to know; with `now` end everything. */
void conn_drain(struct http_conn *c, bool now);
/* A request has ended, and another may follow. */
void conn_await_next(struct http_conn *c);
int conn_fd(const struct http_conn *c);
/* Its exchange has been freed after the daemon had closed the connection. */
void conn_let_go(struct http_conn *c);
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
const struct http_listen *exchange_config(const struct http_exchange *x);
/* A handler is still to end it. */
bool exchange_is_held(const struct http_exchange *x);
/* The peer has gone, or the server stops; the handler hears of it once, in this turn. */
void exchange_tell_gone(struct http_exchange *x);
/* Look after it at the end of this turn: gone, stops, more, room. */
void exchange_due(struct http_exchange *x);
/* Do so. True: there is more, in the next turn. */
bool exchange_run_due(struct station *s);
/* Only inside of a callback of the daemon, which may call again before it looks. */
void exchange_suspend(struct http_exchange *x);
/* If it is suspended. The caller sets the deadline for what comes now. */
void exchange_resume(struct http_exchange *x);

/* peer.c */
/* What a proxy says of the client of this request. */
void peer_read_proxy(struct http_exchange *x);

/* body.c */
#define BODY_TOO_LARGE "the body is larger than this server takes"
/* Take in what the daemon has read. serve: the body has become a stream, so the handler is due. */
enum MHD_Result body_take_in(struct http_exchange *x, const char *bytes, size_t len,
                             void (*serve)(struct http_exchange *x));
/* Nobody wants it any more: free what is there, pass over what comes. */
void body_pass_over(struct http_exchange *x);
/* From now on it may rest for the body's deadline, and take time for all that is left. */
void body_pass_begin(struct http_exchange *x);
void body_free(struct http_exchange *x);

/* answer.c */
/* The engine's own, with a body of text. */
void answer_plain(struct http_exchange *x, unsigned status, const char *why, bool close);
/* Give the daemon the answer that was held. */
void answer_held(struct http_exchange *x);

/* tls.c */
struct tls_cert *tls_cert_load(const struct http_listen *l, char *error, size_t error_cap);
struct tls_cert *tls_cert_hold(struct tls_cert *c);
void tls_cert_drop(struct tls_cert *c);
void tls_send(struct MHD_Connection *mhd, const char *bytes, size_t len);
void tls_cert_use(struct tls_cert *c, struct MHD_Connection *mhd);
/* What the client has shown, in DER, for free(). NULL: nothing, or, with a reason in why, nothing that
 * client_ca vouches for. Verifying takes a fraction of a millisecond. */
void *tls_client_certificate(const struct tls_cert *c, struct MHD_Connection *mhd, size_t *len_out,
                             char *why, size_t why_cap);
/* Options for MHD_start_daemon; ends with MHD_OPTION_END. Valid while c lives. */
const struct MHD_OptionItem *tls_cert_options(const struct tls_cert *c);

#endif

/* HTTP as the rest of the server sees it: a request, an answer, "wait" and "go on". The engine
 * behind it (libmicrohttpd) is seen in src/server/http/ only, so that another can take its place.
 * Every function runs on the exchange's own worker thread. */
#ifndef PROVOSTD_HTTP_H
#define PROVOSTD_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/server/http/worker.h"

struct http_server;
struct http_exchange;

struct http_field { const char *name, *value; };

struct http_reply {
    unsigned status;
    const char *type;               /* Content-Type; NULL without a body */
    const void *body;               /* copied */
    size_t len;
    const struct http_field *fields; /* copied; ends with name NULL; may be NULL */
    unsigned retry_after;           /* seconds, 0: no field */
    bool close;                     /* close the connection afterwards */
    bool as_is;                     /* the body has the coding that fields say */
};

/* One per listener: what to do with a request. Both run on a worker. */
struct http_handler {
    /* Head is read. May answer at once (then serve is not called and the body is not kept), but not
     * wait. May be NULL. */
    void (*head)(struct http_exchange *x, void *ctx);
    /* The whole request is there. Must http_reply now, or http_wait and reply later. */
    void (*serve)(struct http_exchange *x, void *ctx);
    void *ctx;
    size_t body_max;                /* 413 beyond */
    /* A longer body is a stream (http_body_take): serve runs at the head if the length is announced, else
     * when so much has come. A shorter one is whole when serve runs, so that a slow phone holds nobody
     * but this server. 0: a body is always whole. */
    size_t body_whole;
    bool json;                      /* what the engine itself refuses is told as JSON: error, code */
};

uint64_t http_session(const struct http_exchange *x);     /* for the log; unique in the process */
const char *http_method(const struct http_exchange *x);
const char *http_target(const struct http_exchange *x); /* raw: path and query, nothing unescaped */
/* NULL if absent; no regard to case. Not to be kept while the exchange waits: ask again. */
const char *http_field(const struct http_exchange *x, const char *name);
/* Each field of the request's head, in order; strings as above. */
void http_each_field(const struct http_exchange *x,
                     void (*each)(void *ctx, const char *name, const char *value), void *ctx);
const char *http_peer(const struct http_exchange *x); /* address as text; "unix" */
/* Who asks, for throttling and the log: the address that a proxy of http_listen.proxies tells in
 * X-Forwarded-For (proxies.h), else http_peer. Lives as long as the exchange. */
const char *http_client(const struct http_exchange *x);
/* Over TLS, or a proxy of http_listen.proxies says so in X-Forwarded-Proto? */
bool http_secure(const struct http_exchange *x);
/* Is the peer itself a proxy of http_listen.proxies? */
bool http_proxied(const struct http_exchange *x);
/* The certificate that the client has shown and that http_listen.client_ca vouches for, as one of a
 * client and not expired, in DER; lives as long as the exchange. NULL: none; one that does not count is
 * logged. Verified when first asked for on a connection. */
const void *http_certificate(const struct http_exchange *x, size_t *len_out);
/* The user at the other end of a Unix socket, as the system tells it; false: it is none. */
bool http_peer_uid(const struct http_exchange *x, uint32_t *uid_out);
bool http_tls(const struct http_exchange *x);
const uint8_t *http_body(const struct http_exchange *x, size_t *len_out);
/* Free the body early (a waiting Ping must not keep it). Of a stream nothing more is taken. */
void http_drop_body(struct http_exchange *x);

/* ---- a body that is longer than body_whole ---- */
/* serve runs before the whole body is there? length_out: what was announced, UINT64_MAX if nothing
 * was (chunks). What has come, and was not taken yet, is in http_body. */
bool http_body_is_stream(const struct http_exchange *x, uint64_t *length_out);
/* Take out what is there, in order. 0: nothing now; then, unless http_body_ended, http_body_wait.
 * Nothing is read from the peer before the first call of this or of http_body_wait (nor a 100 Continue
 * sent), and then no faster than it is taken; while it is held back no deadline runs against it. How
 * long the whole takes does not count, but the peer must not rest longer than the body's deadline: then
 * it is gone, as it is if it breaks off, or sends more than body_max. */
size_t http_body_take(struct http_exchange *x, void *buf, size_t cap);
/* All has come and was taken. */
bool http_body_ended(const struct http_exchange *x);
/* more runs once when there is something to take, or the end; never from here. Not after gone has
 * run; without a gone it runs also when the peer has gone. */
void http_body_wait(struct http_exchange *x, void (*more)(struct http_exchange *x));

/* State of the handler for this exchange; free_fn runs once when the exchange ends, in whatever
 * way. */
void http_set_data(struct http_exchange *x, void *data, void (*free_fn)(void *data));
void *http_data(const struct http_exchange *x);

/* Answer; from serve, head, or after http_wait. Exactly once. The engine adds Content-Length, Date,
 * gzip when the client asked for it and it pays, and drops the body for HEAD. If the peer is gone
 * it does nothing. */
void http_reply(struct http_exchange *x, const struct http_reply *r);

/* An answer piece by piece, instead of http_reply; body, len and gzip do not apply. length: of the
 * body, UINT64_MAX if it is not known yet (chunks; the end of the connection for HTTP/1.0). What is left
 * of the request's body is read past first. From serve, or after http_wait, whose gone then runs also
 * if the peer goes away in the middle; http_reply_end is due after it. The peer gets time for what it
 * takes; it may wait for ever for what the handler does not write. */
void http_reply_begin(struct http_exchange *x, const struct http_reply *head, uint64_t length);
/* How much is taken now: a window of HTTP_WINDOW bytes beyond what the peer has taken. All of it if
 * what is written reaches nobody (the peer has gone, HEAD). */
#define HTTP_WINDOW ((size_t)64 * 1024)
size_t http_reply_room(const struct http_exchange *x);
/* room runs once when half of the window is free; never from here. Not after gone has run; without a
 * gone it runs also when the peer has gone. */
void http_reply_wait(struct http_exchange *x, void (*room)(struct http_exchange *x));
/* Copied; at most the room. What goes beyond the length is dropped. */
void http_reply_write(struct http_exchange *x, const void *bytes, size_t len);
/* Exactly once after http_reply_begin, also when the peer has gone. whole false, or less written than
 * the length: the peer is shown that the answer is cut (its connection breaks). */
void http_reply_end(struct http_exchange *x, bool whole);

/* The answer comes later: the connection is suspended. gone (may be NULL) runs if the peer goes
 * away, or is still held when the limit of a stop is over (http_stop; http_on_stop for earlier), never
 * from here; afterwards x must still be ended with http_reply (which sends nothing), now or later: x
 * lives until then, its fields not (http_field: NULL). May be called again, with another gone. */
void http_wait(struct http_exchange *x, void (*gone)(struct http_exchange *x));
/* True after gone was due: an answer will reach nobody. */
bool http_is_gone(const struct http_exchange *x);
/* For who waits for something that may be long in coming, with http_wait: stops runs once when the
 * server begins to stop, never from here. It may answer, or end the exchange otherwise; if it does
 * neither, the exchange goes on as any. Set before or after http_wait; NULL takes it back. */
void http_on_stop(struct http_exchange *x, void (*stops)(struct http_exchange *x));
/* Instead of an answer: the connection is closed. The exchange has ended, as after http_reply. */
void http_hang_up(struct http_exchange *x);

struct http_listen {
    const char *address; /* "127.0.0.1:8080", "[::1]:8443", or a path for a Unix socket */
    const char *tls_certificate, *tls_key; /* files; NULL: plain */
    const char *client_ca;          /* file: who vouches for clients' certificates; NULL: none is
                                       asked for. A client without one is let in here. */
    const char *client_crl;         /* file: which of them are revoked; NULL: none */
    const char *const *proxies;     /* "10.0.0.0/8", "::1", "unix"; ends with NULL; may be NULL */
    unsigned head_ms, body_ms, idle_ms; /* deadlines: head and body complete, between requests */
    unsigned farewell_ms;           /* while the server stops: between requests; 0: a connection ends with
                                       the request that is under way */
    unsigned connections_max;
    unsigned socket_mode;           /* Unix socket: permissions, such as 0600 */
    int inherited;                  /* a listening socket that is bound to address, taken over; 0: it is
                                       to be made. Of a Unix socket the path stays when it is closed,
                                       and nobody may open it whom socket_mode leaves out. */
    struct http_handler handler;
};

#define HTTP_NAME_MAX 128
/* Where a listening socket is bound, as http_address tells it. false: nowhere that has a name. */
bool http_name_bound(int fd, char name[HTTP_NAME_MAX]);
/* Is it what http_listen.address says? A port of all addresses is one whether of IPv4 or IPv6. */
bool http_is_bound(int fd, const char *address);

/* Start `workers` threads that serve all listeners. error: one sentence. NULL on failure (nothing
 * is left behind). */
struct http_server *http_start(const struct http_listen *listens, size_t count, unsigned workers,
                               char *error, size_t error_cap);
/* Where listener `index` is bound: "127.0.0.1:43211" also when port 0 was asked for. Lives as long
 * as the server. */
const char *http_address(const struct http_server *s, size_t index);
unsigned http_worker_count(const struct http_server *s);
struct worker *http_worker(const struct http_server *s, unsigned index);
/* No new connections: who has connected already, and waits to be accepted, is served, unless the
 * socket was handed over; then the next server does it. Idle connections are closed, who waits hears of
 * it (http_on_stop), requests under way end within limit_ms; then what is still held gets its gone call,
 * and connections are cut. Returns before that; once only. */
void http_drain(struct http_server *s, unsigned limit_ms);
/* The last has been answered: http_stop will not wait. */
bool http_drained(const struct http_server *s);
/* http_drain if that was not called, and the end: when the last has been answered the threads are
 * joined. Nothing may be posted to the workers afterwards: a handler answers no exchange before what it
 * has begun for it has come back. */
void http_stop(struct http_server *s, unsigned limit_ms);
/* Other terms for the listeners of http_start, in the same order: certificates (the files are read in any
 * case), proxies, deadlines, connections_max and the limits of bodies. Addresses, modes, the handlers'
 * functions and whether TLS is spoken stay. In two steps, so that nothing changes where something is
 * wrong. NULL with error, one sentence: nothing has changed. */
struct http_terms;
struct http_terms *http_terms_make(const struct http_server *s, const struct http_listen *listens,
                                   char *error, size_t error_cap);
/* Taken over: from now on they hold for new connections, and for the next request of one that is open;
 * its TLS stays as it began. Not at a time with http_drain. */
void http_terms_use(struct http_server *s, struct http_terms *t);
/* Of those that were not used. NULL is accepted. */
void http_terms_free(struct http_terms *t);

#endif

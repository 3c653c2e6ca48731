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
    bool json;                      /* what the engine itself refuses is told as JSON: error, code */
};

uint64_t http_session(const struct http_exchange *x);     /* for the log; unique in the process */
const char *http_method(const struct http_exchange *x);
const char *http_target(const struct http_exchange *x); /* raw: path and query, nothing unescaped */
/* NULL if absent; no regard to case. Not to be kept while the exchange waits: ask again. */
const char *http_field(const struct http_exchange *x, const char *name);
const char *http_peer(const struct http_exchange *x); /* address as text; "unix" */
/* The user at the other end of a Unix socket, as the system tells it; false: it is none. */
bool http_peer_uid(const struct http_exchange *x, uint32_t *uid_out);
bool http_tls(const struct http_exchange *x);
const uint8_t *http_body(const struct http_exchange *x, size_t *len_out);
/* Free the body early (a waiting Ping must not keep it). */
void http_drop_body(struct http_exchange *x);

/* State of the handler for this exchange; free_fn runs once when the exchange ends, in whatever
 * way. */
void http_set_data(struct http_exchange *x, void *data, void (*free_fn)(void *data));
void *http_data(const struct http_exchange *x);

/* Answer; from serve, head, or after http_wait. Exactly once. The engine adds Content-Length, Date,
 * gzip when the client asked for it and it pays, and drops the body for HEAD. If the peer is gone
 * it does nothing. */
void http_reply(struct http_exchange *x, const struct http_reply *r);

/* The answer comes later: the connection is suspended. gone (may be NULL) runs if the peer goes
 * away or the server stops first; afterwards x must still be ended with http_reply (which sends
 * nothing), now or later: x lives until then. */
void http_wait(struct http_exchange *x, void (*gone)(struct http_exchange *x));
/* True after gone was due: an answer will reach nobody. */
bool http_is_gone(const struct http_exchange *x);

struct http_listen {
    const char *address; /* "127.0.0.1:8080", "[::1]:8443", or a path for a Unix socket */
    const char *tls_certificate, *tls_key; /* files; NULL: plain */
    unsigned head_ms, body_ms, idle_ms; /* deadlines: head and body complete, between requests */
    unsigned connections_max;
    unsigned socket_mode;           /* Unix socket: permissions, such as 0600 */
    struct http_handler handler;
};

/* Start `workers` threads that serve all listeners. error: one sentence. NULL on failure (nothing
 * is left behind). */
struct http_server *http_start(const struct http_listen *listens, size_t count, unsigned workers,
                               char *error, size_t error_cap);
/* Where listener `index` is bound: "127.0.0.1:43211" also when port 0 was asked for. Lives as long
 * as the server. */
const char *http_address(const struct http_server *s, size_t index);
unsigned http_worker_count(const struct http_server *s);
struct worker *http_worker(const struct http_server *s, unsigned index);
/* No new connections; requests under way end within limit_ms (waiting ones get their gone call).
 * When the last has been answered, the threads are joined. Nothing may be posted to the workers
 * afterwards: a handler answers no exchange before what it has begun for it has come back. */
void http_stop(struct http_server *s, unsigned limit_ms);
/* Read certificate and key files again; false with error: the old ones stay. */
bool http_reload_tls(struct http_server *s, char *error, size_t error_cap);

#endif

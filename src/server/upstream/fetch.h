/* Requests to other servers, in the worker's own loop: nothing blocks, nothing is held but what is
 * under way. libcurl is behind it; none of its types is seen outside this folder. Every function runs
 * on the worker that began the fetch. */
#ifndef PROVOSTD_FETCH_H
#define PROVOSTD_FETCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/server/http/http.h"

/* What the workers share: how connections are kept. */
struct fetcher;
/* NULL: no memory. */
struct fetcher *fetcher_create(void);
/* After the workers have ended: what is still under way ends without a word. NULL is accepted. */
void fetcher_destroy(struct fetcher *f);

/* How to speak to a server. Borrowed: outlives its fetches. */
struct fetch_peer {
    const char *ca_file;               /* who vouches for its certificate; NULL: the system's */
    const char *certificate, *key;     /* our own, if it asks for one; NULL: none */
    unsigned connect_ms;               /* name, connection and TLS; to wait for a turn as well */
    unsigned connections_max;          /* at a time, of each worker; further fetches wait their turn */
};

struct fetch_ask {
    const struct fetch_peer *peer;
    const char *method, *url;          /* copied. The URL is sent as it stands */
    const struct http_field *fields;   /* copied; ends with name NULL; may be NULL. Host,
                                          Content-Length and the like are made here, a field that
                                          HTTP does not allow is left out */
    const void *body;                  /* borrowed until the end */
    size_t len;
    bool streamed;                     /* the body comes from read instead; */
    uint64_t length;                   /* so much, UINT64_MAX: as chunks */
    unsigned head_ms;                  /* until the answer's head is there, not counting the time in
                                          which a streamed body moves or is not there; 0: no limit */
    unsigned stall_ms;                 /* without a byte while the answer's body comes; 0: none */
    size_t answer_max;                 /* FETCH_CUT beyond; 0: no limit (then data must be set) */
    /* A connection that was used before may just have been closed by the peer, and the request would
     * be lost on it or not: false repeats it then on a new one (nothing of an answer came), true takes
     * a new one at once, for what must not be done twice. A streamed body does so in any case. */
    bool once;
    bool lean;                         /* it will wait for long: with small buffers */
};

enum fetch_result {
    FETCH_OK,
    FETCH_UNREACHABLE, /* not found, refused, no TLS: nothing was sent */
    FETCH_BUSY,        /* no turn came: as many connections as may be are taken; nothing was sent */
    FETCH_TIMEOUT,
    FETCH_CUT,         /* the answer is broken, ended early, or is larger than answer_max */
    FETCH_NO_MEMORY
};

/* One request. Embed, zeroed but for the callbacks; it must live until done or fetch_cancel. No
 * callback but done may end a fetch. */
struct fetch {
    /* For a streamed body: fill buf, *end_out when that was the last. 0 without end: nothing now,
     * fetch_body_more later. */
    size_t (*read)(struct fetch *f, void *buf, size_t cap, bool *end_out);
    /* The answer's head is there (interim answers are passed over): status, fetch_field. NULL: not
     * told. */
    void (*head)(struct fetch *f);
    /* A piece of the answer's body, as it came (no coding but chunks is undone), at most FETCH_PIECE
     * bytes. false: not now, nothing of it was taken; fetch_go_on later brings it again. NULL: the body
     * is collected. */
    bool (*data)(struct fetch *f, const void *bytes, size_t len);
    void (*done)(struct fetch *f, enum fetch_result result);

    unsigned status;                   /* from head on */
    uint64_t length;                   /* of the answer's body as announced, UINT64_MAX: not */
    size_t answer_max;                 /* as asked; head may change it */
    const uint8_t *body;               /* in done, if it was collected */
    size_t len;
    char error[128];                   /* in done: what went wrong, for the log */
    struct fetch_run *run;             /* private */
};
#define FETCH_PIECE ((size_t)16 * 1024)

/* false: no memory; nothing is called then, and nothing is called before it returns. */
bool fetch_start(struct fetcher *r, struct fetch *f, const struct fetch_ask *ask);
/* From head until done has returned. NULL: absent. No regard to case; the first of several. */
const char *fetch_field(const struct fetch *f, const char *name);
/* Each field of the answer in order, hop-by-hop fields (and what Connection names) and the body's
 * length left out. */
void fetch_each_field(const struct fetch *f, void (*each)(void *ctx, const char *name,
                                                          const char *value), void *ctx);
/* Nothing is called before they return. */
void fetch_body_more(struct fetch *f);
void fetch_go_on(struct fetch *f);
/* The request ends at once, its connection too; nothing is called any more. Not from within a
 * callback but done. Without effect when it has ended. */
void fetch_cancel(struct fetch *f);

#endif

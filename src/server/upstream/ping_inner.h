/* Inside of the gateway's Pings. ping.c: a Ping, from its arrival to its answer. lookout.c: who
 * is looked at, for each upstream. ping_look.c: one request to the upstream, and what its answer
 * means. */
#ifndef PROVOSTD_PING_INNER_H
#define PROVOSTD_PING_INNER_H

#include <pthread.h>

#include "src/server/ping/held.h"
#include "src/server/upstream/demand.h"
#include "src/server/upstream/inbox.h"
#include "src/server/upstream/ping.h"
#include "src/server/upstream/ping_wish.h"
#include "src/server/upstream/rota.h"

#define PING_WORKERS_MAX 256 /* beyond any machine; Pings of further workers are refused */
#define PING_RETRY_AFTER 10  /* seconds */

struct look;
struct lookout;

/* What is kept of a device between its Pings: the memory of its seat. */
struct ping_memory {
    int64_t first_seen;                /* of the partnership: another one knows nothing of it */
    uint64_t round, looked_ms;         /* of the rota */
    struct ping_wish wish;             /* the last member */
};

/* What a Ping is answered with, where it is more than a Status. From malloc. */
struct ping_reply {
    unsigned http;
    size_t len;
    uint8_t body[];
};

struct ping {
    struct held held;                  /* first */
    struct pings *pings;
    struct lookout *lookout;
    struct ping_wish *wish;
    char *authorization, *agent;       /* fields of the request, in kept; NULL: absent */
    char *kept;                        /* wiped in the end */
    size_t kept_size;
    struct ping_reply *reply;          /* NULL: held.status is the answer */
    struct look *look;                 /* under way for it */
    struct inbox *inbox;               /* tells of news; NULL: none */
    bool joined, forget;               /* forget: what it asked for is of no use any more */
    /* Under the lookout's lock: */
    struct rota_member member;
    struct worker *home;
    struct ping *bell_next, **bell_at; /* it has a slot, and its worker is to begin */
};

/* A worker's share of a lookout: those of its Pings that have been given a slot. */
struct ping_bell {
    struct task task;
    struct timer timer;                /* when the rota may have somebody again */
    struct lookout *lookout;
    struct ping *head, **tail;
    bool rung;
};

struct lookout {
    pthread_mutex_t lock;              /* everything below, and what stands so in struct ping */
    struct rota rota;
    uint64_t now_ms;                   /* the workers' clocks are not quite the same */
    unsigned heartbeat;                /* seconds, of the Pings that are sent */
    unsigned lessons;                  /* how often the upstream has said which */
    unsigned held;                     /* Pings that wait */
    uint64_t news_ms;                  /* how long the last news has waited, at most */
    uint64_t news_count;
    struct look *looks;                /* under way */
    struct ping_bell bells[PING_WORKERS_MAX];
};

struct pings {
    struct upstreams *upstreams;
    struct demands *demands;
    struct seats *seats;
    struct inboxes *inboxes;           /* NULL: none */
    size_t lookout_count;
    struct lookout *lookouts;          /* one for each upstream, in their order */
};

/* What came of a look. */
enum look_result {
    LOOK_NOTHING, /* no news */
    LOOK_TELL,    /* to be told: reply, or status */
    LOOK_AGAIN,   /* the upstream wants another heartbeat */
    LOOK_FAILED
};
struct look_report {
    enum look_result result;
    unsigned said;                     /* Status of what the upstream said; 0: nothing of the kind */
    struct ping_reply *reply;
    unsigned status;
    uint64_t retry_ms;                 /* FAILED: not before; 0: not said */
    uint32_t heartbeat;                /* AGAIN: the one it wants; 0: not said */
    const char *why;                   /* FAILED, for the log */
};

/* ---- ping.c ---- */
/* It is answered with what the report says; its reply is taken over. p may be gone afterwards. */
void ping_tell(struct ping *p, const struct look_report *r);
/* The rota's memory of it has changed. */
void ping_looked_at(struct ping *p);
/* NULL: no memory. */
struct ping_reply *ping_reply_http(unsigned http);
struct ping_reply *ping_reply_body(const void *body, size_t len);

/* ---- lookout.c ---- */
void lookout_init(struct lookout *o, const struct config *c);
/* A heartbeat that was learnt stays, unless another one is configured than before. */
void lookout_reconfigure(struct lookout *o, const struct config *before, const struct config *c);
void lookout_finish(struct lookout *o);
/* On the Ping's worker: it waits for its turn. false: no memory. */
bool lookout_join(struct ping *p);
/* It waits no more; what is under way for it goes on alone. Without effect when it has not joined. */
void lookout_leave(struct ping *p);
/* Somebody's turn may have come. */
void lookout_run(struct lookout *o);
void lookout_hint(struct lookout *o, const char *user);
/* For `provost status`. NULL: no memory. */
json_t *lookout_status(struct lookout *o);

/* ---- ping_look.c ---- */
struct look {
    struct upstream_asked asked;
    struct look *prev, *next;          /* of the lookout */
    struct lookout *lookout;
    struct ping *ping;                 /* NULL: it has gone */
    void (*done)(struct look *l, struct look_report *r);
    uint64_t began_ms;
    char user[AUTH_USER_MAX];
    uint8_t body[];
};
/* Ask the upstream for p, with a Ping of that heartbeat. done, later, on this worker; it frees the look.
 * NULL: no memory, or there is no such upstream. */
struct look *look_begin(struct ping *p, uint32_t heartbeat,
                        void (*done)(struct look *l, struct look_report *r));

#endif

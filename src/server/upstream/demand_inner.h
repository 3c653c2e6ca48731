/* What the files of demands share. */
#ifndef PROVOSTD_DEMAND_INNER_H
#define PROVOSTD_DEMAND_INNER_H

#include <pthread.h>

#include "src/server/http/pool.h"
#include "src/server/upstream/demand.h"

#define TALK_BUCKETS 256

/* One call that waits for an upstream to be satisfied. Freed when it is told. */
struct settle {
    struct demands *demands;
    struct call *call;
    void (*gone)(struct call *c);
    void (*done)(struct call *c, enum demand_result result, unsigned status);
    struct settle *next;       /* behind the one under way */
    struct worker *home;
    struct task task;          /* begins, or tells */
    enum demand_result result; /* to be told */
    unsigned result_status;
    uint32_t key; /* of the command that was refused */
    unsigned http, status;
    char *authorization, *agent; /* of the request: its fields go when the peer goes */
    const char *upstream;        /* its URL */

    /* Of the one under way: */
    struct pv_client client;
    struct pv_client_out out;
    struct upstream_asked asked;
    bool asking;    /* the upstream is */
    bool left;      /* nobody waits for it any more */
    bool no_policy; /* the upstream has said so */
    uint8_t *body;  /* sent last */
    struct pv_arena arena; /* of the answer that came last */
    struct pv_client_in in;
    struct pv_provision_answer answer;
    struct job job; /* reads the device's DeviceInformation */
    bool knows_info;
    void *info_json;
    struct pv_device_info info;
};

/* A device for which something is under way, or was a moment ago. */
struct talk {
    struct talk *next;
    struct settle *now;     /* NULL: nothing is under way */
    struct settle *waiting; /* oldest first */
    unsigned waiting_count;
    unsigned strikes;       /* times that the upstream was asked in vain or not, before it rested */
    uint64_t last_ms, until_ms;
    enum demand_result last;
    unsigned last_status;
    char name[]; /* USER/DEVICE */
};

struct demands {
    struct gate *gate;
    struct upstreams *upstreams;
    struct pool *pool;
    pthread_mutex_t mutex; /* the rest */
    struct talk *buckets[TALK_BUCKETS];
    size_t count;
    struct farewell *farewells;
};

/* ---- demand.c ---- */
/* The end of the one under way: told to its call, and to those that wait for it. */
void settle_end(struct settle *s, enum demand_result result, unsigned status);

/* ---- demand_run.c ---- */
/* On its home. */
void settle_run(struct settle *s);
/* What an answer to Provision says, into the arena, which is made anew. false: no memory. */
bool demand_read_answer(const struct upstream_asked *a, struct pv_arena *arena,
                        struct pv_client_in *in, struct pv_provision_answer *answer);
/* Whatever is under way at the upstream ends. false: something else is, and comes back. */
bool settle_cancel(struct settle *s);
void settle_free(struct settle *s);

/* ---- demand_wiped.c ---- */
/* The device has said what came of the upstream's wipe. */
void demand_farewell(void *ctx, struct call *c, const char *upstream, enum pv_wipe_kind kind,
                     unsigned status);
void farewells_free(struct demands *d);

#endif

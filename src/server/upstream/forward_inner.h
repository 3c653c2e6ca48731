/* A call that is passed on, and the two heads of it. */
#ifndef PROVOSTD_FORWARD_INNER_H
#define PROVOSTD_FORWARD_INNER_H

#include "src/server/http/head.h"
#include "src/server/upstream/demand.h"
#include "src/server/upstream/upstream_inner.h"

struct gateway {
    struct gate *gate;
    struct upstreams *upstreams;
    struct demands *demands;
    const struct config *config;
};

/* ---- forward_fields.c: what goes to the upstream ---- */
#define SENT_FIELDS_MAX (HEAD_FIELDS_MAX + 8)
struct sent_fields {
    struct http_field at[SENT_FIELDS_MAX + 1];
    size_t count;
    const struct gateway *gateway;
    const struct call *call;
    const char *connection;            /* of the request; NULL: none */
    char key[UPSTREAM_KEY_TEXT];
};
/* Of a call to an upstream; valid as long as the request's fields. req: of a command; NULL for
 * OPTIONS. key: policy key of the upstream, 0: none, which is told too: who sends no key at all is taken
 * for a device that cannot be provisioned, and may be let in as such. */
void sent_fields_make(struct sent_fields *s, const struct gateway *w, const struct call *c,
                      const struct pv_request *req, uint32_t key);

/* ---- forward_answer.c: what comes back ---- */
#define TOLD_FIELDS_MAX 128
struct told_fields {
    struct http_field at[TOLD_FIELDS_MAX + 1];
    size_t count;
    const struct gateway *gateway;
    const struct call *call;
    char place[PUBLIC_URL_ROOM];       /* that has answered */
    char versions[64], commands[512];
    char location[3][2048];
    unsigned locations;
};
/* Of an answer, valid until the fetch has ended. */
void told_fields_make(struct told_fields *t, const struct gateway *w, const struct call *c,
                      const struct upstream *u, const struct fetch *f);

/* ---- forward.c ---- */
/* Both answer the call, now or later. */
void forward_command(struct gateway *g, struct call *c);
void forward_options(struct gateway *g, struct call *c);

#endif

/* What came of an upstream's wipe is told there with the credentials that the device has said it with.
 * What does not arrive is told when the upstream orders the wipe again. */
#include <stdlib.h>
#include <string.h>

#include "src/server/observe/log.h"
#include "src/server/upstream/demand_inner.h"

struct farewell {
    struct farewell *next, **at;
    struct upstream_asked asked;
    struct job job;
    struct demands *demands;
    const char *upstream;
    unsigned status;
    char user[AUTH_USER_MAX], device_id[PV_DEVICE_ID_MAX + 1];
    uint8_t body[64];
};

static void link_in(struct farewell *f)
{
    struct demands *d = f->demands;
    pthread_mutex_lock(&d->mutex);
    f->next = d->farewells;
    f->at = &d->farewells;
    if (f->next) f->next->at = &f->next;
    d->farewells = f;
    pthread_mutex_unlock(&d->mutex);
}

static void take_out(struct farewell *f)
{
    pthread_mutex_lock(&f->demands->mutex);
    *f->at = f->next;
    if (f->next) f->next->at = f->at;
    pthread_mutex_unlock(&f->demands->mutex);
}

static void end(struct job *j)
{
    struct farewell *f = CONTAINER_OF(j, struct farewell, job);
    take_out(f);
    free(f);
}

/* The user may have left the memory since the device has said it. */
static void keep(struct job *j)
{
    struct farewell *f = CONTAINER_OF(j, struct farewell, job);
    gate_upstream_wipe_told(f->demands->gate, f->user, f->device_id, f->upstream);
}

static void told(struct upstream_asked *a, enum fetch_result result)
{
    struct farewell *f = CONTAINER_OF(a, struct farewell, asked);
    struct pv_provision_answer answer = {0};
    struct pv_arena arena = {0};
    struct pv_client_in in = {0};
    bool taken = result == FETCH_OK && demand_read_answer(a, &arena, &in, &answer) &&
                 in.http == 200 && (!in.provision || answer.status <= 1);
    pv_arena_destroy(&arena);
    LOG(taken ? LOG_INFO : LOG_WARN, 0, taken ? "upstream-wipe-told" : "upstream-wipe-not-told",
        KV_TEXT("user", f->user), KV_TEXT("device", f->device_id), KV_TEXT("upstream", f->upstream),
        KV_UINT("said", f->status), KV_UINT("http", in.http));
    f->job.run = keep;
    f->job.done = end;
    /* What is not kept is told again when the upstream orders the wipe again. */
    if (!taken || f->status != 1 || !pool_submit_for(f->demands->pool, &f->job, NULL)) end(&f->job);
}

static bool ask(struct farewell *f, const struct call *c, enum pv_wipe_kind kind)
{
    const struct pv_client_out out = {
        .action = PV_DO_WIPE_ACK, .wipe = kind, .ack_status = f->status};
    size_t len;
    if (pv_client_body(&out, c->req.version, NULL, f->body, sizeof f->body, &len) != PV_OK)
        return false;
    return upstream_ask(f->demands->upstreams, &f->asked,
                        &(struct upstream_ask){
                            .cmd = PV_CMD_Provision,
                            .version = c->req.version,
                            .user = c->user,
                            .said_user = c->req.user,
                            .device_id = c->req.device_id,
                            .device_type = c->req.device_type,
                            .agent = http_field(c->http, "User-Agent"),
                            .authorization = call_authorization(c),
                            .key = gate_demand_key(c, f->upstream),
                            .body = f->body,
                            .len = len,
                        });
}

void demand_farewell(void *ctx, struct call *c, const char *upstream, enum pv_wipe_kind kind,
                     unsigned status)
{
    struct demands *d = ctx;
    const struct upstream *u = upstream_of(d->upstreams, c->user);
    struct farewell *f = NULL;
    if (!u || strcmp(upstream_url(u), upstream) != 0) return; /* the user has moved */
    f = calloc(1, sizeof *f);
    if (f) {
        f->demands = d;
        f->upstream = upstream_url(u);
        f->status = status;
        memcpy(f->user, c->user, sizeof f->user);
        memcpy(f->device_id, c->req.device_id, strlen(c->req.device_id));
        f->asked.done = told;
        link_in(f);
        if (ask(f, c, kind)) return;
        take_out(f);
        free(f);
    }
    LOG(LOG_WARN, call_session(c), "upstream-wipe-not-told", KV_TEXT("user", c->user),
        KV_TEXT("device", c->req.device_id), KV_TEXT("upstream", upstream));
}

void farewells_free(struct demands *d)
{
    while (d->farewells) {
        struct farewell *f = d->farewells;
        d->farewells = f->next;
        free(f);
    }
}

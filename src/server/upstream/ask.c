/* One request to an upstream on behalf of a device, written by us. */
#include <stdio.h>

#include "src/server/upstream/upstream_inner.h"

#define FIELDS_MAX 8

bool upstream_target(const char *place, const struct pv_request *req, char out[UPSTREAM_TARGET_MAX])
{
    struct pv_request plain = *req;
    plain.form = PV_QUERY_PLAIN;
    return pv_request_target(&plain, place, out, UPSTREAM_TARGET_MAX) == PV_OK;
}

void upstream_key_text(uint32_t key, char out[UPSTREAM_KEY_TEXT])
{
    snprintf(out, UPSTREAM_KEY_TEXT, "%u", (unsigned)key);
}

static void asked(struct fetch *f, enum fetch_result result)
{
    struct upstream_asked *a = CONTAINER_OF(f, struct upstream_asked, fetch);
    upstream_ended(a->upstream, result, f, a->elsewhere);
    if (a->elsewhere && result == FETCH_UNREACHABLE)
        location_forget(a->upstream->set->locations, a->user);
    if (result == FETCH_OK) (void)upstream_sends_on(a->upstream, a->user, f);
    a->upstream = NULL;
    a->done(a, result);
}

static void put(struct http_field **at, const char *name, const char *value)
{
    if (value && *value) *(*at)++ = (struct http_field){name, value};
}

bool upstream_ask(struct upstreams *u, struct upstream_asked *a, const struct upstream_ask *ask)
{
    const struct config *c = config_now(u->config);
    struct upstream *up = upstream_of(u, ask->user);
    struct http_field fields[FIELDS_MAX] = {0}, *at = fields;
    char url[UPSTREAM_TARGET_MAX], place[PUBLIC_URL_ROOM], key[UPSTREAM_KEY_TEXT] = "";
    const struct pv_request req = {.version = ask->version,
                                   .cmd = ask->cmd,
                                   .user = ask->said_user,
                                   .device_id = ask->device_id,
                                   .device_type = ask->device_type};
    if (!up) return false;
    a->elsewhere = upstream_place(up, ask->user, place);
    if (!upstream_target(place, &req, url)) return false;
    snprintf(a->user, sizeof a->user, "%s", ask->user);
    if (ask->key) upstream_key_text(ask->key, key);
    put(&at, "MS-ASProtocolVersion", pv_version_text(ask->version));
    put(&at, "Content-Type", ask->len ? PV_EAS_CONTENT_TYPE : NULL);
    put(&at, "Authorization", ask->authorization);
    put(&at, "User-Agent", ask->agent);
    put(&at, "X-MS-PolicyKey", key);
    if (c->upstream.user_field) put(&at, c->upstream.user_field, ask->user);
    a->fetch = (struct fetch){.done = asked};
    a->upstream = up;
    const struct fetch_ask f = {
        .peer = up->peer,
        .method = "POST",
        .url = url,
        .fields = fields,
        .body = ask->body,
        .len = ask->len,
        .head_ms = ask->head_ms ? ask->head_ms : c->upstream.timeout * 1000,
        .stall_ms = c->upstream.stall_timeout * 1000,
        .answer_max = UPSTREAM_ANSWER_MAX,
    };
    if (!fetch_start(u->fetcher, &a->fetch, &f)) return false;
    upstream_begun(up);
    return true;
}

void upstream_cancel(struct upstream_asked *a)
{
    if (!a->upstream) return;
    fetch_cancel(&a->fetch);
    upstream_left(a->upstream);
    a->upstream = NULL;
}

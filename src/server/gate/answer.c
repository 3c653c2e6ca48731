/* Answers: how a call ends. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "src/server/gate/inner.h"
#include "src/server/observe/log.h"

#define CHALLENGE_MAX 1280 /* the configuration bounds what is put in */

void call_reply(struct call *c, const struct http_reply *r)
{
    struct gate_call *gc = gate_call_of(c);
    if (gc->answered) return;
    gc->answered = true;
    struct http_reply told = gc->forward ? forward_reply(gc, r) : *r;
    /* It was let in long ago: whether its device still may hear of news nobody knows now. */
    if (gc->waited && r->status < 500 && !gate_is_heard(c->gate))
        told = (struct http_reply){.status = 503, .retry_after = RETRY_AFTER_S};
    LOG(LOG_DEBUG, http_session(gc->call.http), "answer", KV_UINT("http", told.status),
        KV_UINT("bytes", told.len));
    http_reply(gc->call.http, &told);
}

void call_hang_up(struct call *c)
{
    gate_call_of(c)->answered = true;
    LOG(LOG_DEBUG, http_session(c->http), "hang-up");
    http_hang_up(c->http);
}

void call_reply_begin(struct call *c, const struct http_reply *head, uint64_t length)
{
    gate_call_of(c)->answered = true;
    LOG(LOG_DEBUG, http_session(c->http), "answer-begins", KV_UINT("http", head->status));
    http_reply_begin(c->http, head, length);
}

void call_answer_with(struct call *c, const uint8_t *wbxml, size_t len,
                      const struct http_field *fields)
{
    const struct http_reply r = {
        .status = 200,
        .type = len ? PV_EAS_CONTENT_TYPE : NULL,
        .body = wbxml,
        .len = len,
        .fields = fields,
    };
    call_reply(c, &r);
}

void call_answer(struct call *c, const uint8_t *wbxml, size_t len)
{
    call_answer_with(c, wbxml, len, NULL);
}

void call_http(struct call *c, unsigned http, unsigned retry_after)
{
    call_reply(c, &(struct http_reply){.status = http, .retry_after = retry_after});
}

void call_http_with(struct call *c, unsigned http, const struct http_field *fields)
{
    call_reply(c, &(struct http_reply){.status = http, .fields = fields});
}

void call_status(struct call *c, unsigned status)
{
    const struct pv_cmd_info *info = pv_cmd_info(c->req.cmd);
    struct pv_wbxml_writer w;
    uint8_t body[64];
    size_t len;
    pv_wbxml_begin(&w, body, sizeof body);
    pv_wbxml_start(&w, info->root);
    pv_wbxml_leaf_u32(&w, info->status, status);
    pv_wbxml_end(&w);
    if (pv_wbxml_finish(&w, &len) == PV_OK)
        call_answer(c, body, len);
    else
        call_http(c, 500, 0); /* a command without WBXML answer has no Status */
}

void call_refuse(struct call *c, unsigned status)
{
    struct pv_refusal r;
    /* A proxy relays HTTP codes, which have a meaning to devices of every version. */
    enum pv_version version = gate_call_of(c)->forward ? PV_V12_1 : c->req.version;
    pv_refuse(version, c->req.cmd, status, c->req.key.kind != PV_KEY_ABSENT, &r);
    atomic_fetch_add_explicit(&c->gate->refusals, 1, memory_order_relaxed);
    if (r.http == 200)
        call_answer(c, r.body, r.len);
    else
        call_http(c, r.http, 0);
}

void call_refused(struct gate_call *gc, const struct pv_server_out *out, uint32_t expected)
{
    struct call *c = &gc->call;
    char sent[12], own[12];
    /* Without a body no device is kept, and nothing has asked yet whether it may be told. */
    if (c->device ? !gc->quiet && log_on(LOG_INFO) : call_may_log(c)) {
        pv_key_mask(c->req.key, sent);
        pv_key_mask((struct pv_sent_key){expected ? PV_KEY_NUMBER : PV_KEY_ABSENT, expected}, own);
        LOG(LOG_INFO, call_session(c), "refuse", KV_TEXT("user", c->user),
            KV_TEXT("device", c->req.device_id), KV_TEXT("command", pv_cmd_info(c->req.cmd)->name),
            KV_TEXT("version", pv_version_text(c->req.version)), KV_UINT("status", out->status),
            KV_TEXT("reason", pv_reason_name(out->reason)), KV_TEXT("sent", sent),
            KV_TEXT("expected", own));
    }
    call_refuse(c, out->status);
}

/* RFC 6750 3: a token that is no good is told so; a client may ask for another one then. */
static void bearer_challenge(const struct call *c, char *out, size_t cap)
{
    const char *where = config_now(c->gate->config)->auth.oauth.authorization_url;
    const char *login = http_field(c->http, "Authorization");
    bool had_one = login && strncasecmp(login, "Bearer ", 7) == 0 && login[7];
    snprintf(out, cap, "Bearer realm=\"Provost\"%s%s%s%s", where ? ", authorization_uri=\"" : "",
             where ? where : "", where ? "\"" : "", had_one ? ", error=\"invalid_token\"" : "");
}

void call_unauthorized(struct call *c)
{
    char bearer[CHALLENGE_MAX];
    struct http_field fields[3] = {0};
    size_t n = 0;
    unsigned kinds = auth_kinds(c->gate->auth);
    if (kinds & 1u << AUTH_PASSWORD)
        fields[n++] =
            (struct http_field){"WWW-Authenticate", "Basic realm=\"Provost\", charset=\"UTF-8\""};
    if (kinds & 1u << AUTH_BEARER) {
        bearer_challenge(c, bearer, sizeof bearer);
        fields[n++] = (struct http_field){"WWW-Authenticate", bearer};
    }
    /* Certificates are asked for by TLS; 401 must say how to log in. */
    call_http_with(c, n > 0 ? 401 : 403, fields);
}

void call_options(struct call *c)
{
    const struct gate *g = c->gate;
    const struct http_field fields[] = {
        {"MS-ASProtocolVersions", gate_versions(g)},
        {"MS-ASProtocolCommands", g->commands},
        {"MS-Server-ActiveSync", pv_version_text(PV_VERSION_COUNT - 1)},
        {"Allow", "OPTIONS,POST"},
        {"Public", "OPTIONS,POST"},
        {0},
    };
    call_http_with(c, 200, fields);
}

static void on_gone(struct http_exchange *x)
{
    struct gate_call *gc = http_data(x);
    if (gc->gone) gc->gone(&gc->call);
}

/* Who waits without `gone` is answered also when the server stops or the peer has closed its side:
 * what was begun for it ends by itself, and soon. */
void call_wait(struct call *c, void (*gone)(struct call *c))
{
    struct gate_call *gc = gate_call_of(c);
    gc->gone = gone;
    if (!gc->answered) http_wait(c->http, gone ? on_gone : NULL);
}

uint64_t call_session(const struct call *c)
{
    return http_session(c->http);
}

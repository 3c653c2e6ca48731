#include "src/server/autodiscover/autodiscover.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include <jansson.h>

#include "src/lib/base/text.h"
#include "src/lib/eas/request.h"
#include "src/server/autodiscover/question.h"
#include "src/server/observe/log.h"
#include "src/server/public_url.h"

#define PATH_V1 "/autodiscover/autodiscover.xml"
#define PATH_V2 "/autodiscover/autodiscover.json"
#define PATH_V2_BELOW PATH_V2 "/v1.0" /* the address stands in the path */
#define RETRY_S 10
/* Each byte of what is put in takes six at most. */
#define ANSWER_MAX (1024 + 6 * (QUESTION_EMAIL_MAX + 2 * PUBLIC_URL_ROOM))

static struct public_url url_of(const struct gate *g, const struct http_exchange *x)
{
    return (struct public_url){gate_config(g)->url, http_secure(x), http_field(x, "Host")};
}

/* ---- version 1 ---- */

static void put_text(struct pv__out *o, const char *text)
{
    static const struct {
        char c;
        const char *name;
    } special[] = {{'&', "&amp;"}, {'<', "&lt;"}, {'>', "&gt;"}, {'"', "&quot;"}, {'\'', "&#39;"}};
    for (; *text; text++) {
        const char *name = NULL;
        for (size_t i = 0; i < sizeof special / sizeof *special; i++)
            if (special[i].c == *text) name = special[i].name;
        if (name)
            pv__out_text(o, name);
        else
            pv__out_bytes(o, text, 1);
    }
}

static void put_leaf(struct pv__out *o, const char *name, const char *text)
{
    pv__out_text(o, "<");
    pv__out_text(o, name);
    pv__out_text(o, ">");
    put_text(o, text);
    pv__out_text(o, "</");
    pv__out_text(o, name);
    pv__out_text(o, ">");
}

static void put_begin(struct pv__out *o)
{
    pv__out_text(o, "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<Autodiscover xmlns=\""
                    "http://schemas.microsoft.com/exchange/autodiscover/responseschema/2006\">");
}

//= MS-ASCMD 2.2.1.1: Name equals Url; Culture is what Exchange says
static void put_settings(struct pv__out *o, const char *email, const char *url)
{
    put_begin(o);
    pv__out_text(o, "<Response xmlns=\"http://schemas.microsoft.com/exchange/autodiscover/"
                    "mobilesync/responseschema/2006\"><Culture>en:us</Culture><User>");
    put_leaf(o, "EMailAddress", email);
    pv__out_text(o, "</User><Action><Settings><Server><Type>MobileSync</Type>");
    put_leaf(o, "Url", url);
    put_leaf(o, "Name", url);
    pv__out_text(o, "</Server></Settings></Action></Response></Autodiscover>\n");
}

static void put_fault(struct pv__out *o, enum question_fault fault, uint64_t session)
{
    char head[96];
    time_t now = time(NULL);
    struct tm tm = {0};
    gmtime_r(&now, &tm);
    snprintf(head, sizeof head, "<Response><Error Time=\"%02d:%02d:%02d\" Id=\"%llu\">", tm.tm_hour,
             tm.tm_min, tm.tm_sec, (unsigned long long)session);
    put_begin(o);
    pv__out_text(o, head);
    pv__out_text(o, "<ErrorCode>");
    pv__out_i64(o, fault);
    pv__out_text(o, "</ErrorCode>");
    put_leaf(o, "Message",
             fault == QUESTION_NO_PROVIDER ? "Nothing here answers in that response schema."
                                           : "The request cannot be understood.");
    pv__out_text(o, "<DebugData/></Error></Response></Autodiscover>\n");
}

static void answer_xml(struct call *c, struct pv__out *o)
{
    size_t len;
    if (pv__out_end(o, &len) != PV_OK) { /* ANSWER_MAX holds every answer */
        call_http(c, 500, 0);
        return;
    }
    call_reply(c,
               &(struct http_reply){
                   .status = 200, .type = "text/xml; charset=utf-8", .body = o->buf, .len = len});
}

static void answer_v1(struct call *c)
{
    char email[QUESTION_EMAIL_MAX], url[PUBLIC_URL_ROOM], buf[ANSWER_MAX];
    const struct public_url here = url_of(c->gate, c->http);
    struct pv__out o;
    size_t len;
    const uint8_t *body = http_body(c->http, &len);
    enum question_fault fault = question_read(body, len, email);
    pv__out_init(&o, buf, sizeof buf);
    if (fault == QUESTION_NO_MEMORY) {
        call_http(c, 503, RETRY_S);
    } else if (fault) {
        LOG(LOG_INFO, call_session(c), "autodiscover-refused", KV_TEXT("user", c->user),
            KV_UINT("code", fault));
        put_fault(&o, fault, call_session(c));
        answer_xml(c, &o);
    } else if (!public_url_eas(&here, url)) {
        call_http(c, 400, 0);
    } else {
        put_settings(&o, email, url);
        answer_xml(c, &o);
    }
}

static void serve_v1(struct http_exchange *x, void *ctx)
{
    static const struct http_field allow[] = {{"Allow", "POST"}, {0}};
    size_t len;
    uint64_t announced;
    (void)http_body(x, &len);
    if (strcmp(http_method(x), "POST") != 0)
        http_reply(x, &(struct http_reply){.status = 405, .fields = allow});
    else if (len > QUESTION_BODY_MAX || http_body_is_stream(x, &announced))
        http_reply(x, &(struct http_reply){.status = 413, .close = true});
    else
        gate_verify_user(ctx, x, answer_v1);
}

/* ---- version 2 ---- */

/* Takes json over; NULL: it could not be made. */
static void answer_json(struct http_exchange *x, unsigned status, json_t *json)
{
    char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;
    if (text)
        http_reply(x, &(struct http_reply){.status = status,
                                           .type = "application/json; charset=utf-8",
                                           .body = text,
                                           .len = strlen(text)});
    else
        http_reply(x, &(struct http_reply){.status = 503, .retry_after = RETRY_S});
    free(text);
    json_decref(json);
}

static void refuse_v2(struct http_exchange *x, const char *code, const char *message)
{
    answer_json(x, 400, json_pack("{ss,ss}", "ErrorCode", code, "ErrorMessage", message));
}

static void tell_v2(struct http_exchange *x, const struct gate *g, bool eas)
{
    char url[PUBLIC_URL_ROOM];
    const struct public_url here = url_of(g, x);
    if (eas ? public_url_eas(&here, url) : public_url_at(&here, PATH_V1, url))
        answer_json(
            x, 200,
            json_pack("{ss,ss}", "Protocol", eas ? "ActiveSync" : "AutodiscoverV1", "Url", url));
    else
        http_reply(x, &(struct http_reply){.status = 400});
}

static void serve_v2(struct http_exchange *x, void *ctx)
{
    static const struct http_field allow[] = {{"Allow", "GET,HEAD"}, {0}};
    struct pv__target t;
    if (strcmp(http_method(x), "GET") != 0 && strcmp(http_method(x), "HEAD") != 0) {
        http_reply(x, &(struct http_reply){.status = 405, .fields = allow});
        return;
    }
    pv__target_split(http_target(x), &t);
    switch (question_query(t.query, t.path_len > strlen(PATH_V2_BELOW))) {
    case QUESTION_V2_ACTIVESYNC: tell_v2(x, ctx, true); return;
    case QUESTION_V2_AUTODISCOVER: tell_v2(x, ctx, false); return;
    case QUESTION_V2_NO_EMAIL:
        refuse_v2(x, "MandatoryParameterMissing", "The parameter Email is missing.");
        return;
    case QUESTION_V2_NO_PROTOCOL:
        refuse_v2(x, "MandatoryParameterMissing", "The parameter Protocol is missing.");
        return;
    case QUESTION_V2_OTHER_PROTOCOL:
        refuse_v2(x, "InvalidProtocol",
                  "There is no such protocol here. There are: ActiveSync, AutodiscoverV1.");
        return;
    }
}

void autodiscover_routes(struct gate *g, struct router *r)
{
    const struct http_handler v1 = {.serve = serve_v1, .ctx = g},
                              v2 = {.serve = serve_v2, .ctx = g};
    router_add(r, PATH_V1, false, v1);
    router_add(r, PATH_V2, false, v2);
    router_add(r, PATH_V2_BELOW, true, v2);
}

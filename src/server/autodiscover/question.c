#include "src/server/autodiscover/question.h"

#include <expat.h>
#include <stdlib.h>
#include <string.h>

#include "src/lib/base/text.h"

#define SEPARATOR '\n' /* between namespace and name: stands in neither */
#define DEPTH_MAX 16   /* real ones have three */
#define TEXT_MAX 257   /* of what is looked at */

static const char response_schema[] =
    "http://schemas.microsoft.com/exchange/autodiscover/mobilesync/responseschema/2006";

/* One text of the document. */
struct leaf {
    char text[TEXT_MAX];
    size_t len;
    unsigned times;
};

struct reading {
    XML_Parser parser;
    unsigned depth;
    bool root_fits, in_request;
    unsigned requests;
    struct leaf email, schema;
    struct leaf *open; /* whose text is being read */
    bool too_long;
};

/* Not expat's own malloc, so that tests can let it fail. */
static const XML_Memory_Handling_Suite memory = {malloc, realloc, free};

static bool is(const char *name, const char *wanted)
{
    const char *colon = strrchr(name, SEPARATOR);
    return strcmp(colon ? colon + 1 : name, wanted) == 0;
}

static void stop(struct reading *r)
{
    XML_StopParser(r->parser, XML_FALSE);
}

/* A document type could define entities that grow, or lead elsewhere. */
static void on_doctype(void *ctx, const char *name, const char *system, const char *public,
                       int internal)
{
    (void)name, (void)system, (void)public, (void)internal;
    stop(ctx);
}

static void on_start(void *ctx, const char *name, const char **attributes)
{
    struct reading *r = ctx;
    (void)attributes;
    r->open = NULL;
    switch (++r->depth) {
    case 1: r->root_fits = is(name, "Autodiscover"); break;
    case 2:
        r->in_request = is(name, "Request");
        r->requests += r->in_request;
        break;
    case 3:
        if (!r->in_request) break;
        if (is(name, "EMailAddress")) r->open = &r->email;
        if (is(name, "AcceptableResponseSchema")) r->open = &r->schema;
        if (r->open) r->open->times++;
        break;
    case DEPTH_MAX: stop(r); break;
    }
}

static void on_end(void *ctx, const char *name)
{
    struct reading *r = ctx;
    (void)name;
    r->open = NULL;
    r->depth--;
}

static void on_text(void *ctx, const char *text, int len)
{
    struct reading *r = ctx;
    struct leaf *l = r->open;
    if (!l) return;
    if ((size_t)len >= sizeof l->text - l->len) {
        r->too_long = true;
        stop(r);
        return;
    }
    memcpy(l->text + l->len, text, (size_t)len);
    l->len += (size_t)len;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static void trim(struct leaf *l)
{
    size_t from = 0;
    while (l->len && is_blank(l->text[l->len - 1])) l->len--;
    while (from < l->len && is_blank(l->text[from])) from++;
    l->len -= from;
    memmove(l->text, l->text + from, l->len);
    l->text[l->len] = '\0';
}

/* The document was read to its end. */
static enum question_fault judge(struct reading *r)
{
    trim(&r->email);
    trim(&r->schema);
    if (!r->root_fits || r->requests != 1 || r->schema.times != 1 || r->schema.len == 0)
        return QUESTION_INVALID;
    if (strcmp(r->schema.text, response_schema) != 0) return QUESTION_NO_PROVIDER;
    return r->email.times == 1 && r->email.len > 0 ? QUESTION_OK : QUESTION_INVALID;
}

enum question_fault question_read(const void *body, size_t len, char email_out[QUESTION_EMAIL_MAX])
{
    struct reading r = {.parser = NULL};
    _Static_assert(TEXT_MAX == QUESTION_EMAIL_MAX, "an address is copied as it is");
    if (len > QUESTION_BODY_MAX) return QUESTION_INVALID;
    r.parser = XML_ParserCreate_MM(NULL, &memory, (const char[]){SEPARATOR, '\0'});
    if (!r.parser) return QUESTION_NO_MEMORY;
    XML_SetUserData(r.parser, &r);
    XML_SetStartDoctypeDeclHandler(r.parser, on_doctype);
    XML_SetElementHandler(r.parser, on_start, on_end);
    XML_SetCharacterDataHandler(r.parser, on_text);
    bool whole = XML_Parse(r.parser, body, (int)len, XML_TRUE) == XML_STATUS_OK;
    bool no_memory = !whole && XML_GetErrorCode(r.parser) == XML_ERROR_NO_MEMORY;
    XML_ParserFree(r.parser);
    if (no_memory) return QUESTION_NO_MEMORY;
    enum question_fault fault = whole ? judge(&r) : QUESTION_INVALID;
    if (fault == QUESTION_OK) memcpy(email_out, r.email.text, r.email.len + 1);
    return fault;
}

/* ---- version 2 ---- */

/* The value of the first parameter of that name, in *len_out bytes; NULL: there is none. */
static const char *parameter(const char *query, const char *name, size_t *len_out)
{
    for (const char *p = query; p; p = strchr(p, '&') ? strchr(p, '&') + 1 : NULL) {
        size_t len = strcspn(p, "&="), value = strcspn(p, "&") - len;
        if (!pv__equal_nocase(p, len, name, strlen(name))) continue;
        *len_out = value > 0 ? value - 1 : 0;
        return p + len + (value > 0);
    }
    return NULL;
}

enum question_v2 question_query(const char *query, bool has_email)
{
    static const struct {
        const char *name;
        enum question_v2 answer;
    } protocols[] = {{"ActiveSync", QUESTION_V2_ACTIVESYNC},
                     {"AutodiscoverV1", QUESTION_V2_AUTODISCOVER}};
    size_t len = 0;
    const char *email = parameter(query, "Email", &len);
    if (!has_email && (!email || len == 0)) return QUESTION_V2_NO_EMAIL;
    const char *protocol = parameter(query, "Protocol", &len);
    if (!protocol || len == 0) return QUESTION_V2_NO_PROTOCOL;
    for (size_t i = 0; i < sizeof protocols / sizeof *protocols; i++)
        if (pv__equal_nocase(protocol, len, protocols[i].name, strlen(protocols[i].name)))
            return protocols[i].answer;
    return QUESTION_V2_OTHER_PROTOCOL;
}

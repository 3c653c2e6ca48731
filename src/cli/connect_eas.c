#include "src/cli/connect_eas.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "src/cli/text.h"
#include "src/lib/base/text.h"
#include "src/server/admin/version.h"

/* ---- what comes in ---- */

static size_t take_body(char *data, size_t size, size_t count, void *ctx)
{
    struct eas *e = ctx;
    size_t n = size * count;
    if (n > EAS_BODY_MAX - e->answer->len) {
        e->too_big = true;
        return 0;
    }
    memcpy(e->buf + e->answer->len, data, n);
    e->answer->len += n;
    return n;
}

/* Value of a field when the line has that name. */
static bool field_is(const char *line, size_t len, const char *name, const char **value,
                     size_t *value_len)
{
    size_t n = strlen(name);
    if (len <= n || line[n] != ':' || strncasecmp(line, name, n) != 0) return false;
    const char *from = line + n + 1, *end = line + len;
    while (from < end && (*from == ' ' || *from == '\t')) from++;
    while (end > from && strchr(" \t\r\n", end[-1])) end--;
    *value = from;
    *value_len = (size_t)(end - from);
    return true;
}

static void keep(char *to, size_t cap, const char *value, size_t len)
{
    if (len >= cap) return; /* longer than anything that could be meant */
    memcpy(to, value, len);
    to[len] = '\0';
}

static size_t take_field(char *line, size_t size, size_t count, void *ctx)
{
    struct eas *e = ctx;
    struct eas_answer *a = e->answer;
    size_t len = size * count, n;
    const char *v;
    uint64_t seconds;
    if (len > 5 && strncasecmp(line, "HTTP/", 5) == 0) {
        *a =
            (struct eas_answer){.may_be_wbxml = true}; /* an interim answer's fields do not count */
    } else if (field_is(line, len, "MS-ASProtocolVersions", &v, &n)) {
        keep(a->versions, sizeof a->versions, v, n);
    } else if (field_is(line, len, "MS-ASProtocolCommands", &v, &n)) {
        keep(a->commands, sizeof a->commands, v, n);
    } else if (field_is(line, len, "X-MS-Location", &v, &n)) {
        keep(a->location, sizeof a->location, v, n);
    } else if (field_is(line, len, "Location", &v, &n)) {
        keep(a->redirect, sizeof a->redirect, v, n);
    } else if (field_is(line, len, "Content-Type", &v, &n)) {
        static const char type[] = "application/vnd.ms-sync";
        a->may_be_wbxml = n >= sizeof type - 1 && strncasecmp(v, type, sizeof type - 1) == 0;
    } else if (field_is(line, len, "Retry-After", &v, &n)) {
        if (pv__parse_u64(v, n, UINT32_MAX, true, &seconds)) a->retry_after = (unsigned)seconds;
    }
    return len;
}

static int watch_stop_flag(void *ctx, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    const struct eas *e = ctx;
    (void)a, (void)b, (void)c, (void)d;
    return e->stop && *e->stop;
}

/* ---- trace ---- */

/* A line of a head: credentials hidden, keys masked, the base64 query (which holds a key) left out.
 */
static void trace_line(const struct eas *e, char sign, const char *line, size_t len)
{
    static const char *const hidden[] = {"Authorization", "Cookie", "Set-Cookie",
                                         "Proxy-Authorization"};
    const char *v, *query;
    size_t n;
    char mask[12];
    if (len == 0) return;
    fprintf(e->trace, "%c ", sign);
    for (size_t i = 0; i < sizeof hidden / sizeof *hidden; i++)
        if (field_is(line, len, hidden[i], &v, &n)) {
            fprintf(e->trace, "%s: (hidden)\n", hidden[i]);
            return;
        }
    if (field_is(line, len, "X-MS-PolicyKey", &v, &n)) {
        pv_key_mask(pv_key_parse(v, n), mask);
        fprintf(e->trace, "X-MS-PolicyKey: %s\n", mask);
        return;
    }
    query = memchr(line, '?', len);
    if (sign == '>' && query && len > 5 && strncmp(line, "POST ", 5) == 0 &&
        e->form == PV_QUERY_BASE64) {
        fprintf(e->trace, "%.*s?(base64 query) HTTP/1.1\n", (int)(query - line), line);
        return;
    }
    text_print_len(e->trace, line, len);
    fputc('\n', e->trace);
}

static int trace_head(CURL *curl, curl_infotype type, char *data, size_t size, void *ctx)
{
    const struct eas *e = ctx;
    char sign = type == CURLINFO_HEADER_OUT ? '>' : '<';
    (void)curl;
    if (e->trace == NULL || (type != CURLINFO_HEADER_OUT && type != CURLINFO_HEADER_IN)) return 0;
    for (const char *line = data, *end = data + size; line < end;) {
        const char *feed = memchr(line, '\n', (size_t)(end - line));
        const char *stop = feed ? feed : end;
        size_t len = (size_t)(stop - line);
        trace_line(e, sign, line, len > 0 && line[len - 1] == '\r' ? len - 1 : len);
        line = stop + 1;
    }
    if (type == CURLINFO_HEADER_OUT && e->head_sent) e->head_sent(e->ctx);
    return 0;
}

/* ---- one request ---- */

bool eas_open(struct eas *e, const char *password)
{
    e->buf = malloc(EAS_BODY_MAX);
    CURL *c = e->curl = curl_easy_init();
    if (e->buf == NULL || c == NULL) return false;
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(c, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(c, CURLOPT_HTTPAUTH,
                     (long)CURLAUTH_BASIC); /* alone: sent without being asked */
    curl_easy_setopt(c, CURLOPT_USERNAME, e->user);
    curl_easy_setopt(c, CURLOPT_PASSWORD, password);
    curl_easy_setopt(c, CURLOPT_USERAGENT, "Provost/" PROVOST_VERSION);
    curl_easy_setopt(c, CURLOPT_ACCEPT_ENCODING, "gzip");
    curl_easy_setopt(c, CURLOPT_COOKIEFILE, ""); /* MS-ASHTTP: from 16.0 on cookies are returned */
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, (long)EAS_CONNECT_SECONDS);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, e);
    curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, take_field);
    curl_easy_setopt(c, CURLOPT_HEADERDATA, e);
    curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, watch_stop_flag);
    curl_easy_setopt(c, CURLOPT_XFERINFODATA, e);
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, e->error);
    if (e->ca_file) curl_easy_setopt(c, CURLOPT_CAINFO, e->ca_file);
    curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, e->insecure ? 0L : 1L);
    curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, e->insecure ? 0L : 2L);
    curl_easy_setopt(c, CURLOPT_DEBUGFUNCTION, trace_head);
    curl_easy_setopt(c, CURLOPT_DEBUGDATA, e);
    return true;
}

void eas_close(struct eas *e)
{
    curl_easy_cleanup(e->curl);
    free(e->buf);
    e->curl = NULL;
    e->buf = NULL;
}

/* What may be behind it, for whoever has mistaken an address; "" nothing that is known. */
static const char *advice(const struct eas *e, CURLcode code)
{
    if (code == CURLE_PEER_FAILED_VERIFICATION)
        return " (--ca-file FILE trusts other certificates than the system's)";
    if (code == CURLE_SSL_CONNECT_ERROR) return " (does it speak plain http there?)";
    return code == CURLE_GOT_NOTHING && !e->url.https ? " (does it want https there?)" : "";
}

static enum eas_result result_of(struct eas *e, CURLcode code)
{
    if (code == CURLE_OK) return EAS_OK;
    if (code == CURLE_ABORTED_BY_CALLBACK) return EAS_STOPPED;
    if (e->too_big)
        snprintf(e->error, sizeof e->error, "the answer is longer than %d bytes", EAS_BODY_MAX);
    else if (e->error[0] == '\0')
        snprintf(e->error, sizeof e->error, "%s", curl_easy_strerror(code));
    size_t len = strlen(e->error);
    snprintf(e->error + len, sizeof e->error - len, "%s", advice(e, code));
    switch (code) {
    case CURLE_WRITE_ERROR:
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_BAD_CONTENT_ENCODING:
    case CURLE_HTTP2:
    case CURLE_OUT_OF_MEMORY: return EAS_BROKEN;
    default: return EAS_UNREACHABLE;
    }
}

/* Send what is set up, to origin + target. */
static enum eas_result perform(struct eas *e, const char *target, unsigned seconds,
                               struct eas_answer *out)
{
    char url[2 * URL_MAX + 1024];
    int n = snprintf(url, sizeof url, "%s%s", e->url.origin, target);
    if (n < 0 || (size_t)n >= sizeof url) {
        snprintf(e->error, sizeof e->error, "the request line is too long");
        return EAS_BROKEN;
    }
    *out = (struct eas_answer){.may_be_wbxml = true};
    e->answer = out;
    e->too_big = false;
    e->error[0] = '\0';
    curl_easy_setopt(e->curl, CURLOPT_URL, url);
    curl_easy_setopt(e->curl, CURLOPT_TIMEOUT, (long)(EAS_ANSWER_SECONDS + seconds));
    curl_easy_setopt(e->curl, CURLOPT_VERBOSE, e->trace ? 1L : 0L);
    enum eas_result result = result_of(e, curl_easy_perform(e->curl));
    long http = 0;
    curl_easy_getinfo(e->curl, CURLINFO_RESPONSE_CODE, &http);
    out->http = (unsigned)http;
    out->body = e->buf;
    e->answer = NULL;
    return result;
}

bool eas_wait(const struct eas *e, unsigned seconds)
{
    for (unsigned tenth = 0; tenth < 10 * seconds; tenth++) {
        if (e->stop && *e->stop) return false;
        nanosleep(&(struct timespec){.tv_nsec = 100 * 1000 * 1000}, NULL);
    }
    return !(e->stop && *e->stop);
}

/* MS-ASHTTP 3.1.5.2.2: another server has the mailbox. https never leads to http. */
static enum eas_result follow(struct eas *e, const char *location, const struct server_url *seen,
                              unsigned count)
{
    struct server_url to;
    char sentence[2 * URL_MAX + 64];
    const char *why = url_parse(location, &to);
    if (why == NULL && e->url.https && !to.https) why = "it leads from https to http";
    for (unsigned i = 0; why == NULL && i < count; i++)
        if (url_same(&seen[i], &to)) why = "it leads in a circle";
    if (why == NULL && count > EAS_REDIRECTS_MAX) why = "it is one too many in a row";
    if (why) {
        snprintf(e->error, sizeof e->error, "HTTP 451 names an address that is not followed: %s",
                 why);
        return EAS_BROKEN;
    }
    e->url = to;
    e->moved = true;
    snprintf(sentence, sizeof sentence, "the server names another address: %s%s", to.origin,
             to.path);
    if (e->note) e->note(e->ctx, sentence);
    return EAS_OK;
}

/* Other redirections are a web server's, which knows no ActiveSync: told, never followed. */
static void tell_redirect(struct eas *e, const struct eas_answer *a)
{
    char sentence[URL_MAX + 128];
    if (a->http < 300 || a->http > 399 || a->redirect[0] == '\0' || e->note == NULL) return;
    snprintf(sentence, sizeof sentence,
             "the server points to %s; that is not followed, but may be the URL to give",
             a->redirect);
    e->note(e->ctx, sentence);
}

/* true: waited, try again. */
static bool come_back(struct eas *e, const struct eas_answer *a, unsigned tries)
{
    char sentence[96];
    unsigned seconds = a->retry_after ? a->retry_after : 1u << tries;
    if (tries == EAS_RETRIES_MAX || seconds > EAS_RETRY_SECONDS_MAX) return false;
    snprintf(sentence, sizeof sentence, "HTTP 503: the server asks to come back in %u s", seconds);
    if (e->note) e->note(e->ctx, sentence);
    return eas_wait(e, seconds);
}

struct outgoing {
    const struct pv_request *request;
    unsigned seconds;
}; /* request NULL: OPTIONS */

static enum eas_result send_out(struct eas *e, const struct outgoing *o, struct eas_answer *out)
{
    struct server_url seen[EAS_REDIRECTS_MAX + 1];
    unsigned count = 0, tries = 0;
    char target[URL_MAX + 1024];
    for (;;) {
        if (o->request == NULL)
            snprintf(target, sizeof target, "%s", e->url.path);
        else if (pv_request_target(o->request, e->url.path, target, sizeof target) != PV_OK) {
            snprintf(e->error, sizeof e->error, "the request line cannot be made");
            return EAS_BROKEN;
        }
        enum eas_result r = perform(e, target, o->seconds, out);
        if (r != EAS_OK) return r;
        if (out->http == 451 && out->location[0] != '\0') {
            seen[count++] = e->url;
            r = follow(e, out->location, seen, count);
            if (r != EAS_OK) return r;
        } else if (out->http == 503 && come_back(e, out, tries)) {
            tries++;
        } else {
            tell_redirect(e, out);
            return e->stop && *e->stop ? EAS_STOPPED : EAS_OK;
        }
    }
}

enum eas_result eas_options(struct eas *e, struct eas_answer *out)
{
    curl_easy_setopt(e->curl, CURLOPT_HTTPHEADER, NULL);
    curl_easy_setopt(e->curl, CURLOPT_HTTPGET, 1L);
    curl_easy_setopt(e->curl, CURLOPT_CUSTOMREQUEST, "OPTIONS");
    return send_out(e, &(struct outgoing){0}, out);
}

static bool append(struct curl_slist **fields, const char *name, const char *value)
{
    char line[256];
    int n = snprintf(line, sizeof line, "%s: %s", name, value);
    if (n < 0 || (size_t)n >= sizeof line) return false;
    struct curl_slist *longer = curl_slist_append(*fields, line);
    if (longer) *fields = longer;
    return longer != NULL;
}

enum eas_result eas_post(struct eas *e, enum pv_cmd cmd, struct pv_sent_key key,
                         const char *key_text, const uint8_t *body, size_t len, unsigned seconds,
                         struct eas_answer *out)
{
    struct pv_request request = {.form = e->form,
                                 .version = e->version,
                                 .cmd = cmd,
                                 .user = e->user,
                                 .device_id = e->device_id,
                                 .device_type = e->device_type,
                                 .locale = 0x0409,
                                 .key = key};
    bool plain = e->form == PV_QUERY_PLAIN;
    struct curl_slist *fields = NULL;
    /* A temporary key may be any text (MS-ASPROV 2.2.2.42); the base64 query has room for numbers
     * only. */
    if (request.key.kind == PV_KEY_BAD) request.key = (struct pv_sent_key){.kind = PV_KEY_ABSENT};
    bool ok = append(&fields, "Expect", "") &&
              append(&fields, "Content-Type", len ? PV_EAS_CONTENT_TYPE : "") &&
              (!plain || append(&fields, "MS-ASProtocolVersion", pv_version_text(e->version))) &&
              (!plain || key.kind == PV_KEY_ABSENT || append(&fields, "X-MS-PolicyKey", key_text));
    enum eas_result result = EAS_BROKEN;
    if (ok) {
        curl_easy_setopt(e->curl, CURLOPT_CUSTOMREQUEST, NULL);
        curl_easy_setopt(e->curl, CURLOPT_POST, 1L);
        curl_easy_setopt(e->curl, CURLOPT_POSTFIELDSIZE, (long)len);
        curl_easy_setopt(e->curl, CURLOPT_POSTFIELDS, body);
        curl_easy_setopt(e->curl, CURLOPT_HTTPHEADER, fields);
        result = send_out(e, &(struct outgoing){&request, seconds}, out);
        curl_easy_setopt(e->curl, CURLOPT_HTTPHEADER, NULL);
    } else
        snprintf(e->error, sizeof e->error, "no memory");
    curl_slist_free_all(fields);
    return result;
}

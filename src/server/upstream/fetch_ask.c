/* What is asked, and how libcurl is told. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "src/server/upstream/fetch_inner.h"
#include "src/server/upstream/fields.h"

#define TEXT_FIRST 2048
#define LINES_OWN 4 /* that are added at most */
#define BUFFER_USUAL (64L * 1024)
#define BUFFER_LEAN 2048L
#define UPLOAD_BUFFER (16L * 1024)
#define KEEPALIVE_S 60L

/* ---- a copy of what is asked ---- */

struct copy {
    char *at;
    struct curl_slist *line; /* the next */
    struct fetch_run *run;
};

static const char *put(struct copy *c, const char *text, size_t len)
{
    char *at = c->at;
    memcpy(at, text, len);
    at[len] = '\0';
    c->at += len + 1;
    return at;
}

static void add_line(struct copy *c, const char *line)
{
    struct curl_slist *l = c->line++;
    l->data = (char *)line; /* libcurl only reads it */
    l->next = NULL;
    if (l != c->run->lines) l[-1].next = l;
}

/* libcurl sends "Name;" as a field without a value. */
static void add_field(struct copy *c, const struct http_field *f)
{
    char *line = c->at;
    size_t len = strlen(f->name);
    memcpy(line, f->name, len);
    c->at += len;
    if (*f->value == '\0') {
        put(c, ";", 1);
    } else {
        *c->at++ = ':';
        *c->at++ = ' ';
        put(c, f->value, strlen(f->value));
    }
    add_line(c, line);
}

/* What the peer must not be told, or is told by libcurl. */
static bool is_sent(const struct http_field *f)
{
    return field_name_fits(f->name, strlen(f->name)) &&
           field_value_fits(f->value, strlen(f->value)) && !field_is_hop(f->name) &&
           strcasecmp(f->name, "Host") != 0 && strcasecmp(f->name, "Expect") != 0;
}

static bool has_field(const struct http_field *fields, const char *name)
{
    for (const struct http_field *f = fields; f && f->name; f++)
        if (strcasecmp(f->name, name) == 0) return true;
    return false;
}

/* Where the path begins: behind the authority, RFC 3986 3.2. */
static size_t base_len(const char *url)
{
    const char *slashes = strstr(url, "://");
    const char *authority = slashes ? slashes + 3 : url;
    return (size_t)(authority - url) + strcspn(authority, "/?#");
}

static size_t text_size(const struct fetch_ask *ask, size_t *lines_out)
{
    size_t size = strlen(ask->method) + strlen(ask->url) + 8;
    *lines_out = LINES_OWN;
    for (const struct http_field *f = ask->fields; f && f->name; f++, ++*lines_out)
        size += strlen(f->name) + strlen(f->value) + 4;
    return size + *lines_out * sizeof(struct curl_slist);
}

static bool make_room(struct fetch_run *run, size_t size)
{
    if (run->text_cap >= size) return true;
    size_t cap = size < TEXT_FIRST ? TEXT_FIRST : size;
    free(run->text);
    run->text = malloc(cap);
    run->text_cap = run->text ? cap : 0;
    return run->text != NULL;
}

static void put_url(struct copy *c, const char *url)
{
    size_t len = base_len(url);
    const char *base = c->at;
    memcpy(c->at, url, len);
    c->at += len;
    put(c, "/", 1);
    c->run->base = base;
    const char *target = c->at;
    if (url[len] != '/') *c->at++ = '/';
    put(c, url + len, strcspn(url + len, "#"));
    c->run->target = target;
}

static void put_lines(struct copy *c, const struct fetch_ask *ask)
{
    for (const struct http_field *f = ask->fields; f && f->name; f++)
        if (is_sent(f)) add_field(c, f);
    /* libcurl would send these by itself. */
    if (!has_field(ask->fields, "Accept")) add_line(c, "Accept:");
    if (!has_field(ask->fields, "Content-Type")) add_line(c, "Content-Type:");
    add_line(c, "Expect:");
    if (ask->streamed && ask->length == UINT64_MAX) add_line(c, "Transfer-Encoding: chunked");
}

bool run_keep_ask(struct fetch_run *run, const struct fetch_ask *ask)
{
    size_t lines;
    if (!make_room(run, text_size(ask, &lines))) return false;
    run->lines = (struct curl_slist *)(void *)run->text;
    struct copy c = {.at = (char *)(run->lines + lines), .line = run->lines, .run = run};
    run->method = put(&c, ask->method, strlen(ask->method));
    put_url(&c, ask->url);
    put_lines(&c, ask);
    run->peer = ask->peer;
    run->body = ask->body ? ask->body : "";
    run->body_len = ask->len;
    run->streamed = ask->streamed;
    run->length = ask->length;
    run->head_ms = ask->head_ms;
    run->stall_ms = ask->stall_ms;
    run->once = ask->once || ask->streamed; /* a stream cannot be sent again */
    run->lean = ask->lean;
    return true;
}

/* ---- libcurl ---- */

/* What is the same for all. */
static bool tell_common(struct fetch_run *run)
{
    CURL *e = run->easy;
    struct station *s = run->station;
    return curl_easy_setopt(e, CURLOPT_PRIVATE, run) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_ERRORBUFFER, run->error) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_HTTP09_ALLOWED, 0L) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_PROXY, "") == CURLE_OK && /* nor one of the environment */
           curl_easy_setopt(e, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_HTTP_CONTENT_DECODING, 0L) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, 1L) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, 2L) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_TCP_NODELAY, 1L) == CURLE_OK &&
           /* Who waits for an hour learns that the peer's machine has gone. */
           curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_TCP_KEEPIDLE, KEEPALIVE_S) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_TCP_KEEPINTVL, KEEPALIVE_S) == CURLE_OK &&
           /* An end does not wait for a name server. */
           curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, station_open_socket) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_OPENSOCKETDATA, s) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_CLOSESOCKETFUNCTION, station_close_socket) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_CLOSESOCKETDATA, s) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_PREREQFUNCTION, run_on_connection) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_PREREQDATA, run) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, run_on_line) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_HEADERDATA, run) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, run_on_body) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_WRITEDATA, run) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_READFUNCTION, run_on_read) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_READDATA, run) == CURLE_OK;
}

bool run_make_easy(struct fetch_run *run)
{
    run->easy = curl_easy_init();
    return run->easy && tell_common(run);
}

static bool tell_peer(struct fetch_run *run)
{
    const struct fetch_peer *p = run->peer;
    CURL *e = run->easy;
    if (run->told.peer == p) return true;
    if (run->told.peer) { /* the system's authorities come back only so */
        curl_easy_reset(e);
        run->told = (struct run_told){0};
        if (!tell_common(run)) return false;
    }
    if (curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)p->connect_ms) != CURLE_OK ||
        (p->ca_file && curl_easy_setopt(e, CURLOPT_CAINFO, p->ca_file) != CURLE_OK) ||
        curl_easy_setopt(e, CURLOPT_SSLCERT, p->certificate) != CURLE_OK ||
        curl_easy_setopt(e, CURLOPT_SSLKEY, p->key) != CURLE_OK)
        return false;
    run->told.peer = p;
    return true;
}

/* The part of the URL that libcurl makes a connection from; the rest is sent as it stands. */
static bool tell_url(struct fetch_run *run)
{
    struct run_told *told = &run->told;
    if (strcmp(told->base, run->base) != 0) {
        told->base[0] = '\0';
        if (curl_easy_setopt(run->easy, CURLOPT_URL, run->base) != CURLE_OK) return false;
        size_t len = strlen(run->base);
        if (len < sizeof told->base) memcpy(told->base, run->base, len + 1);
    }
    return curl_easy_setopt(run->easy, CURLOPT_REQUEST_TARGET, run->target) == CURLE_OK;
}

static bool tell_body_kind(struct fetch_run *run, enum run_body kind)
{
    CURL *e = run->easy;
    if (run->told.body == kind) return true;
    run->told.body = RUN_BODY_UNSET;
    if (kind == RUN_BODY_NONE) {
        if (curl_easy_setopt(e, CURLOPT_HTTPGET, 1L) != CURLE_OK) return false;
    } else if (curl_easy_setopt(e, CURLOPT_POST, 1L) != CURLE_OK) {
        return false;
    }
    run->told.body = kind;
    return true;
}

static bool tell_body(struct fetch_run *run)
{
    CURL *e = run->easy;
    bool post = strcmp(run->method, "POST") == 0;
    enum run_body kind = run->streamed               ? RUN_BODY_STREAM
                         : post || run->body_len > 0 ? RUN_BODY_BYTES
                                                     : RUN_BODY_NONE;
    if (!tell_body_kind(run, kind)) return false;
    if (strcmp(run->told.method, run->method) != 0) {
        run->told.method[0] = '\0';
        if (curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, run->method) != CURLE_OK) return false;
        snprintf(run->told.method, sizeof run->told.method, "%s", run->method);
    }
    if (kind == RUN_BODY_NONE) return true;
    curl_off_t len = !run->streamed              ? (curl_off_t)run->body_len
                     : run->length == UINT64_MAX ? -1
                                                 : (curl_off_t)run->length;
    return curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, len) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_POSTFIELDS, run->streamed ? NULL : run->body) == CURLE_OK;
}

static bool tell_once(struct fetch_run *run)
{
    if (run->told.once == run->once) return true;
    if (curl_easy_setopt(run->easy, CURLOPT_FRESH_CONNECT, (long)run->once) != CURLE_OK)
        return false;
    run->told.once = run->once;
    return true;
}

/* After a transfer that has failed early, libcurl may still have its buffers, and keeps them. */
static void tell_buffers(struct fetch_run *run)
{
    struct run_told *told = &run->told;
    if (told->buffers && told->lean == run->lean) return;
    told->buffers =
        curl_easy_setopt(run->easy, CURLOPT_UPLOAD_BUFFERSIZE, UPLOAD_BUFFER) == CURLE_OK &&
        curl_easy_setopt(run->easy, CURLOPT_BUFFERSIZE, run->lean ? BUFFER_LEAN : BUFFER_USUAL) ==
            CURLE_OK;
    told->lean = run->lean;
}

bool run_tell(struct fetch_run *run)
{
    run->error[0] = '\0';
    if (!tell_peer(run)) return false;
    tell_buffers(run);
    return tell_url(run) && tell_body(run) && tell_once(run) &&
           curl_easy_setopt(run->easy, CURLOPT_HTTPHEADER, run->lines) == CURLE_OK;
}

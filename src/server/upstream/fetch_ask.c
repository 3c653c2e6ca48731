/* What is asked, as it is sent. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "src/server/upstream/fetch_inner.h"
#include "src/server/upstream/fields.h"

#define TEXT_FIRST 2048
#define FIXED_TEXT 128 /* of a head: version, Host, the body's length, line ends */

struct text {
    char *at;
};

static void put(struct text *t, const char *bytes, size_t len)
{
    memcpy(t->at, bytes, len);
    t->at += len;
}

static void put_text(struct text *t, const char *text)
{
    put(t, text, strlen(text));
}

/* What the peer must not be told, or is told by us. */
static bool is_sent(const struct http_field *f)
{
    return field_name_fits(f->name, strlen(f->name)) &&
           field_value_fits(f->value, strlen(f->value)) && !field_is_hop(f->name) &&
           strcasecmp(f->name, "Host") != 0 && strcasecmp(f->name, "Expect") != 0;
}

static void put_field(struct text *t, const char *name, const char *value)
{
    put_text(t, name);
    put_text(t, *value ? ": " : ":");
    put_text(t, value);
    put(t, "\r\n", 2);
}

static size_t text_size(const struct fetch_ask *ask)
{
    size_t size = FIXED_TEXT + strlen(ask->method) + 3 * strlen(ask->url);
    for (const struct http_field *f = ask->fields; f && f->name; f++)
        size += strlen(f->name) + strlen(f->value) + 4;
    return size;
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

/* RFC 3986 3.2: the authority, and where it ends. */
static const char *authority_of(const char *url, size_t *len_out)
{
    const char *slashes = strstr(url, "://");
    const char *authority = slashes ? slashes + 3 : url;
    *len_out = strcspn(authority, "/?#");
    return authority;
}

static void put_length(struct text *t, const struct fetch_ask *ask)
{
    char text[64];
    if (ask->streamed && ask->length == UINT64_MAX) {
        put_text(t, "Transfer-Encoding: chunked\r\n");
    } else if (ask->streamed || ask->len > 0 || strcmp(ask->method, "POST") == 0) {
        unsigned long long length = ask->streamed ? ask->length : ask->len;
        snprintf(text, sizeof text, "Content-Length: %llu\r\n", length);
        put_text(t, text);
    }
}

static void put_head(struct text *t, const struct fetch_ask *ask)
{
    size_t host_len;
    const char *host = authority_of(ask->url, &host_len), *path = host + host_len;
    put_text(t, ask->method);
    put_text(t, *path == '/' ? " " : " /");
    put(t, path, strcspn(path, "#"));
    put_text(t, " HTTP/1.1\r\nHost: ");
    put(t, host, host_len);
    put(t, "\r\n", 2);
    for (const struct http_field *f = ask->fields; f && f->name; f++)
        if (is_sent(f)) put_field(t, f->name, f->value);
    put_length(t, ask);
    put(t, "\r\n", 2);
}

bool run_keep_ask(struct fetch_run *run, const struct fetch_ask *ask)
{
    size_t host_len;
    const char *host = authority_of(ask->url, &host_len);
    if (!make_room(run, text_size(ask))) return false;
    if (ask->streamed && !run->piece && !(run->piece = malloc(PIECE_MAX))) return false;
    struct text t = {run->text};
    put_head(&t, ask);
    run->head_len = (size_t)(t.at - run->text);
    run->base = t.at;
    put(&t, ask->url, (size_t)(host + host_len - ask->url));
    put(&t, "/", 2);
    run->peer = ask->peer;
    run->body = ask->body;
    run->body_len = ask->streamed ? 0 : ask->len;
    run->streamed = ask->streamed;
    run->length = ask->length;
    run->head_ms = ask->head_ms;
    run->stall_ms = ask->stall_ms;
    run->once = ask->once || ask->streamed; /* a stream cannot be sent again */
    return true;
}

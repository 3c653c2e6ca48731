#include "src/server/auth/imap.h"

#include <curl/curl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/server/auth/blocking.h"
#include "src/server/auth/expand.h"
#include "src/server/auth/imap_login.h"
#include "src/server/auth/url.h"

/* Without these libcurl would try Kerberos for everybody who has an @ in the name, where it is offered.
 * Over TLS nothing is gained by it. */
#define BY_PASSWORD "AUTH=PLAIN;AUTH=LOGIN"
#define BY_ANY "AUTH=*" /* the LOGIN command too */

struct imap {
    struct blocking blocking;
    const struct config *config;
    atomic_bool by_any; /* the server has none of the first */
};

/* ---- one login ---- */

static size_t on_line(char *line, size_t size, size_t count, void *ctx)
{
    enum imap_login *said = ctx;
    *said = imap_login_read(*said, line, size * count);
    return size * count;
}

static CURLcode set_server(CURL *easy, const struct config *c)
{
    const char *url = c->auth.imap.url;
    bool clear = urls_have_scheme(url, "imap://") && urls_are_loopback(url);
    long ms = (long)c->auth.timeout * 1000;
    CURLcode rc = curl_easy_setopt(easy, CURLOPT_URL, url);
    if (!rc) rc = curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "imap,imaps");
    if (!rc) rc = curl_easy_setopt(easy, CURLOPT_PROXY, "");
    if (!rc) rc = curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    if (!rc) rc = curl_easy_setopt(easy, CURLOPT_CONNECT_ONLY, 1L);
    if (!rc) rc = curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, ms);
    if (!rc) rc = curl_easy_setopt(easy, CURLOPT_SERVER_RESPONSE_TIMEOUT, ms / 1000);
    if (!rc) rc = curl_easy_setopt(easy, CURLOPT_USE_SSL, clear ? CURLUSESSL_NONE : CURLUSESSL_ALL);
    if (!rc && c->auth.imap.ca_file)
        rc = curl_easy_setopt(easy, CURLOPT_CAINFO, c->auth.imap.ca_file);
    return rc;
}

static CURLcode log_in(const struct imap *m, const char *name, const char *password,
                       enum imap_login *said)
{
    CURL *easy = curl_easy_init();
    if (!easy) return CURLE_OUT_OF_MEMORY;
    *said = IMAP_SILENT;
    CURLcode rc = set_server(easy, m->config);
    if (!rc) rc = curl_easy_setopt(easy, CURLOPT_USERNAME, name);
    if (!rc) rc = curl_easy_setopt(easy, CURLOPT_PASSWORD, password);
    if (!rc) rc = curl_easy_setopt(easy, CURLOPT_LOGIN_OPTIONS, m->by_any ? BY_ANY : BY_PASSWORD);
    if (!rc) rc = curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_line);
    if (!rc) rc = curl_easy_setopt(easy, CURLOPT_HEADERDATA, said);
    if (!rc) rc = curl_easy_perform(easy);
    curl_easy_cleanup(easy);
    return rc;
}

/* Some servers have nothing but the LOGIN command. */
static CURLcode log_in_somehow(struct imap *m, const char *name, const char *password,
                               enum imap_login *said)
{
    bool by_any = m->by_any;
    CURLcode rc = log_in(m, name, password, said);
    if (rc != CURLE_LOGIN_DENIED || *said != IMAP_SILENT) return rc;
    m->by_any = !by_any;
    return log_in(m, name, password, said);
}

/* RFC 9051 4.3: neither can stand in a quoted string; what comes after would be another command. */
static bool is_one_line(const char *text)
{
    return text[strcspn(text, "\r\n")] == '\0';
}

static void ask(struct blocking *b, struct auth_try *t)
{
    struct imap *m = CONTAINER_OF(b, struct imap, blocking);
    const struct config *c = m->config;
    char name[2 * AUTH_USER_MAX + 256];
    enum imap_login said = IMAP_SILENT;
    t->verdict = AUTH_BAD;
    if (!expand_user(c->auth.imap.user, t->user, c->domain, EXPAND_PLAIN, name, sizeof name) ||
        !is_one_line(t->login.password)) {
        snprintf(t->why, sizeof t->why, "the name or the password cannot be sent to the server");
        return;
    }
    CURLcode rc = log_in_somehow(m, name, t->login.password, &said);
    if (rc == CURLE_OK && said != IMAP_UNABLE) {
        t->verdict = AUTH_OK;
    } else if (rc != CURLE_LOGIN_DENIED || said != IMAP_DENIED) {
        t->verdict = AUTH_FAILED;
        snprintf(t->why, sizeof t->why, "IMAP: %s",
                 rc == CURLE_OK             ? "the server takes everybody for logged in"
                 : rc != CURLE_LOGIN_DENIED ? curl_easy_strerror(rc)
                 : said == IMAP_UNABLE      ? "the server says that it cannot"
                                            : "the server knows no way to log in");
    }
}

/* ---- the method ---- */

static void imap_close(struct auth_method *method)
{
    struct imap *m = CONTAINER_OF(method, struct imap, blocking.method);
    blocking_stop(&m->blocking);
    free(m);
    curl_global_cleanup();
}

struct auth_method *imap_method(const struct config *c, char *error, size_t error_cap)
{
    static const struct auth_method_ops ops = {.name = "imap",
                                               .kinds = 1u << AUTH_PASSWORD,
                                               .verify = blocking_verify,
                                               .close = imap_close};
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        snprintf(error, error_cap, "libcurl does not start");
        return NULL;
    }
    struct imap *m = calloc(1, sizeof *m);
    if (m) {
        m->config = c;
        m->blocking = (struct blocking){
            .method.ops = &ops, .patience_ms = c->auth.timeout * 1000, .ask = ask};
        if (blocking_start(&m->blocking, c->auth.threads)) return &m->blocking.method;
        free(m);
    }
    curl_global_cleanup();
    snprintf(error, error_cap, "no memory or threads for verifying passwords");
    return NULL;
}

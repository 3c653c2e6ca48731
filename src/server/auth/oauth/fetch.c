#include "src/server/auth/oauth/fetch.h"

#include <curl/curl.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/server/auth/url.h"

#define WELL_KNOWN "/.well-known/openid-configuration"
#define URL_MAX 1024

/* ---- a file ---- */

bool oauth_from_file(const struct config *c)
{
    return c->auth.oauth.keys && c->auth.oauth.keys[0] == '/';
}

static bool read_file(const char *path, struct oauth_text *out, char why[KEYSET_ERROR_MAX])
{
    FILE *f = fopen(path, "re");
    out->bytes = f ? malloc(KEYSET_TEXT_MAX + 1) : NULL;
    if (out->bytes) out->len = fread(out->bytes, 1, KEYSET_TEXT_MAX + 1, f);
    bool ok = out->bytes && !ferror(f) && out->len <= KEYSET_TEXT_MAX;
    if (!ok)
        snprintf(why, KEYSET_ERROR_MAX, "%s",
                 out->bytes && !ferror(f) ? "the file is too long" : strerror(errno));
    if (f) fclose(f);
    return ok;
}

/* ---- an address ---- */

struct transfer {
    struct oauth_text *to;
    const atomic_bool *stop;
};

static size_t on_bytes(char *bytes, size_t size, size_t count, void *ctx)
{
    struct oauth_text *to = ((struct transfer *)ctx)->to;
    size_t len = size * count;
    if (len > KEYSET_TEXT_MAX - to->len) return 0;
    char *grown = realloc(to->bytes, to->len + len + 1);
    if (!grown) return 0;
    memcpy(grown + to->len, bytes, len);
    to->bytes = grown;
    to->len += len;
    return len;
}

static int on_progress(void *ctx, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    (void)a, (void)b, (void)c, (void)d;
    return atomic_load(((struct transfer *)ctx)->stop);
}

/* No redirection: whose keys they are is what the address says. */
static CURLcode set_up(CURL *easy, const struct config *c, const char *url, struct transfer *t)
{
    bool local = urls_are_loopback(url);
    CURLcode rc = curl_easy_setopt(easy, CURLOPT_URL, url);
    if (!rc) rc = curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, local ? "http,https" : "https");
    if (!rc && local) rc = curl_easy_setopt(easy, CURLOPT_PROXY, "");
    if (!rc && c->auth.oauth.ca_file)
        rc = curl_easy_setopt(easy, CURLOPT_CAINFO, c->auth.oauth.ca_file);
    if (!rc) rc = curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    if (!rc) rc = curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
    if (!rc) rc = curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)c->auth.timeout * 1000);
    if (!rc) rc = curl_easy_setopt(easy, CURLOPT_USERAGENT, "provostd");
    if (!rc) rc = curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_bytes);
    if (!rc) rc = curl_easy_setopt(easy, CURLOPT_WRITEDATA, t);
    if (!rc) rc = curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 0L);
    if (!rc) rc = curl_easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, on_progress);
    if (!rc) rc = curl_easy_setopt(easy, CURLOPT_XFERINFODATA, t);
    return rc;
}

static bool get(const struct config *c, const char *url, const atomic_bool *stop,
                struct oauth_text *out, char why[KEYSET_ERROR_MAX])
{
    struct transfer t = {out, stop};
    long status = 0;
    CURL *easy = curl_easy_init();
    CURLcode rc = easy ? set_up(easy, c, url, &t) : CURLE_OUT_OF_MEMORY;
    if (!rc) rc = curl_easy_perform(easy);
    if (!rc) curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_cleanup(easy);
    if (rc == CURLE_WRITE_ERROR)
        snprintf(why, KEYSET_ERROR_MAX, "the answer is too long");
    else if (rc)
        snprintf(why, KEYSET_ERROR_MAX, "%s", curl_easy_strerror(rc));
    else if (status != 200)
        snprintf(why, KEYSET_ERROR_MAX, "the issuer answered %ld", status);
    return !rc && status == 200;
}

/* OpenID Connect Discovery 1.0, 4: the issuer must name itself, and where its keys are. */
static bool read_discovery(const struct config *c, const struct oauth_text *text, char url[URL_MAX],
                           char why[KEYSET_ERROR_MAX])
{
    json_error_t e;
    json_t *j = json_loadb(text->bytes ? text->bytes : "", text->len, JSON_REJECT_DUPLICATES, &e);
    const char *issuer = json_string_value(json_object_get(j, "issuer"));
    const char *keys = json_string_value(json_object_get(j, "jwks_uri"));
    bool ok = false;
    if (!issuer || strcmp(issuer, c->auth.oauth.issuer) != 0)
        snprintf(why, KEYSET_ERROR_MAX, "the issuer names itself otherwise");
    else if (!keys || strlen(keys) >= URL_MAX || urls_count(keys) != 1 ||
             !(urls_have_scheme(keys, "https://") || urls_are_loopback(keys)))
        snprintf(why, KEYSET_ERROR_MAX, "the issuer tells no https address of its keys");
    else
        ok = snprintf(url, URL_MAX, "%s", keys) > 0;
    json_decref(j);
    return ok;
}

static bool discover(const struct config *c, const atomic_bool *stop, char url[URL_MAX],
                     char why[KEYSET_ERROR_MAX])
{
    struct oauth_text text = {0};
    size_t len = strlen(c->auth.oauth.issuer);
    while (len && c->auth.oauth.issuer[len - 1] == '/') len--;
    int n = snprintf(url, URL_MAX, "%.*s" WELL_KNOWN, (int)len, c->auth.oauth.issuer);
    bool ok = n < URL_MAX && get(c, url, stop, &text, why) && read_discovery(c, &text, url, why);
    free(text.bytes);
    return ok;
}

bool oauth_fetch(const struct config *c, const atomic_bool *stop, struct oauth_text *out,
                 char why[KEYSET_ERROR_MAX])
{
    char discovered[URL_MAX];
    const char *url = c->auth.oauth.keys;
    *out = (struct oauth_text){0};
    bool ok;
    if (oauth_from_file(c)) {
        ok = read_file(url, out, why);
    } else {
        ok = url || discover(c, stop, discovered, why);
        ok = ok && get(c, url ? url : discovered, stop, out, why);
    }
    if (ok) return true;
    free(out->bytes);
    *out = (struct oauth_text){0};
    return false;
}

#include "src/cli/connect_url.h"

#include <curl/curl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <provost/eas.h>

#include "src/lib/base/text.h"

static const char *check(CURLU *u)
{
    char *user = NULL, *password = NULL;
    bool secret = curl_url_get(u, CURLUPART_USER, &user, 0) == CURLUE_OK ||
                  curl_url_get(u, CURLUPART_PASSWORD, &password, 0) == CURLUE_OK;
    curl_free(user);
    if (password) explicit_bzero(password, strlen(password));
    curl_free(password);
    return secret ? "a name or password does not belong into the URL (-u USER)" : NULL;
}

/* Scheme, host and port without the rest. */
static bool take_origin(CURLU *u, struct server_url *out)
{
    char *scheme = NULL, *host = NULL, *port = NULL;
    bool ok = curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
              curl_url_get(u, CURLUPART_HOST, &host, 0) == CURLUE_OK && host[0] != '\0' &&
              (strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0);
    if (ok) {
        int n;
        out->https = strcmp(scheme, "https") == 0;
        if (curl_url_get(u, CURLUPART_PORT, &port, CURLU_NO_DEFAULT_PORT) == CURLUE_OK)
            n = snprintf(out->origin, sizeof out->origin, "%s://%s:%s", scheme, host, port);
        else
            n = snprintf(out->origin, sizeof out->origin, "%s://%s", scheme, host);
        ok = n > 0 && (size_t)n < sizeof out->origin;
    }
    curl_free(scheme);
    curl_free(host);
    curl_free(port);
    return ok;
}

static bool take_path(CURLU *u, struct server_url *out)
{
    static const size_t tail = sizeof PV_EAS_PATH - 1;
    char *path = NULL;
    if (curl_url_get(u, CURLUPART_PATH, &path, 0) != CURLUE_OK) return false;
    size_t len = strlen(path);
    while (len > 0 && path[len - 1] == '/') len--;
    bool whole = len >= tail && strncasecmp(path + len - tail, PV_EAS_PATH, tail) == 0;
    int n =
        snprintf(out->path, sizeof out->path, "%.*s%s", (int)len, path, whole ? "" : PV_EAS_PATH);
    curl_free(path);
    return n > 0 && (size_t)n < sizeof out->path;
}

const char *url_parse(const char *text, struct server_url *out)
{
    const char *why = "it must be http://HOST or https://HOST, with a port and path where needed";
    if (strlen(text) >= URL_MAX) return "it is too long";
    if (!pv__utf8_valid((const uint8_t *)text, strlen(text))) return "it is no UTF-8 text";
    CURLU *u = curl_url();
    if (u == NULL) return "no memory";
    if (curl_url_set(u, CURLUPART_URL, text, 0) == CURLUE_OK) {
        const char *secret = check(u);
        if (secret)
            why = secret;
        else if (take_origin(u, out) && take_path(u, out))
            why = NULL;
    }
    curl_url_cleanup(u);
    return why;
}

bool url_same(const struct server_url *a, const struct server_url *b)
{
    return strcasecmp(a->origin, b->origin) == 0 && strcmp(a->path, b->path) == 0;
}

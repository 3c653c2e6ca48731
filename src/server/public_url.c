#include "src/server/public_url.h"

#include <stdio.h>
#include <string.h>

#include <provost/eas.h>

#include "src/lib/base/text.h"

#define HOST_MAX 255 /* a name of DNS */

static bool is_port(const char *text)
{
    uint64_t port;
    return pv__parse_u64(text, strlen(text), 65535, false, &port) && port > 0;
}

static bool is_hex(char c)
{
    return pv__is_digit((unsigned char)c) ||
           (pv__lower((unsigned char)c) >= 'a' && pv__lower((unsigned char)c) <= 'f');
}

/* Letters, digits, hyphens and the underscores that some have; neither an empty label nor one that
 * begins with a hyphen. */
static size_t name_len(const char *host)
{
    size_t i = 0;
    for (char before = '.'; host[i]; before = host[i++]) {
        bool inner = pv__is_alnum((unsigned char)host[i]) || host[i] == '_';
        if (!inner && (before == '.' || (host[i] != '-' && host[i] != '.'))) break;
    }
    return i;
}

/* What stands in brackets: no zone, which means nothing elsewhere. */
static size_t address_len(const char *host)
{
    size_t i = 1, colons = 0;
    for (; is_hex(host[i]) || host[i] == ':' || host[i] == '.'; i++) colons += host[i] == ':';
    return host[i] == ']' && colons >= 2 ? i + 1 : 0;
}

bool public_host_ok(const char *host)
{
    if (strnlen(host, HOST_MAX + 1) > HOST_MAX) return false;
    size_t len = *host == '[' ? address_len(host) : name_len(host);
    if (len == 0 || host[len - 1] == '-') return false;
    return host[len] == '\0' || (host[len] == ':' && is_port(host + len + 1));
}

/* What stands behind "http://" or "https://"; NULL: neither. */
static const char *behind_scheme(const char *url)
{
    if (strncmp(url, "https://", 8) == 0) return url + 8;
    return strncmp(url, "http://", 7) == 0 ? url + 7 : NULL;
}

static size_t origin_len(const char *url)
{
    const char *host = behind_scheme(url);
    return (size_t)(host - url) + strcspn(host, "/");
}

bool public_url_ok(const char *url)
{
    const char *host = behind_scheme(url);
    char copy[HOST_MAX + 1];
    if (!host || strlen(url) >= PUBLIC_URL_MAX) return false;
    size_t len = strcspn(host, "/");
    if (len >= sizeof copy) return false;
    memcpy(copy, host, len);
    copy[len] = '\0';
    for (const char *p = host + len; *p; p++)
        if (!pv__is_alnum((unsigned char)*p) && !strchr("/-._~", *p)) return false;
    return public_host_ok(copy);
}

/* Scheme and host: as configured, or as asked. @return their length, 0 without. */
static size_t put_origin(const struct public_url *u, char out[PUBLIC_URL_ROOM])
{
    int len = 0;
    if (u->url)
        len = snprintf(out, PUBLIC_URL_ROOM, "%.*s", (int)origin_len(u->url), u->url);
    else if (u->host && public_host_ok(u->host))
        len = snprintf(out, PUBLIC_URL_ROOM, "http%s://%s", u->secure ? "s" : "", u->host);
    return len > 0 ? (size_t)len : 0;
}

bool public_url_at(const struct public_url *u, const char *path, char out[PUBLIC_URL_ROOM])
{
    size_t len = put_origin(u, out);
    if (len == 0) return false;
    size_t more = (size_t)snprintf(out + len, PUBLIC_URL_ROOM - len, "%s", path);
    return more < PUBLIC_URL_ROOM - len;
}

bool public_url_eas(const struct public_url *u, char out[PUBLIC_URL_ROOM])
{
    static const size_t tail = sizeof PV_EAS_PATH - 1;
    size_t len = u->url ? strlen(u->url) : 0;
    if (!u->url) return public_url_at(u, PV_EAS_PATH, out);
    while (u->url[len - 1] == '/') len--;
    bool ends_so = len > tail && pv__equal_nocase(u->url + len - tail, tail, PV_EAS_PATH, tail);
    snprintf(out, PUBLIC_URL_ROOM, "%.*s%s", (int)len, u->url, ends_so ? "" : PV_EAS_PATH);
    return true;
}

#include "src/server/auth/url.h"

#include <arpa/inet.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* From one URL to the next, "" at the end. */
static const char *next(const char *url)
{
    url += strcspn(url, " ");
    return url + strspn(url, " ");
}

static const char *first(const char *urls)
{
    return urls + strspn(urls, " ");
}

bool urls_have_scheme(const char *urls, const char *scheme)
{
    size_t len = strlen(scheme);
    for (const char *u = first(urls); *u; u = next(u))
        if (strncasecmp(u, scheme, len) != 0 || !u[len] || u[len] == ' ') return false;
    return *first(urls);
}

static bool is_loopback(const char *url)
{
    char host[64];
    struct in_addr four;
    struct in6_addr six;
    const char *begin = strstr(url, "://");
    if (!begin || begin >= url + strcspn(url, " ")) return false;
    begin += 3;
    size_t authority = strcspn(begin, "/?# ");
    if (memchr(begin, '@', authority)) return false; /* what stands before it is no host */
    bool bracket = *begin == '[';
    size_t len = bracket ? strcspn(++begin, "] ") : strcspn(begin, ":/?# ");
    if (len == 0 || len >= sizeof host) return false;
    snprintf(host, sizeof host, "%.*s", (int)len, begin);
    if (bracket) return inet_pton(AF_INET6, host, &six) == 1 && IN6_IS_ADDR_LOOPBACK(&six);
    if (strcasecmp(host, "localhost") == 0) return true;
    return inet_pton(AF_INET, host, &four) == 1 && (ntohl(four.s_addr) >> 24) == 127;
}

bool urls_are_loopback(const char *urls)
{
    for (const char *u = first(urls); *u; u = next(u))
        if (!is_loopback(u)) return false;
    return *first(urls);
}

unsigned urls_count(const char *urls)
{
    unsigned count = 0;
    for (const char *u = first(urls); *u; u = next(u)) count++;
    return count;
}

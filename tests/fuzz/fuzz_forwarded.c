/* X-Forwarded-For, values divided by line ends. Laws: a client is an address, written in one way, and no
 * proxy unless all are; it is the same when more stands in front; and splitting a value at a comma changes
 * nothing. */
#include <arpa/inet.h>
#include <string.h>

#include "src/server/http/proxies.h"
#include "tests/fuzz/fuzz.h"

#define VALUES_MAX 64

static size_t split(char *text, char at, const char *values[VALUES_MAX])
{
    size_t count = 0;
    for (char *p = text; p && count < VALUES_MAX;) {
        values[count++] = p;
        p = strchr(p, at);
        if (p)
            *p++ = '\0';
    }
    return count;
}

static bool is_written_once(const char *client)
{
    unsigned char raw[16];
    char again[CLIENT_MAX];
    int family = strchr(client, ':') ? AF_INET6 : AF_INET;
    return inet_pton(family, client, raw) == 1 && inet_ntop(family, raw, again, sizeof again) &&
           strcmp(client, again) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const trusted[] = { "10.0.0.0/8", "2001:db8::/32", "unix", NULL };
    char error[PROXIES_ERROR_MAX], client[CLIENT_MAX], other[CLIENT_MAX];
    const char *values[VALUES_MAX + 1] = { "198.51.100.1" };
    char *text = calloc(1, size + 1), *commas = calloc(1, size + 1);
    if (!text || !commas || size > 4096)
        goto done;
    memcpy(text, data, size);
    memcpy(commas, data, size);
    struct proxies *p = proxies_parse(trusted, error, sizeof error);
    LAW(p);
    size_t count = split(text, '\n', values + 1);
    bool any = proxies_client(p, values + 1, count, client);
    if (any) {
        LAW(is_written_once(client));
        bool more = proxies_client(p, values, count + 1, other);
        LAW(more);
        if (!proxies_trust(p, client))
            LAW(strcmp(client, other) == 0);
    }
    if (!memchr(data, '\n', size) && !memchr(data, '\0', size)) {
        count = split(commas, ',', values);
        if (count < VALUES_MAX) {
            LAW(proxies_client(p, values, count, other) == any);
            LAW(!any || strcmp(client, other) == 0);
        }
    }
    (void)proxies_say_https(values, count);
    proxies_free(p);
done:
    free(text);
    free(commas);
    return 0;
}

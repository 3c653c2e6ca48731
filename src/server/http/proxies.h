/* Proxies in front of the server, and who stands behind them by their word. No engine in here. */
#ifndef PROVOSTD_PROXIES_H
#define PROVOSTD_PROXIES_H

#include <stdbool.h>
#include <stddef.h>

struct proxies;

/* list: "10.0.0.0/8", "2001:db8::1", "unix" (whoever comes over a Unix socket); ends with NULL, may be
 * NULL. NULL with error, one sentence: an entry is none of these, or there is no memory. */
#define PROXIES_ERROR_MAX 192
struct proxies *proxies_parse(const char *const *list, char *error, size_t error_cap);
void proxies_free(struct proxies *p);

/* peer: an address as text, or "unix". */
bool proxies_trust(const struct proxies *p, const char *peer);

#define CLIENT_MAX 46 /* INET6_ADDRSTRLEN */
/* Who stands behind a proxy that is trusted. forwarded: the values of X-Forwarded-For, in their order;
 * each proxy has added at the end whom it saw. So it is read from the end, up to the first that is no
 * proxy of ours; what stands before that can be anybody's invention. Nor is anything believed that
 * stands before what is no address. false: the last entry is none already. */
bool proxies_client(const struct proxies *p, const char *const *forwarded, size_t count,
                    char client[CLIENT_MAX]);
/* Does the last of the values of X-Forwarded-Proto say https? */
bool proxies_say_https(const char *const *forwarded, size_t count);

#endif

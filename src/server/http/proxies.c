#include "src/server/http/proxies.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define BITS 128
#define ENTRY_MAX 64 /* of text, brackets, port and prefix included */
#define NOT_ONE "\"%.80s\" is no address or network, such as 10.0.0.0/8, 2001:db8::1 or unix"

struct address {
    uint8_t byte[16]; /* IPv4 as ::ffff:a.b.c.d */
};

struct network {
    struct address address;
    unsigned bits;
};

struct proxies {
    bool unix_peers;
    size_t count;
    struct network network[];
};

static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

static bool is_v4(const struct address *a)
{
    return memcmp(a->byte, mapped, sizeof mapped) == 0;
}

static bool read_address(const char *text, struct address *out)
{
    if (inet_pton(AF_INET6, text, out->byte) == 1) return true;
    memcpy(out->byte, mapped, sizeof mapped);
    return inet_pton(AF_INET, text, out->byte + sizeof mapped) == 1;
}

static bool in_network(const struct address *a, const struct network *n)
{
    unsigned whole = n->bits / 8, rest = n->bits % 8;
    if (memcmp(a->byte, n->address.byte, whole) != 0) return false;
    return rest == 0 || ((a->byte[whole] ^ n->address.byte[whole]) >> (8 - rest)) == 0;
}

static bool in_any(const struct proxies *p, const struct address *a)
{
    for (size_t i = 0; i < p->count; i++)
        if (in_network(a, &p->network[i])) return true;
    return false;
}

/* ---- the list ---- */

/* The number behind the slash, as bits of 128. */
static bool read_prefix(const char *text, bool four, unsigned *bits_out)
{
    unsigned n = 0, most = four ? 32 : BITS;
    if (*text == '\0' || strlen(text) > 3) return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9') return false;
        n = n * 10 + (unsigned)(*text - '0');
    }
    *bits_out = four ? n + BITS - 32 : n;
    return n <= most;
}

static bool read_network(const char *text, struct network *out)
{
    char address[ENTRY_MAX];
    const char *slash = strchr(text, '/');
    size_t len = slash ? (size_t)(slash - text) : strlen(text);
    if (len >= sizeof address) return false;
    memcpy(address, text, len);
    address[len] = '\0';
    out->bits = BITS;
    return read_address(address, &out->address) &&
           (!slash || read_prefix(slash + 1, !strchr(address, ':'), &out->bits));
}

/* 10.1.2.3/8 may mean 10.0.0.0/8 or 10.1.2.3: who writes it is asked, not guessed at. */
static bool has_bits_behind(const struct network *n)
{
    for (unsigned i = n->bits; i < BITS; i++)
        if (n->address.byte[i / 8] & (0x80 >> i % 8)) return true;
    return false;
}

static bool add(struct proxies *p, const char *text, char *error, size_t error_cap)
{
    struct network *n = &p->network[p->count];
    if (strcmp(text, "unix") == 0) {
        p->unix_peers = true;
        return true;
    }
    if (!read_network(text, n)) {
        snprintf(error, error_cap, NOT_ONE, text);
        return false;
    }
    if (has_bits_behind(n)) {
        snprintf(error, error_cap, "\"%s\" has bits behind its prefix", text);
        return false;
    }
    p->count++;
    return true;
}

struct proxies *proxies_parse(const char *const *list, char *error, size_t error_cap)
{
    size_t count = 0;
    while (list && list[count]) count++;
    struct proxies *p = calloc(1, sizeof *p + count * sizeof p->network[0]);
    if (!p) {
        snprintf(error, error_cap, "out of memory");
        return NULL;
    }
    for (size_t i = 0; i < count; i++)
        if (!add(p, list[i], error, error_cap)) {
            proxies_free(p);
            return NULL;
        }
    return p;
}

void proxies_free(struct proxies *p)
{
    free(p);
}

bool proxies_trust(const struct proxies *p, const char *peer)
{
    struct address a;
    if (strcmp(peer, "unix") == 0) return p->unix_peers;
    return read_address(peer, &a) && in_any(p, &a);
}

/* ---- what they say ---- */

struct span {
    const char *at;
    size_t len;
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* Entries of all values, from the last to the first. */
struct walk {
    const char *const *values;
    size_t left;   /* values before the one that is read */
    size_t unread; /* bytes at the start of that one */
    bool inside;
};

static bool previous(struct walk *w, struct span *out)
{
    if (!w->inside) {
        if (w->left == 0) return false;
        w->unread = strlen(w->values[--w->left]);
        w->inside = true;
    }
    const char *start = w->values[w->left];
    size_t end = w->unread, at = end;
    while (at > 0 && start[at - 1] != ',') at--;
    w->inside = at > 0;
    w->unread = at > 0 ? at - 1 : 0;
    while (at < end && is_blank(start[at])) at++;
    while (end > at && is_blank(start[end - 1])) end--;
    *out = (struct span){start + at, end - at};
    return true;
}

static bool is_port(const char *text)
{
    size_t len = strspn(text, "0123456789");
    return len > 0 && len <= 5 && text[len] == '\0';
}

/* Some proxies add the port: 192.0.2.1:5000, [2001:db8::1]:5000. */
static bool read_entry(struct span s, struct address *out)
{
    char text[ENTRY_MAX];
    if (s.len == 0 || s.len >= sizeof text || memchr(s.at, '\0', s.len)) return false;
    memcpy(text, s.at, s.len);
    text[s.len] = '\0';
    char *close = text[0] == '[' ? strchr(text, ']') : NULL, *colon = strchr(text, ':');
    if (close) {
        if (close[1] && (close[1] != ':' || !is_port(close + 2))) return false;
        *close = '\0';
        return strchr(text, ':') && read_address(text + 1, out);
    }
    if (colon && strchr(text, '.') && !strchr(colon + 1, ':')) {
        if (!is_port(colon + 1)) return false;
        *colon = '\0';
    }
    return read_address(text, out);
}

static void write_address(const struct address *a, char client[CLIENT_MAX])
{
    if (is_v4(a))
        inet_ntop(AF_INET, a->byte + sizeof mapped, client, CLIENT_MAX);
    else
        inet_ntop(AF_INET6, a->byte, client, CLIENT_MAX);
}

bool proxies_client(const struct proxies *p, const char *const *forwarded, size_t count,
                    char client[CLIENT_MAX])
{
    struct walk w = {.values = forwarded, .left = count};
    struct address a, last;
    struct span s;
    bool any = false, goes_on = true;
    while (goes_on && previous(&w, &s) && read_entry(s, &a)) {
        last = a;
        any = true;
        goes_on = in_any(p, &a);
    }
    if (any) write_address(&last, client);
    return any;
}

bool proxies_say_https(const char *const *forwarded, size_t count)
{
    struct walk w = {.values = forwarded, .left = count};
    struct span s;
    return previous(&w, &s) && s.len == strlen("https") && strncasecmp(s.at, "https", s.len) == 0;
}

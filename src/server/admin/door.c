/* Who calls, and whether they may: over the socket whoever can open it, over HTTPS a token. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "src/lib/base/sha256.h"
#include "src/server/admin/internal.h"
#include "src/server/observe/log.h"

#define PEER_BYTES_MAX 64

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* Keyed, so that nobody can choose addresses that share a bucket. */
static uint64_t key_of(const struct admin *a, const void *data, size_t len)
{
    uint8_t text[sizeof a->secret + PEER_BYTES_MAX], hash[32];
    uint64_t key;
    memcpy(text, a->secret, sizeof a->secret);
    memcpy(text + sizeof a->secret, data, len);
    pv__sha256(text, sizeof a->secret + len, hash);
    memcpy(&key, hash, sizeof key);
    return key;
}

/* A home or office has a /64 of IPv6: one stranger could use 2^64 addresses of it. */
static uint64_t key_of_peer(const struct admin *a, const char *peer)
{
    struct in6_addr six;
    if (inet_pton(AF_INET6, peer, &six) == 1) return key_of(a, &six, 8);
    return key_of(a, peer, strnlen(peer, PEER_BYTES_MAX));
}

static void too_many(struct http_exchange *x, unsigned retry_after)
{
    admin_refuse(x, &(struct admin_refusal){429, "too_many", "Too many calls; come back later.",
                                            .retry_after = retry_after});
}

/* One answer for no token, an unknown and an expired one. A valid token is let in whatever its
 * address has tried before: strangers behind the same address must not lock it out. */
static void refuse(struct admin_call *c)
{
    unsigned retry_after;
    uint64_t key = key_of_peer(c->admin, http_client(c->http));
    if (!limiter_take(c->admin->failures, key, now_ms(), &retry_after)) {
        too_many(c->http, retry_after);
        return;
    }
    LOG(LOG_WARN, http_session(c->http), "admin-refused", KV_TEXT("peer", http_client(c->http)));
    admin_refuse(c->http,
                 &(struct admin_refusal){401, "unauthorized", "This call needs a valid token.",
                                         .field = {"WWW-Authenticate", "Bearer"}});
}

bool admin_still_in(struct admin_call *c, const struct admin_door *door)
{
    if (!door->wants_token ||
        tokens_check(c->admin->tokens, http_field(c->http, "Authorization"), time(NULL), &c->token))
        return true;
    refuse(c);
    return false;
}

bool admin_let_in(struct admin_call *c, const struct admin_door *door)
{
    unsigned retry_after;
    if (!door->wants_token) {
        c->token.scopes = ADMIN_ALL_SCOPES | ADMIN_SOCKET;
        return true;
    }
    if (!admin_still_in(c, door)) return false;
    uint64_t key = key_of(c->admin, c->token.hash, sizeof c->token.hash);
    if (limiter_take(c->admin->calls, key, now_ms(), &retry_after)) return true;
    too_many(c->http, retry_after);
    return false;
}

bool admin_may(struct admin_call *c)
{
    char has[SCOPES_TEXT_MAX], lacks[SCOPES_TEXT_MAX], sentence[128];
    unsigned lacking = c->route->scopes & ~c->token.scopes;
    if (lacking == 0) return true;
    if (lacking & ADMIN_SOCKET) {
        admin_refuse(c->http, &(struct admin_refusal){403, "scope",
                                                      "This call is answered over the "
                                                      "administration socket only."});
        return false;
    }
    scopes_text(c->token.scopes, has);
    scopes_text(lacking, lacks);
    snprintf(sentence, sizeof sentence, "This call needs a token with the scope %s; yours has %s.",
             lacks, has);
    admin_refuse(c->http, &(struct admin_refusal){403, "scope", sentence});
    return false;
}

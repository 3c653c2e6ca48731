#include "src/server/auth/auth_inner.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>

#include "src/server/auth/login.h"
#include "src/server/observe/log.h"

#define SLOW_FROM 6 /* the sixth failure in a minute is slowed down */
#define SLOW_MOST_MS 8000
#define REFUSE_USER_FROM 20    /* failures in a minute before a password is not even looked at */
#define REFUSE_ADDRESS_FROM 60 /* many phones may stand behind one address */
#define TELL_EVERY_MS 10000    /* that logins cannot be verified */

/* A verification under way, or a refusal that is held back. */
struct pending {
    struct auth_try t;
    struct timer timer;
    struct auth *auth;
    struct set *set; /* held */
    struct used *method;
    struct auth_check *check;
    struct pending *next, *prev;
    struct digest digest;
    bool was_known, local;
    uint64_t user_key, address_key; /* for the throttle; user_key 0: nobody was named */
    size_t token_size;
    char token[]; /* a copy, terminated */
};

uint64_t auth_now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000 + 1; /* never 0 */
}

/* ---- keyed hashes ---- */

/* false: it cannot be computed, and mac says nothing. */
static bool keyed_hash(struct auth *a, const void *data, size_t len, uint8_t mac[32])
{
    return gnutls_hmac_fast(GNUTLS_MAC_SHA256, a->secret, sizeof a->secret, data, len, mac) == 0;
}

static size_t add(char *text, size_t at, const char *part)
{
    size_t size = strlen(part) + 1;
    memcpy(text + at, part, size);
    return at + size;
}

/* What the credential is bound to is part of it, so a changed password leaves the cache by itself. */
static bool digest_of(struct auth *a, const struct used *m, const struct auth_try *t,
                      const void *secret, size_t secret_len, struct digest *out)
{
    char text[32 + 1 + sizeof m->generation + AUTH_USER_MAX + AUTH_BOUND_MAX + sizeof out->bytes];
    uint8_t inner[sizeof out->bytes];
    text[0] = (char)('0' + t->kind);
    size_t at = add(text, 1, m->m->ops->name);
    memcpy(text + at, &m->generation, sizeof m->generation);
    at += sizeof m->generation;
    at = add(text, at, t->user);
    at = add(text, at, t->bound);
    bool ok = keyed_hash(a, secret, secret_len, inner);
    memcpy(text + at, inner, sizeof inner);
    ok = ok && keyed_hash(a, text, at + sizeof inner, out->bytes);
    explicit_bzero(text, sizeof text);
    return ok;
}

static bool key_of(struct auth *a, char kind, const void *data, size_t len, uint64_t *key_out)
{
    uint8_t text[1 + AUTH_USER_MAX], mac[32];
    len = len < AUTH_USER_MAX ? len : AUTH_USER_MAX;
    text[0] = (uint8_t)kind;
    memcpy(text + 1, data, len);
    if (!keyed_hash(a, text, 1 + len, mac)) return false;
    memcpy(key_out, mac, sizeof *key_out);
    if (!*key_out) *key_out = 1;
    return true;
}

/* A home or office has a /64 of IPv6: one attacker could use 2^64 addresses of it. */
static bool address_key(struct auth *a, const char *peer, uint64_t *key_out)
{
    struct in6_addr six;
    if (inet_pton(AF_INET6, peer, &six) == 1) return key_of(a, '6', &six, 8, key_out);
    return key_of(a, 'a', peer, strlen(peer), key_out);
}

/* From this machine comes a proxy, and everybody stands behind it. Failures are slowed down as
 * ever, but no stranger's failures may keep the others from logging in. */
static bool is_local(const char *peer)
{
    return strcmp(peer, "unix") == 0 || strcmp(peer, "::1") == 0 || strncmp(peer, "127.", 4) == 0;
}

/* ---- from the beginning to the end ---- */

struct auth *auth_create(const struct config *c, struct auth_method *const *made, char *error,
                         size_t error_cap)
{
    struct auth *a = calloc(1, sizeof *a);
    const struct making k = {.auth = a, .c = c, .error = error, .error_cap = error_cap};
    if (!a) {
        snprintf(error, error_cap, "out of memory");
        return NULL;
    }
    for (size_t i = 0; made && made[i] && i + 1 < METHODS_MAX; i++) a->made[i] = made[i];
    pthread_mutex_init(&a->lock, NULL);
    if (getrandom(a->secret, sizeof a->secret, 0) != (ssize_t)sizeof a->secret)
        snprintf(error, error_cap, "getrandom: %s", strerror(errno));
    else if (!(a->set = auth_set_make(&k)))
        ; /* error is set */
    else if ((a->cache = cache_create((uint64_t)c->auth.cache_seconds * 1000)) &&
             (a->throttle = throttle_create()))
        return a;
    else
        snprintf(error, error_cap, "no memory for verifying logins");
    auth_destroy(a);
    return NULL;
}

/* ---- pending ---- */

static void pending_free(struct pending *p)
{
    struct auth *a = p->auth;
    pthread_mutex_lock(&a->lock);
    if (p->prev)
        p->prev->next = p->next;
    else
        a->pending = p->next;
    if (p->next) p->next->prev = p->prev;
    pthread_mutex_unlock(&a->lock);
    auth_set_drop(a, p->set);
    explicit_bzero(p, sizeof *p + p->token_size);
    free(p);
}

static struct pending *pending_make(struct auth *a, const struct pending *facts, const char *token,
                                    size_t token_len)
{
    size_t size = token ? token_len + 1 : 0;
    struct pending *p = malloc(sizeof *p + size);
    if (!p) return NULL;
    *p = *facts;
    p->token_size = size;
    if (token) {
        memcpy(p->token, token, token_len);
        p->token[token_len] = '\0';
        p->t.token = p->token;
    }
    atomic_fetch_add(&p->set->holders, 1);
    pthread_mutex_lock(&a->lock);
    p->next = a->pending;
    if (p->next) p->next->prev = p;
    a->pending = p;
    pthread_mutex_unlock(&a->lock);
    return p;
}

void auth_destroy(struct auth *a)
{
    if (!a) return;
    for (const struct pending *p = a->pending; p; p = p->next) auth_method_close(p->method);
    while (a->pending) /* held back when the workers ended */
        pending_free(a->pending);
    if (a->set) auth_set_drop(a, a->set);
    auth_reap(a);
    throttle_destroy(a->throttle);
    cache_destroy(a->cache);
    pthread_mutex_destroy(&a->lock);
    explicit_bzero(a->secret, sizeof a->secret);
    free(a);
}

/* ---- verdicts ---- */

static void finish(struct pending *p, enum auth_verdict verdict)
{
    struct auth_check *q = p->check;
    q->verdict = verdict;
    q->retry_after = p->t.retry_after;
    if (*p->t.user) memcpy(q->user, p->t.user, sizeof q->user);
    memcpy(q->why, p->t.why, sizeof q->why);
    pending_free(p);
}

static void held_back(struct timer *t)
{
    struct pending *p = CONTAINER_OF(t, struct pending, timer);
    struct auth_check *q = p->check;
    finish(p, AUTH_BAD);
    q->done(q);
}

static bool too_many(const struct pending *p)
{
    struct throttle *t = p->auth->throttle;
    uint64_t now = auth_now_ms();
    if (p->was_known) return false;
    if (p->user_key && throttle_count(t, p->user_key, now) >= REFUSE_USER_FROM) return true;
    return !p->local && throttle_count(t, p->address_key, now) >= REFUSE_ADDRESS_FROM;
}

static bool hopeless(struct pending *p)
{
    if (!too_many(p)) return false;
    p->t.retry_after = THROTTLE_WINDOW_MS / 1000;
    p->t.verdict = AUTH_LATER;
    return true;
}

bool auth_try_hopeless(struct auth_try *t)
{
    return hopeless(CONTAINER_OF(t, struct pending, t));
}

/* A server that is down fails thousands of logins: one line is enough. */
static void tell_failure(struct pending *p, uint64_t now)
{
    struct auth *a = p->auth;
    uint64_t due = atomic_load_explicit(&a->tell_at_ms, memory_order_relaxed);
    if (now < due || !atomic_compare_exchange_strong(&a->tell_at_ms, &due, now + TELL_EVERY_MS))
        return;
    LOG(LOG_ERROR, 0, "logins-not-verified", KV_TEXT("method", p->method->m->ops->name),
        KV_TEXT("user", p->t.user), KV_TEXT("why", p->t.why));
}

/* The name that the method tells, in its one spelling. false: it is none. */
static bool name_told(const struct set *s, const struct auth_method *m, struct auth_try *t)
{
    char name[AUTH_USER_MAX];
    if (m->ops->identify) return true;
    if (!login_canonical(t->user, s->domain, s->case_sensitive, name)) return false;
    memcpy(t->user, name, sizeof name);
    return true;
}

static void verified(struct pending *p)
{
    struct auth *a = p->auth;
    struct cached what = {.until = p->t.until, .renewed = p->method->m->ops->renews};
    memcpy(what.user, p->t.user, sizeof what.user);
    cache_put(a->cache, &p->digest, auth_now_ms(), &what);
    finish(p, AUTH_OK);
}

/* true: the check has its verdict. false: it is held back. */
static bool refused(struct pending *p, uint64_t now)
{
    struct auth *a = p->auth;
    unsigned user = p->user_key ? throttle_fail(a->throttle, p->user_key, now) : 0;
    unsigned address = throttle_fail(a->throttle, p->address_key, now);
    unsigned n = user > address ? user : address;
    if (p->was_known) cache_drop(a->cache, &p->digest);
    if (n < SLOW_FROM) {
        finish(p, AUTH_BAD);
        return true;
    }
    uint64_t delay = n - SLOW_FROM < 4 ? 1000u << (n - SLOW_FROM) : SLOW_MOST_MS;
    timer_set(worker_self(), &p->timer, delay < SLOW_MOST_MS ? delay : SLOW_MOST_MS, held_back);
    return false;
}

/* true: the check has its verdict, and p is gone. */
static bool judge(struct pending *p)
{
    uint64_t now = auth_now_ms();
    login_wipe(&p->t.login);
    if (p->t.verdict == AUTH_OK && !name_told(p->set, p->method->m, &p->t)) {
        snprintf(p->t.why, sizeof p->t.why, "the name that the method tells cannot be a user's");
        p->t.verdict = AUTH_BAD;
    }
    if (p->t.verdict == AUTH_BAD) return refused(p, now);
    if (p->t.verdict == AUTH_OK) {
        verified(p);
        return true;
    }
    if (p->t.verdict == AUTH_FAILED) tell_failure(p, now);
    finish(p, p->t.verdict);
    return true;
}

static void tried(struct auth_try *t)
{
    struct pending *p = CONTAINER_OF(t, struct pending, t);
    struct auth_check *q = p->check;
    if (judge(p)) q->done(q);
}

/* ---- credentials ---- */

/* A credential as it came: of the check, or of a field alone. */
struct credential {
    const char *authorization;
    const void *certificate;
    size_t certificate_len;
    const void *secret; /* out: what is hashed; within one of the above or the try */
    size_t secret_len;
};

/* Is there one of a kind that the method takes? Fills in the try. */
static bool takes(const struct auth_method *m, struct credential *c, struct auth_try *t)
{
    unsigned kinds = m->ops->kinds;
    if ((kinds & 1u << AUTH_PASSWORD) && login_parse(c->authorization, &t->login)) {
        t->kind = AUTH_PASSWORD;
        c->secret = t->login.password;
        c->secret_len = strlen(t->login.password);
        return true;
    }
    if ((kinds & 1u << AUTH_BEARER) &&
        (c->secret = login_token(c->authorization, &c->secret_len))) {
        t->kind = AUTH_BEARER;
        return true;
    }
    if ((kinds & 1u << AUTH_CERTIFICATE) && c->certificate) {
        t->kind = AUTH_CERTIFICATE;
        c->secret = t->certificate = c->certificate;
        c->secret_len = t->certificate_len = c->certificate_len;
        return true;
    }
    return false;
}

/* Whose login it may be, as far as it says so itself. false: nobody's. */
static bool identify(const struct set *s, struct auth_method *m, struct auth_try *t)
{
    if (t->kind != AUTH_PASSWORD) return true;
    if (m->ops->identify) {
        m->ops->identify(m, t);
        return true;
    }
    bool ok = login_canonical(t->login.name, s->domain, s->case_sensitive, t->user);
    if (ok && (m->ops->tells_name || s->case_sensitive || login_is_ascii(t->user))) return true;
    memcpy(t->user, t->login.name, sizeof t->user);
    snprintf(t->why, sizeof t->why,
             ok ? "a name beyond ASCII is not taken by this method" : "it cannot be a user's name");
    return false;
}

static struct used *choose(const struct set *s, struct credential *c, struct auth_try *t)
{
    for (size_t i = 0; i < s->count; i++)
        if (takes(s->methods[i]->m, c, t)) return s->methods[i];
    return NULL;
}

void auth_forget(struct auth *a, const char *authorization)
{
    struct auth_try t = {0};
    struct credential c = {.authorization = authorization};
    struct digest d;
    struct set *s = auth_set_hold(a);
    struct used *m = choose(s, &c, &t);
    if (m && identify(s, m->m, &t) && digest_of(a, m, &t, c.secret, c.secret_len, &d))
        cache_drop(a->cache, &d);
    auth_set_drop(a, s);
    explicit_bzero(&t, sizeof t);
}

bool auth_is_of(struct auth *a, const char *authorization, const char *user)
{
    struct login l;
    char name[AUTH_USER_MAX];
    struct set *s = auth_set_hold(a);
    bool is = login_parse(authorization, &l) &&
              login_canonical(l.name, s->domain, s->case_sensitive, name) &&
              strcmp(name, user) == 0;
    auth_set_drop(a, s);
    login_wipe(&l);
    return is;
}

/* Not in the cache: have it verified. true: answered at once. */
static bool verify(struct auth *a, struct pending *facts, const struct credential *c, bool somebody)
{
    struct auth_check *q = facts->check;
    bool token = facts->t.kind == AUTH_BEARER;
    q->verdict = AUTH_FAILED;
    if ((*facts->t.user &&
         !key_of(a, 'u', facts->t.user, strlen(facts->t.user), &facts->user_key)) ||
        !address_key(a, q->peer, &facts->address_key))
        return true;
    if (hopeless(facts)) {
        q->verdict = AUTH_LATER;
        q->retry_after = facts->t.retry_after;
        return true;
    }
    struct pending *p = pending_make(a, facts, token ? c->secret : NULL, c->secret_len);
    if (!p) return true;
    p->t.verdict = AUTH_BAD;
    p->t.since_ms = auth_now_ms();
    if (somebody && !p->method->m->ops->verify(p->method->m, &p->t)) return false;
    return judge(p);
}

static bool start(struct auth *a, struct set *s, struct auth_check *q)
{
    struct pending facts = {
        .auth = a, .set = s, .check = q, .local = is_local(q->peer), .t.done = tried};
    struct auth_try *t = &facts.t;
    struct credential c = {q->authorization, q->certificate, q->certificate_len, NULL, 0};
    bool answered = true;
    t->peer = q->peer;
    q->verdict = AUTH_BAD;
    q->user[0] = q->why[0] = '\0';
    q->retry_after = 0;
    facts.method = choose(s, &c, t);
    q->by_certificate = facts.method && t->kind == AUTH_CERTIFICATE;
    if (!facts.method) return true;
    bool somebody = identify(s, facts.method->m, t);
    memcpy(q->user, t->user, sizeof q->user);
    if (!digest_of(a, facts.method, t, c.secret, c.secret_len, &facts.digest)) {
        q->verdict = AUTH_FAILED;
    } else {
        enum cache_answer known =
            cache_look(a->cache, &facts.digest, auth_now_ms(), (int64_t)time(NULL), q->user);
        facts.was_known = known == CACHE_KNOWN;
        if (known == CACHE_FRESH)
            q->verdict = AUTH_OK;
        else
            answered = verify(a, &facts, &c, somebody);
    }
    explicit_bzero(&facts, sizeof facts);
    return answered;
}

bool auth_start(struct auth *a, struct auth_check *q)
{
    struct set *s = auth_set_hold(a);
    bool answered = start(a, s, q);
    auth_set_drop(a, s);
    return answered;
}

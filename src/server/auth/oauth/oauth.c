#include "src/server/auth/oauth/oauth.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "src/server/auth/oauth/keys.h"

struct oauth {
    struct auth_method method;
    struct jwt_rules rules;
    struct oauth_keys *keys;
};

static void say(struct auth_try *t, enum auth_verdict verdict, const char *why)
{
    t->verdict = verdict;
    snprintf(t->why, sizeof t->why, "token: %s", why);
}

static void say_fault(struct auth_try *t, enum jwt_fault fault)
{
    say(t, fault == JWT_FAULT_NO_MEMORY ? AUTH_FAILED : AUTH_BAD, jwt_fault_text(fault));
}

/* The key is there. */
static void verify_with(const struct oauth *o, struct auth_try *t, const struct jwt_head *h,
                        const struct keyset *s)
{
    char *claims = NULL;
    size_t len = 0;
    enum jwt_fault fault = keyset_verify(s, t->token, strlen(t->token), h, &claims, &len);
    if (!fault) fault = jwt_claims_check(claims, len, &o->rules, time(NULL), t->user, &t->until);
    free(claims);
    t->verdict = AUTH_OK;
    if (fault) say_fault(t, fault);
}

static void keys_were_read(struct job *j);

/* waits: if the key is not there, until the issuer's have been read anew. false: it does. */
static bool judge(struct oauth *o, struct auth_try *t, bool waits)
{
    struct jwt_head h;
    struct keyset *s;
    char why[KEYSET_ERROR_MAX];
    enum jwt_fault fault = jwt_head_read(t->token, strlen(t->token), &o->rules, &h);
    if (fault) {
        say_fault(t, fault);
        return true;
    }
    t->job.done = keys_were_read;
    t->state = o;
    switch (oauth_keys_find(o->keys, &h, waits ? &t->job : NULL, &s, why)) {
    case OAUTH_LATER: return false;
    case OAUTH_NONE: say_fault(t, JWT_FAULT_KEY); return true;
    case OAUTH_FAILED: say(t, AUTH_FAILED, why); return true;
    case OAUTH_HERE: break;
    }
    verify_with(o, t, &h, s);
    keyset_release(s);
    return true;
}

static void keys_were_read(struct job *j)
{
    struct auth_try *t = CONTAINER_OF(j, struct auth_try, job);
    (void)judge(t->state, t, false);
    t->done(t);
}

/* ---- the method ---- */

static bool oauth_verify(struct auth_method *m, struct auth_try *t)
{
    return judge(CONTAINER_OF(m, struct oauth, method), t, true);
}

static bool oauth_reload(struct auth_method *m, char *error, size_t error_cap)
{
    (void)error, (void)error_cap;
    oauth_keys_refresh(CONTAINER_OF(m, struct oauth, method)->keys);
    return true;
}

static void oauth_close(struct auth_method *m)
{
    struct oauth *o = CONTAINER_OF(m, struct oauth, method);
    oauth_keys_stop(o->keys);
    free(o);
    curl_global_cleanup();
}

static struct jwt_rules rules_of(const struct config *c)
{
    struct jwt_rules r = {.issuer = c->auth.oauth.issuer,
                          .audience = &c->auth.oauth.audience,
                          .claim = c->auth.oauth.claim,
                          .scope = c->auth.oauth.scope,
                          .leeway = c->auth.oauth.leeway};
    for (size_t i = 0; i < c->auth.oauth.algorithms.count; i++) {
        enum jwt_alg alg;
        if (jwt_alg_parse(c->auth.oauth.algorithms.name[i], &alg)) r.algorithms |= 1u << alg;
    }
    return r;
}

struct auth_method *oauth_method(const struct config *c, char *error, size_t error_cap)
{
    static const struct auth_method_ops ops = {.name = "oauth",
                                               .kinds = 1u << AUTH_BEARER,
                                               .tells_name = true,
                                               .verify = oauth_verify,
                                               .reload = oauth_reload,
                                               .close = oauth_close};
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        snprintf(error, error_cap, "libcurl does not start");
        return NULL;
    }
    struct oauth *o = calloc(1, sizeof *o);
    if (!o) {
        snprintf(error, error_cap, "out of memory");
    } else {
        o->method.ops = &ops;
        o->rules = rules_of(c);
        if ((o->keys = oauth_keys_start(c, error, error_cap))) return &o->method;
    }
    free(o);
    curl_global_cleanup();
    return NULL;
}

/* The login method `upstream`: who the server behind the gateway takes for somebody. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <time.h>

#include "src/lib/base/base64.h"
#include "src/server/observe/log.h"
#include "src/server/upstream/upstream_inner.h"

#define CREDENTIALS_MAX (AUTH_USER_MAX + LOGIN_PASSWORD_MAX)
#define AUTHORIZATION_MAX (sizeof "Basic " + (CREDENTIALS_MAX + 2) / 3 * 4 + 4)

/* One login on its way. Servers differ in what they look at: first it is found out, with a name and a
 * password that cannot be right, whether this one looks at the password at all. */
struct verification {
    struct fetch fetch;
    struct auth_try *t;
    struct upstream *upstream;
    enum upstream_proof proof; /* what is asked now */
    bool made_up;              /* with made up credentials */
    bool elsewhere;            /* where the upstream has sent the user */
    unsigned hops;
    char authorization[AUTHORIZATION_MAX];
};

static bool ask(struct verification *v);

/* ---- credentials ---- */

/* false: they do not fit, which login_parse has seen to. */
static bool basic(const char *name, const char *password, char out[AUTHORIZATION_MAX])
{
    char plain[CREDENTIALS_MAX];
    size_t at = sizeof "Basic " - 1;
    int len = snprintf(plain, sizeof plain, "%s:%s", name, password);
    memcpy(out, "Basic ", at + 1);
    bool ok = len > 0 && (size_t)len < sizeof plain &&
              pv__base64_encode((const uint8_t *)plain, (size_t)len, out + at,
                                AUTHORIZATION_MAX - at) == PV_OK;
    explicit_bzero(plain, sizeof plain);
    return ok;
}

static bool make_up(char out[AUTHORIZATION_MAX])
{
    uint64_t random[3];
    char name[32], password[48];
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random) return false;
    snprintf(name, sizeof name, "provost-%08x", (unsigned)random[0]);
    snprintf(password, sizeof password, "%016llx%016llx", (unsigned long long)random[1],
             (unsigned long long)random[2]);
    return basic(name, password, out);
}

/* ---- the verdict ---- */

static void finish(struct verification *v, enum auth_verdict verdict, const char *why)
{
    struct auth_try *t = v->t;
    t->verdict = verdict;
    if (why) snprintf(t->why, sizeof t->why, "upstream: %s", why);
    explicit_bzero(v, sizeof *v);
    free(v);
    t->done(t);
}

static void ask_or_finish(struct verification *v)
{
    if (!ask(v)) finish(v, AUTH_FAILED, "out of memory");
}

static bool is_refused(unsigned http)
{
    return http == 401 || http == 403;
}

static void unclear(struct verification *v, unsigned http)
{
    char why[64];
    snprintf(why, sizeof why, "it says neither yes nor no to a login, but HTTP %u", http);
    finish(v, AUTH_FAILED, why);
}

/* Credentials that nobody has: has it refused them? */
static void proved(struct verification *v, unsigned http)
{
    struct upstream *u = v->upstream;
    if (is_refused(http)) {
        atomic_store(&u->refuses_with, (int)http);
        atomic_store(&u->proof, (int)v->proof);
        atomic_store(&u->proved_at, (int64_t)time(NULL));
        v->made_up = false;
        ask_or_finish(v);
        return;
    }
    atomic_store(&u->proof, UPSTREAM_PROOF_NONE);
    if (http >= 500) {
        unclear(v, http);
    } else if (v->proof == UPSTREAM_PROOF_OPTIONS) {
        LOG(LOG_WARN, 0, "upstream-options-open", KV_TEXT("url", u->url), KV_UINT("http", http),
            KV_TEXT("then", "logins are verified by a command"));
        v->proof = UPSTREAM_PROOF_COMMAND;
        ask_or_finish(v);
    } else {
        LOG(LOG_ERROR, 0, "upstream-takes-everybody", KV_TEXT("url", u->url), KV_UINT("http", http),
            KV_TEXT("then", "no login is taken for verified"));
        finish(v, AUTH_FAILED, "it takes every password");
    }
}

/* The answer to the login itself. To a command that means nothing it may say anything, once it has taken
 * the login. */
static void answered(struct verification *v, unsigned http)
{
    if (is_refused(http))
        finish(v, AUTH_BAD, NULL);
    else if (http < 300 || http == 449 ||
             (v->proof == UPSTREAM_PROOF_COMMAND && !v->elsewhere && http == 400))
        finish(v, AUTH_OK, NULL);
    else
        unclear(v, http);
}

/* The user's mailbox is at another server, which is asked instead. */
static void sent_on(struct verification *v)
{
    if (v->hops < LOCATION_HOPS_MAX && upstream_sends_on(v->upstream, v->t->user, &v->fetch)) {
        v->hops++;
        ask_or_finish(v);
    } else {
        finish(v, AUTH_FAILED, "it sends the user on, and there is nowhere to go");
    }
}

static void done(struct fetch *f, enum fetch_result result)
{
    struct verification *v = CONTAINER_OF(f, struct verification, fetch);
    char why[sizeof f->error];
    memcpy(why, f->error, sizeof why);
    upstream_ended(v->upstream, result, f, v->elsewhere);
    if (v->elsewhere && result == FETCH_UNREACHABLE)
        location_forget(v->upstream->set->locations, v->t->user);
    if (result != FETCH_OK)
        finish(v, AUTH_FAILED, why);
    else if (v->made_up)
        proved(v, f->status);
    else if (f->status == 451)
        sent_on(v);
    else
        answered(v, f->status);
}

/* ---- the request ---- */

/* Settings, which changes nothing and needs no device that is known: UserInformation Get. */
static const uint8_t settings[] = {0x03, 0x01, 0x6A, 0x00, 0x00, 0x12,
                                   0x45, 0x5D, 0x07, 0x01, 0x01};

/* false: no memory; nothing is called. */
static bool ask(struct verification *v)
{
    struct upstream *u = v->upstream;
    const struct config *c = config_now(u->set->config);
    char url[UPSTREAM_TARGET_MAX], place[PUBLIC_URL_ROOM];
    v->elsewhere = !v->made_up && upstream_place(u, v->t->user, place);
    /* Whether OPTIONS tells a wrong login is known of the upstream itself only. */
    bool command = v->proof == UPSTREAM_PROOF_COMMAND || v->elsewhere;
    const char *at = v->elsewhere ? place : u->url;
    const struct pv_request req = {.version = PV_V14_0,
                                   .cmd = PV_CMD_Settings,
                                   .user = v->t->user,
                                   .device_id = "provost",
                                   .device_type = "provost"};
    const struct http_field fields[] = {{"Authorization", v->authorization},
                                        {"MS-ASProtocolVersion", "14.0"},
                                        {"Content-Type", PV_EAS_CONTENT_TYPE},
                                        {0}};
    const struct http_field options_fields[] = {{"Authorization", v->authorization}, {0}};
    struct fetch_ask a = {.peer = u->peer,
                          .method = command ? "POST" : "OPTIONS",
                          .url = command ? url : at,
                          .fields = command ? fields : options_fields,
                          .body = command ? settings : NULL,
                          .len = command ? sizeof settings : 0,
                          .head_ms = c->upstream.timeout * 1000,
                          .stall_ms = c->upstream.stall_timeout * 1000,
                          .answer_max = UPSTREAM_ANSWER_MAX};
    bool ok = v->made_up ? make_up(v->authorization)
                         : basic(v->t->login.name, v->t->login.password, v->authorization);
    v->fetch = (struct fetch){.done = done};
    ok = ok && (!command || upstream_target(at, &req, url)) &&
         fetch_start(u->set->fetcher, &v->fetch, &a);
    if (ok) upstream_begun(u);
    return ok;
}

/* ---- the method ---- */

static struct upstreams *upstreams_of(struct auth_method *m)
{
    return CONTAINER_OF(m, struct upstreams, login);
}

static bool fail(struct auth_try *t, enum auth_verdict verdict, const char *why)
{
    t->verdict = verdict;
    snprintf(t->why, sizeof t->why, "%s", why);
    return true;
}

/* DOMAIN\user is user@domain where the domain has a server of its own: two users of one name must not be
 * one. */
static void identify(struct auth_method *m, struct auth_try *t)
{
    const struct config *c = config_now(upstreams_of(m)->config);
    const struct config_domains *d = &c->upstream.domains;
    const char *name = t->login.name, *backslash = strchr(name, '\\');
    char whole[2 * AUTH_USER_MAX];
    for (size_t i = 0; backslash && !strchr(backslash, '@') && i < d->count; i++) {
        size_t len = strlen(d->at[i].domain);
        if ((size_t)(backslash - name) != len || strncasecmp(d->at[i].domain, name, len) != 0)
            continue;
        snprintf(whole, sizeof whole, "%s@%.*s", backslash + 1, (int)len, name);
        name = whole;
        break;
    }
    if (!login_canonical(name, c->domain, c->auth.case_sensitive, t->user))
        snprintf(t->user, sizeof t->user, "%s", t->login.name);
}

/* Another server may stand there by now, or its settings be others. One login finds it out. */
static bool proof_is_due(struct upstream *u)
{
    int64_t now = (int64_t)time(NULL), at = atomic_load(&u->proved_at), ago = now - at;
    if (ago >= 0 && ago < config_now(u->set->config)->upstream.health_interval) return false;
    return atomic_compare_exchange_strong(&u->proved_at, &at, now);
}

static bool verify(struct auth_method *m, struct auth_try *t)
{
    struct upstreams *set = upstreams_of(m);
    struct upstream *u = upstream_of(set, t->user);
    char name[AUTH_USER_MAX];
    if (!login_canonical(t->user, "", config_now(set->config)->auth.case_sensitive, name) ||
        strcmp(name, t->user) != 0)
        return fail(t, AUTH_BAD, "it cannot be a user's name");
    if (!config_now(set->config)->auth.case_sensitive && !login_is_ascii(t->user))
        return fail(t, AUTH_BAD, "a name beyond ASCII is not taken by this method");
    if (!u) return fail(t, AUTH_BAD, "no upstream is configured for the user's domain");
    if (upstream_down(u)) return fail(t, AUTH_FAILED, "the upstream is down");
    struct verification *v = calloc(1, sizeof *v);
    if (!v) return fail(t, AUTH_FAILED, "out of memory");
    int proof = atomic_load(&u->proof);
    v->t = t;
    v->upstream = u;
    v->made_up = proof == UPSTREAM_PROOF_NONE || proof_is_due(u);
    v->proof = proof == UPSTREAM_PROOF_NONE ? UPSTREAM_PROOF_OPTIONS : (enum upstream_proof)proof;
    if (ask(v)) return false;
    free(v);
    return fail(t, AUTH_FAILED, "out of memory");
}

struct auth_method *upstreams_auth(struct upstreams *u)
{
    static const struct auth_method_ops ops = {
        .name = "upstream", .kinds = 1u << AUTH_PASSWORD, .identify = identify, .verify = verify};
    u->login.ops = &ops;
    return &u->login;
}

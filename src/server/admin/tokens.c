#include "src/server/admin/tokens.h"

#include <gnutls/gnutls.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "src/lib/base/base64.h"
#include "src/lib/base/sha256.h"
#include "src/lib/base/text.h"
#include "src/server/admin/scopes.h"

#define PREFIX "pvt_"

enum use { FREE, PENDING, LIVE, CLOSING, CLOSED };

struct tokens {
    pthread_mutex_t lock;
    struct slot {
        enum use use;
        struct token token;
    } slots[TOKENS_MAX];
};

struct tokens *tokens_create(void)
{
    struct tokens *t = calloc(1, sizeof *t);
    if (t) pthread_mutex_init(&t->lock, NULL);
    return t;
}

void tokens_destroy(struct tokens *t)
{
    if (!t) return;
    pthread_mutex_destroy(&t->lock);
    free(t);
}

/* ---- one token ---- */

bool token_name_good(const char *name)
{
    size_t len = strlen(name);
    for (size_t i = 0; i < len; i++)
        if (!pv__is_alnum((unsigned char)name[i]) && !strchr("._-", name[i])) return false;
    return len > 0 && len < TOKEN_NAME_MAX;
}

void token_make(struct token *token, const uint8_t random[32], char text_out[TOKEN_TEXT_LEN + 1])
{
    char base64[48];
    enum pv_err e = pv__base64_encode(random, 32, base64, sizeof base64);
    if (e != PV_OK) abort(); /* there is room */
    for (char *p = base64; *p; p++) *p = *p == '+' ? '-' : *p == '/' ? '_' : *p;
    memcpy(text_out, PREFIX, strlen(PREFIX));
    memcpy(text_out + strlen(PREFIX), base64, TOKEN_TEXT_LEN - strlen(PREFIX)); /* not its '=' */
    text_out[TOKEN_TEXT_LEN] = '\0';
    pv__sha256((const uint8_t *)text_out, TOKEN_TEXT_LEN, token->hash);
    explicit_bzero(base64, sizeof base64);
}

json_t *token_to_json(const struct token *token)
{
    char hash[2 * TOKEN_HASH_LEN + 1];
    for (size_t i = 0; i < TOKEN_HASH_LEN; i++) {
        hash[2 * i] = "0123456789abcdef"[token->hash[i] >> 4];
        hash[2 * i + 1] = "0123456789abcdef"[token->hash[i] & 15];
    }
    hash[2 * TOKEN_HASH_LEN] = '\0';
    return json_pack("{s:s,s:o,s:I,s:I}", "sha256", hash, "scopes", scopes_to_json(token->scopes),
                     "created_at", (json_int_t)token->created_at, "expires_at",
                     (json_int_t)token->expires_at);
}

static bool hash_of_text(const char *text, uint8_t hash[TOKEN_HASH_LEN])
{
    if (strlen(text) != 2 * TOKEN_HASH_LEN || text[strspn(text, "0123456789abcdef")]) return false;
    for (size_t i = 0; i < TOKEN_HASH_LEN; i++) {
        const char pair[3] = {text[2 * i], text[2 * i + 1], '\0'};
        hash[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
    return true;
}

bool token_of_json(const char *name, const char *json, struct token *out)
{
    const char *hash;
    json_t *scopes, *all = json_loads(json, 0, NULL);
    json_int_t created, expires;
    *out = (struct token){0};
    bool ok = all && token_name_good(name) &&
              json_unpack(all, "{s:s,s:o,s:I,s:I}", "sha256", &hash, "scopes", &scopes,
                          "created_at", &created, "expires_at", &expires) == 0 &&
              hash_of_text(hash, out->hash) && scopes_of_json(scopes, &out->scopes);
    if (ok) {
        memcpy(out->name, name, strlen(name) + 1);
        out->created_at = created;
        out->expires_at = expires;
    }
    json_decref(all);
    return ok;
}

/* ---- all of them; under the lock ---- */

static struct slot *find(struct tokens *t, const char *name)
{
    for (size_t i = 0; i < TOKENS_MAX; i++)
        if (t->slots[i].use != FREE && strcmp(t->slots[i].token.name, name) == 0)
            return &t->slots[i];
    return NULL;
}

static void empty(struct slot *s)
{
    if (s) *s = (struct slot){0};
}

enum tokens_result tokens_add(struct tokens *t, const struct token *token)
{
    enum tokens_result result = TOKENS_FULL;
    pthread_mutex_lock(&t->lock);
    if (find(t, token->name)) result = TOKENS_EXISTS;
    for (size_t i = 0; result == TOKENS_FULL && i < TOKENS_MAX; i++) {
        if (t->slots[i].use != FREE) continue;
        t->slots[i] = (struct slot){PENDING, *token};
        result = TOKENS_OK;
    }
    pthread_mutex_unlock(&t->lock);
    return result;
}

void tokens_settle(struct tokens *t, const char *name, bool durable)
{
    pthread_mutex_lock(&t->lock);
    struct slot *s = find(t, name);
    if (s && durable && s->use == PENDING)
        s->use = LIVE;
    else if (!durable)
        empty(s);
    pthread_mutex_unlock(&t->lock);
}

enum tokens_result tokens_close(struct tokens *t, const char *name)
{
    pthread_mutex_lock(&t->lock);
    struct slot *s = find(t, name);
    bool there = s && (s->use == LIVE || s->use == CLOSED);
    if (there) s->use = CLOSING;
    pthread_mutex_unlock(&t->lock);
    return there ? TOKENS_OK : TOKENS_UNKNOWN;
}

void tokens_forget(struct tokens *t, const char *name, bool durable)
{
    pthread_mutex_lock(&t->lock);
    struct slot *s = find(t, name);
    if (durable)
        empty(s);
    else if (s)
        s->use = CLOSED;
    pthread_mutex_unlock(&t->lock);
}

void tokens_reopen(struct tokens *t, const char *name)
{
    pthread_mutex_lock(&t->lock);
    struct slot *s = find(t, name);
    if (s && s->use == CLOSING) s->use = LIVE;
    pthread_mutex_unlock(&t->lock);
}

static const struct token *find_in(const struct token *all, size_t count, const struct token *t)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(all[i].name, t->name) == 0 && memcmp(all[i].hash, t->hash, TOKEN_HASH_LEN) == 0)
            return &all[i];
    return NULL;
}

void tokens_take(struct tokens *t, const struct token *all, size_t count)
{
    pthread_mutex_lock(&t->lock);
    for (size_t i = 0; i < TOKENS_MAX; i++) {
        struct slot *s = &t->slots[i];
        if ((s->use == LIVE || s->use == CLOSED) && !find_in(all, count, &s->token)) empty(s);
    }
    for (size_t i = 0, at = 0; i < count; i++) {
        if (find(t, all[i].name)) continue;
        while (at < TOKENS_MAX && t->slots[at].use != FREE) at++;
        if (at < TOKENS_MAX) t->slots[at] = (struct slot){LIVE, all[i]};
    }
    pthread_mutex_unlock(&t->lock);
}

/* ---- the check ---- */

/* Always the same bytes to hash: what is no token is one of zeros. */
static void hash_of_field(const char *field, uint8_t hash[TOKEN_HASH_LEN])
{
    static const char scheme[] = "Bearer ";
    char text[TOKEN_TEXT_LEN] = {0};
    if (field && strncasecmp(field, scheme, strlen(scheme)) == 0) {
        const char *p = field + strlen(scheme);
        p += strspn(p, " ");
        if (strlen(p) == TOKEN_TEXT_LEN) memcpy(text, p, TOKEN_TEXT_LEN);
    }
    pv__sha256((const uint8_t *)text, TOKEN_TEXT_LEN, hash);
    explicit_bzero(text, sizeof text);
}

bool tokens_check(struct tokens *t, const char *authorization, int64_t now, struct token *out)
{
    uint8_t hash[TOKEN_HASH_LEN];
    struct slot *found = NULL;
    hash_of_field(authorization, hash);
    pthread_mutex_lock(&t->lock);
    for (size_t i = 0; i < TOKENS_MAX; i++) { /* all of them, whatever was found */
        struct slot *s = &t->slots[i];
        bool same = gnutls_memcmp(s->token.hash, hash, TOKEN_HASH_LEN) == 0;
        bool open = s->use == LIVE && (s->token.expires_at == 0 || s->token.expires_at > now);
        if (same & open) found = s;
    }
    if (found) {
        found->token.last_used_at = now;
        *out = found->token;
    }
    pthread_mutex_unlock(&t->lock);
    return found != NULL;
}

static int by_name(const void *a, const void *b)
{
    const struct token *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

void tokens_each(struct tokens *t, void (*each)(void *ctx, const struct token *token), void *ctx)
{
    const struct token *all[TOKENS_MAX];
    size_t count = 0;
    pthread_mutex_lock(&t->lock);
    for (size_t i = 0; i < TOKENS_MAX; i++)
        if (t->slots[i].use == LIVE) all[count++] = &t->slots[i].token;
    qsort(all, count, sizeof *all, by_name);
    for (size_t i = 0; i < count; i++) each(ctx, all[i]);
    pthread_mutex_unlock(&t->lock);
}

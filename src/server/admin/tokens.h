/* Tokens for administration over HTTPS: who may call, and what. Of a token itself only the SHA-256
 * is kept: 256 random bits cannot be guessed from it. In memory; tokens_route.c keeps them in the
 * store. Every function: any thread. */
#ifndef PROVOSTD_ADMIN_TOKENS_H
#define PROVOSTD_ADMIN_TOKENS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TOKENS_MAX 256
#define TOKEN_NAME_MAX 65   /* bytes of a name, terminator included */
#define TOKEN_TEXT_LEN 47   /* "pvt_" and 43 characters of base64 for URLs */
#define TOKEN_HASH_LEN 32

struct token {
    char name[TOKEN_NAME_MAX];
    unsigned scopes;         /* enum admin_scope */
    int64_t created_at;      /* seconds since 1970 */
    int64_t expires_at;      /* 0: never */
    int64_t last_used_at;    /* 0: not since the server started */
    uint8_t hash[TOKEN_HASH_LEN];
};

struct tokens;
struct tokens *tokens_create(void); /* NULL: no memory */
void tokens_destroy(struct tokens *t);

/* Letters, digits, '.', '_', '-'. */
bool token_name_good(const char *name);
/* A new token's text from random bytes, and the hash of it into token. */
void token_make(struct token *token, const uint8_t random[32], char text_out[TOKEN_TEXT_LEN + 1]);
/* As the store keeps it (the name is the item's), and back. NULL: no memory; false: damaged. */
json_t *token_to_json(const struct token *token);
bool token_of_json(const char *name, const char *json, struct token *out);

enum tokens_result { TOKENS_OK, TOKENS_EXISTS, TOKENS_FULL, TOKENS_UNKNOWN };
/* A new token opens nothing until it is settled: durable, or else forgotten. */
enum tokens_result tokens_add(struct tokens *t, const struct token *token);
void tokens_settle(struct tokens *t, const char *name, bool durable);
/* From now on it opens nothing. Then forget it when its removal is durable; else it stays closed
 * and can be removed once more. TOKENS_UNKNOWN while another removal is under way. */
enum tokens_result tokens_close(struct tokens *t, const char *name);
void tokens_forget(struct tokens *t, const char *name, bool durable);
/* It is not to be removed after all: it opens again. */
void tokens_reopen(struct tokens *t, const char *name);
/* Those that the store has, instead of those that are open now; who stays keeps its last use. What is
 * being added or removed stays as it is, until that has ended. */
void tokens_take(struct tokens *t, const struct token *all, size_t count);

/* The value of an Authorization field (NULL: there is none) held against all tokens, in the same
 * time whatever it is. true: *out is the token, its last use noted. */
bool tokens_check(struct tokens *t, const char *authorization, int64_t now, struct token *out);
/* By name. The lock is held meanwhile. */
void tokens_each(struct tokens *t, void (*each)(void *ctx, const struct token *token), void *ctx);

#endif

/* Routes of the administration, one row of data/api.tsv each: finding the one that a call wants,
 * and checking what comes with it against the row. Pure: no engine, no gate. */
#ifndef PROVOSTD_ADMIN_ROUTE_H
#define PROVOSTD_ADMIN_ROUTE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/server/admin/api_table.h"
#include "src/server/admin/scopes.h"
#include "src/server/auth/auth.h"

#define ADMIN_ARGS_MAX 4
#define ADMIN_QUERY_MAX 16
#define ADMIN_ALLOW_MAX 64           /* every method that there is */
#define ADMIN_SENTENCE_MAX 320       /* of a refusal */
#define ADMIN_NAME_MAX AUTH_USER_MAX /* of what stands in a path, terminator included */

enum admin_type {
    ADMIN_TEXT,
    ADMIN_NUMBER, /* whole, 0 to INT64_MAX */
    ADMIN_FLAG,
    ADMIN_OBJECT,
    ADMIN_LIST,   /* of texts */
    ADMIN_WORD,   /* one of words */
    ADMIN_NAME    /* of a user or a device, any bytes as in a path */
};

/* A query parameter, or a member of the body. */
struct admin_field {
    const char *name;
    enum admin_type type;
    const char *words; /* "account|device"; else NULL */
    bool null;         /* JSON null may stand there */
    bool required;
};

struct admin_call;
struct admin_route {
    const char *method;
    const char *path; /* {placeholder}: a whole segment */
    unsigned scopes;  /* enum admin_scope: all of them are needed */
    void (*serve)(struct admin_call *c);
    const struct admin_field *query;
    size_t query_count;
    const struct admin_field *body; /* members */
    size_t body_count;
};
extern const struct admin_route admin_routes[];
extern const size_t admin_route_count;

/* A request line taken apart. Zeroed before, finished afterwards. */
struct admin_target {
    const struct admin_route *route;
    const char *arg[ADMIN_ARGS_MAX];    /* decoded, in the order of the path's placeholders */
    const char *query[ADMIN_QUERY_MAX]; /* decoded, by the route's rows; NULL: not given */
    const char *rest;                   /* what stands behind ?; borrowed from the target */
    char *text;                         /* private: what the values stand in */
    size_t used;                        /* private */
};

enum admin_find { ADMIN_FOUND, ADMIN_NO_PATH, ADMIN_NO_METHOD, ADMIN_FIND_NO_MEMORY };
/* Find the route and its arguments. allow_out lists the methods of the path for ADMIN_NO_METHOD.
 * target must outlive admin_target_query. */
enum admin_find admin_target_find(const char *method, const char *target, struct admin_target *t,
                                  char allow_out[ADMIN_ALLOW_MAX]);
/* The query of a target that was found. false: sentence says why. */
bool admin_target_query(struct admin_target *t, char sentence[ADMIN_SENTENCE_MAX]);
void admin_target_finish(struct admin_target *t);

/* Is body, an object, what the route takes? false: sentence says why not. */
bool admin_body_check(const struct admin_route *r, const json_t *body,
                      char sentence[ADMIN_SENTENCE_MAX]);

/* Percent-decode len bytes; plus: '+' is a blank. to has room for len + 1.
 * @return bytes, or SIZE_MAX: a broken escape, or a NUL. */
size_t admin_percent_decode(const char *from, size_t len, bool plus, char *to);
/* Is value one of the words with '|' between them? */
bool admin_is_word(const char *words, const char *value);

#endif

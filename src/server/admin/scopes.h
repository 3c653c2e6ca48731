/* What a call does to the world, and so what a token must allow. */
#ifndef PROVOSTD_ADMIN_SCOPES_H
#define PROVOSTD_ADMIN_SCOPES_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* id, bit, name. None implies another. */
#define ADMIN_SCOPES(X)      \
    X(READ, 1, "read")       \
    X(OPERATE, 2, "operate") \
    X(WIPE, 4, "wipe")
#define ADMIN_SCOPE_ENUM(id, bit, name) ADMIN_##id = bit,
enum admin_scope { ADMIN_SCOPES(ADMIN_SCOPE_ENUM) };
#undef ADMIN_SCOPE_ENUM
#define ADMIN_SCOPE_BIT(id, bit, name) | bit
enum { ADMIN_ALL_SCOPES = 0 ADMIN_SCOPES(ADMIN_SCOPE_BIT) };
#undef ADMIN_SCOPE_BIT
/* Of calls that no token allows: only the socket does. */
enum { ADMIN_SOCKET = 8 };

#define SCOPES_TEXT_MAX 32 /* all names with ", " between them, and the terminator */

/* A list of names. NULL: no memory. */
json_t *scopes_to_json(unsigned scopes);
/* A list of one name or more, each known. */
bool scopes_of_json(const json_t *list, unsigned *out);
/* "read, wipe"; "nothing". */
void scopes_text(unsigned scopes, char out[SCOPES_TEXT_MAX]);

#endif

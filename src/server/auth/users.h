/* The users file: `name:hash`, the hash as crypt(3) writes it, further fields ignored, # comments.
 * A snapshot in memory for look-ups, the file itself for changes. */
#ifndef PROVOSTD_AUTH_USERS_H
#define PROVOSTD_AUTH_USERS_H

#include <stdbool.h>
#include <stddef.h>

#include "src/server/auth/auth.h"

#define USERS_HASH_MAX 384             /* CRYPT_OUTPUT_SIZE */
#define USERS_FILE_MAX (64u << 20)     /* bytes: about half a million users */

struct users;

/* Opens and reads. NULL with error ("FILE:LINE: ..."). */
struct users *users_open(const char *file, char *error, size_t error_cap);
void users_close(struct users *u);
/* Read again; on failure the old snapshot stays. Any thread. */
bool users_reload(struct users *u, char *error, size_t error_cap);
/* Does the file on disk differ from the snapshot (time stamp, size, inode)? Cheap: one stat. */
bool users_stale(struct users *u);
/* Exact name. false: unknown. hash may be NULL. */
bool users_find(struct users *u, const char *name, char hash[USERS_HASH_MAX]);
/* The hash of any user, to spend the same time on unknown names; false if there is none. */
bool users_any_hash(struct users *u, char hash[USERS_HASH_MAX]);
/* By name, behind `after` (NULL: from the start), at most so many. */
void users_each(struct users *u, const char *after, size_t most,
                void (*each)(void *ctx, const char *user), void *ctx);

/* hash NULL removes the line. The file is written anew: temporary file, fsync, rename, fsync of the
 * folder. */
enum auth_edit users_edit(struct users *u, const char *name, const char *hash, bool must_exist);
/* A name that can stand in the file, in a path and in a log: 1..127 bytes, no colon, slash,
 * backslash, blank or control character, no leading dot or #. */
bool users_name_ok(const char *name);

#endif

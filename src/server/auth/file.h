/* The users file as a login method: hashes are verified on threads of their own. */
#ifndef PROVOSTD_AUTH_FILE_H
#define PROVOSTD_AUTH_FILE_H

#include "src/server/auth/method.h"
#include "src/server/auth/users.h"

/* NULL with error. */
struct auth_method *file_method(const struct config *c, char *error, size_t error_cap);
/* Of that method; lives as long. */
struct users *file_users(struct auth_method *m);
/* As users_edit, with the password hashed as the system prefers. Blocks. */
enum auth_edit file_set_password(struct auth_method *m, const char *user, const char *password,
                                 bool must_exist);

#endif

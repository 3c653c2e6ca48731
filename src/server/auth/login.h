/* A Basic credential: what was tried, and under which names of the users file it may be meant. */
#ifndef PROVOSTD_AUTH_LOGIN_H
#define PROVOSTD_AUTH_LOGIN_H

#include <stdbool.h>
#include <stddef.h>

#include "src/server/auth/auth.h"

#define LOGIN_PASSWORD_MAX 513 /* CRYPT_MAX_PASSPHRASE_SIZE and the terminator */
#define LOGIN_NAMES_MAX 4

struct login {
    char name[AUTH_USER_MAX]; /* as tried */
    char password[LOGIN_PASSWORD_MAX];
};

/* From the value of Authorization. false: absent, another scheme, not base64, no colon, empty or too
 * long. Wipe with login_wipe. */
bool login_parse(const char *authorization, struct login *out);
void login_wipe(struct login *l);
/* Names to look up, in order: the full name; without a DOMAIN\ before it; with the domain's case
 * folded; without @domain where it is the configured one. Only names that can stand in a users
 * file. @return their number. */
size_t login_names(const char *tried, const char *domain, char out[LOGIN_NAMES_MAX][AUTH_USER_MAX]);

#endif

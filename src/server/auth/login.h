/* Credentials as they are written, and whom the name in one means. */
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
/* The value of a Bearer credential (RFC 6750 2.1) within the field; NULL: it is none. */
const char *login_token(const char *authorization, size_t *len_out);
/* The one spelling of a name: without a DOMAIN\ before it, its domain in small letters and dropped if
 * it is the configured one, the rest in small letters unless case_sensitive. Only ASCII is folded.
 * false: it cannot be a user's name (see users_name_ok). */
bool login_canonical(const char *tried, const char *domain, bool case_sensitive,
                     char out[AUTH_USER_MAX]);
bool login_is_ascii(const char *name);
/* Names to look up, in order: the full name; without a DOMAIN\ before it; with the domain's case
 * folded; without @domain where it is the configured one. Only names that can stand in a users
 * file. @return their number. */
size_t login_names(const char *tried, const char *domain, char out[LOGIN_NAMES_MAX][AUTH_USER_MAX]);

#endif

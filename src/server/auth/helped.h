/* Methods that a helper process does: LDAP and PAM. */
#ifndef PROVOSTD_AUTH_HELPED_H
#define PROVOSTD_AUTH_HELPED_H

#include "src/server/auth/method.h"

/* A helper is started, and has looked at the settings. NULL with error. */
struct auth_method *ldap_method(const struct config *c, char *error, size_t error_cap);
struct auth_method *pam_method(const struct config *c, char *error, size_t error_cap);

#endif

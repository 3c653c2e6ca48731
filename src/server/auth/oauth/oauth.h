/* The method oauth: access tokens that are JSON Web Tokens of one issuer. */
#ifndef PROVOSTD_OAUTH_H
#define PROVOSTD_OAUTH_H

#include "src/server/auth/method.h"

struct auth_method *oauth_method(const struct config *c, char *error, size_t error_cap);

#endif

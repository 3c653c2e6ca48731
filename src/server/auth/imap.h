/* Whoever may log in to the IMAP server may log in here. */
#ifndef PROVOSTD_AUTH_IMAP_H
#define PROVOSTD_AUTH_IMAP_H

#include "src/server/auth/method.h"

/* NULL with error. */
struct auth_method *imap_method(const struct config *c, char *error, size_t error_cap);

#endif

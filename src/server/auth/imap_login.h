/* What an IMAP server's answers say of a login. */
#ifndef PROVOSTD_AUTH_IMAP_LOGIN_H
#define PROVOSTD_AUTH_IMAP_LOGIN_H

#include <stddef.h>

/* libcurl alone does not tell a wrong password from a server that cannot say. */
enum imap_login {
    IMAP_SILENT, /* nothing of either */
    IMAP_DENIED,
    IMAP_UNABLE  /* or it takes everybody for logged in */
};
/* One line more; before: what those before it said. */
enum imap_login imap_login_read(enum imap_login before, const char *line, size_t len);

#endif

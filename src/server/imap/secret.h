/* What a device logs in with, kept for as long as something is asked for it. */
#ifndef PROVOSTD_IMAP_SECRET_H
#define PROVOSTD_IMAP_SECRET_H

#include "src/server/imap/session.h"

/* A login with copies of its own. */
struct imap_secret {
    struct imap_login login;
    char *user, *text;
};
/* pattern: the name to log in with (%u, %n, %d); authorization: the field of the request, or NULL. The
 * secret is empty without a credential, or with a name of no use. false: no memory. */
bool imap_secret_make(struct imap_secret *s, const char *pattern, const char *user,
                      const char *domain, const char *authorization);
/* Wiped; zeroed is accepted. */
void imap_secret_free(struct imap_secret *s);

#endif

/* How a login is said: AUTHENTICATE PLAIN, LOGIN, OAUTHBEARER, XOAUTH2. Pure functions. */
#ifndef PROVOSTD_IMAP_SASL_H
#define PROVOSTD_IMAP_SASL_H

#include "src/server/imap/session.h"

#define IMAP_SASL_DUMMY "AQ==" /* \1: what is said to an answer that is no question */

struct imap_saying {
    char *command;  /* without tag and line end */
    char *answer;   /* what the server gets when it asks to go on; NULL: nothing */
};
enum imap_sasl {
    IMAP_SASL_MADE,
    IMAP_SASL_NONE,       /* the server offers nothing that fits */
    IMAP_SASL_IMPOSSIBLE, /* such a name or secret cannot be said */
    IMAP_SASL_NO_MEMORY
};
/* The answer is taken over by the caller, who wipes it. */
enum imap_sasl imap_sasl_make(const struct imap_login *l, uint32_t caps, struct imap_saying *out);
/* Wipes and frees the command. */
void imap_saying_free(struct imap_saying *s);

#endif

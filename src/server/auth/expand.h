/* A user's name in a text of the configuration, written so that it can only be a name there. */
#ifndef PROVOSTD_AUTH_EXPAND_H
#define PROVOSTD_AUTH_EXPAND_H

#include <stdbool.h>
#include <stddef.h>

enum expand_as {
    EXPAND_PLAIN,
    EXPAND_DN,    /* a value in a distinguished name: RFC 4514 2.4 */
    EXPAND_FILTER /* a value in a search filter: RFC 4515 3 */
};

/* %u is the user, %n the name without its domain, %d its domain or else the configured one, %% a percent
 * sign. false: it does not fit, or the text has another of these. */
bool expand_user(const char *text, const char *user, const char *domain, enum expand_as as, char *out,
                 size_t cap);
/* Where the first is that expand_user does not know, such as "%x"; NULL: there is none. */
const char *expand_wrong(const char *text);

#endif

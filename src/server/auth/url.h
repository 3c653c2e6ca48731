/* URLs of servers that verify logins: a password must not go to them in the clear. */
#ifndef PROVOSTD_AUTH_URL_H
#define PROVOSTD_AUTH_URL_H

#include <stdbool.h>

/* Each of the blank-separated URLs has the scheme ("ldap://"), no regard to case, and a host or path
 * behind it. */
bool urls_have_scheme(const char *urls, const char *scheme);
/* Each has a host of this machine itself: 127.0.0.0/8, ::1 or localhost. */
bool urls_are_loopback(const char *urls);
unsigned urls_count(const char *urls);

#endif

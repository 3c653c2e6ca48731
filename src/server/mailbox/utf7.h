/* Modified UTF-7 (RFC 3501 5.1.3): how Maildir++ writes folder names. Pure functions. */
#ifndef PROVOSTD_MAILBOX_UTF7_H
#define PROVOSTD_MAILBOX_UTF7_H

#include <stdbool.h>
#include <stddef.h>

#define UTF7_MAX 1024 /* bytes of a name in modified UTF-7; a file name has at most 255 */

/* UTF-8 to modified UTF-7, terminated. false: not UTF-8, a NUL inside, or no room. */
bool utf7_encode(const char *utf8, size_t len, char *buf, size_t cap, size_t *len_out);
/* Modified UTF-7 to UTF-8, terminated. Only the one form that utf7_encode writes is accepted, so
 * that two names on the disk never become the same name for people. false: another form, longer
 * than UTF7_MAX, or no room. */
bool utf7_decode(const char *utf7, size_t len, char *buf, size_t cap, size_t *len_out);

#endif

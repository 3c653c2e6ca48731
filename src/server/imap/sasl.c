#include "src/server/imap/sasl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/lib/base/base64.h"

static void wipe(char *text)
{
    if (text) explicit_bzero(text, strlen(text));
    free(text);
}

void imap_saying_free(struct imap_saying *s)
{
    wipe(s->command);
    s->command = NULL;
}

/* Base64 of what may hold NULs. NULL: no memory. */
static char *encode(const char *text, size_t len)
{
    size_t cap = (len + 2) / 3 * 4 + 1;
    char *out = malloc(cap);
    if (out && pv__base64_encode((const uint8_t *)text, len, out, cap) == PV_OK) return out;
    free(out);
    return NULL;
}

/* RFC 4616, RFC 7628 3.1, and what Google has written down for XOAUTH2. */
static char *message(const struct imap_login *l, const char *mechanism)
{
    size_t cap = strlen(l->user) + strlen(l->secret) + 64;
    char *plain = malloc(cap);
    int len;
    if (!plain) return NULL;
    if (strcmp(mechanism, "PLAIN") == 0)
        len = snprintf(plain, cap, "%c%s%c%s", 0, l->user, 0, l->secret);
    else if (strcmp(mechanism, "XOAUTH2") == 0)
        len = snprintf(plain, cap, "user=%s\1auth=Bearer %s\1\1", l->user, l->secret);
    else
        len = snprintf(plain, cap, "n,a=%s,\1auth=Bearer %s\1\1", l->user, l->secret);
    char *text = encode(plain, (size_t)len);
    explicit_bzero(plain, cap);
    free(plain);
    return text;
}

static enum imap_sasl authenticate(const struct imap_login *l, const char *mechanism, bool at_once,
                                   struct imap_saying *out)
{
    char *text = message(l, mechanism);
    size_t cap = text ? strlen(text) + 64 : 0;
    out->command = text ? malloc(cap) : NULL;
    if (!out->command) {
        wipe(text);
        return IMAP_SASL_NO_MEMORY;
    }
    /* RFC 4959 */
    snprintf(out->command, cap, "AUTHENTICATE %s%s%s", mechanism, at_once ? " " : "",
             at_once ? text : "");
    out->answer = text;
    if (!at_once) return IMAP_SASL_MADE;
    explicit_bzero(text, strlen(text));
    memcpy(text, IMAP_SASL_DUMMY,
           sizeof IMAP_SASL_DUMMY); /* there is room: \0 and a name at least */
    return IMAP_SASL_MADE;
}

static enum imap_sasl say_login(const struct imap_login *l, struct imap_saying *out)
{
    size_t user_cap = 2 * strlen(l->user) + 3, secret_cap = 2 * strlen(l->secret) + 3;
    size_t cap = sizeof "LOGIN " + user_cap + secret_cap, len, at = sizeof "LOGIN " - 1;
    out->command = calloc(1, cap);
    if (!out->command) return IMAP_SASL_NO_MEMORY;
    memcpy(out->command, "LOGIN ", at);
    if (!imap_quote(l->user, out->command + at, user_cap, &len)) return IMAP_SASL_IMPOSSIBLE;
    at += len;
    out->command[at++] = ' ';
    if (!imap_quote(l->secret, out->command + at, secret_cap, &len)) return IMAP_SASL_IMPOSSIBLE;
    return IMAP_SASL_MADE;
}

enum imap_sasl imap_sasl_make(const struct imap_login *l, uint32_t caps, struct imap_saying *out)
{
    bool at_once = caps & IMAP_CAP(SASL_IR);
    *out = (struct imap_saying){0};
    enum imap_sasl made = IMAP_SASL_NONE;
    /* \1 and a comma have a meaning in what is said of a token. */
    if (l->bearer && (strpbrk(l->user, ",=\1") || strpbrk(l->secret, "\1\r\n")))
        return IMAP_SASL_IMPOSSIBLE;
    if (l->bearer && caps & IMAP_CAP(AUTH_OAUTHBEARER))
        made = authenticate(l, "OAUTHBEARER", at_once, out);
    else if (l->bearer && caps & IMAP_CAP(AUTH_XOAUTH2))
        made = authenticate(l, "XOAUTH2", at_once, out);
    else if (!l->bearer && caps & IMAP_CAP(AUTH_PLAIN))
        made = authenticate(l, "PLAIN", at_once, out);
    else if (!l->bearer && !(caps & IMAP_CAP(LOGINDISABLED)))
        made = say_login(l, out);
    if (made != IMAP_SASL_MADE) imap_saying_free(out);
    return made;
}

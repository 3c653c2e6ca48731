#include "src/server/auth/imap_login.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

static bool is_word(const char *text, size_t len, const char *word)
{
    size_t n = strlen(word);
    return len >= n && strncasecmp(text, word, n) == 0 &&
           (len == n || strchr(" ]\r\n", text[n]) != NULL);
}

/* Response codes (RFC 5530) by which a server says that it did not look at the password. */
static bool is_about_the_server(const char *text, size_t len)
{
    static const char *const codes[] = {"[UNAVAILABLE", "[INUSE",        "[LIMIT",
                                        "[SERVERBUG",   "[CONTACTADMIN", "[PRIVACYREQUIRED"};
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        if (is_word(text, len, codes[i])) return true;
    return false;
}

enum imap_login imap_login_read(enum imap_login before, const char *line, size_t len)
{
    const char *space = memchr(line, ' ', len);
    size_t tag = space ? (size_t)(space - line) : 0;
    if (tag == 0 || line[0] == '+') return before;
    const char *text = space + 1;
    size_t left = len - tag - 1;
    /* Whose session that is the server alone knows. */
    if (line[0] == '*') return is_word(text, left, "PREAUTH") ? IMAP_UNABLE : before;
    if (before == IMAP_UNABLE || is_word(text, left, "OK")) return before;
    if (!is_word(text, left, "NO")) return IMAP_UNABLE;
    size_t skip = left > 3 ? 3 : left;
    return is_about_the_server(text + skip, left - skip) ? IMAP_UNABLE : IMAP_DENIED;
}

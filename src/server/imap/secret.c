#include "src/server/imap/secret.h"

#include <stdlib.h>
#include <string.h>

#include "src/server/auth/expand.h"
#include "src/server/auth/login.h"

void imap_secret_free(struct imap_secret *s)
{
    if (s->text) explicit_bzero(s->text, strlen(s->text));
    free(s->text);
    free(s->user);
}

bool imap_secret_make(struct imap_secret *s, const char *pattern, const char *user,
                      const char *domain, const char *authorization)
{
    char name[2 * AUTH_USER_MAX + 256] = "";
    struct login basic;
    size_t len;
    bool named = expand_user(pattern, user, domain, EXPAND_PLAIN, name, sizeof name);
    if (!named) authorization = NULL;
    const char *token = login_token(authorization, &len);
    s->user = strdup(named ? name : "");
    if (token) {
        s->text = strndup(token, len);
    } else {
        s->text = strdup(login_parse(authorization, &basic) ? basic.password : "");
        login_wipe(&basic);
    }
    s->login = (struct imap_login){.bearer = token, .user = s->user, .secret = s->text};
    if (s->user && s->text) return true;
    imap_secret_free(s);
    return false;
}

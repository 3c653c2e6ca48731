#include "src/server/auth/login.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "src/lib/base/base64.h"
#include "src/lib/base/text.h"
#include "src/server/auth/users.h"

bool login_parse(const char *authorization, struct login *out)
{
    uint8_t plain[AUTH_USER_MAX + LOGIN_PASSWORD_MAX];
    size_t len = 0;
    bool ok = false;
    *out = (struct login){0};
    if (!authorization || strncasecmp(authorization, "Basic ", 6) != 0) return false;
    const char *text = authorization + 6 + strspn(authorization + 6, " ");
    size_t text_len = strcspn(text, " ");
    if (text[text_len + strspn(text + text_len, " ")] == '\0' &&
        pv__base64_decode(text, text_len, plain, sizeof plain, &len) == PV_OK) {
        uint8_t *colon = memchr(plain, ':', len);
        size_t name_len = colon ? (size_t)(colon - plain) : 0;
        size_t password_len = colon ? len - name_len - 1 : 0;
        if (name_len && name_len < sizeof out->name && password_len &&
            password_len < sizeof out->password && !memchr(plain, '\0', len)) {
            memcpy(out->name, plain, name_len);
            memcpy(out->password, colon + 1, password_len);
            ok = true;
        }
    }
    explicit_bzero(plain, sizeof plain);
    return ok;
}

void login_wipe(struct login *l)
{
    explicit_bzero(l, sizeof *l);
}

static size_t add(char out[LOGIN_NAMES_MAX][AUTH_USER_MAX], size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (!strcmp(out[i], name)) return n;
    if (n == LOGIN_NAMES_MAX || !users_name_ok(name)) return n;
    snprintf(out[n], AUTH_USER_MAX, "%s", name);
    return n + 1;
}

size_t login_names(const char *tried, const char *domain, char out[LOGIN_NAMES_MAX][AUTH_USER_MAX])
{
    char name[AUTH_USER_MAX];
    size_t n = add(out, 0, tried);
    const char *backslash = strchr(tried, '\\');
    snprintf(name, sizeof name, "%s", backslash ? backslash + 1 : tried);
    n = add(out, n, name);
    char *at = strrchr(name, '@');
    if (!at) return n;
    for (char *p = at + 1; *p; p++) *p = (char)pv__lower((unsigned char)*p);
    n = add(out, n, name);
    if (*domain && !strcasecmp(at + 1, domain)) {
        *at = '\0';
        n = add(out, n, name);
    }
    return n;
}

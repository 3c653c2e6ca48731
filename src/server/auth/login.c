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

const char *login_token(const char *authorization, size_t *len_out)
{
    if (!authorization || strncasecmp(authorization, "Bearer ", 7) != 0) return NULL;
    const char *token = authorization + 7 + strspn(authorization + 7, " ");
    *len_out = strcspn(token, " ");
    return *len_out > 0 && token[*len_out + strspn(token + *len_out, " ")] == '\0' ? token : NULL;
}

bool login_is_ascii(const char *name)
{
    while (*name && (unsigned char)*name < 0x80) name++;
    return *name == '\0';
}

static void to_lower(char *text)
{
    for (; *text; text++) *text = (char)pv__lower((unsigned char)*text);
}

bool login_canonical(const char *tried, const char *domain, bool case_sensitive,
                     char out[AUTH_USER_MAX])
{
    const char *backslash = strchr(tried, '\\');
    int len = snprintf(out, AUTH_USER_MAX, "%s", backslash ? backslash + 1 : tried);
    if (len >= AUTH_USER_MAX) return false;
    char *at = strrchr(out, '@');
    if (at) to_lower(at + 1);
    if (at && *domain && strcasecmp(at + 1, domain) == 0) *at = '\0';
    if (!case_sensitive) to_lower(out);
    return users_name_ok(out);
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
    to_lower(at + 1);
    n = add(out, n, name);
    if (*domain && !strcasecmp(at + 1, domain)) {
        *at = '\0';
        n = add(out, n, name);
    }
    return n;
}

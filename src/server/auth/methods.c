/* The methods that the server brings. */
#include <string.h>

#include "src/server/auth/certificate.h"
#include "src/server/auth/file.h"
#include "src/server/auth/helped.h"
#include "src/server/auth/imap.h"
#include "src/server/auth/oauth/oauth.h"

static const struct {
    const char *name;
    struct auth_method *(*make)(const struct config *c, char *error, size_t error_cap);
} methods[] = {
    {"certificate", certificate_method},
    {"file", file_method},
    {"imap", imap_method},
    {"ldap", ldap_method},
    {"oauth", oauth_method},
    {"pam", pam_method},
};

struct auth_method *auth_method_make(const char *name, const struct config *c, char *error,
                                     size_t error_cap)
{
    if (error_cap) *error = '\0';
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        if (strcmp(methods[i].name, name) == 0) return methods[i].make(c, error, error_cap);
    return NULL;
}

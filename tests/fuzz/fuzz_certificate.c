/* Certificates. Laws: who is named has a name without NUL and backslash, now and just before the end
 * that was told, and not at it; and there is a reason for everybody else. */
#include <string.h>

#include "src/server/auth/certificate.h"
#include "tests/fuzz/fuzz.h"

#define NOW 1800000000

static void read_one(const uint8_t *data, size_t size, enum certificate_name kind)
{
    char user[AUTH_USER_MAX], again[AUTH_USER_MAX], why[AUTH_WHY_MAX] = "";
    int64_t until = 0, later = 0;
    enum auth_verdict v = certificate_read(data, size, kind, NOW, user, &until, why);
    LAW(v == AUTH_OK || v == AUTH_BAD);
    if (v == AUTH_BAD) {
        LAW(*why);
        return;
    }
    LAW(*user && strnlen(user, sizeof user) < sizeof user && !strchr(user, '\\'));
    LAW(until > NOW);
    LAW(certificate_read(data, size, kind, until - 1, again, &later, why) == AUTH_OK);
    LAW(strcmp(user, again) == 0 && later == until);
    LAW(certificate_read(data, size, kind, until, again, &later, why) == AUTH_BAD);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* One kind for each: GnuTLS takes its time. */
    read_one(data, size, (enum certificate_name)(size % CERTIFICATE_NAME_COUNT));
    return 0;
}

/* Tokens and key sets. Laws: what is read of a header is among what is allowed; claims that are good
 * name somebody, end later than now, and are not good any more at that end; a set that is read has keys; and
 * nothing is good without a signature. */
#include <string.h>

#include "src/server/auth/oauth/keyset.h"
#include "tests/fuzz/fuzz.h"

#define NOW 1700000000
#define ALLOWED (1u << JWT_RS256 | 1u << JWT_ES256)

static const struct config_names audience = {{"us"}, 1};
static const struct jwt_rules rules = {.issuer = "https://i",
                                       .audience = &audience,
                                       .claim = "name",
                                       .leeway = 60,
                                       .algorithms = ALLOWED};

/* An ES256 key that signs nothing here. */
static const char set[] =
    "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\","
    "\"x\":\"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4\","
    "\"y\":\"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM\"}]}";

static void claims(const uint8_t *data, size_t size)
{
    char user[AUTH_USER_MAX], again[AUTH_USER_MAX];
    int64_t until = 0, later = 0;
    enum jwt_fault fault = jwt_claims_check(data, size, &rules, NOW, user, &until);
    LAW(fault < JWT_FAULT_COUNT);
    if (fault) return;
    LAW(*user && until > NOW);
    LAW(jwt_claims_check(data, size, &rules, until - 1, again, &later) == JWT_FAULT_OK);
    LAW(later == until && strcmp(user, again) == 0);
    LAW(jwt_claims_check(data, size, &rules, until, again, &later) == JWT_FAULT_EXPIRED);
}

static void token(const char *text, size_t size)
{
    static struct keyset *keys;
    char error[KEYSET_ERROR_MAX], *out = NULL;
    struct jwt_head h;
    size_t len;
    if (!keys) keys = keyset_read(set, sizeof set - 1, error);
    LAW(keys && keyset_count(keys) == 1);
    enum jwt_fault fault = jwt_head_read(text, size, &rules, &h);
    LAW(fault < JWT_FAULT_COUNT);
    if (fault) return;
    LAW(ALLOWED & 1u << h.alg);
    LAW(h.signed_len < size && text[h.signed_len] == '.');
    LAW(strlen(h.kid) < sizeof h.kid);
    LAW(keyset_verify(keys, text, size, &h, &out, &len) != JWT_FAULT_OK);
}

static void key_set(const char *text, size_t size)
{
    char error[KEYSET_ERROR_MAX] = "";
    struct keyset *s = keyset_read(text, size, error);
    LAW(s ? keyset_count(s) > 0 && keyset_count(s) <= KEYSET_KEYS_MAX : *error != '\0');
    keyset_release(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    claims(data, size);
    token((const char *)data, size);
    key_set((const char *)data, size);
    return 0;
}

#include "src/server/auth/oauth/jwt.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "src/lib/base/base64.h"

#define HEADER_MAX 4096
#define TIME_MAX 253402300799.0 /* the year 9999 */
/* What two readers could read in two ways is not read. */
#define STRICT JSON_REJECT_DUPLICATES

const struct jwt_alg_info *jwt_alg_info(enum jwt_alg alg)
{
#define JWT_INFO(name, key, len) {#name, JWT_KEY_##key, len},
    static const struct jwt_alg_info infos[] = {JWT_ALGS(JWT_INFO)};
#undef JWT_INFO
    return &infos[alg];
}

bool jwt_alg_parse(const char *name, enum jwt_alg *out)
{
    for (int i = 0; i < JWT_ALG_COUNT; i++) {
        if (strcmp(name, jwt_alg_info((enum jwt_alg)i)->name) != 0) continue;
        *out = (enum jwt_alg)i;
        return true;
    }
    return false;
}

const char *jwt_fault_text(enum jwt_fault f)
{
#define JWT_TEXT(name, text) text,
    static const char *const texts[] = {JWT_FAULTS(JWT_TEXT)};
#undef JWT_TEXT
    return texts[f];
}

/* An object; NULL with a fault: `otherwise`, or that there was no memory. */
static json_t *object_of(const void *bytes, size_t len, enum jwt_fault otherwise,
                         enum jwt_fault *fault)
{
    json_error_t e;
    json_t *json = json_loadb(bytes, len, STRICT, &e);
    *fault = JWT_FAULT_OK;
    if (!json) /* without memory jansson has nothing to say */
        *fault = *e.text ? otherwise : JWT_FAULT_NO_MEMORY;
    else if (!json_is_object(json))
        *fault = otherwise;
    if (!*fault) return json;
    json_decref(json);
    return NULL;
}

/* ---- header ---- */

/* RFC 9068 2.1: at+jwt; many issuers write JWT, or nothing. */
static bool is_access_token(const json_t *header)
{
    static const char *const types[] = {"JWT", "at+jwt", "application/at+jwt"};
    const json_t *typ = json_object_get(header, "typ");
    if (!typ) return true;
    for (size_t i = 0; json_is_string(typ) && i < sizeof types / sizeof *types; i++)
        if (strcasecmp(json_string_value(typ), types[i]) == 0) return true;
    return false;
}

static enum jwt_fault judge_header(const json_t *header, const struct jwt_rules *r,
                                   struct jwt_head *out)
{
    const char *alg = json_string_value(json_object_get(header, "alg"));
    const json_t *kid = json_object_get(header, "kid");
    if (!is_access_token(header)) return JWT_FAULT_TYPE;
    if (json_object_get(header, "crit")) return JWT_FAULT_CRITICAL;
    if (!alg || !jwt_alg_parse(alg, &out->alg) || !(r->algorithms & 1u << out->alg))
        return JWT_FAULT_ALGORITHM;
    out->kid[0] = '\0';
    if (!kid) return JWT_FAULT_OK;
    int len =
        json_is_string(kid) ? snprintf(out->kid, sizeof out->kid, "%s", json_string_value(kid)) : 0;
    return len > 0 && (size_t)len < sizeof out->kid ? JWT_FAULT_OK : JWT_FAULT_HEADER;
}

bool jwt_base64_ok(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (!(c >= '0' && c <= '9') && !((c | 0x20) >= 'a' && (c | 0x20) <= 'z') && c != '-' &&
            c != '_')
            return false;
    }
    return len > 1 && len % 4 != 1;
}

/* Three parts with dots between them. */
static bool has_form(const char *token, size_t len, size_t *first_out, size_t *second_out)
{
    const char *first = memchr(token, '.', len);
    if (!first) return false;
    *first_out = (size_t)(first - token);
    const char *second = memchr(first + 1, '.', len - *first_out - 1);
    if (!second) return false;
    *second_out = (size_t)(second - token);
    return jwt_base64_ok(token, *first_out) &&
           jwt_base64_ok(first + 1, *second_out - *first_out - 1) &&
           jwt_base64_ok(second + 1, len - *second_out - 1);
}

enum jwt_fault jwt_head_read(const char *token, size_t len, const struct jwt_rules *r,
                             struct jwt_head *out)
{
    uint8_t text[HEADER_MAX];
    size_t first, text_len;
    enum jwt_fault fault;
    if (len > JWT_MAX) return JWT_FAULT_TOO_LONG;
    if (!has_form(token, len, &first, &out->signed_len)) return JWT_FAULT_FORM;
    if (pv__base64_decode(token, first, text, sizeof text, &text_len) != PV_OK)
        return JWT_FAULT_HEADER;
    json_t *header = object_of(text, text_len, JWT_FAULT_HEADER, &fault);
    if (header) fault = judge_header(header, r, out);
    json_decref(header);
    return fault;
}

/* ---- claims ---- */

/* false: it is there and is no time. */
static bool time_of(const json_t *claims, const char *name, bool *has_out, int64_t *out)
{
    const json_t *j = json_object_get(claims, name);
    double d = json_number_value(j);
    *has_out = j != NULL;
    if (!j) return true;
    if (!json_is_number(j) || !(d >= 0 && d <= TIME_MAX)) return false;
    *out = (int64_t)d;
    return true;
}

static bool is_audience(const json_t *j, const struct config_names *audience)
{
    const char *name = json_string_value(j);
    for (size_t i = 0; name && i < audience->count; i++)
        if (strcmp(name, audience->name[i]) == 0) return true;
    return false;
}

/* RFC 7519 4.1.3: one text, or a list of them. */
static bool has_audience(const json_t *claims, const struct config_names *audience)
{
    const json_t *aud = json_object_get(claims, "aud");
    for (size_t i = 0; i < json_array_size(aud); i++)
        if (is_audience(json_array_get(aud, i), audience)) return true;
    return is_audience(aud, audience);
}

static bool has_word(const char *words, const char *wanted)
{
    size_t len = strlen(wanted);
    for (const char *w = words; w && *w; w += strspn(w, " ")) {
        size_t n = strcspn(w, " ");
        if (n == len && memcmp(w, wanted, len) == 0) return true;
        w += n;
    }
    return false;
}

/* RFC 9068 2.2.3: scope, with blanks between; scp, as others have it, may be a list. */
static bool has_scope(const json_t *claims, const char *scope)
{
    const json_t *scp = json_object_get(claims, "scp");
    for (size_t i = 0; i < json_array_size(scp); i++) {
        const char *s = json_string_value(json_array_get(scp, i));
        if (s && strcmp(s, scope) == 0) return true;
    }
    return has_word(json_string_value(json_object_get(claims, "scope")), scope) ||
           has_word(json_string_value(scp), scope);
}

static enum jwt_fault check_times(const json_t *claims, const struct jwt_rules *r, int64_t now,
                                  int64_t *until_out)
{
    int64_t exp = 0, nbf = 0, iat = 0;
    bool has_exp, has_nbf, has_iat;
    if (!time_of(claims, "exp", &has_exp, &exp) || !time_of(claims, "nbf", &has_nbf, &nbf) ||
        !time_of(claims, "iat", &has_iat, &iat))
        return JWT_FAULT_CLAIMS;
    if (!has_exp) return JWT_FAULT_NO_EXPIRY;
    *until_out = exp + r->leeway;
    if (now >= *until_out) return JWT_FAULT_EXPIRED;
    if ((has_nbf && nbf > now + r->leeway) || (has_iat && iat > now + r->leeway))
        return JWT_FAULT_EARLY;
    return JWT_FAULT_OK;
}

/* An address that somebody has only typed is no name. */
static bool is_unverified_email(const json_t *claims, const char *claim)
{
    const json_t *verified = json_object_get(claims, "email_verified");
    const char *text = json_string_value(verified);
    if (strcmp(claim, "email") != 0 || !verified) return false;
    return !json_is_true(verified) && !(text && strcmp(text, "true") == 0);
}

static enum jwt_fault check_name(const json_t *claims, const char *claim,
                                 char user_out[AUTH_USER_MAX])
{
    const char *name = json_string_value(json_object_get(claims, claim));
    /* A domain before a backslash would be left out, and users of two domains would be one. */
    if (!name || !*name || strlen(name) >= AUTH_USER_MAX || strchr(name, '\\'))
        return JWT_FAULT_NAME;
    if (is_unverified_email(claims, claim)) return JWT_FAULT_UNVERIFIED;
    snprintf(user_out, AUTH_USER_MAX, "%s", name);
    return JWT_FAULT_OK;
}

static enum jwt_fault judge_claims(const json_t *claims, const struct jwt_rules *r, int64_t now,
                                   char user_out[AUTH_USER_MAX], int64_t *until_out)
{
    const char *issuer = json_string_value(json_object_get(claims, "iss"));
    if (!issuer || strcmp(issuer, r->issuer) != 0) return JWT_FAULT_ISSUER;
    if (!has_audience(claims, r->audience)) return JWT_FAULT_AUDIENCE;
    enum jwt_fault fault = check_times(claims, r, now, until_out);
    if (fault) return fault;
    if (r->scope && !has_scope(claims, r->scope)) return JWT_FAULT_SCOPE;
    return check_name(claims, r->claim, user_out);
}

enum jwt_fault jwt_claims_check(const void *json, size_t len, const struct jwt_rules *r,
                                int64_t now, char user_out[AUTH_USER_MAX], int64_t *until_out)
{
    enum jwt_fault fault;
    json_t *claims = object_of(json, len, JWT_FAULT_CLAIMS, &fault);
    if (claims) fault = judge_claims(claims, r, now, user_out, until_out);
    json_decref(claims);
    return fault;
}

/* Tokens: what is read of them, which keys are taken, and every way in which one can be worth
 * nothing. Keys and signatures are made with libcjose here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjose/cjose.h>
#include <cmocka.h>
#include <jansson.h>

#include "src/lib/base/base64.h"
#include "src/server/auth/oauth/keyset.h"
#include "tests/unit/failing_malloc.h"

#define NOW 1700000000
#define ALL ((1u << JWT_ALG_COUNT) - 1)
#define GOOD "\"iss\":\"https://i\",\"aud\":\"us\",\"exp\":1700000100,\"preferred_username\":\"ann\""

static struct config_names audience = {{"other", "us"}, 2};
static struct jwt_rules rules = {.issuer = "https://i",
                                 .audience = &audience,
                                 .claim = "preferred_username",
                                 .leeway = 60,
                                 .algorithms = ALL};

/* ---- header ---- */

/* base64url without padding. */
static size_t encode(const char *text, size_t len, char *out, size_t cap)
{
    assert_int_equal(pv__base64_encode((const uint8_t *)text, len, out, cap), PV_OK);
    for (char *p = out; *p; p++)
        if (*p == '+' || *p == '/') *p = *p == '+' ? '-' : '_';
    out[strcspn(out, "=")] = '\0';
    return strlen(out);
}

static enum jwt_fault read_header(const char *header, struct jwt_head *out)
{
    char token[8192];
    size_t len = encode(header, strlen(header), token, sizeof token);
    snprintf(token + len, sizeof token - len, ".e30.AAAA");
    return jwt_head_read(token, strlen(token), &rules, out);
}

static void every_header(void **state)
{
    static const struct {
        const char *header;
        enum jwt_fault want;
        enum jwt_alg alg;
        const char *kid;
    } rows[] = {
        {"{\"alg\":\"RS256\"}", JWT_FAULT_OK, JWT_RS256, ""},
        {"{\"typ\":\"JWT\",\"kid\":\"a\",\"alg\":\"ES512\"}", JWT_FAULT_OK, JWT_ES512, "a"},
        {"{\"typ\":\"at+JWT\",\"alg\":\"PS384\",\"x\":[1,{\"alg\":\"none\"}]}", JWT_FAULT_OK,
         JWT_PS384, ""},
        {"{\"alg\":\"none\"}", JWT_FAULT_ALGORITHM, 0, NULL},
        {"{\"alg\":\"None\"}", JWT_FAULT_ALGORITHM, 0, NULL},
        {"{\"alg\":\"HS256\"}", JWT_FAULT_ALGORITHM, 0, NULL},
        {"{\"alg\":\"rs256\"}", JWT_FAULT_ALGORITHM, 0, NULL},
        {"{\"alg\":\"RS256 \"}", JWT_FAULT_ALGORITHM, 0, NULL},
        {"{\"alg\":\"\"}", JWT_FAULT_ALGORITHM, 0, NULL},
        {"{\"alg\":[\"RS256\"]}", JWT_FAULT_ALGORITHM, 0, NULL},
        {"{\"alg\":null}", JWT_FAULT_ALGORITHM, 0, NULL},
        {"{}", JWT_FAULT_ALGORITHM, 0, NULL},
        {"{\"alg\":\"RS256\",\"alg\":\"RS256\"}", JWT_FAULT_HEADER, 0, NULL},
        {"{\"alg\":\"RS256\\u0000\"}", JWT_FAULT_HEADER, 0, NULL},
        {"[\"RS256\"]", JWT_FAULT_HEADER, 0, NULL},
        {"\"RS256\"", JWT_FAULT_HEADER, 0, NULL},
        {"{\"alg\":\"RS256\"} x", JWT_FAULT_HEADER, 0, NULL},
        {"{\"alg\":\"RS256\"", JWT_FAULT_HEADER, 0, NULL},
        {"{\"alg\":\"RS256\",\"kid\":7}", JWT_FAULT_HEADER, 0, NULL},
        {"{\"alg\":\"RS256\",\"kid\":\"\"}", JWT_FAULT_HEADER, 0, NULL},
        {"{\"alg\":\"RS256\",\"crit\":[\"exp\"]}", JWT_FAULT_CRITICAL, 0, NULL},
        {"{\"alg\":\"RS256\",\"typ\":\"logout+jwt\"}", JWT_FAULT_TYPE, 0, NULL},
        {"{\"alg\":\"RS256\",\"typ\":1}", JWT_FAULT_TYPE, 0, NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct jwt_head head = {0};
        print_message("# %s\n", rows[i].header);
        assert_int_equal(read_header(rows[i].header, &head), rows[i].want);
        if (rows[i].want) continue;
        assert_int_equal(head.alg, rows[i].alg);
        assert_string_equal(head.kid, rows[i].kid);
    }
    rules.algorithms = 1u << JWT_ES256;
    assert_int_equal(read_header("{\"alg\":\"RS256\"}", &(struct jwt_head){0}), JWT_FAULT_ALGORITHM);
    assert_int_equal(read_header("{\"alg\":\"ES256\"}", &(struct jwt_head){0}), JWT_FAULT_OK);
    rules.algorithms = ALL;
}

static void every_form(void **state)
{
    static const char *const bad[] = {"",     ".",    "..",    "a.b",   "a..c",  ".b.c", "a.b.",
                                      "aa.bb.cc.dd", "a a.bb.cc", "aa.bb.cc=", "aa.b+.cc", "aa.b/.cc",
                                      "aa.bb.cc\n", "aa.bb.c", "aa.b.cc", "aa.bbbbb.cc",
                                      "a.bb.cc"};
    static char token[JWT_MAX + 2];
    struct jwt_head head;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (jwt_head_read(bad[i], strlen(bad[i]), &rules, &head) != JWT_FAULT_FORM)
            fail_msg("%s", bad[i]);
    size_t len = encode("{\"alg\":\"RS256\"}", 15, token, sizeof token);
    memset(token + len, 'A', sizeof token - len);
    size_t second = len + 3;
    token[len] = token[second] = '.';
    assert_int_equal(jwt_head_read(token, second + 5, &rules, &head), JWT_FAULT_OK);
    assert_int_equal(head.signed_len, second);
    assert_int_equal(jwt_head_read(token, JWT_MAX + 1, &rules, &head), JWT_FAULT_TOO_LONG);
    assert_int_not_equal(jwt_head_read(token, JWT_MAX, &rules, &head), JWT_FAULT_TOO_LONG);
    assert_int_equal(jwt_head_read("AA.AA.AA", 8, &rules, &head), JWT_FAULT_HEADER);
}

/* ---- claims ---- */

static enum jwt_fault check(const char *claims, char user[AUTH_USER_MAX], int64_t *until)
{
    return jwt_claims_check(claims, strlen(claims), &rules, NOW, user, until);
}

#define WITHOUT_AUD "\"iss\":\"https://i\",\"exp\":1700000100,\"preferred_username\":\"ann\""
#define WITHOUT_EXP "\"iss\":\"https://i\",\"aud\":\"us\",\"preferred_username\":\"ann\""
#define WITHOUT_NAME "\"iss\":\"https://i\",\"aud\":\"us\",\"exp\":1700000100"

static void every_claim(void **state)
{
    static const struct {
        const char *claims;
        enum jwt_fault want;
    } rows[] = {
        {"{" GOOD "}", JWT_FAULT_OK},
        {"{" GOOD ",\"more\":{\"aud\":[]}}", JWT_FAULT_OK},
        {"{" WITHOUT_AUD ",\"aud\":[\"x\",\"other\"]}", JWT_FAULT_OK},
        {"{" WITHOUT_AUD ",\"aud\":[1,[\"us\"],null]}", JWT_FAULT_AUDIENCE},
        {"{" WITHOUT_AUD ",\"aud\":\"us \"}", JWT_FAULT_AUDIENCE},
        {"{" WITHOUT_AUD ",\"aud\":[]}", JWT_FAULT_AUDIENCE},
        {"{" WITHOUT_AUD ",\"aud\":{\"us\":1}}", JWT_FAULT_AUDIENCE},
        {"{" WITHOUT_AUD "}", JWT_FAULT_AUDIENCE},
        {"{\"iss\":\"https://i/\",\"aud\":\"us\",\"exp\":1700000100}", JWT_FAULT_ISSUER},
        {"{\"iss\":[\"https://i\"],\"aud\":\"us\",\"exp\":1700000100}", JWT_FAULT_ISSUER},
        {"{\"aud\":\"us\",\"exp\":1700000100}", JWT_FAULT_ISSUER},
        {"{}", JWT_FAULT_ISSUER},
        {"{" WITHOUT_EXP "}", JWT_FAULT_NO_EXPIRY},
        {"{" WITHOUT_EXP ",\"exp\":1699999941}", JWT_FAULT_OK}, /* by the leeway */
        {"{" WITHOUT_EXP ",\"exp\":1699999940}", JWT_FAULT_EXPIRED},
        {"{" WITHOUT_EXP ",\"exp\":1700000000.5}", JWT_FAULT_OK},
        {"{" WITHOUT_EXP ",\"exp\":0}", JWT_FAULT_EXPIRED},
        {"{" WITHOUT_EXP ",\"exp\":-1}", JWT_FAULT_CLAIMS},
        {"{" WITHOUT_EXP ",\"exp\":9e99}", JWT_FAULT_CLAIMS},
        {"{" WITHOUT_EXP ",\"exp\":9223372036854775807}", JWT_FAULT_CLAIMS},
        {"{" WITHOUT_EXP ",\"exp\":\"1700000100\"}", JWT_FAULT_CLAIMS},
        {"{" WITHOUT_EXP ",\"exp\":true}", JWT_FAULT_CLAIMS},
        {"{" WITHOUT_EXP ",\"exp\":null}", JWT_FAULT_CLAIMS},
        {"{" GOOD ",\"nbf\":1700000060}", JWT_FAULT_OK},
        {"{" GOOD ",\"nbf\":1700000061}", JWT_FAULT_EARLY},
        {"{" GOOD ",\"nbf\":\"x\"}", JWT_FAULT_CLAIMS},
        {"{" GOOD ",\"iat\":1700000061}", JWT_FAULT_EARLY},
        {"{" GOOD ",\"iat\":[]}", JWT_FAULT_CLAIMS},
        {"{" WITHOUT_NAME "}", JWT_FAULT_NAME},
        {"{" WITHOUT_NAME ",\"preferred_username\":\"\"}", JWT_FAULT_NAME},
        {"{" WITHOUT_NAME ",\"preferred_username\":7}", JWT_FAULT_NAME},
        {"{" WITHOUT_NAME ",\"preferred_username\":[\"ann\"]}", JWT_FAULT_NAME},
        {"{" WITHOUT_NAME ",\"name\":\"ann\"}", JWT_FAULT_NAME},
        {"{" WITHOUT_NAME ",\"preferred_username\":\"CORP\\\\ann\"}", JWT_FAULT_NAME},
        {"{" WITHOUT_NAME ",\"preferred_username\":\"ann\\u0000x\"}", JWT_FAULT_CLAIMS},
        {"{" GOOD ",\"preferred_username\":\"bob\"}", JWT_FAULT_CLAIMS}, /* twice */
        {"{" GOOD ",\"exp\":1}", JWT_FAULT_CLAIMS},
        {"{" GOOD "}x", JWT_FAULT_CLAIMS},
        {"{" GOOD, JWT_FAULT_CLAIMS},
        {"[{" GOOD "}]", JWT_FAULT_CLAIMS},
        {"", JWT_FAULT_CLAIMS},
        {"{\"iss\":\"\xff\"}", JWT_FAULT_CLAIMS},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char user[AUTH_USER_MAX];
        int64_t until;
        print_message("# %s\n", rows[i].claims);
        assert_int_equal(check(rows[i].claims, user, &until), rows[i].want);
        if (!rows[i].want) assert_string_equal(user, "ann");
        if (!rows[i].want) assert_true(until > NOW);
    }
    char user[AUTH_USER_MAX];
    int64_t until;
    assert_int_equal(check("{" GOOD "}", user, &until), JWT_FAULT_OK);
    assert_int_equal(until, 1700000160);
}

static void names_are_bounded(void **state)
{
    char claims[1024], user[AUTH_USER_MAX];
    int64_t until;
    (void)state;
    for (int len = AUTH_USER_MAX - 2; len <= AUTH_USER_MAX; len++) {
        snprintf(claims, sizeof claims, "{" WITHOUT_NAME ",\"preferred_username\":\"%0*d\"}", len, 7);
        assert_int_equal(check(claims, user, &until),
                         len < AUTH_USER_MAX ? JWT_FAULT_OK : JWT_FAULT_NAME);
    }
}

static void scopes(void **state)
{
    static const struct {
        const char *claim;
        bool good;
    } rows[] = {{"\"scope\":\"mail\"", true},        {"\"scope\":\"a  mail b\"", true},
                {"\"scp\":\"openid mail\"", true},   {"\"scp\":[\"a\",\"mail\"]", true},
                {"\"scope\":\"mailx\"", false},      {"\"scope\":\"xmail mai\"", false},
                {"\"scope\":[\"mail\"]", false},     {"\"scp\":[1,\"a mail\"]", false},
                {"\"scopes\":\"mail\"", false},      {"\"scope\":\"\"", false}};
    (void)state;
    rules.scope = "mail";
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char claims[512], user[AUTH_USER_MAX];
        int64_t until;
        print_message("# %s\n", rows[i].claim);
        snprintf(claims, sizeof claims, "{" GOOD ",%s}", rows[i].claim);
        assert_int_equal(check(claims, user, &until),
                         rows[i].good ? JWT_FAULT_OK : JWT_FAULT_SCOPE);
    }
    rules.scope = NULL;
}

static void an_address_must_be_verified(void **state)
{
    static const struct {
        const char *claim;
        enum jwt_fault want;
    } rows[] = {{"", JWT_FAULT_OK}, /* the issuer says nothing of it */
                {",\"email_verified\":true", JWT_FAULT_OK},
                {",\"email_verified\":\"true\"", JWT_FAULT_OK},
                {",\"email_verified\":false", JWT_FAULT_UNVERIFIED},
                {",\"email_verified\":\"false\"", JWT_FAULT_UNVERIFIED},
                {",\"email_verified\":1", JWT_FAULT_UNVERIFIED},
                {",\"email_verified\":null", JWT_FAULT_UNVERIFIED}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char claims[512], user[AUTH_USER_MAX];
        int64_t until;
        rules.claim = "email";
        snprintf(claims, sizeof claims, "{" GOOD ",\"email\":\"ann@x\"%s}", rows[i].claim);
        assert_int_equal(check(claims, user, &until), rows[i].want);
        rules.claim = "preferred_username"; /* to which it does not matter */
        assert_int_equal(check(claims, user, &until), JWT_FAULT_OK);
    }
}

/* ---- keys ---- */

static cjose_jwk_t *rsa, *other_rsa, *small_rsa, *p256, *p384, *oct;
static char error[KEYSET_ERROR_MAX];

static int make_keys(void **state)
{
    static const uint8_t e[] = {1, 0, 1};
    (void)state;
    rsa = cjose_jwk_create_RSA_random(2048, e, sizeof e, NULL);
    other_rsa = cjose_jwk_create_RSA_random(2048, e, sizeof e, NULL);
    small_rsa = cjose_jwk_create_RSA_random(1024, e, sizeof e, NULL);
    p256 = cjose_jwk_create_EC_random(CJOSE_JWK_EC_P_256, NULL);
    p384 = cjose_jwk_create_EC_random(CJOSE_JWK_EC_P_384, NULL);
    oct = cjose_jwk_create_oct_spec((const uint8_t *)"secret secret secret secret 1234", 32, NULL);
    return rsa && other_rsa && small_rsa && p256 && p384 && oct ? 0 : -1;
}

static int free_keys(void **state)
{
    (void)state;
    cjose_jwk_t *all[] = {rsa, other_rsa, small_rsa, p256, p384, oct};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) cjose_jwk_release(all[i]);
    return 0;
}

/* The public half with further members: ,"kid":"a". To be freed. */
static char *jwk_text(cjose_jwk_t *jwk, const char *more)
{
    char *json = cjose_jwk_to_json(jwk, false, NULL), *out = NULL;
    assert_non_null(json);
    json[strlen(json) - 1] = '\0';
    assert_true(asprintf(&out, "%s%s}", json, more) > 0);
    cjose_get_dealloc()(json);
    return out;
}

/* Of pairs of keys and further members, ends with NULL. */
static char *set_text(cjose_jwk_t *jwk, ...)
{
    char *out = strdup("{\"keys\":["), *grown;
    const char *comma = "";
    va_list args;
    va_start(args, jwk);
    for (; jwk; jwk = va_arg(args, cjose_jwk_t *), comma = ",") {
        char *one = jwk_text(jwk, va_arg(args, const char *));
        assert_true(asprintf(&grown, "%s%s%s", out, comma, one) > 0);
        free(one);
        free(out);
        out = grown;
    }
    va_end(args);
    assert_true(asprintf(&grown, "%s]}", out) > 0);
    free(out);
    return grown;
}

static struct keyset *read_set(char *text)
{
    struct keyset *s = keyset_read(text, strlen(text), error);
    free(text);
    return s;
}

static void which_keys_are_taken(void **state)
{
    struct {
        char *text;
        size_t count; /* 0: no set */
    } rows[] = {
        {set_text(rsa, "", p256, "", NULL), 2},
        {set_text(rsa, ",\"kid\":\"a\",\"use\":\"sig\",\"alg\":\"RS256\"", NULL), 1},
        {set_text(rsa, ",\"key_ops\":[\"verify\"]", NULL), 1},
        {set_text(oct, "", p256, "", NULL), 1},
        {set_text(small_rsa, "", p256, "", NULL), 1},
        {set_text(rsa, ",\"use\":\"enc\"", p256, "", NULL), 1},
        {set_text(rsa, ",\"key_ops\":[\"encrypt\"]", p256, "", NULL), 1},
        {set_text(rsa, ",\"alg\":\"ES256\"", p256, "", NULL), 1},
        {set_text(rsa, ",\"alg\":\"RSA-OAEP\"", p256, "", NULL), 1},
        {set_text(rsa, ",\"alg\":7", p256, "", NULL), 1},
        {set_text(rsa, ",\"kid\":7", p256, "", NULL), 1},
        {set_text(oct, "", NULL), 0},
        {set_text(small_rsa, "", NULL), 0},
        {set_text(rsa, ",\"use\":\"enc\"", NULL), 0},
        {set_text(rsa, ",\"kty\":\"RSA\"", NULL), 0}, /* twice */
        {strdup("{\"keys\":[]}"), 0},
        {strdup("{\"keys\":[{\"kty\":\"RSA\"},7,null,{}]}"), 0},
        {strdup("{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AA\",\"y\":\"AA\"}]}"), 0},
        {strdup("{\"keys\":{}}"), 0},
        {strdup("{}"), 0},
        {strdup("[]"), 0},
        {strdup("<html>"), 0},
        {strdup(""), 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        print_message("# %.300s\n", rows[i].text);
        error[0] = '\0';
        struct keyset *s = read_set(rows[i].text);
        assert_int_equal(s ? keyset_count(s) : 0, rows[i].count);
        if (!s) assert_string_not_equal(error, "");
        keyset_release(s);
    }
}

static void sets_are_bounded(void **state)
{
    char *text = malloc(KEYSET_TEXT_MAX + 2);
    (void)state;
    memset(text, ' ', KEYSET_TEXT_MAX + 2);
    char *one = set_text(rsa, "", NULL);
    memcpy(text, one, strlen(one));
    struct keyset *s = keyset_read(text, KEYSET_TEXT_MAX, error);
    assert_non_null(s);
    keyset_release(s);
    assert_null(keyset_read(text, KEYSET_TEXT_MAX + 1, error));
    size_t at = (size_t)sprintf(text, "{\"keys\":[");
    for (int i = 0; i <= KEYSET_KEYS_MAX; i++) at += (size_t)sprintf(text + at, "%s{}", i ? "," : "");
    sprintf(text + at, "]}");
    assert_null(keyset_read(text, strlen(text), error));
    assert_string_equal(error, "the set has more than 64 keys");
    free(one);
    free(text);
}

/* ---- signatures ---- */

/* To be freed. */
static char *sign(cjose_jwk_t *key, const char *alg, const char *kid, const char *claims)
{
    const char *text;
    cjose_header_t *header = cjose_header_new(NULL);
    assert_true(cjose_header_set(header, "alg", alg, NULL));
    if (kid) assert_true(cjose_header_set(header, "kid", kid, NULL));
    cjose_jws_t *jws = cjose_jws_sign(key, header, (const uint8_t *)claims, strlen(claims), NULL);
    assert_non_null(jws);
    assert_true(cjose_jws_export(jws, &text, NULL));
    char *out = strdup(text);
    cjose_jws_release(jws);
    cjose_header_release(header);
    return out;
}

static enum jwt_fault verify(const struct keyset *s, const char *token)
{
    struct jwt_head h;
    char *claims = NULL, user[AUTH_USER_MAX];
    size_t len;
    int64_t until;
    enum jwt_fault fault = jwt_head_read(token, strlen(token), &rules, &h);
    if (!fault) fault = keyset_verify(s, token, strlen(token), &h, &claims, &len);
    if (!fault) fault = jwt_claims_check(claims, len, &rules, NOW, user, &until);
    free(claims);
    return fault;
}

static enum jwt_fault verify_once(const struct keyset *s, char *token)
{
    enum jwt_fault fault = verify(s, token);
    free(token);
    return fault;
}

static void every_algorithm(void **state)
{
    static const char claims[] = "{" GOOD "}";
    struct keyset *s = read_set(set_text(rsa, "", p256, "", p384, "", NULL));
    (void)state;
    for (int i = 0; i < JWT_ALG_COUNT; i++) {
        const struct jwt_alg_info *info = jwt_alg_info((enum jwt_alg)i);
        cjose_jwk_t *key = info->key == JWT_KEY_RSA    ? rsa
                           : info->key == JWT_KEY_P256 ? p256
                           : info->key == JWT_KEY_P384 ? p384
                                                       : NULL;
        if (!key) continue;
        print_message("# %s\n", info->name);
        char *token = sign(key, info->name, NULL, claims);
        size_t len = strlen(token);
        assert_int_equal(verify(s, token), JWT_FAULT_OK);
        /* Every byte counts: one that is changed makes another token. */
        for (size_t at = 0; at < len; at++) {
            char was = token[at];
            if (was == '.' || at == len - 1) continue; /* the last has bits that mean nothing */
            token[at] = was == 'A' ? 'B' : 'A';
            if (verify(s, token) == JWT_FAULT_OK) fail_msg("byte %zu of %s", at, token);
            token[at] = was;
        }
        for (size_t cut = 0; cut < len; cut += 7) {
            char *shorter = strndup(token, cut);
            assert_int_not_equal(verify(s, shorter), JWT_FAULT_OK);
            free(shorter);
        }
        free(token);
    }
    keyset_release(s);
}

static void forgeries(void **state)
{
    static const char claims[] = "{" GOOD "}";
    struct keyset *s =
        read_set(set_text(rsa, ",\"kid\":\"a\",\"alg\":\"RS256\"", p256, ",\"kid\":\"b\"", NULL));
    (void)state;
    assert_int_equal(verify_once(s, sign(rsa, "RS256", "a", claims)), JWT_FAULT_OK);
    assert_int_equal(verify_once(s, sign(rsa, "RS256", NULL, claims)), JWT_FAULT_OK);
    assert_int_equal(verify_once(s, sign(p256, "ES256", "b", claims)), JWT_FAULT_OK);
    assert_int_equal(verify_once(s, sign(other_rsa, "RS256", "a", claims)), JWT_FAULT_SIGNATURE);
    assert_int_equal(verify_once(s, sign(other_rsa, "RS256", NULL, claims)), JWT_FAULT_SIGNATURE);
    assert_int_equal(verify_once(s, sign(rsa, "RS256", "x", claims)), JWT_FAULT_KEY);
    assert_int_equal(verify_once(s, sign(rsa, "RS256", "b", claims)), JWT_FAULT_KEY);
    assert_int_equal(verify_once(s, sign(rsa, "PS256", "a", claims)), JWT_FAULT_KEY);
    assert_int_equal(verify_once(s, sign(p384, "ES384", "b", claims)), JWT_FAULT_KEY);
    assert_int_equal(verify_once(s, sign(small_rsa, "RS256", "a", claims)), JWT_FAULT_SIGNATURE);
    assert_int_equal(verify_once(s, sign(oct, "HS256", "a", claims)), JWT_FAULT_ALGORITHM);
    keyset_release(s);
    /* Without a name for the key nothing is guessed. */
    s = read_set(set_text(rsa, ",\"kid\":\"a\"", other_rsa, ",\"kid\":\"b\"", NULL));
    assert_int_equal(verify_once(s, sign(rsa, "RS256", NULL, claims)), JWT_FAULT_KEY);
    assert_int_equal(verify_once(s, sign(rsa, "RS256", "a", claims)), JWT_FAULT_OK);
    assert_int_equal(verify_once(s, sign(rsa, "PS512", "a", claims)), JWT_FAULT_OK);
    keyset_release(s);
    /* Nor with a name that two keys have. */
    s = read_set(set_text(rsa, ",\"kid\":\"a\"", other_rsa, ",\"kid\":\"a\"", NULL));
    assert_int_equal(verify_once(s, sign(rsa, "RS256", "a", claims)), JWT_FAULT_KEY);
    keyset_release(s);
}

/* ---- without memory ---- */
static char *set_json, *token;
static enum jwt_fault fault;

/* false: refused, mostly for want of memory; inside a text jansson takes that for a mistake in it. */
static bool verify_all(void)
{
    struct keyset *s = keyset_read(set_json, strlen(set_json), error);
    if (!s) return false;
    fault = verify(s, token);
    keyset_release(s);
    return fault == JWT_FAULT_OK;
}

static void it_is_good(void)
{
    assert_int_equal(fault, JWT_FAULT_OK);
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    set_json = set_text(rsa, ",\"kid\":\"a\"", NULL);
    token = sign(rsa, "RS256", "a", "{" GOOD "}");
    json_set_alloc_funcs(malloc, free);
    failing_malloc_sweep(
        &(struct sweep){.name = "a token", .run = verify_all, .check = it_is_good});
    free(set_json);
    free(token);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_header),
        cmocka_unit_test(every_form),
        cmocka_unit_test(every_claim),
        cmocka_unit_test(names_are_bounded),
        cmocka_unit_test(scopes),
        cmocka_unit_test(an_address_must_be_verified),
        cmocka_unit_test(which_keys_are_taken),
        cmocka_unit_test(sets_are_bounded),
        cmocka_unit_test(every_algorithm),
        cmocka_unit_test(forgeries),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, make_keys, free_keys);
}

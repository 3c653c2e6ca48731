#include "src/server/auth/oauth/keyset.h"

#include <cjose/cjose.h>
#include <jansson.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RSA_BITS_LEAST 2048
#define RSA_BITS_MOST 16384 /* beyond it a signature takes too long */

struct key {
    cjose_jwk_t *jwk;
    enum jwt_key type;
    size_t modulus_len;    /* bytes; of RSA */
    unsigned algorithms;   /* that it is for: 1u << enum jwt_alg, or'ed */
    char kid[JWT_KID_MAX]; /* "": it has none */
};

struct keyset {
    atomic_uint holders;
    size_t count;
    struct key keys[];
};

/* ---- reading ---- */

static unsigned algorithms_of(enum jwt_key type)
{
    unsigned all = 0;
    for (int i = 0; i < JWT_ALG_COUNT; i++)
        if (jwt_alg_info((enum jwt_alg)i)->key == type) all |= 1u << i;
    return all;
}

/* RFC 7517 4.2, 4.3: nothing said means that it may be used. */
static bool is_for_signatures(const json_t *j)
{
    const json_t *use = json_object_get(j, "use"), *ops = json_object_get(j, "key_ops");
    const char *text = json_string_value(use);
    bool verifies = !ops;
    for (size_t i = 0; i < json_array_size(ops); i++) {
        const char *op = json_string_value(json_array_get(ops, i));
        verifies = verifies || (op && strcmp(op, "verify") == 0);
    }
    return verifies && (!use || (text && strcmp(text, "sig") == 0));
}

/* Of what is imported. false: nothing for us. */
static bool type_of(struct key *k)
{
    cjose_err err = {0};
    size_t bits = cjose_jwk_get_keysize(k->jwk, &err);
    switch (cjose_jwk_get_kty(k->jwk, &err)) {
    case CJOSE_JWK_KTY_RSA:
        k->type = JWT_KEY_RSA;
        k->modulus_len = (bits + 7) / 8;
        return bits >= RSA_BITS_LEAST && bits <= RSA_BITS_MOST;
    case CJOSE_JWK_KTY_EC:
        switch (cjose_jwk_EC_get_curve(k->jwk, &err)) {
        case CJOSE_JWK_EC_P_256: k->type = JWT_KEY_P256; return true;
        case CJOSE_JWK_EC_P_384: k->type = JWT_KEY_P384; return true;
        case CJOSE_JWK_EC_P_521: k->type = JWT_KEY_P521; return true;
        default: return false;
        }
    default: return false; /* symmetric: whoever reads it could sign */
    }
}

static bool names_fit(struct key *k, const json_t *j)
{
    const json_t *kid = json_object_get(j, "kid"), *alg = json_object_get(j, "alg");
    const char *name = json_string_value(alg);
    enum jwt_alg one;
    if (kid && !json_is_string(kid)) return false;
    int len = snprintf(k->kid, sizeof k->kid, "%s", kid ? json_string_value(kid) : "");
    k->algorithms = algorithms_of(k->type);
    if (alg && (!name || !jwt_alg_parse(name, &one))) return false;
    if (alg) k->algorithms &= 1u << one;
    return (size_t)len < sizeof k->kid && k->algorithms;
}

static bool is_number(const json_t *j, const char *name)
{
    const char *text = json_string_value(json_object_get(j, name));
    return text && jwt_base64_ok(text, strlen(text));
}

/* The public half and nothing else; NULL with no_memory false: it is no key of ours. */
static json_t *public_half(const json_t *j, bool *no_memory)
{
    const char *kty = json_string_value(json_object_get(j, "kty"));
    json_t *out = NULL;
    bool is_rsa = kty && strcmp(kty, "RSA") == 0, is_ec = kty && strcmp(kty, "EC") == 0;
    if (is_rsa && is_number(j, "n") && is_number(j, "e"))
        out = json_pack("{sssOsO}", "kty", kty, "n", json_object_get(j, "n"), "e",
                        json_object_get(j, "e"));
    else if (is_ec && is_number(j, "x") && is_number(j, "y") &&
             json_is_string(json_object_get(j, "crv")))
        out = json_pack("{sssOsOsO}", "kty", kty, "crv", json_object_get(j, "crv"), "x",
                        json_object_get(j, "x"), "y", json_object_get(j, "y"));
    else
        return NULL;
    *no_memory = *no_memory || !out;
    return out;
}

/* false: it is passed over. */
static bool take_key(struct key *k, const json_t *j, bool *no_memory)
{
    cjose_err err = {0};
    json_t *half = is_for_signatures(j) ? public_half(j, no_memory) : NULL;
    k->jwk = half ? cjose_jwk_import_json(half, &err) : NULL;
    json_decref(half);
    if (!k->jwk) {
        *no_memory = *no_memory || err.code == CJOSE_ERR_NO_MEMORY;
        return false;
    }
    if (type_of(k) && names_fit(k, j)) return true;
    cjose_jwk_release(k->jwk);
    return false;
}

static struct keyset *take_keys(const json_t *list, char error[KEYSET_ERROR_MAX])
{
    size_t count = json_array_size(list);
    bool no_memory = false;
    if (count > KEYSET_KEYS_MAX) {
        snprintf(error, KEYSET_ERROR_MAX, "the set has more than %d keys", KEYSET_KEYS_MAX);
        return NULL;
    }
    struct keyset *s = calloc(1, sizeof *s + count * sizeof *s->keys);
    if (!s) {
        snprintf(error, KEYSET_ERROR_MAX, "out of memory");
        return NULL;
    }
    s->holders = 1;
    for (size_t i = 0; i < count; i++)
        s->count += take_key(&s->keys[s->count], json_array_get(list, i), &no_memory);
    if (s->count > 0 && !no_memory) return s;
    snprintf(error, KEYSET_ERROR_MAX,
             no_memory ? "out of memory"
                       : "the set has no key that signatures can be verified with");
    keyset_release(s);
    return NULL;
}

struct keyset *keyset_read(const char *json, size_t len, char error[KEYSET_ERROR_MAX])
{
    json_error_t e;
    struct keyset *s = NULL;
    json_t *j = len <= KEYSET_TEXT_MAX ? json_loadb(json, len, JSON_REJECT_DUPLICATES, &e) : NULL;
    const json_t *list = json_object_get(j, "keys");
    if (json_is_array(list))
        s = take_keys(list, error);
    else
        snprintf(error, KEYSET_ERROR_MAX, "there is no JWK set");
    json_decref(j);
    return s;
}

struct keyset *keyset_hold(struct keyset *s)
{
    if (s) atomic_fetch_add(&s->holders, 1);
    return s;
}

void keyset_release(struct keyset *s)
{
    if (!s || atomic_fetch_sub(&s->holders, 1) > 1) return;
    for (size_t i = 0; i < s->count; i++) cjose_jwk_release(s->keys[i].jwk);
    free(s);
}

size_t keyset_count(const struct keyset *s)
{
    return s->count;
}

/* ---- signatures ---- */

static bool fits(const struct key *k, const struct jwt_head *h)
{
    return (k->algorithms & 1u << h->alg) && (!*h->kid || strcmp(k->kid, h->kid) == 0);
}

/* The one that fits; NULL also if there are several. */
static const struct key *find(const struct keyset *s, const struct jwt_head *h)
{
    const struct key *found = NULL;
    for (size_t i = 0; i < s->count; i++) {
        if (!fits(&s->keys[i], h)) continue;
        if (found) return NULL;
        found = &s->keys[i];
    }
    return found;
}

bool keyset_has(const struct keyset *s, const struct jwt_head *h)
{
    return find(s, h);
}

/* Of base64url without padding. */
static size_t decoded_len(size_t len)
{
    return len / 4 * 3 + (len % 4 ? len % 4 - 1 : 0);
}

/* A length that the key cannot have made is not even tried. */
static bool length_fits(const struct key *k, const struct jwt_head *h, size_t len)
{
    size_t wanted = jwt_alg_info(h->alg)->signature_len;
    if (!wanted) wanted = k->modulus_len;
    return decoded_len(len - h->signed_len - 1) == wanted;
}

static enum jwt_fault copy_claims(cjose_jws_t *jws, char **out, size_t *len_out)
{
    cjose_err err = {0};
    uint8_t *text;
    if (!cjose_jws_get_plaintext(jws, &text, len_out, &err)) return JWT_FAULT_CLAIMS;
    *out = malloc(*len_out + 1);
    if (!*out) return JWT_FAULT_NO_MEMORY;
    memcpy(*out, text, *len_out);
    return JWT_FAULT_OK;
}

enum jwt_fault keyset_verify(const struct keyset *s, const char *token, size_t len,
                             const struct jwt_head *h, char **claims_out, size_t *claims_len_out)
{
    cjose_err err = {0};
    const struct key *k = find(s, h);
    if (!k) return JWT_FAULT_KEY;
    if (!length_fits(k, h, len)) return JWT_FAULT_SIGNATURE;
    cjose_jws_t *jws = cjose_jws_import(token, len, &err);
    enum jwt_fault fault = JWT_FAULT_SIGNATURE;
    if (jws && cjose_jws_verify(jws, k->jwk, &err))
        fault = copy_claims(jws, claims_out, claims_len_out);
    else if (err.code == CJOSE_ERR_NO_MEMORY)
        fault = JWT_FAULT_NO_MEMORY;
    cjose_jws_release(jws);
    return fault;
}

#include "src/server/auth/certificate.h"

#include <gnutls/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define DER_MAX ((size_t)64 * 1024)
#define NAMES_MAX 64 /* that are looked at; a certificate with more names nobody */

struct certificate {
    struct auth_method method;
    enum certificate_name kind;
};

bool certificate_name_parse(const char *text, enum certificate_name *out)
{
#define CERTIFICATE_TEXT(id, text, what) text,
    static const char *const texts[] = {CERTIFICATE_NAMES(CERTIFICATE_TEXT)};
#undef CERTIFICATE_TEXT
    for (int i = 0; i < CERTIFICATE_NAME_COUNT; i++) {
        if (strcmp(text, texts[i]) != 0) continue;
        *out = (enum certificate_name)i;
        return true;
    }
    return false;
}

/* ---- names ---- */

/* The one name of the wanted kind. */
struct found {
    char name[AUTH_USER_MAX];
    bool any, wrong; /* wrong: no text, too long, or another one is there */
};

/* A backslash would be taken for the end of a domain's name, or stands for an escape. */
static void note(struct found *f, const char *text, size_t len)
{
    bool fits =
        len > 0 && len < sizeof f->name && !memchr(text, '\0', len) && !memchr(text, '\\', len);
    f->wrong = f->wrong || !fits ||
               (f->any && (strlen(f->name) != len || memcmp(f->name, text, len) != 0));
    f->any = true;
    if (!f->wrong) snprintf(f->name, sizeof f->name, "%.*s", (int)len, text);
}

static int note_common_name(gnutls_x509_crt_t crt, unsigned at, struct found *f)
{
    char text[2 * AUTH_USER_MAX];
    size_t len = sizeof text;
    int rc = gnutls_x509_crt_get_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, at, 0, text, &len);
    if (rc == 0) note(f, text, len);
    return rc;
}

static int note_alternative(gnutls_x509_crt_t crt, unsigned at, enum certificate_name kind,
                            struct found *f)
{
    char value[1024];
    size_t len = sizeof value;
    unsigned type = 0;
    int rc = gnutls_x509_crt_get_subject_alt_name2(crt, at, value, &len, &type, NULL);
    unsigned wanted =
        kind == CERTIFICATE_UPN ? GNUTLS_SAN_OTHERNAME_MSUSERPRINCIPAL : GNUTLS_SAN_RFC822NAME;
    if (rc == GNUTLS_E_SHORT_MEMORY_BUFFER) {
        f->wrong =
            f->wrong || type == wanted; /* names of other kinds may be as long as they like */
        return 0;
    }
    if (rc < 0) return rc;
    if ((unsigned)rc == wanted) note(f, value, len);
    return 0;
}

/* 0, or an error of GnuTLS; with the latter nobody is named. */
static int collect(gnutls_x509_crt_t crt, enum certificate_name kind, struct found *f)
{
    for (unsigned at = 0; at < NAMES_MAX; at++) {
        int rc = kind == CERTIFICATE_CN ? note_common_name(crt, at, f)
                                        : note_alternative(crt, at, kind, f);
        if (rc == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE) return 0;
        if (rc == GNUTLS_E_SHORT_MEMORY_BUFFER) break;
        if (rc < 0) return rc;
    }
    f->wrong = true;
    return 0;
}

static enum auth_verdict judge(gnutls_x509_crt_t crt, enum certificate_name kind, int64_t now,
                               char user_out[AUTH_USER_MAX], int64_t *until_out,
                               char why[AUTH_WHY_MAX])
{
#define CERTIFICATE_WHAT(id, text, what) what,
    static const char *const whats[] = {CERTIFICATE_NAMES(CERTIFICATE_WHAT)};
#undef CERTIFICATE_WHAT
    struct found f = {0};
    int64_t from = gnutls_x509_crt_get_activation_time(crt);
    *until_out = gnutls_x509_crt_get_expiration_time(crt);
    if (from < 0 || now < from || now >= *until_out) {
        snprintf(why, AUTH_WHY_MAX, "certificate: it is not valid now");
        return AUTH_BAD;
    }
    int rc = collect(crt, kind, &f);
    if (rc == GNUTLS_E_MEMORY_ERROR) {
        snprintf(why, AUTH_WHY_MAX, "certificate: out of memory");
        return AUTH_FAILED;
    }
    if (rc < 0 || !f.any || f.wrong) {
        snprintf(why, AUTH_WHY_MAX, "certificate: it has %s %s",
                 rc == 0 && !f.any ? "no" : "more than one, or no usable,", whats[kind]);
        return AUTH_BAD;
    }
    memcpy(user_out, f.name, sizeof f.name);
    return AUTH_OK;
}

enum auth_verdict certificate_read(const void *der, size_t len, enum certificate_name kind,
                                   int64_t now, char user_out[AUTH_USER_MAX], int64_t *until_out,
                                   char why[AUTH_WHY_MAX])
{
    gnutls_x509_crt_t crt;
    if (gnutls_x509_crt_init(&crt) < 0) {
        snprintf(why, AUTH_WHY_MAX, "certificate: out of memory");
        return AUTH_FAILED;
    }
    enum auth_verdict verdict = AUTH_BAD;
    const gnutls_datum_t data = {(unsigned char *)der, (unsigned)len};
    if (len <= DER_MAX && gnutls_x509_crt_import(crt, &data, GNUTLS_X509_FMT_DER) == 0)
        verdict = judge(crt, kind, now, user_out, until_out, why);
    else
        snprintf(why, AUTH_WHY_MAX, "certificate: it cannot be read");
    gnutls_x509_crt_deinit(crt);
    return verdict;
}

/* ---- the method ---- */

static bool certificate_verify(struct auth_method *m, struct auth_try *t)
{
    const struct certificate *c = CONTAINER_OF(m, struct certificate, method);
    t->verdict = certificate_read(t->certificate, t->certificate_len, c->kind, time(NULL), t->user,
                                  &t->until, t->why);
    return true;
}

static void certificate_close(struct auth_method *m)
{
    free(CONTAINER_OF(m, struct certificate, method));
}

struct auth_method *certificate_method(const struct config *c, char *error, size_t error_cap)
{
    static const struct auth_method_ops ops = {.name = "certificate",
                                               .kinds = 1u << AUTH_CERTIFICATE,
                                               .tells_name = true,
                                               .verify = certificate_verify,
                                               .close = certificate_close};
    struct certificate *m = calloc(1, sizeof *m);
    if (!m) {
        snprintf(error, error_cap, "out of memory");
        return NULL;
    }
    m->method.ops = &ops;
    (void)certificate_name_parse(c->auth.certificate.name, &m->kind); /* the table has checked it */
    return &m->method;
}

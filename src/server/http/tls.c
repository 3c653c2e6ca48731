/* Certificates. A connection holds the one that it began with; a new one is for new connections. */
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/server/http/engine.h"

#define FILE_MAX_BYTES ((size_t)1024 * 1024)

struct tls_cert {
    atomic_uint holders;
    gnutls_certificate_credentials_t credentials;
    char *certificate_pem, *key_pem;
    struct MHD_OptionItem options[4];
};

static void wipe_free(char *text)
{
    if (text) explicit_bzero(text, strlen(text));
    free(text);
}

static char *read_file(const char *path)
{
    FILE *f = fopen(path, "re");
    char *text = f ? calloc(1, FILE_MAX_BYTES + 1) : NULL;
    size_t len = text ? fread(text, 1, FILE_MAX_BYTES, f) : 0;
    bool ok = text && len < FILE_MAX_BYTES && !ferror(f);
    if (f) fclose(f);
    if (ok) return text;
    wipe_free(text);
    return NULL;
}

void tls_cert_drop(struct tls_cert *c)
{
    if (!c || atomic_fetch_sub(&c->holders, 1) > 1) return;
    if (c->credentials) gnutls_certificate_free_credentials(c->credentials);
    free(c->certificate_pem);
    wipe_free(c->key_pem);
    free(c);
}

struct tls_cert *tls_cert_hold(struct tls_cert *c)
{
    if (c) atomic_fetch_add(&c->holders, 1);
    return c;
}

static struct tls_cert *fail(struct tls_cert *c, char *error, size_t cap, const char *path,
                             const char *what)
{
    snprintf(error, cap, "%s: %s", path, what);
    tls_cert_drop(c);
    return NULL;
}

struct tls_cert *tls_cert_load(const char *certificate, const char *key, char *error,
                               size_t error_cap)
{
    struct tls_cert *c = calloc(1, sizeof *c);
    if (!c || gnutls_certificate_allocate_credentials(&c->credentials) != 0)
        return fail(c, error, error_cap, certificate, "no memory");
    c->holders = 1;
    c->certificate_pem = read_file(certificate);
    if (!c->certificate_pem) return fail(c, error, error_cap, certificate, "cannot be read");
    c->key_pem = read_file(key);
    if (!c->key_pem) return fail(c, error, error_cap, key, "cannot be read");
    gnutls_datum_t cert_data = {(unsigned char *)c->certificate_pem,
                                (unsigned)strlen(c->certificate_pem)};
    gnutls_datum_t key_data = {(unsigned char *)c->key_pem, (unsigned)strlen(c->key_pem)};
    int rc = gnutls_certificate_set_x509_key_mem(c->credentials, &cert_data, &key_data,
                                                 GNUTLS_X509_FMT_PEM);
    if (rc < 0) return fail(c, error, error_cap, certificate, gnutls_strerror(rc));
    c->options[0] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_CERT, 0, c->certificate_pem};
    c->options[1] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_KEY, 0, c->key_pem};
    c->options[2] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_PRIORITIES, 0,
                                            (void *)"NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"};
    c->options[3] = (struct MHD_OptionItem){MHD_OPTION_END, 0, NULL};
    return c;
}

const struct MHD_OptionItem *tls_cert_options(const struct tls_cert *c)
{
    return c->options;
}

static gnutls_session_t session_of(struct MHD_Connection *mhd)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_GNUTLS_SESSION);
    return (gnutls_session_t)info->tls_session;
}

void tls_send(struct MHD_Connection *mhd, const char *bytes, size_t len)
{
    (void)gnutls_record_send(session_of(mhd), bytes, len);
}

void tls_cert_use(struct tls_cert *c, struct MHD_Connection *mhd)
{
    gnutls_credentials_set(session_of(mhd), GNUTLS_CRD_CERTIFICATE, c->credentials);
}

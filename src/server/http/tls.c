/* Certificates. A connection holds the one that it began with; a new one is for new connections. */
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "src/server/http/engine.h"

#define FILE_MAX_BYTES ((size_t)1024 * 1024)

struct tls_cert {
    atomic_uint holders;
    gnutls_certificate_credentials_t credentials;
    char *certificate_pem, *key_pem;
    bool asks_clients;
    time_t crl_until; /* the first of the lists is out of date then; 0: there are none */
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

static bool load_pair(struct tls_cert *c, const struct http_listen *l, const char **path_out,
                      const char **what_out)
{
    *what_out = "cannot be read";
    *path_out = l->tls_certificate;
    if (!(c->certificate_pem = read_file(l->tls_certificate))) return false;
    *path_out = l->tls_key;
    if (!(c->key_pem = read_file(l->tls_key))) return false;
    gnutls_datum_t cert_data = {(unsigned char *)c->certificate_pem,
                                (unsigned)strlen(c->certificate_pem)};
    gnutls_datum_t key_data = {(unsigned char *)c->key_pem, (unsigned)strlen(c->key_pem)};
    int rc = gnutls_certificate_set_x509_key_mem(c->credentials, &cert_data, &key_data,
                                                 GNUTLS_X509_FMT_PEM);
    *path_out = l->tls_certificate;
    *what_out = gnutls_strerror(rc);
    return rc >= 0;
}

/* Who vouches for clients. */
static bool load_client_ca(struct tls_cert *c, const struct http_listen *l, const char **path_out,
                           const char **what_out)
{
    if (!l->client_ca) return true;
    *path_out = l->client_ca;
    *what_out = "cannot be read";
    char *pem = read_file(l->client_ca);
    if (!pem) return false;
    gnutls_datum_t data = {(unsigned char *)pem, (unsigned)strlen(pem)};
    int rc = gnutls_certificate_set_x509_trust_mem(c->credentials, &data, GNUTLS_X509_FMT_PEM);
    free(pem);
    *what_out = rc < 0 ? gnutls_strerror(rc) : "no certificate is in it";
    c->asks_clients = rc > 0;
    return rc > 0;
}

/* When they must have been renewed. false: they cannot be read. */
static bool read_crl_until(struct tls_cert *c, const gnutls_datum_t *pem)
{
    gnutls_x509_crl_t *lists = NULL;
    unsigned count = 0;
    if (gnutls_x509_crl_list_import2(&lists, &count, pem, GNUTLS_X509_FMT_PEM, 0) < 0) return false;
    for (unsigned i = 0; i < count; i++) {
        time_t until = gnutls_x509_crl_get_next_update(lists[i]);
        if (until > 0 && (!c->crl_until || until < c->crl_until)) c->crl_until = until;
        gnutls_x509_crl_deinit(lists[i]);
    }
    gnutls_free(lists);
    return true;
}

/* Who of them is out again. */
static bool load_client_crl(struct tls_cert *c, const struct http_listen *l, const char **path_out,
                            const char **what_out)
{
    if (!l->client_crl) return true;
    *path_out = l->client_crl;
    *what_out = "cannot be read";
    char *pem = read_file(l->client_crl);
    if (!pem) return false;
    gnutls_datum_t data = {(unsigned char *)pem, (unsigned)strlen(pem)};
    int rc = gnutls_certificate_set_x509_crl_mem(c->credentials, &data, GNUTLS_X509_FMT_PEM);
    if (rc > 0 && !read_crl_until(c, &data)) rc = 0;
    free(pem);
    *what_out = rc < 0 ? gnutls_strerror(rc) : "no list of revoked certificates is in it";
    return rc > 0;
}

struct tls_cert *tls_cert_load(const struct http_listen *l, char *error, size_t error_cap)
{
    const char *path = l->tls_certificate, *what = "no memory";
    struct tls_cert *c = calloc(1, sizeof *c);
    if (!c || gnutls_certificate_allocate_credentials(&c->credentials) != 0)
        return fail(c, error, error_cap, path, what);
    c->holders = 1;
    if (!load_pair(c, l, &path, &what) || !load_client_ca(c, l, &path, &what) ||
        !load_client_crl(c, l, &path, &what))
        return fail(c, error, error_cap, path, what);
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
    gnutls_session_t session = session_of(mhd);
    gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, c->credentials);
    gnutls_certificate_server_set_request(session, c->asks_clients ? GNUTLS_CERT_REQUEST
                                                                   : GNUTLS_CERT_IGNORE);
}

/* ---- certificates of clients ---- */

/* Why it is not vouched for, for the log. */
static bool is_vouched_for(gnutls_session_t session, char *why, size_t why_cap)
{
    gnutls_typed_vdata_st purpose = {.type = GNUTLS_DT_KEY_PURPOSE_OID,
                                     .data = (unsigned char *)GNUTLS_KP_TLS_WWW_CLIENT};
    gnutls_datum_t text = {0};
    unsigned status = 0;
    int rc = gnutls_certificate_verify_peers(session, &purpose, 1, &status);
    if (rc == 0 && status == 0) return true;
    if (rc == 0)
        rc = gnutls_certificate_verification_status_print(status, GNUTLS_CRT_X509, &text, 0);
    snprintf(why, why_cap, "%s", rc == 0 ? (const char *)text.data : gnutls_strerror(rc));
    gnutls_free(text.data);
    return false;
}

void *tls_client_certificate(const struct tls_cert *c, struct MHD_Connection *mhd, size_t *len_out,
                             char *why, size_t why_cap)
{
    unsigned count = 0;
    *why = '\0';
    if (!c->asks_clients) return NULL;
    const gnutls_datum_t *chain = gnutls_certificate_get_peers(session_of(mhd), &count);
    if (!chain || count == 0 || !is_vouched_for(session_of(mhd), why, why_cap)) return NULL;
    if (c->crl_until && time(NULL) >= c->crl_until) { /* GnuTLS would not mind */
        snprintf(why, why_cap, "the list of revoked certificates is out of date");
        return NULL;
    }
    void *copy = malloc(chain[0].size);
    if (!copy) {
        snprintf(why, why_cap, "no memory");
        return NULL;
    }
    *len_out = chain[0].size;
    return memcpy(copy, chain[0].data, chain[0].size);
}

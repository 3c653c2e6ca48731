/* How listeners treat connections and requests: what can be another while the server runs. */
#include <stdio.h>
#include <stdlib.h>

#include "src/server/http/engine.h"

struct terms *terms_make(const struct http_listen *l, char *error, size_t error_cap)
{
    char why[PROXIES_ERROR_MAX];
    struct terms *t = calloc(1, sizeof *t);
    if (!t) {
        snprintf(error, error_cap, "%s: out of memory", l->address);
        return NULL;
    }
    t->holders = 1;
    t->cfg = *l;
    t->cfg.address = t->cfg.tls_certificate = t->cfg.tls_key = NULL;
    t->cfg.client_ca = t->cfg.client_crl = NULL;
    t->cfg.proxies = NULL;
    t->proxies = proxies_parse(l->proxies, why, sizeof why);
    if (!t->proxies)
        snprintf(error, error_cap, "%s: proxies: %s", l->address, why);
    else if (!l->tls_certificate || (t->cert = tls_cert_load(l, error, error_cap)))
        return t;
    terms_drop(t);
    return NULL;
}

struct terms *terms_hold(struct endpoint *e)
{
    pthread_mutex_lock(&e->terms_lock);
    struct terms *t = e->terms;
    atomic_fetch_add(&t->holders, 1);
    pthread_mutex_unlock(&e->terms_lock);
    return t;
}

void terms_drop(struct terms *t)
{
    if (!t || atomic_fetch_sub(&t->holders, 1) > 1) return;
    tls_cert_drop(t->cert);
    proxies_free(t->proxies);
    free(t);
}

void conn_renew_terms(struct http_conn *c)
{
    struct endpoint *e = c->lane->endpoint;
    if (atomic_load_explicit(&e->terms, memory_order_relaxed) == c->terms) return;
    struct terms *before = c->terms;
    c->terms = terms_hold(e);
    c->proxied = proxies_trust(c->terms->proxies, c->peer);
    terms_drop(before);
}

/* ---- others ---- */

struct http_terms {
    size_t count;
    struct terms *at[];
};

struct http_terms *http_terms_make(const struct http_server *s, const struct http_listen *listens,
                                   char *error, size_t error_cap)
{
    struct http_terms *all = calloc(1, sizeof *all + s->endpoint_count * sizeof(struct terms *));
    if (!all) {
        snprintf(error, error_cap, "out of memory");
        return NULL;
    }
    for (; all->count < s->endpoint_count; all->count++) {
        const struct http_listen *l = &listens[all->count];
        if (!l->tls_certificate != !s->endpoints[all->count].tls)
            snprintf(error, error_cap, "%s: whether it speaks TLS cannot change", l->address);
        else if ((all->at[all->count] = terms_make(l, error, error_cap)))
            continue;
        http_terms_free(all);
        return NULL;
    }
    return all;
}

void http_terms_use(struct http_server *s, struct http_terms *t)
{
    for (size_t i = 0; i < t->count; i++) {
        struct endpoint *e = &s->endpoints[i];
        pthread_mutex_lock(&e->terms_lock);
        struct terms *before = atomic_exchange(&e->terms, t->at[i]);
        pthread_mutex_unlock(&e->terms_lock);
        terms_drop(before);
    }
    free(t);
}

void http_terms_free(struct http_terms *t)
{
    for (size_t i = 0; t && i < t->count; i++) terms_drop(t->at[i]);
    free(t);
}

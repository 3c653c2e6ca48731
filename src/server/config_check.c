#include "src/server/config_check.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <provost/eas.h>

#include "src/lib/base/text.h"
#include "src/server/auth/expand.h"
#include "src/server/auth/url.h"
#include "src/server/http/proxies.h"
#include "src/server/public_url.h"
#include "src/server/upstream/fields.h"

#define PATH_OF_KEY_MAX 64
#define FORWARD_PATH_MAX 255

static bool is_address(const char *a)
{
    const char *colon = strrchr(a, ':');
    char *end;
    if (*a == '/') return true;
    if (!colon || colon[1] < '0' || colon[1] > '9') return false;
    return strtoul(colon + 1, &end, 10) <= 65535 && *end == '\0';
}

static void check_listen(const struct config *c, struct reading *r)
{
    for (size_t i = 0; i < c->listen.count; i++)
        if (!is_address(c->listen.name[i]))
            config_complain(r, "listen",
                            "listen \"%s\" is not an address and port, such as 127.0.0.1:8080, "
                            "[::1]:8080 or :8080",
                            c->listen.name[i]);
}

static void check_proxies(const struct config *c, struct reading *r)
{
    char why[PROXIES_ERROR_MAX];
    for (size_t i = 0; i < c->proxies.count; i++) {
        const char *one[] = {c->proxies.name[i], NULL};
        struct proxies *p = proxies_parse(one, why, sizeof why);
        if (!p) config_complain(r, "proxies", "proxies: %s", why);
        proxies_free(p);
    }
}

static void check_url(const struct config *c, struct reading *r)
{
    if (c->url && !public_url_ok(c->url))
        config_complain(r, "url",
                        "url \"%s\" is not https:// or http:// with a host, such as "
                        "https://mail.example.org",
                        c->url);
}

/* Tokens must not travel in the clear, not even to this machine: who can listen there is not who
 * may administer. */
static void check_admin(const struct config *c, struct reading *r)
{
    for (size_t i = 0; i < c->admin.listen.count; i++)
        if (!is_address(c->admin.listen.name[i]) || c->admin.listen.name[i][0] == '/')
            config_complain(r, "admin.listen",
                            "admin.listen \"%s\" is not an address and port, such as "
                            "192.0.2.1:8443",
                            c->admin.listen.name[i]);
    if (!c->admin.certificate != !c->admin.key)
        config_complain(r, "admin", "admin needs both certificate and key");
    else if (c->admin.listen.count > 0 && !c->admin.certificate)
        config_complain(r, "admin",
                        "admin.listen is served over TLS only: admin.certificate and admin.key are "
                        "missing");
}

static void check_mailbox_path(const struct config *c, struct reading *r)
{
    for (const char *p = strchr(c->mailbox.path, '%'); p; p = strchr(p + 2, '%'))
        if (p[1] == '\0' || !strchr("und", p[1])) {
            config_complain(r, "mailbox.path", "mailbox.path has \"%.2s\"; allowed: %%u, %%n, %%d",
                            p);
            return;
        }
}

/* A text of the message for devices in quarantine. */
static void check_message(const char *name, const char *text, size_t most, struct reading *r)
{
    char path[PATH_OF_KEY_MAX];
    snprintf(path, sizeof path, "quarantine.%s", name);
    if (strlen(text) > most)
        config_complain(r, path, "%s has %zu bytes; allowed: up to %zu", path, strlen(text), most);
    if (!pv__utf8_valid((const uint8_t *)text, strlen(text)))
        config_complain(r, path, "%s is no UTF-8 text", path);
    for (const char *p = strchr(text, '%'); p; p = strchr(p + 2, '%'))
        if (p[1] == '\0' || !strchr("udt%", p[1])) {
            config_complain(r, path, "%s has \"%.2s\"; allowed: %%u, %%d, %%t, %%%%", path, p);
            return;
        }
}

static void check_notify_url(const struct config *c, struct reading *r)
{
    const char *url = c->notify.url;
    if (!url || strncmp(url, "https://", 8) == 0 || strncmp(url, "http://", 7) == 0) return;
    config_complain(r, "notify.url",
                    "notify.url must begin with http:// or https://"); /* it may hold a secret */
}

/* ---- login methods ---- */

static bool has_method(const struct config *c, const char *name)
{
    for (size_t i = 0; i < c->auth.method.count; i++)
        if (strcmp(c->auth.method.name[i], name) == 0) return true;
    return false;
}

static void check_name(struct reading *r, const char *path, const char *text)
{
    const char *wrong = text ? expand_wrong(text) : NULL;
    if (wrong)
        config_complain(r, path, "%s has \"%.2s\"; allowed: %%u, %%n, %%d, %%%%", path, wrong);
}

/* Two users who would be one to the other server must be one here. */
/* What one user calls himself must not be the name of another. */
static void check_imap_server(const char *group, const char *url, const char *user,
                              struct reading *r)
{
    char path[PATH_OF_KEY_MAX];
    snprintf(path, sizeof path, "%s.url", group);
    if ((!urls_have_scheme(url, "imap://") && !urls_have_scheme(url, "imaps://")) ||
        urls_count(url) != 1 || strchr(url, '@'))
        config_complain(r, path, "%s must be imaps://HOST or imap://HOST, without a name in it",
                        path);
    snprintf(path, sizeof path, "%s.user", group);
    check_name(r, path, user);
    if (!strstr(user, "%u") && (!strstr(user, "%n") || !strstr(user, "%d")))
        config_complain(r, path,
                        "%s must have %%u, or both %%n and %%d: users of other domains would have "
                        "the same name",
                        path);
}

static void check_mailbox_imap(const struct config *c, struct reading *r)
{
    if (strcmp(c->mailbox.type, "imap") != 0) return;
    if (!c->mailbox.url)
        config_complain(
            r, "mailbox",
            "mailbox.type \"imap\" needs mailbox.url, such as imaps://mail.example.org");
    else
        check_imap_server("mailbox", c->mailbox.url, c->mailbox.user, r);
    if (has_method(c, "certificate"))
        config_complain(r, "mailbox.type",
                        "mailbox.type \"imap\" logs in with the password or token of the device; a "
                        "login by auth.method \"certificate\" has neither");
}

static void check_imap(const struct config *c, struct reading *r)
{
    if (!c->auth.imap.url)
        config_complain(r, "auth.imap", "auth.method \"imap\" needs auth.imap.url");
    else
        check_imap_server("auth.imap", c->auth.imap.url, c->auth.imap.user, r);
}

static void check_ldap(const struct config *c, struct reading *r)
{
    const char *url = c->auth.ldap.url;
    if (!url)
        config_complain(r, "auth.ldap", "auth.method \"ldap\" needs auth.ldap.url");
    else if (!urls_have_scheme(url, "ldap://") && !urls_have_scheme(url, "ldaps://") &&
             !urls_have_scheme(url, "ldapi://"))
        config_complain(
            r, "auth.ldap.url",
            "auth.ldap.url must be ldaps://HOST, ldap://HOST or ldapi://PATH, or several "
            "of one kind with blanks between them");
    if (!c->auth.ldap.user_dn == !c->auth.ldap.base)
        config_complain(r, "auth.ldap",
                        "auth.method \"ldap\" needs either auth.ldap.user_dn or auth.ldap.base");
    if (!c->auth.ldap.bind_dn != !c->auth.ldap.bind_password_file)
        config_complain(r, "auth.ldap",
                        "auth.ldap needs both bind_dn and bind_password_file, or none of them");
    if (c->auth.ldap.user_dn && c->auth.ldap.bind_dn)
        config_complain(r, "auth.ldap.bind_dn",
                        "auth.ldap.bind_dn is for a search; with auth.ldap.user_dn there is none");
    check_name(r, "auth.ldap.user_dn", c->auth.ldap.user_dn);
    check_name(r, "auth.ldap.filter", c->auth.ldap.filter);
    if (*c->auth.ldap.name == '\0')
        config_complain(r, "auth.ldap.name", "auth.ldap.name must not be empty");
}

static void check_pam(const struct config *c, struct reading *r)
{
    const char *service = c->auth.pam.service;
    if (!*service || strlen(service) > 63 ||
        service[strspn(service, "abcdefghijklmnopqrstuvwxyz0123456789-_.")] || *service == '.')
        config_complain(r, "auth.pam.service",
                        "auth.pam.service must be the name of a file in /etc/pam.d: small letters, "
                        "digits, -, _ and .");
}

/* Who could change them on the way could make tokens for anybody. */
static bool is_safe_address(const char *url)
{
    bool safe = urls_have_scheme(url, "https://") ||
                (urls_have_scheme(url, "http://") && urls_are_loopback(url));
    return safe && urls_count(url) == 1;
}

static void check_oauth(const struct config *c, struct reading *r)
{
    const char *issuer = c->auth.oauth.issuer, *keys = c->auth.oauth.keys;
    const char *scope = c->auth.oauth.scope, *where = c->auth.oauth.authorization_url;
    if (!issuer || !*issuer)
        config_complain(r, "auth.oauth", "auth.method \"oauth\" needs auth.oauth.issuer");
    else if (!keys && !is_safe_address(issuer))
        config_complain(r, "auth.oauth.issuer",
                        "auth.oauth.issuer is not https://, so auth.oauth.keys must tell where its "
                        "keys are");
    if (c->auth.oauth.audience.count == 0)
        config_complain(r, "auth.oauth",
                        "auth.method \"oauth\" needs auth.oauth.audience: tokens for others would "
                        "be taken");
    if (keys && *keys != '/' && !is_safe_address(keys))
        config_complain(r, "auth.oauth.keys",
                        "auth.oauth.keys must be https://, or a path that begins with a slash");
    if (!*c->auth.oauth.claim)
        config_complain(r, "auth.oauth.claim", "auth.oauth.claim must not be empty");
    if (scope && (!*scope || strchr(scope, ' ')))
        config_complain(r, "auth.oauth.scope", "auth.oauth.scope must be one word");
    if (where && (!urls_have_scheme(where, "https://") || strlen(where) > 1024 ||
                  where[strcspn(where, " \"\\\r\n")]))
        config_complain(r, "auth.oauth.authorization_url",
                        "auth.oauth.authorization_url must be https://");
}

/* Of two that take the same logins the second is never asked. */
static char kind_of(const char *method)
{
    return strcmp(method, "oauth") == 0 || strcmp(method, "certificate") == 0 ? *method : 'p';
}

static void check_methods(const struct config_names *m, struct reading *r)
{
    for (size_t i = 0; i < m->count; i++)
        for (size_t k = 0; k < i; k++)
            if (kind_of(m->name[k]) == kind_of(m->name[i])) {
                config_complain(r, "auth.method",
                                "auth.method \"%s\" would never be asked: \"%s\" before it takes "
                                "the same logins",
                                m->name[i], m->name[k]);
                break;
            }
}

static void check_auth(const struct config *c, struct reading *r)
{
    /* What is the mailbox's is checked there. */
    bool same = strcmp(c->mailbox.type, "imap") == 0 && c->auth.imap.url == c->mailbox.url;
    if (has_method(c, "imap") && !same) check_imap(c, r);
    if (c->upstream.ping.imap.url)
        check_imap_server("upstream.ping.imap", c->upstream.ping.imap.url,
                          c->upstream.ping.imap.user, r);
    if (has_method(c, "ldap")) check_ldap(c, r);
    if (has_method(c, "oauth")) check_oauth(c, r);
    if (has_method(c, "certificate") && !c->tls_client_ca)
        config_complain(r, "auth.method",
                        "auth.method \"certificate\" needs tls.client_ca: nobody is asked for one");
    if (has_method(c, "pam")) check_pam(c, r);
    if (has_method(c, "upstream") && !config_is_gateway(c))
        config_complain(r, "auth.method", "auth.method \"upstream\" needs upstream.url");
    check_methods(&c->auth.method, r);
}

static void check_forward_auth(const struct config *c, struct reading *r)
{
    const char *path = c->forward_auth.path;
    if (!path) return;
    bool plain = path[0] == '/' && path[1] != '\0' && strlen(path) <= FORWARD_PATH_MAX;
    for (const char *p = path; *p; p++)
        plain = plain && (pv__is_alnum((unsigned char)*p) || strchr("/-._~", *p));
    if (!plain || strncasecmp(path, PV_EAS_PATH, strlen(PV_EAS_PATH)) == 0)
        config_complain(r, "forward_auth.path",
                        "forward_auth.path \"%s\" is not a path of its own, such as /provost/auth",
                        path);
}

static void check_server(const char *key, const char *url, struct reading *r)
{
    if (!public_url_ok(url))
        config_complain(r, key,
                        "%s \"%s\" is not https:// or http:// with a host, such as "
                        "http://127.0.0.1:20000/SOGo",
                        key, url);
}

/* The name of a field that tells who the user is, and nothing else. */
static bool user_field_fits(const char *name)
{
    static const char *const other[] = {"Authorization", "Content-Type", "Content-Encoding",
                                        "Cookie",        "Host",         "User-Agent"};
    bool fits = field_name_fits(name, strlen(name)) && !field_is_hop(name);
    for (size_t i = 0; i < sizeof other / sizeof *other; i++)
        fits = fits && !field_same_name(name, other[i]);
    return fits && !field_has_prefix(name, "MS-") && !field_has_prefix(name, "X-MS-") &&
           !field_has_prefix(name, "X-Forwarded-");
}

static void check_domains(const struct config_domains *d, struct reading *r)
{
    for (size_t i = 0; i < d->count; i++) {
        if (*d->at[i].domain == '\0' || strchr(d->at[i].domain, '@'))
            config_complain(r, "upstream.domains",
                            "upstream.domains has the domain \"%s\"; allowed: what stands behind "
                            "the @, such as example.org",
                            d->at[i].domain);
        check_server("upstream.domains", d->at[i].url, r);
        for (size_t k = 0; k < i; k++)
            if (strcasecmp(d->at[i].domain, d->at[k].domain) == 0)
                config_complain(r, "upstream.domains", "upstream.domains has \"%s\" twice",
                                d->at[i].domain);
    }
}

static void check_upstream(const struct config *c, struct reading *r)
{
    if (!config_stands(r, "upstream")) return;
    if (!config_is_gateway(c))
        config_complain(r, "upstream", "upstream has no server: upstream.url is missing");
    if (config_stands(r, "mailbox"))
        config_complain(
            r, "mailbox",
            "mailbox and upstream exclude each other: a gateway has no mailbox of its own");
    if (c->upstream.url) check_server("upstream.url", c->upstream.url, r);
    check_domains(&c->upstream.domains, r);
    if (!c->upstream.certificate != !c->upstream.key)
        config_complain(r, "upstream", "upstream needs both certificate and key, or neither");
    if (c->upstream.user_field && !user_field_fits(c->upstream.user_field))
        config_complain(r, "upstream.user_field",
                        "upstream.user_field \"%s\" is no header field for that",
                        c->upstream.user_field);
}

void config_complete(struct config *c)
{
    bool imap = strcmp(c->mailbox.type, "imap") == 0 && !config_is_gateway(c);
    if (imap && !c->auth.imap.url) {
        c->auth.imap.url = c->mailbox.url;
        c->auth.imap.ca_file = c->mailbox.ca_file;
        c->auth.imap.user = c->mailbox.user;
    }
    if (c->auth.method.count > 0) return;
    c->auth.method.name[0] = config_is_gateway(c) ? "upstream" : imap ? "imap" : "file";
    c->auth.method.count = 1;
}

void config_check(const struct config *c, struct reading *r)
{
    check_listen(c, r);
    check_proxies(c, r);
    check_url(c, r);
    check_forward_auth(c, r);
    check_mailbox_path(c, r);
    check_mailbox_imap(c, r);
    check_admin(c, r);
    check_message("subject", c->quarantine.subject, 200, r);
    check_message("text", c->quarantine.text, 4000, r);
    check_notify_url(c, r);
    check_auth(c, r);
    check_upstream(c, r);
    if (!c->tls_certificate != !c->tls_key)
        config_complain(r, "tls", "tls needs both certificate and key");
    else if (c->tls_client_ca && !c->tls_certificate)
        config_complain(r, "tls.client_ca", "tls.client_ca needs tls.certificate and tls.key");
    else if (c->tls_client_crl && !c->tls_client_ca)
        config_complain(r, "tls.client_crl", "tls.client_crl needs tls.client_ca");
    if (c->ping.heartbeat_min > c->ping.heartbeat_max)
        config_complain(r, "ping", "ping.heartbeat_min is %u, more than ping.heartbeat_max, %u",
                        c->ping.heartbeat_min, c->ping.heartbeat_max);
    if (strtod(c->protocol_version_min, NULL) > strtod(c->protocol_version_max, NULL))
        config_complain(r, "protocol_version_min",
                        "protocol_version_min is %s, above protocol_version_max, %s",
                        c->protocol_version_min, c->protocol_version_max);
}

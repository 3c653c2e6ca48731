#include <errno.h>
#include <fcntl.h>
#include <ldap.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/time.h>
#include <unistd.h>

#include "src/server/auth/expand.h"
#include "src/server/auth/helper/way.h"
#include "src/server/auth/url.h"

#define PASSWORD_MAX 513

static struct way_settings config;
static char bind_password[PASSWORD_MAX];
static LDAP *service;    /* bound as bind_dn; NULL: not open */
static LDAP *asking;     /* bound as who was asked for last */
static char trouble[64]; /* of the connection that was given up last, "" none is known */

/* ---- connections ---- */

static void hang_up(LDAP **ld)
{
    if (*ld) ldap_unbind_ext_s(*ld, NULL, NULL);
    *ld = NULL;
}

/* A connection that has failed: what libldap says of it, such as of a certificate, is more than its
 * error code does. */
static void give_up(LDAP **ld, int rc)
{
    char *text = NULL;
    trouble[0] = '\0';
    if (rc < 0 && *ld &&
        ldap_get_option(*ld, LDAP_OPT_DIAGNOSTIC_MESSAGE, &text) == LDAP_OPT_SUCCESS && text)
        snprintf(trouble, sizeof trouble, "%s", text);
    ldap_memfree(text);
    hang_up(ld);
}

static struct timeval time_left(const struct way_question *q)
{
    uint64_t now = way_now_ms(), left = now < q->until_ms ? q->until_ms - now : 1;
    return (struct timeval){.tv_sec = (time_t)(left / 1000),
                            .tv_usec = (suseconds_t)(left % 1000 * 1000)};
}

/* Whatever ldap.conf says: the certificate of the server is looked at. */
static int secure(LDAP *ld)
{
    const int hard = LDAP_OPT_X_TLS_HARD, client = 0;
    int rc = ldap_set_option(ld, LDAP_OPT_X_TLS_REQUIRE_CERT, &hard);
    if (rc == LDAP_OPT_SUCCESS && *config.ca_file)
        rc = ldap_set_option(ld, LDAP_OPT_X_TLS_CACERTFILE, config.ca_file);
    if (rc == LDAP_OPT_SUCCESS) rc = ldap_set_option(ld, LDAP_OPT_X_TLS_NEWCTX, &client);
    return rc;
}

static int set_time(LDAP *ld, const struct way_question *q)
{
    const struct timeval left = time_left(q);
    struct timeval each = left; /* where there are several, the last must get its turn */
    each.tv_sec /= urls_count(config.url);
    int rc = ldap_set_option(ld, LDAP_OPT_NETWORK_TIMEOUT, each.tv_sec ? &each : &left);
    return rc == LDAP_OPT_SUCCESS ? ldap_set_option(ld, LDAP_OPT_TIMEOUT, &left) : rc;
}

/* A password goes nowhere in the clear but to this machine. */
static bool needs_start_tls(void)
{
    return urls_have_scheme(config.url, "ldap://") && !urls_are_loopback(config.url);
}

static int connect_to(LDAP **ld, const struct way_question *q)
{
    const int version = LDAP_VERSION3;
    if (*ld) return set_time(*ld, q);
    int rc = ldap_initialize(ld, config.url);
    if (rc != LDAP_SUCCESS) return rc;
    rc = ldap_set_option(*ld, LDAP_OPT_PROTOCOL_VERSION, &version);
    if (rc == LDAP_OPT_SUCCESS) rc = ldap_set_option(*ld, LDAP_OPT_RESTART, LDAP_OPT_ON);
    /* A password is for the server that was configured, not for one that it names. */
    if (rc == LDAP_OPT_SUCCESS) rc = ldap_set_option(*ld, LDAP_OPT_REFERRALS, LDAP_OPT_OFF);
    if (rc == LDAP_OPT_SUCCESS) rc = set_time(*ld, q);
    if (rc == LDAP_OPT_SUCCESS && !urls_have_scheme(config.url, "ldapi://")) rc = secure(*ld);
    if (rc == LDAP_OPT_SUCCESS && needs_start_tls()) rc = ldap_start_tls_s(*ld, NULL, NULL);
    if (rc != LDAP_SUCCESS) give_up(ld, rc);
    return rc;
}

/* The server has closed a connection that was kept, or it is of no more use. */
static bool is_gone(int rc)
{
    return rc == LDAP_SERVER_DOWN || rc == LDAP_CONNECT_ERROR || rc == LDAP_TIMEOUT ||
           rc == LDAP_UNAVAILABLE || rc == LDAP_BUSY || rc == LDAP_DECODING_ERROR;
}

/* RFC 4513 5.1: a name without a password, or neither, is a bind of nobody that succeeds. */
static int bind_once(LDAP **ld, const char *dn, const char *password, const struct way_question *q)
{
    struct berval secret = {.bv_len = strlen(password), .bv_val = (char *)password};
    if (!*dn || !*password) return LDAP_INAPPROPRIATE_AUTH;
    int rc = connect_to(ld, q);
    if (rc != LDAP_SUCCESS) return rc;
    rc = ldap_sasl_bind_s(*ld, dn, LDAP_SASL_SIMPLE, &secret, NULL, NULL, NULL);
    if (is_gone(rc)) give_up(ld, rc);
    return rc;
}

static int bind_as(LDAP **ld, const char *dn, const char *password, const struct way_question *q)
{
    bool kept = *ld;
    int rc = bind_once(ld, dn, password, q);
    return kept && rc == LDAP_SERVER_DOWN ? bind_once(ld, dn, password, q) : rc;
}

/* ---- searches ---- */

/* The one entry that is meant; freed by the caller when it is not NULL. */
static int search_once(LDAP **ld, const char *base, int scope, const char *filter,
                       const struct way_question *q, LDAPMessage **found)
{
    char *attributes[] = {(char *)config.name, NULL};
    struct timeval left = time_left(q);
    *found = NULL;
    int rc =
        ldap_search_ext_s(*ld, base, scope, filter, attributes, 0, NULL, NULL, &left, 2, found);
    if (rc != LDAP_SUCCESS && *found) {
        ldap_msgfree(*found);
        *found = NULL;
    }
    if (is_gone(rc)) give_up(ld, rc);
    return rc;
}

static int open_service(const struct way_question *q)
{
    if (service) return set_time(service, q);
    return *config.bind_dn ? bind_as(&service, config.bind_dn, bind_password, q)
                           : connect_to(&service, q);
}

/* step: what it was that failed, for the log. */
static int search_for_user(const char *filter, const struct way_question *q, LDAPMessage **found,
                           const char **step)
{
    for (int i = 0;; i++) {
        bool kept = service;
        int rc = open_service(q);
        *step = *config.bind_dn ? "bind with bind_dn" : "connection";
        if (rc != LDAP_SUCCESS) {
            if (service) give_up(&service, rc);
            return rc;
        }
        *step = "search";
        rc = search_once(&service, config.base, LDAP_SCOPE_SUBTREE, filter, q, found);
        if (i || !kept || rc != LDAP_SERVER_DOWN) return rc;
    }
}

/* ---- answers ---- */

static void say(struct way_answer *a, enum way_verdict verdict, const char *what, int rc)
{
    bool more = rc < 0 && *trouble;
    a->verdict = verdict;
    snprintf(a->why, sizeof a->why, "%s: %s%s%s", what, ldap_err2string(rc), more ? ": " : "",
             more ? trouble : "");
}

static void say_text(struct way_answer *a, enum way_verdict verdict, const char *what)
{
    a->verdict = verdict;
    snprintf(a->why, sizeof a->why, "%s", what);
}

/* The value of the attribute that names the user. Several would be several users to the server. */
static void read_name(LDAP *ld, LDAPMessage *found, struct way_answer *a)
{
    LDAPMessage *entry = ldap_first_entry(ld, found);
    struct berval **values = entry ? ldap_get_values_len(ld, entry, config.name) : NULL;
    int count = ldap_count_values_len(values);
    const struct berval *v = count > 0 ? values[0] : NULL;
    a->verdict = WAY_FAILED;
    if (count != 1) {
        snprintf(a->why, sizeof a->why, "%s of the user's entry: %s", config.name,
                 count ? "more than one value, and none is the user's name"
                       : "no value, or it may not be read");
    } else if (v->bv_len == 0 || v->bv_len >= sizeof a->user || memchr(v->bv_val, 0, v->bv_len)) {
        snprintf(a->why, sizeof a->why, "%s of the user's entry cannot be a name", config.name);
    } else {
        memcpy(a->user, v->bv_val, v->bv_len);
        a->user[v->bv_len] = '\0';
        a->verdict = WAY_OK;
    }
    ldap_value_free_len(values);
}

/* What a bind says of the user, not of the server. Accounts that are locked or expired are told as
 * one or another of these. */
static bool is_refusal(int rc)
{
    return rc == LDAP_INVALID_CREDENTIALS || rc == LDAP_NO_SUCH_OBJECT ||
           rc == LDAP_INVALID_DN_SYNTAX || rc == LDAP_INAPPROPRIATE_AUTH ||
           rc == LDAP_CONSTRAINT_VIOLATION || rc == LDAP_UNWILLING_TO_PERFORM;
}

static bool log_in(const char *dn, const struct way_question *q, struct way_answer *a)
{
    int rc = bind_as(&asking, dn, q->password, q);
    if (rc == LDAP_SUCCESS) return true;
    say(a, is_refusal(rc) ? WAY_BAD : WAY_FAILED, "bind", rc);
    return false;
}

/* The name makes the entry's name; the user himself reads it. */
static void ask_by_dn(const struct way_question *q, struct way_answer *a)
{
    char dn[WAY_TEXT_MAX];
    LDAPMessage *found;
    if (!expand_user(config.user_dn, q->user, config.domain, EXPAND_DN, dn, sizeof dn)) {
        say_text(a, WAY_BAD, "the name is too long");
        return;
    }
    if (!log_in(dn, q, a)) return;
    int rc = search_once(&asking, dn, LDAP_SCOPE_BASE, "(objectClass=*)", q, &found);
    if (rc != LDAP_SUCCESS) {
        say(a, WAY_FAILED, "reading the user's own entry", rc);
        return;
    }
    read_name(asking, found, a);
    ldap_msgfree(found);
}

/* The directory finds the entry, and its name is then tried with the password. */
static void ask_by_search(const struct way_question *q, struct way_answer *a)
{
    char filter[WAY_TEXT_MAX];
    const char *step;
    LDAPMessage *found;
    if (!expand_user(config.filter, q->user, config.domain, EXPAND_FILTER, filter, sizeof filter)) {
        say_text(a, WAY_BAD, "the name is too long");
        return;
    }
    int rc = search_for_user(filter, q, &found, &step);
    if (rc == LDAP_SIZELIMIT_EXCEEDED) {
        say_text(a, WAY_FAILED, "more than one entry fits the filter");
        return;
    }
    if (rc != LDAP_SUCCESS) {
        say(a, WAY_FAILED, step, rc);
        return;
    }
    int count = ldap_count_entries(service, found);
    LDAPMessage *entry = count == 1 ? ldap_first_entry(service, found) : NULL;
    char *dn = entry ? ldap_get_dn(service, entry) : NULL;
    if (count == 0)
        say_text(a, WAY_BAD, "no entry fits the filter");
    else if (!dn)
        say_text(a, WAY_FAILED, "more than one entry fits the filter");
    else if (log_in(dn, q, a))
        read_name(service, found, a);
    ldap_memfree(dn);
    ldap_msgfree(found);
}

static void ask(const struct way_question *q, struct way_answer *a)
{
    if (*config.user_dn)
        ask_by_dn(q, a);
    else
        ask_by_search(q, a);
}

/* ---- the way ---- */

/* The first line. */
static bool read_bind_password(char why[WAY_WHY_MAX])
{
    int fd = open(config.bind_password_file, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : read(fd, bind_password, sizeof bind_password - 1);
    if (len < 0) snprintf(why, WAY_WHY_MAX, "auth.ldap.bind_password_file: %s", strerror(errno));
    if (fd >= 0) close(fd);
    if (len < 0) return false;
    bind_password[len] = '\0';
    bind_password[strcspn(bind_password, "\r\n")] = '\0';
    if (*bind_password) return true;
    snprintf(why, WAY_WHY_MAX, "auth.ldap.bind_password_file: its first line is empty");
    return false;
}

static bool begin(const struct way_settings *s, char why[WAY_WHY_MAX])
{
    config = *s;
    return !*config.bind_dn || read_bind_password(why);
}

static void end(void)
{
    hang_up(&service);
    hang_up(&asking);
    explicit_bzero(bind_password, sizeof bind_password);
}

const struct way way_ldap = {"ldap", begin, ask, end};

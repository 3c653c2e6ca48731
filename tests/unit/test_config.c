/* The configuration: defaults, values, and every error with file, line and what is allowed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "src/server/config.h"

static char dir[] = "/tmp/provost-config-XXXXXX";
static char path[64], included[64];

static void write_to(const char *name, const char *text)
{
    FILE *f = fopen(name, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static int make_dir(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof path, "%s/provost.conf", dir);
    snprintf(included, sizeof included, "%s/more.conf", dir);
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    unlink(path);
    unlink(included);
    return rmdir(dir);
}

static void test_defaults(void **state)
{
    (void)state;
    char error[512], users[64];
    write_to(path, "");
    struct config *c = config_load(path, error, sizeof error);
    assert_non_null(c);
    snprintf(users, sizeof users, "%s/users", dir);
    assert_string_equal(c->file, path);
    assert_int_equal(c->listen.count, 1);
    assert_string_equal(c->listen.name[0], "127.0.0.1:8080");
    assert_null(c->tls_certificate);
    assert_null(c->tls_key);
    assert_string_equal(c->state, "/var/lib/provost");
    assert_string_equal(c->store, "sqlite");
    assert_string_equal(c->domain, "");
    assert_string_equal(c->log_level, "info");
    assert_int_equal(c->workers, 0);
    assert_int_equal(c->body_max, 1048576);
    assert_int_equal(c->head_timeout, 20);
    assert_int_equal(c->connections_max, 20000);
    assert_int_equal(c->auth.method.count, 1);
    assert_string_equal(c->auth.method.name[0], "file");
    assert_string_equal(c->auth.file, users);
    assert_string_equal(c->mailbox.path, "/var/mail/%u/Maildir");
    assert_int_equal(c->mailbox.trash.count, 3);
    assert_string_equal(c->mailbox.trash.name[1], "Deleted Items");
    assert_int_equal(c->ping.heartbeat_max, 3540);
    assert_string_equal(c->admin.socket, "/run/provost/admin.sock");
    assert_int_equal(c->admin.listen.count, 0);
    assert_null(c->admin.certificate);
    assert_false(c->require_device_information);
    assert_true(c->damping);
    assert_int_equal(c->audit.rotate_size, 16777216);
    assert_int_equal(c->audit.keep, 0);
    assert_null(c->notify.program);
    assert_null(c->notify.url);
    assert_int_equal(c->notify.events.count, 4);
    assert_string_equal(c->notify.events.name[3], "loop-blocked");
    assert_int_equal(c->notify.timeout, 30);
    config_free(c);
}

static void test_values(void **state)
{
    (void)state;
    char error[512], file[80];
    write_to(included, "ping = { heartbeat_min = 120; folders_max = 7; };\n");
    write_to(path, "listen = [\"127.0.0.1:0\", \"[::1]:8443\", \"/run/x.sock\"];\n"
                   "tls = { certificate = \"c.pem\"; key = \"/etc/k.pem\"; };\n"
                   "auth: { file = \"sub/users\"; cache_seconds = 0; };\n"
                   "mailbox = { path = \"/m/%d/%n\"; special = { sent = \"Gesendet\"; }; };\n"
                   "body_max = 67108864L; require_device_information = true;\n"
                   "damping = false; devices_per_user = 0;\n"
                   "groups = { sales = [\"alice\", \"bob\"]; nobody = []; };\n"
                   "admin = { listen = \":8443\"; certificate = \"a.pem\"; key = \"/k.pem\"; };\n"
                   "audit = { rotate_size = 65536; keep = 12; };\n"
                   "notify = { program = \"tell\"; url = \"https://x/y\"; "
                   "events = [\"wipe-failed\"]; };\n"
                   "@include \"more.conf\"\n");
    struct config *c = config_load(path, error, sizeof error);
    if (!c)
        fail_msg("%s", error);
    assert_int_equal(c->listen.count, 3);
    assert_int_equal(c->groups.count, 2);
    assert_string_equal(c->groups.group[0].name, "sales");
    assert_int_equal(c->groups.group[0].count, 2);
    assert_string_equal(c->groups.group[0].user[1], "bob");
    assert_string_equal(c->groups.group[1].name, "nobody");
    assert_int_equal(c->groups.group[1].count, 0);
    assert_string_equal(c->listen.name[2], "/run/x.sock");
    snprintf(file, sizeof file, "%s/c.pem", dir);
    assert_string_equal(c->tls_certificate, file);
    assert_string_equal(c->tls_key, "/etc/k.pem");
    snprintf(file, sizeof file, "%s/sub/users", dir);
    assert_string_equal(c->auth.file, file);
    assert_int_equal(c->auth.cache_seconds, 0);
    assert_int_equal(c->mailbox.sent.count, 1);
    assert_string_equal(c->mailbox.sent.name[0], "Gesendet");
    assert_int_equal(c->body_max, 67108864);
    assert_int_equal(c->ping.heartbeat_min, 120);
    assert_int_equal(c->ping.folders_max, 7);
    assert_int_equal(c->admin.listen.count, 1);
    assert_string_equal(c->admin.listen.name[0], ":8443");
    snprintf(file, sizeof file, "%s/a.pem", dir);
    assert_string_equal(c->admin.certificate, file);
    assert_string_equal(c->admin.key, "/k.pem");
    assert_string_equal(c->admin.socket, "/run/provost/admin.sock");
    assert_true(c->require_device_information);
    assert_false(c->damping);
    assert_int_equal(c->audit.rotate_size, 65536);
    assert_int_equal(c->audit.keep, 12);
    snprintf(file, sizeof file, "%s/tell", dir);
    assert_string_equal(c->notify.program, file);
    assert_string_equal(c->notify.url, "https://x/y");
    assert_int_equal(c->notify.events.count, 1);
    assert_string_equal(c->notify.events.name[0], "wipe-failed");
    config_free(c);
}

static void test_gateway(void **state)
{
    (void)state;
    char error[512], file[80];
    write_to(path, "upstream = { url = \"http://x:1/SOGo\"; ca_file = \"ca.pem\"; timeout = 7;\n"
                   "domains = ( { domain = \"a.org\"; url = \"https://a\"; },\n"
                   "{ url = \"https://b/c\"; domain = \"b.org\"; } ); };\n");
    struct config *c = config_load(path, error, sizeof error);
    if (!c)
        fail_msg("%s", error);
    assert_true(config_is_gateway(c));
    assert_string_equal(c->auth.method.name[0], "upstream");
    assert_string_equal(c->upstream.url, "http://x:1/SOGo");
    snprintf(file, sizeof file, "%s/ca.pem", dir);
    assert_string_equal(c->upstream.ca_file, file);
    assert_int_equal(c->upstream.timeout, 7);
    assert_int_equal(c->upstream.connect_timeout, 5);
    assert_null(c->upstream.user_field);
    assert_int_equal(c->upstream.domains.count, 2);
    assert_string_equal(c->upstream.domains.at[1].domain, "b.org");
    assert_string_equal(c->upstream.domains.at[1].url, "https://b/c");
    config_free(c);
    write_to(path, "");
    c = config_load(path, error, sizeof error);
    assert_false(config_is_gateway(c));
    config_free(c);
}

/* want: what stands behind the file's name. */
static const struct {
    const char *text, *want;
} wrong[] = {
    { "\nlisen = 1;", ":2: unknown key lisen; allowed: listen, proxies, url, tls, state, store, store_lease, " },
    { "auth = { fil = \"x\"; };",
      ":1: unknown key auth.fil; allowed: method, file, case_sensitive, cache_seconds" },
    { "mailbox = { special = { spam = \"x\"; }; };",
      ":1: unknown key mailbox.special.spam; allowed: drafts, trash" },
    { "auth = \"file\";", ":1: auth must be a group: { ... }" },
    { "\n\nstate = 5;", ":3: state must be a path in quotes" },
    { "state = \"\";", ":1: state must not be empty" },
    { "domain = true;", ":1: domain must be a text in quotes" },
    { "workers = \"2\";", ":1: workers must be a number" },
    { "workers = 2.5;", ":1: workers must be a number" },
    { "workers = -1;", ":1: workers is -1; allowed: 0 to 256 threads" },
    { "workers = 257;", ":1: workers is 257; allowed: 0 to 256 threads" },
    { "body_max = 99999999999L;", ":1: body_max is 99999999999; allowed: 4096 to 67108864 bytes" },
    { "require_device_information = 1;", ":1: require_device_information must be true or false" },
    { "log_level = \"loud\";", ":1: log_level is \"loud\"; allowed: error warn info debug" },
    { "log_level = \"inf\";", ":1: log_level is \"inf\"; allowed: error warn info debug" },
    { "store = \"mysql://db/x\";",
      ":1: store is \"mysql://db/x\"; allowed: sqlite postgresql://* postgres://*" },
    { "store = \"postgress://u:geheim@db/x\";", ":1: store is \"postgress...\"; allowed: sqlite " },
    { "store = \"mysql://db/x?password=geheim\";", ":1: store is \"mysql...\"; allowed: sqlite " },
    { "store = \"paper\";", ":1: store is \"paper\"; allowed: sqlite" },
    { "auth = { method = \"paper\"; };",
      ":1: auth.method has \"paper\"; allowed: file" },
    { "auth = { method = \"imap\"; };",
      ":1: auth.method \"imap\" needs auth.imap.url" },
    { "auth = { method = \"imap\"; imap = { url = \"http://h\"; }; };",
      ":1: auth.imap.url must be imaps://HOST or imap://HOST" },
    { "auth = { method = \"imap\"; imap = { url = \"imaps://ann@h\"; }; };",
      ":1: auth.imap.url must be imaps://HOST" },
    { "auth = { method = \"imap\"; imap = { url = \"imaps://h\"; user = \"%n\"; }; };",
      ":1: auth.imap.user must have %u, or both %n and %d" },
    { "auth = { method = \"imap\"; imap = { url = \"imaps://h\"; user = \"%u%x\"; }; };",
      ":1: auth.imap.user has \"%x\"; allowed: %u, %n, %d, %%" },
    { "auth = { method = [\"file\", \"ldap\"]; ldap = { base = \"dc=x\"; }; };",
      ":1: auth.method \"ldap\" needs auth.ldap.url" },
    { "auth = { method = \"ldap\"; ldap = { url = \"https://h\"; base = \"x\"; }; };",
      ":1: auth.ldap.url must be ldaps://HOST, ldap://HOST or ldapi://PATH" },
    { "auth = { method = \"ldap\"; ldap = { url = \"ldap://h ldaps://h\"; base = \"x\"; }; };",
      ":1: auth.ldap.url must be ldaps://HOST" },
    { "auth = { method = \"ldap\"; ldap = { url = \"ldaps://h\"; }; };",
      ":1: auth.method \"ldap\" needs either auth.ldap.user_dn or auth.ldap.base" },
    { "auth = { method = \"ldap\"; ldap = { url = \"ldaps://h\"; base = \"x\"; user_dn = \"uid=%n\"; }; };",
      ":1: auth.method \"ldap\" needs either auth.ldap.user_dn or auth.ldap.base" },
    { "auth = { method = \"ldap\"; ldap = { url = \"ldaps://h\"; base = \"x\"; bind_dn = \"cn=a\"; }; };",
      ":1: auth.ldap needs both bind_dn and bind_password_file" },
    { "auth = { method = \"ldap\"; ldap = { url = \"ldaps://h\"; user_dn = \"uid=%n\"; bind_dn = \"cn=a\"; bind_password_file = \"f\"; }; };",
      ":1: auth.ldap.bind_dn is for a search" },
    { "auth = { method = \"ldap\"; ldap = { url = \"ldaps://h\"; user_dn = \"uid=%z\"; }; };",
      ":1: auth.ldap.user_dn has \"%z\"; allowed" },
    { "auth = { method = \"ldap\"; ldap = { url = \"ldaps://h\"; base = \"x\"; filter = \"(uid=%)\"; }; };",
      ":1: auth.ldap.filter has \"%)\"; allowed" },
    { "auth = { method = \"ldap\"; ldap = { url = \"ldaps://h\"; base = \"x\"; name = \"\"; }; };",
      ":1: auth.ldap.name must not be empty" },
    { "auth = { method = \"pam\"; pam = { service = \"../x\"; }; };",
      ":1: auth.pam.service must be the name of a file in /etc/pam.d" },
    { "auth = { method = \"pam\"; pam = { service = \"\"; }; };",
      ":1: auth.pam.service must be the name of a file in /etc/pam.d" },
    { "auth = { timeout = 0; };",
      ":1: auth.timeout is 0; allowed: 1 to 120 seconds" },
    { "quarantine = { text = \"%x\"; };",
      ":1: quarantine.text has \"%x\"; allowed: %u, %d, %t, %%" },
    { "quarantine = { subject = \"100%\"; };", ":1: quarantine.subject has \"%\"; allowed: %u" },
    { "quarantine = { text = \"\\xff\"; };", ":1: quarantine.text is no UTF-8 text" },
    { "quarantine = 1;", ":1: quarantine must be a group: { ... }" },
    { "devices_per_user = -1;", ":1: devices_per_user is -1; allowed: 0 to 100000 devices" },
    { "protocol_version_min = \"13.0\";",
      ":1: protocol_version_min is \"13.0\"; allowed: 2.5 12.0 12.1 14.0 14.1 16.0 16.1" },
    { "protocol_version_max = \"12.1\";\nprotocol_version_min = \"14.0\";",
      ":2: protocol_version_min is 14.0, above protocol_version_max, 12.1" },
    { "protocol_version_max = \"2.5\";\nprotocol_version_min = \"12.0\";",
      ":2: protocol_version_min is 12.0, above protocol_version_max, 2.5" },
    { "groups = { sales = \"a\"; };", ":1: groups must be a group of lists: { name = [ ... ]; }" },
    { "groups = { sales = [ 1 ]; };", ":1: groups must be a group of lists: { name = [ ... ]; }" },
    { "groups = [ \"a\" ];", ":1: groups must be a group of lists: { name = [ ... ]; }" },
    { "auth = { method = \"oauth\"; };", ":1: auth.method \"oauth\" needs auth.oauth.issuer" },
    { "auth = { method = \"oauth\"; oauth = { issuer = \"https://i\"; }; };",
      ":1: auth.method \"oauth\" needs auth.oauth.audience" },
    { "auth = { method = \"oauth\"; oauth = { issuer = \"http://i\"; audience = \"a\"; }; };",
      ":1: auth.oauth.issuer is not https://, so auth.oauth.keys must tell where" },
    { "auth = { method = \"oauth\"; oauth = { issuer = \"i\"; audience = \"a\";\n"
      "keys = \"http://192.0.2.1/k\"; }; };",
      ":2: auth.oauth.keys must be https://, or a path that begins with a slash" },
    { "auth = { method = \"oauth\"; oauth = { issuer = \"i\"; audience = \"a\"; keys = \"/k\";\n"
      "algorithms = [\"RS256\", \"HS256\"]; }; };",
      ":2: auth.oauth.algorithms has \"HS256\"; allowed: RS256 RS384" },
    { "auth = { method = \"oauth\"; oauth = { issuer = \"i\"; audience = \"a\"; keys = \"/k\";\n"
      "authorization_url = \"https://x\\\"y\"; }; };",
      ":2: auth.oauth.authorization_url must be https://" },
    { "auth = {\n method = \"certificate\"; };",
      ":2: auth.method \"certificate\" needs tls.client_ca: nobody is asked for one" },
    { "upstream = { url = \"http://x\"; };\nauth = { method = [\"upstream\", \"oauth\", \"file\"];\n"
      "oauth = { issuer = \"https://x\"; audience = \"a\"; }; };",
      ":2: auth.method \"file\" would never be asked: \"upstream\" before it takes the same" },
    { "auth = { certificate = { name = \"dn\"; }; };",
      ":1: auth.certificate.name is \"dn\"; allowed: email upn cn" },
    { "tls = { certificate = \"c\"; key = \"k\";\n client_crl = \"l\"; };",
      ":2: tls.client_crl needs tls.client_ca" },
    { "forward_auth = { path = \"auth\"; };",
      ":1: forward_auth.path \"auth\" is not a path of its own" },
    { "forward_auth = { path = \"/microsoft-server-activesync\"; };",
      ":1: forward_auth.path \"/microsoft-server-activesync\" is not a path of its own" },
    { "forward_auth = { path = \"/a?b\"; };", ":1: forward_auth.path \"/a?b\" is not" },
    { "upstream = {\n url = \"x\"; };", ":2: upstream.url \"x\" is not https:// or http://" },
    { "upstream = { url = \"http://u:p@x\"; };", ":1: upstream.url \"http://u:p@x\" is not" },
    { "upstream = { url = \"http://x/?q\"; };", ":1: upstream.url \"http://x/?q\" is not" },
    { "upstream = { timeout = 5; };", ":1: upstream has no server: upstream.url is missing" },
    { "upstream = { url = \"http://x\"; };\nmailbox = { };",
      ":2: mailbox and upstream exclude each other" },
    { "upstream = { url = \"http://x\"; key = \"k\"; };", ":1: upstream needs both certificate" },
    { "upstream = { url = \"http://x\";\n user_field = \"a b\"; };",
      ":2: upstream.user_field \"a b\" is no header field for that" },
    { "upstream = { url = \"http://x\"; user_field = \"authorization\"; };",
      ":1: upstream.user_field \"authorization\" is no" },
    { "upstream = { url = \"http://x\"; user_field = \"X_MS-User\"; };",
      ":1: upstream.user_field \"X_MS-User\" is no" },
    { "upstream = { domains = 1; };",
      ":1: upstream.domains must be a list of groups: ( { domain = \"...\"; url = \"...\"; }, ... )" },
    { "upstream = { domains = ( { domain = \"a\"; } ); };",
      ":1: upstream.domains must be a list of groups" },
    { "upstream = { domains = ( { domain = \"a\"; url = \"http://x\"; more = 1; } ); };",
      ":1: upstream.domains must be a list of groups" },
    { "upstream = { domains = ( { domain = \"a\"; url = \"x\"; } ); };",
      ":1: upstream.domains \"x\" is not https:// or http://" },
    { "upstream = { domains = ( { domain = \"a@b\"; url = \"http://x\"; } ); };",
      ":1: upstream.domains has the domain \"a@b\"" },
    { "upstream = { domains = ( { domain = \"a\"; url = \"http://x\"; },\n"
      " { domain = \"A\"; url = \"http://y\"; } ); };",
      ":1: upstream.domains has \"A\" twice" },
    { "\nurl = \"mail.example.org\";",
      ":2: url \"mail.example.org\" is not https:// or http:// with a host" },
    { "listen = 8080;", ":1: listen must be a text in quotes or a list of them" },
    { "listen = [8080];", ":1: listen must be a text in quotes or a list of them" },
    { "listen = [];", ":1: listen has 0 entries; allowed: 1 to 64" },
    { "listen = \"nowhere\";", ":1: listen \"nowhere\" is not an address and port" },
    { "listen = \"127.0.0.1:99999\";", ":1: listen \"127.0.0.1:99999\" is not an address" },
    { "\nproxies = (\"10.0.0.0/8\", \"10.0.0.0/33\");", ":2: proxies: \"10.0.0.0/33\" is no address or network" },
    { "tls = {\n client_ca = \"ca.pem\"; };", ":2: tls.client_ca needs tls.certificate and tls.key" },
    { "proxies = \"10.1.2.3/8\";", ":1: proxies: \"10.1.2.3/8\" has bits behind its prefix" },
    { "listen = \"127.0.0.1:80a\";", ":1: listen \"127.0.0.1:80a\" is not an address" },
    { "mailbox = {\n path = \"/m/%x\"; };", ":2: mailbox.path has \"%x\"; allowed: %u, %n, %d" },
    { "mailbox = { path = \"/m/%\"; };", ":1: mailbox.path has \"%\"; allowed: %u, %n, %d" },
    { "audit = { rotate_size = 1; };",
      ":1: audit.rotate_size is 1; allowed: 4096 to 1073741824 bytes" },
    { "notify = { events = [\"wiped\"]; };",
      ":1: notify.events has \"wiped\"; allowed: quarantined wipe-acknowledged wipe-failed" },
    { "notify = {\n url = \"ftp://x/secret\"; };",
      ":2: notify.url must begin with http:// or https://" },
    { "\ntls = { certificate = \"c\"; };", ":2: tls needs both certificate and key" },
    { "\nadmin = { key = \"c\"; };", ":2: admin needs both certificate and key" },
    { "admin = {\n listen = \"127.0.0.1:8443\"; };",
      ":1: admin.listen is served over TLS only: admin.certificate and admin.key are missing" },
    { "admin = { certificate = \"c\"; key = \"k\";\n listen = [\":1\", \"/run/x.sock\"]; };",
      ":2: admin.listen \"/run/x.sock\" is not an address and port" },
    { "\n\nping = { heartbeat_min = 600; heartbeat_max = 300; };",
      ":3: ping.heartbeat_min is 600, more than ping.heartbeat_max, 300" },
    { "domain;", ":1: syntax error" },
    { "domain = \"a\"; domain = \"b\";", ":1: duplicate setting name" },
    { "domain = \"abc;\n", ":" },
};

static void test_every_error(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char error[1024], want[512];
        write_to(path, wrong[i].text);
        snprintf(want, sizeof want, "%s%s", path, wrong[i].want);
        struct config *c = config_load(path, error, sizeof error);
        if (c || strncmp(error, want, strlen(want)) != 0)
            fail_msg("%s\n    gave: %s\n    want: %s", wrong[i].text, c ? "no error" : error, want);
    }
}

static void test_all_errors_are_told(void **state)
{
    (void)state;
    char error[1024];
    const char *second;
    write_to(path, "lisen = 1;\nworkers = -1;\nauth = { x = 1; };\n");
    assert_null(config_load(path, error, sizeof error));
    assert_non_null(strstr(error, ":1: unknown key lisen"));
    assert_non_null(second = strstr(error, "\n"));
    assert_non_null(strstr(second, ":2: workers is -1"));
    assert_non_null(strstr(second, ":3: unknown key auth.x"));
}

static void test_error_in_an_included_file(void **state)
{
    (void)state;
    char error[512];
    write_to(included, "\nworkers = 1000;\n");
    write_to(path, "@include \"more.conf\"\n");
    assert_null(config_load(path, error, sizeof error));
    assert_non_null(strstr(error, "more.conf:2: workers is 1000"));
}

static void test_no_file(void **state)
{
    (void)state;
    char error[512], want[128];
    assert_null(config_load("/nowhere/provost.conf", error, sizeof error));
    assert_string_equal(error, "/nowhere/provost.conf: No such file or directory");
    assert_null(config_load(dir, error, sizeof error));
    snprintf(want, sizeof want, "%s: not a file", dir);
    assert_string_equal(error, want);
}

/* The server that holds the mail verifies the logins, unless another is named. */
static void test_imap_mailbox(void **state)
{
    (void)state;
    char error[512];
    write_to(path, "mailbox = { type = \"imap\"; url = \"imaps://a\"; ca_file = \"/ca\"; user = \"x%u\"; };");
    struct config *c = config_load(path, error, sizeof error);
    assert_non_null(c);
    assert_string_equal(c->auth.method.name[0], "imap");
    assert_string_equal(c->auth.imap.url, "imaps://a");
    assert_string_equal(c->auth.imap.ca_file, "/ca");
    assert_string_equal(c->auth.imap.user, "x%u");
    config_free(c);
    write_to(path, "mailbox = { type = \"imap\"; url = \"imaps://a\"; ca_file = \"/ca\"; };\n"
                   "auth = { imap = { url = \"imaps://b\"; }; };");
    c = config_load(path, error, sizeof error);
    assert_non_null(c);
    assert_string_equal(c->auth.imap.url, "imaps://b");
    assert_null(c->auth.imap.ca_file);
    config_free(c);
}

/* Whoever names the file by a relative path has the same paths in it. */
static void test_relative_file(void **state)
{
    (void)state;
    char error[512], here[512], want[128];
    const char *const names[] = {"provost.conf", "./provost.conf"};
    write_to(path, "admin = { socket = \"admin.sock\"; };");
    assert_non_null(getcwd(here, sizeof here));
    assert_int_equal(chdir(dir), 0);
    for (size_t i = 0; i < 2; i++) {
        struct config *c = config_load(names[i], error, sizeof error);
        assert_non_null(c);
        assert_string_equal(c->file, names[i]);
        snprintf(want, sizeof want, "%s%s/admin.sock", dir, i == 0 ? "" : "/.");
        assert_string_equal(c->admin.socket, want);
        config_free(c);
    }
    assert_int_equal(chdir(here), 0);
}

/* However short the buffer for the message is. */
static void test_short_buffers(void **state)
{
    (void)state;
    char full[1024];
    write_to(path, "lisen = 1;\nworkers = -1;\n");
    assert_null(config_load(path, full, sizeof full));
    for (size_t cap = 1; cap < 200; cap++) {
        char *error = malloc(cap);
        assert_null(config_load(path, error, cap));
        assert_true(strlen(error) < cap);
        assert_memory_equal(error, full, strlen(error));
        free(error);
    }
}

/* ---- reading it again ---- */

static struct config *loaded(const char *text)
{
    char error[512];
    write_to(path, text);
    struct config *c = config_load(path, error, sizeof error);
    if (!c)
        fail_msg("%s", error);
    return c;
}

static struct config *read_again(const struct config *c, const char *text,
                                 struct config_text *waiting)
{
    char error[512];
    write_to(path, text);
    struct config *fresh = config_reload(c, waiting, error, sizeof error);
    if (!fresh)
        fail_msg("%s", error);
    return fresh;
}

static void test_another_one_takes_its_place(void **state)
{
    (void)state;
    struct config_text waiting, changed;
    struct config *c = loaded("workers = 2; ping = { folders_max = 7; };");
    assert_ptr_equal(config_now(c), c);
    struct config *fresh = read_again(
        c, "workers = 3; listen = \":1\"; ping = { folders_max = 8; }; node = \"n\";", &waiting);
    assert_string_equal(waiting.text, "listen, node, workers");
    config_changes(c, fresh, &changed);
    assert_string_equal(changed.text, "ping.folders_max");
    assert_true(config_differs(c, fresh, "ping."));
    assert_true(config_differs(c, fresh, ""));
    assert_false(config_differs(c, fresh, "auth."));
    assert_ptr_equal(config_now(c), c);
    config_put_in_force(fresh);
    assert_ptr_equal(config_now(c), fresh);
    assert_int_equal(fresh->ping.folders_max, 8);
    /* What waits for a restart is as it was, and the one before is still there. */
    assert_int_equal(fresh->workers, 2);
    assert_string_equal(fresh->listen.name[0], "127.0.0.1:8080");
    assert_null(fresh->node);
    assert_int_equal(c->ping.folders_max, 7);
    fresh = read_again(c, "workers = 2; ping = { folders_max = 9; };", &waiting);
    assert_string_equal(waiting.text, "");
    config_drop(fresh);
    assert_int_equal(config_now(c)->ping.folders_max, 8);
    config_free(c);
}

/* By default the mailbox verifies logins; it stays another one until the next start. */
static void test_defaults_hang_on_what_stays(void **state)
{
    (void)state;
    struct config_text waiting;
    struct config *c = loaded("");
    struct config *fresh =
        read_again(c, "mailbox = { type = \"imap\"; url = \"imaps://h\"; };", &waiting);
    assert_string_equal(waiting.text, "mailbox.type, mailbox.url");
    assert_string_equal(fresh->auth.method.name[0], "file");
    config_drop(fresh);
    config_free(c);
}

static void test_tls_is_not_turned_on(void **state)
{
    (void)state;
    struct config_text waiting;
    static const char with[] = "tls = { certificate = \"/c\"; key = \"/k\"; client_ca = \"/a\"; };";
    struct config *c = loaded(""), *fresh = read_again(c, with, &waiting);
    assert_string_equal(waiting.text, "tls.certificate, tls.key, tls.client_ca");
    assert_null(fresh->tls_certificate);
    assert_null(fresh->tls_client_ca);
    config_drop(fresh);
    config_free(c);
    c = loaded(with);
    fresh = read_again(c, "tls = { certificate = \"/d\"; key = \"/k\"; };", &waiting);
    assert_string_equal(waiting.text, "");
    assert_string_equal(fresh->tls_certificate, "/d");
    assert_null(fresh->tls_client_ca);
    config_drop(fresh);
    config_free(c);
}

static void test_a_bad_one_changes_nothing(void **state)
{
    (void)state;
    char error[512];
    struct config_text waiting;
    struct config *c = loaded("workers = 2;");
    write_to(path, "workers = 2;\nping = { folders_max = 0; };");
    assert_null(config_reload(c, &waiting, error, sizeof error));
    assert_non_null(strstr(error, "provost.conf:2: ping.folders_max is 0; allowed: 1 to 1000"));
    assert_ptr_equal(config_now(c), c);
    config_free(c);
}

/* They outlive the configuration for whoever holds them, and the same ones are known by their block. */
static void test_groups_are_held(void **state)
{
    (void)state;
    struct config_text waiting;
    struct config *c = loaded("groups = { a = [\"x\", \"y\"]; b = []; };");
    const struct config_groups held = config_groups_now(c);
    struct config *fresh = read_again(
        c, "damping = false; groups = { a = [\"x\", \"y\"]; b = []; };", &waiting);
    assert_ptr_equal(fresh->groups.block, held.block);
    config_put_in_force(fresh);
    fresh = read_again(c, "groups = { a = [\"x\", \"z\"]; b = []; };", &waiting);
    assert_ptr_not_equal(fresh->groups.block, held.block);
    config_put_in_force(fresh);
    const struct config_groups now = config_groups_now(c);
    assert_string_equal(now.group[0].user[1], "z");
    assert_string_equal(held.group[0].user[1], "y");
    assert_int_equal(held.block->holders, 1);
    config_groups_release(&held);
    config_groups_release(&now);
    config_free(c);
}

static void test_files_that_change(void **state)
{
    (void)state;
    struct config_text waiting;
    write_to(included, "damping = false;\n");
    struct config *c = loaded("workers = 1;\n@include \"more.conf\"\n");
    assert_false(config_is_outdated(c));
    write_to(included, "damping = false; \n");
    assert_true(config_is_outdated(c));
    struct config *fresh = read_again(c, "workers = 1;\n@include \"more.conf\"\n", &waiting);
    assert_false(config_differs(c, fresh, ""));
    config_confirm(c, fresh);
    assert_false(config_is_outdated(c));
    unlink(included);
    assert_true(config_is_outdated(c));
    config_free(c);
}

static void test_changes_have_an_end(void **state)
{
    (void)state;
    char error[512], text[64];
    struct config_text waiting;
    struct config *c = loaded("");
    for (unsigned i = 1; i <= CONFIG_CHANGES_MAX; i++) {
        snprintf(text, sizeof text, "idle_timeout = %u;", i);
        config_put_in_force(read_again(c, text, &waiting));
        assert_int_equal(config_now(c)->idle_timeout, i);
    }
    assert_null(config_reload(c, &waiting, error, sizeof error));
    assert_non_null(strstr(error, "it was changed 1000 times since the start; restart the server"));
    config_free(c);
}

static void test_names_that_are_too_many(void **state)
{
    (void)state;
    struct config_text changed;
    struct config *c = loaded("");
    struct config other = *c;
    memset((char *)&other + sizeof other.line, 0, sizeof other - sizeof other.line);
    other.state = other.store = other.domain = other.log_level = "x";
    config_changes(c, &other, &changed);
    assert_true(strlen(changed.text) < sizeof changed.text);
    assert_string_equal(changed.text + strlen(changed.text) - 5, ", ...");
    config_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_gateway),
        cmocka_unit_test(test_every_error),
        cmocka_unit_test(test_all_errors_are_told),
        cmocka_unit_test(test_error_in_an_included_file),
        cmocka_unit_test(test_no_file),
        cmocka_unit_test(test_imap_mailbox),
        cmocka_unit_test(test_relative_file),
        cmocka_unit_test(test_short_buffers),
        cmocka_unit_test(test_another_one_takes_its_place),
        cmocka_unit_test(test_defaults_hang_on_what_stays),
        cmocka_unit_test(test_tls_is_not_turned_on),
        cmocka_unit_test(test_a_bad_one_changes_nothing),
        cmocka_unit_test(test_groups_are_held),
        cmocka_unit_test(test_files_that_change),
        cmocka_unit_test(test_changes_have_an_end),
        cmocka_unit_test(test_names_that_are_too_many),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}

/* provost connect: what is asked for, and the run from beginning to end. */
#include "src/cli/connect.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/cli/password.h"
#include "src/cli/text.h"
#include "src/lib/base/text.h"

enum { PROFILE_MAX = 64 * 1024 };

/* ---- options ---- */

/* letter, name, argument ("" none), member of connect_options, sentence */
#define TEXT_OPTIONS(X)                                                                    \
    X('u', "user", "USER", user, "name to log in with")                                    \
    X('f', "password-file", "FILE", password_file,                                         \
      "first line is the password; else terminal or standard input")                       \
    X('v', "version", "VERSION", version,                                                  \
      "protocol version; else the highest that both sides speak")                          \
    X('d', "device-id", "ID", device_id,                                                   \
      "1 to 32 letters and digits; else one made at random and kept")                      \
    X('t', "device-type", "TYPE", device_type, "1 to 32 letters and digits; else Provost") \
    X('P', "profile", "FILE", profile, "what the device can keep; else everything")        \
    X('w', "wipe-hook", "PROGRAM", hook,                                                   \
      "carries out a wipe: KIND USER DEVICE SERVER; exit 0 done, 1 failed")                \
    X('c', "ca-file", "FILE", ca_file, "certificates to trust instead of the system's")    \
    X('S', "state-dir", "DIR", state_dir, "where keys are kept; else $XDG_STATE_HOME/provost")
#define FLAG_OPTIONS(X)                                                               \
    X('W', "watch", watch, "stay in Ping afterwards, provision again whenever asked") \
    X('T', "trace", trace, "show headers and decoded bodies, secrets hidden")         \
    X('j', "json", json, "print one JSON document at the end and nothing else")       \
    X('i', "insecure", insecure, "do not check the server's certificate")             \
    X('p', "proactive", proactive, "ask for the policy first, for servers that never ask")

void connect_print_options(void)
{
#define PRINT(letter, name, argument, member, says) \
    printf("  --%s %s\n      %s\n", name, argument, says);
    TEXT_OPTIONS(PRINT)
#undef PRINT
    printf("  --query plain|base64\n      form of the request line; else plain\n");
#define PRINT(letter, name, member, says) printf("  --%s\n      %s\n", name, says);
    FLAG_OPTIONS(PRINT)
#undef PRINT
}

static enum cli_exit usage(void)
{
    return cli_fail(CLI_USAGE, "usage: provost connect URL -u USER [OPTIONS] "
                               "(provost --help lists them)");
}

static bool take_option(struct connect_options *o, int letter, const char *value)
{
    switch (letter) {
#define TAKE(l, name, argument, member, says) \
    case l: o->member = value; return true;
        TEXT_OPTIONS(TAKE)
#undef TAKE
#define TAKE(l, name, member, says) \
    case l: o->member = true; return true;
        FLAG_OPTIONS(TAKE)
#undef TAKE
    case 'q':
        o->base64 = strcmp(value, "base64") == 0;
        return o->base64 || strcmp(value, "plain") == 0;
    default: return false;
    }
}

static bool is_name(const char *text, size_t most)
{
    size_t len = strlen(text);
    for (size_t i = 0; i < len; i++)
        if (!pv__is_alnum((unsigned char)text[i])) return false;
    return len > 0 && len <= most;
}

static enum cli_exit read_options(int argc, char **argv, struct connect_options *o)
{
    static const struct option options[] = {
#define ROW(letter, name, argument, member, says) {name, required_argument, NULL, letter},
        TEXT_OPTIONS(ROW)
#undef ROW
#define ROW(letter, name, member, says) {name, no_argument, NULL, letter},
            FLAG_OPTIONS(ROW)
#undef ROW
                {"query", required_argument, NULL, 'q'},
        {NULL, 0, NULL, 0}};
    int letter;
    optind = 0; /* start anew: main has used it */
    opterr = 0;
    while ((letter = getopt_long(argc, argv, "u:", options, NULL)) != -1)
        if (!take_option(o, letter, optarg)) return usage();
    if (argc - optind != 1 || o->user == NULL || o->user[0] == '\0') return usage();
    o->url = argv[optind];
    if (!pv__utf8_valid((const uint8_t *)o->user, strlen(o->user)))
        return cli_fail(CLI_USAGE, "the user's name is no UTF-8 text");
    //= RFC 7617 2: a colon ends the name
    if (strchr(o->user, ':')) return cli_fail(CLI_USAGE, "a user's name has no colon in it");
    if (o->device_id && !is_name(o->device_id, PV_DEVICE_ID_MAX))
        return cli_fail(CLI_USAGE, "--device-id: 1 to %d letters and digits", PV_DEVICE_ID_MAX);
    if (!is_name(o->device_type, PV_DEVICE_TYPE_MAX))
        return cli_fail(CLI_USAGE, "--device-type: 1 to %d letters and digits", PV_DEVICE_TYPE_MAX);
    return CLI_DONE;
}

/* Everything that is wrong with what was asked for is found before anything is sent. */
static enum cli_exit check_options(const struct connect_options *o, struct session *s)
{
    const char *why = url_parse(o->url, &s->eas.url);
    if (why) return cli_fail(CLI_USAGE, "the URL is no server's: %s", why);
    s->client.version = PV_VERSION_COUNT; /* to be found out */
    if (o->version && !pv_version_parse(o->version, strlen(o->version), &s->client.version))
        return cli_fail(CLI_USAGE, "--version: 2.5, 12.0, 12.1, 14.0, 14.1, 16.0 or 16.1");
    //= MS-ASHTTP 2.2.1.1.1.1: the base64 query exists from 12.1 on
    if (o->version && o->base64 && s->client.version < PV_V12_1)
        return cli_fail(CLI_USAGE, "--query base64 needs version 12.1 or later");
    if (o->ca_file && access(o->ca_file, R_OK) != 0)
        return cli_fail(CLI_USAGE, "--ca-file: %s: %s", o->ca_file, strerror(errno));
    /* A name without a slash is looked for in $PATH when it is run. */
    if (o->hook && strchr(o->hook, '/') && access(o->hook, X_OK) != 0)
        return cli_fail(CLI_USAGE, "--wipe-hook: %s: %s", o->hook, strerror(errno));
    return CLI_DONE;
}

/* ---- beginning ---- */

static enum cli_exit read_profile(const char *path, struct pv_profile *out)
{
    char message[256];
    size_t len = 0;
    ssize_t got = 1;
    if (path == NULL) return CLI_DONE; /* zeroed: everything can be kept */
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return cli_fail(CLI_USAGE, "%s: %s", path, strerror(errno));
    char *text = malloc(PROFILE_MAX + 1);
    while (text && got > 0 && len <= PROFILE_MAX) {
        got = read(fd, text + len, PROFILE_MAX + 1 - len);
        if (got > 0) len += (size_t)got;
    }
    close(fd);
    enum cli_exit code = CLI_DONE;
    if (text == NULL || got < 0 || len > PROFILE_MAX)
        code = cli_fail(CLI_USAGE, "%s: it cannot be read, or is longer than %d bytes", path,
                        PROFILE_MAX);
    else if (pv_profile_read(text, len, out, message, sizeof message) != PV_OK)
        code = cli_fail(CLI_USAGE, "%s: %s", path, message);
    free(text);
    return code;
}

static volatile sig_atomic_t stop;

static void on_signal(int number)
{
    (void)number;
    stop = 1;
}

static void note(void *ctx, const char *sentence)
{
    struct session *s = ctx;
    report_note(&s->report, sentence);
}

static enum cli_exit open_transport(struct session *s)
{
    const struct connect_options *o = s->options;
    char password[PASSWORD_MAX];
    enum cli_exit code = password_read(o->password_file, false, password);
    s->eas.user = o->user;
    s->eas.device_id = s->keys.device_id;
    s->eas.device_type = o->device_type;
    s->eas.ca_file = o->ca_file;
    s->eas.insecure = o->insecure;
    s->eas.form = o->base64 ? PV_QUERY_BASE64 : PV_QUERY_PLAIN;
    s->eas.stop = &stop;
    s->eas.note = note;
    s->eas.ctx = s;
    if (code == CLI_DONE && !eas_open(&s->eas, password)) code = cli_fail(CLI_FAILED, "no memory");
    explicit_bzero(password, sizeof password);
    return code;
}

static enum cli_exit open_session(struct session *s)
{
    const struct connect_options *o = s->options;
    char server[2 * URL_MAX];
    snprintf(server, sizeof server, "%s%s", s->eas.url.origin, s->eas.url.path);
    enum cli_exit code = read_profile(o->profile, &s->profile);
    if (code == CLI_DONE) code = keys_open(&s->keys, o->state_dir, server, o->user, o->device_id);
    if (code == CLI_DONE) code = open_transport(s);
    if (code != CLI_DONE) return code;
    if (s->keys.location[0]) {
        struct server_url moved;
        /* The rule of a 451 holds for what was kept of one too: https never leads to http. */
        if (url_parse(s->keys.location, &moved) == NULL && (moved.https || !s->eas.url.https)) {
            s->given = s->eas.url;
            s->eas.url = moved;
            s->at_kept_address = true;
        }
    }
    if (pv_arena_create(&s->arena, EXCHANGE_ARENA_SIZE) != PV_OK ||
        pv_arena_create(&s->offer_arena, POLICY_ARENA_SIZE) != PV_OK ||
        !report_begin(&s->report, o->json, o->trace))
        return cli_fail(CLI_FAILED, "no memory");
    s->client.key = s->keys.key;
    s->client.proactive = o->proactive;
    s->eas.trace = s->report.stream;
    folders_reset(&s->folders);
    if (o->insecure)
        fprintf(stderr, "provost: WARNING: the server's certificate is NOT checked (--insecure); "
                        "anybody on the way can read the password\n");
    return CLI_DONE;
}

static void close_session(struct session *s)
{
    eas_close(&s->eas);
    keys_close(&s->keys);
    folders_reset(&s->folders);
    pv_arena_destroy(&s->arena);
    pv_arena_destroy(&s->offer_arena);
}

/* ---- versions ---- */

static enum cli_exit judge_options(struct session *s, const struct eas_answer *a)
{
    switch (a->http) {
    case 200: break;
    case 401:
        return session_fail(s, CLI_CREDENTIALS,
                            "bad credentials: the server does not accept "
                            "the user's name or password (HTTP 401)");
    case 403: return session_fail(s, CLI_BLOCKED, "blocked: the server forbids it (HTTP 403)");
    case 503:
        return session_fail(s, CLI_UNREACHABLE, "the server asks to come back later (HTTP 503)");
    default:
        return session_fail(s, CLI_PROTOCOL, "OPTIONS is answered with HTTP %u%s", a->http,
                            a->http == 404 ? ": is there ActiveSync at this address?" : "");
    }
    if (!pv_version_highest(a->versions, PV_V16_1, &s->client.version))
        return session_fail(s, CLI_PROTOCOL, "the server names no version that is known here");
    if (s->eas.form == PV_QUERY_BASE64 && s->client.version < PV_V12_1)
        return session_fail(s, CLI_PROTOCOL,
                            "the server speaks no version that has the base64 query");
    return CLI_DONE;
}

enum cli_exit session_options(struct session *s)
{
    struct eas_answer a;
    struct exchange x = {.name = "options", .command = "OPTIONS", .does = "", .status_name = ""};
    report_request(&s->report, &x);
    enum eas_result result = eas_options(&s->eas, &a);
    if (session_leave_kept_address(s, result, &a)) result = eas_options(&s->eas, &a);
    enum cli_exit code = session_transport(s, result);
    x.http = code == CLI_DONE ? a.http : 0;
    report_answer(&s->report, &x);
    if (code != CLI_DONE) return code;
    code = judge_options(s, &a);
    if (code == CLI_DONE) report_versions(&s->report, &a);
    return code;
}

/* ---- the run ---- */

static enum cli_exit run(struct session *s)
{
    struct folder_changes changes;
    enum cli_exit code = CLI_DONE;
    report_session(&s->report, &s->eas);
    if (s->options->version == NULL) code = session_options(s);
    s->eas.version = s->client.version;
    if (code == CLI_DONE) report_version(&s->report, s->client.version);
    if (code == CLI_DONE) code = session_folders(s, false, &changes);
    if (code != CLI_DONE) return code;
    report_folders(&s->report, &s->folders);
    if (s->options->watch) {
        code = session_watch(s);
        if (s->report.json) report_folders(&s->report, &s->folders); /* as they are now */
    }
    return code;
}

enum cli_exit connect_run(struct cli *cli, int argc, char **argv)
{
    struct connect_options o = {.device_type = "Provost", .json = cli->json};
    struct session s = {.options = &o};
    struct sigaction act = {.sa_handler = on_signal};
    enum cli_exit code = read_options(argc, argv, &o);
    if (code == CLI_DONE) code = check_options(&o, &s);
    if (code != CLI_DONE) return code;
    setvbuf(stdout, NULL, _IOLBF, 0); /* whoever follows sees each line at once */
    code = open_session(&s);
    if (code == CLI_DONE) {
        if (o.watch) {
            sigaction(SIGINT, &act, NULL);
            sigaction(SIGTERM, &act, NULL);
        }
        code = run(&s);
        code = report_end(&s.report, code, code == CLI_DONE ? "Done: the device is in." : s.why);
    }
    close_session(&s);
    return code;
}

/* provost: finds the command and hands over. */
#include <curl/curl.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/cli/api.h"
#include "src/cli/cli.h"
#include "src/cli/text.h"
#include "src/server/admin/version.h"
#include "src/server/admin/wipe.h"

static const struct cli_command commands[] = {
    {"connect", NULL, "URL -u USER [OPTIONS]", "Provision as a device would and show the folders.",
     .run_raw = connect_run},
    {"user", "add", "NAME [--password-file FILE]", "Add a user.", 1, 1, user_add},
    {"user", "passwd", "NAME [--password-file FILE]", "Give a user a new password.", 1, 1,
     user_passwd},
    {"user", "enable", "NAME", "Let a user use the server.", 1, 1, user_enable},
    {"user", "disable", "NAME", "Keep a user out, with all devices.", 1, 1, user_disable},
    {"user", "forbid-wipe", "NAME", "Never wipe whole devices of a user.", 1, 1, user_forbid_wipe},
    {"user", "permit-wipe", "NAME", "Take that back.", 1, 1, user_permit_wipe},
    {"user", "list", "", "List the users.", 0, 0, user_list},
    {"user", "remove", "NAME [--yes]", "Forget a user, with all devices and what is kept of them.",
     1, 1, user_remove},
    {"policy", "list", "", "List the policies.", 0, 0, policy_list},
    {"policy", "show", "NAME [--revision N]", "Show every setting of a policy.", 1, 1, policy_show},
    {"policy", "new", "NAME [SETTING=VALUE...] [--parent POLICY] [--dry-run]",
     "Make a policy; what it does not set it has from its parent.", 1, -1, policy_new},
    {"policy", "set", "NAME [SETTING=VALUE...] [--parent POLICY] [--staged] [--dry-run]",
     "Change settings of a policy; an empty value unsets.", 1, -1, policy_set},
    {"policy", "remove", "NAME [--dry-run] [--yes]", "Remove a policy.", 1, 1, policy_remove},
    {"policy", "diff", "NAME [SETTING=VALUE...] [--from N] [--to N] [--with POLICY]",
     "Compare revisions, two policies, or a policy with changes.", 1, -1, policy_diff},
    {"policy", "revisions", "NAME", "List the revisions of a policy and what each changed.", 1, 1,
     policy_revisions},
    {"policy", "restore", "NAME REVISION [--dry-run]", "Make an old revision the current one.", 2,
     2, policy_restore},
    {"policy", "roll", "NAME [--percent N] [--group GROUP...] [--back] [--dry-run]",
     "Give a staged revision to some devices, or take it back.", 1, 1, policy_roll},
    {"policy", "assign",
     "NAME (--default | --group GROUP | --user USER | --device USER ID) [--dry-run]",
     "Say to whom a policy applies; the nearest one counts.", 1, 1, policy_assign},
    {"policy", "unassign",
     "(--default | --group GROUP | --user USER | --device USER ID) [--dry-run]",
     "Take an assignment away.", 0, 0, policy_unassign},
    {"policy", "effective", "USER [DEVICE]",
     "Show what applies to somebody, and where it comes from.", 1, 2, policy_effective},
    {"policy", "export", "DIR", "Write every policy and the assignments into files.", 1, 1,
     policy_export},
    {"policy", "apply", "DIR [--prune] [--dry-run] [--yes]",
     "Make the policies what the files say.", 1, 1, policy_apply},
    {"policy", "import",
     "zpush|exchange FILE [--prefix TEXT] [--assign] [--strict] [--dry-run] "
     "[--yes]",
     "Take over the policies of another server.", 2, 2, policy_import},
    {"rule", "list", "", "List the access rules, in the order of decision.", 0, 0, rule_list},
    {"rule", "add", "(allow|block|quarantine) CONDITION=PATTERN... [--note TEXT] [--yes]",
     "Add an access rule.", 2, -1, rule_add},
    {"rule", "remove", "RULE [--yes]", "Remove an access rule.", 1, 1, rule_remove},
    {"rule", "test", "(allow|block|quarantine) CONDITION=PATTERN...",
     "Show which of today's devices a rule would hit.", 2, -1, rule_test},
    {"rule", "default", "[allow|block|quarantine] [--keep-known] [--yes]",
     "Show, or set, what applies to devices that no rule fits.", 0, 1, rule_default},
    {"device", "list",
     "[--state STATE] [--policy POLICY] [--revision N] [--not-seen-since WHEN] [--user USER] "
     "[--loop] "
     "[--outcome OUTCOME] [--limit N] [--after USER/DEVICE]",
     "List the devices and how they stand.", 0, 0, device_list},
    {"device", "why", "USER DEVICE",
     "Show the last steps of a device, why it does not get in, and what to do.", 2, 2, device_why},
    {"device", "compliance", "", "Count how devices say that they keep each policy.", 0, 0,
     device_compliance},
    {"device", "show", "USER DEVICE", "Show all that is known of a device.", 2, 2, device_show},
    {"device", "wipe", "USER DEVICE [--whole-device] [--reason TEXT] [--expires WHEN] [--yes]",
     "Order a remote wipe: of the account, or of the whole device.", 2, 2, device_wipe},
    {"device", "cancel-wipe", "USER DEVICE [--reason TEXT]",
     "Cancel a wipe that the device has not confirmed.", 2, 2, device_cancel_wipe},
    {"device", "block", "USER DEVICE [--reason TEXT]", "Keep a device out.", 2, 2, device_block},
    {"device", "allow", "USER DEVICE [--reason TEXT]",
     "Let a device in, whatever the rules say; after a wipe, as a new one.", 2, 2, device_allow},
    {"device", "quarantine", "USER DEVICE [--reason TEXT]",
     "Let a device see nothing but a message.", 2, 2, device_quarantine},
    {"device", "clear", "USER DEVICE [--reason TEXT]",
     "Take back what was said of a device: the rules decide again.", 2, 2, device_clear},
    {"device", "remove", "USER DEVICE [--reason TEXT] [--yes]",
     "Forget a device, with its keys, and a block or wipe of it.", 2, 2, device_remove},
    {"store", "backup", "FILE [--force]",
     "Copy the whole store into a file, while the server runs.", 1, 1, upkeep_backup},
    {"store", "restore", "FILE [--dry-run] [--yes]",
     "Put what a backup says in the place of what is there, while the server runs.", 1, 1,
     upkeep_restore},
    {"store", "check", "", "Look through the whole store, and the audit log, for damage.", 0, 0,
     upkeep_check},
    {"store", "move", "--from DIR (--to URL [--restart] | --undo [--yes])",
     "Move the store of a stopped server from SQLite into PostgreSQL.", 0, 0, upkeep_move},
    {"token", "add", "NAME --scope SCOPES [--expires WHEN]",
     "Make a token for administration over HTTPS.", 1, 1, token_add},
    {"token", "list", "", "List the tokens.", 0, 0, token_list},
    {"token", "remove", "NAME", "Refuse a token from now on.", 1, 1, token_remove},
    {"audit", NULL, "[--last N] [--follow] [--verify]",
     "Show who did what, and what became of devices; --verify looks for damage.", 0, 0, audit_show},
    {"status", NULL, "", "Show what the server is doing.", 0, 0, status_show},
};
enum { COMMANDS = sizeof commands / sizeof *commands };

const char *cli_exit_name(enum cli_exit code)
{
    static const char *const names[] = {"done",     "failed",     "usage",       "credentials",
                                        "refused",  "blocked",    "cannot-keep", "wipe",
                                        "protocol", "unreachable"};
    return names[code];
}

enum cli_exit cli_fail(enum cli_exit code, const char *format, ...)
{
    va_list list;
    char *text = NULL;
    va_start(list, format);
    if (vasprintf(&text, format, list) < 0) text = NULL;
    va_end(list);
    fflush(stdout);
    fputs("provost: ", stderr);
    text_print(stderr, text ? text : "no memory"); /* words of a server may be in it */
    fputc('\n', stderr);
    free(text);
    return code;
}

bool cli_terminal(void)
{
    return isatty(STDIN_FILENO) == 1;
}

bool cli_sure(const struct cli *cli, const char *question)
{
    if (cli_has(cli, CLI_OPT_YES) || !cli_terminal()) return true;
    fprintf(stderr, "%s [y/N] ", question);
    int answer = getchar();
    for (int c = answer; c != '\n' && c != EOF;) c = getchar();
    return answer == 'y' || answer == 'Y';
}

static void print_command(const struct cli_command *c)
{
    printf("  provost %s%s%s%s%s\n      %s\n", c->name, c->verb ? " " : "", c->verb ? c->verb : "",
           c->synopsis[0] ? " " : "", c->synopsis, c->says);
}

/* All of it, or what concerns one command. */
static void print_help(const char *name)
{
    printf("usage: provost [-s SERVER] [--json] COMMAND ...\n\n");
    for (int i = 0; i < COMMANDS; i++)
        if (name == NULL || strcmp(name, commands[i].name) == 0) print_command(&commands[i]);
    printf("\noptions:\n"
           "  -s SERVER  administration socket, or https://HOST:PORT (before the command, as the\n"
           "             two below); else $PROVOST_SOCKET, else %s\n"
           "  --token-file FILE  token for https://; else $PROVOST_TOKEN_FILE names the file\n"
           "  --ca-file FILE     certificates to trust instead of the system's\n"
           "  --json     print one JSON document and nothing else\n"
           "  -h, --help\n  --version\n",
           CLI_SOCKET);
    if (name == NULL || strcmp(name, "connect") == 0) {
        printf("\noptions of connect:\n");
        connect_print_options();
    }
    printf("\nexit codes:\n");
#define CLI_EXIT_LINE(id, number, text) printf("  %d  %s\n", number, text);
    CLI_EXITS(CLI_EXIT_LINE)
#undef CLI_EXIT_LINE
}

static const struct cli_command *find(const char *name, const char *verb, bool *known_name)
{
    *known_name = false;
    for (int i = 0; i < COMMANDS; i++) {
        if (strcmp(commands[i].name, name) != 0) continue;
        *known_name = true;
        if (commands[i].verb == NULL || (verb && strcmp(commands[i].verb, verb) == 0))
            return &commands[i];
    }
    return NULL;
}

static enum cli_exit usage(const struct cli_command *c)
{
    return cli_fail(CLI_USAGE, "usage: provost %s%s%s %s", c->name, c->verb ? " " : "",
                    c->verb ? c->verb : "", c->synopsis);
}

/* Every word is a name, a file or a condition: none of them can be empty, and an empty name would
 * make another path of the administration interface. */
static enum cli_exit check_words(const struct cli_command *c, const struct cli *cli)
{
    for (int i = 0; i < cli->count; i++)
        if (cli->words[i][0] == '\0')
            return cli_fail(CLI_USAGE, "%s%s%s %s: argument %d is empty", c->name,
                            c->verb ? " " : "", c->verb ? c->verb : "", c->synopsis, i + 1);
    return CLI_DONE;
}

static enum cli_exit run_plain(const struct cli_command *c, struct cli *cli, int argc, char **argv)
{
    bool help = false;
    enum cli_exit code = CLI_DONE;
    if (!cli_take_words(cli, c->synopsis, argc, argv, &help))
        code = usage(c);
    else if (help)
        print_help(c->name);
    else if (cli->count < c->least || (c->most >= 0 && cli->count > c->most))
        code = usage(c);
    else if ((code = check_words(c, cli)) == CLI_DONE)
        code = c->run(cli);
    cli_free_words(cli);
    return code;
}

static bool asks_for_help(const char *word)
{
    return word && (strcmp(word, "-h") == 0 || strcmp(word, "--help") == 0);
}

static enum cli_exit dispatch(struct cli *cli, int argc, char **argv)
{
    bool known;
    const char *verb = argc > 1 ? argv[1] : NULL;
    const struct cli_command *c = find(argv[0], verb, &known);
    if (known && asks_for_help(verb)) {
        print_help(argv[0]);
        return CLI_DONE;
    }
    if (c && c->run_raw) return c->run_raw(cli, argc, argv);
    int name = c && c->verb ? 2 : 1;
    if (c) return run_plain(c, cli, argc - name, argv + name);
    return cli_fail(CLI_USAGE, "unknown command: %s%s%s (provost --help lists them)", argv[0],
                    known && verb ? " " : "", known && verb ? verb : "");
}

/* Where one of the three standard files is closed, the next file or connection would take its
 * place, and what is printed would go into it. Nothing can be written to what is put there. */
static bool hold_standard_files(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 &&
            open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd)
            return false;
    return true;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"json", no_argument, NULL, 'j'},          {"token-file", required_argument, NULL, 't'},
        {"ca-file", required_argument, NULL, 'c'}, {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},       {NULL, 0, NULL, 0}};
    struct cli cli = {.socket = getenv("PROVOST_SOCKET"),
                      .token_file = getenv("PROVOST_TOKEN_FILE")};
    int o;
    opterr = 0;
    if (!hold_standard_files()) return CLI_FAILED;
    if (cli.socket == NULL || cli.socket[0] == '\0') cli.socket = CLI_SOCKET;
    while ((o = getopt_long(argc, argv, "+s:h", options, NULL)) != -1) {
        switch (o) {
        case 's': cli.socket = optarg; break;
        case 't': cli.token_file = optarg; break;
        case 'c': cli.ca_file = optarg; break;
        case 'j': cli.json = true; break;
        case 'h': print_help(NULL); return CLI_DONE;
        case 'V': printf("provost %s\n", PROVOST_VERSION); return CLI_DONE;
        default:
            return cli_fail(CLI_USAGE, "unknown option, or one without its value (provost --help "
                                       "lists them)");
        }
    }
    if (optind == argc) return cli_fail(CLI_USAGE, "no command (provost --help lists them)");
    wipe_json_when_freed();
    curl_global_init(CURL_GLOBAL_DEFAULT);
    enum cli_exit code = dispatch(&cli, argc - optind, argv + optind);
    api_close(&cli);
    curl_global_cleanup();
    if (fflush(stdout) != 0 || ferror(stdout))
        return cli_fail(code == CLI_DONE ? CLI_FAILED : code, "standard output cannot be written");
    return (int)code;
}

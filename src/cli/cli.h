/* provost: what every command shares. */
#ifndef PROVOST_CLI_H
#define PROVOST_CLI_H

#include <stdbool.h>
#include <stddef.h>

#define CLI_SOCKET "/run/provost/admin.sock"

/* The manual page and --help list these rows. */
#define CLI_EXITS(X)                                                        \
    X(DONE, 0, "done")                                                      \
    X(FAILED, 1, "the server refused, or something failed on this machine") \
    X(USAGE, 2, "wrong usage")                                              \
    X(CREDENTIALS, 3, "bad credentials")                                    \
    X(REFUSED, 4, "refused by policy")                                      \
    X(BLOCKED, 5, "blocked or quarantined")                                 \
    X(CANNOT_KEEP, 6, "a policy that this device cannot keep")              \
    X(WIPE, 7, "a wipe was ordered")                                        \
    X(PROTOCOL, 8, "protocol error: the server's answer makes no sense")    \
    X(UNREACHABLE, 9, "unreachable, or the server asks to come back later")
#define CLI_EXIT_ENUM(id, number, text) CLI_##id = number,
enum cli_exit { CLI_EXITS(CLI_EXIT_ENUM) };
#undef CLI_EXIT_ENUM
/* Symbolic name in small letters, such as "cannot-keep"; for the JSON of connect. */
const char *cli_exit_name(enum cli_exit code);

struct cli {
    const char *socket; /* of the server's administration */
    bool json;
    bool yes;                  /* do not ask */
    const char *password_file; /* NULL: terminal or standard input */
    int count;                 /* words after the command's name, options taken out */
    char **words;
};

struct cli_command {
    const char *name, *verb; /* verb NULL: a command of one word */
    const char *synopsis;    /* words and options behind */
    const char *says;        /* one sentence */
    int least, most;         /* words; most -1: any number */
    enum cli_exit (*run)(struct cli *cli);
    /* For a command with options of its own: gets everything behind its name. Else NULL. */
    enum cli_exit (*run_raw)(struct cli *cli, int argc, char **argv);
};

/* Say what is wrong on standard error, as "provost: ...". @return code */
enum cli_exit cli_fail(enum cli_exit code, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* On a terminal: ask, true for yes. Without one, or with --yes: true. */
bool cli_sure(const struct cli *cli, const char *question);

/* Commands, one file for each. */
enum cli_exit user_add(struct cli *cli);
enum cli_exit user_passwd(struct cli *cli);
enum cli_exit user_enable(struct cli *cli);
enum cli_exit user_disable(struct cli *cli);
enum cli_exit user_list(struct cli *cli);
enum cli_exit user_remove(struct cli *cli);
enum cli_exit policy_list(struct cli *cli);
enum cli_exit policy_show(struct cli *cli);
enum cli_exit policy_set(struct cli *cli);
enum cli_exit device_list(struct cli *cli);
enum cli_exit status_show(struct cli *cli);
enum cli_exit connect_run(struct cli *cli, int argc, char **argv);
/* Options of connect, one line each, for --help. */
void connect_print_options(void);

#endif

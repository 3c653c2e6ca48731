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

/* Options that commands have. Which of them a command takes, and how many values each has, says its
 * synopsis; --json and --help go with every command. By alphabet. */
#define CLI_OPTIONS(X)                  \
    X(AFTER, "after")                   \
    X(ASSIGN, "assign")                 \
    X(BACK, "back")                     \
    X(DEFAULT, "default")               \
    X(DEVICE, "device")                 \
    X(DRY_RUN, "dry-run")               \
    X(EXPIRES, "expires")               \
    X(FOLLOW, "follow")                 \
    X(FORCE, "force")                   \
    X(FROM, "from")                     \
    X(GROUP, "group")                   \
    X(KEEP_KNOWN, "keep-known")         \
    X(LAST, "last")                     \
    X(LIMIT, "limit")                   \
    X(LOOP, "loop")                     \
    X(NOT_SEEN_SINCE, "not-seen-since") \
    X(NOTE, "note")                     \
    X(OUTCOME, "outcome")               \
    X(PARENT, "parent")                 \
    X(PASSWORD_FILE, "password-file")   \
    X(PERCENT, "percent")               \
    X(POLICY, "policy")                 \
    X(PREFIX, "prefix")                 \
    X(PRUNE, "prune")                   \
    X(REASON, "reason")                 \
    X(RESTART, "restart")               \
    X(REVISION, "revision")             \
    X(SCOPE, "scope")                   \
    X(STAGED, "staged")                 \
    X(STATE, "state")                   \
    X(STRICT, "strict")                 \
    X(TO, "to")                         \
    X(UNDO, "undo")                     \
    X(USER, "user")                     \
    X(VERIFY, "verify")                 \
    X(WHOLE_DEVICE, "whole-device")     \
    X(WITH, "with")                     \
    X(YES, "yes")
#define CLI_OPTION_ENUM(id, name) CLI_OPT_##id,
enum cli_option { CLI_OPTIONS(CLI_OPTION_ENUM) CLI_OPTION_COUNT };
#undef CLI_OPTION_ENUM

struct cli {
    const char *socket;               /* of the server's administration, or its https:// address */
    const char *token_file, *ca_file; /* for the latter; NULL: none */
    struct api *api;                  /* private: api.c */
    bool json;
    int count; /* words after the command's name, options taken out */
    char **words;
    /* Options in the order given; ask with the functions below. */
    struct cli_given {
        enum cli_option option;
        char *const *values; /* as many as the synopsis names */
    } * given;
    int given_count;
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
/* Is there a person who can answer? */
bool cli_terminal(void);
/* On a terminal: ask, true for yes. Without one, or with --yes: true. */
bool cli_sure(const struct cli *cli, const char *question);

/* ---- options of the command under way ---- */

/* First value of an option; NULL: not given. For an option without value: not NULL if given. */
const char *cli_value(const struct cli *cli, enum cli_option option);
/* Value at index (from 0) of its nth time (from 0); NULL: it was not given that often. */
const char *cli_value_at(const struct cli *cli, enum cli_option option, int nth, int index);
bool cli_has(const struct cli *cli, enum cli_option option);
/* Sort the words behind a command's name into options and words. Both arrays belong to cli, see
 * cli_free_words. help_out: --help is among them. @return false: not what the synopsis says (cli is
 * as it was but for json), or no memory */
bool cli_take_words(struct cli *cli, const char *synopsis, int argc, char **argv, bool *help_out);
void cli_free_words(struct cli *cli);

/* Commands, one file for each. */
enum cli_exit user_add(struct cli *cli);
enum cli_exit user_passwd(struct cli *cli);
enum cli_exit user_enable(struct cli *cli);
enum cli_exit user_disable(struct cli *cli);
enum cli_exit user_forbid_wipe(struct cli *cli);
enum cli_exit user_permit_wipe(struct cli *cli);
enum cli_exit user_list(struct cli *cli);
enum cli_exit user_remove(struct cli *cli);
enum cli_exit policy_list(struct cli *cli);
enum cli_exit policy_show(struct cli *cli);
enum cli_exit policy_revisions(struct cli *cli);
enum cli_exit policy_new(struct cli *cli);
enum cli_exit policy_set(struct cli *cli);
enum cli_exit policy_remove(struct cli *cli);
enum cli_exit policy_restore(struct cli *cli);
enum cli_exit policy_roll(struct cli *cli);
enum cli_exit policy_diff(struct cli *cli);
enum cli_exit policy_assign(struct cli *cli);
enum cli_exit policy_unassign(struct cli *cli);
enum cli_exit policy_effective(struct cli *cli);
enum cli_exit policy_export(struct cli *cli);
enum cli_exit policy_apply(struct cli *cli);
enum cli_exit policy_import(struct cli *cli);
enum cli_exit rule_list(struct cli *cli);
enum cli_exit rule_add(struct cli *cli);
enum cli_exit rule_remove(struct cli *cli);
enum cli_exit rule_test(struct cli *cli);
enum cli_exit rule_default(struct cli *cli);
enum cli_exit device_list(struct cli *cli);
enum cli_exit device_why(struct cli *cli);
enum cli_exit device_compliance(struct cli *cli);
enum cli_exit device_show(struct cli *cli);
enum cli_exit device_allow(struct cli *cli);
enum cli_exit device_block(struct cli *cli);
enum cli_exit device_quarantine(struct cli *cli);
enum cli_exit device_clear(struct cli *cli);
enum cli_exit device_wipe(struct cli *cli);
enum cli_exit device_cancel_wipe(struct cli *cli);
enum cli_exit device_remove(struct cli *cli);
enum cli_exit audit_show(struct cli *cli);
enum cli_exit status_show(struct cli *cli);
enum cli_exit upkeep_backup(struct cli *cli);
enum cli_exit upkeep_check(struct cli *cli);
enum cli_exit upkeep_move(struct cli *cli);
enum cli_exit upkeep_restore(struct cli *cli);
enum cli_exit token_add(struct cli *cli);
enum cli_exit token_list(struct cli *cli);
enum cli_exit token_remove(struct cli *cli);
enum cli_exit connect_run(struct cli *cli, int argc, char **argv);
/* Options of connect, one line each, for --help. */
void connect_print_options(void);

#endif

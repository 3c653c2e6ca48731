/* provost rule */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/cli/api.h"
#include "src/cli/text.h"

/* "DeviceType=iPhone*", and for versions "ProtocolVersion<=12.1" as well. false: told. */
static bool add_condition(json_t *conditions, const char *word)
{
    const char *equals = strchr(word, '='), *value = equals ? equals + 1 : NULL;
    size_t len = equals ? (size_t)(equals - word) : 0;
    if (len > 1 && (equals[-1] == '<' || equals[-1] == '>')) {
        value = equals - 1;
        len--;
    }
    if (len == 0) {
        cli_fail(CLI_USAGE, "%s: CONDITION=PATTERN is wanted", word);
        return false;
    }
    char *name = strndup(word, len);
    bool twice = name && json_object_get(conditions, name);
    bool ok = name && !twice && json_object_set_new(conditions, name, json_string(value)) == 0;
    if (!ok)
        cli_fail(CLI_USAGE,
                 twice ? "%s: this condition stands there twice" : "%s: this is no UTF-8 text",
                 word);
    free(name);
    return ok;
}

/* {"action", "conditions"} from the words. NULL: told. */
static json_t *rule_of(const struct cli *cli)
{
    static const char *const actions[] = {"allow", "block", "quarantine"};
    const char *action = cli->words[0];
    size_t i = 0;
    while (i < 3 && strcmp(action, actions[i]) != 0) i++;
    if (i == 3) {
        cli_fail(CLI_USAGE, "%s: allow, block or quarantine is wanted", action);
        return NULL;
    }
    json_t *conditions = json_object();
    for (int w = 1; w < cli->count; w++)
        if (!add_condition(conditions, cli->words[w])) {
            json_decref(conditions);
            return NULL;
        }
    json_t *rule = json_pack("{s:s,s:o}", "action", action, "conditions", conditions);
    if (!rule) cli_fail(CLI_FAILED, "no memory");
    return rule;
}

/* Lets a person decide, if there is one and devices would be shut out. call: how many, by a dry run;
 * its reference is taken over. */
static enum cli_exit confirm(struct cli *cli, enum cli_exit code, json_t *dry)
{
    char question[160];
    long long devices = json_integer_value(json_object_get(dry, "devices"));
    json_decref(dry);
    if (code != CLI_DONE || devices == 0) return code;
    snprintf(question, sizeof question,
             "%lld device%s let in today would be kept out by this. Go on?", devices,
             devices == 1 ? " that is" : "s that are");
    return cli_sure(cli, question) ? CLI_DONE : cli_fail(CLI_FAILED, "nothing was changed");
}

/* Nobody is asked who has said --yes, or who cannot answer. */
static bool asks(const struct cli *cli)
{
    return !cli_has(cli, CLI_OPT_YES) && cli_terminal();
}

static void print_devices(const json_t *answer, const char *says)
{
    long long n = json_integer_value(json_object_get(answer, "devices"));
    if (n) printf("%lld device%s %s.\n", n, n == 1 ? "" : "s", says);
}

/* ---- listing ---- */
static void cell_of_conditions(struct table *t, const json_t *rule)
{
    char text[1024] = "";
    size_t len = 0;
    const char *name;
    json_t *value;
    json_object_foreach(json_object_get(rule, "conditions"), name, value)
    {
        const char *v = json_string_value(value);
        bool compares = v && (v[0] == '<' || v[0] == '>');
        int n = snprintf(text + len, sizeof text - len, "%s%s%s%s", len ? " " : "", name,
                         compares ? "" : "=", v ? v : "?");
        if (n < 0 || (size_t)n >= sizeof text - len) break;
        len += (size_t)n;
    }
    table_cell(t, text);
}

enum cli_exit rule_list(struct cli *cli)
{
    static const char *const titles[] = {"RULE", "ACTION", "CONDITIONS", "MADE", "NOTE"};
    json_t *rules, *rule;
    size_t i;
    struct table t;
    enum cli_exit code = api_show(cli, "GET", api_path("/v1/rules"), NULL, &rules);
    if (code != CLI_DONE || rules == NULL) return code;
    table_begin(&t, 5, titles);
    json_array_foreach(rules, i, rule)
    {
        table_cell_int(&t, json_integer_value(json_object_get(rule, "id")));
        table_cell(&t, json_string_value(json_object_get(rule, "action")));
        cell_of_conditions(&t, rule);
        table_cell(&t, json_string_value(json_object_get(rule, "at")));
        table_cell(&t, json_string_value(json_object_get(rule, "note")));
    }
    json_decref(rules);
    return table_end(&t, stdout, 0) == 0 ? CLI_DONE : cli_fail(CLI_FAILED, "no memory");
}

/* ---- changes ---- */
enum cli_exit rule_add(struct cli *cli)
{
    json_t *rule = rule_of(cli), *answer;
    const char *note = cli_value(cli, CLI_OPT_NOTE);
    enum cli_exit code = CLI_DONE;
    if (rule == NULL) return CLI_USAGE;
    if (note && json_object_set_new(rule, "note", json_string(note)) != 0)
        code = cli_fail(CLI_USAGE, "--note: this is no UTF-8 text");
    if (code == CLI_DONE && asks(cli)) {
        json_object_set_new(rule, "dry_run", json_true());
        code = api_call(cli, "POST", api_path("/v1/rules"), json_incref(rule), &answer);
        code = confirm(cli, code, answer);
        json_object_del(rule, "dry_run");
    }
    if (code != CLI_DONE) {
        json_decref(rule);
        return code;
    }
    json_object_set_new(rule, "confirm", json_true());
    code = api_show(cli, "POST", api_path("/v1/rules"), rule, &answer);
    if (code == CLI_DONE && answer) {
        printf("Rule %lld is in force.\n",
               (long long)json_integer_value(json_object_get(answer, "id")));
        print_devices(answer, "that had come in will be kept out");
    }
    json_decref(answer);
    return code;
}

static char *rule_path(const struct cli *cli, const char *flag)
{
    return api_query(api_path("/v1/rules/%s", cli->words[0]), flag, "true");
}

enum cli_exit rule_remove(struct cli *cli)
{
    json_t *answer;
    enum cli_exit code = CLI_DONE;
    if (asks(cli)) {
        code = api_call(cli, "DELETE", rule_path(cli, "dry_run"), NULL, &answer);
        code = confirm(cli, code, answer);
    }
    if (code != CLI_DONE) return code;
    code = api_show(cli, "DELETE", rule_path(cli, "confirm"), NULL, &answer);
    if (code == CLI_DONE && answer) {
        printf("Rule %s is removed.\n", cli->words[0]);
        print_devices(answer, "that had come in will be kept out");
    }
    json_decref(answer);
    return code;
}

/* ---- the default ---- */
static enum cli_exit show_default(struct cli *cli)
{
    json_t *answer;
    enum cli_exit code = api_show(cli, "GET", api_path("/v1/access"), NULL, &answer);
    if (code == CLI_DONE && answer)
        printf("Devices that no rule fits: %s.\n",
               json_string_value(json_object_get(answer, "default")));
    json_decref(answer);
    return code;
}

static json_t *default_body(const struct cli *cli, const char *flag)
{
    return json_pack("{s:s,s:b,s:b}", "default", cli->words[0], "keep_known",
                     (int)cli_has(cli, CLI_OPT_KEEP_KNOWN), flag, 1);
}

enum cli_exit rule_default(struct cli *cli)
{
    bool keep = cli_has(cli, CLI_OPT_KEEP_KNOWN);
    json_t *answer;
    enum cli_exit code = CLI_DONE;
    if (cli->count == 0)
        return keep ? cli_fail(CLI_USAGE, "--keep-known goes with a new default")
                    : show_default(cli);
    if (!keep && asks(cli)) {
        code = api_call(cli, "PUT", api_path("/v1/access"), default_body(cli, "dry_run"), &answer);
        code = confirm(cli, code, answer);
    }
    if (code != CLI_DONE) return code;
    code = api_show(cli, "PUT", api_path("/v1/access"), default_body(cli, "confirm"), &answer);
    if (code == CLI_DONE && answer) {
        if (json_is_true(json_object_get(answer, "changed")))
            printf("Devices that no rule fits: %s, from now on.\n", cli->words[0]);
        else
            printf("That is the default already; nothing was changed.\n");
        print_devices(answer,
                      keep ? "that had come in may stay" : "that had come in will be kept out");
    }
    json_decref(answer);
    return code;
}

/* ---- test ---- */
enum cli_exit rule_test(struct cli *cli)
{
    static const char *const columns[][2] = {{"USER", "user"},        {"DEVICE", "device_id"},
                                             {"TYPE", "device_type"}, {"ACCESS", "access"},
                                             {"BY", "access_by"},     {"WOULD BE", "would_be"},
                                             {"BY", "would_be_by"}};
    enum { COLUMNS = sizeof columns / sizeof *columns };
    const char *titles[COLUMNS];
    json_t *rule = rule_of(cli), *answer, *device;
    size_t i;
    struct table t;
    if (rule == NULL) return CLI_USAGE;
    enum cli_exit code = api_show(cli, "POST", api_path("/v1/rules/test"), rule, &answer);
    if (code != CLI_DONE || answer == NULL) return code;
    for (unsigned c = 0; c < COLUMNS; c++) titles[c] = columns[c][0];
    table_begin(&t, COLUMNS, titles);
    json_array_foreach(json_object_get(answer, "devices"), i, device) for (unsigned c = 0;
                                                                           c < COLUMNS; c++)
        table_cell(&t, json_string_value(json_object_get(device, columns[c][1])));
    bool drawn = table_end(&t, stdout, 0) == 0;
    printf("%lld match, %lld would change, %lld of them are let in today and would be kept out.\n",
           (long long)json_integer_value(json_object_get(answer, "matching")),
           (long long)json_integer_value(json_object_get(answer, "changing")),
           (long long)json_integer_value(json_object_get(answer, "shut_out")));
    json_decref(answer);
    return drawn ? CLI_DONE : cli_fail(CLI_FAILED, "no memory");
}

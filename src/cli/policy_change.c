/* provost policy new, set, remove, restore, roll: changes of one policy. */
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/cli/api.h"
#include "src/cli/policy.h"

/* ---- what came of it ---- */

static const char *said_text(const json_t *said)
{
    static const char *const texts[] = {NULL, "keeps it", "keeps a part", "keeps nothing",
                                        "managed elsewhere"};
    json_int_t n = json_integer_value(said);
    if (json_is_string(said)) return json_string_value(said);
    return n > 0 && n < (json_int_t)(sizeof texts / sizeof *texts) ? texts[n] : NULL;
}

static enum cli_exit devices_table(const json_t *devices)
{
    static const char *const titles[] = {"USER", "DEVICE", "VERSION", "STATE", "SAID", "REVISION"};
    static const char *const columns[] = {"user", "device_id", "protocol_version", "state"};
    const json_t *device;
    struct table t;
    size_t i;
    table_begin(&t, 6, titles);
    json_array_foreach(devices, i, device)
    {
        for (size_t c = 0; c < 4; c++)
            table_cell(&t, json_string_value(json_object_get(device, columns[c])));
        table_cell(&t, said_text(json_object_get(device, "said")));
        policy_value_cell(&t, json_object_get(device, "said_revision"));
    }
    return table_end(&t, stdout, 0) == 0 ? CLI_DONE : cli_fail(CLI_FAILED, "no memory");
}

/* "3 devices would be asked again, 1 of which ..." without an end. */
static void print_count(const json_t *answer, const char *would)
{
    long long asked = json_integer_value(json_object_get(answer, "devices_to_ask"));
    long long cannot = json_integer_value(json_object_get(answer, "cannot_keep"));
    if (json_is_null(json_object_get(answer, "devices_to_ask"))) {
        printf("how many devices %s be asked again could not be counted", would);
        return;
    }
    printf("%lld device%s %s be asked again", asked, asked == 1 ? "" : "s", would);
    if (cannot > 0)
        printf(", %lld of which %s said before that %s keep all of it", cannot,
               cannot == 1 ? "has" : "have", cannot == 1 ? "it cannot" : "they cannot");
}

enum cli_exit policy_tell_devices(const json_t *answer, const char *would)
{
    const json_t *devices = json_object_get(answer, "devices");
    long long asked = json_integer_value(json_object_get(answer, "devices_to_ask"));
    long long shown = (long long)json_array_size(devices);
    enum cli_exit code = CLI_DONE;
    print_count(answer, would);
    fputs(shown ? ":\n\n" : ".\n", stdout);
    if (shown) code = devices_table(devices);
    if (shown && asked > shown) printf("... and %lld more\n", asked - shown);
    return code;
}

static enum cli_exit tell(struct cli *cli, const json_t *answer, const char *same, const char *done)
{
    enum cli_exit code = CLI_DONE;
    long long revision = json_integer_value(json_object_get(answer, "revision"));
    const char *hint = json_string_value(json_object_get(answer, "hint"));
    bool dry = cli_has(cli, CLI_OPT_DRY_RUN);
    if (json_is_false(json_object_get(answer, "changed"))) {
        text_print(stdout, same);
        puts(dry ? "; nothing would change." : "; nothing was changed.");
    } else if (dry) {
        fputs("Nothing was changed yet: ", stdout);
        code = policy_tell_devices(answer, "would");
    } else {
        text_print(stdout, done);
        if (revision > 0) printf(", revision %lld", revision);
        fputs("; ", stdout);
        print_count(answer, "will");
        puts(".");
    }
    if (hint) cli_fail(CLI_DONE, "warning: %s", hint);
    return code;
}

enum cli_exit policy_change(struct cli *cli, const char *method, char *path, json_t *body,
                            const char *same, const char *done, ...)
{
    json_t *answer = NULL;
    char *text = NULL;
    va_list list;
    enum cli_exit code = CLI_FAILED;
    va_start(list, done);
    if (vasprintf(&text, done, list) < 0) text = NULL;
    va_end(list);
    if (cli_has(cli, CLI_OPT_DRY_RUN)) {
        if (body == NULL) body = json_object();
        if (json_object_set_new(body, "dry_run", json_true()) != 0) {
            json_decref(body); /* never a change in place of a question */
            free(path);
            free(text);
            return cli_fail(CLI_FAILED, "no memory");
        }
    }
    code = api_show(cli, method, path, body, &answer);
    if (code == CLI_DONE && answer) code = tell(cli, answer, same, text ? text : "Done");
    json_decref(answer);
    free(text);
    return code;
}

/* ---- words ---- */

json_t *policy_words(struct cli *cli, int first, enum cli_exit *code_out)
{
    json_t *settings = json_object();
    *code_out = settings ? CLI_DONE : cli_fail(CLI_FAILED, "no memory");
    for (int i = first; i < cli->count && *code_out == CLI_DONE; i++) {
        const char *word = cli->words[i], *equals = strchr(word, '=');
        char name[64];
        if (equals == NULL || equals == word || (size_t)(equals - word) >= sizeof name) {
            *code_out = cli_fail(CLI_USAGE, "%s: SETTING=VALUE is wanted", word);
            break;
        }
        snprintf(name, sizeof name, "%.*s", (int)(equals - word), word);
        if (json_object_get(settings, name))
            *code_out = cli_fail(CLI_USAGE, "%s: given twice", name);
        else if (json_object_set_new(settings, name, json_string(equals + 1)) != 0)
            *code_out = cli_fail(CLI_USAGE, "%s: the value is no UTF-8 text", name);
    }
    if (*code_out == CLI_DONE) return settings;
    json_decref(settings);
    return NULL;
}

bool policy_number(const char *what, const char *text, long long most, long long *out)
{
    size_t digits = strspn(text, "0123456789");
    *out = digits && digits < 19 ? strtoll(text, NULL, 10) : -1;
    if (digits && text[digits] == '\0' && *out >= 0 && *out <= most) return true;
    cli_fail(CLI_USAGE, "%s: \"%s\" is no number from 0 to %lld", what, text, most);
    return false;
}

/* ---- commands ---- */

static const char same_values[] = "The policy has these values already";

/* What new and set have in common. NULL: told. An empty parent is none. */
static json_t *body_of(struct cli *cli, enum cli_exit *code_out)
{
    const char *parent = cli_value(cli, CLI_OPT_PARENT);
    json_t *settings = policy_words(cli, 1, code_out);
    json_t *body = settings ? json_object() : NULL;
    bool good = body != NULL;
    if (good && (json_object_size(settings) > 0 || parent == NULL))
        good = json_object_set(body, "settings", settings) == 0;
    if (good && parent)
        good =
            json_object_set_new(body, "parent", *parent ? json_string(parent) : json_null()) == 0;
    if (good && cli_has(cli, CLI_OPT_STAGED))
        good = json_object_set_new(body, "staged", json_true()) == 0;
    if (settings && !good)
        *code_out = parent ? cli_fail(CLI_USAGE, "--parent: the name is no UTF-8 text")
                           : cli_fail(CLI_FAILED, "no memory");
    json_decref(settings);
    if (good) return body;
    json_decref(body);
    return NULL;
}

enum cli_exit policy_new(struct cli *cli)
{
    enum cli_exit code;
    json_t *body = body_of(cli, &code);
    if (body == NULL) return code;
    if (json_object_set_new(body, "name", json_string(cli->words[0])) != 0) {
        json_decref(body);
        return cli_fail(CLI_USAGE, "the name is no UTF-8 text");
    }
    return policy_change(cli, "POST", api_path("/v1/policies"), body, same_values,
                         "Policy %s is made", cli->words[0]);
}

enum cli_exit policy_set(struct cli *cli)
{
    enum cli_exit code;
    if (cli->count == 1 && !cli_has(cli, CLI_OPT_PARENT))
        return cli_fail(CLI_USAGE, "nothing to set: SETTING=VALUE or --parent is wanted");
    json_t *body = body_of(cli, &code);
    if (body == NULL) return code;
    return policy_change(
        cli, "PATCH", api_path("/v1/policies/%s", cli->words[0]), body, same_values,
        cli_has(cli, CLI_OPT_STAGED) ? "A change of policy %s is staged" : "Policy %s is changed",
        cli->words[0]);
}

enum cli_exit policy_remove(struct cli *cli)
{
    if (!cli_has(cli, CLI_OPT_DRY_RUN) && !cli_sure(cli, "Remove this policy?")) return CLI_FAILED;
    return policy_change(cli, "DELETE", api_path("/v1/policies/%s", cli->words[0]), NULL,
                         "The policy is gone already", "Policy %s is removed", cli->words[0]);
}

enum cli_exit policy_restore(struct cli *cli)
{
    long long revision;
    if (!policy_number("REVISION", cli->words[1], INT64_MAX, &revision)) return CLI_USAGE;
    return policy_change(cli, "POST", api_path("/v1/policies/%s/restore", cli->words[0]),
                         json_pack("{s:I}", "revision", (json_int_t)revision), same_values,
                         "Policy %s is restored", cli->words[0]);
}

/* Groups of --group, NULL: told. */
static json_t *groups_json(struct cli *cli)
{
    json_t *groups = json_array();
    const char *group;
    for (int i = 0; (group = cli_value_at(cli, CLI_OPT_GROUP, i, 0)) != NULL; i++)
        if (json_array_append_new(groups, json_string(group)) != 0) {
            cli_fail(CLI_USAGE, "--group: the name is no UTF-8 text");
            json_decref(groups);
            return NULL;
        }
    return groups;
}

/* {"percent": N, "groups": [...]}, what is given. NULL: told. */
static json_t *roll_body(struct cli *cli)
{
    const char *percent = cli_value(cli, CLI_OPT_PERCENT);
    json_t *groups = NULL, *body = NULL;
    long long n = 0;
    if (percent && !policy_number("--percent", percent, 100, &n)) return NULL;
    if (cli_has(cli, CLI_OPT_GROUP) && (groups = groups_json(cli)) == NULL) return NULL;
    body = json_pack("{s:o*}", "groups", groups);
    if (body && percent && json_object_set_new(body, "percent", json_integer(n)) != 0) {
        json_decref(body);
        body = NULL;
    }
    if (body == NULL) cli_fail(CLI_FAILED, "no memory");
    return body;
}

enum cli_exit policy_roll(struct cli *cli)
{
    bool back = cli_has(cli, CLI_OPT_BACK);
    if (back == (cli_has(cli, CLI_OPT_PERCENT) || cli_has(cli, CLI_OPT_GROUP)))
        return cli_fail(CLI_USAGE, "--percent, --group or both are wanted, or else --back");
    json_t *body = back ? NULL : roll_body(cli);
    if (!back && body == NULL) return CLI_USAGE;
    bool all = body && json_integer_value(json_object_get(body, "percent")) == 100;
    return policy_change(cli, back ? "DELETE" : "PUT",
                         api_path("/v1/policies/%s/roll", cli->words[0]), body,
                         back ? "Nothing was being rolled out" : "It is rolled out so far already",
                         back  ? "The staged revision of %s is taken back"
                         : all ? "The staged revision of %s is in force for everybody"
                               : "The staged revision of %s is being rolled out",
                         cli->words[0]);
}

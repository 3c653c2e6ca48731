/* provost policy diff */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <provost/policy.h>

#include "src/cli/api.h"
#include "src/cli/policy.h"
#include "src/cli/policy_json.h"

static enum cli_exit tell_settings(const json_t *settings)
{
    static const char *const titles[] = {"SETTING", "OLD", "NEW", "CHANGE"};
    const json_t *one;
    struct table t;
    size_t i;
    if (json_array_size(settings) == 0) {
        puts("No setting differs.");
        return CLI_DONE;
    }
    table_begin(&t, 4, titles);
    json_array_foreach(settings, i, one)
    {
        table_cell(&t, json_string_value(json_object_get(one, "name")));
        policy_value_cell(&t, json_object_get(one, "old"));
        policy_value_cell(&t, json_object_get(one, "new"));
        table_cell(&t, json_string_value(json_object_get(one, "change")));
    }
    return table_end(&t, stdout, 0) == 0 ? CLI_DONE : cli_fail(CLI_FAILED, "no memory");
}

/* Between revisions, or with another policy: the server compares. */
static enum cli_exit diff_kept(struct cli *cli)
{
    json_t *diff;
    char *path = api_path("/v1/policies/%s/diff", cli->words[0]);
    path = api_query(path, "from", cli_value(cli, CLI_OPT_FROM));
    path = api_query(path, "to", cli_value(cli, CLI_OPT_TO));
    path = api_query(path, "with", cli_value(cli, CLI_OPT_WITH));
    enum cli_exit code = api_show(cli, "GET", path, NULL, &diff);
    if (code != CLI_DONE || diff == NULL) return code;
    code = tell_settings(json_object_get(diff, "settings"));
    if (code == CLI_DONE && json_object_get(diff, "devices_to_ask")) {
        putchar('\n');
        code = policy_tell_devices(diff, "would");
    }
    json_decref(diff);
    return code;
}

/* The settings that would change, out of what the policy has now and the words. */
static enum cli_exit tell_words(const json_t *policy, const json_t *words)
{
    static const char *const titles[] = {"SETTING", "OLD", "NEW"};
    const json_t *effective = json_object_get(policy, "effective"), *new_;
    const char *name;
    struct table t;
    if (effective == NULL) effective = json_object_get(policy, "settings");
    table_begin(&t, 3, titles);
    json_object_foreach((json_t *)words, name, new_)
    {
        bool unset = json_string_length(new_) == 0;
        table_cell(&t, name);
        policy_value_cell(&t, json_object_get(effective, name));
        policy_value_cell(&t, unset ? NULL : new_);
    }
    if (table_end(&t, stdout, 0) != 0) return cli_fail(CLI_FAILED, "no memory");
    putchar('\n');
    return CLI_DONE;
}

/* With changes that are not made: the server is asked what they would do. */
static enum cli_exit diff_words(struct cli *cli)
{
    json_t *policy = NULL, *answer = NULL;
    enum cli_exit code;
    json_t *words = policy_words(cli, 1, &code);
    if (words == NULL) return code;
    code = api_show(cli, "PATCH", api_path("/v1/policies/%s", cli->words[0]),
                    json_pack("{s:O,s:b}", "settings", words, "dry_run", 1), &answer);
    if (code == CLI_DONE && answer)
        code = api_call(cli, "GET", api_path("/v1/policies/%s", cli->words[0]), NULL, &policy);
    if (code == CLI_DONE && answer) code = tell_words(policy, words);
    if (code == CLI_DONE && answer) code = policy_tell_devices(answer, "would");
    json_decref(words);
    json_decref(policy);
    json_decref(answer);
    return code;
}

enum cli_exit policy_diff(struct cli *cli)
{
    bool revisions = cli_has(cli, CLI_OPT_FROM) || cli_has(cli, CLI_OPT_TO);
    int ways = revisions + cli_has(cli, CLI_OPT_WITH) + (cli->count > 1);
    if (ways > 1)
        return cli_fail(CLI_USAGE, "SETTING=VALUE, --with, and --from with --to: only one of them");
    return cli->count > 1 ? diff_words(cli) : diff_kept(cli);
}

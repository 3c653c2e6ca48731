/* provost policy */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <provost/policy.h>

#include "src/cli/api.h"
#include "src/cli/settings.h"
#include "src/cli/text.h"

enum cli_exit policy_list(struct cli *cli)
{
    static const char *const titles[] = {"POLICY", "REVISION", "CHANGED"};
    json_t *policies, *policy;
    size_t i;
    struct table t;
    enum cli_exit code = api_show(cli, "GET", api_path("/v1/policies"), NULL, &policies);
    if (code != CLI_DONE || policies == NULL) return code;
    table_begin(&t, 3, titles);
    json_array_foreach(policies, i, policy)
    {
        table_cell(&t, json_string_value(json_object_get(policy, "name")));
        table_cell_int(&t, json_integer_value(json_object_get(policy, "revision")));
        table_cell(&t, json_string_value(json_object_get(policy, "changed_at")));
    }
    json_decref(policies);
    return table_end(&t, stdout, 0) == 0 ? CLI_DONE : cli_fail(CLI_FAILED, "no memory");
}

/* A value as the server tells it: number, or list of texts. */
static void cell_of_value(struct table *t, const json_t *value)
{
    const json_t *item;
    size_t i, len = 0;
    if (json_is_integer(value)) {
        table_cell_int(t, json_integer_value(value));
        return;
    }
    if (!json_is_array(value)) {
        table_cell(t, NULL);
        return;
    }
    char text[PV_LIST_MAX * (PV_LIST_ITEM_MAX + 1)];
    text[0] = '\0';
    json_array_foreach(value, i, item)
    {
        int n = snprintf(text + len, sizeof text - len, "%s%s", i ? "," : "",
                         json_string_value(item) ? json_string_value(item) : "?");
        if (n < 0 || (size_t)n >= sizeof text - len) break;
        len += (size_t)n;
    }
    table_cell(t, text);
}

enum cli_exit policy_show(struct cli *cli)
{
    static const char *const titles[] = {"SETTING", "VALUE", "UNSET MEANS", "SINCE"};
    json_t *policy;
    struct table t;
    enum cli_exit code =
        api_show(cli, "GET", api_path("/v1/policies/%s", cli->words[0]), NULL, &policy);
    if (code != CLI_DONE || policy == NULL) return code;
    const json_t *settings = json_object_get(policy, "settings");
    table_begin(&t, 4, titles);
    for (int s = 0; s < PV_SETTING_COUNT; s++) {
        const struct pv_setting_info *info = pv_setting_info((enum pv_setting)s);
        char unset[SETTING_TEXT_MAX];
        setting_unset_text((enum pv_setting)s, unset);
        table_cell(&t, info->name);
        cell_of_value(&t, json_object_get(settings, info->name));
        table_cell(&t, unset);
        table_cell(&t, info->treatment ? "server only" : pv_version_text(info->first));
    }
    printf("Policy %s, revision %lld\n\n", cli->words[0],
           (long long)json_integer_value(json_object_get(policy, "revision")));
    json_decref(policy);
    return table_end(&t, stdout, 0) == 0 ? CLI_DONE : cli_fail(CLI_FAILED, "no memory");
}

enum cli_exit policy_set(struct cli *cli)
{
    json_t *settings = json_object(), *answer;
    for (int i = 1; i < cli->count; i++) {
        const char *word = cli->words[i], *equals = strchr(word, '=');
        char name[64];
        if (equals == NULL || equals == word || (size_t)(equals - word) >= sizeof name) {
            json_decref(settings);
            return cli_fail(CLI_USAGE, "%s: SETTING=VALUE is wanted", word);
        }
        snprintf(name, sizeof name, "%.*s", (int)(equals - word), word);
        if (json_object_set_new(settings, name, json_string(equals + 1)) != 0) {
            json_decref(settings);
            return cli_fail(CLI_USAGE, "%s: the value is no UTF-8 text", name);
        }
    }
    enum cli_exit code = api_show(cli, "PATCH", api_path("/v1/policies/%s", cli->words[0]),
                                  json_pack("{s:o}", "settings", settings), &answer);
    if (code == CLI_DONE && answer) {
        long long asked = json_integer_value(json_object_get(answer, "devices_to_ask"));
        if (json_is_true(json_object_get(answer, "changed")))
            printf("Policy %s is now at revision %lld; %lld device%s will be asked again.\n",
                   cli->words[0],
                   (long long)json_integer_value(json_object_get(answer, "revision")), asked,
                   asked == 1 ? "" : "s");
        else
            printf("Policy %s has these values already; nothing was changed.\n", cli->words[0]);
        const char *hint = json_string_value(json_object_get(answer, "hint"));
        if (hint) cli_fail(CLI_DONE, "warning: %s", hint);
    }
    json_decref(answer);
    return code;
}

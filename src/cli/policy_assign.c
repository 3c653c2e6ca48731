/* provost policy assign, unassign, effective: to whom policies apply. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/cli/api.h"
#include "src/cli/policy.h"

static const char *text_in(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text ? text : "?";
}

char *policy_scope_text(const json_t *assignment)
{
    const char *scope = text_in(assignment, "scope");
    char *text = NULL;
    int n;
    if (strcmp(scope, "default") == 0)
        n = asprintf(&text, "everybody");
    else if (strcmp(scope, "device") == 0)
        n = asprintf(&text, "device %s of %s", text_in(assignment, "device_id"),
                     text_in(assignment, "user"));
    else
        n = asprintf(&text, "%s %s", scope, text_in(assignment, scope));
    return n < 0 ? NULL : text;
}

/* {"scope": ..., ...} of the options. NULL: told. */
static json_t *scope_of(struct cli *cli)
{
    const char *group = cli_value(cli, CLI_OPT_GROUP), *user = cli_value(cli, CLI_OPT_USER);
    const char *of = cli_value_at(cli, CLI_OPT_DEVICE, 0, 0);
    const char *id = of ? cli_value_at(cli, CLI_OPT_DEVICE, 0, 1) : NULL;
    json_t *body;
    if (cli_has(cli, CLI_OPT_DEFAULT) + (group != NULL) + (user != NULL) + (of != NULL) != 1) {
        cli_fail(CLI_USAGE, "one of --default, --group, --user and --device is wanted");
        return NULL;
    }
    if (group)
        body = json_pack("{s:s,s:s}", "scope", "group", "group", group);
    else if (user)
        body = json_pack("{s:s,s:s}", "scope", "user", "user", user);
    else if (of)
        body = json_pack("{s:s,s:s,s:s}", "scope", "device", "user", of, "device_id", id);
    else
        body = json_pack("{s:s}", "scope", "default");
    if (body == NULL) cli_fail(CLI_USAGE, "the name is no UTF-8 text");
    return body;
}

enum cli_exit policy_assign(struct cli *cli)
{
    json_t *body = scope_of(cli);
    if (body == NULL) return CLI_USAGE;
    char *whom = policy_scope_text(body);
    enum cli_exit code;
    if (json_object_set_new(body, "policy", json_string(cli->words[0])) != 0) {
        json_decref(body);
        code = cli_fail(CLI_USAGE, "the policy's name is no UTF-8 text");
    } else
        code = policy_change(cli, "PUT", api_path("/v1/assignments"), body,
                             "It is assigned so already", "Policy %s is assigned to %s",
                             cli->words[0], whom ? whom : "?");
    free(whom);
    return code;
}

enum cli_exit policy_unassign(struct cli *cli)
{
    json_t *body = scope_of(cli);
    if (body == NULL) return CLI_USAGE;
    char *whom = policy_scope_text(body);
    enum cli_exit code = policy_change(cli, "DELETE", api_path("/v1/assignments"), body,
                                       "There is no such assignment",
                                       "The assignment to %s is taken away", whom ? whom : "?");
    free(whom);
    return code;
}

/* ---- effective ---- */

static const json_t *setting_in(const json_t *version, const char *name)
{
    const json_t *one;
    size_t i;
    json_array_foreach(json_object_get(version, "settings"), i,
                       one) if (strcmp(text_in(one, "name"), name) == 0) return one;
    return NULL;
}

/* Versions that do not carry a setting, with commas; to be freed. */
static char *not_carried(const json_t *versions, const char *name)
{
    const json_t *version, *one;
    size_t i, size = 0;
    char *text = NULL;
    FILE *to = open_memstream(&text, &size);
    if (to == NULL) return NULL;
    json_array_foreach(versions, i, version)
    {
        one = setting_in(version, name);
        if (one && !json_is_false(json_object_get(one, "carried"))) continue;
        fprintf(to, "%s%s", ftell(to) > 0 ? ", " : "", text_in(version, "version"));
    }
    fclose(to);
    return text;
}

/* Versions too old for what the policy demands, if the server keeps them out for it. */
static void tell_barred(const json_t *versions)
{
    const json_t *version;
    const char *before = "Devices that speak these versions are not let in: ";
    size_t i;
    json_array_foreach(versions, i, version)
    {
        if (!json_is_true(json_object_get(version, "barred"))) continue;
        fputs(before, stdout);
        text_print(stdout, text_in(version, "version"));
        before = ", ";
    }
    if (*before == ',') putchar('\n');
}

static enum cli_exit tell_effective(const json_t *effective)
{
    static const char *const titles[] = {"SETTING", "VALUE", "FROM", "NOT CARRIED BY"};
    const json_t *versions = json_object_get(effective, "versions"), *version, *one;
    struct table t;
    size_t v, i;
    table_begin(&t, 4, titles);
    json_array_foreach(versions, v, version)
    {
        json_array_foreach(json_object_get(version, "settings"), i, one)
        {
            const char *name = text_in(one, "name");
            size_t before = 0;
            while (before < v && !setting_in(json_array_get(versions, before), name)) before++;
            if (before < v) continue; /* shown already */
            char *missing = not_carried(versions, name);
            table_cell(&t, name);
            policy_value_cell(&t, json_object_get(one, "value"));
            table_cell(&t, json_is_true(json_object_get(one, "upstream"))
                               ? "upstream"
                               : json_string_value(json_object_get(one, "from")));
            table_cell(&t, missing && *missing ? missing : NULL);
            free(missing);
        }
    }
    return table_end(&t, stdout, 0) == 0 ? CLI_DONE : cli_fail(CLI_FAILED, "no memory");
}

enum cli_exit policy_effective(struct cli *cli)
{
    json_t *effective;
    char *path = api_query(api_path("/v1/effective"), "user", cli->words[0]);
    path = api_query(path, "device", cli->count > 1 ? cli->words[1] : NULL);
    enum cli_exit code = api_show(cli, "GET", path, NULL, &effective);
    if (code != CLI_DONE || effective == NULL) return code;
    const json_t *by = json_object_get(effective, "assigned_by");
    char *scope = json_is_object(by) ? policy_scope_text(by) : NULL;
    fputs("Policy ", stdout);
    text_print(stdout, text_in(effective, "policy"));
    printf(", revision %lld, by the assignment to ",
           (long long)json_integer_value(json_object_get(effective, "revision")));
    text_print(stdout, scope ? scope : text_in(effective, "assigned_by"));
    putchar('\n');
    if (json_is_string(json_object_get(effective, "upstream"))) {
        fputs("With what the upstream demands: ", stdout);
        text_print(stdout, text_in(effective, "upstream"));
        putchar('\n');
    }
    tell_barred(json_object_get(effective, "versions"));
    putchar('\n');
    free(scope);
    code = tell_effective(effective);
    json_decref(effective);
    return code;
}

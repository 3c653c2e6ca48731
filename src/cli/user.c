/* provost user */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "src/cli/api.h"
#include "src/cli/password.h"
#include "src/cli/text.h"

/* Send a change and say what it did. */
static enum cli_exit change(struct cli *cli, const char *method, char *path, json_t *body,
                            const char *did)
{
    json_t *answer;
    enum cli_exit code = api_show(cli, method, path, body, &answer);
    if (code == CLI_DONE && answer) {
        printf("User ");
        text_print(stdout, cli->words[0]);
        printf(" %s.\n", did);
        json_int_t pending = json_integer_value(json_object_get(answer, "wipes_pending"));
        if (pending > 0)
            fprintf(stderr, "Wipes that no device had confirmed, and none will now: %lld.\n",
                    (long long)pending);
    }
    json_decref(answer);
    return code;
}

enum cli_exit user_add(struct cli *cli)
{
    char password[PASSWORD_MAX];
    enum cli_exit code = password_read(cli_value(cli, CLI_OPT_PASSWORD_FILE), true, password);
    if (code == CLI_DONE)
        code = change(cli, "POST", api_path("/v1/users"),
                      json_pack("{s:s,s:s}", "name", cli->words[0], "password", password), "added");
    explicit_bzero(password, sizeof password);
    return code;
}

enum cli_exit user_passwd(struct cli *cli)
{
    char password[PASSWORD_MAX];
    enum cli_exit code = password_read(cli_value(cli, CLI_OPT_PASSWORD_FILE), true, password);
    if (code == CLI_DONE)
        code = change(cli, "PUT", api_path("/v1/users/%s/password", cli->words[0]),
                      json_pack("{s:s}", "password", password), "has a new password");
    explicit_bzero(password, sizeof password);
    return code;
}

enum cli_exit user_enable(struct cli *cli)
{
    return change(cli, "POST", api_path("/v1/users/%s/enable", cli->words[0]), NULL,
                  "may use the server");
}

enum cli_exit user_disable(struct cli *cli)
{
    return change(cli, "POST", api_path("/v1/users/%s/disable", cli->words[0]), NULL,
                  "may no longer use the server");
}

static enum cli_exit set_device_wipe(struct cli *cli, bool allowed)
{
    json_t *answer;
    enum cli_exit code = api_show(cli, "PUT", api_path("/v1/users/%s/device-wipe", cli->words[0]),
                                  json_pack("{s:b}", "allowed", (int)allowed), &answer);
    if (code == CLI_DONE && answer) {
        printf("Whole devices of user ");
        text_print(stdout, cli->words[0]);
        printf(allowed ? " may be wiped.\n" : " are not wiped any more.\n");
    }
    json_int_t pending = json_integer_value(json_object_get(answer, "wipes_pending"));
    if (pending > 0)
        fprintf(stderr,
                "Wipes of whole devices that go on: %lld (provost device cancel-wipe ends one).\n",
                (long long)pending);
    json_decref(answer);
    return code;
}

enum cli_exit user_forbid_wipe(struct cli *cli)
{
    return set_device_wipe(cli, false);
}

enum cli_exit user_permit_wipe(struct cli *cli)
{
    return set_device_wipe(cli, true);
}

enum cli_exit user_remove(struct cli *cli)
{
    if (!cli_sure(cli, "Forget this user with all devices, their keys, blocks and wipes?"))
        return CLI_FAILED;
    return change(cli, "DELETE", api_path("/v1/users/%s", cli->words[0]), NULL,
                  "is forgotten, with all devices, their keys, blocks and wipes");
}

static bool list_rows(void *table, const json_t *users)
{
    const json_t *user;
    size_t i;
    struct table *t = table;
    json_array_foreach(users, i, user)
    {
        table_cell(t, json_string_value(json_object_get(user, "name")));
        table_cell(t, json_is_true(json_object_get(user, "enabled")) ? "yes" : "no");
        table_cell(t, json_is_true(json_object_get(user, "device_wipe")) ? "allowed" : "forbidden");
    }
    table_flush(t, stdout, 0);
    return !t->failed;
}

enum cli_exit user_list(struct cli *cli)
{
    static const char *const titles[] = {"USER", "ENABLED", "DEVICE WIPE"};
    struct table t;
    table_begin(&t, 3, titles);
    enum cli_exit code = api_pages(cli, api_path("/v1/users"), 0, list_rows, &t);
    if (code != CLI_DONE || cli->json) {
        table_drop(&t);
        return code;
    }
    return table_end(&t, stdout, 0) == 0 ? CLI_DONE : cli_fail(CLI_FAILED, "no memory");
}

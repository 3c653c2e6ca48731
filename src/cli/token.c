/* provost token */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "src/cli/api.h"
#include "src/cli/text.h"

/* "read,operate" as a list; NULL: no memory, or no UTF-8, which the server would not know either. */
static json_t *list_of(const char *scopes)
{
    json_t *list = json_array();
    for (const char *p = scopes; *p;) {
        size_t len = strcspn(p, ",");
        if (json_array_append_new(list, json_stringn(p, len)) != 0) {
            json_decref(list);
            return NULL;
        }
        p += len + (p[len] == ',');
    }
    return list;
}

enum cli_exit token_add(struct cli *cli)
{
    const char *scopes = cli_value(cli, CLI_OPT_SCOPE);
    json_t *answer;
    if (scopes == NULL)
        return cli_fail(CLI_USAGE, "--scope is wanted: read, operate, wipe, or several with commas "
                                   "between them");
    json_t *body = json_pack("{s:s,s:o,s:s*}", "name", cli->words[0], "scopes", list_of(scopes),
                             "expires", cli_value(cli, CLI_OPT_EXPIRES));
    if (body == NULL) return cli_fail(CLI_USAGE, "the name or a value is no UTF-8 text");
    enum cli_exit code = api_show(cli, "POST", api_path("/v1/tokens"), body, &answer);
    if (code == CLI_DONE && answer) {
        text_print(stdout, json_string_value(json_object_get(answer, "token")));
        putchar('\n');
        fputs("This is the only time that the token is shown: keep it in a file that others "
              "cannot read.\n",
              stderr);
    }
    json_decref(answer);
    return code;
}

static void cell_of_scopes(struct table *t, const json_t *scopes)
{
    char text[64] = "";
    size_t i, len = 0;
    const json_t *scope;
    json_array_foreach(scopes, i, scope)
    {
        int n = snprintf(text + len, sizeof text - len, "%s%s", i ? "," : "",
                         json_string_value(scope) ? json_string_value(scope) : "?");
        if (n < 0 || (size_t)n >= sizeof text - len) break;
        len += (size_t)n;
    }
    table_cell(t, text);
}

enum cli_exit token_list(struct cli *cli)
{
    static const char *const titles[] = {"TOKEN", "SCOPES", "CREATED", "EXPIRES", "LAST USED"};
    json_t *tokens, *token;
    size_t i;
    struct table t;
    enum cli_exit code = api_show(cli, "GET", api_path("/v1/tokens"), NULL, &tokens);
    if (code != CLI_DONE || tokens == NULL) return code;
    table_begin(&t, 5, titles);
    json_array_foreach(tokens, i, token)
    {
        table_cell(&t, json_string_value(json_object_get(token, "name")));
        cell_of_scopes(&t, json_object_get(token, "scopes"));
        table_cell(&t, json_string_value(json_object_get(token, "created_at")));
        table_cell(&t, json_string_value(json_object_get(token, "expires_at")));
        table_cell(&t, json_string_value(json_object_get(token, "last_used_at")));
    }
    json_decref(tokens);
    return table_end(&t, stdout, 0) == 0 ? CLI_DONE : cli_fail(CLI_FAILED, "no memory");
}

enum cli_exit token_remove(struct cli *cli)
{
    json_t *answer;
    enum cli_exit code =
        api_show(cli, "DELETE", api_path("/v1/tokens/%s", cli->words[0]), NULL, &answer);
    if (code == CLI_DONE && answer) {
        printf("Token ");
        text_print(stdout, cli->words[0]);
        printf(" is refused from now on.\n");
    }
    json_decref(answer);
    return code;
}

/* provost status */
#include <jansson.h>
#include <stdio.h>

#include "src/cli/api.h"
#include "src/cli/text.h"

enum cli_exit status_show(struct cli *cli)
{
    json_t *status, *value;
    const char *name;
    enum cli_exit code = api_show(cli, "GET", api_path("/v1/status"), NULL, &status);
    if (code != CLI_DONE || status == NULL) return code;
    json_object_foreach(status, name, value)
    {
        text_print(stdout, name);
        if (json_is_string(value)) {
            fputs(": ", stdout);
            text_print(stdout, json_string_value(value));
            putchar('\n');
        } else
            printf(": %lld\n", (long long)json_integer_value(value));
    }
    json_decref(status);
    return CLI_DONE;
}

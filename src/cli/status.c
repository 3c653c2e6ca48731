/* provost status */
#include <jansson.h>
#include <stdio.h>

#include "src/cli/api.h"
#include "src/cli/text.h"

#define DEPTH_MAX 4 /* of what is shown */

static void show_all(const json_t *object, unsigned depth);

/* Items of a list: words on the line, objects each below it. */
static void show_list(const json_t *list, unsigned depth)
{
    const json_t *item;
    size_t i;
    if (json_array_size(list) == 0) fputs(" -", stdout);
    json_array_foreach(list, i, item)
    {
        if (!json_is_string(item)) continue;
        fputs(i ? ", " : " ", stdout);
        text_print(stdout, json_string_value(item));
    }
    putchar('\n');
    json_array_foreach(list, i, item)
    {
        if (json_is_object(item)) show_all(item, depth + 1);
    }
}

static void show(const char *name, const json_t *value, unsigned depth)
{
    printf("%*s", (int)(2 * depth), "");
    text_print(stdout, name);
    putchar(':');
    if (json_is_array(value) && depth < DEPTH_MAX) {
        show_list(value, depth);
        return;
    }
    if (json_is_object(value) && depth < DEPTH_MAX) {
        putchar('\n');
        show_all(value, depth + 1);
        return;
    }
    putchar(' ');
    if (json_is_string(value))
        text_print(stdout, json_string_value(value));
    else if (json_is_integer(value))
        printf("%lld", (long long)json_integer_value(value));
    else if (json_is_real(value))
        printf("%.1f", json_real_value(value));
    else
        fputs(json_is_true(value) ? "yes" : json_is_false(value) ? "no" : "-", stdout);
    putchar('\n');
}

static void show_all(const json_t *object, unsigned depth)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)object, name, value) show(name, value, depth);
}

enum cli_exit status_show(struct cli *cli)
{
    json_t *status;
    enum cli_exit code = api_show(cli, "GET", api_path("/v1/status"), NULL, &status);
    if (code != CLI_DONE || status == NULL) return code;
    show_all(status, 0);
    json_decref(status);
    return CLI_DONE;
}

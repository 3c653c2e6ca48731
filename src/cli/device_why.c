/* provost device why */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "src/cli/api.h"
#include "src/cli/text.h"

static const char *text_at(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

static json_int_t number_at(const json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}

/* "Provision (ack 2)", "FolderSync" */
static void said_of(const json_t *step, char *buf, size_t cap)
{
    const char *command = text_at(step, "command"), *event = text_at(step, "event");
    json_int_t said = number_at(step, "said");
    if (!command) command = "?";
    bool provision = strcmp(command, "Provision") == 0;
    if (said)
        snprintf(buf, cap, "%s (%s %lld)", command, event ? event : "?", (long long)said);
    else if (provision)
        snprintf(buf, cap, "%s (%s)", command, event ? event : "?");
    else
        snprintf(buf, cap, "%s", command);
}

/* "Status 142", "HTTP 449", "key 13xxxxxxxx" */
static void answer_of(const json_t *step, char *buf, size_t cap)
{
    const char *given = text_at(step, "given");
    json_int_t status = number_at(step, "status"), http = number_at(step, "http");
    if (given && strcmp(given, "none") != 0)
        snprintf(buf, cap, "key %s", given);
    else if (http && http != 200)
        snprintf(buf, cap, "HTTP %lld", (long long)http);
    else if (status)
        snprintf(buf, cap, "Status %lld", (long long)status);
    else
        buf[0] = '\0';
}

static void step_row(struct table *t, const json_t *step)
{
    char said[96], answer[64];
    json_int_t revision = number_at(step, "revision");
    said_of(step, said, sizeof said);
    answer_of(step, answer, sizeof answer);
    table_cell(t, text_at(step, "last"));
    table_cell(t, text_at(step, "step"));
    table_cell(t, said);
    table_cell(t, text_at(step, "sent"));
    table_cell(t, text_at(step, "expected"));
    table_cell(t, *answer ? answer : NULL);
    table_cell(t, text_at(step, "reason"));
    table_cell(t, text_at(step, "protocol_version"));
    if (revision)
        table_cell_int(t, revision);
    else
        table_cell(t, NULL);
    table_cell_int(t, number_at(step, "times"));
    table_cell(t, number_at(step, "times") > 1 ? text_at(step, "first") : NULL);
}

static void print_line(const char *label, const char *text)
{
    if (!text) return;
    fputs(label, stdout);
    text_print(stdout, text);
    putchar('\n');
}

static void print_clone(const json_t *clone)
{
    if (!json_is_object(clone) || number_at(clone, "returns") < 2) return;
    printf("It shows two faces in turn (%lld times so far); the other one is ",
           (long long)number_at(clone, "returns"));
    text_print(stdout, text_at(clone, "device_type") ? text_at(clone, "device_type") : "?");
    fputs(", ", stdout);
    text_print(stdout, text_at(clone, "user_agent") ? text_at(clone, "user_agent") : "?");
    fputs(".\n", stdout);
}

enum cli_exit device_why(struct cli *cli)
{
    static const char *const titles[] = {"TIME",     "STEP",     "CLIENT SAID", "SENT",
                                         "EXPECTED", "ANSWERED", "REASON",      "VERSION",
                                         "REVISION", "TIMES",    "SINCE"};
    json_t *why, *step;
    size_t i;
    struct table t;
    enum cli_exit code = api_show(
        cli, "GET", api_path("/v1/devices/%s/%s/why", cli->words[0], cli->words[1]), NULL, &why);
    if (code != CLI_DONE || why == NULL) return code;
    const json_t *steps = json_object_get(why, "steps");
    if (json_array_size(steps) > 0) {
        table_begin(&t, sizeof titles / sizeof *titles, titles);
        json_array_foreach((json_t *)steps, i, step) step_row(&t, step);
        if (table_end(&t, stdout, 0) != 0) code = cli_fail(CLI_FAILED, "no memory");
        putchar('\n');
    }
    print_line("", text_at(why, "sentence"));
    print_line("", text_at(why, "advice"));
    print_clone(json_object_get(why, "clone"));
    json_decref(why);
    return code;
}

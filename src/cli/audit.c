/* provost audit */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/cli/api.h"
#include "src/cli/text.h"
#include "src/json_text.h"

enum { FOLLOW_SECONDS = 1, FOLLOW_AWAY_SECONDS = 30 };

/* What is told of a line before the rest of it. */
static const char *const heads[] = {"seq", "at", "actor", "act"};
/* What is not: it is for programs, and for --verify. */
static const char *const left_out[] = {"prev", "hash"};

static bool is_one_of(const char *name, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(name, names[i]) == 0) return true;
    return false;
}

/* " name=value", the value as JSON where it is no text. */
static void print_member(const char *name, const json_t *value)
{
    char *text = NULL;
    putchar(' ');
    text_print(stdout, name);
    putchar('=');
    if (!json_is_string(value)) text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    text_print(stdout, text ? text : json_is_string(value) ? json_string_value(value) : "?");
    free(text);
}

static void print_line(const json_t *line)
{
    const char *name;
    json_t *value;
    printf("%lld ", (long long)json_integer_value(json_object_get(line, "seq")));
    for (size_t i = 1; i < sizeof heads / sizeof *heads; i++) {
        const char *text = json_string_value(json_object_get(line, heads[i]));
        printf("%s", i > 1 ? "  " : "");
        text_print(stdout, text ? text : "-");
    }
    json_object_foreach((json_t *)line, name,
                        value) if (!is_one_of(name, heads, sizeof heads / sizeof *heads) &&
                                   !is_one_of(name, left_out, sizeof left_out / sizeof *left_out) &&
                                   !json_is_null(value)) print_member(name, value);
    putchar('\n');
}

/* Prints what came; *after_out goes on to the last line. */
static void print_lines(const struct cli *cli, const json_t *lines, json_int_t *after_out)
{
    json_t *line;
    size_t i;
    json_array_foreach((json_t *)lines, i, line)
    {
        json_int_t seq = json_integer_value(json_object_get(line, "seq"));
        if (seq > *after_out) *after_out = seq;
        if (cli->json) { /* only where lines are followed: a document for each */
            json_dumpf(line, stdout, JSON_COMPACT);
            putchar('\n');
        } else {
            print_line(line);
        }
    }
    fflush(stdout);
}

static enum cli_exit fetch(struct cli *cli, json_int_t after, const char *last, json_t **lines_out)
{
    char number[24];
    snprintf(number, sizeof number, "%" JSON_INTEGER_FORMAT, after);
    char *path = api_query(api_path("/v1/audit"), "after", number);
    return api_call(cli, "GET", api_query(path, "last", last), NULL, lines_out);
}

/* A server that is away, such as for an upgrade, is asked again, less and less often; one that has
 * never answered is not. */
static enum cli_exit follow(struct cli *cli, const char *last)
{
    json_int_t after = 0;
    bool answered = false;
    for (unsigned wait = 0;; sleep(wait)) {
        json_t *lines;
        enum cli_exit code = fetch(cli, after, answered ? NULL : last, &lines);
        if (code == CLI_UNREACHABLE && answered) {
            wait = wait < FOLLOW_AWAY_SECONDS / 2 ? wait * 2 + 1 : FOLLOW_AWAY_SECONDS;
            continue;
        }
        if (code != CLI_DONE) return code;
        answered = true;
        wait = json_array_size(lines) ? 0 : FOLLOW_SECONDS; /* more may be there already */
        print_lines(cli, lines, &after);
        json_decref(lines);
        if (ferror(stdout)) return CLI_FAILED;
    }
}

static enum cli_exit verify(struct cli *cli)
{
    json_t *report;
    enum cli_exit code = api_call(cli, "GET", api_path("/v1/audit/verify"), NULL, &report);
    if (code != CLI_DONE) return code;
    const json_t *fault = json_object_get(report, "fault");
    const json_t *head = json_object_get(report, "head");
    if (!json_is_true(json_object_get(report, "good"))) code = CLI_FAILED;
    if (cli->json) {
        if (json_print(report) != 0) code = cli_fail(CLI_FAILED, "the answer cannot be printed");
    } else {
        long long files = json_integer_value(json_object_get(report, "files"));
        long long lines = (long long)json_integer_value(json_object_get(report, "lines"));
        printf("%lld lines in ", lines);
        if (lines && !files)
            fputs("the database", stdout);
        else
            printf("%lld file%s", files, files == 1 ? "" : "s");
        printf(", from %lld to %lld.\n",
               (long long)json_integer_value(json_object_get(report, "first_seq")),
               (long long)json_integer_value(json_object_get(report, "last_seq")));
        printf("Head: %lld ", (long long)json_integer_value(json_object_get(head, "seq")));
        text_print(stdout, json_string_value(json_object_get(head, "hash")));
        putchar('\n');
        json_int_t first = json_integer_value(json_object_get(report, "first_seq"));
        if (code == CLI_DONE && first > 1)
            printf("The chain is whole from there; lines 1 to %lld are not kept here.\n",
                   (long long)first - 1);
        else if (code == CLI_DONE)
            puts("The chain is whole.");
    }
    if (code == CLI_FAILED && json_is_object(fault)) {
        const char *file = json_string_value(json_object_get(fault, "file"));
        const char *why = json_string_value(json_object_get(fault, "why"));
        cli_fail(code, "%s, line %lld (sequence number %lld): %s", file ? file : "?",
                 (long long)json_integer_value(json_object_get(fault, "line")),
                 (long long)json_integer_value(json_object_get(fault, "seq")), why ? why : "?");
    }
    json_decref(report);
    return code;
}

/* All that is there, or the last ones, page by page. */
static enum cli_exit show(struct cli *cli, const char *last)
{
    json_t *all = cli->json ? json_array() : NULL, *lines;
    json_int_t after = 0;
    enum cli_exit code;
    for (;;) {
        code = fetch(cli, after, last, &lines);
        if (code != CLI_DONE) break;
        size_t count = json_array_size(lines);
        json_int_t before = after;
        if (all) {
            json_t *end = json_array_get(lines, count - 1);
            if (count) after = json_integer_value(json_object_get(end, "seq"));
            if (json_array_extend(all, lines) != 0) code = cli_fail(CLI_FAILED, "no memory");
        } else {
            print_lines(cli, lines, &after);
        }
        json_decref(lines);
        if (code != CLI_DONE || count == 0 || after <= before) break;
    }
    if (all && code == CLI_DONE && json_print(all) != 0)
        code = cli_fail(CLI_FAILED, "the answer cannot be printed");
    json_decref(all);
    return code;
}

enum cli_exit audit_show(struct cli *cli)
{
    const char *last = cli_value(cli, CLI_OPT_LAST);
    if (cli_has(cli, CLI_OPT_VERIFY)) {
        if (last || cli_has(cli, CLI_OPT_FOLLOW))
            return cli_fail(CLI_USAGE, "--verify looks at all lines, and at nothing else");
        return verify(cli);
    }
    return cli_has(cli, CLI_OPT_FOLLOW) ? follow(cli, last) : show(cli, last);
}

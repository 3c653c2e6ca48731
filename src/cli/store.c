/* provost store backup, restore, check */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/cli/store_job.h"
#include "src/cli/text.h"

/* The server has another working directory. NULL: it was told what is wrong. */
static char *absolute(const char *file)
{
    char *here = NULL, *path = NULL;
    if (file[0] != '/' && !(here = getcwd(NULL, 0))) {
        cli_fail(CLI_FAILED, "the working directory has no name");
        return NULL;
    }
    if (asprintf(&path, "%s%s%s", here ? here : "", here ? "/" : "", file) < 0) {
        path = NULL;
        cli_fail(CLI_FAILED, "no memory");
    }
    free(here);
    return path;
}

static long long number(const json_t *object, const char *name)
{
    return (long long)json_integer_value(json_object_get(object, name));
}

static enum cli_exit print_and_free(json_t *result)
{
    int rc = json_print(result);
    json_decref(result);
    return rc == 0 ? CLI_DONE : cli_fail(CLI_FAILED, "the answer cannot be printed");
}

/* The command's file and a flag with it. */
static enum cli_exit job_with_file(struct cli *cli, const char *path, const char *flag, bool set,
                                   json_t **result_out)
{
    char *file = absolute(cli->words[0]);
    if (file == NULL) return CLI_FAILED;
    json_t *body = json_pack("{s:s,s:b}", "file", file, flag, set);
    free(file);
    if (body == NULL) return cli_fail(CLI_USAGE, "the name of the file is no UTF-8 text");
    return store_job(cli, strdup(path), body, result_out);
}

enum cli_exit upkeep_backup(struct cli *cli)
{
    json_t *result;
    enum cli_exit code =
        job_with_file(cli, "/v1/store/backup", "replace", cli_has(cli, CLI_OPT_FORCE), &result);
    if (code != CLI_DONE) return code;
    if (cli->json) return print_and_free(result);
    printf("%lld devices, %lld bytes, in ", number(result, "devices"), number(result, "bytes"));
    text_print(stdout, json_string_value(json_object_get(result, "file")));
    printf(".\n");
    json_decref(result);
    return CLI_DONE;
}

static enum cli_exit show_findings(const json_t *result)
{
    static const char *const titles[] = {"WHERE", "WHAT"};
    const json_t *list = json_object_get(result, "findings"), *f;
    struct table t;
    size_t i;
    table_begin(&t, 2, titles);
    json_array_foreach(list, i, f)
    {
        table_cell(&t, json_string_value(json_object_get(f, "where")));
        table_cell(&t, json_string_value(json_object_get(f, "why")));
    }
    if (table_end(&t, stdout, 0) != 0) return cli_fail(CLI_FAILED, "no memory");
    long long more = number(result, "count") - (long long)json_array_size(list);
    if (more > 0) printf("and %lld more\n", more);
    return CLI_FAILED;
}

enum cli_exit upkeep_check(struct cli *cli)
{
    json_t *result;
    enum cli_exit code = store_job(cli, api_path("/v1/store/check"), NULL, &result);
    if (code != CLI_DONE) return code;
    bool good = json_is_true(json_object_get(result, "good"));
    if (cli->json) {
        code = print_and_free(result);
        return code == CLI_DONE && !good ? CLI_FAILED : code;
    }
    if (good)
        printf("%lld rows, all as they should be.\n", number(result, "rows"));
    else
        code = show_findings(result);
    json_decref(result);
    return code;
}

static void say_if(const json_t *result, const char *name, const char *says)
{
    if (number(result, name)) printf("%lld %s\n", number(result, name), says);
}

/* What would come of it, or has. */
static void show_restore(const json_t *result)
{
    const char *seen = json_string_value(json_object_get(result, "last_seen"));
    printf("The file has %lld devices, last seen ", number(result, "devices"));
    text_print(stdout, seen ? seen : "never");
    printf(", %lld policies and %lld rules.\n", number(result, "policies"),
           number(result, "rules"));
    say_if(result, "gone", "devices are not in it: they provision as new ones.");
    say_if(result, "other_keys", "devices have another key since: they provision again.");
    say_if(result, "kept",
           "devices stay as they are: blocked or wiped since, or a wipe of them is over since.");
    say_if(result, "blocked",
           "devices are blocked: the file would have them wiped, and here nobody knows them any "
           "more.");
    say_if(result, "held_users", "users stay disabled, or not to be wiped.");
}

enum cli_exit upkeep_restore(struct cli *cli)
{
    json_t *result;
    bool dry = cli_has(cli, CLI_OPT_DRY_RUN);
    if (!dry && !cli_has(cli, CLI_OPT_YES) && cli_terminal()) {
        enum cli_exit code = job_with_file(cli, "/v1/store/restore", "dry_run", true, &result);
        if (code != CLI_DONE) return code;
        if (!cli->json) show_restore(result);
        json_decref(result);
        fflush(stdout);
        if (!cli_sure(cli, "All else that the store says now is replaced by the file. Restore it?"))
            return cli_fail(CLI_FAILED, "nothing was changed");
    }
    enum cli_exit code = job_with_file(cli, "/v1/store/restore", "dry_run", dry, &result);
    if (code != CLI_DONE) return code;
    if (cli->json) return print_and_free(result);
    show_restore(result);
    puts(dry ? "Nothing was changed." : "Restored.");
    json_decref(result);
    return CLI_DONE;
}

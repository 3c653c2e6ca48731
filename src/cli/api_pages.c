/* Listings that the server gives page by page. */
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/cli/api.h"

enum { PAGE = 1000 }; /* rows that the server gives without being asked for fewer */

char *api_limit(char *path, const char *text, unsigned long long *most_out)
{
    bool number = text && *text && text[strspn(text, "0123456789")] == '\0';
    *most_out = number ? strtoull(text, NULL, 10) : 0;
    return *most_out > PAGE ? path : api_query(path, "limit", text);
}

/* "[...\n]" without what is around the rows. false: no memory. */
static bool print_rows(const json_t *rows, const char *before)
{
    char *text = json_dumps(rows, JSON_INDENT(2));
    size_t len = text ? strlen(text) : 0;
    if (len > 3) printf("%s%.*s", before, (int)(len - 3), text + 1);
    free(text);
    return len > 0;
}

/* No more than are wanted. */
static void cut(json_t *rows, unsigned long long most)
{
    while (json_array_size(rows) > most) (void)json_array_remove(rows, json_array_size(rows) - 1);
}

static enum cli_exit show(struct cli *cli, const json_t *rows, bool first,
                          bool (*each)(void *ctx, const json_t *rows), void *ctx)
{
    bool ok = cli->json ? print_rows(rows, first ? "[" : ",") : each(ctx, rows);
    return ok ? CLI_DONE : cli_fail(CLI_FAILED, "no memory");
}

enum cli_exit api_pages(struct cli *cli, char *path, unsigned long long most,
                        bool (*each)(void *ctx, const json_t *rows), void *ctx)
{
    enum cli_exit code = CLI_DONE;
    bool printed = false;
    do {
        json_t *rows;
        code = api_call(cli, "GET", path, NULL, &rows);
        path = NULL;
        if (code != CLI_DONE) break;
        if (most) cut(rows, most);
        bool some = json_array_size(rows) > 0;
        code = show(cli, rows, !printed, each, ctx);
        printed |= some;
        bool enough = most && json_array_size(rows) == most;
        if (most) most -= json_array_size(rows);
        json_decref(rows);
        if (code == CLI_DONE && !enough) code = api_next(cli, &path);
    } while (code == CLI_DONE && path);
    free(path);
    /* A listing that broke off is no JSON. */
    if (code == CLI_DONE && cli->json) puts(printed ? "\n]" : "[]");
    return code;
}

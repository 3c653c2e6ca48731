#include "src/cli/store_job.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "src/cli/text.h"

#define BAR 30 /* characters */
enum { ASK_FIRST_MS = 20, ASK_MS = 250 };

void progress_show(const char *what, uint64_t done, uint64_t of)
{
    char bar[BAR + 1];
    if (isatty(STDERR_FILENO) != 1) return;
    unsigned share = of ? (unsigned)(done * 100.0 / (double)of) : 0;
    unsigned full = share * BAR / 100 < BAR ? share * BAR / 100 : BAR;
    memset(bar, '.', BAR);
    memset(bar, '#', full);
    bar[BAR] = '\0';
    fputs("\r\033[K", stderr);
    text_print(stderr, what);
    if (of) fprintf(stderr, " [%s] %u %%", bar, share);
    fflush(stderr);
}

void progress_end(void)
{
    if (isatty(STDERR_FILENO) != 1) return;
    fputs("\r\033[K", stderr);
    fflush(stderr);
}

static void pause_ms(unsigned ms)
{
    const struct timespec t = {ms / 1000, ms % 1000 * 1000000L};
    nanosleep(&t, NULL);
}

static uint64_t number(const json_t *job, const char *name)
{
    json_int_t n = json_integer_value(json_object_get(job, name));
    return n > 0 ? (uint64_t)n : 0;
}

static const char *text(const json_t *job, const char *name)
{
    const char *t = json_string_value(json_object_get(job, name));
    return t ? t : "?";
}

static enum cli_exit ended(json_t *job, json_t **result_out)
{
    if (strcmp(text(job, "state"), "done") != 0)
        return cli_fail(CLI_FAILED, "%s", text(job, "error"));
    *result_out = json_incref(json_object_get(job, "result"));
    return CLI_DONE;
}

enum cli_exit store_job(struct cli *cli, char *path, json_t *body, json_t **result_out)
{
    json_t *job;
    *result_out = NULL;
    enum cli_exit code = api_call(cli, "POST", path, body, &job);
    if (code != CLI_DONE) return code;
    const uint64_t id = number(job, "id");
    json_decref(job);
    for (unsigned ms = ASK_FIRST_MS;; ms = ms < ASK_MS / 2 ? 2 * ms : ASK_MS) {
        pause_ms(ms);
        code = api_call(cli, "GET", api_path("/v1/store/job"), NULL, &job);
        if (code != CLI_DONE) break;
        if (number(job, "id") != id) {
            code = cli_fail(CLI_FAILED, "the server has started anew meanwhile, or works on "
                                        "something else; its log tells what came of this");
        } else if (strcmp(text(job, "state"), "running") == 0) {
            progress_show(text(job, "step"), number(job, "done"), number(job, "of"));
            json_decref(job);
            continue;
        } else {
            progress_end();
            code = ended(job, result_out);
        }
        json_decref(job);
        return code;
    }
    progress_end();
    return code;
}

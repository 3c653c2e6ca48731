/* provost policy import: the policies of another server. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/cli/import.h"
#include "src/cli/policy.h"
#include "src/cli/policy_files.h"

static void tell_notes(const struct import *m, const char *file)
{
    const json_t *note;
    size_t i;
    json_array_foreach(m->notes, i, note)
    {
        const char *policy = json_string_value(json_object_get(note, "policy"));
        char line[24] = "";
        if (json_object_get(note, "line"))
            snprintf(line, sizeof line, ":%lld",
                     (long long)json_integer_value(json_object_get(note, "line")));
        cli_fail(CLI_DONE, "%s%s: %s%s%s%s", file, line, policy ? policy : "", policy ? ": " : "",
                 json_string_value(json_object_get(note, "says")),
                 json_is_true(json_object_get(note, "skipped")) ? " (left out)" : "");
    }
    if (m->notes_lost) cli_fail(CLI_DONE, "%s: and %zu more", file, m->notes_lost);
}

/* Which one is the default is told, and followed only when asked for. */
static enum cli_exit take_default(struct cli *cli, const struct import *m, struct policy_wish *wish)
{
    const json_t *policy;
    size_t i;
    json_array_foreach(m->policies, i, policy)
    {
        const char *name = json_string_value(json_object_get(policy, "name"));
        if (!json_object_get(policy, "is_default")) continue;
        if (!cli_has(cli, CLI_OPT_ASSIGN)) {
            if (strcmp(name, "default") != 0)
                cli_fail(CLI_DONE, "%s is the default policy there; --assign makes it so here",
                         name);
            continue;
        }
        if (wish->assignments)
            return cli_fail(CLI_FAILED, "--assign: more than one policy is the default there");
        wish->assignments = json_pack("[{s:s,s:s}]", "scope", "default", "policy", name);
        if (wish->assignments == NULL) return cli_fail(CLI_FAILED, "no memory");
    }
    return CLI_DONE;
}

static enum cli_exit take(struct cli *cli, const struct import *m, const char *file)
{
    struct policy_wish wish = {.policies = m->policies, .notes = m->notes};
    enum cli_exit code = CLI_DONE;
    tell_notes(m, file);
    if (cli_has(cli, CLI_OPT_STRICT) && m->skipped > 0)
        return cli_fail(CLI_FAILED,
                        "%zu of the file's lines would be left out; nothing was changed",
                        m->skipped);
    code = take_default(cli, m, &wish);
    if (code == CLI_DONE) code = policy_make_so(cli, &wish);
    json_decref(wish.assignments);
    return code;
}

enum cli_exit policy_import(struct cli *cli)
{
    const char *from = cli->words[0], *file = cli->words[1];
    const char *prefix = cli_value(cli, CLI_OPT_PREFIX);
    bool zpush = strcmp(from, "zpush") == 0;
    struct import m = {0};
    size_t size = 0, len = 0;
    enum cli_exit code;
    if (!zpush && strcmp(from, "exchange") != 0)
        return cli_fail(CLI_USAGE, "%s: zpush or exchange is wanted", from);
    char *data = file_read(AT_FDCWD, file, file, IMPORT_FILE_MAX, &size);
    if (data == NULL) return CLI_FAILED;
    char *text = import_utf8(data, size, &len);
    free(data);
    if (text == NULL) return cli_fail(CLI_FAILED, "no memory");
    bool read = zpush ? import_zpush(&m, text, len, prefix ? prefix : "")
                      : import_exchange(&m, text, len, prefix ? prefix : "");
    if (read && !m.no_memory)
        code = take(cli, &m, file);
    else if (m.no_memory)
        code = cli_fail(CLI_FAILED, "no memory");
    else {
        tell_notes(&m, file);
        code = cli_fail(CLI_FAILED, "%s: %s", file, m.error);
    }
    import_finish(&m);
    free(text);
    return code;
}

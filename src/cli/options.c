/* Options of a command: its synopsis says which there are, how many values each has, and whether it
 * may be given more than once. */
#include <stdlib.h>
#include <string.h>

#include "src/cli/cli.h"

#define OPTION_NAME(id, name) name,
static const char *const names[] = {CLI_OPTIONS(OPTION_NAME)};
#undef OPTION_NAME

enum { VALUES_MAX = 4 }; /* of one option; no synopsis has more */

/* Characters of an option's or a value's name in a synopsis. */
static size_t name_len(const char *text)
{
    return strcspn(text, " []()|.=");
}

/* Where a synopsis names the option; NULL: it has none of that name. */
static const char *find_in(const char *synopsis, const char *name, size_t len)
{
    for (const char *p = synopsis; (p = strstr(p, "--")) != NULL; p += 2)
        if (name_len(p + 2) == len && strncmp(p + 2, name, len) == 0) return p + 2 + len;
    return NULL;
}

/* The words behind an option's name up to a bracket, a bar or the next option are its values, as in
 * "[--parent POLICY]", "--device USER ID |"; dots say that it may come again. */
static int values_of(const char *behind, bool *again_out)
{
    int n = 0;
    while (behind[0] == ' ' && name_len(behind + 1) > 0 && behind[1] != '-') {
        behind += 1 + name_len(behind + 1);
        n++;
    }
    *again_out = strncmp(behind, "...", 3) == 0;
    return n;
}

static bool option_find(const char *name, size_t len, enum cli_option *out)
{
    for (int i = 0; i < CLI_OPTION_COUNT; i++)
        if (strlen(names[i]) == len && strncmp(names[i], name, len) == 0) {
            *out = (enum cli_option)i;
            return true;
        }
    return false;
}

/* One option at argv[0], "--" taken off. @return how many words it took, 0: wrong */
static int take_option(struct cli *cli, const char *synopsis, int argc, char **argv)
{
    char *name = argv[0] + 2;
    size_t len = strcspn(name, "=");
    const char *behind = find_in(synopsis, name, len);
    enum cli_option option;
    bool again;
    if (behind == NULL || !option_find(name, len, &option)) return 0;
    int values = values_of(behind, &again), words = 1 + values;
    if (values > VALUES_MAX || (cli_has(cli, option) && !again)) return 0;
    if (name[len] == '=' && values != 1) return 0;
    if (name[len] == '=') {
        argv[0] = name + len + 1;
        words = 1;
    } else if (words > argc)
        return 0;
    cli->given[cli->given_count++] = (struct cli_given){
        .option = option, .values = name[len] == '=' || !values ? argv : argv + 1};
    return words;
}

bool cli_take_words(struct cli *cli, const char *synopsis, int argc, char **argv, bool *help_out)
{
    bool more = true, good = true;
    *help_out = false;
    cli->words = calloc((size_t)argc + 1, sizeof *cli->words);
    cli->given = calloc((size_t)argc + 1, sizeof *cli->given);
    good = cli->words && cli->given;
    for (int i = 0, took = 1; good && i < argc; i += took) {
        took = 1;
        if (!more || argv[i][0] != '-' || argv[i][1] == '\0')
            cli->words[cli->count++] = argv[i];
        else if (strcmp(argv[i], "--") == 0)
            more = false;
        else if (strcmp(argv[i], "--json") == 0)
            cli->json = true;
        else if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            *help_out = true;
        else
            good = argv[i][1] == '-' && (took = take_option(cli, synopsis, argc - i, argv + i)) > 0;
    }
    if (!good) cli_free_words(cli);
    return good;
}

void cli_free_words(struct cli *cli)
{
    free(cli->words);
    free(cli->given);
    cli->words = NULL;
    cli->given = NULL;
    cli->count = cli->given_count = 0;
}

const char *cli_value_at(const struct cli *cli, enum cli_option option, int nth, int index)
{
    for (int i = 0; i < cli->given_count; i++)
        if (cli->given[i].option == option && nth-- == 0) return cli->given[i].values[index];
    return NULL;
}

const char *cli_value(const struct cli *cli, enum cli_option option)
{
    return cli_value_at(cli, option, 0, 0);
}

bool cli_has(const struct cli *cli, enum cli_option option)
{
    return cli_value(cli, option) != NULL;
}

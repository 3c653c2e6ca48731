/* Options of a command, as its synopsis declares them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "src/cli/cli.h"

/* What was taken, as "word word; option=value,value ...". */
static char *taken(const char *synopsis, const char *line, char *buf, size_t cap)
{
    static const char *const names[] = {
#define NAME(id, name) name,
        CLI_OPTIONS(NAME)
#undef NAME
    };
    static const int values[CLI_OPTION_COUNT] = {
        [CLI_OPT_PASSWORD_FILE] = 1, [CLI_OPT_GROUP] = 1, [CLI_OPT_USER] = 1, [CLI_OPT_DEVICE] = 2};
    char copy[256], *words[32], *save = NULL;
    struct cli cli = {0};
    int count = 0, n = 0;
    bool help;
    snprintf(copy, sizeof copy, "%s", line);
    for (char *w = strtok_r(copy, " ", &save); w; w = strtok_r(NULL, " ", &save))
        words[count++] = w;
    if (!cli_take_words(&cli, synopsis, count, words, &help)) return NULL;
    FILE *to = fmemopen(buf, cap, "w");
    assert_non_null(to);
    for (int i = 0; i < cli.count; i++) fprintf(to, "%s%s", i ? " " : "", cli.words[i]);
    fputc(';', to);
    for (int o = 0; o < CLI_OPTION_COUNT; o++)
        for (n = 0; cli_value_at(&cli, (enum cli_option)o, n, 0); n++) {
            fprintf(to, " %s", names[o]);
            for (int v = 0; v < values[o]; v++)
                fprintf(to, "%c%s", v ? ',' : '=', cli_value_at(&cli, (enum cli_option)o, n, v));
        }
    if (help) fputs(" help", to);
    if (cli.json) fputs(" json", to);
    fclose(to);
    cli_free_words(&cli);
    return buf;
}

static void options(void **state)
{
    static const struct {
        const char *synopsis, *line, *want; /* NULL: refused */
    } cases[] = {
        {"NAME [--yes]", "ann --yes", "ann; yes"},
        {"NAME [--yes]", "--yes ann", "ann; yes"},
        {"NAME [--yes]", "ann", "ann;"},
        {"NAME", "ann --yes", NULL},
        {"NAME [--yes-please]", "ann --yes", NULL},
        {"NAME [--yes]", "ann --ye", NULL},
        {"NAME [--yes]", "ann --yes=1", NULL},
        {"NAME [--yes]", "ann --yes --yes", NULL},
        {"NAME [--yes]", "ann -y", NULL},
        {"NAME [--yes]", "-- --yes", "--yes;"},
        {"NAME [--yes]", "- --yes", "-; yes"},
        {"", "--json", "; json"},
        {"", "-h --json", "; help json"},
        {"[--password-file FILE]", "--password-file f", "; password-file=f"},
        {"[--password-file FILE]", "--password-file=f", "; password-file=f"},
        {"[--password-file FILE]", "--password-file=", "; password-file="},
        {"[--password-file FILE]", "--password-file", NULL},
        {"[--password-file FILE]", "--password-file --yes", "; password-file=--yes"},
        {"NAME (--default | --group G | --user U | --device U ID)", "a --default", "a; default"},
        {"NAME (--default | --group G | --user U | --device U ID)", "a --device u i",
         "a; device=u,i"},
        {"NAME (--default | --group G | --user U | --device U ID)", "--device u i a",
         "a; device=u,i"},
        {"NAME (--default | --group G | --user U | --device U ID)", "a --device u", NULL},
        {"NAME (--default | --group G | --user U | --device U ID)", "a --device=u i", NULL},
        {"NAME (--default | --group G | --user U | --device U ID)", "a --group g --group h", NULL},
        {"NAME (--group G... | --default)", "a --group g --group=h", "a; group=g group=h"},
        {"NAME (--group G... | --default)", "a --default --group g", "a; default group=g"},
    };
    char buf[256];
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        print_message("# %s: %s\n", cases[i].synopsis, cases[i].line);
        const char *got = taken(cases[i].synopsis, cases[i].line, buf, sizeof buf);
        if (cases[i].want == NULL)
            assert_null(got);
        else {
            assert_non_null(got);
            assert_string_equal(got, cases[i].want);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* provost policy list, show, revisions: looking only. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <provost/policy.h>

#include "src/cli/api.h"
#include "src/cli/policy.h"
#include "src/cli/policy_json.h"
#include "src/cli/settings.h"

static enum cli_exit no_memory(void)
{
    return cli_fail(CLI_FAILED, "no memory");
}

static const char *text_in(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

void policy_value_cell(struct table *t, const json_t *value)
{
    char *text = value && !json_is_null(value) ? setting_text(value) : NULL;
    table_cell(t, text);
    free(text);
}

/* "revision 7: 5 %: sales; 3 confirmed, 1 to ask, 0 refused". NULL: none, or no memory. */
static char *roll_text(const json_t *roll)
{
    const json_t *groups = json_object_get(roll, "groups"), *group;
    size_t i, size = 0;
    char *text = NULL;
    FILE *to = json_is_object(roll) ? open_memstream(&text, &size) : NULL;
    if (to == NULL) return NULL;
    fprintf(to, "revision %lld", (long long)json_integer_value(json_object_get(roll, "revision")));
    if (json_is_integer(json_object_get(roll, "percent")))
        fprintf(to, ": %lld %%", (long long)json_integer_value(json_object_get(roll, "percent")));
    json_array_foreach(groups, i, group)
        fprintf(to, "%s%s", i ? ", " : ": ", json_string_value(group));
    if (json_is_integer(json_object_get(roll, "confirmed")))
        fprintf(to, "; %lld confirmed, %lld to ask, %lld refused",
                (long long)json_integer_value(json_object_get(roll, "confirmed")),
                (long long)json_integer_value(json_object_get(roll, "to_ask")),
                (long long)json_integer_value(json_object_get(roll, "refused")));
    fclose(to);
    return text;
}

static long long count_assignments(const json_t *assignments, const char *policy)
{
    const json_t *one;
    long long n = 0;
    size_t i;
    json_array_foreach(assignments, i, one)
    {
        const char *name = text_in(one, "policy");
        n += name && policy && strcmp(name, policy) == 0;
    }
    return n;
}

enum cli_exit policy_list(struct cli *cli)
{
    static const char *const titles[] = {"POLICY", "PARENT",   "REVISION", "CHANGED",
                                         "BY",     "ASSIGNED", "ROLL"};
    json_t *policies, *assignments = NULL, *policy;
    size_t i;
    struct table t;
    enum cli_exit code = api_show(cli, "GET", api_path("/v1/policies"), NULL, &policies);
    if (code != CLI_DONE || policies == NULL) return code;
    code = api_call(cli, "GET", api_path("/v1/assignments"), NULL, &assignments);
    if (code != CLI_DONE) {
        json_decref(policies);
        return code;
    }
    table_begin(&t, 7, titles);
    json_array_foreach(policies, i, policy)
    {
        char *roll = roll_text(json_object_get(policy, "roll"));
        table_cell(&t, text_in(policy, "name"));
        table_cell(&t, text_in(policy, "parent"));
        table_cell_int(&t, json_integer_value(json_object_get(policy, "revision")));
        table_cell(&t, text_in(policy, "changed_at"));
        table_cell(&t, text_in(policy, "changed_by"));
        table_cell_int(&t, count_assignments(assignments, text_in(policy, "name")));
        table_cell(&t, roll);
        free(roll);
    }
    json_decref(policies);
    json_decref(assignments);
    return table_end(&t, stdout, 0) == 0 ? CLI_DONE : no_memory();
}

/* ---- show ---- */

static void show_head(const json_t *policy)
{
    char *roll = roll_text(json_object_get(policy, "roll"));
    const char *parent = text_in(policy, "parent");
    printf("Policy ");
    text_print(stdout, text_in(policy, "name") ? text_in(policy, "name") : "?");
    printf(", revision %lld", (long long)json_integer_value(json_object_get(policy, "revision")));
    if (parent) {
        fputs(", inherits ", stdout);
        text_print(stdout, parent);
    }
    putchar('\n');
    if (roll) {
        fputs("Being rolled out: ", stdout);
        text_print(stdout, roll);
        putchar('\n');
    }
    putchar('\n');
    free(roll);
}

enum cli_exit policy_show(struct cli *cli)
{
    static const char *const titles[] = {"SETTING", "VALUE", "UNSET MEANS", "SINCE", "FROM"};
    const char *revision = cli_value(cli, CLI_OPT_REVISION);
    json_t *policy;
    struct table t;
    enum cli_exit code = api_show(
        cli, "GET", api_query(api_path("/v1/policies/%s", cli->words[0]), "revision", revision),
        NULL, &policy);
    if (code != CLI_DONE || policy == NULL) return code;
    const json_t *own = json_object_get(policy, "settings");
    const json_t *effective = json_object_get(policy, "effective");
    bool inherits = text_in(policy, "parent") != NULL;
    show_head(policy);
    table_begin(&t, inherits ? 5 : 4, titles);
    for (int s = 0; s < PV_SETTING_COUNT; s++) {
        const struct pv_setting_info *info = pv_setting_info((enum pv_setting)s);
        const json_t *value = json_object_get(own, info->name);
        const char *from = value ? "here" : NULL;
        char unset[SETTING_TEXT_MAX];
        if (!value && (value = json_object_get(effective, info->name))) from = "inherited";
        setting_unset_text((enum pv_setting)s, unset);
        table_cell(&t, info->name);
        policy_value_cell(&t, value);
        table_cell(&t, unset);
        table_cell(&t, info->treatment ? "server only" : pv_version_text(info->first));
        if (inherits) table_cell(&t, from);
    }
    json_decref(policy);
    return table_end(&t, stdout, 0) == 0 ? CLI_DONE : no_memory();
}

/* ---- revisions ---- */

static int by_revision(const void *a, const void *b)
{
    json_int_t x = json_integer_value(json_object_get(*(json_t *const *)a, "revision"));
    json_int_t y = json_integer_value(json_object_get(*(json_t *const *)b, "revision"));
    return (x > y) - (x < y);
}

static void print_difference(void *to, const char *name, const char *old, const char *new_)
{
    FILE *f = to;
    fprintf(f, "%s%s=%s", ftell(f) > 0 ? " " : "", name, new_);
    if (*old && *new_) fprintf(f, " (was %s)", old);
}

/* What a revision changed, as SETTING=VALUE; to be freed. NULL: no memory. */
static char *changes_text(const json_t *before, const json_t *now)
{
    struct pv_arena arena[2] = {{0}, {0}};
    struct pv_policy policy[2] = {{0}, {0}};
    const json_t *of[2] = {before, now};
    char why[SETTINGS_MESSAGE_MAX], *text = NULL;
    const char *old = text_in(before, "parent"), *new_ = text_in(now, "parent");
    size_t size = 0;
    bool good = true;
    for (int i = 0; i < 2; i++)
        good =
            good && pv_arena_create(&arena[i], SETTINGS_ARENA) == PV_OK &&
            settings_read(json_object_get(of[i], "settings"), &arena[i], &policy[i], why) == PV_OK;
    FILE *to = good ? open_memstream(&text, &size) : NULL;
    if (to) {
        settings_each_difference(&policy[0], &policy[1], print_difference, to);
        fflush(to);
        if (strcmp(old ? old : "", new_ ? new_ : "") != 0)
            fprintf(to, "%sparent %s", size ? " " : "", new_ ? new_ : "none");
        fclose(to);
    }
    for (int i = 0; i < 2; i++) pv_arena_destroy(&arena[i]);
    return text;
}

enum cli_exit policy_revisions(struct cli *cli)
{
    static const char *const titles[] = {"REVISION", "AT", "BY", "CHANGED"};
    json_t *revisions, *revision;
    struct table t;
    size_t i, count;
    enum cli_exit code = api_show(cli, "GET", api_path("/v1/policies/%s/revisions", cli->words[0]),
                                  NULL, &revisions);
    if (code != CLI_DONE || revisions == NULL) return code;
    count = json_array_size(revisions);
    const json_t **sorted = calloc(count + 1, sizeof *sorted);
    if (sorted == NULL) {
        json_decref(revisions);
        return no_memory();
    }
    json_array_foreach(revisions, i, revision) sorted[i] = revision;
    qsort(sorted, count, sizeof *sorted, by_revision);
    table_begin(&t, 4, titles);
    for (i = 0; i < count; i++) {
        char *text = changes_text(i ? sorted[i - 1] : NULL, sorted[i]);
        table_cell_int(&t, json_integer_value(json_object_get(sorted[i], "revision")));
        table_cell(&t, text_in(sorted[i], "at"));
        table_cell(&t, text_in(sorted[i], "by"));
        table_cell(&t, text && *text ? text : NULL);
        free(text);
    }
    free(sorted);
    json_decref(revisions);
    return table_end(&t, stdout, 0) == 0 ? CLI_DONE : no_memory();
}

/* provost device list, compliance */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "src/cli/api.h"
#include "src/cli/text.h"

static const char *text_at(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

/* What there is to be seen beside the state: one word each. */
static void notes_of(const json_t *device, char *buf, size_t cap)
{
    const json_t *others = json_object_get(device, "other_users");
    buf[0] = '\0';
    snprintf(buf, cap, "%s%s%s%s", text_at(device, "loop_until") ? "loop-blocked " : "",
             text_at(device, "slowed_by") ? "slowed " : "",
             json_is_object(json_object_get(device, "clone")) ? "clone " : "",
             json_array_size(others) > 0 ? "shared " : "");
    size_t len = strlen(buf);
    if (len > 0) buf[len - 1] = '\0';
}

static void list_row(struct table *t, const json_t *device)
{
    static const char *const members[] = {"user",  "device_id", "device_type", "protocol_version",
                                          "state", "policy",    "outcome",     "last_seen"};
    char notes[64];
    for (size_t i = 0; i < sizeof members / sizeof *members; i++)
        table_cell(t, text_at(device, members[i]));
    notes_of(device, notes, sizeof notes);
    table_cell(t, *notes ? notes : NULL);
}

static bool list_rows(void *table, const json_t *devices)
{
    const json_t *device;
    size_t i;
    struct table *t = table;
    json_array_foreach(devices, i, device) list_row(t, device);
    table_flush(t, stdout, 0);
    return !t->failed;
}

enum cli_exit device_list(struct cli *cli)
{
    static const char *const titles[] = {"USER",   "DEVICE",  "TYPE",      "VERSION", "STATE",
                                         "POLICY", "OUTCOME", "LAST SEEN", "NOTES"};
    static const struct {
        const char *parameter;
        enum cli_option option;
    } filters[] = {{"state", CLI_OPT_STATE},       {"policy", CLI_OPT_POLICY},
                   {"revision", CLI_OPT_REVISION}, {"not_seen_since", CLI_OPT_NOT_SEEN_SINCE},
                   {"user", CLI_OPT_USER},         {"outcome", CLI_OPT_OUTCOME},
                   {"after", CLI_OPT_AFTER}};
    unsigned long long most = 0;
    struct table t;
    char *path = api_path("/v1/devices");
    for (size_t i = 0; i < sizeof filters / sizeof *filters; i++)
        path = api_query(path, filters[i].parameter, cli_value(cli, filters[i].option));
    path = api_query(path, "loop", cli_has(cli, CLI_OPT_LOOP) ? "true" : NULL);
    path = api_limit(path, cli_value(cli, CLI_OPT_LIMIT), &most);
    table_begin(&t, sizeof titles / sizeof *titles, titles);
    enum cli_exit code = api_pages(cli, path, most, list_rows, &t);
    if (code != CLI_DONE || cli->json) {
        table_drop(&t);
        return code;
    }
    return table_end(&t, stdout, 0) == 0 ? CLI_DONE : cli_fail(CLI_FAILED, "no memory");
}

enum cli_exit device_compliance(struct cli *cli)
{
    static const struct {
        const char *title, *member;
    } columns[] = {{"DEVICES", "devices"},          {"COMPLIANT", "compliant"},
                   {"PARTIAL", "partial"},          {"NOT APPLIED", "not_applied"},
                   {"EXTERNAL", "external"},        {"REFUSED", "refused"},
                   {"NO KEY", "non_provisionable"}, {"NEVER", "never_provisioned"},
                   {"REFRESH DUE", "refresh_due"}};
    enum { NUMBERS = sizeof columns / sizeof *columns };
    const char *titles[NUMBERS + 2] = {"POLICY", "REVISION"};
    json_t *rows, *row;
    size_t i;
    struct table t;
    enum cli_exit code = api_show(cli, "GET", api_path("/v1/compliance"), NULL, &rows);
    if (code != CLI_DONE || rows == NULL) return code;
    for (i = 0; i < NUMBERS; i++) titles[i + 2] = columns[i].title;
    table_begin(&t, NUMBERS + 2, titles);
    json_array_foreach(rows, i, row)
    {
        json_int_t revision = json_integer_value(json_object_get(row, "revision"));
        table_cell(&t, text_at(row, "policy"));
        if (revision)
            table_cell_int(&t, revision);
        else
            table_cell(&t, NULL);
        for (unsigned n = 0; n < NUMBERS; n++)
            table_cell_int(&t, json_integer_value(json_object_get(row, columns[n].member)));
    }
    json_decref(rows);
    if (table_end(&t, stdout, 0) != 0) return cli_fail(CLI_FAILED, "no memory");
    puts("\nThis is what the devices say of themselves; nothing here proves that they do it.");
    return CLI_DONE;
}

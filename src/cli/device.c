/* provost device */
#include <jansson.h>
#include <stdio.h>

#include "src/cli/api.h"
#include "src/cli/text.h"

enum cli_exit device_list(struct cli *cli)
{
    static const char *const columns[][2] = {
        {"USER", "user"},          {"DEVICE", "device_id"},
        {"TYPE", "device_type"},   {"VERSION", "protocol_version"},
        {"STATE", "state"},        {"POLICY", "policy"},
        {"LAST SEEN", "last_seen"}};
    enum { COLUMNS = sizeof columns / sizeof *columns };
    const char *titles[COLUMNS];
    json_t *devices, *device;
    size_t i;
    struct table t;
    enum cli_exit code = api_show(cli, "GET", api_path("/v1/devices"), NULL, &devices);
    if (code != CLI_DONE || devices == NULL) return code;
    for (unsigned c = 0; c < COLUMNS; c++) titles[c] = columns[c][0];
    table_begin(&t, COLUMNS, titles);
    json_array_foreach(devices, i, device) for (unsigned c = 0; c < COLUMNS; c++)
        table_cell(&t, json_string_value(json_object_get(device, columns[c][1])));
    json_decref(devices);
    return table_end(&t, stdout, 0) == 0 ? CLI_DONE : cli_fail(CLI_FAILED, "no memory");
}

/* Names of Status values, by command; those of 101 and above are common to all. */
#include <string.h>

#include "src/cli/connect.h"

struct name {
    enum pv_cmd cmd;
    unsigned status;
    const char *text;
};

static const struct name names[] = {
    {PV_CMD_Provision, 1, "Success"},
    {PV_CMD_Provision, 2, "ProtocolError"},
    {PV_CMD_Provision, 3, "ServerError"},
    {PV_CMD_FolderSync, 1, "Success"},
    {PV_CMD_FolderSync, 6, "ServerError"},
    {PV_CMD_FolderSync, 9, "InvalidSyncKey"},
    {PV_CMD_FolderSync, 10, "BadRequest"},
    {PV_CMD_FolderSync, 11, "UnknownError"},
    {PV_CMD_FolderSync, 12, "CodeUnknown"},
    {PV_CMD_Ping, 1, "NoChanges"},
    {PV_CMD_Ping, 2, "Changes"},
    {PV_CMD_Ping, 3, "MissingParameters"},
    {PV_CMD_Ping, 4, "SyntaxError"},
    {PV_CMD_Ping, 5, "BadHeartbeat"},
    {PV_CMD_Ping, 6, "TooManyFolders"},
    {PV_CMD_Ping, 7, "FolderSyncRequired"},
    {PV_CMD_Ping, 8, "ServerError"},
    {PV_CMD_Settings, 1, "Success"},
    {PV_CMD_Settings, 2, "ProtocolError"},
    {PV_CMD_Settings, 3, "AccessDenied"},
    {PV_CMD_Settings, 4, "Unavailable"},
    {PV_CMD_Settings, 5, "InvalidArguments"},
    {PV_CMD_Settings, 6, "Conflict"},
    {PV_CMD_Settings, 7, "DeniedByPolicy"},
};

const char *status_text(enum pv_cmd cmd, unsigned status)
{
    if (status > 100) {
        const char *name = pv_status_name(status);
        return strcmp(name, "?") == 0 ? "" : name;
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i].cmd == cmd && names[i].status == status) return names[i].text;
    return "";
}

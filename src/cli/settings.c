#include "src/cli/settings.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void setting_unset_text(enum pv_setting setting, char out[SETTING_TEXT_MAX])
{
    const struct pv_setting_info *info = pv_setting_info(setting);
    bool one = info->unset == 1; /* of what the unit names in the plural */
    if (info->kind == PV_SETTING_LIST)
        snprintf(out, SETTING_TEXT_MAX, "no list");
    else if (info->kind == PV_SETTING_DURATION && info->unset == 0)
        snprintf(out, SETTING_TEXT_MAX, "never");
    else if (info->kind == PV_SETTING_DATE)
        snprintf(out, SETTING_TEXT_MAX, "no end");
    else if (info->unset == PV_NO_LIMIT)
        snprintf(out, SETTING_TEXT_MAX, "no limit");
    else
        snprintf(out, SETTING_TEXT_MAX, "%" PRId64 "%s%.*s", info->unset, info->unit[0] ? " " : "",
                 (int)strlen(info->unit) - (one && info->unit[0]), info->unit);
}

/* Settings of a policy as text for people. */
#ifndef PROVOST_CLI_SETTINGS_H
#define PROVOST_CLI_SETTINGS_H

#include <provost/policy.h>

#define SETTING_TEXT_MAX 80
/* What an unset value means: "no limit", "no list", "0", "1 characters". */
void setting_unset_text(enum pv_setting setting, char out[SETTING_TEXT_MAX]);

#endif

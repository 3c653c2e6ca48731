/* What the files of the policy model share. */
#ifndef PV_POLICY_SETTINGS_H
#define PV_POLICY_SETTINGS_H

#include <provost/policy.h>

/* Made from data/policy.tsv. */
extern const struct pv_setting_info pv__settings[PV_SETTING_COUNT];

#endif

/* Settings of a policy as JSON, as the administration interface and files have them:
 * {"MinDevicePasswordLength": 6, ...}. Numbers; lists as arrays; dates as texts. */
#ifndef PROVOST_SETTING_JSON_H
#define PROVOST_SETTING_JSON_H

#include <jansson.h>

#include <provost/policy.h>

/* A value as pv_policy_set takes it: number, text, true, false, null, list of texts without commas.
 * To be freed; NULL: no such value (errno 0), or no memory (errno ENOMEM). */
char *setting_text(const json_t *value);
/* JSON null for one that is not set; NULL: no memory. */
json_t *setting_json(const struct pv_policy *policy, enum pv_setting setting);
/* What is set, in the order of the table. NULL: no memory. */
json_t *settings_json(const struct pv_policy *policy);

#endif

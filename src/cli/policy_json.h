/* Settings of a policy as JSON: {"MinDevicePasswordLength": 6, ...}, as the server tells them and
 * files keep them. */
#ifndef PROVOST_CLI_POLICY_JSON_H
#define PROVOST_CLI_POLICY_JSON_H

#include <jansson.h>
#include <stddef.h>

#include <provost/policy.h>

#include "src/setting_json.h"

#define SETTINGS_MESSAGE_MAX 320

/* Set everything in the object; a policy that cannot be is refused as a whole. arena holds the
 * lists: SETTINGS_ARENA bytes are enough. @return PV_OK, or as pv_policy_set and pv_policy_check,
 * with message */
PV_MUST_CHECK enum pv_err settings_read(const json_t *settings, struct pv_arena *arena,
                                        struct pv_policy *policy_out,
                                        char message[SETTINGS_MESSAGE_MAX]);
#define SETTINGS_ARENA ((size_t)256 * 1024)
/* A copy of the object in the order of the table, members that are no setting behind. NULL: no
 * memory. */
json_t *settings_sorted(const json_t *settings);
/* The settings that differ, old as in `from`, new as in `to`; empty text: unset. */
void settings_each_difference(const struct pv_policy *from, const struct pv_policy *to,
                              void (*each)(void *ctx, const char *name, const char *old,
                                           const char *new_),
                              void *ctx);

#endif

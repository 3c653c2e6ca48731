/* DeviceInformation over time: a JSON object, and what has changed in it. */
#ifndef PROVOSTD_STORE_INFO_H
#define PROVOSTD_STORE_INFO_H

#include <stdbool.h>
#include <stdint.h>

#define INFO_HISTORY_MAX 20 /* changes that are kept of a device */

/* Merge a patch (null deletes) into info; both histories are arrays as in struct info_record. Texts
 * that are "" or no JSON count as empty. The results are freed by the caller; NULL: nothing has
 * changed. false: no memory, or the patch is no object. */
bool info_apply(const char *info, const char *history, const char *patch, int64_t at,
                char **info_out, char **history_out);

#endif

/* DeviceInformation as a JSON object: what a device told, merged over time. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "src/json_text.h"
#include "src/lib/base/text.h"
#include "src/server/gate/inner.h"

#define INFO_TEXT_MAX 1024 /* MS-ASCMD 2.2.3.45: at most 1024 characters each */

/* A text that is no UTF-8 is kept escaped: JSON could not hold it. */
static json_t *text_json(const char *text)
{
    char clean[INFO_TEXT_MAX];
    size_t len = strlen(text);
    if (pv__utf8_valid((const uint8_t *)text, len)) return json_stringn(text, len);
    pv__escape(text, len, clean, sizeof clean);
    return json_string(clean);
}

static bool put(json_t *all, const char *name, const char *text, bool clear)
{
    if (!text && !clear) return true;
    if (!text || !*text) {
        json_object_del(all, name);
        return true;
    }
    return json_object_set_new(all, name, text_json(text)) == 0;
}

/* An empty Set deletes everything (MS-ASCMD 2.2.3.168). */
static bool is_empty(const struct pv_device_info *info)
{
#define ABSENT(Name, name) &&!info->name
    return true PV_DEVICE_FIELDS(ABSENT);
#undef ABSENT
}

bool info_merge(const char *json, const struct pv_device_info *info, char **json_out)
{
    json_t *old = NULL;
    *json_out = NULL;
    if (*json && !json_of_text(json, strlen(json), 0, &old)) return false;
    json_t *all = json_is_object(old) ? json_deep_copy(old) : json_object();
    bool clear = is_empty(info), ok = all != NULL;
#define PUT(Name, name) ok = ok && put(all, #Name, info->name, clear);
    PV_DEVICE_FIELDS(PUT)
#undef PUT
    bool same = json_is_object(old) ? json_equal(old, all) : json_object_size(all) == 0;
    if (ok && !same) {
        *json_out = json_object_size(all) ? text_of_json(all, JSON_COMPACT) : strdup("");
        ok = *json_out != NULL;
    }
    json_decref(old);
    json_decref(all);
    return ok;
}

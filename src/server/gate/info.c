/* DeviceInformation as the store merges it: a member for each text that came, null for one that is
 * to go. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "src/json_text.h"
#include "src/server/gate/inner.h"

static bool put(json_t *all, const char *name, const char *text, bool clear)
{
    if (!text && !clear) return true;
    return json_object_set_new(all, name, text && *text ? json_of_peer(text) : json_null()) == 0;
}

/* An empty Set deletes everything (MS-ASCMD 2.2.3.168). */
static bool is_empty(const struct pv_device_info *info)
{
#define ABSENT(Name, name) &&!info->name
    return true PV_DEVICE_FIELDS(ABSENT);
#undef ABSENT
}

char *info_patch(const struct pv_device_info *info, uint32_t *mark_out)
{
    json_t *all = json_object();
    bool clear = is_empty(info), ok = all != NULL;
#define PUT(Name, name) ok = ok && put(all, #Name, info->name, clear);
    PV_DEVICE_FIELDS(PUT)
#undef PUT
    char *text = ok ? text_of_json(all, JSON_COMPACT) : NULL;
    json_decref(all);
    uint32_t mark = 2166136261u; /* FNV-1a */
    for (const char *c = text; c && *c; c++) mark = (mark ^ (uint8_t)*c) * 16777619u;
    *mark_out = mark ? mark : 1;
    return text;
}

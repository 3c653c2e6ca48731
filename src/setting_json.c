#include "src/setting_json.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A list as pv_policy_set takes it. */
static char *joined(const json_t *array)
{
    size_t cap = 1, len = 0, i;
    const json_t *item;
    json_array_foreach(array, i, item)
    {
        if (!json_is_string(item) || strchr(json_string_value(item), ',')) return NULL;
        cap += json_string_length(item) + 1;
    }
    char *text = calloc(1, cap);
    if (text == NULL) return NULL;
    json_array_foreach(array, i, item)
    {
        if (i > 0) text[len++] = ',';
        memcpy(text + len, json_string_value(item), json_string_length(item));
        len += json_string_length(item);
    }
    return text;
}

char *setting_text(const json_t *value)
{
    char *text = NULL;
    errno = 0; /* which malloc sets */
    switch (json_typeof(value)) {
    case JSON_NULL: return strdup("");
    case JSON_TRUE: return strdup("1");
    case JSON_FALSE: return strdup("0");
    case JSON_STRING: return strdup(json_string_value(value));
    case JSON_ARRAY: return joined(value);
    case JSON_INTEGER:
        if (asprintf(&text, "%" JSON_INTEGER_FORMAT, json_integer_value(value)) < 0) text = NULL;
        return text;
    default: return NULL;
    }
}

static json_t *list_json(const struct pv_list *list)
{
    json_t *array = json_array();
    for (size_t i = 0; array && i < list->count; i++)
        if (json_array_append_new(array, json_string(list->items[i])) != 0) {
            json_decref(array);
            array = NULL;
        }
    return array;
}

static json_t *date_json(const struct pv_policy *policy, enum pv_setting setting)
{
    char text[32];
    return pv_policy_text(policy, setting, text, sizeof text) == PV_OK ? json_string(text) : NULL;
}

json_t *setting_json(const struct pv_policy *policy, enum pv_setting setting)
{
    if (!(policy->set >> setting & 1)) return json_null();
    if (setting == PV_SET_UnapprovedInROMApplicationList) return list_json(&policy->unapproved);
    if (setting == PV_SET_ApprovedApplicationList) return list_json(&policy->approved);
    if (pv_setting_info(setting)->kind == PV_SETTING_DATE) return date_json(policy, setting);
    return json_integer(policy->value[setting]);
}

json_t *settings_json(const struct pv_policy *policy)
{
    json_t *all = json_object();
    for (int s = 0; all && s < PV_SETTING_COUNT; s++) {
        if (!(policy->set >> s & 1)) continue;
        json_t *value = setting_json(policy, (enum pv_setting)s);
        if (json_object_set_new(all, pv_setting_info((enum pv_setting)s)->name, value) != 0) {
            json_decref(all);
            all = NULL;
        }
    }
    return all;
}

#include "src/cli/policy_json.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- JSON to settings ---- */

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

enum pv_err settings_read(const json_t *settings, struct pv_arena *arena,
                          struct pv_policy *policy_out, char message[SETTINGS_MESSAGE_MAX])
{
    struct pv_policy policy = {0};
    const char *name;
    json_t *value;
    message[0] = '\0';
    json_object_foreach((json_t *)settings, name, value)
    {
        char *text = setting_text(value);
        if (text == NULL && errno == ENOMEM) return PV_E_NOMEM;
        if (text == NULL) {
            snprintf(message, SETTINGS_MESSAGE_MAX,
                     "%.64s: a value is a number, a text, true, false, null or a list of texts "
                     "without commas",
                     name);
            return PV_E_MALFORMED;
        }
        enum pv_err err = pv_policy_set(&policy, arena, name, text, message, SETTINGS_MESSAGE_MAX);
        free(text);
        if (err != PV_OK) return err;
    }
    enum pv_err err = pv_policy_check(&policy, message, SETTINGS_MESSAGE_MAX);
    if (err == PV_OK) *policy_out = policy;
    return err;
}

/* ---- settings to JSON ---- */

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

static bool is_set(const struct pv_policy *policy, int setting)
{
    return policy->set >> setting & 1;
}

static const struct pv_list *list_of(const struct pv_policy *policy, int setting)
{
    return setting == PV_SET_ApprovedApplicationList ? &policy->approved : &policy->unapproved;
}

/* A time is a text in JSON. */
static json_t *text_of(const struct pv_policy *policy, enum pv_setting setting)
{
    char text[32];
    return pv_policy_text(policy, setting, text, sizeof text) == PV_OK ? json_string(text) : NULL;
}

json_t *settings_json(const struct pv_policy *policy)
{
    json_t *all = json_object();
    for (int s = 0; all && s < PV_SETTING_COUNT; s++) {
        if (!is_set(policy, s)) continue;
        const struct pv_setting_info *info = pv_setting_info((enum pv_setting)s);
        json_t *value = info->kind == PV_SETTING_LIST   ? list_json(list_of(policy, s))
                        : info->kind == PV_SETTING_DATE ? text_of(policy, (enum pv_setting)s)
                                                        : json_integer(policy->value[s]);
        if (json_object_set_new(all, info->name, value) != 0) {
            json_decref(all);
            all = NULL;
        }
    }
    return all;
}

json_t *settings_sorted(const json_t *settings)
{
    json_t *all = json_object(), *value;
    const char *name;
    bool good = all != NULL;
    for (int s = 0; good && s < PV_SETTING_COUNT; s++) {
        name = pv_setting_info((enum pv_setting)s)->name;
        value = json_object_get(settings, name);
        if (value) good = json_object_set(all, name, value) == 0;
    }
    json_object_foreach((json_t *)settings, name, value) if (good) good =
        json_object_set(all, name, value) == 0;
    if (good) return all;
    json_decref(all);
    return NULL;
}

/* ---- comparison ---- */

static bool same_list(const struct pv_list *a, const struct pv_list *b)
{
    if (a->count != b->count) return false;
    for (size_t i = 0; i < a->count; i++)
        if (strcmp(a->items[i], b->items[i]) != 0) return false;
    return true;
}

static bool same_setting(const struct pv_policy *a, const struct pv_policy *b, int setting)
{
    if (is_set(a, setting) != is_set(b, setting)) return false;
    if (pv_setting_info((enum pv_setting)setting)->kind == PV_SETTING_LIST)
        return same_list(list_of(a, setting), list_of(b, setting));
    return !is_set(a, setting) || a->value[setting] == b->value[setting];
}

bool settings_same(const struct pv_policy *a, const struct pv_policy *b)
{
    for (int s = 0; s < PV_SETTING_COUNT; s++)
        if (!same_setting(a, b, s)) return false;
    return true;
}

void settings_each_difference(const struct pv_policy *from, const struct pv_policy *to,
                              void (*each)(void *ctx, const char *name, const char *old,
                                           const char *new_),
                              void *ctx)
{
    /* Long lists are cut: this is for people. */
    enum { SHOWN = 240 };
    for (int s = 0; s < PV_SETTING_COUNT; s++) {
        const struct pv_policy *of[2] = {from, to};
        char text[2][SHOWN];
        if (same_setting(from, to, s)) continue;
        for (int i = 0; i < 2; i++)
            if (pv_policy_text(of[i], (enum pv_setting)s, text[i], SHOWN) != PV_OK)
                memcpy(text[i] + strnlen(text[i], SHOWN - 4), "...", 4);
        each(ctx, pv_setting_info((enum pv_setting)s)->name, text[0], text[1]);
    }
}

#include "src/cli/policy_json.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

static bool is_set(const struct pv_policy *policy, int setting)
{
    return policy->set >> setting & 1;
}

static const struct pv_list *list_of(const struct pv_policy *policy, int setting)
{
    return setting == PV_SET_ApprovedApplicationList ? &policy->approved : &policy->unapproved;
}

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

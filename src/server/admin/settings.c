/* Settings of a policy that come with a call. */
#include <errno.h>
#include <stdlib.h>

#include "src/server/admin/internal.h"
#include "src/setting_json.h"

bool admin_take_settings(struct admin_call *c, const json_t *settings)
{
    const char *name;
    json_t *value;
    c->settings = calloc(json_object_size(settings) + 1, sizeof *c->settings);
    c->policy.settings = c->settings;
    if (c->settings == NULL) {
        admin_no_memory(c);
        return false;
    }
    json_object_foreach((json_t *)settings, name, value)
    {
        struct gate_setting *s = &c->settings[c->policy.count];
        *s = (struct gate_setting){.name = name, .value = setting_text(value)};
        if (s->value == NULL && errno == ENOMEM) {
            admin_no_memory(c);
            return false;
        }
        if (s->value == NULL) {
            admin_error(c, 400, "bad_value",
                        "A value is a text, a number, true, false, null or a "
                        "list of texts without commas.");
            return false;
        }
        c->policy.count++;
    }
    return true;
}

void admin_free_settings(struct admin_call *c)
{
    for (size_t i = 0; c->settings && i < c->policy.count; i++) free((char *)c->settings[i].value);
    free(c->settings);
    c->settings = NULL;
    c->policy.settings = NULL;
    c->policy.count = 0;
}

bool admin_overlay_settings(const json_t *settings, struct pv_arena *arena,
                            struct pv_policy *policy)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)settings, name, value)
    {
        char *text = setting_text(value);
        enum pv_err err = text ? pv_policy_set(policy, arena, name, text, NULL, 0) : PV_E_NOMEM;
        free(text);
        if (err == PV_E_NOMEM) return false;
    }
    return true;
}

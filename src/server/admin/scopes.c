#include "src/server/admin/scopes.h"

#include <stdio.h>
#include <string.h>

static const struct {
    unsigned bit;
    const char *name;
} all[] = {
#define ROW(id, bit, name) {bit, name},
    ADMIN_SCOPES(ROW)
#undef ROW
};
#define COUNT (sizeof all / sizeof *all)

json_t *scopes_to_json(unsigned scopes)
{
    json_t *list = json_array();
    for (size_t i = 0; i < COUNT; i++)
        if (scopes & all[i].bit && json_array_append_new(list, json_string(all[i].name)) != 0) {
            json_decref(list);
            return NULL;
        }
    return list;
}

static unsigned bit_of(const char *name)
{
    for (size_t i = 0; name && i < COUNT; i++)
        if (strcmp(all[i].name, name) == 0) return all[i].bit;
    return 0;
}

bool scopes_of_json(const json_t *list, unsigned *out)
{
    const json_t *item;
    size_t i;
    *out = 0;
    json_array_foreach(list, i, item)
    {
        unsigned bit = bit_of(json_string_value(item));
        if (bit == 0) return false;
        *out |= bit;
    }
    return *out != 0;
}

void scopes_text(unsigned scopes, char out[SCOPES_TEXT_MAX])
{
    size_t len = 0;
    snprintf(out, SCOPES_TEXT_MAX, "nothing");
    for (size_t i = 0; i < COUNT; i++) {
        if (!(scopes & all[i].bit)) continue;
        int n = snprintf(out + len, SCOPES_TEXT_MAX - len, "%s%s", len ? ", " : "", all[i].name);
        if (n > 0 && (size_t)n < SCOPES_TEXT_MAX - len) len += (size_t)n;
    }
}

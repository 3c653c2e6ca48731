/* What came with a call, by its name. */
#include <stdlib.h>
#include <string.h>

#include "src/lib/base/text.h"
#include "src/server/admin/internal.h"

const char *admin_arg(const struct admin_call *c, const char *name)
{
    size_t len = strlen(name), index = 0;
    for (const char *p = strchr(c->route->path, '{'); p; p = strchr(p + 1, '{'), index++)
        if (strncmp(p + 1, name, len) == 0 && p[1 + len] == '}') return c->target.arg[index];
    abort();
}

const char *admin_query(const struct admin_call *c, const char *name)
{
    for (size_t i = 0; i < c->route->query_count; i++)
        if (strcmp(c->route->query[i].name, name) == 0) return c->target.query[i];
    abort();
}

bool admin_query_number(const struct admin_call *c, const char *name, uint64_t *out)
{
    const char *text = admin_query(c, name);
    return text && pv__parse_u64(text, strlen(text), INT64_MAX, false, out);
}

bool admin_query_flag(const struct admin_call *c, const char *name, bool *out)
{
    const char *text = admin_query(c, name);
    if (text) *out = strcmp(text, "true") == 0;
    return text != NULL;
}

json_t *admin_body(const struct admin_call *c, const char *name)
{
    for (size_t i = 0; i < c->route->body_count; i++)
        if (strcmp(c->route->body[i].name, name) == 0) return json_object_get(c->body, name);
    abort();
}

const char *admin_body_text(const struct admin_call *c, const char *name)
{
    return json_string_value(admin_body(c, name));
}

bool admin_body_number(const struct admin_call *c, const char *name, uint64_t *out)
{
    const json_t *v = admin_body(c, name);
    if (!json_is_integer(v)) return false;
    *out = (uint64_t)json_integer_value(v);
    return true;
}

bool admin_body_flag(const struct admin_call *c, const char *name)
{
    return json_is_true(admin_body(c, name));
}

#include "src/server/store/info.h"

#include <stdlib.h>
#include <string.h>

#include "src/json_text.h"

/* A container of that kind, empty if the text holds none. NULL: no memory. */
static json_t *parse(const char *text, json_t *(*empty)(void))
{
    json_t *fresh = empty(), *json;
    if (!fresh || !json_of_text(text, strlen(text), 0, &json)) {
        json_decref(fresh);
        return NULL;
    }
    if (json && json_typeof(json) == json_typeof(fresh)) {
        json_decref(fresh);
        return json;
    }
    json_decref(json);
    return fresh;
}

static json_t *value_or_null(json_t *value)
{
    return value ? json_incref(value) : json_null();
}

/* Who deletes a value wants it gone: it leaves the history, too. */
static void forget(json_t *past, const char *name)
{
    json_t *entry;
    size_t i;
    json_array_foreach(past, i, entry) json_object_del(entry, name);
}

/* Into info; what it changed goes into the entry as [old, new], [null, null] for what was
 * deleted. */
static bool merge(json_t *info, const json_t *patch, json_t *past, json_t *entry)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)patch, name, value)
    {
        json_t *old = json_object_get(info, name), *new_ = json_is_null(value) ? NULL : value;
        if (old == new_ || json_equal(old, new_)) continue;
        json_t *pair = json_pack("[o,o]", value_or_null(new_ ? old : NULL), value_or_null(new_));
        if (json_object_set_new(entry, name, pair) != 0 ||
            (new_ && json_object_set(info, name, new_) != 0))
            return false;
        if (new_) continue;
        json_object_del(info, name);
        forget(past, name);
    }
    return true;
}

/* The first word of a device is no change. */
static bool note(json_t *history, json_t *entry, int64_t at, bool first)
{
    if (first) return true;
    if (json_object_set_new(entry, "at", json_integer(at)) != 0) return false;
    while (json_array_size(history) >= INFO_HISTORY_MAX) json_array_remove(history, 0);
    return json_array_append(history, entry) == 0;
}

bool info_apply(const char *info, const char *history, const char *patch, int64_t at,
                char **info_out, char **history_out)
{
    json_t *all = parse(info, json_object), *past = parse(history, json_array);
    json_t *change = parse(patch, json_object), *entry = json_object();
    bool first = all && json_object_size(all) == 0;
    bool ok = all && past && change && entry && merge(all, change, past, entry);
    *info_out = *history_out = NULL;
    if (ok && json_object_size(entry) > 0) {
        ok = note(past, entry, at, first) && (*info_out = text_of_json(all, JSON_COMPACT)) &&
             (*history_out = text_of_json(past, JSON_COMPACT));
        if (!ok) {
            free(*info_out);
            *info_out = NULL;
        }
    }
    json_decref(all);
    json_decref(past);
    json_decref(change);
    json_decref(entry);
    return ok;
}

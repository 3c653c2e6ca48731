#include <stdlib.h>
#include <string.h>

#include "src/server/store/change.h"

#define STRINGS_MAX 9

/* Places of the strings that a change holds. A was_json that is NULL stays so: it says something else
 * than "". */
static size_t strings_of(struct store_change *c, const char **at[STRINGS_MAX])
{
    size_t n = 0;
    switch (c->kind) {
    case STORE_PUT_DEVICE:
        at[n++] = &c->u.device.user;
        at[n++] = &c->u.device.device_id;
        at[n++] = &c->u.device.device_type;
        at[n++] = &c->u.device.user_agent;
        at[n++] = &c->u.device.model;
        at[n++] = &c->u.device.os;
        at[n++] = &c->u.device.wipe_by;
        at[n++] = &c->u.device.wipe_reason;
        if (c->u.device.bond_json) at[n++] = &c->u.device.bond_json;
        break;
    case STORE_PUT_INFO:
        at[n++] = &c->u.info.user;
        at[n++] = &c->u.info.device_id;
        at[n++] = &c->u.info.info_json;
        break;
    case STORE_REMOVE_DEVICE:
        at[n++] = &c->u.device.user;
        at[n++] = &c->u.device.device_id;
        break;
    case STORE_PUT_POLICY:
        at[n++] = &c->u.policy.name;
        at[n++] = &c->u.policy.settings_json;
        at[n++] = &c->u.policy.parent;
        at[n++] = &c->u.policy.by;
        break;
    case STORE_PUT_USER:
    case STORE_REMOVE_USER: at[n++] = &c->u.user.user; break;
    case STORE_PUT_FOLDER_STATE:
        at[n++] = &c->u.folder_state.user;
        at[n++] = &c->u.folder_state.device_id;
        at[n++] = &c->u.folder_state.tree_json;
        at[n++] = &c->u.folder_state.previous_tree_json;
        at[n++] = &c->u.folder_state.ping_json;
        break;
    case STORE_PUT_FOLDER_IDS:
        at[n++] = &c->u.folder_ids.user;
        at[n++] = &c->u.folder_ids.ids_json;
        if (c->u.folder_ids.was_json) at[n++] = &c->u.folder_ids.was_json;
        break;
    case STORE_PUT_ITEM:
    case STORE_REMOVE_ITEM:
        at[n++] = &c->u.item.kind;
        at[n++] = &c->u.item.name;
        at[n++] = &c->u.item.json;
        if (c->u.item.was_json) at[n++] = &c->u.item.was_json;
        break;
    case STORE_PUT_TRAIL:
        at[n++] = &c->u.trail.user;
        at[n++] = &c->u.trail.device_id;
        at[n++] = &c->u.trail.trail_json;
        break;
    case STORE_ADD_AUDIT:
    case STORE_ADD_EVENT:
    case STORE_REMOVE_AUDIT:
    case STORE_REMOVE_EVENT:
    case STORE_SEAL_AUDIT:
    case STORE_REMOVE_CHAIN: at[n++] = &c->u.log.json; break;
    }
    return n;
}

struct submission *submission_create(const struct store_change *changes, size_t count,
                                     struct store_write *w)
{
    const char **at[STRINGS_MAX];
    size_t bytes = sizeof(struct submission) + count * sizeof *changes;
    for (size_t i = 0; i < count; i++) {
        struct store_change c = changes[i];
        for (size_t k = 0, n = strings_of(&c, at); k < n; k++)
            bytes += (*at[k] ? strlen(*at[k]) : 0) + 1;
    }

    struct submission *s = malloc(bytes);
    if (!s) return NULL;
    *s = (struct submission){.write = w, .bytes = bytes, .count = count};
    char *text = (char *)&s->changes[count];
    for (size_t i = 0; i < count; i++) {
        s->changes[i] = changes[i];
        for (size_t k = 0, n = strings_of(&s->changes[i], at); k < n; k++) {
            const char *from = *at[k] ? *at[k] : "";
            size_t size = strlen(from) + 1;
            memcpy(text, from, size);
            *at[k] = text;
            text += size;
        }
    }
    return s;
}

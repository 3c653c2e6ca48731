/* DeviceInformation of Provision and Settings (MS-ASCMD 2.2.3.45). */
#include <provost/provision.h>

#include "src/lib/base/bytes.h"
#include "src/lib/base/text.h"

#define VALUE_MAX 1024 /* characters */

static const struct field {
    uint16_t tag;
    size_t offset; /* of a const char * in struct pv_device_info */
} fields[] = {
#define FIELD_ROW(Name, name) {PV_Settings_##Name, offsetof(struct pv_device_info, name)},
    PV_DEVICE_FIELDS(FIELD_ROW)
#undef FIELD_ROW
};
#define FIELD_COUNT (sizeof fields / sizeof *fields)

static const char **value_of(struct pv_device_info *info, const struct field *f)
{
    return (const char **)(void *)((char *)info + f->offset);
}

static enum pv_version first_version(uint16_t tag)
{
    switch (tag) {
    case PV_Settings_UserAgent: return PV_V12_1;
    case PV_Settings_EnableOutboundSMS:
    case PV_Settings_MobileOperator: return PV_V14_0;
    default: return PV_V12_0;
    }
}

/* The value is for people and for JSON: what is no UTF-8, and NUL, becomes '?'. */
static enum pv_err read_value(struct pv_arena *arena, const char *text, size_t len,
                              const char **out)
{
    char *copy = pv_strndup(arena, text, len);
    size_t characters = 0;
    uint32_t code;

    if (!copy) return PV_E_NOMEM;
    for (size_t i = 0, n; i < len; i += n, characters++) {
        n = pv__utf8_next((const uint8_t *)text + i, len - i, &code);
        if (n && code) continue;
        copy[i] = '?';
        n = 1;
    }
    if (characters > VALUE_MAX) return PV_E_TOOBIG;
    *out = copy;
    return PV_OK;
}

enum pv_err pv_device_info_read(const struct pv_node *device_information, struct pv_arena *arena,
                                struct pv_device_info *out)
{
    const struct pv_node *set = pv_node_child(device_information, PV_Settings_Set);
    bool empty;

    *out = (struct pv_device_info){0};
    if (!set) return PV_E_MALFORMED;
    empty = pv_node_count(set, 0) == 0;
    for (size_t i = 0; i < FIELD_COUNT; i++) {
        const struct pv_node *leaf = pv_node_child(set, fields[i].tag);
        const char **value = value_of(out, &fields[i]), *text;
        size_t len;

        if (empty) *value = ""; /* an empty Set deletes what is kept */
        if (!leaf) continue;
        if (!pv_node_text(leaf, &text, &len)) return PV_E_MALFORMED;
        PV_TRY(read_value(arena, text, len, value));
    }
    return PV_OK;
}

void pv_device_info_write(const struct pv_device_info *info, enum pv_version version,
                          struct pv_wbxml_writer *w)
{
    pv_wbxml_start(w, PV_Settings_DeviceInformation);
    pv_wbxml_start(w, PV_Settings_Set);
    for (size_t i = 0; i < FIELD_COUNT; i++) {
        const char *value =
            *(const char *const *)(const void *)((const char *)info + fields[i].offset);

        if (value && version >= first_version(fields[i].tag))
            pv_wbxml_leaf(w, fields[i].tag, value);
    }
    pv_wbxml_end(w);
    pv_wbxml_end(w);
}

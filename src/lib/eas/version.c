#include <provost/eas.h>

#include <string.h>

#include "src/lib/base/text.h"

static const struct {
    const char *text;
    uint8_t byte;
} versions[PV_VERSION_COUNT] = {
#define VERSION_ROW(id, text, byte) {text, byte},
    PV_VERSIONS(VERSION_ROW)
#undef VERSION_ROW
};

const char *pv_version_text(enum pv_version version)
{
    return (unsigned)version < PV_VERSION_COUNT ? versions[version].text : "?";
}

uint8_t pv_version_byte(enum pv_version version)
{
    return (unsigned)version < PV_VERSION_COUNT ? versions[version].byte : 0;
}

bool pv_version_parse(const char *text, size_t len, enum pv_version *version_out)
{
    while (len && (*text == ' ' || *text == '\t')) text++, len--;
    while (len && (text[len - 1] == ' ' || text[len - 1] == '\t')) len--;
    for (unsigned v = 0; v < PV_VERSION_COUNT; v++) {
        if (strlen(versions[v].text) != len || memcmp(versions[v].text, text, len) != 0) continue;
        *version_out = (enum pv_version)v;
        return true;
    }
    return false;
}

bool pv_version_highest(const char *list, enum pv_version most, enum pv_version *version_out)
{
    bool found = false;
    enum pv_version version;

    for (size_t len; *list; list += len + (list[len] == ',')) {
        len = strcspn(list, ",");
        if (!pv_version_parse(list, len, &version) || version > most) continue;
        if (found && version <= *version_out) continue;
        *version_out = version;
        found = true;
    }
    return found;
}

/* Commands, common statuses, and how a refusal is told. */
#include <provost/eas.h>

#include <string.h>

#include "src/lib/base/text.h"
#include "src/lib/eas/tables.h"

const struct pv_cmd_info *pv_cmd_info(enum pv_cmd cmd)
{
    return (unsigned)cmd < PV_CMD_COUNT ? &pv__commands[cmd] : NULL;
}

bool pv_cmd_find(const char *name, size_t len, enum pv_cmd *cmd_out)
{
    for (unsigned i = 0; i < PV_CMD_COUNT; i++) {
        const char *known = pv__commands[i].name;

        if (!pv__equal_nocase(name, len, known, strlen(known))) continue;
        *cmd_out = (enum pv_cmd)i;
        return true;
    }
    return false;
}

bool pv_cmd_from_code(unsigned code, enum pv_cmd *cmd_out)
{
    for (unsigned i = 0; i < PV_CMD_COUNT; i++) {
        if (pv__commands[i].code < 0 || (unsigned)pv__commands[i].code != code) continue;
        *cmd_out = (enum pv_cmd)i;
        return true;
    }
    return false;
}

static const struct pv__status *find_status(unsigned code)
{
    for (size_t i = 0; i < pv__status_count; i++)
        if (pv__statuses[i].code == code) return &pv__statuses[i];
    return NULL;
}

unsigned pv_status_http(unsigned status, bool key_sent)
{
    const struct pv__status *s = find_status(status);

    if (!s) return 400;
    return key_sent ? s->http : s->http_without_key;
}

const char *pv_status_name(unsigned status)
{
    const struct pv__status *s = find_status(status);

    return s ? s->name : "?";
}

const char *pv_status_text(unsigned status)
{
    const struct pv__status *s = find_status(status);

    return s ? s->text : "the status has no known meaning";
}

//= MS-ASCMD 2.2.2: below 14.0 an HTTP code stands in for a Status of 101 and above.
void pv_refuse(enum pv_version version, enum pv_cmd cmd, unsigned status, bool key_sent,
               struct pv_refusal *out)
{
    const struct pv_cmd_info *info = pv_cmd_info(cmd);
    struct pv_wbxml_writer w;

    *out = (struct pv_refusal){.http = pv_status_http(status, key_sent)};
    if (version < PV_V14_0 || version >= PV_VERSION_COUNT || !info || !info->root) return;
    pv_wbxml_begin(&w, out->body, sizeof out->body);
    pv_wbxml_start(&w, info->root);
    pv_wbxml_leaf_u32(&w, info->status, status);
    pv_wbxml_end(&w);
    if (pv_wbxml_finish(&w, &out->len) == PV_OK) out->http = 200;
}

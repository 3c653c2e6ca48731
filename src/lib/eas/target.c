/* The request target that a client sends. */
#include "src/lib/eas/request.h"

#include <string.h>

#include "src/lib/base/base64.h"
#include "src/lib/base/bytes.h"
#include "src/lib/base/text.h"

#define PARAMETER_MAX 255 /* its length is one byte */
/* version, command, locale, three counted fields, parameters with tag and length */
#define BINARY_MAX (4 + 3 * 256 + (PV__FIELD_COUNT + 1) * 257)

/* ---- plain ------------------------------------------------------------------------------- */

static void put_encoded(struct pv__out *o, const char *text)
{
    static const char hex[] = "0123456789ABCDEF";

    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;

        if (pv__is_alnum(c) || strchr("-._~", c))
            pv__out_bytes(o, text, 1);
        else
            pv__out_bytes(o, (const char[]){'%', hex[c >> 4], hex[c & 15]}, 3);
    }
}

static void put_plain(struct pv__out *o, const struct pv_request *req)
{
    pv__out_text(o, "?Cmd=");
    pv__out_text(o, pv_cmd_info(req->cmd)->name);
    for (size_t i = 0; i < PV__FIELD_COUNT; i++) {
        const char *text = pv__field_text(req, &pv__fields[i]);

        if (!*text) continue;
        pv__out_text(o, "&");
        pv__out_text(o, pv__fields[i].name);
        pv__out_text(o, "=");
        put_encoded(o, text);
    }
    if (req->save_in_sent) pv__out_text(o, "&SaveInSent=T");
}

/* ---- base64 ------------------------------------------------------------------------------ */

struct binary {
    uint8_t bytes[BINARY_MAX];
    size_t len;
};

/* What is put has been measured before. */
static void put_byte(struct binary *b, unsigned byte)
{
    b->bytes[b->len++] = (uint8_t)byte;
}

static void put_counted(struct binary *b, const char *text)
{
    size_t len = strlen(text);

    put_byte(b, (unsigned)len);
    memcpy(b->bytes + b->len, text, len);
    b->len += len;
}

static void put_key(struct binary *b, struct pv_sent_key key)
{
    uint32_t value = key.kind == PV_KEY_NUMBER ? key.value : 0;

    put_byte(b, key.kind == PV_KEY_ABSENT ? 0 : 4);
    for (unsigned i = 0; i < 4 && key.kind != PV_KEY_ABSENT; i++) put_byte(b, value >> 8 * i);
}

static enum pv_err put_base64(struct pv__out *o, const struct pv_request *req)
{
    unsigned options = (req->save_in_sent ? PV__OPTION_SAVE_IN_SENT : 0) |
                       (req->accept_multipart ? PV__OPTION_MULTIPART : 0);
    char text[BINARY_MAX / 3 * 4 + 8];
    struct binary b = {.len = 0};

    put_byte(&b, pv_version_byte(req->version));
    put_byte(&b, (unsigned)pv_cmd_info(req->cmd)->code);
    put_byte(&b, req->locale & 0xFF);
    put_byte(&b, req->locale >> 8);
    put_counted(&b, req->device_id);
    put_key(&b, req->key);
    put_counted(&b, req->device_type);
    for (size_t i = 0; i < PV__FIELD_COUNT; i++) {
        const char *value = pv__field_text(req, &pv__fields[i]);

        if (pv__fields[i].tag < 0 || !*value) continue;
        put_byte(&b, (unsigned)pv__fields[i].tag);
        put_counted(&b, value);
    }
    if (options) {
        put_byte(&b, PV__TAG_OPTIONS);
        put_byte(&b, 1);
        put_byte(&b, options);
    }
    PV_TRY(pv__base64_encode(b.bytes, b.len, text, sizeof text));
    pv__out_text(o, "?");
    pv__out_text(o, text);
    return PV_OK;
}

static enum pv_err check(const struct pv_request *req)
{
    const struct pv_cmd_info *info = pv_cmd_info(req->cmd);

    if (!info || (unsigned)req->version >= PV_VERSION_COUNT) return PV_E_USAGE;
    if (!req->device_id || !req->device_type) return PV_E_USAGE;
    if (strlen(req->device_id) > PV_DEVICE_ID_MAX || strlen(req->device_type) > PV_DEVICE_TYPE_MAX)
        return PV_E_RANGE;
    if (req->form == PV_QUERY_PLAIN) return PV_OK;
    if (req->key.kind == PV_KEY_BAD) return PV_E_USAGE;
    if (req->version < PV_V12_1 || info->code < 0) return PV_E_UNSUPPORTED;
    for (size_t i = 0; i < PV__FIELD_COUNT; i++)
        if (strlen(pv__field_text(req, &pv__fields[i])) > PARAMETER_MAX) return PV_E_RANGE;
    return PV_OK;
}

enum pv_err pv_request_target(const struct pv_request *req, const char *path, char *buf, size_t cap)
{
    struct pv__out o;

    PV_TRY(check(req));
    pv__out_init(&o, buf, cap);
    pv__out_text(&o, path ? path : PV_EAS_PATH);
    if (req->form == PV_QUERY_PLAIN)
        put_plain(&o, req);
    else
        PV_TRY(put_base64(&o, req));
    return pv__out_end(&o, NULL);
}

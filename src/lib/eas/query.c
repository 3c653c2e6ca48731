/* The two forms of the query, read into the same request. */
#include "src/lib/eas/request.h"

#include <string.h>

#include "src/lib/base/base64.h"
#include "src/lib/base/bytes.h"
#include "src/lib/base/text.h"

static int hex_value(char c)
{
    int lower = pv__lower((unsigned char)c);

    if (pv__is_digit((unsigned char)c)) return c - '0';
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

enum pv_err pv__percent_decode(char *text, size_t len, size_t *len_out)
{
    size_t at = 0;

    for (size_t i = 0; i < len; i++) {
        int high, low;

        if (text[i] != '%') {
            text[at++] = text[i];
            continue;
        }
        if (len - i < 3) return PV_E_MALFORMED;
        high = hex_value(text[i + 1]);
        low = hex_value(text[i + 2]);
        if (high < 0 || low < 0) return PV_E_MALFORMED;
        text[at++] = (char)(high << 4 | low);
        i += 2;
    }
    *len_out = at;
    return PV_OK;
}

/* A terminated copy; a NUL inside would hide what follows it. */
static enum pv_err copy_text(struct pv_arena *arena, const void *text, size_t len, const char **out)
{
    if (len && memchr(text, '\0', len)) return PV_E_MALFORMED;
    *out = pv_strndup(arena, text, len);
    return *out ? PV_OK : PV_E_NOMEM;
}

/* ---- plain ------------------------------------------------------------------------------- */

struct plain {
    struct pv_request *req;
    bool cmd_seen, save_seen;
};

/* One parameter, decoded. The first of a duplicate counts; other names, PolicyKey among them, say
 * nothing: the key stands in its header, and in the body of an acknowledgement. */
static void take_parameter(struct plain *p, const char *name, size_t name_len, const char *value)
{
    if (pv__equal_nocase(name, name_len, "Cmd", 3)) {
        if (!p->cmd_seen && !pv_cmd_find(value, strlen(value), &p->req->cmd))
            p->req->cmd = PV_CMD_COUNT;
        p->cmd_seen = true;
    } else if (pv__equal_nocase(name, name_len, "SaveInSent", 10)) {
        if (!p->save_seen) p->req->save_in_sent = pv__equal_nocase(value, strlen(value), "T", 1);
        p->save_seen = true;
    }
    for (size_t i = 0; i < PV__FIELD_COUNT; i++) {
        const struct pv__field *f = &pv__fields[i];
        const char **field = pv__field_of(p->req, f);

        if (!*field && pv__equal_nocase(name, name_len, f->name, strlen(f->name))) *field = value;
    }
}

static enum pv_err read_parameter(struct pv_arena *arena, struct plain *p, const char *text,
                                  size_t len)
{
    const char *equals = memchr(text, '=', len);
    size_t name_len = equals ? (size_t)(equals - text) : len;
    size_t value_len = equals ? len - name_len - 1 : 0;
    char *value;

    value = pv_strndup(arena, equals ? equals + 1 : "", value_len);
    if (!value) return PV_E_NOMEM;
    PV_TRY(pv__percent_decode(value, value_len, &value_len));
    if (memchr(value, '\0', value_len)) return PV_E_MALFORMED;
    value[value_len] = '\0';
    take_parameter(p, text, name_len, value);
    return PV_OK;
}

enum pv_err pv__query_plain(struct pv_arena *arena, const char *query, size_t len,
                            struct pv_request *out)
{
    struct plain p = {.req = out};
    enum pv_err worst = PV_OK;

    for (size_t at = 0, n; at < len; at += n + 1) {
        const char *amp = memchr(query + at, '&', len - at);
        enum pv_err err;

        n = amp ? (size_t)(amp - query) - at : len - at;
        err = read_parameter(arena, &p, query + at, n);
        if (err == PV_E_NOMEM) return err;
        if (err) worst = err;
    }
    return p.cmd_seen ? worst : PV_E_MALFORMED;
}

/* ---- base64 ------------------------------------------------------------------------------ */

static enum pv_err take_counted(struct pv__reader *r, const uint8_t **out, uint8_t *len_out)
{
    PV_TRY(pv__rd_u8(r, len_out));
    return pv__rd_take(r, *len_out, out);
}

/* Letters and digits stay text; other bytes become upper-case hex, so that a device keeps one
 * identity whatever its client puts there. */
static enum pv_err take_device_id(struct pv_arena *arena, const uint8_t *bytes, size_t len,
                                  const char **out)
{
    static const char hex[] = "0123456789ABCDEF";
    char *text;
    bool plain = true;

    for (size_t i = 0; i < len; i++) plain = plain && pv__is_alnum(bytes[i]);
    if (plain) return copy_text(arena, bytes, len, out);
    *out = text = PV_NEW(arena, char, 2 * len + 1);
    if (!text) return PV_E_NOMEM;
    for (size_t i = 0; i < len; i++) {
        *text++ = hex[bytes[i] >> 4];
        *text++ = hex[bytes[i] & 15];
    }
    return PV_OK;
}

static enum pv_err read_parameters(struct pv_arena *arena, struct pv__reader *r,
                                   struct pv_request *out)
{
    const uint8_t *value;
    uint8_t tag, len;
    bool options = false;

    while (pv__rd_left(r)) {
        PV_TRY(pv__rd_u8(r, &tag));
        PV_TRY(take_counted(r, &value, &len));
        if (tag == PV__TAG_OPTIONS && len && !options) {
            out->save_in_sent = value[0] & PV__OPTION_SAVE_IN_SENT;
            out->accept_multipart = value[0] & PV__OPTION_MULTIPART;
            options = true;
        }
        for (size_t i = 0; i < PV__FIELD_COUNT; i++) {
            const char **field = pv__field_of(out, &pv__fields[i]);
            if (pv__fields[i].tag == tag && !*field) PV_TRY(copy_text(arena, value, len, field));
        }
    }
    return PV_OK;
}

static bool all_digits(const uint8_t *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!pv__is_digit(text[i])) return false;
    return true;
}

/* Key, device type, parameters. A key field of 4 bytes is the key; any other length tells nothing
 * of the key, and the header is asked (one client of the base64 query always sends it there).
 * Another client writes the type where the key belongs, and then the key as decimal text. */
static enum pv_err read_key_and_rest(struct pv_arena *arena, struct pv__reader *r,
                                     struct pv_request *out)
{
    const uint8_t *key, *type;
    uint8_t key_len, type_len;

    PV_TRY(take_counted(r, &key, &key_len));
    if (key_len == 4) {
        uint32_t value =
            key[0] | (uint32_t)key[1] << 8 | (uint32_t)key[2] << 16 | (uint32_t)key[3] << 24;
        out->key = (struct pv_sent_key){value ? PV_KEY_NUMBER : PV_KEY_ZERO, value};
    }
    PV_TRY(take_counted(r, &type, &type_len));
    if (key_len != 0 && key_len != 4 && all_digits(type, type_len))
        return copy_text(arena, key, key_len, &out->device_type);
    PV_TRY(copy_text(arena, type, type_len, &out->device_type));
    return read_parameters(arena, r, out);
}

static enum pv_err read_fields(struct pv_arena *arena, struct pv__reader *r, struct pv_request *out)
{
    const uint8_t *bytes;
    uint8_t byte, len;

    PV_TRY(pv__rd_u8(r, &byte));
    for (unsigned v = 0; v < PV_VERSION_COUNT; v++)
        if (pv_version_byte((enum pv_version)v) == byte) out->version = (enum pv_version)v;
    PV_TRY(pv__rd_u8(r, &byte));
    if (!pv_cmd_from_code(byte, &out->cmd)) out->cmd = PV_CMD_COUNT;
    PV_TRY(pv__rd_take(r, 2, &bytes));
    out->locale = (uint16_t)(bytes[0] | bytes[1] << 8);
    PV_TRY(take_counted(r, &bytes, &len));
    PV_TRY(take_device_id(arena, bytes, len, &out->device_id));
    return read_key_and_rest(arena, r, out);
}

//= MS-ASHTTP 2.2.1.1.1.1
enum pv_err pv__query_base64(struct pv_arena *arena, const char *query, size_t len,
                             struct pv_request *out)
{
    char *text = pv_strndup(arena, query, len);
    struct pv__reader r;
    uint8_t *bytes;
    size_t count;
    enum pv_err err;

    if (!text) return PV_E_NOMEM;
    PV_TRY(pv__percent_decode(text, len, &len));
    bytes = PV_NEW(arena, uint8_t, len);
    if (!bytes) return PV_E_NOMEM;
    PV_TRY(pv__base64_decode(text, len, bytes, len, &count));
    r = pv__rd_init(bytes, count);
    err = read_fields(arena, &r, out);
    return err == PV_E_SHORT ? PV_E_MALFORMED : err; /* a request line never grows */
}

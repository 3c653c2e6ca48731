#include "src/lib/base/base64.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static int value_of(char c)
{
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    if (c == '+' || c == '-') return 62;
    if (c == '/' || c == '_') return 63;
    return -1;
}

enum pv_err pv__base64_decode(const char *text, size_t len, uint8_t *buf, size_t cap,
                              size_t *len_out)
{
    uint32_t bits = 0;
    unsigned held = 0; /* bits not yet written */
    size_t at = 0;

    /* Padding is all there or not there at all; "=" alone never completes a group. */
    if (len % 4 == 0 && len > 0 && text[len - 1] == '=') len -= text[len - 2] == '=' ? 2 : 1;
    if (len % 4 == 1) return PV_E_MALFORMED;
    for (size_t i = 0; i < len; i++) {
        int value = value_of(text[i]);
        if (value < 0) return PV_E_MALFORMED;
        bits = bits << 6 | (uint32_t)value;
        held += 6;
        if (held < 8) continue;
        held -= 8;
        if (at == cap) return PV_E_NOMEM;
        buf[at++] = (uint8_t)(bits >> held);
    }
    /* Left-over bits must be 0: one value has one spelling (RFC 4648, 3.5). */
    if (bits & ((1u << held) - 1)) return PV_E_MALFORMED;
    *len_out = at;
    return PV_OK;
}

enum pv_err pv__base64_encode(const uint8_t *data, size_t len, char *buf, size_t cap)
{
    if (cap == 0 || len / 3 + (len % 3 != 0) > (cap - 1) / 4) return PV_E_NOMEM;
    for (size_t i = 0; i < len; i += 3) {
        size_t n = len - i < 3 ? len - i : 3;
        uint32_t bits = (uint32_t)data[i] << 16;
        if (n > 1) bits |= (uint32_t)data[i + 1] << 8;
        if (n > 2) bits |= data[i + 2];
        *buf++ = alphabet[bits >> 18];
        *buf++ = alphabet[bits >> 12 & 63];
        *buf++ = n > 1 ? alphabet[bits >> 6 & 63] : '=';
        *buf++ = n > 2 ? alphabet[bits & 63] : '=';
    }
    *buf = '\0';
    return PV_OK;
}

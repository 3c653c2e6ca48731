#include "src/server/mailbox/utf7.h"

#include <stdint.h>
#include <string.h>

#include "src/lib/base/text.h"

/* RFC 3501 5.1.3: base64 with ',' for '/', without padding. */
static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

static bool is_direct(uint32_t code)
{
    return code >= 0x20 && code <= 0x7e;
}

/* Bits that wait to be written or read: at most 16 and a rest below 6. */
struct bits {
    uint32_t value;
    unsigned count;
};

static void put_sextets(struct pv__out *out, struct bits *b)
{
    for (; b->count >= 6; b->count -= 6) {
        pv__out_bytes(out, &alphabet[b->value >> (b->count - 6) & 0x3f], 1);
    }
}

static void put_unit(struct pv__out *out, struct bits *b, uint32_t unit)
{
    b->value = b->value << 16 | unit;
    b->count += 16;
    put_sextets(out, b);
}

static void put_code(struct pv__out *out, struct bits *b, uint32_t code)
{
    if (code >= 0x10000) {
        put_unit(out, b, 0xd800 + ((code - 0x10000) >> 10));
        code = 0xdc00 + (code & 0x3ff);
    }
    put_unit(out, b, code);
}

static void end_shift(struct pv__out *out, struct bits *b)
{
    if (b->count > 0) {
        b->value <<= 6 - b->count;
        b->count = 6;
        put_sextets(out, b);
    }
    pv__out_bytes(out, "-", 1);
}

bool utf7_encode(const char *utf8, size_t len, char *buf, size_t cap, size_t *len_out)
{
    struct pv__out out;
    struct bits b = {0};
    bool shifted = false;
    pv__out_init(&out, buf, cap);
    for (size_t at = 0; at < len;) {
        uint32_t code;
        size_t n = pv__utf8_next((const uint8_t *)utf8 + at, len - at, &code);
        if (n == 0 || code == 0) return false;
        at += n;
        if (is_direct(code) != !shifted) {
            if (shifted)
                end_shift(&out, &b);
            else
                pv__out_bytes(&out, "&", 1);
            b = (struct bits){0};
            shifted = !shifted;
        }
        if (shifted)
            put_code(&out, &b, code);
        else if (code == '&')
            pv__out_bytes(&out, "&-", 2);
        else
            pv__out_bytes(&out, utf8 + at - n, n);
    }
    if (shifted) end_shift(&out, &b);
    return pv__out_end(&out, len_out) == PV_OK;
}

static void put_utf8(struct pv__out *out, uint32_t code)
{
    static const uint8_t lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    size_t n = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    uint8_t text[4];
    for (size_t i = n; i-- > 1; code >>= 6) text[i] = (uint8_t)(0x80 | (code & 0x3f));
    text[0] = (uint8_t)(lead[n] | code);
    pv__out_bytes(out, text, n);
}

/* One UTF-16 unit; *high keeps the first half of a pair. */
static bool take_unit(struct pv__out *out, uint32_t unit, uint32_t *high)
{
    bool low = unit >= 0xdc00 && unit <= 0xdfff;
    if (low != (*high != 0) || unit == 0) return false;
    if (low) {
        put_utf8(out, 0x10000 + ((*high - 0xd800) << 10) + (unit - 0xdc00));
        *high = 0;
    } else if (unit >= 0xd800 && unit <= 0xdbff) {
        *high = unit;
    } else {
        put_utf8(out, unit);
    }
    return true;
}

/* The inside of "&...-". What is left over at the end (bits, half a pair) shows when the name is
 * written again. */
static bool decode_shift(const char *text, size_t len, struct pv__out *out)
{
    struct bits b = {0};
    uint32_t high = 0;
    for (size_t i = 0; i < len; i++) {
        const char *place = text[i] ? strchr(alphabet, text[i]) : NULL;
        if (!place) return false;
        b.value = b.value << 6 | (uint32_t)(place - alphabet);
        b.count += 6;
        if (b.count < 16) continue;
        b.count -= 16;
        if (!take_unit(out, b.value >> b.count & 0xffff, &high)) return false;
    }
    return high == 0;
}

bool utf7_decode(const char *utf7, size_t len, char *buf, size_t cap, size_t *len_out)
{
    struct pv__out out;
    char again[UTF7_MAX + 1];
    size_t got, again_len;
    if (len > UTF7_MAX) return false;
    pv__out_init(&out, buf, cap);
    for (size_t at = 0; at < len; at++) {
        if (utf7[at] != '&') {
            if (!is_direct((unsigned char)utf7[at])) return false;
            pv__out_bytes(&out, utf7 + at, 1);
            continue;
        }
        const char *inside = utf7 + at + 1;
        const char *end = memchr(inside, '-', len - at - 1);
        if (!end) return false;
        if (end == inside)
            pv__out_bytes(&out, "&", 1);
        else if (!decode_shift(inside, (size_t)(end - inside), &out))
            return false;
        at = (size_t)(end - utf7);
    }
    if (pv__out_end(&out, &got) != PV_OK) return false;
    /* Two shifts side by side, a shift for what needs none, bits left over: none of them comes back
     * the same. */
    if (!utf7_encode(buf, got, again, sizeof again, &again_len)) return false;
    if (again_len != len || memcmp(again, utf7, len) != 0) return false;
    if (len_out) *len_out = got;
    return true;
}

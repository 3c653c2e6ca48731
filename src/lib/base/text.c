#include "src/lib/base/text.h"

#include <string.h>

bool pv__is_digit(unsigned char c)
{
    return c >= '0' && c <= '9';
}

bool pv__is_alnum(unsigned char c)
{
    return pv__is_digit(c) || (pv__lower(c) >= 'a' && pv__lower(c) <= 'z');
}

int pv__lower(unsigned char c)
{
    return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c;
}

bool pv__equal_nocase(const char *a, size_t a_len, const char *b, size_t b_len)
{
    if (a_len != b_len) return false;
    for (size_t i = 0; i < a_len; i++)
        if (pv__lower((unsigned char)a[i]) != pv__lower((unsigned char)b[i])) return false;
    return true;
}

static size_t digits(uint64_t value)
{
    size_t n = 1;

    while (value /= 10) n++;
    return n;
}

bool pv__parse_u64(const char *text, size_t len, uint64_t most, bool leading_zeros, uint64_t *out)
{
    uint64_t value = 0;

    if (len == 0 || len > digits(most)) return false;
    if (!leading_zeros && len > 1 && text[0] == '0') return false;
    for (size_t i = 0; i < len; i++) {
        if (!pv__is_digit((unsigned char)text[i])) return false;
        unsigned digit = (unsigned)(text[i] - '0');
        if (digit > most || value > (most - digit) / 10) return false;
        value = value * 10 + digit;
    }
    *out = value;
    return true;
}

bool pv__parse_i64(const char *text, size_t len, int64_t least, int64_t most, int64_t *out)
{
    bool minus = len > 0 && text[0] == '-';
    uint64_t value;
    int64_t number;

    if (minus) { /* adding 1 first keeps INT64_MIN in range */
        uint64_t bound = least < 0 ? (uint64_t) - (least + 1) + 1 : 0;
        if (!pv__parse_u64(text + 1, len - 1, bound, false, &value) || value == 0) return false;
        number = -(int64_t)(value - 1) - 1;
    } else {
        if (!pv__parse_u64(text, len, most < 0 ? 0 : (uint64_t)most, false, &value)) return false;
        number = (int64_t)value;
    }
    if (number < least || number > most) return false;
    *out = number;
    return true;
}

size_t pv__utf8_next(const uint8_t *text, size_t len, uint32_t *code_out)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t n;
    uint32_t code;

    if (len == 0) return 0;
    if (text[0] < 0x80)
        n = 1, code = text[0];
    else if ((text[0] & 0xE0) == 0xC0)
        n = 2, code = text[0] & 0x1F;
    else if ((text[0] & 0xF0) == 0xE0)
        n = 3, code = text[0] & 0x0F;
    else if ((text[0] & 0xF8) == 0xF0)
        n = 4, code = text[0] & 0x07;
    else
        return 0;
    if (n > len) return 0;
    for (size_t i = 1; i < n; i++) {
        if ((text[i] & 0xC0) != 0x80) return 0;
        code = code << 6 | (text[i] & 0x3F);
    }
    if (code < least[n] || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) return 0;
    *code_out = code;
    return n;
}

bool pv__utf8_valid(const uint8_t *text, size_t len)
{
    uint32_t code;

    for (size_t i = 0, n; i < len; i += n) {
        n = pv__utf8_next(text + i, len - i, &code);
        if (n == 0) return false;
    }
    return true;
}

void pv__escape(const char *text, size_t len, char *buf, size_t cap)
{
    static const char hex[] = "0123456789abcdef";
    size_t at = 0, cut = 0; /* cut: the last place where "..." still fits behind */

    if (cap == 0) return;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        size_t need = c >= 0x20 && c < 0x7F ? 1 : 4;
        if (cap - at <= need) {
            size_t dots = cap - 1 - cut < 3 ? cap - 1 - cut : 3;
            memset(buf + cut, '.', dots);
            at = cut + dots;
            break;
        }
        if (need == 1) {
            buf[at] = (char)c;
        } else {
            const char piece[4] = {'\\', 'x', hex[c >> 4], hex[c & 15]};
            memcpy(buf + at, piece, sizeof piece);
        }
        at += need;
        if (cap - at > 3) cut = at;
    }
    buf[at] = '\0';
}

void pv__out_init(struct pv__out *o, char *buf, size_t cap)
{
    *o = (struct pv__out){.buf = buf, .cap = cap, .full = cap == 0};
}

void pv__out_bytes(struct pv__out *o, const void *text, size_t len)
{
    /* One byte stays free for the terminator. */
    if (o->full || len >= o->cap - o->len) {
        o->full = true;
        return;
    }
    if (len) memcpy(o->buf + o->len, text, len);
    o->len += len;
}

void pv__out_text(struct pv__out *o, const char *text)
{
    pv__out_bytes(o, text, strlen(text));
}

void pv__out_i64(struct pv__out *o, int64_t value)
{
    char text[PV__I64_TEXT];
    size_t at = sizeof text;
    uint64_t rest = value < 0 ? (uint64_t) - (value + 1) + 1 : (uint64_t)value;

    do text[--at] = (char)('0' + rest % 10);
    while (rest /= 10);
    if (value < 0) text[--at] = '-';
    pv__out_bytes(o, text + at, sizeof text - at);
}

enum pv_err pv__out_end(struct pv__out *o, size_t *len_out)
{
    if (o->cap) o->buf[o->len] = '\0';
    if (o->full) return PV_E_NOMEM;
    if (len_out) *len_out = o->len;
    return PV_OK;
}

/* Policy keys as peers send them. */
#include <provost/eas.h>

#include <string.h>

#include "src/lib/base/text.h"

struct pv_sent_key pv_key_parse(const char *text, size_t len)
{
    uint64_t value;

    if (!text || len == 0) return (struct pv_sent_key){.kind = PV_KEY_ABSENT};
    //= MS-ASPROV 2.2.2.42: unsigned 32-bit decimal. "007" is not "7": a key has one spelling.
    if (!pv__parse_u64(text, len, UINT32_MAX, false, &value))
        return (struct pv_sent_key){.kind = PV_KEY_BAD};
    if (value == 0) return (struct pv_sent_key){.kind = PV_KEY_ZERO};
    return (struct pv_sent_key){.kind = PV_KEY_NUMBER, .value = (uint32_t)value};
}

bool pv_key_is(struct pv_sent_key sent, uint32_t key)
{
    volatile uint32_t difference = sent.value ^ key; /* no early way out for the compiler */

    return (sent.kind == PV_KEY_NUMBER) & (key != 0) & (difference == 0);
}

void pv_key_mask(struct pv_sent_key sent, char buf[12])
{
    static const char *const words[] = {
        [PV_KEY_ABSENT] = "none", [PV_KEY_ZERO] = "0", [PV_KEY_BAD] = "bad"};
    struct pv__out o;

    pv__out_init(&o, buf, 12);
    if (sent.kind == PV_KEY_NUMBER)
        pv__out_i64(&o, sent.value);
    else
        pv__out_text(&o, words[sent.kind]);
    if (pv__out_end(&o, NULL) != PV_OK) return; /* 10 digits always fit */
    if (sent.kind == PV_KEY_NUMBER && o.len > 2) memset(buf + 2, 'x', o.len - 2);
}

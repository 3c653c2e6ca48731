/* What writer and reader of the XML form agree on beyond XML itself.
 *
 * A lone opaque child is the attribute opaque="base64" of an empty element; among other children it
 * is an element of its own, <_ opaque="base64"/>. White space counts as text only in an element
 * without other children, or when its first character is written as a reference. */
#ifndef PV_WBXML_XML_H
#define PV_WBXML_XML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PV__XML_OPAQUE "_"

/* XML 1.0, 2.2 */
static inline bool pv__xml_char(uint32_t code)
{
    return code == '\t' || code == '\n' || code == '\r' || (code >= 0x20 && code <= 0xD7FF) ||
           (code >= 0xE000 && code <= 0xFFFD) || (code >= 0x10000 && code <= 0x10FFFF);
}

static inline bool pv__xml_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static inline size_t pv__xml_blanks(const uint8_t *text, size_t len)
{
    size_t n = 0;

    while (n < len && pv__xml_blank(text[n])) n++;
    return n;
}

#endif

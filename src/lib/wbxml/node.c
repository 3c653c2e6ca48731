#include <string.h>

#include <provost/wbxml.h>

#include "src/lib/base/text.h"
#include "src/lib/wbxml/pages.h"

static const struct pv_node *first_of(const struct pv_node *node, uint16_t tag)
{
    while (node && (node->kind != PV_NODE_ELEMENT || node->tag != tag)) node = node->next;
    return node;
}

const struct pv_node *pv_node_child(const struct pv_node *node, uint16_t tag)
{
    return node ? first_of(node->child, tag) : NULL;
}

const struct pv_node *pv_node_next(const struct pv_node *node, uint16_t tag)
{
    return node ? first_of(node->next, tag) : NULL;
}

size_t pv_node_count(const struct pv_node *node, uint16_t tag)
{
    size_t n = 0;

    for (const struct pv_node *c = node ? node->child : NULL; c; c = c->next)
        n += c->kind == PV_NODE_ELEMENT && (tag == 0 || c->tag == tag);
    return n;
}

bool pv_node_text(const struct pv_node *node, const char **data_out, size_t *len_out)
{
    if (!node || node->kind != PV_NODE_ELEMENT) return false;
    const struct pv_node *content = node->child;
    if (content && (content->kind == PV_NODE_ELEMENT || content->next)) return false;
    *len_out = content ? content->len : 0;
    *data_out = *len_out ? (const char *)content->data : "";
    return true;
}

bool pv_node_u32(const struct pv_node *node, uint32_t *value_out)
{
    const char *text;
    uint64_t value;
    size_t len;

    if (!pv_node_text(node, &text, &len)) return false;
    if (!pv__parse_u64(text, len, UINT32_MAX, true, &value)) return false;
    *value_out = (uint32_t)value;
    return true;
}

bool pv_node_text_is(const struct pv_node *node, const char *text)
{
    const char *data;
    size_t len;

    return pv_node_text(node, &data, &len) && len == strlen(text) && memcmp(data, text, len) == 0;
}

const char *pv_page_name(unsigned page)
{
    return page < PV__PAGE_COUNT ? pv__pages[page].name : NULL;
}

const char *pv_tag_name(uint16_t tag)
{
    unsigned page = tag >> 8, token = tag & 0xFF;

    return page < PV__PAGE_COUNT && token <= PV__TAG_LAST ? pv__pages[page].tag[token] : NULL;
}

uint16_t pv_tag_find(const char *page, const char *name)
{
    int number = page && page[0] != '_' ? pv__page_by_label(page, strlen(page)) : -1;

    if (number < 0 || !name || name[0] == '_') return 0;
    return pv__tag_by_label((uint8_t)number, name, strlen(name));
}

static const char *hex_label(uint32_t value, int digits, char spare[PV__NAME_SPARE])
{
    spare[0] = '_';
    for (int i = 0; i < digits; i++)
        spare[1 + i] = "0123456789ABCDEF"[value >> 4 * (digits - 1 - i) & 15];
    spare[1 + digits] = '\0';
    return spare;
}

/* -1 if the label is not exactly what hex_label makes. */
static int hex_value(const char *label, size_t len, size_t digits)
{
    int value = 0;

    if (len != digits + 1 || label[0] != '_') return -1;
    for (size_t i = 1; i < len; i++) {
        const char *digit = memchr("0123456789ABCDEF", label[i], 16);
        if (!digit) return -1;
        int v = pv__is_digit((unsigned char)label[i]) ? label[i] - '0' : label[i] - 'A' + 10;
        value = value << 4 | v;
    }
    return value;
}

static bool is_name(const char *known, const char *name, size_t len)
{
    return known && strlen(known) == len && memcmp(known, name, len) == 0;
}

const char *pv__page_label(uint8_t page, char spare[PV__NAME_SPARE])
{
    const char *name = pv_page_name(page);

    return name ? name : hex_label(page, 2, spare);
}

const char *pv__tag_label(uint16_t tag, char spare[PV__NAME_SPARE])
{
    const char *name = pv_tag_name(tag);

    return name ? name : hex_label(tag, 4, spare);
}

int pv__page_by_label(const char *name, size_t len)
{
    for (int page = 0; page < PV__PAGE_COUNT; page++)
        if (is_name(pv__pages[page].name, name, len)) return page;
    int page = hex_value(name, len, 2);
    return page >= PV__PAGE_COUNT ? page : -1;
}

uint16_t pv__tag_by_label(uint8_t page, const char *name, size_t len)
{
    for (unsigned token = PV__TAG_FIRST; page < PV__PAGE_COUNT && token <= PV__TAG_LAST; token++)
        if (is_name(pv__pages[page].tag[token], name, len)) return (uint16_t)(page << 8 | token);
    /* A tag has one label: the hex form only where the table has no name. */
    int tag = hex_value(name, len, 4);
    if (tag < 0 || tag >> 8 != page || pv_tag_name((uint16_t)tag)) return 0;
    return (tag & 0xFF) >= PV__TAG_FIRST && (tag & 0xFF) <= PV__TAG_LAST ? (uint16_t)tag : 0;
}

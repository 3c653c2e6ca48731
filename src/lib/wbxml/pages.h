/* The code pages, made from data/code-pages.tsv. */
#ifndef PV_WBXML_PAGES_H
#define PV_WBXML_PAGES_H

#include <stddef.h>
#include <stdint.h>

enum { PV__PAGE_COUNT = 26, PV__TAG_FIRST = 0x05, PV__TAG_LAST = 0x3F };

struct pv__page {
    const char *name;
    const char *tag[PV__TAG_LAST + 1]; /* NULL: no such token */
};

extern const struct pv__page pv__pages[PV__PAGE_COUNT];

/* Room for a name of an unknown page or tag, "_1A3C" terminated. */
enum { PV__NAME_SPARE = 6 };

/* Names as the XML form writes them: the table's, or "_PP" and "_PPTT" in hex, made in spare. */
const char *pv__page_label(uint8_t page, char spare[PV__NAME_SPARE]);
const char *pv__tag_label(uint16_t tag, char spare[PV__NAME_SPARE]);
/* The other way; -1 if there is no such page, 0 if there is no such tag. */
int pv__page_by_label(const char *name, size_t len);
uint16_t pv__tag_by_label(uint8_t page, const char *name, size_t len);

#endif

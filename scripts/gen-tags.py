#!/usr/bin/env python3
"""Makes provost/tags.h (names of all tags) and the lookup table of src/lib/wbxml from data/code-pages.tsv."""
import csv
import sys


def rows(path):
    with open(path, encoding="utf-8") as f:
        lines = (line for line in f if not line.startswith("#"))
        for row in csv.DictReader(lines, delimiter="\t"):
            yield int(row["page"]), row["namespace"], int(row["token"], 16), row["element"]


def header(table):
    out = ["/* Made from data/code-pages.tsv; do not edit. */",
           "#ifndef PROVOST_TAGS_H", "#define PROVOST_TAGS_H", "",
           "/** Every tag of ActiveSync's code pages: page << 8 | token. */", "enum pv_tag {"]
    out += [f"    PV_{ns}_{name} = 0x{page << 8 | token:04X}," for page, ns, token, name in table]
    out += ["};", "#endif", ""]
    return "\n".join(out)


def source(table):
    pages = {}
    for page, ns, token, name in table:
        pages.setdefault(page, (ns, {}))[1][token] = name
    out = ["/* Made from data/code-pages.tsv; do not edit. */", '#include "src/lib/wbxml/pages.h"', "",
           "const struct pv__page pv__pages[PV__PAGE_COUNT] = {"]
    for page, (ns, names) in sorted(pages.items()):
        out.append(f'    [{page}] = {{"{ns}", {{')
        out += [f'        [0x{token:02X}] = "{name}",' for token, name in sorted(names.items())]
        out.append("    }},")
    out += ["};", ""]
    return "\n".join(out)


def main():
    kind, path, target = sys.argv[1:]
    table = sorted(rows(path))
    text = {"header": header, "source": source}[kind](table)
    with open(target, "w", encoding="utf-8") as f:
        f.write(text)


main()

#!/usr/bin/env python3
"""Makes two files from data/code-pages.tsv: provost/tags.h with every tag that may be sent, and the
lookup table of src/lib/wbxml, with the legacy tags too: they are decoded, but no code can name them."""
import csv
import sys


def rows(path):
    with open(path, encoding="utf-8") as f:
        lines = (line for line in f if not line.startswith("#"))
        for row in csv.DictReader(lines, delimiter="\t"):
            yield (int(row["page"]), row["namespace"], int(row["token"], 16), row["element"],
                   row["status"])


def header(table):
    out = ["/* Made from data/code-pages.tsv; do not edit. */",
           "#ifndef PROVOST_TAGS_H", "#define PROVOST_TAGS_H", "",
           "/** Every tag of ActiveSync's code pages that may be sent: page << 8 | token. */",
           "enum pv_tag {"]
    out += [f"    PV_{ns}_{name} = 0x{page << 8 | token:04X},"
            for page, ns, token, name, status in table if status != "legacy"]
    out += ["};", "#endif", ""]
    return "\n".join(out)


def source(table):
    pages = {}
    for page, ns, token, name, _ in table:
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

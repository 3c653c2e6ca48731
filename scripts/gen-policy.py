#!/usr/bin/env python3
"""Makes from data/policy.tsv: provost/settings.h (header), the table of src/lib/policy (source),
a section of the manual (man, scdoc) and a description for other programs (json)."""
import csv
import json
import sys

ALLOWED = {"duration": "seconds up to 315360000, or 90s, 15m, 12h, 30d, never",
           "date": "a day such as 2027-01-31, or 2027-01-31T12:00:00Z, from 1970-01-02 on",
           "list": "entries separated by commas"}
UNSET = {"duration": "0, never", "date": "no end", "list": "no list"}


class Setting:
    def __init__(self, row):
        self.name, self.kind, self.unit = row["name"], row["kind"], row["unit"].strip("-")
        self.meaning, self.stricter = row["meaning"], row["stricter"]
        self.treatment = row["first"] == "-"
        self.first = "2.5" if self.treatment else row["first"]
        self.wap, self.empty, self.password = (row[k] != "-" for k in ("wap", "empty", "password"))
        self.item = row["item"].strip("-")
        self.unset = None if row["unset"] == "no-limit" else int(row["unset"])
        self.no_limit = None if row["no_limit"] == "-" else int(row["no_limit"])
        self.min = self.max = self.mask = 0
        if ".." in row["allowed"]:
            self.min, self.max = (int(n) for n in row["allowed"].split(".."))
        elif self.kind != "list":
            numbers = [int(n) for n in row["allowed"].split(",")]
            self.min, self.max = min(numbers), max(numbers)
            self.mask = sum(1 << n for n in numbers)
        self.allowed = ALLOWED.get(self.kind, row["allowed"])


def read(path):
    with open(path, encoding="utf-8") as f:
        lines = (line for line in f if not line.startswith("#"))
        return [Setting(row) for row in csv.DictReader(lines, delimiter="\t")]


def header(settings):
    out = ["/* Made from data/policy.tsv; do not edit. */",
           "#ifndef PROVOST_SETTINGS_H", "#define PROVOST_SETTINGS_H", "",
           "/** Settings of a policy: those on the wire, in wire order, then the treatments. */",
           "enum pv_setting {"]
    out += [f"    PV_SET_{s.name}, /**< {s.meaning} */" for s in settings]
    out += ["    PV_SETTING_COUNT", "};",
            f"#define PV_WIRE_SETTING_COUNT {sum(not s.treatment for s in settings)}", "#endif", ""]
    return "\n".join(out)


def number(value):
    return "PV_NO_LIMIT" if value is None else str(value)


def source(settings):
    out = ["/* Made from data/policy.tsv; do not edit. */",
           '#include "src/lib/policy/settings.h"', "",
           "const struct pv_setting_info pv__settings[PV_SETTING_COUNT] = {"]
    for s in settings:
        fields = [f'.name = "{s.name}"', f'.meaning = "{s.meaning}"', f'.unit = "{s.unit}"',
                  f'.allowed = "{s.allowed}"', f".kind = PV_SETTING_{s.kind.upper()}",
                  f".stricter = PV_STRICTER_{s.stricter.upper()}",
                  f".min = {s.min}", f".max = {s.max}",
                  f".enum_mask = {s.mask if s.kind == 'enum' else 0}",
                  f".unset = {number(s.unset)}", f".no_limit = {number(s.no_limit)}",
                  f".first = PV_V{s.first.replace('.', '_')}"]
        fields += [f".{flag} = true" for flag, on in (("empty_when_unset", s.empty), ("wap", s.wap),
                   ("password", s.password), ("treatment", s.treatment)) if on]
        fields += [] if s.treatment else [f".tag = PV_Provision_{s.name}"]
        fields += [f".item_tag = PV_Provision_{s.item}"] if s.item else []
        out.append(f"    [PV_SET_{s.name}] = {{" + ",\n        ".join(fields) + "},")
    out += ["};", ""]
    return "\n".join(out)


def unset_text(s):
    return UNSET.get(s.kind) or ("no limit" if s.unset is None else str(s.unset))


def man(settings):
    out = []
    for s in settings:
        unit = f" {s.unit}" if s.unit and s.kind != "duration" else ""
        since = f"from version {s.first} on" + (", and 2.5" if s.wap else "")
        where = "not sent to the device" if s.treatment else since
        out += [f"*{s.name}* ({s.allowed}{unit}; unset: {unset_text(s)}; {where})",
                f"\t{s.meaning}", ""]
    return "\n".join(out)


def description(settings):
    return json.dumps([{"name": s.name, "kind": s.kind, "allowed": s.allowed,
                        "min": s.min, "max": s.max, "unit": s.unit, "unset": unset_text(s),
                        "first": None if s.treatment else s.first, "wap": s.wap,
                        "password": s.password, "treatment": s.treatment, "meaning": s.meaning}
                       for s in settings], indent=1) + "\n"


def main():
    kind, path, target = sys.argv[1:]
    text = {"header": header, "source": source, "man": man, "json": description}[kind](read(path))
    with open(target, "w", encoding="utf-8") as f:
        f.write(text)


main()

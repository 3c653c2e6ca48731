#!/usr/bin/env python3
"""Makes two things from data/config.tsv: the table that the server checks its configuration with,
and the list of keys in provost.conf(5)."""
import csv
import sys


def rows(path):
    with open(path, encoding="utf-8") as f:
        lines = (line for line in f if not line.startswith("#"))
        yield from csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)


def text(value):
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def optional(value):
    return "NULL" if value == "-" else text(value)


def table(keys):
    out = ["/* Made from data/config.tsv; do not edit. */"]
    for k in keys:
        number = k["type"] in ("number", "size")
        place = f'offsetof(struct config, {k["member"]})'
        out.append("    { %s, KEY_%s, %s,\n      %s, %s, %s, %s, %s, %s }," % (
            text(k["key"]), k["type"].upper(), place, optional(k["default"]),
            k["least"] if number else 0, k["most"] if number else 0, optional(k["unit"]),
            optional(k["allowed"]), {"at once": "false", "restart": "true"}[k["reload"]]))
    return "\n".join(out) + "\n"


def quoted(k):
    if k["type"] in ("number", "size", "flag", "groups", "domains"):
        return k["default"]
    parts = k["default"].split("|") if k["type"] == "list" else [k["default"]]
    values = [f'"{v}"' for v in parts]
    return values[0] if len(values) == 1 else "[ " + ", ".join(values) + " ]"


def man(keys):
    out = []
    for k in keys:
        default = "" if k["default"] == "-" else " = " + quoted(k)
        extra = ""
        if k["type"] in ("number", "size"):
            extra = f' {k["least"]} to {k["most"]} {k["unit"]}.'
        elif k["type"] in ("choice", "list") and " " in k["allowed"]:
            extra = (" One of: " if k["type"] == "choice" else " Any of: ") + ", ".join(k["allowed"].split()) + "."
        if k["reload"] == "restart":
            extra += " Another value waits for a restart."
        escape = str.maketrans({"_": "\\_", "*": "\\*", "#": "\\#", "<": "\\<"})
        out += [f'*{k["key"].translate(escape)}*{default.translate(escape)}',
                "\t" + (k["sentence"] + extra).translate(escape), ""]
    return "\n".join(out)


def main():
    kind, path, *target = sys.argv[1:]
    made = {"table": table, "man": man}[kind](list(rows(path)))
    if target:
        with open(target[0], "w", encoding="utf-8") as f:
            f.write(made)
    else:
        sys.stdout.write(made)


main()

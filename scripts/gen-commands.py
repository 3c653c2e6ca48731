#!/usr/bin/env python3
"""Makes provost/commands.h and the tables of src/lib/eas from data/commands.tsv, data/statuses.tsv."""
import csv
import sys

KEY_RULES = {"needed": "PV_KEY_NEEDED", "partnership": "PV_KEY_PARTNERSHIP",
             "exempt": "PV_KEY_EXEMPT"}


def rows(path):
    with open(path, encoding="utf-8") as f:
        return list(csv.DictReader(f, delimiter="\t", quoting=csv.QUOTE_NONE))


def header(commands):
    out = ["/* Made from data/commands.tsv; do not edit. */",
           "#ifndef PROVOST_COMMANDS_H", "#define PROVOST_COMMANDS_H", "",
           "/** Every command of ActiveSync, old ones of the plain query included. */",
           "enum pv_cmd {"]
    out += [f"    PV_CMD_{row['name']}," for row in commands]
    out += ["    PV_CMD_COUNT", "};", "#endif", ""]
    return "\n".join(out)


def tag(element):
    return "0" if element == "-" else "PV_" + element.replace(":", "_")


def command(row):
    code = "-1" if row["code"] == "-" else row["code"]
    first = "PV_V" + row["first"].replace(".", "_")
    empty = {"yes": "true", "no": "false"}[row["empty_body"]]
    return (f'    [PV_CMD_{row["name"]}] = {{"{row["name"]}", {code}, {KEY_RULES[row["key_rule"]]},\n'
            f'        {tag(row["root"])}, {tag(row["status"])}, {first}, {empty}}},')


def status(row):
    http, bare = (row[k].replace("-", "400") for k in ("http", "http_without_key"))
    return f'    {{{row["code"]}, "{row["name"]}", {http}, {bare},\n        "{row["text"]}"}},'


def source(commands, statuses):
    out = ["/* Made from data/commands.tsv and data/statuses.tsv; do not edit. */",
           '#include "src/lib/eas/tables.h"', "",
           "const struct pv_cmd_info pv__commands[PV_CMD_COUNT] = {"]
    out += [command(row) for row in commands]
    out += ["};", "", "const struct pv__status pv__statuses[] = {"]
    out += [status(row) for row in statuses]
    out += ["};", f"const size_t pv__status_count = {len(statuses)};", ""]
    return "\n".join(out)


def main():
    kind, target, *paths = sys.argv[1:]
    text = {"header": header, "source": source}[kind](*(rows(path) for path in paths))
    with open(target, "w", encoding="utf-8") as f:
        f.write(text)


main()

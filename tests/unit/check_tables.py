#!/usr/bin/env python3
"""Holds the tables in the documentation against what the library prints: PRINT_TABLES NAME PAGE.

With --write in front the page is brought up to date instead."""
import subprocess
import sys


def main():
    args = sys.argv[1:]
    write = args[:1] == ["--write"]
    program, name, page = args[write:]
    table = subprocess.run([program, name], check=True, capture_output=True,
                           encoding="utf-8").stdout
    with open(page, encoding="utf-8") as f:
        text = f.read()
    begin, end = f"<!-- table: {name} -->\n", "<!-- end -->"
    head, found, rest = text.partition(begin)
    old, closed, tail = rest.partition(end)
    if not found or not closed:
        sys.exit(f"{page}: there is no table between {begin.strip()} and {end}")
    if write:
        with open(page, "w", encoding="utf-8") as f:
            f.write(head + begin + table + end + tail)
    elif old != table:
        sys.exit(f"{page} is not what the library does; bring it up to date with\n"
                 f"  {sys.argv[0]} --write {program} {name} {page}")


main()

#!/usr/bin/env python3
"""build.py SCDOC SOURCE OUTPUT [MARK GENERATOR TABLE]: makes a manual page. A line @MARK@ in the source is
replaced by what `GENERATOR man TABLE` makes."""
import re
import subprocess
import sys
import tempfile


def generated(generator, table):
    with tempfile.NamedTemporaryFile("r", encoding="utf-8") as made:
        subprocess.run([sys.executable, generator, "man", table, made.name], check=True)
        return made.read().rstrip("\n")


def main():
    scdoc, source, output, *part = sys.argv[1:]
    with open(source, encoding="utf-8") as f:
        text = f.read()
    if part:
        mark, generator, table = part
        text = text.replace(f"@{mark}@", generated(generator, table))
    left = re.search(r"^@[A-Z]+@$", text, re.M)
    if left:
        sys.exit(f"{source}: nothing for {left.group()}")
    page = subprocess.run([scdoc], input=text, text=True, stdout=subprocess.PIPE, check=True).stdout
    with open(output, "w", encoding="utf-8") as f:
        f.write(page)


main()

#!/usr/bin/env python3
"""check.py MANDOC PAGE... [-- PROGRAM HELP_ARGUMENT PAGE]: mandoc finds nothing in the pages, and every option, command
and exit code that the program's help names is in its page."""
import re
import subprocess
import sys

# What scdoc always writes.
EXPECTED = ("skipping paragraph macro",)


def lint(mandoc, page):
    run = subprocess.run([mandoc, "-T", "lint", "-W", "warning", page], text=True,
                         stdout=subprocess.PIPE, check=False)
    return [line for line in run.stdout.splitlines() if not any(e in line for e in EXPECTED)]


def plain(mandoc, page):
    text = subprocess.run([mandoc, "-T", "ascii", "-O", "width=200", page], text=True, check=True,
                          stdout=subprocess.PIPE).stdout
    return re.sub(r"\s+", " ", re.sub(r".\x08", "", text))


def missing(program, argument, text):
    said = subprocess.run([program, argument], text=True, check=True, stdout=subprocess.PIPE).stdout
    words = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", said))
    words |= {" ".join(m.split()) for m in re.findall(r"^  (provost \w+(?: [a-z]+)?)", said, re.M)}
    words |= {f"{code} {says}" for code, says in re.findall(r"^  (\d)  (.*)$", said, re.M)}
    return [w for w in sorted(words) if w.lower() not in text.lower()]


def main():
    mandoc, *pages = sys.argv[1:]
    program = []
    if "--" in pages:
        at = pages.index("--")
        pages, program = pages[:at], pages[at + 1:]
    faults = [line for page in pages for line in lint(mandoc, page)]
    if program:
        path, argument, page = program
        faults += [f"{page}: not a word of: {w}" for w in missing(path, argument, plain(mandoc, page))]
    print("\n".join(faults))
    sys.exit(1 if faults else 0)


main()

#!/usr/bin/env python3
"""The code of the programs and the library looks as .clang-format says.

Usage: check_format.py TREE. Other releases of clang-format decide otherwise, so only 14 (Debian 12)
is asked; 77 where there is none.
"""

import pathlib
import re
import shutil
import subprocess
import sys

SKIP = 77


def main():
    tree = pathlib.Path(sys.argv[1])
    tool = shutil.which("clang-format-14") or shutil.which("clang-format")
    said = subprocess.run([tool, "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout \
        if tool else ""
    if not re.search(r"version 14\.", said):
        print("clang-format 14 is not here")
        return SKIP
    files = sorted(str(f) for top in ("src", "examples") for f in (tree / top).rglob("*.c"))
    assert len(files) > 50, "the sources are not where they were"
    return subprocess.run([tool, "--dry-run", "-Werror", *files], check=False).returncode


sys.exit(main())

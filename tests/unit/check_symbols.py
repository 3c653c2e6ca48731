#!/usr/bin/env python3
"""What libprovost needs, offers and holds: LIBRARY.

It needs a few functions of libc that do no I/O, know no clock and no chance; it offers pv_ names
and not pv__ ones; it holds no object that could change.
"""
import re
import subprocess
import sys

SKIP = 77
NEEDS = {
    "bcmp", "memchr", "memcmp", "memcpy", "memmove", "memset", "strchr", "strcmp", "strcspn",
    "strlen", "strncmp", "strnlen",
    "aligned_alloc", "free",  # src/lib/base/arena.c alone
    "__stack_chk_fail", "__memcpy_chk", "__memset_chk", "__memmove_chk",
    # weak, from the compiler's start files
    "_ITM_deregisterTMCloneTable", "_ITM_registerTMCloneTable", "__cxa_finalize", "__gmon_start__",
}
START_FILES = {"completed.0", "__dso_handle", "__TMC_END__", "__bss_start", "_edata", "_end"}
INSTRUMENTED = ("__asan_", "__ubsan_", "__tsan_", "__sanitizer_", "__gcov_")


def readelf(option):
    return subprocess.run(["readelf", option, "-W", sys.argv[1]], check=True, capture_output=True,
                          text=True).stdout


def sections():
    found = re.findall(r"^\s*\[\s*(\d+)\]\s+(\S+)", readelf("-S"), re.MULTILINE)
    return dict(found)


def symbols():
    """(table, name, type, binding, section index), of the dynamic table and the full one."""
    table = ""
    for line in readelf("-s").splitlines():
        if line.startswith("Symbol table"):
            table = line.split("'")[1]
        words = line.split()
        if len(words) >= 8 and words[0].rstrip(":").isdigit():
            yield table, words[7].split("@")[0], words[3], words[4], words[6]


def main():
    names = sections()
    wrong = []
    exports = 0
    for table, name, kind, binding, index in symbols():
        dynamic = table == ".dynsym"
        if dynamic and index == "UND":
            if name.startswith(INSTRUMENTED):
                print(f"instrumented build ({name})")
                sys.exit(SKIP)
            if name not in NEEDS:
                wrong.append(f"needs {name}")
        elif dynamic and binding in ("GLOBAL", "WEAK"):
            exports += 1
            if not re.match(r"pv_[a-z0-9]", name):
                wrong.append(f"exports {name}")
        elif kind in ("OBJECT", "TLS") and name not in START_FILES:
            section = names.get(index, index)
            if section.startswith((".data", ".bss", ".tdata", ".tbss")) and \
                    not section.startswith(".data.rel.ro"):
                wrong.append(f"holds {name} in {section}")
    if wrong or not exports:
        raise SystemExit("\n".join(wrong) or "no exports at all")
    print(exports, "exports")


main()

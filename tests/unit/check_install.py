#!/usr/bin/env python3
"""What somebody else gets: BUILD_DIR SANITIZERS EXAMPLES_DIR C_COMPILER...

Installs the build into a folder of its own. Every public header stands alone, in C and in C++; each
function is documented; pkg-config leads the examples to the shared and to the static library.
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

BUILD, SANITIZERS, EXAMPLES, CC = sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:]
STRICT = ["-Wall", "-Wextra", "-pedantic", "-Werror"]


def run(*argv, **how):
    done = subprocess.run([str(word) for word in argv], capture_output=True, text=True, **how)
    if done.returncode:
        raise SystemExit(f"{argv}\n{done.stdout}{done.stderr}")
    return done.stdout.split()


def undocumented(header):
    """Functions that no comment stands right in front of."""
    text = header.read_text(encoding="utf-8")
    for found in re.finditer(r"^PV_API[^;]*;", text, re.M):
        before = text[:found.start()].rstrip()
        last = before[before.rfind("/*"):]
        if not (last.startswith("/**") and last.endswith("*/")) and "extern" not in found.group():
            yield f"{header.name}: {found.group()}"


def check_headers(headers, flags):
    compilers = [(CC, "c", "-std=c11")]
    if shutil.which("c++"):
        compilers += [(["c++"], "c++", "-std=c++11"), (["c++"], "c++", "-std=c++20")]
    for header in headers:
        for compiler, language, standard in compilers:
            run(*compiler, *STRICT, "-x", language, standard, *flags, "-fsyntax-only", "-",
                input=f"#include <provost/{header.name}>\nint main(void) {{ return 0; }}\n")
    missing = [line for header in headers for line in undocumented(header)]
    if missing:
        raise SystemExit("not documented:\n" + "\n".join(missing))


def main():
    with tempfile.TemporaryDirectory(prefix="provost-install-") as root:
        run("meson", "install", "-C", BUILD, "--no-rebuild", "--quiet", "--destdir", root)
        (pc,) = pathlib.Path(root).rglob("libprovost.pc")
        env = dict(os.environ, PKG_CONFIG_PATH=str(pc.parent), PKG_CONFIG_SYSROOT_DIR=root)
        flags = run("pkg-config", "--cflags", "libprovost", env=env)
        libs = run("pkg-config", "--libs", "libprovost", env=env)
        assert list(pathlib.Path(root).rglob("libexec/provost/provost-auth")), "no login helper"
        service, = pathlib.Path(root).rglob("lib/systemd/system/provostd.service")
        assert re.search(r"^ExecStart=/\S+/provostd ", service.read_text(), re.M), "no ExecStart"
        assert (service.parent / "provostd.socket").exists(), "no units for sockets"
        headers = sorted(pathlib.Path(root).rglob("include/provost/*.h"))
        names = {header.name for header in headers}
        assert {"wbxml.h", "eas.h", "policy.h", "provision.h", "tags.h"} <= names, names
        check_headers(headers, flags)
        instruments = [] if SANITIZERS == "none" else ["-fsanitize=" + SANITIZERS]
        for link in (libs, ["-Wl,-Bstatic", *libs, "-Wl,-Bdynamic"]):
            for end in ("client", "server"):
                program = pathlib.Path(root) / end
                run(*CC, *STRICT, "-std=c11", *instruments, f"{EXAMPLES}/{end}.c", *flags, *link,
                    "-o", program)
                needs = " ".join(run("readelf", "-d", program))
                assert ("libprovost.so.0" in needs) == (link is libs), needs
        print(len(headers), "headers")


main()

"""A server whose clock on the wall is set by the test (tests/system/other_clock.c)."""

import pathlib
import struct
import subprocess

from .server import TREE, environment

SOURCE = TREE / "tests" / "system" / "other_clock.c"
MINUTE, HOUR, DAY = 60, 3600, 86400


class Clock:
    """directory: where its files go. env: what a server is started with so that it goes by this clock."""

    def __init__(self, directory):
        library, self.file = pathlib.Path(directory) / "other_clock.so", pathlib.Path(directory) / "clock"
        subprocess.run(["cc", "-D_GNU_SOURCE", "-shared", "-fPIC", "-O1", "-Wall", "-Werror",
                        "-o", str(library), str(SOURCE)], check=True)
        self.file.write_bytes(bytes(8))
        self.off = 0
        # The sanitizer's runtime wants to be the first of all libraries, but works behind ours.
        sanitizer = environment()["ASAN_OPTIONS"] + ":verify_asan_link_order=0"
        self.env = {"LD_PRELOAD": str(library), "OTHER_CLOCK": str(self.file),
                    "ASAN_OPTIONS": sanitizer}

    def set(self, seconds):
        """So far from the true time."""
        self.off = seconds
        with open(self.file, "r+b", buffering=0) as file:
            file.write(struct.pack("=q", seconds))

    def step(self, seconds):
        self.set(self.off + seconds)

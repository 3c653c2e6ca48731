"""A server whose store's file fails, is torn, or loses its power, as a test tells it: torn_writes.c."""

import errno
import os
import pathlib
import signal
import struct
import subprocess

from .server import Server, environment

SOURCE = pathlib.Path(__file__).resolve().parents[1] / "torn_writes.c"
FIELDS = ("write_one_in", "sync_one_in", "read_one_in", "code", "torn", "kill_in", "data", "power", "seed",
          "operations", "failed", "rolled_back")


class TornServer(Server):
    def __init__(self, **how):
        super().__init__(start=False, **how)
        library, self.control = self.dir / "torn_writes.so", self.dir / "torn_writes"
        subprocess.run(["cc", "-D_GNU_SOURCE", "-D_FILE_OFFSET_BITS=64", "-shared", "-fPIC", "-O1", "-Wall",
                        "-Werror", "-o", str(library), str(SOURCE)], check=True)
        self.control.write_bytes(bytes(4 * len(FIELDS)))
        # The sanitizer's runtime wants to be the first of all libraries, but works behind ours.
        sanitizer = environment()["ASAN_OPTIONS"] + ":verify_asan_link_order=0"
        self.env = {"LD_PRELOAD": str(library), "TORN_WRITES": str(self.control),
                    "ASAN_OPTIONS": sanitizer}
        self.start()

    def torn(self, code=errno.EIO, **fields):
        """Sets those fields of the library's control; code: errno of what fails."""
        with open(self.control, "r+b", buffering=0) as f:
            for name, value in dict(fields, code=code).items():
                os.pwrite(f.fileno(), struct.pack("=I", value), 4 * FIELDS.index(name))

    def killed(self):
        """It has ended by SIGKILL, as it was told to."""
        self._ended(expect=-signal.SIGKILL)

    def well(self):
        """Nothing fails any more."""
        self.torn(write_one_in=0, sync_one_in=0, read_one_in=0, torn=0, kill_in=0, data=0, power=0)

    def seen(self, name):
        raw = self.control.read_bytes()
        return struct.unpack_from("=I", raw, 4 * FIELDS.index(name))[0]

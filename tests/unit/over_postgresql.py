#!/usr/bin/env python3
"""Runs a test of the store over a PostgreSQL of its own, which is private, on the loopback address, and
ends with it.

Usage: over_postgresql.py PROGRAM [ARGUMENT...]. The program finds in its environment PROVOST_STORE_URL,
and PROVOST_STORE_CONTROL, a descriptor: a line "stop" (as an administrator does), "kill" (all of its
processes at once) or "start" does that to the server; the answer is a line. 77 where there is no
PostgreSQL.
"""

import os
import pathlib
import socket
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "real"))

from servers import Postgresql  # noqa: E402  (needs the path set above)

SKIP = 77


def obey(server, control):
    """Until the program has ended: its end of the socket is closed then."""
    with control.makefile("rw", encoding="ascii") as lines:
        for line in lines:
            getattr(server, {"stop": "stop", "kill": "kill", "start": "start"}[line.strip()])()
            lines.write("done\n")
            lines.flush()


def main():
    try:
        server = Postgresql()
    except unittest.SkipTest as why:
        print(f"skipped: {why}")
        return SKIP
    with server:
        ours, theirs = socket.socketpair()
        env = dict(os.environ, PROVOST_STORE_URL=server.url,
                   PROVOST_STORE_CONTROL=str(theirs.fileno()))
        with subprocess.Popen(sys.argv[1:], env=env, pass_fds=[theirs.fileno()]) as program:
            theirs.close()
            obey(server, ours)
            return program.wait()


sys.exit(main())

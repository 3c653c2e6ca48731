"""The administrator: runs the real `provost` program on the server's socket."""

import json
import os
import pty
import subprocess
import unittest


class Failed(Exception):
    """The program left with another exit code than 0."""

    def __init__(self, run):
        self.code, self.out, self.err = run.returncode, run.stdout, run.stderr
        super().__init__(f"exit {self.code}: {self.err.strip() or self.out.strip()}")


class Admin:
    def __init__(self, program, socket, env=None):
        self.program, self.socket, self.env = str(program), str(socket), env

    def run(self, *args, stdin="", json_out=False):
        """The finished process, whatever its exit code."""
        argv = [self.program, "-s", self.socket] + (["--json"] if json_out else []) + list(args)
        return subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=60,
                              env=self.env, check=False)

    def on_a_terminal(self, text, *args):
        """The same with a terminal as standard input, on which text was typed."""
        try:
            mine, its = pty.openpty()
        except OSError as why:  # such as a chroot without /dev/pts
            raise unittest.SkipTest(f"no terminal: {why}") from why
        try:
            os.write(mine, text.encode())
            return subprocess.run([self.program, "-s", self.socket, *args], stdin=its,
                                  capture_output=True, text=True, timeout=60, env=self.env,
                                  check=False)
        finally:
            os.close(mine)
            os.close(its)

    def __call__(self, *args, stdin=""):
        """What it says as JSON; None when it says nothing. Raises Failed."""
        run = self.run(*args, stdin=stdin, json_out=True)
        if run.returncode:
            raise Failed(run)
        return json.loads(run.stdout) if run.stdout.strip() else None

    def policy(self, *settings, name="default"):
        return self("policy", "set", name, *settings)

    def devices(self):
        return self("device", "list")

    def device(self, user, device_id):
        """The listed device, or None."""
        for row in self.devices():
            if (row["user"], row["device_id"]) == (user, device_id):
                return row
        return None

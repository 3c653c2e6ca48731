"""Runs `provost connect` as a person would, with a state directory of its own."""

import json
import os
import pathlib
import re
import subprocess
import tempfile

from .server import BUILD, environment


class Run:
    """A finished run."""

    def __init__(self, process, out, err):
        self.code, self.out, self.err = process.returncode, out, err

    @property
    def said(self):
        return self.out + self.err

    @property
    def json(self):
        return json.loads(self.out)

    def __repr__(self):
        return f"exit {self.code}\n--- standard output\n{self.out}\n--- error\n{self.err}"


class Client:
    def __init__(self, user="ann", password="secret", device_id="CLIENT1"):
        self._dir = tempfile.TemporaryDirectory(prefix="provost-client-")
        self.dir = pathlib.Path(self._dir.name)
        self.user, self.device_id = user, device_id
        self.password_file = self.dir / "password"
        self.password_file.write_text(password + "\n", encoding="utf-8")
        self.password_file.chmod(0o600)

    def argv(self, url, *args):
        return [str(BUILD / "provost"), "connect", url, "-u", self.user, "--password-file",
                str(self.password_file), "--device-id", self.device_id, *args]

    @property
    def env(self):
        return dict(environment(), XDG_STATE_HOME=str(self.dir), HOME=str(self.dir))

    def start(self, url, *args, **how):
        return subprocess.Popen(self.argv(url, *args), env=self.env, text=True,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, errors="backslashreplace", **how)

    def connect(self, url, *args, timeout=150):
        process = self.start(url, *args)
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            raise AssertionError(f"hangs: {Run(process, out, err)}") from None
        return Run(process, out, err)

    def profile(self, text):
        path = self.dir / "profile"
        path.write_text(text, encoding="utf-8")
        return ["--profile", str(path)]

    def hook(self, code):
        """A wipe hook that notes its arguments and leaves with that code."""
        path = self.dir / "hook"
        path.write_text(f'#!/bin/sh\necho "$@" >> "{self.dir}/hooked"\nexit {code}\n',
                        encoding="utf-8")
        path.chmod(0o700)
        return ["--wipe-hook", str(path)]

    @property
    def hooked(self):
        path = self.dir / "hooked"
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []

    def stored(self):
        """Text of every file in the key store."""
        return "".join(p.read_text(encoding="utf-8") for p in sorted(self.dir.glob("provost/**/*"))
                       if p.is_file())

    def key(self):
        """The final key that is kept, 0 for none."""
        found = re.search(r"\"?\bkey\"?\s*[:=]\s*\"?(\d+)", self.stored())
        return int(found.group(1)) if found else 0

    def files(self):
        return [p for p in self.dir.glob("provost/**/*") if p.is_file()]

    def close(self):
        self._dir.cleanup()


def terminate(process):
    if process.poll() is None:
        process.kill()
    process.communicate()


def mode(path):
    return os.stat(path).st_mode & 0o777

"""Login servers that obey: an IMAP server, and a helper process in place of provost-auth."""

import base64
import os
import pathlib
import socket
import socketserver
import stat
import subprocess
import threading
import time

from .server import BUILD, environment

HELPER = r'''#!/usr/bin/env python3
import os, socket, sys, time
sock = socket.socket(fileno=0)
def read():
    packet = sock.recv(1 << 20)
    return packet[:1], [t.decode() for t in packet[1:].split(b"\0")[:-1]]
def say(kind, *texts):
    sock.send(kind + b"".join(t.encode() + b"\0" for t in texts))
def note(text):
    with open(os.environ["HELPER_LOG"], "a") as f:
        f.write(text + "\n")
kind, settings = read()
note(f"start {os.getpid()} descriptors " + " ".join(sorted(os.listdir("/proc/self/fd"), key=int)[:-1])
     + f" group {os.getpgrp() == os.getpid()}")
note("settings " + repr(settings))
mode = open(os.environ["HELPER_MODE"]).read().strip()
if mode == "crash at start":
    sys.exit(1)
if mode == "not ready":
    say(b"Y", "the file is missing")
    sys.exit(1)
if mode == "silent":
    time.sleep(3600)
say(b"Y", "")
while True:
    kind, texts = read()
    if not kind:
        note(f"end {os.getpid()}")
        break
    user, password, peer = texts
    note(f"ask {user} {peer}")
    if password == "crash":
        os._exit(1)
    elif password == "hang":
        time.sleep(3600)
    elif password == "garbage":
        sock.send(b"\xff\xfe")
    elif password == "short":
        say(b"R", "ok")
    elif password == "nobody":
        say(b"R", "ok", "", "")
    elif password == "long":
        sock.send(b"R" + b"ok\0" + b"x" * 20000 + b"\0\0")
    elif password == "twice":
        say(b"R", "bad", "", "no")
        say(b"R", "ok", "root", "")
    elif password == "down":
        say(b"R", "failed", "", "the directory is down")
    elif password == "secret":
        say(b"R", "ok", {"al": "ann"}.get(user, user), "")
    else:
        say(b"R", "bad", "", "wrong")
'''


class Helper:
    """provost-auth's place is taken by a script; its passwords say what it does."""

    def __init__(self, folder):
        self.program = pathlib.Path(folder) / "helper"
        self.mode_file, self.log_file = self.program.with_suffix(".mode"), self.program.with_suffix(".log")
        self.program.write_text(HELPER, encoding="utf-8")
        self.program.chmod(self.program.stat().st_mode | stat.S_IXUSR)
        self.mode("")
        self.env = {"HELPER_MODE": str(self.mode_file), "HELPER_LOG": str(self.log_file)}

    def mode(self, text):
        self.mode_file.write_text(text, encoding="ascii")

    @property
    def lines(self):
        return self.log_file.read_text(encoding="utf-8").splitlines() if self.log_file.exists() else []

    def count(self, word):
        return sum(line.split()[0] == word for line in self.lines)

    @property
    def pids(self):
        """Those that run."""
        started = [int(line.split()[1]) for line in self.lines if line.startswith("start ")]
        return [pid for pid in started if os.path.exists(f"/proc/{pid}/fd")]


class Process:
    """provost-auth itself, asked without a server. close() gives its exit code: a sanitizer that has found
    something is not 0."""

    def __init__(self, **settings):
        mine, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket = mine
        self._process = subprocess.Popen([BUILD / "provost-auth"], stdin=its, env=environment(),
                                         stderr=subprocess.PIPE, text=True)
        its.close()
        mine.settimeout(30)
        texts = [text for pair in settings.items() for text in pair]
        self.ready = self._say(b"S", *texts)

    def _say(self, kind, *texts):
        self._socket.send(kind + b"".join(text.encode() + b"\0" for text in texts))
        return [text.decode() for text in self._socket.recv(65536)[1:].split(b"\0")[:-1]]

    def ask(self, user, password, peer="192.0.2.1"):
        """[verdict, user, why]"""
        return self._say(b"A", user, password, peer)

    def close(self):
        """(exit code, what it has said on standard error)"""
        self._socket.close()
        _, said = self._process.communicate(timeout=30)
        return self._process.returncode, said


class Recorder:
    """Keeps what is said to it, and says nothing: with Recorder(address) as r: ... r.port, r.bytes"""

    def __init__(self, address):
        self.bytes = b""
        self._listener = socket.create_server((address, 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        try:
            while True:
                peer, _ = self._listener.accept()
                with peer:
                    while piece := peer.recv(4096):
                        self.bytes += piece
        except OSError:
            pass

    def __enter__(self):
        return self

    def __exit__(self, *what):
        self._listener.close()


class Imap:
    """An IMAP server of one password for everybody. manner: how it goes wrong.

    "": it does not. unavailable, limit, bad: that is the answer to a login. preauth, bye: the greeting.
    silent: no greeting. mute: no answer to a login. cut: the connection ends instead. garbage; endless: a
    line that does not end. login: only the LOGIN command; none: no way to log in."""

    def __init__(self, password="secret", address="127.0.0.1"):
        self.password, self.manner, self.logins, self.lines = password, "", [], []
        outer = self

        class Session(socketserver.StreamRequestHandler):
            def handle(self):
                try:
                    outer.serve(self)
                except OSError:
                    pass

        self._server = socketserver.ThreadingTCPServer((address, 0), Session)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.port = self._server.server_address[1]
        self.url = f"imap://{address}:{self.port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def capability(self):
        return {"login": "IMAP4rev1", "none": "IMAP4rev1 LOGINDISABLED"}.get(
            self.manner, "IMAP4rev1 AUTH=PLAIN SASL-IR")

    def serve(self, session):
        def say(line):
            session.wfile.write(line.encode() + b"\r\n")

        if self.manner == "silent":
            session.rfile.read()
            return
        if self.manner == "garbage":
            session.wfile.write(b"\x00\xff HTTP/1.1 400\r\n\r\n")
            return
        if self.manner == "endless":
            for _ in range(1024):
                session.wfile.write(b"* OK " + b"x" * 65536)
            return
        say({"preauth": "* PREAUTH in", "bye": "* BYE no room"}.get(self.manner, "* OK ready"))
        while line := session.rfile.readline(65536):
            self.lines.append(line)
            tag, _, rest = line.decode("utf-8", "replace").strip().partition(" ")
            verb = rest.split(" ")[0].upper()
            if verb == "CAPABILITY":
                say(f"* CAPABILITY {self.capability()}")
                say(f"{tag} OK done")
            elif verb == "LOGOUT":
                say("* BYE bye")
                say(f"{tag} OK done")
                return
            elif verb in ("AUTHENTICATE", "LOGIN"):
                if not self.login(session, say, tag, verb, rest):
                    return
            else:
                say(f"{tag} OK done")

    def login(self, session, say, tag, verb, rest):
        """False: the connection is to end."""
        if verb == "LOGIN":
            name, password = rest.split(" ")[1:3]
            name, password = name.strip('"'), password.strip('"')
        else:
            _, name, password = base64.b64decode(rest.split(" ")[2]).decode().split("\0")
        self.logins.append(name)
        if self.manner == "mute":
            time.sleep(3600)
        if self.manner == "cut":
            return False
        word = "OK in" if password == self.password else "NO [AUTHENTICATIONFAILED] wrong"
        say(f"{tag} " + {"unavailable": "NO [UNAVAILABLE] down", "limit": "NO [LIMIT] too many",
                         "bad": "BAD what"}.get(self.manner, word))
        return True

    def close(self):
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

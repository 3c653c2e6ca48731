"""Phones for thousands of handshakes: each request to any of the nodes, over connections that are kept.

What harness/eas.py does with care is done here with bytes made beforehand. A phone knows the ways of real
ones: after 503 it comes again, after a connection that broke too, after 449, 142 and 144 it starts over.
"""

import base64
import random
import re
import socket
import struct
import time

from cluster import PASSWORD
from harness.eas import PATH, TYPE
from harness.wbxml import HEADER

KIND = b"H\x03MS-EAS-Provisioning-WBXML\0\x01"
ASK = HEADER + b"\0\x0eE\0\x12VHW\x03Phone\0\x01\x01\x01\0\x0eFG" + KIND + b"\x01\x01\x01"
ACK = HEADER + b"\0\x0eEFG" + KIND + b"I\x03%d\0\x01K\x031\0\x01\x01\x01\x01"
WIPED = HEADER + b"\0\x0eELK\x031\0\x01\x01\x01"
FOLDERS = HEADER + b"\0\x07VR\x030\0\x01\x01"
WHOSE = HEADER + b"\0\x12E\x5d\x07\x01\x01"
STATUS = {"FolderSync": re.compile(rb"^\x03\x01j\0\0\x07VL\x03(\d+)\0"),
          "Settings": re.compile(rb"^\x03\x01j\0\0\x12EF\x03(\d+)\0"),
          "Provision": re.compile(rb"\0\x0eE?K\x03(\d+)\0\x01(.*)$", re.S)}
KEY = re.compile(rb"I\x03(\d+)\0")
POLICY_STATUS = re.compile(rb"K\x03(\d+)\0")
LENGTH = re.compile(rb"\r\nContent-Length: *(\d+)", re.I)
RETRY = re.compile(rb"\r\nRetry-After: *(\d+)", re.I)
REFUSALS = (126, 129, 139, 140, 141, 142, 143, 144)
TIMEOUT = 60  # seconds; nothing takes so long, and nobody is told when it would


class Lost(Exception):
    """The connection broke: what was asked has been done, or it has not."""


class Away(Lost):
    """Nobody was there: it has not been done."""


class Line:
    """A connection to a node, made again when that is needed. Of one thread."""

    def __init__(self, node):
        self.node, self.sock = node, None

    def close(self):
        if self.sock:
            self.sock.close()
        self.sock = None

    def _alive(self):
        """Nothing is to be read from an idle connection, least of all its end."""
        try:
            self.sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
            return False
        except BlockingIOError:
            return True
        except OSError:
            return False

    def _open(self):
        if self.sock and self._alive():
            return
        self.close()
        try:
            self.sock = socket.create_connection((self.node.address, self.node.fixed), TIMEOUT)
        except OSError as why:
            raise Away(str(why)) from None
        self.sock.settimeout(None)  # the kernel counts: Python would wait before a peek, too
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", TIMEOUT, 0))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, request):
        """(HTTP code, head, body)"""
        self._open()
        try:
            self.sock.sendall(request)
            return self._answer()
        except BlockingIOError:
            self.close()
            raise AssertionError(f"no answer within {TIMEOUT} s from node {self.node.number}") from None
        except OSError as why:
            self.close()
            raise Lost(str(why)) from None

    def _answer(self):
        got = b""
        while (end := got.find(b"\r\n\r\n")) < 0:
            got += self._more()
        head, body = got[:end], got[end + 4:]
        found = LENGTH.search(head)
        length = int(found.group(1)) if found else 0
        while len(body) < length:
            body += self._more()
        if b"\r\nConnection: close" in head:
            self.close()
        return int(head[9:12]), head, body

    def _more(self):
        if not (data := self.sock.recv(65536)):
            raise OSError("closed")
        return data


class Lines(dict):
    """One to each node. Of one thread."""

    def __missing__(self, node):
        line = self[node] = Line(node)
        return line

    def close(self):
        for line in self.values():
            line.close()


class Answer:
    """what: "in" (the command passed the gate), "refused" (status tells), "busy" (503; retry: seconds), and of
    Provision "offer" or "key" (key), "again" (the key of the acknowledgement is unknown), "wipe" (the
    directive), "plain"."""

    def __init__(self, cmd, http, head, body):
        self.what, self.status, self.key, self.retry = "odd", None, 0, 0
        self.http, self.body = http, body
        if http == 503:
            found = RETRY.search(head)
            self.what, self.retry = "busy", int(found.group(1)) if found else None
        elif http == 200 and (found := STATUS[cmd].search(body)):
            self.status = int(found.group(1))
            if self.status in REFUSALS:
                self.what = "refused"
            elif cmd == "Provision":
                self._provision(found.group(2))
            else:
                self.what = "in"

    def _provision(self, rest):
        if rest[:1] in b"\x0c\x3b" and rest != b"\x01":
            self.what = "wipe"
        elif found := KEY.search(rest):
            self.what, self.key = "key", int(found.group(1))
        elif rest == b"\x01":
            self.what = "plain"
        elif (found := POLICY_STATUS.search(rest)) and found.group(1) == b"5":
            self.what = "again"

    def __repr__(self):
        return f"<{self.http} {self.what} {self.status or ''} {self.key or ''} {self.body[:60]!r}>"


class Phone:
    """key: what it holds, 0 for nothing. seen(phone, cmd, key, began, ended, node, answer) is called
    after each request, with None for an answer that was lost."""

    def __init__(self, user, device_id, seen=None):
        self.user, self.device_id, self.key, self.seen = user, device_id, 0, seen
        login = base64.b64encode(f"{user}:{PASSWORD}".encode()).decode()
        self._head = (f"POST {PATH}?Cmd=%s&User={user}&DeviceId={device_id}&DeviceType=Phone HTTP/1.1\r\n"
                      f"Host: localhost\r\nAuthorization: Basic {login}\r\nMS-ASProtocolVersion: 14.1\r\n"
                      f"Content-Type: {TYPE}\r\nX-MS-PolicyKey: %d\r\nContent-Length: %d\r\n\r\n")

    def ask(self, line, cmd, body, key):
        """One request to one node. Raises Lost."""
        request = (self._head % (cmd, key, len(body))).encode() + body
        began = time.monotonic()
        try:
            answer = Answer(cmd, *line.ask(request))
        except Lost as why:
            if self.seen and not isinstance(why, Away):
                self.seen(self, cmd, key, began, time.monotonic(), line.node, None)
            raise
        if self.seen:
            self.seen(self, cmd, key, began, time.monotonic(), line.node, answer)
        return answer

    def folders(self, line, key):
        return self.ask(line, "FolderSync", FOLDERS, key)

    def knock(self, line, key):
        """A command for which nothing must be read but what the gate knows."""
        return self.ask(line, "Settings", WHOSE, key)

    def offer(self, line):
        return self.ask(line, "Provision", ASK, 0)

    def confirm(self, line, temporary):
        return self.ask(line, "Provision", ACK % temporary, temporary)

    def wiped(self, line):
        return self.ask(line, "Provision", WIPED, 0)


class Stuck(AssertionError):
    """A phone did not get through, however often it came."""


class Owner:
    """Somebody with phones, who carries them from node to node. Of one thread.

    pause: the longest time to wait after 503, whatever the server says; patience: seconds within which
    a phone must get through, unless it is shut out."""

    def __init__(self, nodes, chance=None, pause=0.3, patience=60):
        self.nodes, self.pause, self.patience = list(nodes), pause, patience
        self.chance = chance or random.Random()
        self.lines = Lines()

    def anywhere(self):
        return self.lines[self.chance.choice(self.nodes)]

    def persist(self, ask, *args):
        """The answer of any node, other than 503."""
        end = time.monotonic() + self.patience
        while True:
            try:
                answer = ask(self.anywhere(), *args)
                if answer.what != "busy":
                    return answer
                if answer.retry is None:
                    raise AssertionError("503 without Retry-After")
                time.sleep(self.chance.uniform(0, min(answer.retry, self.pause)))
            except Away:
                time.sleep(0.01)
            except Lost:
                pass
            if time.monotonic() > end:
                raise Stuck(f"nobody serves {ask.__self__.device_id} within {self.patience} s")

    def handshake(self, phone, anew=False):
        """Its four phases, each with any node; anew: although it holds a key. @return what came of it:
        "in", or "blocked" or "wiped", when only an administrator can help."""
        end = time.monotonic() + self.patience
        while time.monotonic() < end:
            answer = self.persist(phone.folders, 0 if anew else phone.key)
            anew = False
            if answer.what == "in":
                return "in"
            if answer.status == 129:
                return "blocked"
            if answer.status == 140:
                return self.obey(phone)
            if answer.status not in (142, 143, 144):
                raise AssertionError(f"{phone.device_id}: {answer}")
            if told := self.provision(phone):
                return told
        raise Stuck(f"{phone.device_id} turns in circles")

    def provision(self, phone):
        """Both phases of it. @return None: go on; or as handshake"""
        offer = self.persist(phone.offer)
        answer = self.persist(phone.confirm, offer.key) if offer.what == "key" else offer
        if answer.what == "key":
            phone.key = answer.key
        elif answer.what == "wipe":
            return self.obey(phone)
        elif answer.status == 129:
            return "blocked"
        elif answer.what != "again":
            raise AssertionError(f"{phone.device_id}: {answer}")
        return None

    def obey(self, phone):
        """The phone wipes itself, and says so until it is heard."""
        answer = self.persist(phone.wiped)
        while answer.what == "wipe":
            answer = self.persist(phone.wiped)
        phone.key = 0
        return "wiped"

    def close(self):
        self.lines.close()

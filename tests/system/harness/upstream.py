"""The server behind a gateway: answers as the script says, and records every byte that it was sent."""

import socket
import ssl
import threading
import time
from urllib.parse import parse_qsl, urlsplit

from . import wbxml
from .eas import PATH, TYPE, VERSIONS
from .evil import folders, options, reply
from .server import Server, wait_for

COMMANDS = ("Sync,SendMail,SmartForward,SmartReply,GetAttachment,FolderSync,FolderCreate,"
            "FolderDelete,FolderUpdate,MoveItems,GetItemEstimate,MeetingResponse,Search,Settings,"
            "Ping,ItemOperations,Provision,ResolveRecipients")


class Request:
    """One request as it came."""

    def __init__(self, head, connection):
        self.head, self.connection = head, connection
        rows = head.decode("latin-1").split("\r\n")
        self.line = rows[0]
        self.method, self.target, self.protocol = rows[0].split(" ")
        self.fields = [tuple(row.split(": ", 1)) if ": " in row else (row.rstrip(":"), "")
                       for row in rows[1:] if row]
        self.params = parse_qsl(urlsplit(self.target).query, keep_blank_values=True)
        self.query = dict(self.params)
        self.cmd = self.query.get("Cmd") if self.method == "POST" else self.method
        self.body = b""
        self.body_len = 0  # of a long one, which is not kept

    def all(self, name):
        return [value for known, value in self.fields if known.lower() == name.lower()]

    def field(self, name):
        return (self.all(name) or [None])[0]

    @property
    def tree(self):
        return wbxml.decode(self.body) if self.body else None

    def __repr__(self):
        return f"<{self.line} {self.fields} {self.body_len}>"


class Talk:
    """One connection. What a script does with it, beyond answering with bytes."""

    def __init__(self, upstream, sock, number):
        self.upstream, self.sock, self.number = upstream, sock, number
        self.raw = b""  # all that came, up to 1 MiB
        self.rest = b""
        self.gone = False  # the gateway has closed it

    def more(self):
        data = self.sock.recv(65536)
        if len(self.raw) < 1 << 20:
            self.raw += data
        self.rest += data
        return bool(data)

    def request(self):
        """The next request with its body; None at the end."""
        while b"\r\n\r\n" not in self.rest:
            if not self.more():
                return None
        head, self.rest = self.rest.split(b"\r\n\r\n", 1)
        return Request(head, self)

    def read_body(self, request):
        if request.field("Transfer-Encoding"):
            assert request.all("Transfer-Encoding") == ["chunked"] and not request.field(
                "Content-Length"), request
            return self._chunks(request)
        left = int(request.field("Content-Length") or 0)
        while left:
            if not self.rest and not self.more():
                return False
            self._take(request, min(left, len(self.rest)))
            left = int(request.field("Content-Length")) - request.body_len
        return True

    def _take(self, request, size):
        piece, self.rest = self.rest[:size], self.rest[size:]
        request.body_len += len(piece)
        if request.body_len <= 1 << 20:
            request.body += piece

    def _line(self):
        while b"\r\n" not in self.rest:
            if not self.more():
                return None
        line, self.rest = self.rest.split(b"\r\n", 1)
        return line

    def _chunks(self, request):
        while (line := self._line()) is not None:
            left = int(line, 16)
            if not left:
                return self._line() is not None
            while left:
                if not self.rest and not self.more():
                    return False
                size = min(left, len(self.rest))
                self._take(request, size)
                left -= size
            self._line()
        return False

    def wait_gone(self, seconds=30):
        """Until the gateway closes the connection."""
        self.sock.settimeout(seconds)
        try:
            while self.sock.recv(65536):
                pass
        except ConnectionResetError:
            pass
        self.gone = True


def plain(request):
    """What a server says that is content with everything."""
    if request.method != "POST":
        return options(",".join(VERSIONS), COMMANDS)
    if request.cmd == "FolderSync":
        return reply(tree=folders())
    return reply(tree=(request.cmd, [("Status", "1")]))


class Upstream:
    """with Upstream(script) as u: ...    script(request) gives the bytes to send.

    None closes the connection without a word, a generator is sent piece by piece; what it yields may be
    a callable, which is called with the connection. closing: every answer is the last of its
    connection, which nothing says. bodies: False leaves bodies to the script. Requests without a
    command (health) are not recorded in asked. certificate: with one, and its key, it speaks TLS;
    client_ca: who vouches for the gateway's.
    """

    def __init__(self, script=plain, closing=False, bodies=True, port=0, certificate=None,
                 client_ca=None):
        self.script, self.closing, self.bodies = script, closing, bodies
        self._tls = None
        if certificate:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(*certificate)
        if client_ca:
            self.ask_for_certificates(client_ca)
        self.asked, self.probes, self.talks = [], [], []
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", port), backlog=512)
        self.port = self._listener.getsockname()[1]
        self._stopped = False
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def ask_for_certificates(self, ca):
        self._tls.verify_mode = ssl.CERT_REQUIRED
        self._tls.load_verify_locations(ca)

    @property
    def url(self):
        return f"http{'s' if self._tls else ''}://127.0.0.1:{self.port}"

    def count(self, cmd):
        with self._lock:
            return sum(r.cmd == cmd for r in self.asked)

    def last(self, cmd=None):
        with self._lock:
            return [r for r in self.asked if cmd in (None, r.cmd)][-1]

    def clear(self):
        with self._lock:
            self.asked.clear()

    def _accept(self):
        while not self._stopped:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            talk = Talk(self, sock, len(self.talks))
            self.talks.append(talk)
            threading.Thread(target=self._serve, args=(talk,), daemon=True).start()

    def _serve(self, talk):
        try:
            if self._tls:
                talk.sock = self._tls.wrap_socket(talk.sock, server_side=True)
            while (request := talk.request()) is not None:
                if self.bodies and not talk.read_body(request):
                    break
                probe = request.method == "OPTIONS" and not request.field("Authorization")
                with self._lock:
                    (self.probes if probe else self.asked).append(request)
                if not self._answer(talk, self.script(request)):
                    break
        except OSError:
            pass
        finally:
            talk.sock.close()

    def _answer(self, talk, out):
        if out is None:
            return False
        for piece in [out] if isinstance(out, bytes) else out:
            if callable(piece):
                piece(talk)
            else:
                talk.sock.sendall(piece)
        return not self.closing and not talk.gone

    def __enter__(self):
        self._thread.start()
        return self

    def stop(self):
        """Nobody is there any more: connections end, new ones are refused."""
        self._stopped = True
        try:
            self._listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._listener.close()
        for talk in self.talks:
            try:
                talk.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def __exit__(self, *_):
        self.stop()


def gateway(upstream, more="", config="", **server):
    """A provostd before it. more: further keys of upstream; upstream: one, or its URL."""
    url = upstream if isinstance(upstream, str) else upstream.url
    return Server(config=f'upstream = {{ url = "{url}"; {more} }};\n{config}', **server)


def until_asked(upstream, cmd, count=1):
    wait_for(f"{count} of {cmd} upstream", lambda: upstream.count(cmd) >= count)
    return upstream.last(cmd)


def stall(seconds=30):
    """In a script: neither reads nor says anything for a while."""
    return lambda talk: time.sleep(seconds)

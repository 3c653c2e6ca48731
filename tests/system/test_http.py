"""Malformed HTTP over raw sockets, slow senders, and what every answer must carry."""

import base64
import contextlib
import gzip
import resource
import socket
import time
import unittest

from harness import eas, wbxml
from harness.case import ServerCase
from harness.eas import PATH, basic
from harness.server import wait_for

BODY = wbxml.encode(("FolderSync", [("SyncKey", "0")]))
QUERY = "?Cmd=FolderSync&User=ann&DeviceId=RAW1&DeviceType=TestPhone"
LOGIN = "Authorization: " + basic("ann", "secret")
COMMON = ["Host: localhost", LOGIN, "MS-ASProtocolVersion: 14.1", "X-MS-PolicyKey: 0"]
SECOND = f"OPTIONS {PATH} HTTP/1.1\r\nHost: localhost\r\n{LOGIN}\r\n\r\n".encode()
CHUNKED = b"%x\r\n" % len(BODY) + BODY + b"\r\n0\r\n\r\n"


def request(*fields, line=f"POST {PATH}{QUERY} HTTP/1.1", common=COMMON, body=BODY,
            length=len(BODY), end="\r\n"):
    """Bytes of a request: the good one with the given fields added or parts replaced."""
    rows = [line] + list(common) + list(fields)
    if length is not None:
        rows.append(f"Content-Length: {length}")
    return (end.join(rows) + end + end).encode("latin-1") + body


def chunked(body, *fields, **more):
    return request("Transfer-Encoding: chunked", *fields, body=body, length=None, **more)


# Each is refused with one of the statuses and the connection is closed behind it.
REFUSED = [
    # framing that two parsers could read differently
    ("length and chunks", request("Transfer-Encoding: chunked", body=CHUNKED), (400,)),
    ("chunks and length 0", request("Transfer-Encoding: chunked", length=0, body=CHUNKED), (400,)),
    ("two different lengths", request("Content-Length: 5"), (400,)),
    ("the same length twice", request(f"Content-Length: {len(BODY)}"), (400,)),
    ("two lengths in one field", request(length=f"{len(BODY)}, {len(BODY)}"), (400,)),
    ("length with a sign", request(length=f"+{len(BODY)}"), (400,)),
    ("negative length", request(length=-1), (400,)),
    ("length in hexadecimal", request(length="0xd"), (400,)),
    ("length with a blank inside", request(length="1 3"), (400,)),
    ("length of letters", request(length="abc"), (400,)),
    ("empty length", request(length=""), (400,)),
    ("length beyond 64 bits", request(length="9" * 30), (400, 413)),
    ("coding gzip", request("Transfer-Encoding: gzip", length=None), (400, 501)),
    ("coding identity", request("Transfer-Encoding: identity", length=None), (400, 501)),
    ("coding gzip, chunked", request("Transfer-Encoding: gzip, chunked", length=None,
                                     body=CHUNKED), (400, 501)),
    ("coding chunked, identity", request("Transfer-Encoding: chunked, identity", length=None,
                                         body=CHUNKED), (400, 501)),
    ("coding chunked twice", chunked(CHUNKED, "Transfer-Encoding: chunked"), (400, 501)),
    ("coding xchunked", request("Transfer-Encoding: xchunked", length=None, body=CHUNKED),
     (400, 501)),
    ("coding chunked with a tab before", request("Transfer-Encoding:\x0bchunked", length=None,
                                                 body=CHUNKED), (400, 501)),
    ("coding in quotes", request('Transfer-Encoding: "chunked"', length=None, body=CHUNKED),
     (400, 501)),
    ("chunks in HTTP/1.0", chunked(CHUNKED, line=f"POST {PATH}{QUERY} HTTP/1.0"), (400, 501)),
    # chunks
    ("chunk size of letters", chunked(b"xyz\r\n" + BODY + b"\r\n0\r\n\r\n"), (400,)),
    ("chunk size with 0x", chunked(b"0xd\r\n" + BODY + b"\r\n0\r\n\r\n"), (400,)),
    ("negative chunk size", chunked(b"-1\r\n" + BODY + b"\r\n0\r\n\r\n"), (400,)),
    ("chunk size beyond 64 bits", chunked(b"f" * 17 + b"\r\n" + BODY + b"\r\n0\r\n\r\n"),
     (400, 413)),
    ("empty chunk size", chunked(b"\r\n" + BODY + b"\r\n0\r\n\r\n"), (400,)),
    ("chunk without line end", chunked(b"d\r\n" + BODY + b"0\r\n\r\n"), (400,)),
    # fields
    ("blank before the colon", request("X-Test : a"), (400,)),
    ("tab before the colon", request("X-Test\t: a"), (400,)),
    ("blank before the colon of the length", request(f"Content-Length : {len(BODY)}",
                                                     length=None), (400,)),
    ("folded line", request("X-Test: a\r\n b"), (400,)),
    ("folded line with a tab", request("X-Test: a\r\n\tb"), (400,)),
    ("folded line first of all", request(common=[" folded: yes"] + COMMON), (400,)),
    ("no colon", request("X-Test"), (400,)),
    ("empty name", request(": a"), (400,)),
    ("NUL in a value", request("X-Test: a\0b"), (400,)),
    ("NUL in a name", request("X-\0Test: a"), (400,)),
    ("control character in a value", request("X-Test: a\x01b"), (400,)),
    ("DEL in a value", request("X-Test: a\x7fb"), (400,)),
    ("escape in a value", request("X-Test: \x1b[31m"), (400,)),
    ("bracket in a name", request("X[Test]: a"), (400,)),
    ("eighth bit in a name", request("X-T\xe4st: a"), (400,)),
    ("bare CR in a value", request("X-Test: a\rX-Other: b"), (400,)),
    ("bare LF ends a field", request("X-Test: a\nX-Other: b"), (400,)),
    ("bare LF ends every line", request(end="\n"), (400,)),
    # Host
    ("two Hosts", request("Host: other"), (400,)),
    ("two logins", request("Authorization: Basic YW5uOngK"), (400,)),
    ("no Host", request(common=COMMON[1:]), (400,)),
    ("Host with a blank", request(common=["Host: a b"] + COMMON[1:]), (400,)),
    ("Host of two", request(common=["Host: a, b"] + COMMON[1:]), (400,)),
    # the request line
    ("two blanks", request(line=f"POST  {PATH}{QUERY} HTTP/1.1"), (400,)),
    ("tab for a blank", request(line=f"POST\t{PATH}{QUERY}\tHTTP/1.1"), (400,)),
    ("blank in the target", request(line=f"POST {PATH} {QUERY} HTTP/1.1"), (400,)),
    ("NUL in the target", request(line=f"POST {PATH}\0{QUERY} HTTP/1.1"), (400,)),
    ("control character in the target", request(line=f"POST {PATH}\x01{QUERY} HTTP/1.1"), (400,)),
    ("blank before the method", request(line=f" POST {PATH}{QUERY} HTTP/1.1"), (400,)),
    ("no version", request(line=f"POST {PATH}{QUERY}"), (400, 505)),
    ("HTTP/2.0", request(line=f"POST {PATH}{QUERY} HTTP/2.0"), (400, 505)),
    ("HTTP/1.10", request(line=f"POST {PATH}{QUERY} HTTP/1.10"), (400, 505)),
    ("http/1.1", request(line=f"POST {PATH}{QUERY} http/1.1"), (400, 505)),
    ("method with a bracket", request(line=f"PO(ST {PATH}{QUERY} HTTP/1.1"), (400, 405, 501)),
    ("only noise", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20 + b"\r\n\r\n", (400,)),
    # size
    ("a field of 100 KiB", request("X-Test: " + "a" * 102400), (400, 413, 431)),
    ("a target of 100 KiB", request(line=f"POST {PATH}{QUERY}&x={'a' * 102400} HTTP/1.1"),
     (400, 413, 414, 431)),
    ("a method of 100 KiB", request(line=f"{'A' * 102400} {PATH}{QUERY} HTTP/1.1"),
     (400, 405, 413, 414, 431, 501)),
    ("five thousand fields", request(*[f"X-{i}: a" for i in range(5000)]), (400, 413, 431)),
    ("a hundred times the same field", request(*["X-Test: a"] * 2000), (400, 413, 431)),
    ("body over the limit", request(length=64 * 1024 * 1024, body=b""), (413,)),
    ("chunks over the limit", chunked(b"4000000\r\n" + b"a" * (2 << 20)), (413, 400)),
]

# Odd, but HTTP as it stands in the book: answered, and the connection goes on.
TAKEN = [
    ("as it should be", request()),
    ("in chunks", chunked(CHUNKED)),
    ("in chunks with an extension", chunked(b"%x;a=b\r\n" % len(BODY) + BODY + b"\r\n0\r\n\r\n")),
    ("coding in capitals", request("Transfer-Encoding: CHUNKED", body=CHUNKED, length=None)),
    ("field names in small letters", request(common=[f.split(":")[0].lower() + ":" +
                                                     f.split(":", 1)[1] for f in COMMON])),
    ("no blank after the colon", request("X-Test:a")),
    ("blanks around a value", request("X-Test: \t a \t ")),
    ("an empty value", request("X-Test:")),
    ("eighth bit in a value", request("X-Test: \xe4\xf6")),
    ("an empty line first", b"\r\n" + request()),
    ("a token of 12 KiB", request("X-Token: " + "a" * 12288)),
    ("target with a host", request(line=f"POST http://localhost{PATH}{QUERY} HTTP/1.1")),
]


class Raw(ServerCase):
    def connect(self):
        made = socket.create_connection(("127.0.0.1", self.server.port), timeout=30)
        self.addCleanup(made.close)
        return made

    def talk(self, data):
        """Send, and read until the server closes. Returns what came and whether it closed."""
        sock = self.connect()
        try:
            sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass  # refused before the end was sent
        return self.read_to_end(sock)

    @staticmethod
    def read_to_end(sock, limit=30):
        sock.settimeout(limit)
        got = b""
        try:
            while piece := sock.recv(65536):
                got += piece
        except ConnectionResetError:
            return got, True
        except TimeoutError:
            return got, False
        return got, True

    def read_answer(self, sock):
        """One answer with its body: (status, head, body)."""
        sock.settimeout(30)
        got = b""
        while b"\r\n\r\n" not in got:
            piece = sock.recv(65536)
            if not piece:
                raise AssertionError(f"closed after {got!r}")
            got += piece
        head, body = got.split(b"\r\n\r\n", 1)
        fields = dict(line.lower().split(": ", 1) for line in head.decode().split("\r\n")[1:])
        while len(body) < int(fields["content-length"]):
            body += sock.recv(65536)
        return int(head.split()[1]), fields, body


class Malformed(Raw):
    def test_refused_and_nothing_smuggled(self):
        for name, data, statuses in REFUSED:
            with self.subTest(row=name):
                got, closed = self.talk(data + SECOND)
                self.assertTrue(closed, f"still open after {got!r}")
                self.assertEqual(got.count(b"HTTP/1."), 1, f"not one answer: {got[:500]!r}")
                self.assertIn(int(got.split()[1]), statuses, got[:500])
                self.assertNotIn(b"MS-ASProtocolVersions", got)

    def test_cut_at_every_byte_answers_nothing(self):
        whole = request()
        for cut in range(1, len(whole), 7):
            sock = self.connect()
            sock.sendall(whole[:cut])
            sock.shutdown(socket.SHUT_WR)
            got, closed = self.read_to_end(sock)
            with self.subTest(cut=cut):
                self.assertTrue(closed)
                self.assertNotIn(b"HTTP/1.1 200", got)

    def test_the_server_is_well_afterwards(self):
        self.assertRefused(self.device().foldersync(), "FolderSync", 142, "14.1")


class Legal(Raw):
    def test_odd_but_legal_requests_are_answered(self):
        for name, data in TAKEN:
            with self.subTest(row=name):
                sock = self.connect()
                sock.sendall(data)
                status, fields, body = self.read_answer(sock)
                self.assertEqual(status, 200, body)
                self.assertEqual(wbxml.decode(body), ("FolderSync", [("Status", "142")]))
                sock.sendall(SECOND)
                self.assertEqual(self.read_answer(sock)[0], 200, "the connection goes on")

    def test_byte_by_byte(self):
        sock = self.connect()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in request():
            sock.sendall(bytes((byte,)))
        self.assertEqual(self.read_answer(sock)[0], 200)

    def test_pipelined_requests_are_answered_in_order(self):
        sock = self.connect()
        sock.sendall(request() + SECOND + request("Connection: close"))
        got, closed = self.read_to_end(sock)
        self.assertTrue(closed)
        self.assertEqual(got.count(b"HTTP/1.1 200"), 3)
        self.assertLess(got.index(b"\x03142"), got.index(b"MS-ASProtocolVersions"))

    def test_http_1_0_is_answered_and_closed(self):
        got, closed = self.talk(request(line=f"POST {PATH}{QUERY} HTTP/1.0"))
        self.assertTrue(closed)
        self.assertIn(b" 200 ", got.split(b"\r\n")[0])

    def test_expect_100_continue(self):
        sock = self.connect()
        sock.sendall(request("Expect: 100-continue", body=b""))
        sock.settimeout(30)
        self.assertTrue(sock.recv(65536).startswith(b"HTTP/1.1 100 "))
        sock.sendall(BODY)
        self.assertEqual(self.read_answer(sock)[0], 200)

    def test_expect_with_bad_credentials_is_refused(self):
        sock = self.connect()
        common = [f for f in COMMON if f != LOGIN]
        sock.sendall(request("Expect: 100-continue", common=common, body=b""))
        sock.settimeout(30)
        got = sock.recv(65536)
        self.assertRegex(got, rb"^HTTP/1.1 (401|100) ")

    def test_every_answer_has_a_length(self):
        rows = [("POST", PATH + QUERY, "ann", 200), ("POST", PATH + QUERY, "nobody", 401),
                ("OPTIONS", PATH, "ann", 200), ("POST", "/", "ann", 404),
                ("GET", PATH, "ann", 405), ("POST", PATH + "?Cmd=None", "ann", 501)]
        for method, target, user, status in rows:
            with self.subTest(method=method, target=target, status=status):
                sock = self.connect()
                login = "Authorization: " + basic(user, "secret")
                common = [f for f in COMMON if f != LOGIN] + [login]
                length, body = (len(BODY), BODY) if method == "POST" else (None, b"")
                sock.sendall(request(line=f"{method} {target} HTTP/1.1", common=common,
                                     length=length, body=body))
                got = self.read_answer(sock)
                self.assertEqual(got[0], status, got)
                self.assertEqual(int(got[1]["content-length"]), len(got[2]))


class Slow(Raw):
    """Deadlines are short here; without them the senders would need minutes."""

    config = "head_timeout = 2; body_timeout = 2;"

    def drip(self, sock, data, limit=60):
        """A byte a second until the server has had enough. Returns what it said."""
        sock.settimeout(1)
        got, end = b"", time.monotonic() + limit
        for byte in data:
            try:
                sock.sendall(bytes((byte,)))
                piece = sock.recv(65536)
                if not piece:
                    return got
                got += piece
            except TimeoutError:
                pass
            except (ConnectionResetError, BrokenPipeError):
                return got
            if time.monotonic() > end:
                break
        raise AssertionError(f"still open after {limit} s: {got!r}")

    def test_head_of_a_byte_a_second(self):
        self.assertNotIn(b" 200 ", self.drip(self.connect(), request()))

    def test_fields_without_end(self):
        sock = self.connect()
        sock.sendall(b"POST / HTTP/1.1\r\nHost: a\r\n")
        self.drip(sock, b"X: a\r\n" * 100)

    def test_body_of_a_byte_a_second(self):
        sock = self.connect()
        sock.sendall(request(length=1000, body=b""))
        self.assertNotIn(b" 200 ", self.drip(sock, b"a" * 1000))

    def test_chunks_of_a_byte_a_second(self):
        sock = self.connect()
        sock.sendall(chunked(b""))
        self.assertNotIn(b" 200 ", self.drip(sock, b"1\r\na\r\n" * 100))

    def test_silence(self):
        got, closed = self.read_to_end(self.connect(), limit=60)
        self.assertTrue(closed)
        self.assertEqual(got.count(b" 200 "), 0)

    def test_others_are_served_meanwhile(self):
        sockets = [self.connect() for _ in range(50)]
        for sock in sockets:
            sock.sendall(b"POST /Micro")
        self.assertRefused(self.device().foldersync(), "FolderSync", 142, "14.1")


class Bodies(Raw):
    SIZE = 1000000

    def send(self, missing):
        """A large body, of which some bytes are missing."""
        sock = self.connect()
        sock.sendall(request(length=self.SIZE, body=b""))
        with contextlib.suppress(ConnectionError):
            sock.sendall(b"a" * (self.SIZE - missing))
        return sock

    def test_together_they_are_bounded(self):
        """Bodies come before the login."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 2048)), hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        senders = [self.send(missing=1) for _ in range(400)]
        wait_for("refusals", lambda: self.server.log.count("too many large bodies") > 100)
        self.assertRefused(self.device().foldersync(), "FolderSync", 142, "14.1")
        refused = 0
        for sock in senders:
            sock.settimeout(0.01)
            with contextlib.suppress(TimeoutError, ConnectionError):
                refused += sock.recv(100).startswith(b"HTTP/1.1 503 ")
            sock.close()
        self.assertTrue(100 < refused < 200, refused)
        wait_for("room", lambda: self.read_answer(self.send(missing=0))[0] == 200)


class Answers(ServerCase):
    def test_paths_and_methods(self):
        device = self.device()
        fields = device.headers(0)
        rows = [("POST", "/", 404), ("POST", "/index.html", 404), ("OPTIONS", "/other", 404),
                ("POST", PATH + "/x", 404), ("POST", PATH + "x", 404), ("GET", PATH, 405),
                ("PUT", PATH, 405), ("DELETE", PATH, 405), ("HEAD", PATH, 405),
                ("POST", PATH + "?Cmd=NotExist&User=a&DeviceId=a&DeviceType=a", 501),
                ("POST", PATH + "?Cmd=Sync&User=a&DeviceId=a&DeviceType=a", None),
                ("POST", PATH, 400), ("POST", PATH + "?", 400), ("POST", PATH + "?!!", 400)]
        for method, target, status in rows:
            with self.subTest(method=method, target=target):
                answer = device.http(method, target, fields, BODY if method == "POST" else b"")
                if status:
                    self.assertEqual(answer.http, status)
                if status == 405:
                    self.assertEqual(set(answer.headers["Allow"].replace(" ", "").split(",")),
                                     {"OPTIONS", "POST"})

    def test_the_path_is_read_without_regard_to_case(self):
        device = self.device()
        answer = device.http("POST", device.target("FolderSync").replace("Microsoft", "microsoft"),
                             device.headers(0), BODY)
        self.assertIn(answer.http, (200, 404))

    def test_commands_that_are_not_there(self):
        device = self.device("16.1")
        device.handshake()
        for name in sorted(set(eas.CODES) - {"FolderSync", "Settings", "Ping", "Provision"}):
            with self.subTest(cmd=name):
                self.assertEqual(device.command(name, BODY).http, 501)

    def test_versions_that_are_none(self):
        device = self.device()
        for version in ("", "1.0", "14", "14.10", "99.9", "2.5.1", "abc"):
            with self.subTest(version=version):
                fields = dict(device.headers(0), **{"MS-ASProtocolVersion": version})
                answer = device.http("POST", device.target("FolderSync"), fields, BODY)
                self.assertEqual(answer.http, 400)

    def test_logins_that_are_taken(self):
        for login in ("ann", "EXAMPLE\\ann", "example\\ann"):
            with self.subTest(login=login):
                device = self.device()
                device.login = login
                self.assertRefused(device.foldersync(), "FolderSync", 142, "14.1")

    def test_challenge(self):
        device = self.device()
        for value in (None, "", "Basic", "Basic !!!", "Bearer abc", "Basic " + "A" * 4000,
                      "Basic " + base64.b64encode(b"no colon").decode()):
            with self.subTest(authorization=value):
                fields = {"MS-ASProtocolVersion": "14.1"}
                if value is not None:
                    fields["Authorization"] = value
                for method in ("POST", "OPTIONS"):
                    answer = device.http(method, device.target("FolderSync"), fields,
                                         BODY if method == "POST" else b"")
                    self.assertEqual(answer.http, 401)
                    self.assertTrue(answer.headers["WWW-Authenticate"].startswith("Basic "))

    def test_keep_alive(self):
        device = self.device()
        device.foldersync()
        sock = device.connect().sock
        for _ in range(20):
            self.assertRefused(device.foldersync(), "FolderSync", 142, "14.1")
        self.assertIs(device.connect().sock, sock)

    def test_keep_alive_after_a_challenge_and_449(self):
        device = self.device("12.1")
        device.password = "wrong"
        self.assertEqual(device.foldersync().http, 401)
        sock = device.connect().sock
        device.password = "secret"
        self.assertEqual(device.foldersync().http, 449)
        self.assertIs(device.connect().sock, sock)

    def test_connection_close_is_kept(self):
        device = self.device()
        answer = device.command("FolderSync", BODY, fields={"Connection": "close"})
        self.assertEqual(answer.headers["Connection"].lower(), "close")

    def test_449_says_what_to_do(self):
        answer = self.device("12.1").foldersync()
        self.assertEqual((answer.http, answer.headers["Content-Length"]), (449, "0"))

    def test_no_body_type_without_a_body(self):
        answer = self.device("12.1").foldersync()
        self.assertIsNone(answer.headers["Content-Type"])

    def test_gzip_answers_are_what_the_plain_ones_are(self):
        device = self.device()
        fields = {"Accept-Encoding": "gzip"}
        packed = device.command("Provision", ("Provision", [("Policies", [("Policy", [
            ("PolicyType", "MS-EAS-Provisioning-WBXML")])])]), fields=fields)
        if packed.headers["Content-Encoding"] == "gzip":
            self.assertEqual(len(gzip.decompress(packed.raw)), len(packed.body))
        self.assertEqual(packed.policy_status, 1)

    def test_nothing_of_a_peer_reaches_the_log_raw(self):
        device = self.device(agent="evil\x1b[31magent")
        fields = dict(device.headers(0), **{"User-Agent": "evil\xe4agent verb=fake user=\"root\""})
        device.http("POST", PATH + "?Cmd=FolderSync&User=%0Aready%20listen=x&DeviceId=LOG1"
                    "&DeviceType=a%1b%5b31m", fields, BODY)
        self.assertNotIn("\x1b", self.server.log)
        self.assertNotIn("\nready listen=x", self.server.log)
        self.assertNotIn("secret", self.server.log)


class Domains(ServerCase):
    config = 'domain = "example.org";'

    def test_logins_with_a_domain(self):
        rows = [("ann", 200), ("ann@example.org", 200), ("ann@EXAMPLE.org", 200),
                ("EXAMPLE\\ann", 200), ("any\\ann", 200), ("ann@example.com", 401),
                ("ann@sub.example.org", 401), ("ann@example.org@example.org", 401)]
        for login, status in rows:
            with self.subTest(login=login):
                device = self.device(device_id="DOMAIN1")
                device.login = login
                self.assertEqual(device.foldersync().http, status)
        self.assertEqual([row["user"] for row in self.admin.devices()], ["ann"])


class Tls(ServerCase):
    tls = True

    def test_the_four_phases_over_tls(self):
        for version in ("12.1", "14.1", "16.1"):
            with self.subTest(version=version):
                device = self.device(version)
                device.handshake()
                self.assertFolders(device.foldersync())

    def test_plain_http_on_the_tls_port(self):
        with socket.create_connection(("127.0.0.1", self.server.port), timeout=30) as sock:
            sock.sendall(request())
            got = b""
            try:
                while piece := sock.recv(65536):
                    got += piece
            except ConnectionResetError:
                pass
            self.assertNotIn(b" 200 ", got)

    def test_a_handshake_that_never_comes(self):
        with socket.create_connection(("127.0.0.1", self.server.port), timeout=30):
            device = self.device()
            device.handshake()
            self.assertFolders(device.foldersync())


if __name__ == "__main__":
    unittest.main()

"""Upstreams that misbehave, and requests that two servers could read differently."""

import re
import socket
import time
import unittest

import test_http
from harness import wbxml
from harness.eas import TYPE, Device
from harness.evil import folders, options, reply
from harness.server import wait_for
from harness.upstream import Upstream, gateway, plain, stall

BODY = wbxml.encode(folders())
GOOD = f"HTTP/1.1 200 OK\r\nContent-Type: {TYPE}\r\n"


def answer(*fields, body=BODY, length=True, line="HTTP/1.1 200 OK"):
    rows = [line, f"Content-Type: {TYPE}"] + ([f"Content-Length: {len(body)}"] if length else [])
    return ("\r\n".join(rows + list(fields)) + "\r\n\r\n").encode("latin-1") + body


# What an upstream says instead of an answer. Each is 502 for the device, or a connection that breaks.
BROKEN = [
    ("nothing", []),
    ("half a line", [b"HTTP/1.1 20"]),
    ("half a head", [GOOD.encode()]),
    ("half a body", [answer()[:-5]]),
    ("half a body that is long", [answer(body=b"x" * 100000)[:-5]]),
    ("half a chunk", [answer("Transfer-Encoding: chunked", length=False, body=b"64\r\nabc")]),
    ("no last chunk", [answer("Transfer-Encoding: chunked", length=False, body=b"3\r\nabc\r\n")]),
    ("chunk size of letters", [answer("Transfer-Encoding: chunked", length=False, body=b"xyz\r\nabc")]),
    ("chunk size beyond 64 bits", [answer("Transfer-Encoding: chunked", length=False,
                                          body=b"f" * 17 + b"\r\nabc")]),
    ("length and chunks", [answer("Transfer-Encoding: chunked", body=b"3\r\nabc\r\n0\r\n\r\n")]),
    ("two lengths", [answer("Content-Length: 3")]),
    ("the same length twice", [answer(f"Content-Length: {len(BODY)}")]),
    ("a list of lengths", [answer("Content-Length: 5, 5", length=False)]),
    ("negative length", [answer("Content-Length: -5", length=False)]),
    ("length of letters", [answer("Content-Length: five", length=False)]),
    ("length beyond 64 bits", [answer("Content-Length: " + "9" * 30, length=False)]),
    ("coding gzip", [answer("Transfer-Encoding: gzip", length=False)]),
    ("NUL in a field", [answer("X-A: b\0c")]),
    ("carriage return in a field", [answer("X-A: b\rX-B: c")]),
    ("folded field", [answer("X-A: b\r\n c")]),
    ("field without a colon", [answer("nonsense")]),
    ("blank before the colon", [answer("X-A : b")]),
    ("empty name", [answer(": b")]),
    ("no HTTP", [b"220 mail.example.org ESMTP\r\n"]),
    ("another version", [answer(line="HTTP/2 200 OK")]),
    ("status of two digits", [answer(line="HTTP/1.1 20 OK")]),
    ("status 99", [answer(line="HTTP/1.1 099 OK")]),
    ("another protocol", [answer(line="HTTP/1.1 101 Switching")]),
    ("noise", [bytes(range(256)) * 16]),
    ("a line without end", [b"HTTP/1.1 200 OK\r\nX: "] + [b"a" * 65536] * 64),
    ("fields without end", [b"HTTP/1.1 200 OK\r\n"] + [b"X: y\r\n" * 10000] * 64),
    ("interim answers without end", [b"HTTP/1.1 100 Continue\r\n\r\n" * 5000] * 64),
]


class Evil(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.upstream = Upstream(closing=True).__enter__()
        cls.addClassCleanup(cls.upstream.stop)
        cls.server = gateway(cls.upstream, "timeout = 1; stall_timeout = 1;")
        cls.addClassCleanup(cls.server.close)
        cls.d = Device(cls.server)
        cls.addClassCleanup(cls.d.close)
        cls.d.handshake()

    def setUp(self):
        self.upstream.script = plain
        self.upstream.clear()

    def posts(self, out):
        self.upstream.script = lambda r: out if r.method == "POST" else plain(r)

    def well(self):
        """The next request is answered as if nothing had been."""
        self.upstream.script = plain
        self.d.close()
        self.assertEqual(self.d.foldersync().tree, folders())

    def outcome(self, cmd="FolderSync"):
        """HTTP status, or "broken" for an answer that breaks off."""
        try:
            return self.d.command(cmd, (cmd, [])).http
        except (OSError, ValueError) as why:
            return f"broken: {why!r}"
        except Exception as why:  # http.client has exceptions of its own for that
            self.assertIn("IncompleteRead", repr(why))
            return "broken"

    def test_broken_answers(self):
        for name, out in BROKEN:
            with self.subTest(row=name):
                self.posts(out)
                self.upstream.clear()
                began = time.monotonic()
                said = self.outcome()
                self.assertLess(time.monotonic() - began, 5)
                if name in ("half a body that is long", "half a chunk", "no last chunk",
                            "chunk size beyond 64 bits", "chunk size of letters"):
                    self.assertTrue(said == 502 or str(said).startswith("broken"), said)
                else:
                    self.assertEqual(said, 502)
                self.assertLessEqual(self.upstream.count("FolderSync"), 2)
                self.well()
        lines = [line for line in self.server.lines if "upstream-failed" in line]
        self.assertGreaterEqual(len(lines), len(BROKEN) - 5)
        self.assertTrue(all(re.search(r"why=", line) for line in lines))
        self.assertNotIn("\0", self.server.log)

    def test_legal_answers(self):
        rows = [("without a length", answer(length=False)),
                ("HTTP/1.0", answer(line="HTTP/1.0 200 OK", length=False)),
                ("interim answers first", b"HTTP/1.1 103 Hints\r\nX: y\r\n\r\n" + answer()),
                ("without a phrase", answer(line="HTTP/1.1 200")),
                ("bare line ends", answer().replace(b"\r\n", b"\n", 4)),
                ("chunks with extensions and a trailer", answer(
                    "Transfer-Encoding: chunked", length=False,
                    body=b"%x;a=b\r\n%s\r\n0\r\nX-T: u\r\n\r\n" % (len(BODY), BODY)))]
        for name, out in rows:
            with self.subTest(row=name):
                self.posts(out)
                got = self.d.foldersync()
                self.assertEqual((got.http, got.tree), (200, folders()))
                self.assertIsNone(got.headers["X-T"])

    def test_stalls(self):
        rows = [("before the head", [stall(5)], 504),
                ("within the head", [GOOD.encode(), stall(5)], 504),
                ("within a short body", [answer()[:-5], stall(5)], 504),
                ("within a long body", [answer(body=b"x" * 100000)[:-5], stall(5)], "broken"),
                ("within a chunk", [answer("Transfer-Encoding: chunked", length=False,
                                           body=b"64\r\nabc"), stall(5)], "broken")]
        for name, out, want in rows:
            with self.subTest(row=name):
                self.posts(out)
                began = time.monotonic()
                said = self.outcome()
                self.assertLess(time.monotonic() - began, 4)
                self.assertEqual(str(said)[:6], str(want)[:6])
                self.well()

    def test_longer_than_it_said(self):
        """The rest is not the answer to somebody else's request."""
        evil = reply(tree=("FolderSync", [("Status", "9")]))
        with Upstream(lambda r: answer() + evil if r.method == "POST" else plain(r)) as u:
            with gateway(u) as s:
                d = Device(s)
                d.handshake()
                for _ in range(20):
                    self.assertEqual(d.foldersync().tree, folders())
                d.close()

    def test_449_for_ever(self):
        self.posts(reply(449))
        for _ in range(3):
            self.upstream.clear()
            self.outcome()
            self.assertLessEqual(len(self.upstream.asked), 8)

    def test_many_at_a_time(self):
        self.posts([b"HTTP/1.1 200 OK\r\n"] + [b"X: y\r\n" * 10000] * 64)
        before = self.server.rss()
        devices = [Device(self.server, device_id=self.d.device_id) for _ in range(30)]
        for d in devices:
            d.key = self.d.key
            d.start("FolderSync", ("FolderSync", []))
        for d in devices:
            self.assertEqual(d.receive().http, 502)
            d.close()
        self.assertLess(self.server.rss() - before, 30 << 20)
        self.well()


class Smuggling(test_http.Raw):
    """No request reaches the upstream that was not let in, and none is split or joined."""

    @classmethod
    def setUpClass(cls):
        cls.upstream = Upstream().__enter__()
        cls.addClassCleanup(cls.upstream.stop)
        cls.server = gateway(cls.upstream, "body_max = 1048576;")
        cls.addClassCleanup(cls.server.close)
        d = Device(cls.server, device_id="RAW1")
        d.handshake()
        cls.key = rb"\g<1>%d" % d.key
        d.close()

    def setUp(self):
        self.upstream.clear()

    def keyed(self, data):
        return re.sub(rb"(?i)(x-ms-policykey: ?)0", self.key, data)

    def test_refused_and_nothing_gets_there(self):
        for name, data, statuses in test_http.REFUSED:
            with self.subTest(row=name):
                self.upstream.clear()
                got, closed = self.talk(self.keyed(data) + test_http.SECOND)
                self.assertTrue(closed, f"still open after {got!r}")
                self.assertLessEqual(got.count(b"HTTP/1."), 1, f"not one answer: {got[:500]!r}")
                if got:
                    self.assertIn(int(got.split()[1]), statuses, got[:500])
                self.assertEqual(self.upstream.asked, [])

    def test_taken_and_one_gets_there(self):
        for name, data in test_http.TAKEN:
            with self.subTest(row=name):
                self.upstream.clear()
                sock = self.connect()
                sock.sendall(self.keyed(data))
                self.assertEqual(self.read_answer(sock)[0], 200)
                (asked,) = self.upstream.asked
                self.assertEqual((asked.cmd, asked.body), ("FolderSync", test_http.BODY))
                self.assertEqual(asked.all("Content-Length"), [str(len(asked.body))])
                self.assertEqual(asked.all("Transfer-Encoding"), [])
                sock.sendall(test_http.SECOND)
                self.assertEqual(self.read_answer(sock)[0], 200, "the connection goes on")
                self.assertEqual([r.cmd for r in self.upstream.asked], ["FolderSync", "OPTIONS"])

    def test_pipelined(self):
        sock = self.connect()
        sock.sendall(self.keyed(test_http.request() + test_http.SECOND +
                                test_http.request("Connection: close")))
        got, closed = self.read_to_end(sock)
        self.assertTrue(closed)
        self.assertEqual(got.count(b"HTTP/1.1 200"), 3)
        self.assertEqual([r.cmd for r in self.upstream.asked], ["FolderSync", "OPTIONS", "FolderSync"])

    def test_a_request_within_a_body(self):
        inner = self.keyed(test_http.request())
        sock = self.connect()
        sock.sendall(self.keyed(test_http.request(body=inner, length=len(inner))))
        self.assertEqual(self.read_answer(sock)[0], 200)
        (asked,) = self.upstream.asked
        self.assertEqual(asked.body, inner)

    def test_cut_at_every_byte(self):
        whole = self.keyed(test_http.request())
        for cut in range(1, len(whole), 11):
            sock = self.connect()
            sock.sendall(whole[:cut])
            sock.shutdown(socket.SHUT_WR)
            got, closed = self.read_to_end(sock)
            self.assertTrue(closed)
            self.assertNotIn(b"HTTP/1.1 200", got)
        self.assertEqual(self.upstream.asked, [])

    def test_what_was_not_let_in(self):
        rows = [("no login", {"common": [f for f in test_http.COMMON if "Auth" not in f]}, 401),
                ("no key", {}, 200),
                ("another device", {"line": f"POST {test_http.PATH}?Cmd=FolderSync&User=ann&"
                                            "DeviceId=RAW2&DeviceType=T HTTP/1.1"}, 200),
                ("another path", {"line": "POST /other?Cmd=FolderSync HTTP/1.1"}, 404),
                ("another command", {"line": f"POST {test_http.PATH}?Cmd=Nothing&User=ann&"
                                             "DeviceId=RAW1&DeviceType=T HTTP/1.1"}, 501),
                ("a method of its own", {"line": f"PUT {test_http.PATH}{test_http.QUERY} HTTP/1.1"}, 405)]
        for name, how, status in rows:
            with self.subTest(row=name):
                sock = self.connect()
                sock.sendall(test_http.request(**how))
                self.assertEqual(self.read_answer(sock)[0], status)
                self.assertEqual(self.upstream.asked, [])


class Health(unittest.TestCase):
    def begin(self, upstream, more=""):
        server = gateway(upstream, "health_interval = 1; connect_timeout = 1; " + more)
        self.addCleanup(server.close)
        d = Device(server)
        self.addCleanup(d.close)
        d.handshake()
        return server, d

    def test_down_and_up_again(self):
        upstream = Upstream().__enter__()
        server, d = self.begin(upstream)
        self.assertEqual(d.foldersync().status, 1)
        upstream.stop()
        self.assertEqual(d.foldersync().http, 503)
        wait_for("a line", lambda: "upstream-down" in server.log)
        began = time.monotonic()
        for _ in range(50):
            answer = d.foldersync()
            self.assertEqual(answer.http, 503)
            self.assertGreaterEqual(int(answer.headers["Retry-After"]), 1)
        self.assertLess(time.monotonic() - began, 3)  # nobody waits for it
        again = Upstream(port=upstream.port).__enter__()
        self.addCleanup(again.stop)
        wait_for("a line", lambda: "upstream-up" in server.log)
        self.assertEqual(d.foldersync().status, 1)  # with the key that it had
        self.assertEqual(server.log.count("upstream-down"), 1)
        self.assertEqual(server.log.count("upstream-up"), 1)

    def test_down_from_the_start(self):
        upstream = Upstream()
        upstream.stop()
        server, d = self.begin(upstream)
        wait_for("a line", lambda: "upstream-down" in server.log)
        self.assertEqual(d.foldersync().http, 503)

    def test_one_that_takes_connections_and_no_more(self):
        upstream = Upstream(lambda r: [stall(20)]).__enter__()
        self.addCleanup(upstream.stop)
        server, d = self.begin(upstream, "timeout = 1;")
        self.assertEqual(d.foldersync().http, 504)
        wait_for("a line", lambda: "upstream-down" in server.log)
        self.assertEqual(d.foldersync().http, 503)
        upstream.script = plain
        wait_for("a line", lambda: "upstream-up" in server.log)
        self.assertEqual(d.foldersync().status, 1)

    def test_no_turn(self):
        upstream = Upstream(lambda r: [stall(3), plain(r)] if r.method == "POST" else plain(r))
        self.addCleanup(upstream.stop)
        server, d = self.begin(upstream.__enter__(), "connections = 1;")
        others = [Device(server, device_id=d.device_id) for _ in range(6)]
        for other in others:
            other.key = d.key
            other.start("FolderSync", ("FolderSync", []))
        codes = sorted(other.receive().http for other in others)
        self.assertIn(503, codes)
        self.assertIn(200, codes)
        self.assertNotIn("upstream-down", server.log)
        for other in others:
            other.close()


if __name__ == "__main__":
    unittest.main()

"""Long bodies both ways, commands that wait, and their ends, through a gateway."""

import hashlib
import pathlib
import tempfile
import threading
import time
import unittest

from harness.eas import TYPE, Device
from harness.evil import reply
from harness.server import environment, make_certificate, wait_for
from harness.upstream import Upstream, gateway, plain, until_asked

MIB = 1 << 20
LONG = 50 * MIB
HELD = 12 * MIB  # less than a quarter of LONG; most of it is the sanitizer's
PIECE = bytes(range(256)) * 256  # 64 KiB
SHA = hashlib.sha256(PIECE * (LONG // len(PIECE))).hexdigest()


class Case(unittest.TestCase):
    more = ""

    def setUp(self):
        self.upstream = Upstream().__enter__()
        self.addCleanup(self.upstream.stop)
        self.server = gateway(self.upstream, self.more, start=False)
        self.addCleanup(self.server.close)
        # What was freed does not count here: the sanitizer keeps it for a while.
        self.server.env["ASAN_OPTIONS"] = environment()["ASAN_OPTIONS"] + ":quarantine_size_mb=1"
        self.server.start()
        self.admin = self.server.admin

    def provisioned(self, **more):
        d = Device(self.server, **more)
        self.addCleanup(d.close)
        d.handshake()
        self.assertEqual(d.foldersync().http, 200)
        return d

    def head(self, d, cmd, **fields):
        """Sends the head of a command, and gives the socket."""
        c = d.connect()
        c.putrequest("POST", d.target(cmd), skip_accept_encoding=True)
        for name, value in {**d.headers(d.key), "Content-Type": TYPE, **fields}.items():
            c.putheader(name.replace("_", "-"), value)
        c.endheaders()
        return c.sock

    def assertHeldLittle(self, before):
        self.assertLess(self.server.rss() - before, HELD)


class Up(Case):
    def send(self, sock, chunked):
        for _ in range(LONG // len(PIECE)):
            sock.sendall(b"%x\r\n%s\r\n" % (len(PIECE), PIECE) if chunked else PIECE)
        if chunked:
            sock.sendall(b"0\r\n\r\n")

    def test_a_mail_of_50_mb(self):
        d = self.provisioned()
        for chunked in (False, True):
            before = self.server.rss()
            framing = {"Transfer_Encoding": "chunked"} if chunked else {"Content_Length": str(LONG)}
            self.send(self.head(d, "SendMail", **framing), chunked)
            self.assertEqual(d.receive().http, 200)
            asked = self.upstream.last("SendMail")
            self.assertEqual(asked.body_len, LONG)
            self.assertTrue((PIECE * 32).startswith(asked.body) and len(asked.body) > MIB // 2)
            self.assertEqual(asked.all("Content-Length"), [] if chunked else [str(LONG)])
            self.assertHeldLittle(before)
        self.assertEqual(self.upstream.count("SendMail"), 2)

    def test_a_slow_upstream_holds_back_the_phone(self):
        go = threading.Event()
        self.upstream.bodies = False

        def script(request):
            if request.cmd == "SendMail":
                go.wait(30)
            request.connection.read_body(request)
            return plain(request)
        self.upstream.script = script
        d = self.provisioned()
        before = self.server.rss()
        sock = self.head(d, "SendMail", Content_Length=str(LONG))
        sock.settimeout(1)
        sent = 0
        with self.assertRaises(TimeoutError):
            while sent < LONG:
                sent += sock.send(PIECE)
        self.assertLess(sent, LONG // 2)
        self.assertHeldLittle(before)
        go.set()
        sock.settimeout(30)
        while sent < LONG:
            sent += sock.send((PIECE + PIECE)[sent % len(PIECE):][:min(len(PIECE), LONG - sent)])
        self.assertEqual(d.receive().http, 200)
        self.assertEqual(self.upstream.last("SendMail").body_len, LONG)

    def test_a_phone_that_breaks_off(self):
        d = self.provisioned()
        sock = self.head(d, "SendMail", Content_Length=str(LONG))
        sock.sendall(PIECE * 16)
        wait_for("the head upstream", lambda: self.upstream.talks[-1].raw.count(b"Cmd=SendMail"))
        d.close()
        talk = self.upstream.talks[-1]
        wait_for("the end upstream", lambda: talk.sock.fileno() == -1)
        self.assertEqual(self.upstream.count("SendMail"), 0)  # it never was whole

    def test_a_block_while_it_comes(self):
        """Who is let in with the beginning of a body cannot wait with its end."""
        for chunked in (False, True):
            for cmd in ("SendMail", "Sync"):
                with self.subTest(chunked=chunked, cmd=cmd):
                    d = self.provisioned()
                    size = 4 * len(PIECE)
                    framing = {"Transfer_Encoding": "chunked"} if chunked else \
                        {"Content_Length": str(size)}
                    self.upstream.clear()
                    sock = self.head(d, cmd, **framing)
                    sock.sendall((b"%x\r\n" % size if chunked else b"") + (PIECE * 4)[:-1])
                    wait_for("the head upstream",
                             lambda: f"Cmd={cmd}&".encode() in self.upstream.talks[-1].raw)
                    talk = self.upstream.talks[-1]
                    self.admin("device", "block", "ann", d.device_id)
                    sock.sendall(PIECE[-1:] + (b"\r\n0\r\n\r\n" if chunked else b""))
                    self.assertEqual(d.receive().status, 129)
                    wait_for("the end upstream", lambda: talk.sock.fileno() == -1)
                    self.assertEqual(self.upstream.count(cmd), 0)
        self.assertEqual(self.server.log.count("upstream-failed"), 0)

    def test_an_answer_before_the_body_has_come(self):
        self.upstream.bodies = False
        self.upstream.script = lambda r: reply(507, body=b"full") if r.cmd == "SendMail" else plain(r)
        d = self.provisioned()
        sock = self.head(d, "SendMail", Content_Length=str(4 * MIB))
        try:
            sock.sendall(PIECE * 64)
        except OSError:
            pass
        self.assertEqual(d.receive().http, 507)

    def test_what_the_gateway_reads_itself_stays_short(self):
        d = self.provisioned()
        answer = d.command("Provision", b"\x03" * 70000)
        self.assertEqual(answer.http, 413)
        self.assertEqual(self.upstream.count("Provision"), 0)


class Pings(Case):
    more = 'ping = { mode = "pass"; };'

    def test_one_that_is_passed_on_is_short(self):
        d = self.provisioned()
        self.assertEqual(d.command("Ping", b"\x03" * 70000).http, 413)
        self.assertEqual(self.upstream.count("Ping"), 0)
        self.assertEqual(self.server.log.count("upstream-failed"), 0)


class Limit(Case):
    more = "body_max = 100000;"

    def test_longer_than_is_passed_on(self):
        d = self.provisioned()
        self.assertEqual(d.command("SendMail", b"x" * 100000).http, 200)
        self.assertEqual(d.command("SendMail", b"x" * 100001).http, 413)
        d.close()
        sock = self.head(d, "SendMail", Transfer_Encoding="chunked")
        try:
            for _ in range(64):
                sock.sendall(b"%x\r\n%s\r\n" % (len(PIECE), PIECE))
        except OSError:
            pass
        try:
            self.assertIn(d.receive().http, (413,))
        except OSError:
            pass  # its connection breaks
        d.close()
        self.assertEqual(self.upstream.count("SendMail"), 1)
        self.assertEqual(d.foldersync().http, 200)


class Down(Case):
    def attachment(self, chunked):
        def pieces(request):
            if request.cmd != "ItemOperations":
                return plain(request)
            framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {LONG}"
            head = f"HTTP/1.1 200 OK\r\n{framing}\r\nContent-Type: x/y\r\n\r\n".encode()
            whole = [b"%x\r\n%s\r\n" % (len(PIECE), PIECE) if chunked else PIECE]
            return [head] + whole * (LONG // len(PIECE)) + ([b"0\r\n\r\n"] if chunked else [])
        return pieces

    def test_an_attachment_of_50_mb(self):
        d = self.provisioned()
        for chunked in (False, True):
            self.upstream.script = self.attachment(chunked)
            before = self.server.rss()
            d.start("ItemOperations", ("ItemOperations", []))
            answer = d._connection.getresponse()
            self.assertEqual(answer.status, 200)
            self.assertEqual(answer.headers["Content-Length"], None if chunked else str(LONG))
            self.assertEqual(hashlib.sha256(answer.read()).hexdigest(), SHA)
            self.assertHeldLittle(before)

    def test_a_slow_phone_holds_back_the_upstream(self):
        sent = [0]

        def script(request):
            if request.cmd != "ItemOperations":
                return plain(request)

            def count(talk):
                sent[0] += 1
            return [f"HTTP/1.1 200 OK\r\nContent-Length: {LONG}\r\n\r\n".encode()] + [
                PIECE, count] * (LONG // len(PIECE))
        self.upstream.script = script
        d = self.provisioned()
        before = self.server.rss()
        d.start("ItemOperations", ("ItemOperations", []))
        answer = d._connection.getresponse()
        self.settled(lambda: sent[0])
        self.assertLess(sent[0] * len(PIECE), LONG // 2)
        self.assertHeldLittle(before)
        self.assertEqual(hashlib.sha256(answer.read()).hexdigest(), SHA)

    def settled(self, value):
        while (before := value()) is not None:
            time.sleep(0.3)
            if value() == before:
                return

    def test_a_phone_that_goes_away(self):
        self.upstream.script = self.attachment(False)
        d = self.provisioned()
        d.start("ItemOperations", ("ItemOperations", []))
        d._connection.getresponse().read(1000)
        d.close()
        talk = self.upstream.talks[-1]
        wait_for("the end upstream", lambda: talk.sock.fileno() == -1)

    def test_an_answer_that_comes_slowly_comes_at_once(self):
        """What does not say its length is not kept until it is whole."""
        go = threading.Event()

        def script(request):
            if request.cmd != "Search":
                return plain(request)
            return [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
                    lambda talk: go.wait(20), b"3\r\ndef\r\n0\r\n\r\n"]
        self.upstream.script = script
        d = self.provisioned()
        d.start("Search", ("Search", []))
        answer = d._connection.getresponse()
        self.assertEqual(answer.read(3), b"abc")
        go.set()
        self.assertEqual(answer.read(), b"def")


def sync(wait=None, heartbeat=None):
    collections = ("Collections", [("Collection", [("SyncKey", "1"), ("CollectionId", "5")])])
    return ("Sync", [collections] + ([("Wait", str(wait))] if wait else []) +
            ([("HeartbeatInterval", str(heartbeat))] if heartbeat else []))


class Waiting(Case):
    more = "timeout = 1;"

    def waits(self, d, tree=None):
        """A Sync that waits; what wakes it upstream is set in self.news."""
        self.news = threading.Event()

        def script(request):
            if request.cmd != "Sync":
                return plain(request)

            def until(talk):
                while not self.news.is_set():
                    talk.sock.settimeout(0.02)
                    try:
                        if not talk.sock.recv(1):
                            talk.gone = True
                            raise OSError("gone")
                    except TimeoutError:
                        pass
                talk.sock.settimeout(None)
            return [until, reply(tree=("Sync", [("Status", "1")]))]
        self.upstream.script = script
        self.upstream.clear()
        d.start("Sync", tree if tree is not None else sync(heartbeat=600))
        until_asked(self.upstream, "Sync")
        return self.upstream.last("Sync").connection

    def test_longer_than_others_may(self):
        for tree in (sync(wait=10), sync(heartbeat=600), b""):
            d = self.provisioned()
            self.waits(d, tree)
            time.sleep(1.2)
            self.news.set()
            self.assertEqual(d.receive().status, 1)

    def test_one_that_does_not_say_so_may_not(self):
        d = self.provisioned()
        self.waits(d, sync())
        self.assertEqual(d.receive().http, 504)

    def test_the_phone_goes_away(self):
        d = self.provisioned()
        talk = self.waits(d)
        d.close()
        wait_for("the end upstream", lambda: talk.gone)

    def test_a_new_policy(self):
        d = self.provisioned()
        talk = self.waits(d)
        self.admin.policy("MinDevicePasswordLength=6")
        self.assertEqual(d.receive().status, 143)
        wait_for("the end upstream", lambda: talk.gone)

    def test_a_wipe(self):
        d = self.provisioned(version="16.1")
        talk = self.waits(d)
        self.admin("device", "wipe", "ann", d.device_id, "--yes")
        self.assertEqual(d.receive().status, 140)
        wait_for("the end upstream", lambda: talk.gone)

    def test_a_block(self):
        d = self.provisioned()
        talk = self.waits(d)
        self.admin("device", "block", "ann", d.device_id)
        self.assertEqual(d.receive().status, 129)
        wait_for("the end upstream", lambda: talk.gone)

    def test_the_refresh_interval(self):
        self.admin.policy("RefreshInterval=3")
        d = self.provisioned()
        talk = self.waits(d)
        self.assertEqual(d.receive().status, 143)
        wait_for("the end upstream", lambda: talk.gone)

    def test_sigterm(self):
        d = self.provisioned()
        talk = self.waits(d)
        began = time.monotonic()
        self.server.stop()
        self.assertLess(time.monotonic() - began, 8)
        wait_for("the end upstream", lambda: talk.gone)

    def test_a_hundred_need_no_thread(self):
        devices = [self.provisioned() for _ in range(100)]
        threads = self.threads()
        talks = [self.waits(d) for d in devices]
        self.assertEqual(self.threads(), threads)
        self.assertEqual(len({talk.number for talk in talks}), 100)
        for d in devices:
            d.close()
        for talk in talks:
            wait_for("the end upstream", lambda talk=talk: talk.gone)

    def threads(self):
        with open(f"/proc/{self.server.pid}/status", encoding="ascii") as f:
            return next(line for line in f if line.startswith("Threads:"))


class OverTls(unittest.TestCase):
    def begin(self, more="", **how):
        where = tempfile.TemporaryDirectory(prefix="provost-test-")
        self.addCleanup(where.cleanup)
        self.certificate, self.key = make_certificate(pathlib.Path(where.name))
        self.upstream = Upstream(certificate=(self.certificate, self.key), **how).__enter__()
        self.addCleanup(self.upstream.stop)
        self.server = gateway(self.upstream, more.format(self=self))
        self.addCleanup(self.server.close)
        d = Device(self.server)
        self.addCleanup(d.close)
        d.handshake()
        return d

    def test_small_and_large_ones(self):
        d = self.begin('ca_file = "{self.certificate}";')
        for _ in range(50):
            self.assertEqual(d.foldersync().http, 200)
        self.assertLessEqual(len(self.upstream.talks), 3)  # a probe's, and one that is kept
        self.assertEqual(d.command("SendMail", PIECE * 100).http, 200)
        self.assertEqual(self.upstream.last("SendMail").body_len, 100 * len(PIECE))
        self.upstream.script = lambda r: reply(body=PIECE * 100)
        self.assertEqual(d.command("ItemOperations", ("ItemOperations", [])).raw, PIECE * 100)
        self.assertEqual(d.foldersync().raw, PIECE * 100)

    def test_longer_than_it_said(self):
        extra = reply(body=b"somebody else's")
        d = self.begin('ca_file = "{self.certificate}";')
        self.upstream.script = lambda r: reply(body=b"mine") + extra
        for _ in range(10):
            self.assertEqual(d.foldersync().raw, b"mine")

    def test_one_that_closes(self):
        d = self.begin('ca_file = "{self.certificate}";', closing=True)
        for _ in range(20):
            self.assertEqual(d.foldersync().http, 200)
        self.assertEqual(self.upstream.count("FolderSync"), 20)

    def test_nobody_vouches_for_it(self):
        d = self.begin()
        self.assertEqual(d.foldersync().http, 503)
        wait_for("a line", lambda: "upstream-down" in self.server.log)
        self.assertIn("ertificate", self.server.log)
        self.assertEqual(self.upstream.asked, [])

    def test_our_own_certificate(self):
        more = 'ca_file = "{self.certificate}"; certificate = "{self.certificate}"; key = "{self.key}";'
        with tempfile.TemporaryDirectory(prefix="provost-test-") as where:
            other, _ = make_certificate(pathlib.Path(where))
            d = self.begin(more, client_ca=other)
            self.assertIn(d.foldersync().http, (502, 503))
            self.assertEqual(self.upstream.asked, [])
        d = self.begin(more)
        self.upstream.ask_for_certificates(self.certificate)
        self.assertEqual(d.foldersync().http, 200)


class Closing(unittest.TestCase):
    """SOGo closes every connection after its answer, and does not say so."""

    def test_nothing_is_lost_and_nothing_comes_twice(self):
        with Upstream(closing=True) as u, gateway(u) as s:
            d = Device(s)
            d.handshake()
            for i in range(300):
                cmd = ("FolderSync", "SendMail", "Settings")[i % 3]
                self.assertEqual(d.command(cmd, (cmd, [])).http, 200)
            for cmd in ("FolderSync", "SendMail", "Settings"):
                self.assertEqual(u.count(cmd), 100)
            d.close()

    def test_a_connection_that_dies_under_a_request(self):
        """Sent again where that is safe; a mail is not sent over an old connection at all."""
        dying = []

        def script(request):
            if request.method == "POST" and request.connection in dying:
                return None
            dying.append(request.connection)
            return plain(request)
        with Upstream(script) as u, gateway(u) as s:
            d = Device(s)
            d.handshake()
            for _ in range(10):
                self.assertEqual(d.foldersync().http, 200)
                self.assertEqual(d.command("SendMail", ("SendMail", [])).http, 200)
            self.assertEqual(u.count("SendMail"), 10)
            self.assertGreater(u.count("FolderSync"), 10)  # some met a connection at its end
            d.close()

    def test_what_may_have_been_done_is_not_done_again(self):
        with Upstream(lambda r: None if r.method == "POST" else plain(r)) as u, gateway(u) as s:
            d = Device(s)
            d.handshake()
            self.assertEqual(d.command("SendMail", ("SendMail", [])).http, 502)
            self.assertEqual(u.count("SendMail"), 1)
            self.assertEqual(d.foldersync().http, 502)
            self.assertLessEqual(u.count("FolderSync"), 2)
            d.close()


if __name__ == "__main__":
    unittest.main()

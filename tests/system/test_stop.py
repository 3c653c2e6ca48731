"""SIGTERM: what is under way is answered, who waits is let go, what hangs is cut."""

import concurrent.futures
import contextlib
import http.client
import signal
import socket
import subprocess
import threading
import time
import unittest

from harness.case import OwnServerCase
from harness.eas import PATH, TYPE, Device
from harness.server import environment, hash_password, wait_for
from harness.upstream import Upstream, gateway, plain, until_asked
from test_systemd import HandedOver, listening

SLOW = "$6$rounds=2000000$provosttests"      # a second or so
ENDLESS = "$6$rounds=999999999$provosttests$" + "a" * 86


class Stopped(OwnServerCase):
    def begin_login(self, hashed, password):
        """A request whose password is being verified."""
        self.server.users_file.write_text(f"ann:{hashed}\n", encoding="utf-8")
        self.server.restart()
        device = self.device(password=password)
        device.start("FolderSync", ("FolderSync", [("SyncKey", "0")]))
        time.sleep(0.3)
        return device

    def test_a_login_under_way_is_answered(self):
        device = self.begin_login(hash_password("secret", SLOW), "secret")
        with concurrent.futures.ThreadPoolExecutor(1) as other:
            stopped = other.submit(self.server.stop)
            self.assertRefused(device.receive(), "FolderSync", 142, "14.1")
            stopped.result()

    def test_a_login_that_hangs_is_cut(self):
        # Threads are left behind: that is the point.
        self.server.env["TSAN_OPTIONS"] = environment()["TSAN_OPTIONS"] + ":report_thread_leaks=0"
        self.begin_login(ENDLESS, "secret")
        begin = time.monotonic()
        self.server.stop(expect=3)
        self.assertLess(time.monotonic() - begin, 20)

    def test_half_a_body_is_cut(self):
        with socket.create_connection(("127.0.0.1", self.server.port)) as half:
            half.sendall(f"POST {PATH}?Cmd=Ping&User=ann&DeviceId=A1&DeviceType=T HTTP/1.1\r\n"
                         "Host: a\r\nContent-Length: 100\r\n\r\nhalf".encode())
            self.device().handshake()
            begin = time.monotonic()
            self.server.stop()
            self.assertLess(time.monotonic() - begin, 14)

    def test_a_waiting_ping_is_let_go(self):
        device = self.device()
        device.handshake()
        device.foldersync()
        device.start("Ping", device.ping_tree(600))
        wait_for("a waiting Ping", lambda: self.admin("status")["waiting_pings"] == 1)
        begin = time.monotonic()
        self.server.stop()
        self.assertLess(time.monotonic() - begin, 8)


class HalfClosed(OwnServerCase):
    def test_who_has_said_all_is_answered(self):
        """The peer closes its sending side at once; its password takes a moment to verify."""
        self.server.users_file.write_text(f"ann:{hash_password('secret', SLOW)}\n",
                                          encoding="utf-8")
        self.server.restart()
        device = self.device()
        fields = "".join(f"{n}: {v}\r\n" for n, v in device.headers(key=0).items())
        head = f"OPTIONS {PATH} HTTP/1.1\r\nHost: a\r\n{fields}\r\n"
        with socket.create_connection(("127.0.0.1", self.server.port), timeout=30) as peer:
            peer.sendall(head.encode())
            peer.shutdown(socket.SHUT_WR)
            self.assertTrue(peer.recv(4096).startswith(b"HTTP/1.1 200 "))


class Waiting(OwnServerCase):
    """Pings end at once: with Status 1 after the shortest heartbeat, without an answer before."""

    config = "ping = { heartbeat_min = 2; };"
    CROWD = 200

    def wait(self, device):
        device.handshake()
        device.foldersync()
        device.start("Ping", device.ping_tree(600))
        return device

    def test_two_hundred(self):
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            old = list(pool.map(self.wait, [self.device() for _ in range(self.CROWD)]))
        wait_for("all to wait",
                 lambda: self.admin("status")["waiting_pings"] == self.CROWD)
        time.sleep(2.1)
        young = self.wait(self.device())
        wait_for("the last", lambda: self.admin("status")["waiting_pings"] == self.CROWD + 1)
        begin = time.monotonic()
        self.server.stop()
        self.assertLess(time.monotonic() - begin, 5)
        for device in old:
            answer = device.receive()
            self.assertEqual((answer.http, answer.status), (200, 1))
        with self.assertRaises((http.client.RemoteDisconnected, ConnectionResetError)):
            young.receive()
        # Nobody has lost what it was told.
        keys = {device: device.key for device in [*old, young]}
        self.server.start()
        for device in [old[0], old[-1], young]:
            device.key = keys[device]
            self.assertFolders(device.foldersync())
        rows = {row["device_id"]: row["state"] for row in self.admin.devices()}
        self.assertEqual([rows[d.device_id] for d in keys], ["provisioned"] * len(keys))


class Limit(OwnServerCase):
    config = "drain_timeout = 2;"

    def head(self, length=1000):
        device = self.device()
        fields = "".join(f"{n}: {v}\r\n" for n, v in device.headers(key=0).items())
        return (f"POST {device.target('FolderSync')} HTTP/1.1\r\nHost: a\r\n{fields}"
                f"Content-Length: {length}\r\n\r\n").encode()

    def connect(self):
        peer = socket.create_connection(("127.0.0.1", self.server.port), timeout=30)
        self.addCleanup(peer.close)
        return peer

    def test_who_is_slow_has_until_the_limit(self):
        """One who gets done meanwhile is answered; one who does not is cut."""
        quick, slow, silent = self.connect(), self.connect(), self.connect()
        for peer in (quick, slow):
            peer.sendall(self.head())
        self.server.admin("status")  # they have been read by now

        def finish():
            time.sleep(0.5)
            for _ in range(10):
                quick.sendall(bytes(100))
                slow.sendall(b"\0")
                time.sleep(0.05)
        writer = threading.Thread(target=finish)
        writer.start()
        begin = time.monotonic()
        self.server.stop()
        took = time.monotonic() - begin
        writer.join()
        self.assertTrue(1.9 < took < 5, took)
        answer = quick.recv(4096)
        self.assertTrue(answer.startswith(b"HTTP/1.1 200 "), answer)
        self.assertIn(b"Connection: close", answer)
        for peer in (slow, silent):
            with contextlib.suppress(ConnectionResetError):
                self.assertEqual(peer.recv(4096), b"")

    def test_an_idle_connection_is_closed_at_once(self):
        device = self.device()
        device.handshake()
        begin = time.monotonic()
        self.server.stop()
        self.assertLess(time.monotonic() - begin, 1.5)
        self.assertEqual(device._connection.sock.recv(10), b"")

    def test_the_second_signal_ends_it_at_once(self):
        slow = self.connect()
        slow.sendall(self.head())
        self.admin("status")
        begin = time.monotonic()
        self.server.process.send_signal(signal.SIGTERM)
        wait_for("the first", lambda: "draining" in self.server.log)
        time.sleep(0.2)
        self.server.stop(expect=-signal.SIGTERM)
        self.assertLess(time.monotonic() - begin, 1.5)

    def test_a_reload_while_it_ends_is_too_late(self):
        slow = self.connect()
        slow.sendall(self.head())
        self.admin("status")
        self.server.process.send_signal(signal.SIGTERM)
        wait_for("the first", lambda: "draining" in self.server.log)
        self.server.reload()
        time.sleep(0.2)
        slow.sendall(bytes(1000))
        self.server._ended(0)
        self.assertNotIn("reload", self.server.log)
        self.assertTrue(slow.recv(4096).startswith(b"HTTP/1.1 "))

    def test_who_is_in_the_queue_is_served(self):
        """Connected, but not accepted yet, when the signal comes."""
        self.device().handshake()
        self.server.process.send_signal(signal.SIGSTOP)
        queued = [self.connect() for _ in range(20)]
        for peer in queued:
            peer.sendall(b"OPTIONS /elsewhere HTTP/1.1\r\nHost: a\r\n\r\n")
        self.server.process.send_signal(signal.SIGTERM)
        self.server.process.send_signal(signal.SIGCONT)
        self.server._ended(0)  # a second signal would end it at once
        for peer in queued:
            self.assertTrue(peer.recv(4096).startswith(b"HTTP/1.1 404 "))

    def test_administration_ends_what_it_has_begun(self):
        """Two requests of one command, over one connection, while the server stops."""
        slow = self.connect()
        slow.sendall(self.head())
        admin = socket.socket(socket.AF_UNIX)
        self.addCleanup(admin.close)
        admin.settimeout(30)
        admin.connect(str(self.server.socket))

        def ask():
            admin.sendall(b"GET /v1/status HTTP/1.1\r\nHost: a\r\n\r\n")
            return admin.recv(65536)
        self.assertTrue(ask().startswith(b"HTTP/1.1 200 "))
        self.server.process.send_signal(signal.SIGTERM)
        wait_for("the signal", lambda: "draining" in self.server.log)
        for _ in range(3):
            answer = ask()
            self.assertTrue(answer.startswith(b"HTTP/1.1 200 "), answer)
            self.assertNotIn(b"Connection: close", answer)
            time.sleep(0.2)
        self.server._ended(0)


    def test_who_follows_the_audit_log_does_not_hold_it_up(self):
        follower = subprocess.Popen(
            [self.admin.program, "-s", self.admin.socket, "audit", "--follow"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment())
        self.addCleanup(follower.wait)
        self.addCleanup(follower.kill)
        time.sleep(1.5)
        begin = time.monotonic()
        self.server.stop()
        self.assertLess(time.monotonic() - begin, 1.9)


class ThroughTheGateway(unittest.TestCase):
    PIECE = bytes(65536)

    def setUp(self):
        self.upstream = Upstream().__enter__()
        self.addCleanup(self.upstream.stop)

    def provisioned(self, more=""):
        self.server = gateway(self.upstream, more)
        self.addCleanup(self.server.close)
        device = Device(self.server)
        self.addCleanup(device.close)
        device.handshake()
        self.assertEqual(device.foldersync().http, 200)
        return device

    def test_a_mail_on_its_way_goes_out(self):
        device, size = self.provisioned(), 64 * len(self.PIECE)
        c = device.connect()
        c.putrequest("POST", device.target("SendMail"))
        for name, value in {**device.headers(device.key), "Content-Type": TYPE,
                            "Content-Length": str(size)}.items():
            c.putheader(name, value)
        c.endheaders()
        c.sock.sendall(self.PIECE * 8)

        def rest():
            wait_for("the signal", lambda: "draining" in self.server.log)
            for _ in range(56):
                c.sock.sendall(self.PIECE)
                time.sleep(0.01)
        writer = threading.Thread(target=rest)
        writer.start()
        server = self.server
        server.stop()
        writer.join()
        self.assertEqual(device.receive().http, 200)
        self.assertEqual(self.upstream.last("SendMail").body_len, size)

    def test_an_answer_that_the_upstream_still_thinks_about(self):
        go = threading.Event()

        def script(request):
            if request.cmd == "Search":
                go.wait(30)
            return plain(request)
        self.upstream.script = script
        device = self.provisioned()
        device.start("Search", ("Search", []))
        until_asked(self.upstream, "Search")
        threading.Timer(1, go.set).start()
        self.server.stop()
        self.assertEqual(device.receive().http, 200)

    def test_a_ping_that_is_passed_on_ends(self):
        go = threading.Event()
        self.addCleanup(go.set)

        def script(request):
            if request.cmd == "Ping":
                go.wait(30)
            return plain(request)
        self.upstream.script = script
        device = self.provisioned('ping = { mode = "pass"; };')
        device.start("Ping", device.ping_tree(600))
        until_asked(self.upstream, "Ping")
        begin = time.monotonic()
        self.server.stop()
        self.assertLess(time.monotonic() - begin, 5)
        with self.assertRaises((http.client.RemoteDisconnected, ConnectionResetError)):
            device.receive()


class Restarted(unittest.TestCase):
    """Sockets that somebody else holds: nobody who connects is turned away, or loses an answer."""

    def test_no_connection_is_lost(self):
        inet = listening()
        self.addCleanup(inet.close)
        port = inet.getsockname()[1]
        server = HandedOver([inet], config=f'listen = "127.0.0.1:{port}";\n')
        self.addCleanup(server.close)
        server.start()
        over, answers, lost = threading.Event(), [], []

        def ask():
            while not over.is_set():
                try:
                    with socket.create_connection(("127.0.0.1", port), timeout=30) as peer:
                        peer.sendall(b"OPTIONS /elsewhere HTTP/1.1\r\nHost: a\r\n\r\n")
                        answers.append(peer.recv(4096)[:12])
                except OSError as why:
                    lost.append(why)
        clients = [threading.Thread(target=ask) for _ in range(4)]
        for client in clients:
            client.start()
        for _ in range(3):
            time.sleep(0.3)
            before = len(answers)
            server.restart()
            wait_for("answers of the next server", lambda: len(answers) > before + 20)
        over.set()
        for client in clients:
            client.join()
        self.assertEqual(lost, [])
        self.assertEqual(set(answers), {b"HTTP/1.1 404"})

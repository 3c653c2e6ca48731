"""SIGTERM: what is under way is answered, who waits is let go, what hangs is cut."""

import concurrent.futures
import socket
import time

from harness.case import OwnServerCase
from harness.eas import PATH
from harness.server import environment, hash_password, wait_for

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

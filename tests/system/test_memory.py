"""A server whose memory runs short refuses; it never breaks down, and all is well afterwards."""

import collections
import http.client
import pathlib
import struct
import subprocess
import threading
import time
import unittest

from harness.admin import Failed
from harness.case import ServerCase
from harness.server import Server, environment, wait_for

SOURCE = pathlib.Path(__file__).with_name("short_memory.c")
SCARCITY = (1000, 200, 50, 20, 5, 1)  # one allocation in so many fails


class ShortServer(Server):
    """Allocations fail in it when it is told so."""

    def __init__(self, **how):
        super().__init__(start=False, **how)
        library, self.control = self.dir / "short_memory.so", self.dir / "short_memory"
        subprocess.run(["cc", "-D_GNU_SOURCE", "-shared", "-fPIC", "-O1", "-Wall", "-Werror",
                        "-o", str(library), str(SOURCE)], check=True)
        self.control.write_bytes(bytes(12))
        # The sanitizer's runtime wants to be the first of all libraries, but works behind ours.
        sanitizer = environment()["ASAN_OPTIONS"] + ":verify_asan_link_order=0"
        self.env = {"LD_PRELOAD": str(library), "SHORT_MEMORY": str(self.control),
                    "ASAN_OPTIONS": sanitizer}
        self.start()

    def short(self, one_in):
        with open(self.control, "r+b", buffering=0) as f:
            f.write(struct.pack("=I", one_in))

    @property
    def refused(self):
        return struct.unpack("=III", self.control.read_bytes())[2]


class Phone(threading.Thread):
    """Provisions again and again whatever comes, and remembers what it was told last."""

    def __init__(self, device):
        super().__init__(daemon=True)
        self.device, self.told, self.pending, self.handshakes = device, 0, None, 0
        self.seen, self.wrong, self.enough = collections.Counter(), [], threading.Event()

    def run(self):
        while not self.enough.is_set() and not self.wrong:
            try:
                self.turn()
            except (OSError, http.client.HTTPException):
                self.seen["closed"] += 1
                self.device.close()
                time.sleep(0.005)

    def turn(self):
        if self.pending is None:
            answer = self.device.provision_initial()
            if not self.passed("offer", answer):
                return
            self.pending = answer.key
        answer = self.device.provision_ack(self.pending)
        if not self.passed("key", answer):
            return
        self.told, self.pending = int(answer.key), None
        self.handshakes += 1
        self.device.key = self.told
        self.passed("folders", self.device.foldersync())

    def passed(self, what, answer):
        if answer.http == 503:
            self.seen[503] += 1
        elif answer.http == 200 and what == "folders" and answer.status == 6:
            self.seen["server error"] += 1
        elif answer.http != 200 or answer.status != 1 or \
                (what != "folders" and answer.policy_status != 1):
            self.wrong.append((what, answer))
        else:
            self.seen[what] += 1
            return True
        return False

    def stop(self):
        self.enough.set()
        self.join(60)
        self.device.close()


class Short(ServerCase):
    @classmethod
    def setUpClass(cls):
        cls.server = ShortServer(config='auth = { method = "file"; file = "users"; '
                                        'cache_seconds = 0; };')
        cls.addClassCleanup(cls.server.close)
        cls.admin = cls.server.admin

    def setUp(self):
        self.addCleanup(self.server.short, 0)
        self.before = self.server.refused

    def run_short(self):
        for one_in in SCARCITY:
            self.server.short(one_in)
            time.sleep(1)
            self.assertIsNone(self.server.process.poll(), self.server.log)
        self.server.short(0)
        self.assertGreater(self.server.refused - self.before, 100)

    def check(self, phone):
        """The told key opens, or the acknowledgement whose answer was lost tells another."""
        device, device.key = phone.device, phone.told
        answer = device.foldersync()
        if answer.status != 1:
            self.assertIsNotNone(phone.pending, f"told {phone.told}, refused: {answer}")
            answer = device.provision_ack(phone.pending)
            self.assertOffered(answer)
            phone.told, phone.pending = int(answer.key), None
            device.key = phone.told
            self.assertFolders(device.foldersync())

    def test_handshakes(self):
        phones = [Phone(self.device(device_id=f"PHONE{i}")) for i in range(6)]
        for phone in phones:
            phone.start()
        self.run_short()
        since = [phone.handshakes for phone in phones]
        wait_for("handshakes of every phone", lambda: all(
            phone.wrong or phone.handshakes > was + 1 for phone, was in zip(phones, since)))
        seen = collections.Counter()
        for phone in phones:
            phone.stop()
            seen += phone.seen
            self.assertEqual(phone.wrong, [])
            self.check(phone)
        self.assertGreater(seen[503], 0, seen)
        self.assertGreater(seen["key"], 0, seen)
        self.server.restart(kill=True)
        for phone in phones:
            phone.device.close()
            phone.device.key = phone.told
            self.assertFolders(phone.device.foldersync())
        self.server.restart()

    def test_administration_and_a_waiting_ping(self):
        device = self.device()
        device.handshake()
        self.assertFolders(device.foldersync())
        device.start("Ping", device.ping_tree(600), key=None)
        wait_for("a waiting Ping", lambda: self.admin("status")["waiting_pings"] == 1)
        told = 0
        for i in range(40):
            self.server.short(SCARCITY[i % 4])
            try:
                self.admin.policy(f"MinDevicePasswordLength={4 + i % 12}")
                told += 1
            except Failed:
                pass
            self.assertIsNone(self.server.process.poll(), self.server.log)
            self.admin.run("device", "list")
            self.admin.run("user", "list")
        self.server.short(0)
        self.assertGreater(told, 0)
        self.admin.policy("MinDevicePasswordLength=16")
        device.close()
        device.handshake()
        self.assertFolders(device.foldersync())
        self.assertEqual(self.admin.device("ann", device.device_id)["state"], "provisioned")
        self.ping_wakes(device)

    def test_orders(self):
        """What is told is so; what is not told may be so, since the answer may be what failed."""
        device = self.device()
        device.handshake()
        where, told = ("ann", device.device_id), collections.Counter()
        rounds = [("wipe", "wipe-pending", ("--whole-device", "--yes")),
                  ("cancel-wipe", "provisioned", ()), ("block", "blocked", ()),
                  ("show", "blocked", ()), ("allow", "provisioned", ())]
        for i in range(16):
            for what, state, more in rounds:
                self.server.short(SCARCITY[i % 4])
                try:
                    answer = self.admin("device", what, *where, *more)
                    self.assertEqual(answer["state"], state, (what, answer))
                    told[what] += 1
                except Failed:
                    self.server.short(0)
                    self.admin.run("device", what, *where, *more)  # as in the next round
                self.assertIsNone(self.server.process.poll(), self.server.log)
                self.server.short(0)
                self.assertEqual(self.admin.device(*where)["state"], state, what)
        self.assertEqual(len(told), len(rounds), told)
        self.assertFolders(device.foldersync())

    def ping_wakes(self, device):
        device.start("Ping", device.ping_tree(600), key=None)
        wait_for("a waiting Ping", lambda: self.admin("status")["waiting_pings"] >= 1)
        self.admin.policy("MinDevicePasswordLength=5")
        answer = device.receive()
        self.assertEqual((answer.http, answer.status), (200, 7), answer)


if __name__ == "__main__":
    unittest.main()

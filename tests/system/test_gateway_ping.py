"""Pings through the gateway: few requests to the upstream for many phones that wait."""

import socket
import struct
import time
import unittest

from harness import wbxml
from harness.api import Api
from harness.case import OwnServerCase
from harness.server import wait_for
from harness.slow_upstream import SlowUpstream

LONG = 600
CROWD = {f"user{n:03}": "secret" for n in range(200)}
INBOX = "mail%2Fsogo/1"  # ids are the upstream's, of any form


class GatewayPingCase(OwnServerCase):
    """A gateway before an upstream with five workers, and phones that need no handshake."""

    limits = "ping = { heartbeat_min = 1; heartbeat_max = 900; folders_max = 3; };\n"
    pings, workers, hold = "interval = 1;", 5, 0.05
    users = {"ann": "secret", "bob": "hunter2"}

    def setUp(self):
        self.upstream = SlowUpstream(self.workers, self.hold)
        self.addCleanup(self.upstream.stop)
        self.config = self.limits + \
            f'upstream = {{ url = "{self.upstream.url}"; ping = {{ {self.pings} }}; }};\n'
        super().setUp()
        self.api = Api(self.server)
        self.addCleanup(self.api.close)
        self.admin.policy("AllowNonProvisionable=1")

    def device(self, *more, **named):
        made = super().device(*more, **named)
        made.key = None
        return made

    def status(self):
        return self.api("GET", "/v1/status").json

    def figures(self):
        return self.status()["upstreams"][0]["ping"]

    def waiting(self):
        return self.status()["waiting_pings"]

    def start_ping(self, device, heartbeat=LONG, folders=(INBOX,)):
        device.start("Ping", device.ping_tree(heartbeat, folders), key=None)

    def wait(self, device, **more):
        """Begin a Ping that must not be answered at once."""
        before = self.waiting()
        self.start_ping(device, **more)
        wait_for("a waiting Ping", lambda: self.waiting() > before)
        return device

    def looked_at(self, device):
        seen = len(self.upstream.pings_of(device))
        wait_for("a look", lambda: len(self.upstream.pings_of(device)) > seen)

    def assertStatus(self, answer, status, *more):
        self.assertEqual(answer.http, 200, answer)
        self.assertEqual(answer.tree, ("Ping", [("Status", str(status)), *more]))

    def assertNews(self, answer, *folders):
        self.assertStatus(answer, 2, ("Folders", [("Folder", i) for i in folders or (INBOX,)]))


class Crowd(GatewayPingCase):
    users, hold = CROWD, 0.02

    def test_two_hundred_wait(self):
        devices = [self.device(user=user) for user in CROWD]
        for device in devices:
            self.start_ping(device)
        wait_for("all to wait", lambda: self.waiting() == 200)
        wait_for("a look at each", lambda: {p.device for p in self.upstream.seen} ==
                 {d.device_id for d in devices})
        # A further one gets through at once, for slots leave workers.
        late = self.device(user="user000")
        began = time.monotonic()
        self.assertFolders(late.foldersync())
        self.assertLess(time.monotonic() - began, 2)
        # In rounds: while one is looked at twice, all others are.
        before = len(self.upstream.seen)
        wait_for("two rounds", lambda: len(self.upstream.seen) >= before + 404)
        seen = [p.device for p in self.upstream.seen][before:before + 404]
        self.assertEqual(len(set(seen[:202])), 200)
        self.assertEqual(len(set(seen[202:])), 200)
        for device in devices[50:53]:
            self.upstream.news.add(device.user)
        for device in devices[50:53]:
            self.assertNews(device.receive())
        self.assertEqual(self.waiting(), 197)
        figures = self.figures()
        self.assertEqual((figures["waiting"], figures["slots"], figures["news"]), (197, 2, 3))
        self.assertGreater(figures["round_seconds"], 1)
        self.assertGreater(figures["expected_seconds"], 1)
        self.assertGreater(figures["news_delay_seconds"], 0)
        self.upstream.news.update(CROWD)
        for device in devices[:50] + devices[53:]:
            self.assertNews(device.receive())
        self.assertEqual(self.upstream.most, 2)
        wait_for("no look any more", lambda: self.figures()["looking"] == 0)
        text = self.admin.run("status").stdout
        for line in ("    mode: hold", "    waiting: 0", "    slots: 2", "    news: 200"):
            self.assertIn(line + "\n", text)


class Slots(GatewayPingCase):
    pings, hold = "interval = 1; slots = 3;", 0.3

    def test_as_many_as_configured(self):
        for _ in range(10):
            self.wait(self.device())
        wait_for("three looks", lambda: self.upstream.most == 3)
        wait_for("a round", lambda: len(self.upstream.seen) > 20)
        self.assertEqual(self.upstream.most, 3)


class Upstream(GatewayPingCase):
    def test_what_it_is_asked(self):
        device = self.device(agent="Phone/7", version="12.1", form="base64")
        self.wait(device, folders=("a", INBOX))
        self.looked_at(device)
        ping = self.upstream.pings_of(device)[0]
        self.assertEqual((ping.heartbeat, ping.folders), (1, ["a", INBOX]))
        self.assertEqual(wbxml.text(wbxml.nodes(ping.tree, "Folders")[0][1][0], "Class"), "Email")
        for name, value in (("MS-ASProtocolVersion", "12.1"), ("User-Agent", "Phone/7"),
                            ("Authorization", device.headers()["Authorization"])):
            self.assertEqual(ping.headers[name], value)

    def test_what_it_says_reaches_the_phone(self):
        for name, said, http, status in (
                ("other folders", (200, ("Ping", [("Status", "7")])), 200, 7),
                ("trouble", (200, ("Ping", [("Status", "8")])), 200, 8),
                ("parameters", (200, ("Ping", [("Status", "3")])), 200, 3),
                ("blocked", (200, ("Ping", [("Status", "129")])), 200, 129),
                ("it wants provisioning", (200, ("Ping", [("Status", "142")])), 200, 7),
                ("as of old", (449, None), 200, 7),
                ("another password", (401, None), 401, None),
                ("gone", (404, None), 404, None)):
            with self.subTest(name):
                self.upstream.answers = {"ann": said}
                device = self.device()
                self.start_ping(device)
                answer = device.receive()
                self.assertEqual((answer.http, answer.status), (http, status), answer)
                self.assertEqual("WWW-Authenticate" in answer.headers, http == 401)

    def test_too_many_folders_for_it(self):
        self.upstream.answers["ann"] = 200, ("Ping", [("Status", "6"), ("MaxFolders", "2")])
        device = self.device()
        self.start_ping(device)
        self.assertStatus(device.receive(), 6, ("MaxFolders", "2"))
        self.assertStatus(device.command("Ping", None, key=None), 3)  # say it all, and less

    def test_it_takes_no_heartbeat_so_short(self):
        self.upstream.least = 3
        device = self.wait(self.device())
        wait_for("the one it takes", lambda: self.figures()["heartbeat"] == 3)
        self.upstream.news.add("ann")
        self.assertNews(device.receive())
        self.assertEqual(self.upstream.seen[-1].heartbeat, 3)

    def test_trouble_is_waited_out(self):
        device = self.device()
        self.upstream.answers["ann"] = 503, None
        self.start_ping(device)
        wait_for("failures", lambda: self.figures()["failures"] >= 2)
        del self.upstream.answers["ann"]
        self.upstream.news.add("ann")
        self.assertNews(device.receive())
        self.assertEqual(self.figures()["failures"], 0)

    def test_down_and_up(self):
        self.upstream.hold = 0.2
        devices = [self.wait(self.device()) for _ in range(20)]
        self.upstream.stop()
        wait_for("failures", lambda: self.figures()["failures"] >= 2)
        self.assertEqual(self.waiting(), 20)
        before = len(self.upstream.seen)
        self.upstream.most = 0
        self.upstream.start()
        wait_for("looks again", lambda: self.figures()["failures"] == 0)
        self.assertLessEqual(len(self.upstream.seen) - before, 4)  # no storm
        wait_for("a round", lambda: len({p.device for p in self.upstream.seen[before:]}) == 20)
        self.assertLessEqual(self.upstream.most, 2)
        self.upstream.news.add("ann")
        for device in devices:
            self.assertNews(device.receive())


class Parameters(GatewayPingCase):
    def test_limits(self):
        device = self.device()
        for heartbeat, nearest in ((0, 1), (901, 900)):
            self.assertStatus(device.ping(heartbeat, [INBOX]), 5,
                              ("HeartbeatInterval", str(nearest)))
        self.assertStatus(device.ping(LONG, list("abcd")), 6, ("MaxFolders", "3"))
        self.assertStatus(device.command("Ping", ("Ping", [("Status", "1")]), key=None), 4)
        self.assertEqual(self.upstream.seen, [])

    def test_missing_and_remembered(self):
        device = self.device()
        self.assertStatus(device.command("Ping", None, key=None), 3)
        self.assertStatus(device.ping(1, []), 3)
        self.assertStatus(device.ping(1, ["a"]), 1)
        self.assertStatus(device.command("Ping", None, key=None), 1)
        self.upstream.news.add("ann")
        self.assertNews(device.ping(LONG, []), "a")
        self.assertNews(device.ping(None, ["b"]), "b")
        self.server.restart()
        device.close()
        self.assertStatus(device.command("Ping", None, key=None), 3)

    def test_the_heartbeat_ends(self):
        began = time.monotonic()
        self.assertStatus(self.device().ping(2, [INBOX]), 1)
        self.assertGreaterEqual(time.monotonic() - began, 1.95)


class Life(GatewayPingCase):
    def test_a_policy_that_changes(self):
        device = self.device()
        device.handshake()
        self.wait(device)
        self.admin.policy("MinDevicePasswordLength=9")
        self.assertStatus(device.receive(), 7)
        self.assertRefused(device.foldersync(), "FolderSync", 143, "14.1")

    def test_orders(self):
        for name, status in (("block", 129), ("wipe", 140)):
            with self.subTest(name):
                device = self.device(version="16.1")
                device.handshake()
                self.wait(device)
                self.admin("device", name, "ann", device.device_id)
                self.assertStatus(device.receive(), 7)
                self.assertRefused(device.foldersync(), "FolderSync", status, "16.1")

    def test_a_second_ping_ends_the_first(self):
        device = self.wait(self.device())
        other = self.device(device_id=device.device_id)
        self.start_ping(other)
        first = device.receive()
        self.assertEqual((first.http, first.headers["Retry-After"]), (503, "10"))
        wait_for("one Ping", lambda: self.waiting() == 1)
        self.upstream.news.add("ann")
        self.assertNews(other.receive())

    def test_peers_go_away(self):
        self.upstream.hold = 0.5
        devices = [self.wait(self.device()) for _ in range(10)]
        self.looked_at(devices[9])
        for device in devices:
            reset = struct.pack("ii", 1, 0)  # linger for no time
            device.connect().sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
            device.close()
        wait_for("the end of all Pings", lambda: self.waiting() == 0)
        wait_for("the end of all looks", lambda: self.figures()["looking"] == 0)
        self.assertEqual(self.figures()["waiting"], 0)

    def test_news_for_one_that_has_just_gone(self):
        """A phone changes its network: what the look of its old Ping finds, the new one is told."""
        self.upstream.hold = 1
        device = self.device()
        self.start_ping(device)
        wait_for("the look", lambda: self.upstream.under_way == 1)
        self.upstream.news.add("ann")
        other = self.device(device_id=device.device_id)
        self.start_ping(other)
        self.assertEqual(device.receive().http, 503)
        self.assertNews(other.receive())

    def test_the_server_stops(self):
        self.upstream.hold = 2
        devices = [self.wait(self.device()) for _ in range(10)]
        wait_for("looks", lambda: self.upstream.under_way == 2)
        devices[0].close()
        self.server.stop()  # checks the exit code and the sanitizers
        self.server.start()


class Pass(GatewayPingCase):
    pings = 'mode = "pass";'

    def test_as_it_is(self):
        self.upstream.hold = 0.5
        devices = [self.device() for _ in range(4)]
        for device in devices:
            self.start_ping(device, heartbeat=60)
        for device in devices:
            self.assertStatus(device.receive(), 1)
        self.assertEqual([p.heartbeat for p in self.upstream.seen], [60] * 4)
        self.assertEqual(self.upstream.most, 4)
        self.upstream.hold = 30
        device = self.wait(devices[0])
        self.assertEqual(self.figures(), {"mode": "pass"})
        self.admin("device", "block", "ann", device.device_id)
        self.assertStatus(device.receive(), 7)


if __name__ == "__main__":
    unittest.main()

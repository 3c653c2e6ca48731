"""Clocks that are set, hours and days back and forth, while the server runs: nobody is let in who must
stay out, nobody stays out for good, nothing breaks."""

import http.client
import random
import threading
import time
import unittest

from harness.api import Api
from harness.case import ServerCase
from harness.clock import DAY, HOUR, MINUTE, Clock
from harness.eas import Device
from harness.server import Server, wait_for
from harness.upstream import Upstream, gateway

STEPS = (5 * HOUR, -5 * HOUR, -3 * DAY, 10 * DAY, -400 * DAY, 800 * DAY, -(400 + 7) * DAY)


def stepped(**how):
    """A server with a clock of its own, server.clock."""
    server = Server(start=False, **how)
    server.clock = Clock(server.dir)
    server.env = server.clock.env
    return server.start()


class ClockCase(ServerCase):
    @classmethod
    def setUpClass(cls):
        cls.admin = None

    def server_with(self, config="", **how):
        self.server = stepped(config=config, **how)
        self.addCleanup(self.server.close)
        self.admin, self.clock = self.server.admin, self.server.clock
        return self.server

    def order(self, what, device, *more):
        return self.admin("device", what, device.user, device.device_id, *more)


class Phone(threading.Thread):
    """Handshakes again and again, and is refused for nothing but the reason that it should be."""

    def __init__(self, server, number):
        super().__init__(daemon=True)
        self.device = Device(server, device_id=f"CLOCK{number}")
        self.over, self.handshakes, self.wrong = threading.Event(), 0, None

    def run(self):
        try:
            while not self.over.is_set():
                answer = self.device.provision_ack(self.device.offer())
                if answer.policy_status == 5:  # an offer is good for a day
                    continue
                self.device.key = int(answer.key)
                answer = self.device.foldersync()
                assert (answer.http, answer.status) == (200, 1), answer
                self.handshakes += 1
        except (AssertionError, OSError, http.client.HTTPException) as wrong:
            self.wrong = wrong


class Handshakes(ClockCase):
    def test_the_clock_goes_wild_meanwhile(self):
        server = self.server_with()
        kept = [self.device() for _ in range(3)]
        for device in kept:
            device.handshake()
        phones = [Phone(server, i) for i in range(4)]
        for phone in phones:
            phone.start()
        chance = random.Random(3)
        for _ in range(60):
            self.clock.set(chance.choice((0, HOUR, -HOUR, 5 * DAY, -5 * DAY, 900 * DAY, -900 * DAY)))
            time.sleep(0.03)
            for device in kept:
                self.assertFolders(device.foldersync())
        for phone in phones:
            phone.over.set()
            phone.join()
            self.assertIsNone(phone.wrong)
            self.assertGreater(phone.handshakes, 10)
        self.assertTrue(self.admin("audit", "--verify")["good"])
        server.restart(kill=True)
        for device in kept:
            device.close()
            self.assertFolders(device.foldersync())

    def test_each_step_with_an_offer_open(self):
        """An offer is good for a day. Whatever the clock says, the way through is never shut."""
        self.server_with()
        for step in STEPS:
            with self.subTest(hours=step / HOUR):
                device = self.device()
                temporary = device.offer()
                self.clock.step(step)
                answer = device.provision_ack(temporary)
                self.assertEqual((answer.http, answer.status), (200, 1), answer)
                self.assertEqual(answer.policy_status, 5 if step > DAY else 1, answer)
                device.handshake()
                self.assertFolders(device.foldersync())

    def test_a_restart_in_another_year(self):
        server = self.server_with()
        device = self.device()
        device.handshake()
        for step in STEPS:
            server.stop()
            self.clock.step(step)
            server.start()
            device.close()
            with self.subTest(hours=step / HOUR):
                self.assertFolders(device.foldersync())
                new = self.device()
                new.handshake()
                self.assertFolders(new.foldersync())


class Refresh(ClockCase):
    def refreshed(self, hours):
        self.server_with()
        self.admin.policy(f"RefreshInterval={hours}h", "DevicePasswordEnabled=1")
        device = self.device()
        device.handshake()
        self.assertFolders(device.foldersync())
        return device

    def test_forth(self):
        device = self.refreshed(12)
        self.clock.step(13 * HOUR)
        self.assertRefused(device.foldersync(), "FolderSync", 143, "14.1")
        device.handshake()
        self.assertFolders(device.foldersync())

    def test_back(self):
        """A key of tomorrow opens, and is not good for ever."""
        device = self.refreshed(12)
        self.clock.step(-30 * HOUR)
        self.assertFolders(device.foldersync())
        device.handshake()
        self.assertFolders(device.foldersync())
        self.clock.step(13 * HOUR)
        self.assertRefused(device.foldersync(), "FolderSync", 143, "14.1")

    def test_forth_and_back_while_it_is_due(self):
        device = self.refreshed(12)
        self.clock.step(20 * DAY)
        self.assertRefused(device.foldersync(), "FolderSync", 143, "14.1")
        device.handshake()
        self.clock.step(-20 * DAY)
        self.assertFolders(device.foldersync())
        self.clock.step(20 * DAY + 13 * HOUR)
        self.assertRefused(device.foldersync(), "FolderSync", 143, "14.1")
        device.handshake()
        self.assertFolders(device.foldersync())


class Wipes(ClockCase):
    def pending(self, *more):
        self.server_with()
        device = self.device()
        device.handshake()
        self.order("wipe", device, "--whole-device", "--yes", *more)
        return device

    def assertOut(self, device):
        answer = device.foldersync()
        self.assertEqual(answer.http, 200)
        self.assertIn(answer.status, (129, 140), answer)

    def test_an_expiry_that_comes_and_goes(self):
        """Once it was seen to be over it stays so; in no year is the device let in."""
        device = self.pending("--expires", "2h")
        for step in (-30 * DAY, 30 * DAY + HOUR, 3 * HOUR, -5 * HOUR, -300 * DAY, 400 * DAY):
            self.clock.step(step)
            self.assertOut(device)
            self.assertEqual(device.provision_initial().policy_status, None)
        self.assertRefused(device.foldersync(), "FolderSync", 129, "14.1")
        self.order("allow", device)
        self.assertRefused(device.foldersync(), "FolderSync", 144, "14.1")
        device.handshake()
        self.assertFolders(device.foldersync())

    def test_an_expiry_that_nobody_sees(self):
        """The sweep of another year, and back: blocked, and an administrator lets it in again."""
        device = self.pending("--expires", "2h")
        self.clock.step(3 * HOUR)
        shown = self.admin("device", "show", device.user, device.device_id)
        self.assertEqual(shown["state"], "blocked")
        self.clock.step(-3 * HOUR)
        self.assertOut(device)
        if self.admin("device", "show", device.user, device.device_id)["state"] == "wipe-pending":
            self.order("cancel-wipe", device)
        else:
            self.order("allow", device)
            device.handshake()
        self.assertFolders(device.foldersync())

    def test_an_acknowledgement_in_another_year(self):
        for step in STEPS:
            with self.subTest(hours=step / HOUR):
                device = self.pending()
                self.assertTrue(device.poll().has("RemoteWipe"))
                self.clock.step(step)
                self.assertOut(device)
                answer = device.wipe_ack(1)
                self.assertEqual((answer.status, answer.has("RemoteWipe")), (1, False), answer)
                self.clock.step(-step)
                self.assertRefused(device.foldersync(), "FolderSync", 129, "14.1")

    def test_blocks(self):
        self.server_with()
        device = self.device()
        device.handshake()
        self.order("block", device)
        for step in STEPS:
            self.clock.step(step)
            self.assertRefused(device.foldersync(), "FolderSync", 129, "14.1")
        self.order("allow", device)
        self.assertFolders(device.foldersync())


class Loops(ClockCase):
    def test_who_loops_comes_free_in_every_year(self):
        for step in STEPS:
            with self.subTest(hours=step / HOUR):
                self.server_with(config="damping = true;")
                device = self.device()
                for _ in range(2000):
                    answer = device.foldersync(key=0)
                    if answer.http == 200 and answer.status == 129:
                        break
                else:
                    self.fail("never blocked")
                self.clock.step(step)
                left = 31 * MINUTE  # as long as a block for looping may last
                if device.foldersync(key=0).status == 129:
                    self.clock.step(left)
                device.handshake()
                self.assertFolders(device.foldersync())
                self.clock.step(-step)  # the block of before is no block of now
                self.assertFolders(device.foldersync())

    def test_who_does_not_loop_is_not_slowed(self):
        self.server_with(config="damping = true;")
        devices = [self.device() for _ in range(3)]
        for device in devices:
            device.handshake()
        for step in STEPS * 4:
            self.clock.step(step)
            for device in devices:
                self.assertFolders(device.foldersync())


class Waiting(ClockCase):
    def test_a_ping_lasts_as_long_as_it_should(self):
        self.server_with()
        device = self.device()
        device.handshake()
        inbox = device.foldersync().text("Changes/Add/ServerId")
        device.start("Ping", device.ping_tree(60, [inbox]), key=None)
        wait_for("the Ping to wait", lambda: self.admin("status")["waiting_pings"] == 1)
        for step in STEPS:
            self.clock.step(step)
            time.sleep(0.05)
        self.assertEqual(self.admin("status")["waiting_pings"], 1)
        self.server.maildir(device.user).deliver(subject="now")
        self.assertEqual(device.receive().status, 2)

    def test_a_token_ends_by_the_clock(self):
        self.server_with(admin_tls=True)
        made = self.admin("token", "add", "watch", "--scope", "read", "--expires", "2h")
        api = Api(self.server, tls=True, token=made["token"])
        self.addCleanup(api.close)
        for step, code in ((0, 200), (3 * HOUR, 401), (-300 * DAY, 200), (300 * DAY, 401)):
            self.clock.step(step)
            self.assertEqual(api("GET", "/v1/devices").http, code)


class Gateway(unittest.TestCase):
    def test_an_upstream_that_is_down_while_the_clock_is_set_back(self):
        """Nobody is told to wait for as long as the clock was set back."""
        with Upstream() as upstream, gateway(upstream, "health_interval = 5;", start=False) as server:
            clock = Clock(server.dir)
            server.env = clock.env
            server.start()
            device = Device(server)
            device.handshake()
            assert device.foldersync().http == 200
            upstream.stop()
            wait_for("the upstream to be known as down", lambda: device.foldersync().http == 503 and
                     "upstream-down" in server.log)
            clock.step(-10 * HOUR)
            for _ in range(3):
                answer = device.foldersync()
                self.assertEqual(answer.http, 503)
                self.assertLessEqual(int(answer.headers["Retry-After"]), 60, answer.headers)
            with Upstream(port=upstream.port):
                wait_for("the upstream to be found again", lambda: device.foldersync().http == 200)
            device.close()


if __name__ == "__main__":
    unittest.main()

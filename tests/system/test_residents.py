"""More partnerships than there is room for in memory: they leave, and come back as they were."""

import concurrent.futures
import time

from harness.case import OwnServerCase
from harness.eas import Device
from harness.fleet import store_of
from harness.server import wait_for

ROOM = 1000
USERS, EACH = 625, 8  # 5,000 devices
OWN = 60              # users whose first device has made its handshake itself


class Residents(OwnServerCase):
    config = f"partnerships_in_memory = {ROOM};\ndamping = true;"
    users = {f"u{n:03}": "secret" for n in range(USERS)}

    def setUp(self):
        super().setUp()
        self.keys = {}

    def user(self, n):
        return f"u{n:03}"

    # ---- devices ----
    def each(self, names, ask):
        """ask(device) for each (user, device_id), some at a time; the answers in order."""
        def one(name):
            device = Device(self.server, user=name[0], password="secret", device_id=name[1])
            try:
                return ask(device)
            finally:
                device.close()
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            return list(pool.map(one, names))

    def fill(self):
        """Handshakes of some, and of the others rows as if they had made one."""
        own = [(self.user(n), "D0") for n in range(OWN)]
        self.keys.update(zip(own, self.each(own, lambda device: device.handshake())))
        self.server.stop()
        with store_of(self.server) as database:
            titles = [row[1] for row in database.execute("PRAGMA table_info(device)")]
            row = dict(zip(titles, database.execute("SELECT * FROM device LIMIT 1").fetchone()))
            copies = []
            for n in range(USERS):
                for i in range(n < OWN, EACH):
                    name, key = (self.user(n), f"D{i}"), 1000000 + n * EACH + i
                    self.keys[name] = key
                    copies.append(dict(row, user=name[0], device_id=name[1], key=key, tag=key))
            places = ", ".join(":" + title for title in titles)
            database.executemany(f"INSERT INTO device ({', '.join(titles)}) VALUES ({places})",
                                 copies)
        self.server.start()

    def assertOpen(self, names):
        told = self.each(names, lambda device: device.foldersync(
            key=self.keys[device.user, device.device_id]).status)
        self.assertEqual([name for name, status in zip(names, told) if status != 1], [])

    def in_memory(self):
        return self.admin("status")["devices_in_memory"]

    def shown(self, name):
        return self.admin("device", "show", *name)

    def thrash(self, but=()):
        """Everybody comes, so that nobody stays."""
        users = [self.user(n) for n in range(OWN, USERS)]
        self.assertOpen([(user, "D1") for user in users if user not in but])

    def kill(self):
        self.server.kill()
        self.server.start()

    # ---- tests ----
    def test_every_key_opens_and_memory_has_room_for_some(self):
        self.fill()
        self.assertEqual(self.admin("status")["devices"], USERS * EACH)
        self.assertEqual(self.in_memory(), 0)
        names = sorted(self.keys)
        self.assertOpen(names[::3])
        self.assertOpen(names[1::3])
        self.kill()
        self.assertOpen(names)
        self.thrash()
        self.assertEqual(self.admin("status")["devices"], USERS * EACH)
        wait_for("room", lambda: self.in_memory() < ROOM + ROOM // 4)
        wrong = self.each(names[:50], lambda device: device.foldersync(key=77).status)
        self.assertEqual(set(wrong), {144})

    def test_what_was_ordered_holds(self):
        self.fill()
        blocked, wiped, user = (self.user(1), "D0"), (self.user(2), "D3"), self.user(3)
        self.admin("device", "block", *blocked)
        self.admin("device", "wipe", *wiped, "--whole-device", "--yes")
        self.admin("user", "disable", user)
        for again in range(3):
            with self.subTest(again=again):
                self.thrash()
                self.assertEqual(self.each([blocked], lambda device: device.foldersync(
                    key=self.keys[blocked]).status), [129])
                self.assertEqual(self.each([wiped], lambda device: device.foldersync(
                    key=self.keys[wiped]).status), [140])
                self.assertEqual(self.each([(user, "D1")], lambda device: device.foldersync(
                    key=self.keys[user, "D1"]).status), [126])
                self.assertEqual(self.shown(blocked)["state"], "blocked")
                if again == 1:
                    self.kill()
        device = self.device("14.1", user=wiped[0], password="secret", device_id=wiped[1])
        self.assertTrue(device.poll().has("RemoteWipe"))
        self.assertEqual(device.wipe_ack().status, 1)
        self.thrash()
        self.assertEqual(self.shown(wiped)["state"], "wiped")

    def test_a_waiting_ping_hears_of_a_block(self):
        self.fill()
        name = (self.user(1), "D0")
        device = self.device("14.1", user=name[0], password="secret", device_id=name[1])
        self.assertEqual(device.foldersync(key=self.keys[name]).status, 1)
        device.start("Ping", device.ping_tree(heartbeat=600), key=None)
        wait_for("it to wait", lambda: self.admin("status")["waiting_pings"] == 1)
        self.thrash()
        begun = time.monotonic()
        self.admin("device", "block", *name)
        self.assertEqual(device.receive().status, 7)
        self.assertLess(time.monotonic() - begun, 10)

    def test_a_loop_is_slowed_all_the_same(self):
        self.fill()
        name = (self.user(1), "D0")
        device = self.device("14.1", user=name[0], password="secret", device_id=name[1])
        answers = [device.foldersync(key=99).http for _ in range(25)]
        self.thrash()
        answers += [device.foldersync(key=99).http for _ in range(25)]
        self.assertIn(503, answers)
        self.thrash()
        self.assertEqual(device.foldersync(key=99).http, 503)
        self.assertEqual(device.foldersync(key=self.keys[name]).http, 503)
        self.assertEqual(self.admin("device", "why", *name)["cause"], "slowed")

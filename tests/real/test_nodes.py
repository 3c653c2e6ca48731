"""Two servers over one PostgreSQL: what is done at one is in force at the other, and what is done at both at
a time is done once, or told (docs/consistency.md)."""

import concurrent.futures
import itertools
import shutil
import time
import unittest

from cluster import LEASE, Cluster
from harness.admin import Failed
from harness.eas import Device
from harness.server import wait_for

CONFLICT = "It was changed meanwhile on another server; look at it and try again."
SOON = 1.0  # seconds; a notification takes milliseconds, but the machine may be busy


class NodesCase(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = cls.enterClassContext(Cluster(2, users=("ann", "bob", "carl")))
        cls.nodes = cls.cluster.nodes
        cls.serial = itertools.count(1)

    def both(self, run, *args):
        """run(node, *args) at each, at a time."""
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            return [one.result() for one in [pool.submit(run, node, *args) for node in self.nodes]]

    def pair(self, user="ann"):
        """One device, as it comes to each of them."""
        name = f"BOTH{next(self.serial)}"
        made = [Device(node, user=user, device_id=name) for node in self.nodes]
        for device in made:
            self.addCleanup(device.close)
        return made

    def enrolled(self, user="ann"):
        first, second = pair = self.pair(user)
        offered = first.provision_initial()
        second.key = first.key = second.provision_ack(offered.key).key
        for device in pair:
            self.assertEqual(device.foldersync().status, 1)
        return pair

    def assertSoon(self, status, device):
        wait_for(f"Status {status}", lambda: device.foldersync().status == status, SOON)


class InForce(NodesCase):
    def test_a_block_an_allowance_and_a_wipe(self):
        first, second = self.enrolled()
        one, other = self.nodes
        one.admin("device", "block", first.user, first.device_id)
        self.assertEqual(first.foldersync().status, 129)
        self.assertSoon(129, second)
        other.admin("device", "allow", first.user, first.device_id)
        self.assertEqual(second.foldersync().status, 1)
        self.assertSoon(1, first)  # which has asked a moment ago, and remembers that
        other.admin("device", "wipe", first.user, first.device_id, "--whole-device", "--yes")
        self.assertSoon(140, first)

    def test_a_user(self):
        first, second = self.enrolled("bob")
        one, other = self.nodes
        one.admin("user", "disable", "bob")
        self.assertSoon(126, second)
        other.admin("user", "enable", "bob")
        for device in (second, first):
            self.assertEqual(device.foldersync().status, 1)

    def test_a_policy_and_a_rule(self):
        first, second = self.enrolled("carl")
        one, other = self.nodes
        one.admin("policy", "new", "strict", "DevicePasswordEnabled=1")
        other.admin("policy", "assign", "strict", "--user", "carl")
        self.assertEqual(second.foldersync().status, 143)
        self.assertSoon(143, first)
        one.admin("policy", "unassign", "--user", "carl")
        self.assertSoon(1, second)
        number = other.admin("rule", "add", "block", "DeviceType=TestPhone", "--yes")["id"]
        self.assertSoon(129, first)
        one.admin("rule", "remove", str(number))
        for device in (first, second):
            self.assertSoon(1, device)

    def test_a_ping_that_waits_at_the_other(self):
        first, second = self.enrolled()
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            waits = pool.submit(second.ping, 60)
            wait_for("it to wait", lambda: self.nodes[1].admin("status")["waiting_pings"] > 0)
            self.nodes[0].admin("device", "block", first.user, first.device_id)
            self.assertEqual(waits.result(10).status, 7)

    def test_status(self):
        stores = [node.admin("status")["store"] for node in self.nodes]
        for number, store in enumerate(stores):
            self.assertEqual((store["kind"], store["node"]), ("postgresql", f"node{number}"))
            self.assertTrue(store["heard"] and store["lists_known"], store)
            self.assertLess(store["heard_seconds_ago"], LEASE)
        self.assertEqual([store["leader"] for store in stores].count(True), 1)


class AtATime(NodesCase):
    def test_edits_of_one_policy(self):
        """Each that is told to be done is in the history, in order; each other one is told."""
        one, other = self.nodes
        before = len(one.admin("policy", "revisions", "default"))

        def edit(node):
            done, told = [], 0
            for turn in range(15):
                length = 4 + (turn + node.number) % 3
                try:
                    answer = node.admin("policy", "set", "default", f"MinDevicePasswordLength={length}")
                except Failed as error:
                    self.assertIn(CONFLICT, str(error))
                    told += 1
                else:
                    done += [answer["revision"]] if answer["changed"] else []
            return done, told

        (first, told), (second, told_too) = self.both(edit)
        history = [row["revision"] for row in one.admin("policy", "revisions", "default")]
        self.assertEqual(sorted(first + second), sorted(history)[before:])
        self.assertEqual(len(set(first + second)), len(first) + len(second))
        wait_for("both to know it", lambda: one.admin("policy", "show", "default")["revision"] ==
                 other.admin("policy", "show", "default")["revision"], SOON)

    def test_handshakes(self):
        """One key opens the gate, at both; who has another one finds its way."""
        for _ in range(10):
            pair = self.pair()
            offers = [device.provision_initial().key for device in pair]
            told = self.both(lambda node: pair[node.number].provision_ack(offers[node.number]))
            keys = [answer.key for answer in told if answer.policy_status == 1]
            self.assertGreater(len(keys), 0, told)
            opens = set()
            for key in keys:
                seen = {device.foldersync(key=key).status for device in pair}
                self.assertTrue(seen == {1} or seen <= {142, 144}, (seen, told))
                opens |= {key} if seen == {1} else set()
            self.assertEqual(len(opens), 1, told)
            offered = pair[0].provision_initial()
            key = pair[1].provision_ack(offered.key).key
            self.assertEqual([device.foldersync(key=key).status for device in pair], [1, 1])

    def test_new_folders(self):
        """The same ServerId, whoever has found the folder first; and of one device the tree that its key
        says."""
        one, other = self.nodes
        shutil.rmtree(other.dir / "mail")
        (other.dir / "mail").symlink_to(one.dir / "mail")
        mine, theirs = self.enrolled(), self.enrolled()
        for turn in range(12):
            one.maildir("ann").folder(f"New{turn}")
            devices = [mine[0], theirs[1]]
            answers = self.both(lambda node: devices[node.number].foldersync())
            ids = [self.ids(answer) for answer in answers]
            self.assertIn(f"New{turn}", ids[0])
            self.assertEqual(ids[0], ids[1])
        for turn in range(12):
            key = self.key(mine[0].foldersync())
            one.maildir("ann").folder(f"More{turn}")
            self.both(lambda node: mine[node.number].foldersync(key))
            # Neither answer has come: it says the old key again, and hears of the folder.
            again = mine[turn % 2].foldersync(key)
            self.assertEqual(again.status, 1)
            self.assertIn(f"More{turn}", self.ids(again))
            self.assertEqual(self.ids(mine[0].foldersync(self.key(again))), {})

    def key(self, answer):
        return dict(answer.tree[1][:2])["SyncKey"]

    def ids(self, answer):
        self.assertEqual((answer.http, answer.status), (200, 1), answer)
        return {dict(fields)["DisplayName"]: dict(fields)["ServerId"]
                for name, fields in answer.tree[1][2][1] if name == "Add"}


class Unheard(NodesCase):
    def test_nobody_is_let_in(self):
        first, second = self.enrolled()
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            waits = pool.submit(second.ping, 60)
            wait_for("it to wait", lambda: self.nodes[1].admin("status")["waiting_pings"] > 0)
            self.cluster.way(1, "stall")
            self.nodes[0].admin("device", "block", first.user, first.device_id)
            returned = time.monotonic()
            while (answer := second.foldersync(key=first.key)).http != 503:
                self.assertEqual(answer.status, 1)
                self.assertLess(time.monotonic(), returned + LEASE + SOON)
                time.sleep(0.02)
            self.assertGreater(int(answer.headers["Retry-After"]), 0)
            store = self.nodes[1].admin("status")["store"]
            self.assertFalse(store["heard"], store)
            self.nodes[1].maildir("ann").deliver()  # which it does not tell
            self.assertEqual(waits.result(20).http, 503)
            for ask in (second.provision_initial, second.ping):
                self.assertEqual(ask().http, 503)
        self.cluster.way(1, "pass")
        wait_for("it to be back", lambda: second.foldersync(key=first.key).status == 129)
        self.assertEqual(self.nodes[1].log.count("store-unheard"), 1)
        self.assertEqual(self.nodes[1].log.count("store-heard"), 1)


if __name__ == "__main__":
    unittest.main()

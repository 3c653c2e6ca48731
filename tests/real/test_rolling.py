"""Servers over one PostgreSQL that are given another configuration, or are restarted, one after the other, while
phones go on."""

import concurrent.futures
import http.client
import itertools
import re
import signal
import time
import unittest

from cluster import Cluster
from harness.eas import Device
from harness.server import wait_for

PHONES = 40


class RollingCase(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = cls.enterClassContext(Cluster(2, users=("ann", "bob"),
                                                    config="ping = { heartbeat_min = 1; };"))
        cls.nodes = cls.cluster.nodes
        cls.serial = itertools.count(1)

    def device(self, node, name=None, user="ann"):
        made = Device(node, user=user, device_id=name or f"ROLLING{next(self.serial)}")
        self.addCleanup(made.close)
        return made

    def enrolled(self, node, user="ann"):
        device = self.device(node, user=user)
        device.handshake()
        self.assertEqual(device.foldersync().status, 1)
        return device

    def elsewhere(self, device, node):
        """The same phone, as it comes to another server."""
        other = self.device(node, device.device_id, device.user)
        other.key = device.key
        return other

    def reload(self, node, groups):
        text = node.config_file.read_text(encoding="utf-8")
        text = re.sub(r"^groups = .*\n", "", text, flags=re.M) + f"groups = {{ {groups} }};\n"
        node.config_file.write_text(text, encoding="utf-8")
        before = node.log.count(" reloaded ")
        node.reload()
        wait_for("the reload", lambda: node.log.count(" reloaded ") > before)


class Reloads(RollingCase):
    def test_groups_stay_when_another_server_changes_policies(self):
        one, other = self.nodes
        ann = self.enrolled(one)
        one.admin("policy", "new", "strict", "MinDevicePasswordLength=8")
        for node in self.nodes:
            self.reload(node, 'sales = ["ann"];')
        other.admin("policy", "assign", "strict", "--group", "sales")
        for node in self.nodes:
            wait_for("the assignment", lambda node=node: self.elsewhere(
                ann, node).foldersync().status == 143)
        ann.handshake()
        # Lists are read again by the first one, with the groups of its file.
        other.admin("policy", "set", "strict", "MinDevicePasswordLength=9")
        wait_for("the revision", lambda: ann.foldersync().status == 143)
        ann.handshake()
        for node in self.nodes:
            self.reload(node, "")
        for node in self.nodes:
            self.assertEqual(self.elsewhere(ann, node).foldersync().status, 143)


class Restarts(RollingCase):
    def test_phones_that_wait_come_to_another_server(self):
        one, other = self.nodes
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            phones = list(pool.map(lambda _: self.enrolled(one), range(PHONES)))
        before = one.admin("status")["waiting_pings"]
        for phone in phones:
            phone.start("Ping", phone.ping_tree(600))
        wait_for("all to wait",
                 lambda: one.admin("status")["waiting_pings"] == before + PHONES)
        time.sleep(1.1)
        begin = time.monotonic()
        one.stop()
        self.assertLess(time.monotonic() - begin, 5)
        for phone in phones:
            answer = phone.receive()
            self.assertEqual((answer.http, answer.status), (200, 1))
            self.assertEqual(self.elsewhere(phone, other).foldersync().status, 1)
        one.start()

    def test_handshakes_while_each_server_is_restarted(self):
        """A phone that finds nobody, or loses its answer, tries the other one; no key is lost."""
        def live(number):
            device_id, key, done, good = f"LIVES{number}", 0, 0, False
            end = time.monotonic() + 6
            for node in itertools.cycle(self.nodes):
                if time.monotonic() > end and good:
                    return key, done
                phone = self.device(node, device_id)
                phone.key, good = key, False
                try:
                    if not key or phone.foldersync().status != 1:
                        phone.handshake()
                    key, done, good = phone.key, done + 1, True
                except (OSError, http.client.HTTPException, AssertionError, TypeError):
                    time.sleep(0.05)
                finally:
                    phone.close()
        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            lives = [pool.submit(live, number) for number in range(6)]
            for node in self.nodes:
                time.sleep(1)
                node.restart()
            ends = [life.result() for life in lives]
        self.assertGreater(min(done for _, done in ends), 2)
        for number, (key, _) in enumerate(ends):
            for node in self.nodes:
                phone = self.device(node, f"LIVES{number}")
                phone.key = key
                self.assertEqual(phone.foldersync().status, 1)

    def test_a_database_that_does_not_answer_holds_up_no_stop(self):
        node = self.nodes[1]
        phone = self.enrolled(node)
        self.cluster.way(1, "stall")
        phone.start("FolderSync", ("FolderSync", [("SyncKey", "0")]), key=12345)
        time.sleep(0.3)
        begin = time.monotonic()
        node.process.send_signal(signal.SIGTERM)
        code = node.process.wait(30)
        self.assertLess(time.monotonic() - begin, 17)
        self.assertIn(code, (0, 3), node.log)
        node.process = None
        self.cluster.way(1, "pass")
        node.start()
        self.assertEqual(self.elsewhere(phone, node).foldersync().status, 1)


if __name__ == "__main__":
    unittest.main()

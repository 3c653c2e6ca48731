"""What the tests of clusters share: threads, trouble, and a case with a cluster for its class."""

import collections
import contextlib
import itertools
import os
import threading
import time
import unittest

from cluster import LEASE, Cluster
from orders import Office
from phones import Owner, Phone

from harness.admin import Failed
from harness.server import wait_for

SEED = int(os.environ.get("CLUSTER_SEED") or 5)
USERS = [f"u{i}" for i in range(100)]
_serial = itertools.count(1)


class Work:
    """Threads that end with the test, whatever happens in one of them."""

    def __init__(self):
        self.over, self.faults, self._threads = threading.Event(), [], []

    def start(self, run, *args):
        thread = threading.Thread(target=self._run, args=(run, args), daemon=True)
        self._threads.append(thread)
        thread.start()
        return thread

    def _run(self, run, args):
        try:
            run(*args)
        except BaseException as fault:  # told by the test, not by the thread
            self.faults.append(fault)
            self.over.set()

    def pause(self, seconds):
        """false: it is over."""
        return not self.over.wait(seconds)

    def join(self, threads=None):
        for thread in threads or self._threads:
            thread.join()
        if self.faults:
            raise self.faults[0]


class Trouble:
    """What befalls a cluster, one thing after the other. Everything is well again when it ends."""

    def __init__(self, cluster, chance, every=1.0):
        self.cluster, self.chance, self.every = cluster, chance, every
        self.count = collections.Counter()

    def run(self, work):
        kinds = ["kill_node", "restart_database", "kill_node", "stall", "kill_node", "kill_database", "cut",
                 "reset", "restart_node"] if self.cluster.database else ["kill_node", "restart_node"]
        for kind in itertools.cycle(kinds):
            if not work.pause(self.chance.uniform(self.every / 2, self.every * 1.5)):
                return
            getattr(self, kind)(self.chance.randrange(len(self.cluster.nodes)))
            self.count[kind] += 1

    def kill_node(self, number):
        node = self.cluster.nodes[number]
        node.kill()
        time.sleep(self.chance.uniform(0, 0.5))
        node.start()

    def restart_node(self, number):
        self.cluster.nodes[number].restart()

    def restart_database(self, _):
        self.cluster.database.restart()

    def kill_database(self, _):
        self.cluster.database.kill()
        time.sleep(self.chance.uniform(0, 0.5))
        self.cluster.database.start()

    def stall(self, number):
        self._way(number, "stall", self.chance.choice((0.5, LEASE + 1.5)))

    def cut(self, number):
        self._way(number, "cut", self.chance.choice((0.5, LEASE + 1.5)))

    def _way(self, number, what, seconds):
        self.cluster.way(number, what)
        time.sleep(seconds)
        self.cluster.way(number, "pass")

    def reset(self, number):
        self.cluster.way(number, "reset")


class ClusterCase(unittest.TestCase):
    how, kind = {}, Cluster

    @classmethod
    def setUpClass(cls):
        cls.cluster = cls.enterClassContext(cls.kind(users=USERS, **cls.how))
        cls.nodes = cls.cluster.nodes

    def phone(self, seen=None, user=None):
        number = next(_serial)
        return Phone(user or USERS[number % len(USERS)], f"CLU{number:06}", seen)

    def owner(self, *nodes, **how):
        made = Owner(nodes or self.nodes, **how)
        self.addCleanup(made.close)
        return made

    def office(self, *nodes, **how):
        made = Office(nodes or self.nodes, **how)
        self.addCleanup(made.close)
        return made

    @contextlib.contextmanager
    def background(self, work, *runs):
        """run(work) of each in a thread, until the end of the block."""
        for run in runs:
            work.start(run, work)
        try:
            yield
        finally:
            work.over.set()
        work.join()

    def until_in(self, phone, *nodes):
        """Each node lets it in, soon."""
        owner = self.owner()
        for node in nodes or self.nodes:
            wait_for(f"node {node.number} to let {phone.device_id} in",
                     lambda: phone.folders(owner.lines[node], phone.key).what == "in")
        owner.close()

    def work(self):
        work = Work()
        self.addCleanup(work.over.set)
        return work

    def enrolled(self, *nodes):
        phone = self.phone()
        self.assertEqual(self.owner(*nodes).handshake(phone), "in")
        return phone

    def assertWhole(self):
        """The audit log, as each node verifies it."""
        def verified(node):
            with contextlib.suppress(Failed):
                return node.admin("audit", "--verify")

        for node in self.nodes:
            found = wait_for("a node to read the audit log", lambda n=node: verified(n))
            self.assertTrue(found["good"], found)
        wait_for("all to see the same end of it",
                 lambda: len({str((verified(node) or {}).get("head")) for node in self.nodes}) == 1)

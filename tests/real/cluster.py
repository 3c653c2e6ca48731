"""Several provostd over one PostgreSQL, and everything that can come between them.

    with Cluster(3) as cluster:
        cluster.nodes[0].admin("device", "list")
        cluster.way(1, "stall")           # nothing goes between the second node and the database
        cluster.nodes[2].restart(kill=True)
        cluster.database.kill()

Each node has its own state directory, port and administration socket, and reaches the database through
a proxy (proxy.py). In an Isolated cluster the last node lives in a network namespace of its own. A cluster of
one may have SQLite, for what must hold there too.
"""

import contextlib
import itertools
import os
import random
import subprocess
import unittest

from proxy import Proxy
from servers import Postgresql, free_port

from harness.server import Server

PASSWORD = "secret"
LEASE = 2  # seconds, the least that a configuration may say
_serial = itertools.count(1)


class Node(Server):
    """address: where it listens; store: None for SQLite; within: a command line that starts it."""

    def __init__(self, number, users, store, config="", address="127.0.0.1", within=()):
        self.number, self.address, self.within = number, address, list(within)
        self.fixed = free_port()  # there again after a restart
        lines = [f'listen = "{address}:{self.fixed}";', f'node = "node{number}";', config]
        if store:
            lines += [f'store = "{store}";', f"store_lease = {LEASE};"]
        super().__init__(users=users, config="\n".join(lines), start=False)

    def command(self):
        return [*self.within, *super().command()]

    @property
    def runs(self):
        return self.process is not None and self.process.poll() is None


class Cluster:
    """count: of nodes; sqlite: one node, and no database that it could share; config: of each node."""

    def __init__(self, count=3, users=("ann", "bob", "carl"), sqlite=False, config=""):
        assert not sqlite or count == 1
        self.users = {name: PASSWORD for name in users}
        self.config, self.lease = config, 0 if sqlite else LEASE
        self._stack = contextlib.ExitStack()
        self.database = self.proxy = None
        self.nodes = []
        try:
            if not sqlite:
                self._start_database(count)
            for number in range(count):
                node = self.make_node(number)
                self._stack.callback(node.close)
                self.nodes.append(node)
                node.start()
        except BaseException:
            self.close()
            raise

    def _start_database(self, count):
        self.database = self._stack.enter_context(Postgresql())
        self.ports = [free_port() for _ in range(count)]
        routes = [((self.host_of(number), port), ("127.0.0.1", self.database.port))
                  for number, port in enumerate(self.ports)]
        self.proxy = Proxy(routes)
        self._stack.callback(self.proxy.close)

    def host_of(self, number):
        """Where that node finds the database."""
        return "127.0.0.1"

    def store_of(self, number):
        if self.database is None:
            return None
        name = self.database.database
        return f"postgresql://{name}@{self.host_of(number)}:{self.ports[number]}/{name}"

    def make_node(self, number, **how):
        return Node(number, self.users, self.store_of(number), self.config, **how)

    def way(self, number, *order):
        """What becomes of that node's connections to the database: words of proxy.py."""
        self.proxy(number, *order)

    def close(self):
        """Everything is well again before: the end of a node checks that it ends well."""
        for number in range(len(self.nodes) if self.proxy else 0):
            self.way(number, "pass")
        if self.nodes and self.database and not self.database.process:
            self.database.start()
        self._stack.close()

    def __enter__(self):
        return self

    def __exit__(self, *what):
        self.close()


class Isolated(Cluster):
    """The last node has a network of its own, with one wire to its clients and one to the database."""

    def __init__(self, count=3, **how):
        self.last = count - 1
        self.space = Namespace()
        try:
            super().__init__(count, **how)
        except BaseException:
            self.space.close()
            raise

    def host_of(self, number):
        return self.space.back[0] if number == self.last else super().host_of(number)

    def make_node(self, number, **how):
        if number == self.last:
            how = {"address": self.space.front[1], "within": self.space.within}
        return super().make_node(number, **how)

    def cut(self):
        """The wire to the database is dead: no packet goes through, and nobody is told."""
        self.space.link("down")

    def mend(self):
        self.space.link("up")

    def close(self):
        if self.nodes:
            self.mend()
        super().close()
        self.space.close()


class Namespace:
    """front, back: addresses of the host and of the one inside, of the two wires."""

    def __init__(self):
        if os.geteuid() != 0:
            raise unittest.SkipTest("only root makes network namespaces")
        self.name = f"pv{os.getpid()}x{next(_serial)}"
        net = f"198.18.{random.randrange(256)}"
        at = random.randrange(0, 256, 8)
        self.front, self.back = [(f"{net}.{at + i + 1}", f"{net}.{at + i + 2}") for i in (0, 4)]
        self.within = ["nsenter", f"--net=/run/netns/{self.name}", "--"]
        self.back_link = f"{self.name}b"
        try:
            self.ip("netns", "add", self.name)
        except (OSError, subprocess.CalledProcessError) as why:
            raise unittest.SkipTest(f"no network namespaces: {why}") from None
        try:
            for kind, (host, inside) in (("f", self.front), ("b", self.back)):
                self.wire(self.name + kind, host, inside)
            self.ip("-n", self.name, "link", "set", "dev", "lo", "up")
        except subprocess.CalledProcessError as why:
            self.close()
            raise unittest.SkipTest(f"no wires between namespaces: {why}") from None

    def wire(self, link, host, inside):
        self.ip("link", "add", link, "type", "veth", "peer", "name", link[-1], "netns", self.name)
        self.ip("addr", "add", f"{host}/30", "dev", link)
        self.ip("link", "set", "dev", link, "up")
        self.ip("-n", self.name, "addr", "add", f"{inside}/30", "dev", link[-1])
        self.ip("-n", self.name, "link", "set", "dev", link[-1], "up")

    @staticmethod
    def ip(*words):
        subprocess.run(["ip", *words], check=True, capture_output=True)

    def link(self, what):
        self.ip("link", "set", "dev", self.back_link, what)

    def close(self):
        """Its wires go with it."""
        subprocess.run(["ip", "netns", "delete", self.name], check=False, capture_output=True)

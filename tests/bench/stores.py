"""Handshakes over SQLite and over PostgreSQL beside what the disk can do, and what a second node brings.

A handshake is told when it is on the disk; how many share one fsync is counted at the programs that ask
for it: in the server itself (count_syncs.c), and by PostgreSQL (pg_stat_wal)."""

import contextlib
import subprocess
import time

from cluster import Cluster, Node
from servers import Postgresql
from harness.server import Server

GOAL_SHARED = 20  # handshakes for each fsync, at
CLIENTS = (1, 16, 64, 256)
USERS = ["ann"] + [f"u{i}" for i in range(100)]
CONFIG = 'log_level = "warn";\nconnections_max = 20000;'


class Embedded:
    """A server with SQLite, which counts."""

    name = "SQLite"

    def __init__(self, programs):
        self.server = Server(users={name: "secret" for name in USERS}, config=CONFIG, start=False)
        self.file = self.server.dir / "syncs"
        self.file.write_bytes(bytes(8))
        self.server.env = {"LD_PRELOAD": str(programs / "count_syncs.so"), "COUNT_SYNCS": str(self.file)}
        self.server.start()

    def syncs(self):
        return int.from_bytes(self.file.read_bytes(), "little")

    @property
    def disk(self):
        return self.server.dir

    def close(self):
        self.server.close()


class Shared:
    """One node over PostgreSQL, as Debian configures it."""

    name = "PostgreSQL"

    def __init__(self, programs):
        self.database = Postgresql().start()
        self.server = Node(0, {name: "secret" for name in USERS}, self.database.url, CONFIG)
        self.server.start()

    def syncs(self):
        time.sleep(1.5)  # its processes tell what they have done once a second
        return int(self.database.sql("select wal_sync from pg_stat_wal"))

    @property
    def disk(self):
        return self.database.dir

    def close(self):
        self.server.close()
        self.database.close()


def load(program, *args):
    out = subprocess.run([program, *map(str, args)], text=True, stdout=subprocess.PIPE, check=True).stdout
    return float(out)


def handshakes(say, seconds, program, programs):
    """Of devices that come back, and of new ones: those change state, which the audit log tells."""
    for kind in (Embedded, Shared):
        with contextlib.closing(kind(programs)) as store:
            commits = load(program, "commits", store.disk, seconds)
            for what, clients in [("handshakes", n) for n in CLIENTS] + [("enrolments", 64)]:
                before = store.syncs()
                began = time.monotonic()
                rate = load(program, what, store.server.port, seconds, clients)
                took = time.monotonic() - began
                shared = rate * took / max(1, store.syncs() - before)
                goal = f" (goal {GOAL_SHARED}{'' if shared >= GOAL_SHARED else ', goal missed'})"
                say(f"{store.name}: {what}, {clients} at a time", f"{rate:,.0f}/s",
                    f"write and fsync: {commits:,.0f}/s",
                    f"{shared:.1f} for each fsync{goal if clients == CLIENTS[-1] else ''}")


def syncs(say, seconds, program):
    """FolderSync with the right key, nothing new; with two nodes each request to the other one."""
    def steady(nodes):
        return load(program, "syncs", seconds, 64, *(node.port for node in nodes))

    with Cluster(1, USERS, sqlite=True, config=CONFIG) as alone:
        one = steady(alone.nodes)
        say("FolderSync with a key: SQLite", f"{one:,.0f}/s")
    with Cluster(2, USERS, config=CONFIG) as cluster:
        single, both = steady(cluster.nodes[:1]), steady(cluster.nodes)
    say("FolderSync with a key: PostgreSQL, one node", f"{single:,.0f}/s", f"SQLite: {one:,.0f}/s",
        f"ratio {single / one:.2f}")
    say("FolderSync with a key: PostgreSQL, two nodes", f"{both:,.0f}/s", f"one node: {single:,.0f}/s",
        f"ratio {both / single:.2f}")


def parts(say, seconds, program, programs):
    yield "handshakes", lambda: handshakes(say, seconds, program, programs)
    yield "syncs", lambda: syncs(say, seconds, program)

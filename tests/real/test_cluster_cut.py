"""A node that does not hear from the database: it lets nobody in for longer than the lease, says 503 and when
to come again, comes back by itself, and then knows what was ordered meanwhile. The others go on.

The promises are those of docs/consistency.md. What comes between node and database is a proxy that stalls
or cuts, a dead wire, and the end of the database itself."""

import contextlib
import select
import signal
import threading
import time
import unittest

from cluster import LEASE, PASSWORD, Isolated
from cluster_case import ClusterCase
from phones import Away

from harness.eas import Device
from harness.server import wait_for

BACK = 15  # seconds within which a node is there again: it tries less often, the longer it was away


class Knocker:
    """Asks one node for one phone again and again. seen: (began, answer) of each; slowest: the longest
    that an answer took."""

    def __init__(self, case, phone, node):
        self.phone, self.node, self.seen, self.slowest = phone, node, [], (0.0,)
        self._owner, self._over = case.owner(node), threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        line = self._owner.lines[self.node]
        while not self._over.is_set():
            began = time.monotonic()
            with contextlib.suppress(Away):
                answer = self.phone.knock(line, self.phone.key)
                self.seen.append((began, answer))
                self.slowest = max(self.slowest, (time.monotonic() - began, began, answer))
            time.sleep(0.01)

    def end(self):
        self._over.set()
        self._thread.join()

    def last(self, what):
        """When the last answer of that kind was asked for; 0: never."""
        return max((began for began, answer in self.seen if answer.what == what), default=0.0)

    def now(self, what, since):
        """An answer of that kind came to a request after that time."""
        return any(began > since and answer.what == what for began, answer in self.seen[-50:])

    def after(self, since):
        """What kinds of answers come after that time."""
        wait_for("answers", lambda: len(self.seen) > 20 and self.seen[-20][0] > since)
        return self.kinds(since)

    def kinds(self, since=0.0, until=float("inf")):
        return {f"{answer.what} {answer.status or answer.http}" for began, answer in self.seen
                if since < began < until}


class CutCase(ClusterCase):
    def promise(self, cut, mend):
        """What every kind of cut must leave true. cut, mend: what makes it so and undoes it."""
        *others, lost = self.nodes
        kept, blocked, wiped = self.enrolled(), self.enrolled(), self.enrolled()
        office = self.office(*others)
        self.until_in(kept)
        knockers = [Knocker(self, phone, lost) for phone in (kept, blocked, wiped)]
        elsewhere = [Knocker(self, kept, node) for node in others]
        for knocker in knockers:
            wait_for("it to be let in", lambda k=knocker: k.now("in", 0))
        cut()
        since = time.monotonic()
        for phone, what in ((blocked, "block"), (wiped, "wipe")):
            self.assertEqual(office.order(phone, what)[0], 200)
        ordered = time.monotonic()
        changed = self.enrolled(*others)  # a phone that nobody knew, and one with a new key
        self.owner(*others).provision(changed)
        for knocker in knockers:
            self.assertEqual(knocker.after(since + LEASE), {"busy 503"})
            self.assertTrue(all(1 <= answer.retry <= 60 for _, answer in knocker.seen if answer.what == "busy"))
            self.assertLess(knocker.slowest[0], LEASE + 3, "who is not let in is told so, soon")
        for phone in (changed, self.phone()):
            with self.subTest("Provision while it is cut off"):
                self.assert_unserved(phone, lost)
        for knocker in elsewhere:
            self.assertEqual(knocker.kinds(since), {"in 1"}, "the others are not concerned")
        mended = time.monotonic()
        mend()
        wait_for("the node to be back", lambda: knockers[0].now("in", mended), BACK)
        for knocker in knockers[1:]:
            wait_for("the node to know what was ordered", lambda k=knocker: k.now("refused", mended))
            self.assertEqual(knocker.kinds(mended) - {"busy 503"},
                             {"refused 129" if knocker.phone is blocked else "refused 140"})
        for knocker in knockers + elsewhere:
            knocker.end()
            self.assertLessEqual(knocker.kinds(), {"in 1", "busy 503", "refused 129", "refused 140"})
        for knocker in knockers[1:]:
            self.assertLess(knocker.last("in"), ordered + LEASE)
        self.until_in(changed)
        ins = [began for began, answer in knockers[0].seen if answer.what == "in"]
        last, back = max(at for at in ins if at < mended), min(at for at in ins if at > mended)
        print(f"\n{self._testMethodName}: let in until {last - since:.2f} s after the cut, and again "
              f"{back - mended:.2f} s after its end; the slowest answer took "
              f"{max(k.slowest[0] for k in knockers):.2f} s")
        self.assertWhole()

    def assert_unserved(self, phone, node):
        owner = self.owner(node)
        answer = phone.offer(owner.lines[node])
        self.assertEqual(answer.what, "busy", answer)
        self.assertGreater(answer.retry, 0)


class Shared(CutCase):
    def test_a_stall(self):
        """Nothing comes through, and the connections look alive."""
        self.promise(lambda: self.cluster.way(2, "stall"), lambda: self.cluster.way(2, "pass"))

    def test_a_cut(self):
        """Connections break, and new ones too."""
        self.promise(lambda: self.cluster.way(2, "cut"), lambda: self.cluster.way(2, "pass"))

    def test_pings_that_wait(self):
        """A Ping at one node is told of an order at another; if its node is cut off, when that is back."""
        there = self.nodes[2]
        for number, what in enumerate(("block", "wipe", "remove")):
            for cut in (False, True):
                with self.subTest(what, cut=cut):
                    phone = self.phone(user="u9")
                    device = Device(self.nodes[0], user="u9", password=PASSWORD, device_id=phone.device_id)
                    device.handshake()
                    inbox = device.foldersync().text("Changes/Add/ServerId")
                    device.close()
                    device.server = there
                    before = there.admin("status")["waiting_pings"]
                    device.start("Ping", device.ping_tree(600, [inbox]), key=None)
                    wait_for("the Ping to wait", lambda: there.admin("status")["waiting_pings"] > before)
                    if cut:
                        self.cluster.way(2, "stall")
                    self.assertEqual(self.office(self.nodes[number % 2]).order(phone, what)[0], 200)
                    if cut:
                        self.cluster.way(2, "pass")
                    answer = device.receive()
                    self.assertEqual((answer.http, answer.status), (200, 7), answer)
                    device.close()

    def test_an_answer_of_the_database_that_comes_late(self):
        """What a node has asked the database is no longer believed when the lease has run out meanwhile."""
        number, node = 1, self.nodes[1]
        phone, office = self.phone(user="u8"), self.office(self.nodes[0])
        self.assertEqual(self.owner(self.nodes[0]).handshake(phone), "in")
        self.until_in(phone)
        for what in ("block", "allow"):  # the user must be read again there
            self.assertEqual(office.order(phone, what)[0], 200)
        device = Device(node, user="u8", password=PASSWORD, device_id=phone.device_id)
        device.key = phone.key
        device.connect().connect()
        self.cluster.way(number, "delay", "0.2")
        time.sleep(LEASE / 2)
        device.start("Settings", ("Settings", [("UserInformation", [("Get", None)])]))
        time.sleep(0.3)  # the question is there, the answer is on its way
        node.process.send_signal(signal.SIGSTOP)
        try:
            self.cluster.way(number, "pass")
            self.assertEqual(office.order(phone, "block")[0], 200)
            time.sleep(LEASE + 0.5)
            self.assertEqual(select.select([device.connect().sock], [], [], 0)[0], [], "answered before")
        finally:
            node.process.send_signal(signal.SIGCONT)
        answer = device.receive()
        if answer.http == 200:  # what came behind that answer, that of the block, was faster
            self.assertEqual(answer.status, 129, answer)
        else:
            self.assertEqual((answer.http, answer.headers.get("Retry-After")), (503, "10"), answer)
        device.close()

    def test_away_and_back(self):
        self.addCleanup(lambda: self.cluster.database.process or self.cluster.database.start())
        for how in ("stop", "kill"):
            with self.subTest(how):
                self.away_and_back(how)

    def away_and_back(self, how):
        phone = self.enrolled()
        self.until_in(phone)
        knockers = [Knocker(self, phone, node) for node in self.nodes]
        getattr(self.cluster.database, how)()
        gone = time.monotonic()
        for knocker in knockers:
            self.assertEqual(knocker.after(gone + LEASE), {"busy 503"})
        office = self.office()
        self.assertEqual(office.order(phone, "block")[0], 503)
        back = time.monotonic()
        self.cluster.database.start()
        for knocker in knockers:
            wait_for("a node to be back", lambda k=knocker: k.now("in", back), BACK)
            knocker.end()
            self.assertLessEqual(knocker.kinds(), {"in 1", "busy 503"})
            self.assertLess(knocker.slowest[0], LEASE + 3, (knocker.slowest[1] - gone, back - gone, knocker.slowest))
        self.assertEqual(office.insist(phone, "block")[0], 200)
        office.close()

    def test_a_slow_way_is_no_cut(self):
        """Each piece takes a fifth of a second, both ways: everything works, only later."""
        self.cluster.way(0, "delay", 0.2)
        try:
            phone = self.phone()
            self.assertEqual(self.owner(self.nodes[0]).handshake(phone), "in")
            time.sleep(LEASE * 2)
            owner = self.owner(self.nodes[0])
            for ask in [phone.knock] * 10 + [phone.folders]:
                self.assertEqual(ask(owner.lines[self.nodes[0]], phone.key).what, "in")
        finally:
            self.cluster.way(0, "pass")

    def test_connections_that_break_again_and_again(self):
        phone = self.enrolled()
        knocker = Knocker(self, phone, self.nodes[0])
        for _ in range(20):
            self.cluster.way(0, "reset")
            time.sleep(0.1)
        office = self.office(self.nodes[0])
        self.assertEqual(office.insist(phone, "block", patience=BACK)[0], 200)
        wait_for("the block", lambda: knocker.now("refused", 0))
        knocker.end()
        self.assertLessEqual(knocker.kinds(), {"in 1", "busy 503", "refused 129"})


class DeadWire(CutCase):
    kind = Isolated

    def test_a_dead_wire(self):
        """Its network is its own, and the wire to the database dead: no packet comes through."""
        self.promise(self.cluster.cut, self.cluster.mend)


if __name__ == "__main__":
    unittest.main()

"""Many nodes are one: thousands of handshakes, each request to any of three nodes, while nodes are killed,
PostgreSQL is restarted and killed, and connections between them are held up and broken.

Afterwards every key that was told opens everywhere, no block and no wipe was ignored past the promise of
docs/consistency.md, and the audit log is whole. PROVOST_HANDSHAKES says how many, CLUSTER_SEED which way
it goes.
"""

import collections
import itertools
import os
import random
import statistics
import time
import unittest

from cluster import LEASE
from cluster_case import SEED, ClusterCase, Trouble
from linear import REMEMBERED
from phones import Lost

HANDSHAKES = int(os.environ.get("PROVOST_HANDSHAKES") or 10000)
OWNERS = 12  # threads with phones
WATCHED = 10  # one phone in so many is in the hands of administrators
CLOSED = (129, 140)
ACTS = {"block": "device.block", "wipe": "device.wipe-device", "allow": "device.allow",
        "cancel": "device.cancel-wipe"}


class Fleet:
    """Phones and what became of them. watched: those that administrators look after as well, of which
    seen keeps each answer to a command."""

    def __init__(self, case, count):
        self.phones = [case.phone(self.see) for _ in range(count)]
        self.watched = {phone: [] for phone in self.phones[::WATCHED]}
        self.told, self.busy, self.wrong = 0, 0, []

    def see(self, phone, cmd, key, began, ended, node, answer):
        if answer is None:
            return
        self.busy += answer.what == "busy"
        seen = self.watched.get(phone)
        if seen is None:
            if answer.what == "again" or answer.status in (*CLOSED, 144) or answer.status == 142 and key:
                self.wrong.append(f"node {node.number}, {phone.device_id}, {cmd} with {key}: {answer}")
        elif cmd == "FolderSync" and (answer.what == "in" or answer.status in CLOSED):
            seen.append((began, ended, answer.what == "in", node.number))

    def carry(self, owner, work, mine):
        """One owner: handshakes of his phones, until there were enough of all."""
        while self.told < HANDSHAKES and not work.over.is_set() and not self.wrong:
            if owner.handshake(owner.chance.choice(mine), anew=True) == "in":
                self.told += 1


class Administrator:
    """Looks after phones, one order after the other. shut, open: for each phone, since when at the
    latest an order was in force, and until when at least."""

    def __init__(self, office, phones):
        self.office, self.phones = office, phones
        self.shut = {phone: [] for phone in phones}
        self.open = {phone: [] for phone in phones}
        self.orders, self.told = 0, collections.Counter()

    def order(self, phone, what):
        """Until it is done. false: it is impossible."""
        code, first, ended = self.office.insist(phone, what)
        if code not in (200, 409):
            raise AssertionError(f"{what} {phone.device_id}: {code}")
        for spans in (self.shut[phone], self.open[phone]):
            if spans and spans[-1][1] is None:
                spans[-1][1] = first
        if code == 200:
            (self.open if what in ("allow", "cancel") else self.shut)[phone].append([ended, None])
            self.told[phone.device_id, ACTS[what]] += 1
        self.orders += 1
        return code == 200

    def run(self, work):
        chance = self.office.chance
        while True:
            phone = chance.choice(self.phones)
            self.order(phone, chance.choice(("block", "block", "wipe")))
            if not work.pause(chance.uniform(0, LEASE * 1.5)):
                return
            if not self.order(phone, "allow"):  # a wipe is pending
                self.order(phone, "cancel")  # or was carried out meanwhile
                self.order(phone, "allow")
            if not work.pause(chance.uniform(0, 0.2)):
                return

    @staticmethod
    def within(spans, lag, began, ended):
        """When the order was in force, whose span has both the request and its answer, and a lag before."""
        return next((since for since, until in spans
                     if began > since + lag and ended < (until or ended + 1)), None)

    def ignored(self, watched):
        """What was let in or kept out against an order, past the promise."""
        for phone in self.phones:
            for began, ended, let_in, node in watched[phone]:
                spans, lag = (self.shut, LEASE) if let_in else (self.open, REMEMBERED)
                since = self.within(spans[phone], lag, began, ended)
                if since is not None:
                    yield (f"node {node} {'let in' if let_in else 'kept out'} {phone.device_id} "
                           f"{began - since:.2f} s after the order")


class Thousands(ClusterCase):
    how = {"config": "partnerships_in_memory = 1000;"}  # half of them

    def test_handshakes(self):
        began = time.monotonic()
        chance = random.Random(SEED)
        fleet, work = Fleet(self, max(100, HANDSHAKES // 5)), self.work()
        everybody = self.owner(chance=chance)
        for phone in fleet.watched:  # an order wants a device that is known
            self.assertEqual(everybody.handshake(phone), "in")
        watched = list(fleet.watched)
        administrators = [Administrator(self.office(chance=random.Random(SEED + i)), watched[i::2])
                          for i in range(2)]
        trouble = Trouble(self.cluster, chance)
        with self.background(work, trouble.run, *(one.run for one in administrators), self.policies):
            self.in_parallel(fleet.phones, lambda owner, mine: fleet.carry(owner, work, mine))
        took = time.monotonic() - began
        orders = sum(one.orders for one in administrators)
        print(f"\n{fleet.told} handshakes in {took:.0f} s, {fleet.busy} answers of 503, {orders} orders, "
              f"{dict(trouble.count)}")
        self.assertEqual(fleet.wrong, [])
        self.assertEqual([w for one in administrators for w in one.ignored(fleet.watched)], [])
        self.assert_keys_open(fleet, administrators)
        self.assertWhole()
        self.assert_in_the_audit_log(sum((one.told for one in administrators), collections.Counter()))
        for kind in ("kill_node", "restart_database", "kill_database"):
            self.assertGreater(trouble.count[kind], 0, "too little trouble to prove anything")
        self.assertGreater(orders, 20)

    def assert_in_the_audit_log(self, told):
        """Blocks and wipes that were told; each was news, since the phone was allowed before."""
        lines, office, after = [], self.office(), 0
        while rows := office.call(self.nodes[1], "GET", f"/v1/audit?after={after}&limit=10000").json:
            lines += rows
            after = rows[-1]["seq"]
        self.assertEqual([line["seq"] for line in lines], list(range(1, len(lines) + 1)))
        found = collections.Counter((line.get("device_id"), line["act"]) for line in lines)
        missing = {key: count for key, count in told.items()
                   if key[1] in ("device.block", "device.wipe-device") and found[key] < count}
        self.assertEqual(missing, {})

    def policies(self, work):
        """Who is in the group is asked again and again."""
        office = self.office(chance=random.Random(SEED))
        for length in itertools.count(4):
            if not work.pause(2):
                return
            self.change_policy(office, length % 12 + 4)

    def change_policy(self, office, length):
        node = office.chance.choice(self.nodes)
        try:
            answer = office.call(node, "PATCH", "/v1/policies/few",
                                 {"settings": {"DevicePasswordEnabled": 1, "MinDevicePasswordLength": length}})
        except Lost:
            return
        self.assertIn(answer.http, (200, 409, 503), answer)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.nodes[0].admin("policy", "new", "few", "DevicePasswordEnabled=1")
        for user in ("u1", "u2", "u3"):
            cls.nodes[0].admin("policy", "assign", "few", "--user", user)

    def assert_keys_open(self, fleet, administrators):
        """Every key that was told last opens on every node, but for those in an order's hands."""
        time.sleep(LEASE)
        shut = {phone for one in administrators for phone in one.phones
                if one.shut[phone] and one.shut[phone][-1][1] is None}
        wrong = []

        def look(owner, mine):
            for phone in mine:
                for node in self.nodes:
                    if phone.key or phone in shut:
                        answer = phone.folders(owner.lines[node], phone.key)
                        good = answer.status in CLOSED if phone in shut else \
                            answer.what == "in" or answer.status == 143 and phone.user in ("u1", "u2", "u3")
                        if not good:
                            wrong.append(f"{phone.device_id} on node {node.number}: {answer}")
        self.in_parallel(fleet.phones, look)
        self.assertEqual(wrong, [])
        self.assertGreater(sum(phone.key != 0 for phone in fleet.phones), len(fleet.phones) // 2)

    def in_parallel(self, phones, run):
        """run(owner, his phones) for each owner."""
        work = self.work()
        for number in range(OWNERS):
            owner = self.owner(chance=random.Random(SEED * 100 + number))
            work.start(run, owner, phones[number::OWNERS])
        work.join()


class Delay(ClusterCase):
    def test_how_soon_a_block_is_in_force_elsewhere(self):
        """Nothing is wrong: it takes as long as it takes to be told."""
        phone = self.enrolled()
        office, owner = self.office(), self.owner()
        delays = []
        for number in range(40):
            here, there = self.nodes[number % 3], self.nodes[(number + 1) % 3]
            answers = []

            def knock(work):
                while not answers or answers[-1][1] != 129:
                    began = time.monotonic()
                    answers.append((began, phone.folders(owner.lines[there], phone.key).status))
            work = self.work()
            work.start(knock, work)
            time.sleep(0.02)
            code, _, ended = office.order(phone, "block", here)
            self.assertEqual(code, 200)
            work.join()
            delays.append(max(0.0, answers[-1][0] - ended))
            self.assertEqual(office.order(phone, "allow", here)[0], 200)
            self.until_in(phone, there)
        print(f"\na block was in force on another node after {statistics.median(delays) * 1000:.1f} ms "
              f"(median), {max(delays) * 1000:.1f} ms (most)")
        self.assertLess(statistics.median(delays), LEASE / 2)


if __name__ == "__main__":
    unittest.main()

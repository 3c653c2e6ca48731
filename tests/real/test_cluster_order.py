"""What happens to one partnership happens in one order, whatever nodes are asked, and whatever befalls them.

CLUSTER_STORIES says how many partnerships are lived through (linear.py says what is checked of each)."""

import os
import random
import threading
import time
import unittest

from cluster import LEASE
from cluster_case import SEED, ClusterCase, Trouble
from linear import violation
from phones import Phone
from stories import Story

from harness.clock import DAY, HOUR, Clock
from harness.server import wait_for

STORIES = int(os.environ.get("CLUSTER_STORIES") or 24)
AT_A_TIME = 12
DEVICES, ADMINISTRATORS = 3, 1  # hands of each
ROUNDS = 200  # of two or three at once


class Order:
    """stale: seconds by which what is let in may lag; durable_offers: as linear.py has it."""

    def test_histories_are_linearizable(self):
        stories = [Story(self.nodes, self.phone(), SEED * 1000 + i, 0.04, 100) for i in range(STORIES)]
        trouble = Trouble(self.cluster, random.Random(SEED), every=0.7)
        with self.background(self.work(), trouble.run):
            for first in range(0, STORIES, AT_A_TIME):
                work = self.work()
                for story in stories[first:first + AT_A_TIME]:
                    for number in range(DEVICES):
                        work.start(story.device, number, work)
                    for number in range(ADMINISTRATORS):
                        work.start(story.administrator, number, work)
                work.join()
        ops = [op for story in stories for op in story.ops]
        lost = sum(op.answer is None for op in ops)
        print(f"\n{STORIES} histories of {len(ops)} operations, {lost} without an answer, "
              f"{dict(trouble.count)}")
        for story in stories:
            with self.subTest(story.phone.device_id):
                why = violation(story.ops, self.stale, self.durable_offers)
                self.assertIsNone(why, why)
        self.assertGreater(sum(op.answer == "in" for op in ops), len(ops) // 50)
        self.assertGreater(trouble.count["kill_node"], 0)
        self.assertWhole()


class Together(Order, ClusterCase):
    """Three nodes over one database."""

    stale, durable_offers = LEASE, True

    def at_once(self, *runs):
        """All of them in threads, which begin together. @return what each gives"""
        work, start = self.work(), threading.Barrier(len(runs))
        given = [None] * len(runs)

        def one(index, run):
            start.wait()
            given[index] = run()
        for index, run in enumerate(runs):
            work.start(one, index, run)
        work.join()
        return given

    def test_one_device_on_two_nodes(self):
        """Two handshakes at once: one key opens everywhere, and the loser finds its way."""
        owners = [self.owner(node) for node in self.nodes]
        everywhere = self.owner()
        both = one = 0
        for number in range(ROUNDS):
            here, there = owners[number % 3], owners[(number + 1) % 3]
            phone = self.phone(user="u1")
            # Two hands with one device, each with a key of its own.
            hands = [Phone(phone.user, phone.device_id) for _ in range(2)]
            told = self.at_once(*[lambda o=o, h=h: o.provision(h) for o, h in zip((here, there), hands)])
            self.assertEqual(told, [None, None])
            keys = {hand.key for hand in hands if hand.key}
            both, one = both + (len(keys) == 2), one + (len(keys) == 1)
            self.assertTrue(keys, "nobody got a key")
            self.assert_one_opens(phone, keys)
            for hand in hands:
                self.assertEqual(everywhere.handshake(hand), "in")
        print(f"\n{ROUNDS} handshakes against each other: {both} times one after the other, {one} times only "
              "one of them was told a key")
        self.assertGreater(both + one, ROUNDS - 1)

    def assert_one_opens(self, phone, keys):
        """The same one on every node; another that was told before it may do so for the lease."""
        owner, end = self.owner(), time.monotonic() + LEASE
        while True:
            began = time.monotonic()
            opens = [[phone.knock(owner.lines[node], key).what for node in self.nodes] for key in keys]
            if sum(set(row) == {"in"} for row in opens) == 1 and sum("in" in row for row in opens) == 1:
                return
            self.assertLess(began, end, (keys, opens))

    def test_the_clock_of_one_node_is_wrong(self):
        """By hours or years, and it changes meanwhile: phones get in everywhere, and who must not does not."""
        node, owner, office = self.nodes[1], self.owner(), self.office()
        clock = Clock(node.dir)
        self.addCleanup(self.start_with, node, {})
        self.start_with(node, clock.env)
        blocked = self.enrolled()
        self.assertEqual(office.insist(blocked, "block")[0], 200)
        for off in (5 * HOUR, -5 * HOUR, 400 * DAY, -400 * DAY):
            clock.set(off)
            phones = [self.phone() for _ in range(10)]
            for phone in phones:
                self.assertEqual(owner.handshake(phone), "in")
            wiped = phones.pop()
            self.assertEqual(office.insist(wiped, "wipe")[0], 200)
            clock.step(-off if off < 0 else HOUR)
            self.until_in(phones[0])
            time.sleep(LEASE / 4)
            for one in self.nodes:
                self.assertEqual({phone.knock(owner.lines[one], phone.key).what for phone in phones}, {"in"})
                for phone in (blocked, wiped):
                    answer = phone.knock(owner.lines[one], phone.key)
                    self.assertIn(answer.status, (129, 140), answer)

    @staticmethod
    def start_with(node, env):
        node.stop()
        node.env = env
        node.start()

    def test_one_policy_on_two_nodes(self):
        """Edits at the same time: one wins, the other is told so; what was said to be done is there."""
        self.nodes[0].admin("policy", "new", "disputed", "DevicePasswordEnabled=1")
        office = [self.office(node) for node in self.nodes]
        settings = ("MinDevicePasswordLength", "MaxDevicePasswordFailedAttempts", "MaxInactivityTimeDeviceLock")
        wanted, refused = {}, 0

        def edit(number, value):
            return office[number].call(self.nodes[number], "PATCH", "/v1/policies/disputed",
                                       {"settings": {settings[number]: value}})
        for value in [4 + i % 12 for i in range(ROUNDS // 3)]:
            answers = self.at_once(*[lambda n=n: edit(n, value) for n in range(3)])
            for number, answer in enumerate(answers):
                self.assertIn(answer.http, (200, 409), answer)
                if answer.http == 200:
                    wanted[settings[number]] = str(value)
                refused += answer.http == 409
            self.assertIn(200, [answer.http for answer in answers], "nobody wins")
            for one, node in zip(office, self.nodes):
                wait_for("a node to know", lambda o=one, n=node: self.shown(o, n, wanted))
        print(f"\n{ROUNDS} edits of one policy, three at a time: {refused} were refused")

    @staticmethod
    def shown(office, node, wanted):
        settings = office.call(node, "GET", "/v1/policies/disputed").json["settings"]
        return {name: str(settings.get(name)) for name in wanted} == wanted


class Alone(Order, ClusterCase):
    """One node, whose memory is the truth: nothing lags. An offer may be forgotten by kill -9."""

    how = {"sqlite": True, "count": 1}
    stale, durable_offers = 0.0, False


if __name__ == "__main__":
    unittest.main()

"""The checker of histories finds what is wrong, and only that."""

import random
import unittest

from linear import Model, Op, State, violation


def history(text):
    """A line for each operation: begin end what [sent] answer [told]; a begin and end of "-" put it
    behind the one before; the answer "?" is none."""
    ops, at = [], 0.0
    for line in filter(None, text.splitlines()):
        began, ended, what, *rest = line.split()
        sent = int(rest.pop(0)) if what in ("ack", "sync") else 0
        answer, told = rest[0], int(rest[1]) if len(rest) > 1 else 0
        began, ended = (at + 0.1, at + 0.2) if began == "-" else (float(began), float(ended))
        at = max(at, ended)
        ops.append(Op(what, began, ended, None if answer == "?" else answer, sent, told))
    return ops


ENROLLED = """
- - ask given 11
- - ack 11 given 21
"""
GOOD = {
    "a handshake": ENROLLED + "- - sync 21 in\n- - sync 5 key\n- - sync 0 key",
    "four offers are open": "- - ask given 1\n- - ask given 2\n- - ask given 3\n- - ask given 4\n"
                            "- - ack 1 given 9\n- - ack 2 again\n- - sync 9 in",
    "an answer that was lost is repeated": "- - ask given 11\n- - ack 11 ?\n- - ack 11 given 21\n"
                                           "- - sync 21 in",
    "a lost acknowledgement has happened": ENROLLED + "- - ask given 12\n- - ack 12 ?\n- - sync 21 key",
    "a lost acknowledgement has not": ENROLLED + "- - ask given 12\n- - ack 12 ?\n- - sync 21 in\n"
                                                 "- - sync 21 in",
    "a lost one happens late": ENROLLED + "- - ask given 12\n- - ack 12 ?\n- - sync 21 in\n- - sync 21 key",
    "once used, an acknowledgement need not be repeated": ENROLLED + "- - sync 21 in\n- - ack 11 again",
    "but may be": ENROLLED + "- - sync 21 in\n- - ack 11 given 21",
    "a key and its successor at the same time": ENROLLED + """
0.5 2.0 ask given 12
3.0 6.0 ack 12 given 22
4.0 4.5 sync 21 in
4.6 4.7 sync 22 in
4.8 4.9 sync 21 key""",
    "block and allow": ENROLLED + "- - block done\n- - sync 21 129\n- - ask 129\n- - allow done\n"
                                  "- - sync 21 in",
    "a wrong key of a blocked device": ENROLLED + "- - block done\n- - sync 5 key\n- - sync 5 129",
    "a wipe": ENROLLED + "- - wipe done\n- - sync 21 140\n- - wiped wipe\n- - wiped plain\n- - sync 21 129\n"
                         "- - wiped plain\n- - allow done\n- - sync 21 key\n- - ask given 12\n"
                         "- - ack 12 given 22\n- - sync 22 in",
    "a wipe that is cancelled": ENROLLED + "- - wipe done\n- - ack 11 wipe\n- - allow impossible\n"
                                           "- - cancel done\n- - sync 21 in\n- - cancel impossible",
    "removed": ENROLLED + "- - block done\n- - remove done\n- - sync 21 key\n- - remove unknown\n"
                          "- - ask given 12",
    "a lost question was answered with the directive": ENROLLED + "- - wipe done\n- - ask ?\n"
                                                                  "- - wiped plain\n- - sync 21 129",
    "lost offers drop another": "- - ask given 11\n" + "- - ask ?\n" * 4 + "- - ack 11 again",
    "a lost block": ENROLLED + "- - block ?\n- - sync 21 in\n- - sync 21 129\n- - allow done\n- - sync 21 in",
}
BAD = {
    "a told key is lost": ENROLLED + "- - sync 21 in\n- - sync 21 key",
    "a key from nowhere": ENROLLED + "- - sync 22 in",
    "an offer opens": "- - ask given 11\n- - sync 11 in",
    "two keys open": ENROLLED + "- - ask given 12\n- - ack 12 given 22\n- - sync 21 in",
    "a lost acknowledgement happens twice": ENROLLED + "- - ask given 12\n- - ack 12 ?\n- - sync 21 key\n"
                                                       "- - sync 21 in",
    "two keys for one offer": "- - ask given 11\n- - ack 11 given 21\n- - ack 11 given 22",
    "an offer is lost": "- - ask given 11\n- - ack 11 again",
    "three lost offers do not drop another": "- - ask given 11\n" + "- - ask ?\n" * 3 + "- - ack 11 again",
    "an offer outlives a confirmation": "- - ask given 11\n- - ask given 12\n- - ack 11 given 21\n"
                                        "- - ack 12 given 22",
    "the fifth offer drops none": "".join(f"- - ask given {i}\n" for i in range(1, 6)) + "- - ack 1 given 9",
    "an unused acknowledgement is not repeated": ENROLLED + "- - ack 11 again",
    "the key of a blocked device is called wrong": ENROLLED + "- - block done\n- - sync 21 key",
    "a block is ignored": ENROLLED + "- - block done\n- - sync 21 in",
    "a block is forgotten": ENROLLED + "- - block done\n- - sync 21 129\n- - sync 21 in",
    "a blocked device gets a key": "- - ask given 11\n- - block done\n- - ack 11 given 21",
    "a blocked device gets an offer": "- - block done\n- - ask given 11",
    "an allowed device stays out": ENROLLED + "- - block done\n- - allow done\n- - sync 21 129",
    "a wipe is ignored": ENROLLED + "- - wipe done\n- - sync 21 in",
    "a wipe ends unasked": ENROLLED + "- - wipe done\n- - sync 21 140\n- - sync 21 in",
    "a wipe is confirmed before it is told": ENROLLED + "- - wipe done\n- - wiped plain\n- - sync 21 129",
    "a wiped device's key opens": ENROLLED + "- - wipe done\n- - wiped wipe\n- - wiped plain\n"
                                             "- - allow done\n- - sync 21 in",
    "a wiped device is let in": ENROLLED + "- - wipe done\n- - wiped wipe\n- - wiped plain\n"
                                           "- - ask given 12",
    "resurrection after remove: the key": ENROLLED + "- - remove done\n- - sync 21 in",
    "resurrection after remove: the offer": "- - ask given 11\n- - remove done\n- - ack 11 given 21",
    "resurrection after remove: the block": ENROLLED + "- - block done\n- - remove done\n- - sync 21 129",
    "a device is unknown that has a key": ENROLLED + "- - wipe unknown",
    "two orders, two truths": ENROLLED + """
1.0 2.0 block done
1.0 2.0 allow done
3.0 3.1 sync 21 in
3.2 3.3 sync 21 129""",
}


class Histories(unittest.TestCase):
    def test_good(self):
        for name, text in GOOD.items():
            with self.subTest(name):
                self.assertIsNone(violation(history(text)))

    def test_bad(self):
        for name, text in BAD.items():
            with self.subTest(name):
                self.assertIsNotNone(violation(history(text)))

    def test_commands_may_lag_by_the_lease_and_no_longer(self):
        told = ENROLLED + "1.0 1.1 block done\n%s sync 21 in"
        for when, lag, good in (("3.0 3.1", 2.0, True), ("3.2 3.3", 2.0, False), ("1.2 1.3", 0, False),
                                ("1.05 1.3", 0, True)):
            with self.subTest(when=when, lag=lag):
                self.assertEqual(violation(history(told % when), lag) is None, good)
        # Who is refused, by little more than a second.
        allowed = ENROLLED + "- - block done\n1.0 1.1 allow done\n%s sync 21 129"
        for when, good in (("2.0 2.1", True), ("2.7 2.8", False)):
            self.assertEqual(violation(history(allowed % when), 2.0) is None, good)
        # Not those that are refused for their key, nor what makes or confirms an offer.
        for text in (ENROLLED + "- - sync 21 key", ENROLLED + "- - block done\n- - ask given 12",
                     "- - ask given 11\n- - ack 11 again"):
            with self.subTest(text):
                self.assertIsNotNone(violation(history(text), 10))

    def test_what_lags_cannot_see_what_never_was(self):
        self.assertIsNotNone(violation(history(ENROLLED + "- - allow done\n- - sync 21 129"), 10))

    def test_one_node_may_forget_an_offer(self):
        text = "- - ask given 11\n- - ack 11 again"
        self.assertIsNone(violation(history(text), durable_offers=False))
        self.assertIsNotNone(violation(history(text), durable_offers=True))

    def test_it_says_where(self):
        why = violation(history(ENROLLED + "- - sync 21 in\n- - sync 21 key\n- - sync 21 in"))
        self.assertIn("sync 21 -> key", why)
        self.assertIn("3 of 5", why)


class Random(unittest.TestCase):
    """Histories that a true partnership makes, with operations that overlap, and the same with one
    answer changed."""

    def made(self, chance, count=120, clients=4):
        """Each operation takes effect at one instant within its time."""
        points = sorted(chance.uniform(0, count / clients) for _ in range(count))
        state, ops, offers, keys = State(), [], [1], [1]
        for index, at in enumerate(points):
            what = chance.choice(("ask", "ask", "ack", "ack", "ack", "sync", "sync", "sync", "sync", "wiped",
                                  "block", "allow", "allow", "wipe", "cancel", "remove"))
            op = Op(what, at - chance.expovariate(2), at + chance.expovariate(2), None)
            if what == "ack":
                op.sent = chance.choice(offers[-5:])
            if what == "sync":
                op.sent = chance.choice(keys[-2:])
            state = self.answer(state, op, index, offers, keys)
            ops.append(op)
        return ops

    def answer(self, state, op, index, offers, keys):
        model = Model([])
        if op.what == "ask" and not state.barred:
            op.told = 1000 + index
        fresh = op.what == "ack" and op.sent in state.offers and not state.barred
        if fresh:
            op.told = 5000 + index
        elif op.what == "ack" and op.sent == state.last and not state.barred:
            op.told = state.key
        if op.told and op.what == "ack":
            model.key_of[op.sent] = op.told
        after, op.answer = getattr(model, "_" + op.what)(state, op)
        if op.answer != "given":
            op.told = 0
        elif op.what == "ask":
            offers.append(op.told)
        elif fresh:
            keys.append(op.told)
        return after

    def test_true_ones_are_good(self):
        for seed in range(60):
            chance = random.Random(seed)
            ops = self.made(chance)
            with self.subTest(seed=seed):
                self.assertIsNone(violation(ops))
                shown = {op.sent for op in ops if op.what == "sync"}
                for op in chance.sample(ops, 8):  # answers get lost on the way
                    if op.told == 0 or op.what == "ack" and op.told not in shown:
                        op.answer, op.told = None, 0
                self.assertIsNone(violation(ops))

    def test_false_ones_are_found(self):
        """Not each lie can be seen, since operations overlap; most can."""
        lies = {"in": "key", "key": "in", "129": "in", "140": "in"}
        found = 0
        for seed in range(60):
            chance = random.Random(seed)
            ops = self.made(chance)
            op = chance.choice([op for op in ops if op.what == "sync"])
            op.answer = lies[op.answer]
            found += violation(ops) is not None
        self.assertGreater(found, 36)


if __name__ == "__main__":
    unittest.main()

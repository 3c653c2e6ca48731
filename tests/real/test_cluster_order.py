"""What happens to one partnership happens in one order, whatever nodes are asked, and whatever befalls them.

CLUSTER_STORIES says how many partnerships are lived through (linear.py says what is checked of each)."""

import os
import random
import unittest

from cluster_case import SEED, ClusterCase, Trouble
from linear import violation
from stories import Story

STORIES = int(os.environ.get("CLUSTER_STORIES") or 24)
AT_A_TIME = 12
DEVICES, ADMINISTRATORS = 3, 1  # hands of each


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
        self.assertGreater(sum(op.answer == "in" for op in ops), len(ops) // 20)
        self.assertGreater(trouble.count["kill_node"], 0)
        self.assertWhole()


class Alone(Order, ClusterCase):
    """One node, whose memory is the truth: nothing lags. An offer may be forgotten by kill -9."""

    how = {"sqlite": True, "count": 1}
    stale, durable_offers = 0.0, False


if __name__ == "__main__":
    unittest.main()

"""The recorded life of one partnership: several hands ask as its device and give orders about it, each of
any node, and everything is written down for linear.py."""

import random
import time

from linear import Op
from orders import Office
from phones import Away, Lost, Owner

ORDERS = {200: "done", 409: "impossible", 404: "unknown"}
STEPS = {"ask": 5, "ack": 6, "sync": 12, "wiped": 1}
WORDS = {"block": 2, "allow": 6, "wipe": 1, "cancel": 2, "remove": 1}


class Story:
    """phone: whose; pace: seconds between two operations of one hand, on average; count: of each hand that
    is the device; an administrator does a quarter."""

    def __init__(self, nodes, phone, seed, pace, count):
        self.nodes, self.phone, self.seed, self.pace, self.count = nodes, phone, seed, pace, count
        self.ops, self.offers, self.keys = [], [1], [1]

    # ---- a hand that is the device ----
    def device(self, number, work):
        owner = Owner(self.nodes, random.Random(f"{self.seed} {number}"))
        for _ in range(self.count):
            self.step(owner, owner.chance.choices(list(STEPS), list(STEPS.values()))[0])
            if not work.pause(owner.chance.expovariate(1 / self.pace)):
                break
        owner.close()

    def step(self, owner, what):
        line, sent = owner.anywhere(), 0
        if what == "ack":
            sent = owner.chance.choice(self.offers[-3:])
        elif what == "sync":
            sent = owner.chance.choice((self.keys[-1], *self.keys[-2:]))
        began = time.monotonic()
        try:
            answer, told = self.word(what, self.ask(line, what, sent))
        except Away:
            return
        except Lost:
            answer, told = None, 0
        self.ops.append(Op(what, began, time.monotonic(), answer, sent, told, line.node.number))
        if answer == "given":
            (self.offers if what == "ask" else self.keys).append(told)

    def ask(self, line, what, sent):
        if what == "sync":
            return self.phone.folders(line, sent)
        return {"ask": self.phone.offer, "wiped": self.phone.wiped,
                "ack": lambda to: self.phone.confirm(to, sent)}[what](line)

    def word(self, what, answer):
        """(as linear.Op has it, a key that was told)"""
        word = {"key": "given", "again": "again", "wipe": "wipe", "plain": "plain", "in": "in",
                "refused": {129: "129", 140: "140", 142: "key", 144: "key"}.get(answer.status)
                }.get(answer.what)
        if word is None and answer.what != "busy":
            raise AssertionError(f"{self.phone.device_id}, {what}: {answer}")
        return word, answer.key

    # ---- a hand that is an administrator ----
    def administrator(self, number, work):
        office = Office(self.nodes, random.Random(f"{self.seed} administrator {number}"))
        for _ in range(self.count // 4):
            if not work.pause(office.chance.expovariate(1 / self.pace / 4)):
                break
            what = office.chance.choices(list(WORDS), list(WORDS.values()))[0]
            node = office.chance.choice(self.nodes)
            code, began, ended = office.order(self.phone, what, node)
            if code not in (0, None, 503, *ORDERS):
                raise AssertionError(f"{self.phone.device_id}, {what}: {code}")
            answer = ORDERS.get(code)
            if answer == "unknown" and what in ("block", "allow"):
                answer = None  # done, and removed before it could be shown
            if code != 0:
                self.ops.append(Op(what, began, ended, answer, node=node.number))
        office.close()

"""Is there an order of what happened to one partnership that explains every answer?

What is checked. A history is what a device and its administrators asked of any node, each with the
times before it was sent and after it was answered, and what came. It is good if its operations can be put
into one order in which each lies between those two times and one partnership alone (class State),
asked in that order, would have answered so (Wing and Gong 1993, with Lowe's memory of what was tried). So:

* Offers, acknowledgements, acknowledgements of wipes and orders of administrators are linearizable: each
  sees every other that was answered before it began, on whatever node.
* A command that is refused for its key is linearizable, too: nodes ask the database before.
* A command that is let in, or refused for a block or a wipe (129, 140), may be answered by what was true
  at any time from `stale` seconds before it was sent: the lease of docs/consistency.md, and nothing beyond
  it. One node has no such time: stale is 0.
* What was not answered, or with 503, has happened at any time after it was sent, or not at all; so may
  the key be any, and is known once an acknowledgement of the same offer is answered with it.

Commands change nothing that the model looks at, with one exception: once the final key was used its
acknowledgement need not be repeated. That is left open from the first command with that key on.

Who only reads never needs a second try: if a command could have been answered so now, it is as
good now as later. Only those that write are tried in every order; they are few at any time.
"""

import dataclasses
import math
from typing import NamedTuple

OFFERS_MAX = 4
PENDING = ("requested", "sent")
READS = ("key", "129", "140", "in", "again", "impossible", "unknown")  # answers that change nothing


@dataclasses.dataclass(slots=True)
class Op:
    """what: ask, ack, wiped, sync (of the device); block, allow, wipe, cancel, remove. sent: the
    temporary key of ack, the key of sync. answer: None if it is unknown; of ask and ack "given" (told: the
    key), "wipe" (the directive), "129"; of ack "again" (an unknown offer); of wiped "plain", "wipe", "129";
    of sync "in", "key" (142, 144), "129", "140"; of orders "done", "impossible" (409), "unknown" (404)."""

    what: str
    began: float
    ended: float
    answer: str | None
    sent: int = 0
    told: int = 0
    node: int = 0

    @property
    def reads(self):
        return self.what == "sync" or self.answer in READS[1:]

    def __str__(self):
        words = [f"{self.began:9.4f}-{self.ended:9.4f} node {self.node}: {self.what}"]
        words += [f"{self.sent}"] if self.sent else []
        return " ".join(words) + f" -> {self.answer or 'nothing'}" + (f" {self.told}" if self.told else "")


class State(NamedTuple):
    """Of a partnership. key: 0 for none; last: the acknowledged offer of that key."""

    key: object = 0
    offers: tuple = ()
    last: object = 0
    blocked: bool = False
    wipe: str = ""
    shut: bool = False

    @property
    def barred(self):
        """The answer to everything but the acknowledgement of a wipe; None: not barred."""
        if self.wipe in PENDING:
            return "140"
        return "129" if self.shut or self.blocked else None


class Model:
    """durable_offers: an offer that was told is never forgotten; one node with SQLite may forget it when
    it is killed."""

    def __init__(self, ops, durable_offers=True):
        self.durable_offers = durable_offers
        self.key_of, self.used = {}, {}
        for op in ops:
            if op.what == "ack" and op.answer == "given":
                self.key_of.setdefault(op.sent, op.told)
            if op.what == "sync":
                self.used[op.sent] = min(op.began, self.used.get(op.sent, math.inf))

    def final(self, offer):
        """The key that the acknowledgement of that offer makes."""
        return self.key_of.get(offer, ("of", offer))

    def after(self, state, op, index):
        """The state after an operation that was answered so; None: it would not have been. Without an
        answer any will do."""
        now, answer = getattr(self, "_" + op.what)(state, op, index)
        return now if op.answer in (None, answer) or (answer == "given or again" and
                                                      op.answer in ("given", "again")) else None

    def _directive(self, state):
        return state._replace(wipe="sent"), "wipe"

    def _ask(self, state, op, index):
        if state.wipe in PENDING:
            return self._directive(state)
        if state.barred:
            return state, "129"
        offer = op.told or ("offer", index)
        return state._replace(offers=(state.offers + (offer,))[-OFFERS_MAX:]), "given"

    def _ack(self, state, op, index):
        if state.wipe in PENDING:
            return self._directive(state)
        if state.barred:
            return state, "129"
        key = self.final(op.sent)
        right = op.answer != "given" or key == op.told
        if op.sent in state.offers and right:
            if op.answer == "again" and not self.durable_offers:
                return state, "again"
            return state._replace(key=key, offers=(), last=op.sent), "given"
        if op.sent == state.last and key == state.key and right:
            return state, "given or again" if op.ended > self.used.get(key, math.inf) else "given"
        return state, "again"

    def _wiped(self, state, op, index):
        if state.wipe == "requested":
            return self._directive(state)
        if state.wipe == "sent":
            return state._replace(wipe="over", shut=True, key=0, offers=(), last=0), "plain"
        return state, "129" if state.blocked and not state.shut else "plain"

    def _sync(self, state, op, index):
        return state, state.barred or ("in" if op.sent and op.sent == state.key else "key")

    def _block(self, state, op, index):
        return state._replace(blocked=True), "done"

    def _allow(self, state, op, index):
        if state.wipe in PENDING:
            return state, "impossible"
        return state._replace(blocked=False, shut=False), "done"

    def _blank(self, state):
        return state._replace(offers=()) == State() and (not self.durable_offers or not state.offers)

    def _wipe(self, state, op, index):
        if self._blank(state) and op.answer == "unknown":
            return state, "unknown"
        return state if state.wipe in PENDING else state._replace(wipe="requested"), "done"

    def _cancel(self, state, op, index):
        if self._blank(state) and op.answer == "unknown":
            return state, "unknown"
        if state.wipe in PENDING:
            return state._replace(wipe="over"), "done"
        return state, "impossible"

    def _remove(self, state, op, index):
        if self._blank(state) and op.answer == "unknown":
            return state, "unknown"
        return State(), "done"


class Search:
    def __init__(self, ops, stale, durable_offers):
        self.ops = sorted(ops, key=lambda op: self.start(op, stale))
        self.starts = [self.start(op, stale) for op in self.ops]
        self.ends = [op.ended if op.answer else math.inf for op in self.ops]
        self.model = Model(self.ops, durable_offers)
        self.must = sum(1 << i for i, op in enumerate(self.ops) if op.answer)
        self.tried, self.farthest = set(), (0, 0, State())

    @staticmethod
    def start(op, stale):
        may_lag = op.what == "sync" and op.answer in ("in", "129", "140")
        return op.began - stale if may_lag else op.began

    def possible(self, done):
        """Those that may be next: none that has ended lies before them."""
        limit, found = math.inf, []
        for i, start in enumerate(self.starts):
            if start > limit:
                break
            if not done >> i & 1:
                found.append(i)
                limit = min(limit, self.ends[i])
        return [i for i in found if self.starts[i] <= limit]

    def read(self, done, state):
        """Everything that reads and can be answered now is."""
        while True:
            ready = [i for i in self.possible(done) if self.ops[i].reads and
                     self.model.after(state, self.ops[i], i) == state]
            if not ready:
                return done
            for i in ready:
                done |= 1 << i

    def run(self):
        """Is there an order?"""
        todo = [(0, State())]
        while todo:
            done, state = todo.pop()
            done = self.read(done, state)
            if done & self.must == self.must:
                return True
            if (done, state) in self.tried:
                continue
            self.tried.add((done, state))
            count = (done & self.must).bit_count()
            if count >= self.farthest[0]:
                self.farthest = (count, done, state)
            for i in reversed(self.possible(done)):
                op = self.ops[i]
                after = None if op.reads else self.model.after(state, op, i)
                if after is not None and (op.answer or after != state):
                    todo.append((done | 1 << i, after))
        return False

    def explain(self):
        count, done, state = self.farthest
        left = [op for i, op in enumerate(self.ops) if not done >> i & 1 and op.answer]
        edge = min(op.ended for op in left)
        before = [op for i, op in enumerate(self.ops) if done >> i & 1][-12:]
        rows = [f"{count} of {self.must.bit_count()} answers have an explanation, at most; then it is {state}",
                "before:", *(f"  {op}" for op in before), "not to be explained, one of:",
                *(f"  {op}" for op in left if self.start(op, 0) <= edge)]
        return "\n".join(rows)


def violation(ops, stale=0.0, durable_offers=True):
    """None, if the history is good; else why not, for people. stale: seconds."""
    search = Search([op for op in ops if op.answer or op.what != "sync"], stale, durable_offers)
    return None if search.run() else search.explain()

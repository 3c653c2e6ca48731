"""Is there an order of what happened to one partnership that explains every answer?

What is checked. A history is what a device and its administrators asked of any node, each with the
times before it was sent and after it was answered, and what came. It is good if its operations can be put
into one order in which each lies between those two times and one partnership alone (class State),
asked in that order, would have answered so (Wing and Gong 1993, with Lowe's memory of what was tried). So:

* Offers, acknowledgements, acknowledgements of wipes and orders of administrators are linearizable: each
  sees every other that was answered before it began, on whatever node.
* A command that is refused for its key is linearizable, too: nodes ask the database before. Which of two
  reasons is told, a wrong key or a block, is not looked at: a node remembers wrong keys for a second.
* A command that is let in may be answered by what was true at any time from `stale` seconds before it
  was sent: the lease of docs/consistency.md, and nothing beyond it. One that is refused for a block or a wipe
  (129, 140), by what was true a little more than a second before: nodes ask before they refuse, and
  remember that so long. One node has no such times: stale is 0.
* What was not answered, or with 503, has happened at any time after it was sent, or not at all. The
  key of such an acknowledgement is known once one of the same offer is answered. An offer that nobody
  was told of is not followed: it is taken into account that it may have dropped the oldest of four.

Commands change nothing that the model looks at, with one exception: once the final key was used its
acknowledgement need not be repeated. That is left open from the first command with that key on.

Who only reads never needs a second try: if a command could have been answered so now, it is as
good now as later. Only those that write are tried in every order; they are few at any time.
"""

import bisect
import dataclasses
import math
from typing import NamedTuple

OFFERS_MAX = 4
# Seconds for which a node does not ask again whether it has to refuse: one, from when it was answered.
REMEMBERED = 1.5
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
        self.lost_asks = sorted(op.began for op in ops if op.what == "ask" and not op.answer)
        for op in ops:
            if op.what == "ack" and op.answer == "given":
                self.key_of.setdefault(op.sent, op.told)
            if op.what == "sync":
                self.used[op.sent] = min(op.began, self.used.get(op.sent, math.inf))

    def final(self, offer):
        """The key that the acknowledgement of that offer makes."""
        return self.key_of.get(offer, ("of", offer))

    def after(self, state, op):
        """The state after an operation that was answered so; None: it would not have been. Without an
        answer any will do."""
        now, answer = getattr(self, "_" + op.what)(state, op)
        return now if op.answer in (None, answer) or (answer == "given or again" and
                                                      op.answer in ("given", "again")) else None

    def _directive(self, state):
        return state._replace(wipe="sent"), "wipe"

    def _ask(self, state, op):
        if state.wipe in PENDING:
            return self._directive(state)
        if state.barred:
            return state, "129"
        made = (op.told,) if op.told else ()
        return state._replace(offers=(state.offers + made)[-OFFERS_MAX:]), "given"

    def _may_be_dropped(self, state, op):
        """By offers that nobody was told of."""
        newer = len(state.offers) - state.offers.index(op.sent)
        return newer + bisect.bisect(self.lost_asks, op.ended) > OFFERS_MAX

    def _ack(self, state, op):
        if state.wipe in PENDING:
            return self._directive(state)
        if state.barred:
            return state, "129"
        key = self.final(op.sent)
        right = op.answer != "given" or key == op.told
        if op.sent in state.offers and right:
            if op.answer == "again" and (not self.durable_offers or self._may_be_dropped(state, op)):
                return state, "again"
            return state._replace(key=key, offers=(), last=op.sent), "given"
        if op.sent == state.last and key == state.key and right:
            return state, "given or again" if op.ended > self.used.get(key, math.inf) else "given"
        return state, "again"

    def _wiped(self, state, op):
        if state.wipe == "requested":
            return self._directive(state)
        if state.wipe == "sent":
            return state._replace(wipe="over", shut=True, key=0, offers=(), last=0), "plain"
        return state, "129" if state.blocked and not state.shut else "plain"

    def _sync(self, state, op):
        right = op.sent and op.sent == state.key
        if not right and op.answer == "key":
            return state, "key"
        return state, state.barred or ("in" if right else "key")

    def _block(self, state, op):
        return state._replace(blocked=True), "done"

    def _allow(self, state, op):
        if state.wipe in PENDING:
            return state, "impossible"
        return state._replace(blocked=False, shut=False), "done"

    def _blank(self, state):
        return state._replace(offers=()) == State() and (not self.durable_offers or not state.offers)

    def _wipe(self, state, op):
        if self._blank(state) and op.answer == "unknown":
            return state, "unknown"
        return state if state.wipe in PENDING else state._replace(wipe="requested"), "done"

    def _cancel(self, state, op):
        if self._blank(state) and op.answer == "unknown":
            return state, "unknown"
        if state.wipe in PENDING:
            return state._replace(wipe="over"), "done"
        return state, "impossible"

    def _remove(self, state, op):
        if self._blank(state) and op.answer == "unknown":
            return state, "unknown"
        return State(), "done"


class Search:
    """done: a bit for each operation that has its place."""

    def __init__(self, ops, stale, durable_offers):
        self.model = Model(ops, durable_offers)
        ops = [op for op in ops if op.answer or op.what != "sync"]
        self.ops = sorted(ops, key=lambda op: self.start(op, stale))
        self.starts = [self.start(op, stale) for op in self.ops]
        self.ends = [op.ended if op.answer else math.inf for op in self.ops]
        self.by_end = sorted((end, 1 << i) for i, end in enumerate(self.ends) if end < math.inf)
        self.reads = [(self.starts[i], 1 << i, i) for i, op in enumerate(self.ops) if op.reads]
        self.writes = [(self.starts[i], 1 << i, i) for i, op in enumerate(self.ops) if not op.reads]
        self.read_bits = sum(bit for _, bit, _ in self.reads)
        self.must = sum(1 << i for i, op in enumerate(self.ops) if op.answer)
        self.tried, self.farthest = {}, (0, 0, State())

    @staticmethod
    def start(op, stale):
        lag = 0.0
        if op.what == "sync":
            lag = {"in": stale, "129": min(stale, REMEMBERED), "140": min(stale, REMEMBERED)}.get(op.answer, 0.0)
        return op.began - lag

    def limit(self, done):
        """What begins later cannot be next: before it lies one that has ended."""
        return next((end for end, bit in self.by_end if not done & bit), math.inf)

    def read(self, done, state):
        """Everything that reads and can be answered now is."""
        while True:
            limit, before = self.limit(done), done
            for start, bit, i in self.reads:
                if start > limit:
                    break
                if not done & bit and self.model.after(state, self.ops[i]) == state:
                    done |= bit
            if done == before:
                return done

    def next(self, done, state):
        """What may come next and changes something, with the state after it. Of those that are the same
        and were not answered the first will do for all."""
        limit, unknown = self.limit(done), set()
        for start, bit, i in self.writes:
            if start > limit:
                return
            if done & bit:
                continue
            op = self.ops[i]
            if not op.answer:
                if (op.what, op.sent) in unknown:
                    continue
                unknown.add((op.what, op.sent))
            after = self.model.after(state, op)
            if after is not None and (op.answer or after != state):
                yield done | bit, after

    def is_news(self, done, state):
        """It was not there before, nor with more that was read."""
        known = self.tried.setdefault((done & ~self.read_bits, state), [])
        read = done & self.read_bits
        if any(other & read == read for other in known):
            return False
        known.append(read)
        return True

    def run(self):
        """Is there an order?"""
        todo = [(0, State())]
        while todo:
            done, state = todo.pop()
            done = self.read(done, state)
            if done & self.must == self.must:
                return True
            if not self.is_news(done, state):
                continue
            count = (done & self.must).bit_count()
            if count >= self.farthest[0]:
                self.farthest = (count, done, state)
            todo += reversed(list(self.next(done, state)))
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
    search = Search(ops, stale, durable_offers)
    return None if search.run() else search.explain()

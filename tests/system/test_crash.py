"""kill -9 at random in the middle of enrolments and wipes: nothing that was told is lost.

Each device has a thread that enrols, is wiped, blocked, allowed, and so on, one step after the other, and
keeps what it was told. At the kill at most one step of each device is under way: afterwards it has
either happened as a whole or not at all. CRASH_KILLS says how many times the server is killed, CRASH_SEED
which way it goes."""

import collections
import dataclasses
import http.client
import json
import os
import random
import threading
import time
import unittest

from harness.api import Api
from harness.case import OwnServerCase
from harness.server import BUILD

DEVICES = 9
USERS = ("ann", "bob", "carl")
# A sanitizer's build is slower; the thread sanitizer's slowest.
KILLS = int(os.environ.get("CRASH_KILLS") or
            (12 if "tsan" in BUILD.name else 25 if "asan" in BUILD.name else 40))
SEED = int(os.environ.get("CRASH_SEED") or 7)
PENDING = ("requested", "sent", "failed")


@dataclasses.dataclass
class Known:
    """What a device and its administrator have been told."""
    key: int = 0
    wipe: str = None       # state of the last wipe
    wipe_id: str = None    # None with a state: it was not told yet
    personal: str = "none"
    shut: bool = False     # wiped and not allowed since

    @property
    def pending(self):
        return self.wipe in PENDING

    @property
    def seen(self):
        return self != Known()

    @property
    def open(self):
        return not (self.pending or self.shut or self.personal == "block")

    @property
    def state(self):
        if self.pending:
            return "wipe-pending"
        return "wiped" if self.shut else "blocked" if self.personal == "block" else None

    def agrees(self, shown):
        """Does the server say the same? Which state an open device is in, its key tells."""
        wipe = shown["wipe"] or {"state": None, "id": None}
        return (wipe["state"] == self.wipe and shown["personal"] == self.personal and
                (self.wipe_id is None or wipe["id"] == self.wipe_id) and
                (self.state == shown["state"] if self.state else
                 shown["state"] in ("new", "offered", "provisioned")))


class Actor:
    """One device and who gives orders about it."""

    # Step: when it is possible, and what is known once it has happened.
    STEPS = {
        "enrol": (lambda k: k.open, {}),
        "sync": (lambda k: k.open and k.key, {}),
        "order": (lambda k: k.seen and not k.pending and not k.shut,
                  {"wipe": "requested", "wipe_id": None}),
        "poll": (lambda k: k.pending, {}),
        "fail": (lambda k: k.wipe in ("sent", "failed"), {"wipe": "failed"}),
        "done": (lambda k: k.wipe in ("sent", "failed"),
                 {"wipe": "acknowledged", "shut": True, "key": 0}),
        "cancel": (lambda k: k.pending, {"wipe": "cancelled"}),
        "block": (lambda k: k.personal != "block", {"personal": "block"}),
        "allow": (lambda k: not k.pending and (k.shut or k.personal == "block"),
                  {"personal": "allow", "shut": False}),
    }
    WEIGHTS = {"enrol": 4, "sync": 2, "order": 3, "poll": 4, "fail": 1, "done": 3, "cancel": 1,
               "block": 1, "allow": 4}

    def __init__(self, case, number):
        self.case, self.chance = case, random.Random(SEED * 1000 + number)
        self.device = case.device("14.1", user=USERS[number % 3], device_id=f"CRASH{number}")
        self.api = Api(case.server)
        case.addCleanup(self.api.close)
        self.known, self.step, self.temporary = Known(), None, None
        self.wipe_ids, self.count, self.fault = [], collections.Counter(), None

    def after(self):
        """What is known if the step under way has happened."""
        changes = dict(self.STEPS[self.step][1])
        if self.step == "poll" and self.known.wipe == "requested":
            changes["wipe"] = "sent"
        if self.step == "allow" and self.known.shut:
            changes["key"] = 0
        return dataclasses.replace(self.known, **changes)

    # ---- steps; each raises when the server is gone ----
    def run(self):
        try:
            while True:
                possible = [s for s, (may, _) in self.STEPS.items() if may(self.known)]
                self.step = self.chance.choices(possible, [self.WEIGHTS[s] for s in possible])[0]
                told = getattr(self, "do_" + self.step)() or {}
                self.known = dataclasses.replace(self.after(), **told)
                self.count[self.step] += 1
                self.step = self.temporary = None
        except (OSError, http.client.HTTPException):
            pass  # the server is gone
        except BaseException as fault:  # told by the test, not by a thread
            self.fault = fault

    def expect(self, what, got, want):
        if got != want:
            raise AssertionError(f"{self.device.device_id}, {self.step}, {self.known}: "
                                 f"{what} is {got}, not {want}")

    def order(self, method, what, **body):
        answer = self.api(method, f"/v1/devices/{self.device.user}/{self.device.device_id}{what}",
                          body)
        self.expect("answer", answer.http, 200)
        return answer.json

    def do_enrol(self):
        self.temporary = self.device.offer()
        return self.acknowledge()

    def acknowledge(self):
        answer = self.device.provision_ack(self.temporary)
        self.expect("Status", answer.policy_status, 1)
        return {"key": int(answer.key)}

    def do_sync(self):
        self.expect("FolderSync", self.sync(), 1)

    def sync(self):
        return self.device.foldersync(key=self.known.key).status

    def do_order(self):
        told = self.order("POST", "/wipe", scope="device", confirm=True)
        self.wipe_ids.append(told["wipe"]["id"])
        return {"wipe_id": told["wipe"]["id"]}

    def do_poll(self):
        answer = self.device.poll()
        self.expect("directive", (answer.status, answer.has("RemoteWipe")), (1, True))

    def do_fail(self):
        answer = self.device.wipe_ack(2)
        self.expect("answer", (answer.status, answer.has("RemoteWipe")), (2, True))

    def do_done(self):
        answer = self.device.wipe_ack(1)
        self.expect("answer", (answer.status, answer.has("RemoteWipe")), (1, False))

    def do_cancel(self):
        self.order("DELETE", "/wipe")

    def do_block(self):
        self.order("POST", "/block")

    def do_allow(self):
        self.order("POST", "/allow")

    # ---- after the restart ----
    def check(self):
        """It is as it was told, or as the step under way makes it. @return that step, if it has
        happened"""
        if self.fault:
            raise self.fault
        self.device.close()
        self.api.close()
        answer = self.api("GET", f"/v1/devices/{self.device.user}/{self.device.device_id}")
        if answer.http == 404 and not self.known.seen:
            self.step = self.temporary = None  # never told anything
            return None
        shown, happened = answer.json, None
        if not self.known.agrees(shown):
            after = self.after() if self.step else self.known
            if not after.agrees(shown):
                raise AssertionError(f"{self.device.device_id}: told {self.known}, under way "
                                     f"{self.step}, but it is {shown}")
            self.known, happened = after, self.step
            if self.step == "order":
                self.known.wipe_id = shown["wipe"]["id"]
                self.wipe_ids.append(self.known.wipe_id)
        self.check_key()
        self.step = self.temporary = None
        return happened

    def check_key(self):
        status = self.sync()
        if not self.known.open:
            return self.expect("FolderSync", status, 140 if self.known.pending else 129)
        if status == 1:
            return None
        # A key that was told opens, unless its successor was being made: repeating tells that.
        if self.known.key and not self.temporary:
            self.expect("FolderSync with the key that was told", status, 1)
        if self.temporary:
            answer = self.device.provision_ack(self.temporary)
            if self.known.key or answer.policy_status == 1:
                self.known.key = self.acknowledge()["key"]
                self.expect("FolderSync", self.sync(), 1)
        return None


class Crash(OwnServerCase):
    config = "damping = false;\n"  # thousands of handshakes of one device would be a loop

    def test_nothing_told_is_lost(self):
        chance, applied, lost = random.Random(SEED), collections.Counter(), collections.Counter()
        actors = [Actor(self, number) for number in range(DEVICES)]
        began = time.monotonic()
        for _ in range(KILLS):
            threads = [threading.Thread(target=actor.run, daemon=True) for actor in actors]
            for thread in threads:
                thread.start()
            time.sleep(chance.uniform(0.01, 0.25))
            self.server.kill()
            for thread in threads:
                thread.join(60)
                self.assertFalse(thread.is_alive(), "a request was neither answered nor ended")
            self.server.start()
            for actor in actors:
                under_way = actor.step
                happened = actor.check()
                (applied if happened else lost)[happened or under_way] += 1
        told = sum((actor.count for actor in actors), collections.Counter())
        self.check_audit(actors)
        print(f"\n{KILLS} kills in {time.monotonic() - began:.0f} s; told: {dict(told)}; "
              f"under way and in force: {dict(applied)}; under way, all as before or as the "
              f"key tells: {dict(lost)}")
        self.assertGreater(told["done"], KILLS // 4, "too few wipes to prove anything")
        self.assertGreater(told["enrol"], KILLS // 4, "too few enrolments to prove anything")

    # ---- the audit log ----
    def lines(self):
        api, after = Api(self.server), 0
        self.addCleanup(api.close)
        while rows := api("GET", f"/v1/audit?after={after}&limit=10000").json:
            yield from rows
            after = rows[-1]["seq"]

    def check_audit(self, actors):
        """Whole, and for each device one line follows from the other."""
        verified = self.admin("audit", "--verify")
        self.assertTrue(verified["good"], verified)
        seqs, wipes = [], collections.defaultdict(list)
        states = {}
        for line in self.lines():
            seqs.append(line["seq"])
            device = line.get("device_id")
            if device is None or line["after"] is None:
                continue
            self.assertEqual(line["before"].get("wipe", states.get(device)),
                             states.get(device, "none"), json.dumps(line))
            states[device] = line["after"]["wipe"]
            if line["wipe_id"] and line["before"].get("wipe") != line["after"]["wipe"]:
                wipes[line["wipe_id"]].append(line["after"]["wipe"])
        self.assertEqual(seqs, list(range(1, len(seqs) + 1)))
        told = {wipe for actor in actors for wipe in actor.wipe_ids}
        self.assertLessEqual(told, set(wipes), "a wipe that was told is not in the audit log")
        rank = ("requested", "sent", "failed", "acknowledged")
        for wipe, life in wipes.items():
            ranks = [rank.index(state) if state in rank else len(rank) for state in life]
            self.assertEqual((life[0], sorted(set(ranks))), ("requested", ranks), (wipe, life))


if __name__ == "__main__":
    unittest.main()

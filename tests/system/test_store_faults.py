"""The store's file fails under a server that runs: 503 to devices, nothing told that is not kept, one line
in the log when it begins and one when it is over, and all well again without a restart."""

import collections
import errno
import os
import random
import re
import sqlite3
import time
import unittest

import test_memory
from harness.api import Api
from harness.case import OwnServerCase
from harness.server import wait_for
from harness.torn import TornServer

# What fails, for a second each.
FAULTS = ({"write_one_in": 4, "torn": 1}, {"write_one_in": 1, "code": errno.ENOSPC},
          {"sync_one_in": 2}, {"write_one_in": 40, "sync_one_in": 5, "torn": 1},
          {"write_one_in": 1, "code": errno.EROFS}, {"sync_one_in": 1},
          {"read_one_in": 3, "write_one_in": 20, "torn": 1}, {"read_one_in": 1})


SEED = int(os.environ.get("CRASH_SEED") or 7)
ROUNDS = int(os.environ.get("PROVOST_POWER") or 12)


class Phone(test_memory.Phone):
    """Provisions again and again whatever comes, and remembers what it was told last."""

    def passed(self, what, answer):
        if what == "key" and answer.http == 200 and answer.policy_status == 5:
            self.pending = None  # the offer was not kept: it was not promised to be
            return False
        if answer.http == 503 and int(answer.headers["Retry-After"]) < 1:
            self.wrong.append((what, answer))
        return super().passed(what, answer)


class FaultCase(OwnServerCase):
    def setUp(self):
        self.server = TornServer(users=self.users, config=self.config)
        self.addCleanup(self.server.close)
        self.admin = self.server.admin

    def lines(self, verb):
        return [line for line in self.server.lines if re.search(rf"\b{verb}\b", line)]

    def trouble_is_over(self):
        self.admin("device", "show", "ann", "PHONE0")  # reads, which nobody else may do any more
        return self.lines("store-(?:failed|back)")[-1:] == self.lines("store-back")[-1:]

    def assertAway(self, answer):
        self.assertEqual((answer.http, answer.body), (503, b""), answer)
        self.assertGreater(int(answer.headers["Retry-After"]), 0)

    def answered(self, answer):
        """None while the store is away."""
        if answer.http == 503:
            self.assertAway(answer)
            return None
        return answer

    def comes_back(self, device):
        """A handshake, once the file is opened again: a second apart at most."""
        def attempt():
            answer = device.provision_initial()
            if answer.http == 200:
                answer = device.provision_ack(answer.key)
            if answer.http == 503:
                return None
            self.assertOffered(answer)
            device.key = int(answer.key)
            return True
        wait_for("the store", attempt, 5)
        self.assertFolders(device.foldersync())

    def check(self, phone):
        """The told key opens, or the acknowledgement that was under way tells another."""
        device, device.key = phone.device, phone.told
        answer = device.foldersync()
        if answer.status != 1:
            self.assertIsNotNone(phone.pending, f"told {phone.told}, refused: {answer}")
            answer = device.provision_ack(phone.pending)
            self.assertOffered(answer)
            phone.told, phone.pending = int(answer.key), None
            device.key = phone.told
            self.assertFolders(device.foldersync())


class Disk(FaultCase):
    def test_handshakes(self):
        phones = [Phone(self.device(device_id=f"PHONE{i}")) for i in range(6)]
        for phone in phones:
            phone.start()
        for fault in FAULTS:
            self.server.torn(**fault)
            before = self.server.seen("failed")
            time.sleep(1)
            self.server.well()
            self.assertIsNone(self.server.process.poll(), self.server.log)
            self.assertGreater(self.server.seen("failed"), before, fault)
        since = [phone.handshakes for phone in phones]
        wait_for("handshakes of every phone", lambda: all(
            phone.wrong or phone.handshakes > was + 1 for phone, was in zip(phones, since)))
        wait_for("the end of the trouble", self.trouble_is_over)
        seen = collections.Counter()
        for phone in phones:
            phone.stop()
            seen += phone.seen
            self.assertEqual(phone.wrong, [])
        self.assertGreater(seen[503], 50, seen)
        self.assertGreater(seen["key"], 50, seen)
        self.assertLessEqual(len(self.lines("store-failed")), 4, self.server.log)  # other reasons
        self.assertLess(len([line for line in self.server.lines if " warn " in line]), 5)
        for line in self.lines("store-failed"):
            self.assertRegex(line, r"code=\d+ error=\"[^\"]*/provost\.db: ")
        for kill in (False, True):
            for phone in phones:
                self.check(phone)
                phone.device.close()
            if not kill:
                self.server.restart(kill=True)
        self.assertTrue(self.admin("store", "check")["good"])

    def test_orders(self):
        """What is told is so, at once and after kill -9; what is not told may be so."""
        device, api = self.device(), Api(self.server)
        self.addCleanup(api.close)
        device.handshake()
        path, told = f"/v1/devices/{device.user}/{device.device_id}", collections.Counter()
        for i, fault in enumerate(FAULTS * 2):
            self.server.torn(**fault)
            for what, status in (("block", 129), ("allow", 1)) * 6 + (("block", 129),):
                answer = api("POST", f"{path}/{what}", {})
                told[answer.http] += 1
                if answer.http != 200:
                    self.assertEqual(answer.http, 503, answer)
                    continue
                answer = self.answered(device.foldersync())
                if answer:
                    self.assertIn((answer.http, answer.status), ((200, status), (200, 6)))
            self.server.well()
            wait_for("the order to be taken",
                     lambda: api("POST", path + ("/allow" if i % 2 else "/block"), {}).http == 200, 5)
            if i % 4 < 2:
                self.server.restart(kill=True)
                device.close()
                api.close()
            answer = wait_for("an answer", lambda: self.answered(device.foldersync()), 5)
            self.assertEqual(answer.status, 1 if i % 2 else 129)
        self.assertGreater(min(told[200], told[503]), 10, told)

    def test_reads(self):
        """Nobody is let in, or sent to provision, when it cannot be read who it is."""
        device, blocked = self.device(), self.device(user="bob")
        device.handshake()
        blocked.handshake()
        self.admin("device", "block", "bob", blocked.device_id)
        self.server.restart()
        for one in (device, blocked):
            one.close()
        self.server.torn(read_one_in=1)
        answers = collections.Counter()
        for _ in range(20):
            for one, good in ((device, (200, 1)), (blocked, (200, 129))):
                answer = one.foldersync()
                answers[answer.http] += 1
                if answer.http == 503:
                    self.assertAway(answer)
                else:
                    self.assertEqual((answer.http, answer.status), good, answer)
        self.assertGreater(answers[503], 0)
        self.server.well()
        self.comes_back(device)
        wait_for("the block", lambda: blocked.foldersync().http == 200, 5)
        self.assertRefused(blocked.foldersync(), "FolderSync", 129, "14.1")


class Power(FaultCase):
    """Syncs that fail, then a while in which all is well, then the power goes: a sync that succeeds does
    not bring to the disk what one before has failed to."""

    def test_what_was_told_meanwhile_is_kept(self):
        chance, handshakes = random.Random(SEED), 0
        for _ in range(ROUNDS):
            phones = [Phone(self.device(device_id=f"PHONE{i}")) for i in range(6)]
            for phone in phones:
                phone.start()
            self.server.torn(sync_one_in=chance.choice((1, 2, 5)), write_one_in=chance.choice((0, 50)),
                             seed=chance.getrandbits(32))
            time.sleep(chance.uniform(0, 0.2))
            self.server.well()
            since = [phone.handshakes for phone in phones]
            wait_for("handshakes", lambda: sum(p.handshakes for p in phones) > sum(since) + 6 or
                     any(p.wrong for p in phones))
            self.server.torn(kill_in=1 + int(chance.expovariate(1 / 60)), power=1)
            self.server.process.wait(30)
            self.server.killed()
            for phone in phones:
                phone.stop()
                self.assertEqual(phone.wrong, [])
                handshakes += phone.handshakes
            self.server.well()
            self.server.start()
            for phone in phones:
                if phone.told or phone.pending:
                    self.check(phone)
        self.assertGreater(handshakes, ROUNDS * 6)
        self.assertGreater(self.server.seen("rolled_back"), ROUNDS)


class File(FaultCase):
    """The file is gone, or its pages are spoilt, and then they are as before."""

    def story(self, take, give):
        old, new = self.device(), self.device(user="bob")
        old.handshake()
        take()
        wait_for("the trouble", lambda: new.provision_initial().http == 503 or
                 new.provision_ack(new.offer()).http == 503, 5)
        for _ in range(40):
            answer = old.foldersync()
            self.assertIn((answer.http, answer.body and answer.status), ((200, 1), (503, b"")))
            answer = new.provision_initial()
            self.assertIn(answer.http, (200, 503))
            if answer.http == 200:
                answer = new.provision_ack(answer.key)
            self.assertAway(answer)
        self.assertIn(len(self.lines("store-failed")), (1, 2), self.server.log)
        self.assertEqual([line for line in self.server.lines if " warn " in line], [])
        give()
        self.comes_back(new)
        self.assertFolders(old.foldersync())
        self.server.restart(kill=True)
        for device in (old, new):
            device.close()
            self.assertFolders(device.foldersync())
        self.assertTrue(self.admin("store", "check")["good"])

    def test_moved(self):
        here, away = self.server.state / "provost.db", self.server.state / "away"
        self.story(lambda: here.rename(away), lambda: away.rename(here))

    def test_spoilt(self):
        self.server.restart()  # all is in the file, nothing in the log
        path = self.server.state / "provost.db"

        def spoil():
            self.admin("policy", "set", "default", "AllowCamera=1")
            checkpoint(path)
            spoil.was = path.read_bytes()
            with open(path, "r+b", buffering=0) as f:
                os.pwrite(f.fileno(), b"\xa5" * (len(spoil.was) - 4096), 4096)

        def mend():
            with open(path, "r+b", buffering=0) as f:
                os.pwrite(f.fileno(), spoil.was, 0)

        self.story(spoil, mend)


def checkpoint(path):
    """Brings the log into the file."""
    db = sqlite3.connect(path)
    busy, left, done = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    db.close()
    if (busy, left, done) != (0, 0, 0):
        raise AssertionError(f"the log is not empty: {busy} {left} {done}")


if __name__ == "__main__":
    unittest.main()

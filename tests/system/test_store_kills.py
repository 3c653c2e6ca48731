"""The end of the process, or of the power, at random instants of the store's own writing: in the middle of
a write of a group commit, before and after it is forced to the disk, in a checkpoint. What was told holds.

The devices and orders are those of test_crash. PROVOST_KILLS says how many times the server is killed;
without it as often as fits in PROVOST_KILLS_SECONDS."""

import collections
import os
import random
import sqlite3
import threading
import time

import test_crash
from harness.torn import TornServer

KILLS = int(os.environ.get("PROVOST_KILLS") or 1000000)
SECONDS = float(os.environ.get("PROVOST_KILLS_SECONDS") or (100000 if KILLS < 1000000 else 50))
SEED = int(os.environ.get("CRASH_SEED") or 7)
MOST = 5  # seconds that the server has to come to the write at which it ends


class Torn(test_crash.Crash):
    def setUp(self):
        self.server = TornServer(users=self.users, config=self.config)
        self.addCleanup(self.server.close)
        self.admin = self.server.admin

    def end_in_a_write(self, chance, threads):
        """@return whether the power went with the process."""
        power, checkpoint = chance.random() < 0.6, chance.random() < 0.1
        self.server.torn(kill_in=1 + int(chance.expovariate(1 / 60)), power=int(power),
                         data=int(checkpoint), seed=chance.getrandbits(32))
        try:
            self.server.process.wait(MOST)
        except Exception:  # nothing was written any more: then it ends as it is
            self.server.process.kill()
        self.server.killed()
        for thread in threads:
            thread.join(60)
            self.assertFalse(thread.is_alive(), "a request was neither answered nor ended")
        self.server.well()
        return power

    def test_an_upgrade_that_is_cut_short(self):
        """Of a file of the schema before, again and again, until the server has got through."""
        chance, device, path = random.Random(SEED), self.device(), self.server.state / "provost.db"
        device.handshake()
        self.server.stop()
        present, db = self.look(path, 1), sqlite3.connect(path)
        copied = "key, key_at, key_revision, key_hash, acked_offer, acked_status, outcome, " \
            "outcome_revision, said, provisioned_once, asked, personal, wipe, wipe_state, wipe_id, " \
            "shut, wipe_at, wipe_sent_at, wipe_ended_at, wipe_expires_at, wipe_by, wipe_reason"
        db.executescript(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)"
            "INSERT INTO device SELECT 'user' || i, device_id, device_type, user_agent, model, os, "
            f"version, state, first_seen, last_seen, loop_until, {copied}, tag FROM device, n;"
            "DROP INDEX device_by_id; DROP INDEX device_last_seen; DROP INDEX device_wipe_ends;"
            "DROP TABLE chain; ALTER TABLE device DROP COLUMN tag; PRAGMA user_version = 2;")
        db.close()
        seen, most = collections.Counter(), 4
        while True:
            self.server.torn(kill_in=1 + chance.randrange(most), power=1, seed=chance.getrandbits(32))
            most += most // 4 + 1
            try:
                self.server.start()
                break
            except AssertionError:
                self.server.killed()
            seen[self.look(path)] += 1
        self.server.well()
        self.assertEqual(self.look(path), present)
        self.assertFolders(device.foldersync())
        self.assertTrue(self.admin("store", "check")["good"])
        self.assertGreater(seen[2], 10, seen)

    def look(self, path, count=3001):
        """@return the schema; nothing may be missing."""
        db = sqlite3.connect(path)
        schema, = db.execute("PRAGMA user_version").fetchone()
        devices, = db.execute("SELECT count(*) FROM device").fetchone()
        sound, = db.execute("PRAGMA integrity_check(1)").fetchone()
        db.close()
        self.assertEqual((devices, sound), (count, "ok"))
        return schema

    def test_nothing_told_is_lost(self):
        chance, under_way = random.Random(SEED), collections.Counter()
        actors = [test_crash.Actor(self, number) for number in range(test_crash.DEVICES)]
        began, kills, powers = time.monotonic(), 0, 0
        while kills < KILLS and time.monotonic() - began < SECONDS:
            threads = [threading.Thread(target=actor.run, daemon=True) for actor in actors]
            for thread in threads:
                thread.start()
            powers += self.end_in_a_write(chance, threads)
            kills += 1
            self.server.start()
            for actor in actors:
                step = actor.step
                under_way[("in force: " if actor.check() else "not or as the key tells: ") +
                          str(step)] += 1
        told = sum((actor.count for actor in actors), collections.Counter())
        self.check_audit(actors)
        print(f"\n{kills} kills ({powers} with the power, which took "
              f"{self.server.seen('rolled_back')} writes along) in {time.monotonic() - began:.0f} s at "
              f"{self.server.seen('operations')} writes and syncs; told: {dict(told)}; "
              f"under way: {dict(under_way)}")
        self.assertGreater(self.server.seen("rolled_back"), kills // 10)
        for step in ("done", "enrol"):
            self.assertGreater(told[step], kills // 4, f"too few of {step} to prove anything")

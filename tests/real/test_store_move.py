"""`provost store move`: from SQLite into PostgreSQL, killed in between, verified, and the way back."""

import contextlib
import json
import os
import pathlib
import pty
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import unittest

from servers import Postgresql

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "system"))

from harness.eas import Device  # noqa: E402
from harness.server import BUILD, Server, environment  # noqa: E402

MANY = 20000  # partnerships


class MoveCase(unittest.TestCase):
    made = 0

    @classmethod
    def setUpClass(cls):
        cls.postgresql = Postgresql()
        cls.postgresql.__enter__()
        cls.addClassCleanup(cls.postgresql.__exit__, None, None, None)

    def setUp(self):
        MoveCase.made += 1
        self.database = f"move{MoveCase.made}"
        self.url = self.postgresql.create(self.database)
        self.server = Server()
        self.addCleanup(self.server.close)
        self.admin = self.server.admin

    def argv(self, *more):
        return [str(BUILD / "provost"), "store", "move", "--from", str(self.server.state), *more]

    def move(self, *more, code=0):
        run = subprocess.run(self.argv("--to", self.url, *more), text=True, capture_output=True,
                             env=environment(), timeout=300, check=False)
        self.assertEqual(run.returncode, code, run)
        return run

    def sql(self, text):
        return self.postgresql.sql(text, self.database)

    def device(self, server=None, **more):
        made = Device(server or self.server, **more)
        self.addCleanup(made.close)
        return made

    def provisioned(self, **more):
        device = self.device(**more)
        try:
            device.handshake()
        except AssertionError as why:
            raise AssertionError(f"{why}\n{self.server.log}") from why
        self.assertEqual(device.foldersync().status, 1)
        return device

    def elsewhere(self, device, server):
        other = self.device(server, user=device.user, device_id=device.device_id, version=device.version)
        other.key = device.key
        return other

    def over_postgresql(self):
        """A server over the database, with a state directory of its own; not started."""
        other = Server(start=False)
        other.write_config(f'store = "{self.url}";\n')
        self.addCleanup(other.close)
        return other

    def on_postgresql(self):
        return self.over_postgresql().start()

    def does_not_start(self, server, words):
        with self.assertRaisesRegex(AssertionError, words):
            server.start()
        server.process = None

    def not_ended(self):
        """As if the move had been killed before its last transaction."""
        self.sql("UPDATE store_move SET done = 0; DELETE FROM item WHERE kind = 'audit';"
                 "DELETE FROM audit")
        with sqlite3.connect(self.server.state / "provost.db") as db:
            db.execute("DELETE FROM item WHERE kind = 'move' AND name = 'to'")
        db.close()

    def lines(self, source):
        """What a server says of itself, but for what may differ."""
        return {what: source.admin(*what.split()) for what in
                ("policy list", "rule list", "user list", "device list", "token list")}

    def used(self):
        """Something of everything; @return devices that are in."""
        inside = [self.provisioned(device_id=f"IN{i}") for i in range(3)]
        self.provisioned(device_id="LOST")
        self.admin("device", "wipe", "ann", "LOST", "--whole-device", "--yes", "--expires", "30d")
        self.admin("device", "block", "bob", "UNSEEN", "--reason", "by \u00dcmit")
        self.admin("policy", "new", "strict", "DevicePasswordEnabled=1")
        self.admin("policy", "assign", "strict", "--user", "bob")
        self.admin("rule", "add", "quarantine", "Model=Odd*", "--yes")
        self.admin("token", "add", "robot", "--scope", "read")
        self.admin("user", "disable", "carl")
        pending = self.device(device_id="OFFERED", user="bob")
        pending.offer()
        odd = self.device(device_id="ODD", agent="Odd\u00e9/1.0")
        odd.handshake()
        return inside + [odd]


class Whole(MoveCase):
    def test_everything_arrives_and_the_old_file_is_closed(self):
        inside = self.used()
        before = self.lines(self.server)
        audit = self.admin("audit")
        self.server.stop()
        run = self.move("--json")
        told = json.loads(run.stdout)
        self.assertEqual(told["to"], "postgresql at 127.0.0.1")
        self.assertRegex(told["sha256"], "^[0-9a-f]{64}$")
        self.assertEqual(run.stderr, "")

        other = self.on_postgresql()
        self.assertEqual(self.lines(other), before)
        for device in inside:
            self.assertEqual(self.elsewhere(device, other).foldersync().status, 1)
        lost = self.device(other, device_id="LOST")
        self.assertIn("RemoteWipe", str(lost.poll().tree))
        self.assertEqual(other.admin("device", "why", "ann", "IN0")["steps"] != [], True)
        moved = other.admin("audit")
        self.assertEqual(moved[:len(audit)], audit)
        self.assertEqual(moved[len(audit)]["act"], "store.move")
        self.assertEqual(moved[len(audit)]["from"], str(self.server.state))
        verified = other.admin.run("audit", "--verify")
        self.assertEqual(verified.returncode, 0, verified)
        other.admin("policy", "set", "strict", "MinDevicePasswordLength=6")
        self.provisioned_on(other)

        self.does_not_start(self.server, "was moved to postgresql at 127.0.0.1")
        self.assertIn("already", self.move(code=1).stderr)

    def provisioned_on(self, server):
        device = self.device(server, device_id="NEW", user="bob")
        device.handshake()
        self.assertEqual(device.foldersync().status, 1)

    def test_only_the_mark_was_left_to_make(self):
        self.provisioned(device_id="PHONE")
        self.server.stop()
        self.move()
        with sqlite3.connect(self.server.state / "provost.db") as db:
            db.execute("DELETE FROM item WHERE kind = 'move' AND name = 'to'")
        db.close()
        told = json.loads(self.move("--json").stdout)
        self.assertIsNone(told["sha256"])
        self.does_not_start(self.server, "was moved to")
        self.assertEqual(self.sql("SELECT count(*) FROM audit WHERE convert_from(json, 'UTF8') LIKE"
                                  " '%store.move%'").strip(), "1")

    def test_the_way_back(self):
        device = self.provisioned(device_id="PHONE")
        self.server.stop()
        self.move()
        run = subprocess.run(self.argv("--undo", "--yes"), text=True, capture_output=True,
                             env=environment(), check=False)
        self.assertEqual((run.returncode, run.stdout), (0, "Servers start on it again.\n"), run)
        self.server.start()
        self.assertEqual(device.foldersync().status, 1)
        self.server.stop()
        self.assertIn("not empty", self.move(code=1).stderr)

    def test_lines_that_a_killed_server_has_not_sealed(self):
        for turn in range(3):
            self.admin("policy", "set", "default", f"MinDevicePasswordLength={turn + 4}")
            self.server.kill()
            self.server.start()
        self.admin("policy", "set", "default", "MinDevicePasswordLength=9")
        self.server.kill()
        with sqlite3.connect(self.server.state / "provost.db") as db:
            waiting, = db.execute("SELECT count(*) FROM audit").fetchone()
        db.close()
        self.move()
        other = self.on_postgresql()
        saved = [x for x in other.admin("audit") if x["act"].startswith("policy")]
        self.assertGreaterEqual(len(saved), 4, f"{waiting} lines were waiting")
        self.assertEqual(other.admin.run("audit", "--verify").returncode, 0)


class Refused(MoveCase):
    def test_a_server_that_runs(self):
        self.assertIn("another provostd uses the state directory", self.move(code=1).stderr)
        self.assertEqual(self.sql("SELECT to_regclass('device')").strip(), "")

    def test_what_is_no_store(self):
        self.server.stop()
        shutil.rmtree(self.server.state)
        self.assertIn("No such file", self.move(code=1).stderr)
        self.assertFalse(self.server.state.exists())
        self.server.state.mkdir()
        self.assertIn("No such file", self.move(code=1).stderr)
        self.assertEqual(os.listdir(self.server.state), [])

    def test_a_database_that_is_not_empty(self):
        self.server.stop()
        for made, words in (("CREATE TABLE mine (x int)", 'something else in it, such as "mine"'),
                            ("DROP TABLE mine; CREATE VIEW look AS SELECT 1", 'such as "look"')):
            self.sql(made)
            self.assertIn(words, self.move(code=1).stderr)
        self.sql("DROP VIEW look")
        self.on_postgresql().stop()
        self.assertIn("rows in the table", self.move(code=1).stderr)

    def test_a_database_out_of_reach(self):
        self.server.stop()
        self.url = "postgresql://nobody:secretword@127.0.0.1:1/none"
        told = self.move(code=1).stderr
        self.assertIn("postgresql at 127.0.0.1", told)
        self.assertNotIn("secretword", told)
        for url in ("mysql://x", "postgresql:/x", "nonsense"):
            self.url = url
            self.move(code=2)
        self.server.start()

    def test_a_damaged_audit_log(self):
        self.used()
        self.server.stop()
        file = self.server.state / "audit" / "audit.jsonl"
        text = file.read_text(encoding="utf-8")
        file.write_text(text.replace('"actor"', '"aktor"', 1), encoding="utf-8")
        self.assertIn("only an audit log that is whole", self.move(code=1).stderr)
        file.write_text(text, encoding="utf-8")
        self.move()

    def test_no_server_starts_on_what_is_half_there(self):
        self.provisioned()
        self.server.stop()
        self.move()
        self.not_ended()
        self.does_not_start(self.over_postgresql(), "being moved into it")
        self.move()
        self.on_postgresql()

    def test_what_arrives_as_something_else_is_found(self):
        self.used()
        self.server.stop()
        for spoil, words in (
                ("UPDATE device SET key = key + 1 WHERE device_id = 'IN1'", "device, row ann/IN1 is another"),
                ("UPDATE trail SET trail = '[]' WHERE device_id = 'IN0'", "trail, row ann/IN0 is another"),
                ("DELETE FROM device WHERE device_id = 'IN2'", "row ann/IN2 is"),
                ("INSERT INTO account VALUES ('zoe', 0, 0)", "account, row zoe is one too many"),
                ("UPDATE chain SET json = '{}' WHERE seq = 2", "chain, row 2 is another"),
                ("DELETE FROM chain WHERE seq = 1", "chain, row 1 is another")):
            with self.subTest(spoil):
                self.move("--restart")
                self.not_ended()
                self.sql(spoil)
                self.assertIn(words, self.move(code=1).stderr)


class Upkeep(MoveCase):
    """What of `provost store` works over PostgreSQL."""

    def setUp(self):
        super().setUp()
        self.server.stop()
        self.server = self.on_postgresql()
        self.admin = self.server.admin

    def check(self):
        run = self.admin.run("store", "check", json_out=True)
        result = json.loads(run.stdout)
        self.assertEqual(result["good"], run.returncode == 0, run)
        return run.returncode, [(f["where"], f["why"]) for f in result["findings"]], result["rows"]

    def test_backup_and_restore_are_pg_dumps(self):
        file = self.server.dir / "copy.db"
        for verb in ("backup", "restore"):
            run = self.admin.run("store", verb, str(file))
            self.assertEqual(run.returncode, 1, run)
            self.assertIn("pg_dump", run.stderr)
        self.assertFalse(file.exists())

    def test_a_sound_store(self):
        self.used()
        code, found, rows = self.check()
        self.assertEqual((code, found), (0, []))
        self.assertGreater(rows, 20)

    def test_more_rows_than_a_page(self):
        self.provisioned(device_id="SEED")
        self.sql("INSERT INTO trail SELECT owner, convert_to('T' || i, 'UTF8'), '[]' FROM device,"
                 " generate_series(1, 2500) AS i")
        self.sql("INSERT INTO event (json) SELECT '{}' FROM generate_series(1, 2000)")
        code, found, rows = self.check()
        self.assertEqual((code, len(found)), (1, 1))
        self.assertEqual(found[0][0], "trail")
        self.assertRegex(found[0][1], r"^2500 rows belong to no device, as ann/T")
        self.assertGreater(rows, 4500)

    def test_whatever_is_spoilt_is_found_and_named(self):
        self.used()
        for spoil, mend, where, why in (
                ("UPDATE device SET version = '14.7' WHERE device_id = 'IN0'",
                 "UPDATE device SET version = '14.1' WHERE device_id = 'IN0'", "device ann/IN0", "14.7"),
                ("UPDATE device SET offers = '9' WHERE device_id = 'ODD'",
                 "UPDATE device SET offers = '' WHERE device_id = 'ODD'", "device ann/ODD", "offers"),
                ("UPDATE account SET enabled = 7 WHERE owner = 'carl'",
                 "UPDATE account SET enabled = 0 WHERE owner = 'carl'", "account carl", "enabled"),
                ("UPDATE device_info SET info = '{' WHERE device_id = 'IN1'",
                 "UPDATE device_info SET info = '{}' WHERE device_id = 'IN1'", "device_info ann/IN1",
                 "no JSON"),
                ("INSERT INTO item VALUES ('bond', 'a/b/NOBODY', '{}')", "DELETE FROM item WHERE kind = 'bond'",
                 "item bond", "1 rows belong to no device, as a/b/NOBODY"),
                ("INSERT INTO item VALUES ('line', 'odd', '{\"current\": 99}')",
                 "DELETE FROM item WHERE name = 'odd'", "lists", "odd"),
                ("UPDATE chain SET json = replace(convert_from(json, 'UTF8'), 'ann', 'ben')::bytea WHERE"
                 " seq = (SELECT min(seq) FROM chain WHERE convert_from(json, 'UTF8') LIKE '%ann%')",
                 None, "audit", "changed")):
            with self.subTest(spoil):
                self.check()  # seals the audit log
                self.sql(spoil)
                code, found, _ = self.check()
                self.assertEqual(code, 1)
                self.assertTrue(any(w.startswith(where) and why in y for w, y in found), found)
                if mend:
                    self.sql(mend)
                    self.assertEqual(self.check()[:2], (0, []))

    def test_a_dump_and_the_way_back(self):
        """As docs/store.md has it."""
        old = self.provisioned(device_id="OLD")
        self.admin("policy", "new", "kept", "DevicePasswordEnabled=1")
        dump = self.postgresql.dir / f"{self.database}.dump"
        self.postgresql.run("pg_dump", "-Fc", "-f", dump, self.url)
        late = self.provisioned(device_id="LATE")
        self.admin("policy", "remove", "kept", "--yes")
        self.server.stop()
        self.postgresql.run("pg_restore", "--clean", "--if-exists", "--single-transaction", "-d", self.url, dump)
        self.server.start()
        self.assertEqual(old.foldersync().status, 1)
        self.assertIn("kept", [p["name"] for p in self.admin("policy", "list")])
        self.assertIn(late.foldersync().status, (142, 144))
        late.key = 0
        late.handshake()
        self.assertEqual(late.foldersync().status, 1)
        self.assertEqual(self.check()[:2], (0, []))
        self.assertEqual(self.admin.run("audit", "--verify").returncode, 0)

    def test_out_of_reach(self):
        self.postgresql.kill()
        run = self.admin.run("store", "check")
        self.postgresql.start()
        self.assertEqual(run.returncode, 1, run)
        self.assertIn("postgresql at 127.0.0.1", run.stderr)


class Killed(MoveCase):
    """20,000 partnerships."""

    def fill(self, count=MANY):
        device = self.provisioned(device_id="SEED")
        self.server.stop()
        with sqlite3.connect(self.server.state / "provost.db") as db:
            columns = [row[1] for row in db.execute("PRAGMA table_info(device)")]
            rest = ", ".join(columns[2:])
            db.execute("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
                       f"INSERT INTO device SELECT printf('user%05d', i / 2), printf('DEV%06d', i), {rest}"
                       " FROM n, (SELECT * FROM device WHERE device_id = 'SEED')", (count - 1,))
            db.execute("INSERT INTO offer SELECT user, device_id, 0, 5, 6, 1, key_hash FROM device"
                       " WHERE device_id LIKE '%7'")
            db.execute("INSERT INTO offer SELECT user, device_id, 2, 9, 6, 1, key_hash FROM device"
                       " WHERE device_id LIKE '%7'")
            for table, values in (("device_info", "'{\"Model\":\"M\"}', '[]'"), ("trail", "'[1, 2, 3]'"),
                                  ("folder_state", "1, 0, '[]', '', ''")):
                db.execute(f"INSERT OR IGNORE INTO {table} SELECT user, device_id, {values} FROM device"
                           " WHERE device_id LIKE 'DEV%'")
        db.close()
        return device

    def killed_after(self, seconds, *more):
        """@return whether it was killed before it ended"""
        process = subprocess.Popen(self.argv("--to", self.url, *more), stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, env=environment(), text=True)
        try:
            out, err = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            return True
        self.assertEqual(process.returncode, 0, err)
        return False

    def test_it_goes_on_where_it_was(self):
        device = self.fill()
        chance, killed, seen = random.Random(7), 0, []
        while self.killed_after(0.2 + 0.6 * chance.random() + 0.05 * killed):  # at last it gets there
            killed += 1
            there = self.sql("SELECT CASE WHEN to_regclass('store_move') IS NULL THEN 0 ELSE 1 END").strip()
            if there == "1":
                seen.append(int(self.sql("SELECT coalesce(max(rows), 0) FROM store_move")))
            if killed % 4 == 0:
                self.postgresql.kill()
                self.postgresql.start()
            if killed == 200:
                self.fail(f"it does not come to an end: {seen}")
        self.assertEqual(seen, sorted(seen))
        self.assertGreater(len(set(seen)), 1, "it was never killed in the middle")
        self.assertEqual(self.sql("SELECT count(*), count(DISTINCT (owner, device_id)) FROM device").strip(),
                         f"{MANY}|{MANY}")
        other = self.on_postgresql()
        self.assertEqual(self.elsewhere(device, other).foldersync().status, 1)
        self.assertEqual(other.admin.run("audit", "--verify").returncode, 0)

    def test_a_person_sees_a_bar(self):
        self.fill(5000)
        mine, its = pty.openpty()
        self.addCleanup(os.close, mine)
        shown = []

        def read():
            with contextlib.suppress(OSError):
                while data := os.read(mine, 65536):
                    shown.append(data.decode())
        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        run = subprocess.run(self.argv("--to", self.url), stderr=its, stdout=subprocess.PIPE, text=True,
                             check=False, env=environment(), timeout=300)
        os.close(its)
        reader.join(10)
        text = "".join(shown)
        self.assertEqual(run.returncode, 0, text)
        for what in ("moving", "verifying"):
            shares = [int(n) for n in re.findall(rf"{what} \[#*\.*\] (\d+) %", text)]
            self.assertGreater(len(shares), 3, text)
            self.assertEqual(shares, sorted(shares))
        self.assertNotIn("rows\n", text)

    def test_a_server_ran_meanwhile(self):
        self.fill(3000)
        while self.killed_after(0.5):
            if self.sql("SELECT to_regclass('store_move') IS NOT NULL").strip() == "t":
                break
        self.not_ended()
        self.server.start()
        self.admin("device", "block", "bob", "LATER")
        self.server.stop()
        self.assertIn("--restart", self.move(code=1).stderr)
        run = self.move("--restart")
        self.assertRegex(run.stdout, r"\d+ rows moved to postgresql at 127\.0\.0\.1, read again")
        self.assertIn("device moved: 3001 rows\n", run.stderr)
        self.assertIn("device verified: 3001 rows\n", run.stderr)
        self.assertEqual(self.on_postgresql().admin("device", "show", "bob", "LATER")["state"], "blocked")

    def test_the_database_goes_away(self):
        self.fill()
        process = subprocess.Popen(self.argv("--to", self.url), stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, env=environment(), text=True)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None:
            if self.sql("SELECT to_regclass('store_move') IS NOT NULL").strip() == "t" and \
                    int(self.sql("SELECT coalesce(max(rows), 0) FROM store_move")) > 2000:
                break
        self.postgresql.kill()
        out, err = process.communicate(timeout=60)
        self.postgresql.start()
        self.assertEqual(process.returncode, 1, err)
        self.assertIn("postgresql at 127.0.0.1", err)
        self.assertIn("rows are there already", self.move().stderr)


if __name__ == "__main__":
    unittest.main()

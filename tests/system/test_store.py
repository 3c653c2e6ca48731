"""`provost store`: backup, restore and check, while the server runs."""

import contextlib
import http.client
import json
import os
import pathlib
import pty
import re
import resource
import shutil
import sqlite3
import stat
import subprocess
import tempfile
import threading
import time
import unittest

from harness.admin import Failed
from harness.api import Api
from harness.case import OwnServerCase, ServerCase
from harness.eas import Device
from harness.server import TREE, Server, wait_for


class Phone(threading.Thread):
    """Provisions again and again, and remembers every key that it was told."""

    def __init__(self, device):
        super().__init__(daemon=True)
        self.device, self.told, self.end = device, [], threading.Event()
        self.failures, self.later, self.lost = [], 0, 0

    def run(self):
        try:
            while not self.end.is_set():
                self.turn()
        except (OSError, http.client.HTTPException, AssertionError) as why:
            self.failures.append(why)

    def turn(self):
        """Asked to come back later it does; an offer that a restore has taken away it asks for anew."""
        offer = self.device.provision_initial()
        if offer.http == 503:
            self.later += 1
            return
        assert (offer.http, offer.status, offer.policy_status) == (200, 1, 1), offer
        answer = self.device.provision_ack(int(offer.key))
        if answer.http == 503:
            self.later += 1
        elif (answer.http, answer.policy_status) == (200, 1):
            self.told.append(int(answer.key))
            self.device.key = self.told[-1]
        else:
            assert (answer.http, answer.policy_status) == (200, 5), answer
            self.lost += 1


class StoreCase(OwnServerCase):
    def setUp(self):
        super().setUp()
        self.place = pathlib.Path(tempfile.mkdtemp(prefix="provost-backup-"))
        self.addCleanup(shutil.rmtree, self.place, ignore_errors=True)
        self.file = self.place / "copy.db"

    def provisioned(self, **more):
        device = self.device(**more)
        device.handshake()
        self.assertFolders(device.foldersync())
        return device

    def phones(self, count):
        phones = [Phone(self.device(device_id=f"LOAD{i}")) for i in range(count)]
        for phone in phones:
            phone.start()

        def end():
            for phone in phones:
                phone.end.set()
            for phone in phones:
                phone.join(60)
        self.addCleanup(end)
        return phones, end

    def opened(self, file):
        """A server whose store is that file."""
        state = self.place / "state"
        shutil.rmtree(state, ignore_errors=True)
        state.mkdir()
        shutil.copy(file, state / "provost.db")
        other = Server(state=state)
        self.addCleanup(other.close)
        return other

    def at(self, server, device):
        """The same device, before another server."""
        other = Device(server, user=device.user, password=device.password, device_id=device.device_id,
                       version=device.version)
        other.key = device.key
        self.addCleanup(other.close)
        return other

    def rows(self, file, query):
        with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as db:
            return db.execute(query).fetchall()

    def refused(self, *args, code=1):
        run = self.admin.run("store", *args)
        self.assertEqual(run.returncode, code, run)
        return run.stderr


class Backup(StoreCase):
    def test_it_opens_as_a_store_of_its_own(self):
        device = self.provisioned(device_id="PHONE")
        self.admin("policy", "new", "strict", "DevicePasswordEnabled=1")
        self.admin("user", "disable", "carl")
        told = self.admin("store", "backup", str(self.file))
        self.assertEqual((told["file"], told["devices"], told["bytes"]),
                         (str(self.file), 1, self.file.stat().st_size))
        self.assertEqual(stat.S_IMODE(self.file.stat().st_mode), 0o600)
        self.assertEqual(os.listdir(self.place), ["copy.db"])
        with sqlite3.connect(f"file:{self.file}?mode=ro&immutable=1", uri=True) as db:
            self.assertEqual(db.execute("PRAGMA journal_mode").fetchone(), ("delete",))
        other = self.opened(self.file)
        self.assertFolders(self.at(other, device).foldersync())
        self.assertIn("strict", [p["name"] for p in other.admin("policy", "list")])
        self.assertFalse({u["name"]: u["enabled"] for u in other.admin("user", "list")}["carl"])
        line = [x for x in self.admin("audit") if x["act"] == "store.backup"][0]
        self.assertEqual((line["file"], line["after"]["devices"]), (str(self.file), 1))
        self.assertRegex(line["actor"], r"^uid \d+")

    def test_a_name_counts_from_where_the_administrator_is(self):
        before = os.getcwd()
        self.addCleanup(os.chdir, before)
        os.chdir(self.place)
        run = self.admin.run("store", "backup", "here.db")
        self.assertEqual((run.returncode, run.stderr), (0, ""), run)
        self.assertRegex(run.stdout, rf"^0 devices, \d+ bytes, in {self.place}/here.db\.\n$")
        self.assertTrue((self.place / "here.db").exists())

    def test_a_person_sees_how_far_it_is(self):
        self.server.stop()
        with sqlite3.connect(self.server.state / "provost.db") as db:
            db.executemany("INSERT INTO trail VALUES (?, 'X', ?)",
                           ((f"u{i}", json.dumps("y" * 2000)) for i in range(20000)))
        db.close()
        self.server.start()
        mine, its = pty.openpty()
        self.addCleanup(os.close, mine)
        argv = [self.admin.program, "-s", self.admin.socket, "store", "backup", str(self.file)]
        run = subprocess.run(argv, stderr=its, stdout=subprocess.PIPE, text=True, check=False,
                             env=self.admin.env, timeout=60)
        os.close(its)
        shown = ""
        with contextlib.suppress(OSError):  # which tells that nobody holds the other end any more
            while data := os.read(mine, 65536):
                shown += data.decode()
        self.assertEqual(run.returncode, 0, shown)
        self.assertRegex(shown, r"\r\x1b\[K(copying \[#*\.*\] \d+ %|checking|writing)")
        self.assertTrue(shown.endswith("\r\x1b[K"), repr(shown))
        self.assertRegex(run.stdout, r"^0 devices, \d+ bytes, in ")

    def test_under_load_nobody_waits_and_no_told_key_is_lost(self):
        still = [self.provisioned(device_id=f"STILL{i}") for i in range(3)]
        phones, end = self.phones(6)
        while min(len(p.told) for p in phones) < 2:
            time.sleep(0.01)
        for turn in range(5):
            told_before = {p.device.device_id: len(p.told) for p in phones}
            self.admin("store", "backup", "--force", str(self.file))
            known = {p.device.device_id: set(p.told) for p in phones}
            late = {p.device.device_id: len(p.told) for p in phones}
            self.assertGreater(sum(late.values()), sum(told_before.values()), f"turn {turn}")
            for user, device_id, key in self.rows(self.file, "SELECT user, device_id, key FROM device"):
                if device_id not in known:
                    continue
                phone = next(p for p in phones if p.device.device_id == device_id)
                # At least as new as what was told before; at most one that is being told.
                index = phone.told.index(key) if key in phone.told else len(phone.told)
                self.assertGreaterEqual(index, told_before[device_id] - 1)
        end()
        self.assertEqual([p.failures for p in phones], [[]] * len(phones))
        self.assertEqual([(p.later, p.lost) for p in phones], [(0, 0)] * len(phones))
        for phone in phones:
            self.assertFolders(phone.device.foldersync())
        other = self.opened(self.file)
        for device in still:
            self.assertFolders(self.at(other, device).foldersync())

    def test_what_is_there_stays_unless_it_is_to_be_replaced(self):
        self.file.write_text("mine", encoding="ascii")
        self.assertIn(f"{self.file} is there already", self.refused("backup", str(self.file)))
        self.assertEqual(self.file.read_text(encoding="ascii"), "mine")
        self.admin("store", "backup", "--force", str(self.file))
        self.assertEqual(self.rows(self.file, "SELECT count(*) FROM device"), [(0,)])
        link = self.place / "link"
        link.symlink_to(self.file)
        self.assertIn("is no file", self.refused("backup", "--force", str(link)))
        self.assertIn("is no file", self.refused("backup", "--force", str(self.place)))

    def test_the_servers_own_files_are_never_replaced(self):
        device = self.provisioned()
        for name in ("provost.db", "provost.db-wal", "new.db", "audit/audit.jsonl"):
            with self.subTest(name):
                told = self.refused("backup", "--force", str(self.server.state / name))
                self.assertIn("the server's own directory", told)
        hidden = self.place / "state"
        hidden.symlink_to(self.server.state)
        self.assertIn("own directory", self.refused("backup", "--force", str(hidden / "provost.db")))
        self.assertFolders(device.foldersync())
        self.server.restart()
        self.assertFolders(device.foldersync())

    def test_where_nothing_can_be_made(self):
        self.assertIn("No such file", self.refused("backup", str(self.place / "no" / "copy.db")))
        self.assertIn("Not a directory", self.refused("backup", "/dev/null/copy.db"))
        self.assertIn("ends with the name", self.refused("backup", f"{self.place}/"))
        self.assertEqual(os.listdir(self.place), [])

    def test_the_disk_fills_up_meanwhile(self):
        device = self.provisioned()
        self.server.stop()
        with sqlite3.connect(self.server.state / "provost.db") as db:  # to have something to copy
            db.executemany("INSERT INTO trail VALUES (?, 'X', ?)",
                           ((f"u{i}", "[" + " " * 2000 + "]") for i in range(2000)))
        db.close()
        self.server.ignore_signals = True
        self.server.start()
        self.file.write_text("mine", encoding="ascii")
        resource.prlimit(self.server.pid, resource.RLIMIT_FSIZE, (2 << 20, 64 << 20))
        told = self.refused("backup", "--force", str(self.file))
        self.assertRegex(told, "full|disk I/O error|File too large")
        self.assertEqual(os.listdir(self.place), ["copy.db"])
        self.assertEqual(self.file.read_text(encoding="ascii"), "mine")
        self.assertFolders(device.foldersync())
        resource.prlimit(self.server.pid, resource.RLIMIT_FSIZE, (64 << 20, 64 << 20))
        self.admin("store", "backup", "--force", str(self.file))
        self.assertEqual(self.rows(self.file, "SELECT count(*) FROM trail WHERE device_id = 'X'"),
                         [(2000,)])

    def test_a_disk_without_room_is_not_filled(self):
        free = os.statvfs("/dev/shm")
        if os.geteuid() != 0 or free.f_bavail * free.f_frsize > 1 << 40:
            self.skipTest("no small file system can be mounted here")
        small = self.place / "small"
        small.mkdir()
        if os.system(f"mount -t tmpfs -o size=64k none {small} 2>/dev/null") != 0:
            self.skipTest("no small file system can be mounted here")
        self.addCleanup(os.system, f"umount {small}")
        self.assertRegex(self.refused("backup", str(small / "copy.db")),
                         r"has \d+ bytes free, the backup needs \d+")
        self.assertEqual(os.listdir(small), [])


class Check(StoreCase):
    def used(self):
        """A store with something of everything."""
        self.provisioned(device_id="PHONE")
        self.provisioned(device_id="LOST", version="16.1")
        self.admin("device", "wipe", "ann", "LOST", "--yes")
        self.admin("policy", "new", "strict", "DevicePasswordEnabled=1")
        self.admin("policy", "assign", "strict", "--user", "bob")
        self.admin("rule", "add", "block", "Model=Bad*", "--yes")
        self.admin("token", "add", "robot", "--scope", "read")
        self.admin("user", "disable", "carl")

    def check(self):
        """Exit code, and what is found as (where, why)."""
        run = self.admin.run("store", "check", json_out=True)
        result = json.loads(run.stdout)
        self.assertEqual(result["good"], run.returncode == 0, run)
        self.assertEqual(result["count"], len(result["findings"]))
        return run.returncode, [(f["where"], f["why"]) for f in result["findings"]]

    def spoil(self, *statements):
        with sqlite3.connect(self.server.state / "provost.db", timeout=10) as db:
            for statement in statements:
                db.execute(statement)
        db.close()

    def test_a_sound_store(self):
        self.used()
        run = self.admin.run("store", "check")
        self.assertEqual(run.returncode, 0, run)
        self.assertRegex(run.stdout, r"^\d+ rows, all as they should be\.\n$")
        self.assertGreater(int(run.stdout.split()[0]), 10)

    def test_a_sound_store_under_load(self):
        phones, end = self.phones(6)
        while min(len(p.told) for p in phones) < 1:
            time.sleep(0.01)
        for _ in range(5):
            self.assertEqual(self.check(), (0, []))
        end()
        self.assertEqual([p.failures for p in phones], [[]] * len(phones))

    def test_whatever_is_spoilt_is_found_and_named(self):
        self.used()
        rows = [
            ("UPDATE device SET version = '14.7' WHERE device_id = 'PHONE'",
             "UPDATE device SET version = '14.1' WHERE device_id = 'PHONE'",
             "device ann/PHONE", 'version "14.7" cannot be understood'),
            ("UPDATE device SET key = -1 WHERE device_id = 'LOST'",
             "UPDATE device SET key = 1 WHERE device_id = 'LOST'", "device ann/LOST", 'key "-1"'),
            ("INSERT INTO offer VALUES ('ann', 'NOBODY', 0, 1, 1, 1, printf('%032d', 0))",
             "DELETE FROM offer WHERE device_id = 'NOBODY'", "offer", "1 rows belong to no device, as ann/NOBODY"),
            ("INSERT INTO trail VALUES ('ann', 'NOBODY', '[]')",
             "DELETE FROM trail WHERE device_id = 'NOBODY'", "trail", "belong to no device"),
            ("INSERT INTO device_info VALUES ('ann', 'NOBODY', '{}', '[]')",
             "DELETE FROM device_info WHERE device_id = 'NOBODY'", "device_info", "belong to no device"),
            ("INSERT INTO folder_state VALUES ('ann', 'NOBODY', 1, 0, '', '', '')",
             "DELETE FROM folder_state WHERE device_id = 'NOBODY'", "folder_state", "belong to no device"),
            ("INSERT INTO item VALUES ('bond', 'a/b/NOBODY', '{}')",
             "DELETE FROM item WHERE kind = 'bond'", "item bond", "belong to no device, as a/b/NOBODY"),
            ("UPDATE device_info SET info = '{' WHERE device_id = 'PHONE'",
             "UPDATE device_info SET info = '{}' WHERE device_id = 'PHONE'",
             "device_info ann/PHONE", "no JSON"),
            ("UPDATE user SET enabled = 2 WHERE name = 'carl'",
             "UPDATE user SET enabled = 0 WHERE name = 'carl'", "user carl", 'enabled "2"'),
            ("INSERT INTO item VALUES ('line', 'odd', '{\"current\": 9}')",
             "DELETE FROM item WHERE name = 'odd'", "item line", "a revision that is not there, as odd"),
            ("INSERT INTO item VALUES ('assignment', 'odd', '{\"policy\": \"none\"}')",
             "DELETE FROM item WHERE name = 'odd'", "item assignment", "a policy that is not there"),
            ("INSERT INTO event(json) VALUES ('no')", "DELETE FROM event", "event ", "no JSON"),
            ("PRAGMA user_version = 1", f"PRAGMA user_version = {self.schema()}", "file",
             "it has schema 1, not"),
        ]
        for spoil, mend, where, why in rows:
            with self.subTest(spoil):
                self.spoil(spoil)
                code, found = self.check()
                self.assertEqual(code, 1)
                self.assertTrue(any(w.startswith(where) and why in y for w, y in found), found)
                self.spoil(mend)
                self.assertEqual(self.check(), (0, []))
        self.spoil(rows[0][0], rows[2][0])
        run = self.admin.run("store", "check")
        self.assertEqual(run.returncode, 1, run)
        self.assertRegex(run.stdout, r"WHERE +WHAT\ndevice ann/PHONE +version")
        self.spoil(rows[0][1], rows[2][1])

    def schema(self):
        return self.rows(self.server.state / "provost.db", "PRAGMA user_version")[0][0]

    def test_a_damaged_page_and_a_changed_audit_line(self):
        self.used()
        self.spoil(*[f"INSERT INTO folder_ids VALUES ('u{i:04}', '{json.dumps('x' * 900)}')"
                     for i in range(200)])
        self.server.stop()
        file = self.server.state / "provost.db"
        data = bytearray(file.read_bytes())
        at = data.rindex(b"x" * 900)
        page = at - at % 4096
        data[page:page + 8] = b"\0" * 8  # the head of the page
        file.write_bytes(data)
        audit = self.server.state / "audit" / "audit.jsonl"
        text = audit.read_text(encoding="utf-8")
        audit.write_text(text.replace('"act":"policy.save"', '"act":"policy.sold"', 1)
                         if '"act":"policy.save"' in text else text.replace("ann", "ben", 1),
                         encoding="utf-8")
        self.server.start()
        code, found = self.check()
        self.assertEqual(code, 1)
        pages = [y for w, y in found if w == "file"]
        self.assertTrue(any(re.match(r"Page \d+:|On tree page", y) for y in pages), found)
        self.assertFalse([y for y in pages if "\n" in y or "***" in y])
        self.assertRegex(self.refused("backup", str(self.file)), r"state/provost\.db is damaged: (Page|On)")
        self.assertEqual(os.listdir(self.place), [])
        self.assertTrue(any(w.startswith("audit audit.jsonl:") and "changed" in y for w, y in found), found)


class Restore(StoreCase):
    def restore(self, *more):
        return self.admin("store", "restore", str(self.file), "--yes", *more)

    def sound(self):
        """What the store says of itself."""
        run = self.admin.run("store", "check")
        self.assertEqual(run.returncode, 0, run)
        run = self.admin.run("audit", "--verify")
        self.assertEqual(run.returncode, 0, run)

    def state(self, device_id):
        return self.admin("device", "show", "ann", device_id)["state"]

    def contents(self):
        """But for what goes on by itself: audit lines are moved, trails are written when there is time."""
        with sqlite3.connect(self.server.state / "provost.db", timeout=10) as db:
            return [line for line in db.iterdump() if '"audit"' not in line and "'audit'" not in line
                    and 'INTO "trail"' not in line]

    def finds_its_way(self, device):
        """Refused, asked to provision, provisions, is in."""
        answer = device.foldersync()
        self.assertIn(answer.status, (142, 144), answer)
        device.key = 0
        device.handshake()
        self.assertFolders(device.foldersync())

    def test_back_to_what_it_was(self):
        old, changed = self.provisioned(device_id="OLD"), self.provisioned(device_id="CHANGED")
        self.admin("policy", "new", "kept", "DevicePasswordEnabled=1")
        self.admin("rule", "add", "quarantine", "Model=Odd*", "--yes")
        before = self.admin("policy", "list"), self.admin("rule", "list")
        self.admin("store", "backup", str(self.file))
        was = changed.key
        changed.handshake()
        late = self.provisioned(device_id="LATE")
        self.admin("policy", "set", "kept", "MinDevicePasswordLength=8")
        self.admin("policy", "new", "new", "AllowCamera=0")
        self.admin("rule", "add", "block", "Model=Bad*", "--yes")
        told = self.restore()
        self.assertEqual((told["devices"], told["policies"], told["rules"], told["gone"],
                          told["other_keys"], told["kept"], told["blocked"]), (2, 2, 1, 1, 1, 0, 0))
        for turn in ("at once", "after a restart"):
            with self.subTest(turn):
                self.assertFolders(old.foldersync())
                self.assertFolders(changed.foldersync(key=was))
                self.assertEqual((self.admin("policy", "list"), self.admin("rule", "list")), before)
                self.server.restart()
        self.finds_its_way(changed)
        self.finds_its_way(late)
        lines = self.admin("audit")
        acts = [line["act"] for line in lines]
        self.assertLess(acts.index("store.backup"), acts.index("store.restore"))
        line = lines[acts.index("store.restore")]
        self.assertEqual((line["file"], line["after"]["gone"]), (str(self.file), 1))
        self.assertRegex(line["actor"], r"^uid \d+")
        self.admin("policy", "set", "kept", "MinDevicePasswordLength=6")
        self.sound()

    def test_whoever_was_shut_out_since_stays_out_and_nobody_is_wiped_again(self):
        def device(name):
            return self.provisioned(device_id=name, version="14.1")

        def wipe(name):
            self.admin("device", "wipe", "ann", name, "--whole-device", "--yes")

        def wiped(d):
            answer = d.poll()
            self.assertIn("RemoteWipe", str(answer.tree), answer)
            d.wipe_ack()
        names = ("BLOCKED", "QUARANTINED", "PENDING", "WIPED", "BACK", "CANCELLED", "REMOVED", "FREED",
                 "PLAIN")
        d = {name: device(name) for name in names}
        for name in ("BACK", "CANCELLED", "REMOVED"):
            wipe(name)
        self.admin("device", "block", "ann", "FREED")
        self.admin("token", "add", "leaked", "--scope", "read")
        self.admin("store", "backup", str(self.file))
        d["NEWBLOCK"], d["NEWWIPE"] = device("NEWBLOCK"), device("NEWWIPE")
        for name in ("BLOCKED", "NEWBLOCK"):
            self.admin("device", "block", "ann", name)
        self.admin("device", "quarantine", "ann", "QUARANTINED")
        for name in ("PENDING", "WIPED", "NEWWIPE"):
            wipe(name)
        wiped(d["WIPED"])
        wiped(d["BACK"])
        self.admin("device", "allow", "ann", "BACK")
        d["BACK"].key = 0
        d["BACK"].handshake()
        self.admin("device", "cancel-wipe", "ann", "CANCELLED")
        self.admin("device", "remove", "ann", "REMOVED", "--yes")
        self.admin("device", "allow", "ann", "FREED")
        self.admin("user", "disable", "carl")
        self.admin("user", "forbid-wipe", "bob")
        self.admin("token", "remove", "leaked")
        self.admin("token", "add", "fresh", "--scope", "read")

        planned = self.restore("--dry-run")
        self.assertEqual(self.state("FREED"), "provisioned")
        told = self.restore()
        self.assertEqual(told, planned)
        self.assertEqual((told["kept"], told["blocked"], told["held_users"]), (8, 1, 2))
        why = {x["device_id"]: x["why"] for x in told["not_as_in_the_file"]}
        self.assertEqual(why, {"BLOCKED": "blocked", "NEWBLOCK": "blocked", "QUARANTINED": "quarantined",
                               "PENDING": "wipe-pending", "NEWWIPE": "wipe-pending", "WIPED": "wiped",
                               "BACK": "wipe-over", "CANCELLED": "wipe-over",
                               "REMOVED": "wipe-forgotten"})
        states = {"BLOCKED": "blocked", "NEWBLOCK": "blocked", "QUARANTINED": "quarantined",
                  "PENDING": "wipe-pending", "NEWWIPE": "wipe-pending", "WIPED": "wiped",
                  "REMOVED": "blocked", "FREED": "blocked", "BACK": "provisioned", "PLAIN": "provisioned"}
        for turn in ("at once", "after a restart"):
            with self.subTest(turn):
                self.assertEqual({n: self.state(n) for n in states}, states)
                for name in ("BACK", "PLAIN"):
                    self.assertFolders(d[name].foldersync())
                for name in ("BLOCKED", "NEWBLOCK", "WIPED", "REMOVED", "FREED"):
                    self.assertNotEqual(d[name].foldersync().status, 1, name)
                    self.assertNotIn("RemoteWipe", str(d[name].poll().tree), name)
                for name in ("PENDING", "NEWWIPE"):
                    self.assertIn("RemoteWipe", str(d[name].poll().tree), name)
                self.assertNotIn("RemoteWipe", str(d["CANCELLED"].poll().tree))
                users = {u["name"]: u for u in self.admin("user", "list")}
                self.assertFalse(users["carl"]["enabled"])
                self.assertEqual([t["name"] for t in self.admin("token", "list")], ["fresh"])
                self.assertIn("wipe", self.refused_wipe("bob"))
                self.server.restart()
        self.sound()

    def refused_wipe(self, user):
        self.provisioned(user=user, device_id="HIS")
        run = self.admin.run("device", "wipe", user, "HIS", "--whole-device", "--yes")
        self.assertEqual(run.returncode, 1, run)
        return run.stderr

    def test_under_load_everybody_finds_the_way(self):
        phones, end = self.phones(6)
        while min(len(p.told) for p in phones) < 2:
            time.sleep(0.01)
        self.admin("store", "backup", str(self.file))
        for turn in range(5):
            told = [len(p.told) for p in phones]
            self.restore()
            wait_for("every phone to have another key", lambda: any(p.failures for p in phones) or
                     all(len(p.told) > n + 1 for p, n in zip(phones, told)))
        end()
        self.assertEqual([p.failures for p in phones], [[]] * len(phones))
        for phone in phones:
            self.assertFolders(phone.device.foldersync())
        self.server.restart()
        for phone in phones:
            self.assertFolders(phone.device.foldersync())
        self.sound()

    def test_a_waiting_ping_is_told(self):
        device = self.provisioned(device_id="PHONE")
        self.admin("policy", "new", "asks", "DevicePasswordEnabled=1")
        self.admin("device", "block", "ann", "PHONE")
        self.admin("store", "backup", str(self.file))
        self.admin("device", "allow", "ann", "PHONE")
        self.assertFolders(device.foldersync())
        device.start("Ping", device.ping_tree(heartbeat=300))
        wait_for("the Ping to wait", lambda: self.admin("status")["waiting_pings"] == 1)
        self.restore()
        answer = device.receive()
        self.assertEqual((answer.http, answer.root, answer.status), (200, "Ping", 7), answer)
        self.assertNotEqual(device.foldersync().status, 1)

    def spoilt_files(self):
        """(what, file's name, words of the refusal)"""
        good = self.file.read_bytes()
        where = self.place / "spoilt"
        where.mkdir()

        def raw(name, data):
            (where / name).write_bytes(data)
            return where / name

        def sql(name, *statements):
            file = raw(name, good)
            with sqlite3.connect(file) as db:
                for statement in statements:
                    db.execute(statement)
            db.close()
            return file
        middle = len(good) // 2 // 4096 * 4096
        yield "none", where / "none", "unable to open"
        yield "a directory", where, "no file"
        yield "empty", raw("empty", b""), "no store of provostd"
        yield "text", raw("text", b"no database\n" * 1000), "not a database"
        yield "cut", raw("cut", good[:middle]), "damaged|malformed"
        yield "cut in a page", raw("page", good[:middle + 1000]), "damaged|malformed"
        yield "a page of zeros", raw("zeros", good[:middle] + bytes(4096) + good[middle + 4096:]), \
            "damaged|malformed"
        foreign = where / "foreign"
        with sqlite3.connect(foreign) as db:
            db.execute("CREATE TABLE other (x)")
        db.close()
        yield "another program's", foreign, "no store of provostd"
        yield "another program's with our number", sql(
            "number", "DROP TABLE policy", "CREATE TABLE policy (x)"), "cannot be restored"
        yield "newer", sql("newer", "PRAGMA user_version = 99"), "newer provostd"
        yield "a trigger", sql("trigger", "CREATE TRIGGER t AFTER INSERT ON user BEGIN DELETE FROM "
                               "device; END"), "not those of a store"
        yield "a trigger that never ends", sql(
            "endless", "CREATE TRIGGER t AFTER UPDATE ON device BEGIN SELECT (WITH RECURSIVE n(i) AS "
            "(SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n); END"), "not those of a store"
        yield "one more table", sql("more", "CREATE TABLE more (x)"), "not those of a store"
        yield "a row that nobody understands", sql("row", "UPDATE device SET outcome = 'fine'"), \
            'device ann/PHONE: outcome "fine" cannot be understood'
        yield "a policy that cannot be in force", sql(
            "policy", "UPDATE policy SET settings = '{\"MinDevicePasswordLength\": \"many\"}'"), \
            'policy "default".*cannot be used'
        yield "a rule that is none", sql("rule", "INSERT INTO item VALUES ('rule', '1', '{}')"), \
            "rule.*is damaged"
        yield "no default policy", sql("default", "DELETE FROM policy", "DELETE FROM item"), \
            "there is no default"
        yield "a policy without its revision", sql(
            "line", "INSERT INTO item VALUES ('line', 'x', '{\"current\": 77}')"), "not there"

    def test_a_file_that_cannot_be_used_is_refused_and_nothing_changes(self):
        device = self.provisioned(device_id="PHONE")
        self.admin("store", "backup", str(self.file))
        self.admin("policy", "new", "later", "AllowCamera=0")
        self.admin("device", "list")
        time.sleep(0.5)  # what is written behind
        before = self.contents()
        for what, file, words in self.spoilt_files():
            with self.subTest(what):
                self.assertRegex(self.refused("restore", str(file), "--yes"), words)
                self.assertEqual(self.contents(), before)
                self.assertFalse((self.server.state / "restore.db").exists())
        self.assertNotIn("store.restore", [line["act"] for line in self.admin("audit")])
        self.assertFolders(device.foldersync())
        self.sound()

    def test_a_file_of_an_older_version_is_brought_up(self):
        device = self.provisioned(device_id="PHONE")
        self.file.unlink(missing_ok=True)
        old = sqlite3.connect(self.file)
        for migration in old_schema(2):
            old.executescript(migration)
        zero = "0" * 32
        old.execute("INSERT INTO device VALUES ('ann', 'OLD', 'T', 'U', 'M', 'O', '14.1', 'provisioned',"
                    f" 1, 2, 0, 77, 2, 1, '{zero}', 0, 0, 'compliant', 1, 1, 1, 1, 'block', 'none', 'none',"
                    " 0, 'not', 0, 0, 0, 0, '', '')")
        old.execute("INSERT INTO policy VALUES (1, 'default', 1, '{}', '', 'x')")
        old.execute("PRAGMA user_version = 2")
        old.commit()
        old.close()
        data = self.file.read_bytes()
        told = self.restore()
        self.assertEqual((told["devices"], told["gone"]), (1, 1))
        self.assertEqual(self.file.read_bytes(), data)
        self.assertEqual(self.state("OLD"), "blocked")
        self.finds_its_way(device)
        self.sound()

    def test_it_asks(self):
        self.provisioned(device_id="PHONE")
        self.admin("store", "backup", str(self.file))
        self.admin("device", "block", "ann", "PHONE")
        run = self.admin.on_a_terminal("n\n", "store", "restore", str(self.file))
        self.assertEqual(run.returncode, 1, run)
        self.assertIn("The file has 1 devices", run.stdout)
        self.assertIn("1 devices stay as they are", run.stdout)
        self.assertNotIn("store.restore", [line["act"] for line in self.admin("audit")])
        run = self.admin.on_a_terminal("y\n", "store", "restore", str(self.file))
        self.assertEqual(run.returncode, 0, run)
        self.assertIn("Restored.", run.stdout)
        self.assertEqual(self.state("PHONE"), "blocked")

    def test_killed_in_the_middle_it_is_the_one_or_the_other(self):
        self.provisioned(device_id="PHONE")
        self.admin("store", "backup", str(self.file))
        with sqlite3.connect(self.file) as db:  # to have something to restore
            db.executemany("INSERT INTO trail VALUES ('ann', ?, '[]')",
                           ((f"X{i}",) for i in range(20000)))
        db.close()
        seen = set()
        for turn in range(8):
            self.server.stop()
            with sqlite3.connect(self.server.state / "provost.db") as db:
                db.execute("DELETE FROM trail WHERE device_id LIKE 'X%'")
            db.close()
            self.server.start()
            api = Api(self.server)
            self.assertEqual(api("POST", "/v1/store/restore", {"file": str(self.file)}).http, 202)
            api.close()
            time.sleep(0.05 + 0.1 * turn)
            self.server.kill()
            count, = self.rows(self.server.state / "provost.db",
                               "SELECT count(*) FROM trail WHERE device_id LIKE 'X%'")[0]
            self.assertIn(count, (0, 20000))
            seen.add(count)
            self.server.start()
        self.admin("store", "restore", str(self.file), "--yes")
        self.assertFalse((self.server.state / "restore.db").exists())

    def test_one_piece_of_work_at_a_time(self):
        self.provisioned(device_id="PHONE")
        self.admin("store", "backup", str(self.file))
        with sqlite3.connect(self.file) as db:
            db.executemany("INSERT INTO trail VALUES ('ann', ?, '[]')",
                           ((f"X{i}",) for i in range(20000)))
        db.close()
        api = Api(self.server)
        self.addCleanup(api.close)
        begun = api("POST", "/v1/store/restore", {"file": str(self.file)})
        for path, body in (("backup", {"file": str(self.place / "other.db")}), ("check", {}),
                           ("restore", {"file": str(self.file)})):
            answer = api("POST", f"/v1/store/{path}", body)
            self.assertEqual((answer.http, answer.code), (409, "store_busy"), answer)

        def job():
            now = api("GET", "/v1/store/job").json
            self.assertEqual((now["id"], now["act"]), (begun.json["id"], "restore"))
            return now if now["state"] != "running" else None
        ended = wait_for("the restore", job)
        self.assertEqual((ended["state"], ended["error"], ended["result"]["devices"]), ("done", None, 1))

    def test_the_server_ends_meanwhile(self):
        self.provisioned(device_id="PHONE")
        self.admin("store", "backup", str(self.file))
        with sqlite3.connect(self.file) as db:
            db.executemany("INSERT INTO trail VALUES ('ann', ?, ?)",
                           ((f"X{i}", json.dumps("y" * 1000)) for i in range(20000)))
        db.close()
        api = Api(self.server)
        for path, body in (("restore", {"file": str(self.file)}), ("check", {})):
            self.assertEqual(api("POST", f"/v1/store/{path}", body).http, 202)
            api.close()
            self.server.restart()
        self.assertFalse((self.server.state / "restore.db").exists())
        self.assertEqual(os.listdir(self.place), ["copy.db"])

    def test_the_disk_is_full(self):
        device = self.provisioned(device_id="PHONE")
        self.admin("store", "backup", str(self.file))
        with sqlite3.connect(self.file) as db:
            db.executemany("INSERT INTO trail VALUES ('ann', ?, ?)",
                           ((f"X{i}", json.dumps("y" * 2000)) for i in range(2000)))
        db.close()
        self.server.stop()
        self.server.ignore_signals = True
        self.server.start()
        before = self.contents()
        for limit in (1 << 20, 6 << 20):  # for the copy, and for the store's own log
            with self.subTest(limit):
                resource.prlimit(self.server.pid, resource.RLIMIT_FSIZE, (limit, 64 << 20))
                self.assertRegex(self.refused("restore", str(self.file), "--yes"),
                                 "full|disk I/O error|File too large")
                self.assertFolders(device.foldersync())
                self.assertEqual(self.contents(), before)
        resource.prlimit(self.server.pid, resource.RLIMIT_FSIZE, (64 << 20, 64 << 20))
        self.restore()
        self.assertEqual(self.rows(self.server.state / "provost.db", "SELECT count(*) FROM trail WHERE"
                                   " device_id LIKE 'X%'"), [(2000,)])


def old_schema(count):
    """The first so many migrations, as the server has them."""
    source = (TREE / "src" / "server" / "store" / "sqlite_schema.c").read_text(encoding="utf-8")
    body = source.split("migrations[] = {", 1)[1].split("\n};", 1)[0]
    body = re.sub(r"/\*.*?\*/", "", body, flags=re.S)
    texts = re.split(r'",\n', body)[:count]
    return ["".join(re.findall(r'"((?:[^"\\]|\\.)*)"?', text + '"')) for text in texts]


class Doors(ServerCase):
    admin_tls = True

    def test_no_token_reaches_the_servers_disk(self):
        secret = self.admin("token", "add", "all", "--scope", "read,operate,wipe")["token"]
        api = Api(self.server, tls=True, token=secret)
        self.addCleanup(api.close)
        file = self.server.dir / "stolen.db"
        for path in ("/v1/store/backup", "/v1/store/restore"):
            answer = api("POST", path, {"file": str(file)})
            self.assertEqual((answer.http, answer.code), (403, "scope"), answer)
            self.assertIn("socket only", answer.json["error"])
        self.assertFalse(file.exists())
        self.assertEqual(api("GET", "/v1/store/job").http, 200)
        with self.assertRaises(Failed):
            self.admin("token", "add", "more", "--scope", "socket")


if __name__ == "__main__":
    unittest.main()

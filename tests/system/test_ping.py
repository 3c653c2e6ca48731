"""Ping over a Maildir: parameters, limits, what is news and what is not."""

import os
import socket
import struct
import time
import unittest

from harness import wbxml
from harness.case import OwnServerCase
from harness.eas import VERSIONS
from harness.server import wait_for

LIMITS = "ping = { heartbeat_min = 1; heartbeat_max = 900; folders_max = 3; };\n"
LONG = 600


class PingCase(OwnServerCase):
    config = LIMITS

    def synced(self, **more):
        """A device that knows the folders; .ids by path of the display names at the top."""
        device = self.device(**more)
        device.handshake()
        self.sync(device)
        return device

    def sync(self, device):
        answer = device.foldersync()
        self.assertFolders(answer)
        rows = [dict(row) for kind, row in answer.tree[1][2][1] if kind == "Add"]
        device.ids = {row["DisplayName"]: row["ServerId"] for row in rows}
        device.sync_key = answer.text("SyncKey")

    def waiting(self):
        return self.admin("status")["waiting_pings"]

    def wait(self, device, *names, heartbeat=LONG):
        """Begin a Ping that must not be answered at once."""
        before = self.waiting()
        device.start("Ping", device.ping_tree(heartbeat, [device.ids[n] for n in names]), key=None)
        wait_for("a waiting Ping", lambda: self.waiting() > before)

    def assertChanged(self, device, answer, *names):
        want = [("Folder", device.ids[n]) for n in names]
        self.assertEqual(answer.http, 200, answer)
        self.assertEqual(answer.tree, ("Ping", [("Status", "2"), ("Folders", want)]))

    def assertStatus(self, answer, status, *more):
        self.assertEqual(answer.http, 200, answer)
        self.assertEqual(answer.tree, ("Ping", [("Status", str(status)), *more]))


class News(PingCase):
    def test_every_version(self):
        box = self.server.maildir("ann")
        devices = [self.synced(version=version) for version in VERSIONS]
        for device in devices:
            self.wait(device, "Inbox")
        box.deliver()
        for device in devices:
            with self.subTest(device.version):
                self.assertChanged(device, device.receive(), "Inbox")

    def test_what_is_news(self):
        box = self.server.maildir("ann").folder("Work").folder("Other")
        device = self.synced()
        work = box.dir("Work")

        def put(path):
            (work / path).write_text("mail")

        def move(old, new):
            os.rename(work / old, work / new)

        for name, act in (("delivered", lambda: box.deliver("Work")),
                          ("written to new/", lambda: put("new/1")),
                          ("read", lambda: move("new/1", "cur/1:2,S")),
                          ("flagged", lambda: move("cur/1:2,S", "cur/1:2,FS")),
                          ("copied to cur/", lambda: put("cur/2:2,")),
                          ("removed", lambda: os.unlink(work / "cur/1:2,FS"))):
            with self.subTest(name):
                self.wait(device, "Inbox", "Work")
                act()
                self.assertChanged(device, device.receive(), "Work")
        put("new/3")
        self.assertChanged(device, device.ping(LONG, [device.ids["Work"]]), "Work")
        for name, act in (("moved from new/ to cur/", lambda: move("new/3", "cur/3:2,")),
                          ("a delivery that is under way", lambda: put("tmp/4")),
                          ("an index", lambda: put("dovecot.index.cache")),
                          ("mail elsewhere", lambda: box.deliver("Other"))):
            with self.subTest(name):
                self.wait(device, "Inbox", "Work", heartbeat=2)
                act()
                self.assertStatus(device.receive(), 1)

    def test_several_folders_at_once(self):
        box = self.server.maildir("ann").folder("A").folder("B")
        device = self.synced()
        names = ("Inbox", "A", "B")
        self.assertStatus(device.ping(1, [device.ids[n] for n in names]), 1)
        box.deliver()
        box.deliver("B")
        self.assertChanged(device, device.ping(LONG, [device.ids[n] for n in names]), "Inbox", "B")
        self.wait(device, *names)

    def test_between_two_pings(self):
        box = self.server.maildir("ann").folder("A")
        device = self.synced()
        self.assertStatus(device.ping(1, [device.ids["Inbox"]]), 1)
        box.deliver()
        self.assertStatus(device.ping(1, [device.ids["A"]]), 1)  # another folder, meanwhile
        self.assertChanged(device, device.ping(LONG, [device.ids["Inbox"]]), "Inbox")
        self.wait(device, "Inbox")  # told once
        box.deliver()
        self.assertChanged(device, device.receive(), "Inbox")

    def test_told_to_nobody(self):
        """The peer goes away; what it would have been told comes with the next Ping."""
        box = self.server.maildir("ann")
        device = self.synced()
        self.wait(device, "Inbox")
        device.close()
        wait_for("the end of the Ping", lambda: self.waiting() == 0)
        box.deliver()
        self.assertChanged(device, device.ping(LONG, [device.ids["Inbox"]]), "Inbox")

    def test_a_delivery_right_after_the_ping_arrives(self):
        box = self.server.maildir("ann")
        for _ in range(20):
            device = self.synced()
            self.wait(device, "Inbox")
            box.deliver()
            self.assertChanged(device, device.receive(), "Inbox")

    def test_many_devices_on_one_mailbox(self):
        box = self.server.maildir("ann")
        devices = [self.synced() for _ in range(40)]
        for device in devices:
            self.wait(device, "Inbox")
        self.assertLessEqual(self.watches(), 2 * 3)  # two workers; new/, cur/ and the folders
        box.deliver()
        for device in devices:
            self.assertChanged(device, device.receive(), "Inbox")
        wait_for("the end of the watches", lambda: self.watches() == 0)

    def watches(self):
        total = 0
        fds = f"/proc/{self.server.pid}/fdinfo"
        for fd in os.listdir(fds):
            with open(f"{fds}/{fd}", encoding="ascii") as f:
                total += f.read().count("inotify wd:")
        return total

    def test_a_mailbox_that_is_still_to_come(self):
        box = self.server.maildir("bob")
        for part in ("tmp", "new", "cur"):
            (box.path / part).rmdir()
        box.path.rmdir()
        device = self.synced(user="bob")
        self.wait(device, "Inbox", heartbeat=60)
        self.server.maildir("bob").deliver()
        self.assertChanged(device, device.receive(), "Inbox")

    def test_a_linked_folder(self):
        """Two ways to one directory: a watch has one owner, the other way is polled."""
        box = self.server.maildir("ann").folder("A")
        os.symlink(box.dir("A"), box.dir("B"))
        device = self.synced()
        self.wait(device, "A", "B", heartbeat=30)
        box.deliver("A")
        first = device.receive()
        self.assertEqual(first.status, 2)
        told = {folder for _, folder in wbxml.nodes(first.tree, "Folders")[0][1]}
        if len(told) == 1:
            second = device.ping(30, [device.ids["A"], device.ids["B"]])
            told |= {folder for _, folder in wbxml.nodes(second.tree, "Folders")[0][1]}
        self.assertEqual(told, {device.ids["A"], device.ids["B"]})


class Hierarchy(PingCase):
    def test_a_change_wakes(self):
        box = self.server.maildir("ann").folder("A").folder("A/B")
        device = self.synced()
        for name, act in (("new", lambda: box.folder("New")),
                          ("renamed", lambda: box.rename("New", "Newer")),
                          ("removed", lambda: box.remove("Newer"))):
            with self.subTest(name):
                self.wait(device, "Inbox")
                act()
                self.assertStatus(device.receive(), 7)
                self.sync(device)

    def test_a_slow_new_folder(self):
        """Its directory comes first, cur/ only later."""
        box = self.server.maildir("ann")
        device = self.synced()
        self.wait(device, "Inbox", heartbeat=30)
        box.dir("Slow").mkdir()
        time.sleep(0.5)
        (box.dir("Slow") / "cur").mkdir()
        self.assertStatus(device.receive(), 7)

    def test_index_files_do_not_wake(self):
        box = self.server.maildir("ann")
        device = self.synced()
        self.wait(device, "Inbox", heartbeat=2)
        (box.path / "dovecot-uidlist.lock").touch()
        os.rename(box.path / "dovecot-uidlist.lock", box.path / "dovecot-uidlist")
        (box.path / ".subscriptions").touch()
        self.assertStatus(device.receive(), 1)

    def test_unknown_to_the_device(self):
        box = self.server.maildir("ann")
        device = self.device()
        device.handshake()
        self.assertStatus(device.ping(LONG, ["1"]), 7)  # no FolderSync yet
        self.sync(device)
        for folder in ("99", "0", "inbox", "4294967296"):
            with self.subTest(folder):
                self.assertStatus(device.ping(LONG, [folder]), 7)
        box.folder("New")
        self.assertStatus(device.ping(LONG, [device.ids["Inbox"]]), 7)
        self.sync(device)
        self.assertStatus(device.ping(1, [device.ids["New"]]), 1)

    def test_a_folder_that_only_holds_others(self):
        self.server.maildir("ann").folder("A/B")
        device = self.synced()
        self.assertStatus(device.ping(1, [device.ids["A"]]), 1)


class Parameters(PingCase):
    def test_limits(self):
        device = self.synced()
        inbox = [device.ids["Inbox"]]
        for heartbeat, nearest in ((0, 1), (901, 900), (4294967295, 900)):
            with self.subTest(heartbeat):
                limit = ("HeartbeatInterval", str(nearest))
                self.assertStatus(device.ping(heartbeat, inbox), 5, limit)
        self.assertStatus(device.ping(LONG, ["1", "2", "3", "4"]), 6, ("MaxFolders", "3"))

    def test_missing_and_remembered(self):
        box = self.server.maildir("ann").folder("A")
        device = self.synced()
        inbox, other = device.ids["Inbox"], device.ids["A"]
        self.assertStatus(device.command("Ping", None, key=None), 3)
        self.assertStatus(device.ping(LONG, []), 3)
        self.assertStatus(device.ping(None, [inbox]), 3)
        self.assertStatus(device.ping(1, [inbox]), 1)
        for name, body in (("empty", None), ("only the heartbeat", device.ping_tree(1, [])),
                           ("only folders", device.ping_tree(None, [inbox]))):
            with self.subTest(name):
                self.assertStatus(device.command("Ping", body, key=None), 1)
        box.deliver()
        self.assertStatus(device.ping(None, [other]), 1)   # other folders, the same heartbeat
        box.deliver("A")
        self.assertChanged(device, device.command("Ping", None, key=None), "A")
        self.server.restart(kill=True)
        device.close()
        self.assertStatus(device.command("Ping", None, key=None), 1)
        self.sync(device)                                  # keeps them too
        self.assertStatus(device.command("Ping", None, key=None), 1)
        self.assertStatus(self.synced().command("Ping", None, key=None), 3)

    def test_malformed(self):
        device = self.synced()
        for content in ([("HeartbeatInterval", "x")],
                        [("HeartbeatInterval", "60"), ("HeartbeatInterval", "60")],
                        [("Folders", [("Folder", [("Class", "Email")])])],
                        [("Folders", [("Folder", [("Id", [("Class", "1")])])])],
                        [("Folders", [("Id", "1")])],
                        [("Status", "1")],
                        [("FolderHierarchy:SyncKey", "0")]):
            with self.subTest(str(content)):
                self.assertStatus(device.command("Ping", ("Ping", content), key=None), 4)

    def test_heartbeat(self):
        device = self.synced()
        for heartbeat in (1, 2):
            began = time.monotonic()
            self.assertStatus(device.ping(heartbeat, [device.ids["Inbox"]]), 1)
            self.assertGreaterEqual(time.monotonic() - began, heartbeat - 0.05)
            self.assertLess(time.monotonic() - began, heartbeat + 5)


class Refresh(PingCase):
    def test_the_interval_ends_while_it_waits(self):
        self.admin.policy("RefreshInterval=3s")
        device = self.synced()
        self.wait(device, "Inbox")
        self.assertStatus(device.receive(), 7)
        self.assertRefused(device.foldersync(device.sync_key), "FolderSync", 143, "14.1")

    def test_the_interval_is_made_shorter_while_it_waits(self):
        device = self.synced()
        self.wait(device, "Inbox")
        self.admin.policy("RefreshInterval=5s")
        self.assertStatus(device.receive(), 7)


    def test_the_date_comes_from_which_devices_need_a_key(self):
        soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 4))
        self.admin.policy("AllowNonProvisionable=1", "AllowNonProvisionableUntil=" + soon)
        device = self.device("14.1")
        device.key = None
        self.sync(device)
        self.wait(device, "Inbox")
        self.assertStatus(device.receive(), 7)
        self.assertRefused(device.foldersync(device.sync_key), "FolderSync", 141, "14.1")


class OnePlace(PingCase):
    def twin(self, device):
        other = self.device(device_id=device.device_id)
        other.key, other.ids = device.key, device.ids
        return other

    def test_a_second_ping_ends_the_first(self):
        device = self.synced()
        self.wait(device, "Inbox")
        other = self.twin(device)
        other.start("Ping", other.ping_tree(LONG, [device.ids["Inbox"]]), key=None)
        first = device.receive()  # so soon: another client under the same name
        self.assertEqual((first.http, first.headers["Retry-After"]), (503, "10"))
        wait_for("one Ping", lambda: self.waiting() == 1)
        self.server.maildir("ann").deliver()
        self.assertChanged(device, other.receive(), "Inbox")

    def test_after_a_while_it_is_a_plain_end(self):
        device = self.synced()
        self.wait(device, "Inbox")
        time.sleep(10.2)
        other = self.twin(device)
        other.start("Ping", other.ping_tree(LONG, [device.ids["Inbox"]]), key=None)
        self.assertStatus(device.receive(), 1)

    def test_a_crowd(self):
        device = self.synced()
        crowd = [self.twin(device) for _ in range(30)]
        for other in crowd:
            other.start("Ping", other.ping_tree(LONG, [device.ids["Inbox"]]), key=None)
        wait_for("one Ping", lambda: self.waiting() == 1)
        self.server.maildir("ann").deliver()
        answers = [other.receive() for other in crowd]
        self.assertEqual(sorted(a.http for a in answers), [200] + [503] * 29)


class Life(PingCase):
    def test_peers_go_away(self):
        devices = [self.synced() for _ in range(10)]
        for device in devices:
            self.wait(device, "Inbox")
        for device in devices:
            reset = struct.pack("ii", 1, 0)  # linger for no time
            device.connect().sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
            device.close()
        wait_for("the end of all Pings", lambda: self.waiting() == 0)

    def test_stop_while_they_wait(self):
        self.server.maildir("ann").folder("A")
        devices = [self.synced() for _ in range(10)]
        for device in devices:
            self.wait(device, "Inbox", "A")
        self.server.maildir("ann").deliver()
        self.server.stop()  # checks the exit code and the sanitizers
        self.server.start()

    def test_stir_all_the_time(self):
        """Events come while a look is under way."""
        box = self.server.maildir("ann")
        for i in range(5000):
            (box.path / "cur" / f"1700000000.{i}.test:2,S").touch()
        device = self.synced()
        self.wait(device, "Inbox")
        end = time.monotonic() + 2
        while time.monotonic() < end:
            (box.path / "cur" / ".lock").touch()
            (box.path / "cur" / ".lock").unlink()
        self.assertEqual(self.waiting(), 1)
        box.deliver()
        self.assertChanged(device, device.receive(), "Inbox")

    def test_mail_all_the_time(self):
        """Whether it comes before, while or after the next Ping begins: each device is told."""
        box = self.server.maildir("ann")
        devices = [self.synced() for _ in range(4)]
        for device in devices:
            self.assertStatus(device.ping(1, [device.ids["Inbox"]]), 1)
        for _ in range(10):
            for device in devices:
                device.start("Ping", device.ping_tree(LONG, [device.ids["Inbox"]]), key=None)
            box.deliver()
            for device in devices:
                self.assertChanged(device, device.receive(), "Inbox")


if __name__ == "__main__":
    unittest.main()

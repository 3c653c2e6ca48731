"""The mailbox behind Dovecot: folders, what changes in them, Ping, connections."""

import imaplib
import re
import time
import unittest

from servers import Dovecot

from harness.eas import Device
from harness.server import Server, wait_for

LONG = 600
# Dovecot slows down an address that fails, and to it everybody has ours.
NO_PENALTY = """
service anvil {
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
"""
NO_NOTIFY = "imap_capability = IMAP4rev1 SASL-IR IDLE LITERAL+ LIST-EXTENDED LIST-STATUS SPECIAL-USE CONDSTORE\n"
SCRIPTS = ("Größe", "Привет", "שלום", "台北")


class RealImap(unittest.TestCase):
    users, separator, config, more, dovecot_more = {"ann": "secret"}, "/", "", "", {}

    def setUp(self):
        self.dovecot = Dovecot(self.users, separator=self.separator, config=NO_PENALTY + self.config,
                               **self.dovecot_more)
        self.addCleanup(self.dovecot.close)
        self.before()
        self.dovecot.start()
        url, ca = self.dovecot.url, ""
        if self.dovecot.certificate:
            url, ca = self.dovecot.tls_url, f'ca_file = "{self.dovecot.certificate}";'
        self.server = Server(users=self.users, config=f"""
            auth = {{ method = "imap"; imap = {{ url = "{url}"; {ca} }}; }};
            mailbox = {{ type = "imap"; url = "{url}"; {ca} {self.more} }};
            ping = {{ heartbeat_min = 1; heartbeat_max = 900; }};
        """)
        self.addCleanup(self.server.close)

    def before(self):
        """What lies in the mailboxes before Dovecot starts."""

    def imap(self, user="ann"):
        made = imaplib.IMAP4("127.0.0.1", self.dovecot.port)
        made.login(user, self.dovecot.users[user])
        self.addCleanup(made.shutdown)
        return made

    def device(self, user="ann"):
        made = Device(self.server, user=user)
        made.timeout = 120
        self.addCleanup(made.close)
        made.handshake()
        return made

    def rows(self, answer, kind="Add"):
        self.assertEqual((answer.http, answer.status), (200, 1), answer)
        return [dict(row) for what, row in answer.tree[1][2][1] if what == kind]

    def sync(self, device):
        answer = device.foldersync()
        rows = self.rows(answer)
        device.ids = {row["DisplayName"]: row["ServerId"] for row in rows}
        device.sync_key = answer.text("SyncKey")
        return {row["DisplayName"]: int(row["Type"]) for row in rows}

    def synced(self, user="ann"):
        device = self.device(user)
        self.sync(device)
        return device

    def wait(self, device, *names):
        waiting = self.waiting()
        device.start("Ping", device.ping_tree(LONG, [device.ids[n] for n in names]), key=None)
        wait_for("a waiting Ping", lambda: self.waiting() > waiting)

    def waiting(self):
        return self.server.admin("status")["waiting_pings"]

    def assertPing(self, answer, status, *folders):
        want = [("Status", str(status))]
        if folders:
            want.append(("Folders", [("Folder", f) for f in folders]))
        self.assertEqual(answer.tree, ("Ping", want))


class Slash(RealImap):
    """A thousand folders, names in four scripts."""

    each = 250

    def before(self):
        box = self.dovecot.mailbox("ann")
        self.want = {}
        for script in SCRIPTS:
            box.folder(script)
            self.want[script] = 12
            for i in range(self.each):
                box.folder(f"{script}/{i} {script}")
                self.want[f"{i} {script}"] = 12

    def test_many_folders(self):
        device = self.device()
        began = time.monotonic()
        folders = self.sync(device)
        print(f"# {len(folders)} folders in {time.monotonic() - began:.2f} s", flush=True)
        self.assertEqual(folders, {"Inbox": 2, "Drafts": 3, "Sent": 5, "Trash": 4, "Junk": 12,
                                   **self.want})
        again = device.foldersync(device.sync_key)
        self.assertEqual((again.text("SyncKey"), again.text("Changes/Count")), (device.sync_key, "0"))


class Dot(Slash):
    separator, each = ".", 25


class Tls(Slash):
    dovecot_more, each = {"tls": True}, 25


class Subscribed(RealImap):
    more = "subscribed = true;"

    def test_only_those(self):
        imap = self.imap()
        for name in ("Mine", "Other", "Other/Deep"):
            imap.create(name)
        imap.subscribe("Mine")
        imap.subscribe("Other/Deep")
        imap.subscribe("Gone")
        self.assertEqual(self.sync(self.device()),
                         {"Inbox": 2, "Drafts": 3, "Sent": 5, "Trash": 4, "Junk": 12, "Mine": 12,
                          "Other": 1, "Deep": 12})


class Changes(RealImap):
    def test_renamed_and_made_anew(self):
        imap = self.imap()
        for name in ("Old", "Anew", "Stays"):
            imap.create(name)
        device = self.synced()
        imap.rename("Old", "New")
        imap.delete("Anew")
        time.sleep(1.1)  # Dovecot numbers folders by the second
        imap.create("Anew")
        answer = device.foldersync(device.sync_key)
        self.assertEqual([(r["ServerId"], r["DisplayName"]) for r in self.rows(answer, "Update")],
                         [(device.ids["Old"], "New")])
        self.assertEqual([r["ServerId"] for r in self.rows(answer, "Delete")], [device.ids["Anew"]])
        self.assertEqual([r["DisplayName"] for r in self.rows(answer)], ["Anew"])

    def test_the_password_is_changed(self):
        device = self.synced()
        self.wait(device, "Inbox")
        self.dovecot.users["ann"] = "another"
        self.dovecot.write_users()
        self.dovecot.restart()
        self.assertPing(device.receive(), 1)
        self.assertEqual(device.ping(LONG, [device.ids["Inbox"]]).http, 401)


class Notify(RealImap):
    """Dovecot tells of every folder."""

    WITHIN = 10  # seconds; much less than the interval of polling

    def before(self):
        self.dovecot.mailbox("ann").folder("Work").deliver("Work")

    def append(self, imap, name):
        imap.append(name, "", "", b"Subject: Hello\r\n\r\nHello\r\n")

    def told(self, device, *names, act):
        self.wait(device, "Inbox", "Work")
        began = time.monotonic()
        act()
        self.assertPing(device.receive(), 2, *(device.ids[n] for n in names))
        self.assertLess(time.monotonic() - began, self.WITHIN)

    def test_messages(self):
        device, imap = self.synced(), self.imap()
        self.told(device, "Inbox", act=lambda: self.dovecot.mailbox("ann").deliver())
        self.told(device, "Inbox", act=lambda: self.append(imap, "INBOX"))
        imap.select("INBOX")
        self.told(device, "Inbox", act=lambda: imap.store("1", "+FLAGS", "\\Flagged"))
        self.told(device, "Inbox", act=lambda: (imap.store("1", "+FLAGS", "\\Deleted"), imap.expunge()))
        self.other_folders(device, imap)

    def other_folders(self, device, imap):
        self.told(device, "Work", act=lambda: self.append(imap, "Work"))
        imap.select("Work")
        self.told(device, "Work", act=lambda: imap.store("1", "+FLAGS", "\\Seen"))

    def test_folders(self):
        device, imap = self.synced(), self.imap()
        for act in (lambda: imap.create("New"), lambda: imap.rename("New", "Newer"),
                    lambda: imap.delete("Newer")):
            self.wait(device, "Inbox")
            act()
            self.assertPing(device.receive(), 7)
            self.sync(device)


class Idle(Notify):
    """Dovecot tells of one folder; the others are asked for."""

    config, more = NO_NOTIFY, "poll_interval = 2;"

    def test_folders(self):
        device, imap = self.synced(), self.imap()
        self.wait(device, "Inbox")
        imap.create("New")
        self.assertPing(device.receive(), 7)


class Behind(RealImap):
    """Mail that is put into a folder behind Dovecot's back, of which it does not tell."""

    more = "poll_interval = 1;"

    def before(self):
        self.dovecot.mailbox("ann").folder("Work").deliver("Work")

    def test_it_is_found(self):
        device = self.synced()
        self.wait(device, "Work", "Inbox")
        self.dovecot.mailbox("ann").deliver("Work")
        self.assertPing(device.receive(), 2, device.ids["Work"])
        self.dovecot.mailbox("ann").deliver("Work")
        self.assertPing(device.ping(LONG, [device.ids["Work"]]), 2, device.ids["Work"])


class Bound(RealImap):
    users = {f"user{i:03}": f"secret{i}" for i in range(300)}
    more = "connections = 20; poll_interval = 2;"

    def connections(self):
        with open("/proc/net/tcp", encoding="ascii") as f:
            rows = [line.split() for line in f]
        return sum(row[1].endswith(f":{self.dovecot.port:04X}") and row[3] == "01" for row in rows)

    def test_three_hundred_users(self):
        devices = {user: self.synced(user) for user in self.users}
        for device in devices.values():
            device.start("Ping", device.ping_tree(LONG, [device.ids["Inbox"]]), key=None)
        wait_for("all to wait", lambda: self.waiting() == len(devices), 120)
        most = max(self.connections() for _ in range(50))
        self.assertLessEqual(most, 20 + 5)  # what is just being closed is counted as well
        began, delays = time.monotonic(), []
        for user in self.users:
            self.dovecot.mailbox(user).deliver()
        for user, device in devices.items():
            with self.subTest(user):
                self.assertPing(device.receive(), 2, device.ids["Inbox"])
            delays.append(time.monotonic() - began)
        print(f"# {most} connections, all told after {delays[-1]:.1f} s, "
              f"{self.server.admin('status')['imap']}", flush=True)
        self.assertFalse(re.search(r"imap-(trouble|unreachable)", self.server.log), self.server.log)


del RealImap

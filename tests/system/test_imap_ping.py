"""Ping over an IMAP server that is scripted: news, connections, a bounded number of them."""

import time

from harness.imap import BASIC, FULL
from harness.imap_case import LONG, ImapCase
from harness.server import wait_for


class News(ImapCase):
    NOTIFY, IDLE = FULL, FULL.replace(" NOTIFY", "")
    POLL = IDLE.replace(" IDLE", "")

    def each_way(self, *ways):
        for caps in ways:
            with self.subTest(caps):
                self.imap.caps = caps
                self.imap.boxes["ann"] = {}
                for name in ("INBOX", "Work", "Other"):
                    self.imap.folder("ann", name)
                self.imap.drop()
                yield caps
                wait_for("the end of every Ping", lambda: self.waiting() == 0)

    def quiet(self, caps):
        """Whatever has to be asked for was asked."""
        if "NOTIFY" in caps or "IDLE" in caps:
            self.listening()

    def test_what_is_news(self):
        delivered = {"messages": 1, "next": 1, "unseen": 1}
        for caps in self.each_way(self.NOTIFY, self.NOTIFY.replace(" CONDSTORE", ""), self.IDLE,
                                  self.POLL, BASIC + " IDLE", BASIC):
            told = "NOTIFY" in caps
            changes = [("Work", delivered)]
            if told:
                changes += [("Work", {"unseen": -1}), ("Work", {"unseen": 1}),
                            ("Inbox", delivered), ("Work", {"messages": -1, "unseen": -1})]
            if "CONDSTORE" in caps:
                changes.append(("Work" if told else "Inbox", {}))  # a flag without a count
            device = self.synced()
            for name, facts in changes:
                self.wait(device, "Inbox", "Work")
                self.quiet(caps)
                self.imap.change("ann", "Other", **facts)
                self.imap.change("ann", name.replace("Inbox", "INBOX"), **facts)
                self.assertChanged(device, device.receive(), name)
            if caps == self.NOTIFY:
                self.assertStatus(device.ping(1, [device.ids["Work"]]), 1)
            device.close()

    def test_between_two_pings(self):
        for _ in self.each_way(self.NOTIFY, self.IDLE, self.POLL):
            device = self.synced()
            self.assertStatus(device.ping(1, [device.ids["Inbox"]]), 1)
            self.imap.drop()
            self.imap.deliver("ann")
            self.assertChanged(device, device.ping(LONG, [device.ids["Inbox"]]), "Inbox")
            self.wait(device, "Inbox")  # told once
            device.close()

    def test_folders(self):
        for caps in self.each_way(self.NOTIFY, self.IDLE):
            device = self.synced()
            acts = [lambda: self.imap.folder("ann", "New"),
                    lambda: self.imap.rename("ann", "New", "Newer"),
                    lambda: self.imap.remove("ann", "Newer")]
            for act in acts if "NOTIFY" in caps else acts[:1]:
                self.wait(device, "Inbox")
                self.quiet(caps)
                act()
                self.assertStatus(device.receive(), 7)
                self.sync(device)
            device.close()

    def test_made_anew_under_the_same_name(self):
        for caps in self.each_way(self.NOTIFY, self.IDLE):
            device = self.synced()
            self.wait(device, "Work")
            self.quiet(caps)
            with self.imap.lock:
                self.imap.boxes["ann"].pop("Work")
                self.imap.folder("ann", "Work")
                self.imap.deliver("ann", "Work")
            self.assertStatus(device.receive(), 7)
            device.close()

    def test_in_quarantine(self):
        """The server behind is not asked for a device that is not let in."""
        self.admin("rule", "default", "quarantine")
        device = self.synced()
        self.assertEqual(list(device.ids), ["Inbox"])
        self.assertStatus(device.ping(1, [device.ids["Inbox"]]), 1)
        self.assertEqual(self.imap.logins, [])


class Connections(ImapCase):
    def test_shared_by_the_devices_of_a_user(self):
        devices = [self.synced() for _ in range(10)]
        for device in devices:
            self.wait(device, "Inbox")
        self.listening()
        self.imap.deliver("ann")
        for device in devices:
            self.assertChanged(device, device.receive(), "Inbox")
        self.assertEqual(self.imap.peak, 1)
        self.assertEqual(len(self.imap.logins), 1)

    def test_broken_while_waiting(self):
        device = self.synced()
        for act in (self.imap.drop,
                    lambda: [s.send("* BYE see you") for s in self.imap.of("ann")]):
            self.wait(device, "Inbox")
            self.listening()
            logins = len(self.imap.logins)
            act()
            wait_for("another login", lambda: len(self.imap.logins) > logins)
            self.imap.deliver("ann")
            self.assertChanged(device, device.receive(), "Inbox")

    def test_news_while_there_is_no_server(self):
        """The Ping waits on; what came meanwhile is told, and the log has one line."""
        devices = [self.synced(), self.synced(user="bob")]
        for device in devices:
            self.wait(device, "Inbox")
        self.listening("ann")
        self.listening("bob")
        self.imap.stop()
        wait_for("the outage", lambda: self.lines("imap-unreachable"))
        for _ in range(5):
            self.assertLater(self.synced_not())
        self.imap.deliver("ann")
        self.imap.start()
        self.assertChanged(devices[0], devices[0].receive(), "Inbox")
        wait_for("the end of the outage", lambda: self.lines("imap-reachable"))
        self.listening("bob")
        self.imap.deliver("bob")
        self.assertChanged(devices[1], devices[1].receive(), "Inbox")
        self.assertEqual(len(self.lines("imap-unreachable")), 1)

    def synced_not(self):
        return self.known().foldersync()

    def test_another_password(self):
        """The old one ends when the server does not take it any more: the phone is asked for it."""
        self.imap.users["ann"] = "secret"
        device = self.synced()
        self.wait(device, "Inbox")
        self.listening()
        self.imap.users["ann"] = "changed"
        self.imap.drop()
        self.assertStatus(device.receive(), 1)
        self.assertEqual(device.ping(LONG, [device.ids["Inbox"]]).http, 401)

    def test_two_good_passwords(self):
        """Passwords of applications: each has a connection, none chases the other."""
        self.server.users["ann"] = "secret"
        device = self.synced()
        self.wait(device, "Inbox")
        self.listening()
        self.server.users["ann"] = "other"
        self.server.write_users()
        self.server.reload()
        wait_for("the reload", lambda: self.lines("reloaded") or "reloaded" in self.server.log)
        self.imap.users["ann"] = "other"
        other = self.synced(password="other")
        self.wait(other, "Inbox")
        wait_for("two that listen", lambda: self.imap.idle("ann") == 2)
        self.imap.deliver("ann")
        self.assertChanged(device, device.receive(), "Inbox")
        self.assertChanged(other, other.receive(), "Inbox")


    def test_closed_while_it_rests(self):
        """What is asked over it just then is asked again."""
        for _ in range(10):
            self.synced()
            self.imap.drop()


class Bound(ImapCase):
    more = "connections = 4; timeout = 20; poll_interval = 1;"
    users = {f"user{i}": f"secret{i}" for i in range(16)}

    def shown(self):
        imap = self.admin("status")["imap"]
        return (imap["connections_max"], imap["users_watched"], imap["users_in_turn"],
                imap["reachable"])

    def test_more_users_than_connections(self):
        devices = {user: self.synced(user=user) for user in self.users}
        for device in devices.values():
            self.wait(device, "Inbox")
        wait_for("what is shown", lambda: self.shown() == (4, 3, len(self.users) - 3, True))
        wait_for("a second turn", lambda: self.admin("status")["imap"]["turn_seconds"])
        for user in self.users:
            self.imap.deliver(user)
        for user, device in devices.items():
            with self.subTest(user):
                self.assertChanged(device, device.receive(), "Inbox")
        self.assertLessEqual(self.imap.peak, 8)  # what is just being closed is counted as well
        device = self.synced(user="user0")  # and there is still room for questions
        self.assertStatus(device.ping(1, [device.ids["Inbox"]]), 1)


class Slow(ImapCase):
    more = "connections = 4; timeout = 2; poll_interval = 1;"
    users = Bound.users

    def test_slow_for_one_user(self):
        """Whoever is stuck holds up nobody else."""
        def stall(session, _tag, _args):
            return session.user == "user1" and (time.sleep(20) or True)
        self.imap.faults["LIST"] = stall
        for _ in range(3):
            device = self.known(user="user1")
            device.start("FolderSync", ("FolderSync", [("SyncKey", "0")]))
        wait_for("a LIST that is stuck", lambda: self.imap.count("LIST", "user1"))
        began = time.monotonic()
        for i in range(2, 8):
            self.assertEqual(self.tree(f"user{i}"), {"Inbox": 2})
        self.assertLess(time.monotonic() - began, 5)
        self.assertEqual(self.imap.count("LIST", "user1"), 1)


class One(ImapCase):
    more = "connections = 1; timeout = 2; poll_interval = 1;"

    def test_one_connection_for_all(self):
        devices = {user: self.synced(user=user) for user in ("ann", "bob")}
        for device in devices.values():
            self.wait(device, "Inbox")
        for user, device in devices.items():
            self.imap.deliver(user)
            self.assertChanged(device, device.receive(), "Inbox")

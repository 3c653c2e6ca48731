"""The mailbox behind an IMAP server that is scripted: folders, logins, what goes wrong."""

import re
import socket
import time

from harness.case import OwnServerCase
from harness.imap import BASIC, FULL, Imap
from harness.imap_case import LONG, PING, ImapCase
from harness.server import Server, make_certificate, wait_for


class Folders(ImapCase):
    def fill(self, separator):
        def name(*levels):
            return separator.join(levels)

        self.imap.separator = separator
        self.imap.namespaces = f'(("" "{separator}")) NIL NIL'.replace("\\", "\\\\")
        self.imap.boxes["ann"].clear()
        self.imap.folder("ann", "InBox")
        for box in (name("Work", "2024", "März"), "Привет", "台北", name("ערב", "שלום"),
                    name("INBOX", "Inner"), name("inbox", "Other"), 'a"b', "50% & more",
                    name("Lost", "Child")):
            self.imap.folder("ann", box)
        self.imap.folder("ann", "Lost", "\\Noselect")
        self.imap.folder("ann", "Empty", "\\Noselect", "\\HasNoChildren")
        self.imap.folder("ann", "Gone", "\\NonExistent")
        self.imap.folder("ann", "Gesendet", "\\HasNoChildren", "\\Sent")
        self.imap.folder("ann", "Trash")
        self.imap.folder("ann", name("Work", "Entwürfe"), "\\Drafts")
        self.imap.folder("ann", "Sent")

    WANT = {"Inbox": 2, "Work": 1, "Work|2024": 1, "Work|2024|März": 12, "Привет": 12, "台北": 12,
            "ערב": 1, "ערב|שלום": 12, "Inbox|Inner": 12, "Inbox|Other": 12, 'a"b': 12,
            "50% & more": 12, "Lost": 1, "Lost|Child": 12, "Gesendet": 5, "Trash": 4,
            "Work|Entwürfe": 3, "Sent": 12}

    def test_names_and_types(self):
        for separator in ("/", ".", "\\"):
            for literals in (False, True):
                for caps in (FULL, FULL + " UTF8=ACCEPT", FULL.replace(" LIST-STATUS", ""),
                             FULL.replace(" LIST-EXTENDED LIST-STATUS", ""), BASIC,
                             "IMAP4rev1", "IMAP4rev1 AUTH=PLAIN"):
                    with self.subTest(separator=separator, literals=literals, caps=caps):
                        self.imap.caps, self.imap.literals = caps, literals
                        self.fill(separator)
                        self.imap.drop()
                        self.assertEqual(self.tree(), self.WANT)

    def test_without_levels(self):
        self.imap.separator = ""
        self.imap.namespaces = '(("" NIL)) NIL NIL'
        self.imap.folder("ann", "a/b").folder("ann", "a").folder("ann", "x.y")
        self.assertEqual(self.tree(), {"Inbox": 2, "a": 12, "a∕b": 12, "x.y": 12})

    def test_a_slash_in_a_name(self):
        self.imap.separator = "."
        self.imap.folder("ann", "a/b.c/d")
        self.assertEqual(self.tree(), {"Inbox": 2, "a∕b": 1, "a∕b|c∕d": 12})

    def test_odd_names(self):
        for name, raw in (("Latin", b"caf\xe9"), ("Utf8", "café".encode()), ("Half", b"&AGE"),
                          ("Line", b"a\r\nb"), ("Empty", b""), ("Level", b"a//b")):
            self.imap.folder("ann", name)
            self.imap.raw_names[name] = raw
        self.imap.literals = True
        self.assertEqual(self.tree(), {"Inbox": 2, "caf\\xe9": 12, "café": 12, "&AGE": 12})

    def test_namespaces(self):
        self.imap.separator = "."
        self.imap.namespaces = '(("INBOX." ".")) (("user." ".")) (("shared." ".")("#news." "."))'
        self.imap.boxes["ann"] = {}
        for name in ("INBOX", "INBOX.Sent", "INBOX.Work.2024", "user.bob", "user.bob.Private",
                     "shared.All", "#news.comp"):
            self.imap.folder("ann", name)
        self.assertEqual(self.tree(), {"Inbox": 2, "Sent": 5, "Work": 1, "Work|2024": 12})

    def test_what_is_told_when_folders_change(self):
        for caps in (FULL, FULL + " OBJECTID", BASIC):
            with self.subTest(caps):
                self.imap.caps = caps
                self.imap.boxes["ann"] = {}
                for name in ("INBOX", "Old", "Stays", "Anew"):
                    self.imap.folder("ann", name)
                self.imap.drop()
                device = self.synced()
                old, anew = device.ids["Old"], device.ids["Anew"]
                self.imap.rename("ann", "Old", "New")
                self.imap.remove("ann", "Anew")
                self.imap.folder("ann", "Anew")
                answer = device.foldersync(device.sync_key)
                self.assertEqual([r["ServerId"] for r in self.rows(answer, "Update")], [old])
                self.assertEqual([r["ServerId"] for r in self.rows(answer, "Delete")], [anew])
                added = self.rows(answer)
                self.assertEqual([r["DisplayName"] for r in added], ["Anew"])
                self.assertNotIn(added[0]["ServerId"], device.ids.values())
                again = device.foldersync(answer.text("SyncKey"))
                self.assertEqual(again.text("Changes/Count"), "0")

    def test_folders_of_one_moment_share_their_validity(self):
        for name in ("A", "B", "C"):
            self.imap.folder("ann", name, validity=7)
        device = self.synced()
        self.imap.rename("ann", "A", "Z")  # or A is gone, and Z is new: nobody can tell
        answer = device.foldersync(device.sync_key)
        self.assertEqual([r["ServerId"] for r in self.rows(answer, "Delete")], [device.ids["A"]])
        self.assertEqual([r["DisplayName"] for r in self.rows(answer)], ["Z"])

    def test_a_thousand(self):
        for caps in (FULL, BASIC):
            with self.subTest(caps):
                self.imap.caps = caps
                self.imap.boxes["ann"] = {f"Folder {i}": self.imap.boxes["bob"]["INBOX"]
                                          for i in range(1000)}
                self.imap.drop()
                self.assertEqual(len(self.tree()), 1001)

    def test_too_many(self):
        box = self.imap.boxes["bob"]["INBOX"]
        self.imap.boxes["ann"].update((f"Folder {i}", box) for i in range(10001))
        answer = self.known().foldersync()
        self.assertEqual((answer.http, answer.status), (200, 6))
        self.assertTrue(self.lines("mailbox-not-listed"))
        self.assertEqual(self.tree("bob"), {"Inbox": 2})

    def test_the_list_is_refused(self):
        self.imap.faults["LIST"] = lambda s, tag, _: s.send(f"{tag} NO not for you") or True
        answer = self.known().foldersync()
        self.assertEqual((answer.http, answer.status), (200, 6))

    def test_promises_that_are_not_kept(self):
        """LIST-EXTENDED and NOTIFY are offered, and are errors when they are used."""
        def plain_only(session, tag, args):
            return "RETURN" in args and (session.send(f"{tag} BAD syntax") or True)
        self.imap.faults["LIST"] = plain_only
        self.imap.faults["NOTIFY"] = lambda s, tag, _: s.send(f"{tag} BAD what") or True
        device = self.synced()
        self.wait(device, "Inbox")
        self.listening()
        self.imap.deliver("ann")
        self.assertChanged(device, device.receive(), "Inbox")


class Subscribed(ImapCase):
    more = "subscribed = true;"

    def test_only_those(self):
        for caps in (FULL, FULL.replace(" LIST-EXTENDED LIST-STATUS", ""), BASIC):
            with self.subTest(caps):
                self.imap.caps = caps
                self.imap.boxes["ann"]["INBOX"].subscribed = False
                self.imap.folder("ann", "Work", subscribed=False).folder("ann", "Work/Mine")
                self.imap.folder("ann", "Other", subscribed=False).folder("ann", "Sent")
                self.imap.drop()
                self.assertEqual(self.tree(), {"Inbox": 2, "Work": 1, "Work|Mine": 12, "Sent": 5})


class Logins(ImapCase):
    users = {"ann": "secret", "bob": 'q"uo\\te', "carl": "pass:wörd"}

    def setUp(self):
        super().setUp()
        self.server.users["carl"] = "pass:wörd"

    def test_ways(self):
        for caps in ("IMAP4rev1", "IMAP4rev1 AUTH=PLAIN", BASIC, BASIC + " AUTH=GSSAPI"):
            for user in self.users:
                with self.subTest(caps=caps, user=user):
                    self.imap.caps = caps
                    self.imap.drop()
                    self.assertEqual(self.tree(user), {"Inbox": 2})
        self.assertEqual(set(self.imap.logins), set(self.users.items()))

    def test_capabilities_come_with_the_login(self):
        self.imap.caps_before, self.imap.caps_in_login = "IMAP4rev1 AUTH=PLAIN", True
        self.assertEqual(self.tree(), {"Inbox": 2})
        self.assertEqual(self.imap.count("CAPABILITY", "ann"), 0)

    def test_refused(self):
        self.imap.users["ann"] = "another"
        device = self.known()
        answer = device.foldersync()
        self.assertEqual(answer.http, 401, answer)
        self.assertIn("Basic", answer.headers["WWW-Authenticate"])
        self.assertEqual(device.ping(LONG, ["1"]).http, 401)
        self.assertEqual(len(self.imap.logins), 1)  # not tried again at once
        self.assertEqual(self.tree("bob"), {"Inbox": 2})

    def test_cannot_say(self):
        for code in ("[UNAVAILABLE] ", "[LIMIT] ", "[CONTACTADMIN] "):
            with self.subTest(code):
                self.imap.faults["AUTHENTICATE"] = \
                    lambda s, tag, _, c=code: s.send(f"{tag} NO {c}not now") or True
                self.assertLater(self.known().foldersync())
        self.imap.faults.clear()
        self.assertEqual(self.tree(), {"Inbox": 2})

    def test_no_password_in_the_clear(self):
        self.imap.caps_before = "IMAP4rev1 LOGINDISABLED STARTTLS"
        self.assertLater(self.known().foldersync())
        self.assertEqual(self.imap.logins, [])

    def test_nothing_secret_in_the_log(self):
        self.imap.users["ann"] = "another"
        self.known().foldersync()
        self.tree("carl")
        for secret in ("secret", "another", "wörd", "AGFubgBz"):
            self.assertNotIn(secret, self.server.log)


class Tls(ImapCase):
    def setUp(self):
        super().setUp()
        self.imap.stop()

    def test_only_with_a_certificate(self):
        certificate = make_certificate(self.server.dir)
        for trusted in (True, False):
            with self.subTest(trusted), Imap({"ann": "secret"}, tls=certificate) as imap:
                imap.implicit_tls = True
                ca = f'ca_file = "{certificate[0]}";' if trusted else ""
                self.more = "timeout = 2; " + ca
                config = self.mailbox(f"imaps://localhost:{imap.port}") + PING
                with Server(config=config) as self.server:
                    self.admin = self.server.admin
                    if trusted:
                        device = self.synced()
                        self.wait(device, "Inbox")
                        wait_for("NOTIFY", lambda: imap.idle("ann"))
                        imap.deliver("ann")
                        self.assertChanged(device, device.receive(), "Inbox")
                        device.close()
                    else:
                        self.assertLater(self.known().foldersync())
                        self.assertEqual(imap.logins, [])

    def test_starttls(self):
        """By another name of this machine than localhost TLS is demanded."""
        name = socket.gethostname()
        try:
            local = socket.gethostbyname(name).startswith("127.") and name != "localhost"
        except OSError:
            local = False
        if not local:
            self.skipTest("this machine has no other name for the loopback")
        with Imap({"ann": "secret"}) as imap:
            with Server(config=self.mailbox(f"imap://{name}:{imap.port}")) as self.server:
                self.admin = self.server.admin
                self.assertLater(self.known().foldersync())
                self.assertEqual(imap.logins, [])


class Misbehaving(ImapCase):
    more = "timeout = 1; poll_interval = 1;"

    def raw(self, data, then=None):
        def fault(session, _tag, _args):
            session.raw(data)
            if then:
                then(session)
            return True
        return fault

    def endless(self, data):
        def fault(session, _tag, _args):
            end = time.monotonic() + 10
            while time.monotonic() < end:
                session.raw(data)
            return True
        return fault

    def test_everything_ends_with_503(self):
        cases = {
            "silence at the greeting": ("greeting", lambda s, *_: time.sleep(3) or True),
            "closed at the greeting": ("greeting", lambda s, *_: s.close() or True),
            "no IMAP at all": ("greeting", self.raw(b"HTTP/1.1 400 Bad Request\r\n\r\n")),
            "BYE at the greeting": ("greeting", self.raw(b"* BYE full\r\n", lambda s: s.close())),
            "an endless greeting": ("greeting", self.endless(b"x" * 65536)),
            "everybody is logged in": ("greeting", self.raw(b"* PREAUTH hello\r\n")),
            "silence at the login": ("AUTHENTICATE", lambda *_: time.sleep(3) or True),
            "asked for ever at the login": ("AUTHENTICATE", self.raw(b"+ \r\n" * 100)),
            "an endless line": ("LIST", self.endless(b"y" * 65536)),
            "endless lines": ("LIST", self.endless(b"* OK still here\r\n" * 4096)),
            "a long literal": ("LIST", self.raw(b'* LIST () "/" {4000000000}\r\n')),
            "a literal that is longer than any number":
                ("LIST", self.raw(b'* LIST () "/" {' + b"9" * 100 + b'}\r\n')),
            "cut in a literal": ("LIST", self.raw(b'* LIST () "/" {50}\r\nabc', lambda s: s.close())),
            "cut in a line": ("LIST", self.raw(b"* LIST () ", lambda s: s.close())),
            "another tag": ("LIST", self.raw(b"A999 OK done\r\n")),
            "no tag": ("LIST", self.raw(b"OK done\r\n")),
            "noise": ("LIST", self.raw(bytes(range(256)) + b"\r\n")),
            "a list without an end": ("LIST", self.raw(b'* LIST (\\Sent "/" "a"\r\n')),
            "too deep": ("LIST", self.raw(b"* LIST " + b"(" * 5000 + b"\r\n")),
            "asked to go on": ("LIST", self.raw(b"+ go on\r\n")),
            "BYE": ("LIST", self.raw(b"* BYE enough\r\n")),
        }
        for name, (verb, fault) in cases.items():
            with self.subTest(name):
                self.imap.faults = {verb: fault}
                self.imap.drop()
                device = self.known()
                self.assertLater(device.foldersync())
                self.imap.faults = {}
                # A server that is down is left alone for a second.
                wait_for("folders again", lambda d=device: d.foldersync().http == 200)
        self.assertLess(self.server.rss(), 600 * 1024 * 1024)

    def test_stopped_while_the_server_is_silent(self):
        self.imap.faults["LIST"] = lambda *_: time.sleep(30) or True
        self.server.stop()
        self.config = self.config.replace("timeout = 1", "timeout = 60") + "drain_timeout = 1;\n"
        self.server.write_config(self.config)
        self.server.start()
        device = self.known()
        device.start("FolderSync", ("FolderSync", [("SyncKey", "0")]))
        wait_for("a LIST that is stuck", lambda: self.imap.count("LIST"))
        began = time.monotonic()
        self.server.stop()
        self.assertLess(time.monotonic() - began, 5)


class Configuration(OwnServerCase):
    def test_mistakes(self):
        self.server.stop()
        for text, want in (
                ('mailbox = { type = "imap"; };', r"mailbox.url, such as imaps://"),
                ('mailbox = { type = "imap"; url = "http://h"; };', r"mailbox.url must be imaps://"),
                ('mailbox = { type = "imap"; url = "imap://u@h"; };', r"mailbox.url must be"),
                ('mailbox = { type = "imap"; url = "imap://h"; user = "%n"; };', r"mailbox.user must"),
                ('mailbox = { type = "imap"; url = "imap://h"; connections = 0; };', r"connections")):
            with self.subTest(text):
                self.server.write_config(text + "\n")
                with self.assertRaisesRegex(AssertionError, re.compile(want)):
                    self.server.start()
                self.server.process = None

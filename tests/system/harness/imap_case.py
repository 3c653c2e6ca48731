"""Test cases with a mailbox behind a scripted IMAP server."""

import select

from .case import OwnServerCase
from .imap import FULL, Imap
from .server import wait_for

LONG = 600
PING = "ping = { heartbeat_min = 1; heartbeat_max = 900; };\n"


class ImapCase(OwnServerCase):
    """more: further settings of the mailbox; caps and separator of the server."""

    more, caps, separator, users = "timeout = 2; poll_interval = 1;", FULL, "/", None

    def setUp(self):
        users = self.users or {"ann": "secret", "bob": "hunter2"}
        self.imap = Imap(users, self.caps, self.separator)
        self.addCleanup(self.imap.stop)
        self.config = self.mailbox(f"imap://127.0.0.1:{self.imap.port}") + PING
        super().setUp()

    def mailbox(self, url):
        return f'mailbox = {{ type = "imap"; url = "{url}"; {self.more} }};\n'

    def known(self, **more):
        """A device that may ask for folders."""
        device = self.device(**more)
        device.handshake()
        return device

    def rows(self, answer, kind="Add"):
        self.assertFolders(answer)
        return [dict(row) for what, row in answer.tree[1][2][1] if what == kind]

    def synced(self, **more):
        device = self.known(**more)
        self.sync(device)
        return device

    def sync(self, device):
        # A connection that was closed just then is a 503, and a phone comes again.
        answer = wait_for("folders", lambda: self.unless_503(device.foldersync()))
        device.ids = {row["DisplayName"]: row["ServerId"] for row in self.rows(answer)}
        device.sync_key = answer.text("SyncKey")
        return answer

    @staticmethod
    def unless_503(answer):
        return None if answer.http == 503 else answer

    def tree(self, user="ann"):
        """{path of display names: type}"""
        rows = {row["ServerId"]: row for row in self.rows(self.known(user=user).foldersync())}

        def path(row):
            parent = rows.get(row["ParentId"])
            return (path(parent) + "|" if parent else "") + row["DisplayName"]

        return {path(row): int(row["Type"]) for row in rows.values()}

    def waiting(self):
        return self.admin("status")["waiting_pings"]

    def wait(self, device, *names, heartbeat=LONG):
        """Begin a Ping, and see it wait."""
        before = self.waiting()
        tree = device.ping_tree(heartbeat, [device.ids[n] for n in names])

        def waits():
            if self.waiting() > before:
                return True
            if select.select([device._connection.sock], [], [], 0)[0]:
                self.assertEqual(device.receive().http, 503)
                device.start("Ping", tree, key=None)
            return False

        device.start("Ping", tree, key=None)
        wait_for("a waiting Ping", waits)

    def listening(self, user="ann"):
        """The server has been asked to tell, and everything was looked at."""
        wait_for("IDLE or NOTIFY", lambda: self.imap.idle(user))

    def assertChanged(self, device, answer, *names):
        want = [("Folder", device.ids[n]) for n in names]
        self.assertEqual(answer.http, 200, answer)
        self.assertEqual(answer.tree, ("Ping", [("Status", "2"), ("Folders", want)]))

    def assertStatus(self, answer, status):
        self.assertEqual(answer.http, 200, answer)
        self.assertEqual(answer.tree, ("Ping", [("Status", str(status))]))

    def assertLater(self, answer):
        self.assertEqual(answer.http, 503, answer)
        self.assertGreaterEqual(int(answer.headers["Retry-After"]), 1)

    def lines(self, verb):
        return [line for line in list(self.server.lines) if f" {verb} " in line]

"""Test cases with a server: one for the class, started before and checked after its tests."""

import unittest

from .eas import Device, number
from .server import Server

# HTTP codes that stand for a common Status below 14.0 (MS-ASCMD 2.2.2).
HTTP_OF = {126: 403, 129: 403, 140: 449, 141: 449, 142: 449, 143: 449, 144: 449}


class ServerCase(unittest.TestCase):
    """config, users, tls, admin_tls: arguments of the server, as class attributes."""

    config, users, tls, admin_tls = "", None, False, False

    @classmethod
    def setUpClass(cls):
        cls.server = Server(users=cls.users, config=cls.config, tls=cls.tls,
                            admin_tls=cls.admin_tls)
        cls.addClassCleanup(cls.server.close)
        cls.admin = cls.server.admin

    def device(self, version="14.1", form="plain", **more):
        """A device that the server has never seen."""
        made = Device(self.server, version=version, form=form, **more)
        self.addCleanup(made.close)
        return made

    def assertRefused(self, answer, cmd, status, version, root=None):
        """HTTP code below 14.0; from then on 200 with the command's root and one Status alone."""
        if number(version) < 140:
            self.assertEqual((answer.http, answer.body), (HTTP_OF[status], b""), answer)
        else:
            self.assertEqual(answer.http, 200, answer)
            self.assertEqual(answer.tree, (root or cmd, [("Status", str(status))]))

    def assertOffered(self, answer):
        """A Provision answer with a policy key, temporary or final."""
        self.assertEqual((answer.http, answer.status, answer.policy_status), (200, 1, 1), answer)
        self.assertTrue(answer.key, answer)

    def assertFolders(self, answer):
        """FolderSync passed: Status 1 and at least the Inbox."""
        self.assertEqual((answer.http, answer.root), (200, "FolderSync"), answer)
        self.assertEqual(answer.status, 1, answer)


class OwnServerCase(ServerCase):
    """A fresh server for each test: for tests that change policies, users or the server's life."""

    @classmethod
    def setUpClass(cls):
        cls.server = cls.admin = None

    def setUp(self):
        self.server = Server(users=self.users, config=self.config, tls=self.tls,
                             admin_tls=self.admin_tls)
        self.addCleanup(self.server.close)
        self.admin = self.server.admin

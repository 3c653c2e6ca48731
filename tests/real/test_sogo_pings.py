"""A hundred phones that wait, provostd, and a SOGo with five workers behind it."""

import time
import unittest

from servers import DOMAIN
from sogo import Sogo

from harness.api import Api
from harness.case import ServerCase
from harness.mail import MailDevice, message
from harness.server import wait_for

CROWD = {f"user{n:02}": f"secret {n}" for n in range(50)}
EACH = 2      # devices of a user
FEW = {f"few{n}": f"secret {n}" for n in range(2)}
USERS = {**CROWD, **FEW}
WORKERS, SLOTS = 5, 2
SOGO = None


def setUpModule():
    global SOGO
    SOGO = Sogo(USERS, workers=WORKERS, interval=5)
    unittest.addModuleCleanup(SOGO.close)
    SOGO.start()


class HundredPhones(ServerCase):
    users = USERS

    @classmethod
    def setUpClass(cls):
        cls.config = (f'upstream = {{ url = "{SOGO.url}"; ping = {{ slots = {SLOTS}; }}; }};\n')
        super().setUpClass()
        cls.admin.policy("AllowNonProvisionable=1")

    def setUp(self):
        self.api = Api(self.server)
        self.addCleanup(self.api.close)

    def phone(self, user):
        """One that knows its Inbox as it is."""
        made = MailDevice(self.server, user=user)
        self.addCleanup(made.close)
        made.key, made.timeout = None, 120
        made.box = made.inbox()
        made.sync_items(made.box)
        return made

    def ping(self, phone):
        phone.start("Ping", phone.ping_tree(900, (phone.box,)), key=None)

    def waiting(self):
        return self.api("GET", "/v1/status").json["waiting_pings"]

    def figures(self):
        return self.api("GET", "/v1/status").json["upstreams"][0]["ping"]

    def deliver(self, users, subject):
        for user in users:
            SOGO.mailbox(user).deliver(raw=message(to=f"{user}@{DOMAIN}", subject=subject))

    def test_all_are_answered_and_the_next_gets_through(self):
        phones = [self.phone(user) for user in CROWD for _ in range(EACH)]
        for phone in phones:
            self.ping(phone)
        wait_for("all to wait", lambda: self.waiting() == len(phones))
        wait_for("looks", lambda: self.figures()["looking"] == SLOTS)

        # Without the gateway it would get no answer at all.
        late = MailDevice(self.server, user="few0")
        self.addCleanup(late.close)
        for step in (late.options, late.handshake, late.inbox):
            began = time.monotonic()
            step()
            self.assertLess(time.monotonic() - began, 5, step)
        self.assertEqual(self.waiting(), len(phones))

        self.deliver(CROWD, "Wake up")
        began = time.monotonic()
        for phone in phones:
            answer = phone.receive()
            self.assertEqual((answer.http, answer.text("Status")), (200, "2"), answer)
            self.assertEqual(answer.text("Folders/Folder"), phone.box)
        self.assertLess(time.monotonic() - began, 60)
        (mail,) = phones[-1].sync_items(phones[-1].box).values()
        self.assertEqual(mail["Email:Subject"], "Wake up")
        self.assertEqual(self.figures()["failures"], 0)

    def test_one_of_many_has_news(self):
        """After the first round, among those who have none."""
        one, other = (self.phone(user) for user in FEW)
        before = self.figures()["looks"]
        self.ping(one)
        self.ping(other)
        wait_for("a second round", lambda: self.figures()["looks"] > before + 2, 60)
        self.assertEqual(self.waiting(), 2)
        self.deliver([other.user], "Only you")
        self.assertEqual(other.receive().text("Status"), "2")
        self.assertEqual(self.waiting(), 1)


if __name__ == "__main__":
    unittest.main()

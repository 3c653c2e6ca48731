"""An IMAP server beside the upstream tells of news in Inboxes, so that no look has to find them."""

import unittest

from harness.imap import FULL, Imap
from harness.server import wait_for
from test_gateway_ping import GatewayPingCase


class Told(GatewayPingCase):
    def setUp(self):
        self.imap = Imap({"ann": "secret", "bob": "hunter2"}, FULL)
        self.addCleanup(self.imap.stop)
        # Nobody is looked at a second time within the test, unless the IMAP server has said so.
        self.pings = (f'interval = 600; '
                      f'imap = {{ url = "imap://127.0.0.1:{self.imap.port}"; }};')
        super().setUp()

    def news(self, user):
        self.upstream.news.add(user)
        self.imap.deliver(user)

    def test_news_in_the_inbox_comes_at_once(self):
        for caps in (FULL, FULL.replace(" NOTIFY", "")):
            with self.subTest(caps):
                self.imap.caps = caps
                self.imap.drop()
                ann, bob = self.device(), self.device(user="bob")
                for d in (ann, bob):
                    self.wait(d)
                    wait_for("its first look", lambda d=d: self.upstream.pings_of(d))
                    wait_for("IDLE or NOTIFY", lambda d=d: self.imap.idle(d.user))
                self.news("ann")
                self.assertNews(ann.receive())
                self.assertEqual(len(self.upstream.pings_of(bob)), 1)
                self.upstream.news.clear()
                ann.close()
                bob.close()
                wait_for("the end of every Ping", lambda: self.waiting() == 0)

    def test_one_connection_for_the_devices_of_a_user(self):
        devices = [self.device() for _ in range(4)]
        for d in devices:
            self.wait(d)
        wait_for("IDLE or NOTIFY", lambda: self.imap.idle("ann"))
        wait_for("a look at each", lambda: all(self.upstream.pings_of(d) for d in devices))
        self.assertEqual(self.imap.peak, 1)
        self.news("ann")
        for d in devices:
            self.assertNews(d.receive())

    def test_without_the_imap_server_phones_wait_all_the_same(self):
        self.imap.stop()
        ann = self.device()
        self.wait(ann)
        wait_for("its first look", lambda: self.upstream.pings_of(ann))
        self.assertEqual(self.waiting(), 1)
        self.server.stop()  # nothing is left that waits for it


if __name__ == "__main__":
    unittest.main()

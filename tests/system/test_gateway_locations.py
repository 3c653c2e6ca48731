"""An upstream that sends users on to another server (451): the gateway follows, the phone never sees it."""

import threading
import unittest

from harness.api import Api
from harness.eas import Device, basic
from harness.evil import reply
from harness.upstream import Upstream, gateway, plain, until_asked

AUTH = 'auth = { method = "upstream"; };'


def sends_to(where):
    def script(request):
        if request.method == "OPTIONS" and request.field("Authorization") != basic("ann", "secret"):
            return reply(401)
        return reply(451, fields={"X-MS-Location": where() + "/Microsoft-Server-ActiveSync"})
    return script


def knows_ann(request):
    return plain(request) if request.field("Authorization") == basic("ann", "secret") else reply(401)


class Locations(unittest.TestCase):
    def setUp(self):
        self.there = Upstream(knows_ann).__enter__()
        self.addCleanup(self.there.stop)
        self.home = Upstream(sends_to(lambda: self.there.url)).__enter__()
        self.addCleanup(self.home.stop)

    def start(self, config=AUTH):
        server = gateway(self.home, config=config)
        self.addCleanup(server.close)
        return server

    def device(self, server, **more):
        made = Device(server, **more)
        self.addCleanup(made.close)
        return made

    def test_login_and_command_follow_and_it_is_kept(self):
        server = self.start()
        d = self.device(server)
        d.handshake()
        answer = d.foldersync()
        self.assertEqual(answer.status, 1)
        self.assertIsNone(answer.headers.get("X-MS-Location"))
        self.assertEqual(self.there.count("FolderSync"), 1)
        before = len(self.home.asked)
        self.assertEqual(d.foldersync().status, 1)
        server.kill()
        server.start()
        self.assertEqual(d.foldersync().status, 1)  # known on the disk as well
        self.assertFalse([r for r in self.home.asked[before:] if r.cmd == "FolderSync"])

    def test_a_wrong_password_is_refused_there(self):
        server = self.start()
        self.device(server).handshake()
        self.assertEqual(self.device(server, password="wrong").foldersync().http, 401)

    def test_a_place_that_has_gone_is_forgotten(self):
        server = self.start(config="")
        d = self.device(server)
        d.handshake()
        self.assertEqual(d.foldersync().status, 1)
        self.there.stop()
        self.assertEqual(d.foldersync().http, 503)
        self.there = Upstream(knows_ann).__enter__()
        self.addCleanup(self.there.stop)
        self.assertEqual(d.foldersync().status, 1)
        api = Api(server)
        self.addCleanup(api.close)
        state = api("GET", "/v1/status").json["upstreams"][0]["state"]
        self.assertEqual(state, "up")  # nobody else is shut out

    def test_a_block_on_the_way(self):
        """Who is out when the upstream sends the command on does not get there."""
        server = self.start(config="")
        d = self.device(server)
        d.handshake()
        blocked = threading.Event()
        send_on = self.home.script

        def script(request):
            if request.cmd == "FolderSync":
                blocked.wait(30)
            return send_on(request)
        self.home.script = script
        d.start("FolderSync", ("FolderSync", [("SyncKey", "0")]))
        until_asked(self.home, "FolderSync")
        server.admin("device", "block", "ann", d.device_id)
        blocked.set()
        self.assertEqual(d.receive().status, 129)
        self.assertEqual(self.there.count("FolderSync"), 0)

    def test_round_in_circles_and_bad_addresses(self):
        server = self.start(config="")
        d = self.device(server)
        d.handshake()
        for where in ("ftp://127.0.0.1", "http://ann:pw@127.0.0.1", "http://", "javascript:x",
                      "http://127.0.0.1:1/?x"):
            with self.subTest(where=where):
                self.home.script = sends_to(lambda at=where: at)
                answer = d.foldersync()
                self.assertEqual(answer.http, 502)
                self.assertIsNone(answer.headers.get("X-MS-Location"))
        self.home.script = sends_to(lambda: self.there.url)
        self.there.script = sends_to(lambda: self.home.url)
        self.home.clear()
        self.there.clear()
        self.assertEqual(d.foldersync().http, 502)
        self.assertLessEqual(len(self.home.asked) + len(self.there.asked), 4)


if __name__ == "__main__":
    unittest.main()

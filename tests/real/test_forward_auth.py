"""nginx carries the mail and asks provostd before each request, as docs/forward-auth.md has it."""

import re
import unittest

from servers import Nginx

from harness.case import ServerCase
from harness.eas import MATRIX, Device, basic
from harness.evil import reply
from harness.server import TREE, Server, wait_for
from harness.upstream import Upstream, plain

SYNC = ("Sync", None)
ANSWER = ("Sync", [("Status", "1")])


def documented(provostd, groupware):
    """The lines of the page between "server {" and its end, and those before it."""
    page = (TREE / "docs" / "forward-auth.md").read_text(encoding="utf-8")
    block = page.partition("\n## nginx\n")[2].partition("\n* ")[0]
    code = "\n".join(line[4:] for line in block.splitlines() if line.startswith("    "))
    code = code.replace("127.0.0.1:8080", provostd).replace("127.0.0.1:20000", groupware)
    before, _, inside = code.partition("server {\n")
    inside = inside.rstrip().removesuffix("}")
    inside = re.sub(r"^\s*(listen|server_name) .*$", "", inside, flags=re.M)
    assert "auth_request" in inside and "keepalive" in before, code
    return inside, before


class Front:
    """Stands for the server towards a device: its users, but the proxy's port."""

    tls = False

    def __init__(self, server, proxy):
        self.users, self.port, self.dir = server.users, proxy.port, proxy.dir


def says(request):
    """The groupware: content with everything, and its Ping has no news."""
    return reply(200, ANSWER) if was_carried(request) else plain(request)


def was_carried(request):
    """By nginx: provostd itself asks for other commands, and with a plain query."""
    return request.method == "POST" and request.cmd in ("Sync", "SendMail", None)


def config(groupware):
    return f'''upstream = {{ url = "{groupware.url}/SOGo"; }};
        forward_auth = {{ path = "/provost/auth"; }};
        proxies = "127.0.0.1";'''


class ForwardAuth(ServerCase):
    @classmethod
    def setUpClass(cls):
        cls.groupware = Upstream(says).__enter__()
        cls.addClassCleanup(cls.groupware.stop)
        cls.config = config(cls.groupware)
        super().setUpClass()
        cls.nginx = Nginx(*documented(f"127.0.0.1:{cls.server.port}",
                                      f"127.0.0.1:{cls.groupware.port}")).start()
        cls.addClassCleanup(cls.nginx.close)

    def setUp(self):
        self.front = Front(self.server, self.nginx)
        self.groupware.clear()

    @property
    def went_on(self):
        return [r for r in self.groupware.asked if was_carried(r)]

    def device(self, *row, **more):
        made = Device(self.front, **dict(zip(("version", "form"), row)), **more)
        self.addCleanup(made.close)
        return made

    def sync(self, device, key=None, **how):
        return device.command("Sync", SYNC, device.key if key is None else key, **how)

    def assertWentOn(self, answer, count=1):
        self.assertEqual((answer.http, answer.tree), (200, ANSWER), answer)
        self.assertEqual(len(self.went_on), count)

    def assertNothingWentOn(self):
        self.assertEqual(self.went_on, [])

    def test_refused_provisioned_carried(self):
        for version, form in MATRIX:
            with self.subTest(version=version, form=form):
                self.groupware.clear()
                device = self.device(version, form)
                self.assertRefused(self.sync(device), "Sync", 142, version)
                self.assertRefused(self.sync(device, key=77), "Sync", 144, version)
                device.handshake()
                self.assertRefused(self.sync(device, key=device.key ^ 1), "Sync", 144, version)
                self.assertNothingWentOn()
                self.assertWentOn(self.sync(device))
                asked = self.went_on[0]
                self.assertEqual(asked.target, "/SOGo" + device.target("Sync", device.key))
                self.assertEqual(asked.field("Authorization"), basic("ann", "secret"))
                self.assertIsNone(asked.field("X-MS-PolicyKey"))
                self.assertEqual(asked.all("X-Forwarded-For"), ["127.0.0.1"])
                self.assertEqual(asked.tree, SYNC)

    def test_what_the_gate_answers_itself(self):
        device = self.device()
        self.assertIn("Provision", device.options().headers["MS-ASProtocolCommands"])
        device.handshake()
        answer = device.ping(heartbeat=1)  # too short: told by provostd
        self.assertEqual(answer.status, 5)
        self.assertNothingWentOn()

    def test_a_waiting_ping_is_woken_by_a_policy(self):
        device = self.device()
        device.handshake()
        device.start("Ping", device.ping_tree(600), key=None)
        wait_for("the Ping to wait", lambda: self.admin("status")["waiting_pings"])
        self.addCleanup(self.admin.policy, "MaxInactivityTimeDeviceLock=")
        self.admin.policy("MaxInactivityTimeDeviceLock=99")
        self.assertEqual(device.receive().status, 7)
        self.assertRefused(self.sync(device), "Sync", 143, "14.1")
        self.assertNothingWentOn()

    def test_wrong_password(self):
        device = self.device(password="wrong")
        answer = self.sync(device)
        self.assertEqual(answer.http, 401)
        self.assertTrue(answer.headers["WWW-Authenticate"].startswith("Basic"))
        self.assertNothingWentOn()
        wait_for("the log", lambda: "login-refused" in self.server.log)
        self.assertEqual(self.server.log.count("login-refused"), 1)

    def test_blocked_and_in_quarantine(self):
        device = self.device()
        device.handshake()
        self.admin("device", "block", "ann", device.device_id)
        self.assertRefused(self.sync(device), "Sync", 129, "14.1")
        self.admin("device", "quarantine", "ann", device.device_id)
        self.assertFolders(device.foldersync())
        self.assertNothingWentOn()

    def test_a_device_that_describes_itself(self):
        good, bad = self.device(), self.device()
        good.handshake()
        target = good.target("Sync")
        for fields in ({"X-Original-URI": target}, {"X-Original-Method": "POST"},
                       {"X-Original-URI": target, "X-Original-Method": "POST"},
                       {"X-Forwarded-Uri": target}, {"X-Forwarded-Method": "POST"},
                       {"X-Forwarded-Uri": target, "X-Forwarded-Method": "POST"}):
            with self.subTest(fields=fields):
                self.assertRefused(self.sync(bad, fields=fields), "Sync", 142, "14.1")
                self.assertRefused(self.sync(bad, key=good.key, fields=fields), "Sync", 144, "14.1")
        self.assertNothingWentOn()
        self.assertWentOn(self.sync(good, fields={"X-Original-URI": bad.target("Sync")}))

    def test_nobody_asks_from_outside(self):
        device = self.device()
        answer = device.http("GET", "/provost/auth", {"X-Original-Method": "POST",
                                                      "X-Original-URI": device.target("Sync")})
        self.assertEqual(answer.http, 404)

    def test_autodiscover_leads_here(self):
        answer = self.device().http("GET", "/AutoDiscover/autodiscover.json?Email=a@b&Protocol="
                                    "ActiveSync", {})
        self.assertEqual(answer.http, 200)
        self.assertIn(b"/Microsoft-Server-ActiveSync", answer.body)

    def test_a_large_body_goes_on_whole(self):
        device = self.device()
        device.handshake()
        mail = b"x" * 3_000_000
        answer = device.command("SendMail", mail)
        self.assertEqual(answer.http, 200)
        self.assertEqual(self.went_on[0].body_len, len(mail))

    def test_a_large_body_that_is_refused(self):
        device = self.device()
        self.assertRefused(device.command("Sync", b"x" * 300_000), "Sync", 142, "14.1")
        self.assertNothingWentOn()


class Down(unittest.TestCase):
    def test_without_provostd_nothing_goes_on(self):
        with Upstream(says) as groupware, Server(config=config(groupware)) as server, \
                Nginx(*documented(f"127.0.0.1:{server.port}",
                                  f"127.0.0.1:{groupware.port}")) as nginx:
            device = Device(Front(server, nginx))
            self.addCleanup(device.close)
            device.handshake()
            server.stop()
            self.assertEqual(device.command("Sync", SYNC).http, 500)
            self.assertEqual(groupware.asked, [])


if __name__ == "__main__":
    unittest.main()

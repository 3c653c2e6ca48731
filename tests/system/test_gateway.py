"""A gateway before a server that says what the test wants: what reaches it, and what comes back."""

import unittest

from harness import eas, wbxml
from harness.case import HTTP_OF
from harness.eas import PATH, TYPE, VERSIONS, Device, basic, number
from harness.evil import options, reply
from harness.server import Server, wait_for
from harness.upstream import COMMANDS, Upstream, gateway, plain, until_asked


class GatewayCase(unittest.TestCase):
    """An upstream and a gateway for the class; the script can be changed by a test."""

    more, config, closing = "", "", False

    @classmethod
    def setUpClass(cls):
        cls.upstream = Upstream(closing=cls.closing).__enter__()
        cls.addClassCleanup(cls.upstream.stop)
        cls.server = gateway(cls.upstream, cls.more, cls.config)
        cls.addClassCleanup(cls.server.close)

    def setUp(self):
        self.upstream.script = plain
        self.upstream.clear()

    def device(self, version="14.1", form="plain", **more):
        made = Device(self.server, version=version, form=form, **more)
        self.addCleanup(made.close)
        return made

    def provisioned(self, version="14.1", form="plain", **more):
        made = self.device(version, form, **more)
        made.handshake()
        return made

    def answers(self, out):
        """What POSTs get from now on."""
        self.upstream.script = lambda r: out if r.method == "POST" else plain(r)


class Handshake(GatewayCase):
    def test_every_version_and_form(self):
        for version, form in eas.MATRIX:
            with self.subTest(version=version, form=form):
                d = self.device(version, form)
                self.upstream.clear()
                refused = d.foldersync()
                if number(version) < 140:
                    self.assertEqual(refused.http, HTTP_OF[142])
                else:
                    self.assertEqual(refused.status, 142)
                d.handshake()
                self.assertEqual(self.upstream.asked, [])  # nothing before it is let in
                self.assertEqual(d.foldersync().status, 1)
                asked = self.upstream.last("FolderSync")
                self.assertEqual(asked.params, [("Cmd", "FolderSync"), ("User", "ann"),
                                                ("DeviceId", d.device_id),
                                                ("DeviceType", "TestPhone")])
                self.assertEqual(asked.target.split("?")[0], PATH)
                self.assertEqual(asked.all("MS-ASProtocolVersion"), [version])
                self.assertEqual(asked.all("X-MS-PolicyKey"), ["0"])  # it has given none
                self.assertEqual(asked.field("Authorization"), basic("ann", "secret"))
                self.assertEqual(asked.tree, ("FolderSync", [("SyncKey", "0")]))

    def test_what_the_request_line_says_travels(self):
        for form in ("plain", "base64"):
            d = self.provisioned(form=form)
            d.command("SmartForward", b"x", SaveInSent="T", CollectionId="a b", ItemId="\u00e4&=",
                      LongId="l")
            asked = self.upstream.last()
            self.assertEqual(asked.query, {
                "Cmd": "SmartForward", "User": "ann", "DeviceId": d.device_id, "LongId": "l",
                "DeviceType": "TestPhone", "CollectionId": "a b", "ItemId": "\u00e4&=",
                "SaveInSent": "T"})

    def test_a_device_in_quarantine_reaches_nothing(self):
        with Upstream() as u, gateway(u) as s:
            s.admin.run("policy", "set", "default", "AllowNonProvisionable=0")
            d = Device(s)
            d.handshake()
            s.admin.run("device", "quarantine", "ann", d.device_id)
            self.assertEqual(d.foldersync().http, 200)
            self.assertEqual(d.command("Search", ("Search", [])).http, 501)
            self.assertEqual(u.asked, [])
            d.close()


class Options(GatewayCase):
    def test_lists_are_what_both_speak(self):
        self.upstream.script = lambda r: options("12.1, 14.0,14.1,17.0", "Sync, FolderSync,Sing")
        answer = self.device().options()
        self.assertEqual(answer.http, 200)
        self.assertEqual(answer.headers["MS-ASProtocolVersions"], "12.1,14.0,14.1")
        self.assertEqual(answer.headers["MS-ASProtocolCommands"], "Sync,FolderSync,Provision")
        self.assertEqual(self.upstream.last().method, "OPTIONS")

    def test_in_any_answer(self):
        self.answers(reply(fields={"MS-ASProtocolVersions": "14.1,99", "MS-ASProtocolCommands": "Find"},
                           tree=("FolderSync", [("Status", "1")])))
        answer = self.provisioned().foldersync()
        self.assertEqual(answer.headers["MS-ASProtocolVersions"], "14.1")
        self.assertEqual(answer.headers["MS-ASProtocolCommands"], "Provision,Find")

    def test_nobody_unverified_gets_there(self):
        answer = self.device(password="wrong").options()
        self.assertEqual(answer.http, 401)
        self.assertEqual(self.upstream.asked, [])


class Fields(GatewayCase):
    more = 'user_field = "x-webobjects-remote-user";'

    def test_what_travels_and_what_does_not(self):
        d = self.provisioned()
        kept = {"X-Phone": "a, b", "Accept-Language": "de", "Cookie": "c=d", "X-Empty": "",
                "Content-Type": TYPE, "User-Agent": "Phone/1 (x; y)", "If-Match": "*"}
        dropped = {"Connection": "keep-alive, X-Hop", "X-Hop": "1", "Keep-Alive": "5",
                   "Proxy-Authorization": "x", "TE": "trailers", "Trailer": "X", "Upgrade": "h2c",
                   "X-Forwarded-For": "6.6.6.6", "X_Forwarded_For": "6.6.6.6",
                   "X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil", "X-Forwarded-Port": "1",
                   "Forwarded": "for=6.6.6.6", "X-Real-IP": "6.6.6.6", "Via": "1.1 x",
                   "X-WebObjects-Remote-User": "bob", "x_webobjects.remote-user": "bob",
                   "X-MS-PolicyKey": str(d.key), "X_MS_PolicyKey": "7",
                   "X-HTTP-Method-Override": "GET", "X-Original-URL": "/x", "X-Original-URI": "/x",
                   "Proxy": "http://evil"}
        answer = d.command("Settings", ("Settings", []), fields={**kept, **dropped})
        self.assertEqual(answer.http, 200)
        asked = self.upstream.last()
        names = [name.lower() for name, _ in asked.fields]
        self.assertEqual(len(names), len(set(names)), asked)
        for name, value in kept.items():
            self.assertEqual(asked.all(name), [value], name)
        ours = {"x-forwarded-for": "127.0.0.1", "x-forwarded-proto": "http",
                "x-forwarded-host": f"127.0.0.1:{self.server.port}",
                "x-webobjects-remote-user": "ann", "x-ms-policykey": "0"}
        for name, value in ours.items():
            self.assertEqual(asked.all(name), [value], name)
        for name in dropped:
            if name.lower() not in ours:
                self.assertEqual(asked.all(name), [], name)
        self.assertEqual(asked.all("Host"), [f"127.0.0.1:{self.upstream.port}"])
        self.assertEqual(asked.field("Accept-Encoding"), None)

    def test_the_answer(self):
        self.answers(reply(200, body=b"\x1f\x8bnot gzip" * 100, fields={
            "Content-Type": TYPE, "Content-Encoding": "gzip", "Set-Cookie": "a=b", "X-A": "1",
            "Connection": "X-Hop", "X-Hop": "2", "Keep-Alive": "timeout=5", "Upgrade": "h2c",
            "WWW-Authenticate": 'Basic realm="theirs"', "Server": "Theirs/1",
            "Location": f"{self.upstream.url}{PATH}?x=1", "Content-Location": f"{self.upstream.url}/y",
            "X-MS-Location": "https://elsewhere/", "Alt-Svc": 'h2="elsewhere:443"'}))
        d = self.provisioned()
        d.start("Settings", ("Settings", []), fields={"Accept-Encoding": "gzip"})
        answer = d._connection.getresponse()
        body = answer.read()
        self.assertEqual(body, b"\x1f\x8bnot gzip" * 100)  # as it came
        self.assertEqual(self.upstream.last().field("Accept-Encoding"), "gzip")
        here = f"http://127.0.0.1:{self.server.port}"
        for name, value in {"Content-Encoding": "gzip", "Set-Cookie": "a=b", "X-A": "1",
                            "Content-Type": TYPE, "Server": "Theirs/1", "X-Hop": None, "Upgrade": None,
                            "WWW-Authenticate": None, "X-MS-Location": None, "Keep-Alive": None,
                            "Alt-Svc": None,
                            "Location": f"{here}{PATH}?x=1", "Content-Location": f"{here}/y",
                            "Vary": None, "Content-Length": str(len(body))}.items():
            self.assertEqual(answer.headers[name], value, name)

    def test_no_address_leads_past_the_gate(self):
        d = self.provisioned()
        for where, told in (("https://elsewhere/x", None), ("//elsewhere/x", None),
                            (self.upstream.url + "1/x", None), ("/x", "/x")):
            self.answers(reply(302, fields={"Location": where}))
            self.assertEqual(d.foldersync().headers["Location"], told)

    def test_statuses_pass(self):
        d = self.provisioned()
        for status in (200, 204, 400, 403, 404, 413, 418, 500, 503, 507):
            self.answers(reply(status, body=b"" if status == 204 else b"text"))
            answer = d.foldersync()
            self.assertEqual((answer.http, answer.raw), (status, b"" if status == 204 else b"text"))


class Logins(GatewayCase):
    def test_an_upstream_that_refuses_the_login(self):
        d = self.provisioned()
        self.answers(reply(401, body=b"no", fields={"WWW-Authenticate": 'NTLM'}))
        answer = d.foldersync()
        self.assertEqual((answer.http, answer.raw), (401, b""))
        self.assertIn("Basic", answer.headers["WWW-Authenticate"])
        self.upstream.script = plain
        self.assertEqual(d.foldersync().http, 200)

    def test_it_does_not_go_on_for_ever(self):
        def endless(request):
            if request.method != "POST":
                return plain(request)
            return [b"HTTP/1.1 401 No\r\n\r\n"] + [b"x" * 65536] * 1000
        d = self.provisioned()
        self.upstream.script = endless
        self.assertEqual(d.foldersync().http, 401)


if __name__ == "__main__":
    unittest.main()

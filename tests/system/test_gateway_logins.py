"""Logins that the upstream itself verifies, and which upstream a user belongs to."""

import base64
import time
import unittest

from harness.eas import Device, basic
from harness.evil import options, reply
from harness.server import Server, wait_for
from harness.upstream import Upstream, gateway, plain

AUTH = 'auth = { method = "upstream"; };'
PEOPLE = {"ann": "secret", "bob": "hunter2", "ann@a.org": "of-a", "A\\ann": "of-a", "ann@b.org": "of-b"}


def login_of(request):
    field = request.field("Authorization") or ""
    if not field.startswith("Basic "):
        return "", ""
    name, _, password = base64.b64decode(field[6:]).decode().partition(":")
    return name, password


def checking(people=None, refusal=401, open_options=False):
    """A server that looks at passwords."""
    people = PEOPLE if people is None else people

    def script(request):
        name, password = login_of(request)
        if (request.method == "OPTIONS" and open_options) or people.get(name) == password:
            return plain(request)
        return reply(refusal, fields={"WWW-Authenticate": 'Basic realm="theirs"'})
    return script


class Case(unittest.TestCase):
    def begin(self, script, more="", config=AUTH):
        upstream = Upstream(script).__enter__()
        self.addCleanup(upstream.stop)
        server = gateway(upstream, more, config, users={})
        self.addCleanup(server.close)
        wait_for("the first probe", lambda: upstream.probes)
        return upstream, server

    def device(self, server, user="ann", password="secret", **more):
        made = Device(server, user=user, password=password, **more)
        self.addCleanup(made.close)
        return made


class ByTheUpstream(Case):
    def test_right_and_wrong(self):
        upstream, server = self.begin(checking())
        self.assertEqual(self.device(server, password="wrong").foldersync().http, 401)
        self.assertEqual(self.device(server, user="carl").foldersync().http, 401)
        self.assertEqual(server.admin.devices(), [])  # nothing is kept of who was not verified
        d = self.device(server)
        d.handshake()
        self.assertEqual(d.foldersync().status, 1)
        self.assertEqual([row["user"] for row in server.admin.devices()], ["ann"])

    def test_what_was_verified_is_remembered_until_the_upstream_says_otherwise(self):
        people = {"ann": "secret"}
        upstream, server = self.begin(checking(people))
        d = self.device(server)
        d.handshake()
        asked = upstream.count("OPTIONS")
        for _ in range(5):
            self.assertEqual(d.foldersync().http, 200)
        self.assertEqual(upstream.count("OPTIONS"), asked)
        people["ann"] = "changed"
        self.assertEqual(d.foldersync().http, 401)
        self.assertEqual(d.foldersync().http, 401)
        self.assertEqual(upstream.count("OPTIONS"), asked + 1)  # the second was not believed any more
        d.password = "changed"
        self.assertEqual(d.foldersync().http, 200)

    def test_a_server_that_says_403(self):
        upstream, server = self.begin(checking(refusal=403))
        d = self.device(server, password="wrong")
        self.assertEqual(d.foldersync().http, 401)
        d.password = "secret"
        d.handshake()
        upstream.script = checking({}, refusal=403)
        answer = d.foldersync()
        self.assertEqual(answer.http, 401)
        self.assertIn("WWW-Authenticate", answer.headers)

    def test_options_that_nobody_looks_at(self):
        upstream, server = self.begin(checking(open_options=True))
        self.assertEqual(self.device(server, password="wrong").foldersync().http, 401)
        d = self.device(server)
        d.handshake()
        self.assertEqual(d.foldersync().status, 1)
        wait_for("a line", lambda: "upstream-options-open" in server.log)
        self.assertNotIn("secret", server.log)

    def test_a_server_that_looks_no_more(self):
        upstream, server = self.begin(checking(), more="health_interval = 1;")
        self.assertEqual(self.device(server, password="wrong").foldersync().http, 401)
        upstream.script = checking(open_options=True)
        time.sleep(1.1)
        self.assertEqual(self.device(server, password="wrong").foldersync().http, 401)
        upstream.script = plain
        time.sleep(1.1)
        self.assertEqual(self.device(server, password="wrong").foldersync().http, 503)
        self.assertEqual(server.admin.devices(), [])

    def test_a_server_that_takes_everybody_is_not_believed(self):
        upstream, server = self.begin(plain)
        answer = self.device(server).foldersync()
        self.assertEqual(answer.http, 503)
        self.assertIn("Retry-After", answer.headers)
        wait_for("a line", lambda: "upstream-takes-everybody" in server.log)
        self.assertEqual(server.admin.devices(), [])

    def test_asked_again_when_it_comes_back(self):
        """An upstream that was away may be another one."""
        upstream, server = self.begin(checking(), "health_interval = 1;")
        d = self.device(server)
        d.handshake()
        upstream.stop()
        wait_for("503", lambda: d.foldersync().http == 503)
        wait_for("down", lambda: "upstream-down" in server.log)
        again = Upstream(plain, port=upstream.port).__enter__()  # takes everybody
        self.addCleanup(again.stop)
        wait_for("up", lambda: "upstream-up" in server.log)
        self.assertEqual(d.foldersync().status, 1)  # remembered: it need not provision again either
        self.assertEqual(self.device(server, user="bob", password="x").foldersync().http, 503)

    def test_servers_that_cannot_say(self):
        for status in (301, 404, 500, 503):
            upstream, server = self.begin(lambda r, status=status: reply(status))
            self.assertEqual(self.device(server).foldersync().http, 503, status)
            server.close()

    def test_one_person_however_it_is_typed(self):
        people = {"ann": "s", "Ann": "s", "ANN": "s"}
        upstream, server = self.begin(checking(people))
        for name in people:
            d = self.device(server, user=name, password="s", device_id="ONE1")
            self.assertEqual(d.provision_initial().http, 200)
        self.assertEqual([row["user"] for row in server.admin.devices()], ["ann"])


class Domains(Case):
    def setUp(self):
        self.a, self.b, self.other = (Upstream(checking()).__enter__() for _ in range(3))
        for u in (self.a, self.b, self.other):
            self.addCleanup(u.stop)

    def config(self, url=True):
        one = f'url = "{self.other.url}";' if url else ""
        return (f'upstream = {{ {one} domains = ( {{ domain = "a.org"; url = "{self.a.url}"; }},\n'
                f'{{ domain = "A"; url = "{self.a.url}/"; }},'
                f'{{ domain = "B.org"; url = "{self.b.url}"; }} ); }};\n{AUTH}')

    def server(self, **how):
        made = Server(config=self.config(**how), users={})
        self.addCleanup(made.close)
        return made

    def test_by_the_name(self):
        server = self.server()
        for user, password, where in (("ann@a.org", "of-a", self.a), ("ann@b.org", "of-b", self.b),
                                      ("A\\ann", "of-a", self.a), ("ann", "secret", self.other)):
            with self.subTest(user=user):
                d = self.device(server, user=user, password=password, device_id="SAME")
                d.handshake()
                self.assertEqual(d.foldersync().status, 1)
                self.assertEqual(where.last("FolderSync").field("Authorization"),
                                 basic(user, password))
                for u in (self.a, self.b, self.other):
                    self.assertEqual(u.count("FolderSync"), u is where)
                    u.clear()
        users = sorted(row["user"] for row in server.admin.devices())
        self.assertEqual(users, ["ann", "ann@a", "ann@a.org", "ann@b.org"])  # nobody is another one

    def test_nowhere(self):
        server = self.server(url=False)
        self.assertEqual(self.device(server).foldersync().http, 401)
        self.assertEqual(self.device(server, user="ann@a.org", password="of-a").foldersync().status, 142)

    def test_nowhere_with_a_login_of_our_own(self):
        server = Server(config=self.config(url=False).replace(AUTH, ""))
        self.addCleanup(server.close)
        d = self.device(server)
        d.handshake()
        self.assertEqual(d.foldersync().http, 503)
        wait_for("a line", lambda: "no-upstream" in server.log)


if __name__ == "__main__":
    unittest.main()

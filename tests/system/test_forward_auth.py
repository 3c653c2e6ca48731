"""Forward-auth: a proxy asks whether a request may go on; the gate judges it by what is told of it."""

import unittest

from harness.case import OwnServerCase, ServerCase
from harness.eas import MATRIX, PATH, SAME, Device
from harness.server import USERS, own_address, wait_for

ENDPOINT = "/provost/auth"
HTTP = ENDPOINT + "?answer=http"
PAIRS = {"original": ("X-Original-Method", "X-Original-URI"),
         "forwarded": ("X-Forwarded-Method", "X-Forwarded-Uri")}


class Asking:
    config = f'forward_auth = {{ path = "{ENDPOINT}"; }};'

    def ask(self, device, cmd="FolderSync", key=SAME, endpoint=ENDPOINT, method="POST", pair="original",
            target=None, fields=None, by="GET"):
        """What a proxy asks when the device has sent that."""
        key = device.key if key is SAME else key
        head = device.headers(key)
        names = PAIRS[pair]
        head[names[0]], head[names[1]] = method, target or device.target(cmd, key)
        head.update(fields or {})
        return device.http(by, endpoint, {n: v for n, v in head.items() if v is not None})

    def assertPasses(self, answer, device):
        self.assertEqual((answer.http, answer.raw), (204, b""), answer)
        self.assertEqual(answer.headers["X-Provost-User"], device.user)
        self.assertEqual(answer.headers["X-Provost-Device"], device.device_id)

    def assertStopped(self, answer, code=403):
        """Neither a body nor anything that a proxy could take for a yes."""
        self.assertEqual((answer.http, answer.raw), (code, b""), answer)
        self.assertNotIn("X-Provost-User", answer.headers)

    def assertBoth(self, device, code, **how):
        """403 where it comes again in full, the code where the answer is relayed."""
        for pair in PAIRS:
            self.assertStopped(self.ask(device, pair=pair, **how))
            self.assertStopped(self.ask(device, pair=pair, endpoint=HTTP, **how), code)

    def provisioned(self, *row, **more):
        device = self.device(*row, **more)
        device.handshake()
        return device


class States(Asking, OwnServerCase):
    def test_every_version_and_form_of_the_query(self):
        for version, form in MATRIX:
            for pair in PAIRS:
                with self.subTest(version=version, form=form, pair=pair):
                    device = self.device(version, form)
                    self.assertStopped(self.ask(device, key=0, pair=pair))
                    self.assertStopped(self.ask(device, key=None, pair=pair, endpoint=HTTP), 449)
                    offered = device.offer()
                    self.assertStopped(self.ask(device, key=offered, pair=pair))
                    device.provision_ack(offered)
                    device.handshake()
                    for endpoint in (ENDPOINT, HTTP):
                        self.assertPasses(self.ask(device, pair=pair, endpoint=endpoint), device)
                    self.assertBoth(device, 449, key=device.key ^ 1)
                    self.assertFolders(device.foldersync())

    def test_every_command_but_those_of_the_gate(self):
        device = self.provisioned()
        for cmd in ("Sync", "SendMail", "GetAttachment", "MoveItems", "ItemOperations", "Search"):
            with self.subTest(cmd=cmd):
                self.assertPasses(self.ask(device, cmd), device)
                self.assertBoth(device, 449, cmd=cmd, key=1)
        self.assertBoth(device, 403, cmd="Provision")
        for method in ("OPTIONS", "GET", "PROPFIND", "post"):
            with self.subTest(method=method):
                self.assertBoth(device, 403, method=method)

    def test_a_ping_is_the_gates_where_it_can_be(self):
        device = self.provisioned()
        self.assertStopped(self.ask(device, "Ping", key=None))
        self.assertPasses(self.ask(device, "Ping", key=None, endpoint=HTTP), device)
        self.assertStopped(self.ask(self.device(), "Ping", key=None, endpoint=HTTP), 449)
        self.admin.policy("DevicePasswordEnabled=1")
        self.assertStopped(self.ask(device, "Ping", key=None, endpoint=HTTP), 449)

    def test_a_changed_policy(self):
        device = self.provisioned()
        self.admin.policy("DevicePasswordEnabled=1")
        self.assertBoth(device, 449)
        device.handshake()
        self.assertPasses(self.ask(device), device)

    def test_blocked_and_allowed_again(self):
        device, other = self.provisioned(), self.provisioned()
        self.admin("device", "block", device.user, device.device_id)
        self.assertBoth(device, 403)
        self.assertPasses(self.ask(other), other)
        self.admin("device", "allow", device.user, device.device_id)
        self.assertPasses(self.ask(device), device)

    def test_a_wipe_is_due(self):
        device = self.provisioned("16.1")
        self.admin("device", "wipe", device.user, device.device_id)
        self.assertBoth(device, 449)

    def test_in_quarantine_only_the_gate_answers(self):
        device = self.device()
        self.admin("device", "quarantine", device.user, device.device_id)
        device.handshake()
        self.assertBoth(device, 403)
        self.assertFolders(device.foldersync())
        self.admin("device", "allow", device.user, device.device_id)
        self.assertPasses(self.ask(device), device)

    def test_a_user_who_is_switched_off(self):
        device = self.provisioned()
        self.admin("user", "disable", "ann")
        self.assertBoth(device, 403)

    def test_a_device_of_another_user(self):
        device = self.provisioned()
        thief = Device(self.server, user="bob", device_id=device.device_id)
        self.addCleanup(thief.close)
        thief.key = device.key
        self.assertBoth(thief, 449)

    def test_a_policy_that_lets_in_who_sends_no_key(self):
        self.admin.policy("AllowNonProvisionable=1")
        device = self.device()
        self.assertPasses(self.ask(device, key=None), device)
        self.assertIsNotNone(self.admin.device(device.user, device.device_id))

    def test_what_comes_again_is_written_down_once(self):
        known, unknown = self.provisioned(), self.device()
        for _ in range(3):
            self.assertStopped(self.ask(unknown, key=0))
            self.assertStopped(self.ask(known, key=1))
        self.assertIsNone(self.admin.device(unknown.user, unknown.device_id))
        self.assertEqual(self.steps(known)[-1]["step"], "confirmed", self.steps(known))
        self.assertRefused(known.foldersync(key=1), "FolderSync", 144, "14.1")
        self.assertEqual(self.refusals(known), 1)
        for _ in range(3):
            self.assertStopped(self.ask(known, key=1, endpoint=HTTP), 449)
        self.assertEqual(self.refusals(known), 4)

    def steps(self, device):
        return self.admin("device", "why", device.user, device.device_id)["steps"]

    def refusals(self, device):
        return sum(s["times"] for s in self.steps(device) if s["step"] == "refused")


class Logins(Asking, OwnServerCase):
    users = dict(USERS, **{"dörte": "secret"})

    def test_credentials(self):
        device = self.provisioned()
        for fields in ({"Authorization": None}, {"Authorization": "Basic eA=="},
                       {"Authorization": "Basic YW5uOndyb25n"}):
            for endpoint in (ENDPOINT, HTTP):
                with self.subTest(fields=fields, endpoint=endpoint):
                    answer = self.ask(device, fields=fields, endpoint=endpoint)
                    self.assertStopped(answer, 401)
                    self.assertTrue(answer.headers["WWW-Authenticate"].startswith("Basic"))

    def test_guesses_are_slowed_down(self):
        device = self.device(password="wrong")
        seen = {self.ask(device).http for _ in range(5)}
        self.assertEqual(seen, {401})
        wait_for("the log", lambda: self.server.log.count("login-refused") == 5)

    def test_what_needs_no_login_asks_for_none(self):
        device = self.device(password="wrong")
        self.assertStopped(self.ask(device, "Provision"))
        self.assertStopped(self.ask(device, method="OPTIONS"))
        self.assertNotIn("login-", self.server.log)

    def test_a_name_beyond_ascii_is_encoded(self):
        device = self.provisioned(user="dörte")
        answer = self.ask(device)
        self.assertEqual((answer.http, answer.headers["X-Provost-User"]), (204, "d%C3%B6rte"))


class Described(Asking, ServerCase):
    """What is told of the request, and by whom."""

    def test_malformed_requests(self):
        device = self.provisioned()
        rows = [(400, PATH, {}), (400, PATH + "?", {}), (404, "/", {}), (404, "", {}),
                (404, "/x/.." + device.target("FolderSync"), {}), (404, "/SOGo" + PATH + "?Cmd=Sync", {}),
                (501, device.target("Nothing"), {}), (400, PATH + "?Cmd=Sync&User=ann", {}),
                (400, PATH + "?!!!", {}), (400, device.target("Sync") + "&x=" + "a" * 9000, {}),
                (400, device.target("Sync"), {"MS-ASProtocolVersion": "13.0"})]
        for code, target, fields in rows:
            with self.subTest(target=target[:80]):
                if target:
                    self.assertBoth(device, code, target=target, fields=fields)
                else:
                    self.assertStopped(self.ask(device, fields={"X-Original-URI": ""}))

    def test_the_target_in_its_absolute_form(self):
        device = self.provisioned()
        target = "http://mail.example.org" + device.target("FolderSync")
        self.assertPasses(self.ask(device, target=target), device)

    def test_a_device_that_describes_itself(self):
        """Its own fields come along with those of the proxy, which sets only one pair."""
        good, bad = self.provisioned(), self.device()
        for pair, other in (("original", "forwarded"), ("forwarded", "original")):
            for name in PAIRS[other]:
                fields = {name: "POST" if "Method" in name else good.target("FolderSync")}
                with self.subTest(pair=pair, field=name):
                    for device in (good, bad):
                        self.assertStopped(self.ask(device, pair=pair, fields=fields))
                        self.assertStopped(self.ask(device, pair=pair, fields=fields, endpoint=HTTP),
                                           400)
        wait_for("the log", lambda: "forward-auth-unclear" in self.server.log)

    def test_half_a_description(self):
        device = self.provisioned()
        for pair, names in PAIRS.items():
            for name in names:
                with self.subTest(missing=name):
                    self.assertBoth(device, 400, fields={n: None for n in sum(PAIRS.values(), ())
                                                         if n not in PAIRS[pair] or n == name})

    def test_fields_that_are_there_twice(self):
        device = self.provisioned()
        rows = [(name, value) for name, value in
                (("X-Original-URI", device.target("FolderSync")), ("X-Original-Method", "POST"),
                 ("Authorization", device.headers()["Authorization"]))]
        for name, value in rows:
            with self.subTest(field=name):
                connection = device.connect()
                connection.putrequest("GET", ENDPOINT)
                for field in [*device.headers(device.key).items(), *rows[:2], (name, value)]:
                    connection.putheader(*field)
                connection.endheaders()
                self.assertEqual(device.receive().http, 400)

    def test_a_query_that_another_reads_otherwise(self):
        """A Ping needs no key; what the server behind takes it for must not be something else."""
        device = self.provisioned()
        ping = device.target("Ping", None)
        self.assertPasses(self.ask(device, "Ping", key=None, target=ping + "&x=1", endpoint=HTTP), device)
        for more in ("&Cmd=Sync", "&cmd=Sync", "&%43md=Sync", "&+Cmd=Sync", "&%20Cmd=Sync", ";Cmd=Sync",
                     "&Cmd[]=Sync", "&DeviceId=other", "&User=bob", "#x", "&x&x",
                     "".join(f"&x{i}=" for i in range(40))):
            with self.subTest(more=more):
                answer = self.ask(device, "Ping", key=None, target=ping + more, endpoint=HTTP)
                self.assertStopped(answer, 400)
                self.assertBoth(device, 400, target=device.target("FolderSync") + more)

    def test_the_question_itself(self):
        device = self.provisioned()
        self.assertPasses(self.ask(device, by="HEAD"), device)
        for by in ("POST", "OPTIONS", "PUT"):
            with self.subTest(by=by):
                answer = self.ask(device, by=by)
                self.assertStopped(answer, 405)
                self.assertEqual(answer.headers["Allow"], "GET,HEAD")
        for query in ("?", "?answer=xml", "?Cmd=Sync&answer=http"):  # a proxy hands on the device's
            with self.subTest(query=query):
                self.assertPasses(self.ask(device, endpoint=ENDPOINT + query), device)
                self.assertStopped(self.ask(device, key=1, endpoint=ENDPOINT + query), 403)
        self.assertStopped(self.ask(device, endpoint=ENDPOINT + "/x"), 404)

    def test_no_key_in_the_log(self):
        device = self.provisioned()
        self.ask(device, key=1234567890, endpoint=HTTP)
        self.assertNotIn("1234567890", self.server.log)
        self.assertNotIn(device.password, self.server.log)


class Elsewhere(Asking, OwnServerCase):
    def test_it_is_off_by_default(self):
        self.server.write_config()
        self.server.restart()
        device = self.provisioned()
        self.assertStopped(self.ask(device), 404)

    def test_it_answers_this_machine_only(self):
        address = own_address()
        if not address:
            self.skipTest("this machine has no address but that of itself")
        self.server.write_config(self.config + f'\nlisten = "{address}:0";')
        self.server.restart()
        device = self.provisioned(address=address)
        answer, unknown = self.ask(device), self.ask(device, endpoint="/provost/nothing")
        self.assertStopped(answer, 404)
        self.assertEqual(dict(answer.headers, Date=""), dict(unknown.headers, Date=""))


if __name__ == "__main__":
    unittest.main()

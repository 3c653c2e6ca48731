"""The administration interface itself: over the socket and over HTTPS, tokens, refusals."""

import hashlib
import json
import os
import re
import socket
import ssl
import subprocess
import time

from harness.api import Api
from harness.case import OwnServerCase, ServerCase
from harness.server import BUILD, TREE, environment, wait_for

TOKEN = re.compile(r"^pvt_[A-Za-z0-9_-]{43}$")
# As in src/server/admin/internal.h.
CALLS_BURST, FAILURES_BURST = 200, 20


class ApiCase(ServerCase):
    def api(self, **how):
        made = Api(self.server, **how)
        self.addCleanup(made.close)
        return made

    def https(self, *scopes, name=None, **more):
        """A caller over HTTPS with a token of its own."""
        return self.api(tls=True, token=self.make_token(*scopes, name=name, **more))

    def make_token(self, *scopes, name=None, **more):
        name = name or f"t{time.monotonic_ns()}"
        answer = self.api()("POST", "/v1/tokens", dict(name=name, scopes=list(scopes), **more))
        self.assertEqual(answer.http, 201, answer)
        self.assertRegex(answer.json["token"], TOKEN)
        return answer.json["token"]

    def provost(self, *argv, env=None, url=None):
        certificate = self.server.make_certificate()[0]
        return subprocess.run(
            [BUILD / "provost", "-s", url or f"https://127.0.0.1:{self.server.admin_port}",
             "--ca-file", certificate, *argv], capture_output=True, text=True, check=False,
            timeout=60, env=dict(environment(), **(env or {})))

    def token_file(self, text, name="token"):
        path = self.server.dir / name
        path.write_text(text + "\n", encoding="ascii")
        return str(path)

    def assertRefusedWith(self, answer, http, code):
        self.assertTrue(answer.is_json, answer)
        self.assertEqual((answer.http, answer.code), (http, code), answer)
        self.assertRegex(answer.json["error"], r"^\S.*\.$")
        self.assertEqual(set(answer.json), {"error", "code"})
        if code not in ("too_large", "timeout"):  # of the engine
            self.assertEqual(answer.fields["Cache-Control"], "no-store")


class Refusals(ApiCase):
    """Whatever is wrong with a call is said in JSON, over both ways."""

    admin_tls = True

    ROWS = [
        ("no such path", "GET", "/v1/nothing", None, 404, "unknown_path"),
        ("no such version", "GET", "/v2/users", None, 404, "unknown_path"),
        ("not normalized", "GET", "/v1/../v1/users", None, 404, "unknown_path"),
        ("an empty segment", "PUT", "/v1/users//password", b"{}", 404, "unknown_path"),
        ("a broken escape in the path", "GET", "/v1/policies/%zz", None, 404, "unknown_path"),
        ("NUL in the path", "GET", "/v1/policies/a%00b", None, 404, "unknown_path"),
        ("another method", "DELETE", "/v1/status", None, 405, "bad_method"),
        ("a method of others", "POST", "/v1/devices", None, 405, "bad_method"),
        ("an unknown parameter", "GET", "/v1/users?nothing=1", None, 400, "bad_query"),
        ("a parameter without name", "GET", "/v1/users?=1", None, 400, "bad_query"),
        ("a NUL in the query", "GET", "/v1/users?a=%00", None, 400, "bad_query"),
        ("no JSON", "POST", "/v1/users", b"name=eve", 400, "bad_json"),
        ("no object", "POST", "/v1/users", b"[]", 400, "bad_json"),
        ("two of one name", "POST", "/v1/users", b'{"name":"a","name":"b"}', 400, "bad_json"),
        ("more behind it", "POST", "/v1/users", b'{} {}', 400, "bad_json"),
        ("deep", "POST", "/v1/users", b'{"name":' + b"[" * 5000 + b"]" * 5000 + b"}", 400,
         "bad_json"),
        ("no UTF-8", "POST", "/v1/users", b'{"name":"\xff"}', 400, "bad_json"),
        ("an empty body", "POST", "/v1/users", b"", 400, "bad_value"),
        ("a member is missing", "POST", "/v1/users", b'{"name":"eve"}', 400, "bad_value"),
        ("an unknown member", "POST", "/v1/users", b'{"name":"e","password":"x","sudo":true}', 400,
         "bad_value"),
        ("a wrong type", "POST", "/v1/users", b'{"name":1,"password":"x"}', 400, "bad_value"),
        ("null", "POST", "/v1/users", b'{"name":null,"password":"x"}', 400, "bad_value"),
        ("a body where none is taken", "POST", "/v1/users/ann/enable", b'{"x":1}', 400,
         "bad_value"),
        ("a body of a GET", "GET", "/v1/users", b'{"x":1}', 400, "bad_value"),
        ("no such user", "POST", "/v1/users/nobody/enable", None, 404, "unknown_user"),
        ("a scope that is none", "POST", "/v1/tokens", b'{"name":"a","scopes":["all"]}', 400,
         "bad_value"),
        ("no scope", "POST", "/v1/tokens", b'{"name":"a","scopes":[]}', 400, "bad_value"),
        ("a name that no token can have", "POST", "/v1/tokens",
         b'{"name":"a/b","scopes":["read"]}', 400, "bad_name"),
        ("ended before it began", "POST", "/v1/tokens",
         b'{"name":"a","scopes":["read"],"expires":"2001-01-01"}', 400, "bad_value"),
        ("no such token", "DELETE", "/v1/tokens/none", None, 404, "unknown_token"),
        ("too large", "POST", "/v1/users", b" " * 65537, 413, "too_large"),
    ]

    def check(self, api):
        for name, method, path, raw, http, code in self.ROWS:
            with self.subTest(name):
                self.assertRefusedWith(api(method, path, raw=raw), http, code)
                if http == 405:
                    self.assertIn("GET", api(method, path).fields["Allow"])

    def test_over_the_socket(self):
        self.check(self.api())

    def test_over_https(self):
        self.check(self.https("read", "operate", "wipe"))

    def test_the_sentence_names_what_is_wrong(self):
        api = self.api()
        for method, path, body, says in (
                ("GET", "/v1/users?no%0athing=1", None, '"no%0athing"'),
                ("POST", "/v1/users", {"name": "e", "password": "x", "sü\n": 1},
                 r'"s\xc3\xbc\x0a"'),
                ("POST", "/v1/users", {"name": 1, "password": "x"}, "name must be a text"),
                ("POST", "/v1/users", {"name": "eve"}, "password")):
            with self.subTest(path=path, body=body):
                self.assertIn(says, api(method, path, body).json["error"])

    def send(self, sent):
        """To the socket, as it is; everything that comes back until the server closes."""
        with socket.socket(socket.AF_UNIX) as raw:
            raw.settimeout(30)
            raw.connect(str(self.server.socket))
            raw.sendall(sent)
            got = b""
            try:
                while piece := raw.recv(4096):
                    got += piece
            except ConnectionError:
                pass
            return got

    def test_what_the_engine_refuses_is_json_as_well(self):
        chunk = b"10001\r\n" + b" " * 0x10001 + b"\r\n0\r\n\r\n"
        for name, sent, http, code in (
                ("chunks", b"POST /v1/users HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
                           b"\r\n" + chunk, b"413", b"too_large"),
                ("no host", b"GET /v1/users HTTP/1.1\r\n\r\n", b"400", b"bad_request")):
            with self.subTest(name):
                got = self.send(sent)
                self.assertRegex(got, rb"^HTTP/1.1 " + http + rb" ")
                self.assertRegex(got, rb'\{"error":"[A-Z][^"]+\.","code":"' + code + rb'"\}$')

    def test_an_endless_target_is_refused(self):
        got = self.send(b"GET /v1/" + b"x" * 40000 + b" HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertRegex(got, rb"^HTTP/1.1 (400|414|431) ")


class Slow(ApiCase):
    config = "body_timeout = 1;\nhead_timeout = 1;\n"
    admin_tls = True

    def test_a_body_that_does_not_come_is_not_waited_for(self):
        token = self.make_token("read", "operate")
        context = ssl.create_default_context(cafile=self.server.make_certificate()[0])
        head = f"POST /v1/users HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n"
        for name, sent, says in (("head", head, b'"code":"timeout"'),
                                 ("body", head + "Content-Length: 100\r\n\r\n{",
                                  b'"code":"timeout"'),
                                 ("body of a stranger", "POST /v1/users HTTP/1.1\r\nHost: a\r\n"
                                                        "Content-Length: 100\r\n\r\n{", b"")):
            with self.subTest(name), \
                    socket.create_connection(("127.0.0.1", self.server.admin_port), 30) as raw, \
                    context.wrap_socket(raw, server_hostname="127.0.0.1") as tls:
                got = b""
                tls.sendall(sent.encode())  # 30 s later the test would have failed
                try:
                    while piece := tls.recv(4096):
                        got += piece
                except ssl.SSLError:
                    pass
                self.assertIn(says, got)


class Https(ApiCase):
    admin_tls = True

    def test_the_same_answers_as_over_the_socket(self):
        self.device(device_id="D1").handshake()
        there, here = self.https("read"), self.api()
        for path in ("/v1/users", "/v1/policies", "/v1/policies/default", "/v1/devices",
                     "/v1/openapi.json"):
            with self.subTest(path=path):
                over, through = there("GET", path), here("GET", path)
                self.assertEqual((over.http, over.json), (200, through.json))

    def test_no_unknown_and_malformed_tokens_get_one_answer(self):
        good = self.make_token("read")
        answers = set()
        for field in (None, "", "Bearer", "Bearer ", "Bearer x", f"Basic {good}", f"Bearer {good}x",
                      f"Bearer {good[:-1]}", f"Bearer {good[:-1]}{'A' if good[-1] != 'A' else 'B'}",
                      f"Bearer {good.upper()}", "Bearer " + "x" * 9000):
            for path in ("/v1/users", "/v1/nothing"):  # a stranger does not learn what there is
                with self.subTest(field=field, path=path):
                    fields = {} if field is None else {"Authorization": field}
                    answer = self.api(tls=True)("GET", path, fields=fields)
                    self.assertIn(answer.http, (401, 429))
                    if answer.http == 401:
                        self.assertRefusedWith(answer, 401, "unauthorized")
                        self.assertEqual(answer.fields["WWW-Authenticate"], "Bearer")
                        answers.add(answer.body)
        self.assertEqual(len(answers), 1)
        self.assertEqual(self.api(tls=True, token=good)("GET", "/v1/users").http, 200)

    def test_plain_http_gets_nothing(self):
        with socket.create_connection(("127.0.0.1", self.server.admin_port), 30) as raw:
            raw.sendall(b"GET /v1/users HTTP/1.1\r\nHost: a\r\n\r\n")
            raw.settimeout(30)
            try:
                got = raw.recv(4096)
            except ConnectionError:
                got = b""
            self.assertNotIn(b"200", got)

    def test_scopes(self):
        rows = [(("read",), "GET", "/v1/users", None), (("operate",), "GET", "/v1/users", "read"),
                (("wipe",), "GET", "/v1/users", "read"),
                (("operate",), "POST", "/v1/users/ann/enable", None),
                (("read",), "POST", "/v1/users/ann/enable", "operate"),
                (("wipe",), "POST", "/v1/users/ann/enable", "operate"),
                (("read", "operate"), "GET", "/v1/tokens", "wipe"),
                (("read", "operate"), "DELETE", "/v1/users/ann", "wipe"), # its wipes would go too
                (("read", "wipe"), "DELETE", "/v1/tokens/x", "operate"),
                (("wipe", "operate", "read"), "GET", "/v1/tokens", None)]
        for scopes, method, path, lacks in rows:
            with self.subTest(scopes=scopes, path=path):
                answer = self.https(*scopes)(method, path)
                if lacks is None:
                    self.assertEqual(answer.http, 200, answer)
                else:
                    self.assertRefusedWith(answer, 403, "scope")
                    self.assertRegex(answer.json["error"], f"scope {lacks}; yours has")

    def test_every_route_asks_for_its_scope(self):
        api = self.https("read")
        document = api("GET", "/v1/openapi.json").json
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                if operation["x-scopes"] == ["read"]:
                    continue
                with self.subTest(path=path, method=method):
                    answer = api(method.upper(), re.sub(r"\{\w+\}", "x", path))
                    self.assertRefusedWith(answer, 403, "scope")


class Limits(OwnServerCase, ApiCase):
    admin_tls = True

    def test_a_token_that_calls_too_often(self):
        api, other = self.https("read"), self.https("read")
        for _ in range(20 * CALLS_BURST):
            answer = api("GET", "/v1/status")
            if answer.http != 200:
                break
        self.assertRefusedWith(answer, 429, "too_many")
        self.assertRegex(answer.fields["Retry-After"], r"^[1-9]\d*$")
        self.assertEqual(other("GET", "/v1/status").http, 200)
        wait_for("the bucket to fill", lambda: api("GET", "/v1/status").http == 200)

    def test_guessing_is_slowed_down_but_locks_nobody_out(self):
        stranger = self.api(tls=True, token="pvt_" + "x" * 43)
        codes = [stranger("GET", "/v1/status").http for _ in range(FAILURES_BURST + 10)]
        self.assertEqual(codes[0], 401)
        self.assertEqual(codes[-1], 429)
        answer = stranger("GET", "/v1/status")
        self.assertRefusedWith(answer, 429, "too_many")
        self.assertRegex(answer.fields["Retry-After"], r"^[1-9]\d*$")
        self.assertEqual(self.https("read")("GET", "/v1/status").http, 200)

    def test_many_calls_are_spread(self):
        token = self.make_token("read")
        api = self.api(tls=True, token=token)
        wait_for("the limit", lambda: api("GET", "/v1/status").http == 429)
        run = self.provost("--token-file", self.token_file(token, "busy"), "status")
        self.assertEqual(run.returncode, 0, run)
        stranger = self.api(tls=True, token="pvt_" + "x" * 43)
        wait_for("the limit", lambda: stranger("GET", "/v1/status").http == 429)
        run = self.provost("--token-file", self.token_file("pvt_" + "x" * 43, "wrong"), "status")
        self.assertEqual(run.returncode, 9, run)


class Tokens(OwnServerCase, ApiCase):
    admin_tls = True

    def test_the_life_of_a_token(self):
        admin = self.api()
        answer = admin("POST", "/v1/tokens", {"name": "ci", "scopes": ["read", "wipe"],
                                              "expires": "90d"})
        self.assertEqual(answer.http, 201)
        text = answer.json.pop("token")
        self.assertEqual(answer.json["scopes"], ["read", "wipe"])
        self.assertEqual(answer.json["last_used_at"], None)
        api = self.api(tls=True, token=text)
        self.assertEqual(api("GET", "/v1/status").http, 200)
        (row,) = admin("GET", "/v1/tokens").json
        self.assertIsNotNone(row.pop("last_used_at"))
        del answer.json["last_used_at"]
        self.assertEqual(row, answer.json)
        self.assertRefusedWith(admin("POST", "/v1/tokens", {"name": "ci", "scopes": ["read"]}),
                               409, "token_exists")
        for kill in (False, True):
            api.close()
            self.server.restart(kill=kill)
            admin.close()
            self.assertEqual(api("GET", "/v1/status").http, 200)
        self.assertEqual(admin("DELETE", "/v1/tokens/ci").http, 200)
        self.assertRefusedWith(api("GET", "/v1/status"), 401, "unauthorized")
        self.assertEqual(admin("GET", "/v1/tokens").json, [])
        api.close()
        self.server.restart(kill=True)
        self.assertRefusedWith(api("GET", "/v1/status"), 401, "unauthorized")
        admin.close()
        again = admin("POST", "/v1/tokens", {"name": "ci", "scopes": ["read"]})
        self.assertNotEqual(again.json["token"], text)

    def test_it_stands_nowhere_in_clear(self):
        text = self.make_token("read", name="secret-one")
        self.assertEqual(self.api(tls=True, token=text)("GET", "/v1/status").http, 200)
        self.api(tls=True, token=text[:-1] + "!")("GET", "/v1/status")
        self.server.stop()
        found = b"".join(p.read_bytes() for p in self.server.state.rglob("*") if p.is_file())
        self.assertIn(hashlib.sha256(text.encode()).hexdigest().encode(), found)
        for what in (text, text[4:], text[4:24]):
            self.assertNotIn(what.encode(), found)
            self.assertNotIn(what, self.server.log)

    def test_an_expired_one_is_refused_at_once(self):
        api = self.https("read", expires="2s")
        self.assertEqual(api("GET", "/v1/status").http, 200)
        refused = wait_for("the end of the token",
                           lambda: (a := api("GET", "/v1/status")).http != 200 and a)
        self.assertRefusedWith(refused, 401, "unauthorized")

    def test_a_call_begun_before_its_token_was_removed_does_nothing(self):
        token = self.make_token("operate", name="late")
        context = ssl.create_default_context(cafile=self.server.make_certificate()[0])
        body = b'{"name":"eve","password":"word"}'
        with socket.create_connection(("127.0.0.1", self.server.admin_port), 30) as raw, \
                context.wrap_socket(raw, server_hostname="127.0.0.1") as tls:
            tls.sendall(f"POST /v1/users HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n"
                        f"Expect: 100-continue\r\nContent-Length: {len(body)}\r\n\r\n".encode())
            self.assertIn(b"100 Continue", tls.recv(4096))  # the head has been judged
            self.assertEqual(self.api()("DELETE", "/v1/tokens/late").http, 200)
            tls.sendall(body)
            self.assertIn(b"HTTP/1.1 401 ", tls.recv(4096))
        self.assertNotIn("eve", [u["name"] for u in self.admin("user", "list")])

    def test_a_certificate_is_renewed_by_a_reload(self):
        token = self.make_token("read")
        first = self.api(tls=True, token=token)
        self.assertEqual(first("GET", "/v1/status").http, 200)
        for name in ("key.pem", "cert.pem"):
            (self.server.dir / name).unlink()
        self.server.make_certificate()
        with self.assertRaises(ssl.SSLError):
            self.api(tls=True, token=token)("GET", "/v1/status")
        self.server.reload()
        wait_for("the reload", lambda: "reloaded" in self.server.log)
        self.assertEqual(self.api(tls=True, token=token)("GET", "/v1/status").http, 200)
        self.assertEqual(first("GET", "/v1/status").http, 200)

    def test_a_token_may_manage_tokens_only_with_all_scopes(self):
        api = self.https("read", "operate", "wipe")
        made = api("POST", "/v1/tokens", {"name": "second", "scopes": ["read"]})
        self.assertEqual(made.http, 201)
        second = self.api(tls=True, token=made.json["token"])
        self.assertRefusedWith(second("DELETE", "/v1/tokens/second"), 403, "scope")

    def test_who_has_made_it_is_in_the_audit_log(self):
        self.https("read", "operate", "wipe", name="boss")(
            "POST", "/v1/tokens", {"name": "worker", "scopes": ["read"]})
        self.api()("DELETE", "/v1/tokens/worker")
        self.server.stop()
        found = b"".join(p.read_bytes() for p in self.server.state.rglob("*") if p.is_file())
        self.assertIn(b'"actor":"token boss","act":"token.add","token":"worker"', found)
        self.assertRegex(found, rb'"actor":"uid \d+[^"]*","act":"token.remove","token":"worker"')

    def test_no_more_than_there_is_room_for(self):
        admin = self.api()
        for i in range(256):
            self.assertEqual(admin("POST", "/v1/tokens",
                                   {"name": f"t{i}", "scopes": ["read"]}).http, 201)
        self.assertRefusedWith(admin("POST", "/v1/tokens", {"name": "more", "scopes": ["read"]}),
                               409, "too_many_tokens")
        self.assertEqual(admin("DELETE", "/v1/tokens/t7").http, 200)
        self.assertEqual(admin("POST", "/v1/tokens", {"name": "more", "scopes": ["read"]}).http,
                         201)


class Document(ApiCase):
    """GET /v1/openapi.json is what the server does."""

    def setUp(self):
        self.document = self.api()("GET", "/v1/openapi.json").json

    def test_its_form(self):
        self.assertEqual(self.document["openapi"], "3.0.3")
        self.assertIn(self.document["info"]["version"], self.admin.run("--version").stdout)
        ids = [o["operationId"] for m in self.document["paths"].values() for o in m.values()]
        self.assertEqual(len(ids), len(set(ids)))
        for path, methods in self.document["paths"].items():
            for method, o in methods.items():
                with self.subTest(path=path, method=method):
                    self.assertTrue(o["summary"].endswith("."))
                    self.assertTrue(set(o["x-scopes"]) <= {"read", "operate", "wipe", "socket"})
                    self.assertEqual([p["name"] for p in o["parameters"] if p["in"] == "path"],
                                     re.findall(r"\{(\w+)\}", path))
                    self.assertTrue({"400", "401", "403", "429", "503"} <= set(o["responses"]))
                    self.assertTrue({"200", "201", "202"} & set(o["responses"]))
                    for answer in o["responses"].values():
                        if "$ref" in answer:
                            self.lookup(answer["$ref"])

    def lookup(self, ref):
        at = self.document
        for name in ref.removeprefix("#/").split("/"):
            at = at[name]
        return at

    def test_every_path_and_no_other_method_is_there(self):
        api = self.api()
        for path, methods in self.document["paths"].items():
            concrete = re.sub(r"\{\w+\}", "x", path)
            with self.subTest(path=path):
                answer = api("OPTIONS", concrete)
                self.assertEqual(answer.http, 405)
                allowed = set(answer.fields["Allow"].split(", "))
                self.assertTrue({m.upper() for m in methods} <= allowed, allowed)

    def test_what_it_does_not_name_is_refused(self):
        api = self.api()
        for path, methods in self.document["paths"].items():
            concrete = re.sub(r"\{\w+\}", "x", path)
            for method, operation in methods.items():
                with self.subTest(path=path, method=method):
                    self.assertRefusedWith(api(method.upper(), concrete + "?never-there=1"), 400,
                                           "bad_query")
                    needed = [p["name"] for p in operation["parameters"]
                              if p["in"] == "query" and p["required"]]
                    answer = api(method.upper(), concrete, {"never-there": 1})
                    self.assertRefusedWith(answer, 400, "bad_query" if needed else "bad_value")
                    if not needed:
                        self.assertIn("never-there", answer.json["error"])

    def test_what_it_requires_is_required_and_typed(self):
        api = self.api()
        for path, methods in self.document["paths"].items():
            concrete = re.sub(r"\{\w+\}", "x", path)
            for method, o in methods.items():
                schema = o.get("requestBody", {}).get("content", {}).get("application/json", {}) \
                    .get("schema", {"properties": {}})
                if any(p["in"] == "query" and p["required"] for p in o["parameters"]):
                    continue
                with self.subTest(path=path, method=method):
                    if schema.get("required"):
                        answer = api(method.upper(), concrete, {})
                        self.assertRefusedWith(answer, 400, "bad_value")
                        self.assertIn(schema["required"][0], answer.json["error"])
                    for name, kind in schema["properties"].items():
                        wrong = 1 if kind["type"] != "integer" else "x"
                        answer = api(method.upper(), concrete, {name: wrong})
                        self.assertRefusedWith(answer, 400, "bad_value")
                        self.assertIn(f"{name} must be", answer.json["error"])


class Program(ApiCase):
    """provost on the other side."""

    admin_tls = True

    def test_tokens_are_made_listed_and_removed(self):
        run = self.admin.run("token", "add", "cli", "--scope", "read,operate", "--expires", "12h")
        self.assertEqual(run.returncode, 0, run)
        self.assertRegex(run.stdout.strip(), TOKEN)
        self.assertIn("only time", run.stderr)
        (row,) = [r for r in self.admin("token", "list") if r["name"] == "cli"]
        self.assertEqual(row["scopes"], ["read", "operate"])
        listed = self.admin.run("token", "list").stdout
        self.assertRegex(listed, r"cli +read,operate")
        self.assertNotIn(run.stdout.strip(), listed)
        self.assertEqual(self.admin.run("token", "remove", "cli").returncode, 0)
        self.assertEqual(self.admin.run("token", "remove", "cli").returncode, 1)
        for argv, code in ((["token", "add", "x"], 2), (["token", "add", "x", "--scope", "all"], 1),
                           (["token", "add", "x", "--scope", ""], 1),
                           (["token", "add", "x", "--scope", "read", "--expires", "soon"], 1)):
            with self.subTest(argv=argv):
                self.assertEqual(self.admin.run(*argv).returncode, code)

    def test_over_https(self):
        file = self.token_file(self.make_token("read", "operate"))
        run = self.provost("--token-file", file, "--json", "user", "list")
        self.assertEqual(run.returncode, 0, run)
        self.assertEqual(json.loads(run.stdout), self.admin("user", "list"))
        run = self.provost("user", "disable", "bob", env={"PROVOST_TOKEN_FILE": file})
        self.assertEqual(run.returncode, 0, run)
        self.assertEqual(self.provost("--token-file", file, "user", "enable", "bob").returncode, 0)
        run = self.provost("--token-file", file, "token", "list")
        self.assertEqual(run.returncode, 1, run)
        self.assertIn("scope", run.stderr)

    def test_what_goes_wrong(self):
        good = self.token_file(self.make_token("read"))
        bad = self.token_file("pvt_" + "x" * 43, "bad")
        odd = self.token_file("two words", "odd")
        rows = [((), None, 2, "token-file"), (("--token-file", bad), None, 3, "token"),
                (("--token-file", odd), None, 2, "no token"),
                (("--token-file", "/nowhere/token"), None, 1, "/nowhere/token"),
                (("--token-file", good, "--ca-file", "/etc/ssl/certs/ca-certificates.crt"), None, 9,
                 "certificate"),
                (("--token-file", good), f"http://127.0.0.1:{self.server.admin_port}", 2, "TLS"),
                (("--token-file", good), "https://127.0.0.1:1", 9, "127.0.0.1:1")]
        for options, url, code, says in rows:
            with self.subTest(options=options, url=url):
                run = self.provost(*options, "status", url=url)
                self.assertEqual(run.returncode, code, run)
                self.assertRegex(run.stderr, f"(?i)^provost: .*{says}")
                self.assertEqual(run.stdout, "")


class Documentation(OwnServerCase, ApiCase):
    """What docs/api.md shows can be done as it stands there."""

    admin_tls = True

    def test_the_examples(self):
        page = (TREE / "docs" / "api.md").read_text(encoding="utf-8")
        (self.server.dir / ".curlrc").write_text(
            f'cacert = "{self.server.make_certificate()[0]}"\nfail\nsilent\nshow-error\n',
            encoding="ascii")
        env = dict(environment(), CURL_HOME=str(self.server.dir),
                   PROVOST_SOCKET=str(self.server.socket),
                   PATH=f"{self.server.dir / 'bin'}:{os.environ['PATH']}")
        program = self.server.dir / "bin" / "provost"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\ncase "$1" in -s) set -- --ca-file '
                           f'{self.server.make_certificate()[0]} "$@";; esac\n'
                           f'exec {BUILD / "provost"} "$@"\n', encoding="ascii")
        program.chmod(0o755)
        blocks = re.findall(r"^```sh\n(.*?)^```$", page, re.S | re.M)
        self.assertEqual(len(blocks), 3)
        for block in blocks:
            script = block.replace("/run/provost/admin.sock", str(self.server.socket)) \
                .replace("mail.example.org:8443", f"127.0.0.1:{self.server.admin_port}")
            with self.subTest(block):
                run = subprocess.run(["sh", "-eux", "-c", script], cwd=self.server.dir, env=env,
                                     capture_output=True, text=True, timeout=60, check=False)
                self.assertEqual(run.returncode, 0, run)
        self.assertEqual(self.admin("policy", "show", "default")["settings"],
                         {"DevicePasswordEnabled": 1, "MinDevicePasswordLength": 6})
        self.assertFalse([u for u in self.admin("user", "list") if u["name"] == "eve"][0]["enabled"])
        self.assertEqual(self.admin("token", "list"), [])

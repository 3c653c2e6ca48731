"""Autodiscover: a phone that knows an address and a password is told where ActiveSync is."""

import http.client
import json
import ssl
import time
import unittest
import xml.etree.ElementTree as ET

from harness.case import OwnServerCase, ServerCase
from harness.eas import basic
from harness.upstream import Upstream, gateway

V1, V2 = "/autodiscover/autodiscover.xml", "/autodiscover/autodiscover.json"
BASE = "http://schemas.microsoft.com/exchange/autodiscover"
ASK, MOBILE = f"{BASE}/mobilesync/requestschema/2006", f"{BASE}/mobilesync/responseschema/2006"
FRAME = f"{BASE}/responseschema/2006"


def question(email="ann@example.org", schema=MOBILE):
    return (f'<?xml version="1.0" encoding="utf-8"?><Autodiscover xmlns="{ASK}"><Request>'
            f"<EMailAddress>{email}</EMailAddress><AcceptableResponseSchema>{schema}"
            "</AcceptableResponseSchema></Request></Autodiscover>")


class Asking:
    """What both kinds of test cases need."""

    def ask(self, method, target, body=None, login=None, **fields):
        if self.server.tls:
            trust = ssl.create_default_context(cafile=self.server.dir / "cert.pem")
            link = http.client.HTTPSConnection("127.0.0.1", self.server.port, context=trust,
                                               timeout=60)
        else:
            link = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)
        self.addCleanup(link.close)
        if login:
            fields["Authorization"] = basic(*login)
        link.putrequest(method, target, skip_host="Host" in fields, skip_accept_encoding=True)
        body = body.encode() if isinstance(body, str) else body
        if body is not None:
            link.putheader("Content-Length", str(len(body)))
        for name, value in fields.items():
            if value is not None:
                link.putheader(name.replace("_", "-"), value)
        link.endheaders(body)
        answer = link.getresponse()
        answer.body = answer.read()
        return answer

    def v1(self, body=None, path=V1, login=("ann", "secret"), **fields):
        return self.ask("POST", path, question() if body is None else body, login,
                        Content_Type="text/xml", **fields)

    def v2(self, query="?Email=ann@example.org&Protocol=ActiveSync", path=V2, **fields):
        return self.ask("GET", path + query, **fields)

    def url_of(self, answer):
        """The one address in an answer of version 1."""
        self.assertEqual(answer.status, 200, answer.body)
        found = ET.fromstring(answer.body).findall(f".//{{{MOBILE}}}Url")
        self.assertEqual(len(found), 1, answer.body)
        return found[0].text

    def assertFault(self, answer, code):
        """The framework's error, in its own schema, and no address."""
        self.assertEqual(answer.status, 200)
        root = ET.fromstring(answer.body)
        error = root.find(f"{{{FRAME}}}Response/{{{FRAME}}}Error")
        self.assertIsNotNone(error, answer.body)
        self.assertEqual(error.find(f"{{{FRAME}}}ErrorCode").text, str(code))
        self.assertRegex(error.get("Time"), r"^\d\d:\d\d:\d\d$")
        self.assertRegex(error.get("Id"), r"^\d+$")
        self.assertTrue(error.find(f"{{{FRAME}}}Message").text)
        self.assertNotIn(b"Url", answer.body)


class Version1(Asking, ServerCase):
    def test_ASCMD_S01_TC01_the_address_in_the_schema_that_was_asked_for(self):
        answer = self.v1(Host="mail.example.org:8443")
        self.assertTrue(answer.headers["Content-Type"].startswith("text/xml"))
        root = ET.fromstring(answer.body)
        self.assertEqual(root.tag, f"{{{FRAME}}}Autodiscover")
        response = root.find(f"{{{MOBILE}}}Response")
        names = {"m": MOBILE}
        self.assertEqual(response.findtext("m:Culture", namespaces=names), "en:us")
        self.assertEqual(response.findtext("m:User/m:EMailAddress", namespaces=names),
                         "ann@example.org")
        server = response.find("m:Action/m:Settings/m:Server", names)
        told = [(e.tag.rpartition("}")[2], e.text) for e in server]
        here = "http://mail.example.org:8443/Microsoft-Server-ActiveSync"
        self.assertEqual(told, [("Type", "MobileSync"), ("Url", here), ("Name", here)])
        self.assertIsNone(response.find(".//m:Error", names))

    def test_the_address_that_is_told_serves_activesync(self):
        url = self.url_of(self.v1())
        self.assertEqual(url, self.server.url + "/Microsoft-Server-ActiveSync")
        answer = self.ask("OPTIONS", url[len(self.server.url):], login=("ann", "secret"))
        self.assertEqual(answer.status, 200)
        self.assertIn("Provision", answer.headers["MS-ASProtocolCommands"])

    def test_the_path_in_any_case(self):
        for path in ("/Autodiscover/Autodiscover.xml", "/AUTODISCOVER/AUTODISCOVER.XML", V1 + "/",
                     V1 + "?x=y"):
            with self.subTest(path=path):
                self.url_of(self.v1(path=path))
        for path in ("/autodiscover", "/autodiscover/autodiscover.xml2", "/x" + V1):
            with self.subTest(path=path):
                self.assertEqual(self.v1(path=path).status, 404)

    def test_nothing_without_a_login(self):
        for login in (None, ("ann", "wrong"), ("nobody", "secret")):
            for body in (question(), "<broken"):
                with self.subTest(login=login, body=body[:20]):
                    answer = self.v1(body, login=login)
                    self.assertEqual((answer.status, answer.body), (401, b""))
                    self.assertTrue(answer.headers["WWW-Authenticate"].startswith("Basic"))

    def test_ASCMD_S01_TC03_two_requests(self):
        one = question().partition("<Request>")[2].partition("</Request>")[0]
        self.assertFault(self.v1(question().replace(
            "</Autodiscover>", f"<Request>{one}</Request></Autodiscover>")), 600)

    def test_ASCMD_S01_TC04_a_schema_that_nobody_serves(self):
        self.assertFault(self.v1(question(schema=MOBILE + "XX")), 601)
        self.assertFault(self.v1(question(schema=f"{BASE}/outlook/responseschema/2006a")), 601)

    def test_what_cannot_be_understood(self):
        bodies = ["", "no xml", "<a/>", question(email=""), question(schema=""),
                  question()[:-1], question() + "x", "\0" + question(),
                  "<!DOCTYPE a [<!ENTITY e 'x'>]>" + question("&e;").partition("?>")[2],
                  "<a>" * 5000, "<Autodiscover " + "a='1' " * 2000 + "/>"]
        for body in bodies:
            with self.subTest(body=body[:60]):
                self.assertFault(self.v1(body), 600)

    def test_an_address_with_special_characters_comes_back_as_it_was(self):
        for email in ("a&b@x", "<ann>@x", "\"'ann@x", "änn@exämple.org", "日本@x"):
            with self.subTest(email=email):
                raw = email.replace("&", "&amp;").replace("<", "&lt;")
                root = ET.fromstring(self.v1(question(raw)).body)
                self.assertEqual(root.find(f".//{{{MOBILE}}}EMailAddress").text, email)

    def test_a_body_that_is_too_long(self):
        self.assertEqual(self.v1(question() + " " * 20000).status, 413)

    def test_other_methods(self):
        for method in ("GET", "PUT", "OPTIONS"):
            with self.subTest(method=method):
                answer = self.ask(method, V1, login=("ann", "secret"))
                self.assertEqual((answer.status, answer.headers["Allow"]), (405, "POST"))

    def test_a_host_that_is_none_is_told_to_nobody(self):
        for host in ("a'b", "a%41", "a,b", "[::1", "a:99999", "user!@x"):
            with self.subTest(host=host):
                self.assertEqual(self.v1(Host=host).status, 400)
                self.assertEqual(self.v2(Host=host).status, 400)


class Version2(Asking, ServerCase):
    def told(self, answer):
        self.assertEqual(answer.status, 200, answer.body)
        self.assertTrue(answer.headers["Content-Type"].startswith("application/json"))
        return json.loads(answer.body)

    def assertWrong(self, answer, code):
        self.assertEqual(answer.status, 400)
        said = json.loads(answer.body)
        self.assertEqual(set(said), {"ErrorCode", "ErrorMessage"})
        self.assertEqual(said["ErrorCode"], code)

    def test_where_activesync_is(self):
        here = self.server.url + "/Microsoft-Server-ActiveSync"
        for query in ("?Email=ann@example.org&Protocol=ActiveSync&RedirectCount=1",
                      "?protocol=ACTIVESYNC&email=ann%40example.org"):
            with self.subTest(query=query):
                self.assertEqual(self.told(self.v2(query)), {"Protocol": "ActiveSync", "Url": here})
        path = "/Autodiscover/Autodiscover.json"
        self.assertEqual(self.told(self.v2(path=path))["Url"], here)
        answer = self.v2("?Protocol=ActiveSync", path=V2 + "/v1.0/ann@example.org")
        self.assertEqual(self.told(answer)["Url"], here)

    def test_where_version_1_is(self):
        told = self.told(self.v2("?Email=a@b&Protocol=AutodiscoverV1"))
        self.assertEqual(told, {"Protocol": "AutodiscoverV1", "Url": self.server.url + V1})

    def test_what_is_wrong(self):
        self.assertWrong(self.v2("?Email=a@b&Protocol=Ews"), "InvalidProtocol")
        self.assertWrong(self.v2("?Email=a@b"), "MandatoryParameterMissing")
        self.assertWrong(self.v2("?Protocol=ActiveSync"), "MandatoryParameterMissing")
        self.assertWrong(self.v2(""), "MandatoryParameterMissing")
        self.assertEqual(self.ask("POST", V2, "").headers["Allow"], "GET,HEAD")

    def test_it_does_not_tell_who_is_here(self):
        """The same bytes for a user, for nobody, and with any login; and none is looked at."""
        answers = set()
        for email in ("ann@example.org", "nobody@example.org", "ann", "%00"):
            for login in (None, ("ann", "secret"), ("ann", "wrong"), ("nobody", "x")):
                answer = self.v2(f"?Email={email}&Protocol=ActiveSync", login=login)
                fields = sorted((n, v) for n, v in answer.headers.items() if n != "Date")
                answers.add((answer.status, answer.body, str(fields)))
        self.assertEqual(len(answers), 1, answers)
        self.assertEqual(next(iter(answers))[0], 200)
        self.assertNotIn("login-", self.server.log)


class Disabled(Asking, OwnServerCase):
    def test_who_is_switched_off_is_told_nothing(self):
        self.admin("user", "disable", "ann")
        self.assertEqual(self.v1().status, 403)
        self.url_of(self.v1(login=("bob", "hunter2")))

    def test_guesses_are_slowed_down_here_too(self):
        for _ in range(5):
            self.assertEqual(self.v1(login=("ann", "wrong")).status, 401)
        began = time.monotonic()
        self.assertEqual(self.v1(login=("ann", "wrong")).status, 401)
        self.assertGreaterEqual(time.monotonic() - began, 1)


class Configured(Asking, ServerCase):
    config = 'url = "https://mail.example.org/eas";'

    def test_the_configured_address_whatever_was_asked(self):
        here = "https://mail.example.org/eas/Microsoft-Server-ActiveSync"
        self.assertEqual(self.url_of(self.v1(Host="evil.example")), here)
        self.assertEqual(json.loads(self.v2(Host="evil.example").body)["Url"], here)
        answer = self.v2("?Email=a@b&Protocol=AutodiscoverV1")
        self.assertEqual(json.loads(answer.body)["Url"], "https://mail.example.org" + V1)


class Gateway(Asking, unittest.TestCase):
    """Before another server, too, phones are told this address, and the server behind is not asked."""

    def test_the_address_is_that_of_the_gateway(self):
        with Upstream() as upstream, gateway(upstream) as self.server:
            here = self.server.url + "/Microsoft-Server-ActiveSync"
            self.assertEqual(self.url_of(self.v1()), here)
            self.assertEqual(json.loads(self.v2().body)["Url"], here)
            self.assertEqual(upstream.asked, [])


class Tls(Asking, ServerCase):
    tls = True

    def test_https_is_told_over_tls(self):
        here = f"https://localhost:{self.server.port}/Microsoft-Server-ActiveSync"
        self.assertEqual(self.url_of(self.v1(Host=f"localhost:{self.server.port}")), here)


if __name__ == "__main__":
    unittest.main()

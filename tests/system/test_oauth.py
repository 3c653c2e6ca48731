"""Tokens instead of passwords: whose are taken, every forgery that is not, and keys that change."""

import json
import time
import unittest

from harness.case import OwnServerCase, ServerCase
from harness.eas import basic
from harness.issuer import Issuer, Key, b64, hs256
from harness.server import Server, wait_for

CONFIG = """auth = {{ method = [ {methods} ]; file = "users"; timeout = 5;
  oauth = {{ issuer = "{issuer}"; audience = [ "other", "provost" ]; {more} }}; }};"""


def config(issuer, more="", methods='"oauth"'):
    return CONFIG.format(issuer=issuer.url, more=more, methods=methods)


class Tokens:
    """What all cases need: a device that logs in with a token."""

    def with_token(self, token, **more):
        device = self.device(**more)
        device.headers_of_a_password = device.headers

        def headers(key=None, form=None):
            fields = device.headers_of_a_password(key, form)
            fields["Authorization"] = f"Bearer {token}" if token is not None else "Bearer"
            return fields

        device.headers = headers
        return device

    def ask(self, token):
        device = self.with_token(token)
        try:
            return device.foldersync(key=0)
        finally:
            device.close()

    def assertTaken(self, token):
        self.assertRefused(self.ask(token), "FolderSync", 142, "14.1")

    def assertNotTaken(self, token):
        answer = self.ask(token)
        self.assertEqual((answer.http, answer.body), (401, b""), answer)
        return answer

    def keys_read(self, count=1):
        """The server has read the keys so many times."""
        wait_for("the keys", lambda: self.server.log.count(" oauth-keys ") >= count)


class IssuerCase(Tokens, ServerCase):
    """One issuer with two keys, and one server, for the class."""

    more, methods = "", '"oauth"'

    @classmethod
    def setUpClass(cls):
        cls.issuer = Issuer(Key("RS256", "r"), Key("ES256", "e"))
        cls.addClassCleanup(cls.issuer.close)
        cls.config = config(cls.issuer, cls.more, cls.methods)
        super().setUpClass()

    def setUp(self):
        self.rsa, self.ec = self.issuer.keys
        self.keys_read()


class Verified(IssuerCase):
    def test_a_device_gets_in_and_is_the_users(self):
        for key, user in ((self.rsa, "ann"), (self.ec, "bob")):
            with self.subTest(alg=key.alg):
                device = self.with_token(self.issuer.token(key, preferred_username=user), user=user)
                device.handshake()
                self.assertFolders(device.foldersync())
                self.assertIsNotNone(self.admin.device(user, device.device_id))

    def test_the_token_counts_and_not_the_query(self):
        device = self.with_token(self.issuer.token(preferred_username="bob"), user="ann")
        device.handshake()
        self.assertIsNone(self.admin.device("ann", device.device_id))
        self.assertIsNotNone(self.admin.device("bob", device.device_id))

    def test_one_name_however_it_is_written(self):
        ids = set()
        for name in ("Dora", "dora", "DORA"):
            device = self.with_token(self.issuer.token(preferred_username=name), device_id="ONE")
            device.foldersync(key=0)
            ids.add(name)
        self.assertEqual(len(ids), 3)
        found = [d["user"] for d in self.admin.devices() if d["device_id"] == "ONE"]
        self.assertEqual(found, ["dora"])

    def test_claims_that_are_taken(self):
        now = int(time.time())
        for claims in ({"aud": ["x", "provost"]}, {"aud": "other"}, {"nbf": now}, {"iat": None},
                       {"exp": now + 0.5 + 60}, {"exp": now - 30}, {"nbf": now + 30},
                       {"more": {"alg": "none"}}):
            with self.subTest(claims=claims):
                self.assertTaken(self.issuer.token(**claims))
        self.assertTaken(self.issuer.token(header={"typ": "at+jwt"}))
        self.assertTaken(self.issuer.token(header={"typ": None}))
        self.assertTaken(self.issuer.token(alg="PS256"))
        self.assertTaken(self.issuer.token(header={"kid": None}))  # one key of that kind

    def test_the_challenge(self):
        answer = self.assertNotTaken("x.y.z")
        said = answer.headers.get_all("WWW-Authenticate")
        self.assertEqual(said, ['Bearer realm="Provost", error="invalid_token"'])
        for authorization in (None, "Bearer", "Bearer ", basic("ann", "secret")):
            with self.subTest(authorization=authorization):
                fields = {"Authorization": authorization} if authorization else {}
                answer = self.device().http("OPTIONS", "/Microsoft-Server-ActiveSync", fields)
                self.assertEqual(answer.http, 401)
                self.assertEqual(answer.headers.get_all("WWW-Authenticate"),
                                 ['Bearer realm="Provost"'])

    def test_autodiscover_takes_tokens(self):
        for token, code in ((self.issuer.token(), 200), (self.issuer.token(exp=1), 401)):
            device = self.device()
            answer = device.http("POST", "/autodiscover/autodiscover.xml",
                                 {"Authorization": "Bearer " + token}, b"<x/>")
            self.assertEqual(answer.http, code)


def forgeries(issuer, now):
    """(what, token)"""
    rsa, elliptic = issuer.keys
    good = issuer.token()
    head, body, signature = good.split(".")
    stranger, same_kid = Key("RS256", "z"), Key("RS256", "r")
    claims = json.dumps(issuer.claims())
    none = b64('{"alg":"none","kid":"r"}') + "." + body
    symmetric = (b64('{"alg":"HS256","kid":"r"}') + "." + body).encode()
    other_body = b64(json.dumps(issuer.claims(preferred_username="bob")))
    yield "no signature", none + "."
    yield "none with a signature", none + "." + signature
    yield "None", b64('{"alg":"None","kid":"r"}') + "." + body + ".AAAA"
    for name, secret in (("PEM", rsa.pem()), ("modulus", issuer.keys[0].jwk()["n"].encode())):
        yield f"HS256 with the {name}", (symmetric + b"." +
                                         b64(hs256(secret, symmetric)).encode()).decode()
    yield "another key, same kid", issuer.token(same_kid)
    yield "another key, no kid", issuer.token(same_kid, {"kid": None})
    yield "unknown kid", issuer.token(stranger)
    yield "the kid of another type", issuer.token(rsa, {"kid": "e"})
    yield "another algorithm than signed with", ".".join(
        (b64(json.dumps({"alg": "PS256", "kid": "r"})), body, signature))
    yield "an algorithm that is not allowed", issuer.token(alg="RS512")
    yield "a key of its own in the header", issuer.token(
        same_kid, {"jwk": same_kid.jwk(), "kid": "own"})
    yield "an address of keys in the header", issuer.token(
        same_kid, {"jku": issuer.url + "/evil", "kid": "own"})
    yield "critical extensions", issuer.token(header={"crit": ["exp"]})
    yield "another type", issuer.token(header={"typ": "logout+jwt"})
    yield "another body", ".".join((head, other_body, signature))
    yield "another signature", ".".join((head, body, b64(b"\1" * 256)))
    yield "empty signature", f"{head}.{body}."
    yield "short signature", f"{head}.{body}.{signature[:-4]}"
    yield "long signature", good + "AAAA"
    yield "ES256 of zeros", ".".join((b64('{"alg":"ES256","kid":"e"}'), body, b64(bytes(64))))
    der = elliptic.private.sign(f"{head}.{body}".encode(), _ecdsa())
    yield "ES256 as DER", ".".join((b64('{"alg":"ES256","kid":"e"}'), body, b64(der)))
    for cut in range(0, len(good) - 1, 61):
        yield f"cut at {cut}", good[:cut]
    yield "four parts", good + ".AAAA"
    yield "padding", f"{head}.{body}.{signature}=="
    yield "standard alphabet", good + "+/"
    yield "a length that nothing has", f"{head}.{body}AAAAA.{signature}"
    yield "expired", issuer.token(exp=now - 61)
    yield "no exp", issuer.token(exp=None)
    yield "not yet", issuer.token(nbf=now + 90)
    yield "of the future", issuer.token(iat=now + 90)
    yield "for others", issuer.token(aud="somebody")
    yield "for nobody", issuer.token(aud=None)
    yield "of another issuer", issuer.token(iss="https://evil.example")
    yield "of nobody", issuer.token(iss=None)
    yield "no name", issuer.token(preferred_username=None)
    yield "a name that cannot be", issuer.token(preferred_username="a/../b")
    yield "a control character", issuer.token(preferred_username="ann\n")
    yield "a long name", issuer.token(preferred_username="a" * 500)
    for claim in ("iss", "aud", "exp", "nbf", "iat", "preferred_username"):
        for value in (7, "x", [], {}, True, -1, 1e300):
            if claim == "aud" and value == "x" or claim == "preferred_username" and value == "x" \
                    or claim in ("nbf", "iat") and value == 7:
                continue
            yield f"{claim} = {value!r}", issuer.token(**{claim: value})
    yield "a claim twice", issuer.token(raw=claims[:-1] + ', "preferred_username": "bob"}')
    yield "a header field twice", _sign(rsa, '{"alg":"RS256","alg":"RS256","kid":"r"}', claims)
    yield "a NUL in the name", issuer.token(raw=claims.replace('"ann"', '"ann\\u0000"'))
    yield "claims that are no object", issuer.token(raw=f"[{claims}]")
    yield "something behind the claims", issuer.token(raw=claims + "{}")
    yield "deep claims", issuer.token(raw="[" * 2500 + "]" * 2500)


def _ecdsa():
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    return ec.ECDSA(hashes.SHA256())


def _sign(key, header, claims):
    signed = f"{b64(header)}.{b64(claims)}".encode()
    return (signed + b"." + b64(key.sign(signed, "RS256")).encode()).decode()


class Forged(Tokens, unittest.TestCase):
    """A server of their own for so many failures: who guesses is slowed down after a few."""

    def test_every_forgery(self):
        with Issuer(Key("RS256", "r"), Key("ES256", "e")) as issuer:
            rows = list(forgeries(issuer, int(time.time())))
            for at in range(0, len(rows), 5):
                self.check(issuer, rows[at:at + 5])

    def check(self, issuer, rows):
        """Five at a time, then the brake is forgotten with a new server."""
        self.server = self.servers(issuer)
        for what, token in rows:
            with self.subTest(what=what):
                self.assertNotTaken(token)
        self.assertTaken(issuer.token())
        for _, token in rows:
            if len(token) > 40:
                self.assertNotIn(token[-30:], self.server.log)

    def servers(self, issuer):
        if not hasattr(self, "made"):
            self.made = Server(config=config(issuer))
            self.addCleanup(self.made.close)
        else:
            self.made.restart()
        self.admin = self.made.admin
        wait_for("the keys", lambda: " oauth-keys " in self.made.log)
        return self.made

    device = ServerCase.device
    assertRefused = ServerCase.assertRefused


class Configured(IssuerCase):
    more = ('claim = "email"; scope = "mail"; leeway = 0; algorithms = "ES256"; '
            'authorization_url = "https://login.example/authorize";')
    methods = '"file", "oauth"'

    def token(self, **claims):
        claims = {"email": "ann@example.org", "scope": "openid mail", **claims}
        return self.issuer.token(self.ec, **claims)

    def test_what_is_demanded(self):
        now = int(time.time())
        self.assertTaken(self.token())
        self.assertTaken(self.token(scope=None, scp=["mail"]))
        for claims in ({"scope": "openid"}, {"scope": "mailbox"}, {"email": None}):
            with self.subTest(claims=claims):
                self.assertNotTaken(self.token(**claims))
        self.assertNotTaken(self.token(email_verified=False))
        self.assertNotTaken(self.token(exp=now - 1))

    def test_passwords_go_to_the_other_method(self):
        device = self.device()
        device.handshake()
        self.assertFolders(device.foldersync())

    def test_both_are_offered(self):
        answer = self.device(password="wrong").foldersync()
        self.assertEqual(answer.http, 401)
        self.assertEqual(answer.headers.get_all("WWW-Authenticate"), [
            'Basic realm="Provost", charset="UTF-8"',
            'Bearer realm="Provost", authorization_uri="https://login.example/authorize"'])


class Keys(Tokens, OwnServerCase):
    def setUp(self):
        self.issuer = Issuer(Key("RS256", "old"))
        self.addCleanup(self.issuer.close)
        self.prepare()
        self.config = config(self.issuer, self.more())
        super().setUp()

    def prepare(self):
        pass

    def more(self):
        return ""

    def asked(self, path="/keys"):
        return self.issuer.asked.count(path)


class Rotation(Keys):
    def test_a_new_key_counts_at_once_and_the_old_one_no_more(self):
        self.keys_read()
        old = self.issuer.token()
        self.assertTaken(old)
        self.issuer.keys = [Key("RS256", "new")]
        time.sleep(5)  # between two readings, whatever tokens say
        self.assertTaken(self.issuer.token())
        self.assertEqual(self.asked(), 2)
        # One that was verified is good for the minutes that the cache has; another one is not.
        self.assertTaken(old)
        self.assertNotTaken(self.issuer.token(Key("RS256", "old")))

    def test_unknown_keys_do_not_make_the_issuer_busy(self):
        self.keys_read()
        for i in range(4):
            self.assertNotTaken(self.issuer.token(Key("RS256", f"x{i}")))
        self.assertLessEqual(self.asked(), 2)
        self.assertTaken(self.issuer.token())

    def test_hup_reads_them_again(self):
        self.keys_read()
        self.issuer.keys = [Key("ES256", "new")]
        self.server.reload()
        self.keys_read(2)
        self.assertTaken(self.issuer.token())


class Waiting(Keys):
    def prepare(self):
        self.issuer.hold.clear()

    def test_who_comes_while_they_are_read_waits(self):
        device = self.with_token(self.issuer.token())
        device.start("FolderSync", ("FolderSync", [("SyncKey", "0")]), key=0)
        forged = self.with_token(self.issuer.token(Key("RS256", "old")))
        forged.start("FolderSync", ("FolderSync", [("SyncKey", "0")]), key=0)
        wait_for("the question", lambda: self.issuer.asked)
        self.issuer.hold.set()
        self.assertRefused(device.receive(), "FolderSync", 142, "14.1")
        self.assertEqual(forged.receive().http, 401)

    def test_the_server_ends_while_they_are_read(self):
        wait_for("the question", lambda: self.issuer.asked)
        began = time.monotonic()
        self.server.stop()
        self.assertLess(time.monotonic() - began, 4)


class Unreachable(Keys):
    def prepare(self):
        self.issuer.down = True

    def test_nobody_is_let_in_and_nobody_is_blamed(self):
        answer = self.ask(self.issuer.token())
        self.assertEqual(answer.http, 503, answer)
        self.assertGreater(int(answer.headers["Retry-After"]), 0)
        self.assertNotTaken("no.token")  # that is told without any key
        wait_for("the log", lambda: "oauth-keys-not-read" in self.server.log)
        self.issuer.down = False
        self.server.reload()
        self.keys_read()
        self.assertTaken(self.issuer.token())

    def test_keys_that_were_read_stay(self):
        self.issuer.down = False
        self.server.reload()
        self.keys_read()
        self.issuer.down = True
        self.server.reload()
        wait_for("the failure", lambda: "those read before stay" in self.server.log)
        self.assertTaken(self.issuer.token())
        answer = self.ask(self.issuer.token(Key("RS256", "new")))
        self.assertEqual(answer.http, 503, answer)


class Answers(Keys):
    """What an issuer may answer instead of keys."""

    def prepare(self):
        self.issuer.body = b"<html>"

    def test_none_of_them_lets_anybody_in(self):
        key = self.issuer.keys[0]
        rows = [b"", b"{}", b"[]", b'{"keys":[]}', b'{"keys":[{"kty":"oct","k":"AAAA","kid":"old"}]}',
                json.dumps({"keys": [key.jwk(use="enc")]}).encode(),
                json.dumps({"keys": [key.jwk(n="AAAAA")]}).encode(),
                json.dumps({"keys": [key.jwk(e="")]}).encode(),
                json.dumps({"keys": [key.jwk(n="AQAB")]}).encode(), b" " * 300_000]
        for row in rows:
            with self.subTest(body=row[:60]):
                before = self.asked()
                self.issuer.body = row
                self.server.reload()
                wait_for("the question", lambda: self.asked() > before)
                self.assertEqual(self.ask(self.issuer.token()).http, 503)

    def test_discovery_must_name_the_issuer_and_a_safe_address(self):
        for named, keys_at, why in (("https://evil.example", None, "names itself otherwise"),
                                    (None, "http://192.0.2.1/keys", "no https address"),
                                    (None, "file:///etc/passwd", "no https address")):
            with self.subTest(named=named, keys_at=keys_at):
                self.issuer.named, self.issuer.keys_at, self.issuer.body = named, keys_at, None
                self.server.restart()
                wait_for("the log", lambda: why in self.server.log)
                self.assertEqual(self.ask(self.issuer.token()).http, 503)
        self.assertEqual(self.asked(), 1)


class File(Keys):
    def setUp(self):
        self.issuer = Issuer(Key("PS256", "k"))
        self.addCleanup(self.issuer.close)
        self.server = Server(start=False)
        self.addCleanup(self.server.close)
        self.admin = self.server.admin
        self.file = self.server.dir / "keys.json"
        self.server.write_config(config(self.issuer, f'keys = "{self.file}";'))

    def test_keys_in_a_file(self):
        self.file.write_text(self.issuer.key_set())
        self.server.start()
        self.assertTaken(self.issuer.token())
        self.issuer.keys = [Key("ES256", "new")]
        self.file.write_text(self.issuer.key_set())
        self.server.reload()
        self.keys_read()
        self.assertTaken(self.issuer.token())
        self.assertEqual(self.issuer.asked, [])

    def test_a_file_without_keys_is_told_at_the_start(self):
        for text in (None, "", '{"keys":[]}'):
            with self.subTest(text=text):
                if text is not None:
                    self.file.write_text(text)
                with self.assertRaisesRegex(AssertionError, "auth.oauth.keys: "):
                    self.server.start()
                self.server.process = None


if __name__ == "__main__":
    unittest.main()

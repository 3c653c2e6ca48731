"""Certificates of clients instead of passwords."""

import http.client
import ssl
import unittest

from cryptography.x509.oid import ExtendedKeyUsageOID

from harness.authority import Authority
from harness.case import ServerCase
from harness.eas import basic
from harness.server import Server, wait_for
from harness.upstream import Upstream


class CertificateCase(ServerCase):
    """methods, kind: of the configuration; crl: there is a list of revoked certificates."""

    methods, kind, crl, more = '"certificate"', "email", False, ""

    @classmethod
    def setUpClass(cls):
        cls.server = Server(start=False, tls=True)
        cls.addClassCleanup(cls.server.close)
        cls.admin = cls.server.admin
        cls.authority = Authority(cls.server.dir)
        certificate, key = cls.server.make_certificate()
        crl = f'client_crl = "{cls.authority.revoke()}";' if cls.crl else ""
        cls.server.write_config(f"""
tls = {{ certificate = "{certificate}"; key = "{key}"; client_ca = "{cls.authority.file}"; {crl} }};
auth = {{ method = [ {cls.methods} ]; file = "{cls.server.users_file}";
  certificate = {{ name = "{cls.kind}"; }}; }};
{cls.more}""")
        cls.server.start()

    def with_certificate(self, path, login=False, version=None, **more):
        """A device that shows it (None: nothing), and has a password only with login."""
        device = self.device(**more)
        trust = ssl.create_default_context(cafile=self.server.dir / "cert.pem")
        if version:
            trust.minimum_version = trust.maximum_version = version
        if path:
            trust.load_cert_chain(path)

        def connect():
            if device._connection is None:
                device._connection = http.client.HTTPSConnection(
                    "127.0.0.1", self.server.port, timeout=60, context=trust)
            return device._connection

        device.connect = connect
        if not login:
            headers = device.headers

            def without(key=None, form=None):
                fields = headers(key, form)
                del fields["Authorization"]
                return fields

            device.headers = without
        return device

    def assertIn_(self, device, user):
        """It is let in, and is that user's."""
        device.handshake()
        self.assertFolders(device.foldersync())
        self.assertIsNotNone(self.admin.device(user, device.device_id))

    def assertOut(self, path, why=None, **how):
        answer = self.with_certificate(path, **how).foldersync(key=0)
        self.assertEqual((answer.http, answer.body), (403, b""), answer)
        self.assertNotIn("WWW-Authenticate", answer.headers)
        if why:
            wait_for(why, lambda: why in self.server.log)


class Gateway(CertificateCase):
    """The upstream gets no login of another than the one whose device was judged."""

    @classmethod
    def setUpClass(cls):
        cls.upstream = Upstream().__enter__()
        cls.addClassCleanup(cls.upstream.stop)
        cls.more = f'upstream = {{ url = "{cls.upstream.url}"; }};'
        super().setUpClass()

    def test_a_password_beside_a_certificate(self):
        device = self.with_certificate(self.authority.client(emails=["ann"]), login=True)
        device.handshake()
        own = device.headers()["Authorization"]
        for said, passed in ((own, own), (basic("Ann", "x"), basic("Ann", "x")), (basic("bob", "y"), None),
                             ("Bearer abc", None), ("Basic ????", None)):
            for cmd in ("FolderSync", "Settings"):
                with self.subTest(said=said, cmd=cmd):
                    self.upstream.clear()
                    device.command(cmd, (cmd, []), fields={"Authorization": said})
                    self.assertEqual(self.upstream.last(cmd).field("Authorization"), passed)


class ByEmail(CertificateCase):
    def test_a_device_gets_in_and_is_the_users(self):
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            with self.subTest(version=version):
                path = self.authority.client(emails=["ann"])
                self.assertIn_(self.with_certificate(path, version=version), "ann")

    def test_the_certificate_counts_and_not_the_query(self):
        device = self.with_certificate(self.authority.client(emails=["bob"]), user="ann")
        self.assertIn_(device, "bob")
        self.assertIsNone(self.admin.device("ann", device.device_id))

    def test_one_name_however_it_is_written(self):
        for name in ("Carl@Example.ORG", "carl@example.org"):
            self.with_certificate(self.authority.client(emails=[name]), device_id="ONE") \
                .foldersync(key=0)
        found = [d["user"] for d in self.admin.devices() if d["device_id"] == "ONE"]
        self.assertEqual(found, ["carl@example.org"])

    def test_without_a_purpose_it_counts(self):
        self.assertIn_(self.with_certificate(self.authority.client(emails=["ann"], purpose=None)),
                       "ann")

    def test_which_do_not_count(self):
        good = {"emails": ["ann"]}
        stranger = Authority(self.server.dir, "Another CA")
        namesake = Authority(self.server.dir, "Other file")
        namesake.title = self.authority.title
        self.assertOut(None)
        self.assertOut(None, login=True)  # passwords are not taken
        for why, path in (
                ("certificate-refused", stranger.client(**good)),
                ("certificate-refused", namesake.client(**good)),
                ("certificate-refused", self.authority.client(**good, until=-5)),
                ("certificate-refused", self.authority.client(**good, since=-600)),
                ("certificate-refused",
                 self.authority.client(**good, purpose=ExtendedKeyUsageOID.SERVER_AUTH)),
                ("it has no e-mail address", self.authority.client("ann")),
                ("it has no e-mail address", self.authority.client(upn=["ann"])),
                ("it has more than one", self.authority.client(emails=["ann", "bob"])),
                ("cannot be a user", self.authority.client(emails=["a/../b"]))):
            with self.subTest(why=why, path=path):
                self.server.restart()  # guesses are slowed down after a few
                self.assertOut(path, why)

    def test_its_end_comes_while_the_connection_is_open(self):
        device = self.with_certificate(self.authority.client(emails=["ann"], until=3))
        self.assertRefused(device.foldersync(key=0), "FolderSync", 142, "14.1")
        wait_for("the end", lambda: device.foldersync(key=0).http == 403, 10)
        self.assertIsNotNone(device._connection)

    def test_autodiscover_takes_it(self):
        device = self.with_certificate(self.authority.client(emails=["ann"]))
        answer = device.http("POST", "/autodiscover/autodiscover.xml", {}, b"<x/>")
        self.assertEqual(answer.http, 200)
        device = self.with_certificate(None)
        self.assertEqual(device.http("POST", "/autodiscover/autodiscover.xml", {}, b"<x/>").http, 403)

    def test_a_user_who_is_switched_off(self):
        path = self.authority.client(emails=["bob"])
        self.admin("user", "disable", "bob")
        self.addCleanup(self.admin, "user", "enable", "bob")
        self.assertRefused(self.with_certificate(path).foldersync(key=0), "FolderSync", 126, "14.1")


class ByOtherNames(CertificateCase):
    kind = "upn"

    def test_the_principal_of_windows(self):
        path = self.authority.client("bob", ["bob"], ["ann@corp.example"])
        self.assertIn_(self.with_certificate(path), "ann@corp.example")
        self.assertOut(self.authority.client("ann", ["ann"]), "no user principal name")
        self.assertOut(self.authority.client(upn=["ann", "bob"]), "more than one")


class ByCommonName(CertificateCase):
    kind = "cn"

    def test_the_common_name(self):
        self.assertIn_(self.with_certificate(self.authority.client("Ann", ["bob"])), "ann")
        self.assertOut(self.authority.client("", ["ann"]), "no common name")
        self.assertOut(self.authority.client("CORP\\ann"), "no usable")


class BesidePasswords(CertificateCase):
    methods = '"certificate", "file"'

    def test_the_first_method_that_takes_what_was_shown(self):
        path = self.authority.client(emails=["bob"])
        self.assertIn_(self.with_certificate(path, login=True, user="ann"), "bob")
        self.assertIn_(self.with_certificate(None, login=True, user="ann"), "ann")

    def test_401_asks_for_a_password(self):
        answer = self.with_certificate(None).foldersync(key=0)
        self.assertEqual(answer.http, 401)
        self.assertTrue(answer.headers["WWW-Authenticate"].startswith("Basic"))


class AfterPasswords(CertificateCase):
    methods = '"file", "certificate"'

    def test_a_password_comes_first(self):
        path = self.authority.client(emails=["bob"])
        self.assertIn_(self.with_certificate(path, login=True, user="ann"), "ann")
        self.assertIn_(self.with_certificate(path, user="ann"), "bob")
        device = self.with_certificate(path, login=True, user="ann", password="wrong")
        self.assertEqual(device.foldersync(key=0).http, 401)


class Revoked(CertificateCase):
    crl = True

    def reload(self, *clients, **how):
        self.authority.revoke(*clients, **how)
        before = self.server.log.count(" reloaded")
        self.server.reload()
        wait_for("the list", lambda: self.server.log.count(" reloaded") > before)

    def test_who_is_on_the_list_is_out(self):
        ann, bob = (self.authority.client(emails=[user]) for user in ("ann", "bob"))
        self.assertIn_(self.with_certificate(ann), "ann")
        self.reload(ann)
        self.assertOut(ann, "certificate-refused")
        self.assertIn_(self.with_certificate(bob), "bob")
        self.reload()
        self.assertIn_(self.with_certificate(ann), "ann")

    def test_a_list_that_is_out_of_date_lets_nobody_in(self):
        ann = self.authority.client(emails=["ann"])
        self.reload(until=-60)
        self.addCleanup(self.reload)
        self.assertOut(ann, "the list of revoked certificates is out of date")

    def test_a_list_that_cannot_be_read(self):
        path = self.authority.revoke()
        path.write_text("nothing")
        self.server.reload()
        wait_for("the error", lambda: "reload-refused" in self.server.log)
        self.assertIn_(self.with_certificate(self.authority.client(emails=["ann"])), "ann")
        self.authority.revoke()


if __name__ == "__main__":
    unittest.main()

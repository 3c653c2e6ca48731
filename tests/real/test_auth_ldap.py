"""Logins verified by slapd."""

import signal
import subprocess
import unittest

from servers import Slapd

from harness.eas import Device
from harness.login import Process
from harness.server import Server, own_address, wait_for

PEOPLE = """
dn: uid=carl,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: carl
uid: charles
cn: carl
sn: carl
userPassword: secret

dn: uid=nopass,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: nopass
cn: nopass
sn: nopass

dn: uid=eve,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: eve
cn: eve
sn: eve
mail: bob@example.org
userPassword: secret
"""


class Ldap(unittest.TestCase):
    def directory(self, **more):
        made = Slapd({"ann": "secret", "bob": "hunter2"}, **more)
        self.addCleanup(made.close)
        return made.start()

    def start(self, ldap, auth="timeout = 3;", **env):
        self.server = Server(users={}, start=False)
        self.server.env = env
        self.addCleanup(self.server.close)
        self.server.maildir("ann")
        self.server.write_config(f'auth = {{ method = "ldap"; cache_seconds = 0; {auth} '
                                 f'ldap = {{ {ldap} }}; }};\ndomain = "example.org";')
        self.server.start()

    def login(self, name, password="secret", device_id=None):
        device = Device(self.server, user=name, password=password, device_id=device_id)
        try:
            return device.foldersync().http
        finally:
            device.close()

    def assertLogged(self, text):
        wait_for(text, lambda: text in self.server.log)

    def check(self):
        """What every way to find the entry has in common."""
        failures = 0
        for name, password, want in (
                ("ann", "secret", 200), ("ANN", "secret", 200), ("ann@Example.ORG", "secret", 200),
                ("X\\ann", "secret", 200), ("ann", "Secret", 401), ("ann", "", 401),
                ("ann", " ", 401), ("nobody", "secret", 401), ("nopass", "secret", 401),
                ("*", "secret", 401), ("a*", "secret", 401), ("ann)(uid=bob", "secret", 401),
                ("ann,ou=people", "secret", 401), ("bob", "secret", 401), ("bob", "hunter2", 200)):
            with self.subTest(name=name, password=password):
                self.assertEqual(self.login(name, password), want)
            if want == 401 and (failures := failures + 1) % 5 == 0:
                self.server.restart()  # it has not slowed down anybody yet
        self.assertEqual({row["user"] for row in self.server.admin.devices()}, {"ann", "bob"})
        self.assertNotIn("secret", self.server.log)

    def test_the_entry_is_searched_for(self):
        slapd = self.directory(ldif=PEOPLE)
        self.start(f'url = "{slapd.url}"; base = "{slapd.BASE}";')
        self.check()

    def test_searched_for_by_an_entry_of_the_servers(self):
        slapd = self.directory(ldif=PEOPLE)
        (slapd.dir / "word").write_text("admin\n", encoding="ascii")
        ldap = (f'url = "{slapd.url}"; base = "ou=people,{slapd.BASE}"; '
                f'bind_dn = "cn=admin,{slapd.BASE}"; bind_password_file = "{slapd.dir}/word";')
        self.start(ldap)
        self.check()
        (slapd.dir / "word").write_text("other\n", encoding="ascii")
        self.server.reload()
        wait_for("the helper to have read it", lambda: self.login("ann") == 503)
        self.assertLogged("bind with bind_dn: Invalid credentials")

    def test_the_entry_is_named(self):
        slapd = self.directory(ldif=PEOPLE)
        self.start(f'url = "{slapd.url}"; user_dn = "uid=%n,ou=people,{slapd.BASE}";')
        self.check()

    def test_aliases_are_one_user(self):
        slapd = self.directory()
        self.start(f'url = "{slapd.url}"; base = "{slapd.BASE}"; '
                   'filter = "(|(uid=%n)(cn=%u)(telephoneNumber=%n))"; name = "mail";')
        for name in ("ann", "ANN", "ann@example.org"):
            self.assertEqual(self.login(name, device_id="ONE"), 200)
        rows = self.server.admin.devices()
        self.assertEqual([(row["user"], row["device_id"]) for row in rows], [("ann", "ONE")])

    def test_nobody_is_two_users_and_no_name_is_two_peoples(self):
        slapd = self.directory(ldif=PEOPLE)
        self.start(f'url = "{slapd.url}"; base = "{slapd.BASE}"; filter = "(|(uid=%n)(mail=%u@example.org))";')
        self.assertEqual(self.login("carl"), 503)  # uid has two values
        self.assertLogged("more than one value")
        self.assertEqual(self.login("bob", "hunter2"), 503)  # eve says that his address is hers
        self.assertLogged("more than one entry fits")

    def test_a_bind_of_nobody_is_no_login(self):
        slapd = self.directory(ldif=PEOPLE)
        conf = slapd.dir / "slapd.conf"
        conf.write_text("allow bind_anon_cred bind_anon_dn\n" + conf.read_text())
        slapd.restart()
        for ldap in (f'base = "{slapd.BASE}";', f'user_dn = "uid=%n,ou=people,{slapd.BASE}";'):
            with self.subTest(ldap=ldap):
                self.start(f'url = "{slapd.url}"; {ldap}')
                self.assertEqual(self.login("ann", ""), 401)
                self.assertEqual(self.login("ann", "x"), 401)

    def test_the_helper_leaves_nothing(self):
        slapd = self.directory(ldif=PEOPLE)
        (slapd.dir / "word").write_text("admin\n", encoding="ascii")
        common = {"way": "ldap", "timeout_ms": "5000", "url": slapd.url, "name": "uid"}
        for more in ({"user_dn": f"uid=%n,ou=people,{slapd.BASE}"},
                     {"base": slapd.BASE, "filter": "(uid=%n)", "bind_dn": f"cn=admin,{slapd.BASE}",
                      "bind_password_file": str(slapd.dir / "word")}):
            with self.subTest(more=more):
                process = Process(**common, **more)
                for name, password, want in (("ann", "secret", "ok"), ("ann", "x", "bad"),
                                             ("none", "x", "bad"), ("carl", "secret", "failed"),
                                             ("bob", "hunter2", "ok")):
                    said = process.ask(name, password)
                    self.assertEqual(said[:2], [want, name if want == "ok" else ""], said)
                self.assertEqual(process.close(), (0, ""))

    def test_tls(self):
        slapd = self.directory(tls=True)
        entry = f'user_dn = "uid=%n,ou=people,{slapd.BASE}";'
        self.start(f'url = "{slapd.tls_url}"; ca_file = "{slapd.certificate}"; {entry}')
        self.assertEqual(self.login("ann"), 200)
        self.assertEqual(self.login("ann", "wrong"), 401)
        # By a certificate that nobody vouches for, or for another name, nobody is served.
        self.start(f'url = "{slapd.tls_url}"; {entry}', LDAPTLS_REQCERT="never")
        self.assertEqual(self.login("ann"), 503)
        other = slapd.tls_url.replace("127.0.0.1", "127.0.0.2")
        self.start(f'url = "{other}"; ca_file = "{slapd.certificate}"; {entry}')
        self.assertEqual(self.login("ann"), 503)

    def test_start_tls_beyond_this_machine(self):
        address = own_address()
        if not address:
            self.skipTest("this machine has no address but that of itself")
        slapd = self.directory(tls=True, address=address)
        self.start(f'url = "{slapd.url}"; ca_file = "{slapd.certificate}"; base = "{slapd.BASE}";')
        self.assertEqual(self.login("ann"), 200)
        self.assertEqual(self.login("ann", "wrong"), 401)
        self.start(f'url = "{slapd.url}"; base = "{slapd.BASE}";')
        self.assertEqual(self.login("ann"), 503)
        slapd = self.directory(address=address)  # it speaks no TLS
        self.start(f'url = "{slapd.url}"; base = "{slapd.BASE}";')
        self.assertEqual(self.login("ann"), 503)

    def test_several_are_tried_in_turn(self):
        slapd = self.directory()
        self.start(f'url = "ldap://127.0.0.1:1 {slapd.url}"; base = "{slapd.BASE}";')
        self.assertEqual(self.login("ann"), 200)

    def test_over_a_socket_file(self):
        slapd = self.directory()
        path = slapd.dir / "ldapi"
        slapd.stop()
        url = "ldapi://" + str(path).replace("/", "%2F")
        argv = slapd.argv()
        argv[-1] += f" {url}"
        slapd.argv = lambda: argv
        slapd.start()
        self.start(f'url = "{url}"; base = "{slapd.BASE}";')
        self.assertEqual(self.login("ann"), 200)

    def test_it_goes_and_comes_back(self):
        slapd = self.directory()
        self.start(f'url = "{slapd.url}"; base = "{slapd.BASE}";', auth="timeout = 1; threads = 1;")
        self.assertEqual(self.login("ann"), 200)
        slapd.restart()  # the connection that was kept is gone
        self.assertEqual(self.login("ann"), 200)
        slapd.process.send_signal(signal.SIGSTOP)
        self.assertEqual(self.login("ann"), 503)
        slapd.process.send_signal(signal.SIGCONT)
        self.assertEqual(self.login("ann"), 200)
        slapd.stop()
        self.assertEqual(self.login("ann"), 503)
        slapd.start()
        self.assertEqual(self.login("ann"), 200)
        self.assertNotIn("login-helper-ended", self.server.log)

    def test_a_changed_password(self):
        slapd = self.directory()
        self.start(f'url = "{slapd.url}"; base = "{slapd.BASE}";')
        self.assertEqual(self.login("ann"), 200)
        change = (f"dn: uid=ann,ou=people,{slapd.BASE}\nchangetype: modify\n"
                  "replace: userPassword\nuserPassword: other\n")
        subprocess.run(["ldapmodify", "-x", "-H", slapd.url, "-D", f"cn=admin,{slapd.BASE}", "-w", "admin"],
                       input=change, text=True, check=True, capture_output=True)
        self.assertEqual(self.login("ann"), 401)
        self.assertEqual(self.login("ann", "other"), 200)


if __name__ == "__main__":
    unittest.main()

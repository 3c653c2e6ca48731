"""Logins verified by Dovecot."""

import pathlib
import tempfile
import unittest

from servers import Dovecot

from harness.eas import Device
from harness.server import Server, own_address, wait_for

# Dovecot slows down an address that fails, and to it everybody has ours.
NO_PENALTY = """
service anvil {
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
"""


class Imap(unittest.TestCase):
    def dovecot(self, users=None, config="", **more):
        made = Dovecot(users or {"ann": "secret", "bob": 'a "b\\c ü'}, config=NO_PENALTY + config, **more)
        self.addCleanup(made.close)
        return made.start()

    def start(self, imap, auth="timeout = 5;"):
        self.server = Server(users={}, start=False)
        self.addCleanup(self.server.close)
        for user in ("ann", "bob"):
            self.server.maildir(user)
        self.server.write_config(f'auth = {{ method = "imap"; cache_seconds = 0; {auth} '
                                 f'imap = {{ {imap} }}; }};\ndomain = "example.org";')
        self.server.start()

    def login(self, name, password="secret"):
        device = Device(self.server, user=name, password=password)
        try:
            return device.foldersync().http
        finally:
            device.close()

    def check(self):
        for name, password, want in (("ann", "secret", 200), ("ANN@example.org", "secret", 200),
                                     ("ann", "wrong", 401), ("nobody", "secret", 401),
                                     ("bob", 'a "b\\c ü', 200), ("bob", "secret", 401)):
            with self.subTest(name=name, password=password):
                self.assertEqual(self.login(name, password), want)
        self.assertEqual({row["user"] for row in self.server.admin.devices()}, {"ann", "bob"})
        self.assertNotIn("secret", self.server.log)

    def test_in_the_clear_on_this_machine(self):
        self.start(f'url = "{self.dovecot().url}";')
        self.check()

    def test_tls(self):
        dovecot = self.dovecot(tls=True)
        self.start(f'url = "{dovecot.tls_url}"; ca_file = "{dovecot.certificate}";')
        self.check()
        # By a certificate that nobody vouches for, or for another name, nobody is served.
        self.start(f'url = "{dovecot.tls_url}";')
        self.assertEqual(self.login("ann"), 503)
        other = dovecot.tls_url.replace("127.0.0.1", "127.0.0.2")
        self.start(f'url = "{other}"; ca_file = "{dovecot.certificate}";')
        self.assertEqual(self.login("ann"), 503)

    def test_start_tls_beyond_this_machine(self):
        address = own_address()
        if not address:
            self.skipTest("this machine has no address but that of itself")
        dovecot = self.dovecot(tls=True, address=address)
        self.start(f'url = "{dovecot.url}"; ca_file = "{dovecot.certificate}";')
        self.assertEqual(self.login("ann"), 200)
        self.assertEqual(self.login("ann", "wrong"), 401)
        self.start(f'url = "{dovecot.url}";')
        self.assertEqual(self.login("ann"), 503)

    def test_another_mechanism(self):
        self.start(f'url = "{self.dovecot(config="auth_mechanisms = cram-md5").url}";')
        self.assertEqual(self.login("ann"), 200)
        self.assertEqual(self.login("ann", "wrong"), 401)

    def test_its_own_backend_is_down(self):
        """Dovecot says so, and it is not the phone's fault."""
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        folder.chmod(0o755)
        program = folder / "broken"
        program.write_text("#!/bin/sh\nexit 111\n", encoding="ascii")  # "I cannot say"
        program.chmod(0o755)
        # Asked for those whom the first does not know.
        second = f"passdb {{\n  driver = checkpassword\n  args = {program}\n}}\n"
        self.start(f'url = "{self.dovecot(config=second).url}";')
        self.assertEqual(self.login("ann"), 200)
        self.assertEqual(self.login("ann", "wrong"), 503)
        wait_for("why", lambda: "says that it cannot" in self.server.log)

    def test_it_goes_and_comes_back(self):
        dovecot = self.dovecot()
        self.start(f'url = "{dovecot.url}";')
        self.assertEqual(self.login("ann"), 200)
        dovecot.stop()
        self.assertEqual(self.login("ann"), 503)
        dovecot.start()
        self.assertEqual(self.login("ann"), 200)
        dovecot.users["ann"] = "other password"
        dovecot.write_users()
        wait_for("Dovecot to see its file", lambda: self.login("ann", "other password") == 200)
        self.assertEqual(self.login("ann"), 401)


if __name__ == "__main__":
    unittest.main()

"""Logins verified by PAM. The server sees files of its own in place of those of /etc: a service, users
and their passwords, in a mount namespace that ends with it."""

import os
import pathlib
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "system"))

from harness.eas import Device  # noqa: E402  (needs the path set above)
from harness.server import Server, hash_password, own_address, wait_for  # noqa: E402

UNIX = "auth required pam_unix.so\naccount required pam_unix.so\n"
INSIDE = """
set -e
while [ "$1" != -- ]; do mount --bind "$1" "$2"; shift 2; done
shift
exec "$@"
"""


class PamServer(Server):
    """files: {path: text} that it sees."""

    def __init__(self, files):
        super().__init__(users={}, start=False)
        self.mounts = []
        for path, text in files.items():
            mine = self.dir / ("etc" + path.replace("/", "-"))
            if isinstance(text, dict):
                mine.mkdir()
                for name, lines in text.items():
                    (mine / name).write_text(lines, encoding="ascii")
            else:
                mine.write_text(text, encoding="ascii")
            self.mounts += [str(mine), path]
        self.maildir("ann")

    def command(self):
        return ["unshare", "-m", "sh", "-c", INSIDE, "sh", *self.mounts, "--", *super().command()]


class Pam(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if os.geteuid() != 0:
            raise unittest.SkipTest("only root can give the server files of its own")
        tried = subprocess.run(["unshare", "-m", "true"], text=True, capture_output=True)
        if tried.returncode:  # such as in a chroot whose / is no mount point
            raise unittest.SkipTest(f"no mounts of its own: {tried.stderr.strip()}")
        cls.shadow = pathlib.Path("/etc/shadow").stat()

    def tearDown(self):
        after = pathlib.Path("/etc/shadow").stat()
        self.assertEqual((after.st_ino, after.st_mtime_ns), (self.shadow.st_ino, self.shadow.st_mtime_ns))

    def start(self, service=UNIX, auth="timeout = 5;", listen=None):
        today = int(time.time()) // 86400
        accounts = {"root": "*", "ann": hash_password("secret"), "bob": hash_password("hunter2"),
                    "gone": hash_password("secret"), "old": hash_password("secret"), "empty": "",
                    "locked": "!" + hash_password("secret")}
        ages = {"gone": f"{today}:0:99999:7::{today - 1}:", "old": "0:0:99999:7:::"}
        passwd = "".join(f"{name}:x:{0 if name == 'root' else 4000 + i}:0::/:/bin/sh\n"
                         for i, name in enumerate(accounts))
        shadow = "".join(f"{name}:{word}:{ages.get(name, f'{today}:0:99999:7:::')}\n"
                         for name, word in accounts.items())
        self.server = PamServer({"/etc/pam.d": {"provost": service, "other": UNIX},
                                 "/etc/passwd": passwd, "/etc/shadow": shadow})
        self.addCleanup(self.server.close)
        self.server.write_config(f'auth = {{ method = "pam"; cache_seconds = 0; {auth} }};\n'
                                 + (f'listen = "{listen}:0";' if listen else ""))
        self.server.start()

    def login(self, name, password="secret", **more):
        device = Device(self.server, user=name, password=password, **more)
        try:
            return device.foldersync().http
        finally:
            device.close()

    def test_accounts_of_the_machine(self):
        self.start()
        for i, (name, password, want) in enumerate((
                ("ann", "secret", 200), ("ANN", "secret", 200), ("bob", "hunter2", 200),
                ("ann", "Secret", 401), ("nobody", "secret", 401), ("locked", "secret", 401),
                ("gone", "secret", 401), ("old", "secret", 401), ("empty", "", 401),
                ("empty", "x", 401), ("\u00e4nn", "secret", 401))):
            with self.subTest(name=name, password=password):
                began = time.monotonic()
                self.assertEqual(self.login(name, password), want)
                self.assertLess(time.monotonic() - began, 1.5, "PAM's own delay of 2 s is for terminals")
            if i % 5 == 4:
                self.server.restart()  # it has not slowed down anybody yet
        self.assertEqual({row["user"] for row in self.server.admin.devices()}, {"ann", "bob"})
        self.assertNotIn("secret", self.server.log)

    def test_modules_know_the_address(self):
        address = own_address()
        if not address:
            self.skipTest("this machine has no address but that of itself")
        seen = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory())) / "seen"
        self.start(f"auth optional pam_exec.so /bin/sh -c env>>{seen}\n" + UNIX, listen=address)
        self.assertEqual(self.login("ann", address=address), 200)
        said = seen.read_text()
        self.assertIn(f"PAM_RHOST={address}\n", said)
        self.assertIn("PAM_SERVICE=provost\n", said)

    def test_an_account_that_may_not(self):
        self.start(UNIX + "account required pam_succeed_if.so quiet user != bob\n")
        self.assertEqual(self.login("ann"), 200)
        self.assertEqual(self.login("bob", "hunter2"), 401)

    def test_what_is_broken_refuses_nobody(self):
        for service in ("auth required pam_none.so\naccount required pam_permit.so\n",
                        "auth required pam_debug.so auth=authinfo_unavail\naccount required pam_permit.so\n",
                        "auth required pam_permit.so\naccount required pam_debug.so acct=service_err\n"):
            with self.subTest(service=service):
                self.start(service)
                self.assertEqual(self.login("ann"), 503)

    def test_modules_that_ask_more_than_once(self):
        self.start("auth required pam_unix.so\nauth required pam_unix.so\naccount required pam_permit.so\n")
        self.assertEqual(self.login("ann"), 200)

    def test_a_module_that_hangs(self):
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        script = folder / "hang"
        script.write_text("#!/bin/sh\necho $$ > " + f"{folder}/pid\nexec sleep 1000\n", encoding="ascii")
        script.chmod(0o755)
        self.start(f"auth [success=1 default=ignore] pam_succeed_if.so quiet user != bob\n"
                   f"auth required pam_exec.so quiet {script}\n" + UNIX,
                   auth="timeout = 1; threads = 1;")
        self.assertEqual(self.login("ann"), 200)
        self.assertEqual(self.login("bob", "hunter2"), 503)
        pid = int((folder / "pid").read_text())
        wait_for("what it has started to end", lambda: not os.path.exists(f"/proc/{pid}/fd/0"))
        self.assertEqual(self.login("ann"), 200)
        wait_for("why", lambda: "no answer in time" in self.server.log)

    def test_no_service(self):
        server = PamServer({"/etc/pam.d": {"other": UNIX}})
        self.addCleanup(server.close)
        server.write_config('auth = { method = "pam"; };')
        run = subprocess.run(server.command(), capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(run.returncode, 1)
        self.assertIn("/etc/pam.d/provost is missing", run.stderr)


if __name__ == "__main__":
    unittest.main()

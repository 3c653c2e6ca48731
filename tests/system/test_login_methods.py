"""Logins that others verify: an IMAP server, and a helper process that stands for a directory or PAM."""

import concurrent.futures
import os
import pathlib
import signal
import subprocess
import tempfile
import unittest

from harness.case import ServerCase
from harness.login import Helper, Imap, Process, Recorder
from harness.server import BUILD, Server, environment, own_address, wait_for


class MethodCase(ServerCase):
    """A server for each test, started by start()."""

    @classmethod
    def setUpClass(cls):
        cls.server = cls.admin = None

    def prepare(self, auth, extra="", env=None):
        self.server = Server(users={}, start=False)
        self.addCleanup(self.server.close)
        for user in ("ann", "bob"):
            self.server.maildir(user)
        self.server.env.update(env or {})
        self.server.write_config(f"auth = {{ {auth} }};\n{extra}")

    def start(self, auth, extra="", env=None):
        self.prepare(auth, extra, env)
        self.server.start()
        self.admin = self.server.admin

    def assertLogged(self, text):
        wait_for(text, lambda: text in self.server.log)

    def assertNotStarted(self, why, auth, env=None):
        self.prepare(auth, env=env)
        run = subprocess.run(self.server.command(), capture_output=True, text=True, timeout=60,
                             env=dict(environment(), **self.server.env), check=False)
        self.assertEqual(run.returncode, 1, run.stderr)
        self.assertIn(why, run.stderr)

    def login(self, name="ann", password="secret", device=None):
        """The answer to a FolderSync."""
        device = device or self.device(user="ann", password="")
        device.login, device.password = name, password
        return device.foldersync()

    def assertIn142(self, answer):
        """Logged in: what is refused is the device, for want of a policy key."""
        self.assertRefused(answer, "FolderSync", 142, "14.1")

    def assertNotSaid(self, answer):
        self.assertEqual(answer.http, 503)
        self.assertGreater(int(answer.headers["Retry-After"]), 0)


class ImapLogin(MethodCase):
    def setUp(self):
        self.imap = Imap()
        self.addCleanup(self.imap.close)

    def begin(self, auth="", extra=""):
        self.start(f'method = "imap"; imap = {{ url = "{self.imap.url}"; }}; timeout = 2; {auth}', extra)

    def test_right_and_wrong(self):
        self.begin()
        for _ in range(3):
            self.assertIn142(self.login())
        self.assertEqual(self.imap.logins, ["ann"], "verified once, then remembered")
        self.assertEqual(self.login(password="wrong").http, 401)
        self.assertEqual(self.login(password="secret\r\nx").http, 401)
        self.assertEqual(self.imap.logins, ["ann", "ann"], "what is no line is not sent")
        self.assertNotIn("secret", self.server.log)

    def test_a_server_that_cannot_say_refuses_nobody(self):
        self.begin()
        for manner in ("unavailable", "limit", "bad", "preauth", "bye", "cut", "garbage", "endless",
                       "none", "mute", "silent"):
            with self.subTest(manner=manner):
                self.imap.manner = manner
                self.assertNotSaid(self.login(password=f"for {manner}"))
        self.imap.manner = ""
        self.assertIn142(self.login())
        self.imap.manner = "login"
        self.assertIn142(self.login("bob"))
        self.assertEqual(self.login(password="wrong").http, 401)
        self.imap.close()
        self.assertNotSaid(self.login(password="other"))
        self.assertIn142(self.login())

    def test_what_is_stale_is_not_stretched(self):
        self.begin("cache_seconds = 0;")
        self.assertIn142(self.login())
        self.imap.password = "new"
        self.assertEqual(self.login().http, 401)
        self.imap.close()
        self.assertNotSaid(self.login())

    def test_one_name_however_it_is_typed(self):
        self.begin(extra='domain = "example.org";')
        device = self.device(user="ann", password="secret")
        device.handshake()
        self.assertFolders(device.foldersync())
        self.admin("device", "block", "Ann@example.org", device.device_id)
        for name in ("ann", "ANN", "ann@EXAMPLE.org", "CORP\\Ann"):
            with self.subTest(name=name):
                self.assertRefused(self.login(name, device=device), "FolderSync", 129, "14.1")
        self.assertEqual([row["user"] for row in self.admin.devices()], ["ann"])
        self.assertEqual(self.login("\u00e4nn").http, 401)
        self.assertEqual(set(self.imap.logins), {"ann"})

    def test_the_name_that_the_server_knows(self):
        self.start(f'method = "imap"; imap = {{ url = "{self.imap.url}"; user = "%n@%d"; }};',
                   'domain = "example.org";')
        self.assertIn142(self.login("Ann"))
        self.assertIn142(self.login("ann@example.org"))
        self.assertIn142(self.login("ann@other.org"))
        self.assertEqual(self.imap.logins, ["ann@example.org", "ann@other.org"])
        self.assertEqual({row["user"] for row in self.admin.devices()}, {"ann", "ann@other.org"})

    def test_the_users_are_kept_elsewhere(self):
        self.begin()
        for args in (["user", "list"], ["user", "add", "eve"], ["user", "passwd", "eve"],
                     ["user", "remove", "eve", "--yes"]):
            with self.subTest(args=args):
                run = self.admin.run(*args, stdin="word\n")
                self.assertNotEqual(run.returncode, 0)
                self.assertIn("There is no users file", run.stderr)
        self.admin("policy", "new", "strict", "MinDevicePasswordLength=6")
        self.admin("policy", "assign", "strict", "--user", "Ann")
        self.assertEqual(self.admin("policy", "effective", "ann")["policy"], "strict")
        self.admin("user", "disable", "Ann")
        self.assertRefused(self.login(), "FolderSync", 126, "14.1")
        self.admin("user", "enable", "ann")
        self.assertIn142(self.login())


class Helped(MethodCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="provost-helper-")
        self.addCleanup(folder.cleanup)
        self.helper = Helper(folder.name)

    def auth(self, threads=1, timeout=2):
        return (f'method = "ldap"; helper = "{self.helper.program}"; threads = {threads}; '
                f'timeout = {timeout}; ldap = {{ url = "ldaps://h"; base = "dc=x"; }};')

    def begin(self, **more):
        self.start(self.auth(**more), env=self.helper.env)

    def test_right_and_wrong(self):
        self.begin()
        self.assertIn142(self.login())
        self.assertIn142(self.login("al"))
        self.assertEqual(self.login(password="wrong").http, 401)
        self.assertNotSaid(self.login(password="down"))
        self.assertEqual({row["user"] for row in self.admin.devices()}, {"ann"})
        self.assertEqual(self.helper.count("start"), 1)
        self.assertIn("start", self.helper.lines[0])
        self.assertIn("descriptors 0 1 2 group True", self.helper.lines[0])
        self.assertIn("ask ann 127.0.0.1", self.helper.lines)
        self.assertLogged("the directory is down")
        self.assertNotIn("secret", self.server.log)

    def test_whatever_it_does_nobody_is_let_in_or_refused(self):
        self.begin(timeout=1)
        for password in ("crash", "garbage", "short", "nobody", "long", "hang"):
            with self.subTest(password=password):
                self.assertNotSaid(self.login(password=password))
                self.assertIn142(self.login("bob"))  # from the cache but for the first time
                self.assertIn142(self.login("bob" + password))  # by a new helper
        self.assertEqual(len(self.helper.pids), 1)
        self.assertNotIn("secret", self.server.log)

    def test_an_answer_too_many_is_not_for_the_next(self):
        self.begin()
        self.assertEqual(self.login(password="twice").http, 401)
        self.assertEqual(self.login("bob", password="wrong").http, 401)
        self.assertEqual(self.admin.devices(), [])
        self.assertEqual(self.helper.count("start"), 2)

    def test_one_that_ends_again_and_again_is_not_started_for_every_login(self):
        self.begin()
        self.helper.mode("crash at start")
        os.kill(self.helper.pids[0], signal.SIGKILL)
        for _ in range(20):
            self.assertNotSaid(self.login())
        self.assertLess(self.helper.count("start"), 6)
        self.helper.mode("")
        wait_for("the helper to be started again", lambda: self.login().http == 200)

    def test_their_number_is_bounded(self):
        self.begin(threads=2, timeout=1)
        devices = [self.device(user=f"ann{i}", password="hang") for i in range(6)]
        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            answers = list(pool.map(lambda d: d.foldersync(), devices))
        for answer in answers:
            self.assertNotSaid(answer)
        self.assertLessEqual(len(self.helper.pids), 2)

    def test_it_reads_its_files_again_on_sighup(self):
        self.begin()
        self.assertIn142(self.login())
        (before,) = self.helper.pids
        self.server.reload()
        wait_for("the reload", lambda: "reloaded" in self.server.log)
        self.assertIn142(self.login("bob"))
        (after,) = self.helper.pids
        self.assertNotEqual(before, after)

    def test_settings_that_it_refuses(self):
        for mode, why in (("not ready", "the file is missing"), ("crash at start", "has ended"),
                          ("silent", "no answer in time")):
            with self.subTest(mode=mode):
                self.helper.mode(mode)
                self.assertNotStarted(why, self.auth(timeout=1), self.helper.env)

    def test_it_ends_with_the_server(self):
        self.begin()
        self.assertIn142(self.login())
        for end in (self.server.stop, self.server.kill):
            pids = self.helper.pids
            end()
            wait_for("the helper to end", lambda: not any(map(is_alive, pids)))
            self.server.start()


class InTheClear(MethodCase):
    """Servers beyond this machine that speak no TLS; here they listen at another address of it."""

    def setUp(self):
        self.address = own_address()
        if not self.address:
            self.skipTest("this machine has no address but that of itself")

    def test_no_password_without_tls(self):
        imap = Imap(address=self.address)
        self.addCleanup(imap.close)
        self.start(f'method = "imap"; timeout = 1; imap = {{ url = "{imap.url}"; }};')
        self.assertNotSaid(self.login())
        self.assertTrue(imap.lines)
        self.assertEqual(imap.logins, [])
        for way in ('base = "dc=x";', 'user_dn = "uid=%n";'):
            with self.subTest(way=way), Recorder(self.address) as recorder:
                self.start(f'method = "ldap"; timeout = 1; ldap = {{ url = "ldap://{self.address}:'
                           f'{recorder.port}"; {way} }};')
                self.assertNotSaid(self.login())
                self.assertIn(b"1.3.6.1.4.1.1466.20037", recorder.bytes)  # StartTLS
                self.assertNotIn(b"secret", recorder.bytes)


def is_alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def helpers_of(server):
    """Processes of provost-auth whose parent the server is."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            text = path.read_text()
        except OSError:
            continue
        if text.partition("(")[2].startswith("provost-auth)"):
            if int(text.rsplit(")", 1)[1].split()[1]) == server.pid:
                found.append(int(path.parent.name))
    return found


class Installed(MethodCase):
    """provost-auth itself, as far as it needs no directory."""

    LDAP = 'method = "ldap"; timeout = 2; ldap = { url = "ldap://127.0.0.1:1"; base = "dc=x"; };'

    def test_a_directory_that_is_not_there(self):
        self.start(self.LDAP)
        self.assertNotSaid(self.login())
        self.assertLogged("Can't contact LDAP server")
        self.assertNotIn("login-helper-ended", self.server.log)

    def test_the_server_alone_ends_it(self):
        self.start(self.LDAP)
        (pid,) = helpers_of(self.server)
        for what in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            os.kill(pid, what)
        self.assertNotSaid(self.login())
        self.assertTrue(is_alive(pid))
        self.assertEqual(sorted(os.listdir(f"/proc/{pid}/fd")), ["0", "1", "2"])
        self.server.kill()
        wait_for("the helper to end", lambda: not is_alive(pid))

    def test_a_bind_password_that_is_not_there(self):
        self.assertNotStarted("bind_password_file: No such file",
                              'method = "ldap"; ldap = { url = "ldaps://h"; base = "x"; '
                              'bind_dn = "cn=a"; bind_password_file = "none"; };')

    def test_a_service_that_pam_does_not_have(self):
        self.assertNotStarted("/etc/pam.d/provost-test-none is missing",
                              'method = "pam"; pam = { service = "provost-test-none"; };')

    def test_it_ends_with_its_socket_and_leaves_nothing(self):
        for settings, why in (({"way": "ldap", "url": "ldap://127.0.0.1:1", "base": "dc=x",
                                "filter": "(uid=%n)", "name": "uid"}, "failed"),
                              ({"way": "ldap", "url": "ldap://127.0.0.1:1", "name": "uid",
                                "user_dn": "uid=%n"}, "failed"),
                              ({"way": "pam", "service": "other"}, "bad")):
            with self.subTest(settings=settings):
                process = Process(timeout_ms="5000", **settings)
                self.assertEqual(process.ready, [""])
                self.assertEqual(process.ask("nobody-of-the-tests", "x")[0], why)
                self.assertEqual(process.ask("ann", "")[0], "bad")
                self.assertEqual(process.ask("ann" * 1000, "x")[0], "bad")
                self.assertEqual(process.close(), (0, ""))

    def test_it_is_not_for_people(self):
        run = subprocess.run([BUILD / "provost-auth"], stdin=subprocess.DEVNULL, capture_output=True,
                             text=True, timeout=30, env=environment(), check=False)
        self.assertEqual(run.returncode, 1)
        self.assertIn("started by provostd", run.stderr)


if __name__ == "__main__":
    unittest.main()

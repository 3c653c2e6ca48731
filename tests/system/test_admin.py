"""What an administrator does: users, policies, devices; in JSON, as text, and going wrong."""

import os
import re
import stat
import subprocess
import tempfile
import unittest

from harness import admin, eas
from harness.case import OwnServerCase, ServerCase
from harness.server import BUILD, environment

TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")


class Users(OwnServerCase):
    def names(self):
        return [row["name"] for row in self.admin("user", "list")]

    def test_add_list_remove(self):
        self.assertEqual(self.names(), ["ann", "bob", "carl"])
        self.admin("user", "add", "eve", stdin="word\n")
        self.assertEqual(self.names(), ["ann", "bob", "carl", "eve"])
        device = self.device(user="eve", password="word")
        self.assertRefused(device.foldersync(), "FolderSync", 142, "14.1")
        self.admin("user", "remove", "eve", "--yes")
        self.assertEqual(self.names(), ["ann", "bob", "carl"])
        self.assertEqual(device.foldersync().http, 401)
        self.assertIsNone(self.admin.device("eve", device.device_id))

    def test_the_password_from_a_file(self):
        path = self.server.dir / "word"
        path.write_text("from a file\n", encoding="utf-8")
        self.admin("user", "add", "eve", "--password-file", str(path))
        device = self.device(user="eve", password="from a file")
        self.assertRefused(device.foldersync(), "FolderSync", 142, "14.1")

    def test_removed_and_added_again_is_somebody_new(self):
        device = self.device(user="bob")
        device.handshake()
        self.admin("user", "remove", "bob", "--yes")
        self.admin("user", "add", "bob", stdin=self.server.users["bob"] + "\n")
        self.assertRefused(device.foldersync(), "FolderSync", 144, "14.1")
        self.server.restart(kill=True)
        device.close()
        self.assertRefused(device.foldersync(), "FolderSync", 144, "14.1")

    def test_enabled_is_listed_and_kept(self):
        self.admin("user", "disable", "bob")
        self.server.restart()
        enabled = {row["name"]: row["enabled"] for row in self.admin("user", "list")}
        self.assertEqual(enabled, {"ann": True, "bob": False, "carl": True})

    def test_the_file_keeps_what_it_had(self):
        with open(self.server.users_file, "a", encoding="utf-8") as users:
            users.write("# a comment\nfay:*:further:fields\n")
        self.server.restart()
        self.admin("user", "add", "eve", stdin="word\n")
        text = self.server.users_file.read_text(encoding="utf-8")
        for line in ("# users of a test", "# a comment", "fay:*:further:fields"):
            self.assertIn(line + "\n", text)
        self.assertRegex(text, r"(?m)^eve:\$")
        self.assertNotIn("word", text)
        self.assertEqual(stat.S_IMODE(os.stat(self.server.users_file).st_mode), 0o600)

    def test_errors(self):
        rows = [(["user", "add", "ann"], "word\n"), (["user", "passwd", "nobody"], "word\n"),
                (["user", "disable", "nobody"], ""), (["user", "remove", "nobody", "--yes"], ""),
                (["user", "add", "a:b"], "word\n"), (["user", "add", "a/../b"], "word\n"),
                (["user", "add", "a\nb"], "word\n"), (["user", "add", "eve"], ""),
                (["user", "add", "x" * 300], "word\n")]
        before = self.server.users_file.read_bytes()
        for argv, stdin in rows:
            with self.subTest(argv=argv):
                run = self.admin.run(*argv, stdin=stdin)
                self.assertEqual(run.returncode, 1, run)
                self.assertRegex(run.stderr, r"^provost: \S")
                self.assertEqual(run.stdout, "")
        self.assertEqual(self.server.users_file.read_bytes(), before)


class Policies(OwnServerCase):
    def settings(self):
        return self.admin("policy", "show", "default")["settings"]

    def test_the_one_that_is_there_from_the_start(self):
        (row,) = self.admin("policy", "list")
        self.assertEqual(row["name"], "default")
        self.assertRegex(row["changed_at"], TIME)
        self.assertIsInstance(row["revision"], int)
        shown = self.admin("policy", "show", "default")
        self.assertEqual((shown["name"], shown["revision"]), ("default", row["revision"]))

    def test_set_show_unset(self):
        first = self.admin("policy", "show", "default")["revision"]
        answer = self.admin.policy("MinDevicePasswordLength=6", "DevicePasswordEnabled=1",
                                   "UnapprovedInROMApplicationList=a.exe,b.exe",
                                   "RefreshInterval=12h")
        self.assertTrue(answer["changed"])
        self.assertGreater(answer["revision"], first)
        settings = self.settings()
        self.assertEqual({name: settings[name] for name in (
            "MinDevicePasswordLength", "DevicePasswordEnabled", "RefreshInterval",
            "UnapprovedInROMApplicationList")}, {
                "MinDevicePasswordLength": 6, "DevicePasswordEnabled": 1,
                "RefreshInterval": 43200, "UnapprovedInROMApplicationList": ["a.exe", "b.exe"]})
        self.admin.policy("AllowNonProvisionable=1",
                          "AllowNonProvisionableUntil=2027-01-31T12:00:00Z")
        self.assertEqual(self.settings()["AllowNonProvisionableUntil"], "2027-01-31T12:00:00Z")
        self.admin.policy("MinDevicePasswordLength=")
        self.assertNotIn("MinDevicePasswordLength", self.settings())
        self.server.restart(kill=True)
        self.assertEqual(self.settings()["DevicePasswordEnabled"], 1)

    def test_how_many_devices_will_be_asked(self):
        for version in ("12.1", "14.1", "16.1"):
            self.device(version).handshake()
        self.device("14.1").offer()
        answer = self.admin.policy("DevicePasswordEnabled=1", "MinDevicePasswordLength=8")
        self.assertEqual(answer["devices_to_ask"], 3)
        again = self.admin.policy("MinDevicePasswordLength=8")
        self.assertEqual((again["changed"], again["devices_to_ask"]), (False, 0))
        self.assertEqual(again["revision"], answer["revision"])

    def test_a_refused_setting_is_named_with_its_range_and_changes_nothing(self):
        before = self.admin("policy", "show", "default")
        rows = [("MinDevicePasswordLength=17", "MinDevicePasswordLength.*17.*16"),
                ("MinDevicePasswordLength=abc", "MinDevicePasswordLength.*abc"),
                ("MinDevicePasswordLength=-1", "MinDevicePasswordLength"),
                ("MinDevicePasswordLength=1e1", "MinDevicePasswordLength"),
                ("AllowCamera=2", "AllowCamera.*2"), ("AllowBluetooth=3", "AllowBluetooth.*3"),
                ("MaxCalendarAgeFilter=1", "MaxCalendarAgeFilter.*1"),
                ("MaxDevicePasswordFailedAttempts=3", "MaxDevicePasswordFailedAttempts.*3.*4"),
                ("RefreshInterval=soon", "RefreshInterval.*soon"),
                ("AllowNonProvisionableUntil=2027-02-29",
                 "AllowNonProvisionableUntil.*2027-02-29.*no date.*2027-01-31"),
                ("NoSuchSetting=1", "NoSuchSetting"), ("allowcamera=1", "allowcamera"),
                ("UnapprovedInROMApplicationList=" + "x" * 300, "UnapprovedInROMApplicationList")]
        for setting, says in rows:
            with self.subTest(setting=setting):
                run = self.admin.run("policy", "set", "default", "AllowWiFi=0", setting)
                self.assertEqual(run.returncode, 1, run)
                self.assertRegex(run.stderr, says)
        self.assertEqual(self.admin("policy", "show", "default"), before)

    def test_what_is_hardly_meant_so_is_saved_with_a_warning(self):
        answer = self.admin.policy("MinDevicePasswordLength=6")
        self.assertTrue(answer["changed"])
        self.assertIn("DevicePasswordEnabled", answer["hint"])
        run = self.admin.run("policy", "set", "default", "MinDevicePasswordLength=7")
        self.assertEqual(run.returncode, 0, run)
        self.assertRegex(run.stderr, r"^provost: warning: .*DevicePasswordEnabled.*\n$")
        self.assertIn("revision", run.stdout)
        run = self.admin.run("policy", "set", "default", "DevicePasswordEnabled=1")
        self.assertEqual((run.returncode, run.stderr), (0, ""))
        self.assertIsNone(self.admin.policy("DevicePasswordEnabled=1")["hint"])

    def test_unknown_policy(self):
        for argv in (["policy", "show", "none"], ["policy", "set", "none", "AllowCamera=0"]):
            with self.assertRaises(admin.Failed) as failed:
                self.admin(*argv)
            self.assertEqual(failed.exception.code, 1)


class Devices(OwnServerCase):
    def state(self, device):
        row = self.admin.device(device.user, device.device_id)
        return row and row["state"]

    def test_the_way_of_a_device(self):
        device = self.device("14.1", agent="TestMail/7")
        self.assertEqual(self.admin.devices(), [])
        device.foldersync()
        self.assertEqual(self.state(device), "new")
        temporary = device.offer()
        self.assertEqual(self.state(device), "offered")
        device.provision_ack(temporary, status=2)
        self.assertEqual(self.state(device), "refused")
        device.handshake()
        self.assertEqual(self.state(device), "provisioned")
        self.admin.policy("DevicePasswordEnabled=1", "MinDevicePasswordLength=8")
        self.assertEqual(self.state(device), "refresh-due")
        device.handshake()
        row = self.admin.device("ann", device.device_id)
        self.assertEqual({name: row[name] for name in (
            "user", "device_id", "device_type", "protocol_version", "state", "policy")}, {
                "user": "ann", "device_id": device.device_id, "device_type": "TestPhone",
                "protocol_version": "14.1", "state": "provisioned", "policy": "default"})
        self.assertEqual(row["revision"], self.admin("policy", "show", "default")["revision"])
        self.assertEqual(row["user_agent"], "TestMail/7")
        for name in ("first_seen", "last_seen", "key_at"):
            self.assertRegex(row[name], TIME)

    def test_no_key_is_ever_shown(self):
        device = self.device()
        temporary, final = device.offer(), device.handshake()
        said = self.admin.run("device", "list", json_out=True).stdout
        said += self.admin.run("device", "list").stdout + self.server.log
        for key in (temporary, final):
            self.assertNotIn(str(key), said)

    def test_device_information_is_kept_and_merged(self):
        device = self.device("14.1")
        device.provision_initial(information=eas.device_information("Phone 1", OS="OS 1",
                                                                    IMEI="490154203237518"))
        device.handshake()
        device.settings_device_information(OS="OS 2", FriendlyName="Anns Händi")
        row = self.admin.device("ann", device.device_id)
        self.assertEqual((row["model"], row["os"]), ("TestPhone", "OS 2"))
        self.server.restart()
        row = self.admin.device("ann", device.device_id)
        self.assertEqual((row["model"], row["os"]), ("TestPhone", "OS 2"))

    def test_sorted_by_user_and_device(self):
        for user, device_id in (("bob", "B2"), ("ann", "A9"), ("bob", "B1"), ("ann", "A1")):
            self.device(user=user, device_id=device_id).foldersync()
        self.assertEqual([(row["user"], row["device_id"]) for row in self.admin.devices()],
                         [("ann", "A1"), ("ann", "A9"), ("bob", "B1"), ("bob", "B2")])

    def test_strangers_leave_no_trace(self):
        self.device(user="nobody", password="x").foldersync()
        self.device(password="wrong").foldersync()
        self.device(device_id="D" * 35).foldersync()
        self.assertEqual(self.admin.devices(), [])


class Program(ServerCase):
    """The program itself: text, JSON, exit codes, the socket."""

    def test_text_for_people(self):
        self.device(device_id="SHOWN1").handshake()
        for argv, says in ((["device", "list"], "SHOWN1.*provisioned"),
                           (["policy", "show", "default"], "MinDevicePasswordLength"),
                           (["policy", "list"], "default"), (["user", "list"], r"ann +yes"),
                           (["status"], "devices")):
            with self.subTest(argv=argv):
                run = self.admin.run(*argv)
                self.assertEqual((run.returncode, run.stderr), (0, ""))
                self.assertRegex(run.stdout, says)

    def test_status(self):
        before = self.admin("status")
        self.device().handshake()
        after = self.admin("status")
        self.assertEqual(after["handshakes"], before["handshakes"] + 1)
        self.assertRegex(after["started_at"], TIME)

    def test_wrong_usage(self):
        for argv in ([], ["nothing"], ["user"], ["user", "nothing"], ["user", "add"],
                     ["policy", "set", "default"], ["policy", "set", "default", "NoEquals"],
                     ["device", "list", "more"], ["--nothing"], ["device", "list", "--nothing"]):
            with self.subTest(argv=argv):
                run = self.admin.run(*argv)
                self.assertEqual(run.returncode, 2, run)
                self.assertTrue(run.stderr.startswith("provost: "), run.stderr)

    def test_an_empty_argument_is_told(self):
        for argv, says in ((["policy", "show", ""], "policy show NAME.*argument 1 is empty"),
                           (["policy", "remove", ""], "argument 1 is empty"),
                           (["device", "show", "ann", ""], "argument 2 is empty"),
                           (["user", "add", ""], "argument 1 is empty"),
                           (["user", "enable", ""], "argument 1 is empty"),
                           (["token", "remove", ""], "argument 1 is empty")):
            with self.subTest(argv=argv):
                run = self.admin.run(*argv)
                self.assertEqual(run.returncode, 2, run)
                self.assertRegex(run.stderr, f"^provost: .*{says}")

    def test_an_argument_longer_than_any_name(self):
        for argv in (["policy", "show", "x" * 70000], ["device", "show", "ann", "%" * 3000],
                     ["device", "list", "--user", "x" * 70000]):
            with self.subTest(argv=argv[:2]):
                run = self.admin.run(*argv)
                self.assertEqual(run.returncode, 2, run)
                self.assertIn("longer than any name", run.stderr)

    def test_help(self):
        run = self.admin.run("--help")
        self.assertEqual(run.returncode, 0)
        for word in ("connect", "policy set", "exit codes"):
            self.assertIn(word, run.stdout)

    def test_nobody_there(self):
        lost = admin.Admin(BUILD / "provost", self.server.dir / "none.sock", environment())
        run = lost.run("status")
        self.assertEqual(run.returncode, 9, run)
        self.assertIn("none.sock", run.stderr)
        run = admin.Admin(BUILD / "provost", "/" + "x" * 200, environment()).run("status")
        self.assertEqual(run.returncode, 2, run)
        self.assertIn("too long", run.stderr)

    def test_the_socket_from_the_environment(self):
        env = dict(environment(), PROVOST_SOCKET=str(self.server.socket))
        run = subprocess.run([BUILD / "provost", "status"], env=env, capture_output=True,
                             check=False)
        self.assertEqual(run.returncode, 0, run)

    def test_the_socket_is_the_owners(self):
        self.assertEqual(stat.S_IMODE(os.stat(self.server.socket).st_mode) & 0o007, 0)

    def test_administration_is_not_served_to_the_world(self):
        answer = self.device().http("GET", "/v1/devices", {"Authorization": eas.basic(
            "ann", "secret")})
        self.assertEqual(answer.http, 404)

    def test_a_stale_socket_is_replaced(self):
        self.server.kill()
        self.assertTrue(self.server.socket.exists())
        self.server.start()
        self.assertIn("version", self.admin("status"))


class Configuration(unittest.TestCase):
    """provostd -t: every error with file and line."""

    def check(self, text):
        with tempfile.TemporaryDirectory() as where:
            path = os.path.join(where, "provost.conf")
            with open(path, "w", encoding="utf-8") as config:
                config.write(text)
            return path, subprocess.run([BUILD / "provostd", "-t", "-c", path], text=True,
                                        capture_output=True, env=environment(), check=False)

    GOOD = ('listen = "127.0.0.1:0";\nstate = "/tmp";\n'
            'auth = { method = "file"; file = "users"; };\n'
            'mailbox = { type = "maildir"; path = "/tmp/%u"; };\n')

    def test_good(self):
        _, run = self.check(self.GOOD)
        self.assertEqual(run.returncode, 0, run)

    def test_errors_name_file_and_line(self):
        rows = [("unknown key", self.GOOD + "lisen = 1;\n", 5, "lisen"),
                ("unknown key inside", self.GOOD + "admin = { sockt = \"x\"; };\n", 5, "sockt"),
                ("wrong type", self.GOOD.replace('"/tmp"', "5"), 2, "state"),
                ("no listen address", self.GOOD.replace("127.0.0.1:0", "nowhere"), 1, "listen"),
                ("unterminated text", self.GOOD + 'domain = "abc;\n', None, ""),
                ("no equals", self.GOOD + "domain;\n", 5, ""),
                ("unknown store", self.GOOD + 'store = "paper";\n', 5, "store"),
                ("unknown method", self.GOOD.replace('"file";', '"guess";', 1), 3, "method")]
        for name, text, line, word in rows:
            with self.subTest(row=name):
                path, run = self.check(text)
                self.assertNotEqual(run.returncode, 0, run)
                self.assertRegex(run.stderr, re.escape(path) + (f":{line}\\b" if line else ":"))
                self.assertIn(word, run.stderr)

    def test_no_file(self):
        run = subprocess.run([BUILD / "provostd", "-t", "-c", "/nowhere/provost.conf"],
                             capture_output=True, text=True, env=environment(), check=False)
        self.assertNotEqual(run.returncode, 0)
        self.assertIn("/nowhere/provost.conf", run.stderr)


if __name__ == "__main__":
    unittest.main()

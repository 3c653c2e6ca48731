"""Access rules: who may come in, who decides, and what changes when rules do."""

import os
import pty
import subprocess
import unittest

from harness.admin import Failed
from harness.case import OwnServerCase, ServerCase
from harness.eas import VERSIONS, device_information, number
from harness.server import BUILD, environment


def enrol(case, device):
    """The whole handshake; the device keeps its key."""
    case.assertTrue(device.handshake())
    return device


class Effect(OwnServerCase):
    def test_a_blocked_device_is_told_by_its_version(self):
        devices = {v: enrol(self, self.device(v)) for v in VERSIONS}
        for device in devices.values():
            self.assertFolders(device.foldersync())
        self.admin("rule", "add", "block", "DeviceType=testphone", "--yes")
        for version, device in devices.items():
            for cmd in ("FolderSync", "Sync", "Settings"):
                with self.subTest(version=version, cmd=cmd):
                    if cmd == "Settings" and version == "2.5":
                        continue
                    self.assertRefused(device.command(cmd), cmd, 129, version)
            with self.subTest(version=version, cmd="Provision"):
                self.assertRefused(device.provision_initial(information=None), "Provision", 129, version)
            row = self.admin.device(device.user, device.device_id)
            self.assertEqual((row["state"], row["access"], row["access_by"]),
                             ("blocked", "block", "rule 1"))
        self.admin("rule", "remove", "1")
        for version, device in devices.items():
            with self.subTest(version=version, again=True):
                self.assertFolders(device.foldersync())

    def test_rules_survive_a_restart_and_numbers_are_not_given_twice(self):
        self.admin("rule", "add", "block", "Model=Bad*", "--note", "loses mail")
        self.admin("rule", "add", "allow", "DeviceType=x", "ProtocolVersion<=12.1")
        self.admin("rule", "remove", "2")
        self.admin("rule", "default", "quarantine")
        before = self.admin("rule", "list")
        self.server.restart(kill=True)
        self.assertEqual(self.admin("rule", "list"), before)
        self.assertEqual([(r["id"], r["action"], r["conditions"], r["note"]) for r in before],
                         [(1, "block", {"Model": "Bad*"}, "loses mail")])
        self.assertEqual(self.admin("rule", "default"), {"default": "quarantine"})
        made = self.admin("rule", "add", "allow", "ProtocolVersion>=14.0")
        self.assertEqual((made["id"], made["conditions"]), (3, {"ProtocolVersion": ">=14.0"}))
        text = self.admin.run("rule", "list").stdout
        self.assertIn("ProtocolVersion>=14.0", text)
        self.assertIn("loses mail", text)

    def test_model_and_system_count_when_the_device_has_told_them(self):
        self.admin("rule", "add", "block", "Model=Brick?", "OS=Clay*")
        device = self.device("14.1")
        answer = device.provision_initial(information=device_information("Brick7", OS="clay 2"))
        self.assertEqual((answer.http, answer.status, answer.key), (200, 129, None), answer)
        other = self.device("14.1")
        self.assertOffered(other.provision_initial(information=device_information("Brick7", OS="stone")))


class Asking(OwnServerCase):
    def setUp(self):
        super().setUp()
        self.inside = enrol(self, self.device("14.1", device_type="Tablet"))
        self.outside = self.device("14.1", device_type="Tablet", user="bob")
        self.outside.foldersync()

    def answer(self, text, *args):
        """Run the program on a terminal of its own and type text."""
        leader, follower = pty.openpty()
        process = subprocess.Popen([str(BUILD / "provost"), "-s", str(self.server.socket), *args],
                                   stdin=follower, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   text=True, env=environment())
        os.close(follower)
        os.write(leader, text.encode())
        out, err = process.communicate(timeout=60)
        os.close(leader)
        return process.returncode, out, err

    def default(self):
        return self.admin("rule", "default")["default"]

    def test_the_default_asks_before_it_reaches_who_is_in(self):
        code, _, err = self.answer("n\n", "rule", "default", "block")
        self.assertEqual((code, self.default()), (1, "allow"), err)
        self.assertIn("1 device that is let in today", err)
        code, out, err = self.answer("y\n", "rule", "default", "quarantine")
        self.assertEqual((code, self.default()), (0, "quarantine"), err)
        self.assertIn("1 device that had come in will be kept out.", out)
        code, _, err = self.answer("", "rule", "default", "allow")  # nobody is kept out
        self.assertEqual((code, self.default()), (0, "allow"), err)
        code, _, err = self.answer("", "rule", "default", "block", "--yes")
        self.assertEqual((code, self.default()), (0, "block"), err)
        self.assertRefused(self.inside.foldersync(), "FolderSync", 129, "14.1")

    def test_who_is_in_may_stay(self):
        done = self.admin("rule", "default", "block", "--keep-known")
        self.assertEqual((done["changed"], done["devices"]), (True, 1))
        self.server.restart(kill=True)
        self.assertFolders(self.inside.foldersync())
        self.assertRefused(self.outside.foldersync(), "FolderSync", 129, "14.1")
        rows = {row["user"]: (row["access"], row["access_by"]) for row in self.admin.devices()}
        self.assertEqual(rows, {"ann": ("allow", "personal"), "bob": ("block", "default")})

    def test_a_rule_asks_as_well(self):
        for action in ("block", "quarantine"):
            with self.subTest(action=action):
                code, _, err = self.answer("n\n", "rule", "add", action, "DeviceType=Tab*")
                self.assertEqual((code, self.admin("rule", "list")), (1, []), err)
        code, _, err = self.answer("", "rule", "add", "block", "DeviceType=other")
        self.assertEqual(code, 0, err)
        self.admin("rule", "default", "block", "--yes")
        self.admin("rule", "add", "allow", "DeviceType=Tablet")
        code, _, err = self.answer("n\n", "rule", "remove", "2")
        self.assertEqual(code, 1, err)
        self.assertFolders(self.inside.foldersync())

    def test_a_test_shows_what_would_happen_and_what_stands_above(self):
        self.admin("rule", "add", "block", "UserAgent=TestMail*", "--yes")
        self.admin("rule", "add", "allow", "DeviceType=Watch")
        found = self.admin("rule", "test", "quarantine", "DeviceType=tab*")
        self.assertEqual((found["matching"], found["changing"], found["shut_out"]), (2, 0, 0))
        self.assertEqual({d["would_be_by"] for d in found["devices"]}, {"rule 1"})
        self.admin("rule", "remove", "1")
        found = self.admin("rule", "test", "quarantine", "DeviceType=tab*")
        self.assertEqual((found["matching"], found["changing"], found["shut_out"]), (2, 2, 1))
        self.assertEqual({(d["access"], d["access_by"], d["would_be"], d["would_be_by"])
                          for d in found["devices"]}, {("allow", "default", "quarantine", "rule 3")})
        self.assertEqual([d["in"] for d in found["devices"] if d["user"] == "ann"], [True])
        self.assertEqual(self.admin("rule", "test", "block", "OS=none")["devices"], [])
        self.assertFolders(self.inside.foldersync())  # nothing has happened


class Mistakes(ServerCase):
    def test_wrong_rules_are_told(self):
        rows = (
            ("no condition", ["allow"], 2, "usage"),
            ("no decision", ["deny", "OS=x"], 2, "allow, block or quarantine"),
            ("unknown", ["block", "Colour=red"], 1, "is no condition"),
            ("no pattern", ["block", "OS"], 2, "CONDITION=PATTERN"),
            ("version", ["block", "ProtocolVersion<=13.0"], 1, "is no version"),
            ("twice", ["block", "OS=a", "OS=b"], 2, "twice"),
            ("twice, otherwise spelt", ["block", "OS=a", "os=b"], 1, "twice"),
            ("long", ["block", "OS=" + "x" * 128], 1, "longer than 127"),
            ("note", ["block", "OS=x", "--note", "n" * 256], 1, "255"),
        )
        for name, words, code, says in rows:
            with self.subTest(name):
                run = self.admin.run("rule", "add", *words)
                self.assertEqual(run.returncode, code, run)
                self.assertIn(says, run.stderr)
        self.assertEqual(self.admin("rule", "list"), [])
        for words in (["rule", "remove", "7"], ["rule", "remove", "x"], ["rule", "remove", "0"]):
            with self.assertRaisesRegex(Failed, "no rule of that number"):
                self.admin(*words)


class Limits(OwnServerCase):
    config = "devices_per_user = 2;"

    def test_a_further_device_is_refused_until_one_goes(self):
        a, b = enrol(self, self.device("14.1")), enrol(self, self.device("12.1"))
        for version in VERSIONS:
            with self.subTest(version=version):
                c = self.device(version)
                answer = c.foldersync()
                if number(version) < 140:
                    self.assertEqual((answer.http, answer.body), (403, b""))
                else:
                    self.assertEqual(answer.tree, ("FolderSync", [("Status", "177")]))
                    self.assertEqual(c.provision_initial(information=None).tree, ("Provision", [("Status", "177")]))
        row = self.admin.device("ann", c.device_id)
        self.assertEqual((row["state"], row["access_by"]), ("blocked", "limit devices_per_user"))
        enrol(self, self.device("14.1", user="bob"))
        for device in (a, b):
            self.assertFolders(device.foldersync())

    def test_tries_fill_no_place_but_the_last_place_is_taken_once(self):
        offers = []
        for _ in range(4):
            device = self.device("14.1")
            offers.append((device, device.provision_initial().key))
        told = [device.provision_ack(key) for device, key in offers]
        self.assertEqual([t.status for t in told], [1, 1, 177, 177])


class Versions(ServerCase):
    config = 'protocol_version_min = "12.1"; protocol_version_max = "14.1";'

    def test_only_what_is_spoken_is_offered(self):
        answer = self.device("14.1").options()
        self.assertEqual(answer.headers["MS-ASProtocolVersions"], "12.1,14.0,14.1")

    def test_others_are_refused(self):
        for version in VERSIONS:
            with self.subTest(version=version):
                device = self.device(version)
                if 121 <= number(version) <= 141:
                    self.assertFolders(enrol(self, device).foldersync())
                    continue
                self.assertRefused(device.foldersync(), "FolderSync", 129, version)
                self.assertRefused(device.provision_initial(information=None), "Provision", 129, version)
                row = self.admin.device("ann", device.device_id)
                self.assertEqual((row["state"], row["access_by"]), ("blocked", "limit version"))


if __name__ == "__main__":
    unittest.main()

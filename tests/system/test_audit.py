"""The audit log: what happened is in it, and damage is seen."""

import json
import os
import subprocess
import unittest

from harness.case import OwnServerCase
from harness.server import wait_for


class Audit(OwnServerCase):
    def lines(self, *args):
        return self.admin("audit", *args)

    def acts(self):
        return [line["act"] for line in self.lines()]

    @property
    def file(self):
        return self.server.state / "audit" / "audit.jsonl"

    def test_acts_of_administrators(self):
        self.admin("user", "add", "eve", stdin="password\n")
        self.admin("user", "passwd", "eve", stdin="another\n")
        self.admin("user", "disable", "eve")
        self.admin("user", "enable", "eve")
        self.admin("user", "remove", "eve", "--yes")
        self.assertEqual(self.acts(), ["user.add", "user.passwd", "user.disable", "user.enable",
                                       "user.remove"])
        for number, line in enumerate(self.lines(), 1):
            self.assertEqual(line["seq"], number)
            self.assertRegex(line["actor"], r"^uid \d+")
            self.assertEqual(line["user"], "eve")
        said = self.file.read_text(encoding="utf-8")
        self.assertNotIn("password\"", said)
        self.assertNotIn("another", said)
        disable = self.lines()[2]
        self.assertEqual((disable["before"], disable["after"]),
                         ({"enabled": True, "device_wipe": True},
                          {"enabled": False, "device_wipe": True}))

    def test_what_goes_with_a_user(self):
        """A removal forgets blocks and wipes: the log says which, and the answer counts wipes."""
        self.device("16.1", device_id="PHONE1").handshake()
        self.admin("device", "block", "ann", "PHONE2")
        self.admin("device", "wipe", "ann", "PHONE1")
        removed = self.admin("user", "remove", "ann", "--yes")
        self.assertEqual(removed["wipes_pending"], 1)
        line = self.lines("--last", "1")[0]
        self.assertEqual((line["act"], line["after"]), ("user.remove", None))
        gone = {row["device_id"]: (row["state"], row["wipe"]) for row in line["before"]["devices"]}
        self.assertEqual(gone, {"PHONE1": ("wipe-pending", "requested"),
                                "PHONE2": ("blocked", "none")})

    def test_times_are_for_people(self):
        self.admin("rule", "add", "block", "Model=x*")
        self.assertRegex(self.lines("--last", "1")[0]["after"]["at"], r"^\d{4}-.*Z$")

    def test_changes_of_state(self):
        device = self.device("14.1")
        device.handshake()
        states = [(line["before"]["state"], line["after"]["state"]) for line in self.lines()
                  if line["act"] == "device.state"]
        self.assertEqual(states, [("new", "offered"), ("offered", "provisioned")])
        last = self.lines("--last", "1")
        self.assertEqual(len(last), 1)
        self.assertEqual((last[0]["actor"], last[0]["user"], last[0]["device_id"]),
                         ("device", "ann", device.device_id))

    def test_damage_is_seen(self):
        for user in ("ann", "bob", "carl"):
            self.admin("user", "disable", user)
        good = self.admin("audit", "--verify")
        self.assertTrue(good["good"], good)
        whole = self.file.read_text(encoding="utf-8")
        lines = whole.splitlines(keepends=True)
        cases = [
            ("a word changed", whole.replace('"bob"', '"eve"'), 2),
            ("a line gone", lines[0] + lines[2], 2),
            ("lines swapped", lines[0] + lines[2] + lines[1], 2),
            ("the end gone", lines[0] + lines[1], 3),
            ("a line twice", lines[0] + lines[0] + lines[1] + lines[2], 2),
            ("no line", "", None),
            ("garbage", lines[0] + "x\n" + lines[2], 2),
        ]
        for name, text, line in cases:
            with self.subTest(name):
                self.file.write_text(text, encoding="utf-8")
                run = self.admin.run("audit", "--verify", json_out=True)
                self.assertEqual(run.returncode, 1, run)
                report = json.loads(run.stdout)
                self.assertFalse(report["good"])
                if line:
                    self.assertEqual(report["fault"]["line"], line, report)
                self.assertTrue(report["fault"]["why"])
        self.file.write_text(whole, encoding="utf-8")
        self.assertTrue(self.admin("audit", "--verify")["good"])

    def test_a_fifo_in_its_place_holds_up_nobody(self):
        self.admin("user", "disable", "ann")
        os.mkfifo(self.file.with_name("audit-000000000001-000000000009.jsonl"))
        run = self.admin.run("audit", "--verify", json_out=True)
        self.assertEqual(run.returncode, 1, run)
        self.admin("user", "enable", "ann") # the thread that looked is free again

    def test_over_restarts_and_rotation(self):
        self.server.stop()
        self.server.write_config("audit = { rotate_size = 4096; };")
        self.server.start()
        for _ in range(15):
            self.admin("user", "disable", "ann")
            self.admin("user", "enable", "ann")
        self.server.restart(kill=True)
        self.admin("user", "disable", "ann")
        self.server.restart()
        self.assertEqual(len(self.acts()), 31)
        report = self.admin("audit", "--verify")
        self.assertTrue(report["good"], report)
        self.assertGreater(report["files"], 1)
        self.assertEqual((report["first_seq"], report["last_seq"]), (1, 31))

    def test_follow(self):
        self.admin("user", "disable", "ann")
        argv = [self.admin.program, "-s", str(self.server.socket), "--json", "audit", "--follow"]
        follower = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=self.admin.env)
        self.addCleanup(follower.wait)
        self.addCleanup(follower.kill)
        self.addCleanup(follower.stdout.close)
        self.assertEqual(json.loads(follower.stdout.readline())["act"], "user.disable")
        self.admin("user", "enable", "ann")
        self.assertEqual(json.loads(follower.stdout.readline())["act"], "user.enable")

    def test_follow_over_a_restart(self):
        argv = [self.admin.program, "-s", str(self.server.socket), "--json", "audit", "--follow"]
        follower = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                    text=True, env=self.admin.env)
        self.addCleanup(follower.wait)
        self.addCleanup(follower.kill)
        self.addCleanup(follower.stdout.close)
        self.admin("user", "disable", "ann")
        self.assertEqual(json.loads(follower.stdout.readline())["act"], "user.disable")
        self.server.restart(kill=True)
        self.admin("user", "enable", "ann")
        self.assertEqual(json.loads(follower.stdout.readline())["act"], "user.enable")

    def test_text_and_mistakes(self):
        self.admin("user", "disable", "ann")
        run = self.admin.run("audit")
        self.assertEqual(run.returncode, 0, run)
        self.assertRegex(run.stdout, r"^1 \S+  uid \d+.*  user\.disable user=ann devices=0 "
                                     r'before=\{"enabled":true,"device_wipe":true\} '
                                     r'after=\{"enabled":false,"device_wipe":true\}\n$')
        run = self.admin.run("audit", "--verify")
        self.assertIn("The chain is whole.", run.stdout)
        self.assertEqual(self.admin.run("audit", "--verify", "--follow").returncode, 2)
        self.assertEqual(self.admin.run("audit", "--last", "x").returncode, 1)

    def test_files_that_were_taken_away_are_missed(self):
        self.admin("user", "disable", "ann")
        self.lines()
        self.server.stop()
        (self.server.state / "audit").rename(self.server.state / "away")
        self.server.start()
        self.admin("user", "enable", "ann")
        wait_for("the file", lambda: self.file.exists() and self.file.stat().st_size)
        report = self.admin.run("audit", "--verify", json_out=True)
        self.assertEqual(report.returncode, 1)
        self.assertIn("audit-cut", self.server.log)


if __name__ == "__main__":
    unittest.main()

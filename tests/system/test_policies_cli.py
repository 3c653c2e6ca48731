"""`provost policy`: what it asks a server for, what it says, and what it writes into files."""

import json
import os
import pathlib
import stat
import tempfile
import unittest

from harness.case import OwnServerCase
from harness.fake_admin import FakeAdmin
from harness.server import TREE

DATA = TREE / "tests" / "data" / "import"
DEVICE = {"user": "ann", "device_id": "D1", "protocol_version": "14.1", "state": "provisioned",
          "said": 2, "said_revision": 1}


class Case(unittest.TestCase):
    def setUp(self):
        self.fake = FakeAdmin()
        self.addCleanup(self.fake.close)
        self.admin = self.fake.admin
        where = tempfile.TemporaryDirectory(prefix="provost-files-")
        self.addCleanup(where.cleanup)
        self.dir = pathlib.Path(where.name) / "policies"

    def ok(self, *argv):
        run = self.admin.run("policy", *argv)
        self.assertEqual(run.returncode, 0, run)
        return run.stdout

    def refused(self, code, says, *argv):
        run = self.admin.run("policy", *argv)
        self.assertEqual(run.returncode, code, run)
        self.assertRegex(run.stderr, says)
        self.assertEqual(self.fake.changes(), [])
        return run

    def have(self, name, settings, parent=None):
        self.fake.policies.setdefault(name, []).append({"settings": settings, "parent": parent})

    def write(self, name, content):
        self.dir.mkdir(exist_ok=True)
        text = content if isinstance(content, str) else json.dumps(content, indent=2)
        (self.dir / name).write_text(text, encoding="utf-8")

    def write_policy(self, name, settings, parent=None):
        self.write(name + ".json", {"name": name, "parent": parent, "settings": settings})


class Looking(Case):
    def test_list(self):
        self.have("sales", {}, "default")
        self.fake.assignments = [{"scope": "group", "group": "g", "policy": "sales"},
                                 {"scope": "user", "user": "u", "policy": "sales"}]
        self.fake.rolls["sales"] = {"revision": 7, "percent": 5, "groups": None}
        self.fake.rolls["default"] = {"revision": 8, "percent": None, "groups": ["a", "b"]}
        out = self.ok("list")
        self.assertRegex(out, r"sales +default +1 +2026\S+ +uid 0 \(root\) +2 +revision 7: 5 %\n")
        self.assertRegex(out, r"default +- +1 +2026\S+ +uid 0 \(root\) +0 +revision 8: a, b\n")
        self.assertEqual(self.admin("policy", "list")[1]["name"], "sales")

    def test_show_tells_what_is_inherited(self):
        self.have("default", {"MinDevicePasswordLength": 6})
        self.have("sales", {"AllowCamera": 0}, "default")
        out = self.ok("show", "sales")
        self.assertRegex(out, r"^Policy sales, revision 1, inherits default\n")
        self.assertRegex(out, r"\nMinDevicePasswordLength +6 .* inherited\n")
        self.assertRegex(out, r"\nAllowCamera +0 .* here\n")
        self.assertRegex(self.ok("show", "default", "--revision", "1"), "^Policy default, revision 1")
        self.assertEqual(self.fake.asked[-1][1], "/v1/policies/default?revision=1")

    def test_revisions_tell_what_each_changed(self):
        self.have("default", {"MinDevicePasswordLength": 6})
        self.have("default", {"MinDevicePasswordLength": 8, "AllowCamera": 0}, "base")
        self.have("default", {"MinDevicePasswordLength": 8}, "base")
        out = self.ok("revisions", "default")
        self.assertRegex(out, r"\n1 +\S+ +uid 0 \(root\) +-\n")
        self.assertRegex(out, r"\n2 .* MinDevicePasswordLength=6\n")
        self.assertRegex(out, r"\n3 .* MinDevicePasswordLength=8 \(was 6\) AllowCamera=0 parent base\n")
        self.assertRegex(out, r"\n4 .* AllowCamera=\n")

    def test_effective(self):
        settings = [{"name": "AllowCamera", "value": 0, "from": "sales", "carried": True},
                    {"name": "UnapprovedInROMApplicationList", "value": ["a", "b"],
                     "from": "default", "carried": True},
                    {"name": "AllowBrowser", "value": 0, "from": None, "upstream": True,
                     "carried": True}]
        self.fake.answers["/v1/effective?user=ann&device=D1"] = {
            "upstream": "https://mail.example", "policy": "sales", "revision": 3, "assigned_by": {"scope": "group", "group": "g"},
            "versions": [{"version": "12.0", "barred": True,
                          "settings": [dict(s, carried=False) for s in settings]},
                         {"version": "14.1", "settings": settings}]}
        out = self.ok("effective", "ann", "D1")
        self.assertRegex(out, "^Policy sales, revision 3, by the assignment to group g\n"
                              "With what the upstream demands: https://mail.example\n"
                              "Devices that speak these versions are not let in: 12.0\n")
        self.assertRegex(out, r"\nAllowCamera +0 +sales +12.0\n")
        self.assertRegex(out, r"\nUnapprovedInROMApplicationList +a,b +default +12.0\n")
        self.assertRegex(out, r"\nAllowBrowser +0 +upstream +12.0\n")

    def test_diff(self):
        self.fake.answers["/v1/policies/default/diff?from=1&to=2"] = {
            "settings": [{"name": "AllowCamera", "old": None, "new": 0, "change": "stricter"}],
            "devices_to_ask": 1, "devices": [DEVICE]}
        out = self.ok("diff", "default", "--from", "1", "--to", "2")
        self.assertRegex(out, r"AllowCamera +- +0 +stricter\n")
        self.assertRegex(out, r"1 device would be asked again:\n\n.*\nann +D1 +14.1 +provisioned "
                              r"+keeps a part +1\n")
        self.fake.answers["/v1/policies/default/diff?with=sales%20%26%20co"] = {
            "settings": [], "devices_to_ask": 0, "devices": []}
        self.assertIn("No setting differs.", self.ok("diff", "default", "--with", "sales & co"))
        self.refused(2, "only one of them", "diff", "default", "AllowCamera=0", "--with", "x")

    def test_diff_with_changes_that_are_not_made(self):
        self.have("default", {"AllowCamera": 1})
        out = self.ok("diff", "default", "AllowCamera=0", "AllowWiFi=")
        self.assertRegex(out, r"\nAllowCamera +1 +0\n")
        self.assertRegex(out, r"\nAllowWiFi +- +-\n")
        self.assertEqual(self.fake.changes(), [])


class Changing(Case):
    def test_what_is_asked_for(self):
        rows = [
            (["new", "sales", "AllowCamera=0", "--parent", "default"], "POST", "/v1/policies",
             {"settings": {"AllowCamera": "0"}, "parent": "default", "name": "sales"}),
            (["new", "x y"], "POST", "/v1/policies", {"settings": {}, "name": "x y"}),
            (["set", "default", "AllowCamera=", "--staged"], "PATCH", "/v1/policies/default",
             {"settings": {"AllowCamera": ""}, "staged": True}),
            (["set", "default", "--parent", ""], "PATCH", "/v1/policies/default",
             {"parent": None}),
            (["restore", "default", "1"], "POST", "/v1/policies/default/restore", {"revision": 1}),
            (["roll", "default", "--percent", "5"], "PUT", "/v1/policies/default/roll",
             {"percent": 5}),
            (["roll", "default", "--group", "a", "--group", "b"], "PUT",
             "/v1/policies/default/roll", {"groups": ["a", "b"]}),
            (["roll", "default", "--group", "a", "--percent", "0"], "PUT",
             "/v1/policies/default/roll", {"groups": ["a"], "percent": 0}),
            (["roll", "default", "--back"], "DELETE", "/v1/policies/default/roll", None),
            (["assign", "default", "--default"], "PUT", "/v1/assignments",
             {"scope": "default", "policy": "default"}),
            (["assign", "default", "--group", "g"], "PUT", "/v1/assignments",
             {"scope": "group", "group": "g", "policy": "default"}),
            (["assign", "default", "--user", "u"], "PUT", "/v1/assignments",
             {"scope": "user", "user": "u", "policy": "default"}),
            (["assign", "--device", "u", "D1", "default"], "PUT", "/v1/assignments",
             {"scope": "device", "user": "u", "device_id": "D1", "policy": "default"}),
            (["unassign", "--user", "u"], "DELETE", "/v1/assignments",
             {"scope": "user", "user": "u"}),
            (["remove", "sales"], "DELETE", "/v1/policies/sales", None),
        ]
        for argv, method, path, body in rows:
            with self.subTest(argv=argv):
                self.ok(*argv)
                self.assertEqual(self.fake.asked[-1], (method, path, body))
                if argv[:1] != ["remove"]:
                    self.ok(*argv, "--dry-run")
                    self.assertEqual(self.fake.asked[-1],
                                     (method, path, dict(body or {}, dry_run=True)))

    def test_what_is_said(self):
        self.fake.devices, self.fake.cannot_keep = [DEVICE, dict(DEVICE, device_id="D2")], 1
        out = self.ok("set", "default", "AllowCamera=0")
        self.assertEqual(out, "Policy default is changed, revision 2; 2 devices will be asked "
                              "again, 1 of which has said before that it cannot keep all of it.\n")
        self.assertEqual(self.ok("set", "default", "AllowCamera=0"),
                         "The policy has these values already; nothing was changed.\n")
        out = self.ok("set", "default", "AllowCamera=1", "--dry-run")
        self.assertRegex(out, r"^Nothing was changed yet: 2 devices would be asked again, 1 of "
                              r"which .*:\n\nUSER +DEVICE ")
        self.assertRegex(out, r"\nann +D2 +14.1 +provisioned +keeps a part +1\n")

    def test_wrong_usage(self):
        self.refused(2, "SETTING=VALUE", "set", "default", "AllowCamera")
        self.refused(2, "SETTING=VALUE", "set", "default", "=1")
        self.refused(2, "twice", "set", "default", "AllowCamera=1", "AllowCamera=0")
        self.refused(2, "nothing to set", "set", "default")
        self.refused(2, "--percent", "roll", "default")
        self.refused(2, "--percent", "roll", "default", "--percent", "5", "--back")
        for percent in ("101", "-1", "x", "", "5x", "99999999999999999999"):
            self.refused(2, "--percent", "roll", "default", "--percent", percent)
        self.refused(2, "--default", "assign", "default")
        self.refused(2, "--default", "assign", "default", "--default", "--user", "u")
        self.refused(2, "usage", "assign", "default", "--device", "u")
        self.refused(2, "REVISION", "restore", "default", "one")
        self.refused(2, "zpush or exchange", "import", "horde", "file")

    def test_a_refusal_is_passed_on(self):
        self.fake.fail = lambda *_: (422, "MinDevicePasswordLength is out of range.")
        run = self.admin.run("policy", "set", "default", "AllowCamera=0")
        self.assertEqual((run.returncode, run.stderr),
                         (1, "provost: MinDevicePasswordLength is out of range.\n"))


class Files(Case):
    def test_export_then_apply_changes_nothing(self):
        self.have("default", {"MinDevicePasswordLength": 6, "DevicePasswordEnabled": 1})
        self.have("a/b: \u00e4", {"UnapprovedInROMApplicationList": ["x", "y"]}, "default")
        self.have("assignments", {"AllowNonProvisionableUntil": "2030-01-01T00:00:00Z"})
        self.have(".hidden", {"RefreshInterval": 86400}, "assignments")
        self.fake.assignments = [
            {"scope": "device", "user": "u", "device_id": "D", "policy": "default"},
            {"scope": "group", "group": "g", "policy": "a/b: \u00e4"}, {"scope": "default",
                                                                       "policy": "default"}]
        self.ok("export", str(self.dir))
        self.assertEqual(sorted(os.listdir(self.dir)), [
            "%2Ehidden.json", "%61ssignments.json", "a%2Fb%3A \u00e4.json", "assignments.json",
            "default.json"])
        self.assertEqual((self.dir / "default.json").read_text(encoding="utf-8"), """{
  "name": "default",
  "parent": null,
  "settings": {
    "DevicePasswordEnabled": 1,
    "MinDevicePasswordLength": 6
  }
}
""")
        scopes = [a["scope"] for a in json.loads((self.dir / "assignments.json").read_bytes())]
        self.assertEqual(scopes, ["default", "group", "device"])
        for file in self.dir.iterdir():
            self.assertEqual(stat.S_IMODE(file.stat().st_mode), 0o644)
        self.assertEqual(self.ok("apply", str(self.dir), "--prune"), "Everything is so already.\n")
        self.assertEqual(self.fake.changes(), [])
        before = (self.dir / "default.json").stat().st_mtime_ns
        self.ok("export", str(self.dir))
        self.assertEqual((self.dir / "default.json").stat().st_mtime_ns, before)

    def test_export_tells_of_files_that_have_no_policy(self):
        self.write_policy("old", {})
        run = self.admin.run("policy", "export", str(self.dir))
        self.assertRegex(run.stderr, r"warning: .*old\.json: the server has no such policy")
        self.assertTrue((self.dir / "old.json").exists())

    def test_a_link_is_replaced_not_followed(self):
        self.dir.mkdir()
        outside = self.dir.parent / "outside"
        outside.write_text("kept", encoding="utf-8")
        (self.dir / "default.json").symlink_to(outside)
        self.ok("export", str(self.dir))
        self.assertEqual(outside.read_text(encoding="utf-8"), "kept")
        self.assertFalse((self.dir / "default.json").is_symlink())

    def test_apply_makes_parents_first_and_sends_what_differs(self):
        self.have("same", {"AllowCamera": 0})
        self.have("other", {"AllowCamera": 0})
        self.write_policy("a", {"AllowWiFi": 0}, "b")
        self.write_policy("b", {}, "c")
        self.write_policy("c", {"MinDevicePasswordLength": 6})
        self.write_policy("same", {"AllowCamera": False})
        self.write_policy("other", {"AllowCamera": "1", "RefreshInterval": "12h"}, "same")
        self.write("assignments.json", [{"scope": "user", "user": "u", "policy": "a"}])
        self.write("README.md", "not ours")
        self.fake.devices = [DEVICE]
        out = self.ok("apply", str(self.dir), "--dry-run")
        self.assertEqual(self.fake.changes(), [])
        self.assertRegex(out, r"(?s)c: new.*\n    MinDevicePasswordLength=6\n.*b: new\n"
                              r"    parent c\n.*a: new\n")
        self.assertRegex(out, r"other: changed, 1 device to be asked again\n    parent same\n"
                              r"    AllowCamera=1 \(was 0\)\n    RefreshInterval=12h\n")
        self.assertIn("user u: a\n", out)
        self.assertNotIn("same: ", out)
        self.assertIn("Nothing was changed yet.\n", out)
        self.assertIn("Done: 5 changes.\n", self.ok("apply", str(self.dir)))
        self.assertEqual([p.rsplit("/", 1)[1] for _, p, _ in self.fake.changes()],
                         ["c", "b", "other", "a", "assignments"])
        self.assertEqual(self.ok("apply", str(self.dir)), "Everything is so already.\n")

    def test_prune(self):
        for name, parent in (("x", None), ("y", "x"), ("z", "y"), ("keep", None)):
            self.have(name, {}, parent)
        self.fake.assignments = [{"scope": "default", "policy": "z"},
                                 {"scope": "user", "user": "u", "policy": "y"}]
        self.write_policy("keep", {})
        self.ok("apply", str(self.dir))
        self.assertEqual(self.fake.changes(), [])
        self.refused(1, "would be removed, but is assigned", "apply", str(self.dir), "--prune")
        self.write("assignments.json", [{"scope": "default", "policy": "keep"}])
        out = self.ok("apply", str(self.dir), "--prune")
        self.assertIn("everybody: keep (was z)\n", out)
        self.assertIn("user u: no longer y\n", out)
        self.assertEqual([(m, p) for m, p, _ in self.fake.changes()], [
            ("PUT", "/v1/assignments"), ("DELETE", "/v1/assignments"),
            ("DELETE", "/v1/policies/z"), ("DELETE", "/v1/policies/y"),
            ("DELETE", "/v1/policies/x")])
        self.assertEqual(sorted(self.fake.policies), ["default", "keep"])

    def test_nothing_is_half_read(self):
        good = {"name": "a", "parent": None, "settings": {}}
        rows = [
            ("a.json", '{"name": "a",\n "settings": {},\n}', r"a\.json:3:1: "),
            ("a.json", '{"name": "a", "name": "a", "settings": {}}', r"a\.json:1:.*duplicate"),
            ("a.json", dict(good, colour="red"), r'a\.json:5: "colour" is nothing'),
            ("a.json", dict(good, settings={"AllowCamera": 7}), r"a\.json:5: AllowCamera: \"7\""),
            ("a.json", dict(good, settings={"Sparkle": 1}), r"a\.json:5: no setting is named"),
            ("a.json", dict(good, settings={"AllowCamera": 1.5}), r"a\.json:5: AllowCamera: a val"),
            ("a.json", dict(good, settings=[]), r'a\.json: "settings"'),
            ("a.json", dict(good, parent=""), r'a\.json: "parent"'),
            ("a.json", dict(good, name="b"), r"a\.json: the file's name is not"),
            ("a.json", dict(good, name=7), r'a\.json: "name"'),
            ("a.json", [], r"a\.json: an object"),
            ("a.json", dict(good, parent="nobody"), 'a: there will be no policy "nobody"'),
            ("a.json", dict(good, parent="a"), "a: it would inherit from itself"),
            ("assignments.json", {}, r"assignments\.json: a list"),
            ("assignments.json", [{"scope": "planet", "policy": "z"}], r"entry 1: \"scope\""),
            ("assignments.json", [{"scope": "user", "policy": "z"}], "entry 1: group goes with"),
            ("assignments.json", [{"scope": "user", "user": "u"}], r"entry 1: \"policy\""),
            ("assignments.json", [{"scope": "default", "policy": "z"}] * 2, "entry 2: said twice"),
            ("assignments.json", [{"scope": "default", "policy": "n"}], 'no policy "n"'),
            ("assignments.json", [{"scope": "default", "policy": "z", "x": 1}], r'"x" is nothing'),
            ("a.json", "x" * (1024 * 1024 + 1), r"a\.json: more than 1024 KiB"),
        ]
        for name, content, says in rows:
            with self.subTest(says=says):
                self.write_policy("z", {"AllowWiFi": 0})
                self.write(name, content)
                self.refused(1, says, "apply", str(self.dir))
                (self.dir / name).unlink()
        os.mkfifo(self.dir / "a.json")
        self.refused(1, r"a\.json: no regular file", "apply", str(self.dir))
        self.refused(1, "No such file", "apply", str(self.dir / "nowhere"))

    def test_every_fault_is_told(self):
        self.write("a.json", "{")
        self.write("b.json", "[]")
        run = self.refused(1, "a.json", "apply", str(self.dir))
        self.assertIn("b.json", run.stderr)

    def test_a_circle_with_what_the_server_has(self):
        self.have("a", {})
        self.have("x", {}, "a")
        self.write_policy("a", {}, "x")
        self.refused(1, "inherit from itself", "apply", str(self.dir))
        self.write_policy("x", {})  # which turns it round
        self.ok("apply", str(self.dir))
        self.assertEqual([p for _, p, _ in self.fake.changes()],
                         ["/v1/policies/x", "/v1/policies/a"])

    def test_a_failure_in_the_middle_is_told_and_gone_on_with(self):
        self.write_policy("a", {})
        self.write_policy("b", {})
        self.fake.fail = lambda method, path, body: (
            (503, "The store is out of reach.") if path.endswith("/b") and method == "PUT"
            and not body.get("dry_run") else None)
        run = self.admin.run("policy", "apply", str(self.dir))
        self.assertEqual(run.returncode, 1)
        self.assertIn("stopped after 1 of 2 changes", run.stderr)
        self.fake.fail = None
        self.assertIn("Done: 1 change.", self.ok("apply", str(self.dir)))

    def test_what_somebody_else_has_changed_meanwhile_is_kept(self):
        self.have("a", {"AllowCamera": 0})
        self.write_policy("a", {"AllowCamera": 1})
        self.write_policy("b", {})
        for dry, says in ((True, "policy a; nothing was changed; run the same command again"),
                          (False, "stopped after 0 of 2 changes; run the same command again")):
            with self.subTest(dry=dry):
                self.fake.asked.clear()
                self.fake.fail = lambda method, path, body, dry=dry: (
                    (409, "The policy is at revision 2 by now, not at 1.")
                    if method == "PUT" and body.get("dry_run", False) == dry else None)
                run = self.admin.run("policy", "apply", str(self.dir))
                self.assertEqual(run.returncode, 1, run)
                self.assertIn(says, run.stderr)
        self.fake.fail = None
        self.fake.asked.clear()
        self.ok("apply", str(self.dir))
        self.assertEqual([(p.rsplit("/", 1)[1], b["if_revision"], b.get("dry_run", False))
                          for m, p, b in self.fake.asked if m == "PUT"],
                         [("a", 1, True), ("b", 0, True), ("a", 1, False), ("b", 0, False)])

    def test_what_the_server_would_refuse_changes_nothing(self):
        self.write_policy("a", {})
        self.write_policy("b", {})
        self.fake.fail = lambda method, path, body: (
            (422, "No.") if path.endswith("/b") and method == "PUT" else None)
        self.refused(1, "policy b; nothing was changed", "apply", str(self.dir))

    def test_json(self):
        self.write_policy("a", {"AllowCamera": 0})
        document = self.admin("policy", "apply", str(self.dir), "--dry-run")
        self.assertTrue(document["dry_run"])
        (step,) = document["policies"]
        self.assertEqual((step["policy"], step["change"], step["settings"]),
                         ("a", "new", [{"name": "AllowCamera", "old": "", "new": "0"}]))
        self.assertEqual(self.admin("policy", "export", str(self.dir)),
                         ["default.json", "assignments.json"])


class Import(Case):
    def test_zpush(self):
        run = self.admin.run("policy", "import", "zpush", str(DATA / "policies.ini"))
        self.assertEqual(run.returncode, 0, run)
        self.assertRegex(run.stderr, r'policies\.ini:26: board: "hokuspokus" .* \(left out\)\n')
        self.assertEqual(self.fake.policies["sales"][-1]["parent"], "default")
        self.assertEqual(self.fake.policies["default"][-1]["settings"]["AllowBluetooth"], 1)
        before = len(self.fake.changes())
        self.assertEqual(self.ok("import", "zpush", str(DATA / "policies.ini")),
                         "Everything is so already.\n")
        self.assertEqual(len(self.fake.changes()), before)

    def test_what_was_imported_can_be_exported_and_applied(self):
        self.ok("import", "zpush", str(DATA / "policies.ini"), "--prefix", "z-")
        self.ok("import", "exchange", str(DATA / "exchange-local.json"), "--assign")
        self.assertEqual(self.fake.assignments, [{"scope": "default", "policy": "Default"}])
        self.ok("export", str(self.dir))
        self.assertEqual(self.ok("apply", str(self.dir), "--prune"), "Everything is so already.\n")

    def test_strict_and_dry_run_change_nothing(self):
        file = str(DATA / "policies.ini")
        self.refused(1, "left out; nothing was changed", "import", "zpush", file, "--strict")
        self.assertIn("sales: new\n", self.ok("import", "zpush", file, "--dry-run"))
        self.assertEqual(self.fake.changes(), [])

    def test_the_default_policy_is_told(self):
        run = self.admin.run("policy", "import", "exchange", str(DATA / "exchange-remote.json"),
                             "--strict")
        self.assertEqual(run.returncode, 0, run)
        self.assertIn("Default is the default policy there", run.stderr)
        self.assertEqual(self.fake.assignments, [])

    def test_no_such_file(self):
        self.refused(1, "No such file", "import", "zpush", str(self.dir / "none"))
        self.write("x.json", "{")
        self.refused(1, r"x\.json: line 1, column 1: ", "import", "exchange",
                     str(self.dir / "x.json"))


class RealServer(OwnServerCase):
    """The same commands with provostd at the other end."""

    config = 'groups = { sales = ["ann", "bob"]; };\n'

    def setUp(self):
        super().setUp()
        where = tempfile.TemporaryDirectory(prefix="provost-files-")
        self.addCleanup(where.cleanup)
        self.dir = pathlib.Path(where.name) / "policies"

    def ok(self, *argv):
        run = self.admin.run("policy", *argv)
        self.assertEqual(run.returncode, 0, run)
        return run.stdout

    def test_parents_and_children_change_in_one_run(self):
        def files(length, parent):
            for name, above in (("top", None), ("middle", "top"), ("low", parent), ("side", None)):
                (self.dir / f"{name}.json").write_text(json.dumps({
                    "name": name, "parent": above,
                    "settings": {"MinDevicePasswordLength": length}}), encoding="utf-8")

        self.dir.mkdir()
        for length, parent in ((4, "middle"), (5, "middle"), (6, "side"), (7, "middle")):
            with self.subTest(length=length):
                files(length, parent)
                self.assertIn("Done: 4 changes.", self.ok("apply", str(self.dir)))
                self.assertEqual(self.ok("apply", str(self.dir)), "Everything is so already.\n")

    def test_a_life_of_a_policy(self):
        device = self.device(user="ann", device_id="D1")
        device.handshake()
        self.assertIn("revision", self.ok("new", "sales", "MinDevicePasswordLength=6",
                                          "DevicePasswordEnabled=1", "--parent", "default"))
        self.assertRegex(self.ok("assign", "sales", "--group", "sales", "--dry-run"),
                         r"1 device would be asked again:\n\n.*\nann +D1 +14\.1 +provisioned +keeps it ")
        self.assertFolders(device.foldersync())
        self.assertRegex(self.ok("assign", "sales", "--group", "sales"),
                         "assigned to group sales.*; 1 device will be asked again")
        self.assertRefused(device.foldersync(), "FolderSync", 143, "14.1")
        device.handshake()
        self.assertRegex(self.ok("list"), r"\nsales +default +\d+ +\S+ +uid \d+ \(.*\) +1 ")
        self.assertRegex(self.ok("effective", "ann", "D1"),
                         r"(?s)^Policy sales, revision \d+, by the assignment to group sales\n.*"
                         r"\nMinDevicePasswordLength +6 +sales")
        self.assertRegex(self.ok("diff", "sales", "MinDevicePasswordLength=8"),
                         r"(?s)MinDevicePasswordLength +6 +8\n.*1 device would be asked again")
        first = self.admin("policy", "show", "sales")["revision"]
        self.ok("set", "sales", "MinDevicePasswordLength=8")
        self.assertRegex(self.ok("revisions", "sales"), r"MinDevicePasswordLength=8 \(was 6\)\n")
        self.assertRegex(self.ok("diff", "sales", "--from", str(first)),
                         r"MinDevicePasswordLength +6 +8 +stricter\n")
        self.assertRegex(self.ok("diff", "sales", "--with", "default"), "MinDevicePasswordLength")
        self.ok("restore", "sales", str(first))
        self.assertEqual(self.admin("policy", "show", "sales")["settings"], {
            "DevicePasswordEnabled": 1, "MinDevicePasswordLength": 6})
        run = self.admin.run("policy", "remove", "sales")
        self.assertEqual(run.returncode, 1, run)
        self.ok("unassign", "--group", "sales")
        self.ok("remove", "sales")
        self.assertNotIn("sales", self.ok("list"))

    def test_rolling_out(self):
        self.ok("new", "sales", "AllowCamera=1")
        self.ok("assign", "sales", "--group", "sales")
        device = self.device(user="ann")
        device.handshake()
        self.ok("set", "sales", "AllowCamera=0", "--staged")
        self.assertFolders(device.foldersync())
        self.assertRegex(self.ok("roll", "sales", "--group", "sales", "--dry-run"),
                         "1 device would be asked again")
        self.ok("roll", "sales", "--group", "sales")
        self.assertRefused(device.foldersync(), "FolderSync", 143, "14.1")
        self.assertRegex(self.ok("list"),
                         r"\nsales .* revision \d+: sales; 0 confirmed, \d to ask, 0 refused\n")
        self.ok("roll", "sales", "--back")
        self.assertFolders(device.foldersync())

    def test_import_export_apply(self):
        self.ok("import", "zpush", str(DATA / "policies.ini"), "--dry-run")
        self.assertEqual(len(self.admin("policy", "list")), 1)
        self.ok("import", "zpush", str(DATA / "policies.ini"))
        self.ok("import", "exchange", str(DATA / "exchange-local.json"), "--prefix", "ex ",
                "--assign")
        self.ok("assign", "board", "--device", "ann", "D1")
        self.ok("set", "sales", "AllowNonProvisionableUntil=2031-01-01", "RefreshInterval=12h")
        self.ok("export", str(self.dir))
        self.assertEqual(self.ok("apply", str(self.dir), "--prune"), "Everything is so already.\n")
        # Elsewhere it is made from the files alone.
        for scope in (["--default"], ["--device", "ann", "D1"]):
            self.ok("unassign", *scope)
        for name in ("sales", "board", "ex Default", "ex Warehouse"):
            self.ok("remove", name)
        self.ok("set", "default", "MinDevicePasswordLength=")
        self.assertIn("Done: ", self.ok("apply", str(self.dir)))
        self.assertEqual(self.ok("apply", str(self.dir), "--prune"), "Everything is so already.\n")
        (self.dir / "sales.json").unlink()
        self.assertIn("sales: removed\n", self.ok("apply", str(self.dir), "--prune"))
        self.assertNotIn("sales", {row["name"] for row in self.admin("policy", "list")})


if __name__ == "__main__":
    unittest.main()

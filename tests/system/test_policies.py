"""Policies in layers and roll-outs on the real server: who is asked again, and who is not."""

import threading
import time
import unittest

from harness.admin import Failed
from harness.api import Api
from harness.case import OwnServerCase
from harness.eas import VERSIONS, number
from harness.server import wait_for

GROUPS = 'groups = { sales = [ "ann", "bob" ]; board = [ "bob", "carl" ]; };\n'


class Case(OwnServerCase):
    config = GROUPS + "ping = { heartbeat_min = 1; };\n"

    def setUp(self):
        super().setUp()
        self.api = Api(self.server)
        self.addCleanup(self.api.close)

    def restart(self, kill=False):
        self.server.restart(kill=kill)
        self.api.close()
        self.api = Api(self.server)
        self.addCleanup(self.api.close)

    def length(self, device):
        return device.provision_initial().text(
            "Policies/Policy/Data/EASProvisionDoc/MinDevicePasswordLength")

    def call(self, method, path, body=None, http=200):
        answer = self.api(method, path, body)
        self.assertEqual(answer.http, http, answer)
        return answer.json

    def change(self, method, path, body=None, **how):
        """A dry run, then the change, which does what was told: its answer."""
        body = dict(body or {})
        would = self.call(method, path, dict(body, dry_run=True))
        did = self.call(method, path, body, **how)
        self.assertTrue(would.pop("dry_run"))
        self.assertFalse(did.pop("dry_run"))
        did["devices"] = would.pop("devices")
        self.assertEqual(len(did["devices"]), did["devices_to_ask"])
        would.pop("hint", None)
        self.assertEqual(would, {k: v for k, v in did.items() if k not in ("devices", "hint")})
        return did

    def make(self, name, parent=None, **settings):
        return self.change("POST", "/v1/policies",
                           {"name": name, "parent": parent, "settings": settings}, http=201)

    def set(self, name, **settings):
        return self.change("PATCH", f"/v1/policies/{name}", {"settings": settings})

    def assign(self, policy, scope, **whom):
        return self.change("PUT", "/v1/assignments", dict(whom, scope=scope, policy=policy))

    def refused(self, http, code, says, method, path, body=None):
        answer = self.api(method, path, body)
        self.assertEqual((answer.http, answer.code), (http, code), answer)
        self.assertRegex(answer.json["error"], says)

    def effective(self, user, device=None):
        return self.call("GET", f"/v1/effective?user={user}" +
                         (f"&device={device}" if device else ""))

    def fleet(self, *users, versions=VERSIONS):
        made = [self.device(version, user=user) for user in users for version in versions]
        for device in made:
            device.handshake()
        return made

    def asked(self, devices):
        """Those that are refused because their policy has changed."""
        out = []
        for device in devices:
            answer = device.foldersync()
            if answer.http == 200 and answer.status == 1:
                continue
            self.assertRefused(answer, "FolderSync", 143, device.version)
            out.append(device)
        return out

    def assertNamed(self, answer, devices):
        want = sorted((d.user, d.device_id) for d in devices)
        self.assertEqual([(d["user"], d["device_id"]) for d in answer["devices"]], want)


class Refresh(Case):
    def test_only_who_sees_a_difference(self):
        devices = self.fleet("ann", "bob")
        answer = self.set("default", AllowCamera=0)  # carried from 12.1 on
        new = [d for d in devices if number(d.version) >= 121]
        self.assertNamed(answer, new)
        self.assertEqual({d["state"] for d in answer["devices"]}, {"provisioned"})
        self.assertEqual(self.asked(devices), new)
        self.assertEqual(self.set("default", AllowCamera=0)["devices_to_ask"], 0)

    def test_who_said_that_it_cannot_keep_it(self):
        self.admin.policy("AllowPartial=1")
        ann, bob = self.device(user="ann"), self.device(user="bob")
        for device, status in ((ann, 2), (bob, 1)):
            device.key = int(device.provision_ack(device.offer(), status).key)
        answer = self.set("default", MinDevicePasswordLength=6)
        self.assertEqual((answer["devices_to_ask"], answer["cannot_keep"]), (2, 1))
        self.assertEqual([d["said"] for d in answer["devices"]], [2, 1])

    def test_an_assignment_concerns_its_devices(self):
        ann, bob, carl = self.fleet("ann", "bob", "carl", versions=["14.1"])
        self.make("strict", MinDevicePasswordLength=8)
        self.make("same", MinDevicePasswordLength=8)
        self.assertNamed(self.assign("strict", "group", group="sales"), [ann, bob])
        self.assertEqual(self.asked([ann, bob, carl]), [ann, bob])
        ann.handshake()
        bob.handshake()
        self.assertNamed(self.assign("same", "user", user="ann"), [])  # the same document
        self.assertNamed(self.assign("default", "device", user="bob", device_id=bob.device_id),
                         [bob])
        self.assertEqual(self.asked([ann, bob, carl]), [bob])
        answer = self.change("DELETE", "/v1/assignments",
                             {"scope": "device", "user": "bob", "device_id": bob.device_id})
        self.assertNamed(answer, [])  # what it has confirmed applies again
        self.assertEqual(self.asked([ann, bob, carl]), [])
        self.assertEqual(self.call("GET", "/v1/assignments"), [
            {"scope": "group", "group": "sales", "policy": "strict"},
            {"scope": "user", "user": "ann", "policy": "same"}])

    def test_only_their_pings_are_woken(self):
        ann, bob = self.fleet("ann", "bob", versions=["14.1"])
        self.make("strict", MinDevicePasswordLength=8)
        for device in (ann, bob):
            rows = [dict(row) for kind, row in device.foldersync().tree[1][2][1] if kind == "Add"]
            box = next(r["ServerId"] for r in rows if r["DisplayName"] == "Inbox")
            device.start("Ping", device.ping_tree(600, [box]), key=None)
        wait_for("two Pings", lambda: self.admin("status")["waiting_pings"] == 2)
        self.call("PUT", "/v1/assignments", {"scope": "user", "user": "ann", "policy": "strict",
                                             "dry_run": True})
        self.assertEqual(self.admin("status")["waiting_pings"], 2)
        self.call("PUT", "/v1/assignments", {"scope": "user", "user": "ann", "policy": "strict"})
        self.assertEqual(ann.receive().tree, ("Ping", [("Status", "7")]))
        self.assertEqual(self.admin("status")["waiting_pings"], 1)


class Layers(Case):
    def test_what_applies_and_where_it_comes_from(self):
        self.make("base", DevicePasswordEnabled=1, MinDevicePasswordLength=4, AllowCamera=0)
        self.make("sales", "base", MinDevicePasswordLength=6, RefreshInterval="30d")
        self.assign("sales", "group", group="sales")
        self.assign("base", "default")
        got = self.effective("ann", "ANYDEVICE")
        self.assertEqual((got["policy"], got["assigned_by"]),
                         ("sales", {"scope": "group", "group": "sales"}))
        self.assertEqual([v["version"] for v in got["versions"]], list(VERSIONS))
        rows = {v["version"]: {s["name"]: (s["value"], s["from"], s["carried"])
                               for s in v["settings"]} for v in got["versions"]}
        self.assertEqual(rows["16.1"], {
            "DevicePasswordEnabled": (1, "base", True), "AllowCamera": (0, "base", True),
            "MinDevicePasswordLength": (6, "sales", True),
            "RefreshInterval": (2592000, "sales", None)})
        self.assertEqual(rows["12.0"]["AllowCamera"], (0, "base", False))
        self.assertEqual(rows["2.5"]["MinDevicePasswordLength"], (6, "sales", True))
        barred = {v["version"] for v in got["versions"] if v["barred"]}
        self.assertEqual(barred, {"2.5", "12.0"})
        self.assertEqual([c["policy"] for c in got["candidates"]], ["sales", "base"])
        self.assertEqual(self.effective("carl")["policy"], "base")

        # A device of each is told just that.
        for user, length in (("ann", "6"), ("carl", "4")):
            self.assertEqual(self.length(self.device(user=user)), length)
        shown = self.call("GET", "/v1/policies/sales")
        self.assertEqual(shown["settings"],
                         {"MinDevicePasswordLength": 6, "RefreshInterval": 2592000})
        self.assertEqual(shown["effective"], dict(shown["settings"], DevicePasswordEnabled=1,
                                                  AllowCamera=0))
        self.assertEqual((shown["parent"], shown["roll"]), ("base", None))

    def test_a_parents_change_reaches_the_children(self):
        self.make("base", MinDevicePasswordLength=4)
        self.make("child", "base", AllowWiFi=0)
        self.make("own", "base", MinDevicePasswordLength=5)
        self.assign("child", "user", user="ann")
        self.assign("own", "user", user="bob")
        devices = self.fleet("ann", "bob", "carl", versions=["14.1"])
        answer = self.set("base", MinDevicePasswordLength=7)
        self.assertNamed(answer, devices[:1])
        self.assertEqual(self.asked(devices), devices[:1])
        self.assertEqual(self.call("GET", "/v1/policies/child")["revision"], answer["revision"])

    def test_refusals(self):
        self.make("base")
        self.make("child", "base")
        self.assign("child", "user", user="ann")
        rows = [
            (409, "policy_exists", "already", "POST", "/v1/policies", {"name": "base"}),
            (422, "bad_setting", "1 to 63 bytes", "POST", "/v1/policies", {"name": "a/b"}),
            (422, "bad_setting", "inherit from each other", "PATCH", "/v1/policies/base",
             {"parent": "child"}),
            (422, "bad_setting", "99", "PATCH", "/v1/policies/base",
             {"settings": {"MinDevicePasswordLength": 99}}),
            (409, "conflict", "by now", "PATCH", "/v1/policies/base",
             {"settings": {"AllowWiFi": 0}, "if_revision": 1}),
            (409, "conflict", "There is a policy", "PATCH", "/v1/policies/base",
             {"settings": {"AllowWiFi": 0}, "if_revision": 0}),
            (409, "conflict", "by now", "PUT", "/v1/policies/base",
             {"settings": {"AllowWiFi": 0}, "if_revision": 1}),
            (409, "conflict", "There is no policy", "PUT", "/v1/policies/none",
             {"settings": {}, "if_revision": 1}),
            (409, "conflict", "child.*inherits", "DELETE", "/v1/policies/base", None),
            (409, "conflict", "assigned", "DELETE", "/v1/policies/child", None),
            (409, "conflict", "stays", "DELETE", "/v1/policies/default", None),
            (404, "unknown_policy", "no policy", "DELETE", "/v1/policies/none", None),
            (404, "unknown_policy", "no policy", "GET", "/v1/policies/none/revisions", None),
            (404, "unknown_revision", "never", "POST", "/v1/policies/base/restore",
             {"revision": 9999}),
            (404, "unknown_revision", "never", "GET", "/v1/policies/base?revision=9999", None),
            (404, "unknown_revision", "never", "GET", "/v1/policies/base/diff?from=9999", None),
            (404, "unknown_policy", "no policy", "GET", "/v1/policies/base/diff?with=none", None),
            (400, "bad_query", "Either", "GET", "/v1/policies/base/diff?with=child&to=1", None),
            (409, "conflict", "waits", "PUT", "/v1/policies/base/roll", {"percent": 5}),
            (400, "bad_value", "percent or groups", "PUT", "/v1/policies/base/roll", {}),
            (422, "bad_setting", "no group", "PUT", "/v1/assignments",
             {"scope": "group", "group": "none", "policy": "base"}),
            (400, "bad_value", "scope", "PUT", "/v1/assignments",
             {"scope": "user", "group": "sales", "policy": "base"}),
            (404, "unknown_policy", "no policy", "PUT", "/v1/assignments",
             {"scope": "user", "user": "ann", "policy": "none"}),
            (400, "bad_value", "at least one", "PATCH", "/v1/policies/base", {}),
        ]
        for http, code, says, method, path, body in rows:
            with self.subTest(method=method, path=path, body=body):
                self.refused(http, code, says, method, path, body)

    def test_revisions_are_kept_compared_and_restored(self):
        first = self.make("p", MinDevicePasswordLength=4)["revision"]
        second = self.set("p", MinDevicePasswordLength=6, AllowCamera=0)["revision"]
        self.assign("p", "user", user="ann")
        (device,) = self.fleet("ann", versions=["14.1"])
        rows = self.call("GET", "/v1/policies/p/revisions")
        self.assertEqual([(r["revision"], r["settings"]) for r in rows], [
            (first, {"MinDevicePasswordLength": 4}),
            (second, {"MinDevicePasswordLength": 6, "AllowCamera": 0})])
        self.assertRegex(rows[0]["by"], r"^uid \d+")
        old = self.call("GET", f"/v1/policies/p?revision={first}")
        self.assertEqual(old["settings"], {"MinDevicePasswordLength": 4})
        diff = self.call("GET", f"/v1/policies/p/diff?to={first}")
        self.assertEqual(diff["settings"], [
            {"name": "MinDevicePasswordLength", "old": 6, "new": 4, "change": "looser"},
            {"name": "AllowCamera", "old": 0, "new": None, "change": "looser"}])
        self.assertNamed(diff, [device])
        diff = self.call("GET", "/v1/policies/p/diff?with=default")
        self.assertEqual([s["name"] for s in diff["settings"]],
                         ["MinDevicePasswordLength", "AllowCamera"])
        self.assertNamed(diff, [device])
        answer = self.change("POST", "/v1/policies/p/restore", {"revision": first})
        self.assertGreater(answer["revision"], second)
        self.assertNamed(answer, [device])
        self.assertEqual(self.call("GET", "/v1/policies/p")["settings"], old["settings"])

    def test_a_removed_policy_stays_history(self):
        self.make("p", MinDevicePasswordLength=4)
        self.call("DELETE", "/v1/policies/p")
        self.restart(kill=True)
        self.assertEqual([p["name"] for p in self.call("GET", "/v1/policies")], ["default"])
        self.assertEqual(len(self.call("GET", "/v1/policies/p/revisions")), 1)
        self.make("p", AllowWiFi=0)
        self.restart()
        self.assertEqual(self.call("GET", "/v1/policies/p")["settings"], {"AllowWiFi": 0})
        self.assertEqual(len(self.call("GET", "/v1/policies/p/revisions")), 2)


class Rolls(Case):
    def stage(self, **settings):
        return self.change("PATCH", "/v1/policies/default",
                           {"settings": settings, "staged": True})

    def roll(self, **to):
        return self.change("PUT", "/v1/policies/default/roll", to)

    def watched(self):
        return self.call("GET", "/v1/policies/default")["roll"]

    def test_watched_widened_and_finished(self):
        devices = [self.device(user=user) for user in ("ann", "bob", "carl") for _ in range(8)]
        for device in devices:
            device.handshake()
        candidate = self.stage(MinDevicePasswordLength=8)
        self.assertEqual(candidate["devices_to_ask"], 0)
        self.assertEqual(self.asked(devices), [])
        self.refused(409, "conflict", "being rolled out", "PATCH", "/v1/policies/default",
                     {"settings": {"AllowCamera": 0}})
        self.assertEqual(self.call("GET", "/v1/policies/default/diff")["devices_to_ask"], 24)
        has = []
        for percent in (20, 60):
            answer = self.roll(percent=percent)
            new = self.asked(devices)
            self.assertNamed(answer, new)
            self.assertEqual(self.watched()["to_ask"], len(new))
            for device in new:
                self.assertNotIn(device, has)
                self.assertEqual(self.length(device), "8")
                device.handshake()
            has += new
            roll = self.watched()
            self.assertEqual((roll["revision"], roll["percent"], roll["confirmed"],
                              roll["to_ask"]), (candidate["revision"], percent, len(has), 0))
            self.restart(kill=True)
            self.assertEqual(self.asked(devices), [])  # who has it has it after a restart
        self.assertTrue(0 < len(has) < len(devices), len(has))
        answer = self.roll(percent=100)
        rest = [d for d in devices if d not in has]
        self.assertNamed(answer, rest)
        self.assertEqual(self.asked(devices), rest)
        self.assertIsNone(self.watched())
        self.restart(kill=True)
        self.assertEqual(self.asked(devices), rest)

    def test_a_group_first_and_taken_back(self):
        ann, bob, carl = self.fleet("ann", "bob", "carl", versions=["14.1"])
        self.stage(MinDevicePasswordLength=8)
        self.assertNamed(self.roll(groups=["sales"]), [ann, bob])
        self.assertEqual(self.asked([ann, bob, carl]), [ann, bob])
        ann.handshake()
        got = self.effective("ann", ann.device_id)
        self.assertTrue(got["roll"]["in_it"])
        answer = self.change("DELETE", "/v1/policies/default/roll")
        self.assertNamed(answer, [ann])  # bob has never confirmed it
        self.assertEqual(self.asked([ann, bob, carl]), [ann])
        self.restart()
        self.assertEqual(self.asked([ann, bob, carl]), [ann])
        self.assertEqual(self.call("GET", "/v1/policies/default")["settings"], {})
        self.assertEqual(len(self.call("GET", "/v1/policies/default/revisions")), 2)
        self.set("default", AllowWiFi=0)
        self.restart(kill=True)
        self.assertEqual(self.call("GET", "/v1/policies/default")["settings"], {"AllowWiFi": 0})


class CommandLine(Case):
    def test_the_whole_way(self):
        (device,) = self.fleet("ann", versions=["14.1"])
        self.admin("policy", "new", "strict", "--parent", "default", "MinDevicePasswordLength=8")
        would = self.admin("policy", "assign", "strict", "--group", "sales", "--dry-run")
        self.assertNamed(would, [device])
        self.assertEqual(self.asked([device]), [])
        self.admin("policy", "assign", "strict", "--group", "sales")
        self.assertEqual(self.asked([device]), [device])
        self.assertEqual(self.admin("policy", "effective", "ann")["policy"], "strict")
        self.admin("policy", "set", "strict", "AllowCamera=0", "--staged")
        self.admin("policy", "roll", "strict", "--group", "sales")
        self.assertRegex(self.admin.run("policy", "list").stdout,
                         r"strict .*: sales; 0 confirmed, 1 to ask, 0 refused\n")
        self.admin("policy", "roll", "strict", "--percent", "100")
        text = self.admin.run("policy", "effective", "ann", device.device_id).stdout
        self.assertRegex(text, r"AllowCamera +0 +strict +2\.5, 12\.0")
        self.admin("policy", "unassign", "--group", "sales")
        self.admin("policy", "remove", "strict")
        with self.assertRaises(Failed):
            self.admin("policy", "show", "strict")


class Durability(Case):
    def test_what_was_answered_is_there_after_kill_9(self):
        for turn in range(6):
            name = f"p{turn}"
            self.call("POST", "/v1/policies", {"name": name, "settings": {"AllowCamera": 0}}, 201)
            self.call("PUT", "/v1/assignments", {"scope": "user", "user": f"u{turn}",
                                                 "policy": name})
            self.restart(kill=True)
            self.assertEqual(self.effective(f"u{turn}")["policy"], name)
        self.assertEqual(len(self.call("GET", "/v1/assignments")), 6)

    def test_every_act_is_in_the_audit_log(self):
        self.make("p", MinDevicePasswordLength=4)
        self.assign("p", "user", user="ann")
        lines = self.call("GET", "/v1/audit")
        acts = [(line["act"], line.get("policy"), line.get("user")) for line in lines]
        self.assertIn(("policy.new", "p", None), acts)
        self.assertIn(("policy.assign", None, "ann"), acts)
        self.assertEqual(sum(act == "policy.new" for act, _, _ in acts), 1)  # no dry run in it

    def test_changes_while_devices_are_served(self):
        devices = self.fleet("ann", "bob", versions=["14.1", "16.1"])
        stop = threading.Event()
        wrong = []

        def serve(device):
            while not stop.is_set():
                answer = device.foldersync()
                if answer.http == 200 and answer.status == 143:
                    device.handshake()
                elif (answer.http, answer.status) != (200, 1):
                    wrong.append(answer)

        threads = [threading.Thread(target=serve, args=(d,)) for d in devices]
        for thread in threads:
            thread.start()
        self.make("p")
        until = time.monotonic() + 3
        turn = 0
        while time.monotonic() < until:
            turn += 1
            self.call("PATCH", "/v1/policies/p", {"settings": {"MinDevicePasswordLength":
                                                               4 + turn % 9}})
            self.call("PUT", "/v1/assignments", {"scope": "user", "user": "ann", "policy": "p"})
            self.call("DELETE", "/v1/assignments", {"scope": "user", "user": "ann"})
            self.call("GET", "/v1/policies")
        stop.set()
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [])


if __name__ == "__main__":
    unittest.main()

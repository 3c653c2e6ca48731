"""`provost device why`: each cause produced for real; lists and the compliance summary."""

import json
import re
import time
import unittest

from harness.admin import Failed
from harness.case import OwnServerCase, ServerCase
from harness.eas import device_information, policy_type
from harness.server import TREE, wait_for


class WhyCase:
    def why(self, device):
        return self.admin("device", "why", device.user, device.device_id)

    def assertCause(self, device, cause, sentence=".", advice="."):
        why = self.why(device)
        self.assertEqual(why["cause"], cause, why)
        self.assertRegex(why["sentence"], sentence)
        self.assertRegex(why["advice"], advice)
        self.assertNotRegex(why["sentence"] + why["advice"], r"[{}]")
        run = self.admin.run("device", "why", device.user, device.device_id)
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertIn(why["sentence"], run.stdout)
        self.assertIn(why["advice"], run.stdout)
        return why["steps"]


class Causes(WhyCase, ServerCase):
    def test_in_order(self):
        device = self.device()
        device.foldersync(key=0)
        device.handshake()
        device.foldersync()
        steps = self.assertCause(device, "in-order", "in order.*policy default")
        self.assertEqual([s["step"] for s in steps], ["refused", "offered", "confirmed", "let-in"])
        self.assertEqual([s["command"] for s in steps],
                         ["FolderSync", "Provision", "Provision", "FolderSync"])
        self.assertEqual([s["status"] for s in steps], [142, 1, 1, 0])
        self.assertEqual([s["said"] for s in steps], [0, 0, 1, 0])

    def test_key_zero(self):
        device = self.device()
        device.foldersync(key=0)
        steps = self.assertCause(device, "key-zero", "no policy key and was told so")
        self.assertEqual((steps[0]["sent"], steps[0]["expected"]), ("0", "none"))

    def test_no_key(self):
        device = self.device()
        device.foldersync(key=None)
        steps = self.assertCause(device, "no-key", "sends no policy key", "AllowNonProvisionable=1")
        self.assertEqual((steps[0]["sent"], steps[0]["status"]), ("none", 141))

    def test_wrong_key(self):
        device = self.device()
        device.handshake()
        device.foldersync(key=4100000000)
        steps = self.assertCause(device, "wrong-key", "a policy key that is not its own",
                                 "Remove the account")
        masked = str(device.key)[:2] + "x" * (len(str(device.key)) - 2)
        self.assertEqual((steps[-1]["sent"], steps[-1]["expected"]), ("41xxxxxxxx", masked))

    def test_offered(self):
        device = self.device()
        device.foldersync(key=0)
        device.offer()
        device.foldersync(key=0)
        self.assertCause(device, "offered", "given policy default and has not acknowledged", "PIN|phone")

    def test_unknown_offer(self):
        device = self.device()
        device.provision_ack(12345678)
        steps = self.assertCause(device, "unknown-offer", "temporary key that was not given to it")
        self.assertEqual((steps[-1]["step"], steps[-1]["said"], steps[-1]["status"]),
                         ("not-accepted", 1, 5))

    def test_offer_key(self):
        device = self.device()
        temporary = device.offer()
        device.foldersync(key=temporary)
        self.assertCause(device, "offer-key", "uses the temporary key")

    def test_unknown_type(self):
        device = self.device("14.1")
        device.provision_initial(kind=policy_type("2.5"))
        self.assertCause(device, "unknown-type", "does not fit protocol version 14.1")

    def test_bad_request(self):
        device = self.device()
        device.provision([("Policies", [("Policy", [])])])
        self.assertCause(device, "bad-request", "makes no sense")

    def test_refused_acknowledgements(self):
        rows = [(2, "partial-refused", "only in part", "AllowPartial=1"),
                (3, "not-applied-refused", "keeps nothing", "AllowNonProvisionable=1"),
                (4, "external-refused", "somebody else manages", "AllowExternalManagement=1")]
        for status, cause, sentence, advice in rows:
            with self.subTest(status=status):
                device = self.device()
                device.provision_ack(device.offer(), status=status)
                steps = self.assertCause(device, cause, sentence, advice)
                self.assertEqual(steps[-1]["said"], status)

    def test_below_14_0_the_answer_is_http(self):
        device = self.device("12.1")
        device.foldersync(key=0)
        steps = self.assertCause(device, "key-zero")
        self.assertEqual((steps[0]["http"], steps[0]["status"]), (449, 142))
        run = self.admin.run("device", "why", device.user, device.device_id)
        self.assertIn("HTTP 449", run.stdout)

    def test_repeats_are_counted(self):
        device = self.device()
        for _ in range(25):
            device.foldersync(key=0)
        (step,) = self.why(device)["steps"]
        self.assertEqual(step["times"], 25)
        self.assertLessEqual(step["first"], step["last"])

    def test_no_more_than_sixteen_steps(self):
        device = self.device()
        for n in range(40):
            device.foldersync(key=10 + n)
        steps = self.why(device)["steps"]
        self.assertEqual(len(steps), 16)

    def test_shared_id(self):
        device = self.device(agent="One/1.0")
        for turn in range(6):
            device.agent = ("One/1.0", "Two/2.0")[turn % 2]
            device.foldersync(key=77000 + turn)
        why = self.why(device)
        self.assertEqual(why["cause"], "shared-id")
        self.assertIn("two faces", self.admin.run("device", "why", device.user,
                                                  device.device_id).stdout)
        self.assertEqual(why["clone"]["returns"], 4)
        clone = self.admin.device(device.user, device.device_id)["clone"]
        self.assertEqual((clone["user_agent"], clone["device_type"]), ("One/1.0", "TestPhone"))
        upgraded = self.device(agent="One/1.0")
        for agent in ("One/1.0", "One/1.1", "One/1.2"):
            upgraded.agent = agent
            upgraded.foldersync(key=0)
        self.assertIsNone(self.admin.device(upgraded.user, upgraded.device_id)["clone"])

    def test_unknown_device(self):
        for user, device in (("ann", "NOSUCH"), ("nobody", "X")):
            with self.assertRaises(Failed) as caught:
                self.admin("device", "why", user, device)
            self.assertIn("no device of that id", caught.exception.err)

    def test_no_key_is_shown_anywhere(self):
        device = self.device()
        keys = set()
        for _ in range(3):
            temporary = device.offer()
            keys |= {str(temporary), device.provision_ack(temporary).key}
        device.foldersync(key=3999999999)
        keys.add("3999999999")
        shown = json.dumps(self.why(device))
        shown += self.admin.run("device", "why", device.user, device.device_id).stdout
        wait_for("the steps to be written", lambda: any(
            b"not-accepted" in p.read_bytes() or b"confirmed" in p.read_bytes()
            for p in self.server.state.glob("*.db*")))
        stored = b"".join(p.read_bytes() for p in self.server.state.rglob("*") if p.is_file())
        for key in keys:
            self.assertNotIn(key, shown)
            self.assertNotIn(key, self.server.log)
            self.assertNotIn(key.encode(), stored)


class Configured(WhyCase, OwnServerCase):
    def test_policy_changed_and_refresh_due(self):
        device = self.device()
        device.handshake()
        self.admin.policy("DevicePasswordEnabled=1")
        self.assertCause(device, "policy-changed", "has changed since the device confirmed it")
        device.foldersync()
        steps = self.assertCause(device, "policy-changed", "has changed since")
        self.assertEqual(steps[-1]["status"], 143)
        device.handshake()
        self.admin.policy("RefreshInterval=1")
        time.sleep(2.1)
        self.assertEqual(device.foldersync().status, 143)
        self.assertCause(device, "refresh-due", "RefreshInterval is over")

    def test_uncarried(self):
        self.admin.policy("RequireDeviceEncryption=1", "AllowCamera=0")
        device = self.device("12.0")
        device.foldersync(key=0)
        self.assertCause(device, "uncarried", "12.0 cannot carry: .*(AllowCamera|RequireDevice)",
                         "AllowPartial=1")

    def test_let_in_without_key(self):
        self.admin.policy("AllowNonProvisionable=1")
        device = self.device()
        self.assertFolders(device.foldersync(key=None))
        self.assertCause(device, "non-provisionable", "let in without a key")

    def test_user_disabled(self):
        device = self.device()
        device.handshake()
        self.admin("user", "disable", "ann")
        self.assertCause(device, "user-disabled", "user ann is disabled", "provost user enable ann")

    def test_rules(self):
        device, other = self.device(agent="Bad/1"), self.device(agent="Odd/1")
        device.foldersync(key=0)
        other.handshake()
        self.admin("rule", "add", "block", "UserAgent=Bad/*", "--yes")
        self.admin("rule", "add", "quarantine", "UserAgent=Odd/*", "--yes")
        self.assertCause(device, "blocked-rule", r"blocked by rule \d+", "provost device allow ann")
        self.assertCause(other, "quarantined", r"decided by rule \d+", "provost device allow ann")

    def test_words_about_one_device(self):
        device = self.device()
        device.foldersync(key=0)
        self.admin("device", "block", "ann", device.device_id)
        self.assertCause(device, "blocked-personal", "administrator has blocked",
                         "provost device allow ann " + device.device_id)
        self.admin("device", "quarantine", "ann", device.device_id)
        self.assertCause(device, "quarantined", "decided by personal")
        self.admin("device", "allow", "ann", device.device_id)
        self.assertCause(device, "key-zero")
        unseen = self.device()
        self.admin("device", "allow", "ann", unseen.device_id)
        self.assertCause(unseen, "never-seen", "never asked for anything")

    def test_wipe(self):
        device, old = self.device("16.1"), self.device("14.1")
        for one in (device, old):
            one.handshake()
            self.admin("device", "wipe", "ann", one.device_id)
        wipe = self.admin("device", "show", "ann", device.device_id)["wipe"]
        self.assertCause(device, "wipe-pending",
                         rf"wipe of the account was ordered by uid \d+.*request {wipe['id']}",
                         "provost device cancel-wipe ann " + device.device_id)
        self.assertCause(old, "wipe-waits", "version 14.1 of the device does not know such a wipe")
        device.provision(None)
        device.provision([("AccountOnlyRemoteWipe", [("Status", "2")])])
        self.assertCause(device, "wipe-failed", "says that the remote wipe .* has failed")
        device.provision([("AccountOnlyRemoteWipe", [("Status", "1")])])
        steps = self.assertCause(device, "wiped", "has confirmed its remote wipe",
                                 "provost device allow ann")
        self.assertEqual([(s["step"], s["said"]) for s in steps[-3:]],
                         [("wipe-directive", 0), ("wipe-directive", 2), ("wipe-acknowledged", 1)])

    def test_steps_survive_stop_and_kill(self):
        device = self.device()
        device.foldersync(key=0)
        self.server.restart()
        device.close()
        self.assertEqual([s["status"] for s in self.why(device)["steps"]], [142])
        device.foldersync(key=4100000000)
        self.assertEqual([s["status"] for s in self.why(device)["steps"]], [142, 144])
        # Written behind within seconds, with what was there before.
        time.sleep(5)
        self.server.restart(kill=True)
        device.close()
        self.assertEqual([s["status"] for s in self.why(device)["steps"]], [142, 144])

    def test_what_is_removed_leaves_no_steps(self):
        device = self.device()
        device.foldersync(key=0)
        self.why(device)
        self.admin("user", "remove", "ann", "--yes")
        with self.assertRaises(Failed):
            self.why(device)


class Limits(WhyCase, OwnServerCase):
    config = ('devices_per_user = 1; protocol_version_min = "12.1"; '
              "require_device_information = true;")

    def test_limits(self):
        first, second, old = self.device(), self.device(), self.device("12.0")
        first.handshake()
        second.foldersync(key=0)
        self.assertCause(second, "blocked-devices-per-user", "as many devices", "--user ann")
        old.foldersync(key=0)
        self.assertCause(old, "blocked-version", "speaks protocol version 12.0")
        bob = self.device(user="bob")
        bob.provision_initial(information=None)
        self.assertCause(bob, "no-device-information", "does not say what it is",
                         "require_device_information = false")


class Loop(WhyCase, OwnServerCase):
    config = "damping = true;"

    def test_slowed_then_blocked(self):
        device = self.device()
        while device.foldersync(key=0).http == 200:
            pass
        steps = self.assertCause(device, "slowed", "loops .refusal after refusal", "later|account")
        self.assertEqual((steps[-1]["step"], steps[-1]["http"]), ("slowed", 503))
        row = self.admin.device(device.user, device.device_id)
        self.assertRegex(row["slowed_by"], "refusal after refusal")
        while device.foldersync(key=0).http == 503:
            pass
        self.assertCause(device, "loop-blocked", r"shut out until 20\d\d-", "provost device allow")
        self.assertEqual([r["device_id"] for r in self.admin("device", "list", "--loop")],
                         [device.device_id])


class Documented(unittest.TestCase):
    def test_every_cause_is_documented(self):
        table = (TREE / "src/server/gate/trail/why.h").read_text(encoding="utf-8")
        page = (TREE / "docs/why.md").read_text(encoding="utf-8")
        names = re.findall(r'X\(\w+, "([\w-]+)"', table)
        self.assertGreater(len(names), 20)
        self.assertEqual(re.findall(r"^\| `([\w-]+)` \|", page, re.M), names)


class Lists(OwnServerCase):
    def ids(self, *args):
        return [row["device_id"] for row in self.admin("device", "list", *args)]

    def test_filters(self):
        a = self.device(device_id="AAA")
        b = self.device(device_id="BBB", user="bob")
        c = self.device(device_id="CCC")
        a.handshake()
        b.foldersync(key=0)
        c.provision_ack(c.offer(), status=3)
        revision = str(self.admin.device("ann", "AAA")["revision"])
        rows = [((), ["AAA", "CCC", "BBB"]),
                (("--state", "provisioned"), ["AAA"]), (("--state", "refused"), ["CCC"]),
                (("--state", "wiped"), []), (("--user", "bob"), ["BBB"]),
                (("--policy", "default"), ["AAA", "CCC", "BBB"]), (("--policy", "other"), []),
                (("--revision", revision), ["AAA"]), (("--revision", "999"), []),
                (("--outcome", "refused"), ["CCC"]), (("--outcome", "none"), ["BBB"]),
                (("--loop",), []), (("--not-seen-since", "30d"), []),
                (("--not-seen-since", "2100-01-01"), ["AAA", "CCC", "BBB"]),
                (("--limit", "1"), ["AAA"]), (("--limit", "1", "--after", "ann/AAA"), ["CCC"]),
                (("--after", "ann/CCC"), ["BBB"]), (("--after", "bob/BBB"), []),
                (("--after", "ann/B", "--user", "ann"), ["CCC"])]
        for args, want in rows:
            with self.subTest(args=args):
                self.assertEqual(self.ids(*args), want)
        row = self.admin.device("ann", "CCC")
        self.assertEqual((row["outcome"], row["said"], row["outcome_revision"], row["wipe_state"]),
                         ("refused", 3, int(revision), "none"))

    def test_bad_filters_are_told(self):
        for args, says in ((("--state", "fine"), "state"), (("--limit", "0"), "limit"),
                           (("--after", "x"), "USER/DEVICE"), (("--revision", "x"), "revision"),
                           (("--not-seen-since", "soon"), "30d")):
            with self.subTest(args=args), self.assertRaises(Failed) as caught:
                self.admin("device", "list", *args)
            self.assertIn(says, caught.exception.err)

    def test_other_users_of_an_id(self):
        for user in ("ann", "bob"):
            self.device(user=user, device_id="123456").foldersync(key=0)
        self.device(device_id="ALONE").foldersync(key=0)
        self.assertEqual([r["other_users"] for r in self.admin("device", "list")],
                         [["bob"], [], ["ann"]])
        self.assertIn("shared", self.admin.run("device", "list").stdout)

    def test_compliance(self):
        self.device().handshake()
        self.device().handshake()
        self.device().foldersync(key=0)
        refused = self.device()
        refused.provision_ack(refused.offer(), status=2)
        self.admin.policy("AllowPartial=1", "AllowExternalManagement=1", "DevicePasswordEnabled=1")
        for status in (2, 4):
            device = self.device()
            device.provision_ack(device.offer(), status=status)
        rows = self.admin("device", "compliance")
        self.assertEqual([r["policy"] for r in rows], ["default"] * 3)
        self.assertEqual(rows[0]["revision"], 0)
        self.assertEqual((rows[0]["devices"], rows[0]["never_provisioned"]), (1, 1))
        self.assertEqual((rows[1]["devices"], rows[1]["compliant"], rows[1]["refused"],
                          rows[1]["refresh_due"]), (3, 2, 1, 2))
        self.assertEqual((rows[2]["devices"], rows[2]["partial"], rows[2]["external"]), (2, 1, 1))
        text = self.admin.run("device", "compliance").stdout
        self.assertIn("say of themselves", text)
        self.assertRegex(text, re.compile(r"^default +-", re.M))


class ClonesAfterARestart(OwnServerCase):
    def test_the_other_face_comes_back_with_the_steps(self):
        device = self.device(agent="One/1.0")
        for agent in ("One/1.0", "Two/2.0") * 3:
            device.agent = agent
            device.foldersync(key=0)
        known = self.admin.device(device.user, device.device_id)["clone"]
        self.assertEqual(known["returns"], 4)
        self.server.restart()
        device.close()
        device.foldersync(key=0)  # its trail is made anew
        listed = wait_for("the clone", lambda: self.admin.device(device.user,
                                                                 device.device_id)["clone"])
        self.assertEqual(listed, known)


if __name__ == "__main__":
    unittest.main()

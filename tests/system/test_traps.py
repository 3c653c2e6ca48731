"""Ten traps that other servers have fallen into, one class each: what must hold, over real sockets."""

import contextlib
import csv
import resource
import sqlite3
import time
import unittest

from harness import eas, wbxml
from harness.admin import Failed
from harness.case import OwnServerCase, ServerCase
from harness.eas import VERSIONS, device_information, number
from harness.server import TREE, Server, wait_for

DAY = 24 * 60 * 60
DOCUMENT = "Policies/Policy/Data/EASProvisionDoc"
KNOWN = ("12.1", "14.1", "16.1")  # one of each way to be told, and both wipes


def table(name):
    """Rows of a table of data/ as dicts."""
    lines = (TREE / "data" / name).read_text(encoding="utf-8").splitlines()
    return list(csv.DictReader([line for line in lines if not line.startswith("#")],
                               delimiter="\t", quoting=csv.QUOTE_NONE))


SETTINGS = [row for row in table("policy.tsv") if row["first"] != "-"]
COMMANDS = [row for row in table("commands.tsv") if row["key_rule"] != "exempt"]


def numbers(row):
    """Lowest and highest allowed value of a setting that is a number."""
    apart = ".." if ".." in row["allowed"] else ","
    values = [int(value) for value in row["allowed"].split(apart)]
    return min(values), max(values)


def another(row):
    """A value that makes a difference."""
    if row["kind"] == "list":
        return "a.exe" if row["item"] == "ApplicationName" else "0123456789abcdef" * 2 + "01234567"
    lowest, highest = numbers(row)
    unset = row["unset"] if row["unset"] != "no-limit" else row["no_limit"]
    return str(highest if unset == str(lowest) else lowest) if row["kind"] in ("bool", "enum") \
        else str(max(lowest, 3))


def carried(row, version):
    return row["wap"] == "wap" if version == "2.5" else number(version) >= number(row["first"])


class TrapCase(OwnServerCase):
    def provisioned(self, version="14.1", **more):
        device = self.device(version, **more)
        device.handshake()
        return device

    def state(self, device):
        return self.admin.device(device.user, device.device_id)["state"]

    def order(self, what, device, *args):
        return self.admin("device", what, device.user, device.device_id, *args)

    def wipe(self, device, scope="RemoteWipe"):
        whole = ["--whole-device"] if scope == "RemoteWipe" else []
        return self.order("wipe", device, *whole, "--yes")

    def assertDirective(self, answer, scope="RemoteWipe", status=1):
        """The wipe alone: no policy, no key."""
        self.assertEqual((answer.http, answer.tree),
                         (200, ("Provision", [("Status", str(status)), (scope, None)])), answer)

    def assertLetIn(self, device):
        self.assertFolders(device.foldersync())


class T01Hash(TrapCase):
    """A hash that never changes, or changes for nothing. There and back, and treatments:
    test_handshake.PolicyChange; assignments and roll-outs: test_policies.Refresh, test_policies.Rolls."""

    def setUp(self):
        super().setUp()
        self.admin.policy("DevicePasswordEnabled=1")
        self.devices = [self.provisioned(version) for version in VERSIONS]

    def asked(self):
        """Versions whose device is told that the policy has changed."""
        found = []
        for device in self.devices:
            answer = device.foldersync()
            if (answer.http, answer.status) != (200, 1):
                self.assertRefused(answer, "FolderSync", 143, device.version)
                found.append(device.version)
        return found

    def test_any_real_edit_is_seen_by_exactly_those_who_carry_it(self):
        for row in SETTINGS[1:]:
            with self.subTest(setting=row["name"]):
                see = [version for version in VERSIONS if carried(row, version)]
                answer = self.admin.policy(f"{row['name']}={another(row)}")
                self.assertEqual(answer["devices_to_ask"], len(see), answer)
                self.assertEqual(self.asked(), see)
                self.admin.policy(f"{row['name']}=")
                self.assertEqual(self.asked(), [])

    def test_an_edit_without_effect_asks_nobody(self):
        for row in SETTINGS[1:]:
            if row["empty"] == "empty":
                continue  # what is unset has a tag of its own, not a value
            with self.subTest(setting=row["name"]):
                unset = row["no_limit"] if row["unset"] == "no-limit" else row["unset"]
                answer = self.admin.policy(f"{row['name']}={unset}")
                self.assertEqual(answer["devices_to_ask"], 0, answer)
                self.assertEqual(self.asked(), [])


class T02TemporaryKey(TrapCase):
    """A temporary key that opens the gate, or is not looked at. What acknowledges nothing:
    test_handshake.Acknowledgement; the final key that is not let into an acknowledgement: there."""

    def test_it_opens_no_command(self):
        for version in KNOWN:
            device = self.device(version)
            temporary = device.offer()
            for row in COMMANDS:
                if row["key_rule"] == "needed":
                    with self.subTest(version=version, cmd=row["name"]):
                        answer = device.command(row["name"], b"x", key=temporary)
                        assert_refused(self, answer, row, 144, version)

    def test_it_lasts_a_day(self):
        rows = {"nearly a day old": (DAY - 600, 1), "more than a day old": (DAY + 1, 5)}
        devices = {name: self.device() for name in rows}
        keys = {name: device.offer() for name, device in devices.items()}
        self.server.stop()
        with contextlib.closing(sqlite3.connect(self.server.state / "provost.db")) as db, db:
            for name, (age, _) in rows.items():
                db.execute("UPDATE offer SET at = at - ? WHERE device_id = ?",
                           (age, devices[name].device_id))
        self.server.start()
        for name, (_, status) in rows.items():
            with self.subTest(row=name):
                devices[name].close()
                answer = devices[name].provision_ack(keys[name])
                self.assertEqual((answer.status, answer.policy_status), (1, status), answer)

    def test_a_wrong_key_is_told_and_logged(self):
        device = self.device()
        right = device.offer()
        answer = device.provision_ack(right ^ 1)
        self.assertEqual((answer.http, answer.status, answer.policy_status), (200, 1, 5), answer)
        self.assertIsNone(answer.key)
        wait_for("a line", lambda: device.device_id in self.server.log)
        self.assertNotIn(str(right ^ 1), self.server.log)
        self.assertOffered(device.provision_ack(right))


class T03Status(TrapCase):
    """The Status of the acknowledgement that nobody reads. Values that are none:
    test_handshake.Acknowledgement.test_malformed_requests."""

    TREATMENTS = {2: ("AllowPartial", 139), 3: ("AllowNonProvisionable", 139),
                  4: ("AllowExternalManagement", 145)}
    OUTCOMES = {1: "compliant", 2: "partial", 3: "not-applied", 4: "external"}

    def test_every_status_and_every_treatment(self):
        for mask in range(8):
            allowed = {status: bool(mask >> bit & 1)
                       for bit, status in enumerate(self.TREATMENTS)}
            self.admin.policy(*[f"{self.TREATMENTS[status][0]}={int(yes)}"
                                for status, yes in allowed.items()])
            for version in VERSIONS:
                for status in (1, 2, 3, 4):
                    with self.subTest(version=version, status=status, allowed=allowed):
                        self.check(self.device(version), status, allowed.get(status, True))

    def check(self, device, status, allowed):
        temporary = device.offer()
        answer = device.provision_ack(temporary, status)
        if allowed:
            self.assertOffered(answer)
            device.key = int(answer.key)
            self.assertLetIn(device)
            self.assertEqual(self.state(device), "provisioned")
        else:
            refusal = self.TREATMENTS[status][1]
            self.assertEqual((answer.http, answer.tree),
                             (200, ("Provision", [("Status", str(refusal))])), answer)
            self.assertRefused(device.foldersync(key=temporary), "FolderSync", 144, device.version)
            self.assertEqual(self.state(device), "refused")
        outcome = self.OUTCOMES[status] if allowed else "refused"
        self.assertEqual(self.admin.device(device.user, device.device_id)["outcome"], outcome)


class T04WipeLife(TrapCase):
    """A wipe that is over when it is sent, or never. Step by step, over kill -9, cancelled, expired:
    test_wipe.Conformance, test_wipe.Life, test_wipe.Restart; every order in every state:
    test_server_wipes."""

    ROWS = [(version, "RemoteWipe") for version in VERSIONS] + [("16.1", "AccountOnlyRemoteWipe")]

    def test_from_the_order_to_the_end(self):
        for version, scope in self.ROWS:
            with self.subTest(version=version, scope=scope):
                self.live_through(self.provisioned(version), scope)

    def live_through(self, device, scope):
        old, temporary = device.key, device.offer()
        self.wipe(device, scope)
        self.assertEqual(self.state(device), "wipe-pending")
        self.assertRefused(device.foldersync(), "FolderSync", 140, device.version)
        self.assertDirective(device.poll(), scope)
        self.assertDirective(device.provision_initial(information=None), scope)
        self.assertEqual(self.state(device), "wipe-pending", "sent is not done")
        self.assertDirective(device.provision_ack(temporary), scope)
        self.assertDirective(device.wipe_ack(2, scope), scope, 2)
        self.assertEqual(self.state(device), "wipe-pending", "failed is not done")
        self.assertDirective(device.poll(), scope)
        done = device.wipe_ack(1, scope)
        self.assertEqual((done.http, done.tree), (200, ("Provision", [("Status", "1")])), done)
        self.stay_out(device, old, scope)
        self.order("allow", device)
        self.assertEqual(self.state(device), "new")
        self.assertRefused(device.foldersync(key=old), "FolderSync", 144, device.version)
        device.handshake()
        self.assertLetIn(device)

    def stay_out(self, device, old, scope):
        for _ in range(2):
            self.assertEqual(self.state(device), "wiped")
            for key in (old, 0):
                self.assertRefused(device.foldersync(key=key), "FolderSync", 129, device.version)
            for answer in (device.poll(), device.provision_initial()):
                self.assertNotIn(b"Wipe", repr(answer).encode())
                self.assertIsNone(answer.key if answer.body else None)
            again = device.wipe_ack(1, scope)
            self.assertEqual(again.tree, ("Provision", [("Status", "1")]), again)


class T05WhoConfirms(TrapCase):
    """A wipe that a stranger may call done. Others, the other kind, unsolicited:
    test_wipe.Acknowledgements; a user that is switched off: test_wipe.Life; who has ordered it:
    test_wipe.Orders.test_orders_are_in_the_audit_log."""

    def test_only_what_was_ordered_and_only_status_1(self):
        device = self.provisioned("16.1")
        self.wipe(device)
        self.assertDirective(device.poll())
        device.wipe_ack(1, "AccountOnlyRemoteWipe")
        self.assertEqual(self.state(device), "wipe-pending")
        for status in (0, 2, 3, 4, 200, "", "yes", "1.0"):
            with self.subTest(status=status):
                device.wipe_ack(status)
                self.assertEqual(self.state(device), "wipe-pending")
                self.assertRefused(device.foldersync(), "FolderSync", 140, "16.1")


def assert_refused(case, answer, row, status, version):
    """As assertRefused; a command without a root of its own is told by HTTP in every version."""
    if row["root"] == "-":
        version = "12.1"
    case.assertRefused(answer, row["name"], status, version)


class T06Holes(TrapCase):
    """Commands that go round the gate; a Ping that sleeps on; devices that nobody asks, unseen.
    A changed policy under a Ping: test_handshake.PingRules; a wipe: test_wipe.Life."""

    def commands(self, device, key):
        for row in COMMANDS:
            if row["key_rule"] == "needed":
                with self.subTest(cmd=row["name"]):
                    yield row, device.command(row["name"], b"x", key=key)

    def test_every_command_of_the_table(self):
        """For each way to be kept out; with the right key where there is one."""
        for version in KNOWN:
            new, blocked, wiped = self.device(version), *[self.provisioned(version) for _ in "12"]
            self.order("block", blocked)
            self.wipe(wiped)
            for device, key, status in ((new, 0, 142), (blocked, blocked.key, 129),
                                        (wiped, wiped.key, 140)):
                with self.subTest(version=version, status=status):
                    for row, answer in self.commands(device, key):
                        assert_refused(self, answer, row, status, version)
            self.order("cancel-wipe", wiped)
            self.order("allow", blocked)
            self.assertLetIn(wiped)
            self.assertLetIn(blocked)

    def test_a_command_that_is_not_in_the_table(self):
        device = self.provisioned()
        self.assertEqual(device.command("NotExist", b"x").http, 501)
        self.assertEqual(self.device(form="base64").command(200, b"x").http, 501)

    def test_a_waiting_ping_is_told_of_a_block(self):
        device = self.provisioned()
        folders = device.foldersync().tree[1][2][1]
        inbox = next(dict(row)["ServerId"] for tag, row in folders
                     if tag == "Add" and dict(row)["Type"] == "2")
        device.start("Ping", device.ping_tree(900, [inbox]), key=None)
        wait_for("a waiting Ping", lambda: self.admin("status")["waiting_pings"] == 1)
        self.order("block", device)
        self.assertEqual(device.receive().tree, ("Ping", [("Status", "7")]))
        self.assertEqual(device.ping(900, [inbox]).tree, ("Ping", [("Status", "7")]))
        self.assertRefused(device.foldersync(), "FolderSync", 129, "14.1")

    def test_a_device_without_a_key_is_seen_and_its_time_ends(self):
        end = int(time.time()) + 6
        until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(end))
        self.admin.policy("AllowNonProvisionable=1", f"AllowNonProvisionableUntil={until}")
        devices = [self.device(version) for version in VERSIONS]
        for device in devices:
            with self.subTest(version=device.version):
                self.assertFolders(device.foldersync(key=None))
                row = self.admin.device(device.user, device.device_id)
                self.assertEqual(row["outcome"], "non-provisionable")
                self.assertRefused(device.foldersync(key=0), "FolderSync", 142, device.version)
        wait_for("their time to end", lambda: time.time() > end + 0.5)
        for device in devices:
            with self.subTest(version=device.version):
                self.assertRefused(device.foldersync(key=None), "FolderSync", 141, device.version)


class T07KeyValue(ServerCase):
    """Keys that are guessed, shared or cannot be said. Their form and their repetition:
    test_handshake.FourPhases and test_server_machine:new_keys."""

    def test_over_many_handshakes(self):
        devices = [self.device(version, form) for version, form in eas.MATRIX] * 8
        keys, order = [], []
        for device in devices:
            before = device.key
            temporary = device.offer()
            final = device.provision_ack(temporary)
            device.key = int(final.key)
            self.assertNotEqual(device.key, before)
            self.assertFolders(device.foldersync())
            keys += [temporary, device.key]
            order.append(device.key > temporary)
        self.assertEqual(len(set(keys)), len(keys), "one key twice")
        self.assertTrue(all(0 < key < 2**32 for key in keys))
        for bit in range(32):  # each is set in half of them; 6 sigma
            some = sum(key >> bit & 1 for key in keys)
            self.assertLess(abs(some - len(keys) / 2), 3 * len(keys) ** 0.5, f"bit {bit}")
        self.assertGreater(len(set(order)), 1, "the final key follows from the temporary one")


class T08Scope(TrapCase):
    """One DeviceId, several accounts. Keys of both: test_handshake.Identity; the account as the
    default, the others named first, forbidden wipes: test_wipe.WholeDevice; whose policy applies:
    test_policies.Layers."""

    def shared(self, version="16.1"):
        return [self.provisioned(version, user=user, device_id="SHARED1") for user in ("ann", "bob")]

    def test_two_users_on_one_phone(self):
        ann, bob = self.shared()
        self.order("block", ann)
        self.assertRefused(ann.foldersync(), "FolderSync", 129, "16.1")
        self.assertLetIn(bob)
        self.order("remove", ann, "--yes")
        self.assertIsNone(self.admin.device("ann", "SHARED1"))
        self.assertLetIn(bob)

    def test_a_wipe_of_the_account_touches_one_row(self):
        ann, bob = self.shared()
        self.wipe(ann, "AccountOnlyRemoteWipe")
        self.assertDirective(ann.poll(), "AccountOnlyRemoteWipe")
        self.assertEqual(bob.poll().tree, ("Provision", [("Status", "1")]))
        ann.wipe_ack(1, "AccountOnlyRemoteWipe")
        self.assertEqual((self.state(ann), self.state(bob)), ("wiped", "provisioned"))
        self.assertLetIn(bob)
        self.assertLetIn(self.provisioned("16.1", user="carl", device_id="SHARED1"))


class T09Store(TrapCase):
    """Two stores that disagree, and a gate that opens when one is away. Handshakes on a full disk:
    test_durability.FullDisk."""

    def setUp(self):
        self.server = Server(ignore_signals=True)
        self.addCleanup(self.server.close)
        self.admin = self.server.admin

    def limit(self, most):
        """Of bytes in a file; with 0 nothing can be written at all."""
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.prlimit(self.server.pid, resource.RLIMIT_FSIZE, (most, hard))

    def assertAway(self, answer):
        self.assertEqual((answer.http, answer.body), (503, b""), answer)
        self.assertGreater(int(answer.headers["Retry-After"]), 0)

    def test_never_no_policy(self):
        """An offer opens nothing, so it may be made; it carries the policy. A key is not given."""
        known, new = self.provisioned(), self.device()
        offered = self.device()
        temporary = offered.offer()
        self.limit(0)
        for _ in range(3):
            for device in (known, new):
                answer = device.provision_initial()
                if answer.http != 503:
                    self.assertOffered(answer)
                    self.assertTrue(answer.has(DOCUMENT))
                    answer = device.provision_ack(answer.key)
                self.assertAway(answer)
            self.assertAway(offered.provision_ack(temporary))
        for device, key in ((new, 0), (known, known.key ^ 1)):
            answer = device.foldersync(key=key)
            self.assertNotEqual((answer.http, answer.body and answer.status), (200, 1), answer)
        self.limit(resource.RLIM_INFINITY)
        new.handshake()
        self.assertLetIn(known)
        self.assertLetIn(new)

    def test_an_order_that_is_not_stored_is_none(self):
        device = self.provisioned("16.1")
        self.limit(0)
        name = (device.user, device.device_id)
        for order in (("device", "block", *name), ("device", "wipe", *name, "--yes"),
                      ("policy", "set", "default", "AllowCamera=0")):
            with self.subTest(order=order[:2]):
                with self.assertRaises(Failed):
                    self.admin(*order)
                answer = device.settings_user_information()  # writes nothing
                self.assertEqual((answer.http, answer.status), (200, 1), answer)
                self.assertEqual(self.state(device), "provisioned")
        self.limit(resource.RLIM_INFINITY)
        self.server.restart(kill=True)
        device.close()
        self.assertLetIn(device)
        self.order("block", device)
        self.assertRefused(device.foldersync(), "FolderSync", 129, "16.1")


class T10Validation(TrapCase):
    """A policy that is found wrong when a device asks for it. Requests that are malformed:
    test_handshake.Acknowledgement.test_malformed_requests."""

    def test_refused_when_saved_and_nothing_changes(self):
        before = self.admin("policy", "show", "default")
        for row in SETTINGS:
            wrong = ["\x01"] if row["kind"] == "list" else ["yes", "1.5", "0x1", "99999999999"]
            if row["kind"] != "list":
                lowest, highest = numbers(row)
                wrong += [str(lowest - 1), str(highest + 1)]
            for value in wrong:
                with self.subTest(setting=row["name"], value=value):
                    run = self.admin.run("policy", "set", "default", f"{row['name']}={value}")
                    self.assertNotEqual(run.returncode, 0)
                    self.assertIn(row["name"], run.stderr)
        self.assertEqual(self.admin("policy", "show", "default"), before)

    def test_everything_set_is_sent_to_every_version_in_order(self):
        self.admin.policy("AllowPartial=1", *[f"{row['name']}={another(row)}" for row in SETTINGS])
        for version in VERSIONS[1:]:
            with self.subTest(version=version):
                offer = self.device(version).provision_initial()
                self.assertOffered(offer)
                document = wbxml.nodes(offer.tree, DOCUMENT)[0][1]
                due = [row for row in SETTINGS if carried(row, version)]
                self.assertEqual([name for name, _ in document], [row["name"] for row in due])
                for row, (_, value) in zip(due, document):
                    expected = another(row)
                    if row["kind"] == "list":
                        self.assertEqual(len(value), 1, row["name"])
                        value = value[0][1]
                        expected = value if row["item"] == "Hash" else expected
                    self.assertEqual(value, expected, row["name"])
        self.assertOffered(self.device("2.5").provision_initial())

    def test_what_is_unset_harms_nobody(self):
        """An empty MaxAttachmentSize is legal, and was another server's end."""
        self.admin.policy(*[f"{row['name']}={another(row)}" for row in SETTINGS])
        self.admin.policy(*[f"{row['name']}=" for row in SETTINGS])
        for version in VERSIONS:
            with self.subTest(version=version):
                self.assertLetIn(self.provisioned(version))

    def test_the_order_of_an_answer(self):
        """DeviceInformation stands before Status, Status before Policies."""
        for version in VERSIONS:
            with self.subTest(version=version):
                device = self.device(version)
                offer = device.provision_initial(information=device_information())
                self.assertEqual(wbxml.tags(offer.tree),
                                 ["Settings:DeviceInformation", "Status", "Policies"])

    def test_an_acknowledgement_that_is_refused_has_a_status(self):
        for version in VERSIONS:
            for key in (0, 1, "x", "9" * 64):
                with self.subTest(version=version, key=key):
                    answer = self.device(version).provision_ack(key)
                    self.assertEqual((answer.http, answer.status, answer.policy_status),
                                     (200, 1, 5), answer)
                    self.assertFalse(answer.has("Policies/Policy/Data"))


if __name__ == "__main__":
    unittest.main()

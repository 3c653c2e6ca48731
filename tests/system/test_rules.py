"""Access rules: who may come in, who decides, and what changes when rules do."""

import http.client
import json
import os
import socket
import unittest

from harness.admin import Failed
from harness.case import OwnServerCase, ServerCase
from harness.eas import VERSIONS, device_information, number
from harness.server import wait_for


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
        run = self.admin.on_a_terminal(text, *args)
        return run.returncode, run.stdout, run.stderr

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

    def api(self, method, path, **body):
        """HTTP code and JSON of a call without the program between."""
        call = http.client.HTTPConnection("localhost")
        call.sock = socket.socket(socket.AF_UNIX)
        call.sock.connect(str(self.server.socket))
        self.addCleanup(call.close)
        call.request(method, path, json.dumps(body), {"Content-Type": "application/json"})
        answer = call.getresponse()
        return answer.status, json.loads(answer.read())

    def test_the_interface_wants_to_be_confirmed(self):
        rule = {"action": "block", "conditions": {"DeviceType": "Tablet"}}
        for name, method, path, body, code in (
                ("default", "PUT", "/v1/access", {"default": "block"}, 200),
                ("rule", "POST", "/v1/rules", rule, 201)):
            with self.subTest(name):
                http_code, told = self.api(method, path, **body)
                self.assertEqual((http_code, told["code"], told["devices"]), (409, "confirm", 1))
                self.assertFolders(self.inside.foldersync())
                http_code, told = self.api(method, path, dry_run=True, **body)
                self.assertEqual((http_code, told["dry_run"], told["devices"]), (200, True, 1))
                self.assertFolders(self.inside.foldersync())
                http_code, told = self.api(method, path, confirm=True, **body)
                self.assertEqual((http_code, told["changed"], told["devices"]), (code, True, 1))
                self.assertRefused(self.inside.foldersync(), "FolderSync", 129, "14.1")
                self.admin("rule", "default", "allow")
        self.assertEqual(self.api("DELETE", "/v1/rules/1?dry_run=true")[0], 200)
        self.assertEqual(self.api("DELETE", "/v1/rules/1")[0], 200)  # lets in, needs no word
        self.assertEqual(self.api("DELETE", "/v1/rules/1")[0], 404)
        self.assertEqual(self.api("POST", "/v1/rules", action="block", conditions={"OS": 1})[0], 422)
        acts = [line["act"] for line in self.admin("audit") if line["actor"].startswith("uid ")]
        self.assertEqual(acts, ["access.default", "access.default", "rule.add", "rule.remove"])

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

    def test_a_test_lists_by_user_and_device_id(self):
        for n in (5, 2, 7, 1, 4, 6, 3):
            for user in ("bob", "ann"):
                self.device(user=user, device_id=f"ORDER{n}", device_type="Ordered").foldersync()
        found = self.admin("rule", "test", "block", "DeviceType=Ordered")
        self.assertEqual([(d["user"], d["device_id"]) for d in found["devices"]],
                         [(u, f"ORDER{n}") for u in ("ann", "bob") for n in range(1, 8)])

    def test_of_many_devices_the_first_are_named(self):
        numbers = [n * 379 % 1007 for n in range(1007)]  # each once
        for n in numbers:
            self.device(device_id=f"MANY{n:04}", device_type="Many").foldersync()
        found = self.admin("rule", "test", "block", "DeviceType=Many")
        self.assertEqual(found["matching"], 1007)
        self.assertEqual([d["device_id"] for d in found["devices"]],
                         [f"MANY{n:04}" for n in range(1000)])


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


def sync(device, key, collection="1", more=(), root=()):
    """A Sync of one collection as its version sends it."""
    old = [("Class", "Email")] if number(device.version) < 121 else []
    content = old + [("SyncKey", str(key)), ("CollectionId", collection)] + list(more)
    return device.command("Sync", ("Sync", [("Collections", [("Collection", content)])]
                                   + list(root)))


class Quarantine(OwnServerCase):
    config = '''domain = "example.org";
        quarantine = { subject = "Wait, %u"; text = "Your %t:\\n%d waits. 100%%"; };'''

    def setUp(self):
        super().setUp()
        self.maildir = self.server.maildir("ann").folder("Work")
        self.maildir.deliver(subject="Secret")
        self.admin("rule", "add", "quarantine", "DeviceType=TestPhone", "--yes")

    def quarantined(self, version, **more):
        """A device that has provisioned and knows its folders."""
        device = enrol(self, self.device(version, **more))
        answer = device.foldersync()
        self.assertFolders(answer)
        self.assertEqual(answer.text("Changes/Count"), "1")
        self.assertEqual((answer.text("Changes/Add/DisplayName"), answer.text("Changes/Add/Type")),
                         ("Inbox", "2"))
        device.inbox = answer.text("Changes/Add/ServerId")
        device.folder_key = answer.text("SyncKey")
        return device

    def told(self, device):
        """SyncKey after the message, and its ApplicationData."""
        first = sync(device, 0, device.inbox)
        self.assertEqual(first.text("Collections/Collection/Status"), "1", first)
        self.assertFalse(first.has("Collections/Collection/Commands"))
        key = first.text("Collections/Collection/SyncKey")
        answer = sync(device, key, device.inbox)
        collection = "Collections/Collection/"
        self.assertEqual(answer.text(collection + "Status"), "1", answer)
        return answer.text(collection + "SyncKey"), answer

    def test_the_message_at_each_version(self):
        for version in ("2.5", "12.0", "12.1", "14.0", "14.1", "16.0", "16.1"):
            with self.subTest(version=version):
                device = self.quarantined(version)
                key, answer = self.told(device)
                add = "Collections/Collection/Commands/Add/"
                data = add + "ApplicationData/"
                text = f"Your TestPhone:\r\n{device.device_id} waits. 100%"
                self.assertEqual(answer.text(add + "ServerId"), f"{device.inbox}:1")
                for name, value in (("To", "ann@example.org"), ("From", "postmaster@example.org"),
                                    ("Subject", "Wait, ann"), ("Read", "0"),
                                    ("MessageClass", "IPM.Note")):
                    self.assertEqual(answer.text(f"{data}Email:{name}"), value, answer)
                self.assertRegex(answer.text(data + "Email:DateReceived"),
                                 r"^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.000Z$")
                self.assertEqual(answer.has("Collections/Collection/Class"),
                                 number(version) < 121)
                if version == "2.5":
                    self.assertEqual((answer.text(data + "Email:Body"),
                                      answer.text(data + "Email:BodySize"),
                                      answer.text(data + "Email:BodyTruncated")),
                                     (text, str(len(text)), "0"))
                else:
                    body = data + "AirSyncBase:Body/"
                    self.assertEqual((answer.text(body + "Type"), answer.text(body + "Data"),
                                      answer.text(body + "EstimatedDataSize")),
                                     ("1", text, str(len(text))))
                after = sync(device, key, device.inbox)
                self.assertEqual(after.text("Collections/Collection/SyncKey"), key)
                self.assertFalse(after.has("Collections/Collection/Commands"))
                row = self.admin.device("ann", device.device_id)
                self.assertEqual((row["state"], row["access_by"]), ("quarantined", "rule 1"))

    def test_keys_and_collections(self):
        device = self.quarantined("14.1")
        key, _ = self.told(device)
        other = self.quarantined("14.1")
        other_key, _ = self.told(other)
        self.assertNotEqual(key, other_key)
        status = "Collections/Collection/Status"
        for name, sent, collection, want in (
                ("another device's key", other_key, device.inbox, "3"),
                ("an old key", "1", device.inbox, "3"),
                ("no number", "abc", device.inbox, "3"),
                ("another folder", key, "99", "12"),
                ("no number for a folder", key, "x", "12")):
            with self.subTest(name):
                answer = sync(device, sent, collection)
                self.assertEqual(answer.text(status), want, answer)
        self.server.restart(kill=True)  # nothing of it is kept
        device.close()
        self.assertEqual(sync(device, key, device.inbox).text(status), "1")
        with self.subTest("an empty body"):
            self.assertEqual(device.command("Sync").tree, ("Sync", [("Status", "13")]))

    def test_what_the_device_sends(self):
        device = self.quarantined("16.1")
        key, _ = self.told(device)
        message = f"{device.inbox}:1"
        read = [("Change", [("ServerId", message), ("ApplicationData", [("Email:Read", "1")])])]
        answer = sync(device, key, device.inbox, [("Commands", read)])
        self.assertEqual(answer.text("Collections/Collection/Status"), "1")
        self.assertFalse(answer.has("Collections/Collection/Responses"))
        more = [("Add", [("ClientId", "c1"), ("ApplicationData", [("Email:Subject", "x")])]),
                ("Delete", [("ServerId", "7:7")]), ("Fetch", [("ServerId", message)])]
        answer = sync(device, key, device.inbox, [("Commands", more)])
        responses = "Collections/Collection/Responses/"
        self.assertEqual([answer.text(responses + n + "/Status") for n in ("Add", "Delete", "Fetch")],
                         ["6", "8", "1"], answer)
        self.assertEqual(answer.text(responses + "Fetch/ApplicationData/Email:Subject"), "Wait, ann")

    def test_estimates_and_item_operations(self):
        device = self.quarantined("12.1")
        first = sync(device, 0, device.inbox).text("Collections/Collection/SyncKey")
        key, _ = self.told(device)
        for sent, collection, status, count in ((first, device.inbox, "1", "1"),
                                                (key, device.inbox, "1", "0"),
                                                ("0", device.inbox, "3", None),
                                                ("5", device.inbox, "4", None),
                                                (key, "99", "2", None)):
            with self.subTest(sent=sent, collection=collection):
                tree = ("GetItemEstimate", [("Collections", [("Collection", [
                    ("AirSync:SyncKey", sent), ("CollectionId", collection)])])])
                answer = device.command("GetItemEstimate", tree)
                self.assertEqual((answer.text("Response/Status"),
                                  answer.text("Response/Collection/Estimate")), (status, count))
        for item, status in ((f"{device.inbox}:1", "1"), ("1:9", "6")):
            with self.subTest(item=item):
                fetch = [("Store", "Mailbox"), ("AirSync:CollectionId", device.inbox),
                         ("AirSync:ServerId", item)]
                answer = device.command("ItemOperations", ("ItemOperations", [("Fetch", fetch)]))
                self.assertEqual((answer.text("Status"), answer.text("Response/Fetch/Status")),
                                 ("1", status), answer)
        self.assertEqual(device.command("SendMail", b"x").http, 501)

    def test_let_out_it_sees_all_folders_and_nothing_stays(self):
        device = self.quarantined("14.1")
        key, _ = self.told(device)
        device.start("Ping", device.ping_tree(folders=(device.inbox,)), None)
        waiting = self.device("14.1")
        waiting.device_id, waiting.key = device.device_id, device.key
        tree = ("Sync", [("Collections", [("Collection", [
            ("SyncKey", key), ("CollectionId", device.inbox)])]), ("HeartbeatInterval", "60")])
        waiting.start("Sync", tree)
        wait_for("both to wait", lambda: self.admin("status")["waiting_pings"] == 2)
        self.maildir.deliver()  # news of a mailbox that is not its own
        self.admin("rule", "remove", "1")
        self.assertEqual(device.receive().status, 7)
        self.assertEqual(waiting.receive().status, 12)
        answer = device.foldersync(device.folder_key)
        self.assertEqual((answer.status, answer.text("Changes/Count")), (1, "1"))
        self.assertEqual(answer.text("Changes/Add/DisplayName"), "Work")
        self.assertEqual(sync(device, key, device.inbox).http, 501)
        self.assertNotIn("Sync,", device.options().headers["MS-ASProtocolCommands"]
                         .replace("FolderSync,", ""))

    def test_put_in_again_it_sees_the_inbox_alone(self):
        self.admin("rule", "remove", "1")
        device = enrol(self, self.device("14.1"))
        answer = device.foldersync()
        inbox = [a for a in answer.tree[1][2][1] if a[0] == "Add"]
        self.assertEqual(len(inbox), 2)
        device.start("Ping", device.ping_tree(folders=("1",)), None)
        wait_for("it to wait", lambda: self.admin("status")["waiting_pings"] == 1)
        self.admin("rule", "default", "quarantine", "--yes")
        self.assertEqual(device.receive().status, 7)
        answer = device.foldersync(answer.text("SyncKey"))
        self.assertEqual((answer.text("Changes/Count"), answer.has("Changes/Delete")), ("1", True))

    def test_the_mailbox_is_not_opened(self):
        other = enrol(self, self.device("14.1", device_type="Tablet"))
        self.assertFolders(other.foldersync())
        os.rename(self.maildir.path, self.maildir.path.parent / "not-mounted")
        self.assertEqual(other.foldersync().status, 6)
        self.told(self.quarantined("14.1"))

    def test_wishes_for_the_wait_that_cannot_be(self):
        device = self.quarantined("14.1")
        key, _ = self.told(device)
        for name, root, want in (
                ("too short", [("HeartbeatInterval", "5")], [("Status", "14"), ("Limit", "60")]),
                ("too long", [("Wait", "99")], [("Status", "14"), ("Limit", "59")]),
                ("both", [("Wait", "5"), ("HeartbeatInterval", "60")], [("Status", "4")]),
                ("no number", [("Wait", "x")], [("Status", "4")]),
                ("partial", [("Partial", None)], [("Status", "13")])):
            with self.subTest(name):
                self.assertEqual(sync(device, key, device.inbox, root=root).tree, ("Sync", want))

    def test_malformed_requests_are_answered(self):
        device = self.quarantined("14.1")
        for name, cmd, content, status in (
                ("no collections", "Sync", [], "13"),
                ("none in it", "Sync", [("Collections", None)], "4"),
                ("no key", "Sync", [("Collections", [("Collection", [("CollectionId", "1")])])], "4"),
                ("long id", "Sync", [("Collections", [("Collection", [
                    ("SyncKey", "1"), ("CollectionId", "9" * 65)])])], "4"),
                ("odd child", "Sync", [("Collections", [("Wait", "1")])], "4"),
                ("no collections", "GetItemEstimate", [], "2"),
                ("nothing", "ItemOperations", [], "2"),
                ("other", "ItemOperations", [("EmptyFolderContents", None)], "2"),
                ("too many", "ItemOperations", [("Fetch", None)] * 101, "2")):
            with self.subTest(f"{cmd}: {name}"):
                answer = device.command(cmd, (cmd, content))
                self.assertEqual(answer.tree, (cmd, [("Status", status)]))


class OldQuarantine(ServerCase):
    def test_a_body_is_cut_where_the_device_wants_it(self):
        self.admin("rule", "default", "quarantine")
        device = enrol(self, self.device("12.1"))
        inbox = device.foldersync().text("Changes/Add/ServerId")
        key = sync(device, 0, inbox).text("Collections/Collection/SyncKey")
        wish = [("Options", [("AirSyncBase:BodyPreference", [("Type", "1"),
                                                             ("TruncationSize", "10")])])]
        answer = sync(device, key, inbox, wish)
        body = "Collections/Collection/Commands/Add/ApplicationData/AirSyncBase:Body/"
        self.assertEqual((answer.text(body + "Data"), answer.text(body + "Truncated")),
                         ("This devic", "1"))
        self.assertGreater(int(answer.text(body + "EstimatedDataSize")), 300)
        data = "Collections/Collection/Commands/Add/ApplicationData/Email:"
        self.assertEqual((answer.text(data + "From"), answer.text(data + "To")),
                         ("postmaster", "ann"))


if __name__ == "__main__":
    unittest.main()

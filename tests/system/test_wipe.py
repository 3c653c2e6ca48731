"""Remote wipe and the administrator's orders on devices, at every version and in both query forms."""

import datetime
import unittest

from harness import eas
from harness.admin import Failed
from harness.api import Api
from harness.case import OwnServerCase, ServerCase
from harness.client import Client
from harness.eas import MATRIX, number
from harness.server import wait_for

KINDS = {"device": "RemoteWipe", "account": "AccountOnlyRemoteWipe"}
KINDS_OF = [(version, form, scope) for version, form in MATRIX for scope in KINDS
            if scope == "device" or version == "16.1"]


class WipeCase(ServerCase):
    def wipe(self, device, scope="device", *more):
        whole = ["--whole-device"] if scope == "device" else []
        return self.admin("device", "wipe", device.user, device.device_id, *whole, "--yes", *more)

    def order(self, what, device, *more):
        return self.admin("device", what, device.user, device.device_id, *more)

    def show(self, device):
        return self.admin("device", "show", device.user, device.device_id)

    def assertWipe(self, device, state, wipe):
        shown = self.show(device)
        self.assertEqual((shown["state"], shown["wipe"]["state"]), (state, wipe), shown)
        return shown["wipe"]

    def assertDirective(self, answer, scope, status=1):
        """Status and the directive, and nothing else: never with a policy."""
        self.assertEqual((answer.http, answer.status), (200, status), answer)
        self.assertEqual(sorted(name for name, _ in answer.tree[1]), sorted(["Status", KINDS[scope]]),
                         answer)

    def assertPlain(self, answer):
        self.assertEqual(answer.http, 200, answer)
        self.assertEqual(answer.tree, ("Provision", [("Status", "1")]))

    def assertBlocked(self, device):
        self.assertRefused(device.foldersync(), "FolderSync", 129, device.version)

    def provisioned(self, *args, **more):
        device = self.device(*args, **more)
        device.handshake()
        return device

    def assertFailed(self, words, *args):
        """The program says so on standard error and leaves with 1."""
        with self.assertRaises(Failed) as caught:
            self.admin(*args)
        self.assertEqual(caught.exception.code, 1)
        self.assertRegex(caught.exception.err, words)


class Conformance(WipeCase):
    """MS-ASPROV S02 TC01 and TC02, and cases 3, 4 and 9 of our own."""

    def test_directive_failure_directive_done(self):
        for version, form, scope in KINDS_OF:
            with self.subTest(version=version, form=form, scope=scope):
                device = self.provisioned(version, form)
                ordered = self.wipe(device, scope)
                self.assertRegex(ordered["wipe"]["id"], r"^[0-9a-f]{16}$")
                self.assertEqual(ordered["wipe"]["kind"], scope)
                self.assertWipe(device, "wipe-pending", "requested")
                self.assertDirective(device.poll(), scope)
                self.assertWipe(device, "wipe-pending", "sent")
                self.assertDirective(device.wipe_ack(2, KINDS[scope]), scope, status=2)
                self.assertWipe(device, "wipe-pending", "failed")
                self.assertDirective(device.poll(), scope)
                self.assertPlain(device.wipe_ack(1, KINDS[scope]))
                done = self.assertWipe(device, "wiped", "acknowledged")
                self.assertEqual(done["id"], ordered["wipe"]["id"])
                for when in ("requested_at", "sent_at", "ended_at"):
                    self.assertRegex(done[when], r"^\d{4}-\d\d-\d\dT")
                # A repeated acknowledgement, its answer may have got lost.
                self.assertPlain(device.wipe_ack(1, KINDS[scope]))
                self.assertBlocked(device)
                self.order("remove", device, "--yes")
                self.assertPlain(device.poll())

    def test_commands_while_a_wipe_is_pending(self):
        settings = ("Settings", [("UserInformation", [("Get", None)])])
        sync = ("Sync", [("Collections", [("Collection", [("SyncKey", "0"),
                                                          ("CollectionId", "1")])])])
        for version, form in MATRIX:
            with self.subTest(version=version, form=form):
                device = self.provisioned(version, form)
                self.wipe(device)
                refused = [device.foldersync(), device.command("Sync", sync),
                           device.command("Settings", settings)]
                for answer, root in zip(refused, ("FolderSync", "Sync", "Settings")):
                    if root != "Settings" or number(version) >= 120:
                        self.assertRefused(answer, root, 140, version)
                if form == "plain" and number(version) < 140:
                    self.assertEqual(device.foldersync(key=None).http, 403)
                ping = device.ping()
                self.assertEqual((ping.http, ping.status), (200, 7), ping)
                options = device.options()
                self.assertEqual(options.http, 200)
                self.assertIn("MS-ASProtocolVersions", options.headers)

    def test_every_provision_gets_the_directive_and_no_policy(self):
        for version, form, scope in KINDS_OF:
            with self.subTest(version=version, form=form, scope=scope):
                device = self.provisioned(version, form)
                temporary = device.offer()
                self.wipe(device, scope)
                initial = device.provision_initial(information=None)
                self.assertDirective(initial, scope)
                with_information = device.provision_initial()
                self.assertTrue(with_information.has(KINDS[scope]))
                self.assertFalse(with_information.has("Policies"))
                # An acknowledgement of a policy does not touch the wipe and gives no key.
                self.assertDirective(device.provision_ack(temporary), scope)
                self.assertWipe(device, "wipe-pending", "sent")

    def test_a_wipe_of_one_device_leaves_the_others_alone(self):
        for version, form in MATRIX:
            with self.subTest(version=version, form=form):
                lost, kept = self.provisioned(version, form), self.provisioned(version, form)
                same_id = self.provisioned(version, form, user="bob", device_id=lost.device_id)
                self.wipe(lost)
                self.assertRefused(lost.foldersync(), "FolderSync", 140, version)
                for other in (kept, same_id):
                    self.assertFolders(other.foldersync())
                    self.assertPlain(other.poll())


class Acknowledgements(WipeCase):
    def test_unsolicited(self):
        for version, form, scope in KINDS_OF:
            with self.subTest(version=version, form=form, scope=scope):
                device = self.provisioned(version, form)
                self.assertPlain(device.wipe_ack(1, KINDS[scope]))
                self.assertFolders(device.foldersync())
                # Ordered, but never told: it cannot have been carried out.
                self.wipe(device, scope)
                self.assertDirective(device.wipe_ack(1, KINDS[scope]), scope)
                self.assertWipe(device, "wipe-pending", "sent")

    def test_of_a_wipe_that_was_cancelled(self):
        device = self.provisioned("14.1")
        first = self.wipe(device)["wipe"]["id"]
        self.assertDirective(device.poll(), "device")
        self.order("cancel-wipe", device)
        second = self.wipe(device)["wipe"]["id"]
        self.assertNotEqual(first, second)
        self.assertDirective(device.wipe_ack(1), "device")
        self.assertEqual(self.assertWipe(device, "wipe-pending", "sent")["id"], second)

    def test_of_the_other_kind(self):
        device = self.provisioned("16.1")
        self.wipe(device, "account")
        self.assertDirective(device.poll(), "account")
        self.assertDirective(device.wipe_ack(1, "RemoteWipe"), "account")
        self.assertWipe(device, "wipe-pending", "sent")

    def test_by_others(self):
        device = self.provisioned("14.1")
        self.wipe(device)
        device.poll()
        other = self.device("14.1", user="bob", device_id=device.device_id)
        self.assertPlain(other.wipe_ack(1))
        stranger = self.device("14.1", device_id=device.device_id, password="wrong")
        self.assertEqual(stranger.wipe_ack(1).http, 401)
        self.assertWipe(device, "wipe-pending", "sent")

    def test_failure_then_done(self):
        for version, form, scope in KINDS_OF:
            with self.subTest(version=version, form=form, scope=scope):
                device = self.provisioned(version, form)
                self.wipe(device, scope)
                device.poll()
                for _ in range(3):
                    self.assertDirective(device.wipe_ack(2, KINDS[scope]), scope, status=2)
                self.assertPlain(device.wipe_ack(1, KINDS[scope]))
                self.assertWipe(device, "wiped", "acknowledged")

    def test_as_real_clients_send_it(self):
        kind = ("PolicyType", eas.policy_type("14.1"))
        shapes = [("Android 4: a policy block before it",
                   [("Policies", [("Policy", [kind, ("Status", "1")])])]),
                  ("iOS 5: a Status before it", [("Status", "1")])]
        for name, before in shapes:
            with self.subTest(name):
                device = self.provisioned("14.1")
                self.wipe(device)
                device.poll()
                self.assertPlain(device.wipe_ack(1, before=before))
                self.assertWipe(device, "wiped", "acknowledged")


class Life(WipeCase):
    def test_cancelling_restores_what_was(self):
        for version, form, scope in KINDS_OF:
            with self.subTest(version=version, form=form, scope=scope):
                device = self.provisioned(version, form)
                self.wipe(device, scope)
                device.poll()
                device.wipe_ack(2, KINDS[scope])
                self.order("cancel-wipe", device)
                self.assertFolders(device.foldersync())  # with the key that it had
                self.assertPlain(device.poll())
                self.assertWipe(device, "provisioned", "cancelled")
                self.assertFailed("no remote wipe is pending", "device", "cancel-wipe", device.user,
                                  device.device_id)

    def test_wiped_until_allowed(self):
        for version, form in MATRIX:
            with self.subTest(version=version, form=form):
                device = self.provisioned(version, form)
                self.wipe(device)
                device.poll()
                device.wipe_ack(1)
                self.assertBlocked(device)
                initial = device.provision_initial(information=None)
                self.assertEqual((initial.http, initial.status) if number(version) >= 140
                                 else initial.http, (200, 129) if number(version) >= 140 else 403)
                self.order("clear", device)
                self.assertBlocked(device)
                self.order("allow", device)
                self.assertEqual(self.show(device)["state"], "new")
                self.assertRefused(device.foldersync(), "FolderSync", 144, version)
                device.handshake()
                self.assertFolders(device.foldersync())

    def test_below_16_1_an_account_wipe_waits(self):
        for version, form in MATRIX:
            if version == "16.1":
                continue
            with self.subTest(version=version, form=form):
                device = self.provisioned(version, form)
                ordered = self.wipe(device, "account")
                self.assertTrue(any("16.1" in text for text in ordered["warnings"]), ordered)
                self.assertRefused(device.foldersync(), "FolderSync", 129, version)
                self.assertPlain(device.poll())
                self.assertPlain(device.wipe_ack(1))
                self.assertWipe(device, "wipe-pending", "requested")
        newer = self.device("16.1", device_id=device.device_id)
        newer.key = device.key
        self.assertRefused(newer.foldersync(), "FolderSync", 140, "16.1")
        self.assertDirective(newer.poll(), "account")

    def test_expiry_without_contact(self):
        device = self.provisioned("14.1")
        soon = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=2)
        ordered = self.wipe(device, "device", "--expires", soon.strftime("%Y-%m-%dT%H:%M:%SZ"))
        self.assertIsNotNone(ordered["wipe"]["expires_at"])
        self.assertEqual(self.admin("audit", "--last", "1")[0]["wipe_expires_at"],
                         ordered["wipe"]["expires_at"])
        wait_for("the wipe to expire", lambda: self.show(device)["wipe"]["state"] == "expired")
        self.assertEqual(self.show(device)["state"], "blocked")
        self.assertBlocked(device)
        blocked = device.poll()
        self.assertEqual(blocked.status, 129, blocked)
        self.order("allow", device)
        self.assertRefused(device.foldersync(), "FolderSync", 144, "14.1")

    def test_the_other_kind_takes_its_place(self):
        device = self.provisioned("16.1")
        first = self.wipe(device, "account")
        again = self.wipe(device, "account")
        self.assertFalse(again["changed"])
        self.assertEqual(first["wipe"]["id"], again["wipe"]["id"])
        device.poll()
        self.assertNotEqual(self.wipe(device)["wipe"]["id"], first["wipe"]["id"])
        self.assertDirective(device.poll(), "device")

    def test_a_waiting_ping_is_told(self):
        for version, form in (("2.5", "plain"), ("12.1", "base64"), ("16.1", "plain")):
            for what in ("wipe", "block", "remove"):
                with self.subTest(version=version, form=form, what=what):
                    device = self.provisioned(version, form)
                    folders = device.foldersync()
                    self.assertFolders(folders)
                    inbox = folders.text("Changes/Add/ServerId")
                    device.start("Ping", device.ping_tree(600, [inbox]), key=None)
                    wait_for("the Ping to wait", lambda: self.admin("status")["waiting_pings"] > 0)
                    if what == "wipe":
                        self.wipe(device)
                    else:
                        self.order(what, device, *(["--yes"] if what == "remove" else []))
                    answer = device.receive()
                    self.assertEqual((answer.http, answer.status), (200, 7), answer)

    def test_a_disabled_user_is_turned_away_before(self):
        device = self.provisioned("14.1", user="carl")
        self.admin("user", "disable", "carl")
        self.addCleanup(self.admin, "user", "enable", "carl")
        ordered = self.wipe(device)
        self.assertTrue(any("disabled" in text for text in ordered["warnings"]), ordered)
        poll = device.poll()
        self.assertEqual((poll.http, poll.status), (200, 126), poll)
        self.assertWipe(device, "wipe-pending", "requested")
        self.admin("user", "enable", "carl")
        self.assertDirective(device.poll(), "device")

    def test_the_demonstration_client(self):
        for version, scope in (("14.1", "device"), ("16.1", "account")):
            with self.subTest(version=version, scope=scope):
                client = Client(device_id="CLIENT" + version.replace(".", ""))
                self.addCleanup(client.close)
                client_device = self.device(version, device_id=client.device_id)
                run = client.connect(self.server.url, "--version", version)
                self.assertEqual(run.code, 0, run)
                self.wipe(client_device, scope)
                run = client.connect(self.server.url, "--version", version, *client.hook(0))
                self.assertEqual(run.code, 7, run)
                self.assertEqual(len(client.hooked), 1)
                self.assertWipe(client_device, "wiped", "acknowledged")
                self.assertEqual(client.key(), 0)


class Orders(WipeCase):
    def test_a_word_about_a_device(self):
        for version, form in MATRIX:
            with self.subTest(version=version, form=form):
                device = self.provisioned(version, form)
                blocked = self.order("block", device, "--reason", "stolen")
                self.assertEqual((blocked["state"], blocked["personal"]), ("blocked", "block"))
                self.assertBlocked(device)
                self.assertFalse(self.order("block", device)["changed"])
                self.order("quarantine", device)
                self.assertFolders(device.foldersync())
                self.assertEqual(self.show(device)["state"], "quarantined")
                self.assertEqual(self.order("allow", device)["state"], "provisioned")
                self.assertEqual(self.order("clear", device)["personal"], "none")
                self.assertFolders(device.foldersync())

    def test_before_a_device_was_ever_seen(self):
        device = self.device("14.1", device_id="NEVERSEEN1")
        made = self.order("block", device)
        self.assertEqual((made["last_seen"], made["protocol_version"]), (None, None))
        self.assertBlocked(device)
        self.order("allow", device)
        device.handshake()
        for words, args in ((("no user"), ("device", "block", "nobody", "X1")),
                            (("letters and digits"), ("device", "block", "ann", "a-b")),
                            (("no device"), ("device", "clear", "ann", "X1")),
                            (("no device"), ("device", "wipe", "ann", "X1", "--yes")),
                            (("no device"), ("device", "remove", "ann", "X1", "--yes")),
                            (("no device"), ("device", "show", "ann", "X1"))):
            with self.subTest(args):
                self.assertFailed(words, *args)

    def test_removed_is_forgotten(self):
        for version, form in MATRIX:
            with self.subTest(version=version, form=form):
                device = self.provisioned(version, form)
                self.order("block", device)
                self.wipe(device)
                removed = self.order("remove", device, "--yes")
                self.assertEqual((removed["was"], removed["wipe_was_pending"]),
                                 ("wipe-pending", True))
                self.assertIsNone(self.admin.device(device.user, device.device_id))
                self.assertRefused(device.foldersync(), "FolderSync", 144, version)
                device.handshake()
                self.assertFolders(device.foldersync())

    def test_everything_of_a_device_is_shown(self):
        device = self.provisioned("14.1")
        self.provisioned("14.1", user="bob", device_id=device.device_id)
        device.settings_device_information(Model="Phone 2", OS="1.0")
        device.settings_device_information(Model="Phone 2", OS="1.1")
        self.wipe(device, "device", "--reason", "left in a train", "--expires", "30d")
        shown = self.show(device)
        self.assertEqual(shown["information"]["OS"], "1.1")
        self.assertIn(["1.0", "1.1"], [entry.get("OS") for entry in shown["information_history"]])
        self.assertEqual(shown["other_users"], ["bob"])
        wipe = shown["wipe"]
        self.assertEqual((wipe["reason"], wipe["kind"]), ("left in a train", "device"))
        self.assertRegex(wipe["by"], r"^uid \d+")
        text = self.admin.run("device", "show", device.user, device.device_id).stdout
        for what in ("left in a train", wipe["id"], "1.0 -> 1.1", "bob", "wipe-pending"):
            self.assertIn(what, text)

    def test_reasons_are_bounded_text(self):
        device = self.provisioned("14.1")
        for name, reason in (("long", "x" * 512), ("escape", "a\x1b[2J"), ("newline", "a\nb"),
                             ("C1", "a\x9bb"), ("empty", "")):
            with self.subTest(name):
                self.assertFailed("reason must be", "device", "block", device.user,
                                  device.device_id, "--reason", reason)
        self.order("block", device, "--reason", "ü" * 255)
        for expires in ("soon", "0", "-1d", "2001-01-01"):
            with self.subTest(expires):
                self.assertFailed("expires must be", "device", "wipe", device.user,
                                  device.device_id, "--yes", "--expires=" + expires)

    def test_orders_are_in_the_audit_log(self):
        device = self.provisioned("14.1")
        self.order("block", device, "--reason", "stolen")
        wipe = self.wipe(device)["wipe"]["id"]
        device.poll()
        device.wipe_ack(1)
        self.order("allow", device)
        self.order("remove", device, "--yes")
        lines = [line for line in self.admin("audit") if line.get("device_id") == device.device_id]
        acts = [(line["act"], line["before"]["state"], (line["after"] or {}).get("state"))
                for line in lines][-6:]
        self.assertEqual(acts, [("device.block", "provisioned", "blocked"),
                                ("device.wipe-device", "blocked", "wipe-pending"),
                                ("device.state", "wipe-pending", "wipe-pending"),
                                ("device.state", "wipe-pending", "wiped"),
                                ("device.allow", "wiped", "new"), ("device.remove", "new", None)])
        self.assertEqual({line["wipe_id"] for line in lines[-5:]}, {wipe})
        self.assertEqual(lines[-6]["reason"], "stolen")
        self.assertEqual(lines[-3]["actor"], "device")
        self.assertRegex(lines[-1]["actor"], r"^uid \d+")


class WholeDevice(WipeCase):
    """A wipe of the whole device is asked for by name."""

    def call(self, *call):
        api = Api(self.server)
        answer = api(*call)
        api.close()
        return answer.http, answer.json

    def test_it_must_be_confirmed(self):
        device = self.provisioned("14.1")
        self.provisioned("14.1", user="bob", device_id=device.device_id)
        self.device("14.1", user="carl", device_id=device.device_id.lower()).foldersync()
        path = f"/v1/devices/ann/{device.device_id}/wipe"
        http_code, answer = self.call("POST", path, {"scope": "device"})
        self.assertEqual((http_code, answer["code"], answer["other_users"]),
                         (409, "confirm", ["bob"]))
        self.assertIsNone(self.show(device)["wipe"])
        for body in ({}, {"scope": "everything"}, {"scope": "device", "confirm": "yes"}):
            self.assertEqual(self.call("POST", path, body)[0], 400)
        http_code, answer = self.call("POST", path, {"scope": "device", "confirm": True})
        self.assertEqual((http_code, answer["wipe"]["kind"]), (200, "device"))

    def test_without_a_terminal_it_wants_yes(self):
        device = self.provisioned("14.1")
        run = self.admin.run("device", "wipe", "ann", device.device_id, "--whole-device")
        self.assertEqual(run.returncode, 2, run)
        self.assertIn("--yes", run.stderr)
        self.assertIsNone(self.show(device)["wipe"])

    def test_other_users_are_named_before(self):
        device = self.provisioned("14.1")
        self.provisioned("14.1", user="bob", device_id=device.device_id)
        run = self.admin.run("device", "wipe", "ann", device.device_id, "--whole-device", "--yes")
        self.assertEqual(run.returncode, 0, run)
        self.assertRegex(run.stderr, r"bob")

    def test_on_a_terminal_it_asks(self):
        device = self.provisioned("14.1")
        self.provisioned("14.1", user="bob", device_id=device.device_id)
        wipe = ("device", "wipe", "ann", device.device_id, "--whole-device")
        for what, question in ((wipe, "Wipe the whole device"), (wipe[:-1], "Wipe the account"),
                               (("device", "remove") + wipe[2:4], "Forget this device")):
            with self.subTest(what):
                run = self.admin.on_a_terminal("n\n", *what)
                self.assertEqual(run.returncode, 1, run)
                self.assertIn(question, run.stderr)
                self.assertIsNone(self.show(device)["wipe"])
        run = self.admin.on_a_terminal("y\n", *wipe)
        self.assertEqual(run.returncode, 0, run)
        self.assertLess(run.stderr.index("bob"), run.stderr.index("Wipe the whole device"))
        self.assertEqual(self.show(device)["wipe"]["kind"], "device")

    def test_the_account_alone_is_the_default(self):
        device = self.provisioned("14.1")
        run = self.admin.run("device", "wipe", "ann", device.device_id)
        self.assertEqual(run.returncode, 0, run)
        self.assertEqual(self.show(device)["wipe"]["kind"], "account")
        self.assertIn("--whole-device", run.stderr)

    def test_it_can_be_forbidden(self):
        device = self.provisioned("16.1", user="bob")
        self.admin("user", "forbid-wipe", "bob")
        rows = {row["name"]: row["device_wipe"] for row in self.admin("user", "list")}
        self.assertEqual((rows["ann"], rows["bob"]), (True, False))
        self.assertFailed("forbidden for this user", "device", "wipe", "bob", device.device_id,
                          "--whole-device", "--yes")
        for confirm in (True, False):
            http_code, answer = self.call("POST", f"/v1/devices/bob/{device.device_id}/wipe",
                                          {"scope": "device", "confirm": confirm})
            self.assertEqual((http_code, answer["code"]), (403, "wipe_forbidden"))
        self.assertEqual(self.call("POST", "/v1/devices/bob/X1/wipe", {"scope": "device"})[0], 404)
        self.server.restart(kill=True)
        device.close()
        self.assertFailed("forbidden for this user", "device", "wipe", "bob", device.device_id,
                          "--whole-device", "--yes")
        self.assertEqual(self.wipe(device, "account")["wipe"]["kind"], "account")
        self.admin("user", "disable", "bob")
        self.admin("user", "enable", "bob")  # changes the one flag only
        self.assertFailed("forbidden", "device", "wipe", "bob", device.device_id, "--whole-device",
                          "--yes")
        self.admin("user", "permit-wipe", "bob")
        self.assertEqual(self.wipe(device)["wipe"]["kind"], "device")
        self.assertEqual(self.admin("user", "forbid-wipe", "bob")["wipes_pending"], 1)
        self.admin("user", "permit-wipe", "bob")


class Restart(OwnServerCase, WipeCase):
    def test_nothing_of_it_is_lost_by_kill_9(self):
        device = self.device("16.1")
        device.handshake()

        def restart():
            self.server.restart(kill=True)
            device.close()

        ordered = self.wipe(device, "account", "--reason", "lost", "--expires", "30d")["wipe"]
        restart()
        self.assertEqual(self.show(device)["wipe"], ordered)
        self.assertRefused(device.foldersync(), "FolderSync", 140, "16.1")
        self.assertDirective(device.poll(), "account")
        restart()
        self.assertWipe(device, "wipe-pending", "sent")
        device.wipe_ack(2, KINDS["account"])
        restart()
        self.assertWipe(device, "wipe-pending", "failed")
        self.assertPlain(device.wipe_ack(1, KINDS["account"]))
        restart()
        self.assertWipe(device, "wiped", "acknowledged")
        self.assertBlocked(device)
        self.order("allow", device)
        restart()
        device.handshake()
        self.order("block", device)
        restart()
        self.assertBlocked(device)
        self.order("remove", device, "--yes")
        restart()
        self.assertIsNone(self.admin.device("ann", device.device_id))


if __name__ == "__main__":
    unittest.main()

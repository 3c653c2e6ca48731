"""The four phases for every version and both query forms, and what must not be enough for a key."""

import unittest

from harness import eas
from harness.case import OwnServerCase, ServerCase
from harness.eas import MATRIX, number
from harness.server import wait_for

ABOVE_14 = ("14.0", "14.1", "16.0", "16.1")


class FourPhases(ServerCase):
    def test_refused_offered_acknowledged_let_in(self):
        for version, form in MATRIX:
            with self.subTest(version=version, form=form):
                device = self.device(version, form)
                self.assertRefused(device.foldersync(), "FolderSync", 142, device.version)
                offer = device.provision_initial()
                self.assertOffered(offer)
                self.assertEqual(offer.text("Policies/Policy/PolicyType"),
                                 eas.policy_type(device.version))
                self.assertTrue(offer.has("Policies/Policy/Data"))
                device.key = int(offer.key)
                self.assertRefused(device.foldersync(), "FolderSync", 144, device.version)
                ack = device.provision_ack(offer.key)
                self.assertOffered(ack)
                self.assertFalse(ack.has("Policies/Policy/Data"))
                device.key = int(ack.key)
                self.assertNotIn(device.key, (0, int(offer.key)))
                self.assertFolders(device.foldersync())

    def test_a_key_that_is_not_the_devices_own(self):
        for version, form in MATRIX:
            with self.subTest(version=version, form=form):
                device = self.device(version, form)
                mine = device.handshake()
                other = self.device(device.version, device.form)
                rows = [("zero", 0, 142), ("absent", None, 141), ("another", mine ^ 1, 144),
                        ("first digit", int(str(mine)[0]), 144),
                        ("another device's", other.handshake(), 144)]
                if device.form == "plain":
                    rows += [("empty header", "", 141), ("text", "abc", 144),
                             ("leading zero", f"0{mine}", 144), ("sign", f"+{mine}", 144),
                             ("more than 32 bits", mine + 2**32, 144),
                             ("negative", mine - 2**32, 144),
                             ("64 digits", "1" * 64, 144), ("decimal point", f"{mine}.0", 144)]
                for name, key, status in rows:
                    with self.subTest(version=version, form=form, key=name):
                        self.assertRefused(device.foldersync(key=key), "FolderSync", status,
                                           device.version)
                self.assertFolders(device.foldersync())

    def test_a_new_device_without_a_key(self):
        for version, form in MATRIX:
            with self.subTest(version=version, form=form):
                device = self.device(version, form)
                for name, key, status in (("zero", 0, 142), ("absent", None, 141)):
                    with self.subTest(version=version, form=form, key=name):
                        self.assertRefused(device.foldersync(key=key), "FolderSync", status,
                                           device.version)
                if device.form == "plain":
                    self.assertRefused(device.foldersync(key=""), "FolderSync", 141, device.version)

    def test_keys_beyond_a_signed_number(self):
        for version, form in (("12.1", "base64"), ("14.1", "plain"), ("16.1", "base64")):
            with self.subTest(version=version, form=form):
                device = self.device(version, form)
                for _ in range(64):
                    if device.handshake() >= 2**31:
                        break
                self.assertGreaterEqual(device.key, 2**31)
                self.assertFolders(device.foldersync())

    def test_keys_are_numbers_that_never_come_again(self):
        device = self.device()
        seen = set()
        for _ in range(20):
            temporary = device.provision_initial().key
            final = device.provision_ack(temporary).key
            for key in (temporary, final):
                self.assertRegex(key, r"^[1-9][0-9]{0,9}$")
                self.assertLess(int(key), 2**32)
                self.assertNotIn(key, seen)
                seen.add(key)

    def test_the_header_of_the_initial_request_does_not_matter(self):
        for version, form in MATRIX:
            with self.subTest(version=version, form=form):
                device = self.device(version, form)
                old = device.handshake()
                keys = [0, None, old, old ^ 1]
                keys += ["", "garbage"] if device.form == "plain" else []
                for key in keys:
                    with self.subTest(version=version, form=form, key=key):
                        offer = device.provision_initial(key=key)
                        self.assertEqual((offer.http, offer.policy_status), (200, 1), offer)

    def test_the_header_of_the_acknowledgement_does_not_matter(self):
        for version, form in MATRIX:
            with self.subTest(version=version, form=form):
                device = self.device(version, form)
                keys = [0, None, eas.SAME, 4711] + (["", "garbage"] if form == "plain" else [])
                for key in keys:
                    with self.subTest(version=version, form=form, key=key):
                        ack = device.provision_ack(device.offer(), key=key)
                        self.assertEqual((ack.http, ack.policy_status), (200, 1), ack)
                        device.key = int(ack.key)
                        self.assertFolders(device.foldersync())

    def test_device_information_is_answered_when_sent(self):
        for version, form in MATRIX:
            with self.subTest(version=version, form=form):
                device = self.device(version, form)
                answer = device.provision_initial(information=eas.device_information(OS="TestOS 1"))
                self.assertEqual(answer.text("Settings:DeviceInformation/Status"), "1", answer)
                plain = device.provision_initial(information=None)
                self.assertEqual(plain.policy_status, 1, plain)
                self.assertFalse(plain.has("Settings:DeviceInformation"))

    def test_polls_get_a_plain_status(self):
        for version, form in MATRIX:
            with self.subTest(version=version, form=form):
                device = self.device(version, form)
                alone = ("Provision", [("Status", "1")])
                self.assertEqual(device.provision(None).tree, alone)
                full = device.command("Provision", b"\x03\x01\x6a\x00\x00\x0e\x45\x01")
                self.assertEqual(full.tree, alone)
                informed = device.provision([eas.device_information()])
                self.assertEqual(informed.status, 1)
                self.assertFalse(informed.has("Policies"))
                self.assertRefused(device.foldersync(), "FolderSync", 142, device.version)


class Acknowledgement(ServerCase):
    def refused_with_5(self, answer):
        self.assertEqual((answer.http, answer.status, answer.policy_status), (200, 1, 5), answer)
        self.assertIsNone(answer.key)

    def test_keys_that_belong_to_no_offer(self):
        device, other, user2 = self.device(), self.device(), self.device(user="bob")
        temporary = device.offer()
        rows = [("invented", 1234567890), ("another device's", other.offer()),
                ("another user's", user2.offer()), ("zero", 0), ("leading zero", f"0{temporary}"),
                ("sign", f"+{temporary}"), ("blank", f" {temporary}"),
                ("beyond 32 bits", temporary + 2**32), ("64 digits", "9" * 64), ("text", "abc")]
        for name, key in rows:
            with self.subTest(key=name):
                self.refused_with_5(device.provision_ack(key))
        # and none of them has voided the offer
        self.assertEqual(device.provision_ack(temporary).policy_status, 1)

    def test_a_device_that_was_never_offered_anything(self):
        self.refused_with_5(self.device().provision_ack(1307199584))

    def test_the_final_key_acknowledges_nothing(self):
        device = self.device()
        device.handshake()
        self.refused_with_5(device.provision_ack(device.key))
        self.assertFolders(device.foldersync())

    def test_repeated_until_the_key_is_used(self):
        for version in eas.VERSIONS:
            with self.subTest(version=version):
                device = self.device(version)
                temporary = device.offer()
                first = device.provision_ack(temporary)
                for _ in range(3):
                    again = device.provision_ack(temporary)
                    self.assertEqual((again.policy_status, again.key), (1, first.key), again)
                device.key = int(first.key)
                self.assertFolders(device.foldersync())
                self.refused_with_5(device.provision_ack(temporary))
                self.assertFolders(device.foldersync())

    def test_the_old_key_holds_until_the_acknowledgement(self):
        device = self.device()
        old = device.handshake()
        temporary = device.offer()
        self.assertFolders(device.foldersync(key=old))
        new = device.provision_ack(temporary).key
        self.assertRefused(device.foldersync(key=old), "FolderSync", 144, "14.1")
        self.assertFolders(device.foldersync(key=int(new)))

    def test_several_offers_the_oldest_drops_out(self):
        device = self.device()
        offers = [device.offer() for _ in range(5)]
        self.assertEqual(len(set(offers)), 5)
        self.refused_with_5(device.provision_ack(offers[0]))
        self.assertEqual(device.provision_ack(offers[1]).policy_status, 1)

    def test_type_that_nobody_knows_or_of_another_version(self):
        wap, eas_type = "MS-WAP-Provisioning-XML", "MS-EAS-Provisioning-WBXML"
        rows = [("14.1", "Invalid" + eas_type), ("12.1", wap), ("16.1", wap), ("2.5", eas_type),
                ("14.1", eas_type.lower())]
        for version, kind in rows:
            with self.subTest(version=version, kind=kind):
                answer = self.device(version).provision_initial(kind=kind)
                self.assertEqual((answer.http, answer.status, answer.policy_status), (200, 1, 3))
                self.assertFalse(answer.has("Policies/Policy/Data"))
                self.assertIsNone(answer.key)

    def test_malformed_requests(self):
        kind = ("PolicyType", eas.policy_type("14.1"))

        def policies(*content):
            return [("Policies", [("Policy", list(content))])]

        rows = [("policy outside policies", [("Policy", [kind])]),
                ("no policy", [("Policies", None)]),
                ("no type", policies(("PolicyKey", "1"), ("Status", "1"))),
                ("empty policy", [("Policies", [("Policy", None)])]),
                ("key without status", policies(kind, ("PolicyKey", "1"))),
                ("status 0", policies(kind, ("PolicyKey", "1"), ("Status", "0"))),
                ("status 5", policies(kind, ("PolicyKey", "1"), ("Status", "5"))),
                ("status -1", policies(kind, ("PolicyKey", "1"), ("Status", "-1"))),
                ("status text", policies(kind, ("PolicyKey", "1"), ("Status", "yes")))]
        for version in eas.VERSIONS:
            for name, content in rows:
                with self.subTest(version=version, row=name):
                    device = self.device(version)
                    answer = device.provision(content)
                    self.assertEqual(answer.tree, ("Provision", [("Status", "2")]), answer)

    def test_any_order_of_the_acknowledgement(self):
        device = self.device()
        for order in ((0, 1, 2), (2, 1, 0), (1, 2, 0), (1, 0, 2)):
            with self.subTest(order=order):
                parts = [("PolicyType", eas.policy_type("14.1")),
                         ("PolicyKey", str(device.offer())), ("Status", "1")]
                answer = device.provision([("Policies", [("Policy", [parts[i] for i in order])])])
                self.assertEqual(answer.policy_status, 1, answer)


class Compliance(OwnServerCase):
    """Status 2, 3 and 4 of the device, as the policy allows."""

    ROWS = ((2, "AllowPartial", 139), (3, "AllowNonProvisionable", 139),
            (4, "AllowExternalManagement", 145))

    def test_not_allowed(self):
        for version, form in MATRIX:
            for status, _, refusal in self.ROWS:
                with self.subTest(version=version, form=form, status=status):
                    device = self.device(version, form)
                    answer = device.provision_ack(device.offer(), status)
                    self.assertEqual((answer.http, answer.tree),
                                     (200, ("Provision", [("Status", str(refusal))])), answer)
                    device.key = 0
                    self.assertRefused(device.foldersync(), "FolderSync", 142, version)
                    device.handshake()
                    self.assertFolders(device.foldersync())

    def test_allowed(self):
        self.admin.policy(*[f"{flag}=1" for _, flag, _ in self.ROWS])
        for version, form in MATRIX:
            for status, _, _ in self.ROWS:
                with self.subTest(version=version, form=form, status=status):
                    device = self.device(version, form)
                    answer = device.provision_ack(device.offer(), status)
                    self.assertEqual((answer.http, answer.policy_status), (200, 1), answer)
                    device.key = int(answer.key)
                    self.assertFolders(device.foldersync())

    def test_one_allowance_does_not_stand_for_another(self):
        for status, flag, _ in self.ROWS:
            self.admin.policy(f"{flag}=1")
            for other, _, refusal in self.ROWS:
                with self.subTest(allowed=flag, status=other):
                    device = self.device()
                    answer = device.provision_ack(device.offer(), other)
                    self.assertEqual(answer.status, 1 if other == status else refusal, answer)
            self.admin.policy(f"{flag}=0")

    def test_a_refused_device_keeps_its_old_key(self):
        device = self.device()
        device.handshake()
        self.assertEqual(device.provision_ack(device.offer(), 2).status, 139)
        self.assertFolders(device.foldersync())


class PolicyChange(OwnServerCase):
    def provisioned(self):
        """A device for each version and form, in."""
        devices = [self.device(*row) for row in MATRIX]
        for device in devices:
            device.handshake()
        return devices

    def check(self, devices, seen_by):
        """Those whose version is in seen_by are asked again, the others pass."""
        for device in devices:
            with self.subTest(version=device.version, form=device.form):
                answer = device.foldersync()
                if device.version in seen_by:
                    self.assertRefused(answer, "FolderSync", 143, device.version)
                    self.assertRefused(device.foldersync(key=0), "FolderSync", 142, device.version)
                else:
                    self.assertFolders(answer)

    def test_a_change_reaches_exactly_those_who_see_it(self):
        devices = self.provisioned()
        answer = self.admin.policy("RequireSignedSMIMEAlgorithm=1")
        self.assertIsNotNone(answer)
        self.check(devices, ("12.1",) + ABOVE_14)

    def test_a_change_that_all_see(self):
        devices = self.provisioned()
        self.admin.policy("DevicePasswordEnabled=1", "MinDevicePasswordLength=8")
        self.check(devices, eas.VERSIONS)
        for device in devices:
            with self.subTest(version=device.version, form=device.form):
                old = device.key
                offer = device.provision_initial()
                if device.version != "2.5":
                    self.assertEqual(offer.text("Policies/Policy/Data/EASProvisionDoc/"
                                                "MinDevicePasswordLength"), "8")
                device.key = int(device.provision_ack(offer.key).key)
                self.assertFolders(device.foldersync())
                self.assertRefused(device.foldersync(key=old), "FolderSync", 144, device.version)

    def test_edits_that_change_nothing_touch_nobody(self):
        devices = self.provisioned()
        for edit in (["AllowCamera=1"], ["AllowPartial=1"], ["MinDevicePasswordLength="],
                     ["DevicePasswordHistory=0"]):
            with self.subTest(edit=edit):
                self.admin.policy(*edit)
                self.check(devices, ())

    def test_there_and_back_asks_nobody(self):
        devices = self.provisioned()
        self.admin.policy("RequireSignedSMIMEAlgorithm=1")
        self.admin.policy("RequireSignedSMIMEAlgorithm=")
        self.check(devices, ())

    def test_a_change_between_offer_and_acknowledgement(self):
        for version in eas.VERSIONS:
            with self.subTest(version=version):
                device = self.device(version)
                temporary = device.offer()
                length = 4 + eas.VERSIONS.index(version)
                self.admin.policy("DevicePasswordEnabled=1", f"MinDevicePasswordLength={length}")
                answer = device.provision_ack(temporary)
                self.assertEqual((answer.http, answer.policy_status), (200, 1), answer)
                device.key = int(answer.key)
                self.assertRefused(device.foldersync(), "FolderSync", 143, version)
                device.handshake()
                self.assertFolders(device.foldersync())

    def test_refresh_interval(self):
        self.admin.policy("RefreshInterval=1s")
        for version in ("12.1", "14.1"):
            with self.subTest(version=version):
                device = self.device(version)
                device.handshake()
                self.assertBecomesRefused(device, 143)
                device.handshake()

    def assertBecomesRefused(self, device, status):
        """Let in, and some time later refused with that Status."""
        def refused():
            answer = device.foldersync()
            return answer if (answer.http, answer.status) != (200, 1) else None
        self.assertRefused(wait_for("a refusal", refused), "FolderSync", status, device.version)


class Identity(OwnServerCase):
    def test_two_devices_of_one_user(self):
        one, two = self.device(), self.device()
        one.handshake()
        self.assertRefused(two.foldersync(key=one.key), "FolderSync", 144, "14.1")
        two.handshake()
        self.assertFolders(one.foldersync())
        self.assertFolders(two.foldersync())

    def test_two_users_of_one_device(self):
        ann = self.device(device_id="SHARED1")
        bob = self.device(device_id="SHARED1", user="bob")
        ann.handshake()
        self.assertRefused(bob.foldersync(key=0), "FolderSync", 142, "14.1")
        self.assertRefused(bob.foldersync(key=ann.key), "FolderSync", 144, "14.1")
        bob.handshake()
        self.assertFolders(ann.foldersync())
        self.assertFolders(bob.foldersync())
        self.assertEqual(len(self.admin.devices()), 2)

    def test_one_device_in_both_query_forms(self):
        plain = self.device(device_id="BOTH1")
        plain.handshake()
        coded = self.device(device_id="BOTH1", form="base64")
        coded.key = plain.key
        self.assertFolders(coded.foldersync())
        self.assertEqual(len(self.admin.devices()), 1)

    def test_keys_survive_stop_and_kill(self):
        devices = [self.device(*row) for row in MATRIX]
        for device in devices:
            device.handshake()
        for kill in (False, True):
            with self.subTest(kill=kill):
                self.server.restart(kill=kill)
                for device in devices:
                    device.close()
                    self.assertFolders(device.foldersync())

    def test_a_changed_policy_survives_a_kill(self):
        device = self.device()
        device.handshake()
        self.admin.policy("DevicePasswordEnabled=1", "MinDevicePasswordLength=6")
        self.server.restart(kill=True)
        device.close()
        self.assertRefused(device.foldersync(), "FolderSync", 143, "14.1")
        self.assertEqual(device.provision_initial().text(
            "Policies/Policy/Data/EASProvisionDoc/MinDevicePasswordLength"), "6")


class OtherCommands(ServerCase):
    def test_settings_first_is_refused_in_its_own_root(self):
        for version, form in MATRIX:
            if number(version) < 120:
                continue
            with self.subTest(version=version, form=form):
                device = self.device(version, form)
                answer = device.settings_device_information(key=0)
                self.assertRefused(answer, "Settings", 142, version)
                device.handshake()
                answer = device.settings_device_information()
                self.assertEqual((answer.http, answer.status), (200, 1), answer)

    def test_every_command_is_refused_in_its_own_root(self):
        roots = {name: name for name in eas.CODES if name not in ("Provision", "GetAttachment")}
        for name in roots:
            with self.subTest(cmd=name):
                device = self.device("16.1", "base64" if name == "Find" else "plain")
                self.assertRefused(device.command(name, b"not WBXML at all", key=0), name, 142,
                                   "16.1")

    def test_send_mail_is_refused_in_the_compose_mail_root(self):
        raw = b"\x03\x01\x6a\x00\x00\x15\x45\x52\x03142\x00\x01\x01"
        for version in ABOVE_14:
            with self.subTest(version=version):
                answer = self.device(version).command("SendMail", b"From: x\r\n\r\n", key=0)
                self.assertEqual((answer.http, answer.body), (200, raw))
        answer = self.device("12.1").command("SendMail", b"From: x\r\n\r\n", key=0)
        self.assertRefused(answer, "SendMail", 142, "12.1")

    def test_get_attachment_has_no_root(self):
        for version in ("12.1", "14.1"):
            with self.subTest(version=version):
                answer = self.device(version).command("GetAttachment", key=0, AttachmentName="1")
                self.assertEqual((answer.http, answer.body), (449, b""), answer)


class PingRules(OwnServerCase):
    def inbox(self, device):
        answer = device.foldersync()
        for _, row in (c for c in answer.tree[1][2][1] if c[0] == "Add"):
            if dict(row)["Type"] == "2":
                return dict(row)["ServerId"]
        raise AssertionError(f"no Inbox in {answer}")

    def start_ping(self, device, key=None):
        """Returns the watched folder once the server waits."""
        folder, before = self.inbox(device), self.admin("status")["waiting_pings"]
        device.start("Ping", device.ping_tree(300, [folder]), key=key)
        wait_for("a waiting Ping", lambda: self.admin("status")["waiting_pings"] > before)
        return folder

    def test_without_a_confirmed_key_refused_as_any_command(self):
        for version, form in MATRIX:
            with self.subTest(version=version, form=form):
                device = self.device(version, form)
                self.assertRefused(device.ping(), "Ping", 142, version)
                device.offer()
                self.assertRefused(device.ping(), "Ping", 142, version)

    def test_a_waiting_ping_is_told_of_a_changed_policy(self):
        waiting = []
        for version, form in MATRIX:
            device = self.device(version, form)
            device.handshake()
            self.start_ping(device)
            waiting.append(device)
        self.admin.policy("DevicePasswordEnabled=1", "MinDevicePasswordLength=8")
        for device in waiting:
            with self.subTest(version=device.version, form=device.form):
                answer = device.receive()
                self.assertEqual((answer.http, answer.tree), (200, ("Ping", [("Status", "7")])))
                again = device.ping(300)
                self.assertEqual((again.http, again.status), (200, 7), "one that arrives too")
                self.assertRefused(device.foldersync(), "FolderSync", 143, device.version)

    def test_a_waiting_ping_does_not_care_for_an_edit_without_change(self):
        device = self.device()
        device.handshake()
        folder = self.start_ping(device)
        self.admin.policy("AllowCamera=1")
        self.server.maildir("ann").deliver()
        self.assertEqual(device.receive().tree,
                         ("Ping", [("Status", "2"), ("Folders", [("Folder", folder)])]))

    def test_the_key_of_a_ping_does_not_matter(self):
        for key in (0, 4711, ""):
            with self.subTest(key=key):
                device = self.device()
                device.handshake()
                self.start_ping(device, key)
                self.server.maildir("ann").deliver()
                self.assertEqual(device.receive().status, 2)


if __name__ == "__main__":
    unittest.main()

"""What Microsoft's interop suites check of provisioning, FolderSync, OPTIONS and framing.

Each test is named by suite, scenario and case (ASPROV S01 TC01); what the suites leave out is in
test_conformance_own. The device sends what the suites send: an empty key header with Provision.
Not here: MS-ASCMD S21 TC08 (SendMail is not served yet), and of ASPROV S02 the confirmation by mail,
which the notifier tells.
"""

import base64
import struct
import unittest

from harness import eas, wbxml
from harness.case import OwnServerCase, ServerCase
from harness.eas import VERSIONS, device_information, number

SUITE_VERSIONS = ("12.1", "14.0", "14.1", "16.0", "16.1")
SINCE_14 = SUITE_VERSIONS[1:]
DOCUMENT = "Policies/Policy/Data/EASProvisionDoc"

# MS-ASPROV, schema order. The first list is what 12.0 carries.
SETTINGS_12_0 = (
    "DevicePasswordEnabled AlphanumericDevicePasswordRequired PasswordRecoveryEnabled "
    "AttachmentsEnabled MinDevicePasswordLength MaxInactivityTimeDeviceLock "
    "MaxDevicePasswordFailedAttempts MaxAttachmentSize AllowSimpleDevicePassword "
    "DevicePasswordExpiration DevicePasswordHistory").split()
SETTINGS = (
    "DevicePasswordEnabled AlphanumericDevicePasswordRequired PasswordRecoveryEnabled "
    "RequireStorageCardEncryption AttachmentsEnabled MinDevicePasswordLength "
    "MaxInactivityTimeDeviceLock MaxDevicePasswordFailedAttempts MaxAttachmentSize "
    "AllowSimpleDevicePassword DevicePasswordExpiration DevicePasswordHistory AllowStorageCard "
    "AllowCamera RequireDeviceEncryption AllowUnsignedApplications "
    "AllowUnsignedInstallationPackages MinDevicePasswordComplexCharacters AllowWiFi "
    "AllowTextMessaging AllowPOPIMAPEmail AllowBluetooth AllowIrDA RequireManualSyncWhenRoaming "
    "AllowDesktopSync MaxCalendarAgeFilter AllowHTMLEmail MaxEmailAgeFilter "
    "MaxEmailBodyTruncationSize MaxEmailHTMLBodyTruncationSize RequireSignedSMIMEMessages "
    "RequireEncryptedSMIMEMessages RequireSignedSMIMEAlgorithm RequireEncryptionSMIMEAlgorithm "
    "AllowSMIMEEncryptionAlgorithmNegotiation AllowSMIMESoftCerts AllowBrowser "
    "AllowConsumerEmail AllowRemoteDesktop AllowInternetSharing UnapprovedInROMApplicationList "
    "ApprovedApplicationList").split()


def provision_tag_order(answer):
    """Positions in the schema of the children of Provision: must ascend."""
    schema = ["Settings:DeviceInformation", "Status", "Policies", "RemoteWipe",
              "AccountOnlyRemoteWipe"]
    return [schema.index(tag) for tag in wbxml.tags(answer.tree)]


class TestBed(OwnServerCase):
    """Users with the policies of the suites: ann UserPolicy01, bob UserPolicy02, carl the third."""

    POLICIES = {
        "ann": ["DevicePasswordEnabled=0", "AllowNonProvisionable=0"],
        "bob": ["AttachmentsEnabled=0", "DevicePasswordExpiration=730", "MaxAttachmentSize=2097151",
                "UnapprovedInROMApplicationList=a.exe,b.exe",
                "ApprovedApplicationList=" + "0123456789abcdef" * 2 + "01234567"],
        "carl": ["AllowNonProvisionable=1"]}

    def setUp(self):
        super().setUp()
        for user, settings in self.POLICIES.items():
            self.admin("policy", "new", f"of-{user}", *settings)
            self.admin("policy", "assign", f"of-{user}", "--user", user)

    def each(self, versions=SUITE_VERSIONS, user="ann"):
        return [self.device(version, form, user=user) for version, form in eas.MATRIX
                if version in versions]


class Provisioning(TestBed):
    """MS-ASPROV S01 and S03, MS-ASCMD S12."""

    def assertPolicy(self, answer, data):
        self.assertOffered(answer)
        self.assertEqual(provision_tag_order(answer), sorted(provision_tag_order(answer)))
        policy = wbxml.nodes(answer.tree, "Policies/Policy")[0]
        self.assertEqual(wbxml.tags(policy),
                         ["PolicyType", "Status", "PolicyKey"] + (["Data"] if data else []))
        self.assertEqual(answer.text("Policies/Policy/PolicyType"), "MS-EAS-Provisioning-WBXML")
        self.assertRegex(answer.key, r"^[0-9]{1,10}$")
        self.assertLess(int(answer.key), 2**32)

    def test_ASPROV_S01_TC01_acknowledge_policy_settings(self):
        for device in self.each(user="bob"):
            with self.subTest(version=device.version, form=device.form):
                offer = device.provision_initial(key="")
                self.assertPolicy(offer, data=True)
                self.assertEqual(offer.text(DOCUMENT + "/AttachmentsEnabled"), "0")
                self.assertEqual(offer.text(DOCUMENT + "/DevicePasswordExpiration"), "730")
                names = wbxml.nodes(offer.tree, DOCUMENT + "/UnapprovedInROMApplicationList"
                                    "/ApplicationName")
                self.assertEqual([name for _, name in names], ["a.exe", "b.exe"])
                self.assertTrue(offer.text(DOCUMENT + "/ApprovedApplicationList/Hash"))
                ack = device.provision_ack(offer.key, key="")
                self.assertPolicy(ack, data=False)
                self.assertFolders(device.foldersync(key=int(ack.key)))

    def test_ASPROV_S01_TC02_non_provisionable_devices_allowed(self):
        for device in self.each(user="carl"):
            with self.subTest(version=device.version, form=device.form):
                self.assertFolders(device.foldersync(key=""))

    def test_ASPROV_S01_TC03_settings_unset_again(self):
        self.admin.policy("AttachmentsEnabled=0", "MinDevicePasswordLength=6",
                          "DevicePasswordHistory=5", name="of-ann")
        self.admin.policy("AttachmentsEnabled=", "MinDevicePasswordLength=",
                          "DevicePasswordHistory=", name="of-ann")
        for device in self.each():
            with self.subTest(version=device.version, form=device.form):
                offer = device.provision_initial(key="")
                self.assertEqual(offer.text(DOCUMENT + "/AttachmentsEnabled"), "1")
                self.assertEqual(offer.text(DOCUMENT + "/MinDevicePasswordLength"), "")
                self.assertEqual(offer.text(DOCUMENT + "/DevicePasswordHistory"), "0")

    def test_ASPROV_S03_TC01_invalid_policy_type(self):
        for device in self.each():
            with self.subTest(version=device.version, form=device.form):
                answer = device.provision_initial(kind="InvalidMS-EAS-Provisioning-WBXML")
                self.assertEqual((answer.status, answer.policy_status), (1, 3), answer)

    def test_ASPROV_S03_TC02_wrong_policy_key(self):
        for version in SUITE_VERSIONS:
            with self.subTest(version=version):
                one, two = self.device(version), self.device(version, user="bob")
                temporary = one.offer()
                one.provision_ack(temporary)
                for key in (temporary, 1234567890):
                    answer = two.provision_ack(key, key="")
                    self.assertEqual((answer.status, answer.policy_status), (1, 5), answer)

    def test_ASPROV_S03_TC03_policies_tag_left_out(self):
        for device in self.each():
            with self.subTest(version=device.version, form=device.form):
                policy = ("Policy", [("PolicyType", "MS-EAS-Provisioning-WBXML")])
                info = [device_information()] if number(device.version) >= 141 else []
                self.assertEqual(device.provision(info + [policy], key="").status, 2)

    def test_ASPROV_S03_TC04_first_digit_of_the_key(self):
        for device in self.each():
            with self.subTest(version=device.version, form=device.form):
                digit = int(str(device.handshake())[0])
                self.assertRefused(device.foldersync(key=digit), "FolderSync", 144,
                                   device.version)

    test_ASCMD_S12_TC03_first_digit_of_the_key = test_ASPROV_S03_TC04_first_digit_of_the_key

    def test_ASPROV_S03_TC05_partly_applied(self):
        for device in self.each():
            with self.subTest(version=device.version, form=device.form):
                answer = device.provision_ack(device.offer(), status=2, key="")
                self.assertEqual((answer.http, answer.status), (200, 139), answer)

    def test_ASPROV_S03_TC06_managed_externally(self):
        for device in self.each(SINCE_14):
            with self.subTest(version=device.version, form=device.form):
                answer = device.provision_ack(device.offer(), status=4, key="")
                self.assertEqual((answer.http, answer.status), (200, 145), answer)

    test_ASCMD_S21_TC14_managed_externally = test_ASPROV_S03_TC06_managed_externally

    def test_ASPROV_S03_TC07_empty_key(self):
        for device in self.each(SINCE_14):
            with self.subTest(version=device.version, form=device.form):
                device.handshake()
                self.assertRefused(device.foldersync(key=""), "FolderSync", 141, device.version)

    def test_ASCMD_S12_TC01_device_information_everywhere(self):
        for device in self.each(VERSIONS):
            with self.subTest(version=device.version, form=device.form):
                offer = device.provision_initial(information=device_information())
                self.assertOffered(offer)
                policy = [("PolicyType", eas.policy_type(device.version)),
                          ("PolicyKey", offer.key), ("Status", "1")]
                ack = device.provision([device_information(),
                                        ("Policies", [("Policy", policy)])])
                self.assertOffered(ack)
                self.assertEqual(ack.text("Settings:DeviceInformation/Status"), "1")

    def test_ASCMD_S12_TC02_no_policy_type(self):
        for device in self.each():
            with self.subTest(version=device.version, form=device.form):
                info = [device_information()] if number(device.version) >= 141 else []
                empty = ("Policies", [("Policy", None)])
                self.assertEqual(device.provision(info + [empty], key="").status, 2)

    def test_ASCMD_S21_TC12_user_not_enabled(self):
        self.admin("user", "disable", "carl")
        for version in SUITE_VERSIONS:
            with self.subTest(version=version):
                device = self.device(version, user="carl")
                self.assertRefused(device.foldersync(), "FolderSync", 126, version)


class Wipes(TestBed):
    """MS-ASPROV S02."""

    def wiped(self, version, scope):
        """The five requests of the case; scope names the element. Then an administrator removes the
        device, which knows nothing of a wipe any more."""
        whole = ["--whole-device"] if scope == "RemoteWipe" else []
        for device in self.each([version]):
            name = (device.user, device.device_id)
            with self.subTest(version=version, form=device.form):
                device.handshake()
                self.admin("device", "wipe", *name, *whole, "--yes")
                for status, told in ((None, 1), (2, 2), (None, 1), (1, 1)):
                    answer = device.wipe_ack(status, scope) if status else device.poll()
                    self.assertEqual((answer.http, answer.status), (200, told), answer)
                    self.assertEqual(answer.has(scope), status != 1, answer)
                    self.assertFalse(answer.has("Policies"), answer)
                self.admin("device", "remove", *name, "--yes")
                self.assertEqual(device.poll().tree, ("Provision", [("Status", "1")]))

    def test_ASPROV_S02_TC01_wipe_of_the_device(self):
        for version in SUITE_VERSIONS:
            self.wiped(version, "RemoteWipe")

    def test_ASPROV_S02_TC02_wipe_of_the_account(self):
        self.wiped("16.1", "AccountOnlyRemoteWipe")


class DeviceInformationDemanded(OwnServerCase):
    config = "require_device_information = true;"

    def test_ASCMD_S21_TC03_device_information_required(self):
        for version in VERSIONS:
            with self.subTest(version=version):
                device = self.device(version)
                answer = device.provision_initial(information=None)
                if number(version) < 141:
                    self.assertOffered(answer)
                else:
                    self.assertEqual(answer.tree, ("Provision", [("Status", "165")]))
                    device.handshake()
                    self.assertFolders(device.foldersync())


class Documents(ServerCase):
    def test_adapter_complete_set_of_each_version_in_schema_order(self):
        for version in VERSIONS[1:]:
            with self.subTest(version=version):
                answer = self.device(version).provision_initial()
                document = wbxml.nodes(answer.tree, DOCUMENT)[0]
                self.assertEqual(wbxml.tags(document),
                                 SETTINGS_12_0 if version == "12.0" else SETTINGS)

    def test_adapter_values_of_a_policy_that_restricts_nothing(self):
        values = dict(wbxml.nodes(self.device("16.1").provision_initial().tree, DOCUMENT)[0][1])
        number_or_empty = {"MinDevicePasswordLength", "MaxInactivityTimeDeviceLock",
                           "MaxDevicePasswordFailedAttempts", "MaxAttachmentSize",
                           "DevicePasswordExpiration"}
        lists = {"UnapprovedInROMApplicationList", "ApprovedApplicationList"}
        for name, value in values.items():
            with self.subTest(setting=name):
                if name in lists:
                    self.assertIsNone(value)
                elif name in number_or_empty:
                    self.assertTrue(value is None or value.isdigit(), value)
                else:
                    self.assertRegex(value, r"^-?[0-9]+$")
        self.assertEqual(values["AllowBluetooth"], "2")
        self.assertEqual(values["MaxEmailBodyTruncationSize"], "-1")
        self.assertIn(values["MinDevicePasswordComplexCharacters"], "1234")
        for name in ("AllowCamera", "AllowWiFi", "AttachmentsEnabled", "AllowSimpleDevicePassword"):
            self.assertEqual(values[name], "1", name)

    def test_2_5_gets_a_wap_document_as_text(self):
        answer = self.device("2.5").provision_initial()
        data = answer.text("Policies/Policy/Data")
        self.assertIsInstance(data, str)
        self.assertRegex(data, r"^<wap-provisioningdoc>.*</wap-provisioningdoc>$")


class FolderSync(ServerCase):
    """MS-ASCMD S04, as far as folders are not made through ActiveSync."""

    def setUp(self):
        self.folders = self.server.maildir("ann")
        self.folders.folder("Work").folder("Work/Projects")
        self.device_in = self.device()
        self.device_in.handshake()

    def changes(self, answer, kind):
        rows = wbxml.nodes(answer.tree, f"Changes/{kind}")
        return [dict(content) for _, content in rows]

    def key_of(self, answer):
        self.assertFolders(answer)
        return answer.text("SyncKey")

    def test_ASCMD_S04_TC01_all_folders(self):
        answer = self.device_in.foldersync("0")
        self.assertNotIn(self.key_of(answer), (None, "", "0"))
        self.assertEqual(wbxml.tags(answer.tree), ["Status", "SyncKey", "Changes"])
        rows = self.changes(answer, "Add")
        self.assertEqual(int(answer.text("Changes/Count")), len(rows))
        self.assertGreater(len(rows), 2)
        siblings = [(row["ParentId"], row["DisplayName"]) for row in rows]
        self.assertEqual(len(siblings), len(set(siblings)))
        self.assertEqual([row["Type"] for row in rows].count("2"), 1)
        ids = {row["ServerId"] for row in rows}
        for row in rows:
            self.assertIn(row["ParentId"], ids | {"0"}, row)

    def test_ASCMD_S04_TC02_nothing_changed(self):
        key = self.key_of(self.device_in.foldersync("0"))
        answer = self.device_in.foldersync(key)
        self.assertFolders(answer)
        self.assertEqual(answer.text("Changes/Count"), "0")

    def test_ASCMD_S04_TC03_TC07_a_folder_comes(self):
        second = self.device()
        second.handshake()
        keys = [self.key_of(d.foldersync("0")) for d in (self.device_in, second)]
        self.folders.folder("Added")
        for device, key in zip((self.device_in, second), keys):
            answer = device.foldersync(key)
            self.assertEqual([row["DisplayName"] for row in self.changes(answer, "Add")],
                             ["Added"])
            self.assertEqual(answer.text("Changes/Count"), "1")

    def test_ASCMD_S04_TC04_ids_stay_the_same(self):
        first = {row["DisplayName"]: row["ServerId"]
                 for row in self.changes(self.device_in.foldersync("0"), "Add")}
        again = {row["DisplayName"]: row["ServerId"]
                 for row in self.changes(self.device_in.foldersync("0"), "Add")}
        self.assertEqual(first, again)

    def test_ASCMD_S04_TC05_empty_sync_key(self):
        answer = self.device_in.command("FolderSync", ("FolderSync", [("SyncKey", None)]))
        self.assertEqual((answer.http, answer.tree), (200, ("FolderSync", [("Status", "9")])))

    def test_ASCMD_S04_TC06_no_sync_key(self):
        answer = self.device_in.command("FolderSync", ("FolderSync", None))
        self.assertEqual((answer.http, answer.tree), (200, ("FolderSync", [("Status", "10")])))

    def test_ASCMD_S04_TC08_a_folder_is_renamed(self):
        self.folders.folder("Before")
        answer = self.device_in.foldersync("0")
        (identity,) = [row["ServerId"] for row in self.changes(answer, "Add")
                       if row["DisplayName"] == "Before"]
        self.folders.rename("Before", "After")
        answer = self.device_in.foldersync(self.key_of(answer))
        (row,) = self.changes(answer, "Update")
        self.assertEqual((row["ServerId"], row["DisplayName"]), (identity, "After"))
        self.assertEqual(answer.text("Changes/Count"), "1")

    def test_ASCMD_S04_TC09_a_folder_goes(self):
        self.folders.folder("Doomed")
        answer = self.device_in.foldersync("0")
        (identity,) = [row["ServerId"] for row in self.changes(answer, "Add")
                       if row["DisplayName"] == "Doomed"]
        self.folders.remove("Doomed")
        answer = self.device_in.foldersync(self.key_of(answer))
        self.assertEqual(self.changes(answer, "Delete"), [{"ServerId": identity}])
        self.assertEqual(answer.text("Changes/Count"), "1")

    def test_ASCMD_S04_TC10_folders_only(self):
        self.folders.deliver(subject="Not in a hierarchy")
        answer = self.device_in.foldersync("0")
        self.assertFolders(answer)
        self.assertNotIn(b"Not in a hierarchy", answer.body)


class Http(ServerCase):
    """MS-ASHTTP, and the common statuses of MS-ASCMD S21 that concern framing."""

    def test_ASHTTP_S01_TC01_content_type(self):
        for version in VERSIONS:
            device = self.device(version)
            device.handshake()
            answer = device.foldersync()
            self.assertEqual(answer.headers["Content-Type"], eas.TYPE)
            self.assertEqual(int(answer.headers["Content-Length"]), len(answer.raw))

    def test_ASHTTP_S01_TC02_gzip_only_when_accepted(self):
        for name in (f"Folder {i:03}" for i in range(80)):
            self.server.maildir("bob").folder(name)
        device = self.device(user="bob")
        device.handshake()
        tree = ("FolderSync", [("SyncKey", "0")])
        plain = device.command("FolderSync", tree)
        self.assertIsNone(plain.headers["Content-Encoding"])
        packed = device.command("FolderSync", tree, fields={"Accept-Encoding": "gzip, deflate"})
        self.assertEqual(packed.headers["Content-Encoding"], "gzip")
        self.assertLess(len(packed.raw), len(plain.raw))
        self.assertEqual(int(packed.headers["Content-Length"]), len(packed.raw))
        self.assertEqual(packed.text("Changes/Count"), plain.text("Changes/Count"))
        refused = device.command("FolderSync", tree, fields={"Accept-Encoding": "gzip;q=0"})
        self.assertIsNone(refused.headers["Content-Encoding"])

    def test_ASHTTP_S01_TC11_TC13_command_codes(self):
        for name, root in (("FolderSync", "FolderSync"), ("Settings", "Settings"),
                           ("Ping", "Ping"), ("Provision", "Provision")):
            for version in ("12.1", "14.0", "14.1", "16.0", "16.1"):
                with self.subTest(cmd=name, version=version):
                    device = self.device(version, "base64")
                    answer = device.command(name, (root, None), key=0)
                    if name == "Provision":
                        self.assertEqual(answer.tree, ("Provision", [("Status", "1")]))
                    else:
                        self.assertRefused(answer, name, 142, version)

    def test_ASHTTP_S02_TC01_version_191(self):
        raw = struct.pack("<BBH", 191, 9, 0x0409) + b"\x05DEV01\x00\x04Test"
        target = eas.PATH + "?" + base64.b64encode(raw).decode().replace("+", "%2B")
        device = self.device()
        for _ in range(2):
            answer = device.http("POST", target, {"Authorization": eas.basic("ann", "secret")},
                                 wbxml.encode(("FolderSync", [("SyncKey", "0")])))
            self.assertEqual(answer.http, 400)

    def test_ASHTTP_S02_TC02_no_credentials_then_a_wrong_password(self):
        device = self.device()
        target = device.target("FolderSync")
        none = device.http("POST", target, {"MS-ASProtocolVersion": "14.1"})
        self.assertEqual(none.http, 401)
        device.password = "wrong"
        wrong = device.foldersync()
        self.assertEqual(wrong.http, 401)
        for answer in (none, wrong):
            self.assertRegex(answer.headers["WWW-Authenticate"], r'^Basic realm="')

    def test_ASHTTP_S02_TC04_wrong_path(self):
        device = self.device()
        answer = device.http("POST", device.target("FolderSync").replace("?", "/NotSupport?"),
                             device.headers(0))
        self.assertEqual(answer.http, 404)

    def test_ASHTTP_S02_TC05_unknown_command(self):
        for version in VERSIONS:
            with self.subTest(version=version):
                self.assertEqual(self.device(version).command("NotExist").http, 501)

    def test_ASHTTP_S03_TC02_user_agents(self):
        device = self.device()
        device.handshake()
        for agent in ("Apple-iPhone9C1/1402.100", "TestMail/2.0", "x" * 500):
            device.agent = agent
            self.assertFolders(device.foldersync())

    def test_ASHTTP_S03_TC03_key_header_of_a_handshake(self):
        for form in ("plain", "base64"):
            with self.subTest(form=form):
                device = self.device("14.1", form)
                offer = device.provision_initial(key=None)
                self.assertOffered(offer)
                self.assertOffered(device.provision_ack(offer.key, key=int(offer.key)))

    def test_ASHTTP_S04_TC01_options(self):
        answer = self.device().options()
        self.assertEqual((answer.http, answer.body), (200, b""))
        self.assertEqual(answer.headers["MS-ASProtocolVersions"], ",".join(VERSIONS))
        commands = answer.headers["MS-ASProtocolCommands"].split(",")
        self.assertEqual(sorted(commands), ["FolderSync", "Ping", "Provision", "Settings"])
        self.assertEqual(answer.headers["Content-Length"], "0")

    def test_ASHTTP_R1202_folder_sync_0_brings_versions_and_commands(self):
        device = self.device()
        device.handshake()
        answer, options = device.foldersync("0"), device.options()
        for name in ("MS-ASProtocolVersions", "MS-ASProtocolCommands"):
            self.assertEqual(answer.headers[name], options.headers[name])
        later = device.foldersync(answer.text("SyncKey"))
        self.assertIsNone(later.headers["MS-ASProtocolVersions"])

    def test_ASCMD_S21_TC07_unknown_element(self):
        for version in VERSIONS:
            with self.subTest(version=version):
                device = self.device(version)
                device.handshake()
                body = b"\x03\x01\x6a\x00\x00\x07\x56\x52\x030\x00\x01\x7f\x01\x01"
                answer = device.command("FolderSync", body)
                if number(version) < 140:
                    self.assertEqual(answer.http, 400)
                else:
                    self.assertEqual(answer.tree, ("FolderSync", [("Status", "102")]))

    def test_ASCMD_S21_TC10_TC11_long_device_id_and_type(self):
        for version in VERSIONS:
            for status, fields in ((108, {"device_id": "D" * 35}),
                                   (109, {"device_type": "T" * 35})):
                with self.subTest(version=version, status=status):
                    answer = self.device(version, **fields).foldersync()
                    if number(version) < 140:
                        self.assertEqual(answer.http, 400)
                    else:
                        self.assertEqual((answer.http, answer.tree),
                                         (200, ("FolderSync", [("Status", str(status))])))


if __name__ == "__main__":
    unittest.main()

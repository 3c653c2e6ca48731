"""What Microsoft's suites leave out: acknowledgements at the edges, and requests as real devices send
them, or worse. Held elsewhere: a new device without a key, keys beside the right one, keys above 2^31,
what acknowledges nothing, Settings as the first command (test_handshake); commands while a wipe is
pending, and the other devices (test_wipe); no policy and a damaged one, which this server never tells
(test_client.Misbehaving.test_policy_status); what a version is sent (test_conformance.Documents).
"""

import base64
import unittest

from harness import eas, wbxml
from harness.case import OwnServerCase, ServerCase
from harness.eas import VERSIONS, number

class Acknowledgements(OwnServerCase):
    def test_nothing_applied(self):
        for version in VERSIONS:
            with self.subTest(version=version):
                device = self.device(version)
                answer = device.provision_ack(device.offer(), status=3)
                self.assertEqual(answer.tree, ("Provision", [("Status", "139")]), answer)

    def test_without_a_status_and_with_two_policies(self):
        for version in VERSIONS:
            with self.subTest(version=version):
                device = self.device(version)
                temporary = device.offer()
                self.assertEqual(device.provision_ack(temporary, status=None).status, 2)
                policy = ("Policy", [("PolicyType", eas.policy_type(version)),
                                     ("PolicyKey", str(temporary)), ("Status", "1")])
                two = device.provision([("Policies", [policy, policy])])
                self.assertEqual(two.tree, ("Provision", [("Status", "2")]), two)
                self.assertOffered(device.provision_ack(temporary))

    def test_the_temporary_key_again_after_the_final_one_was_used(self):
        for version in VERSIONS:
            with self.subTest(version=version):
                device = self.device(version)
                temporary = device.offer()
                device.key = int(device.provision_ack(temporary).key)
                self.assertFolders(device.foldersync())
                self.assertEqual(device.provision_ack(temporary).policy_status, 5)
                self.assertFolders(device.foldersync())

    def test_refreshes(self):
        """143 for a changed policy, 144 for the key that it ended. An elapsed interval:
        test_handshake.PolicyChange.test_refresh_interval."""
        for version in VERSIONS:
            with self.subTest(version=version):
                device = self.device(version)
                old = device.handshake()
                self.admin.policy("DevicePasswordEnabled=1",
                                  f"MinDevicePasswordLength={VERSIONS.index(version) + 4}")
                self.assertRefused(device.foldersync(), "FolderSync", 143, version)
                device.handshake()
                self.assertRefused(device.foldersync(key=old), "FolderSync", 144, version)
                self.assertFolders(device.foldersync())


class OwnCases(ServerCase):
    """Parameters and bodies as real devices send them, or worse."""

    def test_parameters_in_the_order_of_ios(self):
        device = self.device()
        key = device.handshake()
        target = f"{eas.PATH}?User=ann%40example%2Eorg&DeviceId={device.device_id}" \
                 "&DeviceType=iPhone&Cmd=FolderSync"
        answer = device.http("POST", target, device.headers(key),
                             wbxml.encode(("FolderSync", [("SyncKey", "0")])))
        self.assertFolders(answer)

    def test_parameter_names_in_any_case_the_first_of_two_counts(self):
        device = self.device()
        key = device.handshake()
        target = f"{eas.PATH}?cmd=FolderSync&user=ann&deviceid={device.device_id}" \
                 "&devicetype=TestPhone&Cmd=Nothing&DeviceId=OTHER"
        answer = device.http("POST", target, device.headers(key),
                             wbxml.encode(("FolderSync", [("SyncKey", "0")])))
        self.assertFolders(answer)

    def test_base64_alphabets_padding_and_escapes(self):
        device = self.device(form="base64", device_id="TESTDEVB64")
        key = device.handshake()
        coded = device.query64("FolderSync", key)
        body = wbxml.encode(("FolderSync", [("SyncKey", "0")]))
        url_safe = coded.replace("+", "-").replace("/", "_")
        rows = {"standard": coded, "no padding": coded.rstrip("="), "url-safe": url_safe,
                "url-safe without padding": url_safe.rstrip("="),
                "percent-encoded": "".join(f"%{ord(c):02X}" for c in coded)}
        for name, query in rows.items():
            with self.subTest(form=name):
                self.assertFolders(device.http("POST", f"{eas.PATH}?{query}", device.headers(),
                                               body))

    def test_base64_query_cut_at_every_byte(self):
        device = self.device(form="base64")
        key = device.handshake()
        whole = base64.b64decode(device.query64("FolderSync", key))
        body = wbxml.encode(("FolderSync", [("SyncKey", "0")]))
        mandatory = 4 + 1 + len(device.device_id) + 1 + 4 + 1 + len(device.device_type)
        for cut in range(len(whole)):
            if cut == mandatory:  # only the user's name is left out: complete
                continue
            query = base64.b64encode(whole[:cut]).decode().replace("+", "%2B")
            answer = device.http("POST", f"{eas.PATH}?{query}", device.headers(), body)
            with self.subTest(cut=cut):
                self.assertFalse(answer.http == 200 and answer.status == 1, answer)
        self.assertFolders(device.foldersync())

    def test_the_version_header_wins_over_the_version_byte(self):
        device = self.device("16.1", "base64")
        target = device.target("FolderSync", 0)
        fields = dict(device.headers(), **{"MS-ASProtocolVersion": "12.1"})
        answer = device.http("POST", target, fields, wbxml.encode(("FolderSync", None)))
        self.assertEqual(answer.http, 449)

    def test_bodies_cut_at_every_byte(self):
        device = self.device()
        device.handshake()
        whole = wbxml.encode(("FolderSync", [("SyncKey", "0")]))
        for cut in range(1, len(whole)):
            with self.subTest(cut=cut):
                answer = device.command("FolderSync", whole[:cut])
                self.assertEqual(answer.tree, ("FolderSync", [("Status", "102")]))
        self.assertFolders(device.foldersync())

    def test_hostile_bodies(self):
        head = b"\x03\x01\x6a\x00"
        rows = {"nested a thousand deep": head + b"\x00\x07" + b"\x56" * 1000 + b"\x01" * 1000,
                "a million open elements": head + b"\x00\x07" + b"\x56" * 60000,
                "length of six bytes": head + b"\x00\x07\x56\x52\xc3" + b"\x81" * 5 + b"\x01" * 3,
                "opaque of 4 GiB": head + b"\x00\x07\x56\x52\xc3\x8f\xff\xff\xff\x7f\x01\x01",
                "page 26": head + b"\x00\x1a\x56\x52\x030\x00\x01\x01",
                "string without end": head + b"\x00\x07\x56\x52\x03" + b"0" * 100,
                "string table of 4 GiB": b"\x03\x01\x6a\x8f\xff\xff\xff\x7f\x00\x07\x56\x01",
                "another character set": b"\x03\x01\x04\x00\x00\x07\x56\x52\x030\x00\x01\x01",
                "bytes after the root": wbxml.encode(("FolderSync", [("SyncKey", "0")])) + b"\x00",
                "root of another command": wbxml.encode(("Ping", None)),
                "text": b"<?xml version='1.0'?><FolderSync/>"}
        for version in ("12.1", "14.1"):
            device = self.device(version)
            device.handshake()
            for name, body in rows.items():
                with self.subTest(version=version, row=name):
                    answer = device.command("FolderSync", body)
                    if version == "12.1":
                        self.assertEqual((answer.http, answer.body), (400, b""))
                    else:
                        self.assertEqual((answer.http, answer.root), (200, "FolderSync"))
                        self.assertIn(answer.status, (102, 103, 10))
            self.assertFolders(device.foldersync())

    def test_odd_but_legal_encodings(self):
        device = self.device()
        device.handshake()
        tree = ("FolderSync", [("SyncKey", "0")])
        rows = {"page switch before every tag": wbxml.encode(tree, full_tags=True),
                "text as opaque": wbxml.encode(tree, opaque_text=True),
                "with a string table": b"\x03\x01\x6a\x04abc\x00" + wbxml.encode(tree)[4:]}
        for name, body in rows.items():
            with self.subTest(row=name):
                self.assertFolders(device.command("FolderSync", body))

    def test_refusals_do_not_look_at_the_body(self):
        for version in VERSIONS:
            with self.subTest(version=version):
                answer = self.device(version).command("FolderSync", b"\xff" * 100)
                self.assertRefused(answer, "FolderSync", 142, version)

    def test_an_empty_body_is_a_bad_request(self):
        device = self.device()
        device.handshake()
        self.assertEqual(device.command("FolderSync").http, 400)
        self.assertFolders(device.foldersync())

    def test_provision_with_a_broken_body(self):
        for version in VERSIONS:
            with self.subTest(version=version):
                answer = self.device(version).command("Provision", b"\x03\x01\x6a\x00\x00\x0e\x45")
                if number(version) < 140:
                    self.assertEqual(answer.http, 400)
                else:
                    self.assertEqual(answer.tree, ("Provision", [("Status", "102")]))

    def test_settings_not_there_in_2_5(self):
        device = self.device("2.5")
        device.handshake()
        self.assertIn(device.settings_device_information().http, (400, 501))


if __name__ == "__main__":
    unittest.main()

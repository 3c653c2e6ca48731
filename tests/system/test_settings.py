"""Settings: what is kept of the device, what is told of the user, and what is honestly not done."""

import contextlib
import sqlite3
import unittest

from harness.case import OwnServerCase, ServerCase
from harness.eas import MATRIX, VERSIONS, number

STATUS_2 = ("Settings", [("Status", "2")])


class SettingsCase(ServerCase):
    config = 'domain = "example.org";\n'
    users = {"ann": "secret", "eve@example.com": "secret"}

    def ready(self, **more):
        device = self.device(**more)
        device.handshake()
        return device

    def settings(self, device, *properties):
        answer = device.command("Settings", ("Settings", list(properties)))
        self.assertEqual(answer.http, 200, answer)
        return answer.tree

    def assertProperties(self, tree, *want):
        self.assertEqual(tree, ("Settings", [("Status", "1"), *want]))


class Settings(SettingsCase):
    def test_device_information(self):
        for version, form in MATRIX:
            if version == "2.5":
                continue
            with self.subTest(version=version, form=form):
                device = self.ready(version=version, form=form)
                answer = device.settings_device_information(Model="One", OS="Two", PhoneNumber="3")
                self.assertProperties(answer.tree, ("DeviceInformation", [("Status", "1")]))

    def test_device_information_limits(self):
        device = self.ready()
        for text, status in (("x" * 1024, "1"), ("ä" * 1024, "1"), ("x" * 1025, "5")):
            tree = self.settings(device, ("DeviceInformation", [("Set", [("Model", text)])]))
            self.assertProperties(tree, ("DeviceInformation", [("Status", status)]))
        for content in (None, [("Get", None)], [("Set", [("Model", [("OS", "x")])])]):
            with self.subTest(str(content)):
                tree = self.settings(device, ("DeviceInformation", content))
                self.assertProperties(tree, ("DeviceInformation", [("Status", "2")]))
        tree = self.settings(device, ("DeviceInformation", [("Set", None)]))  # deletes
        self.assertProperties(tree, ("DeviceInformation", [("Status", "1")]))

    def test_user_information(self):
        for version in VERSIONS[1:]:
            for user, address in (("ann", "ann@example.org"),
                                  ("eve@example.com", "eve@example.com")):
                with self.subTest(version=version, user=user):
                    device = self.ready(version=version, user=user)
                    plain = ("SMTPAddress", address)
                    if number(version) >= 141:
                        addresses = [plain, ("PrimarySmtpAddress", address)]
                        inner = ("Accounts", [("Account", [("EmailAddresses", addresses)])])
                    else:
                        inner = ("EmailAddresses", [plain])
                    tree = self.settings(device, ("UserInformation", [("Get", None)]))
                    self.assertProperties(tree, ("UserInformation", [("Status", "1"),
                                                                     ("Get", [inner])]))
        tree = self.settings(self.ready(), ("UserInformation", [("Set", None)]))
        self.assertProperties(tree, ("UserInformation", [("Status", "2")]))

    def test_device_password(self):
        device = self.ready()
        for text, status in (("1234", "7"), ("x" * 255, "7"), ("ä" * 255, "7"), ("x" * 256, "5"),
                             ("ä" * 256, "5")):
            with self.subTest(length=len(text)):
                tree = self.settings(device, ("DevicePassword", [("Set", [("Password", text)])]))
                self.assertProperties(tree, ("DevicePassword", [("Status", status)]))
        for content in (None, [("Set", None)], [("Set", [("Password", None)])], [("Get", None)]):
            with self.subTest(str(content)):
                self.assertEqual(self.settings(device, ("UserInformation", [("Get", None)]),
                                               ("DevicePassword", content)), STATUS_2)
        self.assertNotIn("1234", self.server.log)

    def test_order_of_the_request(self):
        device = self.ready(version="14.0")
        parts = {
            "UserInformation": ([("Get", None)], [("Status", "1"), ("Get", [
                ("EmailAddresses", [("SMTPAddress", "ann@example.org")])])]),
            "DeviceInformation": ([("Set", [("Model", "x")])], [("Status", "1")]),
            "Oof": ([("Get", [("BodyType", "Text")])],
                    [("Status", "1"), ("Get", [("OofState", "0")])]),
            "DevicePassword": ([("Set", [("Password", "x")])], [("Status", "7")]),
        }
        for order in (list(parts), list(parts)[::-1]):
            tree = self.settings(device, *((name, parts[name][0]) for name in order))
            self.assertProperties(tree, *((name, parts[name][1]) for name in order))

    def test_not_offered(self):
        device = self.ready()
        tree = self.settings(device, ("Oof", [("Set", [("OofState", "1")])]))
        self.assertProperties(tree, ("Oof", [("Status", "2")]))
        tree = self.settings(device, ("RightsManagementInformation", [("Get", None)]))
        self.assertProperties(tree, ("RightsManagementInformation", [("Status", "168")]))

    def test_malformed(self):
        device = self.ready()
        twice = ("UserInformation", [("Get", None)])
        for properties in ((), (twice, twice), (("Status", "1"),), (("AirSync:SyncKey", "0"),)):
            with self.subTest(str(properties)):
                self.assertEqual(self.settings(device, *properties), STATUS_2)

    def test_refused_in_its_own_root(self):
        for version in VERSIONS[1:]:
            with self.subTest(version):
                answer = self.device(version).settings_device_information()
                self.assertRefused(answer, "Settings", 142, version)


class Kept(OwnServerCase):
    def stored(self, device):
        with contextlib.closing(sqlite3.connect(next(self.server.state.glob("*.db")))) as db:
            return "\n".join(row for row in db.iterdump() if device.device_id in row)

    def test_over_a_restart(self):
        device = self.device(version="12.1")
        device.handshake()
        device.settings_device_information(Model="One", FriendlyName="Mine")
        device.settings_device_information(FriendlyName="", OS="Two")
        for kill in (False, True):
            self.server.restart(kill=kill)
            shown = self.stored(device)
            self.assertIn("One", shown)
            self.assertIn("Two", shown)
            self.assertNotIn("Mine", shown)

    def test_no_address_without_a_domain(self):
        device = self.device(version="14.0")
        device.handshake()
        self.assertEqual(device.settings_user_information().tree,
                         ("Settings", [("Status", "1"), ("UserInformation", [
                             ("Status", "1"), ("Get", [("EmailAddresses", None)])])]))


if __name__ == "__main__":
    unittest.main()

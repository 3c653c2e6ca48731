"""DeviceInformation: demanded where configured (Status 165 from 14.1 on), kept from Provision and Settings."""

import unittest

from harness.case import OwnServerCase, ServerCase
from harness.eas import VERSIONS, device_information, number


class NotDemanded(ServerCase):
    def test_a_device_that_says_nothing_gets_its_policy(self):
        for version in VERSIONS:
            with self.subTest(version=version):
                self.assertOffered(self.device(version).provision_initial(information=None))


class Demanded(OwnServerCase):
    config = "require_device_information = true;"

    def test_from_14_1_on_it_must_be_in_the_first_request(self):
        for version in VERSIONS:
            with self.subTest(version=version):
                device = self.device(version)
                answer = device.provision_initial(information=None)
                if number(version) < 141:
                    self.assertOffered(answer)
                    continue
                self.assertEqual((answer.http, answer.tree), (200, ("Provision", [("Status", "165")])))
                device.handshake()
                self.assertFolders(device.foldersync())
                # Told once is not told again: each handshake has it.
                self.assertEqual(device.provision_initial(information=None).status, 165)
                self.assertFolders(device.foldersync())

    def test_it_is_kept_over_a_restart(self):
        device = self.device("14.1")
        device.provision_initial(information=device_information("Slate 2", OS="Flint 1"))
        device.handshake()  # with another model
        self.assertEqual(device.settings_device_information(Model="Slate 3").status, 1)
        self.server.restart(kill=True)
        row = self.admin.device(device.user, device.device_id)
        self.assertEqual((row["model"], row["os"]), ("Slate 3", "Flint 1"))


if __name__ == "__main__":
    unittest.main()

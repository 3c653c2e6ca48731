"""Devices that loop: slowed, then blocked; real clients never are."""

import time
import unittest

from harness.case import OwnServerCase
from harness.eas import MATRIX, number
from harness.server import wait_for

ON = "damping = true;"
SLOW = 503


def handshake_loop(device):
    """One turn of AOSP's loop: the key is granted, and yet it asks again."""
    device.foldersync(key=0)
    device.handshake()


def ask_until_slow(ask, most=200):
    """The first answer that is 503, and how many were given before."""
    for n in range(most):
        answer = ask()
        if answer.http == SLOW:
            return answer, n
    raise AssertionError(f"not slowed by {most} requests")


class Damping(OwnServerCase):
    config = ON

    def listed(self, device):
        return self.admin.device(device.user, device.device_id)

    def block(self, device):
        """Loops as AOSP does, without regard to Retry-After, until it is blocked."""
        def pressed():
            device.foldersync(key=0)
            return self.listed(device)["state"] == "blocked" if pressed.n % 50 == 0 else False
        pressed.n = 0
        for _ in range(2000):
            pressed.n += 1
            if pressed():
                return
        raise AssertionError("never blocked")


class Loops(Damping):
    def assertSlowed(self, answer):
        self.assertEqual((answer.http, answer.body), (SLOW, b""), answer)
        self.assertIn(int(answer.headers["Retry-After"]), range(1, 301))

    def test_handshake_after_handshake(self):
        device = self.device()
        device.handshake()

        def turn():
            answer = device.foldersync(key=0)
            if answer.http != SLOW:
                device.handshake()
            return answer
        answer, turns = ask_until_slow(turn)
        self.assertSlowed(answer)
        self.assertIn(turns, range(5, 20))
        self.assertSlowed(device.provision_initial())

    def test_refusal_after_refusal(self):
        device = self.device()
        answer, turns = ask_until_slow(lambda: device.foldersync(key=0))
        self.assertSlowed(answer)
        self.assertGreater(turns, 20)
        # What ends the loop is not in its way.
        device.handshake()
        self.assertFolders(device.foldersync())

    def test_provision_after_provision(self):
        device = self.device()
        temporary = []

        def ask():
            answer = device.provision_initial()
            if answer.http == 200:
                temporary.append(answer.key)
            return answer
        answer, turns = ask_until_slow(ask)
        self.assertSlowed(answer)
        self.assertGreater(turns, 8)
        self.assertOffered(device.provision_ack(temporary[-1]))

    def test_acknowledged_in_vain(self):
        device = self.device()

        def turn():
            answer = device.provision_initial()
            if answer.http == 200:
                self.assertEqual(device.provision_ack(answer.key, status=2).http, 200)
            return answer
        self.assertSlowed(ask_until_slow(turn)[0])

    def test_the_same_refused_acknowledgement(self):
        device = self.device()
        temporary = device.offer()
        answer, _ = ask_until_slow(lambda: device.provision_ack(temporary, status=2))
        self.assertSlowed(answer)
        # A better one is heard.
        self.assertOffered(device.provision_ack(temporary))

    def test_a_new_id_each_time(self):
        made = []

        def ask():
            device = self.device()
            answer = device.foldersync(key=0)
            if answer.http != SLOW:
                made.append(device)
            return answer
        answer, turns = ask_until_slow(ask)
        self.assertSlowed(answer)
        self.assertGreater(turns, 15)
        self.assertEqual(len(self.admin.devices()), turns, "a slowed one is not made")
        # Those that are known go on, other users too, and finished handshakes make room.
        for device in made[:5]:
            device.handshake()
            self.assertFolders(device.foldersync())
        self.assertEqual(self.device(user="bob").foldersync(key=0).http, 200)
        self.assertEqual(self.device().foldersync(key=0).http, 200)

    def test_a_changed_policy_is_another_matter(self):
        device = self.device()

        def turn():
            answer = device.provision_initial()
            if answer.http == 200:
                device.provision_ack(answer.key, status=2)
            return answer
        ask_until_slow(turn)
        self.admin.policy("AllowPartial=1")
        device.handshake()

    def test_other_devices_are_not_slowed(self):
        device, other = self.device(), self.device()
        other.handshake()
        ask_until_slow(lambda: device.foldersync(key=0))
        for _ in range(100):
            self.assertFolders(other.foldersync())


class Blocked(Damping):
    def test_blocked_told_and_after_a_restart(self):
        device = self.device()
        device.handshake()
        key = device.key
        self.block(device)
        row = self.listed(device)
        self.assertEqual((row["state"], row["access_by"]), ("blocked", "loop"))
        self.assertRefused(device.foldersync(key=key), "FolderSync", 129, "14.1")
        acts = wait_for("the line of the audit log", lambda: [
            line for line in self.admin("audit") if line["act"] == "device.loop-blocked"])
        self.assertEqual(len(acts), 1)
        self.assertEqual((acts[0]["user"], acts[0]["device_id"], acts[0]["after"]["state"]),
                         (device.user, device.device_id, "blocked"))
        self.server.stop()
        self.server.start()
        device.close()
        self.assertRefused(device.foldersync(key=key), "FolderSync", 129, "14.1")
        self.assertEqual(self.listed(device)["state"], "blocked")

    def test_allow_ends_it_at_once(self):
        device = self.device()
        device.handshake()
        key = device.key
        for _ in range(2):  # the second time the word is there already
            self.block(device)
            self.admin("device", "allow", device.user, device.device_id)
            self.assertFolders(device.foldersync(key=key))
        self.assertEqual(self.listed(device)["state"], "provisioned")
        self.server.restart(kill=True)
        device.close()
        self.assertFolders(device.foldersync(key=key))

    def test_a_wipe_gets_through(self):
        slowed, blocked = self.device("16.1"), self.device("16.1")
        for device in (slowed, blocked):
            device.handshake()
        while slowed.foldersync(key=0).http != SLOW:
            pass
        self.block(blocked)
        for device in (slowed, blocked):
            self.admin("device", "wipe", device.user, device.device_id)
            for _ in range(60):
                self.assertRefused(device.foldersync(key=0), "FolderSync", 140, "16.1")
            answer = device.provision(None)
            self.assertTrue(answer.has("AccountOnlyRemoteWipe"), answer)
            answer = device.provision([("AccountOnlyRemoteWipe", [("Status", "1")])])
            self.assertEqual(answer.status, 1, answer)
            self.assertEqual(self.listed(device)["wipe_state"], "acknowledged")

    def test_log_is_bounded(self):
        device = self.device()
        self.block(device)
        for _ in range(500):
            device.foldersync(key=0)

        def lines(verb=""):
            return [one for one in self.server.lines
                    if device.device_id in one and verb in one]
        wait_for("the count of what was left out", lambda: lines("log-suppressed"))
        self.assertLess(len(lines()), 150)
        told = sum(int(one.rsplit("suppressed=", 1)[1]) for one in lines("log-suppressed"))
        self.assertGreater(told, 300)

    def test_log_is_bounded_of_what_succeeds(self):
        """A device that is in and asks as fast as it can; then the same without a trail."""
        device = self.device()
        device.handshake()
        broken = ("FolderSync", [("Status", "1")])
        for again in (False, True):
            if again:
                self.server.restart()
                device.close()
            started = time.monotonic()
            for _ in range(150):
                self.assertFolders(device.foldersync())
                device.command("FolderSync", b"\x03\x01\x6a\x00\x01")
                device.command("FolderSync", broken)
                device.command("FolderSync", None, key=1)  # its body got lost
            lines = [one for one in self.server.lines if device.device_id in one]
            self.assertLess(len(lines), 100 + 2 * (time.monotonic() - started))


class Log(OwnServerCase):
    """Nobody is slowed, and yet no device fills the log."""
    config = "damping = false;"

    def test_lines_of_one_device_are_bounded(self):
        bad = b"\x03\x01\x6a\x00\xff"
        rows = [("foldersync", lambda device: device.foldersync()),
                ("body-refused", lambda device: device.command("FolderSync", bad)),
                ("body-refused", lambda device: device.command("Provision", bad)),
                ("provision-bad", lambda device: device.provision([("Policies", None)]))]
        for verb, ask in rows:
            with self.subTest(verb=verb):
                device = self.device()
                device.handshake()
                began = time.monotonic()
                for _ in range(400):
                    self.assertEqual(ask(device).http, 200)

                def lines(verb):
                    return [one for one in self.server.lines
                            if device.device_id in one and f" {verb} " in one]
                wait_for("the count of what was left out", lambda: lines("log-suppressed"))
                took = int(time.monotonic() - began) + 1
                self.assertIn(len(lines(verb)), range(1, 61 + took))
                self.assertLess(took, 200)


class Off(OwnServerCase):
    config = "damping = false;"

    def test_nobody_is_slowed(self):
        device = self.device()
        for _ in range(60):
            handshake_loop(device)
        for _ in range(400):
            self.assertEqual(device.foldersync(key=0).http, 200)
        self.assertEqual(self.admin.device(device.user, device.device_id)["state"], "provisioned")


class RealClients(Damping):
    """What real clients do, one request right after the other."""

    def run_client(self, device, steps):
        temporary = None
        for step in steps.split():
            if step == "command":
                answer = device.foldersync()
            elif step == "settings":
                answer = device.settings_device_information()
            elif step == "ask":
                answer = device.provision_initial()
                temporary = answer.key
            elif step.startswith("ack"):
                answer = device.provision_ack(temporary, status=int(step[3:] or 1))
                device.key = int(answer.key or device.key)
            self.assertNotEqual(answer.http, SLOW, f"{device.device_id}: {step} of {steps}")

    def test_never_slowed(self):
        rows = [("hstern", "ask ack command command"),
                ("reactive", "command ask ack command"),
                ("AOSP, account check", "command ask command ask ack command command"),
                ("AOSP, asks for partial", "command ask ack2 command ask ack2 ask ack command"),
                ("TbSync", "settings command ask ack settings command settings"),
                ("many folders", " ".join(["command"] * 12) + " ask ack command"),
                ("gives up", "command ask ack command command")]
        for name, steps in rows:
            for version, form in MATRIX:
                if number(version) < 140 and "settings" in steps:
                    continue
                with self.subTest(client=name, version=version, form=form):
                    device = self.device(version, form)
                    for _ in range(2):  # the account is removed and added once more
                        device.key = 0
                        self.run_client(device, steps)

    def test_ten_phones_of_one_user(self):
        for _ in range(10):
            self.run_client(self.device(), "command ask command ask ack command")

    def test_a_phone_that_waits_is_served(self):
        device = self.device()
        answer, _ = ask_until_slow(lambda: device.foldersync(key=0))
        time.sleep(int(answer.headers["Retry-After"]) + 1)
        self.assertEqual(device.foldersync(key=0).http, 200)


if __name__ == "__main__":
    unittest.main()

"""Who may come in: guessing is slowed down, those who were verified never are."""

import concurrent.futures
import time
import unittest

from harness.case import OwnServerCase, ServerCase
from harness.eas import MATRIX, basic
from harness.server import hash_password, own_address, wait_for


class Credentials(OwnServerCase):
    def test_near_misses(self):
        rows = [("ann", ""), ("ann", "secret "), ("ANN", "secret"), ("nobody", "secret"),
                ("ann\0x", "secret")]
        for user, password in rows:
            with self.subTest(user=user, password=password):
                device = self.device()
                device.login, device.password = user, password
                self.assertEqual(device.foldersync().http, 401)

    def test_a_password_with_colons_and_beyond_ascii(self):
        self.server.users["dora"] = "pässwörd:☃"
        self.server.write_users()
        self.server.restart()
        for user in ("carl", "dora"):
            with self.subTest(user=user):
                device = self.device(user=user)
                self.assertRefused(device.foldersync(), "FolderSync", 142, "14.1")

    def test_hashes_that_mail_servers_have(self):
        rows = {"sha512": "$6$abcdefgh", "sha256": "$5$abcdefgh", "bcrypt": "$2b$04$" + "a" * 22,
                "yescrypt": "$y$j75$abcdefgh"}
        with open(self.server.users_file, "a", encoding="utf-8") as users:
            for name, salt in rows.items():
                users.write(f"{name}:{hash_password('word', salt)}:1000:further:fields\n")
            users.write("locked:!\nstar:*\nempty:\nbang:!" + hash_password("word") + "\n")
        self.server.restart()
        for name in rows:
            with self.subTest(hash=name):
                device = self.device(user=name, password="word")
                self.assertRefused(device.foldersync(), "FolderSync", 142, "14.1")
        for name, word in (("locked", "!"), ("star", "*"), ("empty", ""), ("bang", "word")):
            with self.subTest(locked=name):
                self.assertEqual(self.device(user=name, password=word).foldersync().http, 401)


class Guessing(OwnServerCase):
    def timed(self, device):
        began = time.monotonic()
        answer = device.foldersync()
        return answer, time.monotonic() - began

    def test_slowed_down_from_the_sixth_failure_in_a_minute(self):
        device = self.device(password="wrong")
        for _ in range(5):
            self.assertEqual(device.foldersync().http, 401)
        for seconds in (1, 2):  # a lower bound: the server holds the answer back on purpose
            answer, took = self.timed(device)
            self.assertEqual(answer.http, 401)
            self.assertGreaterEqual(took, seconds)

    def burst(self, count, user="ann"):
        """Wrong passwords for a user, all at once. Returns the futures."""
        pool = concurrent.futures.ThreadPoolExecutor(count)
        self.addCleanup(pool.shutdown)
        devices = [self.device(user=user, password=f"wrong {i}") for i in range(count)]
        return [pool.submit(device.foldersync) for device in devices]

    def test_many_failures_are_put_off(self):
        answers = [f.result() for f in self.burst(40)]
        self.assertLessEqual({a.http for a in answers}, {401, 503})
        answer = self.device(password="wrong").foldersync()
        self.assertEqual(answer.http, 503)
        self.assertGreater(int(answer.headers["Retry-After"]), 0)

    def test_verified_credentials_are_never_slowed_down(self):
        good = self.device()
        good.handshake()
        guesses = self.burst(60)
        wait_for("a guess that is put off", lambda: any(
            f.done() and f.result().http == 503 for f in guesses))
        for _ in range(20):
            self.assertFolders(good.foldersync())
        fresh = self.device()
        self.assertRefused(fresh.foldersync(), "FolderSync", 142, "14.1")
        self.assertFalse(all(f.done() for f in guesses), "answered while guesses are held back")


class ManyNames(OwnServerCase):
    """One stranger who tries another name each time: only his address is always the same."""

    def guess(self, address, count=80):
        pool = concurrent.futures.ThreadPoolExecutor(count)
        self.addCleanup(pool.shutdown)
        devices = [self.device(user=f"guess{i}", password="x", address=address)
                   for i in range(count)]
        guesses = [pool.submit(device.foldersync) for device in devices]
        wait_for("enough failures", lambda: self.server.log.count("login-") >= 70)
        return guesses

    def test_he_is_put_off(self):
        address = own_address()
        if not address:
            self.skipTest("this machine has no address but that of itself")
        self.server.write_config(f'listen = "{address}:0";')
        self.server.restart()
        guesses = self.guess(address)
        self.assertLessEqual({g.result().http for g in guesses}, {401, 503})
        self.assertEqual(self.device(address=address).foldersync().http, 503)

    def test_through_a_proxy_he_keeps_nobody_out(self):
        """Whoever comes through a proxy on this machine has one address with all others."""
        guesses = self.guess("127.0.0.1")
        self.assertRefused(self.device().foldersync(), "FolderSync", 142, "14.1")
        self.assertEqual({g.result().http for g in guesses}, {401})


class BehindAProxy(OwnServerCase):
    """The stranger comes through a proxy that tells who he is; the others come through it as well."""

    def through(self, device, client):
        """What a device gets when the proxy says that it is `client`."""
        return device.command("FolderSync", ("FolderHierarchy:FolderSync", [("SyncKey", "0")]),
                              fields={"X-Forwarded-For": client}).http

    def guess(self, client, count=80):
        with concurrent.futures.ThreadPoolExecutor(count) as pool:
            devices = [self.device(user=f"guess{i}", password="x") for i in range(count)]
            return {*pool.map(lambda device: self.through(device, client), devices)}

    def test_it_is_the_stranger_who_is_put_off(self):
        self.server.write_config('proxies = "127.0.0.1";')
        self.server.restart()
        # What he puts there himself stands in front of what the proxy adds.
        self.assertEqual(self.guess("192.0.2.77, 203.0.113.9"), {401, 503})
        self.assertEqual(self.through(self.device(user="more", password="x"), "203.0.113.9"), 503)
        self.assertEqual(self.through(self.device(user="more", password="x"), "192.0.2.77"), 401)
        self.assertIn("peer=203.0.113.9", str(self.server.log))
        self.assertNotIn("peer=127.0.0.1", str(self.server.log))

    def test_nobody_else_is_believed(self):
        self.server.write_config('proxies = ("192.0.2.1", "unix");')
        self.server.restart()
        self.assertEqual(self.through(self.device(password="x"), "203.0.113.9"), 401)
        self.assertNotIn("203.0.113.9", str(self.server.log))


class Disabled(OwnServerCase):
    def test_every_version(self):
        devices = [self.device(*row) for row in MATRIX]
        for device in devices:
            device.handshake()
        self.admin("user", "disable", "ann")
        for device in devices:
            with self.subTest(version=device.version, form=device.form):
                self.assertRefused(device.foldersync(), "FolderSync", 126, device.version)
                self.assertRefused(device.provision_initial(), "Provision", 126, device.version)
        self.assertRefused(self.device(user="bob").foldersync(), "FolderSync", 142, "14.1")
        self.server.restart(kill=True)
        for device in devices:
            device.close()
            self.assertRefused(device.foldersync(), "FolderSync", 126, device.version)
        self.admin("user", "enable", "ann")
        for device in devices:
            self.assertFolders(device.foldersync())


class PasswordChanges(OwnServerCase):
    def test_through_the_administrator(self):
        device = self.device()
        device.handshake()
        self.admin("user", "passwd", "ann", stdin="another\n")
        self.assertEqual(device.foldersync().http, 401)
        device.password = "another"
        self.assertFolders(device.foldersync())
        self.assertNotIn("another", self.server.log)

    def test_in_the_file_by_hand(self):
        device = self.device()
        device.handshake()
        self.server.users["ann"] = "another"
        self.server.write_users()
        self.server.reload()
        device.password = "another"
        wait_for("the new password", lambda: device.foldersync().http == 200)
        device.password = "secret"
        self.assertEqual(device.foldersync().http, 401)

    def test_a_user_taken_out_of_the_file(self):
        device = self.device(user="bob")
        device.handshake()
        del self.server.users["bob"]
        self.server.write_users()
        self.server.reload()
        wait_for("the user to be gone", lambda: device.foldersync().http == 401)


class UsersFileGone(ServerCase):
    def test_503_and_never_an_open_door(self):
        device = self.device()
        device.handshake()
        self.server.users_file.unlink()
        self.server.reload()
        self.assertIn(self.device(user="bob").foldersync().http, (200, 503))
        self.assertIn(self.device(user="bob", password="wrong").foldersync().http, (401, 503))
        self.assertNotEqual(self.device(user="bob", password=basic("a", "b")).foldersync().http,
                            200)


if __name__ == "__main__":
    unittest.main()

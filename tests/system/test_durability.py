"""What was told is kept: over kill -9 at any moment, and when the disk is full."""

import http.client
import os
import pathlib
import random
import resource
import subprocess
import tempfile
import threading
import time
import unittest

from harness.case import OwnServerCase, ServerCase
from harness.eas import Device
from harness.server import Server


class Phone(threading.Thread):
    """Provisions again and again, and remembers what it was told last."""

    def __init__(self, device):
        super().__init__(daemon=True)
        self.device, self.told, self.pending, self.handshakes = device, 0, None, 0

    def run(self):
        try:
            while True:
                temporary = self.device.offer()
                self.pending = temporary
                answer = self.device.provision_ack(temporary)
                if answer.policy_status != 1:
                    return
                self.told, self.pending = int(answer.key), None
                self.handshakes += 1
        except (OSError, http.client.HTTPException, AssertionError):
            return  # the server is gone


class Killed(OwnServerCase):
    def test_no_told_key_is_lost(self):
        chance = random.Random(4)
        total = 0
        for _ in range(6):
            phones = [Phone(self.device(device_id=f"PHONE{i}")) for i in range(8)]
            for phone in phones:
                phone.start()
            time.sleep(0.2 + chance.random())
            self.server.kill()
            for phone in phones:
                phone.join(30)
                phone.device.close()
            self.server.start()
            for phone in phones:
                self.check(phone)
                total += phone.handshakes
        self.assertGreater(total, 6 * 8, "too few handshakes to prove anything")

    def check(self, phone):
        """The told key opens. If an acknowledgement was under way its key may have taken over;
        repeating it tells that key."""
        device, device.key = phone.device, phone.told
        if phone.told:
            answer = device.foldersync()
            if answer.status == 1:
                return
            self.assertIsNotNone(phone.pending, f"told {phone.told}, refused: {answer}")
        if phone.pending:
            answer = device.provision_ack(phone.pending)
            if phone.told or answer.policy_status == 1:
                self.assertOffered(answer)
                device.key = int(answer.key)
                self.assertFolders(device.foldersync())

    def test_a_told_policy_is_kept(self):
        for length in (4, 5, 6, 7):
            self.admin.policy("DevicePasswordEnabled=1", f"MinDevicePasswordLength={length}")
            self.server.restart(kill=True)
            shown = self.admin("policy", "show", "default")
            self.assertEqual(str(shown["settings"]["MinDevicePasswordLength"]), str(length))

    def test_stopping_in_the_middle_of_handshakes(self):
        phones = [Phone(self.device()) for _ in range(8)]
        for phone in phones:
            phone.start()
        time.sleep(0.5)
        self.server.restart()
        for phone in phones:
            phone.join(30)
            phone.device.close()
            self.check(phone)


class FullDisk(unittest.TestCase):
    """503 while nothing can be written, never a key that is not on disk; afterwards all is well."""

    def story(self, server, fill, free):
        old, new = Device(server), Device(server)
        old.handshake()
        fill()
        temporary = None
        for _ in range(200):  # what is reserved already may take a few more
            answer = new.provision_initial()
            if answer.http == 200:
                temporary = answer.key
                answer = new.provision_ack(temporary)
            if answer.http != 200:
                break
        self.assertEqual(answer.http, 503, "no answer told that nothing can be written")
        self.assertGreater(int(answer.headers["Retry-After"]), 0)
        refused = Device(server).foldersync()
        self.assertIn((refused.http, refused.status if refused.http == 200 else None),
                      ((200, 142), (503, None)))
        free()
        new.handshake()
        server.restart(kill=True)
        for device in (old, new):
            device.close()
            answer = device.foldersync()
            self.assertEqual((answer.http, answer.status), (200, 1), answer)

    def test_file_system_without_room(self):
        where = pathlib.Path(tempfile.mkdtemp(prefix="provost-full-"))
        self.addCleanup(where.rmdir)
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(where)],
                                 capture_output=True)
        if mounted.returncode:
            self.skipTest("a small file system cannot be mounted here")
        self.addCleanup(subprocess.run, ["umount", "-l", str(where)], check=True)
        with Server(state=where) as server:
            self.story(server, lambda: self.fill(where / "filler"), (where / "filler").unlink)

    @staticmethod
    def fill(path):
        with open(path, "wb", buffering=0) as filler:
            try:
                while filler.write(b"\0" * 4096):
                    pass
            except OSError:
                pass

    def test_file_size_limit(self):
        with Server(ignore_signals=True) as server:
            def limit(most):
                hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
                resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (most, hard))
            biggest = max(os.path.getsize(path) for path in server.state.iterdir())
            self.story(server, lambda: limit(biggest), lambda: limit(resource.RLIM_INFINITY))


class Gone(ServerCase):
    def test_a_second_server_on_the_same_state_is_refused(self):
        with self.assertRaises(AssertionError):
            Server(state=self.server.state).close()
        device = self.device()
        device.handshake()
        self.assertFolders(device.foldersync())


if __name__ == "__main__":
    unittest.main()

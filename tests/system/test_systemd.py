"""What systemd hands over and hears: readiness, reloading, the watchdog, sockets."""

import contextlib
import os
import pathlib
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import unittest

from harness.case import OwnServerCase
from harness.server import BUILD, TREE, Server, environment, wait_for

SOURCE = pathlib.Path(__file__).with_name("stuck_thread.c")
WATCHDOG = 1.2  # seconds


class Manager:
    """The socket that a service tells how it is."""

    def __init__(self):
        self.dir = tempfile.TemporaryDirectory(prefix="provost-notify-")
        self.path = os.path.join(self.dir.name, "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.told, self.alive_at = [], []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        with contextlib.suppress(OSError):
            while data := self.socket.recv(4096):
                told = dict(line.split("=", 1) for line in data.decode().splitlines())
                if "WATCHDOG" in told:
                    self.alive_at.append(time.monotonic())
                else:
                    self.told.append(told)

    def having(self, name):
        return [t for t in self.told if name in t]

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.dir.cleanup()


class HandedOver(Server):
    """Started with listening sockets from descriptor 3 on, as systemd does it; they outlive it."""

    def __init__(self, sockets, **how):
        super().__init__(start=False, **how)
        self.sockets = sockets

    def command(self):
        # Only the process itself knows its number.
        names = " ".join(str(s.fileno()) for s in self.sockets)
        moves = " ".join(f"{10 + i}<&{s.fileno()}" for i, s in enumerate(self.sockets))
        ends = " ".join(f"{3 + i}<&{10 + i} {10 + i}<&-" for i in range(len(self.sockets)))
        script = (f"exec {moves}; exec {ends}; LISTEN_PID=$$ LISTEN_FDS={len(self.sockets)} "
                  f"exec \"$0\" \"$@\" # {names}")
        return ["bash", "-c", script, *super().command()]

    def start(self):
        self.lines = []
        self.process = subprocess.Popen(
            self.command(), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL,
            env=dict(environment(), **self.env), cwd=self.dir,
            pass_fds=[s.fileno() for s in self.sockets])
        self._reader = threading.Thread(target=self._read, args=(self.process,), daemon=True)
        self._reader.start()
        self.port = wait_for("the server to be ready", self._ready_port)
        return self


def listening(address="127.0.0.1", port=0, family=socket.AF_INET):
    s = socket.socket(family)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind((address, port))
    s.listen(1024)
    return s


def listening_at(path, mode):
    s = socket.socket(socket.AF_UNIX)
    s.bind(str(path))
    os.chmod(path, mode)
    s.listen(16)
    return s


class Notified(OwnServerCase):
    def setUp(self):
        self.manager = Manager()
        self.addCleanup(self.manager.close)
        self.server = Server(start=False)
        self.addCleanup(self.server.close)
        self.server.env["NOTIFY_SOCKET"] = self.manager.path
        self.admin = self.server.admin

    def test_its_life(self):
        self.server.start()
        ready = wait_for("READY", lambda: self.manager.having("READY"))[0]
        self.assertEqual(ready["READY"], "1")
        self.assertIn(f"127.0.0.1:{self.server.port}", ready["STATUS"])
        before = time.clock_gettime(time.CLOCK_MONOTONIC)
        self.server.reload()
        wait_for("READY again", lambda: len(self.manager.having("READY")) == 2)
        reloading, = self.manager.having("RELOADING")
        self.assertEqual(["RELOADING" in told for told in self.manager.told], [False, True, False])
        self.assertTrue(before <= int(reloading["MONOTONIC_USEC"]) / 1e6 <=
                        time.clock_gettime(time.CLOCK_MONOTONIC), reloading)
        self.assertEqual(self.manager.having("STOPPING"), [])
        self.server.stop()
        stopping, = wait_for("STOPPING", lambda: self.manager.having("STOPPING"))
        self.assertGreater(int(stopping["EXTEND_TIMEOUT_USEC"]), 1_000_000)
        self.assertEqual(self.manager.alive_at, [])  # nobody has asked for it

    def test_no_word_of_ready_when_it_cannot_start(self):
        self.server.write_config('listen = "192.0.2.1:1";')
        self.server.process = subprocess.run(
            self.server.command(), capture_output=True, timeout=60,
            env=dict(environment(), **self.server.env), cwd=self.server.dir)
        code, self.server.process = self.server.process.returncode, None
        self.assertEqual((code, self.manager.told), (1, []))


class Watchdog(OwnServerCase):
    def setUp(self):
        self.manager = Manager()
        self.addCleanup(self.manager.close)
        self.server = Server(start=False)
        self.addCleanup(self.server.close)
        library, self.stuck = self.server.dir / "stuck.so", self.server.dir / "stuck"
        subprocess.run(["cc", "-D_GNU_SOURCE", "-shared", "-fPIC", "-O1", "-Wall", "-Werror",
                        "-o", str(library), str(SOURCE)], check=True)
        self.stuck.write_text("")
        sanitizer = environment()["ASAN_OPTIONS"] + ":verify_asan_link_order=0"
        self.server.env = {"NOTIFY_SOCKET": self.manager.path, "ASAN_OPTIONS": sanitizer,
                           "WATCHDOG_USEC": str(int(WATCHDOG * 1e6)),
                           "LD_PRELOAD": str(library), "STUCK": str(self.stuck)}
        self.server.start()
        self.admin = self.server.admin

    def alive(self):
        now = time.monotonic()
        wait_for("the next word to the watchdog",
                 lambda: self.manager.alive_at and self.manager.alive_at[-1] > now)

    def assert_silent_while(self, thread, poke):
        self.alive()
        self.stuck.write_text(thread)
        poke()
        wait_for("a line about the thread", lambda: "thread-stuck" in self.server.log)
        last = self.manager.alive_at[-1]
        time.sleep(WATCHDOG)
        self.assertEqual(self.manager.alive_at[-1], last)  # systemd would end it now
        self.stuck.write_text("")
        self.alive()
        self.assertIn("thread-goes-on", self.server.log)

    def test_a_server_at_rest_is_alive(self):
        begin = time.monotonic()
        time.sleep(2 * WATCHDOG)
        times = [begin, *(t for t in self.manager.alive_at if t > begin), time.monotonic()]
        gaps = [b - a for a, b in zip(times, times[1:])]
        self.assertLess(max(gaps), WATCHDOG)

    def test_a_worker_that_hangs(self):
        peers = []
        self.addCleanup(lambda: [p.close() for p in peers])

        def poke():
            for _ in range(8):  # until one of them gets to that worker
                peers.append(socket.create_connection(("127.0.0.1", self.server.port)))
                peers[-1].sendall(b"OPTIONS / HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assert_silent_while("worker-0 clock", poke)

    def test_a_store_that_hangs(self):
        device = self.device()
        handshake = threading.Thread(target=device.handshake)
        self.addCleanup(handshake.join)
        self.assert_silent_while("store disk", handshake.start)
        handshake.join()
        self.assertFolders(device.foldersync())

    def test_a_gate_that_hangs(self):
        """It reads what the store has of a trail before it writes it."""
        device = self.device()
        device.handshake()
        self.server.restart()

        def poke():
            self.assertFolders(device.foldersync())
            self.assertEqual(device.foldersync(key=77).status, 144)
        self.assert_silent_while("gate disk", poke)
        self.assertFolders(device.foldersync())

    def test_a_reader_that_is_slow_is_no_reason(self):
        """Whatever a phone does, the threads go on."""
        with socket.create_connection(("127.0.0.1", self.server.port)) as slow:
            slow.sendall(b"OPTIONS / HTTP/1.1\r\nHo")
            begin = time.monotonic()
            time.sleep(2 * WATCHDOG)
            self.assertGreaterEqual(len([t for t in self.manager.alive_at if t > begin]), 3)


class Sockets(unittest.TestCase):
    def serve(self, *sockets, **how):
        server = HandedOver(list(sockets), **how)
        self.addCleanup(server.close)
        for s in sockets:
            self.addCleanup(s.close)
        return server

    def refused(self, server, why):
        """It does not start, and says why."""
        with self.assertRaises(AssertionError):
            server.start()
        server.process = None
        self.assertRegex(server.log, f"start-failed.*{why}")

    def test_by_address(self):
        """In whatever order: which socket is for what, its address says."""
        inet = listening()
        server = self.serve(inet, config=f'listen = "127.0.0.1:{inet.getsockname()[1]}";')
        local = listening_at(server.socket, 0o600)
        self.addCleanup(local.close)
        server.sockets = [local, inet]
        server.start()
        self.assertEqual(server.port, inet.getsockname()[1])
        self.assertEqual(server.admin("status")["devices"], 0)
        server.stop()
        # The path belongs to who has made it.
        self.assertTrue(server.socket.is_socket())
        server.start()
        self.assertEqual(server.admin("status")["devices"], 0)

    def test_all_addresses(self):
        every = listening("0.0.0.0")
        port = every.getsockname()[1]
        server = self.serve(every, config=f'listen = ":{port}";').start()
        self.assertEqual(server.port, port)

    def test_a_part_of_them(self):
        """What is not handed over is made as ever."""
        inet = listening()
        port = inet.getsockname()[1]
        server = self.serve(inet, config=f'listen = ["127.0.0.1:{port}", "127.0.0.1:0"];').start()
        listens = re.findall(r"listen=127\.0\.0\.1:(\d+)", server.log)
        self.assertEqual((len(listens), int(listens[0])), (2, port))

    def test_one_that_nobody_names_is_refused(self):
        inet = listening()
        port = inet.getsockname()[1]
        self.refused(self.serve(inet), f"the socket 127.0.0.1:{port} was handed over, but none")

    def test_no_listening_socket(self):
        peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.refused(self.serve(peer), "descriptor 3, which was handed over, is no listening")

    def test_administration_for_everybody_is_refused(self):
        server = self.serve()
        local = listening_at(server.socket, 0o666)
        self.addCleanup(local.close)
        server.sockets = [local]
        self.refused(server, "more users may open the socket that was handed over than 0600")


@unittest.skipUnless(shutil.which("systemd-socket-activate"), "systemd is not here")
class Activated(unittest.TestCase):
    def test_by_systemd_itself(self):
        """It starts the server with the first connection, which is answered."""
        free = listening()
        port = free.getsockname()[1]
        free.close()
        server = Server(start=False, config=f'listen = "127.0.0.1:{port}";')
        self.addCleanup(server.close)
        env = [f"-E{name}={value}" for name, value in environment().items()
               if name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS")]
        server.process = subprocess.Popen(
            ["systemd-socket-activate", *env, "-l", f"127.0.0.1:{port}", *server.command()],
            stderr=subprocess.PIPE, env=environment(), cwd=server.dir)
        server._reader = threading.Thread(target=server._read, args=(server.process,), daemon=True)
        server._reader.start()
        wait_for("the socket", lambda: "Listening on" in server.log)
        with socket.create_connection(("127.0.0.1", port), timeout=60) as peer:
            peer.sendall(b"OPTIONS /elsewhere HTTP/1.1\r\nHost: a\r\n\r\n")
            self.assertTrue(peer.recv(4096).startswith(b"HTTP/1.1 404 "))
        wait_for("the line", lambda: f"listen=127.0.0.1:{port}" in server.log)


@unittest.skipUnless(shutil.which("systemd-analyze"), "systemd is not here")
class Units(unittest.TestCase):
    def test_systemd_takes_them(self):
        with tempfile.TemporaryDirectory(prefix="provost-units-") as where:
            where = pathlib.Path(where)
            unit = (TREE / "packaging" / "provostd.service.in").read_text(encoding="utf-8")
            (where / "provostd.service").write_text(unit.replace("@sbindir@", str(BUILD)),
                                                    encoding="utf-8")
            shutil.copy(TREE / "packaging" / "provostd.socket", where)
            run = subprocess.run(["systemd-analyze", "verify", "--man=no",
                                  str(where / "provostd.service"), str(where / "provostd.socket")],
                                 capture_output=True, text=True)
            self.assertEqual((run.returncode, run.stderr), (0, ""))


if __name__ == "__main__":
    unittest.main()

"""Notifications: a program and a web address are told of events, over restarts and failures."""

import http.server
import json
import sqlite3
import ssl
import threading
import time
import unittest
from datetime import datetime, timedelta, timezone

from harness.eas import Device
from harness.server import Server, wait_for


class Hook:
    """A web server that remembers what is posted to it and answers what it is told to."""

    def __init__(self, context=None):
        self.bodies, self.answers = [], []  # answers: HTTP codes; 204 when there is none left
        hook = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                hook.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                code = hook.answers.pop(0) if hook.answers else 204
                self.send_response(code)
                if code // 100 == 3:
                    self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        if context:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    @property
    def events(self):
        return [json.loads(body) for body in list(self.bodies)]

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class Notify(unittest.TestCase):
    def setUp(self):
        self.server = Server()  # makes the database
        self.admin = self.server.admin
        self.addCleanup(self.server.close)
        self.server.stop()
        self.told = self.server.dir / "told"

    def hook(self, context=None):
        hook = Hook(context)
        self.addCleanup(hook.close)
        return hook

    def program(self, body):
        path = self.server.dir / "notify-program"
        path.write_text(f"#!/bin/sh\ncd '{self.server.dir}'\n{body}\n", encoding="utf-8")
        path.chmod(0o755)
        return path

    def start(self, **settings):
        body = "".join(f'{name} = {json.dumps(value)}; ' for name, value in settings.items())
        self.server.write_config(f"notify = {{ {body} }};")
        self.server.start()

    def add_event(self, event="quarantined", age=timedelta(0)):
        """As the gate stores it."""
        at = (datetime.now(timezone.utc) - age).strftime("%Y-%m-%dT%H:%M:%SZ")
        text = json.dumps({"event": event, "at": at, "user": "ann", "device_id": "PHONE1"})
        database = sqlite3.connect(self.server.state / "provost.db")
        with database:
            number = database.execute("INSERT INTO event (json) VALUES (?)", (text,)).lastrowid
        database.close()
        return number

    def left(self):
        database = sqlite3.connect(self.server.state / "provost.db")
        try:
            return [row[0] for row in database.execute("SELECT id FROM event ORDER BY id")]
        finally:
            database.close()

    def told_ids(self):
        if not self.told.exists():
            return []
        lines = self.told.read_text(encoding="utf-8").splitlines()
        return [json.loads(line)["id"] for line in lines if line]

    TELL = "cat >>told; echo >>told"

    def test_both_are_told_and_nothing_is_left(self):
        hook = self.hook()
        numbers = [self.add_event("wipe-failed"), self.add_event("wipe-acknowledged")]
        self.start(program=str(self.program(self.TELL)), url=f"http://127.0.0.1:{hook.port}/x")
        wait_for("the events to be done with", lambda: not self.left())
        self.assertEqual(self.told_ids(), numbers)
        self.assertEqual([e["id"] for e in hook.events], numbers)
        self.assertEqual([e["event"] for e in hook.events], ["wipe-failed", "wipe-acknowledged"])
        self.assertEqual(hook.events[0]["device_id"], "PHONE1")

    def test_an_event_survives_kill_and_restart(self):
        hook = self.hook()
        url = f"http://127.0.0.1:{hook.port}/hook?token=s3cret"
        hook.answers = [503] * 100
        number = self.add_event()
        self.start(url=url)
        wait_for("an attempt", lambda: hook.bodies)
        self.server.kill()
        self.assertEqual(self.left(), [number])
        self.server.start()
        wait_for("another", lambda: len(hook.bodies) > 1)
        self.server.stop()
        self.assertEqual(self.left(), [number])
        hook.answers = []
        self.server.start()
        wait_for("the event to be done with", lambda: not self.left())
        self.assertEqual({e["id"] for e in hook.events}, {number})
        self.assertNotIn("s3cret", self.server.log)

    def test_the_next_attempt_waits(self):
        hook = self.hook()
        hook.answers = [500, 302]
        self.add_event()
        began = time.monotonic()
        self.start(url=f"http://127.0.0.1:{hook.port}/")
        wait_for("the event to be done with", lambda: not self.left())
        self.assertGreater(time.monotonic() - began, 3)  # 1 and 2 seconds
        self.assertEqual(len(hook.bodies), 3)
        self.assertRegex(self.server.log, r"notify-failed target=webhook .*why=\"answered 500\"")

    def test_a_certificate_is_verified(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.server.make_certificate())
        hook = self.hook(context)
        number = self.add_event()
        self.start(url=f"https://localhost:{hook.port}/")
        wait_for("a refusal", lambda: "notify-failed target=webhook" in self.server.log)
        self.assertEqual((hook.bodies, self.left()), ([], [number]))
        self.assertRegex(self.server.log, r"notify-failed .*certificate")

    def test_stopping_waits_for_nobody(self):
        number = self.add_event()
        body = "echo $$ >pid; exec sleep 1000"
        self.start(program=str(self.program(body)))
        wait_for("the program", lambda: (self.server.dir / "pid").exists())
        began = time.monotonic()
        self.server.stop()
        self.assertLess(time.monotonic() - began, 5)
        self.assertEqual(self.left(), [number])

    def test_a_hanging_program_holds_up_no_device(self):
        self.add_event()
        self.start(program=str(self.program("exec sleep 1000")))
        device = Device(self.server)
        self.addCleanup(device.close)
        device.handshake()
        self.assertEqual(device.foldersync().status, 1)

    def test_which_events(self):
        hook = self.hook()
        self.add_event("wipe-failed")
        self.add_event("quarantined", timedelta(days=8))
        number = self.add_event("quarantined", timedelta(days=6))
        self.start(url=f"http://127.0.0.1:{hook.port}/", events=["quarantined"])
        wait_for("the events to be done with", lambda: not self.left())
        self.assertEqual([e["id"] for e in hook.events], [number])
        self.assertRegex(self.server.log, r"notify-dropped target=webhook id=2 event=quarantined")

    def test_a_device_in_quarantine(self):
        hook = self.hook()
        self.start(program=str(self.program(self.TELL)), url=f"http://127.0.0.1:{hook.port}/")
        self.admin("rule", "default", "quarantine")
        device = Device(self.server)
        self.addCleanup(device.close)
        device.handshake()
        wait_for("both to be told", lambda: self.told_ids() and hook.bodies and not self.left())
        event = hook.events[0]
        self.assertEqual((event["event"], event["user"], event["device_id"], event["state"]),
                         ("quarantined", "ann", device.device_id, "quarantined"))
        self.assertEqual([json.loads(self.told.read_text(encoding="utf-8"))], hook.events)
        at = datetime.fromisoformat(event["at"])
        self.assertLess(abs(datetime.now(timezone.utc) - at), timedelta(minutes=1))

    def test_nobody_is_told(self):
        self.add_event()
        self.server.start()
        wait_for("the event to be done with", lambda: not self.left())


if __name__ == "__main__":
    unittest.main()

"""What `provost connect` keeps, watches and tells, against scripts."""

import json
import signal
import time
import unittest

from harness import evil, wbxml
from harness.evil import Evil, offer, reply
from harness.client import terminate
from harness.server import wait_for
from test_client import (DONE, FINAL, PROTOCOL, TEMPORARY, WIPE, ClientCase, Good, status)

FULL = reply(200, ("Provision", [("Status", "1"), ("RemoteWipe", None)]))


def folder_sync(key, *changes):
    return reply(200, ("FolderSync", [("Status", "1"), ("SyncKey", key),
                                      ("Changes", [("Count", str(len(changes)))] + list(changes))]))


def folder(verb, number, name, parent="0", kind="12"):
    return (verb, [("ServerId", number), ("ParentId", parent), ("DisplayName", name),
                   ("Type", kind)])


def acknowledged(asked):
    return [wbxml.text(a.tree, "RemoteWipe/Status") for a in asked
            if a.cmd == "Provision" and wbxml.has(a.tree, "RemoteWipe")]


class Unfinished(ClientCase):
    """A wipe outlives the run that was ordered to do it."""

    def test_a_result_that_could_not_be_told_is_told_by_the_next_run(self):
        client = self.client()
        lost = Good(foldersync=status("FolderSync", 140), poll=FULL, wiped=lambda *_: iter([]))
        with Evil(lost) as server:
            run = client.connect(server.url, "--version", "14.1", *client.hook(0))
            self.assertRun(run, WIPE)
            server.script, before = Good(poll=FULL), len(server.asked)
            run = client.connect(server.url, "--version", "14.1", *client.hook(0))
            self.assertRun(run, WIPE, "earlier run")
            self.assertEqual(acknowledged(server.asked[before:]), ["1"])
            self.assertEqual(len(server.asked) - before, 1)
            self.assertEqual(len(client.hooked), 1)
            self.assertRun(client.connect(server.url, "--version", "14.1"), DONE)
        self.assertEqual(client.key(), int(FINAL))
        self.assertIn('"wipe": "none"', client.stored())

    def test_an_order_that_was_not_carried_out_is_asked_for_first(self):
        client = self.client()
        ordered = Good(foldersync=status("FolderSync", 140), poll=FULL)
        with Evil(ordered) as server:
            self.assertRun(client.connect(server.url, "--version", "14.1"), WIPE)
            self.assertIn('"wipe": "device"', client.stored())
            before = len(server.asked)
            run = client.connect(server.url, "--version", "14.1", *client.hook(0))
            self.assertRun(run, WIPE)
            first = server.asked[before]
            self.assertEqual((first.cmd, wbxml.has(first.tree, "Policies")), ("Provision", False))
            self.assertEqual(len(client.hooked), 1)

    def test_an_order_that_was_taken_back(self):
        client = self.client()
        with Evil(Good(foldersync=status("FolderSync", 140), poll=FULL)) as server:
            self.assertRun(client.connect(server.url, "--version", "14.1"), WIPE)
            server.script = Good()
            self.assertRun(client.connect(server.url, "--version", "14.1", *client.hook(0)), DONE)
        self.assertEqual(client.hooked, [])
        self.assertIn('"wipe": "none"', client.stored())

    def test_a_failed_one_stays(self):
        client = self.client()
        run, asked = self.play(Good(foldersync=status("FolderSync", 140), poll=FULL),
                               *client.hook(1), client=client)
        self.assertRun(run, WIPE)
        self.assertEqual(acknowledged(asked), ["2"])
        self.assertIn('"wipe": "device"', client.stored())


class Addresses(ClientCase):
    def test_a_kept_address_is_used_and_left_when_it_leads_nowhere(self):
        client = self.client()
        with Evil(None) as first:
            with Evil(Good()) as second:
                first.script = Good(
                    foldersync=reply(451, fields={"X-MS-Location": second.url}))
                self.assertRun(client.connect(first.url, "--version", "14.1"), DONE)
                asked = len(first.asked)
                self.assertRun(client.connect(first.url, "--version", "14.1"), DONE)
                self.assertEqual(len(first.asked), asked)
            first.script = Good()
            self.assertRun(client.connect(first.url, "--version", "14.1"), DONE, "given one")
            self.assertRun(client.connect(first.url), DONE)
        self.assertIn('"location": ""', client.stored())

    def test_cookies_come_back(self):
        with Evil(Good(options=lambda *_: evil.options().replace(
                b"\r\n\r\n", b"\r\nSet-Cookie: back=end7; Path=/\r\n\r\n"))) as server:
            run = self.client().connect(server.url, "--trace")
            self.assertRun(run, DONE)
            sent = {a.headers["Cookie"] for a in server.asked if a.method == "POST"}
        self.assertEqual(sent, {"back=end7"})
        self.assertNotIn("end7", run.said)

    def test_proactive(self):
        run, asked = self.play(Good(), "--proactive")
        self.assertRun(run, DONE)
        self.assertEqual([a.cmd for a in asked], ["Provision", "Provision", "FolderSync"])


class Told(ClientCase):
    def test_the_document_of_a_run(self):
        run, _ = self.play(Good(initial=reply(200, offer(TEMPORARY, [("AllowCamera", "0")]))),
                           "--json")
        document = json.loads(run.out)
        self.assertEqual([(p["phase"], p["name"], p["request"]["key"], p["answer"]["status"])
                          for p in document["phases"]],
                         [(1, "command", "0", 142), (2, "policy", "0", 1),
                          (3, "acknowledge", "13xxxxxxxx", 1), (4, "command", "39xxxxxxxx", 1)])
        self.assertEqual(document["policy"]["device"], {"AllowCamera": "kept"})
        self.assertEqual([f["name"] for f in document["folders"]], ["Inbox"])
        self.assertEqual((document["outcome"], document["exit_code"]), ("done", 0))

    def test_the_document_of_a_failure(self):
        run, _ = self.play(Good(foldersync=reply(403)), "--json")
        document = json.loads(run.out)
        self.assertEqual((document["outcome"], document["exit_code"]), ("blocked", run.code))
        run, _ = self.play(Good(foldersync=lambda *_: None), "--json")
        document = json.loads(run.out)
        self.assertEqual((document["outcome"], document["phases"][-1]["answer"]),
                         ("unreachable", None))

    def test_what_changed_in_the_policy(self):
        client = self.client()
        with Evil(Good(initial=reply(200, offer(TEMPORARY, [("MinDevicePasswordLength", "4"),
                                                             ("DevicePasswordEnabled", "1")])))) \
                as server:
            self.assertRun(client.connect(server.url), DONE)
            server.script = Good("4711", initial=reply(200, offer(TEMPORARY, [
                ("MinDevicePasswordLength", "8"), ("DevicePasswordEnabled", "1")])))
            run = client.connect(server.url, "--json")
            self.assertRun(run, DONE)
        self.assertEqual(json.loads(run.out)["policy"]["change"], {"whole": "stricter", "settings": [
            {"name": "MinDevicePasswordLength", "change": "stricter", "old": 4, "new": 8}]})

    def test_names_cannot_move_the_cursor(self):
        evil_name = "\x1b[2J\x9bx\u202etxt\r\nFolders: 99"
        for options in ([], ["--trace"], ["--json"], ["--json", "--trace"]):
            run, _ = self.play(Good(foldersync=lambda asked, _: folder_sync(
                "1", folder("Add", "1", evil_name)) if asked.key == FINAL else
                                    status("FolderSync", 142)), *options)
            self.assertRun(run, DONE)
            for byte in ("\x1b", "\x9b", "\u202e", "\r"):
                self.assertNotIn(byte, run.said)
            self.assertNotIn("\nFolders: 99", run.said)


class Watching(ClientCase):
    """Ping answers of every kind; the script ends the watch by a signal after the last one."""

    def watch(self, pings, *args, expect=DONE, **script):
        """Give these answers to Pings, then wait; the run and what was asked."""
        client = self.client()

        def ping(_, count):
            return pings[count - 1] if count <= len(pings) else self.waiting()
        good = Good(ping=ping, **script)
        with Evil(good) as server:
            process = client.start(server.url, "--version", "14.1", "--watch", *args)
            try:
                if expect == DONE:
                    wait_for("the last Ping", lambda: server.count("Ping") > len(pings))
                    process.send_signal(signal.SIGTERM)
                out, err = process.communicate(timeout=60)
            finally:
                terminate(process)
        self.assertEqual(process.returncode, expect, out + err)
        return out, server.asked

    @staticmethod
    def waiting():
        def silence():
            time.sleep(60)
            yield b""
        return silence()

    @staticmethod
    def beats(asked):
        return [wbxml.text(a.tree, "HeartbeatInterval") for a in asked if a.cmd == "Ping"]

    def test_the_heartbeat_grows_while_it_goes_well(self):
        _, asked = self.watch([status("Ping", 1)] * 3)
        self.assertEqual(self.beats(asked), ["60", "120", "240", "480"])
        self.assertEqual({a.key for a in asked if a.cmd == "Ping"}, {None})

    def test_limits_of_the_server(self):
        def limit(number, name, value):
            return reply(200, ("Ping", [("Status", number), (name, value)]))
        _, asked = self.watch([limit("5", "HeartbeatInterval", "20"), status("Ping", 1)])
        self.assertEqual(self.beats(asked), ["60", "20", "20"])
        _, asked = self.watch([limit("5", "HeartbeatInterval", "300")])
        self.assertEqual(self.beats(asked), ["60", "300"])

        def three(asked, _):
            return folder_sync("1", *[folder("Add", str(i), f"F{i}") for i in range(1, 4)]) \
                if asked.key == FINAL else status("FolderSync", 142)
        _, asked = self.watch([limit("6", "MaxFolders", "2")], foldersync=three)
        self.assertEqual([len(list(wbxml.nodes(a.tree, "Folders/Folder"))) for a in asked if a.cmd == "Ping"],
                         [3, 2])

    def test_answers_that_lead_nowhere_end_it(self):
        for number in (3, 4, 5, 6, 8, 99):
            with self.subTest(status=number):
                self.watch([status("Ping", number)] * 10, expect=PROTOCOL)

    def test_news(self):
        news = reply(200, ("Ping", [("Status", "2"), ("Folders", [("Folder", "1")])]))
        out, _ = self.watch([news])
        self.assertIn("Something new in Inbox.", out)

    def test_the_hierarchy_changes(self):
        def tree(asked, _):
            if asked.key != FINAL:
                return status("FolderSync", 142)
            key = wbxml.text(asked.tree, "SyncKey")
            if key == "0":
                return folder_sync("1", folder("Add", "1", "Inbox", kind="2"),
                                   folder("Add", "2", "Old"))
            return {"1": folder_sync("2", folder("Add", "3", "New", parent="1"),
                                     ("Delete", [("ServerId", "2")]),
                                     folder("Update", "1", "Input", kind="2")),
                    "2": status("FolderSync", 9)}[key]
        out, asked = self.watch([status("Ping", 7)] * 2, foldersync=tree)
        for line in ("+ New", "- Old", "~ Input"):
            self.assertIn(line, out)
        self.assertEqual([wbxml.text(a.tree, "SyncKey") for a in asked if a.cmd == "FolderSync"],
                         ["0", "0", "1", "2", "0"])

    def test_provisioned_again_out_of_a_ping(self):
        for refusal in (status("Ping", 142), status("Ping", 143), reply(449)):
            out, asked = self.watch([refusal])
            self.assertEqual([a.cmd for a in asked].count("Provision"), 4)
            self.assertEqual(self.beats(asked), ["60", "60"])
            self.assertEqual(out.count("Phase 3"), 2)

    def test_an_outage_is_sat_out(self):
        cut = iter([b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nxx"])
        out, _ = self.watch([cut, status("Ping", 1)])
        self.assertEqual(out.count("no answer"), 1)

    def test_the_document_of_a_watch(self):
        news = reply(200, ("Ping", [("Status", "2"), ("Folders", [("Folder", "1")])]))
        out, _ = self.watch([news, status("Ping", 7)], "--json")
        document = json.loads(out)
        self.assertEqual([e["kind"] for e in document["events"]],
                         ["changes", "folder-updated", "hierarchy"])
        self.assertEqual(document["outcome"], "done")


if __name__ == "__main__":
    unittest.main()

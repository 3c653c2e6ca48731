"""Many devices: listings in pages, with memory for a page only."""

import json
import pathlib
import re
import socket
import time
import urllib.parse

from harness import admin
from harness.api import Api, UnixConnection
from harness.case import OwnServerCase
from harness.fleet import copy_device, store_of
from harness.server import environment, wait_for


class FleetCase(OwnServerCase):
    """A server with devices that were never seen by it, beside one that was: ann's A0."""

    def fill(self, names, **columns):
        self.first = self.device("14.1", device_id="A0")
        self.first.handshake()
        self.server.stop()
        copy_device(self.server, ("ann", "A0"), names, **columns)
        self.server.start()
        self.api = Api(self.server)
        self.addCleanup(self.api.close)

    def pages(self, **query):
        """Every page of the listing: lists of (user, device_id)."""
        path = "/v1/devices?" + urllib.parse.urlencode(query)
        while path:
            answer = self.api("GET", path)
            self.assertEqual(answer.http, 200, answer)
            yield [(row["user"], row["device_id"]) for row in answer.json]
            link = answer.fields.get("Link")
            if link:
                self.assertRegex(link, r'^</v1/devices\?[^<>" ]*>; rel="next"$')
            path = link and link[1:link.index(">")]


class Pages(FleetCase):
    def names(self):
        """Users with none, one, a few and more devices than a page; names that look like others'."""
        users = {"ann": 3, "ann b": 1, "ann!": 2, "ann/b": 5, "anna": 1, "bob": 40, "käthe": 2,
                 'q"<>&?%': 3, "zz": 1}
        return [(user, f"D{n:02}") for user, count in users.items() for n in range(count)]

    def test_each_device_comes_once_in_order_whatever_the_page(self):
        names = self.names()
        self.fill(names)
        everything = sorted(names + [("ann", "A0")], key=lambda n: (n[0].encode(), n[1]))
        for limit in (1, 2, 3, 7, 39, 40, 41, len(everything), len(everything) + 1, 1000):
            pages = list(self.pages(limit=limit))
            with self.subTest(limit=limit):
                self.assertEqual([name for page in pages for name in page], everything)
                self.assertTrue(all(len(page) == limit for page in pages[:-1]), pages)
                self.assertTrue(0 < len(pages[-1]) <= limit, pages)

    def test_from_anywhere(self):
        self.fill(self.names())
        for after, first in (("ann/A0", ("ann", "D00")), ("ann/D02", ("ann b", "D00")),
                             ("ann/Z", ("ann b", "D00")), ("a/1", ("ann", "A0")),
                             ("ann/b/D04", ("anna", "D00")), ("bob/D38", ("bob", "D39")),
                             ("nobody/X1", ('q"<>&?%', "D00"))):
            with self.subTest(after=after):
                self.assertEqual(next(self.pages(after=after, limit=1)), [first])
        self.assertEqual(list(self.pages(after="zz/D00")), [[]])

    def test_a_cursor_outlives_its_device(self):
        self.fill(self.names())
        path = "/v1/devices?after=bob/D10&limit=1"
        self.assertEqual(self.api("DELETE", "/v1/devices/bob/D10").http, 200)
        self.assertEqual(self.api("GET", path).json[0]["device_id"], "D11")

    def test_one_that_nobody_has_given_is_refused(self):
        self.fill([])
        for after in ("", "/", "ann", "ann/", "/A0", "ann/A 0", "ann/" + "D" * 33, "ann/A-0",
                      "a" * 4000 + "/D1", "ann/\u00e4"):
            answer = self.api("GET", "/v1/devices?" + urllib.parse.urlencode({"after": after}))
            with self.subTest(after=after[:40]):
                self.assertEqual((answer.http, answer.code), (400, "bad_query"), answer)
        for limit in ("0", "10001", "-1", "x", ""):
            answer = self.api("GET", f"/v1/devices?limit={limit}")
            with self.subTest(limit=limit):
                self.assertEqual((answer.http, answer.code), (400, "bad_query"), answer)

    def test_filters_are_paged_as_well(self):
        names = self.names()
        self.fill(names)
        some = [name for n, name in enumerate(names) if n % 3 == 0]
        for user, device_id in some:
            path = f"/v1/devices/{urllib.parse.quote(user, '')}/{device_id}/block"
            self.assertEqual(self.api("POST", path).http, 200)
        pages = list(self.pages(state="blocked", limit=4))
        self.assertEqual(sorted(name for page in pages for name in page), sorted(some))
        self.assertTrue(all(len(page) == 4 for page in pages[:-1]), pages)
        pages = list(self.pages(user="bob", limit=15))
        self.assertEqual([len(page) for page in pages], [15, 15, 10])
        self.assertEqual({user for page in pages for user, _ in page}, {"bob"})
        pages = list(self.pages(user='q"<>&?%', limit=2))
        self.assertEqual([len(page) for page in pages], [2, 1])
        self.assertEqual(list(self.pages(user="nobody")), [[]])
        self.assertEqual(list(self.pages(outcome="refused")), [[]])

    def test_who_else_has_a_device_of_that_id(self):
        self.fill([("bob", "A0"), ("carl", "A0"), ("carl", "a0")])
        rows = {(row["user"], row["device_id"]): sorted(row["other_users"])
                for row in self.api("GET", "/v1/devices").json}
        self.assertEqual(rows, {("ann", "A0"): ["bob", "carl"], ("bob", "A0"): ["ann", "carl"],
                                ("carl", "A0"): ["ann", "bob"], ("carl", "a0"): []})


class Program(FleetCase):
    """The command reads page after page."""

    def setUp(self):
        super().setUp()
        self.names = [(f"user{n // 2:04}", f"D{n:04}") for n in range(2345)]
        self.fill(self.names)

    def test_all_of_them(self):
        rows = [(row["user"], row["device_id"]) for row in self.admin("device", "list")]
        self.assertEqual(rows, [("ann", "A0")] + self.names)
        lines = self.admin.run("device", "list").stdout.splitlines()
        self.assertEqual(len(lines), 2 + len(self.names))
        self.assertEqual([line.split()[:2] for line in lines[1:]],
                         [["ann", "A0"]] + [list(name) for name in self.names])

    def test_so_many(self):
        for limit in (1, 999, 1000, 1001, 2346, 5000):
            rows = self.admin("device", "list", "--limit", str(limit))
            self.assertEqual(len(rows), min(limit, 2346))
        rows = self.admin("device", "list", "--limit", "1500", "--after", "user0000/D0001")
        self.assertEqual([row["device_id"] for row in rows], [f"D{n:04}" for n in range(2, 1502)])
        for limit in ("0", "many"):
            with self.assertRaises(admin.Failed) as failed:
                self.admin("device", "list", "--limit", limit)
            self.assertEqual(failed.exception.code, 1)

    def test_status_counts_all(self):
        self.assertEqual(self.admin("status")["devices"], 2346)

    def test_of_nobody(self):
        self.assertEqual(self.admin("device", "list", "--user", "nobody"), [])
        self.assertEqual(len(self.admin("device", "list", "--user", "user0007")), 2)

    def test_compliance_counts_all(self):
        rows = self.admin("device", "compliance")
        self.assertEqual([(row["policy"], row["devices"], row["compliant"]) for row in rows],
                         [("default", 2346, 2346)])


class Memory(FleetCase):
    """More devices than may be in memory."""

    DEVICES = 20000
    config = "partnerships_in_memory = 1000;"

    def peak(self):
        status = pathlib.Path(f"/proc/{self.server.process.pid}/status").read_text(encoding="ascii")
        return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) << 10

    def in_memory(self):
        return self.admin("status")["devices_in_memory"]

    def setUp(self):
        super().setUp()
        # Freed memory is given back, or what a page took is counted a hundred times.
        self.server.env["ASAN_OPTIONS"] = environment()["ASAN_OPTIONS"] + ":quarantine_size_mb=1"
        self.server.restart()
        self.fill([(f"user{n // 3:05}", f"D{n:05}") for n in range(self.DEVICES)])

    def test_looking_at_all_of_them_takes_a_page(self):
        self.assertFolders(self.first.foldersync())
        self.admin("device", "list", "--limit", "1000")
        self.admin("device", "list", "--state", "blocked")
        before = self.peak()
        rows = self.admin("device", "list")
        self.assertEqual(len(rows), self.DEVICES + 1)
        listed = len(json.dumps(rows))
        self.assertEqual(self.admin("device", "list", "--state", "blocked"), [])
        rows = self.admin("device", "compliance")
        self.assertEqual([row["devices"] for row in rows], [self.DEVICES + 1])
        would = self.admin("policy", "set", "default", "MinDevicePasswordLength=5", "--dry-run")
        self.assertEqual((would["devices_to_ask"], len(would["devices"])),
                         (self.DEVICES + 1, 1000))
        test = self.admin("rule", "test", "block", "DeviceType=Test*")
        self.assertEqual((test["matching"], test["shut_out"]), 2 * (self.DEVICES + 1,))
        self.assertLess(self.peak() - before, min(8 << 20, listed))
        self.assertEqual(self.in_memory(), 1)
        self.assertFolders(self.first.foldersync())

    def test_a_change_reaches_who_is_not_in_memory(self):
        done = self.admin("policy", "set", "default", "MinDevicePasswordLength=5")
        self.assertEqual(done["devices_to_ask"], self.DEVICES + 1)
        self.assertEqual(self.first.foldersync().status, 143)
        self.admin("policy", "set", "default", "MinDevicePasswordLength=")
        self.admin("rule", "default", "block", "--keep-known", "--yes")
        self.assertLess(self.in_memory(), 2000)
        rows = self.admin("device", "list", "--user", "user03333")
        self.assertEqual([row["access_by"] for row in rows], ["personal"] * 3)
        self.assertEqual(self.admin("device", "list", "--state", "blocked"), [])
        self.assertEqual(self.device(device_id="NEW1").foldersync().status, 129)


    def test_who_asks_and_goes_leaves_nothing_behind(self):
        for _ in range(5):
            lines = []
            for path in ("compliance", "devices?limit=10000", "devices?state=blocked") * 4:
                line = socket.socket(socket.AF_UNIX)
                line.connect(str(self.server.socket))
                line.sendall(f"GET /v1/{path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                lines.append(line)
            for line in lines:
                line.close()
        self.assertEqual(self.admin("device", "compliance")[0]["devices"], self.DEVICES + 1)

    def test_a_stop_waits_for_who_looks(self):
        lines = [UnixConnection(self.server.socket) for _ in range(6)]
        for line in lines:
            line.request("GET", "/v1/compliance")
        self.admin("status")  # they have been taken up, too
        self.server.stop()
        self.assertEqual([line.getresponse().status for line in lines], [200] * 6)
        for line in lines:
            line.close()


class Users(OwnServerCase):
    """The users file in pages, with their flags."""

    def setUp(self):
        self.users = {f"user{n:04}": "secret" for n in range(1010)}
        super().setUp()
        self.api = Api(self.server)
        self.addCleanup(self.api.close)

    def test_pages(self):
        for user in ("user0000", "user0999", "user1000", "user1009"):
            self.admin("user", "disable", user)
        self.admin("user", "forbid-wipe", "user1000")
        rows = self.admin("user", "list")
        self.assertEqual([row["name"] for row in rows], sorted(self.users))
        self.assertEqual([row["name"] for row in rows if not row["enabled"]],
                         ["user0000", "user0999", "user1000", "user1009"])
        self.assertEqual([row["name"] for row in rows if not row["device_wipe"]], ["user1000"])
        page = self.api("GET", "/v1/users?limit=3&after=user0998")
        self.assertEqual([(row["name"], row["enabled"]) for row in page.json],
                         [("user0999", False), ("user1000", False), ("user1001", True)])
        self.assertEqual(page.fields["Link"],
                         '</v1/users?after=user1001&limit=3>; rel="next"')
        page = self.api("GET", "/v1/users?limit=3&after=user1006x")
        self.assertEqual([row["name"] for row in page.json], ["user1007", "user1008", "user1009"])
        self.assertIsNone(page.fields.get("Link"))
        for query in ("limit=0", "limit=10001", "after=", "after=" + "x" * 2000):
            self.assertEqual(self.api("GET", "/v1/users?" + query).http, 400, query)


class Pruning(FleetCase):
    config = "prune_after = 30;"

    def test_who_was_not_seen_for_long_is_forgotten(self):
        old = int(time.time()) - 31 * 86400
        names = [(f"user{n}", "OLD") for n in range(20)]
        self.fill(names, last_seen=old)
        wait_for("the old ones to go",
                 lambda: self.api("GET", "/v1/devices").json[1:] == [])
        self.assertEqual(self.api("GET", "/v1/devices").json[0]["user"], "ann")
        self.assertFolders(self.first.foldersync())
        lines = [line for line in self.api("GET", "/v1/audit").json
                 if line["act"] == "device.remove"]
        self.assertEqual(sorted((line["user"], line["device_id"]) for line in lines), sorted(names))
        self.assertEqual({(line["actor"], line["reason"]) for line in lines},
                         {("server", "not seen for 30 days")})
        wait_for("the count in the log", lambda: "pruned devices=20" in self.server.log)
        self.server.restart()
        self.api.close()
        self.assertEqual(len(self.api("GET", "/v1/devices").json), 1)

    def test_who_an_administrator_has_spoken_of_stays(self):
        self.fill([("bob", "B1"), ("bob", "B2"), ("bob", "B3"), ("bob", "B4")])
        for order in ("B1/block", "B2/allow", "B3/wipe"):
            body = {"scope": "device", "confirm": True} if order.endswith("wipe") else None
            self.assertEqual(self.api("POST", f"/v1/devices/bob/{order}", body).http, 200)
        self.api.close()
        self.server.stop()
        with store_of(self.server) as database:
            database.execute("UPDATE device SET last_seen = ? WHERE user = 'bob'",
                             (int(time.time()) - 31 * 86400,))
        self.server.start()
        wait_for("the one to go", lambda: [
            row["device_id"] for row in self.api("GET", "/v1/devices?user=bob").json
        ] == ["B1", "B2", "B3"])


if __name__ == "__main__":
    import unittest
    unittest.main()

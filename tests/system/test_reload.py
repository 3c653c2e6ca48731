"""SIGHUP: another configuration, certificates and users, while the server runs."""

import http.client
import json
import pathlib
import re
import shutil
import socket
import ssl
import tempfile
import threading
import time
import unittest

from harness import wbxml
from harness.case import OwnServerCase
from harness.eas import PATH, Device, basic
from harness.maildir import Maildir
from harness.server import TREE, Server, hash_password, make_certificate, wait_for
from harness.slow_upstream import SlowUpstream
from harness.upstream import Upstream, gateway, plain


def table():
    """Rows of data/config.tsv by key."""
    lines = [line.rstrip("\n").split("\t") for line in
             (TREE / "data" / "config.tsv").read_text(encoding="utf-8").splitlines()
             if line and not line.startswith("#")]
    return {row[0]: dict(zip(lines[0], row)) for row in lines[1:]}


class Case(OwnServerCase):
    def lines(self, verb):
        return [line for line in self.server.lines if f" {verb}" in line]

    def reload(self, extra=None, server=None):
        """The line that tells of it."""
        server = server or self.server
        if extra is not None:
            server.write_config(extra)
        told = ("reloaded", "reload-refused")
        before = sum(server.log.count(f" {verb}") for verb in told)
        server.reload()
        wait_for("the reload",
                 lambda: sum(server.log.count(f" {verb}") for verb in told) > before)
        time.sleep(0.02)  # what stands beside it
        return [line for line in server.lines if any(f" {verb}" in line for verb in told)][-1]

    def provisioned(self, **more):
        device = self.device(**more)
        device.handshake()
        self.assertFolders(device.foldersync())
        return device

    def waits(self, device):
        before = self.admin("status")["waiting_pings"]
        device.start("Ping", device.ping_tree(600))
        wait_for("a waiting Ping", lambda: self.admin("status")["waiting_pings"] == before + 1)

    @property
    def read(self):
        return self.admin("status")["configuration"]


class Refused(Case):
    def test_file_and_line_are_told_and_the_old_one_stays(self):
        device = self.provisioned()
        self.waits(device)
        line = self.reload('log_level = "debug";\nworkrs = 3;')
        self.assertIn("reload-refused", line)
        self.assertRegex(line, r"provost\.conf:\d+: unknown key workrs; allowed: ")
        self.assertNotIn(" debug ", self.server.log)
        self.assertTrue(self.read["refused"])
        self.assertTrue(self.read["changed_on_disk"])
        for bad in ('log_level = ;', 'ping = { heartbeat_min = 99; heartbeat_max = 9; };',
                    'proxies = "10.0.0.0/40";', 'auth = { method = "file"; file = "/nowhere"; };',
                    'tls = { certificate = "/nowhere"; };', '@include "/nowhere.conf"'):
            with self.subTest(bad):
                self.assertIn("reload-refused", self.reload(bad + "\n"))
        self.reload("")
        self.assertFalse(self.read["refused"])
        self.assertFalse(self.read["changed_on_disk"])
        # Nothing of it has ended a wait.
        self.assertEqual(self.admin("status")["waiting_pings"], 1)
        self.assertNotIn("reload-incomplete", self.server.log)

    def test_every_mistake_has_its_line(self):
        self.reload("workers = -1;\nbody_max = true;\nhead_timeout = 0;")
        wait_for("three lines", lambda: len(self.lines("reload-refused")) == 3)
        self.assertEqual([int(re.search(r"\.conf:(\d+):", line)[1]) -
                          int(re.search(r"\.conf:(\d+):", self.lines("reload-refused")[0])[1])
                          for line in self.lines("reload-refused")], [0, 1, 2])

    def test_part_of_it_is_none_of_it(self):
        """A certificate that cannot be read: what stands beside it does not count either."""
        self.server.close()
        self.server = Server(tls=True)
        self.addCleanup(self.server.close)
        self.admin = self.server.admin
        certificate, key = self.server.make_certificate()
        line = self.reload('log_level = "debug";\ngroups = { sales = ["ann"]; };\n'
                           f'tls = {{ certificate = "{key}"; key = "{key}"; }};')
        self.assertRegex(line, "reload-refused.*key.pem")
        self.assertNotIn(" debug ", self.server.log)
        self.assertNotIn("groups-in-force", self.server.log)


class AtOnce(Case):
    """No connection is dropped; what is waited for goes on; the next request goes by the new one."""

    def test_a_level_of_the_log(self):
        self.reload('log_level = "debug";')
        self.device().options()
        wait_for("a line", lambda: " debug " in self.server.log)
        self.reload("")
        before = self.server.log.count(" debug ")
        self.device().options()
        self.assertEqual(self.server.log.count(" debug "), before)

    def test_the_same_again_changes_nothing(self):
        device = self.provisioned()
        self.waits(device)
        self.assertIn('changed=""', self.reload())
        self.assertEqual(self.admin("status")["waiting_pings"], 1)
        before = self.read["loaded_at"]
        time.sleep(1)
        self.reload()
        self.assertGreater(self.read["loaded_at"], before)

    def test_an_included_file(self):
        part = self.server.dir / "part.conf"
        part.write_text("damping = true;\n", encoding="utf-8")
        self.server.config_file.write_text(
            self.server.config_file.read_text().replace("damping = false;", '@include "part.conf"'))
        self.assertIn("changed=damping", self.reload())
        self.assertFalse(self.read["changed_on_disk"])
        part.write_text("damping = false; # again\n", encoding="utf-8")
        self.assertTrue(self.read["changed_on_disk"])

    def test_limits_of_a_request(self):
        device = self.provisioned()
        self.reload("body_max = 4096;")
        answer = device.command("FolderSync", b"\x03" * 5000)
        self.assertEqual(answer.http, 413)

    def test_heartbeats(self):
        device, waiting = self.provisioned(), self.provisioned(user="bob")
        self.waits(waiting)
        self.reload("ping = { heartbeat_min = 300; heartbeat_max = 400; };")
        answer = device.command("Ping", device.ping_tree(60))
        self.assertEqual((answer.status, answer.text("HeartbeatInterval")), (5, "300"))
        self.assertEqual(self.admin("status")["waiting_pings"], 1)

    def test_proxies(self):
        self.reload('proxies = "127.0.0.1";')
        device = self.device(password="wrong")
        fields = dict(device.headers(key=0), **{"X-Forwarded-For": "192.0.2.77"})
        device.http("OPTIONS", PATH, fields)
        wait_for("the line", lambda: "peer=192.0.2.77" in self.server.log)

    def test_protocol_versions(self):
        device = self.provisioned(version="12.1")
        waiting = self.provisioned(version="12.1", user="bob")
        self.waits(waiting)
        self.reload('protocol_version_min = "14.0";')
        self.assertEqual(self.device().options().headers["MS-ASProtocolVersions"],
                         "14.0,14.1,16.0,16.1")
        self.assertEqual(waiting.receive().status, 7)  # it would not be let in any more
        self.assertEqual(device.foldersync().http, 403)
        self.reload("")
        self.assertFolders(device.foldersync())

    def test_devices_of_a_user(self):
        first, second = self.provisioned(), self.provisioned()
        self.reload("devices_per_user = 2;")
        self.assertFolders(second.foldersync())
        third = self.device()
        self.assertEqual(third.foldersync().status, 177)
        self.reload("devices_per_user = 3;")
        self.provisioned(device_id=third.device_id)
        self.assertFolders(first.foldersync())

    def test_device_information(self):
        self.assertOffered(self.device().provision_initial(information=None))
        self.reload("require_device_information = true;")
        self.assertEqual(self.device().provision_initial(information=None).status, 165)

    def test_the_address_that_autodiscover_tells(self):
        body = ("<Autodiscover xmlns='http://schemas.microsoft.com/exchange/autodiscover/mobilesync/"
                "requestschema/2006'><Request><EMailAddress>ann@example.org</EMailAddress>"
                "<AcceptableResponseSchema>http://schemas.microsoft.com/exchange/autodiscover/"
                "mobilesync/responseschema/2006</AcceptableResponseSchema></Request></Autodiscover>")
        self.reload('url = "https://door.example.org"; domain = "example.org";')
        c = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=30)
        self.addCleanup(c.close)
        c.request("POST", "/autodiscover/autodiscover.xml", body,
                  {"Authorization": basic("ann", "secret"), "Content-Type": "text/xml"})
        self.assertIn(b"https://door.example.org/Microsoft-Server-ActiveSync", c.getresponse().read())

    def test_audit(self):
        self.reload("audit = { rotate_size = 4096; };")
        for n in range(40):
            self.admin("policy", "set", "default", f"MinDevicePasswordLength={4 + n % 8}")
        self.admin("audit")
        wait_for("another file", lambda: len(list(
            (self.server.state / "audit").glob("audit-*.jsonl"))) > 1)

    def test_notifications(self):
        told = self.server.dir / "told"
        program = self.server.dir / "tell"
        program.write_text(f"#!/bin/sh\ncat >>{told}\necho >>{told}\n", encoding="utf-8")
        program.chmod(0o755)
        self.reload(f'notify = {{ program = "{program}"; }};')
        self.admin("rule", "default", "quarantine")
        self.device().handshake()
        wait_for("the event", lambda: told.exists() and "quarantined" in told.read_text())
        self.reload("")
        self.device().handshake()
        time.sleep(0.5)
        self.assertEqual(told.read_text().count('"event":"quarantined"'), 1)


    def folders(self, device):
        """Names and types, as a new device sees them."""
        changes = wbxml.nodes(device.foldersync().tree, "Changes")[0][1]
        rows = [dict(fields) for tag, fields in changes if tag == "Add"]
        return {row["DisplayName"]: row["Type"] for row in rows}

    def test_where_the_mail_is(self):
        self.server.maildir("ann").folder("Gesendet")
        other = Maildir(self.server.dir / "other" / "ann").folder("Elsewhere")
        device = self.provisioned()
        self.assertEqual(self.folders(self.provisioned_blank())["Gesendet"], "12")
        path = f'path = "{self.server.dir}/mail/%u/Maildir";'
        self.reload(f'mailbox = {{ {path} special = {{ sent = "Gesendet"; }}; }};')
        self.assertEqual(self.folders(self.provisioned_blank())["Gesendet"], "5")
        self.reload(f'mailbox = {{ path = "{self.server.dir}/other/%u"; }};')
        self.assertIn("Elsewhere", self.folders(self.provisioned_blank()))
        self.assertFolders(device.foldersync())
        del other

    def provisioned_blank(self):
        device = self.device()
        device.handshake()
        return device

    def test_what_a_device_in_quarantine_reads(self):
        self.admin("rule", "default", "quarantine")
        device = self.provisioned_blank()
        inbox = device.foldersync().text("Changes/Add/ServerId")

        def subject():
            first = device.command("Sync", ("Sync", [("Collections", [("Collection", [
                ("SyncKey", "0"), ("CollectionId", inbox)])])]))
            key = first.text("Collections/Collection/SyncKey")
            answer = device.command("Sync", ("Sync", [("Collections", [("Collection", [
                ("SyncKey", key), ("CollectionId", inbox)])])]))
            return answer.text("Collections/Collection/Commands/Add/ApplicationData/Email:Subject")
        self.reload('quarantine = { subject = "Wait, %u"; };')
        self.assertEqual(subject(), "Wait, ann")
        self.reload('quarantine = { subject = "Patience"; };')
        self.assertEqual(subject(), "Patience")

    def test_damping(self):
        device = self.device()
        for _ in range(100):
            self.assertNotEqual(device.foldersync(key=0).http, 503)
        self.reload("damping = true;")
        device = self.device()
        for n in range(300):
            if device.foldersync(key=0).http == 503:
                return
        self.fail("it is not slowed down")

    def test_how_long_a_connection_rests(self):
        device = self.provisioned()
        self.reload("idle_timeout = 1;")
        self.assertFolders(device.foldersync())
        begin = time.monotonic()
        device._connection.sock.settimeout(30)
        self.assertEqual(device._connection.sock.recv(1), b"")
        self.assertLess(time.monotonic() - begin, 10)

    def test_how_many_connections_there_are(self):
        self.reload("connections_max = 2;")
        peers = [socket.create_connection(("127.0.0.1", self.server.port)) for _ in range(3)]
        self.addCleanup(lambda: [peer.close() for peer in peers])
        self.assertTrue(peers[2].recv(4096).startswith(b"HTTP/1.1 503 "))


class Groups(Case):
    users = {"ann": "secret", "bob": "hunter2"}

    def test_who_gets_another_policy_is_asked(self):
        self.server.write_config('groups = { sales = ["bob"]; };')
        self.server.restart()
        self.admin("policy", "new", "strict", "MinDevicePasswordLength=8")
        self.admin("policy", "assign", "strict", "--group", "sales")
        ann, bob = self.provisioned(), self.provisioned(user="bob")
        waiting, other = self.provisioned(), self.provisioned(user="bob")
        self.waits(waiting)
        self.waits(other)
        line = self.reload('groups = { sales = ["ann", "bob"]; };')
        self.assertIn("changed=groups", line)
        self.assertEqual(waiting.receive().status, 7)
        self.assertEqual(self.admin("status")["waiting_pings"], 1)  # nothing is new for bob
        self.assertRefused(ann.foldersync(), "FolderSync", 143, "14.1")
        self.assertFolders(bob.foldersync())
        ann.handshake()
        self.assertFolders(ann.foldersync())
        self.reload("")
        self.assertRefused(ann.foldersync(), "FolderSync", 143, "14.1")
        self.assertRefused(bob.foldersync(), "FolderSync", 143, "14.1")

    def test_a_policy_that_changes_meanwhile(self):
        """Administrators and reloads take turns: neither undoes the other."""
        self.admin("policy", "new", "strict", "MinDevicePasswordLength=8")
        over = threading.Event()

        def change():
            n = 0
            while not over.is_set():
                n += 1
                self.admin("policy", "set", "strict", f"MinDevicePasswordLength={4 + n % 5}")
        changes = threading.Thread(target=change)
        changes.start()
        for n in range(10):
            self.reload(f'groups = {{ sales = ["ann", "u{n}"]; }};')
        over.set()
        changes.join()
        self.admin("policy", "set", "strict", "MinDevicePasswordLength=9")
        self.admin("policy", "assign", "strict", "--group", "sales")
        shown = self.admin("policy", "effective", "ann")
        self.assertIn("9", json.dumps(shown))
        with self.assertRaisesRegex(Exception, "no group"):
            self.admin("policy", "assign", "strict", "--group", "marketing")

    def test_large_groups_do_not_pile_up(self):
        def config(n):
            users = ", ".join(f'"user{n}.{i:05d}"' for i in range(20000))
            return f"groups = {{ all = [{users}]; }};"
        self.reload(config(0))
        for n in range(3):
            self.reload(config(n))
        before = self.server.rss()
        for n in range(10):
            self.reload(config(10 + n))
        # Ten of them would take 8 MiB, and the sanitizer's quarantine is not small.
        self.assertLess(self.server.rss() - before, 100 << 20)


class Logins(Case):
    def test_users_of_another_file(self):
        device = self.provisioned()
        other = self.server.dir / "others"
        other.write_text(f"zoe:{hash_password('zoes')}\n", encoding="utf-8")
        self.server.users["zoe"] = "zoes"
        self.server.maildir("zoe")
        self.reload(f'auth = {{ method = "file"; file = "{other}"; }};')
        self.assertEqual(device.foldersync().http, 401)  # what was remembered is forgotten
        self.provisioned(user="zoe")
        self.reload("")
        self.assertFolders(device.foldersync())
        self.assertEqual(self.device(user="zoe").options().http, 401)

    def test_another_password_in_the_same_file(self):
        device = self.provisioned()
        self.server.users["ann"] = "another"
        self.server.write_users()
        self.reload()
        self.assertEqual(device.foldersync().http, 401)
        device.password = "another"
        self.assertFolders(device.foldersync())

    def test_a_check_under_way_ends_by_the_old_one(self):
        slow = hash_password("secret", "$6$rounds=1500000$provosttests")
        self.server.users_file.write_text(f"ann:{slow}\n", encoding="utf-8")
        self.server.restart()
        device = self.device(password="secret")
        device.start("FolderSync", ("FolderSync", [("SyncKey", "0")]))
        time.sleep(0.2)
        other = self.server.dir / "others"
        other.write_text("bob:x\n", encoding="utf-8")
        self.reload(f'auth = {{ method = "file"; file = "{other}"; }};')
        self.assertRefused(device.receive(), "FolderSync", 142, "14.1")
        self.assertEqual(device.foldersync().http, 401)

    def test_what_has_not_changed_is_remembered(self):
        """Another key of logins; nobody is verified again."""
        slow = hash_password("secret", "$6$rounds=300000$provosttests")
        self.server.users_file.write_text(f"ann:{slow}\n", encoding="utf-8")
        self.server.restart()
        device = self.provisioned()
        begin = time.monotonic()
        device.foldersync()
        quick = time.monotonic() - begin
        self.reload("connections_max = 100;")
        begin = time.monotonic()
        self.assertFolders(device.foldersync())
        self.assertLess(time.monotonic() - begin, quick + 0.1)

    def test_a_domain(self):
        device = self.device()
        device.login = "ann@example.org"
        self.assertEqual(device.options().http, 401)
        self.reload('domain = "example.org";')
        self.assertEqual(device.options().http, 200)


class Tls(Case):
    tls = True

    def shown(self):
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        with socket.create_connection(("127.0.0.1", self.server.port), timeout=30) as raw:
            with context.wrap_socket(raw) as peer:
                return peer.getpeercert(binary_form=True)

    def test_another_certificate_at_another_place(self):
        device = self.provisioned()
        self.waits(device)
        before = self.shown()
        elsewhere = self.server.dir / "elsewhere"
        elsewhere.mkdir()
        certificate, key = make_certificate(elsewhere)
        line = self.reload(f'tls = {{ certificate = "{certificate}"; key = "{key}"; }};')
        self.assertIn("tls.certificate, tls.key", line)
        self.assertNotEqual(self.shown(), before)
        self.assertEqual(self.admin("status")["waiting_pings"], 1)
        self.server.stop()
        self.addCleanup(lambda: None)

    def test_whether_it_speaks_tls_waits_for_a_restart(self):
        self.server.tls = False
        self.reload("")
        self.assertEqual(set(self.read["restart_needed_for"]), {"tls.certificate", "tls.key"})
        self.assertTrue(self.shown())


class AdminTls(Case):
    admin_tls = True

    def test_another_certificate(self):
        def shown():
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            with socket.create_connection(("127.0.0.1", self.server.admin_port)) as raw:
                with context.wrap_socket(raw) as peer:
                    return peer.getpeercert(binary_form=True)
        before = shown()
        elsewhere = self.server.dir / "elsewhere"
        elsewhere.mkdir()
        certificate, key = make_certificate(elsewhere)
        line = self.reload(f'admin = {{ socket = "{self.server.socket}"; listen = "127.0.0.1:0"; '
                           f'certificate = "{certificate}"; key = "{key}"; }};')
        self.assertIn("admin.certificate, admin.key", line)
        self.assertNotEqual(shown(), before)
        self.assertEqual(self.read["restart_needed_for"], [])


class Restart(Case):
    def test_keys_that_wait(self):
        """Everything else of that file is in force."""
        line = self.reload('listen = "127.0.0.1:1";\nnode = "other";\nworkers = 3;\n'
                           'log_level = "debug";')
        self.assertIn("changed=log_level", line)
        needed, = self.lines("restart-needed")
        self.assertIn('keys="listen, node, workers"', needed)
        self.assertEqual(self.read["restart_needed_for"], ["listen", "node", "workers"])
        shown = self.admin.run("status").stdout
        self.assertIn("restart_needed_for: listen, node, workers", shown)
        self.device().options()
        wait_for("a line", lambda: " debug " in self.server.log)
        self.reload("")
        self.assertEqual(self.read["restart_needed_for"], [])

    def test_a_gateway_is_made_at_the_start(self):
        device = self.provisioned()
        self.reload('upstream = { url = "http://127.0.0.1:1/"; };')
        self.assertIn("upstream.url", self.read["restart_needed_for"])
        self.assertFolders(device.foldersync())
        self.assertEqual(self.device(password="wrong").options().http, 401)


class Table(unittest.TestCase):
    """Every key of the table, one at a time: it is in force at once, or it waits, as its row says."""

    VALUES = {
        "damping": "true",  # which the harness has changed
        "listen": '"127.0.0.1:1"', "proxies": '"192.0.2.1"', "url": '"https://a.example"',
        "state": '"/tmp/elsewhere"', "store": '"postgresql://x/y"', "node": '"n"', "domain": '"d"',
        "log_level": '"debug"', "auth.method": '["file", "oauth"]', "auth.imap.url": '"imaps://h"',
        "auth.ldap.url": '"ldaps://h"', "auth.oauth.issuer": '"https://i.example"',
        "auth.oauth.keys": '"https://i.example/k"', "auth.oauth.algorithms": '"RS512"',
        "auth.imap.user": '"%n@%d"',
        "auth.oauth.authorization_url": '"https://i.example/a"',
        "auth.certificate.name": '"cn"', "mailbox.type": '"imap"', "mailbox.url": '"imaps://h"',
        "mailbox.user": '"%n@%d"', "mailbox.path": '"/m/%u"', "notify.events": '"wipe-failed"',
        "notify.url": '"https://n.example"', "admin.listen": '"127.0.0.1:1"',
        "forward_auth.path": '"/auth"', "protocol_version_min": '"12.0"',
        "protocol_version_max": '"16.0"', "groups": '{ a = ["b"]; }',
        "upstream.url": '"http://127.0.0.1:1/"',
        "upstream.domains": '({ domain = "d.org"; url = "http://127.0.0.1:1/"; })',
        "upstream.user_field": '"X-User"', "upstream.ping.mode": '"pass"',
        "upstream.ping.imap.url": '"imaps://h"', "upstream.ping.imap.user": '"%n@%d"',
    }
    # What must stand beside them: the file is checked as a whole.
    BESIDE = {
        "auth.method": 'oauth = { issuer = "https://i.example"; audience = "a"; };',
        "mailbox.type": 'url = "imaps://h";',
        "admin.listen": 'certificate = "cert.pem"; key = "key.pem";',
    }

    def value(self, row):
        kind, key = row["type"], row["key"]
        if key in self.VALUES:
            return self.VALUES[key]
        if kind in ("number", "size"):
            least, most, default = (int(row[n]) for n in ("least", "most", "default"))
            number = next(n for n in (default + 1, default - 1) if least <= n <= most)
            return f"{number}L" if kind == "size" else str(number)
        if kind == "flag":
            return "false" if row["default"] == "true" else "true"
        return '"other"'

    def config(self, row):
        *groups, name = row["key"].split(".")
        text = f"{name} = {self.value(row)};" + self.BESIDE.get(row["key"], "")
        for group in reversed(groups):
            text = f"{group} = {{ {text} }};"
        return text

    def check(self, server, row):
        """Named in the line that tells of it, at the side that the row says."""
        if row["key"].startswith(("tls.", "admin.c", "admin.k", "upstream.c", "upstream.k")) and \
                row["type"] == "path":
            return  # a file that is not there is refused; each has its own test
        before = len(server.lines)
        server.write_config(self.config(row))
        server.reload()
        line = wait_for("the reload", lambda: next((line for line in server.lines[before:] if re.search(
            " reload(ed|-refused) ", line)), None))
        self.assertNotIn("reload-refused", line)
        changed = re.search(r'changed="?([^"]*)"?', line)[1].strip().split(", ")
        waiting = server.admin("status")["configuration"]["restart_needed_for"]
        where = changed if row["reload"] == "at once" else waiting
        self.assertIn(row["key"], where, line)
        self.assertNotIn(row["key"], waiting if where is changed else changed)

    def test_every_row(self):
        rows = [row for row in table().values()
                if not row["key"].startswith(("upstream.", "auth.file", "mailbox.path"))]
        with Server() as server:
            server.make_certificate()
            for row in rows:
                with self.subTest(row["key"]):
                    self.check_group(server, row)

    def check_group(self, server, row):
        """A group replaces what the harness says of it, but for what it cannot do without."""
        keep = {"auth": f'method = "file"; file = "{server.users_file}";',
                "mailbox": f'path = "{server.dir}/mail/%u/Maildir";',
                "admin": f'socket = "{server.socket}";'}
        self.BESIDE = dict(Table.BESIDE)
        group = row["key"].split(".")[0]
        if group in keep and "." in row["key"]:
            text = self.config(row)
            inner = keep[group]
            name = row["key"].split(".")[1]
            inner = re.sub(rf"\b{name} = [^;]*;", "", inner)
            text = text.replace(f"{group} = {{ ", f"{group} = {{ {inner} ", 1)
            self.config = lambda _row, text=text: text
            try:
                self.check(server, row)
            finally:
                del self.config
        else:
            self.check(server, row)

    def test_every_row_of_a_gateway(self):
        upstream = Upstream().__enter__()
        self.addCleanup(upstream.stop)
        server = gateway(upstream)
        self.addCleanup(server.close)
        url = re.search(r'url = "([^"]+)"', server.config_file.read_text())[1]
        for row in table().values():
            if not row["key"].startswith("upstream.") or row["key"] == "upstream.ca_file":
                continue
            with self.subTest(row["key"]):
                text = self.config(row)
                if row["key"] != "upstream.url":
                    text = text.replace("upstream = { ", f'upstream = {{ url = "{url}"; ', 1)
                self.config = lambda _row, text=text: text
                try:
                    self.check(server, row)
                finally:
                    del self.config


class Gateway(unittest.TestCase):
    def test_slots_and_timeouts(self):
        upstream = SlowUpstream()
        self.addCleanup(upstream.stop)
        server = Server(config=f'upstream = {{ url = "http://127.0.0.1:{upstream.port}/"; '
                               'ping = { slots = 1; interval = 1; }; };')
        self.addCleanup(server.close)
        devices = [Device(server, user=user) for user in ("ann", "bob", "carl")]
        for device in devices:
            self.addCleanup(device.close)
            device.handshake()
            device.foldersync()
            device.start("Ping", device.ping_tree(600, folders=("mail/1",)))
        wait_for("all to wait", lambda: server.admin("status")["waiting_pings"] == 3)
        server.write_config(f'upstream = {{ url = "http://127.0.0.1:{upstream.port}/"; '
                            'connections = 7; connect_timeout = 9; user_field = "X-Who"; '
                            'ping = { slots = 3; interval = 2; }; };')
        server.reload()
        wait_for("the reload", lambda: " reloaded" in server.log)
        ping, = (u["ping"] for u in server.admin("status")["upstreams"])
        self.assertEqual((ping["slots"], ping["waiting"]), (3, 3))
        upstream.news.add("bob")
        self.assertEqual(devices[1].receive().status, 2)
        seen = len(upstream.seen)
        wait_for("another look", lambda: len(upstream.seen) > seen)
        self.assertEqual(upstream.seen[-1].headers["X-Who"], upstream.seen[-1].user)


class GatewayTls(Case):
    def test_who_vouches_for_the_upstream(self):
        where = pathlib.Path(tempfile.mkdtemp(prefix="provost-test-"))
        self.addCleanup(shutil.rmtree, where)
        certificate, key = make_certificate(where)
        (where / "other").mkdir()
        other, _ = make_certificate(where / "other")
        upstream = Upstream(certificate=(certificate, key)).__enter__()
        self.addCleanup(upstream.stop)
        self.server.close()
        self.server = gateway(upstream, f'ca_file = "{certificate}";')
        self.addCleanup(self.server.close)
        self.admin = self.server.admin
        device = self.device()
        device.handshake()
        self.assertEqual(device.foldersync().http, 200)
        config = 'upstream = {{ url = "{}"; ca_file = "{}"; }};'.format
        self.assertIn("reload-refused", self.reload(config(upstream.url, "/nowhere")))
        self.assertEqual(device.foldersync().http, 200)
        self.assertIn("changed=upstream.ca_file", self.reload(config(upstream.url, other)))
        self.assertEqual(device.foldersync().http, 503)
        self.reload(config(upstream.url, certificate))
        wait_for("the upstream", lambda: device.foldersync().http == 200)


class GatewayLimits(Case):
    def test_timeouts_and_sizes(self):
        upstream = Upstream().__enter__()
        self.addCleanup(upstream.stop)
        upstream.script = lambda r: time.sleep(2) or plain(r) if r.cmd == "Search" else plain(r)
        self.server.close()
        self.server = gateway(upstream, "timeout = 1;")
        self.addCleanup(self.server.close)
        self.admin = self.server.admin
        device = self.device()
        device.handshake()
        self.assertEqual(device.command("Search", ("Search", [])).http, 504)
        config = 'upstream = {{ url = "{}"; {} }};'.format
        self.reload(config(upstream.url, "timeout = 30;"))
        self.assertEqual(device.command("Search", ("Search", [])).http, 200)
        self.assertEqual(device.command("SendMail", b"x" * 5000).http, 200)
        self.reload(config(upstream.url, "body_max = 4096;"))
        self.assertEqual(device.command("SendMail", b"x" * 5000).http, 413)


class Storm(Case):
    """Reloads while everything goes on; the thread sanitizer looks on."""

    config = "ping = { heartbeat_min = 1; };"
    SECONDS = 6

    def test_nothing_breaks(self):
        over, wrong, counts = threading.Event(), [], {"requests": 0}
        devices = [self.provisioned() for _ in range(3)]
        waiting = [self.provisioned(user="bob") for _ in range(5)]
        for device in waiting:
            self.waits(device)

        def ask(device):
            while not over.is_set():
                try:
                    answer = device.foldersync()
                except OSError as why:
                    wrong.append(why)
                    return
                counts["requests"] += 1
                if answer.http != 200 or answer.status != 1:
                    wrong.append(answer)
                    return

        threads = [threading.Thread(target=ask, args=(device,)) for device in devices]
        for thread in threads:
            thread.start()
        end, n = time.monotonic() + self.SECONDS, 0
        while time.monotonic() < end:
            n += 1
            self.reload(f'{self.config}\nlog_level = "{"debug" if n % 2 else "info"}";\n'
                        f'groups = {{ g = ["u{n}"]; }}; connections_max = {1000 + n};\n'
                        f'idle_timeout = {100 + n % 50}; devices_per_user = {10 + n % 3};\n'
                        f'audit = {{ keep = {n % 4}; }};'
                        f'auth = {{ method = "file"; file = "{self.server.users_file}"; '
                        f'threads = {1 + n % 3}; }};\n'
                        f'notify = {{ url = "http://127.0.0.1:1/{n}"; }};')
            self.admin("status")
        over.set()
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [])
        self.assertGreater(n, 3)
        self.assertGreater(counts["requests"], n)
        self.assertEqual(self.admin("status")["waiting_pings"], len(waiting))
        for device in [*devices, *waiting]:
            device.close()


if __name__ == "__main__":
    unittest.main()

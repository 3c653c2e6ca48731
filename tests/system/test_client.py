"""`provost connect` against servers that misbehave, and against the real one."""

import concurrent.futures
import gzip
import itertools
import signal
import socket
import time
import unittest

from harness import evil, wbxml
from harness.case import OwnServerCase, ServerCase
from harness.client import Client, mode, terminate
from harness.eas import MATRIX, TYPE, Device
from harness.evil import Evil, folders, offer, reply
from harness.server import wait_for

DONE, FAILED, USAGE, CREDENTIALS, REFUSED, BLOCKED, CANNOT_KEEP, WIPE, PROTOCOL, UNREACHABLE = \
    range(10)
TEMPORARY, FINAL = "1307199584", "3942919513"
OPEN = [("DevicePasswordEnabled", "0"), ("AllowCamera", "1")]
MOST_REQUESTS = 16  # of any run, however the server behaves


def status(root, number):
    return reply(200, (root, [("Status", str(number))]))


class Good:
    """A well-behaved server as a script; keyword arguments replace single answers.

    Each is bytes, or a function of (asked, how many of that kind).
    """

    def __init__(self, final=FINAL, **replaced):
        self.final, self.replaced, self.counts = final, replaced, {}

    def kind(self, asked):
        if asked.cmd != "Provision":
            return asked.cmd.lower()
        if wbxml.has(asked.tree, "RemoteWipe") or wbxml.has(asked.tree, "AccountOnlyRemoteWipe"):
            return "wiped"
        if not wbxml.has(asked.tree, "Policies"):
            return "poll"
        return "ack" if asked.is_ack else "initial"

    def __call__(self, asked, _):
        kind = self.kind(asked)
        self.counts[kind] = self.counts.get(kind, 0) + 1
        answer = self.replaced.get(kind) or getattr(self, "do_" + kind)
        return answer if isinstance(answer, bytes) else answer(asked, self.counts[kind])

    def do_options(self, *_):
        return evil.options()

    def do_foldersync(self, asked, _):
        if asked.key != self.final:
            return status("FolderSync", 142)
        return reply(200, folders())

    def do_initial(self, *_):
        return reply(200, offer(TEMPORARY, OPEN))

    def do_ack(self, *_):
        return reply(200, offer(self.final))

    def do_poll(self, *_):
        return status("Provision", 1)

    def do_wiped(self, *_):
        return status("Provision", 1)

    def do_settings(self, *_):
        return reply(200, ("Settings", [("Status", "1"),
                                        ("DeviceInformation", [("Status", "1")])]))

    def do_ping(self, *_):
        return status("Ping", 1)


def once(first):
    """That answer the first time, the usual one afterwards (script: attribute set by play)."""
    def answer(asked, count):
        return first if count == 1 else getattr(answer.good, "do_" + answer.good.kind(asked))(
            asked, count)
    return answer


class ClientCase(unittest.TestCase):
    def play(self, script, *args, version="14.1", client=None):
        """Run connect against a script; version None lets it ask for the versions. Returns the run
        and what the server was asked."""
        client = client or self.client()
        for answer in script.replaced.values():
            if callable(answer):
                answer.good = script
        with Evil(script) as server:
            run = client.connect(server.url, *(["--version", version] if version else []), *args)
        self.assertLessEqual(len(server.asked), MOST_REQUESTS, run)
        return run, server.asked

    def client(self, **how):
        made = Client(**how)
        self.addCleanup(made.close)
        return made

    def assertRun(self, run, code, says=""):
        self.assertEqual(run.code, code, run)
        if says:
            self.assertRegex(run.said, says)


class Misbehaving(ClientCase):
    def rows(self, rows, version="14.1"):
        for name, script, code, says in rows:
            with self.subTest(row=name, version=version):
                run, _ = self.play(script, version=version)
                self.assertRun(run, code, says)
                if code:
                    self.assertTrue(run.err.startswith("provost: "), run)

    def test_refusals_that_end_well(self):
        for number in (141, 142, 143, 144):
            for version in ("14.0", "14.1", "16.1"):
                self.rows([(f"Status {number}", Good(foldersync=once(
                    status("FolderSync", number))), DONE, "Inbox")], version)
        for version in ("2.5", "12.0", "12.1", "14.0", "14.1", "16.1"):
            kind = "MS-WAP-Provisioning-XML" if version == "2.5" else "MS-EAS-Provisioning-WBXML"
            wap = ("Provision", [("Status", "1"), ("Policies", [("Policy", [
                ("PolicyType", kind), ("Status", "1"), ("PolicyKey", TEMPORARY),
                ("Data", "<wap-provisioningdoc></wap-provisioningdoc>" if version == "2.5" else
                 [("EASProvisionDoc", OPEN)])])])])
            self.rows([("HTTP 449", Good(
                foldersync=once(reply(449)), initial=reply(200, wap),
                ack=reply(200, offer(FINAL, kind=kind))), DONE, "Inbox")], version)
        self.rows([("449 with a page", Good(foldersync=once(reply(
            449, body=b"<html>", fields={"Content-Type": "text/html"}))), DONE, "Inbox"),
                   ("449 with Status 142", Good(foldersync=once(reply(
                       449, ("FolderSync", [("Status", "142")])))), DONE, "Inbox")])

    def test_refusals_for_ever_are_bounded(self):
        again = "again and again"
        self.rows([("449", Good(foldersync=reply(449)), PROTOCOL, again)], "12.1")
        self.rows([("449", Good(foldersync=reply(449)), PROTOCOL, again),
                   ("142", Good(foldersync=status("FolderSync", 142)), PROTOCOL, again),
                   ("143", Good(foldersync=status("FolderSync", 143)), PROTOCOL, again),
                   ("144", Good(foldersync=status("FolderSync", 144)), PROTOCOL, again),
                   ("165", Good(initial=status("Provision", 165)), PROTOCOL, ""),
                   ("Policy Status 5", Good(ack=reply(200, offer(None, policy_status="5"))),
                    PROTOCOL, "")])

    def test_165_is_answered_with_device_information(self):
        def demanding(asked, _):
            told = wbxml.has(asked.tree, "Settings:DeviceInformation/Set/Model")
            return reply(200, offer(TEMPORARY, OPEN)) if told else status("Provision", 165)
        self.rows([("165", Good(initial=demanding), DONE, "Inbox")], "14.0")
        run, asked = self.play(Good(initial=demanding))
        self.assertRun(run, DONE)
        self.assertEqual(sum(a.cmd == "Provision" and not a.is_ack for a in asked), 1)

    def test_policy_status(self):
        self.rows([
            ("no policy, and none is asked for", Good(
                initial=reply(200, offer(None, policy_status="2")),
                foldersync=once(status("FolderSync", 142))), PROTOCOL, ""),
            ("unknown type", Good(initial=reply(200, offer(None, policy_status="3"))), PROTOCOL,
             ""),
            ("damaged", Good(initial=reply(200, offer(None, policy_status="4"))), PROTOCOL, ""),
            ("Provision Status 2", Good(initial=status("Provision", 2)), PROTOCOL, ""),
            ("Provision Status 3", Good(initial=status("Provision", 3)), UNREACHABLE, "later"),
            ("partial refused", Good(ack=status("Provision", 139)), REFUSED, ""),
            ("external refused", Good(ack=status("Provision", 145)), REFUSED, ""),
        ])

    def test_no_policy_goes_on_without(self):
        good = Good(initial=reply(200, offer(None, policy_status="2")))
        good.replaced["foldersync"] = lambda asked, count: \
            status("FolderSync", 142) if count == 1 else reply(200, folders())
        run, _ = self.play(good)
        self.assertRun(run, DONE, "Inbox")

    def test_final_keys_that_are_none(self):
        rows = [("zero", "0", REFUSED), ("garbage", "abc", PROTOCOL),
                ("64 digits", "9" * 64, PROTOCOL), ("65 digits", "9" * 65, PROTOCOL),
                ("negative", "-1", PROTOCOL), ("beyond 32 bits", str(2**32), PROTOCOL),
                ("absent", None, REFUSED), ("empty", "", REFUSED)]
        self.rows([(name, Good(ack=reply(200, offer(key) if key != "" else (
            "Provision", [("Status", "1"), ("Policies", [("Policy", [
                ("PolicyType", "MS-EAS-Provisioning-WBXML"), ("Status", "1"),
                ("PolicyKey", None)])])]))), code, "") for name, key, code in rows])

    def test_temporary_keys_are_given_back_as_they_came(self):
        for key in ("abc", "x" * 64, "007", "9" * 30):
            with self.subTest(key=key):
                run, asked = self.play(Good(initial=reply(200, offer(key, OPEN))))
                self.assertRun(run, DONE)
                (ack,) = [a for a in asked if a.is_ack]
                self.assertEqual(wbxml.text(ack.tree, "Policies/Policy/PolicyKey"), key)
        self.rows([("none", Good(initial=reply(200, offer(None, OPEN))), PROTOCOL, ""),
                   ("no Data", Good(initial=reply(200, offer(TEMPORARY))), PROTOCOL, "")])

    def test_answers_that_are_odd_but_clear(self):
        good = offer(TEMPORARY, OPEN)
        final = offer(FINAL)

        def chunked(asked, _):
            body = wbxml.encode(good)
            pieces = b"".join(b"%x\r\n%c\r\n" % (1, c) for c in body)
            return reply(200, fields={"Content-Length": None, "Transfer-Encoding": "chunked",
                                      "Content-Type": TYPE}, body=pieces + b"0\r\n\r\n")

        def packed(asked, _):
            if "gzip" not in (asked.headers.get("Accept-Encoding") or ""):
                return reply(200, good)
            return reply(200, fields={"Content-Encoding": "gzip", "Content-Type": TYPE},
                         body=gzip.compress(wbxml.encode(good)))

        typed = {"Content-Type": TYPE}
        reordered = ("Provision", [("Policies", [("Policy", [
            ("PolicyKey", TEMPORARY), ("Data", [("EASProvisionDoc", OPEN)]), ("Status", "1"),
            ("PolicyType", "MS-EAS-Provisioning-WBXML")])]), ("Status", "1")])
        rows = [("no top Status", reply(200, offer(TEMPORARY, OPEN, status=None))),
                ("other order", reply(200, reordered)), ("chunked", chunked), ("gzip", packed),
                ("opaque texts", reply(200, fields=typed, body=wbxml.encode(good,
                                                                            opaque_text=True))),
                ("full tags", reply(200, fields=typed, body=wbxml.encode(good, full_tags=True))),
                ("bytes after the root", reply(200, fields=typed,
                                               body=wbxml.encode(good) + b"\0\0junk")),
                ("string table", reply(200, fields=typed, body=b"\x03\x01\x6a\x04abc\0" +
                                       wbxml.encode(good)[4:])),
                ("type with charset", reply(200, good, {"Content-Type": TYPE + "; charset=x"})),
                ("no content type", reply(200, good, {"Content-Type": None})),
                ("type without wbxml", reply(200, good, {"Content-Type":
                                                         "application/vnd.ms-sync"}))]
        self.rows([(name, Good(initial=answer), DONE, "Inbox") for name, answer in rows])
        self.rows([("no top Status in the second", Good(ack=reply(200, offer(FINAL, status=None))),
                    DONE, "Inbox"), ("close", Good(ack=reply(200, final, {"Connection": "close"})),
                                     DONE, "Inbox")])

    def test_answers_that_make_no_sense(self):
        typed = {"Content-Type": TYPE}
        whole = wbxml.encode(offer(TEMPORARY, OPEN))
        rows = [("a page of HTML", reply(200, fields={"Content-Type": "text/html"},
                                         body=b"<html>Welcome</html>")),
                ("HTML said to be WBXML", reply(200, fields=typed, body=b"<html>")),
                ("empty", reply(200, fields=typed)),
                ("cut in the middle", reply(200, fields=typed, body=whole[:len(whole) // 2])),
                ("another root", reply(200, folders())),
                ("deep nesting", reply(200, fields=typed, body=whole[:6] + b"\x46" * 5000)),
                ("HTTP 500", reply(500)), ("HTTP 404", reply(404)), ("HTTP 204", reply(204)),
                ("HTTP 999", reply(999))]
        self.rows([(name, Good(initial=answer), PROTOCOL, "") for name, answer in rows])

    def test_who_may_not(self):
        self.rows([("401", Good(foldersync=reply(401, fields={
            "WWW-Authenticate": 'Basic realm="x"'})), CREDENTIALS, ""),
                   ("403", Good(foldersync=reply(403)), BLOCKED, ""),
                   ("403 to Provision", Good(initial=reply(403)), BLOCKED, ""),
                   ("126", Good(foldersync=status("FolderSync", 126)), BLOCKED, ""),
                   ("129", Good(foldersync=status("FolderSync", 129)), BLOCKED, ""),
                   ("129 to Provision", Good(initial=status("Provision", 129)), BLOCKED, "")])

    def test_options_refused(self):
        challenge = {"WWW-Authenticate": 'Basic realm="x"'}
        self.rows([("401", Good(options=reply(401, fields=challenge)), CREDENTIALS, ""),
                   ("403", Good(options=reply(403)), BLOCKED, ""),
                   ("404", Good(options=reply(404)), PROTOCOL, ""),
                   ("500", Good(options=reply(500)), PROTOCOL, ""),
                   ("503", Good(options=reply(503)), UNREACHABLE, ""),
                   ("no versions", Good(options=reply(200)), PROTOCOL, "")], version=None)

    def test_come_back_later(self):
        for name, retry, answers in (("once", "1", DONE), ("for ever", "1", UNREACHABLE),
                                     ("in a day", "86400", UNREACHABLE),
                                     ("soon", "soon", UNREACHABLE)):
            with self.subTest(row=name):
                busy = reply(503, fields={"Retry-After": retry})
                run, _ = self.play(Good(foldersync=once(busy) if name == "once" else busy))
                self.assertRun(run, answers)

    def test_another_address(self):
        with Evil(Good()) as second:
            moved = reply(451, fields={"X-MS-Location": second.url})
            client = self.client()
            run, asked = self.play(Good(foldersync=moved), client=client)
            self.assertRun(run, DONE, "Inbox")
            self.assertGreaterEqual(second.count("FolderSync"), 1)
            self.assertEqual(sum(a.cmd == "FolderSync" for a in asked), 1)

    def test_addresses_in_a_circle(self):
        first, second = Evil(None), Evil(None)
        first.script = lambda *_: reply(451, fields={"X-MS-Location": second.url})
        second.script = lambda *_: reply(451, fields={"X-MS-Location": first.url})
        with first, second:
            run = self.client().connect(first.url, "--version", "14.1")
        self.assertRun(run, PROTOCOL)
        self.assertLessEqual(len(first.asked) + len(second.asked), MOST_REQUESTS)

    def test_addresses_that_are_none(self):
        for location in (None, "", "nowhere", "ftp://127.0.0.1/", "http://", "file:///etc/passwd",
                         "http://127.0.0.1:1/\r\nX: y"):
            with self.subTest(location=location):
                run, _ = self.play(Good(foldersync=reply(451, fields={"X-MS-Location": location})))
                self.assertIn(run.code, (PROTOCOL, UNREACHABLE), run)

    def test_connections_that_break(self):
        whole = reply(200, offer(TEMPORARY, OPEN))

        def shorter(*_):
            return iter([whole[:-10]])

        def headers_without_end(*_):
            yield b"HTTP/1.1 200 OK\r\n"
            for i in itertools.count():
                yield b"X-%d: %s\r\n" % (i, b"a" * 1000)

        def body_without_end(*_):
            yield b"HTTP/1.1 200 OK\r\nContent-Type: " + TYPE.encode() + b"\r\n\r\n"
            while True:
                yield b"\x03" * 65536

        def bomb(*_):
            body = gzip.compress(b"\0" * 200_000_000, 9)
            return reply(200, fields={"Content-Encoding": "gzip", "Content-Type": TYPE}, body=body)

        rows = [("cut in the body", shorter), ("closed without a word", lambda *_: iter([])),
                ("no HTTP", lambda *_: iter([b"220 smtp.example.org ESMTP\r\n"])),
                ("headers without end", headers_without_end),
                ("body without end", body_without_end),
                ("gzip bomb", bomb)]
        for name, answer in rows:
            with self.subTest(row=name):
                run, _ = self.play(Good(initial=answer))
                self.assertIn(run.code, (PROTOCOL, UNREACHABLE), run)
                self.assertTrue(run.err.startswith("provost: "), run)

    def test_servers_that_hang(self):
        def silent(*_):
            time.sleep(100)
            return None

        def drip(*_):
            yield b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
            for _ in range(100):
                time.sleep(1)
                yield b"a"
        huge = reply(200, fields={"Content-Length": str(10**12)})
        rows = [("OPTIONS", Good(options=silent)), ("Provision", Good(initial=silent)),
                ("in the body", Good(ack=drip)), ("1 TB that never comes", Good(ack=huge))]
        with concurrent.futures.ThreadPoolExecutor(len(rows)) as pool:  # each takes a minute
            runs = pool.map(lambda row: self.play(row[1], version=None), rows)
            for (name, _), (run, _) in zip(rows, runs):
                with self.subTest(row=name):
                    self.assertIn(run.code, (PROTOCOL, UNREACHABLE), run)

    def test_nobody_there(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            run = self.client().connect(f"http://127.0.0.1:{taken.getsockname()[1]}")
        self.assertRun(run, UNREACHABLE)

    def test_versions_of_the_server(self):
        rows = [("16.1, 14.1, 12.1", "16.1"), ("2.5,12.0,12.1", "12.1"), ("2.5", "2.5"),
                ("1.0,2.0,14.0,99.0", "14.0")]
        for versions, spoken in rows:
            with self.subTest(versions=versions), Evil(Good(
                    options=evil.options(versions))) as server:
                self.client().connect(server.url)
                sent = {a.headers["MS-ASProtocolVersion"] for a in server.asked if
                        a.method == "POST"}
                self.assertEqual(sent, {spoken})
        with Evil(Good(options=evil.options("1.0,99.9"))) as server:
            self.assertRun(self.client().connect(server.url), PROTOCOL)
            self.assertEqual(server.count("FolderSync"), 0)


class Honest(ClientCase):
    """What the device can and cannot keep decides what it acknowledges."""

    def acknowledged(self, profile, policy, **script):
        client = self.client()
        script.setdefault("initial", reply(200, offer(TEMPORARY, policy)))
        run, asked = self.play(Good(**script), *client.profile(profile), client=client)
        acks = [wbxml.text(a.tree, "Policies/Policy/Status") for a in asked if a.is_ack]
        return run, acks

    def test_what_is_acknowledged(self):
        camera = [("AllowCamera", "0")]
        password = [("DevicePasswordEnabled", "1"), ("MinDevicePasswordLength", "8")]
        rows = [("all", "", camera + password, "1"),
                ("part", "AllowCamera = no\n", password + camera, "2"),
                ("not demanded", "AllowCamera = no\n", password, "1"),
                ("not even the password", "MinDevicePasswordLength = 4\n", password, "3"),
                ("long enough", "MinDevicePasswordLength = 8\n", password, "1"),
                ("nothing", "Nothing = yes\n", password, "3"),
                ("managed elsewhere", "ExternallyManaged = yes\n", password, "4")]
        for name, profile, policy, status_sent in rows:
            with self.subTest(row=name):
                run, acks = self.acknowledged(profile, policy)
                self.assertEqual(acks, [status_sent], run)
                self.assertRun(run, DONE)

    def test_not_let_in(self):
        for profile, number, code in (("AllowCamera = no\n", 139, CANNOT_KEEP),
                                      ("ExternallyManaged = yes\n", 145, REFUSED)):
            with self.subTest(status=number):
                run, _ = self.acknowledged(profile, [("AllowCamera", "0")],
                                           ack=status("Provision", number))
                self.assertRun(run, code)

    def test_a_bad_profile_is_told_with_its_line(self):
        client = self.client()
        with Evil(Good()) as server:
            run = client.connect(server.url, *client.profile("AllowCamera = no\nNoSuch = yes\n"))
        self.assertIn(run.code, (FAILED, USAGE))
        self.assertRegex(run.err, r"\b2\b.*NoSuch|NoSuch.*\b2\b")
        self.assertEqual(server.asked, [])


class Wipes(ClientCase):
    FULL = reply(200, ("Provision", [("Status", "1"), ("RemoteWipe", None)]))
    ACCOUNT = reply(200, ("Provision", [("Status", "1"), ("AccountOnlyRemoteWipe", None)]))

    def wipe(self, hook, version="14.1", directive=None, **script):
        client = self.client()
        script.setdefault("foldersync", status("FolderSync", 140))
        script.setdefault("poll", directive or self.FULL)
        run, asked = self.play(Good(**script), *(client.hook(hook) if hook is not None else []),
                               version=version, client=client)
        self.assertRun(run, WIPE)
        sent = [wbxml.text(a.tree, f"{kind}/Status") for a in asked if a.cmd == "Provision"
                for kind in ("RemoteWipe", "AccountOnlyRemoteWipe") if wbxml.has(a.tree, kind)]
        return client, sent

    def test_only_what_the_hook_did_is_acknowledged(self):
        for hook, sent in ((0, ["1"]), (1, ["2"]), (2, []), (77, [])):
            with self.subTest(hook=hook):
                client, acknowledged = self.wipe(hook)
                self.assertEqual(acknowledged, sent)
                self.assertEqual(len(client.hooked), 1)
                self.assertRegex(client.hooked[0], r"^device ann CLIENT1 ")

    def test_without_a_hook_nothing_is_acknowledged(self):
        self.assertEqual(self.wipe(None)[1], [])

    def test_account_only(self):
        client, acknowledged = self.wipe(0, "16.1", self.ACCOUNT)
        self.assertEqual(acknowledged, ["1"])
        self.assertRegex(client.hooked[0], r"^account ann ")

    def test_a_directive_in_the_answer_to_the_initial_request(self):
        client, acknowledged = self.wipe(0, foldersync=status("FolderSync", 142),
                                         initial=self.FULL)
        self.assertEqual((acknowledged, len(client.hooked)), (["1"], 1))

    def test_below_14_0(self):
        for answer in (reply(449), reply(403)):
            client, acknowledged = self.wipe(0, "12.1", foldersync=answer, initial=self.FULL)
            self.assertEqual((acknowledged, len(client.hooked)), (["1"], 1))

    def test_account_only_below_16_1_is_none(self):
        client = self.client()
        run, asked = self.play(Good(foldersync=status("FolderSync", 140), poll=self.ACCOUNT),
                               *client.hook(0), client=client)
        self.assertNotEqual(run.code, WIPE, run)
        self.assertEqual(client.hooked, [])
        self.assertFalse(any(wbxml.has(a.tree, "AccountOnlyRemoteWipe") for a in asked
                             if a.cmd == "Provision"))

    def test_nobody_is_wiped_by_140_alone(self):
        client = self.client()
        run, _ = self.play(Good(foldersync=status("FolderSync", 140)), *client.hook(0),
                           client=client)
        self.assertEqual(client.hooked, [], run)


class Keys(ClientCase):
    def test_a_second_run_starts_with_the_key_that_it_has(self):
        client = self.client()
        with Evil(Good()) as server:
            self.assertRun(client.connect(server.url), DONE)
            before = len(server.asked)
            self.assertRun(client.connect(server.url), DONE)
            second = server.asked[before:]
        self.assertEqual([a.cmd for a in second if a.cmd != "OPTIONS"], ["FolderSync"])
        self.assertEqual(second[-1].key, FINAL)
        for path in client.files():
            self.assertEqual(mode(path), 0o600, path)
        self.assertNotIn("secret", client.stored())

    def test_a_failed_handshake_keeps_the_old_key(self):
        client = self.client()
        with Evil(Good()) as server:
            self.assertRun(client.connect(server.url), DONE)
            for script, code in ((Good("4711", ack=status("Provision", 139)), REFUSED),
                                 (Good("4711", ack=reply(200, offer("abc"))), PROTOCOL),
                                 (Good("4711", initial=reply(500)), PROTOCOL)):
                server.script = script
                self.assertRun(client.connect(server.url), code)
                self.assertEqual(client.key(), int(FINAL))
            server.script, before = Good(), len(server.asked)
            self.assertRun(client.connect(server.url), DONE)
        self.assertEqual([a.key for a in server.asked[before:] if a.cmd == "FolderSync"], [FINAL])

    def test_keys_of_servers_users_and_devices_are_apart(self):
        client = self.client()
        with Evil(Good()) as one, Evil(Good("4711")) as two:
            for server in (one, two, one, two):
                self.assertRun(client.connect(server.url), DONE)
            self.assertEqual([e.count("Provision") for e in (one, two)], [2, 2])
            for user, device_id in (("bob", "CLIENT1"), ("ann", "CLIENT2")):
                client.user, client.device_id = user, device_id
                self.assertRun(client.connect(one.url), DONE)
            self.assertEqual(one.count("Provision"), 6)

    def test_a_damaged_store_is_begun_anew(self):
        for damage in (b"", b"\0\xff garbage", b'{"key": -1', b"A" * 2_000_000):
            with self.subTest(damage=damage[:20]), Evil(Good()) as server:
                client = self.client()
                self.assertRun(client.connect(server.url), DONE)
                for path in client.files():
                    path.write_bytes(damage)
                self.assertRun(client.connect(server.url), DONE)
                self.assertEqual(client.key(), int(FINAL))

    def test_secrets_are_not_shown(self):
        for extra in ([], ["--trace"], ["--json"], ["--trace", "--json"]):
            with self.subTest(options=extra):
                run, _ = self.play(Good(), *extra)
                self.assertRun(run, DONE)
                for secret in ("secret", TEMPORARY, FINAL, "YW5uOnNlY3JldA"):
                    self.assertNotIn(secret, run.said)
                self.assertIn("39xxxxxxxx", run.said)


class RealServer(ServerCase):
    """The story of the demo, for every version and both forms."""

    def client(self, **how):
        made = Client(**how)
        self.addCleanup(made.close)
        return made

    def test_four_phases_and_the_folder_tree(self):
        folders_of_ann = self.server.maildir("ann")
        folders_of_ann.folder("Work").folder("Work/Größe").folder("Sent").folder("日本語")
        for i, (version, form) in enumerate(MATRIX):
            with self.subTest(version=version, form=form):
                client = self.client(device_id=f"REAL{i}")
                run = client.connect(self.server.url, "--version", version, "--query", form)
                self.assertEqual(run.code, DONE, run)
                for word in ("Inbox", "Work", "Größe", "日本語", "Provision", "FolderSync"):
                    self.assertIn(word, run.out)
                row = self.admin.device("ann", f"REAL{i}")
                self.assertEqual((row["state"], row["protocol_version"]), ("provisioned", version))

    def test_without_a_version_the_highest(self):
        client = self.client(device_id="HIGHEST")
        self.assertEqual(client.connect(self.server.url).code, DONE)
        self.assertEqual(self.admin.device("ann", "HIGHEST")["protocol_version"], "16.1")

    def test_json_is_one_document(self):
        run = self.client(device_id="JSON1").connect(self.server.url, "--json")
        self.assertEqual(run.code, DONE, run)
        self.assertIsInstance(run.json, dict)
        self.assertIn("Inbox", run.out)

    def test_base_urls(self):
        for i, tail in enumerate(("/", "/Microsoft-Server-ActiveSync",
                                  "/Microsoft-Server-ActiveSync/")):
            with self.subTest(tail=tail):
                run = self.client(device_id=f"URL{i}").connect(self.server.url + tail)
                self.assertEqual(run.code, DONE, run)

    def test_wrong_password(self):
        run = self.client(password="wrong").connect(self.server.url)
        self.assertEqual(run.code, CREDENTIALS, run)

    def test_wrong_usage(self):
        for args in (["--version", "9"], ["--query", "x"], ["--nothing"], ["--device-id", "a b"],
                     ["--version", "12.0", "--query", "base64"]):
            with self.subTest(args=args):
                self.assertEqual(self.client().connect(self.server.url, *args).code, USAGE)


class Tls(ServerCase):
    tls = True

    def connect(self, *args):
        client = Client()
        self.addCleanup(client.close)
        return client.connect(self.server.url, *args)

    def test_a_certificate_that_nobody_knows(self):
        self.assertEqual(self.connect().code, UNREACHABLE)

    def test_ca_file(self):
        run = self.connect("--ca-file", str(self.server.dir / "cert.pem"))
        self.assertEqual(run.code, DONE, run)

    def test_insecure_is_said_loudly(self):
        run = self.connect("--insecure")
        self.assertEqual(run.code, DONE, run)
        self.assertRegex(run.err.lower(), "insecure|not checked|anyone")


class Watch(OwnServerCase):
    """A device that watches is woken by a policy, provisions again, and its old key is refused."""

    def waiting(self):
        return self.admin("status")["waiting_pings"]

    def test_the_story(self):
        for version, form in (("14.1", "plain"), ("12.1", "base64"), ("16.1", "base64"),
                              ("2.5", "plain")):
            with self.subTest(version=version):
                self.story(version, form)

    def story(self, version, form):
        client = Client(device_id="W" + version.replace(".", ""))
        self.addCleanup(client.close)
        watcher = client.start(self.server.url, "--version", version, "--query", form, "--watch")
        try:
            self.watch(client, watcher, version)
        finally:
            terminate(watcher)

    def watch(self, client, watcher, version):
        wait_for("a watching device", lambda: self.waiting() == 1)
        old = client.key()
        self.assertNotEqual(old, 0)
        length = 4 + len(self.admin.devices())
        self.admin.policy("DevicePasswordEnabled=1", f"MinDevicePasswordLength={length}")
        wait_for("a new key", lambda: client.key() not in (0, old))
        wait_for("the device to watch again", lambda: self.waiting() == 1)
        row = self.admin.device("ann", client.device_id)
        self.assertEqual(row["state"], "provisioned")
        self.assertEqual(row["revision"], self.admin("policy", "show", "default")["revision"])
        device = Device(self.server, version=version, device_id=client.device_id)
        self.assertRefused(device.foldersync(key=old), "FolderSync", 144, version)
        device.close()
        self.server.maildir("ann").folder(f"New{length}")
        wait_for("the device to watch again", lambda: self.waiting() == 1)
        watcher.send_signal(signal.SIGINT)
        out, err = watcher.communicate(timeout=60)
        self.assertEqual(watcher.returncode, DONE, out + err)
        self.assertIn("143" if version >= "14" and version != "2.5" else "449", out)


if __name__ == "__main__":
    unittest.main()

"""A gateway before a server that demands provisioning of its own: another provostd, and one that says
what the test wants."""

import http.client
import threading
import unittest

from harness import wbxml
from harness.case import HTTP_OF
from harness.eas import Device, number
from harness.evil import folders, offer, reply
from harness.server import Server, wait_for
from harness.upstream import Upstream, gateway, plain

KINDS = {"device": "RemoteWipe", "account": "AccountOnlyRemoteWipe"}


class PairCase(unittest.TestCase):
    """inner: a provostd with a mailbox; outer: the gateway before it."""

    inner_config, outer_config = "", ""

    def setUp(self):
        self.inner = Server(config=self.inner_config)
        self.addCleanup(self.inner.close)
        self.outer = gateway(self.inner, config=self.outer_config)
        self.addCleanup(self.outer.close)

    def device(self, version="14.1", **more):
        made = Device(self.outer, version=version, **more)
        self.addCleanup(made.close)
        return made

    def settled(self, version="14.1", **more):
        """Provisioned with both."""
        made = self.device(version, **more)
        made.handshake()
        if self.asked_for(made.foldersync(), version):
            made.handshake()
            self.assertFolders(made.foldersync())
        return made

    def asked_for(self, answer, version):
        """Is the device to provision again?"""
        if number(version) < 140:
            return answer.http == 449
        return answer.http == 200 and answer.status in (141, 142, 143, 144)

    def assertFolders(self, answer):
        self.assertEqual((answer.http, answer.root, answer.status), (200, "FolderSync", 1), answer)

    def assertStatus(self, answer, status, version):
        """Refused, in the way of the version."""
        if number(version) < 140:
            self.assertEqual(answer.http, HTTP_OF[status], answer)
        else:
            self.assertEqual((answer.http, answer.status), (200, status), answer)

    def show(self, server, device):
        return server.admin("device", "show", device.user, device.device_id)

    def handshakes(self, server):
        return server.admin("status")["handshakes"]

    def setting(self, device, name):
        data = device.provision_initial()
        return data.text(f"Policies/Policy/Data/EASProvisionDoc/{name}")


class Handshake(PairCase):
    def test_every_version(self):
        for version in ("2.5", "12.0", "12.1", "14.0", "14.1", "16.0", "16.1"):
            with self.subTest(version=version):
                d = self.device(version)
                self.assertTrue(self.asked_for(d.foldersync(), version))
                d.handshake()
                self.assertFolders(d.foldersync())  # the inner one demands no more than ours
                inner = self.show(self.inner, d)
                self.assertEqual((inner["state"], inner["protocol_version"], inner["said"]),
                                 ("provisioned", version, 1))
                outer = self.show(self.outer, d)
                self.assertEqual(outer["upstream"], {
                    "url": self.inner.url + "/Microsoft-Server-ActiveSync", "policy": True,
                    "key": True, "conflict": False})
                self.assertEqual(self.handshakes(self.inner), self.handshakes(self.outer))

    def test_the_stricter_of_each_setting(self):
        self.inner.admin("policy", "set", "default", "DevicePasswordEnabled=1",
                         "MinDevicePasswordLength=8", "AllowCamera=0", "AllowBluetooth=1",
                         "UnapprovedInROMApplicationList=b.exe,c.exe")
        self.outer.admin("policy", "set", "default", "DevicePasswordEnabled=1",
                         "MinDevicePasswordLength=4", "AllowBrowser=0", "AllowBluetooth=0",
                         "MaxInactivityTimeDeviceLock=600",
                         "UnapprovedInROMApplicationList=a.exe,b.exe")
        d = self.device("16.1")
        d.handshake()
        self.assertStatus(d.foldersync(), 143, "16.1")
        self.assertEqual(self.show(self.inner, d)["state"], "offered")
        for name, value in (("MinDevicePasswordLength", "8"), ("AllowCamera", "0"),
                            ("AllowBrowser", "0"), ("AllowBluetooth", "0"),
                            ("MaxInactivityTimeDeviceLock", "600")):
            self.assertEqual(self.setting(d, name), value)
        listed = [text for _, text in wbxml.nodes(
            d.provision_initial().tree, "Policies/Policy/Data/EASProvisionDoc/"
                                        "UnapprovedInROMApplicationList/ApplicationName")]
        self.assertEqual(listed, ["a.exe", "b.exe", "c.exe"])
        d.handshake()
        self.assertFolders(d.foldersync())
        shown = self.outer.admin("policy", "effective", "ann", d.device_id)
        rows = {row["name"]: row for row in shown["versions"][-1]["settings"]}
        self.assertEqual((rows["AllowCamera"]["from"], rows["AllowCamera"]["upstream"]), (None, True))
        self.assertEqual((rows["AllowBrowser"]["from"], rows["AllowBrowser"]["upstream"]),
                         ("default", False))
        text = self.outer.admin.run("policy", "effective", "ann", d.device_id).stdout
        self.assertRegex(text, r"\nAllowCamera +0 +upstream\b")
        self.assertRegex(self.outer.admin.run("device", "show", "ann", d.device_id).stdout,
                         r"\nUpstream +http://\S+: its policy applies too")

    def test_a_2_5_policy_is_read(self):
        self.inner.admin("policy", "set", "default", "DevicePasswordEnabled=1",
                         "MinDevicePasswordLength=7")
        d = self.device("2.5")
        d.handshake()
        self.assertEqual(d.foldersync().http, 449)
        self.assertIn('name="MinimumPasswordLength" value="7"',
                      d.provision_initial().text("Policies/Policy/Data"))
        d.handshake()
        self.assertFolders(d.foldersync())

    def test_a_change_upstream_is_one_further_handshake(self):
        d, other = self.settled(), self.settled(user="bob")
        before = self.handshakes(self.outer), self.handshakes(self.inner)
        self.inner.admin("policy", "set", "default", "AllowCamera=0")
        for one in (d, other):
            self.assertStatus(one.foldersync(), 143, "14.1")
            one.handshake()
            for _ in range(3):
                self.assertFolders(one.foldersync())
        after = self.handshakes(self.outer), self.handshakes(self.inner)
        self.assertEqual(after, (before[0] + 2, before[1] + 2))

    def test_what_ours_has_already_is_settled_between_the_servers(self):
        self.outer.admin("policy", "set", "default", "AllowCamera=0")
        d = self.settled()
        before = self.handshakes(self.outer)
        self.inner.admin("policy", "set", "default", "AllowCamera=0")
        self.assertFolders(d.foldersync())
        self.assertEqual(self.handshakes(self.outer), before)
        self.assertEqual(self.show(self.inner, d)["state"], "provisioned")

    def test_a_change_of_ours_asks_by_what_both_are(self):
        self.inner.admin("policy", "set", "default", "AllowCamera=0")
        d = self.settled()
        inner = self.handshakes(self.inner)
        changed = self.outer.admin("policy", "set", "default", "AllowCamera=0")
        self.assertEqual(changed["devices_to_ask"], 0)
        self.assertFolders(d.foldersync())
        changed = self.outer.admin("policy", "set", "default", "AllowBrowser=0")
        self.assertEqual(changed["devices_to_ask"], 1)
        self.assertStatus(d.foldersync(), 143, "14.1")
        d.handshake()
        self.assertFolders(d.foldersync())
        self.assertEqual(self.handshakes(self.inner), inner)

    def test_a_device_that_keeps_a_part(self):
        self.outer.admin("policy", "set", "default", "AllowPartial=1")
        self.inner.admin("policy", "set", "default", "AllowPartial=1", "AllowCamera=0")
        d = self.device()
        d.handshake()
        self.assertStatus(d.foldersync(), 143, "14.1")
        d.key = int(d.provision_ack(d.offer(), status=2).key)
        self.assertFolders(d.foldersync())
        inner = self.show(self.inner, d)
        self.assertEqual((inner["outcome"], inner["said"]), ("partial", 2))
        # The inner one does not bear that any more: its word goes to the device.
        self.inner.admin("policy", "set", "default", "AllowPartial=0", "AllowWiFi=0")
        self.assertStatus(d.foldersync(), 143, "14.1")
        d.key = int(d.provision_ack(d.offer(), status=2).key)
        self.assertStatus(d.foldersync(), 139, "14.1")

    def test_neither_asks_again_after_a_restart(self):
        self.inner.admin("policy", "set", "default", "AllowCamera=0")
        d = self.settled()
        handshakes = self.handshakes(self.inner)
        wait_for("the key of the inner one on the disk",
                 lambda: self.show(self.outer, d)["upstream"]["key"])
        self.assertFolders(d.foldersync())
        self.outer.restart()
        d.close()
        self.assertFolders(d.foldersync())
        self.assertEqual(self.handshakes(self.inner), handshakes)
        self.outer.restart(kill=True)
        d.close()
        self.assertFolders(d.foldersync())
        self.assertEqual(self.setting(d, "AllowCamera"), "0")
        self.assertEqual(self.handshakes(self.outer), 0)

    def test_the_inner_one_forgets_the_device(self):
        d = self.settled()
        self.inner.admin("device", "remove", "ann", d.device_id, "--yes")
        before = self.handshakes(self.outer)
        self.assertFolders(d.foldersync())  # settled between the servers
        self.assertEqual(self.handshakes(self.outer), before)

    def test_ours_forgets_the_device(self):
        self.inner.admin("policy", "set", "default", "AllowCamera=0")
        d = self.settled()
        self.outer.admin("device", "remove", "ann", d.device_id, "--yes")
        self.assertEqual(self.setting(d, "AllowCamera"), "1")
        d.handshake()
        self.assertStatus(d.foldersync(), 143, "14.1")
        d.handshake()
        self.assertFolders(d.foldersync())

    def test_the_inner_one_blocks_the_device(self):
        d = self.settled()
        self.inner.admin("device", "block", "ann", d.device_id)
        self.assertStatus(d.foldersync(), 129, "14.1")
        self.assertEqual(self.show(self.outer, d)["state"], "provisioned")

    def test_a_long_mail_comes_first(self):
        d = self.settled()
        self.inner.admin("device", "remove", "ann", d.device_id, "--yes")
        mail = ("ComposeMail:SendMail", [("ClientId", "1"), ("Mime", "x" * 100000)])
        first = d.command("SendMail", mail)
        self.assertEqual((first.http, first.headers["Retry-After"]), (503, "1"))
        self.assertEqual(d.command("SendMail", mail).http, 501)  # that it has no SendMail


class Information(PairCase):
    inner_config = "require_device_information = true;"

    def test_the_inner_one_is_told_about_the_device(self):
        for version in ("12.1", "14.1", "16.1"):
            with self.subTest(version=version):
                d = self.settled(version)
                if number(version) >= 141:
                    self.assertEqual(self.show(self.inner, d)["model"], "TestPhone")


class Wipes(PairCase):
    def wipe(self, server, device, scope):
        whole = ["--whole-device"] if scope == "device" else []
        return server.admin("device", "wipe", "ann", device.device_id, *whole, "--yes")

    def states(self, device):
        return tuple(self.show(s, device)["state"] for s in (self.outer, self.inner))

    def assertDirective(self, answer, scope):
        self.assertEqual((answer.http, answer.status), (200, 1), answer)
        self.assertTrue(answer.has(KINDS[scope]), answer)

    def test_a_wipe_of_the_inner_one_reaches_the_device(self):
        for version, scope in (("12.1", "device"), ("14.1", "device"), ("16.1", "device"),
                               ("16.1", "account")):
            with self.subTest(version=version, scope=scope):
                d = self.settled(version)
                self.wipe(self.inner, d, scope)
                self.assertFalse(self.asked_for(d.foldersync(), version) and number(version) > 140)
                self.assertEqual(self.states(d), ("wipe-pending", "wipe-pending"))
                shown = self.show(self.outer, d)["wipe"]
                self.assertEqual((shown["by"], shown["kind"]), ("upstream", scope))
                self.assertStatus(d.foldersync(), 140, version)
                self.assertDirective(d.poll(), scope)
                self.assertEqual(self.states(d)[0], "wipe-pending")
                self.assertDirective(d.provision_initial(), scope)
                done = d.wipe_ack(1, KINDS[scope])
                self.assertEqual((done.http, done.status), (200, 1))
                wait_for("the inner one to be told", lambda: self.states(d) == ("wiped", "wiped"))
                self.assertStatus(d.foldersync(), 129, version)

    def test_a_wipe_that_fails_is_told_too(self):
        d = self.settled()
        self.wipe(self.inner, d, "device")
        d.foldersync()
        d.poll()
        d.wipe_ack(2)
        wait_for("the inner one to be told",
                 lambda: self.show(self.inner, d)["wipe"]["state"] == "failed")
        self.assertEqual(self.states(d), ("wipe-pending", "wipe-pending"))
        d.wipe_ack(1)
        wait_for("the inner one to be told", lambda: self.states(d) == ("wiped", "wiped"))

    def test_our_own_wipe_stays_ours(self):
        d = self.settled()
        self.wipe(self.outer, d, "device")
        self.assertStatus(d.foldersync(), 140, "14.1")
        d.poll()
        d.wipe_ack(1)
        self.assertEqual(self.states(d), ("wiped", "provisioned"))

    def test_what_did_not_arrive_is_told_later(self):
        d = self.settled()
        self.wipe(self.inner, d, "device")
        d.foldersync()
        d.poll()
        port = self.inner.port
        self.inner.stop()
        d.wipe_ack(1)
        wait_for("the word to get lost", lambda: "upstream-wipe-not-told" in self.outer.log)
        self.inner.write_config(f'listen = "127.0.0.1:{port}";')
        self.inner.start()
        self.assertEqual(self.states(d), ("wiped", "wipe-pending"))
        before = self.show(self.outer, d)["wipe"]["id"]
        self.outer.admin("device", "allow", "ann", d.device_id)
        d.handshake()
        wait_for("the inner one to be there again", lambda: d.foldersync().http == 200)
        self.assertEqual(self.states(d), ("provisioned", "wiped"))
        self.assertEqual(self.show(self.outer, d)["wipe"]["id"], before)
        self.assertStatus(d.foldersync(), 129, "14.1")
        # Let in there too, it can be wiped once more.
        self.inner.admin("device", "allow", "ann", d.device_id)
        self.assertFolders(d.foldersync())
        self.wipe(self.inner, d, "device")
        self.assertStatus(d.foldersync(), 140, "14.1")

    def test_whole_devices_that_are_never_wiped(self):
        self.outer.admin("user", "forbid-wipe", "ann")
        d = self.settled("16.1")
        self.wipe(self.inner, d, "device")
        self.assertStatus(d.foldersync(), 129, "16.1")
        self.assertEqual(self.states(d), ("provisioned", "wipe-pending"))
        self.assertIn("upstream-wipe-forbidden", self.outer.log)
        self.inner.admin("device", "cancel-wipe", "ann", d.device_id)
        self.assertFolders(d.foldersync())


class Script:
    """An upstream that demands: answer to commands by key, Provision step by step."""

    def __init__(self, data=(("AllowCamera", "0"),), temporary="77", final="4242"):
        self.data, self.temporary, self.final = list(data), temporary, final
        self.content = None  # of every answer to Provision; or bytes
        self.never = False   # content, whatever it is given
        self.refusal = None  # bytes; None: by version

    def __call__(self, r):
        if r.cmd == "Provision":
            return self.provision(r)
        if r.method != "POST":
            return plain(r)
        if r.cmd == "Ping":
            return reply(tree=("Ping", [("Status", "2"), ("Folders", [("Folder", "1")])]))
        if self.never or r.field("X-MS-PolicyKey") != self.final:
            if self.refusal:
                return self.refusal
            version = r.field("MS-ASProtocolVersion")
            return reply(449) if number(version) < 140 else reply(
                tree=(r.cmd, [("Status", "142")]))
        return plain(r)

    def provision(self, r):
        if self.content is not None:
            return self.content if isinstance(self.content, bytes) else reply(tree=self.content)
        if wbxml.has(r.tree, "Policies/Policy/Status"):
            return reply(tree=offer(key=self.final))
        return reply(tree=offer(key=self.temporary, data=self.data))


class ScriptCase(unittest.TestCase):
    def setUp(self):
        self.script = Script()
        self.upstream = Upstream(self.script).__enter__()
        self.addCleanup(self.upstream.stop)
        self.server = gateway(self.upstream)
        self.addCleanup(self.server.close)

    def device(self, version="14.1", **more):
        made = Device(self.server, version=version, **more)
        self.addCleanup(made.close)
        made.handshake()
        return made

    def upstream_state(self, device):
        return self.server.admin("device", "show", device.user, device.device_id)["upstream"]


class Course(ScriptCase):
    def test_what_is_said_to_the_upstream(self):
        d = self.device()
        self.assertEqual(d.foldersync().status, 143)
        self.assertEqual([r.cmd for r in self.upstream.asked], ["FolderSync", "Provision"])
        first, ask = self.upstream.asked
        self.assertEqual(first.all("X-MS-PolicyKey"), ["0"])
        self.assertEqual((ask.query["DeviceId"], ask.field("User-Agent")),
                         (d.device_id, "TestMail/1.0"))
        self.assertEqual(ask.field("Authorization"), first.field("Authorization"))
        self.assertEqual(wbxml.text(ask.tree, "Settings:DeviceInformation/Set/Model"), "TestPhone")
        self.upstream.clear()
        d.handshake()
        self.assertEqual(self.upstream.asked, [])  # lazily: with the next command
        self.assertEqual(d.foldersync().status, 1)
        self.assertEqual([r.cmd for r in self.upstream.asked],
                         ["FolderSync", "Provision", "Provision", "FolderSync"])
        ack, again = self.upstream.asked[2:]
        self.assertEqual(wbxml.text(ack.tree, "Policies/Policy/PolicyKey"), "77")
        self.assertEqual(wbxml.text(ack.tree, "Policies/Policy/Status"), "1")
        self.assertEqual(again.all("X-MS-PolicyKey"), ["4242"])
        self.assertNotEqual(d.key, 4242)
        self.assertEqual(d.ping(heartbeat=60).status, 2)
        self.assertNotIn(str(d.key), self.upstream.last("Ping").all("X-MS-PolicyKey"))

    def test_several_commands_at_once_are_one_handshake(self):
        self.script.data = []
        devices = [self.device()] + [None] * 3
        for i in range(1, 4):
            devices[i] = Device(self.server, device_id=devices[0].device_id)
            devices[i].key = devices[0].key
            self.addCleanup(devices[i].close)
        answers = [None] * 4
        def one(i):
            answers[i] = devices[i].foldersync()
        threads = [threading.Thread(target=one, args=(i,)) for i in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual([a.status for a in answers], [1] * 4)
        self.assertEqual(self.upstream.count("Provision"), 2)

    def test_an_upstream_without_a_policy(self):
        self.script.content = offer(key=None, policy_status="2")
        self.script.final = "0"
        d = self.device()
        self.upstream.script = lambda r: (
            reply(449) if r.cmd == "FolderSync" and self.upstream.count("FolderSync") == 1
            else self.script(r))
        self.assertEqual(d.foldersync().status, 1)
        self.assertIsNone(self.upstream_state(d))

    def test_a_policy_that_ends(self):
        d = self.device()
        d.foldersync()
        d.handshake()
        self.assertEqual(d.foldersync().status, 1)
        self.script.content = offer(key=None, policy_status="2")
        self.script.final = "0"
        self.assertEqual(d.foldersync().status, 143)
        d.handshake()
        self.assertEqual(d.foldersync().status, 1)
        self.assertFalse(self.upstream_state(d)["policy"])


REFUSALS = [
    # what Provision is answered, HTTP and Status of the command
    ("blocked", ("Provision", [("Status", "129")]), 200, 129),
    ("too many devices", ("Provision", [("Status", "177")]), 200, 177),
    ("the user is disabled", ("Provision", [("Status", "126")]), 200, 126),
    ("no fit", ("Provision", [("Status", "139")]), 200, 139),
    ("forbidden", reply(403), 403, None),
    ("unauthorized", reply(401), 401, None),
    ("come back later", reply(503), 503, None),
    ("no body", reply(200), 503, None),
    ("no WBXML", reply(200, body=b"\x03\x01\x6a\x00\x45"), 503, None),
    ("garbage", reply(200, body=b"<html>" * 20), 503, None),
    ("too large", reply(200, body=b"\x03\x01\x6a\x00\x00\x0e\x45\x4b\x03" + b"1" * 300000), 503, None),
    ("another root", ("FolderSync", [("Status", "1")]), 503, None),
    ("no key", offer(key=None, data=[]), 503, None),
    ("a long key", offer(key="9" * 65, data=[]), 503, None),
    ("another type", offer(data=[], kind="MS-WAP-Provisioning-XML"), 503, None),
    ("data that is none", offer(data=None), 503, None),
    ("a list without end", offer(data=[("UnapprovedInROMApplicationList",
                                        [("ApplicationName", f"{i}.exe") for i in range(300)])]),
     503, None),
    ("asks again", reply(449), 503, None),
    ("wants more information", ("Provision", [("Status", "165")]), 503, None),
]


class Moved(ScriptCase):
    def test_another_upstream_gets_no_old_key_and_its_demand_is_no_more(self):
        d = self.device()
        d.foldersync()
        d.handshake()
        self.assertEqual(d.foldersync().status, 1)
        with Upstream() as other:  # which demands nothing
            self.server.stop()
            self.server.write_config(f'upstream = {{ url = "{other.url}"; }};')
            self.server.start()
            d.close()
            self.assertEqual(d.foldersync().status, 143)
            self.assertEqual(d.provision_initial().text(
                "Policies/Policy/Data/EASProvisionDoc/AllowCamera"), "1")
            d.handshake()
            self.assertEqual(d.foldersync().status, 1)
            self.assertEqual(other.last("FolderSync").all("X-MS-PolicyKey"), ["0"])
            self.assertIsNone(self.upstream_state(d))
            self.server.restart()
            d.close()
            self.assertEqual(d.foldersync().status, 1)


class Hostile(ScriptCase):
    def test_answers_to_provision(self):
        for name, content, http, status in REFUSALS:
            with self.subTest(name):
                d = self.device()
                self.script.content = content
                answer = d.foldersync()
                self.assertEqual(answer.http, http, answer)
                if http == 503:
                    self.assertGreater(int(answer.headers["Retry-After"]), 0)
                if status:
                    self.assertEqual(answer.status, status, answer)
                self.script.content = None
                shown = self.server.admin("device", "show", "ann", d.device_id)
                self.assertEqual((shown["state"], shown["upstream"]), ("provisioned", None))

    def test_odd_values_are_left_out(self):
        self.script.data = [("MinDevicePasswordLength", "99"), ("AllowCamera", "0"),
                            ("AllowWiFi", "maybe"), ("Hash", "x")]
        d = self.device()
        self.assertEqual(d.foldersync().status, 143)
        policy = "Policies/Policy/Data/EASProvisionDoc/"
        answer = d.provision_initial()
        self.assertEqual(answer.text(policy + "AllowCamera"), "0")
        self.assertEqual(answer.text(policy + "AllowWiFi"), "1")
        self.assertEqual(answer.text(policy + "MinDevicePasswordLength"), "")

    def test_a_policy_that_cannot_be_met_beside_ours(self):
        self.server.admin("policy", "set", "default", "ApprovedApplicationList=aa")
        self.script.data = [("ApprovedApplicationList", [("Hash", "bb")])]
        d = self.device()
        self.assertEqual(d.foldersync().status, 139)
        wait_for("a line of the log", lambda: "upstream-policy-conflict" in self.server.log)

    def test_refused_for_ever(self):
        for name, content in (("whatever key is sent", None), ("Provision, too", reply(449)),
                              ("without a policy", offer(key=None, policy_status="2"))):
            for version in ("12.1", "14.1"):
                with self.subTest(name, version=version):
                    self.script.never, self.script.content, self.script.data = True, content, []
                    d = self.device(version)
                    self.upstream.clear()
                    waits = []
                    for _ in range(15):
                        answer = d.foldersync()
                        self.assertEqual(answer.http, 503, answer)
                        waits.append(int(answer.headers["Retry-After"]))
                    self.assertLess(len(self.upstream.asked), 40)
                    self.assertGreater(waits[-1], 10)
                    asked = len(self.upstream.asked)
                    self.assertEqual(d.foldersync().http, 503)
                    self.assertEqual(len(self.upstream.asked), asked)  # not at all for a time
                    self.assertIn("upstream-demand", self.server.log)

    def test_a_phone_that_goes_away_ends_the_handshake(self):
        self.upstream.script = lambda r: (
            [lambda talk: talk.wait_gone()] if r.cmd == "Provision" else self.script(r))
        d = self.device()
        d.close()
        d.timeout = 1
        with self.assertRaises(TimeoutError):
            d.foldersync()
        d.close()
        wait_for("the upstream to be left", lambda: any(t.gone for t in self.upstream.talks))
        self.upstream.script = self.script
        d.timeout = 60
        self.assertEqual(d.foldersync().status, 143)

    def test_a_stop_waits_for_no_upstream(self):
        hold = threading.Event()
        self.addCleanup(hold.set)
        self.upstream.script = lambda r: (
            [lambda talk: hold.wait(30)] if r.cmd == "Provision" else self.script(r))
        d = self.device()
        def ask():
            with self.assertRaises(http.client.RemoteDisconnected):
                d.foldersync()
        asked = threading.Thread(target=ask)
        asked.start()
        wait_for("the upstream to be asked", lambda: self.upstream.count("Provision"))
        self.server.stop()
        d.close()
        asked.join()
        self.server.start()


if __name__ == "__main__":
    unittest.main()

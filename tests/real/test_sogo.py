"""Phones, provostd, and SOGo with ActiveSync behind it. The same day of a phone is lived twice: without
the gateway, where SOGo enforces nothing, and through it."""

import base64
import email
import os
import time
import unittest

from servers import DOMAIN
from sogo import Sogo

from harness.case import ServerCase
from harness.client import Client
from harness.mail import INBOX, MIME, SENT, TRASH, MailDevice, body_of, message
from harness.server import wait_for

SOGO = None
USERS = {f"user{n:02}": f"secret {n}" for n in range(80)}
WORKERS = 5
_users = iter(USERS)
FILE = ("Größe.bin", bytes(range(256)) * 40)


def setUpModule():
    global SOGO
    SOGO = Sogo(USERS, workers=WORKERS)
    unittest.addModuleCleanup(SOGO.close)
    SOGO.start()


def address(user):
    return f"{user}@{DOMAIN}"


class Mail:
    """What a phone does once it is in. phone(): one of a user whom no other test has."""

    def deliver(self, phone, **what):
        SOGO.mailbox(phone.user).deliver(raw=message(to=address(phone.user), **what))

    def test_folders(self):
        phone = self.phone()
        folders = phone.folders()
        self.assertLessEqual({INBOX, TRASH, SENT}, folders.keys())
        self.assertEqual(len(set(folders.values())), len(folders))

    def test_a_mail_is_read(self):
        for version in ("12.1", "14.0", "14.1"):
            with self.subTest(version=version):
                phone = self.phone(version)
                self.deliver(phone, subject="Größe", text="How tall is it?\n")
                inbox = phone.inbox()
                (name, mail), = phone.sync_items(inbox).items()
                self.assertEqual(mail["Email:Subject"], "Größe")
                self.assertEqual(body_of(mail), "How tall is it?\r\n")
                whole = phone.fetch(inbox, name)
                self.assertIn("How tall is it?", whole.text(
                    "Response/Fetch/Properties/AirSyncBase:Body/Data"), whole)
                phone.checked(phone.mark_read(inbox, name))
                self.assertEqual(phone.sync_items(inbox), {})

    def test_a_mail_is_sent(self):
        for version in ("12.1", "14.1"):
            with self.subTest(version=version):
                phone, other = self.phone(version), self.phone()
                mail = message(to=address(other.user), sender=address(phone.user),
                               subject=f"From {version}", attachment=FILE)
                answer = phone.send_mail(mail)
                self.assertEqual((answer.http, answer.body), (200, b""), answer)
                (got,) = other.sync_items(other.inbox()).values()
                self.assertEqual(got["Email:Subject"], f"From {version}")
                (kept,) = phone.sync_items(phone.folders()[SENT]).values()
                self.assertEqual(kept["Email:Subject"], f"From {version}")

    def test_an_attachment_is_fetched(self):
        phone = self.phone()
        self.deliver(phone, attachment=FILE)
        (mail,) = phone.sync_items(phone.inbox()).values()
        (_, fields), = mail["AirSyncBase:Attachments"]
        fields = dict(fields)
        self.assertEqual(fields["DisplayName"], FILE[0])
        answer = phone.fetch_file(fields["FileReference"])
        self.assertEqual(answer.text("Response/Fetch/Status"), "1", answer)
        data = answer.text("Response/Fetch/Properties/Data")
        self.assertEqual(base64.b64decode(data), FILE[1])
        plain = phone.get_attachment(fields["FileReference"])
        self.assertEqual((plain.http, plain.body), (200, FILE[1]))

    def test_mime(self):
        phone = self.phone()
        self.deliver(phone, attachment=FILE)
        (mail,) = phone.sync_items(phone.inbox(), body=MIME).values()
        parsed = email.message_from_string(body_of(mail))
        (part,) = [p for p in parsed.walk() if p.get_filename()]
        self.assertEqual(part.get_payload(decode=True), FILE[1])

    def test_moved_and_deleted(self):
        phone = self.phone()
        self.deliver(phone, subject="first")
        self.deliver(phone, subject="second")
        folders = phone.folders()
        one, two = phone.sync_items(folders[INBOX])
        moved = phone.move(one, folders[INBOX], folders[TRASH])
        self.assertEqual(moved.text("Response/Status"), "3", moved)  # 3: success
        self.assertEqual(phone.delete(folders[INBOX], two).http, 200)
        wait_for("both to be in the trash", lambda: len(phone.sync_items(folders[TRASH])) == 2)

    def test_a_new_mail_wakes_a_ping(self):
        phone = self.phone()
        inbox = phone.inbox()
        phone.sync_items(inbox)
        phone.start("Ping", phone.ping_tree(60, (inbox,)), key=None)
        self.deliver(phone, subject="Wake up")
        answer = phone.receive()
        self.assertEqual((answer.http, answer.text("Status")), (200, "2"), answer)
        self.assertEqual(answer.text("Folders/Folder"), inbox)
        (mail,) = phone.sync_items(inbox).values()
        self.assertEqual(mail["Email:Subject"], "Wake up")


class WithoutTheGateway(Mail, unittest.TestCase):
    """Straight to SOGo: no phone is asked for anything."""

    def phone(self, version="14.1", form="plain"):
        made = MailDevice(SOGO, user=next(_users), version=version, form=form)
        self.addCleanup(made.close)
        return made

    def test_nothing_is_enforced(self):
        phone = self.phone()
        self.assertNotIn("Provision", phone.options().headers["MS-ASProtocolCommands"])
        answer = phone.provision_initial()
        self.assertEqual((answer.status, answer.policy_status, answer.key), (1, 2, None), answer)
        for key in (None, 0, 12345):
            answer = phone.foldersync(key=key)
            self.assertEqual((answer.http, answer.status), (200, 1), answer)

    def test_waiting_phones_shut_out_the_next(self):
        waiting = []
        for _ in range(WORKERS):
            phone = self.phone()
            inbox = phone.inbox()
            phone.sync_items(inbox)
            waiting.append((phone, inbox))
        for phone, inbox in waiting:
            phone.start("Ping", phone.ping_tree(5, (inbox,)), key=None)
        time.sleep(0.5)
        late = self.phone()
        late.timeout = 2
        with self.assertRaises(TimeoutError):
            late.options()
        for phone, _ in waiting:
            self.assertEqual(phone.receive().text("Status"), "1")


class Gateway(ServerCase):
    """provostd before SOGo, which verifies the passwords too."""

    users = USERS
    more = ""  # further settings

    @classmethod
    def setUpClass(cls):
        cls.config = (f'upstream = {{ url = "{SOGO.url}"; }};\nauth = {{ method = "upstream"; }};\n'
                      f'log_level = "debug";\n{cls.more}')
        super().setUpClass()

    def new_phone(self, version="14.1", form="plain", user=None, **more):
        """One that the gateway does not know."""
        made = MailDevice(self.server, user=user or next(_users), version=version, form=form, **more)
        self.addCleanup(made.close)
        return made

    def phone(self, version="14.1", form="plain"):
        phone = self.new_phone(version, form)
        self.assertRefused(phone.foldersync(), "FolderSync", 142, version)
        phone.handshake()
        return phone


class ThroughTheGateway(Mail, Gateway):
    def test_options(self):
        mine, its = self.new_phone(), MailDevice(SOGO, user="user00")
        self.addCleanup(its.close)
        mine, its = mine.options().headers, its.options().headers
        self.assertEqual(mine["MS-ASProtocolVersions"], its["MS-ASProtocolVersions"])
        commands = mine["MS-ASProtocolCommands"].split(",")
        self.assertIn("Provision", commands)
        self.assertLessEqual({"Sync", "SendMail", "Ping"}, set(commands))

    def test_no_command_passes_without_a_key(self):
        phone = self.new_phone()
        for key, status in ((None, 141), (0, 142), (4711, 144)):
            for answer in (phone.foldersync(key=key), phone.sync("mail/INBOX", key=key)):
                self.assertEqual(answer.status, status, answer)
        phone.send_mail(message(to=address("user00"), subject="Never sent"))
        self.assertNotIn(b"Never sent", b"".join(mail for _, _, mail in SOGO.smtp.mails))

    def test_the_base64_query(self):
        """SOGo reads it only without escapes; the gateway asks in the plain form."""
        phone, other = self.phone(form="base64"), self.phone("12.1", form="base64")
        answer = other.send_mail(message(to=address(phone.user), subject="base64"))
        self.assertEqual(answer.http, 200, answer)
        (mail,) = phone.sync_items(phone.inbox()).values()
        self.assertEqual(mail["Email:Subject"], "base64")
        self.assertEqual(len(other.sync_items(other.folders()[SENT])), 1)

    def test_a_large_attachment_both_ways(self):
        data = os.urandom(6 << 20)
        phone = self.phone()
        answer = phone.send_mail(message(to=address(phone.user), attachment=("large", data)))
        self.assertEqual(answer.http, 200, answer)
        (mail,) = phone.sync_items(phone.inbox()).values()
        (_, fields), = mail["AirSyncBase:Attachments"]
        got = phone.get_attachment(dict(fields)["FileReference"])
        self.assertEqual((got.http, len(got.body)), (200, len(data)))
        self.assertEqual(got.body, data)

    def test_wrong_passwords(self):
        phone = self.phone()
        phone.password = "wrong"
        for answer in (phone.options(), phone.foldersync(), phone.provision_initial()):
            self.assertEqual(answer.http, 401, answer)
        unknown = self.new_phone(user="user00")
        unknown.login = unknown.user = "nobody"
        self.assertEqual(unknown.foldersync().http, 401)
        self.assertIsNone(self.admin.device("nobody", unknown.device_id))

    def test_a_password_that_changes(self):
        """The old one is remembered for minutes, until SOGo refuses it."""
        phone = self.phone()
        self.assertFolders(phone.foldersync())
        SOGO.set_password(phone.user, "changed")
        wait_for("the old one to be refused", lambda: phone.foldersync().http == 401)
        self.assertEqual(phone.provision_initial().http, 401)
        phone.password = "changed"
        self.assertFolders(phone.foldersync())

    def test_a_user_who_is_switched_off(self):
        phone = self.phone()
        self.admin("user", "disable", phone.user)
        self.assertEqual(phone.foldersync().status, 126)
        self.admin("user", "enable", phone.user)
        self.assertFolders(phone.foldersync())

    def test_a_new_policy(self):
        phone = self.phone()
        self.admin("policy", "new", "strict", "DevicePasswordEnabled=1", "MinDevicePasswordLength=8")
        self.admin("policy", "assign", "strict", "--user", phone.user)
        self.assertRefused(phone.foldersync(), "FolderSync", 143, "14.1")
        answer = phone.provision_initial(key=phone.key)
        self.assertEqual(answer.text("Policies/Policy/Data/EASProvisionDoc/MinDevicePasswordLength"),
                         "8")
        phone.handshake()
        self.assertFolders(phone.foldersync())

    def test_provost_connect(self):
        user = next(_users)
        client = Client(user=user, password=USERS[user])
        self.addCleanup(client.close)
        run = client.connect(self.server.url, "--json")
        self.assertEqual(run.code, 0, run)
        self.assertIn("INBOX", [row["name"] for row in run.json["folders"]], run)
        self.assertEqual(self.admin.device(user, client.device_id)["state"], "provisioned")

    def test_a_restart_of_sogo(self):
        """Meanwhile the gateway says that it is not there, and afterwards all is as before."""
        phone = self.phone()
        inbox = phone.inbox()
        phone.sync_items(inbox)
        SOGO.stop()
        try:
            answer = phone.sync(inbox)
            self.assertIn(answer.http, (502, 503), answer)
            # What the gateway answers itself needs no SOGo: the password is still remembered.
            self.assertRefused(phone.foldersync(key=phone.key ^ 1), "FolderSync", 144, "14.1")
        finally:
            SOGO.start()
        self.deliver(phone, subject="Meanwhile")
        wait_for("SOGo to be found again", lambda: phone.estimate(inbox) == 1)
        (mail,) = phone.sync_items(inbox).values()
        self.assertEqual(mail["Email:Subject"], "Meanwhile")
        self.assertEqual(self.admin.device(phone.user, phone.device_id)["state"], "provisioned")


class Wipes(Gateway):
    """SOGo knows of none of this; nor does it speak 16.1, which the account-only wipe came with."""

    def wipe(self, phone, *how):
        return self.admin("device", "wipe", phone.user, phone.device_id, "--yes", *how)

    def state(self, phone):
        return self.admin.device(phone.user, phone.device_id)["state"]

    def test_the_account_of_a_phone_that_speaks_16_1(self):
        """The gateway answers Provision itself, in whatever version it comes."""
        phone = self.phone("16.1")
        self.wipe(phone)
        self.assertRefused(phone.foldersync(), "FolderSync", 140, "16.1")
        self.assertTrue(phone.poll().has("AccountOnlyRemoteWipe"))
        self.assertEqual(phone.wipe_ack(1, "AccountOnlyRemoteWipe").status, 1)
        self.assertEqual(self.state(phone), "wiped")
        self.assertRefused(phone.foldersync(), "FolderSync", 129, "16.1")

    def test_the_account_of_an_older_phone(self):
        """It is kept out, and nothing that is below 16.1 is told to erase anything."""
        for version, refusal in (("12.1", 403), ("14.1", 129)):
            with self.subTest(version=version):
                phone = self.phone(version)
                inbox = phone.inbox()
                self.wipe(phone)
                for answer in (phone.foldersync(), phone.sync(inbox)):
                    self.assertEqual(refusal, answer.status or answer.http, answer)
                self.assertEqual(phone.poll().tree, ("Provision", [("Status", "1")]))
                self.assertEqual(self.state(phone), "wipe-pending")
                self.admin("device", "cancel-wipe", phone.user, phone.device_id)
                self.assertFolders(phone.foldersync())

    def test_a_whole_phone(self):
        phone = self.phone()
        inbox = phone.inbox()
        phone.sync_items(inbox)
        phone.start("Ping", phone.ping_tree(60, (inbox,)), key=None)
        wait_for("the Ping to wait", lambda: self.admin("status")["waiting_pings"] == 1)
        self.wipe(phone, "--whole-device")
        self.assertEqual(phone.receive().text("Status"), "7")
        self.assertRefused(phone.foldersync(), "FolderSync", 140, "14.1")
        self.assertTrue(phone.poll().has("RemoteWipe"))
        self.assertEqual(phone.wipe_ack().status, 1)
        self.assertEqual(self.state(phone), "wiped")
        self.assertRefused(phone.sync(inbox), "Sync", 129, "14.1")
        self.admin("device", "allow", phone.user, phone.device_id)
        phone.handshake()
        self.assertFolders(phone.foldersync())


if __name__ == "__main__":
    unittest.main()

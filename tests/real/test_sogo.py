"""Phones, provostd, and SOGo with ActiveSync behind it. The same day of a phone is lived twice: without
the gateway, where SOGo enforces nothing, and through it."""

import base64
import email
import time
import unittest

from servers import DOMAIN
from sogo import Sogo

from harness.mail import INBOX, MIME, SENT, TRASH, MailDevice, body_of, message
from harness.server import wait_for

SOGO = None
USERS = {f"user{n:02}": f"secret {n}" for n in range(40)}
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

    def phone(self, version="14.1", form="plain"):
        raise NotImplementedError

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


if __name__ == "__main__":
    unittest.main()

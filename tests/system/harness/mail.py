"""A device that reads and writes mail: Sync, SendMail, attachments, moving, over the same codec.

Tags are named as they are on the wire: an item is {"Email:Subject": "Hello", ...}, from the trees of
its ApplicationData; what has elements of its own stays a list of trees.
"""

import email.message
import email.policy
import itertools

from . import wbxml
from .eas import SAME, Device, number

INBOX, DRAFTS, TRASH, SENT = "2", "3", "4", "5"  # Type of a folder (MS-ASCMD 2.2.3.186.3)
PLAIN, MIME = "1", "4"  # Type of a body (MS-ASAIRS 2.2.2.41)
_serial = itertools.count(1)


def message(to="bob@example.org", subject="Hello", text="A short mail.\n", attachment=None,
            sender="ann@example.org"):
    """A mail as bytes. attachment: (file name, bytes)."""
    mail = email.message.EmailMessage(policy=email.policy.SMTP)
    mail["From"], mail["To"], mail["Subject"] = sender, to, subject
    mail["Message-ID"] = f"<{next(_serial)}.test@example.org>"
    mail["Date"] = "Mon, 10 Nov 2025 10:00:00 +0000"
    mail.set_content(text)
    if attachment:
        mail.add_attachment(attachment[1], maintype="application", subtype="octet-stream",
                            filename=attachment[0])
    return mail.as_bytes()


def item(data):
    """ApplicationData, or the Properties of a Fetch, as a dictionary."""
    return dict(data[1] or ())


def body_of(fields):
    """Text of an item's body, None without one."""
    return wbxml.text(("Body", fields.get("AirSyncBase:Body")), "Data") \
        if fields.get("AirSyncBase:Body") else None


class MailDevice(Device):
    """sync_keys: {folder: SyncKey}, as the last Sync answer left them."""

    def __init__(self, *args, **more):
        super().__init__(*args, **more)
        self.sync_keys = {}

    # ---- folders ----
    def folders(self):
        """{Type: ServerId} of a FolderSync from the start; of several folders the first."""
        answer = self.foldersync("0")
        assert (answer.http, answer.status) == (200, 1), answer
        found = {}
        for row in wbxml.nodes(answer.tree, "Changes/Add"):
            fields = dict(row[1])
            found.setdefault(fields["Type"], fields["ServerId"])
        return found

    def inbox(self):
        return self.folders()[INBOX]

    # ---- Sync ----
    def sync_tree(self, folder, sync_key, commands=(), options=None, window=None):
        old = [("Class", "Email")] if number(self.version) < 121 else []
        rows = old + [("SyncKey", sync_key), ("CollectionId", folder)]
        if sync_key != "0":
            rows += [("DeletesAsMoves", "1"), ("GetChanges", None)]
            rows += [("WindowSize", str(window))] if window else []
            rows += [("Options", options)] if options else []
            rows += [("Commands", list(commands))] if commands else []
        return ("Sync", [("Collections", [("Collection", rows)])])

    def sync(self, folder, commands=(), body=PLAIN, window=None, key=SAME):
        """One Sync of a folder with the SyncKey that the device holds, 0 at first. commands: trees
        of Commands. Keeps the new SyncKey."""
        preference = [("AirSyncBase:Type", body), ("AirSyncBase:TruncationSize", "200000")]
        options = [("MIMESupport", "2")] if body == MIME else []
        options.append(("AirSyncBase:BodyPreference", preference))
        tree = self.sync_tree(folder, self.sync_keys.get(folder, "0"), commands, options, window)
        answer = self.command("Sync", tree, key)
        if answer.http == 200 and answer.body:
            if fresh := answer.text("Collections/Collection/SyncKey"):
                self.sync_keys[folder] = fresh
        return answer

    def sync_items(self, folder, **how):
        """All that is new, {ServerId: item}: from the start at first, and as often as there is
        more."""
        found = {}
        if folder not in self.sync_keys:
            self.checked(self.sync(folder, **how))
        while True:
            answer = self.sync(folder, **how)
            if not answer.body:
                return found  # nothing new
            self.checked(answer)
            for row in wbxml.nodes(answer.tree, "Collections/Collection/Commands/Add"):
                name = wbxml.text(row, "ServerId")
                found[name] = item(wbxml.nodes(row, "ApplicationData")[0])
            if not answer.has("Collections/Collection/MoreAvailable"):
                return found

    @staticmethod
    def checked(answer):
        status = answer.text("Collections/Collection/Status")
        assert (answer.http, answer.root, status) == (200, "Sync", "1"), answer
        return answer

    def estimate(self, folder):
        """How many changes wait in a folder (14.0 and later); None when it is not told."""
        rows = [("AirSync:SyncKey", self.sync_keys[folder]), ("CollectionId", folder)]
        answer = self.command("GetItemEstimate", ("GetItemEstimate", [
            ("Collections", [("Collection", rows)])]))
        found = answer.text("Response/Collection/Estimate") if answer.http == 200 else None
        return None if found is None else int(found)

    def mark_read(self, folder, name, read="1"):
        return self.sync(folder, [("Change", [("ServerId", name),
                                              ("ApplicationData", [("Email:Read", read)])])])

    def delete(self, folder, name):
        return self.sync(folder, [("Delete", [("ServerId", name)])])

    # ---- single items ----
    def fetch(self, folder, name, body=MIME):
        """A mail as ItemOperations gives it."""
        options = [("MIMESupport", "2")] if body == MIME else []
        options = [("AirSync:" + tag, value) for tag, value in options]
        options.append(("AirSyncBase:BodyPreference", [("Type", body)]))
        return self.command("ItemOperations", ("ItemOperations", [("Fetch", [
            ("Store", "Mailbox"), ("AirSync:CollectionId", folder), ("AirSync:ServerId", name),
            ("Options", options)])]))

    def fetch_file(self, reference):
        """An attachment through ItemOperations."""
        return self.command("ItemOperations", ("ItemOperations", [("Fetch", [
            ("Store", "Mailbox"), ("AirSyncBase:FileReference", reference)])]))

    def get_attachment(self, reference):
        """An attachment as it was fetched up to 14.0: the answer is the file."""
        return self.command("GetAttachment", AttachmentName=reference)

    def move(self, name, source, target):
        return self.command("MoveItems", ("MoveItems", [("Move", [
            ("SrcMsgId", name), ("SrcFldId", source), ("DstFldId", target)])]))

    def send_mail(self, mail, save=True):
        """mail: bytes; as WBXML from 14.0, as message/rfc822 before."""
        if number(self.version) < 140:
            params = {"SaveInSent": "T"} if save else {}
            return self.command("SendMail", mail, fields={"Content-Type": "message/rfc822"}, **params)
        content = [("ClientId", f"send-{next(_serial)}")]
        content += [("SaveInSentItems", None)] if save else []
        return self.command("SendMail", ("SendMail", content + [("Mime", mail)]))

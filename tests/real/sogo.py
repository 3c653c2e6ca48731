"""SOGo with ActiveSync, and what it stands on: PostgreSQL, memcached, Dovecot, a place for mail to go.

    with Sogo({"ann": "secret"}, workers=5) as sogo:
        sogo.url, sogo.mailbox("ann"), sogo.smtp.mails

SOGo reads /etc/sogo/sogo.conf; what its command line says outweighs that, key by key. So all stands on
the command line here, and /etc stays as it is.
"""

import contextlib
import http.client
import imaplib
import os
import signal
import socket

from servers import DOMAIN, Daemon, Dovecot, Postgresql, SmtpSink, children_of

from harness.eas import PATH, basic


class Memcached(Daemon):
    name, program, user = "memcached", "memcached", "nobody"

    def argv(self):
        return ["memcached", "-l", "127.0.0.1", "-p", self.port, "-U", "0", "-m", "32"]

    def forget(self):
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as client:
            client.sendall(b"flush_all\r\n")
            assert client.recv(64) == b"OK\r\n"


class Sogo(Daemon):
    """users: {name: password}. workers: processes of SOGo; a request that waits (Ping) holds one.
    interval: seconds between two looks of a waiting request into the mailbox; SOGo sleeps in steps of
    5 seconds, whatever stands here."""

    name, program, user = "sogo", "sogod", "sogo"
    ends_with = signal.SIGKILL  # with SIGTERM it waits for workers that notice with the next request

    # Each value in the form of a property list.
    SETTINGS = """
SOGoProfileURL "{db}/sogo_user_profile"
OCSFolderInfoURL "{db}/sogo_folder_info"
OCSSessionsFolderURL "{db}/sogo_sessions_folder"
OCSEMailAlarmsFolderURL "{db}/sogo_alarms_folder"
OCSStoreURL "{db}/sogo_store"
OCSAclURL "{db}/sogo_acl"
OCSCacheFolderURL "{db}/sogo_cache_folder"
SOGoUserSources ({{type = sql; id = directory; viewURL = "{db}/users"; canAuthenticate = YES; \
isAddressBook = YES; displayName = Everybody; userPasswordAlgorithm = plain;}})
SOGoMailDomain "{domain}"
SOGoIMAPServer "{imap}"
SOGoMailingMechanism smtp
SOGoSMTPServer "smtp://127.0.0.1:{smtp}"
SOGoSentFolderName Sent
SOGoDraftsFolderName Drafts
SOGoTrashFolderName Trash
SOGoJunkFolderName Junk
SOGoMemcachedHost "127.0.0.1:{memcached}"
SOGoTimeZone UTC
SOGoLanguage English
SOGoMaximumPingInterval 3540
SOGoMaximumSyncInterval 3540
SOGoInternalSyncInterval {interval}
WOPort "127.0.0.1:{port}"
WOWorkersCount {workers}
WOListenQueueSize 512
WOWatchDogRequestTimeout 60
WONoDetach YES
WOLogFile "-"
WOPidFile "{dir}/pid"
SxVMemLimit 1024
"""

    def __init__(self, users, workers=5, interval=5):
        super().__init__()
        self.users, self.workers, self.interval = dict(users), workers, interval
        self.below = []  # started before SOGo, ended after it, the last first

    def _with(self, daemon):
        self.below.append(daemon)
        return daemon.__enter__()

    def prepare(self):
        self.dovecot = self._with(Dovecot(self.users))
        self.smtp = self._with(SmtpSink(lambda n: self.mailbox(n) if n in self.users else None))
        for name in self.users:
            self.track_changes(name, "INBOX", "Sent", "Trash")
        self.database = self._with(Postgresql("sogo", fsync=False))
        self.memcached = self._with(Memcached())
        rows = ",".join(f"('{n}','{n}','{word}','{n.title()}','{n}@{DOMAIN}')"
                        for n, word in self.users.items())
        self.database.sql("create table users (c_uid text primary key, c_name text, c_password text,"
                          f" c_cn text, mail text); insert into users values {rows}")
        self.own(self.dir)
        self.settings = self.SETTINGS.format(
            db=self.database.url, domain=DOMAIN, imap=self.dovecot.url, smtp=self.smtp.port,
            memcached=self.memcached.port, interval=self.interval, port=self.port,
            workers=self.workers, dir=self.dir)

    def track_changes(self, user, *folders):
        """Dovecot counts changes of a folder from when a client first asked it to (RFC 7162). SOGo
        wants the count and never asks: without it, it takes every folder for unchanged."""
        with imaplib.IMAP4("127.0.0.1", self.dovecot.port) as imap:
            imap.login(user, self.users[user])
            for folder in folders:
                imap.xatom("SELECT", f"{folder} (CONDSTORE)")

    def argv(self):
        words = ["sogod"]
        for line in self.settings.strip().splitlines():
            key, value = line.split(" ", 1)
            words += ["-" + key, value]
        return words

    def start(self):
        if not self.below:
            self.prepare()
        return super().start()

    def ready(self):
        """A login works: the port alone is open before a worker is there."""
        user, word = next(iter(self.users.items()))
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("OPTIONS", self.path, headers={"Authorization": basic(user, word)})
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    # What a Device wants to know of a server.
    path, tls, keep_alive = f"/SOGo{PATH}", False, False

    def mailbox(self, user):
        return self.dovecot.mailbox(user)

    def set_password(self, user, word):
        """Everywhere, and SOGo remembers the old one no longer: it logs in at IMAP with what the phone
        sent."""
        self.users[user] = self.dovecot.users[user] = word
        self.dovecot.write_users()
        self.database.sql(f"update users set c_password = '{word}' where c_uid = '{user}'")
        self.memcached.forget()

    def stop(self):
        """Its workers end by themselves, but one that waits does so too late: it has the port."""
        workers = children_of(self.process.pid) if self.process else []
        super().stop()
        for worker in workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)

    @property
    def url(self):
        """As the gateway wants it."""
        return f"http://127.0.0.1:{self.port}/SOGo"

    def close(self):
        super().close()
        while self.below:
            self.below.pop().__exit__(None, None, None)
